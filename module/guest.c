// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest: one guest-physical address space, and who is in it where.
 *
 * The regions that occupy addresses are in an interval tree, and no two of them
 * overlap. A region enters it reserved, so that nobody else can take the range
 * while the slow pinning goes on with no lock held; it is published, or taken out
 * again, when that has ended. Lookups see live regions only. The tree's nodes are
 * in the regions, so neither publishing nor removing can fail.
 *
 * A guest lives while a file or an in-kernel client holds it. VMAs hold the file.
 * DMA locks belong to a file or a client, and end before it lets go. So when the
 * last reference goes there is nobody left who could hold a region but the tree.
 *
 * Each guest has an inode of its own in a pseudo file system, for the mapping in
 * it: unmap_mapping_pages() on that reaches the VMAs of this guest and no others.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mount.h>
#include <linux/nospec.h>
#include <linux/pseudo_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "guestmem_private.h"

#define GUESTMEM_FS_MAGIC	0x47554553 /* "GUES" */

static DEFINE_MUTEX(guests_mutex); /* protects guests and last_guest_id */
static LIST_HEAD(guests);
static u64 last_guest_id;
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

int gm_guests_init(void)
{
	gm_mnt = kern_mount(&gm_fs_type);
	return PTR_ERR_OR_ZERO(gm_mnt);
}

void gm_guests_exit(void)
{
	kern_unmount(gm_mnt);
}

/**
 * gm_guest_create - make an empty guest
 *
 * Return: the guest, with one reference, or an ERR_PTR.
 */
struct gm_guest *gm_guest_create(void)
{
	struct gm_guest *guest;
	int rc;

	guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	if (!guest)
		return ERR_PTR(-ENOMEM);
	guest->inode = alloc_anon_inode(gm_mnt->mnt_sb);
	if (IS_ERR(guest->inode)) {
		rc = PTR_ERR(guest->inode);
		goto err_free;
	}
	kref_init(&guest->kref);
	init_rwsem(&guest->regions_rwsem);
	guest->regions = RB_ROOT_CACHED;
	mutex_init(&guest->revoke_mutex);
	mutex_init(&guest->locks_mutex);
	INIT_LIST_HEAD(&guest->pinned_regions);
	init_waitqueue_head(&guest->drain);
	spin_lock_init(&guest->event_lock);
	INIT_LIST_HEAD(&guest->files);
	INIT_DELAYED_WORK(&guest->stale_work, gm_stale_work);

	mutex_lock(&guests_mutex);
	guest->id = ++last_guest_id;
	list_add_tail(&guest->node, &guests);
	mutex_unlock(&guests_mutex);
	return guest;

err_free:
	kfree(guest);
	return ERR_PTR(rc);
}

void gm_guest_get(struct gm_guest *guest)
{
	kref_get(&guest->kref);
}

static void gm_guest_release(struct kref *kref)
{
	struct gm_guest *guest = container_of(kref, struct gm_guest, kref);
	struct interval_tree_node *node;

	/* From now on nobody finds it by the list; nobody else could find it. */
	mutex_lock(&guests_mutex);
	list_del(&guest->node);
	mutex_unlock(&guests_mutex);

	/*
	 * The work takes references on regions. It is not queued again: that takes
	 * a notifier of a region, and those go before the work is waited for.
	 */
	while ((node = interval_tree_iter_first(&guest->regions, 0, ULONG_MAX))) {
		struct gm_region *region = container_of(node, struct gm_region, node);

		down_write(&guest->regions_rwsem);
		gm_guest_unreserve(guest, region);
		up_write(&guest->regions_rwsem);
		gm_region_put(region);
	}
	cancel_delayed_work_sync(&guest->stale_work);
	gm_table_free(guest);
	iput(guest->inode);
	kfree(guest);
}

void gm_guest_put(struct gm_guest *guest)
{
	kref_put(&guest->kref, gm_guest_release);
}

/**
 * gm_guest_region - the live region at an address
 * @guest: the guest
 * @gpa: the address
 *
 * Context: regions_rwsem held.
 * Return: the region, valid until the lock is dropped, or NULL: a hole.
 */
struct gm_region *gm_guest_region(struct gm_guest *guest, u64 gpa)
{
	struct interval_tree_node *node;
	struct gm_region *region;

	lockdep_assert_held(&guest->regions_rwsem);
	node = interval_tree_iter_first(&guest->regions, gpa, gpa);
	if (!node)
		return NULL;
	region = container_of(node, struct gm_region, node);
	return region->state == GM_REGION_LIVE ? region : NULL;
}

/**
 * gm_guest_next_region - the first live region that ends at or after an address
 * @guest: the guest
 * @gpa: the address
 *
 * Context: regions_rwsem held.
 * Return: the region or NULL.
 */
struct gm_region *gm_guest_next_region(struct gm_guest *guest, u64 gpa)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&guest->regions_rwsem);
	for (node = interval_tree_iter_first(&guest->regions, gpa, ULONG_MAX); node;
	     node = interval_tree_iter_next(node, gpa, ULONG_MAX)) {
		struct gm_region *region = container_of(node, struct gm_region, node);

		if (region->state == GM_REGION_LIVE)
			return region;
	}
	return NULL;
}

/**
 * gm_guest_last - last address of the highest live region
 * @guest: the guest
 *
 * Context: regions_rwsem held.
 * Return: the address; 0 if there is no region.
 */
u64 gm_guest_last(struct gm_guest *guest)
{
	struct rb_node *rb;

	lockdep_assert_held(&guest->regions_rwsem);
	for (rb = rb_last(&guest->regions.rb_root); rb; rb = rb_prev(rb)) {
		struct gm_region *region = rb_entry(rb, struct gm_region, node.rb);

		if (region->state == GM_REGION_LIVE)
			return region->node.last;
	}
	return 0;
}

/**
 * gm_cursor_seek - what lies at an address
 * @cur: the walk; walking upwards costs no search
 * @gpa: the address
 * @pfn: page frame of the page it lies in
 * @last: last address up to which the frames follow each other
 *
 * Context: regions_rwsem held, since the walk began.
 * Return: the region, or NULL: a hole.
 */
struct gm_region *gm_cursor_seek(struct gm_cursor *cur, u64 gpa, u64 *pfn, u64 *last)
{
	struct gm_region *region = cur->region;
	const struct gm_run *run;
	u64 npages;
	u32 index;

	lockdep_assert_held(&cur->guest->regions_rwsem);
	if (!region || gpa < region->node.start || gpa > region->node.last) {
		region = gm_guest_region(cur->guest, gpa);
		cur->region = region;
		cur->run = 0;
		if (!region)
			return NULL;
	}
	npages = ((region->node.last - region->node.start) >> PAGE_SHIFT) + 1;
	/* A CPU that guesses @gpa to be in the region must not look behind it. */
	index = array_index_nospec((gpa - region->node.start) >> PAGE_SHIFT, npages);
	cur->run = gm_runs_find(&region->runs, index, cur->run);
	run = &region->runs.run[cur->run];
	*pfn = run->pfn + (index - run->index);
	*last = region->node.start + (((u64)run->index + run->npages) << PAGE_SHIFT) - 1;
	return region;
}

/**
 * gm_guest_reserve - take a range for a region that is to be pinned
 * @guest: the guest
 * @region: the region; its range is set; gets its number here
 * @err: why not
 *
 * Undone by gm_guest_unreserve().
 *
 * Return: 0, -EEXIST or -ENOSPC.
 */
int gm_guest_reserve(struct gm_guest *guest, struct gm_region *region,
		     struct guestmem_error *err)
{
	struct interval_tree_node *node;
	int rc = 0;

	down_write(&guest->regions_rwsem);
	node = interval_tree_iter_first(&guest->regions, region->node.start, region->node.last);
	if (node) {
		rc = gm_fail(err, -EEXIST, GUESTMEM_REASON_OVERLAP,
			     max(node->start, region->node.start),
			     container_of(node, struct gm_region, node)->id, 0);
	} else if (guest->nregions == GUESTMEM_MAX_REGIONS || guest->last_id == U32_MAX) {
		rc = gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, region->node.start,
			     guest->nregions + 1, GUESTMEM_MAX_REGIONS);
	} else {
		region->id = ++guest->last_id;
		interval_tree_insert(&region->node, &guest->regions);
		guest->nregions++;
	}
	up_write(&guest->regions_rwsem);
	return rc;
}

/**
 * gm_guest_unreserve - give the range of a region back
 * @guest: the guest
 * @region: reserved or live
 *
 * Context: regions_rwsem held for writing. What it held of the region is the
 * caller's now.
 */
void gm_guest_unreserve(struct gm_guest *guest, struct gm_region *region)
{
	lockdep_assert_held_write(&guest->regions_rwsem);
	interval_tree_remove(&region->node, &guest->regions);
	guest->nregions--;
	/* Marked writes, as some look without the lock. */
	if (region->state == GM_REGION_LIVE)
		WRITE_ONCE(guest->nlive, guest->nlive - 1);
	WRITE_ONCE(region->state, GM_REGION_REMOVED);
}

/**
 * gm_guest_changed - the live regions, or what is known of them, changed
 * @guest: the guest
 *
 * Context: regions_rwsem held for writing.
 */
void gm_guest_changed(struct gm_guest *guest)
{
	lockdep_assert_held_write(&guest->regions_rwsem);
	guest->generation++;
	gm_table_update(guest);
}

/**
 * gm_guests_start - begin or go on to list all guests
 * @seq: what is being written
 * @last_id: number of the guest that was listed last, 0 to begin
 *
 * Between start and stop no guest can end. Guests are listed by their number, so that
 * what comes and goes after a stop hides no other.
 *
 * Return: struct gm_guest, or NULL if there is no more.
 */
void *gm_guests_start(struct seq_file *seq, loff_t *last_id)
{
	struct gm_guest *guest;

	mutex_lock(&guests_mutex);
	list_for_each_entry(guest, &guests, node)
		if (guest->id > *last_id)
			return guest;
	return NULL;
}

void *gm_guests_next(struct seq_file *seq, void *listed, loff_t *last_id)
{
	struct gm_guest *guest = listed;

	*last_id = guest->id;
	return list_is_last(&guest->node, &guests) ? NULL : list_next_entry(guest, node);
}

void gm_guests_stop(struct seq_file *seq, void *guest)
{
	mutex_unlock(&guests_mutex);
}
