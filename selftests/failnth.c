// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each step of each operation fails once: for n = 1, 2, 3... the operation is called
 * with the n-th step that can fail made to, until it gets through with none.
 *
 * An operation that says it failed must have changed nothing; one that did not must
 * be undone by what undoes it. What there is, is compared: regions, locks, pins,
 * charges, descriptors, mappings, the memory's bytes.
 *
 * Steps are made to fail by
 *  - the module itself, built with GUESTMEM_FAIL_NTH=y: every call of its own
 *    (module/fail.h), on any kernel;
 *  - the kernel, if it has fault injection: every allocation and user access on the way.
 *
 * A new operation joins by an entry in the table `ops`.
 */
#include "guestmem_test.h"

#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/rseq.h>
#include <sys/wait.h>

#include "modules/guestmem_edu.h"
#include "modules/guestmem_kapi.h"

#define SMALL_GPA	GM_GPA
#define SMALL_LEN	(40 * PG)
#define HUGE_GPA	(GM_GPA + (1ULL << 30))
#define ADD_GPA		(GM_GPA + (2ULL << 30))
#define HOLE_GPA	(GM_GPA + (3ULL << 30))

/* No operation has so many steps: then something does not end. */
#define MAX_STEPS	5000

/* ---- who makes a step fail ---- */

/**
 * struct injector - somebody who makes the n-th step fail
 * @path: takes n; is 0 when it has happened
 * @fd: of it, or -1
 */
struct injector {
	const char *path;
	int fd;
};

static struct injector injectors[] = {
	{ "/sys/module/guestmem/parameters/fail_nth", -1 },
	{ "/proc/thread-self/fail-nth", -1 },
};

/* What the kernel's would not fail otherwise: small, and what may wait. */
static const char *const kernel_knobs[][2] = {
	{ "/sys/kernel/debug/failslab/ignore-gfp-wait", "N" },
	{ "/sys/kernel/debug/failslab/verbose", "0" },
	{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N" },
	{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N" },
	{ "/sys/kernel/debug/fail_page_alloc/min-order", "0" },
	{ "/sys/kernel/debug/fail_page_alloc/verbose", "0" },
	{ "/sys/kernel/debug/fail_usercopy/verbose", "0" },
};

/* Those there are: the module's, and of the kernel's all or none. Returns 0 or -errno. */
static int injectors_open(void)
{
	unsigned int i, missing = 0;
	int fd, rc = 0;

	for (i = 0; i < ARRAY_SIZE(injectors); i++)
		injectors[i].fd = open(injectors[i].path, O_RDWR | O_CLOEXEC);
	if (injectors[0].fd < 0)
		return -ENOENT;
	for (i = 0; i < ARRAY_SIZE(kernel_knobs); i++) {
		fd = open(kernel_knobs[i][0], O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, kernel_knobs[i][1], 1) != 1) {
			rc = -errno;
			missing++;
		}
		close(fd);
	}
	if (injectors[1].fd < 0)
		return missing == ARRAY_SIZE(kernel_knobs) ? 0 : -ENOENT;
	return rc;
}

/*
 * The kernel tells a thread that it moved by writing to its memory, and kills it if it
 * cannot: as when fork() has that page shared, and the copy of it is what is to fail.
 */
static int rseq_end(void)
{
	if (!__rseq_size)
		return 0;
	return syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset,
		       sizeof(struct rseq), RSEQ_FLAG_UNREGISTER, RSEQ_SIG) ? -errno : 0;
}

/* What is ordered already may fail the order. */
static void arm(const struct injector *injector, int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	while (write(injector->fd, text, len) != len)
		if (errno != EFAULT)
			abort();
}

/* Whether the step came: not if it is the answer that fails. Nothing is ordered then. */
static bool disarm(const struct injector *injector)
{
	char text[16] = "1";

	if (pread(injector->fd, text, sizeof(text) - 1, 0) < 1 && errno != EFAULT)
		abort();
	arm(injector, 0);
	return !atoi(text);
}

/* All that there is. */
#define GUESTS	"/sys/kernel/debug/guestmem/guests"

/* ---- what operations are done with ---- */

/**
 * struct scene - a guest, and all that an operation may need
 * @guest: the guest: a region of small pages at SMALL_GPA, one of a huge page at
 *	HUGE_GPA, nothing at ADD_GPA and HOLE_GPA
 * @small: memory of the first
 * @huge: memory of the second
 * @id: of the first
 * @spare: other memory, of each kind
 * @map: a mapping of the guest, none of it touched
 * @event: an eventfd
 * @pipe: both ends
 * @edu: /dev/guestmem_edu, attached; opened by what needs it
 * @kapi: /dev/guestmem_kapi
 * @view: a view; made by what needs it
 * @view_id: its number
 * @domain: a domain; made by what needs it
 * @session: a session of it; likewise
 * @by: whose memory it is that is accessed: the guest, a view, or a session
 * @base: where the first region is there; see MID()
 * @handle: what an operation made, for what undoes it
 * @at: likewise, a mapping
 * @at_len: its length, 0 if there is none
 * @buf: bytes
 */
struct scene {
	struct gm_guest guest;
	struct gm_mem small, huge;
	__u32 id;
	struct gm_mem spare[GM_HUGETLB + 1];
	unsigned char *map;
	int event, pipe[2], edu, kapi, view, domain, session;
	__u64 view_id;
	int by;
	__u64 base;
	__u32 handle;
	void *at;
	size_t at_len;
	unsigned char *buf;
};

#define BUF_LEN	(3 * 4096)

/* Of the first region: all but the page at each end. */
#define MID(s)	((s)->base + PG)
#define MID_LEN	(SMALL_LEN - 2 * PG)

/* ---- the operations: each 0 or more, or -errno ---- */

static int err(long rc)
{
	return rc < 0 ? -errno : 0;
}

static int run_open(struct scene *s)
{
	int fd = open(GM_DEV, O_RDWR | O_CLOEXEC);

	s->handle = fd;
	return err(fd);
}

static int undo_close(struct scene *s)
{
	return err(close(s->handle));
}

static int run_info(struct scene *s)
{
	struct guestmem_info info;

	return gm_info(s->guest.fd, &info);
}

static int add(struct scene *s, enum gm_kind kind, __u32 flags)
{
	struct gm_mem *mem = &s->spare[kind];

	return gm_mem_add(s->guest.fd, mem, ADD_GPA, 0, mem->len, flags, &s->handle);
}

static int run_add_anon(struct scene *s)
{
	return add(s, GM_ANON, 0);
}

static int run_add_readonly(struct scene *s)
{
	return add(s, GM_ANON, GUESTMEM_REGION_READONLY);
}

static int run_add_thp(struct scene *s)
{
	return add(s, GM_THP, 0);
}

static int run_add_memfd(struct scene *s)
{
	return add(s, GM_MEMFD, 0);
}

static int run_add_hugetlb(struct scene *s)
{
	return add(s, GM_HUGETLB, 0);
}

static int undo_add(struct scene *s)
{
	return gm_remove(s->guest.fd, s->handle);
}

static int run_remove(struct scene *s)
{
	return gm_remove(s->guest.fd, s->id);
}

static int run_revoke(struct scene *s)
{
	return gm_revoke(s->guest.fd, s->id);
}

/* A removal whose answer cannot be delivered has happened. */
static int undo_remove(struct scene *s)
{
	struct guestmem_region region;

	if (!gm_region_get(s->guest.fd, s->id, &region))
		return 0;
	return gm_mem_add(s->guest.fd, &s->small, SMALL_GPA, 0, SMALL_LEN, 0, &s->id);
}

/* Whose lock it is does not let go: it is waited for, and stays. */
static int run_revoke_locked(struct scene *s)
{
	struct guestmem_region_remove rm;
	int rc = gm_region_remove(s->guest.fd, &rm, .id = s->id, .flags = GUESTMEM_REMOVE_FORCE,
				  .timeout_ms = 1);

	/* What it says of the lock may be what could not be delivered. */
	if (rc == -ETIMEDOUT)
		return rm.nlocks == 1 ? 0 : -EFAULT;
	return rc ? rc : -EPROTO;
}

static int run_list(struct scene *s)
{
	struct guestmem_region entries[8];
	int n = gm_list(s->guest.fd, entries, ARRAY_SIZE(entries));

	return n < 0 ? n : n != 2 ? -EPROTO : 0;
}

static int run_list_wide(struct scene *s)
{
	struct guestmem_region_list list;

	return gm_region_list(s->guest.fd, &list, .entries = (uintptr_t)s->buf,
			      .entry_size = sizeof(struct guestmem_region) + 64, .nentries = 2);
}

static int run_translate(struct scene *s)
{
	const struct guestmem_range range = { .gpa = MID(s), .len = MID_LEN };
	struct guestmem_extent extents[40];
	struct guestmem_translate t;

	return gm_translate(s->by, &t, .ranges = (uintptr_t)&range, .nranges = 1,
			    .extents = (uintptr_t)extents, .nextents = ARRAY_SIZE(extents));
}

static int run_lock(struct scene *s)
{
	struct guestmem_extent extents[40];
	struct guestmem_lock lock;
	int rc;

	rc = gm_lock(s->by, &lock, .gpa = MID(s), .len = MID_LEN,
		     .direction = GUESTMEM_DMA_BIDIRECTIONAL, .extents = (uintptr_t)extents,
		     .nextents = ARRAY_SIZE(extents));
	s->handle = lock.handle;
	return rc;
}

static int undo_revoke_locked(struct scene *s)
{
	int rc = gm_unlock_handle(s->by, s->handle);

	rc = rc ? rc : undo_remove(s);
	return rc ? rc : run_lock(s);
}

/* Two regions: the first try has no room for the second. */
static int run_lock_pages(struct scene *s)
{
	const __u64 pages[] = { HUGE_GPA + PG, SMALL_GPA, SMALL_GPA + 7 * PG, HUGE_GPA };
	struct guestmem_lock lock;
	int rc;

	rc = gm_lock(s->guest.fd, &lock, .flags = GUESTMEM_LOCK_PAGES,
		     .pages = (uintptr_t)pages, .npages = ARRAY_SIZE(pages),
		     .direction = GUESTMEM_DMA_TO_DEVICE);
	s->handle = lock.handle;
	return rc;
}

static int run_unlock(struct scene *s)
{
	return gm_unlock_handle(s->by, s->handle);
}

/* Longer than what is done in one go. */
static int run_fill_huge(struct scene *s)
{
	struct guestmem_fill fill;

	return gm_fill(s->guest.fd, &fill, .gpa = HUGE_GPA + 1, .len = GM_HUGE - 2, .value = 3);
}

static int run_copy_huge(struct scene *s)
{
	struct guestmem_copy copy;

	return gm_copy(s->guest.fd, &copy, .dst = SMALL_GPA + 100, .src = HUGE_GPA + 17,
		       .len = SMALL_LEN - 100);
}

static int run_fill(struct scene *s)
{
	struct guestmem_fill fill;

	return gm_fill(s->by, &fill, .gpa = MID(s) + 1, .len = MID_LEN - 2, .value = 3);
}

static int run_copy(struct scene *s)
{
	struct guestmem_copy copy;

	return gm_copy(s->by, &copy, .dst = MID(s) + 100, .src = MID(s) + MID_LEN / 2,
		       .len = MID_LEN / 2 - 100);
}

static int run_atomic(struct scene *s)
{
	struct guestmem_atomic atomic;

	return gm_atomic(s->by, &atomic, .op = GUESTMEM_ATOMIC_ADD, .width = 8, .gpa = MID(s),
			 .operand = { 1 });
}

static int run_eventfd(struct scene *s)
{
	struct guestmem_eventfd event;

	return gm_eventfd(s->guest.fd, &event, .fd = s->event, .events = GUESTMEM_EVENT_ADDED);
}

static int run_eventfd_end(struct scene *s)
{
	struct guestmem_eventfd event;

	return gm_eventfd(s->guest.fd, &event, .fd = s->event);
}

static int run_view(struct scene *s)
{
	int fd = gm_view(s->guest.fd, SMALL_GPA, SMALL_LEN, GUESTMEM_RIGHT_READ |
			 GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK, 0, NULL);

	s->handle = fd;
	return fd < 0 ? fd : 0;
}

static int prepare_view(struct scene *s)
{
	s->view = gm_view(s->guest.fd, SMALL_GPA, SMALL_LEN, GUESTMEM_RIGHT_READ |
			  GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK, 0, &s->view_id);
	return s->view < 0 ? s->view : 0;
}

/* With a DMA lock by it that a limit will have to wait for, and a mapping. */
static int prepare_limit(struct scene *s)
{
	struct guestmem_lock lock;
	int rc = prepare_view(s);

	if (rc)
		return rc;
	s->at = gm_mmap(s->view, 0, PG, PROT_READ);
	if (s->at == MAP_FAILED)
		return -errno;
	s->at_len = PG;
	return gm_lock(s->view, &lock, .gpa = 0, .len = 1, .direction = GUESTMEM_DMA_TO_DEVICE);
}

static int run_limit(struct scene *s)
{
	struct guestmem_view_limit limit;
	int rc = gm_view_limit(s->guest.fd, &limit, .id = s->view_id,
			       .rights = GUESTMEM_RIGHT_READ, .timeout_ms = 1);

	/* What it says of the lock may be what could not be delivered. */
	if (rc == -ETIMEDOUT)
		return limit.nlocks == 1 ? 0 : -EFAULT;
	return rc ? rc : -EPROTO;
}

/* Never raised: another one. */
static int undo_limit(struct scene *s)
{
	if (gm_rights(s->view) != GUESTMEM_RIGHT_READ)
		return 0;
	munmap(s->at, PG);
	close(s->view);
	return prepare_limit(s);
}

/* All that can be done by a view, but to make others. */
static int by_view(struct scene *s)
{
	s->view = gm_view(s->guest.fd, SMALL_GPA, SMALL_LEN, GM_CLIENT_RIGHTS, 0, NULL);
	s->by = s->view;
	s->base = 0;
	return s->view < 0 ? s->view : 0;
}

static int run_views(struct scene *s)
{
	struct guestmem_view entries[4];
	struct guestmem_view_list list;

	return gm_view_list(s->guest.fd, &list, .entries = (uintptr_t)entries,
			    .entry_size = sizeof(*entries), .nentries = ARRAY_SIZE(entries));
}

/* ---- of domains: the small region at IOVA 0, in two mappings ---- */

#define HALF_LEN	(SMALL_LEN / 2)
#define RW		(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)

static int run_domain(struct scene *s)
{
	int fd = gm_domain(s->guest.fd, GM_CLIENT_RIGHTS);

	s->handle = fd;
	return fd < 0 ? fd : 0;
}

/* Those that may be there already. */
static int map_halves(struct scene *s)
{
	int rc = gm_map_iova(s->domain, 0, HALF_LEN, SMALL_GPA, RW);

	if (rc && rc != -EEXIST)
		return rc;
	rc = gm_map_iova(s->domain, HALF_LEN, HALF_LEN, SMALL_GPA + HALF_LEN, RW);
	return rc == -EEXIST ? 0 : rc;
}

static int prepare_domain(struct scene *s)
{
	s->domain = gm_domain(s->guest.fd, GM_CLIENT_RIGHTS);
	if (s->domain < 0)
		return s->domain;
	s->session = gm_session(s->domain, GM_CLIENT_RIGHTS, NULL);
	return s->session < 0 ? s->session : map_halves(s);
}

static int run_session(struct scene *s)
{
	int fd = gm_session(s->domain, GM_CLIENT_RIGHTS, NULL);

	s->handle = fd;
	return fd < 0 ? fd : 0;
}

static int run_map(struct scene *s)
{
	struct guestmem_mapping m[8];
	struct guestmem_domain_map dm;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(m); i++)
		m[i] = (struct guestmem_mapping){ .iova = SMALL_LEN + i * PG, .len = PG,
						  .gpa = SMALL_GPA, .rights = RW };
	return gm_domain_map(s->domain, &dm, .mappings = (uintptr_t)m, .nmappings = ARRAY_SIZE(m));
}

/* An answer that could not be delivered is no reason to undo it. */
static int undo_map(struct scene *s)
{
	return gm_unmap_iova(s->domain, SMALL_LEN, 8 * PG);
}

/* Pinned for it alone: the first by address, the second by file. */
static int run_map_external(struct scene *s)
{
	struct guestmem_mapping m[2] = {
		{ .iova = SMALL_LEN, .len = 4 * PG, .gpa = (uintptr_t)s->spare[GM_ANON].va,
		  .rights = RW, .backing = GUESTMEM_BACKING_USER },
		{ .iova = SMALL_LEN + 4 * PG, .len = 4 * PG, .rights = RW,
		  .fd = s->spare[GM_MEMFD].fd, .backing = GUESTMEM_BACKING_FILE },
	};
	struct guestmem_domain_map dm;

	return gm_domain_map(s->domain, &dm, .mappings = (uintptr_t)m, .nmappings = 2);
}

static int run_mappings(struct scene *s)
{
	struct guestmem_mapping m[4];
	struct guestmem_domain_list dl;

	return gm_domain_list(s->domain, &dl, .entries = (uintptr_t)m, .nentries = ARRAY_SIZE(m));
}

static int run_export(struct scene *s)
{
	struct guestmem_piece pieces[4];
	struct guestmem_export ex;
	int rc = gm_export(s->session, &ex, .iova = 9, .len = SMALL_LEN - 99, .rights = RW,
			   .pieces = (uintptr_t)pieces, .npieces = ARRAY_SIZE(pieces));

	s->handle = ex.handle;
	return rc;
}

static int undo_export(struct scene *s)
{
	return gm_release_handle(s->session, s->handle);
}

static int prepare_export(struct scene *s)
{
	int rc = prepare_domain(s);

	return rc ? rc : run_export(s);
}

static int undo_release(struct scene *s)
{
	struct guestmem_info info;
	int rc = gm_info(s->session, &info);

	return rc || info.nexports ? rc : run_export(s);
}

static int run_release_all(struct scene *s)
{
	int rc = gm_release_all(s->session);

	return rc < 0 ? rc : 0;
}

/* What is used: with a record, and a fault that is resolved at once. */
static int run_unmap(struct scene *s)
{
	struct guestmem_domain_unmap du;

	return gm_domain_unmap(s->domain, &du, .len = HALF_LEN, .eventfd = s->event,
			       .flags = GUESTMEM_UNMAP_EVENTFD);
}

/* It may have happened, and the answer been lost. */
static int undo_unmap(struct scene *s)
{
	struct guestmem_info info;
	int rc = map_halves(s);

	rc = rc ? rc : run_release_all(s);
	rc = rc ? rc : gm_info(s->domain, &info);
	if (!rc && info.nfaults)
		return -EPROTO;
	return rc ? rc : run_export(s);
}

/* Who exported all but some bytes. */
static int by_session(struct scene *s)
{
	int rc = prepare_export(s);

	s->by = s->session;
	s->base = 0;
	return rc;
}

/* With the region go its mappings, */
static int undo_domain_remove(struct scene *s)
{
	int rc = undo_remove(s);

	return rc ? rc : map_halves(s);
}

/* ... and exports end by force. */
static int undo_domain_revoke(struct scene *s)
{
	int rc = undo_remove(s);

	return rc ? rc : undo_unmap(s);
}

/* What a session's DMA lock is on: it is waited for, and stays. */
static int run_unmap_locked(struct scene *s)
{
	struct guestmem_domain_unmap du;
	int rc = gm_domain_unmap(s->domain, &du, .len = HALF_LEN, .timeout_ms = 1);

	if (rc == -ETIMEDOUT)
		return du.nusers == 1 ? 0 : -EFAULT;
	return rc ? rc : -EPROTO;
}

static int undo_unmap_locked(struct scene *s)
{
	int rc = run_unlock(s);

	rc = rc ? rc : undo_unmap(s);
	return rc ? rc : run_lock(s);
}

static int run_domain_poll(struct scene *s)
{
	struct pollfd fd = { .fd = s->domain, .events = POLLIN };
	int n = poll(&fd, 1, 0);

	return n < 0 ? -errno : fd.revents == POLLIN ? 0 : -EPROTO;
}

static int run_records(struct scene *s)
{
	struct guestmem_record rec[2];

	return err(read(s->domain, rec, sizeof(rec)));
}

/* Another two; that they were read does not depend on the answer. */
static int undo_records(struct scene *s)
{
	return run_unmap(s) ? -EPROTO : undo_unmap(s);
}

static int prepare_records(struct scene *s)
{
	int rc = prepare_export(s);

	rc = rc ? rc : run_unmap(s);
	return rc ? rc : undo_unmap(s);
}

static int run_pread(struct scene *s)
{
	ssize_t n = pread(s->by, s->buf, BUF_LEN, MID(s) + 5);

	return n > 0 && gm_pattern_cmp(s->buf, PG + 5, n) ? -EPROTO : err(n);
}

static int run_pwrite(struct scene *s)
{
	return err(pwrite(s->by, s->buf, BUF_LEN, MID(s) + 5));
}

static int run_splice(struct scene *s)
{
	loff_t offset = SMALL_GPA;

	return err(splice(s->guest.fd, &offset, s->pipe[1], NULL, 2 * PG, SPLICE_F_NONBLOCK));
}

static int undo_splice(struct scene *s)
{
	ssize_t n;

	do {
		n = read(s->pipe[0], s->buf, BUF_LEN);
	} while (n > 0);
	return errno == EAGAIN ? 0 : -errno;
}

static int run_splice_in(struct scene *s)
{
	loff_t offset = SMALL_GPA;
	ssize_t n = write(s->pipe[1], s->buf, 2 * PG);

	if (n < 0)
		return -errno;
	n = splice(s->pipe[0], NULL, s->guest.fd, &offset, 2 * PG, SPLICE_F_NONBLOCK);
	return err(n);
}

static int run_seek(struct scene *s)
{
	return err(lseek(s->guest.fd, SMALL_GPA, SEEK_HOLE));
}

static int run_poll(struct scene *s)
{
	struct pollfd fd = { .fd = s->guest.fd, .events = POLLIN };

	return err(poll(&fd, 1, 0));
}

static int run_epoll(struct scene *s)
{
	struct epoll_event event = { .events = EPOLLPRI };

	return err(epoll_ctl(s->handle, EPOLL_CTL_ADD, s->guest.fd, &event));
}

static int prepare_epoll(struct scene *s)
{
	s->handle = epoll_create1(EPOLL_CLOEXEC);
	return err((int)s->handle);
}

static int undo_epoll(struct scene *s)
{
	return err(epoll_ctl(s->handle, EPOLL_CTL_DEL, s->guest.fd, NULL));
}

static int read_file(struct scene *s, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = err(read(fd, s->buf, BUF_LEN));
	close(fd);
	return rc;
}

static int run_fdinfo(struct scene *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", s->guest.fd);
	return read_file(s, path);
}

static int run_debugfs(struct scene *s)
{
	return read_file(s, GUESTS);
}

static int map(struct scene *s, int fd, __u64 address, size_t len, int prot)
{
	void *p = gm_mmap(fd, address, len, prot);

	if (p == MAP_FAILED)
		return -errno;
	s->at = p;
	s->at_len = len;
	return 0;
}

static int run_mmap(struct scene *s)
{
	return map(s, s->by, MID(s), MID_LEN, PROT_READ | PROT_WRITE);
}

static int undo_mmap(struct scene *s)
{
	int rc = err(munmap(s->at, s->at_len));

	s->at_len = 0;
	return rc;
}

static size_t table_len(struct scene *s)
{
	struct guestmem_info info;

	return gm_info(s->guest.fd, &info) ? 0 : info.table_len;
}

static int prepare_table(struct scene *s)
{
	s->handle = table_len(s);
	return 0;
}

static int run_mmap_table(struct scene *s)
{
	return map(s, s->guest.fd, GUESTMEM_MMAP_TABLE, s->handle, PROT_READ);
}

/* It is made when it is mapped for the first time: by a view that nobody has seen yet. */
static int run_view_table(struct scene *s)
{
	int fd = gm_view(s->guest.fd, SMALL_GPA, SMALL_LEN, GUESTMEM_RIGHT_READ, 0, NULL), rc;

	if (fd < 0)
		return fd;
	rc = map(s, fd, GUESTMEM_MMAP_TABLE, s->handle, PROT_READ);
	close(fd);
	return rc;
}

/*
 * As at first: one mapping, also if it was split and that failed in the middle, since parts of
 * it do not become one again; the next access faults, and the page table has gone as well.
 */
static int undo_map_all(struct scene *s)
{
	void *p = mmap(s->map, SMALL_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       s->guest.fd, SMALL_GPA);

	return p == MAP_FAILED ? -errno : 0;
}

/* A part in the middle: the mapping is split. */
static int run_munmap_part(struct scene *s)
{
	return err(munmap(s->map + 8 * PG, 8 * PG));
}

/* A place that is free, as far as we are alone. */
static int prepare_mremap(struct scene *s)
{
	s->at = mmap(NULL, SMALL_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return s->at == MAP_FAILED ? -errno : err(munmap(s->at, SMALL_LEN));
}

static int move(void *from, void *to)
{
	void *p = mremap(from, SMALL_LEN, SMALL_LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	return p == MAP_FAILED ? -errno : 0;
}

static int run_mremap(struct scene *s)
{
	return move(s->map, s->at);
}

static int undo_mremap(struct scene *s)
{
	return move(s->at, s->map);
}

static int run_mprotect(struct scene *s)
{
	return err(mprotect(s->map + 8 * PG, 8 * PG, PROT_READ));
}

/* An access goes on when there is memory again, so it does not fail. */
static int fault(int value)
{
	return value < 0 ? -ENOTRECOVERABLE : 0;
}

static int run_fault_read(struct scene *s)
{
	return fault(gm_peek(s->map + 3 * PG));
}

static int run_fault_write(struct scene *s)
{
	return fault(gm_poke(s->map + 3 * PG, gm_pattern(3 * PG)));
}

/* Of who is not the guest: near the beginning to read, near the end to write. */
static int run_fault_by(struct scene *s)
{
	unsigned char *p = s->at;
	int rc = fault(gm_peek(p + PG));

	return rc ? rc : fault(gm_poke(p + MID_LEN - PG, gm_pattern(SMALL_LEN - 2 * PG)));
}

static int undo_fault_by(struct scene *s)
{
	void *p = mmap(s->at, MID_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->by,
		       (off_t)MID(s));

	return p == MAP_FAILED ? -errno : 0;
}

static int undo_fault_huge(struct scene *s)
{
	void *p = mmap(s->at, GM_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       s->guest.fd, HUGE_GPA);

	return p == MAP_FAILED ? -errno : 0;
}

static int prepare_fault_huge(struct scene *s)
{
	size_t len = 2 * GM_HUGE;
	unsigned char *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	p = (unsigned char *)(((uintptr_t)p + GM_HUGE - 1) & ~(GM_HUGE - 1));
	s->at = p;
	s->at_len = GM_HUGE;
	return undo_fault_huge(s);
}

static int run_fault_huge(struct scene *s)
{
	return fault(gm_peek(s->at));
}

/* By ptrace's way into a mapping. */
static int prepare_access(struct scene *s)
{
	s->handle = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	return err((int)s->handle);
}

static int run_access(struct scene *s)
{
	ssize_t n = pread(s->handle, s->buf, PG, (off_t)(uintptr_t)s->map);

	return n > 0 && gm_pattern_cmp(s->buf, 0, n) ? -EPROTO : err(n);
}

static int run_fork(struct scene *s __unused_ok)
{
	int status;
	pid_t pid = (pid_t)syscall(SYS_fork);

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(0);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return status ? -EPROTO : 0;
}

/*
 * The look whether pages have gone happens in a work item, in which a step that fails
 * only puts it off: it must be seen all the same.
 */
static int run_stale(struct scene *s)
{
	struct guestmem_region region;
	double deadline = gm_now() + 60;
	int rc;

	if (madvise(s->small.va, PG, MADV_DONTNEED))
		return -errno;
	for (;;) {
		rc = gm_region_get(s->guest.fd, s->id, &region);
		/* The failure may be of this, which comes again. */
		if (rc && rc != -ENOMEM && rc != -EFAULT)
			return rc;
		if (!rc && region.flags & GUESTMEM_REGION_STALE)
			return 0;
		if (gm_now() > deadline)
			return -ETIME;
		usleep(1000);
	}
}

static int undo_stale(struct scene *s)
{
	int rc = gm_remove(s->guest.fd, s->id);

	gm_pattern_set(s->small.va, s->small.len);
	return rc ? rc : undo_remove(s);
}

static int kapi(struct scene *s, __u32 op, __u64 gpa, __u64 len, __u32 value)
{
	struct guestmem_kapi arg = {
		.fd = s->by, .op = op, .gpa = gpa, .len = len, .value = value,
		.buf = (uintptr_t)s->buf,
	};
	int rc = gm_ioctl(s->kapi, GUESTMEM_KAPI, &arg);

	return rc ? rc : arg.rc < 0 ? arg.rc : 0;
}

static int run_kapi_read(struct scene *s)
{
	return kapi(s, GUESTMEM_KAPI_READ, MID(s) + 9, 2 * PG, 0);
}

static int run_kapi_write(struct scene *s)
{
	return kapi(s, GUESTMEM_KAPI_WRITE, MID(s) + 9, 2 * PG, 0);
}

static int run_kapi_fill(struct scene *s)
{
	return kapi(s, GUESTMEM_KAPI_FILL, HUGE_GPA, GM_HUGE, 1);
}

static int run_kapi_cmpxchg(struct scene *s)
{
	return kapi(s, GUESTMEM_KAPI_CMPXCHG, SMALL_GPA, 8, 0);
}

static int run_kapi_sg(struct scene *s)
{
	return kapi(s, GUESTMEM_KAPI_SG, MID(s) + 9, MID_LEN - 99, PG);
}

static int edu_open(struct scene *s)
{
	s->edu = open("/dev/guestmem_edu", O_RDWR | O_CLOEXEC);
	return err(s->edu);
}

static int run_edu_attach(struct scene *s)
{
	struct guestmem_edu_attach attach = { .fd = s->by };

	return gm_ioctl(s->edu, GUESTMEM_EDU_ATTACH, &attach);
}

/* Only the end of the file is the end of it. */
static int undo_edu_attach(struct scene *s)
{
	close(s->edu);
	return edu_open(s);
}

static int prepare_edu(struct scene *s)
{
	int rc = edu_open(s);

	return rc ? rc : run_edu_attach(s);
}

/* What would bounce is refused, and nothing else here is so: see module/fail.h. */
static int refused(int rc)
{
	return rc == -EOPNOTSUPP ? -ENOMEM : rc;
}

static int run_edu_map(struct scene *s)
{
	struct guestmem_edu_map map = {
		.gpa = MID(s) + 11, .len = MID_LEN - 11,
		.direction = GUESTMEM_DMA_BIDIRECTIONAL,
	};
	int rc = gm_ioctl(s->edu, GUESTMEM_EDU_MAP, &map);

	s->handle = map.map;
	return refused(rc);
}

static int run_edu_unmap(struct scene *s)
{
	struct guestmem_edu_unmap unmap = { .map = s->handle };

	return gm_ioctl(s->edu, GUESTMEM_EDU_UNMAP, &unmap);
}

static int run_edu_xfer(struct scene *s)
{
	struct guestmem_edu_xfer xfer = {
		.gpa = MID(s) + 3, .len = 64, .direction = GUESTMEM_DMA_TO_DEVICE,
	};

	return refused(gm_ioctl(s->edu, GUESTMEM_EDU_XFER, &xfer));
}

static int prepare_edu_map(struct scene *s)
{
	int rc = prepare_edu(s);

	return rc ? rc : run_edu_map(s);
}

/* A mapping that was revoked is still to be unmapped. */
static int undo_edu_revoke(struct scene *s)
{
	struct guestmem_region region;
	int rc;

	if (!gm_region_get(s->guest.fd, s->id, &region))
		return 0;
	rc = run_edu_unmap(s);
	rc = rc ? rc : undo_remove(s);
	return rc ? rc : run_edu_map(s);
}

/* Likewise what a domain took back. */
static int undo_edu_domain_unmap(struct scene *s)
{
	int rc = run_edu_unmap(s);

	rc = rc ? rc : undo_unmap(s);
	return rc ? rc : run_edu_map(s);
}

/**
 * struct op - an operation
 * @name: its name
 * @by: makes who does it; NULL: it is the guest
 * @prepare: what it needs beside the scene; NULL if nothing
 * @run: the operation
 * @undo: brings back what there was, after success; NULL if nothing changed
 * @writes: it changes the memory, in part if it fails
 * @stays: it may have happened, or begun, all the same: @undo finds out. An answer that
 *	cannot be delivered is such a case (see uAPI)
 * @cannot_fail: whatever happens on the way
 */
struct op {
	const char *name;
	int (*by)(struct scene *s);
	int (*prepare)(struct scene *s);
	int (*run)(struct scene *s);
	int (*undo)(struct scene *s);
	bool writes;
	bool stays;
	bool cannot_fail;
};

/* What is done by a view, or a session, as by the guest. */
#define BY_OPS(op, who) \
	op(who##_read, .by = by_##who, .run = run_pread) \
	op(who##_write, .by = by_##who, .run = run_pwrite, .writes = true) \
	op(who##_fill, .by = by_##who, .run = run_fill, .writes = true) \
	op(who##_copy, .by = by_##who, .run = run_copy, .writes = true) \
	op(who##_atomic, .by = by_##who, .run = run_atomic, .writes = true) \
	op(who##_translate, .by = by_##who, .run = run_translate) \
	op(who##_lock, .by = by_##who, .run = run_lock, .undo = run_unlock) \
	op(who##_mmap, .by = by_##who, .run = run_mmap, .undo = undo_mmap) \
	op(who##_fault, .by = by_##who, .prepare = run_mmap, .run = run_fault_by, \
	   .undo = undo_fault_by, .cannot_fail = true) \
	op(who##_kapi_write, .by = by_##who, .run = run_kapi_write, .writes = true) \
	op(who##_kapi_sg, .by = by_##who, .run = run_kapi_sg) \
	op(who##_edu_map, .by = by_##who, .prepare = prepare_edu, .run = run_edu_map, \
	   .undo = run_edu_unmap)

#define OPS(op) \
	op(open, .run = run_open, .undo = undo_close) \
	op(info, .run = run_info) \
	op(add_anon, .run = run_add_anon, .undo = undo_add) \
	op(add_readonly, .run = run_add_readonly, .undo = undo_add) \
	op(add_thp, .run = run_add_thp, .undo = undo_add) \
	op(add_memfd, .run = run_add_memfd, .undo = undo_add) \
	op(add_hugetlb, .run = run_add_hugetlb, .undo = undo_add) \
	op(remove, .run = run_remove, .undo = undo_remove, .stays = true) \
	op(revoke, .run = run_revoke, .undo = undo_remove, .stays = true) \
	op(revoke_locked, .prepare = run_lock, .run = run_revoke_locked, \
	   .undo = undo_revoke_locked, .stays = true) \
	op(list, .run = run_list) \
	op(list_wide, .run = run_list_wide) \
	op(translate, .run = run_translate) \
	op(lock, .run = run_lock, .undo = run_unlock) \
	op(lock_pages, .run = run_lock_pages, .undo = run_unlock) \
	op(unlock, .prepare = run_lock, .run = run_unlock, .undo = run_lock) \
	op(fill, .run = run_fill_huge, .writes = true) \
	op(copy, .run = run_copy_huge, .writes = true) \
	op(atomic, .run = run_atomic, .writes = true) \
	op(eventfd, .run = run_eventfd, .undo = run_eventfd_end) \
	op(eventfd_end, .prepare = run_eventfd, .run = run_eventfd_end, .undo = run_eventfd) \
	op(view, .run = run_view, .undo = undo_close) \
	op(views, .prepare = prepare_view, .run = run_views) \
	op(limit, .prepare = prepare_limit, .run = run_limit, .undo = undo_limit, .stays = true) \
	op(domain, .run = run_domain, .undo = undo_close) \
	op(session, .prepare = prepare_domain, .run = run_session, .undo = undo_close) \
	op(domain_map, .prepare = prepare_domain, .run = run_map, .undo = undo_map, \
	   .stays = true) \
	op(domain_map_external, .prepare = prepare_domain, .run = run_map_external, \
	   .undo = undo_map, .stays = true) \
	op(domain_list, .prepare = prepare_domain, .run = run_mappings) \
	op(domain_unmap, .prepare = prepare_export, .run = run_unmap, .undo = undo_unmap, \
	   .stays = true) \
	op(export, .prepare = prepare_domain, .run = run_export, .undo = undo_export) \
	op(release, .prepare = prepare_export, .run = undo_export, .undo = undo_release, \
	   .stays = true) \
	op(release_all, .prepare = prepare_export, .run = run_release_all, \
	   .undo = undo_release, .stays = true) \
	op(domain_remove, .prepare = prepare_domain, .run = run_remove, \
	   .undo = undo_domain_remove, .stays = true) \
	op(domain_revoke, .prepare = prepare_export, .run = run_revoke, \
	   .undo = undo_domain_revoke, .stays = true) \
	op(domain_unmap_locked, .by = by_session, .prepare = run_lock, \
	   .run = run_unmap_locked, .undo = undo_unmap_locked, .stays = true) \
	op(domain_poll, .prepare = prepare_records, .run = run_domain_poll) \
	op(records, .prepare = prepare_records, .run = run_records, .undo = undo_records, \
	   .stays = true) \
	op(pread, .run = run_pread) \
	op(pwrite, .run = run_pwrite, .writes = true) \
	op(splice, .run = run_splice, .undo = undo_splice) \
	op(splice_in, .run = run_splice_in, .undo = undo_splice, .writes = true, \
	   .stays = true) \
	op(seek, .run = run_seek) \
	op(poll, .run = run_poll) \
	op(epoll, .prepare = prepare_epoll, .run = run_epoll, .undo = undo_epoll) \
	op(fdinfo, .run = run_fdinfo) \
	op(debugfs, .run = run_debugfs) \
	op(mmap, .run = run_mmap, .undo = undo_mmap) \
	op(mmap_table, .prepare = prepare_table, .run = run_mmap_table, .undo = undo_mmap) \
	op(view_table, .prepare = prepare_table, .run = run_view_table, .undo = undo_mmap) \
	op(munmap_part, .run = run_munmap_part, .undo = undo_map_all, .stays = true) \
	op(mremap, .prepare = prepare_mremap, .run = run_mremap, .undo = undo_mremap) \
	op(mprotect, .run = run_mprotect, .undo = undo_map_all, .stays = true) \
	op(fault_read, .run = run_fault_read, .undo = undo_map_all, .cannot_fail = true) \
	op(fault_write, .run = run_fault_write, .undo = undo_map_all, .cannot_fail = true) \
	op(fault_huge, .prepare = prepare_fault_huge, .run = run_fault_huge, \
	   .undo = undo_fault_huge, .cannot_fail = true) \
	op(access, .prepare = prepare_access, .run = run_access) \
	op(fork, .run = run_fork) \
	op(stale, .run = run_stale, .undo = undo_stale, .cannot_fail = true) \
	op(kapi_read, .run = run_kapi_read) \
	op(kapi_write, .run = run_kapi_write, .writes = true) \
	op(kapi_fill, .run = run_kapi_fill, .writes = true) \
	op(kapi_cmpxchg, .run = run_kapi_cmpxchg, .writes = true) \
	op(kapi_sg, .run = run_kapi_sg) \
	op(edu_attach, .prepare = edu_open, .run = run_edu_attach, .undo = undo_edu_attach) \
	op(edu_map, .prepare = prepare_edu, .run = run_edu_map, .undo = run_edu_unmap) \
	op(edu_unmap, .prepare = prepare_edu_map, .run = run_edu_unmap, .undo = run_edu_map) \
	op(edu_xfer, .prepare = prepare_edu, .run = run_edu_xfer) \
	op(edu_revoke, .prepare = prepare_edu_map, .run = run_revoke, .undo = undo_edu_revoke, \
	   .stays = true) \
	op(edu_domain_unmap, .by = by_session, .prepare = prepare_edu_map, .run = run_unmap, \
	   .undo = undo_edu_domain_unmap, .stays = true) \
	BY_OPS(op, view) \
	BY_OPS(op, session)

/* ---- what there is ---- */

/**
 * struct state - what must be the same afterwards
 * @pins: in the system
 * @vmpin: bytes pinned by this process
 * @charged: bytes charged to this user
 * @fd: the lowest that is free: one that leaked took it, as no operation opens two
 * @nvmas: mappings
 * @sum: of the memory's bytes
 * @info: of the guest
 * @guests: what debugfs tells of regions and locks
 */
struct state {
	long pins;
	long vmpin;
	__u64 charged;
	int fd;
	int nvmas;
	__u64 sum;
	struct guestmem_info info;
	char guests[4096];
};

/* Enough for all, and so little that a region can be too much. */
#define MEMLOCK	(64UL << 20)

/* So that what is pinned is charged to the user, too. */
static int memlock(void)
{
	const struct rlimit rl = { MEMLOCK, MEMLOCK };

	return setrlimit(RLIMIT_MEMLOCK, &rl) ? -errno : gm_cap(CAP_IPC_LOCK, false);
}

/* Who wants more than may be charged is told what it would come to. */
static __u64 charged(int fd)
{
	struct guestmem_region_add add;
	int rc = gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER, .gpa = HOLE_GPA,
			       .len = MEMLOCK + PG);

	if (rc != -ENOMEM || add.err.reason != GUESTMEM_REASON_MEMLOCK)
		abort();
	return add.err.need - add.len;
}

static int count_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	int c, n = 0;

	if (!f)
		return -1;
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static __u64 sum(const struct gm_mem *mem)
{
	const __u64 *word = (const void *)mem->va;
	__u64 value = 0;
	size_t i;

	for (i = 0; i < mem->len / sizeof(*word); i++)
		value = value * 31 + word[i];
	return value;
}

static void sample(const struct scene *s, struct state *state)
{
	ssize_t n = -1;
	int fd;

	memset(state, 0, sizeof(*state));
	state->pins = gm_pins();
	state->vmpin = gm_vmpin();
	state->charged = charged(s->guest.fd);
	state->fd = dup(s->guest.fd);
	if (state->fd < 0 || close(state->fd))
		abort();
	state->nvmas = count_lines("/proc/self/maps");
	state->sum = sum(&s->small) + sum(&s->huge);
	if (gm_info(s->guest.fd, &state->info))
		abort();
	state->info.events = 0;
	fd = open(GUESTS, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, state->guests, sizeof(state->guests) - 1);
		close(fd);
	}
	if (n < 1)
		abort();
}

/* Numbers that are never used twice, out of a text. */
static void forget_numbers(char *text, const char *before)
{
	char *p = text;

	while ((p = strstr(p, before))) {
		p += strlen(before);
		memmove(p, p + strspn(p, "0123456789"), strlen(p + strspn(p, "0123456789")) + 1);
	}
}

/* Something was made and undone: what counts up has. */
static void forget_history(struct state *state)
{
	state->info.generation = 0;
	forget_numbers(state->guests, "generation ");
	forget_numbers(state->guests, "region ");
	forget_numbers(state->guests, "view ");
	/* Those of a session; of a domain's, undo_unmap() sees to that there are none. */
	forget_numbers(state->guests, "faults ");
}

static void expect_same(struct __test_metadata *_metadata, struct state before,
			struct state now, bool history)
{
	if (!history) {
		forget_history(&before);
		forget_history(&now);
	}
	EXPECT_GE(before.pins, now.pins);
	EXPECT_EQ(before.vmpin, now.vmpin);
	EXPECT_EQ(before.charged, now.charged);
	EXPECT_EQ(before.fd, now.fd);
	EXPECT_EQ(before.nvmas, now.nvmas);
	EXPECT_EQ(before.sum, now.sum);
	EXPECT_EQ(0, memcmp(&before.info, &now.info, sizeof(now.info)));
	EXPECT_STREQ(before.guests, now.guests);
}

/* ---- the sweep ---- */

GM_FIGURE("injected failures")

FIXTURE(failnth) {
	struct scene scene;
};

FIXTURE_VARIANT(failnth) {
	struct op op;
};

#define OP_VARIANT(name_, ...)							\
FIXTURE_VARIANT_ADD(failnth, name_) { .op = { .name = #name_, __VA_ARGS__ } };
OPS(OP_VARIANT)

FIXTURE_SETUP(failnth)
{
	struct scene *s = &self->scene;
	enum gm_kind kind;

	gm_guest_setup(_metadata, &s->guest);
	ASSERT_EQ(0, rseq_end());
	ASSERT_EQ(0, memlock());
	ASSERT_EQ(0, injectors_open())
		TH_LOG("the module was not built with GUESTMEM_FAIL_NTH=y, or the kernel injects some failures but not all");
	ASSERT_EQ(0, gm_mem_alloc(&s->small, GM_ANON, SMALL_LEN));
	ASSERT_EQ(0, gm_mem_alloc(&s->huge, GM_HUGETLB, GM_HUGE));
	ASSERT_EQ(0, gm_mem_add(s->guest.fd, &s->small, SMALL_GPA, 0, SMALL_LEN, 0, &s->id));
	ASSERT_EQ(0, gm_mem_add(s->guest.fd, &s->huge, HUGE_GPA, 0, GM_HUGE, 0, NULL));
	for (kind = GM_ANON; kind <= GM_HUGETLB; kind++)
		ASSERT_EQ(0, gm_mem_alloc(&s->spare[kind], kind,
					  kind == GM_ANON ? SMALL_LEN :
					  gm_kind_is_huge(kind) ? GM_HUGE : 7 * PG));
	s->map = gm_mmap(s->guest.fd, SMALL_GPA, SMALL_LEN, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)s->map);
	s->buf = aligned_alloc(PG, BUF_LEN);
	ASSERT_NE(NULL, s->buf);
	memset(s->buf, 0x5a, BUF_LEN);
	s->event = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, s->event);
	ASSERT_EQ(0, pipe2(s->pipe, O_CLOEXEC | O_NONBLOCK));
	s->kapi = open("/dev/guestmem_kapi", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, s->kapi);
	s->edu = -1;
	s->view = -1;
	s->domain = -1;
	s->session = -1;
	s->by = s->guest.fd;
	s->base = SMALL_GPA;
	if (variant->op.by)
		ASSERT_EQ(0, variant->op.by(s));
	if (variant->op.prepare)
		ASSERT_EQ(0, variant->op.prepare(s));
}

FIXTURE_TEARDOWN(failnth)
{
	struct scene *s = &self->scene;
	enum gm_kind kind;

	munmap(s->map, SMALL_LEN);
	if (s->at_len)
		munmap(s->at, s->at_len);
	close(s->edu);
	close(s->session);
	close(s->domain);
	close(s->view);
	close(s->kapi);
	for (kind = GM_ANON; kind <= GM_HUGETLB; kind++)
		gm_mem_free(&s->spare[kind]);
	gm_mem_free(&s->small);
	gm_mem_free(&s->huge);
	gm_guest_teardown(_metadata, &s->guest);
}

/* Returns the number of steps that failed. */
static int sweep(struct __test_metadata *_metadata, struct scene *s, const struct op *op,
		 const struct injector *injector)
{
	struct state before, now;
	double deadline;
	bool fired = true;
	int n, rc, undone;

	sample(s, &before);
	for (n = 1; fired && n <= MAX_STEPS && _metadata->exit_code != KSFT_FAIL; n++) {
		arm(injector, n);
		rc = op->run(s);
		fired = disarm(injector);
		if (rc < 0) {
			EXPECT_TRUE(fired);
			EXPECT_TRUE(rc == -ENOMEM || rc == -EFAULT || rc == -EINTR ||
				    rc == -EAGAIN);
			EXPECT_FALSE(op->cannot_fail);
		}
		undone = rc < 0 && !op->stays ? 0 : op->undo ? op->undo(s) : 0;
		EXPECT_EQ(0, undone);
		if (op->writes) {
			gm_pattern_set(s->small.va, s->small.len);
			gm_pattern_set(s->huge.va, s->huge.len);
		}
		sample(s, &now);
		/* Others pin too, for a while; if they did before, the oracle sees the rest. */
		deadline = gm_now() + 5;
		while (now.pins > before.pins && gm_now() < deadline)
			now.pins = gm_pins();
		expect_same(_metadata, before, now, rc < 0 && !op->stays);
		if (_metadata->exit_code == KSFT_FAIL)
			TH_LOG("%s, step %d by %s: %s", op->name, n, injector->path,
			       rc < 0 ? strerror(-rc) : "success");
		before = now;
	}
	EXPECT_FALSE(fired);
	*gm_figure += n - 2;
	return n - 2;
}

TEST_F(failnth, sweep)
{
	unsigned int i;

	/* What is made at the first time only must not look like a leak. */
	ASSERT_EQ(0, variant->op.run(&self->scene));
	if (variant->op.undo)
		ASSERT_EQ(0, variant->op.undo(&self->scene));
	if (variant->op.writes) {
		gm_pattern_set(self->scene.small.va, self->scene.small.len);
		gm_pattern_set(self->scene.huge.va, self->scene.huge.len);
	}
	for (i = 0; i < ARRAY_SIZE(injectors); i++) {
		if (injectors[i].fd < 0)
			continue;
		printf("# %s: %d steps by %s\n", variant->op.name,
		       sweep(_metadata, &self->scene, &variant->op, &injectors[i]),
		       injectors[i].path);
	}
}

TEST_HARNESS_MAIN
