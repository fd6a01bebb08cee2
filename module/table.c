// SPDX-License-Identifier: GPL-2.0-only
/*
 * The translation table: the regions, readable without a system call.
 *
 * It is allocated when the first reader maps it and has its full size from the
 * start, so an update allocates nothing and cannot fail. It is written under
 * regions_rwsem held for writing, with each change of the live regions or of what the
 * view may do. The pages go with the view; a VMA that still maps them has references
 * of its own.
 */
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "guestmem_private.h"
#include "table.h"

size_t gm_table_len(void)
{
	return PAGE_ALIGN(sizeof(struct guestmem_table) +
			  GUESTMEM_MAX_REGIONS * sizeof(struct guestmem_table_entry));
}

static void gm_table_write(struct guestmem_table *table, struct gm_view *view)
{
	u64 generation = view->generation, start, last;
	struct gm_region *region;
	u32 n = 0;

	gm_table_begin(table, generation);
	region = gm_view_next(view, 0, &start, &last);
	while (region) {
		struct guestmem_table_entry entry = {
			.gpa = start,
			.len = last - start + 1,
			.id = region->id,
			.flags = gm_view_flags(view, region),
			.generation = region->generation,
		};

		gm_table_set(table, n++, &entry);
		region = last == U64_MAX ? NULL : gm_view_next(view, last + 1, &start, &last);
	}
	gm_table_end(table, generation, n, generation);
}

/**
 * gm_table_update - tell the readers what there is now
 * @view: who can see them
 *
 * Context: regions_rwsem held for writing.
 */
void gm_table_update(struct gm_view *view)
{
	lockdep_assert_held_write(&view->guest->regions_rwsem);
	if (view->table)
		gm_table_write(view->table, view);
}

static int gm_table_create(struct gm_view *view)
{
	struct guestmem_table *table;

	table = __vmalloc(gm_table_len(), GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!table)
		return -ENOMEM;
	gm_table_init(table, GUESTMEM_MAX_REGIONS);
	down_write(&view->guest->regions_rwsem);
	if (!view->table) {
		gm_table_write(table, view);
		/* What gm_table_mmap() finds without the lock can be read at once. */
		smp_store_release(&view->table, table);
		table = NULL;
	}
	up_write(&view->guest->regions_rwsem);
	vfree(table);
	return 0;
}

/**
 * gm_table_mmap - map the table
 * @view: whose
 * @vma: where; its offset is in the table's part of the file
 *
 * Context: mmap_lock held for writing.
 * Return: 0 or -errno.
 */
int gm_table_mmap(struct gm_view *view, struct vm_area_struct *vma)
{
	unsigned long first = vma->vm_pgoff - (GUESTMEM_MMAP_TABLE >> PAGE_SHIFT);
	unsigned long npages = vma_pages(vma), i;
	int rc;

	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	if (first + npages > gm_table_len() >> PAGE_SHIFT)
		return -ENXIO;
	first = array_index_nospec(first, gm_table_len() >> PAGE_SHIFT);
	/* Pairs with gm_table_create(): the table that is seen has been filled. */
	if (!smp_load_acquire(&view->table)) {
		rc = gm_table_create(view);
		if (rc)
			return rc;
	}
	vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	for (i = 0; i < npages; i++) {
		void *address = (void *)view->table + ((first + i) << PAGE_SHIFT);

		rc = vm_insert_page(vma, vma->vm_start + (i << PAGE_SHIFT),
				    vmalloc_to_page(address));
		if (rc)
			return rc;
	}
	return 0;
}
