/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The ABI of /dev/guestmem, the only header that the module and user space share.
 *
 * An open /dev/guestmem is one guest: a sparse guest-physical address space made
 * of pinned regions. Who holds the file can reach the guest by guest-physical
 * address (GPA): with read(2), write(2) and mmap(2) at offset = GPA, and with the
 * ioctls below.
 *
 * Every ioctl takes a pointer to a struct that starts with its own size, as the
 * caller knows it. A shorter, older struct is completed with zeros; a longer,
 * newer one is accepted if all that the kernel does not know is zero (else
 * E2BIG). One smaller than the first version of the struct is EINVAL. Flags and
 * values that the kernel does not know, and reserved fields that are not zero,
 * are EOPNOTSUPP. A field marked [out] is written by the kernel and ignored on
 * input. All layouts are the same for 32-bit and 64-bit callers.
 *
 * Entries of arrays that have no @entry_size (struct guestmem_range, guestmem_extent,
 * guestmem_mapping and guestmem_piece), and struct guestmem_record, never grow: what is
 * added to one takes the place of its reserved fields.
 *
 * When only the answer cannot be delivered, because the struct is no longer
 * accessible, the call fails with EFAULT too: what makes something that the caller
 * would have to know of (REGION_ADD, LOCK) is undone, everything else has happened.
 *
 * All addresses and lengths are in bytes. A range is (start, len); its last byte
 * may be 2^64 - 1.
 *
 * One errno has one meaning:
 *
 *	EACCES		the file lacks the right, or the region the permission
 *	EBADF		no such file descriptor, or not of the kind that is needed
 *	EBUSY		locked, or being set up or taken down
 *	EEXIST		overlaps what is there
 *	E2BIG		the struct is longer than known, and its tail is not zero
 *	EFAULT		a user pointer, or user memory to be pinned, is not accessible
 *	EHWPOISON	the memory has a hardware error
 *	EINTR		a fatal signal came; each ioctl says what was done by then
 *	EINVAL		misaligned, empty or malformed
 *	EMSGSIZE	the output array is too small; how much is needed is told
 *	ENOENT		no such region, view or handle
 *	ENOMEM		out of memory, or the memlock limit (guestmem_error says which)
 *	ENOSPC		too many regions, locks, eventfds, views, mappings or exports
 *	ENOTTY		no such ioctl
 *	ENXIO		a hole: no region there, no mapping, or no export
 *	EOPNOTSUPP	unknown flag or value, or not possible with this memory
 *	EOVERFLOW	start + len - 1 is more than 2^64 - 1
 *	EPERM		a privilege is missing
 *	ERANGE		a mapping lies in the range with only a part of it
 *	ESTALE		the file was revoked: it has no rights any more; or what the
 *			session exported was unmapped
 *	ETIMEDOUT	it was revoked or unmapped, but not all users were gone in time
 */
#ifndef _UAPI_LINUX_GUESTMEM_H
#define _UAPI_LINUX_GUESTMEM_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GUESTMEM_ABI_VERSION	1

/*
 * mmap(2): offset = GPA, MAP_SHARED only. Offsets with bit 63 set are no GPAs:
 * at this one lies the translation table (struct guestmem_table), read-only.
 * Regions there are reached by ioctl only, as read(2) and write(2) end at 2^63 - 1.
 */
#define GUESTMEM_MMAP_TABLE	0x8000000000000000ULL

/**
 * enum guestmem_reason - why an ioctl failed, and what the other fields of
 * struct guestmem_error mean
 * @GUESTMEM_REASON_NONE: errno says it all
 * @GUESTMEM_REASON_WRAPS: @addr + @need - 1 is more than @limit
 * @GUESTMEM_REASON_MISALIGNED: @addr is not a multiple of @need
 * @GUESTMEM_REASON_EMPTY: the range has no byte or the list no entry
 * @GUESTMEM_REASON_TOO_LONG: @need bytes or entries were given, @limit is most
 * @GUESTMEM_REASON_HOLE: no region at GPA @addr
 * @GUESTMEM_REASON_OVERLAP: the range at @addr overlaps; of regions, @need is the
 *	id of the one that is there
 * @GUESTMEM_REASON_READONLY: the region at GPA @addr is read-only; of REGION_ADD,
 *	the memory at user address @addr, or the file (@addr is the offset)
 * @GUESTMEM_REASON_RIGHT: the file lacks the GUESTMEM_RIGHT_* in @need, it has
 *	those in @limit; with EINVAL, there are none in what was given, or others than
 *	those in @limit
 * @GUESTMEM_REASON_MEMLOCK: with this, @need bytes would be locked, RLIMIT_MEMLOCK
 *	is @limit bytes: raise it, or use CAP_IPC_LOCK
 * @GUESTMEM_REASON_LIMIT: there would be @need objects, @limit is the most
 * @GUESTMEM_REASON_UNMAPPED: no accessible memory at user address (or file
 *	offset) @addr
 * @GUESTMEM_REASON_END_OF_FILE: the file must have @need bytes, it has @limit
 * @GUESTMEM_REASON_DEVICE_MEMORY: at user address @addr there is device or other
 *	memory without pages that can be pinned
 * @GUESTMEM_REASON_WRITEBACK: at user address (or file offset) @addr is a shared
 *	file of a file system with writeback, which does not support writing
 *	through pinned pages; use memfd, tmpfs or hugetlbfs
 * @GUESTMEM_REASON_FILE_TYPE: not a file of tmpfs (memfd) or hugetlbfs
 * @GUESTMEM_REASON_PRIVATE_READONLY: at user address @addr is a private read-only
 *	mapping; this kernel cannot keep a pin of it coherent
 * @GUESTMEM_REASON_LOCKED: @need DMA locks hold the region at GPA @addr, or the
 *	pages of the one that was revoked there; if 0, sessions use mappings of it
 * @GUESTMEM_REASON_POISONED: hardware error in the page of GPA @addr
 * @GUESTMEM_REASON_OUTPUT: the output array needs @need entries, it has @limit
 * @GUESTMEM_REASON_REVOKED: all rights of the file were taken away
 * @GUESTMEM_REASON_PARTIAL: the mapping of @need bytes at IOVA @addr lies in the range
 *	with only a part of it
 * @GUESTMEM_REASON_APERTURE: @addr to @addr + @need - 1 is not all in what may be
 *	mapped; @limit is the first (which is even) or the last address of that
 * @GUESTMEM_REASON_PERMISSION: the mapping at IOVA @addr allows the GUESTMEM_RIGHT_* in
 *	@limit, not all in @need
 * @GUESTMEM_REASON_BROKEN: the session was hit by a fault: RELEASE all, then export anew
 * @GUESTMEM_REASON_USED: @need exports and DMA locks of sessions still use what was
 *	unmapped at IOVA @addr
 */
enum guestmem_reason {
	GUESTMEM_REASON_NONE = 0,
	GUESTMEM_REASON_WRAPS = 1,
	GUESTMEM_REASON_MISALIGNED = 2,
	GUESTMEM_REASON_EMPTY = 3,
	GUESTMEM_REASON_TOO_LONG = 4,
	GUESTMEM_REASON_HOLE = 5,
	GUESTMEM_REASON_OVERLAP = 6,
	GUESTMEM_REASON_READONLY = 7,
	GUESTMEM_REASON_RIGHT = 8,
	GUESTMEM_REASON_MEMLOCK = 9,
	GUESTMEM_REASON_LIMIT = 10,
	GUESTMEM_REASON_UNMAPPED = 11,
	GUESTMEM_REASON_END_OF_FILE = 12,
	GUESTMEM_REASON_DEVICE_MEMORY = 13,
	GUESTMEM_REASON_WRITEBACK = 14,
	GUESTMEM_REASON_FILE_TYPE = 15,
	GUESTMEM_REASON_PRIVATE_READONLY = 16,
	GUESTMEM_REASON_LOCKED = 17,
	GUESTMEM_REASON_POISONED = 18,
	GUESTMEM_REASON_OUTPUT = 19,
	GUESTMEM_REASON_REVOKED = 20,
	GUESTMEM_REASON_PARTIAL = 21,
	GUESTMEM_REASON_APERTURE = 22,
	GUESTMEM_REASON_PERMISSION = 23,
	GUESTMEM_REASON_BROKEN = 24,
	GUESTMEM_REASON_USED = 25
};

/**
 * struct guestmem_error - what was wrong, for a program to act on or to print
 * @reason: enum guestmem_reason
 * @reserved: 0
 * @addr: see the reason
 * @need: see the reason
 * @limit: see the reason
 *
 * Written when the ioctl fails for what the caller asked (not when the struct
 * itself could not be read or is malformed); all zero when it succeeds.
 */
struct guestmem_error {
	__u32 reason;
	__u32 reserved;
	__aligned_u64 addr;
	__aligned_u64 need;
	__aligned_u64 limit;
};

/*
 * Rights of an open file. The first open of the device gives all of them, but
 * for WRITE and MANAGE to one that is not open for writing, READ, TRANSLATE and
 * TRANSLATE_HPA to one that is not open for reading, and TRANSLATE_HPA to an opener
 * without CAP_SYS_ADMIN. VIEW_CREATE makes files with fewer; VIEW_LIMIT takes rights
 * away. (read(2) and write(2) on a file that was not opened for it are
 * EBADF, as ever.)
 */
#define GUESTMEM_RIGHT_READ		(1U << 0)	/* read, map for reading */
#define GUESTMEM_RIGHT_WRITE		(1U << 1)	/* write, map for writing */
#define GUESTMEM_RIGHT_MAP		(1U << 2)	/* mmap */
#define GUESTMEM_RIGHT_LOCK		(1U << 3)	/* DMA locks */
#define GUESTMEM_RIGHT_TRANSLATE	(1U << 4)	/* TRANSLATE */
#define GUESTMEM_RIGHT_TRANSLATE_HPA	(1U << 5)	/* host-physical addresses */
#define GUESTMEM_RIGHT_MANAGE		(1U << 6)	/* add and remove regions */
#define GUESTMEM_RIGHT_EXPORT		(1U << 7)	/* make views, domains, sessions */

/* What changed; bits of guestmem_info.events and guestmem_eventfd.events. */
#define GUESTMEM_EVENT_ADDED	(1U << 0)	/* a region was added */
#define GUESTMEM_EVENT_REMOVED	(1U << 1)	/* a region was removed, without FORCE */
#define GUESTMEM_EVENT_REVOKED	(1U << 2)	/* a region was removed with FORCE */
#define GUESTMEM_EVENT_STALE	(1U << 3)	/* see GUESTMEM_REGION_STALE */
#define GUESTMEM_EVENT_LIMITED	(1U << 4)	/* the file has fewer rights; INFO tells which */
#define GUESTMEM_EVENT_FAULT	(1U << 5)	/* what the session uses was unmapped */
#define GUESTMEM_EVENT_RECORD	(1U << 6)	/* the domain has a new record to read */

/* Features; bits of guestmem_info.features. */
#define GUESTMEM_FEATURE_HUGE_MAP	(1U << 0)	/* mmap uses 2 MiB entries */
#define GUESTMEM_FEATURE_ATOMIC16	(1U << 1)	/* ATOMIC of 16 bytes */
#define GUESTMEM_FEATURE_PRIVATE_READONLY (1U << 2)	/* private read-only memory can be pinned */

/* Clear the events that are told, and with them the EPOLLPRI of poll(2). */
#define GUESTMEM_INFO_TAKE_EVENTS	(1U << 0)

/**
 * struct guestmem_info - ioctl(GUESTMEM_INFO)
 * @size: sizeof(struct guestmem_info)
 * @flags: GUESTMEM_INFO_TAKE_EVENTS or 0
 * @abi_version: [out] GUESTMEM_ABI_VERSION of the module
 * @rights: [out] GUESTMEM_RIGHT_* of this file; 0: it was revoked
 * @features: [out] GUESTMEM_FEATURE_*
 * @events: [out] GUESTMEM_EVENT_* since they were last taken by this file; while
 *	there are any, poll(2) says EPOLLPRI
 * @id: [out] the guest's number; unique until the module is unloaded
 * @generation: [out] grows with each change of the regions
 * @pinned: [out] bytes pinned; of all of the guest, revoked regions that DMA locks still
 *	hold, and what domains map that is not in the guest, included
 * @last: [out] last GPA of the highest region; 0 if there is none
 * @table_len: [out] bytes to map at GUESTMEM_MMAP_TABLE
 * @page_size: [out] granule of regions and mappings
 * @nregions: [out] regions
 * @max_regions: [out] the most there can be
 * @nlocks: [out] DMA locks of this file
 * @max_locks: [out] the most that one file can have
 * @reserved: [out] 0
 * @view: [out] the number of the view that this file shows
 * @nviews: [out] views that were made by this file, and by those
 * @max_views: [out] the most there can be of them
 * @domain: [out] the number of the domain that this file is, or is a session of; else 0
 * @nmappings: [out] of a domain, mappings; of a session 0
 * @max_mappings: [out] the most there can be of them
 * @nfaults: [out] of a domain, faults that are not resolved; of a session, how often it
 *	was hit by one
 * @nexports: [out] of a session, exports; of a domain, those of all its sessions
 * @max_exports: [out] the most that one session can have
 * @broken: [out] of a session: 1 from a fault on until RELEASE with GUESTMEM_RELEASE_ALL
 * @reserved2: [out] 0
 *
 * All of it is about what this file shows. Of a session, @nregions is 0, @pinned is
 * the bytes that it exported, and @generation is the domain's, which grows with each
 * change of its mappings.
 */
struct guestmem_info {
	__u32 size;
	__u32 flags;
	__u32 abi_version;
	__u32 rights;
	__u32 features;
	__u32 events;
	__aligned_u64 id;
	__aligned_u64 generation;
	__aligned_u64 pinned;
	__aligned_u64 last;
	__aligned_u64 table_len;
	__u32 page_size;
	__u32 nregions;
	__u32 max_regions;
	__u32 nlocks;
	__u32 max_locks;
	__u32 reserved;
	__aligned_u64 view;
	__u32 nviews;
	__u32 max_views;
	__aligned_u64 domain;
	__aligned_u64 nmappings;
	__aligned_u64 max_mappings;
	__aligned_u64 nfaults;
	__u32 nexports;
	__u32 max_exports;
	__u32 broken;
	__u32 reserved2;
};

/* Where a region's pages come from. */
#define GUESTMEM_BACKING_USER	1	/* memory of the calling process */
#define GUESTMEM_BACKING_FILE	2	/* memfd, tmpfs or hugetlbfs file */

/* Flags of a region. READONLY is given; the others are told. */
#define GUESTMEM_REGION_READONLY	(1U << 0)	/* no write by any way */
#define GUESTMEM_REGION_STALE		(1U << 1)	/* the process has other pages there now */
/*
 * By REGION_LIST only, and not in a view: memory of the caller's own addresses. A process
 * that called execve(2) has others, although it has its number still.
 */
#define GUESTMEM_REGION_OWN		(1U << 2)

#define GUESTMEM_REGION_MAX_LEN		(1ULL << 43)

/**
 * struct guestmem_region_add - ioctl(GUESTMEM_REGION_ADD): pin memory and put it
 * into the guest
 * @size: sizeof(struct guestmem_region_add)
 * @flags: GUESTMEM_REGION_READONLY or 0
 * @backing: GUESTMEM_BACKING_*
 * @fd: FILE: the file; open for writing unless READONLY. USER: must be 0
 * @gpa: first address of the region; page-aligned
 * @len: multiple of the page size; at most GUESTMEM_REGION_MAX_LEN
 * @offset: USER: address in the calling process; FILE: offset. Page-aligned
 * @id: [out] the region's number; never used again in this guest
 * @reserved: must be 0
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_MANAGE. The pages are faulted in, and stay pinned until
 * the region is removed or the guest ends, whatever becomes of the process.
 * Charged to the caller's RLIMIT_MEMLOCK unless it has CAP_IPC_LOCK. On failure
 * nothing is pinned, charged or changed.
 *
 * EEXIST overlaps a region; EINVAL misaligned, empty, too long, or beyond the end
 * of the file; EOVERFLOW; ENOMEM; ENOSPC too many regions; EFAULT memory that
 * cannot be accessed, or not written to; EACCES no right, or the file is not open
 * for what is needed; EBADF; EOPNOTSUPP memory that cannot be pinned; EBUSY it could
 * not be moved to where it can stay; EINTR.
 */
struct guestmem_region_add {
	__u32 size;
	__u32 flags;
	__u32 backing;
	__s32 fd;
	__aligned_u64 gpa;
	__aligned_u64 len;
	__aligned_u64 offset;
	__u32 id;
	__u32 reserved;
	struct guestmem_error err;
};

#define GUESTMEM_REMOVE_FORCE		(1U << 0)

/* A timeout that never comes. */
#define GUESTMEM_WAIT_FOREVER		0xffffffffU

/**
 * struct guestmem_region_remove - ioctl(GUESTMEM_REGION_REMOVE)
 * @size: sizeof(struct guestmem_region_remove)
 * @flags: GUESTMEM_REMOVE_FORCE or 0
 * @id: the region
 * @timeout_ms: with FORCE, how long to wait for DMA locks to be released
 * @nlocks: [out] DMA locks that still hold the pages
 * @reserved: must be 0
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_MANAGE. Without FORCE, a region that is DMA-locked stays
 * (EBUSY). With FORCE the region is revoked: when the call returns, whether with
 * 0, ETIMEDOUT or EINTR, no access by any file or mapping reaches it any more,
 * its addresses are free, and in-kernel drivers have stopped their devices. Mappings of
 * it are gone from all domains, and sessions' exports of those with them. Its
 * pages stay pinned, and charged, until the last DMA lock on it is released.
 * Mappings of it give SIGBUS until another region is added there.
 *
 * ENOENT no such region; also while another call is removing it, which this one does
 * not wait for; EACCES; EBUSY locked, used by sessions, or still being added; ETIMEDOUT.
 */
struct guestmem_region_remove {
	__u32 size;
	__u32 flags;
	__u32 id;
	__u32 timeout_ms;
	__u32 nlocks;
	__u32 reserved;
	struct guestmem_error err;
};

/**
 * struct guestmem_region - what REGION_LIST tells of a region
 * @gpa: first address
 * @len: bytes
 * @offset: as given to REGION_ADD; 0 if that was an address in another process,
 *	unless the caller has CAP_SYS_PTRACE; 0 in a view
 * @id: the region's number
 * @flags: GUESTMEM_REGION_*
 * @backing: GUESTMEM_BACKING_*
 * @nlocks: DMA locks that hold it; 0 in a view
 * @nruns: physically contiguous pieces that it is made of; 0 in a view
 * @pid: process that added it, as numbered in the caller's pid namespace; 0 if
 *	it is not visible there, or in a view
 */
struct guestmem_region {
	__aligned_u64 gpa;
	__aligned_u64 len;
	__aligned_u64 offset;
	__u32 id;
	__u32 flags;
	__u32 backing;
	__u32 nlocks;
	__u32 nruns;
	__u32 pid;
};

/**
 * struct guestmem_region_list - ioctl(GUESTMEM_REGION_LIST): the regions by GPA
 * @size: sizeof(struct guestmem_region_list)
 * @flags: must be 0
 * @entries: pointer to an array of struct guestmem_region
 * @entry_size: sizeof(struct guestmem_region); what the kernel does not know of it
 *	is set to 0
 * @nentries: capacity of the array; [out] regions there are
 * @err: [out]
 *
 * EMSGSIZE if there are more than fit: nothing was written but @nentries.
 */
struct guestmem_region_list {
	__u32 size;
	__u32 flags;
	__aligned_u64 entries;
	__u32 entry_size;
	__u32 nentries;
	struct guestmem_error err;
};

/**
 * struct guestmem_range - a range to translate
 * @gpa: first address; any alignment
 * @len: bytes; not 0
 */
struct guestmem_range {
	__aligned_u64 gpa;
	__aligned_u64 len;
};

/**
 * struct guestmem_extent - a physically contiguous piece of a range, as long as
 * the range, the region and the physical contiguity allow
 * @gpa: first address
 * @len: bytes
 * @hpa: host-physical address if it was asked for, else 0
 * @region_id: the region it lies in
 * @flags: GUESTMEM_REGION_* of the region
 */
struct guestmem_extent {
	__aligned_u64 gpa;
	__aligned_u64 len;
	__aligned_u64 hpa;
	__u32 region_id;
	__u32 flags;
};

/* Also give host-physical addresses; for TRANSLATE and LOCK. */
#define GUESTMEM_EXTENT_HPA	(1U << 0)

/**
 * struct guestmem_translate - ioctl(GUESTMEM_TRANSLATE): ranges to extents
 * @size: sizeof(struct guestmem_translate)
 * @flags: GUESTMEM_EXTENT_HPA or 0
 * @ranges: pointer to an array of struct guestmem_range
 * @extents: pointer to an array of struct guestmem_extent
 * @nranges: ranges in the array
 * @nextents: capacity of the array; [out] extents written, or with EMSGSIZE the
 *	number that is needed
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_TRANSLATE. Each range gives its extents in turn, without
 * gaps. A translation is a hint: it is valid until the region is removed; LOCK
 * to keep it. HPA takes GUESTMEM_RIGHT_TRANSLATE_HPA (EPERM), and gives an
 * address that a device can use only where no IOMMU translates.
 *
 * ENXIO a hole: @nextents extents before it were written; EMSGSIZE; EINVAL;
 * EOVERFLOW.
 */
struct guestmem_translate {
	__u32 size;
	__u32 flags;
	__aligned_u64 ranges;
	__aligned_u64 extents;
	__u32 nranges;
	__u32 nextents;
	struct guestmem_error err;
};

/* What the device does with the memory. */
#define GUESTMEM_DMA_TO_DEVICE		1	/* it reads */
#define GUESTMEM_DMA_FROM_DEVICE	2	/* it writes */
#define GUESTMEM_DMA_BIDIRECTIONAL	3

/* @pages is a list of pages, instead of @gpa and @len a range. */
#define GUESTMEM_LOCK_PAGES	(1U << 1)

#define GUESTMEM_LOCK_MAX_PAGES	65536

/**
 * struct guestmem_lock - ioctl(GUESTMEM_LOCK): hold memory for DMA
 * @size: sizeof(struct guestmem_lock)
 * @flags: GUESTMEM_LOCK_PAGES, GUESTMEM_EXTENT_HPA
 * @direction: GUESTMEM_DMA_*
 * @handle: [out] for UNLOCK; not used again soon
 * @gpa: first address of the range, any alignment; with PAGES must be 0
 * @len: bytes, not 0; with PAGES must be 0
 * @pages: with PAGES, pointer to an array of page-aligned GPAs (__u64); else 0
 * @extents: pointer to an array of struct guestmem_extent
 * @npages: with PAGES, entries in it, at most GUESTMEM_LOCK_MAX_PAGES; else 0
 * @nextents: capacity; 0 if extents are not wanted; [out] extents of what is
 *	locked, or with EMSGSIZE the number that is needed
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_LOCK, READ for TO_DEVICE and WRITE for FROM_DEVICE. Check
 * and hold are one step: either all of it was there and is held, or nothing.
 * While the lock lives its pages stay pinned and keep their addresses, even if
 * the region is revoked. Locks may overlap. A lock belongs to the file: closing
 * the last descriptor and mapping of it ends it.
 *
 * ENXIO a hole; EACCES; EMSGSIZE; ENOSPC too many locks, or by a session too many mappings
 * in this one; EINVAL; EOVERFLOW.
 */
struct guestmem_lock {
	__u32 size;
	__u32 flags;
	__u32 direction;
	__u32 handle;
	__aligned_u64 gpa;
	__aligned_u64 len;
	__aligned_u64 pages;
	__aligned_u64 extents;
	__u32 npages;
	__u32 nextents;
	struct guestmem_error err;
};

/**
 * struct guestmem_unlock - ioctl(GUESTMEM_UNLOCK)
 * @size: sizeof(struct guestmem_unlock)
 * @flags: must be 0
 * @handle: from LOCK of the same file
 * @reserved: must be 0
 *
 * ENOENT no such lock in this file.
 */
struct guestmem_unlock {
	__u32 size;
	__u32 flags;
	__u32 handle;
	__u32 reserved;
};

/**
 * struct guestmem_fill - ioctl(GUESTMEM_FILL): set each byte of a range
 * @size: sizeof(struct guestmem_fill)
 * @flags: must be 0
 * @gpa: first address; any alignment
 * @len: bytes; 0 does nothing
 * @value: 0 to 255
 * @reserved: must be 0
 * @done: [out] bytes set, from the start
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_WRITE. ENXIO a hole, EACCES read-only region, EHWPOISON,
 * EINTR: @done bytes before it were set.
 */
struct guestmem_fill {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 len;
	__u32 value;
	__u32 reserved;
	__aligned_u64 done;
	struct guestmem_error err;
};

/**
 * struct guestmem_copy - ioctl(GUESTMEM_COPY): copy from guest to guest memory
 * @size: sizeof(struct guestmem_copy)
 * @flags: must be 0
 * @dst: first address to copy to; any alignment
 * @src: first address to copy from; any alignment
 * @len: bytes; 0 does nothing
 * @done: [out] bytes copied, from the start
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_READ and WRITE. The two ranges must not overlap (EINVAL).
 * ENXIO a hole, EACCES read-only destination, EHWPOISON, EINTR: @done bytes before
 * it were copied.
 */
struct guestmem_copy {
	__u32 size;
	__u32 flags;
	__aligned_u64 dst;
	__aligned_u64 src;
	__aligned_u64 len;
	__aligned_u64 done;
	struct guestmem_error err;
};

/* Operations of ATOMIC: old = *gpa; *gpa = ... */
#define GUESTMEM_ATOMIC_CMPXCHG		1	/* ... old == compare ? operand : old */
#define GUESTMEM_ATOMIC_XCHG		2	/* ... operand */
#define GUESTMEM_ATOMIC_ADD		3	/* ... old + operand */
#define GUESTMEM_ATOMIC_AND		4	/* ... old & operand */
#define GUESTMEM_ATOMIC_OR		5	/* ... old | operand */
#define GUESTMEM_ATOMIC_XOR		6	/* ... old ^ operand */

/**
 * struct guestmem_atomic - ioctl(GUESTMEM_ATOMIC): one sequentially consistent
 * read-modify-write
 * @size: sizeof(struct guestmem_atomic)
 * @flags: must be 0
 * @op: GUESTMEM_ATOMIC_*
 * @width: bytes: 1, 2, 4, 8, or 16 with GUESTMEM_FEATURE_ATOMIC16
 * @gpa: address; a multiple of @width
 * @operand: value, in the host's byte order; of 16 bytes the low half first
 * @compare: for CMPXCHG, else must be 0
 * @old: [out] what was there before
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_READ and WRITE. Values must fit @width (EINVAL). A compare
 * that fails is no error: @old differs from @compare then.
 *
 * EINVAL misaligned or no such width; EOPNOTSUPP no such op, or no 16 bytes here;
 * ENXIO; EACCES; EHWPOISON: nothing was changed.
 */
struct guestmem_atomic {
	__u32 size;
	__u32 flags;
	__u32 op;
	__u32 width;
	__aligned_u64 gpa;
	__aligned_u64 operand[2];
	__aligned_u64 compare[2];
	__aligned_u64 old[2];
	struct guestmem_error err;
};

/**
 * struct guestmem_eventfd - ioctl(GUESTMEM_EVENTFD): be told of changes
 * @size: sizeof(struct guestmem_eventfd)
 * @flags: must be 0
 * @fd: an eventfd
 * @events: GUESTMEM_EVENT_* to be told of; 0 ends it for this eventfd
 *
 * Each event adds 1 to the eventfd. Asking again for the same eventfd replaces
 * its events. The registration ends with the file. Up to 64 a file.
 *
 * EBADF not an eventfd; ENOENT @events is 0 and it was not registered; ENOSPC.
 */
struct guestmem_eventfd {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 events;
};

/* The addresses of a view stay those of the file that it was made by; else they begin at 0. */
#define GUESTMEM_VIEW_KEEP	(1U << 0)

/**
 * struct guestmem_view_create - ioctl(GUESTMEM_VIEW_CREATE): make a file for a part of
 * what this one shows
 * @size: sizeof(struct guestmem_view_create)
 * @flags: GUESTMEM_VIEW_KEEP or 0
 * @address: first address, of this file; page-aligned
 * @len: multiple of the page size, not 0; there need not be a region
 * @rights: GUESTMEM_RIGHT_* of the new file, not 0; all are this file's
 * @fd: [out] the new file; close-on-exec
 * @id: [out] the number of its view; never used again in this guest
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_EXPORT. Whatever can be done with a file of /dev/guestmem can be
 * done with the new one, as far as the rights go: all addresses are then the view's, and
 * what lies outside of it is a hole. It cannot have GUESTMEM_RIGHT_MANAGE. A view lives
 * as long as its file does, or an in-kernel driver that was given the file; that this
 * file is closed does not end it.
 *
 * EACCES a right that this file does not have; ENXIO not in this file's view; EINVAL
 * misaligned, empty, or no right; EOVERFLOW; ENOSPC too many views, or too many one from
 * another; EMFILE, ENFILE too many files; ENOMEM.
 */
struct guestmem_view_create {
	__u32 size;
	__u32 flags;
	__aligned_u64 address;
	__aligned_u64 len;
	__u32 rights;
	__s32 fd;
	__aligned_u64 id;
	struct guestmem_error err;
};

/**
 * struct guestmem_view - what VIEW_LIST tells of a view
 * @address: first address, by the file that asks
 * @len: bytes
 * @start: first address, by the view's own file
 * @id: its number
 * @parent: the number of the view it was made from
 * @rights: GUESTMEM_RIGHT_*; 0: it was revoked
 * @nlocks: DMA locks that were taken by it
 * @pid: process that made it, as numbered in the caller's pid namespace; 0 if it is not
 *	visible there
 * @kind: GUESTMEM_VIEW_IS_*; of a domain and a session @address is 0, and @start and
 *	@len are the aperture; @len 0 is all
 */
struct guestmem_view {
	__aligned_u64 address;
	__aligned_u64 len;
	__aligned_u64 start;
	__aligned_u64 id;
	__aligned_u64 parent;
	__u32 rights;
	__u32 nlocks;
	__u32 pid;
	__u32 kind;
};

/**
 * struct guestmem_view_list - ioctl(GUESTMEM_VIEW_LIST): the views that were made by this
 * file, and by those, in the order in which they were made
 * @size: sizeof(struct guestmem_view_list)
 * @flags: must be 0
 * @entries: pointer to an array of struct guestmem_view
 * @entry_size: sizeof(struct guestmem_view); what the kernel does not know of it is set
 *	to 0
 * @nentries: capacity of the array; [out] views there are
 * @err: [out]
 *
 * EMSGSIZE if there are more than fit: nothing was written but @nentries.
 */
struct guestmem_view_list {
	__u32 size;
	__u32 flags;
	__aligned_u64 entries;
	__u32 entry_size;
	__u32 nentries;
	struct guestmem_error err;
};

#define GUESTMEM_VIEW_IS_PART		0
#define GUESTMEM_VIEW_IS_DOMAIN		1
#define GUESTMEM_VIEW_IS_SESSION	2

/* All views that were made by this file, and by those. */
#define GUESTMEM_VIEW_ALL	(1U << 0)

/**
 * struct guestmem_view_limit - ioctl(GUESTMEM_VIEW_LIMIT): take rights away, for good
 * @size: sizeof(struct guestmem_view_limit)
 * @flags: GUESTMEM_VIEW_ALL or 0
 * @id: this file's view, or one that was made by it or by those; with ALL 0
 * @rights: GUESTMEM_RIGHT_* that may be kept, also those that are not known; 0 revokes
 * @timeout_ms: how long to wait for DMA locks to be released that need what was taken
 *	away; 0 does not wait; GUESTMEM_WAIT_FOREVER
 * @nlocks: [out] such DMA locks that are left
 * @reserved: must be 0
 * @err: [out]
 *
 * The views that were made from it lose the rights, too. Another view than this file's
 * takes GUESTMEM_RIGHT_EXPORT. When the call returns, whether with 0, ETIMEDOUT or EINTR,
 * no access that needs what was taken away is made by these files and their mappings any
 * more, and in-kernel drivers that need it have stopped their devices. The pages of DMA
 * locks stay where they are until these are released. What a revoked file is asked for is
 * ESTALE; INFO and UNLOCK still work.
 *
 * ENOENT no such view, or not this file's; EACCES: nothing was changed.
 */
struct guestmem_view_limit {
	__u32 size;
	__u32 flags;
	__aligned_u64 id;
	__u32 rights;
	__u32 timeout_ms;
	__u32 nlocks;
	__u32 reserved;
	struct guestmem_error err;
};

/**
 * struct guestmem_domain_create - ioctl(GUESTMEM_DOMAIN_CREATE): make a domain, an IOVA
 * to GPA table with permissions, as a virtual IOMMU has it
 * @size: sizeof(struct guestmem_domain_create)
 * @flags: must be 0
 * @page_sizes: a bit for each size of pages that mappings are made of; the smallest is
 *	the granule of mappings, and at least the page size
 * @start: first IOVA of the aperture; a multiple of the granule
 * @last: last IOVA; one less than a multiple of the granule
 * @rights: GUESTMEM_RIGHT_* that its sessions may have, not 0; all are this file's;
 *	not MANAGE, EXPORT or TRANSLATE_HPA. The domain's file has EXPORT besides
 * @fd: [out] the owner's file; close-on-exec
 * @id: [out] its number, among those of the views of this guest
 * @err: [out]
 *
 * Needs GUESTMEM_RIGHT_EXPORT. With the file mappings are made and taken back, and
 * sessions made. Its clients are these: a session sees IOVAs only, and of those what it
 * has exported. read(2) gives struct guestmem_record. Closing the file ends the domain:
 * all that was exported is taken back, and the sessions are revoked. That this guest's
 * file is closed does not end it. A domain is a view: VIEW_LIST lists it and its
 * sessions, VIEW_LIMIT revokes them.
 *
 * EACCES a right that this file does not have; EINVAL page sizes, aperture, or no right;
 * ENOSPC too many views, or too many one from another; EMFILE, ENFILE; ENOMEM.
 */
struct guestmem_domain_create {
	__u32 size;
	__u32 flags;
	__aligned_u64 page_sizes;
	__aligned_u64 start;
	__aligned_u64 last;
	__u32 rights;
	__s32 fd;
	__aligned_u64 id;
	struct guestmem_error err;
};

/**
 * struct guestmem_mapping - what an IOVA range means
 * @iova: first IOVA; a multiple of the granule
 * @len: bytes; a multiple of the granule
 * @gpa: first GPA, as the file counts that the domain was made by; with @backing what
 *	@offset is in struct guestmem_region_add. A multiple of the granule; with @backing
 *	of the page size
 * @rights: GUESTMEM_RIGHT_READ, WRITE, or both
 * @backing: 0: memory of the guest; else GUESTMEM_BACKING_*: memory that is not in the
 *	guest, pinned for this mapping alone
 * @fd: with FILE, the file; else must be 0
 * @reserved: must be 0
 */
struct guestmem_mapping {
	__aligned_u64 iova;
	__aligned_u64 len;
	__aligned_u64 gpa;
	__u32 rights;
	__u32 backing;
	__s32 fd;
	__u32 reserved;
};

#define GUESTMEM_MAP_MAX	65536

/**
 * struct guestmem_domain_map - ioctl(GUESTMEM_DOMAIN_MAP): add mappings
 * @size: sizeof(struct guestmem_domain_map)
 * @flags: must be 0
 * @mappings: pointer to an array of struct guestmem_mapping
 * @nmappings: entries in it, 1 to GUESTMEM_MAP_MAX
 * @failed: [out] after an error, which of them it was about
 * @err: [out]
 *
 * All of them or none. There need not be a region at the GPAs, as long as nobody
 * exports them.
 *
 * EEXIST overlaps a mapping, or another entry; EINVAL misaligned, empty, or not in the
 * aperture; EOVERFLOW; ENXIO GPAs that the file does not show which the domain was made
 * by; EACCES rights that it has not; ENOSPC too many; with @backing, as REGION_ADD.
 */
struct guestmem_domain_map {
	__u32 size;
	__u32 flags;
	__aligned_u64 mappings;
	__u32 nmappings;
	__u32 failed;
	struct guestmem_error err;
};

/* All mappings; @iova and @len must be 0. */
#define GUESTMEM_UNMAP_ALL	(1U << 0)
/* @eventfd is one. */
#define GUESTMEM_UNMAP_EVENTFD	(1U << 1)

/**
 * struct guestmem_domain_unmap - ioctl(GUESTMEM_DOMAIN_UNMAP): take mappings back
 * @size: sizeof(struct guestmem_domain_unmap)
 * @flags: GUESTMEM_UNMAP_*
 * @iova: first IOVA
 * @len: bytes; the range need not be mapped, but each mapping in it must be all in it
 * @deadline_ms: how long sessions may take to release what was taken back; 0: their
 *	exports end at once; GUESTMEM_WAIT_FOREVER
 * @timeout_ms: how long this call waits for it; 0 does not; GUESTMEM_WAIT_FOREVER
 * @eventfd: with EVENTFD, is added 1 to when the fault is resolved, or now if there is
 *	none; else must be 0
 * @nusers: [out] exports and DMA locks of sessions that still use it
 * @nmappings: [out] mappings that were removed
 * @fault: [out] the number of the fault; 0 if nobody used it
 * @err: [out]
 *
 * When the call returns, but with EINVAL, EOPNOTSUPP, EOVERFLOW, ERANGE or EBADF, the
 * mappings are gone, and no session reaches what they mapped: exports that overlap the
 * range are dead in whole, mappings in processes were taken away, and in-kernel drivers
 * have stopped their devices. If there were such exports, or DMA locks, that is a fault:
 * their sessions are told by GUESTMEM_EVENT_FAULT, and are broken: they can export
 * nothing until they RELEASE all at once. The fault is resolved when the last export and
 * DMA lock that overlaps the range is gone. Each UNMAP is a fault of its own, with records
 * of its own, and waits for all that overlap its range, also those that an earlier one has
 * hit. At the deadline exports that are left end by force. DMA locks never do: the fault
 * goes on until they are released, and a record names them.
 *
 * With @timeout_ms 0 it is no error that there are users left: @nusers tells.
 *
 * ERANGE a mapping is only partly in the range; ENOSPC too many faults are not resolved:
 * exports that it hit have ended at once, and DMA locks are not waited for, nor is the
 * eventfd told; ETIMEDOUT, EINTR (fatal signal): there are users left.
 */
struct guestmem_domain_unmap {
	__u32 size;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 len;
	__u32 deadline_ms;
	__u32 timeout_ms;
	__s32 eventfd;
	__u32 nusers;
	__aligned_u64 nmappings;
	__aligned_u64 fault;
	struct guestmem_error err;
};

/**
 * struct guestmem_domain_list - ioctl(GUESTMEM_DOMAIN_LIST): the mappings by IOVA
 * @size: sizeof(struct guestmem_domain_list)
 * @flags: must be 0
 * @iova: list mappings that end at or behind this; [out] where to go on; 0: there are
 *	no more
 * @entries: pointer to an array of struct guestmem_mapping; of one with backing, @gpa
 *	and @fd are 0
 * @nentries: capacity of the array; [out] how many were written
 * @reserved: must be 0
 * @generation: [out] grows with each change of the mappings
 *
 * EFAULT.
 */
struct guestmem_domain_list {
	__u32 size;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 entries;
	__u32 nentries;
	__u32 reserved;
	__aligned_u64 generation;
};

/**
 * struct guestmem_session_create - ioctl(GUESTMEM_SESSION_CREATE): make a client's file
 * @size: sizeof(struct guestmem_session_create)
 * @flags: must be 0
 * @rights: GUESTMEM_RIGHT_*, not 0; all are the domain's
 * @fd: [out] the file; close-on-exec
 * @id: [out] its number, among those of the views of this guest
 * @err: [out]
 *
 * By a domain's file. A session does by IOVA, and only with what it has exported, what
 * another file does by GPA: read(2), write(2), mmap(2), INFO, TRANSLATE, LOCK, FILL,
 * COPY, ATOMIC, EVENTFD, and the API for drivers in the kernel. There is no translation
 * table, and pages are mapped in whole or not at all. Closing the file ends what it
 * exported.
 *
 * EACCES a right that the domain does not have; EINVAL no right; ENOSPC too many; EMFILE,
 * ENFILE; ENOMEM.
 */
struct guestmem_session_create {
	__u32 size;
	__u32 flags;
	__u32 rights;
	__s32 fd;
	__aligned_u64 id;
	struct guestmem_error err;
};

/**
 * struct guestmem_piece - a part of an export with one GPA range and one permission
 * @iova: first IOVA
 * @len: bytes
 * @gpa: first GPA if the session has GUESTMEM_RIGHT_TRANSLATE, else 0; 0 of memory that
 *	is not in the guest
 * @rights: GUESTMEM_RIGHT_* of the mappings
 * @reserved: 0
 */
struct guestmem_piece {
	__aligned_u64 iova;
	__aligned_u64 len;
	__aligned_u64 gpa;
	__u32 rights;
	__u32 reserved;
};

/**
 * struct guestmem_export - ioctl(GUESTMEM_EXPORT): begin to use an IOVA range
 * @size: sizeof(struct guestmem_export)
 * @flags: must be 0
 * @iova: first IOVA; any alignment
 * @len: bytes; not 0
 * @pieces: pointer to an array of struct guestmem_piece
 * @npieces: its capacity; 0 if they are not wanted; [out] pieces that it is made of
 * @rights: GUESTMEM_RIGHT_READ, WRITE, or both: all mappings must allow it
 * @handle: [out] for RELEASE; not used again soon
 * @reserved: must be 0
 * @err: [out]
 *
 * By a session's file. Either all of the range is mapped to memory and is exported, or
 * nothing. Exports may overlap; each is released by itself. When one of the mappings is
 * taken back the export is dead, all of it: see DOMAIN_UNMAP.
 *
 * ENXIO a hole, of mappings or of regions; EACCES a mapping that does not allow it, a
 * read-only region, or no right; ESTALE the session is broken; EMSGSIZE; ENOSPC too many
 * exports, or mappings in this one; EINVAL; EOVERFLOW; ENOMEM.
 */
struct guestmem_export {
	__u32 size;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 len;
	__aligned_u64 pieces;
	__u32 npieces;
	__u32 rights;
	__u32 handle;
	__u32 reserved;
	struct guestmem_error err;
};

/* All exports of the session, which can export again if it was broken; @handle must be 0. */
#define GUESTMEM_RELEASE_ALL	(1U << 0)

/**
 * struct guestmem_release - ioctl(GUESTMEM_RELEASE): no longer use what was exported
 * @size: sizeof(struct guestmem_release)
 * @flags: GUESTMEM_RELEASE_ALL or 0
 * @handle: from EXPORT of the same session
 * @nreleased: [out] exports that were released
 *
 * What is not in another export of the session is taken out of its mappings.
 *
 * ENOENT no such export, or it was ended by force.
 */
struct guestmem_release {
	__u32 size;
	__u32 flags;
	__u32 handle;
	__u32 nreleased;
};

/**
 * enum guestmem_record_type - what a record tells
 * @GUESTMEM_RECORD_FAULT: a session was hit: @fault, @session, @pid of a process that
 *	uses it, the range that was taken back, and in @count exports and DMA locks of the
 *	session that overlap it
 * @GUESTMEM_RECORD_RESOLVED: @fault is resolved after @elapsed_ms; its range
 * @GUESTMEM_RECORD_FORCED: an export was ended by force: @fault (0: not by UNMAP),
 *	@session, @pid that exported it, the range of the export; @elapsed_ms after the
 *	fault
 * @GUESTMEM_RECORD_LOCKED: at the deadline a DMA lock was left: as FORCED, with the
 *	first part of it that was hit
 * @GUESTMEM_RECORD_STALE: see GUESTMEM_REGION_STALE; @iova and @len are a mapping that
 *	shows some of it, @count its region, 0 if it is a mapping of memory that is not in
 *	the guest
 * @GUESTMEM_RECORD_REMOVED: the mapping at @iova, @len bytes, is gone with region @count
 */
enum guestmem_record_type {
	GUESTMEM_RECORD_FAULT = 1,
	GUESTMEM_RECORD_RESOLVED = 2,
	GUESTMEM_RECORD_FORCED = 3,
	GUESTMEM_RECORD_LOCKED = 4,
	GUESTMEM_RECORD_STALE = 5,
	GUESTMEM_RECORD_REMOVED = 6
};

/**
 * struct guestmem_record - what read(2) of a domain's file gives
 * @seq: 1, 2, 3 ...
 * @lost: records that were lost before this one, as nobody read them in time; their
 *	numbers are left out
 * @fault: see the type
 * @session: see the type
 * @iova: see the type
 * @len: see the type; 0: up to the last IOVA
 * @elapsed_ms: see the type
 * @type: enum guestmem_record_type
 * @pid: see the type; as numbered in the reader's pid namespace, 0 if not visible there
 * @count: see the type
 * @reserved: 0
 *
 * read(2) gives whole records, the oldest first; EINVAL if there is no room for one,
 * EAGAIN if there is none and the file is O_NONBLOCK. While there are some poll(2) says
 * EPOLLIN.
 */
struct guestmem_record {
	__aligned_u64 seq;
	__aligned_u64 lost;
	__aligned_u64 fault;
	__aligned_u64 session;
	__aligned_u64 iova;
	__aligned_u64 len;
	__aligned_u64 elapsed_ms;
	__u32 type;
	__u32 pid;
	__u32 count;
	__u32 reserved;
};

#define GUESTMEM_IOC_TYPE	0xBC

#define GUESTMEM_INFO		_IO(GUESTMEM_IOC_TYPE, 0x00)
#define GUESTMEM_REGION_ADD	_IO(GUESTMEM_IOC_TYPE, 0x01)
#define GUESTMEM_REGION_REMOVE	_IO(GUESTMEM_IOC_TYPE, 0x02)
#define GUESTMEM_REGION_LIST	_IO(GUESTMEM_IOC_TYPE, 0x03)
#define GUESTMEM_TRANSLATE	_IO(GUESTMEM_IOC_TYPE, 0x04)
#define GUESTMEM_LOCK		_IO(GUESTMEM_IOC_TYPE, 0x05)
#define GUESTMEM_UNLOCK		_IO(GUESTMEM_IOC_TYPE, 0x06)
#define GUESTMEM_FILL		_IO(GUESTMEM_IOC_TYPE, 0x07)
#define GUESTMEM_COPY		_IO(GUESTMEM_IOC_TYPE, 0x08)
#define GUESTMEM_ATOMIC		_IO(GUESTMEM_IOC_TYPE, 0x09)
#define GUESTMEM_EVENTFD	_IO(GUESTMEM_IOC_TYPE, 0x0a)
#define GUESTMEM_VIEW_CREATE	_IO(GUESTMEM_IOC_TYPE, 0x0b)
#define GUESTMEM_VIEW_LIST	_IO(GUESTMEM_IOC_TYPE, 0x0c)
#define GUESTMEM_VIEW_LIMIT	_IO(GUESTMEM_IOC_TYPE, 0x0d)
#define GUESTMEM_DOMAIN_CREATE	_IO(GUESTMEM_IOC_TYPE, 0x0e)
#define GUESTMEM_DOMAIN_MAP	_IO(GUESTMEM_IOC_TYPE, 0x0f)
#define GUESTMEM_DOMAIN_UNMAP	_IO(GUESTMEM_IOC_TYPE, 0x10)
#define GUESTMEM_DOMAIN_LIST	_IO(GUESTMEM_IOC_TYPE, 0x11)
#define GUESTMEM_SESSION_CREATE	_IO(GUESTMEM_IOC_TYPE, 0x12)
#define GUESTMEM_EXPORT		_IO(GUESTMEM_IOC_TYPE, 0x13)
#define GUESTMEM_RELEASE	_IO(GUESTMEM_IOC_TYPE, 0x14)

#define GUESTMEM_TABLE_MAGIC	0x6d656d7473657567ULL	/* "guestmem" */
#define GUESTMEM_TABLE_VERSION	1

/**
 * struct guestmem_table_entry - a region in the translation table
 * @gpa: first address, which is also the mmap offset
 * @len: bytes; not 0
 * @id: the region's number
 * @flags: GUESTMEM_REGION_*
 * @generation: of the guest when the region was added
 */
struct guestmem_table_entry {
	__aligned_u64 gpa;
	__aligned_u64 len;
	__u32 id;
	__u32 flags;
	__aligned_u64 generation;
};

/**
 * struct guestmem_table - the translation table, mapped read-only at
 * GUESTMEM_MMAP_TABLE
 * @magic: GUESTMEM_TABLE_MAGIC
 * @version: GUESTMEM_TABLE_VERSION; another one has another layout
 * @entry_size: distance from entry to entry
 * @capacity: entries there is room for
 * @nentries: entries that are valid, sorted by GPA
 * @seq: odd while the table is being changed
 * @header_size: offset of the first entry
 * @generation: grows with each change of the regions
 * @reserved: 0
 *
 * Behind it, at @header_size, struct guestmem_table_entry of each region.
 *
 * To read: load @seq (acquire) until it is even, a bounded number of times; load
 * what is needed with single loads; an acquire fence; load @seq again: if it
 * differs, nothing of what was read is valid. A reader that gives up asks
 * REGION_LIST. What the table says is a hint, valid until the region is removed.
 */
struct guestmem_table {
	__aligned_u64 magic;
	__u32 version;
	__u32 entry_size;
	__u32 capacity;
	__u32 nentries;
	__u32 seq;
	__u32 header_size;
	__aligned_u64 generation;
	__aligned_u64 reserved[3];
};

#endif /* _UAPI_LINUX_GUESTMEM_H */
