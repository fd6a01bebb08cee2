// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whose turn it is to fail: one step, in whatever context it comes. Only tests load a
 * module that has this, and they wait for what they began before they order the next.
 */
#include <linux/moduleparam.h>

#include "guestmem_private.h"

static int gm_fail_nth;
module_param_named(fail_nth, gm_fail_nth, int, 0600);
MODULE_PARM_DESC(fail_nth, "the n-th step from now on that can fail does; 0 once it has");

/**
 * gm_fail_step - count a step that can fail
 *
 * Return: whether it must.
 */
bool gm_fail_step(void)
{
	int n = READ_ONCE(gm_fail_nth);

	do {
		if (n <= 0)
			return false;
	} while (!try_cmpxchg(&gm_fail_nth, &n, n - 1));
	return n == 1;
}
