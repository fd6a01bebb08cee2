// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA by a real device through a real IOMMU: QEMU's edu, by guestmem_edu.ko.
 *
 * Needs guestmem_edu.ko loaded with allow_raw=1. Each piece of DMA takes the device
 * 100 ms, so there are few of them.
 */
#include "guestmem_test.h"

#include <limits.h>

#include "modules/guestmem_edu.h"

#define EDU_DEV		"/dev/guestmem_edu"
#define EDU_SYS		"/sys/bus/pci/drivers/guestmem_edu"
#define EDU_MODULE	"/sys/module/guestmem_edu"

/* Two regions that follow each other; the range that matters lies across. */
#define FIRST_LEN	(8 * PG)
#define MEM_LEN		(16 * PG)

/* A piece of DMA takes 100 ms. */
#define PIECE_US	100000

static int edu_attach(int edu, int fd)
{
	struct guestmem_edu_attach attach = { .fd = fd };

	return gm_ioctl(edu, GUESTMEM_EDU_ATTACH, &attach);
}

#define edu_xfer(edu, x, ...) ({						\
	*(x) = (struct guestmem_edu_xfer){ __VA_ARGS__ };			\
	gm_ioctl(edu, GUESTMEM_EDU_XFER, x);					\
})

#define edu_map(edu, m, ...) ({							\
	*(m) = (struct guestmem_edu_map){ __VA_ARGS__ };			\
	gm_ioctl(edu, GUESTMEM_EDU_MAP, m);					\
})

static int edu_unmap(int edu, __u32 map)
{
	struct guestmem_edu_unmap unmap = { .map = map };

	return gm_ioctl(edu, GUESTMEM_EDU_UNMAP, &unmap);
}

static int edu_raw(int edu, __u64 iova, __u32 len, __u32 direction)
{
	struct guestmem_edu_raw raw = { .iova = iova, .len = len, .direction = direction };

	return gm_ioctl(edu, GUESTMEM_EDU_RAW, &raw);
}

/*
 * The driver may hold a lock that it has not mapped yet: nothing to stop, but it takes
 * a moment until it finds that it may not.
 */
static int revoke_and_wait(int fd, __u32 id)
{
	struct guestmem_region_remove rm;

	return gm_region_remove(fd, &rm, .id = id, .flags = GUESTMEM_REMOVE_FORCE,
				.timeout_ms = GUESTMEM_WAIT_FOREVER);
}

/* From guest memory by the device to guest memory: 0, or -errno. */
static int edu_move(int edu, __u64 dst, __u64 src, __u32 len, __u32 offset)
{
	struct guestmem_edu_xfer x;
	int ret;

	ret = edu_xfer(edu, &x, .gpa = src, .len = len, .offset = offset,
		       .direction = GUESTMEM_DMA_TO_DEVICE);
	if (!ret && x.done != len)
		ret = -EPROTO;
	if (!ret)
		ret = edu_xfer(edu, &x, .gpa = dst, .len = len, .offset = offset,
			       .direction = GUESTMEM_DMA_FROM_DEVICE);
	if (!ret && x.done != len)
		ret = -EPROTO;
	return ret;
}

/* The PCI address of the device that our driver has, or "". */
static void edu_pci(char *name, size_t len)
{
	char path[PATH_MAX];

	*name = 0;
	if (realpath("/sys/class/misc/guestmem_edu/device", path))
		snprintf(name, len, "%s", strrchr(path, '/') + 1);
}

static int edu_bind(const char *how, const char *name)
{
	char path[100];
	int fd, ret;

	snprintf(path, sizeof(path), EDU_SYS "/%s", how);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, name, strlen(name)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

FIXTURE(edu) {
	struct gm_guest guest;
	struct gm_mem mem;
	unsigned char *want;	/* what mem should contain */
	int edu;
	__u32 first;
	__u32 second;
};

FIXTURE_VARIANT(edu) {
	enum gm_kind kind;
};

FIXTURE_VARIANT_ADD(edu, anon) { .kind = GM_ANON };
FIXTURE_VARIANT_ADD(edu, memfd) { .kind = GM_MEMFD };
FIXTURE_VARIANT_ADD(edu, hugetlb) { .kind = GM_HUGETLB };

FIXTURE_SETUP(edu)
{
	gm_guest_setup(_metadata, &self->guest);
	self->edu = open(EDU_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->edu)
		TH_LOG(EDU_DEV ": %s", strerror(errno));
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, variant->kind,
				  gm_kind_is_huge(variant->kind) ? GM_HUGE : MEM_LEN));
	self->want = malloc(MEM_LEN);
	ASSERT_NE(0, (uintptr_t)self->want);
	gm_pattern_set(self->want, MEM_LEN);
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, FIRST_LEN, 0,
				&self->first));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA + FIRST_LEN, FIRST_LEN,
				MEM_LEN - FIRST_LEN, 0, &self->second));
	ASSERT_EQ(0, edu_attach(self->edu, self->guest.fd));
}

FIXTURE_TEARDOWN(edu)
{
	close(self->edu);
	gm_mem_free(&self->mem);
	free(self->want);
	gm_guest_teardown(_metadata, &self->guest);
}

/* Every alignment of both sides, lengths around the piece's, across the regions. */
TEST_F(edu, moves_data)
{
	static const struct {
		__u32 dst, src, len, offset;
	} moves[] = {
		{ 0x0000, 0x4000, 1, 0 },
		{ 0x0001, 0x4fff, 2, 4093 },
		{ 0x0fff, 0x5003, 4095, 0 },
		{ 0x7ffd, 0x1005, 2049, 7 },	/* into both regions */
		{ 0x3000, 0x7801, 4000, 95 },	/* from both regions */
		{ 0xf001, 0x0800, 4095, 0 },	/* to the last byte */
		{ 0xa000, 0xb000, 2048, 2047 },
		{ 0xd7ff, 0xe801, 2047, 3 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(moves); i++) {
		__u32 dst = moves[i].dst, src = moves[i].src, len = moves[i].len;

		ASSERT_EQ(0, edu_move(self->edu, GM_GPA + dst, GM_GPA + src, len,
				      moves[i].offset))
			TH_LOG("move %zu", i);
		memcpy(self->want + dst, self->want + src, len);
		/* All of it: nothing beside the range may change either. */
		ASSERT_EQ(0, memcmp(self->want, self->mem.va, MEM_LEN))
			TH_LOG("data after move %zu", i);
	}
}

TEST_F(edu, refuses)
{
	struct guestmem_edu_xfer x;
	struct guestmem_edu_map m;
	int other, edu = self->edu;
	__u32 id;

	EXPECT_EQ(-EISCONN, edu_attach(edu, self->guest.fd));
	other = open(EDU_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, other);
	EXPECT_EQ(-ENOTCONN, edu_xfer(other, &x, .gpa = GM_GPA, .len = 1, .direction = 1));
	EXPECT_EQ(-ENOTCONN, edu_map(other, &m, .gpa = GM_GPA, .len = 1, .direction = 1));
	EXPECT_EQ(-EBADF, edu_attach(other, -1));
	EXPECT_EQ(-EINVAL, edu_attach(other, other));
	close(other);

	EXPECT_EQ(-EOPNOTSUPP, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 1, .direction = 0));
	EXPECT_EQ(-EOPNOTSUPP, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 1, .direction = 3));
	EXPECT_EQ(-EOPNOTSUPP, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 1, .direction = 1,
					.reserved = 1));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 0, .direction = 1));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 4096, .direction = 1));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 1, .offset = 4095,
				    .direction = 1));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 2, .offset = ~0U,
				    .direction = 1));
	EXPECT_EQ(-ENOENT, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 1, .direction = 1,
				    .map = 1));
	EXPECT_EQ(-ENOENT, edu_unmap(edu, 1));
	EXPECT_EQ(-ENOTTY, gm_ioctl(edu, _IO(GUESTMEM_EDU_IOC_TYPE, 99), NULL));
	EXPECT_EQ(-EFAULT, gm_ioctl(edu, GUESTMEM_EDU_XFER, NULL));

	EXPECT_EQ(-ENXIO, edu_xfer(edu, &x, .gpa = GM_GPA - 1, .len = 2, .direction = 1));
	EXPECT_EQ(-ENXIO, edu_xfer(edu, &x, .gpa = GM_GPA + MEM_LEN - 1, .len = 2,
				   .direction = 1));
	EXPECT_EQ(0, x.done);
	EXPECT_EQ(-EOVERFLOW, edu_xfer(edu, &x, .gpa = ~0ULL, .len = 2, .direction = 1));

	/* A mapping has its own range and direction. */
	ASSERT_EQ(0, edu_map(edu, &m, .gpa = GM_GPA + 1, .len = 100, .direction = 1));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA, .len = 1, .direction = 1,
				    .map = m.map));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA + 1, .len = 101, .direction = 1,
				    .map = m.map));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA + 100, .len = 2, .direction = 1,
				    .map = m.map));
	EXPECT_EQ(-EINVAL, edu_xfer(edu, &x, .gpa = GM_GPA + 1, .len = 1, .direction = 2,
				    .map = m.map));
	EXPECT_EQ(0, edu_unmap(edu, m.map));
	EXPECT_EQ(-ENOENT, edu_unmap(edu, m.map));

	/* The device may read a read-only region, and not write to it. */
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA + GM_HUGE, 0, PG,
				GUESTMEM_REGION_READONLY, &id));
	EXPECT_EQ(-EACCES, edu_xfer(edu, &x, .gpa = GM_GPA + GM_HUGE, .len = 1,
				    .direction = GUESTMEM_DMA_FROM_DEVICE));
	EXPECT_EQ(-EACCES, edu_map(edu, &m, .gpa = GM_GPA + GM_HUGE, .len = 1,
				   .direction = GUESTMEM_DMA_BIDIRECTIONAL));
	EXPECT_EQ(0, edu_xfer(edu, &x, .gpa = GM_GPA + GM_HUGE, .len = 1,
			      .direction = GUESTMEM_DMA_TO_DEVICE));
	EXPECT_EQ(0, memcmp(self->want, self->mem.va, MEM_LEN));
}

/* The driver has the rights of the file that it was given, and no others. */
TEST_F(edu, rights)
{
	int edu = open(EDU_DEV, O_RDWR | O_CLOEXEC), fd = open(GM_DEV, O_RDONLY | O_CLOEXEC);
	struct guestmem_edu_map m;

	ASSERT_LE(0, edu);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, edu_attach(edu, fd));
	EXPECT_EQ(-EACCES, edu_map(edu, &m, .gpa = GM_GPA, .len = 1,
				   .direction = GUESTMEM_DMA_FROM_DEVICE));
	EXPECT_EQ(-ENXIO, edu_map(edu, &m, .gpa = GM_GPA, .len = 1,
				  .direction = GUESTMEM_DMA_TO_DEVICE));
	close(fd);
	close(edu);
}

/* What stays mapped is moved without mapping it again; it holds the region. */
TEST_F(edu, mapping)
{
	struct guestmem_edu_xfer x;
	struct guestmem_edu_map m;
	size_t len = 3 * PG;

	ASSERT_EQ(0, edu_map(self->edu, &m, .gpa = GM_GPA + FIRST_LEN - PG - 5, .len = len,
			     .direction = GUESTMEM_DMA_BIDIRECTIONAL));
	EXPECT_NE(0, m.iova);
	EXPECT_LE(1, m.nsegments);
	EXPECT_EQ(-EBUSY, gm_remove(self->guest.fd, self->first));
	EXPECT_EQ(-EBUSY, gm_remove(self->guest.fd, self->second));
	ASSERT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA + FIRST_LEN - 1000, .len = 2000,
			      .direction = GUESTMEM_DMA_TO_DEVICE, .map = m.map));
	ASSERT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA + FIRST_LEN + PG, .len = 2000,
			      .direction = GUESTMEM_DMA_FROM_DEVICE, .map = m.map));
	memcpy(self->want + FIRST_LEN + PG, self->want + FIRST_LEN - 1000, 2000);
	EXPECT_EQ(0, memcmp(self->want, self->mem.va, MEM_LEN));
	EXPECT_EQ(0, edu_unmap(self->edu, m.map));
	EXPECT_EQ(0, gm_remove(self->guest.fd, self->first));
}

/* After the unmap, and after a revoke, the IOMMU lets nothing through. */
TEST_F(edu, iommu_blocks)
{
	struct guestmem_edu_xfer x;
	struct guestmem_edu_map m;
	int pass;

	/* Something in the device's buffer that is not what the memory has. */
	ASSERT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA + 5 * PG, .len = 2000,
			      .direction = GUESTMEM_DMA_TO_DEVICE));
	for (pass = 0; pass < 2; pass++) {
		ASSERT_EQ(0, edu_map(self->edu, &m, .gpa = GM_GPA, .len = PG,
				     .direction = GUESTMEM_DMA_FROM_DEVICE));
		/* The raw way works: else the rest would prove nothing. */
		ASSERT_EQ(0, edu_raw(self->edu, m.iova, 2000, GUESTMEM_DMA_FROM_DEVICE))
			TH_LOG("guestmem_edu must be loaded with allow_raw=1");
		ASSERT_EQ(0, memcmp(self->want + 5 * PG, self->mem.va, 2000));
		memcpy(self->mem.va, self->want, 2000);
		if (pass) {
			ASSERT_EQ(0, gm_revoke(self->guest.fd, self->first));
		} else {
			ASSERT_EQ(0, edu_unmap(self->edu, m.map));
		}
		ASSERT_EQ(0, edu_raw(self->edu, m.iova, 2000, GUESTMEM_DMA_FROM_DEVICE));
		EXPECT_EQ(0, memcmp(self->want, self->mem.va, MEM_LEN));
	}
}

/**
 * struct mover - a thread that has the device write to the guest until it may not
 * @edu: the device
 * @map: by a mapping, or 0
 * @result: of the last transfer
 * @done: bytes of it
 */
struct mover {
	int edu;
	__u32 map;
	int result;
	__u32 done;
};

static void *mover_run(void *arg)
{
	struct mover *mover = arg;
	struct guestmem_edu_xfer x;

	do {
		mover->result = edu_xfer(mover->edu, &x, .gpa = GM_GPA + PG, .len = 4095,
					 .direction = GUESTMEM_DMA_FROM_DEVICE,
					 .map = mover->map);
	} while (!mover->result);
	mover->done = x.done;
	return NULL;
}

/* At any moment of a transfer: when revoke returns, the device has stopped. */
TEST_F(edu, revoke_in_transfer)
{
	struct guestmem_edu_map m = { 0 };
	struct guestmem_edu_xfer x;
	struct mover mover = { .edu = self->edu };
	unsigned char *after;
	pthread_t thread;
	int i;

	after = malloc(MEM_LEN);
	ASSERT_NE(0, (uintptr_t)after);
	ASSERT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA + 5 * PG, .len = 4095,
			      .direction = GUESTMEM_DMA_TO_DEVICE));
	for (i = 0; i < 16; i++) {
		mover.map = 0;
		if (i % 2) {
			ASSERT_EQ(0, edu_map(self->edu, &m, .gpa = GM_GPA, .len = 3 * PG,
					     .direction = GUESTMEM_DMA_FROM_DEVICE));
			mover.map = m.map;
		}
		ASSERT_EQ(0, pthread_create(&thread, NULL, mover_run, &mover));
		usleep(i * PIECE_US / 5 + i * 37);
		memcpy(self->mem.va, self->want, FIRST_LEN);
		ASSERT_EQ(0, revoke_and_wait(self->guest.fd, self->first));
		memcpy(after, self->mem.va, MEM_LEN);
		usleep(PIECE_US * 3 / 2);
		EXPECT_EQ(0, memcmp(after, self->mem.va, MEM_LEN))
			TH_LOG("the device wrote after the revoke");
		pthread_join(thread, NULL);
		EXPECT_TRUE(mover.result == -ESTALE || mover.result == -ENXIO)
			TH_LOG("result %d", mover.result);
		EXPECT_GT(4095, mover.done);
		if (i % 2) {
			EXPECT_EQ(-ESTALE, mover.result);
			EXPECT_EQ(0, edu_unmap(self->edu, m.map));
		}
		memcpy(self->mem.va, self->want, MEM_LEN);
		ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, FIRST_LEN, 0,
					&self->first));
	}
	free(after);
}

/* The same, if it is the view that the driver was given that may not write any more. */
TEST_F(edu, view_limited_in_transfer)
{
	const __u32 rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_LOCK;
	struct guestmem_edu_map m = { 0 };
	struct guestmem_view_limit limit;
	struct guestmem_edu_xfer x;
	struct mover mover;
	unsigned char *after;
	pthread_t thread;
	int i, view;

	after = malloc(MEM_LEN);
	ASSERT_NE(0, (uintptr_t)after);
	ASSERT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA + 5 * PG, .len = 4095,
			      .direction = GUESTMEM_DMA_TO_DEVICE));
	for (i = 0; i < 8; i++) {
		view = gm_view(self->guest.fd, GM_GPA, 4 * PG, rights, GUESTMEM_VIEW_KEEP, NULL);
		ASSERT_LE(0, view);
		mover = (struct mover){ .edu = open(EDU_DEV, O_RDWR | O_CLOEXEC) };
		ASSERT_LE(0, mover.edu);
		ASSERT_EQ(0, edu_attach(mover.edu, view));
		EXPECT_EQ(-ENXIO, edu_map(mover.edu, &m, .gpa = GM_GPA, .len = 5 * PG,
					  .direction = GUESTMEM_DMA_FROM_DEVICE));
		if (i % 2) {
			ASSERT_EQ(0, edu_map(mover.edu, &m, .gpa = GM_GPA, .len = 3 * PG,
					     .direction = GUESTMEM_DMA_FROM_DEVICE));
			mover.map = m.map;
		}
		ASSERT_EQ(0, pthread_create(&thread, NULL, mover_run, &mover));
		usleep(i * PIECE_US / 2 + i * 37);
		memcpy(self->mem.va, self->want, FIRST_LEN);
		ASSERT_EQ(0, gm_view_limit(self->guest.fd, &limit, .id = gm_view_id(view),
					   .rights = i & 2 ? GUESTMEM_RIGHT_READ : 0,
					   .timeout_ms = GUESTMEM_WAIT_FOREVER));
		memcpy(after, self->mem.va, MEM_LEN);
		usleep(PIECE_US * 3 / 2);
		EXPECT_EQ(0, memcmp(after, self->mem.va, MEM_LEN))
			TH_LOG("the device wrote after the limit");
		pthread_join(thread, NULL);
		EXPECT_TRUE(mover.result == -ESTALE || mover.result == -EACCES)
			TH_LOG("result %d", mover.result);
		memcpy(self->mem.va, self->want, MEM_LEN);
		close(mover.edu);
		close(view);
	}
	/* Nobody else has lost anything. */
	EXPECT_EQ(0, edu_move(self->edu, GM_GPA, GM_GPA + 5 * PG, 64, 0));
	free(after);
}

/* The same, if the driver has a session, and what it uses is unmapped. */
TEST_F(edu, unmapped_in_transfer)
{
	const __u32 rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE;
	int domain = gm_domain(self->guest.fd, rights | GUESTMEM_RIGHT_LOCK), session;
	struct guestmem_edu_map m = { 0 };
	struct guestmem_domain_unmap du;
	struct mover mover;
	unsigned char *after;
	pthread_t thread;
	int i;

	ASSERT_LE(0, domain);
	after = malloc(MEM_LEN);
	ASSERT_NE(0, (uintptr_t)after);
	for (i = 0; i < 8; i++) {
		session = gm_session(domain, rights | GUESTMEM_RIGHT_LOCK, NULL);
		ASSERT_LE(0, session);
		mover = (struct mover){ .edu = open(EDU_DEV, O_RDWR | O_CLOEXEC) };
		ASSERT_LE(0, mover.edu);
		ASSERT_EQ(0, edu_attach(mover.edu, session));
		ASSERT_EQ(0, gm_map_iova(domain, GM_GPA, 4 * PG, GM_GPA, rights));
		EXPECT_EQ(-ENXIO, edu_map(mover.edu, &m, .gpa = GM_GPA, .len = 3 * PG,
					  .direction = GUESTMEM_DMA_FROM_DEVICE));
		ASSERT_EQ(0, gm_export_iova(session, GM_GPA, 4 * PG, rights, NULL));
		if (i % 2) {
			ASSERT_EQ(0, edu_map(mover.edu, &m, .gpa = GM_GPA, .len = 3 * PG,
					     .direction = GUESTMEM_DMA_FROM_DEVICE));
			mover.map = m.map;
		}
		ASSERT_EQ(0, pthread_create(&thread, NULL, mover_run, &mover));
		usleep(i * PIECE_US / 2 + i * 37);
		memcpy(self->mem.va, self->want, FIRST_LEN);
		/* Exports end at once; whom it waits for is the driver. */
		ASSERT_EQ(0, gm_domain_unmap(domain, &du, .iova = GM_GPA, .len = 4 * PG,
					     .timeout_ms = GUESTMEM_WAIT_FOREVER));
		EXPECT_EQ(0, du.nusers);
		memcpy(after, self->mem.va, MEM_LEN);
		usleep(PIECE_US * 3 / 2);
		EXPECT_EQ(0, memcmp(after, self->mem.va, MEM_LEN))
			TH_LOG("the device wrote after the unmap");
		pthread_join(thread, NULL);
		EXPECT_TRUE(mover.result == -ESTALE || mover.result == -ENXIO)
			TH_LOG("result %d", mover.result);
		if (i % 2)
			EXPECT_EQ(-ESTALE, mover.result);
		memcpy(self->mem.va, self->want, MEM_LEN);
		close(mover.edu);
		close(session);
	}
	close(domain);
	free(after);
}

static void *revoke_first(void *arg)
{
	const int *args = arg;

	revoke_and_wait(args[0], args[1]);
	return NULL;
}

/*
 * One lock on two regions, which two threads revoke: whichever returns, the device
 * has stopped, also if it was the other one who had it stopped.
 */
TEST_F(edu, revoke_by_two)
{
	struct mover mover = { .edu = self->edu };
	struct guestmem_edu_map m;
	struct guestmem_edu_xfer x;
	pthread_t threads[2];
	unsigned char *after;
	int args[2], i;

	after = malloc(MEM_LEN);
	ASSERT_NE(0, (uintptr_t)after);
	ASSERT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA + 5 * PG, .len = 4095,
			      .direction = GUESTMEM_DMA_TO_DEVICE));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, edu_map(self->edu, &m, .gpa = GM_GPA, .len = MEM_LEN,
				     .direction = GUESTMEM_DMA_FROM_DEVICE));
		mover.map = m.map;
		ASSERT_EQ(0, pthread_create(&threads[0], NULL, mover_run, &mover));
		usleep(PIECE_US / 2);
		args[0] = self->guest.fd;
		args[1] = self->second;
		ASSERT_EQ(0, pthread_create(&threads[1], NULL, revoke_first, args));
		usleep(i * PIECE_US / 8);
		ASSERT_EQ(0, revoke_and_wait(self->guest.fd, self->first));
		memcpy(after, self->mem.va, MEM_LEN);
		usleep(PIECE_US * 3 / 2);
		EXPECT_EQ(0, memcmp(after, self->mem.va, MEM_LEN))
			TH_LOG("the device wrote after the revoke");
		pthread_join(threads[0], NULL);
		pthread_join(threads[1], NULL);
		EXPECT_EQ(-ESTALE, mover.result);
		EXPECT_EQ(0, edu_unmap(self->edu, m.map));
		ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, FIRST_LEN, 0,
					&self->first));
		ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA + FIRST_LEN, FIRST_LEN,
					MEM_LEN - FIRST_LEN, 0, &self->second));
	}
	free(after);
}

/* Both need the device, which can be told only one thing at a time. */
TEST_F(edu, two_files)
{
	struct mover movers[2] = { { .edu = self->edu } };
	pthread_t threads[2];
	int i;

	movers[1].edu = open(EDU_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, movers[1].edu);
	ASSERT_EQ(0, edu_attach(movers[1].edu, self->guest.fd));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, mover_run, &movers[i]));
	usleep(5 * PIECE_US);
	ASSERT_EQ(0, revoke_and_wait(self->guest.fd, self->first));
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_TRUE(movers[i].result == -ESTALE || movers[i].result == -ENXIO);
	}
	close(movers[1].edu);
}

/* The guest's file may be closed first: the driver keeps the guest, and its pages. */
TEST_F(edu, outlives_guest_file)
{
	struct guestmem_edu_xfer x;
	struct guestmem_edu_map m;

	ASSERT_EQ(0, edu_map(self->edu, &m, .gpa = GM_GPA, .len = PG,
			     .direction = GUESTMEM_DMA_FROM_DEVICE));
	ASSERT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA + 5 * PG, .len = 500,
			      .direction = GUESTMEM_DMA_TO_DEVICE));
	EXPECT_EQ(0, close(self->guest.fd));
	self->guest.fd = -1;
	EXPECT_EQ(1, gm_guests(&self->guest.id));
	EXPECT_EQ(0, edu_xfer(self->edu, &x, .gpa = GM_GPA, .len = 500, .map = m.map,
			      .direction = GUESTMEM_DMA_FROM_DEVICE));
	EXPECT_EQ(0, memcmp(self->want + 5 * PG, self->mem.va, 500));
	/* Closed with a mapping, by the teardown. */
}

TEST_F(edu, killed_in_transfer)
{
	struct mover mover = { .edu = self->edu };
	struct guestmem_edu_map m;
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		mover.edu = open(EDU_DEV, O_RDWR | O_CLOEXEC);
		if (edu_attach(mover.edu, self->guest.fd) ||
		    edu_map(mover.edu, &m, .gpa = GM_GPA, .len = PG, .direction = 3))
			_exit(1);
		mover_run(&mover);
		_exit(1);
	}
	usleep(5 * PIECE_US / 2);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, gm_remove(self->guest.fd, self->first));
}

/* In use: neither module can go. */
TEST_F(edu, unload_refused)
{
	EXPECT_NE(0, syscall(SYS_delete_module, "guestmem_edu", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	EXPECT_NE(0, syscall(SYS_delete_module, "guestmem", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
}

/* The device goes in the middle of a transfer; files stay open, without a device. */
TEST_F(edu, device_removed)
{
	struct guestmem_edu_map m;
	struct guestmem_edu_xfer x;
	struct mover mover = { .edu = self->edu };
	pthread_t thread;
	char name[40];
	int edu;

	edu_pci(name, sizeof(name));
	ASSERT_NE(0, strlen(name));
	ASSERT_EQ(0, edu_map(self->edu, &m, .gpa = GM_GPA, .len = PG, .direction = 3));
	ASSERT_EQ(0, pthread_create(&thread, NULL, mover_run, &mover));
	usleep(PIECE_US / 2);
	ASSERT_EQ(0, edu_bind("unbind", name));
	pthread_join(thread, NULL);
	EXPECT_EQ(-ENODEV, mover.result);
	EXPECT_EQ(-ENODEV, edu_xfer(self->edu, &x, .gpa = GM_GPA, .len = 1, .direction = 1,
				    .map = m.map));
	EXPECT_EQ(-ENODEV, edu_xfer(self->edu, &x, .gpa = GM_GPA, .len = 1, .direction = 1));
	EXPECT_EQ(-ENODEV, edu_map(self->edu, &m, .gpa = GM_GPA, .len = PG, .direction = 3));
	/* Its locks went with it. */
	EXPECT_EQ(0, gm_remove(self->guest.fd, self->first));

	ASSERT_EQ(0, edu_bind("bind", name));
	edu = open(EDU_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, edu);
	EXPECT_EQ(0, edu_attach(edu, self->guest.fd));
	EXPECT_EQ(0, edu_move(edu, GM_GPA + FIRST_LEN, GM_GPA + FIRST_LEN + PG, 100, 0));
	memcpy(self->want + FIRST_LEN, self->want + FIRST_LEN + PG, 100);
	EXPECT_EQ(0, memcmp(self->want + FIRST_LEN, self->mem.va + FIRST_LEN, FIRST_LEN));
	close(edu);
}

TEST_HARNESS_MAIN
