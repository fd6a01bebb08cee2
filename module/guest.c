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
 * A guest lives while a view of it does, which a file or an in-kernel client holds.
 * VMAs hold the file.
 * DMA locks belong to a file or a client, and end before it lets go. So when the
 * last reference goes there is nobody left who could hold a region but the tree.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/seq_file.h>
#include <linux/slab.h>

#include "guestmem_private.h"

static DEFINE_MUTEX(guests_mutex); /* protects guests and last_guest_id */
static LIST_HEAD(guests);
static u64 last_guest_id;

/**
 * gm_guest_create - make an empty guest
 *
 * Return: the guest, with one reference, or NULL.
 */
struct gm_guest *gm_guest_create(void)
{
	struct gm_guest *guest;

	guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	if (!guest)
		return NULL;
	kref_init(&guest->kref);
	init_rwsem(&guest->regions_rwsem);
	guest->regions = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&guest->views);
	mutex_init(&guest->revoke_mutex);
	mutex_init(&guest->locks_mutex);
	INIT_LIST_HEAD(&guest->pinned_regions);
	init_waitqueue_head(&guest->drain);
	mutex_init(&guest->event_mutex);
	INIT_LIST_HEAD(&guest->files);
	mutex_init(&guest->look_mutex);
	spin_lock_init(&guest->suspect_lock);
	INIT_LIST_HEAD(&guest->suspects);
	INIT_DELAYED_WORK(&guest->stale_work, gm_stale_work);

	mutex_lock(&guests_mutex);
	guest->id = ++last_guest_id;
	list_add_tail(&guest->node, &guests);
	mutex_unlock(&guests_mutex);
	return guest;
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
	 * The work takes references on regions, and may have a last one. It is not queued
	 * again: not while it is waited for, and then all notifiers have gone.
	 */
	while ((node = interval_tree_iter_first(&guest->regions, 0, ULONG_MAX))) {
		struct gm_region *region = container_of(node, struct gm_region, node);

		down_write(&guest->regions_rwsem);
		gm_guest_unreserve(guest, region);
		up_write(&guest->regions_rwsem);
		gm_region_put(region);
	}
	cancel_delayed_work_sync(&guest->stale_work);
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
	gm_stale_stop(region);
}

/**
 * gm_guest_changed - a region came or went, or what is known of it changed
 * @region: the region
 *
 * Context: regions_rwsem held for writing.
 */
void gm_guest_changed(struct gm_region *region)
{
	struct gm_guest *guest = region->guest;
	struct gm_view *view;
	u64 start, last;

	lockdep_assert_held_write(&guest->regions_rwsem);
	guest->generation++;
	list_for_each_entry(view, &guest->views, node)
		if (gm_view_part(view, region->node.start, region->node.last, &start, &last))
			gm_view_changed(view);
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
