// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: what they show, what they let through, and that it can be taken back.
 */
#include <poll.h>

#include "view.h"

/* All that a view can have without privilege. */
#define ALL		(READ | WRITE | MAP | LOCK | TRANSLATE | EXPORT)

FIXTURE(view) {
	struct gm_guest guest;
	struct gm_mem mem;
	__u32 id[3];
	int fd;
};

FIXTURE_SETUP(view)
{
	set_up_regions(_metadata, &self->guest, &self->mem, self->id);
	self->fd = self->guest.fd;
}

FIXTURE_TEARDOWN(view)
{
	gm_mem_free(&self->mem);
	gm_guest_teardown(_metadata, &self->guest);
}

static struct guestmem_table_entry *table(int fd, __u32 *n)
{
	struct guestmem_table *t = gm_mmap(fd, GUESTMEM_MMAP_TABLE, PG, PROT_READ);

	if (t == MAP_FAILED)
		return NULL;
	*n = t->nentries;
	return (struct guestmem_table_entry *)((char *)t + t->header_size);
}

static void untable(struct guestmem_table_entry *entry)
{
	munmap((void *)((uintptr_t)entry & ~(PG - 1)), PG);
}

/* A view by its own addresses and by the guest's. */
TEST_F(view, shows_a_part)
{
	int keep = gm_view(self->fd, FIRST + PG, 24 * PG, ALL, GUESTMEM_VIEW_KEEP, NULL);
	int base = gm_view(self->fd, FIRST + PG, 24 * PG, ALL, 0, NULL);
	struct guestmem_info info;
	int i;

	ASSERT_LE(0, keep);
	ASSERT_LE(0, base);
	for (i = 0; i < 2; i++) {
		int fd = i ? base : keep;
		__u64 at = i ? 0 : FIRST + PG;
		struct guestmem_region list[4];
		struct guestmem_extent ext[32];
		struct guestmem_table_entry *entry;
		struct guestmem_range range;
		struct guestmem_translate tr;
		struct guestmem_fill fill;
		struct guestmem_atomic atomic;
		struct guestmem_copy copy;
		unsigned char *p;
		__u32 n;

		ASSERT_EQ(0, gm_info(fd, &info));
		EXPECT_EQ(ALL, info.rights);
		EXPECT_EQ(2, info.nregions);
		EXPECT_EQ(0, info.nviews);
		EXPECT_EQ(23 * PG, info.pinned);
		EXPECT_EQ(at + 23 * PG - 1, info.last);

		EXPECT_EQ(0, reads(fd, at, PG, 100));
		EXPECT_EQ(0, reads(fd, at + 14 * PG + 5, 15 * PG + 5, 2 * PG));
		EXPECT_EQ(0, writes(fd, at + 7, 0xab));
		EXPECT_EQ(0xab, self->mem.va[PG + 7]);
		self->mem.va[PG + 7] = gm_pattern(PG + 7);
		EXPECT_EQ(-EACCES, writes(fd, at + 15 * PG, 1));
		/* What is around it is not there. */
		EXPECT_EQ(SHORT, reads(fd, at + 23 * PG, 0, 1));
		EXPECT_EQ(-ENXIO, writes(fd, at + 24 * PG, 1));
		EXPECT_EQ(-ENXIO, writes(fd, at + 27 * PG, 1));
		if (!i) {
			EXPECT_EQ(-ENXIO, reads(fd, at - 1, 0, 1));
			EXPECT_EQ(-ENXIO, writes(fd, at - 1, 1));
			EXPECT_EQ(-ENXIO, locks(fd, at - 1, 2, GUESTMEM_DMA_TO_DEVICE, NULL));
		}
		EXPECT_EQ((off_t)(at + 23 * PG), lseek(fd, 0, SEEK_END));
		EXPECT_EQ((off_t)at, lseek(fd, 0, SEEK_DATA));
		EXPECT_EQ((off_t)(at + 23 * PG), lseek(fd, (off_t)at, SEEK_HOLE));

		ASSERT_EQ(2, gm_list(fd, list, 4));
		EXPECT_EQ(at, list[0].gpa);
		EXPECT_EQ(15 * PG, list[0].len);
		/* Of all of the region nothing is told. */
		EXPECT_EQ(0, list[0].offset);
		EXPECT_EQ(0, list[0].nruns);
		EXPECT_EQ(0, list[0].pid);
		EXPECT_EQ(0, list[0].flags);
		EXPECT_EQ(self->id[0], list[0].id);
		EXPECT_EQ(at + 15 * PG, list[1].gpa);
		EXPECT_EQ(8 * PG, list[1].len);

		entry = table(fd, &n);
		ASSERT_NE(NULL, entry);
		EXPECT_EQ(2, n);
		EXPECT_EQ(at, entry[0].gpa);
		EXPECT_EQ(15 * PG, entry[0].len);
		EXPECT_EQ(0, entry[0].flags);
		EXPECT_EQ(GUESTMEM_REGION_READONLY, entry[1].flags);
		untable(entry);

		range = (struct guestmem_range){ at, 23 * PG };
		ASSERT_EQ(0, gm_translate(fd, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
					  .extents = (uintptr_t)ext, .nextents = 32));
		EXPECT_EQ(at, ext[0].gpa);
		EXPECT_EQ(at + 23 * PG, ext[tr.nextents - 1].gpa + ext[tr.nextents - 1].len);
		range.len++;
		EXPECT_EQ(-ENXIO, gm_translate(fd, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
					       .extents = (uintptr_t)ext, .nextents = 32));
		EXPECT_EQ(at + 23 * PG, tr.err.addr);

		EXPECT_EQ(0, gm_fill(fd, &fill, .gpa = at + 3, .len = 5, .value = 9));
		EXPECT_EQ(9, self->mem.va[PG + 3]);
		EXPECT_EQ(9, self->mem.va[PG + 7]);
		EXPECT_EQ(0, gm_copy(fd, &copy, .dst = at + 64, .src = at, .len = 16));
		EXPECT_EQ(0, memcmp(self->mem.va + PG + 64, self->mem.va + PG, 16));
		EXPECT_EQ(0, gm_atomic(fd, &atomic, .op = GUESTMEM_ATOMIC_XCHG, .width = 8,
				       .gpa = at + 8, .operand = { 0x1122334455667788 }));
		EXPECT_EQ(0x88, self->mem.va[PG + 8]);
		gm_pattern_set(self->mem.va, TOTAL);

		/* More is mapped than the view has: around the ends, too, nothing is seen. */
		p = gm_mmap(fd, i ? 0 : FIRST, 28 * PG, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, p);
		p += i ? 0 : PG;
		EXPECT_EQ(gm_pattern(PG), gm_peek(p));
		EXPECT_EQ(gm_pattern(24 * PG - 1), gm_peek(p + 23 * PG - 1));
		EXPECT_EQ(-SIGBUS, gm_peek(p + 23 * PG));
		if (!i) {
			EXPECT_EQ(-SIGBUS, gm_peek(p - 1));
		}
		EXPECT_EQ(0, gm_poke(p + 9, 0x77));
		EXPECT_EQ(0x77, self->mem.va[PG + 9]);
		self->mem.va[PG + 9] = gm_pattern(PG + 9);
		EXPECT_EQ(-SIGBUS, gm_poke(p + 15 * PG, 1));
		munmap(p - (i ? 0 : PG), 28 * PG);
	}
	ASSERT_EQ(0, gm_info(self->fd, &info));
	EXPECT_EQ(2, info.nviews);
	close(keep);
	close(base);
	ASSERT_EQ(0, gm_info(self->fd, &info));
	EXPECT_EQ(0, info.nviews);
}

/* The last page of the view before a region goes on: no entry of it comes along. */
TEST_F(view, ends_in_a_region)
{
	int fd = gm_view(self->fd, FIRST + 4 * PG, 3 * PG, READ | MAP, GUESTMEM_VIEW_KEEP, NULL);
	unsigned char *p;
	int i;

	ASSERT_LE(0, fd);
	p = gm_mmap(fd, FIRST, 16 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(5 * PG), gm_peek(p + 5 * PG));
	for (i = 0; i < 16; i++) {
		EXPECT_EQ(i >= 4 && i < 7 ? gm_pattern(i * PG) : -SIGBUS, gm_peek(p + i * PG))
			TH_LOG("page %d", i);
	}
	munmap(p, 16 * PG);
	close(fd);
}

TEST_F(view, huge)
{
	struct gm_mem mem;
	unsigned char *p;
	__u32 id;
	int fd;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_HUGETLB, 2 * GM_HUGE));
	ASSERT_EQ(0, gm_mem_add(self->fd, &mem, 4 * GM_GPA, 0, 2 * GM_HUGE, 0, &id));
	/* Half of the first huge page, and all of the second. */
	fd = gm_view(self->fd, 4 * GM_GPA + GM_HUGE / 2, GM_HUGE / 2 * 3, READ | MAP, 0, NULL);
	ASSERT_LE(0, fd);
	p = gm_mmap(fd, 0, 2 * GM_HUGE, PROT_READ);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(GM_HUGE / 2), gm_peek(p));
	EXPECT_EQ(gm_pattern(GM_HUGE), gm_peek(p + GM_HUGE / 2));
	EXPECT_EQ(gm_pattern(2 * GM_HUGE - 1), gm_peek(p + GM_HUGE / 2 * 3 - 1));
	EXPECT_EQ(-SIGBUS, gm_peek(p + GM_HUGE / 2 * 3));
	EXPECT_EQ(0, gm_remove(self->fd, id));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-SIGBUS, gm_peek(p + GM_HUGE / 2));
	munmap(p, 2 * GM_HUGE);
	close(fd);
	gm_mem_free(&mem);
}

TEST_F(view, of_a_view)
{
	int outer = gm_view(self->fd, FIRST + PG, 20 * PG, ALL, 0, NULL);
	int inner = gm_view(outer, 2 * PG, 4 * PG, READ | EXPORT, 0, NULL);
	int kept = gm_view(outer, 2 * PG, 4 * PG, READ, GUESTMEM_VIEW_KEEP, NULL);
	int deep, i, fd;

	ASSERT_LE(0, inner);
	ASSERT_LE(0, kept);
	EXPECT_EQ(0, reads(inner, 1, 3 * PG + 1, 100));
	EXPECT_EQ(0, reads(kept, 2 * PG + 1, 3 * PG + 1, 100));
	EXPECT_EQ(-ENXIO, reads(kept, 2 * PG - 1, 0, 1));
	EXPECT_EQ(-EBADF, writes(inner, 0, 1));
	EXPECT_EQ(-ENXIO, gm_view(inner, 3 * PG, 2 * PG, READ, 0, NULL));
	EXPECT_EQ(-EACCES, gm_view(inner, 0, PG, READ | WRITE, 0, NULL));
	EXPECT_EQ(-EACCES, gm_view(kept, 2 * PG, PG, READ, 0, NULL));

	/* A view lives on without the one that it was made from, as deep as they can be. */
	close(outer);
	EXPECT_EQ(0, reads(inner, 1, 3 * PG + 1, 100));
	fd = inner;
	for (i = 0; i < 100; i++) {
		deep = gm_view(fd, 0, 4 * PG, READ | EXPORT, 0, NULL);
		if (deep < 0)
			break;
		if (fd != inner)
			close(fd);
		fd = deep;
	}
	EXPECT_EQ(-ENOSPC, deep);
	EXPECT_EQ(5, i);
	EXPECT_EQ(0, reads(fd, 1, 3 * PG + 1, 100));
	/* The first of the chain is closed, but there: it can still be limited. */
	EXPECT_EQ(0, gm_limit(self->fd, gm_view_id(inner), EXPORT));
	EXPECT_EQ(-EACCES, reads(fd, 1, 0, 1));
	close(fd);
	close(inner);
	close(kept);
}

TEST_F(view, bad_input)
{
	struct guestmem_view_create vc;
	struct guestmem_view_limit vl;
	struct guestmem_view_list list;
	struct guestmem_view entry;
	int i;
	const struct {
		__u64 address, len;
		__u32 rights, flags;
		int ret;
		__u32 reason;
	} bad[] = {
		{ FIRST + 1, PG, READ, 0, -EINVAL, GUESTMEM_REASON_MISALIGNED },
		{ FIRST, PG + 1, READ, 0, -EINVAL, GUESTMEM_REASON_MISALIGNED },
		{ FIRST, 0, READ, 0, -EINVAL, GUESTMEM_REASON_EMPTY },
		{ FIRST, PG, 0, 0, -EINVAL, GUESTMEM_REASON_RIGHT },
		{ FIRST, PG, GUESTMEM_RIGHT_MANAGE, 0, -EACCES, GUESTMEM_REASON_RIGHT },
		{ FIRST, PG, READ | 1U << 31, 0, -EACCES, GUESTMEM_REASON_RIGHT },
		{ -PG, 2 * PG, READ, 0, -EOVERFLOW, GUESTMEM_REASON_WRAPS },
		{ FIRST, PG, READ, 2, -EOPNOTSUPP, GUESTMEM_REASON_NONE },
	};

	for (i = 0; i < (int)ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(bad[i].ret, gm_view_create(self->fd, &vc, .address = bad[i].address,
						     .len = bad[i].len, .rights = bad[i].rights,
						     .flags = bad[i].flags)) TH_LOG("%d", i);
		EXPECT_EQ(bad[i].reason, vc.err.reason) TH_LOG("%d", i);
		if (bad[i].ret != -EOPNOTSUPP) {
			EXPECT_EQ(-1, vc.fd);
		}
	}
	EXPECT_EQ(-ENOENT, gm_limit(self->fd, 0, 0));
	EXPECT_EQ(-ENOENT, gm_limit(self->fd, 99, 0));
	EXPECT_EQ(-EOPNOTSUPP, gm_view_limit(self->fd, &vl, .flags = 2));
	EXPECT_EQ(-EOPNOTSUPP, gm_view_limit(self->fd, &vl, .flags = GUESTMEM_VIEW_ALL, .id = 1));
	EXPECT_EQ(-EINVAL, gm_view_list(self->fd, &list, .entry_size = 8));
	EXPECT_EQ(0, gm_view_list(self->fd, &list, .entry_size = sizeof(entry)));
	EXPECT_EQ(0, list.nentries);
}

/* What each right is good for, with that right missing and with no other. */
TEST_F(view, rights)
{
	const __u32 all[] = { READ, WRITE, MAP, LOCK, TRANSLATE, EXPORT };
	unsigned int i, bits;

	for (bits = 1; bits < 1U << ARRAY_SIZE(all); bits++) {
		struct guestmem_range range = { 0, PG };
		struct guestmem_translate tr;
		struct guestmem_extent ext;
		struct guestmem_atomic atomic;
		struct guestmem_fill fill;
		struct guestmem_copy copy;
		__u32 rights = 0;
		int fd, sub;
		void *p;

		for (i = 0; i < ARRAY_SIZE(all); i++)
			rights |= bits >> i & 1 ? all[i] : 0;
		fd = gm_view(self->fd, FIRST, PG, rights, 0, NULL);
		ASSERT_LE(0, fd);
		EXPECT_EQ(rights, gm_rights(fd));
#define NEED(need, call) do {								\
	int ret_ = (call);								\
											\
	EXPECT_TRUE((rights & (need)) == (need) ? !ret_ : ret_ == -EACCES || ret_ == -EBADF) \
		TH_LOG("rights %#x: %d", rights, ret_);					\
} while (0)
		NEED(READ, reads(fd, 0, 0, 100));
		NEED(WRITE, writes(fd, 0, gm_pattern(0)));
		NEED(WRITE, gm_fill(fd, &fill, .gpa = 0, .len = 1, .value = gm_pattern(0)));
		NEED(READ | WRITE, gm_copy(fd, &copy, .dst = 0, .src = PG / 2, .len = 0));
		NEED(READ | WRITE, gm_atomic(fd, &atomic, .op = GUESTMEM_ATOMIC_ADD, .width = 8));
		NEED(TRANSLATE, gm_translate(fd, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
					     .extents = (uintptr_t)&ext, .nextents = 1));
		NEED(LOCK | READ, locks(fd, 0, 1, GUESTMEM_DMA_TO_DEVICE, NULL));
		NEED(LOCK | WRITE, locks(fd, 0, 1, GUESTMEM_DMA_FROM_DEVICE, NULL));
		p = gm_mmap(fd, 0, PG, PROT_READ);
		NEED(MAP | READ, p == MAP_FAILED ? -errno : 0);
		if (p != MAP_FAILED) {
			EXPECT_EQ(gm_pattern(1), gm_peek((char *)p + 1));
			munmap(p, PG);
		}
		p = gm_mmap(fd, 0, PG, PROT_READ | PROT_WRITE);
		NEED(MAP | READ | WRITE, p == MAP_FAILED ? -errno : 0);
		if (p != MAP_FAILED)
			munmap(p, PG);
		sub = gm_view(fd, 0, PG, rights, 0, NULL);
		NEED(EXPORT, sub < 0 ? sub : 0);
		if (sub >= 0)
			close(sub);
		EXPECT_EQ(-EACCES, gm_user_add(fd, self->mem.va, 8 * PG, PG, 0, NULL));
		EXPECT_EQ(-EACCES, gm_remove(fd, self->id[0]));
		close(fd);
	}
}

TEST_F(view, list)
{
	struct guestmem_view_list list;
	struct guestmem_view entry[4];
	int a, b, c, i;
	__u64 id[3];

	a = gm_view(self->fd, FIRST + PG, 4 * PG, ALL, 0, &id[0]);
	b = gm_view(self->fd, SECOND, PG, READ, GUESTMEM_VIEW_KEEP, &id[1]);
	c = gm_view(a, 2 * PG, PG, READ | LOCK, 0, &id[2]);
	ASSERT_LE(0, c);
	ASSERT_EQ(0, locks(c, 0, 1, GUESTMEM_DMA_TO_DEVICE, NULL));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EMSGSIZE, gm_view_list(self->fd, &list, .entries = (uintptr_t)entry,
						  .entry_size = sizeof(*entry), .nentries = i));
		EXPECT_EQ(3, list.nentries);
	}
	ASSERT_EQ(0, gm_view_list(self->fd, &list, .entries = (uintptr_t)entry,
				  .entry_size = sizeof(*entry), .nentries = 4));
	ASSERT_EQ(3, list.nentries);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(id[i], entry[i].id);
		EXPECT_EQ(getpid(), (pid_t)entry[i].pid);
		EXPECT_EQ(i == 2 ? id[0] : gm_view_id(self->fd), entry[i].parent);
		EXPECT_EQ(i == 2 ? 1 : 0, entry[i].nlocks);
	}
	EXPECT_EQ(FIRST + PG, entry[0].address);
	EXPECT_EQ(4 * PG, entry[0].len);
	EXPECT_EQ(0, entry[0].start);
	EXPECT_EQ(ALL, entry[0].rights);
	EXPECT_EQ(SECOND, entry[1].address);
	EXPECT_EQ(SECOND, entry[1].start);
	EXPECT_EQ(FIRST + 3 * PG, entry[2].address);
	EXPECT_EQ(0, entry[2].start);

	/* One sees those that it made, by its own addresses. */
	ASSERT_EQ(0, gm_view_list(a, &list, .entries = (uintptr_t)entry,
				  .entry_size = sizeof(*entry), .nentries = 4));
	ASSERT_EQ(1, list.nentries);
	EXPECT_EQ(id[2], entry[0].id);
	EXPECT_EQ(2 * PG, entry[0].address);
	EXPECT_EQ(0, gm_view_list(c, &list, .entry_size = sizeof(*entry)));
	EXPECT_EQ(0, list.nentries);
	EXPECT_EQ(-ENOENT, gm_limit(a, id[1], 0));
	close(a);
	close(b);
	close(c);
}

/* Taken away: from it and from those that were made from it, and from nobody else. */
TEST_F(view, limit)
{
	int a = gm_view(self->fd, FIRST, 8 * PG, ALL, 0, NULL);
	int sub = gm_view(a, 0, 8 * PG, ALL, 0, NULL);
	int other = gm_view(self->fd, FIRST, 8 * PG, ALL, 0, NULL);
	struct guestmem_table_entry *entry;
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct pollfd pfd = { .fd = sub, .events = POLLPRI | POLLOUT | POLLIN };
	unsigned char *p, *q, *r;
	struct guestmem_eventfd ev;
	struct guestmem_info info;
	__u64 value;
	__u32 n;

	ASSERT_LE(0, sub);
	ASSERT_LE(0, other);
	p = gm_mmap(a, 0, 8 * PG, PROT_READ | PROT_WRITE);
	q = gm_mmap(sub, 0, 8 * PG, PROT_READ | PROT_WRITE);
	r = gm_mmap(other, 0, 8 * PG, PROT_READ | PROT_WRITE);
	entry = table(sub, &n);
	ASSERT_TRUE(p != MAP_FAILED && q != MAP_FAILED && r != MAP_FAILED && entry);
	EXPECT_EQ(0, gm_poke(p, 1));
	EXPECT_EQ(0, gm_poke(q + PG, 1));
	EXPECT_EQ(0, gm_poke(r + 2 * PG, 1));
	EXPECT_EQ(0, entry->flags);
	ASSERT_EQ(0, gm_eventfd(sub, &ev, .fd = efd, .events = GUESTMEM_EVENT_LIMITED));

	ASSERT_EQ(0, gm_limit(self->fd, gm_view_id(a), ~(__u32)WRITE));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(a));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(sub));
	EXPECT_EQ(ALL, gm_rights(other));
	EXPECT_EQ(1, gm_peek(p));
	EXPECT_EQ(-SIGBUS, gm_poke(p, 2));
	EXPECT_EQ(-SIGBUS, gm_poke(q + PG, 2));
	EXPECT_EQ(1, gm_peek(q + PG));
	EXPECT_EQ(0, gm_poke(r + 2 * PG, 2));
	EXPECT_EQ(-EACCES, writes(a, 0, 1));
	EXPECT_EQ(-EACCES, writes(sub, 0, 1));
	EXPECT_EQ(-EACCES, locks(sub, 0, 1, GUESTMEM_DMA_FROM_DEVICE, NULL));
	EXPECT_EQ(0, locks(sub, 0, 1, GUESTMEM_DMA_TO_DEVICE, &n));
	EXPECT_EQ(0, gm_unlock_handle(sub, n));
	EXPECT_EQ(GUESTMEM_REGION_READONLY, entry->flags);
	EXPECT_EQ(8, read(efd, &value, 8));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLPRI | POLLIN, pfd.revents);
	ASSERT_EQ(0, gm_info(sub, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS));
	EXPECT_EQ(GUESTMEM_EVENT_LIMITED, info.events);

	/* Never raised. */
	ASSERT_EQ(0, gm_limit(self->fd, gm_view_id(a), ~0U));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(a));

	/* By himself, also without EXPORT. */
	ASSERT_EQ(0, gm_limit(sub, gm_view_id(sub), READ | MAP));
	EXPECT_EQ(READ | MAP, gm_rights(sub));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(a));
	ASSERT_EQ(0, gm_limit(sub, gm_view_id(sub), READ));
	EXPECT_EQ(-SIGBUS, gm_peek(q + PG));
	EXPECT_EQ(-EACCES, gm_limit(sub, gm_view_id(a), 0));

	/* The guest's own file can have less, too. */
	ASSERT_EQ(0, gm_limit(self->fd, gm_view_id(self->fd), ~(__u32)GUESTMEM_RIGHT_MANAGE));
	EXPECT_EQ(-EACCES, gm_remove(self->fd, self->id[0]));
	EXPECT_EQ(0, gm_poke(r + 3 * PG, 2));
	munmap(p, 8 * PG);
	munmap(q, 8 * PG);
	munmap(r, 8 * PG);
	untable(entry);
	close(efd);
	close(a);
	close(sub);
	close(other);
}

TEST_F(view, revoke)
{
	int a = gm_view(self->fd, FIRST, 8 * PG, ALL, 0, NULL);
	int sub = gm_view(a, 0, 8 * PG, ALL, 0, NULL);
	struct guestmem_range range = { 0, PG };
	struct guestmem_table_entry *entry;
	struct guestmem_view_create vc;
	struct guestmem_region regions[4];
	struct guestmem_view_limit vl;
	struct guestmem_translate tr;
	struct guestmem_extent ext;
	struct guestmem_table *t;
	struct pollfd pfd = { .fd = sub };
	struct guestmem_info info;
	unsigned char *p;
	__u32 handle, n;

	ASSERT_LE(0, sub);
	p = gm_mmap(sub, 0, 8 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, p);
	entry = table(sub, &n);
	ASSERT_NE(NULL, entry);
	t = (void *)((uintptr_t)entry & ~(PG - 1));
	EXPECT_EQ(1, t->nentries);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	ASSERT_EQ(0, locks(sub, 0, 1, GUESTMEM_DMA_TO_DEVICE, &handle));

	EXPECT_EQ(-ETIMEDOUT, gm_view_limit(self->fd, &vl, .id = gm_view_id(a), .timeout_ms = 20));
	EXPECT_EQ(1, vl.nlocks);
	EXPECT_EQ(GUESTMEM_REASON_LOCKED, vl.err.reason);
	EXPECT_EQ(0, gm_rights(a));
	EXPECT_EQ(0, gm_rights(sub));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(0, t->nentries);
	EXPECT_EQ(-ESTALE, reads(sub, 0, 0, 1));
	EXPECT_EQ(-ESTALE, writes(sub, 0, 1));
	EXPECT_EQ(-ESTALE, locks(sub, 0, 1, GUESTMEM_DMA_TO_DEVICE, NULL));
	EXPECT_EQ(-ESTALE, gm_translate(sub, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
					.extents = (uintptr_t)&ext, .nextents = 1));
	EXPECT_EQ(GUESTMEM_REASON_REVOKED, tr.err.reason);
	EXPECT_EQ(-ESTALE, gm_list(sub, regions, 4));
	EXPECT_EQ(-ESTALE, gm_limit(sub, gm_view_id(sub), 0));
	EXPECT_EQ(-1, lseek(sub, 0, SEEK_DATA));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(MAP_FAILED, gm_mmap(sub, GUESTMEM_MMAP_TABLE, PG, PROT_READ));
	EXPECT_EQ(ESTALE, errno);
	ASSERT_EQ(0, gm_info(sub, &info));
	EXPECT_EQ(0, info.nregions);
	EXPECT_EQ(0, info.last);
	EXPECT_EQ(-ESTALE, gm_view_create(sub, &vc, .address = 0, .len = PG, .rights = READ));
	EXPECT_EQ(MAP_FAILED, gm_mmap(sub, 0, PG, PROT_READ));
	EXPECT_EQ(ESTALE, errno);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_TRUE(pfd.revents & POLLHUP);

	/* Asked again, it waits for the same lock; the lock can still be released. */
	EXPECT_EQ(-ETIMEDOUT, gm_view_limit(self->fd, &vl, .id = gm_view_id(sub)));
	EXPECT_EQ(0, gm_unlock_handle(sub, handle));
	EXPECT_EQ(0, gm_view_limit(self->fd, &vl, .id = gm_view_id(a),
				   .timeout_ms = GUESTMEM_WAIT_FOREVER));
	EXPECT_EQ(0, vl.nlocks);
	munmap(p, 8 * PG);
	untable(entry);
	close(a);
	close(sub);
}

TEST_F(view, revoke_all)
{
	int fd[20], other, i;
	struct guestmem_view_limit vl;

	for (i = 0; i < 20; i++) {
		fd[i] = gm_view(i % 2 ? fd[i - 1] : self->fd, i % 2 ? 0 : FIRST, PG, ALL, 0, NULL);
		ASSERT_LE(0, fd[i]);
	}
	other = gm_view(fd[0], 0, PG, READ, 0, NULL);
	/* Those that @fd[0] made, but not itself. */
	ASSERT_EQ(0, gm_view_limit(fd[0], &vl, .flags = GUESTMEM_VIEW_ALL));
	EXPECT_EQ(-ESTALE, reads(other, 0, 0, 1));
	EXPECT_EQ(-ESTALE, reads(fd[1], 0, 0, 1));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(i == 1 ? -ESTALE : 0, reads(fd[i], 0, 0, 1));
	}
	ASSERT_EQ(0, gm_view_limit(self->fd, &vl, .flags = GUESTMEM_VIEW_ALL));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(-ESTALE, reads(fd[i], 0, 0, 1));
		close(fd[i]);
	}
	close(other);
	EXPECT_EQ(0, reads(self->fd, FIRST, 0, 100));
}

static void *unlock_later(void *arg)
{
	int *fd_and_handle = arg;

	usleep(100000);
	gm_unlock_handle(fd_and_handle[0], (__u32)fd_and_handle[1]);
	return NULL;
}

/* A limit waits for the locks that need what is taken away, and for no others. */
TEST_F(view, limit_waits)
{
	int fd = gm_view(self->fd, FIRST, 8 * PG, ALL, 0, NULL), arg[2];
	struct guestmem_view_limit vl;
	__u32 reading, writing;
	pthread_t thread;
	double start;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, locks(fd, 0, PG, GUESTMEM_DMA_TO_DEVICE, &reading));
	ASSERT_EQ(0, locks(fd, 0, PG, GUESTMEM_DMA_FROM_DEVICE, &writing));
	ASSERT_EQ(0, locks(self->fd, FIRST, PG, GUESTMEM_DMA_FROM_DEVICE, NULL));
	arg[0] = fd;
	arg[1] = (int)writing;
	ASSERT_EQ(0, pthread_create(&thread, NULL, unlock_later, arg));
	start = gm_now();
	EXPECT_EQ(0, gm_view_limit(self->fd, &vl, .id = gm_view_id(fd), .rights = ~(__u32)WRITE,
				   .timeout_ms = GUESTMEM_WAIT_FOREVER));
	EXPECT_LT(0.05, gm_now() - start);
	pthread_join(thread, NULL);
	/* Closing ends them as well. */
	EXPECT_EQ(-ETIMEDOUT, gm_view_limit(self->fd, &vl, .id = gm_view_id(fd), .rights = MAP));
	EXPECT_EQ(1, vl.nlocks);
	close(fd);
}

static _Atomic int stop;
static int racing_fd;
static unsigned char *racing;

static void *race(void *arg)
{
	long n = 0;

	while (!stop) {
		unsigned char c = 1;

		n += gm_poke(racing + rand_r(arg) % 8 * PG, 1) == 0;
		n += pwrite(racing_fd, &c, 1, rand_r(arg) % 8 * PG) == 1;
	}
	return (void *)n;
}

/* After the right to write is gone, nothing is written, whoever is at it. */
TEST_F(view, limit_against_writers)
{
	unsigned int seed[4] = { 1, 2, 3, 4 };
	pthread_t threads[4];
	long written = 0, n;
	int i, round, page;
	void *result;

	for (round = 0; round < 40; round++) {
		racing_fd = gm_view(self->fd, FIRST, 8 * PG, ALL, 0, NULL);
		ASSERT_LE(0, racing_fd);
		racing = gm_mmap(racing_fd, 0, 8 * PG, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, racing);
		stop = 0;
		for (i = 0; i < 4; i++)
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, race, &seed[i]));
		usleep(2000 + round * 100);
		ASSERT_EQ(0, gm_limit(self->fd, gm_view_id(racing_fd), round % 2 ? READ | MAP : 0));
		memset(self->mem.va, 0, 8 * PG);
		usleep(1000);
		for (page = 0; page < 8; page++)
			EXPECT_EQ(0, self->mem.va[page * PG]) TH_LOG("round %d", round);
		stop = 1;
		for (i = 0; i < 4; i++) {
			pthread_join(threads[i], &result);
			n = (long)result;
			written += n;
		}
		munmap(racing, 8 * PG);
		close(racing_fd);
	}
	EXPECT_LT(0, written);
}

/* Of regions that come and go, a view hears if they are in it. */
TEST_F(view, events)
{
	int fd = gm_view(self->fd, THIRD, 8 * PG, READ | MAP, 0, NULL);
	unsigned char *p = gm_mmap(fd, 0, 8 * PG, PROT_READ);
	struct guestmem_info info;
	__u32 id;

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(gm_pattern(28 * PG), gm_peek(p));
	ASSERT_EQ(0, gm_remove(self->fd, self->id[0]));
	ASSERT_EQ(0, gm_info(fd, &info));
	EXPECT_EQ(0, info.events);
	EXPECT_EQ(gm_pattern(28 * PG), gm_peek(p));
	ASSERT_EQ(0, gm_revoke(self->fd, self->id[2]));
	ASSERT_EQ(0, gm_info(fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS));
	EXPECT_EQ(GUESTMEM_EVENT_REVOKED, info.events);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	ASSERT_EQ(0, gm_mem_add(self->fd, &self->mem, THIRD + 6 * PG, 0, 8 * PG, 0, &id));
	ASSERT_EQ(0, gm_info(fd, &info, .flags = GUESTMEM_INFO_TAKE_EVENTS));
	EXPECT_EQ(GUESTMEM_EVENT_ADDED, info.events);
	EXPECT_EQ(THIRD + 8 * PG - 1 - THIRD, info.last);
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + 7 * PG));
	munmap(p, 8 * PG);
	close(fd);
}

/* A driver sees what the file that it was given shows. */
TEST_F(view, driver)
{
	int fd = gm_view(self->fd, FIRST + 3 * PG, 8 * PG, ALL, 0, NULL);
	int readonly = gm_view(fd, PG, PG, READ | LOCK, 0, NULL);
	unsigned char buf[4096];

	ASSERT_LE(0, readonly);
	EXPECT_EQ(0, kapi(fd, GUESTMEM_KAPI_READ, 5, 4000, buf, 0));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 3 * PG + 5, 4000));
	EXPECT_EQ(-ENXIO, kapi(fd, GUESTMEM_KAPI_READ, 8 * PG - 1, 2, buf, 0));
	EXPECT_EQ(0, kapi(fd, GUESTMEM_KAPI_FILL, 1, 1, NULL, 0x5a));
	EXPECT_EQ(0x5a, self->mem.va[3 * PG + 1]);
	/* The module checks that the pages of the list are those that it reads. */
	EXPECT_EQ(0, kapi(fd, GUESTMEM_KAPI_SG, 100, 6 * PG, NULL, PG));
	EXPECT_EQ(-ENXIO, kapi(fd, GUESTMEM_KAPI_SG, PG, 8 * PG, NULL, PG));
	EXPECT_EQ(0, kapi(readonly, GUESTMEM_KAPI_READ, 5, 4000, buf, 0));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 4 * PG + 5, 4000));
	EXPECT_EQ(-EACCES, kapi(readonly, GUESTMEM_KAPI_FILL, 1, 1, NULL, 0x5a));
	EXPECT_EQ(0, gm_limit(self->fd, gm_view_id(fd), 0));
	EXPECT_EQ(-ESTALE, kapi(readonly, GUESTMEM_KAPI_READ, 5, 1, buf, 0));
	EXPECT_EQ(-ESTALE, kapi(fd, GUESTMEM_KAPI_SG, 0, PG, NULL, PG));
	close(readonly);
	close(fd);
}

/* Given away over a socket, to a process that outlives who gave it. */
TEST_F(view, passed_on)
{
	int fd = gm_view(self->fd, FIRST, PG, READ | MAP, 0, NULL), sock[2], ready[2];
	__u64 id = gm_view_id(fd);
	int status;
	pid_t pid;
	char c;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid) {
		int got = gm_receive_fd(sock[1]);
		unsigned char *p = gm_mmap(got, 0, PG, PROT_READ);

		close(self->fd);
		close(fd);
		if (p == MAP_FAILED || gm_peek(p) != gm_pattern(0) ||
		    gm_mmap(got, 0, PG, PROT_WRITE) != MAP_FAILED || write(ready[1], "x", 1) != 1)
			_exit(1);
		while (gm_peek(p) == gm_pattern(0))
			;
		_exit(gm_peek(p) == -SIGBUS && reads(got, 0, 0, 1) == -ESTALE ? 0 : 2);
	}
	ASSERT_EQ(0, gm_send_fd(sock[0], fd));
	close(fd);
	EXPECT_EQ(1, read(ready[0], &c, 1));
	/* Its file is the other's now. */
	EXPECT_EQ(0, gm_limit(self->fd, id, 0));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-ENOENT, gm_limit(self->fd, id, 0));
	close(sock[0]);
	close(sock[1]);
	close(ready[0]);
	close(ready[1]);
}

/* As many as there can be, and one more. */
TEST_F(view, quota)
{
	struct rlimit limit = { 8192, 8192 };
	struct guestmem_view_create vc;
	struct guestmem_info info;
	int *fd;
	__u32 i;

	ASSERT_EQ(0, gm_info(self->fd, &info));
	fd = calloc(info.max_views, sizeof(*fd));
	ASSERT_NE(NULL, fd);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	for (i = 0; i < info.max_views; i++) {
		fd[i] = gm_view(self->fd, FIRST, PG, READ, 0, NULL);
		ASSERT_LE(0, fd[i]);
	}
	EXPECT_EQ(-ENOSPC, gm_view_create(self->fd, &vc, .address = FIRST, .len = PG,
					  .rights = READ));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, vc.err.reason);
	EXPECT_EQ(info.max_views, vc.err.limit);
	/* A region that goes has to look at all of them. */
	EXPECT_EQ(0, gm_remove(self->fd, self->id[0]));
	for (i = 0; i < info.max_views; i++)
		close(fd[i]);

	/* Who was given a view cannot use up what is everybody's. */
	fd[0] = gm_view(self->fd, FIRST, PG, READ | EXPORT, 0, NULL);
	ASSERT_LE(0, fd[0]);
	ASSERT_EQ(0, gm_info(fd[0], &info));
	EXPECT_GT(4096, info.max_views);
	for (i = 1; i <= info.max_views; i++) {
		fd[i] = gm_view(fd[i > 1], 0, PG, READ | EXPORT, 0, NULL);
		ASSERT_LE(0, fd[i]);
	}
	EXPECT_EQ(-ENOSPC, gm_view(fd[1], 0, PG, READ, 0, NULL));
	EXPECT_EQ(-ENOSPC, gm_view(fd[0], 0, PG, READ, 0, NULL));
	for (i = 0; i <= info.max_views; i++)
		close(fd[i]);
	free(fd);

	/* Without a descriptor there is no view. */
	limit.rlim_cur = 3;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-EMFILE, gm_view(self->fd, FIRST, PG, READ, 0, NULL));
	limit.rlim_cur = limit.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	ASSERT_EQ(0, gm_info(self->fd, &info));
	EXPECT_EQ(0, info.nviews);
}

TEST_HARNESS_MAIN
