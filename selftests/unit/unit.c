// SPDX-License-Identifier: GPL-2.0-only
/* Tests of the module's kernel-free files, natively: ranges, runs, the table. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "range.h"
#include "runs.h"
#include "table.h"

#define NPAGES	4096
#define NREGIONS 64

static u64 seed;

static u64 random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void range_last(void **state)
{
	u64 last;

	(void)state;
	assert_true(gm_range_last(0x1000, 0x1000, &last));
	assert_int_equal(last, 0x1fff);
	assert_true(gm_range_last(UINT64_MAX, 1, &last));
	assert_int_equal(last, UINT64_MAX);
	assert_true(gm_range_last(1, UINT64_MAX, &last));
	assert_int_equal(last, UINT64_MAX);
	assert_false(gm_range_last(2, UINT64_MAX, &last));
	assert_false(gm_range_last(UINT64_MAX, 2, &last));
}

static void ranges_overlap(void **state)
{
	(void)state;
	assert_true(gm_ranges_overlap(0, 9, 9, 20));
	assert_true(gm_ranges_overlap(5, 6, 0, UINT64_MAX));
	assert_false(gm_ranges_overlap(0, 9, 10, 20));
	assert_false(gm_ranges_overlap(10, 20, 0, 9));
	assert_true(gm_ranges_overlap(UINT64_MAX, UINT64_MAX, 0, UINT64_MAX));
}

static void runs_coalesce(void **state)
{
	struct gm_run run[2];
	struct gm_runs runs = { .run = run, .capacity = 2 };

	(void)state;
	assert_int_equal(gm_runs_npages(&runs), 0);
	assert_true(gm_runs_append(&runs, 100, 1));
	assert_true(gm_runs_append(&runs, 101, 511));
	assert_int_equal(runs.nruns, 1);
	assert_true(gm_runs_append(&runs, 99, 1));	/* below is not behind */
	assert_int_equal(runs.nruns, 2);
	assert_true(gm_runs_append(&runs, 100, 3));
	assert_int_equal(runs.nruns, 2);
	assert_false(gm_runs_append(&runs, 7, 1));	/* full, and unchanged */
	assert_int_equal(gm_runs_npages(&runs), 516);
	assert_int_equal(run[1].index, 512);
	assert_int_equal(run[1].npages, 4);
}

/* Pages in every kind of disorder, against a plain array of them. */
static void runs_model(void **state)
{
	static u64 model[NPAGES];
	static struct gm_run run[NPAGES];
	int round;

	(void)state;
	for (round = 0; round < 500; round++) {
		struct gm_runs runs = { .run = run, .capacity = NPAGES };
		u32 npages = 1 + random64() % NPAGES, i, hint = 0, runs_needed = 0;
		u64 pfn = random64() >> 20;

		for (i = 0; i < npages; i++) {
			if (random64() % 8 < (u64)round % 9)
				pfn = random64() >> 20;
			model[i] = pfn;
			if (!i || model[i] != model[i - 1] + 1)
				runs_needed++;
			assert_true(gm_runs_append(&runs, pfn++, 1));
		}
		assert_int_equal(runs.nruns, runs_needed);
		assert_int_equal(gm_runs_npages(&runs), npages);
		for (i = 0; i < npages; i++) {
			u32 index = random64() % 2 ? i : random64() % npages;

			hint = gm_runs_find(&runs, index, random64() % 4 ? hint : random64());
			assert_true(index >= run[hint].index);
			assert_true(index - run[hint].index < run[hint].npages);
			assert_int_equal(run[hint].pfn + (index - run[hint].index), model[index]);
		}
	}
}

static struct guestmem_table *new_table(void)
{
	struct guestmem_table *table;

	table = calloc(1, sizeof(*table) + NREGIONS * sizeof(struct guestmem_table_entry));
	assert_non_null(table);
	gm_table_init(table, NREGIONS);
	return table;
}

static void write_table(struct guestmem_table *table, u32 seq)
{
	u32 n = seq % NREGIONS, i;

	gm_table_begin(table, seq);
	for (i = 0; i < n; i++) {
		struct guestmem_table_entry entry = {
			.gpa = (u64)i << 12, .len = seq, .id = seq, .flags = seq,
			.generation = seq,
		};

		gm_table_set(table, i, &entry);
	}
	gm_table_end(table, seq, n, seq);
}

static void table_layout(void **state)
{
	struct guestmem_table *table = new_table();
	struct guestmem_table_entry *entry;

	(void)state;
	write_table(table, 5);
	assert_memory_equal(&table->magic, "guestmem", 8);
	assert_int_equal(table->version, GUESTMEM_TABLE_VERSION);
	assert_int_equal(table->seq, 12);
	assert_int_equal(table->nentries, 5);
	assert_int_equal(table->generation, 5);
	entry = (void *)((char *)table + table->header_size + 4 * table->entry_size);
	assert_int_equal(entry->gpa, 0x4000);
	assert_int_equal(entry->id, 5);
	free(table);
}

struct reader {
	struct guestmem_table *table;
	unsigned long good;
	bool torn;
};

static bool stop;

/* Reads as the uAPI says; what it accepts must be of one update. */
static void *read_table(void *arg)
{
	struct reader *reader = arg;
	struct guestmem_table *table = reader->table;
	struct guestmem_table_entry *entry;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		u32 seq = __atomic_load_n(&table->seq, __ATOMIC_ACQUIRE), n, i;
		u64 generation;
		bool same = true;

		if (seq & 1)
			continue;
		n = READ_ONCE(table->nentries);
		generation = READ_ONCE(table->generation);
		for (i = 0; i < n; i++) {
			entry = gm_table_entry(table, i);
			same &= READ_ONCE(entry->len) == generation;
			same &= READ_ONCE(entry->id) == (u32)generation;
			same &= READ_ONCE(entry->generation) == generation;
		}
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (READ_ONCE(table->seq) != seq)
			continue;
		reader->torn |= !same || n != generation % NREGIONS || seq != 2 * generation + 2;
		reader->good++;
	}
	return NULL;
}

static void table_readers(void **state)
{
	struct reader reader = { .table = new_table() };
	pthread_t thread;
	u32 seq;

	(void)state;
	write_table(reader.table, 0);
	assert_int_equal(pthread_create(&thread, NULL, read_table, &reader), 0);
	for (seq = 1; seq < 200000; seq++) {
		struct timespec pause = { .tv_nsec = 1000 };

		write_table(reader.table, seq);
		if (seq % 64 == 0)
			nanosleep(&pause, NULL);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(reader.torn);
	assert_true(reader.good > 0);
	free(reader.table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(range_last),
		cmocka_unit_test(ranges_overlap),
		cmocka_unit_test(runs_coalesce),
		cmocka_unit_test(runs_model),
		cmocka_unit_test(table_layout),
		cmocka_unit_test(table_readers),
	};
	const char *given = getenv("SEED");

	seed = given ? strtoull(given, NULL, 0) : (u64)time(NULL) * 0x9e3779b97f4a7c15 | 1;
	printf("SEED=%#llx\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
