// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * What an access to guest memory costs, by this library and by others: they are timed
 * in turn, in many short rounds, so that what else the machine does hits all alike.
 * Runs on one CPU. Prints, with tabs between them: what, how, of how many (regions,
 * bytes or pages), by whom, and ns an operation in each round. See `report`.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)
#define PAGE		4096ULL
#define ADDRS		4096		/* at most: too many to be learnt by heart */
#define MAX_SLOW	256
#define HOT		(16 * KIB)	/* of the guest, where what costs is not the cache */
#define SAMPLE_NS	100000.0
#define MAX_ENTRIES	160
#define MAX_ROUNDS	1000

/*
 * One contestant in one discipline.
 *
 * @group, @how, @x: what is printed of it
 * @dirty: written, without being timed, before each operation; n is 0: nothing is
 * @passes: over all of @job, in a sample
 */
struct entry {
	const char *group;
	const char *how;
	uint64_t x;
	const struct contestant *by;
	void *self;
	const struct guest *guest;
	enum op op;
	struct job job;
	struct job dirty;
	unsigned int passes;
	double *samples;
};

static struct entry entries[MAX_ENTRIES];
static unsigned int nr_entries;

/* Who is open, for the entries. */
static struct {
	const struct contestant *by;
	const struct guest *guest;
	uint64_t granule;
	void *self;
} opened[MAX_ENTRIES];
static unsigned int nr_opened;

static unsigned int rounds = 21;
static const char *only;
static double clock_cost;
static char *buffer;

void die(const char *what)
{
	fprintf(stderr, "bench: %s (%s)\n", what, strerror(errno));
	exit(1);
}

char *nothing_there(void)
{
	errno = ENXIO;
	return NULL;
}

/* The same in each run. */
static uint64_t next_random(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 11;
}

static double now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What of the time between two looks at the clock is the clock's. */
static void measure_clock(void)
{
	double t[1001];
	unsigned int i;

	for (i = 0; i < 1001; i++) {
		t[i] = now(CLOCK_MONOTONIC);
		t[i] = now(CLOCK_MONOTONIC) - t[i];
	}
	qsort(t, 1001, sizeof(*t), compare_double);
	clock_cost = t[500];
}

static void pin(void)
{
	cpu_set_t set;
	int cpu = CPU_SETSIZE - 1;

	if (sched_getaffinity(0, sizeof(set), &set))
		die("sched_getaffinity");
	while (!CPU_ISSET(cpu, &set))
		cpu--;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

/* ---- guests ---- */

static struct guest *make_guest(size_t n, uint64_t len, uint64_t stride)
{
	struct region *regions = calloc(n, sizeof(*regions));
	struct guest *guest = calloc(1, sizeof(*guest));
	size_t i;

	if (!regions || !guest)
		die("calloc");
	guest->fd = memfd_create("bench", MFD_CLOEXEC);
	if (guest->fd < 0 || ftruncate(guest->fd, n * len))
		die("memfd");
	guest->end = (n - 1) * stride + len;
	guest->window = mmap(NULL, guest->end, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (guest->window == MAP_FAILED)
		die("mmap");
	for (i = 0; i < n; i++) {
		regions[i] = (struct region){ i * stride, len, i * len };
		if (mmap(guest->window + i * stride, len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, guest->fd,
			 i * len) == MAP_FAILED)
			die("mmap");
	}
	guest->regions = regions;
	guest->n = n;
	return guest;
}

static void free_guest(struct guest *guest)
{
	munmap(guest->window, guest->end);
	close(guest->fd);
	free((void *)guest->regions);
	free(guest);
}

static uint64_t *new_addrs(size_t n)
{
	uint64_t *gpas = calloc(n, sizeof(*gpas));

	if (!gpas)
		die("calloc");
	return gpas;
}

/* Everywhere in any region, or everywhere in the one in the middle. */
static struct job anywhere(const struct guest *guest, bool same)
{
	uint64_t *gpas = new_addrs(ADDRS);
	size_t i, r;

	for (i = 0; i < ADDRS; i++) {
		r = same ? guest->n / 2 : next_random() % guest->n;
		gpas[i] = guest->regions[r].gpa + next_random() % (guest->regions[r].len / 8) * 8;
	}
	return (struct job){ .gpas = gpas, .n = ADDRS, .buf = buffer, .len = 8 };
}

/*
 * In any region, but in what the first-level cache has. Of many regions, that is a line
 * of each; not all in the same set of the cache.
 */
static struct job hot(const struct guest *guest)
{
	uint64_t *gpas = new_addrs(ADDRS), words = HOT / guest->n / 8;
	size_t i, r;

	for (i = 0; i < ADDRS; i++) {
		r = next_random() % guest->n;
		gpas[i] = guest->regions[r].gpa + r * 64 % PAGE + next_random() % words * 8;
	}
	return (struct job){ .gpas = gpas, .n = ADDRS, .buf = buffer, .len = 8 };
}

/* To copy @len bytes. */
static struct job pieces(uint64_t len, uint64_t align)
{
	uint64_t span = len > HOT ? len : HOT;
	size_t i, n = len <= 512 ? ADDRS : len <= 64 * KIB ? MIB / len : 1;
	uint64_t *gpas = new_addrs(n);

	for (i = 0; i < n; i++)
		gpas[i] = next_random() % (span - len + 1) & -align;
	return (struct job){ .gpas = gpas, .n = n, .buf = buffer, .len = len };
}

/* ---- a heat: entries, in turn, in another order each time ---- */

static void *get_open(const struct contestant *by, const struct guest *guest, uint64_t granule)
{
	struct guest with = *guest;
	unsigned int i;

	for (i = 0; i < nr_opened; i++) {
		if (opened[i].by == by && opened[i].guest == guest &&
		    opened[i].granule == granule)
			return opened[i].self;
	}
	if (nr_opened == MAX_ENTRIES)
		die("too many contestants");
	with.granule = granule;
	opened[i].by = by;
	opened[i].guest = guest;
	opened[i].granule = granule;
	opened[i].self = by->open(&with);
	nr_opened++;
	return opened[i].self;
}

/* Leaves out who cannot. */
static void enter(const char *group, const char *how, uint64_t x, const struct contestant *by,
		  const struct guest *guest, uint64_t granule, enum op op, struct job job,
		  struct job dirty)
{
	if (!by->op[op] || (by->max_regions && by->max_regions < guest->n))
		return;
	if (nr_entries == MAX_ENTRIES)
		die("too many entries");
	/* For a system call, what branch goes where makes no difference. */
	if (by->slow && job.n > MAX_SLOW)
		job.n = MAX_SLOW;
	entries[nr_entries++] = (struct entry){
		.group = group,
		.how = how,
		.x = x,
		.by = by,
		.self = get_open(by, guest, granule),
		.guest = guest,
		.op = op,
		.job = job,
		.dirty = dirty,
	};
}

static uint64_t operate(const struct entry *e)
{
	return e->by->op[e->op](e->self, &e->job);
}

static void expect(const struct entry *e, bool fulfilled)
{
	if (fulfilled)
		return;
	fprintf(stderr, "bench: %s (%s) of %llu by %s does something else\n", e->group, e->how,
		(unsigned long long)e->x, e->by->name);
	exit(1);
}

static unsigned int dirty_bits(const struct entry *e)
{
	struct job job = e->job;
	unsigned int bits = 0;
	size_t i;

	job.check = true;
	memset(job.buf, 0xff, job.len / PAGE / 8);
	e->by->op[e->op](e->self, &job);
	for (i = 0; i < job.len / PAGE / 8; i++)
		bits += __builtin_popcount((unsigned char)job.buf[i]);
	return bits;
}

/* What is to be timed does what it is said to. */
static void verify(const struct entry *e)
{
	char *window = e->guest->window;
	struct entry one = *e;
	uint64_t result;
	size_t i;

	if (e->op == OP_HARVEST) {
		dirty_bits(e);
		if (e->dirty.n)
			e->by->op[OP_WRITE8](e->self, &e->dirty);
		expect(e, dirty_bits(e) == e->dirty.n);
		expect(e, !dirty_bits(e));
		return;
	}
	one.job.n = 1;
	for (i = 0; i < e->job.n; i++, one.job.gpas++) {
		uint64_t gpa = *one.job.gpas, *word = (uint64_t *)(window + gpa);

		switch (e->op) {
		case OP_TRANSLATE:
		case OP_CHASE:
		case OP_HOLD:
			*word = gpa;
			result = operate(&one);
			expect(e, *(uint64_t *)(uintptr_t)result == gpa);
			break;
		case OP_READ8:
			*word = gpa;
			expect(e, operate(&one) == gpa);
			break;
		case OP_WRITE8:
			*word = ~gpa;
			/* who knows no 8-byte objects writes from the buffer */
			memcpy(e->job.buf, &gpa, sizeof(gpa));
			operate(&one);
			expect(e, *word == gpa);
			break;
		case OP_READ:
		case OP_WRITE:
			memset(e->job.buf, 0x5a ^ (int)i, e->job.len);
			memset(window + gpa, 0xa5 ^ (int)i, e->job.len);
			operate(&one);
			expect(e, !memcmp(e->job.buf, window + gpa, e->job.len) &&
				  (unsigned char)window[gpa] ==
				  ((e->op == OP_READ ? 0xa5 : 0x5a) ^ (i & 0xff)));
			break;
		case OP_HOLE:
			expect(e, operate(&one) == 1);
			break;
		default:
			break;
		}
	}
}

/*
 * CPU time is not that of others who run here too, but asking for it is a system call:
 * too long for single operations.
 */
static double sample(const struct entry *e)
{
	double start, ns = 0;
	unsigned int i;

	if (e->dirty.n) {
		for (i = 0; i < e->passes; i++) {
			e->by->op[OP_WRITE8](e->self, &e->dirty);
			start = now(CLOCK_MONOTONIC);
			operate(e);
			ns += now(CLOCK_MONOTONIC) - start - clock_cost;
		}
	} else {
		start = now(CLOCK_THREAD_CPUTIME_ID);
		for (i = 0; i < e->passes; i++)
			operate(e);
		ns = now(CLOCK_THREAD_CPUTIME_ID) - start;
	}
	return ns / e->passes / e->job.n;
}

static void warm_up(struct entry *e)
{
	double ns;

	e->samples = calloc(rounds, sizeof(*e->samples));
	if (!e->samples)
		die("calloc");
	e->passes = 1;
	sample(e);
	ns = sample(e) * e->job.n;
	if (ns < SAMPLE_NS)
		e->passes = ns > 1 ? (unsigned int)(SAMPLE_NS / ns) + 1 : SAMPLE_NS;
}

/* Ends with nobody entered. */
static void heat(unsigned int nr_rounds)
{
	struct entry *order[MAX_ENTRIES], *e;
	unsigned int i, k, round;

	for (i = 0; i < nr_entries; i++)
		verify(&entries[i]);
	for (i = 0; i < nr_entries; i++)
		warm_up(&entries[i]);
	for (i = 0; i < nr_entries; i++)
		order[i] = &entries[i];
	for (round = 0; round < nr_rounds; round++) {
		/* Nobody always comes after the same other one. */
		for (i = nr_entries - 1; i > 0; i--) {
			k = next_random() % (i + 1);
			e = order[i];
			order[i] = order[k];
			order[k] = e;
		}
		for (i = 0; i < nr_entries; i++) {
			e = order[i];
			/* what the one before left in caches is not this one's fault */
			if (!e->dirty.n)
				operate(e);
			e->samples[round] = sample(e);
		}
	}
	for (i = 0; i < nr_entries; i++) {
		printf("%s\t%s\t%llu\t%s", entries[i].group, entries[i].how,
		       (unsigned long long)entries[i].x, entries[i].by->name);
		for (k = 0; k < nr_rounds; k++)
			printf("\t%.4g", entries[i].samples[k]);
		puts("");
		free(entries[i].samples);
	}
	fflush(stdout);
	for (i = 0; i < nr_opened; i++)
		opened[i].by->close(opened[i].self);
	nr_entries = 0;
	nr_opened = 0;
}

/* ---- disciplines ---- */

static const struct job none;

static const size_t counts[] = { 1, 8, 32, 128, 256, 509 };
#define NR_COUNTS	(sizeof(counts) / sizeof(*counts))

static void translate(void)
{
	static const struct contestant *const all[] = {
		&floor_contestant, &ours, &vm_memory, &vfio_user, &vhost_user,
	};
	/* 128 MiB are what memory is plugged in by, and what a virtio-mem block may be. */
	static const struct {
		const char *how;
		uint64_t len;
		bool same;
		enum op op;
	} kinds[] = {
		{ "random", 2 * MIB, false, OP_TRANSLATE },
		{ "same", 2 * MIB, true, OP_TRANSLATE },
		{ "large", 128 * MIB, false, OP_TRANSLATE },
		{ "chase", 2 * MIB, false, OP_CHASE },
	};
	struct guest *guests[NR_COUNTS];
	size_t i, k, c;

	for (k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		for (i = 0; i < NR_COUNTS; i++) {
			struct job job;

			guests[i] = make_guest(counts[i], kinds[k].len, kinds[k].len * 2);
			job = anywhere(guests[i], kinds[k].same);
			for (c = 0; c < sizeof(all) / sizeof(*all); c++)
				enter("translate", kinds[k].how, counts[i], all[c], guests[i], 0,
				      kinds[k].op, job, none);
		}
		heat(rounds);
		for (i = 0; i < NR_COUNTS; i++)
			free_guest(guests[i]);
	}
}

static void objects(void)
{
	static const struct contestant *const all[] = {
		&floor_contestant, &ours, &vm_memory, &kernel_pread, &kernel_proc_mem,
		&kernel_process_vm,
	};
	static const struct contestant *const dirty[] = {
		&floor_contestant, &ours, &vm_memory_bitmap, &vfio_user,
	};
	static const size_t n[] = { 1, 256 };
	struct guest *guests[2];
	size_t i, c;

	for (i = 0; i < 2; i++) {
		struct job job;

		guests[i] = make_guest(n[i], 2 * MIB, 4 * MIB);
		job = hot(guests[i]);
		for (c = 0; c < sizeof(all) / sizeof(*all); c++) {
			enter("read8", "", n[i], all[c], guests[i], 0, OP_READ8, job, none);
			enter("write8", "", n[i], all[c], guests[i], 0, OP_WRITE8, job, none);
		}
		/* The floor knows nothing of what is dirty, here. */
		for (c = 0; c < sizeof(dirty) / sizeof(*dirty); c++)
			enter("write8", "dirty", n[i], dirty[c], guests[i], c ? PAGE : 0,
			      OP_WRITE8, job, none);
	}
	heat(rounds);
	for (i = 0; i < 2; i++)
		free_guest(guests[i]);
}

static void copies(void)
{
	static const struct contestant *const all[] = {
		&floor_contestant, &ours, &vm_memory, &kernel_pread, &kernel_proc_mem,
		&kernel_process_vm,
	};
	static const uint64_t lens[] = {
		8, 64, 512, 4 * KIB, 64 * KIB, MIB, 32 * MIB, 256 * MIB,
	};
	static const uint64_t odd[] = { 64, 512, 4 * KIB, 64 * KIB };
	struct guest *guest = make_guest(1, 256 * MIB, 256 * MIB);
	struct job job;
	size_t i, c;

	for (i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		job = pieces(lens[i], 64);
		for (c = 0; c < sizeof(all) / sizeof(*all); c++) {
			enter("read", "", lens[i], all[c], guest, 0, OP_READ, job, none);
			enter("write", "", lens[i], all[c], guest, 0, OP_WRITE, job, none);
		}
		/* What is long takes its time, and what goes past the caches varies most. */
		if (lens[i] == 32 * MIB)
			heat(rounds);
	}
	heat(rounds > 15 ? rounds / 5 : 3);
	for (i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		job = pieces(odd[i], 1);
		job.buf += 7;
		for (c = 0; c < 3; c++) {
			enter("read", "unaligned", odd[i], all[c], guest, 0, OP_READ, job, none);
			enter("write", "unaligned", odd[i], all[c], guest, 0, OP_WRITE, job,
			      none);
		}
	}
	heat(rounds);
	free_guest(guest);
}

static void holds(void)
{
	static const struct contestant *const all[] = { &floor_contestant, &ours, &vm_memory };
	static const size_t n[] = { 1, 256 };
	struct guest *guests[2];
	size_t i, c;

	for (i = 0; i < 2; i++) {
		struct job job;

		guests[i] = make_guest(n[i], 2 * MIB, 4 * MIB);
		job = anywhere(guests[i], false);
		for (c = 0; c < 3; c++)
			enter("hold", "", n[i], all[c], guests[i], 0, OP_HOLD, job, none);
	}
	heat(rounds);
	for (i = 0; i < 2; i++)
		free_guest(guests[i]);
}

static void harvests(void)
{
	static const struct contestant *const all[] = {
		&floor_contestant, &ours, &vm_memory_bitmap, &vfio_user,
	};
	struct guest *guest = make_guest(1, GIB, GIB);
	struct job job = { .gpas = new_addrs(1), .n = 1, .buf = buffer, .len = GIB };
	uint64_t *gpas = new_addrs(100);
	struct job dirty = { .gpas = gpas, .n = 100, .buf = buffer, .len = 8 };
	size_t i, c;

	for (i = 0; i < 100; i++)
		gpas[i] = (i * 2621 + next_random() % 2621) * PAGE;
	for (c = 0; c < sizeof(all) / sizeof(*all); c++) {
		enter("harvest", "", 0, all[c], guest, PAGE, OP_HARVEST, job, none);
		enter("harvest", "", 100, all[c], guest, PAGE, OP_HARVEST, job, dirty);
	}
	heat(rounds);
	free_guest(guest);
}

static void holes(void)
{
	static const struct contestant *const all[] = { &ours, &vm_memory, &kernel_process_vm };
	struct guest *guest = make_guest(2, 2 * MIB, 4 * MIB);
	uint64_t *gpas = new_addrs(64);
	struct job job = { .gpas = gpas, .n = 64 };
	size_t i, c;

	for (i = 0; i < 64; i++)
		gpas[i] = 2 * MIB + next_random() % (2 * MIB / 8) * 8;
	for (c = 0; c < 3; c++)
		enter("hole", "", 8, all[c], guest, 0, OP_HOLE, job, none);
	heat(rounds);
	free_guest(guest);
}

static const struct {
	const char *name;
	void (*run)(void);
} disciplines[] = {
	{ "translate", translate },
	{ "objects", objects },
	{ "copies", copies },
	{ "holds", holds },
	{ "harvests", harvests },
	{ "holes", holes },
};

static void usage(FILE *to)
{
	fputs("usage: bench [-r ROUNDS] [-o DISCIPLINE]\n"
	      "Disciplines: translate objects copies holds harvests holes\n", to);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	size_t i;
	int opt;

	while ((opt = getopt(argc, argv, "hr:o:")) != -1) {
		switch (opt) {
		case 'h':
			usage(stdout);
			return 0;
		case 'r':
			rounds = strtoul(optarg, NULL, 10);
			break;
		case 'o':
			only = optarg;
			break;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc || rounds < 3 || rounds > MAX_ROUNDS) {
		usage(stderr);
		return 2;
	}
	/* Some keep a descriptor for each region. */
	if (getrlimit(RLIMIT_NOFILE, &files))
		die("getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		die("setrlimit");
	pin();
	measure_clock();
	buffer = mmap(NULL, 256 * MIB + PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffer == MAP_FAILED)
		die("mmap");
	for (i = 0; i < sizeof(disciplines) / sizeof(*disciplines); i++) {
		if (!only || !strcmp(only, disciplines[i].name))
			disciplines[i].run();
	}
	return 0;
}
