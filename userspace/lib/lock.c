// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* DMA locks. */
#include "internal.h"

static int lock(struct guestmem *g, enum op op, struct guestmem_lock *arg,
		uint32_t *handle, struct guestmem_extent *extents, size_t *n)
{
	size_t capacity = n ? *n : 0;
	int ret;

	if (n)
		*n = 0;
	if (!g || !handle)
		return fail_null(op, "no guest or no place for the handle was given");
	if (extents && !n)
		return fail_null(op, "no number of extents was given");
	if (!extents && capacity)
		return fail_null(op, "no extents were given");
	arg->size = sizeof(*arg);
	arg->extents = to_u64(extents);
	arg->nextents = capacity > UINT32_MAX ? UINT32_MAX : (uint32_t)capacity;
	ret = do_ioctl(g, op, GUESTMEM_LOCK, arg, &arg->err);
	if (n && (ret == 0 || ret == -EMSGSIZE))
		*n = arg->nextents;
	if (ret == 0)
		*handle = arg->handle;
	return ret;
}

int guestmem_lock(struct guestmem *g, uint64_t gpa, uint64_t len, uint32_t direction,
		  uint32_t flags, uint32_t *handle, struct guestmem_extent *extents,
		  size_t *n)
{
	struct guestmem_lock arg = {
		.flags = flags,
		.direction = direction,
		.gpa = gpa,
		.len = len,
	};

	if (flags & GUESTMEM_LOCK_PAGES)
		return fail(OP_LOCK, EINVAL, "a list of pages is for guestmem_lock_pages()");
	return lock(g, OP_LOCK, &arg, handle, extents, n);
}

int guestmem_lock_pages(struct guestmem *g, const uint64_t *gpas, size_t npages,
			uint32_t direction, uint32_t flags, uint32_t *handle,
			struct guestmem_extent *extents, size_t *n)
{
	struct guestmem_lock arg = {
		.flags = flags | GUESTMEM_LOCK_PAGES,
		.direction = direction,
		.pages = to_u64(gpas),
	};

	if (!gpas && npages)
		return fail_null(OP_LOCK_PAGES, "no pages were given");
	if (npages > GUESTMEM_LOCK_MAX_PAGES) {
		struct guestmem_error e = {
			.reason = GUESTMEM_REASON_TOO_LONG,
			.need = npages,
			.limit = GUESTMEM_LOCK_MAX_PAGES,
		};

		return fail_reason(OP_LOCK_PAGES, EINVAL, &e);
	}
	arg.npages = (uint32_t)npages;
	return lock(g, OP_LOCK_PAGES, &arg, handle, extents, n);
}

int guestmem_unlock(struct guestmem *g, uint32_t handle)
{
	struct guestmem_unlock arg = {
		.size = sizeof(arg),
		.handle = handle,
	};

	if (!g)
		return fail_null(OP_UNLOCK, "no guest was given");
	return do_ioctl(g, OP_UNLOCK, GUESTMEM_UNLOCK, &arg, NULL);
}
