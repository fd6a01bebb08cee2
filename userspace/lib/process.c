// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * The backend of guestmem_create(): memory of this process.
 *
 * - The window is reserved when the guest is made, and a region is a mapping at its
 *   address in it. What is not a region is PROT_NONE.
 * - A struct region is never freed, only used again, so that one that was found without
 *   a lock can be looked at. Its number says which it is: number modulo MAX_REGIONS.
 * - users counts holds and locks; in its upper half is the region's number. With GONE
 *   set, there can be no new ones. Who raises it and finds the number, and not GONE, has
 *   the region. A region is removed by making a count of 0 GONE, and revoked by setting
 *   GONE and waiting. It is used again once its count is GONE and nothing else.
 * - Everything that changes is done under the mutex. A region is mapped before it is in
 *   the table, and not in the table before it is unmapped.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "recover.h"

#define GONE		((uint64_t)GUESTMEM_GONE_)
#define COUNT(users)	((uint32_t)(users))
#define MAX_LOCKS	65536

/* As struct guestmem_region_ */
struct region {
	uint64_t users;		/* atomic */
	uint64_t gpa;
	uint64_t len;
	uint64_t offset;
	uint64_t generation;
	uint32_t id;		/* 0: free, never used */
	uint32_t flags;		/* GUESTMEM_REGION_* */
	uint32_t backing;	/* GUESTMEM_BACKING_*; 0: private */
	int fd;			/* -1 if there is none, FREE */
	struct process *owner;
};

#define FREE	(-2)

_Static_assert(sizeof(struct region) == sizeof(struct guestmem_region_), "the same size");

/* Some of a region, which is held for it. */
struct piece {
	struct region *region;
	uint64_t gpa;
	uint64_t last;
};

/* A guestmem_lock() */
struct lock {
	uint32_t handle;
	uint32_t n;
	struct piece pieces[];
};

struct process {
	pthread_mutex_t mutex;
	struct region *regions;		/* MAX_REGIONS */
	uint32_t *sorted;		/* of those that are in the table, by GPA */
	size_t n;
	struct guestmem_table_entry *entries;
	struct lock **locks;		/* MAX_LOCKS */
	uint32_t nlocks;
	uint32_t next_lock;
	uint64_t id;
};

static uint64_t last_id;

static struct process *of(struct space *s)
{
	return s->priv;
}

static void region_free(struct region *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = FREE;
}

static void process_destroy(struct space *s)
{
	struct process *p = s->priv;
	uint32_t i;

	for (i = 0; i < MAX_REGIONS; i++)
		region_free(&p->regions[i]);
	for (i = 0; p->nlocks && i < MAX_LOCKS; i++)
		free(p->locks[i]);
	munmap(p->locks, MAX_LOCKS * sizeof(void *));
	munmap(p->regions, MAX_REGIONS * sizeof(*p->regions));
	pthread_mutex_destroy(&p->mutex);
	free(p->sorted);
	free(p->entries);
	free(p);
}

/* Regions that were revoked, and have no users any more. The mutex is held. */
static void reap(struct process *p)
{
	uint32_t i;

	for (i = 0; i < MAX_REGIONS; i++) {
		struct region *r = &p->regions[i];

		if (r->fd != FREE && COUNT(__atomic_load_n(&r->users, __ATOMIC_ACQUIRE)) == GONE)
			region_free(r);
	}
}

/* The futex is the count. */
static uint32_t *count_of(struct region *r)
{
	return (uint32_t *)&r->users + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

/* Its users became fewer, and it is to go. */
static void released(struct process *p, struct region *r)
{
	syscall(SYS_futex, count_of(r), FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	pthread_mutex_lock(&p->mutex);
	reap(p);
	pthread_mutex_unlock(&p->mutex);
}

void guestmem_released_(struct guestmem_region_ *region)
{
	struct region *r = (struct region *)region;

	released(r->owner, r);
}

static void region_put(struct process *p, struct region *r)
{
	if (__atomic_sub_fetch(&r->users, 1, __ATOMIC_RELEASE) & GONE)
		released(p, r);
}

/* Keep the region with this number, if it is still there and has @gpa. */
static struct region *region_get(struct process *p, uint32_t id, uint64_t gpa)
{
	struct region *r = &p->regions[id % MAX_REGIONS];
	uint64_t users = __atomic_fetch_add(&r->users, 1, __ATOMIC_ACQUIRE);

	if (!(users & GONE) && users >> 32 == id && gpa - r->gpa < r->len)
		return r;
	region_put(p, r);
	return NULL;
}

/* Keep the region at @gpa, if there is one. */
static struct region *region_get_at(struct space *s, uint64_t gpa, struct why *why)
{
	struct guestmem_table_entry e;
	struct region *r = NULL;
	uint32_t id;

	if (s->slots && gpa >> SLOT_SHIFT < s->nslots) {
		id = __atomic_load_n(&s->slot_ids[gpa >> SLOT_SHIFT], __ATOMIC_RELAXED);
		if (id)
			r = region_get(of(s), id, gpa);
	}
	/* Again, if it was removed when it had just been found. */
	while (!r && !space_find(s, gpa, &e))
		r = region_get(of(s), e.id, gpa);
	if (!r)
		why_reason(why, ENXIO, GUESTMEM_REASON_HOLE, gpa, 0, 0);
	return r;
}

/* -------- Faults --------------------------------------------------------- */

static int process_fault(struct space *s, const struct guestmem_fault *fault, struct why *why)
{
	struct guestmem_table_entry e;
	int ret = space_find(s, fault->gpa, &e);

	if (ret)
		return why_reason(why, ENXIO, GUESTMEM_REASON_HOLE, fault->gpa, 0, 0);
	if (fault->write && (e.flags & GUESTMEM_REGION_READONLY))
		return why_reason(why, EACCES, GUESTMEM_REASON_READONLY, fault->gpa, 0, 0);
	/* Mapped, and behind the file's end, or no memory for it; or a hardware error. */
	if (fault->signal == SIGBUS)
		return last_fault.code == BUS_MCEERR_AR || last_fault.code == BUS_MCEERR_AO ?
		       why_reason(why, EHWPOISON, GUESTMEM_REASON_POISONED, fault->gpa, 0, 0) :
		       why_text(why, EFAULT,
				"the memory is gone: its file was cut, or there was no (huge) page for it");
	/* It has been added since. */
	return GUESTMEM_FAULT_RETRY;
}

/* -------- Regions -------------------------------------------------------- */

/* The mutex is held. */
static void publish(struct space *s)
{
	struct process *p = of(s);
	size_t i;

	for (i = 0; i < p->n; i++) {
		struct region *r = &p->regions[p->sorted[i]];

		p->entries[i] = (struct guestmem_table_entry){
			.gpa = r->gpa,
			.len = r->len,
			.id = r->id,
			.flags = r->flags,
			.generation = r->generation,
		};
	}
	table_update(s, p->entries, p->n);
}

static int check_range(struct space *s, const struct guestmem_region_add *arg, size_t align,
		       struct why *why)
{
	struct process *p = of(s);
	size_t i;

	if (!arg->len)
		return why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, arg->gpa, 0, 0);
	if (arg->gpa % align)
		return why_reason(why, EINVAL, GUESTMEM_REASON_MISALIGNED, arg->gpa, align, 0);
	if (arg->len % align)
		return why_reason(why, EINVAL, GUESTMEM_REASON_MISALIGNED, arg->len, align, 0);
	if (arg->len > GUESTMEM_REGION_MAX_LEN)
		return why_reason(why, EINVAL, GUESTMEM_REASON_TOO_LONG, arg->gpa, arg->len,
				  GUESTMEM_REGION_MAX_LEN);
	if (range_wraps(arg->gpa, arg->len))
		return why_reason(why, EOVERFLOW, GUESTMEM_REASON_WRAPS, arg->gpa, arg->len,
				  UINT64_MAX);
	if (arg->gpa + (arg->len - 1) > s->last)
		return why_reason(why, EOVERFLOW, GUESTMEM_REASON_WRAPS, arg->gpa, arg->len,
				  s->last);
	for (i = 0; i < p->n; i++) {
		struct region *r = &p->regions[p->sorted[i]];

		if (arg->gpa <= r->gpa + (r->len - 1) && r->gpa <= arg->gpa + (arg->len - 1))
			return why_reason(why, EEXIST, GUESTMEM_REASON_OVERLAP, arg->gpa,
					  r->id, 0);
	}
	if (p->n == MAX_REGIONS)
		return why_reason(why, ENOSPC, GUESTMEM_REASON_LIMIT, 0, p->n + 1, MAX_REGIONS);
	return 0;
}

/* One that is free, with its next number. The mutex is held. */
static struct region *region_new(struct process *p)
{
	uint32_t i, next;

	for (i = 0; i < MAX_REGIONS; i++) {
		struct region *r = &p->regions[i];

		/* Somebody who found what it was may be about to look at it. */
		if (r->fd != FREE || COUNT(__atomic_load_n(&r->users, __ATOMIC_ACQUIRE)) != GONE)
			continue;
		next = r->id || !i ? r->id + MAX_REGIONS : i;
		if (next < r->id)
			continue;	/* no number is left for it */
		r->id = next;
		return r;
	}
	return NULL;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * Map what @arg says, anywhere: a mapping to its place that fails would leave a hole there.
 * Returns 0, where it is in *@mem, and what is to be known of it in @r.
 */
static int map_file(const struct guestmem_region_add *arg, int fd, uint64_t offset,
		    struct region *r, void **mem, struct why *why)
{
	const bool readonly = arg->flags & GUESTMEM_REGION_READONLY;
	int prot = readonly ? PROT_READ : PROT_READ | PROT_WRITE;
	int seals = fcntl(fd, F_GET_SEALS), mode = fcntl(fd, F_GETFL);
	struct stat st;
	int err;

	if (mode < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((mode & O_ACCMODE) != O_RDWR && ((mode & O_ACCMODE) == O_WRONLY || !readonly))
		return why_reason(why, EACCES, GUESTMEM_REASON_READONLY, offset, 0, 0);
	/* The kernel would take that for a private mapping, in some of its versions. */
	if (!readonly && seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return why_reason(why, EACCES, GUESTMEM_REASON_READONLY, offset, 0, 0);
	if (S_ISREG(st.st_mode) && (offset > (uint64_t)st.st_size ||
				    arg->len > (uint64_t)st.st_size - offset))
		return why_reason(why, EINVAL, GUESTMEM_REASON_END_OF_FILE, offset,
				  offset + arg->len, (uint64_t)st.st_size);
	r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (r->fd < 0)
		return -errno;
	/* Huge pages that were asked for are there, or it fails now. */
	*mem = mmap(NULL, arg->len, prot,
		    MAP_SHARED | (arg->flags & GUESTMEM_ANON_HUGETLB ? 0 : MAP_NORESERVE), fd,
		    (off_t)offset);
	if (*mem == MAP_FAILED) {
		err = errno;
		close(r->fd);
		r->fd = -1;
		return err == ENODEV ?
		       why_reason(why, EOPNOTSUPP, GUESTMEM_REASON_FILE_TYPE, offset, 0, 0) :
		       -err;
	}
	r->offset = offset;
	r->backing = GUESTMEM_BACKING_FILE;
	return 0;
}

static int map_anon(const struct guestmem_region_add *arg, struct region *r, void **mem,
		    struct why *why)
{
	const bool huge = arg->flags & GUESTMEM_ANON_HUGETLB;
	int prot = arg->flags & GUESTMEM_REGION_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	int fd, ret;

	if (arg->flags & GUESTMEM_ANON_PRIVATE) {
		*mem = mmap(NULL, arg->len, prot, MAP_PRIVATE | MAP_ANONYMOUS |
			    (huge ? MAP_HUGETLB : MAP_NORESERVE), -1, 0);
		r->backing = 0;
		return *mem == MAP_FAILED ? -errno : 0;
	}
	fd = memfd_create("guestmem", MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0));
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)arg->len) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		ret = -errno;
	else
		ret = map_file(arg, fd, 0, r, mem, why);
	close(fd);
	return ret;
}

/* How many bytes there are from @addr to the end of the mapping that has it; 0: none has. */
static uint64_t mapping_left(uint64_t addr)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t start, end, left = 0;
	char line[512], *p;

	/* A line that is longer goes on with a file's name, which is no range. */
	while (maps && !left && fgets(line, sizeof(line), maps)) {
		start = strtoull(line, &p, 16);
		if (p == line || *p != '-')
			continue;
		end = strtoull(p + 1, &p, 16);
		if (*p == ' ' && start <= addr && addr < end)
			left = end - addr;
	}
	if (maps)
		fclose(maps);
	return left;
}

/* A second mapping of the same memory, which only shared memory can have. */
static int map_user(const struct guestmem_region_add *arg, struct region *r, void **mem,
		    struct why *why)
{
	const bool readonly = arg->flags & GUESTMEM_REGION_READONLY;
	static const char unfit[] =
		"private memory, or more mappings than one: use a shared one";
	size_t page = page_size();
	uint64_t left, next;
	int err;

	if (arg->offset % page)
		return why_reason(why, EINVAL, GUESTMEM_REASON_MISALIGNED, arg->offset, page, 0);
	if (range_wraps(arg->offset, arg->len))
		return why_reason(why, EOVERFLOW, GUESTMEM_REASON_WRAPS, arg->offset, arg->len,
				  UINT64_MAX);
	/* mremap(2) would go on in what the first of them is of. */
	left = mapping_left(arg->offset);
	for (next = left; next && next < arg->len; next += mapping_left(arg->offset + next)) {
		if (!mapping_left(arg->offset + next)) {
			left = 0;
			break;
		}
	}
	if (!left)
		return why_reason(why, EFAULT, GUESTMEM_REASON_UNMAPPED, arg->offset + next, 0, 0);
	if (left < arg->len)
		return why_text(why, EOPNOTSUPP, unfit);
	*mem = mremap((void *)(uintptr_t)arg->offset, 0, arg->len, MREMAP_MAYMOVE);
	if (*mem == MAP_FAILED) {
		err = errno;
		return err == EINVAL || err == EFAULT ? why_text(why, EOPNOTSUPP, unfit) : -err;
	}
	if (mprotect(*mem, arg->len, readonly ? PROT_READ : PROT_READ | PROT_WRITE) < 0) {
		err = errno;
		munmap(*mem, arg->len);
		return err == EACCES ?
		       why_reason(why, EACCES, GUESTMEM_REASON_READONLY, arg->offset, 0, 0) :
		       -err;
	}
	r->backing = GUESTMEM_BACKING_USER;
	r->offset = arg->offset;
	return 0;
}

static size_t huge_page_size(int fd)
{
	struct stat st;

	/* Of hugetlbfs, st_blksize is the page's; others have less than that. */
	return fd >= 0 && !fstat(fd, &st) && st.st_blksize >= 1 << 20 ? (size_t)st.st_blksize :
								      page_size();
}

static size_t default_huge_page(void)
{
	int fd = memfd_create("guestmem", MFD_CLOEXEC | MFD_HUGETLB);
	size_t size = huge_page_size(fd);

	if (fd >= 0)
		close(fd);
	return size;
}

static int process_add(struct space *s, enum op op, struct guestmem_region_add *arg,
		       struct why *why)
{
	uint32_t known = GUESTMEM_REGION_READONLY;
	struct process *p = of(s);
	size_t i, align = page_size();
	struct region *r;
	uint64_t users;
	void *mem = NULL;
	int ret;

	if (op == OP_ADD_ANON)
		known |= GUESTMEM_ANON_PRIVATE | GUESTMEM_ANON_HUGETLB;
	if (arg->flags & ~known)
		return why_text(why, EOPNOTSUPP, "there is a flag that is not known");
	if (arg->flags & GUESTMEM_ANON_HUGETLB)
		align = default_huge_page();
	else if (op == OP_ADD_FILE)
		align = huge_page_size(arg->fd);
	if (op == OP_ADD_FILE && arg->offset % align)
		return why_reason(why, EINVAL, GUESTMEM_REASON_MISALIGNED, arg->offset, align, 0);

	pthread_mutex_lock(&p->mutex);
	ret = check_range(s, arg, align, why);
	if (ret)
		goto unlock;
	r = region_new(p);
	if (!r) {
		ret = why_reason(why, ENOSPC, GUESTMEM_REASON_LIMIT, 0, p->n + 1, MAX_REGIONS);
		goto unlock;
	}
	r->fd = -1;
	r->offset = 0;
	if (op == OP_ADD_FILE)
		ret = map_file(arg, arg->fd, arg->offset, r, &mem, why);
	else if (op == OP_ADD_USER)
		ret = map_user(arg, r, &mem, why);
	else
		ret = map_anon(arg, r, &mem, why);
	if (!ret && mremap(mem, arg->len, arg->len, MREMAP_MAYMOVE | MREMAP_FIXED,
			   s->window + arg->gpa) == MAP_FAILED) {
		ret = -errno;
		munmap(mem, arg->len);
		/* It may have taken away what was there before. */
		window_clear(s->window + arg->gpa, arg->len);
	}
	if (ret) {
		region_free(r);
		goto unlock;
	}
	madvise(s->window + arg->gpa, arg->len, MADV_DONTDUMP);
	r->gpa = arg->gpa;
	r->len = arg->len;
	r->flags = arg->flags & GUESTMEM_REGION_READONLY;
	r->generation = s->table->generation + 1;
	arg->id = r->id;
	for (i = p->n; i && p->regions[p->sorted[i - 1]].gpa > r->gpa; i--)
		p->sorted[i] = p->sorted[i - 1];
	p->sorted[i] = (uint32_t)(r - p->regions);
	p->n++;
	/* Somebody may just be counting himself, to find that it is another one. */
	users = __atomic_load_n(&r->users, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&r->users, &users,
					    (uint64_t)r->id << 32 | (COUNT(users) & ~GONE), false,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	publish(s);
unlock:
	pthread_mutex_unlock(&p->mutex);
	return ret;
}

/* 0 once the region with this number has no users; -ETIMEDOUT, and how many. */
static int wait_for_users(struct region *r, uint32_t id, uint32_t timeout_ms, uint32_t *nlocks)
{
	struct timespec deadline;
	uint64_t users;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += timeout_ms / 1000;
	deadline.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (deadline.tv_nsec >= 1000000000L) {
		deadline.tv_nsec -= 1000000000L;
		deadline.tv_sec++;
	}
	for (;;) {
		users = __atomic_load_n(&r->users, __ATOMIC_ACQUIRE);
		/* With another number it is used again already. */
		*nlocks = 0;
		if (COUNT(users) == GONE || users >> 32 != id)
			return 0;
		*nlocks = COUNT(users) & ~(uint32_t)GONE;
		if (!timeout_ms)
			return -ETIMEDOUT;
		if (syscall(SYS_futex, count_of(r), FUTEX_WAIT_BITSET_PRIVATE, COUNT(users),
			    timeout_ms == GUESTMEM_WAIT_FOREVER ? NULL : &deadline,
			    NULL, FUTEX_BITSET_MATCH_ANY) < 0 && errno == ETIMEDOUT)
			return -ETIMEDOUT;
	}
}

static int process_remove(struct space *s, struct guestmem_region_remove *arg,
			  struct why *why)
{
	const bool force = arg->flags & GUESTMEM_REMOVE_FORCE;
	struct process *p = of(s);
	struct region *r = NULL;
	uint64_t users;
	size_t i;
	int ret;

	pthread_mutex_lock(&p->mutex);
	for (i = 0; i < p->n; i++) {
		r = &p->regions[p->sorted[i]];
		if (r->id == arg->id)
			break;
	}
	if (i == p->n) {
		pthread_mutex_unlock(&p->mutex);
		return -ENOENT;
	}
	users = (uint64_t)r->id << 32;
	if (force) {
		users = __atomic_fetch_or(&r->users, GONE, __ATOMIC_ACQ_REL);
	} else if (!__atomic_compare_exchange_n(&r->users, &users, users | GONE, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		arg->nlocks = COUNT(users);
		ret = why_reason(why, EBUSY, GUESTMEM_REASON_LOCKED, r->gpa, arg->nlocks, 0);
		pthread_mutex_unlock(&p->mutex);
		return ret;
	}
	memmove(&p->sorted[i], &p->sorted[i + 1], (p->n - i - 1) * sizeof(*p->sorted));
	p->n--;
	publish(s);
	ret = window_clear(s->window + r->gpa, r->len);
	why->e.addr = r->gpa;
	if (!COUNT(users))
		reap(p);
	pthread_mutex_unlock(&p->mutex);
	if (ret < 0 || !COUNT(users))
		return ret;

	ret = wait_for_users(r, arg->id, arg->timeout_ms, &arg->nlocks);
	if (ret < 0) {
		return why_reason(why, -ret, GUESTMEM_REASON_LOCKED, why->e.addr,
				  arg->nlocks, 0);
	}
	return 0;
}

static int process_list(struct space *s, struct guestmem_region **regions, size_t *n,
			struct why *why)
{
	struct process *p = of(s);
	size_t i;

	(void)why;
	pthread_mutex_lock(&p->mutex);
	*regions = calloc(p->n + 1, sizeof(**regions));
	for (i = 0; *regions && i < p->n; i++) {
		const struct region *r = &p->regions[p->sorted[i]];

		(*regions)[i] = (struct guestmem_region){
			.gpa = r->gpa,
			.len = r->len,
			.offset = r->offset,
			.id = r->id,
			.flags = r->flags | (r->backing == GUESTMEM_BACKING_USER ?
					     GUESTMEM_REGION_OWN : 0),
			.backing = r->backing,
			.nlocks = COUNT(__atomic_load_n(&r->users, __ATOMIC_RELAXED)),
			.nruns = 1,
			.pid = (uint32_t)getpid(),
		};
	}
	*n = i;
	pthread_mutex_unlock(&p->mutex);
	return *regions ? 0 : -ENOMEM;
}

static int process_info(struct space *s, struct guestmem_info *info, struct why *why)
{
	struct process *p = of(s);
	uint32_t size = info->size < sizeof(*info) ? info->size : sizeof(*info);
	struct guestmem_info all = {
		.size = size,
		.flags = info->flags,
		.abi_version = GUESTMEM_ABI_VERSION,
		.rights = s->rights,
		.features = has_cmpxchg128() ? GUESTMEM_FEATURE_ATOMIC16 : 0,
		.id = p->id,
		.page_size = (uint32_t)page_size(),
		.max_regions = MAX_REGIONS,
		.max_locks = MAX_LOCKS,
	};
	struct region *r;

	if (info->flags & ~GUESTMEM_INFO_TAKE_EVENTS)
		return why_text(why, EOPNOTSUPP, "there is a flag that is not known");
	pthread_mutex_lock(&p->mutex);
	all.generation = s->table->generation;
	all.nregions = (uint32_t)p->n;
	all.nlocks = p->nlocks;
	if (p->n) {
		r = &p->regions[p->sorted[p->n - 1]];
		all.last = r->gpa + (r->len - 1);
	}
	pthread_mutex_unlock(&p->mutex);
	memcpy(info, &all, size);
	return 0;
}

/* -------- Locks and translations ----------------------------------------- */

static int process_hold(struct space *s, uint32_t rights, uint64_t gpa, uint64_t len,
			struct guestmem_hold *hold, struct why *why)
{
	struct region *r = region_get_at(s, gpa, why);

	(void)rights;
	if (!r)
		return -ENXIO;
	if (len > r->len - (gpa - r->gpa)) {
		why_reason(why, ENXIO, GUESTMEM_REASON_HOLE, r->gpa + r->len, 0, 0);
		region_put(of(s), r);
		return -ENXIO;
	}
	hold->region = r;
	return 0;
}

/* The pieces of many ranges, as the kernel tells them. @held: hold each, and note it. */
struct pieces {
	struct guestmem_extent *extents;
	uint32_t capacity;
	uint32_t n;		/* those that there are, also without room */
	struct piece *held;
	uint32_t nheld;
	uint32_t max_held;
};

static int pieces_add(struct space *s, struct pieces *p, uint64_t gpa, uint64_t len,
		      bool write, bool merge, struct why *why)
{
	struct guestmem_extent *e;
	struct piece *bigger;
	struct region *r;
	uint64_t part;

	while (len) {
		r = region_get_at(s, gpa, why);
		if (!r)
			return -ENXIO;
		if (write && (r->flags & GUESTMEM_REGION_READONLY)) {
			region_put(of(s), r);
			return why_reason(why, EACCES, GUESTMEM_REASON_READONLY, gpa, 0, 0);
		}
		part = r->len - (gpa - r->gpa);
		part = part < len ? part : len;
		e = p->n && p->n <= p->capacity ? &p->extents[p->n - 1] : NULL;
		if (merge && e && e->region_id == r->id && e->gpa + e->len == gpa) {
			e->len += part;
		} else {
			if (p->n < p->capacity)
				p->extents[p->n] = (struct guestmem_extent){
					.gpa = gpa,
					.len = part,
					.region_id = r->id,
					.flags = r->flags,
				};
			p->n++;
		}
		if (p->nheld == p->max_held) {
			bigger = realloc(p->held, (p->max_held * 2 + 8) * sizeof(*bigger));
			if (!bigger) {
				region_put(of(s), r);
				return -ENOMEM;
			}
			p->held = bigger;
			p->max_held = p->max_held * 2 + 8;
		}
		p->held[p->nheld++] = (struct piece){ r, gpa, gpa + part - 1 };
		gpa += part;
		len -= part;
	}
	return 0;
}

static void pieces_put(struct space *s, struct pieces *p)
{
	uint32_t i;

	for (i = 0; i < p->nheld; i++)
		region_put(of(s), p->held[i].region);
	free(p->held);
}

static int process_translate(struct space *s, struct guestmem_translate *arg,
			     struct why *why)
{
	const struct guestmem_range *ranges = (const void *)(uintptr_t)arg->ranges;
	struct pieces p = {
		.extents = (void *)(uintptr_t)arg->extents,
		.capacity = arg->nextents,
	};
	uint32_t i;
	int ret = 0;

	if (arg->flags)
		return why_text(why, EOPNOTSUPP, "there are no host-physical addresses");
	if (!arg->nranges)
		return why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, 0, 0, 0);
	for (i = 0; !ret && i < arg->nranges; i++) {
		if (!ranges[i].len)
			ret = why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, ranges[i].gpa, 0, 0);
		else if (range_wraps(ranges[i].gpa, ranges[i].len))
			ret = why_reason(why, EOVERFLOW, GUESTMEM_REASON_WRAPS, ranges[i].gpa,
					 ranges[i].len, UINT64_MAX);
		else
			ret = pieces_add(s, &p, ranges[i].gpa, ranges[i].len, false, false, why);
	}
	pieces_put(s, &p);
	arg->nextents = p.n;
	if ((!ret || ret == -ENXIO) && p.n > p.capacity)
		ret = why_reason(why, EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, p.n, p.capacity);
	return ret;
}

/* A handle is a place among the locks, and a number that differs each time. */
static int lock_add(struct process *p, struct lock *lock, uint32_t *handle,
		    struct why *why)
{
	int ret = 0;

	pthread_mutex_lock(&p->mutex);
	if (p->nlocks == MAX_LOCKS) {
		ret = why_reason(why, ENOSPC, GUESTMEM_REASON_LIMIT, 0, MAX_LOCKS + 1, MAX_LOCKS);
		goto unlock;
	}
	do {
		p->next_lock++;
	} while (!p->next_lock || p->locks[p->next_lock % MAX_LOCKS]);
	lock->handle = p->next_lock;
	p->locks[p->next_lock % MAX_LOCKS] = lock;
	p->nlocks++;
	*handle = p->next_lock;
unlock:
	pthread_mutex_unlock(&p->mutex);
	return ret;
}

static int process_lock(struct space *s, struct guestmem_lock *arg, struct why *why)
{
	const bool write = arg->direction & GUESTMEM_DMA_FROM_DEVICE;
	const uint64_t *gpas = (const void *)(uintptr_t)arg->pages;
	struct pieces p = {
		.extents = (void *)(uintptr_t)arg->extents,
		.capacity = arg->nextents,
	};
	uint64_t page = page_size();
	struct lock *lock;
	uint32_t i;
	int ret = 0;

	if (arg->flags & ~GUESTMEM_LOCK_PAGES)
		return why_text(why, EOPNOTSUPP, "there are no host-physical addresses");
	if (!arg->direction || (arg->direction & ~GUESTMEM_DMA_BIDIRECTIONAL))
		return why_text(why, EOPNOTSUPP, "there is no such direction");
	if (!(arg->flags & GUESTMEM_LOCK_PAGES)) {
		if (!arg->len)
			return why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, arg->gpa, 0, 0);
		ret = pieces_add(s, &p, arg->gpa, arg->len, write, false, why);
	} else if (!arg->npages) {
		return why_reason(why, EINVAL, GUESTMEM_REASON_EMPTY, 0, 0, 0);
	}
	for (i = 0; !ret && i < arg->npages; i++) {
		if (gpas[i] % page)
			ret = why_reason(why, EINVAL, GUESTMEM_REASON_MISALIGNED, gpas[i], page, 0);
		else
			ret = pieces_add(s, &p, gpas[i], page, write, true, why);
	}
	arg->nextents = p.n;
	if (!ret && p.capacity && p.n > p.capacity)
		ret = why_reason(why, EMSGSIZE, GUESTMEM_REASON_OUTPUT, 0, p.n, p.capacity);
	if (ret)
		goto put;
	lock = malloc(sizeof(*lock) + p.nheld * sizeof(*p.held));
	if (!lock) {
		ret = -ENOMEM;
		goto put;
	}
	lock->n = p.nheld;
	if (p.held)
		memcpy(lock->pieces, p.held, p.nheld * sizeof(*p.held));
	ret = lock_add(of(s), lock, &arg->handle, why);
	if (ret) {
		free(lock);
		goto put;
	}
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): @lock is in the table */
	free(p.held);
	return 0;
put:
	pieces_put(s, &p);
	return ret;
}

static int process_unlock(struct space *s, uint32_t handle, struct why *why)
{
	struct process *p = of(s);
	struct lock *lock;
	uint32_t i;

	(void)why;
	pthread_mutex_lock(&p->mutex);
	lock = p->locks[handle % MAX_LOCKS];
	if (lock && lock->handle == handle) {
		p->locks[handle % MAX_LOCKS] = NULL;
		p->nlocks--;
	} else {
		lock = NULL;
	}
	pthread_mutex_unlock(&p->mutex);
	if (!lock)
		return -ENOENT;
	for (i = 0; i < lock->n; i++)
		region_put(p, lock->pieces[i].region);
	free(lock);
	return 0;
}

static int process_find_locks(struct space *s, uint64_t gpa, uint64_t last, bool private,
			      struct why *why)
{
	struct process *p = of(s);
	uint32_t handle, i, left, n = 0;
	uint64_t first = last;

	pthread_mutex_lock(&p->mutex);
	for (handle = 0, left = p->nlocks; left; handle++) {
		const struct lock *lock = p->locks[handle];
		bool any = false;

		if (!lock)
			continue;
		left--;
		for (i = 0; i < lock->n; i++) {
			const struct piece *piece = &lock->pieces[i];
			const struct region *r = piece->region;

			if (piece->gpa > last || piece->last < gpa || (private && r->backing))
				continue;
			/* Another region may be at the address of one that was revoked. */
			if (__atomic_load_n(&r->users, __ATOMIC_RELAXED) & GONE)
				continue;
			any = true;
			if (piece->gpa < first)
				first = piece->gpa < gpa ? gpa : piece->gpa;
		}
		n += any;
	}
	pthread_mutex_unlock(&p->mutex);
	return n ? why_reason(why, EBUSY, GUESTMEM_REASON_LOCKED, first, n, 0) : 0;
}

static int process_backing(struct space *s, uint64_t gpa, int *fd, uint64_t *offset,
			   uint64_t *len, struct why *why)
{
	struct region *r = region_get_at(s, gpa, why);
	int ret = 0;

	if (!r)
		return -ENXIO;
	if (r->fd < 0) {
		ret = why_text(why, EOPNOTSUPP, "the memory is of no file that is known");
	} else {
		*fd = r->fd;
		*offset = r->offset + (gpa - r->gpa);
		*len = r->len - (gpa - r->gpa);
	}
	region_put(of(s), r);
	return ret;
}

static const struct backend process_backend = {
	.destroy = process_destroy,
	.fault = process_fault,
	.info = process_info,
	.add = process_add,
	.remove = process_remove,
	.list = process_list,
	.translate = process_translate,
	.lock = process_lock,
	.unlock = process_unlock,
	.find_locks = process_find_locks,
	.hold = process_hold,
	.backing = process_backing,
};

static void *zeroed(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static struct process *process_new(void)
{
	struct process *p = calloc(1, sizeof(*p));
	uint32_t i;

	if (!p)
		return NULL;
	p->regions = zeroed(MAX_REGIONS * sizeof(*p->regions));
	p->locks = zeroed(MAX_LOCKS * sizeof(void *));
	p->sorted = calloc(MAX_REGIONS, sizeof(*p->sorted));
	p->entries = calloc(MAX_REGIONS, sizeof(*p->entries));
	if (!p->regions || !p->locks || !p->sorted || !p->entries) {
		if (p->regions)
			munmap(p->regions, MAX_REGIONS * sizeof(*p->regions));
		if (p->locks)
			munmap(p->locks, MAX_LOCKS * sizeof(void *));
		free(p->sorted);
		free(p->entries);
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->mutex, NULL);
	for (i = 0; i < MAX_REGIONS; i++) {
		p->regions[i].users = GONE;
		p->regions[i].fd = FREE;
		p->regions[i].owner = p;
	}
	p->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	return p;
}

struct guestmem *guestmem_create(uint64_t len)
{
	const uint64_t slot = (uint64_t)1 << SLOT_SHIFT;
	struct space *s;
	int err;

	if (!len)
		len = WINDOW_DEFAULT;
	if (len > WINDOW_MAX) {
		fail(OP_CREATE, EINVAL, "it is more than 64 TiB");
		return NULL;
	}
	len = (len + slot - 1) & ~(slot - 1);
	err = -recover_start();
	if (err) {
		fail(OP_CREATE, err, NULL);
		return NULL;
	}
	s = space_new(&process_backend);
	if (!s)
		goto no_memory;
	s->priv = process_new();
	if (!s->priv)
		goto free_space;
	s->last = len - 1;
	s->rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE | GUESTMEM_RIGHT_MAP |
		    GUESTMEM_RIGHT_LOCK | GUESTMEM_RIGHT_TRANSLATE | GUESTMEM_RIGHT_MANAGE;
	s->ask_first = recover_declined();
	s->window = window_reserve(len);
	s->window_len = len;
	s->owns_window = true;
	if (!s->window || table_create(s) < 0) {
		err = errno;
		space_put(s);
		fail(OP_CREATE, err, NULL);
		return NULL;
	}
	slots_create(s);
	s->slots_seq = 0;
	s->regions = (struct guestmem_region_ *)of(s)->regions;
	return handle_new(s, OP_CREATE);

free_space:
	free(s);
no_memory:
	fail(OP_CREATE, ENOMEM, NULL);
	return NULL;
}
