// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lets a test program call those functions of the in-kernel API that access memory by
 * the CPU: an in-kernel client with no device behind it. See guestmem_edu.c for DMA.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "guestmem.h"
#include "guestmem_kapi.h"

/* Its locks live no longer than a call, and have nothing to stop. */
static void kapi_revoke(void *priv, struct guestmem_dma_lock *lock)
{
}

static const struct guestmem_client_ops kapi_ops = {
	.revoke = kapi_revoke,
};

static int kapi_sg(struct guestmem_client *client, struct guestmem_kapi *arg)
{
	struct guestmem_dma_lock *lock;
	struct scatterlist *sg;
	struct sg_table sgt;
	u64 total = 0;
	int rc, i;

	lock = guestmem_lock(client, arg->gpa, arg->len, DMA_TO_DEVICE);
	if (IS_ERR(lock))
		return PTR_ERR(lock);
	rc = guestmem_sg_alloc(lock, &sgt, arg->value, GFP_KERNEL);
	if (rc)
		goto out_unlock;
	for_each_sgtable_sg(&sgt, sg, i) {
		if (arg->value && sg->length > arg->value)
			rc = -EMSGSIZE;
		total += sg->length;
	}
	if (total != arg->len)
		rc = -EMSGSIZE;
	arg->value = sgt.orig_nents;
	sg_free_table(&sgt);
out_unlock:
	guestmem_unlock(lock);
	return rc;
}

static int kapi_call(struct guestmem_client *client, struct guestmem_kapi *arg, u8 *buf)
{
	switch (arg->op) {
	case GUESTMEM_KAPI_READ:
		return guestmem_read(client, arg->gpa, buf, arg->len);
	case GUESTMEM_KAPI_WRITE:
		return guestmem_write(client, arg->gpa, buf, arg->len);
	case GUESTMEM_KAPI_FILL:
		return guestmem_fill(client, arg->gpa, arg->value, arg->len);
	case GUESTMEM_KAPI_CMPXCHG:
		return guestmem_cmpxchg(client, arg->gpa, buf, buf + arg->len, arg->len);
	case GUESTMEM_KAPI_SG:
		return kapi_sg(client, arg);
	default:
		return -EOPNOTSUPP;
	}
}

static long kapi_ioctl(struct file *filp, unsigned int cmd, unsigned long user)
{
	struct guestmem_client *client;
	struct guestmem_kapi arg;
	size_t len = 0;
	int rc = -EFAULT;
	u8 *buf;

	if (cmd != GUESTMEM_KAPI)
		return -ENOTTY;
	if (copy_from_user(&arg, (void __user *)user, sizeof(arg)))
		return -EFAULT;
	if (arg.op != GUESTMEM_KAPI_FILL && arg.op != GUESTMEM_KAPI_SG) {
		if (arg.len > GUESTMEM_KAPI_BUF_LEN)
			return -EINVAL;
		len = arg.op == GUESTMEM_KAPI_CMPXCHG ? 2 * arg.len : arg.len;
	}
	buf = kzalloc(max_t(size_t, len, 1), GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;
	if (copy_from_user(buf, u64_to_user_ptr(arg.buf), len))
		goto out_free;
	client = guestmem_client_get(arg.fd, &kapi_ops, NULL);
	if (IS_ERR(client)) {
		rc = PTR_ERR(client);
		goto out_free;
	}
	arg.rc = kapi_call(client, &arg, buf);
	guestmem_client_put(client);
	if (!copy_to_user(u64_to_user_ptr(arg.buf), buf, len) &&
	    !copy_to_user((void __user *)user, &arg, sizeof(arg)))
		rc = 0;
out_free:
	kfree(buf);
	return rc;
}

static const struct file_operations kapi_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kapi_ioctl,
};

static struct miscdevice kapi_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "guestmem_kapi",
	.fops = &kapi_fops,
	.mode = 0600,
};
module_misc_device(kapi_misc);

MODULE_DESCRIPTION("Calls guestmem's in-kernel API for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(GUESTMEM_NS);
