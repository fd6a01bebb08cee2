// SPDX-License-Identifier: GPL-2.0-only
/*
 * The main job of guestmem, step by step: a KVM guest's memory is pinned, seen by
 * another process, translated, used by a PCI device for DMA, and revoked. Each step
 * says what it does, and checks it against what the guest itself wrote or sees.
 *
 * Run by demo.sh, which loads the modules; "make demo" does all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <guestmem.h>

#include "kvm_guest.h"
#include "modules/guestmem_edu.h"

#define EDU_DEVICE	"/dev/guestmem_edu"
#define NOBODY		65534

#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)

/* Like a PC: memory below, a hole for devices, the rest of the memory above 4 GiB. */
#define LOW_LEN		(64 * MIB)
#define HIGH_GPA	(4 * GIB)
#define HIGH_LEN	(32 * MIB)

/* The guest's own code and page tables are below. */
#define LOW_PATTERN_GPA	MIB
#define LOW_PATTERN_LEN	(LOW_LEN - MIB)
#define LOW_SEED	2024
#define HIGH_SEED	4096

/* Not page-aligned, and longer than a page holds: the hard case for DMA. */
#define DMA_SRC		(LOW_PATTERN_GPA + 0x234808ULL)
#define DMA_DST		(HIGH_GPA + 0x765ff8ULL)
#define DMA_LEN		4088U
#define DMA_ROUNDS	4U

#define REVOKE_TIMEOUT_MS 10000

typedef unsigned long long ull;

/* ---- telling ---- */

static unsigned int npassed, nfailed, nsteps;

__attribute__((format(printf, 1, 2)))
static void step(const char *format, ...)
{
	va_list args;

	printf("\n%u. ", ++nsteps);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* Tells how the check of @ok went; @format: the facts. */
__attribute__((format(printf, 2, 3)))
static bool check(bool ok, const char *format, ...)
{
	va_list args;

	printf("   %-6s  ", ok ? "ok" : "FAILED");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (ok)
		npassed++;
	else
		nfailed++;
	return ok;
}

static int summary(void)
{
	if (nfailed)
		printf("\n%u checks FAILED, %u passed\n", nfailed, npassed);
	else
		printf("\n%u checks passed\n", npassed);
	return nfailed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A check without which the rest makes no sense. */
#define need(ok, ...)						\
	do {							\
		if (!check(ok, __VA_ARGS__)) {			\
			printf("   cannot go on\n");		\
			exit(summary());			\
		}						\
	} while (0)

/* "ENXIO (No such device or address)" */
static const char *error_name(int error)
{
	static char text[100];
	const char *name = strerrorname_np(error);

	snprintf(text, sizeof(text), "%s (%s)", name ? name : "?", strerror(error));
	return text;
}

/* ---- the other process ---- */

enum question {
	ASK_TAKE_FD,	/* the message carries a descriptor */
	ASK_MMAP,	/* is the pattern in the mapping? */
	ASK_PREAD,	/* ... with pread()? */
	ASK_LIBRARY,	/* ... with guestmem_read()? */
	ASK_NO_MMAP,	/* is there nothing, told in the clean way? */
	ASK_NO_PREAD,
	ASK_NO_LIBRARY,
};

struct request {
	enum question question;
	uint64_t gpa;
	uint64_t len;
	uint64_t seed;
};

struct answer {
	bool ok;
	char facts[200];
};

/* What the other process has: one descriptor, and what it makes of it. */
struct reader {
	int fd;
	struct guestmem *guest;
	const unsigned char *low;
	const unsigned char *high;
};

static sigjmp_buf bus_env;

static void on_sigbus(int sig)
{
	siglongjmp(bus_env, sig);
}

__attribute__((format(printf, 3, 4)))
static void answer(struct answer *answer, bool ok, const char *format, ...)
{
	va_list args;

	answer->ok = ok;
	va_start(args, format);
	vsnprintf(answer->facts, sizeof(answer->facts), format, args);
	va_end(args);
}

static void compare(struct answer *a, const struct request *req, const uint64_t *words,
		    const char *how)
{
	uint64_t i;

	for (i = 0; i < req->len / 8; i++) {
		uint64_t gpa = req->gpa + 8 * i;
		uint64_t word = ((const volatile uint64_t *)words)[i];

		if (word != kvm_guest_pattern(req->seed, gpa)) {
			answer(a, false, "%s: at GPA %#llx is %#llx, the guest wrote %#llx",
			       how, (ull)gpa, (ull)word,
			       (ull)kvm_guest_pattern(req->seed, gpa));
			return;
		}
	}
	answer(a, true, "%s: %llu KiB from GPA %#llx on are what the guest wrote",
	       how, (ull)req->len / KIB, (ull)req->gpa);
}

static const void *reader_at(const struct reader *reader, uint64_t gpa)
{
	return gpa < HIGH_GPA ? reader->low + gpa : reader->high + (gpa - HIGH_GPA);
}

static void reader_take_fd(struct reader *reader, struct answer *a)
{
	reader->guest = guestmem_from_fd(reader->fd);
	if (!reader->guest) {
		answer(a, false, "%s", guestmem_strerror());
		return;
	}
	reader->low = mmap(NULL, LOW_LEN, PROT_READ, MAP_SHARED, reader->fd, 0);
	reader->high = mmap(NULL, HIGH_LEN, PROT_READ, MAP_SHARED, reader->fd, HIGH_GPA);
	if (reader->low == MAP_FAILED || reader->high == MAP_FAILED)
		answer(a, false, "mmap: %s", error_name(errno));
	else
		answer(a, true, "process %d has descriptor %d, and mapped both regions",
		       getpid(), reader->fd);
}

static void reader_mmap(struct reader *reader, const struct request *req, struct answer *a)
{
	int sig = sigsetjmp(bus_env, 1);

	if (sig)
		answer(a, false, "mmap: %s", strsignal(sig));
	else
		compare(a, req, reader_at(reader, req->gpa), "mmap");
}

static void reader_pread(struct reader *reader, const struct request *req, struct answer *a)
{
	uint64_t *words = malloc(req->len);
	ssize_t n = -1;

	if (words)
		n = pread(reader->fd, words, req->len, (off_t)req->gpa);
	if (n < 0)
		answer(a, false, "pread: %s", error_name(errno));
	else if ((uint64_t)n != req->len)
		answer(a, false, "pread: %zd bytes of %llu", n, (ull)req->len);
	else
		compare(a, req, words, "pread");
	free(words);
}

static void reader_library(struct reader *reader, const struct request *req, struct answer *a)
{
	uint64_t *words = malloc(req->len);

	if (!words || guestmem_read(reader->guest, req->gpa, words, req->len))
		answer(a, false, "libguestmem: %s", guestmem_strerror());
	else
		compare(a, req, words, "libguestmem");
	free(words);
}

static void reader_no_mmap(struct reader *reader, const struct request *req, struct answer *a)
{
	int sig = sigsetjmp(bus_env, 1);

	if (!sig) {
		uint64_t word = *(const volatile uint64_t *)reader_at(reader, req->gpa);

		answer(a, false, "mmap: GPA %#llx still reads as %#llx",
		       (ull)req->gpa, (ull)word);
		return;
	}
	answer(a, sig == SIGBUS, "mmap: GPA %#llx gives signal SIG%s, caught",
	       (ull)req->gpa, sigabbrev_np(sig));
}

static void reader_no_pread(struct reader *reader, const struct request *req, struct answer *a)
{
	uint64_t word;
	ssize_t n = pread(reader->fd, &word, sizeof(word), (off_t)req->gpa);

	if (n >= 0)
		answer(a, false, "pread: %zd bytes at GPA %#llx", n, (ull)req->gpa);
	else
		answer(a, errno == ENXIO, "pread: GPA %#llx gives %s", (ull)req->gpa,
		       error_name(errno));
}

static void reader_no_library(struct reader *reader, const struct request *req,
			      struct answer *a)
{
	uint64_t word;
	int rc = guestmem_read(reader->guest, req->gpa, &word, sizeof(word));

	if (!rc)
		answer(a, false, "libguestmem: GPA %#llx reads as %#llx", (ull)req->gpa,
		       (ull)word);
	else
		answer(a, rc == -ENXIO, "libguestmem: \"%s\"", guestmem_strerror());
}

static void reader_answer(struct reader *reader, const struct request *req, struct answer *a)
{
	switch (req->question) {
	case ASK_TAKE_FD:
		reader_take_fd(reader, a);
		break;
	case ASK_MMAP:
		reader_mmap(reader, req, a);
		break;
	case ASK_PREAD:
		reader_pread(reader, req, a);
		break;
	case ASK_LIBRARY:
		reader_library(reader, req, a);
		break;
	case ASK_NO_MMAP:
		reader_no_mmap(reader, req, a);
		break;
	case ASK_NO_PREAD:
		reader_no_pread(reader, req, a);
		break;
	case ASK_NO_LIBRARY:
		reader_no_library(reader, req, a);
		break;
	}
}

/* Receives a request, and a descriptor if there comes one with it. */
static ssize_t receive(int sock, struct request *req, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = req, .iov_len = sizeof(*req) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(cmsg), sizeof(*fd));
	return n;
}

static void send_fd(int sock, const struct request *req, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .align = {
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	struct iovec iov = { .iov_base = (void *)req, .iov_len = sizeof(*req) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};

	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != sizeof(*req))
		check(false, "sendmsg: %s", error_name(errno));
}

static void reader_main(int sock)
{
	struct sigaction action = { .sa_handler = on_sigbus };
	struct reader reader = { .fd = -1 };
	struct request req;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	while (receive(sock, &req, &reader.fd) == sizeof(req)) {
		struct answer a = { 0 };

		reader_answer(&reader, &req, &a);
		if (send(sock, &a, sizeof(a), 0) != sizeof(a))
			break;
	}
	_exit(0);
}

/* ---- the owner ---- */

struct owner {
	int sock;		/* to the other process */
	pid_t reader;
	int memfd;
	void *low;
	void *high;
	struct kvm_guest *vm;
	struct guestmem *guest;
	uint32_t low_id;
	uint32_t high_id;
	int edu;
	uint64_t hpa;		/* of DMA_SRC */
};

static void check_answer(struct owner *o)
{
	struct answer a;

	if (recv(o->sock, &a, sizeof(a), 0) != sizeof(a))
		check(false, "the other process does not answer");
	else
		check(a.ok, "%s", a.facts);
}

static void ask(struct owner *o, enum question question, uint64_t gpa, uint64_t len,
		uint64_t seed)
{
	struct request req = { .question = question, .gpa = gpa, .len = len, .seed = seed };

	if (send(o->sock, &req, sizeof(req), 0) != sizeof(req))
		check(false, "cannot ask the other process: %s", error_name(errno));
	else
		check_answer(o);
}

/* Before anything is opened: what it has later came by the socket. */
static void start_reader(struct owner *o)
{
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks)) {
		perror("socketpair");
		exit(EXIT_FAILURE);
	}
	o->reader = fork();
	if (o->reader < 0) {
		perror("fork");
		exit(EXIT_FAILURE);
	}
	if (!o->reader) {
		close(socks[0]);
		reader_main(socks[1]);
	}
	close(socks[1]);
	o->sock = socks[0];
}

static void create_guest(struct owner *o)
{
	struct kvm_guest_slot slots[2];
	int rc;

	step("A KVM guest is created; its memory has a hole, like a PC's below 4 GiB");
	o->memfd = memfd_create("guest", MFD_CLOEXEC);
	o->low = MAP_FAILED;
	if (o->memfd >= 0 && !ftruncate(o->memfd, LOW_LEN))
		o->low = mmap(NULL, LOW_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, o->memfd, 0);
	need(o->low != MAP_FAILED, "GPA 0x%09llx to 0x%09llx: %llu MiB of a memfd", 0ULL,
	     LOW_LEN - 1, LOW_LEN / MIB);
	o->high = mmap(NULL, HIGH_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	need(o->high != MAP_FAILED, "GPA 0x%09llx to 0x%09llx: %llu MiB of anonymous memory",
	     HIGH_GPA, HIGH_GPA + HIGH_LEN - 1, HIGH_LEN / MIB);

	slots[0] = (struct kvm_guest_slot) { .gpa = 0, .len = LOW_LEN, .hva = o->low };
	slots[1] = (struct kvm_guest_slot) { .gpa = HIGH_GPA, .len = HIGH_LEN, .hva = o->high };
	rc = kvm_guest_create(&o->vm, slots, 2);
	if (rc)
		need(false, "no KVM guest: %s", kvm_guest_strerror());
	check(true, "KVM guest with one virtual CPU in 64-bit mode");
}

static void add_regions(struct owner *o)
{
	struct guestmem_info info = { .size = sizeof(info) };

	step("Both are added to " GUESTMEM_DEVICE " as regions, and pinned");
	o->guest = guestmem_open(O_RDWR);
	if (!o->guest)
		need(false, "%s", guestmem_strerror());
	if (guestmem_add_file(o->guest, 0, LOW_LEN, o->memfd, 0, 0, &o->low_id))
		need(false, "%s", guestmem_strerror());
	check(true, "region %u at GPA %#llx, from the memfd", o->low_id, 0ULL);
	if (guestmem_add_user(o->guest, HIGH_GPA, HIGH_LEN, o->high, 0, &o->high_id))
		need(false, "%s", guestmem_strerror());
	check(true, "region %u at GPA %#llx, from this process", o->high_id, HIGH_GPA);
	if (guestmem_info(o->guest, &info))
		need(false, "%s", guestmem_strerror());
	check(info.pinned == LOW_LEN + HIGH_LEN && info.nregions == 2,
	      "guest %llu has %u regions, %llu MiB pinned", (ull)info.id, info.nregions,
	      (ull)info.pinned / MIB);
}

static void guest_writes(struct owner *o)
{
	step("The guest runs, and fills its memory with a pattern");
	if (kvm_guest_fill(o->vm, LOW_PATTERN_GPA, LOW_PATTERN_LEN, LOW_SEED))
		need(false, "%s", kvm_guest_strerror());
	check(true, "%llu KiB at GPA %#llx", LOW_PATTERN_LEN / KIB, LOW_PATTERN_GPA);
	if (kvm_guest_fill(o->vm, HIGH_GPA, HIGH_LEN, HIGH_SEED))
		need(false, "%s", kvm_guest_strerror());
	check(true, "%llu KiB at GPA %#llx", HIGH_LEN / KIB, HIGH_GPA);
}

static void other_process_reads(struct owner *o)
{
	const struct request take = { .question = ASK_TAKE_FD };

	step("Another process, given nothing but the file descriptor, finds it");
	send_fd(o->sock, &take, guestmem_fd(o->guest));
	check_answer(o);
	ask(o, ASK_MMAP, LOW_PATTERN_GPA, LOW_PATTERN_LEN, LOW_SEED);
	ask(o, ASK_MMAP, HIGH_GPA, HIGH_LEN, HIGH_SEED);
	ask(o, ASK_PREAD, LOW_PATTERN_GPA, 4 * MIB, LOW_SEED);
	ask(o, ASK_PREAD, HIGH_GPA + HIGH_LEN - 4 * MIB, 4 * MIB, HIGH_SEED);
	ask(o, ASK_LIBRARY, LOW_LEN - 4 * MIB, 4 * MIB, LOW_SEED);
	ask(o, ASK_LIBRARY, HIGH_GPA, 4 * MIB, HIGH_SEED);
	ask(o, ASK_NO_PREAD, LOW_LEN, 8, 0);
}

/* In a process of its own; its exit status is the errno it got for HPAs. */
static int unprivileged_translate(void)
{
	struct guestmem_extent extent;
	struct guestmem *guest;
	struct stat st;
	void *page;
	size_t n;

	/* Access to the node, which an administrator may give, but no capability. */
	if (stat(GUESTMEM_DEVICE, &st) || setgroups(1, &st.st_gid) ||
	    setresgid(st.st_gid, st.st_gid, st.st_gid))
		return errno;
	if (setresuid(NOBODY, NOBODY, NOBODY))
		return errno;

	page = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	guest = guestmem_open(O_RDWR);
	if (page == MAP_FAILED || !guest ||
	    guestmem_add_user(guest, 0, 2 * MIB, page, 0, NULL))
		return errno;
	/* What it may have: where contiguous memory ends, without addresses. */
	n = 1;
	if (guestmem_translate(guest, 0, 4 * KIB, 0, &extent, &n) || extent.hpa)
		return EPROTO;
	n = 1;
	return -guestmem_translate(guest, 0, 4 * KIB, GUESTMEM_EXTENT_HPA, &extent, &n);
}

static void translate(struct owner *o)
{
	struct guestmem_extent extents[16];
	size_t n = 16, i;
	int status = -1;
	pid_t pid;

	step("A range is translated");
	if (guestmem_translate(o->guest, DMA_SRC, DMA_LEN, GUESTMEM_EXTENT_HPA, extents, &n))
		need(false, "%s", guestmem_strerror());
	o->hpa = extents[0].hpa;
	for (i = 0; i < n; i++)
		check(extents[i].hpa && extents[i].region_id == o->low_id,
		      "GPA %#llx + %llu bytes is at host-physical %#llx (told to root only)",
		      (ull)extents[i].gpa, (ull)extents[i].len, (ull)extents[i].hpa);

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(unprivileged_translate());
	if (pid > 0)
		waitpid(pid, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == EPERM,
	      "an opener without privileges who asks for host-physical addresses gets %s",
	      WIFEXITED(status) ? error_name(WEXITSTATUS(status)) : "killed");
}

/* Which way the device's addresses go, as the kernel tells: "DMA", "DMA-FQ", ... */
static void iommu_type(char *type, size_t len, char *device, size_t device_len)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(type, len, "none");
	snprintf(device, device_len, "?");
	if (realpath("/sys/class/misc/guestmem_edu/device", path))
		snprintf(device, device_len, "%s", basename(path));
	f = fopen("/sys/class/misc/guestmem_edu/device/iommu_group/type", "re");
	if (!f)
		return;
	if (fgets(type, (int)len, f))
		type[strcspn(type, "\n")] = 0;
	fclose(f);
}

static int xfer(struct owner *o, uint64_t gpa, uint32_t direction, uint32_t map)
{
	struct guestmem_edu_xfer xfer = {
		.gpa = gpa, .len = DMA_LEN, .direction = direction, .map = map,
	};

	if (ioctl(o->edu, GUESTMEM_EDU_XFER, &xfer))
		return -errno;
	return xfer.done == DMA_LEN ? 0 : -EPROTO;
}

static int map(struct owner *o, uint64_t gpa, uint32_t direction, struct guestmem_edu_map *map)
{
	*map = (struct guestmem_edu_map) {
		.gpa = gpa, .len = DMA_LEN, .direction = direction,
	};
	return ioctl(o->edu, GUESTMEM_EDU_MAP, map) ? -errno : 0;
}

static uint64_t round_gpa(uint64_t gpa, unsigned int round)
{
	return gpa + round * 1160 * KIB;
}

static void dma(struct owner *o)
{
	struct guestmem_edu_attach attach;
	struct guestmem_edu_unmap unmap = { 0 };
	struct guestmem_edu_map mapped;
	char type[20], device[40];
	unsigned int i;
	int rc = 0;

	step("A PCI device reads guest memory by DMA, and writes it elsewhere in the guest");
	o->edu = open(EDU_DEVICE, O_RDWR | O_CLOEXEC);
	need(o->edu >= 0, EDU_DEVICE "%s%s", o->edu < 0 ? ": " : " is there",
	     o->edu < 0 ? error_name(errno) : "");
	iommu_type(type, sizeof(type), device, sizeof(device));
	check(!strncmp(type, "DMA", 3), "PCI device %s is behind an IOMMU; its domain is %s",
	      device, type);
	attach = (struct guestmem_edu_attach) { .fd = guestmem_fd(o->guest) };
	rc = ioctl(o->edu, GUESTMEM_EDU_ATTACH, &attach) ? errno : 0;
	need(!rc, "its driver is given the guest's descriptor%s%s", rc ? ": " : "",
	     rc ? error_name(rc) : "");

	rc = map(o, DMA_SRC, GUESTMEM_DMA_TO_DEVICE, &mapped);
	need(!rc, "the range at GPA %#llx is locked, and mapped for the device%s%s", DMA_SRC,
	     rc ? ": " : "", rc ? error_name(-rc) : "");
	check(mapped.iova != o->hpa,
	      "the IOMMU translates: to the device it is at %#llx, host-physical at %#llx",
	      (ull)mapped.iova, (ull)o->hpa);
	unmap.map = mapped.map;
	check(!ioctl(o->edu, GUESTMEM_EDU_UNMAP, &unmap), "and unlocked again");

	for (i = 0; i < DMA_ROUNDS; i++) {
		uint64_t src = round_gpa(DMA_SRC, i), dst = round_gpa(DMA_DST, i);

		rc = xfer(o, src, GUESTMEM_DMA_TO_DEVICE, 0);
		if (!rc)
			rc = xfer(o, dst, GUESTMEM_DMA_FROM_DEVICE, 0);
		check(!rc, "%u bytes at GPA %#llx -> device -> GPA %#llx%s%s", DMA_LEN,
		      (ull)src, (ull)dst, rc ? ": " : "", rc ? error_name(-rc) : "");
	}
}

/* The guest compares [gpa, gpa + len) with what it wrote at @base with @seed. */
static bool guest_sees(struct owner *o, uint64_t gpa, uint64_t len, uint64_t seed,
		       uint64_t base)
{
	uint64_t wrong = 0;
	int rc = kvm_guest_verify(o->vm, gpa, len, seed, base, &wrong);

	if (rc < 0)
		return check(false, "%s", kvm_guest_strerror());
	if (!rc)
		return check(false, "the guest finds other data at GPA %#llx", (ull)wrong);
	return true;
}

static void guest_verifies(struct owner *o)
{
	uint64_t end = HIGH_GPA;
	bool ok = true;
	unsigned int i;

	step("The guest itself looks at what the device wrote");
	for (i = 0; i < DMA_ROUNDS; i++) {
		uint64_t src = round_gpa(DMA_SRC, i), dst = round_gpa(DMA_DST, i);

		if (guest_sees(o, dst, DMA_LEN, LOW_SEED, src))
			check(true, "at GPA %#llx it finds what it once wrote at GPA %#llx",
			      (ull)dst, (ull)src);
		ok = guest_sees(o, end, dst - end, HIGH_SEED, end) && ok;
		end = dst + DMA_LEN;
	}
	ok = guest_sees(o, end, HIGH_GPA + HIGH_LEN - end, HIGH_SEED, end) && ok;
	if (ok)
		check(true, "and no byte next to it has changed");
}

/*
 * The lower region: reading where it was meets a hole. Behind the last region a
 * read meets the end of the file, which is no error.
 */
static void revoke_region(struct owner *o)
{
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem_edu_map mapped;
	uint32_t nlocks = 0;
	int rc;

	step("A region is revoked while a process maps it and a device uses it");
	rc = map(o, DMA_SRC, GUESTMEM_DMA_BIDIRECTIONAL, &mapped);
	need(!rc, "the device has the range at GPA %#llx mapped%s%s", DMA_SRC, rc ? ": " : "",
	     rc ? error_name(-rc) : "");
	rc = guestmem_remove(o->guest, o->low_id);
	check(rc == -EBUSY, "so without force: \"%s\"", rc ? guestmem_strerror() : "removed");
	rc = guestmem_revoke(o->guest, o->low_id, REVOKE_TIMEOUT_MS, &nlocks);
	need(!rc, "with force region %u is revoked%s%s", o->low_id, rc ? ": " : "",
	     rc ? guestmem_strerror() : "");
	ask(o, ASK_NO_MMAP, LOW_PATTERN_GPA, 8, 0);
	ask(o, ASK_NO_PREAD, LOW_PATTERN_GPA, 8, 0);
	ask(o, ASK_NO_LIBRARY, LOW_PATTERN_GPA, 8, 0);
	rc = xfer(o, DMA_SRC, GUESTMEM_DMA_FROM_DEVICE, mapped.map);
	check(rc == -ESTALE, "DMA by the mapping that the device had: %s", error_name(-rc));
	rc = xfer(o, DMA_SRC, GUESTMEM_DMA_FROM_DEVICE, 0);
	check(rc == -ENXIO, "DMA there anew: %s", error_name(-rc));
	if (guestmem_info(o->guest, &info))
		check(false, "%s", guestmem_strerror());
	else
		check(info.pinned == HIGH_LEN, "%llu MiB pinned: the revoked pages are not",
		      (ull)info.pinned / MIB);
	printf("   All else is as before:\n");
	ask(o, ASK_MMAP, HIGH_GPA, 4 * MIB, HIGH_SEED);
	if (guest_sees(o, LOW_PATTERN_GPA, LOW_PATTERN_LEN, LOW_SEED, LOW_PATTERN_GPA))
		check(true, "the guest, whose memory it is, has all of it, unchanged");
}

static void finish(struct owner *o)
{
	int status;

	close(o->sock);
	if (waitpid(o->reader, &status, 0) != o->reader || status)
		check(false, "the other process ended with status %#x", status);
	close(o->edu);
	guestmem_close(o->guest);
	kvm_guest_destroy(o->vm);
	munmap(o->high, HIGH_LEN);
	munmap(o->low, LOW_LEN);
	close(o->memfd);
}

int main(void)
{
	struct owner owner = { 0 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	start_reader(&owner);
	create_guest(&owner);
	add_regions(&owner);
	guest_writes(&owner);
	other_process_reads(&owner);
	translate(&owner);
	dma(&owner);
	guest_verifies(&owner);
	revoke_region(&owner);
	finish(&owner);
	return summary();
}
