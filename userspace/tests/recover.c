// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Faults: what the library's accesses do when they fault, and whose a fault is.
 *
 * Built with the static library, whose inner functions it looks at, too; and, with
 * SHARED, with the shared one; on any CPU.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"
#include "guestmem.h"
#ifndef SHARED
#include "recover.h"
#endif

#define HOLE	0x100000	/* of guest(); its first page is there */
#define LIMIT	20000		/* bytes between the guards */

#ifdef __x86_64__
#define IS_X86	1
#else
#define IS_X86	0
#endif

static size_t page;

/* ------- Memory between guards ------------------------------------------- */

struct area {
	char *start;
	char *end;		/* from here, and before start, it is not accessible */
};

static struct area area_new(void)
{
	size_t len = (LIMIT + page - 1) / page * page;
	char *p = mmap(NULL, 3 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	NEED(!mprotect(p + len, len, PROT_READ | PROT_WRITE));
	return (struct area){ p + len, p + 2 * len };
}

static void pattern(char *p, size_t len)
{
	static unsigned int x = 1;
	size_t i;

	for (i = 0; i < len; i++) {
		x = x * 1103515245 + 12345;
		p[i] = (char)((x >> 16 & 0x7f) | 1);	/* never 0, nor what memset() puts */
	}
}

static bool all(const char *p, int value, size_t len)
{
	return !len || (p[0] == (char)value && !memcmp(p, p + 1, len - 1));
}

/* ------- A guest with a hole, so that the handlers are there -------------- */

static struct guestmem *guest(void)
{
	struct guestmem *g = guestmem_create(1 << 21);

	NEED(g);
	NEED(!guestmem_add_anon(g, 0, page, 0, NULL));
	NEED(!guestmem_write64(g, 8, 0x1122334455667788));
	return g;
}

static void check_hole(struct guestmem *g)
{
	char buf[300];
	uint64_t v = 7;

	CHECK_EQ(guestmem_read64(g, HOLE, &v), -ENXIO);
	CHECK_EQ(v, 7);
	CHECK_EQ(guestmem_write64(g, HOLE, 1), -ENXIO);
	CHECK_EQ(guestmem_read(g, page - 200, buf, 300), -ENXIO);
	CHECK_EQ(guestmem_last_done(), 200);
	CHECK_EQ(guestmem_read_some(g, page - 200, buf, 300), 200);
	CHECK_EQ(guestmem_read64(g, 8, &v), 0);
	CHECK_EQ(v, 0x1122334455667788);
}

/* ------- Handlers of the test's own --------------------------------------- */

static volatile int calls;
static volatile int last_sig, last_code, last_pid;
static void *volatile last_addr;
static sigset_t mask_inside;
static char *unlock_at;			/* made accessible, so that it can go on */

static void note(int sig)
{
	calls++;
	last_sig = sig;
	pthread_sigmask(SIG_SETMASK, NULL, &mask_inside);
	if (unlock_at)
		mprotect(unlock_at, page, PROT_READ | PROT_WRITE);
	errno = EXDEV;
}

static void plain_handler(int sig)
{
	note(sig);
}

static void info_handler(int sig, siginfo_t *info, void *ucontext)
{
	CHECK(ucontext);
	last_code = info->si_code;
	last_addr = info->si_addr;
	last_pid = info->si_pid;
	note(sig);
}

static void handle_both(void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = { .sa_sigaction = fn, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR1);
	NEED(!sigaction(SIGSEGV, &sa, NULL));
	NEED(!sigaction(SIGBUS, &sa, NULL));
}

static void set_both(void (*fn)(int))
{
	NEED(signal(SIGSEGV, fn) != SIG_ERR);
	NEED(signal(SIGBUS, fn) != SIG_ERR);
}

static void *handler_of(int sig)
{
	struct sigaction sa;

	NEED(!sigaction(sig, NULL, &sa));
	return (void *)(uintptr_t)sa.sa_sigaction;
}

/* A fault that is nobody's but the program's. */
__attribute__((noinline)) static void poke(char *p)
{
	*(volatile char *)p = 1;
}

static void check_poke(struct area a)
{
	int before = calls;

	unlock_at = a.end;
	poke(a.end + 5);
	CHECK_EQ(calls, before + 1);
	CHECK_EQ(last_sig, SIGSEGV);
	CHECK_EQ(a.end[5], 1);
	unlock_at = NULL;
}

/* ------- One access -------------------------------------------------------- */

#ifndef SHARED

static void check_fault(const char *addr, int signo, int code)
{
	CHECK_EQ(last_fault.addr, (uintptr_t)addr);
	CHECK_EQ(last_fault.signo, signo);
	CHECK_EQ(last_fault.code, code);
}

/*
 * Where an access that is only in part in the guard faulted is the CPU's to say; that
 * nothing of a store is done then is x86's only.
 */
#define DEFINE_TEST_TRY(width)								\
static void test_try##width(void)							\
{											\
	const size_t bytes = width / 8;							\
	struct area a = area_new();							\
	uint##width##_t v, was;								\
	size_t k;									\
											\
	guest();									\
	pattern(a.start, (size_t)(a.end - a.start));					\
	for (k = 0; k < 64; k++) {							\
		v = 0;									\
		CHECK(try_load##width(a.start + k, &v));				\
		CHECK(!memcmp(&v, a.start + k, bytes));					\
		v = (uint##width##_t)~v;						\
		CHECK(try_store##width(a.start + k, v));				\
		CHECK(!memcmp(&v, a.start + k, bytes));					\
		CHECK(a.start[k + bytes] > 0);						\
	}										\
	CHECK_EQ(last_fault.signo, 0);							\
	for (k = 0; k < 20; k++) {							\
		v = was = (uint##width##_t)0x5aa55aa55aa55aa5;				\
		CHECK(!try_load##width(a.end + k, &v));					\
		CHECK(v == was);							\
		check_fault(a.end + k, SIGSEGV, SEGV_ACCERR);				\
		last_fault = (struct fault){ 0 };					\
		CHECK(!try_store##width(a.end + k, v));					\
		check_fault(a.end + k, SIGSEGV, SEGV_ACCERR);				\
		CHECK(!try_load##width(a.start - bytes - k, &v));			\
		check_fault(a.start - bytes - k, SIGSEGV, SEGV_ACCERR);			\
		CHECK(!try_store##width(a.start - bytes - k, v));			\
		check_fault(a.start - bytes - k, SIGSEGV, SEGV_ACCERR);			\
	}										\
	for (k = 1; k < bytes; k++) {							\
		v = was = (uint##width##_t)0x5aa55aa55aa55aa5;				\
		CHECK(!try_load##width(a.end - k, &v));					\
		CHECK(last_fault.addr - (uintptr_t)(a.end - k) < bytes);		\
		CHECK(!try_load##width(a.start - k, &v));				\
		CHECK(last_fault.addr - (uintptr_t)(a.start - k) < bytes);		\
		CHECK(v == was);							\
		memset(a.end - bytes, 0, bytes);					\
		memset(a.start, 0, bytes);						\
		CHECK(!try_store##width(a.end - k, v));					\
		CHECK(!try_store##width(a.start - k, v));				\
		if (IS_X86) {								\
			CHECK(all(a.end - bytes, 0, bytes));				\
			CHECK(all(a.start, 0, bytes));					\
		}									\
	}										\
}

DEFINE_TEST_TRY(8)
DEFINE_TEST_TRY(16)
DEFINE_TEST_TRY(32)
DEFINE_TEST_TRY(64)

#define ROUNDS	20000

/* Counted up by two threads: none is lost; beside it, nothing changes. */
#define DEFINE_TEST_CMPXCHG(width)							\
static void *count##width(void *arg)							\
{											\
	uint##width##_t seen;								\
	char *p = arg;									\
	int i;										\
											\
	for (i = 0; i < ROUNDS; i++) {							\
		seen = 0;								\
		for (;;) {								\
			uint##width##_t want = seen;					\
											\
			if (!try_cmpxchg##width(p, &seen, (uint##width##_t)(want + 1)))	\
				abort();						\
			if (seen == want)						\
				break;							\
		}									\
	}										\
	return NULL;									\
}											\
											\
static void test_cmpxchg##width(void)							\
{											\
	const size_t bytes = width / 8;							\
	struct area a = area_new();							\
	uint##width##_t v, max = (uint##width##_t)-1;					\
	pthread_t thread;								\
	char *p = a.end - 3 * bytes;							\
											\
	guest();									\
	memset(a.start, 0, 64);								\
	memset(p, 0x7e, 3 * bytes);							\
	p += bytes;									\
	memset(p, 0xff, bytes);								\
	v = max;									\
	CHECK(try_cmpxchg##width(p, &v, 5));						\
	CHECK(v == max);								\
	v = (uint##width##_t)(max - 1);							\
	CHECK(try_cmpxchg##width(p, &v, max));						\
	CHECK(v == 5);									\
	CHECK(try_cmpxchg##width(p, &v, 0));						\
	CHECK(v == 5);									\
	CHECK(all(p, 0, bytes) && all(p - bytes, 0x7e, bytes) &&			\
	      all(p + bytes, 0x7e, bytes));						\
	/* Only their high halves differ. */						\
	v = (uint##width##_t)((uint##width##_t)1 << (width - 1));			\
	CHECK(try_cmpxchg##width(p, &v, 9));						\
	CHECK(v == 0 && all(p, 0, bytes));						\
	NEED(!pthread_create(&thread, NULL, count##width, p));				\
	count##width(p);								\
	pthread_join(thread, NULL);							\
	memcpy(&v, p, bytes);								\
	CHECK(v == (uint##width##_t)(2 * ROUNDS));					\
	CHECK(all(p - bytes, 0x7e, bytes) && all(p + bytes, 0x7e, bytes));		\
	CHECK_EQ(last_fault.signo, 0);							\
	v = 3;										\
	CHECK(!try_cmpxchg##width(a.end, &v, 4));					\
	CHECK(v == 3);									\
	check_fault(a.end, SIGSEGV, SEGV_ACCERR);					\
	/* Can be loaded, cannot be stored. */						\
	v = 0;										\
	NEED(!mprotect(a.start, page, PROT_READ));					\
	last_fault = (struct fault){ 0 };						\
	CHECK(!try_cmpxchg##width(a.start + 16, &v, 4));				\
	check_fault(a.start + 16, SIGSEGV, SEGV_ACCERR);				\
	CHECK(all(a.start, 0, 64));							\
}

DEFINE_TEST_CMPXCHG(8)
DEFINE_TEST_CMPXCHG(16)
DEFINE_TEST_CMPXCHG(32)
DEFINE_TEST_CMPXCHG(64)

static void *count128(void *arg)
{
	uint64_t seen[2], want[2], next[2];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		memset(seen, 0, sizeof(seen));
		do {
			memcpy(want, seen, sizeof(want));
			next[0] = want[0] + 1;
			next[1] = want[1] - 1;
			if (!try_cmpxchg128(arg, seen, next))
				abort();
			/* Never half of one and half of another. */
			CHECK(!(seen[0] + seen[1]));
		} while (seen[0] != want[0] || seen[1] != want[1]);
	}
	return NULL;
}

static void test_cmpxchg128(void)
{
	struct area a = area_new();
	uint64_t v[2], w[2] = { 3, 4 };
	char *p = a.end - 32;
	pthread_t thread;

	if (!has_cmpxchg128())
		_exit(SKIPPED);
	guest();
	memset(a.start, 0, 64);
	memset(a.end - 48, 0x7e, 48);
	memcpy(p, (uint64_t[2]){ 1, 2 }, 16);
	memcpy(v, (uint64_t[2]){ 1, 3 }, 16);
	CHECK(try_cmpxchg128(p, v, w));
	CHECK(v[0] == 1 && v[1] == 2);
	memcpy(v, (uint64_t[2]){ 2, 2 }, 16);
	CHECK(try_cmpxchg128(p, v, w));
	CHECK(v[0] == 1 && v[1] == 2);
	CHECK(!memcmp(p, v, 16));
	CHECK(try_cmpxchg128(p, v, w));
	CHECK(v[0] == 1 && v[1] == 2);
	CHECK(!memcmp(p, w, 16));
	CHECK(all(p - 16, 0x7e, 16) && all(p + 16, 0x7e, 16));
	memset(p, 0, 16);
	NEED(!pthread_create(&thread, NULL, count128, p));
	count128(p);
	pthread_join(thread, NULL);
	memcpy(v, p, 16);
	CHECK(v[0] == 2 * ROUNDS && v[0] + v[1] == 0);
	CHECK_EQ(last_fault.signo, 0);
	memcpy(v, w, 16);
	CHECK(!try_cmpxchg128(a.end, v, w));
	CHECK(!memcmp(v, w, 16));
	check_fault(a.end, SIGSEGV, SEGV_ACCERR);
	NEED(!mprotect(a.start, page, PROT_READ));
	last_fault = (struct fault){ 0 };
	memset(v, 0, 16);
	CHECK(!try_cmpxchg128(a.start + 16, v, w));
	check_fault(a.start + 16, SIGSEGV, SEGV_ACCERR);
	CHECK(all(a.start, 0, 64));
}

static void test_flush(void)
{
	struct area a = area_new();

	guest();
	CHECK(flush_line() >= 16 && flush_line() <= 2048 && !(flush_line() & (flush_line() - 1)));
	CHECK(try_flush(a.start + 3));
	flush_barrier();
	cpu_relax();
	/* An emulator has no cache. */
	if (IS_X86) {
		CHECK(!try_flush(a.end));
		check_fault(a.end, SIGSEGV, SEGV_ACCERR);
	}
}

/* Which signal, and where. */
static void test_last_fault(void)
{
	struct area a = area_new();
	int fd = memfd_create("cut", MFD_CLOEXEC);
	char *p, buf[64];
	uint32_t v;

	guest();
	NEED(fd >= 0 && !ftruncate(fd, (off_t)(2 * page)));
	p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(p != MAP_FAILED);
	memset(p, 1, 2 * page);
	CHECK(try_load32(p + page + 12, &v));
	NEED(!ftruncate(fd, (off_t)page));
	CHECK(!try_load32(p + page + 12, &v));
	check_fault(p + page + 12, SIGBUS, BUS_ADRERR);
	CHECK_EQ(guestmem_copy_(buf, p + page - 10, 64), 54);
	check_fault(p + page, SIGBUS, BUS_ADRERR);
	CHECK_EQ(fill_bytes(p + page - 10, 0, 64), 54);
	check_fault(p + page, SIGBUS, BUS_ADRERR);
	CHECK(!try_store32(a.end, 1));
	check_fault(a.end, SIGSEGV, SEGV_ACCERR);
	NEED(!munmap(a.end, page));
	CHECK(!try_store32(a.end + 8, 1));
	check_fault(a.end + 8, SIGSEGV, SEGV_MAPERR);
}

#endif /* !SHARED */

/* ------- Loops over bytes --------------------------------------------------- */

static char other[LIMIT + 64];

/* The lengths that are tried. */
static size_t next_len(size_t len)
{
	static const size_t jumps[][2] = {
		{ 200, 2040 }, { 2056, 4088 }, { 4104, LIMIT },
	};
	size_t i;

	for (i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		if (len == jumps[i][0])
			return jumps[i][1];
	}
	return len + 1;
}

#define for_each_len(len) for (len = 0; len < LIMIT; len = next_len(len))

static void test_copy(void)
{
	struct area a = area_new();
	size_t len, off;

	guest();
	for_each_len(len) {
		for (off = 0; off < 20; off++) {
			pattern(a.start, len + 40);
			memset(other, 0, len + 64);
			CHECK_EQ(guestmem_copy_(other + 16 + off, a.start + 19 - off, len), 0);
			CHECK(!memcmp(other + 16 + off, a.start + 19 - off, len));
			CHECK(all(other, 0, 16 + off));
			CHECK(all(other + 16 + off + len, 0, 48 - off));
		}
	}
}

/* Of @len bytes, @k are there. */
static void test_copy_source_behind(void)
{
	struct area a = area_new();
	size_t len, k;

	guest();
	pattern(a.start, (size_t)(a.end - a.start));
	for_each_len(len) {
		memset(other, 0, len + 32);
		for (k = 0; k <= len; k++) {
			CHECK_EQ(guestmem_copy_(other + 16, a.end - k, len), len - k);
			CHECK(!memcmp(other + 16, a.end - k, k));
			CHECK(all(other, 0, 16));
			CHECK(all(other + 16 + k, 0, len - k + 16));
#ifndef SHARED
			CHECK(k == len || last_fault.addr == (uintptr_t)a.end);
#endif
		}
	}
}

static void test_copy_destination_behind(void)
{
	struct area a = area_new();
	size_t len, k;

	guest();
	pattern(other, sizeof(other));
	for_each_len(len) {
		for (k = 0; k <= len; k++) {
			memset(a.end - k - 16, 0, k + 16);
			CHECK_EQ(guestmem_copy_(a.end - k, other + 16, len), len - k);
			CHECK(!memcmp(other + 16, a.end - k, k));
			CHECK(all(a.end - k - 16, 0, 16));
#ifndef SHARED
			CHECK(k == len || last_fault.addr == (uintptr_t)a.end);
#endif
		}
	}
}

/* The first @k bytes are not there, the others are: nothing is done. */
static void test_copy_in_front(void)
{
	struct area a = area_new();
	size_t len, k;

	guest();
	memset(other, 0, sizeof(other));
	memset(a.start, 1, (size_t)(a.end - a.start));
	for_each_len(len) {
		for (k = 1; k <= len; k++) {
			CHECK_EQ(guestmem_copy_(other + 16, a.start - k, len), len);
			CHECK(all(other, 0, len + 32));
		}
	}
	for_each_len(len) {
		for (k = 1; k <= len; k++) {
			CHECK_EQ(guestmem_copy_(a.start - k, other + 16, len), len);
			CHECK(all(a.start, 1, len + 16));
		}
	}
}

static void test_copy_both_sides(void)
{
	static const size_t lens[] = {
		1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129,
	};
	struct area a = area_new(), b = area_new();
	size_t i, j, k, len, n;

	guest();
	pattern(a.start, (size_t)(a.end - a.start));
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		len = lens[i];
		for (j = 0; j <= len; j++) {
			for (k = 0; k <= len; k++) {
				n = j < k ? j : k;
				memset(b.end - k, 0, k);
				CHECK_EQ(guestmem_copy_(b.end - k, a.end - j, len), len - n);
				CHECK(!memcmp(b.end - k, a.end - j, n));
				CHECK(all(b.end - k + n, 0, k - n));
			}
		}
	}
}

#ifndef SHARED

static void test_fill(void)
{
	struct area a = area_new();
	size_t len, k;

	guest();
	for_each_len(len) {
		for (k = 0; k <= len; k++) {
			memset(a.end - k - 16, 0, k + 16);
			CHECK_EQ(fill_bytes(a.end - k, 0x180 | (int)(len & 127), len), len - k);
			CHECK(all(a.end - k, 0x80 | (int)(len & 127), k));
			CHECK(all(a.end - k - 16, 0, 16));
			CHECK(k == len || last_fault.addr == (uintptr_t)a.end);
		}
		memset(a.start, 0, len + 40);
		CHECK_EQ(fill_bytes(a.start + 16 + len % 16, 0x81, len), 0);
		CHECK(all(a.start, 0, 16 + len % 16));
		CHECK(all(a.start + 16 + len % 16, 0x81, len));
		CHECK(all(a.start + 16 + len % 16 + len, 0, 24 - len % 16));
	}
	memset(a.start, 1, (size_t)(a.end - a.start));
	for_each_len(len) {
		for (k = 1; k <= len; k++) {
			CHECK_EQ(fill_bytes(a.start - k, 0, len), len);
			CHECK(all(a.start, 1, len + 16));
		}
	}
}

#endif

#ifdef SHARED
#define WAYS	2
#else
#define WAYS	3
#endif

/*
 * Recovers, and then what was not there is there. If it faulted where the rest is not
 * done again, it ends there; else it is all done.
 */
static void repairing_handler(int sig, siginfo_t *info, void *ucontext)
{
	calls++;
	if (!guestmem_handle_fault(sig, info, ucontext))
		_exit(3);
	mprotect(unlock_at, page, PROT_READ | PROT_WRITE);
}

static void test_fault_vanishes(void)
{
	static const size_t lens[] = { 3, 8, 13, 16, 24, 60, 64, 65, 200, 2000, 2048, 3000, 4096 };
	struct area a = area_new();
	size_t i, k, step, way, left = 0, done;
	char *p;

	guest();
	handle_both(repairing_handler, SA_SIGINFO);
	unlock_at = a.end;
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		step = lens[i] > 200 ? 61 : 1;
		for (k = 0; k < lens[i]; k += step) {
			for (way = 0; way < WAYS; way++) {
				p = a.end - k;
				NEED(!mprotect(a.end, page, PROT_READ | PROT_WRITE));
				pattern(p, lens[i]);
				pattern(other, lens[i]);
				NEED(!mprotect(a.end, page, PROT_NONE));
				calls = 0;
				if (way == 0)
					left = guestmem_copy_(other, p, lens[i]);
				else if (way == 1)
					left = guestmem_copy_(p, other, lens[i]);
#ifndef SHARED
				else
					left = fill_bytes(p, 0, lens[i]);
#endif
				done = lens[i] - left;
				/* What is not done again: rep movsb, and fills by bytes. */
				CHECK(!left || (done == k && (IS_X86 || way == 2)));
				CHECK_EQ(calls, 1);
				CHECK(way == 2 ? all(p, 0, done) : !memcmp(other, p, done));
			}
		}
	}
}

/* What is one store, nobody sees half of. */
static atomic_bool stop;
static uint64_t shared_value __attribute__((aligned(64)));
static size_t shared_width;

static void *store_shared(void *arg)
{
	static const uint64_t values[2] = { 0, UINT64_MAX };
	unsigned int i = 0;

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		guestmem_copy_(&shared_value, &values[i++ & 1], shared_width);
	return arg;
}

static void test_copy_is_one_access(void)
{
	struct timespec start, now;
	pthread_t thread;
	uint64_t got, mask;

	for (shared_width = 1; shared_width <= 8; shared_width *= 2) {
		mask = UINT64_MAX >> (64 - 8 * shared_width);
		atomic_store(&stop, false);
		shared_value = 0;
		NEED(!pthread_create(&thread, NULL, store_shared, NULL));
		clock_gettime(CLOCK_MONOTONIC, &start);
		do {
			got = 0;
			CHECK_EQ(guestmem_copy_(&got, &shared_value, shared_width), 0);
			CHECK(got == 0 || got == mask);
			clock_gettime(CLOCK_MONOTONIC, &now);
		} while ((now.tv_sec - start.tv_sec) * 1000 +
			 (now.tv_nsec - start.tv_nsec) / 1000000 < 200);
		atomic_store(&stop, true);
		pthread_join(thread, NULL);
	}
}

/* ------- Whose a fault is ---------------------------------------------------- */

static void check_masks(bool signal_blocked)
{
	sigset_t now;

	CHECK_EQ(sigismember(&mask_inside, last_sig), signal_blocked);
	CHECK_EQ(sigismember(&mask_inside, SIGUSR1), 1);
	CHECK_EQ(sigismember(&mask_inside, SIGUSR2), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	CHECK_EQ(sigismember(&now, SIGSEGV), 0);
	CHECK_EQ(sigismember(&now, SIGBUS), 0);
	CHECK_EQ(sigismember(&now, SIGUSR1), 0);
}

static void test_chain_siginfo(void)
{
	struct area a = area_new();
	struct guestmem *g;

	handle_both(info_handler, SA_SIGINFO);
	g = guest();
	check_hole(g);
	CHECK_EQ(calls, 0);
	check_poke(a);
	CHECK_EQ(last_code, SEGV_ACCERR);
	CHECK(last_addr == a.end + 5);
	check_masks(true);
	check_hole(g);
	CHECK_EQ(calls, 1);
}

/* Again and again, until another process has made the file longer. */
static void test_chain_bus(void)
{
	int fd = memfd_create("cut", MFD_CLOEXEC), status;
	char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid_t pid;

	NEED(fd >= 0 && p != MAP_FAILED);
	handle_both(info_handler, SA_SIGINFO);
	guest();
	pid = fork();
	if (!pid) {
		poke(p + 3);
		CHECK(calls > 0);
		CHECK_EQ(last_sig, SIGBUS);
		CHECK_EQ(last_code, BUS_ADRERR);
		CHECK(last_addr == p + 3);
		_exit(failures != 0);
	}
	usleep(100000);
	NEED(!ftruncate(fd, (off_t)page));
	NEED(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

static void test_chain_plain(void)
{
	struct area a = area_new();
	struct guestmem *g;

	set_both(plain_handler);
	g = guest();
	check_hole(g);
	CHECK_EQ(calls, 0);
	check_poke(a);
	check_hole(g);
	CHECK_EQ(calls, 1);
}

static void test_chain_nodefer(void)
{
	struct area a = area_new();

	handle_both(info_handler, SA_SIGINFO | SA_NODEFER);
	guest();
	check_poke(a);
	check_masks(false);
}

/* It is called once; as it repairs nothing, the second fault is the end. */
static void test_chain_resethand(void)
{
	struct area a = area_new();

	handle_both(info_handler, SA_SIGINFO | SA_RESETHAND);
	guest();
	check_poke(a);
	NEED(calls == 1 && !failures);
	NEED(!mprotect(a.end, page, PROT_NONE));
	poke(a.end);
	_exit(9);
}

static void expect_death(void (*fn)(char *), char *arg, int signo)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		fn(arg);
		_exit(0);
	}
	NEED(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), signo);
	CHECK(!WCOREDUMP(status));
}

static void send_segv(char *arg)
{
	(void)arg;
	kill(getpid(), SIGSEGV);
}

static void send_bus(char *arg)
{
	(void)arg;
	kill(getpid(), SIGBUS);
}

static void poke_bus(char *p)
{
	poke(p);
}

static char *cut_file(void)
{
	int fd = memfd_create("cut", MFD_CLOEXEC);
	char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	NEED(fd >= 0 && p != MAP_FAILED);
	return p;
}

static void check_deaths(void)
{
	struct area a = area_new();

	expect_death(poke, a.end, SIGSEGV);
	expect_death(poke_bus, cut_file(), SIGBUS);
}

static void test_chain_default(void)
{
	set_both(SIG_DFL);
	check_hole(guest());
	check_deaths();
	expect_death(send_segv, NULL, SIGSEGV);
	expect_death(send_bus, NULL, SIGBUS);
}

/* The flag does not make a function of SIG_DFL. */
static void test_chain_default_siginfo(void)
{
	handle_both(NULL, SA_SIGINFO);
	check_hole(guest());
	check_deaths();
	expect_death(send_segv, NULL, SIGSEGV);
}

static void test_chain_ignore(void)
{
	struct guestmem *g;

	set_both(SIG_IGN);
	g = guest();
	check_hole(g);
	check_deaths();
	send_segv(NULL);
	send_bus(NULL);
	check_hole(g);
}

/*
 * What it dies of is the fault, not something that was sent in its place. A debugger sees
 * it twice: as it comes to the library, and as it comes again.
 */
static void test_default_is_the_fault(void)
{
	struct area a = area_new();
	int status, seen = 0;
	siginfo_t info;
	pid_t pid;

	set_both(SIG_DFL);
	guest();
	pid = fork();
	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(SKIPPED);
		poke(a.end + 7);
		_exit(0);
	}
	for (;;) {
		NEED(waitpid(pid, &status, 0) == pid);
		if (!WIFSTOPPED(status))
			break;
		seen++;
		CHECK_EQ(WSTOPSIG(status), SIGSEGV);
		NEED(!ptrace(PTRACE_GETSIGINFO, pid, NULL, &info));
		CHECK_EQ(info.si_code, SEGV_ACCERR);
		CHECK(info.si_addr == a.end + 7);
		NEED(!ptrace(PTRACE_CONT, pid, NULL, WSTOPSIG(status)));
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		_exit(SKIPPED);
	CHECK_EQ(seen, 2);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void test_sent_to_handler(void)
{
	struct guestmem *g;

	handle_both(info_handler, SA_SIGINFO);
	g = guest();
	send_segv(NULL);
	CHECK_EQ(calls, 1);
	CHECK_EQ(last_sig, SIGSEGV);
	CHECK_EQ(last_code, SI_USER);
	CHECK_EQ(last_pid, getpid());
	send_bus(NULL);
	CHECK_EQ(calls, 2);
	CHECK_EQ(last_sig, SIGBUS);
	CHECK_EQ(last_code, SI_USER);
	check_hole(g);
}

static pthread_t victim;

static void *send_many(void *arg)
{
	int i;

	for (i = 0; i < 3000; i++) {
		pthread_kill(victim, i & 1 ? SIGSEGV : SIGBUS);
		usleep(30);
	}
	atomic_store(&stop, true);
	return arg;
}

/* Whatever instruction they interrupt, it is not that one's fault. */
static void test_sent_while_accessing(void)
{
	uint64_t from = 3, to;
	pthread_t thread;
	struct guestmem *g;

	handle_both(info_handler, SA_SIGINFO);
	g = guest();
	victim = pthread_self();
	NEED(!pthread_create(&thread, NULL, send_many, NULL));
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		CHECK_EQ(guestmem_copy_(&to, &from, 8), 0);
		CHECK_EQ(guestmem_read64(g, 8, &to), 0);
	}
	pthread_join(thread, NULL);
	CHECK(calls > 0);	/* as many as a busy machine lets through */
}

/* A system call is not interrupted by what is ignored. */
static int fds[2];

static void *ignored_then_write(void *arg)
{
	int i;

	for (i = 0; i < 10; i++) {
		usleep(20000);
		pthread_kill(victim, SIGSEGV);
	}
	NEED(write(fds[1], "x", 1) == 1);
	return arg;
}

static void test_ignored_interrupts_nothing(void)
{
	struct sigaction sa = { .sa_handler = SIG_IGN };	/* not SA_RESTART, as signal() */
	pthread_t thread;
	char c = 0;

	if (getenv("EMULATOR"))
		_exit(SKIPPED);		/* it ignores SA_RESTART for this signal */
	NEED(!sigaction(SIGSEGV, &sa, NULL));
	guest();
	NEED(!pipe(fds));
	victim = pthread_self();
	NEED(!pthread_create(&thread, NULL, ignored_then_write, NULL));
	CHECK_EQ(read(fds[0], &c, 1), 1);
	CHECK_EQ(c, 'x');
	pthread_join(thread, NULL);
}

static void test_errno_and_mask_kept(void)
{
	struct area a = area_new();
	sigset_t before, after;
	char buf[8];

	handle_both(info_handler, SA_SIGINFO);
	guest();
	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = 1234;
	CHECK_EQ(guestmem_copy_(buf, a.end, 8), 8);
	CHECK_EQ(errno, 1234);
	check_poke(a);
	CHECK_EQ(errno, 1234);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	CHECK(sigismember(&after, SIGUSR2) && !sigismember(&after, SIGSEGV) &&
	      !sigismember(&after, SIGBUS) && !sigismember(&after, SIGUSR1));
}

/* ------- Of what the handler is told ----------------------------------------- */

#if defined(__x86_64__)
#define PC(uc)	((uc)->uc_mcontext.gregs[REG_RIP])
#elif defined(__aarch64__)
#define PC(uc)	((uc)->uc_mcontext.pc)
#endif

static int ask(uintptr_t pc, int sig, int code)
{
	siginfo_t info = { .si_signo = sig, .si_code = code };
	static ucontext_t uc;
	int ret;

	PC(&uc) = (__typeof__(PC(&uc)))pc;
	ret = guestmem_handle_fault(sig, &info, &uc);
	CHECK_EQ(ret, (uintptr_t)PC(&uc) != pc);
	return ret;
}

static void test_handle_fault(void)
{
	const char *p = guestmem_ex_start_;
	uintptr_t pc = (uintptr_t)p + (uintptr_t)*(const int32_t *)(const void *)p;
	siginfo_t info = { .si_code = SEGV_MAPERR };
	ucontext_t uc;

	CHECK_EQ(ask(pc, SIGSEGV, SEGV_MAPERR), 1);
	CHECK_EQ(ask(pc, SIGSEGV, SEGV_ACCERR), 1);
	CHECK_EQ(ask(pc, SIGBUS, BUS_ADRERR), 1);
	CHECK_EQ(ask(pc, SIGBUS, BUS_MCEERR_AR), 1);
	CHECK_EQ(ask(pc, SIGBUS, BUS_MCEERR_AO), 0);
	CHECK_EQ(ask(pc, SIGSEGV, SI_USER), 0);
	CHECK_EQ(ask(pc, SIGSEGV, SI_TKILL), 0);
	CHECK_EQ(ask(pc, SIGBUS, SI_QUEUE), 0);
	CHECK_EQ(ask(pc, SIGFPE, FPE_INTDIV), 0);
	CHECK_EQ(ask(pc + 1, SIGSEGV, SEGV_MAPERR), 0);
	CHECK_EQ(ask(0, SIGSEGV, SEGV_MAPERR), 0);
	CHECK_EQ(ask(UINTPTR_MAX, SIGSEGV, SEGV_MAPERR), 0);
	CHECK_EQ(ask((uintptr_t)&guest, SIGSEGV, SEGV_MAPERR), 0);
	CHECK_EQ(guestmem_handle_fault(SIGSEGV, NULL, &uc), 0);
	CHECK_EQ(guestmem_handle_fault(SIGSEGV, &info, NULL), 0);
	/* All entries are found, whatever their order. */
	for (; p < guestmem_ex_end_; p += 8) {
		pc = (uintptr_t)p + (uintptr_t)*(const int32_t *)(const void *)p;
		CHECK_EQ(ask(pc, SIGSEGV, SEGV_MAPERR), 1);
	}
}

/* In the order that the linker leaves them in; gone, and there again. */
static void test_register(void)
{
	static int32_t entries[5][2];
	static const char code[5 * 16];
	static const int order[5] = { 3, 0, 4, 1, 2 };
	int i, turn;

	for (i = 0; i < 5; i++) {
		entries[i][0] = (int32_t)(code + 16 * order[i] - (char *)&entries[i][0]);
		entries[i][1] = (int32_t)(code + 16 * order[i] + 8 - (char *)&entries[i][1]);
	}
	for (turn = 0; turn < 3; turn++) {
		guestmem_register_(entries, entries + 5);
		guestmem_register_(entries, entries + 5);
		for (i = 0; i < 5; i++) {
			CHECK_EQ(ask((uintptr_t)code + 16 * i, SIGSEGV, SEGV_MAPERR), 1);
			CHECK_EQ(ask((uintptr_t)code + 16 * i + 1, SIGSEGV, SEGV_MAPERR), 0);
		}
		guestmem_unregister_(entries);
		for (i = 0; i < 5; i++)
			CHECK_EQ(ask((uintptr_t)code + 16 * i, SIGSEGV, SEGV_MAPERR), 0);
		/* Another object at the same place. */
		if (turn == 1)
			entries[0][1] += 4;
	}
}

static void own_handler(int sig, siginfo_t *info, void *ucontext)
{
	last_code = guestmem_handle_fault(sig, info, ucontext);
	last_addr = info->si_addr;
	note(sig);
}

static void test_own_handler(void)
{
	struct area a = area_new();
	struct guestmem *g;
	uint64_t v;

	g = guest();
	handle_both(own_handler, SA_SIGINFO);
	CHECK_EQ(guestmem_read64(g, HOLE, &v), -ENXIO);
	CHECK(calls > 0);
	CHECK_EQ(last_code, 1);
	check_hole(g);
	check_poke(a);
	CHECK_EQ(last_code, 0);
	CHECK(last_addr == a.end + 5);
}

static void test_recover_again(void)
{
	struct area a = area_new();
	struct guestmem *g;
	void *ours;

	g = guest();
	ours = handler_of(SIGSEGV);
	CHECK(handler_of(SIGBUS) == ours);
	handle_both(info_handler, SA_SIGINFO);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_RECOVER), 0);
	CHECK(handler_of(SIGSEGV) == ours && handler_of(SIGBUS) == ours);
	check_hole(g);
	CHECK_EQ(calls, 0);
	check_poke(a);
	CHECK(last_addr == a.end + 5);
	/* On top of our own, there is nobody new to go to. */
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_RECOVER), 0);
	check_hole(g);
	NEED(!mprotect(a.end, page, PROT_NONE));
	check_poke(a);
	/* Only one of the two was replaced. */
	NEED(signal(SIGSEGV, plain_handler) != SIG_ERR);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_RECOVER), 0);
	CHECK(handler_of(SIGSEGV) == ours && handler_of(SIGBUS) == ours);
	last_addr = NULL;
	NEED(!mprotect(a.end, page, PROT_NONE));
	check_poke(a);
	CHECK(!last_addr);
	send_bus(NULL);
	CHECK_EQ(last_sig, SIGBUS);
	CHECK_EQ(last_pid, getpid());
	check_hole(g);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_DECLINE), -EBUSY);
	CHECK_EQ(guestmem_faults(2), -EINVAL);
}

static void test_decline(void)
{
	struct guestmem *g;
	uint64_t v = 0;

	set_both(plain_handler);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_DECLINE), 0);
	g = guest();
	CHECK(handler_of(SIGSEGV) == (void *)(uintptr_t)plain_handler);
	CHECK(handler_of(SIGBUS) == (void *)(uintptr_t)plain_handler);
	check_hole(g);
	CHECK_EQ(guestmem_fill(g, page - 8, 16, 0), -ENXIO);
	CHECK_EQ(guestmem_last_done(), 8);
	CHECK_EQ(guestmem_load(g, HOLE, &v, 8, __ATOMIC_RELAXED), -ENXIO);
	CHECK_EQ(guestmem_cmpxchg(g, HOLE, &v, &v, 8), -ENXIO);
	CHECK_EQ(calls, 0);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_RECOVER), -EBUSY);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_DECLINE), 0);
	CHECK(handler_of(SIGSEGV) == (void *)(uintptr_t)plain_handler);
}

/* Before there is a handle, it can be taken back. */
static void test_decline_taken_back(void)
{
	set_both(plain_handler);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_DECLINE), 0);
	CHECK_EQ(guestmem_faults(GUESTMEM_FAULTS_RECOVER), 0);
	CHECK(handler_of(SIGSEGV) == (void *)(uintptr_t)plain_handler);
	check_hole(guest());
	CHECK(handler_of(SIGSEGV) != (void *)(uintptr_t)plain_handler);
	CHECK_EQ(calls, 0);
}

/* ------- Within the library's calls ------------------------------------------ */

static int faulting_read(void *ctx, uint64_t gpa, void *buf, size_t len)
{
	(void)gpa;
	poke(ctx);
	memset(buf, 0x33, len);
	return 0;
}

static int faulting_page_fault(void *ctx, const struct guestmem_fault *fault)
{
	(void)fault;
	poke(ctx);
	return GUESTMEM_FAULT_FALLBACK;
}

static void test_callback_that_faults(void)
{
	struct area a = area_new();
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = page,
		.read = faulting_read,
	};
	struct guestmem *g;
	uint64_t v = 0;

	handle_both(info_handler, SA_SIGINFO);
	guest();
	g = guestmem_from_ops(&ops, a.end + 20);
	NEED(g);
	unlock_at = a.end;
	CHECK_EQ(guestmem_read64(g, 0, &v), 0);
	CHECK_EQ(v, 0x3333333333333333);
	CHECK_EQ(calls, 1);
	CHECK(last_addr == a.end + 20);
	CHECK_EQ(last_code, SEGV_ACCERR);
	/* An access fails, then the callback itself. */
	ops.mapping = a.start - page;
	ops.page_fault = faulting_page_fault;
	NEED(!mprotect(a.end, page, PROT_NONE));
	g = guestmem_from_ops(&ops, a.end + 30);
	NEED(g);
	v = 0;
	CHECK_EQ(guestmem_read64(g, 16, &v), 0);
	CHECK_EQ(v, 0x3333333333333333);
	CHECK_EQ(calls, 2);
	CHECK(last_addr == a.end + 30);
}

static void test_callback_that_dies(void)
{
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = page,
		.read = faulting_read,
	};
	uint64_t v;

	set_both(SIG_DFL);
	guest();
	guestmem_read64(guestmem_from_ops(&ops, area_new().end), 0, &v);
}

/* ------- Stacks and threads ---------------------------------------------------- */

static void *on_other_stack(void *arg)
{
	const size_t size = 64 * 1024;
	char *stack = malloc(size);
	stack_t ss = { .ss_sp = stack, .ss_size = size }, old;

	NEED(stack);
	memset(stack, 0x77, size);
	NEED(!sigaltstack(&ss, &old));
	check_hole(arg);
	/* It was used. */
	CHECK(!all(stack, 0x77, size));
	NEED(!sigaltstack(&old, NULL));		/* a sanitizer's */
	return NULL;
}

static void test_sigaltstack(void)
{
	struct guestmem *g = guest();
	pthread_t thread;

	NEED(!pthread_create(&thread, NULL, on_other_stack, g));
	pthread_join(thread, NULL);
}

static sigjmp_buf out_of_stack;

static void overflow_handler(int sig)
{
	note(sig);
	siglongjmp(out_of_stack, 1);
}

__attribute__((noinline)) static int deeper(volatile char *before, int n)
{
	volatile char here[4096];

	here[0] = (char)n;
	if (n && before)
		return deeper(here, n + 1) + here[0];
	return 0;
}

/* There is only the other stack to be called on. */
static void *overflow(void *arg)
{
	char *stack = malloc(64 * 1024), c = 0;
	stack_t ss = { .ss_sp = stack, .ss_size = 64 * 1024 }, old;

	NEED(!sigaltstack(&ss, &old));
	if (!sigsetjmp(out_of_stack, 1))
		deeper(&c, 1);
	CHECK_EQ(calls, 1);
	check_hole(arg);
	NEED(!sigaltstack(&old, NULL));
	return NULL;
}

static void test_stack_overflow(void)
{
	struct guestmem *g;
	pthread_t thread;

	set_both(overflow_handler);
	g = guest();
	NEED(!pthread_create(&thread, NULL, overflow, g));
	pthread_join(thread, NULL);
}

#define THREADS	6

static void *fault_often(void *arg)
{
	struct area a = area_new();
	char buf[256];
	uint64_t v;
	size_t i;

	pattern(a.end - 256, 256);
	for (i = 0; i < 3000; i++) {
		size_t k = i % 200, n = 200;

		CHECK_EQ(guestmem_copy_(buf, a.end - k, n), n - k);
		CHECK(!memcmp(buf, a.end - k, k));
#ifndef SHARED
		check_fault(a.end, SIGSEGV, SEGV_ACCERR);
#endif
		CHECK_EQ(guestmem_read64(arg, HOLE + i * 8, &v), -ENXIO);
	}
	return NULL;
}

static void test_threads(void)
{
	struct guestmem *g = guest();
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < THREADS; i++)
		NEED(!pthread_create(&threads[i], NULL, fault_often, g));
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* ------- Objects that come and go ---------------------------------------------- */

static char directory[4096];		/* of this program; they are beside it */

static const char *path_of(const char *name)
{
	static char path[sizeof(directory) + 64];

	snprintf(path, sizeof(path), "%s%s", directory, name);
	return path;
}

static void *need_symbol(void *plugin, const char *name)
{
	void *p = dlsym(plugin, name);

	NEED(p);
	return p;
}

static void use_plugin(const char *path, bool has_insn)
{
	struct guestmem *g = guest();
	int (*read64)(struct guestmem *g, uint64_t gpa, uint64_t *value);
	uintptr_t (*insn)(void), pc;
	void *plugin;
	uint64_t v;
	int i;

	for (i = 0; i < 5; i++) {
		plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (!plugin)
			fprintf(stderr, "%s\n", dlerror());
		NEED(plugin);
		*(void **)&read64 = need_symbol(plugin, "plugin_read64");
		*(void **)&insn = need_symbol(plugin, "plugin_insn");
		pc = insn();
		CHECK_EQ(read64(g, 8, &v), 0);
		CHECK_EQ(v, 0x1122334455667788);
		CHECK_EQ(read64(g, HOLE, &v), -ENXIO);
		CHECK_EQ(!!pc, has_insn);
		CHECK_EQ(ask(pc, SIGSEGV, SEGV_MAPERR), has_insn);
		NEED(!dlclose(plugin));
		/* It was unloaded; what comes to be there is not ours. */
		NEED(!dlopen(path, RTLD_NOW | RTLD_NOLOAD));
		CHECK_EQ(ask(pc, SIGSEGV, SEGV_MAPERR), 0);
		check_hole(g);
	}
}

static void test_plugin(void)
{
	use_plugin(path_of("recover-plugin.so"), true);
}

/* It has nothing inlined, and must not take our entries for its own, and along. */
static void test_plugin_without_entries(void)
{
	use_plugin(path_of("recover-plain.so"), false);
}

static void *fault_until_stopped(void *arg)
{
	uint64_t v;

	while (!atomic_load(&stop))
		CHECK_EQ(guestmem_read64(arg, HOLE, &v), -ENXIO);
	return NULL;
}

/* One that goes is no harm to faults elsewhere, at the same time. */
static void test_plugin_goes_meanwhile(void)
{
	struct guestmem *g = guest();
	pthread_t threads[2];
	void *plugin;
	int i;

	for (i = 0; i < 2; i++)
		NEED(!pthread_create(&threads[i], NULL, fault_until_stopped, g));
	for (i = 0; i < 300; i++) {
		plugin = dlopen(path_of("recover-plugin.so"), RTLD_NOW | RTLD_LOCAL);
		NEED(plugin);
		NEED(!dlclose(plugin));
	}
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* ------- The end ----------------------------------------------------------------- */

static bool linger;

/* The last of all destructors of this program. */
__attribute__((destructor(101))) static void late(void)
{
	if (linger)
		usleep(200000);
}

/* A thread may still run into a hole when its program has begun to exit. */
static void test_exit_meanwhile(void)
{
	struct guestmem *g = guest();
	pthread_t thread;

	NEED(!pthread_create(&thread, NULL, fault_until_stopped, g));
	linger = true;
	exit(failures != 0);
}

static const struct test tests[] = {
#ifndef SHARED
	TEST(try8),
	TEST(try16),
	TEST(try32),
	TEST(try64),
	TEST(cmpxchg8),
	TEST(cmpxchg16),
	TEST(cmpxchg32),
	TEST(cmpxchg64),
	TEST(cmpxchg128),
	TEST(flush),
	TEST(last_fault),
	TEST(fill),
#endif
	TEST(copy),
	TEST(copy_source_behind),
	TEST(copy_destination_behind),
	TEST(copy_in_front),
	TEST(copy_both_sides),
	TEST(copy_is_one_access),
	TEST(fault_vanishes),
	TEST(chain_siginfo),
	TEST(chain_bus),
	TEST(chain_plain),
	TEST(chain_nodefer),
	TEST_DIES(chain_resethand, SIGSEGV),
	TEST(chain_default),
	TEST(chain_default_siginfo),
	TEST(chain_ignore),
	TEST(default_is_the_fault),
	TEST(sent_to_handler),
	TEST(sent_while_accessing),
	TEST(ignored_interrupts_nothing),
	TEST(errno_and_mask_kept),
	TEST(handle_fault),
	TEST(register),
	TEST(own_handler),
	TEST(recover_again),
	TEST(decline),
	TEST(decline_taken_back),
	TEST(callback_that_faults),
	TEST_DIES(callback_that_dies, SIGSEGV),
	TEST(sigaltstack),
	TEST(stack_overflow),
	TEST(threads),
	TEST(plugin),
	TEST(plugin_without_entries),
	TEST(plugin_goes_meanwhile),
	TEST(exit_meanwhile),
};

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');

	page = (size_t)sysconf(_SC_PAGESIZE);
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash + 1 - argv[0]) : 0,
		 argv[0]);
	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
