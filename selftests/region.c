// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGION_ADD, REGION_REMOVE, REGION_LIST: geometry, what can be pinned and what
 * cannot, and that a failure leaves nothing behind.
 */
#include "guestmem_test.h"

GM_BACKING_FIXTURE(backing)

TEST_F(backing, add_list_remove)
{
	struct gm_mem *mem = &self->mem;
	struct guestmem_info before, info;
	struct guestmem_region regions[2];
	struct guestmem_region_add add;
	struct guestmem_region_remove rm;
	unsigned char *buf = malloc(mem->len);
	int fd = self->guest.fd;
	long pins;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, gm_info(fd, &before));
	EXPECT_EQ(0, before.nregions);
	EXPECT_EQ(0, before.pinned);
	EXPECT_EQ(0, before.last);
	EXPECT_EQ(0, gm_list(fd, regions, 2));

	if (mem->fd >= 0) {
		ASSERT_EQ(0, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_FILE,
					   .fd = mem->fd, .gpa = GM_GPA, .len = mem->len,
					   .flags = variant->flags,
					   .err = { .reason = 7, .addr = 7, .need = 7 }));
	} else {
		ASSERT_EQ(0, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
					   .offset = (uintptr_t)mem->va, .gpa = GM_GPA,
					   .len = mem->len, .flags = variant->flags,
					   .err = { .reason = 7, .addr = 7, .need = 7 }));
	}
	EXPECT_TRUE(gm_err_is_zero(&add.err));

	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(1, info.nregions);
	EXPECT_EQ(mem->len, info.pinned);
	EXPECT_EQ(GM_GPA + mem->len - 1, info.last);
	EXPECT_LT(before.generation, info.generation);
	EXPECT_EQ(self->guest.leak.vmpin + (long)mem->len, gm_vmpin());
	pins = gm_pins_least() - self->guest.leak.pins;
	/* One a page, or where the kernel can, one a folio. */
	EXPECT_LT(0, pins);
	EXPECT_GE((long)(mem->len / PG), pins);

	ASSERT_EQ(1, gm_list(fd, regions, 2));
	EXPECT_EQ(GM_GPA, regions[0].gpa);
	EXPECT_EQ(mem->len, regions[0].len);
	EXPECT_EQ(add.offset, regions[0].offset);
	EXPECT_EQ(add.id, regions[0].id);
	EXPECT_EQ(variant->flags | (add.backing == GUESTMEM_BACKING_USER ? GUESTMEM_REGION_OWN : 0),
		  regions[0].flags);
	EXPECT_EQ(add.backing, regions[0].backing);
	EXPECT_EQ(0, regions[0].nlocks);
	EXPECT_LE(1, regions[0].nruns);
	EXPECT_GE(mem->len / PG, regions[0].nruns);
	if (variant->kind == GM_HUGETLB) {
		EXPECT_GE(mem->len / GM_HUGE, regions[0].nruns);
	}
	EXPECT_EQ(getpid(), (pid_t)regions[0].pid);

	/* The very pages of the process, in both directions of time. */
	EXPECT_EQ((ssize_t)mem->len, pread(fd, buf, mem->len, GM_GPA));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 0, mem->len));
	mem->va[mem->len - 1] ^= 0xff;
	mem->va[0] ^= 0xff;
	EXPECT_EQ((ssize_t)mem->len, pread(fd, buf, mem->len, GM_GPA));
	EXPECT_EQ(0, memcmp(buf, mem->va, mem->len));

	EXPECT_EQ(0, gm_region_remove(fd, &rm, .id = add.id, .nlocks = 7,
				      .err = { .reason = 7, .addr = 7 }));
	EXPECT_TRUE(gm_err_is_zero(&rm.err));
	EXPECT_EQ(0, rm.nlocks);
	before = info;
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(0, info.nregions);
	EXPECT_EQ(0, info.pinned);
	EXPECT_EQ(0, info.last);
	EXPECT_LT(before.generation, info.generation);
	EXPECT_EQ(-ENOENT, gm_remove(fd, add.id));
	EXPECT_EQ(self->guest.leak.vmpin, gm_vmpin());
	EXPECT_EQ(0, gm_list(fd, regions, 2));
	free(buf);
}

TEST_F(backing, overlap)
{
	struct gm_mem *mem = &self->mem;
	size_t n = mem->len / PG, third = n / 3 * PG;
	__u64 gpa = GM_GPA + 16 * mem->len;
	int fd = self->guest.fd;
	struct guestmem_info info;
	__u32 id;
	int i;
	struct {
		const char *what;
		__u64 gpa;
		size_t len;
	} cases[] = {
		{ "the same", gpa, third },
		{ "contained", gpa + PG, PG },
		{ "its first page", gpa, PG },
		{ "its last page", gpa + third - PG, PG },
		{ "over its start", gpa - PG, 2 * PG },
		{ "over its end", gpa + third - PG, 2 * PG },
		{ "containing it", gpa - PG, third + 2 * PG },
	};

	ASSERT_EQ(0, gm_mem_add(fd, mem, gpa, 0, third, variant->flags, &id));
	for (i = 0; i < (int)ARRAY_SIZE(cases); i++) {
		struct guestmem_region_add add;

		EXPECT_EQ(-EEXIST, gm_region_add(fd, &add,
			.backing = mem->fd >= 0 ? GUESTMEM_BACKING_FILE : GUESTMEM_BACKING_USER,
			.fd = mem->fd >= 0 ? mem->fd : 0,
			.offset = mem->fd >= 0 ? 0 : (uintptr_t)mem->va,
			.flags = variant->flags,
			.gpa = cases[i].gpa, .len = cases[i].len))
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(GUESTMEM_REASON_OVERLAP, add.err.reason)
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(id, add.err.need)
			TH_LOG("%s", cases[i].what);
	}
	/* Neighbours on both sides touch it and do not overlap. */
	EXPECT_EQ(0, gm_mem_add(fd, mem, gpa - third, third, third, variant->flags, NULL));
	EXPECT_EQ(0, gm_mem_add(fd, mem, gpa + third, 2 * third, PG, variant->flags, NULL));
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(3, info.nregions);
	EXPECT_EQ(2 * third + PG, info.pinned);
	EXPECT_EQ(self->guest.leak.vmpin + 2 * (long)third + (long)PG, gm_vmpin());
}

/* The list is sorted, whatever the order of the adds; ids are never used again. */
TEST_F(backing, many_regions_sorted)
{
	struct guestmem_region regions[8];
	int order[] = { 3, 0, 5, 1, 4, 2 };
	int fd = self->guest.fd;
	__u32 ids[6], again;
	int i, j;

	for (i = 0; i < 6; i++)
		ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA + order[i] * 8 * PG, order[i] * PG,
					PG, variant->flags, &ids[order[i]]));
	ASSERT_EQ(6, gm_list(fd, regions, 8));
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(GM_GPA + i * 8 * PG, regions[i].gpa);
		EXPECT_EQ(ids[i], regions[i].id);
		for (j = 0; j < i; j++)
			EXPECT_NE(ids[i], ids[j]);
	}
	EXPECT_EQ(0, gm_remove(fd, ids[2]));
	EXPECT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA + 2 * 8 * PG, 2 * PG, PG, variant->flags,
				&again));
	for (i = 0; i < 6; i++)
		EXPECT_NE(ids[i], again);
}

/* Two addresses of the same pages: what is written at one is read at the other. */
TEST_F(backing, alias)
{
	int fd = self->guest.fd;
	unsigned char c = 0;

	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, 2 * PG, variant->flags, NULL));
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, 4 * GM_GPA, PG, 2 * PG, variant->flags, NULL));
	self->mem.va[PG + 5] = 0x5a;
	EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA + PG + 5));
	EXPECT_EQ(0x5a, c);
	EXPECT_EQ(1, pread(fd, &c, 1, 4 * GM_GPA + 5));
	EXPECT_EQ(0x5a, c);
	EXPECT_EQ(4 * PG, gm_pinned(fd));
}

/* Pieces of a huge page at offsets that are no multiple of it. */
TEST_F(backing, odd_offset)
{
	unsigned char *buf = malloc(3 * PG);
	int fd = self->guest.fd;
	__u32 id;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA + PG, 5 * PG, 3 * PG, variant->flags, &id));
	EXPECT_EQ(self->guest.leak.vmpin + 3 * (long)PG, gm_vmpin());
	EXPECT_EQ((ssize_t)(3 * PG), pread(fd, buf, 3 * PG, GM_GPA + PG));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 5 * PG, 3 * PG));
	EXPECT_EQ(0, gm_remove(fd, id));
	if (gm_kind_is_huge(variant->kind)) {
		/* Over the border of two huge pages. */
		ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, GM_HUGE - PG, 3 * PG,
					variant->flags, &id));
		EXPECT_EQ((ssize_t)(3 * PG), pread(fd, buf, 3 * PG, GM_GPA));
		EXPECT_EQ(0, gm_pattern_cmp(buf, GM_HUGE - PG, 3 * PG));
	}
	free(buf);
}

/* The same memory by address instead of by file. */
TEST_F(backing, by_address)
{
	unsigned char *buf = malloc(self->mem.len);
	struct guestmem_region region;
	int fd = self->guest.fd;
	__u32 id;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, gm_user_add(fd, self->mem.va, GM_GPA, self->mem.len, variant->flags, &id));
	EXPECT_EQ((ssize_t)self->mem.len, pread(fd, buf, self->mem.len, GM_GPA));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 0, self->mem.len));
	ASSERT_EQ(0, gm_region_get(fd, id, &region));
	EXPECT_EQ(GUESTMEM_BACKING_USER, region.backing);
	EXPECT_EQ((uintptr_t)self->mem.va, region.offset);
	EXPECT_EQ(0, gm_remove(fd, id));
	free(buf);
}

/* Memory that was never touched is faulted in by the add. */
TEST_F(backing, untouched)
{
	struct gm_mem mem = { .kind = variant->kind, .fd = -1, .len = self->mem.len };
	int fd = self->guest.fd;
	unsigned char c = 1;
	__u32 id;

	if (gm_kind_is_file(mem.kind)) {
		mem.fd = gm_kind_file(mem.kind);
		ASSERT_LE(0, mem.fd);
		ASSERT_EQ(0, ftruncate(mem.fd, mem.len));
	} else {
		mem.va = mmap(NULL, mem.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
		ASSERT_NE(MAP_FAILED, mem.va);
	}
	EXPECT_EQ(0, gm_mem_add(fd, &mem, GM_GPA, 0, mem.len, variant->flags, &id));
	EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA + mem.len - 1));
	EXPECT_EQ(0, c);
	/* What the process writes first after the pin must be the pinned page. */
	if (mem.va) {
		mem.va[PG] = 0x77;
		EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA + PG));
		EXPECT_EQ(0x77, c);
	}
	EXPECT_EQ(0, gm_remove(fd, id));
	gm_mem_free(&mem);
}

GM_PLAIN_FIXTURE(region)

/* What a failed add must not have changed. */
#define EXPECT_UNCHANGED(before) do {						\
	struct guestmem_info now_;						\
										\
	EXPECT_EQ(0, gm_info(self->guest.fd, &now_));				\
	EXPECT_EQ((before)->nregions, now_.nregions);				\
	EXPECT_EQ((before)->pinned, now_.pinned);				\
	EXPECT_EQ((before)->last, now_.last);					\
	EXPECT_EQ((before)->events, now_.events);				\
	EXPECT_EQ(self->guest.leak.vmpin + (long)(before)->pinned, gm_vmpin());	\
} while (0)

TEST_F(region, geometry)
{
	struct guestmem_info before;
	int fd = self->guest.fd;
	struct gm_mem mem;
	unsigned int i;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_info(fd, &before));
	struct {
		__u64 gpa, len, offset;
		int err;
		__u32 reason;
		__u64 addr, need, limit;
	} cases[] = {
		{ GM_GPA, 0, (uintptr_t)mem.va, EINVAL, GUESTMEM_REASON_EMPTY, 0, 0, 0 },
		{ GM_GPA + 1, PG, (uintptr_t)mem.va, EINVAL, GUESTMEM_REASON_MISALIGNED,
		  GM_GPA + 1, PG, 0 },
		{ GM_GPA + PG / 2, PG, (uintptr_t)mem.va, EINVAL, GUESTMEM_REASON_MISALIGNED,
		  GM_GPA + PG / 2, PG, 0 },
		{ GM_GPA, PG - 1, (uintptr_t)mem.va, EINVAL, GUESTMEM_REASON_MISALIGNED,
		  PG - 1, PG, 0 },
		{ GM_GPA, 1, (uintptr_t)mem.va, EINVAL, GUESTMEM_REASON_MISALIGNED, 1, PG, 0 },
		{ GM_GPA, PG, (uintptr_t)mem.va + 1, EINVAL, GUESTMEM_REASON_MISALIGNED,
		  (uintptr_t)mem.va + 1, PG, 0 },
		{ -(__u64)PG, 2 * PG, (uintptr_t)mem.va, EOVERFLOW, GUESTMEM_REASON_WRAPS,
		  -(__u64)PG, 2 * PG, ~0ULL },
		{ GM_GPA, GUESTMEM_REGION_MAX_LEN + PG, (uintptr_t)mem.va, EINVAL,
		  GUESTMEM_REASON_TOO_LONG, 0, GUESTMEM_REGION_MAX_LEN + PG,
		  GUESTMEM_REGION_MAX_LEN },
		{ 0, GUESTMEM_REGION_MAX_LEN * 1024, (uintptr_t)mem.va, EINVAL,
		  GUESTMEM_REASON_TOO_LONG, 0, GUESTMEM_REGION_MAX_LEN * 1024,
		  GUESTMEM_REGION_MAX_LEN },
		/* Not too long, but there is no such memory. */
		{ GM_GPA, GUESTMEM_REGION_MAX_LEN, 1ULL << 40, EFAULT, GUESTMEM_REASON_UNMAPPED,
		  1ULL << 40, 0, 0 },
		{ GM_GPA, -(__u64)PG, (uintptr_t)mem.va, EOVERFLOW, GUESTMEM_REASON_WRAPS,
		  GM_GPA, -(__u64)PG, ~0ULL },
	};

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guestmem_region_add add;

		EXPECT_EQ(-cases[i].err, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
						       .gpa = cases[i].gpa, .len = cases[i].len,
						       .offset = cases[i].offset))
			TH_LOG("case %u", i);
		EXPECT_EQ(cases[i].reason, add.err.reason)
			TH_LOG("case %u", i);
		if (cases[i].addr) {
			EXPECT_EQ(cases[i].addr, add.err.addr)
				TH_LOG("case %u", i);
		}
		if (cases[i].need) {
			EXPECT_EQ(cases[i].need, add.err.need)
				TH_LOG("case %u", i);
		}
		if (cases[i].limit) {
			EXPECT_EQ(cases[i].limit, add.err.limit)
				TH_LOG("case %u", i);
		}
		EXPECT_UNCHANGED(&before);
	}
	gm_mem_free(&mem);
}

/* The last page there is: a region may end at 2^64 - 1. */
TEST_F(region, last_page)
{
	struct guestmem_region_add add;
	struct guestmem_region region;
	struct guestmem_info info;
	int fd = self->guest.fd;
	struct gm_mem mem;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, -(__u64)(2 * PG), 2 * PG, 0, &id));
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(~0ULL, info.last);
	EXPECT_EQ(0, gm_region_get(fd, id, &region));
	EXPECT_EQ(-(__u64)(2 * PG), region.gpa);
	/* Overlap is seen there, and the wrap too. */
	EXPECT_EQ(-EEXIST, gm_user_add(fd, mem.va, -(__u64)PG, PG, 0, NULL));
	EXPECT_EQ(-EEXIST, gm_user_add(fd, mem.va, -(__u64)(3 * PG), 2 * PG, 0, NULL));
	EXPECT_EQ(-EOVERFLOW, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
					    .gpa = -(__u64)PG, .len = 2 * PG,
					    .offset = (uintptr_t)mem.va));
	EXPECT_EQ(0, gm_user_add(fd, mem.va, -(__u64)(3 * PG), PG, 0, NULL));
	/* The first page there is, at the same time. */
	EXPECT_EQ(0, gm_user_add(fd, mem.va, 0, PG, 0, NULL));
	EXPECT_EQ(0, gm_remove(fd, id));
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(-(__u64)(2 * PG) - 1, info.last);
	gm_mem_free(&mem);
}

/* Each way in which the memory in the middle cannot be had. */
TEST_F(region, middle_missing)
{
	enum { UNMAPPED, NONE, READ, TRUNCATED, NWAYS };
	size_t n = 64, hole = 41;
	struct guestmem_info before;
	int fd = self->guest.fd;
	int way;

	ASSERT_EQ(0, gm_info(fd, &before));
	for (way = 0; way < NWAYS; way++) {
		struct guestmem_region_add add;
		struct gm_mem mem;

		ASSERT_EQ(0, gm_mem_alloc(&mem, way == TRUNCATED ? GM_MEMFD : GM_ANON, n * PG));
		switch (way) {
		case UNMAPPED:
			ASSERT_EQ(0, munmap(mem.va + hole * PG, PG));
			break;
		case NONE:
			ASSERT_EQ(0, mprotect(mem.va + hole * PG, PG, PROT_NONE));
			break;
		case READ:
			ASSERT_EQ(0, mprotect(mem.va + hole * PG, PG, PROT_READ));
			break;
		case TRUNCATED:
			ASSERT_EQ(0, ftruncate(mem.fd, hole * PG));
			break;
		}

		EXPECT_EQ(-EFAULT, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
						 .gpa = GM_GPA, .len = n * PG,
						 .offset = (uintptr_t)mem.va))
			TH_LOG("way %d", way);
		EXPECT_NE(GUESTMEM_REASON_NONE, add.err.reason)
			TH_LOG("way %d", way);
		if (way == UNMAPPED) {
			EXPECT_EQ(GUESTMEM_REASON_UNMAPPED, add.err.reason);
			EXPECT_EQ((uintptr_t)mem.va + hole * PG, add.err.addr);
		}
		EXPECT_UNCHANGED(&before);
		EXPECT_GE(self->guest.leak.pins, gm_pins_settled(self->guest.leak.pins))
			TH_LOG("way %d", way);
		/* The range was given back with all else. */
		EXPECT_EQ(0, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
					   .gpa = GM_GPA, .len = hole * PG,
					   .offset = (uintptr_t)mem.va));
		EXPECT_EQ(0, gm_remove(fd, add.id));
		/* As munmap() does not mind the hole, the rest is freed as well. */
		gm_mem_free(&mem);
		ASSERT_EQ(0, gm_info(fd, &before));
	}
}

TEST_F(region, nothing_mapped)
{
	struct guestmem_region_add add;
	struct guestmem_info before;
	int fd = self->guest.fd;
	void *p;

	ASSERT_EQ(0, gm_info(fd, &before));
	p = mmap(NULL, 4 * PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, munmap(p, 4 * PG));
	EXPECT_EQ(-EFAULT, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER, .gpa = GM_GPA,
					 .len = 4 * PG, .offset = (uintptr_t)p));
	EXPECT_EQ(GUESTMEM_REASON_UNMAPPED, add.err.reason);
	EXPECT_EQ((uintptr_t)p, add.err.addr);
	/* Kernel addresses, and a range of addresses that wraps. */
	EXPECT_EQ(-EFAULT, gm_user_add(fd, (void *)(uintptr_t)0xffff888000000000ULL, GM_GPA, PG, 0,
				       NULL));
	EXPECT_NE(0, gm_user_add(fd, (void *)-(uintptr_t)PG, GM_GPA, 2 * PG, 0, NULL));
	EXPECT_NE(0, gm_user_add(fd, (void *)-(uintptr_t)PG, GM_GPA, PG, 0, NULL));
	EXPECT_UNCHANGED(&before);
}

/* Read-only memory of the process, by the way it is mapped. */
TEST_F(region, readonly_mappings)
{
	struct guestmem_region_add add;
	struct guestmem_info before;
	int fd = self->guest.fd, ret;
	struct gm_mem mem, shm;
	void *p;

	ASSERT_EQ(0, gm_info(fd, &before));
	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, mprotect(mem.va, 4 * PG, PROT_READ));
	EXPECT_EQ(-EFAULT, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER, .gpa = GM_GPA,
					 .len = 4 * PG, .offset = (uintptr_t)mem.va));
	EXPECT_NE(GUESTMEM_REASON_NONE, add.err.reason);
	EXPECT_UNCHANGED(&before);

	/* Private and read-only: only some kernels can keep such a pin coherent. */
	ret = gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER, .gpa = GM_GPA,
			    .len = 4 * PG, .offset = (uintptr_t)mem.va,
			    .flags = GUESTMEM_REGION_READONLY);
	if (before.features & GUESTMEM_FEATURE_PRIVATE_READONLY) {
		unsigned char c = 0;

		EXPECT_EQ(0, ret);
		ASSERT_EQ(0, mprotect(mem.va, 4 * PG, PROT_READ | PROT_WRITE));
		mem.va[3] = 0xa5;
		EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA + 3));
		EXPECT_EQ(0xa5, c);
		EXPECT_EQ(0, gm_remove(fd, add.id));
	} else {
		EXPECT_EQ(-EOPNOTSUPP, ret);
		EXPECT_EQ(GUESTMEM_REASON_PRIVATE_READONLY, add.err.reason);
		EXPECT_EQ((uintptr_t)mem.va, add.err.addr);
		EXPECT_UNCHANGED(&before);
	}
	gm_mem_free(&mem);

	/* Shared and read-only is coherent everywhere. */
	ASSERT_EQ(0, gm_mem_alloc(&shm, GM_MEMFD, 4 * PG));
	p = mmap(NULL, 4 * PG, PROT_READ, MAP_SHARED, shm.fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-EFAULT, gm_user_add(fd, p, GM_GPA, 4 * PG, 0, NULL));
	EXPECT_EQ(0, gm_user_add(fd, p, GM_GPA, 4 * PG, GUESTMEM_REGION_READONLY, &add.id));
	shm.va[9] = 0x3c;
	{
		unsigned char c = 0;

		EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA + 9));
		EXPECT_EQ(0x3c, c);
	}
	munmap(p, 4 * PG);
	gm_mem_free(&shm);
}

/* A mapping of a guest is no memory that can be pinned; nor is other device memory. */
TEST_F(region, device_memory)
{
	struct guestmem_region_add add;
	struct guestmem_info before;
	int fd = self->guest.fd;
	struct gm_mem mem;
	void *p;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 4 * PG, 0, NULL));
	ASSERT_EQ(0, gm_info(fd, &before));
	p = gm_mmap(fd, GM_GPA, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_LE(0, gm_peek(p));
	EXPECT_EQ(-EOPNOTSUPP, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
					     .gpa = 2 * GM_GPA, .len = 4 * PG,
					     .offset = (uintptr_t)p));
	EXPECT_EQ(GUESTMEM_REASON_DEVICE_MEMORY, add.err.reason);
	EXPECT_EQ((uintptr_t)p, add.err.addr);
	EXPECT_UNCHANGED(&before);
	munmap(p, 4 * PG);
	gm_mem_free(&mem);
}

/* Half of the range can be pinned, the other half is of another guest. */
TEST_F(region, device_memory_behind)
{
	struct guestmem_region_add add;
	struct guestmem_info before;
	int fd = self->guest.fd;
	struct gm_mem mem, low;
	void *p;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_mem_alloc(&low, GM_ANON, 16 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 4 * PG, 0, NULL));
	ASSERT_EQ(0, gm_info(fd, &before));
	p = mmap(low.va + 12 * PG, 4 * PG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 GM_GPA);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-EOPNOTSUPP, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
					     .gpa = 2 * GM_GPA, .len = 16 * PG,
					     .offset = (uintptr_t)low.va));
	EXPECT_EQ(GUESTMEM_REASON_DEVICE_MEMORY, add.err.reason);
	EXPECT_EQ((uintptr_t)p, add.err.addr);
	EXPECT_UNCHANGED(&before);
	gm_mem_free(&low);
	gm_mem_free(&mem);
}

TEST_F(region, files)
{
	int fd = self->guest.fd, pipes[2], f, ro, wo;
	struct guestmem_region_add add;
	struct guestmem_info before;
	struct gm_mem mem;
	char path[64];

#define ADD_FILE(fd_, len_, off_, flags_)					\
	gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_FILE, .fd = (fd_),	\
		      .gpa = GM_GPA, .len = (len_), .offset = (off_), .flags = (flags_))

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_MEMFD, 4 * PG));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem.fd);
	ASSERT_EQ(0, gm_info(fd, &before));

	EXPECT_EQ(-EBADF, ADD_FILE(-1, PG, 0, 0));
	EXPECT_EQ(-EBADF, ADD_FILE(9999, PG, 0, 0));
	f = open(path, O_PATH | O_CLOEXEC);
	ASSERT_LE(0, f);
	EXPECT_EQ(-EBADF, ADD_FILE(f, PG, 0, 0));
	close(f);

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EOPNOTSUPP, ADD_FILE(pipes[1], PG, 0, 0));
	EXPECT_EQ(GUESTMEM_REASON_FILE_TYPE, add.err.reason);
	close(pipes[0]);
	close(pipes[1]);
	EXPECT_EQ(-EOPNOTSUPP, ADD_FILE(fd, PG, 0, 0));
	EXPECT_EQ(GUESTMEM_REASON_FILE_TYPE, add.err.reason);
	f = open("/dev/zero", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, f);
	EXPECT_EQ(-EOPNOTSUPP, ADD_FILE(f, PG, 0, 0));
	EXPECT_EQ(GUESTMEM_REASON_FILE_TYPE, add.err.reason);
	close(f);

	/* Past the end: by one page, entirely, and as far as an offset can go. */
	EXPECT_EQ(-EINVAL, ADD_FILE(mem.fd, 5 * PG, 0, 0));
	EXPECT_EQ(GUESTMEM_REASON_END_OF_FILE, add.err.reason);
	EXPECT_EQ(5 * PG, add.err.need);
	EXPECT_EQ(4 * PG, add.err.limit);
	EXPECT_EQ(-EINVAL, ADD_FILE(mem.fd, PG, 4 * PG, 0));
	EXPECT_EQ(GUESTMEM_REASON_END_OF_FILE, add.err.reason);
	EXPECT_EQ(5 * PG, add.err.need);
	EXPECT_NE(0, ADD_FILE(mem.fd, PG, 1ULL << 62, 0));
	EXPECT_NE(0, ADD_FILE(mem.fd, PG, 1ULL << 63, 0));
	EXPECT_NE(0, ADD_FILE(mem.fd, PG, -(__u64)PG, 0));
	EXPECT_NE(0, ADD_FILE(mem.fd, 2 * PG, -(__u64)PG, 0));
	EXPECT_EQ(-EINVAL, ADD_FILE(mem.fd, PG, 1, 0));
	EXPECT_EQ(GUESTMEM_REASON_MISALIGNED, add.err.reason);

	ro = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, ro);
	EXPECT_EQ(-EACCES, ADD_FILE(ro, PG, 0, 0));
	EXPECT_EQ(GUESTMEM_REASON_READONLY, add.err.reason);
	wo = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, wo);
	/* What can be read in the guest must be readable by who adds it. */
	EXPECT_EQ(-EACCES, ADD_FILE(wo, PG, 0, 0));
	EXPECT_UNCHANGED(&before);

	EXPECT_EQ(0, ADD_FILE(ro, PG, PG, GUESTMEM_REGION_READONLY));
	EXPECT_EQ(0, gm_remove(fd, add.id));
	close(ro);
	close(wo);

	/* The file stays with the region when its descriptor goes. */
	EXPECT_EQ(0, ADD_FILE(mem.fd, 4 * PG, 0, 0));
	gm_mem_free(&mem);
	{
		unsigned char c = 0;

		EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA + 4 * PG - 1));
		EXPECT_EQ(gm_pattern(4 * PG - 1), c);
	}
}

/* A memfd that is sealed against writing gives no writable pages. */
TEST_F(region, sealed_file)
{
	struct guestmem_region_add add;
	int fd = self->guest.fd, f;

	f = memfd_create("guestmem-test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	ASSERT_LE(0, f);
	ASSERT_EQ(0, ftruncate(f, 4 * PG));
	ASSERT_EQ(0, fcntl(f, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_GT(0, ADD_FILE(f, PG, 0, 0));
	EXPECT_NE(GUESTMEM_REASON_NONE, add.err.reason);
	EXPECT_EQ(0, gm_pinned(fd));
	EXPECT_EQ(self->guest.leak.vmpin, gm_vmpin());
	close(f);
}

/*
 * A shared mapping of an ordinary file cannot be pinned for writing: the file
 * system would not learn of the writes.
 */
TEST_F(region, writeback_file)
{
	const char *dir = getenv("GUESTMEM_TEST_WRITEBACK_DIR");
	struct guestmem_region_add add;
	struct guestmem_info before;
	int fd = self->guest.fd, f;
	void *p;

	if (!dir)
		SKIP(return, "no GUESTMEM_TEST_WRITEBACK_DIR on a file system with writeback");
	f = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_LE(0, f)
		TH_LOG("%s: %s", dir, strerror(errno));
	ASSERT_EQ(0, ftruncate(f, 8 * PG));
	p = mmap(NULL, 8 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	ASSERT_NE(MAP_FAILED, p);
	memset(p, 1, 8 * PG);
	ASSERT_EQ(0, gm_info(fd, &before));

	EXPECT_EQ(-EOPNOTSUPP, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
					     .gpa = GM_GPA, .len = 8 * PG,
					     .offset = (uintptr_t)p));
	EXPECT_EQ(GUESTMEM_REASON_WRITEBACK, add.err.reason);
	EXPECT_EQ((uintptr_t)p, add.err.addr);
	EXPECT_EQ(-EOPNOTSUPP, ADD_FILE(f, 8 * PG, 0, 0));
	EXPECT_EQ(GUESTMEM_REASON_FILE_TYPE, add.err.reason);
	EXPECT_UNCHANGED(&before);
	munmap(p, 8 * PG);

	/* A private mapping of it is memory of the process. */
	p = mmap(NULL, 8 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, gm_user_add(fd, p, GM_GPA, 8 * PG, 0, NULL));
	munmap(p, 8 * PG);
	close(f);
}

TEST_F(region, limit)
{
	struct guestmem_region_add add;
	struct guestmem_info info;
	int fd = self->guest.fd;
	struct gm_mem mem;
	__u32 i, max;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_info(fd, &info));
	max = info.max_regions;
	ASSERT_LT(0, max);
	for (i = 0; i < max; i++) {
		ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA + i * PG, PG, 0, NULL))
			TH_LOG("region %u", i);
	}
	EXPECT_EQ(-ENOSPC, gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER, .gpa = 0,
					 .len = PG, .offset = (uintptr_t)mem.va));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, add.err.reason);
	EXPECT_EQ(max + 1ULL, add.err.need);
	EXPECT_EQ(max, add.err.limit);
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(max, info.nregions);
	EXPECT_EQ((__u64)max * PG, info.pinned);
	/* The list says so too, and needs no room for that. */
	{
		struct guestmem_region_list list;

		EXPECT_EQ(-EMSGSIZE, gm_region_list(fd, &list, .entries = (uintptr_t)mem.va,
						    .entry_size = sizeof(struct guestmem_region),
						    .nentries = 1));
		EXPECT_EQ(max, list.nentries);
		EXPECT_EQ(GUESTMEM_REASON_OUTPUT, list.err.reason);
		EXPECT_EQ(max, list.err.need);
		EXPECT_EQ(1, list.err.limit);
	}
	gm_mem_free(&mem);
}

TEST_F(region, list_sizes)
{
	enum { LARGE = sizeof(struct guestmem_region) + 24 };
	__u32 sizes[] = { 0, 1, 16, sizeof(struct guestmem_region) - 1 };
	unsigned char buf[4 * LARGE];
	struct guestmem_region_list list;
	struct guestmem_region regions[3];
	int fd = self->guest.fd;
	struct gm_mem mem;
	int i, j;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 3 * PG));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, gm_user_add(fd, mem.va + i * PG, GM_GPA + i * PG, PG, 0, NULL));
	ASSERT_EQ(3, gm_list(fd, regions, 3));

	/* Too small: told how many, nothing written. */
	memset(buf, 0xee, sizeof(buf));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EMSGSIZE, gm_region_list(fd, &list, .entries = (uintptr_t)buf,
						    .entry_size = sizeof(*regions),
						    .nentries = i));
		EXPECT_EQ(3, list.nentries);
	}
	for (i = 0; i < (int)sizeof(buf); i++)
		ASSERT_EQ(0xee, buf[i]);

	/* There never was a shorter entry. */
	for (i = 0; i < (int)ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-EINVAL, gm_region_list(fd, &list, .entries = (uintptr_t)buf,
						  .entry_size = sizes[i], .nentries = 4));
	}
	for (i = 0; i < (int)sizeof(buf); i++)
		ASSERT_EQ(0xee, buf[i]);

	/* A newer caller's longer ones: what the kernel does not know is 0. */
	memset(buf, 0xee, sizeof(buf));
	EXPECT_EQ(0, gm_region_list(fd, &list, .entries = (uintptr_t)buf, .entry_size = LARGE,
				    .nentries = 3));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, memcmp(buf + i * LARGE, &regions[i], sizeof(*regions)));
		for (j = sizeof(*regions); j < LARGE; j++)
			EXPECT_EQ(0, buf[i * LARGE + j]);
	}
	for (i = 3 * LARGE; i < (int)sizeof(buf); i++)
		ASSERT_EQ(0xee, buf[i]);
	gm_mem_free(&mem);
}

TEST_F(region, busy_and_force)
{
	struct guestmem_region_remove rm;
	struct guestmem_region region;
	struct guestmem_lock lock, lock2;
	struct guestmem_info info;
	int fd = self->guest.fd;
	struct gm_mem mem, mem2;
	unsigned char c = 0;
	__u32 id, id2;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_mem_alloc(&mem2, GM_MEMFD, 4 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 4 * PG, 0, &id));
	ASSERT_EQ(0, gm_lock(fd, &lock, .direction = GUESTMEM_DMA_BIDIRECTIONAL, .gpa = GM_GPA + 5,
			     .len = 1));
	ASSERT_EQ(0, gm_lock(fd, &lock2, .direction = GUESTMEM_DMA_TO_DEVICE,
			     .gpa = GM_GPA + PG, .len = PG));

	EXPECT_EQ(-EBUSY, gm_region_remove(fd, &rm, .id = id));
	EXPECT_EQ(2, rm.nlocks);
	EXPECT_EQ(GUESTMEM_REASON_LOCKED, rm.err.reason);
	EXPECT_EQ(2, rm.err.need);
	EXPECT_EQ(GM_GPA, rm.err.addr);
	ASSERT_EQ(0, gm_region_get(fd, id, &region));
	EXPECT_EQ(2, region.nlocks);
	EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA));
	EXPECT_EQ(gm_pattern(0), c);

	EXPECT_EQ(0, gm_unlock_handle(fd, lock2.handle));
	EXPECT_EQ(-EBUSY, gm_region_remove(fd, &rm, .id = id));
	EXPECT_EQ(1, rm.nlocks);

	/* Revoked at once, though the lock stays. */
	EXPECT_EQ(-ETIMEDOUT, gm_region_remove(fd, &rm, .id = id, .flags = GUESTMEM_REMOVE_FORCE,
					       .timeout_ms = 0));
	EXPECT_EQ(1, rm.nlocks);
	EXPECT_EQ(-ENOENT, gm_region_get(fd, id, &region));
	EXPECT_EQ(0, pread(fd, &c, 1, GM_GPA));
	EXPECT_EQ(-ENOENT, gm_remove(fd, id));
	EXPECT_EQ(-ENOENT, gm_revoke(fd, id));
	EXPECT_EQ(4 * PG, gm_pinned(fd));
	EXPECT_EQ(self->guest.leak.vmpin + 4 * (long)PG, gm_vmpin());

	/* Its addresses are free for another, which the old lock does not hold. */
	ASSERT_EQ(0, gm_mem_add(fd, &mem2, GM_GPA, 0, 4 * PG, 0, &id2));
	mem2.va[0] = 0x42;
	EXPECT_EQ(1, pread(fd, &c, 1, GM_GPA));
	EXPECT_EQ(0x42, c);
	EXPECT_EQ(8 * PG, gm_pinned(fd));
	ASSERT_EQ(0, gm_region_get(fd, id2, &region));
	EXPECT_EQ(0, region.nlocks);
	EXPECT_EQ(0, gm_remove(fd, id2));

	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(0, info.pinned);
	EXPECT_EQ(0, info.nlocks);
	EXPECT_EQ(self->guest.leak.vmpin, gm_vmpin());
	gm_mem_free(&mem);
	gm_mem_free(&mem2);
}

TEST_F(region, force_unlocked)
{
	struct guestmem_region_remove rm;
	int fd = self->guest.fd;
	struct gm_mem mem;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, PG, 0, &id));
	EXPECT_EQ(-ENOENT, gm_revoke(fd, id + 1000));
	/* Nobody to wait for, however long one would. */
	EXPECT_EQ(0, gm_region_remove(fd, &rm, .id = id, .flags = GUESTMEM_REMOVE_FORCE,
				      .timeout_ms = GUESTMEM_WAIT_FOREVER));
	EXPECT_EQ(0, rm.nlocks);
	EXPECT_EQ(-ENOENT, gm_revoke(fd, id));
	EXPECT_EQ(0, gm_pinned(fd));
	gm_mem_free(&mem);
}

/* Only who may manage the guest can change its regions. */
TEST_F(region, rights)
{
	int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	__u32 want[] = {
		GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK |
		GUESTMEM_RIGHT_TRANSLATE | GUESTMEM_RIGHT_TRANSLATE_HPA | GUESTMEM_RIGHT_EXPORT,
		GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK |
		GUESTMEM_RIGHT_MANAGE | GUESTMEM_RIGHT_EXPORT,
		GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MAP |
		GUESTMEM_RIGHT_LOCK | GUESTMEM_RIGHT_TRANSLATE | GUESTMEM_RIGHT_TRANSLATE_HPA |
		GUESTMEM_RIGHT_MANAGE | GUESTMEM_RIGHT_EXPORT,
	};
	struct guestmem_region_remove rm;
	struct guestmem_region_add add;
	struct guestmem_info info;
	struct gm_mem mem;
	int i, fd, ret;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	for (i = 0; i < 3; i++) {
		fd = open(GM_DEV, modes[i] | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, gm_info(fd, &info));
		EXPECT_EQ(want[i], info.rights)
			TH_LOG("mode %d", modes[i]);
		EXPECT_NE(self->guest.id, info.id);
		ret = gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER, .gpa = GM_GPA,
				    .len = PG, .offset = (uintptr_t)mem.va);
		if (want[i] & GUESTMEM_RIGHT_MANAGE) {
			EXPECT_EQ(0, ret);
		} else {
			EXPECT_EQ(-EACCES, ret);
			EXPECT_EQ(GUESTMEM_REASON_RIGHT, add.err.reason);
			EXPECT_EQ(GUESTMEM_RIGHT_MANAGE, add.err.need);
			EXPECT_EQ(info.rights, add.err.limit);
			EXPECT_EQ(-EACCES, gm_region_remove(fd, &rm, .id = 1));
			EXPECT_EQ(GUESTMEM_REASON_RIGHT, rm.err.reason);
		}
		close(fd);
	}
	gm_mem_free(&mem);
}

struct adder {
	int fd;
	unsigned char *va;
	__u64 gpa;
	int added, exists, other;
};

static void *adder_run(void *arg)
{
	struct adder *a = arg;
	int i, ret;
	__u32 id;

	for (i = 0; i < 200; i++) {
		ret = gm_user_add(a->fd, a->va, a->gpa, 8 * PG, 0, &id);
		if (ret == -EEXIST) {
			a->exists++;
			continue;
		}
		if (ret || gm_remove(a->fd, id))
			a->other++;
		else
			a->added++;
	}
	return NULL;
}

/* Threads that add at overlapping addresses: one of them gets it, or waits for none. */
TEST_F(region, racing_adds)
{
	struct adder adders[3];
	pthread_t threads[3];
	struct gm_mem mem;
	int i;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 8 * PG));
	for (i = 0; i < 3; i++) {
		adders[i] = (struct adder){ .fd = self->guest.fd, .va = mem.va,
					    .gpa = GM_GPA + i * 4 * PG };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, adder_run, &adders[i]));
	}
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, adders[i].other);
		EXPECT_EQ(200, adders[i].added + adders[i].exists);
	}
	/* Not all of them can have lost each time. */
	EXPECT_LT(0, adders[0].added + adders[1].added + adders[2].added);
	EXPECT_EQ(0, gm_list(self->guest.fd, NULL, 0));
	EXPECT_EQ(0, gm_pinned(self->guest.fd));
	gm_mem_free(&mem);
}

TEST_HARNESS_MAIN
