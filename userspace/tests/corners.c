// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* What the library does itself, against /dev/guestmem; exit status 77 if there is none. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "guestmem.h"
#include "faults.h"

#define PAGE	4096ULL

static struct guestmem *g;
static unsigned char *mem;

static int setup(void **state)
{
	(void)state;
	g = guestmem_open(O_RDWR);
	mem = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return g && mem != MAP_FAILED ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	guestmem_close(g);
	munmap(mem, 4 * PAGE);
	return 0;
}

#define GROWN	400U

static unsigned int added;

static void *add_many(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < GROWN; i++) {
		if (guestmem_add_user(g, (1ULL + i) * 2 * PAGE, PAGE, mem, 0, NULL))
			break;
		__atomic_store_n(&added, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* The list is of some moment, whole, however fast it grows. */
static void test_regions_grow_meanwhile(void **state)
{
	struct guestmem_region *r;
	pthread_t thread;
	size_t n = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, add_many, NULL), 0);
	while (n < GROWN) {
		unsigned int before = __atomic_load_n(&added, __ATOMIC_ACQUIRE);

		assert_int_equal(guestmem_regions(g, &r, &n), 0);
		assert_true(n >= before);
		for (size_t i = 0; i < n; i++)
			assert_true(r[i].gpa == (1ULL + i) * 2 * PAGE);
		free(r);
	}
	pthread_join(thread, NULL);
	assert_int_equal(added, GROWN);
}

static void test_done(void **state)
{
	unsigned char out[2 * PAGE];

	(void)state;
	assert_int_equal(guestmem_add_user(g, PAGE, 2 * PAGE, mem, 0, NULL), 0);
	assert_int_equal(guestmem_read_some(g, PAGE + 1, out, sizeof(out)), 2 * PAGE - 1);
	assert_int_equal(guestmem_read(g, PAGE + 1, out, sizeof(out)), -ENXIO);
	assert_true(guestmem_last_done() == 2 * PAGE - 1);
	/* A later failure of another kind has done nothing. */
	assert_int_equal(guestmem_remove(g, 99), -ENOENT);
	assert_true(guestmem_last_done() == 0);
}

static void test_top_of_file_offsets(void **state)
{
	struct guestmem_error e;
	char c[8] = "";

	(void)state;
	assert_int_equal(guestmem_add_user(g, (1ULL << 63) - PAGE, 2 * PAGE, mem, 0, NULL), 0);
	assert_int_equal(guestmem_write(g, (1ULL << 63) - 8, c, 7), 0);
	assert_int_equal(guestmem_write(g, (1ULL << 63) - 8, c, 8), -EOPNOTSUPP);
	assert_true(guestmem_last_done() == 7);
	guestmem_last_error(&e);
	assert_true(e.addr == INT64_MAX);
	assert_int_equal(guestmem_read_some(g, (1ULL << 63) - 8, c, 8), 7);
	assert_int_equal(guestmem_read_some(g, UINT64_MAX, c, 8), -EOPNOTSUPP);
	assert_int_equal(guestmem_write(g, UINT64_MAX - 6, c, 8), -EOVERFLOW);
	assert_null(guestmem_map(g, (1ULL << 63) - PAGE, PAGE + 1, PROT_READ));
	assert_int_equal(errno, EOPNOTSUPP);
	assert_null(guestmem_map(g, UINT64_MAX, 2, PROT_READ));
	assert_int_equal(errno, EOVERFLOW);
	assert_null(guestmem_map(g, 0, 0, PROT_READ));
	assert_int_equal(errno, EINVAL);
}

static void test_widths(void **state)
{
	static const size_t bad[] = { 0, 3, 5, 6, 7, 9, 12, 15, 17, 32, SIZE_MAX };
	unsigned char v[16] = { 0 };

	(void)state;
	assert_int_equal(guestmem_add_user(g, 0, PAGE, mem, 0, NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(guestmem_cmpxchg(g, 0, v, v, bad[i]), -EINVAL);
		assert_int_equal(guestmem_atomic(g, 0, GUESTMEM_ATOMIC_ADD, v, v, bad[i]),
				 -EINVAL);
	}
	for (size_t width = 2; width <= 16; width *= 2) {
		assert_int_equal(guestmem_cmpxchg(g, width / 2, v, v, width), -EINVAL);
		assert_int_equal(guestmem_cmpxchg(g, width, v, v, width), 1);
	}
	assert_int_equal(guestmem_cmpxchg(g, 0, NULL, v, 8), -EINVAL);
	assert_int_equal(guestmem_cmpxchg(g, 0, v, NULL, 8), -EINVAL);
	assert_int_equal(guestmem_atomic(g, 0, GUESTMEM_ATOMIC_ADD, NULL, v, 8), -EINVAL);
	assert_int_equal(guestmem_atomic(g, 0, GUESTMEM_ATOMIC_CMPXCHG, v, v, 8), -EINVAL);
	/* Operand and old in one place. */
	v[0] = 5;
	mem[8] = 7;
	assert_int_equal(guestmem_atomic(g, 8, GUESTMEM_ATOMIC_ADD, v, v, 1), 0);
	assert_int_equal(v[0], 7);
	assert_int_equal(mem[8], 12);
}

static void test_lists(void **state)
{
	struct guestmem_range range = { 0, 1 };
	struct guestmem_extent e[2];
	uint64_t page = 0;
	uint32_t handle = 77;
	size_t n;

	(void)state;
	assert_int_equal(guestmem_add_user(g, 0, 2 * PAGE, mem, 0, NULL), 0);
	n = 2;
	assert_int_equal(guestmem_translate(g, 0, 1, 0, NULL, &n), -EINVAL);
	assert_int_equal(n, 0);
	n = 2;
	assert_int_equal(guestmem_translate_batch(g, NULL, 1, 0, e, &n), -EINVAL);
	n = 2;
	assert_int_equal(guestmem_translate_batch(g, &range, (size_t)1 << 32, 0, e, &n),
			 -EINVAL);
	/* Capacity 0 asks how many. */
	n = 0;
	assert_int_equal(guestmem_translate(g, 0, 1, 0, NULL, &n), -EMSGSIZE);
	assert_int_equal(n, 1);
	n = (size_t)1 << 40;
	assert_int_equal(guestmem_translate(g, 0, 1, 0, e, &n), 0);
	assert_int_equal(n, 1);

	assert_int_equal(guestmem_lock(g, 0, 1, 1, 0, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(guestmem_lock(g, 0, 1, 1, 0, &handle, e, NULL), -EINVAL);
	n = 1;
	assert_int_equal(guestmem_lock(g, 0, 1, 1, 0, &handle, NULL, &n), -EINVAL);
	assert_int_equal(guestmem_lock(g, 0, 1, 1, GUESTMEM_LOCK_PAGES, &handle, NULL, NULL),
			 -EINVAL);
	assert_int_equal(guestmem_lock_pages(g, NULL, 1, 1, 0, &handle, NULL, NULL), -EINVAL);
	assert_int_equal(guestmem_lock_pages(g, &page, GUESTMEM_LOCK_MAX_PAGES + 1, 1, 0,
					     &handle, NULL, NULL), -EINVAL);
	assert_int_equal(handle, 77);
	/* Here it says that none are wanted. */
	n = 0;
	assert_int_equal(guestmem_lock(g, 0, 1, 1, 0, &handle, NULL, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(guestmem_unlock(g, handle), 0);
}

static void test_revoke_text(void **state)
{
	uint32_t id, lock, nlocks;

	(void)state;
	assert_int_equal(guestmem_add_user(g, 0, PAGE, mem, 0, &id), 0);
	assert_int_equal(guestmem_lock(g, 0, 1, 1, 0, &lock, NULL, NULL), 0);
	assert_int_equal(guestmem_revoke(g, id, 1, &nlocks), -ETIMEDOUT);
	assert_int_equal(nlocks, 1);
	assert_string_equal(guestmem_strerror(),
		"cannot revoke the region: it is revoked, but 1 DMA lock was not released in time: its pages stay pinned until it is");
}

static void test_close_keeps_errno(void **state)
{
	struct guestmem *h = guestmem_from_fd(guestmem_fd(g));

	(void)state;
	assert_non_null(h);
	errno = 5;
	guestmem_close(h);
	assert_int_equal(errno, 5);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(regions_grow_meanwhile), T(done), T(top_of_file_offsets), T(widths), T(lists),
		T(revoke_text), T(close_keeps_errno),
	};

	g = guestmem_open(O_RDWR);
	if (!g) {
		fprintf(stderr, "skipped: %s\n", guestmem_strerror());
		return 77;
	}
	guestmem_close(g);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
