// SPDX-License-Identifier: GPL-2.0-only
/*
 * The API for other kernel drivers; guestmem.h tells the story.
 *
 * A client holds the view, not the file that it came by: when the user closes
 * that, the user's locks end and the driver's do not. What the driver locked stays
 * pinned until the driver lets go, whoever else has gone.
 *
 * Pages must not be given back while a device can reach them, so a driver that
 * breaks the order (unlock before unmap, put before unlock) is told so in the log,
 * and what it still holds is leaked rather than freed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/slab.h>

#include "guestmem_private.h"

/**
 * guestmem_client_get - become a client of a guest
 * @fd: descriptor of /dev/guestmem in the calling process
 * @ops: what to call; must stay valid until guestmem_client_put()
 * @priv: for @ops
 *
 * The client sees what the open file shows, and may do what that may: addresses are the
 * file's (see GUESTMEM_VIEW_CREATE). It keeps the guest, but not the file, alive. Undone
 * by guestmem_client_put().
 *
 * Context: process context of the process whose @fd it is; may sleep.
 * Return: the client, or an ERR_PTR: -EBADF no such descriptor; -EINVAL not of
 * /dev/guestmem, or no ops->revoke; -ENOMEM.
 */
struct guestmem_client *guestmem_client_get(int fd, const struct guestmem_client_ops *ops,
					    void *priv)
{
	struct guestmem_client *client;
	struct gm_file *gm_file;
	struct file *file;

	if (!ops || !ops->revoke)
		return ERR_PTR(-EINVAL);
	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);
	client = ERR_PTR(-EINVAL);
	if (file->f_op != &gm_fops)
		goto out_fput;
	client = kzalloc(sizeof(*client), GFP_KERNEL_ACCOUNT);
	if (!client) {
		client = ERR_PTR(-ENOMEM);
		goto out_fput;
	}
	gm_file = file->private_data;
	client->view = gm_file->view;
	client->ops = ops;
	client->priv = priv;
	gm_view_get(client->view);
out_fput:
	fput(file);
	return client;
}
EXPORT_SYMBOL_NS_GPL(guestmem_client_get, GUESTMEM_NS);

/**
 * guestmem_client_put - stop being a client
 * @client: from guestmem_client_get(); gone afterwards
 *
 * All its locks must have been unlocked. Waits for a call of ops->revoke() that is
 * in progress, so it must not be called from there; after it none will come.
 *
 * Context: may sleep.
 */
void guestmem_client_put(struct guestmem_client *client)
{
	struct gm_guest *guest = client->view->guest;

	if (WARN_ON(atomic_read(&client->nlocks)))
		return;
	wait_event(guest->drain, !READ_ONCE(client->nrevoking));
	/* What the revoker did with the client was before it let go of this. */
	mutex_lock(&guest->locks_mutex);
	mutex_unlock(&guest->locks_mutex);
	gm_view_put(client->view);
	kfree(client);
}
EXPORT_SYMBOL_NS_GPL(guestmem_client_put, GUESTMEM_NS);

static u32 gm_direction(enum dma_data_direction dir)
{
	switch (dir) {
	case DMA_TO_DEVICE:
		return GUESTMEM_DMA_TO_DEVICE;
	case DMA_FROM_DEVICE:
		return GUESTMEM_DMA_FROM_DEVICE;
	case DMA_BIDIRECTIONAL:
		return GUESTMEM_DMA_BIDIRECTIONAL;
	default:
		return 0;
	}
}

static enum dma_data_direction gm_dma_dir(const struct guestmem_dma_lock *lock)
{
	switch (lock->direction) {
	case GUESTMEM_DMA_TO_DEVICE:
		return DMA_TO_DEVICE;
	case GUESTMEM_DMA_FROM_DEVICE:
		return DMA_FROM_DEVICE;
	default:
		return DMA_BIDIRECTIONAL;
	}
}

/**
 * guestmem_lock - lock a range for DMA
 * @client: the client
 * @gpa: first address
 * @len: bytes, not 0
 * @dir: what the device will do: DMA_TO_DEVICE reads guest memory, DMA_FROM_DEVICE
 *	writes it, or DMA_BIDIRECTIONAL
 *
 * Either all of the range is there and is held, or nothing. While the lock lives
 * its pages stay pinned and keep their addresses. Undone by guestmem_unlock().
 *
 * Context: may sleep.
 * Return: the lock, or an ERR_PTR: -ENXIO a hole; -EACCES the client may not, or a
 * region is read-only; -ESTALE what the client came by was revoked; -EINVAL empty, or no
 * such direction; -EOVERFLOW; -ENOMEM.
 */
struct guestmem_dma_lock *guestmem_lock(struct guestmem_client *client, u64 gpa, u64 len,
					enum dma_data_direction dir)
{
	u32 direction = gm_direction(dir);
	struct guestmem_dma_lock *lock;
	u64 last;
	int rc;

	if (!direction)
		return ERR_PTR(-EINVAL);
	rc = gm_check_range(gpa, len, &last, NULL);
	if (rc)
		return ERR_PTR(rc);
	lock = gm_lock(client->view, client, gpa, last, NULL, 0, direction, NULL);
	if (!IS_ERR(lock))
		atomic_inc(&client->nlocks);
	return lock;
}
EXPORT_SYMBOL_NS_GPL(guestmem_lock, GUESTMEM_NS);

/**
 * guestmem_unlock - end a lock
 * @lock: from guestmem_lock(); gone afterwards
 *
 * Its DMA mappings must have been unmapped.
 *
 * Context: may sleep. May be called from ops->revoke(): see &struct guestmem_client_ops.
 */
void guestmem_unlock(struct guestmem_dma_lock *lock)
{
	struct guestmem_client *client = lock->client;

	if (WARN_ON(atomic_read(&lock->nmaps)))
		return;
	gm_unlock(lock);
	atomic_dec(&client->nlocks);
}
EXPORT_SYMBOL_NS_GPL(guestmem_unlock, GUESTMEM_NS);

/*
 * Mappings may overlap, so none of them may hand memory over by being made or undone:
 * the client does, for each transfer.
 */
#define GM_DMA_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

/* One entry of the list: up to @max bytes that follow each other physically. */
struct gm_sg_walk {
	const struct guestmem_dma_lock *lock;
	u64 address;
	u32 hold;
	u32 run;
	unsigned int max;
};

static struct gm_sg_walk gm_sg_begin(const struct guestmem_dma_lock *lock, unsigned int max)
{
	return (struct gm_sg_walk) {
		.lock = lock,
		.address = lock->gpa,
		.max = max,
	};
}

/* The holds are the parts from lock->gpa to lock->last, in this order. */
static bool gm_sg_step(struct gm_sg_walk *walk, u64 *pfn, unsigned int *offset, unsigned int *len)
{
	const struct gm_hold *hold = &walk->lock->holds[walk->hold];
	const struct gm_run *run;
	u64 left;
	u32 index;

	if (walk->hold == walk->lock->nholds)
		return false;
	index = hold->index + ((walk->address >> PAGE_SHIFT) - (hold->start >> PAGE_SHIFT));
	walk->run = gm_runs_find(&hold->region->runs, index, walk->run);
	run = &hold->region->runs.run[walk->run];
	*pfn = run->pfn + (index - run->index);
	*offset = offset_in_page(walk->address);
	left = ((u64)(run->npages - (index - run->index)) << PAGE_SHIFT) - *offset;
	left = min(left - 1, hold->last - walk->address);
	*len = min_t(u64, left, walk->max - 1) + 1;
	if (walk->address + (*len - 1) == hold->last) {
		walk->hold++;
		walk->run = 0;
	}
	walk->address += *len;
	return true;
}

/**
 * guestmem_sg_alloc - make a scatterlist of what is locked
 * @lock: the lock
 * @sgt: the table to set up
 * @max_segment: most bytes in an entry, a multiple of the page size; 0 for as
 *	many as an entry can have
 * @gfp: how to allocate
 *
 * Physically contiguous memory is one entry as far as @max_segment allows. The
 * table is valid while the lock lives. Undone by sg_free_table(). For DMA by a
 * device use guestmem_dma_map().
 *
 * Context: may sleep, if @gfp lets it.
 * Return: 0, -EINVAL @max_segment is misaligned, or -ENOMEM.
 */
int guestmem_sg_alloc(struct guestmem_dma_lock *lock, struct sg_table *sgt,
		      unsigned int max_segment, gfp_t gfp)
{
	struct gm_sg_walk walk;
	struct scatterlist *sg;
	unsigned int nents = 0, offset, len, i;
	u64 pfn;
	int rc;

	if (!max_segment)
		max_segment = UINT_MAX & PAGE_MASK;
	if (!IS_ALIGNED(max_segment, PAGE_SIZE))
		return -EINVAL;
	walk = gm_sg_begin(lock, max_segment);
	while (gm_sg_step(&walk, &pfn, &offset, &len))
		nents++;
	rc = sg_alloc_table(sgt, nents, gfp);
	if (rc)
		return rc;
	walk = gm_sg_begin(lock, max_segment);
	for_each_sgtable_sg(sgt, sg, i) {
		gm_sg_step(&walk, &pfn, &offset, &len);
		sg_set_page(sg, pfn_to_page(pfn), len, offset);
	}
	return 0;
}
EXPORT_SYMBOL_NS_GPL(guestmem_sg_alloc, GUESTMEM_NS);

/*
 * Does the device see other pages than those that are locked? By the addresses:
 * dma_need_sync() says yes for whatever is behind an IOMMU on some kernels. The
 * DMA API may make one segment of several entries, but never begins one with a
 * page that it copied and goes on with one that it did not.
 */
static bool gm_bounces(struct device *dev, struct sg_table *sgt)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	bool translated = domain && domain->type != IOMMU_DOMAIN_IDENTITY;
	struct scatterlist *sg = sgt->sgl, *dma;
	int i;

	for_each_sgtable_dma_sg(sgt, dma, i) {
		dma_addr_t address = sg_dma_address(dma);
		phys_addr_t phys = translated ? iommu_iova_to_phys(domain, address) :
						dma_to_phys(dev, address);
		unsigned int covered = 0;

		if (phys != sg_phys(sg))
			return true;
		while (sg && covered < sg_dma_len(dma)) {
			covered += sg->length;
			sg = sg_next(sg);
		}
	}
	return false;
}

/**
 * guestmem_dma_map - map what is locked for a device
 * @lock: the lock; its direction is that of the mapping
 * @dev: the device that will do the DMA
 * @sgt: set up here; for_each_sgtable_dma_sg() gives the device's addresses
 *
 * By the kernel's DMA API, so through the IOMMU where there is one. Mapping and
 * unmapping do not hand the memory over between CPUs and device; the client does
 * that for each transfer, by dma_sync_sgtable_for_device() and _for_cpu(). The
 * same memory may be mapped more than once, by anybody. A mapping
 * that would go through bounce buffers is refused: the device would see a copy of
 * what the guest has, or the guest of what the device wrote. Undone by
 * guestmem_dma_unmap().
 *
 * Context: may sleep. See &struct guestmem_client_ops for how not to miss a revoke.
 * Return: 0; -ESTALE revoked; -EOPNOTSUPP it would bounce: the device needs an
 * IOMMU or a wider DMA mask; or its segments are shorter than a page; -ENOMEM; or
 * what the DMA API says.
 */
int guestmem_dma_map(struct guestmem_dma_lock *lock, struct device *dev, struct sg_table *sgt)
{
	unsigned int max_segment = dma_get_max_seg_size(dev) & PAGE_MASK;
	int rc;

	/* Pairs with gm_revoke_clients(): the client's own lock orders the two. */
	if (READ_ONCE(lock->revoked))
		return -ESTALE;
	if (!max_segment)
		return -EOPNOTSUPP;
	rc = guestmem_sg_alloc(lock, sgt, max_segment, GFP_KERNEL);
	if (rc)
		return rc;
	rc = dma_map_sgtable(dev, sgt, gm_dma_dir(lock), GM_DMA_ATTRS);
	if (rc)
		goto err_free;
	if (gm_bounces(dev, sgt)) {
		rc = -EOPNOTSUPP;
		goto err_unmap;
	}
	atomic_inc(&lock->nmaps);
	return 0;

err_unmap:
	dma_unmap_sgtable(dev, sgt, gm_dma_dir(lock), GM_DMA_ATTRS);
err_free:
	sg_free_table(sgt);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(guestmem_dma_map, GUESTMEM_NS);

/**
 * guestmem_dma_unmap - undo guestmem_dma_map()
 * @lock: the lock
 * @dev: the device
 * @sgt: the table; freed
 *
 * The device must have stopped. Context: may sleep.
 */
void guestmem_dma_unmap(struct guestmem_dma_lock *lock, struct device *dev, struct sg_table *sgt)
{
	dma_unmap_sgtable(dev, sgt, gm_dma_dir(lock), GM_DMA_ATTRS);
	sg_free_table(sgt);
	atomic_dec(&lock->nmaps);
}
EXPORT_SYMBOL_NS_GPL(guestmem_dma_unmap, GUESTMEM_NS);

static int gm_client_copy(struct guestmem_client *client, u64 gpa, void *buf, size_t len,
			  bool write)
{
	u32 need = write ? GUESTMEM_RIGHT_WRITE : GUESTMEM_RIGHT_READ;
	size_t done;
	u64 last;
	int rc;

	rc = gm_check_view(client->view, need, NULL);
	if (rc || !len)
		return rc;
	rc = gm_check_range(gpa, len, &last, NULL);
	return rc ?: gm_copy_kernel(client->view, need, gpa, buf, len, write, &done);
}

/**
 * guestmem_read - read guest memory
 * @client: the client
 * @gpa: first address
 * @buf: kernel memory
 * @len: bytes; 0 does nothing
 *
 * For small objects: a revoke waits for it.
 *
 * Context: may sleep.
 * Return: 0; -ENXIO a hole, -EHWPOISON: what was before it has been read; -EACCES;
 * -ESTALE what the client came by was revoked; -EOVERFLOW.
 */
int guestmem_read(struct guestmem_client *client, u64 gpa, void *buf, size_t len)
{
	return gm_client_copy(client, gpa, buf, len, false);
}
EXPORT_SYMBOL_NS_GPL(guestmem_read, GUESTMEM_NS);

/**
 * guestmem_write - write guest memory
 * @client: the client
 * @gpa: first address
 * @buf: kernel memory
 * @len: bytes; 0 does nothing
 *
 * For small objects: a revoke waits for it.
 *
 * Context: may sleep.
 * Return: 0; -ENXIO a hole, -EACCES a read-only region, -EHWPOISON: what was before
 * it has been written; -EACCES the client may not; -ESTALE; -EOVERFLOW.
 */
int guestmem_write(struct guestmem_client *client, u64 gpa, const void *buf, size_t len)
{
	return gm_client_copy(client, gpa, (void *)buf, len, true);
}
EXPORT_SYMBOL_NS_GPL(guestmem_write, GUESTMEM_NS);

/**
 * guestmem_fill - set each byte of a range
 * @client: the client
 * @gpa: first address
 * @value: the byte
 * @len: bytes; 0 does nothing
 *
 * Context: may sleep.
 * Return: as guestmem_write(), or -EINTR when the caller was killed.
 */
int guestmem_fill(struct guestmem_client *client, u64 gpa, u8 value, u64 len)
{
	u64 last, done;
	int rc;

	rc = gm_check_view(client->view, GUESTMEM_RIGHT_WRITE, NULL);
	if (rc || !len)
		return rc;
	rc = gm_check_range(gpa, len, &last, NULL);
	return rc ?: gm_fill(client->view, gpa, value, len, &done, NULL);
}
EXPORT_SYMBOL_NS_GPL(guestmem_fill, GUESTMEM_NS);

/**
 * guestmem_cmpxchg - compare and exchange, atomically
 * @client: the client
 * @gpa: address; a multiple of @width
 * @old: what is expected there; set to what was there
 * @new: what to store if it is as expected
 * @width: bytes: 1, 2, 4, 8, or 16 where the CPU can
 *
 * Sequentially consistent, against the guest's and everybody's accesses.
 *
 * Context: may sleep.
 * Return: 1 exchanged; 0 not as expected, @old tells what it is; -EINVAL misaligned
 * or no such width; -EOPNOTSUPP no 16 bytes here; -ENXIO; -EACCES; -ESTALE; -EHWPOISON.
 */
int guestmem_cmpxchg(struct guestmem_client *client, u64 gpa, void *old, const void *new,
		     unsigned int width)
{
	struct guestmem_atomic arg = {
		.op = GUESTMEM_ATOMIC_CMPXCHG, .width = width, .gpa = gpa,
	};
	bool equal;
	int rc;

	/* The values are the low bytes of the operands. */
	BUILD_BUG_ON(!IS_ENABLED(CONFIG_CPU_LITTLE_ENDIAN) && !IS_ENABLED(CONFIG_X86));
	rc = gm_check_view(client->view, GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE, NULL);
	if (rc)
		return rc;
	if (width > sizeof(arg.operand))
		return -EINVAL;
	memcpy(arg.operand, new, width);
	memcpy(arg.compare, old, width);
	rc = gm_atomic(client->view, &arg);
	if (rc)
		return rc;
	equal = !memcmp(arg.old, arg.compare, width);
	memcpy(old, arg.old, width);
	return equal;
}
EXPORT_SYMBOL_NS_GPL(guestmem_cmpxchg, GUESTMEM_NS);
