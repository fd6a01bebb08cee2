// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * The regions, without a lock and without a system call.
 *
 * - There is one struct guestmem_table for a space: the kernel's, which it shares for
 *   reading, or the library's own, written by the same protocol: the sequence number is
 *   odd while it is changed. One reader's code does for both.
 * - The kernel's is not believed more than it must be: what it says is bounded by what is
 *   mapped, its numbers only become addresses inside the window, a sequence number that
 *   stays odd or changes all the time is given up on, and a fault is recovered from.
 * - The slots are a cache of the table: for each 2 MiB of the window one word that is
 *   whole by itself (struct guestmem_fast_ says what is in it). They are good while the
 *   table has the sequence number they were made from. For the library's own table that
 *   is kept so by who writes it; for the kernel's, by the first reader who sees a new one
 *   and gets the mutex. A reader that does not, or whose address is of a region that does
 *   not have the slot's first byte, searches the table.
 * - A word may change while it is used, and then says what was so a moment ago: as
 *   everything here, a hint.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"
#include "recover.h"

/* Of a table that changes all the time; some microseconds. */
#define MAX_TRIES	1000

struct snapshot {
	const char *entries;
	uint32_t stride;
	uint32_t n;
	uint32_t seq;
	uint64_t generation;
};

static bool load32(const void *ptr, uint32_t *value)
{
	if (!recover_declined())
		return try_load32(ptr, value);
	*value = *(const volatile uint32_t *)ptr;
	return true;
}

static bool load64(const void *ptr, uint64_t *value)
{
	if (!recover_declined())
		return try_load64(ptr, value);
	*value = *(const volatile uint64_t *)ptr;
	return true;
}

/* The head of a table that is not being changed. False: ask otherwise. */
static bool begin(const struct space *s, struct snapshot *snap, unsigned int *tries)
{
	const struct guestmem_table *t = s->table;
	uint32_t version, header, capacity;
	uint64_t magic;

	if (!t)
		return false;
	for (;; cpu_relax()) {
		if (++*tries > MAX_TRIES || !load32(&t->seq, &snap->seq))
			return false;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(snap->seq & 1))
			break;
	}
	if (!load64(&t->magic, &magic) || magic != GUESTMEM_TABLE_MAGIC ||
	    !load32(&t->version, &version) || version != GUESTMEM_TABLE_VERSION ||
	    !load32(&t->header_size, &header) || header < sizeof(*t) || header % 8 ||
	    !load32(&t->entry_size, &snap->stride) || snap->stride % 8 ||
	    snap->stride < sizeof(struct guestmem_table_entry) ||
	    !load32(&t->capacity, &capacity) || !load32(&t->nentries, &snap->n) ||
	    !load64(&t->generation, &snap->generation))
		return false;
	if (snap->n > capacity || header > s->table_len ||
	    (uint64_t)capacity * snap->stride > s->table_len - header)
		return false;
	snap->entries = (const char *)t + header;
	return true;
}

/* Whether nothing has changed since begin(). */
static bool end(const struct space *s, const struct snapshot *snap)
{
	uint32_t seq;

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return load32(&s->table->seq, &seq) && seq == snap->seq;
}

static bool entry_at(const struct snapshot *snap, uint32_t i,
		     struct guestmem_table_entry *entry)
{
	const struct guestmem_table_entry *e =
		(const void *)(snap->entries + (size_t)i * snap->stride);
	uint64_t gpa, len, generation;

	if (!load64(&e->gpa, &gpa) || !load64(&e->len, &len) || !load32(&e->id, &entry->id) ||
	    !load32(&e->flags, &entry->flags) || !load64(&e->generation, &generation))
		return false;
	entry->gpa = gpa;
	entry->len = len;
	entry->generation = generation;
	return len && !range_wraps(gpa, len);
}

static uint64_t entry_last(const struct guestmem_table_entry *entry)
{
	return entry->gpa + (entry->len - 1);
}

int table_next(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry)
{
	unsigned int tries = 0;
	struct snapshot snap;
	uint32_t low, high, mid;
	bool good;

	do {
		if (!begin(s, &snap, &tries))
			return -ENODATA;
		low = 0;
		high = snap.n;
		good = true;
		/* The first entry that does not end before @gpa is at low. */
		while (low < high) {
			mid = low + (high - low) / 2;
			good = entry_at(&snap, mid, entry);
			if (!good)
				break;
			if (entry_last(entry) < gpa)
				low = mid + 1;
			else
				high = mid;
		}
		if (good && low < snap.n)
			good = entry_at(&snap, low, entry);
	} while (!end(s, &snap) && tries < MAX_TRIES);
	if (!good || tries >= MAX_TRIES)
		return -ENODATA;
	return low < snap.n && entry_last(entry) >= gpa ? 0 : -ENXIO;
}

int table_find(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry)
{
	int ret = table_next(s, gpa, entry);

	return !ret && entry->gpa > gpa ? -ENXIO : ret;
}

uint64_t table_generation(struct space *s)
{
	unsigned int tries = 0;
	struct snapshot snap;

	do {
		if (!begin(s, &snap, &tries))
			return 0;
	} while (!end(s, &snap));
	return snap.generation;
}

/* As the kernel's of MAX_REGIONS, in memory of our own. */
int table_create(struct space *s)
{
	struct guestmem_table *t;

	s->table_len = sizeof(*t) + MAX_REGIONS * sizeof(struct guestmem_table_entry);
	t = mmap(NULL, s->table_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return -ENOMEM;
	t->magic = GUESTMEM_TABLE_MAGIC;
	t->version = GUESTMEM_TABLE_VERSION;
	t->entry_size = sizeof(struct guestmem_table_entry);
	t->header_size = sizeof(*t);
	t->capacity = MAX_REGIONS;
	t->generation = 1;
	s->table = t;
	return 0;
}

void table_destroy(struct space *s)
{
	if (s->slots) {
		munmap(s->slots, s->nslots * sizeof(*s->slots));
		munmap(s->slot_ids, s->nslots * sizeof(*s->slot_ids));
	}
	if (s->table)
		munmap(s->table, s->table_len);
}

void slots_create(struct space *s)
{
	uint64_t n = s->window_len >> SLOT_SHIFT;
	void *p;

	if (!s->window || !s->table || !n)
		return;
	s->slot_ids = mmap(NULL, n * sizeof(*s->slot_ids), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->slot_ids == MAP_FAILED)
		return;
	p = mmap(NULL, n * sizeof(*s->slots), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		munmap(s->slot_ids, n * sizeof(*s->slot_ids));
		return;
	}
	s->slots = p;
	s->nslots = n;
	s->slots_seq = UINT32_MAX;	/* odd: of no table */
}

static void slot_set(struct space *s, uint64_t i, uint64_t end, uint32_t id)
{
	__atomic_store_n(&s->slots[i], end, __ATOMIC_RELAXED);
	/* Who finds the number finds the region that it was given to. */
	__atomic_store_n(&s->slot_ids[i], id, __ATOMIC_RELEASE);
}

static void slots_clear(struct space *s, uint64_t i, uint64_t to)
{
	for (; i < to; i++)
		if (s->slots[i])
			slot_set(s, i, 0, 0);
}

/* Each of them is set, as there is no telling what was removed. */
static void slots_fill(struct space *s, const struct guestmem_table_entry *e, size_t n)
{
	const uint64_t slot = (uint64_t)1 << SLOT_SHIFT;
	uint64_t i = 0, first, end;
	size_t k;

	for (k = 0; k < n && e[k].gpa < s->window_len; k++) {
		end = e[k].gpa + in_window(s, e[k].gpa, e[k].len);
		first = (e[k].gpa + slot - 1) >> SLOT_SHIFT;
		slots_clear(s, i, first);
		for (i = first; i < s->nslots && i << SLOT_SHIFT < end; i++)
			slot_set(s, i, end, e[k].id);
	}
	slots_clear(s, i, s->slots_end);
	s->slots_end = i;
}

/* The mutex is held. */
static void slots_good(struct space *s, uint32_t seq)
{
	struct guestmem *g;

	__atomic_store_n(&s->slots_seq, seq, __ATOMIC_RELAXED);
	for (g = s->handles; g; g = g->next)
		__atomic_store_n(&g->fast.slots_seq, seq, __ATOMIC_RELEASE);
}

void slots_refresh(struct space *s)
{
	struct guestmem_table_entry *entries;
	unsigned int tries = 0;
	struct snapshot snap;
	bool good = true;
	uint32_t i;

	if (!s->slots || pthread_mutex_trylock(&s->mutex))
		return;
	if (!begin(s, &snap, &tries) || snap.seq == s->slots_seq)
		goto unlock;
	entries = malloc((snap.n + 1) * sizeof(*entries));
	if (!entries)
		goto unlock;
	for (i = 0; good && i < snap.n; i++)
		good = entry_at(&snap, i, &entries[i]) &&
		       (!i || entries[i].gpa > entry_last(&entries[i - 1]));
	if (good && end(s, &snap)) {
		slots_fill(s, entries, snap.n);
		slots_good(s, snap.seq);
	}
	free(entries);
unlock:
	pthread_mutex_unlock(&s->mutex);
}

void table_update(struct space *s, const struct guestmem_table_entry *entries, size_t n)
{
	struct guestmem_table *t = s->table;
	struct guestmem_table_entry *e = (void *)(t + 1);
	uint32_t seq = t->seq;
	size_t i;

	__atomic_store_n(&t->seq, seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (i = 0; i < n; i++) {
		__atomic_store_n(&e[i].gpa, entries[i].gpa, __ATOMIC_RELAXED);
		__atomic_store_n(&e[i].len, entries[i].len, __ATOMIC_RELAXED);
		__atomic_store_n(&e[i].id, entries[i].id, __ATOMIC_RELAXED);
		__atomic_store_n(&e[i].flags, entries[i].flags, __ATOMIC_RELAXED);
		__atomic_store_n(&e[i].generation, entries[i].generation, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&t->nentries, (uint32_t)n, __ATOMIC_RELAXED);
	__atomic_store_n(&t->generation, t->generation + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&t->seq, seq + 2, __ATOMIC_RELEASE);
	if (!s->slots)
		return;
	pthread_mutex_lock(&s->mutex);
	slots_fill(s, entries, n);
	slots_good(s, seq + 2);
	pthread_mutex_unlock(&s->mutex);
}
