// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random programs of system calls on guests, led by what they reach in the module.
 *
 * A program is a list of steps, a step an operation and a few bytes. Each byte gives one
 * argument: most values of it are what makes sense (a page of the window where regions are,
 * a file, region or lock that the program made), the upper ones what does not. So any bytes
 * are a program, and what is mutated remains one. In text, a step is a line: the name of
 * the operation and its bytes; programs are separated by empty lines. See fuzz_ops.h.
 *
 * Each program runs in a process of its own, so that nothing of it is left when it ends;
 * every so often the leak oracle looks whether that is so. The kernel's complaints are for
 * who runs this to see: the program that is being run stands in $GUESTMEM_OUT/fuzz-current,
 * which is written before it starts.
 *
 *	fuzz			runs the programs of corpus.txt once: a test
 *	fuzz FILE...		runs the programs in these files once
 *	FUZZ_SECONDS=N fuzz	looks for new programs for so long, and writes those that
 *				reached something new to $GUESTMEM_OUT/kept. SEED, unless it is
 *				0, repeats a run, as far as threads can be repeated.
 *	FUZZ_MINIMIZE=FILE fuzz	writes the fewest programs that reach all that those in FILE
 *				reach to $GUESTMEM_OUT/fewest
 *
 * The last two need modules with coverage (vm/modules --coverage).
 */
#include "fuzz_ops.h"

#include <sys/prctl.h>

#define ORACLE_PERIOD	64
/* A program may wait for what never comes: then it is killed, and must die. */
#define KILL_SECONDS	10
#define DIE_SECONDS	120

#define COVERAGE	"/sys/kernel/debug/guestmem_coverage/"

/* ---- running a program ---- */

/* How often each operation succeeded, in all programs. */
static atomic_ulong *succeeded;
/* Threads that the program has started, and its first. */
static atomic_uint nthreads = 1;

struct part {
	const struct fuzz_program *program;
	int first, end;
};

static void run_part(const struct part *part);

static void *run_thread(void *arg)
{
	fuzz_set_thread(atomic_fetch_add(&nthreads, 1));
	run_part(arg);
	return NULL;
}

static void run_part(const struct part *part)
{
	pthread_t threads[FUZZ_STEPS_MAX];
	struct part parts[FUZZ_STEPS_MAX];
	int n = 0, i = part->first;

	while (i < part->end) {
		const struct fuzz_step *step = &part->program->step[i++];
		const struct fuzz_op *op = &fuzz_ops[step->op];
		struct part other = { part->program, i, i + 1 + step->arg[0] % 8 };

		if (op->run) {
			if (op->run(op, step->arg) >= 0)
				atomic_fetch_add(&succeeded[step->op], 1);
			continue;
		}
		if (other.end > part->end)
			other.end = part->end;
		i = other.end;
		if (step->op == FUZZ_FORK) {
			pid_t pid = fork();

			if (!pid) {
				run_part(&other);
				_exit(0);
			}
			if (pid > 0)
				atomic_fetch_add(&succeeded[step->op], 1);
		} else {
			parts[n] = other;
			if (!pthread_create(&threads[n], NULL, run_thread, &parts[n])) {
				atomic_fetch_add(&succeeded[step->op], 1);
				n++;
			}
		}
	}
	while (n > 0)
		pthread_join(threads[--n], NULL);
	while (wait(NULL) > 0)
		;
}

/* Reaps @pid, should it end in time. */
static bool ends_within(pid_t pid, int seconds)
{
	const struct timespec second = { .tv_sec = 1 };
	double deadline = gm_now() + seconds;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (waitpid(pid, NULL, WNOHANG) != pid) {
		if (gm_now() > deadline)
			return false;
		sigtimedwait(&child, NULL, &second);
	}
	return true;
}

/* False if it cannot even be killed. */
static bool run_program(const struct fuzz_program *program)
{
	const struct part all = { program, 0, program->nsteps };
	sigset_t child;
	pid_t pid;
	bool ended;

	/* What a program leaves is ours to reap. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fuzz_set_up();
		run_part(&all);
		_exit(0);
	}
	if (pid < 0)
		return false;
	ended = ends_within(pid, KILL_SECONDS);
	kill(-pid, SIGKILL);
	if (!ended && !ends_within(pid, DIE_SECONDS))
		return false;
	while (waitpid(-pid, NULL, 0) > 0)
		;
	return true;
}

/* ---- programs as text ---- */

static void print_program(FILE *to, const struct fuzz_program *program)
{
	unsigned int k;
	int i;

	for (i = 0; i < program->nsteps; i++) {
		const struct fuzz_step *step = &program->step[i];

		fputs(fuzz_ops[step->op].name, to);
		for (k = 0; k < fuzz_ops[step->op].nargs; k++)
			fprintf(to, " %u", step->arg[k]);
		fputc('\n', to);
	}
	fputc('\n', to);
}

static bool parse_step(char *line, struct fuzz_step *step)
{
	const char *name = strtok(line, " \n"), *word;
	unsigned int k;

	*step = (struct fuzz_step){ 0 };
	while (step->op < FUZZ_NOPS && strcmp(fuzz_ops[step->op].name, name))
		step->op++;
	if (step->op == FUZZ_NOPS)
		return false;
	for (k = 0; k < fuzz_ops[step->op].nargs; k++) {
		word = strtok(NULL, " \n");
		if (!word || strtoul(word, NULL, 10) > 255)
			return false;
		step->arg[k] = strtoul(word, NULL, 10);
	}
	return !strtok(NULL, " \n");
}

/* The next program of a file: its steps, 0 at the end, or -1 if it is none. */
static int parse_program(FILE *from, struct fuzz_program *program)
{
	char line[256], copy[256];

	program->nsteps = 0;
	while (fgets(line, sizeof(line), from)) {
		if (line[0] == '#')
			continue;
		if (line[0] == '\n') {
			if (program->nsteps)
				break;
			continue;
		}
		memcpy(copy, line, sizeof(copy));
		if (program->nsteps == FUZZ_STEPS_MAX ||
		    !parse_step(line, &program->step[program->nsteps])) {
			fprintf(stderr, "fuzz: no step: %s", copy);
			return -1;
		}
		program->nsteps++;
	}
	return program->nsteps;
}

/* Runs each program in a file; how many, or -1. */
static int replay(FILE *from)
{
	struct fuzz_program program;
	int n = 0, nsteps;

	while ((nsteps = parse_program(from, &program)) > 0) {
		if (!run_program(&program)) {
			fprintf(stderr, "fuzz: cannot be killed:\n");
			print_program(stderr, &program);
			return -1;
		}
		n++;
	}
	return nsteps < 0 ? -1 : n;
}

/* ---- looking for new programs ---- */

static __u64 seed;

static unsigned int rnd(unsigned int below)
{
	seed = scramble(seed);
	return (seed >> 32) % below;
}

static void random_step(struct fuzz_step *step)
{
	unsigned int k;

	*step = (struct fuzz_step){ .op = rnd(FUZZ_NOPS) };
	for (k = 0; k < fuzz_ops[step->op].nargs; k++)
		step->arg[k] = rnd(256);
}

static void insert_steps(struct fuzz_program *program, int at, const struct fuzz_step *steps, int n)
{
	if (n > FUZZ_STEPS_MAX - program->nsteps)
		n = FUZZ_STEPS_MAX - program->nsteps;
	memmove(&program->step[at + n], &program->step[at],
		(program->nsteps - at) * sizeof(*steps));
	memcpy(&program->step[at], steps, n * sizeof(*steps));
	program->nsteps += n;
}

static void remove_step(struct fuzz_program *program, int at)
{
	program->nsteps--;
	memmove(&program->step[at], &program->step[at + 1],
		(program->nsteps - at) * sizeof(program->step[0]));
}

static void mutate(struct fuzz_program *program, const struct fuzz_program *other)
{
	int at = rnd(program->nsteps + 1), from;
	struct fuzz_step step;

	switch (rnd(8)) {
	case 0:
	case 1:
		random_step(&step);
		insert_steps(program, at, &step, 1);
		break;
	case 2:
		from = rnd(other->nsteps + 1);
		insert_steps(program, at, &other->step[from], rnd(other->nsteps - from + 1));
		break;
	case 3:
		if (at < program->nsteps)
			remove_step(program, at);
		break;
	default:
		if (at < program->nsteps && fuzz_ops[program->step[at].op].nargs)
			program->step[at].arg[rnd(fuzz_ops[program->step[at].op].nargs)] = rnd(256);
	}
}

static FILE *open_out(const char *name, const char *mode)
{
	const char *dir = getenv("GUESTMEM_OUT");
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : ".", name);
	return fopen(path, mode);
}

static long coverage_count(void)
{
	char text[32] = "";
	int fd = open(COVERAGE "count", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return strtol(text, NULL, 10);
}

static void coverage_reset(void)
{
	int fd = open(COVERAGE "addresses", O_WRONLY | O_CLOEXEC);

	if (write(fd, "0", 1) != 1)
		perror("fuzz: " COVERAGE "addresses");
	close(fd);
}

/* A set of addresses, sorted. */
struct addresses {
	size_t n;
	unsigned long address[8192];
};

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

static void read_addresses(struct addresses *set)
{
	FILE *file = fopen(COVERAGE "addresses", "re");

	set->n = 0;
	while (file && set->n < ARRAY_SIZE(set->address) &&
	       fscanf(file, "%lx", &set->address[set->n]) == 1)
		set->n++;
	if (file)
		fclose(file);
	qsort(set->address, set->n, sizeof(set->address[0]), compare);
}

static bool has(const struct addresses *set, unsigned long address)
{
	return bsearch(&address, set->address, set->n, sizeof(address), compare);
}

/* Leaves those that the other set has, or with !@in those that it has not. */
static void filter(struct addresses *set, const struct addresses *other, bool in)
{
	size_t i, n = 0;

	for (i = 0; i < set->n; i++)
		if (has(other, set->address[i]) == in)
			set->address[n++] = set->address[i];
	set->n = n;
}

static void add(struct addresses *set, const struct addresses *more)
{
	size_t i, n = set->n;

	for (i = 0; i < more->n && set->n < ARRAY_SIZE(set->address); i++)
		if (!bsearch(&more->address[i], set->address, n, sizeof(more->address[0]), compare))
			set->address[set->n++] = more->address[i];
	qsort(set->address, set->n, sizeof(set->address[0]), compare);
}

static bool reached(const struct fuzz_program *program, struct addresses *set)
{
	coverage_reset();
	if (!run_program(program))
		return false;
	read_addresses(set);
	return true;
}

static int longer(const void *a, const void *b)
{
	return ((const struct fuzz_program *)b)->nsteps - ((const struct fuzz_program *)a)->nsteps;
}

#define KEPT_MAX	4096

/*
 * Of the programs, those that reach an address which no longer one does, without the steps
 * that this does not need: to start a program takes longer than a step of it. What is reached
 * only now and then does not count.
 */
static int minimize(const char *path)
{
	static struct addresses covered, all, again, left;
	static struct fuzz_program programs[KEPT_MAX];
	FILE *from = fopen(path, "re"), *to = open_out("fewest", "w");
	int n = 0, i, step, written = 0;

	if (!from || !to || coverage_count() < 0) {
		fprintf(stderr, "fuzz: needs %s, root, and modules with coverage\n", path);
		return 1;
	}
	while (n < KEPT_MAX && parse_program(from, &programs[n]) > 0)
		n++;
	fclose(from);
	qsort(programs, n, sizeof(*programs), longer);
	for (i = 0; i < n; i++) {
		if (!reached(&programs[i], &all) || !reached(&programs[i], &again))
			return 1;
		filter(&all, &again, true);
		left = all;
		filter(&left, &covered, false);
		if (!left.n)
			continue;
		for (step = programs[i].nsteps - 1; step >= 0; step--) {
			struct fuzz_program less = programs[i];

			remove_step(&less, step);
			if (!reached(&less, &again))
				return 1;
			filter(&again, &left, true);
			if (again.n == left.n)
				programs[i] = less;
		}
		add(&covered, &all);
		print_program(to, &programs[i]);
		written++;
	}
	printf("fuzz: %d of %d programs reach %zu basic blocks\n", written, n, covered.n);
	return fclose(to) != 0;
}

/* All as it was, at the latest when what is under way has ended. */
static bool is_clean(const struct gm_leak *leak)
{
	double deadline = gm_now() + 30;
	struct gm_leak now;

	for (;;) {
		gm_leak_sample(&now);
		if (now.pins <= leak->pins && now.guests == leak->guests)
			return true;
		if (gm_now() > deadline)
			break;
		usleep(10000);
	}
	fprintf(stderr, "fuzz: %ld pins, were %ld; %d guests, were %d\n", now.pins, leak->pins,
		now.guests, leak->guests);
	return false;
}

extern const char corpus[], corpus_end[];
asm(".section .rodata\ncorpus: .incbin \"corpus.txt\"\ncorpus_end:\n.previous");

static int fuzz(double seconds)
{
	static struct fuzz_program kept[KEPT_MAX + 1], recent[ORACLE_PERIOD], program;
	static struct addresses reached_in_all;
	double deadline = gm_now() + seconds;
	unsigned long executions = 0;
	struct gm_leak leak;
	FILE *file = fmemopen((void *)corpus, corpus_end - corpus, "r");
	FILE *current = open_out("fuzz-current", "w");
	long count, seen = 0;
	int n = 0, i;

	gm_leak_start(&leak);
	if (leak.guests < 0 || coverage_count() < 0 || !file || !current) {
		fprintf(stderr, "fuzz: needs root, modules with coverage, and $GUESTMEM_OUT\n");
		return 1;
	}
	coverage_reset();
	/* At first the corpus as it is, then something new after each. */
	while (gm_now() < deadline) {
		bool given = file && parse_program(file, &program) > 0;

		if (!given) {
			file = NULL;
			program.nsteps = 0;
			if (n && rnd(16))
				program = kept[rnd(n)];
			for (i = 1 + rnd(4); i > 0 || !program.nsteps; i--)
				mutate(&program, &kept[rnd(n + 1)]);
		}
		rewind(current);
		print_program(current, &program);
		fflush(current);
		if (ftruncate(fileno(current), ftell(current)))
			perror("fuzz-current");
		recent[executions % ORACLE_PERIOD] = program;
		if (!run_program(&program)) {
			fprintf(stderr, "fuzz: cannot be killed:\n");
			print_program(stderr, &program);
			return 1;
		}
		executions++;
		count = coverage_count();
		if (count > seen && n < KEPT_MAX)
			kept[n++] = program;
		seen = count;
		if (executions % ORACLE_PERIOD == 0 && !is_clean(&leak)) {
			fprintf(stderr, "fuzz: it was one of these:\n");
			for (i = 0; i < ORACLE_PERIOD; i++)
				print_program(stderr, &recent[i]);
			return 1;
		}
	}
	fclose(current);
	for (i = 0; i < (int)FUZZ_NOPS; i++)
		if (!succeeded[i] && !fuzz_ops[i].never)
			printf("fuzz: never successful: %s\n", fuzz_ops[i].name);
	read_addresses(&reached_in_all);
	printf("fuzz: %lu executions, %d inputs kept, %zu basic blocks\n", executions, n,
	       reached_in_all.n);
	printf("figure: %lu programs fuzzed\n", executions);
	current = open_out("kept", "w");
	for (i = 0; current && i < n; i++)
		print_program(current, &kept[i]);
	return !current || fclose(current) || !is_clean(&leak);
}

TEST(corpus_replayed)
{
	FILE *file = fmemopen((void *)corpus, corpus_end - corpus, "r");
	struct gm_guest guest;
	size_t i;

	gm_guest_setup(_metadata, &guest);
	ASSERT_NE(NULL, file);
	EXPECT_LT(0, replay(file));
	fclose(file);
	/* What no program makes work is tested by none, nor is what builds on it. */
	for (i = 0; i < FUZZ_NOPS; i++) {
		EXPECT_TRUE(succeeded[i] || fuzz_ops[i].never)
			TH_LOG("no program has %s succeed", fuzz_ops[i].name);
	}
	gm_guest_teardown(_metadata, &guest);
}

/* As a test program ends, so that ./run can run it. */
static int verdict(int bad)
{
	printf("1..1\n%s 1 fuzz\n", bad ? "not ok" : "ok");
	return bad;
}

int main(int argc, char **argv)
{
	const char *seconds = getenv("FUZZ_SECONDS"), *given = getenv("SEED");
	const char *to_minimize = getenv("FUZZ_MINIMIZE");
	int i, n;

	succeeded = mmap(NULL, sizeof(*succeeded) * FUZZ_NOPS, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (succeeded == MAP_FAILED)
		return 1;
	if (seconds) {
		seed = given ? strtoull(given, NULL, 0) : 0;
		if (!seed)
			seed = (__u64)time(NULL);
		printf("fuzz: SEED=%#llx\n", (unsigned long long)seed);
		return verdict(fuzz(strtod(seconds, NULL)));
	}
	if (to_minimize)
		return verdict(minimize(to_minimize));
	if (argc < 2)
		return test_harness_run(argc, argv);
	for (i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "re");

		n = file ? replay(file) : -1;
		printf("%s: %d programs\n", argv[i], n);
		if (n < 0)
			return 1;
		fclose(file);
	}
	return 0;
}
