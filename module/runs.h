/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GUESTMEM_RUNS_H
#define _GUESTMEM_RUNS_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
#else
#include "shim.h"
#endif

/**
 * struct gm_run - physically contiguous pages of a region
 * @pfn: first page frame
 * @index: where in the region it lies, in pages
 * @npages: how many
 */
struct gm_run {
	u64 pfn;
	u32 index;
	u32 npages;
};

/**
 * struct gm_runs - the pages of a region
 * @run: by @index, without gaps
 * @nruns: how many
 * @capacity: how many there is room for
 */
struct gm_runs {
	struct gm_run *run;
	u32 nruns;
	u32 capacity;
};

u32 gm_runs_npages(const struct gm_runs *runs);
bool gm_runs_append(struct gm_runs *runs, u64 pfn, u32 npages);
u32 gm_runs_find(const struct gm_runs *runs, u32 index, u32 hint);

#endif /* _GUESTMEM_RUNS_H */
