// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Recovery from faults.
 *
 * - A fault is ours if it was raised by the CPU at an instruction that has an entry in
 *   a section guestmem_ex of a program or shared object that has told us of its own
 *   (guestmem-inline.h does, before main()). Nothing else is looked at: neither the
 *   address that was accessed nor what the thread was doing.
 * - The handler only writes the calling thread's last_fault and where to go on. It takes
 *   no lock and calls nothing, so it does not matter what it interrupts.
 * - What is not ours goes to the handlers that were there before, as if we were not:
 *   with their mask and on the stack that we are on; SIG_DFL by returning to the
 *   instruction with the default action in place.
 * - Sections are copied, sorted, into a list of which nothing is ever freed: the handler
 *   may be reading it in one thread while another unloads the object. One that has ended
 *   is marked so, and is used again should the object come back to where it was.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "internal.h"
#include "recover.h"

_Thread_local struct fault last_fault;

struct entry {
	int32_t insn;		/* from here */
	int32_t go_on;		/* from here */
};

/* An entry without its being relative to the section. */
struct place {
	uintptr_t insn;
	uintptr_t go_on;
};

struct section {
	struct section *next;
	const void *start;
	atomic_bool ended;
	size_t n;
	struct place places[];
};

static _Atomic(struct section *) sections;
static atomic_bool exiting;

/* Whom we came after, of SIGSEGV and SIGBUS. Never freed: a handler may be using it. */
struct previous {
	struct previous *older;
	struct sigaction sa[2];
	atomic_bool spent[2];		/* SA_RESETHAND: it has been called */
};

static _Atomic(struct previous *) previous;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic enum { UNDECIDED, RECOVER, DECLINED } decided;
static bool decline;

static int compare_places(const void *a, const void *b)
{
	const struct place *p = a, *q = b;

	return p->insn < q->insn ? -1 : p->insn > q->insn;
}

static struct section *section_copy(const struct entry *start, const struct entry *end)
{
	size_t n = (size_t)(end - start), i;
	struct section *s = malloc(sizeof(*s) + n * sizeof(s->places[0]));

	if (!s)
		return NULL;
	s->start = start;
	atomic_init(&s->ended, false);
	s->n = n;
	for (i = 0; i < n; i++) {
		s->places[i].insn = (uintptr_t)&start[i].insn + (uintptr_t)start[i].insn;
		s->places[i].go_on = (uintptr_t)&start[i].go_on + (uintptr_t)start[i].go_on;
	}
	qsort(s->places, n, sizeof(s->places[0]), compare_places);
	return s;
}

/*
 * Called before main(), so it cannot say that it failed: what a section without memory
 * for it in the list would recover from is then a crash, as without this library.
 */
void guestmem_register_(const void *start, const void *end)
{
	struct section *s, *new;

	if (start == end)
		return;
	pthread_mutex_lock(&mutex);
	/* Each file that includes the header tells of all of them. */
	for (s = atomic_load_explicit(&sections, memory_order_relaxed); s; s = s->next) {
		if (s->start == start && !atomic_load_explicit(&s->ended, memory_order_relaxed))
			goto unlock;
	}
	new = section_copy(start, end);
	if (!new)
		goto unlock;
	for (s = atomic_load_explicit(&sections, memory_order_relaxed); s; s = s->next) {
		if (s->start == start && s->n == new->n &&
		    !memcmp(s->places, new->places, s->n * sizeof(s->places[0]))) {
			free(new);
			atomic_store_explicit(&s->ended, false, memory_order_relaxed);
			goto unlock;
		}
	}
	new->next = atomic_load_explicit(&sections, memory_order_relaxed);
	atomic_store_explicit(&sections, new, memory_order_release);
unlock:
	pthread_mutex_unlock(&mutex);
}

/*
 * At exit, destructors run while other threads still access. Nothing is unmapped then, so
 * they can go on recovering.
 */
static void at_exit(void)
{
	atomic_store_explicit(&exiting, true, memory_order_relaxed);
}

void guestmem_unregister_(const void *start)
{
	struct section *s;

	if (!start || atomic_load_explicit(&exiting, memory_order_relaxed))
		return;
	pthread_mutex_lock(&mutex);
	for (s = atomic_load_explicit(&sections, memory_order_relaxed); s; s = s->next) {
		if (s->start == start)
			atomic_store_explicit(&s->ended, true, memory_order_relaxed);
	}
	pthread_mutex_unlock(&mutex);
}

/* Where to go on after a fault at @pc; 0 if it is not ours. */
static uintptr_t go_on(uintptr_t pc)
{
	size_t low, high, mid;
	struct section *s;

	for (s = atomic_load_explicit(&sections, memory_order_acquire); s; s = s->next) {
		if (atomic_load_explicit(&s->ended, memory_order_relaxed))
			continue;
		for (low = 0, high = s->n; low < high; ) {
			mid = low + (high - low) / 2;
			if (s->places[mid].insn == pc)
				return s->places[mid].go_on;
			if (s->places[mid].insn < pc)
				low = mid + 1;
			else
				high = mid;
		}
	}
	return 0;
}

#if defined(__x86_64__)
#define PC(uc)	((uc)->uc_mcontext.gregs[REG_RIP])
#elif defined(__aarch64__)
#define PC(uc)	((uc)->uc_mcontext.pc)
#endif

/*
 * Not of kill(2) and its like, whose code is not above 0; nor the news that some page has
 * a hardware error, which interrupt any instruction.
 */
static bool is_of_instruction(int sig, const siginfo_t *info)
{
	return info->si_code > 0 && !(sig == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

int guestmem_handle_fault(int sig, const void *info, void *ucontext)
{
	const siginfo_t *si = info;
	ucontext_t *uc = ucontext;
	uintptr_t to;

	if ((sig != SIGSEGV && sig != SIGBUS) || !si || !uc || !is_of_instruction(sig, si))
		return 0;
	to = go_on((uintptr_t)PC(uc));
	if (!to)
		return 0;
	last_fault = (struct fault){
		.addr = (uintptr_t)si->si_addr,
		.signo = sig,
		.code = si->si_code,
	};
	PC(uc) = (__typeof__(PC(uc)))to;
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_EFL] &= ~0x400;	/* the direction is the ABI's again */
#endif
	return 1;
}

static void by_default(int sig, const siginfo_t *info)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	sigaction(sig, &dfl, NULL);
	if (!is_of_instruction(sig, info))
		raise(sig);	/* it comes when this handler has returned */
}

/* What the kernel would do. */
static void call_previous(struct previous *p, int sig, siginfo_t *info, void *ucontext)
{
	const struct sigaction *sa = &p->sa[sig == SIGBUS];
	bool by_dfl = sa->sa_handler == SIG_DFL;
	sigset_t mask, this;

	if (sa->sa_handler == SIG_IGN) {
		/* A fault of its own kills also who ignores it. */
		if (!is_of_instruction(sig, info))
			return;
		by_dfl = true;
	} else if (sa->sa_flags & SA_RESETHAND) {
		by_dfl |= atomic_exchange(&p->spent[sig == SIGBUS], true);
	}
	if (by_dfl) {
		by_default(sig, info);
		return;
	}
	pthread_sigmask(SIG_BLOCK, &sa->sa_mask, &mask);
	if ((sa->sa_flags & SA_NODEFER) && !sigismember(&sa->sa_mask, sig)) {
		sigemptyset(&this);
		sigaddset(&this, sig);
		pthread_sigmask(SIG_UNBLOCK, &this, NULL);
	}
	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, ucontext);
	else
		sa->sa_handler(sig);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static bool same_action(const struct sigaction *a, const struct sigaction *b)
{
	return a->sa_sigaction == b->sa_sigaction && a->sa_flags == b->sa_flags &&
	       !(a->sa_flags & SA_RESETHAND) &&
	       !memcmp(&a->sa_mask, &b->sa_mask, sizeof(a->sa_mask));
}

static void handler(int sig, siginfo_t *info, void *ucontext)
{
	int saved = errno;

	if (!guestmem_handle_fault(sig, info, ucontext))
		call_previous(atomic_load_explicit(&previous, memory_order_acquire), sig, info,
			      ucontext);
	errno = saved;
}

/* Ours, on top of what there is. The mutex is held. */
static int install(void)
{
	struct previous *p, *old = atomic_load_explicit(&previous, memory_order_relaxed);
	static const int sig[2] = { SIGSEGV, SIGBUS };
	struct sigaction sa = { .sa_sigaction = handler };
	int i, err, ours = 0;

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->older = old;
	for (i = 0; i < 2; i++) {
		if (sigaction(sig[i], NULL, &p->sa[i])) {
			err = -errno;
			free(p);
			return err;
		}
		if (p->sa[i].sa_sigaction == handler) {
			p->sa[i] = old->sa[i];
			atomic_init(&p->spent[i], atomic_load(&old->spent[i]));
			ours++;
		}
	}
	if (ours == 2) {
		free(p);
		return 0;
	}
	if (!old)
		atexit(at_exit);
	/* Who asks for it again and again, after the same one, takes no more memory. */
	if (old && same_action(&p->sa[0], &old->sa[0]) && same_action(&p->sa[1], &old->sa[1])) {
		free(p);
		p = old;
	}
	/* Who was before must be known when the first fault comes. */
	atomic_store_explicit(&previous, p, memory_order_release);
	sigemptyset(&sa.sa_mask);
	for (i = 0; i < 2; i++) {
		/* One that is sent interrupts system calls if it would without us. */
		sa.sa_flags = SA_SIGINFO | SA_ONSTACK |
			      (p->sa[i].sa_handler == SIG_IGN ? SA_RESTART :
			       p->sa[i].sa_flags & SA_RESTART);
		if (sigaction(sig[i], &sa, NULL))
			return -errno;
	}
	return 0;
}

int guestmem_faults(int how)
{
	int ret = 0;

	if (how != GUESTMEM_FAULTS_RECOVER && how != GUESTMEM_FAULTS_DECLINE)
		return fail(OP_FAULTS, EINVAL, "it is neither RECOVER nor DECLINE");
	pthread_mutex_lock(&mutex);
	if (decided == UNDECIDED)
		decline = how == GUESTMEM_FAULTS_DECLINE;
	else if ((decided == DECLINED) != (how == GUESTMEM_FAULTS_DECLINE))
		ret = -EBUSY;
	else if (decided == RECOVER)
		ret = install();
	pthread_mutex_unlock(&mutex);
	/* Not under the mutex: who hears of it may call us. */
	return ret ? fail(OP_FAULTS, -ret, ret == -EBUSY ?
			  "there is a handle with a window already: decide before it" : NULL) : 0;
}

int recover_start(void)
{
	int err = 0;

	pthread_mutex_lock(&mutex);
	if (decided == UNDECIDED && !decline)
		err = install();
	if (!err && decided == UNDECIDED)
		decided = decline ? DECLINED : RECOVER;
	pthread_mutex_unlock(&mutex);
	return err;
}

bool recover_declined(void)
{
	return decided == DECLINED;
}

#if defined(__x86_64__)
/* Of copy_x86_64.S */
extern uint64_t copy_rep_min, copy_stream_min;
extern uint8_t copy_avx;

struct cpu cpu;

__attribute__((constructor)) static void ask_cpu(void)
{
	unsigned int a, b, c, d;
	long cache;

	__builtin_cpu_init();
	copy_avx = !!__builtin_cpu_supports("avx");
	__cpuid(1, a, b, c, d);
	cpu.flush_line = (size_t)(b >> 8 & 255) * 8;
	cpu.cmpxchg128 = c >> 13 & 1;
	if (__get_cpuid_max(0, NULL) < 7)
		return;
	__cpuid_count(7, 0, a, b, c, d);
	if (b >> 9 & 1)		/* enhanced rep movsb */
		copy_rep_min = 2048;
	/* What a virtual machine is told is the cache of all its host. */
	cache = sysconf(_SC_LEVEL3_CACHE_SIZE) / 4 * 3;
	if (cache > 0)
		copy_stream_min = (uint64_t)(cache < 64 << 20 ? cache : 64 << 20);
}
#endif
