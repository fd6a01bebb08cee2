// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door: the device node, open files and the table of ioctls.
 *
 * Each open makes a guest, and a file shows a view of it. What can be done with that is
 * in the files named after it; here is only what all have in common: a caller's struct is
 * copied in once, the handler works on the copy, and the copy goes back.
 *
 * A handler that makes something which the caller must hear of to be able to use
 * it (a region's id, a lock's handle) responds before it publishes, so that an
 * answer that cannot be delivered undoes it. When a handler fails, what it left in
 * the struct, first of all struct guestmem_error, is delivered if it can be.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/uaccess.h>

#include "guestmem_private.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static u32 gm_open_rights(struct file *filp)
{
	u32 rights = GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK | GUESTMEM_RIGHT_EXPORT;

	if (filp->f_mode & FMODE_READ) {
		rights |= GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_TRANSLATE;
		/* As for /proc/PID/pagemap: physical addresses make attacks easier. */
		if (file_ns_capable(filp, &init_user_ns, CAP_SYS_ADMIN))
			rights |= GUESTMEM_RIGHT_TRANSLATE_HPA;
	}
	if (filp->f_mode & FMODE_WRITE)
		rights |= GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MANAGE;
	return rights;
}

static struct gm_file *gm_file_alloc(void)
{
	struct gm_file *file;

	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return NULL;
	file->next_handle = 1;
	xa_init_flags(&file->locks, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&file->poll_wait);
	INIT_LIST_HEAD(&file->eventfds);
	return file;
}

/* From here on @filp shows @view, and owns it. */
static void gm_file_show(struct file *filp, struct gm_file *file, struct gm_view *view)
{
	file->view = view;
	mutex_lock(&view->guest->event_mutex);
	list_add_tail(&file->node, &view->guest->files);
	mutex_unlock(&view->guest->event_mutex);
	filp->private_data = file;
	filp->f_mapping = view->inode->i_mapping;
}

static int gm_open(struct inode *inode, struct file *filp)
{
	struct gm_guest *guest;
	struct gm_file *file;
	struct gm_view *view;

	file = gm_file_alloc();
	if (!file)
		return -ENOMEM;
	guest = gm_guest_create();
	if (!guest) {
		kfree(file);
		return -ENOMEM;
	}
	view = gm_view_alloc(guest, NULL, 0, U64_MAX, 0, gm_open_rights(filp));
	gm_guest_put(guest);
	if (!view) {
		kfree(file);
		return -ENOMEM;
	}
	gm_view_publish(view, NULL);
	gm_file_show(filp, file, view);
	return 0;
}

/**
 * gm_file_create - make a file that shows a view
 * @view: the view; the file's, if there is one
 *
 * Return: the file, open for what the view may do, or an ERR_PTR.
 */
struct file *gm_file_create(struct gm_view *view)
{
	bool owner = view->domain && !view->session;
	u32 rights = READ_ONCE(view->rights);
	struct gm_file *file;
	struct file *filp;
	int flags = O_RDONLY;

	if (!owner && rights & GUESTMEM_RIGHT_WRITE)
		flags = rights & GUESTMEM_RIGHT_READ ? O_RDWR : O_WRONLY;
	file = gm_file_alloc();
	if (!file)
		return ERR_PTR(-ENOMEM);
	filp = anon_inode_getfile(owner ? "[guestmem-domain]" : "[guestmem]",
				  owner ? &gm_domain_fops : &gm_fops, NULL, flags | O_CLOEXEC);
	if (IS_ERR(filp)) {
		kfree(file);
		return filp;
	}
	if (!owner)
		filp->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	gm_file_show(filp, file, view);
	return filp;
}

static int gm_release(struct inode *inode, struct file *filp)
{
	struct gm_file *file = filp->private_data;
	struct gm_view *view = file->view;

	mutex_lock(&view->guest->event_mutex);
	list_del(&file->node);
	mutex_unlock(&view->guest->event_mutex);
	gm_file_drop_eventfds(file);
	gm_file_unlock_all(file);
	kfree(file);
	if (view->session)
		gm_session_release_all(view->session);
	else if (view->domain)
		gm_domain_close(view->domain);
	gm_view_put(view);
	return 0;
}

static u32 gm_features(void)
{
	u32 features = 0;

	if (GUESTMEM_HAVE_HUGE_PFNMAP)
		features |= GUESTMEM_FEATURE_HUGE_MAP;
	if (gm_has_atomic16())
		features |= GUESTMEM_FEATURE_ATOMIC16;
	if (GUESTMEM_HAVE_PRIVATE_READONLY_PINS)
		features |= GUESTMEM_FEATURE_PRIVATE_READONLY;
	return features;
}

static int gm_ioctl_info(struct gm_cmd *cmd)
{
	struct gm_file *file = cmd->file;
	struct gm_view *view = file->view;
	struct gm_guest *guest = view->guest;
	struct guestmem_info *arg = cmd->arg;

	if (arg->flags & ~GUESTMEM_INFO_TAKE_EVENTS)
		return -EOPNOTSUPP;
	gm_stale_settle(guest);
	*arg = (struct guestmem_info) {
		.size = arg->size,
		.flags = arg->flags,
		.abi_version = GUESTMEM_ABI_VERSION,
		.rights = READ_ONCE(view->rights),
		.features = gm_features(),
		.events = arg->flags & GUESTMEM_INFO_TAKE_EVENTS ?
			  atomic_xchg(&file->events, 0) : atomic_read(&file->events),
		.id = guest->id,
		.table_len = gm_table_len(),
		.page_size = PAGE_SIZE,
		.max_regions = GUESTMEM_MAX_REGIONS,
		.nlocks = atomic_read(&file->nlocks),
		.max_locks = GUESTMEM_MAX_LOCKS,
		.view = view->id,
		.max_views = view->parent ? GUESTMEM_MAX_SUBVIEWS : GUESTMEM_MAX_VIEWS,
	};
	down_read(&guest->regions_rwsem);
	arg->generation = view->generation;
	arg->pinned = gm_view_measure(view, &arg->nregions);
	arg->last = gm_view_last(view);
	arg->nviews = view->nviews;
	if (view->domain)
		gm_domain_info(view, arg);
	up_read(&guest->regions_rwsem);
	return gm_cmd_respond(cmd);
}

/**
 * gm_cmd_respond - give the struct back to the caller
 * @cmd: the ioctl
 *
 * Return: 0 or -EFAULT.
 */
int gm_cmd_respond(struct gm_cmd *cmd)
{
	if (copy_to_user(cmd->user, cmd->arg, min(cmd->user_size, cmd->size)))
		return -EFAULT;
	return 0;
}

/**
 * gm_cmd_list - give a list to the caller
 * @user: user address of its array
 * @entry_size: size of an entry, as the caller knows it; what the kernel does not know
 *	of it is set to 0
 * @capacity: entries there is room for
 * @array: the list
 * @size: size of an entry
 * @n: entries
 * @err: why not
 *
 * Return: 0, -EMSGSIZE or -EFAULT.
 */
int gm_cmd_list(u64 user, u32 entry_size, u32 capacity, const void *array, u32 size, u32 n,
		struct guestmem_error *err)
{
	void __user *to = u64_to_user_ptr(user);
	u32 i;

	if (n > capacity)
		return gm_fail(err, -EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, n, capacity);
	for (i = 0; i < n; i++, to += entry_size, array += size) {
		if (copy_to_user(to, array, size) || clear_user(to + size, entry_size - size))
			return -EFAULT;
	}
	return 0;
}

union gm_arg {
	struct guestmem_info info;
	struct guestmem_region_add region_add;
	struct guestmem_region_remove region_remove;
	struct guestmem_region_list region_list;
	struct guestmem_translate translate;
	struct guestmem_lock lock;
	struct guestmem_unlock unlock;
	struct guestmem_fill fill;
	struct guestmem_copy copy;
	struct guestmem_atomic atomic;
	struct guestmem_eventfd eventfd;
	struct guestmem_view_create view_create;
	struct guestmem_view_list view_list;
	struct guestmem_view_limit view_limit;
	struct guestmem_domain_create domain_create;
	struct guestmem_domain_map domain_map;
	struct guestmem_domain_unmap domain_unmap;
	struct guestmem_domain_list domain_list;
	struct guestmem_session_create session_create;
	struct guestmem_export export;
	struct guestmem_release release;
};

/* What kind of file an ioctl is for. */
#define GM_BY_VIEW	(1U << GUESTMEM_VIEW_IS_PART)
#define GM_BY_DOMAIN	(1U << GUESTMEM_VIEW_IS_DOMAIN)
#define GM_BY_SESSION	(1U << GUESTMEM_VIEW_IS_SESSION)
#define GM_BY_ACCESSOR	(GM_BY_VIEW | GM_BY_SESSION)
#define GM_BY_ALL	(GM_BY_VIEW | GM_BY_DOMAIN | GM_BY_SESSION)

/**
 * struct gm_op - an ioctl
 * @number: as in the uAPI
 * @size: of its struct
 * @min_size: of its first version
 * @err_offset: of its struct guestmem_error, 0 if it has none
 * @by: GM_BY_*
 * @revoked: works for a file that was revoked
 * @execute: serves it
 */
struct gm_op {
	unsigned int number;
	u32 size;
	u32 min_size;
	u32 err_offset;
	u32 by;
	bool revoked;
	int (*execute)(struct gm_cmd *cmd);
};

#define GM_OP(_number, _struct, _last, _err, _by, _revoked, _execute)			\
	[_IOC_NR(_number)] = {								\
		.number = _number,							\
		.size = sizeof(struct _struct) +					\
			BUILD_BUG_ON_ZERO(sizeof(struct _struct) > sizeof(union gm_arg)),\
		.min_size = offsetofend(struct _struct, _last),				\
		.err_offset = _err,							\
		.by = _by,								\
		.revoked = _revoked,							\
		.execute = _execute,							\
	}
#define GM_OP_ERR(_number, _struct, _by, _execute)					\
	GM_OP(_number, _struct, err, offsetof(struct _struct, err), _by, false, _execute)

static const struct gm_op gm_ops[] = {
	GM_OP(GUESTMEM_INFO, guestmem_info, reserved, 0, GM_BY_ALL, true, gm_ioctl_info),
	GM_OP_ERR(GUESTMEM_REGION_ADD, guestmem_region_add, GM_BY_VIEW, gm_ioctl_region_add),
	GM_OP_ERR(GUESTMEM_REGION_REMOVE, guestmem_region_remove, GM_BY_VIEW,
		  gm_ioctl_region_remove),
	GM_OP_ERR(GUESTMEM_REGION_LIST, guestmem_region_list, GM_BY_VIEW, gm_ioctl_region_list),
	GM_OP_ERR(GUESTMEM_TRANSLATE, guestmem_translate, GM_BY_ACCESSOR, gm_ioctl_translate),
	GM_OP_ERR(GUESTMEM_LOCK, guestmem_lock, GM_BY_ACCESSOR, gm_ioctl_lock),
	GM_OP(GUESTMEM_UNLOCK, guestmem_unlock, reserved, 0, GM_BY_ACCESSOR, true,
	      gm_ioctl_unlock),
	GM_OP_ERR(GUESTMEM_FILL, guestmem_fill, GM_BY_ACCESSOR, gm_ioctl_fill),
	GM_OP_ERR(GUESTMEM_COPY, guestmem_copy, GM_BY_ACCESSOR, gm_ioctl_copy),
	GM_OP_ERR(GUESTMEM_ATOMIC, guestmem_atomic, GM_BY_ACCESSOR, gm_ioctl_atomic),
	GM_OP(GUESTMEM_EVENTFD, guestmem_eventfd, events, 0, GM_BY_ALL, false, gm_ioctl_eventfd),
	GM_OP_ERR(GUESTMEM_VIEW_CREATE, guestmem_view_create, GM_BY_VIEW, gm_ioctl_view_create),
	GM_OP_ERR(GUESTMEM_VIEW_LIST, guestmem_view_list, GM_BY_ALL, gm_ioctl_view_list),
	GM_OP_ERR(GUESTMEM_VIEW_LIMIT, guestmem_view_limit, GM_BY_ALL, gm_ioctl_view_limit),
	GM_OP_ERR(GUESTMEM_DOMAIN_CREATE, guestmem_domain_create, GM_BY_VIEW,
		  gm_ioctl_domain_create),
	GM_OP_ERR(GUESTMEM_DOMAIN_MAP, guestmem_domain_map, GM_BY_DOMAIN, gm_ioctl_domain_map),
	GM_OP_ERR(GUESTMEM_DOMAIN_UNMAP, guestmem_domain_unmap, GM_BY_DOMAIN,
		  gm_ioctl_domain_unmap),
	GM_OP(GUESTMEM_DOMAIN_LIST, guestmem_domain_list, generation, 0, GM_BY_DOMAIN, false,
	      gm_ioctl_domain_list),
	GM_OP_ERR(GUESTMEM_SESSION_CREATE, guestmem_session_create, GM_BY_DOMAIN,
		  gm_ioctl_session_create),
	GM_OP_ERR(GUESTMEM_EXPORT, guestmem_export, GM_BY_SESSION, gm_ioctl_export),
	GM_OP(GUESTMEM_RELEASE, guestmem_release, nreleased, 0, GM_BY_SESSION, false,
	      gm_ioctl_release),
};

static long gm_ioctl(struct file *filp, unsigned int number, unsigned long user)
{
	union gm_arg arg;
	struct gm_cmd cmd = {
		.file = filp->private_data,
		.user = (void __user *)user,
		.arg = &arg,
	};
	struct guestmem_error *err = NULL;
	const struct gm_op *op;
	int rc;

	if (_IOC_NR(number) >= ARRAY_SIZE(gm_ops))
		return -ENOTTY;
	op = &gm_ops[array_index_nospec(_IOC_NR(number), ARRAY_SIZE(gm_ops))];
	if (op->number != number || !(op->by & (1U << gm_view_kind(cmd.file->view))))
		return -ENOTTY;
	if (get_user(cmd.user_size, (u32 __user *)user))
		return -EFAULT;
	if (cmd.user_size < op->min_size)
		return -EINVAL;
	if (cmd.user_size > PAGE_SIZE)
		return -E2BIG;
	cmd.size = op->size;
	rc = copy_struct_from_user(&arg, op->size, cmd.user, cmd.user_size);
	if (rc)
		return rc;
	if (op->err_offset) {
		err = (void *)&arg + op->err_offset;
		memset(err, 0, sizeof(*err));
	}
	rc = op->revoked ? 0 : gm_check_view(cmd.file->view, 0, err);
	if (!rc)
		rc = op->execute(&cmd);
	if (rc)
		gm_cmd_respond(&cmd);
	return rc;
}

const struct file_operations gm_fops = {
	.owner = THIS_MODULE,
	.open = gm_open,
	.release = gm_release,
	.unlocked_ioctl = gm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read_iter = gm_read_iter,
	.write_iter = gm_write_iter,
	.splice_read = copy_splice_read,
	.splice_write = iter_file_splice_write,
	.llseek = gm_llseek,
	.poll = gm_poll,
	.mmap = gm_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.show_fdinfo = gm_show_fdinfo,
};

const struct file_operations gm_domain_fops = {
	.owner = THIS_MODULE,
	.release = gm_release,
	.unlocked_ioctl = gm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read_iter = gm_records_read,
	.poll = gm_poll,
	.show_fdinfo = gm_show_fdinfo,
};

static struct miscdevice gm_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "guestmem",
	.nodename = "guestmem",
	.fops = &gm_fops,
	.mode = 0660,
};

static int __init gm_init(void)
{
	int rc;

	if (gm_page_table_check()) {
		pr_err("this kernel forbids to map anonymous memory twice: boot with page_table_check=off\n");
		return -EOPNOTSUPP;
	}
	rc = gm_domains_init();
	if (rc)
		return rc;
	rc = gm_views_init();
	if (rc)
		goto err_domains_exit;
	gm_debugfs_init();
	rc = misc_register(&gm_misc);
	if (rc)
		goto err_views_exit;
	return 0;

err_views_exit:
	gm_debugfs_exit();
	gm_views_exit();
err_domains_exit:
	gm_domains_exit();
	return rc;
}

static void __exit gm_exit(void)
{
	misc_deregister(&gm_misc);
	gm_debugfs_exit();
	gm_views_exit();
	gm_domains_exit();
}

module_init(gm_init);
module_exit(gm_exit);

MODULE_DESCRIPTION("Guest memory: pinned, translated, mapped, locked for DMA, revocable");
MODULE_AUTHOR("The guestmem developers");
MODULE_LICENSE("GPL");
