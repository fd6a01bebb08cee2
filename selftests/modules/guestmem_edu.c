// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that DMAs to and from the memory of a guest, by the API of guestmem.h:
 * the example to start from. Its device is QEMU's "edu" (-device edu), a DMA engine
 * with a 4 KiB buffer of its own; see docs/specs/edu.txt of QEMU.
 *
 * Theory of operation. A user opens /dev/guestmem_edu and gives it a guest, by file
 * descriptor. For a transfer the driver takes a DMA lock on a range of the guest
 * (the pages then stay where they are), maps it for the device (the IOMMU then lets
 * the device reach it), lets the device work, and undoes both.
 *
 * Revoke. The guest's owner may take memory back at any time; guestmem then calls
 * edu_revoke(). edu cannot be stopped in the middle of a piece of work, but a piece
 * is short. So all depends on one rule: edu->mutex is held while the device works on
 * a piece, and each piece begins by checking, under it, that the memory is still
 * mapped. Who holds edu->mutex thus knows that the device is idle, and can unmap.
 *
 * The same rule serves when the device itself is removed while files are open:
 * edu_remove() takes the mutex, unmaps everything, and notes that there is no device
 * any more. Struct edu lives on until the last file is closed.
 *
 * The locking order is edu_file::mutex -> edu::mutex -> guestmem's own locks.
 * edu_revoke() takes only edu::mutex, so that it waits for one piece at most, never
 * for a whole ioctl.
 */

#include <linux/capability.h>
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include <linux/guestmem.h>
#include "guestmem.h"
#include "guestmem_edu.h"

#define EDU_NAME		"guestmem_edu"
#define EDU_VENDOR_ID		0x1234
#define EDU_DEVICE_ID		0x11e8

#define EDU_REG_ID		0x00	/* 0xRRrr00ed: revision RR.rr */
#define EDU_REG_IRQ_STATUS	0x24
#define EDU_REG_IRQ_ACK		0x64
#define EDU_REG_DMA_SRC		0x80
#define EDU_REG_DMA_DST		0x88
#define EDU_REG_DMA_COUNT	0x90
#define EDU_REG_DMA_CMD		0x98

#define EDU_ID_MASK		0xffff
#define EDU_ID			0x00ed
#define EDU_IRQ_DMA		0x100
#define EDU_DMA_START		BIT(0)
#define EDU_DMA_FROM_DEVICE	BIT(1)	/* else to the device */
#define EDU_DMA_IRQ		BIT(2)
#define EDU_DMA_BITS		28

/* Where in the device's address space its buffer is. */
#define EDU_BUFFER		0x40000

/* It takes 100 ms; but this is an emulated device, perhaps on a busy machine. */
#define EDU_TIMEOUT		(10 * HZ)

static bool allow_raw;
module_param(allow_raw, bool, 0444);
MODULE_PARM_DESC(allow_raw, "Allow DMA to any address (for tests that show what the IOMMU blocks)");

static DEFINE_IDA(edu_numbers);

/**
 * struct edu - a device
 * @kref: held by the PCI device and by open files
 * @misc: the device node
 * @id: the node's number
 * @pdev: the PCI device; not to be used once @gone
 * @mmio: its registers; likewise
 * @dma_done: by the interrupt
 * @mutex: held while the device works; protects all below, and edu_map::lock
 * @maps: what is mapped for the device, by all files
 * @gone: the device was removed
 * @broken: it did not do what it was told, and was cut off from memory
 */
struct edu {
	struct kref kref;
	struct miscdevice misc;
	int id;
	struct pci_dev *pdev;
	void __iomem *mmio;
	struct completion dma_done;

	struct mutex mutex;
	struct list_head maps;
	bool gone;
	bool broken;
};

/**
 * struct edu_file - an open file
 * @edu: the device
 * @mutex: serializes the ioctls; protects @client and @maps
 * @client: what makes us a user of the guest; NULL before ATTACH
 * @maps: struct edu_map by number; those of MAP, not those of a single XFER
 */
struct edu_file {
	struct edu *edu;
	struct mutex mutex;
	struct guestmem_client *client;
	struct xarray maps;
};

/**
 * struct edu_map - memory of a guest, mapped for the device
 * @node: in edu::maps, while it is mapped
 * @lock: the DMA lock on it; NULL if it is not mapped any more
 * @sgt: the addresses for the device
 * @gpa: first address
 * @len: bytes
 * @dir: what the device may do
 */
struct edu_map {
	struct list_head node;
	struct guestmem_dma_lock *lock;
	struct sg_table sgt;
	u64 gpa;
	u64 len;
	enum dma_data_direction dir;
};

static void edu_free(struct kref *kref)
{
	kfree(container_of(kref, struct edu, kref));
}

/* Also a devm action, hence the argument. */
static void edu_put(void *data)
{
	struct edu *edu = data;

	kref_put(&edu->kref, edu_free);
}

/* ---- the device ---- */

static irqreturn_t edu_irq(int irq, void *data)
{
	struct edu *edu = data;
	u32 status = readl(edu->mmio + EDU_REG_IRQ_STATUS);

	if (!status)
		return IRQ_NONE;
	writel(status, edu->mmio + EDU_REG_IRQ_ACK);
	if (status & EDU_IRQ_DMA)
		complete(&edu->dma_done);
	return IRQ_HANDLED;
}

static int edu_usable(struct edu *edu)
{
	lockdep_assert_held(&edu->mutex);

	if (edu->gone)
		return -ENODEV;
	return edu->broken ? -EIO : 0;
}

/*
 * The only place where the device is made to access memory. When this returns, it
 * does not do so any more. That is why the wait cannot be interrupted.
 */
static int edu_dma(struct edu *edu, dma_addr_t addr, u32 len, u32 offset,
		   enum dma_data_direction dir)
{
	u32 cmd = EDU_DMA_START | EDU_DMA_IRQ;

	lockdep_assert_held(&edu->mutex);

	reinit_completion(&edu->dma_done);
	if (dir == DMA_TO_DEVICE) {
		writeq(addr, edu->mmio + EDU_REG_DMA_SRC);
		writeq(EDU_BUFFER + offset, edu->mmio + EDU_REG_DMA_DST);
	} else {
		writeq(EDU_BUFFER + offset, edu->mmio + EDU_REG_DMA_SRC);
		writeq(addr, edu->mmio + EDU_REG_DMA_DST);
		cmd |= EDU_DMA_FROM_DEVICE;
	}
	writeq(len, edu->mmio + EDU_REG_DMA_COUNT);
	writeq(cmd, edu->mmio + EDU_REG_DMA_CMD);

	if (wait_for_completion_timeout(&edu->dma_done, EDU_TIMEOUT))
		return 0;

	/* Nothing may be unmapped while it could still wake up and access it. */
	pci_clear_master(edu->pdev);
	edu->broken = true;
	dev_err(&edu->pdev->dev, "DMA does not end; the device will not be used any more\n");
	return -EIO;
}

/* ---- memory of a guest ---- */

/*
 * Unmap, then unlock: a page that is unpinned while the device can still reach it
 * may be somebody else's soon.
 */
static void edu_map_end(struct edu *edu, struct edu_map *map)
{
	lockdep_assert_held(&edu->mutex);

	if (!map->lock)
		return;
	list_del(&map->node);
	guestmem_dma_unmap(map->lock, &edu->pdev->dev, &map->sgt);
	guestmem_unlock(map->lock);
	map->lock = NULL;
}

/**
 * edu_revoke - the owner of a guest takes memory back
 * @priv: the file, as given to guestmem_client_get()
 * @lock: our lock on the memory
 *
 * May come at any time between guestmem_lock() and guestmem_unlock(). If the lock
 * is not found, then edu_map_begin() has not mapped it yet, and guestmem will not
 * let it, or somebody is just about to unlock it: nothing to stop in either case.
 */
static void edu_revoke(void *priv, struct guestmem_dma_lock *lock)
{
	struct edu_file *file = priv;
	struct edu *edu = file->edu;
	struct edu_map *map;

	mutex_lock(&edu->mutex);
	list_for_each_entry(map, &edu->maps, node) {
		if (map->lock == lock) {
			edu_map_end(edu, map);
			break;
		}
	}
	mutex_unlock(&edu->mutex);
}

static const struct guestmem_client_ops edu_client_ops = {
	.revoke = edu_revoke,
};

static int edu_direction(u32 direction, enum dma_data_direction *dir)
{
	switch (direction) {
	case GUESTMEM_DMA_TO_DEVICE:
		*dir = DMA_TO_DEVICE;
		return 0;
	case GUESTMEM_DMA_FROM_DEVICE:
		*dir = DMA_FROM_DEVICE;
		return 0;
	case GUESTMEM_DMA_BIDIRECTIONAL:
		*dir = DMA_BIDIRECTIONAL;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* Undone by edu_map_end(), which edu_revoke() and edu_remove() may do first. */
static int edu_map_begin(struct edu_file *file, struct edu_map *map, u64 gpa, u64 len,
			 enum dma_data_direction dir)
{
	struct edu *edu = file->edu;
	struct guestmem_dma_lock *lock;
	int rc;

	lockdep_assert_held(&file->mutex);

	if (!file->client)
		return -ENOTCONN;

	lock = guestmem_lock(file->client, gpa, len, dir);
	if (IS_ERR(lock))
		return PTR_ERR(lock);

	*map = (struct edu_map) { .gpa = gpa, .len = len, .dir = dir };

	/* Mapped and found by edu_revoke() in one step. */
	mutex_lock(&edu->mutex);
	rc = edu_usable(edu);
	if (!rc)
		rc = guestmem_dma_map(lock, &edu->pdev->dev, &map->sgt);
	if (!rc) {
		map->lock = lock;
		list_add(&map->node, &edu->maps);
	}
	mutex_unlock(&edu->mutex);

	if (rc)
		guestmem_unlock(lock);
	return rc;
}

/* Where the device finds byte @pos of @map; @len is cut to what lies there in a row. */
static dma_addr_t edu_map_addr(struct edu_map *map, u64 pos, u64 *len)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(&map->sgt, sg, i) {
		if (pos < sg_dma_len(sg)) {
			*len = min_t(u64, *len, sg_dma_len(sg) - pos);
			return sg_dma_address(sg) + pos;
		}
		pos -= sg_dma_len(sg);
	}
	/* Not reached: the segments are as long as the mapping. */
	WARN_ON_ONCE(1);
	*len = 0;
	return 0;
}

/* Moves one piece, as long as the device and the mapping allow; tells its length. */
static int edu_map_piece(struct edu *edu, struct edu_map *map, u64 pos, u32 offset, u32 len,
			 enum dma_data_direction dir)
{
	u64 piece = min_t(u32, len, GUESTMEM_EDU_PIECE_LEN);
	struct device *dev;
	dma_addr_t addr;
	int rc;

	mutex_lock(&edu->mutex);
	rc = edu_usable(edu);
	if (rc)
		goto out_unlock;
	if (!map->lock) {
		rc = -ESTALE;
		goto out_unlock;
	}

	/*
	 * Memory that stays mapped belongs to the device or to the CPUs, not to both:
	 * where caches are not coherent, these hand it over and back.
	 */
	dev = &edu->pdev->dev;
	addr = edu_map_addr(map, pos, &piece);
	dma_sync_single_for_device(dev, addr, piece, map->dir);
	rc = edu_dma(edu, addr, piece, offset, dir);
	dma_sync_single_for_cpu(dev, addr, piece, map->dir);
	if (!rc)
		rc = piece;
out_unlock:
	mutex_unlock(&edu->mutex);
	return rc;
}

/* Moves all, or tells in @xfer->done how much. */
static int edu_map_xfer(struct edu *edu, struct edu_map *map, struct guestmem_edu_xfer *xfer,
			enum dma_data_direction dir)
{
	u64 pos = xfer->gpa - map->gpa;
	int rc;

	while (xfer->done < xfer->len) {
		if (signal_pending(current))
			return -EINTR;
		rc = edu_map_piece(edu, map, pos + xfer->done, xfer->offset + xfer->done,
				   xfer->len - xfer->done, dir);
		if (rc < 0)
			return rc;
		xfer->done += rc;
	}
	return 0;
}

/* ---- ioctls, under file->mutex ---- */

static int edu_ioctl_attach(struct edu_file *file, struct guestmem_edu_attach *arg)
{
	struct guestmem_client *client;

	if (arg->reserved)
		return -EOPNOTSUPP;
	if (file->client)
		return -EISCONN;

	client = guestmem_client_get(arg->fd, &edu_client_ops, file);
	if (IS_ERR(client))
		return PTR_ERR(client);
	file->client = client;
	return 0;
}

static bool edu_in_buffer(u32 offset, u32 len)
{
	return len && len <= GUESTMEM_EDU_BUFFER_LEN && offset <= GUESTMEM_EDU_BUFFER_LEN - len;
}

static int edu_ioctl_xfer(struct edu_file *file, struct guestmem_edu_xfer *arg)
{
	struct edu *edu = file->edu;
	enum dma_data_direction dir;
	struct edu_map *map;
	struct edu_map once;
	int rc;

	arg->done = 0;
	rc = edu_direction(arg->direction, &dir);
	if (rc)
		return rc;
	if (arg->reserved || dir == DMA_BIDIRECTIONAL)
		return -EOPNOTSUPP;
	if (!edu_in_buffer(arg->offset, arg->len))
		return -EINVAL;

	if (arg->map) {
		map = xa_load(&file->maps, arg->map);
		if (!map)
			return -ENOENT;
		if (map->dir != dir && map->dir != DMA_BIDIRECTIONAL)
			return -EINVAL;
		if (arg->gpa < map->gpa || arg->len > map->len ||
		    arg->gpa - map->gpa > map->len - arg->len)
			return -EINVAL;
		return edu_map_xfer(edu, map, arg, dir);
	}

	rc = edu_map_begin(file, &once, arg->gpa, arg->len, dir);
	if (rc)
		return rc;
	rc = edu_map_xfer(edu, &once, arg, dir);
	mutex_lock(&edu->mutex);
	edu_map_end(edu, &once);
	mutex_unlock(&edu->mutex);
	return rc;
}

static void edu_map_free(struct edu *edu, struct edu_map *map)
{
	mutex_lock(&edu->mutex);
	edu_map_end(edu, map);
	mutex_unlock(&edu->mutex);
	kfree(map);
}

static int edu_ioctl_map(struct edu_file *file, struct guestmem_edu_map *arg)
{
	struct edu *edu = file->edu;
	enum dma_data_direction dir;
	struct edu_map *map;
	int rc;

	rc = edu_direction(arg->direction, &dir);
	if (rc)
		return rc;
	if (arg->reserved)
		return -EOPNOTSUPP;

	map = kmalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
	if (!map)
		return -ENOMEM;
	rc = edu_map_begin(file, map, arg->gpa, arg->len, dir);
	if (rc) {
		kfree(map);
		return rc;
	}
	rc = xa_alloc(&file->maps, &arg->map, map, xa_limit_32b, GFP_KERNEL_ACCOUNT);
	if (rc)
		goto err_free;

	mutex_lock(&edu->mutex);
	if (map->lock) {
		arg->iova_len = arg->len;
		arg->iova = edu_map_addr(map, 0, &arg->iova_len);
		arg->nsegments = map->sgt.nents;
	} else {
		rc = edu->gone ? -ENODEV : -ESTALE;
	}
	mutex_unlock(&edu->mutex);
	if (rc)
		goto err_erase;
	return 0;

err_erase:
	xa_erase(&file->maps, arg->map);
err_free:
	edu_map_free(edu, map);
	return rc;
}

static int edu_ioctl_unmap(struct edu_file *file, struct guestmem_edu_unmap *arg)
{
	struct edu_map *map;

	if (arg->reserved)
		return -EOPNOTSUPP;
	map = xa_erase(&file->maps, arg->map);
	if (!map)
		return -ENOENT;
	edu_map_free(file->edu, map);
	return 0;
}

/* No example: a real driver never gives its device an address from user space. */
static int edu_ioctl_raw(struct edu_file *file, struct guestmem_edu_raw *arg)
{
	struct edu *edu = file->edu;
	enum dma_data_direction dir;
	int rc;

	if (!allow_raw || !capable(CAP_SYS_RAWIO))
		return -EPERM;
	rc = edu_direction(arg->direction, &dir);
	if (rc)
		return rc;
	if (arg->reserved || dir == DMA_BIDIRECTIONAL)
		return -EOPNOTSUPP;
	if (!edu_in_buffer(arg->offset, arg->len) || arg->len > GUESTMEM_EDU_PIECE_LEN ||
	    arg->iova > DMA_BIT_MASK(EDU_DMA_BITS))
		return -EINVAL;

	mutex_lock(&edu->mutex);
	rc = edu_usable(edu);
	if (!rc)
		rc = edu_dma(edu, arg->iova, arg->len, arg->offset, dir);
	mutex_unlock(&edu->mutex);
	return rc;
}

static long edu_ioctl(struct file *filp, unsigned int cmd, unsigned long user)
{
	struct edu_file *file = filp->private_data;
	union {
		struct guestmem_edu_attach attach;
		struct guestmem_edu_xfer xfer;
		struct guestmem_edu_map map;
		struct guestmem_edu_unmap unmap;
		struct guestmem_edu_raw raw;
	} arg;
	long rc;

	if (_IOC_TYPE(cmd) != GUESTMEM_EDU_IOC_TYPE || _IOC_SIZE(cmd) > sizeof(arg))
		return -ENOTTY;
	if (copy_from_user(&arg, (void __user *)user, _IOC_SIZE(cmd)))
		return -EFAULT;

	if (mutex_lock_interruptible(&file->mutex))
		return -ERESTARTSYS;
	switch (cmd) {
	case GUESTMEM_EDU_ATTACH:
		rc = edu_ioctl_attach(file, &arg.attach);
		break;
	case GUESTMEM_EDU_XFER:
		rc = edu_ioctl_xfer(file, &arg.xfer);
		break;
	case GUESTMEM_EDU_MAP:
		rc = edu_ioctl_map(file, &arg.map);
		break;
	case GUESTMEM_EDU_UNMAP:
		rc = edu_ioctl_unmap(file, &arg.unmap);
		break;
	case GUESTMEM_EDU_RAW:
		rc = edu_ioctl_raw(file, &arg.raw);
		break;
	default:
		rc = -ENOTTY;
	}

	/* On errors too, for what was done until then. */
	if (rc != -ENOTTY && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user((void __user *)user, &arg, _IOC_SIZE(cmd))) {
		/* A mapping that nobody was told of could not be ended. */
		if (!rc && cmd == GUESTMEM_EDU_MAP)
			edu_map_free(file->edu, xa_erase(&file->maps, arg.map.map));
		rc = -EFAULT;
	}
	mutex_unlock(&file->mutex);
	return rc;
}

static int edu_open(struct inode *inode, struct file *filp)
{
	/* The misc core holds off misc_deregister(), and so edu_remove(), meanwhile. */
	struct edu *edu = container_of(filp->private_data, struct edu, misc);
	struct edu_file *file;

	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	mutex_init(&file->mutex);
	xa_init_flags(&file->maps, XA_FLAGS_ALLOC1);
	kref_get(&edu->kref);
	file->edu = edu;
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int edu_release(struct inode *inode, struct file *filp)
{
	struct edu_file *file = filp->private_data;
	struct edu_map *map;
	unsigned long i;

	xa_for_each(&file->maps, i, map)
		edu_map_free(file->edu, map);
	xa_destroy(&file->maps);
	/* Waits for edu_revoke(), which may be looking at us right now. */
	if (file->client)
		guestmem_client_put(file->client);
	edu_put(file->edu);
	kfree(file);
	return 0;
}

static const struct file_operations edu_fops = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_release,
	.unlocked_ioctl = edu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* ---- PCI ---- */

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *pci_id)
{
	struct device *dev = &pdev->dev;
	struct edu *edu;
	int rc;

	edu = kzalloc(sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	kref_init(&edu->kref);
	init_completion(&edu->dma_done);
	mutex_init(&edu->mutex);
	INIT_LIST_HEAD(&edu->maps);
	edu->pdev = pdev;
	/* First, so that it comes last, after the interrupt is gone. */
	rc = devm_add_action_or_reset(dev, edu_put, edu);
	if (rc)
		return rc;

	rc = pcim_enable_device(pdev);
	if (rc)
		return dev_err_probe(dev, rc, "cannot enable the device\n");
	edu->mmio = devm_ioremap_resource(dev, &pdev->resource[0]);
	if (IS_ERR(edu->mmio))
		return PTR_ERR(edu->mmio);
	if ((readl(edu->mmio + EDU_REG_ID) & EDU_ID_MASK) != EDU_ID)
		return dev_err_probe(dev, -ENODEV, "this is no edu device\n");

	rc = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(EDU_DMA_BITS));
	if (rc)
		return dev_err_probe(dev, rc, "no DMA with addresses of %d bits\n", EDU_DMA_BITS);
	rc = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI);
	if (rc < 0)
		return dev_err_probe(dev, rc, "no MSI interrupt\n");
	rc = devm_request_irq(dev, pci_irq_vector(pdev, 0), edu_irq, 0, EDU_NAME, edu);
	if (rc)
		return dev_err_probe(dev, rc, "cannot use the interrupt\n");
	pci_set_master(pdev);

	rc = ida_alloc(&edu_numbers, GFP_KERNEL);
	if (rc < 0)
		return rc;
	edu->id = rc;
	edu->misc.minor = MISC_DYNAMIC_MINOR;
	edu->misc.fops = &edu_fops;
	edu->misc.parent = dev;
	edu->misc.mode = 0600;
	edu->misc.name = edu->id ? devm_kasprintf(dev, GFP_KERNEL, EDU_NAME "%d", edu->id) :
				   EDU_NAME;
	rc = edu->misc.name ? misc_register(&edu->misc) : -ENOMEM;
	if (rc) {
		ida_free(&edu_numbers, edu->id);
		return dev_err_probe(dev, rc, "cannot make a device node\n");
	}

	pci_set_drvdata(pdev, edu);
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	struct edu *edu = pci_get_drvdata(pdev);
	struct edu_map *map, *next;

	misc_deregister(&edu->misc);
	ida_free(&edu_numbers, edu->id);

	/* Open files live on, but without a device. */
	mutex_lock(&edu->mutex);
	list_for_each_entry_safe(map, next, &edu->maps, node)
		edu_map_end(edu, map);
	edu->gone = true;
	mutex_unlock(&edu->mutex);
}

static const struct pci_device_id edu_pci_ids[] = {
	{ PCI_DEVICE(EDU_VENDOR_ID, EDU_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_pci_ids);

static struct pci_driver edu_driver = {
	.name = EDU_NAME,
	.id_table = edu_pci_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("DMA between QEMU's edu device and guest memory: an example of the guestmem API");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(GUESTMEM_NS);
