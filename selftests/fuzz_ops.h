/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzzer's programs can do. A new ioctl joins by an entry in the table at the
 * end of this file.
 *
 * An argument is a byte. Most of its values stand for what makes sense: a page of the
 * window where all regions are, a file, region or lock that the program has; where there
 * is none of that number, one that there is. The upper values stand for what makes none.
 */
#ifndef _FUZZ_OPS_H
#define _FUZZ_OPS_H

#include "guestmem_test.h"
#include "modules/guestmem_edu.h"
#include "modules/guestmem_kapi.h"

#include <linux/falloc.h>
#include <stddef.h>
#include <sys/socket.h>

#define SLOTS		4	/* of each kind of thing that a program has */
#define RECENT		8	/* ids and handles that it remembers */
#define MEM_PAGES	64
#define BUFFER_LEN	(128 << 10)
#define ENTRIES		64	/* of an array that is given to an ioctl */

/* ---- programs ---- */

#define FUZZ_STEPS_MAX	24
#define FUZZ_ARGS_MAX	12
#define FUZZ_FIELDS_MAX	11
#define FUZZ_THREADS_MAX 8

/**
 * struct fuzz_step - a step of a program
 * @op: index into fuzz_ops
 * @arg: its arguments; those that the operation does not take are 0
 */
struct fuzz_step {
	__u8 op;
	__u8 arg[FUZZ_ARGS_MAX];
};

struct fuzz_program {
	int nsteps;
	struct fuzz_step step[FUZZ_STEPS_MAX];
};

/* Whose ioctl it is, or what is opened. */
enum fuzz_device { GUEST, EDU, KAPI, NDEVICES };

/**
 * struct fuzz_field - a field of an ioctl's struct
 * @offset: where it is
 * @width: bytes; 0 if the argument is not about the struct, but about an array that a field
 *	before it points to
 * @value: what an argument puts there
 */
struct fuzz_field {
	__u16 offset;
	__u16 width;
	__u64 (*value)(__u8 byte);
};

/**
 * struct fuzz_op - an operation
 * @name: in text
 * @nargs: arguments that it takes; an ioctl one for the file, and one for each field
 * @run: does it; -1 if it failed. NULL for FUZZ_FORK and FUZZ_THREAD
 * @never: why it need not succeed in any program of the corpus; NULL: it must
 * @device: what it works on
 * @cmd: of an ioctl
 * @len: of its struct
 * @keep: remembers what it answers in the field @kept; NULL if that is nothing
 * @kept: see there
 * @field: its fields, but for those that the kernel only writes
 */
struct fuzz_op {
	const char *name;
	unsigned int nargs;
	long (*run)(const struct fuzz_op *op, const __u8 *arg);
	const char *never;
	enum fuzz_device device;
	unsigned long cmd;
	size_t len;
	void (*keep)(__u64 value);
	struct fuzz_field kept;
	struct fuzz_field field[FUZZ_FIELDS_MAX];
};

/* Two have the next steps, as many as their argument says, run by somebody else. */
#define FUZZ_FORK	0
#define FUZZ_THREAD	1

/* ---- what a program has; each process of it has its own, its threads share it ---- */

static const char * const device_paths[] = { GM_DEV, "/dev/guestmem_edu", "/dev/guestmem_kapi" };

enum { ANON, MEMFD, THP, HUGETLB, READ_ONLY, NMEMS };

static int files[NDEVICES][SLOTS];
static int eventfds[SLOTS];
static struct map { unsigned char *va; size_t len; } maps[SLOTS];
static struct gm_mem mems[NMEMS];
static __u32 regions[RECENT], locks[RECENT], exports[RECENT];
static atomic_uint nregions, nlocks, nviews, nexports;
static unsigned char *twice[2];		/* the same page for each thread, writable and not */
static __thread unsigned int thread_index;
static __thread __u64 input[ENTRIES * sizeof(struct guestmem_mapping) / sizeof(__u64)];
static unsigned char buffer[BUFFER_LEN];

/* ---- a byte's meaning ---- */

/* Any value, but for the same byte always the same. */
static __u64 scramble(__u64 x)
{
	x = (x + 1) * 0x9e3779b97f4a7c15ULL;
	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL;
}

static __u64 odd_value(__u8 byte, const __u64 *values, size_t n)
{
	return byte < n ? values[byte] : scramble(byte) >> (byte & 63);
}

#define ODD_VALUE(byte, ...) ({						\
	const __u64 values_[] = { __VA_ARGS__ };			\
									\
	odd_value((byte), values_, ARRAY_SIZE(values_));		\
})

static __u64 gpa_of(__u8 byte)
{
	const __u64 in_page[] = { 0, 0, 0, 0, 8, PG - 1 };

	if (byte < 0xc0)
		return GM_GPA + (byte % 32) * PG + in_page[byte / 32];
	return ODD_VALUE(byte - 0xc0, 0, PG, GM_HUGE, GM_GPA + GM_HUGE, GM_GPA + 2 * GM_HUGE,
			 GUESTMEM_REGION_MAX_LEN, 1ULL << 52, GUESTMEM_MMAP_TABLE - PG,
			 GUESTMEM_MMAP_TABLE - 1, GUESTMEM_MMAP_TABLE, GUESTMEM_MMAP_TABLE + PG,
			 GUESTMEM_MMAP_TABLE + 16 * PG, -PG, -1ULL, -GM_HUGE, 1ULL << 32);
}

static __u64 len_of(__u8 byte)
{
	if (byte < 0x80)
		return (1 + byte % 16) * PG;
	if (byte < 0xc0)
		return byte - 0x80;
	return ODD_VALUE(byte - 0xc0, GM_HUGE, 2 * GM_HUGE, PG - 1, PG + 1, 17 * PG, 32 * PG,
			 (256 << 10) + 1, GUESTMEM_REGION_MAX_LEN, GUESTMEM_REGION_MAX_LEN + PG,
			 -1U, 1ULL << 32, GUESTMEM_MMAP_TABLE, -1ULL, -PG, 1ULL << 62);
}

static __u64 count_of(__u8 byte)
{
	if (byte < 0xe0)
		return byte < 0x80 ? byte % 4 : byte % 64;
	return ODD_VALUE(byte - 0xe0, 64, 100, GUESTMEM_LOCK_MAX_PAGES, GUESTMEM_LOCK_MAX_PAGES + 1,
			 1U << 31, -1U);
}

static __u64 flags_of(__u8 byte)
{
	const __u64 usual[] = { 0, 0, 0, 1, 1, 2, 3, 0 };

	return byte < 0xe0 ? usual[byte % 8] : 1U << byte % 32;
}

static __u64 number_of(__u8 byte)
{
	return byte < 0xf0 ? byte % 8 : scramble(byte);
}

static __u64 direction_of(__u8 byte)
{
	return byte < 0xf0 ? 1 + byte % 3 : byte % 8;
}

static __u64 width_of(__u8 byte)
{
	return byte < 0xf0 ? 1U << byte % 5 : byte;
}

static __u64 operand_of(__u8 byte)
{
	return byte < 0x80 ? byte % 4 : ODD_VALUE(byte - 0x80, 0xff, 0x100, 0xffff, 1U << 16, -1U,
						  1ULL << 32, -1ULL, 1ULL << 63);
}

static __u64 high_operand_of(__u8 byte)
{
	return byte < 0xc0 ? 0 : operand_of(byte - 0x80);
}

static __u64 events_of(__u8 byte)
{
	return byte < 0xf0 ? byte % 128 : scramble(byte);
}

/* Of entries that may grow: as they are, or longer, or no size for them. */
static __u64 entry_size(size_t size, __u8 byte)
{
	if (byte < 0xe0)
		return byte < 0xc0 ? size : size + byte % 32;
	return ODD_VALUE(byte - 0xe0, 0, 8, size - 8, size - 1, PG - 1, PG, PG + 1, -1U);
}

static __u64 region_size_of(__u8 byte)
{
	return entry_size(sizeof(struct guestmem_region), byte);
}

static __u64 lock_pages_flags_of(__u8 byte)
{
	return GUESTMEM_LOCK_PAGES | flags_of(byte);
}

static __u64 reserved_of(__u8 byte)
{
	return byte < 0xf8 ? 0 : scramble(byte);
}

/* Short, but for one that is to be ended by a signal. */
static __u64 timeout_of(__u8 byte)
{
	return byte == 0xff ? GUESTMEM_WAIT_FOREVER : byte % 16;
}

static __u64 region_of(__u8 byte)
{
	return byte < 0xf0 ? regions[byte % RECENT] : scramble(byte);
}

static __u64 lock_of(__u8 byte)
{
	return byte < 0xf0 ? locks[byte % RECENT] : scramble(byte);
}

static __u64 export_of(__u8 byte)
{
	return byte < 0xf0 ? exports[byte % RECENT] : scramble(byte);
}

/* What an export is for, mostly. */
static __u64 access_of(__u8 byte)
{
	return byte < 0xf0 ? 1U + byte % 3 : ODD_VALUE(byte - 0xf0, 0, GUESTMEM_RIGHT_MAP);
}

static __u64 page_sizes_of(__u8 byte)
{
	if (byte < 0xe0)
		return byte < 0xc0 ? PG : 1ULL << byte % 32;
	return ODD_VALUE(byte - 0xe0, PG | GM_HUGE, 2 * PG, 0, PG / 2, 1, 1ULL << 63, -1ULL);
}

/* All IOVAs; or the window with something before or behind it, or a part of it. */
static __u64 first_iova_of(__u8 byte)
{
	return byte < 0x80 ? 0 : gpa_of(byte < 0xc0 ? byte % 16 : byte);
}

static __u64 last_iova_of(__u8 byte)
{
	return byte < 0x80 ? ~0ULL : gpa_of(byte < 0xc0 ? 8 + byte % 16 : byte) - 1;
}

static __u64 view_of(__u8 byte)
{
	return byte < 0xf0 ? byte % 8 : scramble(byte);
}

static __u64 view_size_of(__u8 byte)
{
	return entry_size(sizeof(struct guestmem_view), byte);
}

/* Mostly what a view can have: all of it, or all but one. */
static __u64 rights_of(__u8 byte)
{
	const __u32 all = 0xff & ~(GUESTMEM_RIGHT_MANAGE | GUESTMEM_RIGHT_TRANSLATE_HPA);

	if (byte < 0xc0)
		return byte < 0x40 ? all : all & ~(1U << byte % 8);
	return ODD_VALUE(byte - 0xc0, 0, all | GUESTMEM_RIGHT_MANAGE,
			 all | GUESTMEM_RIGHT_TRANSLATE_HPA, all | 1U << 8, 1U << 31);
}

/* What may be kept: all but one, all, also those that are not known, or none. */
static __u64 kept_rights_of(__u8 byte)
{
	if (byte < 0xc0)
		return byte < 0x80 ? ~(1U << byte % 8) : 0;
	return ODD_VALUE(byte - 0xc0, -1U, 0xff, GUESTMEM_RIGHT_EXPORT, 1U << 31);
}

static __u64 client_rights_of(__u8 byte)
{
	const __u64 all = GM_CLIENT_RIGHTS;

	if (byte < 0xc0)
		return byte < 0x40 ? all : all & ~(1U << byte % 5);
	return ODD_VALUE(byte - 0xc0, 0, all | GUESTMEM_RIGHT_EXPORT, all | 1U << 8);
}

static __u64 unmap_flags_of(__u8 byte)
{
	return byte < 0xf0 ? GUESTMEM_UNMAP_EVENTFD : flags_of(byte);
}

static __u64 unmap_all_flags_of(__u8 byte)
{
	return GUESTMEM_UNMAP_ALL | unmap_flags_of(byte);
}

static __u64 release_flags_of(__u8 byte)
{
	return byte < 0xf0 ? GUESTMEM_RELEASE_ALL : GUESTMEM_RELEASE_ALL | flags_of(byte);
}

static int file_of(enum fuzz_device device, __u8 byte)
{
	int fd = files[device][byte % SLOTS];

	return fd < 0 ? files[device][0] : fd;
}

static __u64 guest_fd_of(__u8 byte)
{
	return (__u32)(byte < 0xf0 ? file_of(GUEST, byte) : byte & 1 ? -1 : eventfds[0]);
}

static __u64 eventfd_of(__u8 byte)
{
	return (__u32)(byte < 0xf0 ? eventfds[byte % SLOTS] : byte & 1 ? -1 : files[GUEST][0]);
}

/*
 * Which memory that regions are made of, and which page of it, in one byte; of huge memory,
 * which huge page.
 */
static struct gm_mem *memory_of(__u8 byte, size_t *offset)
{
	struct gm_mem *mem = &mems[byte % 8 % NMEMS];

	*offset = gm_kind_is_huge(mem->kind) ? byte / 8 % 4 * (GM_HUGE / 2) : byte / 8 * PG;
	return mem;
}

/* A mapping that there is, if there is one. */
static struct map *map_of(__u8 byte)
{
	unsigned int i;

	for (i = 0; i < SLOTS && !maps[(byte + i) % SLOTS].va; i++)
		;
	return &maps[(byte + i) % SLOTS];
}

static __u64 pointer_of(__u8 byte)
{
	if (byte < 0xc0)
		return (uintptr_t)buffer + byte % 8;
	if (byte < 0xe0)
		return (uintptr_t)map_of(byte)->va;
	return ODD_VALUE(byte - 0xe0, 0, -1ULL, 0xffff888000000000ULL, (uintptr_t)twice[1],
			 (uintptr_t)twice[1] + PG - 8);
}

static __u64 ranges_of(__u8 byte)
{
	unsigned int i;

	if (byte >= 0xe0)
		return pointer_of(byte);
	for (i = 0; i < ARRAY_SIZE(input); i += 2) {
		/* A struct guestmem_range */
		input[i] = gpa_of((byte + i) % 0xc0);
		input[i + 1] = len_of(byte & 1 ? 0x81 + (byte + i) % 63 : i % 0x80);
	}
	return (uintptr_t)input;
}

/*
 * IOVAs are in the same window as GPAs, but seldom the same as those. A quarter is of memory
 * that is not in the guest.
 */
static __u64 mappings_of(__u8 byte)
{
	struct guestmem_mapping *mapping = (void *)input;
	const struct gm_mem *mem;
	size_t offset;
	unsigned int i;

	if (byte >= 0xe0)
		return pointer_of(byte);
	for (i = 0; i < ENTRIES; i++, mapping++) {
		*mapping = (struct guestmem_mapping){
			.iova = gpa_of((byte + 5 * i) % 32),
			.len = byte & 0x40 ? len_of(byte + i) : (1 + byte % 4) * PG,
			.gpa = gpa_of((byte * 7 + 3 * i) % 32),
			.rights = byte & 0x20 ? 1 + i % 3 : 3,
		};
		if (byte % 8 < 6)
			continue;
		mem = memory_of(byte / 8 + 8 * i, &offset);
		if (byte & 1 && mem->fd >= 0) {
			mapping->backing = GUESTMEM_BACKING_FILE;
			mapping->fd = mem->fd;
			mapping->gpa = offset;
		} else {
			mapping->backing = GUESTMEM_BACKING_USER;
			mapping->gpa = (uintptr_t)mem->va + offset;
		}
	}
	return (uintptr_t)input;
}

static __u64 pages_of(__u8 byte)
{
	unsigned int i;

	if (byte >= 0xe0)
		return pointer_of(byte);
	/* Half of them go backwards, and half miss a page each time. */
	for (i = 0; i < ARRAY_SIZE(input); i++)
		input[i] = gpa_of((byte / 4 + i * (byte & 1 ? 31 : 1) * (byte & 2 ? 2 : 1)) % 32);
	return (uintptr_t)input;
}

/*
 * The arrays above are what makes sense. Two arguments say which word of the input is
 * something else, mostly none, or which half of it, and what.
 */
static __thread __u8 spoilt;

static __u64 spoilt_of(__u8 byte)
{
	spoilt = byte;
	return 0;
}

static __u64 spoil_of(__u8 byte)
{
	unsigned char *at = (unsigned char *)&input[spoilt % 16];
	__u64 value;

	if (spoilt < 0xc0)
		return 0;
	if (byte < 0x40)
		value = byte % 8;
	else if (byte < 0xc0)
		value = byte < 0x80 ? gpa_of(0x80 + byte) : len_of(0x40 + byte);
	else
		value = ODD_VALUE(byte - 0xc0, -1ULL, 1ULL << 63, 1U << 31);
	switch (spoilt / 16) {
	case 0xc:
		memcpy(at, &value, sizeof(__u32));
		break;
	case 0xd:
		memcpy(at + sizeof(__u32), &value, sizeof(__u32));
		break;
	default:
		memcpy(at, &value, sizeof(value));
	}
	return 0;
}

/* ---- ioctls: a struct's fields, and what is kept of an answer ---- */

static void keep_region(__u64 value)
{
	regions[atomic_fetch_add(&nregions, 1) % RECENT] = value;
}

static void keep_lock(__u64 value)
{
	locks[atomic_fetch_add(&nlocks, 1) % RECENT] = value;
}

static void keep_export(__u64 value)
{
	exports[atomic_fetch_add(&nexports, 1) % RECENT] = value;
}

/* In the next slot, but for the first, so that programs go on to have a guest. */
static void keep_file(__u64 value)
{
	int *slot = &files[GUEST][1 + atomic_fetch_add(&nviews, 1) % (SLOTS - 1)];

	if (*slot >= 0)
		close(*slot);
	*slot = (int)value;
	/* A domain's would wait for a record that may never come. */
	fcntl(*slot, F_SETFL, O_NONBLOCK);
}

static void put(void *where, __u64 value, size_t width)
{
	memcpy(where, &value, width);
}

static __u64 get(const void *where, size_t width)
{
	__u64 value = 0;

	memcpy(&value, where, width);
	return value;
}

/* Copies to what may be no memory at all. */
static void try_copy(void *to, const void *from, size_t len)
{
	if (!sigsetjmp(gm_sig_env, 1)) {
		gm_sig_armed = 1;
		memcpy(to, from, len);
	}
	gm_sig_armed = 0;
}

/*
 * arg[0] says which file it is, and its upper values what is wrong with the struct or where
 * it lies.
 */
static long run_ioctl(const struct fuzz_op *op, const __u8 *arg)
{
	unsigned char *page = twice[0] + thread_index * PG, *user = page;
	size_t size = op->len;
	const struct fuzz_field *field;
	unsigned int i;
	long rc;

	memset(page, 0, PG);
	/* What the kernel only writes may be anything before. */
	if (arg[0] / SLOTS == 55)
		memset(page, 0xff, op->len);
	for (i = 0; i < op->nargs - 1; i++) {
		field = &op->field[i];
		put(page + field->offset, field->value(arg[i + 1]), field->width);
	}
	switch (arg[0] / SLOTS) {
	case 56:
		size += 8;
		break;
	case 57:
		size += 8;
		page[op->len] = 1;
		break;
	case 58:
		size -= 8;
		break;
	case 59:
		size = PG + 1;
		break;
	case 60:
		user = NULL;
		break;
	case 61:	/* can be read, but no answer be delivered */
		user = twice[1] + thread_index * PG;
		break;
	case 62:	/* in guest memory */
		user = map_of(arg[0])->va;
		break;
	}
	if (op->device == GUEST)
		put(page, size, sizeof(__u32));
	if (user && user == map_of(arg[0])->va)
		try_copy(user, page, op->len);
	rc = ioctl(file_of(op->device, arg[0]), op->cmd, user);
	if (!rc && op->keep)
		op->keep(get(page + op->kept.offset, op->kept.width));
	return rc;
}

static long run_unknown_ioctl(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	unsigned long cmd = _IOC(arg[1] % 4, GUESTMEM_IOC_TYPE + arg[0] / 64, arg[2], arg[3]);

	if (cmd == GUESTMEM_EDU_RAW)
		return -1;
	return ioctl(file_of(arg[0] / SLOTS % NDEVICES, arg[0]), cmd, buffer);
}

/* ---- other system calls ---- */

static long set_slot(int *slot, int fd)
{
	if (fd < 0)
		return -1;
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
	return 0;
}

static long run_open(const struct fuzz_op *op, const __u8 *arg)
{
	const int modes[] = { O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_APPEND };

	return set_slot(&files[op->device][arg[0] % SLOTS],
			open(device_paths[op->device], modes[arg[1] % 4] | O_CLOEXEC));
}

static long run_close(const struct fuzz_op *op, const __u8 *arg)
{
	int *slot = &files[op->device][arg[0] % SLOTS], fd = *slot;

	*slot = -1;
	return close(fd);
}

/* To another slot of the same process, in one of the ways to pass a file. */
static long run_pass(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	int fd = file_of(GUEST, arg[1]), pair[2], passed = -1;
	char path[32], room[CMSG_SPACE(sizeof(int))] = "", byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room,
			      .msg_controllen = sizeof(room) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	switch (arg[2] % 4) {
	case 0:
		passed = dup(fd);
		break;
	case 1:
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		passed = open(path, arg[2] & 4 ? O_RDONLY : O_RDWR);
		break;
	default:
		if (fd < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
			return -1;
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
		/* One that nobody fetches is closed with the socket. */
		if (sendmsg(pair[0], &msg, 0) == 1 && arg[2] % 4 == 2 &&
		    recvmsg(pair[1], &msg, 0) == 1)
			memcpy(&passed, CMSG_DATA(cmsg), sizeof(int));
		close(pair[0]);
		close(pair[1]);
	}
	return set_slot(&files[GUEST][arg[0] % SLOTS], passed);
}

static size_t buffer_len(__u8 byte)
{
	__u64 len = len_of(byte);

	return len < BUFFER_LEN ? len : BUFFER_LEN;
}

static long run_pread(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	void *to = (void *)(uintptr_t)pointer_of(arg[3]);

	return pread(file_of(GUEST, arg[0]), to, buffer_len(arg[2]), gpa_of(arg[1]));
}

static long run_pwrite(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	const void *from = (void *)(uintptr_t)pointer_of(arg[3]);

	return pwrite(file_of(GUEST, arg[0]), from, buffer_len(arg[2]), gpa_of(arg[1]));
}

/* By two pieces, the second of which may be bad, at the file's position. */
static long run_readv(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct iovec iov[] = { { buffer, buffer_len(arg[1]) },
			       { (void *)(uintptr_t)pointer_of(arg[2]), buffer_len(arg[3]) } };
	int fd = file_of(GUEST, arg[0]);

	return arg[0] & 0x80 ? writev(fd, iov, 2) : readv(fd, iov, 2);
}

static long run_lseek(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	return lseek(file_of(GUEST, arg[0]), gpa_of(arg[1]), arg[2] % 6);
}

static long run_poll(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct pollfd pollfd = { .fd = file_of(GUEST, arg[0]), .events = POLLPRI | POLLIN };

	return poll(&pollfd, 1, 0);
}

static long run_splice(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	loff_t offset = gpa_of(arg[1]);
	int pipes[2];
	long rc;

	if (pipe2(pipes, O_NONBLOCK))
		return -1;
	if (arg[0] & 0x80) {
		rc = write(pipes[1], buffer, 3 * PG);
		rc = splice(pipes[0], NULL, file_of(GUEST, arg[0]), &offset, len_of(arg[2]), 0);
	} else {
		rc = splice(file_of(GUEST, arg[0]), &offset, pipes[1], NULL, len_of(arg[2]), 0);
	}
	close(pipes[0]);
	close(pipes[1]);
	return rc;
}

static long read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[4096];
	long rc, total = 0;

	if (fd < 0)
		return -1;
	while ((rc = read(fd, text, sizeof(text))) > 0)
		total += rc;
	close(fd);
	return rc < 0 ? rc : total;
}

static long run_show(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", file_of(GUEST, arg[0]));
	return read_file(arg[0] & 0x80 ? "/sys/kernel/debug/guestmem/guests" : path);
}

static long run_eventfd_read(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	__u64 value;

	return read(eventfds[arg[0] % SLOTS], &value, sizeof(value));
}

/* An ordinary user with a small limit, until the program's end. */
static long run_limit(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct rlimit limit = { .rlim_cur = arg[0] % 64 * PG, .rlim_max = RLIM_INFINITY };

	return setrlimit(RLIMIT_MEMLOCK, &limit) || gm_unprivileged() ? -1 : 0;
}

/* ---- mappings of guests ---- */

static long run_mmap(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	const int prots[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_WRITE, PROT_NONE };
	struct map *map = &maps[arg[0] % SLOTS];
	size_t len = len_of(arg[3]);
	void *va;

	va = mmap(NULL, len, prots[arg[4] % 4] | (arg[4] & 0x80 ? PROT_EXEC : 0),
		  (arg[4] & 0x70) == 0x70 ? MAP_PRIVATE : MAP_SHARED, file_of(GUEST, arg[1]),
		  (off_t)gpa_of(arg[2]));
	if (va == MAP_FAILED)
		return -1;
	if (map->va)
		munmap(map->va, map->len);
	map->va = va;
	map->len = len;
	return 0;
}

/* Pages of a mapping, at least one of which is in it; bytes, or 0. */
static size_t some_pages(size_t mapped, __u8 from, __u8 npages, size_t *offset)
{
	if (!mapped)
		return 0;
	*offset = from * PG % (mapped + PG - 1) / PG * PG;
	return npages < 0xc0 ? (1 + npages % 8) * PG : mapped - *offset;
}

static long run_munmap(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct map *map = map_of(arg[0]);
	size_t offset, len = some_pages(map->len, arg[1], arg[2], &offset);

	/* What lies behind belongs to somebody else. */
	if (!len || len > map->len - offset)
		return -1;
	return munmap(map->va + offset, len);
}

static long run_mprotect(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct map *map = map_of(arg[0]);
	size_t offset, len = some_pages(map->len, arg[1], arg[2], &offset);

	if (!len || len > map->len - offset)
		return -1;
	return mprotect(map->va + offset, len, arg[3] % 8);
}

static long run_mremap(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct map *map = map_of(arg[0]);
	size_t len = arg[2] & 4 ? map->len : len_of(arg[1]);
	int flags = MREMAP_MAYMOVE | (arg[2] & 1 ? MREMAP_DONTUNMAP : 0);
	void *va, *to = NULL;

	if (!map->va)
		return -1;
	/* By itself it moves only what does not fit any more, and ours may not grow. */
	if (arg[2] & 2) {
		to = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (to == MAP_FAILED)
			return -1;
		flags |= MREMAP_FIXED;
	}
	va = mremap(map->va, map->len, len, flags, to);
	if (va == MAP_FAILED) {
		if (to)
			munmap(to, len);
		return -1;
	}
	map->va = va;
	map->len = len;
	return 0;
}

static const int advices[] = {
	MADV_DONTNEED, MADV_PAGEOUT, MADV_WILLNEED, MADV_DONTFORK, MADV_DOFORK, MADV_HUGEPAGE,
	MADV_NOHUGEPAGE, MADV_FREE, MADV_REMOVE, MADV_MERGEABLE, MADV_COLD, MADV_POPULATE_READ,
	MADV_POPULATE_WRITE, MADV_DODUMP,
};

static long run_madvise(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct map *map = map_of(arg[0]);
	size_t offset, len = some_pages(map->len, arg[1], arg[2], &offset);

	if (!len || len > map->len - offset)
		return -1;
	return madvise(map->va + offset, len, advices[arg[3] % ARRAY_SIZE(advices)]);
}

static long run_touch(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct map *map = map_of(arg[0]);
	size_t offset;

	if (!some_pages(map->len, arg[1], 0, &offset))
		return -1;
	/* The second kind of write finds an entry that a read has made. */
	if (arg[2] % 4 != 1 && gm_peek(map->va + offset) < 0)
		return -1;
	return arg[2] % 4 ? gm_poke(map->va + offset, arg[2]) : 0;
}

/* As a debugger does it. */
static long run_mem(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	struct map *map = map_of(arg[0]);
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	size_t offset, len = buffer_len(arg[2]);
	long rc = -1;

	if (fd >= 0 && some_pages(map->len, arg[1], 0, &offset) && len <= map->len - offset)
		rc = arg[3] & 1 ? pwrite(fd, buffer, len, (uintptr_t)map->va + offset) :
				  pread(fd, buffer, len, (uintptr_t)map->va + offset);
	close(fd);
	return rc;
}

/* ---- memory that regions are made of ---- */

static __u64 backing_of(__u8 byte)
{
	if (byte < 0xf8)
		return GUESTMEM_BACKING_USER + (byte & 1);
	return ODD_VALUE(byte - 0xf8, 0, GUESTMEM_BACKING_FILE + 1, -1U);
}

static __u64 memory_fd_of(__u8 byte)
{
	const int fds[] = { -1, files[GUEST][0], eventfds[0], 0 };
	size_t offset;

	if (byte < 0x40)
		return 0;
	return (__u32)(byte < 0xf0 ? memory_of(byte, &offset)->fd : fds[byte % 4]);
}

static __u64 memory_va_of(__u8 byte)
{
	size_t offset;
	const struct gm_mem *mem = memory_of(byte, &offset);

	return byte < 0xf0 ? (uintptr_t)mem->va + offset : pointer_of(byte - 0x10);
}

static __u64 memory_offset_of(__u8 byte)
{
	return byte < 0x80 ? byte % 64 * PG : memory_va_of(byte - 0x80);
}

static long run_memory_advise(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	size_t offset;
	struct gm_mem *mem = memory_of(arg[0], &offset);

	return madvise(mem->va + offset, (1 + arg[1] % 4) * PG,
		       advices[arg[2] % ARRAY_SIZE(advices)]);
}

static long run_memory_remap(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	size_t offset, len = (1 + arg[1] % 4) * PG;
	struct gm_mem *mem = memory_of(arg[0], &offset);
	unsigned char *va = mem->va + offset;

	switch (arg[2] % 4) {
	case 0:
		return munmap(va, len);
	case 1:
		return mprotect(va, len, arg[2] & 4 ? PROT_READ : PROT_READ | PROT_WRITE);
	case 2:
		return mmap(va, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0;
	default:
		return mremap(va, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, mems[ANON].va) ==
		       MAP_FAILED ? -1 : 0;
	}
}

static long run_memory_touch(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	size_t offset;
	struct gm_mem *mem = memory_of(arg[0], &offset);

	return gm_poke(mem->va + offset, arg[1]);
}

static long run_memory_file(const struct fuzz_op *op __unused_ok, const __u8 *arg)
{
	size_t offset;
	struct gm_mem *mem = memory_of(arg[0], &offset);

	if (arg[1] & 1)
		return ftruncate(mem->fd, (off_t)offset);
	return fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			 (off_t)((1 + arg[2] % 4) * PG));
}

/* ---- the table of operations ---- */

#define FIELD(type, member, value_)							\
	{ offsetof(struct type, member), sizeof(((struct type *)0)->member), value_ }
#define KEEP(type, member, keep_)							\
	.keep = keep_, .kept = FIELD(type, member, NULL)
/* Of an array in the input: see spoil_of(). */
#define SPOIL	{ 0, 0, spoilt_of }, { 0, 0, spoil_of }
#define NFIELDS(...)									\
	(sizeof((const struct fuzz_field[]){ __VA_ARGS__ }) / sizeof(struct fuzz_field))
#define IOCTL(name_, device_, cmd_, type, ...)						\
	.name = name_, .nargs = 1 + NFIELDS(__VA_ARGS__), .run = run_ioctl, .cmd = cmd_,\
	.len = sizeof(struct type), .device = device_, .field = { __VA_ARGS__ }
#define CALL(name_, nargs_, run_)	{ .name = name_, .nargs = nargs_, .run = run_ }
#define CALL_ON(name_, nargs_, run_, device_)						\
	{ .name = name_, .nargs = nargs_, .run = run_, .device = device_ }

static const struct fuzz_op fuzz_ops[] = {
	[FUZZ_FORK] = CALL("fork", 1, NULL),
	[FUZZ_THREAD] = CALL("thread", 1, NULL),
	{ IOCTL("info", GUEST, GUESTMEM_INFO, guestmem_info,
		FIELD(guestmem_info, flags, flags_of)) },
	{ IOCTL("region_add", GUEST, GUESTMEM_REGION_ADD, guestmem_region_add,
		FIELD(guestmem_region_add, flags, flags_of),
		FIELD(guestmem_region_add, backing, backing_of),
		FIELD(guestmem_region_add, fd, memory_fd_of),
		FIELD(guestmem_region_add, gpa, gpa_of),
		FIELD(guestmem_region_add, len, len_of),
		FIELD(guestmem_region_add, offset, memory_offset_of),
		FIELD(guestmem_region_add, reserved, reserved_of)),
	  KEEP(guestmem_region_add, id, keep_region) },
	{ IOCTL("region_remove", GUEST, GUESTMEM_REGION_REMOVE, guestmem_region_remove,
		FIELD(guestmem_region_remove, flags, flags_of),
		FIELD(guestmem_region_remove, id, region_of),
		FIELD(guestmem_region_remove, timeout_ms, timeout_of),
		FIELD(guestmem_region_remove, reserved, reserved_of)) },
	{ IOCTL("region_list", GUEST, GUESTMEM_REGION_LIST, guestmem_region_list,
		FIELD(guestmem_region_list, flags, reserved_of),
		FIELD(guestmem_region_list, entries, pointer_of),
		FIELD(guestmem_region_list, entry_size, region_size_of),
		FIELD(guestmem_region_list, nentries, count_of)) },
	{ IOCTL("translate", GUEST, GUESTMEM_TRANSLATE, guestmem_translate,
		FIELD(guestmem_translate, flags, flags_of),
		FIELD(guestmem_translate, ranges, ranges_of),
		FIELD(guestmem_translate, extents, pointer_of),
		FIELD(guestmem_translate, nranges, count_of),
		FIELD(guestmem_translate, nextents, count_of),
		SPOIL) },
	{ IOCTL("lock", GUEST, GUESTMEM_LOCK, guestmem_lock,
		FIELD(guestmem_lock, flags, flags_of),
		FIELD(guestmem_lock, direction, direction_of),
		FIELD(guestmem_lock, gpa, gpa_of),
		FIELD(guestmem_lock, len, len_of),
		FIELD(guestmem_lock, pages, reserved_of),
		FIELD(guestmem_lock, extents, pointer_of),
		FIELD(guestmem_lock, npages, reserved_of),
		FIELD(guestmem_lock, nextents, count_of)),
	  KEEP(guestmem_lock, handle, keep_lock) },
	{ IOCTL("lock_pages", GUEST, GUESTMEM_LOCK, guestmem_lock,
		FIELD(guestmem_lock, flags, lock_pages_flags_of),
		FIELD(guestmem_lock, direction, direction_of),
		FIELD(guestmem_lock, gpa, reserved_of),
		FIELD(guestmem_lock, len, reserved_of),
		FIELD(guestmem_lock, pages, pages_of),
		FIELD(guestmem_lock, npages, count_of),
		FIELD(guestmem_lock, extents, pointer_of),
		FIELD(guestmem_lock, nextents, count_of),
		SPOIL),
	  KEEP(guestmem_lock, handle, keep_lock) },
	{ IOCTL("unlock", GUEST, GUESTMEM_UNLOCK, guestmem_unlock,
		FIELD(guestmem_unlock, flags, reserved_of),
		FIELD(guestmem_unlock, handle, lock_of),
		FIELD(guestmem_unlock, reserved, reserved_of)) },
	{ IOCTL("fill", GUEST, GUESTMEM_FILL, guestmem_fill,
		FIELD(guestmem_fill, flags, reserved_of),
		FIELD(guestmem_fill, gpa, gpa_of),
		FIELD(guestmem_fill, len, len_of),
		FIELD(guestmem_fill, value, operand_of),
		FIELD(guestmem_fill, reserved, reserved_of)) },
	{ IOCTL("copy", GUEST, GUESTMEM_COPY, guestmem_copy,
		FIELD(guestmem_copy, flags, reserved_of),
		FIELD(guestmem_copy, dst, gpa_of),
		FIELD(guestmem_copy, src, gpa_of),
		FIELD(guestmem_copy, len, len_of)) },
	{ IOCTL("atomic", GUEST, GUESTMEM_ATOMIC, guestmem_atomic,
		FIELD(guestmem_atomic, flags, reserved_of),
		FIELD(guestmem_atomic, op, number_of),
		FIELD(guestmem_atomic, width, width_of),
		FIELD(guestmem_atomic, gpa, gpa_of),
		FIELD(guestmem_atomic, operand[0], operand_of),
		FIELD(guestmem_atomic, operand[1], high_operand_of),
		FIELD(guestmem_atomic, compare[0], high_operand_of),
		FIELD(guestmem_atomic, compare[1], high_operand_of)) },
	{ IOCTL("eventfd", GUEST, GUESTMEM_EVENTFD, guestmem_eventfd,
		FIELD(guestmem_eventfd, flags, reserved_of),
		FIELD(guestmem_eventfd, fd, eventfd_of),
		FIELD(guestmem_eventfd, events, events_of)) },
	{ IOCTL("view_create", GUEST, GUESTMEM_VIEW_CREATE, guestmem_view_create,
		FIELD(guestmem_view_create, flags, flags_of),
		FIELD(guestmem_view_create, address, gpa_of),
		FIELD(guestmem_view_create, len, len_of),
		FIELD(guestmem_view_create, rights, rights_of)),
	  KEEP(guestmem_view_create, fd, keep_file) },
	{ IOCTL("view_list", GUEST, GUESTMEM_VIEW_LIST, guestmem_view_list,
		FIELD(guestmem_view_list, flags, reserved_of),
		FIELD(guestmem_view_list, entries, pointer_of),
		FIELD(guestmem_view_list, entry_size, view_size_of),
		FIELD(guestmem_view_list, nentries, count_of)) },
	{ IOCTL("view_limit", GUEST, GUESTMEM_VIEW_LIMIT, guestmem_view_limit,
		FIELD(guestmem_view_limit, flags, flags_of),
		FIELD(guestmem_view_limit, id, view_of),
		FIELD(guestmem_view_limit, rights, kept_rights_of),
		FIELD(guestmem_view_limit, timeout_ms, timeout_of),
		FIELD(guestmem_view_limit, reserved, reserved_of)) },
	{ IOCTL("domain_create", GUEST, GUESTMEM_DOMAIN_CREATE, guestmem_domain_create,
		FIELD(guestmem_domain_create, flags, reserved_of),
		FIELD(guestmem_domain_create, page_sizes, page_sizes_of),
		FIELD(guestmem_domain_create, start, first_iova_of),
		FIELD(guestmem_domain_create, last, last_iova_of),
		FIELD(guestmem_domain_create, rights, client_rights_of)),
	  KEEP(guestmem_domain_create, fd, keep_file) },
	{ IOCTL("domain_map", GUEST, GUESTMEM_DOMAIN_MAP, guestmem_domain_map,
		FIELD(guestmem_domain_map, flags, reserved_of),
		FIELD(guestmem_domain_map, mappings, mappings_of),
		FIELD(guestmem_domain_map, nmappings, count_of),
		SPOIL) },
	{ IOCTL("domain_unmap", GUEST, GUESTMEM_DOMAIN_UNMAP, guestmem_domain_unmap,
		FIELD(guestmem_domain_unmap, flags, reserved_of),
		FIELD(guestmem_domain_unmap, iova, gpa_of),
		FIELD(guestmem_domain_unmap, len, len_of),
		FIELD(guestmem_domain_unmap, deadline_ms, timeout_of),
		FIELD(guestmem_domain_unmap, timeout_ms, timeout_of),
		FIELD(guestmem_domain_unmap, eventfd, reserved_of)) },
	{ IOCTL("domain_unmap_tell", GUEST, GUESTMEM_DOMAIN_UNMAP, guestmem_domain_unmap,
		FIELD(guestmem_domain_unmap, flags, unmap_flags_of),
		FIELD(guestmem_domain_unmap, iova, gpa_of),
		FIELD(guestmem_domain_unmap, len, len_of),
		FIELD(guestmem_domain_unmap, deadline_ms, timeout_of),
		FIELD(guestmem_domain_unmap, timeout_ms, timeout_of),
		FIELD(guestmem_domain_unmap, eventfd, eventfd_of)) },
	{ IOCTL("domain_unmap_all", GUEST, GUESTMEM_DOMAIN_UNMAP, guestmem_domain_unmap,
		FIELD(guestmem_domain_unmap, flags, unmap_all_flags_of),
		FIELD(guestmem_domain_unmap, iova, reserved_of),
		FIELD(guestmem_domain_unmap, len, reserved_of),
		FIELD(guestmem_domain_unmap, deadline_ms, timeout_of),
		FIELD(guestmem_domain_unmap, timeout_ms, timeout_of),
		FIELD(guestmem_domain_unmap, eventfd, eventfd_of)) },
	{ IOCTL("domain_list", GUEST, GUESTMEM_DOMAIN_LIST, guestmem_domain_list,
		FIELD(guestmem_domain_list, flags, reserved_of),
		FIELD(guestmem_domain_list, iova, gpa_of),
		FIELD(guestmem_domain_list, entries, pointer_of),
		FIELD(guestmem_domain_list, nentries, count_of),
		FIELD(guestmem_domain_list, reserved, reserved_of)) },
	{ IOCTL("session_create", GUEST, GUESTMEM_SESSION_CREATE, guestmem_session_create,
		FIELD(guestmem_session_create, flags, reserved_of),
		FIELD(guestmem_session_create, rights, client_rights_of)),
	  KEEP(guestmem_session_create, fd, keep_file) },
	{ IOCTL("export", GUEST, GUESTMEM_EXPORT, guestmem_export,
		FIELD(guestmem_export, flags, reserved_of),
		FIELD(guestmem_export, iova, gpa_of),
		FIELD(guestmem_export, len, len_of),
		FIELD(guestmem_export, pieces, pointer_of),
		FIELD(guestmem_export, npieces, count_of),
		FIELD(guestmem_export, rights, access_of),
		FIELD(guestmem_export, reserved, reserved_of)),
	  KEEP(guestmem_export, handle, keep_export) },
	{ IOCTL("release", GUEST, GUESTMEM_RELEASE, guestmem_release,
		FIELD(guestmem_release, flags, reserved_of),
		FIELD(guestmem_release, handle, export_of)) },
	{ IOCTL("release_all", GUEST, GUESTMEM_RELEASE, guestmem_release,
		FIELD(guestmem_release, flags, release_flags_of),
		FIELD(guestmem_release, handle, reserved_of)) },
	{ .name = "unknown_ioctl", .nargs = 4, .run = run_unknown_ioctl,
	  .never = "what is unknown is refused" },
	CALL_ON("open", 2, run_open, GUEST),
	CALL_ON("close", 1, run_close, GUEST),
	CALL("pass", 3, run_pass),
	CALL("pread", 4, run_pread),
	CALL("pwrite", 4, run_pwrite),
	CALL("readv", 4, run_readv),
	CALL("lseek", 3, run_lseek),
	CALL("poll", 1, run_poll),
	CALL("splice", 3, run_splice),
	CALL("show", 1, run_show),
	CALL("eventfd_read", 1, run_eventfd_read),
	CALL("limit", 1, run_limit),
	CALL("mmap", 5, run_mmap),
	CALL("munmap", 3, run_munmap),
	CALL("mprotect", 4, run_mprotect),
	CALL("mremap", 3, run_mremap),
	CALL("madvise", 4, run_madvise),
	CALL("touch", 3, run_touch),
	CALL("mem", 4, run_mem),
	CALL("memory_advise", 3, run_memory_advise),
	CALL("memory_remap", 3, run_memory_remap),
	CALL("memory_touch", 2, run_memory_touch),
	CALL("memory_file", 3, run_memory_file),
	/*
	 * Clients in the kernel. Not EDU_RAW, which is allowed to overwrite any memory
	 * that the device reaches.
	 */
	CALL_ON("edu_open", 2, run_open, EDU),
	CALL_ON("edu_close", 1, run_close, EDU),
	{ IOCTL("edu_attach", EDU, GUESTMEM_EDU_ATTACH, guestmem_edu_attach,
		FIELD(guestmem_edu_attach, fd, guest_fd_of),
		FIELD(guestmem_edu_attach, reserved, reserved_of)) },
	{ IOCTL("edu_map", EDU, GUESTMEM_EDU_MAP, guestmem_edu_map,
		FIELD(guestmem_edu_map, gpa, gpa_of),
		FIELD(guestmem_edu_map, len, len_of),
		FIELD(guestmem_edu_map, direction, direction_of),
		FIELD(guestmem_edu_map, reserved, reserved_of)) },
	{ IOCTL("edu_unmap", EDU, GUESTMEM_EDU_UNMAP, guestmem_edu_unmap,
		FIELD(guestmem_edu_unmap, map, number_of),
		FIELD(guestmem_edu_unmap, reserved, reserved_of)) },
	{ IOCTL("edu_xfer", EDU, GUESTMEM_EDU_XFER, guestmem_edu_xfer,
		FIELD(guestmem_edu_xfer, gpa, gpa_of),
		FIELD(guestmem_edu_xfer, len, len_of),
		FIELD(guestmem_edu_xfer, offset, count_of),
		FIELD(guestmem_edu_xfer, direction, direction_of),
		FIELD(guestmem_edu_xfer, map, number_of),
		FIELD(guestmem_edu_xfer, reserved, reserved_of)) },
	CALL_ON("kapi_open", 2, run_open, KAPI),
	CALL_ON("kapi_close", 1, run_close, KAPI),
	{ IOCTL("kapi", KAPI, GUESTMEM_KAPI, guestmem_kapi,
		FIELD(guestmem_kapi, fd, guest_fd_of),
		FIELD(guestmem_kapi, op, number_of),
		FIELD(guestmem_kapi, gpa, gpa_of),
		FIELD(guestmem_kapi, len, len_of),
		FIELD(guestmem_kapi, buf, pointer_of),
		FIELD(guestmem_kapi, value, count_of)) },
};

#define FUZZ_NOPS	ARRAY_SIZE(fuzz_ops)

/* What each program begins with. */
static void fuzz_set_up(void)
{
	const enum gm_kind kinds[] = { GM_ANON, GM_MEMFD, GM_THP, GM_HUGETLB };
	const size_t len = FUZZ_THREADS_MAX * PG;
	int d, i, fd;

	gm_sig_install();
	for (d = 0; d < NDEVICES; d++)
		for (i = 0; i < SLOTS; i++)
			files[d][i] = i ? -1 : open(device_paths[d], O_RDWR | O_CLOEXEC);
	for (i = 0; i < SLOTS; i++)
		eventfds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (i = 0; i < (int)ARRAY_SIZE(kinds); i++)
		gm_mem_map(&mems[i], kinds[i],
			   gm_kind_is_huge(kinds[i]) ? 2 * GM_HUGE : MEM_PAGES * PG);
	mems[READ_ONLY] = mems[MEMFD];
	mems[READ_ONLY].fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	mems[READ_ONLY].va = mmap(NULL, MEM_PAGES * PG, PROT_READ, MAP_PRIVATE,
				  mems[READ_ONLY].fd, 0);
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (!ftruncate(fd, len)) {
		twice[0] = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		twice[1] = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	}
	close(fd);
}

/* Threads of a program have what only one of them may write to. */
static void fuzz_set_thread(unsigned int index)
{
	thread_index = index % FUZZ_THREADS_MAX;
}

#endif /* _FUZZ_OPS_H */
