// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Ranges to extents. */
#include "internal.h"

int guestmem_translate_batch(struct guestmem *g, const struct guestmem_range *ranges,
			     size_t nranges, uint32_t flags,
			     struct guestmem_extent *extents, size_t *n)
{
	struct guestmem_translate arg = {
		.size = sizeof(arg),
		.flags = flags,
		.ranges = to_u64(ranges),
		.extents = to_u64(extents),
	};
	size_t capacity;
	int ret;

	if (!n)
		return fail_null(OP_TRANSLATE, "no place for the number of extents was given");
	capacity = *n;
	*n = 0;
	if (!g || (!ranges && nranges) || (!extents && capacity))
		return fail_null(OP_TRANSLATE, "no guest, ranges or extents were given");
	if (nranges > UINT32_MAX) {
		struct guestmem_error e = {
			.reason = GUESTMEM_REASON_TOO_LONG,
			.need = nranges,
			.limit = UINT32_MAX,
		};

		return fail_reason(OP_TRANSLATE, EINVAL, &e);
	}
	arg.nranges = (uint32_t)nranges;
	arg.nextents = capacity > UINT32_MAX ? UINT32_MAX : (uint32_t)capacity;
	ret = do_ioctl(g, OP_TRANSLATE, GUESTMEM_TRANSLATE, &arg, &arg.err);
	if (ret == 0 || ret == -ENXIO || ret == -EMSGSIZE)
		*n = arg.nextents;
	return ret;
}

int guestmem_translate(struct guestmem *g, uint64_t gpa, uint64_t len, uint32_t flags,
		       struct guestmem_extent *extents, size_t *n)
{
	struct guestmem_range range = { .gpa = gpa, .len = len };

	return guestmem_translate_batch(g, &range, 1, flags, extents, n);
}
