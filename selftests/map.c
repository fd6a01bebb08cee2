// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmap(2) by guest-physical address, and the translation table.
 */
#include "guestmem_test.h"

#include <sys/ptrace.h>

/* A region, a hole of the size of a huge page, another region. */
FIXTURE(map) {
	struct gm_guest guest;
	struct gm_mem mem;
	size_t half;		/* of the first region */
	size_t hole;		/* where the hole starts, from GM_GPA */
	size_t second;		/* where the second region starts, from GM_GPA */
	size_t end;
	__u32 ids[2];
	bool ro;
};
FIXTURE_VARIANT(map) {
	enum gm_kind kind;
	__u32 flags;
};
GM_BACKING_VARIANT(map, anon, GM_ANON)
GM_BACKING_VARIANT(map, thp, GM_THP)
GM_BACKING_VARIANT(map, memfd, GM_MEMFD)
GM_BACKING_VARIANT(map, tmpfs, GM_TMPFS)
GM_BACKING_VARIANT(map, hugetlb, GM_HUGETLB)
FIXTURE_SETUP(map)
{
	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, variant->kind, gm_kind_len(variant->kind)));
	self->half = self->mem.len / PG / 2 * PG;
	self->hole = self->half;
	self->second = self->hole + GM_HUGE;
	self->end = self->second + self->mem.len - self->half;
	self->ro = variant->flags & GUESTMEM_REGION_READONLY;
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, self->half,
				variant->flags, &self->ids[0]));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA + self->second, self->half,
				self->mem.len - self->half, variant->flags, &self->ids[1]));
}
FIXTURE_TEARDOWN(map)
{
	gm_mem_free(&self->mem);
	gm_guest_teardown(_metadata, &self->guest);
}

/* All of both regions through the mapping at @p, which starts at GM_GPA. */
#define EXPECT_MAPPED(p) do {								\
	size_t i_;									\
											\
	for (i_ = 0; i_ < self->mem.len; i_ += 509) {					\
		size_t at_ = i_ < self->half ? i_ : self->second + i_ - self->half;	\
											\
		ASSERT_EQ(self->mem.va[i_], gm_peek((p) + at_))				\
			TH_LOG("at 0x%zx", at_);					\
	}										\
} while (0)

TEST_F(map, read)
{
	int prots[] = { PROT_READ, PROT_READ | PROT_WRITE };
	unsigned char *p;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		p = gm_mmap(self->guest.fd, GM_GPA, self->end, prots[i]);
		ASSERT_NE(MAP_FAILED, p);
		EXPECT_MAPPED(p);
		EXPECT_EQ(-SIGBUS, gm_peek(p + self->hole));
		EXPECT_EQ(-SIGBUS, gm_peek(p + self->second - 1));
		/* What the owner writes is seen at once. */
		self->mem.va[11] ^= 0x80;
		self->mem.va[self->mem.len - 1] ^= 0x80;
		EXPECT_MAPPED(p);
		EXPECT_EQ(self->mem.va[11], p[11]);
		EXPECT_EQ(self->mem.va[self->mem.len - 1], p[self->end - 1]);
		munmap(p, self->end);
	}
}

TEST_F(map, write)
{
	int fd = self->guest.fd, want = self->ro ? -SIGBUS : 0;
	size_t at[] = { 0, PG - 1, 3 * PG, self->half - 1, self->second, self->end - 1 };
	unsigned char *p, c;
	unsigned int i;

	p = gm_mmap(fd, GM_GPA, self->end, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		size_t in = at[i] < self->half ? at[i] : at[i] - self->second + self->half;

		/* Written first, and read first. */
		if (i & 1) {
			EXPECT_EQ(self->mem.va[in], gm_peek(p + at[i]));
		}
		EXPECT_EQ(want, gm_poke(p + at[i], 0xc0 + i));
		EXPECT_EQ(self->ro ? gm_pattern(in) : 0xc0 + i, self->mem.va[in])
			TH_LOG("at 0x%zx", at[i]);
		EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA + at[i]));
		EXPECT_EQ(self->mem.va[in], c);
	}
	EXPECT_EQ(-SIGBUS, gm_poke(p + self->hole, 1));
	EXPECT_MAPPED(p);

	/* Protection comes and goes; the region's own stays. */
	ASSERT_EQ(0, mprotect(p, self->end, PROT_READ));
	EXPECT_EQ(-SIGSEGV, gm_poke(p + 2 * PG, 1));
	EXPECT_EQ(self->mem.va[2 * PG], gm_peek(p + 2 * PG));
	ASSERT_EQ(0, mprotect(p, self->end, PROT_READ | PROT_WRITE));
	EXPECT_EQ(self->mem.va[2 * PG], gm_peek(p + 2 * PG));
	EXPECT_EQ(want, gm_poke(p + 2 * PG, 0x99));
	EXPECT_EQ(self->ro ? gm_pattern(2 * PG) : 0x99, self->mem.va[2 * PG]);
	ASSERT_EQ(0, mprotect(p + PG, PG, PROT_NONE));
	EXPECT_EQ(-SIGSEGV, gm_peek(p + PG));
	EXPECT_EQ(self->mem.va[2 * PG], gm_peek(p + 2 * PG));
	ASSERT_EQ(0, mprotect(p + PG, PG, PROT_WRITE | PROT_READ));
	EXPECT_EQ(want, gm_poke(p + PG, 0x98));
	EXPECT_EQ(self->ro ? gm_pattern(PG) : 0x98, self->mem.va[PG]);
	munmap(p, self->end);
}

TEST_F(map, private)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_READ, MAP_PRIVATE, self->guest.fd, GM_GPA));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->guest.fd,
				   GM_GPA));
	EXPECT_EQ(EINVAL, errno);
}

/* The mapping need not start or end where a region does. */
TEST_F(map, windows)
{
	int fd = self->guest.fd;
	unsigned char *p;

	p = gm_mmap(fd, GM_GPA + 3 * PG, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, gm_pattern_cmp(p, 3 * PG, PG));
	munmap(p, PG);
	p = gm_mmap(fd, GM_GPA - PG, 2 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(gm_pattern(0), gm_peek(p + PG));
	munmap(p, 2 * PG);
	p = gm_mmap(fd, GM_GPA + self->end - PG, 3 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(self->mem.len - 1), gm_peek(p + PG - 1));
	EXPECT_EQ(-SIGBUS, gm_peek(p + PG));
	munmap(p, 3 * PG);
	/* The hole only. */
	p = gm_mmap(fd, GM_GPA + self->hole, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	munmap(p, PG);
}

/* Removed under a live mapping, with force and without; and another put there. */
TEST_F(map, revoke)
{
	int fd = self->guest.fd, i;
	struct gm_mem other;
	unsigned char *p;
	__u32 id = self->ids[0];

	ASSERT_EQ(0, gm_mem_alloc(&other, GM_MEMFD, self->half));
	p = gm_mmap(fd, GM_GPA, self->end, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_MAPPED(p);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, i ? gm_revoke(fd, id) : gm_remove(fd, id));
		EXPECT_EQ(-SIGBUS, gm_peek(p));
		EXPECT_EQ(-SIGBUS, gm_poke(p + 2 * PG, 0xdd));
		EXPECT_EQ(-SIGBUS, gm_peek(p + self->half - 1));
		/* The neighbour does not mind. */
		EXPECT_EQ(gm_pattern(self->half), gm_peek(p + self->second));
		EXPECT_EQ(gm_pattern(self->mem.len - 1), gm_peek(p + self->end - 1));
		/* The memory of what is gone was left as it was. */
		EXPECT_EQ(0, gm_pattern_cmp(self->mem.va, 0, self->half));
		EXPECT_EQ(0, gm_pattern_cmp(other.va, 0, self->half));

		memset(other.va, 0x21 + i, self->half);
		ASSERT_EQ(0, gm_mem_add(fd, &other, GM_GPA, 0, self->half, 0, &id));
		EXPECT_EQ(0x21 + i, gm_peek(p));
		EXPECT_EQ(0x21 + i, gm_peek(p + self->half - 1));
		EXPECT_EQ(0, gm_poke(p + 5, 0x31 + i));
		EXPECT_EQ(0x31 + i, other.va[5]);
		gm_pattern_set(other.va, self->half);
	}
	/* The hole is filled after the mmap. */
	ASSERT_EQ(0, gm_mem_add(fd, &other, GM_GPA + self->hole, 0, PG, 0, NULL));
	EXPECT_EQ(gm_pattern(7), gm_peek(p + self->hole + 7));
	munmap(p, self->end);
	gm_mem_free(&other);
}

/* A guest's revocation does not reach another guest at the same addresses. */
TEST_F(map, two_guests)
{
	int fd2 = open(GM_DEV, O_RDWR | O_CLOEXEC);
	unsigned char *p, *q;
	__u32 id2;

	ASSERT_LE(0, fd2);
	ASSERT_EQ(0, gm_mem_add(fd2, &self->mem, GM_GPA, 0, self->half, variant->flags, &id2));
	p = gm_mmap(self->guest.fd, GM_GPA, self->half, PROT_READ);
	q = gm_mmap(fd2, GM_GPA, self->half, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_NE(MAP_FAILED, q);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(gm_pattern(0), gm_peek(q));
	EXPECT_EQ(0, gm_revoke(fd2, id2));
	EXPECT_EQ(-SIGBUS, gm_peek(q));
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	munmap(p, self->half);
	munmap(q, self->half);
	close(fd2);
}

TEST_F(map, partial_munmap)
{
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA, self->end, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_MAPPED(p);
	ASSERT_EQ(0, munmap(p + 4 * PG, 2 * PG));
	EXPECT_EQ(-SIGSEGV, gm_peek(p + 4 * PG));
	EXPECT_EQ(-SIGSEGV, gm_peek(p + 6 * PG - 1));
	EXPECT_EQ(gm_pattern(4 * PG - 1), gm_peek(p + 4 * PG - 1));
	EXPECT_EQ(gm_pattern(6 * PG), gm_peek(p + 6 * PG));
	/* What is left behind the cut is revoked like the rest. */
	EXPECT_EQ(0, gm_revoke(self->guest.fd, self->ids[0]));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 6 * PG));
	munmap(p, 4 * PG);
	munmap(p + 6 * PG, self->end - 6 * PG);
}

TEST_F(map, mremap)
{
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA + PG, 4 * PG, PROT_READ), *q;

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(PG), gm_peek(p));
	/* It does not grow over what was not asked for. */
	EXPECT_EQ(MAP_FAILED, mremap(p, 4 * PG, 8 * PG, MREMAP_MAYMOVE));
	q = mmap(NULL, 4 * PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, q);
	ASSERT_EQ(q, mremap(p, 4 * PG, 4 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, q));
	EXPECT_EQ(-SIGSEGV, gm_peek(p));
	EXPECT_EQ(0, gm_pattern_cmp(q, PG, 4 * PG));
	EXPECT_EQ(0, gm_revoke(self->guest.fd, self->ids[0]));
	EXPECT_EQ(-SIGBUS, gm_peek(q));
	munmap(q, 4 * PG);
}

TEST_F(map, fork)
{
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA, self->half, PROT_READ);
	int status;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		unsigned char *q;

		if (gm_peek(p) != -SIGSEGV)
			_exit(1);
		/* By the file it can have its own. */
		q = gm_mmap(self->guest.fd, GM_GPA, self->half, PROT_READ);
		if (q == MAP_FAILED || gm_peek(q + PG) != gm_pattern(PG))
			_exit(2);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + PG));
	munmap(p, self->half);
}

/* Debuggers reach it, as far as the mapping and the region allow. */
/* Not even by madvise(): fork() copies huge entries without asking who revokes. */
TEST_F(map, never_inherited)
{
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA, PG, PROT_READ);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-1, madvise(p, PG, MADV_DOFORK));
	EXPECT_EQ(EINVAL, errno);
	munmap(p, PG);
}

/* A tracer that goes on behind the mapping does not get at what lies there. */
TEST_F(map, proc_mem_ends_with_the_mapping)
{
	int fd = self->guest.fd, prot = PROT_READ | (self->ro ? 0 : PROT_WRITE), mem;
	unsigned char *p, *next, buf[200];

	/* Two pages of address space, of which the second is other memory. */
	p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	next = p + PG;
	memset(next, 0x77, PG);
	ASSERT_EQ(p, mmap(p, PG, prot, MAP_SHARED | MAP_FIXED, fd, GM_GPA));
	mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mem);
	EXPECT_EQ(200, pread(mem, buf, 200, (off_t)next - 100));
	EXPECT_EQ(0, gm_pattern_cmp(buf, PG - 100, 100));
	EXPECT_EQ(0x77, buf[100]);
	EXPECT_EQ(0x77, buf[199]);
	if (!self->ro) {
		memset(buf, 0x11, sizeof(buf));
		EXPECT_EQ(200, pwrite(mem, buf, 200, (off_t)next - 100));
		EXPECT_EQ(0x11, self->mem.va[PG - 1]);
		EXPECT_EQ(gm_pattern(PG), self->mem.va[PG]);
		EXPECT_EQ(0x11, next[99]);
		EXPECT_EQ(0x77, next[100]);
	}
	close(mem);
	munmap(p, 2 * PG);
}

TEST_F(map, proc_mem)
{
	int fd = self->guest.fd, mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	unsigned char *p, *q, buf[PG + 100];

	ASSERT_LE(0, mem);
	p = gm_mmap(fd, GM_GPA, self->end, PROT_READ | PROT_WRITE);
	q = gm_mmap(fd, GM_GPA, self->end, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_NE(MAP_FAILED, q);
	EXPECT_EQ((ssize_t)sizeof(buf), pread(mem, buf, sizeof(buf), (off_t)p + PG - 50));
	EXPECT_EQ(0, gm_pattern_cmp(buf, PG - 50, sizeof(buf)));
	memset(buf, 0, sizeof(buf));
	EXPECT_EQ((ssize_t)sizeof(buf), pread(mem, buf, sizeof(buf), (off_t)q + PG - 50));
	EXPECT_EQ(0, gm_pattern_cmp(buf, PG - 50, sizeof(buf)));
	EXPECT_GT(1, pread(mem, buf, 10, (off_t)p + self->hole));

	memset(buf, 0x4d, sizeof(buf));
	if (self->ro) {
		EXPECT_GT(1, pwrite(mem, buf, 10, (off_t)p + PG));
	} else {
		EXPECT_EQ(10, pwrite(mem, buf, 10, (off_t)p + PG));
		EXPECT_EQ(0x4d, self->mem.va[PG]);
		EXPECT_EQ(0x4d, self->mem.va[PG + 9]);
		gm_pattern_set(self->mem.va, self->mem.len);
	}
	/* Not by force into a mapping that its owner may only read. */
	EXPECT_GT(1, pwrite(mem, buf, 10, (off_t)q + PG));
	EXPECT_EQ(0, gm_pattern_cmp(self->mem.va, 0, 2 * PG));

	EXPECT_EQ(0, gm_revoke(fd, self->ids[0]));
	EXPECT_GT(1, pread(mem, buf, 10, (off_t)p));
	munmap(p, self->end);
	munmap(q, self->end);
	close(mem);
}

TEST_F(map, ptrace)
{
	unsigned char *p;
	int status;
	long word, want;
	pid_t pid;

	/* At the same address in the child, which maps it itself. */
	p = gm_mmap(self->guest.fd, GM_GPA, self->half, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (mmap(p, self->half, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 self->guest.fd, GM_GPA) != p)
			_exit(1);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(2);
		raise(SIGSTOP);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	memcpy(&want, self->mem.va + PG, sizeof(want));
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, p + PG, NULL);
	EXPECT_EQ(0, errno);
	EXPECT_EQ(want, word);
	if (self->ro) {
		EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, p + PG, 42));
		EXPECT_EQ(0, memcmp(&want, self->mem.va + PG, sizeof(want)));
	} else {
		EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, pid, p + PG, 42));
		EXPECT_EQ(42, *(long *)(self->mem.va + PG));
	}
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	munmap(p, self->half);
}

/* Nothing may take the pages away by way of the mapping: they could not be revoked. */
TEST_F(map, no_gup)
{
	const char *dir = getenv("GUESTMEM_TEST_WRITEBACK_DIR");
	int fd = self->guest.fd, pipes[2], f;
	unsigned char *p, buf[16];
	struct iovec iov, local = { buf, 16 };

	p = gm_mmap(fd, GM_GPA, self->half, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	iov = (struct iovec){ p, PG };
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-1, vmsplice(pipes[1], &iov, 1, SPLICE_F_NONBLOCK));
	EXPECT_EQ(EFAULT, errno);
	iov.iov_len = 16;
	EXPECT_EQ(-1, process_vm_readv(getpid(), &local, 1, &iov, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	/* An ordinary copy is no problem. */
	EXPECT_EQ(100, write(pipes[1], p, 100));
	close(pipes[0]);
	close(pipes[1]);

	if (dir) {
		f = open(dir, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
		ASSERT_LE(0, f)
			TH_LOG("%s: %s", dir, strerror(errno));
		EXPECT_EQ(-1, write(f, p, PG));
		EXPECT_EQ(EFAULT, errno);
		close(f);
	}
	munmap(p, self->half);
}

/* The mapping outlives the descriptor, with all that hangs on the file. */
TEST_F(map, close_first)
{
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA, self->end, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, close(self->guest.fd));
	self->guest.fd = -1;
	EXPECT_EQ(1, gm_guests(&self->guest.id));
	EXPECT_MAPPED(p);
	EXPECT_EQ(-SIGBUS, gm_peek(p + self->hole));
	/* Even when the process has its memory somewhere else by now. */
	gm_mem_free(&self->mem);
	EXPECT_EQ(gm_pattern(5), gm_peek(p + 5));
	EXPECT_EQ(gm_pattern(self->half), gm_peek(p + self->second));
	munmap(p, self->end);
	/* The fixture sees that it is gone now. */
}

GM_PLAIN_FIXTURE(plain)

TEST_F(plain, offsets)
{
	int fd = self->guest.fd;
	struct gm_mem mem;
	unsigned char *p;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	/* Below 2^63 all addresses can be mapped, beyond them none. */
	ASSERT_EQ(0, gm_user_add(fd, mem.va, (1ULL << 63) - PG, 2 * PG, 0, NULL));
	p = gm_mmap(fd, (1ULL << 63) - PG, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(9), gm_peek(p + 9));
	munmap(p, PG);
	EXPECT_EQ(MAP_FAILED, gm_mmap(fd, (1ULL << 63) - PG, 2 * PG, PROT_READ));
	EXPECT_EQ(MAP_FAILED, gm_mmap(fd, (1ULL << 63) + (1ULL << 40), PG, PROT_READ));
	EXPECT_EQ(MAP_FAILED, gm_mmap(fd, -(__u64)PG, PG, PROT_READ));
	EXPECT_EQ(MAP_FAILED, gm_mmap(fd, 3ULL << 62, PG, PROT_READ));
	gm_mem_free(&mem);
}

TEST_F(plain, rights)
{
	int rd = open(GM_DEV, O_RDONLY | O_CLOEXEC), wr = open(GM_DEV, O_WRONLY | O_CLOEXEC);
	void *p;

	ASSERT_LE(0, rd);
	ASSERT_LE(0, wr);
	EXPECT_EQ(MAP_FAILED, gm_mmap(rd, GM_GPA, PG, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	p = gm_mmap(rd, GM_GPA, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-1, mprotect(p, PG, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	munmap(p, PG);
	/* Memory that can be written can be read on most CPUs. */
	EXPECT_EQ(MAP_FAILED, gm_mmap(wr, GM_GPA, PG, PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	close(rd);
	close(wr);
}

/**
 * struct toggler - a thread that adds and removes regions, for somebody who reads
 * @fd: the guest
 * @va: their memory
 * @rounds: how often, at least
 * @nread: how often was read; it goes on until it was
 * @errors: what failed
 * @done: it has ended
 */
struct toggler {
	int fd;
	unsigned char *va[2];
	int rounds;
	atomic_ulong nread;
	int errors;
	atomic_bool done;
};

/* One of two regions at the same address, or none, in turn. */
static void *toggle(void *arg)
{
	struct toggler *t = arg;
	__u32 id;
	int i;

	for (i = 0; i < t->rounds || !atomic_load(&t->nread); i++) {
		if (gm_user_add(t->fd, t->va[i & 1], GM_GPA, 8 * PG, 0, &id) ||
		    (i & 2 ? gm_revoke(t->fd, id) : gm_remove(t->fd, id)))
			t->errors++;
	}
	atomic_store(&t->done, true);
	return NULL;
}

/* What is read while regions come and go is one of them or SIGBUS, nothing else. */
TEST_F(plain, racing_faults)
{
	struct toggler t = { .fd = self->guest.fd, .rounds = 400 };
	int value, i;
	struct gm_mem mem[2];
	unsigned char *p;
	pthread_t thread;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, gm_mem_alloc(&mem[i], GM_ANON, 8 * PG));
		memset(mem[i].va, 0x51 + i, 8 * PG);
		t.va[i] = mem[i].va;
	}
	p = gm_mmap(t.fd, GM_GPA, 8 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, pthread_create(&thread, NULL, toggle, &t));
	for (i = 0; !atomic_load(&t.done); i++) {
		value = gm_peek(p + (i % 8) * PG);
		if (value != 0x51 && value != 0x52)
			ASSERT_EQ(-SIGBUS, value);
		atomic_fetch_add(&t.nread, 1);
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(0, t.errors);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	munmap(p, 8 * PG);
	gm_mem_free(&mem[0]);
	gm_mem_free(&mem[1]);
}

/* ---- the translation table ---- */

static struct guestmem_table *table_map(int fd, __u64 *len)
{
	struct guestmem_info info;

	if (gm_info(fd, &info))
		return MAP_FAILED;
	*len = info.table_len;
	return gm_mmap(fd, GUESTMEM_MMAP_TABLE, info.table_len, PROT_READ);
}

static const struct guestmem_table_entry *entry(const struct guestmem_table *t, __u32 i)
{
	return (const void *)((const char *)t + t->header_size + (size_t)i * t->entry_size);
}

TEST_F(plain, table)
{
	struct guestmem_region regions[8];
	const struct guestmem_table *t;
	struct guestmem_info info;
	int fd = self->guest.fd, mfd, i;
	struct gm_mem mem;
	__u64 len, generation = 0;
	__u32 ids[4];
	void *p;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 8 * PG));
	t = table_map(fd, &len);
	ASSERT_NE(MAP_FAILED, t);
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(GUESTMEM_TABLE_MAGIC, t->magic);
	EXPECT_EQ(0, memcmp(&t->magic, "guestmem", 8));
	EXPECT_EQ(GUESTMEM_TABLE_VERSION, t->version);
	EXPECT_LE(sizeof(struct guestmem_table_entry), t->entry_size);
	EXPECT_LE(sizeof(struct guestmem_table), t->header_size);
	EXPECT_EQ(info.max_regions, t->capacity);
	EXPECT_LE(t->header_size + (__u64)t->capacity * t->entry_size, len);
	EXPECT_EQ(0, len % PG);
	EXPECT_EQ(0, t->nentries);
	EXPECT_EQ(0, t->seq & 1);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, t->reserved[i]);

	/* Added out of order; one cannot be mapped by mmap, and is in there too. */
	ASSERT_EQ(0, gm_user_add(fd, mem.va, 4 * GM_GPA, 2 * PG, 0, &ids[0]));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, 2 * GM_GPA, PG, GUESTMEM_REGION_READONLY, &ids[1]));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, -(__u64)PG, PG, 0, &ids[2]));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, 3 * GM_GPA, 8 * PG, 0, &ids[3]));
	ASSERT_EQ(4, gm_list(fd, regions, 8));
	ASSERT_EQ(4, t->nentries);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(regions[i].gpa, entry(t, i)->gpa);
		EXPECT_EQ(regions[i].len, entry(t, i)->len);
		EXPECT_EQ(regions[i].id, entry(t, i)->id);
		EXPECT_EQ(regions[i].flags, entry(t, i)->flags | GUESTMEM_REGION_OWN);
		EXPECT_GE(t->generation, entry(t, i)->generation);
	}
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(info.generation, t->generation);
	/* Later adds have later generations. */
	EXPECT_LT(entry(t, 2)->generation, entry(t, 0)->generation);
	EXPECT_LT(entry(t, 0)->generation, entry(t, 3)->generation);
	EXPECT_LT(entry(t, 3)->generation, entry(t, 1)->generation);
	generation = t->generation;
	EXPECT_EQ(0, gm_remove(fd, ids[3]));
	EXPECT_EQ(3, t->nentries);
	EXPECT_LT(generation, t->generation);
	EXPECT_EQ(4 * GM_GPA, entry(t, 1)->gpa);
	EXPECT_EQ(-(__u64)PG, entry(t, 2)->gpa);

	/* For reading only, by any way. */
	EXPECT_EQ(MAP_FAILED, gm_mmap(fd, GUESTMEM_MMAP_TABLE, PG, PROT_READ | PROT_WRITE));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_READ, MAP_PRIVATE, fd,
				   (off_t)GUESTMEM_MMAP_TABLE));
	EXPECT_EQ(-1, mprotect((void *)t, PG, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-SIGSEGV, gm_poke((void *)t, 0));
	mfd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mfd);
	EXPECT_GT(1, pwrite(mfd, "x", 1, (off_t)t));
	close(mfd);
	EXPECT_EQ(GUESTMEM_TABLE_MAGIC, t->magic);
	/* No more of it than there is; a part may do. */
	EXPECT_EQ(MAP_FAILED, gm_mmap(fd, GUESTMEM_MMAP_TABLE, len + PG, PROT_READ));
	EXPECT_EQ(MAP_FAILED, gm_mmap(fd, GUESTMEM_MMAP_TABLE + len, PG, PROT_READ));
	p = gm_mmap(fd, GUESTMEM_MMAP_TABLE, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, memcmp(p, t, sizeof(*t)));
	munmap(p, PG);
	munmap((void *)t, len);
	gm_mem_free(&mem);
}

/* No host-physical address is in it: nothing that is not told by REGION_LIST. */
TEST_F(plain, table_padding)
{
	const struct guestmem_table *t;
	const unsigned char *c;
	int fd = self->guest.fd;
	__u64 len, i, from;
	struct gm_mem mem;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	t = table_map(fd, &len);
	ASSERT_NE(MAP_FAILED, t);
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, PG, 0, NULL));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, 2 * GM_GPA, PG, 0, &id));
	c = (const unsigned char *)t;
	for (i = sizeof(*t); i < t->header_size; i++)
		EXPECT_EQ(0, c[i]);
	from = t->header_size + 2 * (__u64)t->entry_size;
	for (i = from; i < len; i++) {
		ASSERT_EQ(0, c[i])
			TH_LOG("at %llu", (unsigned long long)i);
	}
	munmap((void *)t, len);
	gm_mem_free(&mem);
}

enum { TABLE_SLOTS = 6 };

static void *table_writer(void *arg)
{
	struct toggler *t = arg;
	__u32 ids[TABLE_SLOTS] = { 0 };
	bool there[TABLE_SLOTS] = { false };
	unsigned int seed = 1;
	int i, s;

	for (i = 0; i < t->rounds || !atomic_load(&t->nread); i++) {
		seed = seed * 1103515245 + 12345;
		s = (seed >> 16) % TABLE_SLOTS;
		if (there[s] ? gm_remove(t->fd, ids[s]) :
			       gm_user_add(t->fd, t->va[0], (s + 1) * GM_GPA, (s + 1) * PG, 0,
					   &ids[s]))
			t->errors++;
		there[s] = !there[s];
	}
	atomic_store(&t->done, true);
	return NULL;
}

/*
 * A reader by the protocol never takes a mixture of two states for one: slot s has
 * the length s + 1 pages and its own address, and all are in order.
 */
TEST_F(plain, table_protocol)
{
	struct toggler t = { .fd = self->guest.fd, .rounds = 2000 };
	struct guestmem_table_entry copy[TABLE_SLOTS];
	struct guestmem_table *table;
	__u64 len, last_generation = 0, generation;
	struct gm_mem mem;
	pthread_t thread;
	__u32 seq, n, i;
	bool done;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, TABLE_SLOTS * PG));
	t.va[0] = mem.va;
	table = table_map(t.fd, &len);
	ASSERT_NE(MAP_FAILED, table);
	ASSERT_EQ(0, pthread_create(&thread, NULL, table_writer, &t));
	do {
		done = atomic_load(&t.done);
		seq = __atomic_load_n(&table->seq, __ATOMIC_ACQUIRE);
		if (seq & 1)
			continue;
		generation = __atomic_load_n(&table->generation, __ATOMIC_RELAXED);
		n = __atomic_load_n(&table->nentries, __ATOMIC_RELAXED);
		for (i = 0; i < n && i < TABLE_SLOTS; i++) {
			const struct guestmem_table_entry *e = entry(table, i);

			copy[i].gpa = __atomic_load_n(&e->gpa, __ATOMIC_RELAXED);
			copy[i].len = __atomic_load_n(&e->len, __ATOMIC_RELAXED);
			copy[i].id = __atomic_load_n(&e->id, __ATOMIC_RELAXED);
			copy[i].generation = __atomic_load_n(&e->generation, __ATOMIC_RELAXED);
		}
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&table->seq, __ATOMIC_RELAXED) != seq)
			continue;
		atomic_fetch_add(&t.nread, 1);
		ASSERT_GE(TABLE_SLOTS, n);
		ASSERT_LE(last_generation, generation);
		last_generation = generation;
		for (i = 0; i < n; i++) {
			ASSERT_EQ(copy[i].gpa / GM_GPA * PG, copy[i].len);
			ASSERT_EQ(0, copy[i].gpa % GM_GPA);
			ASSERT_LE(copy[i].generation, generation);
			if (i) {
				ASSERT_LT(copy[i - 1].gpa, copy[i].gpa);
			}
		}
	} while (!done);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, t.errors);
	munmap(table, len);
	gm_mem_free(&mem);
}

TEST_HARNESS_MAIN
