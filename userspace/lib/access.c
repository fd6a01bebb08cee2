// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Read, write, fill and copy.
 *
 * An access moves what the window has. Where that fails, or the window ends, the backend
 * says what to do: try again (what is done stays done), do the rest of it by the backend,
 * or fail. The backend also knows why. Every byte before the first that fails is done,
 * none behind it is looked at.
 */
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "internal.h"
#include "recover.h"

/* At one address; each is a signal, so it is some milliseconds. */
#define MAX_RETRIES	4096

static const char buffer_text[] = "the buffer is not accessible";

int right_check(const struct guestmem *g, enum op op, uint64_t gpa, int prot)
{
	struct guestmem_error e = {
		.reason = GUESTMEM_REASON_RIGHT,
		.addr = gpa,
		.need = (prot & PROT_READ ? GUESTMEM_RIGHT_READ : 0) |
			(prot & PROT_WRITE ? GUESTMEM_RIGHT_WRITE : 0),
		.limit = g->rights,
	};

	return e.need & ~(uint64_t)g->rights ? fail_reason(op, EACCES, &e) : 0;
}

int space_fault(struct space *s, const struct guestmem_fault *fault, unsigned int *tries,
		struct why *why)
{
	int ret;

	why->e.addr = fault->gpa;
	ret = s->be->fault(s, fault, why);
	if (ret == GUESTMEM_FAULT_RETRY && ++*tries > MAX_RETRIES)
		return why_text(why, EFAULT,
				"it is said to be there now, and still cannot be accessed");
	return ret;
}

/* Move @len bytes of the window; returns how many could be. */
static uint64_t move(struct space *s, enum access access, uint64_t gpa, char *buf,
		     uint64_t len, uint8_t value)
{
	char *at = s->window + gpa;

	if (recover_declined()) {
		if (access == ACCESS_READ)
			memcpy(buf, at, len);
		else if (access == ACCESS_WRITE)
			memcpy(at, buf, len);
		else
			memset(at, value, len);
		return len;
	}
	if (access == ACCESS_READ)
		return len - guestmem_copy_(buf, at, len);
	if (access == ACCESS_WRITE)
		return len - guestmem_copy_(at, buf, len);
	return len - fill_bytes(at, value, len);
}

/*
 * Was the last fault at the caller's buffer? Of an address that the CPU does not have, it
 * is not told: none of the window's is one.
 */
static bool is_of_buffer(const struct space *s)
{
	if (!last_fault.addr)
		return last_fault.code == SI_KERNEL;
	return last_fault.addr - (uintptr_t)s->window >= s->window_len;
}

/* What the window cannot do. */
static int fall_back(struct space *s, enum access access, uint64_t gpa, char *buf,
		     uint64_t len, uint8_t value, uint64_t *done, struct why *why)
{
	const struct backend *be = s->be;
	uint64_t before = *done;
	int ret;

	if (access == ACCESS_READ)
		return be->read(s, gpa, buf, len, done, why);
	if (access == ACCESS_WRITE)
		ret = be->write(s, gpa, buf, len, done, why);
	else
		ret = be->fill(s, gpa, value, len, done, why);
	dirty_mark(s, gpa, *done - before);
	return ret;
}

/* Of a fill, there is none. */
static char *buf_at(char *buf, uint64_t done)
{
	return buf ? buf + done : NULL;
}

int space_access(struct space *s, enum access access, uint64_t gpa, void *buf, uint64_t len,
		 uint8_t value, uint64_t *done, struct why *why)
{
	const bool write = access != ACCESS_READ;
	struct guestmem_fault fault = { .write = write };
	unsigned int tries = 0, idx = 0;
	uint64_t n, moved, at;
	int ret;

	*done = 0;
	while (*done < len) {
		at = gpa + *done;
		fault.denied = 0;
		fault.signal = 0;
		n = in_window(s, at, len - *done);
		moved = 0;
		if (n && s->ask_first) {
			idx = space_enter(s);
			n = space_allow(s, at, n, write);
			fault.denied = !n;
		}
		if (n) {
			last_fault.addr = 0;
			moved = move(s, access, at, buf_at(buf, *done), n, value);
			if (write)
				dirty_mark(s, at, moved);
		}
		if (s->ask_first)
			space_leave(s, idx);
		*done += moved;
		if (moved)
			tries = 0;
		if (n && moved == n)
			continue;
		if (n) {
			if (buf && is_of_buffer(s)) {
				why->e.addr = gpa + *done;
				return why_text(why, EFAULT, buffer_text);
			}
			fault.signal = last_fault.signo;
		}
		fault.gpa = gpa + *done;
		fault.len = len - *done;
		ret = space_fault(s, &fault, &tries, why);
		if (ret == GUESTMEM_FAULT_RETRY)
			continue;
		if (ret < 0)
			return ret;
		return fall_back(s, access, fault.gpa, buf_at(buf, *done),
				 fault.len, value, done, why);
	}
	return 0;
}

static int access_all(struct guestmem *g, enum op op, enum access access, uint64_t gpa,
		      void *buf, uint64_t len, uint8_t value, uint64_t *done)
{
	struct why why = { 0 };
	uint64_t abs;
	int ret;

	*done = 0;
	ret = handle_check(g, op);
	if (ret < 0)
		return ret;
	if (!buf && len && access != ACCESS_FILL)
		return fail_null(op, "no buffer was given");
	if (range_wraps(gpa, len))
		return fail_wraps(op, gpa, len);
	ret = len ? right_check(g, op, gpa, access == ACCESS_READ ? PROT_READ : PROT_WRITE) : 0;
	if (ret < 0 || !len)
		return ret;
	/* What is there before the handle's end is done. */
	abs = gpa + g->fast.offset;
	if (gpa <= g->last)
		ret = space_access(g->space, access, abs, buf,
				   len - 1 > g->last - gpa ? g->last - gpa + 1 : len, value,
				   done, &why);
	if (!ret && *done < len)
		ret = why_reason(&why, ENXIO, GUESTMEM_REASON_HOLE, abs + *done, 0, 0);
	return ret < 0 ? fail_why(g, op, ret, &why, *done) : 0;
}

int guestmem_read_slow_(struct guestmem *g, uint64_t gpa, void *buf, size_t len)
{
	uint64_t done;

	return access_all(g, OP_READ, ACCESS_READ, gpa, buf, len, 0, &done);
}

int guestmem_write_slow_(struct guestmem *g, uint64_t gpa, const void *buf, size_t len)
{
	uint64_t done;

	return access_all(g, OP_WRITE, ACCESS_WRITE, gpa, (void *)buf, len, 0, &done);
}

static ssize_t access_some(struct guestmem *g, enum op op, enum access access, uint64_t gpa,
			   void *buf, size_t len)
{
	uint64_t done;
	int ret;

	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	/* What is beyond the last address is one more thing it stops before. */
	if (range_wraps(gpa, len))
		len = (size_t)(UINT64_MAX - gpa + 1);
	ret = access_all(g, op, access, gpa, buf, len, 0, &done);
	return done ? (ssize_t)done : ret;
}

ssize_t guestmem_read_some(struct guestmem *g, uint64_t gpa, void *buf, size_t len)
{
	return access_some(g, OP_READ, ACCESS_READ, gpa, buf, len);
}

ssize_t guestmem_write_some(struct guestmem *g, uint64_t gpa, const void *buf, size_t len)
{
	return access_some(g, OP_WRITE, ACCESS_WRITE, gpa, (void *)buf, len);
}

int guestmem_fill(struct guestmem *g, uint64_t gpa, uint64_t len, uint8_t value)
{
	uint64_t done;

	return access_all(g, OP_FILL, ACCESS_FILL, gpa, NULL, len, value, &done);
}

/* Of the two sides, the one that fails is asked about. */
static int copy(struct space *s, uint64_t dst, uint64_t src, uint64_t len, uint64_t *done,
		struct why *why)
{
	struct guestmem_fault fault = { 0 };
	unsigned int tries = 0, idx = 0;
	uint64_t n, m, moved;
	uintptr_t bad;
	int ret;

	while (*done < len) {
		uint64_t to = dst + *done, from = src + *done;

		n = in_window(s, to, len - *done);
		m = in_window(s, from, len - *done);
		fault = (struct guestmem_fault){ .write = !n && m };
		moved = 0;
		if (s->ask_first)
			idx = space_enter(s);
		if (n && m && s->ask_first) {
			m = space_allow(s, from, m, false);
			n = m ? space_allow(s, to, n, true) : 0;
			fault.denied = !m || !n;
			fault.write = m && !n;
		}
		n = n < m ? n : m;
		if (n) {
			last_fault.addr = 0;
			moved = move(s, ACCESS_WRITE, to, s->window + from, n, 0);
			dirty_mark(s, to, moved);
		}
		if (s->ask_first)
			space_leave(s, idx);
		*done += moved;
		if (moved)
			tries = 0;
		if (n && moved == n)
			continue;
		if (n) {
			bad = last_fault.addr - (uintptr_t)s->window;
			fault.write = bad >= dst && bad - dst < len;
			fault.signal = last_fault.signo;
		}
		fault.gpa = (fault.write ? dst : src) + *done;
		fault.len = len - *done;
		ret = space_fault(s, &fault, &tries, why);
		if (ret == GUESTMEM_FAULT_RETRY)
			continue;
		if (ret < 0)
			return ret;
		n = *done;
		ret = s->be->copy(s, dst + n, src + n, len - n, done, why);
		dirty_mark(s, dst + n, *done - n);
		return ret;
	}
	return 0;
}

int guestmem_copy(struct guestmem *g, uint64_t dst, uint64_t src, uint64_t len)
{
	uint64_t done = 0, reach = len, hole = 0;
	struct why why = { 0 };
	int ret;

	ret = handle_check(g, OP_COPY);
	if (ret < 0)
		return ret;
	if (range_wraps(src, len))
		return fail_wraps(OP_COPY, src, len);
	if (range_wraps(dst, len))
		return fail_wraps(OP_COPY, dst, len);
	if (!len)
		return 0;
	ret = right_check(g, OP_COPY, dst, PROT_READ | PROT_WRITE);
	if (ret < 0)
		return ret;
	if (dst - src < len || src - dst < len) {
		why_reason(&why, EINVAL, GUESTMEM_REASON_OVERLAP, dst > src ? dst : src, 0, 0);
		return fail_done(g, OP_COPY, EINVAL, NULL, &why.e, 0);
	}
	/* As far as both are in the handle. */
	if (src > g->last || len - 1 > g->last - src) {
		reach = src > g->last ? 0 : g->last - src + 1;
		hole = src + reach;
	}
	if (dst > g->last || (reach && reach - 1 > g->last - dst)) {
		reach = dst > g->last ? 0 : g->last - dst + 1;
		hole = dst + reach;
	}
	ret = copy(g->space, dst + g->fast.offset, src + g->fast.offset, reach, &done, &why);
	if (!ret && reach < len)
		ret = why_reason(&why, ENXIO, GUESTMEM_REASON_HOLE, hole + g->fast.offset,
				 0, 0);
	return ret < 0 ? fail_why(g, OP_COPY, ret, &why, done) : 0;
}

/* So much at a time is looked at where nobody changes it. */
#define CHUNK	4096

int guestmem_is_zero(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	char chunk[CHUNK];
	uint64_t at = 0, done;
	size_t n;
	int ret;

	ret = handle_check(g, OP_COMPARE);
	if (ret < 0)
		return ret;
	if (range_wraps(gpa, len))
		return fail_wraps(OP_COMPARE, gpa, len);
	for (; at < len; at += n) {
		n = len - at < CHUNK ? (size_t)(len - at) : CHUNK;
		ret = access_all(g, OP_COMPARE, ACCESS_READ, gpa + at, chunk, n, 0, &done);
		if (done && (chunk[0] || memcmp(chunk, chunk + 1, done - 1) != 0))
			return 0;
		if (ret < 0)
			return ret;
	}
	return 1;
}

int guestmem_compare(struct guestmem *g, uint64_t gpa, const void *buf, size_t len,
		     size_t *same)
{
	const char *with = buf;
	char chunk[CHUNK];
	uint64_t done;
	size_t n, i;
	int ret;

	if (same)
		*same = 0;
	ret = handle_check(g, OP_COMPARE);
	if (ret < 0)
		return ret;
	if (!same || (!buf && len))
		return fail_null(OP_COMPARE, "no buffer or no place for the result was given");
	if (range_wraps(gpa, len))
		return fail_wraps(OP_COMPARE, gpa, len);
	for (; *same < len; *same += n) {
		n = len - *same < CHUNK ? len - *same : CHUNK;
		ret = access_all(g, OP_COMPARE, ACCESS_READ, gpa + *same, chunk, n, 0, &done);
		if (memcmp(chunk, with + *same, done) != 0) {
			for (i = 0; chunk[i] == with[*same + i]; i++)
				;
			*same += i;
			return 0;
		}
		if (ret < 0) {
			*same += done;
			return ret;
		}
	}
	return 0;
}
