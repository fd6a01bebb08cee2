// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* The sentences, whole: people search the web for them, so that they do not drift. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#undef fail

#include "internal.h"

#define R(reason)	GUESTMEM_REASON_##reason

static const struct {
	enum op op;
	int err;
	uint32_t reason;
	uint64_t addr, need, limit;
	const char *text;
} cases[] = {
	{ OP_ADD_USER, ENOMEM, R(MEMLOCK), 0, 67108864, 8388608,
	  "cannot add the region: 67108864 bytes (64 MiB) would be locked, the limit (RLIMIT_MEMLOCK) is 8388608 bytes (8 MiB): raise it (ulimit -l, LimitMEMLOCK=) or give CAP_IPC_LOCK",
	},
	{ OP_ADD_USER, EOVERFLOW, R(WRAPS), 0xfffffffffffff000, 8192, UINT64_MAX,
	  "cannot add the region: the range of 8192 bytes (8 KiB) from 0xfffffffffffff000 ends after 0xffffffffffffffff, the last address",
	},
	{ OP_ADD_USER, EINVAL, R(MISALIGNED), 0x1001, 4096, 0,
	  "cannot add the region: 0x1001 is not a multiple of 4096" },
	{ OP_ADD_USER, EINVAL, R(EMPTY), 0, 0, 0, "cannot add the region: the range is empty" },
	{ OP_LOCK_PAGES, EINVAL, R(EMPTY), 0, 0, 0,
	  "cannot lock the pages: the list of pages is empty" },
	{ OP_ADD_USER, EINVAL, R(TOO_LONG), 0, 1ULL << 45, 1ULL << 44,
	  "cannot add the region: 35184372088832 bytes (32 TiB) are too many, the most is 17592186044416 bytes (16 TiB)",
	},
	{ OP_TRANSLATE, EINVAL, R(TOO_LONG), 0, 5000, 4096,
	  "cannot translate: 5000 are too many, the most is 4096" },
	{ OP_TRANSLATE, ENXIO, R(HOLE), 0xa0000, 0, 0,
	  "cannot translate: there is no region at GPA 0xa0000" },
	{ OP_ADD_FILE, EEXIST, R(OVERLAP), 0x1000, 7, 0,
	  "cannot add the region: the range at GPA 0x1000 overlaps region 7" },
	{ OP_COPY, EINVAL, R(OVERLAP), 0x1000, 0, 0,
	  "cannot copy: source and destination overlap at GPA 0x1000" },
	{ OP_FILL, EACCES, R(READONLY), 0xf0000, 0, 0,
	  "cannot fill: the region at GPA 0xf0000 is read-only" },
	{ OP_ADD_USER, EFAULT, R(READONLY), 0, 0, 0,
	  "cannot add the region: the memory is read-only: add it as a read-only region" },
	{ OP_ADD_FILE, EACCES, R(READONLY), 0, 0, 0,
	  "cannot add the region: the file is not open for reading and writing: open it so, or for reading and add a read-only region",
	},
	{ OP_CMPXCHG, EACCES, R(RIGHT), 0, 3, 1,
	  "cannot compare and exchange: the file lacks the right WRITE (it has READ)" },
	{ OP_REMOVE, EACCES, R(RIGHT), 0, 1 << 6, 0,
	  "cannot remove the region: the file lacks the right MANAGE (it has none)" },
	{ OP_REMOVE, EACCES, R(RIGHT), 0, 1U << 31, 0,
	  "cannot remove the region: the file lacks the right bit 31 (it has none)" },
	{ OP_TRANSLATE, EPERM, R(RIGHT), 0, GUESTMEM_RIGHT_TRANSLATE_HPA, 1,
	  "cannot translate: host-physical addresses are only for a file opened with CAP_SYS_ADMIN",
	},
	{ OP_ADD_USER, ENOSPC, R(LIMIT), 0, 513, 512,
	  "cannot add the region: there would be 513 regions in the guest, the limit is 512" },
	{ OP_LOCK, ENOSPC, R(LIMIT), 0, 9, 8,
	  "cannot lock: there would be 9 DMA locks of this file, the limit is 8" },
	{ OP_ADD_USER, EFAULT, R(UNMAPPED), 0x7000, 0, 0,
	  "cannot add the region: there is no accessible memory at address 0x7000" },
	{ OP_ADD_FILE, EFAULT, R(UNMAPPED), 0x7000, 0, 0,
	  "cannot add the region: there is no accessible memory at file offset 0x7000" },
	{ OP_ADD_FILE, EINVAL, R(END_OF_FILE), 0, 8192, 1,
	  "cannot add the region: the file must have 8192 bytes (8 KiB), it has 1 byte: make it longer (ftruncate)",
	},
	{ OP_ADD_USER, EOPNOTSUPP, R(DEVICE_MEMORY), 0x7000, 0, 0,
	  "cannot add the region: at address 0x7000 is device memory, or other memory that cannot be pinned",
	},
	{ OP_ADD_USER, EOPNOTSUPP, R(WRITEBACK), 0x7000, 0, 0,
	  "cannot add the region: at address 0x7000 is a shared file of a file system with writeback: use a memfd, tmpfs or hugetlbfs",
	},
	{ OP_ADD_FILE, EOPNOTSUPP, R(FILE_TYPE), 0, 0, 0,
	  "cannot add the region: the file is not of tmpfs (memfd) or hugetlbfs" },
	{ OP_ADD_USER, EOPNOTSUPP, R(PRIVATE_READONLY), 0x7000, 0, 0,
	  "cannot add the region: at address 0x7000 is a private read-only mapping, which this kernel cannot pin: map it writable or shared",
	},
	{ OP_REMOVE, EBUSY, R(LOCKED), 0x1000, 1, 0,
	  "cannot remove the region: 1 DMA lock holds the region at GPA 0x1000: wait, or revoke it",
	},
	{ OP_REMOVE, EBUSY, R(LOCKED), 0x1000, 2, 0,
	  "cannot remove the region: 2 DMA locks hold the region at GPA 0x1000: wait, or revoke it",
	},
	{ OP_FILL, EHWPOISON, R(POISONED), 0x5000, 0, 0,
	  "cannot fill: the page of GPA 0x5000 has a hardware error" },
	{ OP_LOCK, EMSGSIZE, R(OUTPUT), 0, 9, 4,
	  "cannot lock: the array needs 9 entries, it has 4" },
	{ OP_REMOVE, ENOENT, R(NONE), 0, 0, 0,
	  "cannot remove the region: there is no such region" },
	{ OP_UNLOCK, ENOENT, R(NONE), 0, 0, 0, "cannot unlock: this file has no such lock" },
	{ OP_VIEW, ENXIO, R(HOLE), 0x5000, 0, 0,
	  "cannot make the view: this file does not show GPA 0x5000" },
	{ OP_VIEW, EINVAL, R(RIGHT), 0, 0, 1,
	  "cannot make the view: a view without any right is of no use" },
	{ OP_VIEW, EACCES, R(RIGHT), 0, 0x82, 1,
	  "cannot make the view: the file lacks the right WRITE, EXPORT (it has READ)" },
	{ OP_VIEW, ENOSPC, R(LIMIT), 0, 4097, 4096,
	  "cannot make the view: there would be 4097 views of the guest, the limit is 4096" },
	{ OP_DOMAIN, EINVAL, R(RIGHT), 0, 0, 1,
	  "cannot make the domain: a domain without any right is of no use" },
	{ OP_DOMAIN_MAP, EEXIST, R(OVERLAP), 0x4000, 0, 0,
	  "cannot map in the domain: the range at IOVA 0x4000 overlaps another mapping" },
	{ OP_DOMAIN_MAP, EINVAL, R(APERTURE), 0, 0x3000, 0x1fff,
	  "cannot map in the domain: 0x0 to 0x2fff is not all in what can be mapped, which ends at 0x1fff",
	},
	{ OP_DOMAIN_MAP, EINVAL, R(APERTURE), 0, 0x3000, 0x2000,
	  "cannot map in the domain: 0x0 to 0x2fff is not all in what can be mapped, which begins at 0x2000",
	},
	{ OP_DOMAIN_MAP, ENXIO, R(HOLE), 0x5000, 0, 0,
	  "cannot map in the domain: the file that the domain was made by does not show GPA 0x5000",
	},
	{ OP_DOMAIN_MAP, EFAULT, R(UNMAPPED), 0x5000, 0, 0,
	  "cannot map in the domain: there is no accessible memory at address or file offset 0x5000",
	},
	{ OP_DOMAIN_MAP, EFAULT, R(READONLY), 0, 0, 0,
	  "cannot map in the domain: the memory is read-only: map it for reading only" },
	{ OP_DOMAIN_MAP, ENOSPC, R(LIMIT), 0, 9, 8,
	  "cannot map in the domain: there would be 9 mappings of the domain, the limit is 8" },
	{ OP_DOMAIN_UNMAP, ERANGE, R(PARTIAL), 0x4000, 8192, 0,
	  "cannot unmap in the domain: only a part of the mapping of 8192 bytes (8 KiB) at IOVA 0x4000 is in the range: unmap all of it, or nothing",
	},
	{ OP_DOMAIN_UNMAP, ETIMEDOUT, R(USED), 0x4000, 1, 0,
	  "cannot unmap in the domain: it is unmapped, but 1 export or DMA lock was not released in time",
	},
	{ OP_DOMAIN_UNMAP, EINTR, R(USED), 0x4000, 2, 0,
	  "cannot unmap in the domain: it is unmapped, but 2 exports or DMA locks were not released before the signal",
	},
	{ OP_SESSION, EINVAL, R(RIGHT), 0, 0, 1,
	  "cannot make the session: a session without any right is of no use" },
	{ OP_DOMAIN_MAP, EINVAL, R(RIGHT), 0x4000, 8, 3,
	  "cannot map in the domain: the rights are not READ, WRITE, or both" },
	{ OP_EXPORT, EINVAL, R(RIGHT), 0x4000, 0, 3,
	  "cannot export: the rights are not READ, WRITE, or both" },
	{ OP_EXPORT, ENXIO, R(HOLE), 0x4000, 0, 0,
	  "cannot export: nothing is mapped at IOVA 0x4000, or there is no region" },
	{ OP_EXPORT, EACCES, R(PERMISSION), 0x4000, 3, 1,
	  "cannot export: the mapping at IOVA 0x4000 does not allow WRITE" },
	{ OP_EXPORT, ESTALE, R(BROKEN), 0, 0, 0,
	  "cannot export: something that the session had exported was unmapped: release all, then export anew",
	},
	{ OP_EXPORT, ENOSPC, R(LIMIT), 0, 9, 8,
	  "cannot export: there would be 9 exports of the session, the limit is 8" },
	{ OP_RELEASE, ENOENT, R(NONE), 0, 0, 0,
	  "cannot release the export: the session has no such export, or it was ended by force",
	},
	{ OP_MAPPER_MAP, EEXIST, R(OVERLAP), 0x4000, 0, 0,
	  "cannot map for the device: the range at IOVA 0x4000 overlaps another mapping" },
	{ OP_MAPPER_UNMAP, ERANGE, R(PARTIAL), 0x4000, 1, 0,
	  "cannot unmap for the device: only a part of the mapping of 1 byte at IOVA 0x4000 is in the range: unmap all of it, or nothing",
	},
	{ OP_LIMIT, ETIMEDOUT, R(LOCKED), 0, 1, 0,
	  "cannot take the rights away: they are taken away, but 1 DMA lock was not released in time: its pages stay pinned until it is",
	},
	{ OP_LIMIT, ETIMEDOUT, R(LOCKED), 0, 2, 0,
	  "cannot take the rights away: they are taken away, but 2 DMA locks were not released in time: their pages stay pinned until they are",
	},
	{ OP_LIMIT, ENOENT, R(NONE), 0, 0, 0,
	  "cannot take the rights away: there is no such view, or it was not made by this file" },
	{ OP_READ, ESTALE, R(REVOKED), 0, 1, 0,
	  "cannot read: the file was revoked by who gave it: ask for another one" },
	{ OP_EVENTFD, ENOENT, R(NONE), 0, 0, 0,
	  "cannot register the eventfd: it was not registered" },
	{ OP_ADD_FILE, EACCES, R(NONE), 0, 0, 0,
	  "cannot add the region: the file does not allow what the region needs (writing, unless it is read-only)",
	},
	{ OP_COPY, ENOTTY, R(NONE), 0, 0, 0,
	  "cannot copy: the module does not know this operation, it is older than this library" },
	{ OP_COPY, E2BIG, R(NONE), 0, 0, 0,
	  "cannot copy: the module does not know all of the arguments, it is older than this library",
	},
	{ OP_FILL, ENOMEM, R(NONE), 0, 0, 0, "cannot fill: Cannot allocate memory" },
	{ OP_FILL, EINTR, R(NONE), 0, 0, 0, "cannot fill: a signal came" },
	{ OP_FILL, EINVAL, 99, 1, 2, 3,
	  "cannot fill: Invalid argument (reason 99, address 0x1, need 2, limit 3: the module is newer than this library)",
	},
};

static void test_texts(void **state)
{
	struct guestmem_error e, told;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		e = (struct guestmem_error){
			.reason = cases[i].reason,
			.addr = cases[i].addr,
			.need = cases[i].need,
			.limit = cases[i].limit,
		};
		assert_int_equal(fail_reason(cases[i].op, cases[i].err, &e), -cases[i].err);
		assert_int_equal(errno, cases[i].err);
		errno = 0;
		assert_string_equal(guestmem_strerror(), cases[i].text);
		assert_int_equal(guestmem_last_error(&told), -cases[i].err);
		assert_int_equal(errno, 0);
		assert_memory_equal(&e, &told, sizeof(e));
	}
}

static void test_open(void **state)
{
	static const struct {
		int err;
		const char *text;
	} opens[] = {
		{ ENOENT, "the module is not loaded (modprobe guestmem)" },
		{ ENODEV, "the module is not loaded (modprobe guestmem)" },
		{ EACCES,
		  "it is for root and its group (kvm): join it (adduser USER kvm, then log in again) or run as root",
		},
		{ EMFILE, "Too many open files" },
	};
	static const char prefix[] = "cannot open /dev/guestmem: ";

	(void)state;
	for (size_t i = 0; i < sizeof(opens) / sizeof(opens[0]); i++) {
		assert_int_equal(fail(OP_OPEN, opens[i].err, NULL), -opens[i].err);
		assert_memory_equal(guestmem_strerror(), prefix, strlen(prefix));
		assert_string_equal(guestmem_strerror() + strlen(prefix), opens[i].text);
	}
}

/* The longest sentence is cut, not written beyond the end. */
static void test_longest(void **state)
{
	struct guestmem_error e = {
		.reason = R(MEMLOCK), .addr = UINT64_MAX, .need = UINT64_MAX, .limit = UINT64_MAX,
	};

	(void)state;
	fail_reason(OP_ADD_USER, ENOMEM, &e);
	assert_non_null(strstr(guestmem_strerror(), "CAP_IPC_LOCK"));
	e.reason = R(RIGHT);
	e.limit = 0;
	fail_reason(OP_ADD_USER, EACCES, &e);
	assert_true(strlen(guestmem_strerror()) == 511);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
