// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that do everything at once to one guest, on random overlapping ranges, for
 * TORTURE_SECONDS (default 10): regions come and go, are revoked, mapped, faulted,
 * locked, read, written, discarded; children are forked in between.
 *
 * What a reader may see is simple enough to be checked on the fly: each page of the
 * memory that regions are made of begins with a stamp that nobody overwrites. So
 * whatever is read at the start of a guest page is such a stamp, or an error; a page
 * that was freed and used by somebody else would have none. At the end all is closed,
 * and the leak oracle asked.
 *
 * The seed is printed; SEED= repeats it, as far as threads can be repeated.
 */
#include "guestmem_test.h"
#include "modules/guestmem_edu.h"

#include <sched.h>

#define MEM_PAGES	64
#define GPA_PAGES	256	/* fewer regions than holes, and often an overlap */
#define NTHREADS_MAX	16
#define STAMP		0x67756573746d0000ULL

static struct gm_mem mems[2];
static atomic_bool stop;
static atomic_ulong nops;
static unsigned long long seed;

struct worker {
	pthread_t thread;
	int fd;
	int edu;
	__u64 random;
	unsigned char *map;
	size_t map_len;
	__u64 map_gpa;
	__u32 handles[16];
	unsigned int nhandles;
	int bad;
	char why[128];
};

static __u64 rnd(struct worker *w, __u64 below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random % below;
}

static void wrong(struct worker *w, const char *what, __u64 got)
{
	if (!w->bad)
		snprintf(w->why, sizeof(w->why), "%s: %#llx", what, (unsigned long long)got);
	w->bad++;
}

static bool is_stamp(__u64 word)
{
	return (word & ~0xffffULL) == STAMP;
}

static __u64 some_gpa(struct worker *w)
{
	return GM_GPA + rnd(w, GPA_PAGES) * PG;
}

static size_t some_len(struct worker *w)
{
	return (1 + rnd(w, 16)) * PG;
}

/* ---- what a worker can do ---- */

static void do_add(struct worker *w)
{
	struct gm_mem *mem = &mems[rnd(w, 2)];
	size_t len = some_len(w), offset = rnd(w, MEM_PAGES - 16) * PG;
	__u32 flags = rnd(w, 4) ? 0 : GUESTMEM_REGION_READONLY;
	__u32 id;

	if (rnd(w, 2))
		gm_mem_add(w->fd, mem, some_gpa(w), offset, len, flags, &id);
	else
		gm_user_add(w->fd, mem->va + offset, some_gpa(w), len, flags, &id);
}

static void do_remove(struct worker *w)
{
	static __thread struct guestmem_region regions[GPA_PAGES];
	struct guestmem_region_remove remove;
	int n = gm_list(w->fd, regions, GPA_PAGES);

	if (n > 0)
		gm_region_remove(w->fd, &remove, .id = regions[rnd(w, n)].id,
				 .flags = rnd(w, 2) ? GUESTMEM_REMOVE_FORCE : 0);
}

static void do_read(struct worker *w)
{
	unsigned char buf[4 * 4096];
	__u64 gpa = some_gpa(w), word;
	ssize_t n = pread(w->fd, buf, sizeof(buf), gpa), i;

	for (i = 0; i + 8 <= n; i += PG) {
		memcpy(&word, buf + i, 8);
		if (!is_stamp(word))
			wrong(w, "pread", word);
	}
	if (n < 0 && errno != ENXIO)
		wrong(w, "errno of pread", errno);
}

static void do_write(struct worker *w)
{
	unsigned char buf[256];
	struct guestmem_fill fill;
	struct guestmem_copy copy;
	struct guestmem_atomic atomic;

	memset(buf, 0xaa, sizeof(buf));
	switch (rnd(w, 4)) {
	case 0:
		pwrite(w->fd, buf, sizeof(buf), some_gpa(w) + 64);
		break;
	case 1:
		gm_fill(w->fd, &fill, .gpa = some_gpa(w) + 64, .len = PG - 64, .value = 0x55);
		break;
	case 2:
		/* Whole pages: a stamp goes where a stamp was. */
		gm_copy(w->fd, &copy, .dst = some_gpa(w), .src = some_gpa(w), .len = some_len(w));
		break;
	case 3:
		gm_atomic(w->fd, &atomic, .op = GUESTMEM_ATOMIC_ADD, .width = 8,
			  .gpa = some_gpa(w) + 64, .operand = { 1 });
		break;
	}
}

static void do_translate(struct worker *w)
{
	struct guestmem_extent extents[32];
	struct guestmem_range ranges[2] = {
		{ some_gpa(w), some_len(w) }, { some_gpa(w), some_len(w) },
	};
	struct guestmem_translate translate;

	gm_translate(w->fd, &translate, .ranges = (uintptr_t)ranges, .nranges = 2,
		     .extents = (uintptr_t)extents, .nextents = 32);
}

static void do_lock(struct worker *w)
{
	struct guestmem_extent extents[32];
	__u64 pages[8];
	struct guestmem_lock lock;
	unsigned int i;
	int rc;

	if (w->nhandles == ARRAY_SIZE(w->handles)) {
		i = rnd(w, w->nhandles);
		if (gm_unlock_handle(w->fd, w->handles[i]))
			wrong(w, "UNLOCK of a lock that was there", w->handles[i]);
		w->handles[i] = w->handles[--w->nhandles];
		return;
	}
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = some_gpa(w);
	if (rnd(w, 2))
		rc = gm_lock(w->fd, &lock, .direction = 1 + rnd(w, 3), .gpa = some_gpa(w),
			     .len = some_len(w), .extents = (uintptr_t)extents, .nextents = 32);
	else
		rc = gm_lock(w->fd, &lock, .direction = 1 + rnd(w, 3),
			     .flags = GUESTMEM_LOCK_PAGES, .pages = (uintptr_t)pages,
			     .npages = 1 + rnd(w, 8));
	if (!rc)
		w->handles[w->nhandles++] = lock.handle;
}

static void do_map(struct worker *w)
{
	if (w->map)
		munmap(w->map, w->map_len);
	w->map_gpa = some_gpa(w);
	w->map_len = some_len(w);
	w->map = gm_mmap(w->fd, w->map_gpa, w->map_len, PROT_READ | PROT_WRITE);
	if (w->map == MAP_FAILED)
		w->map = NULL;
}

static void do_touch(struct worker *w)
{
	size_t offset;

	if (!w->map)
		return;
	offset = rnd(w, w->map_len / PG) * PG;
	if (!sigsetjmp(gm_sig_env, 1)) {
		gm_sig_armed = 1;
		if (rnd(w, 2)) {
			__u64 word = *(volatile __u64 *)(w->map + offset);

			if (!is_stamp(word))
				wrong(w, "load", word);
		} else {
			*(volatile __u64 *)(w->map + offset + 64) = 1;
		}
	}
	gm_sig_armed = 0;
}

static void do_protect(struct worker *w)
{
	if (w->map)
		mprotect(w->map, w->map_len, rnd(w, 2) ? PROT_READ : PROT_READ | PROT_WRITE);
}

static void do_discard(struct worker *w)
{
	/* Of the mapping only: what regions are made of keeps its stamps. */
	madvise(mems[1].va + rnd(w, MEM_PAGES) * PG, PG, rnd(w, 2) ? MADV_PAGEOUT : MADV_DONTNEED);
}

static void do_table(struct worker *w)
{
	void *table = mmap(NULL, PG, PROT_READ, MAP_SHARED, w->fd, (off_t)GUESTMEM_MMAP_TABLE);

	if (table == MAP_FAILED)
		return;
	if (((volatile struct guestmem_table *)table)->magic != GUESTMEM_TABLE_MAGIC)
		wrong(w, "magic", 0);
	munmap(table, PG);
}

static void do_event(struct worker *w)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct guestmem_eventfd ev;
	struct guestmem_info info;

	gm_eventfd(w->fd, &ev, .fd = fd, .events = 0xf);
	gm_info(w->fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS);
	if (rnd(w, 2))
		gm_eventfd(w->fd, &ev, .fd = fd);
	close(fd);
}

static void do_fork(struct worker *w)
{
	pid_t pid;

	/* Seldom: the others make it dear. */
	if (rnd(w, 20))
		return;
	pid = fork();
	if (!pid) {
		do_read(w);
		do_add(w);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void do_dma(struct worker *w)
{
	struct guestmem_edu_map map = { .gpa = some_gpa(w), .len = some_len(w), .direction = 3 };
	struct guestmem_edu_unmap unmap = { 0 };

	/* The device is slow: mapped and unmapped often, moving data now and then. */
	if (gm_ioctl(w->edu, GUESTMEM_EDU_MAP, &map))
		return;
	if (!rnd(w, 50)) {
		struct guestmem_edu_xfer xfer = { .gpa = map.gpa + 64, .len = 100, .direction = 2,
						  .map = map.map };

		gm_ioctl(w->edu, GUESTMEM_EDU_XFER, &xfer);
	}
	unmap.map = map.map;
	if (gm_ioctl(w->edu, GUESTMEM_EDU_UNMAP, &unmap))
		wrong(w, "unmap of a mapping that was there", map.map);
}

static void do_unload(struct worker *w)
{
	(void)w;
	if (!syscall(SYS_delete_module, "guestmem", O_NONBLOCK))
		wrong(w, "unloaded while in use", 0);
}

static void (* const operations[])(struct worker *w) = {
	do_add, do_add, do_add, do_remove, do_remove, do_read, do_write, do_translate, do_lock,
	do_map, do_touch, do_touch, do_touch, do_protect, do_discard, do_table, do_event, do_fork,
	do_dma, do_unload,
};

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&stop) && !w->bad) {
		operations[rnd(w, ARRAY_SIZE(operations))](w);
		atomic_fetch_add(&nops, 1);
	}
	if (w->map)
		munmap(w->map, w->map_len);
	return NULL;
}

TEST(everything_at_once)
{
	static struct worker workers[NTHREADS_MAX];
	const char *text = getenv("TORTURE_SECONDS");
	unsigned int seconds = text ? atoi(text) : 10, n, i;
	struct guestmem_edu_attach attach;
	struct gm_guest guest;
	size_t page;
	int m, edu;

	text = getenv("SEED");
	seed = text ? strtoull(text, NULL, 0) : (unsigned long long)time(NULL) * 2654435761u;
	n = 2 * sysconf(_SC_NPROCESSORS_ONLN);
	n = n > NTHREADS_MAX ? NTHREADS_MAX : n;
	printf("# SEED=%#llx, %u threads, %u s\n", seed, n, seconds);

	gm_sig_install();
	gm_guest_setup(_metadata, &guest);
	ASSERT_EQ(0, gm_mem_alloc(&mems[0], GM_ANON, MEM_PAGES * PG));
	ASSERT_EQ(0, gm_mem_alloc(&mems[1], GM_MEMFD, MEM_PAGES * PG));
	for (m = 0; m < 2; m++)
		for (page = 0; page < MEM_PAGES; page++)
			*(__u64 *)(mems[m].va + page * PG) = STAMP | m << 8 | page;
	edu = open("/dev/guestmem_edu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, edu);
	attach.fd = guest.fd;
	attach.reserved = 0;
	ASSERT_EQ(0, gm_ioctl(edu, GUESTMEM_EDU_ATTACH, &attach));

	for (i = 0; i < n; i++) {
		workers[i] = (struct worker) {
			.fd = guest.fd, .edu = edu, .random = (seed + i) * 0x9e3779b97f4a7c15 | 1,
		};
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (i = 0; i < seconds * 10 && !atomic_load(&stop); i++)
		usleep(100000);
	atomic_store(&stop, true);
	for (i = 0; i < n; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(0, workers[i].bad)
			TH_LOG("thread %u: %s", i, workers[i].why);
	}
	printf("# %lu operations\n", atomic_load(&nops));
	EXPECT_LT(100, atomic_load(&nops));
	close(edu);
	gm_guest_teardown(_metadata, &guest);
	gm_mem_free(&mems[0]);
	gm_mem_free(&mems[1]);
}

TEST_HARNESS_MAIN
