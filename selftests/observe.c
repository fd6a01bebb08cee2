// SPDX-License-Identifier: GPL-2.0-only
/* What an administrator sees: tracepoints, fdinfo and the debugfs listing. */
#include "guestmem_test.h"

#define TRACING	"/sys/kernel/tracing/"

static int put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static char *get_file(const char *path)
{
	static char text[1 << 18];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return NULL;
	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	close(fd);
	text[len] = 0;
	return text;
}

FIXTURE(observe) {
	struct gm_guest guest;
	struct gm_mem mem;
	__u32 id;
	struct guestmem_lock lock;
};

FIXTURE_SETUP(observe)
{
	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, GM_MEMFD, 16 * PG));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, self->mem.len,
				GUESTMEM_REGION_READONLY, &self->id));
	ASSERT_EQ(0, gm_lock(self->guest.fd, &self->lock, .direction = GUESTMEM_DMA_TO_DEVICE,
			     .gpa = GM_GPA + 5, .len = PG));
}

FIXTURE_TEARDOWN(observe)
{
	gm_mem_free(&self->mem);
	gm_guest_teardown(_metadata, &self->guest);
}

TEST_F(observe, fdinfo)
{
	char path[64], expect[64], *text;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->guest.fd);
	text = get_file(path);
	ASSERT_NE(NULL, text);
	snprintf(expect, sizeof(expect), "\nguest:\t%llu\n", (unsigned long long)self->guest.id);
	EXPECT_NE(NULL, strstr(text, expect));
	EXPECT_NE(NULL, strstr(text, "\nregions:\t1\n"));
	EXPECT_NE(NULL, strstr(text, "\npinned_kb:\t64\n"));
	EXPECT_NE(NULL, strstr(text, "\nlocks:\t1\n"));
}

TEST_F(observe, debugfs)
{
	char expect[160], *text;

	text = get_file("/sys/kernel/debug/guestmem/guests");
	ASSERT_NE(NULL, text);
	snprintf(expect, sizeof(expect), "guest %llu regions 1 ",
		 (unsigned long long)self->guest.id);
	EXPECT_NE(NULL, strstr(text, expect));
	snprintf(expect, sizeof(expect), "  region %u %#llx-%#llx file pid %d runs ", self->id,
		 GM_GPA, GM_GPA + self->mem.len - 1, getpid());
	EXPECT_NE(NULL, strstr(text, expect))
		TH_LOG("%s", text);
	EXPECT_NE(NULL, strstr(text, " locks 1 readonly\n"));
	snprintf(expect, sizeof(expect), "    lock %#llx-%#llx view 1 direction 1 maps 0\n",
		 GM_GPA + 5, GM_GPA + PG + 4);
	EXPECT_NE(NULL, strstr(text, expect));

	/* What only a lock keeps is not forgotten. */
	ASSERT_EQ(-ETIMEDOUT, gm_revoke(self->guest.fd, self->id));
	text = get_file("/sys/kernel/debug/guestmem/guests");
	EXPECT_NE(NULL, strstr(text, " locks 1 readonly revoked\n"));
	ASSERT_EQ(0, gm_unlock_handle(self->guest.fd, self->lock.handle));
	text = get_file("/sys/kernel/debug/guestmem/guests");
	snprintf(expect, sizeof(expect), "  region %u ", self->id);
	EXPECT_EQ(NULL, strstr(text, expect));
}

/* Where another process has its memory is not told; where in a file is. */
TEST_F(observe, foreign_addresses)
{
	struct guestmem_region region;
	unsigned char *va;
	int status;
	__u32 id;
	pid_t pid;

	va = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, va);
	ASSERT_EQ(0, gm_user_add(self->guest.fd, va, 2 * GM_GPA, PG, 0, &id));
	ASSERT_EQ(0, gm_region_get(self->guest.fd, id, &region));
	EXPECT_EQ((uintptr_t)va, region.offset);
	EXPECT_EQ(GUESTMEM_REGION_OWN, region.flags);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int bad = 0;

		bad |= gm_region_get(self->guest.fd, id, &region) ||
		       region.offset != (uintptr_t)va || region.flags;
		bad |= gm_unprivileged() || gm_region_get(self->guest.fd, id, &region) ||
		       region.offset;
		_exit(bad);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	munmap(va, PG);
}

/*
 * It is written with the guest, and the list of all, held: so what there can be of it is
 * what there is of locks and regions, not their product.
 */
TEST_F(observe, debugfs_bounded)
{
	enum { NREGIONS = 512, NLOCKS = 200 };
	struct guestmem_lock lock;
	unsigned int i, nlocks = 0, nlines = 0;
	char line[256];
	FILE *f;

	for (i = 0; i < NREGIONS; i++)
		ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, 4 * GM_GPA + i * PG, 0, PG, 0,
					NULL));
	for (i = 0; i < NLOCKS; i++)
		ASSERT_EQ(0, gm_lock(self->guest.fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
				     .gpa = 4 * GM_GPA, .len = NREGIONS * PG));
	f = fopen("/sys/kernel/debug/guestmem/guests", "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		nlines++;
		nlocks += !strncmp(line, "    lock ", 9);
	}
	fclose(f);
	/* With the guest, view, region and lock of the fixture. */
	EXPECT_EQ(NLOCKS + 1, nlocks);
	EXPECT_EQ(2 + NREGIONS + 1 + NLOCKS + 1, nlines);
}

/* Guests that end while they are listed hide none of those that stay. */
TEST_F(observe, debugfs_complete)
{
	enum { NGUESTS = 300 };
	int fds[NGUESTS], f;
	struct guestmem_info info;
	char expect[32], text[1 << 16] = "";
	size_t len;
	ssize_t n;
	int i;

	for (i = 0; i < NGUESTS; i++) {
		fds[i] = open(GM_DEV, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fds[i]);
	}
	f = open("/sys/kernel/debug/guestmem/guests", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, f);
	ASSERT_LT(0, n = read(f, text, 4096));
	for (i = 0; i < 20; i++)
		close(fds[i]);
	for (len = n; (n = read(f, text + len, 4096)) > 0; len += n)
		;
	close(f);
	for (i = 20; i < NGUESTS; i++) {
		ASSERT_EQ(0, gm_info(fds[i], &info));
		snprintf(expect, sizeof(expect), "guest %llu regions", (unsigned long long)info.id);
		EXPECT_NE(NULL, strstr(text, expect))
			TH_LOG("%s", expect);
		close(fds[i]);
	}
}

TEST_F(observe, debugfs_is_for_root)
{
	ASSERT_EQ(0, gm_unprivileged());
	EXPECT_EQ(-1, open("/sys/kernel/debug/guestmem/guests", O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(0, gm_privileged());
}

/* Each once, with addresses of the guest and none of the host's. */
TEST_F(observe, tracepoints)
{
	static const char * const names[] = {
		"guestmem_pin", "guestmem_lock", "guestmem_translate", "guestmem_fault",
		"guestmem_unlock", "guestmem_revoke", "guestmem_unpin",
	};
	struct guestmem_range range = { .gpa = GM_GPA, .len = 1 };
	struct guestmem_extent extent;
	struct guestmem_translate translate;
	unsigned char *map;
	char expect[160], *text;
	unsigned int i;
	__u32 id;

	ASSERT_EQ(0, put_file(TRACING "trace", ""));
	ASSERT_EQ(0, put_file(TRACING "events/guestmem/enable", "1"));
	EXPECT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, 2 * GM_GPA, 0, PG, 0, &id));
	EXPECT_EQ(0, gm_lock(self->guest.fd, &self->lock, .direction = GUESTMEM_DMA_FROM_DEVICE,
			     .gpa = 2 * GM_GPA, .len = 7));
	EXPECT_EQ(0, gm_translate(self->guest.fd, &translate, .ranges = (uintptr_t)&range,
				  .nranges = 1, .extents = (uintptr_t)&extent, .nextents = 1));
	map = gm_mmap(self->guest.fd, 2 * GM_GPA, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(self->mem.va[0], *(volatile unsigned char *)map);
	EXPECT_EQ(0, gm_unlock_handle(self->guest.fd, self->lock.handle));
	EXPECT_EQ(0, gm_remove(self->guest.fd, id));
	EXPECT_EQ(0, put_file(TRACING "events/guestmem/enable", "0"));
	munmap(map, PG);

	text = get_file(TRACING "trace");
	ASSERT_NE(NULL, text);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(expect, sizeof(expect), " %s: guest=%llu ", names[i],
			 (unsigned long long)self->guest.id);
		EXPECT_NE(NULL, strstr(text, expect))
			TH_LOG("no %s", names[i]);
	}
	snprintf(expect, sizeof(expect), "guestmem_lock: guest=%llu view=1 gpa=%#llx-%#llx regions=1",
		 (unsigned long long)self->guest.id, 2 * GM_GPA, 2 * GM_GPA + 6);
	EXPECT_NE(NULL, strstr(text, expect));
}

TEST_HARNESS_MAIN
