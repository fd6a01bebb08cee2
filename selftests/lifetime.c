// SPDX-License-Identifier: GPL-2.0-only
/*
 * How guests end: by whatever way the last of those who hold them goes. That all
 * is given back is checked by the teardown of each test.
 */
#include "guestmem_test.h"

#include <sys/socket.h>
#include <sys/sysinfo.h>

/* The fixture's own guest would keep the module busy: these tests start without. */
FIXTURE(life) {
	struct gm_leak leak;
	struct gm_mem mem;
};
FIXTURE_SETUP(life)
{
	gm_leak_start(&self->leak);
	ASSERT_LE(0, self->leak.guests);
	ASSERT_EQ(0, gm_mem_alloc(&self->mem, GM_MEMFD, 16 * PG));
}
FIXTURE_TEARDOWN(life)
{
	gm_mem_free(&self->mem);
	gm_leak_check(_metadata, &self->leak);
}

static int wait_for(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* One of everything a guest can have. */
static int furnish(struct gm_mem *mem)
{
	struct guestmem_lock lock;
	struct guestmem_eventfd ev;
	int fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	unsigned char *p, *anon;
	__u32 id;

	if (fd < 0)
		return -errno;
	anon = mmap(NULL, 16 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (anon == MAP_FAILED ||
	    gm_mem_add(fd, mem, GM_GPA, 0, 16 * PG, 0, NULL) ||
	    gm_user_add(fd, anon, 2 * GM_GPA, 16 * PG, 0, NULL) ||
	    gm_user_add(fd, anon, 3 * GM_GPA, 8 * PG, GUESTMEM_REGION_READONLY, &id) ||
	    gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = GM_GPA, .len = PG) ||
	    gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = 3 * GM_GPA,
		    .len = PG) ||
	    gm_revoke(fd, id) != -ETIMEDOUT ||
	    gm_eventfd(fd, &ev, .fd = eventfd(0, EFD_CLOEXEC), .events = GUESTMEM_EVENT_ADDED))
		goto fail;
	p = gm_mmap(fd, GM_GPA, 16 * PG, PROT_READ | PROT_WRITE);
	if (p == MAP_FAILED || gm_peek(p + PG) != gm_pattern(PG) || gm_poke(p, 1) ||
	    gm_mmap(fd, GUESTMEM_MMAP_TABLE, PG, PROT_READ) == MAP_FAILED)
		goto fail;
	return fd;
fail:
	close(fd);
	return -EIO;
}

TEST_F(life, exit_without_close)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(furnish(&self->mem) < 0);
	EXPECT_EQ(0, wait_for(pid));
}

TEST_F(life, killed)
{
	int pipes[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		c = furnish(&self->mem) >= 0;
		if (write(pipes[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	c = 0;
	EXPECT_EQ(1, read(pipes[0], &c, 1));
	EXPECT_EQ(1, c);
	EXPECT_EQ(self->leak.guests + 1, gm_guests(NULL));
	EXPECT_LT(self->leak.pins, gm_pins());
	kill(pid, SIGKILL);
	wait_for(pid);
	close(pipes[0]);
	close(pipes[1]);
}

/* execve(2) closes what is O_CLOEXEC, and drops all mappings: no guest is left. */
TEST_F(life, exec)
{
	int in[2], out[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(in));
	ASSERT_EQ(0, pipe(out));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		if (furnish(&self->mem) < 0)
			_exit(1);
		execlp("cat", "cat", NULL);
		_exit(2);
	}
	close(in[0]);
	close(out[1]);
	/* Echoed: it is cat by now, and it lives. */
	ASSERT_EQ(1, write(in[1], "x", 1));
	ASSERT_EQ(1, read(out[0], &c, 1));
	gm_leak_check(_metadata, &self->leak);
	close(in[1]);
	close(out[0]);
	EXPECT_EQ(0, wait_for(pid));
}

/* The child holds the guest on when the parent has closed it. */
TEST_F(life, fork)
{
	int fd, pipes[2];
	unsigned char c;
	pid_t pid;

	fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, 16 * PG, 0, NULL));
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pipes[1]);
		/* Until the parent has closed all of its own. */
		if (read(pipes[0], &c, 1) != 0)
			_exit(1);
		if (pread(fd, &c, 1, GM_GPA + 5) != 1 || c != gm_pattern(5))
			_exit(2);
		if (gm_pinned(fd) != 16 * PG)
			_exit(3);
		_exit(0);
	}
	close(pipes[0]);
	close(fd);
	EXPECT_EQ(self->leak.guests + 1, gm_guests(NULL));
	close(pipes[1]);
	EXPECT_EQ(0, wait_for(pid));
}

/* A process that has nothing but the descriptor, and outlives who made the guest. */
TEST_F(life, passed_by_socket)
{
	struct guestmem_region region;
	struct gm_mem anon;
	int fd, socks[2];
	unsigned char c;
	pid_t pid;
	__u32 id;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		unsigned char *p;

		close(socks[0]);
		fd = gm_receive_fd(socks[1]);
		if (fd < 0)
			_exit(1);
		p = gm_mmap(fd, GM_GPA, 16 * PG, PROT_READ | PROT_WRITE);
		if (p == MAP_FAILED || gm_peek(p + 3 * PG) != gm_pattern(3 * PG) ||
		    gm_poke(p + 7, 0xe7))
			_exit(2);
		if (pread(fd, &c, 1, GM_GPA + PG) != 1 || c != gm_pattern(PG) ||
		    pwrite(fd, "\xe8", 1, GM_GPA + 8) != 1)
			_exit(3);
		if (write(socks[1], "x", 1) != 1 || read(socks[1], &c, 1) != 0)
			_exit(4);
		/* The maker has closed the guest and freed the memory. */
		if (gm_peek(p + 7) != 0xe7 || gm_peek(p + 4 * PG) != gm_pattern(4 * PG))
			_exit(5);
		_exit(0);
	}
	close(socks[1]);
	fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_mem_alloc(&anon, GM_ANON, 16 * PG));
	ASSERT_EQ(0, gm_user_add(fd, anon.va, GM_GPA, 16 * PG, 0, &id));
	ASSERT_EQ(0, gm_send_fd(socks[0], fd));
	EXPECT_EQ(1, read(socks[0], &c, 1));
	EXPECT_EQ(0xe7, anon.va[7]);
	EXPECT_EQ(0xe8, anon.va[8]);
	ASSERT_EQ(0, gm_region_get(fd, id, &region));
	EXPECT_EQ(getpid(), (pid_t)region.pid);
	gm_mem_free(&anon);
	close(fd);
	EXPECT_EQ(self->leak.guests + 1, gm_guests(NULL));
	EXPECT_EQ(self->leak.vmpin + 16 * (long)PG, gm_vmpin());
	close(socks[0]);
	EXPECT_EQ(0, wait_for(pid));
}

/* A descriptor that sits in a socket which nobody reads from any more. */
TEST_F(life, lost_in_socket)
{
	int socks[2], fd;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, 16 * PG, 0, NULL));
	ASSERT_EQ(0, gm_send_fd(socks[0], fd));
	close(fd);
	EXPECT_EQ(self->leak.guests + 1, gm_guests(NULL));
	close(socks[0]);
	close(socks[1]);
}

/*
 * Killed while pages are being pinned. Whether the kill hits is up to the
 * scheduler, so the length grows until it does.
 */
TEST_F(life, killed_in_pin)
{
	size_t len = 64UL << 20, most;
	struct sysinfo si;
	bool hit = false;

	ASSERT_EQ(0, sysinfo(&si));
	most = si.freeram * si.mem_unit / 2;
	for (; !hit && len <= most; len *= 2) {
		siginfo_t ended = { .si_pid = 0 };
		char path[64], c;
		int pipes[2];
		pid_t pid;

		ASSERT_EQ(0, pipe(pipes));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			int fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
			void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			madvise(p, len, MADV_NOHUGEPAGE);
			c = gm_user_add(fd, p, GM_GPA, len, 0, NULL) ? 'e' : 'd';
			if (write(pipes[1], &c, 1) != 1)
				_exit(1);
			_exit(0);
		}
		close(pipes[1]);
		/* The pages that are faulted in tell that it is under way. */
		snprintf(path, sizeof(path), "/proc/%d/status", pid);
		while (gm_proc_value(path, "VmRSS") < 8 * 1024 && !ended.si_pid)
			ASSERT_EQ(0, waitid(P_PID, pid, &ended, WEXITED | WNOHANG | WNOWAIT));
		kill(pid, SIGKILL);
		wait_for(pid);
		hit = read(pipes[0], &c, 1) == 0;
		if (!hit) {
			EXPECT_EQ('d', c);
		}
		close(pipes[0]);
		gm_leak_check(_metadata, &self->leak);
	}
	if (!hit)
		SKIP(return, "each pin was faster than the kill");
}

TEST_F(life, close_while_mapped)
{
	int fd = open(GM_DEV, O_RDWR | O_CLOEXEC), i;
	unsigned char *p[3];
	__u32 id;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, 16 * PG, 0, &id));
	for (i = 0; i < 3; i++) {
		p[i] = gm_mmap(fd, GM_GPA + i * PG, 2 * PG, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, p[i]);
	}
	EXPECT_EQ(gm_pattern(0), gm_peek(p[0]));
	close(fd);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(self->leak.guests + 1, gm_guests(NULL));
		EXPECT_EQ(gm_pattern(i * PG), gm_peek(p[i]));
		EXPECT_EQ(gm_pattern((i + 1) * PG), gm_peek(p[i] + PG));
		munmap(p[i], 2 * PG);
	}
}

static int unload(void)
{
	return syscall(SYS_delete_module, "guestmem", O_NONBLOCK) ? -errno : 0;
}

/* Anything that holds a guest holds the module. */
TEST_F(life, unload_refused)
{
	int fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	void *p;

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, 16 * PG, 0, NULL));
	p = gm_mmap(fd, GM_GPA, PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	close(fd);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_EQ(gm_pattern(1), gm_peek((char *)p + 1));
	munmap(p, PG);
}

struct racer {
	int fd;
	atomic_bool *stop;
	int kind;
	unsigned long rounds;
	int errors;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	unsigned char buf[64];

	while (!atomic_load(r->stop)) {
		if (r->kind == 0) {
			ssize_t n = pread(r->fd, buf, 64, GM_GPA + PG - 32);

			/* There, not there, or the descriptor closed. */
			if (n != 64 && n != 0 && errno != ENXIO && errno != EBADF)
				r->errors++;
		} else {
			unsigned char *p = gm_mmap(r->fd, GM_GPA, 4 * PG, PROT_READ);

			if (p != MAP_FAILED) {
				int v = gm_peek(p + PG);

				if (v != -SIGBUS && v != gm_pattern(PG))
					r->errors++;
				munmap(p, 4 * PG);
			}
		}
		__atomic_fetch_add(&r->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Guests that are closed while other threads are in the middle of using them. */
TEST_F(life, racing_close)
{
	atomic_bool stop = false;
	struct racer r[2];
	pthread_t threads[2];
	int i, fd;

	/* One number for all the guests: each new one takes the place of the last. */
	fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for (i = 0; i < 2; i++) {
		r[i] = (struct racer){ .fd = fd, .stop = &stop, .kind = i };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race, &r[i]));
	}
	for (i = 0; i < 200; i++) {
		int fresh = open(GM_DEV, O_RDWR | O_CLOEXEC);

		ASSERT_LE(0, fresh);
		ASSERT_EQ(0, gm_mem_add(fresh, &self->mem, GM_GPA, 0, 4 * PG, 0, NULL));
		ASSERT_EQ(fd, dup3(fresh, fd, O_CLOEXEC));
		close(fresh);
	}
	while (!__atomic_load_n(&r[0].rounds, __ATOMIC_RELAXED) ||
	       !__atomic_load_n(&r[1].rounds, __ATOMIC_RELAXED))
		sched_yield();
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, r[i].errors);
	}
	close(fd);
}

/* What an administrator sees of it. */
TEST_F(life, fdinfo)
{
	int fd = open(GM_DEV, O_RDWR | O_CLOEXEC), info;
	char path[64], text[4096], want[64];
	struct guestmem_info guest;
	ssize_t n, before;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gm_info(fd, &guest));
	ASSERT_EQ(0, gm_mem_add(fd, &self->mem, GM_GPA, 0, 16 * PG, 0, NULL));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, info);
	n = read(info, text, sizeof(text) - 1);
	ASSERT_LT(0, n);
	text[n] = '\0';
	/* More than what every file has: above all, which guest it is. */
	snprintf(want, sizeof(want), "guest:\t%llu\n", (unsigned long long)guest.id);
	EXPECT_NE(NULL, strstr(text, want))
		TH_LOG("%s", text);
	close(info);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->mem.fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, info);
	before = read(info, text, sizeof(text) - 1);
	EXPECT_LT(before, n);
	close(info);
	close(fd);
}

struct remover {
	int fd;
	unsigned int n;
	unsigned int removed;
};

/* Removes all, by the numbers that they will have. */
static void *remove_next(void *arg)
{
	struct remover *remover = arg;
	double deadline = gm_now() + 60;

	while (remover->removed < remover->n && gm_now() < deadline)
		if (!gm_remove(remover->fd, remover->removed + 1))
			remover->removed++;
	return NULL;
}

/* Who adds a region has it removed by another as soon as it is there. */
TEST_F(life, removed_as_it_is_added)
{
	struct remover remover = { .fd = open(GM_DEV, O_RDWR | O_CLOEXEC), .n = 300 };
	pthread_t thread;
	unsigned int i;
	int ret;

	ASSERT_LE(0, remover.fd);
	ASSERT_EQ(0, pthread_create(&thread, NULL, remove_next, &remover));
	for (i = 1; i <= remover.n; i++) {
		__u32 id = 0;

		ret = gm_mem_add(remover.fd, &self->mem, i * GM_GPA, 0, PG, 0, &id);
		EXPECT_EQ(0, ret);
		EXPECT_EQ(i, id);
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(remover.n, remover.removed);
	close(remover.fd);
}

TEST_HARNESS_MAIN
