/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * Tests without cmocka, which there is none of for a foreign architecture, and which has
 * handlers for SIGSEGV and SIGBUS of its own. Each test is a process.
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED	77

static unsigned int failures;

/* The first few say what is wrong. */
#define CHECK(what)									\
do {											\
	if (!(what) && __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) <= 8)		\
		fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);	\
} while (0)

/* The same of two numbers. */
#define CHECK_EQ(a_, b_)								\
do {											\
	long long got_ = (long long)(a_), want_ = (long long)(b_);			\
	if (got_ != want_ && __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) <= 8)	\
		fprintf(stderr, "%s:%d: %s is %lld (%#llx), not %lld (%#llx)\n",	\
			__FILE__, __LINE__, #a_, got_, (unsigned long long)got_,	\
			want_, (unsigned long long)want_);				\
} while (0)

/* Nothing that follows would make sense. */
#define NEED(what)									\
do {											\
	if (!(what)) {									\
		fprintf(stderr, "%s:%d: needed: %s\n", __FILE__, __LINE__, #what);	\
		_exit(1);								\
	}										\
} while (0)

struct test {
	const char *name;
	void (*fn)(void);
	int signo;		/* that it must die of, or 0 */
};

#define TEST(name_)		{ #name_, test_##name_, 0 }
#define TEST_DIES(name_, sig_)	{ #name_, test_##name_, sig_ }

static inline int run_test(const struct test *t)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		alarm(300);
		t->fn();
		_exit(failures != 0);
	}
	NEED(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (t->signo) {
		if (WIFSIGNALED(status) && WTERMSIG(status) == t->signo)
			return 0;
	} else if (WIFEXITED(status)) {
		return WEXITSTATUS(status);
	}
	fprintf(stderr, "%s: ended with status %#x\n", t->name, (unsigned int)status);
	return 1;
}

/* All, or those that are named. */
static inline int run_tests(const struct test *tests, size_t n, int argc, char **argv)
{
	unsigned int passed = 0, failed = 0, skipped = 0;
	size_t i;
	int k;

	for (i = 0; i < n; i++) {
		for (k = 1; k < argc && strcmp(argv[k], tests[i].name); k++)
			;
		if (argc > 1 && k == argc)
			continue;
		switch (run_test(&tests[i])) {
		case 0:
			passed++;
			printf("ok      %s\n", tests[i].name);
			break;
		case SKIPPED:
			skipped++;
			printf("skipped %s\n", tests[i].name);
			break;
		default:
			failed++;
			printf("FAILED  %s\n", tests[i].name);
			break;
		}
	}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed || !passed;
}

#endif /* TESTS_CHECK_H */
