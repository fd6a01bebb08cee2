// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Slices, iterators, pointers. */
#include <limits.h>

#include "backends.h"

static void test_slice(struct env *e)
{
	struct iovec s = { 0 };
	struct guestmem_error err;

	assert_ok(guestmem_slice(e->g, at(e, SECOND - 5), 10, PROT_READ | PROT_WRITE, &s));
	assert_int_equal(s.iov_len, 10);
	memcpy(s.iov_base, "0123456789", 10);
	assert_memory_equal(e->mem + SECOND - 5, "0123456789", 10);
	assert_ptr_equal(s.iov_base, guestmem_ptr(e->g, at(e, SECOND - 5), 5));
	assert_ok(guestmem_slice(e->g, at(e, 3), 0, PROT_READ, &s));
	assert_int_equal(s.iov_len, 0);
	assert_fails(guestmem_slice(e->g, at(e, 0), 1, PROT_READ | PROT_EXEC, &s), EINVAL);
	assert_fails(guestmem_slice(e->g, at(e, 0), 1, PROT_READ, NULL), EINVAL);
	assert_fails(guestmem_slice(e->g, UINT64_MAX, 2, PROT_READ, &s), EOVERFLOW);
	assert_fails(guestmem_slice(e->g, UINT64_MAX, 1, PROT_READ, &s), ENXIO);
	if (!(e->has & F_REGIONS))
		return;
	assert_ok(guestmem_slice(e->g, at(e, 0), HOLE, PROT_READ, &s));
	assert_int_equal(s.iov_len, HOLE);
	assert_fails(guestmem_slice(e->g, at(e, 0), HOLE + 1, PROT_READ, &s), ENXIO);
	assert_failed_at(e, HOLE, 0);
	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_HOLE);
	assert_fails(guestmem_slice(e->g, at(e, 0), HOLE, PROT_READ | PROT_WRITE, &s), EACCES);
	assert_failed_at(e, READONLY, 0);
	assert_fails(guestmem_slice(e->g, at(e, HOLE), 1, 0, &s), ENXIO);
	assert_fails(guestmem_slice(e->g, at(e, READONLY + 7), 1, PROT_WRITE, &s), EACCES);
	assert_failed_at(e, READONLY + 7, 0);
}

static void test_no_slices(struct env *e)
{
	struct guestmem_range range = { at(e, 0), 1 };
	struct guestmem_iter iter = { at(e, 0), 1, PROT_READ };
	struct iovec s;
	size_t n = 1;

	if (e->has & F_SLICES)
		return;
	assert_fails(guestmem_slice(e->g, at(e, 0), 1, PROT_READ, &s), EOPNOTSUPP);
	assert_fails(guestmem_slices(e->g, &range, 1, PROT_READ, &s, &n), EOPNOTSUPP);
	assert_int_equal(n, 0);
	assert_fails(guestmem_iter_next(e->g, &iter, &s), EOPNOTSUPP);
	assert_null_fails(guestmem_ptr(e->g, at(e, 0), 1), EOPNOTSUPP);
}

static void test_slices(struct env *e)
{
	const struct guestmem_range ranges[] = {
		{ at(e, 0), 100 }, { at(e, 100), 50 }, { at(e, 5000), 0 }, { at(e, 150), 10 },
		{ at(e, 0), 10 }, { at(e, THIRD), 10 },
	};
	struct iovec s[6];
	size_t n = 6;

	assert_ok(guestmem_slices(e->g, ranges, 6, PROT_READ, s, &n));
	assert_int_equal(n, 3);
	assert_ptr_equal(s[0].iov_base, guestmem_ptr(e->g, at(e, 0), 1));
	assert_int_equal(s[0].iov_len, 160);
	assert_ptr_equal(s[1].iov_base, s[0].iov_base);
	assert_int_equal(s[1].iov_len, 10);
	assert_ptr_equal(s[2].iov_base, guestmem_ptr(e->g, at(e, THIRD), 1));
	n = 2;
	s[2].iov_len = 77;
	assert_fails(guestmem_slices(e->g, ranges, 6, PROT_READ, s, &n), EMSGSIZE);
	assert_int_equal(n, 3);
	assert_int_equal(s[2].iov_len, 77);
	n = 0;
	assert_fails(guestmem_slices(e->g, ranges, 6, PROT_READ, NULL, &n), EMSGSIZE);
	assert_int_equal(n, 3);
	n = 0;
	assert_ok(guestmem_slices(e->g, NULL, 0, PROT_READ, NULL, &n));
	n = 6;
	assert_fails(guestmem_slices(e->g, NULL, 1, PROT_READ, s, &n), EINVAL);
	n = 6;
	assert_fails(guestmem_slices(e->g, ranges, 1, PROT_READ, NULL, &n), EINVAL);
	assert_fails(guestmem_slices(e->g, ranges, 1, PROT_READ, s, NULL), EINVAL);
	if (e->has & F_REGIONS) {
		const struct guestmem_range hole[] = { { at(e, 0), 1 }, { at(e, HOLE - 1), 2 } };

		n = 6;
		assert_fails(guestmem_slices(e->g, hole, 2, PROT_READ, s, &n), ENXIO);
		assert_failed_at(e, HOLE, 0);
		assert_int_equal(n, 0);
		n = 6;
		assert_fails(guestmem_slices(e->g, hole + 1, 1, PROT_WRITE, s, &n), EACCES);
		assert_int_equal(n, 0);
	}
}

static void test_iterator(struct env *e)
{
	struct guestmem_iter iter = { at(e, 10), 2 * PAGE, PROT_READ | PROT_WRITE };
	struct iovec s;

	assert_int_equal(guestmem_iter_next(e->g, &iter, &s), 1);
	assert_int_equal(s.iov_len, 2 * PAGE);
	assert_ptr_equal(s.iov_base, guestmem_ptr(e->g, at(e, 10), 1));
	assert_int_equal(guestmem_iter_next(e->g, &iter, &s), 0);
	assert_fails(guestmem_iter_next(e->g, NULL, &s), EINVAL);
	assert_fails(guestmem_iter_next(e->g, &iter, NULL), EINVAL);
	iter = (struct guestmem_iter){ UINT64_MAX, 2, PROT_READ };
	assert_fails(guestmem_iter_next(e->g, &iter, &s), EOVERFLOW);
	if (!(e->has & F_REGIONS))
		return;
	iter = (struct guestmem_iter){ at(e, 10), SPAN - 10, PROT_READ };
	assert_int_equal(guestmem_iter_next(e->g, &iter, &s), 1);
	assert_int_equal(s.iov_len, HOLE - 10);
	assert_fails(guestmem_iter_next(e->g, &iter, &s), ENXIO);
	assert_true(iter.gpa == at(e, HOLE));
	iter.gpa = at(e, THIRD);
	iter.len = SPAN - THIRD;
	assert_int_equal(guestmem_iter_next(e->g, &iter, &s), 1);
	assert_int_equal(s.iov_len, HOLE2 - THIRD);
	assert_fails(guestmem_iter_next(e->g, &iter, &s), ENXIO);
	assert_true(iter.gpa == at(e, HOLE2) && iter.len == SPAN - HOLE2);
	iter = (struct guestmem_iter){ at(e, 0), SPAN, PROT_WRITE };
	assert_int_equal(guestmem_iter_next(e->g, &iter, &s), 1);
	assert_int_equal(s.iov_len, READONLY);
	assert_fails(guestmem_iter_next(e->g, &iter, &s), EACCES);
	assert_true(iter.gpa == at(e, READONLY));
}

static void test_subslice(struct env *e)
{
	struct iovec s, part;

	assert_ok(guestmem_slice(e->g, at(e, 0), 100, PROT_READ, &s));
	assert_ok(guestmem_subslice(&s, 10, 90, &part));
	assert_ptr_equal(part.iov_base, (char *)s.iov_base + 10);
	assert_int_equal(part.iov_len, 90);
	assert_ok(guestmem_subslice(&s, 100, 0, &part));
	assert_fails(guestmem_subslice(&s, 101, 0, &part), EOVERFLOW);
	assert_fails(guestmem_subslice(&s, 10, 91, &part), EOVERFLOW);
	assert_fails(guestmem_subslice(&s, 10, SIZE_MAX - 5, &part), EOVERFLOW);
	assert_fails(guestmem_subslice(NULL, 0, 0, &part), EINVAL);
	assert_fails(guestmem_subslice(&s, 0, 0, NULL), EINVAL);
	assert_ok(guestmem_subslice(&s, 1, 2, &s));
	assert_int_equal(s.iov_len, 2);
}

static void test_slice_copy(struct env *e)
{
	static unsigned char want[4 * PAGE];
	struct iovec a, b, none = { 0 };

	for (int down = 0; down < 2; down++) {
		for (size_t gap = 0; gap < 3 * PAGE; gap += 777) {
			for (size_t i = 0; i < sizeof(want); i++)
				e->mem[i] = want[i] = (unsigned char)(i * 31 >> 3);
			assert_ok(guestmem_slice(e->g, at(e, 0), PAGE + 500, PROT_READ | PROT_WRITE,
						 &a));
			assert_ok(guestmem_slice(e->g, at(e, gap), PAGE + 400,
						 PROT_READ | PROT_WRITE, &b));
			assert_int_equal(down ? guestmem_slice_copy(&a, &b) :
						guestmem_slice_copy(&b, &a), PAGE + 400);
			memmove(want + (down ? 0 : gap), want + (down ? gap : 0), PAGE + 400);
			assert_memory_equal(e->mem, want, sizeof(want));
		}
	}
	assert_int_equal(guestmem_slice_copy(&a, &none), 0);
	assert_fails(guestmem_slice_copy(NULL, &a), EINVAL);
	assert_fails(guestmem_slice_copy(&a, NULL), EINVAL);
}

/* A slice outlives its region: it cannot be used then, and that is told. */
static void test_slice_of_what_was_removed(struct env *e)
{
	unsigned char here[200];
	struct iovec s, mine = { here, sizeof(here) };

	if (faults_declined)
		return;
	assert_ok(guestmem_slice(e->g, at(e, HOLE2 - 100), 100, PROT_READ, &s));
	s.iov_len = 200;
	assert_fails(guestmem_slice_copy(&mine, &s), EFAULT);
	assert_true(guestmem_last_done() == 100);
	assert_ok(guestmem_remove(e->whole, e->id[3]));
	assert_fails(guestmem_slice_copy(&mine, &s), EFAULT);
	assert_true(guestmem_last_done() == 0);
	assert_fails(guestmem_slice_copy(&s, &mine), EFAULT);
	/* Also if the two overlap */
	mine = s;
	mine.iov_base = (char *)s.iov_base + 5;
	assert_fails(guestmem_slice_copy(&s, &mine), EFAULT);
}

static void test_ptr(struct env *e)
{
	unsigned char *p = guestmem_ptr(e->g, at(e, 0), SECOND);

	assert_non_null(p);
	*p = 0x5a;
	assert_int_equal(e->mem[0], 0x5a);
	assert_ptr_equal(guestmem_ptr(e->g, at(e, 7 * PAGE + 3), 0), p + 7 * PAGE + 3);
	assert_null_fails(guestmem_ptr(e->g, UINT64_MAX, 2), EOVERFLOW);
	assert_null_fails(guestmem_ptr(e->g, UINT64_MAX, 1), ENXIO);
	if (!(e->has & F_REGIONS))
		return;
	/* All in one region, on either side of each end */
	for (int i = 0; i < 3; i++) {
		static const uint64_t end[] = { SECOND, HOLE, HOLE2 };

		assert_ptr_equal(guestmem_ptr(e->g, at(e, end[i] - 9), 9), p + end[i] - 9);
		assert_null_fails(guestmem_ptr(e->g, at(e, end[i] - 9), 10), ENXIO);
		assert_failed_at(e, end[i], 0);
	}
	assert_ptr_equal(guestmem_ptr(e->g, at(e, SECOND), 1), p + SECOND);
	assert_null_fails(guestmem_ptr(e->g, at(e, HOLE), 1), ENXIO);
	assert_null_fails(guestmem_ptr(e->g, at(e, THIRD - 1), 1), ENXIO);
	assert_null_fails(guestmem_ptr(e->g, at(e, 0) - 1, 2), ENXIO);
	assert_null_fails(guestmem_ptr(e->g, at(e, 0), SIZE_MAX / 2), ENXIO);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(slice, F_SLICES), B(no_slices, 0), B(slices, F_SLICES), B(iterator, F_SLICES),
		B(subslice, F_SLICES), B(slice_copy, F_SLICES),
		B(slice_of_what_was_removed, F_SLICES | F_REGIONS), B(ptr, F_SLICES),
	};

	return RUN_ON_BACKENDS(tests);
}
