/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where each field of the ABI lies, written down once and for ever: a program built
 * today must work with the module of tomorrow. It is compiled into the 64-bit tests
 * and into the 32-bit one; both must agree with it.
 *
 * New fields go to the end of a struct, and their line here; no line ever changes,
 * but for the size of a struct that grew.
 */
#ifndef _GUESTMEM_ABI_LAYOUT_H
#define _GUESTMEM_ABI_LAYOUT_H

#include <linux/guestmem.h>
#include <stddef.h>

#define ABI_STRUCT(name, size)							\
	_Static_assert(sizeof(struct name) == (size), "size of " #name);
#define ABI_FIELD(name, field, offset, size)					\
	_Static_assert(offsetof(struct name, field) == (offset), #name "." #field);	\
	_Static_assert(sizeof(((struct name *)0)->field) == (size), #name "." #field);
#define ABI_VALUE(name, value)							\
	_Static_assert((name) == (value), #name);

ABI_STRUCT(guestmem_error, 32)
ABI_FIELD(guestmem_error, reason, 0, 4)
ABI_FIELD(guestmem_error, reserved, 4, 4)
ABI_FIELD(guestmem_error, addr, 8, 8)
ABI_FIELD(guestmem_error, need, 16, 8)
ABI_FIELD(guestmem_error, limit, 24, 8)

ABI_STRUCT(guestmem_info, 88)
ABI_FIELD(guestmem_info, size, 0, 4)
ABI_FIELD(guestmem_info, flags, 4, 4)
ABI_FIELD(guestmem_info, abi_version, 8, 4)
ABI_FIELD(guestmem_info, rights, 12, 4)
ABI_FIELD(guestmem_info, features, 16, 4)
ABI_FIELD(guestmem_info, events, 20, 4)
ABI_FIELD(guestmem_info, id, 24, 8)
ABI_FIELD(guestmem_info, generation, 32, 8)
ABI_FIELD(guestmem_info, pinned, 40, 8)
ABI_FIELD(guestmem_info, last, 48, 8)
ABI_FIELD(guestmem_info, table_len, 56, 8)
ABI_FIELD(guestmem_info, page_size, 64, 4)
ABI_FIELD(guestmem_info, nregions, 68, 4)
ABI_FIELD(guestmem_info, max_regions, 72, 4)
ABI_FIELD(guestmem_info, nlocks, 76, 4)
ABI_FIELD(guestmem_info, max_locks, 80, 4)
ABI_FIELD(guestmem_info, reserved, 84, 4)

ABI_STRUCT(guestmem_region_add, 80)
ABI_FIELD(guestmem_region_add, size, 0, 4)
ABI_FIELD(guestmem_region_add, flags, 4, 4)
ABI_FIELD(guestmem_region_add, backing, 8, 4)
ABI_FIELD(guestmem_region_add, fd, 12, 4)
ABI_FIELD(guestmem_region_add, gpa, 16, 8)
ABI_FIELD(guestmem_region_add, len, 24, 8)
ABI_FIELD(guestmem_region_add, offset, 32, 8)
ABI_FIELD(guestmem_region_add, id, 40, 4)
ABI_FIELD(guestmem_region_add, reserved, 44, 4)
ABI_FIELD(guestmem_region_add, err, 48, 32)

ABI_STRUCT(guestmem_region_remove, 56)
ABI_FIELD(guestmem_region_remove, size, 0, 4)
ABI_FIELD(guestmem_region_remove, flags, 4, 4)
ABI_FIELD(guestmem_region_remove, id, 8, 4)
ABI_FIELD(guestmem_region_remove, timeout_ms, 12, 4)
ABI_FIELD(guestmem_region_remove, nlocks, 16, 4)
ABI_FIELD(guestmem_region_remove, reserved, 20, 4)
ABI_FIELD(guestmem_region_remove, err, 24, 32)

ABI_STRUCT(guestmem_region, 48)
ABI_FIELD(guestmem_region, gpa, 0, 8)
ABI_FIELD(guestmem_region, len, 8, 8)
ABI_FIELD(guestmem_region, offset, 16, 8)
ABI_FIELD(guestmem_region, id, 24, 4)
ABI_FIELD(guestmem_region, flags, 28, 4)
ABI_FIELD(guestmem_region, backing, 32, 4)
ABI_FIELD(guestmem_region, nlocks, 36, 4)
ABI_FIELD(guestmem_region, nruns, 40, 4)
ABI_FIELD(guestmem_region, pid, 44, 4)

ABI_STRUCT(guestmem_region_list, 56)
ABI_FIELD(guestmem_region_list, size, 0, 4)
ABI_FIELD(guestmem_region_list, flags, 4, 4)
ABI_FIELD(guestmem_region_list, entries, 8, 8)
ABI_FIELD(guestmem_region_list, entry_size, 16, 4)
ABI_FIELD(guestmem_region_list, nentries, 20, 4)
ABI_FIELD(guestmem_region_list, err, 24, 32)

ABI_STRUCT(guestmem_range, 16)
ABI_FIELD(guestmem_range, gpa, 0, 8)
ABI_FIELD(guestmem_range, len, 8, 8)

ABI_STRUCT(guestmem_extent, 32)
ABI_FIELD(guestmem_extent, gpa, 0, 8)
ABI_FIELD(guestmem_extent, len, 8, 8)
ABI_FIELD(guestmem_extent, hpa, 16, 8)
ABI_FIELD(guestmem_extent, region_id, 24, 4)
ABI_FIELD(guestmem_extent, flags, 28, 4)

ABI_STRUCT(guestmem_translate, 64)
ABI_FIELD(guestmem_translate, size, 0, 4)
ABI_FIELD(guestmem_translate, flags, 4, 4)
ABI_FIELD(guestmem_translate, ranges, 8, 8)
ABI_FIELD(guestmem_translate, extents, 16, 8)
ABI_FIELD(guestmem_translate, nranges, 24, 4)
ABI_FIELD(guestmem_translate, nextents, 28, 4)
ABI_FIELD(guestmem_translate, err, 32, 32)

ABI_STRUCT(guestmem_lock, 88)
ABI_FIELD(guestmem_lock, size, 0, 4)
ABI_FIELD(guestmem_lock, flags, 4, 4)
ABI_FIELD(guestmem_lock, direction, 8, 4)
ABI_FIELD(guestmem_lock, handle, 12, 4)
ABI_FIELD(guestmem_lock, gpa, 16, 8)
ABI_FIELD(guestmem_lock, len, 24, 8)
ABI_FIELD(guestmem_lock, pages, 32, 8)
ABI_FIELD(guestmem_lock, extents, 40, 8)
ABI_FIELD(guestmem_lock, npages, 48, 4)
ABI_FIELD(guestmem_lock, nextents, 52, 4)
ABI_FIELD(guestmem_lock, err, 56, 32)

ABI_STRUCT(guestmem_unlock, 16)
ABI_FIELD(guestmem_unlock, size, 0, 4)
ABI_FIELD(guestmem_unlock, flags, 4, 4)
ABI_FIELD(guestmem_unlock, handle, 8, 4)
ABI_FIELD(guestmem_unlock, reserved, 12, 4)

ABI_STRUCT(guestmem_fill, 72)
ABI_FIELD(guestmem_fill, size, 0, 4)
ABI_FIELD(guestmem_fill, flags, 4, 4)
ABI_FIELD(guestmem_fill, gpa, 8, 8)
ABI_FIELD(guestmem_fill, len, 16, 8)
ABI_FIELD(guestmem_fill, value, 24, 4)
ABI_FIELD(guestmem_fill, reserved, 28, 4)
ABI_FIELD(guestmem_fill, done, 32, 8)
ABI_FIELD(guestmem_fill, err, 40, 32)

ABI_STRUCT(guestmem_copy, 72)
ABI_FIELD(guestmem_copy, size, 0, 4)
ABI_FIELD(guestmem_copy, flags, 4, 4)
ABI_FIELD(guestmem_copy, dst, 8, 8)
ABI_FIELD(guestmem_copy, src, 16, 8)
ABI_FIELD(guestmem_copy, len, 24, 8)
ABI_FIELD(guestmem_copy, done, 32, 8)
ABI_FIELD(guestmem_copy, err, 40, 32)

ABI_STRUCT(guestmem_atomic, 104)
ABI_FIELD(guestmem_atomic, size, 0, 4)
ABI_FIELD(guestmem_atomic, flags, 4, 4)
ABI_FIELD(guestmem_atomic, op, 8, 4)
ABI_FIELD(guestmem_atomic, width, 12, 4)
ABI_FIELD(guestmem_atomic, gpa, 16, 8)
ABI_FIELD(guestmem_atomic, operand, 24, 16)
ABI_FIELD(guestmem_atomic, compare, 40, 16)
ABI_FIELD(guestmem_atomic, old, 56, 16)
ABI_FIELD(guestmem_atomic, err, 72, 32)

ABI_STRUCT(guestmem_eventfd, 16)
ABI_FIELD(guestmem_eventfd, size, 0, 4)
ABI_FIELD(guestmem_eventfd, flags, 4, 4)
ABI_FIELD(guestmem_eventfd, fd, 8, 4)
ABI_FIELD(guestmem_eventfd, events, 12, 4)

ABI_STRUCT(guestmem_table_entry, 32)
ABI_FIELD(guestmem_table_entry, gpa, 0, 8)
ABI_FIELD(guestmem_table_entry, len, 8, 8)
ABI_FIELD(guestmem_table_entry, id, 16, 4)
ABI_FIELD(guestmem_table_entry, flags, 20, 4)
ABI_FIELD(guestmem_table_entry, generation, 24, 8)

ABI_STRUCT(guestmem_table, 64)
ABI_FIELD(guestmem_table, magic, 0, 8)
ABI_FIELD(guestmem_table, version, 8, 4)
ABI_FIELD(guestmem_table, entry_size, 12, 4)
ABI_FIELD(guestmem_table, capacity, 16, 4)
ABI_FIELD(guestmem_table, nentries, 20, 4)
ABI_FIELD(guestmem_table, seq, 24, 4)
ABI_FIELD(guestmem_table, header_size, 28, 4)
ABI_FIELD(guestmem_table, generation, 32, 8)
ABI_FIELD(guestmem_table, reserved, 40, 24)

ABI_VALUE(GUESTMEM_INFO, 0xbc00)
ABI_VALUE(GUESTMEM_REGION_ADD, 0xbc01)
ABI_VALUE(GUESTMEM_REGION_REMOVE, 0xbc02)
ABI_VALUE(GUESTMEM_REGION_LIST, 0xbc03)
ABI_VALUE(GUESTMEM_TRANSLATE, 0xbc04)
ABI_VALUE(GUESTMEM_LOCK, 0xbc05)
ABI_VALUE(GUESTMEM_UNLOCK, 0xbc06)
ABI_VALUE(GUESTMEM_FILL, 0xbc07)
ABI_VALUE(GUESTMEM_COPY, 0xbc08)
ABI_VALUE(GUESTMEM_ATOMIC, 0xbc09)
ABI_VALUE(GUESTMEM_EVENTFD, 0xbc0a)
ABI_VALUE(GUESTMEM_MMAP_TABLE, 1ULL << 63)

#endif /* _GUESTMEM_ABI_LAYOUT_H */
