/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the test programs share: calling the ioctls, memory of every backing,
 * catching SIGBUS, and the oracle that tells whether something leaked.
 *
 * Functions that call the kernel return 0 or a count, or -errno. None of them
 * asserts, unless it takes @_metadata.
 */
#ifndef _GUESTMEM_TEST_H
#define _GUESTMEM_TEST_H

#include <kselftest_harness.h>

#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/guestmem.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

/* The harness kills what runs longer; an emulated CPU on a busy machine takes its time. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 1800

#define GM_DEV		"/dev/guestmem"
#define GM_HUGE		((size_t)2 << 20)
/* Where tests put their first region: not 0, and aligned for huge entries. */
#define GM_GPA		0x100000000ULL
/* An ordinary user for tests that must not be privileged; owns nothing else. */
#define GM_UID		54321

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

#define GM_EXTENTS	4096

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB	(21U << 26)
#endif

#define __unused_ok	__attribute__((__unused__))

static size_t gm_page;

static void __attribute__((constructor)) gm_page_init(void)
{
	gm_page = (size_t)sysconf(_SC_PAGESIZE);
}

#define PG	gm_page

/* ---- ioctls ---- */

static inline int gm_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

/*
 * gm_NAME(fd, &struct, .field = value, ...): fills the struct, with its size, and
 * calls the ioctl. What the kernel answers stands in the struct afterwards.
 */
#define GM_CALL(fd_, cmd_, arg_, ...) ({				\
	__typeof__(arg_) gm_a_ = (arg_);				\
									\
	*gm_a_ = (__typeof__(*gm_a_)){ .size = sizeof(*gm_a_), __VA_ARGS__ };	\
	gm_ioctl((fd_), (cmd_), gm_a_);					\
})

#define gm_info(fd, a, ...)		GM_CALL(fd, GUESTMEM_INFO, a, ##__VA_ARGS__)
#define gm_region_add(fd, a, ...)	GM_CALL(fd, GUESTMEM_REGION_ADD, a, ##__VA_ARGS__)
#define gm_region_remove(fd, a, ...)	GM_CALL(fd, GUESTMEM_REGION_REMOVE, a, ##__VA_ARGS__)
#define gm_region_list(fd, a, ...)	GM_CALL(fd, GUESTMEM_REGION_LIST, a, ##__VA_ARGS__)
#define gm_translate(fd, a, ...)	GM_CALL(fd, GUESTMEM_TRANSLATE, a, ##__VA_ARGS__)
#define gm_lock(fd, a, ...)		GM_CALL(fd, GUESTMEM_LOCK, a, ##__VA_ARGS__)
#define gm_unlock(fd, a, ...)		GM_CALL(fd, GUESTMEM_UNLOCK, a, ##__VA_ARGS__)
#define gm_fill(fd, a, ...)		GM_CALL(fd, GUESTMEM_FILL, a, ##__VA_ARGS__)
#define gm_copy(fd, a, ...)		GM_CALL(fd, GUESTMEM_COPY, a, ##__VA_ARGS__)
#define gm_atomic(fd, a, ...)		GM_CALL(fd, GUESTMEM_ATOMIC, a, ##__VA_ARGS__)
#define gm_eventfd(fd, a, ...)		GM_CALL(fd, GUESTMEM_EVENTFD, a, ##__VA_ARGS__)
#define gm_view_create(fd, a, ...)	GM_CALL(fd, GUESTMEM_VIEW_CREATE, a, ##__VA_ARGS__)
#define gm_view_list(fd, a, ...)	GM_CALL(fd, GUESTMEM_VIEW_LIST, a, ##__VA_ARGS__)
#define gm_view_limit(fd, a, ...)	GM_CALL(fd, GUESTMEM_VIEW_LIMIT, a, ##__VA_ARGS__)
#define gm_domain_create(fd, a, ...)	GM_CALL(fd, GUESTMEM_DOMAIN_CREATE, a, ##__VA_ARGS__)
#define gm_domain_map(fd, a, ...)	GM_CALL(fd, GUESTMEM_DOMAIN_MAP, a, ##__VA_ARGS__)
#define gm_domain_unmap(fd, a, ...)	GM_CALL(fd, GUESTMEM_DOMAIN_UNMAP, a, ##__VA_ARGS__)
#define gm_domain_list(fd, a, ...)	GM_CALL(fd, GUESTMEM_DOMAIN_LIST, a, ##__VA_ARGS__)
#define gm_session_create(fd, a, ...)	GM_CALL(fd, GUESTMEM_SESSION_CREATE, a, ##__VA_ARGS__)
#define gm_export(fd, a, ...)		GM_CALL(fd, GUESTMEM_EXPORT, a, ##__VA_ARGS__)
#define gm_release(fd, a, ...)		GM_CALL(fd, GUESTMEM_RELEASE, a, ##__VA_ARGS__)

static inline int gm_remove(int fd, __u32 id)
{
	struct guestmem_region_remove rm;

	return gm_region_remove(fd, &rm, .id = id);
}

static inline int gm_revoke(int fd, __u32 id)
{
	struct guestmem_region_remove rm;

	return gm_region_remove(fd, &rm, .id = id, .flags = GUESTMEM_REMOVE_FORCE);
}

static inline int gm_unlock_handle(int fd, __u32 handle)
{
	struct guestmem_unlock ul;

	return gm_unlock(fd, &ul, .handle = handle);
}

/* A file for a part of @fd, or -errno. */
static inline int gm_view(int fd, __u64 address, __u64 len, __u32 rights, __u32 flags, __u64 *id)
{
	struct guestmem_view_create vc;
	int ret = gm_view_create(fd, &vc, .flags = flags, .address = address, .len = len,
				 .rights = rights);

	if (id)
		*id = vc.id;
	return ret ? ret : vc.fd;
}

static inline int gm_limit(int fd, __u64 id, __u32 rights)
{
	struct guestmem_view_limit vl;

	return gm_view_limit(fd, &vl, .id = id, .rights = rights);
}

/* What a domain and its sessions can have at most, without privilege. */
#define GM_CLIENT_RIGHTS	(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE |	\
				 GUESTMEM_RIGHT_MAP | GUESTMEM_RIGHT_LOCK |	\
				 GUESTMEM_RIGHT_TRANSLATE)

/* A domain of small pages, for all IOVAs, or -errno. */
static inline int gm_domain(int fd, __u32 rights)
{
	struct guestmem_domain_create dc;
	int ret = gm_domain_create(fd, &dc, .page_sizes = gm_page, .last = ~0ULL,
				   .rights = rights);

	return ret ? ret : dc.fd;
}

/* A session of @domain, or -errno. */
static inline int gm_session(int domain, __u32 rights, __u64 *id)
{
	struct guestmem_session_create sc;
	int ret = gm_session_create(domain, &sc, .rights = rights);

	if (id)
		*id = sc.id;
	return ret ? ret : sc.fd;
}

/* One mapping of the guest's memory. */
static inline int gm_map_iova(int domain, __u64 iova, __u64 len, __u64 gpa, __u32 rights)
{
	struct guestmem_mapping m = { .iova = iova, .len = len, .gpa = gpa, .rights = rights };
	struct guestmem_domain_map dm;

	return gm_domain_map(domain, &dm, .mappings = (uintptr_t)&m, .nmappings = 1);
}

/* What an UNMAP that does not wait leaves behind: 0, or GM_USED; or -errno. */
#define GM_USED	1

static inline int gm_used(int ret, const struct guestmem_domain_unmap *du)
{
	return ret ? ret : du->nusers ? GM_USED : 0;
}

/* Who is left may take as long as he wants, and is not waited for. */
static inline int gm_unmap_iova(int domain, __u64 iova, __u64 len)
{
	struct guestmem_domain_unmap du;
	int ret = gm_domain_unmap(domain, &du, .iova = iova, .len = len,
				  .deadline_ms = GUESTMEM_WAIT_FOREVER);

	return gm_used(ret, &du);
}

/* Whose pieces are not asked for. */
static inline int gm_export_iova(int session, __u64 iova, __u64 len, __u32 rights, __u32 *handle)
{
	struct guestmem_export ex;
	int ret = gm_export(session, &ex, .iova = iova, .len = len, .rights = rights);

	if (handle)
		*handle = ex.handle;
	return ret;
}

static inline int gm_release_handle(int session, __u32 handle)
{
	struct guestmem_release rl;

	return gm_release(session, &rl, .handle = handle);
}

/* How many were released, or -errno. */
static inline int gm_release_all(int session)
{
	struct guestmem_release rl;
	int ret = gm_release(session, &rl, .flags = GUESTMEM_RELEASE_ALL);

	return ret ? ret : (int)rl.nreleased;
}

static inline __u32 gm_rights(int fd)
{
	struct guestmem_info info;

	return gm_info(fd, &info) ? ~0U : info.rights;
}

static inline __u64 gm_view_id(int fd)
{
	struct guestmem_info info;

	return gm_info(fd, &info) ? 0 : info.view;
}

/* Number of regions, or -errno; at most @max entries are wanted. */
static inline int gm_list(int fd, struct guestmem_region *entries, __u32 max)
{
	struct guestmem_region_list list;
	int ret;

	ret = gm_region_list(fd, &list, .entries = (uintptr_t)entries,
			     .entry_size = sizeof(*entries), .nentries = max);
	return ret ? ret : (int)list.nentries;
}

/* REGION_LIST's entry of one region: 0, or -ENOENT. */
static inline int gm_region_get(int fd, __u32 id, struct guestmem_region *region)
{
	static struct guestmem_region entries[64];
	int i, n = gm_list(fd, entries, ARRAY_SIZE(entries));

	memset(region, 0, sizeof(*region));
	for (i = 0; i < n; i++) {
		if (entries[i].id == id) {
			*region = entries[i];
			return 0;
		}
	}
	return n < 0 ? n : -ENOENT;
}

static inline __u64 gm_pinned(int fd)
{
	struct guestmem_info info;

	return gm_info(fd, &info) ? ~0ULL : info.pinned;
}

static inline bool gm_err_is_zero(const struct guestmem_error *err)
{
	return !err->reason && !err->reserved && !err->addr && !err->need && !err->limit;
}

/* ---- memory to make regions of ---- */

enum gm_kind { GM_ANON, GM_THP, GM_MEMFD, GM_TMPFS, GM_HUGETLB };

/**
 * struct gm_mem - memory of this process, and of a file where @kind has one
 * @kind: the backing
 * @fd: file, or -1
 * @va: mapping of all of it, writable, shared where there is a file
 * @len: bytes
 */
struct gm_mem {
	enum gm_kind kind;
	int fd;
	unsigned char *va;
	size_t len;
};

static inline bool gm_kind_is_file(enum gm_kind kind)
{
	return kind == GM_MEMFD || kind == GM_TMPFS || kind == GM_HUGETLB;
}

static inline bool gm_kind_is_huge(enum gm_kind kind)
{
	return kind == GM_THP || kind == GM_HUGETLB;
}

static inline int gm_kind_file(enum gm_kind kind)
{
	switch (kind) {
	case GM_MEMFD:
		return memfd_create("guestmem-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	case GM_HUGETLB:
		return memfd_create("guestmem-test", MFD_CLOEXEC | MFD_ALLOW_SEALING |
				    MFD_HUGETLB | MFD_HUGE_2MB);
	case GM_TMPFS:
		return open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	default:
		return -1;
	}
}

/*
 * The usual length: two huge pages where there are such, else a number of pages
 * that no batch size divides.
 */
static inline size_t gm_kind_len(enum gm_kind kind)
{
	return gm_kind_is_huge(kind) ? 2 * GM_HUGE : 67 * PG;
}

/* The byte that gm_mem_alloc() puts at offset @i: no two neighbouring pages alike. */
static inline unsigned char gm_pattern(size_t i)
{
	return (unsigned char)(i * 7 + (i >> 12) * 13 + (i >> 20) * 29 + 1);
}

/*
 * The bytes from @i on, a multiple of 8: each is 7 more than the one before. By words, what
 * much of the tests' time goes into takes a fifth of it, on a CPU that is emulated.
 */
static inline __u64 gm_pattern_word(size_t i)
{
	const __u64 step = 0x312a231c150e0700, top = 0x8080808080808080;
	__u64 first = (__u64)gm_pattern(i) * 0x0101010101010101;

	/* No carry from one to the next. */
	return (step + (first & ~top)) ^ (first & top);
}

static inline __u64 gm_word(const unsigned char *p)
{
	__u64 word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline void gm_pattern_set(unsigned char *p, size_t len)
{
	size_t i;

	for (i = 0; i + 8 <= len; i += 8) {
		__u64 word = gm_pattern_word(i);

		memcpy(p + i, &word, sizeof(word));
	}
	for (; i < len; i++)
		p[i] = gm_pattern(i);
}

/* 0 if @p has the pattern from offset @start on. */
static inline int gm_pattern_cmp(const unsigned char *p, size_t start, size_t len)
{
	size_t i = 0;

	for (; i < len && (start + i) % 8; i++)
		if (p[i] != gm_pattern(start + i))
			return -1;
	for (; i + 8 <= len; i += 8)
		if (gm_word(p + i) != gm_pattern_word(start + i))
			return -1;
	for (; i < len; i++)
		if (p[i] != gm_pattern(start + i))
			return -1;
	return 0;
}

static inline void gm_mem_free(struct gm_mem *mem)
{
	if (mem->va)
		munmap(mem->va, mem->len);
	if (mem->fd >= 0)
		close(mem->fd);
	mem->va = NULL;
	mem->fd = -1;
}

/* Memory that nobody has touched yet. */
static inline int gm_mem_map(struct gm_mem *mem, enum gm_kind kind, size_t len)
{
	unsigned char *p, *q;
	size_t room = len + GM_HUGE;
	int err;

	*mem = (struct gm_mem){ .kind = kind, .fd = -1, .len = len };
	if (gm_kind_is_file(kind)) {
		mem->fd = gm_kind_file(kind);
		if (mem->fd < 0 || ftruncate(mem->fd, (off_t)len))
			goto fail;
	}

	/* Aligned, so that a huge page fits; nothing else may come to lie next to it. */
	p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		goto fail;
	q = (unsigned char *)(((uintptr_t)p + GM_HUGE - 1) & ~(GM_HUGE - 1));
	if (q > p)
		munmap(p, q - p);
	if (q + len < p + room)
		munmap(q + len, p + room - (q + len));
	mem->va = mmap(q, len, PROT_READ | PROT_WRITE, MAP_FIXED |
		       (mem->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), mem->fd, 0);
	if (mem->va == MAP_FAILED) {
		mem->va = NULL;
		err = errno;
		munmap(q, len);
		errno = err;
		goto fail;
	}
	if (kind == GM_THP)
		madvise(mem->va, len, MADV_HUGEPAGE);
	else if (kind == GM_ANON)
		madvise(mem->va, len, MADV_NOHUGEPAGE);
	return 0;
fail:
	err = errno;
	gm_mem_free(mem);
	return -err;
}

static inline int gm_mem_alloc(struct gm_mem *mem, enum gm_kind kind, size_t len)
{
	int ret = gm_mem_map(mem, kind, len);

	if (!ret)
		gm_pattern_set(mem->va, len);
	return ret;
}

/* Adds [@offset, @offset + @len) of @mem at @gpa, by file if it has one. */
static inline int gm_mem_add(int fd, const struct gm_mem *mem, __u64 gpa, size_t offset,
			     size_t len, __u32 flags, __u32 *id)
{
	struct guestmem_region_add add;
	int ret;

	if (mem->fd >= 0)
		ret = gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_FILE, .fd = mem->fd,
				    .gpa = gpa, .len = len, .offset = offset, .flags = flags);
	else
		ret = gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER,
				    .gpa = gpa, .len = len,
				    .offset = (uintptr_t)mem->va + offset, .flags = flags);
	if (id)
		*id = add.id;
	return ret;
}

/* Adds memory of this process. */
static inline int gm_user_add(int fd, const void *va, __u64 gpa, size_t len, __u32 flags,
			      __u32 *id)
{
	struct guestmem_region_add add;
	int ret;

	ret = gm_region_add(fd, &add, .backing = GUESTMEM_BACKING_USER, .gpa = gpa, .len = len,
			    .offset = (uintptr_t)va, .flags = flags);
	if (id)
		*id = add.id;
	return ret;
}

static inline void *gm_mmap(int fd, __u64 gpa, size_t len, int prot)
{
	return mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)gpa);
}

/* ---- /proc ---- */

static inline double gm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The number behind @key in a file of lines "key value", or -1. */
static inline long gm_proc_value(const char *path, const char *key)
{
	char line[256];
	size_t n = strlen(key);
	long value = -1;
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, n) && (line[n] == ' ' || line[n] == ':')) {
			value = strtol(line + n + 1, NULL, 10);
			break;
		}
	}
	fclose(f);
	return value;
}

/* Bytes that this process has pinned. */
static inline long gm_vmpin(void)
{
	return gm_proc_value("/proc/self/status", "VmPin") * 1024;
}

/* Pins there are in the system; needs root. */
static inline long gm_pins(void)
{
	/* Each CPU keeps some of the count to itself until told to hand it in. */
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	long released;

	if (fd < 0 || write(fd, "1", 1) != 1)
		fprintf(stderr, "# no stat_refresh: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
	/* In this order, what others pin meanwhile can only make it more, never less. */
	released = gm_proc_value("/proc/vmstat", "nr_foll_pin_released");
	return gm_proc_value("/proc/vmstat", "nr_foll_pin_acquired") - released;
}

/*
 * Others pin pages too, for as long as some direct I/O of theirs takes: what stays
 * is the least of several samples.
 */
static inline long gm_pins_least(void)
{
	long least = gm_pins(), pins;
	int i;

	for (i = 0; i < 5 && least; i++) {
		usleep(1000);
		pins = gm_pins();
		if (pins < least)
			least = pins;
	}
	return least;
}

/* For the same reason: gm_pins(), as soon as it is no more than @most, if it will be. */
static inline long gm_pins_settled(long most)
{
	double deadline = gm_now() + 10;
	long pins;

	while ((pins = gm_pins()) > most && gm_now() < deadline)
		usleep(1000);
	return pins;
}

/* Guests in the system, or with @id only that one; -1 if that cannot be told. */
static inline int gm_guests(const __u64 *id)
{
	unsigned long long seen;
	char line[512];
	int n = 0;
	FILE *f = fopen("/sys/kernel/debug/guestmem/guests", "re");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "guest %llu", &seen) == 1 && (!id || seen == *id))
			n++;
	fclose(f);
	return n;
}

/* ---- figures ---- */

/*
 * What a program tried, by all its processes. GM_FIGURE(what) in a program has it told
 * at the end; ./run adds up what it is told.
 */
static _Atomic unsigned long *gm_figure __unused_ok;

#define GM_FIGURE(what)								\
static pid_t gm_figure_pid;							\
										\
static void __attribute__((constructor)) gm_figure_begin(void)			\
{										\
	gm_figure = mmap(NULL, sizeof(*gm_figure), PROT_READ | PROT_WRITE,	\
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);			\
	gm_figure_pid = getpid();						\
}										\
										\
static void __attribute__((destructor)) gm_figure_end(void)			\
{										\
	if (getpid() == gm_figure_pid)						\
		printf("figure: %lu " what "\n", *gm_figure);			\
}

/* ---- the leak oracle ---- */

/**
 * struct gm_leak - what there was before a test
 * @pins: gm_pins()
 * @vmpin: gm_vmpin()
 * @guests: gm_guests()
 */
struct gm_leak {
	long pins;
	long vmpin;
	int guests;
};

static inline void gm_leak_sample(struct gm_leak *leak)
{
	leak->pins = gm_pins();
	leak->vmpin = gm_vmpin();
	leak->guests = gm_guests(NULL);
}

static inline void gm_leak_start(struct gm_leak *leak)
{
	gm_leak_sample(leak);
	leak->pins = gm_pins_least();
}

/*
 * All must be as it was. The last reference to a guest may just be on its way out
 * in another context, so this waits, but not where a test failed already.
 */
static inline void gm_leak_check(struct __test_metadata *_metadata, const struct gm_leak *leak)
{
	double deadline = gm_now() + (_metadata->exit_code == KSFT_FAIL ? 0 : 30);
	struct gm_leak now;

	for (;;) {
		gm_leak_sample(&now);
		if ((now.pins <= leak->pins && now.vmpin == leak->vmpin &&
		     now.guests == leak->guests) || gm_now() > deadline)
			break;
		usleep(10000);
	}
	EXPECT_GE(leak->pins, now.pins)
		TH_LOG("pages leaked (nr_foll_pin_*)");
	EXPECT_EQ(leak->vmpin, now.vmpin)
		TH_LOG("VmPin leaked");
	EXPECT_EQ(leak->guests, now.guests)
		TH_LOG("a guest leaked (debugfs)");
}

/* ---- descriptors by SCM_RIGHTS ---- */

static inline int gm_send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, c = 'x';
	struct iovec iov = { &c, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static inline int gm_receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))], c;
	struct iovec iov = { &c, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -EIO;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EIO;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

/* ---- privileges ---- */

/*
 * Becomes an ordinary user who can come back. The real user is changed too, since
 * it is the one whose locked memory is counted.
 */
static inline int gm_unprivileged(void)
{
	return setresuid(GM_UID, GM_UID, 0) ? -errno : 0;
}

static inline int gm_privileged(void)
{
	/* From a saved uid of 0: first the effective one, which allows the rest. */
	if (seteuid(0) || setresuid(0, 0, 0))
		return -errno;
	return 0;
}

/* Takes one capability out of the effective set, or puts it back. */
static inline int gm_cap(unsigned int cap, bool on)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &hdr, data))
		return -errno;
	if (on)
		data[cap / 32].effective |= 1U << (cap % 32);
	else
		data[cap / 32].effective &= ~(1U << (cap % 32));
	return syscall(SYS_capset, &hdr, data) ? -errno : 0;
}

/* ---- a guest ---- */

/**
 * struct gm_guest - what each fixture starts with
 * @leak: state before
 * @fd: the guest
 * @id: its number
 */
struct gm_guest {
	struct gm_leak leak;
	int fd;
	__u64 id;
};

static inline void gm_guest_setup(struct __test_metadata *_metadata, struct gm_guest *guest)
{
	struct guestmem_info info;

	gm_leak_start(&guest->leak);
	ASSERT_LE(0, guest->leak.guests)
		TH_LOG("needs root and debugfs, and the module loaded");
	ASSERT_LE(0, guest->leak.vmpin);
	guest->fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, guest->fd)
		TH_LOG("%s: %s", GM_DEV, strerror(errno));
	ASSERT_EQ(0, gm_info(guest->fd, &info));
	guest->id = info.id;
	/* The oracle must be able to see what it says is not there. */
	ASSERT_EQ(1, gm_guests(&guest->id));
}

static inline void gm_guest_teardown(struct __test_metadata *_metadata, struct gm_guest *guest)
{
	/* Where a test that gave up its privileges stopped in the middle. */
	EXPECT_EQ(0, gm_privileged());
	if (guest->fd >= 0)
		EXPECT_EQ(0, close(guest->fd));
	gm_leak_check(_metadata, &guest->leak);
}

/* A guest and memory for it; a variant for each backing, writable and read-only. */
#define GM_BACKING_FIXTURE(name)						\
FIXTURE(name) {									\
	struct gm_guest guest;							\
	struct gm_mem mem;							\
};										\
FIXTURE_VARIANT(name) {								\
	enum gm_kind kind;							\
	__u32 flags;								\
};										\
GM_BACKING_VARIANT(name, anon, GM_ANON)						\
GM_BACKING_VARIANT(name, thp, GM_THP)						\
GM_BACKING_VARIANT(name, memfd, GM_MEMFD)					\
GM_BACKING_VARIANT(name, tmpfs, GM_TMPFS)					\
GM_BACKING_VARIANT(name, hugetlb, GM_HUGETLB)					\
FIXTURE_SETUP(name)								\
{										\
	int ret;								\
										\
	gm_guest_setup(_metadata, &self->guest);				\
	ret = gm_mem_alloc(&self->mem, variant->kind, gm_kind_len(variant->kind)); \
	ASSERT_EQ(0, ret)							\
		TH_LOG("no memory of this kind: %s", strerror(-ret));		\
}										\
FIXTURE_TEARDOWN(name)								\
{										\
	gm_mem_free(&self->mem);						\
	gm_guest_teardown(_metadata, &self->guest);				\
}

#define GM_BACKING_VARIANT(fixture, name, kind_)				\
FIXTURE_VARIANT_ADD(fixture, name##_rw) { .kind = kind_, .flags = 0 };		\
FIXTURE_VARIANT_ADD(fixture, name##_ro) { .kind = kind_, .flags = GUESTMEM_REGION_READONLY };

/* A guest only. */
#define GM_PLAIN_FIXTURE(name)							\
FIXTURE(name) {									\
	struct gm_guest guest;							\
};										\
FIXTURE_SETUP(name)								\
{										\
	gm_guest_setup(_metadata, &self->guest);				\
}										\
FIXTURE_TEARDOWN(name)								\
{										\
	gm_guest_teardown(_metadata, &self->guest);				\
}

/* ---- accesses that may end in a signal ---- */

static __thread sigjmp_buf gm_sig_env;
static __thread volatile sig_atomic_t gm_sig_armed;

static void __unused_ok gm_sig_handler(int sig)
{
	if (gm_sig_armed)
		siglongjmp(gm_sig_env, sig);
	signal(sig, SIG_DFL);
	raise(sig);
}

static inline void gm_sig_install(void)
{
	struct sigaction sa = { .sa_handler = gm_sig_handler };

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

/* The byte at @p, or minus the signal that reading it gave. */
static inline int gm_peek(const volatile void *p)
{
	int sig, value;

	gm_sig_install();
	sig = sigsetjmp(gm_sig_env, 1);
	if (sig) {
		gm_sig_armed = 0;
		return -sig;
	}
	gm_sig_armed = 1;
	value = *(const volatile unsigned char *)p;
	gm_sig_armed = 0;
	return value;
}

/* 0, or minus the signal that writing to @p gave. */
static inline int gm_poke(volatile void *p, unsigned char value)
{
	int sig;

	gm_sig_install();
	sig = sigsetjmp(gm_sig_env, 1);
	if (sig) {
		gm_sig_armed = 0;
		return -sig;
	}
	gm_sig_armed = 1;
	*(volatile unsigned char *)p = value;
	gm_sig_armed = 0;
	return 0;
}

#endif /* _GUESTMEM_TEST_H */
