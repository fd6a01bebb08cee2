// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module's paths cost. In a VM whose clock counts instructions (one a
 * nanosecond) the figures are instructions, and the same in every run; elsewhere
 * they are time. process_vm_readv(2), the peer for reading, is measured in the
 * same run; so is getppid(2), what any system call costs. With the number of a VFIO
 * group as argument (see vfio-bind) so is type1, the peer of a domain for mapping.
 *
 * Each figure is the median of several rounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/guestmem.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS	9
#define LEN	(64UL << 20)
#define HUGE	(2UL << 20)
#define GPA	(4ULL << 30)
#define BATCH	64

static long page;

static void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void call(int fd, unsigned long cmd, void *arg, const char *what)
{
	if (ioctl(fd, cmd, arg))
		die(what);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What one call of @step costs, done @times a round; median of the rounds. */
static uint64_t cost(void (*step)(void *), void *arg, unsigned int times)
{
	uint64_t rounds[ROUNDS], start, empty;
	unsigned int i, j;

	for (i = 0; i < ROUNDS; i++) {
		start = now();
		empty = now() - start;
		start = now();
		for (j = 0; j < times; j++)
			step(arg);
		rounds[i] = (now() - start - empty) / times;
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	return rounds[ROUNDS / 2];
}

static void row(const char *what, uint64_t value, const char *per)
{
	printf("%-52s %12llu  %s\n", what, (unsigned long long)value, per);
	fflush(stdout);
}

struct bench {
	int fd;
	uint32_t id;
	void *mem;
	volatile char *map;
	size_t len;
	pid_t child;
	unsigned int nranges;
	int container;
	int domain;
	int session;
	unsigned int nmappings;
	uint64_t random;
	char buf[4096];
};

static void step_syscall(void *arg)
{
	(void)arg;
	syscall(SYS_getppid);
}

static void add(struct bench *b)
{
	struct guestmem_region_add add = {
		.size = sizeof(add), .backing = GUESTMEM_BACKING_USER, .gpa = GPA,
		.len = b->len, .offset = (uintptr_t)b->mem,
	};

	call(b->fd, GUESTMEM_REGION_ADD, &add, "REGION_ADD");
	b->id = add.id;
}

static void del(struct bench *b)
{
	struct guestmem_region_remove del = { .size = sizeof(del), .id = b->id };

	call(b->fd, GUESTMEM_REGION_REMOVE, &del, "REGION_REMOVE");
}

static void bench_regions(struct bench *b, const char *kind)
{
	uint64_t adds[ROUNDS], dels[ROUNDS], start;
	struct guestmem_region region;
	struct guestmem_region_list list = {
		.size = sizeof(list), .entries = (uintptr_t)&region,
		.entry_size = sizeof(region), .nentries = 1,
	};
	char text[64];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		start = now();
		add(b);
		adds[i] = now() - start;
		if (i == ROUNDS - 1)
			call(b->fd, GUESTMEM_REGION_LIST, &list, "REGION_LIST");
		start = now();
		del(b);
		dels[i] = now() - start;
	}
	qsort(adds, ROUNDS, sizeof(adds[0]), compare);
	qsort(dels, ROUNDS, sizeof(dels[0]), compare);
	snprintf(text, sizeof(text), "add 64 MiB in %s pages", kind);
	row(text, adds[ROUNDS / 2], "a call");
	row("", adds[ROUNDS / 2] / (LEN / page), "a 4 KiB page");
	snprintf(text, sizeof(text), "remove 64 MiB in %s pages", kind);
	row(text, dels[ROUNDS / 2], "a call");
	row("", dels[ROUNDS / 2] / (LEN / page), "a 4 KiB page");
	row("  metadata of its pages", region.nruns * 16ULL, "bytes");
	row("", region.nruns * 16ULL * HUGE / LEN, "bytes a 2 MiB");
}

static void bench_faults(struct bench *b, const char *kind)
{
	uint64_t rounds[ROUNDS], start;
	size_t stride = 64 << 10, offset;
	char text[64];
	int i;

	/* Each window of fault-around once; with 2 MiB entries each entry once. */
	if (strcmp(kind, "4 KiB"))
		stride = HUGE;
	for (i = 0; i < ROUNDS; i++) {
		b->map = mmap(NULL, b->len, PROT_READ, MAP_SHARED, b->fd, GPA);
		if (b->map == MAP_FAILED)
			die("mmap");
		start = now();
		for (offset = 0; offset < b->len; offset += stride)
			(void)b->map[offset];
		rounds[i] = (now() - start) / (b->len / stride);
		munmap((void *)b->map, b->len);
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	snprintf(text, sizeof(text), "fault on the mapping, %s pages", kind);
	row(text, rounds[ROUNDS / 2], "a fault");
}

static void step_translate(void *arg)
{
	struct guestmem_extent extents[BATCH];
	struct guestmem_range ranges[BATCH];
	struct bench *b = arg;
	struct guestmem_translate translate = {
		.size = sizeof(translate), .ranges = (uintptr_t)ranges,
		.extents = (uintptr_t)extents, .nranges = b->nranges, .nextents = BATCH,
	};
	unsigned int i;

	for (i = 0; i < b->nranges; i++)
		ranges[i] = (struct guestmem_range) { .gpa = GPA + i * HUGE / 4, .len = page };
	call(b->fd, GUESTMEM_TRANSLATE, &translate, "TRANSLATE");
}

static void step_lock(void *arg)
{
	struct bench *b = arg;
	struct guestmem_lock lock = {
		.size = sizeof(lock), .direction = GUESTMEM_DMA_BIDIRECTIONAL, .gpa = GPA,
		.len = b->len,
	};
	struct guestmem_unlock unlock = { .size = sizeof(unlock) };

	call(b->fd, GUESTMEM_LOCK, &lock, "LOCK");
	unlock.handle = lock.handle;
	call(b->fd, GUESTMEM_UNLOCK, &unlock, "UNLOCK");
}

static void step_pread(void *arg)
{
	struct bench *b = arg;

	if (pread(b->fd, b->buf, b->len, GPA) != (ssize_t)b->len)
		die("pread");
}

static void step_process_vm_readv(void *arg)
{
	struct bench *b = arg;
	struct iovec local = { b->buf, b->len }, remote = { b->mem, b->len };

	if (process_vm_readv(b->child, &local, 1, &remote, 1, 0) != (ssize_t)b->len)
		die("process_vm_readv");
}

/* ---- domains ---- */

#define IOVA	(1ULL << 40)
/* An emulated IOMMU has 39 bits. */
#define VFIO_IOVA	(1ULL << 32)

#define CLIENT_RIGHTS	(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MAP | \
			 GUESTMEM_RIGHT_TRANSLATE)

static void session_open(struct bench *b)
{
	struct guestmem_session_create session = {
		.size = sizeof(session), .rights = CLIENT_RIGHTS,
	};

	call(b->domain, GUESTMEM_SESSION_CREATE, &session, "SESSION_CREATE");
	b->session = session.fd;
}

static void domain_open(struct bench *b)
{
	struct guestmem_domain_create domain = {
		.size = sizeof(domain), .page_sizes = page, .last = UINT64_MAX,
		.rights = CLIENT_RIGHTS,
	};

	call(b->fd, GUESTMEM_DOMAIN_CREATE, &domain, "DOMAIN_CREATE");
	b->domain = domain.fd;
	session_open(b);
}

static void domain_map(struct bench *b, uint64_t iova, uint64_t gpa, uint64_t len)
{
	struct guestmem_mapping mapping = {
		.iova = iova, .len = len, .gpa = gpa,
		.rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE,
	};
	struct guestmem_domain_map map = {
		.size = sizeof(map), .mappings = (uintptr_t)&mapping, .nmappings = 1,
	};

	call(b->domain, GUESTMEM_DOMAIN_MAP, &map, "DOMAIN_MAP");
}

static void domain_unmap(struct bench *b, uint64_t iova, uint64_t len)
{
	struct guestmem_domain_unmap unmap = {
		.size = sizeof(unmap), .iova = iova, .len = len,
	};

	call(b->domain, GUESTMEM_DOMAIN_UNMAP, &unmap, "DOMAIN_UNMAP");
}

static uint32_t session_export(struct bench *b, uint64_t iova, uint64_t len)
{
	struct guestmem_export export = {
		.size = sizeof(export), .iova = iova, .len = len,
		.rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE,
	};

	call(b->session, GUESTMEM_EXPORT, &export, "EXPORT");
	return export.handle;
}

static void session_release(struct bench *b, uint32_t handle)
{
	struct guestmem_release release = {
		.size = sizeof(release), .handle = handle,
		.flags = handle ? 0 : GUESTMEM_RELEASE_ALL,
	};

	call(b->session, GUESTMEM_RELEASE, &release, "RELEASE");
}

static void step_map_unmap(void *arg)
{
	struct bench *b = arg;

	domain_map(b, IOVA, GPA, b->len);
	domain_unmap(b, IOVA, b->len);
}

static void step_export_release(void *arg)
{
	session_release(arg, session_export(arg, IOVA, page));
}

/* Each in a mapping of its own, here and there among all. */
static void step_lookup(void *arg)
{
	struct guestmem_extent extents[BATCH];
	struct guestmem_range ranges[BATCH];
	struct bench *b = arg;
	struct guestmem_translate translate = {
		.size = sizeof(translate), .ranges = (uintptr_t)ranges,
		.extents = (uintptr_t)extents, .nranges = BATCH, .nextents = BATCH,
	};
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		b->random = b->random * 6364136223846793005ULL + 1442695040888963407ULL;
		ranges[i] = (struct guestmem_range) {
			.gpa = IOVA + (b->random >> 33) % b->nmappings * page, .len = 8,
		};
	}
	call(b->session, GUESTMEM_TRANSLATE, &translate, "TRANSLATE");
}

/* No two of them could be one: the GPAs go downwards. */
static void domain_fill(struct bench *b, unsigned int n)
{
	static struct guestmem_mapping mappings[GUESTMEM_MAP_MAX];
	struct guestmem_domain_map map = {
		.size = sizeof(map), .mappings = (uintptr_t)mappings,
	};
	unsigned int i;

	for (b->nmappings = 0; b->nmappings < n; b->nmappings += i) {
		for (i = 0; i < GUESTMEM_MAP_MAX && b->nmappings + i < n; i++)
			mappings[i] = (struct guestmem_mapping) {
				.iova = IOVA + (uint64_t)(b->nmappings + i) * page, .len = page,
				.gpa = GPA + LEN - (1 + (b->nmappings + i) % (LEN / page)) * page,
				.rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE,
			};
		map.nmappings = i;
		call(b->domain, GUESTMEM_DOMAIN_MAP, &map, "DOMAIN_MAP");
	}
}

static void bench_lookups(struct bench *b)
{
	static const unsigned int n[] = { 10, 10000, 1000000 };
	uint64_t start, mapping, cost_of[3];
	unsigned int j;
	char text[64];
	int i;

	for (i = 0; i < 3; i++) {
		start = now();
		domain_fill(b, n[i]);
		mapping = now() - start;
		/* As large as an export can be. */
		for (j = 0; j < n[i]; j += 16384)
			session_export(b, IOVA + (uint64_t)j * page,
				       (n[i] - j < 16384 ? n[i] - j : 16384) * (uint64_t)page);
		cost_of[i] = cost(step_lookup, b, 20) / BATCH;
		session_release(b, 0);
		snprintf(text, sizeof(text), "map %u pages, in batches", n[i]);
		row(text, mapping / n[i], "a page");
		snprintf(text, sizeof(text), "TRANSLATE by a session, %u mappings", n[i]);
		row(text, cost_of[i], "a range");
		start = now();
		domain_unmap(b, IOVA, (uint64_t)n[i] * page);
		row("unmap all of them", (now() - start) / n[i], "a page");
	}
	printf("%-52s %12.2f  of that with %u\n", "", (double)cost_of[2] / cost_of[1], n[1]);
}

/* What is exported and mapped by a process, and was touched, is unmapped. */
static void bench_zap(struct bench *b, uint64_t len, const char *kind)
{
	uint64_t rounds[ROUNDS], start;
	char text[64];
	size_t offset;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		domain_map(b, IOVA, GPA, len);
		session_export(b, IOVA, len);
		b->map = mmap((void *)(IOVA - (1ULL << 39)), len, PROT_READ,
			      MAP_SHARED | MAP_FIXED_NOREPLACE, b->session, IOVA);
		if (b->map == MAP_FAILED)
			die("mmap of a session");
		for (offset = 0; offset < len; offset += page)
			(void)b->map[offset];
		start = now();
		domain_unmap(b, IOVA, len);
		rounds[i] = now() - start;
		munmap((void *)b->map, len);
		session_release(b, 0);
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	snprintf(text, sizeof(text), "fault to zap, %llu KiB of %s pages",
		 (unsigned long long)len >> 10, kind);
	row(text, rounds[ROUNDS / 2], "a call");
	row("", rounds[ROUNDS / 2] / (len / page), "a 4 KiB page");
	if (len >= HUGE)
		row("", rounds[ROUNDS / 2] / (len / HUGE), "2 MiB");
}

/* Of a region with many mappings, while sessions use another. */
static void bench_removal(struct bench *b, unsigned int nsessions)
{
	const unsigned int n = LEN / page;
	struct guestmem_region_add other = {
		.size = sizeof(other), .backing = GUESTMEM_BACKING_USER, .gpa = GPA + LEN,
		.len = page, .offset = (uintptr_t)b->mem,
	};
	struct guestmem_region_remove del_other = { .size = sizeof(del_other) };
	int sessions[nsessions];
	uint64_t start, took;
	unsigned int i;
	char text[64];

	call(b->fd, GUESTMEM_REGION_ADD, &other, "REGION_ADD");
	domain_open(b);
	domain_fill(b, n);
	domain_map(b, IOVA + LEN, GPA + LEN, page);
	for (i = 0; i < nsessions; i++) {
		if (i)
			session_open(b);
		sessions[i] = b->session;
		session_export(b, IOVA + LEN, page);
	}
	start = now();
	del(b);
	took = now() - start;
	snprintf(text, sizeof(text), "remove a region, %u mappings, %u sessions", n, nsessions);
	row(text, took / n, "a mapping");
	for (i = 0; i < nsessions; i++)
		close(sessions[i]);
	close(b->domain);
	del_other.id = other.id;
	call(b->fd, GUESTMEM_REGION_REMOVE, &del_other, "REGION_REMOVE");
	add(b);
}

/* ---- VFIO type1 ---- */

static void vfio_open(struct bench *b, const char *number)
{
	char path[64];
	int group;

	snprintf(path, sizeof(path), "/dev/vfio/%s", number);
	group = open(path, O_RDWR | O_CLOEXEC);
	b->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (group < 0 || b->container < 0)
		die(path);
	call(group, VFIO_GROUP_SET_CONTAINER, &b->container, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(b->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		die("VFIO_SET_IOMMU");
}

static void step_vfio_map_unmap(void *arg)
{
	struct bench *b = arg;
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)b->mem, .iova = VFIO_IOVA, .size = b->len,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = VFIO_IOVA, .size = b->len,
	};

	call(b->container, VFIO_IOMMU_MAP_DMA, &map, "VFIO_IOMMU_MAP_DMA");
	call(b->container, VFIO_IOMMU_UNMAP_DMA, &unmap, "VFIO_IOMMU_UNMAP_DMA");
}

static void bench_map_unmap(struct bench *b, const char *what)
{
	uint64_t mine = cost(step_map_unmap, b, 20), peer;
	char text[64];

	snprintf(text, sizeof(text), "domain: map + unmap of %s", what);
	row(text, mine, "both calls");
	if (b->container < 0)
		return;
	peer = cost(step_vfio_map_unmap, b, 2);
	snprintf(text, sizeof(text), "VFIO type1: map + unmap of %s", what);
	row(text, peer, "both calls");
	printf("%-52s %12.4f  of VFIO's\n", "", (double)mine / peer);
}

static void bench_domain(struct bench *b)
{
	domain_open(b);
	b->len = page;
	bench_map_unmap(b, "one page");
	b->len = LEN;
	bench_map_unmap(b, "64 MiB");
	bench_lookups(b);
	domain_map(b, IOVA, GPA, page);
	row("EXPORT + RELEASE of one page", cost(step_export_release, b, 100), "both calls");
	domain_unmap(b, IOVA, page);
	close(b->session);
	close(b->domain);
	b->len = LEN;
	bench_removal(b, 1);
	bench_removal(b, 250);
}

static void bench_zaps(struct bench *b, const char *kind)
{
	domain_open(b);
	if (!strcmp(kind, "4 KiB"))
		bench_zap(b, page, kind);
	bench_zap(b, LEN, kind);
	close(b->session);
	close(b->domain);
}

/* A process that has the memory too, so that the peer reads from another one. */
static pid_t start_child(void)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (!child)
		for (;;)
			pause();
	return child;
}

static void *memory(int advice)
{
	char *mem = mmap(NULL, LEN + HUGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (advice == MADV_HUGEPAGE) {
		munmap(mem, LEN + HUGE);
		mem = mmap(NULL, LEN + HUGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (mem == MAP_FAILED)
		die("mmap of memory");
	mem = (char *)(((uintptr_t)mem + HUGE - 1) & -HUGE);
	madvise(mem, LEN, advice);
	memset(mem, 0x5a, LEN);
	return mem;
}

int main(int argc, char **argv)
{
	static struct bench b = { .container = -1 };

	page = sysconf(_SC_PAGESIZE);
	b.fd = open("/dev/guestmem", O_RDWR | O_CLOEXEC);
	if (b.fd < 0)
		die("/dev/guestmem");
	b.len = LEN;
	if (argc > 1)
		vfio_open(&b, argv[1]);

	row("a system call (getppid)", cost(step_syscall, &b, 100), "a call");
	b.mem = memory(MADV_HUGEPAGE);
	bench_regions(&b, "2 MiB");
	add(&b);
	bench_faults(&b, "2 MiB");
	bench_zaps(&b, "2 MiB");
	del(&b);
	b.mem = memory(MADV_NOHUGEPAGE);
	bench_regions(&b, "4 KiB");
	add(&b);
	bench_faults(&b, "4 KiB");

	b.nranges = 1;
	row("TRANSLATE of 1 range", cost(step_translate, &b, 20), "a call");
	b.nranges = BATCH;
	row("TRANSLATE of 64 ranges", cost(step_translate, &b, 20), "a call");
	b.len = page;
	row("LOCK + UNLOCK of one page", cost(step_lock, &b, 20), "both calls");
	b.len = LEN;
	row("LOCK + UNLOCK of 64 MiB", cost(step_lock, &b, 20), "both calls");
	bench_zaps(&b, "4 KiB");
	bench_domain(&b);

	b.child = start_child();
	for (b.len = 8; b.len <= 4096; b.len *= 512) {
		uint64_t mine, peer;
		char text[64];

		mine = cost(step_pread, &b, 100);
		peer = cost(step_process_vm_readv, &b, 100);
		snprintf(text, sizeof(text), "pread of %zu bytes", b.len);
		row(text, mine, "a call");
		snprintf(text, sizeof(text), "process_vm_readv of %zu bytes", b.len);
		row(text, peer, "a call");
		printf("%-52s %12.2f  of process_vm_readv\n", "", (double)mine / peer);
	}
	kill(b.child, SIGKILL);
	waitpid(b.child, NULL, 0);
	return 0;
}
