// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of guest memory that can be taken back.
 *
 * The offset of a mapping is the GPA, so one mapping may span regions and holes,
 * and what is under it may change. Each fault looks the region up anew and inserts
 * PTEs under regions_rwsem held for reading; a region is removed, and the PTEs of
 * its addresses zapped, under it held for writing. So:
 *  - a PTE exists only for a page of the region that is live there;
 *  - when a removal has returned, every access faults, and finds a hole: SIGBUS;
 *  - a PTE is writable only if the region and the VMA are.
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

static struct gm_guest *gm_vma_guest(struct vm_area_struct *vma)
{
	struct gm_file *file = vma->vm_file->private_data;

	return file->guest;
}

/*
 * vm_page_prot will not do: for a VMA that has pfn_mkwrite it is read-only.
 */
static pgprot_t gm_prot(struct vm_area_struct *vma, struct gm_region *region)
{
	if (region->flags & GUESTMEM_REGION_READONLY)
		return vm_get_page_prot(vma->vm_flags & ~VM_WRITE);
	return vm_get_page_prot(vma->vm_flags);
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
static vm_fault_t gm_fill_around(struct vm_fault *vmf, const struct gm_run *run,
				 struct gm_region *region)
{
	struct vm_area_struct *vma = vmf->vma;
	u64 in_run = ((u64)vmf->pgoff << PAGE_SHIFT) - region->node.start -
		     ((u64)run->index << PAGE_SHIFT);
	unsigned long in_window = vmf->address & (GM_AROUND_LEN - 1);
	unsigned long before, after;
	struct gm_fill fill = { .vma = vma, .prot = gm_prot(vma, region) };

	/* All are distances from the faulting page, so that nothing can wrap. */
	before = min3(in_window, vmf->address - vma->vm_start, (unsigned long)in_run);
	after = min3(GM_AROUND_LEN - in_window, vma->vm_end - vmf->address,
		     (unsigned long)(((u64)run->npages << PAGE_SHIFT) - in_run));
	fill.pfn = run->pfn + ((in_run - before) >> PAGE_SHIFT);
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
static vm_fault_t gm_fill_huge(struct vm_fault *vmf, struct gm_guest *guest)
{
	struct vm_area_struct *vma = vmf->vma;
	struct gm_cursor cur = { .guest = guest };
	unsigned long address = vmf->address & PMD_MASK;
	pmd_t pmd = READ_ONCE(*vmf->pmd);
	bool write = vma->vm_flags & VM_WRITE;
	struct gm_region *region;
	u64 gpa, pfn, last;

	if (pmd_leaf(pmd) && !(vmf->flags & FAULT_FLAG_WRITE))
		return VM_FAULT_NOPAGE;
	if (!pmd_none(pmd) && !pmd_leaf(pmd))
		return VM_FAULT_FALLBACK;
	if (vma->vm_flags & VM_NOHUGEPAGE || address < vma->vm_start ||
	    vma->vm_end - address < PMD_SIZE)
		return VM_FAULT_FALLBACK;
	gpa = ((u64)vmf->pgoff << PAGE_SHIFT) - (vmf->address - address);
	region = gm_cursor_seek(&cur, gpa, &pfn, &last);
	if (!region || last - gpa < PMD_SIZE - 1 || !IS_ALIGNED(pfn, PTRS_PER_PMD) ||
	    gm_any_poisoned(pfn, PTRS_PER_PMD))
		return VM_FAULT_FALLBACK;
	if (region->flags & GUESTMEM_REGION_READONLY) {
		if (vmf->flags & FAULT_FLAG_WRITE)
			return VM_FAULT_SIGBUS;
		write = false;
	}
	return gm_insert_pmd(vmf, pfn, write);
}

/* May run under the per-VMA lock only: mmap_lock is not to be relied on. */
static vm_fault_t gm_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct gm_guest *guest = gm_vma_guest(vmf->vma);
	vm_fault_t rc;

	if (order != PMD_ORDER)
		return VM_FAULT_FALLBACK;
	down_read(&guest->regions_rwsem);
	rc = gm_fill_huge(vmf, guest);
	up_read(&guest->regions_rwsem);
	if (rc != VM_FAULT_FALLBACK)
		trace_guestmem_fault(guest->id, (u64)vmf->pgoff << PAGE_SHIFT, order,
				     vmf->flags & FAULT_FLAG_WRITE, (__force u32)rc);
	return rc;
}
#else
static vm_fault_t gm_fill_huge(struct vm_fault *vmf, struct gm_guest *guest)
{
	return VM_FAULT_FALLBACK;
}
#endif

static vm_fault_t gm_fault(struct vm_fault *vmf)
{
	struct gm_guest *guest = gm_vma_guest(vmf->vma);
	struct gm_cursor cur = { .guest = guest };
	u64 gpa = (u64)vmf->pgoff << PAGE_SHIFT;
	vm_fault_t rc = VM_FAULT_SIGBUS;
	struct gm_region *region;
	u64 pfn, last;

	down_read(&guest->regions_rwsem);
	region = gm_cursor_seek(&cur, gpa, &pfn, &last);
	if (!region)
		goto out_unlock;
	if (vmf->flags & FAULT_FLAG_WRITE && region->flags & GUESTMEM_REGION_READONLY)
		goto out_unlock;
	if (is_page_hwpoison(pfn_to_page(pfn))) {
		rc = VM_FAULT_HWPOISON;
		goto out_unlock;
	}
	/* Another thread was faster; a write that it does not allow comes again. */
	if (pmd_leaf(READ_ONCE(*vmf->pmd))) {
		rc = VM_FAULT_NOPAGE;
		goto out_unlock;
	}
	rc = gm_fill_huge(vmf, guest);
	if (rc == VM_FAULT_FALLBACK)
		rc = gm_fill_around(vmf, &region->runs.run[cur.run], region);
out_unlock:
	up_read(&guest->regions_rwsem);
	trace_guestmem_fault(guest->id, gpa, 0, vmf->flags & FAULT_FLAG_WRITE, (__force u32)rc);
	return rc;
}

static vm_fault_t gm_pfn_mkwrite(struct vm_fault *vmf)
{
	struct gm_guest *guest = gm_vma_guest(vmf->vma);
	vm_fault_t rc = VM_FAULT_SIGBUS;
	struct gm_region *region;

	down_read(&guest->regions_rwsem);
	region = gm_guest_region(guest, (u64)vmf->pgoff << PAGE_SHIFT);
	if (region && !(region->flags & GUESTMEM_REGION_READONLY)) {
		zap_vma_ptes(vmf->vma, vmf->address, PAGE_SIZE);
		rc = VM_FAULT_NOPAGE;
	}
	up_read(&guest->regions_rwsem);
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
	rc = gm_copy_kernel(gm_vma_guest(vma), gpa, buf, len, write, &done);
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

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_pgoff >= table)
		return gm_table_mmap(file->guest, vma);
	if (vma_pages(vma) > table - vma->vm_pgoff)
		return -EINVAL;
	if (gm_check_right(file->rights, GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_READ, NULL))
		return -EACCES;
	if (!(file->rights & GUESTMEM_RIGHT_WRITE)) {
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
 * gm_zap - take a range out of all mappings
 * @guest: the guest
 * @start: first address
 * @last: last address
 *
 * Context: regions_rwsem held for writing, so that no fault puts it back.
 */
void gm_zap(struct gm_guest *guest, u64 start, u64 last)
{
	lockdep_assert_held_write(&guest->regions_rwsem);
	if (start >= GUESTMEM_MMAP_TABLE)
		return;
	last = min(last, GUESTMEM_MMAP_TABLE - 1);
	unmap_mapping_pages(guest->inode->i_mapping, start >> PAGE_SHIFT,
			    (last >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1, true);
}
