// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Views: files for a part of the guest, and what is taken back of them. */
#include <stdlib.h>

#include "internal.h"

static int check(struct guestmem *g, enum op op)
{
	int ret = handle_check(g, op);

	if (ret < 0)
		return ret;
	if (!g->space->be->view_create)
		return fail(op, EOPNOTSUPP, "only " GUESTMEM_DEVICE
			    " can see to it that nobody does more: guestmem_subrange() is for oneself");
	return 0;
}

int guestmem_view_create(struct guestmem *g, uint64_t gpa, uint64_t len, uint32_t rights,
			 uint32_t flags, uint64_t *id)
{
	struct guestmem_view_create arg = {
		.size = sizeof(arg),
		.flags = flags,
		.len = len,
		.rights = rights,
	};
	struct why why = { 0 };
	uint64_t abs = 0;
	int ret;

	ret = check(g, OP_VIEW);
	if (!ret)
		ret = handle_range(g, OP_VIEW, gpa, len, &abs);
	if (ret < 0)
		return ret;
	/* The kernel checks it for the file; parts are the library's. */
	if (rights & ~g->rights) {
		why_reason(&why, EACCES, GUESTMEM_REASON_RIGHT, 0, rights, g->rights);
		return fail_reason(OP_VIEW, EACCES, &why.e);
	}
	arg.address = abs;
	ret = g->space->be->view_create(g->space, &arg, &why);
	if (ret < 0)
		return fail_why(g, OP_VIEW, ret, &why, 0);
	if (id)
		*id = arg.id;
	return arg.fd;
}

/* When struct guestmem_view grows: as guestmem_regions(). */
int guestmem_views(struct guestmem *g, struct guestmem_view **views, size_t *n)
{
	struct why why = { 0 };
	size_t i;
	int ret;

	if (views)
		*views = NULL;
	if (n)
		*n = 0;
	ret = check(g, OP_VIEWS);
	if (ret < 0)
		return ret;
	if (!views || !n)
		return fail_null(OP_VIEWS, "no place for the views was given");
	ret = g->space->be->view_list(g->space, views, n, &why);
	if (ret < 0)
		return fail_why(g, OP_VIEWS, ret, &why, 0);
	/* Those that show IOVAs have no address here. */
	for (i = 0; i < *n; i++)
		if ((*views)[i].kind == GUESTMEM_VIEW_IS_PART)
			(*views)[i].address -= g->fast.offset;
	if (!*n) {
		free(*views);
		*views = NULL;
	}
	return 0;
}

int guestmem_view_limit(struct guestmem *g, uint64_t id, uint32_t rights, uint32_t flags,
			uint32_t timeout_ms, uint32_t *nlocks)
{
	struct guestmem_view_limit arg = {
		.size = sizeof(arg),
		.flags = flags,
		.id = id,
		.rights = rights,
		.timeout_ms = timeout_ms,
	};
	struct why why = { 0 };
	int ret = check(g, OP_LIMIT);

	if (!ret) {
		ret = g->space->be->view_limit(g->space, &arg, &why);
		if (ret < 0)
			ret = fail_why(g, OP_LIMIT, ret, &why, 0);
	}
	if (nlocks)
		*nlocks = arg.nlocks;
	return ret;
}
