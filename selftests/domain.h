/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of domains share.
 */
#ifndef _DOMAIN_H
#define _DOMAIN_H

#include <poll.h>
#include <sys/wait.h>

#include "view.h"

/* All that a session can have. */
#define ALL		GM_CLIENT_RIGHTS

#define FOREVER		GUESTMEM_WAIT_FOREVER
/* What is to happen has happened by then, on a busy machine; what is not, not. */
#define SOON_MS		20000
#define SHORT_MS	100
/* A deadline is by the tick, which may lag on an emulated CPU. */
#define TICK_MS		20

/* Takes back; whoever is left may take as long as he wants, and is not waited for. */
#define TAKE_BACK(fd, du, ...)								\
	gm_used(gm_domain_unmap(fd, du, .deadline_ms = FOREVER, ##__VA_ARGS__), du)

#define MAPPING(iova_, len_, gpa_, rights_, ...)					\
	{ .iova = iova_, .len = len_, .gpa = gpa_, .rights = rights_, ##__VA_ARGS__ }

FIXTURE(domain) {
	struct gm_guest guest;
	struct gm_mem mem;
	__u32 id[3];
	int fd;			/* the guest */
	int dom;		/* a domain of all IOVAs; reading of it does not wait */
	__u64 dom_id;
	int ses;		/* a session with all rights */
	__u64 ses_id;
	int efd;
};

FIXTURE_SETUP(domain)
{
	set_up_regions(_metadata, &self->guest, &self->mem, self->id);
	self->fd = self->guest.fd;
	self->dom = gm_domain(self->fd, ALL);
	ASSERT_LE(0, self->dom);
	ASSERT_EQ(0, fcntl(self->dom, F_SETFL, O_NONBLOCK));
	self->dom_id = gm_view_id(self->dom);
	self->ses = gm_session(self->dom, ALL, &self->ses_id);
	ASSERT_LE(0, self->ses);
	self->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->efd);
}

FIXTURE_TEARDOWN(domain)
{
	close(self->efd);
	close(self->ses);
	close(self->dom);
	gm_mem_free(&self->mem);
	gm_guest_teardown(_metadata, &self->guest);
}

static inline struct guestmem_info info_of(int fd)
{
	struct guestmem_info info;

	if (gm_info(fd, &info))
		memset(&info, 0xff, sizeof(info));
	return info;
}

static inline __u32 events(int fd)
{
	struct guestmem_info info;

	return gm_info(fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS) ? ~0U : info.events;
}

/* Takes what is counted, when there is something; 0 if that is not soon. */
static inline __u64 take(int efd, int ms)
{
	struct pollfd pfd = { .fd = efd, .events = POLLIN };
	__u64 value = 0;

	if (poll(&pfd, 1, ms) != 1)
		return 0;
	return read(efd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

/* The next record: 0, or -errno; -EPROTO if it is half a one. */
static inline int record(int dom, struct guestmem_record *rec)
{
	ssize_t n = read(dom, rec, sizeof(*rec));

	return n < 0 ? -errno : n == sizeof(*rec) ? 0 : -EPROTO;
}

/* The next one of a type, which must come soon. Those before it are passed over. */
static inline int record_of(int dom, __u32 type, struct guestmem_record *rec)
{
	struct pollfd pfd = { .fd = dom, .events = POLLIN };
	double deadline = gm_now() + SOON_MS / 1000;
	int ret;

	do {
		poll(&pfd, 1, 100);
		ret = record(dom, rec);
		if (!ret && rec->type == type)
			return 0;
	} while ((!ret || ret == -EAGAIN) && gm_now() < deadline);
	return ret ? ret : -ETIME;
}

static inline void forget_records(int dom)
{
	struct guestmem_record rec;

	while (!record(dom, &rec))
		;
}

static inline bool settles(int dom, __u64 nfaults)
{
	double deadline = gm_now() + SOON_MS / 1000;

	while (info_of(dom).nfaults != nfaults && gm_now() < deadline)
		usleep(1000);
	return info_of(dom).nfaults == nfaults;
}

static inline unsigned long number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static inline int exported(int ses, __u64 iova, __u64 len, struct guestmem_piece *pieces,
		    __u32 npieces, __u32 *handle)
{
	struct guestmem_export ex;
	int ret = gm_export(ses, &ex, .iova = iova, .len = len, .pieces = (uintptr_t)pieces,
			    .npieces = npieces, .rights = READ);

	*handle = ex.handle;
	return ret ? ret : (int)ex.npieces;
}

#define EXPECT_PIECE(piece_, iova_, len_, gpa_, rights_) do {				\
	EXPECT_EQ((__u64)(iova_), (piece_).iova);					\
	EXPECT_EQ((__u64)(len_), (piece_).len);						\
	EXPECT_EQ((__u64)(gpa_), (piece_).gpa);						\
	EXPECT_EQ((__u32)(rights_), (piece_).rights);					\
	EXPECT_EQ(0, (piece_).reserved);						\
} while (0)

/* ---- an UNMAP that somebody else waits for ---- */

struct waiter {
	int dom;
	__u64 iova, len;
	__u32 deadline_ms, timeout_ms;
	struct guestmem_domain_unmap du;
	int ret;
	double took;
	atomic_bool done;
	pthread_t thread;
};

static void *wait_for_unmap(void *arg)
{
	struct waiter *w = arg;
	double start = gm_now();

	w->ret = gm_domain_unmap(w->dom, &w->du, .iova = w->iova, .len = w->len,
				 .deadline_ms = w->deadline_ms, .timeout_ms = w->timeout_ms);
	w->took = gm_now() - start;
	atomic_store(&w->done, true);
	return NULL;
}

static inline int waiter_start(struct waiter *w, int dom, __u64 iova, __u64 len)
{
	*w = (struct waiter){ .dom = dom, .iova = iova, .len = len, .deadline_ms = FOREVER,
			      .timeout_ms = FOREVER };
	return -pthread_create(&w->thread, NULL, wait_for_unmap, w);
}

/* Whether it came back, soon. */
static inline bool waiter_ends(struct waiter *w)
{
	double deadline = gm_now() + SOON_MS / 1000;

	while (!atomic_load(&w->done) && gm_now() < deadline)
		usleep(1000);
	if (!atomic_load(&w->done))
		return false;
	pthread_join(w->thread, NULL);
	return true;
}

#endif /* _DOMAIN_H */
