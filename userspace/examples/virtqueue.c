// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A device emulation loop over a split virtqueue, in the manner of virtio-blk. The driver
 * is a thread that sees the memory as a guest's CPU does; the device has the library only.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <guestmem.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPLIT		(1UL << 20)	/* where the first region ends, and the second begins */
#define RAM_LEN		(2 * SPLIT)
#define DESC		0x1000UL	/* where the driver put the queue */
#define AVAIL		0x2000UL
#define USED		0x3000UL
#define INDIRECT_TABLE	0x4000UL
#define HEADER		0x5000UL
#define STATUS		0x6000UL
#define DATA		(SPLIT - 512)	/* so that it lies in both regions */
#define SIZE		8UL		/* of the queue */
#define REQUESTS	3

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };	/* descriptor flags */
enum { IN, OUT };				/* request types */
enum { OK, IOERR, UNSET };			/* status */

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct request { uint32_t type, reserved; uint64_t offset; };

static struct guestmem *guest;
static char *ram;				/* what the guest's CPU sees */
static int kick, irq, disk;

static void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, guestmem_strerror());
		exit(EXIT_FAILURE);
	}
}

/* -------- The device ----------------------------------------------------- */

struct chain {
	struct guestmem_range range[SIZE];
	bool write[SIZE];
	size_t n;
};

/* Follow a chain; what the driver wrote is not to be trusted. */
static int walk(uint64_t table, uint32_t size, uint16_t i, struct chain *c, bool indirect)
{
	uint16_t flags;
	uint32_t len;
	uint64_t addr;

	for (;;) {
		uint64_t at = table + i * sizeof(struct desc);

		if (i >= size || c->n == SIZE)
			return -ELOOP;
		if (guestmem_read_le64(guest, at, &addr) < 0 ||
		    guestmem_read_le32(guest, at + 8, &len) < 0 ||
		    guestmem_read_le16(guest, at + 12, &flags) < 0 ||
		    guestmem_read_le16(guest, at + 14, &i) < 0)
			return -errno;
		if (flags & INDIRECT)
			return indirect ? -EINVAL : walk(addr, len / 16, 0, c, true);
		c->range[c->n] = (struct guestmem_range){ .gpa = addr, .len = len };
		c->write[c->n++] = flags & WRITE;
		if (!(flags & NEXT))
			return 0;
	}
}

/* A request: the header, the data, one byte for the status. Returns what was written. */
static uint32_t serve(const struct chain *c)
{
	struct request rq;
	struct iovec iov[2 * SIZE];
	size_t n = 2 * SIZE, i;
	ssize_t moved = -1;
	bool in;

	if (c->n < 2 || guestmem_read(guest, c->range[0].gpa, &rq, sizeof(rq)) < 0)
		return 0;				/* not even a place for the status */
	in = le32toh(rq.type) == IN;
	if (!guestmem_slices(guest, c->range + 1, c->n - 2, in ? PROT_WRITE : PROT_READ, iov, &n))
		moved = in ? preadv(disk, iov, (int)n, (off_t)le64toh(rq.offset)) :
			     pwritev(disk, iov, (int)n, (off_t)le64toh(rq.offset));
	else
		printf("device: bad descriptor: %s\n", guestmem_strerror());
	for (i = 1; in && i < c->n - 1; i++)		/* the library did not see it */
		guestmem_dirty_mark(guest, c->range[i].gpa, c->range[i].len);
	if (!c->write[c->n - 1] ||
	    guestmem_write8(guest, c->range[c->n - 1].gpa, moved < 0 ? IOERR : OK) < 0)
		return 0;
	return (in && moved > 0 ? (uint32_t)moved : 0) + 1;
}

static void *device(void *arg)
{
	uint16_t seen = 0, avail, head, idx;
	eventfd_t n;

	while (seen < REQUESTS && !eventfd_read(kick, &n)) {
		/* What the driver wrote before the index is read after it. */
		check(!guestmem_load(guest, AVAIL + 2, &avail, 2, __ATOMIC_ACQUIRE), "avail");
		for (; seen != le16toh(avail); seen++) {
			uint64_t used = USED + 4 + seen % SIZE * 8;
			struct chain c = { .n = 0 };
			uint32_t len = 0;

			check(!guestmem_read_le16(guest, AVAIL + 4 + seen % SIZE * 2, &head),
			      "avail ring");
			if (!walk(DESC, SIZE, head, &c, false))
				len = serve(&c);
			check(!guestmem_write_le32(guest, used, head) &&
			      !guestmem_write_le32(guest, used + 4, len), "used ring");
			idx = htole16((uint16_t)(seen + 1));
			check(!guestmem_store(guest, USED + 2, &idx, 2, __ATOMIC_RELEASE), "used");
		}
		eventfd_write(irq, 1);
	}
	return arg;
}

/* -------- The driver ----------------------------------------------------- */

static void put(uint64_t table, int i, uint64_t addr, uint32_t len, int flags)
{
	((struct desc *)(ram + table))[i] = (struct desc){
		htole64(addr), htole32(len), htole16((uint16_t)flags), htole16((uint16_t)(i + 1)) };
}

/* One request, and the wait for its end; returns the status. */
static int submit(uint32_t type, uint64_t data, uint64_t table)
{
	uint16_t *avail = (uint16_t *)(ram + AVAIL), idx = (uint16_t)(le16toh(avail[1]) + 1);
	eventfd_t n;

	*(struct request *)(ram + HEADER) = (struct request){ .type = htole32(type) };
	ram[STATUS] = UNSET;
	put(table, 0, HEADER, sizeof(struct request), NEXT);
	put(table, 1, data, 1024, NEXT | (type == IN ? WRITE : 0));
	put(table, 2, STATUS, 1, WRITE);
	if (table != DESC)
		put(DESC, 0, table, 3 * sizeof(struct desc), INDIRECT);
	avail[2 + (idx - 1) % SIZE] = 0;		/* the chain's first descriptor */
	__atomic_store_n(&avail[1], htole16(idx), __ATOMIC_RELEASE);
	eventfd_write(kick, 1);
	eventfd_read(irq, &n);
	if (__atomic_load_n((uint16_t *)(ram + USED) + 1, __ATOMIC_ACQUIRE) != htole16(idx))
		return UNSET;
	return ram[STATUS];
}

int main(void)
{
	int mem = memfd_create("ram", MFD_CLOEXEC);
	pthread_t thread;

	disk = memfd_create("disk", MFD_CLOEXEC);
	kick = eventfd(0, EFD_CLOEXEC);
	irq = eventfd(0, EFD_CLOEXEC);
	if (mem < 0 || disk < 0 || ftruncate(mem, RAM_LEN) < 0)
		return EXIT_FAILURE;
	ram = mmap(NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	guest = guestmem_open(O_RDWR);
	if (!guest)					/* without the module */
		guest = guestmem_create(RAM_LEN);
	check(guest && !guestmem_add_file(guest, 0, SPLIT, mem, 0, 0, NULL) &&
	      !guestmem_add_file(guest, SPLIT, RAM_LEN - SPLIT, mem, SPLIT, 0, NULL), "guest");
	check(ram != MAP_FAILED && !pthread_create(&thread, NULL, device, NULL), "device");

	memset(ram + DATA, 'x', 1024);
	check(submit(OUT, DATA, DESC) == OK, "write");
	memset(ram + DATA, 0, 1024);
	check(submit(IN, DATA, INDIRECT_TABLE) == OK, "read, indirect");
	check(ram[DATA] == 'x' && !memcmp(ram + DATA, ram + DATA + 1, 1023), "other bytes");
	check(submit(IN, 0xbad000000, DESC) == IOERR, "a bad descriptor was taken");
	pthread_join(thread, NULL);
	printf("driver: wrote 1024 bytes, read them back, and was told of a bad address\n");
	guestmem_close(guest);
	return EXIT_SUCCESS;
}
