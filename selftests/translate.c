// SPDX-License-Identifier: GPL-2.0-only
/*
 * TRANSLATE, against what the kernel itself says of the same pages in
 * /proc/self/pagemap.
 */
#include "guestmem_test.h"

/* Host-physical address of the page at @va, or 0. */
static __u64 pagemap(const void *va)
{
	static int fd = -1;
	__u64 entry = 0;

	/* It stays open: of each test, which is a process. */
	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (pread(fd, &entry, 8, (uintptr_t)va / PG * 8) != 8 || !(entry >> 63))
		entry = 0;
	return (entry & ((1ULL << 55) - 1)) * PG;
}

/*
 * The extents that [@gpa, @gpa + @len) must give, which lies in the region that
 * starts at @region_gpa with the page at @va.
 */
static __u32 expected(struct guestmem_extent *extents, const unsigned char *va, __u64 region_gpa,
		      __u64 gpa, __u64 len, __u32 id, __u32 flags)
{
	__u64 end = gpa + len, next;
	__u32 n = 0;

	for (; gpa < end; gpa = next) {
		const unsigned char *p = va + (gpa - region_gpa);
		__u64 hpa = pagemap(p) + gpa % PG;

		next = (gpa / PG + 1) * PG;
		if (next > end)
			next = end;
		if (n && extents[n - 1].hpa + extents[n - 1].len == hpa) {
			extents[n - 1].len += next - gpa;
			continue;
		}
		extents[n++] = (struct guestmem_extent){ .gpa = gpa, .len = next - gpa, .hpa = hpa,
							 .region_id = id, .flags = flags };
	}
	return n;
}

static struct guestmem_extent want[GM_EXTENTS], got[GM_EXTENTS];

#define EXPECT_EXTENTS(n) do {								\
	__u32 i_;									\
											\
	for (i_ = 0; i_ < (n); i_++) {							\
		EXPECT_EQ(want[i_].gpa, got[i_].gpa) TH_LOG("extent %u", i_);		\
		EXPECT_EQ(want[i_].len, got[i_].len) TH_LOG("extent %u", i_);		\
		EXPECT_EQ(want[i_].hpa, got[i_].hpa) TH_LOG("extent %u", i_);		\
		EXPECT_EQ(want[i_].region_id, got[i_].region_id) TH_LOG("extent %u", i_);	\
		ASSERT_EQ(want[i_].flags, got[i_].flags) TH_LOG("extent %u", i_);	\
	}										\
} while (0)

GM_BACKING_FIXTURE(translate)

TEST_F(translate, pagemap)
{
	size_t len = self->mem.len;
	struct guestmem_range ranges[] = {
		{ GM_GPA, len },
		{ GM_GPA, 1 },
		{ GM_GPA + len - 1, 1 },
		{ GM_GPA + 5, PG - 5 },
		{ GM_GPA + PG - 1, 2 },
		{ GM_GPA + 3 * PG + 17, 7 * PG + 1234 },
		{ GM_GPA + 1, len - 2 },
	};
	struct guestmem_translate tr;
	int fd = self->guest.fd;
	__u32 id, n, i, j, sum;

	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, len, variant->flags, &id));
	ASSERT_NE(0, pagemap(self->mem.va));
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		n = expected(want, self->mem.va, GM_GPA, ranges[i].gpa, ranges[i].len, id,
			     variant->flags);
		memset(got, 0xee, sizeof(got));
		EXPECT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
					  .ranges = (uintptr_t)&ranges[i], .nranges = 1,
					  .extents = (uintptr_t)got, .nextents = GM_EXTENTS))
			TH_LOG("range %u", i);
		EXPECT_TRUE(gm_err_is_zero(&tr.err));
		ASSERT_EQ(n, tr.nextents)
			TH_LOG("range %u", i);
		EXPECT_EXTENTS(n);
		/* Nothing behind the last one. */
		EXPECT_EQ(0xeeeeeeeeeeeeeeeeULL, got[n].gpa);
	}

	/* All of them at once: the same in turn, never merged from range to range. */
	sum = 0;
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		sum += expected(want + sum, self->mem.va, GM_GPA, ranges[i].gpa, ranges[i].len, id,
				variant->flags);
	ASSERT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				  .ranges = (uintptr_t)ranges, .nranges = ARRAY_SIZE(ranges),
				  .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
	ASSERT_EQ(sum, tr.nextents);
	EXPECT_EXTENTS(sum);

	/* Without host-physical addresses the pieces are the same. */
	ASSERT_EQ(0, gm_translate(fd, &tr, .ranges = (uintptr_t)ranges,
				  .nranges = ARRAY_SIZE(ranges), .extents = (uintptr_t)got,
				  .nextents = sum));
	ASSERT_EQ(sum, tr.nextents);
	for (j = 0; j < sum; j++)
		want[j].hpa = 0;
	EXPECT_EXTENTS(sum);
}

TEST_F(translate, too_small)
{
	struct guestmem_range ranges[5];
	struct guestmem_translate tr;
	int fd = self->guest.fd;
	__u32 id, i, n = 0;

	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, self->mem.len, variant->flags, &id));
	for (i = 0; i < 5; i++) {
		ranges[i] = (struct guestmem_range){ GM_GPA + i * 11, self->mem.len - i * 11 };
		n += expected(want + n, self->mem.va, GM_GPA, ranges[i].gpa, ranges[i].len, id,
			      variant->flags);
	}
	for (i = 0; i < n; i++) {
		EXPECT_EQ(-EMSGSIZE, gm_translate(fd, &tr, .ranges = (uintptr_t)ranges,
						  .nranges = 5, .extents = (uintptr_t)got,
						  .nextents = i));
		EXPECT_EQ(n, tr.nextents);
		EXPECT_EQ(GUESTMEM_REASON_OUTPUT, tr.err.reason);
		EXPECT_EQ(n, tr.err.need);
		ASSERT_EQ(i, tr.err.limit);
	}
	EXPECT_EQ(0, gm_translate(fd, &tr, .ranges = (uintptr_t)ranges, .nranges = 5,
				  .extents = (uintptr_t)got, .nextents = n));
	EXPECT_EQ(n, tr.nextents);
}

/* Adjacent regions are walked in one go, and stay apart in the answer. */
TEST_F(translate, adjacent_and_hole)
{
	size_t n = self->mem.len / PG, half = n / 2 * PG, rest = self->mem.len - half;
	__u64 hole = GM_GPA + self->mem.len;
	struct guestmem_translate tr;
	struct guestmem_range ranges[3];
	int fd = self->guest.fd;
	__u32 ids[3], na, nb;

	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, half, variant->flags, &ids[0]));
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA + half, half, rest, variant->flags,
				&ids[1]));
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, hole + PG, 0, PG, variant->flags, &ids[2]));

	na = expected(want, self->mem.va, GM_GPA, GM_GPA + 7, half - 7, ids[0], variant->flags);
	nb = expected(want + na, self->mem.va + half, GM_GPA + half, GM_GPA + half, rest, ids[1],
		      variant->flags);
	ranges[0] = (struct guestmem_range){ GM_GPA + 7, self->mem.len - 7 };
	ASSERT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				  .ranges = (uintptr_t)ranges, .nranges = 1,
				  .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
	ASSERT_EQ(na + nb, tr.nextents);
	EXPECT_EXTENTS(na + nb);

	/* On into the hole and out again: what was before it is told. */
	ranges[0].len += 2 * PG;
	memset(got, 0xee, sizeof(got));
	EXPECT_EQ(-ENXIO, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				       .ranges = (uintptr_t)ranges, .nranges = 1,
				       .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
	EXPECT_EQ(GUESTMEM_REASON_HOLE, tr.err.reason);
	EXPECT_EQ(hole, tr.err.addr);
	ASSERT_EQ(na + nb, tr.nextents);
	EXPECT_EXTENTS(na + nb);

	/* The hole in the second of three ranges. */
	ranges[0] = (struct guestmem_range){ GM_GPA + 7, half - 7 };
	ranges[1] = (struct guestmem_range){ hole + 99, 1 };
	ranges[2] = (struct guestmem_range){ GM_GPA, 1 };
	EXPECT_EQ(-ENXIO, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				       .ranges = (uintptr_t)ranges, .nranges = 3,
				       .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
	EXPECT_EQ(hole + 99, tr.err.addr);
	ASSERT_EQ(na, tr.nextents);
	EXPECT_EXTENTS(na);

	/* Nothing at all before it. */
	EXPECT_EQ(-ENXIO, gm_translate(fd, &tr, .ranges = (uintptr_t)&ranges[1], .nranges = 1,
				       .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
	EXPECT_EQ(0, tr.nextents);
	ranges[0] = (struct guestmem_range){ GM_GPA - 1, 2 };
	EXPECT_EQ(-ENXIO, gm_translate(fd, &tr, .ranges = (uintptr_t)ranges, .nranges = 1,
				       .extents = (uintptr_t)got, .nextents = GM_EXTENTS));
	EXPECT_EQ(0, tr.nextents);
	EXPECT_EQ(GM_GPA - 1, tr.err.addr);
}

GM_PLAIN_FIXTURE(plain)

TEST_F(plain, malformed)
{
	struct guestmem_range range = { GM_GPA, 0 };
	struct guestmem_translate tr;
	int fd = self->guest.fd;
	struct gm_mem mem;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 2 * PG, 0, NULL));
#define TRANSLATE(n) gm_translate(fd, &tr, .ranges = (uintptr_t)&range, .nranges = (n),	\
				  .extents = (uintptr_t)got, .nextents = GM_EXTENTS)
	EXPECT_EQ(-EINVAL, TRANSLATE(1));
	EXPECT_EQ(GUESTMEM_REASON_EMPTY, tr.err.reason);
	EXPECT_EQ(-EINVAL, TRANSLATE(0));
	EXPECT_EQ(GUESTMEM_REASON_EMPTY, tr.err.reason);
	range = (struct guestmem_range){ ~0ULL, 2 };
	EXPECT_EQ(-EOVERFLOW, TRANSLATE(1));
	EXPECT_EQ(GUESTMEM_REASON_WRAPS, tr.err.reason);
	EXPECT_EQ(~0ULL, tr.err.addr);
	EXPECT_EQ(2, tr.err.need);
	EXPECT_EQ(~0ULL, tr.err.limit);
	range = (struct guestmem_range){ 1, ~0ULL };
	EXPECT_EQ(-ENXIO, TRANSLATE(1));
	EXPECT_EQ(1, tr.err.addr);
	range = (struct guestmem_range){ 2, ~0ULL };
	EXPECT_EQ(-EOVERFLOW, TRANSLATE(1));
	gm_mem_free(&mem);
}

/* The last byte there is. */
TEST_F(plain, last_byte)
{
	struct guestmem_range range = { ~0ULL, 1 };
	struct guestmem_translate tr;
	int fd = self->guest.fd;
	struct gm_mem mem;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 2 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, -(__u64)(2 * PG), 2 * PG, 0, &id));
	ASSERT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				  .ranges = (uintptr_t)&range, .nranges = 1,
				  .extents = (uintptr_t)got, .nextents = 1));
	ASSERT_EQ(1, tr.nextents);
	EXPECT_EQ(~0ULL, got[0].gpa);
	EXPECT_EQ(1, got[0].len);
	EXPECT_EQ(pagemap(mem.va + PG) + PG - 1, got[0].hpa);
	/* All of it: must end, and not wrap. */
	range = (struct guestmem_range){ -(__u64)(2 * PG), 2 * PG };
	ASSERT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				  .ranges = (uintptr_t)&range, .nranges = 1,
				  .extents = (uintptr_t)got, .nextents = 2));
	ASSERT_EQ(1, expected(want, mem.va, range.gpa, range.gpa, PG, id, 0));
	EXPECT_EQ(want[0].hpa, got[0].hpa);
	range = (struct guestmem_range){ -(__u64)(3 * PG), 3 * PG };
	EXPECT_EQ(-ENXIO, TRANSLATE(1));
	EXPECT_EQ(-(__u64)(3 * PG), tr.err.addr);
	gm_mem_free(&mem);
}

/* Host-physical addresses are for who could see them in pagemap as well. */
TEST_F(plain, hpa_privilege)
{
	struct guestmem_range range = { GM_GPA, PG };
	struct guestmem_translate tr;
	struct guestmem_info info;
	struct guestmem_lock lock;
	struct gm_mem mem;
	int fd, privileged = self->guest.fd;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_cap(CAP_SYS_ADMIN, false));
	fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(0, info.rights & GUESTMEM_RIGHT_TRANSLATE_HPA);
	EXPECT_NE(0, info.rights & GUESTMEM_RIGHT_TRANSLATE);
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, PG, 0, NULL));
	ASSERT_EQ(0, gm_user_add(privileged, mem.va, GM_GPA, PG, 0, NULL));

	/* The opener counts, in both directions: not who asks. */
	EXPECT_EQ(0, gm_translate(privileged, &tr, .flags = GUESTMEM_EXTENT_HPA,
				  .ranges = (uintptr_t)&range, .nranges = 1,
				  .extents = (uintptr_t)got, .nextents = 1));
	EXPECT_NE(0, got[0].hpa);
	ASSERT_EQ(0, gm_cap(CAP_SYS_ADMIN, true));
	memset(got, 0, sizeof(got[0]));
	EXPECT_EQ(-EPERM, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				       .ranges = (uintptr_t)&range, .nranges = 1,
				       .extents = (uintptr_t)got, .nextents = 1));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, tr.err.reason);
	EXPECT_EQ(GUESTMEM_RIGHT_TRANSLATE_HPA, tr.err.need);
	EXPECT_EQ(info.rights, tr.err.limit);
	EXPECT_EQ(0, got[0].hpa);
	EXPECT_EQ(-EPERM, gm_lock(fd, &lock, .flags = GUESTMEM_EXTENT_HPA,
				  .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA, .len = PG,
				  .extents = (uintptr_t)got, .nextents = 1));
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(0, info.nlocks);
	EXPECT_EQ(0, got[0].hpa);

	EXPECT_EQ(0, gm_translate(fd, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
				  .extents = (uintptr_t)got, .nextents = 1));
	EXPECT_EQ(1, tr.nextents);
	EXPECT_EQ(0, got[0].hpa);
	close(fd);
	gm_mem_free(&mem);
}

TEST_F(plain, right)
{
	struct guestmem_range range = { GM_GPA, PG };
	int fd = open(GM_DEV, O_WRONLY | O_CLOEXEC);
	struct guestmem_translate tr;
	struct gm_mem mem;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, PG, 0, NULL));
	EXPECT_EQ(-EACCES, gm_translate(fd, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
					.extents = (uintptr_t)got, .nextents = 1));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, tr.err.reason);
	EXPECT_EQ(GUESTMEM_RIGHT_TRANSLATE, tr.err.need);
	close(fd);
	gm_mem_free(&mem);
}

/* A batch as large as programs will send. */
TEST_F(plain, large_batch)
{
	enum { N = 1000 };
	static struct guestmem_range ranges[N];
	struct guestmem_translate tr;
	int fd = self->guest.fd, i;
	struct gm_mem mem;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 16 * PG));
	ASSERT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 16 * PG, 0, &id));
	for (i = 0; i < N; i++) {
		ranges[i] = (struct guestmem_range){ GM_GPA + (i * 37) % (16 * PG - 8), 1 };
		expected(want + i, mem.va, GM_GPA, ranges[i].gpa, 1, id, 0);
	}
	ASSERT_EQ(0, gm_translate(fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				  .ranges = (uintptr_t)ranges, .nranges = N,
				  .extents = (uintptr_t)got, .nextents = N));
	ASSERT_EQ(N, tr.nextents);
	EXPECT_EXTENTS(N);
	gm_mem_free(&mem);
}

TEST_HARNESS_MAIN
