// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* What keeps memory where it is: DMA locks, holds; and I/O addresses. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* The handle's addresses for the space's, and back. */
static int lock(struct guestmem *g, enum op op, struct guestmem_lock *arg,
		uint32_t *handle, struct guestmem_extent *extents, size_t *n)
{
	size_t capacity = n ? *n : 0, i;
	struct why why = { 0 };
	int ret;

	if (n)
		*n = 0;
	if (!handle)
		return fail_null(op, "no place for the handle was given");
	if (extents && !n)
		return fail_null(op, "no number of extents was given");
	if (!extents && capacity)
		return fail_null(op, "no extents were given");
	if (!g->space->be->lock)
		return fail(op, EOPNOTSUPP, NO_MEMORY);
	arg->size = sizeof(*arg);
	arg->extents = to_u64(extents);
	arg->nextents = to_u32(capacity);
	ret = g->space->be->lock(g->space, arg, &why);
	if (n && (ret == 0 || ret == -EMSGSIZE))
		*n = arg->nextents;
	if (ret < 0)
		return fail_why(g, op, ret, &why, 0);
	*handle = arg->handle;
	for (i = 0; extents && g->fast.offset && i < *n && i < capacity; i++)
		extents[i].gpa -= g->fast.offset;
	return 0;
}

/* What the space would not see: that a part may do less. */
static int check(const struct guestmem *g, enum op op, uint64_t gpa, uint32_t direction)
{
	return right_check(g, op, gpa,
			   (direction & GUESTMEM_DMA_TO_DEVICE ? PROT_READ : 0) |
			   (direction & GUESTMEM_DMA_FROM_DEVICE ? PROT_WRITE : 0));
}

int guestmem_lock(struct guestmem *g, uint64_t gpa, uint64_t len, uint32_t direction,
		  uint32_t flags, uint32_t *handle, struct guestmem_extent *extents,
		  size_t *n)
{
	struct guestmem_lock arg = {
		.flags = flags,
		.direction = direction,
		.len = len,
	};
	uint64_t abs;
	int ret;

	ret = handle_range(g, OP_LOCK, gpa, len, &abs);
	if (!ret)
		ret = check(g, OP_LOCK, gpa, direction);
	if (ret < 0) {
		if (n)
			*n = 0;
		return ret;
	}
	if (flags & GUESTMEM_LOCK_PAGES) {
		if (n)
			*n = 0;
		return fail(OP_LOCK, EINVAL, "a list of pages is for guestmem_lock_pages()");
	}
	arg.gpa = abs;
	return lock(g, OP_LOCK, &arg, handle, extents, n);
}

int guestmem_lock_pages(struct guestmem *g, const uint64_t *gpas, size_t npages,
			uint32_t direction, uint32_t flags, uint32_t *handle,
			struct guestmem_extent *extents, size_t *n)
{
	struct guestmem_lock arg = {
		.flags = flags | GUESTMEM_LOCK_PAGES,
		.direction = direction,
	};
	uint64_t *moved = NULL, abs;
	size_t i;
	int ret;

	ret = handle_check(g, OP_LOCK_PAGES);
	if (ret < 0)
		goto none;
	if (!gpas && npages) {
		ret = fail_null(OP_LOCK_PAGES, "no pages were given");
		goto none;
	}
	if (npages > GUESTMEM_LOCK_MAX_PAGES) {
		struct guestmem_error e = {
			.reason = GUESTMEM_REASON_TOO_LONG,
			.need = npages,
			.limit = GUESTMEM_LOCK_MAX_PAGES,
		};

		ret = fail_reason(OP_LOCK_PAGES, EINVAL, &e);
		goto none;
	}
	ret = check(g, OP_LOCK_PAGES, npages ? gpas[0] : 0, direction);
	for (i = 0; !ret && i < npages; i++)
		ret = handle_range(g, OP_LOCK_PAGES, gpas[i], 1, &abs);
	if (ret < 0)
		goto none;
	arg.pages = to_u64(gpas);
	if (g->fast.offset && npages) {
		moved = malloc(npages * sizeof(*moved));
		if (!moved) {
			ret = fail(OP_LOCK_PAGES, ENOMEM, NULL);
			goto none;
		}
		for (i = 0; i < npages; i++)
			moved[i] = gpas[i] + g->fast.offset;
		arg.pages = to_u64(moved);
	}
	arg.npages = (uint32_t)npages;
	ret = lock(g, OP_LOCK_PAGES, &arg, handle, extents, n);
	free(moved);
	return ret;
none:
	if (n)
		*n = 0;
	return ret;
}

int guestmem_unlock(struct guestmem *g, uint32_t handle)
{
	struct why why = { 0 };
	int ret = handle_check(g, OP_UNLOCK);

	if (ret < 0)
		return ret;
	if (!g->space->be->unlock)
		return fail(OP_UNLOCK, EOPNOTSUPP, NO_MEMORY);
	ret = g->space->be->unlock(g->space, handle, &why);
	return ret < 0 ? fail_why(g, OP_UNLOCK, ret, &why, 0) : 0;
}

int guestmem_hold_slow_(struct guestmem *g, uint64_t gpa, size_t len,
			struct guestmem_hold *hold)
{
	struct why why = { 0 };
	struct space *s;
	uint64_t abs;
	int ret;

	ret = handle_range(g, OP_HOLD, gpa, len, &abs);
	if (ret < 0)
		return ret;
	if (!hold)
		return fail_null(OP_HOLD, "no place for the hold was given");
	if (!len)
		return fail(OP_HOLD, EINVAL, "the range is empty");
	s = g->space;
	if (!s->be->hold)
		return fail(OP_HOLD, EOPNOTSUPP,
			    "there is no region to hold: a session has DMA locks");
	hold->handle = 0;
	hold->region = NULL;
	hold->space = NULL;
	ret = s->be->hold(s, g->rights, abs, len, hold, &why);
	if (ret < 0)
		return fail_why(g, OP_HOLD, ret, &why, 0);
	if (!hold->region)
		hold->space = s;
	hold->slice.iov_len = len;
	hold->slice.iov_base = in_window(s, abs, len) == len ? s->window + abs : NULL;
	return 0;
}

void guestmem_release_slow_(struct guestmem_hold *hold)
{
	struct space *s = hold ? hold->space : NULL;

	if (!s)
		return;
	hold->space = NULL;
	s->be->unhold(s, hold->handle);
}

int guestmem_iova(struct guestmem *g, uint64_t gpa, uint64_t len, uint64_t *iova)
{
	struct why why = { 0 };
	uint64_t abs;
	int ret;

	ret = handle_range(g, OP_IOVA, gpa, len, &abs);
	if (ret < 0)
		return ret;
	if (!iova)
		return fail_null(OP_IOVA, "no place for the address was given");
	if (!g->space->be->iova)
		return fail(OP_IOVA, EOPNOTSUPP, "the guest has no I/O addresses");
	ret = g->space->be->iova(g->space, abs, len, iova, &why);
	return ret < 0 ? fail_why(g, OP_IOVA, ret, &why, 0) : 0;
}
