// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * libvfio-user, as in Debian's QEMU. Its regions come from a client over a socket; here
 * they are given to it by its own function for that, which has no limit of 16.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <dma.h>
#include <private.h>

#include "bench.h"

static void registered(vfu_ctx_t *ctx, vfu_dma_info_t *info)
{
	(void)ctx;
	(void)info;
}

static void *open_ctx(const struct guest *guest)
{
	vfu_ctx_t *ctx = calloc(1, sizeof(*ctx));
	size_t i;

	if (!ctx)
		die("calloc");
	ctx->dma_register = registered;
	ctx->dma_unregister = registered;
	ctx->dma = dma_controller_create(ctx, guest->n, MAX_DMA_SIZE);
	if (!ctx->dma)
		die("dma_controller_create");
	for (i = 0; i < guest->n; i++) {
		const struct region *r = &guest->regions[i];

		if (dma_controller_add_region(ctx->dma, (vfu_dma_addr_t)r->gpa, r->len,
					      dup(guest->fd), r->offset,
					      PROT_READ | PROT_WRITE) < 0)
			die("dma_controller_add_region");
	}
	if (guest->granule && dma_controller_dirty_page_logging_start(ctx->dma, guest->granule))
		die("dma_controller_dirty_page_logging_start");
	return ctx;
}

static void close_ctx(void *self)
{
	vfu_ctx_t *ctx = self;

	dma_controller_dirty_page_logging_stop(ctx->dma);
	dma_controller_remove_all_regions(ctx->dma, NULL, NULL);
	dma_controller_destroy(ctx->dma);
	free(ctx);
}

static inline uint64_t translate_all(void *self, const struct job *job, bool chase)
{
	struct iovec iov = { 0 };
	dma_sg_t sg;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		uint64_t gpa = chase ? AFTER(gpas[i], iov.iov_base) : gpas[i];

		if (vfu_addr_to_sgl(self, (vfu_dma_addr_t)gpa, 8, &sg, 1, PROT_READ) != 1 ||
		    vfu_sgl_get(self, &sg, &iov, 1, 0))
			die("vfu_addr_to_sgl");
		use((uintptr_t)iov.iov_base);
	}
	return (uintptr_t)iov.iov_base;
}

static uint64_t translate(void *self, const struct job *job)
{
	return translate_all(self, job, false);
}

static uint64_t chase(void *self, const struct job *job)
{
	return translate_all(self, job, true);
}

static uint64_t write8(void *self, const struct job *job)
{
	struct iovec iov = { 0 };
	dma_sg_t sg;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		if (vfu_addr_to_sgl(self, (vfu_dma_addr_t)gpas[i], 8, &sg, 1,
				    PROT_WRITE) != 1 ||
		    vfu_sgl_get(self, &sg, &iov, 1, 0))
			die("vfu_addr_to_sgl");
		*(volatile uint64_t *)iov.iov_base = gpas[i];
		vfu_sgl_put(self, &sg, &iov, 1);
	}
	return 0;
}

static uint64_t harvest(void *self, const struct job *job)
{
	vfu_ctx_t *ctx = self;

	if (dma_controller_dirty_page_get(ctx->dma, 0, job->len, ctx->dma->dirty_pgsize,
					  job->len / ctx->dma->dirty_pgsize / 8, job->buf))
		die("dma_controller_dirty_page_get");
	return 0;
}

const struct contestant vfio_user = {
	.name = "libvfio-user",
	.open = open_ctx,
	.close = close_ctx,
	.op = {
		[OP_TRANSLATE] = translate,
		[OP_CHASE] = chase,
		[OP_WRITE8] = write8,
		[OP_HARVEST] = harvest,
	},
};
