// SPDX-License-Identifier: GPL-2.0-only
/*
 * The translation table, as the module writes it, against what a reader of another
 * language would take from its bytes by the description in the ABI's header. The input
 * gives the number of entries of each update, and what is in them.
 */
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define CAPACITY	32

static u64 field(const void *table, size_t offset, size_t width)
{
	u64 value = 0;

	memcpy(&value, (const char *)table + offset, width);
	return value;
}

static void check_entries(const void *table, const struct guestmem_table_entry *model, u32 n)
{
	size_t entry_size = field(table, 12, 4), first = field(table, 28, 4), at;
	u32 i;

	for (i = 0; i < n; i++) {
		at = first + i * entry_size;
		if (field(table, at, 8) != model[i].gpa ||
		    field(table, at + 8, 8) != model[i].len ||
		    field(table, at + 16, 4) != model[i].id ||
		    field(table, at + 20, 4) != model[i].flags ||
		    field(table, at + 24, 8) != model[i].generation)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guestmem_table_entry model[CAPACITY] = { 0 };
	const size_t len = sizeof(struct guestmem_table) + sizeof(model);
	struct guestmem_table *table = calloc(1, len);
	u32 seq = 0, n, i;

	gm_table_init(table, CAPACITY);
	while (size > 0) {
		n = data[0] % (CAPACITY + 1);
		data++;
		size--;
		if (size < n * sizeof(model[0]))
			break;
		memcpy(model, data, n * sizeof(model[0]));
		data += n * sizeof(model[0]);
		size -= n * sizeof(model[0]);

		gm_table_begin(table, seq);
		for (i = 0; i < n; i++) {
			/* A reader that looks now must see that it may not. */
			if (!(field(table, 24, 4) & 1))
				abort();
			gm_table_set(table, i, &model[i]);
		}
		gm_table_end(table, seq, n, model[0].gpa);
		seq++;
		if (memcmp(table, "guestmem", 8) || field(table, 8, 4) != GUESTMEM_TABLE_VERSION ||
		    field(table, 16, 4) != CAPACITY || field(table, 20, 4) != n ||
		    field(table, 24, 4) != (u32)(2 * seq) ||
		    field(table, 32, 8) != model[0].gpa)
			abort();
		check_entries(table, model, n);
	}
	free(table);
	return 0;
}
