// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Ranges to extents. */
#include <stdlib.h>

#include "internal.h"

int guestmem_translate_batch(struct guestmem *g, const struct guestmem_range *ranges,
			     size_t nranges, uint32_t flags,
			     struct guestmem_extent *extents, size_t *n)
{
	struct guestmem_translate arg = {
		.size = sizeof(arg),
		.flags = flags,
		.extents = to_u64(extents),
	};
	struct guestmem_range *moved = NULL;
	struct why why = { 0 };
	size_t capacity, i;
	uint64_t abs;
	int ret;

	ret = handle_check(g, OP_TRANSLATE);
	if (!n)
		return ret < 0 ? ret :
		       fail_null(OP_TRANSLATE, "no place for the number of extents was given");
	capacity = *n;
	*n = 0;
	if (ret < 0)
		return ret;
	if ((!ranges && nranges) || (!extents && capacity))
		return fail_null(OP_TRANSLATE, "no ranges or extents were given");
	if (nranges > UINT32_MAX) {
		struct guestmem_error e = {
			.reason = GUESTMEM_REASON_TOO_LONG,
			.need = nranges,
			.limit = UINT32_MAX,
		};

		return fail_reason(OP_TRANSLATE, EINVAL, &e);
	}
	if (!g->space->be->translate)
		return fail(OP_TRANSLATE, EOPNOTSUPP, "a domain is not translated, but listed");
	if (g->fast.offset || g->last != g->space->last) {
		moved = malloc((nranges + 1) * sizeof(*moved));
		if (!moved)
			return fail(OP_TRANSLATE, ENOMEM, NULL);
		for (i = 0; !ret && i < nranges; i++) {
			ret = handle_range(g, OP_TRANSLATE, ranges[i].gpa, ranges[i].len, &abs);
			moved[i].gpa = abs;
			moved[i].len = ranges[i].len;
		}
		if (ret < 0) {
			free(moved);
			return ret;
		}
		ranges = moved;
	}
	arg.ranges = to_u64(ranges);
	arg.nranges = (uint32_t)nranges;
	arg.nextents = to_u32(capacity);
	ret = g->space->be->translate(g->space, &arg, &why);
	free(moved);
	if (ret == 0 || ret == -ENXIO || ret == -EMSGSIZE)
		*n = arg.nextents;
	for (i = 0; extents && ret != -EMSGSIZE && g->fast.offset && i < *n; i++)
		extents[i].gpa -= g->fast.offset;
	return ret < 0 ? fail_why(g, OP_TRANSLATE, ret, &why, 0) : 0;
}

int guestmem_translate(struct guestmem *g, uint64_t gpa, uint64_t len, uint32_t flags,
		       struct guestmem_extent *extents, size_t *n)
{
	struct guestmem_range range = { .gpa = gpa, .len = len };

	return guestmem_translate_batch(g, &range, 1, flags, extents, n);
}
