// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accounting: RLIMIT_MEMLOCK of the user who adds, and VmPin of the process.
 *
 * The kernel tells nobody how much a user has locked. So these tests let an
 * ordinary user, who has nothing else locked, fill the limit exactly: one page
 * charged too much is seen as a refusal, and one too little as a success.
 */
#include "guestmem_test.h"

#define VMPIN(n)	(self->guest.leak.vmpin + (long)(n))

static int limit(size_t bytes)
{
	struct rlimit rl;

	/* The hard limit stays, so that the soft one can go up again. */
	if (getrlimit(RLIMIT_MEMLOCK, &rl))
		return -errno;
	rl.rlim_cur = bytes;
	return setrlimit(RLIMIT_MEMLOCK, &rl) ? -errno : 0;
}

/* setup: room above the limits that are tried, while it is still allowed */
static int limit_open(void)
{
	struct rlimit rl = { RLIM_INFINITY, RLIM_INFINITY };

	return setrlimit(RLIMIT_MEMLOCK, &rl) ? -errno : 0;
}

GM_BACKING_FIXTURE(memlock)

TEST_F(memlock, below_and_at)
{
	struct gm_mem *mem = &self->mem;
	struct guestmem_region_add add;
	int fd = self->guest.fd;
	__u32 id;
	size_t limits[] = { 0, PG, mem->len - PG, mem->len - 1 };
	unsigned int i;

	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_unprivileged());
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		ASSERT_EQ(0, limit(limits[i]));
		EXPECT_EQ(-ENOMEM, gm_region_add(fd, &add,
			.backing = mem->fd >= 0 ? GUESTMEM_BACKING_FILE : GUESTMEM_BACKING_USER,
			.fd = mem->fd >= 0 ? mem->fd : 0,
			.offset = mem->fd >= 0 ? 0 : (uintptr_t)mem->va,
			.flags = variant->flags, .gpa = GM_GPA, .len = mem->len))
			TH_LOG("limit %zu", limits[i]);
		EXPECT_EQ(GUESTMEM_REASON_MEMLOCK, add.err.reason);
		EXPECT_EQ(mem->len, add.err.need);
		EXPECT_EQ(limits[i], add.err.limit);
		EXPECT_EQ(VMPIN(0), gm_vmpin());
		EXPECT_EQ(0, gm_pinned(fd));
	}
	ASSERT_EQ(0, limit(mem->len));
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, mem->len, variant->flags, &id));
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());
	/* Full. */
	EXPECT_EQ(-ENOMEM, gm_region_add(fd, &add,
		.backing = mem->fd >= 0 ? GUESTMEM_BACKING_FILE : GUESTMEM_BACKING_USER,
		.fd = mem->fd >= 0 ? mem->fd : 0,
		.offset = mem->fd >= 0 ? 0 : (uintptr_t)mem->va,
		.flags = variant->flags, .gpa = 2 * GM_GPA, .len = PG));
	EXPECT_EQ(mem->len + PG, add.err.need);
	EXPECT_EQ(mem->len, add.err.limit);
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());
	/* And empty again, exactly. */
	EXPECT_EQ(0, gm_remove(fd, id));
	EXPECT_EQ(VMPIN(0), gm_vmpin());
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, mem->len, variant->flags, &id));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, 2 * GM_GPA, 0, PG, variant->flags, NULL));
	EXPECT_EQ(0, gm_remove(fd, id));
	ASSERT_EQ(0, gm_privileged());
}

TEST_F(memlock, several_regions)
{
	struct gm_mem *mem = &self->mem;
	int fd = self->guest.fd;
	__u32 ids[4];
	int i;

	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_unprivileged());
	ASSERT_EQ(0, limit(3 * PG + PG / 2));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA + i * PG, i * PG, PG, variant->flags,
					&ids[i]));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, GM_GPA + 3 * PG, 3 * PG, PG, variant->flags, NULL));
	EXPECT_EQ(VMPIN(3 * PG), gm_vmpin());
	EXPECT_EQ(0, gm_remove(fd, ids[1]));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, 2 * GM_GPA, 0, 2 * PG, variant->flags, NULL));
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA + 3 * PG, 3 * PG, PG, variant->flags, NULL));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, GM_GPA + PG, PG, PG, variant->flags, NULL));
	EXPECT_EQ(VMPIN(3 * PG), gm_vmpin());
	ASSERT_EQ(0, gm_privileged());
}

/* Locks hold what is charged already; a revoked region is charged while they do. */
TEST_F(memlock, locks)
{
	struct gm_mem *mem = &self->mem;
	struct guestmem_lock lock, lock2;
	int fd = self->guest.fd;
	__u32 id;

	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_unprivileged());
	ASSERT_EQ(0, limit(mem->len));
	ASSERT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, mem->len, variant->flags, &id));
	EXPECT_EQ(0, gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA,
			     .len = mem->len));
	EXPECT_EQ(0, gm_lock(fd, &lock2, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA,
			     .len = mem->len));
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());

	EXPECT_EQ(-ETIMEDOUT, gm_revoke(fd, id));
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, GM_GPA, 0, PG, variant->flags, NULL));
	EXPECT_EQ(0, gm_unlock_handle(fd, lock.handle));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, GM_GPA, 0, PG, variant->flags, NULL));
	EXPECT_EQ(0, gm_unlock_handle(fd, lock2.handle));
	EXPECT_EQ(VMPIN(0), gm_vmpin());
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, mem->len, variant->flags, &id));
	EXPECT_EQ(0, gm_remove(fd, id));
	ASSERT_EQ(0, gm_privileged());
}

/* With CAP_IPC_LOCK there is no limit, and no charge to take back later. */
TEST_F(memlock, cap_ipc_lock)
{
	struct gm_mem *mem = &self->mem;
	struct guestmem_region_add add;
	int fd = self->guest.fd;
	__u32 id, id2;

	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_unprivileged());
	ASSERT_EQ(0, limit(0));
	ASSERT_EQ(0, gm_cap(CAP_IPC_LOCK, true));
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, mem->len, variant->flags, &id));
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());

	ASSERT_EQ(0, gm_cap(CAP_IPC_LOCK, false));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, 2 * GM_GPA, 0, PG, variant->flags, NULL));
	/* What was exempt does not count against the limit ... */
	ASSERT_EQ(0, limit(PG));
	EXPECT_EQ(0, gm_mem_add(fd, mem, 2 * GM_GPA, 0, PG, variant->flags, &id2));
	/* ... and removing it, now without the capability, gives no credit. */
	EXPECT_EQ(0, gm_remove(fd, id));
	EXPECT_EQ(VMPIN(PG), gm_vmpin());
	EXPECT_EQ(-ENOMEM, gm_region_add(fd, &add,
		.backing = mem->fd >= 0 ? GUESTMEM_BACKING_FILE : GUESTMEM_BACKING_USER,
		.fd = mem->fd >= 0 ? mem->fd : 0,
		.offset = mem->fd >= 0 ? 0 : (uintptr_t)mem->va,
		.flags = variant->flags, .gpa = GM_GPA, .len = PG));
	EXPECT_EQ(2 * PG, add.err.need);
	/* The other way round: charged without it, removed with it. */
	ASSERT_EQ(0, gm_cap(CAP_IPC_LOCK, true));
	EXPECT_EQ(0, gm_remove(fd, id2));
	ASSERT_EQ(0, gm_cap(CAP_IPC_LOCK, false));
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, PG, variant->flags, &id2));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, 2 * GM_GPA, 0, PG, variant->flags, NULL));
	EXPECT_EQ(VMPIN(PG), gm_vmpin());
	EXPECT_EQ(0, gm_remove(fd, id2));
	ASSERT_EQ(0, gm_privileged());
}

/* In a domain, and not in the guest. */
static int map_mem(int dom, const struct gm_mem *mem, __u64 iova, size_t len, __u32 flags,
		   struct guestmem_domain_map *dm)
{
	struct guestmem_mapping m = {
		.iova = iova, .len = len,
		.gpa = mem->fd >= 0 ? 0 : (uintptr_t)mem->va,
		.fd = mem->fd >= 0 ? mem->fd : 0,
		.backing = mem->fd >= 0 ? GUESTMEM_BACKING_FILE : GUESTMEM_BACKING_USER,
		.rights = GUESTMEM_RIGHT_READ |
			  (flags & GUESTMEM_REGION_READONLY ? 0 : GUESTMEM_RIGHT_WRITE),
	};

	return gm_domain_map(dom, dm, .mappings = (uintptr_t)&m, .nmappings = 1);
}

/* What a domain maps that is not in the guest is charged as regions are, and with them. */
TEST_F(memlock, mapped_by_domain)
{
	struct gm_mem *mem = &self->mem;
	int fd = self->guest.fd, dom = gm_domain(fd, GM_CLIENT_RIGHTS);
	int ses = gm_session(dom, GM_CLIENT_RIGHTS, NULL);
	size_t limits[] = { 0, PG, mem->len - PG, mem->len - 1 };
	struct guestmem_domain_unmap du;
	struct guestmem_domain_map dm;
	struct guestmem_lock lock;
	unsigned int i;
	__u32 id;

	ASSERT_LE(0, ses);
	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_unprivileged());
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		ASSERT_EQ(0, limit(limits[i]));
		EXPECT_EQ(-ENOMEM, map_mem(dom, mem, 0, mem->len, variant->flags, &dm))
			TH_LOG("limit %zu", limits[i]);
		EXPECT_EQ(GUESTMEM_REASON_MEMLOCK, dm.err.reason);
		EXPECT_EQ(mem->len, dm.err.need);
		EXPECT_EQ(limits[i], dm.err.limit);
		EXPECT_EQ(VMPIN(0), gm_vmpin());
		EXPECT_EQ(0, gm_pinned(fd));
	}
	/* One limit for both. */
	ASSERT_EQ(0, limit(mem->len + PG));
	EXPECT_EQ(0, map_mem(dom, mem, 0, mem->len, variant->flags, &dm));
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, PG, variant->flags, &id));
	EXPECT_EQ(VMPIN(mem->len + PG), gm_vmpin());
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, 2 * GM_GPA, 0, PG, variant->flags, NULL));
	EXPECT_EQ(-ENOMEM, map_mem(dom, mem, mem->len, PG, variant->flags, &dm));
	EXPECT_EQ(mem->len + 2 * PG, dm.err.need);
	EXPECT_EQ(VMPIN(mem->len + PG), gm_vmpin());
	/* What is there already is found after it was charged. */
	EXPECT_EQ(0, gm_remove(fd, id));
	EXPECT_EQ(-EEXIST, map_mem(dom, mem, 0, PG, variant->flags, &dm));
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());
	EXPECT_EQ(0, map_mem(dom, mem, mem->len, PG, variant->flags, &dm));

	/* Unmapped, it is charged as long as a session has it locked, but no longer. */
	ASSERT_EQ(0, gm_export_iova(ses, 0, mem->len, GUESTMEM_RIGHT_READ, NULL));
	ASSERT_EQ(0, gm_lock(ses, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .len = 1));
	EXPECT_EQ(0, gm_domain_unmap(dom, &du, .flags = GUESTMEM_UNMAP_ALL));
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(VMPIN(mem->len), gm_vmpin());
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, GM_GPA, 0, 2 * PG, variant->flags, NULL));
	EXPECT_EQ(0, gm_unlock_handle(ses, lock.handle));
	EXPECT_EQ(VMPIN(0), gm_vmpin());

	/* As much as before, exactly; and again when the domain is closed. */
	EXPECT_EQ(0, map_mem(dom, mem, 0, mem->len, variant->flags, &dm));
	EXPECT_EQ(0, map_mem(dom, mem, mem->len, PG, variant->flags, &dm));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, GM_GPA, 0, PG, variant->flags, NULL));
	close(dom);
	EXPECT_EQ(VMPIN(0), gm_vmpin());
	EXPECT_EQ(0, gm_mem_add(fd, mem, GM_GPA, 0, mem->len, variant->flags, NULL));
	EXPECT_EQ(0, gm_mem_add(fd, mem, 2 * GM_GPA, 0, PG, variant->flags, NULL));
	EXPECT_EQ(-ENOMEM, gm_mem_add(fd, mem, 4 * GM_GPA, 0, PG, variant->flags, NULL));
	ASSERT_EQ(0, gm_privileged());
	close(ses);
}

GM_PLAIN_FIXTURE(account)

/* After each way to fail, all of the limit is there to be used. */
TEST_F(account, error_paths)
{
	size_t n = 32, len = n * PG;
	struct guestmem_region_add add;
	int fd = self->guest.fd;
	struct gm_mem good, holey, small;
	void *device;
	unsigned int i;
	__u32 id, other;

	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_mem_alloc(&good, GM_ANON, len));
	ASSERT_EQ(0, gm_mem_alloc(&holey, GM_ANON, len));
	ASSERT_EQ(0, gm_mem_alloc(&small, GM_MEMFD, len / 2));
	ASSERT_EQ(0, munmap(holey.va + (n - 3) * PG, PG));
	/* One page at the end of the address range that collisions are tried on. */
	ASSERT_EQ(0, gm_user_add(fd, good.va, 8 * GM_GPA + len - PG, PG, 0, &other));
	device = gm_mmap(fd, 8 * GM_GPA + len - PG, PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, device);

	struct {
		const char *what;
		__u32 backing;
		int fd;
		__u64 gpa, len, offset;
		int err;
	} cases[] = {
		{ "hole", GUESTMEM_BACKING_USER, 0, GM_GPA, len, (uintptr_t)holey.va, EFAULT },
		{ "nothing", GUESTMEM_BACKING_USER, 0, GM_GPA, len, 0, EFAULT },
		{ "device", GUESTMEM_BACKING_USER, 0, GM_GPA, PG, (uintptr_t)device, EOPNOTSUPP },
		{ "overlap", GUESTMEM_BACKING_USER, 0, 8 * GM_GPA, len, (uintptr_t)good.va,
		  EEXIST },
		{ "wrap", GUESTMEM_BACKING_USER, 0, -(__u64)PG, len, (uintptr_t)good.va,
		  EOVERFLOW },
		{ "misaligned", GUESTMEM_BACKING_USER, 0, GM_GPA, len, (uintptr_t)good.va + 8,
		  EINVAL },
		{ "end of file", GUESTMEM_BACKING_FILE, small.fd, GM_GPA, len, 0, EINVAL },
		{ "no file", GUESTMEM_BACKING_FILE, 9999, GM_GPA, len, 0, EBADF },
		{ "file type", GUESTMEM_BACKING_FILE, fd, GM_GPA, len, 0, EOPNOTSUPP },
	};

	ASSERT_EQ(0, gm_unprivileged());
	ASSERT_EQ(0, limit(len));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(-cases[i].err, gm_region_add(fd, &add, .backing = cases[i].backing,
						       .fd = cases[i].fd, .gpa = cases[i].gpa,
						       .len = cases[i].len,
						       .offset = cases[i].offset))
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(VMPIN(PG), gm_vmpin())
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(0, gm_user_add(fd, good.va, GM_GPA, len, 0, &id))
			TH_LOG("%s left something charged", cases[i].what);
		/* And not more than the limit is there, had it been uncharged twice. */
		EXPECT_EQ(-ENOMEM, gm_user_add(fd, good.va, 4 * GM_GPA, PG, 0, NULL))
			TH_LOG("%s was uncharged too often", cases[i].what);
		EXPECT_EQ(0, gm_remove(fd, id));
	}
	/* The struct cannot be written back: undone as well. */
	{
		struct guestmem_region_add *ro = mmap(NULL, PG, PROT_READ | PROT_WRITE,
						      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		ASSERT_NE(MAP_FAILED, ro);
		*ro = (struct guestmem_region_add){
			.size = sizeof(*ro), .backing = GUESTMEM_BACKING_USER, .gpa = GM_GPA,
			.len = len, .offset = (uintptr_t)good.va };
		ASSERT_EQ(0, mprotect(ro, PG, PROT_READ));
		EXPECT_EQ(-EFAULT, gm_ioctl(fd, GUESTMEM_REGION_ADD, ro));
		EXPECT_EQ(VMPIN(PG), gm_vmpin());
		EXPECT_EQ(0, gm_user_add(fd, good.va, GM_GPA, len, 0, &id));
		EXPECT_EQ(-ENOMEM, gm_user_add(fd, good.va, 4 * GM_GPA, PG, 0, NULL));
		munmap(ro, PG);
	}
	ASSERT_EQ(0, gm_privileged());
	munmap(device, PG);
	gm_mem_free(&good);
	gm_mem_free(&holey);
	gm_mem_free(&small);
}

/*
 * The charge stays with the user who added, whoever removes, and with no process:
 * another process' region counts in the limit of the user when it is gone.
 */
TEST_F(account, other_process)
{
	int fd = self->guest.fd, status;
	struct gm_mem mem;
	__u32 id;
	pid_t pid;
	struct guestmem_region regions[2];

	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_ANON, 8 * PG));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (gm_unprivileged() || limit(8 * PG) ||
		    gm_user_add(fd, mem.va, GM_GPA, 8 * PG, 0, NULL))
			_exit(1);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(VMPIN(0), gm_vmpin());
	EXPECT_EQ(8 * PG, gm_pinned(fd));
	ASSERT_EQ(1, gm_list(fd, regions, 2));

	ASSERT_EQ(0, gm_unprivileged());
	ASSERT_EQ(0, limit(9 * PG));
	EXPECT_EQ(-ENOMEM, gm_user_add(fd, mem.va, 2 * GM_GPA, 2 * PG, 0, NULL));
	EXPECT_EQ(0, gm_user_add(fd, mem.va, 2 * GM_GPA, PG, 0, &id));
	EXPECT_EQ(0, gm_remove(fd, id));
	ASSERT_EQ(0, gm_privileged());
	/* Root removes it; the other user is given back what was charged. */
	EXPECT_EQ(0, gm_remove(fd, regions[0].id));
	ASSERT_EQ(0, gm_unprivileged());
	ASSERT_EQ(0, limit(8 * PG));
	EXPECT_EQ(0, gm_user_add(fd, mem.va, GM_GPA, 8 * PG, 0, NULL));
	EXPECT_EQ(-ENOMEM, gm_user_add(fd, mem.va, 2 * GM_GPA, PG, 0, NULL));
	ASSERT_EQ(0, gm_privileged());
	gm_mem_free(&mem);
}

/* Closing the guest gives all back. */
TEST_F(account, close)
{
	struct gm_mem mem;
	int i, fd;

	ASSERT_EQ(0, limit_open());
	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_MEMFD, 8 * PG));
	for (i = 0; i < 3; i++) {
		fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, gm_unprivileged());
		ASSERT_EQ(0, limit(8 * PG));
		EXPECT_EQ(0, gm_mem_add(fd, &mem, GM_GPA, 0, 8 * PG, 0, NULL))
			TH_LOG("round %d", i);
		EXPECT_EQ(VMPIN(8 * PG), gm_vmpin());
		EXPECT_EQ(-ENOMEM, gm_mem_add(fd, &mem, 2 * GM_GPA, 0, PG, 0, NULL));
		ASSERT_EQ(0, gm_privileged());
		close(fd);
		EXPECT_EQ(VMPIN(0), gm_vmpin());
	}
	gm_mem_free(&mem);
}

TEST_HARNESS_MAIN
