/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ranges. The ABI says (start, len), the module (start, last): a range can end at
 * the last address there is, where start + len is 0. The conversion is made once,
 * here, and nothing else in the module adds a length to an address unchecked.
 */
#ifndef _GUESTMEM_RANGE_H
#define _GUESTMEM_RANGE_H

#ifdef __KERNEL__
#include <linux/overflow.h>
#include <linux/types.h>
#else
#include "shim.h"
#endif

/**
 * gm_range_last - last address of a range
 * @start: first address
 * @len: bytes, not 0
 * @last: the result
 *
 * Return: false if the range goes beyond the end of the address space.
 */
static inline bool gm_range_last(u64 start, u64 len, u64 *last)
{
	return !check_add_overflow(start, len - 1, last);
}

static inline bool gm_ranges_overlap(u64 start1, u64 last1, u64 start2, u64 last2)
{
	return start1 <= last2 && start2 <= last1;
}

#endif /* _GUESTMEM_RANGE_H */
