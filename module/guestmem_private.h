/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module know of each other.
 *
 * Words: a range is (start, last), last inclusive; @index and @npages count pages
 * in a region; @len is bytes.
 *
 * The locking order is guests_mutex, guest::revoke_mutex, guest::event_mutex, mmap_lock ->
 * guest::regions_rwsem -> guest::locks_mutex, i_mmap_rwsem, page table locks,
 * region::suspect_lock.
 *
 * The fault handler takes regions_rwsem under mmap_lock, and zapping under it calls
 * the MMU notifiers of whoever maps the guest. So under regions_rwsem there is no
 * GUP, no user copy that may fault, no wait for anybody who may want mmap_lock, and
 * no allocation but those of page tables and of a pipe's pages; and our own MMU
 * notifier takes only spinlocks.
 */
#ifndef _GUESTMEM_PRIVATE_H
#define _GUESTMEM_PRIVATE_H

#include <linux/interval_tree.h>
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/guestmem.h>
#include "compat.h"
#include "guestmem.h"
#include "range.h"
#include "runs.h"

/* As many as the translation table has entries in 16 pages of 4 KiB behind its header. */
#define GUESTMEM_MAX_REGIONS	2048
#define GUESTMEM_MAX_LOCKS	65536

/* Of a guest; and, so that nobody uses up what is everybody's, of a view of it. */
#define GUESTMEM_MAX_VIEWS	4096
#define GUESTMEM_MAX_SUBVIEWS	256
#define GUESTMEM_MAX_DEPTH	8
#define GUESTMEM_MAX_EVENTFDS	64

/* Bytes copied under one hold of regions_rwsem; bounds how long a revoke waits. */
#define GUESTMEM_BURST		(256UL << 10)

/**
 * struct gm_guest - one guest-physical address space
 * @kref: held by files and clients
 * @id: unique while the module is loaded
 * @node: in the list of guests
 * @regions_rwsem: protects @regions, @nregions, @nlive, @last_id, @generation,
 *	@views, @last_view_id, view::rights, view::nviews, view::generation,
 *	view::table, region::state and region::flags. A reader may use a live region that it found, and its pages,
 *	until it lets go.
 * @regions: the regions that occupy addresses, by GPA
 * @nregions: how many they are
 * @nlive: how many of them are live
 * @last_id: number of the region that was added last
 * @generation: grows with each change of the live regions
 * @views: what can be seen of it, each after the one that it was made from
 * @last_view_id: number of the view that was made last
 * @revoke_mutex: held while drivers are asked to stop: who comes later, about the
 *	same lock, finds that they have
 * @locks_mutex: protects @pinned_regions, region::locks, region::nlocks,
 *	dma_lock::revoked, client::nrevoking, view::locks and view::nlocks
 * @pinned_regions: every region with pages, revoked ones that are locked included
 * @drain: waits for DMA locks to end, client::nrevoking to become 0, or
 *	region::kref to become 1
 * @nunlocks: grows with each DMA lock that ends
 * @npinned: pages that they have
 * @event_mutex: protects @files and file::eventfds
 * @files: open files
 * @stale_work: looks which suspect regions are stale
 * @stale_tries: how often it has looked since the last suspicion
 */
struct gm_guest {
	struct kref kref;
	u64 id;
	struct list_head node;

	struct rw_semaphore regions_rwsem;
	struct rb_root_cached regions;
	u32 nregions;
	u32 nlive;
	u32 last_id;
	u64 generation;
	struct list_head views;
	u64 last_view_id;

	struct mutex revoke_mutex;
	struct mutex locks_mutex;
	struct list_head pinned_regions;
	wait_queue_head_t drain;
	atomic_t nunlocks;
	atomic_long_t npinned;

	struct mutex event_mutex;
	struct list_head files;

	struct delayed_work stale_work;
	unsigned int stale_tries;
};

enum gm_region_state {
	GM_REGION_RESERVED,	/* occupies addresses while it is being pinned */
	GM_REGION_LIVE,
	GM_REGION_REMOVED,	/* occupies none; goes when the last DMA lock does */
};

/**
 * struct gm_region - one contiguous GPA range with one backing
 * @kref: held by the guest while it is in the tree, and by each DMA lock on it;
 *	the last put unpins
 * @guest: the guest, which everybody who holds a region also holds
 * @node: GPA range, in guest::regions
 * @pinned_node: in guest::pinned_regions
 * @state: see there
 * @id: never used twice in a guest
 * @flags: GUESTMEM_REGION_*
 * @backing: GUESTMEM_BACKING_*
 * @offset: user address or file offset
 * @generation: guest::generation when it went live
 * @runs: its pages; they do not change once it is live
 * @pid: who added it
 * @mm: whose pinned_vm it counts in, and whose the user addresses are
 * @user: whose locked_vm it counts in; NULL if none's
 * @ncharged: pages that it counts
 * @locks: holds of DMA locks, the newest first
 * @nlocks: how many
 * @notifier: watches the user addresses; its mm is NULL if there are none
 * @suspect_lock: protects @suspect_index, @suspect_last, @unmapped
 * @suspect_index: first page that may have been replaced; none if > @suspect_last
 * @suspect_last: last such page
 * @unmapped: its addresses were unmapped: nothing to look for
 */
struct gm_region {
	struct kref kref;
	struct gm_guest *guest;
	struct interval_tree_node node;
	struct list_head pinned_node;
	enum gm_region_state state;
	u32 id;
	u32 flags;
	u32 backing;
	u64 offset;
	u64 generation;
	struct gm_runs runs;

	struct pid *pid;
	struct mm_struct *mm;
	struct user_struct *user;
	unsigned long ncharged;

	struct list_head locks;
	u32 nlocks;

	struct mmu_interval_notifier notifier;
	spinlock_t suspect_lock;
	s64 suspect_index;
	s64 suspect_last;
	bool unmapped;
};

/**
 * struct gm_view - what can be seen of a guest, and what may be done there
 * @refs: its file, its clients, and the views that were made from it
 * @guest: the guest
 * @parent: the view that it was made from; NULL of the one that is all of the guest
 * @node: in guest::views
 * @id: never used twice in a guest
 * @depth: how many were made one from another up to this
 * @nviews: how many were made from it, or from those
 * @start: first address
 * @last: last address
 * @shift: what an address is more by as a GPA
 * @rights: GUESTMEM_RIGHT_*; only become fewer; none: revoked
 * @generation: guest::generation when what it shows changed last
 * @inode: owner of the mapping of all VMAs, so that a zap reaches just this view's
 * @table: the translation table; NULL until somebody maps it
 * @pid: who made it
 * @locks: DMA locks that were taken by it
 * @nlocks: how many, by direction
 */
struct gm_view {
	refcount_t refs;
	struct gm_guest *guest;
	struct gm_view *parent;
	struct list_head node;
	u64 id;
	u32 depth;
	u32 nviews;
	u64 start;
	u64 last;
	u64 shift;
	u32 rights;
	u64 generation;
	struct inode *inode;
	struct guestmem_table *table;
	struct pid *pid;
	struct list_head locks;
	u32 nlocks[GUESTMEM_DMA_BIDIRECTIONAL + 1];
};

/**
 * struct gm_file - an open file
 * @view: what it shows
 * @node: in guest::files
 * @locks: DMA locks of this file, by handle
 * @next_handle: where the search for a free handle begins
 * @nlocks: how many locks
 * @events: GUESTMEM_EVENT_* since INFO
 * @poll_wait: waits for @events
 * @eventfds: struct gm_eventfd
 * @neventfds: how many
 */
struct gm_file {
	struct gm_view *view;
	struct list_head node;
	struct xarray locks;
	u32 next_handle;
	atomic_t nlocks;
	atomic_t events;
	wait_queue_head_t poll_wait;
	struct list_head eventfds;
	u32 neventfds;
};

/**
 * struct guestmem_client - an in-kernel driver that uses a guest
 * @view: that of the file it came by
 * @ops: what it can do
 * @priv: the driver's
 * @nlocks: DMA locks it has
 * @nrevoking: calls of ops->revoke() in progress
 */
struct guestmem_client {
	struct gm_view *view;
	const struct guestmem_client_ops *ops;
	void *priv;
	atomic_t nlocks;
	u32 nrevoking;
};

/**
 * struct gm_hold - a DMA lock's hold on one region
 * @node: in region::locks
 * @lock: the lock
 * @region: the region
 */
struct gm_hold {
	struct list_head node;
	struct guestmem_dma_lock *lock;
	struct gm_region *region;
};

/**
 * struct guestmem_dma_lock - a DMA lock: memory that stays where it is
 * @kref: of this struct; the holds end with the unlock, not with the last put
 * @node: in view::locks
 * @view: what it was taken by; the file or client that has the lock holds it
 * @client: the driver it belongs to; NULL if a file's
 * @direction: GUESTMEM_DMA_*
 * @gpa: first address; with a page list, of its first page
 * @last: last address; with a page list, of its first page
 * @revoked: a region of it, or the right to it, was revoked
 * @nmaps: DMA mappings of it
 * @nholds: regions it lies in
 * @holds: a hold for each
 */
struct guestmem_dma_lock {
	struct kref kref;
	struct list_head node;
	struct gm_view *view;
	struct guestmem_client *client;
	u32 direction;
	u64 gpa;
	u64 last;
	bool revoked;
	atomic_t nmaps;
	u32 nholds;
	struct gm_hold holds[];
};

/**
 * struct gm_cursor - a walk over guest memory: from gm_walk_begin() to gm_walk_end()
 * @view: by whose addresses
 * @region: region of the last step, or NULL
 * @run: run of the last step
 * @pfn: page frame of the page at the address of the last step
 * @start: first address from which the frames follow each other
 * @last: last address up to which they do
 *
 * On the stack, so that walkers share no hint.
 */
struct gm_cursor {
	struct gm_view *view;
	struct gm_region *region;
	u32 run;
	u64 pfn;
	u64 start;
	u64 last;
};

/* error.c: how a refusal is told */

/**
 * gm_fail - note why, and return what
 * @err: where, or NULL if nobody will read it
 * @rc: negative errno
 * @reason: enum guestmem_reason, which says what the others are
 * @addr: see there
 * @need: see there
 * @limit: see there
 *
 * Return: @rc.
 */
static inline int gm_fail(struct guestmem_error *err, int rc, u32 reason, u64 addr, u64 need,
			  u64 limit)
{
	if (err)
		*err = (struct guestmem_error) {
			.reason = reason, .addr = addr, .need = need, .limit = limit,
		};
	return rc;
}

/* In jiffies, of a wait that is told in milliseconds. */
static inline long gm_timeout(u32 timeout_ms)
{
	return timeout_ms == GUESTMEM_WAIT_FOREVER ? MAX_SCHEDULE_TIMEOUT :
						     msecs_to_jiffies(timeout_ms);
}

int gm_check_range(u64 gpa, u64 len, u64 *last, struct guestmem_error *err);
int gm_check_right(u32 rights, u32 need, struct guestmem_error *err);

/* main.c: the device node and the table of ioctls */
extern const struct file_operations gm_fops;

/**
 * struct gm_cmd - an ioctl being served
 * @file: the file
 * @user: the caller's struct
 * @user_size: its size, as the caller knows it
 * @size: its size, as the kernel knows it
 * @arg: the kernel's copy
 */
struct gm_cmd {
	struct gm_file *file;
	void __user *user;
	u32 user_size;
	u32 size;
	void *arg;
};

int gm_cmd_respond(struct gm_cmd *cmd);
int gm_cmd_list(u64 user, u32 entry_size, u32 capacity, const void *array, u32 size, u32 n,
		struct guestmem_error *err);
struct file *gm_file_create(struct gm_view *view);

/* guest.c: the guest and its region table */
struct gm_guest *gm_guest_create(void);
void gm_guest_get(struct gm_guest *guest);
void gm_guest_put(struct gm_guest *guest);
void *gm_guests_start(struct seq_file *seq, loff_t *last_id);
void *gm_guests_next(struct seq_file *seq, void *listed, loff_t *last_id);
void gm_guests_stop(struct seq_file *seq, void *guest);
struct gm_region *gm_guest_region(struct gm_guest *guest, u64 gpa);
struct gm_region *gm_guest_next_region(struct gm_guest *guest, u64 gpa);
int gm_guest_reserve(struct gm_guest *guest, struct gm_region *region,
		     struct guestmem_error *err);
void gm_guest_unreserve(struct gm_guest *guest, struct gm_region *region);
void gm_guest_changed(struct gm_region *region);

/* view.c: what can be seen of it */
int gm_views_init(void);
void gm_views_exit(void);
struct gm_view *gm_view_create(struct gm_guest *guest, struct gm_view *parent, u64 gpa, u64 last,
			       u64 shift, u32 rights, struct guestmem_error *err);
void gm_view_get(struct gm_view *view);
void gm_view_put(struct gm_view *view);
bool gm_view_is_of(const struct gm_view *view, const struct gm_view *ancestor);
bool gm_view_part(const struct gm_view *view, u64 gpa, u64 gpa_last, u64 *start, u64 *last);
struct gm_region *gm_view_next(struct gm_view *view, u64 address, u64 *start, u64 *last);
u64 gm_view_last(struct gm_view *view);
u64 gm_view_measure(struct gm_view *view, u32 *nregions);
u32 gm_view_flags(const struct gm_view *view, const struct gm_region *region);
u32 gm_view_nlocks(struct gm_view *view);
void gm_view_changed(struct gm_view *view);
int gm_check_view(struct gm_view *view, u32 need, struct guestmem_error *err);
int gm_walk_begin(struct gm_cursor *cur, struct gm_view *view, u32 need,
		  struct guestmem_error *err);
void gm_walk_end(struct gm_cursor *cur);
struct gm_region *gm_cursor_seek(struct gm_cursor *cur, u64 address);
int gm_ioctl_view_create(struct gm_cmd *cmd);
int gm_ioctl_view_list(struct gm_cmd *cmd);
int gm_ioctl_view_limit(struct gm_cmd *cmd);

/* region.c: regions come and go */
void gm_region_put(struct gm_region *region);
int gm_ioctl_region_add(struct gm_cmd *cmd);
int gm_ioctl_region_remove(struct gm_cmd *cmd);
int gm_ioctl_region_list(struct gm_cmd *cmd);

/* pin.c: from a backing to pinned, charged runs */
extern u32 gm_batch_pages;
int gm_pin_user(struct gm_region *region, u64 npages, struct guestmem_error *err);
int gm_pin_file(struct gm_region *region, int fd, u64 npages, struct guestmem_error *err);
void gm_unpin(struct gm_region *region);

/* stale.c: has the process moved its pages away? */
int gm_stale_watch(struct gm_region *region, u64 len);
void gm_stale_unwatch(struct gm_region *region);
void gm_stale_start(struct gm_guest *guest);
void gm_stale_settle(struct gm_guest *guest);
void gm_stale_work(struct work_struct *work);

/* table.c: the translation table */
size_t gm_table_len(void);
void gm_table_update(struct gm_view *view);
int gm_table_mmap(struct gm_view *view, struct vm_area_struct *vma);

/* translate.c */
/* Gathered on the stack before they are copied out. */
#define GM_EXTENTS_PENDING	12

/**
 * struct gm_extents - extents on their way to a caller's array
 * @user: the array
 * @capacity: entries there is room for
 * @count: entries so far, also those there was no room for; more than an array
 *	can have is possible
 * @hpa: tell host-physical addresses
 * @npending: entries that have not been copied out yet
 * @pending: these
 */
struct gm_extents {
	struct guestmem_extent __user *user;
	u32 capacity;
	u64 count;
	bool hpa;
	u32 npending;
	struct guestmem_extent pending[GM_EXTENTS_PENDING];
};

int gm_extents_init(struct gm_extents *to, struct gm_file *file, u64 user, u32 capacity,
		    bool hpa, struct guestmem_error *err);
int gm_extents_range(struct gm_extents *to, struct gm_view *view, u32 need, u64 gpa, u64 last,
		     struct guestmem_error *err);
int gm_extents_finish(struct gm_extents *to, int rc, struct guestmem_error *err);
int gm_ioctl_translate(struct gm_cmd *cmd);

/* lock.c: DMA locks */
struct guestmem_dma_lock *gm_lock(struct gm_view *view, struct guestmem_client *client,
				  u64 gpa, u64 last, const u64 *pages, u32 npages,
				  u32 direction, struct guestmem_error *err);
void gm_unlock(struct guestmem_dma_lock *lock);
u32 gm_lock_needs(u32 direction);
void gm_revoke_region_clients(struct gm_region *region);
void gm_revoke_view_clients(struct gm_view *view);
void gm_file_unlock_all(struct gm_file *file);
int gm_ioctl_lock(struct gm_cmd *cmd);
int gm_ioctl_unlock(struct gm_cmd *cmd);

/* io.c: reading and writing */

/**
 * struct gm_piece - guest memory that can be touched at once
 * @data: where the kernel has it
 * @len: bytes, up to the end of the page
 */
struct gm_piece {
	void *data;
	size_t len;
};

int gm_piece_at(struct gm_cursor *cur, u64 gpa, u64 len, bool write, struct gm_piece *piece,
		struct guestmem_error *err);
ssize_t gm_read_iter(struct kiocb *kiocb, struct iov_iter *to);
ssize_t gm_write_iter(struct kiocb *kiocb, struct iov_iter *from);
loff_t gm_llseek(struct file *filp, loff_t offset, int whence);
int gm_copy_kernel(struct gm_view *view, u32 need, u64 gpa, void *buf, size_t len, bool write,
		   size_t *done);
int gm_fill(struct gm_view *view, u64 gpa, u8 value, u64 len, u64 *done,
	    struct guestmem_error *err);
int gm_ioctl_fill(struct gm_cmd *cmd);
int gm_ioctl_copy(struct gm_cmd *cmd);

/* atomic.c */
bool gm_has_atomic16(void);
int gm_atomic(struct gm_view *view, struct guestmem_atomic *arg);
int gm_ioctl_atomic(struct gm_cmd *cmd);

/* mmap.c */
int gm_mmap(struct file *filp, struct vm_area_struct *vma);
void gm_zap(struct gm_view *view, u64 start, u64 last);

/* event.c */
void gm_event_region(struct gm_region *region, u32 event);
void gm_event_view(struct gm_view *view, u32 event);
__poll_t gm_poll(struct file *filp, struct poll_table_struct *wait);
void gm_file_drop_eventfds(struct gm_file *file);
int gm_ioctl_eventfd(struct gm_cmd *cmd);

/* show.c: fdinfo and debugfs */
void gm_show_fdinfo(struct seq_file *seq, struct file *filp);
void gm_debugfs_init(void);
void gm_debugfs_exit(void);

/* Last, as it replaces what it names. */
#include "fail.h"

#endif /* _GUESTMEM_PRIVATE_H */
