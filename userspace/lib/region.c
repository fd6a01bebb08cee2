// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Regions: add, remove, revoke, list. */
#include <stdlib.h>

#include "internal.h"

static int add(struct guestmem *g, enum op op, struct guestmem_region_add *arg,
	       uint32_t *id)
{
	int ret;

	if (!g)
		return fail_null(op, "no guest was given");
	arg->size = sizeof(*arg);
	ret = do_ioctl(g, op, GUESTMEM_REGION_ADD, arg, &arg->err);
	if (ret == 0 && id)
		*id = arg->id;
	return ret;
}

int guestmem_add_user(struct guestmem *g, uint64_t gpa, uint64_t len, void *addr,
		      uint32_t flags, uint32_t *id)
{
	struct guestmem_region_add arg = {
		.flags = flags,
		.backing = GUESTMEM_BACKING_USER,
		.gpa = gpa,
		.len = len,
		.offset = to_u64(addr),
	};

	return add(g, OP_ADD_USER, &arg, id);
}

int guestmem_add_file(struct guestmem *g, uint64_t gpa, uint64_t len, int fd,
		      uint64_t offset, uint32_t flags, uint32_t *id)
{
	struct guestmem_region_add arg = {
		.flags = flags,
		.backing = GUESTMEM_BACKING_FILE,
		.fd = fd,
		.gpa = gpa,
		.len = len,
		.offset = offset,
	};

	return add(g, OP_ADD_FILE, &arg, id);
}

int guestmem_remove(struct guestmem *g, uint32_t id)
{
	struct guestmem_region_remove arg = {
		.size = sizeof(arg),
		.id = id,
	};

	if (!g)
		return fail_null(OP_REMOVE, "no guest was given");
	return do_ioctl(g, OP_REMOVE, GUESTMEM_REGION_REMOVE, &arg, &arg.err);
}

int guestmem_revoke(struct guestmem *g, uint32_t id, uint32_t timeout_ms,
		    uint32_t *nlocks)
{
	struct guestmem_region_remove arg = {
		.size = sizeof(arg),
		.flags = GUESTMEM_REMOVE_FORCE,
		.id = id,
		.timeout_ms = timeout_ms,
	};
	int ret;

	if (!g)
		return fail_null(OP_REVOKE, "no guest was given");
	ret = do_ioctl(g, OP_REVOKE, GUESTMEM_REGION_REMOVE, &arg, &arg.err);
	if (nlocks)
		*nlocks = arg.nlocks;
	return ret;
}

/*
 * When struct guestmem_region grows, an old program must go on getting the old
 * stride: by a new symbol version of this function.
 */
int guestmem_regions(struct guestmem *g, struct guestmem_region **regions, size_t *n)
{
	struct guestmem_region_list arg;
	struct guestmem_region *array = NULL, *bigger;
	uint32_t capacity = 16;
	int ret;

	if (regions)
		*regions = NULL;
	if (n)
		*n = 0;
	if (!g || !regions || !n)
		return fail_null(OP_REGIONS, "no guest or no place for the result was given");

	/* Again, as long as more are added than there was room for. */
	for (;;) {
		bigger = realloc(array, capacity * sizeof(*array));
		if (!bigger) {
			free(array);
			return fail(OP_REGIONS, ENOMEM, NULL);
		}
		array = bigger;
		arg = (struct guestmem_region_list){
			.size = sizeof(arg),
			.entries = to_u64(array),
			.entry_size = sizeof(*array),
			.nentries = capacity,
		};
		ret = do_ioctl(g, OP_REGIONS, GUESTMEM_REGION_LIST, &arg, &arg.err);
		if (ret != -EMSGSIZE)
			break;
		if (arg.nentries <= capacity || arg.nentries > UINT32_MAX / 2)
			break;
		capacity = arg.nentries + arg.nentries / 8;
	}
	if (ret < 0 || arg.nentries == 0) {
		free(array);
		return ret;
	}
	*regions = array;
	*n = arg.nentries;
	return 0;
}
