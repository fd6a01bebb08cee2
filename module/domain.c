// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains: what a virtual IOMMU maps, and how it is taken back.
 *
 * A domain is a view that is seen by IOVA. Its mappings do not overlap. They are in two
 * trees: by IOVA, to translate, and by GPA, to find what a region is mapped by when that
 * is removed. Whether there is memory at the GPAs does not matter until somebody exports
 * them; the region is looked up by each access anew.
 *
 * Accesses are walks of sessions, which hold domain::rwsem for reading. Mapping and
 * unmapping hold it for writing, and no other lock of the guest's. What an unmap takes
 * back is zapped before it lets go. So afterwards no access by any session reaches it.
 *
 * Exports and DMA locks of sessions are users. An unmap that overlaps users is a fault; it
 * is resolved when all of those are gone. A fault and a user need not know each other: a
 * user was hit by a fault if it is older (gm_fault::number is greater than its @born) and
 * overlaps the range. So it is enough that a fault counts its users, and each user that
 * ends leaves all faults that hit it. How many faults hit one user does not matter.
 *
 * At the deadline exports end by force. DMA locks are as ever: the pages stay until the
 * device has stopped.
 */
#include <linux/eventfd.h>
#include <linux/interval_tree_generic.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "guestmem_private.h"
#include "trace.h"

/* Rights that are about memory seen by IOVA: no view and no domain is made from a session. */
#define GM_SESSION_RIGHTS	(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MAP |\
				 GUESTMEM_RIGHT_LOCK | GUESTMEM_RIGHT_TRANSLATE)
#define GM_MAPPING_RIGHTS	(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)

/**
 * struct gm_fault - an unmap whose users are not all gone
 * @node: in domain::faults, until it is resolved
 * @refs: of the list, and of who waits
 * @number: never used twice in a domain, growing
 * @start: first IOVA
 * @last: last IOVA
 * @nusers: exports and DMA locks that are left
 * @time: when it was
 * @deadline: when exports end by force, in jiffies; U64_MAX: never, or they have
 * @eventfd: to be told, or NULL
 */
struct gm_fault {
	struct list_head node;
	refcount_t refs;
	u64 number;
	u64 start;
	u64 last;
	u32 nusers;
	ktime_t time;
	u64 deadline;
	struct eventfd_ctx *eventfd;
};

/* A test makes it small. */
u32 gm_max_mappings = GUESTMEM_MAX_MAPPINGS;

static struct kmem_cache *gm_mappings;

#define gm_mapping_gpa(mapping)		((mapping)->gpa)
#define gm_mapping_gpa_last(mapping)	((mapping)->gpa + ((mapping)->last - (mapping)->start))

INTERVAL_TREE_DEFINE(struct gm_mapping, gpa_node, u64, gpa_subtree_last, gm_mapping_gpa,
		     gm_mapping_gpa_last, static, gm_by_gpa)

int gm_domains_init(void)
{
	gm_mappings = KMEM_CACHE(gm_mapping, SLAB_ACCOUNT);
	return gm_mappings ? 0 : -ENOMEM;
}

void gm_domains_exit(void)
{
	kmem_cache_destroy(gm_mappings);
}

/* ---- Mappings ---- */

/* The first mapping that ends at or behind an IOVA. */
static struct gm_mapping *gm_mapping_from(struct gm_domain *domain, u64 iova)
{
	struct rb_node *rb = domain->mappings.rb_node;
	struct gm_mapping *found = NULL;

	lockdep_assert_held(&domain->rwsem);
	while (rb) {
		struct gm_mapping *mapping = rb_entry(rb, struct gm_mapping, node);

		if (mapping->last >= iova) {
			found = mapping;
			rb = rb->rb_left;
		} else {
			rb = rb->rb_right;
		}
	}
	return found;
}

/* By IOVA. Returns the mapping that is in the way, if there is one. */
static struct gm_mapping *gm_mapping_insert(struct gm_domain *domain, struct gm_mapping *new)
{
	struct rb_node **link = &domain->mappings.rb_node, *parent = NULL;

	lockdep_assert_held_write(&domain->rwsem);
	while (*link) {
		struct gm_mapping *mapping = rb_entry(*link, struct gm_mapping, node);

		parent = *link;
		if (new->last < mapping->start)
			link = &parent->rb_left;
		else if (new->start > mapping->last)
			link = &parent->rb_right;
		else
			return mapping;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &domain->mappings);
	return NULL;
}

static void gm_mapping_remove(struct gm_domain *domain, struct gm_mapping *mapping)
{
	lockdep_assert_held_write(&domain->rwsem);
	rb_erase(&mapping->node, &domain->mappings);
	if (!mapping->is_external)
		gm_by_gpa_remove(mapping, &domain->by_gpa);
	domain->nmappings--;
}

/**
 * gm_domain_lookup - what an IOVA means
 * @domain: the domain
 * @iova: the IOVA
 *
 * Context: domain::rwsem held.
 * Return: the mapping, or NULL if there is none.
 */
const struct gm_mapping *gm_domain_lookup(struct gm_domain *domain, u64 iova)
{
	struct gm_mapping *mapping = gm_mapping_from(domain, iova);

	return mapping && mapping->start <= iova ? mapping : NULL;
}

/**
 * gm_mapping_next - the mapping behind a mapping
 * @mapping: the one before
 *
 * Context: domain::rwsem held.
 * Return: the mapping, or NULL if there is none.
 */
struct gm_mapping *gm_mapping_next(const struct gm_mapping *mapping)
{
	struct rb_node *rb = rb_next(&mapping->node);

	return rb ? rb_entry(rb, struct gm_mapping, node) : NULL;
}

/*
 * What is in no tree any more, with no lock held. Of memory that is not in the guest,
 * drivers are asked to stop; what is locked stays until it is unlocked.
 */
static void gm_mapping_free(struct gm_mapping *mapping)
{
	struct gm_region *region = mapping->is_external ? mapping->external : NULL;

	kmem_cache_free(gm_mappings, mapping);
	if (!region)
		return;
	WRITE_ONCE(region->state, GM_REGION_REMOVED);
	gm_stale_stop(region);
	gm_revoke_region_clients(region);
	/* Who looks whether it is stale is about to let go. */
	wait_event(region->guest->drain,
		   READ_ONCE(region->nlocks) || kref_read(&region->kref) == 1);
	gm_region_put(region);
}

static void gm_mappings_free(struct gm_mapping *list)
{
	struct gm_mapping *next;

	for (; list; list = next) {
		next = list->next;
		gm_mapping_free(list);
		cond_resched();
	}
}

/* ---- Faults ---- */

static void gm_fault_put(struct gm_fault *fault)
{
	if (!refcount_dec_and_test(&fault->refs))
		return;
	if (fault->eventfd)
		eventfd_ctx_put(fault->eventfd);
	kfree(fault);
}

static struct gm_fault *gm_fault_alloc(u64 start, u64 last, u64 deadline,
				       struct eventfd_ctx *eventfd)
{
	struct gm_fault *fault;

	/* What must be unmapped is not to wait for a cgroup to have room for this. */
	fault = kzalloc(sizeof(*fault), GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	refcount_set(&fault->refs, 1);
	fault->start = start;
	fault->last = last;
	fault->deadline = deadline;
	fault->eventfd = eventfd;
	return fault;
}

static u64 gm_fault_elapsed_ms(const struct gm_fault *fault)
{
	return ktime_ms_delta(ktime_get(), fault->time);
}

static void gm_fault_leave(struct gm_domain *domain, struct gm_fault *fault)
{
	lockdep_assert_held_write(&domain->rwsem);
	/* A marked write, as who waits looks without the lock. */
	WRITE_ONCE(fault->nusers, fault->nusers - 1);
	if (fault->nusers)
		return;
	list_del(&fault->node);
	domain->nunresolved--;
	gm_record(domain, &(struct guestmem_record) {
		.type = GUESTMEM_RECORD_RESOLVED,
		.fault = fault->number,
		.iova = fault->start,
		.len = fault->last - fault->start + 1,
		.elapsed_ms = gm_fault_elapsed_ms(fault),
	}, NULL);
	if (fault->eventfd)
		gm_eventfd_signal(fault->eventfd);
	gm_fault_put(fault);
	wake_up_all(&domain->resolved);
}

static bool gm_fault_hit_export(const struct gm_fault *fault, const struct gm_export *export)
{
	return export->born < fault->number &&
	       gm_ranges_overlap(fault->start, fault->last, export->node.start, export->node.last);
}

/* Returns the first part of the lock that was hit, or NULL. */
static const struct gm_hold *gm_fault_hit_lock(const struct gm_fault *fault,
					       const struct guestmem_dma_lock *lock)
{
	u32 i;

	if (lock->born >= fault->number)
		return NULL;
	for (i = 0; i < lock->nholds; i++)
		if (gm_ranges_overlap(fault->start, fault->last, lock->holds[i].start,
				      lock->holds[i].last))
			return &lock->holds[i];
	return NULL;
}

/**
 * gm_domain_export_gone - an export has ended
 * @domain: its domain
 * @export: the export; no longer found by anybody
 *
 * Context: domain::rwsem held for writing.
 */
void gm_domain_export_gone(struct gm_domain *domain, const struct gm_export *export)
{
	struct gm_fault *fault, *next;

	list_for_each_entry_safe(fault, next, &domain->faults, node)
		if (gm_fault_hit_export(fault, export))
			gm_fault_leave(domain, fault);
}

/**
 * gm_session_locked - a session has taken a DMA lock
 * @lock: the lock
 *
 * Context: domain::rwsem held for reading, and locks_mutex.
 */
void gm_session_locked(struct guestmem_dma_lock *lock)
{
	struct gm_domain *domain = lock->view->domain;

	lockdep_assert_held(&domain->rwsem);
	lockdep_assert_held(&lock->view->guest->locks_mutex);
	lock->born = domain->nfaults;
	domain->nlocks++;
}

/**
 * gm_session_unlocked - a session's DMA lock has ended
 * @lock: the lock; no longer found by anybody
 *
 * Context: domain::rwsem held for writing, and locks_mutex.
 */
void gm_session_unlocked(struct guestmem_dma_lock *lock)
{
	struct gm_domain *domain = lock->view->domain;
	struct gm_fault *fault, *next;

	lockdep_assert_held_write(&domain->rwsem);
	lockdep_assert_held(&lock->view->guest->locks_mutex);
	list_del_init(&lock->faulted_node);
	domain->nlocks--;
	list_for_each_entry_safe(fault, next, &domain->faults, node)
		if (gm_fault_hit_lock(fault, lock))
			gm_fault_leave(domain, fault);
}

/* Notes that some of a lock was unmapped. Returns whether that is new of any part of it. */
static bool gm_lock_faulted(const struct gm_fault *fault, struct guestmem_dma_lock *lock)
{
	bool fresh = false;
	u32 i;

	for (i = 0; i < lock->nholds; i++) {
		struct gm_hold *hold = &lock->holds[i];

		if (!gm_ranges_overlap(fault->start, fault->last, hold->start, hold->last))
			continue;
		fresh |= !hold->faulted;
		hold->faulted = true;
	}
	return fresh;
}

/*
 * DMA locks of a session that a fault hits; @pid: of one of them, if there was none; @fresh:
 * set if some were not hit before. Their drivers are asked to stop by
 * gm_revoke_domain_clients().
 */
static u32 gm_fault_hit_locks(const struct gm_fault *fault, struct gm_session *session,
			      struct pid **pid, bool *fresh)
{
	struct gm_domain *domain = session->view->domain;
	struct guestmem_dma_lock *lock;
	u32 n = 0;

	mutex_lock(&domain->view->guest->locks_mutex);
	list_for_each_entry(lock, &session->view->locks, node) {
		if (!gm_fault_hit_lock(fault, lock))
			continue;
		n++;
		*fresh |= gm_lock_faulted(fault, lock);
		if (!*pid)
			*pid = lock->pid;
		/* gm_ioctl_lock() looks without the mutex. */
		WRITE_ONCE(lock->faulted, true);
		if (lock->client && !lock->revoked && list_empty(&lock->faulted_node))
			list_add_tail(&lock->faulted_node, &domain->faulted_locks);
	}
	mutex_unlock(&domain->view->guest->locks_mutex);
	return n;
}

/* The deadline is over: exports end, and who has DMA locks is named. */
static void gm_fault_expire(struct gm_domain *domain, struct gm_fault *fault)
{
	u64 elapsed_ms = gm_fault_elapsed_ms(fault), number = fault->number;
	struct guestmem_dma_lock *lock;
	const struct gm_hold *hold;
	struct gm_session *session;

	lockdep_assert_held_write(&domain->rwsem);
	fault->deadline = U64_MAX;
	list_for_each_entry(session, &domain->sessions, node) {
		mutex_lock(&domain->view->guest->locks_mutex);
		list_for_each_entry(lock, &session->view->locks, node) {
			hold = gm_fault_hit_lock(fault, lock);
			if (hold)
				gm_record(domain, &(struct guestmem_record) {
					.type = GUESTMEM_RECORD_LOCKED,
					.fault = number,
					.session = session->view->id,
					.iova = hold->start,
					.len = hold->last - hold->start + 1,
					.elapsed_ms = elapsed_ms,
				}, lock->pid);
		}
		mutex_unlock(&domain->view->guest->locks_mutex);
	}
	/* The last of them may resolve it. */
	refcount_inc(&fault->refs);
	list_for_each_entry(session, &domain->sessions, node)
		gm_session_end_hit(session, fault->start, fault->last, number, elapsed_ms);
	gm_fault_put(fault);
}

/*
 * Whom it hits, and what becomes of them. If there are too many faults already, it is not
 * one that is waited for: its exports end now.
 */
static int gm_fault_hit(struct gm_domain *domain, struct gm_fault *fault,
			struct guestmem_error *err)
{
	struct gm_session *session;
	struct pid *pid;
	bool fresh;
	u32 n;

	lockdep_assert_held_write(&domain->rwsem);
	fault->number = domain->nfaults + 1;
	fault->time = ktime_get();
	list_for_each_entry(session, &domain->sessions, node) {
		pid = NULL;
		fresh = false;
		n = gm_session_hit(session, fault->start, fault->last, &pid, &fresh);
		n += gm_fault_hit_locks(fault, session, &pid, &fresh);
		fault->nusers += n;
		if (fresh)
			gm_session_break(session);
		if (n)
			gm_record(domain, &(struct guestmem_record) {
				.type = GUESTMEM_RECORD_FAULT,
				.fault = fault->number,
				.session = session->view->id,
				.iova = fault->start,
				.len = fault->last - fault->start + 1,
				.count = n,
			}, pid);
	}
	if (!fault->nusers) {
		fault->number = 0;
		return 0;
	}
	domain->nfaults = fault->number;
	if (domain->nunresolved == GUESTMEM_MAX_FAULTS) {
		gm_fault_expire(domain, fault);
		return gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, fault->start,
			       GUESTMEM_MAX_FAULTS + 1, GUESTMEM_MAX_FAULTS);
	}
	refcount_inc(&fault->refs);
	list_add_tail(&fault->node, &domain->faults);
	domain->nunresolved++;
	if (!fault->deadline)
		gm_fault_expire(domain, fault);
	else if (fault->deadline != U64_MAX)
		mod_delayed_work(system_unbound_wq, &domain->deadline_work, 0);
	return 0;
}

static void gm_domain_deadline(struct work_struct *work)
{
	struct gm_domain *domain = container_of(to_delayed_work(work), struct gm_domain,
						deadline_work);
	u64 now = get_jiffies_64(), first;
	struct gm_fault *fault;
	bool expired;

	down_write(&domain->rwsem);
	do {
		expired = false;
		first = U64_MAX;
		list_for_each_entry(fault, &domain->faults, node) {
			first = min(first, fault->deadline);
			expired = fault->deadline <= now;
			if (expired) {
				/* Others may be resolved by it, too. */
				gm_fault_expire(domain, fault);
				break;
			}
		}
	} while (expired);
	if (first != U64_MAX)
		queue_delayed_work(system_unbound_wq, &domain->deadline_work, first - now);
	up_write(&domain->rwsem);
	gm_event_domain(domain);
}

/* ---- Made ---- */

static int gm_check_domain_create(struct gm_view *view, const struct guestmem_domain_create *arg,
				  struct guestmem_error *err)
{
	u64 granule = arg->page_sizes & -arg->page_sizes;
	u32 rights = READ_ONCE(view->rights) & GM_SESSION_RIGHTS;

	if (arg->flags)
		return -EOPNOTSUPP;
	if (granule < PAGE_SIZE)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_MISALIGNED, granule, PAGE_SIZE, 0);
	if (!IS_ALIGNED(arg->start, granule))
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_MISALIGNED, arg->start, granule, 0);
	if (!IS_ALIGNED(arg->last + 1, granule))
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_MISALIGNED, arg->last + 1, granule,
			       0);
	if (arg->start > arg->last)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_EMPTY, arg->start, granule, 0);
	if (!arg->rights)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_RIGHT, 0, 0, rights);
	return gm_check_right(rights, arg->rights, err);
}

static struct gm_domain *gm_domain_alloc(struct gm_view *view, u64 granule)
{
	struct gm_domain *domain;

	domain = kzalloc(sizeof(*domain), GFP_KERNEL_ACCOUNT);
	if (!domain)
		return NULL;
	domain->records = kvcalloc(GUESTMEM_MAX_RECORDS, sizeof(*domain->records),
				   GFP_KERNEL_ACCOUNT);
	if (!domain->records) {
		kfree(domain);
		return NULL;
	}
	domain->view = view;
	domain->granule = granule;
	init_rwsem(&domain->rwsem);
	domain->mappings = RB_ROOT;
	domain->by_gpa = RB_ROOT_CACHED;
	domain->live = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&domain->sessions);
	INIT_LIST_HEAD(&domain->faults);
	INIT_LIST_HEAD(&domain->faulted_locks);
	INIT_DELAYED_WORK(&domain->deadline_work, gm_domain_deadline);
	init_waitqueue_head(&domain->resolved);
	spin_lock_init(&domain->records_lock);
	mutex_init(&domain->read_mutex);
	init_waitqueue_head(&domain->wait);
	return domain;
}

/* All, of which @root is the tree that they are taken out of. */
static void gm_tree_free(struct rb_root *root)
{
	struct gm_mapping *mapping, *next;

	rbtree_postorder_for_each_entry_safe(mapping, next, root, node) {
		gm_mapping_free(mapping);
		cond_resched();
	}
}

/* Returns the tree of what it was. */
static struct rb_root gm_domain_remove_all(struct gm_domain *domain)
{
	struct rb_root root = domain->mappings;

	lockdep_assert_held_write(&domain->rwsem);
	domain->mappings = RB_ROOT;
	domain->by_gpa = RB_ROOT_CACHED;
	domain->nmappings = 0;
	return root;
}

static void gm_domain_clear(struct gm_domain *domain)
{
	struct rb_root root;

	down_write(&domain->rwsem);
	root = gm_domain_remove_all(domain);
	up_write(&domain->rwsem);
	gm_tree_free(&root);
}

/**
 * gm_domain_free - the end of a domain
 * @domain: the domain; no session is left
 */
void gm_domain_free(struct gm_domain *domain)
{
	gm_domain_clear(domain);
	gm_records_free(domain);
	kfree(domain);
}

/**
 * gm_domain_close - the owner has gone
 * @domain: the domain; its sessions may stay, but can do nothing any more
 *
 * Context: sleeps; no lock of the guest's held.
 */
void gm_domain_close(struct gm_domain *domain)
{
	gm_view_revoke(domain->view);
	cancel_delayed_work_sync(&domain->deadline_work);
	gm_domain_clear(domain);
}

int gm_ioctl_domain_create(struct gm_cmd *cmd)
{
	struct guestmem_domain_create *arg = cmd->arg;
	struct gm_view *parent = cmd->file->view, *view;
	int rc;

	arg->fd = -1;
	arg->id = 0;
	rc = gm_check_view(parent, GUESTMEM_RIGHT_EXPORT, &arg->err);
	if (!rc)
		rc = gm_check_domain_create(parent, arg, &arg->err);
	if (rc)
		return rc;
	view = gm_view_alloc(parent->guest, parent, arg->start, arg->last, 0,
			     arg->rights | GUESTMEM_RIGHT_EXPORT);
	if (!view)
		return -ENOMEM;
	view->domain = gm_domain_alloc(view, arg->page_sizes & -arg->page_sizes);
	if (!view->domain) {
		gm_view_free(view);
		return -ENOMEM;
	}
	return gm_view_respond(cmd, view, &arg->fd, &arg->id, &arg->err);
}

/* ---- Mapped ---- */

static int gm_check_mapping(struct gm_domain *domain, const struct guestmem_mapping *arg,
			    u64 *last, struct guestmem_error *err)
{
	struct gm_view *view = domain->view, *by = view->parent;
	const u64 address[] = { arg->iova, arg->len, arg->backing ? 0 : arg->gpa };
	u64 gpa_last;
	int i, rc;

	if ((!arg->backing && arg->fd) || arg->reserved)
		return -EOPNOTSUPP;
	if (!arg->rights || arg->rights & ~GM_MAPPING_RIGHTS)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_RIGHT, arg->iova, arg->rights,
			       GM_MAPPING_RIGHTS);
	for (i = 0; i < ARRAY_SIZE(address); i++)
		if (!IS_ALIGNED(address[i], domain->granule))
			return gm_fail(err, -EINVAL, GUESTMEM_REASON_MISALIGNED, address[i],
				       domain->granule, 0);
	rc = gm_check_range(arg->iova, arg->len, last, err);
	if (rc)
		return rc;
	if (arg->iova < view->start || *last > view->last)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_APERTURE, arg->iova, arg->len,
			       arg->iova < view->start ? view->start : view->last);
	rc = gm_check_view(view, arg->rights, err);
	if (rc || arg->backing)
		return rc;
	rc = gm_check_range(arg->gpa, arg->len, &gpa_last, err);
	if (rc)
		return rc;
	if (arg->gpa < by->start || gpa_last > by->last)
		return gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE,
			       arg->gpa < by->start ? arg->gpa : by->last + 1, 0, 0);
	return 0;
}

static struct gm_mapping *gm_mapping_create(struct gm_domain *domain,
					    const struct guestmem_mapping *arg,
					    struct guestmem_error *err)
{
	struct gm_view *view = domain->view;
	struct gm_mapping *mapping;
	u64 last;
	int rc;

	rc = gm_check_mapping(domain, arg, &last, err);
	if (rc)
		return ERR_PTR(rc);
	mapping = kmem_cache_alloc(gm_mappings, GFP_KERNEL);
	if (!mapping)
		return ERR_PTR(-ENOMEM);
	mapping->next = NULL;
	mapping->start = arg->iova;
	mapping->last = last;
	mapping->rights = arg->rights;
	mapping->is_external = arg->backing;
	if (!arg->backing) {
		mapping->gpa = arg->gpa + view->parent->shift;
		return mapping;
	}
	mapping->external = gm_region_external(view->guest, &(struct guestmem_region_add) {
		.flags = arg->rights & GUESTMEM_RIGHT_WRITE ? 0 : GUESTMEM_REGION_READONLY,
		.backing = arg->backing,
		.fd = arg->fd,
		.gpa = arg->iova,
		.len = arg->len,
		.offset = arg->gpa,
	}, err);
	if (IS_ERR(mapping->external)) {
		rc = PTR_ERR(mapping->external);
		kmem_cache_free(gm_mappings, mapping);
		return ERR_PTR(rc);
	}
	return mapping;
}

/* The first of the batch; *@failed counts how far it came. */
static struct gm_mapping *gm_batch_alloc(struct gm_domain *domain,
					 const struct guestmem_mapping __user *user, u32 n,
					 u32 *failed, struct guestmem_error *err)
{
	struct gm_mapping *first = NULL, **end = &first, *mapping;
	struct guestmem_mapping arg;

	for (*failed = 0; *failed < n; (*failed)++) {
		mapping = ERR_PTR(-EFAULT);
		if (!copy_from_user(&arg, user + *failed, sizeof(arg)))
			mapping = gm_mapping_create(domain, &arg, err);
		if (IS_ERR(mapping)) {
			gm_mappings_free(first);
			return mapping;
		}
		*end = mapping;
		end = &mapping->next;
		cond_resched();
	}
	return first;
}

/* All or none. */
static int gm_batch_insert(struct gm_domain *domain, struct gm_mapping *batch, u32 n,
			   u32 *failed, struct guestmem_error *err)
{
	struct gm_mapping *mapping, *next, *other;
	u32 most = READ_ONCE(gm_max_mappings);

	lockdep_assert_held_write(&domain->rwsem);
	*failed = 0;
	if (domain->nmappings + n > most)
		return gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, batch->start,
			       domain->nmappings + n, most);
	for (mapping = batch; mapping; mapping = mapping->next, (*failed)++) {
		other = gm_mapping_insert(domain, mapping);
		if (other)
			goto err_erase;
	}
	/* Nothing can fail any more: now they need not be a list. */
	for (mapping = batch; mapping; mapping = next) {
		next = mapping->next;
		if (mapping->is_external)
			gm_region_live(mapping->external);
		else
			gm_by_gpa_insert(mapping, &domain->by_gpa);
	}
	domain->nmappings += n;
	domain->generation++;
	return 0;

err_erase:
	gm_fail(err, 0, GUESTMEM_REASON_OVERLAP, max(other->start, mapping->start), 0, 0);
	for (next = batch; next != mapping; next = next->next)
		rb_erase(&next->node, &domain->mappings);
	return -EEXIST;
}

int gm_ioctl_domain_map(struct gm_cmd *cmd)
{
	struct guestmem_domain_map *arg = cmd->arg;
	struct gm_domain *domain = cmd->file->view->domain;
	struct gm_mapping *batch;
	int rc;

	arg->failed = 0;
	if (arg->flags)
		return -EOPNOTSUPP;
	if (!arg->nmappings)
		return gm_fail(&arg->err, -EINVAL, GUESTMEM_REASON_EMPTY, 0, 1, 0);
	if (arg->nmappings > GUESTMEM_MAP_MAX)
		return gm_fail(&arg->err, -EINVAL, GUESTMEM_REASON_TOO_LONG, 0, arg->nmappings,
			       GUESTMEM_MAP_MAX);
	batch = gm_batch_alloc(domain, u64_to_user_ptr(arg->mappings), arg->nmappings,
			       &arg->failed, &arg->err);
	if (IS_ERR(batch))
		return PTR_ERR(batch);
	arg->failed = 0;
	rc = gm_cmd_respond(cmd);
	if (!rc) {
		down_write(&domain->rwsem);
		rc = gm_batch_insert(domain, batch, arg->nmappings, &arg->failed, &arg->err);
		up_write(&domain->rwsem);
	}
	if (rc)
		gm_mappings_free(batch);
	return rc;
}

/* ---- Unmapped ---- */

static int gm_check_unmap(const struct guestmem_domain_unmap *arg, u64 *last,
			  struct guestmem_error *err)
{
	if (arg->flags & ~(GUESTMEM_UNMAP_ALL | GUESTMEM_UNMAP_EVENTFD))
		return -EOPNOTSUPP;
	if (!(arg->flags & GUESTMEM_UNMAP_EVENTFD) && arg->eventfd)
		return -EOPNOTSUPP;
	if (!(arg->flags & GUESTMEM_UNMAP_ALL))
		return gm_check_range(arg->iova, arg->len, last, err);
	if (arg->iova || arg->len)
		return -EOPNOTSUPP;
	*last = U64_MAX;
	return 0;
}

/* Does a mapping reach over an end of the range? */
static int gm_check_whole(struct gm_domain *domain, u64 start, u64 last,
			  struct guestmem_error *err)
{
	const u64 end[] = { start, last };
	struct gm_mapping *mapping;
	int i;

	for (i = 0; i < ARRAY_SIZE(end); i++) {
		mapping = gm_mapping_from(domain, end[i]);
		if (mapping && mapping->start <= last &&
		    (mapping->start < start || mapping->last > last))
			return gm_fail(err, -ERANGE, GUESTMEM_REASON_PARTIAL, mapping->start,
				       mapping->last - mapping->start + 1, 0);
	}
	return 0;
}

/* Returns a list of those that were in the range. */
static struct gm_mapping *gm_domain_remove(struct gm_domain *domain, u64 start, u64 last)
{
	struct gm_mapping *mapping, *next, *list = NULL;

	for (mapping = gm_mapping_from(domain, start); mapping && mapping->start <= last;
	     mapping = next) {
		next = gm_mapping_next(mapping);
		gm_mapping_remove(domain, mapping);
		mapping->next = list;
		list = mapping;
		cond_resched();
	}
	return list;
}

/**
 * struct gm_removed - mappings that are in no tree of a domain any more
 * @list: these
 * @root: and those below this
 */
struct gm_removed {
	struct gm_mapping *list;
	struct rb_root root;
};

/*
 * -EAGAIN: there may be users, and there is no *@fault yet. Where there are none, which is
 * how it should be, nothing is allocated. -ENOSPC is as gm_fault_hit(); all else is done.
 */
static int gm_domain_unmap(struct gm_domain *domain, u64 start, u64 last,
			   struct gm_removed *removed, struct gm_fault *fault,
			   struct guestmem_domain_unmap *arg)
{
	u64 before;
	int rc;

	down_write(&domain->rwsem);
	rc = gm_check_whole(domain, start, last, &arg->err);
	if (!rc && !fault && (domain->nexports || domain->nlocks))
		rc = -EAGAIN;
	if (rc)
		goto out_unlock;
	before = domain->nmappings;
	if (!start && last == U64_MAX)
		removed->root = gm_domain_remove_all(domain);
	else
		removed->list = gm_domain_remove(domain, start, last);
	arg->nmappings = before - domain->nmappings;
	if (arg->nmappings)
		domain->generation++;
	if (fault)
		rc = gm_fault_hit(domain, fault, &arg->err);
out_unlock:
	up_write(&domain->rwsem);
	return rc;
}

/* In jiffies; 0: at once. */
static u64 gm_deadline(u32 deadline_ms)
{
	if (deadline_ms == GUESTMEM_WAIT_FOREVER)
		return U64_MAX;
	/* Some of this one is over. */
	return deadline_ms ? get_jiffies_64() + msecs_to_jiffies(deadline_ms) + 1 : 0;
}

/* Wait for whom the fault hit. */
static int gm_fault_wait(struct gm_domain *domain, struct gm_fault *fault,
			 struct guestmem_domain_unmap *arg)
{
	long left;

	arg->fault = fault->number;
	left = wait_event_killable_timeout(domain->resolved, !READ_ONCE(fault->nusers),
					   gm_timeout(arg->timeout_ms));
	/* Who made it 0 has told the record and the eventfd, too, when he lets go. */
	down_read(&domain->rwsem);
	arg->nusers = fault->nusers;
	up_read(&domain->rwsem);
	if (!arg->nusers || !arg->timeout_ms)
		return 0;
	return gm_fail(&arg->err, left < 0 ? -EINTR : -ETIMEDOUT, GUESTMEM_REASON_USED,
		       fault->start, arg->nusers, 0);
}

int gm_ioctl_domain_unmap(struct gm_cmd *cmd)
{
	struct guestmem_domain_unmap *arg = cmd->arg;
	struct gm_domain *domain = cmd->file->view->domain;
	struct gm_removed removed = { .root = RB_ROOT };
	struct eventfd_ctx *eventfd = NULL;
	struct gm_fault *fault = NULL;
	u64 last;
	int rc;

	arg->nusers = 0;
	arg->nmappings = 0;
	arg->fault = 0;
	rc = gm_check_unmap(arg, &last, &arg->err);
	if (rc)
		return rc;
	if (arg->flags & GUESTMEM_UNMAP_EVENTFD) {
		eventfd = eventfd_ctx_fdget(arg->eventfd);
		if (IS_ERR(eventfd))
			return -EBADF;
	}
	rc = gm_domain_unmap(domain, arg->iova, last, &removed, NULL, arg);
	if (rc == -EAGAIN) {
		fault = gm_fault_alloc(arg->iova, last, gm_deadline(arg->deadline_ms), eventfd);
		rc = gm_domain_unmap(domain, arg->iova, last, &removed, fault, arg);
	}
	/* It has a number if there was anybody: they come first. */
	if (fault && fault->number) {
		gm_event_domain(domain);
		gm_revoke_domain_clients(domain);
	} else if (!rc && eventfd) {
		gm_eventfd_signal(eventfd);
	}
	gm_mappings_free(removed.list);
	gm_tree_free(&removed.root);
	if (!rc && fault && fault->number)
		rc = gm_fault_wait(domain, fault, arg);
	trace_guestmem_unmap(domain->view->guest->id, domain->view->id, arg->iova, last,
			     arg->nmappings, arg->fault, arg->nusers);
	/* Which has the eventfd, too. */
	if (fault)
		gm_fault_put(fault);
	else if (eventfd)
		eventfd_ctx_put(eventfd);
	return rc ?: gm_cmd_respond(cmd);
}

/*
 * Does it map what lies beside the region, too? Then DMA locks in it need not be the
 * region's; those that are, are known by that.
 */
static bool gm_mapping_exceeds(const struct gm_mapping *mapping, const struct gm_region *region)
{
	return mapping->gpa < region->node.start ||
	       gm_mapping_gpa_last(mapping) > region->node.last;
}

/* Does a session have a DMA lock in the range, of what is mapped there now? */
static bool gm_session_locks(struct gm_session *session, u64 start, u64 last)
{
	struct mutex *mutex = &session->view->guest->locks_mutex;
	struct guestmem_dma_lock *lock;
	bool any = false;
	u32 i;

	mutex_lock(mutex);
	list_for_each_entry(lock, &session->view->locks, node)
		for (i = 0; i < lock->nholds && !any; i++)
			any = !lock->holds[i].faulted &&
			      gm_ranges_overlap(start, last, lock->holds[i].start,
						lock->holds[i].last);
	mutex_unlock(mutex);
	return any;
}

/* Does a session use some of a mapping of the region, by an export or a lock that is not its? */
static bool gm_mapping_used(struct gm_domain *domain, const struct gm_mapping *mapping,
			    const struct gm_region *region)
{
	struct gm_session *session;

	if (gm_exports_live(domain, mapping->start, mapping->last))
		return true;
	if (READ_ONCE(domain->nlocks) && gm_mapping_exceeds(mapping, region))
		list_for_each_entry(session, &domain->sessions, node)
			if (gm_session_locks(session, mapping->start, mapping->last))
				return true;
	return false;
}

/**
 * gm_domain_region_used - do sessions use mappings of a region?
 * @domain: a domain
 * @region: the region
 *
 * Context: regions_rwsem held for writing.
 * Return: whether they do, but by DMA locks that hold the region.
 */
bool gm_domain_region_used(struct gm_domain *domain, struct gm_region *region)
{
	struct gm_mapping *mapping;
	bool used = false;

	down_read(&domain->rwsem);
	if (domain->nexports || READ_ONCE(domain->nlocks))
		for (mapping = gm_by_gpa_iter_first(&domain->by_gpa, region->node.start,
						    region->node.last);
		     mapping && !used;
		     mapping = gm_by_gpa_iter_next(mapping, region->node.start,
						   region->node.last)) {
			used = gm_mapping_used(domain, mapping, region);
			cond_resched();
		}
	up_read(&domain->rwsem);
	return used;
}

/* Sessions with DMA locks on a region that is removed are told; who else would tell them? */
static void gm_domain_hit_holders(struct gm_domain *domain, struct gm_region *region)
{
	struct guestmem_dma_lock *lock;
	struct gm_hold *hold;
	u32 i;

	mutex_lock(&region->guest->locks_mutex);
	list_for_each_entry(hold, &region->locks, node) {
		lock = hold->lock;
		/* Its first part there, in the list, may have been hit before, and others not. */
		for (i = 0; lock->view->domain == domain && i < lock->nholds; i++)
			if (lock->holds[i].region == region && !lock->holds[i].faulted)
				lock->view->session->hit = true;
	}
	mutex_unlock(&region->guest->locks_mutex);
}

/**
 * gm_domain_region_gone - a region is being removed: so are its mappings
 * @domain: a domain; then gm_event_domain() and gm_revoke_domain_clients() are due
 * @region: the region; no longer in the tree
 *
 * Context: regions_rwsem held for writing.
 */
void gm_domain_region_gone(struct gm_domain *domain, struct gm_region *region)
{
	struct gm_session *session;
	struct gm_mapping *mapping;
	struct pid *pid = NULL;
	bool exceeds;

	down_write(&domain->rwsem);
	if (domain->nlocks)
		gm_domain_hit_holders(domain, region);
	while ((mapping = gm_by_gpa_iter_first(&domain->by_gpa, region->node.start,
					       region->node.last))) {
		struct gm_fault range = { .start = mapping->start, .last = mapping->last,
					  .number = domain->nfaults + 1 };

		exceeds = gm_mapping_exceeds(mapping, region);
		gm_mapping_remove(domain, mapping);
		/* Of the guest, so there is nobody to be waited for. */
		kmem_cache_free(gm_mappings, mapping);
		domain->generation++;
		gm_record(domain, &(struct guestmem_record) {
			.type = GUESTMEM_RECORD_REMOVED,
			.iova = range.start,
			.len = range.last - range.start + 1,
			.count = region->id,
		}, NULL);
		/* Those that were dead before are left to the faults that they wait for. */
		gm_exports_end_live(domain, range.start, range.last);
		if (exceeds && domain->nlocks)
			list_for_each_entry(session, &domain->sessions, node)
				gm_fault_hit_locks(&range, session, &pid, &session->hit);
		cond_resched();
	}
	/* Once, however much of it was hit. */
	list_for_each_entry(session, &domain->sessions, node) {
		if (session->hit)
			gm_session_break(session);
		session->hit = false;
	}
	up_write(&domain->rwsem);
}

/**
 * gm_domain_region_stale - the process has other pages now where a region is from
 * @domain: a domain; to be told by gm_event_domain() later
 * @region: the region
 *
 * Context: regions_rwsem held.
 */
void gm_domain_region_stale(struct gm_domain *domain, struct gm_region *region)
{
	const struct gm_mapping *mapping;

	down_write(&domain->rwsem);
	if (region->id) {
		mapping = gm_by_gpa_iter_first(&domain->by_gpa, region->node.start,
					       region->node.last);
	} else {
		mapping = gm_domain_lookup(domain, region->node.start);
		if (mapping && !(mapping->is_external && mapping->external == region))
			mapping = NULL;
	}
	if (mapping)
		gm_record(domain, &(struct guestmem_record) {
			.type = GUESTMEM_RECORD_STALE,
			.iova = mapping->start,
			.len = mapping->last - mapping->start + 1,
			.count = region->id,
		}, NULL);
	up_write(&domain->rwsem);
}

/* ---- Listed ---- */

/**
 * gm_domain_info - what INFO tells of a domain or a session
 * @view: its view
 * @info: the answer; gets what is told of these only, and the generation
 *
 * Context: regions_rwsem held.
 */
void gm_domain_info(struct gm_view *view, struct guestmem_info *info)
{
	struct gm_session *session = view->session;
	struct gm_domain *domain = view->domain;

	down_read(&domain->rwsem);
	info->domain = domain->view->id;
	info->generation = domain->generation;
	info->max_exports = GUESTMEM_MAX_EXPORTS;
	info->nexports = session ? session->nexports : domain->nexports;
	info->nfaults = session ? session->nfaults : domain->nunresolved;
	info->nmappings = session ? 0 : domain->nmappings;
	info->max_mappings = session ? 0 : READ_ONCE(gm_max_mappings);
	info->broken = session && session->broken;
	info->pinned = session ? session->exported : 0;
	up_read(&domain->rwsem);
}

#define GM_LIST_BURST	64

/* Returns how many; *@iova: where to go on. */
static u32 gm_domain_gather(struct gm_domain *domain, u64 *iova, bool *more,
			    struct guestmem_mapping *to, u32 capacity, u64 *generation)
{
	const struct gm_mapping *mapping;
	u32 n = 0;

	down_read(&domain->rwsem);
	*generation = domain->generation;
	mapping = gm_mapping_from(domain, *iova);
	for (; mapping && n < capacity; mapping = gm_mapping_next(mapping)) {
		to[n++] = (struct guestmem_mapping) {
			.iova = mapping->start,
			.len = mapping->last - mapping->start + 1,
			.gpa = mapping->is_external ? 0 :
			       mapping->gpa - domain->view->parent->shift,
			.rights = mapping->rights,
			.backing = mapping->is_external ? mapping->external->backing : 0,
		};
		*iova = mapping->last + 1;
	}
	*more = mapping;
	up_read(&domain->rwsem);
	return n;
}

int gm_ioctl_domain_list(struct gm_cmd *cmd)
{
	struct guestmem_domain_list *arg = cmd->arg;
	struct gm_domain *domain = cmd->file->view->domain;
	struct guestmem_mapping __user *user = u64_to_user_ptr(arg->entries);
	struct guestmem_mapping *burst;
	u32 capacity = arg->nentries, n;
	u64 generation;
	bool more = true;
	int rc = 0;

	if (arg->flags || arg->reserved)
		return -EOPNOTSUPP;
	burst = kvcalloc(GM_LIST_BURST, sizeof(*burst), GFP_KERNEL_ACCOUNT);
	if (!burst)
		return -ENOMEM;
	arg->nentries = 0;
	do {
		n = gm_domain_gather(domain, &arg->iova, &more, burst,
				     min_t(u32, capacity - arg->nentries, GM_LIST_BURST),
				     &generation);
		if (copy_to_user(user + arg->nentries, burst, n * sizeof(*burst)))
			rc = -EFAULT;
		/* Of the first of it: who lists again, and finds the same, has seen all. */
		if (!arg->nentries)
			arg->generation = generation;
		arg->nentries += rc ? 0 : n;
		if (!rc && fatal_signal_pending(current))
			rc = -EINTR;
		cond_resched();
	} while (!rc && more && arg->nentries < capacity);
	kvfree(burst);
	if (!more)
		arg->iova = 0;
	return rc ?: gm_cmd_respond(cmd);
}
