// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains: what is mapped, and what a client sees of that, by each way.
 *
 * How it is taken back is in domain_fault.c, what races in domain_race.c, and the
 * reference in domain_reference.c.
 */
#include "domain.h"

/* ---- domains and mappings ---- */

TEST_F(domain, create)
{
	struct guestmem_domain_create dc;
	const struct {
		__u64 page_sizes, start, last;
		__u32 rights;
		int ret;
	} tries[] = {
		{ PG, 0, -1ULL, READ, 0 },
		{ PG, 0, PG - 1, READ, 0 },
		{ PG, -PG, -1ULL, READ, 0 },
		{ PG | GM_HUGE | 1ULL << 30, 0, -1ULL, ALL, 0 },
		{ GM_HUGE, GM_HUGE, 3 * GM_HUGE - 1, ALL, 0 },
		{ 0, 0, -1ULL, READ, -EINVAL },
		{ PG / 2, 0, -1ULL, READ, -EINVAL },
		{ PG | PG / 2, 0, -1ULL, READ, -EINVAL },
		{ PG, 1, -1ULL, READ, -EINVAL },
		{ PG, 0, PG, READ, -EINVAL },
		{ PG, 0, 0, READ, -EINVAL },
		{ PG, 2 * PG, 2 * PG - 1, READ, -EINVAL },
		{ PG, 4 * PG, 2 * PG - 1, READ, -EINVAL },
		{ GM_HUGE, PG, -1ULL, READ, -EINVAL },
		{ PG, 0, -1ULL, 0, -EINVAL },
		{ PG, 0, -1ULL, READ | GUESTMEM_RIGHT_MANAGE, -EACCES },
		{ PG, 0, -1ULL, READ | EXPORT, -EACCES },
		{ PG, 0, -1ULL, READ | GUESTMEM_RIGHT_TRANSLATE_HPA, -EACCES },
		{ PG, 0, -1ULL, READ | 1U << 31, -EACCES },
	};
	struct guestmem_info before = info_of(self->fd), info;
	unsigned int i;
	int view;

	for (i = 0; i < ARRAY_SIZE(tries); i++) {
		EXPECT_EQ(tries[i].ret, gm_domain_create(self->fd, &dc, .start = tries[i].start,
							 .last = tries[i].last,
							 .rights = tries[i].rights,
							 .page_sizes = tries[i].page_sizes))
			TH_LOG("%u", i);
		if (tries[i].ret) {
			EXPECT_EQ(-1, dc.fd) TH_LOG("%u", i);
			EXPECT_NE(0, dc.err.reason) TH_LOG("%u", i);
			continue;
		}
		ASSERT_LE(0, dc.fd);
		EXPECT_EQ(FD_CLOEXEC, fcntl(dc.fd, F_GETFD));
		info = info_of(dc.fd);
		EXPECT_EQ(dc.id, info.domain);
		EXPECT_EQ(dc.id, info.view);
		EXPECT_EQ(0, info.nmappings);
		EXPECT_LE(65536, info.max_mappings);
		EXPECT_EQ(before.nviews + 1, info_of(self->fd).nviews);
		close(dc.fd);
		EXPECT_EQ(before.nviews, info_of(self->fd).nviews);
	}
	/* What a file has not, its domains have not. */
	view = gm_view(self->fd, FIRST, PG, READ | EXPORT, 0, NULL);
	EXPECT_EQ(-EACCES, gm_domain(view, RW));
	close(view);
	view = gm_view(self->fd, FIRST, PG, RW, 0, NULL);
	EXPECT_EQ(-EACCES, gm_domain(view, READ));
	close(view);
}

TEST_F(domain, map_bad_input)
{
	struct guestmem_domain_map dm;
	struct guestmem_domain_create dc;
	struct guestmem_domain_unmap du;
	struct guestmem_mapping m;
	unsigned int i;
	const struct {
		struct guestmem_mapping m;
		int ret;
		__u32 reason;
		__u64 addr;
	} bad[] = {
		{ MAPPING(16 * PG, 0, FIRST, RW), -EINVAL, GUESTMEM_REASON_EMPTY, 0 },
		{ MAPPING(16 * PG + 1, PG, FIRST, RW), -EINVAL, GUESTMEM_REASON_MISALIGNED,
		  16 * PG + 1 },
		{ MAPPING(16 * PG, PG + 1, FIRST, RW), -EINVAL,
		  GUESTMEM_REASON_MISALIGNED, PG + 1 },
		{ MAPPING(16 * PG, PG, FIRST + 1, RW), -EINVAL, GUESTMEM_REASON_MISALIGNED,
		  FIRST + 1 },
		{ MAPPING(-PG, 2 * PG, FIRST, RW), -EOVERFLOW, GUESTMEM_REASON_WRAPS, -PG },
		{ MAPPING(16 * PG, 2 * PG, -PG, RW), -EOVERFLOW, GUESTMEM_REASON_WRAPS, -PG },
		{ MAPPING(16 * PG, PG, FIRST, 0), -EINVAL, GUESTMEM_REASON_RIGHT, 0 },
		{ MAPPING(16 * PG, PG, FIRST, READ, .backing = 99), -EOPNOTSUPP,
		  GUESTMEM_REASON_NONE, 0 },
		{ MAPPING(16 * PG, PG, FIRST, READ, .fd = 1), -EOPNOTSUPP,
		  GUESTMEM_REASON_NONE, 0 },
		{ MAPPING(16 * PG, PG, FIRST, READ, .reserved = 1), -EOPNOTSUPP,
		  GUESTMEM_REASON_NONE, 0 },
		{ MAPPING(8 * PG, PG, FIRST, RW), -EEXIST, GUESTMEM_REASON_OVERLAP, 8 * PG },
		{ MAPPING(9 * PG, PG, FIRST, RW), -EEXIST, GUESTMEM_REASON_OVERLAP, 9 * PG },
		/* Where the overlap begins. */
		{ MAPPING(7 * PG, 4 * PG, FIRST, RW), -EEXIST, GUESTMEM_REASON_OVERLAP, 8 * PG },
		{ MAPPING(7 * PG, 2 * PG, FIRST, RW), -EEXIST, GUESTMEM_REASON_OVERLAP, 8 * PG },
		{ MAPPING(0, -PG, 0, RW), -EEXIST, GUESTMEM_REASON_OVERLAP, 8 * PG },
	};

	ASSERT_EQ(0, gm_map_iova(self->dom, 8 * PG, 2 * PG, FIRST, RW));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(bad[i].ret, gm_domain_map(self->dom, &dm, .nmappings = 1,
						    .mappings = (uintptr_t)&bad[i].m))
			TH_LOG("%u", i);
		EXPECT_EQ(bad[i].reason, dm.err.reason) TH_LOG("%u", i);
		if (bad[i].addr) {
			EXPECT_EQ(bad[i].addr, dm.err.addr) TH_LOG("%u", i);
		}
		EXPECT_EQ(0, dm.failed);
	}
	EXPECT_EQ(1, info_of(self->dom).nmappings);
	/* Next to it on both sides. */
	EXPECT_EQ(0, gm_map_iova(self->dom, 7 * PG, PG, FIRST, READ));
	EXPECT_EQ(0, gm_map_iova(self->dom, 10 * PG, PG, FIRST, WRITE));
	EXPECT_EQ(-ERANGE, TAKE_BACK(self->dom, &du, .iova = 7 * PG, .len = 2 * PG));
	EXPECT_EQ(8 * PG, du.err.addr);
	EXPECT_EQ(2 * PG, du.err.need);
	EXPECT_EQ(-ERANGE, TAKE_BACK(self->dom, &du, .iova = 9 * PG, .len = 2 * PG));
	EXPECT_EQ(8 * PG, du.err.addr);
	EXPECT_EQ(-EOPNOTSUPP, TAKE_BACK(self->dom, &du, .flags = GUESTMEM_UNMAP_ALL, .len = PG));
	EXPECT_EQ(-EOPNOTSUPP, TAKE_BACK(self->dom, &du, .len = PG, .eventfd = self->efd));
	EXPECT_EQ(-EBADF, TAKE_BACK(self->dom, &du, .iova = 8 * PG, .len = 2 * PG, .eventfd = -1,
				    .flags = GUESTMEM_UNMAP_EVENTFD));
	EXPECT_EQ(-EBADF, TAKE_BACK(self->dom, &du, .iova = 8 * PG, .len = 2 * PG,
				    .eventfd = self->fd, .flags = GUESTMEM_UNMAP_EVENTFD));
	EXPECT_EQ(3, info_of(self->dom).nmappings);
	/* Told at once when there is nobody to wait for. */
	EXPECT_EQ(0, TAKE_BACK(self->dom, &du, .iova = 8 * PG, .len = 2 * PG,
			       .eventfd = self->efd, .flags = GUESTMEM_UNMAP_EVENTFD));
	EXPECT_EQ(1, take(self->efd, 0));
	EXPECT_EQ(0, du.fault);

	/* An aperture, and pages that are larger than the processor's. */
	ASSERT_EQ(0, gm_domain_create(self->fd, &dc, .page_sizes = 4 * PG | 64 * PG,
				      .start = 8 * PG, .last = 32 * PG - 1, .rights = RW));
	EXPECT_EQ(-EINVAL, gm_map_iova(dc.fd, 8 * PG, PG, FIRST, RW));
	EXPECT_EQ(-EINVAL, gm_map_iova(dc.fd, 9 * PG, 4 * PG, FIRST, RW));
	EXPECT_EQ(-EINVAL, gm_map_iova(dc.fd, 8 * PG, 4 * PG, FIRST + PG, RW));
	m = (struct guestmem_mapping)MAPPING(4 * PG, 8 * PG, FIRST, RW);
	EXPECT_EQ(-EINVAL, gm_domain_map(dc.fd, &dm, .mappings = (uintptr_t)&m, .nmappings = 1));
	EXPECT_EQ(GUESTMEM_REASON_APERTURE, dm.err.reason);
	EXPECT_EQ(4 * PG, dm.err.addr);
	EXPECT_EQ(8 * PG, dm.err.need);
	EXPECT_EQ(8 * PG, dm.err.limit);
	m.iova = 28 * PG;
	EXPECT_EQ(-EINVAL, gm_domain_map(dc.fd, &dm, .mappings = (uintptr_t)&m, .nmappings = 1));
	EXPECT_EQ(GUESTMEM_REASON_APERTURE, dm.err.reason);
	EXPECT_EQ(32 * PG - 1, dm.err.limit);
	EXPECT_EQ(0, gm_map_iova(dc.fd, 8 * PG, 24 * PG, FIRST, RW));
	close(dc.fd);
}

/* The whole of it, and its very end. */
TEST_F(domain, map_limits)
{
	struct guestmem_domain_unmap du;
	struct guestmem_domain_list dl;
	struct guestmem_mapping m[2];
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, -PG, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, -2 * PG, PG, -PG, RW));
	EXPECT_EQ(0, gm_export_iova(self->ses, -PG, PG, RW, &h));
	EXPECT_EQ(0, gm_release_handle(self->ses, h));
	EXPECT_EQ(0, gm_export_iova(self->ses, -1ULL, 1, RW, &h));
	/* No region is there. */
	EXPECT_EQ(-ENXIO, gm_export_iova(self->ses, -PG - 1, 2, RW, NULL));
	EXPECT_EQ(1, gm_release_all(self->ses));
	ASSERT_EQ(0, gm_domain_list(self->dom, &dl, .iova = -1ULL, .entries = (uintptr_t)m,
				    .nentries = 2));
	ASSERT_EQ(1, dl.nentries);
	EXPECT_EQ(-PG, m[0].iova);
	ASSERT_EQ(0, TAKE_BACK(self->dom, &du, .iova = 1, .len = -1ULL));
	EXPECT_EQ(2, du.nmappings);
	/* All but one page: its length is told in 64 bits. */
	EXPECT_EQ(0, gm_map_iova(self->dom, PG, -PG, 0, READ));
	EXPECT_EQ(0, gm_export_iova(self->ses, FIRST + PG, 16 * PG, READ, &h));
	EXPECT_EQ(0, reads(self->ses, FIRST + PG, 0, 100));
	EXPECT_EQ(-ERANGE, gm_unmap_iova(self->dom, PG, -2 * PG));
	EXPECT_EQ(-ERANGE, gm_unmap_iova(self->dom, 0, -1ULL));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, PG, -PG));
	EXPECT_EQ(1, gm_release_all(self->ses));
}

/* Of a batch everything, or nothing, and which it was. */
TEST_F(domain, map_batch)
{
	enum { N = 1000 };
	static struct guestmem_mapping m[N], got[N];
	struct guestmem_domain_unmap du;
	struct guestmem_domain_list dl;
	struct guestmem_domain_map dm;
	__u64 generation, iova = 0;
	__u32 i, n, step;

	for (i = 0; i < N; i++)
		m[i] = (struct guestmem_mapping)MAPPING(2 * (N - i) * PG, PG, i % 32 * PG, READ);
	generation = info_of(self->dom).generation;
	/* The first, one in the middle, the last. */
	for (i = 0; i < N; i += (N - 1) / 2) {
		m[i].iova++;
		EXPECT_EQ(-EINVAL, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
						 .nmappings = N));
		EXPECT_EQ(i, dm.failed);
		m[i].iova--;
		m[i].rights = 0;
		EXPECT_EQ(-EINVAL, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
						 .nmappings = N));
		EXPECT_EQ(i, dm.failed);
		m[i].rights = READ;
		/* One overlaps another of the same batch: either may be blamed. */
		m[i].iova = m[(i + N / 3) % N].iova;
		EXPECT_EQ(-EEXIST, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
						 .nmappings = N));
		EXPECT_TRUE(dm.failed == i || dm.failed == (i + N / 3) % N);
		m[i].iova = 2 * (N - i) * PG;
		/* Or one that is there. */
		ASSERT_EQ(0, gm_map_iova(self->dom, m[i].iova, PG, 0, READ));
		EXPECT_EQ(-EEXIST, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
						 .nmappings = N));
		EXPECT_EQ(i, dm.failed);
		EXPECT_EQ(GUESTMEM_REASON_OVERLAP, dm.err.reason);
		ASSERT_EQ(0, gm_unmap_iova(self->dom, m[i].iova, PG));
		EXPECT_EQ(0, info_of(self->dom).nmappings);
	}
	EXPECT_EQ(-EINVAL, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m));
	EXPECT_EQ(GUESTMEM_REASON_EMPTY, dm.err.reason);
	EXPECT_EQ(-EINVAL, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
					 .nmappings = GUESTMEM_MAP_MAX + 1));
	EXPECT_EQ(GUESTMEM_REASON_TOO_LONG, dm.err.reason);
	EXPECT_EQ(GUESTMEM_MAP_MAX, dm.err.limit);
	ASSERT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m, .nmappings = N));
	EXPECT_LT(generation, info_of(self->dom).generation);
	EXPECT_EQ(N, info_of(self->dom).nmappings);

	/* Read again in pages of different size, by IOVA, with none twice and none left out. */
	for (step = 1; step <= N + 1; step = step * 3 + 1) {
		for (n = 0, iova = 0; n < N; n += dl.nentries, iova = dl.iova) {
			ASSERT_EQ(0, gm_domain_list(self->dom, &dl, .iova = iova,
						    .entries = (uintptr_t)(got + n),
						    .nentries = step < N - n ? step : N - n));
			EXPECT_EQ(info_of(self->dom).generation, dl.generation);
			ASSERT_LT(0, dl.nentries);
		}
		ASSERT_EQ(N, n);
		for (i = 0; i < N; i++)
			EXPECT_EQ(0, memcmp(&got[i], &m[N - 1 - i], sizeof(got[i])))
				TH_LOG("%u, step %u", i, step);
	}
	/* There are no more. */
	EXPECT_EQ(0, iova);
	ASSERT_EQ(0, gm_domain_list(self->dom, &dl, .iova = 2 * N * PG + PG,
				    .entries = (uintptr_t)got, .nentries = N));
	EXPECT_EQ(0, dl.nentries);
	EXPECT_EQ(0, dl.iova);
	/* No room is not the same as no more. */
	ASSERT_EQ(0, gm_domain_list(self->dom, &dl, .iova = 5 * PG, .entries = (uintptr_t)got));
	EXPECT_EQ(0, dl.nentries);
	EXPECT_EQ(5 * PG, dl.iova);
	/* In the middle of one: it ends at or behind that. */
	ASSERT_EQ(0, gm_domain_list(self->dom, &dl, .iova = 3 * PG - 1, .entries = (uintptr_t)got,
				    .nentries = 1));
	EXPECT_EQ(2 * PG, got[0].iova);
	ASSERT_EQ(0, gm_domain_list(self->dom, &dl, .iova = 3 * PG, .entries = (uintptr_t)got,
				    .nentries = 1));
	EXPECT_EQ(4 * PG, got[0].iova);

	ASSERT_EQ(0, TAKE_BACK(self->dom, &du, .iova = 3 * PG, .len = 10 * PG));
	EXPECT_EQ(5, du.nmappings);
	ASSERT_EQ(0, TAKE_BACK(self->dom, &du, .flags = GUESTMEM_UNMAP_ALL));
	EXPECT_EQ(N - 5, du.nmappings);
	EXPECT_EQ(0, info_of(self->dom).nmappings);
	ASSERT_EQ(0, TAKE_BACK(self->dom, &du, .flags = GUESTMEM_UNMAP_ALL));
	EXPECT_EQ(0, du.nmappings);
}

/* As many at once as there may be in one call, in no order. */
TEST_F(domain, map_most)
{
	const __u32 n = GUESTMEM_MAP_MAX;
	struct guestmem_mapping *m = calloc(n, sizeof(*m));
	struct guestmem_domain_unmap du;
	struct guestmem_domain_map dm;
	__u32 i;

	ASSERT_NE(NULL, m);
	for (i = 0; i < n; i++)
		m[i] = (struct guestmem_mapping)MAPPING((__u64)(i * 40503U % n) * PG, PG,
							FIRST + i * 40503U % 16 * PG, RW);
	ASSERT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m, .nmappings = n));
	EXPECT_EQ(n, info_of(self->dom).nmappings);
	ASSERT_EQ(0, gm_export_iova(self->ses, 5, 40 * PG, READ, NULL));
	EXPECT_EQ(0, reads(self->ses, 16 * PG + 9, 9, PG));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .flags = GUESTMEM_UNMAP_ALL));
	EXPECT_EQ(n, du.nmappings);
	EXPECT_NE(0, du.fault);
	free(m);
}

/* Each right both ways: of the domain, of the session, of the mapping, of the region. */
TEST_F(domain, permissions)
{
	const __u32 each[] = { READ, WRITE, RW };
	unsigned int d, s, m, x;

	for (d = 0; d < 3; d++) {
		int dom = gm_domain(self->fd, each[d] | MAP | LOCK);
		struct guestmem_domain_map dm;

		ASSERT_LE(0, dom);
		for (m = 0; m < 3; m++) {
			struct guestmem_mapping mapping = MAPPING(m * PG, PG, FIRST + m * PG,
								  each[m]);
			bool allowed = (each[m] & each[d]) == each[m];

			EXPECT_EQ(allowed ? 0 : -EACCES,
				  gm_domain_map(dom, &dm, .nmappings = 1,
						.mappings = (uintptr_t)&mapping));
			if (!allowed) {
				EXPECT_EQ(GUESTMEM_REASON_RIGHT, dm.err.reason);
			}
		}
		for (s = 0; s < 3; s++) {
			int ses = gm_session(dom, each[s] | MAP | LOCK, NULL);

			EXPECT_EQ((each[s] & each[d]) != each[s], ses == -EACCES);
			if (ses < 0)
				continue;
			for (m = 0; m < 3; m++) {
				if ((each[m] & each[d]) != each[m])
					continue;
				for (x = 0; x < 3; x++) {
					__u32 may = each[m] & each[s], r = each[x];
					struct guestmem_export ex;
					int ret;

					ret = gm_export(ses, &ex, .iova = m * PG, .len = PG,
							.rights = r);
					EXPECT_EQ((may & r) == r ? 0 : -EACCES, ret)
						TH_LOG("%u %u %u %u", d, s, m, x);
					if (ret) {
						EXPECT_EQ((each[s] & r) != r ?
							  GUESTMEM_REASON_RIGHT :
							  GUESTMEM_REASON_PERMISSION,
							  ex.err.reason);
						continue;
					}
					/* What was exported for it, and no more. */
					ret = reads(ses, m * PG, m * PG, 100);
					EXPECT_TRUE(r & READ ? !ret :
						    ret == -EACCES || ret == -EBADF)
						TH_LOG("%u %u %u %u: %d", d, s, m, x, ret);
					ret = writes(ses, m * PG, gm_pattern(m * PG));
					EXPECT_TRUE(r & WRITE ? !ret :
						    ret == -EACCES || ret == -EBADF)
						TH_LOG("%u %u %u %u: %d", d, s, m, x, ret);
					EXPECT_EQ(r & READ ? 0 : -EACCES,
						  locks(ses, m * PG, 1, GUESTMEM_DMA_TO_DEVICE,
							NULL));
					EXPECT_EQ(r & WRITE ? 0 : -EACCES,
						  locks(ses, m * PG, 1, GUESTMEM_DMA_FROM_DEVICE,
							NULL));
					EXPECT_EQ(1, gm_release_all(ses));
				}
			}
			close(ses);
		}
		close(dom);
	}
	/* A read-only region can be mapped for writing, as nobody need use it so. */
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, SECOND, RW));
	EXPECT_EQ(-EACCES, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, gm_export_iova(self->ses, 0, PG, READ, NULL));
	EXPECT_EQ(0, reads(self->ses, 0, 16 * PG, PG));
	EXPECT_EQ(-EACCES, writes(self->ses, 0, 1));
}

/* Mappings in a process are of whole pages, and by the same rights. */
TEST_F(domain, mmap)
{
	unsigned char *p, *q;
	__u32 h[4];

	ASSERT_EQ(0, gm_map_iova(self->dom, 4 * PG, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, 8 * PG, PG, FIRST + 8 * PG, READ));
	ASSERT_EQ(0, gm_map_iova(self->dom, 9 * PG, PG, FIRST + 9 * PG, WRITE));
	p = gm_mmap(self->ses, 0, 16 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	/* Nothing is exported yet. */
	EXPECT_EQ(-SIGBUS, gm_peek(p + 4 * PG));
	EXPECT_EQ(-SIGBUS, gm_poke(p + 4 * PG, 1));
	/* One whole page, and parts of those around it. */
	ASSERT_EQ(0, gm_export_iova(self->ses, 4 * PG + 1, 2 * PG + 1, RW, &h[0]));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 4 * PG + 1));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + 5 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 6 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 3 * PG));
	/* By system call it is by bytes. */
	EXPECT_EQ(0, reads(self->ses, 4 * PG + 1, 1, 2 * PG + 1));
	EXPECT_EQ(0, writes(self->ses, 6 * PG + 1, gm_pattern(2 * PG + 1)));
	EXPECT_EQ(-ENXIO, writes(self->ses, 4 * PG, 1));
	EXPECT_EQ(-ENXIO, writes(self->ses, 6 * PG + 2, 1));
	EXPECT_EQ(-ENXIO, reads(self->ses, 4 * PG, 0, 1));
	EXPECT_EQ(0, gm_poke(p + 5 * PG + 7, 0x77));
	EXPECT_EQ(0x77, self->mem.va[PG + 7]);

	/* One that is read-only, and one that cannot be read. */
	ASSERT_EQ(0, gm_export_iova(self->ses, 8 * PG, PG, READ, &h[1]));
	EXPECT_EQ(gm_pattern(8 * PG), gm_peek(p + 8 * PG));
	EXPECT_EQ(-SIGBUS, gm_poke(p + 8 * PG, 1));
	EXPECT_EQ(-EACCES, writes(self->ses, 8 * PG, 1));
	ASSERT_EQ(0, gm_export_iova(self->ses, 9 * PG, PG, WRITE, &h[2]));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 9 * PG));
	EXPECT_EQ(-EACCES, reads(self->ses, 9 * PG, 9 * PG, 1));
	EXPECT_EQ(0, writes(self->ses, 9 * PG, 0x11));
	EXPECT_EQ(0x11, self->mem.va[9 * PG]);

	/* Two exports of a page: it remains until both are gone, and in all mappings of it. */
	q = gm_mmap(self->ses, 4 * PG, 4 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)q);
	ASSERT_EQ(0, gm_export_iova(self->ses, 5 * PG, PG, READ, &h[3]));
	EXPECT_EQ(gm_pattern(PG), gm_peek(q + PG));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(gm_pattern(PG), gm_peek(q + PG));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + 5 * PG));
	EXPECT_EQ(-ENXIO, reads(self->ses, 4 * PG + 1, 1, 1));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[3]));
	EXPECT_EQ(-SIGBUS, gm_peek(q + PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 5 * PG));
	EXPECT_EQ(-ENXIO, writes(self->ses, 5 * PG, 1));
	EXPECT_EQ(2, gm_release_all(self->ses));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 8 * PG));
	munmap(p, 16 * PG);
	munmap(q, 4 * PG);

	/* A private mapping, the translation table, a domain. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PG, PROT_READ, MAP_PRIVATE, self->ses, 0));
	EXPECT_EQ(MAP_FAILED, gm_mmap(self->ses, GUESTMEM_MMAP_TABLE, PG, PROT_READ));
	EXPECT_EQ(MAP_FAILED, gm_mmap(self->dom, 0, PG, PROT_READ));
	EXPECT_EQ(ENODEV, errno);
}

/* A page that one export has all of is mapped, whatever others there are that end in it. */
TEST_F(domain, mmap_beside_a_part)
{
	const __u64 part[] = { 4 * PG - 100, 4 * PG, 4 * PG + 100, 5 * PG - 100 };
	unsigned char *p = gm_mmap(self->ses, 0, 8 * PG, PROT_READ | PROT_WRITE);
	unsigned int i, whole_first;

	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 8 * PG, FIRST, RW));
	for (i = 0; i < ARRAY_SIZE(part); i++) {
		for (whole_first = 0; whole_first < 2; whole_first++) {
			if (whole_first)
				ASSERT_EQ(0, gm_export_iova(self->ses, 4 * PG, PG, RW, NULL));
			ASSERT_EQ(0, gm_export_iova(self->ses, part[i], 200, RW, NULL));
			if (!whole_first)
				ASSERT_EQ(0, gm_export_iova(self->ses, 4 * PG, PG, RW, NULL));
			EXPECT_EQ(gm_pattern(4 * PG), gm_peek(p + 4 * PG))
				TH_LOG("part at %#llx", (unsigned long long)part[i]);
			EXPECT_EQ(-SIGBUS, gm_peek(p + 3 * PG));
			EXPECT_EQ(-SIGBUS, gm_peek(p + 5 * PG));
			EXPECT_EQ(0, reads(self->ses, 4 * PG, 4 * PG, PG));
			EXPECT_EQ(2, gm_release_all(self->ses));
			EXPECT_EQ(-SIGBUS, gm_peek(p + 4 * PG));
		}
	}
	munmap(p, 8 * PG);
}

/* One export is for reading only, another one of the same for writing only. */
TEST_F(domain, exports_for_different_things)
{
	struct guestmem_copy copy;
	int order;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	for (order = 0; order < 2; order++) {
		ASSERT_EQ(0, gm_export_iova(self->ses, order, PG, READ, NULL));
		ASSERT_EQ(0, gm_export_iova(self->ses, !order, PG, WRITE, NULL));
		EXPECT_EQ(0, reads(self->ses, 8, 8, 64));
		EXPECT_EQ(0, writes(self->ses, 8, gm_pattern(8)));
		EXPECT_EQ(0, locks(self->ses, 8, 8, GUESTMEM_DMA_TO_DEVICE, NULL));
		EXPECT_EQ(0, locks(self->ses, 8, 8, GUESTMEM_DMA_FROM_DEVICE, NULL));
		EXPECT_EQ(0, gm_copy(self->ses, &copy, .dst = 64, .src = 8, .len = 8));
		gm_pattern_set(self->mem.va, PG);
		EXPECT_EQ(2, gm_release_all(self->ses));
	}
}

/* What lies in huge pages is split where the export ends. */
TEST_F(domain, huge)
{
	struct gm_mem mem;
	unsigned char *p;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&mem, GM_HUGETLB, 2 * GM_HUGE));
	ASSERT_EQ(0, gm_mem_add(self->fd, &mem, 4 * GM_GPA, 0, 2 * GM_HUGE, 0, &id));
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 2 * GM_HUGE, 4 * GM_GPA, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, GM_HUGE + PG + 1, RW, NULL));
	p = mmap(NULL, 4 * GM_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	p = (unsigned char *)(((uintptr_t)p + GM_HUGE - 1) & ~(GM_HUGE - 1));
	ASSERT_EQ((void *)p, mmap(p, 2 * GM_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				  self->ses, 0));
	EXPECT_EQ(gm_pattern(17 * PG), gm_peek(p + 17 * PG));
	EXPECT_EQ(gm_pattern(GM_HUGE), gm_peek(p + GM_HUGE));
	EXPECT_EQ(-SIGBUS, gm_peek(p + GM_HUGE + PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + GM_HUGE + 2 * PG));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 0, 2 * GM_HUGE));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 17 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + GM_HUGE));
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_EQ(0, gm_remove(self->fd, id));
	munmap(p, 2 * GM_HUGE);
	gm_mem_free(&mem);
}

/* All that a file can do with GPAs, a session does with IOVAs, here in reverse order. */
TEST_F(domain, accesses)
{
	struct guestmem_range range = { 0, 4 * PG };
	struct guestmem_extent ext[16];
	struct guestmem_translate tr;
	struct guestmem_atomic atomic;
	struct guestmem_fill fill;
	struct guestmem_copy copy;
	unsigned char buf[64];
	struct guestmem_info info;
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, gm_map_iova(self->dom, i * PG, PG, FIRST + (12 - 2 * i) * PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 4 * PG, RW, NULL));
	info = info_of(self->ses);
	EXPECT_EQ(4 * PG, info.pinned);
	EXPECT_EQ(0, info.nregions);
	EXPECT_EQ(1, info.nexports);
	EXPECT_EQ(self->dom_id, info.domain);
	EXPECT_EQ(self->ses_id, info.view);
	EXPECT_EQ(ALL, info.rights);
	EXPECT_EQ(0, info.nmappings);
	EXPECT_EQ(info_of(self->dom).generation, info.generation);
	EXPECT_EQ(1, info_of(self->dom).nexports);
	EXPECT_EQ(0, info_of(self->fd).domain);

	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, reads(self->ses, i * PG + 3, (12 - 2 * i) * PG + 3, PG - 3));
	/* Across the border of two mappings. */
	ASSERT_EQ(64, pread(self->ses, buf, 64, (off_t)PG - 32));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 13 * PG - 32, 32));
	EXPECT_EQ(0, gm_pattern_cmp(buf + 32, 10 * PG, 32));
	EXPECT_EQ(0, gm_fill(self->ses, &fill, .gpa = PG - 4, .len = 8, .value = 9));
	EXPECT_EQ(8, fill.done);
	EXPECT_EQ(9, self->mem.va[13 * PG - 1]);
	EXPECT_EQ(9, self->mem.va[10 * PG]);
	EXPECT_EQ(gm_pattern(13 * PG), self->mem.va[13 * PG]);
	EXPECT_EQ(-ENXIO, gm_fill(self->ses, &fill, .gpa = 4 * PG - 4, .len = 8, .value = 9));
	EXPECT_EQ(4, fill.done);
	EXPECT_EQ(0, gm_copy(self->ses, &copy, .dst = 3 * PG, .src = 2 * PG - 8, .len = 16));
	EXPECT_EQ(0, memcmp(self->mem.va + 6 * PG, self->mem.va + 11 * PG - 8, 8));
	EXPECT_EQ(0, memcmp(self->mem.va + 6 * PG + 8, self->mem.va + 8 * PG, 8));
	EXPECT_EQ(0, gm_atomic(self->ses, &atomic, .op = GUESTMEM_ATOMIC_XCHG, .width = 8,
			       .gpa = PG + 8, .operand = { 0x1122334455667788 }));
	EXPECT_EQ(0x88, self->mem.va[10 * PG + 8]);
	EXPECT_EQ(-ENXIO, gm_atomic(self->ses, &atomic, .op = GUESTMEM_ATOMIC_ADD, .width = 8,
				    .gpa = 4 * PG));
	ASSERT_EQ(0, gm_translate(self->ses, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
				  .extents = (uintptr_t)ext, .nextents = 16));
	EXPECT_LE(4, tr.nextents);
	EXPECT_EQ(0, ext[0].gpa);
	EXPECT_EQ(4 * PG, ext[tr.nextents - 1].gpa + ext[tr.nextents - 1].len);
	range.len++;
	EXPECT_EQ(-ENXIO, gm_translate(self->ses, &tr, .ranges = (uintptr_t)&range, .nranges = 1,
				       .extents = (uintptr_t)ext, .nextents = 16));
	EXPECT_EQ(4 * PG, tr.err.addr);
	EXPECT_EQ(-ENXIO, locks(self->ses, 4 * PG - 1, 2, GUESTMEM_DMA_TO_DEVICE, NULL));
	EXPECT_EQ(0, locks(self->ses, 0, 4 * PG, GUESTMEM_DMA_BIDIRECTIONAL, NULL));
	EXPECT_EQ(1, info_of(self->ses).nlocks);
	/* A lock is its own: it remains when the export has gone. */
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_EQ(1, info_of(self->ses).nlocks);
	EXPECT_EQ(0, info_of(self->ses).pinned);
}

/* A driver that was given a session's file is a client like others. */
TEST_F(domain, driver)
{
	unsigned char buf[4096];

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 2 * PG, FIRST + 3 * PG, RW));
	EXPECT_EQ(-ENXIO, kapi(self->ses, GUESTMEM_KAPI_READ, 5, 100, buf, 0));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	EXPECT_EQ(0, kapi(self->ses, GUESTMEM_KAPI_READ, 5, 4000, buf, 0));
	EXPECT_EQ(0, gm_pattern_cmp(buf, 3 * PG + 5, 4000));
	EXPECT_EQ(0, kapi(self->ses, GUESTMEM_KAPI_FILL, 1, 1, NULL, 0x5a));
	EXPECT_EQ(0x5a, self->mem.va[3 * PG + 1]);
	EXPECT_EQ(0, kapi(self->ses, GUESTMEM_KAPI_SG, 100, PG, NULL, PG));
	EXPECT_EQ(-ENXIO, kapi(self->ses, GUESTMEM_KAPI_SG, PG, PG + 1, NULL, PG));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 0, 2 * PG));
	EXPECT_EQ(-ENXIO, kapi(self->ses, GUESTMEM_KAPI_READ, 5, 100, buf, 0));
	EXPECT_EQ(-ENXIO, kapi(self->ses, GUESTMEM_KAPI_SG, 0, PG, NULL, PG));
}

TEST_F(domain, pieces)
{
	const struct { __u64 iova, npages, gpa; __u32 rights; } maps[] = {
		{ 0, 1, FIRST, RW }, { 1, 2, FIRST + PG, RW },		/* one piece */
		{ 3, 1, FIRST + 3 * PG, READ },			/* another permission */
		{ 4, 1, FIRST + 4 * PG, RW },
		{ 5, 1, FIRST + 8 * PG, RW },				/* another place */
		{ 6, 1, FIRST + 7 * PG, RW },				/* backwards */
		{ 7, 1, FIRST + 15 * PG, READ },
		{ 8, 1, SECOND, READ },					/* another region */
	};
	struct guestmem_piece p[16];
	struct guestmem_export ex;
	unsigned int i;
	__u32 n, h;
	int ses;

	for (i = 0; i < ARRAY_SIZE(maps); i++)
		ASSERT_EQ(0, gm_map_iova(self->dom, maps[i].iova * PG, maps[i].npages * PG,
					 maps[i].gpa, maps[i].rights));
	for (n = 0; n < 6; n++) {
		EXPECT_EQ(n ? -EMSGSIZE : 0,
			  gm_export(self->ses, &ex, .iova = 7, .len = 9 * PG - 9, .rights = READ,
				    .pieces = (uintptr_t)p, .npieces = n));
		EXPECT_EQ(6, ex.npieces);
		if (n) {
			EXPECT_EQ(6, ex.err.need);
			EXPECT_EQ(n, ex.err.limit);
		}
	}
	EXPECT_EQ(1, gm_release_all(self->ses));
	memset(p, 0xa5, sizeof(p));
	ASSERT_EQ(6, exported(self->ses, 7, 9 * PG - 9, p, 16, &h));
	EXPECT_PIECE(p[0], 7, 3 * PG - 7, FIRST + 7, RW);
	EXPECT_PIECE(p[1], 3 * PG, PG, FIRST + 3 * PG, READ);
	EXPECT_PIECE(p[2], 4 * PG, PG, FIRST + 4 * PG, RW);
	EXPECT_PIECE(p[3], 5 * PG, PG, FIRST + 8 * PG, RW);
	EXPECT_PIECE(p[4], 6 * PG, PG, FIRST + 7 * PG, RW);
	EXPECT_PIECE(p[5], 7 * PG, 2 * PG - 2, FIRST + 15 * PG, READ);
	/* Not a byte behind the last one. */
	EXPECT_EQ(0xa5, *(unsigned char *)&p[6]);

	/* Who may not translate is not told where it is, but what it is. */
	ses = gm_session(self->dom, ALL & ~TRANSLATE, NULL);
	ASSERT_LE(0, ses);
	ASSERT_LE(1, exported(ses, 3 * PG, 2 * PG, p, 16, &h));
	EXPECT_PIECE(p[0], 3 * PG, PG, 0, READ);
	EXPECT_PIECE(p[1], 4 * PG, PG, 0, RW);
	close(ses);
}

/* Memory that is in no guest, by address and by file. */
TEST_F(domain, external_memory)
{
	struct guestmem_mapping m[3], got[4];
	struct guestmem_domain_list dl;
	struct guestmem_domain_map dm;
	struct guestmem_piece p[4];
	unsigned char *map, *old;
	struct gm_mem anon, file;
	__u32 h, handle;
	long pinned;

	ASSERT_EQ(0, gm_mem_alloc(&anon, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_mem_alloc(&file, GM_MEMFD, 4 * PG));
	pinned = gm_vmpin();
	m[0] = (struct guestmem_mapping)MAPPING(0, 2 * PG, (uintptr_t)anon.va + PG, RW,
						.backing = GUESTMEM_BACKING_USER);
	m[1] = (struct guestmem_mapping)MAPPING(2 * PG, 2 * PG, 2 * PG, READ, .fd = file.fd,
						.backing = GUESTMEM_BACKING_FILE);
	m[2] = (struct guestmem_mapping)MAPPING(4 * PG, PG, FIRST, RW);
	/* What fails has pinned nothing, though it was pinned before the one that failed. */
	m[2].len++;
	EXPECT_EQ(-EINVAL, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
					 .nmappings = 3));
	EXPECT_EQ(2, dm.failed);
	EXPECT_EQ(pinned, gm_vmpin());
	m[2].len--;
	/* Nor has what cannot all be mapped, by its own fault or another's. */
	m[1].iova -= PG;
	EXPECT_EQ(-EEXIST, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
					 .nmappings = 3));
	EXPECT_EQ(1, dm.failed);
	EXPECT_EQ(pinned, gm_vmpin());
	m[1].iova += PG;
	ASSERT_EQ(0, gm_map_iova(self->dom, 4 * PG, PG, FIRST, RW));
	EXPECT_EQ(-EEXIST, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
					 .nmappings = 3));
	EXPECT_EQ(2, dm.failed);
	EXPECT_EQ(pinned, gm_vmpin());
	ASSERT_EQ(0, gm_unmap_iova(self->dom, 4 * PG, PG));
	ASSERT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m, .nmappings = 3));
	EXPECT_LT(pinned, gm_vmpin());
	ASSERT_EQ(0, gm_domain_list(self->dom, &dl, .entries = (uintptr_t)got, .nentries = 4));
	ASSERT_EQ(3, dl.nentries);
	EXPECT_EQ(0, got[0].gpa);
	EXPECT_EQ(GUESTMEM_BACKING_USER, got[0].backing);
	EXPECT_EQ(0, got[1].gpa);
	EXPECT_EQ(0, got[1].fd);
	EXPECT_EQ(GUESTMEM_BACKING_FILE, got[1].backing);
	EXPECT_EQ(FIRST, got[2].gpa);
	EXPECT_EQ(0, got[2].backing);

	ASSERT_EQ(3, exported(self->ses, 1, 5 * PG - 1, p, 4, &h));
	EXPECT_PIECE(p[0], 1, 2 * PG - 1, 0, RW);
	EXPECT_PIECE(p[1], 2 * PG, 2 * PG, 0, READ);
	EXPECT_PIECE(p[2], 4 * PG, PG, FIRST, RW);
	EXPECT_EQ(0, reads(self->ses, 1, PG + 1, 100));
	EXPECT_EQ(0, reads(self->ses, 2 * PG, 2 * PG, 2 * PG));
	EXPECT_EQ(0, reads(self->ses, 4 * PG, 0, PG));
	EXPECT_EQ(-EACCES, writes(self->ses, 2 * PG, 1));
	EXPECT_EQ(1, gm_release_all(self->ses));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h));
	EXPECT_EQ(0, writes(self->ses, 5, 0x33));
	EXPECT_EQ(0x33, anon.va[PG + 5]);
	map = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)map);
	EXPECT_EQ(0x33, gm_peek(map + 5));
	EXPECT_EQ(0, gm_poke(map + PG, 0x44));
	EXPECT_EQ(0x44, anon.va[2 * PG]);
	ASSERT_EQ(0, locks(self->ses, 0, PG, GUESTMEM_DMA_FROM_DEVICE, &handle));
	/* It is not in the guest, but what is pinned for it is counted. */
	EXPECT_EQ(3, info_of(self->fd).nregions);
	EXPECT_EQ(28 * PG + 4 * PG, info_of(self->fd).pinned);

	/* Pinned as long as somebody has a lock on it. */
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 0, 2 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(map + 5));
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	EXPECT_LE(pinned + (long)PG, gm_vmpin());
	EXPECT_EQ(0, gm_unlock_handle(self->ses, handle));
	EXPECT_TRUE(settles(self->dom, 0));
	EXPECT_EQ(0, gm_unmap_iova(self->dom, 2 * PG, 3 * PG));
	EXPECT_EQ(pinned, gm_vmpin());

	/* Bad ones. */
	old = anon.va;
	m[0].gpa = (uintptr_t)old + 1;
	EXPECT_EQ(-EINVAL, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
					 .nmappings = 1));
	m[0].gpa = 8 * PG;
	EXPECT_EQ(-EFAULT, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
					 .nmappings = 1));
	m[1].fd = -1;
	EXPECT_EQ(-EBADF, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)&m[1],
					.nmappings = 1));
	m[1].fd = file.fd;
	m[1].gpa = 3 * PG;
	EXPECT_EQ(-EINVAL, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)&m[1],
					 .nmappings = 1));
	EXPECT_EQ(GUESTMEM_REASON_END_OF_FILE, dm.err.reason);
	EXPECT_EQ(pinned, gm_vmpin());
	munmap(map, 4 * PG);
	gm_mem_free(&anon);
	gm_mem_free(&file);
}

static void expect_sessions(struct __test_metadata *_metadata, int dom, int n)
{
	struct guestmem_domain_unmap du;
	int ses[64], i;
	__u64 id[64];

	ASSERT_EQ(0, gm_map_iova(dom, 0, 4 * PG, FIRST, RW));
	for (i = 0; i < n; i++) {
		ses[i] = gm_session(dom, ALL, &id[i]);
		ASSERT_LE(0, ses[i]);
		EXPECT_EQ(FD_CLOEXEC, fcntl(ses[i], F_GETFD));
		ASSERT_EQ(0, gm_export_iova(ses[i], i * 7, 2 * PG, RW, NULL));
		if (i)
			EXPECT_NE(id[i - 1], id[i]);
	}
	EXPECT_EQ((__u32)n, info_of(dom).nexports);
	EXPECT_EQ(GM_USED, TAKE_BACK(dom, &du, .len = 4 * PG));
	EXPECT_EQ((__u32)n, du.nusers);
	for (i = 0; i < n; i++) {
		EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(ses[i]) & GUESTMEM_EVENT_FAULT);
		EXPECT_EQ(1, info_of(ses[i]).broken);
		EXPECT_EQ(-ENXIO, writes(ses[i], i * 7, 1));
		EXPECT_EQ(1, info_of(dom).nfaults);
		/* Some release, some just go. */
		if (i % 3)
			EXPECT_EQ(1, gm_release_all(ses[i]));
		close(ses[i]);
	}
	EXPECT_TRUE(settles(dom, 0));
	EXPECT_EQ(0, info_of(dom).nexports);
}

TEST_F(domain, sessions_1)
{
	expect_sessions(_metadata, self->dom, 1);
}

TEST_F(domain, sessions_8)
{
	expect_sessions(_metadata, self->dom, 8);
}

TEST_F(domain, sessions_64)
{
	expect_sessions(_metadata, self->dom, 64);
}

TEST_F(domain, session_rights)
{
	struct guestmem_session_create sc;
	int dom = gm_domain(self->fd, READ | MAP), ses;

	ASSERT_LE(0, dom);
	EXPECT_EQ(-EINVAL, gm_session_create(dom, &sc));
	EXPECT_EQ(-EACCES, gm_session_create(dom, &sc, .rights = RW));
	EXPECT_EQ(GUESTMEM_REASON_RIGHT, sc.err.reason);
	EXPECT_EQ(-1, sc.fd);
	EXPECT_EQ(-EACCES, gm_session_create(dom, &sc, .rights = READ | EXPORT));
	EXPECT_EQ(-EACCES, gm_session_create(dom, &sc, .rights = READ | LOCK));
	/* Without MAP no mapping, without READ no reading. */
	ses = gm_session(dom, READ, NULL);
	ASSERT_LE(0, ses);
	ASSERT_EQ(0, gm_map_iova(dom, 0, PG, FIRST, READ));
	ASSERT_EQ(0, gm_export_iova(ses, 0, PG, READ, NULL));
	EXPECT_EQ(0, reads(ses, 0, 0, PG));
	EXPECT_EQ(MAP_FAILED, gm_mmap(ses, 0, PG, PROT_READ));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-EACCES, locks(ses, 0, 1, GUESTMEM_DMA_TO_DEVICE, NULL));
	close(ses);
	close(dom);
}

/* Each ioctl of each kind of file. */
TEST_F(domain, ioctls_of_other_files)
{
	static const unsigned long cmds[] = {
		GUESTMEM_INFO, GUESTMEM_REGION_ADD, GUESTMEM_REGION_REMOVE, GUESTMEM_REGION_LIST,
		GUESTMEM_TRANSLATE, GUESTMEM_LOCK, GUESTMEM_UNLOCK, GUESTMEM_FILL, GUESTMEM_COPY,
		GUESTMEM_ATOMIC, GUESTMEM_EVENTFD, GUESTMEM_VIEW_CREATE, GUESTMEM_VIEW_LIST,
		GUESTMEM_VIEW_LIMIT, GUESTMEM_DOMAIN_CREATE, GUESTMEM_DOMAIN_MAP,
		GUESTMEM_DOMAIN_UNMAP, GUESTMEM_DOMAIN_LIST, GUESTMEM_SESSION_CREATE,
		GUESTMEM_EXPORT, GUESTMEM_RELEASE,
	};
	/* By the number of the ioctl; what is not certain, such as VIEW_LIST, is left out. */
	const __u32 guests = 0x7fff, domains = 1 << 0 | 1 << 10 | 0xf << 15;
	const __u32 sessions = 1 << 0 | 0x7f << 4 | 3 << 19;
	const __u32 open_domains = 1 << 12 | 1 << 13, open_sessions = open_domains;
	int view = gm_view(self->fd, FIRST, PG, ALL | EXPORT, 0, NULL), i, k;
	const struct { int fd; __u32 has, may; const char *name; } files[] = {
		{ self->fd, guests, 0, "guest" }, { view, guests, 0, "view" },
		{ self->dom, domains, open_domains, "domain" },
		{ self->ses, sessions, open_sessions, "session" },
	};

	for (k = 0; k < 4; k++) {
		for (i = 0; i < (int)ARRAY_SIZE(cmds); i++) {
			/* No struct has this size: who knows the ioctl says so. */
			struct { __u32 size, flags; __u64 rest[32]; } arg = { .size = 4 };

			if (files[k].may >> i & 1)
				continue;
			EXPECT_EQ(files[k].has >> i & 1 ? -EINVAL : -ENOTTY,
				  gm_ioctl(files[k].fd, cmds[i], &arg))
				TH_LOG("%s: %#lx", files[k].name, cmds[i]);
		}
	}
	close(view);
}

TEST_F(domain, quotas)
{
	__u32 i, most = info_of(self->ses).max_exports, nexports;
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_export ex;

	ASSERT_LE(0, other);
	ASSERT_LT(0, most);
	ASSERT_GE(1 << 20, most);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	for (i = 0; i < most; i++)
		ASSERT_EQ(0, gm_export_iova(self->ses, i % PG, 1, READ, NULL));
	EXPECT_EQ(-ENOSPC, gm_export(self->ses, &ex, .len = 1, .rights = READ));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, ex.err.reason);
	EXPECT_EQ(most, ex.err.limit);
	/* That is this session's alone. */
	EXPECT_EQ(0, gm_export_iova(other, 0, 1, READ, NULL));
	nexports = info_of(self->dom).nexports;
	EXPECT_EQ(most + 1, nexports);
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &(struct guestmem_domain_unmap){ 0 }, .len = PG));
	EXPECT_EQ(0, gm_release_all(self->ses));
	close(other);
}

/*
 * As many mappings as an export or a DMA lock can be of, none of which goes on where the
 * one before ends; and one more.
 */
TEST_F(domain, most_parts)
{
	enum { MOST = 16384 };
	struct guestmem_mapping *m = calloc(MOST + 1, sizeof(*m));
	struct guestmem_piece *p = calloc(MOST + 1, sizeof(*p));
	__u64 *pages = calloc(MOST + 1, sizeof(*pages));
	struct guestmem_info dom, ses, now;
	struct guestmem_region before, after;
	struct guestmem_domain_map dm;
	struct guestmem_export ex;
	struct guestmem_lock lock;
	__u32 i, h;

	ASSERT_NE(NULL, m);
	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, pages);
	for (i = 0; i <= MOST; i++) {
		m[i] = (struct guestmem_mapping)MAPPING(i * PG, PG, FIRST + i * 7 % 16 * PG, RW);
		pages[i] = i * PG;
	}
	ASSERT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
				   .nmappings = MOST + 1));
	ASSERT_EQ(0, gm_export_iova(self->ses, 5, PG, READ, NULL));
	dom = info_of(self->dom);
	ses = info_of(self->ses);
	/* A byte of the first one and of the last one will do. */
	EXPECT_EQ(-ENOSPC, gm_export(self->ses, &ex, .iova = PG - 1, .rights = READ,
				     .len = (MOST - 1) * PG + 2, .pieces = (uintptr_t)p,
				     .npieces = MOST + 1));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, ex.err.reason);
	EXPECT_EQ(MOST * PG, ex.err.addr);
	EXPECT_EQ(MOST + 1, ex.err.need);
	EXPECT_EQ(MOST, ex.err.limit);
	EXPECT_EQ(0, ex.handle);
	now = info_of(self->dom);
	EXPECT_EQ(0, memcmp(&dom, &now, sizeof(now)));
	now = info_of(self->ses);
	EXPECT_EQ(0, memcmp(&ses, &now, sizeof(now)));
	EXPECT_EQ(0, reads(self->ses, 5, 5, PG - 5));
	EXPECT_EQ(-ENXIO, reads(self->ses, 2 * PG, 14 * PG, 1));

	ASSERT_EQ(MOST, exported(self->ses, 0, MOST * PG, p, MOST + 1, &h));
	for (i = 0; i < MOST; i++)
		EXPECT_PIECE(p[i], m[i].iova, PG, m[i].gpa, RW);
	EXPECT_EQ(0, p[MOST].len);
	EXPECT_EQ(0, reads(self->ses, (MOST - 1) * PG, (MOST - 1) * 7 % 16 * PG, PG));
	EXPECT_EQ(-ENXIO, reads(self->ses, MOST * PG, 0, 1));
	ASSERT_EQ(0, gm_export_iova(self->ses, MOST * PG, PG, READ, NULL));

	ses = info_of(self->ses);
	ASSERT_EQ(0, gm_region_get(self->fd, self->id[0], &before));
	EXPECT_EQ(-ENOSPC, gm_lock(self->ses, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
				   .gpa = PG - 1, .len = (MOST - 1) * PG + 2));
	EXPECT_EQ(-ENOSPC, gm_lock(self->ses, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
				   .flags = GUESTMEM_LOCK_PAGES, .pages = (uintptr_t)pages,
				   .npages = MOST + 1));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, lock.err.reason);
	EXPECT_EQ(MOST * PG, lock.err.addr);
	EXPECT_EQ(MOST + 1, lock.err.need);
	EXPECT_EQ(MOST, lock.err.limit);
	EXPECT_EQ(0, lock.handle);
	now = info_of(self->ses);
	EXPECT_EQ(0, memcmp(&ses, &now, sizeof(now)));
	ASSERT_EQ(0, gm_region_get(self->fd, self->id[0], &after));
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(after)));

	ASSERT_EQ(0, gm_lock(self->ses, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
			     .len = MOST * PG));
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock.handle));
	ASSERT_EQ(0, gm_lock(self->ses, &lock, .direction = GUESTMEM_DMA_TO_DEVICE,
			     .flags = GUESTMEM_LOCK_PAGES, .pages = (uintptr_t)pages,
			     .npages = MOST));
	EXPECT_EQ(1, info_of(self->ses).nlocks);
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock.handle));
	EXPECT_EQ(3, gm_release_all(self->ses));
	/* By none of them is it used any more. */
	EXPECT_EQ(0, gm_unmap_iova(self->dom, 0, (MOST + 1) * PG));
	free(m);
	free(p);
	free(pages);
}

/* Of all domains: what nobody has the time and the memory for here, 8388608, is made less. */
static int set_max_mappings(const char *max)
{
	int fd = open("/sys/kernel/debug/guestmem/max_mappings", O_WRONLY | O_CLOEXEC);
	int rc = write(fd, max, strlen(max)) < 0 ? -errno : 0;

	close(fd);
	return rc;
}

TEST_F(domain, most_mappings)
{
	enum { MOST = 1000 };
	struct guestmem_info info = info_of(self->dom), now;
	int other = gm_domain(self->fd, ALL);
	struct guestmem_mapping m[MOST + 1];
	struct guestmem_domain_map dm;
	long pinned = gm_vmpin();
	__u32 i;

	ASSERT_LE(0, other);
	EXPECT_EQ(8388608, info.max_mappings);
	for (i = 0; i <= MOST; i++)
		m[i] = (struct guestmem_mapping)MAPPING(i * PG, PG, FIRST, RW);
	/* Of what is not in the guest, too. */
	m[MOST].gpa = (uintptr_t)self->mem.va;
	m[MOST].backing = GUESTMEM_BACKING_USER;
	ASSERT_EQ(0, set_max_mappings("1000"));
	EXPECT_EQ(MOST, info_of(self->dom).max_mappings);
	EXPECT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)m,
				   .nmappings = MOST - 1));
	info = info_of(self->dom);
	EXPECT_EQ(-ENOSPC, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)&m[MOST - 1],
					 .nmappings = 2));
	EXPECT_EQ(GUESTMEM_REASON_LIMIT, dm.err.reason);
	EXPECT_EQ(MOST + 1, dm.err.need);
	EXPECT_EQ(MOST, dm.err.limit);
	now = info_of(self->dom);
	EXPECT_EQ(0, memcmp(&info, &now, sizeof(now)));
	EXPECT_EQ(pinned, gm_vmpin());
	EXPECT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)&m[MOST - 1],
				   .nmappings = 1));
	EXPECT_EQ(MOST, info_of(self->dom).nmappings);
	EXPECT_EQ(-ENOSPC, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)&m[MOST],
					 .nmappings = 1));
	/* That is this domain's alone, and one that goes makes room. */
	EXPECT_EQ(0, gm_map_iova(other, 0, PG, FIRST, RW));
	EXPECT_EQ(0, gm_unmap_iova(self->dom, 7 * PG, PG));
	EXPECT_EQ(0, gm_domain_map(self->dom, &dm, .mappings = (uintptr_t)&m[MOST],
				   .nmappings = 1));
	EXPECT_EQ(0, set_max_mappings("8388608"));
	EXPECT_EQ(8388608, info_of(self->dom).max_mappings);
	EXPECT_EQ(0, gm_unmap_iova(self->dom, 0, (MOST + 1) * PG));
	EXPECT_EQ(pinned, gm_vmpin());
	close(other);
}

/* A domain and its sessions are views, and listed as such. */
TEST_F(domain, listed_as_views)
{
	struct guestmem_view_list list;
	struct guestmem_view v[4];

	ASSERT_EQ(0, gm_view_list(self->fd, &list, .entries = (uintptr_t)v,
				  .entry_size = sizeof(*v), .nentries = 4));
	ASSERT_EQ(2, list.nentries);
	EXPECT_EQ(self->dom_id, v[0].id);
	EXPECT_EQ(gm_view_id(self->fd), v[0].parent);
	EXPECT_EQ(self->ses_id, v[1].id);
	EXPECT_EQ(self->dom_id, v[1].parent);
	EXPECT_EQ(ALL, v[1].rights);
	EXPECT_EQ(GUESTMEM_VIEW_IS_DOMAIN, v[0].kind);
	EXPECT_EQ(GUESTMEM_VIEW_IS_SESSION, v[1].kind);
	EXPECT_EQ(0, v[0].start);
	EXPECT_EQ(0, v[0].len);
	EXPECT_EQ(0, v[0].address);
	EXPECT_EQ(getpid(), (pid_t)v[1].pid);
	EXPECT_EQ(2, info_of(self->fd).nviews);
}

TEST_HARNESS_MAIN
