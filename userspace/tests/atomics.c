// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Atomic operations, loads and stores with an order. */
#include <pthread.h>

#include "backends.h"

static bool has_16(struct env *e)
{
	struct guestmem_info info = { .size = sizeof(info) };

	assert_ok(guestmem_info(e->whole, &info));
	/* Callbacks do not say: theirs goes by the CPU, if it is in the window. */
	return info.features & GUESTMEM_FEATURE_ATOMIC16 || (e->has & F_CALLBACKS);
}

static unsigned __int128 value_of(const void *bytes, size_t width)
{
	unsigned __int128 v = 0;

	memcpy(&v, bytes, width);
	return v;
}

static unsigned __int128 after(uint32_t op, unsigned __int128 a, unsigned __int128 b)
{
	return op == GUESTMEM_ATOMIC_XCHG ? b : op == GUESTMEM_ATOMIC_ADD ? a + b :
	       op == GUESTMEM_ATOMIC_AND ? (a & b) : op == GUESTMEM_ATOMIC_OR ? (a | b) : (a ^ b);
}

static void test_operations(struct env *e)
{
	unsigned char start[16], operand[16], old[16];
	unsigned __int128 want;

	for (size_t width = 1; width <= (has_16(e) ? 16 : 8); width *= 2) {
		for (uint32_t op = GUESTMEM_ATOMIC_XCHG; op <= GUESTMEM_ATOMIC_XOR; op++) {
			for (unsigned int i = 0; i < 16; i++) {
				start[i] = (unsigned char)(0xf0 + 3 * i + op);
				operand[i] = (unsigned char)(0x9c ^ (i * 37));
			}
			/* So that the sum is carried all the way. */
			if (op == GUESTMEM_ATOMIC_ADD)
				memset(start, 0xff, 15);
			memset(e->mem + 96, 0x5a, 64);
			memcpy(e->mem + 112, start, width);
			assert_ok(guestmem_atomic(e->g, at(e, 112), op, operand, old, width));
			assert_memory_equal(old, start, width);
			want = after(op, value_of(start, width), value_of(operand, width));
			assert_memory_equal(e->mem + 112, &want, width);
			assert_int_equal(e->mem[111], 0x5a);
			assert_int_equal(e->mem[112 + width], 0x5a);
			/* Without an old value, and with one in the operand's place */
			memcpy(e->mem + 112, start, width);
			assert_ok(guestmem_atomic(e->g, at(e, 112), op, operand, NULL, width));
			assert_memory_equal(e->mem + 112, &want, width);
			memcpy(e->mem + 112, start, width);
			assert_ok(guestmem_atomic(e->g, at(e, 112), op, operand, operand, width));
			assert_memory_equal(e->mem + 112, &want, width);
			assert_memory_equal(operand, start, width);
		}
	}
}

static void test_cmpxchg(struct env *e)
{
	unsigned char expected[16], desired[16], was[16];

	for (size_t width = 1; width <= (has_16(e) ? 16 : 8); width *= 2) {
		for (unsigned int i = 0; i < 16; i++) {
			e->mem[PAGE + i] = (unsigned char)(0x80 + i);
			desired[i] = (unsigned char)(0xc0 + i);
		}
		memcpy(expected, e->mem + PAGE, 16);
		assert_int_equal(guestmem_cmpxchg(e->g, at(e, PAGE), expected, desired, width), 1);
		assert_memory_equal(e->mem + PAGE, desired, width);
		assert_int_equal(e->mem[PAGE + width - 1], 0xc0 + width - 1);
		/* Each byte of it is compared. */
		for (size_t i = 0; i < width; i++) {
			memcpy(was, e->mem + PAGE, 16);
			memcpy(expected, was, 16);
			expected[i] ^= 1;
			assert_int_equal(guestmem_cmpxchg(e->g, at(e, PAGE), expected, desired,
							  width), 0);
			assert_memory_equal(expected, was, width);
			assert_memory_equal(e->mem + PAGE, was, width);
		}
		/* The two in one place */
		assert_int_equal(guestmem_cmpxchg(e->g, at(e, PAGE), expected, expected, width),
				 1);
	}
}

static void test_where_it_cannot_be(struct env *e)
{
	static const size_t bad[] = { 0, 3, 5, 6, 7, 9, 12, 15, 17, 32, SIZE_MAX };
	unsigned char v[32] = { 1, 2, 3 }, w[16];
	uint32_t one = 1, two = 2;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_fails(guestmem_cmpxchg(e->g, at(e, 0), v, v, bad[i]), EINVAL);
		assert_fails(guestmem_atomic(e->g, at(e, 0), GUESTMEM_ATOMIC_ADD, v, w, bad[i]),
			     EINVAL);
		assert_fails(guestmem_load(e->g, at(e, 0), v, bad[i], __ATOMIC_RELAXED), EINVAL);
		assert_fails(guestmem_store(e->g, at(e, 0), v, bad[i], __ATOMIC_RELAXED), EINVAL);
	}
	assert_fails(guestmem_load(e->g, at(e, 0), v, 16, __ATOMIC_RELAXED), EINVAL);
	assert_fails(guestmem_store(e->g, at(e, 0), v, 16, __ATOMIC_RELAXED), EINVAL);
	for (size_t width = 2; width <= 16; width *= 2) {
		for (size_t off = 1; off < width; off++) {
			memset(e->mem, 0x44, 64);
			assert_fails(guestmem_cmpxchg(e->g, at(e, off), v, v, width), EINVAL);
			assert_fails(guestmem_atomic(e->g, at(e, off), GUESTMEM_ATOMIC_OR, v, NULL,
						     width), EINVAL);
			if (width < 16) {
				assert_fails(guestmem_load(e->g, at(e, off), w, width,
							   __ATOMIC_ACQUIRE), EINVAL);
				assert_fails(guestmem_store(e->g, at(e, off), v, width,
							    __ATOMIC_RELEASE), EINVAL);
			}
			assert_int_equal(e->mem[off], 0x44);
		}
	}
	assert_fails(guestmem_atomic(e->g, at(e, 0), GUESTMEM_ATOMIC_CMPXCHG, v, w, 4), EINVAL);
	assert_fails(guestmem_atomic(e->g, at(e, 0), GUESTMEM_ATOMIC_XOR + 1, v, w, 4),
		     EOPNOTSUPP);
	assert_fails(guestmem_atomic(e->g, at(e, 0), 0, v, w, 4), EOPNOTSUPP);
	assert_fails(guestmem_atomic(e->g, at(e, 0), GUESTMEM_ATOMIC_ADD, NULL, w, 4), EINVAL);
	assert_fails(guestmem_cmpxchg(e->g, at(e, 0), NULL, v, 4), EINVAL);
	assert_fails(guestmem_cmpxchg(e->g, at(e, 0), v, NULL, 4), EINVAL);
	assert_fails(guestmem_load(e->g, at(e, 0), NULL, 4, __ATOMIC_RELAXED), EINVAL);
	assert_fails(guestmem_store(e->g, at(e, 0), NULL, 4, __ATOMIC_RELAXED), EINVAL);
	assert_fails(guestmem_load(e->g, at(e, 0), v, 4, __ATOMIC_RELEASE), EINVAL);
	assert_fails(guestmem_load(e->g, at(e, 0), v, 4, __ATOMIC_ACQ_REL), EINVAL);
	assert_fails(guestmem_load(e->g, at(e, 0), v, 4, 77), EINVAL);
	assert_fails(guestmem_store(e->g, at(e, 0), v, 4, __ATOMIC_ACQUIRE), EINVAL);
	assert_fails(guestmem_store(e->g, at(e, 0), v, 4, -1), EINVAL);

	assert_fails(guestmem_cmpxchg(e->g, at(e, HOLE), &one, &two, 4), ENXIO);
	assert_failed_at(e, HOLE, 0);
	assert_int_equal(one, 1);
	assert_fails(guestmem_atomic(e->g, at(e, HOLE2), GUESTMEM_ATOMIC_ADD, &one, &two, 4),
		     ENXIO);
	assert_failed_at(e, HOLE2, 0);
	assert_int_equal(two, 2);
	assert_fails(guestmem_load(e->g, at(e, HOLE), &two, 4, __ATOMIC_SEQ_CST), ENXIO);
	assert_int_equal(two, 2);
	assert_fails(guestmem_store(e->g, at(e, HOLE), &two, 4, __ATOMIC_SEQ_CST), ENXIO);
	/* Also one that would change nothing needs to write. */
	assert_fails(guestmem_cmpxchg(e->g, at(e, READONLY), &one, &two, 4), EACCES);
	assert_failed_at(e, READONLY, 0);
	assert_fails(guestmem_atomic(e->g, at(e, READONLY + 8), GUESTMEM_ATOMIC_OR, &one, NULL, 4),
		     EACCES);
	assert_fails(guestmem_store(e->g, at(e, READONLY), &two, 4, __ATOMIC_RELAXED), EACCES);
	assert_ok(guestmem_load(e->g, at(e, READONLY), &two, 4, __ATOMIC_RELAXED));
	assert_int_equal(two, 0);
}

static void test_load_and_store(struct env *e)
{
	static const int loads[] = { __ATOMIC_RELAXED, __ATOMIC_ACQUIRE, __ATOMIC_SEQ_CST };
	static const int stores[] = { __ATOMIC_RELAXED, __ATOMIC_RELEASE, __ATOMIC_SEQ_CST };
	unsigned char v[9], got[9];

	for (size_t width = 1; width <= 8; width *= 2) {
		for (int i = 0; i < 3; i++) {
			for (unsigned int k = 0; k < 8; k++)
				v[k] = (unsigned char)(0x81 + 16 * i + k + width);
			memset(e->mem + 2 * PAGE - 16, 0xee, 32);
			assert_ok(guestmem_store(e->g, at(e, 2 * PAGE - width), v, width,
						 stores[i]));
			assert_memory_equal(e->mem + 2 * PAGE - width, v, width);
			assert_int_equal(e->mem[2 * PAGE - width - 1], 0xee);
			assert_int_equal(e->mem[2 * PAGE], 0xee);
			memset(got, 0x77, 9);
			assert_ok(guestmem_load(e->g, at(e, 2 * PAGE - width), got, width,
						loads[i]));
			assert_memory_equal(got, v, width);
			assert_int_equal(got[width], 0x77);
		}
	}
}

#define TURNS	4000

static struct env *shared;

static void *add_many(void *arg)
{
	uint16_t one = 1, seen, next;
	uint64_t low[2] = { 1, 0 }, big;

	for (int i = 0; i < TURNS; i++) {
		assert_ok(guestmem_atomic(shared->g, at(shared, 0), GUESTMEM_ATOMIC_ADD, &one, NULL,
					  2));
		if (arg)
			assert_ok(guestmem_atomic(shared->g, at(shared, 16), GUESTMEM_ATOMIC_ADD,
						  low, NULL, 16));
		big = 0x100000001;
		assert_ok(guestmem_atomic(shared->g, at(shared, 8), GUESTMEM_ATOMIC_ADD, &big, NULL,
					  8));
		assert_ok(guestmem_load(shared->g, at(shared, 32), &seen, 2, __ATOMIC_ACQUIRE));
		do {
			next = (uint16_t)(seen + 1);
		} while (!guestmem_cmpxchg(shared->g, at(shared, 32), &seen, &next, 2));
	}
	return NULL;
}

static void test_against_each_other(struct env *e)
{
	pthread_t thread[3];
	uint64_t v;
	bool wide = has_16(e);

	shared = e;
	memset(e->mem, 0, 64);
	/* So that it carries */
	memset(e->mem + 16, 0xff, 7);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, add_many, wide ? e : NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	memcpy(&v, e->mem + 8, 8);
	assert_true(v == 0x100000001ULL * 3 * TURNS);
	v = 0;
	memcpy(&v, e->mem, 2);
	assert_int_equal(v, 3 * TURNS);
	memcpy(&v, e->mem + 32, 2);
	assert_int_equal(v, 3 * TURNS);
	memcpy(&v, e->mem + 16, 8);
	if (wide)
		assert_true(v == 0x00ffffffffffffff + 3 * TURNS);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(operations, 0), B(cmpxchg, 0), B(where_it_cannot_be, 0), B(load_and_store, 0),
		B(against_each_other, 0),
	};

	return RUN_ON_BACKENDS(tests);
}
