// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Documentation/security.rst says and no other test program shows: attempts at
 * what must not be possible, each as somebody who would like it to be.
 */
#include "guestmem_test.h"

#include <ctype.h>
#include <grp.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define TRACING	"/sys/kernel/tracing/"
#define GUESTS	"/sys/kernel/debug/guestmem/guests"

/* From Linux 6.7 on: write-protection that is lifted without asking anybody. */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	(1 << 15)
#endif

/* Much longer than what must end soon takes, and shorter than what must not go on. */
#define SOON_S	30

enum { NPAGES = 16 };

FIXTURE(security) {
	struct gm_guest guest;
	struct gm_mem mem;
	__u32 id;
};

FIXTURE_SETUP(security)
{
	gm_guest_setup(_metadata, &self->guest);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, GM_MEMFD, NPAGES * PG));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, GM_GPA, 0, self->mem.len, 0,
				&self->id));
}

FIXTURE_TEARDOWN(security)
{
	gm_mem_free(&self->mem);
	gm_guest_teardown(_metadata, &self->guest);
}

/* A child's exit status, or 255. */
static int wait_for(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* An ordinary user for good, in none of root's groups. */
static int become(uid_t uid)
{
	return setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid) ?
	       -errno : 0;
}

/* All of a file, to be freed; @len may be NULL. */
static char *get_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0, room = 1 << 16;
	char *text = malloc(room);
	ssize_t n;

	while (fd >= 0 && text && (n = read(fd, text + have, room - have - 1)) > 0) {
		have += n;
		if (room - have < 2)
			text = realloc(text, room *= 2);
	}
	close(fd);
	if (text)
		text[have] = 0;
	if (len)
		*len = have;
	return text;
}

static int put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* ---- who may open it ---- */

/* What the module itself makes, before any udev rule widens it. */
TEST_F(security, node)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, 3 };
	struct guestmem_info info;
	struct stat st;
	unsigned int i;
	pid_t pid;

	ASSERT_EQ(0, stat(GM_DEV, &st));
	EXPECT_EQ(S_IFCHR | 0660, st.st_mode);
	EXPECT_EQ(0, st.st_uid);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (become(GM_UID))
			_exit(1);
		for (i = 0; i < ARRAY_SIZE(modes); i++)
			if (open(GM_DEV, modes[i]) >= 0 || errno != EACCES)
				_exit(10 + i);
		/* Who was given the descriptor needs no such permission. */
		_exit(gm_info(self->guest.fd, &info) ? 2 : 0);
	}
	EXPECT_EQ(0, wait_for(pid));
}

/* By /proc one gets the device, not the guest, and only who may open it. */
TEST_F(security, reopen)
{
	struct guestmem_info info;
	char path[64];
	pid_t pid;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->guest.fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_NE(self->guest.id, info.id);
	EXPECT_EQ(0, info.nregions);
	close(fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(become(GM_UID) || open(path, O_RDONLY) >= 0 || errno != EACCES);
	EXPECT_EQ(0, wait_for(pid));
}

/* Whoever holds the descriptor: what others have by it is no more theirs than his. */
TEST_F(security, holders_are_equal)
{
	struct guestmem_lock lock;
	struct guestmem_info info;
	pid_t pid;

	ASSERT_EQ(0, gm_lock(self->guest.fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
			     .gpa = GM_GPA, .len = PG));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(become(GM_UID) || gm_remove(self->guest.fd, self->id) != -EBUSY ||
		      gm_unlock_handle(self->guest.fd, lock.handle) ||
		      gm_remove(self->guest.fd, self->id));
	EXPECT_EQ(0, wait_for(pid));
	ASSERT_EQ(0, gm_info(self->guest.fd, &info));
	EXPECT_EQ(0, info.nregions);
	EXPECT_EQ(0, info.nlocks);
}

/* ---- what a mapping can be made to do ---- */

static long register_buffer(void *p, size_t len)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { p, len };
	int fd = syscall(SYS_io_uring_setup, 1, &params), saved;
	long rc;

	if (fd < 0)
		return 0;
	rc = syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

static long write_to(void *p, size_t len)
{
	char byte = 0;
	struct iovec local = { &byte, 1 }, remote = { p, len ? 1 : 0 };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
}

/* The system call must fail with @err_. */
#define EXPECT_REFUSED(err_, call_) do {					\
	errno = 0;								\
	EXPECT_EQ(-1L, (long)(call_))						\
		TH_LOG("%s", #call_);						\
	EXPECT_EQ(err_, errno)							\
		TH_LOG("%s", #call_);						\
} while (0)

/* Nothing makes it longer, twice, inheritable, part of a core dump, or pins its pages. */
TEST_F(security, mapping_tricks)
{
	size_t len = 4 * PG;
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA, len, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_REFUSED(EFAULT, mremap(p, len, 2 * len, MREMAP_MAYMOVE));
	EXPECT_REFUSED(EFAULT, mremap(p, 0, len, MREMAP_MAYMOVE));
	EXPECT_REFUSED(EINVAL, mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	EXPECT_REFUSED(EINVAL, madvise(p, len, MADV_DOFORK));
	EXPECT_REFUSED(EINVAL, madvise(p, len, MADV_DODUMP));
	EXPECT_REFUSED(EINVAL, madvise(p, len, MADV_DONTNEED));
	EXPECT_REFUSED(EINVAL, madvise(p, len, MADV_PAGEOUT));
	EXPECT_REFUSED(EINVAL, madvise(p, len, MADV_WIPEONFORK));
	EXPECT_REFUSED(EINVAL, madvise(p, len, MADV_POPULATE_WRITE));
	EXPECT_REFUSED(EFAULT, register_buffer(p, len));
	EXPECT_REFUSED(EFAULT, write_to(p, len));
	EXPECT_REFUSED(EFAULT, syscall(SYS_futex, p, FUTEX_WAKE, 1, NULL, NULL, 0));
	/* The same can be done to memory that is no mapping of a guest. */
	EXPECT_EQ(0, register_buffer(self->mem.va, len));
	EXPECT_EQ(1, write_to(self->mem.va + 8 * PG, 1));

	EXPECT_EQ(0, gm_pattern_cmp(p, 0, len));
	EXPECT_EQ(0, gm_remove(self->guest.fd, self->id));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	munmap(p, len);
}

/* remap_file_pages() is a mmap() that no descriptor is needed for: as much is checked. */
TEST_F(security, remap_file_pages)
{
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA, 2 * PG, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, remap_file_pages(p, PG, 0, GM_GPA / PG + 5, 0));
	EXPECT_EQ(gm_pattern(5 * PG), gm_peek(p));
	EXPECT_EQ(0, remap_file_pages(p, PG, 0, GM_GPA / PG + NPAGES, 0));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	/* The table is for reading only. */
	EXPECT_REFUSED(EACCES, remap_file_pages(p, PG, 0, GUESTMEM_MMAP_TABLE / PG, 0));
	EXPECT_EQ(-SIGSEGV, gm_peek(p));
	munmap(p, 2 * PG);
}

/* 0, or -errno: have userfaultfd watch for writes. */
static int watch_writes(void *p, size_t len, __u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, len }, .mode = UFFDIO_REGISTER_MODE_WP,
	};
	int rc, fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return -errno;
	rc = ioctl(fd, UFFDIO_API, &api) ? -ENOSYS : 0;
	if (!rc && ioctl(fd, UFFDIO_REGISTER, &reg))
		rc = -errno;
	close(fd);
	return rc;
}

/*
 * Its marks in page tables would keep faults from being served: they would be taken again
 * for ever, those of the kernel too, where no signal ends it. Kernels from 6.7 on that let
 * it mark such mappings fail here, and are to be fixed.
 */
TEST_F(security, userfaultfd)
{
	static const __u64 features[] = { 0, UFFD_FEATURE_WP_ASYNC };
	unsigned char *p = gm_mmap(self->guest.fd, GM_GPA, PG, PROT_READ | PROT_WRITE), *anon;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, p);
	anon = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, anon);
	for (i = 0; i < ARRAY_SIZE(features); i++) {
		/* Memory that it can watch, unless the kernel does not know the feature. */
		if (watch_writes(anon, PG, features[i]) == -ENOSYS && features[i])
			continue;
		EXPECT_EQ(0, watch_writes(anon, PG, features[i]));
		EXPECT_EQ(-EINVAL, watch_writes(p, PG, features[i]))
			TH_LOG("features %#llx", (unsigned long long)features[i]);
	}
	munmap(anon, PG);
	munmap(p, PG);
}

/* ---- host-physical addresses ---- */

/* Is the number, in hexadecimal, a word of the text? */
static bool has_word(const char *text, __u64 number)
{
	size_t n;
	char word[32];
	const char *p = text;

	n = snprintf(word, sizeof(word), "%llx", (unsigned long long)number);
	while ((p = strstr(p, word))) {
		bool starts = p == text || !isalnum(p[-1]) ||
			      (p >= text + 2 && !memcmp(p - 2, "0x", 2));

		if (starts && !isalnum(p[n]))
			return true;
		p++;
	}
	return false;
}

static bool has_number(const void *bytes, size_t len, __u64 number)
{
	const __u64 *words = bytes;
	size_t i;

	for (i = 0; i < len / sizeof(*words); i++)
		if (words[i] == number)
			return true;
	return false;
}

/* Far above what memory there is, so that it is nobody's host-physical address. */
#define IOVA	(1ULL << 50)

/**
 * struct told - what a view, and a domain and its session, tell
 * @fd: their files
 * @view: the three in the list of views
 * @mapping: the domain's
 * @piece: the session's export
 * @extent: what it translates to, when host-physical addresses are not asked for
 * @record: that it was hit
 */
struct told {
	int fd[3];
	struct guestmem_view view[3];
	struct guestmem_mapping mapping;
	struct guestmem_piece piece;
	struct guestmem_extent extent[NPAGES];
	struct guestmem_record record;
};

/* Has everything told. The session's DMA lock is there afterwards. */
static int tell(int guest, struct told *told)
{
	const __u32 rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_LOCK | GUESTMEM_RIGHT_TRANSLATE;
	struct guestmem_range range = { IOVA, NPAGES * PG };
	struct guestmem_view_list views;
	struct guestmem_domain_list dl;
	struct guestmem_translate tr;
	struct guestmem_lock lock;
	struct guestmem_export ex;

	memset(told, 0, sizeof(*told));
	told->fd[0] = gm_view(guest, GM_GPA, NPAGES * PG, rights, 0, NULL);
	told->fd[1] = gm_domain(guest, rights);
	told->fd[2] = gm_session(told->fd[1], rights, NULL);
	if (told->fd[0] < 0 || told->fd[2] < 0 ||
	    gm_view_list(guest, &views, .entries = (uintptr_t)told->view,
			 .entry_size = sizeof(*told->view), .nentries = 3) ||
	    gm_map_iova(told->fd[1], IOVA, NPAGES * PG, GM_GPA, GUESTMEM_RIGHT_READ) ||
	    gm_domain_list(told->fd[1], &dl, .entries = (uintptr_t)&told->mapping,
			   .nentries = 1) ||
	    gm_export(told->fd[2], &ex, .iova = IOVA, .len = NPAGES * PG,
		      .pieces = (uintptr_t)&told->piece, .npieces = 1,
		      .rights = GUESTMEM_RIGHT_READ) ||
	    gm_translate(told->fd[2], &tr, .ranges = (uintptr_t)&range, .nranges = 1,
			 .extents = (uintptr_t)told->extent, .nextents = NPAGES) ||
	    gm_lock(told->fd[2], &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = IOVA,
		    .len = NPAGES * PG) ||
	    gm_unmap_iova(told->fd[1], IOVA, NPAGES * PG) != GM_USED ||
	    read(told->fd[1], &told->record, sizeof(told->record)) != sizeof(told->record))
		return -EIO;
	return 0;
}

/* Whoever looks wherever: they are nowhere but in what those get who may ask for them. */
TEST_F(security, no_host_addresses)
{
	struct guestmem_range range = { GM_GPA, NPAGES * PG };
	struct guestmem_extent extents[NPAGES];
	struct guestmem_region region;
	struct guestmem_translate tr;
	struct guestmem_lock lock;
	struct guestmem_info info;
	struct told told;
	char path[64], *texts[6], log[1 << 16] = "";
	unsigned char *p;
	unsigned int i, j;
	__u64 hpa;
	__u32 id;
	void *table;

	ASSERT_EQ(0, put_file(TRACING "trace", "\n"));
	/* The digits of a time can be those of an address. */
	ASSERT_EQ(0, put_file(TRACING "options/context-info", "0"));
	ASSERT_EQ(0, put_file(TRACING "events/guestmem/enable", "1"));
	ASSERT_EQ(0, gm_mem_add(self->guest.fd, &self->mem, 2 * GM_GPA, 0, PG, 0, &id));
	ASSERT_EQ(0, gm_translate(self->guest.fd, &tr, .flags = GUESTMEM_EXTENT_HPA,
				  .ranges = (uintptr_t)&range, .nranges = 1,
				  .extents = (uintptr_t)extents, .nextents = NPAGES));
	ASSERT_EQ(0, gm_lock(self->guest.fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
			     .gpa = GM_GPA, .len = NPAGES * PG));
	p = gm_mmap(self->guest.fd, GM_GPA, NPAGES * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < NPAGES; i++)
		EXPECT_EQ(gm_pattern(i * PG), gm_peek(p + i * PG));
	munmap(p, NPAGES * PG);
	EXPECT_EQ(0, gm_remove(self->guest.fd, id));
	ASSERT_EQ(0, tell(self->guest.fd, &told));
	ASSERT_EQ(0, put_file(TRACING "events/guestmem/enable", "0"));

	for (j = 0; j < 4; j++) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d",
			 j ? told.fd[j - 1] : self->guest.fd);
		texts[j] = get_file(path, NULL);
		EXPECT_NE(NULL, strstr(texts[j], "\nguest:"));
	}
	texts[4] = get_file(GUESTS, NULL);
	texts[5] = get_file(TRACING "trace", NULL);
	ASSERT_EQ(0, put_file(TRACING "options/context-info", "1"));
	ASSERT_LE(0, klogctl(3, log, sizeof(log) - 1));
	ASSERT_EQ(0, gm_info(self->guest.fd, &info));
	table = gm_mmap(self->guest.fd, GUESTMEM_MMAP_TABLE, info.table_len, PROT_READ);
	ASSERT_NE(MAP_FAILED, table);
	ASSERT_EQ(0, gm_region_get(self->guest.fd, self->id, &region));
	/* All were asked, and of this guest. */
	EXPECT_TRUE(has_word(texts[4], GM_GPA));
	EXPECT_TRUE(has_word(texts[4], IOVA));
	EXPECT_TRUE(has_word(texts[5], GM_GPA));
	EXPECT_NE(NULL, strstr(texts[5], "guestmem_export: "));
	EXPECT_NE(NULL, strstr(texts[5], "guestmem_unmap: "));
	EXPECT_TRUE(has_number(table, info.table_len, GM_GPA));
	EXPECT_EQ(GM_GPA, told.view[0].address);
	EXPECT_EQ(GM_GPA, told.mapping.gpa);
	EXPECT_EQ(GM_GPA, told.piece.gpa);
	EXPECT_EQ(IOVA, told.extent[0].gpa);
	EXPECT_EQ(IOVA, told.record.iova);

	const struct {
		const char *name;
		const void *bytes;
		size_t len;
	} answers[] = {
		{ "the translation table", table, info.table_len },
		{ "INFO", &info, sizeof(info) },
		{ "REGION_LIST", &region, sizeof(region) },
		{ "VIEW_LIST", told.view, sizeof(told.view) },
		{ "DOMAIN_LIST", &told.mapping, sizeof(told.mapping) },
		{ "EXPORT", &told.piece, sizeof(told.piece) },
		{ "TRANSLATE", told.extent, sizeof(told.extent) },
		{ "a record", &told.record, sizeof(told.record) },
	};

	for (i = 0; i < tr.nextents; i++) {
		for (hpa = extents[i].hpa; hpa < extents[i].hpa + extents[i].len; hpa += PG) {
			ASSERT_NE(0, hpa);
			for (j = 0; j < ARRAY_SIZE(texts); j++) {
				EXPECT_FALSE(has_word(texts[j], hpa) ||
					     has_word(texts[j], hpa / PG))
					TH_LOG("%#llx in: %s", (unsigned long long)hpa, texts[j]);
			}
			EXPECT_FALSE(has_word(log, hpa));
			for (j = 0; j < ARRAY_SIZE(answers); j++) {
				EXPECT_FALSE(has_number(answers[j].bytes, answers[j].len, hpa) ||
					     has_number(answers[j].bytes, answers[j].len, hpa / PG))
					TH_LOG("%#llx in %s", (unsigned long long)hpa,
					       answers[j].name);
			}
		}
	}
	for (j = 0; j < ARRAY_SIZE(texts); j++)
		free(texts[j]);
	for (j = 0; j < ARRAY_SIZE(told.fd); j++)
		close(told.fd[j]);
	munmap(table, info.table_len);
}

/* ---- capabilities in a user namespace ---- */

/* All capabilities there are, but not over what belongs to the system. */
TEST_F(security, user_namespace)
{
	struct rlimit rl = { PG, PG };
	struct guestmem_region region;
	struct guestmem_info info;
	pid_t pid;
	__u32 id;
	int fd;

	ASSERT_EQ(0, gm_user_add(self->guest.fd, self->mem.va, 4 * GM_GPA, PG, 0, &id));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Still in root's group, which may open the device. */
		if (setrlimit(RLIMIT_MEMLOCK, &rl) || setresuid(GM_UID, GM_UID, GM_UID) ||
		    unshare(CLONE_NEWUSER) || gm_cap(CAP_SYS_ADMIN, true) ||
		    gm_cap(CAP_IPC_LOCK, true) || gm_cap(CAP_SYS_PTRACE, true))
			_exit(1);
		fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
		if (fd < 0 || gm_info(fd, &info))
			_exit(2);
		if (info.rights & GUESTMEM_RIGHT_TRANSLATE_HPA)
			_exit(3);
		if (gm_mem_add(fd, &self->mem, GM_GPA, 0, PG, 0, NULL) ||
		    gm_mem_add(fd, &self->mem, 2 * GM_GPA, 0, PG, 0, NULL) != -ENOMEM)
			_exit(4);
		/* Of a process that is not the caller's, whatever it may in its namespace. */
		if (gm_region_get(self->guest.fd, id, &region) || region.offset)
			_exit(5);
		_exit(0);
	}
	EXPECT_EQ(0, wait_for(pid));
}

/* Who added what is told as far as the caller's pid namespace goes. */
TEST_F(security, pid_namespace)
{
	struct guestmem_region regions[2];
	pid_t pid = fork(), inner;

	ASSERT_LE(0, pid);
	if (!pid) {
		if (unshare(CLONE_NEWPID))
			_exit(1);
		inner = fork();
		if (!inner) {
			if (gm_mem_add(self->guest.fd, &self->mem, 2 * GM_GPA, 0, PG, 0, NULL) ||
			    gm_list(self->guest.fd, regions, 2) != 2)
				_exit(2);
			_exit(regions[0].pid || regions[1].pid != 1 || getpid() != 1 ? 3 : 0);
		}
		/* Seen from outside, while it is still there. */
		if (wait_for(inner) || gm_list(self->guest.fd, regions, 2) != 2)
			_exit(4);
		_exit(regions[0].pid == (__u32)getppid() ? 0 : 5);
	}
	EXPECT_EQ(0, wait_for(pid));
}

/* ---- the limit of locked memory ---- */

enum { LIMIT_PAGES = 4 };

static int limit(size_t npages)
{
	struct rlimit rl = { npages * PG, LIMIT_PAGES * PG };

	return setrlimit(RLIMIT_MEMLOCK, &rl) ? -errno : 0;
}

/**
 * struct locker - who has locked all that it may, and wants more
 * @fd: its guest, with the one region
 * @other_fd: another guest
 * @mem: memory to lock
 * @id: the region
 */
struct locker {
	int fd;
	int other_fd;
	const struct gm_mem *mem;
	__u32 id;
};

static int by_one_more(struct locker *l)
{
	return gm_mem_add(l->fd, l->mem, 4 * GM_GPA, NPAGES * PG - PG, PG, 0, NULL);
}

static int by_the_same_pages(struct locker *l)
{
	return gm_mem_add(l->fd, l->mem, 4 * GM_GPA, 0, PG, 0, NULL);
}

static int by_another_guest(struct locker *l)
{
	return gm_mem_add(l->other_fd, l->mem, GM_GPA, 0, PG, 0, NULL);
}

static int by_user_memory(struct locker *l)
{
	return gm_user_add(l->fd, l->mem->va, 4 * GM_GPA, PG, 0, NULL);
}

static int by_readonly(struct locker *l)
{
	return gm_mem_add(l->fd, l->mem, 4 * GM_GPA, 0, PG, GUESTMEM_REGION_READONLY, NULL);
}

/* By a domain, at IOVA 0: memory that is not in the guest. */
static int map_pages(int dom, const struct gm_mem *mem, __u32 backing, size_t npages)
{
	struct guestmem_mapping m = {
		.len = npages * PG, .rights = GUESTMEM_RIGHT_READ, .backing = backing,
	};
	struct guestmem_domain_map dm;

	m.gpa = backing == GUESTMEM_BACKING_FILE ? 0 : (uintptr_t)mem->va;
	m.fd = backing == GUESTMEM_BACKING_FILE ? mem->fd : 0;
	return gm_domain_map(dom, &dm, .mappings = (uintptr_t)&m, .nmappings = 1);
}

static int map_one_more(int fd, const struct gm_mem *mem, __u32 backing)
{
	int dom = gm_domain(fd, GUESTMEM_RIGHT_READ), rc;

	if (dom < 0)
		return -EIO;
	rc = map_pages(dom, mem, backing, 1);
	close(dom);
	return rc;
}

static int by_domain_of_memory(struct locker *l)
{
	return map_one_more(l->fd, l->mem, GUESTMEM_BACKING_USER);
}

static int by_domain_of_file(struct locker *l)
{
	return map_one_more(l->fd, l->mem, GUESTMEM_BACKING_FILE);
}

static int by_domain_of_another_guest(struct locker *l)
{
	return map_one_more(l->other_fd, l->mem, GUESTMEM_BACKING_USER);
}

/* Unmapped, it stays as long as a session has it locked; so does the charge. */
static int by_unmapping(struct locker *l)
{
	const __u32 rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_LOCK;
	int dom = gm_domain(l->fd, rights), ses = gm_session(dom, rights, NULL);
	const size_t len = LIMIT_PAGES * PG;
	struct guestmem_lock lock;

	if (gm_remove(l->fd, l->id) ||
	    map_pages(dom, l->mem, GUESTMEM_BACKING_USER, LIMIT_PAGES) ||
	    gm_export_iova(ses, 0, len, GUESTMEM_RIGHT_READ, NULL) ||
	    gm_lock(ses, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .len = len) ||
	    gm_unmap_iova(dom, 0, len) != GM_USED || gm_release_all(ses) != 1)
		return -EIO;
	return by_one_more(l);
}

/* Locked before it is revoked, the memory stays; so does the charge. */
static int by_revoking(struct locker *l)
{
	struct guestmem_lock lock;

	if (gm_lock(l->fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA, .len = 1) ||
	    gm_revoke(l->fd, l->id) != -ETIMEDOUT)
		return -EIO;
	return by_one_more(l);
}

static int by_fork(struct locker *l)
{
	pid_t pid = fork();

	if (!pid)
		_exit(-by_one_more(l));
	return pid < 0 ? pid : -wait_for(pid);
}

static int by_domain_and_fork(struct locker *l)
{
	pid_t pid = fork();

	if (!pid)
		_exit(-by_domain_of_file(l));
	return pid < 0 ? pid : -wait_for(pid);
}

/* To a process with memory of its own, which has never had it open. */
static int by_passing(struct locker *l)
{
	int sock[2], guest, rc;
	void *own;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock))
		return -EIO;
	pid = fork();
	if (!pid) {
		close(l->fd);
		guest = gm_receive_fd(sock[1]);
		own = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (guest < 0 || own == MAP_FAILED)
			_exit(EIO);
		rc = gm_user_add(guest, own, 4 * GM_GPA, PG, 0, NULL);
		if (rc == -ENOMEM)
			rc = map_one_more(guest, &(struct gm_mem){ .va = own },
					  GUESTMEM_BACKING_USER);
		_exit(-rc);
	}
	rc = pid < 0 ? pid : gm_send_fd(sock[0], l->fd);
	return rc ? -EIO : -wait_for(pid);
}

static void *one_more_thread(void *l)
{
	return (void *)(long)by_one_more(l);
}

static int by_thread(struct locker *l)
{
	pthread_t thread;
	void *rc;

	if (pthread_create(&thread, NULL, one_more_thread, l) || pthread_join(thread, &rc))
		return -EIO;
	return (int)(long)rc;
}

/* What is locked already counts, also against a limit that is lower by now. */
static int by_lowering(struct locker *l)
{
	if (gm_remove(l->fd, l->id) ||
	    gm_mem_add(l->fd, l->mem, GM_GPA, 0, (LIMIT_PAGES - 1) * PG, 0, &l->id) ||
	    limit(LIMIT_PAGES - 1))
		return -EIO;
	return by_one_more(l);
}

static int by_user_namespace(struct locker *l)
{
	if (unshare(CLONE_NEWUSER) || gm_cap(CAP_IPC_LOCK, true))
		return -EIO;
	return by_one_more(l);
}

/* Every way to one page more than the limit. */
TEST_F(security, memlock_bypass)
{
	static const struct {
		const char *name;
		int (*add)(struct locker *locker);
	} ways[] = {
		{ "one more", by_one_more },
		{ "the same pages", by_the_same_pages },
		{ "another guest", by_another_guest },
		{ "user memory", by_user_memory },
		{ "a read-only region", by_readonly },
		{ "revoking", by_revoking },
		{ "fork", by_fork },
		{ "passing the guest on", by_passing },
		{ "a thread", by_thread },
		{ "a lower limit", by_lowering },
		{ "a user namespace", by_user_namespace },
		{ "memory that a domain maps", by_domain_of_memory },
		{ "a file that a domain maps", by_domain_of_file },
		{ "another guest's domain", by_domain_of_another_guest },
		{ "a domain and fork", by_domain_and_fork },
		{ "unmapping", by_unmapping },
	};
	struct locker locker = { .mem = &self->mem };
	unsigned int i;
	pid_t pid;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		locker.fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
		locker.other_fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, locker.fd);
		ASSERT_LE(0, locker.other_fd);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (limit(LIMIT_PAGES) || become(GM_UID) ||
			    gm_mem_add(locker.fd, locker.mem, GM_GPA, 0, LIMIT_PAGES * PG, 0,
				       &locker.id))
				_exit(EIO);
			_exit(-ways[i].add(&locker));
		}
		EXPECT_EQ(ENOMEM, wait_for(pid))
			TH_LOG("by %s", ways[i].name);
		close(locker.fd);
		close(locker.other_fd);
	}
}

/**
 * struct other - a thread of another user
 * @fd: the guest
 * @mem: memory to lock
 * @id: what it locked: all that it may
 * @full: what came of one page more
 */
struct other {
	int fd;
	const struct gm_mem *mem;
	__u32 id;
	int full;
};

static void *lock_as_other(void *arg)
{
	struct other *o = arg;

	/* The system call is about this thread alone. */
	if (syscall(SYS_setresuid, GM_UID + 1, GM_UID + 1, GM_UID + 1))
		return NULL;
	if (!gm_mem_add(o->fd, o->mem, 2 * GM_GPA, 0, LIMIT_PAGES * PG, 0, &o->id))
		o->full = gm_mem_add(o->fd, o->mem, 4 * GM_GPA, 0, PG, 0, NULL);
	return NULL;
}

/* The charge is that of the thread's user, and goes back to that one, whoever removes. */
TEST_F(security, thread_of_another_user)
{
	struct other other = { .fd = self->guest.fd, .mem = &self->mem };
	int fd = self->guest.fd, i;
	pthread_t thread;
	pid_t pid = fork();
	__u32 id;

	ASSERT_LE(0, pid);
	if (!pid) {
		if (limit(LIMIT_PAGES))
			_exit(1);
		for (i = 0; i < 2; i++) {
			if (gm_unprivileged() ||
			    gm_mem_add(fd, &self->mem, 8 * GM_GPA, 0, LIMIT_PAGES * PG, 0, &id) ||
			    gm_mem_add(fd, &self->mem, 4 * GM_GPA, 0, PG, 0, NULL) != -ENOMEM)
				_exit(10 + i);
			if (gm_privileged())
				_exit(2);
			other.full = 0;
			if (pthread_create(&thread, NULL, lock_as_other, &other) ||
			    pthread_join(thread, NULL) || other.full != -ENOMEM)
				_exit(20 + i);
			/* The other's is no room for this one. */
			if (gm_unprivileged() || gm_remove(fd, other.id) ||
			    gm_mem_add(fd, &self->mem, 4 * GM_GPA, 0, PG, 0, NULL) != -ENOMEM ||
			    gm_remove(fd, id) || gm_privileged())
				_exit(30 + i);
		}
		_exit(0);
	}
	EXPECT_EQ(0, wait_for(pid));
}

/* ---- memory of the kernel ---- */

/* A control group of its own: what another one had may be freed meanwhile. */
static int group_make(const char *group)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/memory.stat", group);
	return mkdir(group, 0700) || access(path, R_OK) ? -errno : 0;
}

static int group_set(const char *group, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	return put_file(path, text);
}

static long group_memory(const char *group)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/memory.stat", group);
	return gm_proc_value(path, "kernel");
}

/* Small changes are told only every other second, the more of them the more CPUs. */
static long group_memory_settled(const char *group, long least)
{
	double deadline = gm_now() + 30;
	long bytes;

	while ((bytes = group_memory(group)) < least && gm_now() < deadline)
		usleep(10000);
	return bytes;
}

/* How many there could be made. */
static int lock_times(int fd, int n)
{
	struct guestmem_lock lock;
	int i;

	for (i = 0; i < n; i++)
		if (gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA,
			    .len = 1))
			break;
	return i;
}

static void make_locks(int fd)
{
	lock_times(fd, 20000);
}

static void make_regions(int fd)
{
	struct gm_mem mem;
	int i;

	if (gm_mem_alloc(&mem, GM_MEMFD, PG))
		return;
	for (i = 0; i < 2000; i++)
		gm_mem_add(fd, &mem, 2 * GM_GPA + i * PG, 0, PG, 0, NULL);
}

static void make_guests(int fd)
{
	int i;

	(void)fd;
	for (i = 0; i < 1000; i++)
		if (open(GM_DEV, O_RDWR) < 0)
			return;
}

static void make_views(int fd)
{
	int i;

	for (i = 0; i < 1000; i++)
		gm_view(fd, GM_GPA, PG, GUESTMEM_RIGHT_READ, 0, NULL);
}

static void make_domains(int fd)
{
	int i;

	for (i = 0; i < 400; i++)
		gm_domain(fd, GUESTMEM_RIGHT_READ);
}

static void make_sessions(int fd)
{
	int dom = -1, i;

	for (i = 0; i < 1024; i++) {
		/* No more can be made of one. */
		if (i % 256 == 0)
			dom = gm_domain(fd, GUESTMEM_RIGHT_READ);
		gm_session(dom, GUESTMEM_RIGHT_READ, NULL);
	}
}

static void make_mappings(int fd)
{
	static struct guestmem_mapping m[20000];
	struct guestmem_domain_map dm;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(m); i++)
		m[i] = (struct guestmem_mapping){ .iova = i * PG, .len = PG, .gpa = GM_GPA,
						  .rights = GUESTMEM_RIGHT_READ };
	gm_domain_map(gm_domain(fd, GUESTMEM_RIGHT_READ), &dm, .mappings = (uintptr_t)m,
		      .nmappings = ARRAY_SIZE(m));
}

static void make_exports(int fd)
{
	int dom = gm_domain(fd, GUESTMEM_RIGHT_READ), i;
	int ses = gm_session(dom, GUESTMEM_RIGHT_READ, NULL);

	gm_map_iova(dom, 0, PG, GM_GPA, GUESTMEM_RIGHT_READ);
	for (i = 0; i < 5000; i++)
		gm_export_iova(ses, 0, PG, GUESTMEM_RIGHT_READ, NULL);
}

static void make_tables(int fd)
{
	struct guestmem_info info;
	int i, other;

	if (gm_info(fd, &info))
		return;
	for (i = 0; i < 40; i++) {
		other = open(GM_DEV, O_RDWR);
		gm_mmap(other, GUESTMEM_MMAP_TABLE, info.table_len, PROT_READ);
	}
}

static void make_eventfds(int fd)
{
	struct guestmem_eventfd ev;
	int i, guest = fd, efd;

	for (i = 0; i < 5000; i++) {
		if (i % 64 == 0)
			guest = open(GM_DEV, O_RDWR);
		efd = eventfd(0, 0);
		gm_eventfd(guest, &ev, .fd = efd, .events = GUESTMEM_EVENT_STALE);
		close(efd);
	}
}

/* A mapping in small pages: its page tables. */
static void make_page_tables(int fd)
{
	__u64 gpa;
	int i;

	for (i = 0; i < 256; i++) {
		gpa = GM_GPA - GM_HUGE / 2;
		gm_peek((char *)gm_mmap(fd, gpa, 2 * GM_HUGE, PROT_READ) + GM_HUGE / 2);
	}
}

/* What many objects take is charged to who had them made; a limit of it holds. */
TEST_F(security, kernel_memory)
{
	static const struct {
		const char *name;
		void (*make)(int fd);
		/* Bytes: most of what the objects themselves have, files and all. */
		long least;
	} kinds[] = {
		{ "locks", make_locks, 20000 * 96 },
		{ "regions", make_regions, 2000 * 256 },
		{ "guests", make_guests, 1000 * 1024 },
		{ "views", make_views, 1000 * 1280 },
		{ "domains", make_domains, 400 * 67200 },
		{ "sessions", make_sessions, 1024 * 1800 },
		{ "mappings", make_mappings, 20000 * 96 },
		{ "exports", make_exports, 5000 * 120 },
		{ "tables", make_tables, 40 * 65536 },
		{ "eventfds", make_eventfds, 5000 * 32 },
		{ "page tables", make_page_tables, 200 * 4096 },
	};
	struct rlimit rl = { 65536, 65536 };
	char root[] = "/tmp/guestmem-cgroups-XXXXXX", group[64];
	long before, after;
	unsigned int i;
	pid_t pid;

	ASSERT_NE(NULL, mkdtemp(root));
	ASSERT_EQ(0, mount("none", root, "cgroup2", 0, NULL));
	ASSERT_EQ(0, group_set(root, "cgroup.subtree_control", "+memory"));
	snprintf(group, sizeof(group), "%s/test", root);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		ASSERT_EQ(0, group_make(group));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (group_set(group, "cgroup.procs", "0") ||
			    setrlimit(RLIMIT_NOFILE, &rl))
				_exit(2);
			before = group_memory(group);
			kinds[i].make(self->guest.fd);
			after = group_memory_settled(group, before + kinds[i].least);
			fprintf(stderr, "# %s: %ld KiB\n", kinds[i].name, (after - before) / 1024);
			_exit(before < 0 || after - before < kinds[i].least);
		}
		EXPECT_EQ(0, wait_for(pid))
			TH_LOG("%s are not charged", kinds[i].name);
		EXPECT_EQ(0, rmdir(group));
	}
	/* Refused or killed, but not served. */
	ASSERT_EQ(0, group_make(group));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (group_set(group, "cgroup.procs", "0") || group_set(group, "memory.max", "3M"))
			_exit(0);
		_exit(lock_times(self->guest.fd, 40000) == 40000 ? 0 : 1);
	}
	EXPECT_NE(0, wait_for(pid));
	EXPECT_EQ(0, rmdir(group));
	EXPECT_EQ(0, umount(root));
	EXPECT_EQ(0, rmdir(root));
}

/* ---- time ---- */

enum { MANY = 1024 };

/*
 * Much more guest memory than there is: the same huge page many times. Behind it comes
 * the fixture's, of which the last page tells whether somebody came that far.
 */
static int make_large(FIXTURE_DATA(security) *self, __u64 gpa, struct gm_mem *mem, __u32 *last_id)
{
	int i, rc = gm_mem_alloc(mem, GM_HUGETLB, GM_HUGE);

	for (i = 0; !rc && i < MANY; i++)
		rc = gm_mem_add(self->guest.fd, mem, gpa + i * GM_HUGE, 0, GM_HUGE, 0, NULL);
	if (!rc)
		rc = gm_mem_add(self->guest.fd, &self->mem, gpa + MANY * GM_HUGE, 0, NPAGES * PG,
				0, last_id);
	return rc;
}

#define LARGE_LEN	(MANY * GM_HUGE + NPAGES * PG)

static void *fill_large(void *arg)
{
	struct guestmem_fill *fill = arg;
	int fd = (int)fill->value;

	return (void *)(long)gm_fill(fd, fill, .gpa = 16 * GM_GPA, .len = LARGE_LEN, .value = 0x3c);
}

/* Who takes memory back does not wait for long accesses to what else there is. */
TEST_F(security, revoke_gets_in)
{
	struct guestmem_fill fill = { .value = self->guest.fd };
	volatile unsigned char *byte;
	struct gm_mem large;
	pthread_t thread;
	__u32 last_id;
	void *rc;

	ASSERT_EQ(0, make_large(self, 16 * GM_GPA, &large, &last_id));
	byte = large.va;
	ASSERT_EQ(0, pthread_create(&thread, NULL, fill_large, &fill));
	while (*byte != 0x3c)
		;
	EXPECT_EQ(0, gm_revoke(self->guest.fd, last_id));
	ASSERT_EQ(0, pthread_join(thread, &rc));
	/* It had not come as far as the end. */
	EXPECT_EQ(-ENXIO, (long)rc);
	EXPECT_EQ(MANY * GM_HUGE, fill.done);
	gm_mem_free(&large);
}

static void long_fill(int fd, unsigned char *buffer)
{
	struct guestmem_fill fill;

	(void)buffer;
	gm_fill(fd, &fill, .gpa = 16 * GM_GPA, .len = LARGE_LEN, .value = 0x3c);
}

static void long_copy(int fd, unsigned char *buffer)
{
	const __u64 len = MANY / 2 * GM_HUGE;
	struct guestmem_copy copy;

	(void)buffer;
	gm_copy(fd, &copy, .src = 16 * GM_GPA, .dst = 16 * GM_GPA + LARGE_LEN - len, .len = len);
}

static void long_write(int fd, unsigned char *buffer)
{
	enum { NIOVS = 900 };
	struct iovec iov[NIOVS];
	int i;

	memset(buffer, 0x3c, GM_HUGE);
	for (i = 0; i < NIOVS; i++)
		iov[i] = (struct iovec){ buffer, GM_HUGE };
	pwritev(fd, iov, NIOVS, 16 * GM_GPA + LARGE_LEN - NIOVS * GM_HUGE);
}

/* Far too many extents to wait for. */
static void long_translate(int fd, unsigned char *buffer)
{
	struct guestmem_range *ranges = (struct guestmem_range *)buffer;
	const size_t nranges = GM_HUGE / sizeof(*ranges);
	struct guestmem_translate tr;
	size_t i;

	for (i = 0; i < nranges; i++)
		ranges[i] = (struct guestmem_range){ 16 * GM_GPA, LARGE_LEN };
	gm_poke(gm_mmap(fd, 16 * GM_GPA + NPAGES * PG, PG, PROT_READ | PROT_WRITE), 0x3c);
	gm_translate(fd, &tr, .ranges = (uintptr_t)ranges, .nranges = nranges);
}

/* A fatal signal ends what takes long, in the middle. */
TEST_F(security, killable)
{
	static const struct {
		const char *name;
		void (*call)(int fd, unsigned char *buffer);
	} calls[] = {
		{ "FILL", long_fill },
		{ "COPY", long_copy },
		{ "write", long_write },
		{ "TRANSLATE", long_translate },
	};
	volatile unsigned char *begun, *last = self->mem.va + NPAGES * PG - 1;
	const unsigned char untouched = *last;
	unsigned char *buffer;
	struct gm_mem large;
	double killed_at;
	unsigned int i;
	__u32 last_id;
	int status;
	pid_t pid;

	ASSERT_EQ(0, make_large(self, 16 * GM_GPA, &large, &last_id));
	buffer = mmap(NULL, GM_HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, buffer);
	/* COPY moves it to here, too. */
	begun = large.va + NPAGES * PG;
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		memset(large.va, 0, GM_HUGE);
		memset(large.va, 0x3c, PG);
		*last = untouched;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			calls[i].call(self->guest.fd, buffer);
			_exit(0);
		}
		while (*begun != 0x3c)
			sched_yield();
		killed_at = gm_now();
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status))
			TH_LOG("%s ended by itself: %d", calls[i].name, status);
		EXPECT_GT(SOON_S, gm_now() - killed_at)
			TH_LOG("%s", calls[i].name);
		EXPECT_EQ(untouched, *last)
			TH_LOG("%s went on to the end", calls[i].name);
	}
	munmap(buffer, GM_HUGE);
	gm_mem_free(&large);
}

TEST_HARNESS_MAIN
