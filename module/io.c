// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading and writing by guest-physical address.
 *
 * Every access is a walk, under regions_rwsem held for reading, and touches no region
 * after it has let go. So when a revoke has had the lock for writing, no access
 * that began before it can still move a byte.
 *
 * The other end may be user memory, and a fault in it must not be taken under the
 * lock: the buffer may be a mapping of this very guest, or be served by a process
 * that takes its time. So page faults are off during the copy; when it stops short
 * the lock is dropped, the buffer faulted in, and the copy goes on.
 *
 * Guest memory is reached by the kernel's direct map, a page at a time: that is how
 * far hardened usercopy and the check for poisoned pages look.
 *
 * An access that meets a hole stops there: read(2) and write(2) say how far they
 * came, and ENXIO if that is nowhere. At and behind the end of the last region,
 * read(2) says 0, as at the end of a file.
 */
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "guestmem_private.h"

/**
 * gm_piece_at - get at guest memory
 * @cur: the walk
 * @gpa: first address
 * @len: bytes that are wanted
 * @need: GUESTMEM_RIGHT_READ, _WRITE, or both: what for
 * @piece: what of it can be touched at once
 * @err: why not
 *
 * Context: the piece is valid until the walk ends.
 * Return: 0, -ENXIO, -EACCES or -EHWPOISON.
 */
int gm_piece_at(struct gm_cursor *cur, u64 gpa, u64 len, u32 need, struct gm_piece *piece,
		struct guestmem_error *err)
{
	struct page *page;
	int rc;

	if (!gm_cursor_seek(cur, gpa))
		return gm_fail(err, -ENXIO, GUESTMEM_REASON_HOLE, gpa, 0, 0);
	rc = gm_check_cursor(cur, gpa, need, err);
	if (rc)
		return rc;
	page = pfn_to_page(cur->pfn);
	if (is_page_hwpoison(page))
		return gm_fail(err, -EHWPOISON, GUESTMEM_REASON_POISONED, gpa, 0, 0);
	piece->data = page_address(page) + offset_in_page(gpa);
	piece->len = min_t(u64, PAGE_SIZE - offset_in_page(gpa), min(len, cur->last - gpa + 1));
	return 0;
}

static u32 gm_io_needs(bool write)
{
	return write ? GUESTMEM_RIGHT_WRITE : GUESTMEM_RIGHT_READ;
}

/* Up to a burst. Returns how much was moved; *rc says why not more, 0 if a page fault. */
static size_t gm_burst_iter(struct gm_view *view, u64 gpa, struct iov_iter *iter, bool write,
			    int *rc)
{
	size_t done = 0, copied, want;
	struct gm_piece piece;
	struct gm_cursor cur;

	want = min_t(size_t, iov_iter_count(iter), GUESTMEM_BURST);
	*rc = gm_walk_begin(&cur, view, gm_io_needs(write), NULL);
	if (*rc)
		return 0;
	pagefault_disable();
	while (done < want) {
		*rc = gm_piece_at(&cur, gpa + done, want - done, cur.need, &piece, NULL);
		if (*rc)
			break;
		if (write)
			copied = copy_from_iter(piece.data, piece.len, iter);
		else
			copied = copy_to_iter(piece.data, piece.len, iter);
		done += copied;
		if (copied < piece.len)
			break;
	}
	pagefault_enable();
	gm_walk_end(&cur);
	return done;
}

static bool gm_fault_in(struct iov_iter *iter, bool write)
{
	size_t len = min_t(size_t, iov_iter_count(iter), GUESTMEM_BURST);

	/* A pipe that is full: nothing to fault in, and no use in waiting. */
	if (!user_backed_iter(iter))
		return false;
	if (write)
		return fault_in_iov_iter_readable(iter, len) < len;
	return fault_in_iov_iter_writeable(iter, len) < len;
}

static ssize_t gm_io_iter(struct gm_view *view, u64 gpa, struct iov_iter *iter, bool write)
{
	size_t want = iov_iter_count(iter), done = 0, moved;
	int rc = 0;

	while (!rc && done < want) {
		moved = gm_burst_iter(view, gpa + done, iter, write, &rc);
		done += moved;
		if (rc || done == want)
			break;
		if (fatal_signal_pending(current))
			rc = -EINTR;
		else if (!moved && !gm_fault_in(iter, write))
			rc = -EFAULT;
		cond_resched();
	}
	return done ?: rc;
}

ssize_t gm_read_iter(struct kiocb *kiocb, struct iov_iter *to)
{
	struct gm_file *file = kiocb->ki_filp->private_data;
	struct gm_view *view = file->view;
	u64 gpa = kiocb->ki_pos, start, last;
	ssize_t rc;

	rc = gm_check_view(view, GUESTMEM_RIGHT_READ, NULL);
	if (rc)
		return rc;
	rc = gm_io_iter(view, gpa, to, false);
	if (rc == -ENXIO && !view->session) {
		down_read(&view->guest->regions_rwsem);
		if (!gm_view_next(view, gpa, &start, &last))
			rc = 0;
		up_read(&view->guest->regions_rwsem);
	}
	if (rc > 0)
		kiocb->ki_pos += rc;
	return rc;
}

ssize_t gm_write_iter(struct kiocb *kiocb, struct iov_iter *from)
{
	struct gm_file *file = kiocb->ki_filp->private_data;
	ssize_t rc;

	rc = gm_check_view(file->view, GUESTMEM_RIGHT_WRITE, NULL);
	if (rc)
		return rc;
	if (kiocb->ki_flags & IOCB_APPEND)
		return -EINVAL;
	rc = gm_io_iter(file->view, kiocb->ki_pos, from, true);
	if (rc > 0)
		kiocb->ki_pos += rc;
	return rc;
}

/* Where data, or a hole, begins at or after an address; -ENXIO behind the last region. */
static loff_t gm_seek(struct gm_view *view, loff_t offset, bool data)
{
	struct gm_region *region;
	u64 gpa = offset, start, last;

	lockdep_assert_held(&view->guest->regions_rwsem);
	region = offset < 0 ? NULL : gm_view_next(view, gpa, &start, &last);
	if (!region)
		return -ENXIO;
	if (data)
		gpa = max(gpa, start);
	while (!data && region && start <= gpa) {
		if (last >= LLONG_MAX)
			return -EOVERFLOW;
		gpa = last + 1;
		region = gm_view_next(view, gpa, &start, &last);
	}
	return gpa <= LLONG_MAX ? gpa : -EOVERFLOW;
}

loff_t gm_llseek(struct file *filp, loff_t offset, int whence)
{
	struct gm_file *file = filp->private_data;
	struct gm_view *view = file->view;
	loff_t end = 0, found = 0;
	u64 start, last;

	down_read(&view->guest->regions_rwsem);
	if (whence == SEEK_DATA || whence == SEEK_HOLE)
		found = gm_seek(view, offset, whence == SEEK_DATA);
	else if (whence == SEEK_END && gm_view_next(view, 0, &start, &last))
		end = min_t(u64, gm_view_last(view), LLONG_MAX - 1) + 1;
	up_read(&view->guest->regions_rwsem);
	if (found < 0)
		return found;
	if (whence == SEEK_DATA || whence == SEEK_HOLE)
		return vfs_setpos(filp, found, LLONG_MAX);
	return generic_file_llseek_size(filp, offset, whence, LLONG_MAX, end);
}

/**
 * gm_copy_kernel - read or write guest memory, from or to the kernel's
 * @view: by whose addresses
 * @need: GUESTMEM_RIGHT_* that it takes
 * @gpa: first address; gpa + len - 1 does not wrap
 * @buf: kernel memory
 * @len: bytes; not so many that a revoke should not wait for it
 * @write: the guest's is written
 * @done: bytes moved, also after an error
 *
 * Context: sleeps; mmap_lock may be held.
 * Return: 0, -ENXIO, -EACCES, -ESTALE or -EHWPOISON.
 */
int gm_copy_kernel(struct gm_view *view, u32 need, u64 gpa, void *buf, size_t len, bool write,
		   size_t *done)
{
	struct gm_piece piece;
	struct gm_cursor cur;
	int rc;

	*done = 0;
	rc = gm_walk_begin(&cur, view, need, NULL);
	if (rc)
		return rc;
	while (*done < len) {
		rc = gm_piece_at(&cur, gpa + *done, len - *done, gm_io_needs(write), &piece,
				 NULL);
		if (rc)
			break;
		if (write)
			memcpy(piece.data, buf + *done, piece.len);
		else
			memcpy(buf + *done, piece.data, piece.len);
		*done += piece.len;
	}
	gm_walk_end(&cur);
	return rc;
}

/* Between bursts, with no lock held. */
static int gm_walk_pause(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/**
 * gm_fill - set each byte of a range
 * @view: by whose addresses
 * @gpa: first address
 * @value: the byte
 * @len: bytes; gpa + len - 1 does not wrap
 * @done: bytes set, also after an error
 * @err: why not
 *
 * Context: sleeps; no lock of the guest's held.
 * Return: 0, -ENXIO, -EACCES, -ESTALE, -EHWPOISON or -EINTR.
 */
int gm_fill(struct gm_view *view, u64 gpa, u8 value, u64 len, u64 *done,
	    struct guestmem_error *err)
{
	struct gm_piece piece;
	struct gm_cursor cur;
	size_t burst;
	int rc = 0;

	*done = 0;
	while (!rc && *done < len) {
		rc = gm_walk_begin(&cur, view, GUESTMEM_RIGHT_WRITE, err);
		if (rc)
			break;
		for (burst = 0; burst < GUESTMEM_BURST && *done < len; burst += piece.len) {
			rc = gm_piece_at(&cur, gpa + *done, len - *done, cur.need, &piece, err);
			if (rc)
				break;
			memset(piece.data, value, piece.len);
			*done += piece.len;
		}
		gm_walk_end(&cur);
		if (!rc)
			rc = gm_walk_pause();
	}
	return rc;
}

static int gm_copy(struct gm_view *view, u64 dst, u64 src, u64 len, u64 *done,
		   struct guestmem_error *err)
{
	struct gm_cursor to_cur, from_cur;
	struct gm_piece to, from;
	size_t burst, n;
	int rc = 0;

	*done = 0;
	while (!rc && *done < len) {
		rc = gm_walk_begin(&to_cur, view, GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE,
				   err);
		if (rc)
			break;
		/* Both are one walk: who waits for the lock a second time may wait forever. */
		from_cur = to_cur;
		from_cur.need = GUESTMEM_RIGHT_READ;
		to_cur.need = GUESTMEM_RIGHT_WRITE;
		for (burst = 0; burst < GUESTMEM_BURST && *done < len; burst += n) {
			rc = gm_piece_at(&from_cur, src + *done, len - *done,
					 GUESTMEM_RIGHT_READ, &from, err);
			if (rc)
				break;
			rc = gm_piece_at(&to_cur, dst + *done, from.len,
					 GUESTMEM_RIGHT_WRITE, &to, err);
			if (rc)
				break;
			n = to.len;
			/* Two addresses may be one page: the same memory in two regions. */
			memmove(to.data, from.data, n);
			*done += n;
		}
		gm_walk_end(&to_cur);
		if (!rc)
			rc = gm_walk_pause();
	}
	return rc;
}

int gm_ioctl_fill(struct gm_cmd *cmd)
{
	struct guestmem_fill *arg = cmd->arg;
	u64 last;
	int rc;

	arg->done = 0;
	if (arg->flags || arg->reserved)
		return -EOPNOTSUPP;
	if (arg->value > U8_MAX)
		return -EINVAL;
	rc = gm_check_view(cmd->file->view, GUESTMEM_RIGHT_WRITE, &arg->err);
	if (rc)
		return rc;
	if (arg->len) {
		rc = gm_check_range(arg->gpa, arg->len, &last, &arg->err);
		if (!rc)
			rc = gm_fill(cmd->file->view, arg->gpa, arg->value, arg->len,
				     &arg->done, &arg->err);
	}
	return rc ?: gm_cmd_respond(cmd);
}

int gm_ioctl_copy(struct gm_cmd *cmd)
{
	struct guestmem_copy *arg = cmd->arg;
	u64 dst_last, src_last;
	int rc;

	arg->done = 0;
	if (arg->flags)
		return -EOPNOTSUPP;
	rc = gm_check_view(cmd->file->view, GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE,
			   &arg->err);
	if (rc || !arg->len)
		return rc ?: gm_cmd_respond(cmd);
	rc = gm_check_range(arg->dst, arg->len, &dst_last, &arg->err);
	if (rc)
		return rc;
	rc = gm_check_range(arg->src, arg->len, &src_last, &arg->err);
	if (rc)
		return rc;
	if (gm_ranges_overlap(arg->dst, dst_last, arg->src, src_last))
		return gm_fail(&arg->err, -EINVAL, GUESTMEM_REASON_OVERLAP,
			       max(arg->dst, arg->src), 0, 0);
	rc = gm_copy(cmd->file->view, arg->dst, arg->src, arg->len, &arg->done, &arg->err);
	return rc ?: gm_cmd_respond(cmd);
}
