// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* vm-memory: see vm-memory/lib.rs, which has all that is timed. */
#include "bench.h"
#include "vm_memory.h"

static void *open_plain(const struct guest *guest)
{
	return vmm_open(guest->fd, guest->regions, guest->n);
}

/* Its granule is a page. */
static void *open_bitmap(const struct guest *guest)
{
	if (guest->granule != 4096)
		die("granule");
	return vmm_bitmap_open(guest->fd, guest->regions, guest->n);
}

const struct contestant vm_memory = {
	.name = "vm-memory",
	.open = open_plain,
	.close = vmm_close,
	.op = {
		[OP_TRANSLATE] = vmm_translate,
		[OP_CHASE] = vmm_chase,
		[OP_READ8] = vmm_read8,
		[OP_WRITE8] = vmm_write8,
		[OP_READ] = vmm_read,
		[OP_WRITE] = vmm_write,
		[OP_HOLD] = vmm_hold,
		[OP_HOLE] = vmm_hole,
	},
};

const struct contestant vm_memory_bitmap = {
	.name = "vm-memory",
	.open = open_bitmap,
	.close = vmm_bitmap_close,
	.op = {
		[OP_WRITE8] = vmm_bitmap_write8,
		[OP_WRITE] = vmm_bitmap_write,
		[OP_HARVEST] = vmm_bitmap_harvest,
	},
};
