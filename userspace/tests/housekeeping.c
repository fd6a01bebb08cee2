// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* What can be told the kernel about memory, and the CPU about its caches. */
#include <linux/mempolicy.h>
#include <unistd.h>

#include "backends.h"

static void test_pages(struct env *e)
{
	uint64_t node = 1;

	assert_ok(guestmem_msync(e->g, at(e, PAGE), 2 * PAGE));
	assert_ok(guestmem_prefetch(e->g, at(e, 0), SECOND));
	assert_ok(guestmem_mlock(e->g, at(e, 0), 2 * PAGE, 0));
	assert_ok(guestmem_mlock(e->g, at(e, 0), 2 * PAGE, GUESTMEM_MLOCK_ONFAULT));
	assert_ok(guestmem_munlock(e->g, at(e, 0), 2 * PAGE));
	assert_ok(guestmem_munlock(e->g, at(e, 0), 2 * PAGE));
	/* A kernel may be without huge pages, or without NUMA. */
	if (guestmem_huge(e->g, at(e, 0), SECOND, 1))
		assert_int_equal(errno, EINVAL);
	if (guestmem_huge(e->g, at(e, 0), SECOND, 0))
		assert_int_equal(errno, EINVAL);
	if (guestmem_numa(e->g, at(e, 0), PAGE, MPOL_PREFERRED, &node, 1))
		assert_true(errno == ENOSYS || errno == EPERM);
	else
		assert_ok(guestmem_numa(e->g, at(e, 0), PAGE, MPOL_DEFAULT, NULL, 0));
	assert_true(guestmem_numa(e->g, at(e, 0), PAGE, 77, &node, 1) < 0);
	assert_fails(guestmem_numa(e->g, at(e, 0), PAGE, MPOL_BIND, NULL, 1), EINVAL);
	assert_ok(guestmem_numa(e->g, at(e, 0), 0, MPOL_DEFAULT, NULL, 0));
	/* On to the next region */
	assert_ok(guestmem_prefetch(e->g, at(e, SECOND - PAGE), 2 * PAGE));
}

static void test_refused(struct env *e)
{
	assert_fails(guestmem_mlock(e->g, at(e, 0), PAGE, 8), EOPNOTSUPP);
	assert_fails(guestmem_mlock_all(NULL, 0), EINVAL);
	assert_fails(guestmem_msync(NULL, 0, PAGE), EINVAL);
	assert_fails(guestmem_msync(e->g, UINT64_MAX, 2), EOVERFLOW);
	if (!(e->has & F_MANAGED)) {
		assert_fails(guestmem_msync(e->g, at(e, 0), PAGE), EOPNOTSUPP);
		assert_fails(guestmem_prefetch(e->g, at(e, 0), PAGE), EOPNOTSUPP);
		assert_fails(guestmem_drop(e->g, at(e, 0), PAGE), EOPNOTSUPP);
		assert_fails(guestmem_discard(e->g, at(e, 0), PAGE), EOPNOTSUPP);
		assert_fails(guestmem_mlock(e->g, at(e, 0), PAGE, 0), EOPNOTSUPP);
		assert_fails(guestmem_mlock_all(e->g, 0), EOPNOTSUPP);
		assert_fails(guestmem_munlock(e->g, at(e, 0), PAGE), EOPNOTSUPP);
		assert_fails(guestmem_huge(e->g, at(e, 0), PAGE, 1), EOPNOTSUPP);
		assert_fails(guestmem_numa(e->g, at(e, 0), PAGE, 0, NULL, 0), EOPNOTSUPP);
		return;
	}
	assert_fails(guestmem_msync(e->g, at(e, 1), PAGE), EINVAL);
	assert_fails(guestmem_drop(e->g, at(e, 0), PAGE + 1), EINVAL);
	assert_ok(guestmem_drop(e->g, at(e, 0), 0));
	assert_ok(guestmem_msync(e->g, at(e, 0), 0));
	assert_ok(guestmem_munlock(e->g, at(e, 0), 0));
	assert_ok(guestmem_mlock(e->g, at(e, 0), 0, 0));
	if (!(e->has & F_REGIONS))
		return;
	assert_fails(guestmem_prefetch(e->g, at(e, HOLE - PAGE), 2 * PAGE), ENXIO);
	assert_failed_at(e, HOLE, 0);
	assert_fails(guestmem_msync(e->g, at(e, HOLE), PAGE), ENXIO);
	assert_fails(guestmem_mlock(e->g, at(e, HOLE), PAGE, 0), ENXIO);
	assert_fails(guestmem_munlock(e->g, at(e, HOLE), PAGE), ENXIO);
	assert_fails(guestmem_numa(e->g, at(e, HOLE), PAGE, 0, NULL, 0), ENXIO);
	assert_fails(guestmem_discard(e->g, at(e, READONLY - PAGE), 2 * PAGE), EACCES);
	assert_failed_at(e, READONLY, 0);
}

static void test_mlock_all(struct env *e)
{
	assert_ok(guestmem_mlock_all(e->g, GUESTMEM_MLOCK_ONFAULT));
	for (int i = 0; i < 4; i++)
		assert_ok(guestmem_remove(e->whole, e->id[i]));
	assert_ok(guestmem_mlock_all(e->g, 0));
}

static void test_drop_and_discard(struct env *e)
{
	uint64_t word;

	memset(e->mem, 0x66, 4 * PAGE);
	assert_ok(guestmem_drop(e->g, at(e, PAGE), PAGE));
	/* Of a file, it comes back. */
	if (e->has & F_BACKING || e->has & F_CALLBACKS)
		assert_int_equal(e->mem[PAGE], 0x66);
	assert_ok(guestmem_dirty_start(e->g, PAGE));
	assert_ok(guestmem_discard(e->g, at(e, 2 * PAGE), PAGE));
	assert_int_equal(e->mem[2 * PAGE], 0);
	assert_int_equal(guestmem_is_zero(e->g, at(e, 2 * PAGE), PAGE), 1);
	assert_int_equal(e->mem[2 * PAGE - 1], e->mem[PAGE]);
	assert_int_equal(e->mem[3 * PAGE], 0x66);
	/* That was a write. */
	assert_int_equal(guestmem_dirty_take(e->g, at(e, 0), 4 * PAGE, &word, 1), 1);
	assert_true(word == 4);
	assert_ok(guestmem_dirty_stop(e->g));
}

static void check_locked(uint64_t addr, uint64_t nlocks)
{
	struct guestmem_error err;

	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_LOCKED);
	assert_true(err.addr == addr && err.need == nlocks);
}

#define assert_locked(call, addr, nlocks) do {	\
	assert_fails(call, EBUSY);		\
	check_locked(addr, nlocks);		\
} while (0)

/* What devices may have is not replaced. */
static void test_discard_locked(struct env *e)
{
	const uint64_t pages[] = { at(e, 4 * PAGE), at(e, 2 * PAGE) };
	uint32_t one, two;

	memset(e->mem, 0x66, SECOND);
	assert_ok(guestmem_lock(e->g, at(e, 2 * PAGE + 5), 1, GUESTMEM_DMA_TO_DEVICE, 0, &one,
				NULL, NULL));
	assert_ok(guestmem_lock_pages(e->g, pages, 2, GUESTMEM_DMA_TO_DEVICE, 0, &two, NULL, NULL));
	assert_locked(guestmem_discard(e->g, at(e, 0), SECOND), at(e, 2 * PAGE), 2);
	assert_non_null(strstr(guestmem_strerror(), "2 DMA locks hold pages"));
	if (e->has & F_PRIVATE)
		assert_locked(guestmem_drop(e->g, at(e, 3 * PAGE), 2 * PAGE), at(e, 4 * PAGE), 1);
	else
		assert_ok(guestmem_drop(e->g, at(e, 3 * PAGE), 2 * PAGE));
	/* Nothing of it was done. */
	for (uint64_t i = 0; i < SECOND / PAGE; i++)
		assert_int_equal(e->mem[i * PAGE], 0x66);
	/* What is between them, and on both sides */
	assert_ok(guestmem_discard(e->g, at(e, PAGE), PAGE));
	assert_ok(guestmem_discard(e->g, at(e, 3 * PAGE), PAGE));
	assert_ok(guestmem_drop(e->g, at(e, 5 * PAGE), PAGE));
	assert_ok(guestmem_unlock(e->g, two));
	assert_locked(guestmem_discard(e->g, at(e, 0), SECOND), at(e, 2 * PAGE + 5), 1);
	assert_ok(guestmem_discard(e->g, at(e, 4 * PAGE), PAGE));
	assert_ok(guestmem_unlock(e->g, one));
	assert_ok(guestmem_discard(e->g, at(e, 0), SECOND));
	for (uint64_t i = 0; i < SECOND / PAGE; i++)
		assert_int_equal(e->mem[i * PAGE], 0);
	/* From before it to behind it, in two regions */
	assert_ok(guestmem_lock(e->g, at(e, PAGE), SECOND, GUESTMEM_DMA_TO_DEVICE, 0, &one, NULL,
				NULL));
	assert_locked(guestmem_discard(e->g, at(e, 3 * PAGE), PAGE), at(e, 3 * PAGE), 1);
	assert_locked(guestmem_discard(e->g, at(e, SECOND), PAGE), at(e, SECOND), 1);
	assert_ok(guestmem_discard(e->g, at(e, SECOND + PAGE), PAGE));
	/* Of a region that went, another at its address has nothing. */
	assert_fails(guestmem_revoke(e->whole, e->id[0], 0, NULL), ETIMEDOUT);
	assert_ok(guestmem_add_anon(e->whole, BASE, SECOND, 0, NULL));
	assert_ok(guestmem_discard(e->g, at(e, 0), SECOND));
	assert_locked(guestmem_discard(e->g, at(e, 0), SECOND + PAGE), at(e, SECOND), 1);
	assert_ok(guestmem_unlock(e->g, one));
	assert_ok(guestmem_discard(e->g, at(e, 0), SECOND + PAGE));
}

static void test_flush(struct env *e)
{
	for (uint64_t x = 0; x < 130; x += 13) {
		for (uint64_t len = 0; len < 200; len += 21)
			assert_ok(guestmem_flush(e->g, at(e, SECOND - 64 + x), len));
	}
	assert_fails(guestmem_flush(e->g, UINT64_MAX, 2), EOVERFLOW);
	if (!(e->has & F_SLICES))	/* there, the memory is behind the bitmaps */
		return;
	assert_fails(guestmem_flush(e->g, at(e, HOLE - 100), 500), EFAULT);
	assert_failed_at(e, HOLE, 100);
	/* Its last byte only */
	assert_fails(guestmem_flush(e->g, at(e, HOLE - 256), 257), EFAULT);
	assert_failed_at(e, HOLE, 256);
	assert_fails(guestmem_flush(e->g, at(e, HOLE + 5), 500), EFAULT);
	assert_failed_at(e, HOLE + 5, 0);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(pages, F_MANAGED), B(refused, 0), B(mlock_all, F_MANAGED | F_REGIONS),
		B(drop_and_discard, F_MANAGED),
		B(discard_locked, F_MANAGED | F_REGIONS), B(flush, F_WINDOW),
	};

	return RUN_ON_BACKENDS(tests);
}
