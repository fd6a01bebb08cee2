/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of files that show a part of a guest share: of views, and of domains.
 */
#ifndef _VIEW_H
#define _VIEW_H

#include "guestmem_test.h"
#include "modules/guestmem_kapi.h"

#define READ		GUESTMEM_RIGHT_READ
#define WRITE		GUESTMEM_RIGHT_WRITE
#define MAP		GUESTMEM_RIGHT_MAP
#define LOCK		GUESTMEM_RIGHT_LOCK
#define TRANSLATE	GUESTMEM_RIGHT_TRANSLATE
#define EXPORT		GUESTMEM_RIGHT_EXPORT
#define RW		(READ | WRITE)

#define FIRST		GM_GPA			/* 16 pages */
#define SECOND		(FIRST + 16 * PG)	/* 8 pages, next to it, read-only */
#define HOLE		(SECOND + 8 * PG)	/* 4 pages */
#define THIRD		(HOLE + 4 * PG)		/* 4 pages */
#define TOTAL		(32 * PG)

/* @mem has at offset i what is at FIRST + i. */
static inline void set_up_regions(struct __test_metadata *_metadata, struct gm_guest *guest,
				  struct gm_mem *mem, __u32 id[3])
{
	gm_guest_setup(_metadata, guest);
	ASSERT_EQ(0, gm_mem_alloc(mem, GM_MEMFD, TOTAL));
	ASSERT_EQ(0, gm_mem_add(guest->fd, mem, FIRST, 0, 16 * PG, 0, &id[0]));
	ASSERT_EQ(0, gm_mem_add(guest->fd, mem, SECOND, 16 * PG, 8 * PG,
				GUESTMEM_REGION_READONLY, &id[1]));
	ASSERT_EQ(0, gm_mem_add(guest->fd, mem, THIRD, 28 * PG, 4 * PG, 0, &id[2]));
}

/* Of reads(): so many bytes more, and there was an end. */
#define SHORT		1000

static inline int reads(int fd, __u64 address, size_t at, size_t len)
{
	unsigned char buf[16384];
	ssize_t n = pread(fd, buf, len, (off_t)address);

	if (n < 0)
		return -errno;
	return n == (ssize_t)len ? gm_pattern_cmp(buf, at, len) : SHORT + (int)n;
}

static inline int writes(int fd, __u64 address, unsigned char value)
{
	return pwrite(fd, &value, 1, (off_t)address) < 0 ? -errno : 0;
}

static inline int locks(int fd, __u64 address, __u64 len, __u32 direction, __u32 *handle)
{
	struct guestmem_lock lock;
	int ret = gm_lock(fd, &lock, .gpa = address, .len = len, .direction = direction);

	if (handle)
		*handle = lock.handle;
	return ret;
}

static inline int kapi(int guest, __u32 op, __u64 gpa, __u64 len, void *buf, __u32 value)
{
	int fd = open("/dev/guestmem_kapi", O_RDWR | O_CLOEXEC);
	struct guestmem_kapi arg = {
		.fd = guest, .op = op, .gpa = gpa, .len = len, .buf = (uintptr_t)buf,
		.value = value,
	};
	int rc = fd < 0 ? -errno : gm_ioctl(fd, GUESTMEM_KAPI, &arg);

	close(fd);
	return rc ? rc - 1000 : arg.rc;
}

#endif /* _VIEW_H */
