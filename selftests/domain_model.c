// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anything that can be done with a domain and its sessions, in any order, compared with a
 * model. SEED and OPS are what the operations are chosen by, and how many there are.
 */
#include "domain.h"

GM_FIGURE("domain operations")

/*
 * The model knows IOVAs by pages, and exports by bytes. All memory is that of the first
 * region. Exports are for what their mappings allow, all of it: so what a byte can be
 * accessed for does not depend on which export it is accessed by.
 */
#define NPAGES		24U
#define NSESSIONS	3
#define NEXPORTS	64
#define NFAULTS		256

struct model_page {
	bool mapped;
	__u32 first, npages;	/* of its mapping */
	__u32 page;		/* of the region */
	__u32 rights;
};

struct model_export {
	bool used, dead;
	int ses;
	__u32 handle, rights;
	__u64 iova, len;
	unsigned long bits[NFAULTS / 64];	/* the faults that it is of */
};

struct model {
	unsigned int seed;
	struct model_page pages[NPAGES];
	struct model_export exports[NEXPORTS];
	bool broken[NSESSIONS];
	__u64 fault[NFAULTS];	/* the number of each; 0 if it is resolved, or not there */
	__u64 last_fault;
	__u32 forced;		/* a handle that was ended by force, and of whom */
	int forced_of;
};

static __u32 rnd(struct model *m, __u32 below)
{
	return (__u32)rand_r(&m->seed) % below;
}

static int fault_slot(const struct model *m)
{
	int i;

	for (i = 0; i < NFAULTS && m->fault[i]; i++)
		;
	return i;
}

/* Faults that nobody is of any more are resolved. */
static __u64 faults(struct model *m)
{
	__u64 n = 0;
	int f, e;

	for (f = 0; f < NFAULTS; f++) {
		bool left = false;

		if (!m->fault[f])
			continue;
		for (e = 0; e < NEXPORTS; e++)
			left |= m->exports[e].used && m->exports[e].bits[f / 64] >> f % 64 & 1;
		if (!left)
			m->fault[f] = 0;
		n += left;
	}
	return n;
}

static void drop(struct model_export *ex)
{
	memset(ex, 0, sizeof(*ex));
}

static __u32 nexports(const struct model *m, int ses)
{
	__u32 n = 0;
	int e;

	for (e = 0; e < NEXPORTS; e++)
		n += m->exports[e].used && (ses < 0 || m->exports[e].ses == ses);
	return n;
}

/* What all of its bytes allow; 0 if one of them is not mapped. */
static __u32 allowed(const struct model *m, __u64 iova, __u64 len)
{
	__u32 rights = RW;
	__u64 i;

	for (i = iova / PG; i <= (iova + len - 1) / PG; i++)
		rights &= i < NPAGES && m->pages[i].mapped ? m->pages[i].rights : 0;
	return rights;
}

static bool is_hole(const struct model *m, __u64 iova, __u64 len)
{
	__u64 i;

	for (i = iova / PG; i <= (iova + len - 1) / PG; i++)
		if (i >= NPAGES || !m->pages[i].mapped)
			return true;
	return false;
}

static __u32 rights_at(const struct model *m, int ses, __u64 iova)
{
	__u32 rights = 0;
	int e;

	for (e = 0; e < NEXPORTS; e++) {
		const struct model_export *ex = &m->exports[e];

		if (ex->used && !ex->dead && ex->ses == ses && iova >= ex->iova &&
		    iova - ex->iova < ex->len)
			rights |= ex->rights;
	}
	return rights;
}

static bool covered(const struct model *m, int ses, __u64 page)
{
	int e;

	/* By one export: what two are that share a page between them is not tested here. */
	for (e = 0; e < NEXPORTS; e++) {
		const struct model_export *ex = &m->exports[e];

		if (ex->used && !ex->dead && ex->ses == ses && ex->iova <= page * PG &&
		    ex->iova + ex->len >= (page + 1) * PG)
			return true;
	}
	return false;
}

static bool touched(const struct model *m, int ses, __u64 page)
{
	int e;

	for (e = 0; e < NEXPORTS; e++) {
		const struct model_export *ex = &m->exports[e];

		if (ex->used && !ex->dead && ex->ses == ses && ex->iova < (page + 1) * PG &&
		    ex->iova + ex->len > page * PG)
			return true;
	}
	return false;
}

static void do_map(struct __test_metadata *_metadata, struct model *m, int dom)
{
	__u32 first = rnd(m, NPAGES), n = 1 + rnd(m, 4), page = rnd(m, 12), i;
	__u32 rights = rnd(m, 3) ? RW : READ;
	bool overlaps = false;

	if (first + n > NPAGES)
		n = NPAGES - first;
	for (i = first; i < first + n; i++)
		overlaps |= m->pages[i].mapped;
	EXPECT_EQ(overlaps ? -EEXIST : 0,
		  gm_map_iova(dom, first * PG, n * PG, FIRST + page * PG, rights));
	for (i = 0; !overlaps && i < n; i++)
		m->pages[first + i] = (struct model_page){ true, first, n, page + i, rights };
}

static void do_unmap(struct __test_metadata *_metadata, struct model *m, int dom)
{
	__u32 first = rnd(m, NPAGES), n = 1 + rnd(m, rnd(m, 4) ? 4 : NPAGES), i;
	__u32 flags = rnd(m, 20) ? 0 : GUESTMEM_UNMAP_ALL, deadline = rnd(m, 3) ? FOREVER : 0;
	struct guestmem_domain_unmap du;
	__u32 mappings = 0, users = 0;
	int e, ret, slot = fault_slot(m);
	bool partly = false;

	if (first + n > NPAGES)
		n = NPAGES - first;
	if (flags) {
		first = 0;
		n = NPAGES;
	} else if (rnd(m, 2) && m->pages[first].mapped) {
		n = m->pages[first].npages;
		first = m->pages[first].first;
	}
	for (i = first; i < first + n; i++) {
		const struct model_page *p = &m->pages[i];

		partly |= p->mapped && (p->first < first || p->first + p->npages > first + n);
		mappings += p->mapped && p->first == i;
	}
	for (e = 0; e < NEXPORTS; e++) {
		const struct model_export *ex = &m->exports[e];

		users += ex->used && ex->iova < (first + n) * PG &&
			 ex->iova + ex->len > first * PG;
	}
	/* The model has room for so many. */
	if (users && slot == NFAULTS)
		return;
	ret = gm_domain_unmap(dom, &du, .flags = flags, .iova = flags ? 0 : first * PG,
			      .len = flags ? 0 : n * PG, .deadline_ms = deadline);
	if (partly) {
		EXPECT_EQ(-ERANGE, ret);
		return;
	}
	EXPECT_EQ(0, ret);
	EXPECT_EQ(mappings, du.nmappings);
	EXPECT_EQ(users && deadline ? users : 0, du.nusers);
	EXPECT_EQ(!!users, !!du.fault);
	for (i = first; i < first + n; i++)
		m->pages[i].mapped = false;
	if (!users)
		return;
	EXPECT_LT(m->last_fault, du.fault);
	m->last_fault = du.fault;
	if (deadline)
		m->fault[slot] = du.fault;
	for (e = 0; e < NEXPORTS; e++) {
		struct model_export *ex = &m->exports[e];

		if (!ex->used || ex->iova >= (first + n) * PG || ex->iova + ex->len <= first * PG)
			continue;
		m->broken[ex->ses] = true;
		ex->dead = true;
		if (deadline) {
			ex->bits[slot / 64] |= 1UL << slot % 64;
		} else {
			m->forced = ex->handle;
			m->forced_of = ex->ses;
			drop(ex);
		}
	}
}

static void do_export(struct __test_metadata *_metadata, struct model *m, const int *ses)
{
	__u64 iova = rnd(m, NPAGES * PG), len = 1 + rnd(m, rnd(m, 2) ? 3 * PG : 64);
	int s = rnd(m, NSESSIONS), e, expected;
	struct guestmem_piece pieces[8];
	struct guestmem_export ex;
	__u32 rights, wanted, n = 0;
	__u64 at;

	if (!rnd(m, 3)) {
		iova -= iova % PG;
		len = (1 + rnd(m, 3)) * PG;
	}
	for (e = 0; e < NEXPORTS && m->exports[e].used; e++)
		;
	if (e == NEXPORTS)
		return;
	rights = allowed(m, iova, len);
	/* Now and then too much; else all that is allowed, if that is the same everywhere. */
	wanted = rights & WRITE && rnd(m, 4) ? RW : READ;
	if (!is_hole(m, iova, len)) {
		__u64 i;

		for (i = iova / PG; i <= (iova + len - 1) / PG; i++)
			if (m->pages[i].rights != rights)
				return;
		wanted = rights;
		if (!rnd(m, 8))
			wanted = RW;
	}
	expected = m->broken[s] ? -ESTALE : is_hole(m, iova, len) ? -ENXIO :
		   (wanted & rights) != wanted ? -EACCES : 0;
	EXPECT_EQ(expected, gm_export(ses[s], &ex, .iova = iova, .len = len, .rights = wanted,
				      .pieces = (uintptr_t)pieces, .npieces = ARRAY_SIZE(pieces)));
	if (expected)
		return;
	m->exports[e] = (struct model_export){ .used = true, .ses = s, .handle = ex.handle,
					       .rights = wanted, .iova = iova, .len = len };
	/* Its pieces are the range, in order, as long as each can be. */
	for (at = iova; n < ex.npieces && n < ARRAY_SIZE(pieces); n++) {
		const struct model_page *p = &m->pages[at / PG];

		EXPECT_EQ(at, pieces[n].iova);
		EXPECT_EQ(FIRST + p->page * PG + at % PG, pieces[n].gpa);
		EXPECT_EQ(p->rights, pieces[n].rights);
		at += pieces[n].len;
		if (at < iova + len) {
			EXPECT_EQ(0, at % PG);
			EXPECT_NE(p->page + (at - 1) / PG - pieces[n].iova / PG + 1,
				  m->pages[at / PG].page);
		}
	}
	EXPECT_EQ(iova + len, at);
}

static void do_release(struct __test_metadata *_metadata, struct model *m, const int *ses)
{
	int e = rnd(m, NEXPORTS), s;
	struct model_export *ex = &m->exports[e];

	if (!rnd(m, 12)) {
		s = rnd(m, NSESSIONS);
		EXPECT_EQ((int)nexports(m, s), gm_release_all(ses[s]));
		for (e = 0; e < NEXPORTS; e++)
			if (m->exports[e].used && m->exports[e].ses == s)
				drop(&m->exports[e]);
		m->broken[s] = false;
	} else if (ex->used) {
		EXPECT_EQ(0, gm_release_handle(ses[ex->ses], ex->handle));
		EXPECT_EQ(-ENOENT, gm_release_handle(ses[ex->ses], ex->handle));
		drop(ex);
	} else if (m->forced) {
		EXPECT_EQ(-ENOENT, gm_release_handle(ses[m->forced_of], m->forced));
		m->forced = 0;
	}
}

/* A few bytes, by system call and by mapping. */
static void do_access(struct __test_metadata *_metadata, struct model *m, const int *ses,
		      unsigned char **maps, const unsigned char *va)
{
	__u64 iova = rnd(m, NPAGES * PG), i, len = 1 + rnd(m, 2 * PG);
	static unsigned char buf[3 * 4096];
	int s = rnd(m, NSESSIONS), value, err;
	__u64 page = iova / PG;
	__u32 rights;
	ssize_t n;

	for (i = 0; i < len && rights_at(m, s, iova + i) & READ; i++)
		;
	n = pread(ses[s], buf, len, (off_t)iova);
	err = n < 0 ? errno : 0;
	if (i) {
		EXPECT_EQ((ssize_t)i, n);
	} else {
		EXPECT_EQ(-1, n);
		EXPECT_EQ(ENXIO, err);
	}
	/* Where it lies is known by an export only as long as that lives. */
	while (n > 0 && --n >= 0) {
		const struct model_page *p = &m->pages[(iova + n) / PG];

		ASSERT_TRUE(p->mapped);
		if (buf[n] != va[p->page * PG + (iova + n) % PG]) {
			EXPECT_EQ(va[p->page * PG + (iova + n) % PG], buf[n])
				TH_LOG("at %#llx", (unsigned long long)iova + n);
			break;
		}
	}
	rights = rights_at(m, s, iova);
	if (rights) {
		const struct model_page *p = &m->pages[page];

		EXPECT_EQ(rights & WRITE ? 0 : -EACCES,
			  writes(ses[s], iova, va[p->page * PG + iova % PG]));
	} else {
		EXPECT_EQ(-ENXIO, writes(ses[s], iova, 0));
	}
	value = gm_peek(maps[s] + iova);
	if (covered(m, s, page)) {
		EXPECT_EQ(va[m->pages[page].page * PG + iova % PG], value);
		EXPECT_EQ(m->pages[page].rights & WRITE ? 0 : -SIGBUS,
			  gm_poke(maps[s] + iova, value));
	} else if (!touched(m, s, page)) {
		EXPECT_EQ(-SIGBUS, value);
	}
}

static void check_model(struct __test_metadata *_metadata, struct model *m, int dom,
			const int *ses)
{
	struct guestmem_mapping list[NPAGES];
	struct guestmem_domain_list dl;
	struct guestmem_info info;
	__u32 i, n = 0;
	int s;

	info = info_of(dom);
	EXPECT_EQ(faults(m), info.nfaults);
	EXPECT_EQ(nexports(m, -1), info.nexports);
	for (s = 0; s < NSESSIONS; s++) {
		__u64 pinned = 0;
		int e;

		for (e = 0; e < NEXPORTS; e++)
			if (m->exports[e].used && m->exports[e].ses == s)
				pinned += m->exports[e].len;
		info = info_of(ses[s]);
		EXPECT_EQ(nexports(m, s), info.nexports);
		EXPECT_EQ(m->broken[s], info.broken);
		EXPECT_GE(pinned, info.pinned);
	}
	ASSERT_EQ(0, gm_domain_list(dom, &dl, .entries = (uintptr_t)list, .nentries = NPAGES));
	for (i = 0; i < NPAGES; i++) {
		const struct model_page *p = &m->pages[i];

		if (!p->mapped || p->first != i)
			continue;
		ASSERT_GT(dl.nentries, n);
		EXPECT_EQ(i * PG, list[n].iova);
		EXPECT_EQ(p->npages * PG, list[n].len);
		EXPECT_EQ(FIRST + p->page * PG, list[n].gpa);
		EXPECT_EQ(p->rights, list[n].rights);
		n++;
	}
	EXPECT_EQ(n, dl.nentries);
}

TEST_F(domain, random)
{
	unsigned long ops = number("OPS", 3000), op;
	static struct model model;
	unsigned char *maps[NSESSIONS];
	int ses[NSESSIONS], s;

	model.seed = (unsigned int)number("SEED", 1);
	printf("# SEED=%u OPS=%lu\n", model.seed, ops);
	for (s = 0; s < NSESSIONS; s++) {
		ses[s] = s ? gm_session(self->dom, ALL, NULL) : self->ses;
		ASSERT_LE(0, ses[s]);
		maps[s] = gm_mmap(ses[s], 0, NPAGES * PG, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, (void *)maps[s]);
	}
	for (op = 0; op < ops; op++) {
		__u32 what = rnd(&model, 100);

		if (what < 20)
			do_map(_metadata, &model, self->dom);
		else if (what < 30)
			do_unmap(_metadata, &model, self->dom);
		else if (what < 55)
			do_export(_metadata, &model, ses);
		else if (what < 75)
			do_release(_metadata, &model, ses);
		else
			do_access(_metadata, &model, ses, maps, self->mem.va);
		if (op % 16 == 0)
			check_model(_metadata, &model, self->dom, ses);
		if (_metadata->exit_code == KSFT_FAIL) {
			TH_LOG("operation %lu, kind %u", op, what);
			break;
		}
		++*gm_figure;
		if (op % 256 == 0)
			forget_records(self->dom);
	}
	for (s = 0; s < NSESSIONS; s++) {
		EXPECT_LE(0, gm_release_all(ses[s]));
		munmap(maps[s], NPAGES * PG);
		if (s)
			close(ses[s]);
	}
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(0, info_of(self->dom).nexports);
}

TEST_HARNESS_MAIN
