/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures to order, for tests: in a module that was built with GUESTMEM_FAIL_NTH=y,
 * and in no other, the n-th step that can fail does so. See selftests/failnth.c.
 *
 * Each function of the kernel's that can fail, or do less than it was asked for, and
 * that the module calls, has an entry here. So the module's own code knows nothing of
 * it, and a call that is new is swept if it is of one of these; else it adds an entry.
 *
 * Left out is what can be made to fail from outside (a bad descriptor, address, VMA, a
 * process that has ended), and what nobody could do anything about: a file that is missing
 * in debugfs, a mapping that the caller keeps (vm_munmap()).
 */
#ifndef _GUESTMEM_FAIL_H
#define _GUESTMEM_FAIL_H

#ifdef GUESTMEM_FAIL_NTH

#include <linux/anon_inodes.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

bool gm_fail_step(void);

/* What @call returns, or @failed if it is this step's turn. */
#define GM_FAIL(type, name, proto, failed, call)				\
static inline type gm_fail_##name proto						\
{										\
	return gm_fail_step() ? (failed) : (call);				\
}

/* Memory */
static inline void *gm_fail_kzalloc(size_t size, gfp_t gfp)
{
	return !(gfp & __GFP_NOFAIL) && gm_fail_step() ? NULL : kzalloc(size, gfp);
}

#undef kzalloc
#define kzalloc(...) gm_fail_kzalloc(__VA_ARGS__)

GM_FAIL(void *, kvmalloc, (size_t size, gfp_t gfp), NULL, kvmalloc(size, gfp))
#undef kvmalloc
#define kvmalloc(...) gm_fail_kvmalloc(__VA_ARGS__)

GM_FAIL(void *, kvzalloc, (size_t size, gfp_t gfp), NULL, kvzalloc(size, gfp))
#undef kvzalloc
#define kvzalloc(...) gm_fail_kvzalloc(__VA_ARGS__)

GM_FAIL(void *, kvmalloc_array, (size_t n, size_t size, gfp_t gfp), NULL,
	kvmalloc_array(n, size, gfp))
#undef kvmalloc_array
#define kvmalloc_array(...) gm_fail_kvmalloc_array(__VA_ARGS__)

GM_FAIL(void *, kvcalloc, (size_t n, size_t size, gfp_t gfp), NULL, kvcalloc(n, size, gfp))
#undef kvcalloc
#define kvcalloc(...) gm_fail_kvcalloc(__VA_ARGS__)

GM_FAIL(void *, kmem_cache_alloc, (struct kmem_cache *cache, gfp_t gfp), NULL,
	kmem_cache_alloc(cache, gfp))
#undef kmem_cache_alloc
#define kmem_cache_alloc(...) gm_fail_kmem_cache_alloc(__VA_ARGS__)

GM_FAIL(void *, vmalloc, (unsigned long size, gfp_t gfp), NULL, __vmalloc(size, gfp))
#undef __vmalloc
#define __vmalloc(...) gm_fail_vmalloc(__VA_ARGS__)

GM_FAIL(int, sg_alloc_table, (struct sg_table *sgt, unsigned int n, gfp_t gfp), -ENOMEM,
	sg_alloc_table(sgt, n, gfp))
#define sg_alloc_table(...) gm_fail_sg_alloc_table(__VA_ARGS__)

GM_FAIL(int, dma_map_sgtable,
	(struct device *dev, struct sg_table *sgt, enum dma_data_direction dir,
	 unsigned long attrs), -ENOMEM, dma_map_sgtable(dev, sgt, dir, attrs))
#define dma_map_sgtable(...) gm_fail_dma_map_sgtable(__VA_ARGS__)

/* An address that the device does not see as what was mapped: as with a bounce buffer. */
GM_FAIL(phys_addr_t, iommu_iova_to_phys, (struct iommu_domain *domain, dma_addr_t iova), 0,
	iommu_iova_to_phys(domain, iova))
#define iommu_iova_to_phys(...) gm_fail_iommu_iova_to_phys(__VA_ARGS__)

/* A new entry may need a node. One in the place of a reserved one does not. */
GM_FAIL(int, xa_alloc_cyclic,
	(struct xarray *xa, u32 *id, void *entry, struct xa_limit limit, u32 *next, gfp_t gfp),
	-ENOMEM, xa_alloc_cyclic(xa, id, entry, limit, next, gfp))
#define xa_alloc_cyclic(...) gm_fail_xa_alloc_cyclic(__VA_ARGS__)

/* The caller's memory */
GM_FAIL(int, get_user, (u32 *to, const u32 __user *from), -EFAULT, get_user(*to, from))
#undef get_user
#define get_user(to, from) gm_fail_get_user(&(to), from)

GM_FAIL(unsigned long, copy_from_user, (void *to, const void __user *from, unsigned long n),
	n, copy_from_user(to, from, n))
#define copy_from_user(...) gm_fail_copy_from_user(__VA_ARGS__)

GM_FAIL(unsigned long, copy_to_user, (void __user *to, const void *from, unsigned long n),
	n, copy_to_user(to, from, n))
#define copy_to_user(...) gm_fail_copy_to_user(__VA_ARGS__)

GM_FAIL(int, copy_struct_from_user,
	(void *to, size_t size, const void __user *from, size_t user_size), -EFAULT,
	copy_struct_from_user(to, size, from, user_size))
#define copy_struct_from_user(...) gm_fail_copy_struct_from_user(__VA_ARGS__)

GM_FAIL(unsigned long, clear_user, (void __user *to, unsigned long n), n, clear_user(to, n))
#undef clear_user
#define clear_user(...) gm_fail_clear_user(__VA_ARGS__)

/* Short, as when a page of the buffer is not there: then it is faulted in. */
GM_FAIL(size_t, copy_to_iter, (const void *from, size_t n, struct iov_iter *to),
	copy_to_iter(from, n / 2, to), copy_to_iter(from, n, to))
#define copy_to_iter(...) gm_fail_copy_to_iter(__VA_ARGS__)

GM_FAIL(size_t, copy_from_iter, (void *to, size_t n, struct iov_iter *from),
	copy_from_iter(to, n / 2, from), copy_from_iter(to, n, from))
#define copy_from_iter(...) gm_fail_copy_from_iter(__VA_ARGS__)

GM_FAIL(size_t, fault_in_iov_iter_readable, (const struct iov_iter *iter, size_t n), n,
	fault_in_iov_iter_readable(iter, n))
#define fault_in_iov_iter_readable(...) gm_fail_fault_in_iov_iter_readable(__VA_ARGS__)

GM_FAIL(size_t, fault_in_iov_iter_writeable, (const struct iov_iter *iter, size_t n), n,
	fault_in_iov_iter_writeable(iter, n))
#define fault_in_iov_iter_writeable(...) gm_fail_fault_in_iov_iter_writeable(__VA_ARGS__)

/* Pinning: refused, or fewer pages than asked for */
static inline int gm_fail_pin_user_pages_fast(unsigned long start, int npages,
					      unsigned int flags, struct page **pages)
{
	if (gm_fail_step())
		return -ENOMEM;
	if (gm_fail_step())
		npages = 1;
	return pin_user_pages_fast(start, npages, flags, pages);
}

#define pin_user_pages_fast(...) gm_fail_pin_user_pages_fast(__VA_ARGS__)

GM_FAIL(long, get_user_page,
	(struct mm_struct *mm, unsigned long address, unsigned int flags, struct page **page),
	-EFAULT, gm_get_user_page(mm, address, flags, page))
#undef gm_get_user_page
#define gm_get_user_page(...) gm_fail_get_user_page(__VA_ARGS__)

GM_FAIL(unsigned long, vm_mmap,
	(struct file *file, unsigned long addr, unsigned long len, unsigned long prot,
	 unsigned long flags, unsigned long offset), -ENOMEM,
	vm_mmap(file, addr, len, prot, flags, offset))
#define vm_mmap(...) gm_fail_vm_mmap(__VA_ARGS__)

GM_FAIL(int, mmu_interval_notifier_insert,
	(struct mmu_interval_notifier *notifier, struct mm_struct *mm, unsigned long start,
	 unsigned long len, const struct mmu_interval_notifier_ops *ops), -ENOMEM,
	mmu_interval_notifier_insert(notifier, mm, start, len, ops))
#define mmu_interval_notifier_insert(...) gm_fail_mmu_interval_notifier_insert(__VA_ARGS__)

/* Killed, or a lock that is taken */
GM_FAIL(int, mmap_read_lock_killable, (struct mm_struct *mm), -EINTR,
	mmap_read_lock_killable(mm))
#define mmap_read_lock_killable(...) gm_fail_mmap_read_lock_killable(__VA_ARGS__)

GM_FAIL(int, mutex_lock_killable, (struct mutex *mutex), -EINTR, mutex_lock_killable(mutex))
#undef mutex_lock_killable
#define mutex_lock_killable(...) gm_fail_mutex_lock_killable(__VA_ARGS__)

#undef wait_event_killable_timeout
#define wait_event_killable_timeout(wq_head, condition, timeout)		\
	(gm_fail_step() ? -ERESTARTSYS :					\
	 __wait_event_killable_timeout(wq_head, condition, timeout))

/* Not -ERESTARTSYS: with no signal there is nobody to make something else of it. */
#undef wait_event_interruptible
#define wait_event_interruptible(wq_head, condition)				\
	(gm_fail_step() ? -EINTR : __wait_event_interruptible(wq_head, condition))

GM_FAIL(int, fatal_signal_pending, (struct task_struct *task), 1, fatal_signal_pending(task))
#define fatal_signal_pending(...) gm_fail_fatal_signal_pending(__VA_ARGS__)

GM_FAIL(bool, mmap_read_trylock, (struct mm_struct *mm), false, mmap_read_trylock(mm))
#define mmap_read_trylock(...) gm_fail_mmap_read_trylock(__VA_ARGS__)

GM_FAIL(bool, folio_trylock, (struct folio *folio), false, folio_trylock(folio))
#define folio_trylock(...) gm_fail_folio_trylock(__VA_ARGS__)

/* Page tables */
GM_FAIL(int, apply_to_page_range,
	(struct mm_struct *mm, unsigned long addr, unsigned long len, pte_fn_t fn, void *data),
	-ENOMEM, apply_to_page_range(mm, addr, len, fn, data))
#define apply_to_page_range(...) gm_fail_apply_to_page_range(__VA_ARGS__)

GM_FAIL(int, vm_insert_page,
	(struct vm_area_struct *vma, unsigned long addr, struct page *page), -ENOMEM,
	vm_insert_page(vma, addr, page))
#define vm_insert_page(...) gm_fail_vm_insert_page(__VA_ARGS__)

#if GUESTMEM_HAVE_HUGE_PFNMAP
GM_FAIL(vm_fault_t, insert_pmd, (struct vm_fault *vmf, u64 pfn, bool write), VM_FAULT_OOM,
	gm_insert_pmd(vmf, pfn, write))
#undef gm_insert_pmd
#define gm_insert_pmd(...) gm_fail_insert_pmd(__VA_ARGS__)
#endif

/* What makes a guest, a view, and the module */
GM_FAIL(struct inode *, alloc_anon_inode, (struct super_block *sb), ERR_PTR(-ENOMEM),
	alloc_anon_inode(sb))
#define alloc_anon_inode(...) gm_fail_alloc_anon_inode(__VA_ARGS__)

#undef KMEM_CACHE
#define KMEM_CACHE(type, flags)							\
	(gm_fail_step() ? NULL : kmem_cache_create(#type, sizeof(struct type),	\
						   __alignof__(struct type), flags, NULL))

GM_FAIL(struct file *, anon_inode_getfile,
	(const char *name, const struct file_operations *fops, void *priv, int flags),
	ERR_PTR(-ENOMEM), anon_inode_getfile(name, fops, priv, flags))
#define anon_inode_getfile(...) gm_fail_anon_inode_getfile(__VA_ARGS__)

GM_FAIL(int, get_unused_fd_flags, (unsigned int flags), -ENOMEM, get_unused_fd_flags(flags))
#undef get_unused_fd_flags
#define get_unused_fd_flags(...) gm_fail_get_unused_fd_flags(__VA_ARGS__)

GM_FAIL(struct vfsmount *, kern_mount, (struct file_system_type *type), ERR_PTR(-ENOMEM),
	kern_mount(type))
#undef kern_mount
#define kern_mount(...) gm_fail_kern_mount(__VA_ARGS__)

GM_FAIL(struct pseudo_fs_context *, init_pseudo, (struct fs_context *fc, unsigned long magic),
	NULL, init_pseudo(fc, magic))
#define init_pseudo(...) gm_fail_init_pseudo(__VA_ARGS__)

GM_FAIL(int, seq_open, (struct file *file, const struct seq_operations *op), -ENOMEM,
	seq_open(file, op))
#define seq_open(...) gm_fail_seq_open(__VA_ARGS__)

GM_FAIL(int, misc_register, (struct miscdevice *misc), -ENOMEM, misc_register(misc))
#define misc_register(...) gm_fail_misc_register(__VA_ARGS__)

GM_FAIL(struct dentry *, debugfs_create_dir, (const char *name, struct dentry *parent),
	ERR_PTR(-ENOMEM), debugfs_create_dir(name, parent))
#undef debugfs_create_dir
#define debugfs_create_dir(...) gm_fail_debugfs_create_dir(__VA_ARGS__)

#endif /* GUESTMEM_FAIL_NTH */

#endif /* _GUESTMEM_FAIL_H */
