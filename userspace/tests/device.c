// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Every call of the library against /dev/guestmem; exit status 77 where there is
 * none.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestmem.h"
#include "faults.h"

#define P	((uint64_t)page)
#define PAGES	8
#define BASE	0x100000ULL

/* Does @call fail with -@err, in errno too, and tell @why? */
#define assert_fails(call, err, why) do {				\
	struct guestmem_error e_;					\
	assert_int_equal((call), -(err));				\
	assert_int_equal(errno, (err));					\
	assert_int_equal(guestmem_last_error(&e_), -(err));		\
	assert_int_equal(e_.reason, (why));				\
} while (0)

#define assert_ok(call) do {						\
	long ret_ = (long)(call);					\
	if (ret_ < 0)							\
		fail_msg("%s: %s", #call, guestmem_strerror());		\
} while (0)

static size_t page;
static struct guestmem *g;
static unsigned char *mem;

static uint64_t error_addr(void)
{
	struct guestmem_error e;

	guestmem_last_error(&e);
	return e.addr;
}

static uint64_t error_need(void)
{
	struct guestmem_error e;

	guestmem_last_error(&e);
	return e.need;
}

static int setup(void **state)
{
	(void)state;
	g = guestmem_open(O_RDWR);
	mem = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return g && mem != MAP_FAILED ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	guestmem_close(g);
	munmap(mem, PAGES * page);
	return 0;
}

/* Pages @first to @first + @n - 1 of the memory, at GPA @gpa. */
static uint32_t add(uint64_t gpa, size_t first, size_t n, uint32_t flags)
{
	uint32_t id = 0;

	assert_ok(guestmem_add_user(g, gpa, n * P, mem + first * page, flags, &id));
	return id;
}

static uint32_t rights_of(struct guestmem *guest)
{
	struct guestmem_info info = { .size = sizeof(info) };

	assert_ok(guestmem_info(guest, &info));
	return info.rights;
}

static void test_open_modes(void **state)
{
	struct guestmem *ro = guestmem_open(O_RDONLY);
	struct guestmem *wo = guestmem_open(O_WRONLY);
	char c = 0;

	(void)state;
	assert_non_null(ro);
	assert_non_null(wo);
	assert_true(rights_of(g) & GUESTMEM_RIGHT_MANAGE);
	assert_int_equal(rights_of(ro) & (GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MANAGE), 0);
	assert_int_equal(rights_of(wo) & (GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_TRANSLATE), 0);
	assert_fails(guestmem_write(ro, 0, &c, 1), EACCES, GUESTMEM_REASON_RIGHT);
	assert_int_equal(error_need(), GUESTMEM_RIGHT_WRITE);
	assert_fails(guestmem_fill(ro, 0, 1, 0), EACCES, GUESTMEM_REASON_RIGHT);
	assert_fails(guestmem_add_user(ro, BASE, P, mem, 0, NULL), EACCES,
		     GUESTMEM_REASON_RIGHT);
	assert_fails(guestmem_remove(ro, 1), EACCES, GUESTMEM_REASON_RIGHT);
	assert_fails(guestmem_read(wo, 0, &c, 1), EACCES, GUESTMEM_REASON_RIGHT);
	assert_null(guestmem_map(ro, 0, page, PROT_READ | PROT_WRITE));
	assert_int_equal(errno, EACCES);
	guestmem_close(ro);
	guestmem_close(wo);
}

static void test_from_fd(void **state)
{
	struct guestmem_info a = { .size = sizeof(a) }, b = { .size = sizeof(b) };
	struct guestmem *h = guestmem_from_fd(guestmem_fd(g));
	char text[6];

	(void)state;
	assert_non_null(h);
	assert_int_not_equal(guestmem_fd(h), guestmem_fd(g));
	assert_true(fcntl(guestmem_fd(g), F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(guestmem_fd(h), F_GETFD) & FD_CLOEXEC);
	assert_ok(guestmem_info(g, &a));
	assert_ok(guestmem_info(h, &b));
	assert_true(a.id == b.id);
	add(BASE, 0, 1, 0);
	assert_ok(guestmem_write(h, BASE, "hello", 6));
	guestmem_close(h);
	assert_ok(guestmem_read(g, BASE, text, 6));
	assert_string_equal(text, "hello");
}

static void test_info(void **state)
{
	struct guestmem_info info = { .size = sizeof(info) };

	(void)state;
	assert_ok(guestmem_info(g, &info));
	assert_int_equal(info.abi_version, GUESTMEM_ABI_VERSION);
	assert_int_equal(info.page_size, page);
	assert_int_equal(info.nregions, 0);
	assert_int_equal(info.pinned, 0);
	assert_true(info.max_regions > 0);
	add(BASE, 0, 2, 0);
	assert_ok(guestmem_info(g, &info));
	assert_int_equal(info.nregions, 1);
	assert_int_equal(info.pinned, 2 * P);
	assert_true(info.last == BASE + 2 * P - 1);
	/* Looking at them leaves them there. */
	assert_int_equal(info.events, GUESTMEM_EVENT_ADDED);
	info.flags = GUESTMEM_INFO_TAKE_EVENTS;
	assert_ok(guestmem_info(g, &info));
	assert_int_equal(info.events, GUESTMEM_EVENT_ADDED);
	assert_ok(guestmem_info(g, &info));
	assert_int_equal(info.events, 0);
	info.flags = 0;
	info.size = 8;
	assert_fails(guestmem_info(g, &info), EINVAL, GUESTMEM_REASON_NONE);
	info.size = sizeof(info);
	info.flags = 1U << 31;
	assert_fails(guestmem_info(g, &info), EOPNOTSUPP, GUESTMEM_REASON_NONE);
}

static void test_regions(void **state)
{
	struct guestmem_region *r;
	int fd = memfd_create("guestmem-test", MFD_CLOEXEC);
	uint32_t user, file;
	size_t n;

	(void)state;
	assert_ok(guestmem_regions(g, &r, &n));
	assert_null(r);
	assert_int_equal(n, 0);

	assert_int_equal(ftruncate(fd, (off_t)(4 * P)), 0);
	user = add(BASE + 4 * P, 1, 2, GUESTMEM_REGION_READONLY);
	assert_ok(guestmem_add_file(g, BASE, 3 * P, fd, P, 0, &file));
	close(fd);
	assert_int_not_equal(user, file);
	assert_ok(guestmem_regions(g, &r, &n));
	assert_int_equal(n, 2);
	assert_true(r[0].gpa == BASE && r[0].len == 3 * P && r[0].offset == P);
	assert_int_equal(r[0].id, file);
	assert_int_equal(r[0].backing, GUESTMEM_BACKING_FILE);
	assert_int_equal(r[0].flags, 0);
	assert_true(r[1].gpa == BASE + 4 * P && r[1].len == 2 * P);
	assert_true(r[1].offset == (uintptr_t)mem + P);
	assert_int_equal(r[1].id, user);
	assert_int_equal(r[1].backing, GUESTMEM_BACKING_USER);
	assert_int_equal(r[1].flags, GUESTMEM_REGION_READONLY | GUESTMEM_REGION_OWN);
	assert_int_equal(r[1].pid, getpid());
	assert_true(r[1].nruns >= 1 && r[1].nruns <= 2);
	free(r);

	assert_ok(guestmem_remove(g, file));
	assert_fails(guestmem_remove(g, file), ENOENT, GUESTMEM_REASON_NONE);
	assert_ok(guestmem_regions(g, &r, &n));
	assert_int_equal(n, 1);
	assert_int_equal(r[0].id, user);
	free(r);
}

static void test_many_regions(void **state)
{
	struct guestmem_region *r;
	size_t n, i;

	(void)state;
	for (i = 40; i-- > 0;)
		add(BASE + i * 2 * P, i % PAGES, 1, GUESTMEM_REGION_READONLY);
	assert_ok(guestmem_regions(g, &r, &n));
	assert_int_equal(n, 40);
	for (i = 0; i < n; i++)
		assert_true(r[i].gpa == BASE + i * 2 * P);
	free(r);
}

static void test_add_errors(void **state)
{
	int fd = memfd_create("guestmem-test", MFD_CLOEXEC);
	uint32_t id = add(BASE, 0, 2, 0);
	struct guestmem_region *r;
	size_t n;

	(void)state;
	assert_fails(guestmem_add_user(g, BASE + P, P, mem, 0, NULL), EEXIST,
		     GUESTMEM_REASON_OVERLAP);
	assert_int_equal(error_need(), id);
	assert_fails(guestmem_add_user(g, BASE + 1, P, mem, 0, NULL), EINVAL,
		     GUESTMEM_REASON_MISALIGNED);
	assert_fails(guestmem_add_user(g, 0, P, mem + 1, 0, NULL), EINVAL,
		     GUESTMEM_REASON_MISALIGNED);
	assert_fails(guestmem_add_user(g, 0, P + 1, mem, 0, NULL), EINVAL,
		     GUESTMEM_REASON_MISALIGNED);
	assert_fails(guestmem_add_user(g, 0, 0, mem, 0, NULL), EINVAL,
		     GUESTMEM_REASON_EMPTY);
	assert_fails(guestmem_add_user(g, -P, 2 * P, mem, 0, NULL), EOVERFLOW,
		     GUESTMEM_REASON_WRAPS);
	assert_fails(guestmem_add_user(g, 0, GUESTMEM_REGION_MAX_LEN + P, mem, 0, NULL),
		     EINVAL, GUESTMEM_REASON_TOO_LONG);
	assert_fails(guestmem_add_user(g, 0, P, NULL, 0, NULL), EFAULT,
		     GUESTMEM_REASON_UNMAPPED);
	assert_fails(guestmem_add_user(g, 0, P, mem, 1U << 31, NULL), EOPNOTSUPP,
		     GUESTMEM_REASON_NONE);
	assert_fails(guestmem_add_file(g, 0, P, fd, 0, 0, NULL), EINVAL,
		     GUESTMEM_REASON_END_OF_FILE);
	assert_int_equal(error_need(), P);
	close(fd);
	assert_fails(guestmem_add_file(g, 0, P, fd, 0, 0, NULL), EBADF,
		     GUESTMEM_REASON_NONE);
	assert_ok(guestmem_regions(g, &r, &n));
	assert_int_equal(n, 1);
	free(r);
}

static void test_translate(void **state)
{
	struct guestmem_range ranges[2] = { { BASE + 8, 8 }, { BASE + 2 * P, 8 } };
	struct guestmem_extent e[PAGES];
	uint64_t at = BASE + 4;
	uint32_t a, b;
	size_t n, i;

	(void)state;
	a = add(BASE, 0, 2, 0);
	b = add(BASE + 2 * P, 2, 1, GUESTMEM_REGION_READONLY);
	n = PAGES;
	assert_ok(guestmem_translate(g, at, 3 * P - 8, 0, e, &n));
	assert_true(n >= 2 && n <= 3);
	for (i = 0; i < n; i++) {
		assert_true(e[i].gpa == at);
		assert_true(e[i].hpa == 0);
		at += e[i].len;
	}
	assert_true(at == BASE + 3 * P - 4);
	assert_int_equal(e[0].region_id, a);
	assert_int_equal(e[n - 1].region_id, b);
	assert_int_equal(e[n - 1].flags, GUESTMEM_REGION_READONLY);

	n = PAGES;
	assert_fails(guestmem_translate(g, BASE + 2 * P, 2 * P, 0, e, &n), ENXIO,
		     GUESTMEM_REASON_HOLE);
	assert_true(error_addr() == BASE + 3 * P);
	assert_int_equal(n, 1);
	assert_true(e[0].gpa == BASE + 2 * P && e[0].len == P);

	n = 2;
	assert_ok(guestmem_translate_batch(g, ranges, 2, 0, e, &n));
	assert_int_equal(n, 2);
	assert_true(e[0].gpa == BASE + 8 && e[0].len == 8);
	assert_true(e[1].gpa == BASE + 2 * P && e[1].len == 8);
	n = 1;
	assert_fails(guestmem_translate_batch(g, ranges, 2, 0, e, &n), EMSGSIZE,
		     GUESTMEM_REASON_OUTPUT);
	assert_int_equal(n, 2);

	n = PAGES;
	assert_fails(guestmem_translate(g, BASE, 0, 0, e, &n), EINVAL, GUESTMEM_REASON_EMPTY);
	assert_int_equal(n, 0);
	n = PAGES;
	assert_fails(guestmem_translate(g, UINT64_MAX, 2, 0, e, &n), EOVERFLOW,
		     GUESTMEM_REASON_WRAPS);
	n = PAGES;
	assert_fails(guestmem_translate(g, BASE, 1, 1U << 31, e, &n), EOPNOTSUPP,
		     GUESTMEM_REASON_NONE);

	n = 1;
	if (rights_of(g) & GUESTMEM_RIGHT_TRANSLATE_HPA) {
		assert_ok(guestmem_translate(g, BASE + 8, 8, GUESTMEM_EXTENT_HPA, e, &n));
		assert_true(e[0].hpa != 0 && e[0].hpa % P == 8);
	} else {
		assert_fails(guestmem_translate(g, BASE, 8, GUESTMEM_EXTENT_HPA, e, &n),
			     EPERM, GUESTMEM_REASON_RIGHT);
	}
}

static void test_lock(void **state)
{
	uint64_t pages[2] = { BASE + P, BASE };
	struct guestmem_extent e[PAGES];
	uint32_t id, a, b;
	size_t n = PAGES;

	(void)state;
	id = add(BASE, 0, 2, 0);
	assert_ok(guestmem_lock(g, BASE + 16, P, GUESTMEM_DMA_BIDIRECTIONAL, 0, &a, e, &n));
	assert_true(n >= 1 && n <= 2);
	assert_true(e[0].gpa == BASE + 16);
	assert_ok(guestmem_lock(g, BASE, 1, GUESTMEM_DMA_TO_DEVICE, 0, &b, NULL, NULL));
	assert_int_not_equal(a, b);
	assert_fails(guestmem_remove(g, id), EBUSY, GUESTMEM_REASON_LOCKED);
	assert_int_equal(error_need(), 2);
	assert_ok(guestmem_unlock(g, a));
	assert_fails(guestmem_unlock(g, a), ENOENT, GUESTMEM_REASON_NONE);
	assert_ok(guestmem_unlock(g, b));

	n = PAGES;
	assert_ok(guestmem_lock_pages(g, pages, 2, GUESTMEM_DMA_FROM_DEVICE, 0, &a, e, &n));
	assert_int_equal(n, 2);
	assert_true(e[0].gpa == BASE + P && e[1].gpa == BASE);
	n = 1;
	assert_fails(guestmem_lock_pages(g, pages, 2, GUESTMEM_DMA_FROM_DEVICE, 0, &b, e, &n),
		     EMSGSIZE, GUESTMEM_REASON_OUTPUT);
	assert_int_equal(n, 2);
	assert_ok(guestmem_unlock(g, a));

	assert_fails(guestmem_lock(g, BASE + P, 2 * P, GUESTMEM_DMA_TO_DEVICE, 0, &a, NULL,
				   NULL), ENXIO, GUESTMEM_REASON_HOLE);
	assert_true(error_addr() == BASE + 2 * P);
	assert_fails(guestmem_lock(g, BASE, 0, GUESTMEM_DMA_TO_DEVICE, 0, &a, NULL, NULL),
		     EINVAL, GUESTMEM_REASON_EMPTY);
	assert_int_equal(guestmem_lock(g, BASE, 1, 7, 0, &a, NULL, NULL), -EOPNOTSUPP);
	pages[1]++;
	assert_fails(guestmem_lock_pages(g, pages, 2, GUESTMEM_DMA_TO_DEVICE, 0, &a, NULL,
					 NULL), EINVAL, GUESTMEM_REASON_MISALIGNED);
	assert_fails(guestmem_lock_pages(g, pages, 0, GUESTMEM_DMA_TO_DEVICE, 0, &a, NULL,
					 NULL), EINVAL, GUESTMEM_REASON_EMPTY);
	/* None of the failures holds anything. */
	assert_ok(guestmem_remove(g, id));

	add(BASE, 0, 1, GUESTMEM_REGION_READONLY);
	assert_fails(guestmem_lock(g, BASE, 1, GUESTMEM_DMA_FROM_DEVICE, 0, &a, NULL, NULL),
		     EACCES, GUESTMEM_REASON_READONLY);
}

static void test_revoke(void **state)
{
	uint32_t id, lock, nlocks = 9;
	char c;

	(void)state;
	id = add(BASE, 0, 1, 0);
	assert_ok(guestmem_revoke(g, id, 0, &nlocks));
	assert_int_equal(nlocks, 0);
	assert_fails(guestmem_read(g, BASE, &c, 1), ENXIO, GUESTMEM_REASON_HOLE);
	assert_int_equal(guestmem_revoke(g, id, 0, NULL), -ENOENT);

	id = add(BASE, 0, 1, 0);
	assert_ok(guestmem_lock(g, BASE, 1, GUESTMEM_DMA_TO_DEVICE, 0, &lock, NULL, NULL));
	assert_int_equal(guestmem_revoke(g, id, 10, &nlocks), -ETIMEDOUT);
	assert_int_equal(nlocks, 1);
	assert_non_null(strstr(guestmem_strerror(), "revoked"));
	assert_fails(guestmem_read(g, BASE, &c, 1), ENXIO, GUESTMEM_REASON_HOLE);
	/* Its addresses are free, and the lock is still there to be released. */
	add(BASE, 1, 1, 0);
	assert_ok(guestmem_unlock(g, lock));
	assert_ok(guestmem_read(g, BASE, &c, 1));
}

static void test_read_write(void **state)
{
	unsigned char in[4 * 4096], out[4 * 4096];
	size_t len = 3 * page;

	(void)state;
	if (sizeof(in) < 4 * page)
		skip();
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 7 + i / 256);
	add(BASE, 4, 2, 0);
	add(BASE + 2 * P, 0, 1, 0);

	assert_ok(guestmem_write(g, BASE, in, len));
	assert_memory_equal(mem + 4 * page, in, 2 * page);
	assert_memory_equal(mem, in + 2 * page, page);
	assert_ok(guestmem_read(g, BASE + 1, out, len - 1));
	assert_memory_equal(out, in + 1, len - 1);

	assert_fails(guestmem_read(g, BASE + 2 * P, out, 2 * page), ENXIO,
		     GUESTMEM_REASON_HOLE);
	assert_true(error_addr() == BASE + 3 * P);
	assert_true(guestmem_last_done() == P);
	assert_int_equal(guestmem_read_some(g, BASE + 5, out, 4 * page), len - 5);
	assert_int_equal(guestmem_write_some(g, BASE + 5, in, 4 * page), len - 5);
	assert_int_equal(guestmem_read_some(g, BASE + 3 * P, out, 1), -ENXIO);
	assert_fails(guestmem_write(g, BASE - 1, in, 8), ENXIO, GUESTMEM_REASON_HOLE);
	assert_true(error_addr() == BASE - 1);
	assert_true(guestmem_last_done() == 0);

	assert_ok(guestmem_read(g, 0, NULL, 0));
	assert_ok(guestmem_write(g, UINT64_MAX, NULL, 0));
	assert_int_equal(guestmem_read_some(g, 0, NULL, 0), 0);
	assert_fails(guestmem_read(g, UINT64_MAX, out, 2), EOVERFLOW, GUESTMEM_REASON_WRAPS);
	assert_fails(guestmem_read(g, 1ULL << 63, out, 1), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_read(g, INT64_MAX - 4, out, 4), ENXIO, GUESTMEM_REASON_HOLE);
}

static void test_readonly(void **state)
{
	uint32_t v = 0;
	char c = 1;

	(void)state;
	mem[0] = 42;
	add(BASE, 0, 1, GUESTMEM_REGION_READONLY);
	add(BASE + P, 1, 1, 0);
	assert_ok(guestmem_read(g, BASE, &c, 1));
	assert_int_equal(c, 42);
	assert_fails(guestmem_write(g, BASE, &c, 1), EACCES, GUESTMEM_REASON_READONLY);
	assert_fails(guestmem_fill(g, BASE, 1, 0), EACCES, GUESTMEM_REASON_READONLY);
	assert_fails(guestmem_copy(g, BASE, BASE + P, 1), EACCES, GUESTMEM_REASON_READONLY);
	assert_fails(guestmem_cmpxchg(g, BASE, &v, &v, 4), EACCES, GUESTMEM_REASON_READONLY);
	assert_ok(guestmem_copy(g, BASE + P, BASE, 1));
	assert_int_equal(mem[page], 42);
}

static void test_fill_copy(void **state)
{
	(void)state;
	add(BASE, 0, 2, 0);
	add(BASE + 2 * P, 2, 2, 0);
	assert_ok(guestmem_fill(g, BASE + 1, 3 * P, 0xa5));
	assert_int_equal(mem[0], 0);
	assert_int_equal(mem[1], 0xa5);
	assert_int_equal(mem[3 * page], 0xa5);
	assert_int_equal(mem[3 * page + 1], 0);
	assert_fails(guestmem_fill(g, BASE + 3 * P, 2 * P, 1), ENXIO, GUESTMEM_REASON_HOLE);
	assert_true(error_addr() == BASE + 4 * P);
	assert_true(guestmem_last_done() == P);
	assert_ok(guestmem_fill(g, 0, 0, 1));

	memcpy(mem, "0123456789", 10);
	assert_ok(guestmem_copy(g, BASE + 2 * P - 5, BASE, 10));
	assert_memory_equal(mem + 2 * page - 5, "0123456789", 10);
	assert_fails(guestmem_copy(g, BASE + 4, BASE, 8), EINVAL, GUESTMEM_REASON_OVERLAP);
	assert_fails(guestmem_copy(g, BASE + 4 * P - 4, BASE, 8), ENXIO,
		     GUESTMEM_REASON_HOLE);
	assert_true(error_addr() == BASE + 4 * P);
	assert_true(guestmem_last_done() <= 4);
	assert_ok(guestmem_copy(g, 0, 0, 0));
}

static void test_cmpxchg(void **state)
{
	struct guestmem_info info = { .size = sizeof(info) };
	unsigned char expected[16], desired[16];

	(void)state;
	add(BASE, 0, 1, 0);
	assert_ok(guestmem_info(g, &info));
	for (size_t width = 1; width <= 16; width *= 2) {
		uint64_t gpa = BASE + 16 + width;

		if (width == 16) {
			gpa = BASE + 32;
			if (!(info.features & GUESTMEM_FEATURE_ATOMIC16)) {
				assert_int_equal(guestmem_cmpxchg(g, gpa, expected, desired,
								  16), -EOPNOTSUPP);
				continue;
			}
		}
		for (size_t i = 0; i < 64; i++)
			mem[i] = (unsigned char)(i + 1);
		memcpy(expected, mem + (gpa - BASE), width);
		for (size_t i = 0; i < width; i++)
			desired[i] = (unsigned char)(0xf0 + i);
		assert_int_equal(guestmem_cmpxchg(g, gpa, expected, desired, width), 1);
		assert_memory_equal(mem + (gpa - BASE), desired, width);
		assert_int_equal(mem[gpa - BASE - 1], gpa - BASE);
		assert_int_equal(mem[gpa - BASE + width], gpa - BASE + width + 1);
		/* Not expected any more: nothing changes, and it tells what is there. */
		assert_int_equal(guestmem_cmpxchg(g, gpa, expected, expected, width), 0);
		assert_memory_equal(expected, desired, width);
		assert_memory_equal(mem + (gpa - BASE), desired, width);
	}
	assert_fails(guestmem_cmpxchg(g, BASE + 2, expected, desired, 4), EINVAL,
		     GUESTMEM_REASON_MISALIGNED);
	assert_fails(guestmem_cmpxchg(g, BASE + P, expected, desired, 4), ENXIO,
		     GUESTMEM_REASON_HOLE);
}

static void test_atomic(void **state)
{
	static const struct {
		uint32_t op, operand, result;
	} ops[] = {
		{ GUESTMEM_ATOMIC_XCHG, 0x1234, 0x1234 },
		{ GUESTMEM_ATOMIC_ADD, 0xfffffff0, 0xf0f0f0e0 },
		{ GUESTMEM_ATOMIC_AND, 0xff00, 0xf000 },
		{ GUESTMEM_ATOMIC_OR, 0xff, 0xf0f0f0ff },
		{ GUESTMEM_ATOMIC_XOR, 0xffffffff, 0x0f0f0f0f },
	};
	uint32_t *word = (uint32_t *)(void *)mem;
	uint32_t old;
	uint64_t one = 1;

	(void)state;
	add(BASE, 0, 1, 0);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		word[0] = 0x55;
		word[1] = 0xf0f0f0f0;
		word[2] = 0xaa;
		assert_ok(guestmem_atomic(g, BASE + 4, ops[i].op, &ops[i].operand, &old, 4));
		assert_int_equal(old, 0xf0f0f0f0);
		assert_int_equal(word[1], ops[i].result);
		assert_int_equal(word[0], 0x55);
		assert_int_equal(word[2], 0xaa);
	}
	word[0] = word[1] = 0xffffffff;
	assert_ok(guestmem_atomic(g, BASE, GUESTMEM_ATOMIC_ADD, &one, NULL, 8));
	assert_int_equal(word[0] | word[1], 0);
	assert_fails(guestmem_atomic(g, BASE + 1, GUESTMEM_ATOMIC_ADD, &one, NULL, 8), EINVAL,
		     GUESTMEM_REASON_MISALIGNED);
	assert_int_equal(guestmem_atomic(g, BASE, 99, &one, NULL, 8), -EOPNOTSUPP);
	assert_fails(guestmem_atomic(g, BASE - 8, GUESTMEM_ATOMIC_ADD, &one, NULL, 8), ENXIO,
		     GUESTMEM_REASON_HOLE);
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus, 1);
}

static bool touch_gives_sigbus(volatile unsigned char *p)
{
	struct sigaction sa = { .sa_handler = on_bus }, old;
	bool got = true;

	sigaction(SIGBUS, &sa, &old);
	if (!sigsetjmp(bus, 1)) {
		(void)*p;
		got = false;
	}
	sigaction(SIGBUS, &old, NULL);
	return got;
}

static void test_map(void **state)
{
	unsigned char *map;
	uint32_t id;

	(void)state;
	id = add(BASE, 0, 1, 0);
	add(BASE + P, 4, 1, 0);
	add(BASE + 3 * P, 5, 1, 0);
	map = guestmem_map(g, BASE, 5 * page, PROT_READ | PROT_WRITE);
	assert_non_null(map);
	map[page - 1] = 1;
	map[page] = 2;
	mem[5 * page] = 3;
	assert_int_equal(mem[page - 1], 1);
	assert_int_equal(mem[4 * page], 2);
	assert_int_equal(map[3 * page], 3);
	assert_true(touch_gives_sigbus(map + 2 * page));
	assert_true(touch_gives_sigbus(map + 4 * page));

	assert_ok(guestmem_revoke(g, id, 0, NULL));
	assert_true(touch_gives_sigbus(map));
	assert_int_equal(map[page], 2);
	/* Another region at the same place shows in the same mapping. */
	mem[6 * page] = 4;
	add(BASE, 6, 1, 0);
	assert_int_equal(map[0], 4);
	assert_ok(guestmem_unmap(map, 5 * page));

	/* Any alignment. */
	map = guestmem_map(g, BASE + P - 1, 2, PROT_READ);
	assert_non_null(map);
	assert_int_equal(map[1], 2);
	assert_ok(guestmem_unmap(map, 2));
}

static void test_map_lives(void **state)
{
	unsigned char *map;

	(void)state;
	add(BASE, 0, 1, 0);
	map = guestmem_map(g, BASE, page, PROT_READ);
	assert_non_null(map);
	guestmem_close(g);
	mem[0] = 77;
	assert_int_equal(map[0], 77);
	assert_ok(guestmem_unmap(map, page));
	g = guestmem_open(O_RDWR);
	assert_non_null(g);
}

static void test_top(void **state)
{
	struct guestmem_extent e[2];
	uint64_t gpa = -P, one = 1;
	uint32_t lock;
	size_t n = 2;
	char c = 0;

	(void)state;
	add(gpa, 0, 1, 0);
	assert_ok(guestmem_translate(g, gpa, P, 0, e, &n));
	assert_int_equal(n, 1);
	assert_ok(guestmem_fill(g, gpa, P, 7));
	assert_int_equal(mem[page - 1], 7);
	assert_ok(guestmem_atomic(g, -(uint64_t)8, GUESTMEM_ATOMIC_XCHG, &one, NULL, 8));
	assert_ok(guestmem_lock(g, gpa, P, GUESTMEM_DMA_TO_DEVICE, 0, &lock, NULL, NULL));
	assert_ok(guestmem_unlock(g, lock));
	assert_fails(guestmem_write(g, UINT64_MAX, &c, 1), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_null(guestmem_map(g, gpa, page, PROT_READ));
	assert_int_equal(errno, EOPNOTSUPP);
}

static void test_eventfd(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t count;
	uint32_t id;

	(void)state;
	assert_ok(guestmem_eventfd(g, fd, GUESTMEM_EVENT_ADDED | GUESTMEM_EVENT_REVOKED));
	id = add(BASE, 0, 1, 0);
	assert_int_equal(read(fd, &count, 8), 8);
	assert_int_equal(count, 1);
	assert_ok(guestmem_remove(g, id));
	assert_int_equal(read(fd, &count, 8), -1);
	id = add(BASE, 0, 1, 0);
	assert_ok(guestmem_revoke(g, id, 0, NULL));
	assert_int_equal(read(fd, &count, 8), 8);
	assert_int_equal(count, 2);
	assert_ok(guestmem_eventfd(g, fd, 0));
	add(BASE, 0, 1, 0);
	assert_int_equal(read(fd, &count, 8), -1);
	assert_fails(guestmem_eventfd(g, fd, 0), ENOENT, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_eventfd(g, fd, 1U << 31), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_eventfd(g, STDERR_FILENO, GUESTMEM_EVENT_ADDED), EBADF,
		     GUESTMEM_REASON_NONE);
	close(fd);
}

static void test_views(void **state)
{
	const uint32_t rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MAP |
				GUESTMEM_RIGHT_LOCK;
	struct guestmem_view *views;
	struct guestmem *v, *part;
	uint64_t id, other;
	uint32_t lock, nlocks;
	struct guestmem_error e;
	uint64_t value;
	size_t n;
	int fd;

	(void)state;
	add(BASE, 0, 4, 0);
	mem[page] = 11;
	fd = guestmem_view_create(g, BASE + P, 2 * P, rights, 0, &id);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	v = guestmem_from_fd(fd);
	assert_non_null(v);
	close(fd);
	assert_ok(guestmem_read64(v, 0, &value));
	assert_int_equal(value & 0xff, 11);
	assert_ok(guestmem_write8(v, 2 * P - 1, 12));
	assert_int_equal(mem[3 * page - 1], 12);
	assert_fails(guestmem_write8(v, 2 * P, 1), ENXIO, GUESTMEM_REASON_HOLE);
	assert_fails(guestmem_add_user(v, 0, P, mem, 0, NULL), EACCES, GUESTMEM_REASON_RIGHT);
	assert_fails(guestmem_view_create(v, 0, P, 1, 0, NULL), EACCES, GUESTMEM_REASON_RIGHT);

	/* By a part, and by its addresses. */
	part = guestmem_subrange(g, BASE + P, 2 * P, GUESTMEM_SUBRANGE_READONLY);
	assert_non_null(part);
	assert_fails(guestmem_view_create(part, 0, P, GUESTMEM_RIGHT_WRITE, 0, NULL), EACCES,
		     GUESTMEM_REASON_RIGHT);
	assert_fails(guestmem_view_create(part, P, 2 * P, GUESTMEM_RIGHT_READ, 0, NULL), ENXIO,
		     GUESTMEM_REASON_HOLE);
	fd = guestmem_view_create(part, P, P, GUESTMEM_RIGHT_READ, GUESTMEM_VIEW_KEEP, &other);
	assert_true(fd >= 0);
	assert_ok(guestmem_views(part, &views, &n));
	assert_int_equal(n, 2);
	assert_int_equal(views[0].id, id);
	assert_int_equal(views[0].rights, rights);
	assert_int_equal(views[0].address, 0);
	assert_int_equal(views[1].id, other);
	assert_int_equal(views[1].address, P);
	assert_int_equal(views[1].len, P);
	assert_int_equal(views[1].start, BASE + 2 * P);
	free(views);
	guestmem_close(part);
	close(fd);

	/* What is taken away is missed by who goes on. */
	assert_ok(guestmem_lock(v, 0, 1, GUESTMEM_DMA_FROM_DEVICE, 0, &lock, NULL, NULL));
	assert_fails(guestmem_view_limit(g, id, ~(uint32_t)GUESTMEM_RIGHT_WRITE, 0, 10, &nlocks),
		     ETIMEDOUT, GUESTMEM_REASON_LOCKED);
	assert_int_equal(nlocks, 1);
	assert_ok(guestmem_unlock(v, lock));
	assert_fails(guestmem_write8(v, 0, 1), EACCES, GUESTMEM_REASON_RIGHT);
	guestmem_last_error(&e);
	assert_int_equal(e.limit, rights & ~GUESTMEM_RIGHT_WRITE);
	assert_ok(guestmem_read64(v, 0, &value));
	assert_int_equal(value & 0xff, 11);
	assert_ok(guestmem_view_limit(g, 0, 0, GUESTMEM_VIEW_ALL, 0, &nlocks));
	assert_int_equal(nlocks, 0);
	assert_fails(guestmem_read64(v, 0, &value), ESTALE, GUESTMEM_REASON_REVOKED);
	assert_fails(guestmem_fill(v, 0, 1, 1), ESTALE, GUESTMEM_REASON_REVOKED);
	assert_null(guestmem_ptr(v, 0, 1));
	guestmem_close(v);
	assert_fails(guestmem_view_limit(g, id, 0, 0, 0, NULL), ENOENT, GUESTMEM_REASON_NONE);
	assert_ok(guestmem_views(g, &views, &n));
	assert_int_equal(n, 0);
	assert_null(views);
}

#define IOVA	0x40000000ULL
#define RW	(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)

static struct guestmem *new_domain(uint32_t rights)
{
	struct guestmem *d = guestmem_domain_create(g, P, 0, (1ULL << 48) - 1, rights);

	if (!d)
		fail_msg("%s", guestmem_strerror());
	return d;
}

static struct guestmem *new_session(struct guestmem *d, uint32_t rights, uint64_t *id)
{
	int fd = guestmem_session_create(d, rights, id);
	struct guestmem *s;

	assert_ok(fd);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	s = guestmem_from_fd(fd);
	assert_non_null(s);
	close(fd);
	return s;
}

static int map_one(struct guestmem *d, uint64_t iova, uint64_t len, uint64_t gpa, uint32_t rights)
{
	struct guestmem_mapping mapping = {
		.iova = iova,
		.len = len,
		.gpa = gpa,
		.rights = rights,
	};

	return guestmem_domain_map(d, &mapping, 1, NULL);
}

/* It has no memory, and no other kind of handle is one. */
static void test_domain_handles(void **state)
{
	const uint32_t rights = RW | GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK;
	struct guestmem *d = new_domain(rights), *other, *part;
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem_mapper *m;
	uint32_t handle;
	char byte;

	(void)state;
	assert_ok(guestmem_info(d, &info));
	/* Its owner may revoke sessions. */
	assert_int_equal(info.rights, rights | GUESTMEM_RIGHT_EXPORT);
	assert_true(info.domain && info.domain == info.view);
	assert_fails(guestmem_read(d, 0, &byte, 1), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_write(d, 0, &byte, 1), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_fill(d, 0, 1, 1), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_lock(d, 0, 1, GUESTMEM_DMA_TO_DEVICE, 0, &handle, NULL, NULL),
		     EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_null(guestmem_map(d, 0, page, PROT_READ));
	assert_int_equal(errno, EOPNOTSUPP);
	assert_non_null(strstr(guestmem_strerror(), "a domain has no memory"));
	assert_fails(guestmem_mlock_all(d, 0), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_session_release_all(d), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_null(guestmem_domain_create(d, P, 0, P - 1, RW));
	assert_int_equal(errno, EOPNOTSUPP);
	part = guestmem_subrange(g, 0, 1 << 30, 0);
	assert_null(guestmem_domain_create(part, P, 0, P - 1, RW));
	assert_int_equal(errno, EOPNOTSUPP);
	guestmem_close(part);
	part = guestmem_subrange(d, 0, 1 << 30, 0);
	assert_non_null(part);
	assert_null(guestmem_mapper_domain(part));
	assert_int_equal(errno, EOPNOTSUPP);
	guestmem_close(part);
	assert_null(guestmem_domain_create(g, P, 0, P - 1, 0));
	assert_int_equal(errno, EINVAL);
	assert_fails(guestmem_session_create(d, 0, NULL), EINVAL, GUESTMEM_REASON_RIGHT);
	assert_fails(guestmem_session_create(d, GUESTMEM_RIGHT_TRANSLATE, NULL), EACCES,
		     GUESTMEM_REASON_RIGHT);

	/* Another descriptor of it is the domain, too. */
	other = guestmem_from_fd(guestmem_fd(d));
	assert_non_null(other);
	assert_ok(map_one(d, IOVA, P, BASE, RW));
	m = guestmem_mapper_domain(d);
	assert_non_null(m);
	guestmem_close(d);
	guestmem_mapper_close(m);
	assert_ok(guestmem_info(other, &info));
	assert_true(info.nmappings == 1);
	assert_fails(map_one(other, IOVA, P, BASE, RW), EEXIST, GUESTMEM_REASON_OVERLAP);
	guestmem_close(other);
}

static void test_domain_mappings(void **state)
{
	struct guestmem *d = new_domain(RW);
	struct guestmem_mapping m[4] = {
		{ .iova = IOVA, .len = P, .gpa = BASE, .rights = RW },
		{ .iova = IOVA + P, .len = 2 * P, .gpa = BASE + 2 * P, .rights = RW },
		{ .iova = IOVA + 3 * P, .len = P, .gpa = BASE, .rights = GUESTMEM_RIGHT_READ },
		{ .iova = IOVA + 2 * P, .len = P, .rights = RW },
	};
	uint64_t iova = 0, generation = 0, now = 0;
	size_t n = 4, failed = 9;

	(void)state;
	/* All or none, and which one it was */
	assert_fails(guestmem_domain_map(d, m, 4, &failed), EEXIST, GUESTMEM_REASON_OVERLAP);
	assert_int_equal(failed, 3);
	assert_ok(guestmem_domain_map(d, m, 3, &failed));
	assert_fails(map_one(d, IOVA + 8 * P, P + 1, BASE, RW), EINVAL,
		     GUESTMEM_REASON_MISALIGNED);
	assert_int_equal(map_one(d, IOVA + 8 * P, P, BASE, 0), -EINVAL);
	assert_fails(map_one(d, (1ULL << 48) - P, 2 * P, BASE, RW), EINVAL,
		     GUESTMEM_REASON_APERTURE);
	assert_fails(guestmem_domain_map(d, m, 0, NULL), EINVAL, GUESTMEM_REASON_EMPTY);
	assert_fails(guestmem_domain_map(d, m, GUESTMEM_MAP_MAX + 1, NULL), EINVAL,
		     GUESTMEM_REASON_TOO_LONG);
	assert_fails(guestmem_domain_map(d, NULL, 1, NULL), EINVAL, GUESTMEM_REASON_NONE);

	/* Some at a time */
	n = 2;
	assert_int_equal(guestmem_domain_list(d, &iova, m, &n, &generation), 1);
	assert_int_equal(n, 2);
	assert_true(m[0].iova == IOVA && m[1].iova == IOVA + P && m[1].gpa == BASE + 2 * P);
	n = 2;
	assert_int_equal(guestmem_domain_list(d, &iova, m, &n, &now), 0);
	assert_int_equal(n, 1);
	assert_true(m[0].iova == IOVA + 3 * P && m[0].rights == GUESTMEM_RIGHT_READ);
	assert_true(now == generation);
	n = 0;
	assert_fails(guestmem_domain_list(d, &iova, m, &n, NULL), EINVAL, GUESTMEM_REASON_NONE);
	guestmem_close(d);

	/* There is an end, also where no address is behind it. */
	d = guestmem_domain_create(g, P, 0, UINT64_MAX, RW);
	assert_non_null(d);
	assert_ok(map_one(d, -P, P, BASE, RW));
	iova = 0;
	n = 1;
	assert_int_equal(guestmem_domain_list(d, &iova, m, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_true(m[0].iova == -P && m[0].len == P);
	guestmem_close(d);
}

static void test_sessions(void **state)
{
	const uint32_t rights = RW | GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK |
				GUESTMEM_RIGHT_TRANSLATE;
	struct guestmem *d = new_domain(rights), *s, *part;
	struct guestmem_piece pieces[4];
	uint32_t handle, other, lock;
	struct guestmem_extent e[4];
	struct iovec slice;
	unsigned char *p;
	uint64_t value = 0;
	uint32_t id;
	uint8_t byte;
	size_t n = 1;

	(void)state;
	id = add(BASE, 0, 4, 0);
	s = new_session(d, rights, NULL);
	assert_fails(guestmem_mlock_all(s, 0), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	assert_ok(map_one(d, IOVA, P, BASE + 2 * P, RW));
	assert_ok(map_one(d, IOVA + P, P, BASE, GUESTMEM_RIGHT_READ));
	mem[2 * page] = 33;
	mem[0] = 44;

	/* Only what is exported, as it was */
	assert_fails(guestmem_read64(s, IOVA, &value), ENXIO, GUESTMEM_REASON_HOLE);
	assert_non_null(strstr(guestmem_strerror(), "nothing is exported at IOVA 0x40000000"));
	assert_fails(guestmem_session_export(s, IOVA, 3 * P, GUESTMEM_RIGHT_READ, &handle, NULL,
					     NULL), ENXIO, GUESTMEM_REASON_HOLE);
	assert_true(error_addr() == IOVA + 2 * P);
	assert_fails(guestmem_session_export(s, IOVA, 2 * P, RW, &handle, NULL, NULL), EACCES,
		     GUESTMEM_REASON_PERMISSION);
	assert_fails(guestmem_session_export(s, IOVA + 8, P, GUESTMEM_RIGHT_READ, &handle, pieces,
					     &n), EMSGSIZE, GUESTMEM_REASON_OUTPUT);
	assert_int_equal(n, 2);
	assert_ok(guestmem_session_export(s, IOVA + 8, P, GUESTMEM_RIGHT_READ, &handle, pieces,
					  &n));
	assert_int_equal(n, 2);
	assert_true(pieces[0].iova == IOVA + 8 && pieces[0].len == P - 8 &&
		    pieces[0].gpa == BASE + 2 * P + 8 && pieces[0].rights == RW);
	assert_true(pieces[1].iova == IOVA + P && pieces[1].len == 8 && pieces[1].gpa == BASE);
	assert_ok(guestmem_read64(s, IOVA + P, &value));
	assert_int_equal(value & 0xff, 44);
	assert_fails(guestmem_read64(s, IOVA, &value), ENXIO, GUESTMEM_REASON_HOLE);
	assert_fails(guestmem_write8(s, IOVA + P, 1), EACCES, GUESTMEM_REASON_PERMISSION);
	assert_ok(guestmem_session_export(s, IOVA, P, RW, &other, NULL, NULL));
	assert_ok(guestmem_write8(s, IOVA, 34));
	assert_int_equal(mem[2 * page], 34);
	assert_ok(guestmem_copy(s, IOVA + 100, IOVA + P, 8));
	assert_int_equal(mem[2 * page + 100], 44);

	/* Whole pages of it can be mapped; it can be translated, and locked. */
	p = guestmem_map(s, IOVA, 2 * page, PROT_READ);
	assert_non_null(p);
	assert_int_equal(p[0], 34);
	assert_true(touch_gives_sigbus(p + page));
	n = 4;
	assert_ok(guestmem_translate(s, IOVA, P + 8, 0, e, &n));
	assert_true(n >= 1 && e[0].gpa == IOVA);
	assert_ok(guestmem_lock(s, IOVA, P, GUESTMEM_DMA_FROM_DEVICE, 0, &lock, NULL, NULL));
	assert_ok(guestmem_unlock(s, lock));
	/* There are no regions to look at. */
	assert_fails(guestmem_slice(s, IOVA, 1, PROT_READ, &slice), EOPNOTSUPP,
		     GUESTMEM_REASON_NONE);
	assert_null(guestmem_ptr(s, IOVA, 1));
	assert_int_equal(errno, EOPNOTSUPP);

	/* By a part, and by its addresses */
	part = guestmem_subrange(s, IOVA + P, P, GUESTMEM_SUBRANGE_READONLY);
	assert_non_null(part);
	assert_ok(guestmem_read8(part, 0, &byte));
	assert_int_equal(byte, 44);
	n = 4;
	assert_ok(guestmem_session_export(part, 16, 8, GUESTMEM_RIGHT_READ, &lock, pieces, &n));
	assert_true(n == 1 && pieces[0].iova == 16 && pieces[0].gpa == BASE + 16);
	assert_fails(guestmem_session_export(part, 0, 8, RW, &lock, NULL, NULL), EACCES,
		     GUESTMEM_REASON_RIGHT);
	assert_fails(guestmem_session_export(part, 0, P + 1, RW, &lock, NULL, NULL), ENXIO,
		     GUESTMEM_REASON_HOLE);
	assert_ok(guestmem_session_release(part, lock));
	assert_fails(guestmem_read8(part, P, &byte), ENXIO, GUESTMEM_REASON_HOLE);
	assert_non_null(strstr(guestmem_strerror(), "nothing is exported at IOVA"));
	guestmem_close(part);
	/* Who uses it is no DMA lock. */
	assert_fails(guestmem_remove(g, id), EBUSY, GUESTMEM_REASON_LOCKED);
	assert_true(error_need() == 0);
	assert_non_null(strstr(guestmem_strerror(), "sessions use the region at GPA 0x100000"));

	assert_ok(guestmem_session_release(s, other));
	assert_fails(guestmem_session_release(s, other), ENOENT, GUESTMEM_REASON_NONE);
	assert_fails(guestmem_write8(s, IOVA, 1), ENXIO, GUESTMEM_REASON_HOLE);
	assert_true(touch_gives_sigbus(p));
	assert_ok(guestmem_unmap(p, 2 * page));
	assert_int_equal(guestmem_session_release_all(s), 1);
	assert_int_equal(guestmem_session_release_all(s), 0);
	assert_fails(guestmem_domain_records(s, NULL, 0), EOPNOTSUPP, GUESTMEM_REASON_NONE);
	guestmem_close(s);
	guestmem_close(d);
}

/* Memory that is in no region: of this process, and of a file. */
static void test_domain_external(void **state)
{
	struct guestmem *d = new_domain(RW | GUESTMEM_RIGHT_TRANSLATE), *s;
	int fd = memfd_create("guestmem-test", MFD_CLOEXEC);
	struct guestmem_mapping m[2] = {
		{
			.iova = IOVA,
			.len = P,
			.gpa = (uintptr_t)mem + 5 * P,
			.rights = RW,
			.backing = GUESTMEM_BACKING_USER,
		}, {
			.iova = IOVA + P,
			.len = P,
			.gpa = P,
			.rights = RW,
			.backing = GUESTMEM_BACKING_FILE,
			.fd = fd,
		},
	};
	struct guestmem_piece pieces[2];
	uint64_t iova = 0;
	size_t failed, n = 2;
	uint32_t handle;
	char text[4] = "";

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)P), 0);
	assert_fails(guestmem_domain_map(d, m, 2, &failed), EINVAL, GUESTMEM_REASON_END_OF_FILE);
	assert_int_equal(failed, 1);
	assert_int_equal(ftruncate(fd, (off_t)(2 * P)), 0);
	m[0].gpa = 0;
	assert_fails(guestmem_domain_map(d, m, 2, &failed), EFAULT, GUESTMEM_REASON_UNMAPPED);
	assert_int_equal(failed, 0);
	m[0].gpa = (uintptr_t)mem + 5 * P;
	assert_ok(guestmem_domain_map(d, m, 2, NULL));
	s = new_session(d, RW | GUESTMEM_RIGHT_TRANSLATE, NULL);
	assert_ok(guestmem_session_export(s, IOVA + P - 2, 4, RW, &handle, pieces, &n));
	assert_int_equal(n, 2);
	assert_true(pieces[0].gpa == 0 && pieces[1].gpa == 0);
	assert_ok(guestmem_write(s, IOVA + P - 2, "abcd", 4));
	assert_memory_equal(mem + 6 * page - 2, "ab", 2);
	assert_int_equal(pread(fd, text, 2, (off_t)P), 2);
	assert_string_equal(text, "cd");
	assert_int_equal(guestmem_domain_list(d, &iova, m, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_true(m[1].backing == GUESTMEM_BACKING_FILE && m[1].gpa == 0 && m[1].fd == 0);
	close(fd);
	guestmem_close(s);
	guestmem_close(d);
}

static void test_domain_faults(void **state)
{
	int resolved = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct guestmem_domain_unmap u = { .size = sizeof(u), .iova = IOVA, .len = P };
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem *d = new_domain(RW), *s;
	struct guestmem_record r[8];
	uint64_t id, fault, count;
	uint32_t handle;
	uint8_t byte;

	(void)state;
	add(BASE, 0, 4, 0);
	s = new_session(d, RW, &id);
	assert_ok(guestmem_eventfd(s, told, GUESTMEM_EVENT_FAULT));
	assert_ok(fcntl(guestmem_fd(d), F_SETFL, O_NONBLOCK));
	assert_fails(guestmem_domain_records(d, r, 8), EAGAIN, GUESTMEM_REASON_NONE);
	assert_int_equal(guestmem_domain_records(d, NULL, 0), 0);
	assert_ok(map_one(d, IOVA, 2 * P, BASE, RW));
	assert_fails(guestmem_domain_unmap(d, &u), ERANGE, GUESTMEM_REASON_PARTIAL);
	assert_true(error_addr() == IOVA && error_need() == 2 * P);
	assert_fails(guestmem_domain_unmap(d, NULL), EINVAL, GUESTMEM_REASON_NONE);
	u.size = 8;
	assert_fails(guestmem_domain_unmap(d, &u), EINVAL, GUESTMEM_REASON_NONE);
	u.size = sizeof(u);

	/* With time, which is used well */
	u.len = 2 * P;
	u.flags = GUESTMEM_UNMAP_EVENTFD;
	u.eventfd = resolved;
	u.deadline_ms = GUESTMEM_WAIT_FOREVER;
	assert_ok(guestmem_session_export(s, IOVA, 8, RW, &handle, NULL, NULL));
	assert_ok(guestmem_domain_unmap(d, &u));
	assert_int_equal(u.nusers, 1);
	assert_int_equal(u.nmappings, 1);
	assert_true(u.fault != 0);
	fault = u.fault;
	assert_int_equal(read(told, &count, 8), 8);
	assert_int_equal(read(resolved, &count, 8), -1);
	assert_true(guestmem_read8(s, IOVA, &byte) < 0);
	assert_true(errno == ENXIO || errno == ESTALE);
	u.timeout_ms = 10;
	assert_fails(guestmem_domain_unmap(d, &u), ETIMEDOUT, GUESTMEM_REASON_USED);
	assert_int_equal(u.nusers, 1);
	assert_int_equal(u.nmappings, 0);
	assert_ok(map_one(d, IOVA, P, BASE + P, RW));
	assert_fails(guestmem_session_export(s, IOVA, 8, RW, &handle, NULL, NULL), ESTALE,
		     GUESTMEM_REASON_BROKEN);
	assert_ok(guestmem_info(s, &info));
	assert_int_equal(info.broken, 1);
	assert_int_equal(guestmem_session_release_all(s), 1);
	assert_int_equal(read(resolved, &count, 8), 8);
	/* Of both faults, that of the second unmap is about the same export. */
	assert_int_equal(guestmem_domain_records(d, r, 8), 4);
	assert_int_equal(r[0].type, GUESTMEM_RECORD_FAULT);
	assert_true(r[0].session == id && r[0].fault == fault && r[0].iova == IOVA &&
		    r[0].len == 2 * P && r[0].pid == (uint32_t)getpid());
	assert_int_equal(r[1].type, GUESTMEM_RECORD_FAULT);
	assert_true(r[1].fault == u.fault && u.fault != fault);
	for (size_t i = 2; i < 4; i++) {
		assert_int_equal(r[i].type, GUESTMEM_RECORD_RESOLVED);
		assert_true(r[i].fault == fault || r[i].fault == u.fault);
		assert_true(r[i].seq == r[0].seq + i);
	}

	/* And without any */
	assert_ok(guestmem_session_export(s, IOVA, 8, RW, &handle, NULL, NULL));
	assert_ok(guestmem_write8(s, IOVA, 5));
	assert_int_equal(mem[page], 5);
	u = (struct guestmem_domain_unmap){ .size = sizeof(u), .flags = GUESTMEM_UNMAP_ALL };
	assert_ok(guestmem_domain_unmap(d, &u));
	assert_int_equal(u.nmappings, 1);
	assert_true(guestmem_write8(s, IOVA, 6) < 0);
	assert_int_equal(mem[page], 5);
	assert_fails(guestmem_session_release(s, handle), ENOENT, GUESTMEM_REASON_NONE);
	assert_int_equal(guestmem_domain_records(d, r, 8), 3);
	assert_int_equal(r[1].type, GUESTMEM_RECORD_FORCED);
	assert_true(r[1].session == id);

	/* The end of the domain is that of its sessions. */
	guestmem_close(d);
	assert_fails(guestmem_read8(s, IOVA, &byte), ESTALE, GUESTMEM_REASON_REVOKED);
	assert_fails(guestmem_session_export(s, IOVA, 8, RW, &handle, NULL, NULL), ESTALE,
		     GUESTMEM_REASON_REVOKED);
	guestmem_close(s);
	close(resolved);
	close(told);
}

/* In a child, since a limit and an identity cannot be taken back. */
static int memlock_child(void)
{
	struct rlimit limit = { 2 * P, 2 * P };
	struct guestmem_error e;

	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setresuid(65534, 65534, 65534) < 0)
		return 2;
	if (guestmem_add_user(g, BASE, 3 * P, mem, 0, NULL) != -ENOMEM)
		return 3;
	guestmem_last_error(&e);
	if (e.reason != GUESTMEM_REASON_MEMLOCK || e.need != 3 * P || e.limit != 2 * P)
		return 4;
	if (!strstr(guestmem_strerror(), "RLIMIT_MEMLOCK"))
		return 5;
	return guestmem_add_user(g, BASE, 2 * P, mem, 0, NULL) == 0 ? 0 : 6;
}

static void test_memlock(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0)
		_exit(memlock_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(open_modes), T(from_fd), T(info), T(regions), T(many_regions),
		T(add_errors), T(translate), T(lock), T(revoke), T(read_write),
		T(readonly), T(fill_copy), T(cmpxchg), T(atomic), T(map), T(map_lives),
		T(top), T(eventfd), T(views), T(domain_handles), T(domain_mappings), T(sessions),
		T(domain_external), T(domain_faults), T(memlock),
	};
	struct guestmem *probe = guestmem_open(O_RDWR);

	if (!probe) {
		fprintf(stderr, "skipped: %s\n", guestmem_strerror());
		return 77;
	}
	guestmem_close(probe);
	page = (size_t)sysconf(_SC_PAGESIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
