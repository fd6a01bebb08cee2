// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA locks: memory that stays where it is, for as long as a device may use it.
 *
 * A lock holds each region that it touches: the region's pages are unpinned by the
 * last reference, so nothing that happens to the region can take them away. Check
 * and hold are one step under regions_rwsem held for reading: whoever removes a
 * region takes that lock for writing, and so meets either no lock or a counted one.
 *
 * A lock belongs to an open file, which has it under a handle and ends it when it
 * is closed, or to an in-kernel client, which has the pointer and is asked by
 * ops->revoke() to stop when a region is revoked. A file's locks are not called
 * back: its holder is told by event, and the pages wait for it.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "guestmem_private.h"
#include "trace.h"

static void gm_lock_release(struct kref *kref)
{
	struct guestmem_dma_lock *lock = container_of(kref, struct guestmem_dma_lock, kref);

	put_pid(lock->pid);
	kvfree(lock);
}

static struct guestmem_dma_lock *gm_lock_alloc(u32 nholds)
{
	struct guestmem_dma_lock *lock;

	lock = kvzalloc(struct_size(lock, holds, nholds), GFP_KERNEL_ACCOUNT);
	if (!lock)
		return NULL;
	kref_init(&lock->kref);
	lock->pid = get_pid(task_tgid(current));
	INIT_LIST_HEAD(&lock->faulted_node);
	return lock;
}

static bool gm_has_hold(struct gm_region *region, struct guestmem_dma_lock *lock)
{
	struct gm_hold *newest;

	/* locks_mutex is not dropped while a lock is taken, so its hold is the newest. */
	newest = list_first_entry_or_null(&region->locks, struct gm_hold, node);
	return newest && newest->lock == lock;
}

/**
 * gm_lock_needs - what it takes to have a DMA lock
 * @direction: GUESTMEM_DMA_*
 *
 * Return: GUESTMEM_RIGHT_*.
 */
u32 gm_lock_needs(u32 direction)
{
	u32 need = GUESTMEM_RIGHT_LOCK;

	if (direction & GUESTMEM_DMA_TO_DEVICE)
		need |= GUESTMEM_RIGHT_READ;
	if (direction & GUESTMEM_DMA_FROM_DEVICE)
		need |= GUESTMEM_RIGHT_WRITE;
	return need;
}

/* Does what is held last go on with the page at @index of a region? */
static struct gm_hold *gm_hold_before(struct guestmem_dma_lock *lock, struct gm_region *region,
				      u64 address, u32 index)
{
	struct gm_hold *hold = lock->nholds ? &lock->holds[lock->nholds - 1] : NULL;

	/* Nothing comes before address 0. */
	if (hold && address && hold->region == region && hold->last + 1 == address &&
	    hold->index + ((hold->last >> PAGE_SHIFT) - (hold->start >> PAGE_SHIFT)) + 1 == index)
		return hold;
	return NULL;
}

static void gm_hold_add(struct guestmem_dma_lock *lock, struct gm_region *region, u64 start,
			u64 last, u32 index)
{
	struct gm_hold *hold = &lock->holds[lock->nholds++];

	hold->lock = lock;
	hold->region = region;
	hold->start = start;
	hold->last = last;
	hold->index = index;
	hold->faulted = false;
	kref_get(&region->kref);
	INIT_LIST_HEAD(&hold->node);
	if (gm_has_hold(region, lock))
		return;
	list_add(&hold->node, &region->locks);
	WRITE_ONCE(region->nlocks, region->nlocks + 1);
}

/*
 * Hold all regions of a range. There may be more parts than @capacity: then they are
 * counted only, and the caller comes back with more room. Of a page list by GPA one for
 * each region will do; what a session has locked must be known by its IOVAs.
 */
static int gm_hold_range(struct guestmem_dma_lock *lock, struct gm_cursor *cur, u32 capacity,
			 u32 *needed, u32 *nparts, u64 gpa, u64 last, struct guestmem_error *err)
{
	u32 need = gm_lock_needs(lock->direction) & (GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE);
	struct gm_region *region;
	struct gm_hold *before;
	u64 part_last;
	u32 index;
	int rc;

	for (;;) {
		region = gm_cursor_seek(cur, gpa);
		if (!region)
			return gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE, gpa, 0, 0);
		rc = gm_check_cursor(cur, gpa, need, err);
		if (rc)
			return rc;
		part_last = min(cur->part_last, last);
		index = (gpa + cur->shift - region->node.start) >> PAGE_SHIFT;
		before = gm_hold_before(lock, region, gpa, index);
		if (before) {
			before->last = part_last;
		} else if (cur->view->session || !gm_has_hold(region, lock)) {
			if (lock->nholds < capacity)
				gm_hold_add(lock, region, gpa, part_last, index);
			(*needed)++;
		}
		/* All of it in one hold of the locks: those that go on with one another, too. */
		if (cur->view->session && ++*nparts > GUESTMEM_MAX_PARTS)
			return gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, gpa, *nparts,
				       GUESTMEM_MAX_PARTS);
		if (part_last == last)
			return 0;
		gpa = part_last + 1;
	}
}

/* From now on nobody finds the lock by its regions. They stay until gm_put_holds(). */
static void gm_unlink_holds(struct guestmem_dma_lock *lock)
{
	u32 i;

	lockdep_assert_held(&lock->view->guest->locks_mutex);
	for (i = 0; i < lock->nholds; i++) {
		struct gm_region *region = lock->holds[i].region;

		if (list_empty(&lock->holds[i].node))
			continue;
		list_del(&lock->holds[i].node);
		WRITE_ONCE(region->nlocks, region->nlocks - 1);
	}
}

static void gm_put_holds(struct guestmem_dma_lock *lock)
{
	u32 i;

	for (i = 0; i < lock->nholds; i++)
		gm_region_put(lock->holds[i].region);
}

static int gm_try_lock(struct guestmem_dma_lock *lock, u32 capacity, u32 *needed,
		       const u64 *pages, u32 npages, struct guestmem_error *err)
{
	struct gm_guest *guest = lock->view->guest;
	struct gm_cursor cur;
	u32 nparts = 0, i;
	int rc;

	*needed = 0;
	rc = gm_walk_begin(&cur, lock->view, gm_lock_needs(lock->direction), err);
	if (rc)
		return rc;
	mutex_lock(&guest->locks_mutex);
	if (!pages)
		rc = gm_hold_range(lock, &cur, capacity, needed, &nparts, lock->gpa, lock->last,
				   err);
	for (i = 0; !rc && i < npages; i++)
		rc = gm_hold_range(lock, &cur, capacity, needed, &nparts, pages[i],
				   pages[i] + PAGE_SIZE - 1, err);
	if (!rc && *needed <= capacity) {
		list_add(&lock->node, &lock->view->locks);
		lock->view->nlocks[lock->direction]++;
		if (lock->view->session)
			gm_session_locked(lock);
		trace_guestmem_lock(guest->id, lock->view->id, lock->gpa, lock->last, lock->nholds,
				    lock->direction);
	} else {
		/* At once, so that no driver is asked to give up what it was never given. */
		gm_unlink_holds(lock);
	}
	mutex_unlock(&guest->locks_mutex);
	gm_walk_end(&cur);
	return rc;
}

/**
 * gm_lock - take a DMA lock
 * @view: by whose addresses; the lock must have ended before the caller puts it
 * @client: the driver it is for, or NULL
 * @gpa: first address
 * @last: last address
 * @pages: or a list of page-aligned addresses, of which @gpa is the first
 * @npages: entries in it
 * @direction: GUESTMEM_DMA_*
 * @err: why not
 *
 * Context: sleeps; no lock of the guest's held.
 * Return: the lock, or an ERR_PTR: -ENXIO, -EACCES, -ESTALE, -ENOMEM, or for a session
 * -ENOSPC: of too many parts; then nothing is held.
 * Undone by gm_unlock().
 */
struct guestmem_dma_lock *gm_lock(struct gm_view *view, struct guestmem_client *client,
				  u64 gpa, u64 last, const u64 *pages, u32 npages,
				  u32 direction, struct guestmem_error *err)
{
	struct guestmem_dma_lock *lock;
	u32 capacity = 1, needed;
	int rc;

	for (;;) {
		lock = gm_lock_alloc(capacity);
		if (!lock)
			return ERR_PTR(-ENOMEM);
		lock->view = view;
		lock->client = client;
		lock->direction = direction;
		lock->gpa = gpa;
		lock->last = last;
		rc = gm_try_lock(lock, capacity, &needed, pages, npages, err);
		if (!rc && needed <= capacity)
			break;
		gm_put_holds(lock);
		kref_put(&lock->kref, gm_lock_release);
		if (rc)
			return ERR_PTR(rc);
		capacity = needed;
	}
	return lock;
}

/**
 * gm_unlock - end a DMA lock
 * @lock: the lock; gone afterwards
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_unlock(struct guestmem_dma_lock *lock)
{
	struct gm_guest *guest = lock->view->guest;

	trace_guestmem_unlock(guest->id, lock->view->id, lock->gpa, lock->last, lock->nholds,
			      lock->direction);
	if (lock->view->session)
		down_write(&lock->view->domain->rwsem);
	mutex_lock(&guest->locks_mutex);
	list_del(&lock->node);
	lock->view->nlocks[lock->direction]--;
	gm_unlink_holds(lock);
	if (lock->view->session)
		gm_session_unlocked(lock);
	mutex_unlock(&guest->locks_mutex);
	if (lock->view->session) {
		up_write(&lock->view->domain->rwsem);
		if (READ_ONCE(lock->view->domain->news))
			gm_event_domain(lock->view->domain);
	}
	gm_put_holds(lock);
	atomic_inc(&guest->nunlocks);
	wake_up_all(&guest->drain);
	kref_put(&lock->kref, gm_lock_release);
}

static struct guestmem_dma_lock *gm_next_of_region(void *of)
{
	struct gm_region *region = of;
	struct gm_hold *hold;

	list_for_each_entry(hold, &region->locks, node)
		if (hold->lock->client && !hold->lock->revoked)
			return hold->lock;
	return NULL;
}

static struct guestmem_dma_lock *gm_next_of_view(void *of)
{
	struct gm_view *view = of;
	struct guestmem_dma_lock *lock;

	list_for_each_entry(lock, &view->locks, node)
		if (lock->client && !lock->revoked &&
		    gm_lock_needs(lock->direction) & ~READ_ONCE(view->rights))
			return lock;
	return NULL;
}

static struct guestmem_dma_lock *gm_next_of_domain(void *of)
{
	struct gm_domain *domain = of;
	struct guestmem_dma_lock *lock;

	while ((lock = list_first_entry_or_null(&domain->faulted_locks, struct guestmem_dma_lock,
						faulted_node))) {
		list_del_init(&lock->faulted_node);
		if (!lock->revoked)
			return lock;
	}
	return NULL;
}

/* @next finds one that has not been revoked, under locks_mutex. */
static void gm_revoke_clients(struct gm_guest *guest,
			      struct guestmem_dma_lock *(*next)(void *of), void *of)
{
	struct guestmem_dma_lock *lock;
	struct guestmem_client *client;

	mutex_lock(&guest->revoke_mutex);
	mutex_lock(&guest->locks_mutex);
	while ((lock = next(of))) {
		client = lock->client;
		/* guestmem_dma_map() looks without the mutex. */
		WRITE_ONCE(lock->revoked, true);
		kref_get(&lock->kref);
		client->nrevoking++;
		mutex_unlock(&guest->locks_mutex);

		client->ops->revoke(client->priv, lock);

		mutex_lock(&guest->locks_mutex);
		WRITE_ONCE(client->nrevoking, client->nrevoking - 1);
		wake_up_all(&guest->drain);
		kref_put(&lock->kref, gm_lock_release);
	}
	mutex_unlock(&guest->locks_mutex);
	mutex_unlock(&guest->revoke_mutex);
}

/**
 * gm_revoke_region_clients - have all drivers that use a region stop
 * @region: the region; removed, so that no new lock can come
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_revoke_region_clients(struct gm_region *region)
{
	gm_revoke_clients(region->guest, gm_next_of_region, region);
}

/**
 * gm_revoke_view_clients - have all drivers stop that lost the right to what they use
 * @view: the view that lost rights
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_revoke_view_clients(struct gm_view *view)
{
	gm_revoke_clients(view->guest, gm_next_of_view, view);
}

/**
 * gm_revoke_domain_clients - have all drivers stop whose memory was unmapped
 * @domain: where from
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_revoke_domain_clients(struct gm_domain *domain)
{
	gm_revoke_clients(domain->view->guest, gm_next_of_domain, domain);
}

/**
 * gm_file_unlock_all - end all DMA locks of a file
 * @file: the file; no ioctl can use it any more
 */
void gm_file_unlock_all(struct gm_file *file)
{
	struct guestmem_dma_lock *lock;
	unsigned long handle;

	xa_for_each(&file->locks, handle, lock) {
		gm_unlock(lock);
		cond_resched();
	}
	xa_destroy(&file->locks);
}

static int gm_check_lock(const struct guestmem_lock *arg, u64 *last, struct guestmem_error *err)
{
	if (arg->flags & ~(GUESTMEM_LOCK_PAGES | GUESTMEM_EXTENT_HPA))
		return -EOPNOTSUPP;
	if (arg->direction < GUESTMEM_DMA_TO_DEVICE ||
	    arg->direction > GUESTMEM_DMA_BIDIRECTIONAL)
		return -EOPNOTSUPP;
	if (!(arg->flags & GUESTMEM_LOCK_PAGES)) {
		if (arg->pages || arg->npages)
			return -EOPNOTSUPP;
		return gm_check_range(arg->gpa, arg->len, last, err);
	}
	if (arg->gpa || arg->len)
		return -EOPNOTSUPP;
	if (!arg->npages)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_EMPTY, 0, 1, 0);
	if (arg->npages > GUESTMEM_LOCK_MAX_PAGES)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_TOO_LONG, 0, arg->npages,
			       GUESTMEM_LOCK_MAX_PAGES);
	return 0;
}

static u64 *gm_copy_pages(const struct guestmem_lock *arg, struct guestmem_error *err)
{
	size_t len = array_size(arg->npages, sizeof(u64));
	u64 *pages;
	u32 i;

	pages = kvmalloc(len, GFP_KERNEL_ACCOUNT);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(pages, u64_to_user_ptr(arg->pages), len)) {
		kvfree(pages);
		return ERR_PTR(-EFAULT);
	}
	for (i = 0; i < arg->npages; i++)
		if (!IS_ALIGNED(pages[i], PAGE_SIZE)) {
			gm_fail(err, 0, GUESTMEM_REASON_MISALIGNED, pages[i], PAGE_SIZE, 0);
			kvfree(pages);
			return ERR_PTR(-EINVAL);
		}
	return pages;
}

/*
 * The addresses are walked again; other regions may have come to lie there. As long
 * as those that are held are live they have been there all the time.
 */
static bool gm_holds_are_live(struct guestmem_dma_lock *lock)
{
	struct gm_guest *guest = lock->view->guest;
	bool live = true;
	u32 i;

	down_read(&guest->regions_rwsem);
	for (i = 0; i < lock->nholds; i++)
		live &= READ_ONCE(lock->holds[i].region->state) == GM_REGION_LIVE;
	up_read(&guest->regions_rwsem);
	return live && !READ_ONCE(lock->faulted);
}

static int gm_lock_extents(struct gm_extents *to, struct guestmem_dma_lock *lock,
			   const u64 *pages, u32 npages, struct guestmem_error *err)
{
	u32 need = gm_lock_needs(lock->direction);
	int rc = 0;
	u32 i;

	if (!to->capacity)
		return 0;
	if (!pages)
		rc = gm_extents_range(to, lock->view, need, lock->gpa, lock->last, err);
	for (i = 0; !rc && i < npages; i++)
		rc = gm_extents_range(to, lock->view, need, pages[i], pages[i] + PAGE_SIZE - 1,
				      err);
	rc = gm_extents_finish(to, rc, err);
	if (!rc && !gm_holds_are_live(lock))
		rc = gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE, lock->gpa, 0, 0);
	return rc;
}

int gm_ioctl_lock(struct gm_cmd *cmd)
{
	struct guestmem_lock *arg = cmd->arg;
	struct gm_file *file = cmd->file;
	struct guestmem_dma_lock *lock;
	u64 gpa = arg->gpa, last;
	u32 capacity = arg->nextents;
	struct gm_extents to;
	u64 *pages = NULL;
	u32 handle;
	int rc;

	arg->handle = 0;
	arg->nextents = 0;
	rc = gm_check_lock(arg, &last, &arg->err);
	if (rc)
		return rc;
	rc = gm_check_view(file->view, gm_lock_needs(arg->direction), &arg->err);
	if (rc)
		return rc;
	rc = gm_extents_init(&to, file, arg->extents, capacity,
			     arg->flags & GUESTMEM_EXTENT_HPA, &arg->err);
	if (rc)
		return rc;
	if (arg->flags & GUESTMEM_LOCK_PAGES) {
		pages = gm_copy_pages(arg, &arg->err);
		if (IS_ERR(pages))
			return PTR_ERR(pages);
		gpa = pages[0];
		last = gpa + PAGE_SIZE - 1;
	}
	if (atomic_inc_return(&file->nlocks) > GUESTMEM_MAX_LOCKS) {
		rc = gm_fail(&arg->err, -ENOSPC, GUESTMEM_REASON_LIMIT, gpa,
			     GUESTMEM_MAX_LOCKS + 1, GUESTMEM_MAX_LOCKS);
		goto err_uncount;
	}
	lock = gm_lock(file->view, NULL, gpa, last, pages, arg->npages, arg->direction,
		       &arg->err);
	if (IS_ERR(lock)) {
		rc = PTR_ERR(lock);
		goto err_uncount;
	}
	/* Reserved, so that nobody can guess it and unlock before it was told. */
	rc = xa_alloc_cyclic(&file->locks, &handle, NULL, XA_LIMIT(1, U32_MAX),
			     &file->next_handle, GFP_KERNEL_ACCOUNT);
	if (rc < 0)
		goto err_unlock;
	rc = gm_lock_extents(&to, lock, pages, arg->npages, &arg->err);
	arg->nextents = to.count;
	if (rc)
		goto err_erase;
	arg->handle = handle;
	rc = gm_cmd_respond(cmd);
	if (rc)
		goto err_erase;
	xa_store(&file->locks, handle, lock, GFP_KERNEL_ACCOUNT);
	kvfree(pages);
	return 0;

err_erase:
	arg->handle = 0;
	xa_erase(&file->locks, handle);
err_unlock:
	gm_unlock(lock);
err_uncount:
	atomic_dec(&file->nlocks);
	kvfree(pages);
	return rc;
}

int gm_ioctl_unlock(struct gm_cmd *cmd)
{
	struct guestmem_unlock *arg = cmd->arg;
	struct gm_file *file = cmd->file;
	struct guestmem_dma_lock *lock;

	if (arg->flags || arg->reserved)
		return -EOPNOTSUPP;
	xa_lock(&file->locks);
	lock = xa_load(&file->locks, arg->handle);
	if (lock)
		__xa_erase(&file->locks, arg->handle);
	xa_unlock(&file->locks);
	if (!lock)
		return -ENOENT;
	gm_unlock(lock);
	atomic_dec(&file->nlocks);
	return 0;
}
