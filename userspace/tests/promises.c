// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* What the man pages say of corners, where it is easy to do otherwise. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestmem.h"

#include "faults.h"

#define PAGE	4096UL
#define LEN	(16 * PAGE)

#define setup		NULL
#define teardown	NULL

static int logged;

static void count(void *ctx, int err, const char *text)
{
	(void)ctx;
	(void)err;
	(void)text;
	logged++;
}

/* Of a part of a guest whose regions do not end where it does, too. */
static void test_success_is_no_failure(void **state)
{
	struct guestmem *g = guestmem_create(LEN), *part;

	(void)state;
	assert_non_null(g);
	assert_int_equal(guestmem_add_anon(g, 0, 4 * PAGE, GUESTMEM_ANON_PRIVATE, NULL), 0);
	assert_int_equal(guestmem_add_anon(g, 8 * PAGE, 4 * PAGE, 0, NULL), 0);
	part = guestmem_subrange(g, PAGE, 9 * PAGE, 0);
	assert_non_null(part);
	guestmem_set_log(count, NULL);
	logged = 0;
	assert_int_equal(guestmem_discard(g, 0, PAGE), 0);
	assert_int_equal(guestmem_discard(g, 8 * PAGE, PAGE), 0);
	assert_int_equal(guestmem_mlock_all(part, GUESTMEM_MLOCK_ONFAULT), 0);
	assert_int_equal(logged, 0);
	assert_int_equal(guestmem_discard(g, PAGE, PAGE), -EINVAL);
	assert_int_equal(guestmem_discard(g, 8 * PAGE, PAGE), -EINVAL);
	assert_int_equal(guestmem_discard(g, 0, PAGE), 0);
	assert_int_equal(guestmem_discard(g, 10 * PAGE, PAGE), 0);
	assert_int_equal(logged, 2);
	guestmem_set_log(NULL, NULL);
	guestmem_close(part);
	guestmem_close(g);
}

/* The first address where it fails, also if the range goes on behind the guest's end. */
static void test_check_tells_the_first(void **state)
{
	struct guestmem *g = guestmem_create(LEN), *part;
	struct guestmem_error e;

	(void)state;
	assert_non_null(g);
	assert_int_equal(guestmem_add_anon(g, 12 * PAGE, 2 * PAGE, 0, NULL), 0);
	assert_int_equal(guestmem_add_anon(g, 14 * PAGE, 2 * PAGE, GUESTMEM_REGION_READONLY, NULL),
			 0);
	assert_int_equal(guestmem_check(g, 13 * PAGE, 9 * PAGE, PROT_WRITE), -EACCES);
	guestmem_last_error(&e);
	assert_int_equal(e.addr, 14 * PAGE);
	assert_int_equal(guestmem_check(g, 13 * PAGE, 9 * PAGE, PROT_READ), -ENXIO);
	guestmem_last_error(&e);
	assert_int_equal(e.addr, LEN);
	assert_int_equal(guestmem_check(g, 13 * PAGE, 3 * PAGE, PROT_READ), 0);
	assert_int_equal(guestmem_check(g, LEN, 1, PROT_READ), -ENXIO);
	assert_int_equal(guestmem_check(g, LEN, UINT64_MAX, PROT_READ), -EOVERFLOW);
	part = guestmem_subrange(g, 12 * PAGE, 3 * PAGE, 0);
	assert_non_null(part);
	assert_int_equal(guestmem_check(part, 0, 4 * PAGE, PROT_WRITE), -EACCES);
	guestmem_last_error(&e);
	assert_int_equal(e.addr, 2 * PAGE);
	assert_int_equal(guestmem_check(part, 0, 4 * PAGE, PROT_READ), -ENXIO);
	guestmem_last_error(&e);
	assert_int_equal(e.addr, 3 * PAGE);
	guestmem_close(part);
	guestmem_close(g);
}

/* -------- Callbacks ------------------------------------------------------ */

static char memory[LEN] __attribute__((__aligned__(4096)));

static int part_of(void *ctx, uint64_t gpa, uint64_t len, int may_lock,
		   struct guestmem_ops *ops, void **sub_ctx)
{
	(void)may_lock;
	*ops = (struct guestmem_ops){
		.size = sizeof(*ops),
		.len = len,
		.mapping = memory + gpa,
	};
	*sub_ctx = ctx;
	return 1;
}

static void test_parts_stay_read_only(void **state)
{
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = LEN,
		.mapping = memory,
		.subrange = part_of,
	};
	struct guestmem *g = guestmem_from_ops(&ops, NULL), *sub, *subsub;

	(void)state;
	assert_non_null(g);
	ops.flags = GUESTMEM_OPS_READONLY;
	sub = guestmem_from_ops(&ops, NULL);
	assert_non_null(sub);
	subsub = guestmem_subrange(sub, 0, PAGE, 0);
	assert_non_null(subsub);
	assert_int_equal(guestmem_write8(subsub, 0, 1), -EACCES);
	guestmem_close(subsub);
	guestmem_close(sub);
	sub = guestmem_subrange(g, PAGE, PAGE, 0);
	assert_non_null(sub);
	assert_int_equal(guestmem_write8(sub, 0, 1), 0);
	assert_int_equal(memory[PAGE], 1);
	guestmem_close(sub);
	guestmem_close(g);
}

static void test_bitmaps_leave_no_way_around(void **state)
{
	static const uint8_t bitmap[2] = { 0xf7, 0xff };	/* not page 3 */
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = LEN,
		.mapping = memory,
		.read_bitmap = bitmap,
		.write_bitmap = bitmap,
	};
	struct guestmem *g = guestmem_from_ops(&ops, NULL), *part;
	struct guestmem_hold hold;
	char buf[2 * PAGE];
	struct iovec slice;
	uint64_t value;

	(void)state;
	assert_non_null(g);
	assert_null(guestmem_ptr(g, 0, 8));
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(guestmem_slice(g, 0, 8, PROT_READ, &slice), -EOPNOTSUPP);
	assert_int_equal(guestmem_read_from(g, 0, STDIN_FILENO, NULL, 8), -EOPNOTSUPP);
	assert_int_equal(guestmem_hold(g, PAGE, 8, &hold), 0);
	assert_ptr_equal(hold.slice.iov_base, memory + PAGE);
	guestmem_release(&hold);

	/* What is before the denied page is done. */
	assert_int_equal(guestmem_read(g, 2 * PAGE + 8, buf, sizeof(buf)), -EACCES);
	assert_int_equal(guestmem_last_done(), PAGE - 8);
	/* The right page, in a part of any alignment. */
	part = guestmem_subrange(g, 2 * PAGE + 0x800, 4 * PAGE, 0);
	assert_non_null(part);
	assert_int_equal(guestmem_read64(part, 0x7f8, &value), 0);
	assert_int_equal(guestmem_read64(part, 0x800, &value), -EACCES);
	assert_int_equal(guestmem_read64(part, 0x17f8, &value), -EACCES);
	assert_int_equal(guestmem_read64(part, 0x1800, &value), 0);
	guestmem_close(part);
	assert_int_equal(guestmem_synchronize(g), 0);
	guestmem_close(g);
}

static int read_zero(void *ctx, uint64_t gpa, void *buf, size_t len)
{
	(void)ctx;
	(void)gpa;
	memset(buf, 0, len);
	return 0;
}

static int swap(void *ctx, uint64_t gpa, void *expected, const void *desired, size_t width)
{
	(void)gpa;
	memcpy(ctx, desired, width);
	return !memcmp(expected, "\0\0\0\0", width);
}

/* Other read-modify-writes are made of cmpxchg and read. */
static void test_atomics_take_both(void **state)
{
	uint32_t one = 1, old = 7, result = 0;
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = LEN,
		.cmpxchg = swap,
	};
	struct guestmem *g = guestmem_from_ops(&ops, &result);

	(void)state;
	assert_non_null(g);
	assert_int_equal(guestmem_atomic(g, 0, GUESTMEM_ATOMIC_ADD, &one, &old, 4), -EOPNOTSUPP);
	assert_int_equal(old, 7);
	guestmem_close(g);
	ops.read = read_zero;
	g = guestmem_from_ops(&ops, &result);
	assert_non_null(g);
	assert_int_equal(guestmem_atomic(g, 0, GUESTMEM_ATOMIC_ADD, &one, &old, 4), 0);
	assert_int_equal(old, 0);
	assert_int_equal(result, 1);
	guestmem_close(g);
}

static int again(void *ctx, const struct guestmem_fault *fault)
{
	(void)fault;
	++*(int *)ctx;
	return GUESTMEM_FAULT_RETRY;
}

static void test_retries_end(void **state)
{
	char *none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = PAGE,
		.mapping = none,
		.page_fault = again,
	};
	struct guestmem *g;
	int calls = 0;
	char byte;

	(void)state;
	assert_true(none != MAP_FAILED);
	g = guestmem_from_ops(&ops, &calls);
	assert_non_null(g);
	assert_int_equal(guestmem_read(g, 5, &byte, 1), -EFAULT);
	assert_in_range(calls, 1000, 10000);
	guestmem_close(g);
	munmap(none, PAGE);
}

/* -------- Dirty pages ---------------------------------------------------- */

/* A part's first granule may begin before the part; a failed write is noted, too. */
static void test_granules_are_the_guests(void **state)
{
	struct guestmem *g = guestmem_create(LEN), *part;
	uint64_t bits[2];
	char buf[2 * PAGE] = "";

	(void)state;
	assert_non_null(g);
	assert_int_equal(guestmem_add_anon(g, 0, 4 * PAGE, 0, NULL), 0);
	part = guestmem_subrange(g, PAGE + 100, 2 * PAGE, 0);
	assert_non_null(part);
	assert_int_equal(guestmem_dirty_start(g, PAGE), 0);
	assert_int_equal(guestmem_dirty_start(part, PAGE), -EBUSY);
	assert_int_equal(guestmem_write8(g, PAGE, 1), 0);
	assert_int_equal(guestmem_dirty_peek(part, 0, 2 * PAGE, bits, 2), 1);
	assert_int_equal(bits[0], 1);
	assert_int_equal(guestmem_dirty_take(part, 0, 2 * PAGE, bits, 0), -EMSGSIZE);
	assert_int_equal(guestmem_dirty_take(part, 0, 2 * PAGE, bits, 1), 1);
	assert_int_equal(guestmem_write(g, 3 * PAGE + 1, buf, sizeof(buf)), -ENXIO);
	assert_int_equal(guestmem_last_done(), PAGE - 1);
	assert_int_equal(guestmem_dirty_take(g, 0, LEN, bits, 1), 1);
	assert_int_equal(bits[0], 8);
	assert_int_equal(guestmem_dirty_stop(part), 0);
	guestmem_close(part);
	guestmem_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(success_is_no_failure), T(check_tells_the_first),
		T(parts_stay_read_only),
		T(bitmaps_leave_no_way_around),
		T(atomics_take_both),
		T(retries_end),
		T(granules_are_the_guests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
