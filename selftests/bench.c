// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module's paths cost. In a VM whose clock counts instructions (one a
 * nanosecond) the figures are instructions, and the same in every run; elsewhere
 * they are time. process_vm_readv(2), the peer for reading, is measured in the
 * same run; so is getppid(2), what any system call costs.
 *
 * Each figure is the median of several rounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/guestmem.h>
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

int main(void)
{
	static struct bench b;

	page = sysconf(_SC_PAGESIZE);
	b.fd = open("/dev/guestmem", O_RDWR | O_CLOEXEC);
	if (b.fd < 0)
		die("/dev/guestmem");
	b.len = LEN;

	row("a system call (getppid)", cost(step_syscall, &b, 100), "a call");
	b.mem = memory(MADV_HUGEPAGE);
	bench_regions(&b, "2 MiB");
	add(&b);
	bench_faults(&b, "2 MiB");
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
