// SPDX-License-Identifier: GPL-2.0-only
/* The module's arithmetic on ranges, against the same with numbers that cannot wrap. */
#include <stdlib.h>
#include <string.h>

#include "range.h"

typedef unsigned __int128 u128;

static bool share_a_byte(u128 start1, u128 last1, u128 start2, u128 last2)
{
	u128 first = start1 > start2 ? start1 : start2;
	u128 end1 = last1 + 1, end2 = last2 + 1;

	return first < (end1 < end2 ? end1 : end2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	u64 given[4], last1, last2;
	bool fits1, fits2;

	if (size < sizeof(given))
		return 0;
	memcpy(given, data, sizeof(given));
	if (!given[1] || !given[3])
		return 0;
	fits1 = gm_range_last(given[0], given[1], &last1);
	fits2 = gm_range_last(given[2], given[3], &last2);
	if (fits1 != ((u128)given[0] + given[1] <= (u128)1 << 64))
		abort();
	if (fits1 && last1 - given[0] + 1 != given[1])
		abort();
	if (fits1 && fits2 && gm_ranges_overlap(given[0], last1, given[2], last2) !=
			      share_a_byte(given[0], last1, given[2], last2))
		abort();
	return 0;
}
