// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A shared table that lies: an error or a right answer, within a bounded time. The hidden
 * functions of the library are given one, as the kernel's would be mapped.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"
#undef fail
#include "internal.h"
#include "recover.h"
#include "faults.h"

#define CAPACITY	64
#define WINDOW_LEN	(64ULL << 20)

static struct space *s;
static struct guestmem_table *t;
static struct guestmem_table_entry *entries;
static unsigned int listed;

/* What the kernel would say if it was asked: one region, with the number 99. */
static int list(struct space *space, struct guestmem_region **regions, size_t *n,
		struct why *why)
{
	(void)space;
	(void)why;
	listed++;
	*regions = calloc(1, sizeof(**regions));
	(*regions)[0] = (struct guestmem_region){ .gpa = 0x10000, .len = 0x1000, .id = 99 };
	*n = 1;
	return 0;
}

static void destroy(struct space *space)
{
	(void)space;
}

static int refuse(struct space *space, const struct guestmem_fault *fault, struct why *why)
{
	(void)space;
	return why_reason(why, ENXIO, GUESTMEM_REASON_HOLE, fault->gpa, 0, 0);
}

static const struct backend fake = { .destroy = destroy, .list = list, .fault = refuse };

static void good(void)
{
	t->magic = GUESTMEM_TABLE_MAGIC;
	t->version = GUESTMEM_TABLE_VERSION;
	t->entry_size = sizeof(*entries);
	t->capacity = CAPACITY;
	t->nentries = 3;
	t->seq = 2;
	t->header_size = sizeof(*t);
	t->generation = 5;
	for (unsigned int i = 0; i < 3; i++)
		entries[i] = (struct guestmem_table_entry){
			.gpa = 0x10000 * (i + 1), .len = 0x1000, .id = i + 1, .generation = i };
}

static int setup(void **state)
{
	(void)state;
	listed = 0;
	if (recover_start())
		return -1;
	s = space_new(&fake);
	s->table_len = (sizeof(*t) + CAPACITY * sizeof(*entries) + PAGE - 1) & ~(PAGE - 1);
	t = mmap(NULL, s->table_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->table = t;
	entries = (void *)(t + 1);
	s->window = window_reserve(WINDOW_LEN);
	s->window_len = WINDOW_LEN;
	s->owns_window = true;
	s->last = WINDOW_LEN - 1;
	s->rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE;
	slots_create(s);
	good();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	space_put(s);
	return 0;
}

static double now(void)
{
	struct timespec tv;

	clock_gettime(CLOCK_MONOTONIC, &tv);
	return (double)tv.tv_sec + (double)tv.tv_nsec / 1e9;
}

/* The table cannot be used, and the list is. */
static void assert_asks(void)
{
	struct guestmem_table_entry e;
	unsigned int before = listed;
	struct why why = { 0 };
	uint64_t reach;

	slots_refresh(s);
	assert_int_equal(table_find(s, 0x10000, &e), -ENODATA);
	assert_int_equal(space_find(s, 0x10000, &e), 0);
	assert_int_equal(e.id, 99);
	assert_int_equal(space_next(s, 0x20000, &e), -ENXIO);
	assert_int_equal(space_reach(s, 0x10800, 0x1000, PROT_READ, &reach, &why), 0);
	assert_true(reach == 0x800);
	assert_true(listed > before);
}

static void test_good(void **state)
{
	struct guestmem_table_entry e;

	(void)state;
	assert_int_equal(table_find(s, 0x20fff, &e), 0);
	assert_int_equal(e.id, 2);
	assert_int_equal(table_find(s, 0x21000, &e), -ENXIO);
	assert_int_equal(table_next(s, 0x21000, &e), 0);
	assert_int_equal(e.id, 3);
	assert_int_equal(table_next(s, 0x31000, &e), -ENXIO);
	assert_true(table_generation(s) == 5);
	/* A newer kernel's: a longer header and longer entries */
	t->header_size = sizeof(*t) + 16;
	t->entry_size = sizeof(*entries) + 8;
	t->capacity = 4;
	for (unsigned int i = 0; i < 3; i++) {
		struct guestmem_table_entry one = {
			.gpa = 0x10000 * (i + 1), .len = 0x1000, .id = i + 1 };

		memcpy((char *)t + t->header_size + i * t->entry_size, &one, sizeof(one));
	}
	assert_int_equal(table_find(s, 0x30001, &e), 0);
	assert_int_equal(e.id, 3);
	assert_int_equal(listed, 0);
}

static void test_head(void **state)
{
	(void)state;
#define WRONG(field, value) do { t->field = (value); assert_asks(); good(); } while (0)
	WRONG(magic, 0);
	WRONG(magic, GUESTMEM_TABLE_MAGIC + 1);
	WRONG(version, 2);
	WRONG(version, 0);
	WRONG(entry_size, 0);
	WRONG(entry_size, 24);
	WRONG(entry_size, 36);
	WRONG(entry_size, UINT32_MAX);
	WRONG(entry_size, UINT32_MAX - 7);
	WRONG(header_size, 0);
	WRONG(header_size, 56);
	WRONG(header_size, sizeof(*t) + 4);
	WRONG(header_size, (uint32_t)s->table_len + 8);
	WRONG(header_size, UINT32_MAX - 7);
	WRONG(capacity, 2);
	WRONG(capacity, UINT32_MAX);
	WRONG(nentries, CAPACITY + 1);
	WRONG(nentries, UINT32_MAX);
	t->capacity = UINT32_MAX;
	t->nentries = UINT32_MAX;
	assert_asks();
}

/* Odd for ever: given up on, soon. */
static void test_stuck(void **state)
{
	double start = now();

	(void)state;
	for (t->seq = 1; t->seq < 200; t->seq += 2) {
		assert_asks();
		assert_true(table_generation(s) == 0);
	}
	assert_true(now() - start < 20);
}

static volatile bool stop;

static void *change(void *arg)
{
	(void)arg;
	while (!stop)
		__atomic_add_fetch(&t->seq, 2, __ATOMIC_RELAXED);
	return NULL;
}

static void test_never_still(void **state)
{
	struct guestmem_table_entry e;
	double start = now();
	pthread_t thread;
	int ret;

	(void)state;
	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, change, NULL), 0);
	for (int i = 0; i < 2000; i++) {
		ret = table_find(s, 0x20000, &e);
		assert_true(ret == -ENODATA || (!ret && e.id == 2));
		assert_int_equal(space_find(s, 0x10000, &e), 0);
		assert_true(e.id == 1 || e.id == 99);
		slots_refresh(s);
		table_generation(s);
	}
	stop = true;
	pthread_join(thread, NULL);
	assert_true(now() - start < 30);
}

/* Whatever is found has a length and does not wrap; nobody reads beyond the table. */
static void check_all(void)
{
	static const uint64_t at[] = { 0, 0xfff, 0x10000, 0x20fff, 0x30000, 0x40000, 1ULL << 25,
		WINDOW_LEN - 1, WINDOW_LEN, 1ULL << 40, UINT64_MAX - 1, UINT64_MAX };
	struct guestmem_table_entry e;
	struct guestmem *g;
	struct iovec slice;
	struct why why = { 0 };
	uint64_t reach;
	size_t len;

	slots_refresh(s);
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	g = handle_new(s, OP_OPEN);
	assert_non_null(g);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		char *p;

		if (!table_next(s, at[i], &e))
			assert_true(e.len && e.gpa + (e.len - 1) >= e.gpa);
		if (!table_find(s, at[i], &e))
			assert_true(e.gpa <= at[i] && at[i] - e.gpa < e.len);
		if (!space_reach(s, at[i], 0x5000, PROT_READ, &reach, &why))
			assert_true(reach && reach <= 0x5000);
		for (len = 1; len < 1ULL << 60; len <<= 7) {
			p = guestmem_ptr(g, at[i], len);
			/* What is said to be there is in the window, all of it. */
			if (p)
				assert_true((size_t)(p - s->window) < WINDOW_LEN &&
					    len <= WINDOW_LEN - (size_t)(p - s->window));
			if (!guestmem_slice(g, at[i], len, PROT_READ, &slice))
				assert_true((size_t)((char *)slice.iov_base - s->window) +
					    slice.iov_len <= WINDOW_LEN);
		}
		guestmem_check(g, at[i], 0x5000, PROT_READ);
		guestmem_last(g, &reach);
		assert_true(guestmem_read8(g, at[i], (uint8_t *)&len) < 0);
		assert_true(guestmem_write64(g, at[i], 1) < 0);
	}
	guestmem_close(g);
}

static void test_entries(void **state)
{
	(void)state;
#define ENTRY(i, gpa_, len_) do {						\
	entries[i].gpa = (gpa_);						\
	entries[i].len = (len_);						\
	t->seq += 2;								\
	check_all();								\
	t->nentries = (i) + 1;							\
	t->seq += 2;								\
	check_all();								\
	good();									\
} while (0)
	for (int i = 0; i < 3; i++) {
		ENTRY(i, 0, 0);
		ENTRY(i, 0x10000, 0);
		ENTRY(i, 0x10000, UINT64_MAX);
		ENTRY(i, 0, UINT64_MAX);
		ENTRY(i, UINT64_MAX, 1);
		ENTRY(i, UINT64_MAX, 2);
		ENTRY(i, UINT64_MAX - 0xfff, 0x1000);
		ENTRY(i, 0x10000, 0x100000);	/* over the others */
		ENTRY(i, 0x35000, 0x1000);	/* not sorted */
		ENTRY(i, 1, 0x1000);
		ENTRY(i, 5, 3);
		ENTRY(i, WINDOW_LEN - 5, 0x1000);
		ENTRY(i, WINDOW_LEN, 1ULL << 62);
		ENTRY(i, 1ULL << 40, 0x1000);
		ENTRY(i, 3ULL << 20, 1);
		ENTRY(i, (4ULL << 20) + 511, 4ULL << 20);
	}
}

static void test_noise(void **state)
{
	unsigned int seed = 1;
	unsigned char *p;

	(void)state;
	for (int i = 0; i < 1500; i++) {
		good();
		t->nentries = (uint32_t)rand_r(&seed) % (CAPACITY + 1);
		for (unsigned int k = 0; k < CAPACITY; k++)
			entries[k] = (struct guestmem_table_entry){
				.gpa = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 34),
				.len = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 34),
				.id = (uint32_t)k,
			};
		if (i % 3 == 0) {
			p = (unsigned char *)t;
			p[(size_t)rand_r(&seed) % sizeof(*t)] ^=
				(unsigned char)(1 << rand_r(&seed) % 8);
		}
		t->seq = (uint32_t)i * 2;
		check_all();
	}
}

/* The kernel's mapping can go, as its file does with the device. */
static void test_table_that_faults(void **state)
{
	(void)state;
	assert_int_equal(mprotect(t, s->table_len, PROT_NONE), 0);
	assert_true(table_generation(s) == 0);
	assert_asks();
	/* In its middle, too */
	assert_int_equal(mprotect(t, s->table_len, PROT_READ | PROT_WRITE), 0);
	good();
	munmap(t, s->table_len);
	s->table_len = 2 * PAGE;
	t = mmap(NULL, s->table_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->table = t;
	entries = (void *)(t + 1);
	good();
	t->header_size = PAGE;
	t->capacity = 8;
	assert_int_equal(mprotect((char *)t + PAGE, PAGE, PROT_NONE), 0);
	assert_asks();
}

/*
 * Who changes the regions may be made to wait in the midst of it. All others are still
 * there: what the table cannot tell then, it is asked for.
 */
static void test_while_it_changes(void **state)
{
	struct guestmem *g = guestmem_create(4 << 20);
	struct guestmem_table_entry e;
	struct guestmem_extent x[2];
	struct guestmem_hold hold;
	struct iovec slice;
	uint64_t offset, len;
	uint32_t handle;
	uint8_t byte;
	size_t n = 2;
	int fd;

	(void)state;
	assert_non_null(g);
	/* In one slot, so that it is of no use */
	assert_ok(guestmem_add_anon(g, 0, PAGE, 0, NULL));
	assert_ok(guestmem_add_anon(g, 2 * PAGE, PAGE, GUESTMEM_REGION_READONLY, NULL));
	g->space->table->seq++;
	assert_ok(guestmem_find(g, 5, &e));
	assert_ok(guestmem_next(g, PAGE, &e));
	assert_true(e.gpa == 2 * PAGE);
	assert_fails(guestmem_find(g, PAGE, &e), ENXIO);
	assert_ok(guestmem_check(g, 0, PAGE, PROT_WRITE));
	assert_ok(guestmem_slice(g, 0, PAGE, PROT_WRITE, &slice));
	assert_non_null(guestmem_ptr(g, 0, PAGE));
	assert_ok(guestmem_read8(g, 0, &byte));
	assert_fails(guestmem_read8(g, PAGE, &byte), ENXIO);
	assert_fails(guestmem_write8(g, 2 * PAGE, 1), EACCES);
	assert_ok(guestmem_hold(g, 0, PAGE, &hold));
	guestmem_release(&hold);
	assert_ok(guestmem_lock(g, 2 * PAGE, 1, 1, 0, &handle, NULL, NULL));
	assert_ok(guestmem_unlock(g, handle));
	assert_ok(guestmem_translate(g, 0, PAGE, 0, x, &n));
	assert_ok(guestmem_backing(g, 0, &fd, &offset, &len));
	assert_true(guestmem_generation(g) == 0);
	g->space->table->seq++;
	assert_true(guestmem_generation(g) != 0);
	guestmem_close(g);
}

/* Ended by closing twice or used after it: told, as long as it is no other. */
static void test_closed_handles(void **state)
{
	struct guestmem *g = guestmem_create(1 << 21);
	struct guestmem_iter iter = { 0, 1, PROT_READ };
	struct guestmem_table_entry e;
	struct guestmem_region *r;
	struct guestmem_hold hold;
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem_extent x;
	struct iovec slice;
	uint64_t v = 0;
	uint32_t id;
	size_t n = 1;
	int fd;

	(void)state;
	assert_ok(guestmem_add_anon(g, 0, PAGE, 0, NULL));
	guestmem_close(g);
	guestmem_close(g);
	assert_fails(guestmem_read(g, 0, &v, 8), EBADF);
	assert_fails(guestmem_write(g, 0, &v, 8), EBADF);
	assert_fails(guestmem_read64(g, 0, &v), EBADF);
	assert_fails(guestmem_write8(g, 0, 1), EBADF);
	assert_fails(guestmem_read_some(g, 0, &v, 8), EBADF);
	assert_fails(guestmem_write_some(g, 0, &v, 8), EBADF);
	assert_fails(guestmem_fill(g, 0, 8, 0), EBADF);
	assert_fails(guestmem_copy(g, 0, 8, 8), EBADF);
	assert_fails(guestmem_is_zero(g, 0, 8), EBADF);
	assert_fails(guestmem_compare(g, 0, &v, 8, &n), EBADF);
	assert_fails(guestmem_read_from(g, 0, 0, NULL, 8), EBADF);
	assert_fails(guestmem_write_to(g, 0, 0, NULL, 8), EBADF);
	assert_fails(guestmem_read_from_some(g, 0, 0, NULL, 8), EBADF);
	assert_fails(guestmem_load(g, 0, &v, 8, 0), EBADF);
	assert_fails(guestmem_store(g, 0, &v, 8, 0), EBADF);
	assert_fails(guestmem_cmpxchg(g, 0, &v, &v, 8), EBADF);
	assert_fails(guestmem_atomic(g, 0, GUESTMEM_ATOMIC_ADD, &v, NULL, 8), EBADF);
	assert_null_fails(guestmem_ptr(g, 0, 1), EBADF);
	assert_fails(guestmem_slice(g, 0, 1, PROT_READ, &slice), EBADF);
	n = 1;
	assert_fails(guestmem_slices(g, NULL, 0, PROT_READ, &slice, &n), EBADF);
	assert_fails(guestmem_iter_next(g, &iter, &slice), EBADF);
	assert_fails(guestmem_find(g, 0, &e), EBADF);
	assert_fails(guestmem_next(g, 0, &e), EBADF);
	assert_fails(guestmem_last(g, &v), EBADF);
	assert_fails(guestmem_check(g, 0, 1, PROT_READ), EBADF);
	assert_fails(guestmem_regions(g, &r, &n), EBADF);
	assert_fails(guestmem_backing(g, 0, &fd, &v, &v), EBADF);
	assert_true(guestmem_generation(g) == 0);
	n = 1;
	assert_fails(guestmem_translate(g, 0, 1, 0, &x, &n), EBADF);
	assert_fails(guestmem_lock(g, 0, 1, 1, 0, &id, NULL, NULL), EBADF);
	v = 0;
	assert_fails(guestmem_lock_pages(g, &v, 1, 1, 0, &id, NULL, NULL), EBADF);
	assert_fails(guestmem_unlock(g, 1), EBADF);
	assert_fails(guestmem_hold(g, 0, 1, &hold), EBADF);
	assert_fails(guestmem_iova(g, 0, 1, &v), EBADF);
	assert_fails(guestmem_add_anon(g, 0, PAGE, 0, NULL), EBADF);
	assert_fails(guestmem_add_user(g, 0, PAGE, &v, 0, NULL), EBADF);
	assert_fails(guestmem_add_file(g, 0, PAGE, 0, 0, 0, NULL), EBADF);
	assert_fails(guestmem_remove(g, 1), EBADF);
	assert_fails(guestmem_revoke(g, 1, 0, NULL), EBADF);
	assert_fails(guestmem_dirty_start(g, 4096), EBADF);
	assert_fails(guestmem_dirty_stop(g), EBADF);
	assert_fails(guestmem_dirty_take(g, 0, 1, &v, 1), EBADF);
	assert_fails(guestmem_dirty_peek(g, 0, 1, &v, 1), EBADF);
	guestmem_dirty_mark(g, 0, 1);
	assert_fails(guestmem_msync(g, 0, PAGE), EBADF);
	assert_fails(guestmem_flush(g, 0, PAGE), EBADF);
	assert_fails(guestmem_mlock_all(g, 0), EBADF);
	assert_fails(guestmem_info(g, &info), EBADF);
	assert_fails(guestmem_eventfd(g, 0, 1), EBADF);
	assert_fails(guestmem_view_create(g, 0, PAGE, 1, 0, NULL), EBADF);
	assert_fails(guestmem_view_limit(g, 1, 0, 0, 0, NULL), EBADF);
	assert_null_fails(guestmem_domain_create(g, PAGE, 0, UINT64_MAX, 1), EBADF);
	assert_fails(guestmem_domain_map(g, NULL, 0, NULL), EBADF);
	assert_fails(guestmem_domain_unmap(g, NULL), EBADF);
	assert_fails(guestmem_domain_list(g, &v, NULL, NULL, NULL), EBADF);
	assert_fails(guestmem_domain_records(g, NULL, 0), EBADF);
	assert_fails(guestmem_session_create(g, 1, NULL), EBADF);
	assert_fails(guestmem_session_export(g, 0, 1, 1, &id, NULL, NULL), EBADF);
	assert_fails(guestmem_session_release(g, 1), EBADF);
	assert_fails(guestmem_session_release_all(g), EBADF);
	assert_null_fails(guestmem_mapper_domain(g), EBADF);
	assert_null_fails(guestmem_mapper_vfio(g, -1), EBADF);
	assert_null_fails(guestmem_mapper_iommufd(g, -1, 0), EBADF);
	assert_fails(guestmem_fd(g), EBADF);
	assert_fails(guestmem_synchronize(g), EBADF);
	assert_null_fails(guestmem_subrange(g, 0, 1, 0), EBADF);
	assert_null_fails(guestmem_map(g, 0, 1, PROT_READ), EBADF);
	/* Many come and go, and none is another's. */
	for (int i = 0; i < 300; i++) {
		g = guestmem_create(1 << 21);
		assert_non_null(g);
		assert_fails(guestmem_read(g, 0, &v, 1), ENXIO);
		guestmem_close(g);
		assert_fails(guestmem_read(g, 0, &v, 1), EBADF);
	}
}

static void test_wrong_sizes(void **state)
{
	struct guestmem *g = guestmem_create(3);
	struct guestmem_info info = { .size = 87 };
	struct {
		struct guestmem_info info;
		char behind[32];
	} big;
	uint8_t byte;

	(void)state;
	assert_non_null(g);
	assert_fails(guestmem_info(g, &info), EINVAL);
	info.size = 0;
	assert_fails(guestmem_info(g, &info), EINVAL);
	assert_fails(guestmem_info(g, NULL), EINVAL);
	memset(&big, 0x77, sizeof(big));
	big.info.size = sizeof(big);
	big.info.flags = 0;
	assert_ok(guestmem_info(g, &big.info));
	assert_int_equal(big.info.size, sizeof(info));
	assert_int_equal(big.behind[0], 0x77);
	info.size = sizeof(info);
	info.flags = 1U << 30;
	assert_fails(guestmem_info(g, &info), EOPNOTSUPP);
	/* 3 bytes are rounded up to 2 MiB. */
	assert_ok(guestmem_add_anon(g, (2ULL << 20) - PAGE, PAGE, 0, NULL));
	assert_ok(guestmem_read8(g, (2ULL << 20) - 1, &byte));
	assert_fails(guestmem_add_anon(g, 2ULL << 20, PAGE, 0, NULL), EOVERFLOW);
	guestmem_close(g);
	assert_null_fails(guestmem_create((1ULL << 46) + 1), EINVAL);
	assert_null_fails(guestmem_create(UINT64_MAX), EINVAL);
	assert_fails(guestmem_faults(7), EINVAL);
	assert_fails(guestmem_faults(GUESTMEM_FAULTS_DECLINE), EBUSY);
	assert_int_equal(guestmem_handle_fault(SIGSEGV, NULL, NULL), 0);
	assert_int_equal(guestmem_handle_fault(SIGUSR1, &info, &info), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(good), T(head), T(stuck), T(never_still), T(entries), T(noise),
		T(table_that_faults), T(while_it_changes), T(closed_handles), T(wrong_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
