// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * What was written: a bit for each granule of the window.
 *
 * - A bit is set after the write it is for: one that is set before could be taken, and
 *   what it is for be copied, before the write is there.
 * - A bit that is set already is not set again. That looks at it after the write in
 *   program order, but the CPU may look first: it may see a bit that somebody then takes,
 *   who copies memory without the write, which would be lost. So who takes bits makes
 *   every thread of the process pass a memory barrier, by membarrier(2), between clearing
 *   them and copying: the writes of all who saw them set are there then. It is only paid
 *   for when there was a bit.
 * - For the same reason, who starts it makes all pass one: writes that begin after it has
 *   returned find the bitmap.
 * - A bitmap that was stopped stays mapped until the space goes, since a write may still
 *   be about to mark it; but for its first page, its memory is given back. There can be
 *   one of another granule beside it: each has its granule in it, so that no write ever
 *   takes one's for the other.
 */
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#define MIN_GRANULE	64
#define MAX_GRANULE	((uint64_t)1 << 30)

static int barrier_command(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

static void set_bits(uint64_t *word, uint64_t mask)
{
	if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) != mask)
		__atomic_or_fetch(word, mask, __ATOMIC_RELEASE);
}

/* The bits of word @i among those from @first to @last. */
static uint64_t mask_in(uint64_t i, uint64_t first, uint64_t last)
{
	uint64_t mask = UINT64_MAX;

	if (i == first / 64)
		mask &= UINT64_MAX << first % 64;
	if (i == last / 64)
		mask &= UINT64_MAX >> (63 - last % 64);
	return mask;
}

void dirty_mark(struct space *s, uint64_t gpa, uint64_t len)
{
	uint64_t *words = __atomic_load_n(&s->dirty.words, __ATOMIC_ACQUIRE);
	uint64_t first, last, i;

	len = in_window(s, gpa, len);
	if (!words || !len)
		return;
	first = gpa >> words[0];
	last = (gpa + len - 1) >> words[0];
	for (i = first / 64; i <= last / 64; i++)
		set_bits(&words[1 + i], mask_in(i, first, last));
}

void guestmem_dirty_slow_(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	dirty_mark(g->space, gpa + g->fast.offset, len);
}

void guestmem_dirty_mark(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	if (!g || g->magic != HANDLE_OPEN || !len || gpa > g->last)
		return;
	if (len - 1 > g->last - gpa)
		len = g->last - gpa + 1;
	dirty_mark(g->space, gpa + g->fast.offset, len);
}

/* The mutex is held. */
static void tell_handles(struct space *s)
{
	struct guestmem *g;

	for (g = s->handles; g; g = g->next)
		__atomic_store_n(&g->fast.dirty, s->dirty.words, __ATOMIC_RELEASE);
}

/* All clear. Writes that have not yet heard of its end may mark it meanwhile. */
static void bitmap_clear(struct bitmap *b)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), i;

	for (i = 1; i < page / 8; i++)
		__atomic_store_n(&b->words[i], 0, __ATOMIC_RELAXED);
	if (b->len > page)
		madvise((char *)b->words + page, b->len - page, MADV_DONTNEED);
}

/* One of this granule that was stopped, or a new one. The mutex is held. */
static struct bitmap *bitmap_get(struct space *s, uint64_t shift)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct bitmap *b;

	for (b = s->dirty.bitmaps; b; b = b->next) {
		if (b->words[0] == shift)
			return b;
	}
	b = malloc(sizeof(*b));
	if (!b)
		return NULL;
	b->len = (((s->window_len - 1) >> shift) / 64 + 2) * 8;
	b->len = (b->len + page - 1) / page * page;
	b->words = mmap(NULL, b->len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->words == MAP_FAILED) {
		free(b);
		return NULL;
	}
	b->words[0] = shift;
	b->next = s->dirty.bitmaps;
	s->dirty.bitmaps = b;
	return b;
}

int guestmem_dirty_start(struct guestmem *g, uint64_t granule)
{
	int ret = handle_check(g, OP_DIRTY_START);
	struct bitmap *b;
	struct space *s;

	if (ret < 0)
		return ret;
	s = g->space;
	if (granule < MIN_GRANULE || granule > MAX_GRANULE || (granule & (granule - 1)))
		return fail(OP_DIRTY_START, EINVAL,
			    "the granule is no power of two from 64 to 2^30");
	if (!s->window)
		return fail(OP_DIRTY_START, EOPNOTSUPP, "the guest is not mapped in this process");
	if (barrier_command(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0)
		return fail(OP_DIRTY_START, EOPNOTSUPP, "the kernel has no membarrier(2)");
	pthread_mutex_lock(&s->mutex);
	if (s->dirty.words) {
		ret = -EBUSY;
		goto unlock;
	}
	b = bitmap_get(s, (uint64_t)__builtin_ctzll(granule));
	if (!b) {
		ret = -ENOMEM;
		goto unlock;
	}
	bitmap_clear(b);
	__atomic_store_n(&s->dirty.words, b->words, __ATOMIC_RELEASE);
	tell_handles(s);
	barrier_command(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
unlock:
	pthread_mutex_unlock(&s->mutex);
	/* Not under the mutex: who hears of it may call us. */
	return ret ? fail(OP_DIRTY_START, -ret, ret == -EBUSY ? "it has been started" : NULL) : 0;
}

int guestmem_dirty_stop(struct guestmem *g)
{
	int ret = handle_check(g, OP_DIRTY_STOP);
	struct bitmap *b;
	struct space *s;

	if (ret < 0)
		return ret;
	s = g->space;
	pthread_mutex_lock(&s->mutex);
	if (!s->dirty.words) {
		ret = -ENOENT;
		goto unlock;
	}
	__atomic_store_n(&s->dirty.words, NULL, __ATOMIC_RELEASE);
	for (b = s->dirty.bitmaps; b; b = b->next)
		bitmap_clear(b);
	tell_handles(s);
unlock:
	pthread_mutex_unlock(&s->mutex);
	return ret ? fail(OP_DIRTY_STOP, -ret, "it was not started") : 0;
}

void dirty_destroy(struct space *s)
{
	struct bitmap *b;

	while ((b = s->dirty.bitmaps)) {
		s->dirty.bitmaps = b->next;
		munmap(b->words, b->len);
		free(b);
	}
}

/* Of word @i, the bits in @mask; cleared if @take. */
static uint64_t harvest(uint64_t *bits, uint64_t i, uint64_t mask, bool take)
{
	uint64_t got = __atomic_load_n(&bits[i], __ATOMIC_RELAXED) & mask;

	if (!got || !take)
		return got;
	if (mask == UINT64_MAX)
		return __atomic_exchange_n(&bits[i], 0, __ATOMIC_ACQ_REL);
	return __atomic_fetch_and(&bits[i], ~mask, __ATOMIC_ACQ_REL) & mask;
}

/* Most are clear; and if they are, that is all there is to do. */
static bool none_of_8(const uint64_t *words)
{
	uint64_t any = 0;
	int i;

	for (i = 0; i < 8; i++)
		any |= __atomic_load_n(&words[i], __ATOMIC_RELAXED);
	return !any;
}

static ssize_t collect(struct guestmem *g, uint64_t gpa, uint64_t len, uint64_t *bitmap,
		       size_t nwords, bool take)
{
	uint64_t first, last, i, need, got, *words, abs;
	struct guestmem_error e = { 0 };
	struct space *s;
	ssize_t n = 0;
	unsigned int shift;
	int ret;

	ret = handle_range(g, OP_DIRTY, gpa, len, &abs);
	if (ret < 0)
		return ret;
	s = g->space;
	if (!bitmap && nwords)
		return fail_null(OP_DIRTY, "no place for the bits was given");
	words = __atomic_load_n(&s->dirty.words, __ATOMIC_ACQUIRE);
	if (!words)
		return fail(OP_DIRTY, ENOENT, "guestmem_dirty_start() was not called");
	if (!len)
		return 0;
	if (in_window(s, abs, len) < len) {
		e.reason = GUESTMEM_REASON_HOLE;
		e.addr = gpa + in_window(s, abs, len);
		return fail_reason(OP_DIRTY, ENXIO, &e);
	}
	first = abs >> words[0];
	last = (abs + len - 1) >> words[0];
	need = (last - first) / 64 + 1;
	if (nwords < need || !bitmap) {
		e.reason = GUESTMEM_REASON_OUTPUT;
		e.need = need;
		e.limit = nwords;
		return fail_reason(OP_DIRTY, EMSGSIZE, &e);
	}
	shift = first % 64;
	memset(bitmap, 0, need * sizeof(*bitmap));
	/* A word of ours is of up to two there. */
	for (i = first / 64; i <= last / 64; i++) {
		while (last / 64 - i >= 8 && none_of_8(&words[1 + i]))
			i += 8;
		got = harvest(words + 1, i, mask_in(i, first, last), take);
		if (!got)
			continue;
		n += __builtin_popcountll(got);
		if (i > first / 64 && shift)
			bitmap[i - first / 64 - 1] |= got << (64 - shift);
		if (i - first / 64 < need)
			bitmap[i - first / 64] |= got >> shift;
	}
	if (n && take)
		barrier_command(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	return n;
}

ssize_t guestmem_dirty_peek(struct guestmem *g, uint64_t gpa, uint64_t len, uint64_t *bitmap,
			    size_t nwords)
{
	return collect(g, gpa, len, bitmap, nwords, false);
}

ssize_t guestmem_dirty_take(struct guestmem *g, uint64_t gpa, uint64_t len, uint64_t *bitmap,
			    size_t nwords)
{
	return collect(g, gpa, len, bitmap, nwords, true);
}
