// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Regions: add, remove, revoke, list; find one by an address. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"
#include "recover.h"

static int add(struct guestmem *g, enum op op, struct guestmem_region_add *arg, uint32_t *id)
{
	struct why why = { 0 };
	int ret = handle_check(g, op);

	if (ret < 0)
		return ret;
	if (!g->space->be->add)
		return fail(op, EOPNOTSUPP, "the guest has the memory that its maker gave it");
	/* The kernel checks this too, for its files; parts are the library's. */
	if (!(g->rights & GUESTMEM_RIGHT_MANAGE)) {
		why_reason(&why, EACCES, GUESTMEM_REASON_RIGHT, arg->gpa,
			   GUESTMEM_RIGHT_MANAGE, g->rights);
		return fail_reason(op, EACCES, &why.e);
	}
	arg->size = sizeof(*arg);
	ret = g->space->be->add(g->space, op, arg, &why);
	if (ret < 0)
		return fail_why(g, op, ret, &why, 0);
	if (id)
		*id = arg->id;
	return 0;
}

int guestmem_add_user(struct guestmem *g, uint64_t gpa, uint64_t len, void *addr,
		      uint32_t flags, uint32_t *id)
{
	struct guestmem_region_add arg = {
		.flags = flags,
		.backing = GUESTMEM_BACKING_USER,
		.gpa = gpa,
		.len = len,
		.offset = to_u64(addr),
	};

	return add(g, OP_ADD_USER, &arg, id);
}

int guestmem_add_file(struct guestmem *g, uint64_t gpa, uint64_t len, int fd,
		      uint64_t offset, uint32_t flags, uint32_t *id)
{
	struct guestmem_region_add arg = {
		.flags = flags,
		.backing = GUESTMEM_BACKING_FILE,
		.fd = fd,
		.gpa = gpa,
		.len = len,
		.offset = offset,
	};

	return add(g, OP_ADD_FILE, &arg, id);
}

int guestmem_add_anon(struct guestmem *g, uint64_t gpa, uint64_t len, uint32_t flags,
		      uint32_t *id)
{
	struct guestmem_region_add arg = {
		.flags = flags,
		.gpa = gpa,
		.len = len,
	};

	return add(g, OP_ADD_ANON, &arg, id);
}

static int remove_region(struct guestmem *g, enum op op, struct guestmem_region_remove *arg)
{
	struct why why = { 0 };
	int ret = handle_check(g, op);

	if (ret < 0)
		return ret;
	if (!g->space->be->remove)
		return fail(op, EOPNOTSUPP, "the guest has the memory that its maker gave it");
	if (!(g->rights & GUESTMEM_RIGHT_MANAGE)) {
		why_reason(&why, EACCES, GUESTMEM_REASON_RIGHT, 0, GUESTMEM_RIGHT_MANAGE,
			   g->rights);
		return fail_reason(op, EACCES, &why.e);
	}
	arg->size = sizeof(*arg);
	ret = g->space->be->remove(g->space, arg, &why);
	return ret < 0 ? fail_why(g, op, ret, &why, 0) : 0;
}

int guestmem_remove(struct guestmem *g, uint32_t id)
{
	struct guestmem_region_remove arg = { .id = id };

	return remove_region(g, OP_REMOVE, &arg);
}

int guestmem_revoke(struct guestmem *g, uint32_t id, uint32_t timeout_ms, uint32_t *nlocks)
{
	struct guestmem_region_remove arg = {
		.flags = GUESTMEM_REMOVE_FORCE,
		.id = id,
		.timeout_ms = timeout_ms,
	};
	int ret = remove_region(g, OP_REVOKE, &arg);

	if (nlocks)
		*nlocks = arg.nlocks;
	return ret;
}

/* Cut to what of [@gpa, @gpa + @len) is in the handle, and told as seen from it. */
static bool cut(const struct guestmem *g, __u64 *gpa, __u64 *len)
{
	uint64_t first = *gpa, last = *gpa + (*len - 1);
	uint64_t start = g->fast.offset, stop = start + g->last;

	if (last < start || first > stop)
		return false;
	first = first > start ? first : start;
	last = last < stop ? last : stop;
	*gpa = first - start;
	*len = last - first + 1;
	return true;
}

/*
 * When struct guestmem_region grows, an old program must go on getting the old
 * stride: by a new symbol version of this function.
 */
int guestmem_regions(struct guestmem *g, struct guestmem_region **regions, size_t *n)
{
	struct why why = { 0 };
	size_t i, kept = 0;
	uint64_t before;
	int ret;

	if (regions)
		*regions = NULL;
	if (n)
		*n = 0;
	ret = handle_check(g, OP_REGIONS);
	if (ret < 0)
		return ret;
	if (!regions || !n)
		return fail_null(OP_REGIONS, "no place for the result was given");
	if (!g->space->be->list)
		return fail(OP_REGIONS, EOPNOTSUPP, "the guest has no list of regions");
	ret = g->space->be->list(g->space, regions, n, &why);
	if (ret < 0)
		return fail_why(g, OP_REGIONS, ret, &why, 0);
	for (i = 0; i < *n; i++) {
		struct guestmem_region *r = &(*regions)[i];

		before = r->gpa;
		if (!cut(g, &r->gpa, &r->len))
			continue;
		/* Of memory of a process, 0 is one that is not told. */
		if (r->backing == GUESTMEM_BACKING_FILE ||
		    (r->backing == GUESTMEM_BACKING_USER && r->offset))
			r->offset += r->gpa + g->fast.offset - before;
		(*regions)[kept++] = *r;
	}
	*n = kept;
	if (!kept) {
		free(*regions);
		*regions = NULL;
	}
	return 0;
}

/* -------- By address, without a system call ------------------------------ */

/* What the table could not tell: by the list, which takes a system call and memory. */
static int ask(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry)
{
	struct guestmem_region *regions;
	struct why why = { 0 };
	size_t i, n;
	int ret;

	if (!s->be->list)
		return -ENXIO;
	ret = s->be->list(s, &regions, &n, &why);
	if (ret < 0)
		return ret;
	ret = -ENXIO;
	for (i = 0; i < n; i++) {
		if (regions[i].gpa + (regions[i].len - 1) < gpa)
			continue;
		memset(entry, 0, sizeof(*entry));
		entry->gpa = regions[i].gpa;
		entry->len = regions[i].len;
		entry->id = regions[i].id;
		entry->flags = regions[i].flags & ~GUESTMEM_REGION_OWN;
		ret = 0;
		break;
	}
	free(regions);
	return ret;
}

int space_next(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry)
{
	int ret = table_next(s, gpa, entry);

	return ret == -ENODATA ? ask(s, gpa, entry) : ret;
}

int space_find(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry)
{
	int ret = space_next(s, gpa, entry);

	return !ret && entry->gpa > gpa ? -ENXIO : ret;
}

int space_reach(struct space *s, uint64_t gpa, uint64_t len, int prot, uint64_t *reach,
		struct why *why)
{
	struct guestmem_table_entry e;
	uint64_t at, left, part;
	int ret = 0;

	*reach = 0;
	while (*reach < len) {
		at = gpa + *reach;
		left = len - *reach;
		ret = space_find(s, at, &e);
		if (ret < 0) {
			if (ret == -ENXIO)
				why_reason(why, ENXIO, GUESTMEM_REASON_HOLE, at, 0, 0);
			break;
		}
		if ((prot & PROT_WRITE) && (e.flags & GUESTMEM_REGION_READONLY)) {
			ret = why_reason(why, EACCES, GUESTMEM_REASON_READONLY, at, 0, 0);
			break;
		}
		part = e.len - (at - e.gpa);
		*reach += part < left ? part : left;
	}
	return *reach ? 0 : ret;
}

static int find(struct guestmem *g, uint64_t gpa, struct guestmem_table_entry *region,
		int (*how)(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry))
{
	struct why why = { 0 };
	uint64_t abs;
	int ret;

	ret = handle_range(g, OP_FIND, gpa, 1, &abs);
	if (ret < 0)
		return ret;
	if (!region)
		return fail_null(OP_FIND, "no place for the region was given");
	ret = how(g->space, abs, region);
	if (!ret && !cut(g, &region->gpa, &region->len))
		ret = -ENXIO;
	if (ret == -ENXIO)
		why_reason(&why, ENXIO, GUESTMEM_REASON_HOLE, abs, 0, 0);
	return ret < 0 ? fail_why(g, OP_FIND, ret, &why, 0) : 0;
}

int guestmem_find(struct guestmem *g, uint64_t gpa, struct guestmem_table_entry *region)
{
	return find(g, gpa, region, space_find);
}

int guestmem_next(struct guestmem *g, uint64_t gpa, struct guestmem_table_entry *region)
{
	return find(g, gpa, region, space_next);
}

int guestmem_last(struct guestmem *g, uint64_t *last)
{
	struct guestmem_table_entry e, next;
	uint64_t at = 0;
	int ret;

	ret = handle_check(g, OP_FIND);
	if (ret < 0)
		return ret;
	if (!last)
		return fail_null(OP_FIND, "no place for the address was given");
	ret = guestmem_next(g, 0, &e);
	if (ret < 0)
		return ret;
	for (at = e.gpa + e.len; at && at <= g->last; at = e.gpa + e.len) {
		if (space_next(g->space, at + g->fast.offset, &next) ||
		    !cut(g, &next.gpa, &next.len))
			break;
		e = next;
	}
	*last = e.gpa + (e.len - 1);
	return 0;
}

int guestmem_check(struct guestmem *g, uint64_t gpa, uint64_t len, int prot)
{
	uint64_t abs, reach, inside = len;
	struct why why = { 0 };
	int ret;

	ret = handle_check(g, OP_CHECK);
	if (ret < 0)
		return ret;
	/* What is wrong before the end of the handle comes first. */
	if (len && !range_wraps(gpa, len) && gpa <= g->last && len - 1 > g->last - gpa)
		inside = g->last - gpa + 1;
	ret = handle_range(g, OP_CHECK, gpa, inside, &abs);
	if (ret < 0)
		return ret;
	if (prot & ~(PROT_READ | PROT_WRITE))
		return fail(OP_CHECK, EINVAL, "it can only be checked for reading and writing");
	ret = right_check(g, OP_CHECK, gpa, prot);
	if (ret < 0)
		return ret;
	ret = space_reach(g->space, abs, inside, prot, &reach, &why);
	if (!ret && reach < inside)
		ret = space_reach(g->space, abs + reach, inside - reach, prot, &reach, &why);
	if (ret < 0)
		return fail_why(g, OP_CHECK, ret, &why, 0);
	return inside < len ? handle_range(g, OP_CHECK, gpa, len, &abs) : 0;
}

uint64_t guestmem_generation(struct guestmem *g)
{
	return handle_check(g, OP_FIND) < 0 ? 0 : table_generation(g->space);
}

int guestmem_backing(struct guestmem *g, uint64_t gpa, int *fd, uint64_t *offset,
		     uint64_t *len)
{
	struct why why = { 0 };
	uint64_t abs;
	int ret;

	ret = handle_range(g, OP_BACKING, gpa, 1, &abs);
	if (ret < 0)
		return ret;
	if (!fd || !offset || !len)
		return fail_null(OP_BACKING, "no place for the result was given");
	if (!g->space->be->backing)
		return fail(OP_BACKING, EOPNOTSUPP, "the memory is of no file that is known");
	ret = g->space->be->backing(g->space, abs, fd, offset, len, &why);
	if (ret < 0)
		return fail_why(g, OP_BACKING, ret, &why, 0);
	if (*len - 1 > g->last - gpa)
		*len = g->last - gpa + 1;
	return 0;
}

void *guestmem_ptr_slow_(struct guestmem *g, uint64_t gpa, size_t len)
{
	struct guestmem_table_entry e;
	struct why why = { 0 };
	uint64_t abs;
	int ret;

	if (handle_range(g, OP_POINT, gpa, len ? len : 1, &abs) < 0)
		return NULL;
	/* A pointer knows of no bitmap. */
	if (!g->space->window || g->space->bitmaps) {
		fail(OP_POINT, EOPNOTSUPP,
		     "it is not mapped in this process, or not without being asked for");
		return NULL;
	}
	slots_refresh(g->space);
	ret = space_find(g->space, abs, &e);
	if (!ret && len > e.len - (abs - e.gpa)) {
		abs = e.gpa + e.len;
		ret = -ENXIO;
	}
	if (!ret && in_window(g->space, abs, len) < len)
		ret = why_text(&why, EOPNOTSUPP, "it is beyond what is mapped in this process");
	else if (ret == -ENXIO)
		why_reason(&why, ENXIO, GUESTMEM_REASON_HOLE, abs, 0, 0);
	if (!ret)
		return g->fast.base + gpa;
	fail_why(g, OP_POINT, ret, &why, 0);
	return NULL;
}
