/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/* What the files of the library share. Nothing here is seen from outside. */
#ifndef LIBGUESTMEM_INTERNAL_H
#define LIBGUESTMEM_INTERNAL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guestmem.h"

#define GUESTMEM_VERSION_STRING	"0.1.0"

struct guestmem {
	int fd;
	uint32_t rights;	/* GUESTMEM_RIGHT_*; an open file's never change */
};

/* What failed: the first words of the error text, and what its figures are of. */
enum op {
	OP_OPEN,
	OP_FROM_FD,
	OP_FD,
	OP_INFO,
	OP_EVENTFD,
	OP_ADD_USER,
	OP_ADD_FILE,
	OP_REMOVE,
	OP_REVOKE,
	OP_REGIONS,
	OP_TRANSLATE,
	OP_LOCK,
	OP_LOCK_PAGES,
	OP_UNLOCK,
	OP_READ,
	OP_WRITE,
	OP_FILL,
	OP_COPY,
	OP_CMPXCHG,
	OP_ATOMIC,
	OP_MAP,
	OP_UNMAP,
	NR_OPS
};

/*
 * All failures end in one of these: they keep what guestmem_strerror() will need,
 * set errno to @err and return -@err. Nothing is formatted until it is asked for.
 * @why: a constant sentence that replaces the text for @err; or NULL
 * @e: the figures; or NULL
 */
int fail(enum op op, int err, const char *why);
int fail_reason(enum op op, int err, const struct guestmem_error *e);
int fail_done(enum op op, int err, const char *why,
	      const struct guestmem_error *e, uint64_t done);

int fail_null(enum op op, const char *what);

/* As fail_reason(), for a range that is checked before the kernel sees it. */
int fail_wraps(enum op op, uint64_t gpa, uint64_t len);

static inline bool range_wraps(uint64_t start, uint64_t len)
{
	return len && start > UINT64_MAX - (len - 1);
}

/*
 * ioctl(2) on @g. @e points into @arg, at what the kernel says about a failure, or
 * is NULL. Returns 0 or, after fail_reason(), -errno.
 */
int do_ioctl(const struct guestmem *g, enum op op, unsigned long request, void *arg,
	     const struct guestmem_error *e);

static inline uint64_t to_u64(const void *ptr)
{
	return (uintptr_t)ptr;
}

#endif /* LIBGUESTMEM_INTERNAL_H */
