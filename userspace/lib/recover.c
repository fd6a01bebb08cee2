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
 * - Sections that have ended are emptied and stay in the list: the handler may be
 *   reading it.
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

struct section {
	_Atomic(const struct entry *) start;
	const struct entry *end;
	struct section *next;
};

static _Atomic(struct section *) sections;

/* Whom we came after, of SIGSEGV and SIGBUS. Never freed: a handler may be using it. */
struct previous {
	struct sigaction sa[2];
	struct previous *older;
};

static _Atomic(struct previous *) previous;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static enum { UNDECIDED, RECOVER, DECLINED } decided;
static bool decline;

/*
 * Called before main(), so it cannot say that it failed: what a section without memory
 * for it in the list would recover from is then a crash, as without this library.
 */
void guestmem_register_(const void *start, const void *end)
{
	struct section *s;

	if (start == end)
		return;
	pthread_mutex_lock(&mutex);
	/* Each file that includes the header tells of all of them. */
	for (s = atomic_load_explicit(&sections, memory_order_relaxed); s; s = s->next) {
		if (atomic_load_explicit(&s->start, memory_order_relaxed) == start)
			goto unlock;
	}
	s = malloc(sizeof(*s));
	if (!s)
		goto unlock;
	atomic_init(&s->start, start);
	s->end = end;
	s->next = atomic_load_explicit(&sections, memory_order_relaxed);
	atomic_store_explicit(&sections, s, memory_order_release);
unlock:
	pthread_mutex_unlock(&mutex);
}

void guestmem_unregister_(const void *start)
{
	struct section *s;

	if (!start)
		return;
	pthread_mutex_lock(&mutex);
	for (s = atomic_load_explicit(&sections, memory_order_relaxed); s; s = s->next) {
		if (atomic_load_explicit(&s->start, memory_order_relaxed) == start)
			atomic_store_explicit(&s->start, NULL, memory_order_relaxed);
	}
	pthread_mutex_unlock(&mutex);
}

/* Where to go on after a fault at @pc; 0 if it is not ours. */
static uintptr_t go_on(uintptr_t pc)
{
	const struct entry *e;
	struct section *s;

	for (s = atomic_load_explicit(&sections, memory_order_acquire); s; s = s->next) {
		e = atomic_load_explicit(&s->start, memory_order_relaxed);
		for (; e && e < s->end; e++) {
			if ((uintptr_t)&e->insn + (uintptr_t)e->insn == pc)
				return (uintptr_t)&e->go_on + (uintptr_t)e->go_on;
		}
	}
	return 0;
}

#if defined(__x86_64__)
#define PC(uc)	((uc)->uc_mcontext.gregs[REG_RIP])
#elif defined(__aarch64__)
#define PC(uc)	((uc)->uc_mcontext.pc)
#endif

int guestmem_handle_fault(int sig, const void *info, void *ucontext)
{
	const siginfo_t *si = info;
	ucontext_t *uc = ucontext;
	uintptr_t to;

	/* Of kill(2) and its like, the code is not above 0. */
	if ((sig != SIGSEGV && sig != SIGBUS) || !si || !uc || si->si_code <= 0)
		return 0;
	to = go_on((uintptr_t)PC(uc));
	if (!to)
		return 0;
	last_fault = (struct fault){
		.addr = (uintptr_t)si->si_addr,
		.signo = sig,
		.code = si->si_code,
	};
	PC(uc) = to;
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_EFL] &= ~0x400;	/* the direction is the ABI's again */
#endif
	return 1;
}

static void by_default(int sig, const siginfo_t *info)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	sigaction(sig, &dfl, NULL);
	if (info->si_code <= 0)
		raise(sig);	/* it comes when this handler has returned */
}

static void handler(int sig, siginfo_t *info, void *ucontext)
{
	const struct sigaction *sa;
	int saved = errno;
	sigset_t mask;

	if (guestmem_handle_fault(sig, info, ucontext))
		return;
	sa = &atomic_load_explicit(&previous, memory_order_acquire)->sa[sig == SIGBUS];
	if (!(sa->sa_flags & SA_SIGINFO) &&
	    (sa->sa_handler == SIG_DFL || sa->sa_handler == SIG_IGN)) {
		/* A fault of its own kills also who ignores it. */
		if (sa->sa_handler == SIG_DFL || info->si_code > 0)
			by_default(sig, info);
		errno = saved;
		return;
	}
	pthread_sigmask(SIG_BLOCK, &sa->sa_mask, &mask);
	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, ucontext);
	else
		sa->sa_handler(sig);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static bool same_action(const struct sigaction *a, const struct sigaction *b)
{
	return a->sa_sigaction == b->sa_sigaction && a->sa_flags == b->sa_flags &&
	       !memcmp(&a->sa_mask, &b->sa_mask, sizeof(a->sa_mask));
}

/* Ours, on top of what there is. The mutex is held. */
static int install(void)
{
	struct previous *p, *old = atomic_load_explicit(&previous, memory_order_relaxed);
	struct sigaction sa = {
		.sa_sigaction = handler,
		.sa_flags = SA_SIGINFO | SA_ONSTACK,
	};
	static const int sig[2] = { SIGSEGV, SIGBUS };
	int i, err;

	p = malloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	sigemptyset(&sa.sa_mask);
	for (i = 0; i < 2; i++) {
		if (sigaction(sig[i], NULL, &p->sa[i])) {
			err = -errno;
			free(p);
			return err;
		}
		if (p->sa[i].sa_sigaction == handler)
			p->sa[i] = old->sa[i];
	}
	/* Who asks for it again and again, after the same one, takes no more memory. */
	if (old && same_action(&p->sa[0], &old->sa[0]) && same_action(&p->sa[1], &old->sa[1])) {
		free(p);
	} else {
		p->older = old;
		/* Who was before must be known when the first fault comes. */
		atomic_store_explicit(&previous, p, memory_order_release);
	}
	return sigaction(SIGSEGV, &sa, NULL) || sigaction(SIGBUS, &sa, NULL) ? -errno : 0;
}

int guestmem_faults(int how)
{
	int ret = 0;

	if (how != GUESTMEM_FAULTS_RECOVER && how != GUESTMEM_FAULTS_DECLINE)
		return fail(OP_FAULTS, EINVAL, "it is neither RECOVER nor DECLINE");
	pthread_mutex_lock(&mutex);
	if (decided == UNDECIDED) {
		decline = how == GUESTMEM_FAULTS_DECLINE;
	} else if ((decided == DECLINED) != (how == GUESTMEM_FAULTS_DECLINE)) {
		ret = fail(OP_FAULTS, EBUSY,
			   "there is a handle with a window already: decide before it");
	} else if (decided == RECOVER) {
		ret = install();
		if (ret < 0)
			fail(OP_FAULTS, -ret, NULL);
	}
	pthread_mutex_unlock(&mutex);
	return ret;
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
	cpu.flush_line = (b >> 8 & 255) * 8;
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
