/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * Between the benchmark (bench.c) and its contestants, each of which is in a file of
 * its own. A contestant is asked to reach the same guest as the others: the same memfd,
 * which each maps for itself.
 *
 * Every 8 bytes of the guest that are accessed hold their own address.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As vm-memory/lib.rs has it. */
struct region {
	uint64_t gpa;
	uint64_t len;
	uint64_t offset;	/* in the file */
};

/*
 * @fd: memfd that has all regions
 * @regions, @n: sorted, none adjacent
 * @end: of the last one
 * @window: where address 0 is in the mapping of bench.c
 * @granule: note what is written, by pieces of so many bytes; 0: do not
 */
struct guest {
	int fd;
	const struct region *regions;
	size_t n;
	uint64_t end;
	char *window;
	uint64_t granule;
};

/*
 * What is timed: the operation at each of the addresses, in turn. As lib.rs has it.
 *
 * @buf, @len: for copies; for the bitmap that is harvested, and bytes that it is of
 * @check: this is not timed: a bitmap must be in @buf, whatever it costs
 */
struct job {
	const uint64_t *gpas;
	size_t n;
	char *buf;
	uint64_t len;
	bool check;
};

enum op {
	OP_TRANSLATE,	/* the pointer */
	OP_CHASE,	/* the same, each with an address that needs the one before */
	OP_READ8,	/* the value */
	OP_WRITE8,	/* of the address; also marks it dirty */
	OP_READ,
	OP_WRITE,
	OP_HOLD,	/* the pointer; until it is not used any more */
	OP_HARVEST,	/* all of the bitmap, and clear it */
	OP_HOLE,	/* an 8-byte read which must fail; how many did */
	NR_OPS
};

/*
 * @max_regions: 0 if there is no limit
 * @slow: a system call each
 * @op: NULL for what it does not know. Returns the last result, if there is one. Has in
 *	variables of its own what of the job is needed in its loop, where the compiler
 *	would have to load it again after a function has been called
 */
struct contestant {
	const char *name;
	size_t max_regions;
	bool slow;
	void *(*open)(const struct guest *guest);
	void (*close)(void *self);

	uint64_t (*op[NR_OPS])(void *self, const struct job *job);
};

extern const struct contestant floor_contestant;
extern const struct contestant ours;
extern const struct contestant vm_memory;
extern const struct contestant vm_memory_bitmap;
extern const struct contestant vfio_user;
extern const struct contestant vhost_user;
extern const struct contestant kernel_pread;
extern const struct contestant kernel_proc_mem;
extern const struct contestant kernel_process_vm;

/* Prints what it was that failed, and errno's text; ends. */
void __attribute__((noreturn, cold)) die(const char *what);

/* NULL, and sets errno; nobody knows what else it does. */
char *nothing_there(void);

/*
 * The result is used: it must be in a register. Costs no instruction, and does not say
 * that memory has changed: what is known of it may be kept in registers from one
 * operation to the next, by all contestants.
 */
static inline void use(uint64_t value)
{
	__asm__ __volatile__("" : : "r"(value));
}

/* @gpa as it was: no pointer is that large. But that has to be known first. */
#define AFTER(gpa, ptr)	((gpa) + ((uint64_t)(uintptr_t)(ptr) >> 63))

#endif /* BENCH_H */
