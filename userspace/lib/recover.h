/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * Accesses that may fault, and say so.
 *
 * Each such instruction has an entry in the section guestmem_ex: where it is, and where
 * to go on if it faults. See recover.c for who does that. What is here is one
 * instruction (or one loop of load-exclusive and store-exclusive); the loops over bytes
 * are in copy_*.S.
 */
#ifndef LIBGUESTMEM_RECOVER_H
#define LIBGUESTMEM_RECOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guestmem.h"

/* Of the calling thread's last access that faulted. */
struct fault {
	uintptr_t addr;
	int signo;
	int code;		/* si_code */
};

/*
 * In the static block, so that the signal handler finds it without asking the dynamic
 * linker, which may have to allocate.
 */
extern _Thread_local struct fault last_fault __attribute__((tls_model("initial-exec")));

/*
 * Have the handlers in place, if they were not declined. Returns 0, or -errno. From then
 * on, recover_declined() does not change.
 */
int recover_start(void);
bool recover_declined(void);

/* Each returns the bytes that are left; all before them are done. */
size_t fill_bytes(void *dst, int value, size_t len);

#ifndef GUESTMEM_MEM_
#error "no accesses that recover are known for this CPU"
#endif

#define DEFINE_TRY(width)								\
static inline bool try_load##width(const void *ptr, uint##width##_t *value)		\
{											\
	uint##width##_t got;								\
	uint32_t failed;								\
											\
	GUESTMEM_LOAD_(width, ptr, got, failed);					\
	if (failed)									\
		return false;								\
	*value = got;									\
	return true;									\
}											\
											\
static inline bool try_store##width(void *ptr, uint##width##_t value)			\
{											\
	GUESTMEM_STORE_(width, ptr, value, fault);		\
	return true;									\
fault:											\
	return false;									\
}

DEFINE_TRY(8)
DEFINE_TRY(16)
DEFINE_TRY(32)
DEFINE_TRY(64)
#undef DEFINE_TRY

/*
 * If the value at @ptr is *@expected, make it @desired; else put it into *@expected.
 * Sequentially consistent. False if it faulted.
 */
#if defined(__x86_64__)
#define DEFINE_TRY_CMPXCHG(width, reg)							\
static inline bool try_cmpxchg##width(void *ptr, uint##width##_t *expected,		\
				      uint##width##_t desired)				\
{											\
	uint##width##_t old = *expected;						\
	uint32_t failed;								\
											\
	__asm__ __volatile__("	movl $1, %1\n"						\
		"1:	lock cmpxchg %" reg "3, (%2)\n"					\
		"	movl $0, %1\n"							\
		"2:\n"									\
		GUESTMEM_EX_("1b", "2b")						\
		: "+&a" (old), "=&r" (failed) : "r" (ptr), "r" (desired)		\
		: "memory", "cc");							\
	if (failed)									\
		return false;								\
	*expected = old;								\
	return true;									\
}

DEFINE_TRY_CMPXCHG(8, "b")
DEFINE_TRY_CMPXCHG(16, "w")
DEFINE_TRY_CMPXCHG(32, "k")
DEFINE_TRY_CMPXCHG(64, "q")

static inline bool try_cmpxchg128(void *ptr, uint64_t expected[2], const uint64_t desired[2])
{
	uint64_t low = expected[0], high = expected[1];
	uint32_t failed;

	__asm__ __volatile__("	movl $1, %2\n"
		"1:	lock cmpxchg16b (%3)\n"
		"	movl $0, %2\n"
		"2:\n"
		GUESTMEM_EX_("1b", "2b")
		: "+&a" (low), "+&d" (high), "=&r" (failed)
		: "r" (ptr), "b" (desired[0]), "c" (desired[1]) : "memory", "cc");
	if (failed)
		return false;
	expected[0] = low;
	expected[1] = high;
	return true;
}

/* Write the cache line that has @ptr back, and drop it. */
static inline bool try_flush(const void *ptr)
{
	__asm__ __volatile__ goto("1:	clflush (%0)\n"
		GUESTMEM_EX_("1b", "%l[fault]")
		: : "r" (ptr) : "memory" : fault);
	return true;
fault:
	return false;
}

static inline void flush_barrier(void)
{
	__asm__ __volatile__("mfence" : : : "memory");
}

/* CPUID is an exit from a virtual machine: recover.c asks once. */
extern struct cpu {
	size_t flush_line;
	bool cmpxchg128;
} cpu;

static inline size_t flush_line(void)
{
	return cpu.flush_line;
}

static inline bool has_cmpxchg128(void)
{
	return cpu.cmpxchg128;
}

static inline void cpu_relax(void)
{
	__asm__ __volatile__("pause" : : : "memory");
}
#elif defined(__aarch64__)
#define DEFINE_TRY_CMPXCHG(width, reg, suffix, extend)					\
static inline bool try_cmpxchg##width(void *ptr, uint##width##_t *expected,		\
				      uint##width##_t desired)				\
{											\
	uint32_t again, failed;								\
	uint##width##_t old;								\
											\
	__asm__ __volatile__("	mov %w2, #1\n"						\
		"1:	ldaxr" suffix " %" reg "0, [%3]\n"				\
		"	cmp %" reg "0, %" reg "4" extend "\n"				\
		"	b.ne 3f\n"							\
		"2:	stlxr" suffix " %w1, %" reg "5, [%3]\n"				\
		"	cbnz %w1, 1b\n"							\
		"3:	dmb ish\n"							\
		"	mov %w2, #0\n"							\
		"4:\n"									\
		GUESTMEM_EX_("1b", "4b")						\
		GUESTMEM_EX_("2b", "4b")						\
		: "=&r" (old), "=&r" (again), "=&r" (failed)				\
		: "r" (ptr), "r" (*expected), "r" (desired) : "memory", "cc");		\
	if (failed)									\
		return false;								\
	*expected = old;								\
	return true;									\
}

DEFINE_TRY_CMPXCHG(8, "w", "b", ", uxtb")
DEFINE_TRY_CMPXCHG(16, "w", "h", ", uxth")
DEFINE_TRY_CMPXCHG(32, "w", "", "")
DEFINE_TRY_CMPXCHG(64, "x", "", "")

/* What differs is stored as it was: a pair is only known to be whole if that succeeds. */
static inline bool try_cmpxchg128(void *ptr, uint64_t expected[2], const uint64_t desired[2])
{
	uint64_t low, high, new_low, new_high;
	uint32_t again, failed;

	__asm__ __volatile__("	mov %w5, #1\n"
		"1:	ldaxp %0, %1, [%6]\n"
		"	cmp %0, %7\n"
		"	ccmp %1, %8, #0, eq\n"
		"	csel %2, %9, %0, eq\n"
		"	csel %3, %10, %1, eq\n"
		"2:	stlxp %w4, %2, %3, [%6]\n"
		"	cbnz %w4, 1b\n"
		"	dmb ish\n"
		"	mov %w5, #0\n"
		"4:\n"
		GUESTMEM_EX_("1b", "4b")
		GUESTMEM_EX_("2b", "4b")
		: "=&r" (low), "=&r" (high), "=&r" (new_low), "=&r" (new_high),
		  "=&r" (again), "=&r" (failed)
		: "r" (ptr), "r" (expected[0]), "r" (expected[1]), "r" (desired[0]),
		  "r" (desired[1])
		: "memory", "cc");
	if (failed)
		return false;
	expected[0] = low;
	expected[1] = high;
	return true;
}

static inline bool try_flush(const void *ptr)
{
	__asm__ __volatile__ goto("1:	dc civac, %0\n"
		GUESTMEM_EX_("1b", "%l[fault]")
		: : "r" (ptr) : "memory" : fault);
	return true;
fault:
	return false;
}

static inline void flush_barrier(void)
{
	__asm__ __volatile__("dsb sy" : : : "memory");
}

static inline size_t flush_line(void)
{
	uint64_t ctr;

	__asm__("mrs %0, ctr_el0" : "=r" (ctr));
	return (size_t)4 << (ctr >> 16 & 15);
}

static inline bool has_cmpxchg128(void)
{
	return true;
}

static inline void cpu_relax(void)
{
	__asm__ __volatile__("yield" : : : "memory");
}
#endif
#undef DEFINE_TRY_CMPXCHG

#endif /* LIBGUESTMEM_RECOVER_H */
