// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Mappers of each kind: the same calls, the same errors. Natively over a container that is
 * none, as ioctl(2) here knows it; over a domain where there is /dev/guestmem; over VFIO if
 * GUESTMEM_TEST_VFIO is the number of a group that can be used; and over iommufd, where the
 * kernel and the library have it.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#endif

#include "backends.h"
#include "faults.h"

#define RW	(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)
#define GPA	0x200000ULL
#define LEN	(8 * PAGE)
#define IOVA	0x100000ULL

/* -------- A container that is none ---------------------------------------- */

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* What it was asked to map, in this order. */
static struct vfio_iommu_type1_dma_map fake[16];
static size_t nfake;
static int fake_fd = -1;
static int fail_at = -1;		/* the mapping that fails, of those to come */
static void (*on_map)(void);		/* what happens while it maps */
static uint64_t stuck = UINT64_MAX;	/* the mapping with this IOVA is not unmapped, */
static int stuck_err;			/* and if this is not 0, nothing that overlaps it */

static int fake_map(const struct vfio_iommu_type1_dma_map *map)
{
	size_t i;

	if (on_map)
		on_map();
	if (!fail_at--) {
		errno = EFAULT;
		return -1;
	}
	for (i = 0; i < nfake; i++) {
		if (overlap(map->iova, map->size, fake[i].iova, fake[i].size)) {
			errno = EEXIST;
			return -1;
		}
	}
	if (nfake == sizeof(fake) / sizeof(fake[0]) || ((map->iova | map->size) & (PAGE - 1))) {
		errno = EINVAL;
		return -1;
	}
	fake[nfake++] = *map;
	return 0;
}

/* Whole mappings only, as type 1 of version 2. */
static int fake_unmap(struct vfio_iommu_type1_dma_unmap *unmap)
{
	uint64_t size = unmap->size;
	size_t i, kept = 0;

	if (stuck_err && overlap(unmap->iova, size, stuck, 1)) {
		errno = stuck_err;
		return -1;
	}
	unmap->size = 0;
	for (i = 0; i < nfake; i++) {
		if (overlap(unmap->iova, size, fake[i].iova, fake[i].size) &&
		    fake[i].iova != stuck) {
			if (fake[i].iova < unmap->iova ||
			    fake[i].iova + fake[i].size > unmap->iova + size) {
				errno = EINVAL;
				return -1;
			}
			unmap->size += fake[i].size;
			continue;
		}
		fake[kept++] = fake[i];
	}
	nfake = kept;
	return 0;
}

static bool is_fake(int fd)
{
	struct stat a, b;

	return fake_fd >= 0 && !fstat(fd, &a) && !fstat(fake_fd, &b) && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

/* In the place of libc's. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!is_fake(fd))
		return (int)syscall(SYS_ioctl, fd, request, arg);
	switch (request) {
	case VFIO_IOMMU_GET_INFO:
		return 0;
	case VFIO_IOMMU_MAP_DMA:
		return fake_map(arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return fake_unmap(arg);
	}
	errno = ENOTTY;
	return -1;
}

/* -------- Guests: two regions that are adjacent, and a read-only one ------ */

static char *mem;

static struct guestmem *process_guest(void)
{
	struct guestmem *g = guestmem_create(4 << 20);

	assert_non_null(g);
	assert_ok(guestmem_add_anon(g, GPA, LEN / 2, 0, NULL));
	assert_ok(guestmem_add_anon(g, GPA + LEN / 2, LEN / 2, 0, NULL));
	assert_ok(guestmem_add_anon(g, GPA + LEN, PAGE, GUESTMEM_REGION_READONLY, NULL));
	return g;
}

static struct guestmem *device_guest(void)
{
	struct guestmem *g = guestmem_open(O_RDWR);

	if (!g)
		return NULL;
	if (!mem)
		mem = mmap(NULL, LEN + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	assert_ok(guestmem_add_user(g, GPA, LEN / 2, mem, 0, NULL));
	assert_ok(guestmem_add_user(g, GPA + LEN / 2, LEN / 2, mem + LEN / 2, 0, NULL));
	assert_ok(guestmem_add_user(g, GPA + LEN, PAGE, mem + LEN, GUESTMEM_REGION_READONLY, NULL));
	return g;
}

/* -------- Mappers --------------------------------------------------------- */

static int container = -1, group = -1, iommufd = -1;

static struct guestmem_mapper *fake_mapper(struct guestmem *g)
{
	fake_fd = file_of(PAGE);
	assert_true(fake_fd >= 0);
	nfake = 0;
	return guestmem_mapper_vfio(g, fake_fd);
}

/* The container of a group, which need have no device that is opened. */
static struct guestmem_mapper *vfio_mapper(struct guestmem *g)
{
	const char *number = getenv("GUESTMEM_TEST_VFIO");
	char path[64];

	if (!number)
		return NULL;
	snprintf(path, sizeof(path), "/dev/vfio/%s", number);
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	group = open(path, O_RDWR | O_CLOEXEC);
	assert_true(container >= 0 && group >= 0);
	assert_null_fails(guestmem_mapper_vfio(g, container), EINVAL);
	assert_int_equal(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	assert_int_equal(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	return guestmem_mapper_vfio(g, container);
}

static struct guestmem_mapper *iommufd_mapper(struct guestmem *g)
{
#ifdef IOMMU_IOAS_ALLOC
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (iommufd < 0)
		return NULL;
	assert_int_equal(ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc), 0);
	assert_null_fails(guestmem_mapper_iommufd(g, iommufd, alloc.out_ioas_id + 1), ENOENT);
	return guestmem_mapper_iommufd(g, iommufd, alloc.out_ioas_id);
#else
	(void)g;
	return NULL;
#endif
}

static struct guestmem_mapper *domain_mapper(struct guestmem *g)
{
	struct guestmem *d;
	struct guestmem_mapper *m;

	/* Of a process, or of a kernel without domains */
	if (guestmem_fd(g) < 0)
		return NULL;
	d = guestmem_domain_create(g, PAGE, 0, UINT64_MAX, RW);
	if (!d && (errno == ENOTTY || errno == EOPNOTSUPP))
		return NULL;
	m = d ? guestmem_mapper_domain(d) : NULL;
	if (!m)
		failed("%s", guestmem_strerror());
	guestmem_close(d);
	return m;
}

static void close_all(void)
{
	int *fds[] = { &group, &container, &iommufd, &fake_fd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static const struct {
	const char *name;
	struct guestmem_mapper *(*make)(struct guestmem *g);
	bool iommu;			/* which looks for memory when it is told to map */
} kinds[] = {
	{ "a container that is none", fake_mapper, true },
	{ "VFIO", vfio_mapper, true },
	{ "iommufd", iommufd_mapper, true },
	{ "a domain", domain_mapper, false },
};

static void same_errors(struct guestmem_mapper *m)
{
	struct guestmem_error e;

	assert_ok(guestmem_mapper_map(m, IOVA, LEN, GPA, RW));
	/* The last byte, the first one, all of it, and around it */
	assert_fails(guestmem_mapper_map(m, IOVA - PAGE, 2 * PAGE, GPA, RW), EEXIST);
	assert_fails(guestmem_mapper_map(m, IOVA + LEN - PAGE, 2 * PAGE, GPA, RW), EEXIST);
	assert_fails(guestmem_mapper_map(m, IOVA, LEN, GPA, RW), EEXIST);
	assert_fails(guestmem_mapper_map(m, IOVA + PAGE, PAGE, GPA, RW), EEXIST);
	assert_ok(guestmem_mapper_map(m, IOVA + LEN, PAGE, GPA, GUESTMEM_RIGHT_READ));

	/* A mapping is undone as it was made, although there are two regions in it. */
	assert_fails(guestmem_mapper_unmap(m, IOVA, LEN / 2), ERANGE);
	guestmem_last_error(&e);
	assert_int_equal(e.reason, GUESTMEM_REASON_PARTIAL);
	assert_true(e.addr == IOVA && e.need == LEN);
	assert_fails(guestmem_mapper_unmap(m, IOVA + LEN / 2, LEN / 2), ERANGE);
	assert_fails(guestmem_mapper_unmap(m, IOVA + PAGE, PAGE), ERANGE);
	assert_fails(guestmem_mapper_unmap(m, IOVA + PAGE, 1ULL << 30), ERANGE);
	assert_fails(guestmem_mapper_unmap(m, 0, IOVA + 1), ERANGE);
	/* Nothing of that was done. */
	assert_fails(guestmem_mapper_map(m, IOVA + LEN, PAGE, GPA, RW), EEXIST);
	assert_fails(guestmem_mapper_map(m, IOVA, PAGE, GPA, RW), EEXIST);
	/* More than one, and holes */
	assert_ok(guestmem_mapper_unmap(m, IOVA - 16 * PAGE, 64 * PAGE));
	assert_ok(guestmem_mapper_unmap(m, IOVA - 16 * PAGE, 64 * PAGE));
	assert_ok(guestmem_mapper_map(m, IOVA, LEN, GPA, RW));
	assert_ok(guestmem_mapper_unmap(m, IOVA, LEN));

	assert_fails(guestmem_mapper_map(m, IOVA, 0, GPA, RW), EINVAL);
	assert_fails(guestmem_mapper_unmap(m, IOVA, 0), EINVAL);
	assert_fails(guestmem_mapper_map(m, IOVA, PAGE, GPA, 0), EINVAL);
	assert_fails(guestmem_mapper_map(m, IOVA, PAGE, GPA, RW | GUESTMEM_RIGHT_LOCK), EINVAL);
	assert_fails(guestmem_mapper_map(m, UINT64_MAX, 2, GPA, RW), EOVERFLOW);
	assert_fails(guestmem_mapper_unmap(m, UINT64_MAX, 2), EOVERFLOW);

	for (uint64_t i = 0; i < 8; i++)
		assert_ok(guestmem_mapper_map(m, IOVA + (i * 5 % 8) * PAGE, PAGE, GPA + i * PAGE,
					      RW));
	assert_ok(guestmem_mapper_reset(m));
	assert_ok(guestmem_mapper_map(m, IOVA, LEN, GPA, RW));
	assert_ok(guestmem_mapper_reset(m));
}

/* What an IOMMU maps must be there, and is held. */
static void memory_is_held(struct guestmem *g, struct guestmem_mapper *m)
{
	struct guestmem_error e;
	struct guestmem_region *regions;
	struct guestmem_info info = { .size = sizeof(info) };
	uint32_t id;
	size_t n;

	assert_fails(guestmem_mapper_map(m, IOVA, LEN + 2 * PAGE, GPA, GUESTMEM_RIGHT_READ), ENXIO);
	guestmem_last_error(&e);
	assert_true(e.addr == GPA + LEN + PAGE);
	assert_fails(guestmem_mapper_map(m, IOVA, LEN + PAGE, GPA, RW), EACCES);
	guestmem_last_error(&e);
	assert_int_equal(e.reason, GUESTMEM_REASON_READONLY);
	assert_ok(guestmem_mapper_map(m, IOVA, LEN + PAGE, GPA, GUESTMEM_RIGHT_READ));
	assert_ok(guestmem_mapper_unmap(m, IOVA, LEN + PAGE));

	assert_ok(guestmem_regions(g, &regions, &n));
	id = regions[1].id;
	free(regions);
	assert_ok(guestmem_mapper_map(m, IOVA, LEN, GPA, RW));
	assert_fails(guestmem_remove(g, id), EBUSY);
	/* Nor does the guest get other pages than the device has. */
	if (guestmem_fd(g) < 0)
		assert_fails(guestmem_discard(g, GPA, PAGE), EBUSY);
	assert_ok(guestmem_mapper_unmap(m, IOVA, LEN));
	if (guestmem_fd(g) < 0)
		assert_ok(guestmem_discard(g, GPA, PAGE));
	assert_ok(guestmem_info(g, &info));
	assert_int_equal(info.nlocks, 0);
	assert_ok(guestmem_remove(g, id));
	assert_fails(guestmem_mapper_map(m, IOVA, LEN, GPA, RW), ENXIO);
	/* No part of that is left. */
	assert_ok(guestmem_mapper_map(m, IOVA, LEN / 2, GPA, RW));
	assert_ok(guestmem_info(g, &info));
	assert_int_equal(info.nlocks, 1);
}

static void test_kinds(void **state)
{
	struct guestmem *(*const guests[])(void) = { process_guest, device_guest };
	struct guestmem_mapper *m;
	struct guestmem *g;
	unsigned int tried = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
			g = guests[i]();
			m = g ? kinds[k].make(g) : NULL;
			if (m) {
				print_message("%s, of %s\n", kinds[k].name,
					      i ? "/dev/guestmem" : "this process");
				same_errors(m);
				if (kinds[k].iommu)
					memory_is_held(g, m);
				tried++;
			}
			guestmem_close(g);
			guestmem_mapper_close(m);
			close_all();
		}
	}
	assert_true(tried >= 1);
}

/* What the kernel is told: each region by itself, where it is in this process. */
static void test_pieces(void **state)
{
	struct guestmem *g = process_guest();
	struct guestmem_mapper *m = fake_mapper(g);
	struct guestmem_info info = { .size = sizeof(info) };

	(void)state;
	assert_non_null(m);
	assert_ok(guestmem_mapper_map(m, IOVA, 2 * PAGE, GPA + LEN / 2 - PAGE, RW));
	assert_int_equal(nfake, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(fake[i].iova == IOVA + i * PAGE);
		assert_true(fake[i].size == PAGE);
		assert_true(fake[i].vaddr ==
			    (uintptr_t)guestmem_ptr(g, GPA + LEN / 2 - PAGE + i * PAGE, 1));
		assert_int_equal(fake[i].flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
	}
	assert_ok(guestmem_mapper_unmap(m, IOVA, 2 * PAGE));
	assert_int_equal(nfake, 0);
	assert_ok(guestmem_mapper_map(m, IOVA, PAGE, GPA, GUESTMEM_RIGHT_WRITE));
	assert_int_equal(fake[0].flags, VFIO_DMA_MAP_FLAG_WRITE);

	/* All or nothing, whichever piece it is that fails */
	for (int i = 0; i < 2; i++) {
		fail_at = i;
		assert_fails(guestmem_mapper_map(m, IOVA + LEN, LEN, GPA, RW), EFAULT);
		assert_int_equal(nfake, 1);
		assert_ok(guestmem_info(g, &info));
		assert_int_equal(info.nlocks, 1);
	}
	fail_at = -1;
	assert_ok(guestmem_mapper_map(m, IOVA + LEN, LEN, GPA, RW));
	assert_int_equal(nfake, 3);
	/* It keeps what it needs, and ends with nothing mapped. */
	guestmem_close(g);
	assert_ok(guestmem_mapper_unmap(m, IOVA + LEN, LEN));
	errno = 5;
	guestmem_mapper_close(m);
	assert_int_equal(errno, 5);
	assert_int_equal(nfake, 0);
	close_all();
}

/* By a part, and by its addresses. */
static void test_part(void **state)
{
	struct guestmem *g = process_guest();
	struct guestmem *part = guestmem_subrange(g, GPA + PAGE, LEN - PAGE, 0);
	struct guestmem_mapper *m = fake_mapper(part);

	(void)state;
	assert_non_null(m);
	assert_fails(guestmem_mapper_map(m, IOVA, LEN, 0, RW), ENXIO);
	assert_ok(guestmem_mapper_map(m, IOVA, LEN - PAGE, 0, RW));
	assert_true(fake[0].vaddr == (uintptr_t)guestmem_ptr(g, GPA + PAGE, 1));
	guestmem_close(part);
	part = guestmem_subrange(g, 0, 4 << 20, GUESTMEM_SUBRANGE_READONLY);
	guestmem_mapper_close(m);
	m = guestmem_mapper_vfio(part, fake_fd);
	assert_fails(guestmem_mapper_map(m, IOVA, LEN, GPA, RW), EACCES);
	guestmem_mapper_close(m);
	guestmem_close(part);
	guestmem_close(g);
	close_all();
}

static uint32_t nlocks(struct guestmem *g)
{
	struct guestmem_info info = { .size = sizeof(info) };

	assert_ok(guestmem_info(g, &info));
	return info.nlocks;
}

/* What is not unmapped stays, with its lock, and nothing else does. */
static void test_unmap_fails(void **state)
{
	struct guestmem *g = process_guest();
	struct guestmem_mapper *m = fake_mapper(g);
	struct guestmem_error e;

	(void)state;
	assert_non_null(m);
	for (int err = 0; err <= EBUSY; err += EBUSY) {
		/* Of the middle one of three, the second region; of all, and by itself */
		for (uint64_t i = 0; i < 3; i++)
			assert_ok(guestmem_mapper_map(m, IOVA + i * LEN, LEN, GPA, RW));
		stuck = IOVA + LEN + LEN / 2;
		stuck_err = err;
		assert_fails(guestmem_mapper_unmap(m, IOVA, 3 * LEN), err ? err : EIO);
		guestmem_last_error(&e);
		assert_true(e.addr == IOVA + LEN && e.need == LEN);
		assert_int_equal(nfake, err ? 2 : 1);
		assert_int_equal(nlocks(g), 1);
		assert_fails(guestmem_mapper_reset(m), err ? err : EIO);
		assert_fails(guestmem_mapper_map(m, IOVA + LEN, PAGE, GPA, RW), EEXIST);
		stuck = UINT64_MAX;
		assert_ok(guestmem_mapper_unmap(m, IOVA, 3 * LEN));
		assert_int_equal(nfake, 0);
		assert_int_equal(nlocks(g), 0);
	}

	/* What was mapped when mapping failed can be unmapped, and no more is. */
	stuck = IOVA;
	fail_at = 1;
	assert_fails(guestmem_mapper_map(m, IOVA, LEN, GPA, RW), EFAULT);
	fail_at = -1;
	assert_int_equal(nfake, 1);
	assert_int_equal(nlocks(g), 1);
	assert_fails(guestmem_mapper_map(m, IOVA, PAGE, GPA, RW), EEXIST);
	assert_ok(guestmem_mapper_map(m, IOVA + LEN / 2, LEN / 2, GPA, RW));
	stuck = UINT64_MAX;
	assert_ok(guestmem_mapper_unmap(m, IOVA, LEN / 2));
	assert_int_equal(nfake, 1);
	assert_int_equal(nlocks(g), 1);
	stuck = IOVA + LEN / 2;
	guestmem_mapper_close(m);
	stuck = UINT64_MAX;
	assert_int_equal(nlocks(g), 1);
	guestmem_close(g);
	close_all();
}

static struct guestmem *changing;
static uint32_t there;
static int changes;

static void replace(void)
{
	uint32_t left;

	if (!changes)
		return;
	changes--;
	assert_fails(guestmem_revoke(changing, there, 0, &left), ETIMEDOUT);
	assert_int_equal(left, 1);
	assert_ok(guestmem_add_anon(changing, 0, PAGE, 0, &there));
}

/* What is mapped is what is locked, also if the region becomes another one meanwhile. */
static void test_replaced(void **state)
{
	struct guestmem_mapper *m;

	(void)state;
	changing = process_guest();
	assert_ok(guestmem_add_anon(changing, 0, PAGE, 0, &there));
	m = fake_mapper(changing);
	assert_non_null(m);
	on_map = replace;
	changes = 2;
	assert_ok(guestmem_mapper_map(m, IOVA, PAGE, 0, RW));
	assert_int_equal(changes, 0);
	assert_int_equal(nfake, 1);
	assert_int_equal(nlocks(changing), 1);
	assert_fails(guestmem_remove(changing, there), EBUSY);
	assert_ok(guestmem_mapper_unmap(m, IOVA, PAGE));
	/* There is an end to it. */
	changes = -1;
	assert_fails(guestmem_mapper_map(m, IOVA, PAGE, 0, RW), EBUSY);
	on_map = NULL;
	assert_int_equal(nfake, 0);
	assert_int_equal(nlocks(changing), 0);
	guestmem_mapper_close(m);
	guestmem_close(changing);
	close_all();
}

static int misuse(struct guestmem_mapper *m)
{
	if (guestmem_mapper_map(m, IOVA + LEN, PAGE, GPA, RW) != -EINVAL ||
	    guestmem_mapper_unmap(m, IOVA, LEN) != -EINVAL || guestmem_mapper_reset(m) != -EINVAL)
		return 1;
	guestmem_mapper_close(m);
	return nfake == 2 ? 0 : 2;
}

static void test_fork(void **state)
{
	struct guestmem *g = process_guest();
	struct guestmem_mapper *m = fake_mapper(g);
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(m);
	assert_ok(guestmem_mapper_map(m, IOVA, LEN, GPA, RW));
	pid = fork();
	if (!pid)
		_exit(misuse(m));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_ok(guestmem_mapper_unmap(m, IOVA, LEN));
	guestmem_mapper_close(m);
	guestmem_close(g);
	close_all();
}

static unsigned int nheard;

static void unmap_more(void *ctx, int err, const char *text)
{
	(void)err;
	(void)text;
	nheard++;
	assert_ok(guestmem_mapper_unmap(ctx, 0, PAGE));
}

/* Who hears of a failure may use the mapper. */
static void test_log(void **state)
{
	struct guestmem *g = process_guest();
	struct guestmem_mapper *m = fake_mapper(g);

	(void)state;
	assert_non_null(m);
	assert_ok(guestmem_mapper_map(m, IOVA, LEN, GPA, RW));
	guestmem_set_log(unmap_more, m);
	assert_fails(guestmem_mapper_map(m, IOVA, LEN, GPA, RW), EEXIST);
	assert_fails(guestmem_mapper_map(m, IOVA + LEN, LEN, 0, RW), ENXIO);
	assert_fails(guestmem_mapper_unmap(m, IOVA, PAGE), ERANGE);
	guestmem_set_log(NULL, NULL);
	assert_int_equal(nheard, 3);
	guestmem_mapper_close(m);
	guestmem_close(g);
	close_all();
}

/* As somebody whose number is the same, and whose addresses are others. */
static int after_exec(const char *fd)
{
	struct guestmem *g = guestmem_from_fd(atoi(fd));
	struct guestmem_mapper *m = g ? fake_mapper(g) : NULL;
	int ret = m ? guestmem_mapper_map(m, IOVA, PAGE, GPA, RW) : 1;

	guestmem_mapper_close(m);
	guestmem_close(g);
	return ret != -EOPNOTSUPP;
}

static void test_exec(void **state)
{
	char number[16];
	struct guestmem *g;
	int status;
	pid_t pid;

	(void)state;
	if (access(GUESTMEM_DEVICE, R_OK | W_OK))
		skip();
	pid = fork();
	if (!pid) {
		g = device_guest();
		snprintf(number, sizeof(number), "%d", g ? dup(guestmem_fd(g)) : -1);
		execl("/proc/self/exe", "mapper", number, NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

struct work {
	struct guestmem_mapper *m;
	unsigned int seed;
	unsigned int wrong;
};

/* The container that is none has no lock: it is the mapper that has. */
static void *map_and_unmap(void *arg)
{
	struct work *w = arg;

	for (int i = 0; i < 2000; i++) {
		uint64_t iova = (uint64_t)rand_r(&w->seed) % 8 * PAGE;
		uint64_t len = ((uint64_t)rand_r(&w->seed) % 3 + 1) * PAGE;
		int ret;

		if (rand_r(&w->seed) % 2) {
			ret = guestmem_mapper_map(w->m, iova, len, GPA + LEN / 2 - PAGE, RW);
			w->wrong += ret && ret != -EEXIST;
		} else {
			ret = guestmem_mapper_unmap(w->m, iova, len);
			w->wrong += ret && ret != -ERANGE;
		}
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct guestmem *g = process_guest();
	struct guestmem_mapper *m = fake_mapper(g);
	struct guestmem_info info = { .size = sizeof(info) };
	pthread_t threads[4];
	struct work work[4];

	(void)state;
	assert_non_null(m);
	for (unsigned int i = 0; i < 4; i++) {
		work[i] = (struct work){ .m = m, .seed = i };
		assert_int_equal(pthread_create(&threads[i], NULL, map_and_unmap, &work[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(work[i].wrong, 0);
	}
	assert_ok(guestmem_mapper_reset(m));
	assert_int_equal(nfake, 0);
	assert_ok(guestmem_info(g, &info));
	assert_int_equal(info.nlocks, 0);
	guestmem_mapper_close(m);
	guestmem_close(g);
	close_all();
}

#define setup		NULL
#define teardown	NULL

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		T(kinds), T(pieces), T(part), T(unmap_fails), T(replaced), T(fork), T(log), T(exec),
		T(threads),
	};

	if (argc > 1)
		return after_exec(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
