// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Memory that is gone: files that were cut, huge pages that there are not. And who is told. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends.h"
#include "faults.h"

static struct guestmem *g;

static int setup(void **state)
{
	(void)state;
	g = guestmem_create(1ULL << 30);
	return !g;
}

static int teardown(void **state)
{
	(void)state;
	guestmem_set_log(NULL, NULL);
	guestmem_close(g);
	return 0;
}

static void assert_at(uint64_t gpa, uint64_t done)
{
	struct guestmem_error err;

	guestmem_last_error(&err);
	assert_true(err.addr == gpa);
	assert_true(guestmem_last_done() == done);
}

static void test_file_that_is_cut(void **state)
{
	static char buf[4 * PAGE];
	int fd = file_of(4 * PAGE);
	uint64_t v = 1, offset = 0;
	struct iovec s;

	(void)state;
	assert_ok(guestmem_add_file(g, PAGE, 4 * PAGE, fd, 0, 0, NULL));
	assert_ok(guestmem_fill(g, PAGE, 4 * PAGE, 3));
	assert_ok(guestmem_slice(g, PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, &s));
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	assert_fails(guestmem_read(g, PAGE + 7, buf, 4 * PAGE - 7), EFAULT);
	assert_at(3 * PAGE, 2 * PAGE - 7);
	assert_fails(guestmem_write(g, 3 * PAGE - 7, buf, 100), EFAULT);
	assert_at(3 * PAGE, 7);
	assert_fails(guestmem_fill(g, 3 * PAGE - 7, 100, 1), EFAULT);
	assert_at(3 * PAGE, 7);
	assert_fails(guestmem_copy(g, PAGE, 3 * PAGE - 7, 100), EFAULT);
	assert_at(3 * PAGE, 7);
	assert_fails(guestmem_copy(g, 3 * PAGE - 7, PAGE, 100), EFAULT);
	assert_at(3 * PAGE, 7);
	assert_fails(guestmem_read64(g, 3 * PAGE - 3, &v), EFAULT);
	assert_at(3 * PAGE, 3);
	assert_fails(guestmem_load(g, 3 * PAGE, &v, 8, __ATOMIC_RELAXED), EFAULT);
	assert_at(3 * PAGE, 0);
	assert_fails(guestmem_store(g, 3 * PAGE, &v, 8, __ATOMIC_RELAXED), EFAULT);
	assert_fails(guestmem_cmpxchg(g, 3 * PAGE, &v, &v, 8), EFAULT);
	assert_fails(guestmem_atomic(g, 3 * PAGE, GUESTMEM_ATOMIC_ADD, &v, NULL, 8), EFAULT);
	assert_int_equal(guestmem_is_zero(g, 3 * PAGE, 1), -EFAULT);
	assert_fails(guestmem_flush(g, 3 * PAGE - 5, 10), EFAULT);
	assert_at(3 * PAGE, 5);
	assert_fails(guestmem_read_from(g, 3 * PAGE, fd, &offset, 10), EFAULT);
	assert_fails(guestmem_write_to(g, 3 * PAGE, fd, &offset, 10), EFAULT);
	assert_int_equal(guestmem_read_some(g, PAGE, buf, 4 * PAGE), 2 * PAGE);
	s.iov_base = (char *)s.iov_base + PAGE;
	assert_fails(guestmem_slice_copy(&(struct iovec){ buf, 3 * PAGE }, &s), EFAULT);
	assert_true(guestmem_last_done() == PAGE);
	/* It is there again, if the file is. */
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	assert_ok(guestmem_read(g, PAGE + 7, buf, 4 * PAGE - 7));
	close(fd);
}

static void test_sealed_memory(void **state)
{
	uint64_t offset, len;
	int fd;

	(void)state;
	assert_ok(guestmem_add_anon(g, 0, 2 * PAGE, 0, NULL));
	assert_ok(guestmem_backing(g, 0, &fd, &offset, &len));
	assert_int_equal(ftruncate(fd, PAGE), -1);
	assert_int_equal(ftruncate(fd, 3 * PAGE), -1);
}

static void test_protected(void **state)
{
	char *p, byte;

	(void)state;
	assert_ok(guestmem_add_anon(g, 0, 4 * PAGE, 0, NULL));
	p = guestmem_ptr(g, 0, 4 * PAGE);
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
	/* The regions say that it is there: not for ever, then. */
	assert_fails(guestmem_read(g, PAGE, &byte, 1), EFAULT);
	assert_fails(guestmem_fill(g, 5, PAGE, 1), EFAULT);
	assert_at(PAGE, PAGE - 5);
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_ok(guestmem_read(g, PAGE, &byte, 1));
}

/* Huge pages, if there are none: when they are asked for, or when they are touched. */
static void test_huge_pages(void **state)
{
	uint64_t len = 2ULL << 20;
	uint32_t id;
	char byte = 1;

	(void)state;
	assert_fails(guestmem_add_anon(g, PAGE, len, GUESTMEM_ANON_HUGETLB, NULL), EINVAL);
	for (int private = 0; private < 2; private++) {
		uint32_t flags = GUESTMEM_ANON_HUGETLB | (private ? GUESTMEM_ANON_PRIVATE : 0);
		int ret = guestmem_add_anon(g, 0, 1ULL << 29, flags, &id);

		/* They are reserved: what can be added can be touched. */
		if (!ret) {
			assert_ok(guestmem_fill(g, 0, 1ULL << 29, 1));
			assert_ok(guestmem_discard(g, 0, len));
			assert_int_equal(guestmem_is_zero(g, 0, len), 1);
			assert_ok(guestmem_remove(g, id));
			continue;
		}
		/* None free, or none at all here */
		if (ret != -ENOMEM && ret != -EINVAL && ret != -ENODEV)
			failed("%d: %s", ret, guestmem_strerror());
		/* It has left nothing there. */
		assert_fails(guestmem_read(g, 0, &byte, 1), ENXIO);
		if (!guestmem_add_anon(g, 0, len, flags, &id)) {
			guestmem_write(g, 0, &byte, 1);
			assert_ok(guestmem_remove(g, id));
		}
		assert_ok(guestmem_add_anon(g, 0, PAGE, 0, &id));
		assert_ok(guestmem_write(g, 0, &byte, 1));
		assert_ok(guestmem_remove(g, id));
	}
}

/* Of a file, they are taken when they are touched. */
static void test_huge_pages_exhausted(void **state)
{
	uint64_t len = 1ULL << 40;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	struct guestmem *big = guestmem_create(len);
	char byte = 1;

	(void)state;
	if (fd >= 0 && !ftruncate(fd, (off_t)len) &&
	    !guestmem_add_file(big, 0, len, fd, 0, 0, NULL)) {
		for (uint64_t at = 0; at < len && !guestmem_write(big, at, &byte, 1); at += 2 << 20)
			;
		assert_int_equal(errno, EFAULT);
		assert_true(guestmem_last_done() == 0);
	}
	if (fd >= 0)
		close(fd);
	guestmem_close(big);
}

static void test_too_many(void **state)
{
	struct guestmem_error err;
	struct guestmem_info info = { .size = sizeof(info) };
	uint32_t i, id = 0;
	uint32_t *locks = calloc(65537, sizeof(*locks));

	(void)state;
	assert_ok(guestmem_info(g, &info));
	for (i = 0; i < info.max_regions; i++)
		assert_ok(guestmem_add_anon(g, 2 * i * PAGE, PAGE, GUESTMEM_ANON_PRIVATE, &id));
	assert_fails(guestmem_add_anon(g, 2 * i * PAGE, PAGE, GUESTMEM_ANON_PRIVATE, NULL), ENOSPC);
	guestmem_last_error(&err);
	assert_true(err.reason == GUESTMEM_REASON_LIMIT && err.need == info.max_regions + 1 &&
		    err.limit == info.max_regions);
	assert_ok(guestmem_write8(g, (i - 1) * 2 * PAGE, 1));
	assert_ok(guestmem_remove(g, id));
	assert_ok(guestmem_add_anon(g, 2 * i * PAGE, PAGE, GUESTMEM_ANON_PRIVATE, NULL));
	for (i = 0; i < info.max_locks; i++)
		assert_ok(guestmem_lock(g, 0, 1, 1, 0, &locks[i], NULL, NULL));
	assert_fails(guestmem_lock(g, 0, 1, 1, 0, &locks[i], NULL, NULL), ENOSPC);
	assert_ok(guestmem_unlock(g, locks[7]));
	assert_ok(guestmem_lock(g, 0, 1, 1, 0, &locks[i], NULL, NULL));
	assert_int_not_equal(locks[i], locks[7]);
	/* Those that are left end with the guest. */
	free(locks);
}

static struct {
	void *ctx;
	int err;
	char text[300];
	unsigned int calls;
} heard;

static void hear(void *ctx, int err, const char *text)
{
	heard.ctx = ctx;
	heard.err = err;
	heard.calls++;
	snprintf(heard.text, sizeof(heard.text), "%s", text);
	errno = 1;
}

static void test_log(void **state)
{
	char byte;

	(void)state;
	guestmem_set_log(hear, &heard);
	assert_fails(guestmem_read(g, 0xa0000, &byte, 1), ENXIO);
	assert_int_equal(heard.calls, 1);
	assert_ptr_equal(heard.ctx, &heard);
	assert_int_equal(heard.err, ENXIO);
	assert_string_equal(heard.text, "cannot read: there is no region at GPA 0xa0000");
	assert_string_equal(guestmem_strerror(), heard.text);
	assert_ok(guestmem_read(g, 0, &byte, 0));
	assert_int_equal(heard.calls, 1);
	/* Once each, also where one call is made of others. */
	heard.calls = 0;
	assert_null_fails(guestmem_subrange(g, 0, 1, 8), EOPNOTSUPP);
	assert_int_equal(heard.calls, 1);
	guestmem_set_log(NULL, NULL);
	assert_fails(guestmem_read(g, 0, &byte, 1), ENXIO);
	assert_int_equal(heard.calls, 1);
}

static void test_texts(void **state)
{
	char byte;
	uint32_t id;

	(void)state;
	assert_fails(guestmem_read(g, 1ULL << 40, &byte, 1), ENXIO);
	assert_string_equal(guestmem_strerror(),
			    "cannot read: there is no region at GPA 0x10000000000");
	assert_ok(guestmem_add_anon(g, 0, PAGE, GUESTMEM_REGION_READONLY, &id));
	assert_fails(guestmem_fill(g, 5, 1, 1), EACCES);
	assert_string_equal(guestmem_strerror(),
			    "cannot fill: the region at GPA 0x5 is read-only");
	assert_fails(guestmem_add_anon(g, 0, PAGE, 0, NULL), EEXIST);
	assert_string_equal(guestmem_strerror(),
		"cannot add the region: the range at GPA 0x0 overlaps region 4096");
	assert_fails(guestmem_remove(g, 1), ENOENT);
	assert_string_equal(guestmem_strerror(),
			    "cannot remove the region: there is no such region");
	assert_fails(guestmem_fd(g), EOPNOTSUPP);
	assert_fails(guestmem_view_create(g, 0, 4096, 1, 0, NULL), EOPNOTSUPP);
	assert_fails(guestmem_view_limit(g, 1, 0, 0, 0, NULL), EOPNOTSUPP);
	assert_fails(guestmem_eventfd(g, 0, 1), EOPNOTSUPP);
	assert_string_equal(guestmem_strerror(),
			    "cannot register the eventfd: only /dev/guestmem has events");
	assert_null_fails(guestmem_map(g, 0, 1, PROT_READ), EOPNOTSUPP);
}

static volatile int foreign;
static void *volatile foreign_addr;

static void mine(int sig, siginfo_t *info, void *ucontext)
{
	(void)ucontext;
	foreign = sig;
	foreign_addr = info->si_addr;
	mprotect(info->si_addr, PAGE, PROT_READ);
}

/* A fault that is not ours goes to who was there before, on his stack or another. */
static void *fault_on_a_thread(void *arg)
{
	stack_t ss = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
	char byte = 5;

	assert_int_equal(sigaltstack(&ss, NULL), 0);
	assert_int_equal(guestmem_read(g, 0, &byte, 1), -ENXIO);
	assert_int_equal(*(volatile char *)arg, 0);
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, NULL);
	free(ss.ss_sp);
	return NULL;
}

static void test_whose_fault(void **state)
{
	struct sigaction sa = { .sa_sigaction = mine, .sa_flags = SA_SIGINFO }, old;
	pthread_t thread;
	char byte, *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	sigaction(SIGSEGV, &sa, &old);
	assert_ok(guestmem_faults(GUESTMEM_FAULTS_RECOVER));
	assert_fails(guestmem_read(g, 0, &byte, 1), ENXIO);
	assert_int_equal(foreign, 0);
	byte = *(volatile char *)p;
	assert_int_equal(foreign, SIGSEGV);
	assert_ptr_equal(foreign_addr, p);
	mprotect(p, PAGE, PROT_NONE);
	foreign = 0;
	assert_int_equal(pthread_create(&thread, NULL, fault_on_a_thread, p), 0);
	pthread_join(thread, NULL);
	assert_int_equal(foreign, SIGSEGV);
	/* One that somebody sent is nobody's access. */
	foreign = 0;
	mprotect(p, PAGE, PROT_READ);
	raise(SIGSEGV);
	assert_int_equal(foreign, SIGSEGV);
	sigaction(SIGSEGV, &old, NULL);
	assert_ok(guestmem_faults(GUESTMEM_FAULTS_RECOVER));
	munmap(p, PAGE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(file_that_is_cut), T(sealed_memory), T(protected), T(huge_pages),
		T(huge_pages_exhausted), T(too_many),
		T(log), T(texts), T(whose_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
