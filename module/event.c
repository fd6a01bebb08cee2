// SPDX-License-Identifier: GPL-2.0-only
/*
 * Telling those who have a guest open what changed: by EPOLLPRI until they ask
 * INFO, and by eventfd. The device is always ready for reading and writing, as far as
 * there are rights to it; a domain's file when there are records.
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

static void gm_event(struct gm_file *file, u32 event)
{
	struct gm_eventfd *eventfd;

	lockdep_assert_held(&file->view->guest->event_mutex);
	atomic_or(event, &file->events);
	/* Who was revoked is hung up on. */
	wake_up_interruptible_poll(&file->poll_wait, EPOLLPRI | EPOLLHUP);
	list_for_each_entry(eventfd, &file->eventfds, node)
		if (eventfd->events & event)
			gm_eventfd_signal(eventfd->ctx);
}

static void gm_event_domain_locked(struct gm_domain *domain)
{
	struct gm_guest *guest = domain->view->guest;
	struct gm_file *file;

	lockdep_assert_held(&guest->event_mutex);
	/* Pairs with gm_session_break(). */
	if (!xchg(&domain->news, false))
		return;
	list_for_each_entry(file, &guest->files, node) {
		if (file->view == domain->view)
			gm_event(file, GUESTMEM_EVENT_RECORD);
		else if (file->view->domain == domain && xchg(&file->view->session->news, false))
			gm_event(file, GUESTMEM_EVENT_FAULT);
	}
}

/**
 * gm_event_domain - tell what became of a domain: its owner of records, its sessions of faults
 * @domain: the domain
 *
 * When it returns, all is told that was made before.
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_event_domain(struct gm_domain *domain)
{
	mutex_lock(&domain->view->guest->event_mutex);
	gm_event_domain_locked(domain);
	mutex_unlock(&domain->view->guest->event_mutex);
}

/**
 * gm_event_region - tell all who can see a region, or had it mapped in a domain
 * @region: the region; if it is not in the guest, only domains have it
 * @event: GUESTMEM_EVENT_*
 *
 * Context: sleeps; no lock of the guest's held but look_mutex.
 */
void gm_event_region(struct gm_region *region, u32 event)
{
	struct gm_guest *guest = region->guest;
	struct gm_file *file;
	u64 start, last;

	mutex_lock(&guest->event_mutex);
	list_for_each_entry(file, &guest->files, node)
		if (gm_view_kind(file->view) == GUESTMEM_VIEW_IS_DOMAIN)
			gm_event_domain_locked(file->view->domain);
		else if (region->id && READ_ONCE(file->view->rights) &&
			 gm_view_part(file->view, region->node.start, region->node.last, &start,
				      &last))
			gm_event(file, event);
	mutex_unlock(&guest->event_mutex);
}

/**
 * gm_event_view - tell all who have a view, or one that was made from it
 * @view: the view
 * @event: GUESTMEM_EVENT_*
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_event_view(struct gm_view *view, u32 event)
{
	struct gm_guest *guest = view->guest;
	struct gm_file *file;

	mutex_lock(&guest->event_mutex);
	list_for_each_entry(file, &guest->files, node)
		if (gm_view_is_of(file->view, view))
			gm_event(file, event);
	mutex_unlock(&guest->event_mutex);
}

__poll_t gm_poll(struct file *filp, struct poll_table_struct *wait)
{
	struct gm_file *file = filp->private_data;
	__poll_t ready = 0;
	u32 rights;

	poll_wait(filp, &file->poll_wait, wait);
	rights = READ_ONCE(file->view->rights);
	if (filp->f_op == &gm_domain_fops) {
		poll_wait(filp, &file->view->domain->wait, wait);
		if (gm_records_ready(file->view->domain))
			ready |= EPOLLIN | EPOLLRDNORM;
	} else {
		if (rights & GUESTMEM_RIGHT_READ)
			ready |= EPOLLIN | EPOLLRDNORM;
		if (rights & GUESTMEM_RIGHT_WRITE)
			ready |= EPOLLOUT | EPOLLWRNORM;
	}
	if (!rights)
		ready |= EPOLLHUP;
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
	mutex_lock(&file->view->guest->event_mutex);
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
	mutex_unlock(&file->view->guest->event_mutex);
	return old;
}

int gm_ioctl_eventfd(struct gm_cmd *cmd)
{
	const struct guestmem_eventfd *arg = cmd->arg;
	struct gm_eventfd *new, *old;
	int rc;

	if (arg->flags ||
	    arg->events & ~(GUESTMEM_EVENT_ADDED | GUESTMEM_EVENT_REMOVED |
			    GUESTMEM_EVENT_REVOKED | GUESTMEM_EVENT_STALE |
			    GUESTMEM_EVENT_LIMITED | GUESTMEM_EVENT_FAULT |
			    GUESTMEM_EVENT_RECORD))
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
