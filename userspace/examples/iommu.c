// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A virtual IOMMU, and a device behind it that is emulated by another process. The owner
 * of the guest has a domain, where it maps and unmaps as the guest's driver asks for it
 * (which is played here by the owner); the device was sent a session over a socket, and
 * knows nothing but I/O virtual addresses.
 *
 * Twice the driver unmaps a buffer while the device is at work in it. The first time the
 * device hears of it, lets go and asks for another one; the second time it does not answer
 * (it was stopped), and the deadline passes. Either way the driver's request is answered
 * when the memory is the driver's again, and the device recovers.
 */
#include <errno.h>
#include <fcntl.h>
#include <guestmem.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GPA		0x100000UL
#define LEN		(1UL << 20)
#define PAGE		4096UL
#define IOVA		0x40000000UL
#define RW		(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)

/* What the device is asked for, and what it answers. */
enum word {
	BEGIN,			/* take the buffer into use, and write half of it */
	END,			/* write the other half, and let go of it */
	DONE,
	LOST,			/* the buffer was taken away */
};

struct message {
	enum word word;
	uint64_t iova;		/* of BEGIN */
	uint64_t len;
};

static const char *who;

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s: %s\n", who, what, guestmem_strerror());
		exit(EXIT_FAILURE);
	}
}

static void send_fd(int sock, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = "s", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	check(sendmsg(sock, &msg, 0) == 1, "sendmsg");
}

static int receive_fd(int sock)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	int fd = -1;

	check(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg), "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

/* -------- The device ------------------------------------------------------ */

static struct guestmem *session;

/* What it is at work on. */
static struct message job;
static uint32_t export;
static bool busy;

/* Every access fails from now on: nothing is to be kept. */
static enum word let_go(void)
{
	int n = guestmem_session_release_all(session);

	check(n >= 0, "release");
	printf("device: the buffer was taken away: %d export%s released\n", n, n == 1 ? "" : "s");
	busy = false;
	return LOST;
}

static enum word begin(const struct message *m)
{
	job = *m;
	if (guestmem_session_export(session, job.iova, job.len, RW, &export, NULL, NULL) < 0) {
		printf("device: %s\n", guestmem_strerror());
		return let_go();
	}
	busy = true;
	return guestmem_fill(session, job.iova, job.len / 2, 'x') < 0 ? let_go() : DONE;
}

static enum word end(void)
{
	/* It may have been lost, and that told, before this was asked for. */
	if (!busy)
		return LOST;
	if (guestmem_fill(session, job.iova + job.len / 2, job.len - job.len / 2, 'x') < 0) {
		printf("device: %s\n", guestmem_strerror());
		return let_go();
	}
	/* What was released before the driver unmaps it is no fault. */
	if (guestmem_session_release(session, export) < 0)
		return let_go();
	busy = false;
	return DONE;
}

static int device(int sock)
{
	int fault = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), fd;
	struct pollfd wait[2] = {
		{ .fd = sock, .events = POLLIN },
		{ .fd = fault, .events = POLLIN },
	};
	struct message m;
	uint64_t n;

	who = "device";
	fd = receive_fd(sock);
	session = guestmem_from_fd(fd);
	close(fd);
	check(session && !guestmem_eventfd(session, fault, GUESTMEM_EVENT_FAULT), "session");
	while (poll(wait, 2, -1) > 0) {
		/* At once, as somebody waits for it. The next answer tells it. */
		if (read(fault, &n, sizeof(n)) == sizeof(n) && busy)
			let_go();
		if (!wait[0].revents)
			continue;
		if (read(sock, &m, sizeof(m)) != sizeof(m))
			break;
		m.word = m.word == BEGIN ? begin(&m) : end();
		fflush(stdout);
		check(write(sock, &m, sizeof(m)) == sizeof(m), "answer");
	}
	guestmem_close(session);
	return EXIT_SUCCESS;
}

/* -------- The owner ------------------------------------------------------- */

static int sock;
static struct guestmem *guest, *domain;

static enum word ask(enum word word)
{
	struct message m = { .word = word, .iova = IOVA + 100, .len = 2000 };

	check(write(sock, &m, sizeof(m)) == sizeof(m) && read(sock, &m, sizeof(m)) == sizeof(m),
	      "the device");
	return m.word;
}

/* How much of it the device has written. */
static uint64_t written(uint64_t gpa)
{
	uint64_t n = 0;
	char bytes[PAGE];

	check(!guestmem_read(guest, gpa, bytes, sizeof(bytes)), "read");
	for (size_t i = 0; i < sizeof(bytes); i++)
		n += bytes[i] == 'x';
	return n;
}

static void map(uint64_t gpa)
{
	struct guestmem_mapping mapping = {
		.iova = IOVA,
		.len = PAGE,
		.gpa = gpa,
		.rights = RW,
	};

	check(!guestmem_domain_map(domain, &mapping, 1, NULL), "map");
}

/* Answer the driver when nobody uses the buffer any more; and go on with others meanwhile. */
static void unmap(uint32_t deadline_ms)
{
	int resolved = eventfd(0, EFD_CLOEXEC);
	struct pollfd wait = { .fd = resolved, .events = POLLIN };
	struct guestmem_domain_unmap arg = {
		.size = sizeof(arg),
		.flags = GUESTMEM_UNMAP_EVENTFD,
		.iova = IOVA,
		.len = PAGE,
		.deadline_ms = deadline_ms,
		.eventfd = resolved,
	};
	int ret = guestmem_domain_unmap(domain, &arg);

	check(!ret || ret == -ETIMEDOUT, "unmap");
	printf("owner: it is unmapped, %u still use it\n", arg.nusers);
	fflush(stdout);
	check(poll(&wait, 1, 10000) == 1, "nobody lets go of it");
	close(resolved);
}

static void tell_records(pid_t pid)
{
	static const char * const what[] = {
		[GUESTMEM_RECORD_FAULT] = "used by a session",
		[GUESTMEM_RECORD_RESOLVED] = "is the driver's again",
		[GUESTMEM_RECORD_FORCED] = "taken by force",
	};
	struct guestmem_record records[16];
	unsigned int forced = 0;
	ssize_t i, n = guestmem_domain_records(domain, records, 16);

	check(n > 0, "records");
	for (i = 0; i < n; i++) {
		const struct guestmem_record *r = &records[i];

		check(r->type <= GUESTMEM_RECORD_FORCED, "a record that was not expected");
		printf("owner: record %" PRIu64 ": fault %" PRIu64 ", IOVA 0x%" PRIx64
		       " %s, process %u, after %" PRIu64 " ms\n", (uint64_t)r->seq,
		       (uint64_t)r->fault, (uint64_t)r->iova, what[r->type], r->pid,
		       (uint64_t)r->elapsed_ms);
		if (r->type == GUESTMEM_RECORD_FORCED && r->pid == (uint32_t)pid)
			forced++;
	}
	check(forced == 1, "the process that did not answer was not named");
}

int main(void)
{
	int pair[2], fd, mem, status;
	uint64_t gpa = GPA;
	pid_t pid;

	who = "owner";
	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	pid = fork();
	if (!pid) {
		close(pair[0]);
		return device(pair[1]);
	}
	close(pair[1]);
	sock = pair[0];

	guest = guestmem_open(O_RDWR);
	mem = memfd_create("ram", MFD_CLOEXEC);
	check(guest && mem >= 0 && !ftruncate(mem, LEN) &&
	      !guestmem_add_file(guest, GPA, LEN, mem, 0, 0, NULL), "guest");
	domain = guestmem_domain_create(guest, PAGE, 0, (1UL << 48) - 1, RW);
	check(!!domain, "domain");
	fd = guestmem_session_create(domain, RW, NULL);
	check(fd >= 0, "session");
	send_fd(sock, fd);
	close(fd);

	/* As it should be: the device is done with it before it is unmapped. */
	map(gpa);
	check(ask(BEGIN) == DONE && ask(END) == DONE, "a job");
	unmap(0);
	check(written(gpa) == 2000, "the job was not done");

	/* The driver is too early, and the device told. */
	map(gpa += PAGE);
	check(ask(BEGIN) == DONE, "a job");
	unmap(5000);
	check(ask(END) == LOST && written(gpa) == 1000, "the device wrote after the unmap");

	/* Again, but the device does not answer. */
	map(gpa += PAGE);
	check(ask(BEGIN) == DONE, "after a fault");
	check(!kill(pid, SIGSTOP) && waitpid(pid, &status, WUNTRACED) == pid, "stop");
	unmap(200);
	check(!kill(pid, SIGCONT), "continue");
	check(ask(END) == LOST && written(gpa) == 1000, "the device wrote after the unmap");

	map(gpa += PAGE);
	check(ask(BEGIN) == DONE && ask(END) == DONE && written(gpa) == 2000, "it did not recover");
	printf("owner: the device has recovered\n");
	tell_records(pid);

	close(sock);
	check(waitpid(pid, &status, 0) == pid && !status, "the device failed");
	guestmem_close(domain);
	guestmem_close(guest);
	return EXIT_SUCCESS;
}
