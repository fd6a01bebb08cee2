// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Buffers of pages that need not be adjacent. */
#include "backends.h"

static unsigned char buf[6 * PAGE], out[6 * PAGE];

/* Their numbers, as the handle counts; it must be aligned to have any. */
static struct guestmem *aligned(struct env *e, uint64_t gpns[6])
{
	static const uint64_t page[6] = { 3, 4, 9, 0, 11, 16 };
	uint64_t shift = (e->shift + PAGE - 1) & ~(PAGE - 1);
	struct guestmem *g = e->shift ? guestmem_subrange(e->g, shift - e->shift,
							 e->len - (shift - e->shift), 0) : e->g;

	assert_non_null(g);
	for (int i = 0; i < 6; i++)
		gpns[i] = (BASE - shift) / PAGE + page[i];
	return g;
}

static void test_read_and_write(struct env *e)
{
	struct guestmem_paged p, half;
	uint64_t gpns[6];
	struct guestmem *g = aligned(e, gpns);

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (unsigned char)(i * 13 >> 2);
	assert_ok(guestmem_paged_init(&p, gpns, 6, 100, 5 * PAGE + 7));
	assert_ok(guestmem_paged_write(g, &p, buf));
	assert_memory_equal(e->mem + 3 * PAGE + 100, buf, 2 * PAGE - 100);
	assert_memory_equal(e->mem + 9 * PAGE, buf + 2 * PAGE - 100, PAGE);
	assert_memory_equal(e->mem, buf + 3 * PAGE - 100, PAGE);
	assert_memory_equal(e->mem + 11 * PAGE, buf + 4 * PAGE - 100, PAGE);
	assert_memory_equal(e->mem + 16 * PAGE, buf + 5 * PAGE - 100, 107);
	assert_ok(guestmem_paged_read(g, &p, out));
	assert_memory_equal(out, buf, 5 * PAGE + 7);
	/* Two halves of it, that share a page */
	assert_ok(guestmem_paged_sub(&p, 0, 3 * PAGE, &half));
	assert_int_equal(half.npages, 4);
	assert_ok(guestmem_paged_read(g, &half, out));
	assert_ok(guestmem_paged_sub(&p, 3 * PAGE, 2 * PAGE + 7, &half));
	assert_int_equal(half.offset, 100);
	assert_int_equal(half.npages, 3);
	assert_ok(guestmem_paged_read(g, &half, out + 3 * PAGE));
	assert_memory_equal(out, buf, 5 * PAGE + 7);
	assert_ok(guestmem_paged_fill(g, &half, 0x9a));
	assert_int_equal(e->mem[99], buf[3 * PAGE - 1]);
	assert_int_equal(e->mem[100], 0x9a);
	assert_int_equal(e->mem[16 * PAGE + 106], 0x9a);
	assert_int_equal(e->mem[16 * PAGE + 107], 0);
	if (g != e->g)
		guestmem_close(g);
}

static void test_into_hole(struct env *e)
{
	struct guestmem_paged p;
	struct guestmem_error err;
	uint64_t gpns[6];
	struct guestmem *g = aligned(e, gpns);

	gpns[2] += 5;
	assert_ok(guestmem_paged_init(&p, gpns, 6, 1, 4 * PAGE));
	assert_fails(guestmem_paged_read(g, &p, out), ENXIO);
	assert_true(guestmem_last_done() == 2 * PAGE - 1);
	guestmem_last_error(&err);
	assert_true(err.addr == gpns[2] * PAGE);
	assert_fails(guestmem_paged_write(g, &p, buf), ENXIO);
	assert_fails(guestmem_paged_fill(g, &p, 1), ENXIO);
	assert_true(guestmem_last_done() == 2 * PAGE - 1);
	gpns[2] -= 2;
	assert_fails(guestmem_paged_write(g, &p, buf), EACCES);
	assert_fails(guestmem_paged_read(g, NULL, out), EINVAL);
	assert_fails(guestmem_paged_read(g, &p, NULL), EINVAL);
	assert_fails(guestmem_paged_write(g, &p, NULL), EINVAL);
	assert_fails(guestmem_paged_fill(NULL, &p, 1), EINVAL);
	if (g != e->g)
		guestmem_close(g);
}

static void test_lock(struct env *e)
{
	struct guestmem_paged p;
	uint32_t handle;
	uint64_t gpns[6];
	struct guestmem *g = aligned(e, gpns);

	assert_ok(guestmem_paged_init(&p, gpns, 6, PAGE, 2 * PAGE));
	assert_ok(guestmem_paged_lock(g, &p, GUESTMEM_DMA_BIDIRECTIONAL, &handle));
	if (e->has & F_REGIONS) {
		assert_fails(guestmem_remove(e->whole, e->id[0]), EBUSY);
		assert_fails(guestmem_remove(e->whole, e->id[1]), EBUSY);
		assert_ok(guestmem_remove(e->whole, e->id[3]));
	}
	assert_ok(guestmem_unlock(g, handle));
	assert_fails(guestmem_paged_lock(g, NULL, 1, &handle), EINVAL);
	assert_fails(guestmem_paged_lock(NULL, &p, 1, &handle), EINVAL);
	assert_fails(guestmem_paged_lock(g, &p, 1, NULL), EINVAL);
	assert_ok(guestmem_paged_init(&p, gpns, 6, 0, 0));
	assert_fails(guestmem_paged_lock(g, &p, 1, &handle), EINVAL);
	if (g != e->g)
		guestmem_close(g);
}

/* The lists themselves, of no guest */
static void test_lists(struct env *e)
{
	static uint64_t many[GUESTMEM_LOCK_MAX_PAGES + 1];
	const uint64_t gpns[] = { 1, 2, 4, 5, 6, (1ULL << 52) - 1, 1ULL << 52 };
	struct guestmem_range r;
	struct guestmem_paged p, q;
	uint32_t handle;

	assert_ok(guestmem_paged_init(&p, gpns, 5, 10, 4 * PAGE + 5));
	assert_int_equal(guestmem_paged_next(&p, &r), 1);
	assert_true(r.gpa == PAGE + 10 && r.len == 2 * PAGE - 10);
	assert_int_equal(guestmem_paged_next(&p, &r), 1);
	assert_true(r.gpa == 4 * PAGE && r.len == 2 * PAGE + 15);
	assert_int_equal(guestmem_paged_next(&p, &r), 0);
	/* Only the pages that it touches count. */
	assert_ok(guestmem_paged_init(&p, gpns, 7, 3 * PAGE, PAGE));
	assert_int_equal(p.npages, 1);
	assert_ok(guestmem_paged_init(&p, gpns, 7, 5 * PAGE + 1, PAGE - 1));
	assert_int_equal(guestmem_paged_next(&p, &r), 1);
	assert_true(r.gpa == UINT64_MAX - PAGE + 2 && r.len == PAGE - 1);
	assert_fails(guestmem_paged_init(&p, gpns, 7, 5 * PAGE + 1, PAGE), EINVAL);
	assert_fails(guestmem_paged_init(&p, gpns, 7, 0, 7 * PAGE + 1), EOVERFLOW);
	assert_fails(guestmem_paged_init(&p, gpns, 7, 7 * PAGE + 1, 0), EOVERFLOW);
	assert_fails(guestmem_paged_init(&p, gpns, 7, 1, SIZE_MAX), EOVERFLOW);
	assert_fails(guestmem_paged_init(&p, NULL, 1, 0, 0), EINVAL);
	assert_fails(guestmem_paged_init(NULL, gpns, 1, 0, 0), EINVAL);
	assert_ok(guestmem_paged_init(&p, NULL, 0, 0, 0));
	assert_int_equal(guestmem_paged_next(&p, &r), 0);
	assert_ok(guestmem_paged_init(&p, gpns, 5, 10, 100));
	assert_fails(guestmem_paged_sub(&p, 0, 101, &q), EOVERFLOW);
	assert_fails(guestmem_paged_sub(&p, 101, 0, &q), EOVERFLOW);
	assert_fails(guestmem_paged_sub(&p, 1, SIZE_MAX, &q), EOVERFLOW);
	assert_fails(guestmem_paged_sub(NULL, 0, 0, &q), EINVAL);
	assert_fails(guestmem_paged_sub(&p, 0, 0, NULL), EINVAL);
	assert_ok(guestmem_paged_sub(&p, 100, 0, &p));
	assert_int_equal(p.npages, 0);
	assert_fails(guestmem_paged_next(NULL, &r), EINVAL);
	assert_fails(guestmem_paged_next(&p, NULL), EINVAL);
	assert_ok(guestmem_paged_init(&p, many, GUESTMEM_LOCK_MAX_PAGES + 1, 0, sizeof(many) / 8 *
				      PAGE));
	assert_fails(guestmem_paged_lock(e->g, &p, 1, &handle), EINVAL);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(read_and_write, 0), B(into_hole, 0), B(lock, 0), B(lists, 0),
	};

	return RUN_ON_BACKENDS(tests);
}
