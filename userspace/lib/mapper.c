// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Mappers: one way to tell a domain, and the IOMMU that is in front of a device, what an
 * IOVA means.
 *
 * A domain's mappings are the kernel's, all of them. What VFIO and iommufd know are
 * addresses of this process, so there is more to it:
 *
 * - A mapping is one for each region that it spans, and is unmapped as the one it was: so
 *   the mappings are kept here, in a tree of ranges that do not overlap. A range that is
 *   looked up in it is equal to each that it overlaps.
 * - Each has a DMA lock, from before it is made until it is gone: it finds the holes, and
 *   whoever takes the region back is told that a device is not done with it.
 *
 * The mutex is held all the while, so that nobody sees half of a mapping; the log is not
 * told of a failure before it is released.
 *
 * What the IOMMU does not unmap stays here with its lock, to be unmapped again. A child of
 * fork(2) has copies of the mapper and the tree, of what the parent alone has mapped and
 * locked: it may only free them.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <search.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#endif

#include "internal.h"

/* While regions come and go, at most */
#define MAX_TRIES	100

static const char not_unmapped[] =
	"the IOMMU did not unmap all of it: what is left stays locked until it is unmapped";

/* Of an IOMMU. Both return 0 or a negative errno value. */
struct iommu {
	int (*map)(const struct guestmem_mapper *m, uint64_t iova, const void *addr,
		   uint64_t len, uint32_t rights);
	/* *@gone: bytes that were unmapped, which may be fewer. */
	int (*unmap)(const struct guestmem_mapper *m, uint64_t iova, uint64_t len,
		     uint64_t *gone);
};

struct guestmem_mapper {
	const struct iommu *iommu;	/* NULL: of a domain */
	struct guestmem *g;		/* a handle of its own: the domain's or the guest's */
	int fd;				/* of VFIO or iommufd, a duplicate; or -1 */
	uint32_t ioas;
	pid_t pid;			/* whose it is */
	pthread_mutex_t mutex;
	void *mappings;			/* for tsearch(3), of struct mapping */
};

struct mapping {
	uint64_t iova;
	uint64_t last;
	uint64_t mapped;		/* bytes that the IOMMU has of it */
	uint32_t lock;
};

/* Ranges that overlap are equal. */
static int compare(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	return x->last < y->iova ? -1 : x->iova > y->last;
}

static struct mapping *find(const struct guestmem_mapper *m, uint64_t iova, uint64_t last)
{
	const struct mapping range = { .iova = iova, .last = last };
	void *node = tfind(&range, &m->mappings, compare);

	return node ? *(struct mapping **)node : NULL;
}

static struct mapping *find_first(const struct guestmem_mapper *m, uint64_t iova, uint64_t last)
{
	struct mapping *lower = find(m, iova, last), *first = lower;

	while (lower && lower->iova > iova) {
		lower = find(m, iova, lower->iova - 1);
		if (lower)
			first = lower;
	}
	return first;
}

/* -------- The IOMMUs ------------------------------------------------------ */

static int vfio_map(const struct guestmem_mapper *m, uint64_t iova, const void *addr,
		    uint64_t len, uint32_t rights)
{
	struct vfio_iommu_type1_dma_map arg = {
		.argsz = sizeof(arg),
		.flags = (rights & GUESTMEM_RIGHT_READ ? VFIO_DMA_MAP_FLAG_READ : 0) |
			 (rights & GUESTMEM_RIGHT_WRITE ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = to_u64(addr),
		.iova = iova,
		.size = len,
	};

	return ioctl(m->fd, VFIO_IOMMU_MAP_DMA, &arg) < 0 ? -errno : 0;
}

static int vfio_unmap(const struct guestmem_mapper *m, uint64_t iova, uint64_t len,
		      uint64_t *gone)
{
	struct vfio_iommu_type1_dma_unmap arg = {
		.argsz = sizeof(arg),
		.iova = iova,
		.size = len,
	};

	if (ioctl(m->fd, VFIO_IOMMU_UNMAP_DMA, &arg) < 0)
		return -errno;
	/* What it takes for another process's it leaves, and says so by this alone. */
	*gone = arg.size;
	return 0;
}

static const struct iommu vfio = { .map = vfio_map, .unmap = vfio_unmap };

#ifdef IOMMU_IOAS_MAP
static int iommufd_map(const struct guestmem_mapper *m, uint64_t iova, const void *addr,
		       uint64_t len, uint32_t rights)
{
	struct iommu_ioas_map arg = {
		.size = sizeof(arg),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA |
			 (rights & GUESTMEM_RIGHT_READ ? IOMMU_IOAS_MAP_READABLE : 0) |
			 (rights & GUESTMEM_RIGHT_WRITE ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.ioas_id = m->ioas,
		.user_va = to_u64(addr),
		.length = len,
		.iova = iova,
	};

	return ioctl(m->fd, IOMMU_IOAS_MAP, &arg) < 0 ? -errno : 0;
}

static int iommufd_unmap(const struct guestmem_mapper *m, uint64_t iova, uint64_t len,
			 uint64_t *gone)
{
	struct iommu_ioas_unmap arg = {
		.size = sizeof(arg),
		.ioas_id = m->ioas,
		.iova = iova,
		.length = len,
	};

	/* ENOENT: it was gone already. */
	if (ioctl(m->fd, IOMMU_IOAS_UNMAP, &arg) < 0 && errno != ENOENT)
		return -errno;
	*gone = len;
	return 0;
}

static const struct iommu iommufd = { .map = iommufd_map, .unmap = iommufd_unmap };
#endif

/* What they mean by it. */
static int fail_map(int err)
{
	const char *text = NULL;

	if (err == EINVAL)
		text = "it is misaligned, or not all in what the IOMMU can translate";
	else if (err == EEXIST)
		text = "somebody else has mapped some of it";
	else if (err == ENOMEM)
		text = "there is no memory, or it is more than may be locked (RLIMIT_MEMLOCK)";
	else if (err == ENOSPC)
		text = "there are too many mappings";
	else if (err == EFAULT)
		text = "it is not memory that can be pinned";
	return fail(OP_MAPPER_MAP, err, text);
}

/* -------- Mappings -------------------------------------------------------- */

/* Where the start of a range is in this process, and how much of it its region has. */
static int host_address(struct guestmem *g, uint64_t gpa, uint64_t len, const void **addr,
			uint64_t *part)
{
	struct guestmem_table_entry e;
	struct guestmem_region *regions, *r = NULL;
	size_t i, n;
	int ret = guestmem_find(g, gpa, &e);

	if (ret < 0)
		return ret;
	*part = e.len - (gpa - e.gpa);
	if (*part > len)
		*part = len;
	if (g->space->fd < 0) {
		*addr = guestmem_ptr(g, gpa, *part);
		return *addr ? 0 : -errno;
	}
	/* Nobody can pin a mapping of the device: the memory itself, if it is ours. */
	ret = guestmem_regions(g, &regions, &n);
	if (ret < 0)
		return ret;
	for (i = 0; i < n && !r; i++)
		if (regions[i].id == e.id)
			r = &regions[i];
	/* 0 would be an address that was not told. */
	if (r && r->offset && (r->flags & GUESTMEM_REGION_OWN) &&
	    !(r->flags & GUESTMEM_REGION_STALE))
		*addr = (const void *)(uintptr_t)(r->offset + (gpa - r->gpa));
	else
		ret = fail(OP_MAPPER_MAP, EOPNOTSUPP,
			   "of " GUESTMEM_DEVICE ", it must be memory that this process added by guestmem_add_user(), and not be stale");
	free(regions);
	return ret;
}

static int map_pieces(const struct guestmem_mapper *m, struct mapping *new, uint64_t gpa,
		      uint64_t len, uint32_t rights)
{
	const void *addr = NULL;
	uint64_t part;
	int ret;

	for (new->mapped = 0; new->mapped < len; new->mapped += part) {
		ret = host_address(m->g, gpa + new->mapped, len - new->mapped, &addr, &part);
		if (ret < 0)
			return ret;
		ret = m->iommu->map(m, new->iova + new->mapped, addr, part, rights);
		if (ret < 0)
			return fail_map(-ret);
	}
	return 0;
}

/* Have the IOMMU forget it. Returns 0 or -errno; then some of it may be left. */
static int forget(const struct guestmem_mapper *m, struct mapping *mapping)
{
	uint64_t gone = 0;
	int ret = m->iommu->unmap(m, mapping->iova, mapping->last - mapping->iova + 1, &gone);

	if (ret < 0)
		return ret;
	mapping->mapped -= gone < mapping->mapped ? gone : mapping->mapped;
	return mapping->mapped ? -EIO : 0;
}

/* Which regions there are. */
static int get_generation(struct guestmem *g, uint64_t *generation)
{
	struct guestmem_info info = { .size = sizeof(info) };
	int ret = guestmem_info(g, &info);

	*generation = info.generation;
	return ret;
}

/*
 * Lock and map. Returns 0, -errno, or 1 if what was mapped may be another region than the
 * one that was locked. But with 0 nothing is left of it, or if that fails, @new->mapped
 * bytes and the lock.
 */
static int try_map(struct guestmem_mapper *m, struct mapping *new, uint64_t gpa, uint32_t rights)
{
	uint64_t len = new->last - new->iova + 1, before, after;
	uint32_t direction = 0;
	int ret, saved;

	if (rights & GUESTMEM_RIGHT_READ)
		direction |= GUESTMEM_DMA_TO_DEVICE;
	if (rights & GUESTMEM_RIGHT_WRITE)
		direction |= GUESTMEM_DMA_FROM_DEVICE;
	ret = get_generation(m->g, &before);
	if (!ret)
		ret = guestmem_lock(m->g, gpa, len, direction, 0, &new->lock, NULL, NULL);
	if (ret < 0)
		return ret;
	ret = map_pieces(m, new, gpa, len, rights);
	if (!ret)
		ret = get_generation(m->g, &after);
	if (!ret && after == before)
		return 0;
	saved = errno;
	/* Not what somebody else has mapped behind it. */
	if (new->mapped)
		new->last = new->iova + (new->mapped - 1);
	if (!new->mapped || !forget(m, new))
		guestmem_unlock(m->g, new->lock);
	errno = saved;
	return ret < 0 ? ret : 1;
}

static int map(struct guestmem_mapper *m, struct mapping *new, uint64_t gpa, uint32_t rights)
{
	struct guestmem_error e = { .reason = GUESTMEM_REASON_OVERLAP, .addr = new->iova };
	unsigned int tries = 0;
	void *node;
	int ret;

	node = tsearch(new, &m->mappings, compare);
	if (!node)
		return fail(OP_MAPPER_MAP, ENOMEM, NULL);
	if (*(struct mapping **)node != new)
		return fail_reason(OP_MAPPER_MAP, EEXIST, &e);
	do {
		ret = try_map(m, new, gpa, rights);
	} while (ret > 0 && !new->mapped && ++tries < MAX_TRIES);
	if (ret && !new->mapped)
		tdelete(new, &m->mappings, compare);
	if (ret > 0)
		ret = fail(OP_MAPPER_MAP, EBUSY, "regions were added or removed all the while");
	return ret;
}

/* All mappings that are in the range, if each is in whole. */
static int unmap(struct guestmem_mapper *m, uint64_t iova, uint64_t last)
{
	struct guestmem_error e = { .reason = GUESTMEM_REASON_PARTIAL }, first = { 0 };
	struct mapping *mapping;
	int ret, failed = 0;

	mapping = find(m, iova, iova);
	if (!mapping || mapping->iova == iova)
		mapping = find(m, last, last);
	if (mapping && (mapping->iova < iova || mapping->last > last)) {
		e.addr = mapping->iova;
		e.need = mapping->last - mapping->iova + 1;
		return fail_reason(OP_MAPPER_UNMAP, ERANGE, &e);
	}
	while ((mapping = find_first(m, iova, last))) {
		ret = forget(m, mapping);
		if (ret < 0) {
			if (!failed) {
				failed = ret;
				first.addr = mapping->iova;
				first.need = mapping->last - mapping->iova + 1;
			}
			if (mapping->last == last)
				break;
			iova = mapping->last + 1;
			continue;
		}
		tdelete(mapping, &m->mappings, compare);
		guestmem_unlock(m->g, mapping->lock);
		free(mapping);
	}
	if (!failed)
		return 0;
	return fail_done(NULL, OP_MAPPER_UNMAP, -failed, not_unmapped, &first, 0);
}

/* That DMA locks are left is told, although nobody wanted to wait for them. */
static int unmap_domain(struct guestmem_mapper *m, struct guestmem_domain_unmap *arg)
{
	struct guestmem_error e = { .reason = GUESTMEM_REASON_USED, .addr = arg->iova };
	int ret = guestmem_domain_unmap(m->g, arg);

	if (ret || !arg->nusers)
		return ret;
	e.need = arg->nusers;
	return fail_reason(OP_MAPPER_UNMAP, ETIMEDOUT, &e);
}

static int check(const struct guestmem_mapper *m, enum op op)
{
	if (!m)
		return fail_null(op, "no mapper was given");
	return m->pid == getpid() ? 0 :
	       fail(op, EINVAL, "it is the mapper of the process that this one was forked from");
}

static void lock(struct guestmem_mapper *m)
{
	pthread_mutex_lock(&m->mutex);
	log_hold();
}

static void unlock(struct guestmem_mapper *m)
{
	pthread_mutex_unlock(&m->mutex);
	log_release();
}

/* A range that is none is told here, for the domain does not tell it as one of a mapper. */
static int check_range(const struct guestmem_mapper *m, enum op op, uint64_t iova, uint64_t len)
{
	struct guestmem_error e = { .reason = GUESTMEM_REASON_EMPTY };
	int ret = check(m, op);

	if (ret < 0)
		return ret;
	if (!len)
		return fail_reason(op, EINVAL, &e);
	return range_wraps(iova, len) ? fail_wraps(op, iova, len) : 0;
}

int guestmem_mapper_map(struct guestmem_mapper *m, uint64_t iova, uint64_t len, uint64_t gpa,
			uint32_t rights)
{
	const struct guestmem_mapping entry = {
		.iova = iova,
		.len = len,
		.gpa = gpa,
		.rights = rights,
	};
	struct mapping *new;
	int ret = check_range(m, OP_MAPPER_MAP, iova, len);

	if (ret < 0)
		return ret;
	if (!rights || (rights & ~(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)))
		return fail(OP_MAPPER_MAP, EINVAL, "the rights are not READ, WRITE, or both");
	if (!m->iommu)
		return guestmem_domain_map(m->g, &entry, 1, NULL);
	new = malloc(sizeof(*new));
	if (!new)
		return fail(OP_MAPPER_MAP, ENOMEM, NULL);
	new->iova = iova;
	new->last = iova + (len - 1);
	new->mapped = 0;
	lock(m);
	ret = map(m, new, gpa, rights);
	if (ret < 0 && !new->mapped)
		free(new);
	unlock(m);
	return ret;
}

int guestmem_mapper_unmap(struct guestmem_mapper *m, uint64_t iova, uint64_t len)
{
	struct guestmem_domain_unmap arg = { .size = sizeof(arg), .iova = iova, .len = len };
	int ret = check_range(m, OP_MAPPER_UNMAP, iova, len);

	if (ret < 0)
		return ret;
	if (!m->iommu)
		return unmap_domain(m, &arg);
	lock(m);
	ret = unmap(m, iova, iova + (len - 1));
	unlock(m);
	return ret;
}

int guestmem_mapper_reset(struct guestmem_mapper *m)
{
	struct guestmem_domain_unmap arg = {
		.size = sizeof(arg),
		.flags = GUESTMEM_UNMAP_ALL,
	};
	int ret = check(m, OP_MAPPER_UNMAP);

	if (ret < 0)
		return ret;
	if (!m->iommu)
		return unmap_domain(m, &arg);
	lock(m);
	ret = unmap(m, 0, UINT64_MAX);
	unlock(m);
	return ret;
}

/* -------- Mappers --------------------------------------------------------- */

static struct guestmem_mapper *mapper_new(struct guestmem *g, const struct iommu *iommu, int fd,
					  uint32_t ioas)
{
	struct guestmem_mapper *m = calloc(1, sizeof(*m));

	if (!m) {
		fail(OP_MAPPER, ENOMEM, NULL);
		return NULL;
	}
	m->iommu = iommu;
	m->ioas = ioas;
	m->pid = getpid();
	m->fd = -1;
	m->g = handle_part(g, g->fast.offset, g->last, g->rights);
	if (!m->g) {
		fail(OP_MAPPER, ENOMEM, NULL);
		goto err;
	}
	if (iommu) {
		m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (m->fd < 0) {
			fail(OP_MAPPER, errno, NULL);
			goto err;
		}
	}
	pthread_mutex_init(&m->mutex, NULL);
	return m;
err:
	guestmem_close(m->g);
	free(m);
	return NULL;
}

/* @ret: of a call that only @what takes. */
static int fail_probe(int ret, const char *what)
{
	int err = errno == ENOTTY || errno == EBADF ? EBADF : errno;

	return ret < 0 ? fail(OP_MAPPER, err, err == EBADF ? what : NULL) : 0;
}

struct guestmem_mapper *guestmem_mapper_domain(struct guestmem *d)
{
	return kind_check(d, OP_MAPPER, KIND_DOMAIN) < 0 ? NULL : mapper_new(d, NULL, -1, 0);
}

struct guestmem_mapper *guestmem_mapper_vfio(struct guestmem *g, int container)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };
	int ret;

	if (handle_check(g, OP_MAPPER) < 0)
		return NULL;
	ret = ioctl(container, VFIO_IOMMU_GET_INFO, &info);
	if (ret < 0 && errno == EINVAL) {
		fail(OP_MAPPER, EINVAL, "the container has no group, or no IOMMU was set");
		return NULL;
	}
	if (fail_probe(ret, "it is not a VFIO container") < 0)
		return NULL;
	return mapper_new(g, &vfio, container, 0);
}

struct guestmem_mapper *guestmem_mapper_iommufd(struct guestmem *g, int fd, uint32_t ioas)
{
#ifdef IOMMU_IOAS_MAP
	struct iommu_ioas_iova_ranges arg = { .size = sizeof(arg), .ioas_id = ioas };
	int ret;

	if (handle_check(g, OP_MAPPER) < 0)
		return NULL;
	/* That there is no room for them shows that it is one. */
	ret = ioctl(fd, IOMMU_IOAS_IOVA_RANGES, &arg);
	if (ret < 0 && errno == EMSGSIZE)
		ret = 0;
	if (fail_probe(ret, "it is not of iommufd") < 0)
		return NULL;
	return mapper_new(g, &iommufd, fd, ioas);
#else
	(void)fd;
	(void)ioas;
	if (handle_check(g, OP_MAPPER) == 0)
		fail(OP_MAPPER, EOPNOTSUPP, "the library was built without <linux/iommufd.h>");
	return NULL;
#endif
}

void guestmem_mapper_close(struct guestmem_mapper *m)
{
	int saved = errno;

	if (!m)
		return;
	/* A domain's mappings are not the mapper's: others may have made them. */
	if (m->pid == getpid()) {
		if (m->iommu)
			guestmem_mapper_reset(m);
		pthread_mutex_destroy(&m->mutex);
	}
	/* What the IOMMU has not unmapped stays locked. */
	tdestroy(m->mappings, free);
	guestmem_close(m->g);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
	errno = saved;
}
