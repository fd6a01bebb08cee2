// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Dirty pages: what marks them, and what of them is lost: nothing. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"

#define GRANULE	512ULL
#define NBITS	(SPAN / GRANULE)

static uint64_t bits[NBITS / 64 + 2];

/* Just the granules of [@first, @end) are marked; and then, none. */
static void assert_marked(struct env *e, uint64_t first, uint64_t end)
{
	ssize_t n = guestmem_dirty_take(e->g, at(e, 0), SPAN, bits, sizeof(bits) / 8);

	for (uint64_t i = 0; i < NBITS; i++) {
		bool want = end > first && i >= first / GRANULE && i <= (end - 1) / GRANULE;

		if ((bits[i / 64] >> i % 64 & 1) != want)
			failed("granule at 0x%llx is %smarked, after 0x%llx to 0x%llx",
				 (unsigned long long)(i * GRANULE), want ? "not " : "",
				 (unsigned long long)first, (unsigned long long)end);
		n -= want;
	}
	assert_int_equal(n, 0);
	assert_int_equal(guestmem_dirty_take(e->g, at(e, 0), SPAN, bits, sizeof(bits) / 8), 0);
}

static void start(struct env *e)
{
	assert_ok(guestmem_dirty_start(e->g, GRANULE));
	assert_marked(e, 0, 0);
}

static void test_each_way_of_writing(struct env *e)
{
	static unsigned char buf[2 * PAGE];
	struct guestmem_paged paged;
	uint64_t gpn, value[2] = { 1, 2 };
	int p[2];

	start(e);
	assert_ok(guestmem_write(e->g, at(e, 700), buf, 1));
	assert_marked(e, 700, 701);
	assert_ok(guestmem_write(e->g, at(e, SECOND - 3 * 512), buf, 6 * 512));
	assert_marked(e, SECOND - 3 * 512, SECOND + 3 * 512);
	assert_ok(guestmem_write(e->g, at(e, 511), buf, 2));
	assert_marked(e, 511, 513);
	assert_ok(guestmem_write(e->g, at(e, 511), buf, 0));
	assert_marked(e, 0, 0);
	assert_int_equal(guestmem_write_some(e->g, at(e, 5000), buf, 600), 600);
	assert_marked(e, 5000, 5600);
	assert_ok(guestmem_write8(e->g, at(e, 1023), 1));
	assert_marked(e, 1023, 1024);
	assert_ok(guestmem_write16(e->g, at(e, 1023), 1));
	assert_marked(e, 1023, 1025);
	assert_ok(guestmem_write32(e->g, at(e, 1021), 1));
	assert_marked(e, 1021, 1025);
	assert_ok(guestmem_write64(e->g, at(e, 1023), 1));
	assert_marked(e, 1023, 1031);
	assert_ok(guestmem_write_be64(e->g, at(e, 2048), 1));
	assert_marked(e, 2048, 2056);
	assert_ok(guestmem_fill(e->g, at(e, 1000), 4000, 7));
	assert_marked(e, 1000, 5000);
	assert_ok(guestmem_copy(e->g, at(e, 3000), at(e, 9000), 2000));
	assert_marked(e, 3000, 5000);
	for (size_t width = 1; width <= 8; width *= 2) {
		assert_ok(guestmem_store(e->g, at(e, 1536), value, width, __ATOMIC_SEQ_CST));
		assert_marked(e, 1536, 1537);
		memcpy(value, e->mem + 1536, 8);
		assert_int_equal(guestmem_cmpxchg(e->g, at(e, 1536), value, value, width), 1);
		assert_marked(e, 1536, 1537);
	}
	for (uint32_t op = GUESTMEM_ATOMIC_XCHG; op <= GUESTMEM_ATOMIC_XOR; op++) {
		assert_ok(guestmem_atomic(e->g, at(e, 2560), op, value, NULL, 4));
		assert_marked(e, 2560, 2564);
	}
	assert_ok(guestmem_atomic(e->g, at(e, 2560), GUESTMEM_ATOMIC_OR, value, NULL, 16));
	assert_marked(e, 2560, 2576);
	if (!e->shift) {
		gpn = BASE / PAGE + 2;
		assert_ok(guestmem_paged_init(&paged, &gpn, 1, 1000, 100));
		assert_ok(guestmem_paged_write(e->g, &paged, buf));
		assert_marked(e, 2 * PAGE + 1000, 2 * PAGE + 1100);
		assert_ok(guestmem_paged_fill(e->g, &paged, 1));
		assert_marked(e, 2 * PAGE + 1000, 2 * PAGE + 1100);
	}
	guestmem_dirty_mark(e->g, at(e, 10 * PAGE), 2000);
	assert_marked(e, 10 * PAGE, 10 * PAGE + 2000);
	if (e->has & F_SLICES) {
		assert_int_equal(pipe(p), 0);
		assert_int_equal(write(p[1], buf, 3000), 3000);
		assert_ok(guestmem_read_from(e->g, at(e, 900), p[0], NULL, 2000));
		assert_marked(e, 900, 2900);
		/* What came before the end is written, and what it may have touched. */
		close(p[1]);
		assert_fails(guestmem_read_from(e->g, at(e, 900), p[0], NULL, 2000), ENODATA);
		assert_marked(e, 900, 1900);
		close(p[0]);
		assert_fails(guestmem_read_from(e->g, at(e, 900), p[0], NULL, 2000), EBADF);
		assert_true(guestmem_dirty_take(e->g, at(e, 0), SPAN, bits, NBITS / 64 + 1) <= 5);
	}
	/* Reading marks nothing. */
	assert_ok(guestmem_read(e->g, at(e, 0), buf, 5000));
	assert_ok(guestmem_load(e->g, at(e, 0), value, 8, __ATOMIC_RELAXED));
	assert_int_equal(guestmem_is_zero(e->g, at(e, READONLY), PAGE), 1);
	assert_marked(e, 0, 0);
	assert_ok(guestmem_dirty_stop(e->g));
}

static void test_partial_writes(struct env *e)
{
	static unsigned char buf[2 * PAGE];
	static const size_t before[] = { 0, 1, 30, 511, 512, 513, 2000, 5000 };

	start(e);
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		size_t n = before[i];

		assert_fails(guestmem_write(e->g, at(e, HOLE2 - n), buf, n + 800), ENXIO);
		assert_marked(e, HOLE2 - n, HOLE2);
		assert_fails(guestmem_fill(e->g, at(e, READONLY - n), n + 800, 1), EACCES);
		assert_marked(e, READONLY - n, READONLY);
		assert_fails(guestmem_copy(e->g, at(e, HOLE2 - n), at(e, 0), n + 800), ENXIO);
		assert_marked(e, HOLE2 - n, HOLE2);
		assert_fails(guestmem_copy(e->g, at(e, 3), at(e, HOLE2 - n), n + 800), ENXIO);
		assert_marked(e, 3, 3 + n);
	}
	assert_fails(guestmem_write64(e->g, at(e, HOLE2 - 2), 0), ENXIO);
	assert_marked(e, HOLE2 - 2, HOLE2);
	assert_fails(guestmem_write64(e->g, at(e, HOLE2), 0), ENXIO);
	assert_fails(guestmem_store(e->g, at(e, HOLE), buf, 4, __ATOMIC_RELAXED), ENXIO);
	assert_fails(guestmem_cmpxchg(e->g, at(e, READONLY), buf, buf, 4), EACCES);
	assert_marked(e, 0, 0);
	assert_ok(guestmem_dirty_stop(e->g));
}

static void test_peek_and_take(struct env *e)
{
	struct guestmem *part = guestmem_subrange(e->g, at(e, PAGE) + 3, 2 * PAGE, 0);
	struct guestmem_error err;
	uint64_t word[4];

	assert_non_null(part);
	assert_fails(guestmem_dirty_stop(e->g), ENOENT);
	assert_fails(guestmem_dirty_take(e->g, at(e, 0), 1, word, 4), ENOENT);
	assert_fails(guestmem_dirty_peek(e->g, at(e, 0), 1, word, 4), ENOENT);
	guestmem_dirty_mark(e->g, at(e, 0), 1);
	assert_fails(guestmem_dirty_start(e->g, 32), EINVAL);
	assert_fails(guestmem_dirty_start(e->g, 0), EINVAL);
	assert_fails(guestmem_dirty_start(e->g, 4095), EINVAL);
	assert_fails(guestmem_dirty_start(e->g, 1ULL << 31), EINVAL);
	start(e);
	assert_fails(guestmem_dirty_start(e->g, GRANULE), EBUSY);
	assert_fails(guestmem_dirty_start(part, PAGE), EBUSY);
	/* A part has the same bits, from the granule on that has its address. */
	assert_ok(guestmem_write8(part, 0, 1));
	assert_ok(guestmem_write8(part, 512, 1));
	assert_ok(guestmem_write8(e->g, at(e, PAGE + 2 * 512), 1));
	assert_int_equal(guestmem_dirty_peek(part, 0, 2 * PAGE, word, 4), 3);
	assert_true(word[0] == 7);
	assert_int_equal(guestmem_dirty_peek(part, 508, 1, word, 4), 1);
	assert_true(word[0] == 1);
	assert_int_equal(guestmem_dirty_peek(part, 509, 513, word, 4), 2);
	assert_true(word[0] == 3);
	assert_int_equal(guestmem_dirty_peek(part, 509, 512, word, 1), 1);
	assert_true(word[0] == 1);
	assert_int_equal(guestmem_dirty_peek(part, 508, 514, word, 1), 3);
	/* Each is given to one. */
	assert_int_equal(guestmem_dirty_take(e->g, at(e, PAGE), 1, word, 4), 1);
	assert_int_equal(guestmem_dirty_take(e->g, at(e, PAGE), 1, word, 4), 0);
	assert_int_equal(guestmem_dirty_take(part, 0, 2 * PAGE, word, 4), 2);
	assert_true(word[0] == 6);
	assert_marked(e, 0, 0);
	/* Over many words, at each place of one */
	for (uint64_t x = 0; x < 70; x++) {
		assert_ok(guestmem_write8(e->g, at(e, x * 512), 1));
		assert_ok(guestmem_write8(e->g, at(e, (x + 3) * 512), 1));
		assert_int_equal(guestmem_dirty_peek(e->g, at(e, x * 512), 4 * 512, word, 1), 2);
		assert_true(word[0] == 9);
		assert_int_equal(guestmem_dirty_take(e->g, at(e, x * 512), 20 * 512, word, 1), 2);
		assert_true(word[0] == 9);
	}
	guestmem_dirty_mark(e->g, at(e, 0), READONLY);
	assert_int_equal(guestmem_dirty_take(e->g, at(e, 5 * 512), 65 * 512, word, 2), 65);
	assert_true(word[0] == UINT64_MAX && word[1] == 1);
	assert_fails(guestmem_dirty_take(e->g, at(e, 0), 65 * 512, word, 1), EMSGSIZE);
	guestmem_last_error(&err);
	assert_true(err.need == 2 && err.limit == 1);
	assert_int_equal(guestmem_dirty_take(e->g, at(e, 0), 0, NULL, 0), 0);
	assert_fails(guestmem_dirty_take(e->g, at(e, 0), 1, NULL, 1), EINVAL);
	assert_fails(guestmem_dirty_take(e->g, UINT64_MAX, 2, word, 1), EOVERFLOW);
	assert_fails(guestmem_dirty_peek(e->g, 1ULL << 62, 1, word, 1), ENXIO);
	assert_fails(guestmem_dirty_take(part, 1, 2 * PAGE, word, 4), ENXIO);
	/* What is not in it is left out. */
	guestmem_dirty_mark(part, 2 * PAGE, 5);
	guestmem_dirty_mark(part, 0, 0);
	guestmem_dirty_mark(NULL, 0, 1);
	assert_int_equal(guestmem_dirty_take(e->g, at(e, 0), READONLY, bits, 8),
			 READONLY / 512 - 65);
	guestmem_dirty_mark(part, 2 * PAGE - 1, UINT64_MAX);
	assert_marked(e, 3 * PAGE + 2, 3 * PAGE + 3);
	assert_ok(guestmem_dirty_stop(part));
	guestmem_close(part);
}

static void test_start_again(struct env *e)
{
	uint64_t word[80];

	for (int i = 0; i < 3; i++) {
		assert_ok(guestmem_dirty_start(e->g, 64));
		assert_int_equal(guestmem_dirty_peek(e->g, at(e, 0), PAGE, word, 80), 0);
		assert_ok(guestmem_write8(e->g, at(e, 64), 1));
		assert_int_equal(guestmem_dirty_peek(e->g, at(e, 0), PAGE, word, 80), 1);
		assert_true(word[0] == 2);
		assert_ok(guestmem_dirty_stop(e->g));
		assert_ok(guestmem_write8(e->g, at(e, 128), 1));
		/* Each has its own granule, and starts with nothing. */
		assert_ok(guestmem_dirty_start(e->g, PAGE));
		assert_int_equal(guestmem_dirty_peek(e->g, at(e, 0), SPAN, word, 80), 0);
		assert_ok(guestmem_write8(e->g, at(e, 64), 1));
		assert_int_equal(guestmem_dirty_take(e->g, at(e, 0), SPAN, word, 80), 1);
		assert_true(word[0] == 1);
		assert_ok(guestmem_write8(e->g, at(e, 64), 1));
		assert_ok(guestmem_dirty_stop(e->g));
	}
}

static void test_no_window(struct env *e)
{
	uint64_t word;

	if (e->has & F_WINDOW)
		return;
	assert_fails(guestmem_dirty_start(e->g, GRANULE), EOPNOTSUPP);
	assert_fails(guestmem_dirty_take(e->g, at(e, 0), 1, &word, 1), ENOENT);
	assert_fails(guestmem_dirty_stop(e->g), ENOENT);
}

/*
 * A migration: writers write, and what is taken is copied. When they have stopped, one
 * more copy makes it the same. The granule changes meanwhile, which is a new start.
 */
static struct env *moved;
static bool stop;

static void *writer(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	uint64_t n = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t x = (uint64_t)rand_r(&seed) % (READONLY - 600);
		unsigned char buf[600];

		n++;
		switch (rand_r(&seed) % 5) {
		case 0:
			assert_ok(guestmem_write64(moved->g, at(moved, x), n));
			break;
		case 1:
			memset(buf, (int)n, sizeof(buf));
			assert_ok(guestmem_write(moved->g, at(moved, x), buf,
						 (size_t)rand_r(&seed) % 600));
			break;
		case 2:
			assert_ok(guestmem_fill(moved->g, at(moved, x), n % 500, (uint8_t)n));
			break;
		case 3:
			assert_ok(guestmem_atomic(moved->g, at(moved, x & ~7ULL),
						  GUESTMEM_ATOMIC_ADD, &n, NULL, 8));
			break;
		default:
			assert_ok(guestmem_write8(moved->g, at(moved, x), (uint8_t)n));
		}
	}
	return NULL;
}

static void copy_taken(struct env *e, unsigned char *shadow, uint64_t granule)
{
	static uint64_t got[READONLY / 64 / 64 + 1];
	ssize_t n = guestmem_dirty_take(e->g, at(e, 0), READONLY, got, sizeof(got) / 8);

	assert_true(n >= 0);
	for (uint64_t i = 0; n && i < READONLY / granule; i++) {
		if (got[i / 64] >> i % 64 & 1)
			assert_ok(guestmem_read(e->g, at(e, i * granule), shadow + i * granule,
						granule));
	}
}

static void test_migration(struct env *e)
{
	static unsigned char shadow[READONLY];
	pthread_t thread[2];

	moved = e;
	for (int round = 0; round < 6; round++) {
		uint64_t granule = round % 2 ? 4096 : 64;

		stop = false;
		for (int i = 0; i < 2; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, writer,
							(void *)(uintptr_t)(i + round * 2)), 0);
		/* Those of other rounds are still writing when this begins. */
		assert_ok(guestmem_dirty_start(e->g, granule));
		assert_ok(guestmem_read(e->g, at(e, 0), shadow, READONLY));
		for (int i = 0; i < 60; i++)
			copy_taken(e, shadow, granule);
		if (round % 3 == 1) {
			assert_ok(guestmem_dirty_stop(e->g));
			granule = 512;
			assert_ok(guestmem_dirty_start(e->g, granule));
			assert_ok(guestmem_read(e->g, at(e, 0), shadow, READONLY));
			for (int i = 0; i < 60; i++)
				copy_taken(e, shadow, granule);
		}
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		for (int i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		copy_taken(e, shadow, granule);
		assert_memory_equal(shadow, e->mem, SECOND);
		assert_memory_equal(shadow + SECOND, e->mem + SECOND, READONLY - SECOND);
		assert_ok(guestmem_dirty_stop(e->g));
	}
}

/*
 * A write that finds its bit set leaves it so. If that was read before the write was there
 * for others, and they take the bit and read, it is lost: one try of that each time.
 */
static uint64_t turn, written;

static void *write_once(void *arg)
{
	struct env *e = arg;
	uint64_t i = 0, n;

	while ((n = __atomic_load_n(&turn, __ATOMIC_ACQUIRE)) != UINT64_MAX) {
		if (n == i)
			continue;
		i = n;
		guestmem_write64(e->g, at(e, 0), i);
		__atomic_store_n(&written, i, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void test_no_write_is_lost(struct env *e)
{
	uint64_t i, word, seen = 0, spins;
	pthread_t thread;
	struct timespec t, now;

	if (!(e->has & F_PROCESS) || (e->has & F_PART))
		return;
	turn = written = 0;
	assert_ok(guestmem_dirty_start(e->g, 4096));
	assert_int_equal(pthread_create(&thread, NULL, write_once, e), 0);
	clock_gettime(CLOCK_MONOTONIC, &t);
	for (i = 1; ; i++) {
		if (i % 64 == 0) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			if (now.tv_sec - t.tv_sec > 1)
				break;
		}
		guestmem_dirty_mark(e->g, at(e, 0), 1);
		__atomic_store_n(&turn, i, __ATOMIC_RELEASE);
		for (spins = i % 97; spins; spins--)
			__asm__ __volatile__("" : : : "memory");
		assert_true(guestmem_dirty_take(e->g, at(e, 0), 1, &word, 1) >= 0);
		assert_ok(guestmem_read64(e->g, at(e, 0), &seen));
		while (__atomic_load_n(&written, __ATOMIC_ACQUIRE) != i)
			;
		assert_int_equal(guestmem_dirty_peek(e->g, at(e, 0), 1, &word, 1) ||
				 seen == i, 1);
	}
	__atomic_store_n(&turn, UINT64_MAX, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_ok(guestmem_dirty_stop(e->g));
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(each_way_of_writing, F_WINDOW), B(partial_writes, F_WINDOW),
		B(peek_and_take, F_WINDOW), B(start_again, F_WINDOW), B(no_window, 0),
		B(migration, F_WINDOW), B(no_write_is_lost, F_WINDOW | F_BACKING),
	};

	return RUN_ON_BACKENDS(tests);
}
