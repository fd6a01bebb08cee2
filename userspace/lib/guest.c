// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Handles and spaces.
 *
 * - A handle never goes back to malloc(3): a closed one is kept, marked as such, and
 *   becomes another one as late as possible. So a call on a closed handle reads memory
 *   that is still a handle's, and its inline accesses find limits of 0.
 * - A space lives as long as one handle on it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

/* Closed handles, the oldest first; when there are enough, it is used again. */
#define KEEP_CLOSED	64

static pthread_mutex_t closed_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct guestmem *closed, **closed_end = &closed;
static unsigned int nclosed;

static struct guestmem *handle_alloc(void)
{
	struct guestmem *g = NULL;

	pthread_mutex_lock(&closed_mutex);
	if (nclosed >= KEEP_CLOSED) {
		g = closed;
		closed = g->next;
		nclosed--;
	}
	pthread_mutex_unlock(&closed_mutex);
	if (g)
		memset(g, 0, sizeof(*g));
	return g ? g : calloc(1, sizeof(*g));
}

static void handle_free(struct guestmem *g)
{
	memset(g, 0, sizeof(*g));
	g->magic = HANDLE_CLOSED;
	pthread_mutex_lock(&closed_mutex);
	*closed_end = g;
	closed_end = &g->next;
	nclosed++;
	pthread_mutex_unlock(&closed_mutex);
}

int handle_check(const struct guestmem *g, enum op op)
{
	if (!g)
		return fail_null(op, "no guest was given");
	if (g->magic != HANDLE_OPEN)
		return fail(op, EBADF, "the handle is closed");
	return 0;
}

int handle_range(const struct guestmem *g, enum op op, uint64_t gpa, uint64_t len,
		 uint64_t *abs)
{
	struct guestmem_error e = { .reason = GUESTMEM_REASON_HOLE };
	int ret = handle_check(g, op);

	*abs = 0;
	if (ret < 0)
		return ret;
	if (range_wraps(gpa, len))
		return fail_wraps(op, gpa, len);
	if (len && (gpa > g->last || len - 1 > g->last - gpa)) {
		e.addr = gpa > g->last ? gpa : g->last + 1;
		return fail_done(g, op, ENXIO, NULL, &e, 0);
	}
	*abs = gpa + g->fast.offset;
	return 0;
}

struct space *space_new(const struct backend *be)
{
	struct space *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->be = be;
	s->fd = -1;
	s->refs = 1;
	s->last = UINT64_MAX;
	pthread_mutex_init(&s->mutex, NULL);
	return s;
}

void space_put(struct space *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	dirty_destroy(s);
	window_forget(s);
	if (s->window && s->owns_window)
		munmap(s->window, s->window_len);
	s->be->destroy(s);
	table_destroy(s);
	pthread_mutex_destroy(&s->mutex);
	free(s);
}

/* What the inline functions may do without asking. */
static void set_fast(struct guestmem *g)
{
	struct space *s = g->space;
	struct guestmem_fast_ *f = &g->fast;
	uint64_t len;

	if (!s->window)
		return;
	len = in_window(s, f->offset, g->last == UINT64_MAX ? UINT64_MAX : g->last + 1);
	f->base = s->window + f->offset;
	if (!len || s->ask_first)
		return;
	len = len > FAST_MARGIN ? len - FAST_MARGIN : 0;
	f->read_limit = g->rights & GUESTMEM_RIGHT_READ ? len : 0;
	f->write_limit = g->rights & GUESTMEM_RIGHT_WRITE ? len : 0;
	if (s->slots && !f->offset && g->last >= s->window_len - 1) {
		f->slots = s->slots;
		f->nslots = s->nslots;
		f->seq = &s->table->seq;
		f->slots_seq = s->slots_seq;
		f->slot_ids = s->slot_ids;
		f->regions = s->regions;
	}
}

/* The space's mutex is held, or nobody else has the space. */
static void handle_link(struct guestmem *g)
{
	struct space *s = g->space;

	set_fast(g);
	g->fast.dirty = s->dirty.words;
	g->next = s->handles;
	s->handles = g;
	g->magic = HANDLE_OPEN;
}

struct guestmem *handle_new(struct space *s, enum op op)
{
	struct guestmem *g = handle_alloc();

	if (!g) {
		space_put(s);
		fail(op, ENOMEM, NULL);
		return NULL;
	}
	g->space = s;
	g->rights = s->rights;
	g->last = s->last;
	handle_link(g);
	return g;
}

struct guestmem *handle_part(struct guestmem *g, uint64_t abs, uint64_t last, uint32_t rights)
{
	struct guestmem *part = handle_alloc();
	struct space *s = g->space;

	if (!part)
		return NULL;
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	part->space = s;
	part->rights = rights;
	part->last = last;
	part->fast.offset = abs;
	pthread_mutex_lock(&s->mutex);
	handle_link(part);
	pthread_mutex_unlock(&s->mutex);
	return part;
}

struct guestmem *guestmem_subrange(struct guestmem *g, uint64_t gpa, uint64_t len,
				   uint32_t flags)
{
	struct guestmem *part = NULL;
	uint32_t rights;
	uint64_t abs;
	int ret;

	if (handle_range(g, OP_SUBRANGE, gpa, len, &abs) < 0)
		return NULL;
	if (flags & ~(GUESTMEM_SUBRANGE_LOCK | GUESTMEM_SUBRANGE_READONLY)) {
		fail(OP_SUBRANGE, EOPNOTSUPP, "there is a flag that is not known");
		return NULL;
	}
	if (!len) {
		fail(OP_SUBRANGE, EINVAL, "the range is empty");
		return NULL;
	}
	rights = g->rights & ~GUESTMEM_RIGHT_MANAGE;
	if (flags & GUESTMEM_SUBRANGE_READONLY)
		rights &= ~GUESTMEM_RIGHT_WRITE;
	if (g->space->be == &callbacks_backend) {
		/* Also what @g may not do */
		if (!(rights & GUESTMEM_RIGHT_WRITE))
			flags |= GUESTMEM_SUBRANGE_READONLY;
		ret = callbacks_subrange(g->space, abs, len, flags, &part);
		if (ret)
			return part;
	}
	part = handle_part(g, abs, len - 1, rights);
	if (!part)
		fail(OP_SUBRANGE, ENOMEM, NULL);
	return part;
}

void guestmem_close(struct guestmem *g)
{
	struct guestmem **link;
	int saved = errno;
	struct space *s;

	if (!g || g->magic != HANDLE_OPEN)
		return;
	s = g->space;
	pthread_mutex_lock(&s->mutex);
	for (link = &s->handles; *link != g; link = &(*link)->next)
		;
	*link = g->next;
	pthread_mutex_unlock(&s->mutex);
	handle_free(g);
	space_put(s);
	errno = saved;
}

int guestmem_fd(const struct guestmem *g)
{
	int ret = handle_check(g, OP_FD);

	if (ret < 0)
		return ret;
	if (g->space->fd < 0)
		return fail(OP_FD, EOPNOTSUPP, "the guest is not of " GUESTMEM_DEVICE);
	return g->space->fd;
}

/* The first version of struct guestmem_info, the smallest that can be given. */
#define INFO_SIZE_FIRST	88

int guestmem_info(struct guestmem *g, struct guestmem_info *info)
{
	struct why why = { 0 };
	int ret = handle_check(g, OP_INFO);

	if (ret < 0)
		return ret;
	if (!info)
		return fail_null(OP_INFO, "no struct was given");
	/* The struct is the caller's: it may be older or newer than this library. */
	if (info->size < INFO_SIZE_FIRST)
		return fail(OP_INFO, EINVAL, "size is not that of struct guestmem_info");
	ret = g->space->be->info(g->space, info, &why);
	if (ret < 0)
		return fail_why(g, OP_INFO, ret, &why, 0);
	info->rights &= g->rights;
	return 0;
}

int guestmem_eventfd(struct guestmem *g, int fd, uint32_t events)
{
	struct why why = { 0 };
	int ret = handle_check(g, OP_EVENTFD);

	if (ret < 0)
		return ret;
	if (!g->space->be->eventfd)
		return fail(OP_EVENTFD, EOPNOTSUPP, "only " GUESTMEM_DEVICE " has events");
	ret = g->space->be->eventfd(g->space, fd, events, &why);
	return ret < 0 ? fail_why(g, OP_EVENTFD, ret, &why, 0) : 0;
}
