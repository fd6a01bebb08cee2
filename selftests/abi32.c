// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 32-bit program on a 64-bit kernel: the same layouts, and the same answers.
 *
 * Free-standing, with system calls of its own, so that neither a 32-bit C library
 * nor its headers are needed to build it. Speaks TAP like the others.
 */
#include "abi_layout.h"

#define NULL_PTR	((void *)0)
#define PAGE		4096u
#define GPA		0x100000000ULL

#define IOVA		0x300000000ULL

#define NR_exit		1
#define NR_read		3
#define NR_write	4
#define NR_open		5
#define NR_close	6
#define NR_ioctl	54
#define NR_munmap	91
#define NR_pread64	180
#define NR_mmap2	192
#define NR_eventfd2	328

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	long args[2] = { nr, f }, ret;

	/* The sixth argument goes into ebp, which no constraint names. */
	__asm__ volatile("push %%ebp\n\t"
			 "mov 4(%%eax), %%ebp\n\t"
			 "mov (%%eax), %%eax\n\t"
			 "int $0x80\n\t"
			 "pop %%ebp"
			 : "=a"(ret)
			 : "a"(args), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory");
	return ret;
}

static unsigned int length(const char *s)
{
	unsigned int n = 0;

	while (s[n])
		n++;
	return n;
}

static void print(const char *s)
{
	call(NR_write, 1, (long)s, length(s), 0, 0, 0);
}

static void print_number(long value)
{
	char buf[12];
	unsigned int i = sizeof(buf) - 1;
	unsigned long u = value < 0 ? -(unsigned long)value : (unsigned long)value;

	buf[i] = '\0';
	do {
		buf[--i] = '0' + u % 10;
		u /= 10;
	} while (u);
	if (value < 0)
		buf[--i] = '-';
	print(buf + i);
}

static int count, bad;

static void check(int ok, const char *what, long ret)
{
	if (!ok) {
		print("# got ");
		print_number(ret);
		print("\n");
		bad = 1;
	}
	print(ok ? "ok " : "not ok ");
	print_number(++count);
	print(" abi32.");
	print(what);
	print("\n");
}

/* gcc makes calls of this where it likes. */
void *memset(void *p, int c, __SIZE_TYPE__ n)
{
	char *q = p;

	while (n--)
		*(volatile char *)q++ = c;
	return p;
}

void *memcpy(void *to, const void *from, __SIZE_TYPE__ n)
{
	__SIZE_TYPE__ i;

	for (i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

/* A bit for each ioctl that succeeded. */
static unsigned int succeeded;

static long do_ioctl(long fd, unsigned int cmd, void *arg)
{
	long ret = call(NR_ioctl, fd, cmd, (long)arg, 0, 0, 0);

	if (!ret)
		succeeded |= 1U << _IOC_NR(cmd);
	return ret;
}

#define IOCTL(cmd, a) do_ioctl(fd, cmd, a)

static __u64 address(const void *p)
{
	return (__u64)(unsigned long)p;
}

/* What an eventfd counted; 0: nothing. */
static int events(long efd)
{
	__u64 value;

	return call(NR_read, efd, (long)&value, sizeof(value), 0, 0, 0) == sizeof(value) ?
	       (int)value : 0;
}

static long read_at(long fd, __u64 address, unsigned char *c)
{
	return call(NR_pread64, fd, (long)c, 1, (long)address, (long)(address >> 32), 0);
}

/* @va is what lies at GPA. */
static void test_views(long fd, const unsigned char *va)
{
	struct guestmem_view_create create = { .size = sizeof(create) };
	struct guestmem_view_list list = { .size = sizeof(list) };
	struct guestmem_view_limit limit = { .size = sizeof(limit) };
	struct guestmem_view view;
	unsigned char c = 0;
	long ret;

	create.address = GPA + PAGE;
	create.len = 2 * PAGE;
	create.rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_MAP;
	ret = IOCTL(GUESTMEM_VIEW_CREATE, &create);
	check(ret == 0 && create.fd >= 0 && create.id && read_at(create.fd, PAGE + 5, &c) == 1 &&
	      c == va[2 * PAGE + 5], "view_create", ret);
	list.entries = address(&view);
	list.entry_size = sizeof(view);
	list.nentries = 1;
	ret = IOCTL(GUESTMEM_VIEW_LIST, &list);
	check(ret == 0 && list.nentries == 1 && view.address == create.address &&
	      view.len == create.len && view.start == 0 && view.id == create.id &&
	      view.rights == create.rights && view.nlocks == 0 &&
	      view.kind == GUESTMEM_VIEW_IS_PART, "view_list", ret);
	limit.id = create.id;
	limit.rights = GUESTMEM_RIGHT_MAP;
	ret = IOCTL(GUESTMEM_VIEW_LIMIT, &limit);
	check(ret == 0 && limit.nlocks == 0 && read_at(create.fd, 0, &c) == -13, "view_limit",
	      ret);
	call(NR_close, create.fd, 0, 0, 0, 0, 0);
}

static void test_domains(long fd, const unsigned char *va)
{
	struct guestmem_domain_create create = { .size = sizeof(create) };
	struct guestmem_domain_map map = { .size = sizeof(map) };
	struct guestmem_domain_list list = { .size = sizeof(list) };
	struct guestmem_domain_unmap unmap = { .size = sizeof(unmap) };
	struct guestmem_session_create session = { .size = sizeof(session) };
	struct guestmem_eventfd event = { .size = sizeof(event) };
	struct guestmem_export export = { .size = sizeof(export) };
	struct guestmem_release release = { .size = sizeof(release) };
	const __u32 rights = GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE;
	struct guestmem_mapping mapping[2] = {
		{ .iova = IOVA, .len = PAGE, .gpa = GPA + 2 * PAGE, .rights = rights },
		{ .iova = IOVA + PAGE, .len = PAGE, .gpa = GPA, .rights = GUESTMEM_RIGHT_READ },
	};
	struct guestmem_mapping got[2];
	struct guestmem_piece piece[2];
	struct guestmem_record record;
	unsigned char c = 0;
	long ret, hit, resolved;
	int i, same;

	hit = call(NR_eventfd2, 0, 04000 /* O_NONBLOCK */, 0, 0, 0, 0);
	resolved = call(NR_eventfd2, 0, 04000, 0, 0, 0, 0);
	create.page_sizes = PAGE;
	create.last = ~0ULL;
	create.rights = rights | GUESTMEM_RIGHT_TRANSLATE;
	ret = IOCTL(GUESTMEM_DOMAIN_CREATE, &create);
	check(ret == 0 && create.fd >= 0 && create.id, "domain_create", ret);
	fd = create.fd;

	map.mappings = address(mapping) + (1ULL << 32);
	map.nmappings = 2;
	ret = IOCTL(GUESTMEM_DOMAIN_MAP, &map);
	check(ret == -14, "domain_map_pointer_above_4g", ret);
	map.mappings = address(mapping);
	ret = IOCTL(GUESTMEM_DOMAIN_MAP, &map);
	check(ret == 0, "domain_map", ret);
	list.entries = address(got);
	list.nentries = 2;
	ret = IOCTL(GUESTMEM_DOMAIN_LIST, &list);
	for (i = 0, same = 1; i < 2; i++)
		same &= got[i].iova == mapping[i].iova && got[i].len == mapping[i].len &&
			got[i].gpa == mapping[i].gpa && got[i].rights == mapping[i].rights &&
			!got[i].backing && !got[i].fd;
	check(ret == 0 && list.nentries == 2 && list.iova == 0 && list.generation && same,
	      "domain_list", ret);

	session.rights = create.rights;
	ret = IOCTL(GUESTMEM_SESSION_CREATE, &session);
	check(ret == 0 && session.fd >= 0 && session.id > create.id, "session_create", ret);
	fd = session.fd;
	event.fd = hit;
	event.events = GUESTMEM_EVENT_FAULT;
	ret = IOCTL(GUESTMEM_EVENTFD, &event);
	check(ret == 0, "eventfd", ret);
	export.iova = IOVA + 5;
	export.len = PAGE;
	export.pieces = address(piece);
	export.npieces = 2;
	export.rights = GUESTMEM_RIGHT_READ;
	ret = IOCTL(GUESTMEM_EXPORT, &export);
	check(ret == 0 && export.handle && export.npieces == 2 &&
	      piece[0].iova == export.iova && piece[0].len == PAGE - 5 &&
	      piece[0].gpa == mapping[0].gpa + 5 && piece[0].rights == rights &&
	      piece[1].iova == IOVA + PAGE && piece[1].len == 5 && piece[1].gpa == GPA &&
	      piece[1].rights == GUESTMEM_RIGHT_READ, "export", ret);
	ret = read_at(fd, IOVA + 5, &c);
	check(ret == 1 && c == va[2 * PAGE + 5], "session_pread", ret);

	fd = create.fd;
	unmap.flags = GUESTMEM_UNMAP_EVENTFD;
	unmap.iova = IOVA;
	unmap.len = 2 * PAGE;
	unmap.deadline_ms = GUESTMEM_WAIT_FOREVER;
	unmap.eventfd = resolved;
	ret = IOCTL(GUESTMEM_DOMAIN_UNMAP, &unmap);
	check(ret == 0 && unmap.nusers == 1 && unmap.nmappings == 2 && unmap.fault == 1 &&
	      events(hit) == 1 && !events(resolved), "domain_unmap", ret);
	ret = call(NR_read, fd, (long)&record, sizeof(record), 0, 0, 0);
	check(ret == sizeof(record) && record.seq == 1 && record.type == GUESTMEM_RECORD_FAULT &&
	      record.fault == 1 && record.session == session.id && record.iova == IOVA &&
	      record.len == 2 * PAGE && record.count == 1, "record", ret);
	fd = session.fd;
	release.handle = export.handle;
	ret = IOCTL(GUESTMEM_RELEASE, &release);
	check(ret == 0 && release.nreleased == 1 && events(resolved) == 1, "release", ret);

	call(NR_close, session.fd, 0, 0, 0, 0, 0);
	call(NR_close, create.fd, 0, 0, 0, 0, 0);
	call(NR_close, hit, 0, 0, 0, 0, 0);
	call(NR_close, resolved, 0, 0, 0, 0, 0);
}

static void test(void)
{
	struct guestmem_info info = { .size = sizeof(info) };
	struct guestmem_region_add add = { .size = sizeof(add) };
	struct guestmem_region_remove rm = { .size = sizeof(rm) };
	struct guestmem_region region;
	struct guestmem_region_list list = { .size = sizeof(list) };
	struct guestmem_range range = { GPA + PAGE + 3, 5 };
	struct guestmem_extent extent;
	struct guestmem_translate tr = { .size = sizeof(tr) };
	struct guestmem_lock lock = { .size = sizeof(lock) };
	struct guestmem_unlock unlock = { .size = sizeof(unlock) };
	struct guestmem_fill fill = { .size = sizeof(fill) };
	struct guestmem_copy copy = { .size = sizeof(copy) };
	struct guestmem_atomic at = { .size = sizeof(at) };
	__u64 page = GPA + PAGE;
	unsigned char *va, *map, c = 0;
	long fd, ret;

	fd = call(NR_open, (long)"/dev/guestmem", 2, 0, 0, 0, 0);
	check(fd >= 0, "open", fd);
	ret = IOCTL(GUESTMEM_INFO, &info);
	check(ret == 0 && info.abi_version == GUESTMEM_ABI_VERSION && info.page_size == PAGE,
	      "info", ret);
	va = (void *)call(NR_mmap2, 0, 4 * PAGE, 3, 0x22, -1, 0);
	check((unsigned long)va < -4095UL, "memory", (long)va);

	add.backing = GUESTMEM_BACKING_USER;
	add.gpa = GPA;
	add.len = 4 * PAGE;
	add.offset = address(va);
	ret = IOCTL(GUESTMEM_REGION_ADD, &add);
	check(ret == 0, "region_add", ret);
	/* 4 GiB and more in an address of 64 bits must not be cut. */
	ret = IOCTL(GUESTMEM_REGION_ADD, &add);
	check(ret == -17 && add.err.reason == GUESTMEM_REASON_OVERLAP, "overlap", ret);
	add.offset = address(va) + (1ULL << 32);
	add.gpa = 2 * GPA;
	ret = IOCTL(GUESTMEM_REGION_ADD, &add);
	check(ret == -14, "address_above_4g", ret);

	list.entries = address(&region);
	list.entry_size = sizeof(region);
	list.nentries = 1;
	ret = IOCTL(GUESTMEM_REGION_LIST, &list);
	check(ret == 0 && list.nentries == 1 && region.gpa == GPA && region.len == 4 * PAGE &&
	      region.offset == address(va), "region_list", ret);

	tr.ranges = address(&range);
	tr.extents = address(&extent);
	tr.nranges = 1;
	tr.nextents = 1;
	tr.flags = GUESTMEM_EXTENT_HPA;
	ret = IOCTL(GUESTMEM_TRANSLATE, &tr);
	check(ret == 0 && tr.nextents == 1 && extent.gpa == range.gpa && extent.len == 5 &&
	      extent.hpa && extent.region_id == region.id, "translate", ret);
	tr.extents = 1ULL << 32;
	ret = IOCTL(GUESTMEM_TRANSLATE, &tr);
	check(ret == -14, "translate_pointer_above_4g", ret);

	lock.flags = GUESTMEM_LOCK_PAGES;
	lock.direction = GUESTMEM_DMA_BIDIRECTIONAL;
	lock.pages = address(&page);
	lock.npages = 1;
	lock.extents = address(&extent);
	lock.nextents = 1;
	ret = IOCTL(GUESTMEM_LOCK, &lock);
	check(ret == 0 && lock.nextents == 1 && extent.gpa == page && extent.len == PAGE, "lock",
	      ret);
	unlock.handle = lock.handle;
	ret = IOCTL(GUESTMEM_UNLOCK, &unlock);
	check(ret == 0, "unlock", ret);

	fill.gpa = GPA + 5;
	fill.len = PAGE;
	fill.value = 0x5a;
	ret = IOCTL(GUESTMEM_FILL, &fill);
	check(ret == 0 && fill.done == PAGE && va[4] == 0 && va[5] == 0x5a && va[PAGE + 4] == 0x5a,
	      "fill", ret);
	copy.dst = GPA + 2 * PAGE;
	copy.src = GPA;
	copy.len = PAGE;
	ret = IOCTL(GUESTMEM_COPY, &copy);
	check(ret == 0 && copy.done == PAGE && va[2 * PAGE + 5] == 0x5a, "copy", ret);
	at.op = GUESTMEM_ATOMIC_ADD;
	at.width = 8;
	at.gpa = GPA + 8;
	at.operand[0] = 0x100000000ULL;
	ret = IOCTL(GUESTMEM_ATOMIC, &at);
	check(ret == 0 && at.old[0] == 0x5a5a5a5a5a5a5a5aULL &&
	      *(volatile __u64 *)(va + 8) == 0x5a5a5a5b5a5a5a5aULL, "atomic", ret);

	ret = read_at(fd, GPA + 5, &c);
	check(ret == 1 && c == 0x5a, "pread", ret);
	map = (void *)call(NR_mmap2, 0, PAGE, 3, 1, fd, (GPA + PAGE) / PAGE);
	check((unsigned long)map < -4095UL && map[0] == 0x5a && map[5] == 0, "mmap", (long)map);
	if ((unsigned long)map < -4095UL)
		call(NR_munmap, (long)map, PAGE, 0, 0, 0, 0);

	test_views(fd, va);
	test_domains(fd, va);

	rm.id = region.id;
	ret = IOCTL(GUESTMEM_REGION_REMOVE, &rm);
	check(ret == 0, "region_remove", ret);
	ret = IOCTL(0xbcff, &rm);
	check(ret == -25, "unknown_ioctl", ret);
	/* There is none behind the last one. */
	ret = IOCTL(GUESTMEM_RELEASE + 1, &rm);
	check(ret == -25 && succeeded == (2U << _IOC_NR(GUESTMEM_RELEASE)) - 1, "all_ioctls",
	      (long)succeeded);
	call(NR_close, fd, 0, 0, 0, 0, 0);
}

__attribute__((force_align_arg_pointer, used)) void _start(void)
{
	print("TAP version 13\n1..33\n");
	test();
	call(NR_exit, bad, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}
