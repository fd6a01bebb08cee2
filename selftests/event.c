// SPDX-License-Identifier: GPL-2.0-only
/*
 * How changes are told: eventfds, poll(2), INFO; and what makes a region stale.
 */
#include "guestmem_test.h"

#define ALL_EVENTS (GUESTMEM_EVENT_ADDED | GUESTMEM_EVENT_REMOVED |		\
		    GUESTMEM_EVENT_REVOKED | GUESTMEM_EVENT_STALE |		\
		    GUESTMEM_EVENT_LIMITED | GUESTMEM_EVENT_FAULT |		\
		    GUESTMEM_EVENT_RECORD)

/* Takes what is counted; 0 if nothing is. */
static __u64 take(int efd)
{
	__u64 value = 0;

	return read(efd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

static __u32 events(int fd)
{
	struct guestmem_info info;

	return gm_info(fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS) ? ~0U : info.events;
}

static bool pending(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLPRI);
}

FIXTURE(event) {
	struct gm_guest guest;
	struct gm_mem mem;
	int efd;
};
FIXTURE_SETUP(event)
{
	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, GM_ANON, 16 * PG));
	self->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->efd);
}
FIXTURE_TEARDOWN(event)
{
	close(self->efd);
	gm_mem_free(&self->mem);
	gm_guest_teardown(_metadata, &self->guest);
}

TEST_F(event, added_removed_revoked)
{
	struct guestmem_eventfd ev;
	int fd = self->guest.fd, efd = self->efd;
	struct guestmem_info info;
	struct guestmem_lock lock;
	__u32 id;

	EXPECT_EQ(0, events(fd));
	EXPECT_FALSE(pending(fd));
	ASSERT_EQ(0, gm_eventfd(fd, &ev, .fd = efd, .events = ALL_EVENTS));
	EXPECT_EQ(0, take(efd));

	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(1, take(efd));
	EXPECT_TRUE(pending(fd));
	/* Looking does not take them. */
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(GUESTMEM_EVENT_ADDED, info.events);
	EXPECT_TRUE(pending(fd));
	EXPECT_EQ(GUESTMEM_EVENT_ADDED, events(fd));
	EXPECT_FALSE(pending(fd));
	EXPECT_EQ(0, events(fd));

	/* What fails is no change. */
	EXPECT_EQ(-EEXIST, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, NULL));
	EXPECT_EQ(-ENOENT, gm_remove(fd, id + 100));
	EXPECT_EQ(0, events(fd));
	EXPECT_EQ(0, take(efd));

	EXPECT_EQ(0, gm_remove(fd, id));
	EXPECT_EQ(1, take(efd));
	EXPECT_TRUE(pending(fd));
	EXPECT_EQ(GUESTMEM_EVENT_REMOVED, events(fd));

	/* With force: revoked, locked or not. */
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(GUESTMEM_EVENT_ADDED, events(fd));
	take(efd);
	EXPECT_EQ(0, gm_revoke(fd, id));
	EXPECT_EQ(GUESTMEM_EVENT_REVOKED, events(fd));
	EXPECT_EQ(1, take(efd));
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	ASSERT_EQ(0, gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA,
			     .len = 1));
	EXPECT_EQ(GUESTMEM_EVENT_ADDED, events(fd));
	take(efd);
	EXPECT_EQ(-EBUSY, gm_remove(fd, id));
	EXPECT_EQ(0, events(fd));
	EXPECT_EQ(-ETIMEDOUT, gm_revoke(fd, id));
	EXPECT_EQ(GUESTMEM_EVENT_REVOKED, events(fd));
	EXPECT_EQ(1, take(efd));
	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	EXPECT_EQ(0, events(fd));
	EXPECT_EQ(0, take(efd));

	/* Several before anybody asks. */
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(0, gm_remove(fd, id));
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(3, take(efd));
	EXPECT_EQ(GUESTMEM_EVENT_ADDED | GUESTMEM_EVENT_REMOVED, events(fd));
}

TEST_F(event, eventfd_filter)
{
	int fd = self->guest.fd, efd = self->efd, other;
	struct guestmem_eventfd ev;
	__u32 id;

	other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_eventfd(fd, &ev, .fd = efd, .events = GUESTMEM_EVENT_REMOVED));
	ASSERT_EQ(0, gm_eventfd(fd, &ev, .fd = other, .events = GUESTMEM_EVENT_ADDED));
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(0, take(efd));
	EXPECT_EQ(1, take(other));
	EXPECT_EQ(0, gm_remove(fd, id));
	EXPECT_EQ(1, take(efd));
	EXPECT_EQ(0, take(other));

	/* Asking again replaces, and does not add up. */
	ASSERT_EQ(0, gm_eventfd(fd, &ev, .fd = efd, .events = GUESTMEM_EVENT_ADDED));
	ASSERT_EQ(0, gm_eventfd(fd, &ev, .fd = efd, .events = GUESTMEM_EVENT_ADDED));
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(1, take(efd));
	EXPECT_EQ(0, gm_remove(fd, id));
	EXPECT_EQ(0, take(efd));

	/* 0 ends it; once. */
	EXPECT_EQ(0, gm_eventfd(fd, &ev, .fd = efd, .events = 0));
	EXPECT_EQ(-ENOENT, gm_eventfd(fd, &ev, .fd = efd, .events = 0));
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(0, take(efd));
	EXPECT_LT(0, take(other));
	close(other);
	/* The guest keeps an eventfd that the process closed. */
	EXPECT_EQ(0, gm_remove(fd, id));
	EXPECT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, &id));
}

TEST_F(event, eventfd_malformed)
{
	struct guestmem_eventfd ev;
	int fd = self->guest.fd, pipes[2];

	EXPECT_EQ(-EBADF, gm_eventfd(fd, &ev, .fd = -1, .events = GUESTMEM_EVENT_ADDED));
	EXPECT_EQ(-EBADF, gm_eventfd(fd, &ev, .fd = 9999, .events = GUESTMEM_EVENT_ADDED));
	EXPECT_EQ(-EBADF, gm_eventfd(fd, &ev, .fd = 9999, .events = 0));
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBADF, gm_eventfd(fd, &ev, .fd = pipes[1], .events = GUESTMEM_EVENT_ADDED));
	EXPECT_EQ(-EBADF, gm_eventfd(fd, &ev, .fd = fd, .events = GUESTMEM_EVENT_ADDED));
	close(pipes[0]);
	close(pipes[1]);
	EXPECT_EQ(-EOPNOTSUPP, gm_eventfd(fd, &ev, .fd = self->efd, .events = ALL_EVENTS + 1));
	EXPECT_EQ(-EOPNOTSUPP, gm_eventfd(fd, &ev, .fd = self->efd, .events = 1U << 31));
	EXPECT_EQ(-ENOENT, gm_eventfd(fd, &ev, .fd = self->efd, .events = 0));
	EXPECT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, NULL));
	EXPECT_EQ(0, take(self->efd));
}

TEST_F(event, eventfd_limit)
{
	struct guestmem_eventfd ev;
	int fd = self->guest.fd, efds[64], i;

	for (i = 0; i < 64; i++) {
		efds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT_LE(0, efds[i]);
		ASSERT_EQ(0, gm_eventfd(fd, &ev, .fd = efds[i], .events = GUESTMEM_EVENT_ADDED))
			TH_LOG("eventfd %d", i);
	}
	EXPECT_EQ(-ENOSPC, gm_eventfd(fd, &ev, .fd = self->efd, .events = GUESTMEM_EVENT_ADDED));
	/* Replacing needs no room. */
	EXPECT_EQ(0, gm_eventfd(fd, &ev, .fd = efds[5], .events = GUESTMEM_EVENT_REMOVED));
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, PG, 0, NULL));
	for (i = 0; i < 64; i++)
		EXPECT_EQ(i == 5 ? 0 : 1, take(efds[i]));
	EXPECT_EQ(0, take(self->efd));
	EXPECT_EQ(0, gm_eventfd(fd, &ev, .fd = efds[7], .events = 0));
	EXPECT_EQ(0, gm_eventfd(fd, &ev, .fd = self->efd, .events = GUESTMEM_EVENT_ADDED));
	for (i = 0; i < 64; i++)
		close(efds[i]);
}

struct poller {
	int fd;
	atomic_int ready;
	int ret;
	short revents;
};

static void *poller_run(void *arg)
{
	struct poller *p = arg;
	struct pollfd pfd = { .fd = p->fd, .events = POLLPRI };

	atomic_store(&p->ready, (int)gettid());
	p->ret = poll(&pfd, 1, -1);
	p->revents = pfd.revents;
	return NULL;
}

/* Whoever sleeps in poll(2) is woken. */
TEST_F(event, poll_wakes)
{
	struct poller p = { .fd = self->guest.fd };
	pthread_t thread;
	char path[64], state = 0;
	int tid;

	ASSERT_EQ(0, pthread_create(&thread, NULL, poller_run, &p));
	/* Until it sleeps; were it only about to, the test would still be right. */
	while (!(tid = atomic_load(&p.ready)))
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	while (state != 'S') {
		FILE *f = fopen(path, "re");

		ASSERT_NE(NULL, f);
		EXPECT_EQ(1, fscanf(f, "%*d (%*[^)]) %c", &state));
		fclose(f);
	}
	ASSERT_EQ(0, gm_user_add(self->guest.fd, self->mem.va, GM_GPA, PG, 0, NULL));
	pthread_join(thread, NULL);
	EXPECT_EQ(1, p.ret);
	EXPECT_NE(0, p.revents & POLLPRI);
}

/* ---- stale: the process has other pages there now ---- */

static bool is_stale(int fd, __u32 id)
{
	struct guestmem_region region;

	return !gm_region_get(fd, id, &region) && (region.flags & GUESTMEM_REGION_STALE);
}

/* Waits for the event; it may be told from another context. */
static bool wait_stale(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };

	for (;;) {
		if (poll(&pfd, 1, 60 * 1000) != 1)
			return false;
		if (events(fd) & GUESTMEM_EVENT_STALE)
			return true;
	}
}

/* What makes a region stale and what does not is in matrix.c; here, how that is told. */
TEST_F(event, stale)
{
	int fd = self->guest.fd;
	struct guestmem_eventfd ev;
	struct gm_mem other;
	__u32 id, id2;

	ASSERT_EQ(0, gm_eventfd(fd, &ev, .fd = self->efd, .events = GUESTMEM_EVENT_STALE));
	ASSERT_EQ(0, gm_mem_alloc(&other, GM_ANON, 16 * PG));
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, 16 * PG, 0, &id));
	ASSERT_EQ(0, gm_user_add(fd, other.va, 2 * GM_GPA, 16 * PG, 0, &id2));
	EXPECT_EQ(GUESTMEM_EVENT_ADDED, events(fd));
	EXPECT_FALSE(is_stale(fd, id));
	/* The last page of it only. */
	ASSERT_EQ(0, madvise(self->mem.va + 15 * PG, PG, MADV_DONTNEED));
	EXPECT_TRUE(wait_stale(fd));
	EXPECT_TRUE(is_stale(fd, id));
	EXPECT_FALSE(is_stale(fd, id2));
	EXPECT_EQ(1, take(self->efd));
	/* Told once. */
	ASSERT_EQ(0, munmap(self->mem.va, PG));
	EXPECT_EQ(0, events(fd));
	EXPECT_EQ(0, take(self->efd));
	EXPECT_TRUE(is_stale(fd, id));
	/* Of a region that is no more, nothing is. */
	EXPECT_EQ(0, gm_remove(fd, id2));
	EXPECT_EQ(GUESTMEM_EVENT_REMOVED, events(fd));
	gm_mem_free(&other);
	EXPECT_EQ(0, events(fd));
}

/* Who is killed while it looks has seen nothing: that makes no region stale. */
TEST_F(event, killed_asking)
{
	int fd = self->guest.fd, round, i, status;
	unsigned char *p;
	pid_t pid;
	__u32 id;

	p = mmap(NULL, 512 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, gm_user_add(fd, p, 2 * GM_GPA, 512 * PG, 0, &id));
	for (round = 0; round < 30; round++) {
		pid = fork();
		if (!pid) {
			struct guestmem_info info;

			for (;;)
				gm_info(fd, &info);
		}
		/* It makes the pages suspect, and leaves them where they are. */
		for (i = 0; i < 20; i++) {
			ASSERT_EQ(0, madvise(p, 512 * PG, MADV_FREE));
			usleep(500);
		}
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
	}
	EXPECT_FALSE(is_stale(fd, id));
	munmap(p, 512 * PG);
}

/* The translation table tells as well. */
TEST_F(event, stale_in_table)
{
	const struct guestmem_table_entry *entry;
	const struct guestmem_table *table;
	struct guestmem_info info;
	int fd = self->guest.fd;
	__u64 generation;

	ASSERT_EQ(0, gm_info(fd, &info));
	table = gm_mmap(fd, GUESTMEM_MMAP_TABLE, info.table_len, PROT_READ);
	ASSERT_NE(MAP_FAILED, table);
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, 4 * PG, 0, NULL));
	entry = (const void *)((const char *)table + table->header_size);
	EXPECT_EQ(0, entry->flags);
	generation = table->generation;
	ASSERT_EQ(0, munmap(self->mem.va, PG));
	EXPECT_TRUE(wait_stale(fd));
	EXPECT_EQ(GUESTMEM_REGION_STALE, entry->flags);
	EXPECT_LE(generation, table->generation);
	munmap((void *)table, info.table_len);
}

TEST_HARNESS_MAIN
