/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * The same guest from every backend, so that one test runs on all of them.
 *
 * Offsets in a test are from BASE on, in pages:
 *
 *	0 to 7		a region; a 2 MiB boundary is in it
 *	8 to 11		another, adjacent
 *	12 to 13	read-only, adjacent
 *	14 to 15	a hole
 *	16 to 17	a region
 *	18 to 19	a hole; the guest ends behind it, where that is chosen
 */
#ifndef TESTS_BACKENDS_H
#define TESTS_BACKENDS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestmem.h"

#define PAGE		4096ULL
#define BASE		((4ULL << 20) - 6 * PAGE)
#define SECOND		(8 * PAGE)
#define READONLY	(12 * PAGE)
#define HOLE		(14 * PAGE)
#define THIRD		(16 * PAGE)
#define HOLE2		(18 * PAGE)
#define SPAN		(20 * PAGE)

/* What a backend has. */
#define F_REGIONS	(1U << 0)	/* knows its regions */
#define F_EXACT		(1U << 1)	/* tells how much was done */
#define F_SLICES	(1U << 2)	/* can be pointed to */
#define F_WINDOW	(1U << 3)	/* dirty pages, faults */
#define F_MANAGE	(1U << 4)	/* this handle can add and remove regions */
#define F_MANAGED	(1U << 5)	/* housekeeping */
#define F_BACKING	(1U << 6)	/* knows the file */
#define F_PROCESS	(1U << 7)	/* guestmem_create() */
#define F_CALLBACKS	(1U << 8)	/* guestmem_from_ops() */
#define F_DEVICE	(1U << 9)	/* /dev/guestmem */
#define F_LIBRARY	(1U << 10)	/* reasons are told */
#define F_PART		(1U << 11)	/* a subrange */
#define F_PRIVATE	(1U << 12)	/* of no file: its pages are nobody else's */

struct env {
	const struct kind *kind;
	unsigned int has;
	struct guestmem *g;		/* the handle to test */
	struct guestmem *whole;		/* the guest that it is a part of, or itself */
	uint64_t shift;			/* of its address 0 */
	uint64_t len;			/* of it; 0 if the guest's end was not chosen */
	unsigned char *mem;		/* what is at BASE, by other means */
	uint32_t id[4];			/* of the regions */
	struct ops *ops;		/* of callbacks */
};

struct backend_test {
	const char *name;
	void (*test)(struct env *e);
	unsigned int needs;
};

#define B(name, needs) { #name, test_##name, needs }

/* Each test on each backend that has what it needs; the exit status of a test. */
int run_on_backends(const struct backend_test *tests, size_t n);
#define RUN_ON_BACKENDS(tests) run_on_backends(tests, sizeof(tests) / sizeof((tests)[0]))

/* Were handlers of faults declined, for all of this process? */
extern bool faults_declined;

/* Address of an offset, as the handle counts. */
static inline uint64_t at(const struct env *e, uint64_t offset)
{
	return BASE + offset - e->shift;
}

/* cmocka's fail_msg(), which is of no use where internal.h has its fail(). */
#define failed(...) (print_error("ERROR: " __VA_ARGS__), print_error("\n"), \
		     _fail(__FILE__, __LINE__))

#define assert_ok(call) do {						\
	long long ret_ = (long long)(call);				\
	if (ret_ < 0)							\
		failed("%s: %lld, %s", #call, ret_, guestmem_strerror());	\
} while (0)

/* It fails with this in every way that there is to tell it. */
#define assert_fails(call, err) do {					\
	long long got_;							\
	errno = 0;							\
	got_ = (long long)(call);					\
	if (got_ != -(err))						\
		failed("%s: %lld, not %d (%s)", #call, got_, -(err),	\
			 guestmem_strerror());				\
	assert_int_equal(errno, (err));					\
	assert_int_equal(guestmem_last_error(NULL), -(err));		\
} while (0)

#define assert_null_fails(call, err) do {				\
	errno = 0;							\
	assert_null(call);						\
	assert_int_equal(errno, (err));					\
	assert_int_equal(guestmem_last_error(NULL), -(err));		\
} while (0)

/* The last failure was at this offset, with so much done. */
void assert_failed_at(const struct env *e, uint64_t offset, uint64_t done);

/* A memfd of this size; -1: none. */
static inline int file_of(uint64_t len)
{
	int fd = memfd_create("guestmem-test", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)len)) {
		close(fd);
		return -1;
	}
	return fd;
}

#endif /* TESTS_BACKENDS_H */
