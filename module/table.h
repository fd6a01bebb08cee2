/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The translation table's encoding and sequence protocol (uapi: struct
 * guestmem_table). One writer at a time; readers are in user space, on any CPU,
 * and read while it is written: they find out by @seq. Every field is one
 * aligned store, so that what a reader throws away is at least not torn.
 *
 * The kernel never reads the table back: nothing depends on what is in it.
 *
 * Nothing here needs a kernel: the same file is tested in user space.
 */
#ifndef _GUESTMEM_TABLE_H
#define _GUESTMEM_TABLE_H

#ifdef __KERNEL__
#include <linux/compiler.h>
#include <asm/barrier.h>
#else
#include "shim.h"
#endif
#include <linux/guestmem.h>

static inline struct guestmem_table_entry *gm_table_entry(struct guestmem_table *table, u32 i)
{
	return (struct guestmem_table_entry *)(table + 1) + i;
}

static inline void gm_table_init(struct guestmem_table *table, u32 capacity)
{
	table->version = GUESTMEM_TABLE_VERSION;
	table->entry_size = sizeof(struct guestmem_table_entry);
	table->header_size = sizeof(struct guestmem_table);
	table->capacity = capacity;
	table->magic = GUESTMEM_TABLE_MAGIC;
}

/* @seq grows by one with each update, by the writer's count: the shared one is never read. */
static inline void gm_table_begin(struct guestmem_table *table, u32 seq)
{
	WRITE_ONCE(table->seq, 2 * seq + 1);
	smp_wmb(); /* odd before any change; pairs with the reader's acquire fence */
}

static inline void gm_table_set(struct guestmem_table *table, u32 i,
				const struct guestmem_table_entry *from)
{
	struct guestmem_table_entry *to = gm_table_entry(table, i);

	WRITE_ONCE(to->gpa, from->gpa);
	WRITE_ONCE(to->len, from->len);
	WRITE_ONCE(to->id, from->id);
	WRITE_ONCE(to->flags, from->flags);
	WRITE_ONCE(to->generation, from->generation);
}

static inline void gm_table_end(struct guestmem_table *table, u32 seq, u32 nentries,
				u64 generation)
{
	WRITE_ONCE(table->nentries, nentries);
	WRITE_ONCE(table->generation, generation);
	smp_wmb(); /* all changes before even; pairs with the reader's acquire of seq */
	WRITE_ONCE(table->seq, 2 * seq + 2);
}

#endif /* _GUESTMEM_TABLE_H */
