// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* This library, as any program has it: the header's inlines, and the shared object. */
#include <sys/mman.h>

#include <guestmem.h>

#include "bench.h"

static void *ours_open(const struct guest *guest)
{
	struct guestmem *g = guestmem_create(0);
	size_t i;

	for (i = 0; g && i < guest->n; i++) {
		const struct region *r = &guest->regions[i];

		if (guestmem_add_file(g, r->gpa, r->len, guest->fd, r->offset, 0, NULL))
			die(guestmem_strerror());
	}
	if (!g || (guest->granule && guestmem_dirty_start(g, guest->granule)))
		die(guestmem_strerror());
	return g;
}

static void ours_close(void *self)
{
	guestmem_close(self);
}

static inline uint64_t translate_all(void *self, const struct job *job, bool chase)
{
	char *ptr = NULL;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		uint64_t gpa = chase ? AFTER(gpas[i], ptr) : gpas[i];

		ptr = guestmem_ptr(self, gpa, 8);
		if (__builtin_expect(!ptr, 0))
			die(guestmem_strerror());
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
	uint64_t value = 0;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		if (__builtin_expect(guestmem_read64(self, gpas[i], &value), 0))
			die(guestmem_strerror());
		use(value);
	}
	return value;
}

static uint64_t write8(void *self, const struct job *job)
{
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		if (__builtin_expect(guestmem_write64(self, gpas[i], gpas[i]), 0))
			die(guestmem_strerror());
	}
	return 0;
}

static uint64_t copy_out(void *self, const struct job *job)
{
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		if (__builtin_expect(guestmem_read(self, gpas[i], job->buf, job->len), 0))
			die(guestmem_strerror());
	}
	return 0;
}

static uint64_t copy_in(void *self, const struct job *job)
{
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		if (__builtin_expect(guestmem_write(self, gpas[i], job->buf, job->len), 0))
			die(guestmem_strerror());
	}
	return 0;
}

static uint64_t hold(void *self, const struct job *job)
{
	struct guestmem_hold h = { 0 };
	char *ptr = NULL;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		if (__builtin_expect(guestmem_hold(self, gpas[i], 8, &h), 0))
			die(guestmem_strerror());
		ptr = h.slice.iov_base;
		use((uintptr_t)ptr);
		guestmem_release(&h);
	}
	return (uintptr_t)ptr;
}

static uint64_t harvest(void *self, const struct job *job)
{
	ssize_t n = guestmem_dirty_take(self, 0, job->len, (uint64_t *)job->buf,
					job->len / 4096 / 64);

	if (n < 0)
		die(guestmem_strerror());
	return n;
}

static uint64_t hole(void *self, const struct job *job)
{
	uint64_t value, failed = 0;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++)
		failed += guestmem_read64(self, gpas[i], &value) < 0;
	return failed;
}

const struct contestant ours = {
	.name = "guestmem",
	.open = ours_open,
	.close = ours_close,
	.op = {
		[OP_TRANSLATE] = translate,
		[OP_CHASE] = chase,
		[OP_READ8] = read8,
		[OP_WRITE8] = write8,
		[OP_READ] = copy_out,
		[OP_WRITE] = copy_in,
		[OP_HOLD] = hold,
		[OP_HARVEST] = harvest,
		[OP_HOLE] = hole,
	},
};
