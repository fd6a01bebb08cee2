// SPDX-License-Identifier: GPL-2.0-only
/* The in-kernel API, by a client without a device (modules/guestmem_kapi.c). */
#include "guestmem_test.h"
#include "modules/guestmem_kapi.h"

FIXTURE(kapi) {
	struct gm_guest guest;
	struct gm_mem mem;
	int fd;
};

/* Two adjacent regions, a page that is read-only, and then a hole. */
FIXTURE_SETUP(kapi)
{
	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, GM_ANON, 16 * PG));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, 8 * PG, 0, NULL));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA + 8 * PG, 8 * PG, 7 * PG, 0,
				NULL));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA + 15 * PG, 15 * PG, PG,
				GUESTMEM_REGION_READONLY, NULL));
	self->fd = open("/dev/guestmem_kapi", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(kapi)
{
	close(self->fd);
	gm_mem_free(&self->mem);
	gm_guest_teardown(_metadata, &self->guest);
}

/* What the function returned; less than -1000 if the call itself failed. */
static int kapi(int fd, int guest, __u32 op, __u64 gpa, __u64 len, void *buf, __u32 *value)
{
	struct guestmem_kapi arg = {
		.fd = guest, .op = op, .gpa = gpa, .len = len, .buf = (uintptr_t)buf,
		.value = value ? *value : 0,
	};
	int rc = gm_ioctl(fd, GUESTMEM_KAPI, &arg);

	if (value)
		*value = arg.value;
	return rc ? rc - 1000 : arg.rc;
}

#define CALL(op, ...) kapi(self->fd, self->guest.fd, GUESTMEM_KAPI_##op, __VA_ARGS__)

TEST_F(kapi, read_and_write)
{
	unsigned char buf[GUESTMEM_KAPI_BUF_LEN];
	size_t at = 8 * PG - 3000, len = 6000;

	EXPECT_EQ(0, CALL(READ, GM_GPA + at, len, buf, NULL));
	EXPECT_EQ(0, gm_pattern_cmp(buf, at, len));
	memset(buf, 0x3c, sizeof(buf));
	EXPECT_EQ(0, CALL(WRITE, GM_GPA + at, len, buf, NULL));
	EXPECT_EQ(0, memcmp(self->mem.va + at, buf, len));
	EXPECT_EQ(0, gm_pattern_cmp(self->mem.va, 0, at));
	EXPECT_EQ(0, gm_pattern_cmp(self->mem.va + at + len, at + len, 16 * PG - at - len));

	EXPECT_EQ(0, CALL(READ, 0, 0, buf, NULL));
	EXPECT_EQ(-ENXIO, CALL(READ, GM_GPA - 1, 2, buf, NULL));
	EXPECT_EQ(-ENXIO, CALL(READ, GM_GPA + 16 * PG - 1, 2, buf, NULL));
	EXPECT_EQ(-EOVERFLOW, CALL(READ, ~0ULL, 2, buf, NULL));
	EXPECT_EQ(0, CALL(READ, GM_GPA + 16 * PG - 1, 1, buf, NULL));
	EXPECT_EQ(-EACCES, CALL(WRITE, GM_GPA + 16 * PG - 1, 1, buf, NULL));
}

TEST_F(kapi, fill)
{
	__u32 value = 0x77;

	EXPECT_EQ(0, CALL(FILL, GM_GPA + 1, 10 * PG, NULL, &value));
	EXPECT_EQ(gm_pattern(0), self->mem.va[0]);
	EXPECT_EQ(0x77, self->mem.va[1]);
	EXPECT_EQ(0x77, self->mem.va[10 * PG]);
	EXPECT_EQ(0, gm_pattern_cmp(self->mem.va + 10 * PG + 1, 10 * PG + 1, PG));
	EXPECT_EQ(-EACCES, CALL(FILL, GM_GPA + 14 * PG, 2 * PG, NULL, &value));
	EXPECT_EQ(-ENXIO, CALL(FILL, GM_GPA + 20 * PG, 1, NULL, &value));
	EXPECT_EQ(-EOVERFLOW, CALL(FILL, ~0ULL, 2, NULL, &value));
	EXPECT_EQ(0, CALL(FILL, 0, 0, NULL, &value));
}

TEST_F(kapi, cmpxchg)
{
	unsigned char buf[32], *at = self->mem.va + 64;
	struct guestmem_info info;
	unsigned int width;

	ASSERT_EQ(0, gm_info(self->guest.fd, &info));
	for (width = 1; width <= 16; width *= 2) {
		if (width == 16 && !(info.features & GUESTMEM_FEATURE_ATOMIC16)) {
			EXPECT_EQ(-EOPNOTSUPP, CALL(CMPXCHG, GM_GPA + 64, width, buf, NULL));
			continue;
		}
		gm_pattern_set(self->mem.va, PG);
		memcpy(buf, at, width);
		memset(buf + width, 0xc3, width);
		EXPECT_EQ(1, CALL(CMPXCHG, GM_GPA + 64, width, buf, NULL));
		EXPECT_EQ(0, memcmp(at, buf + width, width));
		EXPECT_EQ(0, gm_pattern_cmp(at + width, 64 + width, 64));
		/* Not as expected now; what it is is told. */
		EXPECT_EQ(0, CALL(CMPXCHG, GM_GPA + 64, width, buf, NULL));
		EXPECT_EQ(0xc3, buf[0]);
		EXPECT_EQ(0xc3, buf[width - 1]);
	}
	EXPECT_EQ(-EINVAL, CALL(CMPXCHG, GM_GPA + 1, 2, buf, NULL));
	EXPECT_EQ(-EINVAL, CALL(CMPXCHG, GM_GPA, 3, buf, NULL));
	EXPECT_EQ(-EINVAL, CALL(CMPXCHG, GM_GPA, 0, buf, NULL));
	EXPECT_EQ(-EACCES, CALL(CMPXCHG, GM_GPA + 15 * PG, 8, buf, NULL));
	EXPECT_EQ(-ENXIO, CALL(CMPXCHG, GM_GPA + 16 * PG, 8, buf, NULL));
}

TEST_F(kapi, scatterlist)
{
	__u32 value = PG;

	/* 15 pages, none of them whole at the ends. */
	EXPECT_EQ(0, CALL(SG, GM_GPA + 100, 15 * PG - 50, NULL, &value));
	EXPECT_LE(15, value);
	value = 0;
	EXPECT_EQ(0, CALL(SG, GM_GPA, 16 * PG, NULL, &value));
	EXPECT_LE(1, value);
	EXPECT_GE(16, value);
	value = 100;
	EXPECT_EQ(-EINVAL, CALL(SG, GM_GPA, PG, NULL, &value));
	value = 0;
	EXPECT_EQ(-ENXIO, CALL(SG, GM_GPA, 17 * PG, NULL, &value));
	EXPECT_EQ(-EINVAL, CALL(SG, GM_GPA, 0, NULL, &value));
}

TEST_HARNESS_MAIN
