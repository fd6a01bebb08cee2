/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * libguestmem: the memory of a virtual machine by guest-physical address (GPA).
 *
 * A handle (struct guestmem) stands for one guest: one open /dev/guestmem. The
 * structs, flags and limits are those of the kernel, in <linux/guestmem.h>.
 *
 * Errors. A function that gives an int or ssize_t gives 0 or a count, or a
 * negative errno value, and sets errno to the same (positive) value. A function
 * that gives a pointer gives NULL and sets errno. What each errno means is tabled
 * in <linux/guestmem.h>. guestmem_strerror() gives the sentence for a person,
 * guestmem_last_error() the figures for a program. A NULL handle or a NULL
 * pointer that is needed is EINVAL. Unless its own text says otherwise, a function
 * that fails has changed nothing.
 *
 * Addresses and lengths are in bytes. A range may end at 2^64 - 1; one that would
 * end later is EOVERFLOW. Access of length 0 succeeds and touches nothing.
 *
 * Threads. All functions can be called on the same handle by any number of threads
 * at the same time, but for guestmem_close(), which must be the last. The last
 * error is each thread's own. Nothing here is safe in a signal handler.
 *
 * fork(2). A child shares the open file: its regions, its locks and its events are
 * the same ones. Mappings are not inherited.
 *
 * C++. A function and a kernel struct may share a name (guestmem_info): write
 * "struct guestmem_info" where the struct is meant.
 */
#ifndef LIBGUESTMEM_H
#define LIBGUESTMEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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

#if defined(__GNUC__)
#define GUESTMEM_API	__attribute__((visibility("default")))
#else
#define GUESTMEM_API
#endif

#define GUESTMEM_DEVICE	"/dev/guestmem"

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
 * If the calling thread's last failure was one of guestmem_read(),
 * guestmem_write(), guestmem_fill() or guestmem_copy(): the number of bytes, from
 * the start, that were moved before it failed. Else 0.
 */
GUESTMEM_API uint64_t guestmem_last_done(void);

/**
 * guestmem_version - the version of the library that runs, such as "0.1.0"
 */
GUESTMEM_API const char *guestmem_version(void);

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
 * @fd: a descriptor of /dev/guestmem; it stays the caller's, and can be closed
 *	at once: the handle has a duplicate of its own (O_CLOEXEC)
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
 * guestmem_close - end the handle
 * @g: the handle, or NULL
 *
 * Closes the handle's descriptor. Mappings by guestmem_map() stay usable until
 * they are unmapped. With the last descriptor and mapping of the open file its DMA
 * locks end; with the last open file of the guest its regions are unpinned. Does
 * not change errno. No other call on @g may run or follow.
 */
GUESTMEM_API void guestmem_close(struct guestmem *g);

/**
 * guestmem_fd - the handle's descriptor, for poll(2), SCM_RIGHTS or ioctl(2)
 * @g: the handle
 *
 * It belongs to the handle: do not close it. EINVAL if @g is NULL.
 */
GUESTMEM_API int guestmem_fd(const struct guestmem *g);

/**
 * guestmem_info - what the kernel tells of the guest and of this open file
 * @g: the handle
 * @info: @info->size must be sizeof(struct guestmem_info), and @info->flags
 *	GUESTMEM_INFO_TAKE_EVENTS or 0; the rest is filled in
 *
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
 * EEXIST overlaps a region; ENOMEM memory or memlock limit; EFAULT not accessible
 * (or read-only and @flags does not say so); EOPNOTSUPP memory that cannot be
 * pinned; EACCES no right; EINVAL, EOVERFLOW, ENOSPC, EHWPOISON. Nothing is pinned,
 * charged or changed then. Undone by guestmem_remove() or guestmem_revoke().
 */
GUESTMEM_API int guestmem_add_user(struct guestmem *g, uint64_t gpa, uint64_t len,
				   void *addr, uint32_t flags, uint32_t *id);

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
 * for what is needed; EINVAL the file is too short; EOPNOTSUPP another kind of
 * file.
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
 * there. EBUSY DMA locks hold it; ENOENT no such region; EACCES.
 */
GUESTMEM_API int guestmem_remove(struct guestmem *g, uint32_t id);

/**
 * guestmem_revoke - take a region out of the guest, whoever uses it
 * @g: the handle; needs GUESTMEM_RIGHT_MANAGE
 * @id: the region
 * @timeout_ms: how long to wait for DMA locks to be released, in milliseconds; 0
 *	does not wait; GUESTMEM_REMOVE_WAIT_FOREVER
 * @nlocks: [out] DMA locks that still hold the pages; may be NULL
 *
 * When it returns 0, ETIMEDOUT or EINTR, no access by any file or mapping reaches
 * the region any more, its addresses are free, and in-kernel drivers have stopped
 * their devices. It must then not be called again for this @id (ENOENT). The pages
 * stay pinned, and charged, until the last DMA lock is released.
 *
 * ETIMEDOUT revoked, but @nlocks locks are left; EINTR the same, since a signal
 * came; ENOENT no such region, EACCES no right: nothing was changed.
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
 * One consistent snapshot, which may be old when it is looked at. ENOMEM.
 */
GUESTMEM_API int guestmem_regions(struct guestmem *g,
				  struct guestmem_region **regions, size_t *n);

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

/* -------- Access -------------------------------------------------------- */

/*
 * An access goes on across adjacent regions. One that meets a hole (ENXIO), memory
 * with a hardware error (EHWPOISON) or, when it writes, a read-only region (EACCES)
 * fails; the bytes before it are done, guestmem_last_done() tells how many, and
 * guestmem_last_error() has the address. EACCES also if the file lacks the right,
 * EFAULT if @buf is not accessible. Concurrent accesses of the same bytes are not
 * ordered; only guestmem_atomic() and guestmem_cmpxchg() are atomic.
 *
 * read and write reach GPAs below 2^63 - 1, the kernel's limit for file offsets:
 * EOPNOTSUPP above. The others reach all.
 */

/**
 * guestmem_read - copy out of the guest: all, or an error
 * @g: the handle; needs GUESTMEM_RIGHT_READ
 * @gpa: first address; any alignment
 * @buf: [out] what was read; on an error, only the bytes done are written
 * @len: bytes
 */
GUESTMEM_API int guestmem_read(struct guestmem *g, uint64_t gpa, void *buf,
			       size_t len);

/**
 * guestmem_write - copy into the guest: all, or an error
 * @g: the handle; needs GUESTMEM_RIGHT_WRITE
 * @gpa: first address; any alignment
 * @buf: what to write
 * @len: bytes
 */
GUESTMEM_API int guestmem_write(struct guestmem *g, uint64_t gpa, const void *buf,
				size_t len);

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

#ifdef __cplusplus
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif
}
#endif

#endif /* LIBGUESTMEM_H */
