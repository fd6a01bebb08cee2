// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A device backend in a process of its own: it is sent the guest's descriptor over a
 * socket. With the module, that is the guest itself, and can be taken back; without, the
 * file that its memory is of.
 */
#include <ctype.h>
#include <fcntl.h>
#include <guestmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GPA	0x100000UL
#define LEN	(1UL << 20)

/* What goes over the socket, with the descriptor. */
struct message {
	int device;		/* it is of /dev/guestmem: the rest does not matter */
	uint64_t gpa;
	uint64_t len;
	uint64_t offset;
};

static const char *who;

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s: %s\n", who, what, guestmem_strerror());
		exit(EXIT_FAILURE);
	}
}

/* @fd: to send, or -1; returns the one that came, or -1. */
static int transfer(int sock, struct message *m, int fd, int out)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *c = &control.align;

	if (out) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
		check(sendmsg(sock, &msg, 0) == sizeof(*m), "sendmsg");
		return -1;
	}
	check(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == sizeof(*m), "recvmsg");
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

/* Answers each message with what is at GPA, in capitals, until the socket is closed. */
static int backend(int sock)
{
	struct guestmem *g;
	struct message m;
	char text[64], word;
	size_t i;
	int fd;

	who = "backend";
	fd = transfer(sock, &m, -1, 0);
	g = m.device ? guestmem_from_fd(fd) : guestmem_create(m.gpa + m.len);
	check(g && (m.device || !guestmem_add_file(g, m.gpa, m.len, fd, m.offset, 0, NULL)),
	      "the guest");
	close(fd);				/* the handle has its own */
	while (read(sock, &word, 1) == 1) {
		if (guestmem_read(g, GPA, text, sizeof(text)) < 0) {
			printf("backend: it was taken back: %s\n", guestmem_strerror());
			word = 'x';
		} else {
			for (i = 0; i < sizeof(text); i++)
				text[i] = (char)toupper((unsigned char)text[i]);
			check(!guestmem_write(g, GPA, text, sizeof(text)), "write");
		}
		fflush(stdout);
		check(write(sock, &word, 1) == 1, "answer");
	}
	guestmem_close(g);
	return EXIT_SUCCESS;
}

static char ask(int sock)
{
	char word = '?';

	check(write(sock, &word, 1) == 1 && read(sock, &word, 1) == 1, "the backend");
	return word;
}

int main(void)
{
	struct message m = { .gpa = GPA, .len = LEN };
	struct guestmem *g;
	int sock[2], fd, status, mem;
	char text[64] = "hello from the guest";
	uint32_t id;
	pid_t pid;

	who = "guest";
	check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), "socketpair");
	pid = fork();
	if (!pid) {
		close(sock[0]);
		return backend(sock[1]);
	}
	close(sock[1]);

	g = guestmem_open(O_RDWR);
	if (g) {
		mem = memfd_create("ram", MFD_CLOEXEC);
		check(mem >= 0 && !ftruncate(mem, LEN) &&
		      !guestmem_add_file(g, GPA, LEN, mem, 0, 0, &id), "add");
		m.device = 1;
		fd = guestmem_fd(g);
	} else {
		printf("guest: without the module\n");
		g = guestmem_create(GPA + LEN);
		check(g && !guestmem_add_anon(g, GPA, LEN, 0, &id) &&
		      !guestmem_backing(g, GPA, &fd, &m.offset, &m.len), "create");
	}
	check(!guestmem_write(g, GPA, text, sizeof(text)), "write");
	transfer(sock[0], &m, fd, 1);
	check(ask(sock[0]) == '?' && !guestmem_read(g, GPA, text, sizeof(text)), "read");
	printf("guest: the backend made it: %s\n", text);
	check(!strcmp(text, "HELLO FROM THE GUEST"), "not what was expected");

	/* With the module, it ends for all who have it. A file cannot be taken back. */
	check(!guestmem_remove(g, id), "remove");
	check(ask(sock[0]) == (m.device ? 'x' : '?'), "after the removal");
	close(sock[0]);
	check(waitpid(pid, &status, 0) == pid && !status, "the backend failed");
	guestmem_close(g);
	return EXIT_SUCCESS;
}
