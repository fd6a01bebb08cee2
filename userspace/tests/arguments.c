// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* What the library refuses by itself, and how it fails without a device. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestmem.h"

#define assert_fails(call, err) do {					\
	errno = 0;							\
	assert_int_equal((call), -(err));				\
	assert_int_equal(errno, (err));					\
	assert_int_equal(guestmem_last_error(NULL), -(err));		\
	assert_true(strlen(guestmem_strerror()) > 10);			\
} while (0)

#define assert_null_fails(call, err) do {				\
	errno = 0;							\
	assert_null(call);						\
	assert_int_equal(errno, (err));					\
	assert_int_equal(guestmem_last_error(NULL), -(err));		\
} while (0)

static void test_null(void **state)
{
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem_domain_unmap unmap = { .size = sizeof(unmap) };
	struct guestmem_mapping mapping = { 0 };
	struct guestmem_record record;
	struct guestmem_piece piece;
	struct guestmem_extent e[1];
	struct guestmem_region *r;
	struct guestmem_view *w;
	uint64_t v = 0;
	uint32_t id;
	size_t n = 1;
	char buf[8];

	(void)state;
	assert_fails(guestmem_fd(NULL), EINVAL);
	assert_fails(guestmem_info(NULL, &info), EINVAL);
	assert_fails(guestmem_eventfd(NULL, 0, 1), EINVAL);
	assert_fails(guestmem_add_user(NULL, 0, 4096, buf, 0, &id), EINVAL);
	assert_fails(guestmem_add_file(NULL, 0, 4096, 0, 0, 0, &id), EINVAL);
	assert_fails(guestmem_remove(NULL, 1), EINVAL);
	assert_fails(guestmem_revoke(NULL, 1, 0, NULL), EINVAL);
	assert_fails(guestmem_regions(NULL, &r, &n), EINVAL);
	assert_null(r);
	assert_int_equal(n, 0);
	n = 1;
	assert_fails(guestmem_views(NULL, &w, &n), EINVAL);
	assert_null(w);
	assert_int_equal(n, 0);
	assert_fails(guestmem_view_create(NULL, 0, 4096, 1, 0, &v), EINVAL);
	assert_fails(guestmem_view_limit(NULL, 1, 0, 0, 0, &id), EINVAL);
	assert_null_fails(guestmem_domain_create(NULL, 4096, 0, UINT64_MAX, 1), EINVAL);
	assert_fails(guestmem_domain_map(NULL, &mapping, 1, &n), EINVAL);
	assert_int_equal(n, 0);
	assert_fails(guestmem_domain_unmap(NULL, &unmap), EINVAL);
	n = 1;
	assert_fails(guestmem_domain_list(NULL, &v, &mapping, &n, NULL), EINVAL);
	assert_int_equal(n, 0);
	assert_fails(guestmem_domain_records(NULL, &record, 1), EINVAL);
	assert_fails(guestmem_session_create(NULL, 1, &v), EINVAL);
	n = 1;
	assert_fails(guestmem_session_export(NULL, 0, 1, 1, &id, &piece, &n), EINVAL);
	assert_int_equal(n, 0);
	assert_fails(guestmem_session_release(NULL, 1), EINVAL);
	assert_fails(guestmem_session_release_all(NULL), EINVAL);
	assert_null_fails(guestmem_mapper_domain(NULL), EINVAL);
	assert_null_fails(guestmem_mapper_vfio(NULL, -1), EINVAL);
	assert_null_fails(guestmem_mapper_iommufd(NULL, -1, 1), EINVAL);
	assert_fails(guestmem_mapper_map(NULL, 0, 4096, 0, 1), EINVAL);
	assert_fails(guestmem_mapper_unmap(NULL, 0, 4096), EINVAL);
	assert_fails(guestmem_mapper_reset(NULL), EINVAL);
	n = 1;
	assert_fails(guestmem_translate(NULL, 0, 1, 0, e, &n), EINVAL);
	assert_int_equal(n, 0);
	assert_fails(guestmem_translate(NULL, 0, 1, 0, e, NULL), EINVAL);
	assert_fails(guestmem_lock(NULL, 0, 1, 1, 0, &id, NULL, NULL), EINVAL);
	assert_fails(guestmem_lock_pages(NULL, &v, 1, 1, 0, &id, NULL, NULL), EINVAL);
	assert_fails(guestmem_unlock(NULL, 1), EINVAL);
	assert_fails(guestmem_read(NULL, 0, buf, 8), EINVAL);
	assert_fails(guestmem_write(NULL, 0, buf, 8), EINVAL);
	assert_fails(guestmem_read_some(NULL, 0, buf, 8), EINVAL);
	assert_fails(guestmem_write_some(NULL, 0, buf, 8), EINVAL);
	assert_fails(guestmem_fill(NULL, 0, 8, 0), EINVAL);
	assert_fails(guestmem_copy(NULL, 0, 8, 8), EINVAL);
	assert_fails(guestmem_cmpxchg(NULL, 0, &v, &v, 8), EINVAL);
	assert_fails(guestmem_atomic(NULL, 0, GUESTMEM_ATOMIC_ADD, &v, &v, 8), EINVAL);
	assert_null_fails(guestmem_map(NULL, 0, 1, PROT_READ), EINVAL);
	errno = 5;
	guestmem_close(NULL);
	guestmem_mapper_close(NULL);
	assert_int_equal(errno, 5);
}

static void test_open(void **state)
{
	(void)state;
	assert_null_fails(guestmem_open(O_RDWR | O_CREAT), EINVAL);
	assert_null_fails(guestmem_open(O_RDWR | O_NONBLOCK), EINVAL);
	assert_null_fails(guestmem_open(O_ACCMODE), EINVAL);
	assert_null_fails(guestmem_open(-1), EINVAL);
	if (access(GUESTMEM_DEVICE, F_OK) == 0)
		return;
	assert_null_fails(guestmem_open(O_RDWR), ENOENT);
	assert_string_equal(guestmem_strerror(),
		"cannot open /dev/guestmem: the module is not loaded (modprobe guestmem)");
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_wrong_fd(void **state)
{
	static const char * const paths[] = { "/dev/null", "/dev/zero", "/", "/proc/self/exe" };
	unsigned int before = open_fds();
	int p[2], s[2], fd;

	(void)state;
	assert_null_fails(guestmem_from_fd(-1), EBADF);
	assert_string_equal(guestmem_strerror(), "cannot use the descriptor: it is not open");
	assert_null_fails(guestmem_from_fd(INT_MAX), EBADF);
	assert_int_equal(pipe(p), 0);
	assert_null_fails(guestmem_from_fd(p[0]), EBADF);
	assert_string_equal(guestmem_strerror(),
			    "cannot use the descriptor: it is not an open /dev/guestmem");
	assert_null_fails(guestmem_from_fd(p[1]), EBADF);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	assert_null_fails(guestmem_from_fd(s[0]), EBADF);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		fd = open(paths[i], O_RDONLY);
		assert_true(fd >= 0);
		assert_null_fails(guestmem_from_fd(fd), EBADF);
		close(fd);
		fd = open(paths[i], O_PATH);
		assert_null_fails(guestmem_from_fd(fd), EBADF);
		close(fd);
	}
	close(p[0]);
	close(p[1]);
	close(s[0]);
	close(s[1]);
	assert_int_equal(open_fds(), before);
}

/* What only a domain, a session or an IOMMU does. */
static void test_wrong_kind(void **state)
{
	struct guestmem_domain_unmap unmap = { .size = sizeof(unmap) };
	struct guestmem *g = guestmem_create(1 << 21);
	struct guestmem_mapping mapping = { 0 };
	struct guestmem_record record;
	uint64_t iova = 0;
	uint32_t handle;
	size_t n = 1;
	int null = open("/dev/null", O_RDWR);

	(void)state;
	assert_non_null(g);
	assert_true(null >= 0);
	assert_null_fails(guestmem_domain_create(g, 4096, 0, UINT64_MAX, 1), EOPNOTSUPP);
	assert_fails(guestmem_domain_map(g, &mapping, 1, NULL), EOPNOTSUPP);
	assert_fails(guestmem_domain_unmap(g, &unmap), EOPNOTSUPP);
	assert_fails(guestmem_domain_list(g, &iova, &mapping, &n, NULL), EOPNOTSUPP);
	assert_fails(guestmem_domain_records(g, &record, 1), EOPNOTSUPP);
	assert_fails(guestmem_session_create(g, 1, NULL), EOPNOTSUPP);
	assert_fails(guestmem_session_export(g, 0, 1, 1, &handle, NULL, NULL), EOPNOTSUPP);
	assert_fails(guestmem_session_release(g, 1), EOPNOTSUPP);
	assert_fails(guestmem_session_release_all(g), EOPNOTSUPP);
	assert_null_fails(guestmem_mapper_domain(g), EOPNOTSUPP);
	assert_null_fails(guestmem_mapper_vfio(g, -1), EBADF);
	assert_null_fails(guestmem_mapper_vfio(g, null), EBADF);
	assert_string_equal(guestmem_strerror(),
			    "cannot make the mapper: it is not a VFIO container");
	assert_null(guestmem_mapper_iommufd(g, null, 1));
	assert_true(errno == EBADF || errno == EOPNOTSUPP);
	close(null);
	guestmem_close(g);
}

static void test_unmap(void **state)
{
	char *p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_int_equal(guestmem_unmap(NULL, 0), 0);
	assert_fails(guestmem_unmap(p, 0), EINVAL);
	assert_fails(guestmem_unmap(p + 1, SIZE_MAX), EINVAL);
	assert_int_equal(guestmem_unmap(p + 4095, 2), 0);
	assert_int_equal(msync(p, 8192, MS_ASYNC), -1);
}

static void *other_thread(void *arg)
{
	(void)arg;
	assert_int_equal(guestmem_last_error(NULL), 0);
	assert_string_equal(guestmem_strerror(), "no error");
	guestmem_unlock(NULL, 0);
	return NULL;
}

static void test_errors_are_per_thread(void **state)
{
	pthread_t thread;

	(void)state;
	guestmem_from_fd(-1);
	assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
	pthread_join(thread, NULL);
	assert_int_equal(guestmem_last_error(NULL), -EBADF);
}

static void test_version(void **state)
{
	unsigned int major, minor;

	(void)state;
	assert_int_equal(sscanf(guestmem_version(), "%u.%u", &major, &minor), 2);
	assert_int_equal(major, GUESTMEM_VERSION_MAJOR);
	assert_int_equal(minor, GUESTMEM_VERSION_MINOR);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_wrong_fd),
		cmocka_unit_test(test_wrong_kind),
		cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_errors_are_per_thread),
		cmocka_unit_test(test_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
