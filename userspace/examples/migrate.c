// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A guest moves to another process while it runs, over a socket. Rounds of what was
 * written since the last one, until that is little; then it is stopped, and the rest goes
 * over. Pages that are zero go without their bytes.
 */
#include <guestmem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN		(16UL << 20)
#define PAGE		4096UL
#define FEW		64		/* pages that may go while the guest stands still */
#define MAX_ROUNDS	30

struct record {				/* followed by @len bytes, unless @zero */
	uint64_t gpa;
	uint64_t len;			/* 0: that was all */
	uint64_t zero;
};

static int stop;

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, guestmem_strerror());
		exit(EXIT_FAILURE);
	}
}

/* FNV-1a, of words */
static uint64_t sum(struct guestmem *g)
{
	uint64_t gpa, value = 0, h = 0xcbf29ce484222325;

	for (gpa = 0; gpa < LEN; gpa += 8) {
		check(!guestmem_read64(g, gpa, &value), "sum");
		h = (h ^ value) * 0x100000001b3;
	}
	return h;
}

/* -------- There ---------------------------------------------------------- */

static int receive(int sock)
{
	struct guestmem *g = guestmem_create(LEN);
	struct record r;
	uint64_t h;

	check(g && !guestmem_add_anon(g, 0, LEN, 0, NULL), "create there");
	for (;;) {
		check(recv(sock, &r, sizeof(r), MSG_WAITALL) == sizeof(r), "recv");
		if (!r.len)
			break;
		if (r.zero)
			check(!guestmem_fill(g, r.gpa, r.len, 0), "fill");
		else		/* straight into the memory */
			check(!guestmem_read_from(g, r.gpa, sock, NULL, r.len), "read_from");
	}
	h = sum(g);
	check(write(sock, &h, sizeof(h)) == sizeof(h), "answer");
	guestmem_close(g);
	return EXIT_SUCCESS;
}

/* -------- Here ----------------------------------------------------------- */

/* Writes all over the guest at first, then less and less. */
static void *run(void *arg)
{
	uint64_t n, at = 0, span = LEN;

	for (n = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); n++) {
		at = (at * 6364136223846793005 + 1442695040888963407) & ~7UL;
		check(!guestmem_write64(arg, at % span, n), "write");
		if (n % 512)
			continue;
		usleep(100);
		if (span > 16 * PAGE)
			span -= span / 64 & ~7UL;
	}
	return NULL;
}

static void send_record(int sock, uint64_t gpa, uint64_t len, uint64_t zero)
{
	struct record r = { .gpa = gpa, .len = len, .zero = zero };

	check(write(sock, &r, sizeof(r)) == sizeof(r), "send");
}

/* Take the bits, then copy: what is written meanwhile is noted again. */
static size_t send_round(struct guestmem *g, int sock, int all)
{
	static uint64_t bits[LEN / PAGE / 64];
	ssize_t n = guestmem_dirty_take(g, 0, LEN, bits, LEN / PAGE / 64);
	size_t i, sent = 0;
	int zero;

	check(n >= 0, "take");
	for (i = 0; i < LEN / PAGE; i++) {
		if (!all && !(bits[i / 64] >> i % 64 & 1))
			continue;
		zero = guestmem_is_zero(g, i * PAGE, PAGE);
		check(zero >= 0, "is_zero");
		send_record(sock, i * PAGE, PAGE, (uint64_t)zero);
		if (!zero)
			check(!guestmem_write_to(g, i * PAGE, sock, NULL, PAGE), "write_to");
		sent++;
	}
	return sent;
}

int main(void)
{
	int sock[2], round = 0, status;
	struct guestmem *g;
	pthread_t thread;
	uint64_t there;
	size_t n;
	pid_t pid;

	check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), "socketpair");
	pid = fork();
	if (!pid) {
		close(sock[0]);
		return receive(sock[1]);
	}
	close(sock[1]);
	g = guestmem_create(LEN);
	check(g && !guestmem_add_anon(g, 0, LEN, 0, NULL), "create");
	check(!pthread_create(&thread, NULL, run, g), "thread");

	check(!guestmem_dirty_start(g, PAGE), "start");
	n = send_round(g, sock[0], 1);
	printf("sent all %zu pages\n", n);
	while (n > FEW && round++ < MAX_ROUNDS) {
		n = send_round(g, sock[0], 0);
		printf("round %d: %zu pages\n", round, n);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	n = send_round(g, sock[0], 0);
	printf("stopped, the last %zu pages\n", n);
	send_record(sock[0], 0, 0, 0);

	check(read(sock[0], &there, sizeof(there)) == sizeof(there), "no answer");
	check(waitpid(pid, &status, 0) == pid && !status, "it failed there");
	check(there == sum(g), "it is not the same there");
	printf("it is the same there\n");
	guestmem_close(g);
	return EXIT_SUCCESS;
}
