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

/* The other pages of the window around a fault that follow each other physically. */
static void gm_fault_around(struct vm_fault *vmf, const struct gm_run *run,
			    struct gm_region *region)
{
	struct vm_area_struct *vma = vmf->vma;
	u64 run_gpa = region->node.start + ((u64)run->index << PAGE_SHIFT);
	u64 gpa = (u64)vmf->pgoff << PAGE_SHIFT;
	pgprot_t prot = gm_prot(vma, region);
	unsigned long address, end;
	u64 before, after;

	/* All distances from the faulting page, so that nothing can wrap. */
	before = min3(vmf->address & (GM_AROUND_LEN - 1), vmf->address - vma->vm_start,
		      (unsigned long)(gpa - run_gpa));
	after = min3(GM_AROUND_LEN - (vmf->address & (GM_AROUND_LEN - 1)),
		     vma->vm_end - vmf->address,
		     (unsigned long)(((u64)run->npages << PAGE_SHIFT) - (gpa - run_gpa)));
	end = vmf->address + after;
	for (address = vmf->address - before; address < end; address += PAGE_SIZE) {
		u64 pfn = run->pfn + ((gpa - run_gpa + (address - vmf->address)) >> PAGE_SHIFT);

		if (address == vmf->address || is_page_hwpoison(pfn_to_page(pfn)))
			continue;
		if (vmf_insert_pfn_prot(vma, address, pfn, prot) != VM_FAULT_NOPAGE)
			break;
	}
}

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
	rc = vmf_insert_pfn_prot(vmf->vma, vmf->address, pfn, gm_prot(vmf->vma, region));
	if (rc == VM_FAULT_NOPAGE)
		gm_fault_around(vmf, &region->runs.run[cur.run], region);
out_unlock:
	up_read(&guest->regions_rwsem);
	trace_guestmem_fault(guest->id, gpa, 0, vmf->flags & FAULT_FLAG_WRITE,
			     (__force u32)rc);
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

/* May run under the per-VMA lock only: mmap_lock is not to be relied on. */
static vm_fault_t gm_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct gm_guest *guest = gm_vma_guest(vma);
	struct gm_cursor cur = { .guest = guest };
	unsigned long address = vmf->address & PMD_MASK;
	bool write = vma->vm_flags & VM_WRITE;
	vm_fault_t rc = VM_FAULT_FALLBACK;
	struct gm_region *region;
	u64 gpa, pfn, last;

	if (order != PMD_ORDER || address < vma->vm_start || vma->vm_end - address < PMD_SIZE)
		return rc;
	gpa = ((u64)vmf->pgoff << PAGE_SHIFT) - (vmf->address - address);

	down_read(&guest->regions_rwsem);
	region = gm_cursor_seek(&cur, gpa, &pfn, &last);
	if (!region || last - gpa < PMD_SIZE - 1 || !IS_ALIGNED(pfn, PTRS_PER_PMD) ||
	    gm_any_poisoned(pfn, PTRS_PER_PMD))
		goto out_unlock;
	if (region->flags & GUESTMEM_REGION_READONLY) {
		if (vmf->flags & FAULT_FLAG_WRITE) {
			rc = VM_FAULT_SIGBUS;
			goto out_unlock;
		}
		write = false;
	}
	rc = gm_insert_pmd(vmf, pfn, write);
out_unlock:
	up_read(&guest->regions_rwsem);
	if (rc != VM_FAULT_FALLBACK)
		trace_guestmem_fault(guest->id, gpa, order, write, (__force u32)rc);
	return rc;
}
#endif

/* For ptrace and /proc/PID/mem, which cannot get at the pages of a VM_PFNMAP. */
static int gm_access(struct vm_area_struct *vma, unsigned long address, void *buf, int len,
		     int write)
{
	u64 gpa = ((u64)vma->vm_pgoff << PAGE_SHIFT) + (address - vma->vm_start);
	size_t done;
	int rc;

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
	vm_flags_mod(vma, VM_PFNMAP | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, 0);
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
