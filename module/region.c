// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions come and go.
 *
 * Adding: reserve the range, pin with no lock held, tell the caller, publish. Each
 * step before the last can fail, and undoes those before it; the last cannot.
 *
 * Removing: with regions_rwsem held for writing the region leaves the tree and its
 * PTEs are zapped. Readers, writers and faults work under that lock for reading,
 * so when it is dropped none of them has the region or can find it. What is left
 * are the DMA locks: each holds a reference, and the last one to go unpins. They
 * are never cut short: memory that a device may still write to is not given back.
 */
#include <linux/slab.h>

#include "guestmem_private.h"
#include "trace.h"

static void gm_region_release(struct kref *kref)
{
	struct gm_region *region = container_of(kref, struct gm_region, kref);

	gm_stale_unwatch(region);
	mutex_lock(&region->guest->locks_mutex);
	list_del_init(&region->pinned_node);
	mutex_unlock(&region->guest->locks_mutex);
	gm_unpin(region);
	put_pid(region->pid);
	kfree(region);
}

/**
 * gm_region_put - drop a reference; the last one unpins
 * @region: the region
 *
 * Context: sleeps; no lock of the guest's held but look_mutex.
 */
void gm_region_put(struct gm_region *region)
{
	struct gm_guest *guest = region->guest;

	might_sleep();
	if (!kref_put(&region->kref, gm_region_release))
		wake_up_all(&guest->drain);
}

static struct gm_region *gm_region_alloc(struct gm_guest *guest,
					 const struct guestmem_region_add *arg, u64 last)
{
	struct gm_region *region;

	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return NULL;
	kref_init(&region->kref);
	region->guest = guest;
	region->node.start = arg->gpa;
	region->node.last = last;
	INIT_LIST_HEAD(&region->pinned_node);
	region->state = GM_REGION_RESERVED;
	region->flags = arg->flags;
	region->backing = arg->backing;
	region->offset = arg->offset;
	region->pid = get_pid(task_tgid(current));
	INIT_LIST_HEAD(&region->locks);
	INIT_LIST_HEAD(&region->suspect_node);
	region->suspect_index = S64_MAX;
	region->suspect_last = -1;
	return region;
}

static int gm_check_region_add(const struct guestmem_region_add *arg, u64 *last,
			       struct guestmem_error *err)
{
	const u64 address[] = { arg->gpa, arg->len, arg->offset };
	u64 offset_last;
	int i, rc;

	if (arg->flags & ~GUESTMEM_REGION_READONLY || arg->reserved)
		return -EOPNOTSUPP;
	if (arg->backing != GUESTMEM_BACKING_USER && arg->backing != GUESTMEM_BACKING_FILE)
		return -EOPNOTSUPP;
	if (arg->backing == GUESTMEM_BACKING_USER && arg->fd)
		return -EOPNOTSUPP;
	for (i = 0; i < ARRAY_SIZE(address); i++)
		if (!IS_ALIGNED(address[i], PAGE_SIZE))
			return gm_fail(err, -EINVAL, GUESTMEM_REASON_MISALIGNED, address[i],
				       PAGE_SIZE, 0);
	rc = gm_check_range(arg->gpa, arg->len, last, err);
	if (rc)
		return rc;
	rc = gm_check_range(arg->offset, arg->len, &offset_last, err);
	if (rc)
		return rc;
	if (arg->len > GUESTMEM_REGION_MAX_LEN)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_TOO_LONG, arg->gpa, arg->len,
			       GUESTMEM_REGION_MAX_LEN);
	return 0;
}

static int gm_region_pin(struct gm_region *region, const struct guestmem_region_add *arg,
			 struct guestmem_error *err)
{
	if (arg->backing == GUESTMEM_BACKING_FILE)
		return gm_pin_file(region, arg->fd, arg->len >> PAGE_SHIFT, err);
	return gm_pin_user(region, arg->len >> PAGE_SHIFT, err);
}

/**
 * gm_region_live - from now on a region is counted, shown, and looked at for being stale
 * @region: the region
 *
 * Context: regions_rwsem held for writing; domain::rwsem if it is not in the guest.
 */
void gm_region_live(struct gm_region *region)
{
	/* A marked write, as some look without the lock. */
	WRITE_ONCE(region->state, GM_REGION_LIVE);
	mutex_lock(&region->guest->locks_mutex);
	list_add_tail(&region->pinned_node, &region->guest->pinned_regions);
	mutex_unlock(&region->guest->locks_mutex);
	gm_stale_start(region);
}

/**
 * gm_region_external - pin memory that is not to be in the guest
 * @guest: the guest, whose DMA locks may hold it
 * @arg: as for REGION_ADD; @gpa is by which addresses it is found
 * @err: why not
 *
 * Context: as REGION_ADD; no lock of the guest's held.
 * Return: the region, without a number and not live yet, with one reference, or an ERR_PTR.
 */
struct gm_region *gm_region_external(struct gm_guest *guest,
				     const struct guestmem_region_add *arg,
				     struct guestmem_error *err)
{
	struct gm_region *region;
	u64 last;
	int rc;

	rc = gm_check_region_add(arg, &last, err);
	if (rc)
		return ERR_PTR(rc);
	region = gm_region_alloc(guest, arg, last);
	if (!region)
		return ERR_PTR(-ENOMEM);
	rc = gm_region_pin(region, arg, err);
	if (rc) {
		gm_region_put(region);
		return ERR_PTR(rc);
	}
	return region;
}

int gm_ioctl_region_add(struct gm_cmd *cmd)
{
	struct gm_guest *guest = cmd->file->view->guest;
	struct guestmem_region_add *arg = cmd->arg;
	struct gm_region *region;
	u64 last;
	int rc;

	rc = gm_check_region_add(arg, &last, &arg->err);
	if (rc)
		return rc;
	rc = gm_check_view(cmd->file->view, GUESTMEM_RIGHT_MANAGE, &arg->err);
	if (rc)
		return rc;
	region = gm_region_alloc(guest, arg, last);
	if (!region)
		return -ENOMEM;
	rc = gm_guest_reserve(guest, region, &arg->err);
	if (rc)
		goto err_put;

	rc = gm_region_pin(region, arg, &arg->err);
	if (rc)
		goto err_unreserve;
	arg->id = region->id;
	rc = gm_cmd_respond(cmd);
	if (rc)
		goto err_unreserve;

	down_write(&guest->regions_rwsem);
	/* It may have lost the right meanwhile: then that came first. */
	rc = gm_check_view(cmd->file->view, GUESTMEM_RIGHT_MANAGE, &arg->err);
	if (rc) {
		up_write(&guest->regions_rwsem);
		arg->id = 0;
		goto err_unreserve;
	}
	WRITE_ONCE(guest->nlive, guest->nlive + 1);
	region->generation = guest->generation + 1;
	gm_region_live(region);
	gm_guest_changed(region);
	/* Who guesses its number may remove it at once. */
	kref_get(&region->kref);
	up_write(&guest->regions_rwsem);

	gm_event_region(region, GUESTMEM_EVENT_ADDED);
	gm_region_put(region);
	return 0;

err_unreserve:
	down_write(&guest->regions_rwsem);
	gm_guest_unreserve(guest, region);
	up_write(&guest->regions_rwsem);
err_put:
	gm_region_put(region);
	return rc;
}

static struct gm_region *gm_region_by_id(struct gm_guest *guest, u32 id)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&guest->regions_rwsem);
	for (node = interval_tree_iter_first(&guest->regions, 0, ULONG_MAX); node;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		struct gm_region *region = container_of(node, struct gm_region, node);

		if (region->id == id)
			return region;
	}
	return NULL;
}

/* The caller has the tree's reference when it returns 0. */
static int gm_region_take_out(struct gm_view *by, struct guestmem_region_remove *arg,
			      struct gm_region **out)
{
	struct gm_guest *guest = by->guest;
	struct gm_region *region;
	struct gm_view *view;
	u64 start, last;
	bool used;
	int rc;

	down_write(&guest->regions_rwsem);
	rc = gm_check_view(by, GUESTMEM_RIGHT_MANAGE, &arg->err);
	if (rc)
		goto out_unlock;
	region = gm_region_by_id(guest, arg->id);
	if (!region) {
		rc = -ENOENT;
		goto out_unlock;
	}
	if (region->state == GM_REGION_RESERVED) {
		rc = -EBUSY;
		goto out_unlock;
	}
	/* Taking a lock takes regions_rwsem: no more can come. */
	arg->nlocks = READ_ONCE(region->nlocks);
	used = arg->nlocks;
	list_for_each_entry(view, &guest->views, node)
		if (!used && !(arg->flags & GUESTMEM_REMOVE_FORCE) &&
		    gm_view_kind(view) == GUESTMEM_VIEW_IS_DOMAIN)
			used = gm_domain_region_used(view->domain, region);
	if (used && !(arg->flags & GUESTMEM_REMOVE_FORCE)) {
		rc = gm_fail(&arg->err, -EBUSY, GUESTMEM_REASON_LOCKED, region->node.start,
			     arg->nlocks, 0);
		goto out_unlock;
	}
	gm_guest_unreserve(guest, region);
	gm_guest_changed(region);
	/*
	 * Before the lock is dropped: a region that is added here next would else
	 * find the PTEs of this one.
	 */
	list_for_each_entry(view, &guest->views, node)
		if (gm_view_kind(view) == GUESTMEM_VIEW_IS_DOMAIN)
			gm_domain_region_gone(view->domain, region);
		else if (gm_view_part(view, region->node.start, region->node.last, &start, &last))
			gm_zap(view, start, last);
	*out = region;
out_unlock:
	up_write(&guest->regions_rwsem);
	return rc;
}

int gm_ioctl_region_remove(struct gm_cmd *cmd)
{
	struct gm_guest *guest = cmd->file->view->guest;
	struct guestmem_region_remove *arg = cmd->arg;
	bool force = arg->flags & GUESTMEM_REMOVE_FORCE;
	struct gm_view *view = NULL;
	struct gm_region *region;
	long left;
	int rc;

	arg->nlocks = 0;
	if (arg->flags & ~GUESTMEM_REMOVE_FORCE || arg->reserved)
		return -EOPNOTSUPP;
	if (arg->timeout_ms && !force)
		return -EOPNOTSUPP;
	rc = gm_region_take_out(cmd->file->view, arg, &region);
	if (rc)
		return rc;

	gm_event_region(region, force ? GUESTMEM_EVENT_REVOKED : GUESTMEM_EVENT_REMOVED);
	gm_revoke_region_clients(region);
	while ((view = gm_views_next(guest, view)))
		if (gm_view_kind(view) == GUESTMEM_VIEW_IS_DOMAIN)
			gm_revoke_domain_clients(view->domain);

	left = wait_event_killable_timeout(guest->drain, !READ_ONCE(region->nlocks),
					   gm_timeout(arg->timeout_ms));
	arg->nlocks = READ_ONCE(region->nlocks);
	if (arg->nlocks)
		rc = gm_fail(&arg->err, left < 0 ? -EINTR : -ETIMEDOUT, GUESTMEM_REASON_LOCKED,
			     region->node.start, arg->nlocks, 0);
	else
		/* Who unlocked, or looks whether it is stale, is about to let go. */
		wait_event(guest->drain, kref_read(&region->kref) == 1);
	trace_guestmem_revoke(guest->id, region->id, region->node.start, region->node.last,
			      arg->nlocks);
	gm_region_put(region);
	return rc ?: gm_cmd_respond(cmd);
}

static bool gm_is_own(const struct gm_region *region)
{
	return region->backing == GUESTMEM_BACKING_USER && region->mm == current->mm;
}

/* Where another process has its memory is nobody else's business. */
static bool gm_may_see_offset(const struct gm_region *region)
{
	return region->backing == GUESTMEM_BACKING_FILE || gm_is_own(region) ||
	       capable(CAP_SYS_PTRACE);
}

static void gm_region_describe(struct gm_region *region, struct gm_view *view, u64 start, u64 last,
			       struct guestmem_region *to)
{
	*to = (struct guestmem_region) {
		.gpa = start,
		.len = last - start + 1,
		.id = region->id,
		.flags = gm_view_flags(view, region),
		.backing = region->backing,
	};
	/* Of all of the region: nobody's business who sees a part. */
	if (view->parent)
		return;
	to->offset = gm_may_see_offset(region) ? region->offset : 0;
	to->nlocks = READ_ONCE(region->nlocks);
	to->nruns = region->runs.nruns;
	to->pid = pid_vnr(region->pid);
	if (gm_is_own(region))
		to->flags |= GUESTMEM_REGION_OWN;
}

/* All live regions in an array of the kernel's; user memory must not be touched under the lock. */
static struct guestmem_region *gm_regions_snapshot(struct gm_view *view, u32 *count)
{
	struct gm_guest *guest = view->guest;
	struct guestmem_region *array = NULL;
	struct gm_region *region;
	u32 capacity, n;
	u64 start, last;

	for (;;) {
		capacity = READ_ONCE(guest->nlive);
		array = kvcalloc(max(capacity, 1U), sizeof(*array), GFP_KERNEL_ACCOUNT);
		if (!array)
			return ERR_PTR(-ENOMEM);
		n = 0;
		down_read(&guest->regions_rwsem);
		for (region = gm_view_next(view, 0, &start, &last); region;
		     region = last == U64_MAX ? NULL :
			      gm_view_next(view, last + 1, &start, &last)) {
			if (n < capacity)
				gm_region_describe(region, view, start, last, &array[n]);
			n++;
		}
		up_read(&guest->regions_rwsem);
		if (n <= capacity)
			break;
		kvfree(array);
	}
	*count = n;
	return array;
}

int gm_ioctl_region_list(struct gm_cmd *cmd)
{
	struct guestmem_region_list *arg = cmd->arg;
	struct gm_view *view = cmd->file->view;
	u32 capacity = arg->nentries, n;
	struct guestmem_region *array;
	int rc;

	if (arg->flags)
		return -EOPNOTSUPP;
	if (arg->entry_size < sizeof(*array) || arg->entry_size > PAGE_SIZE)
		return -EINVAL;
	gm_stale_settle(view->guest);
	array = gm_regions_snapshot(view, &n);
	if (IS_ERR(array))
		return PTR_ERR(array);
	arg->nentries = n;
	rc = gm_cmd_list(arg->entries, arg->entry_size, capacity, array, sizeof(*array), n,
			 &arg->err);
	kvfree(array);
	return rc ?: gm_cmd_respond(cmd);
}
