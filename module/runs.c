// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs: the pages of a region, as few numbers as their contiguity allows.
 *
 * Pages come in order of their index. Each either continues the last run or
 * starts a new one, so:
 *  - the runs are sorted by index and have no gap: run[i].index + run[i].npages
 *    is run[i + 1].index;
 *  - no two neighbours could be one: contiguity is found whatever the page size
 *    was, and the worst case is 16 bytes a page.
 * They never change once the region is published, so readers need no lock.
 *
 * Nothing here needs a kernel: the same file is tested and fuzzed in user space.
 */
#include "runs.h"

static_assert(sizeof(struct gm_run) == 16, "the worst case is 16 bytes a page");

/**
 * gm_runs_npages - how many pages there are
 * @runs: the runs
 *
 * Return: the number.
 */
u32 gm_runs_npages(const struct gm_runs *runs)
{
	const struct gm_run *tail;

	if (!runs->nruns)
		return 0;
	tail = &runs->run[runs->nruns - 1];
	return tail->index + tail->npages;
}

/**
 * gm_runs_append - add pages at the end
 * @runs: the runs
 * @pfn: first page frame
 * @npages: contiguous frames from there, not 0
 *
 * Return: false, with nothing changed, if it takes a new run and there is no room.
 */
bool gm_runs_append(struct gm_runs *runs, u64 pfn, u32 npages)
{
	struct gm_run *tail;

	if (runs->nruns) {
		tail = &runs->run[runs->nruns - 1];
		if (tail->pfn + tail->npages == pfn) {
			tail->npages += npages;
			return true;
		}
	}
	if (runs->nruns == runs->capacity)
		return false;
	runs->run[runs->nruns] = (struct gm_run) {
		.pfn = pfn,
		.index = gm_runs_npages(runs),
		.npages = npages,
	};
	runs->nruns++;
	return true;
}

static bool run_has(const struct gm_run *run, u32 index)
{
	return index - run->index < run->npages;
}

/**
 * gm_runs_find - the run that a page lies in
 * @runs: the runs
 * @index: the page; must be one of theirs
 * @hint: the run found last, or 0; walking upwards costs no search
 *
 * Return: index into @runs->run.
 */
u32 gm_runs_find(const struct gm_runs *runs, u32 index, u32 hint)
{
	u32 low = 0, high = runs->nruns - 1;

	if (hint <= high && run_has(&runs->run[hint], index))
		return hint;
	if (hint < high && run_has(&runs->run[hint + 1], index))
		return hint + 1;
	while (low < high) {
		u32 mid = low + (high - low + 1) / 2;

		if (runs->run[mid].index <= index)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}
