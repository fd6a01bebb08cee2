// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Mappings into this process. */
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

static size_t page_mask(void)
{
	return (size_t)sysconf(_SC_PAGESIZE) - 1;
}

void *guestmem_map(struct guestmem *g, uint64_t gpa, size_t len, int prot)
{
	size_t inpage;
	uint32_t need = GUESTMEM_RIGHT_MAP;
	void *p;

	if (handle_check(g, OP_MAP) < 0)
		return NULL;
	if (!len) {
		fail(OP_MAP, EINVAL, "the range is empty");
		return NULL;
	}
	if (handle_range(g, OP_MAP, gpa, len, &gpa) < 0)
		return NULL;
	if (g->space->fd < 0) {
		fail(OP_MAP, EOPNOTSUPP, "it is in this process: see guestmem_ptr()");
		return NULL;
	}
	if (g->space->kind == KIND_DOMAIN) {
		fail(OP_MAP, EOPNOTSUPP, NO_MEMORY);
		return NULL;
	}
	if (right_check(g, OP_MAP, gpa, prot) < 0)
		return NULL;
	inpage = gpa & page_mask();
	/* From 2^63 on, offsets are no GPAs; the table is there. */
	if (gpa > INT64_MAX || len - 1 > INT64_MAX - gpa) {
		fail(OP_MAP, EOPNOTSUPP, "it reaches 2^63 or above, where nothing can be mapped");
		return NULL;
	}
	if (len > SIZE_MAX - inpage) {
		fail(OP_MAP, ENOMEM, NULL);
		return NULL;
	}
	p = mmap(NULL, len + inpage, prot, MAP_SHARED, g->space->fd, (off_t)(gpa - inpage));
	if (p == MAP_FAILED) {
		struct guestmem_error e = {
			.reason = GUESTMEM_REASON_RIGHT,
			.addr = gpa,
			.limit = g->rights,
		};

		if (prot & PROT_READ)
			need |= GUESTMEM_RIGHT_READ;
		if (prot & PROT_WRITE)
			need |= GUESTMEM_RIGHT_WRITE;
		e.need = need;
		if (errno == EACCES && (need & ~g->rights))
			fail_reason(OP_MAP, EACCES, &e);
		else
			fail(OP_MAP, errno, NULL);
		return NULL;
	}
	return (char *)p + inpage;
}

int guestmem_unmap(void *ptr, size_t len)
{
	size_t inpage = (uintptr_t)ptr & page_mask();

	if (!ptr)
		return 0;
	if (!len || len > SIZE_MAX - inpage)
		return fail(OP_UNMAP, EINVAL, "it is not the length of a mapping");
	if (munmap((char *)ptr - inpage, len + inpage) < 0)
		return fail(OP_UNMAP, errno, NULL);
	return 0;
}
