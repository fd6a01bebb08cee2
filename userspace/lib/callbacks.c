// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * The backend of guestmem_from_ops(): the caller's callbacks.
 *
 * - If there is a mapping, it is the window. If there are bitmaps, too, every access asks
 *   them first, and so the inline functions do not use the window.
 * - The bitmaps are of the pages of the whole guest. Parts only differ in their offset,
 *   which is added before anything is looked at.
 * - An access to a space with bitmaps is counted, in the one of two counters that the
 *   epoch says, from before it looks until after it has accessed. Who changes a bitmap
 *   and wants to know that nobody goes by the old one changes the epoch and waits for the
 *   old counter to be 0; twice, since an access can have read the epoch and not yet been
 *   counted.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "recover.h"

#define PAGE	((uint64_t)GUESTMEM_PAGED_SIZE)

struct lock {
	struct lock *next;
	uint32_t handle;
	bool undo;
	size_t npages;
	uint64_t gpns[];
};

struct callbacks {
	struct guestmem_ops ops;
	void *ctx;
	uint32_t readers[2];		/* atomic */
	uint32_t epoch;			/* atomic */
	pthread_mutex_t mutex;		/* what follows, and synchronize */
	struct lock *locks;
	uint32_t last_lock;
};

static struct callbacks *of(struct space *s)
{
	return s->priv;
}

unsigned int space_enter(struct space *s)
{
	struct callbacks *c = of(s);
	unsigned int idx;

	if (s->be != &callbacks_backend)
		return 0;
	idx = __atomic_load_n(&c->epoch, __ATOMIC_RELAXED) & 1;
	__atomic_add_fetch(&c->readers[idx], 1, __ATOMIC_SEQ_CST);
	return idx;
}

void space_leave(struct space *s, unsigned int idx)
{
	if (s->be == &callbacks_backend)
		__atomic_sub_fetch(&of(s)->readers[idx], 1, __ATOMIC_RELEASE);
}

int guestmem_synchronize(struct guestmem *g)
{
	int ret = handle_check(g, OP_SYNCHRONIZE);
	struct callbacks *c;
	uint32_t idx;
	int turn;

	if (ret < 0)
		return ret;
	if (!g->space->bitmaps)
		return fail(OP_SYNCHRONIZE, EOPNOTSUPP, "the guest has no bitmaps");
	c = of(g->space);
	pthread_mutex_lock(&c->mutex);
	for (turn = 0; turn < 2; turn++) {
		idx = __atomic_fetch_add(&c->epoch, 1, __ATOMIC_SEQ_CST) & 1;
		while (__atomic_load_n(&c->readers[idx], __ATOMIC_SEQ_CST))
			sched_yield();
	}
	pthread_mutex_unlock(&c->mutex);
	return 0;
}

static bool allowed(const struct guestmem_ops *ops, const uint8_t *bitmap, uint64_t gpn)
{
	uint64_t bit = ops->bitmap_first + gpn;

	/* Not before the access has been counted: see guestmem_synchronize(). */
	return __atomic_load_n(&bitmap[bit / 8], __ATOMIC_SEQ_CST) >> bit % 8 & 1;
}

static uint64_t callbacks_allow(struct space *s, uint64_t gpa, uint64_t len, bool write)
{
	const struct guestmem_ops *ops = &of(s)->ops;
	const uint8_t *bitmap = write ? ops->write_bitmap : ops->read_bitmap;
	uint64_t n;

	if (!bitmap)
		return len;
	for (n = 0; n < len && allowed(ops, bitmap, (gpa + n) / PAGE);
	     n += PAGE - (gpa + n) % PAGE)
		;
	return n < len ? n : len;
}

uint64_t space_allow(struct space *s, uint64_t gpa, uint64_t len, bool write)
{
	struct why why;

	if (s->be == &callbacks_backend)
		return callbacks_allow(s, gpa, len, write);
	if (space_reach(s, gpa, len, write ? PROT_WRITE : PROT_READ, &len, &why) < 0)
		return 0;
	return len;
}

static void callbacks_destroy(struct space *s)
{
	struct callbacks *c = of(s);
	struct lock *lock;

	while ((lock = c->locks)) {
		c->locks = lock->next;
		if (lock->undo)
			c->ops.unlock(c->ctx, lock->gpns, lock->npages);
		free(lock);
	}
	if (c->ops.close)
		c->ops.close(c->ctx);
	pthread_mutex_destroy(&c->mutex);
	free(c);
}

/* What a callback says: 0, or what it failed with. */
static int told(int ret, struct why *why)
{
	if (ret < 0)
		return why_text(why, -ret, NULL);
	return 0;
}

static int missing(struct why *why)
{
	return why_text(why, EOPNOTSUPP, "it takes a callback that was not given");
}

static int callbacks_fault(struct space *s, const struct guestmem_fault *fault,
			   struct why *why)
{
	struct callbacks *c = of(s);
	int ret;

	if (!c->ops.mapping)
		return GUESTMEM_FAULT_FALLBACK;
	if (!c->ops.page_fault) {
		if (fault->denied)
			return why_text(why, EACCES, "the page's bit is clear in the bitmap");
		return why_reason(why, ENXIO, GUESTMEM_REASON_HOLE, fault->gpa, 0, 0);
	}
	ret = c->ops.page_fault(c->ctx, fault);
	if (ret == GUESTMEM_FAULT_RETRY || ret == GUESTMEM_FAULT_FALLBACK)
		return ret;
	why->e.addr = fault->gpa;
	return why_text(why, ret < 0 ? -ret : EFAULT, "the page-fault callback refused it");
}

static int callbacks_read(struct space *s, uint64_t gpa, void *buf, size_t len,
			  uint64_t *done, struct why *why)
{
	struct callbacks *c = of(s);
	int ret = c->ops.read ? told(c->ops.read(c->ctx, gpa, buf, len), why) : missing(why);

	*done += ret ? 0 : len;
	return ret;
}

static int callbacks_write(struct space *s, uint64_t gpa, const void *buf, size_t len,
			   uint64_t *done, struct why *why)
{
	struct callbacks *c = of(s);
	int ret = c->ops.write ? told(c->ops.write(c->ctx, gpa, buf, len), why) : missing(why);

	/* It may have come some way. */
	if (ret)
		dirty_mark(s, gpa, len);
	*done += ret ? 0 : len;
	return ret;
}

static int callbacks_fill(struct space *s, uint64_t gpa, uint8_t value, uint64_t len,
			  uint64_t *done, struct why *why)
{
	struct callbacks *c = of(s);
	char chunk[PAGE];
	uint64_t n, at;
	int ret = 0;

	if (c->ops.fill) {
		ret = told(c->ops.fill(c->ctx, gpa, value, len), why);
		if (ret)
			dirty_mark(s, gpa, len);
		*done += ret ? 0 : len;
		return ret;
	}
	memset(chunk, value, len < PAGE ? len : PAGE);
	for (at = 0; !ret && at < len; at += n) {
		n = len - at < PAGE ? len - at : PAGE;
		ret = callbacks_write(s, gpa + at, chunk, n, done, why);
	}
	return ret;
}

static int callbacks_copy(struct space *s, uint64_t dst, uint64_t src, uint64_t len,
			  uint64_t *done, struct why *why)
{
	uint64_t n, at, got;
	char chunk[PAGE];
	int ret = 0;

	for (at = 0; !ret && at < len; at += n) {
		n = len - at < PAGE ? len - at : PAGE;
		ret = space_access(s, ACCESS_READ, src + at, chunk, n, 0, &got, why);
		if (got) {
			int err = space_access(s, ACCESS_WRITE, dst + at, chunk, got, 0, &got,
					       why);

			*done += got;
			ret = err ? err : ret;
		}
	}
	return ret;
}

static int callbacks_atomic(struct space *s, uint64_t gpa, uint32_t op, size_t width,
			    const uint64_t operand[2], const uint64_t compare[2],
			    uint64_t old[2], struct why *why)
{
	char expected[16] = { 0 }, desired[16] = { 0 };
	struct callbacks *c = of(s);
	uint64_t new[2], done = 0;
	int ret;

	if (!c->ops.cmpxchg)
		return missing(why);
	if (op == GUESTMEM_ATOMIC_CMPXCHG) {
		value_to_bytes(expected, compare, width);
	} else {
		ret = callbacks_read(s, gpa, expected, width, &done, why);
		if (ret < 0)
			return ret;
	}
	for (;;) {
		value_from_bytes(old, expected, width);
		value_after(op, old, operand, new, width);
		value_to_bytes(desired, new, width);
		ret = c->ops.cmpxchg(c->ctx, gpa, expected, desired, width);
		if (ret < 0)
			return told(ret, why);
		if (ret || op == GUESTMEM_ATOMIC_CMPXCHG)
			break;
	}
	value_from_bytes(old, expected, width);
	return 0;
}

static int callbacks_info(struct space *s, struct guestmem_info *info, struct why *why)
{
	uint32_t size = info->size < sizeof(*info) ? info->size : sizeof(*info);
	struct guestmem_info all = {
		.size = size,
		.flags = info->flags,
		.abi_version = GUESTMEM_ABI_VERSION,
		.rights = s->rights,
		.last = s->last,
		.page_size = GUESTMEM_PAGED_SIZE,
		.nregions = 1,
		.max_regions = 1,
		.max_locks = UINT32_MAX,
	};

	if (info->flags & ~GUESTMEM_INFO_TAKE_EVENTS)
		return why_text(why, EOPNOTSUPP, "there is a flag that is not known");
	memcpy(info, &all, size);
	return 0;
}

/* -------- Locks ---------------------------------------------------------- */

static int in_guest(struct space *s, uint64_t gpa, uint64_t len, struct why *why)
{
	if (range_wraps(gpa, len))
		return why_reason(why, EOVERFLOW, GUESTMEM_REASON_WRAPS, gpa, len, UINT64_MAX);
	if (gpa > s->last || len - 1 > s->last - gpa)
		return why_reason(why, ENXIO, GUESTMEM_REASON_HOLE,
				  gpa > s->last ? gpa : s->last + 1, 0, 0);
	return 0;
}

/* Owns @lock from here on: who knows the handle may undo it at once. */
static int lock_pages(struct space *s, struct lock *lock, uint32_t *handle, struct why *why)
{
	struct callbacks *c = of(s);
	size_t i;
	int ret = 0;

	if (!c->ops.lock && !c->ops.mapping) {
		free(lock);
		return missing(why);
	}
	for (i = 0; c->ops.expose_va && ret >= 0 && i < lock->npages; i++)
		ret = told(c->ops.expose_va(c->ctx, lock->gpns[i] * PAGE, 1), why);
	if (ret >= 0 && c->ops.lock)
		ret = c->ops.lock(c->ctx, lock->gpns, lock->npages);
	if (ret < 0) {
		free(lock);
		return told(ret, why);
	}
	lock->undo = ret > 0 && c->ops.unlock;
	pthread_mutex_lock(&c->mutex);
	lock->handle = ++c->last_lock;
	lock->next = c->locks;
	c->locks = lock;
	*handle = c->last_lock;
	pthread_mutex_unlock(&c->mutex);
	return 0;
}

static struct lock *lock_of_range(uint64_t gpa, uint64_t len)
{
	uint64_t first = gpa / PAGE, n = (gpa + (len - 1)) / PAGE - first + 1, i;
	struct lock *lock;

	if (n > SIZE_MAX / 16)
		return NULL;
	lock = malloc(sizeof(*lock) + n * sizeof(lock->gpns[0]));
	for (i = 0; lock && i < n; i++)
		lock->gpns[i] = first + i;
	if (lock)
		lock->npages = n;
	return lock;
}

static int callbacks_lock(struct space *s, struct guestmem_lock *arg, struct why *why)
{
	struct guestmem_extent *extents = (void *)(uintptr_t)arg->extents;
	const uint64_t *gpas = (const void *)(uintptr_t)arg->pages;
	uint32_t capacity = arg->nextents, n = 0, i;
	struct lock *lock;
	int ret = 0;

	if (arg->flags & ~GUESTMEM_LOCK_PAGES)
		return why_text(why, EOPNOTSUPP, "there are no host-physical addresses");
	if (!arg->direction || (arg->direction & ~GUESTMEM_DMA_BIDIRECTIONAL))
		return why_text(why, EOPNOTSUPP, "there is no such direction");
	if ((arg->flags & GUESTMEM_LOCK_PAGES) ? !arg->npages : !arg->len)
		return why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, arg->gpa, 0, 0);
	if (arg->flags & GUESTMEM_LOCK_PAGES) {
		for (i = 0; !ret && i < arg->npages; i++) {
			if (gpas[i] % PAGE)
				return why_reason(why, EINVAL, GUESTMEM_REASON_MISALIGNED,
						  gpas[i], PAGE, 0);
			ret = in_guest(s, gpas[i], PAGE, why);
			if (!ret && n && n <= capacity &&
			    extents[n - 1].gpa + extents[n - 1].len == gpas[i]) {
				extents[n - 1].len += PAGE;
				continue;
			}
			if (n++ < capacity)
				extents[n - 1] = (struct guestmem_extent){
					.gpa = gpas[i], .len = PAGE };
		}
		if (ret)
			return ret;
		lock = malloc(sizeof(*lock) + arg->npages * sizeof(lock->gpns[0]));
		for (i = 0; lock && i < arg->npages; i++)
			lock->gpns[i] = gpas[i] / PAGE;
		if (lock)
			lock->npages = arg->npages;
	} else {
		ret = in_guest(s, arg->gpa, arg->len, why);
		if (ret)
			return ret;
		lock = lock_of_range(arg->gpa, arg->len);
		if (n++ < capacity)
			extents[0] = (struct guestmem_extent){ .gpa = arg->gpa, .len = arg->len };
	}
	arg->nextents = n;
	if (!lock)
		return -ENOMEM;
	if (capacity && n > capacity) {
		free(lock);
		return why_reason(why, EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, n, capacity);
	}
	return lock_pages(s, lock, &arg->handle, why);
}

static int callbacks_unlock(struct space *s, uint32_t handle, struct why *why)
{
	struct callbacks *c = of(s);
	struct lock **link, *lock;

	(void)why;
	pthread_mutex_lock(&c->mutex);
	for (link = &c->locks; *link && (*link)->handle != handle; link = &(*link)->next)
		;
	lock = *link;
	if (lock)
		*link = lock->next;
	pthread_mutex_unlock(&c->mutex);
	if (!lock)
		return -ENOENT;
	if (lock->undo)
		c->ops.unlock(c->ctx, lock->gpns, lock->npages);
	free(lock);
	return 0;
}

static int callbacks_hold(struct space *s, uint32_t rights, uint64_t gpa, uint64_t len,
			  struct guestmem_hold *hold, struct why *why)
{
	int ret = in_guest(s, gpa, len, why);
	struct lock *lock;

	(void)rights;
	if (ret)
		return ret;
	lock = lock_of_range(gpa, len);
	if (!lock)
		return -ENOMEM;
	return lock_pages(s, lock, &hold->handle, why);
}

static void callbacks_unhold(struct space *s, uint32_t handle)
{
	struct why why;

	callbacks_unlock(s, handle, &why);
}

static int callbacks_translate(struct space *s, struct guestmem_translate *arg,
			       struct why *why)
{
	const struct guestmem_range *ranges = (const void *)(uintptr_t)arg->ranges;
	struct guestmem_extent *extents = (void *)(uintptr_t)arg->extents;
	uint32_t i, capacity = arg->nextents;
	int ret = 0;

	if (arg->flags)
		return why_text(why, EOPNOTSUPP, "there are no host-physical addresses");
	if (!arg->nranges)
		return why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, 0, 0, 0);
	for (i = 0; i < arg->nranges; i++) {
		ret = ranges[i].len ? in_guest(s, ranges[i].gpa, ranges[i].len, why) :
		      why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, ranges[i].gpa, 0, 0);
		if (ret)
			break;
		if (i < capacity)
			extents[i] = (struct guestmem_extent){
				.gpa = ranges[i].gpa, .len = ranges[i].len };
	}
	arg->nextents = i;
	if ((!ret || ret == -ENXIO) && i > capacity)
		ret = why_reason(why, EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, i, capacity);
	return ret;
}

static int callbacks_backing(struct space *s, uint64_t gpa, int *fd, uint64_t *offset,
			     uint64_t *len, struct why *why)
{
	struct callbacks *c = of(s);

	if (!c->ops.backing)
		return missing(why);
	return told(c->ops.backing(c->ctx, gpa, fd, offset, len), why);
}

static int callbacks_iova(struct space *s, uint64_t gpa, uint64_t len, uint64_t *iova,
			  struct why *why)
{
	struct callbacks *c = of(s);
	int ret = in_guest(s, gpa, len ? len : 1, why);

	if (ret)
		return ret;
	if (!(c->ops.flags & GUESTMEM_OPS_IOVA))
		return why_text(why, EOPNOTSUPP, "the guest has no I/O addresses");
	*iova = c->ops.base_iova + gpa;
	return 0;
}

const struct backend callbacks_backend = {
	.destroy = callbacks_destroy,
	.fault = callbacks_fault,
	.read = callbacks_read,
	.write = callbacks_write,
	.fill = callbacks_fill,
	.copy = callbacks_copy,
	.atomic = callbacks_atomic,
	.info = callbacks_info,
	.translate = callbacks_translate,
	.lock = callbacks_lock,
	.unlock = callbacks_unlock,
	.hold = callbacks_hold,
	.unhold = callbacks_unhold,
	.backing = callbacks_backing,
	.iova = callbacks_iova,
};

/* What of a caller's struct may be older or newer than this library is the first field. */
static struct guestmem *from_ops(const struct guestmem_ops *ops, void *ctx, enum op op)
{
	struct guestmem_table_entry entry = { .generation = 1 };
	struct callbacks *c;
	struct guestmem *g;
	struct space *s;
	int err;

	if (!ops) {
		fail_null(op, "no callbacks were given");
		return NULL;
	}
	if (ops->size != sizeof(*ops)) {
		fail(op, EINVAL, "size is not that of struct guestmem_ops");
		return NULL;
	}
	if (ops->flags & ~(GUESTMEM_OPS_IOVA | GUESTMEM_OPS_READONLY)) {
		fail(op, EOPNOTSUPP, "there is a flag that is not known");
		return NULL;
	}
	if (!ops->len || (uintptr_t)ops->mapping % PAGE ||
	    (ops->mapping && ops->len > UINT64_MAX - (uintptr_t)ops->mapping)) {
		fail(op, EINVAL, "the guest is empty, or its mapping is not of whole pages");
		return NULL;
	}
	err = ops->mapping ? -recover_start() : 0;
	if (err) {
		fail(op, err, NULL);
		return NULL;
	}
	s = space_new(&callbacks_backend);
	c = calloc(1, sizeof(*c));
	if (!s || !c || table_create(s) < 0) {
		free(s);
		free(c);
		fail(op, ENOMEM, NULL);
		return NULL;
	}
	c->ops = *ops;
	c->ops.close = NULL;	/* until there is a handle to be closed */
	c->ctx = ctx;
	pthread_mutex_init(&c->mutex, NULL);
	s->priv = c;
	s->last = ops->len - 1;
	s->rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_LOCK | GUESTMEM_RIGHT_TRANSLATE;
	if (!(ops->flags & GUESTMEM_OPS_READONLY))
		s->rights |= GUESTMEM_RIGHT_WRITE;
	if (ops->mapping) {
		s->window = ops->mapping;
		s->window_len = ops->len;
		s->bitmaps = ops->read_bitmap || ops->write_bitmap;
		s->ask_first = s->bitmaps || recover_declined();
		slots_create(s);
	}
	entry.len = ops->len;
	entry.flags = ops->flags & GUESTMEM_OPS_READONLY ? GUESTMEM_REGION_READONLY : 0;
	table_update(s, &entry, 1);
	g = handle_new(s, op);
	if (g)
		c->ops.close = ops->close;
	return g;
}

struct guestmem *guestmem_from_ops(const struct guestmem_ops *ops, void *ctx)
{
	return from_ops(ops, ctx, OP_FROM_OPS);
}

int callbacks_subrange(struct space *s, uint64_t abs, uint64_t len, uint32_t flags,
		       struct guestmem **part)
{
	struct guestmem_ops ops = { 0 };
	struct callbacks *c = of(s);
	void *ctx = NULL;
	int ret;

	if (!c->ops.subrange)
		return 0;
	ret = c->ops.subrange(c->ctx, abs, len, !!(flags & GUESTMEM_SUBRANGE_LOCK), &ops, &ctx);
	if (!ret)
		return 0;
	if (ret < 0) {
		*part = NULL;
		fail(OP_SUBRANGE, -ret, "the subrange callback refused it");
		return 1;
	}
	if (flags & GUESTMEM_SUBRANGE_READONLY)
		ops.flags |= GUESTMEM_OPS_READONLY;
	*part = from_ops(&ops, ctx, OP_SUBRANGE);
	if (!*part && ops.close)
		ops.close(ctx);
	return 1;
}
