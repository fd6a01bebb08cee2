// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is checked in more than one place, with one answer.
 */
#include "guestmem_private.h"

/**
 * gm_check_range - make a range of what the caller gave
 * @gpa: first address
 * @len: bytes
 * @last: the last address
 * @err: why not
 *
 * Return: 0, -EINVAL if it is empty, -EOVERFLOW if it wraps.
 */
int gm_check_range(u64 gpa, u64 len, u64 *last, struct guestmem_error *err)
{
	if (!len)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_EMPTY, gpa, 1, 0);
	if (!gm_range_last(gpa, len, last))
		return gm_fail(err, -EOVERFLOW, GUESTMEM_REASON_WRAPS, gpa, len, U64_MAX);
	return 0;
}

/**
 * gm_check_right - may this be done?
 * @rights: GUESTMEM_RIGHT_* that there are
 * @need: those that it takes
 * @err: why not
 *
 * Return: 0 or -EACCES.
 */
int gm_check_right(u32 rights, u32 need, struct guestmem_error *err)
{
	if ((rights & need) != need)
		return gm_fail(err, -EACCES, GUESTMEM_REASON_RIGHT, 0, need, rights);
	return 0;
}
