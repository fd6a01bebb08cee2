// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Bytes: read, write, fill, copy, compare; with and without an end in the middle. */
#include <sys/wait.h>
#include <unistd.h>

#include "backends.h"

static unsigned char buf[8 * PAGE], out[8 * PAGE];

static void patterned(unsigned char *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)((i * 7 + seed) % 251 + 1);
}

static bool all_are(const unsigned char *p, size_t len, unsigned char value)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != value)
			return false;
	}
	return true;
}

/* Lengths around those at which a copy changes its way. */
static const size_t lengths[] = {
	0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 96, 127, 128, 129, 191,
	255, 256, 257, 511, 1000, 2047, 2048, 2049, 4095, 4096, 4097, 8190, 8192, 12000,
};
#define NR_LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static void test_round_trip(struct env *e)
{
	for (size_t i = 0; i < NR_LENGTHS; i++) {
		size_t len = lengths[i];

		for (uint64_t x = 0; x < 20; x += x < 9 ? 1 : 5) {
			unsigned char *m = e->mem + PAGE - 8 + x;

			patterned(buf, len, (unsigned int)(x + i));
			memset(e->mem, 0xee, 5 * PAGE);
			assert_ok(guestmem_write(e->g, at(e, PAGE - 8 + x), buf, len));
			assert_memory_equal(m, buf, len);
			assert_true(all_are(e->mem, PAGE - 8 + x, 0xee));
			assert_true(all_are(m + len, 64, 0xee));
			memset(out, 0x77, len + 64);
			assert_ok(guestmem_read(e->g, at(e, PAGE - 8 + x), out + 1, len));
			assert_memory_equal(out + 1, buf, len);
			assert_int_equal(out[0], 0x77);
			assert_true(all_are(out + 1 + len, 63, 0x77));
			assert_ok(guestmem_fill(e->g, at(e, PAGE - 8 + x), len, 0x5a));
			assert_true(all_are(m, len, 0x5a));
			assert_int_equal(m[-1], 0xee);
			assert_int_equal(m[len], 0xee);
		}
	}
}

static void test_across_adjacent(struct env *e)
{
	uint64_t x = SECOND - PAGE - 3;

	patterned(buf, 3 * PAGE, 1);
	assert_ok(guestmem_write(e->g, at(e, x), buf, 3 * PAGE));
	assert_memory_equal(e->mem + x, buf, 3 * PAGE);
	assert_ok(guestmem_read(e->g, at(e, x), out, 3 * PAGE));
	assert_memory_equal(out, buf, 3 * PAGE);
	assert_int_equal(guestmem_read_some(e->g, at(e, x), out, 3 * PAGE), 3 * PAGE);
	assert_int_equal(guestmem_write_some(e->g, at(e, x), buf, 3 * PAGE), 3 * PAGE);
	/* On to the read-only one */
	assert_ok(guestmem_read(e->g, at(e, READONLY - 10), out, 20));
	assert_memory_equal(out, e->mem + READONLY - 10, 20);
	assert_ok(guestmem_fill(e->g, at(e, x), 3 * PAGE, 9));
	assert_true(all_are(e->mem + x, 3 * PAGE, 9));
}

/* What there is before the end of what can be accessed, and how much is asked for. */
static void read_into(struct env *e, uint64_t end, size_t before, size_t behind)
{
	uint64_t x = end - before;
	size_t done = e->has & F_EXACT ? before : 0;

	memset(out, 0x77, before + behind);
	assert_fails(guestmem_read(e->g, at(e, x), out, before + behind), ENXIO);
	assert_failed_at(e, end, before);
	assert_memory_equal(out, e->mem + x, done);
	assert_true(all_are(out + done, before + behind - done, 0x77));
	memset(out, 0x77, before + behind);
	if (done)
		assert_int_equal(guestmem_read_some(e->g, at(e, x), out, before + behind), before);
	else
		assert_fails(guestmem_read_some(e->g, at(e, x), out, before + behind), ENXIO);
	assert_memory_equal(out, e->mem + x, done);
	assert_true(all_are(out + done, before + behind - done, 0x77));
}

static void write_into(struct env *e, uint64_t end, size_t before, size_t behind, int err)
{
	uint64_t x = end - before;
	size_t done = e->has & F_EXACT ? before : 0;

	memset(e->mem + x - 8, 0x11, before + 8);
	patterned(buf, before + behind, 3);
	assert_fails(guestmem_write(e->g, at(e, x), buf, before + behind), err);
	assert_failed_at(e, end, before);
	assert_memory_equal(e->mem + x, buf, done);
	assert_true(all_are(e->mem + x - 8, 8, 0x11));
	memset(e->mem + x, 0x11, before);
	if (done)
		assert_int_equal(guestmem_write_some(e->g, at(e, x), buf, before + behind), done);
	else
		assert_fails(guestmem_write_some(e->g, at(e, x), buf, before + behind), err);
	assert_memory_equal(e->mem + x, buf, done);
	memset(e->mem + x, 0x11, before);
	assert_fails(guestmem_fill(e->g, at(e, x), before + behind, 0x22), err);
	assert_failed_at(e, end, before);
	assert_true(all_are(e->mem + x, done, 0x22));
}

static void test_into_hole(struct env *e)
{
	static const size_t behind[] = { 1, 2, 7, 8, 16, 33, 64, 4096 };

	for (size_t i = 0; i < NR_LENGTHS && lengths[i] < PAGE + 9; i++) {
		for (size_t k = 0; k < sizeof(behind) / sizeof(behind[0]); k++) {
			read_into(e, HOLE, lengths[i], behind[k]);
			read_into(e, HOLE2, lengths[i], behind[k]);
			write_into(e, HOLE2, lengths[i], behind[k], ENXIO);
			write_into(e, READONLY, lengths[i], behind[k], EACCES);
		}
	}
	assert_true(all_are(e->mem + READONLY, HOLE - READONLY, 0));
}

/* Where it starts is what fails, whatever is behind. */
static void test_from_hole(struct env *e)
{
	assert_fails(guestmem_read(e->g, at(e, HOLE), out, 3 * PAGE), ENXIO);
	assert_failed_at(e, HOLE, 0);
	assert_fails(guestmem_read(e->g, at(e, THIRD - 1), out, 2), ENXIO);
	assert_failed_at(e, THIRD - 1, 0);
	memset(e->mem + THIRD, 1, PAGE);
	assert_fails(guestmem_write(e->g, at(e, THIRD - 3), out, 10), ENXIO);
	assert_fails(guestmem_fill(e->g, at(e, THIRD - 3), 10, 0), ENXIO);
	assert_true(all_are(e->mem + THIRD, 16, 1));
	/* To the end of the guest, and behind it */
	if (e->len) {
		uint64_t end = e->shift + e->len - BASE;

		assert_fails(guestmem_read(e->g, at(e, end), out, 1), ENXIO);
		assert_failed_at(e, end, 0);
		assert_fails(guestmem_write(e->g, at(e, end) + (1ULL << 50), out, 1), ENXIO);
		assert_fails(guestmem_fill(e->g, at(e, end), 1, 1), ENXIO);
		assert_fails(guestmem_read(e->g, at(e, THIRD), out, end - THIRD + 1), ENXIO);
		assert_failed_at(e, HOLE2, HOLE2 - THIRD);
	}
}

static void test_empty_and_wrapping(struct env *e)
{
	uint64_t zero = 0;
	size_t same = 5;

	assert_ok(guestmem_read(e->g, UINT64_MAX, NULL, 0));
	assert_ok(guestmem_write(e->g, at(e, HOLE), NULL, 0));
	assert_ok(guestmem_fill(e->g, at(e, READONLY), 0, 1));
	assert_ok(guestmem_copy(e->g, at(e, HOLE), at(e, READONLY), 0));
	assert_int_equal(guestmem_read_some(e->g, at(e, HOLE), out, 0), 0);
	assert_int_equal(guestmem_write_some(e->g, at(e, HOLE), out, 0), 0);
	assert_int_equal(guestmem_is_zero(e->g, at(e, HOLE), 0), 1);
	assert_ok(guestmem_compare(e->g, at(e, HOLE), NULL, 0, &same));
	assert_int_equal(same, 0);
	assert_fails(guestmem_read(e->g, at(e, 0), NULL, 1), EINVAL);
	assert_fails(guestmem_write(e->g, at(e, 0), NULL, 1), EINVAL);

	assert_fails(guestmem_read(e->g, UINT64_MAX, out, 2), EOVERFLOW);
	assert_fails(guestmem_write(e->g, UINT64_MAX - 6, &zero, 8), EOVERFLOW);
	assert_fails(guestmem_fill(e->g, 1, UINT64_MAX, 0), ENXIO);
	assert_fails(guestmem_fill(e->g, 2, UINT64_MAX, 0), EOVERFLOW);
	assert_fails(guestmem_copy(e->g, UINT64_MAX, at(e, 0), 2), EOVERFLOW);
	assert_fails(guestmem_copy(e->g, at(e, 0), UINT64_MAX, 2), EOVERFLOW);
	assert_fails(guestmem_is_zero(e->g, UINT64_MAX, 2), EOVERFLOW);
	assert_fails(guestmem_compare(e->g, UINT64_MAX, out, 2, &same), EOVERFLOW);
	/* Up to the last address of all it is a hole; _some stops before what is behind. */
	if (!(e->has & F_DEVICE)) {
		assert_fails(guestmem_read(e->g, UINT64_MAX - 1, out, 2), ENXIO);
		assert_fails(guestmem_read_some(e->g, UINT64_MAX, out, 2), ENXIO);
		assert_fails(guestmem_write_some(e->g, UINT64_MAX - 1, out, SIZE_MAX), ENXIO);
	}
}

static void test_copy(struct env *e)
{
	for (size_t i = 0; i < NR_LENGTHS; i++) {
		size_t len = lengths[i];

		memset(e->mem, 0xee, SECOND);
		patterned(e->mem + 3, len, (unsigned int)i);
		assert_ok(guestmem_copy(e->g, at(e, 4 * PAGE - 5), at(e, 3), len));
		patterned(buf, len, (unsigned int)i);
		assert_memory_equal(e->mem + 4 * PAGE - 5, buf, len);
		assert_int_equal(e->mem[4 * PAGE - 6], 0xee);
		assert_int_equal(e->mem[4 * PAGE - 5 + len], 0xee);
	}
	/* Across regions on both sides; adjacent ranges do not overlap. */
	patterned(e->mem, 2 * PAGE, 9);
	assert_ok(guestmem_copy(e->g, at(e, SECOND - 100), at(e, 1), 2 * PAGE - 100));
	assert_memory_equal(e->mem + SECOND - 100, e->mem + 1, 2 * PAGE - 100);
	assert_ok(guestmem_copy(e->g, at(e, PAGE), at(e, 0), PAGE));
	assert_ok(guestmem_copy(e->g, at(e, 0), at(e, PAGE), PAGE));
	assert_fails(guestmem_copy(e->g, at(e, PAGE), at(e, 1), PAGE), EINVAL);
	assert_fails(guestmem_copy(e->g, at(e, 1), at(e, PAGE), PAGE), EINVAL);
	assert_fails(guestmem_copy(e->g, at(e, 1), at(e, 1), 1), EINVAL);
	assert_ok(guestmem_copy(e->g, at(e, 0), at(e, READONLY), PAGE));
	assert_true(all_are(e->mem, PAGE, 0));
}

static void test_copy_into_hole(struct env *e)
{
	static const size_t before[] = { 0, 1, 9, 40, 64, 100, 2100, 5000 };
	/* Without a window, it is done in pieces of a page. */
	const bool exact = (e->has & F_EXACT);

	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		size_t n = before[i];

		patterned(e->mem, 3 * PAGE, (unsigned int)i);
		memset(e->mem + THIRD, 0, HOLE2 - THIRD);
		assert_fails(guestmem_copy(e->g, at(e, HOLE2 - n), at(e, 0), n + 50), ENXIO);
		if (exact) {
			assert_failed_at(e, HOLE2, n);
			assert_memory_equal(e->mem + HOLE2 - n, e->mem, n);
		}
		assert_fails(guestmem_copy(e->g, at(e, READONLY - n), at(e, 0), n + 50), EACCES);
		if (exact) {
			assert_failed_at(e, READONLY, n);
			assert_memory_equal(e->mem + READONLY - n, e->mem, n);
		}
		patterned(e->mem + THIRD, HOLE2 - THIRD, (unsigned int)i + 3);
		memset(e->mem, 0, 3 * PAGE);
		assert_fails(guestmem_copy(e->g, at(e, 0), at(e, HOLE2 - n), n + 50), ENXIO);
		if (exact) {
			assert_failed_at(e, HOLE2, n);
			assert_memory_equal(e->mem, e->mem + HOLE2 - n, n);
			assert_true(all_are(e->mem + n, 50, 0));
		}
	}
	if (e->len) {
		uint64_t end = e->shift + e->len - BASE;

		assert_fails(guestmem_copy(e->g, at(e, 0), at(e, end), 1), ENXIO);
		assert_failed_at(e, end, 0);
		assert_fails(guestmem_copy(e->g, at(e, end), at(e, 0), 1), ENXIO);
		assert_failed_at(e, end, 0);
	}
}

static void test_is_zero(struct env *e)
{
	memset(e->mem, 0, SECOND);
	memset(e->mem + SECOND, 0, READONLY - SECOND);
	assert_int_equal(guestmem_is_zero(e->g, at(e, 0), HOLE), 1);
	for (uint64_t x = PAGE - 3; x < 2 * PAGE + 3; x += 511) {
		e->mem[x] = 1;
		assert_int_equal(guestmem_is_zero(e->g, at(e, 1), 3 * PAGE), 0);
		assert_int_equal(guestmem_is_zero(e->g, at(e, x), 1), 0);
		assert_int_equal(guestmem_is_zero(e->g, at(e, x) + 1, 3 * PAGE), 1);
		assert_int_equal(guestmem_is_zero(e->g, at(e, 1), x - 1), 1);
		e->mem[x] = 0;
	}
	memset(e->mem + THIRD, 0, HOLE2 - THIRD);
	assert_fails(guestmem_is_zero(e->g, at(e, HOLE - PAGE), 2 * PAGE), ENXIO);
	assert_fails(guestmem_is_zero(e->g, at(e, HOLE2 - 5), 6), ENXIO);
	if (e->has & F_EXACT) {
		/* It is known before the hole. */
		e->mem[HOLE2 - 2] = 1;
		assert_int_equal(guestmem_is_zero(e->g, at(e, HOLE2 - 5), 6), 0);
	}
}

static void test_compare(struct env *e)
{
	size_t same;

	patterned(buf, 3 * PAGE, 4);
	memcpy(e->mem + 5, buf, 3 * PAGE);
	assert_ok(guestmem_compare(e->g, at(e, 5), buf, 3 * PAGE, &same));
	assert_int_equal(same, 3 * PAGE);
	for (size_t x = 0; x < 3 * PAGE; x += 1023) {
		e->mem[5 + x] ^= 0x80;
		assert_ok(guestmem_compare(e->g, at(e, 5), buf, 3 * PAGE, &same));
		assert_int_equal(same, x);
		e->mem[5 + x] ^= 0x80;
	}
	memcpy(e->mem + HOLE2 - 100, buf, 100);
	same = 7;
	assert_fails(guestmem_compare(e->g, at(e, HOLE2 - 100), buf, 101, &same), ENXIO);
	assert_int_equal(same, e->has & F_EXACT ? 100 : 0);
	if (e->has & F_EXACT) {
		buf[99] ^= 1;
		assert_ok(guestmem_compare(e->g, at(e, HOLE2 - 100), buf, 101, &same));
		assert_int_equal(same, 99);
	}
	assert_fails(guestmem_compare(e->g, at(e, 0), buf, 1, NULL), EINVAL);
	assert_fails(guestmem_compare(e->g, at(e, 0), NULL, 1, &same), EINVAL);
}

/* A buffer that ends: not the guest's fault, and told as such. */
static void test_bad_buffer(struct env *e)
{
	unsigned char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (faults_declined && !(e->has & F_DEVICE))
		return;
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
	for (size_t i = 0; i < NR_LENGTHS && lengths[i] <= PAGE; i++) {
		size_t n = lengths[i];

		memset(e->mem, 0, 2 * PAGE);
		patterned(p, PAGE, 5);
		assert_fails(guestmem_write(e->g, at(e, 1), p + PAGE - n, n + 9), EFAULT);
		assert_failed_at(e, n + 1, n);
		assert_memory_equal(e->mem + 1, p + PAGE - n, n);
		assert_true(all_are(e->mem + 1 + n, 9, 0));
		memset(p, 1, PAGE);
		assert_fails(guestmem_read(e->g, at(e, 1), p + PAGE - n, n + 9), EFAULT);
		assert_failed_at(e, n + 1, n);
		assert_memory_equal(e->mem + 1, p + PAGE - n, n);
		if (n)
			assert_int_equal(guestmem_read_some(e->g, at(e, 1), p + PAGE - n, n + 9),
					 n);
	}
	/* No address at all, which the CPU tells by another fault. */
	assert_fails(guestmem_read(e->g, at(e, 1), (void *)0x8000000000000000, 8), EFAULT);
	assert_fails(guestmem_write(e->g, at(e, 1), (void *)0x8000000000000000, 3000), EFAULT);
	assert_fails(guestmem_write(e->g, at(e, 1), (void *)1, 8), EFAULT);
	munmap(p, 2 * PAGE);
}

/* More than one access can ask for; it ends where the memory does. */
static void test_huge_lengths(struct env *e)
{
	unsigned char byte;

	assert_fails(guestmem_fill(e->g, at(e, HOLE), 1ULL << 40, 0), ENXIO);
	assert_failed_at(e, HOLE, 0);
	assert_fails(guestmem_fill(e->g, at(e, THIRD), 1ULL << 40, 0x33), ENXIO);
	assert_failed_at(e, HOLE2, HOLE2 - THIRD);
	assert_int_equal(e->mem[HOLE2 - 1], e->has & F_EXACT ? 0x33 : 0);
	assert_fails(guestmem_is_zero(e->g, at(e, HOLE), UINT64_MAX / 2), ENXIO);
	assert_fails(guestmem_copy(e->g, at(e, HOLE) + (1ULL << 45), at(e, HOLE), 1ULL << 40),
		     ENXIO);
	/* Some kernels look at the buffer first, which there is not so much of. */
	if (!(e->has & F_DEVICE))
		assert_fails(guestmem_read(e->g, at(e, HOLE), &byte, SIZE_MAX / 2), ENXIO);
}

int main(int argc, char **argv)
{
	static const struct backend_test tests[] = {
		B(round_trip, 0), B(across_adjacent, 0), B(into_hole, 0), B(from_hole, 0),
		B(empty_and_wrapping, 0), B(copy, 0), B(copy_into_hole, 0), B(is_zero, 0),
		B(compare, 0), B(bad_buffer, F_WINDOW), B(huge_lengths, 0),
	};
	int status, ret;
	pid_t pid;

	(void)argc;
	/* Handlers are declined for all of a process. */
	pid = fork();
	if (!pid) {
		faults_declined = true;
		if (guestmem_faults(GUESTMEM_FAULTS_DECLINE))
			_exit(1);
		exit(RUN_ON_BACKENDS(tests));
	}
	ret = RUN_ON_BACKENDS(tests);
	(void)argv;
	return waitpid(pid, &status, 0) == pid && !status ? ret : 1;
}
