// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Buffers of guest pages that need not be adjacent: openvmm's PagedRange. */
#include <stdlib.h>

#include "internal.h"

#define PAGE		((uint64_t)GUESTMEM_PAGED_SIZE)
#define MAX_GPN		(((uint64_t)1 << 52) - 1)

static int out_of(size_t offset, size_t len, size_t limit)
{
	struct guestmem_error e = {
		.reason = GUESTMEM_REASON_WRAPS,
		.addr = offset,
		.need = len,
		.limit = limit ? limit - 1 : 0,
	};

	return fail_reason(OP_PAGED, EOVERFLOW, &e);
}

/* Only the pages that it touches, the first of them at its offset. */
static void set(struct guestmem_paged *p, const uint64_t *gpns, size_t offset, size_t len)
{
	p->gpns = gpns + offset / PAGE;
	p->offset = offset % PAGE;
	p->len = len;
	p->npages = len ? (p->offset + len - 1) / PAGE + 1 : 0;
}

int guestmem_paged_init(struct guestmem_paged *paged, const uint64_t *gpns, size_t npages,
			size_t offset, size_t len)
{
	size_t bytes, i;

	if (!paged || (!gpns && npages))
		return fail_null(OP_PAGED, "no pages or no place for the buffer was given");
	bytes = npages > SIZE_MAX / PAGE ? SIZE_MAX : npages * PAGE;
	if (offset > bytes || len > bytes - offset)
		return out_of(offset, len, bytes);
	set(paged, gpns, offset, len);
	for (i = 0; i < paged->npages; i++) {
		if (paged->gpns[i] > MAX_GPN)
			return fail(OP_PAGED, EINVAL, "a page number is 2^52 or more");
	}
	return 0;
}

int guestmem_paged_sub(const struct guestmem_paged *paged, size_t offset, size_t len,
		       struct guestmem_paged *part)
{
	if (!paged || !part)
		return fail_null(OP_PAGED, "no buffer or no place for the part was given");
	if (offset > paged->len || len > paged->len - offset)
		return out_of(offset, len, paged->len);
	set(part, paged->gpns, paged->offset + offset, len);
	return 0;
}

int guestmem_paged_next(struct guestmem_paged *paged, struct guestmem_range *range)
{
	size_t n, i;

	if (!paged || !range)
		return fail_null(OP_PAGED, "no buffer or no place for the range was given");
	if (!paged->len)
		return 0;
	for (i = 1; i < paged->npages && paged->gpns[i] == paged->gpns[i - 1] + 1; i++)
		;
	n = i * PAGE - paged->offset;
	n = n < paged->len ? n : paged->len;
	range->gpa = paged->gpns[0] * PAGE + paged->offset;
	range->len = n;
	set(paged, paged->gpns, paged->offset + n, paged->len - n);
	return 1;
}

enum what {
	READ,
	WRITE,
	FILL,
};

static int each(struct guestmem *g, const struct guestmem_paged *paged, enum what what,
		char *buf, uint8_t value)
{
	struct guestmem_paged left;
	struct guestmem_range range;
	struct guestmem_error e;
	uint64_t done = 0;
	int ret;

	ret = handle_check(g, OP_PAGED);
	if (ret < 0)
		return ret;
	if (!paged || (!buf && what != FILL && paged->len))
		return fail_null(OP_PAGED, "no buffer was given");
	for (left = *paged; guestmem_paged_next(&left, &range) > 0; done += range.len) {
		if (what == READ)
			ret = guestmem_read(g, range.gpa, buf + done, range.len);
		else if (what == WRITE)
			ret = guestmem_write(g, range.gpa, buf + done, range.len);
		else
			ret = guestmem_fill(g, range.gpa, range.len, value);
		if (ret < 0) {
			guestmem_last_error(&e);
			return fail_done(g, OP_PAGED, -ret, NULL, &e, done + guestmem_last_done());
		}
	}
	return 0;
}

int guestmem_paged_read(struct guestmem *g, const struct guestmem_paged *paged, void *buf)
{
	return each(g, paged, READ, buf, 0);
}

int guestmem_paged_write(struct guestmem *g, const struct guestmem_paged *paged,
			 const void *buf)
{
	return each(g, paged, WRITE, (char *)buf, 0);
}

int guestmem_paged_fill(struct guestmem *g, const struct guestmem_paged *paged, uint8_t value)
{
	return each(g, paged, FILL, NULL, value);
}

int guestmem_paged_lock(struct guestmem *g, const struct guestmem_paged *paged,
			uint32_t direction, uint32_t *handle)
{
	uint64_t *gpas;
	size_t i;
	int ret;

	ret = handle_check(g, OP_PAGED);
	if (ret < 0)
		return ret;
	if (!paged)
		return fail_null(OP_PAGED, "no buffer was given");
	if (paged->npages > GUESTMEM_LOCK_MAX_PAGES)
		return guestmem_lock_pages(g, paged->gpns, paged->npages, direction, 0, handle,
					   NULL, NULL);
	gpas = malloc((paged->npages + 1) * sizeof(*gpas));
	if (!gpas)
		return fail(OP_PAGED, ENOMEM, NULL);
	for (i = 0; i < paged->npages; i++)
		gpas[i] = paged->gpns[i] * PAGE;
	ret = guestmem_lock_pages(g, gpas, paged->npages, direction, 0, handle, NULL, NULL);
	free(gpas);
	return ret;
}
