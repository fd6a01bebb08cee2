// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of guest memory that can be taken back.
 *
 * The offset of a mapping is the address in the view, so one mapping may span regions
 * and holes, and what is under it may change. Each fault looks the region up anew and
 * inserts PTEs in a walk, under regions_rwsem held for reading; a region is removed, or
 * a view loses rights, and the PTEs are zapped, under it held for writing. So:
 *  - a PTE exists only for a page of the region that is live there, in a view that may;
 *  - when a removal has returned, every access faults, and finds a hole: SIGBUS;
 *  - a PTE is writable only if the region, the view and the VMA are.
 *
 * Page tables are filled by apply_to_page_range(), which must not meet a huge entry,
 * and huge entries inserted only where there is no page table: see gm_fill_huge().
 *
 * The VMAs are VM_PFNMAP: the pages are pinned by the region, not by who maps them,
 * and cannot be pinned through the mapping, which would outlive the revoke.
 *
 * A shared writable VMA makes a read-only PTE writable at the first write, unless
 * there is a pfn_mkwrite. Ours never lets it: it refuses, or drops the PTE so that
 * the fault comes again and is decided under the lock.
 */
#include <linux/pagemap.h>

#include "guestmem_private.h"
#include "trace.h"

/* 4 KiB entries inserted around a fault: as far as the kernel itself faults around. */
#define GM_AROUND_LEN	(64UL << 10)

static struct gm_view *gm_vma_view(struct vm_area_struct *vma)
{
	struct gm_file *file = vma->vm_file->private_data;

	return file->view;
}

static u32 gm_map_needs(bool write)
{
	return GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_READ | (write ? GUESTMEM_RIGHT_WRITE : 0);
}

static bool gm_may_write(const struct gm_cursor *cur)
{
	return cur->view->rights & cur->rights & GUESTMEM_RIGHT_WRITE;
}

/* Where the page at an offset lies; false if there is none, or it must not be mapped so. */
static bool gm_map_seek(struct gm_cursor *cur, struct vm_fault *vmf)
{
	u64 gpa = (u64)vmf->pgoff << PAGE_SHIFT;

	/* An export may end in the page: then what lies behind it must not be seen. */
	return gm_cursor_seek(cur, gpa) && cur->last - gpa >= PAGE_SIZE - 1 &&
	       cur->rights & GUESTMEM_RIGHT_READ &&
	       (!(vmf->flags & FAULT_FLAG_WRITE) || gm_may_write(cur));
}

/*
 * vm_page_prot will not do: for a VMA that has pfn_mkwrite it is read-only.
 */
static pgprot_t gm_prot(struct vm_area_struct *vma, const struct gm_cursor *cur)
{
	if (gm_may_write(cur))
		return vm_get_page_prot(vma->vm_flags);
	return vm_get_page_prot(vma->vm_flags & ~VM_WRITE);
}

struct gm_fill {
	struct vm_area_struct *vma;
	u64 pfn;
	pgprot_t prot;
};

static int gm_fill_pte(pte_t *pte, unsigned long address, void *data)
{
	struct gm_fill *fill = data;
	u64 pfn = fill->pfn++;

	if (pte_none(ptep_get(pte)) && !is_page_hwpoison(pfn_to_page(pfn)))
		set_pte_at(fill->vma->vm_mm, address, pte,
			   pte_mkspecial(pfn_pte(pfn, fill->prot)));
	return 0;
}

/*
 * Insert the faulting page, and what of the window around it follows it physically.
 * One walk and one hold of the page table lock for all of them:
 * vmf_insert_pfn_prot() would do both for each page, and look up the memory type.
 */
static vm_fault_t gm_fill_around(struct vm_fault *vmf, const struct gm_cursor *cur)
{
	struct vm_area_struct *vma = vmf->vma;
	u64 gpa = (u64)vmf->pgoff << PAGE_SHIFT;
	unsigned long in_window = vmf->address & (GM_AROUND_LEN - 1);
	unsigned long before, after;
	struct gm_fill fill = { .vma = vma, .prot = gm_prot(vma, cur) };

	/* All are distances from the faulting page, so that nothing can wrap. In whole pages. */
	before = min3(in_window, vmf->address - vma->vm_start,
		      (unsigned long)(gpa - cur->start) & PAGE_MASK);
	after = min3(GM_AROUND_LEN - in_window, vma->vm_end - vmf->address,
		     ((unsigned long)(cur->last - gpa) + 1) & PAGE_MASK);
	fill.pfn = cur->pfn - (before >> PAGE_SHIFT);
	if (apply_to_page_range(vma->vm_mm, vmf->address - before, before + after, gm_fill_pte,
				&fill) == -ENOMEM)
		return VM_FAULT_OOM;
	return VM_FAULT_NOPAGE;
}

#if GUESTMEM_HAVE_HUGE_PFNMAP
static bool gm_any_poisoned(u64 pfn, unsigned long npages)
{
	unsigned long i = 0;

	while (i < npages) {
		struct page *page = pfn_to_page(pfn + i);
		struct folio *folio = page_folio(page);

		if (folio_contain_hwpoisoned_page(folio))
			return true;
		i += folio_nr_pages(folio) - folio_page_idx(folio, page);
	}
	return false;
}

/*
 * Insert a 2 MiB entry if region, pages and VMA are such that there can be one.
 *
 * What a window can have is decided here alone, under regions_rwsem, for .fault and
 * .huge_fault alike. Else the region could be replaced between the two, and one
 * thread insert a huge entry where another has just put a page table, or the other
 * way round, at which the kernel warns. So it must not matter which of the two was
 * called: a VMA may refuse huge entries, but the system's policy for transparent
 * huge pages, which is about making them, is not asked.
 */
static vm_fault_t gm_fill_huge(struct vm_fault *vmf, struct gm_cursor *cur)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long address = vmf->address & PMD_MASK;
	pmd_t pmd = READ_ONCE(*vmf->pmd);
	bool write = vma->vm_flags & VM_WRITE;
	u64 gpa;

	if (pmd_leaf(pmd) && !(vmf->flags & FAULT_FLAG_WRITE))
		return VM_FAULT_NOPAGE;
	if (!pmd_none(pmd) && !pmd_leaf(pmd))
		return VM_FAULT_FALLBACK;
	if (vma->vm_flags & VM_NOHUGEPAGE || address < vma->vm_start ||
	    vma->vm_end - address < PMD_SIZE)
		return VM_FAULT_FALLBACK;
	gpa = ((u64)vmf->pgoff << PAGE_SHIFT) - (vmf->address - address);
	/* Of a session: an export that has all that the VMA may want. Another may have more. */
	cur->need = gm_map_needs(write);
	if (!gm_cursor_seek(cur, gpa) || cur->last - gpa < PMD_SIZE - 1 ||
	    !IS_ALIGNED(cur->pfn, PTRS_PER_PMD) || gm_any_poisoned(cur->pfn, PTRS_PER_PMD))
		return VM_FAULT_FALLBACK;
	if (cur->view->session && (!(cur->rights & GUESTMEM_RIGHT_READ) ||
				   (write && !gm_may_write(cur))))
		return VM_FAULT_FALLBACK;
	if (!gm_may_write(cur)) {
		if (vmf->flags & FAULT_FLAG_WRITE)
			return VM_FAULT_SIGBUS;
		write = false;
	}
	return gm_insert_pmd(vmf, cur->pfn, write);
}

/* May run under the per-VMA lock only: mmap_lock is not to be relied on. */
static vm_fault_t gm_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct gm_view *view = gm_vma_view(vmf->vma);
	struct gm_cursor cur;
	vm_fault_t rc;

	if (order != PMD_ORDER)
		return VM_FAULT_FALLBACK;
	if (gm_walk_begin(&cur, view, gm_map_needs(vmf->flags & FAULT_FLAG_WRITE), NULL))
		return VM_FAULT_SIGBUS;
	rc = gm_fill_huge(vmf, &cur);
	gm_walk_end(&cur);
	if (rc != VM_FAULT_FALLBACK)
		trace_guestmem_fault(view->guest->id, view->id, (u64)vmf->pgoff << PAGE_SHIFT,
				     order, vmf->flags & FAULT_FLAG_WRITE, (__force u32)rc);
	return rc;
}
#else
static vm_fault_t gm_fill_huge(struct vm_fault *vmf, struct gm_cursor *cur)
{
	return VM_FAULT_FALLBACK;
}
#endif

static vm_fault_t gm_fault_in_view(struct vm_fault *vmf, struct gm_cursor *cur)
{
	struct gm_cursor huge = *cur;
	vm_fault_t rc;

	if (!gm_map_seek(cur, vmf))
		return VM_FAULT_SIGBUS;
	if (is_page_hwpoison(pfn_to_page(cur->pfn)))
		return VM_FAULT_HWPOISON;
	/* Another thread was faster; a write that it does not allow comes again. */
	if (pmd_leaf(READ_ONCE(*vmf->pmd)))
		return VM_FAULT_NOPAGE;
	rc = gm_fill_huge(vmf, &huge);
	return rc == VM_FAULT_FALLBACK ? gm_fill_around(vmf, cur) : rc;
}

static vm_fault_t gm_fault(struct vm_fault *vmf)
{
	struct gm_view *view = gm_vma_view(vmf->vma);
	vm_fault_t rc = VM_FAULT_SIGBUS;
	struct gm_cursor cur;

	if (!gm_walk_begin(&cur, view, gm_map_needs(vmf->flags & FAULT_FLAG_WRITE), NULL)) {
		rc = gm_fault_in_view(vmf, &cur);
		gm_walk_end(&cur);
	}
	trace_guestmem_fault(view->guest->id, view->id, (u64)vmf->pgoff << PAGE_SHIFT, 0,
			     vmf->flags & FAULT_FLAG_WRITE, (__force u32)rc);
	return rc;
}

static vm_fault_t gm_pfn_mkwrite(struct vm_fault *vmf)
{
	vm_fault_t rc = VM_FAULT_SIGBUS;
	struct gm_cursor cur;

	if (gm_walk_begin(&cur, gm_vma_view(vmf->vma), gm_map_needs(true), NULL))
		return rc;
	if (gm_map_seek(&cur, vmf) && gm_may_write(&cur)) {
		zap_vma_ptes(vmf->vma, vmf->address, PAGE_SIZE);
		rc = VM_FAULT_NOPAGE;
	}
	gm_walk_end(&cur);
	return rc;
}

/*
 * For ptrace and /proc/PID/mem, which cannot get at the pages of a VM_PFNMAP. They
 * may force their way into a mapping that is read-only; here that would be a write
 * by a file that has no right to it.
 */
static int gm_access(struct vm_area_struct *vma, unsigned long address, void *buf, int len,
		     int write)
{
	u64 gpa = ((u64)vma->vm_pgoff << PAGE_SHIFT) + (address - vma->vm_start);
	size_t done;
	int rc;

	if (write && !(vma->vm_flags & VM_WRITE))
		return -EACCES;
	/* What is asked for may go on behind the mapping. */
	len = min_t(unsigned long, len, vma->vm_end - address);
	rc = gm_copy_kernel(gm_vma_view(vma), gm_map_needs(write), gpa, buf, len, write, &done);
	return done ?: rc;
}

static const struct vm_operations_struct gm_vm_ops = {
	.fault = gm_fault,
#if GUESTMEM_HAVE_HUGE_PFNMAP
	.huge_fault = gm_huge_fault,
#endif
	.pfn_mkwrite = gm_pfn_mkwrite,
	.access = gm_access,
};

int gm_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct gm_file *file = filp->private_data;
	u64 table = GUESTMEM_MMAP_TABLE >> PAGE_SHIFT;
	int rc;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	rc = gm_check_view(file->view, 0, NULL);
	if (rc)
		return rc;
	if (vma->vm_pgoff >= table)
		return file->view->session ? -EOPNOTSUPP : gm_table_mmap(file->view, vma);
	if (vma_pages(vma) > table - vma->vm_pgoff)
		return -EINVAL;
	rc = gm_check_view(file->view, GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_READ, NULL);
	if (rc)
		return rc;
	/* What it loses later, the faults will miss. */
	if (gm_check_view(file->view, GUESTMEM_RIGHT_WRITE, NULL)) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_mod(vma, 0, VM_MAYWRITE);
	}
	/*
	 * VM_IO makes VM_DONTCOPY final: MADV_DOFORK is refused. fork() copies huge
	 * entries relying on mmap_lock, which gm_zap() does not hold: the child could
	 * be given one that was zapped in the meantime.
	 */
	vm_flags_mod(vma, VM_PFNMAP | VM_IO | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, 0);
	vma->vm_ops = &gm_vm_ops;
	return 0;
}

/**
 * gm_zap - take a range out of all mappings of a view
 * @view: the view
 * @start: first address
 * @last: last address
 *
 * Context: regions_rwsem held for writing, or of a session domain::rwsem, so that no fault
 * puts it back.
 */
void gm_zap(struct gm_view *view, u64 start, u64 last)
{
	lockdep_assert(lockdep_is_held_type(&view->guest->regions_rwsem, 0) ||
		       (view->session && lockdep_is_held_type(&view->domain->rwsem, 0)));
	if (start >= GUESTMEM_MMAP_TABLE)
		return;
	last = min(last, GUESTMEM_MMAP_TABLE - 1);
	unmap_mapping_pages(view->inode->i_mapping, start >> PAGE_SHIFT,
			    (last >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1, true);
}
