/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * libguestmem: the memory of a virtual machine by guest-physical address (GPA).
 *
 * A handle (struct guestmem) stands for a guest, or for a part of one. What it is
 * made of is its backend, which is chosen when it is made and makes no difference
 * to how it is used:
 *
 *	guestmem_open(), guestmem_from_fd()	an open /dev/guestmem
 *	guestmem_create()			memory of this process: no module
 *	guestmem_from_ops()			the caller's own callbacks
 *	guestmem_subrange()			a part of any of them
 *
 * The structs, flags and limits are those of the kernel, in <linux/guestmem.h>; what
 * one backend cannot do is EOPNOTSUPP.
 *
 * The window. All of a guest lies in one range of this process's addresses, its window:
 * a GPA is reached with one comparison and one addition, whatever the number of
 * regions. What is not there (a hole, a region that was removed, a file that was cut)
 * faults; the library's instructions recover from that, and it is an error with the
 * address and what was done before. See guestmem_faults() for what this asks of the
 * process.
 *
 * Errors. A function that gives an int or ssize_t gives 0 or a count, or a
 * negative errno value, and sets errno to the same (positive) value. A function
 * that gives a pointer gives NULL and sets errno. What each errno means is tabled
 * in <linux/guestmem.h>. guestmem_strerror() gives the sentence for a person,
 * guestmem_last_error() the figures for a program. A NULL handle or a NULL
 * pointer that is needed is EINVAL; a handle that was closed is EBADF as long as it has
 * not become another. Unless its own text says otherwise, a function that fails has
 * changed nothing.
 *
 * Addresses and lengths are in bytes. A range may end at 2^64 - 1; one that would
 * end later is EOVERFLOW. Access of length 0 succeeds and touches nothing.
 *
 * Threads. All functions can be called on the same handle by any number of threads
 * at the same time, but for guestmem_close(), which must be the last. Accesses and
 * look-ups take no lock. The last error is each thread's own. Nothing here is safe in a
 * signal handler but guestmem_handle_fault().
 *
 * fork(2). A child shares the regions, the locks and the events of /dev/guestmem, and
 * the memory of shared regions of this process. Mappings of /dev/guestmem are not
 * inherited: there, accesses cost a system call.
 *
 * C++. A function and a kernel struct may share a name (guestmem_info): write
 * "struct guestmem_info" where the struct is meant.
 */
#ifndef LIBGUESTMEM_H
#define LIBGUESTMEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <linux/guestmem.h>

#ifdef __cplusplus
extern "C" {
#ifdef __GNUC__
/* Functions that are named as a struct are meant: see above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#endif

#define GUESTMEM_VERSION_MAJOR	0
#define GUESTMEM_VERSION_MINOR	1

#ifndef GUESTMEM_API
#define GUESTMEM_API	__attribute__((__visibility__("default")))
#endif

#define GUESTMEM_DEVICE	"/dev/guestmem"

/*
 * What is small is compiled into the caller (guestmem-inline.h). The library exports it
 * all the same, for other languages.
 */
#ifndef GUESTMEM_INLINE
#define GUESTMEM_INLINE	extern inline __attribute__((__gnu_inline__))
#endif

struct guestmem;

/* -------- Errors -------------------------------------------------------- */

/**
 * guestmem_strerror - the calling thread's last error, as one sentence
 *
 * Says what failed, at which address or by which limit, and what can be done. As
 * errno, it is only meaningful after a failure: a success leaves it as it was.
 *
 * Returns text without a newline, never NULL; valid until the thread calls this
 * again or ends. Does not change errno.
 */
GUESTMEM_API const char *guestmem_strerror(void);

/**
 * guestmem_last_error - the calling thread's last error, as figures
 * @err: [out] reason and what belongs to it (see enum guestmem_reason); all zero
 *	if errno says it all; may be NULL
 *
 * Returns the negative errno value of the last failure, 0 if there was none. Does
 * not change errno.
 */
GUESTMEM_API int guestmem_last_error(struct guestmem_error *err);

/**
 * guestmem_last_done - bytes that the failed access had done
 *
 * If the calling thread's last failure was of an access to a range: the number of
 * bytes, from the start, that were moved before it failed. Else 0.
 */
GUESTMEM_API uint64_t guestmem_last_done(void);

/**
 * guestmem_version - the version of the library that runs, such as "0.1.0"
 */
GUESTMEM_API const char *guestmem_version(void);

/**
 * guestmem_set_log - hear of every failure
 * @fn: called in the thread that failed, before the call returns, with the sentence of
 *	guestmem_strerror() and the (positive) errno; it may not fail a call of the
 *	library itself. NULL ends it
 * @ctx: for @fn
 *
 * For the whole process. A failure costs a formatted sentence then, so programs for
 * which a hole is an everyday answer leave it off. A thread that is failing just when
 * it is changed may still call the old @fn, once.
 */
GUESTMEM_API void guestmem_set_log(void (*fn)(void *ctx, int err, const char *text),
				   void *ctx);

/* -------- Faults -------------------------------------------------------- */

#define GUESTMEM_FAULTS_RECOVER	0	/* the default */
#define GUESTMEM_FAULTS_DECLINE	1	/* no signal handler */

/**
 * guestmem_faults - may the library handle SIGSEGV and SIGBUS?
 * @how: GUESTMEM_FAULTS_RECOVER or GUESTMEM_FAULTS_DECLINE
 *
 * With the first handle that has a window, the library installs a handler for SIGSEGV
 * and SIGBUS (SA_SIGINFO | SA_ONSTACK). It recovers from faults at its own
 * instructions, which it knows by address; every other one goes to the handler that was
 * there before, or does what the signal does by default. It costs nothing until
 * something faults. A thread that blocks these signals cannot be helped: the kernel kills
 * it.
 *
 * Who installs handlers later must call guestmem_handle_fault() from them, or call this
 * with RECOVER again: the library's are put on top of what is there then (which must
 * not call on the one that was there before, as that is the library's).
 *
 * If that is declined, no handler is installed, and nothing can be recovered from:
 * /dev/guestmem is reached by system calls only, and memory of this process after a
 * look-up, so that holes are still errors; but a file that is cut, or a region that is
 * removed in the midst of an access, is the process's SIGBUS or SIGSEGV then.
 *
 * EBUSY it is too late: a handle with a window was made; EINVAL @how.
 */
GUESTMEM_API int guestmem_faults(int how);

/**
 * guestmem_handle_fault - for programs with handlers of their own
 * @sig: as the handler was given it
 * @info: likewise, a siginfo_t
 * @ucontext: likewise, a ucontext_t
 *
 * Returns 1 if the fault was one of the library's accesses: the handler must return
 * then. 0 if it was not. Safe in signal handlers, and changes no errno.
 */
GUESTMEM_API int guestmem_handle_fault(int sig, const void *info, void *ucontext);

/* -------- A guest ------------------------------------------------------- */

/**
 * guestmem_open - a new guest, without regions
 * @flags: O_RDWR; O_RDONLY for a file that can neither write nor add regions,
 *	O_WRONLY for one that can neither read nor translate. The descriptor is
 *	O_CLOEXEC in any case
 *
 * A guest of its own; to reach one that exists, take its descriptor (inherited, by
 * SCM_RIGHTS or by pidfd_getfd(2)) and call guestmem_from_fd().
 *
 * EINVAL other flags; ENOENT the module is not loaded; EACCES no permission for
 * /dev/guestmem; EOPNOTSUPP the module has another ABI version; EMFILE, ENFILE,
 * ENOMEM. Undone by guestmem_close().
 */
GUESTMEM_API struct guestmem *guestmem_open(int flags);

/**
 * guestmem_from_fd - a handle for a guest that is already open
 * @fd: a descriptor of /dev/guestmem, be it of a guest, a view, a domain or a session; it
 *	stays the caller's, and can be closed at once: the handle has a duplicate of its own
 *	(O_CLOEXEC)
 *
 * Checks by GUESTMEM_INFO that it is a guest and which ABI version it has. The
 * rights are those of the open file, and so are its events and DMA locks: all its
 * duplicates share them.
 *
 * EBADF no descriptor, or not of a guest; EOPNOTSUPP another ABI version; EMFILE,
 * ENOMEM. Undone by guestmem_close().
 */
GUESTMEM_API struct guestmem *guestmem_from_fd(int fd);

/**
 * guestmem_create - a new guest in memory of this process
 * @len: its GPAs are 0 to @len - 1; 0 for 1 TiB. Rounded up to 2 MiB; addresses are
 *	reserved for it (PROT_NONE), no memory
 *
 * Needs no module and no privilege. Regions are added by guestmem_add_anon(),
 * guestmem_add_file() and guestmem_add_user(). A DMA lock keeps a region from being
 * removed, and pins nothing. There are no host-physical addresses, and no events.
 *
 * EINVAL @len is more than 2^46; ENOMEM, EAGAIN no such range of addresses is free (see
 * RLIMIT_AS, and mlockall(2)); EMFILE. Undone by guestmem_close().
 */
GUESTMEM_API struct guestmem *guestmem_create(uint64_t len);

/* What the callback page_fault of struct guestmem_ops answers. */
#define GUESTMEM_FAULT_FALLBACK	0	/* use the callback for this access */
#define GUESTMEM_FAULT_RETRY	1	/* it is there now: access again */

/**
 * struct guestmem_fault - an access that found no memory
 * @gpa: first address that cannot be accessed
 * @len: bytes that were still to be accessed from there
 * @write: whether it is a write
 * @denied: whether the bitmap denied it (then nothing from @gpa on was touched), or the
 *	memory is not there
 * @signal: not @denied: SIGSEGV or SIGBUS; 0 if there is no mapping
 */
struct guestmem_fault {
	uint64_t gpa;
	uint64_t len;
	int write;
	int denied;
	int signal;
};

/**
 * struct guestmem_ops - a backend made of the caller's callbacks
 * @size: sizeof(struct guestmem_ops)
 * @len: GPAs are 0 to @len - 1
 * @mapping: where GPA 0 is in this process; the range of @len bytes stays reserved as
 *	long as the handle or a subrange of it lives, and need not be accessible. NULL if
 *	there is none
 * @read_bitmap: a bit a page of 4096 bytes, from the least significant of the first
 *	byte on; set if it may be read. NULL if all may. Only looked at if there is a
 *	@mapping
 * @write_bitmap: the same for writing; may be @read_bitmap
 * @bitmap_first: the bit of GPA 0 in both
 * @base_iova: I/O address of GPA 0, if GUESTMEM_OPS_IOVA is set
 * @flags: GUESTMEM_OPS_*
 * @page_fault: asked when @mapping or a bitmap fails an access: GUESTMEM_FAULT_RETRY,
 *	GUESTMEM_FAULT_FALLBACK or a negative errno value, which the access then fails
 *	with. After some thousands of retries at one address the access fails with EFAULT.
 *	NULL: EACCES if a bitmap denied it, else ENXIO
 * @read: read @len bytes at @gpa into @buf. This and the next four are asked where
 *	there is no mapping, and for GUESTMEM_FAULT_FALLBACK, from the byte that failed on.
 *	0 or a negative errno value; NULL: EOPNOTSUPP
 * @write: write @len bytes to @gpa
 * @fill: set @len bytes at @gpa to @value; if it is NULL, @write is asked
 * @cmpxchg: 1 if the @width bytes at @gpa were as @expected and are as @desired now, 0 if
 *	they were not and are put into @expected, or a negative errno value. The other
 *	atomic operations are made of it, and of @read
 * @expose_va: prepare one page so that its address in @mapping can be given to the
 *	kernel for DMA; asked for each page of a lock. NULL: always ready
 * @lock: keep the pages (numbers of 4096 bytes) as they are; 1 if @unlock must be asked
 *	with the same list, 0 if not, or a negative errno value with nothing locked.
 *	NULL: 0, if there is a @mapping
 * @unlock: undo @lock
 * @subrange: called by guestmem_subrange(): 1 if @ops and @ctx were filled in with a
 *	backend for the part, 0 for the usual part of this one, or a negative errno
 *	value. @may_lock: whether GUESTMEM_SUBRANGE_LOCK was given. NULL: 0
 * @backing: the file that the memory at @gpa is of, as guestmem_backing(); NULL:
 *	EOPNOTSUPP
 * @close: the handle and its subranges are closed. NULL: nothing to do
 *
 * What each callback is given first is the @ctx of guestmem_from_ops(). They are called
 * in the thread that accesses, without a lock held; so by several at the same time.
 * They may access other handles, but not use a mapper whose call came to them. The
 * semantics are those of openvmm's GuestMemoryAccess, with three differences: an access
 * goes on from the byte that failed instead of from the start; page numbers are of the
 * whole guest in every subrange, whatever its alignment; and subranges pass locks on.
 *
 * A bitmap can change at any time. A bit that is cleared is seen by every access that
 * starts afterwards; guestmem_synchronize() waits for those that had started before.
 */
struct guestmem_ops {
	size_t size;
	uint64_t len;
	void *mapping;
	const uint8_t *read_bitmap;
	const uint8_t *write_bitmap;
	size_t bitmap_first;
	uint64_t base_iova;
	uint32_t flags;
	int (*page_fault)(void *ctx, const struct guestmem_fault *fault);
	int (*read)(void *ctx, uint64_t gpa, void *buf, size_t len);
	int (*write)(void *ctx, uint64_t gpa, const void *buf, size_t len);
	int (*fill)(void *ctx, uint64_t gpa, uint8_t value, uint64_t len);
	int (*cmpxchg)(void *ctx, uint64_t gpa, void *expected, const void *desired,
		       size_t width);
	int (*expose_va)(void *ctx, uint64_t gpa, uint64_t len);
	int (*lock)(void *ctx, const uint64_t *gpns, size_t npages);
	void (*unlock)(void *ctx, const uint64_t *gpns, size_t npages);
	int (*subrange)(void *ctx, uint64_t gpa, uint64_t len, int may_lock,
			struct guestmem_ops *ops, void **sub_ctx);
	int (*backing)(void *ctx, uint64_t gpa, int *fd, uint64_t *offset, uint64_t *len);
	void (*close)(void *ctx);
};

#define GUESTMEM_OPS_IOVA	(1U << 0)	/* base_iova is valid */
#define GUESTMEM_OPS_READONLY	(1U << 1)	/* no write by any way */

/**
 * guestmem_from_ops - a guest made of the caller's callbacks
 * @ops: copied
 * @ctx: for the callbacks
 *
 * EINVAL @ops->size, @ops->len is 0, or @ops->mapping is misaligned (4096); EOPNOTSUPP
 * unknown flags; ENOMEM. @ops->close is not called then. Undone by guestmem_close().
 */
GUESTMEM_API struct guestmem *guestmem_from_ops(const struct guestmem_ops *ops, void *ctx);

/**
 * guestmem_synchronize - wait for accesses that saw an older bitmap
 * @g: a handle of guestmem_from_ops()
 *
 * When it returns, all accesses that may have seen the bitmaps as they were before the
 * call have ended. Not from a callback (it would wait for itself).
 *
 * EOPNOTSUPP a guest without bitmaps.
 */
GUESTMEM_API int guestmem_synchronize(struct guestmem *g);

#define GUESTMEM_SUBRANGE_LOCK		(1U << 0)	/* a hint to the backend: it may lock */
#define GUESTMEM_SUBRANGE_READONLY	(1U << 1)	/* no write through it */

/**
 * guestmem_subrange - a handle for a part of a guest
 * @g: the handle; it can be closed while the part lives
 * @gpa: the part's address 0; any alignment
 * @len: bytes; the part's addresses are 0 to @len - 1. Memory need not be there
 * @flags: GUESTMEM_SUBRANGE_*
 *
 * All calls on it take and tell addresses from @gpa on; regions are told as far as
 * they lie in it. It has the rights of @g but for GUESTMEM_RIGHT_MANAGE, and the same
 * locks, events and dirty pages. Of subranges, subranges can be made.
 *
 * A part that the callback subrange makes is a guest of its own, with its own locks and
 * dirty pages.
 *
 * EINVAL @len is 0; ENXIO not in @g; EOVERFLOW; EOPNOTSUPP unknown flags; ENOMEM. Undone
 * by guestmem_close().
 */
GUESTMEM_API struct guestmem *guestmem_subrange(struct guestmem *g, uint64_t gpa,
						uint64_t len, uint32_t flags);

/**
 * guestmem_close - end the handle
 * @g: the handle, or NULL
 *
 * Closes the handle's descriptor. Mappings by guestmem_map() stay usable until
 * they are unmapped; pointers and slices do not. With the last descriptor and mapping of
 * the open file its DMA locks end; with the last open file of the guest its regions are
 * unpinned. Memory of this process goes with the last handle on it. Does not change
 * errno. No other call on @g may run or follow.
 */
GUESTMEM_API void guestmem_close(struct guestmem *g);

/**
 * guestmem_fd - the handle's descriptor, for poll(2), SCM_RIGHTS or ioctl(2)
 * @g: the handle
 *
 * It belongs to the handle: do not close it. EINVAL if @g is NULL; EOPNOTSUPP if it is
 * not of /dev/guestmem.
 */
GUESTMEM_API int guestmem_fd(const struct guestmem *g);

/**
 * guestmem_info - what the kernel tells of the guest and of this open file
 * @g: the handle
 * @info: @info->size must be sizeof(struct guestmem_info), and @info->flags
 *	GUESTMEM_INFO_TAKE_EVENTS or 0; the rest is filled in
 *
 * Of a subrange, the figures are those of all of the guest, and the rights its own.
 * @info->events has what happened since the events of this open file were last
 * taken, by whichever process has it.
 *
 * EINVAL @info->size is too small; EOPNOTSUPP @info->flags.
 */
GUESTMEM_API int guestmem_info(struct guestmem *g, struct guestmem_info *info);

/**
 * guestmem_eventfd - be told of changes by an eventfd
 * @g: the handle
 * @fd: an eventfd; stays the caller's
 * @events: GUESTMEM_EVENT_*; each adds 1 to the eventfd. 0 ends it
 *
 * Asking again for the same eventfd replaces its events. Ends with the open file.
 *
 * EBADF not an eventfd; ENOENT @events is 0 and it was not registered; ENOSPC too
 * many; EOPNOTSUPP unknown events.
 */
GUESTMEM_API int guestmem_eventfd(struct guestmem *g, int fd, uint32_t events);

/* -------- Regions ------------------------------------------------------- */

/**
 * guestmem_add_user - pin memory of this process and put it into the guest
 * @g: the handle; needs GUESTMEM_RIGHT_MANAGE
 * @gpa: first address of the region; page-aligned
 * @len: multiple of the page size, at most GUESTMEM_REGION_MAX_LEN
 * @addr: where the memory is in this process; page-aligned
 * @flags: GUESTMEM_REGION_READONLY or 0
 * @id: [out] the region's number; may be NULL
 *
 * The pages stay pinned until the region is removed or the guest ends, whatever
 * the process does with @addr; if it gets other pages there, the region is
 * GUESTMEM_REGION_STALE and still has the old ones. Counts against RLIMIT_MEMLOCK
 * unless the caller has CAP_IPC_LOCK.
 *
 * In a guest of guestmem_create(), nothing is pinned: the region is a second mapping
 * of the same memory, which must be a shared one (private memory can only be in one
 * place: EOPNOTSUPP).
 *
 * EEXIST overlaps a region; ENOMEM memory or memlock limit; EFAULT not accessible
 * (or read-only and @flags does not say so); EOPNOTSUPP memory that cannot be
 * pinned; EACCES no right; EINVAL, EOVERFLOW, ENOSPC, EHWPOISON. Nothing is pinned,
 * charged or changed then. Undone by guestmem_remove() or guestmem_revoke().
 */
GUESTMEM_API int guestmem_add_user(struct guestmem *g, uint64_t gpa, uint64_t len,
				   void *addr, uint32_t flags, uint32_t *id);

/* Flags of guestmem_add_anon(), with GUESTMEM_REGION_READONLY. */
#define GUESTMEM_ANON_PRIVATE	(1U << 16)	/* no file: cheaper faults, THP, not shared */
#define GUESTMEM_ANON_HUGETLB	(1U << 17)	/* huge pages of the default size */

/**
 * guestmem_add_anon - new memory, all zero
 * @g: a handle of guestmem_create()
 * @gpa: first address of the region; page-aligned
 * @len: multiple of the page size; of the huge page size with HUGETLB, as @gpa
 * @flags: GUESTMEM_REGION_READONLY, GUESTMEM_ANON_*, or 0
 * @id: [out] the region's number; may be NULL
 *
 * A memfd that cannot be resized, which guestmem_backing() gives; or with PRIVATE
 * memory that only this process and its children (by copy) have. Memory is taken when
 * it is touched; huge pages are reserved now.
 *
 * As guestmem_add_user(). Undone by guestmem_remove() or guestmem_revoke().
 */
GUESTMEM_API int guestmem_add_anon(struct guestmem *g, uint64_t gpa, uint64_t len,
				   uint32_t flags, uint32_t *id);

/**
 * guestmem_add_file - pin a piece of a file and put it into the guest
 * @g: the handle; needs GUESTMEM_RIGHT_MANAGE
 * @gpa: first address of the region; page-aligned
 * @len: multiple of the page size, at most GUESTMEM_REGION_MAX_LEN
 * @fd: memfd, tmpfs or hugetlbfs file, open for writing unless READONLY; it can
 *	be closed afterwards
 * @offset: where in the file; page-aligned
 * @flags: GUESTMEM_REGION_READONLY or 0
 * @id: [out] the region's number; may be NULL
 *
 * As guestmem_add_user(). EBADF no such descriptor; EACCES the file is not open
 * for what is needed, or is sealed against it; EINVAL the file is too short;
 * EOPNOTSUPP another kind of file. In a guest of guestmem_create(), any file that can
 * be mapped will do.
 */
GUESTMEM_API int guestmem_add_file(struct guestmem *g, uint64_t gpa, uint64_t len,
				   int fd, uint64_t offset, uint32_t flags,
				   uint32_t *id);

/**
 * guestmem_remove - take a region out of the guest, if no DMA lock holds it
 * @g: the handle; needs GUESTMEM_RIGHT_MANAGE
 * @id: the region
 *
 * Its pages are unpinned. Mappings of it give SIGBUS until another region is added
 * there. EBUSY DMA locks or guestmem_hold() hold it, or, in a guest of
 * guestmem_create(), a call that another thread is in; or sessions have exported a mapping
 * of it: unmap that in their domain, or call guestmem_revoke(). ENOENT no such region;
 * EACCES.
 */
GUESTMEM_API int guestmem_remove(struct guestmem *g, uint32_t id);

/**
 * guestmem_revoke - take a region out of the guest, whoever uses it
 * @g: the handle; needs GUESTMEM_RIGHT_MANAGE
 * @id: the region
 * @timeout_ms: how long to wait for DMA locks to be released, in milliseconds; 0
 *	does not wait; GUESTMEM_WAIT_FOREVER
 * @nlocks: [out] DMA locks that still hold the pages; may be NULL
 *
 * When it returns 0, ETIMEDOUT or EINTR, no access by any file or mapping reaches
 * the region any more, its addresses are free, and in-kernel drivers have stopped
 * their devices. It must then not be called again for this @id (ENOENT). The pages
 * stay pinned, and charged, until the last DMA lock is released.
 *
 * ETIMEDOUT revoked, but @nlocks locks are left; EINTR the same, since a fatal
 * signal came; ENOENT no such region, EACCES no right: nothing was changed.
 */
GUESTMEM_API int guestmem_revoke(struct guestmem *g, uint32_t id,
				 uint32_t timeout_ms, uint32_t *nlocks);

/**
 * guestmem_regions - the regions, sorted by GPA
 * @g: the handle
 * @regions: [out] array to be freed with free(3); NULL if there are none or on
 *	failure
 * @n: [out] regions in it
 *
 * One consistent snapshot, which may be old when it is looked at. With
 * GUESTMEM_REGION_OWN, @regions->offset is an address in this process. ENOMEM; EOPNOTSUPP a
 * guest of guestmem_from_ops(), which knows no regions.
 */
GUESTMEM_API int guestmem_regions(struct guestmem *g,
				  struct guestmem_region **regions, size_t *n);

/* -------- Views --------------------------------------------------------- */

/**
 * guestmem_view_create - make a file for a part of the guest, with fewer rights
 * @g: the handle; needs GUESTMEM_RIGHT_EXPORT
 * @gpa: first address; page-aligned in the file
 * @len: bytes, a multiple of the page size
 * @rights: GUESTMEM_RIGHT_* of the new file; all are this handle's, and not MANAGE
 * @flags: GUESTMEM_VIEW_KEEP: it keeps the addresses of the file that @g is of; 0: its
 *	addresses begin at 0
 * @id: [out] the number of the view, for guestmem_view_limit(); may be NULL
 *
 * For somebody who is not to have more: it is a descriptor to be passed on, and a handle
 * where it has come to by guestmem_from_fd(). The kernel sees to it that nothing else of
 * the guest is reached by it, and that what is taken back is gone. guestmem_subrange(), by
 * contrast, guards oneself against mistakes.
 *
 * Returns the descriptor, which is the caller's and close-on-exec; ENXIO @g does not show
 * the range; EACCES a right that @g does not have; EINVAL misaligned, empty, no right;
 * ESTALE @g was revoked; ENOSPC too many views; EMFILE, ENFILE too many files;
 * EOPNOTSUPP not a guest of /dev/guestmem.
 */
GUESTMEM_API int guestmem_view_create(struct guestmem *g, uint64_t gpa, uint64_t len,
				      uint32_t rights, uint32_t flags, uint64_t *id);

/**
 * guestmem_views - the views that were made by this file, and by those
 * @g: the handle
 * @views: [out] array to be freed with free(3); NULL if there are none or on failure;
 *	@views->address is by the addresses of @g
 * @n: [out] views in it
 *
 * In the order in which they were made. ENOMEM; EOPNOTSUPP not a guest of /dev/guestmem.
 */
GUESTMEM_API int guestmem_views(struct guestmem *g, struct guestmem_view **views, size_t *n);

/**
 * guestmem_view_limit - take rights of a view away, for good
 * @g: the handle; needs GUESTMEM_RIGHT_EXPORT, unless it is its own view
 * @id: a view that guestmem_views() tells, or guestmem_info()'s, of this file itself
 * @rights: GUESTMEM_RIGHT_* that may be kept; 0 revokes
 * @flags: GUESTMEM_VIEW_ALL: all that guestmem_views() tells, and @id is 0; or 0
 * @timeout_ms: how long to wait for DMA locks to be released that need what was taken
 *	away, in milliseconds; 0 does not wait; GUESTMEM_WAIT_FOREVER
 * @nlocks: [out] such DMA locks that are left; may be NULL
 *
 * The views that were made from it lose the rights, too. When it returns 0, ETIMEDOUT or
 * EINTR, no access that needs them is made any more by whoever has these files, and
 * in-kernel drivers that need them have stopped their devices. Handles of a file that
 * lost rights find out as they go: what they may not do any more is EACCES, and
 * everything ESTALE if none is left.
 *
 * ETIMEDOUT they were taken away, but @nlocks locks are left; EINTR the same, since a
 * fatal signal came; ENOENT no such view; EACCES; EOPNOTSUPP: nothing was changed.
 */
GUESTMEM_API int guestmem_view_limit(struct guestmem *g, uint64_t id, uint32_t rights,
				     uint32_t flags, uint32_t timeout_ms, uint32_t *nlocks);

/* -------- Domains ------------------------------------------------------- */

/*
 * A domain says what I/O virtual addresses (IOVA) mean: ranges of them are mapped to GPAs,
 * with a permission, as a virtual IOMMU is told by its guest. Its owner makes sessions of
 * it, files that are passed on to whoever emulates a device: they reach memory by IOVA,
 * as far as it is mapped and they have exported it. What the owner unmaps is gone for all
 * of them when the call returns; who still uses it then is told, and has to release it.
 *
 * Both are handles. Of a domain's, guestmem_info(), guestmem_eventfd(), guestmem_views(),
 * guestmem_view_limit() (which revokes sessions) and the calls here are of use: it has no
 * memory, and no parts. A session's is a guest whose addresses are IOVAs: read, write,
 * map, lock and translate what was exported. It has no regions, so that look-ups, slices,
 * holds, and files into memory are EOPNOTSUPP: guestmem_map() gives pointers.
 */

/**
 * guestmem_domain_create - make a domain
 * @g: the handle, of all of an open /dev/guestmem; needs GUESTMEM_RIGHT_EXPORT
 * @page_sizes: a bit for each size of pages that mappings are made of; the smallest is the
 *	granule of mappings, and at least the page size
 * @start: first IOVA that can be mapped; a multiple of the granule
 * @last: last IOVA; one less than a multiple of the granule
 * @rights: GUESTMEM_RIGHT_* that its sessions may have, all of them @g's; not MANAGE,
 *	EXPORT or TRANSLATE_HPA
 *
 * guestmem_info() tells its number, and guestmem_fd() its descriptor, which another
 * process can make a handle of by guestmem_from_fd(). That @g is closed does not end it.
 *
 * EACCES a right that @g does not have; EINVAL page sizes, addresses, or no right; ENOSPC
 * too many views; ESTALE @g was revoked; EMFILE, ENFILE too many files; ENOMEM; EOPNOTSUPP
 * not a guest of /dev/guestmem, or a subrange of one. Undone by closing all descriptors of
 * it, of which guestmem_close() closes one: all that was exported is taken back then, and
 * its sessions are revoked.
 */
GUESTMEM_API struct guestmem *guestmem_domain_create(struct guestmem *g, uint64_t page_sizes,
						     uint64_t start, uint64_t last,
						     uint32_t rights);

/**
 * guestmem_domain_map - add mappings, all or none
 * @d: a domain
 * @mappings: array; GPAs are those of the file that the domain was made by
 * @n: mappings in it; 1 to GUESTMEM_MAP_MAX
 * @failed: [out] after a failure, which of them it was about; may be NULL
 *
 * There need not be a region at the GPAs as long as nobody exports them. Memory that is
 * in no region can be mapped, too: see struct guestmem_mapping.
 *
 * EEXIST overlaps a mapping, or another one of the array; EINVAL misaligned, empty, or not
 * all of it can be mapped; EOVERFLOW; ENXIO GPAs that the file does not show; EACCES
 * rights that it does not have; ENOSPC too many; EOPNOTSUPP not a domain; of memory that
 * is in no region, as guestmem_add_user() and guestmem_add_file(). Undone by
 * guestmem_domain_unmap().
 */
GUESTMEM_API int guestmem_domain_map(struct guestmem *d, const struct guestmem_mapping *mappings,
				     size_t n, size_t *failed);

/**
 * guestmem_domain_unmap - take mappings back
 * @d: a domain
 * @unmap: @unmap->size must be sizeof(struct guestmem_domain_unmap); range, flags, times
 *	in milliseconds and eventfd are the caller's, what is marked [out] is filled in
 *
 * When it returns 0, ETIMEDOUT, EINTR or ENOSPC, the mappings are gone, and no session reaches
 * what they mapped. Those that had exported some of it are broken: they can export nothing
 * until guestmem_session_release_all(). @unmap->deadline_ms is how long they may take before their
 * exports are ended by force, @unmap->timeout_ms how long to wait here for it (0: not at
 * all, and @unmap->nusers tells how many are left); with GUESTMEM_UNMAP_EVENTFD, an eventfd
 * is told when it is over, however long that takes.
 *
 * ERANGE a mapping is only partly in the range; EINVAL, EOVERFLOW; EBADF not an eventfd;
 * EOPNOTSUPP not a domain, unknown flags: nothing was changed. ETIMEDOUT, EINTR (a fatal
 * signal): @unmap->nusers exports and DMA locks are left. ENOSPC too many faults are not
 * resolved: exports were ended at once, and DMA locks that are left will not be told of.
 */
GUESTMEM_API int guestmem_domain_unmap(struct guestmem *d, struct guestmem_domain_unmap *unmap);

/**
 * guestmem_domain_list - the mappings by IOVA, some at a time
 * @d: a domain
 * @iova: mappings that end at or behind this; 0 to begin with. [out] where to go on
 * @mappings: [out] array
 * @n: its capacity, not 0; [out] mappings written
 * @generation: [out] grows with each change: if it is another one than that of the call
 *	before, the list is not of one moment; may be NULL
 *
 * Returns 1 if there may be more, 0 if there are not. EOPNOTSUPP not a domain.
 */
GUESTMEM_API int guestmem_domain_list(struct guestmem *d, uint64_t *iova,
				      struct guestmem_mapping *mappings, size_t *n,
				      uint64_t *generation);

/**
 * guestmem_domain_records - what has happened, each told once, the oldest first
 * @d: a domain
 * @records: [out] array
 * @n: its capacity
 *
 * Waits until there is one; to be woken instead, poll(2) for EPOLLIN, or ask for
 * GUESTMEM_EVENT_RECORD by guestmem_eventfd().
 *
 * Returns how many were written. EAGAIN there is none, and the descriptor is O_NONBLOCK;
 * EINTR a signal came; EOPNOTSUPP not a domain.
 */
GUESTMEM_API ssize_t guestmem_domain_records(struct guestmem *d, struct guestmem_record *records,
					     size_t n);

/**
 * guestmem_session_create - make a client's file
 * @d: a domain
 * @rights: GUESTMEM_RIGHT_* of the new file; all are the domain's
 * @id: [out] its number, for guestmem_view_limit(), and as records tell it; may be NULL
 *
 * Returns a descriptor, to be passed on, which is the caller's and close-on-exec; it is a
 * handle where it has come to by guestmem_from_fd(). EACCES a right that the domain does
 * not have; EINVAL no right; ENOSPC too many views; EMFILE, ENFILE too many files; ENOMEM;
 * EOPNOTSUPP not a domain.
 */
GUESTMEM_API int guestmem_session_create(struct guestmem *d, uint32_t rights, uint64_t *id);

/**
 * guestmem_session_export - begin to use a range of IOVAs
 * @s: a session
 * @iova: first IOVA; any alignment
 * @len: bytes; not 0
 * @rights: GUESTMEM_RIGHT_READ, WRITE, or both: what for
 * @handle: [out] for guestmem_session_release()
 * @pieces: [out] the mappings that it is made of; NULL if they are not wanted
 * @n: capacity of @pieces; [out] pieces there are; may be NULL if @pieces is
 *
 * All of the range or nothing. Exports may overlap. They belong to the open file, not to
 * the process. When a mapping of it is taken back, all of the export is dead, the session
 * is broken, and GUESTMEM_EVENT_FAULT tells it (see guestmem_eventfd()): stop, call
 * guestmem_session_release_all(), and export anew what there is.
 *
 * ENXIO some of it is not mapped, or there is no region; EACCES a mapping does not allow
 * it, a read-only region, or no right; ESTALE the session is broken, or was revoked;
 * EMSGSIZE the array is too small: *@n is what is needed, nothing was exported; ENOSPC
 * too many; EINVAL, EOVERFLOW; ENOMEM; EOPNOTSUPP not a session. Undone by
 * guestmem_session_release(), or by closing the open file.
 */
GUESTMEM_API int guestmem_session_export(struct guestmem *s, uint64_t iova, uint64_t len,
					 uint32_t rights, uint32_t *handle,
					 struct guestmem_piece *pieces, size_t *n);

/**
 * guestmem_session_release - no longer use what was exported
 * @s: a handle of the same open file
 * @handle: from guestmem_session_export()
 *
 * What is in no other export of the session cannot be reached by it any more.
 *
 * ENOENT no such export, or it was ended by force; EOPNOTSUPP not a session.
 */
GUESTMEM_API int guestmem_session_release(struct guestmem *s, uint32_t handle);

/**
 * guestmem_session_release_all - no longer use anything
 * @s: a session
 *
 * All exports of the open file, also if @s is a part of it. If the session was broken it
 * can export again. Returns how many were released. EOPNOTSUPP not a session.
 */
GUESTMEM_API int guestmem_session_release_all(struct guestmem *s);

/* -------- Mappers ------------------------------------------------------- */

/*
 * What a virtual IOMMU is told by its guest goes to software that emulates devices, by a
 * domain, and to hardware that the guest was given, by VFIO or iommufd. A mapper is
 * either, with the same calls and errors. When an unmap has returned, nobody reaches what
 * was mapped.
 *
 * The memory of a mapping for hardware is held by a DMA lock until it is unmapped, and
 * must be memory of this process: of guestmem_create(), guestmem_from_ops(), or added to
 * a guest of /dev/guestmem by guestmem_add_user(). Pages are pinned and charged once more
 * by VFIO and iommufd. What a device writes is not noted as dirty.
 *
 * All calls can be made by any number of threads at the same time, but for
 * guestmem_mapper_close(), which must be the last. The callbacks of guestmem_from_ops()
 * that a call comes to may not use the same mapper. What was mapped is the process's: in
 * a child of fork(2), all calls are EINVAL, but for guestmem_mapper_close(), which unmaps
 * nothing there.
 */
struct guestmem_mapper;

/**
 * guestmem_mapper_domain - a mapper for a domain
 * @d: a domain; it can be closed while the mapper lives
 *
 * guestmem_mapper_unmap() gives sessions no time: exports end by force. Who wants to give
 * them some calls guestmem_domain_unmap().
 *
 * EOPNOTSUPP not a domain, or a subrange of one; ENOMEM. Undone by
 * guestmem_mapper_close(), which leaves the domain's mappings as they are.
 */
GUESTMEM_API struct guestmem_mapper *guestmem_mapper_domain(struct guestmem *d);

/**
 * guestmem_mapper_vfio - a mapper for devices in a VFIO container
 * @g: the guest; needs GUESTMEM_RIGHT_LOCK. It can be closed while the mapper lives
 * @container: the descriptor, after VFIO_SET_IOMMU to a type 1; stays the caller's
 *
 * EBADF not a container; EINVAL no IOMMU was set; ENOMEM; EMFILE. Undone by
 * guestmem_mapper_close().
 */
GUESTMEM_API struct guestmem_mapper *guestmem_mapper_vfio(struct guestmem *g, int container);

/**
 * guestmem_mapper_iommufd - a mapper for devices that are attached to an IOAS of iommufd
 * @g: the guest; needs GUESTMEM_RIGHT_LOCK. It can be closed while the mapper lives
 * @fd: of /dev/iommu; stays the caller's
 * @ioas: number of the I/O address space
 *
 * EBADF not /dev/iommu; ENOENT no such address space; ENOMEM; EMFILE; EOPNOTSUPP the
 * library was built without it. Undone by guestmem_mapper_close().
 */
GUESTMEM_API struct guestmem_mapper *guestmem_mapper_iommufd(struct guestmem *g, int fd,
							     uint32_t ioas);

/**
 * guestmem_mapper_map - say what a range of IOVAs means: all of it, or an error
 * @m: the mapper
 * @iova: first IOVA; a multiple of what the IOMMU, or the domain, has as its smallest page
 * @len: bytes; likewise
 * @gpa: first GPA; likewise
 * @rights: GUESTMEM_RIGHT_READ, WRITE, or both: what devices may do
 *
 * EEXIST some of it is mapped; EINVAL misaligned, empty, no right, or not what can be
 * mapped; EOVERFLOW; ENOSPC too many. For hardware: ENXIO a hole; EACCES a right that the
 * handle does not have, or a read-only region; EOPNOTSUPP not memory of this process, or
 * it is stale; EFAULT memory that cannot be pinned; EBUSY regions were added or removed all
 * the while; ENOMEM memory, or the memlock limit. If the IOMMU does not even unmap what
 * it had mapped of it by then, that is a mapping, which guestmem_mapper_unmap() undoes. For
 * a domain, as guestmem_domain_map(). Undone by guestmem_mapper_unmap() of all of it.
 */
GUESTMEM_API int guestmem_mapper_map(struct guestmem_mapper *m, uint64_t iova, uint64_t len,
				     uint64_t gpa, uint32_t rights);

/**
 * guestmem_mapper_unmap - undo guestmem_mapper_map()
 * @m: the mapper
 * @iova: first IOVA
 * @len: bytes; the range need not be mapped, but each mapping in it must be all in it
 *
 * ERANGE a mapping is only partly in the range; EINVAL, EOVERFLOW: nothing was changed. Of
 * a domain: ENOSPC as guestmem_domain_unmap(), ETIMEDOUT, EINTR: it is unmapped, but DMA
 * locks are left. Of hardware: the first of the errors that the IOMMU gave, or EIO if it
 * unmapped less than it was asked to; what it did not unmap is still mapped and locked,
 * and can be unmapped again, all the rest is gone.
 */
GUESTMEM_API int guestmem_mapper_unmap(struct guestmem_mapper *m, uint64_t iova, uint64_t len);

/**
 * guestmem_mapper_reset - unmap all
 * @m: the mapper
 *
 * Of hardware, what this mapper has mapped; of a domain, all its mappings. As
 * guestmem_mapper_unmap().
 */
GUESTMEM_API int guestmem_mapper_reset(struct guestmem_mapper *m);

/**
 * guestmem_mapper_close - end the mapper
 * @m: the mapper, or NULL
 *
 * Of hardware, unmaps what it has mapped; what the IOMMU does not unmap keeps its DMA lock
 * as long as the guest is open. A domain keeps its mappings: guestmem_mapper_reset() ends
 * them. In a child of fork(2) it unmaps nothing. Does not change errno. No other call on @m
 * may run or follow.
 */
GUESTMEM_API void guestmem_mapper_close(struct guestmem_mapper *m);

/* -------- Look-ups ------------------------------------------------------ */

/*
 * These make no system call: they read a table that the kernel shares (if that
 * cannot be, they ask it), or the library's own. What they tell is a hint, which may be
 * old when it is looked at: guestmem_hold() keeps it. A guest of guestmem_from_ops()
 * is one region with the number 0.
 */

/**
 * guestmem_find - the region that has an address
 * @g: the handle
 * @gpa: the address
 * @region: [out] its GPAs, number, flags and generation. The address in the region is
 *	@gpa - @region->gpa
 *
 * ENXIO a hole.
 */
GUESTMEM_API int guestmem_find(struct guestmem *g, uint64_t gpa,
			       struct guestmem_table_entry *region);

/**
 * guestmem_ptr - where a range is in this process
 * @g: the handle
 * @gpa: first address; any alignment
 * @len: bytes, all in one region
 *
 * The cheapest look-up. What may be done with the pointer, and for how long, is said at
 * the slices. NULL with ENXIO if there is a hole, or more than one region
 * (guestmem_slice() spans them), EOPNOTSUPP if it is not mapped in this process.
 */
GUESTMEM_INLINE void *guestmem_ptr(struct guestmem *g, uint64_t gpa, size_t len);

/**
 * guestmem_next - the region that has an address, or else the first one above
 * @g: the handle
 * @gpa: the address
 * @region: [out] as guestmem_find()
 *
 * To see all: start with 0 and go on with @region->gpa + @region->len, until that is 0
 * or this fails. ENXIO no region at @gpa or above.
 */
GUESTMEM_API int guestmem_next(struct guestmem *g, uint64_t gpa,
			       struct guestmem_table_entry *region);

/**
 * guestmem_last - the last address of the highest region
 * @g: the handle
 * @last: [out] the address
 *
 * ENXIO there is no region.
 */
GUESTMEM_API int guestmem_last(struct guestmem *g, uint64_t *last);

/**
 * guestmem_check - is there memory in all of a range?
 * @g: the handle
 * @gpa: first address
 * @len: bytes; 0 is always fine
 * @prot: PROT_READ, PROT_WRITE or both: with what access
 *
 * Regions that are adjacent make one range. ENXIO a hole, EACCES read-only region or
 * missing right: guestmem_last_error() has the first such address.
 */
GUESTMEM_API int guestmem_check(struct guestmem *g, uint64_t gpa, uint64_t len, int prot);

/**
 * guestmem_generation - a number that grows with each change of the regions
 * @g: the handle
 *
 * As long as it is the same, everything that was told is still true. 0 if it cannot be
 * told without a system call, or is not known.
 */
GUESTMEM_API uint64_t guestmem_generation(struct guestmem *g);

/**
 * guestmem_backing - the file that memory is of, to hand to another process
 * @g: the handle
 * @gpa: the address
 * @fd: [out] the file; it belongs to the handle, and is valid until the region is
 *	removed
 * @offset: [out] where @gpa is in it
 * @len: [out] bytes there are from there to the region's end
 *
 * Of /dev/guestmem, that is the guest's own descriptor, and the offset is the GPA.
 * ENXIO a hole; EOPNOTSUPP private memory.
 */
GUESTMEM_API int guestmem_backing(struct guestmem *g, uint64_t gpa, int *fd,
				  uint64_t *offset, uint64_t *len);

/* -------- Translation and DMA locks ------------------------------------- */

/**
 * guestmem_translate - the physically contiguous pieces of a range
 * @g: the handle; needs GUESTMEM_RIGHT_TRANSLATE
 * @gpa: first address; any alignment
 * @len: bytes; not 0
 * @flags: GUESTMEM_EXTENT_HPA also gives host-physical addresses, else 0
 * @extents: [out] array, by GPA, without gaps
 * @n: its capacity; [out] extents written
 *
 * A hint, valid until the region is removed: guestmem_lock() keeps it.
 *
 * ENXIO there is a hole in the range: *@n extents before it were written; EMSGSIZE
 * the array is too small: *@n is the capacity that is needed; EPERM @flags has HPA,
 * and the file was opened without CAP_SYS_ADMIN; EACCES, EINVAL, EOVERFLOW. On all
 * other errors than ENXIO and EMSGSIZE *@n is 0.
 */
GUESTMEM_API int guestmem_translate(struct guestmem *g, uint64_t gpa, uint64_t len,
				    uint32_t flags,
				    struct guestmem_extent *extents, size_t *n);

/**
 * guestmem_translate_batch - the pieces of many ranges, in one system call
 * @g: the handle; needs GUESTMEM_RIGHT_TRANSLATE
 * @ranges: array
 * @nranges: ranges in it; not 0
 * @flags: GUESTMEM_EXTENT_HPA or 0
 * @extents: [out] the extents of the first range, then of the second, ...
 * @n: capacity; [out] extents written
 *
 * As guestmem_translate().
 */
GUESTMEM_API int guestmem_translate_batch(struct guestmem *g,
					  const struct guestmem_range *ranges,
					  size_t nranges, uint32_t flags,
					  struct guestmem_extent *extents,
					  size_t *n);

/**
 * guestmem_lock - hold a range for DMA
 * @g: the handle; needs GUESTMEM_RIGHT_LOCK, and READ or WRITE by @direction
 * @gpa: first address; any alignment
 * @len: bytes; not 0
 * @direction: GUESTMEM_DMA_TO_DEVICE, GUESTMEM_DMA_FROM_DEVICE or
 *	GUESTMEM_DMA_BIDIRECTIONAL
 * @flags: GUESTMEM_EXTENT_HPA or 0
 * @handle: [out] for guestmem_unlock()
 * @extents: [out] what is held, by GPA; NULL if it is not wanted
 * @n: capacity of @extents; [out] extents of what is held; may be NULL if @extents
 *	is
 *
 * All of the range is held, or nothing. While it is, its pages stay pinned and
 * keep their addresses, even if the region is revoked. Locks may overlap. A lock
 * belongs to the open file, not to the process.
 *
 * ENXIO a hole; EMSGSIZE the array is too small: *@n is what is needed, nothing is
 * held; EACCES no right, or FROM_DEVICE into a read-only region; ENOSPC too many
 * locks; EPERM as for guestmem_translate(); EINVAL, EOVERFLOW. Undone by
 * guestmem_unlock(), or by closing the last descriptor and mapping of the open file.
 */
GUESTMEM_API int guestmem_lock(struct guestmem *g, uint64_t gpa, uint64_t len,
			       uint32_t direction, uint32_t flags,
			       uint32_t *handle,
			       struct guestmem_extent *extents, size_t *n);

/**
 * guestmem_lock_pages - hold a list of pages for DMA
 * @g: the handle; needs GUESTMEM_RIGHT_LOCK, and READ or WRITE by @direction
 * @gpas: page-aligned addresses, in any order
 * @npages: how many; 1 to GUESTMEM_LOCK_MAX_PAGES
 * @direction: GUESTMEM_DMA_*
 * @flags: GUESTMEM_EXTENT_HPA or 0
 * @handle: [out] for guestmem_unlock()
 * @extents: [out] what is held, in the order of @gpas; NULL if it is not wanted
 * @n: as for guestmem_lock()
 *
 * As guestmem_lock().
 */
GUESTMEM_API int guestmem_lock_pages(struct guestmem *g, const uint64_t *gpas,
				     size_t npages, uint32_t direction,
				     uint32_t flags, uint32_t *handle,
				     struct guestmem_extent *extents, size_t *n);

/**
 * guestmem_unlock - end a DMA lock
 * @g: a handle of the same open file
 * @handle: from guestmem_lock() or guestmem_lock_pages()
 *
 * The device must be done with the memory. ENOENT no such lock in this file.
 */
GUESTMEM_API int guestmem_unlock(struct guestmem *g, uint32_t handle);

/**
 * struct guestmem_hold - a region that is kept, and where the range is
 * @slice: the range, in this process; at NULL if it is not mapped there
 * @region: the library's own
 * @space: likewise
 * @handle: likewise
 */
struct guestmem_hold {
	struct iovec slice;
	void *region;
	void *space;
	uint32_t handle;
};

/**
 * guestmem_hold - keep a range for as long as it is used
 * @g: the handle
 * @gpa: first address; any alignment
 * @len: bytes, not 0, all in one region
 * @hold: [out] for guestmem_release(); @hold->slice is the range
 *
 * The cheap lock: of a guest of guestmem_create(), two atomic instructions and no
 * system call. Until guestmem_release(), the region cannot be removed (EBUSY).
 * guestmem_revoke() takes it out all the same, and then waits; @hold->slice faults then.
 * Of /dev/guestmem, it is a DMA lock of both directions, or of the one there is a right
 * for; of guestmem_from_ops(), its lock.
 *
 * ENXIO a hole, or more than one region; EACCES, ENOSPC, EINVAL, EOVERFLOW as
 * guestmem_lock(). Undone by guestmem_release(), in any thread.
 */
GUESTMEM_INLINE int guestmem_hold(struct guestmem *g, uint64_t gpa, size_t len,
				  struct guestmem_hold *hold);

/**
 * guestmem_release - undo guestmem_hold()
 * @hold: from guestmem_hold(); it is emptied, and an empty one does nothing
 *
 * Before the last handle on the guest is closed.
 */
GUESTMEM_INLINE void guestmem_release(struct guestmem_hold *hold);

/**
 * guestmem_iova - the I/O address of a range, for devices without an IOMMU
 * @g: the handle of a guest of guestmem_from_ops() with GUESTMEM_OPS_IOVA
 * @gpa: first address
 * @len: bytes, all of which are checked to be in the guest
 * @iova: [out] the address
 *
 * ENXIO not in the guest; EOPNOTSUPP no such addresses are known (guestmem_lock() with
 * GUESTMEM_EXTENT_HPA tells those of /dev/guestmem).
 */
GUESTMEM_API int guestmem_iova(struct guestmem *g, uint64_t gpa, uint64_t len,
			       uint64_t *iova);

/* -------- Access -------------------------------------------------------- */

/*
 * An access goes on across adjacent regions. One that meets a hole (ENXIO), memory
 * with a hardware error (EHWPOISON) or, when it writes, a read-only region (EACCES)
 * fails; the bytes before it are done, guestmem_last_done() tells how many, and
 * guestmem_last_error() has the address. EACCES also if the file lacks the right,
 * EFAULT if @buf is not accessible, or if the memory of a region is gone (its file was
 * cut, or there was no huge page to be had). Concurrent accesses of the same bytes are
 * not ordered; accesses of 1, 2, 4 or 8 bytes that are aligned are one instruction, and
 * the functions with an order, guestmem_atomic() and guestmem_cmpxchg() are atomic.
 *
 * Where it takes a system call, reading and writing of /dev/guestmem reaches GPAs below
 * 2^63 - 1, the kernel's limit for file offsets: EOPNOTSUPP above.
 */

/**
 * guestmem_read - copy out of the guest: all, or an error
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @buf: [out] what was read; on an error, only the bytes done are written
 * @len: bytes
 */
GUESTMEM_INLINE int guestmem_read(struct guestmem *g, uint64_t gpa, void *buf,
				  size_t len);

/**
 * guestmem_write - copy into the guest: all, or an error
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: first address; any alignment
 * @buf: what to write
 * @len: bytes
 */
GUESTMEM_INLINE int guestmem_write(struct guestmem *g, uint64_t gpa, const void *buf,
				   size_t len);

/*
 * Objects: guestmem_read8(), 16, 32 and 64, and guestmem_write8() to 64, are one
 * instruction each, of any alignment; if it is natural, they are atomic (relaxed). With
 * le or be before the width (guestmem_read_le16()), the value is of that byte order in
 * the guest. They are never left out, put together or done twice, as a device's
 * registers ask for, unless they fault. Objects of other sizes are for guestmem_read()
 * and guestmem_write().
 */
GUESTMEM_INLINE int guestmem_read8(struct guestmem *g, uint64_t gpa, uint8_t *value);
GUESTMEM_INLINE int guestmem_read16(struct guestmem *g, uint64_t gpa, uint16_t *value);
GUESTMEM_INLINE int guestmem_read32(struct guestmem *g, uint64_t gpa, uint32_t *value);
GUESTMEM_INLINE int guestmem_read64(struct guestmem *g, uint64_t gpa, uint64_t *value);
GUESTMEM_INLINE int guestmem_write8(struct guestmem *g, uint64_t gpa, uint8_t value);
GUESTMEM_INLINE int guestmem_write16(struct guestmem *g, uint64_t gpa, uint16_t value);
GUESTMEM_INLINE int guestmem_write32(struct guestmem *g, uint64_t gpa, uint32_t value);
GUESTMEM_INLINE int guestmem_write64(struct guestmem *g, uint64_t gpa, uint64_t value);

GUESTMEM_INLINE int guestmem_read_le16(struct guestmem *g, uint64_t gpa, uint16_t *value);
GUESTMEM_INLINE int guestmem_read_le32(struct guestmem *g, uint64_t gpa, uint32_t *value);
GUESTMEM_INLINE int guestmem_read_le64(struct guestmem *g, uint64_t gpa, uint64_t *value);
GUESTMEM_INLINE int guestmem_read_be16(struct guestmem *g, uint64_t gpa, uint16_t *value);
GUESTMEM_INLINE int guestmem_read_be32(struct guestmem *g, uint64_t gpa, uint32_t *value);
GUESTMEM_INLINE int guestmem_read_be64(struct guestmem *g, uint64_t gpa, uint64_t *value);
GUESTMEM_INLINE int guestmem_write_le16(struct guestmem *g, uint64_t gpa, uint16_t value);
GUESTMEM_INLINE int guestmem_write_le32(struct guestmem *g, uint64_t gpa, uint32_t value);
GUESTMEM_INLINE int guestmem_write_le64(struct guestmem *g, uint64_t gpa, uint64_t value);
GUESTMEM_INLINE int guestmem_write_be16(struct guestmem *g, uint64_t gpa, uint16_t value);
GUESTMEM_INLINE int guestmem_write_be32(struct guestmem *g, uint64_t gpa, uint32_t value);
GUESTMEM_INLINE int guestmem_write_be64(struct guestmem *g, uint64_t gpa, uint64_t value);

/**
 * guestmem_read_some - copy out of the guest, up to the first hole
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @buf: [out] what was read
 * @len: bytes; at most SSIZE_MAX are read
 *
 * Returns the bytes read: @len, or fewer if it stopped before what
 * guestmem_read() would fail for. If that is the first byte already, the negative
 * errno value.
 */
GUESTMEM_API ssize_t guestmem_read_some(struct guestmem *g, uint64_t gpa, void *buf,
					size_t len);

/**
 * guestmem_write_some - copy into the guest, up to the first hole
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: first address; any alignment
 * @buf: what to write
 * @len: bytes; at most SSIZE_MAX are written
 *
 * Returns the bytes written, as guestmem_read_some().
 */
GUESTMEM_API ssize_t guestmem_write_some(struct guestmem *g, uint64_t gpa,
					 const void *buf, size_t len);

/**
 * guestmem_read_from - read from a file into the guest: all, or an error
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: first address; any alignment
 * @fd: what to read from, as read(2); not O_DIRECT with /dev/guestmem
 * @offset: where in the file, and moved on by what was read; NULL for, and moving,
 *	the file's own position
 * @len: bytes
 *
 * Straight into the memory, without a buffer between. ENODATA the file ended before;
 * what else read(2) gives; EOPNOTSUPP it is not mapped in this process, or bitmaps guard
 * it. Bytes that a failed read(2) has changed count as written, for
 * the dirty pages, and not as done.
 */
GUESTMEM_API int guestmem_read_from(struct guestmem *g, uint64_t gpa, int fd,
				    uint64_t *offset, size_t len);

/**
 * guestmem_write_to - write from the guest to a file: all, or an error
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @fd: what to write to, as write(2)
 * @offset: as guestmem_read_from()
 * @len: bytes
 */
GUESTMEM_API int guestmem_write_to(struct guestmem *g, uint64_t gpa, int fd,
				   uint64_t *offset, size_t len);

/**
 * guestmem_read_from_some - read from a file into the guest, up to the first hole
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: first address; any alignment
 * @fd: what to read from
 * @offset: as guestmem_read_from()
 * @len: bytes; at most SSIZE_MAX are read
 *
 * One read(2): returns what it gave, which may be less than @len for its own reasons;
 * 0 at the end of the file. The negative errno value if nothing was read.
 */
GUESTMEM_API ssize_t guestmem_read_from_some(struct guestmem *g, uint64_t gpa, int fd,
					     uint64_t *offset, size_t len);

/**
 * guestmem_write_to_some - write from the guest to a file, up to the first hole
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @fd: what to write to
 * @offset: as guestmem_read_from()
 * @len: bytes; at most SSIZE_MAX are written
 *
 * One write(2), as guestmem_read_from_some().
 */
GUESTMEM_API ssize_t guestmem_write_to_some(struct guestmem *g, uint64_t gpa, int fd,
					    uint64_t *offset, size_t len);

/**
 * guestmem_is_zero - is all of a range zero?
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @len: bytes
 *
 * Returns 1 if it is (or @len is 0), 0 if not.
 */
GUESTMEM_API int guestmem_is_zero(struct guestmem *g, uint64_t gpa, uint64_t len);

/**
 * guestmem_compare - compare a range with a buffer
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @buf: what it may be the same as
 * @len: bytes
 * @same: [out] bytes from the start that are the same: @len if all are
 *
 * Each byte is read once, and all of them not at one time.
 */
GUESTMEM_API int guestmem_compare(struct guestmem *g, uint64_t gpa, const void *buf,
				  size_t len, size_t *same);

/**
 * guestmem_fill - set each byte of a range
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: first address; any alignment
 * @len: bytes
 * @value: for each byte
 *
 * EINTR a fatal signal came.
 */
GUESTMEM_API int guestmem_fill(struct guestmem *g, uint64_t gpa, uint64_t len,
			       uint8_t value);

/**
 * guestmem_copy - copy from guest memory to guest memory
 * @g: the handle; needs GUESTMEM_RIGHT_READ and GUESTMEM_RIGHT_WRITE
 * @dst: first address to copy to; any alignment
 * @src: first address to copy from; any alignment
 * @len: bytes
 *
 * EINVAL the ranges overlap; EINTR a fatal signal came.
 */
GUESTMEM_API int guestmem_copy(struct guestmem *g, uint64_t dst, uint64_t src,
			       uint64_t len);

/**
 * guestmem_cmpxchg - replace a value if it is the expected one, atomically
 * @g: the handle; needs GUESTMEM_RIGHT_READ and GUESTMEM_RIGHT_WRITE
 * @gpa: address; a multiple of @width
 * @expected: @width bytes as they are in memory; [out] what was there
 * @desired: @width bytes; may be the same as @expected
 * @width: 1, 2, 4, 8, or 16 where guestmem_info.features has ATOMIC16
 *
 * Sequentially consistent, also against CPUs of the guest.
 *
 * Returns 1 if it was replaced, 0 if not: *@expected is what was there, which is
 * then not what was expected. EINVAL no such width, or misaligned; EOPNOTSUPP 16
 * bytes are not possible here; ENXIO, EACCES, EHWPOISON; nothing was changed then,
 * *@expected neither.
 */
GUESTMEM_API int guestmem_cmpxchg(struct guestmem *g, uint64_t gpa, void *expected,
				  const void *desired, size_t width);

/**
 * guestmem_atomic - one atomic read-modify-write
 * @g: the handle; needs GUESTMEM_RIGHT_READ and GUESTMEM_RIGHT_WRITE
 * @gpa: address; a multiple of @width
 * @op: GUESTMEM_ATOMIC_XCHG, ADD, AND, OR or XOR
 * @operand: @width bytes as they are in memory
 * @old: [out] @width bytes, what was there; may be NULL, or the same as @operand
 * @width: 1, 2, 4, 8, or 16 where guestmem_info.features has ATOMIC16
 *
 * Sequentially consistent, also against CPUs of the guest. ADD wraps. Errors as
 * for guestmem_cmpxchg(), and EINVAL for GUESTMEM_ATOMIC_CMPXCHG, EOPNOTSUPP for an
 * unknown @op.
 */
GUESTMEM_API int guestmem_atomic(struct guestmem *g, uint64_t gpa, uint32_t op,
				 const void *operand, void *old, size_t width);

/**
 * guestmem_load - read a value, atomically
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: address; a multiple of @width
 * @value: [out] @width bytes as they are in memory
 * @width: 1, 2, 4 or 8
 * @order: __ATOMIC_RELAXED, __ATOMIC_ACQUIRE or __ATOMIC_SEQ_CST
 *
 * EINVAL no such width or order, or misaligned.
 */
GUESTMEM_API int guestmem_load(struct guestmem *g, uint64_t gpa, void *value, size_t width,
			       int order);

/**
 * guestmem_store - write a value, atomically
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: address; a multiple of @width
 * @value: @width bytes as they are in memory
 * @width: 1, 2, 4 or 8
 * @order: __ATOMIC_RELAXED, __ATOMIC_RELEASE or __ATOMIC_SEQ_CST. A device's doorbell
 *	is one of SEQ_CST: what was written before it is seen before it, and no read
 *	comes before it
 *
 * EINVAL no such width or order, or misaligned.
 */
GUESTMEM_API int guestmem_store(struct guestmem *g, uint64_t gpa, const void *value,
				size_t width, int order);

/* -------- Slices -------------------------------------------------------- */

/*
 * A slice is a struct iovec: where a range of the guest is in this process, for
 * readv(2), writev(2), io_uring or plain loads and stores. It is not checked any more:
 * a program that touches one whose region has been removed, or a page that is not
 * there, gets SIGBUS or SIGSEGV. Between a guestmem_generation() before it was taken and
 * the same one after it was used, or under a guestmem_hold(), it was good. What is
 * written through it is not seen as dirty: say it by guestmem_dirty_mark().
 *
 * Regions that are adjacent make one slice.
 */

/**
 * guestmem_slice - one range, in one piece
 * @g: the handle
 * @gpa: first address; any alignment
 * @len: bytes
 * @prot: PROT_READ, PROT_WRITE or both: what will be done with it
 * @slice: [out] where it is
 *
 * ENXIO a hole, EACCES read-only: guestmem_last_error() has the first such address;
 * EOPNOTSUPP it is not mapped in this process.
 */
GUESTMEM_API int guestmem_slice(struct guestmem *g, uint64_t gpa, size_t len, int prot,
				struct iovec *slice);

/**
 * guestmem_slices - the slices of many ranges, in turn
 * @g: the handle
 * @ranges: array
 * @nranges: ranges in it
 * @prot: as guestmem_slice()
 * @slices: [out] array
 * @n: its capacity; [out] slices written
 *
 * A range whose slice follows that of the one before is put to it. EMSGSIZE the array
 * is too small: *@n is the capacity that is needed; else as guestmem_slice(), with *@n 0.
 */
GUESTMEM_API int guestmem_slices(struct guestmem *g, const struct guestmem_range *ranges,
				 size_t nranges, int prot, struct iovec *slices, size_t *n);

/**
 * struct guestmem_iter - how far a walk over a range has come
 * @gpa: where the next slice starts
 * @len: bytes that are left
 * @prot: as guestmem_slice()
 */
struct guestmem_iter {
	uint64_t gpa;
	uint64_t len;
	int prot;
};

/**
 * guestmem_iter_next - the next slice of a range: what is there up to a hole
 * @g: the handle
 * @iter: filled in by the caller at first; moved on
 * @slice: [out] the slice
 *
 * Returns 1, or 0 at the end. ENXIO, EACCES @iter->gpa is what is not there: go on
 * behind it (see guestmem_next()), or end.
 */
GUESTMEM_API int guestmem_iter_next(struct guestmem *g, struct guestmem_iter *iter,
				    struct iovec *slice);

/**
 * guestmem_subslice - a part of a slice
 * @slice: the slice
 * @offset: first byte
 * @len: bytes
 * @part: [out] the part; may be @slice
 *
 * EOVERFLOW it is not all in @slice.
 */
GUESTMEM_API int guestmem_subslice(const struct iovec *slice, size_t offset, size_t len,
				   struct iovec *part);

/**
 * guestmem_slice_copy - copy from slice to slice
 * @dst: where to; may overlap @src
 * @src: where from
 *
 * Copies as much as the shorter one has, and returns how much that was. It recovers
 * from faults, as all accesses of the library: EFAULT one of the two is not accessible
 * any more; guestmem_last_done() bytes before it are done, unless they overlap.
 */
GUESTMEM_API ssize_t guestmem_slice_copy(const struct iovec *dst, const struct iovec *src);

/* -------- Lists of pages ------------------------------------------------ */

#define GUESTMEM_PAGED_SIZE	4096	/* of the pages that are numbered */

/**
 * struct guestmem_paged - a buffer of guest pages that need not be adjacent
 * @gpns: numbers of guest pages: GPA / GUESTMEM_PAGED_SIZE; the caller's
 * @npages: how many; just those that the buffer touches
 * @offset: where in the first page it starts
 * @len: bytes
 */
struct guestmem_paged {
	const uint64_t *gpns;
	size_t npages;
	size_t offset;
	size_t len;
};

/**
 * guestmem_paged_init - name a buffer of pages
 * @paged: [out] the buffer
 * @gpns: numbers of guest pages; must stay as long as @paged is used
 * @npages: how many
 * @offset: where it starts, from the start of the first page on
 * @len: bytes
 *
 * EOVERFLOW it does not lie in the pages; EINVAL a page number of 2^52 or more among
 * those it touches.
 */
GUESTMEM_API int guestmem_paged_init(struct guestmem_paged *paged, const uint64_t *gpns,
				     size_t npages, size_t offset, size_t len);

/**
 * guestmem_paged_sub - a part of the buffer; to split one, take two
 * @paged: the buffer
 * @offset: first byte of it
 * @len: bytes
 * @part: [out] the part; may be @paged
 *
 * EOVERFLOW it is not all in @paged.
 */
GUESTMEM_API int guestmem_paged_sub(const struct guestmem_paged *paged, size_t offset,
				    size_t len, struct guestmem_paged *part);

/**
 * guestmem_paged_next - take the first range of adjacent pages from a buffer
 * @paged: the buffer; what is taken is taken from its start
 * @range: [out] the range
 *
 * Returns 1, or 0 when the buffer is empty.
 */
GUESTMEM_API int guestmem_paged_next(struct guestmem_paged *paged,
				     struct guestmem_range *range);

/**
 * guestmem_paged_read - copy out of the buffer: all, or an error
 * @g: the handle
 * @paged: the buffer
 * @buf: [out] @paged->len bytes
 */
GUESTMEM_API int guestmem_paged_read(struct guestmem *g, const struct guestmem_paged *paged,
				     void *buf);

/**
 * guestmem_paged_write - copy into the buffer: all, or an error
 * @g: the handle
 * @paged: the buffer
 * @buf: @paged->len bytes
 */
GUESTMEM_API int guestmem_paged_write(struct guestmem *g, const struct guestmem_paged *paged,
				      const void *buf);

/**
 * guestmem_paged_fill - set each byte of the buffer
 * @g: the handle
 * @paged: the buffer
 * @value: for each byte
 */
GUESTMEM_API int guestmem_paged_fill(struct guestmem *g, const struct guestmem_paged *paged,
				     uint8_t value);

/**
 * guestmem_paged_lock - guestmem_lock_pages() of the buffer's pages
 * @g: the handle
 * @paged: the buffer
 * @direction: GUESTMEM_DMA_*
 * @handle: [out] for guestmem_unlock()
 */
GUESTMEM_API int guestmem_paged_lock(struct guestmem *g, const struct guestmem_paged *paged,
				     uint32_t direction, uint32_t *handle);

/* -------- Dirty pages --------------------------------------------------- */

/*
 * What the library writes, by any of its functions and in any thread of this process,
 * can be noted in a bitmap. What others write (the guest, devices, programs through
 * slices) cannot: see guestmem_dirty_mark(). A bit is set after what was written, also
 * by a write that failed, for what it may have changed. To copy a guest that runs: take
 * the bits, then copy, until there are few; stop who writes; take and copy once more.
 */

/**
 * guestmem_dirty_start - begin to note what is written, with nothing noted
 * @g: the handle; all handles of the guest share the bitmap
 * @granule: bytes that a bit stands for: a power of two, from 64 to 2^30
 *
 * Writes that begin when it has returned are noted. The bitmap takes len / granule / 8
 * bytes of memory where bits are set.
 *
 * EBUSY it has been started; EOPNOTSUPP the kernel has no membarrier(2), or the guest
 * no window; ENOMEM. Undone by guestmem_dirty_stop().
 */
GUESTMEM_API int guestmem_dirty_start(struct guestmem *g, uint64_t granule);

/**
 * guestmem_dirty_stop - note no more, and forget
 * @g: the handle
 *
 * ENOENT it was not started.
 */
GUESTMEM_API int guestmem_dirty_stop(struct guestmem *g);

/**
 * guestmem_dirty_mark - note that a range was written by other means
 * @g: the handle
 * @gpa: first address
 * @len: bytes; what is not in the guest is left out
 *
 * After it was written. Does nothing while nothing is noted.
 */
GUESTMEM_API void guestmem_dirty_mark(struct guestmem *g, uint64_t gpa, uint64_t len);

/**
 * guestmem_dirty_peek - what was written
 * @g: the handle
 * @gpa: first address; any alignment
 * @len: bytes
 * @bitmap: [out] bit 0 of the first word is the granule that has @gpa
 * @nwords: words there are; as many as the bits take
 *
 * Returns how many bits are set. EMSGSIZE @nwords is too small: guestmem_last_error()
 * has what is needed; ENOENT not started; ENXIO not all in the window.
 */
GUESTMEM_API ssize_t guestmem_dirty_peek(struct guestmem *g, uint64_t gpa, uint64_t len,
					 uint64_t *bitmap, size_t nwords);

/**
 * guestmem_dirty_take - what was written, to start anew
 * @g: the handle
 * @gpa: first address; any alignment
 * @len: bytes; if it does not end where a granule does, all of the granule is taken
 * @bitmap: [out] as guestmem_dirty_peek()
 * @nwords: as guestmem_dirty_peek()
 *
 * As guestmem_dirty_peek(), and the bits are cleared. What is read when it has returned
 * is as new as the bits, or newer and noted again. Each bit is given to one caller.
 */
GUESTMEM_API ssize_t guestmem_dirty_take(struct guestmem *g, uint64_t gpa, uint64_t len,
					 uint64_t *bitmap, size_t nwords);

/* -------- Housekeeping -------------------------------------------------- */

/*
 * Of memory that is mapped in this process, without holes (ENXIO), in whole pages
 * (EINVAL) where pages are what it is about. Memory of /dev/guestmem is pinned, and not
 * this process's to manage: EOPNOTSUPP, but for guestmem_flush(). What madvise(2),
 * mlock2(2), msync(2) and mbind(2) give is given too. Semantics as crosvm's
 * MemoryMapping.
 */

/**
 * guestmem_msync - write what was changed back to the file, and wait
 * @g: the handle
 * @gpa: first address
 * @len: bytes
 */
GUESTMEM_API int guestmem_msync(struct guestmem *g, uint64_t gpa, uint64_t len);

/**
 * guestmem_prefetch - begin to bring pages in (MADV_WILLNEED)
 * @g: the handle
 * @gpa: first address
 * @len: bytes
 */
GUESTMEM_API int guestmem_prefetch(struct guestmem *g, uint64_t gpa, uint64_t len);

/**
 * guestmem_drop - let go of pages (MADV_DONTNEED)
 * @g: the handle
 * @gpa: first address
 * @len: bytes
 *
 * Those of a file come back from it; private ones are zero then. EBUSY some are private, and
 * held by DMA locks of guestmem_create()'s guest: then none is let go of. See
 * guestmem_discard().
 */
GUESTMEM_API int guestmem_drop(struct guestmem *g, uint64_t gpa, uint64_t len);

/**
 * guestmem_discard - free pages: all who map them read zeros
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: first address
 * @len: bytes
 *
 * A hole is made in the file (MADV_REMOVE); private pages are dropped. EBUSY DMA locks of
 * guestmem_create()'s guest hold some, as guestmem_mapper_map() does for a device, which would
 * go on using the old ones: then none is freed. What is locked while this runs, locked by
 * another handle's guest with the same file in it, by other addresses of it, or by the guest of
 * guestmem_from_ops(), is not seen: unmap it for the device first.
 */
GUESTMEM_API int guestmem_discard(struct guestmem *g, uint64_t gpa, uint64_t len);

#define GUESTMEM_MLOCK_ONFAULT	(1U << 0)	/* each page when it is touched */

/**
 * guestmem_mlock - keep pages from being swapped out
 * @g: the handle
 * @gpa: first address
 * @len: bytes
 * @flags: GUESTMEM_MLOCK_ONFAULT, or 0 to bring them in now
 *
 * Calls do not nest: one guestmem_munlock() undoes all.
 */
GUESTMEM_API int guestmem_mlock(struct guestmem *g, uint64_t gpa, uint64_t len,
				uint32_t flags);

/**
 * guestmem_mlock_all - guestmem_mlock() of each region there is
 * @g: the handle
 * @flags: as guestmem_mlock()
 *
 * Ends at the first region that fails; those before stay locked. EOPNOTSUPP as above, also
 * if there is no region.
 */
GUESTMEM_API int guestmem_mlock_all(struct guestmem *g, uint32_t flags);

/**
 * guestmem_munlock - undo guestmem_mlock()
 * @g: the handle
 * @gpa: first address
 * @len: bytes
 */
GUESTMEM_API int guestmem_munlock(struct guestmem *g, uint64_t gpa, uint64_t len);

/**
 * guestmem_huge - use huge pages, or do not
 * @g: the handle
 * @gpa: first address
 * @len: bytes
 * @on: MADV_HUGEPAGE if it is not 0, MADV_NOHUGEPAGE if it is
 */
GUESTMEM_API int guestmem_huge(struct guestmem *g, uint64_t gpa, uint64_t len, int on);

/**
 * guestmem_numa - from which NUMA nodes pages are taken
 * @g: the handle
 * @gpa: first address
 * @len: bytes
 * @mode: MPOL_*, as mbind(2)
 * @nodes: bit n of word n / 64 is node n; NULL with MPOL_DEFAULT
 * @nnodes: bits in @nodes
 *
 * Pages that are there stay where they are.
 */
GUESTMEM_API int guestmem_numa(struct guestmem *g, uint64_t gpa, uint64_t len, int mode,
			       const uint64_t *nodes, unsigned int nnodes);

/**
 * guestmem_flush - write back and drop the CPU caches' lines of a range
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @len: bytes
 *
 * For devices that do not snoop. Every line that the range touches (x86 CLFLUSH, arm64
 * DC CIVAC), and a barrier after the last one. Recovers from faults: EFAULT, with
 * guestmem_last_done() bytes done.
 */
GUESTMEM_API int guestmem_flush(struct guestmem *g, uint64_t gpa, uint64_t len);

/* -------- Mappings ------------------------------------------------------ */

/**
 * guestmem_map - map a range of the guest into this process
 * @g: the handle; needs GUESTMEM_RIGHT_MAP, READ and, to write, WRITE
 * @gpa: first address; any alignment, whole pages are mapped
 * @len: bytes; not 0
 * @prot: PROT_READ, PROT_READ | PROT_WRITE or PROT_NONE
 *
 * The range may span regions and holes, and regions may come and go: touching a
 * page where there is none, a revoked one, or writing to a read-only one, gives
 * SIGBUS (guestmem_read() an error instead). The mapping is not inherited by
 * fork(2), and cannot be a buffer of O_DIRECT or io_uring fixed I/O.
 *
 * Returns where @gpa is. EACCES no right; EOPNOTSUPP @gpa + @len is more than
 * 2^63; EINVAL @len is 0; ENOMEM. Undone by guestmem_unmap().
 */
GUESTMEM_API void *guestmem_map(struct guestmem *g, uint64_t gpa, size_t len,
				int prot);

/**
 * guestmem_unmap - undo guestmem_map()
 * @ptr: what it returned; NULL does nothing
 * @len: as it was given
 *
 * Needs no handle. EINVAL @len is 0, or the two cannot be of a mapping.
 */
GUESTMEM_API int guestmem_unmap(void *ptr, size_t len);

#include <guestmem-inline.h>

#ifdef __cplusplus
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif
}
#endif

#endif /* LIBGUESTMEM_H */
