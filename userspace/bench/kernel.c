// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * The kernel's ways: of the file, and of another process that has mapped it, as a tool
 * that looks into a running VMM does. A system call each.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/*
 * @window: added to an address, it is the offset in @fd, and where it is in @pid
 * @pid: the other process, or 0
 */
struct remote {
	int fd;
	char *window;
	pid_t pid;
};

/* The file has only what is in regions: of one that starts at 0, the offset is the GPA. */
static void *file_open(const struct guest *guest)
{
	struct remote *r = calloc(1, sizeof(*r));

	if (!r || guest->n != 1 || guest->regions[0].gpa || guest->regions[0].offset)
		die("a file of more than one region");
	r->fd = guest->fd;
	return r;
}

static struct remote *process_open(const struct guest *guest)
{
	struct remote *r = calloc(1, sizeof(*r));
	pid_t parent = getpid();

	if (!r)
		die("calloc");
	r->fd = -1;
	r->window = guest->window;
	r->pid = fork();
	if (r->pid < 0)
		die("fork");
	if (!r->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	return r;
}

static void *process_vm_open(const struct guest *guest)
{
	return process_open(guest);
}

static void *proc_mem_open(const struct guest *guest)
{
	struct remote *r = process_open(guest);
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", r->pid);
	r->fd = open(path, O_RDWR | O_CLOEXEC);
	if (r->fd < 0)
		die(path);
	return r;
}

static void remote_close(void *self)
{
	struct remote *r = self;

	if (r->pid) {
		if (r->fd >= 0)
			close(r->fd);
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
	}
	free(r);
}

static uint64_t file_read(void *self, const struct job *job)
{
	const struct remote *r = self;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		off_t at = (uintptr_t)r->window + gpas[i];

		if (pread(r->fd, job->buf, job->len, at) != (ssize_t)job->len)
			die("pread");
	}
	return *(uint64_t *)job->buf;
}

static uint64_t file_write(void *self, const struct job *job)
{
	const struct remote *r = self;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		off_t at = (uintptr_t)r->window + gpas[i];

		if (pwrite(r->fd, job->buf, job->len, at) != (ssize_t)job->len)
			die("pwrite");
	}
	return 0;
}

static uint64_t process_read(void *self, const struct job *job)
{
	const struct remote *r = self;
	struct iovec local = { job->buf, job->len }, there = { NULL, job->len };
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		there.iov_base = r->window + gpas[i];
		if (process_vm_readv(r->pid, &local, 1, &there, 1, 0) != (ssize_t)job->len)
			die("process_vm_readv");
	}
	return *(uint64_t *)job->buf;
}

static uint64_t process_write(void *self, const struct job *job)
{
	const struct remote *r = self;
	struct iovec local = { job->buf, job->len }, there = { NULL, job->len };
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		there.iov_base = r->window + gpas[i];
		if (process_vm_writev(r->pid, &local, 1, &there, 1, 0) != (ssize_t)job->len)
			die("process_vm_writev");
	}
	return 0;
}

static uint64_t process_hole(void *self, const struct job *job)
{
	const struct remote *r = self;
	uint64_t value, failed = 0;
	struct iovec local = { &value, sizeof(value) }, there = local;
	const uint64_t *gpas = job->gpas;
	size_t i, n = job->n;

	for (i = 0; i < n; i++) {
		there.iov_base = r->window + gpas[i];
		failed += process_vm_readv(r->pid, &local, 1, &there, 1, 0) < 0;
	}
	return failed;
}

/* 8 bytes are as any other number of bytes: see job->len. */
#define FILE_OPS				\
	.slow = true,				\
	.close = remote_close,			\
	.op = {					\
		[OP_READ8] = file_read,		\
		[OP_WRITE8] = file_write,	\
		[OP_READ] = file_read,		\
		[OP_WRITE] = file_write,	\
	}

const struct contestant kernel_pread = {
	.name = "pread(memfd)",
	.max_regions = 1,
	.open = file_open,
	FILE_OPS
};

const struct contestant kernel_proc_mem = {
	.name = "/proc/PID/mem",
	.open = proc_mem_open,
	FILE_OPS
};

const struct contestant kernel_process_vm = {
	.name = "process_vm_readv",
	.slow = true,
	.open = process_vm_open,
	.close = remote_close,
	.op = {
		[OP_READ8] = process_read,
		[OP_WRITE8] = process_write,
		[OP_READ] = process_read,
		[OP_WRITE] = process_write,
		[OP_HOLE] = process_hole,
	},
};
