/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/* What vm-memory/lib.rs exports. */
#ifndef VM_MEMORY_H
#define VM_MEMORY_H

#include "bench.h"

void *vmm_open(int fd, const struct region *regions, size_t n);
void vmm_close(void *self);
uint64_t vmm_translate(void *self, const struct job *job);
uint64_t vmm_chase(void *self, const struct job *job);
uint64_t vmm_read8(void *self, const struct job *job);
uint64_t vmm_write8(void *self, const struct job *job);
uint64_t vmm_read(void *self, const struct job *job);
uint64_t vmm_write(void *self, const struct job *job);
uint64_t vmm_hold(void *self, const struct job *job);
uint64_t vmm_hole(void *self, const struct job *job);
void *vmm_bitmap_open(int fd, const struct region *regions, size_t n);
void vmm_bitmap_close(void *self);
uint64_t vmm_bitmap_write8(void *self, const struct job *job);
uint64_t vmm_bitmap_write(void *self, const struct job *job);
uint64_t vmm_bitmap_harvest(void *self, const struct job *job);

#endif /* VM_MEMORY_H */
