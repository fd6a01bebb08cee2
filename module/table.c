// SPDX-License-Identifier: GPL-2.0-only
/*
 * The translation table: the regions, readable without a system call.
 *
 * It is allocated when the first reader maps it and has its full size from the
 * start, so an update allocates nothing and cannot fail. It is written under
 * regions_rwsem held for writing, with each change of the live regions. The pages
 * go with the guest; a VMA that still maps them has references of its own.
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

static void gm_table_write(struct guestmem_table *table, struct gm_guest *guest)
{
	struct gm_region *region;
	u32 n = 0;

	gm_table_begin(table, guest->generation);
	for (region = gm_guest_next_region(guest, 0); region;
	     region = region->node.last == U64_MAX ? NULL :
		      gm_guest_next_region(guest, region->node.last + 1)) {
		struct guestmem_table_entry entry = {
			.gpa = region->node.start,
			.len = region->node.last - region->node.start + 1,
			.id = region->id,
			.flags = region->flags,
			.generation = region->generation,
		};

		gm_table_set(table, n++, &entry);
	}
	gm_table_end(table, guest->generation, n, guest->generation);
}

/**
 * gm_table_update - tell the readers what there is now
 * @guest: the guest
 *
 * Context: regions_rwsem held for writing.
 */
void gm_table_update(struct gm_guest *guest)
{
	lockdep_assert_held_write(&guest->regions_rwsem);
	if (guest->table)
		gm_table_write(guest->table, guest);
}

void gm_table_free(struct gm_guest *guest)
{
	vfree(guest->table);
}

static int gm_table_create(struct gm_guest *guest)
{
	struct guestmem_table *table;

	table = __vmalloc(gm_table_len(), GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!table)
		return -ENOMEM;
	gm_table_init(table, GUESTMEM_MAX_REGIONS);
	down_write(&guest->regions_rwsem);
	if (!guest->table) {
		gm_table_write(table, guest);
		/* What gm_table_mmap() finds without the lock can be read at once. */
		smp_store_release(&guest->table, table);
		table = NULL;
	}
	up_write(&guest->regions_rwsem);
	vfree(table);
	return 0;
}

/**
 * gm_table_mmap - map the table
 * @guest: the guest
 * @vma: where; its offset is in the table's part of the file
 *
 * Context: mmap_lock held for writing.
 * Return: 0 or -errno.
 */
int gm_table_mmap(struct gm_guest *guest, struct vm_area_struct *vma)
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
	if (!smp_load_acquire(&guest->table)) {
		rc = gm_table_create(guest);
		if (rc)
			return rc;
	}
	vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	for (i = 0; i < npages; i++) {
		void *address = (void *)guest->table + ((first + i) << PAGE_SHIFT);

		rc = vm_insert_page(vma, vma->vm_start + (i << PAGE_SHIFT),
				    vmalloc_to_page(address));
		if (rc)
			return rc;
	}
	return 0;
}
