// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * The last error of each thread: kept as figures when it happens, which costs a few
 * stores, and made into a sentence when somebody asks.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"

static _Thread_local struct last {
	int err;
	enum op op;
	const char *why;
	uint64_t done;
	struct guestmem_error e;
	bool iova;		/* addresses of the handle are IOVAs */
} last;

static _Thread_local unsigned int log_held;	/* how often */
static _Thread_local bool log_pending;

static _Thread_local char text[512];

static const char * const op_text[NR_OPS] = {
	[OP_OPEN]	= ("cannot open " GUESTMEM_DEVICE),
	[OP_FROM_FD]	= "cannot use the descriptor",
	[OP_CREATE]	= "cannot create the guest",
	[OP_FROM_OPS]	= "cannot make a guest of the callbacks",
	[OP_SUBRANGE]	= "cannot make the subrange",
	[OP_FAULTS]	= "cannot decide about faults",
	[OP_SYNCHRONIZE] = "cannot synchronize",
	[OP_FD]		= "cannot tell the descriptor",
	[OP_INFO]	= "cannot get information",
	[OP_EVENTFD]	= "cannot register the eventfd",
	[OP_ADD_USER]	= "cannot add the region",
	[OP_ADD_FILE]	= "cannot add the region",
	[OP_ADD_ANON]	= "cannot add the region",
	[OP_REMOVE]	= "cannot remove the region",
	[OP_REVOKE]	= "cannot revoke the region",
	[OP_REGIONS]	= "cannot list the regions",
	[OP_VIEW]	= "cannot make the view",
	[OP_VIEWS]	= "cannot list the views",
	[OP_LIMIT]	= "cannot take the rights away",
	[OP_DOMAIN]	= "cannot make the domain",
	[OP_DOMAIN_MAP]	= "cannot map in the domain",
	[OP_DOMAIN_UNMAP] = "cannot unmap in the domain",
	[OP_DOMAIN_LIST] = "cannot list the mappings",
	[OP_RECORDS]	= "cannot read the records",
	[OP_SESSION]	= "cannot make the session",
	[OP_EXPORT]	= "cannot export",
	[OP_RELEASE]	= "cannot release the export",
	[OP_MAPPER]	= "cannot make the mapper",
	[OP_MAPPER_MAP]	= "cannot map for the device",
	[OP_MAPPER_UNMAP] = "cannot unmap for the device",
	[OP_FIND]	= "cannot find the region",
	[OP_CHECK]	= "the range cannot be used",
	[OP_BACKING]	= "cannot tell the file",
	[OP_POINT]	= "cannot point to it",
	[OP_SLICE]	= "cannot make the slice",
	[OP_SUBSLICE]	= "cannot use the slice",
	[OP_TRANSLATE]	= "cannot translate",
	[OP_LOCK]	= "cannot lock",
	[OP_LOCK_PAGES]	= "cannot lock the pages",
	[OP_UNLOCK]	= "cannot unlock",
	[OP_HOLD]	= "cannot hold the range",
	[OP_IOVA]	= "cannot tell the I/O address",
	[OP_READ]	= "cannot read",
	[OP_WRITE]	= "cannot write",
	[OP_FILL]	= "cannot fill",
	[OP_COPY]	= "cannot copy",
	[OP_COMPARE]	= "cannot compare",
	[OP_READ_FROM]	= "cannot read from the file",
	[OP_WRITE_TO]	= "cannot write to the file",
	[OP_LOAD]	= "cannot load",
	[OP_STORE]	= "cannot store",
	[OP_CMPXCHG]	= "cannot compare and exchange",
	[OP_ATOMIC]	= "cannot do the atomic operation",
	[OP_PAGED]	= "cannot use the buffer of pages",
	[OP_DIRTY_START] = "cannot note what is written",
	[OP_DIRTY_STOP]	= "cannot stop noting what is written",
	[OP_DIRTY]	= "cannot tell what was written",
	[OP_MSYNC]	= "cannot write back",
	[OP_PREFETCH]	= "cannot prefetch",
	[OP_DROP]	= "cannot drop the pages",
	[OP_DISCARD]	= "cannot discard the pages",
	[OP_MLOCK]	= "cannot lock the pages into memory",
	[OP_MUNLOCK]	= "cannot unlock the pages",
	[OP_HUGE]	= "cannot say which pages to use",
	[OP_NUMA]	= "cannot bind to the nodes",
	[OP_FLUSH]	= "cannot flush",
	[OP_MAP]	= "cannot map",
	[OP_UNMAP]	= "cannot unmap",
};

/* Read without a lock, so never freed; see guestmem_set_log(). */
struct hook {
	void (*fn)(void *ctx, int err, const char *text);
	void *ctx;
	struct hook *older;
};

static struct hook *hook, *hooks;
static pthread_mutex_t hook_mutex = PTHREAD_MUTEX_INITIALIZER;

/* One that was used before is used again; without memory for a new one there is none. */
void guestmem_set_log(void (*fn)(void *ctx, int err, const char *text), void *ctx)
{
	struct hook *h = NULL;

	pthread_mutex_lock(&hook_mutex);
	for (h = hooks; fn && h && (h->fn != fn || h->ctx != ctx); h = h->older)
		;
	if (fn && !h) {
		h = malloc(sizeof(*h));
		if (h) {
			h->fn = fn;
			h->ctx = ctx;
			h->older = hooks;
			hooks = h;
		}
	}
	__atomic_store_n(&hook, fn ? h : NULL, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&hook_mutex);
}

static void tell_log(void)
{
	const struct hook *h = __atomic_load_n(&hook, __ATOMIC_ACQUIRE);

	log_pending = log_held;
	if (h && !log_held)
		h->fn(h->ctx, last.err, guestmem_strerror());
}

void log_hold(void)
{
	log_held++;
}

void log_release(void)
{
	int saved = errno;

	log_held--;
	if (log_pending)
		tell_log();
	errno = saved;
}

static int keep(enum op op, int err, const char *why, const struct guestmem_error *e,
		uint64_t done, bool iova)
{
	last.err = err;
	last.op = op;
	last.why = why;
	last.done = done;
	last.iova = iova;
	if (e)
		last.e = *e;
	else
		memset(&last.e, 0, sizeof(last.e));
	tell_log();
	errno = err;
	return -err;
}

int fail_done(const struct guestmem *g, enum op op, int err, const char *why,
	      const struct guestmem_error *e, uint64_t done)
{
	return keep(op, err, why, e, done, g && g->space->kind == KIND_SESSION);
}

/* Figures that are an address of the handle, and not a length or a count. */
static bool has_address(const struct guestmem_error *e)
{
	return e->reason == GUESTMEM_REASON_HOLE || e->reason == GUESTMEM_REASON_READONLY ||
	       e->reason == GUESTMEM_REASON_OVERLAP || e->reason == GUESTMEM_REASON_POISONED ||
	       e->reason == GUESTMEM_REASON_LOCKED || e->reason == GUESTMEM_REASON_NONE ||
	       e->reason == GUESTMEM_REASON_PERMISSION;
}

int fail_why(const struct guestmem *g, enum op op, int ret, const struct why *why,
	     uint64_t done)
{
	struct guestmem_error e = why->e;

	/* What is not in the handle may be below it: as numbers go around, that is fine. */
	if (has_address(&e) && e.addr)
		e.addr -= g->fast.offset;
	return keep(op, -ret, why->text, &e, done, g->space->kind == KIND_SESSION);
}

int why_text(struct why *why, int err, const char *text)
{
	why->text = text;
	return -err;
}

int why_reason(struct why *why, int err, uint32_t reason, uint64_t addr, uint64_t need,
	       uint64_t limit)
{
	why->text = NULL;
	why->e = (struct guestmem_error){
		.reason = reason,
		.addr = addr,
		.need = need,
		.limit = limit,
	};
	return -err;
}

const char *last_text(void)
{
	return last.why;
}

int fail(enum op op, int err, const char *why)
{
	return keep(op, err, why, NULL, 0, false);
}

int fail_reason(enum op op, int err, const struct guestmem_error *e)
{
	return keep(op, err, NULL, e, 0, false);
}

int fail_null(enum op op, const char *what)
{
	return fail(op, EINVAL, what);
}

int fail_wraps(enum op op, uint64_t gpa, uint64_t len)
{
	struct guestmem_error e = {
		.reason = GUESTMEM_REASON_WRAPS,
		.addr = gpa,
		.need = len,
		.limit = UINT64_MAX,
	};

	return fail_reason(op, EOVERFLOW, &e);
}

int guestmem_last_error(struct guestmem_error *err)
{
	if (err)
		*err = last.e;
	return -last.err;
}

uint64_t guestmem_last_done(void)
{
	return last.done;
}

struct out {
	char *pos;
	size_t left;
};

static void __attribute__((format(printf, 2, 3)))
put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->pos, o->left, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= o->left)
		n = (int)o->left - 1;
	o->pos += n;
	o->left -= (size_t)n;
}

/* "67108864 bytes (64 MiB)": exact, and short where that helps. */
static void put_bytes(struct out *o, uint64_t n)
{
	static const char * const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned int u = 0;
	double h = (double)n;

	while (h >= 1024 && u + 1 < sizeof(unit) / sizeof(unit[0])) {
		h /= 1024;
		u++;
	}
	put(o, "%llu byte%s", (unsigned long long)n, n == 1 ? "" : "s");
	if (u)
		put(o, " (%.4g %s)", h, unit[u]);
}

static void put_rights(struct out *o, uint64_t rights)
{
	static const char * const name[] = {
		"READ", "WRITE", "MAP", "LOCK", "TRANSLATE", "TRANSLATE_HPA", "MANAGE",
		"EXPORT",
	};
	const char *sep = "";

	if (!rights)
		put(o, "none");
	for (unsigned int i = 0; i < 64; i++) {
		if (!(rights >> i & 1))
			continue;
		if (i < sizeof(name) / sizeof(name[0]))
			put(o, "%s%s", sep, name[i]);
		else
			put(o, "%sbit %u", sep, i);
		sep = ", ";
	}
}

/* What an address in the figures of this operation is an address in. */
static const char *addr_name(void)
{
	switch (last.op) {
	case OP_ADD_USER:
		return "address";
	case OP_ADD_FILE:
		return "file offset";
	case OP_DOMAIN_MAP:
		return "address or file offset";
	default:
		return last.iova ? "IOVA" : "GPA";
	}
}

static bool is_add(void)
{
	return last.op == OP_ADD_USER || last.op == OP_ADD_FILE || last.op == OP_ADD_ANON;
}

static void put_limit(struct out *o)
{
	const char *what = "objects";

	if (is_add())
		what = "regions in the guest";
	else if (last.op == OP_LOCK || last.op == OP_LOCK_PAGES)
		what = "DMA locks of this file";
	else if (last.op == OP_EVENTFD)
		what = "eventfds of this file";
	else if (last.op == OP_VIEW || last.op == OP_DOMAIN || last.op == OP_SESSION)
		what = "views of the guest";
	else if (last.op == OP_DOMAIN_MAP)
		what = "mappings of the domain";
	else if (last.op == OP_DOMAIN_UNMAP)
		what = "faults of the domain that are not resolved";
	else if (last.op == OP_EXPORT)
		what = "exports of the session";
	put(o, "there would be %llu %s, the limit is %llu",
	    (unsigned long long)last.e.need, what, (unsigned long long)last.e.limit);
}

static void put_locked(struct out *o)
{
	unsigned long long n = last.e.need;
	const char *s = n == 1 ? "" : "s";

	if (last.err == ETIMEDOUT || last.err == EINTR)
		put(o, "%s, but %llu DMA lock%s %s not released %s: %s pages stay pinned until %s",
		    last.op == OP_LIMIT ? "they are taken away" : "it is revoked",
		    n, s, n == 1 ? "was" : "were",
		    last.err == EINTR ? "before the signal" : "in time",
		    last.op == OP_LIMIT && n > 1 ? "their" : "its",
		    n == 1 ? "it is" : "they are");
	else if (last.op == OP_DROP || last.op == OP_DISCARD)
		put(o, "%llu DMA lock%s hold%s pages, from GPA 0x%llx on: unmap them for the device, or unlock them, first",
		    n, s, n == 1 ? "s" : "", (unsigned long long)last.e.addr);
	else if (!n)
		put(o, "sessions use the region at GPA 0x%llx: unmap it in their domain, or revoke it",
		    (unsigned long long)last.e.addr);
	else
		put(o, "%llu DMA lock%s hold%s the region at GPA 0x%llx: wait, or revoke it",
		    n, s, n == 1 ? "s" : "", (unsigned long long)last.e.addr);
}

static void put_hole(struct out *o)
{
	unsigned long long addr = last.e.addr;

	if (last.op == OP_VIEW)
		put(o, "this file does not show GPA 0x%llx", addr);
	else if (last.op == OP_DOMAIN_MAP)
		put(o, "the file that the domain was made by does not show GPA 0x%llx", addr);
	else if (last.op == OP_EXPORT)
		put(o, "nothing is mapped at IOVA 0x%llx, or there is no region", addr);
	else if (last.iova)
		put(o, "nothing is exported at IOVA 0x%llx", addr);
	else
		put(o, "there is no region at GPA 0x%llx", addr);
}

static void put_overlap(struct out *o)
{
	unsigned long long addr = last.e.addr;

	if (is_add())
		put(o, "the range at GPA 0x%llx overlaps region %llu", addr,
		    (unsigned long long)last.e.need);
	else if (last.op == OP_DOMAIN_MAP || last.op == OP_MAPPER_MAP)
		put(o, "the range at IOVA 0x%llx overlaps another mapping", addr);
	else
		put(o, "source and destination overlap at %s 0x%llx", addr_name(), addr);
}

/* The first address of an aperture is even, the last one odd. */
static void put_aperture(struct out *o)
{
	put(o, "0x%llx to 0x%llx is not all in what can be mapped, which %s at 0x%llx",
	    (unsigned long long)last.e.addr,
	    (unsigned long long)(last.e.addr + (last.e.need - 1)),
	    last.e.limit & 1 ? "ends" : "begins", (unsigned long long)last.e.limit);
}

static void put_used(struct out *o)
{
	unsigned long long n = last.e.need;

	put(o, "it is unmapped, but %llu export%s or DMA lock%s %s not released %s", n,
	    n == 1 ? "" : "s", n == 1 ? "" : "s", n == 1 ? "was" : "were",
	    last.err == EINTR ? "before the signal" : "in time");
}

static void put_right(struct out *o)
{
	if (last.err == EPERM && (last.e.need & GUESTMEM_RIGHT_TRANSLATE_HPA)) {
		put(o, "host-physical addresses are only for a file opened with CAP_SYS_ADMIN");
		return;
	}
	put(o, "the file lacks the right ");
	put_rights(o, last.e.need & ~last.e.limit);
	put(o, " (it has ");
	put_rights(o, last.e.limit);
	put(o, ")");
}

/* Returns false if the reason says nothing that errno does not. */
static bool put_reason(struct out *o)
{
	unsigned long long addr = last.e.addr;
	unsigned long long need = last.e.need;
	unsigned long long limit = last.e.limit;

	switch (last.e.reason) {
	case GUESTMEM_REASON_NONE:
		return false;
	case GUESTMEM_REASON_WRAPS:
		put(o, "the range of ");
		put_bytes(o, need);
		put(o, " from 0x%llx ends after 0x%llx, the last address", addr, limit);
		break;
	case GUESTMEM_REASON_MISALIGNED:
		put(o, "0x%llx is not a multiple of %llu", addr, need);
		break;
	case GUESTMEM_REASON_EMPTY:
		put(o, "%s is empty",
		    last.op == OP_LOCK_PAGES ? "the list of pages" : "the range");
		break;
	case GUESTMEM_REASON_TOO_LONG:
		if (is_add()) {
			put_bytes(o, need);
			put(o, " are too many, the most is ");
			put_bytes(o, limit);
		} else {
			put(o, "%llu are too many, the most is %llu", need, limit);
		}
		break;
	case GUESTMEM_REASON_HOLE:
		put_hole(o);
		break;
	case GUESTMEM_REASON_OVERLAP:
		put_overlap(o);
		break;
	case GUESTMEM_REASON_READONLY:
		if (last.op == OP_ADD_FILE)
			put(o, "the file is not open for reading and writing: open it so, or for reading and add a read-only region");
		else if (is_add())
			put(o, "the memory is read-only: add it as a read-only region");
		else if (last.op == OP_DOMAIN_MAP)
			put(o, "the memory is read-only: map it for reading only");
		else
			put(o, "the region at %s 0x%llx is read-only", addr_name(), addr);
		break;
	case GUESTMEM_REASON_RIGHT:
		if (last.err == EINVAL && (last.op == OP_DOMAIN_MAP || last.op == OP_EXPORT))
			put(o, "the rights are not READ, WRITE, or both");
		else if (last.err == EINVAL)
			put(o, "a %s without any right is of no use",
			    last.op == OP_DOMAIN ? "domain" :
			    last.op == OP_SESSION ? "session" : "view");
		else
			put_right(o);
		break;
	case GUESTMEM_REASON_MEMLOCK:
		put_bytes(o, need);
		put(o, " would be locked, the limit (RLIMIT_MEMLOCK) is ");
		put_bytes(o, limit);
		put(o, ": raise it (ulimit -l, LimitMEMLOCK=) or give CAP_IPC_LOCK");
		break;
	case GUESTMEM_REASON_LIMIT:
		put_limit(o);
		break;
	case GUESTMEM_REASON_UNMAPPED:
		put(o, "there is no accessible memory at %s 0x%llx", addr_name(), addr);
		break;
	case GUESTMEM_REASON_END_OF_FILE:
		put(o, "the file must have ");
		put_bytes(o, need);
		put(o, ", it has ");
		put_bytes(o, limit);
		put(o, ": make it longer (ftruncate)");
		break;
	case GUESTMEM_REASON_DEVICE_MEMORY:
		put(o, "at %s 0x%llx is device memory, or other memory that cannot be pinned",
		    addr_name(), addr);
		break;
	case GUESTMEM_REASON_WRITEBACK:
		put(o, "at %s 0x%llx is a shared file of a file system with writeback: use a memfd, tmpfs or hugetlbfs",
		    addr_name(), addr);
		break;
	case GUESTMEM_REASON_FILE_TYPE:
		put(o, "the file is not of tmpfs (memfd) or hugetlbfs");
		break;
	case GUESTMEM_REASON_PRIVATE_READONLY:
		put(o, "at %s 0x%llx is a private read-only mapping, which this kernel cannot pin: map it writable or shared",
		    addr_name(), addr);
		break;
	case GUESTMEM_REASON_LOCKED:
		put_locked(o);
		break;
	case GUESTMEM_REASON_POISONED:
		put(o, "the page of %s 0x%llx has a hardware error", addr_name(), addr);
		break;
	case GUESTMEM_REASON_OUTPUT:
		put(o, "the array needs %llu entries, it has %llu", need, limit);
		break;
	case GUESTMEM_REASON_PARTIAL:
		put(o, "only a part of the mapping of ");
		put_bytes(o, need);
		put(o, " at IOVA 0x%llx is in the range: unmap all of it, or nothing", addr);
		break;
	case GUESTMEM_REASON_APERTURE:
		put_aperture(o);
		break;
	case GUESTMEM_REASON_PERMISSION:
		put(o, "the mapping at IOVA 0x%llx does not allow ", addr);
		put_rights(o, need & ~limit);
		break;
	case GUESTMEM_REASON_BROKEN:
		put(o, "something that the session had exported was unmapped: release all, then export anew");
		break;
	case GUESTMEM_REASON_USED:
		put_used(o);
		break;
	case GUESTMEM_REASON_REVOKED:
		put(o, "the file was revoked by who gave it: ask for another one");
		break;
	default:
		put(o, "%s (reason %u, address 0x%llx, need %llu, limit %llu: the module is newer than this library)",
		    strerror(last.err), last.e.reason, addr, need, limit);
	}
	return true;
}

static void put_open_denied(struct out *o)
{
	struct stat st;

	if (stat(GUESTMEM_DEVICE, &st) == 0 && st.st_gid == 0)
		put(o, "it is for root only: install guestmem's udev rule, which gives it to the group kvm, or run as root");
	else
		put(o, "it is for root and its group (kvm): join it (adduser USER kvm, then log in again) or run as root");
}

/* What errno alone means here, where strerror() would mislead. */
static bool put_errno(struct out *o)
{
	switch (last.err) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		if (last.op == OP_OPEN)
			put(o, "the module is not loaded (modprobe guestmem)");
		else if (last.op == OP_REMOVE || last.op == OP_REVOKE)
			put(o, "there is no such region");
		else if (last.op == OP_LIMIT)
			put(o, "there is no such view, or it was not made by this file");
		else if (last.op == OP_UNLOCK)
			put(o, "this file has no such lock");
		else if (last.op == OP_RELEASE)
			put(o, "the session has no such export, or it was ended by force");
		else if (last.op == OP_EVENTFD)
			put(o, "it was not registered");
		else
			return false;
		return true;
	case EACCES:
	case EPERM:
		if (last.op == OP_OPEN)
			put_open_denied(o);
		else if (last.op == OP_ADD_FILE)
			put(o, "the file does not allow what the region needs (writing, unless it is read-only)");
		else
			return false;
		return true;
	case ENOTTY:
		put(o, "the module does not know this operation, it is older than this library");
		return true;
	case E2BIG:
		put(o, "the module does not know all of the arguments, it is older than this library");
		return true;
	case EHWPOISON:
		put(o, "the memory has a hardware error");
		return true;
	case EINTR:
		put(o, "a signal came");
		return true;
	default:
		return false;
	}
}

const char *guestmem_strerror(void)
{
	struct out o = { .pos = text, .left = sizeof(text) };
	int saved = errno;

	if (!last.err)
		return "no error";
	put(&o, "%s: ", op_text[last.op]);
	if (last.why)
		put(&o, "%s", last.why);
	else if (!put_reason(&o) && !put_errno(&o))
		put(&o, "%s", strerror(last.err));
	errno = saved;
	return text;
}

const char *guestmem_version(void)
{
	return GUESTMEM_VERSION_STRING;
}
