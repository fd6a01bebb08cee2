// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Housekeeping: what can be told the kernel about memory of this process. */
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "recover.h"

/* Older than glibc's */
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/* No page is smaller. */
#define MIN_PAGE	4096

/* Is the memory this process's to manage? */
static int check(const struct guestmem *g, enum op op)
{
	if (g->space->kind == KIND_DOMAIN)
		return fail(op, EOPNOTSUPP, NO_MEMORY);
	if (g->space->fd >= 0)
		return fail(op, EOPNOTSUPP, "the memory is pinned by " GUESTMEM_DEVICE);
	return g->space->window ? 0 : fail(op, EOPNOTSUPP, "it is not mapped in this process");
}

/* Whole pages that are all there, and this process's to manage: where. */
static int managed(struct guestmem *g, enum op op, uint64_t gpa, uint64_t len, int prot,
		   char **ptr)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), abs, reach;
	struct guestmem_error e = { .reason = GUESTMEM_REASON_MISALIGNED, .need = page };
	struct why why = { 0 };
	int ret;

	ret = handle_range(g, op, gpa, len, &abs);
	if (!ret)
		ret = check(g, op);
	if (ret < 0)
		return ret;
	if (abs % page || len % page) {
		e.addr = abs % page ? gpa : len;
		return fail_reason(op, EINVAL, &e);
	}
	ret = right_check(g, op, gpa, prot);
	if (ret < 0)
		return ret;
	ret = space_reach(g->space, abs, len, prot, &reach, &why);
	if (!ret && reach < len)
		ret = space_reach(g->space, abs + reach, len - reach, prot, &reach, &why);
	if (ret < 0)
		return fail_why(g, op, ret, &why, 0);
	*ptr = len ? g->fast.base + gpa : NULL;
	return 0;
}

static int advise(struct guestmem *g, enum op op, uint64_t gpa, uint64_t len, int prot,
		  int advice)
{
	char *ptr = NULL;
	int ret = managed(g, op, gpa, len, prot, &ptr);

	if (ret < 0 || !len)
		return ret;
	return madvise(ptr, len, advice) < 0 ? fail(op, errno, NULL) : 0;
}

/* Pages that a device has, and would go on using, are not replaced by others. */
static int check_locks(struct guestmem *g, enum op op, uint64_t gpa, uint64_t len, bool private)
{
	struct why why = { 0 };
	uint64_t abs = gpa + g->fast.offset;
	int ret;

	if (!g->space->be->find_locks)
		return 0;
	ret = g->space->be->find_locks(g->space, abs, abs + len - 1, private, &why);
	return ret < 0 ? fail_why(g, op, ret, &why, 0) : 0;
}

int guestmem_msync(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	char *ptr = NULL;
	int ret = managed(g, OP_MSYNC, gpa, len, 0, &ptr);

	if (ret < 0 || !len)
		return ret;
	return msync(ptr, len, MS_SYNC) < 0 ? fail(OP_MSYNC, errno, NULL) : 0;
}

int guestmem_prefetch(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	return advise(g, OP_PREFETCH, gpa, len, 0, MADV_WILLNEED);
}

int guestmem_drop(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	char *ptr = NULL;
	int ret = managed(g, OP_DROP, gpa, len, 0, &ptr);

	/* Of a file, the same ones come back. */
	if (!ret && len)
		ret = check_locks(g, OP_DROP, gpa, len, true);
	if (ret < 0 || !len)
		return ret;
	return madvise(ptr, len, MADV_DONTNEED) < 0 ? fail(OP_DROP, errno, NULL) : 0;
}

int guestmem_discard(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	uint64_t done = 0, part;
	struct guestmem_table_entry e;
	char *ptr = NULL;
	int ret = managed(g, OP_DISCARD, gpa, len, PROT_WRITE, &ptr);

	if (!ret && len)
		ret = check_locks(g, OP_DISCARD, gpa, len, false);
	if (ret < 0)
		return ret;
	/* Each by itself: private memory has no file to make a hole in (EACCES: huge pages). */
	for (; done < len; done += part) {
		ret = space_find(g->space, gpa + g->fast.offset + done, &e);
		if (ret < 0)
			return fail_done(g, OP_DISCARD, -ret, NULL, NULL, done);
		part = e.len - (gpa + g->fast.offset + done - e.gpa);
		part = part < len - done ? part : len - done;
		if (madvise(ptr + done, part, MADV_REMOVE) < 0 &&
		    ((errno != EINVAL && errno != EACCES) ||
		     madvise(ptr + done, part, MADV_DONTNEED) < 0))
			return fail_done(g, OP_DISCARD, errno, NULL, NULL, done);
		guestmem_dirty_mark(g, gpa + done, part);
	}
	return 0;
}

int guestmem_mlock(struct guestmem *g, uint64_t gpa, uint64_t len, uint32_t flags)
{
	char *ptr = NULL;
	int ret;

	if (flags & ~GUESTMEM_MLOCK_ONFAULT)
		return fail(OP_MLOCK, EOPNOTSUPP, "there is a flag that is not known");
	ret = managed(g, OP_MLOCK, gpa, len, 0, &ptr);
	if (ret < 0 || !len)
		return ret;
	return mlock2(ptr, len, flags & GUESTMEM_MLOCK_ONFAULT ? MLOCK_ONFAULT : 0) < 0 ?
	       fail(OP_MLOCK, errno, NULL) : 0;
}

int guestmem_mlock_all(struct guestmem *g, uint32_t flags)
{
	struct guestmem_table_entry e;
	uint64_t at, start, first, len;
	int ret = handle_check(g, OP_MLOCK);

	if (!ret)
		ret = check(g, OP_MLOCK);
	if (ret < 0)
		return ret;
	start = g->fast.offset;
	/* Not by guestmem_next(): that there are no more is no failure here. */
	for (at = start; at >= start && at - start <= g->last; at = e.gpa + e.len) {
		if (space_next(g->space, at, &e))
			break;
		first = e.gpa > at ? e.gpa : at;
		if (first - start > g->last)
			break;
		len = e.len - (first - e.gpa);
		if (len - 1 > g->last - (first - start))
			len = g->last - (first - start) + 1;
		ret = guestmem_mlock(g, first - start, len, flags);
		if (ret < 0)
			break;
	}
	return ret;
}

int guestmem_munlock(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	char *ptr = NULL;
	int ret = managed(g, OP_MUNLOCK, gpa, len, 0, &ptr);

	if (ret < 0 || !len)
		return ret;
	return munlock(ptr, len) < 0 ? fail(OP_MUNLOCK, errno, NULL) : 0;
}

int guestmem_huge(struct guestmem *g, uint64_t gpa, uint64_t len, int on)
{
	return advise(g, OP_HUGE, gpa, len, 0, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

int guestmem_numa(struct guestmem *g, uint64_t gpa, uint64_t len, int mode,
		  const uint64_t *nodes, unsigned int nnodes)
{
	char *ptr = NULL;
	int ret = managed(g, OP_NUMA, gpa, len, 0, &ptr);

	if (ret < 0)
		return ret;
	if (!nodes && nnodes)
		return fail_null(OP_NUMA, "no nodes were given");
	if (!len)
		return 0;
	/* It takes one bit less than it is told. */
	return syscall(SYS_mbind, ptr, len, mode, nodes, nodes ? nnodes + 1UL : 0UL, 0) < 0 ?
	       fail(OP_NUMA, errno, NULL) : 0;
}

int guestmem_flush(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	uint64_t line = flush_line(), abs, at;
	struct guestmem_error e = { 0 };
	struct space *s;
	const char *ptr;
	uint8_t byte;
	int ret;

	ret = handle_range(g, OP_FLUSH, gpa, len, &abs);
	if (!ret)
		ret = right_check(g, OP_FLUSH, gpa, PROT_READ);
	if (ret < 0 || !len)
		return ret;
	s = g->space;
	if (in_window(s, abs, len) < len || recover_declined())
		return fail(OP_FLUSH, EOPNOTSUPP,
			    "it is not mapped in this process, or faults were declined");
	for (at = abs & ~(line - 1); at <= abs + (len - 1); at += line) {
		ptr = s->window + (at > abs ? at : abs);
		/* A CPU that is emulated may not fault for a flush, but does for a load. */
		if (((at <= abs || at % MIN_PAGE < line) && !try_load8(ptr, &byte)) ||
		    !try_flush(ptr)) {
			flush_barrier();
			e.reason = GUESTMEM_REASON_HOLE;
			e.addr = at > abs ? gpa + (at - abs) : gpa;
			return fail_done(g, OP_FLUSH, EFAULT, "there is no memory", &e,
					 e.addr - gpa);
		}
	}
	flush_barrier();
	return 0;
}
