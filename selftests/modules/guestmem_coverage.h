/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included in front of each file of modules that are built with coverage: see
 * vm/modules --coverage, and guestmem_coverage.c.
 *
 * The compiler calls __sanitizer_cov_trace_pc() in each basic block. A kernel with KCOV
 * has a function of that name, which sees system calls of one task only; so it is given
 * another name here.
 */
#ifndef _GUESTMEM_COVERAGE_H
#define _GUESTMEM_COVERAGE_H

asm(".set __sanitizer_cov_trace_pc, guestmem_coverage_pc");

void guestmem_coverage_pc(void);

#endif /* _GUESTMEM_COVERAGE_H */
