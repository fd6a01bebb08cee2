// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* From files into the guest, and back. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "backends.h"

static unsigned char buf[16 * PAGE], out[16 * PAGE];

static void patterned(unsigned int seed)
{
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (unsigned char)((i + seed) * 37 >> 2);
}

static void test_offset(struct env *e)
{
	int fd = file_of(0);
	uint64_t offset = 100;

	patterned(1);
	assert_int_equal(pwrite(fd, buf, 10 * PAGE, 0), 10 * PAGE);
	/* Across regions; the file's own position stays. */
	assert_ok(guestmem_read_from(e->g, at(e, SECOND - PAGE - 7), fd, &offset, 3 * PAGE));
	assert_memory_equal(e->mem + SECOND - PAGE - 7, buf + 100, 3 * PAGE);
	assert_true(offset == 100 + 3 * PAGE);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	assert_int_equal(guestmem_read_from_some(e->g, at(e, 5), fd, &offset, 10), 10);
	assert_memory_equal(e->mem + 5, buf + 100 + 3 * PAGE, 10);
	assert_true(offset == 110 + 3 * PAGE);
	/* By the position */
	assert_ok(guestmem_read_from(e->g, at(e, 0), fd, NULL, 50));
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 50);
	assert_memory_equal(e->mem, buf, 50);
	assert_int_equal(guestmem_read_from_some(e->g, at(e, 0), fd, NULL, 50), 50);
	assert_memory_equal(e->mem, buf + 50, 50);
	/* To its end */
	offset = 10 * PAGE - 30;
	memset(e->mem, 0x11, 100);
	assert_fails(guestmem_read_from(e->g, at(e, 0), fd, &offset, 50), ENODATA);
	assert_true(guestmem_last_done() == 30);
	assert_true(offset == 10 * PAGE);
	assert_memory_equal(e->mem, buf + 10 * PAGE - 30, 30);
	assert_int_equal(e->mem[30], 0x11);
	assert_int_equal(guestmem_read_from_some(e->g, at(e, 0), fd, &offset, 50), 0);
	offset -= 7;
	assert_int_equal(guestmem_read_from_some(e->g, at(e, 0), fd, &offset, 50), 7);
	/* And back, read-only memory too */
	offset = 3;
	if (e->has & F_BACKING)
		memset(e->mem + READONLY, 0x42, HOLE - READONLY);
	assert_ok(guestmem_write_to(e->g, at(e, READONLY - PAGE), fd, &offset, 2 * PAGE));
	assert_true(offset == 3 + 2 * PAGE);
	assert_int_equal(pread(fd, out, 2 * PAGE, 3), 2 * PAGE);
	assert_memory_equal(out, e->mem + READONLY - PAGE, 2 * PAGE);
	assert_int_equal(guestmem_write_to_some(e->g, at(e, 0), fd, NULL, 9), 9);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 109);
	close(fd);
}

/* Pieces of odd lengths, slowly */
static void *feed(void *arg)
{
	int fd = *(int *)arg;
	size_t n;

	for (size_t i = 0; i < 10 * PAGE; i += n) {
		n = 10 * PAGE - i < 777 ? 10 * PAGE - i : 777;
		assert_int_equal(write(fd, buf + i, n), (ssize_t)n);
		if (i % 5 == 0)
			usleep(100);
	}
	close(fd);
	return NULL;
}

static void *drain(void *arg)
{
	ssize_t n;
	size_t got = 0;

	while ((n = read(*(int *)arg, out + got, 1000)) > 0)
		got += (size_t)n;
	return (void *)got;
}

static void test_pipe(struct env *e)
{
	pthread_t thread;
	void *got;
	int p[2];

	patterned(9);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(pthread_create(&thread, NULL, feed, &p[1]), 0);
	assert_ok(guestmem_read_from(e->g, at(e, 11), p[0], NULL, 8 * PAGE));
	assert_memory_equal(e->mem + 11, buf, 8 * PAGE);
	/* The rest, and no more */
	assert_fails(guestmem_read_from(e->g, at(e, 11), p[0], NULL, 3 * PAGE), ENODATA);
	assert_true(guestmem_last_done() == 2 * PAGE);
	assert_memory_equal(e->mem + 11, buf + 8 * PAGE, 2 * PAGE);
	assert_int_equal(guestmem_read_from_some(e->g, at(e, 11), p[0], NULL, 5), 0);
	pthread_join(thread, NULL);
	close(p[0]);

	assert_int_equal(pipe(p), 0);
	assert_int_equal(pthread_create(&thread, NULL, drain, &p[0]), 0);
	assert_ok(guestmem_write_to(e->g, at(e, 3), p[1], NULL, 11 * PAGE));
	close(p[1]);
	pthread_join(thread, &got);
	assert_int_equal((uintptr_t)got, 11 * PAGE);
	assert_memory_equal(out, e->mem + 3, 11 * PAGE);
	close(p[0]);
}

static void test_into_hole(struct env *e)
{
	int fd = file_of(10 * PAGE);
	uint64_t offset = 0;
	struct guestmem_error err;

	if (!(e->has & F_REGIONS))
		return;
	assert_fails(guestmem_read_from(e->g, at(e, HOLE2 - 100), fd, &offset, 200), ENXIO);
	assert_failed_at(e, HOLE2, 100);
	assert_true(offset == 100);
	offset = 0;
	assert_int_equal(guestmem_read_from_some(e->g, at(e, HOLE2 - 100), fd, &offset, 200), 100);
	assert_fails(guestmem_read_from_some(e->g, at(e, HOLE2), fd, &offset, 200), ENXIO);
	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_HOLE);
	assert_fails(guestmem_read_from(e->g, at(e, READONLY - 5), fd, &offset, 10), EACCES);
	assert_failed_at(e, READONLY, 5);
	assert_fails(guestmem_write_to(e->g, at(e, HOLE - 5), fd, &offset, 10), ENXIO);
	assert_failed_at(e, HOLE, 5);
	assert_int_equal(guestmem_write_to_some(e->g, at(e, HOLE - 5), fd, &offset, 10), 5);
	assert_fails(guestmem_write_to_some(e->g, at(e, HOLE), fd, &offset, 10), ENXIO);
	close(fd);
}

static void test_refused(struct env *e)
{
	int fd = file_of(PAGE), p[2];
	uint64_t offset = 0;

	assert_ok(guestmem_read_from(e->g, at(e, HOLE), -1, NULL, 0));
	assert_ok(guestmem_write_to(e->g, UINT64_MAX, -1, NULL, 0));
	assert_int_equal(guestmem_read_from_some(e->g, at(e, 0), -1, NULL, 0), 0);
	assert_fails(guestmem_read_from(e->g, UINT64_MAX, fd, NULL, 2), EOVERFLOW);
	assert_fails(guestmem_write_to(e->g, UINT64_MAX, fd, NULL, 2), EOVERFLOW);
	assert_true(guestmem_read_from_some(e->g, UINT64_MAX, fd, NULL, 2) < 0);
	assert_fails(guestmem_read_from(NULL, 0, fd, NULL, 2), EINVAL);
	assert_fails(guestmem_write_to_some(NULL, 0, fd, NULL, 2), EINVAL);
	if (!(e->has & F_SLICES)) {
		assert_fails(guestmem_read_from(e->g, at(e, 0), fd, &offset, 10), EOPNOTSUPP);
		assert_fails(guestmem_write_to_some(e->g, at(e, 0), fd, &offset, 10), EOPNOTSUPP);
		close(fd);
		return;
	}
	assert_fails(guestmem_read_from(e->g, at(e, 0), -1, NULL, 1), EBADF);
	assert_fails(guestmem_write_to_some(e->g, at(e, 0), -1, NULL, 1), EBADF);
	offset = UINT64_MAX;
	assert_fails(guestmem_read_from(e->g, at(e, 0), fd, &offset, 1), EINVAL);
	assert_int_equal(pipe(p), 0);
	offset = 0;
	assert_fails(guestmem_write_to(e->g, at(e, 0), p[1], &offset, 1), ESPIPE);
	assert_fails(guestmem_write_to(e->g, at(e, 0), p[0], NULL, 1), EBADF);
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	assert_fails(guestmem_write_to(e->g, at(e, 0), p[1], NULL, 1), EPIPE);
	close(p[1]);
	close(fd);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(offset, F_SLICES), B(pipe, F_SLICES), B(into_hole, F_SLICES), B(refused, 0),
	};

	return RUN_ON_BACKENDS(tests);
}
