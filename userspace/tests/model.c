// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * The library against an array of bytes with holes and read-only parts: random operations,
 * among them regions that come and go. SEED= repeats a run, N= is how many operations.
 */
#include <time.h>
#include <unistd.h>

#include "backends.h"
#include "faults.h"

#define PAGES	1100ULL		/* so that there are regions across and within 2 MiB */
#define SIZE	(PAGES * PAGE)
#define MAX_LEN	20000ULL

enum kind_of_page { NONE, RW, RO };

/* The model */
static unsigned char bytes[SIZE];
static unsigned char page[PAGES];	/* enum kind_of_page */
static uint32_t id_of[PAGES];
static bool dirty[PAGES];

static uint64_t seed;
static struct guestmem *g, *part;
static uint64_t part_at;

/* xorshift64* */
static uint64_t next(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1dULL;
}

static uint64_t below(uint64_t n)
{
	return (next() >> 11) % n;
}

/* How far one comes, and what is there. */
static uint64_t reach(uint64_t gpa, uint64_t len, bool write, int *err)
{
	uint64_t n = 0;

	*err = 0;
	while (n < len) {
		uint64_t at_page = (gpa + n) / PAGE;

		if (at_page >= PAGES || page[at_page] == NONE)
			*err = ENXIO;
		else if (write && page[at_page] == RO)
			*err = EACCES;
		if (*err)
			return n;
		n += PAGE - (gpa + n) % PAGE;
	}
	return len;
}

static void dirtied(uint64_t gpa, uint64_t len)
{
	for (uint64_t p = gpa / PAGE; len && p <= (gpa + len - 1) / PAGE; p++)
		dirty[p] = true;
}

static void check(long long ret, int err, uint64_t gpa, uint64_t done, uint64_t shift)
{
	struct guestmem_error e;

	if (!err) {
		assert_ok(ret);
		return;
	}
	guestmem_last_error(&e);
	if (ret != -err || e.addr != gpa + done - shift || guestmem_last_done() != done)
		failed("%lld, not %d, at 0x%llx, not 0x%llx, %llu done, not %llu: %s", ret, -err,
		       (unsigned long long)e.addr, (unsigned long long)(gpa + done - shift),
		       (unsigned long long)guestmem_last_done(), (unsigned long long)done,
		       guestmem_strerror());
}

static uint64_t some_length(void)
{
	switch (below(4)) {
	case 0:
		return below(20);
	case 1:
		return below(300);
	default:
		return below(MAX_LEN);
	}
}

/* Near what changes: the ends of pages */
static uint64_t some_address(void)
{
	uint64_t gpa = below(SIZE);

	if (below(3) == 0)
		gpa = gpa / PAGE * PAGE + (below(2) ? below(20) : PAGE - 1 - below(20));
	return gpa;
}

static unsigned char buf[MAX_LEN + 16], out[MAX_LEN + 16];

static void bytes_op(struct guestmem *h, uint64_t gpa, uint64_t len, uint64_t shift)
{
	struct guestmem_error e;
	uint64_t done, also, src;
	uint8_t value = (uint8_t)next();
	size_t same, i;
	int err, other;
	ssize_t n;

	switch (below(8)) {
	case 0:
		done = reach(gpa, len, false, &err);
		memset(out, 0x77, len + 1);
		check(guestmem_read(h, gpa - shift, out, len), err, gpa, done, shift);
		assert_memory_equal(out, bytes + gpa, done);
		assert_int_equal(out[done], 0x77);
		break;
	case 1:
		for (i = 0; i < len; i++)
			buf[i] = (unsigned char)(value + i * 3);
		done = reach(gpa, len, true, &err);
		check(guestmem_write(h, gpa - shift, buf, len), err, gpa, done, shift);
		memcpy(bytes + gpa, buf, done);
		dirtied(gpa, done);
		break;
	case 2:
		done = reach(gpa, len, true, &err);
		check(guestmem_fill(h, gpa - shift, len, value), err, gpa, done, shift);
		memset(bytes + gpa, value, done);
		dirtied(gpa, done);
		break;
	case 3:
		src = below(SIZE - MAX_LEN);
		if (src < shift || (src < gpa + len && gpa < src + len) || !len)
			break;
		done = reach(src, len, false, &err);
		also = reach(gpa, len, true, &other);
		n = guestmem_copy(h, gpa - shift, src - shift, len);
		if (done == also && err && other) {
			/* Of both at one byte, either is told. */
			guestmem_last_error(&e);
			if (e.addr == gpa + also - shift)
				check(n, other, gpa, also, shift);
			else
				check(n, err, src, done, shift);
		} else if (done < also) {
			check(n, err, src, done, shift);
			also = done;
		} else {
			check(n, other, gpa, also, shift);
		}
		memcpy(bytes + gpa, bytes + src, also);
		dirtied(gpa, also);
		break;
	case 4:
		done = reach(gpa, len, false, &err);
		n = guestmem_read_some(h, gpa - shift, out, len);
		assert_int_equal(n, done || !len ? (ssize_t)done : -err);
		assert_memory_equal(out, bytes + gpa, done);
		break;
	case 5:
		memset(buf, value, len);
		done = reach(gpa, len, true, &err);
		n = guestmem_write_some(h, gpa - shift, buf, len);
		assert_int_equal(n, done || !len ? (ssize_t)done : -err);
		memcpy(bytes + gpa, buf, done);
		dirtied(gpa, done);
		break;
	case 6:
		done = reach(gpa, len, false, &err);
		for (i = 0; i < done && !bytes[gpa + i]; i++)
			;
		n = guestmem_is_zero(h, gpa - shift, len);
		assert_int_equal(n, i < done ? 0 : err ? -err : 1);
		break;
	default:
		done = reach(gpa, len, false, &err);
		memcpy(buf, bytes + gpa, len);
		i = len && below(2) ? below(len) : len;
		if (i < len)
			buf[i] ^= 0x40;
		n = guestmem_compare(h, gpa - shift, buf, len, &same);
		assert_int_equal(n, i < done ? 0 : -err);
		assert_int_equal(same, i < done ? i : done);
	}
}

static void object_op(struct guestmem *h, uint64_t gpa, uint64_t shift)
{
	size_t width = 1UL << below(4);
	uint64_t v = next(), got = 0, old = 0, want;
	uint32_t op;
	int err, ret;
	uint64_t done;

	switch (below(4)) {
	case 0:
		done = reach(gpa, width, false, &err);
		ret = width == 1 ? guestmem_read8(h, gpa - shift, (uint8_t *)&got) :
		      width == 2 ? guestmem_read16(h, gpa - shift, (uint16_t *)&got) :
		      width == 4 ? guestmem_read32(h, gpa - shift, (uint32_t *)&got) :
				   guestmem_read64(h, gpa - shift, &got);
		check(ret, err, gpa, done, shift);
		if (!err)
			assert_memory_equal(&got, bytes + gpa, width);
		break;
	case 1:
		done = reach(gpa, width, true, &err);
		ret = width == 1 ? guestmem_write8(h, gpa - shift, (uint8_t)v) :
		      width == 2 ? guestmem_write16(h, gpa - shift, (uint16_t)v) :
		      width == 4 ? guestmem_write32(h, gpa - shift, (uint32_t)v) :
				   guestmem_write64(h, gpa - shift, v);
		check(ret, err, gpa, done, shift);
		memcpy(bytes + gpa, &v, done);
		dirtied(gpa, done);
		break;
	case 2:
		if (below(8))
			gpa -= gpa % width;
		if (gpa < shift)
			break;
		op = GUESTMEM_ATOMIC_XCHG + (uint32_t)below(5);
		ret = guestmem_atomic(h, gpa - shift, op, &v, &got, width);
		if (gpa % width) {
			assert_int_equal(ret, -EINVAL);
			break;
		}
		reach(gpa, width, true, &err);
		check(ret, err, gpa, 0, shift);
		if (err)
			break;
		memcpy(&old, bytes + gpa, width);
		assert_memory_equal(&got, &old, width);
		want = op == GUESTMEM_ATOMIC_XCHG ? v : op == GUESTMEM_ATOMIC_ADD ? old + v :
		       op == GUESTMEM_ATOMIC_AND ? (old & v) :
		       op == GUESTMEM_ATOMIC_OR ? (old | v) : (old ^ v);
		memcpy(bytes + gpa, &want, width);
		dirtied(gpa, width);
		break;
	default:
		gpa -= gpa % width;
		if (gpa < shift)
			break;
		reach(gpa, width, true, &err);
		memcpy(&old, bytes + gpa, width);
		if (below(2))
			((char *)&old)[below(width)] ^= 1;
		got = old;
		ret = guestmem_cmpxchg(h, gpa - shift, &old, &v, width);
		if (err) {
			check(ret, err, gpa, 0, shift);
			break;
		}
		assert_int_equal(ret, !memcmp(&got, bytes + gpa, width));
		if (ret)
			memcpy(bytes + gpa, &v, width);
		else
			assert_memory_equal(&old, bytes + gpa, width);
		dirtied(gpa, width);
	}
}

static void look_up(struct guestmem *h, uint64_t gpa, uint64_t len, uint64_t shift)
{
	struct guestmem_table_entry e;
	struct iovec s;
	unsigned char *p, *at0 = guestmem_ptr(g, 0, 0);
	uint64_t done, first;
	bool write = below(2);
	int err, ret;

	ret = guestmem_find(h, gpa - shift, &e);
	if (page[gpa / PAGE] == NONE) {
		assert_int_equal(ret, -ENXIO);
		assert_null(guestmem_ptr(h, gpa - shift, 1));
	} else {
		assert_int_equal(ret, 0);
		assert_int_equal(e.id, id_of[gpa / PAGE]);
		assert_true(e.gpa <= gpa - shift && gpa - shift - e.gpa < e.len);
		p = guestmem_ptr(h, gpa - shift, 1);
		assert_non_null(p);
		/* As far as the region goes, and no further */
		for (first = gpa / PAGE; first + 1 < PAGES && id_of[first + 1] == e.id; first++)
			;
		assert_true(e.gpa + e.len + shift == (first + 1) * PAGE);
		assert_ptr_equal(guestmem_ptr(h, gpa - shift, (first + 1) * PAGE - gpa), p);
		assert_null(guestmem_ptr(h, gpa - shift, (first + 1) * PAGE - gpa + 1));
		if (page[gpa / PAGE] == RW || !write)
			assert_memory_equal(p, bytes + gpa, 1);
	}
	(void)at0;
	done = reach(gpa, len, write, &err);
	ret = guestmem_check(h, gpa - shift, len, write ? PROT_WRITE : PROT_READ);
	assert_int_equal(ret, -err);
	ret = guestmem_slice(h, gpa - shift, len, write ? PROT_WRITE : PROT_READ, &s);
	assert_int_equal(ret, -err);
	if (!err && len)
		assert_memory_equal(s.iov_base, bytes + gpa, len);
	(void)done;
}

static void region_op(void)
{
	uint64_t first = below(PAGES), n = 1 + (below(4) ? below(16) : below(600)), i;
	struct guestmem_hold hold;
	uint32_t id = 0;
	bool readonly = below(5) == 0, any = false;
	int ret;

	if (page[first] != NONE && below(2)) {
		for (; first && id_of[first - 1] == id_of[first]; first--)
			;
		id = id_of[first];
		if (below(4) == 0) {
			assert_ok(guestmem_hold(g, first * PAGE + 5, 9, &hold));
			assert_int_equal(guestmem_remove(g, id), -EBUSY);
			guestmem_release(&hold);
		}
		ret = below(2) ? guestmem_remove(g, id) : guestmem_revoke(g, id, 0, NULL);
		assert_int_equal(ret, 0);
		for (; first < PAGES && id_of[first] == id; first++) {
			page[first] = NONE;
			id_of[first] = 0;
		}
		return;
	}
	if (first + n > PAGES)
		n = PAGES - first;
	for (i = first; i < first + n; i++)
		any |= page[i] != NONE;
	ret = guestmem_add_anon(g, first * PAGE, n * PAGE,
				(readonly ? GUESTMEM_REGION_READONLY : 0) |
				(below(4) ? GUESTMEM_ANON_PRIVATE : 0), &id);
	assert_int_equal(ret, any ? -EEXIST : 0);
	if (any)
		return;
	memset(bytes + first * PAGE, 0, n * PAGE);
	for (i = first; i < first + n; i++) {
		page[i] = readonly ? RO : RW;
		id_of[i] = id;
	}
}

static void dirty_op(void)
{
	static uint64_t bits[PAGES / 64 + 1];
	uint64_t first = below(PAGES), n = 1 + below(PAGES - first), count = 0, i;
	bool take = below(2);
	ssize_t ret;

	ret = take ? guestmem_dirty_take(g, first * PAGE, n * PAGE, bits, PAGES / 64 + 1) :
		     guestmem_dirty_peek(g, first * PAGE, n * PAGE, bits, PAGES / 64 + 1);
	for (i = 0; i < n; i++) {
		assert_int_equal(bits[i / 64] >> i % 64 & 1, dirty[first + i]);
		count += dirty[first + i];
		if (take)
			dirty[first + i] = false;
	}
	assert_int_equal(ret, count);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int setup(void **state)
{
	(void)state;
	part_at = 0x12345;
	g = guestmem_create(SIZE);
	part = g ? guestmem_subrange(g, part_at, SIZE - part_at, 0) : NULL;
	return !part;
}

static int teardown(void **state)
{
	(void)state;
	guestmem_close(part);
	guestmem_close(g);
	return 0;
}

static void test_model(void **state)
{
	const char *n_text = getenv("N"), *seed_text = getenv("SEED");
	uint64_t n = n_text ? strtoull(n_text, NULL, 0) : UINT64_MAX, i, started;
	double end = now() + 3;

	(void)state;
	seed = seed_text ? strtoull(seed_text, NULL, 0) :
			   (uint64_t)(now() * 1e9) ^ (uint64_t)getpid();
	seed += !seed;
	started = seed;
	/* Before anything can go wrong */
	printf("SEED=%llu\n", (unsigned long long)started);
	fflush(stdout);
	assert_ok(guestmem_dirty_start(g, PAGE));
	for (i = 0; i < n; i++) {
		bool by_part = below(3) == 0;
		struct guestmem *h = by_part ? part : g;
		uint64_t shift = by_part ? part_at : 0, gpa = some_address(), len = some_length();

		if (!n_text && i % 256 == 0 && now() > end)
			break;
		/* Up to the guest's end: what is behind, corners.c looks at. */
		if (gpa < shift || gpa + len > SIZE || gpa + 8 > SIZE)
			continue;
		switch (below(16)) {
		case 0:
			region_op();
			break;
		case 1:
			dirty_op();
			break;
		case 2:
		case 3:
			look_up(h, gpa, len, shift);
			break;
		case 4:
		case 5:
		case 6:
		case 7:
		case 8:
			object_op(h, gpa, shift);
			break;
		default:
			bytes_op(h, gpa, len, shift);
		}
	}
	printf("figure: %llu operations of the library against a model\n", (unsigned long long)i);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { T(model) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
