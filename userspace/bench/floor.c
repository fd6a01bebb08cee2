// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * What nothing can be cheaper than: all of the guest in one range of addresses, and no
 * questions asked. Only the translation looks whether the address is below the end, as
 * any must that can fail: by a call, after which the compiler has to load again what it
 * knew of the guest. (If it ends the program instead, it takes half the time.)
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/*
 * @dirty: a bit for each granule
 * @users: what a hold counts
 */
struct plain {
	uint64_t end;
	char *base;
	uint64_t granule;
	uint64_t *dirty;
	uint64_t users;
};

static void *plain_open(const struct guest *guest)
{
	struct plain *p = calloc(1, sizeof(*p));

	if (!p)
		die("calloc");
	p->end = guest->end - 7;
	p->base = guest->window;
	p->granule = guest->granule;
	if (p->granule) {
		p->dirty = calloc(guest->end / p->granule / 64 + 1, sizeof(*p->dirty));
		if (!p->dirty)
			die("calloc");
	}
	return p;
}

static void plain_close(void *self)
{
	struct plain *p = self;

	free(p->dirty);
	free(p);
}

static inline uint64_t translate_all(void *self, const struct job *job, bool chase)
{
	const struct plain *p = self;
	char *ptr = NULL;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		uint64_t gpa = chase ? AFTER(gpas[i], ptr) : gpas[i];

		ptr = __builtin_expect(gpa < p->end, 1) ? p->base + gpa : nothing_there();
		if (__builtin_expect(!ptr, 0))
			die("the end");
		use((uintptr_t)ptr);
	}
	return (uintptr_t)ptr;
}

static uint64_t translate(void *self, const struct job *job)
{
	return translate_all(self, job, false);
}

static uint64_t chase(void *self, const struct job *job)
{
	return translate_all(self, job, true);
}

static uint64_t read8(void *self, const struct job *job)
{
	const struct plain *p = self;
	uint64_t value = 0;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		value = *(volatile uint64_t *)(p->base + gpas[i]);
		use(value);
	}
	return value;
}

static uint64_t write8(void *self, const struct job *job)
{
	const struct plain *p = self;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++)
		*(volatile uint64_t *)(p->base + gpas[i]) = gpas[i];
	for (i = 0; p->dirty && i < n; i++) {
		uint64_t bit = gpas[i] / p->granule;

		p->dirty[bit / 64] |= 1ULL << bit % 64;
	}
	return 0;
}

static uint64_t copy_out(void *self, const struct job *job)
{
	const struct plain *p = self;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++)
		memcpy(job->buf, p->base + gpas[i], job->len);
	return 0;
}

static uint64_t copy_in(void *self, const struct job *job)
{
	const struct plain *p = self;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++)
		memcpy(p->base + gpas[i], job->buf, job->len);
	return 0;
}

static uint64_t hold(void *self, const struct job *job)
{
	struct plain *p = self;
	char *ptr = NULL;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		__atomic_fetch_add(&p->users, 1, __ATOMIC_ACQUIRE);
		ptr = p->base + gpas[i];
		use((uintptr_t)ptr);
		__atomic_fetch_sub(&p->users, 1, __ATOMIC_RELEASE);
	}
	return (uintptr_t)ptr;
}

static uint64_t harvest(void *self, const struct job *job)
{
	const struct plain *p = self;
	uint64_t *out = (uint64_t *)job->buf;
	size_t i, n = job->len / p->granule / 64;

	for (i = 0; i < n; i++) {
		out[i] = *(volatile uint64_t *)&p->dirty[i] ?
			 __atomic_exchange_n(&p->dirty[i], 0, __ATOMIC_ACQ_REL) : 0;
	}
	return 0;
}

const struct contestant floor_contestant = {
	.name = "plain",
	.open = plain_open,
	.close = plain_close,
	.op = {
		[OP_TRANSLATE] = translate,
		[OP_CHASE] = chase,
		[OP_READ8] = read8,
		[OP_WRITE8] = write8,
		[OP_READ] = copy_out,
		[OP_WRITE] = copy_in,
		[OP_HOLD] = hold,
		[OP_HARVEST] = harvest,
	},
};
