/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The ABI of /dev/guestmem_kapi: one call of a function of module/guestmem.h, with
 * its arguments, and what it returned.
 */
#ifndef _GUESTMEM_KAPI_H
#define _GUESTMEM_KAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GUESTMEM_KAPI_READ	1
#define GUESTMEM_KAPI_WRITE	2
#define GUESTMEM_KAPI_FILL	3
#define GUESTMEM_KAPI_CMPXCHG	4
#define GUESTMEM_KAPI_SG	5

#define GUESTMEM_KAPI_BUF_LEN	8192

/**
 * struct guestmem_kapi - ioctl(GUESTMEM_KAPI)
 * @fd: descriptor of /dev/guestmem
 * @op: GUESTMEM_KAPI_*
 * @gpa: first address
 * @len: bytes; of CMPXCHG the width; at most GUESTMEM_KAPI_BUF_LEN but for FILL
 *	and SG
 * @buf: pointer to the bytes read or written; of CMPXCHG first @old, then @new
 * @value: of FILL the byte; of SG the longest segment, [out] entries of the list
 * @rc: [out] what the function returned; of SG the total length is checked too
 */
struct guestmem_kapi {
	__s32 fd;
	__u32 op;
	__aligned_u64 gpa;
	__aligned_u64 len;
	__aligned_u64 buf;
	__u32 value;
	__s32 rc;
};

#define GUESTMEM_KAPI		_IOWR(0xBE, 0x00, struct guestmem_kapi)

#endif /* _GUESTMEM_KAPI_H */
