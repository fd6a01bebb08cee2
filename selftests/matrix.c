// SPDX-License-Identifier: GPL-2.0-only
/*
 * What guest memory still is to the process that it came from, after what the
 * process, its children or the kernel did to it.
 *
 * The table at the end has a row for each event and a column for each kind of
 * memory; each cell is a test, of a region that can be written and of one that
 * cannot. In every cell, whatever the table says:
 *  - all ways to read the guest give the same: pread, a mapping from before the event
 *    and one from after it, and a driver in the kernel;
 *  - they give what the process had put there; the pages have not moved, and huge ones
 *    are whole;
 *  - memory beside what the event was about stays what it was;
 *  - nothing is leaked, which the fixture checks.
 *
 * A cell that is KEPT has a control: the same event, in the same test, must do its
 * work on memory that is not pinned. Otherwise the cell would prove nothing.
 *
 * Documentation/coherence.rst has the same table, which selftests/check compares.
 */
#include "guestmem_test.h"

#include <linux/kernel-page-flags.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/utsname.h>

#include "modules/guestmem_kapi.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif

enum column {
	ANON,		/* private, anonymous */
	THP,		/* the same, in huge pages */
	PRIVATE,	/* private mapping of a file */
	HUGETLB_ANON,	/* private, of the hugetlb pool */
	TMPFS,		/* shared mapping of a tmpfs file */
	HUGETLB,	/* shared mapping of a hugetlb memfd */
	MEMFD_FILE,	/* memfd, added as a file */
	HUGETLB_FILE,	/* hugetlb memfd, added as a file */
};

/**
 * struct column_memory - what a column is made of
 * @kind: what gm_mem_alloc() makes
 * @remap: flags of the mapping that it is then given; 0 if it has the right one
 * @backing: GUESTMEM_BACKING_*
 */
static const struct column_memory {
	enum gm_kind kind;
	int remap;
	__u32 backing;
} columns[] = {
	[ANON]		= { GM_ANON, 0, GUESTMEM_BACKING_USER },
	[THP]		= { GM_THP, 0, GUESTMEM_BACKING_USER },
	[PRIVATE]	= { GM_MEMFD, MAP_PRIVATE, GUESTMEM_BACKING_USER },
	[HUGETLB_ANON]	= { GM_HUGETLB, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
			    GUESTMEM_BACKING_USER },
	[TMPFS]		= { GM_TMPFS, 0, GUESTMEM_BACKING_USER },
	[HUGETLB]	= { GM_HUGETLB, 0, GUESTMEM_BACKING_USER },
	[MEMFD_FILE]	= { GM_MEMFD, 0, GUESTMEM_BACKING_FILE },
	[HUGETLB_FILE]	= { GM_HUGETLB, 0, GUESTMEM_BACKING_FILE },
};

/*
 * Results: what the process, or in rows named so another one, has at the address.
 * STALE: the region is flagged, and the event told. ERR: the event is refused.
 * OLD: all this before 6.12, of which 6.1 is what is tested.
 */
#define SAME		1	/* the guest's page */
#define KEPT		2	/* the same, thanks to the pin */
#define LEFT		3	/* another page */
#define GONE		4	/* nothing */
#define POISON		5	/* SIGBUS; and the readers get an error */
#define SPARED		6	/* the guest's page; but the readers get an error */
#define STALE		0x100ULL
#define ERR(errno_)	((__u64)(errno_) << 16)
#define OLD(cell)	((__u64)(cell) << 32)

#define NPROBES		3

/**
 * struct cell - a test under way
 * @guest: the guest, with one region at GM_GPA
 * @kapi: a driver that reads it
 * @column: where its memory is from
 * @flags: GUESTMEM_REGION_*
 * @mem: all of the region
 * @at: where in it the event strikes, up to its end or to @at + @len
 * @len: bytes that the event strikes
 * @view: where the process has them now
 * @peer: a child, or 0
 * @sock: to talk with it
 * @peer_views: it is the child's memory that is compared
 * @peer_owns: the child has added the region, and nothing is left of it
 * @id: of the region
 * @mapped: mapping of the guest from before the event
 * @model: what the guest must have
 * @buf: room for as much
 * @probes: offsets in @mem that are looked at and written to
 * @hpas: where these are
 * @compounds: what part of a huge page these are
 * @events: GUESTMEM_EVENT_* told since the add
 * @swap: swap is on
 * @ksm: KSM runs
 * @poisoned: a page that is to be made usable again, or 0
 */
struct cell {
	struct gm_guest guest;
	int kapi;
	enum column column;
	__u32 flags;
	struct gm_mem mem;
	size_t at;
	size_t len;
	unsigned char *view;
	pid_t peer;
	int sock;
	bool peer_views;
	bool peer_owns;
	__u32 id;
	unsigned char *mapped;
	unsigned char *model;
	unsigned char *buf;
	size_t probes[NPROBES];
	__u64 hpas[NPROBES];
	__u64 compounds[NPROBES];
	__u32 events;
	bool swap;
	bool ksm;
	__u64 poisoned;
};

/**
 * struct event - a row
 * @before: done before the region is added; or NULL
 * @event: done after it; 0 or -errno
 * @measure: grows or changes when it does its work on memory that is not pinned;
 *	NULL: where the page is
 * @granule: bytes that it takes; 0: the smallest page there is
 * @part: it strikes one page of 4 KiB only, whatever pages there are
 * @migrates: it moves pages to another node, or tries to
 * @poisons: it makes the first page unusable, or tries to
 */
struct event {
	int (*before)(struct __test_metadata *_metadata, struct cell *c);
	int (*event)(struct __test_metadata *_metadata, struct cell *c);
	long (*measure)(struct cell *c);
	size_t granule;
	bool part;
	bool migrates;
	bool poisons;
};

static int result(int ret)
{
	return ret < 0 ? -errno : 0;
}

/* A cell of the table, for this kernel. */
static __u32 expectation(__u64 cell)
{
	unsigned int major = 0, minor = 0;
	struct utsname uts;

	uname(&uts);
	if (sscanf(uts.release, "%u.%u", &major, &minor) != 2)
		abort();
	return cell >> 32 && (major < 6 || (major == 6 && minor < 12)) ? cell >> 32 : (__u32)cell;
}

static bool is_shared(const struct cell *c)
{
	return c->column >= TMPFS;
}

static bool is_hugetlb(const struct cell *c)
{
	return columns[c->column].kind == GM_HUGETLB;
}

/* ---- memory ---- */

static void mem_make(struct __test_metadata *_metadata, struct cell *c, struct gm_mem *mem,
		     size_t len)
{
	const struct column_memory *column = &columns[c->column];
	int ret = gm_mem_alloc(mem, column->kind, len);

	ASSERT_EQ(0, ret)
		TH_LOG("no memory of this kind: %s", strerror(-ret));
	/* For unmap_neighbour(), before something else lies there. */
	ASSERT_EQ(mem->va + len, mmap(mem->va + len, PG, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	if (!column->remap)
		return;
	ASSERT_EQ(mem->va, mmap(mem->va, len, PROT_READ | PROT_WRITE,
				column->remap | MAP_FIXED,
				column->remap & MAP_ANONYMOUS ? -1 : mem->fd, 0));
	if (column->remap & MAP_ANONYMOUS)
		gm_pattern_set(mem->va, len);
}

/* One of a file that has 64 bits for each page. */
static __u64 page_entry(const char *path, __u64 page)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) !=
		      sizeof(entry))
		fprintf(stderr, "# no %s: %s\n", path, strerror(errno));
	close(fd);
	return entry;
}

/* pagemap's entry: where the page is, or that it is not there. */
static __u64 pagemap(pid_t pid, const void *p)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	/* Swapped, present, page frame; without soft-dirty and the like. */
	return page_entry(path, (uintptr_t)p / PG) & (3ULL << 62 | ((1ULL << 55) - 1));
}

/* Whether it is the head or in the tail of a huge page; 0 if it is by itself. */
static __u64 compound(__u64 hpa)
{
	return page_entry("/proc/kpageflags", hpa / PG) &
	       (1ULL << KPF_COMPOUND_HEAD | 1ULL << KPF_COMPOUND_TAIL);
}

static __u64 hpa_in(pid_t pid, const void *p)
{
	__u64 entry = pagemap(pid, p);

	return entry >> 63 ? (entry & ((1ULL << 55) - 1)) * PG : 0;
}

static __u64 hpa_of(struct cell *c, size_t offset)
{
	struct guestmem_range range = { GM_GPA + offset, 1 };
	struct guestmem_extent extent = { 0 };
	struct guestmem_translate tr;

	if (gm_translate(c->guest.fd, &tr, .flags = GUESTMEM_EXTENT_HPA, .nranges = 1,
			 .ranges = (uintptr_t)&range, .extents = (uintptr_t)&extent, .nextents = 1))
		return 0;
	return extent.hpa & ~(__u64)(PG - 1);
}

/* ---- another process ---- */

enum { PEEK, POKE, ADD, EXEC };

struct request {
	int op;
	unsigned char *p;
	unsigned char value;
};

static int region_add(struct cell *c)
{
	struct guestmem_region_add add;
	bool user = columns[c->column].backing == GUESTMEM_BACKING_USER;
	int ret;

	ret = gm_region_add(c->guest.fd, &add, .backing = columns[c->column].backing,
			    .flags = c->flags, .fd = user ? 0 : c->mem.fd, .gpa = GM_GPA,
			    .len = c->mem.len, .offset = user ? (uintptr_t)c->mem.va : 0);
	return ret ? ret : (int)add.id;
}

static void peer_run(struct cell *c)
{
	struct request request;

	while (read(c->sock, &request, sizeof(request)) == sizeof(request)) {
		int ret = -EINVAL;

		switch (request.op) {
		case PEEK:
			ret = gm_peek(request.p);
			break;
		case POKE:
			ret = gm_poke(request.p, request.value);
			break;
		case ADD:
			ret = region_add(c);
			break;
		case EXEC:
			execlp("sleep", "sleep", "1000", NULL);
			ret = -errno;
			break;
		}
		if (write(c->sock, &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(0);
}

static void peer_start(struct __test_metadata *_metadata, struct cell *c)
{
	int socks[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	c->peer = fork();
	ASSERT_LE(0, c->peer);
	if (!c->peer) {
		close(socks[0]);
		c->sock = socks[1];
		peer_run(c);
	}
	close(socks[1]);
	c->sock = socks[0];
}

/* -EPIPE if it has gone, or has become another program. */
static int peer_ask(struct cell *c, int op, unsigned char *p, unsigned char value)
{
	struct request request = { op, p, value };
	int ret;

	if (write(c->sock, &request, sizeof(request)) != sizeof(request) ||
	    read(c->sock, &ret, sizeof(ret)) != sizeof(ret))
		return -EPIPE;
	return ret;
}

static void peer_stop(struct cell *c)
{
	if (!c->peer)
		return;
	close(c->sock);
	kill(c->peer, SIGKILL);
	waitpid(c->peer, NULL, 0);
	c->peer = 0;
}

static int view_peek(struct cell *c, unsigned char *p)
{
	return c->peer_views ? peer_ask(c, PEEK, p, 0) : gm_peek(p);
}

static int view_poke(struct cell *c, unsigned char *p, unsigned char value)
{
	return c->peer_views ? peer_ask(c, POKE, p, value) : gm_poke(p, value);
}

/* ---- the readers ---- */

static int kapi_read(struct cell *c, size_t offset, void *buf, size_t len)
{
	struct guestmem_kapi arg = {
		.fd = c->guest.fd, .op = GUESTMEM_KAPI_READ, .gpa = GM_GPA + offset, .len = len,
		.buf = (uintptr_t)buf,
	};
	int ret = gm_ioctl(c->kapi, GUESTMEM_KAPI, &arg);

	return ret ? ret : arg.rc;
}

static void expect_byte(struct __test_metadata *_metadata, struct cell *c, size_t offset)
{
	unsigned char byte;

	EXPECT_EQ(1, pread(c->guest.fd, &byte, 1, GM_GPA + offset));
	EXPECT_EQ(c->model[offset], byte)
		TH_LOG("pread at %zx", offset);
	EXPECT_EQ(0, kapi_read(c, offset, &byte, 1));
	EXPECT_EQ(c->model[offset], byte)
		TH_LOG("driver at %zx", offset);
	EXPECT_EQ(c->model[offset], gm_peek(c->mapped + offset))
		TH_LOG("mapping at %zx", offset);
}

/* 0 if they are alike. By words: memcmp() uses vectors, which takes twice as long here. */
static int pages_cmp(const unsigned char *p, const unsigned char *q, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += 8)
		if (gm_word(p + i) != gm_word(q + i))
			return -1;
	return 0;
}

/* [@start, @start + @len) of the region, and nothing foreign in it. */
static void expect_model(struct __test_metadata *_metadata, struct cell *c, size_t start,
			 size_t len)
{
	unsigned char *fresh = gm_mmap(c->guest.fd, GM_GPA, c->mem.len, PROT_READ);
	const unsigned char *model = c->model + start;
	size_t some = len < GUESTMEM_KAPI_BUF_LEN ? len : GUESTMEM_KAPI_BUF_LEN;

	ASSERT_NE(MAP_FAILED, fresh);
	EXPECT_EQ((ssize_t)len, pread(c->guest.fd, c->buf, len, GM_GPA + start));
	EXPECT_EQ(0, pages_cmp(c->buf, model, len));
	EXPECT_EQ(0, pages_cmp(c->mapped + start, model, len));
	EXPECT_EQ(0, pages_cmp(fresh + start, model, len));
	EXPECT_EQ(0, kapi_read(c, start + len - some, c->buf, some));
	EXPECT_EQ(0, pages_cmp(c->buf, model + len - some, some));
	munmap(fresh, c->mem.len);
}

/* ---- what is compared ---- */

/* @p is where the guest's @offset should be, or not be, the guest's page. */
static void expect_same(struct __test_metadata *_metadata, struct cell *c, size_t offset,
			unsigned char *p, bool same)
{
	pid_t pid = c->peer_views ? c->peer : getpid();
	unsigned char own = c->model[offset] ^ 0x55, guests = c->model[offset] ^ 0xaa;

	if (same)
		EXPECT_EQ(c->model[offset], view_peek(c, p))
			TH_LOG("the process at %zx", offset);
	ASSERT_EQ(0, view_poke(c, p, own));
	if (same)
		c->model[offset] = own;
	expect_byte(_metadata, c, offset);
	if (!(c->flags & GUESTMEM_REGION_READONLY)) {
		ASSERT_EQ(1, pwrite(c->guest.fd, &guests, 1, GM_GPA + offset));
		c->model[offset] = guests;
		expect_byte(_metadata, c, offset);
		EXPECT_EQ(same ? guests : own, view_peek(c, p))
			TH_LOG("the process at %zx", offset);
	}
	EXPECT_EQ(same, hpa_of(c, offset) == hpa_in(pid, p));
}

static void expect_gone(struct __test_metadata *_metadata, struct cell *c, unsigned char *p)
{
	int byte = view_peek(c, p);

	EXPECT_TRUE(byte == -SIGSEGV || byte == -SIGBUS)
		TH_LOG("there is something: %d", byte);
}

/*
 * A mapping that has the page already keeps it: the kernel does not know of it. With
 * a real error, to touch it would be another one.
 */
static void expect_poison(struct __test_metadata *_metadata, struct cell *c, size_t offset,
			  unsigned char *p, bool spared)
{
	unsigned char *fresh = gm_mmap(c->guest.fd, GM_GPA, c->mem.len, PROT_READ);
	unsigned char byte = 0;

	ASSERT_NE(MAP_FAILED, fresh);
	EXPECT_EQ(-EHWPOISON, result(pread(c->guest.fd, &byte, 1, GM_GPA + offset)));
	EXPECT_EQ(-EHWPOISON, kapi_read(c, offset, &byte, 1));
	EXPECT_EQ(-SIGBUS, gm_peek(fresh + offset));
	EXPECT_EQ(c->model[offset], gm_peek(c->mapped + offset));
	EXPECT_EQ(spared ? c->model[offset] : -SIGBUS, view_peek(c, p));
	EXPECT_EQ(c->flags & GUESTMEM_REGION_READONLY ? -EACCES : -EHWPOISON,
		  result(pwrite(c->guest.fd, &byte, 1, GM_GPA + offset)));
	munmap(fresh, c->mem.len);
}

static bool is_stale(struct cell *c)
{
	struct guestmem_region region;

	return !gm_region_get(c->guest.fd, c->id, &region) &&
	       (region.flags & GUESTMEM_REGION_STALE);
}

/* Asking settles what can be told by then; what is only on its way is waited for. */
static void expect_stale(struct __test_metadata *_metadata, struct cell *c, bool stale)
{
	struct pollfd pfd = { .fd = c->guest.fd, .events = POLLPRI };
	struct guestmem_info info;

	do {
		ASSERT_EQ(0, gm_info(c->guest.fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS));
		c->events |= info.events;
	} while (stale && !(c->events & GUESTMEM_EVENT_STALE) && poll(&pfd, 1, 60 * 1000) == 1);
	EXPECT_EQ(stale, is_stale(c));
	EXPECT_EQ(stale ? GUESTMEM_EVENT_STALE : 0, c->events);
}

/* ---- a cell, from beginning to end ---- */

static void cell_probes(struct cell *c)
{
	/* In the middle of pages, each at another place. */
	c->probes[0] = c->at + 0x123;
	c->probes[1] = c->at + c->len / 2 / PG * PG + 0x456;
	c->probes[2] = c->at + c->len - PG + 0x789;
}

/* In few page faults, which are dear where kernels are debugged. */
static unsigned char *cell_buffer(struct __test_metadata *_metadata, size_t len)
{
	unsigned char *p = aligned_alloc(GM_HUGE, (len + GM_HUGE - 1) & ~(GM_HUGE - 1));

	ASSERT_NE(NULL, p);
	madvise(p, len & ~(GM_HUGE - 1), MADV_HUGEPAGE);
	return p;
}

/* The event comes at the end of the memory, so that it can be cut off. */
static void cell_memory(struct __test_metadata *_metadata, struct cell *c,
			const struct event *event)
{
	size_t page = gm_kind_is_huge(columns[c->column].kind) ? GM_HUGE : PG;

	if (page < event->granule)
		page = event->granule;
	mem_make(_metadata, c, &c->mem, page == PG ? 8 * PG : 2 * page);
	c->at = event->part ? c->mem.len - 5 * PG : c->mem.len - page;
	c->len = event->part ? PG : page;
	c->view = c->mem.va + c->at;
	/* That there were none left would be no failure. */
	if (gm_kind_is_huge(columns[c->column].kind))
		ASSERT_EQ(0, hpa_in(getpid(), c->mem.va + c->mem.len - GM_HUGE) % GM_HUGE)
			TH_LOG("no huge page");
	cell_probes(c);
}

static void cell_add(struct __test_metadata *_metadata, struct cell *c)
{
	struct guestmem_info info;
	int i, ret;

	ret = c->peer_owns ? peer_ask(c, ADD, NULL, 0) : region_add(c);
	ASSERT_LT(0, ret)
		TH_LOG("cannot be added: %s", strerror(-ret));
	c->id = ret;
	c->mapped = gm_mmap(c->guest.fd, GM_GPA, c->mem.len, PROT_READ);
	ASSERT_NE(MAP_FAILED, c->mapped);
	EXPECT_EQ(0, pages_cmp(c->mapped, c->model, c->mem.len));
	for (i = 0; i < NPROBES; i++) {
		c->hpas[i] = hpa_of(c, c->probes[i]);
		ASSERT_NE(0, c->hpas[i]);
		c->compounds[i] = compound(c->hpas[i]);
	}
	ASSERT_EQ(0, gm_info(c->guest.fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS));
}

static void cell_compare(struct __test_metadata *_metadata, struct cell *c, int what)
{
	size_t offset;
	int i;

	for (i = 0; i < NPROBES; i++) {
		unsigned char *p = c->view + (c->probes[i] - c->at);

		EXPECT_EQ(c->hpas[i], hpa_of(c, c->probes[i]));
		EXPECT_EQ(c->compounds[i], compound(c->hpas[i]))
			TH_LOG("the huge page at %zx is no more", c->probes[i]);
		switch (what) {
		case SAME:
		case KEPT:
		case LEFT:
			expect_same(_metadata, c, c->probes[i], p, what != LEFT);
			break;
		case GONE:
			expect_gone(_metadata, c, p);
			break;
		case POISON:
		case SPARED:
			/* The others are not always struck. */
			if (!i)
				expect_poison(_metadata, c, c->probes[i], p, what == SPARED);
			break;
		}
	}
	if (c->peer_owns)
		return;
	c->peer_views = false;
	offset = c->at - PG + 0xabc;
	expect_same(_metadata, c, offset, c->mem.va + offset, true);
	offset = c->at + c->len + 0xdef;
	if (offset < c->mem.len)
		expect_same(_metadata, c, offset, c->mem.va + offset, true);
}

static void cell_done(struct __test_metadata *_metadata, struct cell *c)
{
	ASSERT_EQ(0, gm_remove(c->guest.fd, c->id));
	EXPECT_EQ(-SIGBUS, gm_peek(c->mapped + c->at));
	EXPECT_EQ(0, gm_pinned(c->guest.fd));
}

static long file_value(const char *path)
{
	long value = -1;
	FILE *f = fopen(path, "re");

	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

static int file_set(const char *path, long value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = dprintf(fd, "%ld", value) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

#define UNPOISON "/sys/kernel/debug/hwpoison/unpoison-pfn"
#define HUGETLB_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define SECOND_NODE "/sys/devices/system/node/node1"

/* What the event does to memory that is not pinned. */
static void cell_control(struct __test_metadata *_metadata, const struct cell *like,
			 const struct event *event)
{
	struct cell c = { .column = like->column, .guest.fd = -1 };
	long pool = file_value(HUGETLB_POOL), before, after;
	__u64 hpa;

	cell_memory(_metadata, &c, event);
	if (event->before)
		ASSERT_EQ(0, event->before(_metadata, &c));
	/* As the pin would have: a page of its own, if it is private. */
	ASSERT_EQ(0, gm_poke(c.view, *c.view));
	hpa = hpa_in(getpid(), c.view);
	before = event->measure ? event->measure(&c) : (long)pagemap(getpid(), c.view);
	ASSERT_EQ(0, event->event(_metadata, &c))
		TH_LOG("refused for memory that is not pinned too");
	after = event->measure ? event->measure(&c) : (long)pagemap(getpid(), c.view);
	EXPECT_NE(before, after)
		TH_LOG("has no effect on memory that is not pinned either");
	peer_stop(&c);
	gm_mem_free(&c.mem);
	if (event->poisons) {
		EXPECT_EQ(0, file_set(UNPOISON, (long)(hpa / PG)));
		/* What was of the pool is no more. */
		EXPECT_EQ(0, file_set(HUGETLB_POOL, pool));
	}
}

static void cell_run(struct __test_metadata *_metadata, struct cell *c,
		     const struct event *event, __u64 cell)
{
	__u32 expected = expectation(cell);
	bool stale = expected & STALE;
	int what = expected & 0xff;

	if (event->poisons && access(UNPOISON, W_OK))
		SKIP(return, "no module hwpoison-inject to undo it with");
	if (event->migrates && access(SECOND_NODE, F_OK))
		SKIP(return, "one NUMA node; numa=fake=2 makes two");
	if (what == KEPT)
		cell_control(_metadata, c, event);
	cell_memory(_metadata, c, event);
	c->buf = cell_buffer(_metadata, c->mem.len);
	c->model = cell_buffer(_metadata, c->mem.len);
	memcpy(c->model, c->mem.va, c->mem.len);
	if (event->before)
		ASSERT_EQ(0, event->before(_metadata, c));
	cell_add(_metadata, c);
	if (what == POISON || what == SPARED)
		c->poisoned = c->hpas[0];
	if (event->event)
		EXPECT_EQ(-(int)(expected >> 16), event->event(_metadata, c));
	expect_stale(_metadata, c, stale);
	expect_model(_metadata, c, 0, c->poisoned ? c->at : c->mem.len);
	cell_compare(_metadata, c, what);
	expect_stale(_metadata, c, stale);
	cell_done(_metadata, c);
}

/* ---- events ---- */

#define EVENT(name, ...) static const struct event name##_event = { __VA_ARGS__ }

/* -- other processes -- */

static int fork_only(struct __test_metadata *_metadata, struct cell *c)
{
	peer_start(_metadata, c);
	return 0;
}

static int fork_and_watch_child(struct __test_metadata *_metadata, struct cell *c)
{
	peer_start(_metadata, c);
	c->peer_views = true;
	return 0;
}

static int fork_and_write(struct __test_metadata *_metadata, struct cell *c)
{
	peer_start(_metadata, c);
	return gm_poke(c->view, *c->view);
}

static int fork_and_bury(struct __test_metadata *_metadata, struct cell *c)
{
	peer_start(_metadata, c);
	ASSERT_EQ(*c->view, peer_ask(c, PEEK, c->view, 0));
	ASSERT_EQ(0, peer_ask(c, POKE, c->view, *c->view));
	peer_stop(c);
	return 0;
}

static int fork_owner(struct __test_metadata *_metadata, struct cell *c)
{
	peer_start(_metadata, c);
	c->peer_owns = true;
	return 0;
}

static int end_owner(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	peer_stop(c);
	return 0;
}

static int exec_owner(struct __test_metadata *_metadata, struct cell *c)
{
	ASSERT_EQ(-EPIPE, peer_ask(c, EXEC, NULL, 0));
	ASSERT_EQ(0, kill(c->peer, 0));
	return 0;
}

static int fork_advised(struct __test_metadata *_metadata, struct cell *c, int advice)
{
	int ret = result(madvise(c->view, c->len, advice));

	return ret ? ret : fork_and_watch_child(_metadata, c);
}

static int fork_without(struct __test_metadata *_metadata, struct cell *c)
{
	return fork_advised(_metadata, c, MADV_DONTFORK);
}

static int fork_wiped(struct __test_metadata *_metadata, struct cell *c)
{
	return fork_advised(_metadata, c, MADV_WIPEONFORK);
}

EVENT(fork_before_add, .before = fork_only);
EVENT(fork_before_add_child, .before = fork_and_watch_child);
EVENT(fork, .event = fork_and_write);
EVENT(fork_child, .event = fork_and_watch_child);
EVENT(child_exit, .event = fork_and_bury);
EVENT(owner_exit, .before = fork_owner, .event = end_owner);
EVENT(owner_exec, .before = fork_owner, .event = exec_owner);
EVENT(dontfork_child, .event = fork_without);
EVENT(wipeonfork_child, .event = fork_wiped);

/* -- discarding -- */

static int discard(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	return result(madvise(c->view, c->len, MADV_DONTNEED));
}

static int discard_file(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	return result(madvise(c->view, c->len, MADV_REMOVE));
}

static int page_out(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	return result(madvise(c->view, c->len, MADV_PAGEOUT));
}

static int free_and_take(struct __test_metadata *_metadata, struct cell *c)
{
	int ret = result(madvise(c->view, c->len, MADV_FREE));

	/* Which only marks it: this takes what is marked. */
	return ret ? ret : page_out(_metadata, c);
}

static int punch(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	int ret = result(fallocate(c->mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   c->at, c->len));

	/* A hole smaller than a page of hugetlb is made by writing zeros. */
	if (!ret && is_hugetlb(c) && c->len < GM_HUGE)
		memset(c->model + c->at, 0, c->len);
	return ret;
}

static int cut(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	int ret = result(ftruncate(c->mem.fd, c->at));

	return ret ? ret : result(ftruncate(c->mem.fd, c->mem.len));
}

/* Not all files can be sealed: then it makes no difference. */
static int cut_sealed(struct __test_metadata *_metadata, struct cell *c)
{
	fcntl(c->mem.fd, F_ADD_SEALS, F_SEAL_SHRINK);
	return cut(_metadata, c);
}

static int punch_sealed(struct __test_metadata *_metadata, struct cell *c)
{
	fcntl(c->mem.fd, F_ADD_SEALS, F_SEAL_SHRINK);
	return punch(_metadata, c);
}

static int punch_write_sealed(struct __test_metadata *_metadata, struct cell *c)
{
	fcntl(c->mem.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
	return punch(_metadata, c);
}

EVENT(dontneed, .event = discard);
EVENT(dontneed_part, .event = discard, .part = true);
EVENT(free, .event = free_and_take);
EVENT(free_part, .event = free_and_take, .part = true);
EVENT(remove, .event = discard_file);
EVENT(punch_hole, .event = punch);
EVENT(punch_hole_part, .event = punch, .part = true);
EVENT(truncate, .event = cut);
EVENT(truncate_sealed, .event = cut_sealed);
EVENT(punch_hole_sealed, .event = punch_sealed);
EVENT(punch_hole_write_sealed, .event = punch_write_sealed);

/* -- mapping -- */

static int unmap(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	return result(munmap(c->view, c->len));
}

static int map_at(struct cell *c, int fd, int flags)
{
	return mmap(c->view, c->len, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
		    fd < 0 ? 0 : (off_t)c->at) == MAP_FAILED ? -errno : 0;
}

static int map_over(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	return map_at(c, -1, MAP_PRIVATE | MAP_ANONYMOUS);
}

static int map_again(struct __test_metadata *_metadata, struct cell *c)
{
	int ret = unmap(_metadata, c);

	return ret ? ret : map_at(c, c->mem.fd, is_shared(c) ? MAP_SHARED : MAP_PRIVATE);
}

static int unmap_neighbour(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	unsigned char *p = c->mem.va + c->mem.len;

	*p = 1;
	return result(munmap(p, PG));
}

static int move(struct __test_metadata *_metadata, struct cell *c, int flags)
{
	unsigned char *to;

	to = mmap(NULL, c->len + GM_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		  -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	to = (unsigned char *)(((uintptr_t)to + GM_HUGE - 1) & ~(GM_HUGE - 1));
	if (mremap(c->view, c->len, c->len, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) ==
	    MAP_FAILED)
		return -errno;
	if (!flags)
		c->view = to;
	return 0;
}

static int move_away(struct __test_metadata *_metadata, struct cell *c)
{
	return move(_metadata, c, 0);
}

static int move_and_keep(struct __test_metadata *_metadata, struct cell *c)
{
	return move(_metadata, c, MREMAP_DONTUNMAP);
}

static int shrink(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	return mremap(c->mem.va, c->mem.len, c->at, 0) == MAP_FAILED ? -errno : 0;
}

/* Under the protection, and with a reason to look, nothing is stale either. */
static int protect(struct __test_metadata *_metadata, struct cell *c, int prot)
{
	int ret = result(mprotect(c->view, c->len, prot));

	if (ret)
		return ret;
	EXPECT_EQ(prot == PROT_NONE ? -SIGSEGV : *(c->model + c->at), gm_peek(c->view));
	EXPECT_EQ(-SIGSEGV, gm_poke(c->view, 0));
	madvise(c->view, c->len, MADV_PAGEOUT);
	expect_model(_metadata, c, 0, c->mem.len);
	expect_stale(_metadata, c, false);
	return result(mprotect(c->view, c->len, PROT_READ | PROT_WRITE));
}

static int protect_all(struct __test_metadata *_metadata, struct cell *c)
{
	return protect(_metadata, c, PROT_NONE);
}

static int protect_writing(struct __test_metadata *_metadata, struct cell *c)
{
	return protect(_metadata, c, PROT_READ);
}

EVENT(munmap, .event = unmap);
EVENT(munmap_part, .event = unmap, .part = true);
EVENT(munmap_neighbour, .event = unmap_neighbour);
EVENT(mmap_over, .event = map_over);
EVENT(mmap_again, .event = map_again);
EVENT(mremap_move, .event = move_away);
EVENT(mremap_dontunmap, .event = move_and_keep);
EVENT(mremap_shrink, .event = shrink);
EVENT(mprotect_none, .event = protect_all);
EVENT(mprotect_read, .event = protect_writing);
EVENT(mprotect_part, .event = protect_all, .part = true);

/* -- what the kernel does of itself, or for everybody -- */

#define KSM "/sys/kernel/mm/ksm/"

static long ksm_merged(struct cell __unused_ok *c)
{
	return file_value(KSM "pages_sharing");
}

/* The first page and one that is just the same, in anonymous memory, are to be merged. */
static int merge(struct __test_metadata *_metadata, struct cell *c)
{
	double deadline = gm_now() + 60;
	unsigned char *twin;
	long scans;
	int ret;

	twin = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, twin);
	memcpy(twin, c->view, PG);
	/* A page of a file it remains until it is written to. */
	ASSERT_EQ(0, gm_poke(c->view, *twin));
	ASSERT_EQ(0, madvise(twin, PG, MADV_MERGEABLE));
	ret = result(madvise(c->view, PG, MADV_MERGEABLE));
	if (ret)
		return ret;
	c->ksm = true;
	scans = file_value(KSM "full_scans");
	ASSERT_EQ(0, file_set(KSM "run", 1));
	/* Seen, seen unchanged, found to be the same; and one that was under way. */
	while (file_value(KSM "full_scans") < scans + 4 && gm_now() < deadline)
		usleep(10000);
	ASSERT_LE(scans + 4, file_value(KSM "full_scans"));
	return 0;
}

static int merge_first(struct __test_metadata *_metadata, struct cell *c)
{
	long merged = ksm_merged(c);
	int ret = merge(_metadata, c);

	if (!is_shared(c))
		EXPECT_LT(merged, ksm_merged(c));
	return ret;
}

static long swapped_out(struct cell __unused_ok *c)
{
	return gm_proc_value("/proc/vmstat", "pswpout");
}

static int swap_out(struct __test_metadata *_metadata, struct cell *c)
{
	const char *device = getenv("GUESTMEM_TEST_SWAP");

	ASSERT_NE(NULL, device)
		TH_LOG("no GUESTMEM_TEST_SWAP to swap to");
	/* The control may have done it. */
	ASSERT_TRUE(!swapon(device, 0) || errno == EBUSY)
		TH_LOG("%s: %s", device, strerror(errno));
	c->swap = true;
	return page_out(_metadata, c);
}

static int swap_first(struct __test_metadata *_metadata, struct cell *c)
{
	long before = swapped_out(c);
	int ret;

	/* Of a private mapping, a page of its own: others are not swapped. */
	ASSERT_EQ(0, gm_poke(c->view, *c->view));
	ret = swap_out(_metadata, c);
	EXPECT_LT(before, swapped_out(c));
	return ret;
}

static int collapse(struct __test_metadata *_metadata, struct cell *c)
{
	if (c->column == THP) {
		/* The page is one, its mapping is no more. */
		ASSERT_EQ(0, mprotect(c->view, PG, PROT_READ));
		ASSERT_EQ(0, mprotect(c->view, PG, PROT_READ | PROT_WRITE));
	}
	madvise(c->view, c->len, MADV_HUGEPAGE);
	return result(madvise(c->view, c->len, MADV_COLLAPSE));
}

static long view_compound(struct cell *c)
{
	/* What is split may be unmapped on the way. */
	gm_peek(c->view);
	return (long)compound(hpa_in(getpid(), c->view));
}

/* The page, not only its mapping. That it was in vain is not told. */
static int split(struct __test_metadata *_metadata, struct cell *c)
{
	int fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY | O_CLOEXEC), ret;

	ASSERT_LE(0, fd);
	ASSERT_NE(0, view_compound(c))
		TH_LOG("nothing to split");
	ret = dprintf(fd, "%d,0x%lx,0x%lx", getpid(), (uintptr_t)c->view,
		      (uintptr_t)c->view + PG) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int split_first(struct __test_metadata *_metadata, struct cell *c)
{
	ASSERT_EQ(0, collapse(_metadata, c));
	ASSERT_EQ(0, split(_metadata, c));
	EXPECT_EQ(0, view_compound(c));
	return 0;
}

static long view_node(struct cell *c)
{
	int node = -1;

	syscall(SYS_get_mempolicy, &node, NULL, 0, c->view, MPOL_F_NODE | MPOL_F_ADDR);
	return node;
}

static int migrate(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	unsigned long other = 1UL << !view_node(c);

	return result((int)syscall(SYS_mbind, c->view, c->len, MPOL_BIND, &other,
				   8 * sizeof(other), MPOL_MF_STRICT | MPOL_MF_MOVE));
}

static int migrate_first(struct __test_metadata *_metadata, struct cell *c)
{
	long before = view_node(c);

	ASSERT_EQ(0, migrate(_metadata, c));
	EXPECT_NE(before, view_node(c));
	return 0;
}

static int offline(struct __test_metadata __unused_ok *_metadata, struct cell *c)
{
	return result(madvise(c->view, PG, MADV_SOFT_OFFLINE));
}

static void ignore_signal(int __unused_ok sig)
{
}

static int poison(struct __test_metadata *_metadata, struct cell *c)
{
	struct sigaction sa = { .sa_handler = ignore_signal };

	/* Who has it mapped is told, even if this is who says so. */
	ASSERT_EQ(0, sigaction(SIGBUS, &sa, NULL));
	return result(madvise(c->view, PG, MADV_HWPOISON));
}

/*
 * Nobody serves the faults: the module must find out what there is without one. Then
 * another page comes.
 */
static int discard_userfault(struct __test_metadata *_metadata, struct cell *c)
{
	size_t page = is_hugetlb(c) ? GM_HUGE : PG, done;
	struct uffdio_register reg = {
		.range = { (uintptr_t)c->view, c->len }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_api api = { .api = UFFD_API };
	struct guestmem_info info;
	struct uffd_msg msg;
	int fd;

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, is_shared(c) ? discard_file(_metadata, c) : discard(_metadata, c));
	ASSERT_EQ(0, gm_info(c->guest.fd, &info));
	EXPECT_EQ(-EAGAIN, result(read(fd, &msg, sizeof(msg))));
	for (done = 0; done < c->len; done += page) {
		struct uffdio_copy copy = {
			.dst = (uintptr_t)c->view + done, .src = (uintptr_t)c->buf, .len = page,
		};

		ASSERT_EQ(0, ioctl(fd, UFFDIO_COPY, &copy));
	}
	close(fd);
	return 0;
}

EVENT(ksm, .event = merge, .measure = ksm_merged);
EVENT(ksm_before_add, .before = merge_first);
EVENT(swap_out, .event = swap_out, .measure = swapped_out);
EVENT(swap_out_before_add, .before = swap_first);
EVENT(swap_out_part, .event = swap_out, .measure = swapped_out, .part = true);
EVENT(collapse, .event = collapse, .granule = GM_HUGE);
EVENT(split, .before = collapse, .event = split, .measure = view_compound, .granule = GM_HUGE);
EVENT(split_before_add, .before = split_first, .granule = GM_HUGE);
EVENT(migrate, .event = migrate, .measure = view_node, .migrates = true);
EVENT(migrate_before_add, .before = migrate_first, .migrates = true);
EVENT(soft_offline, .event = offline, .poisons = true);
EVENT(hwpoison, .event = poison, .poisons = true);
EVENT(userfaultfd, .event = discard_userfault);

/* ---- the table ---- */

#define MATRIX_FIXTURE(name)							\
FIXTURE(name) {									\
	struct cell cell;							\
};										\
FIXTURE_VARIANT(name) {								\
	enum column column;							\
	__u32 flags;								\
};										\
FIXTURE_SETUP(name)								\
{										\
	cell_setup(_metadata, &self->cell, variant->column, variant->flags);	\
}										\
FIXTURE_TEARDOWN(name)								\
{										\
	cell_teardown(_metadata, &self->cell);					\
}

#define COLUMN(fixture, name, column_)						\
FIXTURE_VARIANT_ADD(fixture, name##_rw) { .column = column_ };			\
FIXTURE_VARIANT_ADD(fixture, name##_ro) {					\
	.column = column_, .flags = GUESTMEM_REGION_READONLY,			\
};

static void cell_setup(struct __test_metadata *_metadata, struct cell *c, enum column column,
		       __u32 flags)
{
	cpu_set_t cpus;

	/* MADV_PAGEOUT does not find pages that another CPU has yet to put on a list. */
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpus), &cpus));
	gm_guest_setup(_metadata, &c->guest);
	c->column = column;
	c->flags = flags;
	c->mem.fd = -1;
	c->kapi = open("/dev/guestmem_kapi", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, c->kapi);
}

static void cell_teardown(struct __test_metadata *_metadata, struct cell *c)
{
	peer_stop(c);
	if (c->ksm)
		EXPECT_EQ(0, file_set(KSM "run", 2));
	if (c->swap)
		EXPECT_EQ(0, swapoff(getenv("GUESTMEM_TEST_SWAP")));
	if (c->mapped && c->mapped != MAP_FAILED)
		munmap(c->mapped, c->mem.len);
	gm_mem_free(&c->mem);
	if (c->poisoned)
		EXPECT_EQ(0, file_set(UNPOISON, (long)(c->poisoned / PG)));
	free(c->model);
	free(c->buf);
	close(c->kapi);
	gm_guest_teardown(_metadata, &c->guest);
}

#define ROW(fixture, name, ...)							\
TEST_F(fixture, name)								\
{										\
	static const __u64 expected[] = { __VA_ARGS__ };			\
										\
	cell_run(_metadata, &self->cell, &name##_event, expected[variant->column]); \
}

/* What can happen to all memory. */
MATRIX_FIXTURE(memory)
COLUMN(memory, anon, ANON)
COLUMN(memory, thp, THP)
COLUMN(memory, private, PRIVATE)
COLUMN(memory, hugetlb_anon, HUGETLB_ANON)
COLUMN(memory, tmpfs, TMPFS)
COLUMN(memory, hugetlb, HUGETLB)
COLUMN(memory, memfd_file, MEMFD_FILE)
COLUMN(memory, hugetlb_file, HUGETLB_FILE)

#define MEMORY_ROW(name, anon, thp, private, hugetlb_anon, tmpfs, hugetlb, memfd_file,	\
		   hugetlb_file)							\
ROW(memory, name, [ANON] = anon, [THP] = thp, [PRIVATE] = private,			\
    [HUGETLB_ANON] = hugetlb_anon, [TMPFS] = tmpfs, [HUGETLB] = hugetlb,		\
    [MEMFD_FILE] = memfd_file, [HUGETLB_FILE] = hugetlb_file)

MEMORY_ROW(fork_before_add, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME)
MEMORY_ROW(fork_before_add_child, LEFT, LEFT, LEFT, LEFT, SAME, SAME, SAME, SAME)
MEMORY_ROW(fork, KEPT, KEPT, KEPT, KEPT, SAME, SAME, SAME, SAME)
MEMORY_ROW(fork_child, LEFT, LEFT, LEFT, LEFT, SAME, SAME, SAME, SAME)
MEMORY_ROW(child_exit, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME)
MEMORY_ROW(owner_exit, LEFT, LEFT, LEFT, LEFT, SAME, SAME, SAME, SAME)
MEMORY_ROW(owner_exec, LEFT, LEFT, LEFT, LEFT, SAME, SAME, SAME, SAME)
MEMORY_ROW(dontfork_child, GONE, GONE, GONE, GONE, GONE, GONE, GONE, GONE)
MEMORY_ROW(wipeonfork_child, LEFT, LEFT, SAME | ERR(EINVAL), SAME | ERR(EINVAL),
	   SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL))
MEMORY_ROW(dontneed, LEFT | STALE, LEFT | STALE, LEFT | STALE, LEFT | STALE,
	   SAME, SAME | OLD(SAME | STALE), SAME, SAME)
MEMORY_ROW(free, KEPT, KEPT, SAME | ERR(EINVAL), SAME | ERR(EINVAL),
	   SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL))
MEMORY_ROW(remove, SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EACCES),
	   SAME | ERR(EACCES), LEFT | STALE, LEFT | STALE, LEFT, LEFT)
MEMORY_ROW(munmap, GONE | STALE, GONE | STALE, GONE | STALE, GONE | STALE,
	   GONE | STALE, GONE | STALE, GONE, GONE)
MEMORY_ROW(munmap_neighbour, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME)
MEMORY_ROW(mmap_over, LEFT | STALE, LEFT | STALE, LEFT | STALE, LEFT | STALE,
	   LEFT | STALE, LEFT | STALE, LEFT, LEFT)
MEMORY_ROW(mremap_move, SAME | STALE, SAME | STALE, SAME | STALE, SAME | STALE,
	   SAME | STALE, SAME | STALE, SAME, SAME)
MEMORY_ROW(mremap_dontunmap, LEFT | STALE, LEFT | STALE, LEFT | STALE, SAME | ERR(EINVAL),
	   SAME | STALE, SAME | ERR(EINVAL), SAME, SAME | ERR(EINVAL))
MEMORY_ROW(mremap_shrink, GONE | STALE, GONE | STALE, GONE | STALE, GONE | STALE,
	   GONE | STALE, GONE | STALE, GONE, GONE)
MEMORY_ROW(mprotect_none, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME)
MEMORY_ROW(mprotect_read, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME)
MEMORY_ROW(ksm, KEPT, KEPT, KEPT, SAME, SAME, SAME, SAME, SAME)
MEMORY_ROW(swap_out, KEPT, KEPT, KEPT, SAME | ERR(EINVAL), KEPT, SAME | ERR(EINVAL),
	   KEPT, SAME | ERR(EINVAL))
MEMORY_ROW(collapse, KEPT | ERR(EAGAIN), KEPT | ERR(EAGAIN), SAME | ERR(EINVAL),
	   SAME | ERR(EINVAL), KEPT | ERR(EAGAIN), SAME | ERR(EINVAL), KEPT | ERR(EAGAIN),
	   SAME | ERR(EINVAL))
MEMORY_ROW(migrate_before_add, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME)
MEMORY_ROW(migrate, KEPT | ERR(EIO), KEPT | ERR(EIO), KEPT | ERR(EIO), KEPT | ERR(EIO),
	   KEPT | ERR(EIO), KEPT | ERR(EIO), KEPT | ERR(EIO), KEPT | ERR(EIO))
MEMORY_ROW(soft_offline, KEPT | ERR(EBUSY), KEPT | ERR(EBUSY), KEPT | ERR(EBUSY),
	   KEPT | ERR(EBUSY), KEPT | ERR(EBUSY), KEPT | ERR(EBUSY), KEPT | ERR(EBUSY),
	   KEPT | ERR(EBUSY))
MEMORY_ROW(userfaultfd, LEFT | STALE, LEFT | STALE, LEFT | STALE, LEFT | STALE,
	   LEFT | STALE, LEFT | STALE, LEFT, LEFT)
MEMORY_ROW(hwpoison, POISON | STALE, SPARED | ERR(EHWPOISON) | OLD(SPARED | ERR(EBUSY)),
	   POISON | STALE, POISON | STALE | ERR(EBUSY), POISON | ERR(EBUSY), POISON | ERR(EBUSY),
	   POISON | ERR(EBUSY), POISON | ERR(EBUSY))

/* What takes pages that the kernel may swap. */
MATRIX_FIXTURE(paged)
COLUMN(paged, anon, ANON)
COLUMN(paged, thp, THP)
COLUMN(paged, private, PRIVATE)
COLUMN(paged, tmpfs, TMPFS)
COLUMN(paged, memfd_file, MEMFD_FILE)

#define PAGED_ROW(name, anon, thp, private, tmpfs, memfd_file)			\
ROW(paged, name, [ANON] = anon, [THP] = thp, [PRIVATE] = private, [TMPFS] = tmpfs,	\
    [MEMFD_FILE] = memfd_file)

PAGED_ROW(ksm_before_add, SAME, SAME, SAME, SAME, SAME)
PAGED_ROW(swap_out_before_add, SAME, SAME, SAME, SAME, SAME)

/* What takes huge pages that are not of the hugetlb pool. */
MATRIX_FIXTURE(huge)
COLUMN(huge, thp, THP)
COLUMN(huge, tmpfs, TMPFS)
COLUMN(huge, memfd_file, MEMFD_FILE)

#define HUGE_ROW(name, thp, tmpfs, memfd_file)					\
ROW(huge, name, [THP] = thp, [TMPFS] = tmpfs, [MEMFD_FILE] = memfd_file)

HUGE_ROW(split_before_add, SAME, SAME, SAME)
HUGE_ROW(split, KEPT, KEPT, KEPT)

/* What happens to the file behind it. */
MATRIX_FIXTURE(file)
COLUMN(file, private, PRIVATE)
COLUMN(file, tmpfs, TMPFS)
COLUMN(file, hugetlb, HUGETLB)
COLUMN(file, memfd_file, MEMFD_FILE)
COLUMN(file, hugetlb_file, HUGETLB_FILE)

#define FILE_ROW(name, private, tmpfs, hugetlb, memfd_file, hugetlb_file)	\
ROW(file, name, [PRIVATE] = private, [TMPFS] = tmpfs, [HUGETLB] = hugetlb,	\
    [MEMFD_FILE] = memfd_file, [HUGETLB_FILE] = hugetlb_file)

FILE_ROW(mmap_again, LEFT | STALE, SAME | STALE, SAME | STALE, SAME, SAME)
FILE_ROW(punch_hole, SAME, LEFT | STALE, LEFT | STALE, LEFT, LEFT)
FILE_ROW(punch_hole_part, SAME, LEFT | STALE, SAME, LEFT, SAME)
FILE_ROW(truncate, LEFT | STALE, LEFT | STALE, LEFT | STALE, LEFT, LEFT)
FILE_ROW(truncate_sealed, SAME | ERR(EPERM), LEFT | STALE, SAME | ERR(EPERM),
	 SAME | ERR(EPERM), SAME | ERR(EPERM))
FILE_ROW(punch_hole_sealed, SAME, LEFT | STALE, LEFT | STALE, LEFT, LEFT)
FILE_ROW(punch_hole_write_sealed, SAME | ERR(EPERM), LEFT | STALE, SAME | ERR(EPERM),
	 SAME | ERR(EPERM), SAME | ERR(EPERM))

/* What strikes 4 KiB of a huge page. */
MATRIX_FIXTURE(part)
COLUMN(part, thp, THP)
COLUMN(part, hugetlb_anon, HUGETLB_ANON)
COLUMN(part, hugetlb, HUGETLB)
COLUMN(part, hugetlb_file, HUGETLB_FILE)

#define PART_ROW(name, thp, hugetlb_anon, hugetlb, hugetlb_file)		\
ROW(part, name, [THP] = thp, [HUGETLB_ANON] = hugetlb_anon, [HUGETLB] = hugetlb,	\
    [HUGETLB_FILE] = hugetlb_file)

PART_ROW(dontneed_part, LEFT | STALE, SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL))
PART_ROW(free_part, KEPT, SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL))
PART_ROW(munmap_part, GONE | STALE, SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL))
PART_ROW(mprotect_part, SAME, SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL))
PART_ROW(swap_out_part, KEPT, SAME | ERR(EINVAL), SAME | ERR(EINVAL), SAME | ERR(EINVAL))

TEST_HARNESS_MAIN
