// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains whose mappings go while they are used: who is told, who waits, how it ends, and
 * what the owner reads of it.
 */
#include "domain.h"

/* ---- faults ---- */

/* Everybody is told, each by his own way, and the owner waits until it is resolved. */
TEST_F(domain, fault)
{
	struct pollfd pfd = { .fd = self->ses, .events = POLLPRI };
	int resolved = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct guestmem_domain_unmap du;
	struct guestmem_eventfd ev;
	__u32 h[2];

	ASSERT_EQ(0, gm_eventfd(self->ses, &ev, .fd = self->efd, .events = GUESTMEM_EVENT_FAULT));
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST + PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, PG, RW, &h[1]));
	events(self->ses);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(GM_USED, TAKE_BACK(self->dom, &du, .len = PG, .eventfd = resolved,
					.flags = GUESTMEM_UNMAP_EVENTFD));
	EXPECT_EQ(1, du.nusers);
	EXPECT_TRUE(gm_err_is_zero(&du.err));
	EXPECT_EQ(1, take(self->efd, 0));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLPRI, pfd.revents & POLLPRI);
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(self->ses));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(1, info_of(self->ses).nfaults);
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	EXPECT_EQ(2, info_of(self->ses).nexports);
	/* What was not hit can be used on. */
	EXPECT_EQ(-ENXIO, writes(self->ses, 0, 1));
	EXPECT_EQ(0, reads(self->ses, PG, PG, PG));
	EXPECT_EQ(0, locks(self->ses, PG, PG, GUESTMEM_DMA_TO_DEVICE, NULL));
	/* To map it again is no way back for who has the dead export. */
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	EXPECT_EQ(-ENXIO, writes(self->ses, 0, 1));
	EXPECT_EQ(-ENXIO, locks(self->ses, 0, PG, GUESTMEM_DMA_TO_DEVICE, NULL));
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	/* The other one is of no fault. */
	EXPECT_EQ(0, gm_release_handle(self->ses, h[1]));
	EXPECT_EQ(0, take(resolved, 0));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(1, take(resolved, SOON_MS));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, gm_release_all(self->ses));
	EXPECT_EQ(0, info_of(self->ses).broken);
	EXPECT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, reads(self->ses, 0, 0, PG));
	EXPECT_EQ(1, info_of(self->ses).nfaults);
	close(resolved);
}

/* All of the export is dead, also what is still mapped; another one on that lives on. */
TEST_F(domain, dead_in_whole)
{
	unsigned char *p;
	__u32 h[2];

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 2 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, 2 * PG, 2 * PG, FIRST + 2 * PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 4 * PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[1]));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(0, gm_poke(p, gm_pattern(0)));
	EXPECT_EQ(0, gm_poke(p + PG, gm_pattern(PG)));
	EXPECT_EQ(0, gm_poke(p + 3 * PG, gm_pattern(3 * PG)));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 2 * PG, 2 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 3 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + PG));
	EXPECT_EQ(-ENXIO, writes(self->ses, PG, 1));
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(0, reads(self->ses, 0, 0, PG));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	munmap(p, 4 * PG);
}

TEST_F(domain, deadline)
{
	struct guestmem_domain_unmap du;
	struct guestmem_record rec;
	double start = gm_now();
	unsigned char *p;
	__u32 h[3];
	int i;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG + 3, PG, RW, &h[1]));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	forget_records(self->dom);
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = 4 * PG, .deadline_ms = SHORT_MS,
				     .timeout_ms = FOREVER));
	EXPECT_LE((SHORT_MS - TICK_MS) / 1000.0, gm_now() - start);
	EXPECT_EQ(0, du.nusers);
	EXPECT_NE(0, du.fault);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[1]));
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, gm_release_all(self->ses));

	/* FAULT, one FORCED for each, in whatever order, RESOLVED. */
	ASSERT_EQ(0, record(self->dom, &rec));
	EXPECT_EQ(GUESTMEM_RECORD_FAULT, rec.type);
	EXPECT_EQ(du.fault, rec.fault);
	EXPECT_EQ(self->ses_id, rec.session);
	EXPECT_EQ(getpid(), (pid_t)rec.pid);
	EXPECT_EQ(0, rec.iova);
	EXPECT_EQ(4 * PG, rec.len);
	EXPECT_EQ(2, rec.count);
	EXPECT_EQ(0, rec.reserved);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, record(self->dom, &rec));
		EXPECT_EQ(GUESTMEM_RECORD_FORCED, rec.type);
		EXPECT_EQ(du.fault, rec.fault);
		EXPECT_EQ(self->ses_id, rec.session);
		EXPECT_EQ(getpid(), (pid_t)rec.pid);
		EXPECT_TRUE(rec.iova == 0 || rec.iova == PG + 3);
		EXPECT_EQ(PG, rec.len);
		EXPECT_LE(SHORT_MS - TICK_MS, rec.elapsed_ms);
	}
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_RESOLVED, &rec));
	EXPECT_EQ(du.fault, rec.fault);
	EXPECT_EQ(0, rec.iova);
	EXPECT_EQ(4 * PG, rec.len);
	EXPECT_LE(SHORT_MS - TICK_MS, rec.elapsed_ms);
	EXPECT_EQ(-EAGAIN, record(self->dom, &rec));

	/* At once. */
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = 4 * PG));
	EXPECT_EQ(0, du.nusers);
	EXPECT_NE(0, du.fault);
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FORCED, &rec));
	EXPECT_EQ(0, gm_release_all(self->ses));

	/* Who releases in time is not forced; nor is one by the deadline of another fault. */
	forget_records(self->dom);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, PG, RW, &h[1]));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = PG, .deadline_ms = SHORT_MS));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, PG, PG));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	usleep(3 * SHORT_MS * 1000);
	EXPECT_EQ(1, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	while (!record(self->dom, &rec))
		EXPECT_NE(GUESTMEM_RECORD_FORCED, rec.type);
	EXPECT_EQ(0, gm_release_handle(self->ses, h[1]));
	munmap(p, 4 * PG);
}

/* Of two faults on one export, the earlier deadline ends it, and that is the end of both. */
TEST_F(domain, deadlines_of_two_faults)
{
	struct guestmem_record rec;
	struct waiter w[2];
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h));
	ASSERT_EQ(0, waiter_start(&w[0], self->dom, 0, PG));
	usleep(10000);
	w[1] = (struct waiter){ .dom = self->dom, .iova = PG, .len = PG, .deadline_ms = SHORT_MS,
				.timeout_ms = FOREVER };
	ASSERT_EQ(0, pthread_create(&w[1].thread, NULL, wait_for_unmap, &w[1]));
	EXPECT_TRUE(waiter_ends(&w[1]));
	EXPECT_TRUE(waiter_ends(&w[0]));
	EXPECT_EQ(0, w[0].ret);
	EXPECT_EQ(0, w[1].ret);
	EXPECT_NE(w[0].du.fault, w[1].du.fault);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FORCED, &rec));
	EXPECT_EQ(w[1].du.fault, rec.fault);
	/* It was one export, and ended once. */
	while (!record(self->dom, &rec))
		EXPECT_NE(GUESTMEM_RECORD_FORCED, rec.type);
}

/* How long the call waits is one thing, how long the client may take another. */
TEST_F(domain, timeout)
{
	struct guestmem_domain_unmap du;
	double start;
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h));
	start = gm_now();
	EXPECT_EQ(-ETIMEDOUT, TAKE_BACK(self->dom, &du, .len = PG, .timeout_ms = SHORT_MS));
	EXPECT_LE((SHORT_MS - TICK_MS) / 1000.0, gm_now() - start);
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(GUESTMEM_REASON_USED, du.err.reason);
	EXPECT_EQ(0, du.err.addr);
	EXPECT_EQ(1, du.err.need);
	EXPECT_EQ(1, info_of(self->ses).nexports);
	/* Asked again: to wait more, or to make an end. */
	EXPECT_EQ(-ETIMEDOUT, TAKE_BACK(self->dom, &du, .len = PG, .timeout_ms = 1));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = PG));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h));
}

static void ignore(int sig __unused_ok)
{
}

/* Only what is fatal interrupts who waits; what he waited for goes on. */
TEST_F(domain, signals)
{
	struct sigaction sa = { .sa_handler = ignore };
	struct guestmem_domain_unmap du;
	int status;
	pid_t pid;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	pid = fork();
	if (!pid) {
		sigaction(SIGUSR1, &sa, NULL);
		TAKE_BACK(self->dom, &du, .len = PG, .timeout_ms = FOREVER);
		_exit(0);
	}
	EXPECT_TRUE(settles(self->dom, 1));
	kill(pid, SIGUSR1);
	usleep(SHORT_MS * 1000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	EXPECT_EQ(0, info_of(self->dom).nmappings);
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_TRUE(settles(self->dom, 0));
}

/* A DMA lock cannot be ended by force: the fault goes on, and a record says whose it is. */
TEST_F(domain, dma_lock)
{
	struct guestmem_domain_unmap du;
	struct guestmem_record rec;
	struct waiter w;
	__u32 lock;
	pid_t pid = getpid();

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, PG, 100, GUESTMEM_DMA_FROM_DEVICE, &lock));
	EXPECT_EQ(-ETIMEDOUT, gm_domain_unmap(self->dom, &du, .len = 4 * PG,
					      .eventfd = self->efd,
					      .flags = GUESTMEM_UNMAP_EVENTFD,
					      .deadline_ms = SHORT_MS,
					      .timeout_ms = 4 * SHORT_MS));
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).nlocks);
	EXPECT_EQ(0, take(self->efd, 0));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FAULT, &rec));
	EXPECT_EQ(2, rec.count);
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_LOCKED, &rec));
	EXPECT_EQ(du.fault, rec.fault);
	EXPECT_EQ(self->ses_id, rec.session);
	EXPECT_EQ(pid, (pid_t)rec.pid);
	EXPECT_LE(SHORT_MS - TICK_MS, rec.elapsed_ms);
	/* It says so once. */
	EXPECT_FALSE(!record(self->dom, &rec) && rec.type == GUESTMEM_RECORD_LOCKED);
	/* The region stays where it is. */
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));

	/* The same lock is in another UNMAP's way, too. */
	ASSERT_EQ(0, waiter_start(&w, self->dom, PG, PG));
	usleep(SHORT_MS * 1000);
	EXPECT_FALSE(atomic_load(&w.done));
	EXPECT_EQ(2, info_of(self->dom).nfaults);
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock));
	EXPECT_EQ(1, take(self->efd, SOON_MS));
	EXPECT_TRUE(waiter_ends(&w));
	EXPECT_EQ(0, w.ret);
	EXPECT_TRUE(settles(self->dom, 0));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_RESOLVED, &rec));

	/* A lock without an export is a user as well, and breaks its session. */
	EXPECT_EQ(0, gm_release_all(self->ses));
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, 0, 1, GUESTMEM_DMA_TO_DEVICE, &lock));
	EXPECT_EQ(1, gm_release_all(self->ses));
	events(self->ses);
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = PG));
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(self->ses) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(1, info_of(self->ses).broken);
	/* Or it goes with its file. */
	close(self->ses);
	self->ses = -1;
	EXPECT_TRUE(settles(self->dom, 0));
}

/*
 * A client that never unlocks has as many faults go on as there can be. It cannot keep what
 * others use from being taken back.
 */
TEST_F(domain, too_many_faults)
{
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_domain_unmap du;
	unsigned char *p;
	__u32 lock, h;
	int i;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST + PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, 0, 1, GUESTMEM_DMA_TO_DEVICE, &lock));
	ASSERT_EQ(0, gm_export_iova(other, PG, PG, RW, &h));
	p = gm_mmap(other, PG, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(PG), gm_peek(p));
	/* Once what was there; then nothing is, and the lock overlaps all the same. */
	for (i = 0; i < 1024; i++)
		ASSERT_EQ(GM_USED, TAKE_BACK(self->dom, &du, .len = PG));
	EXPECT_EQ(1024, info_of(self->dom).nfaults);
	EXPECT_EQ(-ENOSPC, gm_domain_unmap(self->dom, &du, .iova = PG, .len = PG,
					   .deadline_ms = FOREVER));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, du.err.reason);
	EXPECT_EQ(1024, du.err.limit);
	EXPECT_EQ(1, du.nmappings);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-ENXIO, reads(other, PG, PG, 1));
	EXPECT_EQ(-ENOENT, gm_release_handle(other, h));
	EXPECT_EQ(1, info_of(other).broken);
	/* What nobody uses is no fault. */
	ASSERT_EQ(0, gm_map_iova(self->dom, 2 * PG, PG, FIRST, RW));
	EXPECT_EQ(0, TAKE_BACK(self->dom, &du, .iova = 2 * PG, .len = PG));
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock));
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	munmap(p, PG);
	close(other);
}

/* A region does not go while somebody exports it, and if it must, all that was of it does. */
TEST_F(domain, region_removed)
{
	struct guestmem_region_remove rm;
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_record rec;
	unsigned char *p;
	__u32 h[2], id;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 2 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, 4 * PG, 2 * PG, FIRST + 15 * PG, READ));
	ASSERT_EQ(0, gm_map_iova(self->dom, 8 * PG, 2 * PG, THIRD, RW));
	/* Mapped is not exported; but a mapping goes with its region. */
	EXPECT_EQ(0, gm_remove(self->fd, self->id[2]));
	EXPECT_EQ(2, info_of(self->dom).nmappings);
	EXPECT_EQ(-ENXIO, gm_export_iova(self->ses, 8 * PG, PG, RW, NULL));
	ASSERT_EQ(0, gm_mem_add(self->fd, &self->mem, THIRD, 28 * PG, 4 * PG, 0, &self->id[2]));
	EXPECT_EQ(-ENXIO, gm_export_iova(self->ses, 8 * PG, PG, RW, NULL));
	ASSERT_EQ(0, gm_map_iova(self->dom, 8 * PG, 2 * PG, THIRD, RW));
	ASSERT_EQ(0, gm_export_iova(other, 8 * PG, PG, RW, NULL));
	EXPECT_EQ(0, reads(other, 8 * PG, 28 * PG, PG));

	/* One byte of it is enough. */
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, 1, RW, &h[0]));
	EXPECT_EQ(-EBUSY, gm_region_remove(self->fd, &rm, .id = self->id[0]));
	EXPECT_EQ(GUESTMEM_REASON_LOCKED, rm.err.reason);
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, 4 * PG, 2 * PG, READ, &h[1]));
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[1]));
	p = gm_mmap(self->ses, 0, 16 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(gm_pattern(15 * PG), gm_peek(p + 4 * PG));
	EXPECT_EQ(gm_pattern(16 * PG), gm_peek(p + 5 * PG));
	forget_records(self->dom);
	events(self->ses);
	events(other);

	EXPECT_EQ(0, gm_revoke(self->fd, self->id[0]));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 4 * PG));
	/* That one is dead in whole, though its second page is of another region. */
	EXPECT_EQ(-SIGBUS, gm_peek(p + 5 * PG));
	EXPECT_EQ(1, info_of(self->dom).nmappings);
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(self->ses) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(0, info_of(other).broken);
	EXPECT_EQ(0, events(other) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[1]));
	for (id = 0; !record(self->dom, &rec); ) {
		if (rec.type == GUESTMEM_RECORD_REMOVED) {
			EXPECT_EQ(self->id[0], rec.count);
			EXPECT_TRUE(rec.iova == 0 || rec.iova == 4 * PG);
			EXPECT_EQ(2 * PG, rec.len);
			id += 1;
		} else if (rec.type == GUESTMEM_RECORD_FORCED) {
			EXPECT_EQ(0, rec.fault);
			EXPECT_EQ(self->ses_id, rec.session);
			EXPECT_EQ(getpid(), (pid_t)rec.pid);
			id += 0x10;
		}
	}
	EXPECT_EQ(0x22, id);
	/* What comes to the same place is not what was mapped. */
	ASSERT_EQ(0, gm_mem_add(self->fd, &self->mem, FIRST, 0, 16 * PG, 0, &self->id[0]));
	EXPECT_EQ(0, gm_release_all(self->ses));
	EXPECT_EQ(-ENXIO, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	EXPECT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	munmap(p, 16 * PG);
	close(other);
}

/* A DMA lock that was hit in one part, and is in another when the region is removed. */
TEST_F(domain, lock_hit_twice)
{
	__u32 lock;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST + 5 * PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, 0, 2 * PG, GUESTMEM_DMA_TO_DEVICE, &lock));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 0, PG));
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_EQ(1, info_of(self->ses).nfaults);
	events(self->ses);
	EXPECT_EQ(-ETIMEDOUT, gm_revoke(self->fd, self->id[0]));
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(self->ses) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(2, info_of(self->ses).nfaults);
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock));
}

/* Memory that a mapping has and the process has given up: the owner is told where. */
TEST_F(domain, stale)
{
	struct guestmem_record rec;
	struct gm_mem anon;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&anon, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_mem_add(self->fd, &anon, 4 * GM_GPA, 0, 4 * PG, 0, &id));
	ASSERT_EQ(0, gm_map_iova(self->dom, 64 * PG, 2 * PG, 4 * GM_GPA + PG, RW));
	ASSERT_EQ(0, madvise(anon.va + PG, PG, MADV_DONTNEED));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_STALE, &rec));
	EXPECT_EQ(id, rec.count);
	EXPECT_EQ(64 * PG, rec.iova);
	EXPECT_EQ(2 * PG, rec.len);
	gm_mem_free(&anon);
}

/* Likewise of memory that is not in the guest, which the guest is not told of. */
TEST_F(domain, stale_external)
{
	struct guestmem_mapping m[2];
	struct guestmem_domain_map dm;
	struct guestmem_record rec;
	struct gm_mem anon;

	ASSERT_EQ(0, gm_mem_alloc(&anon, GM_ANON, 4 * PG));
	m[0] = (struct guestmem_mapping)MAPPING(64 * PG, 2 * PG, (uintptr_t)anon.va, RW,
						.backing = GUESTMEM_BACKING_USER);
	m[1] = (struct guestmem_mapping)MAPPING(FIRST, PG, (uintptr_t)anon.va + 3 * PG, READ,
						.backing = GUESTMEM_BACKING_USER);
	ASSERT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m, .nmappings = 2));
	events(self->fd);
	ASSERT_EQ(0, madvise(anon.va + 3 * PG, PG, MADV_DONTNEED));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_STALE, &rec));
	EXPECT_EQ(0, rec.count);
	EXPECT_EQ(FIRST, rec.iova);
	EXPECT_EQ(PG, rec.len);
	EXPECT_EQ(0, events(self->fd) & GUESTMEM_EVENT_STALE);

	/* What was not touched, and what is mapped no more, is not. INFO has it looked at. */
	EXPECT_EQ(0, gm_unmap_iova(self->dom, FIRST, PG));
	ASSERT_EQ(0, madvise(anon.va + 3 * PG, PG, MADV_DONTNEED));
	ASSERT_EQ(0, madvise(anon.va + 2 * PG, PG, MADV_DONTNEED));
	EXPECT_EQ(1, info_of(self->dom).nmappings);
	EXPECT_EQ(-EAGAIN, record(self->dom, &rec));
	gm_mem_free(&anon);
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_STALE, &rec));
	EXPECT_EQ(64 * PG, rec.iova);
	EXPECT_EQ(2 * PG, rec.len);
}

/* Rights that are taken away are of what was exported before, too. */
TEST_F(domain, limit)
{
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_view_limit vl;
	struct guestmem_record rec;
	unsigned char *p;
	__u32 h[2], lock;
	__u64 id;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, PG, READ, &h[1]));
	ASSERT_EQ(0, gm_export_iova(other, 0, PG, RW, NULL));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(0, gm_poke(p, gm_pattern(0)));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + PG));
	forget_records(self->dom);
	events(self->ses);
	/* Of a session, by the owner. */
	EXPECT_EQ(0, gm_limit(self->fd, self->ses_id, ~(__u32)WRITE));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(self->ses));
	EXPECT_EQ(ALL, gm_rights(other));
	EXPECT_EQ(GUESTMEM_EVENT_LIMITED, events(self->ses) & GUESTMEM_EVENT_LIMITED);
	EXPECT_EQ(-SIGBUS, gm_poke(p, 1));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + PG));
	EXPECT_EQ(0, reads(self->ses, PG, PG, PG));
	EXPECT_EQ(0, writes(other, 0, gm_pattern(0)));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FORCED, &rec));
	EXPECT_EQ(0, rec.fault);
	EXPECT_EQ(self->ses_id, rec.session);
	EXPECT_EQ(0, rec.iova);
	EXPECT_EQ(PG, rec.len);
	/* Not by itself more than it has, nor what is another's. */
	EXPECT_EQ(0, gm_limit(self->fd, self->ses_id, ~0U));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(self->ses));

	/* A lock that needs what is taken is waited for. */
	ASSERT_EQ(0, locks(other, 0, PG, GUESTMEM_DMA_FROM_DEVICE, &lock));
	id = gm_view_id(other);
	EXPECT_EQ(-ETIMEDOUT, gm_view_limit(self->fd, &vl, .id = id, .rights = READ | LOCK,
					    .timeout_ms = 10));
	EXPECT_EQ(1, vl.nlocks);
	EXPECT_EQ(0, gm_unlock_handle(other, lock));

	/* Of the domain: of all its sessions; it can map nothing that needs them. */
	EXPECT_EQ(0, gm_limit(self->fd, self->dom_id, READ | MAP));
	EXPECT_EQ(READ | MAP, gm_rights(self->ses));
	EXPECT_EQ(READ, gm_rights(other));
	EXPECT_EQ(-EACCES, gm_map_iova(self->dom, 8 * PG, PG, FIRST, RW));
	EXPECT_EQ(0, gm_map_iova(self->dom, 8 * PG, PG, FIRST, READ));

	/* Revoked. */
	EXPECT_EQ(0, gm_limit(self->fd, self->dom_id, 0));
	EXPECT_EQ(-SIGBUS, gm_peek(p + PG));
	EXPECT_EQ(-ESTALE, reads(self->ses, PG, PG, 1));
	EXPECT_EQ(-ESTALE, gm_export_iova(other, 0, PG, READ, NULL));
	EXPECT_EQ(-ESTALE, gm_map_iova(self->dom, 9 * PG, PG, FIRST, READ));
	EXPECT_LT(gm_session(self->dom, READ, NULL), 0);
	EXPECT_EQ(0, info_of(self->dom).nexports);
	munmap(p, 4 * PG);
	close(other);
}

TEST_F(domain, domain_closed)
{
	struct pollfd pfd = { .fd = self->ses };
	struct guestmem_release rl;
	unsigned char *p;
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));
	close(self->dom);
	self->dom = -1;
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-SIGBUS, gm_poke(p + PG, 1));
	EXPECT_EQ(0, gm_rights(self->ses));
	EXPECT_EQ(-ESTALE, reads(self->ses, 0, 0, 1));
	EXPECT_EQ(-ESTALE, writes(self->ses, 0, 1));
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(-ESTALE, locks(self->ses, 0, 1, GUESTMEM_DMA_TO_DEVICE, NULL));
	EXPECT_NE(0, gm_release(self->ses, &rl, .handle = h));
	EXPECT_EQ(MAP_FAILED, gm_mmap(self->ses, 0, PG, PROT_READ));
	EXPECT_EQ(ESTALE, errno);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_TRUE(pfd.revents & POLLHUP);
	/* It holds nothing of the guest. */
	EXPECT_EQ(0, gm_remove(self->fd, self->id[0]));
	munmap(p, 4 * PG);
}

/* With a lock that is left: it holds its pages, and no more. */
TEST_F(domain, domain_closed_while_faulted)
{
	struct guestmem_domain_unmap du;
	__u32 lock;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, 0, PG, GUESTMEM_DMA_TO_DEVICE, &lock));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = 4 * PG, .deadline_ms = SHORT_MS,
				     .eventfd = self->efd, .flags = GUESTMEM_UNMAP_EVENTFD));
	EXPECT_EQ(2, du.nusers);
	close(self->dom);
	self->dom = -1;
	/* The deadline comes when there is no domain. */
	usleep(2 * SHORT_MS * 1000);
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock));
	EXPECT_EQ(0, gm_remove(self->fd, self->id[0]));
}

TEST_F(domain, guest_closed)
{
	unsigned char *p;
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	close(self->guest.fd);
	self->guest.fd = -1;
	self->fd = -1;
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(0, gm_export_iova(self->ses, PG, PG, RW, NULL));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + PG));
	EXPECT_EQ(0, gm_map_iova(self->dom, 8 * PG, PG, SECOND, READ));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 0, 4 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(2, gm_release_all(self->ses));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(0, gm_export_iova(self->ses, 8 * PG, PG, READ, NULL));
	munmap(p, 4 * PG);
}

/* ---- records ---- */

/* Makes three: FAULT, FORCED, RESOLVED. */
static int make_records(int dom, int ses)
{
	struct guestmem_domain_unmap du;
	int ret = gm_map_iova(dom, 0, PG, FIRST, RW);

	ret = ret ?: gm_export_iova(ses, 0, PG, RW, NULL);
	ret = ret ?: gm_domain_unmap(dom, &du, .len = PG);
	return ret ?: gm_release_all(ses);
}

TEST_F(domain, records)
{
	struct pollfd pfd = { .fd = self->dom, .events = POLLIN };
	void *nowhere = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guestmem_record rec[8];
	struct guestmem_eventfd ev;
	int i;

	ASSERT_NE(MAP_FAILED, nowhere);

	ASSERT_EQ(0, gm_eventfd(self->dom, &ev, .fd = self->efd,
				.events = GUESTMEM_EVENT_RECORD));
	EXPECT_EQ(-1, read(self->dom, rec, sizeof(rec)));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	ASSERT_EQ(0, make_records(self->dom, self->ses));
	EXPECT_LE(1, take(self->efd, SOON_MS));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLIN, pfd.revents & POLLIN);
	EXPECT_EQ(GUESTMEM_EVENT_RECORD, events(self->dom) & GUESTMEM_EVENT_RECORD);
	/* Whole ones only. */
	EXPECT_EQ(-1, read(self->dom, rec, sizeof(*rec) - 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(self->dom, nowhere, sizeof(*rec)));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(2 * sizeof(*rec), read(self->dom, rec, 3 * sizeof(*rec) - 1));
	ASSERT_EQ(1 * sizeof(*rec), read(self->dom, rec + 2, sizeof(rec) - 2 * sizeof(*rec)));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(i + 1, rec[i].seq);
		EXPECT_EQ(0, rec[i].lost);
	}
	EXPECT_EQ(GUESTMEM_RECORD_FAULT, rec[0].type);
	EXPECT_EQ(GUESTMEM_RECORD_FORCED, rec[1].type);
	EXPECT_EQ(GUESTMEM_RECORD_RESOLVED, rec[2].type);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(-1, read(self->dom, rec, sizeof(*rec) - 1));
	EXPECT_EQ(EINVAL, errno);
	/* Nothing can be written. */
	EXPECT_EQ(-1, write(self->dom, rec, sizeof(*rec)));
	munmap(nowhere, PG);
}

TEST_F(domain, records_lost)
{
	unsigned int rounds, i, n = 0;
	struct guestmem_record rec;
	__u64 seq = 0, lost = 0;

	/* Until the oldest is gone, and then some. */
	for (rounds = 0; rounds < 20000; rounds += 500) {
		for (i = 0; i < 500; i++)
			ASSERT_EQ(0, make_records(self->dom, self->ses));
		ASSERT_EQ(0, record(self->dom, &rec));
		EXPECT_EQ(seq + rec.lost + 1, rec.seq);
		seq = rec.seq;
		lost += rec.lost;
		n++;
		if (rec.lost)
			break;
	}
	EXPECT_LT(0, lost);
	while (!record(self->dom, &rec)) {
		EXPECT_EQ(seq + rec.lost + 1, rec.seq);
		seq = rec.seq;
		lost += rec.lost;
		n++;
	}
	EXPECT_EQ(3 * (rounds + 500), seq);
	EXPECT_EQ(seq, n + lost);
	/* What is kept is enough for a burst of faults, and no more. */
	EXPECT_EQ(512, n);
}

static void *read_record(void *arg)
{
	struct guestmem_record rec;
	int *dom = arg;
	int ret = record(*dom, &rec);

	return (void *)(intptr_t)(ret ? ret : (int)rec.type);
}

/* Without O_NONBLOCK it waits, for a record or the end of the waiting process. */
TEST_F(domain, records_blocking)
{
	pthread_t thread;
	void *result;
	int status;
	pid_t pid;

	ASSERT_EQ(0, fcntl(self->dom, F_SETFL, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_record, &self->dom));
	usleep(SHORT_MS * 1000);
	ASSERT_EQ(0, make_records(self->dom, self->ses));
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(GUESTMEM_RECORD_FAULT, (intptr_t)result);
	EXPECT_EQ(GUESTMEM_RECORD_FORCED, (intptr_t)read_record(&self->dom));
	EXPECT_EQ(GUESTMEM_RECORD_RESOLVED, (intptr_t)read_record(&self->dom));
	pid = fork();
	if (!pid) {
		read_record(&self->dom);
		_exit(0);
	}
	usleep(SHORT_MS * 1000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
}

TEST_HARNESS_MAIN
