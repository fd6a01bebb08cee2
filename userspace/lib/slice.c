// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Slices: where ranges are in this process. */
#include "internal.h"
#include "recover.h"

/* The slice from the range's start on, as long as it goes. */
static int reach(struct guestmem *g, uint64_t gpa, uint64_t len, int prot,
		 struct iovec *slice, struct why *why)
{
	struct space *s = g->space;
	uint64_t abs = gpa + g->fast.offset, n;
	int ret;

	ret = space_reach(s, abs, len, prot, &n, why);
	if (ret < 0)
		return ret;
	n = in_window(s, abs, n);
	if (!n && len)
		return why_text(why, EOPNOTSUPP, "it is not mapped in this process");
	/* An empty range may be anywhere. */
	slice->iov_base = in_window(s, abs, 1) ? g->fast.base + gpa : NULL;
	slice->iov_len = n;
	return 0;
}

static int whole(struct guestmem *g, uint64_t gpa, uint64_t len, int prot,
		 struct iovec *slice, struct why *why)
{
	int ret = reach(g, gpa, len, prot, slice, why);
	struct iovec rest = { 0 };

	/* Why it ends there; or it does not any more. */
	while (!ret && slice->iov_len < len) {
		ret = reach(g, gpa + slice->iov_len, len - slice->iov_len, prot, &rest, why);
		slice->iov_len += rest.iov_len;
	}
	return ret;
}

static int check(const struct guestmem *g, uint64_t gpa, uint64_t len, int prot)
{
	uint64_t abs;
	int ret = handle_range(g, OP_SLICE, gpa, len, &abs);

	if (ret < 0)
		return ret;
	if (prot & ~(PROT_READ | PROT_WRITE))
		return fail(OP_SLICE, EINVAL, "a slice is for reading and writing");
	ret = right_check(g, OP_SLICE, gpa, prot);
	if (ret < 0)
		return ret;
	/* A pointer knows of no bitmap. */
	if (!g->space->window || g->space->bitmaps)
		return fail(OP_SLICE, EOPNOTSUPP,
			    "it is not mapped in this process, or not without being asked for");
	return 0;
}

int guestmem_slice(struct guestmem *g, uint64_t gpa, size_t len, int prot,
		   struct iovec *slice)
{
	struct why why = { 0 };
	int ret = check(g, gpa, len, prot);

	if (ret < 0)
		return ret;
	if (!slice)
		return fail_null(OP_SLICE, "no place for the slice was given");
	ret = whole(g, gpa, len, prot, slice, &why);
	return ret < 0 ? fail_why(g, OP_SLICE, ret, &why, 0) : 0;
}

int guestmem_slices(struct guestmem *g, const struct guestmem_range *ranges, size_t nranges,
		    int prot, struct iovec *slices, size_t *n)
{
	struct iovec slice = { 0 }, before = { 0 };
	struct why why = { 0 };
	size_t capacity, i, k = 0;
	int ret = handle_check(g, OP_SLICE);

	if (ret < 0)
		return ret;
	if (!n || (!ranges && nranges) || (!slices && *n))
		return fail_null(OP_SLICE, "no ranges, slices or number of slices was given");
	capacity = *n;
	*n = 0;
	for (i = 0; i < nranges; i++) {
		ret = check(g, ranges[i].gpa, ranges[i].len, prot);
		if (ret < 0)
			return ret;
		ret = whole(g, ranges[i].gpa, ranges[i].len, prot, &slice, &why);
		if (ret < 0)
			return fail_why(g, OP_SLICE, ret, &why, 0);
		if (!slice.iov_len)
			continue;
		if (k && (char *)before.iov_base + before.iov_len == slice.iov_base) {
			before.iov_len += slice.iov_len;
		} else {
			before = slice;
			k++;
		}
		if (k <= capacity)
			slices[k - 1] = before;
	}
	*n = k;
	if (k > capacity) {
		why_reason(&why, EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, k, capacity);
		return fail_reason(OP_SLICE, EMSGSIZE, &why.e);
	}
	return 0;
}

int guestmem_iter_next(struct guestmem *g, struct guestmem_iter *iter, struct iovec *slice)
{
	struct why why = { 0 };
	int ret = handle_check(g, OP_SLICE);

	if (ret < 0)
		return ret;
	if (!iter || !slice)
		return fail_null(OP_SLICE, "no iterator or no place for the slice was given");
	if (!iter->len)
		return 0;
	if (range_wraps(iter->gpa, iter->len))
		return fail_wraps(OP_SLICE, iter->gpa, iter->len);
	/* What is behind the handle's end is a hole when it comes to it. */
	ret = check(g, iter->gpa, 1, iter->prot);
	if (ret < 0)
		return ret;
	ret = reach(g, iter->gpa, iter->len - 1 > g->last - iter->gpa ?
				  g->last - iter->gpa + 1 : iter->len,
		    iter->prot, slice, &why);
	if (ret < 0)
		return fail_why(g, OP_SLICE, ret, &why, 0);
	iter->gpa += slice->iov_len;
	iter->len -= slice->iov_len;
	return 1;
}

int guestmem_subslice(const struct iovec *slice, size_t offset, size_t len,
		      struct iovec *part)
{
	struct guestmem_error e = {
		.reason = GUESTMEM_REASON_WRAPS,
		.addr = offset,
		.need = len,
	};

	if (!slice || !part)
		return fail_null(OP_SUBSLICE, "no slice or no place for the part was given");
	if (offset > slice->iov_len || len > slice->iov_len - offset) {
		e.limit = slice->iov_len ? slice->iov_len - 1 : 0;
		return fail_reason(OP_SUBSLICE, EOVERFLOW, &e);
	}
	part->iov_base = (char *)slice->iov_base + offset;
	part->iov_len = len;
	return 0;
}

ssize_t guestmem_slice_copy(const struct iovec *dst, const struct iovec *src)
{
	char chunk[4096], *to, *from;
	size_t len, n, at, left;
	bool down;

	if (!dst || !src)
		return fail_null(OP_SUBSLICE, "no slice was given");
	to = dst->iov_base;
	from = src->iov_base;
	len = dst->iov_len < src->iov_len ? dst->iov_len : src->iov_len;
	if ((size_t)(to - from) >= len && (size_t)(from - to) >= len) {
		left = guestmem_copy_(to, from, len);
		if (left)
			return fail_done(NULL, OP_SUBSLICE, EFAULT,
					 "one of the slices is not accessible any more", NULL,
					 len - left);
		return (ssize_t)len;
	}
	/* They overlap: by way of a buffer, from the end that is not written over first. */
	down = to > from;
	for (at = 0; at < len; at += n) {
		size_t pos;

		n = len - at < sizeof(chunk) ? len - at : sizeof(chunk);
		pos = down ? len - at - n : at;
		if (guestmem_copy_(chunk, from + pos, n) || guestmem_copy_(to + pos, chunk, n))
			return fail(OP_SUBSLICE, EFAULT,
				    "one of the slices is not accessible any more");
	}
	return (ssize_t)len;
}
