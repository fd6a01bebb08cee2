// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Regions: by an address, as a list, added and removed; parts of a guest. */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends.h"

static void test_find(struct env *e)
{
	static const uint64_t first[] = { 0, SECOND, READONLY, THIRD };
	static const uint64_t end[] = { SECOND, READONLY, HOLE, HOLE2 };
	struct guestmem_table_entry r;
	uint64_t last;
	int i = 0;

	for (i = 0; i < 4; i++) {
		for (int k = 0; k < 3; k++) {
			uint64_t x = k == 0 ? first[i] : k == 1 ? end[i] - 1 : first[i] + 1000;

			assert_ok(guestmem_find(e->g, at(e, x), &r));
			assert_true(r.gpa == at(e, first[i]) && r.len == end[i] - first[i]);
			assert_int_equal(r.id, e->id[i]);
			assert_int_equal(r.flags, i == 2 ? GUESTMEM_REGION_READONLY : 0);
			assert_true(r.generation <= guestmem_generation(e->g));
		}
	}
	assert_fails(guestmem_find(e->g, at(e, HOLE), &r), ENXIO);
	assert_failed_at(e, HOLE, 0);
	assert_fails(guestmem_find(e->g, at(e, 0) - 1, &r), ENXIO);
	assert_fails(guestmem_find(e->g, at(e, HOLE2), &r), ENXIO);
	assert_fails(guestmem_find(e->g, UINT64_MAX, &r), ENXIO);
	assert_fails(guestmem_find(e->g, at(e, 0), NULL), EINVAL);

	i = 0;
	for (uint64_t x = 0; i < 4; x = r.gpa + r.len, i++) {
		assert_ok(guestmem_next(e->g, x, &r));
		assert_int_equal(r.id, e->id[i]);
	}
	assert_fails(guestmem_next(e->g, at(e, HOLE2), &r), ENXIO);
	assert_ok(guestmem_next(e->g, at(e, HOLE), &r));
	assert_true(r.gpa == at(e, THIRD));
	assert_ok(guestmem_last(e->g, &last));
	assert_true(last == at(e, HOLE2) - 1);
	assert_fails(guestmem_last(e->g, NULL), EINVAL);
	for (i = 3; i >= 0; i--)
		assert_ok(guestmem_remove(e->whole, e->id[i]));
	assert_fails(guestmem_last(e->g, &last), ENXIO);
	assert_fails(guestmem_next(e->g, 0, &r), ENXIO);
}

/* Of callbacks, all is one region. */
static void test_callbacks_are_one(struct env *e)
{
	struct guestmem_table_entry r;
	struct guestmem_region *list = (void *)&r;
	uint64_t last;
	size_t n = 7;

	assert_ok(guestmem_find(e->g, at(e, HOLE), &r));
	assert_true(r.gpa == 0 && r.len == e->len && !r.id);
	assert_ok(guestmem_next(e->g, e->len - 1, &r));
	assert_ok(guestmem_last(e->g, &last));
	assert_true(last == e->len - 1);
	assert_ok(guestmem_check(e->g, 0, e->len, PROT_READ | PROT_WRITE));
	assert_fails(guestmem_regions(e->g, &list, &n), EOPNOTSUPP);
	assert_null(list);
	assert_int_equal(n, 0);
	assert_fails(guestmem_add_anon(e->g, 0, PAGE, 0, NULL), EOPNOTSUPP);
	assert_fails(guestmem_remove(e->g, 0), EOPNOTSUPP);
	assert_fails(guestmem_revoke(e->g, 0, 0, NULL), EOPNOTSUPP);
	assert_true(guestmem_generation(e->g) != 0);
}

static void test_check(struct env *e)
{
	struct guestmem_error err;

	assert_ok(guestmem_check(e->g, at(e, 5), 100, PROT_READ | PROT_WRITE));
	assert_ok(guestmem_check(e->g, at(e, SECOND - 5), 100, PROT_WRITE));
	assert_ok(guestmem_check(e->g, UINT64_MAX, 0, PROT_WRITE));
	assert_fails(guestmem_check(e->g, at(e, 0), 1, PROT_EXEC), EINVAL);
	assert_fails(guestmem_check(e->g, UINT64_MAX, 2, PROT_READ), EOVERFLOW);
	if (!(e->has & F_REGIONS))
		return;
	assert_ok(guestmem_check(e->g, at(e, 0), HOLE, PROT_READ));
	assert_fails(guestmem_check(e->g, at(e, 0), HOLE + 1, PROT_READ), ENXIO);
	assert_failed_at(e, HOLE, 0);
	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_HOLE);
	assert_fails(guestmem_check(e->g, at(e, 0), HOLE + 1, PROT_WRITE), EACCES);
	assert_failed_at(e, READONLY, 0);
	assert_fails(guestmem_check(e->g, at(e, HOLE2), 1, PROT_READ), ENXIO);
	assert_fails(guestmem_check(e->g, at(e, HOLE), UINT64_MAX - at(e, HOLE), 0), ENXIO);
}

static void test_list(struct env *e)
{
	struct guestmem_region *r;
	size_t n;

	assert_ok(guestmem_regions(e->g, &r, &n));
	assert_int_equal(n, 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(r[i].id, e->id[i]);
		assert_int_equal(r[i].nlocks, 0);
	}
	assert_true(r[0].gpa == at(e, 0) && r[0].len == SECOND);
	assert_true(r[3].gpa == at(e, THIRD) && r[3].len == HOLE2 - THIRD);
	assert_int_equal(r[2].flags & ~GUESTMEM_REGION_OWN, GUESTMEM_REGION_READONLY);
	free(r);
	assert_fails(guestmem_regions(e->g, NULL, &n), EINVAL);
	assert_fails(guestmem_regions(e->g, &r, NULL), EINVAL);
	for (int i = 0; i < 4; i++)
		assert_ok(guestmem_remove(e->whole, e->id[i]));
	assert_ok(guestmem_regions(e->g, &r, &n));
	assert_null(r);
	assert_int_equal(n, 0);
}

static void test_backing(struct env *e)
{
	uint64_t offset, len;
	unsigned char *p;
	int fd = -2;

	if (!(e->has & F_BACKING)) {
		assert_fails(guestmem_backing(e->g, at(e, 0), &fd, &offset, &len), EOPNOTSUPP);
		return;
	}
	assert_ok(guestmem_backing(e->g, at(e, SECOND + PAGE + 3), &fd, &offset, &len));
	assert_true(len == 3 * PAGE - 3);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset & ~(PAGE - 1)));
	assert_true(p != MAP_FAILED);
	p[offset % PAGE] = 0x42;
	assert_int_equal(e->mem[SECOND + PAGE + 3], 0x42);
	munmap(p, PAGE);
	assert_fails(guestmem_backing(e->g, at(e, HOLE), &fd, &offset, &len), ENXIO);
	assert_failed_at(e, HOLE, 0);
	assert_fails(guestmem_backing(e->g, at(e, 0), NULL, &offset, &len), EINVAL);
	assert_fails(guestmem_backing(e->g, at(e, 0), &fd, NULL, &len), EINVAL);
	assert_fails(guestmem_backing(e->g, at(e, 0), &fd, &offset, NULL), EINVAL);
}

static void test_generation(struct env *e)
{
	uint64_t before = guestmem_generation(e->g);

	assert_true(before != 0);
	assert_true(guestmem_generation(e->g) == before);
	assert_ok(guestmem_remove(e->whole, e->id[0]));
	assert_true(guestmem_generation(e->g) > before);
	before = guestmem_generation(e->g);
	assert_fails(guestmem_remove(e->whole, e->id[0]), ENOENT);
	assert_true(guestmem_generation(e->g) == before);
	assert_ok(guestmem_revoke(e->whole, e->id[1], 0, NULL));
	assert_true(guestmem_generation(e->g) > before);
}

static void test_add_refused(struct env *e)
{
	unsigned char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = file_of(3 * PAGE), ro, sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
	uint64_t free_at = BASE + (1ULL << 30);
	struct guestmem_error err;
	uint32_t id = 77;
	char name[40];

	assert_fails(guestmem_add_file(e->g, BASE + 7 * PAGE, 2 * PAGE, fd, 0, 0, &id), EEXIST);
	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_OVERLAP);
	assert_true(err.need == e->id[0] || err.need == e->id[1]);
	assert_fails(guestmem_add_file(e->g, BASE - PAGE, 2 * PAGE, fd, 0, 0, &id), EEXIST);
	assert_fails(guestmem_add_file(e->g, free_at, 0, fd, 0, 0, &id), EINVAL);
	assert_fails(guestmem_add_file(e->g, free_at + 1, PAGE, fd, 0, 0, &id), EINVAL);
	assert_fails(guestmem_add_file(e->g, free_at, PAGE + 1, fd, 0, 0, &id), EINVAL);
	assert_fails(guestmem_add_file(e->g, free_at, PAGE, fd, 1, 0, &id), EINVAL);
	assert_fails(guestmem_add_file(e->g, free_at, 4 * PAGE, fd, 0, 0, &id), EINVAL);
	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_END_OF_FILE);
	assert_fails(guestmem_add_file(e->g, free_at, 2 * PAGE, fd, 2 * PAGE, 0, &id), EINVAL);
	assert_fails(guestmem_add_file(e->g, free_at, PAGE, fd, 1ULL << 60, 0, &id), EINVAL);
	assert_fails(guestmem_add_file(e->g, free_at, GUESTMEM_REGION_MAX_LEN + PAGE, fd, 0, 0,
				       &id), EINVAL);
	assert_fails(guestmem_add_file(e->g, UINT64_MAX - PAGE + 1, 2 * PAGE, fd, 0, 0, &id),
		     EOVERFLOW);
	assert_fails(guestmem_add_file(e->g, free_at, PAGE, -1, 0, 0, &id), EBADF);
	assert_fails(guestmem_add_file(e->g, free_at, PAGE, fd, 0, 1U << 7, &id), EOPNOTSUPP);
	assert_fails(guestmem_add_user(e->g, free_at, PAGE, shared + 1, 0, &id), EINVAL);
	assert_fails(guestmem_add_user(e->g, free_at, PAGE, (void *)(4 * PAGE), 0, &id), EFAULT);
	assert_true(guestmem_add_user(e->g, free_at, 2 * PAGE, (void *)-PAGE, 0, &id) < 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ro = open(name, O_RDONLY);
	assert_true(ro >= 0);
	assert_fails(guestmem_add_file(e->g, free_at, PAGE, ro, 0, 0, &id), EACCES);
	assert_int_equal(ftruncate(sealed, PAGE), 0);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_fails(guestmem_add_file(e->g, free_at, PAGE, sealed, 0, 0, &id), EACCES);
	assert_int_equal(id, 77);
	assert_fails(guestmem_read(e->g, free_at, name, 1), ENXIO);
	if (e->has & F_PROCESS) {
		char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		assert_fails(guestmem_add_user(e->g, free_at, PAGE, private, 0, &id), EOPNOTSUPP);
		assert_fails(guestmem_add_anon(e->g, free_at, PAGE, 1U << 7, &id), EOPNOTSUPP);
		assert_fails(guestmem_add_anon(e->g, 1ULL << 40, PAGE, 0, &id), EOVERFLOW);
		munmap(private, PAGE);
		/* For reading, it will do. */
		assert_ok(guestmem_add_file(e->g, free_at, PAGE, sealed, 0,
					    GUESTMEM_REGION_READONLY, NULL));
	} else {
		assert_fails(guestmem_add_anon(e->g, free_at, PAGE, 0, &id), EOPNOTSUPP);
	}
	assert_ok(guestmem_add_file(e->g, free_at + PAGE, PAGE, ro, 0, GUESTMEM_REGION_READONLY,
				    &id));
	assert_fails(guestmem_write8(e->g, free_at + PAGE, 1), EACCES);
	/* What failed has left nothing: all that was refused is free. */
	assert_ok(guestmem_add_file(e->g, free_at + 2 * PAGE, PAGE, fd, 0, 0, NULL));
	assert_ok(guestmem_read(e->g, BASE, name, 8));
	close(fd);
	close(ro);
	close(sealed);
	munmap(shared, 4 * PAGE);
}

static void test_add_and_remove(struct env *e)
{
	unsigned char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t id, before = 0;
	unsigned char byte = 0;

	/* A number is not used again; what was there is not seen again. */
	for (int i = 0; i < 200; i++) {
		shared[i % 4 * PAGE] = (unsigned char)i;
		assert_ok(guestmem_add_user(e->g, BASE + HOLE, PAGE, shared + i % 4 * PAGE, 0,
					    &id));
		assert_true(!i || id != before);
		assert_ok(guestmem_read8(e->g, BASE + HOLE, &byte));
		assert_int_equal(byte, i);
		assert_ok(guestmem_check(e->g, BASE, HOLE + PAGE, PROT_READ));
		if (i % 2)
			assert_ok(guestmem_remove(e->g, id));
		else
			assert_ok(guestmem_revoke(e->g, id, 0, NULL));
		assert_fails(guestmem_read8(e->g, BASE + HOLE, &byte), ENXIO);
		assert_fails(guestmem_remove(e->g, id), ENOENT);
		before = id;
	}
	munmap(shared, 4 * PAGE);
}

static void test_parts(struct env *e)
{
	struct guestmem *part, *readonly, *inner;
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem_table_entry r;
	struct guestmem_error err;
	struct guestmem_region *list;
	char text[8];
	uint64_t last;
	size_t n;

	part = guestmem_subrange(e->g, at(e, SECOND - 3), READONLY - SECOND + 8, 0);
	readonly = guestmem_subrange(e->g, at(e, 5), 100, GUESTMEM_SUBRANGE_READONLY);
	assert_true(part && readonly);
	inner = guestmem_subrange(part, 1, 6, 0);
	assert_non_null(inner);
	assert_ok(guestmem_write(inner, 0, "abcdef", 6));
	assert_memory_equal(e->mem + SECOND - 2, "abcdef", 6);
	assert_fails(guestmem_write(inner, 0, "abcdefg", 7), ENXIO);
	guestmem_last_error(&err);
	assert_true(!(e->has & F_EXACT) || err.addr == 6);
	assert_fails(guestmem_read(readonly, 96, text, 5), ENXIO);
	assert_ok(guestmem_read(readonly, 95, text, 5));
	/* No way of writing */
	assert_fails(guestmem_write(readonly, 0, text, 1), EACCES);
	guestmem_last_error(&err);
	assert_int_equal(err.reason, GUESTMEM_REASON_RIGHT);
	assert_true(err.need == GUESTMEM_RIGHT_WRITE);
	assert_fails(guestmem_write32(readonly, 0, 1), EACCES);
	assert_fails(guestmem_fill(readonly, 0, 1, 1), EACCES);
	assert_fails(guestmem_copy(readonly, 0, 8, 1), EACCES);
	assert_fails(guestmem_atomic(readonly, 3, GUESTMEM_ATOMIC_OR, text, NULL, 1), EACCES);
	assert_fails(guestmem_cmpxchg(readonly, 3, text, text, 1), EACCES);
	assert_fails(guestmem_store(readonly, 3, text, 1, __ATOMIC_RELAXED), EACCES);
	assert_fails(guestmem_check(readonly, 0, 1, PROT_WRITE), EACCES);
	assert_fails(guestmem_read_from(readonly, 0, 0, NULL, 1), EACCES);
	assert_fails(guestmem_lock(readonly, 0, 1, GUESTMEM_DMA_FROM_DEVICE, 0, NULL, NULL, NULL),
		     EACCES);
	assert_null(guestmem_subrange(readonly, 0, 101, 0));
	guestmem_close(inner);
	inner = guestmem_subrange(readonly, 0, 100, 0);
	assert_non_null(inner);
	assert_fails(guestmem_write8(inner, 0, 1), EACCES);
	assert_ok(guestmem_info(inner, &info));
	assert_int_equal(info.rights & (GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MANAGE), 0);

	assert_null_fails(guestmem_subrange(e->g, at(e, 0), 0, 0), EINVAL);
	assert_null_fails(guestmem_subrange(e->g, at(e, 0), 1, 1U << 9), EOPNOTSUPP);
	assert_null_fails(guestmem_subrange(e->g, UINT64_MAX, 2, 0), EOVERFLOW);
	if (e->len) {
		assert_null_fails(guestmem_subrange(e->g, e->len, 1, 0), ENXIO);
		assert_null_fails(guestmem_subrange(e->g, 1, e->len, 0), ENXIO);
	}
	if (e->has & F_REGIONS) {
		/* Regions are told as far as they are in it. */
		assert_ok(guestmem_find(part, 2, &r));
		assert_true(r.gpa == 0 && r.len == 3 && r.id == e->id[0]);
		assert_ok(guestmem_find(part, 3, &r));
		assert_true(r.gpa == 3 && r.len == READONLY - SECOND && r.id == e->id[1]);
		assert_ok(guestmem_last(part, &last));
		assert_true(last == READONLY - SECOND + 7);
		assert_ok(guestmem_regions(part, &list, &n));
		assert_int_equal(n, 3);
		assert_true(list[2].gpa == READONLY - SECOND + 3 && list[2].len == 5);
		free(list);
		assert_fails(guestmem_next(part, last + 1, &r), ENXIO);
		/* What is behind it is none of its own. */
		guestmem_close(inner);
		inner = guestmem_subrange(e->g, at(e, HOLE) + 3, 100, 0);
		assert_fails(guestmem_next(inner, 0, &r), ENXIO);
		assert_fails(guestmem_last(inner, &last), ENXIO);
		assert_fails(guestmem_add_anon(part, 0, PAGE, 0, NULL), EACCES);
		assert_fails(guestmem_remove(part, e->id[0]), EACCES);
		assert_fails(guestmem_revoke(part, e->id[0], 0, NULL), EACCES);
	}
	/* It lives without what it was made of. */
	if (!(e->has & F_PART)) {
		guestmem_close(e->g);
		assert_ok(guestmem_write(part, 0, "xyz", 3));
		assert_memory_equal(e->mem + SECOND - 3, "xyz", 3);
		e->whole = NULL;
	}
	guestmem_close(part);
	guestmem_close(readonly);
	guestmem_close(inner);
}

/* A child shares what is shared; the device is reached without its window there. */
static void test_fork(struct env *e)
{
	struct guestmem_table_entry r;
	int status = 0;
	uint32_t one = 1;
	char text[6];
	pid_t pid;

	assert_ok(guestmem_write(e->g, at(e, 3), "parent", 6));
	pid = fork();
	if (!pid) {
		if (guestmem_read(e->g, at(e, 3), text, 6) ||
		    memcmp(text, "parent", 6) != 0)
			_exit(1);
		if (guestmem_write(e->g, at(e, PAGE - 3), "child", 6) ||
		    guestmem_atomic(e->g, at(e, 2 * PAGE), GUESTMEM_ATOMIC_ADD, &one, NULL, 4) ||
		    guestmem_fill(e->g, at(e, 3 * PAGE), 10, 9) ||
		    guestmem_copy(e->g, at(e, 4 * PAGE), at(e, 3), 6))
			_exit(2);
		if (guestmem_read(e->g, at(e, HOLE - 3), text, 6) != -ENXIO)
			_exit(3);
		if ((e->has & F_REGIONS) && (guestmem_find(e->g, at(e, 5), &r) ||
					     r.gpa != at(e, 0) ||
					     guestmem_check(e->g, at(e, 0), HOLE, PROT_READ)))
			_exit(4);
		_exit(0);
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
	if (!(e->has & F_BACKING))
		return;
	assert_ok(guestmem_read(e->g, at(e, PAGE - 3), text, 6));
	assert_string_equal(text, "child");
	assert_int_equal(e->mem[2 * PAGE], 1);
	assert_int_equal(e->mem[3 * PAGE + 9], 9);
	assert_memory_equal(e->mem + 4 * PAGE, "parent", 6);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(find, F_REGIONS), B(callbacks_are_one, F_CALLBACKS), B(check, 0),
		B(list, F_REGIONS), B(backing, 0), B(generation, F_REGIONS),
		B(add_refused, F_MANAGE), B(add_and_remove, F_MANAGE), B(parts, 0), B(fork, 0),
	};

	return RUN_ON_BACKENDS(tests);
}
