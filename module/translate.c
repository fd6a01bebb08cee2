// SPDX-License-Identifier: GPL-2.0-only
/*
 * Translation: a range becomes extents, each as long as range, region and
 * physical contiguity allow.
 *
 * Extents are gathered in a small array on the stack under regions_rwsem and
 * copied out with the lock dropped, then the walk goes on at the next address. So
 * the answer for a long range is not of one moment; it is a hint anyway, and who
 * needs more takes a DMA lock first.
 */
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "guestmem_private.h"
#include "trace.h"

#define GM_EXTENTS_ON_STACK	12

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
	if (hpa && !(file->rights & GUESTMEM_RIGHT_TRANSLATE_HPA))
		return gm_fail(err, -EPERM, GUESTMEM_REASON_RIGHT, 0,
			       GUESTMEM_RIGHT_TRANSLATE_HPA, file->rights);
	*to = (struct gm_extents) {
		.user = u64_to_user_ptr(user),
		.capacity = capacity,
		.hpa = hpa,
	};
	return 0;
}

static int gm_extents_copy(struct gm_extents *to, const struct guestmem_extent *extents, u32 n)
{
	u32 room = to->capacity > to->count ? to->capacity - to->count : 0;

	if (copy_to_user(to->user + to->count, extents, min(n, room) * sizeof(*extents)))
		return -EFAULT;
	to->count += n;
	return 0;
}

/**
 * gm_extents_range - add the extents of a range
 * @to: where to
 * @guest: the guest
 * @gpa: first address
 * @last: last address
 * @err: why not
 *
 * Context: may fault; no lock held.
 * Return: 0; -ENXIO for a hole, with the extents before it added; -EFAULT; -EINTR.
 */
int gm_extents_range(struct gm_extents *to, struct gm_guest *guest, u64 gpa, u64 last,
		     struct guestmem_error *err)
{
	struct guestmem_extent extents[GM_EXTENTS_ON_STACK];
	struct gm_region *region;
	u64 pfn, extent_last;
	bool more = true;
	int rc = 0, copied;
	u32 n;

	while (more && !rc) {
		struct gm_cursor cur = { .guest = guest };

		if (fatal_signal_pending(current))
			return -EINTR;
		down_read(&guest->regions_rwsem);
		for (n = 0; more && n < ARRAY_SIZE(extents); n++) {
			region = gm_cursor_seek(&cur, gpa, &pfn, &extent_last);
			if (!region) {
				rc = gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE, gpa, 0, 0);
				break;
			}
			extent_last = min(extent_last, last);
			extents[n] = (struct guestmem_extent) {
				.gpa = gpa,
				.len = extent_last - gpa + 1,
				.hpa = to->hpa ? PFN_PHYS(pfn) + offset_in_page(gpa) : 0,
				.region_id = region->id,
				.flags = region->flags,
			};
			more = extent_last < last;
			gpa = extent_last + 1;
		}
		up_read(&guest->regions_rwsem);
		copied = gm_extents_copy(to, extents, n);
		if (copied)
			return copied;
		cond_resched();
	}
	return rc;
}

/**
 * gm_extents_finish - did all extents fit?
 * @to: where they went
 * @err: why not
 *
 * Return: 0 or -EMSGSIZE.
 */
int gm_extents_finish(struct gm_extents *to, struct guestmem_error *err)
{
	if (to->count > to->capacity)
		return gm_fail(err, -EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, to->count,
			       to->capacity);
	return 0;
}

int gm_ioctl_translate(struct gm_cmd *cmd)
{
	struct guestmem_translate *arg = cmd->arg;
	struct gm_guest *guest = cmd->file->guest;
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
	rc = gm_check_right(cmd->file->rights, GUESTMEM_RIGHT_TRANSLATE, &arg->err);
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
		rc = gm_extents_range(&to, guest, range.gpa, last, &arg->err);
		trace_guestmem_translate(guest->id, range.gpa, last, to.count, rc);
	}
	arg->nextents = to.count;
	/* A hole after too many extents: what was written is what fitted. */
	if (rc)
		arg->nextents = min(arg->nextents, capacity);
	else
		rc = gm_extents_finish(&to, &arg->err);
	return rc ?: gm_cmd_respond(cmd);
}
