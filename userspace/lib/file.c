// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Between files and the guest: read(2) and write(2) straight into its memory. */
#include <limits.h>
#include <unistd.h>

#include "internal.h"

/* As much as one slice has, and the kernel moves. */
static ssize_t once(struct guestmem *g, enum op op, uint64_t gpa, int fd, uint64_t *offset,
		    size_t len, bool all)
{
	const bool in = op == OP_READ_FROM;
	struct guestmem_iter iter = {
		.gpa = gpa,
		.len = len,
		.prot = in ? PROT_WRITE : PROT_READ,
	};
	struct guestmem_error e;
	struct iovec slice;
	ssize_t n;
	int ret;

	ret = guestmem_iter_next(g, &iter, &slice);
	if (ret <= 0) {
		guestmem_last_error(&e);
		return ret ? fail_reason(op, -ret, &e) : 0;
	}
	if (slice.iov_len > SSIZE_MAX)
		slice.iov_len = SSIZE_MAX;
	do {
		if (offset)
			n = in ? pread(fd, slice.iov_base, slice.iov_len, (off_t)*offset) :
				 pwrite(fd, slice.iov_base, slice.iov_len, (off_t)*offset);
		else
			n = in ? read(fd, slice.iov_base, slice.iov_len) :
				 write(fd, slice.iov_base, slice.iov_len);
	} while (n < 0 && errno == EINTR && all);
	if (n < 0) {
		ret = errno;
		/* It may have come some way. */
		if (in)
			guestmem_dirty_mark(g, gpa, slice.iov_len);
		return fail(op, ret, ret == EFAULT ?
			    "the memory is gone, or the file cannot use it (O_DIRECT)" : NULL);
	}
	if (in)
		guestmem_dirty_mark(g, gpa, (uint64_t)n);
	if (offset)
		*offset += (uint64_t)n;
	return n;
}

static ssize_t some(struct guestmem *g, enum op op, uint64_t gpa, int fd, uint64_t *offset,
		    size_t len)
{
	int ret = handle_check(g, op);

	if (ret < 0)
		return ret;
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	if (range_wraps(gpa, len))
		len = (size_t)(UINT64_MAX - gpa + 1);
	return once(g, op, gpa, fd, offset, len, false);
}

static int whole(struct guestmem *g, enum op op, uint64_t gpa, int fd, uint64_t *offset,
		 size_t len)
{
	struct guestmem_error e;
	size_t done = 0;
	ssize_t n;
	int ret = handle_check(g, op);

	if (ret < 0)
		return ret;
	if (range_wraps(gpa, len))
		return fail_wraps(op, gpa, len);
	for (; done < len; done += (size_t)n) {
		n = once(g, op, gpa + done, fd, offset, len - done, true);
		if (n > 0)
			continue;
		if (!n)
			return fail_done(g, op, ENODATA, "the file ended before", NULL, done);
		guestmem_last_error(&e);
		return fail_done(g, op, (int)-n, last_text(), &e, done);
	}
	return 0;
}

int guestmem_read_from(struct guestmem *g, uint64_t gpa, int fd, uint64_t *offset, size_t len)
{
	return whole(g, OP_READ_FROM, gpa, fd, offset, len);
}

int guestmem_write_to(struct guestmem *g, uint64_t gpa, int fd, uint64_t *offset, size_t len)
{
	return whole(g, OP_WRITE_TO, gpa, fd, offset, len);
}

ssize_t guestmem_read_from_some(struct guestmem *g, uint64_t gpa, int fd, uint64_t *offset,
				size_t len)
{
	return some(g, OP_READ_FROM, gpa, fd, offset, len);
}

ssize_t guestmem_write_to_some(struct guestmem *g, uint64_t gpa, int fd, uint64_t *offset,
			       size_t len)
{
	return some(g, OP_WRITE_TO, gpa, fd, offset, len);
}
