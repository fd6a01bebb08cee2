// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each ioctl with each kind of bad input: the errno must be that of the table in
 * linux/guestmem.h, and nothing may have changed.
 *
 * All that is particular to an ioctl stands in one entry of ioctls[]: a new one
 * joins with an entry.
 */
#include "guestmem_test.h"
#include "abi_layout.h"

#include <stddef.h>

GM_FIGURE("bad inputs")

enum { MAX_SIZE = 256, NPAGES = 4 };

/* What calls refer to; made anew for each test. */
struct env {
	int fd;
	int efd;
	unsigned char *va;	/* NPAGES pages, region @id at GM_GPA */
	unsigned char *spare;	/* NPAGES pages, in no region */
	__u32 id;
	__u32 handle;		/* of a lock */
	struct guestmem_range range;
	__u64 page;
	struct guestmem_extent extents[NPAGES];
	struct guestmem_region regions[NPAGES];
	int view;		/* of the first page */
	__u64 view_id;
	struct guestmem_view views[NPAGES];
	int domain;		/* the region's pages at IOVA 0 */
	int session;
	struct guestmem_mapping mapping;
	struct guestmem_mapping mappings[NPAGES];
	struct guestmem_piece pieces[NPAGES];
};

struct field {
	size_t offset;
	size_t size;
};

/* Where in struct env the caller's array is, and what says how much of it was written. */
struct array {
	size_t offset;
	size_t size;
	size_t entry_size;
	struct field count;
};

struct bad {
	struct field field;
	__u64 value;
	int err;
};

/**
 * struct entry - an ioctl
 * @name: for messages
 * @cmd: number
 * @on: where in struct env the file is that it is an ioctl of
 * @size: of the struct
 * @min: of the first version of the struct
 * @flags: that are known
 * @make: fills in a call that succeeds
 * @undo: takes back what a successful call did, so that it could be made again
 * @prepares: @make changes something, which @undo takes back whether the call is made or not
 * @out: [out] fields, that must be ignored on input
 * @inout: another field that is written, and not ignored
 * @array: an array that is written, and the field, of both directions, with its length
 * @reserved: fields that must be 0
 * @pointers: fields with pointers to user memory
 * @bad: values of a field, and the errno
 * @pure: a call changes nothing that an answer which cannot be delivered must undo
 * @no_answer: nothing is written back
 *
 * A list ends with an empty entry; the compiler sees to that where all are given.
 */
struct entry {
	const char *name;
	unsigned long cmd;
	size_t on;
	size_t size;
	size_t min;
	__u32 flags;
	void (*make)(struct env *env, void *arg);
	void (*undo)(struct env *env, const void *arg);
	bool prepares;
	struct field out[10];
	struct field inout;
	struct array array;
	struct field reserved[4];
	struct field pointers[4];
	struct bad bad[10];
	bool pure;
	bool no_answer;
};

#define FIELD(type, name) { offsetof(struct type, name), sizeof(((struct type *)0)->name) }
#define ARRAY(type, name, count) { offsetof(struct env, name), sizeof(((struct env *)0)->name), \
	sizeof(((struct env *)0)->name[0]), FIELD(type, count) }
#define ON(file) .on = offsetof(struct env, file)
#define SIZES(type) .size = sizeof(struct type), .min = sizeof(struct type)

static void make_nothing(struct env *env, void *arg)
{
	(void)env;
	(void)arg;
}

static void undo_nothing(struct env *env, const void *arg)
{
	(void)env;
	(void)arg;
}

static void make_add(struct env *env, void *arg)
{
	struct guestmem_region_add *a = arg;

	a->backing = GUESTMEM_BACKING_USER;
	a->gpa = 2 * GM_GPA;
	a->len = NPAGES * PG;
	a->offset = (uintptr_t)env->spare;
}

static void undo_add(struct env *env, const void *arg)
{
	const struct guestmem_region_add *a = arg;

	gm_remove(env->fd, a->id);
}

static void make_remove(struct env *env, void *arg)
{
	struct guestmem_region_remove *a = arg;

	gm_unlock_handle(env->fd, env->handle);
	a->id = env->id;
}

static void undo_remove(struct env *env, const void *arg)
{
	struct guestmem_lock lock;

	(void)arg;
	if (gm_list(env->fd, NULL, 0) == 0)
		gm_user_add(env->fd, env->va, GM_GPA, NPAGES * PG, 0, &env->id);
	gm_lock(env->fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA, .len = 1);
	env->handle = lock.handle;
}

static void make_list(struct env *env, void *arg)
{
	struct guestmem_region_list *a = arg;

	a->entries = (uintptr_t)env->regions;
	a->entry_size = sizeof(*env->regions);
	a->nentries = ARRAY_SIZE(env->regions);
}

static void make_translate(struct env *env, void *arg)
{
	struct guestmem_translate *a = arg;

	a->ranges = (uintptr_t)&env->range;
	a->nranges = 1;
	a->extents = (uintptr_t)env->extents;
	a->nextents = ARRAY_SIZE(env->extents);
}

static void make_lock(struct env *env, void *arg)
{
	struct guestmem_lock *a = arg;

	a->flags = GUESTMEM_LOCK_PAGES;
	a->direction = GUESTMEM_DMA_TO_DEVICE;
	a->pages = (uintptr_t)&env->page;
	a->npages = 1;
	a->extents = (uintptr_t)env->extents;
	a->nextents = 1;
}

static void make_lock_range(struct env *env, void *arg)
{
	struct guestmem_lock *a = arg;

	a->direction = GUESTMEM_DMA_TO_DEVICE;
	a->gpa = GM_GPA;
	a->len = NPAGES * PG;
	a->extents = (uintptr_t)env->extents;
	a->nextents = ARRAY_SIZE(env->extents);
}

static void undo_lock(struct env *env, const void *arg)
{
	const struct guestmem_lock *a = arg;

	gm_unlock_handle(env->fd, a->handle);
}

static void make_unlock(struct env *env, void *arg)
{
	struct guestmem_unlock *a = arg;

	a->handle = env->handle;
}

static void make_fill(struct env *env, void *arg)
{
	struct guestmem_fill *a = arg;

	/* What is there already: a call that succeeds changes nothing either. */
	a->gpa = GM_GPA + 8;
	a->len = 1;
	a->value = env->va[8];
}

static void make_copy(struct env *env, void *arg)
{
	struct guestmem_copy *a = arg;

	env->va[8] = env->va[0];
	a->dst = GM_GPA + 8;
	a->src = GM_GPA;
	a->len = 1;
}

static void make_atomic(struct env *env, void *arg)
{
	struct guestmem_atomic *a = arg;

	(void)env;
	a->op = GUESTMEM_ATOMIC_OR;
	a->width = 4;
	a->gpa = GM_GPA;
}

static void make_eventfd(struct env *env, void *arg)
{
	struct guestmem_eventfd *a = arg;

	a->fd = env->efd;
	a->events = GUESTMEM_EVENT_STALE;
}

static void undo_eventfd(struct env *env, const void *arg)
{
	struct guestmem_eventfd ev;

	(void)arg;
	gm_eventfd(env->fd, &ev, .fd = env->efd, .events = 0);
}

static void make_view(struct env *env, void *arg)
{
	struct guestmem_view_create *a = arg;

	(void)env;
	a->address = GM_GPA;
	a->len = PG;
	a->rights = GUESTMEM_RIGHT_READ;
}

static void undo_view(struct env *env, const void *arg)
{
	const struct guestmem_view_create *a = arg;

	(void)env;
	close(a->fd);
}

static void make_views(struct env *env, void *arg)
{
	struct guestmem_view_list *a = arg;

	a->entries = (uintptr_t)env->views;
	a->entry_size = sizeof(*env->views);
	a->nentries = ARRAY_SIZE(env->views);
}

/* Nothing that it has. */
static void make_limit(struct env *env, void *arg)
{
	struct guestmem_view_limit *a = arg;

	a->id = env->view_id;
	a->rights = ~0U;
}

static void make_domain(struct env *env, void *arg)
{
	struct guestmem_domain_create *a = arg;

	(void)env;
	a->page_sizes = PG;
	a->last = ~0ULL;
	a->rights = GUESTMEM_RIGHT_READ;
}

static void undo_domain(struct env *env, const void *arg)
{
	const struct guestmem_domain_create *a = arg;

	(void)env;
	close(a->fd);
}

#define OTHER_IOVA (16 * PG)

static void make_map(struct env *env, void *arg)
{
	struct guestmem_domain_map *a = arg;

	env->mapping = (struct guestmem_mapping){ .iova = OTHER_IOVA, .len = PG, .gpa = GM_GPA,
						  .rights = GUESTMEM_RIGHT_READ };
	a->mappings = (uintptr_t)&env->mapping;
	a->nmappings = 1;
}

static void undo_map(struct env *env, const void *arg)
{
	(void)arg;
	gm_unmap_iova(env->domain, OTHER_IOVA, PG);
}

static void make_unmap(struct env *env, void *arg)
{
	struct guestmem_domain_unmap *a = arg;

	gm_map_iova(env->domain, OTHER_IOVA, PG, GM_GPA, GUESTMEM_RIGHT_READ);
	a->iova = OTHER_IOVA;
	a->len = PG;
}

static void make_mappings(struct env *env, void *arg)
{
	struct guestmem_domain_list *a = arg;

	a->entries = (uintptr_t)env->mappings;
	a->nentries = ARRAY_SIZE(env->mappings);
}

static void make_session(struct env *env, void *arg)
{
	struct guestmem_session_create *a = arg;

	(void)env;
	a->rights = GUESTMEM_RIGHT_READ;
}

static void undo_session(struct env *env, const void *arg)
{
	const struct guestmem_session_create *a = arg;

	(void)env;
	close(a->fd);
}

static void make_export(struct env *env, void *arg)
{
	struct guestmem_export *a = arg;

	a->len = 2 * PG;
	a->rights = GUESTMEM_RIGHT_READ;
	a->pieces = (uintptr_t)env->pieces;
	a->npieces = ARRAY_SIZE(env->pieces);
}

static void undo_export(struct env *env, const void *arg)
{
	const struct guestmem_export *a = arg;

	gm_release_handle(env->session, a->handle);
}

static void make_release(struct env *env, void *arg)
{
	struct guestmem_release *a = arg;

	gm_export_iova(env->session, 0, PG, GUESTMEM_RIGHT_READ, &a->handle);
}

static void undo_release(struct env *env, const void *arg)
{
	(void)arg;
	gm_release_all(env->session);
}

static const struct entry ioctls[] = {
	{
		.name = "INFO", .cmd = GUESTMEM_INFO, .size = sizeof(struct guestmem_info),
		.min = offsetof(struct guestmem_info, view),
		.flags = GUESTMEM_INFO_TAKE_EVENTS, .make = make_nothing, .undo = undo_nothing,
		.pure = true,
		/* All behind the flags is [out]; one field of it is always 0. */
		.out = { { 8, sizeof(struct guestmem_info) - 8 } },
	}, {
		.name = "REGION_ADD", .cmd = GUESTMEM_REGION_ADD, SIZES(guestmem_region_add),
		.flags = GUESTMEM_REGION_READONLY, .make = make_add, .undo = undo_add,
		.out = { FIELD(guestmem_region_add, id), FIELD(guestmem_region_add, err) },
		.reserved = { FIELD(guestmem_region_add, reserved) },
		.bad = {
			{ FIELD(guestmem_region_add, backing), 0, EOPNOTSUPP },
			{ FIELD(guestmem_region_add, backing), 3, EOPNOTSUPP },
			{ FIELD(guestmem_region_add, backing), 0xffffffff, EOPNOTSUPP },
			{ FIELD(guestmem_region_add, fd), 1, EOPNOTSUPP },
			{ FIELD(guestmem_region_add, gpa), GM_GPA, EEXIST },
			{ FIELD(guestmem_region_add, len), 0, EINVAL },
			{ FIELD(guestmem_region_add, offset), 8, EINVAL },
		},
	}, {
		.name = "REGION_REMOVE", .cmd = GUESTMEM_REGION_REMOVE,
		SIZES(guestmem_region_remove), .flags = GUESTMEM_REMOVE_FORCE,
		.make = make_remove, .undo = undo_remove, .prepares = true, .pure = true,
		.out = { FIELD(guestmem_region_remove, nlocks),
			 FIELD(guestmem_region_remove, err) },
		.reserved = { FIELD(guestmem_region_remove, reserved) },
		.bad = { { FIELD(guestmem_region_remove, id), 0xffffffff, ENOENT } },
	}, {
		.name = "REGION_LIST", .cmd = GUESTMEM_REGION_LIST, SIZES(guestmem_region_list),
		.make = make_list, .undo = undo_nothing, .pure = true,
		.out = { FIELD(guestmem_region_list, err) },
		.array = ARRAY(guestmem_region_list, regions, nentries),
		.pointers = { FIELD(guestmem_region_list, entries) },
		.bad = { { FIELD(guestmem_region_list, nentries), 0, EMSGSIZE } },
	}, {
		.name = "TRANSLATE", .cmd = GUESTMEM_TRANSLATE, SIZES(guestmem_translate),
		.flags = GUESTMEM_EXTENT_HPA, .make = make_translate, .undo = undo_nothing,
		.pure = true,
		.out = { FIELD(guestmem_translate, err) },
		.array = ARRAY(guestmem_translate, extents, nextents),
		.pointers = { FIELD(guestmem_translate, ranges),
			      FIELD(guestmem_translate, extents) },
		.bad = {
			{ FIELD(guestmem_translate, nranges), 0, EINVAL },
			{ FIELD(guestmem_translate, nextents), 0, EMSGSIZE },
		},
	}, {
		.name = "LOCK of pages", .cmd = GUESTMEM_LOCK, SIZES(guestmem_lock),
		.flags = GUESTMEM_LOCK_PAGES | GUESTMEM_EXTENT_HPA, .make = make_lock,
		.undo = undo_lock,
		.out = { FIELD(guestmem_lock, handle), FIELD(guestmem_lock, err) },
		.array = ARRAY(guestmem_lock, extents, nextents),
		.pointers = { FIELD(guestmem_lock, pages), FIELD(guestmem_lock, extents) },
		.bad = {
			{ FIELD(guestmem_lock, direction), 0, EOPNOTSUPP },
			{ FIELD(guestmem_lock, direction), 4, EOPNOTSUPP },
			{ FIELD(guestmem_lock, direction), 0xffffffff, EOPNOTSUPP },
			{ FIELD(guestmem_lock, npages), 0, EINVAL },
			{ FIELD(guestmem_lock, npages), GUESTMEM_LOCK_MAX_PAGES + 1, EINVAL },
			{ FIELD(guestmem_lock, npages), 0xffffffff, EINVAL },
		},
	}, {
		.name = "LOCK of a range", .cmd = GUESTMEM_LOCK, SIZES(guestmem_lock),
		.flags = GUESTMEM_LOCK_PAGES | GUESTMEM_EXTENT_HPA, .make = make_lock_range,
		.undo = undo_lock,
		.out = { FIELD(guestmem_lock, handle), FIELD(guestmem_lock, err) },
		.array = ARRAY(guestmem_lock, extents, nextents),
		.pointers = { FIELD(guestmem_lock, extents) },
		.bad = {
			{ FIELD(guestmem_lock, direction), 0, EOPNOTSUPP },
			{ FIELD(guestmem_lock, len), 0, EINVAL },
			{ FIELD(guestmem_lock, len), ~0ULL, EOVERFLOW },
			{ FIELD(guestmem_lock, gpa), 0, ENXIO },
		},
	}, {
		.name = "UNLOCK", .cmd = GUESTMEM_UNLOCK, SIZES(guestmem_unlock),
		.make = make_unlock, .undo = undo_remove, .prepares = true, .pure = true,
		.no_answer = true,
		.reserved = { FIELD(guestmem_unlock, reserved) },
		.bad = { { FIELD(guestmem_unlock, handle), 0xffffffff, ENOENT } },
	}, {
		.name = "FILL", .cmd = GUESTMEM_FILL, SIZES(guestmem_fill),
		.make = make_fill, .undo = undo_nothing, .pure = true,
		.out = { FIELD(guestmem_fill, done), FIELD(guestmem_fill, err) },
		.reserved = { FIELD(guestmem_fill, reserved) },
		.bad = {
			{ FIELD(guestmem_fill, value), 256, EINVAL },
			{ FIELD(guestmem_fill, value), 0xffffffff, EINVAL },
			{ FIELD(guestmem_fill, len), ~0ULL, EOVERFLOW },
			{ FIELD(guestmem_fill, gpa), 0, ENXIO },
		},
	}, {
		.name = "COPY", .cmd = GUESTMEM_COPY, SIZES(guestmem_copy),
		.make = make_copy, .undo = undo_nothing, .pure = true,
		.out = { FIELD(guestmem_copy, done), FIELD(guestmem_copy, err) },
		.bad = {
			{ FIELD(guestmem_copy, len), ~0ULL, EOVERFLOW },
			{ FIELD(guestmem_copy, len), 9, EINVAL },
			{ FIELD(guestmem_copy, dst), 0, ENXIO },
			{ FIELD(guestmem_copy, src), 0, ENXIO },
		},
	}, {
		.name = "ATOMIC", .cmd = GUESTMEM_ATOMIC, SIZES(guestmem_atomic),
		.make = make_atomic, .undo = undo_nothing, .pure = true,
		.out = { FIELD(guestmem_atomic, old), FIELD(guestmem_atomic, err) },
		.reserved = { FIELD(guestmem_atomic, compare[0]),
			      FIELD(guestmem_atomic, compare[1]) },
		.bad = {
			{ FIELD(guestmem_atomic, op), 0, EOPNOTSUPP },
			{ FIELD(guestmem_atomic, op), 7, EOPNOTSUPP },
			{ FIELD(guestmem_atomic, op), 0xffffffff, EOPNOTSUPP },
			{ FIELD(guestmem_atomic, width), 0, EINVAL },
			{ FIELD(guestmem_atomic, width), 3, EINVAL },
			{ FIELD(guestmem_atomic, gpa), GM_GPA + 2, EINVAL },
			{ FIELD(guestmem_atomic, operand[0]), 1ULL << 32, EINVAL },
			{ FIELD(guestmem_atomic, operand[1]), 1, EINVAL },
		},
	}, {
		.name = "EVENTFD", .cmd = GUESTMEM_EVENTFD, SIZES(guestmem_eventfd),
		.make = make_eventfd, .undo = undo_eventfd, .pure = true, .no_answer = true,
		.bad = {
			{ FIELD(guestmem_eventfd, fd), 0xffffffff, EBADF },
			{ FIELD(guestmem_eventfd, events), 1U << 31, EOPNOTSUPP },
			{ FIELD(guestmem_eventfd, events), 0, ENOENT },
		},
	}, {
		.name = "VIEW_CREATE", .cmd = GUESTMEM_VIEW_CREATE, SIZES(guestmem_view_create),
		.flags = GUESTMEM_VIEW_KEEP, .make = make_view, .undo = undo_view,
		.out = { FIELD(guestmem_view_create, fd), FIELD(guestmem_view_create, id),
			 FIELD(guestmem_view_create, err) },
		.bad = {
			{ FIELD(guestmem_view_create, address), GM_GPA + 1, EINVAL },
			{ FIELD(guestmem_view_create, len), 0, EINVAL },
			{ FIELD(guestmem_view_create, len), 1, EINVAL },
			{ FIELD(guestmem_view_create, len), (__u64)-4096, EOVERFLOW },
			{ FIELD(guestmem_view_create, rights), 0, EINVAL },
			{ FIELD(guestmem_view_create, rights), GUESTMEM_RIGHT_MANAGE, EACCES },
			{ FIELD(guestmem_view_create, rights), 0xffffffff, EACCES },
		},
	}, {
		.name = "VIEW_LIST", .cmd = GUESTMEM_VIEW_LIST, SIZES(guestmem_view_list),
		.make = make_views, .undo = undo_nothing, .pure = true,
		.out = { FIELD(guestmem_view_list, err) },
		.array = ARRAY(guestmem_view_list, views, nentries),
		.pointers = { FIELD(guestmem_view_list, entries) },
		.bad = { { FIELD(guestmem_view_list, nentries), 0, EMSGSIZE } },
	}, {
		.name = "VIEW_LIMIT", .cmd = GUESTMEM_VIEW_LIMIT, SIZES(guestmem_view_limit),
		.flags = GUESTMEM_VIEW_ALL, .make = make_limit, .undo = undo_nothing,
		.pure = true,
		.out = { FIELD(guestmem_view_limit, nlocks), FIELD(guestmem_view_limit, err) },
		.reserved = { FIELD(guestmem_view_limit, reserved) },
		.bad = {
			{ FIELD(guestmem_view_limit, id), 0, ENOENT },
			{ FIELD(guestmem_view_limit, id), 0xffffffff, ENOENT },
		},
	}, {
		.name = "DOMAIN_CREATE", .cmd = GUESTMEM_DOMAIN_CREATE,
		SIZES(guestmem_domain_create), .make = make_domain, .undo = undo_domain,
		.out = { FIELD(guestmem_domain_create, fd), FIELD(guestmem_domain_create, id),
			 FIELD(guestmem_domain_create, err) },
		.bad = {
			{ FIELD(guestmem_domain_create, page_sizes), 0, EINVAL },
			{ FIELD(guestmem_domain_create, page_sizes), 1, EINVAL },
			{ FIELD(guestmem_domain_create, start), 8, EINVAL },
			{ FIELD(guestmem_domain_create, last), 0, EINVAL },
			{ FIELD(guestmem_domain_create, last), 4096, EINVAL },
			{ FIELD(guestmem_domain_create, rights), 0, EINVAL },
			{ FIELD(guestmem_domain_create, rights), GUESTMEM_RIGHT_EXPORT, EACCES },
			{ FIELD(guestmem_domain_create, rights), 0xffffffff, EACCES },
		},
	}, {
		.name = "DOMAIN_MAP", .cmd = GUESTMEM_DOMAIN_MAP, ON(domain),
		SIZES(guestmem_domain_map), .make = make_map, .undo = undo_map, .pure = true,
		.out = { FIELD(guestmem_domain_map, failed), FIELD(guestmem_domain_map, err) },
		.pointers = { FIELD(guestmem_domain_map, mappings) },
		.bad = {
			{ FIELD(guestmem_domain_map, nmappings), 0, EINVAL },
			/* Behind the first there are zeros: a mapping of no length. */
			{ FIELD(guestmem_domain_map, nmappings), 2, EINVAL },
			{ FIELD(guestmem_domain_map, nmappings), GUESTMEM_MAP_MAX + 1, EINVAL },
			{ FIELD(guestmem_domain_map, nmappings), 0xffffffff, EINVAL },
		},
	}, {
		.name = "DOMAIN_UNMAP", .cmd = GUESTMEM_DOMAIN_UNMAP, ON(domain),
		SIZES(guestmem_domain_unmap),
		.flags = GUESTMEM_UNMAP_ALL | GUESTMEM_UNMAP_EVENTFD,
		.make = make_unmap, .undo = undo_map, .prepares = true, .pure = true,
		.out = { FIELD(guestmem_domain_unmap, nusers),
			 FIELD(guestmem_domain_unmap, nmappings),
			 FIELD(guestmem_domain_unmap, fault), FIELD(guestmem_domain_unmap, err) },
		.reserved = { FIELD(guestmem_domain_unmap, eventfd) },
		.bad = {
			{ FIELD(guestmem_domain_unmap, len), 0, EINVAL },
			{ FIELD(guestmem_domain_unmap, len), ~0ULL, EOVERFLOW },
			{ FIELD(guestmem_domain_unmap, len), 4095, ERANGE },
			{ FIELD(guestmem_domain_unmap, iova), ~0ULL, EOVERFLOW },
		},
	}, {
		.name = "DOMAIN_LIST", .cmd = GUESTMEM_DOMAIN_LIST, ON(domain),
		SIZES(guestmem_domain_list), .make = make_mappings, .undo = undo_nothing,
		.pure = true,
		.out = { FIELD(guestmem_domain_list, generation) },
		.inout = FIELD(guestmem_domain_list, iova),
		.array = ARRAY(guestmem_domain_list, mappings, nentries),
		.reserved = { FIELD(guestmem_domain_list, reserved) },
		.pointers = { FIELD(guestmem_domain_list, entries) },
	}, {
		.name = "SESSION_CREATE", .cmd = GUESTMEM_SESSION_CREATE, ON(domain),
		SIZES(guestmem_session_create), .make = make_session, .undo = undo_session,
		.out = { FIELD(guestmem_session_create, fd), FIELD(guestmem_session_create, id),
			 FIELD(guestmem_session_create, err) },
		.bad = {
			{ FIELD(guestmem_session_create, rights), 0, EINVAL },
			{ FIELD(guestmem_session_create, rights), GUESTMEM_RIGHT_EXPORT, EACCES },
			{ FIELD(guestmem_session_create, rights), 0xffffffff, EACCES },
		},
	}, {
		.name = "EXPORT", .cmd = GUESTMEM_EXPORT, ON(session), SIZES(guestmem_export),
		.make = make_export, .undo = undo_export,
		.out = { FIELD(guestmem_export, handle), FIELD(guestmem_export, err) },
		.array = ARRAY(guestmem_export, pieces, npieces),
		.reserved = { FIELD(guestmem_export, reserved) },
		.pointers = { FIELD(guestmem_export, pieces) },
		.bad = {
			{ FIELD(guestmem_export, len), 0, EINVAL },
			{ FIELD(guestmem_export, len), ~0ULL, ENXIO },
			{ FIELD(guestmem_export, iova), 1ULL << 20, ENXIO },
			{ FIELD(guestmem_export, iova), ~0ULL, EOVERFLOW },
			{ FIELD(guestmem_export, rights), 0, EINVAL },
		},
	}, {
		.name = "RELEASE", .cmd = GUESTMEM_RELEASE, ON(session), SIZES(guestmem_release),
		.flags = GUESTMEM_RELEASE_ALL,
		.make = make_release, .undo = undo_release, .prepares = true, .pure = true,
		.out = { FIELD(guestmem_release, nreleased) },
		.bad = {
			{ FIELD(guestmem_release, handle), 0, ENOENT },
			{ FIELD(guestmem_release, handle), 0xffffffff, ENOENT },
		},
	},
};

/* A variant is an entry of the table; there must be one for each. */
FIXTURE(badinput) {
	struct gm_guest guest;
	struct gm_mem mem, spare;
	struct env env;
	const struct entry *e;
	/* Two pages, the second one not mapped. */
	unsigned char *edge;
	/* The struct of the call; the union gives it room and alignment. */
	union {
		unsigned char bytes[MAX_SIZE];
		__u32 head[2];
		__u64 align;
	} arg;
	/* What there is before a call. */
	struct guestmem_info info;
	struct guestmem_info on_info;	/* of the file that the call is made by */
	struct guestmem_region regions[NPAGES];
	int nregions;
};
FIXTURE_VARIANT(badinput) {
	int index;
};
FIXTURE_VARIANT_ADD(badinput, info) { .index = 0 };
FIXTURE_VARIANT_ADD(badinput, region_add) { .index = 1 };
FIXTURE_VARIANT_ADD(badinput, region_remove) { .index = 2 };
FIXTURE_VARIANT_ADD(badinput, region_list) { .index = 3 };
FIXTURE_VARIANT_ADD(badinput, translate) { .index = 4 };
FIXTURE_VARIANT_ADD(badinput, lock_pages) { .index = 5 };
FIXTURE_VARIANT_ADD(badinput, lock_range) { .index = 6 };
FIXTURE_VARIANT_ADD(badinput, unlock) { .index = 7 };
FIXTURE_VARIANT_ADD(badinput, fill) { .index = 8 };
FIXTURE_VARIANT_ADD(badinput, copy) { .index = 9 };
FIXTURE_VARIANT_ADD(badinput, atomic) { .index = 10 };
FIXTURE_VARIANT_ADD(badinput, eventfd) { .index = 11 };
FIXTURE_VARIANT_ADD(badinput, view_create) { .index = 12 };
FIXTURE_VARIANT_ADD(badinput, view_list) { .index = 13 };
FIXTURE_VARIANT_ADD(badinput, view_limit) { .index = 14 };
FIXTURE_VARIANT_ADD(badinput, domain_create) { .index = 15 };
FIXTURE_VARIANT_ADD(badinput, domain_map) { .index = 16 };
FIXTURE_VARIANT_ADD(badinput, domain_unmap) { .index = 17 };
FIXTURE_VARIANT_ADD(badinput, domain_list) { .index = 18 };
FIXTURE_VARIANT_ADD(badinput, session_create) { .index = 19 };
FIXTURE_VARIANT_ADD(badinput, export) { .index = 20 };
FIXTURE_VARIANT_ADD(badinput, release) { .index = 21 };
_Static_assert(ARRAY_SIZE(ioctls) == 22, "an ioctl without a variant");
FIXTURE_SETUP(badinput)
{
	struct env *env = &self->env;
	struct guestmem_lock lock;

	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, GM_ANON, NPAGES * PG));
	ASSERT_EQ(0, gm_mem_alloc(&self->spare, GM_ANON, NPAGES * PG));
	self->e = &ioctls[variant->index];
	self->edge = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	ASSERT_NE(MAP_FAILED, self->edge);
	ASSERT_EQ(0, munmap(self->edge + PG, PG));

	*env = (struct env){
		.fd = self->guest.fd,
		.efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
		.va = self->mem.va,
		.spare = self->spare.va,
		.range = { GM_GPA, 1 },
		.page = GM_GPA,
	};
	ASSERT_LE(0, env->efd);
	ASSERT_EQ(0, gm_user_add(env->fd, env->va, GM_GPA, NPAGES * PG, 0, &env->id));
	ASSERT_EQ(0, gm_lock(env->fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA,
			     .len = 1));
	env->handle = lock.handle;
	env->view = gm_view(env->fd, GM_GPA, PG, GUESTMEM_RIGHT_READ, 0, &env->view_id);
	ASSERT_LE(0, env->view);
	env->domain = gm_domain(env->fd, GM_CLIENT_RIGHTS);
	ASSERT_LE(0, env->domain);
	ASSERT_EQ(0, gm_map_iova(env->domain, 0, NPAGES * PG, GM_GPA, GUESTMEM_RIGHT_READ));
	env->session = gm_session(env->domain, GM_CLIENT_RIGHTS, NULL);
	ASSERT_LE(0, env->session);
}
FIXTURE_TEARDOWN(badinput)
{
	close(self->env.session);
	close(self->env.domain);
	close(self->env.view);
	munmap(self->edge, PG);
	close(self->env.efd);
	gm_mem_free(&self->mem);
	gm_mem_free(&self->spare);
	gm_guest_teardown(_metadata, &self->guest);
}

/* The file that the call is made by. */
static int on(const FIXTURE_DATA(badinput) *self)
{
	return *(const int *)((const char *)&self->env + self->e->on);
}

/* A good call in self->arg, and the state before it. */
static void prepare(FIXTURE_DATA(badinput) *self)
{
	memset(&self->arg, 0, sizeof(self->arg));
	self->e->make(&self->env, self->arg.bytes);
	self->arg.head[0] = self->e->size;
	gm_info(self->env.fd, &self->info);
	gm_info(on(self), &self->on_info);
	self->nregions = gm_list(self->env.fd, self->regions, NPAGES);
}

static int call(FIXTURE_DATA(badinput) *self)
{
	return gm_ioctl(on(self), self->e->cmd, self->arg.bytes);
}

/* Takes back a call that succeeded, or only what prepare() did. */
static void undo(FIXTURE_DATA(badinput) *self)
{
	self->e->undo(&self->env, self->arg.bytes);
}

static void set(FIXTURE_DATA(badinput) *self, const struct field *field, __u64 value)
{
	memcpy(self->arg.bytes + field->offset, &value, field->size);
}

/* A call must fail with @err_ and change nothing; what is set up for it is undone. */
#define EXPECT_FAILS(err_, ret_, fmt_, ...) do {						\
	struct guestmem_region now_[NPAGES];						\
	struct guestmem_info info_;							\
	int r_ = (ret_);								\
											\
	++*gm_figure;									\
	EXPECT_EQ(-(err_), r_)								\
		TH_LOG("%s: " fmt_, self->e->name, ##__VA_ARGS__);			\
	EXPECT_EQ(0, gm_info(self->env.fd, &info_));					\
	EXPECT_EQ(0, memcmp(&info_, &self->info, sizeof(info_)))			\
		TH_LOG("%s changed something: " fmt_, self->e->name, ##__VA_ARGS__);	\
	EXPECT_EQ(0, gm_info(on(self), &info_));					\
	EXPECT_EQ(0, memcmp(&info_, &self->on_info, sizeof(info_)))			\
		TH_LOG("%s changed its file: " fmt_, self->e->name, ##__VA_ARGS__);	\
	memset(now_, 0, sizeof(now_));							\
	EXPECT_EQ(self->nregions, gm_list(self->env.fd, now_, NPAGES));			\
	EXPECT_EQ(0, memcmp(now_, self->regions, self->nregions * sizeof(now_[0])));	\
	if (self->e->prepares || !r_)							\
		undo(self);								\
} while (0)

#define EXPECT_WORKS(ret_, fmt_, ...) do {						\
	EXPECT_EQ(0, (ret_))								\
		TH_LOG("%s: " fmt_, self->e->name, ##__VA_ARGS__);			\
	undo(self);									\
} while (0)

/* The call that all others are a variation of must work, or they say nothing. */
TEST_F(badinput, good)
{
	int i;

	for (i = 0; i < 3; i++) {
		prepare(self);
		EXPECT_WORKS(call(self), "good");
	}
}

TEST_F(badinput, flags)
{
	int bit;

	for (bit = 0; bit < 32; bit++) {
		if (self->e->flags & (1U << bit))
			continue;
		prepare(self);
		self->arg.head[1] |= 1U << bit;
		EXPECT_FAILS(EOPNOTSUPP, call(self), "flag %d", bit);
	}
	prepare(self);
	self->arg.head[1] = ~0U;
	EXPECT_FAILS(EOPNOTSUPP, call(self), "all flags");
}

TEST_F(badinput, reserved)
{
	const struct field *f;
	unsigned int bit;

	for (f = self->e->reserved; f->size; f++) {
		for (bit = 0; bit < 8 * f->size; bit += 7) {
			prepare(self);
			set(self, f, 1ULL << bit);
			EXPECT_FAILS(EOPNOTSUPP, call(self), "reserved at %zu, bit %u", f->offset,
				     bit);
		}
	}
	/* A test of nothing where there is no such field: but then the good call is one. */
	prepare(self);
	EXPECT_WORKS(call(self), "good");
}

TEST_F(badinput, values)
{
	const struct bad *b;

	for (b = self->e->bad; b->err; b++) {
		prepare(self);
		set(self, &b->field, b->value);
		EXPECT_FAILS(b->err, call(self), "value 0x%llx at %zu",
			     (unsigned long long)b->value, b->field.offset);
	}
	prepare(self);
	EXPECT_WORKS(call(self), "good");
}

TEST_F(badinput, size)
{
	size_t sizes[] = { 0, 1, 4, 7, 8, self->e->min - 8, self->e->min - 4, self->e->min - 1 };
	unsigned int i;
	size_t extra;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (sizes[i] >= self->e->min)
			continue;
		prepare(self);
		self->arg.head[0] = sizes[i];
		EXPECT_FAILS(EINVAL, call(self), "size %zu", sizes[i]);
	}
	/* Of a newer user space: as long as it asks nothing more of us, fine. */
	for (extra = 1; extra <= 32; extra++) {
		prepare(self);
		self->arg.head[0] += extra;
		EXPECT_WORKS(call(self), "%zu zero bytes behind", extra);
		prepare(self);
		self->arg.head[0] += extra;
		self->arg.bytes[self->e->size + extra - 1] = 1;
		EXPECT_FAILS(E2BIG, call(self), "a non-zero byte %zu behind", extra);
	}
	prepare(self);
	self->arg.head[0] = 0xffffffff;
	EXPECT_GT(0, call(self));
	undo(self);
}

TEST_F(badinput, pointers)
{
	unsigned char *edge = self->edge + PG;
	int fd = on(self);
	size_t part;

	prepare(self);
	EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, NULL), "NULL");
	prepare(self);
	EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, (void *)8), "8");
	prepare(self);
	EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, edge), "unmapped");
	prepare(self);
	EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, (void *)0xffff888000000000UL), "kernel");
	prepare(self);
	EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, (void *)-8UL), "end of the address space");
	prepare(self);
	EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, (void *)0x8000000000000000UL),
		     "not canonical");

	/* Ends where the page ends: not a byte more may be touched. */
	prepare(self);
	memcpy(edge - self->e->size, self->arg.bytes, self->e->size);
	EXPECT_EQ(0, gm_ioctl(fd, self->e->cmd, edge - self->e->size))
		TH_LOG("%s at the end of a page", self->e->name);
	memcpy(self->arg.bytes, edge - self->e->size, self->e->size);
	undo(self);

	/* Not all of it is there. */
	for (part = 1; part < self->e->size; part += part < 16 ? 1 : 8) {
		prepare(self);
		memcpy(edge - part, self->arg.bytes, part);
		EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, edge - part), "%zu bytes there",
			     part);
	}
	/* It says that it is longer than what is mapped. */
	prepare(self);
	self->arg.head[0] += 8;
	memcpy(edge - self->e->size, self->arg.bytes, self->e->size);
	EXPECT_FAILS(EFAULT, gm_ioctl(fd, self->e->cmd, edge - self->e->size), "longer than mapped");
}

/* The answer cannot be written. What would leave something behind must be undone. */
TEST_F(badinput, answer_unwritable)
{
	void *p = self->edge;
	int ret;

	prepare(self);
	memcpy(p, self->arg.bytes, self->e->size);
	ASSERT_EQ(0, mprotect(p, PG, PROT_READ));
	if (self->e->no_answer) {
		ret = gm_ioctl(on(self), self->e->cmd, p);
		EXPECT_TRUE(ret == 0 || ret == -EFAULT)
			TH_LOG("%s: %d", self->e->name, ret);
		undo(self);
	} else if (self->e->pure) {
		EXPECT_EQ(-EFAULT, gm_ioctl(on(self), self->e->cmd, p))
			TH_LOG("%s", self->e->name);
		undo(self);
	} else {
		struct guestmem_info info;

		EXPECT_EQ(-EFAULT, gm_ioctl(on(self), self->e->cmd, p))
			TH_LOG("%s", self->e->name);
		ASSERT_EQ(0, gm_info(self->env.fd, &info));
		EXPECT_EQ(self->info.nregions, info.nregions);
		EXPECT_EQ(self->info.nlocks, info.nlocks);
		EXPECT_EQ(self->info.pinned, info.pinned);
		EXPECT_EQ(self->info.nviews, info.nviews);
		ASSERT_EQ(0, gm_info(on(self), &info));
		EXPECT_EQ(self->on_info.nexports, info.nexports);
		/* And can be done again, at the same place. */
		EXPECT_WORKS(call(self), "after an answer that could not be written");
	}
}

TEST_F(badinput, inner_pointers)
{
	__u64 values[] = { 0, 8, (uintptr_t)self->edge + PG, 0xffff888000000000ULL, -8ULL,
			   1ULL << 63, (uintptr_t)self->edge + PG - 4 };
	const struct field *f;
	unsigned int i;

	for (f = self->e->pointers; f->size; f++) {
		for (i = 0; i < ARRAY_SIZE(values); i++) {
			prepare(self);
			set(self, f, values[i]);
			EXPECT_FAILS(EFAULT, call(self), "pointer 0x%llx at %zu",
				     (unsigned long long)values[i], f->offset);
		}
	}
	prepare(self);
	EXPECT_WORKS(call(self), "good");
}

/*
 * Rubbish in [out] fields does no harm, and all of them are written: an old value
 * would be taken for an answer.
 */
TEST_F(badinput, out)
{
	unsigned char clean[MAX_SIZE];
	const struct field *f;

	prepare(self);
	EXPECT_EQ(0, call(self));
	memcpy(clean, self->arg.bytes, sizeof(clean));
	undo(self);
	prepare(self);
	for (f = self->e->out; f->size; f++)
		memset(self->arg.bytes + f->offset, 0xff, f->size);
	memset(self->arg.bytes + self->e->size, 0xa5, MAX_SIZE - self->e->size);
	EXPECT_EQ(0, call(self))
		TH_LOG("%s with rubbish in the [out] fields", self->e->name);
	for (f = self->e->out; f->size; f++) {
		size_t i;
		bool same = true;

		for (i = 0; i < f->size; i++)
			same = same && self->arg.bytes[f->offset + i] == 0xff;
		EXPECT_FALSE(same)
			TH_LOG("%s: at %zu nothing was written", self->e->name, f->offset);
	}
	/* err is the last thing in most: zero, for a call that succeeded. */
	if (self->e->size >= sizeof(struct guestmem_error) + 8 &&
	    self->e->cmd != GUESTMEM_INFO && self->e->cmd != GUESTMEM_DOMAIN_LIST) {
		struct guestmem_error err;

		memcpy(&err, self->arg.bytes + self->e->size - sizeof(err), sizeof(err));
		EXPECT_TRUE(gm_err_is_zero(&err))
			TH_LOG("%s", self->e->name);
	}
	if (self->e->cmd == GUESTMEM_INFO) {
		struct guestmem_info info;

		memcpy(&info, self->arg.bytes, sizeof(info));
		EXPECT_EQ(0, info.reserved);
		EXPECT_EQ(3, info.nviews);
		EXPECT_EQ(GUESTMEM_ABI_VERSION, info.abi_version);
		EXPECT_EQ(PG, info.page_size);
	}
	/* Not a byte behind the struct. */
	{
		size_t i;

		for (i = self->e->size; i < MAX_SIZE; i++)
			ASSERT_EQ(0xa5, self->arg.bytes[i]);
	}
	/* The caller's size is what it said. */
	EXPECT_EQ(self->e->size, self->arg.head[0]);
	undo(self);
}

static bool is_in(const struct field *f, size_t i)
{
	return i >= f->offset && i < f->offset + f->size;
}

static bool is_out(const struct entry *e, size_t i)
{
	const struct field *f;

	for (f = e->out; f->size; f++)
		if (is_in(f, i))
			return true;
	return is_in(&e->array.count, i) || is_in(&e->inout, i);
}

static size_t count(const FIXTURE_DATA(badinput) *self)
{
	__u32 n = 0;

	memcpy(&n, self->arg.bytes + self->e->array.count.offset, self->e->array.count.size);
	return n;
}

/*
 * What a call writes is what it documents, byte by byte: nothing else is touched, and
 * nothing of it is left as it was, which would be where kernel memory can leak out. A
 * byte may by chance be what was there before, but not for two different values.
 */
TEST_F(badinput, exact)
{
	static const unsigned char poison[] = { 0xfe, 0xaa };
	const struct array *array = &self->e->array;
	unsigned char before[MAX_SIZE], *entries = (unsigned char *)&self->env + array->offset;
	bool kept[MAX_SIZE], entry_kept[sizeof(self->env)];
	const struct field *f;
	size_t i, written = 0;
	unsigned int n;

	memset(kept, true, sizeof(kept));
	memset(entry_kept, true, sizeof(entry_kept));
	for (n = 0; n < ARRAY_SIZE(poison); n++) {
		prepare(self);
		for (f = self->e->out; f->size; f++)
			memset(self->arg.bytes + f->offset, poison[n], f->size);
		memset(self->arg.bytes + self->e->size, poison[n], MAX_SIZE - self->e->size);
		memset(entries, poison[n], array->size);
		memcpy(before, self->arg.bytes, MAX_SIZE);
		ASSERT_EQ(0, call(self));
		for (i = 0; i < MAX_SIZE; i++) {
			kept[i] = kept[i] && self->arg.bytes[i] == poison[n];
			if (!is_out(self->e, i)) {
				EXPECT_EQ(before[i], self->arg.bytes[i])
					TH_LOG("%s: byte %zu was written", self->e->name, i);
			}
		}
		written = count(self) * array->entry_size;
		for (i = 0; i < array->size; i++)
			entry_kept[i] = entry_kept[i] && entries[i] == poison[n];
		undo(self);
	}
	for (f = self->e->out; f->size; f++) {
		for (i = f->offset; i < f->offset + f->size; i++) {
			EXPECT_FALSE(kept[i])
				TH_LOG("%s: byte %zu was not written", self->e->name, i);
		}
	}
	ASSERT_GE(array->size, written);
	EXPECT_EQ(!array->size, !written);
	for (i = 0; i < array->size; i++) {
		EXPECT_EQ(i >= written, entry_kept[i])
			TH_LOG("%s: byte %zu of the array", self->e->name, i);
	}

	/* Nor does a refusal touch what is the caller's. */
	for (n = 0; self->e->bad[n].err; n++) {
		prepare(self);
		set(self, &self->e->bad[n].field, self->e->bad[n].value);
		memcpy(before, self->arg.bytes, MAX_SIZE);
		EXPECT_GT(0, call(self));
		for (i = 0; i < MAX_SIZE; i++) {
			if (!is_out(self->e, i)) {
				EXPECT_EQ(before[i], self->arg.bytes[i])
					TH_LOG("%s: byte %zu, refused", self->e->name, i);
			}
		}
		if (self->e->prepares)
			undo(self);
	}
}

GM_PLAIN_FIXTURE(plain)

TEST_F(plain, unknown_ioctls)
{
	unsigned char arg[MAX_SIZE] = { 0 };
	int fd = self->guest.fd;
	unsigned int nr;

	for (nr = 0; nr < 256; nr++) {
		unsigned long cmd = _IO(GUESTMEM_IOC_TYPE, nr);
		unsigned int i;
		bool known = false;

		for (i = 0; i < ARRAY_SIZE(ioctls); i++)
			known = known || ioctls[i].cmd == cmd;
		if (!known) {
			EXPECT_EQ(-ENOTTY, gm_ioctl(fd, cmd, arg))
				TH_LOG("number %u", nr);
		}
		/* The right number in the wrong clothes. */
		EXPECT_EQ(-ENOTTY, gm_ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, GUESTMEM_IOC_TYPE,
						     nr, 8), arg));
		EXPECT_EQ(-ENOTTY, gm_ioctl(fd, _IO(GUESTMEM_IOC_TYPE + 1, nr), arg));
	}
	EXPECT_EQ(-ENOTTY, gm_ioctl(fd, 0xffffffffUL, arg));
}

TEST_F(plain, open_modes)
{
	/* The device has no directory or link in it, and does not mind flags. */
	int fd = open(GM_DEV, O_RDWR | O_NONBLOCK | O_APPEND | O_CLOEXEC);

	ASSERT_LE(0, fd);
	close(fd);
	EXPECT_EQ(-1, open(GM_DEV "/x", O_RDWR));
	EXPECT_EQ(ENOTDIR, errno);
	EXPECT_EQ(-1, ftruncate(self->guest.fd, 0));
}

TEST_HARNESS_MAIN
