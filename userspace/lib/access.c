// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Read, write, fill and copy. */
#include <limits.h>
#include <unistd.h>

#include "internal.h"

/* read(2) and write(2) move less than 2 GiB at a time; a round number of pages. */
#define MAX_CHUNK	((size_t)1 << 30)

/* Why byte @at could not be moved; pread(2) and pwrite(2) say it by errno only. */
static int fail_at(const struct guestmem *g, enum op op, int err, uint64_t at,
		   uint64_t done)
{
	uint32_t right = op == OP_READ ? GUESTMEM_RIGHT_READ : GUESTMEM_RIGHT_WRITE;
	struct guestmem_error e = { .addr = at };
	const char *why = NULL;

	switch (err) {
	case EBADF:	/* how the kernel says that a file is not open for this */
	case EACCES:
		err = EACCES;
		if (op == OP_WRITE && (g->rights & right)) {
			e.reason = GUESTMEM_REASON_READONLY;
			break;
		}
		e.reason = GUESTMEM_REASON_RIGHT;
		e.need = right;
		e.limit = g->rights;
		break;
	case ENXIO:
		e.reason = GUESTMEM_REASON_HOLE;
		break;
	case EHWPOISON:
		e.reason = GUESTMEM_REASON_POISONED;
		break;
	case EFAULT:
		why = "the buffer is not accessible";
		break;
	case EOPNOTSUPP:
		why = "it reaches 2^63 - 1 or above, which file offsets cannot";
		break;
	}
	return fail_done(op, err, why, &e, done);
}

/*
 * Move as much as there is, until the first byte that fails. *@done tells how much;
 * returns 0 if it was all, or -errno of that byte.
 */
static int transfer(struct guestmem *g, enum op op, uint64_t gpa, char *buf,
		    size_t len, size_t *done)
{
	uint64_t at, left;
	size_t chunk;
	ssize_t n;

	*done = 0;
	if (!g)
		return fail_null(op, "no guest was given");
	if (!buf && len)
		return fail_null(op, "no buffer was given");
	if (range_wraps(gpa, len))
		return fail_wraps(op, gpa, len);
	if (len && !(g->rights & (op == OP_READ ? GUESTMEM_RIGHT_READ : GUESTMEM_RIGHT_WRITE)))
		return fail_at(g, op, EACCES, gpa, 0);

	while (*done < len) {
		at = gpa + *done;
		if (at >= INT64_MAX)
			return fail_at(g, op, EOPNOTSUPP, at, *done);
		left = INT64_MAX - at;
		chunk = len - *done < MAX_CHUNK ? len - *done : MAX_CHUNK;
		if (chunk > left)
			chunk = (size_t)left;
		if (op == OP_READ)
			n = pread(g->fd, buf + *done, chunk, (off_t)at);
		else
			n = pwrite(g->fd, buf + *done, chunk, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)	/* 0: nothing there, nor above */
			return fail_at(g, op, n < 0 ? errno : ENXIO, at, *done);
		*done += (size_t)n;
	}
	return 0;
}

int guestmem_read(struct guestmem *g, uint64_t gpa, void *buf, size_t len)
{
	size_t done;

	return transfer(g, OP_READ, gpa, buf, len, &done);
}

int guestmem_write(struct guestmem *g, uint64_t gpa, const void *buf, size_t len)
{
	size_t done;

	return transfer(g, OP_WRITE, gpa, (char *)buf, len, &done);
}

static ssize_t transfer_some(struct guestmem *g, enum op op, uint64_t gpa, char *buf,
			     size_t len)
{
	size_t done;
	int ret;

	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	/* What is beyond the last address is one more thing it stops before. */
	if (range_wraps(gpa, len))
		len = (size_t)(UINT64_MAX - gpa + 1);
	ret = transfer(g, op, gpa, buf, len, &done);
	return done ? (ssize_t)done : ret;
}

ssize_t guestmem_read_some(struct guestmem *g, uint64_t gpa, void *buf, size_t len)
{
	return transfer_some(g, OP_READ, gpa, buf, len);
}

ssize_t guestmem_write_some(struct guestmem *g, uint64_t gpa, const void *buf,
			    size_t len)
{
	return transfer_some(g, OP_WRITE, gpa, (char *)buf, len);
}

int guestmem_fill(struct guestmem *g, uint64_t gpa, uint64_t len, uint8_t value)
{
	struct guestmem_fill arg = {
		.size = sizeof(arg),
		.gpa = gpa,
		.len = len,
		.value = value,
	};
	int ret;

	if (!g)
		return fail_null(OP_FILL, "no guest was given");
	ret = do_ioctl(g, OP_FILL, GUESTMEM_FILL, &arg, &arg.err);
	if (ret < 0)
		fail_done(OP_FILL, -ret, NULL, &arg.err, arg.done);
	return ret;
}

int guestmem_copy(struct guestmem *g, uint64_t dst, uint64_t src, uint64_t len)
{
	struct guestmem_copy arg = {
		.size = sizeof(arg),
		.dst = dst,
		.src = src,
		.len = len,
	};
	int ret;

	if (!g)
		return fail_null(OP_COPY, "no guest was given");
	ret = do_ioctl(g, OP_COPY, GUESTMEM_COPY, &arg, &arg.err);
	if (ret < 0)
		fail_done(OP_COPY, -ret, NULL, &arg.err, arg.done);
	return ret;
}
