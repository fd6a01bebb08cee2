// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions: the clients of a domain, and what they export.
 *
 * A session reaches an IOVA if it is mapped by the domain and in a live export of the
 * session's. An export is live from EXPORT until it is released or some of it is taken
 * back; then it is dead, all of it, and never comes to life again, whatever is mapped
 * there later. What is dead can only be released. As a session sees nothing else, PTEs of
 * its VMAs exist only in live exports, and only these need be zapped.
 *
 * A session that was hit is broken, and exports nothing more until it has released all:
 * so that it does not go on with half of what it had. Its other exports work on.
 *
 * All of it is protected by domain::rwsem.
 */
#include <linux/interval_tree_generic.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "guestmem_private.h"
#include "trace.h"

#define GM_RW	(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)

#define gm_export_start(export)	((export)->node.start)
#define gm_export_last(export)	((export)->node.last)

INTERVAL_TREE_DEFINE(struct gm_export, live_node, u64, live_subtree_last, gm_export_start,
		     gm_export_last, static __maybe_unused, gm_live)

static struct gm_export *gm_export_first(struct rb_root_cached *tree, u64 start, u64 last)
{
	struct interval_tree_node *node = interval_tree_iter_first(tree, start, last);

	return node ? container_of(node, struct gm_export, node) : NULL;
}

static struct gm_export *gm_export_next(struct gm_export *export, u64 start, u64 last)
{
	struct interval_tree_node *node = interval_tree_iter_next(&export->node, start, last);

	return node ? container_of(node, struct gm_export, node) : NULL;
}

/* A live export with at least these rights. */
static struct gm_export *gm_export_with(struct gm_session *session, u64 start, u64 last, u32 need)
{
	struct gm_export *export = NULL;
	u32 rights;

	for (rights = GM_RW; rights && !export; rights--)
		if (!(need & ~rights))
			export = gm_export_first(&session->live[rights], start, last);
	return export;
}

/*
 * How far what is exported goes from an IOVA on, both ways, and with which rights: at least
 * to the ends of its page, if exports side by side do; for a page is mapped in whole.
 */
static bool gm_session_exported(struct gm_session *session, u64 iova, u32 need, u64 *start,
				u64 *last, u32 *rights)
{
	struct gm_export *export = gm_export_with(session, iova, iova, need) ?:
				   gm_export_with(session, iova, iova, 0);
	u64 page_start = iova & PAGE_MASK, page_last = iova | ~PAGE_MASK;
	u32 most;

	if (!export)
		return false;
	*start = export->node.start;
	*last = export->node.last;
	*rights = most = export->rights;
	while (*last < page_last &&
	       (export = gm_export_with(session, *last + 1, *last + 1, need))) {
		*last = export->node.last;
		*rights &= export->rights;
		most |= export->rights;
	}
	while (*start > page_start &&
	       (export = gm_export_with(session, *start - 1, *start - 1, need))) {
		*start = export->node.start;
		*rights &= export->rights;
		most |= export->rights;
	}
	/* What has less at the ends is no reason to have less elsewhere. */
	if (*rights != most) {
		*start = max(*start, page_start);
		*last = min(*last, page_last);
	}
	return true;
}

/**
 * gm_session_seek - what lies at an IOVA
 * @cur: the walk of a session; gets what gm_cursor_seek() does not set itself
 * @iova: the IOVA
 *
 * If exports overlap, what of them has the rights that the walk needs, if there is any.
 *
 * Context: in the walk.
 * Return: whether anything does.
 */
bool gm_session_seek(struct gm_cursor *cur, u64 iova)
{
	struct gm_session *session = cur->view->session;
	struct gm_domain *domain = cur->view->domain;
	u64 start, last, region_start, region_last;
	const struct gm_mapping *mapping;
	struct gm_region *region;
	u32 rights;

	lockdep_assert_held(&domain->rwsem);
	if (!gm_session_exported(session, iova, cur->need & GM_RW, &start, &last, &rights))
		return false;
	/* A CPU that guesses must not look up what lies beside the export, or the mapping. */
	iova = gm_clamp(iova, start, last);
	mapping = gm_domain_lookup(domain, iova);
	if (!mapping)
		return false;
	iova = gm_clamp(iova, mapping->start, mapping->last);
	cur->shift = mapping->is_external ? 0 : mapping->gpa - mapping->start;
	region = mapping->is_external ? mapping->external :
		 gm_guest_region(cur->view->guest, iova + cur->shift);
	if (!region)
		return false;
	/* As IOVAs, those may wrap; as distances from this one, not. */
	region_start = iova - (iova + cur->shift - region->node.start);
	region_last = iova + (region->node.last - (iova + cur->shift));
	cur->region = region;
	cur->part_start = max(mapping->start, start);
	cur->part_last = min(mapping->last, last);
	if (iova - region_start < iova - cur->part_start)
		cur->part_start = region_start;
	if (region_last - iova < cur->part_last - iova)
		cur->part_last = region_last;
	cur->rights = mapping->rights & rights;
	if (region->flags & GUESTMEM_REGION_READONLY)
		cur->rights &= ~GUESTMEM_RIGHT_WRITE;
	return true;
}

/* ---- Made and ended ---- */

static struct gm_session *gm_session_alloc(struct gm_view *view)
{
	struct gm_session *session;
	u32 rights;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return NULL;
	session->view = view;
	for (rights = 0; rights <= GM_RW; rights++)
		session->live[rights] = RB_ROOT_CACHED;
	session->dead = RB_ROOT_CACHED;
	session->next_handle = 1;
	xa_init_flags(&session->exports, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	return session;
}

/**
 * gm_session_attach - a session can be hit by faults from now on
 * @session: the session
 *
 * Context: regions_rwsem held for writing. Undone by gm_session_detach().
 */
void gm_session_attach(struct gm_session *session)
{
	struct gm_domain *domain = session->view->domain;

	down_write(&domain->rwsem);
	list_add_tail(&session->node, &domain->sessions);
	up_write(&domain->rwsem);
}

/**
 * gm_session_detach - a session uses nothing any more
 * @session: the session
 *
 * Context: regions_rwsem held for writing.
 */
void gm_session_detach(struct gm_session *session)
{
	struct gm_domain *domain = session->view->domain;

	down_write(&domain->rwsem);
	list_del(&session->node);
	up_write(&domain->rwsem);
}

/**
 * gm_session_free - the end of a session
 * @session: without exports
 */
void gm_session_free(struct gm_session *session)
{
	xa_destroy(&session->exports);
	kfree(session);
}

int gm_ioctl_session_create(struct gm_cmd *cmd)
{
	struct guestmem_session_create *arg = cmd->arg;
	struct gm_view *parent = cmd->file->view, *view;
	u32 rights = READ_ONCE(parent->rights) & ~(u32)GUESTMEM_RIGHT_EXPORT;
	int rc;

	arg->fd = -1;
	arg->id = 0;
	if (arg->flags)
		return -EOPNOTSUPP;
	if (!arg->rights)
		return gm_fail(&arg->err, -EINVAL, GUESTMEM_REASON_RIGHT, 0, 0, rights);
	rc = gm_check_right(rights, arg->rights, &arg->err);
	if (rc)
		return rc;
	view = gm_view_alloc(parent->guest, parent, parent->start, parent->last, 0, arg->rights);
	if (!view)
		return -ENOMEM;
	view->session = gm_session_alloc(view);
	if (!view->session) {
		gm_view_free(view);
		return -ENOMEM;
	}
	view->domain = parent->domain;
	return gm_view_respond(cmd, view, &arg->fd, &arg->id, &arg->err);
}

/**
 * gm_session_break - a session was hit: it is told, and exports nothing more for now
 * @session: the session
 *
 * Context: domain::rwsem held for writing.
 */
void gm_session_break(struct gm_session *session)
{
	lockdep_assert_held_write(&session->view->domain->rwsem);
	session->broken = true;
	session->nfaults++;
	WRITE_ONCE(session->news, true);
	/* Pairs with gm_event_domain_locked(): who takes this finds the other. */
	smp_store_release(&session->view->domain->news, true);
}

/* No access by it from now on. */
static void gm_export_die(struct gm_export *export)
{
	struct gm_session *session = export->session;

	interval_tree_remove(&export->node, &session->live[export->rights]);
	gm_live_remove(export, &session->view->domain->live);
	gm_zap(session->view, export->node.start, export->node.last);
	session->exported -= export->node.last - export->node.start + 1;
}

/* The end of an export, by its holder's will or not. */
static void gm_export_end(struct gm_export *export)
{
	struct gm_session *session = export->session;
	struct gm_domain *domain = session->view->domain;

	lockdep_assert_held_write(&domain->rwsem);
	if (export->dead)
		interval_tree_remove(&export->node, &session->dead);
	else
		gm_export_die(export);
	xa_erase(&session->exports, export->handle);
	session->nexports--;
	domain->nexports--;
	gm_domain_export_gone(domain, export);
	put_pid(export->pid);
	kfree(export);
}

static void gm_export_force(struct gm_export *export, u64 fault, u64 elapsed_ms)
{
	struct gm_session *session = export->session;

	gm_record(session->view->domain, &(struct guestmem_record) {
		.type = GUESTMEM_RECORD_FORCED,
		.fault = fault,
		.session = session->view->id,
		.iova = export->node.start,
		.len = export->node.last - export->node.start + 1,
		.elapsed_ms = elapsed_ms,
	}, export->pid);
	gm_export_end(export);
}

/**
 * gm_session_hit - exports that overlap a range are dead from now on
 * @session: the session
 * @start: first IOVA
 * @last: last IOVA
 * @pid: who made one of them, if there is one; valid as long as domain::rwsem is held
 * @fresh: set if some of them were live
 *
 * Context: domain::rwsem held for writing.
 * Return: how many overlap, also of those that were dead before.
 */
u32 gm_session_hit(struct gm_session *session, u64 start, u64 last, struct pid **pid,
		   bool *fresh)
{
	struct gm_export *export;
	u32 n = 0;

	lockdep_assert_held_write(&session->view->domain->rwsem);
	while ((export = gm_export_with(session, start, last, 0))) {
		gm_export_die(export);
		export->dead = true;
		*fresh = true;
		interval_tree_insert(&export->node, &session->dead);
	}
	for (export = gm_export_first(&session->dead, start, last); export;
	     export = gm_export_next(export, start, last)) {
		*pid = export->pid;
		n++;
	}
	return n;
}

/**
 * gm_session_end_hit - end by force the exports that a fault hit
 * @session: the session
 * @start: first IOVA of the fault
 * @last: last IOVA of it
 * @fault: its number
 * @elapsed_ms: how long ago it was
 *
 * Context: domain::rwsem held for writing.
 */
void gm_session_end_hit(struct gm_session *session, u64 start, u64 last, u64 fault,
			u64 elapsed_ms)
{
	struct gm_export *export, *next;

	for (export = gm_export_first(&session->dead, start, last); export; export = next) {
		next = gm_export_next(export, start, last);
		if (export->born < fault)
			gm_export_force(export, fault, elapsed_ms);
	}
}

/**
 * gm_exports_live - is there a live export of any session's that overlaps a range?
 * @domain: the domain
 * @start: first IOVA
 * @last: last IOVA
 *
 * Context: domain::rwsem held.
 * Return: whether there is.
 */
bool gm_exports_live(struct gm_domain *domain, u64 start, u64 last)
{
	lockdep_assert_held(&domain->rwsem);
	return gm_live_iter_first(&domain->live, start, last);
}

/**
 * gm_exports_end_live - end by force all live exports that overlap a range
 * @domain: the domain; sets session::hit of those who had them
 * @start: first IOVA
 * @last: last IOVA
 *
 * Context: domain::rwsem held for writing.
 */
void gm_exports_end_live(struct gm_domain *domain, u64 start, u64 last)
{
	struct gm_export *export;

	lockdep_assert_held_write(&domain->rwsem);
	while ((export = gm_live_iter_first(&domain->live, start, last))) {
		export->session->hit = true;
		gm_export_force(export, 0, 0);
		cond_resched();
	}
}

/**
 * gm_session_limited - a session has lost rights: so have its exports
 * @session: the session; to be told by gm_event_domain() later
 *
 * Of one that was revoked none is left: it could not even release them.
 *
 * Context: regions_rwsem held for writing.
 */
void gm_session_limited(struct gm_session *session)
{
	struct gm_view *view = session->view;
	struct gm_export *export;
	unsigned long handle;
	bool any = false;

	down_write(&view->domain->rwsem);
	xa_for_each(&session->exports, handle, export)
		if (!view->rights || (!export->dead && export->rights & ~view->rights)) {
			gm_export_force(export, 0, 0);
			any = true;
		}
	if (any)
		gm_session_break(session);
	up_write(&view->domain->rwsem);
}

/**
 * gm_session_release_all - end all exports; a broken session is whole again
 * @session: the session
 *
 * Context: sleeps; no lock of the guest's held.
 * Return: how many there were.
 */
u32 gm_session_release_all(struct gm_session *session)
{
	struct gm_domain *domain = session->view->domain;
	struct gm_export *export;
	unsigned long handle;
	u32 n = 0;

	down_write(&domain->rwsem);
	xa_for_each(&session->exports, handle, export) {
		gm_export_end(export);
		n++;
		cond_resched();
	}
	session->broken = false;
	up_write(&domain->rwsem);
	if (READ_ONCE(domain->news))
		gm_event_domain(domain);
	return n;
}

/* ---- Exported ---- */

/**
 * struct gm_pieces - what an export is made of
 * @piece: array of the kernel's
 * @capacity: entries there is room for
 * @n: entries there are, or would be if there were room
 * @end: the one that was added last, also if there was no room
 * @external: which is not in the guest
 */
struct gm_pieces {
	struct guestmem_piece *piece;
	u32 capacity;
	u32 n;
	struct guestmem_piece end;
	bool external;
};

static void gm_pieces_add(struct gm_pieces *pieces, const struct guestmem_piece *piece,
			  bool external)
{
	struct guestmem_piece *end = &pieces->end;

	/* Nothing comes before the first GPA. */
	if (pieces->n && !pieces->external && !external && piece->gpa &&
	    end->gpa + end->len == piece->gpa && end->rights == piece->rights) {
		end->len += piece->len;
	} else {
		*end = *piece;
		pieces->n++;
	}
	pieces->external = external;
	if (pieces->n <= pieces->capacity)
		pieces->piece[pieces->n - 1] = *end;
}

/* Is there memory, and may it be written to if need be? */
static int gm_check_export_gpa(struct gm_view *view, u64 iova, u64 gpa, u64 gpa_last, u32 rights,
			       struct guestmem_error *err)
{
	struct gm_region *region;
	u64 at = gpa;

	for (;;) {
		region = gm_guest_region(view->guest, at);
		if (!region)
			return gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE, iova + (at - gpa), 0, 0);
		if (rights & GUESTMEM_RIGHT_WRITE && region->flags & GUESTMEM_REGION_READONLY)
			return gm_fail(err, -EACCES, GUESTMEM_REASON_READONLY, iova + (at - gpa),
				       0, 0);
		if (region->node.last >= gpa_last)
			return 0;
		at = region->node.last + 1;
	}
}

static int gm_check_export(struct gm_view *view, struct gm_export *export,
			   struct gm_pieces *pieces, struct guestmem_error *err)
{
	const struct gm_mapping *mapping = gm_domain_lookup(view->domain, export->node.start);
	u64 iova = export->node.start, gpa = 0, last;
	u32 n;
	int rc = 0;

	for (n = 0;; n++, mapping = gm_mapping_next(mapping)) {
		if (!mapping || mapping->start > iova)
			return gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE, iova, 0, 0);
		if (n == GUESTMEM_MAX_PARTS)
			return gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, iova, n + 1, n);
		if (export->rights & ~mapping->rights)
			return gm_fail(err, -EACCES, GUESTMEM_REASON_PERMISSION, iova,
				       export->rights, mapping->rights);
		last = min_t(u64, mapping->last, export->node.last);
		gpa = mapping->is_external ? 0 : mapping->gpa + (iova - mapping->start);
		if (!mapping->is_external)
			rc = gm_check_export_gpa(view, iova, gpa, gpa + (last - iova),
						 export->rights, err);
		if (rc)
			return rc;
		gm_pieces_add(pieces, &(struct guestmem_piece) {
			.iova = iova,
			.len = last - iova + 1,
			.gpa = mapping->is_external ? 0 : gpa - view->parent->parent->shift,
			.rights = mapping->rights,
		}, mapping->is_external);
		if (last == export->node.last)
			return 0;
		iova = last + 1;
	}
}

/* All or nothing. */
static int gm_export(struct gm_view *view, struct gm_export *export, struct gm_pieces *pieces,
		     struct guestmem_error *err)
{
	struct gm_session *session = view->session;
	struct gm_domain *domain = view->domain;
	int rc;

	down_read(&view->guest->regions_rwsem);
	down_write(&domain->rwsem);
	rc = gm_check_view(view, export->rights, err);
	if (!rc && session->broken)
		rc = gm_fail(err, -ESTALE, GUESTMEM_REASON_BROKEN, export->node.start, 0, 0);
	if (!rc && session->nexports == GUESTMEM_MAX_EXPORTS)
		rc = gm_fail(err, -ENOSPC, GUESTMEM_REASON_LIMIT, export->node.start,
			     GUESTMEM_MAX_EXPORTS + 1, GUESTMEM_MAX_EXPORTS);
	if (!rc)
		rc = gm_check_export(view, export, pieces, err);
	if (!rc && pieces->capacity && pieces->n > pieces->capacity)
		rc = gm_fail(err, -EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, pieces->n,
			     pieces->capacity);
	if (!rc) {
		export->born = domain->nfaults;
		interval_tree_insert(&export->node, &session->live[export->rights]);
		gm_live_insert(export, &domain->live);
		session->exported += export->node.last - export->node.start + 1;
		session->nexports++;
		domain->nexports++;
		/* It was reserved: needs no memory. */
		xa_store(&session->exports, export->handle, export, GFP_KERNEL_ACCOUNT);
	}
	up_write(&domain->rwsem);
	up_read(&view->guest->regions_rwsem);
	return rc;
}

static int gm_release_handle(struct gm_session *session, u32 handle)
{
	struct gm_domain *domain = session->view->domain;
	struct gm_export *export;

	down_write(&domain->rwsem);
	export = xa_load(&session->exports, handle);
	if (export)
		gm_export_end(export);
	up_write(&domain->rwsem);
	if (READ_ONCE(domain->news))
		gm_event_domain(domain);
	return export ? 0 : -ENOENT;
}

static struct gm_export *gm_export_alloc(struct gm_session *session, u64 start, u64 last,
					 u32 rights)
{
	struct gm_export *export;
	int rc;

	export = kzalloc(sizeof(*export), GFP_KERNEL_ACCOUNT);
	if (!export)
		return ERR_PTR(-ENOMEM);
	rc = xa_alloc_cyclic(&session->exports, &export->handle, NULL, XA_LIMIT(1, U32_MAX),
			     &session->next_handle, GFP_KERNEL_ACCOUNT);
	if (rc < 0) {
		kfree(export);
		return ERR_PTR(rc);
	}
	export->session = session;
	export->node.start = start;
	export->node.last = last;
	export->rights = rights;
	export->pid = get_pid(task_tgid(current));
	return export;
}

/* It was never found by anybody. */
static void gm_export_free(struct gm_session *session, struct gm_export *export)
{
	xa_erase(&session->exports, export->handle);
	put_pid(export->pid);
	kfree(export);
}

static int gm_pieces_copy_out(struct gm_view *view, struct gm_pieces *pieces, u64 user)
{
	u32 i;

	if (!(READ_ONCE(view->rights) & GUESTMEM_RIGHT_TRANSLATE))
		for (i = 0; pieces->capacity && i < pieces->n; i++)
			pieces->piece[i].gpa = 0;
	if (pieces->capacity &&
	    copy_to_user(u64_to_user_ptr(user), pieces->piece, pieces->n * sizeof(*pieces->piece)))
		return -EFAULT;
	return 0;
}

static int gm_check_export_args(const struct guestmem_export *arg, u64 *last,
				struct guestmem_error *err)
{
	if (arg->flags || arg->reserved)
		return -EOPNOTSUPP;
	if (!arg->rights || arg->rights & ~GM_RW)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_RIGHT, arg->iova, arg->rights, GM_RW);
	return gm_check_range(arg->iova, arg->len, last, err);
}

int gm_ioctl_export(struct gm_cmd *cmd)
{
	struct guestmem_export *arg = cmd->arg;
	struct gm_view *view = cmd->file->view;
	/* More than there can be would only be a large array. */
	struct gm_pieces pieces = { .capacity = min(arg->npieces, GUESTMEM_MAX_PARTS) };
	struct gm_export *export;
	u32 handle;
	u64 last;
	int rc;

	arg->handle = 0;
	arg->npieces = 0;
	rc = gm_check_export_args(arg, &last, &arg->err);
	if (rc)
		return rc;
	if (pieces.capacity) {
		pieces.piece = kvcalloc(pieces.capacity, sizeof(*pieces.piece),
					GFP_KERNEL_ACCOUNT);
		if (!pieces.piece)
			return -ENOMEM;
	}
	export = gm_export_alloc(view->session, arg->iova, last, arg->rights);
	if (IS_ERR(export)) {
		rc = PTR_ERR(export);
		goto out_free;
	}
	/* Somebody may end it as soon as it is there. */
	handle = export->handle;
	rc = gm_export(view, export, &pieces, &arg->err);
	trace_guestmem_export(view->guest->id, view->id, arg->iova, last, handle, rc);
	arg->npieces = pieces.n;
	if (rc) {
		gm_export_free(view->session, export);
		goto out_free;
	}
	arg->handle = handle;
	rc = gm_pieces_copy_out(view, &pieces, arg->pieces);
	if (!rc)
		rc = gm_cmd_respond(cmd);
	if (rc) {
		arg->handle = 0;
		gm_release_handle(view->session, handle);
	}
out_free:
	kvfree(pieces.piece);
	return rc;
}

int gm_ioctl_release(struct gm_cmd *cmd)
{
	struct guestmem_release *arg = cmd->arg;
	struct gm_session *session = cmd->file->view->session;
	int rc = 0;

	arg->nreleased = 0;
	if (arg->flags & ~GUESTMEM_RELEASE_ALL)
		return -EOPNOTSUPP;
	if (arg->flags) {
		if (arg->handle)
			return -EOPNOTSUPP;
		arg->nreleased = gm_session_release_all(session);
	} else {
		rc = gm_release_handle(session, arg->handle);
		arg->nreleased = !rc;
	}
	return rc ?: gm_cmd_respond(cmd);
}
