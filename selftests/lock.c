// SPDX-License-Identifier: GPL-2.0-only
/*
 * LOCK and UNLOCK: what a lock holds, and how a revoke waits for it.
 */
#include "guestmem_test.h"

static struct guestmem_extent want[GM_EXTENTS], got[GM_EXTENTS];

#define LOCK(a, gpa_, len_, dir_)						\
	gm_lock(fd, a, .direction = GUESTMEM_DMA_##dir_, .gpa = (gpa_), .len = (len_))

static int nlocks(int fd)
{
	struct guestmem_info info;

	return gm_info(fd, &info) ? -1 : (int)info.nlocks;
}

GM_BACKING_FIXTURE(lock)

TEST_F(lock, range)
{
	struct guestmem_range ranges[] = {
		{ GM_GPA, self->mem.len }, { GM_GPA + 123, 5000 },
		{ GM_GPA + self->mem.len - 1, 1 },
	};
	struct guestmem_region region;
	struct guestmem_translate tr;
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	unsigned int i;
	__u32 id;

	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, self->mem.len, variant->flags, &id));
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		ASSERT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
					  .ranges = (uintptr_t)&ranges[i], .nranges = 1,
					  .extents = (uintptr_t)want, .nextents = GM_EXTENTS));
		memset(got, 0xee, sizeof(got));
		ASSERT_EQ(0, gm_lock(fd, &lock, .flags = GUESTMEM_EXTENT_HPA,
				     .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = ranges[i].gpa,
				     .len = ranges[i].len, .extents = (uintptr_t)got,
				     .nextents = GM_EXTENTS, .err.reason = 9));
		EXPECT_TRUE(gm_err_is_zero(&lock.err));
		ASSERT_EQ(tr.nextents, lock.nextents);
		EXPECT_EQ(0, memcmp(want, got, lock.nextents * sizeof(*got)));
		EXPECT_EQ(0xeeeeeeeeeeeeeeeeULL, got[lock.nextents].gpa);
		EXPECT_EQ(1, nlocks(fd));
		ASSERT_EQ(0, gm_region_get(fd, id, &region));
		EXPECT_EQ(1, region.nlocks);
		EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
		EXPECT_EQ(0, nlocks(fd));
		ASSERT_EQ(0, gm_region_get(fd, id, &region));
		EXPECT_EQ(0, region.nlocks);

		/* Without addresses, or without extents at all. */
		ASSERT_EQ(0, gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
				     .gpa = ranges[i].gpa, .len = ranges[i].len,
				     .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
		ASSERT_EQ(tr.nextents, lock.nextents);
		EXPECT_EQ(0, got[0].hpa);
		EXPECT_EQ(want[0].len, got[0].len);
		EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
		ASSERT_EQ(0, LOCK(&lock, ranges[i].gpa, ranges[i].len, TO_DEVICE));
		EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	}
}

TEST_F(lock, direction)
{
	bool ro = variant->flags & GUESTMEM_REGION_READONLY;
	struct guestmem_lock lock;
	int fd = self->guest.fd;

	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, 4 * PG, variant->flags, NULL));
	EXPECT_EQ(0, LOCK(&lock, GM_GPA, PG, TO_DEVICE));
	EXPECT_EQ(ro ? -EACCES : 0, LOCK(&lock, GM_GPA, PG, FROM_DEVICE));
	if (ro) {
		EXPECT_EQ(GUESTMEM_REASON_READONLY, lock.err.reason);
		EXPECT_EQ(GM_GPA, lock.err.addr);
	}
	EXPECT_EQ(ro ? -EACCES : 0, LOCK(&lock, GM_GPA + PG, PG, BIDIRECTIONAL));
	EXPECT_EQ(ro ? 1 : 3, nlocks(fd));
	EXPECT_EQ(-EOPNOTSUPP, gm_lock(fd, &lock, .direction = 0, .gpa = GM_GPA, .len = PG));
	EXPECT_EQ(-EOPNOTSUPP, gm_lock(fd, &lock, .direction = 4, .gpa = GM_GPA, .len = PG));
	EXPECT_EQ(ro ? 1 : 3, nlocks(fd));
	/* They end with the file. */
}

TEST_F(lock, pages)
{
	__u64 pages[] = { GM_GPA + 6 * PG, GM_GPA, GM_GPA + PG, GM_GPA + 2 * PG, GM_GPA + PG,
			  GM_GPA + 9 * PG };
	struct guestmem_region region;
	struct guestmem_translate tr;
	struct guestmem_range range;
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	__u32 id, i, e = 0, n;
	__u64 at = 0;

	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, self->mem.len, variant->flags, &id));
#define LOCK_PAGES(list_, n_, room_)							\
	gm_lock(fd, &lock, .flags = GUESTMEM_LOCK_PAGES | GUESTMEM_EXTENT_HPA,		\
		.direction = GUESTMEM_DMA_TO_DEVICE, .pages = (uintptr_t)(list_),	\
		.npages = (n_), .extents = (uintptr_t)got, .nextents = (room_))
	ASSERT_EQ(0, LOCK_PAGES(pages, 6, GM_EXTENTS));
	n = lock.nextents;
	ASSERT_LE(1, n);
	ASSERT_GE(6, n);
	/* The list in its order, with neighbours perhaps merged into one extent. */
	for (i = 0; i < 6; i++) {
		ASSERT_LT(e, n);
		EXPECT_EQ(pages[i], got[e].gpa + at);
		EXPECT_EQ(id, got[e].region_id);
		range = (struct guestmem_range){ pages[i], PG };
		ASSERT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
					  .ranges = (uintptr_t)&range, .nranges = 1,
					  .extents = (uintptr_t)want, .nextents = 1));
		EXPECT_EQ(want[0].hpa, got[e].hpa + at);
		at += PG;
		if (at == got[e].len) {
			e++;
			at = 0;
		}
	}
	EXPECT_EQ(n, e);
	ASSERT_EQ(0, gm_region_get(fd, id, &region));
	EXPECT_LE(1, region.nlocks);
	EXPECT_EQ(1, nlocks(fd));
	EXPECT_EQ(-EBUSY, gm_remove(fd, id));
	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	ASSERT_EQ(0, gm_region_get(fd, id, &region));
	EXPECT_EQ(0, region.nlocks);

	/* All or nothing. */
	if (n > 1) {
		EXPECT_EQ(-EMSGSIZE, LOCK_PAGES(pages, 6, n - 1));
		EXPECT_EQ(n, lock.nextents);
		EXPECT_EQ(GUESTMEM_REASON_OUTPUT, lock.err.reason);
		EXPECT_EQ(0, nlocks(fd));
	}
	pages[3] = GM_GPA + self->mem.len;
	EXPECT_EQ(-ENXIO, LOCK_PAGES(pages, 6, GM_EXTENTS));
	EXPECT_EQ(GUESTMEM_REASON_HOLE, lock.err.reason);
	EXPECT_EQ(pages[3], lock.err.addr);
	pages[3] = GM_GPA + 8;
	EXPECT_EQ(-EINVAL, LOCK_PAGES(pages, 6, GM_EXTENTS));
	EXPECT_EQ(GUESTMEM_REASON_MISALIGNED, lock.err.reason);
	EXPECT_EQ(pages[3], lock.err.addr);
	ASSERT_EQ(0, gm_region_get(fd, id, &region));
	EXPECT_EQ(0, region.nlocks);
	EXPECT_EQ(0, gm_remove(fd, id));
}

TEST_F(lock, too_small)
{
	size_t half = self->mem.len / PG / 2 * PG;
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	__u32 n, i;

	/* Two regions give at least two extents. */
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, half, variant->flags, NULL));
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA + half, half, half, variant->flags, NULL));
	ASSERT_EQ(0, gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA,
			     .len = 2 * half, .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
	n = lock.nextents;
	ASSERT_LE(2, n);
	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	for (i = 1; i < n; i++) {
		ASSERT_EQ(-EMSGSIZE, gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
					     .gpa = GM_GPA, .len = 2 * half,
					     .extents = (uintptr_t)got, .nextents = i));
		EXPECT_EQ(n, lock.nextents);
		EXPECT_EQ(GUESTMEM_REASON_OUTPUT, lock.err.reason);
		EXPECT_EQ(n, lock.err.need);
		EXPECT_EQ(i, lock.err.limit);
		ASSERT_EQ(0, nlocks(fd));
	}
	ASSERT_EQ(0, gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA,
			     .len = 2 * half, .extents = (uintptr_t)got, .nextents = n));
}

/* Revoked while locked: out of reach, but pinned where it was until the unlock. */
TEST_F(lock, survives_force)
{
	struct gm_mem *mem = &self->mem;
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	long pins;
	__u32 id;

	ASSERT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, mem->len, variant->flags, &id));
	pins = gm_pins_least();
	EXPECT_LT(self->guest.leak.pins, pins);
	ASSERT_EQ(0, LOCK(&lock, GM_GPA + PG, 1, TO_DEVICE));
	EXPECT_EQ(-ETIMEDOUT, gm_revoke(fd, id));
	EXPECT_EQ(-ENXIO, LOCK(&lock, GM_GPA + PG, 1, TO_DEVICE));
	EXPECT_EQ(mem->len, gm_pinned(fd));
	EXPECT_EQ(self->guest.leak.vmpin + (long)mem->len, gm_vmpin());
	EXPECT_EQ(pins, gm_pins_settled(pins));
	EXPECT_EQ(1, nlocks(fd));
	gm_mem_free(mem);
	EXPECT_EQ(mem->len, gm_pinned(fd));
	EXPECT_EQ(pins, gm_pins_settled(pins));
	/* The fixture closes the file with the lock in it: that must end it, too. */
}

GM_PLAIN_FIXTURE(plain)

TEST_F(plain, handles)
{
	struct guestmem_lock a, b, c;
	int fd = self->guest.fd, fd2;
	struct gm_mem mem;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 2 * PG, 0, NULL));
	EXPECT_EQ(-ENOENT, gm_unlock_handle(fd, 0));
	EXPECT_EQ(-ENOENT, gm_unlock_handle(fd, 1));
	EXPECT_EQ(-ENOENT, gm_unlock_handle(fd, 0xffffffff));
	ASSERT_EQ(0, LOCK(&a, GM_GPA, PG, TO_DEVICE));
	ASSERT_EQ(0, LOCK(&b, GM_GPA, PG, BIDIRECTIONAL));
	EXPECT_NE(a.handle, b.handle);
	fd2 = open(GM_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd2);
	EXPECT_EQ(-ENOENT, gm_unlock_handle(fd2, a.handle));
	close(fd2);
	EXPECT_EQ(0, gm_unlock_handle(fd, a.handle));
	EXPECT_EQ(-ENOENT, gm_unlock_handle(fd, a.handle));
	/* A stale handle must not end what somebody else locked since. */
	ASSERT_EQ(0, LOCK(&c, GM_GPA, PG, TO_DEVICE));
	EXPECT_NE(a.handle, c.handle);
	EXPECT_NE(b.handle, c.handle);
	EXPECT_EQ(-ENOENT, gm_unlock_handle(fd, a.handle));
	EXPECT_EQ(2, nlocks(fd));
	gm_mem_free(&mem);
}

TEST_F(plain, malformed)
{
	__u64 pages[2] = { GM_GPA, GM_GPA };
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	struct gm_mem mem;
	static __u64 many[GUESTMEM_LOCK_MAX_PAGES + 1];

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 2 * PG, 0, NULL));
	EXPECT_EQ(-EINVAL, LOCK(&lock, GM_GPA, 0, TO_DEVICE));
	EXPECT_EQ(GUESTMEM_REASON_EMPTY, lock.err.reason);
	EXPECT_EQ(-EOVERFLOW, LOCK(&lock, ~0ULL, 2, TO_DEVICE));
	EXPECT_EQ(GUESTMEM_REASON_WRAPS, lock.err.reason);
	EXPECT_EQ(-ENXIO, LOCK(&lock, GM_GPA + 2 * PG, 1, TO_DEVICE));
	EXPECT_EQ(GUESTMEM_REASON_HOLE, lock.err.reason);
	EXPECT_EQ(GM_GPA + 2 * PG, lock.err.addr);
	EXPECT_EQ(-ENXIO, LOCK(&lock, GM_GPA + PG, PG + 1, TO_DEVICE));
	EXPECT_EQ(GM_GPA + 2 * PG, lock.err.addr);
	EXPECT_EQ(-EINVAL, LOCK_PAGES(pages, 0, 1));
	EXPECT_EQ(GUESTMEM_REASON_EMPTY, lock.err.reason);
	EXPECT_EQ(-EINVAL, LOCK_PAGES(many, GUESTMEM_LOCK_MAX_PAGES + 1, 1));
	EXPECT_EQ(GUESTMEM_REASON_TOO_LONG, lock.err.reason);
	EXPECT_EQ(GUESTMEM_LOCK_MAX_PAGES + 1, lock.err.need);
	EXPECT_EQ(GUESTMEM_LOCK_MAX_PAGES, lock.err.limit);
	/* A range and a list at once, or what belongs to the other one. */
	EXPECT_NE(0, gm_lock(fd, &lock, .flags = GUESTMEM_LOCK_PAGES, .gpa = GM_GPA, .npages = 1,
			     .direction = GUESTMEM_DMA_TO_DEVICE, .pages = (uintptr_t)pages));
	EXPECT_NE(0, gm_lock(fd, &lock, .flags = GUESTMEM_LOCK_PAGES, .len = PG, .npages = 1,
			     .direction = GUESTMEM_DMA_TO_DEVICE, .pages = (uintptr_t)pages));
	EXPECT_NE(0, gm_lock(fd, &lock, .gpa = GM_GPA, .len = PG, .npages = 1,
			     .direction = GUESTMEM_DMA_TO_DEVICE));
	EXPECT_NE(0, gm_lock(fd, &lock, .gpa = GM_GPA, .len = PG, .pages = (uintptr_t)pages,
			     .direction = GUESTMEM_DMA_TO_DEVICE));
	EXPECT_EQ(0, nlocks(fd));
	gm_mem_free(&mem);
}

/* The longest list there may be. */
TEST_F(plain, longest_list)
{
	static __u64 pages[GUESTMEM_LOCK_MAX_PAGES];
	struct guestmem_lock lock;
	int fd = self->guest.fd, i;
	struct gm_mem mem;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 64 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 64 * PG, 0, NULL));
	for (i = 0; i < GUESTMEM_LOCK_MAX_PAGES; i++)
		pages[i] = GM_GPA + (i * 7 % 64) * PG;
	EXPECT_EQ(0, gm_lock(fd, &lock, .flags = GUESTMEM_LOCK_PAGES, .pages = (uintptr_t)pages,
			     .npages = GUESTMEM_LOCK_MAX_PAGES,
			     .direction = GUESTMEM_DMA_FROM_DEVICE));
	EXPECT_EQ(1, nlocks(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	EXPECT_EQ(0, nlocks(fd));
	gm_mem_free(&mem);
}

TEST_F(plain, adjacent_regions)
{
	struct guestmem_region region;
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	struct gm_mem mem;
	__u32 ids[2];

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 2 * PG, 0, &ids[0]));
	ASSERT_EQ(0, gm_user_add(fd, mem.va + 2 * PG, GM_GPA + 2 * PG, 2 * PG,
				 GUESTMEM_REGION_READONLY, &ids[1]));
	EXPECT_EQ(-EACCES, LOCK(&lock, GM_GPA + PG, 2 * PG, FROM_DEVICE));
	EXPECT_EQ(GM_GPA + 2 * PG, lock.err.addr);
	ASSERT_EQ(0, LOCK(&lock, GM_GPA + PG, 2 * PG, TO_DEVICE));
	EXPECT_EQ(-EBUSY, gm_remove(fd, ids[0]));
	EXPECT_EQ(-EBUSY, gm_remove(fd, ids[1]));
	/* Half of what it holds goes; it still holds both. */
	EXPECT_EQ(-ETIMEDOUT, gm_revoke(fd, ids[1]));
	ASSERT_EQ(0, gm_region_get(fd, ids[0], &region));
	EXPECT_EQ(1, region.nlocks);
	EXPECT_EQ(4 * PG, gm_pinned(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	EXPECT_EQ(2 * PG, gm_pinned(fd));
	EXPECT_EQ(0, gm_remove(fd, ids[0]));
	gm_mem_free(&mem);
}

TEST_F(plain, last_byte)
{
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	struct gm_mem mem;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, -(__u64)(2 * PG), 2 * PG, 0, NULL));
	EXPECT_EQ(0, LOCK(&lock, ~0ULL, 1, BIDIRECTIONAL));
	EXPECT_EQ(0, LOCK(&lock, -(__u64)(2 * PG), 2 * PG, BIDIRECTIONAL));
	EXPECT_EQ(2, nlocks(fd));
	gm_mem_free(&mem);
}

TEST_F(plain, timeout)
{
	struct guestmem_region_remove rm;
	struct guestmem_lock a, b;
	int fd = self->guest.fd;
	struct gm_mem mem;
	double start;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, PG, 0, &id));
	ASSERT_EQ(0, LOCK(&a, GM_GPA, 1, TO_DEVICE));
	ASSERT_EQ(0, LOCK(&b, GM_GPA, PG, FROM_DEVICE));
	start = gm_now();
	EXPECT_EQ(-ETIMEDOUT, gm_region_remove(fd, &rm, .id = id, .timeout_ms = 1000,
					       .flags = GUESTMEM_REMOVE_FORCE));
	/* By another clock, which may be behind at the start, if the CPU was somewhere else. */
	EXPECT_LE(start + 0.500, gm_now());
	EXPECT_EQ(2, rm.nlocks);
	EXPECT_EQ(GUESTMEM_REASON_LOCKED, rm.err.reason);
	EXPECT_EQ(2, rm.err.need);
	EXPECT_EQ(PG, gm_pinned(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, a.handle));
	EXPECT_EQ(PG, gm_pinned(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, b.handle));
	EXPECT_EQ(0, gm_pinned(fd));
	gm_mem_free(&mem);
}

struct remover {
	int fd;
	__u32 id;
	struct guestmem_region_remove rm;
	int ret;
};

static void *remover_run(void *arg)
{
	struct remover *r = arg;

	r->ret = gm_region_remove(r->fd, &r->rm, .id = r->id, .flags = GUESTMEM_REMOVE_FORCE,
				  .timeout_ms = GUESTMEM_WAIT_FOREVER);
	return NULL;
}

/* Waits until the region was revoked by somebody who may still be waiting. */
static int wait_revoked(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };
	struct guestmem_info info;

	for (;;) {
		if (poll(&pfd, 1, -1) < 0)
			return -errno;
		if (gm_info(fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS))
			return -errno;
		if (info.events & GUESTMEM_EVENT_REVOKED)
			return 0;
	}
}

TEST_F(plain, waiting_remove)
{
	struct remover r = { .fd = self->guest.fd, .ret = 99 };
	struct guestmem_lock a, b;
	int fd = self->guest.fd;
	struct gm_mem mem;
	pthread_t thread;
	unsigned char c;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 4 * PG, 0, &r.id));
	ASSERT_EQ(0, LOCK(&a, GM_GPA, 1, TO_DEVICE));
	ASSERT_EQ(0, LOCK(&b, GM_GPA, PG, FROM_DEVICE));
	ASSERT_EQ(0, pthread_create(&thread, NULL, remover_run, &r));
	ASSERT_EQ(0, wait_revoked(fd));
	/* Out of reach at once, and nobody else is made to wait. */
	EXPECT_EQ(0, pread(fd, &c, 1, GM_GPA));
	EXPECT_EQ(-ENOENT, gm_remove(fd, r.id));
	EXPECT_EQ(4 * PG, gm_pinned(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, a.handle));
	EXPECT_EQ(4 * PG, gm_pinned(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, b.handle));
	pthread_join(thread, NULL);
	/* Had it not waited, it would tell of a lock, or of a timeout. */
	EXPECT_EQ(0, r.ret);
	EXPECT_EQ(0, r.rm.nlocks);
	EXPECT_EQ(0, gm_pinned(fd));
	gm_mem_free(&mem);
}

/* Who waits can be killed; the region stays revoked and the lock good. */
TEST_F(plain, killed_waiter)
{
	struct guestmem_lock lock;
	int fd = self->guest.fd, status;
	struct gm_mem mem;
	pid_t pid;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 4 * PG, 0, &id));
	ASSERT_EQ(0, LOCK(&lock, GM_GPA, 1, TO_DEVICE));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct remover r = { .fd = fd, .id = id };

		remover_run(&r);
		_exit(1);
	}
	ASSERT_EQ(0, wait_revoked(fd));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(-ENOENT, gm_remove(fd, id));
	EXPECT_EQ(4 * PG, gm_pinned(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	EXPECT_EQ(0, gm_pinned(fd));
	gm_mem_free(&mem);
}

TEST_F(plain, limit)
{
	struct guestmem_lock lock;
	struct guestmem_info info;
	int fd = self->guest.fd;
	struct gm_mem mem;
	__u32 i, first = 0;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, PG, 0, NULL));
	ASSERT_EQ(0, gm_info(fd, &info));
	ASSERT_LT(0, info.max_locks);
	for (i = 0; i < info.max_locks; i++) {
		ASSERT_EQ(0, LOCK(&lock, GM_GPA + i % PG, 1, TO_DEVICE))
			TH_LOG("lock %u", i);
		if (!i)
			first = lock.handle;
	}
	EXPECT_EQ(-ENOSPC, LOCK(&lock, GM_GPA, 1, TO_DEVICE));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, lock.err.reason);
	EXPECT_EQ(info.max_locks + 1ULL, lock.err.need);
	EXPECT_EQ(info.max_locks, lock.err.limit);
	EXPECT_EQ((int)info.max_locks, nlocks(fd));
	EXPECT_EQ(0, gm_unlock_handle(fd, first));
	EXPECT_EQ(0, LOCK(&lock, GM_GPA, 1, TO_DEVICE));
	EXPECT_EQ(-ENOSPC, LOCK(&lock, GM_GPA, 1, TO_DEVICE));
	gm_mem_free(&mem);
}

TEST_F(plain, rights)
{
	int rd = open(GM_DEV, O_RDONLY | O_CLOEXEC), wr = open(GM_DEV, O_WRONLY | O_CLOEXEC), fd;
	struct guestmem_lock lock;
	struct gm_mem mem;

	ASSERT_LE(0, rd);
	ASSERT_LE(0, wr);
	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_user_add(wr, mem.va, GM_GPA, PG, 0, NULL));
	fd = wr;
	EXPECT_EQ(0, LOCK(&lock, GM_GPA, PG, FROM_DEVICE));
	EXPECT_EQ(-EACCES, LOCK(&lock, GM_GPA, PG, TO_DEVICE));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, lock.err.reason);
	EXPECT_EQ(GUESTMEM_RIGHT_READ, lock.err.need & ~lock.err.limit);
	EXPECT_EQ(-EACCES, LOCK(&lock, GM_GPA, PG, BIDIRECTIONAL));
	fd = rd;
	EXPECT_EQ(-EACCES, LOCK(&lock, GM_GPA, PG, FROM_DEVICE));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, lock.err.reason);
	EXPECT_EQ(GUESTMEM_RIGHT_WRITE, lock.err.need & ~lock.err.limit);
	close(rd);
	close(wr);
	gm_mem_free(&mem);
}

/* A mapping alone keeps the file, and so the lock. */
TEST_F(plain, held_by_mapping)
{
	struct guestmem_lock lock;
	int fd = self->guest.fd;
	struct gm_mem mem;
	void *p;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 2 * PG, 0, NULL));
	ASSERT_EQ(0, LOCK(&lock, GM_GPA, PG, TO_DEVICE));
	p = gm_mmap(fd, GM_GPA, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, close(fd));
	self->guest.fd = -1;
	EXPECT_EQ(self->guest.leak.vmpin + 2 * (long)PG, gm_vmpin());
	EXPECT_EQ(1, gm_guests(&self->guest.id));
	munmap(p, PG);
	gm_mem_free(&mem);
}

struct locker {
	int fd;
	atomic_bool *stop;
	unsigned long locked;
	int errors;
};

static void *locker_run(void *arg)
{
	struct locker *l = arg;
	struct guestmem_lock lock;
	int fd = l->fd, ret;

	while (!atomic_load(l->stop)) {
		ret = LOCK(&lock, GM_GPA + 17, 3 * PG, BIDIRECTIONAL);
		if (ret == -ENXIO)
			continue;
		if (ret || gm_unlock_handle(fd, lock.handle))
			l->errors++;
		else
			l->locked++;
	}
	return NULL;
}

/* Locks that come and go while the region is revoked and another one put there. */
TEST_F(plain, racing_revoke)
{
	struct locker lockers[3];
	struct remover r = { .fd = self->guest.fd };
	atomic_bool stop = false;
	pthread_t threads[3];
	struct gm_mem mem;
	unsigned long locked;
	int i;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	for (i = 0; i < 3; i++) {
		lockers[i] = (struct locker){ .fd = self->guest.fd, .stop = &stop };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, locker_run, &lockers[i]));
	}
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(0, gm_user_add(r.fd, mem.va, GM_GPA, 4 * PG, 0, &r.id));
		remover_run(&r);
		ASSERT_EQ(0, r.ret);
	}
	/* A region that stays until each of them had it once. */
	ASSERT_EQ(0, gm_user_add(r.fd, mem.va, GM_GPA, 4 * PG, 0, &r.id));
	do {
		locked = 1;
		for (i = 0; i < 3; i++)
			if (!__atomic_load_n(&lockers[i].locked, __ATOMIC_RELAXED))
				locked = 0;
	} while (!locked);
	atomic_store(&stop, true);
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, lockers[i].errors);
	}
	EXPECT_EQ(0, gm_remove(r.fd, r.id));
	EXPECT_EQ(0, gm_pinned(r.fd));
	EXPECT_EQ(0, nlocks(r.fd));
	gm_mem_free(&mem);
}

TEST_HARNESS_MAIN
