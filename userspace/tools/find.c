// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Which guest is meant: a descriptor of /dev/guestmem that this command inherited,
 * or one of another process, taken by pidfd_getfd(2) (as a debugger may).
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "tool.h"

static const struct argp_option options[] = {
	{ "pid", 'p', "PID", 0, "The guest of process PID", 1 },
	{ "fd", 'f', "FD", 0,
	  "Its descriptor FD, where a process has several guests; without --pid, the "
	  "descriptor FD that this command inherits", 1 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct guest_options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		o->pid = 0;
		o->fd = -1;
		return 0;
	case 'p':
		o->pid = (int)uint_arg(arg, "PID", state);
		if (!o->pid)
			argp_error(state, "PID 0 is no process");
		return 0;
	case 'f':
		o->fd = (int)uint_arg(arg, "FD", state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp guest_argp = { .options = options, .parser = parse };

/* A copy of descriptor @fd of the process, to be closed; or -errno. */
static int take(int pidfd, int fd)
{
	int copy = pidfd < 0 ? dup(fd) : pidfd_getfd(pidfd, fd, 0);

	return copy < 0 ? -errno : copy;
}

static struct guestmem *adopt(int pidfd, int fd, int *err)
{
	int copy = take(pidfd, fd);
	struct guestmem *g;

	*err = copy;
	if (copy < 0)
		return NULL;
	g = guestmem_from_fd(copy);
	*err = g ? 0 : -errno;
	close(copy);
	return g;
}

/*
 * Only descriptors that look like ours are asked: taking and asking any other one
 * of a stranger's process is not ours to do.
 */
static bool looks_like_guest(int dirfd, const char *name)
{
	char target[64];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

	if (n <= 0)
		return false;
	target[n] = '\0';
	return strstr(target, "guestmem");
}

static uint64_t guest_id(struct guestmem *g)
{
	struct guestmem_info info = { .size = sizeof(info) };

	return guestmem_info(g, &info) < 0 ? 0 : info.id;
}

static int no_process(int pid, int err)
{
	if (err == ENOENT || err == ESRCH)
		return error_exit(EXIT_NOT_FOUND, "there is no process %d", pid);
	if (err == EACCES || err == EPERM)
		return error_exit(EXIT_PERMISSION,
				  "no permission to look into process %d: be the same user as it, or have CAP_SYS_PTRACE",
				  pid);
	return error_exit(EXIT_FAILED, "cannot look into process %d: %s", pid, strerror(err));
}

/* The one guest among the descriptors; several of the same guest are one. */
static struct guestmem *search(int pid, int pidfd, int *code)
{
	struct guestmem *found = NULL, *g;
	char path[32] = "/proc/self/fd";
	int fd, err = 0, ret, found_fd = -1;
	struct dirent *entry;
	DIR *dir;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir) {
		*code = no_process(pid ? pid : getpid(), errno);
		return NULL;
	}
	while ((entry = readdir(dir)) != NULL) {
		fd = (int)strtol(entry->d_name, NULL, 10);
		if (entry->d_name[0] == '.' || (!pid && fd == dirfd(dir)) ||
		    !looks_like_guest(dirfd(dir), entry->d_name))
			continue;
		g = adopt(pidfd, fd, &ret);
		if (!g) {
			err = ret == -EBADF ? err : ret;
			continue;
		}
		if (!found) {
			found = g;
			found_fd = fd;
			continue;
		}
		if (guest_id(found) != guest_id(g)) {
			*code = error_exit(EXIT_USAGE,
					   "there are several guests (descriptors %d, %d): say which with --fd",
					   found_fd, fd);
			guestmem_close(g);
			guestmem_close(found);
			found = NULL;
			goto out;
		}
		guestmem_close(g);
	}
	if (found)
		*code = EXIT_OK;
	else if (err)
		*code = no_process(pid ? pid : getpid(), -err);
	else if (pid)
		*code = error_exit(EXIT_NOT_FOUND, "process %d has no /dev/guestmem open", pid);
	else
		*code = error_exit(EXIT_NOT_FOUND,
				   "no guest was given: name a process that has one with --pid, or a descriptor with --fd");
out:
	closedir(dir);
	return found;
}

struct guestmem *find_guest(const struct guest_options *o, int *code)
{
	struct guestmem *g;
	int pidfd = -1, err;

	if (o->pid) {
		pidfd = pidfd_open(o->pid, 0);
		if (pidfd < 0) {
			*code = no_process(o->pid, errno == EINVAL ? ESRCH : errno);
			return NULL;
		}
	}
	if (o->fd < 0) {
		g = search(o->pid, pidfd, code);
	} else {
		g = adopt(pidfd, o->fd, &err);
		if (g)
			*code = EXIT_OK;
		else if (err == -EBADF)
			*code = error_exit(EXIT_NOT_FOUND,
					   "descriptor %d is not an open /dev/guestmem", o->fd);
		else if (o->pid)
			*code = no_process(o->pid, -err);
		else
			*code = error_guestmem();
	}
	if (pidfd >= 0)
		close(pidfd);
	return g;
}
