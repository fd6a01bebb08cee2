// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* A shared object with accesses of its own compiled into it, for recover.c to load. */
#include "guestmem.h"

GUESTMEM_API int plugin_read64(struct guestmem *g, uint64_t gpa, uint64_t *value);
GUESTMEM_API uintptr_t plugin_insn(void);
GUESTMEM_API struct guestmem *plugin_guest(void);
GUESTMEM_API int plugin_fault(int sig, const void *info, void *ucontext);

int plugin_read64(struct guestmem *g, uint64_t gpa, uint64_t *value)
{
	return guestmem_read64(g, gpa, value);
}

/* Where its first instruction is that may fault; 0 if it has none (not optimized). */
uintptr_t plugin_insn(void)
{
	if (&guestmem_ex_start_[0] == &guestmem_ex_end_[0])
		return 0;
	return (uintptr_t)guestmem_ex_start_ +
	       (uintptr_t)*(const int32_t *)(const void *)guestmem_ex_start_;
}

/* For who does not have the library. */
struct guestmem *plugin_guest(void)
{
	return guestmem_create(1 << 21);
}

int plugin_fault(int sig, const void *info, void *ucontext)
{
	return guestmem_handle_fault(sig, info, ucontext);
}
