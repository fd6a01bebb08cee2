// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stale regions: has the process moved its pages away?
 *
 * A pin keeps the page, not the process' mapping of it. After MADV_DONTNEED,
 * munmap or a hole punched in the file, process and guest look at different pages,
 * and nothing is wrong but that nobody knows. An interval notifier over the user
 * addresses knows: it flags the region and raises an event. It never unpins.
 *
 * An unmap is certain. An invalidation is only a suspicion: reclaim, compaction,
 * the splitting of a huge page and copy-on-write by our own pin cause one too, and
 * leave the pinned page where it was or bring it back. So the notifier notes the
 * suspect pages, and a work item, or who asks (INFO), looks, one page at a time:
 *  - a page is mapped there: the region is stale if it is another one;
 *  - none is: an anonymous page is gone unless the swap cache still leads to it,
 *    a file's unless the file still has it.
 * The second answer may be too early (a page of a file is first unmapped and then
 * dropped from it): such a page stays suspect, and is looked at again a few times,
 * then at the next event or when somebody asks.
 *
 * The look never faults a page in: that would undo the discard that it looks for,
 * and could wait for user space.
 *
 * What is suspect is in a list, from which who looks takes it with a reference. A region
 * that is removed leaves the list, for good, before anybody waits for its references to go.
 */
#include <linux/hugetlb.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

#include "guestmem_private.h"

/* Suspicions often come in numbers; so long is waited for more before the first look. */
#define GM_STALE_GATHER	(HZ / 100)

/* After the first look: 0.1 s later, then each time twice as long, in all 6.3 s. */
#define GM_STALE_DELAY	(HZ / 10)
#define GM_STALE_TRIES	6

/* What is suspect from now on. Returns whether somebody is to look. */
static bool gm_suspect(struct gm_region *region, s64 index, s64 last)
{
	lockdep_assert_held(&region->guest->suspect_lock);
	region->suspect_index = min(region->suspect_index, index);
	region->suspect_last = max(region->suspect_last, last);
	if (region->watched && list_empty(&region->suspect_node))
		list_add_tail(&region->suspect_node, &region->guest->suspects);
	return region->watched;
}

/* The look that is due is not put off by what comes until then; one that waits longer is. */
static void gm_stale_look(struct gm_guest *guest)
{
	if (xchg(&guest->stale_tries, 0))
		mod_delayed_work(system_unbound_wq, &guest->stale_work, GM_STALE_GATHER);
	else
		queue_delayed_work(system_unbound_wq, &guest->stale_work, GM_STALE_GATHER);
}

static bool gm_stale_invalidate(struct mmu_interval_notifier *notifier,
				const struct mmu_notifier_range *range, unsigned long seq)
{
	struct gm_region *region = container_of(notifier, struct gm_region, notifier);
	struct gm_guest *guest = region->guest;
	unsigned long base = region->offset;
	unsigned long start, end;
	bool look;

	mmu_interval_set_seq(notifier, seq);
	/* When the process ends its memory is the guest's alone: nothing diverges. */
	if (range->event == MMU_NOTIFY_RELEASE || !atomic_read(&range->mm->mm_users))
		return true;
	if (range->event != MMU_NOTIFY_UNMAP && range->event != MMU_NOTIFY_CLEAR)
		return true;

	start = max(range->start, base);
	end = min(range->end, notifier->interval_tree.last + 1);
	spin_lock(&guest->suspect_lock);
	if (range->event == MMU_NOTIFY_UNMAP)
		region->unmapped = true;
	look = gm_suspect(region, (start - base) >> PAGE_SHIFT, ((end - base) >> PAGE_SHIFT) - 1);
	spin_unlock(&guest->suspect_lock);
	if (look)
		gm_stale_look(guest);
	return true;
}

static const struct mmu_interval_notifier_ops gm_stale_ops = {
	.invalidate = gm_stale_invalidate,
};

/**
 * gm_stale_watch - begin to watch the user addresses of a region
 * @region: the region; its offset is the address
 * @len: bytes
 *
 * Context: process context of the process whose addresses they are.
 * Return: 0 or -errno. Undone by gm_stale_unwatch().
 */
int gm_stale_watch(struct gm_region *region, u64 len)
{
	int rc;

	rc = mmu_interval_notifier_insert(&region->notifier, current->mm, region->offset, len,
					  &gm_stale_ops);
	if (rc)
		region->notifier.mm = NULL;
	return rc;
}

/**
 * gm_stale_start - look at what is suspect from now on, and what became so before
 * @region: the region; just live
 *
 * Undone by gm_stale_stop().
 */
void gm_stale_start(struct gm_region *region)
{
	struct gm_guest *guest = region->guest;
	bool look;

	spin_lock(&guest->suspect_lock);
	region->watched = true;
	look = region->suspect_index <= region->suspect_last;
	if (look)
		list_add_tail(&region->suspect_node, &guest->suspects);
	spin_unlock(&guest->suspect_lock);
	if (look)
		gm_stale_look(guest);
}

/**
 * gm_stale_stop - no look at a region begins from now on
 * @region: the region; perhaps never started
 *
 * Who has begun has a reference.
 */
void gm_stale_stop(struct gm_region *region)
{
	spin_lock(&region->guest->suspect_lock);
	region->watched = false;
	list_del_init(&region->suspect_node);
	spin_unlock(&region->guest->suspect_lock);
}

/**
 * gm_stale_unwatch - stop watching
 * @region: the region; may never have been watched
 *
 * Context: sleeps. After it no notifier call is running, nor will one begin.
 */
void gm_stale_unwatch(struct gm_region *region)
{
	if (region->notifier.mm)
		mmu_interval_notifier_remove(&region->notifier);
}

enum gm_verdict { GM_SAME, GM_MAYBE, GM_STALE };

/* FOLL_FORCE: also if the process itself may not read it at the moment. */
static bool gm_stale_mapped(struct mm_struct *mm, unsigned long address, u64 pfn,
			    enum gm_verdict *verdict)
{
	struct page *page;

	if (gm_get_user_page(mm, address, FOLL_NOFAULT | FOLL_FORCE, &page) != 1)
		return false;
	*verdict = page_to_pfn(page) == pfn ? GM_SAME : GM_STALE;
	put_page(page);
	return true;
}

static enum gm_verdict gm_stale_page(struct gm_region *region, struct mm_struct *mm, u32 index)
{
	unsigned long address = region->offset + ((unsigned long)index << PAGE_SHIFT);
	const struct gm_run *run;
	enum gm_verdict verdict;
	struct folio *folio;
	u64 pfn;

	run = &region->runs.run[gm_runs_find(&region->runs, index, 0)];
	pfn = run->pfn + (index - run->index);
	folio = page_folio(pfn_to_page(pfn));
	/* What cannot be looked at without a fault: whether it is mapped, not where. */
	if (folio_test_hugetlb(folio) && !GUESTMEM_HAVE_HUGETLB_NOFAULT) {
		if (folio_test_anon(folio))
			return folio_mapped(folio) ? GM_SAME : GM_STALE;
		return READ_ONCE(folio->mapping) ? GM_MAYBE : GM_STALE;
	}
	if (gm_stale_mapped(mm, address, pfn, &verdict))
		return verdict;

	/* Under the folio lock no migration has unmapped it for the moment. */
	if (!folio_trylock(folio))
		return GM_MAYBE;
	if (!gm_stale_mapped(mm, address, pfn, &verdict)) {
		/* For who is being killed GUP finds nothing, whatever is there. */
		bool found = fatal_signal_pending(current) || folio_test_swapcache(folio) ||
			     (!folio_test_anon(folio) && folio->mapping);

		verdict = found ? GM_MAYBE : GM_STALE;
	}
	folio_unlock(folio);
	return verdict;
}

static enum gm_verdict gm_stale_pages(struct gm_region *region, u32 index, u32 last)
{
	enum gm_verdict verdict = GM_SAME, page;
	struct mm_struct *mm = region->mm;
	u32 n;

	/* Gone in the meantime: see gm_stale_invalidate(). */
	if (!mmget_not_zero(mm))
		return GM_SAME;
	/* The notifier is called before the page goes: wait until it has gone. */
	mmu_interval_read_begin(&region->notifier);
	while (index <= last && verdict != GM_STALE &&
	       READ_ONCE(region->state) == GM_REGION_LIVE) {
		/* Who holds it may be waiting for somebody who wants to know what we find. */
		if (fatal_signal_pending(current) || !mmap_read_trylock(mm)) {
			verdict = GM_MAYBE;
			break;
		}
		for (n = 0; n < 512 && index <= last && verdict != GM_STALE; n++, index++) {
			page = gm_stale_page(region, mm, index);
			verdict = max(verdict, page);
		}
		mmap_read_unlock(mm);
		cond_resched();
	}
	mmput_async(mm);
	return verdict;
}

static void gm_flag_stale(struct gm_region *region)
{
	struct gm_guest *guest = region->guest;
	struct gm_view *view;
	bool news;

	down_write(&guest->regions_rwsem);
	news = READ_ONCE(region->state) == GM_REGION_LIVE &&
	       !(region->flags & GUESTMEM_REGION_STALE);
	if (news) {
		region->flags |= GUESTMEM_REGION_STALE;
		/* It can become no staler. */
		gm_stale_stop(region);
		if (region->id)
			gm_guest_changed(region);
		list_for_each_entry(view, &guest->views, node)
			if (gm_view_kind(view) == GUESTMEM_VIEW_IS_DOMAIN)
				gm_domain_region_stale(view->domain, region);
	}
	up_write(&guest->regions_rwsem);
	if (news)
		gm_event_region(region, GUESTMEM_EVENT_STALE);
}

/**
 * struct gm_suspicion - what is looked at of a region
 * @index: first page
 * @last: last page
 * @unmapped: its addresses were unmapped
 */
struct gm_suspicion {
	s64 index;
	s64 last;
	bool unmapped;
};

/* The next of a list, with a reference, or NULL. What becomes suspect from now on is new. */
static struct gm_region *gm_take_suspect(struct gm_guest *guest, struct list_head *list,
					 struct gm_suspicion *what)
{
	struct gm_region *region;

	spin_lock(&guest->suspect_lock);
	region = list_first_entry_or_null(list, struct gm_region, suspect_node);
	if (region) {
		list_del_init(&region->suspect_node);
		kref_get(&region->kref);
		*what = (struct gm_suspicion) {
			.index = region->suspect_index,
			.last = region->suspect_last,
			.unmapped = region->unmapped,
		};
		region->suspect_index = S64_MAX;
		region->suspect_last = -1;
		region->unmapped = false;
	}
	spin_unlock(&guest->suspect_lock);
	return region;
}

/**
 * gm_stale_settle - look at all that is suspect
 * @guest: the guest
 *
 * Context: sleeps; no lock of the guest's held.
 * Return: whether some of it still is.
 */
bool gm_stale_settle(struct gm_guest *guest)
{
	struct gm_suspicion what;
	struct gm_region *region;
	enum gm_verdict verdict;
	bool again = false;
	LIST_HEAD(suspects);

	if (mutex_lock_killable(&guest->look_mutex))
		return true;
	spin_lock(&guest->suspect_lock);
	list_splice_init(&guest->suspects, &suspects);
	spin_unlock(&guest->suspect_lock);
	while ((region = gm_take_suspect(guest, &suspects, &what))) {
		verdict = what.unmapped ? GM_STALE :
			  gm_stale_pages(region, what.index, what.last);
		if (verdict == GM_STALE)
			gm_flag_stale(region);
		if (verdict == GM_MAYBE) {
			spin_lock(&guest->suspect_lock);
			again |= gm_suspect(region, what.index, what.last);
			spin_unlock(&guest->suspect_lock);
		}
		gm_region_put(region);
		cond_resched();
	}
	mutex_unlock(&guest->look_mutex);
	return again;
}

void gm_stale_work(struct work_struct *work)
{
	struct gm_guest *guest = container_of(to_delayed_work(work), struct gm_guest, stale_work);
	bool again = gm_stale_settle(guest);
	unsigned int tries;

	/* A new suspicion that sets it to 0 meanwhile must not lose its tries; it brings a look. */
	tries = READ_ONCE(guest->stale_tries);
	if (again && tries < GM_STALE_TRIES &&
	    cmpxchg(&guest->stale_tries, tries, tries + 1) == tries)
		queue_delayed_work(system_unbound_wq, &guest->stale_work, GM_STALE_DELAY << tries);
}
