/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel-free files of the module need of the kernel, for user space. */
#ifndef _SHIM_H
#define _SHIM_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define check_add_overflow(a, b, sum) __builtin_add_overflow(a, b, sum)

#define WRITE_ONCE(x, value) __atomic_store_n(&(x), value, __ATOMIC_RELAXED)
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

#endif /* _SHIM_H */
