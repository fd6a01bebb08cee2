/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The ABI of /dev/guestmem_edu: QEMU's edu device moves data between its own
 * buffer and a guest's memory.
 *
 * Plain _IOWR structs without a size: driver and tests are built from one tree, so
 * this ABI has no versions. Reserved fields must be 0 (EOPNOTSUPP).
 *
 * An open file uses one guest, given to it by ATTACH. All that it mapped ends when
 * it is closed. Beside the errnos of <linux/guestmem.h>, which have the same meaning
 * here:
 *
 *	ENOTCONN	no ATTACH yet
 *	EISCONN		a second ATTACH
 *	ESTALE		the memory was revoked
 *	ENODEV		the device was removed
 *	EIO		the device does not work
 *	EINTR		a signal came; what was done is told
 */
#ifndef _GUESTMEM_EDU_H
#define _GUESTMEM_EDU_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Usable bytes of the device's buffer. It has one more, but QEMU (7.2) aborts on
 * a transfer that ends there.
 */
#define GUESTMEM_EDU_BUFFER_LEN	4095

/* Bytes that the device moves in one go, which takes it 100 ms. */
#define GUESTMEM_EDU_PIECE_LEN	2048

/**
 * struct guestmem_edu_attach - ioctl(GUESTMEM_EDU_ATTACH): which guest to use
 * @fd: descriptor of /dev/guestmem, with GUESTMEM_RIGHT_LOCK; it can be closed
 *	afterwards
 * @reserved: must be 0
 */
struct guestmem_edu_attach {
	__s32 fd;
	__u32 reserved;
};

/**
 * struct guestmem_edu_xfer - ioctl(GUESTMEM_EDU_XFER): move data
 * @gpa: address in the guest; any alignment
 * @len: bytes; not 0
 * @offset: in the device's buffer; @offset + @len is at most
 *	GUESTMEM_EDU_BUFFER_LEN (else EINVAL)
 * @direction: GUESTMEM_DMA_TO_DEVICE or GUESTMEM_DMA_FROM_DEVICE
 * @map: 0: map the memory for just this transfer; else a mapping by MAP that has
 *	the range and the direction (else EINVAL)
 * @done: [out] bytes moved, from the start; also on errors
 * @reserved: must be 0
 */
struct guestmem_edu_xfer {
	__aligned_u64 gpa;
	__u32 len;
	__u32 offset;
	__u32 direction;
	__u32 map;
	__u32 done;
	__u32 reserved;
};

/**
 * struct guestmem_edu_map - ioctl(GUESTMEM_EDU_MAP): keep memory mapped for the
 * device until UNMAP, close or revoke
 * @gpa: first address; any alignment
 * @len: bytes; not 0
 * @direction: GUESTMEM_DMA_*
 * @map: [out] for XFER and UNMAP
 * @iova: [out] where the device finds @gpa
 * @iova_len: [out] bytes that lie there without a gap
 * @nsegments: [out] pieces that the mapping has in the device's address space
 * @reserved: must be 0
 */
struct guestmem_edu_map {
	__aligned_u64 gpa;
	__aligned_u64 len;
	__u32 direction;
	__u32 map;
	__aligned_u64 iova;
	__aligned_u64 iova_len;
	__u32 nsegments;
	__u32 reserved;
};

/**
 * struct guestmem_edu_unmap - ioctl(GUESTMEM_EDU_UNMAP): end a mapping
 * @map: by MAP; also one that was revoked (else ENOENT)
 * @reserved: must be 0
 */
struct guestmem_edu_unmap {
	__u32 map;
	__u32 reserved;
};

/**
 * struct guestmem_edu_raw - ioctl(GUESTMEM_EDU_RAW): DMA to any address, whether it
 * is mapped or not
 * @iova: address as the device sees it
 * @len: bytes; 1 to GUESTMEM_EDU_PIECE_LEN
 * @offset: in the device's buffer
 * @direction: GUESTMEM_DMA_TO_DEVICE or GUESTMEM_DMA_FROM_DEVICE
 * @reserved: must be 0
 *
 * For tests that show what the IOMMU blocks, and for nothing else: without an IOMMU
 * it can overwrite any memory. Needs CAP_SYS_RAWIO and the module parameter
 * allow_raw (EPERM). The device does not tell whether its DMA was blocked.
 */
struct guestmem_edu_raw {
	__aligned_u64 iova;
	__u32 len;
	__u32 offset;
	__u32 direction;
	__u32 reserved;
};

#define GUESTMEM_EDU_IOC_TYPE	0xBD

#define GUESTMEM_EDU_ATTACH	_IOW(GUESTMEM_EDU_IOC_TYPE, 0x00, struct guestmem_edu_attach)
#define GUESTMEM_EDU_XFER	_IOWR(GUESTMEM_EDU_IOC_TYPE, 0x01, struct guestmem_edu_xfer)
#define GUESTMEM_EDU_MAP	_IOWR(GUESTMEM_EDU_IOC_TYPE, 0x02, struct guestmem_edu_map)
#define GUESTMEM_EDU_UNMAP	_IOW(GUESTMEM_EDU_IOC_TYPE, 0x03, struct guestmem_edu_unmap)
#define GUESTMEM_EDU_RAW	_IOW(GUESTMEM_EDU_IOC_TYPE, 0x04, struct guestmem_edu_raw)

#endif /* _GUESTMEM_EDU_H */
