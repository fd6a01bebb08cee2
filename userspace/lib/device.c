// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * The backend of an open /dev/guestmem: of a guest, a view or a session; and of a domain,
 * which has no memory of its own.
 *
 * The window is a mapping of the guest file, made when the handle is: the kernel puts
 * into it what there is, and takes out what is removed. The table is the kernel's. If
 * there can be no window (no right to map, no such range of addresses, faults declined,
 * a child of fork(2)), or an access to it fails, a system call does it and knows why.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"
#include "recover.h"

/* read(2) and write(2) move less than 2 GiB at a time; a round number of pages. */
#define MAX_CHUNK	((size_t)1 << 30)

#define WINDOW_MIN	((uint64_t)1 << 30)

static void device_destroy(struct space *s)
{
	close(s->fd);
}

static int device_fault(struct space *s, const struct guestmem_fault *fault, struct why *why)
{
	(void)s;
	(void)fault;
	(void)why;
	return GUESTMEM_FAULT_FALLBACK;
}

/* They may have become fewer. */
static uint32_t rights_now(const struct space *s)
{
	struct guestmem_info info = { .size = sizeof(info) };

	return ioctl(s->fd, GUESTMEM_INFO, &info) < 0 ? s->rights : info.rights;
}

/* Why byte @at could not be moved; pread(2) and pwrite(2) say it by errno only. */
static int explain(const struct space *s, bool write, int err, uint64_t at, struct why *why)
{
	uint32_t right = write ? GUESTMEM_RIGHT_WRITE : GUESTMEM_RIGHT_READ;
	uint32_t rights;

	why->e.addr = at;
	switch (err) {
	case EBADF:	/* how the kernel says that a file is not open for this */
	case EACCES:
		rights = rights_now(s);
		if (s->kind == KIND_SESSION && (rights & right))
			return why_reason(why, EACCES, GUESTMEM_REASON_PERMISSION, at, right, 0);
		if (write && (rights & right))
			return why_reason(why, EACCES, GUESTMEM_REASON_READONLY, at, 0, 0);
		return why_reason(why, EACCES, GUESTMEM_REASON_RIGHT, at, right, rights);
	case ESTALE:
		if (rights_now(s))
			return why_reason(why, err, GUESTMEM_REASON_BROKEN, 0, 0, 0);
		return why_reason(why, err, GUESTMEM_REASON_REVOKED, 0, right, 0);
	case ENXIO:
		return why_reason(why, err, GUESTMEM_REASON_HOLE, at, 0, 0);
	case EHWPOISON:
		return why_reason(why, err, GUESTMEM_REASON_POISONED, at, 0, 0);
	case EFAULT:
		return why_text(why, err, "the buffer is not accessible");
	case EOPNOTSUPP:
		return why_text(why, err,
				"it reaches 2^63 - 1 or above, which file offsets cannot");
	}
	return -err;
}

/* Move as much as there is, until the first byte that fails. */
static int transfer(struct space *s, bool write, uint64_t gpa, char *buf, uint64_t len,
		    uint64_t *done, struct why *why)
{
	uint64_t at, left;
	size_t chunk;
	ssize_t n;

	for (at = gpa; len; at += (uint64_t)n, buf += n, len -= (uint64_t)n) {
		if (at >= INT64_MAX)
			return explain(s, write, EOPNOTSUPP, at, why);
		left = INT64_MAX - at;
		chunk = len < MAX_CHUNK ? (size_t)len : MAX_CHUNK;
		if (chunk > left)
			chunk = (size_t)left;
		do {
			n = write ? pwrite(s->fd, buf, chunk, (off_t)at) :
				    pread(s->fd, buf, chunk, (off_t)at);
		} while (n < 0 && errno == EINTR);
		if (n <= 0)	/* 0: nothing there, nor above */
			return explain(s, write, n < 0 ? errno : ENXIO, at, why);
		*done += (uint64_t)n;
	}
	return 0;
}

static int device_read(struct space *s, uint64_t gpa, void *buf, size_t len, uint64_t *done,
		       struct why *why)
{
	return transfer(s, false, gpa, buf, len, done, why);
}

static int device_write(struct space *s, uint64_t gpa, const void *buf, size_t len,
			uint64_t *done, struct why *why)
{
	return transfer(s, true, gpa, (char *)buf, len, done, why);
}

int device_ioctl(const struct space *s, unsigned long request, void *arg,
		 const struct guestmem_error *e, struct why *why)
{
	/*
	 * No retry on EINTR: the kernel gives it for a fatal signal only, and for a
	 * revoke that is done already.
	 */
	if (ioctl(s->fd, request, arg) < 0) {
		if (e)
			why->e = *e;
		return -errno;
	}
	return 0;
}

static int device_fill(struct space *s, uint64_t gpa, uint8_t value, uint64_t len,
		       uint64_t *done, struct why *why)
{
	struct guestmem_fill arg = {
		.size = sizeof(arg),
		.gpa = gpa,
		.len = len,
		.value = value,
	};
	int ret = device_ioctl(s, GUESTMEM_FILL, &arg, &arg.err, why);

	*done += ret < 0 ? arg.done : len;
	return ret;
}

static int device_copy(struct space *s, uint64_t dst, uint64_t src, uint64_t len,
		       uint64_t *done, struct why *why)
{
	struct guestmem_copy arg = {
		.size = sizeof(arg),
		.dst = dst,
		.src = src,
		.len = len,
	};
	int ret = device_ioctl(s, GUESTMEM_COPY, &arg, &arg.err, why);

	*done += ret < 0 ? arg.done : len;
	return ret;
}

static int device_atomic(struct space *s, uint64_t gpa, uint32_t op, size_t width,
			 const uint64_t operand[2], const uint64_t compare[2],
			 uint64_t old[2], struct why *why)
{
	struct guestmem_atomic arg = {
		.size = sizeof(arg),
		.op = op,
		.width = (uint32_t)width,
		.gpa = gpa,
		.operand = { operand[0], operand[1] },
		.compare = { compare[0], compare[1] },
	};
	int ret = device_ioctl(s, GUESTMEM_ATOMIC, &arg, &arg.err, why);

	old[0] = arg.old[0];
	old[1] = arg.old[1];
	return ret;
}

static int device_info(struct space *s, struct guestmem_info *info, struct why *why)
{
	return device_ioctl(s, GUESTMEM_INFO, info, NULL, why);
}

static int device_eventfd(struct space *s, int fd, uint32_t events, struct why *why)
{
	struct guestmem_eventfd arg = {
		.size = sizeof(arg),
		.fd = fd,
		.events = events,
	};

	return device_ioctl(s, GUESTMEM_EVENTFD, &arg, NULL, why);
}

static int device_add(struct space *s, enum op op, struct guestmem_region_add *arg,
		      struct why *why)
{
	if (op == OP_ADD_ANON)
		return why_text(why, EOPNOTSUPP,
				"the kernel takes memory that there is: guestmem_add_user() or guestmem_add_file()");
	return device_ioctl(s, GUESTMEM_REGION_ADD, arg, &arg->err, why);
}

static int device_remove(struct space *s, struct guestmem_region_remove *arg, struct why *why)
{
	return device_ioctl(s, GUESTMEM_REGION_REMOVE, arg, &arg->err, why);
}

/*
 * What @request, a REGION_LIST or a VIEW_LIST, tells: two ioctls with one layout. Again,
 * as long as there are more than there was room for.
 */
static int list(const struct space *s, unsigned long request, uint32_t entry_size, void **entries,
		size_t *n, struct why *why)
{
	struct guestmem_region_list arg;
	void *array = NULL, *bigger;
	uint32_t capacity = 16;
	int ret;

	_Static_assert(sizeof(struct guestmem_view_list) == sizeof(arg), "another layout");
	for (;;) {
		bigger = realloc(array, (size_t)capacity * entry_size);
		if (!bigger) {
			free(array);
			return -ENOMEM;
		}
		array = bigger;
		arg = (struct guestmem_region_list){
			.size = sizeof(arg),
			.entries = to_u64(array),
			.entry_size = entry_size,
			.nentries = capacity,
		};
		ret = device_ioctl(s, request, &arg, &arg.err, why);
		if (ret != -EMSGSIZE)
			break;
		if (arg.nentries <= capacity || arg.nentries > UINT32_MAX / 2)
			break;
		capacity = arg.nentries + arg.nentries / 8;
	}
	if (ret < 0) {
		free(array);
		return ret;
	}
	*entries = array;
	*n = arg.nentries;
	return 0;
}

static int device_list(struct space *s, struct guestmem_region **regions, size_t *n,
		       struct why *why)
{
	void *array = NULL;
	int ret = list(s, GUESTMEM_REGION_LIST, sizeof(**regions), &array, n, why);

	if (!ret)
		*regions = array;
	return ret;
}

static int device_view_create(struct space *s, struct guestmem_view_create *arg, struct why *why)
{
	return device_ioctl(s, GUESTMEM_VIEW_CREATE, arg, &arg->err, why);
}

static int device_view_list(struct space *s, struct guestmem_view **views, size_t *n,
			    struct why *why)
{
	void *array = NULL;
	int ret = list(s, GUESTMEM_VIEW_LIST, sizeof(**views), &array, n, why);

	if (!ret)
		*views = array;
	return ret;
}

static int device_view_limit(struct space *s, struct guestmem_view_limit *arg, struct why *why)
{
	return device_ioctl(s, GUESTMEM_VIEW_LIMIT, arg, &arg->err, why);
}

static int device_translate(struct space *s, struct guestmem_translate *arg, struct why *why)
{
	return device_ioctl(s, GUESTMEM_TRANSLATE, arg, &arg->err, why);
}

static int device_lock(struct space *s, struct guestmem_lock *arg, struct why *why)
{
	return device_ioctl(s, GUESTMEM_LOCK, arg, &arg->err, why);
}

static int device_unlock(struct space *s, uint32_t handle, struct why *why)
{
	struct guestmem_unlock arg = {
		.size = sizeof(arg),
		.handle = handle,
	};

	return device_ioctl(s, GUESTMEM_UNLOCK, &arg, NULL, why);
}

static int device_hold(struct space *s, uint32_t rights, uint64_t gpa, uint64_t len,
		       struct guestmem_hold *hold, struct why *why)
{
	struct guestmem_table_entry e;
	struct guestmem_lock arg = {
		.size = sizeof(arg),
		.gpa = gpa,
		.len = len,
	};
	int ret = space_find(s, gpa, &e);

	/* If the region goes now, the lock fails, or is of what is there instead. */
	if (ret == -ENXIO || (!ret && len > e.len - (gpa - e.gpa)))
		return why_reason(why, ENXIO, GUESTMEM_REASON_HOLE,
				  ret ? gpa : e.gpa + e.len, 0, 0);
	if (ret < 0)
		return ret;
	if (rights & GUESTMEM_RIGHT_READ)
		arg.direction |= GUESTMEM_DMA_TO_DEVICE;
	/* Who may only write, and cannot, is told so. */
	if ((rights & GUESTMEM_RIGHT_WRITE) &&
	    (!arg.direction || !(e.flags & GUESTMEM_REGION_READONLY)))
		arg.direction |= GUESTMEM_DMA_FROM_DEVICE;
	ret = device_lock(s, &arg, why);
	hold->handle = arg.handle;
	return ret;
}

static void device_unhold(struct space *s, uint32_t handle)
{
	struct why why;

	device_unlock(s, handle, &why);
}

static int device_backing(struct space *s, uint64_t gpa, int *fd, uint64_t *offset,
			  uint64_t *len, struct why *why)
{
	struct guestmem_table_entry e;
	int ret = space_find(s, gpa, &e);

	if (ret == -ENXIO)
		return why_reason(why, ENXIO, GUESTMEM_REASON_HOLE, gpa, 0, 0);
	if (ret < 0)
		return ret;
	*fd = s->fd;
	*offset = gpa;
	*len = e.len - (gpa - e.gpa);
	return 0;
}

static const struct backend device_backend = {
	.destroy = device_destroy,
	.fault = device_fault,
	.read = device_read,
	.write = device_write,
	.fill = device_fill,
	.copy = device_copy,
	.atomic = device_atomic,
	.info = device_info,
	.eventfd = device_eventfd,
	.add = device_add,
	.remove = device_remove,
	.list = device_list,
	.view_create = device_view_create,
	.view_list = device_view_list,
	.view_limit = device_view_limit,
	.translate = device_translate,
	.lock = device_lock,
	.unlock = device_unlock,
	.hold = device_hold,
	.unhold = device_unhold,
	.backing = device_backing,
};

/* A session has no regions to list or to look up: see guestmem_session_export(). */
static int session_list(struct space *s, struct guestmem_region **regions, size_t *n,
			struct why *why)
{
	(void)s;
	(void)regions;
	(void)n;
	return why_text(why, EOPNOTSUPP, "a session shows no regions");
}

static const struct backend session_backend = {
	.destroy = device_destroy,
	.fault = device_fault,
	.read = device_read,
	.write = device_write,
	.fill = device_fill,
	.copy = device_copy,
	.atomic = device_atomic,
	.info = device_info,
	.eventfd = device_eventfd,
	.list = session_list,
	.view_create = device_view_create,
	.view_list = device_view_list,
	.view_limit = device_view_limit,
	.translate = device_translate,
	.lock = device_lock,
	.unlock = device_unlock,
};

static int domain_fault(struct space *s, const struct guestmem_fault *fault, struct why *why)
{
	(void)s;
	(void)fault;
	return why_text(why, EOPNOTSUPP, NO_MEMORY);
}

static const struct backend domain_backend = {
	.destroy = device_destroy,
	.fault = domain_fault,
	.info = device_info,
	.eventfd = device_eventfd,
	.view_create = device_view_create,
	.view_list = device_view_list,
	.view_limit = device_view_limit,
};

static char *map_guest(int fd, uint64_t len, int prot)
{
	char *p = window_reserve(len);

	if (p && mmap(p, len, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(p, len);
		return NULL;
	}
	return p;
}

/* As much as can be had of it: all of this is only to be faster. */
static void map_window(struct space *s, const struct guestmem_info *info)
{
	int prot = (s->rights & GUESTMEM_RIGHT_READ ? PROT_READ : 0) |
		   (s->rights & GUESTMEM_RIGHT_WRITE ? PROT_WRITE : 0);
	uint64_t len = WINDOW_DEFAULT;
	void *table;

	table = mmap(NULL, info->table_len, PROT_READ, MAP_SHARED, s->fd,
		     (off_t)GUESTMEM_MMAP_TABLE);
	if (table != MAP_FAILED) {
		s->table = table;
		s->table_len = info->table_len;
	}
	/* A mapping for writing can be read on x86: the kernel refuses it, and so do we. */
	if (!(s->rights & GUESTMEM_RIGHT_MAP) || !(prot & PROT_READ) || recover_declined())
		return;
	while (len - 1 < info->last && len < WINDOW_MAX)
		len *= 2;
	for (; !s->window && len >= WINDOW_MIN; len /= 2) {
		s->window = map_guest(s->fd, len, prot);
		s->window_len = len;
	}
	if (!s->window) {
		s->window_len = 0;
		return;
	}
	s->owns_window = true;
	madvise(s->window, s->window_len, MADV_DONTDUMP);
	window_keep_in_child(s);
	slots_create(s);
	slots_refresh(s);
}

struct guestmem *device_handle(int fd, enum op op)
{
	static const struct backend * const backends[] = {
		[KIND_GUEST] = &device_backend,
		[KIND_DOMAIN] = &domain_backend,
		[KIND_SESSION] = &session_backend,
	};
	struct guestmem_info info = { .size = sizeof(info) };
	enum file_kind kind;
	struct space *s;
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
	err = -recover_start();
	if (err)
		goto close;
	kind = !info.domain ? KIND_GUEST : info.domain == info.view ? KIND_DOMAIN : KIND_SESSION;
	s = space_new(backends[kind]);
	if (!s) {
		err = ENOMEM;
		goto close;
	}
	s->fd = fd;
	s->kind = kind;
	s->rights = info.rights;
	if (kind != KIND_DOMAIN)
		map_window(s, &info);
	return handle_new(s, op);

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
	return device_handle(fd, OP_OPEN);
}

struct guestmem *guestmem_from_fd(int fd)
{
	/* Not 0 to 2: a program that closed those must not print into a guest. */
	int dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (dup < 0) {
		fail(OP_FROM_FD, errno, errno == EBADF ? "it is not open" : NULL);
		return NULL;
	}
	return device_handle(dup, OP_FROM_FD);
}
