// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: what can be seen of a guest by a file, and what may be done there.
 *
 * Each file shows one view, and so does each in-kernel client. The first open of the
 * device makes the one that is all of the guest. From a view others are made, of a
 * part of it and with rights that it has, for somebody who is not to have more. Which
 * view is in the file, so it goes where the file goes.
 *
 * A view never comes to have more: its range is what it was, and its rights become
 * fewer, together with those of all that were made from it. They are changed under
 * regions_rwsem held for writing, its PTEs zapped and its translation table written
 * anew before it is dropped. All accesses are walks: from gm_walk_begin(), which looks
 * whether the rights are there, to gm_walk_end() they hold it for reading. So when rights
 * have been taken away, no access that needs them is going on, nor will one begin.
 *
 * DMA locks are as ever: who has one is asked to stop if it is a driver, and waited
 * for, and the pages stay.
 *
 * Each view has an inode of its own in a pseudo file system, for the mapping in it:
 * unmap_mapping_pages() on that reaches the VMAs of this view and no others.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mount.h>
#include <linux/nospec.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "guestmem_private.h"

#define GUESTMEM_FS_MAGIC	0x47554553 /* "GUES" */

static struct vfsmount *gm_mnt;

static int gm_fs_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, GUESTMEM_FS_MAGIC) ? 0 : -ENOMEM;
}

/* No owner: the mount is the module's own, and would keep it from being unloaded. */
static struct file_system_type gm_fs_type = {
	.name = "guestmem",
	.init_fs_context = gm_fs_init_fs_context,
	.kill_sb = kill_anon_super,
};

int gm_views_init(void)
{
	gm_mnt = kern_mount(&gm_fs_type);
	return PTR_ERR_OR_ZERO(gm_mnt);
}

void gm_views_exit(void)
{
	kern_unmount(gm_mnt);
}

/* Is there room for one more, in @parent and in all that it was made from? */
static int gm_check_room(struct gm_guest *guest, struct gm_view *parent, struct guestmem_error *err)
{
	struct gm_view *above;
	u32 most;

	lockdep_assert_held_write(&guest->regions_rwsem);
	if (parent && parent->depth == GUESTMEM_MAX_DEPTH)
		return gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, 0, parent->depth + 1,
			       GUESTMEM_MAX_DEPTH);
	for (above = parent; above; above = above->parent) {
		most = above->parent ? GUESTMEM_MAX_SUBVIEWS : GUESTMEM_MAX_VIEWS;
		if (above->nviews == most)
			return gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, 0, most + 1, most);
	}
	return 0;
}

/**
 * gm_view_alloc - begin to make a view
 * @guest: the guest
 * @parent: the view that it is made from, or NULL
 * @gpa: first GPA that it shows; of a domain and a session, first IOVA
 * @last: last one
 * @shift: what its addresses are less by than GPAs
 * @rights: GUESTMEM_RIGHT_*
 *
 * Nobody can find it until gm_view_publish(). Undone by gm_view_free().
 *
 * Return: the view, with one reference, or NULL: no memory.
 */
struct gm_view *gm_view_alloc(struct gm_guest *guest, struct gm_view *parent, u64 gpa, u64 last,
			      u64 shift, u32 rights)
{
	struct gm_view *view;

	view = kzalloc(sizeof(*view), GFP_KERNEL_ACCOUNT);
	if (!view)
		return NULL;
	view->inode = alloc_anon_inode(gm_mnt->mnt_sb);
	if (IS_ERR(view->inode)) {
		kfree(view);
		return NULL;
	}
	gm_guest_get(guest);
	if (parent)
		gm_view_get(parent);
	refcount_set(&view->refs, 1);
	view->guest = guest;
	view->parent = parent;
	view->depth = parent ? parent->depth + 1 : 1;
	view->start = gpa - shift;
	view->last = last - shift;
	view->shift = shift;
	view->rights = rights;
	view->pid = get_pid(task_tgid(current));
	INIT_LIST_HEAD(&view->locks);
	return view;
}

/**
 * gm_view_publish - go on to make a view
 * @view: from gm_view_alloc()
 * @err: why not
 *
 * Undone by gm_view_put().
 *
 * Return: 0, -ENOSPC, or -EACCES, -ESTALE: its parent has not the rights any more.
 */
int gm_view_publish(struct gm_view *view, struct guestmem_error *err)
{
	struct gm_view *parent = view->parent, *above;
	struct gm_guest *guest = view->guest;
	int rc = 0;

	down_write(&guest->regions_rwsem);
	if (parent)
		rc = gm_check_view(parent, GUESTMEM_RIGHT_EXPORT | view->rights, err);
	if (!rc)
		rc = gm_check_room(guest, parent, err);
	if (!rc) {
		view->id = ++guest->last_view_id;
		view->generation = guest->generation;
		list_add_tail(&view->node, &guest->views);
		for (above = parent; above; above = above->parent)
			above->nviews++;
		if (view->session)
			gm_session_attach(view->session);
	}
	up_write(&guest->regions_rwsem);
	return rc;
}

void gm_view_get(struct gm_view *view)
{
	refcount_inc(&view->refs);
}

static void gm_view_unpublish(struct gm_view *view)
{
	struct gm_view *above;

	down_write(&view->guest->regions_rwsem);
	list_del(&view->node);
	for (above = view->parent; above; above = above->parent)
		above->nviews--;
	if (view->session)
		gm_session_detach(view->session);
	up_write(&view->guest->regions_rwsem);
}

/* Returns the parent, whose reference is the caller's then. */
static struct gm_view *gm_view_destroy(struct gm_view *view)
{
	struct gm_view *parent = view->parent;

	if (view->session)
		gm_session_free(view->session);
	else if (view->domain)
		gm_domain_free(view->domain);
	vfree(view->table);
	iput(view->inode);
	put_pid(view->pid);
	gm_guest_put(view->guest);
	kfree(view);
	return parent;
}

/**
 * gm_view_free - undo gm_view_alloc()
 * @view: not published
 */
void gm_view_free(struct gm_view *view)
{
	gm_view_put(gm_view_destroy(view));
}

/**
 * gm_view_put - drop a reference
 * @view: the view; or NULL
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_view_put(struct gm_view *view)
{
	/* The last reference on a view may be that of one that was made from it. */
	while (view && refcount_dec_and_test(&view->refs)) {
		gm_view_unpublish(view);
		view = gm_view_destroy(view);
	}
}

/**
 * gm_view_is_of - was a view made from another, or from one that was?
 * @view: the view; the caller has a reference, or it is in a list that is locked
 * @ancestor: the other
 *
 * Return: whether it was; also if they are the same.
 */
bool gm_view_is_of(const struct gm_view *view, const struct gm_view *ancestor)
{
	while (view && view != ancestor)
		view = view->parent;
	return view;
}

/**
 * gm_view_part - what of a range can be seen
 * @view: the view
 * @gpa: first GPA
 * @gpa_last: last GPA
 * @start: first address in the view
 * @last: last address in the view
 *
 * Return: whether anything can; of a domain and its sessions, not by these addresses.
 */
bool gm_view_part(const struct gm_view *view, u64 gpa, u64 gpa_last, u64 *start, u64 *last)
{
	u64 from = view->start + view->shift, to = view->last + view->shift;

	if (view->domain || !gm_ranges_overlap(gpa, gpa_last, from, to))
		return false;
	*start = max(gpa, from) - view->shift;
	*last = min(gpa_last, to) - view->shift;
	return true;
}

/**
 * gm_view_next - the first live region that can be seen at or after an address
 * @view: the view
 * @address: the address
 * @start: the first address of it that can be seen
 * @last: the last one
 *
 * Context: regions_rwsem held.
 * Return: the region or NULL; of a view that was revoked always.
 */
struct gm_region *gm_view_next(struct gm_view *view, u64 address, u64 *start, u64 *last)
{
	struct gm_region *region;

	lockdep_assert_held(&view->guest->regions_rwsem);
	address = max(address, view->start);
	if (address > view->last || !view->rights)
		return NULL;
	region = gm_guest_next_region(view->guest, address + view->shift);
	if (!region || !gm_view_part(view, region->node.start, region->node.last, start, last))
		return NULL;
	return region;
}

/**
 * gm_view_last - last address of the highest live region that can be seen
 * @view: the view
 *
 * Context: regions_rwsem held.
 * Return: the address; 0 if there is no region.
 */
u64 gm_view_last(struct gm_view *view)
{
	struct gm_guest *guest = view->guest;
	struct rb_node *rb;
	u64 start, last;

	lockdep_assert_held(&guest->regions_rwsem);
	for (rb = rb_last(&guest->regions.rb_root); rb && view->rights; rb = rb_prev(rb)) {
		struct gm_region *region = rb_entry(rb, struct gm_region, node.rb);

		if (region->state == GM_REGION_LIVE &&
		    gm_view_part(view, region->node.start, region->node.last, &start, &last))
			return last;
	}
	return 0;
}

/**
 * gm_view_measure - how much can be seen
 * @view: the view
 * @nregions: how many live regions
 *
 * Context: regions_rwsem held.
 * Return: bytes; of all of the guest, those that only DMA locks hold are counted too. What
 * a domain shows see gm_domain_info().
 */
u64 gm_view_measure(struct gm_view *view, u32 *nregions)
{
	struct gm_guest *guest = view->guest;
	struct gm_region *region;
	u64 start, last, sum = 0;

	lockdep_assert_held(&guest->regions_rwsem);
	if (!view->parent) {
		*nregions = guest->nlive;
		return (u64)atomic_long_read(&guest->npinned) << PAGE_SHIFT;
	}
	*nregions = 0;
	if (view->domain)
		return 0;
	for (region = gm_view_next(view, 0, &start, &last); region;
	     region = last == view->last ? NULL : gm_view_next(view, last + 1, &start, &last)) {
		(*nregions)++;
		sum += last - start + 1;
	}
	return sum;
}

/**
 * gm_view_flags - what a region is, as far as a view goes
 * @view: the view
 * @region: the region
 *
 * Context: regions_rwsem held.
 * Return: GUESTMEM_REGION_*.
 */
u32 gm_view_flags(const struct gm_view *view, const struct gm_region *region)
{
	lockdep_assert_held(&view->guest->regions_rwsem);
	return region->flags |
	       (view->rights & GUESTMEM_RIGHT_WRITE ? 0 : GUESTMEM_REGION_READONLY);
}

/**
 * gm_view_nlocks - how many DMA locks were taken by a view
 * @view: the view
 *
 * Return: that.
 */
u32 gm_view_nlocks(struct gm_view *view)
{
	u32 direction, n = 0;

	for (direction = 0; direction < ARRAY_SIZE(view->nlocks); direction++)
		n += READ_ONCE(view->nlocks[direction]);
	return n;
}

/**
 * gm_view_changed - what a view shows, or what may be done there, changed
 * @view: the view
 *
 * Context: regions_rwsem held for writing; guest::generation has grown.
 */
void gm_view_changed(struct gm_view *view)
{
	lockdep_assert_held_write(&view->guest->regions_rwsem);
	view->generation = view->guest->generation;
	gm_table_update(view);
}

/**
 * gm_check_view - may this be done by a view?
 * @view: the view
 * @need: GUESTMEM_RIGHT_* that it takes
 * @err: why not
 *
 * Context: the answer holds as long as regions_rwsem is.
 * Return: 0, -EACCES, or -ESTALE: it was revoked.
 */
int gm_check_view(struct gm_view *view, u32 need, struct guestmem_error *err)
{
	u32 rights = READ_ONCE(view->rights);

	if (!rights)
		return gm_fail(err, -ESTALE, GUESTMEM_REASON_REVOKED, 0, need, 0);
	return gm_check_right(rights, need, err);
}

/**
 * gm_walk_begin - begin a walk over guest memory
 * @cur: the walk
 * @view: by whose addresses
 * @need: GUESTMEM_RIGHT_* that it takes
 * @err: why not
 *
 * Takes regions_rwsem for reading, and a session's domain::rwsem, so what is found is
 * valid until gm_walk_end().
 *
 * Return: 0, or as gm_check_view(); then there is no walk to be ended.
 */
int gm_walk_begin(struct gm_cursor *cur, struct gm_view *view, u32 need,
		  struct guestmem_error *err)
{
	int rc;

	down_read(&view->guest->regions_rwsem);
	rc = gm_check_view(view, need, err);
	if (rc)
		up_read(&view->guest->regions_rwsem);
	else if (view->session)
		down_read(&view->domain->rwsem);
	cur->view = view;
	cur->need = need;
	cur->region = NULL;
	return rc;
}

void gm_walk_end(struct gm_cursor *cur)
{
	if (cur->view->session)
		up_read(&cur->view->domain->rwsem);
	up_read(&cur->view->guest->regions_rwsem);
}

/* The region at an address, and how far it goes. */
static bool gm_view_seek(struct gm_cursor *cur, u64 address)
{
	struct gm_view *view = cur->view;
	struct gm_region *region;

	if (address < view->start || address > view->last)
		return false;
	address = gm_clamp(address, view->start, view->last);
	region = gm_guest_region(view->guest, address + view->shift);
	if (!region)
		return false;
	cur->region = region;
	cur->shift = view->shift;
	cur->rights = GUESTMEM_RIGHT_READ |
		      (region->flags & GUESTMEM_REGION_READONLY ? 0 : GUESTMEM_RIGHT_WRITE);
	return gm_view_part(view, region->node.start, region->node.last, &cur->part_start,
			    &cur->part_last);
}

/**
 * gm_cursor_seek - what lies at an address
 * @cur: the walk; walking upwards costs no search. Gets all that is told of a step
 * @address: the address
 *
 * Return: the region, or NULL: a hole.
 */
struct gm_region *gm_cursor_seek(struct gm_cursor *cur, u64 address)
{
	struct gm_region *region = cur->region;
	const struct gm_run *run;
	u64 start;
	u32 index;

	lockdep_assert_held(&cur->view->guest->regions_rwsem);
	if (!region || address < cur->part_start || address > cur->part_last) {
		cur->region = NULL;
		cur->run = 0;
		if (!(cur->view->session ? gm_session_seek(cur, address) :
					   gm_view_seek(cur, address)))
			return NULL;
		region = cur->region;
	}
	address = gm_clamp(address, cur->part_start, cur->part_last);
	index = (address + cur->shift - region->node.start) >> PAGE_SHIFT;
	cur->run = gm_runs_find(&region->runs, index, cur->run);
	run = &region->runs.run[cur->run];
	cur->pfn = run->pfn + (index - run->index);
	start = region->node.start + ((u64)run->index << PAGE_SHIFT) - cur->shift;
	cur->start = start;
	cur->last = start + ((u64)run->npages << PAGE_SHIFT) - 1;
	/* The run may go beyond the part; and if it does, an address of it may wrap. */
	if (cur->part_start - start < (u64)run->npages << PAGE_SHIFT)
		cur->start = cur->part_start;
	if (cur->part_last - start < (u64)run->npages << PAGE_SHIFT)
		cur->last = cur->part_last;
	return region;
}

/**
 * gm_check_cursor - may this be done here?
 * @cur: the walk, at an address
 * @address: the address
 * @need: GUESTMEM_RIGHT_READ, _WRITE, or both
 * @err: why not
 *
 * What the view itself may do has been looked at when the walk began.
 *
 * Return: 0 or -EACCES.
 */
int gm_check_cursor(const struct gm_cursor *cur, u64 address, u32 need,
		    struct guestmem_error *err)
{
	if (!(need & ~cur->rights))
		return 0;
	return gm_fail(err, -EACCES, cur->region->flags & GUESTMEM_REGION_READONLY ?
		       GUESTMEM_REASON_READONLY : GUESTMEM_REASON_PERMISSION, address, need,
		       cur->rights);
}

/* ---- Made, listed, limited ---- */

static int gm_check_view_create(struct gm_view *view, const struct guestmem_view_create *arg,
				u64 *gpa, u64 *gpa_last, struct guestmem_error *err)
{
	/* Who adds and removes regions does so for all of the guest. */
	u32 rights = READ_ONCE(view->rights) & ~(u32)GUESTMEM_RIGHT_MANAGE;
	u64 last;
	int rc;

	if (arg->flags & ~GUESTMEM_VIEW_KEEP)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(arg->address, PAGE_SIZE))
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_MISALIGNED, arg->address, PAGE_SIZE,
			       0);
	if (!IS_ALIGNED(arg->len, PAGE_SIZE))
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_MISALIGNED, arg->len, PAGE_SIZE, 0);
	rc = gm_check_range(arg->address, arg->len, &last, err);
	if (rc)
		return rc;
	if (arg->address < view->start || last > view->last)
		return gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE,
			       arg->address < view->start ? arg->address : view->last + 1, 0, 0);
	rc = gm_check_view(view, GUESTMEM_RIGHT_EXPORT, err);
	if (rc)
		return rc;
	if (!arg->rights)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_RIGHT, 0, 0, rights);
	*gpa = arg->address + view->shift;
	*gpa_last = last + view->shift;
	return gm_check_right(rights, arg->rights, err);
}

/**
 * gm_view_respond - publish a view, by a file that the caller gets
 * @cmd: the ioctl
 * @view: from gm_view_alloc(); the file's afterwards, or freed
 * @fd: where in the answer the descriptor is told
 * @id: where its number is
 * @err: where it is told why not
 *
 * Return: 0, or -errno: nothing is left.
 */
int gm_view_respond(struct gm_cmd *cmd, struct gm_view *view, s32 *fd, u64 *id,
		    struct guestmem_error *err)
{
	struct file *filp;
	int rc, new;

	rc = gm_view_publish(view, err);
	if (rc) {
		gm_view_free(view);
		return rc;
	}
	filp = gm_file_create(view);
	if (IS_ERR(filp)) {
		gm_view_put(view);
		return PTR_ERR(filp);
	}
	new = get_unused_fd_flags(O_CLOEXEC);
	if (new < 0) {
		rc = new;
		goto err_fput;
	}
	*fd = new;
	*id = view->id;
	rc = gm_cmd_respond(cmd);
	if (rc)
		goto err_put_fd;
	fd_install(new, filp);
	return 0;

err_put_fd:
	put_unused_fd(new);
	*fd = -1;
	*id = 0;
err_fput:
	fput(filp);
	return rc;
}

int gm_ioctl_view_create(struct gm_cmd *cmd)
{
	struct guestmem_view_create *arg = cmd->arg;
	struct gm_view *parent = cmd->file->view, *view;
	u64 gpa, last;
	int rc;

	arg->fd = -1;
	arg->id = 0;
	rc = gm_check_view_create(parent, arg, &gpa, &last, &arg->err);
	if (rc)
		return rc;
	view = gm_view_alloc(parent->guest, parent, gpa, last,
			     arg->flags & GUESTMEM_VIEW_KEEP ? parent->shift : gpa, arg->rights);
	if (!view)
		return -ENOMEM;
	return gm_view_respond(cmd, view, &arg->fd, &arg->id, &arg->err);
}

static void gm_view_describe(struct gm_view *view, struct gm_view *by,
			     struct guestmem_view *to)
{
	*to = (struct guestmem_view) {
		.address = view->domain ? 0 : view->start + view->shift - by->shift,
		.len = view->last - view->start + 1,
		.start = view->start,
		.id = view->id,
		.parent = view->parent->id,
		.rights = view->rights,
		.nlocks = gm_view_nlocks(view),
		.pid = pid_vnr(view->pid),
		.kind = gm_view_kind(view),
	};
}

/* All that were made from @by, in an array of the kernel's. */
static struct guestmem_view *gm_views_snapshot(struct gm_view *by, u32 *count)
{
	struct gm_guest *guest = by->guest;
	struct guestmem_view *array = NULL;
	struct gm_view *view;
	u32 capacity = 0, n;

	for (;;) {
		n = 0;
		down_read(&guest->regions_rwsem);
		list_for_each_entry(view, &guest->views, node) {
			if (view == by || !gm_view_is_of(view, by))
				continue;
			if (n < capacity)
				gm_view_describe(view, by, &array[n]);
			n++;
		}
		up_read(&guest->regions_rwsem);
		if (n <= capacity)
			break;
		kvfree(array);
		capacity = n;
		array = kvcalloc(capacity, sizeof(*array), GFP_KERNEL_ACCOUNT);
		if (!array)
			return ERR_PTR(-ENOMEM);
	}
	*count = n;
	return array;
}

int gm_ioctl_view_list(struct gm_cmd *cmd)
{
	struct guestmem_view_list *arg = cmd->arg;
	u32 capacity = arg->nentries, n;
	struct guestmem_view *array;
	int rc;

	if (arg->flags)
		return -EOPNOTSUPP;
	if (arg->entry_size < sizeof(*array) || arg->entry_size > PAGE_SIZE)
		return -EINVAL;
	array = gm_views_snapshot(cmd->file->view, &n);
	if (IS_ERR(array))
		return PTR_ERR(array);
	arg->nentries = n;
	rc = gm_cmd_list(arg->entries, arg->entry_size, capacity, array, sizeof(*array), n,
			 &arg->err);
	kvfree(array);
	return rc ?: gm_cmd_respond(cmd);
}

/* @id, if @by is that view or it was made from it. Returns with a reference. */
static struct gm_view *gm_view_by_id(struct gm_view *by, u64 id)
{
	struct gm_view *view, *found = NULL;

	down_read(&by->guest->regions_rwsem);
	list_for_each_entry(view, &by->guest->views, node)
		if (view->id == id && gm_view_is_of(view, by) && refcount_inc_not_zero(&view->refs))
			found = view;
	up_read(&by->guest->regions_rwsem);
	return found;
}

/**
 * struct gm_limit - rights that are taken away
 * @top: from this view, and all that were made from it
 * @itself: or only from these
 * @rights: GUESTMEM_RIGHT_* that are left
 */
struct gm_limit {
	struct gm_view *top;
	bool itself;
	u32 rights;
};

static bool gm_limit_hits(const struct gm_limit *limit, const struct gm_view *view)
{
	return (limit->itself || view != limit->top) && gm_view_is_of(view, limit->top);
}

static void gm_limit_do(const struct gm_limit *limit)
{
	struct gm_guest *guest = limit->top->guest;
	bool changed = false;
	struct gm_view *view;
	u32 lost;

	down_write(&guest->regions_rwsem);
	list_for_each_entry(view, &guest->views, node) {
		lost = gm_limit_hits(limit, view) ? view->rights & ~limit->rights : 0;
		if (!lost)
			continue;
		/* A marked write, as gm_check_view() may look without the lock. */
		WRITE_ONCE(view->rights, view->rights & limit->rights);
		if (lost & (GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MAP))
			gm_zap(view, view->start, view->last);
		if (view->session)
			gm_session_limited(view->session);
		else if (view->domain)
			wake_up_interruptible(&view->domain->wait);
		if (view->domain)
			continue;
		if (!changed)
			guest->generation++;
		changed = true;
		gm_view_changed(view);
	}
	up_write(&guest->regions_rwsem);
}

/**
 * gm_views_next - the views of a guest, one after another, with no lock held
 * @guest: the guest
 * @view: the last one, whose reference is given back; NULL to begin
 *
 * Context: sleeps; no lock of the guest's held.
 * Return: the next one, in the order in which they were made, with a reference; NULL if
 * there is none.
 */
struct gm_view *gm_views_next(struct gm_guest *guest, struct gm_view *view)
{
	struct gm_view *next, *found = NULL;

	down_read(&guest->regions_rwsem);
	next = view ? list_next_entry(view, node) :
		      list_first_entry(&guest->views, struct gm_view, node);
	list_for_each_entry_from(next, &guest->views, node)
		if (refcount_inc_not_zero(&next->refs)) {
			found = next;
			break;
		}
	up_read(&guest->regions_rwsem);
	gm_view_put(view);
	return found;
}

/* Tell, and have all drivers stop that lost the right to what they use. */
static void gm_limit_tell(const struct gm_limit *limit)
{
	struct gm_guest *guest = limit->top->guest;
	struct gm_view *view = NULL;

	gm_event_view(limit->top, GUESTMEM_EVENT_LIMITED);
	while ((view = gm_views_next(guest, view))) {
		if (!gm_limit_hits(limit, view))
			continue;
		gm_revoke_view_clients(view);
		if (view->domain)
			gm_event_domain(view->domain);
	}
}

/**
 * gm_view_revoke - take all rights of a view, and of those that were made from it
 * @view: the view
 *
 * Does not wait for DMA locks.
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_view_revoke(struct gm_view *view)
{
	struct gm_limit limit = { .top = view, .itself = true };

	gm_limit_do(&limit);
	gm_limit_tell(&limit);
}

/* DMA locks that need what was taken away. No more can come. */
static u32 gm_limit_nlocks(const struct gm_limit *limit)
{
	struct gm_guest *guest = limit->top->guest;
	struct gm_view *view;
	u32 direction, n = 0;

	down_read(&guest->regions_rwsem);
	mutex_lock(&guest->locks_mutex);
	list_for_each_entry(view, &guest->views, node)
		for (direction = GUESTMEM_DMA_TO_DEVICE;
		     gm_limit_hits(limit, view) && direction <= GUESTMEM_DMA_BIDIRECTIONAL;
		     direction++)
			if (gm_lock_needs(direction) & ~limit->rights)
				n += view->nlocks[direction];
	mutex_unlock(&guest->locks_mutex);
	up_read(&guest->regions_rwsem);
	return n;
}

/* Returns how many DMA locks are left. *@left: of the time; negative: killed. */
static u32 gm_limit_wait(const struct gm_limit *limit, long *left)
{
	struct gm_guest *guest = limit->top->guest;
	int nunlocks;
	u32 n;

	for (;;) {
		nunlocks = atomic_read(&guest->nunlocks);
		n = gm_limit_nlocks(limit);
		if (!n || *left <= 0)
			return n;
		*left = wait_event_killable_timeout(guest->drain,
						    atomic_read(&guest->nunlocks) != nunlocks,
						    *left);
	}
}

int gm_ioctl_view_limit(struct gm_cmd *cmd)
{
	struct guestmem_view_limit *arg = cmd->arg;
	struct gm_view *by = cmd->file->view;
	struct gm_limit limit = {
		.itself = !(arg->flags & GUESTMEM_VIEW_ALL),
		.rights = arg->rights,
	};
	long left = gm_timeout(arg->timeout_ms);
	int rc = 0;

	arg->nlocks = 0;
	if (arg->flags & ~GUESTMEM_VIEW_ALL || arg->reserved || (!limit.itself && arg->id))
		return -EOPNOTSUPP;
	/* Everybody may have less of what is his own. */
	if (!limit.itself || arg->id != by->id) {
		rc = gm_check_view(by, GUESTMEM_RIGHT_EXPORT, &arg->err);
		if (rc)
			return rc;
	}
	limit.top = gm_view_by_id(by, limit.itself ? arg->id : by->id);
	if (!limit.top)
		return -ENOENT;

	gm_limit_do(&limit);
	gm_limit_tell(&limit);
	arg->nlocks = gm_limit_wait(&limit, &left);
	if (arg->nlocks)
		rc = gm_fail(&arg->err, left < 0 ? -EINTR : -ETIMEDOUT, GUESTMEM_REASON_LOCKED,
			     limit.top->domain ? 0 :
			     limit.top->start + limit.top->shift - by->shift, arg->nlocks, 0);
	gm_view_put(limit.top);
	return rc ?: gm_cmd_respond(cmd);
}
