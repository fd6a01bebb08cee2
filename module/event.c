// SPDX-License-Identifier: GPL-2.0-only
/*
 * Telling those who have a guest open what changed: by EPOLLPRI until they ask
 * INFO, and by eventfd. The device is always ready for reading and writing.
 *
 * An event is told after the change can be seen: who is woken finds it.
 */
#include <linux/eventfd.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "guestmem_private.h"

struct gm_eventfd {
	struct list_head node;
	struct eventfd_ctx *ctx;
	u32 events;
};

/**
 * gm_event - tell all files of a guest
 * @guest: the guest
 * @event: GUESTMEM_EVENT_*
 *
 * Context: any that may take a spinlock.
 */
void gm_event(struct gm_guest *guest, u32 event)
{
	struct gm_eventfd *eventfd;
	struct gm_file *file;

	spin_lock(&guest->event_lock);
	list_for_each_entry(file, &guest->files, node) {
		atomic_or(event, &file->events);
		wake_up_interruptible_poll(&file->poll_wait, EPOLLPRI);
		list_for_each_entry(eventfd, &file->eventfds, node)
			if (eventfd->events & event)
				gm_eventfd_signal(eventfd->ctx);
	}
	spin_unlock(&guest->event_lock);
}

__poll_t gm_poll(struct file *filp, struct poll_table_struct *wait)
{
	struct gm_file *file = filp->private_data;
	__poll_t ready = 0;

	poll_wait(filp, &file->poll_wait, wait);
	if (file->rights & GUESTMEM_RIGHT_READ)
		ready |= EPOLLIN | EPOLLRDNORM;
	if (file->rights & GUESTMEM_RIGHT_WRITE)
		ready |= EPOLLOUT | EPOLLWRNORM;
	if (atomic_read(&file->events))
		ready |= EPOLLPRI;
	return ready;
}

static void gm_eventfd_free(struct gm_eventfd *eventfd)
{
	eventfd_ctx_put(eventfd->ctx);
	kfree(eventfd);
}

/**
 * gm_file_drop_eventfds - end all registrations of a file
 * @file: the file; no longer in guest::files
 */
void gm_file_drop_eventfds(struct gm_file *file)
{
	struct gm_eventfd *eventfd, *next;

	list_for_each_entry_safe(eventfd, next, &file->eventfds, node)
		gm_eventfd_free(eventfd);
}

/* Put @new in the place of what is registered for its eventfd, which is returned. */
static struct gm_eventfd *gm_eventfd_replace(struct gm_file *file, struct gm_eventfd *new,
					     int *rc)
{
	struct gm_eventfd *old = NULL, *eventfd;

	*rc = 0;
	spin_lock(&file->guest->event_lock);
	list_for_each_entry(eventfd, &file->eventfds, node)
		if (eventfd->ctx == new->ctx)
			old = eventfd;
	if (!new->events && !old) {
		*rc = -ENOENT;
	} else if (new->events && !old && file->neventfds == GUESTMEM_MAX_EVENTFDS) {
		*rc = -ENOSPC;
	} else {
		/* Marked writes, as gm_show_fdinfo() looks without the lock. */
		if (old) {
			list_del(&old->node);
			WRITE_ONCE(file->neventfds, file->neventfds - 1);
		}
		if (new->events) {
			list_add_tail(&new->node, &file->eventfds);
			WRITE_ONCE(file->neventfds, file->neventfds + 1);
		}
	}
	spin_unlock(&file->guest->event_lock);
	return old;
}

int gm_ioctl_eventfd(struct gm_cmd *cmd)
{
	const struct guestmem_eventfd *arg = cmd->arg;
	struct gm_eventfd *new, *old;
	int rc;

	if (arg->flags ||
	    arg->events & ~(GUESTMEM_EVENT_ADDED | GUESTMEM_EVENT_REMOVED |
			    GUESTMEM_EVENT_REVOKED | GUESTMEM_EVENT_STALE))
		return -EOPNOTSUPP;
	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->events = arg->events;
	new->ctx = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(new->ctx)) {
		kfree(new);
		return -EBADF;
	}
	old = gm_eventfd_replace(cmd->file, new, &rc);
	if (old)
		gm_eventfd_free(old);
	if (rc || !new->events)
		gm_eventfd_free(new);
	return rc;
}
