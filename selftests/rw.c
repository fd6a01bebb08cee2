// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading and writing by file (read, write, lseek, splice) and by ioctl (FILL,
 * COPY, ATOMIC).
 */
#include "guestmem_test.h"

#include <sys/sendfile.h>

/*
 * The layout of all tests here: two adjacent regions, then a hole of four pages,
 * then one page, the last of the guest.
 */
FIXTURE(rw) {
	struct gm_guest guest;
	struct gm_mem mem;
	struct gm_mem last;
	size_t len;		/* of the two adjacent ones together */
	size_t half;		/* of the first */
	__u64 hole;		/* where the hole starts */
	__u64 last_gpa;
	__u64 end;		/* behind the last byte */
	bool ro;
};
FIXTURE_VARIANT(rw) {
	enum gm_kind kind;
	__u32 flags;
};
GM_BACKING_VARIANT(rw, anon, GM_ANON)
GM_BACKING_VARIANT(rw, thp, GM_THP)
GM_BACKING_VARIANT(rw, memfd, GM_MEMFD)
GM_BACKING_VARIANT(rw, tmpfs, GM_TMPFS)
GM_BACKING_VARIANT(rw, hugetlb, GM_HUGETLB)
FIXTURE_SETUP(rw)
{
	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, variant->kind, gm_kind_len(variant->kind)));
	ASSERT_EQ(0, gm_mem_alloc(&self->last, GM_ANON, PG));
	self->len = self->mem.len;
	self->half = self->len / PG / 2 * PG;
	self->hole = GM_GPA + self->len;
	self->last_gpa = self->hole + 4 * PG;
	self->end = self->last_gpa + PG;
	self->ro = variant->flags & GUESTMEM_REGION_READONLY;
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, self->half,
				variant->flags, NULL));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA + self->half, self->half,
				self->len - self->half, variant->flags, NULL));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->last, self->last_gpa, 0, PG, 0, NULL));
}
FIXTURE_TEARDOWN(rw)
{
	gm_mem_free(&self->mem);
	gm_mem_free(&self->last);
	gm_guest_teardown(_metadata, &self->guest);
}

/* The memory must be as it was, but for [@start, @start + @len) set to @value. */
#define EXPECT_ONLY(start_, len_, value_) do {						\
	size_t i_, s_ = (start_), e_ = s_ + (len_);					\
											\
	for (i_ = 0; i_ < self->len; i_++)						\
		ASSERT_EQ(i_ >= s_ && i_ < e_ ? (value_) : gm_pattern(i_),		\
			  self->mem.va[i_]) TH_LOG("at %zu", i_);			\
} while (0)

#define ERRNO(call) ({ ssize_t r_ = (call); r_ < 0 ? -(ssize_t)errno : r_; })

TEST_F(rw, pread)
{
	unsigned char *buf = malloc(self->len + PG);
	int fd = self->guest.fd;
	size_t lens[] = { 1, 2, 8, 100, PG - 1, PG, PG + 1, 3 * PG + 5 };
	unsigned int i, j;

	ASSERT_NE(NULL, buf);
	EXPECT_EQ((ssize_t)self->len, pread(fd, buf, self->len, GM_GPA));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 0, self->len));
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		/* At odd places, and over the border of the regions. */
		size_t starts[] = { 0, 1, PG - 1, PG + 7, self->half - lens[i],
				    self->half - lens[i] / 2, self->half - 1, self->half,
				    self->len - lens[i] };

		for (j = 0; j < ARRAY_SIZE(starts); j++) {
			memset(buf, 0xee, lens[i] + 1);
			EXPECT_EQ((ssize_t)lens[i], pread(fd, buf, lens[i], GM_GPA + starts[j]));
			EXPECT_EQ(0, gm_pattern_cmp(buf, starts[j], lens[i]))
				TH_LOG("%zu bytes from %zu", lens[i], starts[j]);
			EXPECT_EQ(0xee, buf[lens[i]]);
		}
	}
	EXPECT_EQ(0, ERRNO(pread(fd, buf, 0, GM_GPA)));
	free(buf);
}

TEST_F(rw, pwrite)
{
	size_t len = 3 * PG + 5, start = self->half - PG - 3;
	unsigned char *buf = malloc(self->len);
	int fd = self->guest.fd;

	ASSERT_NE(NULL, buf);
	memset(buf, 0xab, self->len);
	if (self->ro) {
		EXPECT_EQ(-EACCES, ERRNO(pwrite(fd, buf, len, GM_GPA + start)));
		EXPECT_EQ(-EACCES, ERRNO(pwrite(fd, buf, 1, GM_GPA)));
		EXPECT_EQ(-EACCES, ERRNO(pwrite(fd, buf, 1, GM_GPA + self->len - 1)));
		EXPECT_ONLY(0, 0, 0);
	} else {
		EXPECT_EQ((ssize_t)len, ERRNO(pwrite(fd, buf, len, GM_GPA + start)));
		EXPECT_ONLY(start, len, 0xab);
		EXPECT_EQ((ssize_t)self->len, ERRNO(pwrite(fd, buf, self->len, GM_GPA)));
		EXPECT_ONLY(0, self->len, 0xab);
	}
	free(buf);
}

TEST_F(rw, vectors)
{
	unsigned char a[7], b[1], c[5000], d[300];
	struct iovec iov[] = { { a, 7 }, { b, 0 }, { b, 1 }, { c, 5000 }, { d, 300 } };
	size_t len = 7 + 1 + 5000 + 300, start = self->half - 100;
	int fd = self->guest.fd;

	EXPECT_EQ((ssize_t)len, ERRNO(preadv(fd, iov, 5, GM_GPA + start)));
	EXPECT_EQ(0, gm_pattern_cmp(a, start, 7));
	EXPECT_EQ(0, gm_pattern_cmp(b, start + 7, 1));
	EXPECT_EQ(0, gm_pattern_cmp(c, start + 8, 5000));
	EXPECT_EQ(0, gm_pattern_cmp(d, start + 5008, 300));
	EXPECT_EQ((off_t)(GM_GPA + start), lseek(fd, GM_GPA + start, SEEK_SET));
	memset(c, 0, sizeof(c));
	EXPECT_EQ((ssize_t)len, ERRNO(readv(fd, iov, 5)));
	EXPECT_EQ(0, gm_pattern_cmp(c, start + 8, 5000));
	EXPECT_EQ((off_t)(GM_GPA + start + len), lseek(fd, 0, SEEK_CUR));

	memset(a, 1, 7);
	b[0] = 1;
	memset(c, 1, 5000);
	memset(d, 1, 300);
	EXPECT_EQ(self->ro ? -EACCES : (ssize_t)len, ERRNO(pwritev(fd, iov, 5, GM_GPA + start)));
	EXPECT_ONLY(start, self->ro ? 0 : len, 1);
	EXPECT_EQ((off_t)GM_GPA, lseek(fd, GM_GPA, SEEK_SET));
	memset(a, 9, 7);
	EXPECT_EQ(self->ro ? -EACCES : 7, ERRNO(write(fd, a, 7)));
	EXPECT_EQ((off_t)GM_GPA + (self->ro ? 0 : 7), lseek(fd, 0, SEEK_CUR));
	EXPECT_EQ(self->ro ? gm_pattern(6) : 9, self->mem.va[6]);
}

TEST_F(rw, holes)
{
	int fd = self->guest.fd;
	unsigned char buf[64];

	/* Stops at the hole ... */
	EXPECT_EQ(10, ERRNO(pread(fd, buf, 64, self->hole - 10)));
	EXPECT_EQ(0, gm_pattern_cmp(buf, self->len - 10, 10));
	EXPECT_EQ(1, ERRNO(pread(fd, buf, 64, self->hole - 1)));
	/* ... does not start in one ... */
	EXPECT_EQ(-ENXIO, ERRNO(pread(fd, buf, 64, self->hole)));
	EXPECT_EQ(-ENXIO, ERRNO(pread(fd, buf, 1, self->last_gpa - 1)));
	EXPECT_EQ(-ENXIO, ERRNO(pread(fd, buf, 64, self->last_gpa - 1)));
	EXPECT_EQ(-ENXIO, ERRNO(pread(fd, buf, 1, 0)));
	EXPECT_EQ(-ENXIO, ERRNO(pread(fd, buf, 1, GM_GPA - 1)));
	/* ... and ends at the end, as a file does. */
	EXPECT_EQ(1, ERRNO(pread(fd, buf, 64, self->end - 1)));
	EXPECT_EQ(gm_pattern(PG - 1), buf[0]);
	EXPECT_EQ(0, ERRNO(pread(fd, buf, 64, self->end)));
	EXPECT_EQ(0, ERRNO(pread(fd, buf, 64, self->end + 12345)));
	EXPECT_EQ(0, ERRNO(pread(fd, buf, 64, INT64_MAX - 64)));
	EXPECT_EQ(-EINVAL, ERRNO(pread(fd, buf, 64, -1)));

	memset(buf, 0x11, 64);
	EXPECT_EQ(self->ro ? -EACCES : 10, ERRNO(pwrite(fd, buf, 64, self->hole - 10)));
	EXPECT_ONLY(self->len - 10, self->ro ? 0 : 10, 0x11);
	EXPECT_EQ(-ENXIO, ERRNO(pwrite(fd, buf, 64, self->hole)));
	EXPECT_EQ(-ENXIO, ERRNO(pwrite(fd, buf, 64, self->last_gpa - 1)));
	EXPECT_EQ(2, ERRNO(pwrite(fd, buf, 64, self->end - 2)));
	EXPECT_EQ(0x11, self->last.va[PG - 1]);
	/* A guest does not grow by being written to. */
	EXPECT_EQ(-ENXIO, ERRNO(pwrite(fd, buf, 64, self->end)));
	EXPECT_EQ(gm_pattern(PG - 3), self->last.va[PG - 3]);
}

TEST_F(rw, seek)
{
	off_t gpa = GM_GPA, hole = self->hole, last = self->last_gpa, end = self->end;
	int fd = self->guest.fd;
	unsigned char c;

	EXPECT_EQ(end, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(end - 1, lseek(fd, -1, SEEK_END));
	EXPECT_EQ(1, read(fd, &c, 1));
	EXPECT_EQ(gm_pattern(PG - 1), c);
	EXPECT_EQ(0, read(fd, &c, 1));
	EXPECT_EQ(end, lseek(fd, 0, SEEK_CUR));
	EXPECT_EQ(gpa + 5, lseek(fd, gpa + 5, SEEK_SET));
	EXPECT_EQ(1, read(fd, &c, 1));
	EXPECT_EQ(gm_pattern(5), c);
	EXPECT_EQ(gpa + 4, lseek(fd, -2, SEEK_CUR));
	EXPECT_EQ(-EINVAL, ERRNO(lseek(fd, -1, SEEK_SET)));
	EXPECT_EQ(gpa + 4, lseek(fd, 0, SEEK_CUR));

	EXPECT_EQ(gpa, lseek(fd, 0, SEEK_DATA));
	EXPECT_EQ(gpa, lseek(fd, gpa - 1, SEEK_DATA));
	EXPECT_EQ(gpa, lseek(fd, gpa, SEEK_DATA));
	EXPECT_EQ(gpa + 77, lseek(fd, gpa + 77, SEEK_DATA));
	EXPECT_EQ(hole - 1, lseek(fd, hole - 1, SEEK_DATA));
	EXPECT_EQ(last, lseek(fd, hole, SEEK_DATA));
	EXPECT_EQ(last, lseek(fd, last - 1, SEEK_DATA));
	EXPECT_EQ(end - 1, lseek(fd, end - 1, SEEK_DATA));
	EXPECT_EQ(-ENXIO, ERRNO(lseek(fd, end, SEEK_DATA)));

	EXPECT_EQ(0, lseek(fd, 0, SEEK_HOLE));
	EXPECT_EQ(gpa - 1, lseek(fd, gpa - 1, SEEK_HOLE));
	/* Adjacent regions have no hole between them. */
	EXPECT_EQ(hole, lseek(fd, gpa, SEEK_HOLE));
	EXPECT_EQ(hole, lseek(fd, gpa + self->half, SEEK_HOLE));
	EXPECT_EQ(hole, lseek(fd, hole - 1, SEEK_HOLE));
	EXPECT_EQ(hole + 9, lseek(fd, hole + 9, SEEK_HOLE));
	EXPECT_EQ(end, lseek(fd, last, SEEK_HOLE));
	EXPECT_EQ(-ENXIO, ERRNO(lseek(fd, end, SEEK_HOLE)));
	EXPECT_EQ(-ENXIO, ERRNO(lseek(fd, end + 1, SEEK_HOLE)));
	EXPECT_EQ(-EINVAL, ERRNO(lseek(fd, 0, 99)));
}

TEST_F(rw, bad_buffer)
{
	unsigned char *p = mmap(NULL, 3 * PG, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = self->guest.fd;
	ssize_t n;

	ASSERT_NE(MAP_FAILED, p);
	memset(p, 0x22, 3 * PG);
	ASSERT_EQ(0, munmap(p + 2 * PG, PG));
	EXPECT_EQ(-EFAULT, ERRNO(pread(fd, p + 2 * PG, 100, GM_GPA)));
	EXPECT_EQ(-EFAULT, ERRNO(syscall(SYS_pread64, fd, 8UL, 100, GM_GPA)));
	EXPECT_EQ(-EFAULT, ERRNO(syscall(SYS_pread64, fd, 1UL << 63, 100, GM_GPA)));
	EXPECT_EQ(self->ro ? -EACCES : -EFAULT, ERRNO(pwrite(fd, p + 2 * PG, 100, GM_GPA)));
	EXPECT_ONLY(0, 0, 0);

	/* Half good: what was moved is told, and it is right. */
	n = ERRNO(pread(fd, p + 2 * PG - 50, 100, GM_GPA + 3));
	EXPECT_TRUE(n == -EFAULT || (n > 0 && n <= 50))
		TH_LOG("%zd", n);
	if (n > 0) {
		EXPECT_EQ(0, gm_pattern_cmp(p + 2 * PG - 50, 3, n));
	}
	memset(p, 0x22, 2 * PG);
	if (!self->ro) {
		n = ERRNO(pwrite(fd, p + 2 * PG - 50, 100, GM_GPA + 3));
		EXPECT_TRUE(n == -EFAULT || (n > 0 && n <= 50))
			TH_LOG("%zd", n);
		EXPECT_ONLY(3, n > 0 ? n : 0, 0x22);
	}
	munmap(p, 2 * PG);
}

/*
 * The buffer is a mapping of the same guest, not yet faulted in: the fault comes
 * in the middle of the copy, and must not wait for the copy.
 */
TEST_F(rw, buffer_in_guest)
{
	int fd = self->guest.fd;
	unsigned char *p;

	p = gm_mmap(fd, GM_GPA, self->len, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	if (self->ro) {
		EXPECT_EQ(-EFAULT, ERRNO(pread(fd, p, PG, GM_GPA + 2 * PG)));
		EXPECT_ONLY(0, 0, 0);
	} else {
		unsigned char last[16];

		EXPECT_EQ((ssize_t)PG, ERRNO(pread(fd, p, PG, GM_GPA + 2 * PG)));
		EXPECT_EQ(0, gm_pattern_cmp(self->mem.va, 2 * PG, PG));
		EXPECT_EQ((ssize_t)PG, ERRNO(pwrite(fd, p + 5 * PG, PG, GM_GPA + 8 * PG)));
		EXPECT_EQ(0, gm_pattern_cmp(self->mem.va + 8 * PG, 5 * PG, PG));
		/* Out of the guest by way of the last region, and in again. */
		EXPECT_EQ(16, ERRNO(pwrite(fd, p + 9 * PG, 16, self->last_gpa)));
		EXPECT_EQ(16, ERRNO(pread(fd, last, 16, self->last_gpa)));
		EXPECT_EQ(0, gm_pattern_cmp(last, 9 * PG, 16));
	}
	munmap(p, self->len);
}

TEST_F(rw, splice)
{
	loff_t off = GM_GPA + self->half - 1000;
	unsigned char buf[3000];
	int fd = self->guest.fd, pipes[2];
	ssize_t n;

	ASSERT_EQ(0, pipe(pipes));
	n = ERRNO(splice(fd, &off, pipes[1], NULL, 2000, 0));
	/* A short count is fine, none is not. */
	EXPECT_LT(0, n);
	if (n > 0) {
		EXPECT_EQ((loff_t)(GM_GPA + self->half - 1000) + n, off);
		EXPECT_EQ(n, read(pipes[0], buf, sizeof(buf)));
		EXPECT_EQ(0, gm_pattern_cmp(buf, self->half - 1000, n));
	}
	off = self->hole;
	EXPECT_EQ(-ENXIO, ERRNO(splice(fd, &off, pipes[1], NULL, 2000, 0)));
	off = self->end;
	EXPECT_EQ(0, ERRNO(splice(fd, &off, pipes[1], NULL, 2000, SPLICE_F_NONBLOCK)));

	memset(buf, 0x33, sizeof(buf));
	ASSERT_EQ(2000, write(pipes[1], buf, 2000));
	off = GM_GPA + self->half - 1000;
	n = ERRNO(splice(pipes[0], NULL, fd, &off, 2000, 0));
	if (self->ro) {
		EXPECT_EQ(-EACCES, n);
		EXPECT_ONLY(0, 0, 0);
	} else {
		EXPECT_EQ(2000, n);
		EXPECT_EQ((loff_t)(GM_GPA + self->half + 1000), off);
		EXPECT_ONLY(self->half - 1000, 2000, 0x33);
	}
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(rw, sendfile)
{
	int fd = self->guest.fd, mfd = memfd_create("guestmem-test", MFD_CLOEXEC);
	unsigned char *buf = calloc(1, self->len);
	off_t off = GM_GPA;
	size_t done = 0;
	ssize_t n;

	ASSERT_NE(NULL, buf);
	ASSERT_LE(0, mfd);
	while (done < self->len) {
		n = sendfile(mfd, fd, &off, self->len - done);
		ASSERT_LT(0, n)
			TH_LOG("%s", strerror(errno));
		done += n;
	}
	EXPECT_EQ((off_t)(GM_GPA + self->len), off);
	EXPECT_EQ((ssize_t)self->len, pread(mfd, buf, self->len, 0));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 0, self->len));

	/* And back, one page further. */
	off = 0;
	ASSERT_EQ((off_t)(GM_GPA + PG), lseek(fd, GM_GPA + PG, SEEK_SET));
	n = ERRNO(sendfile(fd, mfd, &off, PG));
	EXPECT_EQ(self->ro ? -EACCES : (ssize_t)PG, n);
	EXPECT_EQ(0, gm_pattern_cmp(self->mem.va + PG, self->ro ? PG : 0, PG));
	close(mfd);
	free(buf);
}

TEST_F(rw, fill)
{
	size_t start = self->half - 5000, len = 9001;
	struct guestmem_fill fill;
	int fd = self->guest.fd;

	if (self->ro) {
		EXPECT_EQ(-EACCES, gm_fill(fd, &fill, .gpa = GM_GPA + start, .len = len,
					   .value = 0x44, .done = 99));
		EXPECT_EQ(0, fill.done);
		EXPECT_EQ(GUESTMEM_REASON_READONLY, fill.err.reason);
		EXPECT_EQ(GM_GPA + start, fill.err.addr);
		EXPECT_ONLY(0, 0, 0);
	} else {
		EXPECT_EQ(0, gm_fill(fd, &fill, .gpa = GM_GPA + start, .len = len, .value = 0x44));
		EXPECT_EQ(len, fill.done);
		EXPECT_TRUE(gm_err_is_zero(&fill.err));
		EXPECT_ONLY(start, len, 0x44);
		EXPECT_EQ(0, gm_fill(fd, &fill, .gpa = GM_GPA, .len = self->len, .value = 255));
		EXPECT_EQ(self->len, fill.done);
		EXPECT_ONLY(0, self->len, 255);
		gm_pattern_set(self->mem.va, self->len);
		EXPECT_EQ(-ENXIO, gm_fill(fd, &fill, .gpa = self->hole - 10, .len = 8 * PG));
		EXPECT_EQ(10, fill.done);
		EXPECT_EQ(GUESTMEM_REASON_HOLE, fill.err.reason);
		EXPECT_EQ(self->hole, fill.err.addr);
		EXPECT_ONLY(self->len - 10, 10, 0);
	}
	EXPECT_EQ(-ENXIO, gm_fill(fd, &fill, .gpa = self->hole, .len = 1, .done = 99));
	EXPECT_EQ(0, fill.done);
	EXPECT_EQ(0, gm_fill(fd, &fill, .gpa = self->hole, .len = 0, .done = 99));
	EXPECT_EQ(0, fill.done);
	EXPECT_EQ(-EINVAL, gm_fill(fd, &fill, .gpa = self->last_gpa, .len = 1, .value = 256));
	EXPECT_EQ(-EOVERFLOW, gm_fill(fd, &fill, .gpa = ~0ULL, .len = 2));
	EXPECT_EQ(GUESTMEM_REASON_WRAPS, fill.err.reason);
	EXPECT_EQ(gm_pattern(0), self->last.va[0]);
}

TEST_F(rw, copy)
{
	size_t start = self->half - 700, len = 900;
	struct guestmem_copy copy;
	int fd = self->guest.fd;

	/* Any region can be read from; the last one is always writable. */
	EXPECT_EQ(0, gm_copy(fd, &copy, .dst = self->last_gpa + 33, .src = GM_GPA + start,
			     .len = len));
	EXPECT_EQ(len, copy.done);
	EXPECT_TRUE(gm_err_is_zero(&copy.err));
	EXPECT_EQ(0, gm_pattern_cmp(self->last.va + 33, start, len));
	EXPECT_EQ(gm_pattern(32), self->last.va[32]);
	EXPECT_EQ(gm_pattern(33 + len), self->last.va[33 + len]);

	/* Stops where the source does ... */
	EXPECT_EQ(-ENXIO, gm_copy(fd, &copy, .dst = self->last_gpa, .src = self->hole - 20,
				  .len = 40));
	EXPECT_EQ(20, copy.done);
	EXPECT_EQ(GUESTMEM_REASON_HOLE, copy.err.reason);
	EXPECT_EQ(self->hole, copy.err.addr);
	EXPECT_EQ(0, gm_pattern_cmp(self->last.va, self->len - 20, 20));
	/* ... or the destination. */
	EXPECT_EQ(-ENXIO, gm_copy(fd, &copy, .dst = self->end - 5, .src = GM_GPA, .len = 40));
	EXPECT_EQ(5, copy.done);
	EXPECT_EQ(self->end, copy.err.addr);
	EXPECT_EQ(0, gm_pattern_cmp(self->last.va + PG - 5, 0, 5));

	if (self->ro) {
		EXPECT_EQ(-EACCES, gm_copy(fd, &copy, .dst = GM_GPA + start, .src = self->last_gpa,
					   .len = len, .done = 99));
		EXPECT_EQ(0, copy.done);
		EXPECT_EQ(GUESTMEM_REASON_READONLY, copy.err.reason);
		EXPECT_ONLY(0, 0, 0);
	} else {
		size_t big = self->half - PG;

		memset(self->last.va, 0x55, PG);
		EXPECT_EQ(0, gm_copy(fd, &copy, .dst = GM_GPA + start, .src = self->last_gpa,
				     .len = len));
		EXPECT_ONLY(start, len, 0x55);
		gm_pattern_set(self->mem.va, self->len);
		/* Large, with different alignment on the two sides. */
		EXPECT_EQ(0, gm_copy(fd, &copy, .dst = GM_GPA + self->half + 3, .src = GM_GPA + 8,
				     .len = big));
		EXPECT_EQ(big, copy.done);
		EXPECT_EQ(0, gm_pattern_cmp(self->mem.va + self->half + 3, 8, big));
		EXPECT_EQ(0, gm_pattern_cmp(self->mem.va, 0, self->half + 3));
	}

	/* Overlap is refused, touching is not. */
	EXPECT_EQ(-EINVAL, gm_copy(fd, &copy, .dst = self->last_gpa, .src = self->last_gpa,
				   .len = 1));
	EXPECT_EQ(GUESTMEM_REASON_OVERLAP, copy.err.reason);
	EXPECT_EQ(-EINVAL, gm_copy(fd, &copy, .dst = self->last_gpa + 9, .src = self->last_gpa,
				   .len = 10));
	EXPECT_EQ(-EINVAL, gm_copy(fd, &copy, .dst = self->last_gpa, .src = self->last_gpa + 9,
				   .len = 10));
	EXPECT_EQ(0, gm_copy(fd, &copy, .dst = self->last_gpa + 10, .src = self->last_gpa,
			     .len = 10));
	EXPECT_EQ(0, gm_copy(fd, &copy, .dst = self->last_gpa, .src = self->last_gpa + 10,
			     .len = 10));
	EXPECT_EQ(0, gm_copy(fd, &copy, .dst = self->hole, .src = self->hole, .len = 0));
	EXPECT_EQ(-EOVERFLOW, gm_copy(fd, &copy, .dst = ~0ULL, .src = GM_GPA, .len = 2));
	EXPECT_EQ(-EOVERFLOW, gm_copy(fd, &copy, .dst = GM_GPA, .src = ~0ULL, .len = 2));
}

typedef unsigned __int128 u128;

static u128 model(__u32 op, u128 old, u128 operand, u128 compare)
{
	switch (op) {
	case GUESTMEM_ATOMIC_CMPXCHG:
		return old == compare ? operand : old;
	case GUESTMEM_ATOMIC_XCHG:
		return operand;
	case GUESTMEM_ATOMIC_ADD:
		return old + operand;
	case GUESTMEM_ATOMIC_AND:
		return old & operand;
	case GUESTMEM_ATOMIC_OR:
		return old | operand;
	default:
		return old ^ operand;
	}
}

TEST_F(rw, atomic)
{
	unsigned char *p = self->mem.va + self->half - 32;
	__u64 gpa = GM_GPA + self->half - 32;
	struct guestmem_info info;
	struct guestmem_atomic at;
	int fd = self->guest.fd;
	unsigned int width;
	int match;
	__u32 op;

	ASSERT_EQ(0, gm_info(fd, &info));
	for (width = 1; width <= 16; width *= 2) {
		u128 mask = width == 16 ? ~(u128)0 : ((u128)1 << (8 * width)) - 1;

		for (op = GUESTMEM_ATOMIC_CMPXCHG; op <= GUESTMEM_ATOMIC_XOR; op++)
		for (match = 0; match < 2; match++) {
			u128 old, now, operand, compare, want;
			int ret;

			gm_pattern_set(p, 64);
			old = 0;
			memcpy(&old, p + 16, width);
			operand = (((u128)0xf1e2d3c4b5a69788ULL << 64) | 0xfedcba9876543210ULL) &
				  mask;
			compare = 0;
			if (op == GUESTMEM_ATOMIC_CMPXCHG)
				compare = match ? old : old ^ 1;
			want = model(op, old, operand, compare) & mask;
			ret = gm_atomic(fd, &at, .op = op, .width = width, .gpa = gpa + 16,
					.operand = { (__u64)operand, (__u64)(operand >> 64) },
					.compare = { (__u64)compare, (__u64)(compare >> 64) },
					.old = { 7, 7 });
			now = 0;
			memcpy(&now, p + 16, width);
			if (width == 16 && !(info.features & GUESTMEM_FEATURE_ATOMIC16)) {
				EXPECT_EQ(-EOPNOTSUPP, ret);
				EXPECT_TRUE(now == old);
			} else if (self->ro) {
				EXPECT_EQ(-EACCES, ret);
				EXPECT_EQ(GUESTMEM_REASON_READONLY, at.err.reason);
				EXPECT_EQ(gpa + 16, at.err.addr);
				EXPECT_TRUE(now == old);
			} else {
				EXPECT_EQ(0, ret);
				EXPECT_TRUE(now == want)
					TH_LOG("op %u width %u", op, width);
				EXPECT_EQ((__u64)old, at.old[0]);
				EXPECT_EQ((__u64)(old >> 64), at.old[1]);
				EXPECT_TRUE(gm_err_is_zero(&at.err));
				/* Neighbours are left alone. */
				EXPECT_EQ(0, gm_pattern_cmp(p, 0, 16));
				EXPECT_EQ(0, gm_pattern_cmp(p + 16 + width, 16 + width,
							    48 - width));
			}
		}
	}
}

TEST_F(rw, atomic_malformed)
{
	__u64 gpa = self->last_gpa;
	struct guestmem_atomic at;
	struct guestmem_info info;
	int fd = self->guest.fd;
	__u32 widths[] = { 0, 3, 5, 6, 7, 9, 12, 15, 17, 32, 0x80000000, 0xffffffff };
	unsigned int i, w;

#define ATOMIC(...) gm_atomic(fd, &at, .op = GUESTMEM_ATOMIC_XCHG, ##__VA_ARGS__)
	ASSERT_EQ(0, gm_info(fd, &info));
	for (i = 0; i < ARRAY_SIZE(widths); i++) {
		EXPECT_EQ(-EINVAL, ATOMIC(.width = widths[i], .gpa = gpa))
			TH_LOG("width %u", widths[i]);
	}
	for (w = 2; w <= 8; w *= 2) {
		for (i = 1; i < w; i++) {
			EXPECT_EQ(-EINVAL, ATOMIC(.width = w, .gpa = gpa + i));
			EXPECT_EQ(GUESTMEM_REASON_MISALIGNED, at.err.reason);
			EXPECT_EQ(gpa + i, at.err.addr);
			EXPECT_EQ(w, at.err.need);
		}
	}
	if (info.features & GUESTMEM_FEATURE_ATOMIC16) {
		EXPECT_EQ(-EINVAL, ATOMIC(.width = 16, .gpa = gpa + 8));
	}
	for (w = 1; w <= 4; w *= 2) {
		EXPECT_EQ(-EINVAL, ATOMIC(.width = w, .gpa = gpa, .operand[0] = 1ULL << (8 * w)));
		EXPECT_EQ(-EINVAL, ATOMIC(.width = w, .gpa = gpa, .operand[0] = 1ULL << 63));
		EXPECT_EQ(-EINVAL, gm_atomic(fd, &at, .op = GUESTMEM_ATOMIC_CMPXCHG, .width = w,
					     .gpa = gpa, .compare[0] = 1ULL << (8 * w)));
	}
	EXPECT_EQ(-EINVAL, ATOMIC(.width = 8, .gpa = gpa, .operand[1] = 1));
	EXPECT_EQ(-EINVAL, gm_atomic(fd, &at, .op = GUESTMEM_ATOMIC_CMPXCHG, .width = 8,
				     .gpa = gpa, .compare[1] = 1));
	/* Only CMPXCHG compares. */
	EXPECT_NE(0, ATOMIC(.width = 8, .gpa = gpa, .compare[0] = 1));
	EXPECT_NE(0, ATOMIC(.width = 8, .gpa = gpa, .compare[1] = 1));
	EXPECT_EQ(0, gm_pattern_cmp(self->last.va, 0, PG));

	EXPECT_EQ(-ENXIO, ATOMIC(.width = 8, .gpa = self->hole));
	EXPECT_EQ(GUESTMEM_REASON_HOLE, at.err.reason);
	EXPECT_EQ(self->hole, at.err.addr);
	EXPECT_EQ(-ENXIO, ATOMIC(.width = 1, .gpa = ~0ULL));
	EXPECT_EQ(0, ATOMIC(.width = 8, .gpa = self->end - 8, .operand[0] = 42));
	EXPECT_EQ(42, self->last.va[PG - 8]);
}

struct contender {
	int fd;
	__u64 gpa;
	unsigned int width;
	__u32 op;
	unsigned char *va;	/* if set, this one uses the CPU instead */
	int errors;
};

enum { ROUNDS = 1000 };

static void *contend(void *arg)
{
	struct contender *c = arg;
	struct guestmem_atomic at;
	u128 seen = 0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		if (c->va) {
			__atomic_fetch_add((__u64 *)c->va, 1, __ATOMIC_SEQ_CST);
			continue;
		}
		if (c->op == GUESTMEM_ATOMIC_ADD) {
			if (gm_atomic(c->fd, &at, .op = c->op, .width = c->width, .gpa = c->gpa,
				      .operand[0] = 1))
				c->errors++;
			continue;
		}
		/* An increment made of compare-exchanges. */
		for (;;) {
			u128 mask = c->width == 16 ? ~(u128)0 : ((u128)1 << (8 * c->width)) - 1;
			u128 next = (seen + 1) & mask, old;

			if (gm_atomic(c->fd, &at, .op = c->op, .width = c->width, .gpa = c->gpa,
				      .operand = { (__u64)next, (__u64)(next >> 64) },
				      .compare = { (__u64)seen, (__u64)(seen >> 64) })) {
				c->errors++;
				break;
			}
			old = ((u128)at.old[1] << 64) | at.old[0];
			if (old == seen)
				break;
			seen = old;
		}
	}
	return NULL;
}

/* No increment may get lost, whoever makes it. */
TEST_F(rw, atomic_contended)
{
	__u32 ops[] = { GUESTMEM_ATOMIC_ADD, GUESTMEM_ATOMIC_CMPXCHG };
	struct contender c[3];
	struct guestmem_info info;
	pthread_t threads[3];
	unsigned int width, o;
	int i, n;

	if (self->ro) {
		c[0] = (struct contender){ .fd = self->guest.fd, .gpa = GM_GPA + 16, .width = 8,
					   .op = ops[0] };
		contend(&c[0]);
		EXPECT_EQ(ROUNDS, c[0].errors);
		EXPECT_EQ(0, gm_pattern_cmp(self->mem.va, 0, self->mem.len));
		return;
	}
	ASSERT_EQ(0, gm_info(self->guest.fd, &info));
	for (o = 0; o < ARRAY_SIZE(ops); o++) {
		for (width = 1; width <= 16; width *= 2) {
			u128 sum = 0;

			if (width == 16 && !(info.features & GUESTMEM_FEATURE_ATOMIC16))
				continue;
			memset(self->mem.va, 0, 64);
			for (i = 0; i < 3; i++) {
				c[i] = (struct contender){ .fd = self->guest.fd, .gpa = GM_GPA + 16,
							   .width = width, .op = ops[o] };
				if (i == 2 && width == 8)
					c[i].va = self->mem.va + 16;
				ASSERT_EQ(0, pthread_create(&threads[i], NULL, contend, &c[i]));
			}
			for (i = 0, n = 0; i < 3; i++) {
				pthread_join(threads[i], NULL);
				n += c[i].errors;
			}
			EXPECT_EQ(0, n);
			memcpy(&sum, self->mem.va + 16, width);
			EXPECT_EQ(width == 1 ? (3 * ROUNDS) % 256 : 3 * ROUNDS, (__u64)sum)
				TH_LOG("width %u op %u", width, ops[o]);
			EXPECT_EQ(0, self->mem.va[15]);
			EXPECT_EQ(0, self->mem.va[16 + width]);
		}
	}
}

GM_PLAIN_FIXTURE(plain)

TEST_F(plain, empty_guest)
{
	int fd = self->guest.fd;
	struct guestmem_fill fill;
	unsigned char c;

	EXPECT_EQ(0, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(-ENXIO, ERRNO(lseek(fd, 0, SEEK_DATA)));
	EXPECT_EQ(-ENXIO, ERRNO(lseek(fd, 0, SEEK_HOLE)));
	EXPECT_EQ(0, ERRNO(pread(fd, &c, 1, 0)));
	EXPECT_EQ(-ENXIO, ERRNO(pwrite(fd, &c, 1, 0)));
	EXPECT_EQ(-ENXIO, gm_fill(fd, &fill, .gpa = 0, .len = 1));
}

/* From a writable region on into a read-only one, and from there to a hole. */
TEST_F(plain, into_readonly)
{
	unsigned char buf[200];
	struct guestmem_fill fill;
	int fd = self->guest.fd;
	struct gm_mem mem;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_MEMFD, 2 * PG));
	ASSERT_EQ(0, gm_mem_add(fd, &mem, GM_GPA, 0, PG, 0, NULL));
	ASSERT_EQ(0, gm_mem_add(fd, &mem, GM_GPA + PG, PG, PG, GUESTMEM_REGION_READONLY, NULL));
	memset(buf, 0x66, sizeof(buf));
	EXPECT_EQ(50, ERRNO(pwrite(fd, buf, 200, GM_GPA + PG - 50)));
	EXPECT_EQ(0, gm_pattern_cmp(mem.va + PG, PG, PG));
	EXPECT_EQ(0x66, mem.va[PG - 1]);
	EXPECT_EQ(-EACCES, gm_fill(fd, &fill, .gpa = GM_GPA + PG - 60, .len = 200));
	EXPECT_EQ(60, fill.done);
	EXPECT_EQ(GM_GPA + PG, fill.err.addr);
	EXPECT_EQ(GUESTMEM_REASON_READONLY, fill.err.reason);
	EXPECT_EQ(0, gm_pattern_cmp(mem.va + PG, PG, PG));
	EXPECT_EQ(200, ERRNO(pread(fd, buf, 200, GM_GPA + PG - 50)));
	gm_mem_free(&mem);
}

/* Up to the last byte there is: by ioctl, since a file offset does not go so far. */
TEST_F(plain, last_byte)
{
	struct guestmem_atomic at;
	struct guestmem_copy copy;
	struct guestmem_fill fill;
	int fd = self->guest.fd;
	struct gm_mem mem;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, -(__u64)(2 * PG), 2 * PG, 0, NULL));
	EXPECT_EQ(0, gm_fill(fd, &fill, .gpa = ~0ULL, .len = 1, .value = 0x12));
	EXPECT_EQ(1, fill.done);
	EXPECT_EQ(0x12, mem.va[2 * PG - 1]);
	EXPECT_EQ(0, gm_fill(fd, &fill, .gpa = -(__u64)(2 * PG), .len = 2 * PG, .value = 0x13));
	EXPECT_EQ(2 * PG, fill.done);
	EXPECT_EQ(0, gm_atomic(fd, &at, .op = GUESTMEM_ATOMIC_XCHG, .width = 8, .gpa = -8ULL,
			       .operand[0] = 0x1122334455667788ULL));
	EXPECT_EQ(0, gm_copy(fd, &copy, .dst = -(__u64)(2 * PG), .src = -8ULL, .len = 8));
	EXPECT_EQ(8, copy.done);
	EXPECT_EQ(0, memcmp(mem.va, mem.va + 2 * PG - 8, 8));
	EXPECT_EQ(0, gm_copy(fd, &copy, .dst = -(__u64)PG, .src = -(__u64)(2 * PG), .len = PG));
	EXPECT_EQ(PG, copy.done);
	gm_mem_free(&mem);
}

TEST_F(plain, rights)
{
	int rd = open(GM_DEV, O_RDONLY | O_CLOEXEC), wr = open(GM_DEV, O_WRONLY | O_CLOEXEC);
	struct guestmem_atomic at;
	struct guestmem_copy copy;
	struct guestmem_fill fill;
	struct gm_mem mem;
	unsigned char c;

	ASSERT_LE(0, rd);
	ASSERT_LE(0, wr);
	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_user_add(wr, mem.va, GM_GPA, PG, 0, NULL));
	EXPECT_EQ(-EBADF, ERRNO(pread(wr, &c, 1, GM_GPA)));
	EXPECT_EQ(-EBADF, ERRNO(pwrite(rd, &c, 1, GM_GPA)));
	EXPECT_EQ(-EACCES, gm_fill(rd, &fill, .gpa = GM_GPA, .len = 1));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, fill.err.reason);
	EXPECT_EQ(GUESTMEM_RIGHT_WRITE, fill.err.need);
	EXPECT_EQ(0, gm_fill(wr, &fill, .gpa = GM_GPA, .len = 1, .value = 0x77));
	EXPECT_EQ(0x77, mem.va[0]);
	/* Both of these tell what was there. */
	EXPECT_EQ(-EACCES, gm_copy(wr, &copy, .dst = GM_GPA, .src = GM_GPA + 8, .len = 8));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, copy.err.reason);
	EXPECT_EQ(-EACCES, gm_atomic(wr, &at, .op = GUESTMEM_ATOMIC_ADD, .width = 1,
				     .gpa = GM_GPA));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, at.err.reason);
	EXPECT_EQ(0, at.old[0]);
	close(rd);
	close(wr);
	gm_mem_free(&mem);
}

TEST_HARNESS_MAIN
