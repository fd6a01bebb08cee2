// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* A guest: open, adopt, close, ask. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

/* The first version of struct guestmem_info, the smallest that can be given. */
#define INFO_SIZE_FIRST	88

int do_ioctl(const struct guestmem *g, enum op op, unsigned long request, void *arg,
	     const struct guestmem_error *e)
{
	/*
	 * No retry on EINTR: the kernel gives it for a fatal signal only, and for a
	 * revoke that is done already.
	 */
	if (ioctl(g->fd, request, arg) < 0)
		return fail_reason(op, errno, e);
	return 0;
}

/* Owns @fd from here on, also if it fails. */
static struct guestmem *handle_of(int fd, enum op op)
{
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem *g;
	int err;

	if (ioctl(fd, GUESTMEM_INFO, &info) < 0) {
		/* Another driver may know the number, and mean something else by it. */
		err = errno == EBADF || errno == ENOTTY || errno == EINVAL ||
		      errno == EOPNOTSUPP || errno == ENOSYS ? EBADF : errno;
		goto close;
	}
	if (info.size != sizeof(info) || !info.abi_version || !info.page_size) {
		err = EBADF;
		goto close;
	}
	if (info.abi_version != GUESTMEM_ABI_VERSION) {
		close(fd);
		fail(op, EOPNOTSUPP,
		     "the module has another ABI version than this library: use both of the same release");
		return NULL;
	}
	g = calloc(1, sizeof(*g));
	if (!g) {
		err = ENOMEM;
		goto close;
	}
	g->fd = fd;
	g->rights = info.rights;
	return g;

close:
	close(fd);
	fail(op, err, err == EBADF ? "it is not an open " GUESTMEM_DEVICE : NULL);
	return NULL;
}

struct guestmem *guestmem_open(int flags)
{
	int mode = flags & O_ACCMODE;
	int fd;

	if ((flags & ~(O_ACCMODE | O_CLOEXEC)) ||
	    (mode != O_RDWR && mode != O_RDONLY && mode != O_WRONLY)) {
		fail(OP_OPEN, EINVAL, "the flags are not O_RDWR, O_RDONLY or O_WRONLY");
		return NULL;
	}
	do {
		fd = open(GUESTMEM_DEVICE, mode | O_CLOEXEC);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		fail(OP_OPEN, errno, NULL);
		return NULL;
	}
	return handle_of(fd, OP_OPEN);
}

struct guestmem *guestmem_from_fd(int fd)
{
	/* Not 0 to 2: a program that closed those must not print into a guest. */
	int dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (dup < 0) {
		fail(OP_FROM_FD, errno, errno == EBADF ? "it is not open" : NULL);
		return NULL;
	}
	return handle_of(dup, OP_FROM_FD);
}

void guestmem_close(struct guestmem *g)
{
	int saved = errno;

	if (!g)
		return;
	close(g->fd);
	free(g);
	errno = saved;
}

int guestmem_fd(const struct guestmem *g)
{
	if (!g)
		return fail_null(OP_FD, "no guest was given");
	return g->fd;
}

int guestmem_info(struct guestmem *g, struct guestmem_info *info)
{
	if (!g || !info)
		return fail_null(OP_INFO, "no guest or no struct was given");
	/* The struct is the caller's: it may be older or newer than this library. */
	if (info->size < INFO_SIZE_FIRST)
		return fail(OP_INFO, EINVAL, "size is not that of struct guestmem_info");
	return do_ioctl(g, OP_INFO, GUESTMEM_INFO, info, NULL);
}

int guestmem_eventfd(struct guestmem *g, int fd, uint32_t events)
{
	struct guestmem_eventfd arg = {
		.size = sizeof(arg),
		.fd = fd,
		.events = events,
	};

	if (!g)
		return fail_null(OP_EVENTFD, "no guest was given");
	return do_ioctl(g, OP_EVENTFD, GUESTMEM_EVENTFD, &arg, NULL);
}
