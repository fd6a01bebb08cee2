// SPDX-License-Identifier: GPL-2.0-only
/*
 * Translation: a range becomes extents, each as long as range, region and
 * physical contiguity allow.
 *
 * Extents are gathered in a small array on the stack, under regions_rwsem. When it
 * is full the lock is dropped, the array copied out, and the walk goes on at the
 * next address. So the answer for a long range is not of one moment; it is a hint
 * anyway, and who needs more takes a DMA lock first.
 */
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "guestmem_private.h"
#include "trace.h"

/**
 * gm_extents_init - begin to give extents to a caller
 * @to: to set up
 * @file: the caller's file
 * @user: user address of its array
 * @capacity: entries in it
 * @hpa: whether it asked for host-physical addresses
 * @err: why not
 *
 * Return: 0, or -EPERM if it must not have the addresses.
 */
int gm_extents_init(struct gm_extents *to, struct gm_file *file, u64 user, u32 capacity,
		    bool hpa, struct guestmem_error *err)
{
	u32 rights = READ_ONCE(file->view->rights);

	if (hpa && !(rights & GUESTMEM_RIGHT_TRANSLATE_HPA))
		return gm_fail(err, -EPERM, GUESTMEM_REASON_RIGHT, 0,
			       GUESTMEM_RIGHT_TRANSLATE_HPA, rights);
	to->user = u64_to_user_ptr(user);
	to->capacity = capacity;
	to->count = 0;
	to->hpa = hpa;
	to->npending = 0;
	return 0;
}

static int gm_extents_flush(struct gm_extents *to)
{
	u64 room = to->capacity > to->count ? to->capacity - to->count : 0;
	u64 n = to->npending;

	if (copy_to_user(to->user + to->count, to->pending, min(n, room) * sizeof(*to->pending)))
		return -EFAULT;
	to->count += n;
	to->npending = 0;
	return 0;
}

/* Until the array is full or the range ends. Returns whether there is more of it. */
static bool gm_extents_gather(struct gm_extents *to, struct gm_view *view, u32 need, u64 *gpa,
			      u64 last, int *rc, struct guestmem_error *err)
{
	struct gm_region *region;
	struct gm_cursor cur;
	u64 extent_last;
	bool more = true;

	if (to->hpa)
		need |= GUESTMEM_RIGHT_TRANSLATE_HPA;
	*rc = gm_walk_begin(&cur, view, need, err);
	if (*rc)
		return false;
	while (more && to->npending < GM_EXTENTS_PENDING) {
		region = gm_cursor_seek(&cur, *gpa);
		if (!region) {
			*rc = gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE, *gpa, 0, 0);
			break;
		}
		extent_last = min(cur.last, last);
		to->pending[to->npending++] = (struct guestmem_extent) {
			.gpa = *gpa,
			.len = extent_last - *gpa + 1,
			.hpa = to->hpa ? PFN_PHYS(cur.pfn) + offset_in_page(*gpa) : 0,
			.region_id = region->id,
			.flags = gm_view_flags(view, region) |
				 (cur.rights & GUESTMEM_RIGHT_WRITE ? 0 :
				  GUESTMEM_REGION_READONLY),
		};
		more = extent_last < last;
		*gpa = extent_last + 1;
	}
	gm_walk_end(&cur);
	return more;
}

/**
 * gm_extents_range - add the extents of a range
 * @to: where to
 * @view: by whose addresses
 * @need: GUESTMEM_RIGHT_* that it takes
 * @gpa: first address
 * @last: last address
 * @err: why not
 *
 * Context: may fault; no lock held.
 * Return: 0; -ENXIO for a hole, with the extents before it added; -EFAULT; -EINTR; or as
 * gm_check_view().
 */
int gm_extents_range(struct gm_extents *to, struct gm_view *view, u32 need, u64 gpa, u64 last,
		     struct guestmem_error *err)
{
	bool more = true;
	int rc = 0;

	while (more && !rc) {
		if (to->npending == GM_EXTENTS_PENDING) {
			if (fatal_signal_pending(current))
				return -EINTR;
			rc = gm_extents_flush(to);
			if (rc)
				return rc;
			cond_resched();
		}
		more = gm_extents_gather(to, view, need, &gpa, last, &rc, err);
	}
	return rc;
}

/**
 * gm_extents_finish - copy out the rest; did all extents fit?
 * @to: where they went
 * @rc: what adding them came to
 * @err: why not
 *
 * to->count is then what the caller is to be told: entries written, or if all is
 * well but the room, needed.
 *
 * Return: @rc, else 0, -EFAULT or -EMSGSIZE.
 */
int gm_extents_finish(struct gm_extents *to, int rc, struct guestmem_error *err)
{
	if (gm_extents_flush(to))
		return -EFAULT;
	if (to->count <= to->capacity)
		return rc;
	to->count = min_t(u64, to->count, U32_MAX);
	if (!rc)
		return gm_fail(err, -EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, to->count,
			       to->capacity);
	to->count = to->capacity;
	return rc;
}

int gm_ioctl_translate(struct gm_cmd *cmd)
{
	struct guestmem_translate *arg = cmd->arg;
	struct gm_view *view = cmd->file->view;
	struct guestmem_range __user *ranges = u64_to_user_ptr(arg->ranges);
	u32 capacity = arg->nextents, i;
	struct guestmem_range range;
	struct gm_extents to;
	u64 last;
	int rc;

	arg->nextents = 0;
	if (arg->flags & ~GUESTMEM_EXTENT_HPA)
		return -EOPNOTSUPP;
	if (!arg->nranges)
		return gm_fail(&arg->err, -EINVAL, GUESTMEM_REASON_EMPTY, 0, 1, 0);
	rc = gm_check_view(view, GUESTMEM_RIGHT_TRANSLATE, &arg->err);
	if (rc)
		return rc;
	rc = gm_extents_init(&to, cmd->file, arg->extents, capacity,
			     arg->flags & GUESTMEM_EXTENT_HPA, &arg->err);
	if (rc)
		return rc;
	for (i = 0; !rc && i < arg->nranges; i++) {
		if (copy_from_user(&range, ranges + i, sizeof(range)))
			return -EFAULT;
		rc = gm_check_range(range.gpa, range.len, &last, &arg->err);
		if (rc)
			break;
		rc = gm_extents_range(&to, view, GUESTMEM_RIGHT_TRANSLATE, range.gpa, last,
				      &arg->err);
		trace_guestmem_translate(view->guest->id, view->id, range.gpa, last, to.count, rc);
	}
	rc = gm_extents_finish(&to, rc, &arg->err);
	arg->nextents = to.count;
	return rc ?: gm_cmd_respond(cmd);
}
