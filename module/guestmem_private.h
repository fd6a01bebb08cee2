/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module know of each other.
 *
 * Words: a range is (start, last), last inclusive; @index and @npages count pages
 * in a region; @len is bytes.
 *
 * The locking order is guest::look_mutex -> guests_mutex, guest::revoke_mutex,
 * guest::event_mutex, mmap_lock -> guest::regions_rwsem -> domain::rwsem ->
 * guest::locks_mutex, i_mmap_rwsem, page table locks, guest::suspect_lock,
 * domain::records_lock.
 *
 * The fault handler takes regions_rwsem under mmap_lock, and zapping under it calls
 * the MMU notifiers of whoever maps the guest. So under it, and domain::rwsem, there is no
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
#include <linux/nospec.h>
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

/*
 * Of a domain mappings, and faults that are not resolved; of a session exports; and of an
 * export or a DMA lock of a session mappings: what is looked at in one hold of locks.
 */
#define GUESTMEM_MAX_MAPPINGS	(1U << 23)
#define GUESTMEM_MAX_FAULTS	1024U
#define GUESTMEM_MAX_EXPORTS	16384
#define GUESTMEM_MAX_PARTS	16384U
#define GUESTMEM_MAX_RECORDS	512ULL

/* Bytes copied under one hold of regions_rwsem; bounds how long a revoke waits. */
#define GUESTMEM_BURST		(256UL << 10)

/**
 * struct gm_guest - one guest-physical address space
 * @kref: held by files and clients
 * @id: unique while the module is loaded
 * @node: in the list of guests
 * @regions_rwsem: protects @regions, @nregions, @nlive, @last_id, @generation,
 *	@views, @last_view_id, view::rights, view::nviews, view::generation,
 *	view::table, region::state and region::flags. A reader may use a live region that
 *	it found, and its pages, until it lets go.
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
 *	dma_lock::revoked, dma_lock::faulted, client::nrevoking, view::locks, view::nlocks
 *	and domain::faulted_locks
 * @pinned_regions: every region with pages, revoked ones that are locked included
 * @drain: waits for DMA locks to end, client::nrevoking to become 0, or
 *	region::kref to become 1
 * @nunlocks: grows with each DMA lock that ends
 * @npinned: pages that they have
 * @event_mutex: protects @files and file::eventfds
 * @files: open files
 * @look_mutex: held by who looks which suspect regions are stale
 * @suspect_lock: protects @suspects, and region::watched to region::unmapped
 * @suspects: regions that are to be looked at
 * @stale_work: looks at them
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

	struct mutex look_mutex;
	spinlock_t suspect_lock;
	struct list_head suspects;
	struct delayed_work stale_work;
	unsigned int stale_tries;
};

enum gm_region_state {
	GM_REGION_RESERVED,	/* occupies addresses while it is being pinned */
	GM_REGION_LIVE,
	GM_REGION_REMOVED,	/* occupies none; goes when the last DMA lock does */
};

/**
 * struct gm_region - one contiguous GPA range with one backing, or memory outside the guest
 * @kref: held by the guest while it is in the tree, or by the mapping that it is of, by each
 *	DMA lock on it, and for a moment by who looks whether it is stale; the last put unpins
 * @guest: the guest, which everybody who holds a region also holds
 * @node: GPA range, in guest::regions
 * @pinned_node: in guest::pinned_regions
 * @state: see there; of what is not in the guest, live while the mapping is in the domain
 * @id: never used twice in a guest; 0: not in the guest
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
 * @watched: it may be looked at
 * @suspect_node: in guest::suspects, or on its way from there to who looks
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
	bool watched;
	struct list_head suspect_node;
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
 * @domain: the IOVA to GPA table that it is, or is a session of; then there is no @shift,
 *	and @start and @last are the aperture. Else NULL
 * @session: what it has exported, if it is one; else NULL
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
	struct gm_domain *domain;
	struct gm_session *session;
};

/* A CPU that guesses @address to be from @start to @last must not look beside that: by pages. */
static inline u64 gm_clamp(u64 address, u64 start, u64 last)
{
	u64 first = start >> PAGE_SHIFT, npages = (last >> PAGE_SHIFT) - first + 1;

	return ((first + array_index_nospec((address >> PAGE_SHIFT) - first, npages)) <<
		PAGE_SHIFT) + offset_in_page(address);
}

/* GUESTMEM_VIEW_IS_* */
static inline u32 gm_view_kind(const struct gm_view *view)
{
	if (!view->domain)
		return GUESTMEM_VIEW_IS_PART;
	return view->session ? GUESTMEM_VIEW_IS_SESSION : GUESTMEM_VIEW_IS_DOMAIN;
}

/**
 * struct gm_record - a record that waits to be read
 * @record: what is read, but for the process
 * @pid: that one, or NULL
 */
struct gm_record {
	struct guestmem_record record;
	struct pid *pid;
};

/**
 * struct gm_mapping - an IOVA range and what it means
 * @node: in domain::mappings, by IOVA
 * @gpa_node: in domain::by_gpa, if it is of the guest
 * @next: while it is in no tree: in a list
 * @gpa_subtree_last: see interval_tree_generic.h
 * @start: first IOVA
 * @last: last IOVA
 * @gpa: first GPA
 * @external: or memory that is not in the guest; its addresses are the IOVAs
 * @rights: GUESTMEM_RIGHT_READ, _WRITE
 * @is_external: which of the two
 *
 * There may be millions.
 */
struct gm_mapping {
	struct rb_node node;
	union {
		struct rb_node gpa_node;
		struct gm_mapping *next;
	};
	u64 gpa_subtree_last;
	u64 start;
	u64 last;
	union {
		u64 gpa;
		struct gm_region *external;
	};
	u32 rights;
	bool is_external;
};

static_assert(sizeof(struct gm_mapping) <= 96);

/**
 * struct gm_domain - an IOVA to GPA table
 * @view: what it is of; its sessions are made from that
 * @granule: what mappings are multiples of
 * @rwsem: protects all up to @records, but @nlocks and @faulted_locks, and of its sessions
 *	all but session::news
 * @mappings: by IOVA
 * @by_gpa: the same, by GPA
 * @nmappings: how many
 * @generation: grows with each change of them
 * @sessions: its clients
 * @live: their exports that can be used, by IOVA
 * @nexports: exports that they have
 * @nlocks: DMA locks that they have; changed under locks_mutex, with @rwsem held so that
 *	who has it for writing can read it
 * @faulted_locks: those of them whose drivers are to be asked to stop
 * @nfaults: faults there have been
 * @faults: those that are not resolved
 * @nunresolved: how many
 * @deadline_work: ends what was not released in time
 * @resolved: waits for faults to be resolved
 * @records_lock: protects @records and @nrecords
 * @records: the last GUESTMEM_MAX_RECORDS
 * @nrecords: number of the newest
 * @read_mutex: protects @nread
 * @nread: number of the last that was read
 * @wait: waits for records
 * @news: there are some, or session::news, that nobody was told of
 */
struct gm_domain {
	struct gm_view *view;
	u64 granule;
	struct rw_semaphore rwsem;
	struct rb_root mappings;
	struct rb_root_cached by_gpa;
	u64 nmappings;
	u64 generation;
	struct list_head sessions;
	struct rb_root_cached live;
	u32 nexports;
	u32 nlocks;
	struct list_head faulted_locks;
	u64 nfaults;
	struct list_head faults;
	u32 nunresolved;
	struct delayed_work deadline_work;
	wait_queue_head_t resolved;

	spinlock_t records_lock;
	struct gm_record *records;
	u64 nrecords;
	struct mutex read_mutex;
	u64 nread;
	wait_queue_head_t wait;
	bool news;
};

/**
 * struct gm_session - what a client of a domain has
 * @view: what it is
 * @node: in domain::sessions
 * @live: exports that can be used, by IOVA, for each combination of rights
 * @dead: those that can only be released
 * @exports: all of them, by handle
 * @next_handle: where the search for a free handle begins
 * @nexports: how many
 * @exported: bytes in @live, those in two exports counted twice
 * @nfaults: how often it was hit
 * @hit: it was by what goes on just now
 * @broken: it was, and has not released all since
 * @news: it was, and was not told
 */
struct gm_session {
	struct gm_view *view;
	struct list_head node;
	struct rb_root_cached live[(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE) + 1];
	struct rb_root_cached dead;
	struct xarray exports;
	u32 next_handle;
	u32 nexports;
	u64 exported;
	u64 nfaults;
	bool hit;
	bool broken;
	bool news;
};

/**
 * struct gm_export - an IOVA range that a session uses
 * @node: the range, in one of session::live or in session::dead
 * @live_node: in domain::live, if it is not @dead
 * @live_subtree_last: the interval tree's
 * @session: whose it is
 * @born: domain::nfaults when it was made
 * @pid: who made it
 * @handle: its number in the session
 * @rights: GUESTMEM_RIGHT_READ, _WRITE: what it is used for
 * @dead: some of it was taken back
 */
struct gm_export {
	struct interval_tree_node node;
	struct rb_node live_node;
	u64 live_subtree_last;
	struct gm_session *session;
	u64 born;
	struct pid *pid;
	u32 handle;
	u32 rights;
	bool dead;
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
 * struct gm_hold - a DMA lock's hold on one region, for a part of what is locked
 * @node: in region::locks; of a session's lock only the first in each region
 * @lock: the lock
 * @region: the region
 * @start: first address of the part; with a page list by GPA, of the first page there
 * @last: last address of it
 * @index: page of the region that @start is in
 * @faulted: of a session: some of it was unmapped
 */
struct gm_hold {
	struct list_head node;
	struct guestmem_dma_lock *lock;
	struct gm_region *region;
	u64 start;
	u64 last;
	u32 index;
	bool faulted;
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
 * @pid: who took it
 * @revoked: a region of it, or the right to it, was revoked
 * @faulted: of a session: some of it was unmapped
 * @faulted_node: in domain::faulted_locks until its client was asked to stop; else empty
 * @born: of a session: domain::nfaults when it was taken
 * @nmaps: DMA mappings of it
 * @nholds: parts that it is made of
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
	struct pid *pid;
	bool revoked;
	bool faulted;
	struct list_head faulted_node;
	u64 born;
	atomic_t nmaps;
	u32 nholds;
	struct gm_hold holds[];
};

/**
 * struct gm_cursor - a walk over guest memory: from gm_walk_begin() to gm_walk_end()
 * @view: by whose addresses
 * @need: GUESTMEM_RIGHT_* that it takes
 * @region: region of the last step, or NULL
 * @shift: what an address there is more by as an address of the region
 * @part_start: first address from which that is so, and that may be seen
 * @part_last: last address up to which it is
 * @rights: GUESTMEM_RIGHT_READ and _WRITE that there are for this part, as far as it is
 *	not the view that has them
 * @run: run of the last step
 * @pfn: page frame of the page at the address of the last step
 * @start: first address from which the frames follow each other
 * @last: last address up to which they do
 *
 * On the stack, so that walkers share no hint.
 */
struct gm_cursor {
	struct gm_view *view;
	u32 need;
	struct gm_region *region;
	u64 shift;
	u64 part_start;
	u64 part_last;
	u32 rights;
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
extern const struct file_operations gm_domain_fops;

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
struct gm_view *gm_view_alloc(struct gm_guest *guest, struct gm_view *parent, u64 gpa, u64 last,
			      u64 shift, u32 rights);
int gm_view_publish(struct gm_view *view, struct guestmem_error *err);
void gm_view_free(struct gm_view *view);
int gm_view_respond(struct gm_cmd *cmd, struct gm_view *view, s32 *fd, u64 *id,
		    struct guestmem_error *err);
void gm_view_revoke(struct gm_view *view);
struct gm_view *gm_views_next(struct gm_guest *guest, struct gm_view *view);
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
int gm_check_cursor(const struct gm_cursor *cur, u64 address, u32 need,
		    struct guestmem_error *err);
int gm_walk_begin(struct gm_cursor *cur, struct gm_view *view, u32 need,
		  struct guestmem_error *err);
void gm_walk_end(struct gm_cursor *cur);
struct gm_region *gm_cursor_seek(struct gm_cursor *cur, u64 address);
int gm_ioctl_view_create(struct gm_cmd *cmd);
int gm_ioctl_view_list(struct gm_cmd *cmd);
int gm_ioctl_view_limit(struct gm_cmd *cmd);

/* domain.c: what sessions see, and how it is taken back */
extern u32 gm_max_mappings;
int gm_domains_init(void);
void gm_domains_exit(void);
const struct gm_mapping *gm_domain_lookup(struct gm_domain *domain, u64 iova);
struct gm_mapping *gm_mapping_next(const struct gm_mapping *mapping);
void gm_domain_info(struct gm_view *view, struct guestmem_info *info);
void gm_domain_export_gone(struct gm_domain *domain, const struct gm_export *export);
void gm_session_locked(struct guestmem_dma_lock *lock);
void gm_session_unlocked(struct guestmem_dma_lock *lock);
bool gm_domain_region_used(struct gm_domain *domain, struct gm_region *region);
void gm_domain_region_gone(struct gm_domain *domain, struct gm_region *region);
void gm_domain_region_stale(struct gm_domain *domain, struct gm_region *region);
void gm_domain_close(struct gm_domain *domain);
void gm_domain_free(struct gm_domain *domain);
int gm_ioctl_domain_create(struct gm_cmd *cmd);
int gm_ioctl_domain_map(struct gm_cmd *cmd);
int gm_ioctl_domain_unmap(struct gm_cmd *cmd);
int gm_ioctl_domain_list(struct gm_cmd *cmd);

/* session.c: who sees it */
void gm_session_attach(struct gm_session *session);
void gm_session_detach(struct gm_session *session);
void gm_session_free(struct gm_session *session);
bool gm_session_seek(struct gm_cursor *cur, u64 iova);
void gm_session_break(struct gm_session *session);
u32 gm_session_hit(struct gm_session *session, u64 start, u64 last, struct pid **pid,
		   bool *fresh);
void gm_session_end_hit(struct gm_session *session, u64 start, u64 last, u64 fault,
			u64 elapsed_ms);
void gm_session_limited(struct gm_session *session);
u32 gm_session_release_all(struct gm_session *session);
bool gm_exports_live(struct gm_domain *domain, u64 start, u64 last);
void gm_exports_end_live(struct gm_domain *domain, u64 start, u64 last);
int gm_ioctl_session_create(struct gm_cmd *cmd);
int gm_ioctl_export(struct gm_cmd *cmd);
int gm_ioctl_release(struct gm_cmd *cmd);

/* record.c: what the owner reads of that */
void gm_record(struct gm_domain *domain, const struct guestmem_record *record, struct pid *pid);
void gm_records_free(struct gm_domain *domain);
bool gm_records_ready(struct gm_domain *domain);
ssize_t gm_records_read(struct kiocb *kiocb, struct iov_iter *to);

/* region.c: regions come and go */
void gm_region_put(struct gm_region *region);
void gm_region_live(struct gm_region *region);
struct gm_region *gm_region_external(struct gm_guest *guest,
				     const struct guestmem_region_add *arg,
				     struct guestmem_error *err);
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
void gm_stale_start(struct gm_region *region);
void gm_stale_stop(struct gm_region *region);
bool gm_stale_settle(struct gm_guest *guest);
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
void gm_revoke_domain_clients(struct gm_domain *domain);
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

int gm_piece_at(struct gm_cursor *cur, u64 gpa, u64 len, u32 need, struct gm_piece *piece,
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
void gm_event_domain(struct gm_domain *domain);
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
