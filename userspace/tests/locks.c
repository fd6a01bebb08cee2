// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* What keeps memory: holds and DMA locks, and what is removed meanwhile. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"

static void test_hold(struct env *e)
{
	struct guestmem_hold hold, other;

	assert_ok(guestmem_hold(e->g, at(e, 5), 100, &hold));
	assert_int_equal(hold.slice.iov_len, 100);
	if (e->has & F_SLICES) {
		assert_ptr_equal(hold.slice.iov_base, guestmem_ptr(e->g, at(e, 5), 100));
		memset(hold.slice.iov_base, 0x3c, 100);
		assert_int_equal(e->mem[104], 0x3c);
	}
	assert_ok(guestmem_hold(e->g, at(e, 6), 1, &other));
	guestmem_release(&hold);
	guestmem_release(&hold);
	guestmem_release(&other);
	guestmem_release(NULL);
	assert_fails(guestmem_hold(e->g, at(e, 0), 0, &hold), EINVAL);
	assert_fails(guestmem_hold(e->g, at(e, 0), 1, NULL), EINVAL);
	assert_fails(guestmem_hold(e->g, UINT64_MAX, 2, &hold), EOVERFLOW);
	assert_fails(guestmem_hold(e->g, UINT64_MAX, 1, &hold), ENXIO);
	guestmem_release(&hold);
	if (!(e->has & F_REGIONS))
		return;
	assert_fails(guestmem_hold(e->g, at(e, HOLE), 1, &hold), ENXIO);
	assert_failed_at(e, HOLE, 0);
	guestmem_release(&hold);
	assert_fails(guestmem_hold(e->g, at(e, HOLE - 4), 8, &hold), ENXIO);
	assert_fails(guestmem_hold(e->g, at(e, SECOND - 4), 8, &hold), ENXIO);
	assert_failed_at(e, SECOND, 0);
	/* A read-only region can be held. */
	assert_ok(guestmem_hold(e->g, at(e, READONLY), PAGE, &hold));
	guestmem_release(&hold);
}

static void test_hold_keeps_it(struct env *e)
{
	struct guestmem_hold hold, second;
	struct guestmem_error err;
	uint32_t nlocks = 7;
	unsigned char byte;

	assert_ok(guestmem_hold(e->g, at(e, THIRD + 3), 10, &hold));
	assert_ok(guestmem_hold(e->g, at(e, THIRD + PAGE), 10, &second));
	assert_fails(guestmem_remove(e->whole, e->id[3]), EBUSY);
	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_LOCKED);
	assert_true(err.need == 2 && err.addr == BASE + THIRD);
	assert_ok(guestmem_read8(e->g, at(e, THIRD), &byte));
	guestmem_release(&second);
	assert_fails(guestmem_remove(e->whole, e->id[3]), EBUSY);
	/* It goes all the same, and is not there while it is waited for. */
	assert_fails(guestmem_revoke(e->whole, e->id[3], 0, &nlocks), ETIMEDOUT);
	assert_int_equal(nlocks, 1);
	assert_fails(guestmem_read8(e->g, at(e, THIRD), &byte), ENXIO);
	assert_fails(guestmem_hold(e->g, at(e, THIRD), 1, &second), ENXIO);
	assert_fails(guestmem_revoke(e->whole, e->id[3], 0, &nlocks), ENOENT);
	assert_fails(guestmem_remove(e->whole, e->id[3]), ENOENT);
	guestmem_release(&hold);
	assert_ok(guestmem_hold(e->g, at(e, 0), 1, &hold));
	guestmem_release(&hold);
	assert_ok(guestmem_remove(e->whole, e->id[0]));
	assert_fails(guestmem_remove(e->whole, e->id[0]), ENOENT);
}

static void *release_later(void *arg)
{
	usleep(60000);
	guestmem_release(arg);
	return NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_revoke_waits(struct env *e)
{
	struct guestmem_hold hold;
	uint32_t nlocks = 7;
	pthread_t thread;
	double start;

	assert_ok(guestmem_hold(e->g, at(e, 0), 1, &hold));
	assert_int_equal(pthread_create(&thread, NULL, release_later, &hold), 0);
	start = now();
	assert_ok(guestmem_revoke(e->whole, e->id[0], GUESTMEM_WAIT_FOREVER, &nlocks));
	assert_true(now() - start > 0.04);
	assert_int_equal(nlocks, 0);
	pthread_join(thread, NULL);
	assert_ok(guestmem_hold(e->g, at(e, SECOND), 1, &hold));
	start = now();
	assert_fails(guestmem_revoke(e->whole, e->id[1], 50, NULL), ETIMEDOUT);
	assert_true(now() - start > 0.04 && now() - start < 20);
	guestmem_release(&hold);
	assert_ok(guestmem_revoke(e->whole, e->id[2], 1, NULL));
}

static void check_extents(const struct guestmem_extent *x, size_t n, uint64_t gpa, uint64_t len)
{
	for (size_t i = 0; i < n; i++) {
		assert_true(x[i].gpa == gpa && x[i].len && x[i].len <= len);
		gpa += x[i].len;
		len -= x[i].len;
	}
	assert_true(!len);
}

static void test_lock(struct env *e)
{
	struct guestmem_extent x[32];
	uint32_t handle = 7, other;
	size_t n = 32;

	assert_ok(guestmem_lock(e->g, at(e, SECOND - 10), 20, GUESTMEM_DMA_BIDIRECTIONAL, 0,
				&handle, x, &n));
	check_extents(x, n, at(e, SECOND - 10), 20);
	assert_true(n == (e->has & F_REGIONS ? 2 : 1));
	if (e->has & F_REGIONS)
		assert_int_equal(x[1].region_id, e->id[1]);
	assert_ok(guestmem_lock(e->g, at(e, SECOND), 1, GUESTMEM_DMA_TO_DEVICE, 0, &other, NULL,
				NULL));
	assert_int_not_equal(handle, other);
	if (e->has & F_REGIONS) {
		assert_fails(guestmem_remove(e->whole, e->id[0]), EBUSY);
		assert_fails(guestmem_remove(e->whole, e->id[1]), EBUSY);
	}
	assert_ok(guestmem_unlock(e->g, handle));
	assert_fails(guestmem_unlock(e->g, handle), ENOENT);
	if (e->has & F_REGIONS) {
		assert_ok(guestmem_remove(e->whole, e->id[0]));
		assert_fails(guestmem_remove(e->whole, e->id[1]), EBUSY);
	}
	assert_ok(guestmem_unlock(e->whole, other));
	assert_fails(guestmem_unlock(e->g, 0), ENOENT);
	if (e->has & F_REGIONS) {
		assert_fails(guestmem_lock(e->g, at(e, SECOND - 10), 20, 1, 0, &handle, NULL,
					   NULL), ENXIO);
		assert_ok(guestmem_remove(e->whole, e->id[1]));
	}
}

static void test_lock_refused(struct env *e)
{
	struct guestmem_extent x[4];
	uint32_t handle = 7;
	size_t n = 4;

	assert_fails(guestmem_lock(e->g, at(e, 0), 0, 1, 0, &handle, x, &n), EINVAL);
	assert_int_equal(n, 0);
	n = 4;
	assert_fails(guestmem_lock(e->g, UINT64_MAX, 2, 1, 0, &handle, x, &n), EOVERFLOW);
	assert_int_equal(n, 0);
	n = 4;
	if (e->len)
		assert_fails(guestmem_lock(e->g, UINT64_MAX, 1, 1, 0, &handle, x, &n), ENXIO);
	assert_fails(guestmem_lock(e->g, at(e, 0), 1, 1, 0, NULL, NULL, NULL), EINVAL);
	assert_fails(guestmem_lock(e->g, at(e, 0), 1, 1, 0, &handle, x, NULL), EINVAL);
	n = 4;
	assert_fails(guestmem_lock(e->g, at(e, 0), 1, 1, 0, &handle, NULL, &n), EINVAL);
	assert_fails(guestmem_lock(e->g, at(e, 0), 1, 1, GUESTMEM_LOCK_PAGES, &handle, NULL, NULL),
		     EINVAL);
	assert_true(guestmem_lock(e->g, at(e, 0), 1, 8, 0, &handle, NULL, NULL) < 0);
	assert_true(guestmem_lock(e->g, at(e, 0), 1, 0, 0, &handle, NULL, NULL) < 0);
	assert_fails(guestmem_lock(e->g, at(e, 0), 1, 1, 1U << 30, &handle, NULL, NULL),
		     EOPNOTSUPP);
	if (!(e->has & F_DEVICE))
		assert_fails(guestmem_lock(e->g, at(e, 0), 1, 1, GUESTMEM_EXTENT_HPA, &handle, NULL,
					   NULL), EOPNOTSUPP);
	assert_int_equal(handle, 7);
	if (!(e->has & F_REGIONS))
		return;
	n = 4;
	assert_fails(guestmem_lock(e->g, at(e, HOLE - 1), 2, 1, 0, &handle, x, &n), ENXIO);
	assert_failed_at(e, HOLE, 0);
	assert_fails(guestmem_lock(e->g, at(e, READONLY), 1, GUESTMEM_DMA_FROM_DEVICE, 0, &handle,
				   NULL, NULL), EACCES);
	assert_failed_at(e, READONLY, 0);
	n = 1;
	assert_fails(guestmem_lock(e->g, at(e, SECOND - 1), 2, 1, 0, &handle, x, &n), EMSGSIZE);
	assert_int_equal(n, 2);
	/* Nothing is held by what failed. */
	for (int i = 0; i < 4; i++)
		assert_ok(guestmem_remove(e->whole, e->id[i]));
}

static void test_lock_pages(struct env *e)
{
	struct guestmem_extent x[8];
	uint64_t gpas[4] = { BASE + PAGE, BASE + 2 * PAGE, BASE, BASE + THIRD };
	uint32_t handle;
	size_t n = 8;

	/* Page numbers are of the guest: in a part, where they are aligned is odd. */
	for (int i = 0; i < 4; i++)
		gpas[i] -= e->shift;
	assert_ok(guestmem_lock_pages(e->g, gpas, 4, GUESTMEM_DMA_FROM_DEVICE, 0, &handle, x, &n));
	assert_true(x[0].gpa == gpas[0]);
	assert_true(x[n - 1].gpa == gpas[3] && x[n - 1].len == PAGE);
	assert_true(x[n - 2].gpa == gpas[2]);
	if (!(e->has & F_DEVICE))
		assert_true(n == 3 && x[0].len == 2 * PAGE);
	if (e->has & F_REGIONS)
		assert_fails(guestmem_remove(e->whole, e->id[3]), EBUSY);
	assert_ok(guestmem_unlock(e->g, handle));
	n = 1;
	assert_fails(guestmem_lock_pages(e->g, gpas, 4, 1, 0, &handle, x, &n), EMSGSIZE);
	assert_true(n >= 3);
	assert_fails(guestmem_lock_pages(e->g, gpas, 0, 1, 0, &handle, NULL, NULL), EINVAL);
	assert_fails(guestmem_lock_pages(e->g, NULL, 1, 1, 0, &handle, NULL, NULL), EINVAL);
	assert_fails(guestmem_lock_pages(e->g, gpas, GUESTMEM_LOCK_MAX_PAGES + 1, 1, 0, &handle,
					 NULL, NULL), EINVAL);
	gpas[1] += 8;
	n = 8;
	assert_fails(guestmem_lock_pages(e->g, gpas, 4, 1, 0, &handle, x, &n), EINVAL);
	assert_int_equal(n, 0);
	if (e->has & F_REGIONS) {
		gpas[1] = at(e, HOLE);
		assert_fails(guestmem_lock_pages(e->g, gpas, 4, 1, 0, &handle, NULL, NULL), ENXIO);
		assert_failed_at(e, HOLE, 0);
		gpas[1] = at(e, READONLY);
		assert_fails(guestmem_lock_pages(e->g, gpas, 4, 2, 0, &handle, NULL, NULL), EACCES);
		assert_ok(guestmem_lock_pages(e->g, gpas, 4, 1, 0, &handle, NULL, NULL));
		assert_ok(guestmem_unlock(e->g, handle));
		assert_ok(guestmem_remove(e->whole, e->id[3]));
	}
}

static void test_translate(struct env *e)
{
	struct guestmem_range ranges[2] = { { at(e, THIRD), 10 }, { at(e, 5), 20 } };
	struct guestmem_extent x[64];
	size_t n = 64;

	assert_ok(guestmem_translate(e->g, at(e, SECOND - 100), 200, 0, x, &n));
	check_extents(x, n, at(e, SECOND - 100), 200);
	if (e->has & F_REGIONS) {
		assert_int_equal(x[0].region_id, e->id[0]);
		assert_int_equal(x[n - 1].region_id, e->id[1]);
		n = 64;
		assert_fails(guestmem_translate(e->g, at(e, HOLE - 5), 10, 0, x, &n), ENXIO);
		assert_failed_at(e, HOLE, 0);
		check_extents(x, n, at(e, HOLE - 5), 5);
		assert_int_equal(x[0].flags, GUESTMEM_REGION_READONLY);
		n = 1;
		assert_fails(guestmem_translate(e->g, at(e, SECOND - 1), 2, 0, x, &n), EMSGSIZE);
		assert_int_equal(n, 2);
	}
	n = 64;
	assert_ok(guestmem_translate_batch(e->g, ranges, 2, 0, x, &n));
	assert_int_equal(n, 2);
	check_extents(x, 1, at(e, THIRD), 10);
	check_extents(x + 1, 1, at(e, 5), 20);
	n = 1;
	assert_fails(guestmem_translate_batch(e->g, ranges, 2, 0, x, &n), EMSGSIZE);
	assert_int_equal(n, 2);
	n = 64;
	assert_fails(guestmem_translate(e->g, at(e, 0), 0, 0, x, &n), EINVAL);
	assert_int_equal(n, 0);
	n = 64;
	assert_fails(guestmem_translate(e->g, UINT64_MAX, 2, 0, x, &n), EOVERFLOW);
	assert_int_equal(n, 0);
	n = 64;
	assert_fails(guestmem_translate_batch(e->g, ranges, 0, 0, x, &n), EINVAL);
	n = 64;
	assert_fails(guestmem_translate_batch(e->g, NULL, 1, 0, x, &n), EINVAL);
	n = 64;
	assert_fails(guestmem_translate(e->g, at(e, 0), 1, 0, NULL, &n), EINVAL);
	assert_fails(guestmem_translate(e->g, at(e, 0), 1, 0, x, NULL), EINVAL);
	n = 64;
	assert_fails(guestmem_translate_batch(e->g, ranges, (size_t)UINT32_MAX + 1, 0, x, &n),
		     EINVAL);
	n = 64;
	assert_fails(guestmem_translate(e->g, at(e, 0), 1, 1U << 30, x, &n), EOPNOTSUPP);
	if (e->has & F_PART) {
		n = 64;
		assert_fails(guestmem_translate(e->g, e->len, 1, 0, x, &n), ENXIO);
		assert_int_equal(n, 0);
	}
}

/* Locks are of the guest, whatever handle they were made by. */
static void test_lock_outlives_the_part(struct env *e)
{
	struct guestmem *part = guestmem_subrange(e->g, at(e, 3), 100, GUESTMEM_SUBRANGE_LOCK);
	struct guestmem_hold hold, other;
	uint32_t handle;

	assert_non_null(part);
	assert_ok(guestmem_lock(part, 0, 10, 1, 0, &handle, NULL, NULL));
	assert_fails(guestmem_hold(part, 0, 101, &other), ENXIO);
	assert_ok(guestmem_hold(part, 0, 10, &hold));
	guestmem_close(part);
	if (e->has & F_REGIONS)
		assert_fails(guestmem_remove(e->whole, e->id[0]), EBUSY);
	assert_ok(guestmem_unlock(e->g, handle));
	guestmem_release(&hold);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(hold, 0), B(hold_keeps_it, F_REGIONS), B(revoke_waits, F_REGIONS), B(lock, 0),
		B(lock_refused, 0), B(lock_pages, 0), B(translate, 0),
		B(lock_outlives_the_part, 0),
	};

	return RUN_ON_BACKENDS(tests);
}
