// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * libvhost-user, as in Debian's QEMU. Its regions come from a front-end over a socket;
 * here they are put into its table, which has room for 32.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include <libvhost-user.h>

#include "bench.h"

static void *open_dev(const struct guest *guest)
{
	VuDev *dev = calloc(1, sizeof(*dev));
	size_t i;

	if (!dev)
		die("calloc");
	for (i = 0; i < guest->n; i++) {
		const struct region *r = &guest->regions[i];
		void *ptr = mmap(NULL, r->len, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_NORESERVE, guest->fd, r->offset);

		if (ptr == MAP_FAILED)
			die("mmap");
		dev->regions[i] = (VuDevRegion){
			.gpa = r->gpa,
			.size = r->len,
			.mmap_addr = (uintptr_t)ptr,
		};
	}
	dev->nregions = guest->n;
	return dev;
}

static void close_dev(void *self)
{
	VuDev *dev = self;
	uint32_t i;

	for (i = 0; i < dev->nregions; i++)
		munmap((void *)(uintptr_t)dev->regions[i].mmap_addr, dev->regions[i].size);
	free(dev);
}

static inline uint64_t translate_all(void *self, const struct job *job, bool chase)
{
	char *ptr = NULL;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		uint64_t gpa = chase ? AFTER(gpas[i], ptr) : gpas[i], len = 8;

		ptr = vu_gpa_to_va(self, &len, gpa);
		if (!ptr || len != 8)
			die("vu_gpa_to_va");
		use((uintptr_t)ptr);
	}
	return (uintptr_t)ptr;
}

static uint64_t translate(void *self, const struct job *job)
{
	return translate_all(self, job, false);
}

static uint64_t chase(void *self, const struct job *job)
{
	return translate_all(self, job, true);
}

const struct contestant vhost_user = {
	.name = "libvhost-user",
	.max_regions = VHOST_USER_MAX_RAM_SLOTS,
	.open = open_dev,
	.close = close_dev,
	.op = {
		[OP_TRANSLATE] = translate,
		[OP_CHASE] = chase,
	},
};
