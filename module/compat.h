/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernels 6.1 and later do differently. The rest of the module is written
 * for the newest form; the features named here are all it may ask for.
 */
#ifndef _GUESTMEM_COMPAT_H
#define _GUESTMEM_COMPAT_H

#include <linux/dma-mapping.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "guestmem needs Linux 6.1 or later"
#endif
#ifndef CONFIG_64BIT
#error "guestmem needs a 64-bit kernel: it reaches all guest memory by the direct map"
#endif
#ifndef CONFIG_MMU_NOTIFIER
#error "guestmem needs CONFIG_MMU_NOTIFIER"
#endif

/*
 * Before 6.2 a read-only pin of a private mapping pins the zero page or the page
 * cache, and the process' first write leaves it behind.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define GUESTMEM_HAVE_PRIVATE_READONLY_PINS 1
#else
#define GUESTMEM_HAVE_PRIVATE_READONLY_PINS 0
#endif

/*
 * 2 MiB entries are possible earlier, but not marked special there: gup-fast
 * would pin through them, and what is pinned cannot be revoked.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && defined(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP)
#define GUESTMEM_HAVE_HUGE_PFNMAP 1
#include <linux/huge_mm.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#include <linux/pfn_t.h>
#define gm_insert_pmd(vmf, pfn, write) \
	vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV), write)
#else
#define gm_insert_pmd(vmf, pfn, write) vmf_insert_pfn_pmd(vmf, pfn, write)
#endif
#else
#define GUESTMEM_HAVE_HUGE_PFNMAP 0
#endif

/*
 * Where page tables are checked, a second writable entry for an anonymous page is a
 * BUG(), and that is what a mapping of a guest is.
 */
#ifdef CONFIG_PAGE_TABLE_CHECK
#include <linux/page_table_check.h>
#define gm_page_table_check() (!static_branch_likely(&page_table_check_disabled))
#else
#define gm_page_table_check() false
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

/* Before 6.5, FOLL_NOFAULT is ignored for hugetlb. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define GUESTMEM_HAVE_HUGETLB_NOFAULT 0
#else
#define GUESTMEM_HAVE_HUGETLB_NOFAULT 1
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define copy_splice_read generic_file_splice_read
#define gm_get_user_page(mm, addr, flags, page) \
	get_user_pages_remote(mm, addr, 1, flags, page, NULL, NULL)
#else
#define gm_get_user_page(mm, addr, flags, page) \
	get_user_pages_remote(mm, addr, 1, flags, page, NULL)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define gm_eventfd_signal(ctx) eventfd_signal(ctx, 1)
#else
#define gm_eventfd_signal(ctx) eventfd_signal(ctx)
#endif

/* Atomics of 16 bytes: from 6.5 a function on u128, before on two halves. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#if defined(system_has_cmpxchg128)
#define GUESTMEM_HAVE_CMPXCHG128 1
#define gm_cpu_has_cmpxchg128() system_has_cmpxchg128()
static inline bool gm_try_cmpxchg128(u128 *p, u128 *old, u128 new)
{
	u128 was = cmpxchg128(p, *old, new);
	bool ok = was == *old;

	*old = was;
	return ok;
}
#else
#define GUESTMEM_HAVE_CMPXCHG128 0
#define gm_cpu_has_cmpxchg128() false
#endif
#else
#if defined(CONFIG_HAVE_CMPXCHG_DOUBLE) && defined(__SIZEOF_INT128__)
typedef unsigned __int128 u128;
#define GUESTMEM_HAVE_CMPXCHG128 1
#define gm_cpu_has_cmpxchg128() system_has_cmpxchg_double()
/*
 * Tells only whether it fitted. Two loads are then good enough for the next
 * guess: if they tear, that guess does not fit either.
 */
static inline bool gm_try_cmpxchg128(u128 *p, u128 *old, u128 new)
{
	unsigned long *half = (unsigned long *)p;

	if (cmpxchg_double(half, half + 1, (unsigned long)*old, (unsigned long)(*old >> 64),
			   (unsigned long)new, (unsigned long)(new >> 64)))
		return true;
	*old = (u128)READ_ONCE(half[1]) << 64 | READ_ONCE(half[0]);
	return false;
}
#else
#define GUESTMEM_HAVE_CMPXCHG128 0
#define gm_cpu_has_cmpxchg128() false
#endif
#endif

#endif /* _GUESTMEM_COMPAT_H */
