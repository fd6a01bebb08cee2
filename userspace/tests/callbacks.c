// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* What only guests of callbacks have. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "backends.h"
#include "faults.h"

#define LEN	(64 * PAGE)

/* What they are asked, and what they answer. */
static struct told {
	unsigned int faults, reads, writes, fills, swaps, exposed, locks, unlocks, closed;
	struct guestmem_fault fault;
	uint64_t gpa, len, gpns[8];
	size_t npages;
	int answer, lock_answer, may_lock;
	const uint8_t *byte;
} told;

static char *map;
static struct guestmem_ops ops;
static struct guestmem *g;

static int page_fault(void *ctx, const struct guestmem_fault *fault)
{
	assert_ptr_equal(ctx, &told);
	told.faults++;
	told.fault = *fault;
	return told.answer;
}

static int do_read(void *ctx, uint64_t gpa, void *buf, size_t len)
{
	(void)ctx;
	told.reads++;
	told.gpa = gpa;
	told.len = len;
	memset(buf, 0x55, len);
	return gpa >= 60 * PAGE ? -EIO : 0;
}

static int do_write(void *ctx, uint64_t gpa, const void *buf, size_t len)
{
	(void)ctx;
	told.writes++;
	told.gpa = gpa;
	told.len = len;
	told.byte = buf;
	return gpa >= 60 * PAGE ? -EIO : 0;
}

static int do_fill(void *ctx, uint64_t gpa, uint8_t value, uint64_t len)
{
	(void)ctx;
	(void)value;
	told.fills++;
	told.gpa = gpa;
	told.len = len;
	return 0;
}

static int do_cmpxchg(void *ctx, uint64_t gpa, void *expected, const void *desired, size_t width)
{
	(void)ctx;
	(void)desired;
	told.gpa = gpa;
	told.len = width;
	/* Twice it has changed meanwhile. */
	if (++told.swaps % 3) {
		memset(expected, (int)told.swaps, width);
		return 0;
	}
	return gpa >= 60 * PAGE ? -EIO : 1;
}

static int do_expose(void *ctx, uint64_t gpa, uint64_t len)
{
	(void)ctx;
	assert_int_equal(gpa % PAGE, 0);
	assert_int_equal(len, 1);
	told.exposed++;
	return gpa == 50 * PAGE ? -EPERM : 0;
}

static int do_lock(void *ctx, const uint64_t *gpns, size_t npages)
{
	assert_ptr_equal(ctx, &told);
	told.locks++;
	told.npages = npages;
	for (size_t i = 0; i < npages && i < 8; i++)
		told.gpns[i] = gpns[i];
	return told.lock_answer;
}

static void do_unlock(void *ctx, const uint64_t *gpns, size_t npages)
{
	(void)ctx;
	told.unlocks++;
	assert_int_equal(npages, told.npages);
	for (size_t i = 0; i < npages && i < 8; i++)
		assert_true(told.gpns[i] == gpns[i]);
}

static void do_close(void *ctx)
{
	assert_ptr_equal(ctx, &told);
	told.closed++;
}

static int setup(void **state)
{
	(void)state;
	memset(&told, 0, sizeof(told));
	map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ops = (struct guestmem_ops){
		.size = sizeof(ops),
		.len = LEN,
		.mapping = map,
		.page_fault = page_fault,
		.close = do_close,
	};
	g = NULL;
	return map == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	guestmem_close(g);
	munmap(map, LEN);
	return 0;
}

static void open_it(void)
{
	g = guestmem_from_ops(&ops, &told);
	assert_non_null(g);
}

static void hide(uint64_t first, uint64_t n)
{
	assert_int_equal(mprotect(map + first * PAGE, n * PAGE, PROT_NONE), 0);
}

static void test_refused(void **state)
{
	(void)state;
	assert_null_fails(guestmem_from_ops(NULL, NULL), EINVAL);
	ops.size--;
	assert_null_fails(guestmem_from_ops(&ops, &told), EINVAL);
	ops.size++;
	ops.flags = 1U << 9;
	assert_null_fails(guestmem_from_ops(&ops, &told), EOPNOTSUPP);
	ops.flags = 0;
	ops.len = 0;
	assert_null_fails(guestmem_from_ops(&ops, &told), EINVAL);
	ops.len = UINT64_MAX;
	assert_null_fails(guestmem_from_ops(&ops, &told), EINVAL);
	ops.len = LEN;
	ops.mapping = map + 1;
	assert_null_fails(guestmem_from_ops(&ops, &told), EINVAL);
	assert_int_equal(told.closed, 0);
	ops.mapping = map;
	open_it();
	guestmem_close(g);
	g = NULL;
	assert_int_equal(told.closed, 1);
	/* Without anything, it can do nothing, and says so. */
	ops = (struct guestmem_ops){ .size = sizeof(ops), .len = UINT64_MAX };
	open_it();
	assert_fails(guestmem_read(g, 5, &ops, 1), EOPNOTSUPP);
	assert_fails(guestmem_write8(g, 5, 1), EOPNOTSUPP);
	assert_fails(guestmem_fill(g, 5, 10, 1), EOPNOTSUPP);
	assert_fails(guestmem_copy(g, 5, 10, 1), EOPNOTSUPP);
	assert_fails(guestmem_atomic(g, 0, GUESTMEM_ATOMIC_ADD, &ops, NULL, 1), EOPNOTSUPP);
	assert_fails(guestmem_load(g, 0, &ops, 1, __ATOMIC_RELAXED), EOPNOTSUPP);
	assert_fails(guestmem_store(g, 0, &ops, 1, __ATOMIC_RELAXED), EOPNOTSUPP);
	assert_fails(guestmem_synchronize(g), EOPNOTSUPP);
	assert_fails(guestmem_synchronize(NULL), EINVAL);
}

static void *bring_it_back(void *arg)
{
	usleep(2000);
	mprotect(map, LEN, PROT_READ | PROT_WRITE);
	return arg;
}

static int retry_when_there(void *ctx, const struct guestmem_fault *fault)
{
	told.faults++;
	told.fault = *fault;
	(void)ctx;
	mprotect(map + fault->gpa / PAGE * PAGE, PAGE, PROT_READ | PROT_WRITE);
	return GUESTMEM_FAULT_RETRY;
}

/* It goes on from the byte that failed: what is done is not done again. */
static void test_retry(void **state)
{
	static char buf[6 * PAGE], out[6 * PAGE];
	uint32_t one = 1;

	(void)state;
	ops.page_fault = retry_when_there;
	open_it();
	memset(buf, 0x21, sizeof(buf));
	hide(1, 4);
	assert_ok(guestmem_write(g, 10, buf, 5 * PAGE));
	assert_int_equal(told.faults, 4);
	assert_true(told.fault.gpa == 4 * PAGE && told.fault.len == PAGE + 10);
	assert_true(told.fault.write && !told.fault.denied && told.fault.signal == SIGSEGV);
	hide(1, 4);
	assert_ok(guestmem_read(g, 10, out, 5 * PAGE));
	assert_int_equal(told.faults, 8);
	assert_int_equal(told.fault.write, 0);
	assert_memory_equal(buf, out, 5 * PAGE);
	hide(0, 8);
	assert_ok(guestmem_copy(g, 4 * PAGE, 0, 4 * PAGE));
	assert_int_equal(told.faults, 16);
	hide(2, 1);
	assert_ok(guestmem_fill(g, 2 * PAGE + 5, 5, 1));
	assert_true(told.fault.gpa == 2 * PAGE + 5 && told.fault.len == 5);
	hide(2, 1);
	assert_ok(guestmem_atomic(g, 2 * PAGE, GUESTMEM_ATOMIC_ADD, &one, NULL, 4));
	assert_true(told.fault.write && told.fault.len == 4);
	hide(2, 1);
	assert_ok(guestmem_load(g, 2 * PAGE, &one, 4, __ATOMIC_ACQUIRE));
	assert_int_equal(told.fault.write, 0);
	hide(2, 1);
	assert_ok(guestmem_read32(g, 2 * PAGE + 1, &one));
	assert_int_equal(told.faults, 20);
}

static void test_retry_without_end(void **state)
{
	uint32_t v = 1;

	(void)state;
	told.answer = GUESTMEM_FAULT_RETRY;
	open_it();
	hide(3, 1);
	assert_fails(guestmem_read8(g, 3 * PAGE, (uint8_t *)&v), EFAULT);
	assert_true(told.faults > 1000 && told.faults < 10000);
	assert_fails(guestmem_fill(g, 3 * PAGE - 7, 9, 1), EFAULT);
	assert_true(guestmem_last_done() == 7);
	assert_fails(guestmem_copy(g, 3 * PAGE - 7, 0, 9), EFAULT);
	assert_true(guestmem_last_done() == 7);
	assert_fails(guestmem_store(g, 3 * PAGE, &v, 4, __ATOMIC_RELAXED), EFAULT);
	assert_fails(guestmem_cmpxchg(g, 3 * PAGE, &v, &v, 4), EFAULT);
	/* Not of the same place: it may be asked often. */
	told.faults = 0;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, bring_it_back, NULL), 0);
	while (guestmem_read32(g, 3 * PAGE, &v))
		assert_int_equal(errno, EFAULT);
	pthread_join(thread, NULL);
}

static void test_fail(void **state)
{
	char buf[100];

	(void)state;
	told.answer = -ENODEV;
	open_it();
	hide(3, 1);
	assert_fails(guestmem_write(g, 3 * PAGE - 30, buf, 100), ENODEV);
	assert_true(guestmem_last_done() == 30);
	assert_true(told.fault.gpa == 3 * PAGE && told.fault.len == 70);
	assert_int_equal(guestmem_read_some(g, 3 * PAGE - 30, buf, 100), 30);
	/* What is no answer is a failure. */
	told.answer = 17;
	assert_fails(guestmem_read(g, 3 * PAGE - 30, buf, 100), EFAULT);
	guestmem_close(g);
	ops.page_fault = NULL;
	open_it();
	assert_fails(guestmem_read(g, 3 * PAGE - 30, buf, 100), ENXIO);
	assert_true(guestmem_last_done() == 30);
}

static void test_fallback(void **state)
{
	unsigned char buf[PAGE];
	uint64_t word[2];
	uint32_t v = 9, old;

	(void)state;
	told.answer = GUESTMEM_FAULT_FALLBACK;
	ops.read = do_read;
	ops.write = do_write;
	open_it();
	hide(3, 61);
	assert_ok(guestmem_dirty_start(g, PAGE));
	memset(map, 0x33, 3 * PAGE);
	assert_ok(guestmem_read(g, 3 * PAGE - 30, buf, 100));
	assert_true(told.reads == 1 && told.gpa == 3 * PAGE && told.len == 70);
	assert_int_equal(buf[29], 0x33);
	assert_int_equal(buf[30], 0x55);
	assert_ok(guestmem_write(g, 3 * PAGE - 30, buf, 100));
	assert_true(told.writes == 1 && told.gpa == 3 * PAGE && told.len == 70);
	assert_ptr_equal(told.byte, buf + 30);
	/* What they write is noted too. */
	assert_int_equal(guestmem_dirty_take(g, 0, LEN, word, 2), 2);
	assert_true(word[0] == 12);
	/* Without fill, it is written. */
	assert_ok(guestmem_fill(g, 3 * PAGE - 30, 2 * PAGE + 40, 1));
	assert_int_equal(told.writes, 4);
	assert_true(told.gpa == 5 * PAGE && told.len == 10);
	assert_int_equal(guestmem_dirty_take(g, 0, LEN, word, 2), 4);
	assert_fails(guestmem_fill(g, 59 * PAGE, 2 * PAGE, 1), EIO);
	assert_true(guestmem_last_done() == PAGE);
	/* What failed may have come some way. */
	assert_int_equal(guestmem_dirty_take(g, 0, LEN, word, 2), 2);
	assert_fails(guestmem_read(g, 60 * PAGE, buf, 1), EIO);
	/* Copies, to and from */
	assert_ok(guestmem_copy(g, 3 * PAGE - 30, 0, 100));
	assert_true(told.gpa == 3 * PAGE && told.len == 70);
	assert_ok(guestmem_copy(g, 0, 3 * PAGE - 30, 100));
	assert_int_equal(map[29], 0x33);
	assert_int_equal(map[30], 0x55);
	assert_int_equal(guestmem_dirty_take(g, 0, LEN, word, 2), 3);
	assert_fails(guestmem_copy(g, 0, 60 * PAGE + 10, 100), EIO);
	/* Atomics, by what there is */
	assert_fails(guestmem_atomic(g, 4 * PAGE, GUESTMEM_ATOMIC_ADD, &v, &old, 4), EOPNOTSUPP);
	assert_ok(guestmem_load(g, 4 * PAGE, &v, 4, __ATOMIC_SEQ_CST));
	assert_int_equal(v, 0x55555555);
	assert_ok(guestmem_store(g, 4 * PAGE, &v, 4, __ATOMIC_SEQ_CST));
	assert_true(told.gpa == 4 * PAGE && told.len == 4);
	assert_fails(guestmem_store(g, 60 * PAGE, &v, 4, __ATOMIC_SEQ_CST), EIO);
	guestmem_close(g);
	ops.cmpxchg = do_cmpxchg;
	ops.fill = do_fill;
	open_it();
	assert_ok(guestmem_atomic(g, 4 * PAGE, GUESTMEM_ATOMIC_ADD, &v, &old, 4));
	assert_int_equal(told.swaps, 3);
	assert_int_equal(old, 0x02020202);
	assert_int_equal(guestmem_cmpxchg(g, 4 * PAGE, &v, &old, 4), 0);
	assert_int_equal(v, 0x04040404);
	told.swaps = 2;
	assert_int_equal(guestmem_cmpxchg(g, 4 * PAGE, &v, &old, 4), 1);
	told.swaps = 2;
	assert_fails(guestmem_cmpxchg(g, 60 * PAGE, &v, &old, 4), EIO);
	assert_fails(guestmem_atomic(g, 60 * PAGE, GUESTMEM_ATOMIC_ADD, &v, &old, 4), EIO);
	assert_ok(guestmem_fill(g, 3 * PAGE - 30, 2 * PAGE + 40, 1));
	assert_true(told.fills == 1 && told.gpa == 3 * PAGE && told.len == 2 * PAGE + 10);
}

/* A bitmap is of the pages of the whole, wherever a part starts. */
static void test_bitmap_in_parts(void **state)
{
	uint8_t bitmap[16] = { 0 }, wbitmap[16] = { 0 };
	struct guestmem *part, *inner;
	uint32_t v = 7;
	char c = 1;

	(void)state;
	ops.read_bitmap = bitmap;
	ops.write_bitmap = wbitmap;
	ops.bitmap_first = 3;
	ops.page_fault = NULL;
	bitmap[0] = 1 << 3;	/* page 0 */
	wbitmap[0] = 1 << 3;
	open_it();
	part = guestmem_subrange(g, 0x800, 0x2000, 0);
	inner = guestmem_subrange(part, 0x900, 0x1000, 0);
	assert_true(part && inner);
	assert_ok(guestmem_read(part, 0x7ff, &c, 1));
	assert_ok(guestmem_write(part, 0x7ff, &c, 1));
	assert_fails(guestmem_read(part, 0x800, &c, 1), EACCES);
	assert_fails(guestmem_write(part, 0x800, &c, 1), EACCES);
	assert_fails(guestmem_read(part, 0x1000, &c, 1), EACCES);
	assert_fails(guestmem_fill(part, 0x7f0, 0x20, 1), EACCES);
	assert_true(guestmem_last_done() == 0x10);
	assert_fails(guestmem_atomic(part, 0x800, GUESTMEM_ATOMIC_ADD, &v, NULL, 4), EACCES);
	assert_fails(guestmem_load(part, 0x800, &v, 4, __ATOMIC_RELAXED), EACCES);
	assert_fails(guestmem_copy(part, 0, 0x7f0, 0x20), EACCES);
	assert_true(guestmem_last_done() == 0x10);
	assert_fails(guestmem_read(inner, 0, &c, 1), EACCES);
	bitmap[0] |= 1 << 4;	/* page 1, to read */
	assert_ok(guestmem_read(inner, 0, &c, 1));
	assert_ok(guestmem_read(part, 0x1000, &c, 1));
	assert_fails(guestmem_write(part, 0x1000, &c, 1), EACCES);
	assert_fails(guestmem_write(inner, 0, &c, 1), EACCES);
	/* Both are needed for what reads and writes. */
	wbitmap[0] |= 1 << 5;
	assert_fails(guestmem_atomic(g, 2 * PAGE, GUESTMEM_ATOMIC_ADD, &v, NULL, 4), EACCES);
	assert_fails(guestmem_atomic(g, PAGE, GUESTMEM_ATOMIC_ADD, &v, NULL, 4), EACCES);
	assert_ok(guestmem_store(g, 2 * PAGE, &v, 4, __ATOMIC_RELAXED));
	assert_ok(guestmem_copy(g, 2 * PAGE, PAGE, PAGE));
	assert_fails(guestmem_copy(g, PAGE, 0, PAGE), EACCES);
	assert_ok(guestmem_synchronize(part));
	guestmem_close(inner);
	guestmem_close(part);
}

static void test_bitmap_and_fault(void **state)
{
	static char buf[4 * PAGE];
	uint8_t bitmap[16] = { 0x0b };

	(void)state;
	ops.read_bitmap = bitmap;
	told.answer = -EPERM;
	open_it();
	/* Nothing is touched there, and what is before is. */
	assert_fails(guestmem_read(g, 5, buf, 4 * PAGE), EPERM);
	assert_true(told.fault.denied && !told.fault.signal && !told.fault.write);
	assert_true(told.fault.gpa == 2 * PAGE && told.fault.len == 2 * PAGE + 5);
	assert_true(guestmem_last_done() == 2 * PAGE - 5);
	told.answer = GUESTMEM_FAULT_RETRY;
	assert_fails(guestmem_read(g, 5, buf, 4 * PAGE), EFAULT);
	/* No bitmap for writing: all may be. */
	assert_ok(guestmem_write(g, 0, buf, 4 * PAGE));
	told.answer = GUESTMEM_FAULT_FALLBACK;
	assert_fails(guestmem_read(g, 2 * PAGE, buf, 1), EOPNOTSUPP);
}

/* Once synchronize has returned, nobody reads what was taken away. */
static uint8_t gate[16];
static bool stop;
static unsigned int seen_after;

/* All are looked at before the first is read: the last is a while later. */
static void *reader(void *arg)
{
	static _Thread_local unsigned char buf[LEN];
	uint64_t v;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (!guestmem_read(g, 0, buf, LEN) && buf[LEN - 1] == 0xbd)
			__atomic_add_fetch(&seen_after, 1, __ATOMIC_RELAXED);
		if (!guestmem_load(g, LEN - 8, &v, 8, __ATOMIC_RELAXED) && v >> 56 == 0xbd)
			__atomic_add_fetch(&seen_after, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void test_synchronize(void **state)
{
	pthread_t thread[3];
	uint8_t *last = (uint8_t *)map + LEN - 1;

	(void)state;
	ops.page_fault = NULL;
	ops.read_bitmap = gate;
	memset(gate, 0xff, sizeof(gate));
	open_it();
	stop = false;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, reader, NULL), 0);
	for (int i = 0; i < 2000; i++) {
		__atomic_store_n(&gate[7], 0x7f, __ATOMIC_RELAXED);
		assert_ok(guestmem_synchronize(g));
		__atomic_store_n(last, 0xbd, __ATOMIC_RELAXED);
		if (i % 10 == 0)
			usleep(100);
		__atomic_store_n(last, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&gate[7], 0xff, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(seen_after, 0);
}

static void test_locks(void **state)
{
	struct guestmem_hold hold;
	struct guestmem *part;
	uint64_t gpas[2] = { 9 * PAGE - 0x777, 5 * PAGE - 0x777 };
	uint32_t handle, other;

	(void)state;
	ops.lock = do_lock;
	ops.unlock = do_unlock;
	ops.expose_va = do_expose;
	open_it();
	part = guestmem_subrange(g, 0x777, 40 * PAGE, GUESTMEM_SUBRANGE_LOCK);
	assert_non_null(part);
	/* Numbers of the whole, also through a part */
	told.lock_answer = 1;
	assert_ok(guestmem_lock(part, 3 * PAGE - 0x777 - 1, 2, 1, 0, &handle, NULL, NULL));
	assert_true(told.npages == 2 && told.gpns[0] == 2 && told.gpns[1] == 3);
	assert_int_equal(told.exposed, 2);
	assert_ok(guestmem_unlock(part, handle));
	assert_int_equal(told.unlocks, 1);
	/* In the order of the list */
	assert_ok(guestmem_lock_pages(part, gpas, 2, 1, 0, &handle, NULL, NULL));
	assert_true(told.npages == 2 && told.gpns[0] == 9 && told.gpns[1] == 5);
	assert_ok(guestmem_unlock(g, handle));
	assert_int_equal(told.unlocks, 2);
	/* Nothing to undo */
	told.lock_answer = 0;
	assert_ok(guestmem_lock(part, 0, 1, 1, 0, &handle, NULL, NULL));
	assert_ok(guestmem_unlock(part, handle));
	assert_int_equal(told.unlocks, 2);
	told.lock_answer = -EAGAIN;
	assert_fails(guestmem_lock(part, 0, 1, 1, 0, &handle, NULL, NULL), EAGAIN);
	assert_fails(guestmem_hold(part, 0, 1, &hold), EAGAIN);
	told.locks = 0;
	assert_fails(guestmem_lock(g, 49 * PAGE, 2 * PAGE, 1, 0, &handle, NULL, NULL), EPERM);
	assert_int_equal(told.locks, 0);
	told.lock_answer = 1;
	assert_ok(guestmem_hold(part, 0x90, 1, &hold));
	assert_true(told.npages == 1 && told.gpns[0] == 0);
	assert_ptr_equal(hold.slice.iov_base, map + 0x777 + 0x90);
	guestmem_release(&hold);
	assert_int_equal(told.unlocks, 3);
	/* Those that are left are undone when it is closed. */
	assert_ok(guestmem_lock(part, 0, 1, 1, 0, &handle, NULL, NULL));
	assert_ok(guestmem_lock(part, 0, 1, 1, 0, &other, NULL, NULL));
	assert_fails(guestmem_lock(part, 0, 1ULL << 62, 1, 0, &other, NULL, NULL), ENXIO);
	guestmem_close(g);
	assert_int_equal(told.closed, 0);
	guestmem_close(part);
	g = NULL;
	assert_int_equal(told.unlocks, 5);
	assert_int_equal(told.closed, 1);
	/* Without a mapping, nothing is locked by itself. */
	ops.mapping = NULL;
	ops.lock = NULL;
	open_it();
	assert_fails(guestmem_lock(g, 0, 1, 1, 0, &handle, NULL, NULL), EOPNOTSUPP);
	assert_fails(guestmem_hold(g, 0, 1, &hold), EOPNOTSUPP);
}

static struct guestmem_ops part_ops;
static int subrange_answer;
static unsigned int part_closed;

static void close_part(void *ctx)
{
	(void)ctx;
	part_closed++;
}

static int do_subrange(void *ctx, uint64_t gpa, uint64_t len, int may_lock,
		       struct guestmem_ops *sub, void **sub_ctx)
{
	assert_ptr_equal(ctx, &told);
	told.gpa = gpa;
	told.len = len;
	told.may_lock = may_lock;
	*sub = part_ops;
	*sub_ctx = &part_ops;
	return subrange_answer;
}

static void test_subrange(void **state)
{
	struct guestmem *part, *other;
	char c;

	(void)state;
	ops.subrange = do_subrange;
	open_it();
	subrange_answer = 0;
	part = guestmem_subrange(g, 5, 10, GUESTMEM_SUBRANGE_LOCK);
	assert_non_null(part);
	assert_true(told.gpa == 5 && told.len == 10 && told.may_lock);
	/* Of a part, as the whole counts */
	other = guestmem_subrange(part, 2, 3, 0);
	assert_non_null(other);
	assert_true(told.gpa == 7 && told.len == 3 && !told.may_lock);
	map[7] = 0x42;
	assert_ok(guestmem_read(other, 0, &c, 1));
	assert_int_equal(c, 0x42);
	guestmem_close(other);
	subrange_answer = -EPERM;
	assert_null_fails(guestmem_subrange(part, 0, 1, 0), EPERM);
	/* One of its own, which is what may be wrong with it, too */
	subrange_answer = 1;
	assert_null_fails(guestmem_subrange(part, 0, 1, 0), EINVAL);
	part_ops = (struct guestmem_ops){
		.size = sizeof(part_ops),
		.len = 3,
		.read = do_read,
		.write = do_write,
		.close = close_part,
	};
	other = guestmem_subrange(part, 0, 3, GUESTMEM_SUBRANGE_READONLY);
	assert_non_null(other);
	assert_ok(guestmem_read(other, 1, &c, 1));
	assert_int_equal(c, 0x55);
	assert_fails(guestmem_write(other, 1, &c, 1), EACCES);
	guestmem_close(part);
	assert_int_equal(part_closed, 0);
	guestmem_close(other);
	assert_int_equal(part_closed, 1);
}

static int do_backing(void *ctx, uint64_t gpa, int *fd, uint64_t *offset, uint64_t *len)
{
	(void)ctx;
	*fd = 77;
	*offset = gpa + 1000;
	*len = LEN - gpa;
	return gpa == 13 ? -ENOENT : 0;
}

static void test_iova_and_backing(void **state)
{
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem *part;
	uint64_t iova, len;
	int fd;

	(void)state;
	open_it();
	assert_fails(guestmem_iova(g, 0, 1, &iova), EOPNOTSUPP);
	assert_fails(guestmem_backing(g, 0, &fd, &iova, &len), EOPNOTSUPP);
	guestmem_close(g);
	ops.base_iova = 0x100000000;
	ops.flags = GUESTMEM_OPS_IOVA | GUESTMEM_OPS_READONLY;
	ops.backing = do_backing;
	open_it();
	part = guestmem_subrange(g, 0x123, PAGE, 0);
	assert_ok(guestmem_iova(g, 5, LEN - 5, &iova));
	assert_true(iova == 0x100000005);
	assert_ok(guestmem_iova(part, 5, 1, &iova));
	assert_true(iova == 0x100000128);
	assert_fails(guestmem_iova(part, 5, PAGE, &iova), ENXIO);
	assert_fails(guestmem_iova(g, 5, LEN, &iova), ENXIO);
	assert_fails(guestmem_iova(g, 5, UINT64_MAX, &iova), EOVERFLOW);
	assert_fails(guestmem_iova(g, 5, 1, NULL), EINVAL);
	assert_ok(guestmem_backing(part, 1, &fd, &iova, &len));
	assert_true(fd == 77 && iova == 0x124 + 1000 && len == PAGE - 1);
	assert_fails(guestmem_backing(g, 13, &fd, &iova, &len), ENOENT);
	assert_fails(guestmem_write8(g, 0, 1), EACCES);
	assert_fails(guestmem_fill(part, 0, 1, 1), EACCES);
	assert_ok(guestmem_info(part, &info));
	assert_int_equal(info.rights & GUESTMEM_RIGHT_WRITE, 0);
	assert_true(info.last == LEN - 1 && info.nregions == 1);
	info.flags = 8;
	assert_fails(guestmem_info(g, &info), EOPNOTSUPP);
	assert_fails(guestmem_eventfd(g, 0, 1), EOPNOTSUPP);
	assert_fails(guestmem_fd(g), EOPNOTSUPP);
	assert_null_fails(guestmem_map(g, 0, 1, PROT_READ), EOPNOTSUPP);
	guestmem_close(part);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(refused), T(retry), T(retry_without_end), T(fail), T(fallback),
		T(bitmap_in_parts), T(bitmap_and_fault), T(synchronize), T(locks), T(subrange),
		T(iova_and_backing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
