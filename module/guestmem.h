/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guestmem for other kernel drivers: DMA to and from a guest's memory, and access
 * to it by guest-physical address.
 *
 * A driver is given a file descriptor of /dev/guestmem by its user, and makes
 * itself a client of that guest with guestmem_client_get(). For DMA it locks a
 * range and maps it for its device:
 *
 *	client = guestmem_client_get(fd, &my_ops, my);
 *	lock = guestmem_lock(client, gpa, len, DMA_FROM_DEVICE);
 *	guestmem_dma_map(lock, dev, &sgt);
 *	dma_sync_sgtable_for_device(dev, &sgt, DMA_FROM_DEVICE);
 *	... the device writes to sgt's addresses ...
 *	dma_sync_sgtable_for_cpu(dev, &sgt, DMA_FROM_DEVICE);
 *	guestmem_dma_unmap(lock, dev, &sgt);
 *	guestmem_unlock(lock);
 *	guestmem_client_put(client);
 *
 * A lock keeps its pages where they are, whatever the owner does. What the owner
 * can do is revoke them; the client is asked then to stop (&guestmem_client_ops).
 *
 * Memory may stay mapped for many transfers; each is put between the two syncs.
 *
 * All functions may sleep and must be called in process context. None may be
 * called with mmap_lock or dma_resv held, from an MMU notifier, or under a lock that
 * is also taken under mmap_lock or in an MMU notifier. They may be
 * called from any thread, also while others use the same client; two calls about
 * the same lock must not overlap, but for ops->revoke().
 *
 * All addresses and lengths are in bytes, of any alignment unless said otherwise.
 * Exports are in the namespace GUESTMEM: MODULE_IMPORT_NS(GUESTMEM_NS).
 */
#ifndef _GUESTMEM_H
#define _GUESTMEM_H

#include <linux/dma-direction.h>
#include <linux/scatterlist.h>
#include <linux/types.h>
#include <linux/version.h>

/* For MODULE_IMPORT_NS(): a name up to Linux 6.12, then a string. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define GUESTMEM_NS GUESTMEM
#else
#define GUESTMEM_NS "GUESTMEM"
#endif

struct device;
struct guestmem_client;
struct guestmem_dma_lock;

/**
 * struct guestmem_client_ops - what a client must be able to do
 * @revoke: Stop using the memory of @lock. When it returns, the device must not
 *	access the memory any more, and guestmem_dma_unmap() must have been called
 *	if it was mapped. The client still owns @lock, and calls guestmem_unlock()
 *	in here or at any time later; until then the pages stay pinned, and an
 *	owner who waits for them goes on waiting. Called at
 *	most once for a lock, in process context, with no lock of guestmem's held.
 *	It may sleep, but should be quick: the owner waits.
 *
 *	It may come while another thread of the client is still in guestmem_lock():
 *	then it must not unlock, which may only be done with what guestmem_lock() has
 *	returned. Or that thread is on its way to guestmem_dma_map(), or about to call
 *	guestmem_unlock(); @lock is valid until @revoke returns. So a client holds a
 *	lock of its own over guestmem_dma_map() and the noting of it, takes the same
 *	one in @revoke, and may find that it has nothing to stop: mapping a revoked
 *	lock fails with -ESTALE.
 */
struct guestmem_client_ops {
	void (*revoke)(void *priv, struct guestmem_dma_lock *lock);
};

struct guestmem_client *guestmem_client_get(int fd, const struct guestmem_client_ops *ops,
					    void *priv);
void guestmem_client_put(struct guestmem_client *client);

struct guestmem_dma_lock *guestmem_lock(struct guestmem_client *client, u64 gpa, u64 len,
					enum dma_data_direction dir);
void guestmem_unlock(struct guestmem_dma_lock *lock);

int guestmem_sg_alloc(struct guestmem_dma_lock *lock, struct sg_table *sgt,
		      unsigned int max_segment, gfp_t gfp);
int guestmem_dma_map(struct guestmem_dma_lock *lock, struct device *dev, struct sg_table *sgt);
void guestmem_dma_unmap(struct guestmem_dma_lock *lock, struct device *dev, struct sg_table *sgt);

int guestmem_read(struct guestmem_client *client, u64 gpa, void *buf, size_t len);
int guestmem_write(struct guestmem_client *client, u64 gpa, const void *buf, size_t len);
int guestmem_fill(struct guestmem_client *client, u64 gpa, u8 value, u64 len);
int guestmem_cmpxchg(struct guestmem_client *client, u64 gpa, void *old, const void *new,
		     unsigned int width);

#endif /* _GUESTMEM_H */
