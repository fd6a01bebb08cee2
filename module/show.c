// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator sees: /proc/PID/fdinfo of an open file, and in debugfs
 * guestmem/guests, everything that there is. Neither tells host addresses.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "guestmem_private.h"

static struct dentry *gm_dir;

/* Of a domain, or of a session what is its own. */
static u64 gm_show_domain(struct seq_file *seq, struct gm_view *view)
{
	struct guestmem_info info = {};

	gm_domain_info(view, &info);
	seq_printf(seq, "domain:\t%llu\nmappings:\t%llu\nexports:\t%u\nfaults:\t%llu\n",
		   info.domain, info.nmappings, info.nexports, info.nfaults);
	seq_printf(seq, "broken:\t%u\ngeneration:\t%llu\n", info.broken, info.generation);
	return info.pinned;
}

void gm_show_fdinfo(struct seq_file *seq, struct file *filp)
{
	struct gm_file *file = filp->private_data;
	struct gm_view *view = file->view;
	struct gm_guest *guest = view->guest;
	u64 pinned;
	u32 n;

	down_read(&guest->regions_rwsem);
	pinned = gm_view_measure(view, &n);
	seq_printf(seq, "guest:\t%llu\nview:\t%llu\nrange:\t%#llx-%#llx\nrights:\t%#x\n",
		   guest->id, view->id, view->start, view->last, view->rights);
	if (view->domain)
		pinned = gm_show_domain(seq, view);
	else
		seq_printf(seq, "regions:\t%u\ngeneration:\t%llu\n", n, view->generation);
	up_read(&guest->regions_rwsem);
	seq_printf(seq, "pinned_kb:\t%llu\nlocks:\t%d\neventfds:\t%u\n", pinned >> 10,
		   atomic_read(&file->nlocks), READ_ONCE(file->neventfds));
}

static const char *gm_backing_name(u32 backing)
{
	return backing == GUESTMEM_BACKING_FILE ? "file" : "user";
}

static void gm_show_lock(struct seq_file *seq, const struct guestmem_dma_lock *lock)
{
	seq_printf(seq, "    lock %#llx-%#llx view %llu direction %u%s%s maps %d\n", lock->gpa,
		   lock->last, lock->view->id, lock->direction, lock->client ? " driver" : "",
		   lock->revoked ? " revoked" : "", atomic_read(&lock->nmaps));
}

static void gm_show_view(struct seq_file *seq, struct gm_view *view)
{
	static const char *const kind[] = { "view", "domain", "session" };
	struct guestmem_info info = {};

	seq_printf(seq, "  %s %llu of %llu %#llx-%#llx", kind[gm_view_kind(view)], view->id,
		   view->parent ? view->parent->id : 0, view->start, view->last);
	if (view->domain) {
		gm_domain_info(view, &info);
		seq_printf(seq, " mappings %llu exports %u faults %llu%s", info.nmappings,
			   info.nexports, info.nfaults, info.broken ? " broken" : "");
	} else {
		seq_printf(seq, " gpa %#llx", view->start + view->shift);
	}
	seq_printf(seq, " rights %#x pid %d locks %u\n", view->rights, pid_vnr(view->pid),
		   gm_view_nlocks(view));
}

static void gm_show_guest(struct seq_file *seq, struct gm_guest *guest)
{
	struct gm_region *region;
	struct gm_view *view;
	struct gm_hold *hold;

	down_read(&guest->regions_rwsem);
	seq_printf(seq, "guest %llu regions %u generation %llu pinned_kb %lu\n", guest->id,
		   guest->nlive, guest->generation,
		   atomic_long_read(&guest->npinned) << (PAGE_SHIFT - 10));
	list_for_each_entry(view, &guest->views, node)
		gm_show_view(seq, view);
	mutex_lock(&guest->locks_mutex);
	list_for_each_entry(region, &guest->pinned_regions, pinned_node) {
		/* What a domain maps that is not in the guest; there may be millions. */
		if (!region->id && !region->nlocks)
			continue;
		seq_printf(seq, "  region %u %#lx-%#lx %s pid %d runs %u locks %u%s%s%s\n",
			   region->id, region->node.start, region->node.last,
			   gm_backing_name(region->backing),
			   pid_vnr(region->pid), region->runs.nruns,
			   region->nlocks,
			   region->flags & GUESTMEM_REGION_READONLY ? " readonly" : "",
			   region->flags & GUESTMEM_REGION_STALE ? " stale" : "",
			   READ_ONCE(region->state) == GM_REGION_REMOVED ? " revoked" : "");
		/* Once, in the first of its regions: a lock may hold as many as there can be. */
		list_for_each_entry(hold, &region->locks, node)
			if (hold == &hold->lock->holds[0])
				gm_show_lock(seq, hold->lock);
	}
	mutex_unlock(&guest->locks_mutex);
	up_read(&guest->regions_rwsem);
}

static int guests_show(struct seq_file *seq, void *guest)
{
	gm_show_guest(seq, guest);
	return 0;
}

static const struct seq_operations guests_sops = {
	.start = gm_guests_start,
	.next = gm_guests_next,
	.stop = gm_guests_stop,
	.show = guests_show,
};
DEFINE_SEQ_ATTRIBUTE(guests);

void gm_debugfs_init(void)
{
	gm_dir = debugfs_create_dir("guestmem", NULL);
	debugfs_create_file("guests", 0400, gm_dir, NULL, &guests_fops);
	debugfs_create_u32("batch_pages", 0600, gm_dir, &gm_batch_pages);
	debugfs_create_u32("max_mappings", 0600, gm_dir, &gm_max_mappings);
}

void gm_debugfs_exit(void)
{
	debugfs_remove(gm_dir);
}
