// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs, against a plain array of page frames. The input is operations of 4 bytes: what,
 * how many pages, and two for where.
 */
#include <stdlib.h>
#include <string.h>

#include "runs.h"

#define NPAGES	1024
#define NRUNS	16

static u64 model[NPAGES];

static void check_find(const struct gm_runs *runs, u32 index, u32 hint)
{
	u32 found = gm_runs_find(runs, index, hint);
	const struct gm_run *run = &runs->run[found];

	if (found >= runs->nruns || index < run->index || index - run->index >= run->npages ||
	    run->pfn + (index - run->index) != model[index])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gm_run *run = malloc(NRUNS * sizeof(*run));
	struct gm_runs runs = { .run = run, .capacity = NRUNS };
	u32 npages = 0, nruns = 0, count, where, i;
	bool fits;
	u64 pfn;

	for (; size >= 4; data += 4, size -= 4) {
		count = 1 + data[1];
		where = data[2] | (u32)data[3] << 8;
		if (data[0] & 1) {
			if (npages)
				check_find(&runs, where % npages, data[0] & 2 ? data[1] : where);
			continue;
		}
		if (npages + count > NPAGES)
			break;
		/* Where the last pages end, right there again, or anywhere */
		pfn = npages && !(data[0] & 2) ? model[npages - 1] + !(data[0] & 4) :
						 (u64)where << (data[0] & 0x38);
		if (npages && pfn == model[npages - 1] + 1)
			i = nruns;
		else
			i = nruns + 1;
		fits = i <= NRUNS;
		if (gm_runs_append(&runs, pfn, count) != fits)
			abort();
		if (!fits)
			continue;
		nruns = i;
		for (i = 0; i < count; i++)
			model[npages++] = pfn + i;
		if (runs.nruns != nruns || gm_runs_npages(&runs) != npages)
			abort();
	}
	for (i = 0; i < npages; i++)
		check_find(&runs, i, size);
	free(run);
	return 0;
}
