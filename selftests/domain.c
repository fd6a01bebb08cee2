// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains: what a client of an IOVA domain sees, and that it can be taken back from him
 * at any time, whatever he does.
 *
 * The protocol is that of crosvm's MemoryMapper, which has holes: each of these has a test
 * here, hole_*, that shows it closed. What races is in domain_race.c.
 */
#include "domain.h"
#include "modules/guestmem_kapi.h"

/* ---- the reference's state machine ---- */

/*
 * NONE: no session, so what is a session's is asked of the domain's own file.
 * IDLE: a session that has exported nothing.
 * ACTIVE: a session with an export of the page at 0.
 * HIT: likewise, and with an export of the page at 8 that was unmapped.
 * SPENT: likewise, but all released, one by one.
 */
enum state { NONE, IDLE, ACTIVE, HIT, SPENT, NSTATES, SAME = NSTATES };

/* Two files and two handles; @live and @dead are 0 where there is no such export. */
struct machine {
	int dom, ses;
	__u32 live, dead;
	__u64 fault;		/* the last one's number */
	struct guestmem_domain_unmap du;
};

static int machine_make(struct machine *m, int guest, enum state state)
{
	int ret;

	*m = (struct machine){ .dom = gm_domain(guest, ALL), .ses = -1 };
	ret = m->dom < 0 ? m->dom : gm_map_iova(m->dom, 0, PG, FIRST, RW);
	ret = ret ?: gm_map_iova(m->dom, PG, PG, FIRST + 4 * PG, RW);
	ret = ret ?: gm_map_iova(m->dom, 4 * PG, 2 * PG, FIRST + 8 * PG, RW);
	ret = ret ?: gm_map_iova(m->dom, 8 * PG, PG, FIRST + 10 * PG, RW);
	if (ret || state == NONE)
		return ret;
	m->ses = gm_session(m->dom, ALL, NULL);
	if (m->ses < 0 || state == IDLE)
		return m->ses < 0 ? m->ses : 0;
	ret = gm_export_iova(m->ses, 0, PG, RW, &m->live);
	if (ret || state == ACTIVE)
		return ret;
	ret = gm_export_iova(m->ses, 8 * PG, PG, RW, &m->dead);
	if (ret)
		return ret;
	ret = TAKE_BACK(m->dom, &m->du, .iova = 8 * PG, .len = PG);
	if (ret != GM_USED)
		return ret ? ret : -EPROTO;
	m->fault = m->du.fault;
	if (state == HIT)
		return 0;
	ret = gm_release_handle(m->ses, m->live);
	ret = ret ?: gm_release_handle(m->ses, m->dead);
	m->live = 0;
	m->dead = 0;
	return ret;
}

/* What the kernel says it is in; it does not tell IDLE from what was active and is so no more. */
static enum state machine_state(const struct machine *m)
{
	struct guestmem_info info;

	if (m->ses < 0)
		return NONE;
	info = info_of(m->ses);
	if (info.broken)
		return info.nexports ? HIT : SPENT;
	return info.nexports ? ACTIVE : IDLE;
}

static int machine_file(const struct machine *m)
{
	return m->ses < 0 ? m->dom : m->ses;
}

static int call_session(struct machine *m)
{
	int fd = gm_session(m->dom, RW, NULL);

	/* A second one; it is nobody's business. */
	return fd < 0 ? fd : close(fd);
}

static int call_export(struct machine *m)
{
	return gm_export_iova(machine_file(m), 0, PG, RW, NULL);
}

static int call_export_other(struct machine *m)
{
	return gm_export_iova(machine_file(m), 4 * PG, 1, READ, NULL);
}

static int call_export_hole(struct machine *m)
{
	return gm_export_iova(machine_file(m), PG + PG / 2, PG, READ, NULL);
}

static int call_release_live(struct machine *m)
{
	return gm_release_handle(machine_file(m), m->live);
}

static int call_release_dead(struct machine *m)
{
	return gm_release_handle(machine_file(m), m->dead);
}

static int call_release_unknown(struct machine *m)
{
	return gm_release_handle(machine_file(m), 0x7fffffff);
}

static int call_release_all(struct machine *m)
{
	struct guestmem_release rl;

	return gm_release(machine_file(m), &rl, .flags = GUESTMEM_RELEASE_ALL);
}

static int call_map(struct machine *m)
{
	return gm_map_iova(m->dom, 16 * PG, PG, FIRST, RW);
}

/* What is unmapped is free for another mapping, whoever still has it. */
static int call_map_again(struct machine *m)
{
	return gm_map_iova(m->dom, 8 * PG, PG, FIRST, RW);
}

static int call_map_overlap(struct machine *m)
{
	return gm_map_iova(m->dom, 4 * PG, PG, FIRST, RW);
}

static int unmap(struct machine *m, __u64 iova, __u64 len)
{
	return TAKE_BACK(m->dom, &m->du, .iova = iova, .len = len);
}

static int call_unmap_used(struct machine *m)
{
	return unmap(m, 0, PG);
}

static int call_unmap_other(struct machine *m)
{
	return unmap(m, 4 * PG, 2 * PG);
}

static int call_unmap_dead(struct machine *m)
{
	return unmap(m, 8 * PG, PG);
}

static int call_unmap_nothing(struct machine *m)
{
	return unmap(m, 32 * PG, PG);
}

static int call_unmap_part(struct machine *m)
{
	return unmap(m, 4 * PG, PG);
}

static int call_unmap_all(struct machine *m)
{
	return TAKE_BACK(m->dom, &m->du, .flags = GUESTMEM_UNMAP_ALL);
}

#define REFUSED { -ENOTTY, SAME }

/* For each call what it answers in each state, and in which it leaves the session. */
static const struct call {
	const char *name;
	int (*call)(struct machine *m);
	struct { int ret; enum state after; } expect[NSTATES];
} calls[] = {
	/*			    NONE, IDLE, ACTIVE, HIT, SPENT */
	{ "another session", call_session,
	  { { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME } } },
	{ "export", call_export,
	  { REFUSED, { 0, ACTIVE }, { 0, SAME }, { -ESTALE, SAME }, { -ESTALE, SAME } } },
	{ "export of what was not hit", call_export_other,
	  { REFUSED, { 0, ACTIVE }, { 0, SAME }, { -ESTALE, SAME }, { -ESTALE, SAME } } },
	{ "export of a hole", call_export_hole,
	  { REFUSED, { -ENXIO, SAME }, { -ENXIO, SAME }, { -ESTALE, SAME }, { -ESTALE, SAME } } },
	{ "release", call_release_live,
	  { REFUSED, { -ENOENT, SAME }, { 0, IDLE }, { 0, SAME }, { -ENOENT, SAME } } },
	{ "release of what was hit", call_release_dead,
	  { REFUSED, { -ENOENT, SAME }, { -ENOENT, SAME }, { 0, SAME }, { -ENOENT, SAME } } },
	{ "release of what is not", call_release_unknown,
	  { REFUSED, { -ENOENT, SAME }, { -ENOENT, SAME }, { -ENOENT, SAME },
	    { -ENOENT, SAME } } },
	{ "release of all", call_release_all,
	  { REFUSED, { 0, SAME }, { 0, IDLE }, { 0, IDLE }, { 0, IDLE } } },
	{ "map", call_map,
	  { { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME } } },
	{ "map where something was unmapped", call_map_again,
	  { { -EEXIST, SAME }, { -EEXIST, SAME }, { -EEXIST, SAME }, { 0, SAME }, { 0, SAME } } },
	{ "map of what overlaps", call_map_overlap,
	  { { -EEXIST, SAME }, { -EEXIST, SAME }, { -EEXIST, SAME }, { -EEXIST, SAME },
	    { -EEXIST, SAME } } },
	{ "unmap of what is used", call_unmap_used,
	  { { 0, SAME }, { 0, SAME }, { GM_USED, HIT }, { GM_USED, SAME }, { 0, SAME } } },
	{ "unmap of what is not used", call_unmap_other,
	  { { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME } } },
	{ "unmap of what is perhaps unmapped", call_unmap_dead,
	  { { 0, SAME }, { 0, SAME }, { 0, SAME }, { GM_USED, SAME }, { 0, SAME } } },
	{ "unmap of nothing", call_unmap_nothing,
	  { { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME }, { 0, SAME } } },
	{ "unmap of a part", call_unmap_part,
	  { { -ERANGE, SAME }, { -ERANGE, SAME }, { -ERANGE, SAME }, { -ERANGE, SAME },
	    { -ERANGE, SAME } } },
	{ "unmap of all", call_unmap_all,
	  { { 0, SAME }, { 0, SAME }, { GM_USED, HIT }, { GM_USED, SAME }, { 0, SAME } } },
};

TEST_F(domain, state_machine)
{
	static const char *const names[] = { "none", "idle", "active", "hit", "spent" };
	unsigned int i;
	int state;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		for (state = NONE; state < NSTATES; state++) {
			enum state after = calls[i].expect[state].after;
			struct machine m;
			int ret;

			ASSERT_EQ(0, machine_make(&m, self->fd, state));
			EXPECT_EQ((int)state, (int)machine_state(&m));
			ret = calls[i].call(&m);
			EXPECT_EQ(calls[i].expect[state].ret, ret)
				TH_LOG("%s, when %s", calls[i].name, names[state]);
			EXPECT_EQ((int)(after == SAME ? (enum state)state : after),
				  (int)machine_state(&m))
				TH_LOG("state after %s, when %s", calls[i].name, names[state]);
			/* Each one that waits has a fault of its own, others have none. */
			if (ret == GM_USED) {
				EXPECT_LT(m.fault, m.du.fault) TH_LOG("%s", calls[i].name);
				EXPECT_LT(0, m.du.nusers);
			}
			/* And once all is released, by whatever way, nobody waits. */
			if (m.ses >= 0) {
				EXPECT_LE(0, gm_release_all(m.ses));
				EXPECT_EQ(0, info_of(m.dom).nfaults);
				EXPECT_EQ(IDLE, machine_state(&m));
			}
			close(m.ses);
			close(m.dom);
		}
	}
}

static int exported(int ses, __u64 iova, __u64 len, struct guestmem_piece *pieces,
		    __u32 npieces, __u32 *handle)
{
	struct guestmem_export ex;
	int ret = gm_export(ses, &ex, .iova = iova, .len = len, .pieces = (uintptr_t)pieces,
			    .npieces = npieces, .rights = READ);

	*handle = ex.handle;
	return ret ? ret : (int)ex.npieces;
}

#define EXPECT_PIECE(piece_, iova_, len_, gpa_, rights_) do {				\
	EXPECT_EQ((__u64)(iova_), (piece_).iova);					\
	EXPECT_EQ((__u64)(len_), (piece_).len);						\
	EXPECT_EQ((__u64)(gpa_), (piece_).gpa);						\
	EXPECT_EQ((__u32)(rights_), (piece_).rights);					\
	EXPECT_EQ(0, (piece_).reserved);						\
} while (0)

/* The reference's transcript, step by step; where we answer something else it says so. */
TEST_F(domain, transcript)
{
	const __u64 a = FIRST, b = FIRST + 4 * PG, c = FIRST + 8 * PG, half = PG / 2;
	int dom = self->dom, ses = self->ses, other, efd[3], i;
	struct guestmem_domain_unmap du;
	struct guestmem_piece p[4];
	struct guestmem_export ex;
	__u64 fault[3], generation;
	__u32 h[4];

	for (i = 0; i < 3; i++)
		efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	/* 1: what has no session can export nothing, as it is another file that does. */
	EXPECT_EQ(-ENOTTY, gm_export_iova(dom, 0, 1, READ, NULL));
	EXPECT_EQ(-ENOTTY, gm_release_handle(dom, 1));
	/* 2: mappings are made of pages, so no single bytes; the last page is one. */
	EXPECT_EQ(-EINVAL, gm_map_iova(dom, 0, 0, a, RW));
	EXPECT_EQ(-EOVERFLOW, gm_map_iova(dom, -PG, 2 * PG, a, RW));
	EXPECT_EQ(0, gm_map_iova(dom, -PG, PG, a, RW));
	EXPECT_EQ(-EOVERFLOW, gm_map_iova(dom, 0, 2 * PG, -PG, RW));
	/* 3 */
	EXPECT_EQ(-EINVAL, TAKE_BACK(dom, &du, .iova = 0, .len = 0));
	EXPECT_EQ(-EOVERFLOW, TAKE_BACK(dom, &du, .iova = -1ULL, .len = 2));
	EXPECT_EQ(-ERANGE, TAKE_BACK(dom, &du, .iova = -1ULL, .len = 1));
	EXPECT_EQ(0, TAKE_BACK(dom, &du, .iova = 5 * PG, .len = PG));
	EXPECT_EQ(0, du.fault);
	EXPECT_EQ(0, du.nmappings);
	EXPECT_EQ(0, TAKE_BACK(dom, &du, .iova = -PG, .len = PG));
	EXPECT_EQ(1, du.nmappings);
	/* 4 */
	EXPECT_EQ(0, gm_map_iova(dom, 0, PG, a, RW));
	EXPECT_EQ(0, gm_map_iova(dom, PG, PG, b, RW));
	EXPECT_EQ(0, gm_map_iova(dom, 4 * PG, PG, c, RW));
	/* 5 */
	ASSERT_EQ(2, exported(ses, half, PG, p, 4, &h[0]));
	EXPECT_PIECE(p[0], half, half, a + half, RW);
	EXPECT_PIECE(p[1], PG, half, b, RW);
	/* 6 */
	EXPECT_EQ(2, exported(ses, half, PG, p, 4, &h[1]));
	EXPECT_NE(h[0], h[1]);
	EXPECT_EQ(1, exported(ses, 4 * PG, PG, p, 4, &h[2]));
	EXPECT_EQ(3, info_of(ses).nexports);
	/* 7 */
	EXPECT_EQ(-ENXIO, gm_export(ses, &ex, .iova = PG + half, .len = PG, .rights = READ));
	EXPECT_EQ(GUESTMEM_REASON_HOLE, ex.err.reason);
	EXPECT_EQ(2 * PG, ex.err.addr);
	EXPECT_EQ(3, info_of(ses).nexports);
	/* 8: another session is another client. */
	other = gm_session(dom, ALL, NULL);
	EXPECT_LE(0, other);
	EXPECT_EQ(3, info_of(ses).nexports);
	/* 9 */
	generation = info_of(dom).generation;
	EXPECT_EQ(-ERANGE, TAKE_BACK(dom, &du, .iova = 0, .len = PG + half));
	EXPECT_EQ(GUESTMEM_REASON_PARTIAL, du.err.reason);
	EXPECT_EQ(PG, du.err.addr);
	EXPECT_EQ(PG, du.err.need);
	EXPECT_EQ(0, du.nmappings);
	EXPECT_EQ(0, du.fault);
	EXPECT_EQ(generation, info_of(dom).generation);
	EXPECT_EQ(3, info_of(dom).nmappings);
	EXPECT_EQ(0, events(ses));
	/* 10: not silent. */
	EXPECT_EQ(-ENOENT, gm_release_handle(ses, h[2] + 1));
	/* 11 */
	EXPECT_EQ(GM_USED, TAKE_BACK(dom, &du, .iova = 0, .len = PG, .eventfd = efd[0],
					.flags = GUESTMEM_UNMAP_EVENTFD));
	fault[0] = du.fault;
	EXPECT_NE(0, fault[0]);
	EXPECT_EQ(2, du.nusers);
	EXPECT_EQ(1, du.nmappings);
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(ses) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(0, take(efd[0], 0));
	/* 12 */
	EXPECT_EQ(-ESTALE, gm_export(ses, &ex, .iova = 4 * PG, .len = 1, .rights = READ));
	EXPECT_EQ(GUESTMEM_REASON_BROKEN, ex.err.reason);
	/* 13 */
	EXPECT_EQ(0, gm_map_iova(dom, 9 * PG, PG, a, RW));
	/* 14: is still exported, and waits. */
	EXPECT_EQ(GM_USED, TAKE_BACK(dom, &du, .iova = PG, .len = PG, .eventfd = efd[1],
					.flags = GUESTMEM_UNMAP_EVENTFD));
	fault[1] = du.fault;
	EXPECT_LT(fault[0], fault[1]);
	EXPECT_EQ(2, du.nusers);
	/* 15: so does this. */
	EXPECT_EQ(GM_USED, TAKE_BACK(dom, &du, .eventfd = efd[2],
					.flags = GUESTMEM_UNMAP_ALL | GUESTMEM_UNMAP_EVENTFD));
	fault[2] = du.fault;
	EXPECT_LT(fault[1], fault[2]);
	EXPECT_EQ(3, du.nusers);
	EXPECT_EQ(2, du.nmappings);
	EXPECT_EQ(3, info_of(dom).nfaults);
	/* 16: as 8. */
	close(other);
	/* 17, 18 */
	EXPECT_EQ(0, gm_release_handle(ses, h[0]));
	EXPECT_EQ(0, take(efd[0], 0));
	EXPECT_EQ(0, gm_release_handle(ses, h[1]));
	EXPECT_EQ(1, take(efd[0], SOON_MS));
	EXPECT_EQ(1, take(efd[1], SOON_MS));
	EXPECT_EQ(0, take(efd[2], 0));
	EXPECT_EQ(1, info_of(dom).nfaults);
	/* 19 */
	EXPECT_EQ(0, gm_release_handle(ses, h[2]));
	EXPECT_EQ(1, take(efd[2], SOON_MS));
	EXPECT_EQ(0, info_of(dom).nfaults);
	/* 20: not silent. */
	EXPECT_EQ(-ENOENT, gm_release_handle(ses, h[2]));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, take(efd[i], 0));
	/* 21 */
	EXPECT_EQ(0, gm_map_iova(dom, 9 * PG, PG, a, RW));
	EXPECT_EQ(-ESTALE, gm_export_iova(ses, 9 * PG, 1, READ, NULL));
	/* 22 */
	EXPECT_EQ(0, gm_release_all(ses));
	EXPECT_EQ(1, exported(ses, 9 * PG, 1, p, 4, &h[0]));
	EXPECT_PIECE(p[0], 9 * PG, 1, a, RW);
	EXPECT_EQ(0, gm_release_handle(ses, h[0]));
	/* 23 */
	EXPECT_EQ(0, TAKE_BACK(dom, &du, .iova = 9 * PG, .len = PG));
	EXPECT_EQ(0, du.fault);
	EXPECT_EQ(0, info_of(ses).broken);
	EXPECT_EQ(-ENXIO, gm_export_iova(ses, 9 * PG, 1, READ, NULL));
	EXPECT_EQ(0, gm_map_iova(dom, 9 * PG, PG, a, RW));
	EXPECT_EQ(1, exported(ses, 9 * PG, 1, p, 4, &h[0]));
	/* 24 */
	EXPECT_EQ(GM_USED, TAKE_BACK(dom, &du, .flags = GUESTMEM_UNMAP_ALL));
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(1, gm_release_all(ses));
	/* 25 */
	EXPECT_EQ(0, gm_map_iova(dom, 0, PG, a, READ));
	EXPECT_EQ(0, gm_map_iova(dom, PG, PG, a + PG, RW));
	EXPECT_EQ(0, gm_map_iova(dom, 2 * PG, PG, a + 2 * PG, RW));
	ASSERT_EQ(2, exported(ses, half, 2 * PG, p, 4, &h[0]));
	EXPECT_PIECE(p[0], half, half, a + half, READ);
	EXPECT_PIECE(p[1], PG, PG + half, a + PG, RW);
	for (i = 0; i < 3; i++)
		close(efd[i]);
}

/* ---- the reference's holes, by the number that its list gives them ---- */

/* 1: after the first fault, it told the owner that nobody was left. */
TEST_F(domain, hole_1_each_unmap_waits)
{
	struct guestmem_domain_unmap du;
	struct waiter w[3];
	__u32 h[2];
	int i;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST + PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, PG, RW, &h[1]));
	ASSERT_EQ(0, waiter_start(&w[0], self->dom, 0, PG));
	ASSERT_EQ(0, waiter_start(&w[1], self->dom, PG, PG));
	/* Nothing of it is mapped any more by then, or soon. */
	ASSERT_EQ(0, waiter_start(&w[2], self->dom, 0, 2 * PG));
	usleep(SHORT_MS * 1000);
	for (i = 0; i < 3; i++)
		EXPECT_FALSE(atomic_load(&w[i].done));
	EXPECT_EQ(3, info_of(self->dom).nfaults);
	EXPECT_EQ(GM_USED, TAKE_BACK(self->dom, &du, .flags = GUESTMEM_UNMAP_ALL));
	EXPECT_EQ(2, du.nusers);

	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	EXPECT_TRUE(waiter_ends(&w[0]));
	EXPECT_FALSE(atomic_load(&w[1].done));
	EXPECT_FALSE(atomic_load(&w[2].done));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[1]));
	EXPECT_TRUE(waiter_ends(&w[1]));
	EXPECT_TRUE(waiter_ends(&w[2]));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, w[i].ret);
		EXPECT_EQ(0, w[i].du.nusers);
		EXPECT_NE(0, w[i].du.fault);
		EXPECT_NE(w[i].du.fault, w[(i + 1) % 3].du.fault);
	}
	EXPECT_EQ(2, w[0].du.nmappings + w[1].du.nmappings + w[2].du.nmappings);
	EXPECT_EQ(0, info_of(self->dom).nfaults);
}

/* 2: a release of what was not exported was fine, and what was exported remained so. */
TEST_F(domain, hole_2_release_by_handle)
{
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_release rl;
	__u32 h, theirs;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h));
	ASSERT_EQ(0, gm_export_iova(other, 0, PG, RW, &theirs));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, 0));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h + 1000));
	/* A handle means nothing to another session, unless it has the same one itself. */
	if (h != theirs) {
		EXPECT_EQ(-ENOENT, gm_release_handle(other, h));
		EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, theirs));
	}
	EXPECT_EQ(2, info_of(self->dom).nexports);
	EXPECT_EQ(0, gm_release(self->ses, &rl, .handle = h));
	EXPECT_EQ(1, rl.nreleased);
	EXPECT_EQ(-ENOENT, gm_release(self->ses, &rl, .handle = h));
	EXPECT_EQ(0, rl.nreleased);
	EXPECT_EQ(-EOPNOTSUPP, gm_release(other, &rl, .handle = theirs,
					  .flags = GUESTMEM_RELEASE_ALL));
	EXPECT_EQ(1, gm_release_all(other));
	/* "Not used again soon". */
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &theirs));
	EXPECT_NE(h, theirs);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h));
	close(other);
}

/* 3, 15: what could not be delivered, or not be done, remained as if it were. */
TEST_F(domain, hole_3_failed_export_leaves_nothing)
{
	unsigned char *edge = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guestmem_info before, now;
	struct guestmem_piece piece;
	struct guestmem_export ex, *at;

	ASSERT_NE(MAP_FAILED, (void *)edge);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST + 8 * PG, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, 2 * PG, PG, HOLE, RW));
	before = info_of(self->ses);
	/* No room for the pieces. */
	EXPECT_EQ(-EMSGSIZE, gm_export(self->ses, &ex, .len = 2 * PG, .rights = READ,
				       .pieces = (uintptr_t)&piece, .npieces = 1));
	EXPECT_EQ(GUESTMEM_REASON_OUTPUT, ex.err.reason);
	EXPECT_EQ(2, ex.err.need);
	EXPECT_EQ(1, ex.err.limit);
	/* Nowhere to put them. */
	EXPECT_EQ(-EFAULT, gm_export(self->ses, &ex, .len = 2 * PG, .rights = READ,
				     .pieces = 8, .npieces = 2));
	/* The second piece cannot be written. */
	ASSERT_EQ(0, munmap(edge + PG, PG));
	EXPECT_EQ(-EFAULT, gm_export(self->ses, &ex, .len = 2 * PG, .rights = READ, .npieces = 2,
				     .pieces = (uintptr_t)edge + PG - sizeof(piece)));
	/* Nor can the handle. */
	at = (void *)edge;
	*at = (struct guestmem_export){ .size = sizeof(*at), .len = 2 * PG, .rights = READ };
	ASSERT_EQ(0, mprotect(edge, PG, PROT_READ));
	EXPECT_EQ(-EFAULT, gm_ioctl(self->ses, GUESTMEM_EXPORT, at));
	/* A mapping to nothing: the part before it is not exported either. */
	EXPECT_EQ(-ENXIO, gm_export(self->ses, &ex, .iova = PG, .len = 2 * PG, .rights = READ));
	EXPECT_EQ(GUESTMEM_REASON_HOLE, ex.err.reason);
	EXPECT_EQ(-EOVERFLOW, gm_export_iova(self->ses, -PG, 2 * PG, READ, NULL));
	EXPECT_EQ(-EINVAL, gm_export_iova(self->ses, 0, 0, READ, NULL));
	now = info_of(self->ses);
	EXPECT_EQ(0, memcmp(&before, &now, sizeof(now)));
	EXPECT_EQ(-ENXIO, writes(self->ses, 0, 1));
	EXPECT_EQ(0, gm_unmap_iova(self->dom, 0, 3 * PG));
	munmap(edge, PG);
}

/* 5: the owner waited for a client who was dead. More of that: the tests of client. */
TEST_F(domain, hole_5_client_death)
{
	struct waiter w;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	ASSERT_EQ(0, waiter_start(&w, self->dom, 0, PG));
	usleep(SHORT_MS * 1000);
	EXPECT_FALSE(atomic_load(&w.done));
	close(self->ses);
	self->ses = -1;
	EXPECT_TRUE(waiter_ends(&w));
	EXPECT_EQ(0, w.ret);
}

/* 7: one byte of an export is enough to be hit, and the byte next to it is not. */
TEST_F(domain, hole_7_ends)
{
	const struct { __u64 iova, len; int ret; } exports[] = {
		{ 4 * PG - 1, 1, 0 }, { 4 * PG - 1, 2, GM_USED }, { 4 * PG, 1, GM_USED },
		{ 6 * PG - 1, 1, GM_USED }, { 6 * PG - 1, 2, GM_USED }, { 6 * PG, 1, 0 },
		{ 0, 4 * PG, 0 }, { 0, 4 * PG + 1, GM_USED }, { 0, 16 * PG, GM_USED },
		{ 6 * PG, 10 * PG, 0 }, { 5 * PG, 100, GM_USED },
	};
	unsigned int i;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, 6 * PG, 10 * PG, FIRST + 6 * PG, RW));
	for (i = 0; i < ARRAY_SIZE(exports); i++) {
		ASSERT_EQ(0, gm_map_iova(self->dom, 4 * PG, 2 * PG, FIRST + 4 * PG, RW));
		ASSERT_EQ(0, gm_export_iova(self->ses, exports[i].iova, exports[i].len, RW, NULL));
		EXPECT_EQ(exports[i].ret, gm_unmap_iova(self->dom, 4 * PG, 2 * PG))
			TH_LOG("%u", i);
		EXPECT_EQ(1, gm_release_all(self->ses));
	}
	/* The last page there is. */
	ASSERT_EQ(0, gm_map_iova(self->dom, -2 * PG, 2 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, -1ULL, 1, RW, NULL));
	EXPECT_EQ(-ERANGE, gm_unmap_iova(self->dom, -PG, PG));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, -2 * PG, 2 * PG));
}

/* 8: a client's session was replaced by another's, and the client never told. */
TEST_F(domain, hole_8_sessions_are_apart)
{
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_eventfd ev;
	__u32 h;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_eventfd(self->ses, &ev, .fd = self->efd, .events = GUESTMEM_EVENT_FAULT));
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(other, PG, PG, RW, NULL));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h));
	/* Only who is hit is broken, and told. */
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, PG, PG));
	EXPECT_EQ(0, take(self->efd, 0));
	EXPECT_EQ(0, info_of(self->ses).broken);
	EXPECT_EQ(0, info_of(self->ses).nfaults);
	EXPECT_EQ(1, info_of(other).broken);
	EXPECT_EQ(1, info_of(other).nfaults);
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 0, PG));
	EXPECT_EQ(1, take(self->efd, 0));
	EXPECT_EQ(1, gm_release_all(other));
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	close(other);
}

/* 9: the client was told of what he no longer had, but could still read. */
TEST_F(domain, hole_9_told_after_it_is_gone)
{
	struct guestmem_eventfd ev;
	unsigned char *p;
	struct waiter w;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	p = gm_mmap(self->ses, 0, PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, gm_eventfd(self->ses, &ev, .fd = self->efd, .events = GUESTMEM_EVENT_FAULT));
	ASSERT_EQ(gm_pattern(0), gm_peek(p));
	ASSERT_EQ(0, waiter_start(&w, self->dom, 0, PG));
	/* As soon as he knows, there is nothing; the owner still waits. */
	EXPECT_EQ(1, take(self->efd, SOON_MS));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-ENXIO, writes(self->ses, 0, 1));
	EXPECT_EQ(0, info_of(self->dom).nmappings);
	EXPECT_FALSE(atomic_load(&w.done));
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_TRUE(waiter_ends(&w));
	munmap(p, PG);
}

/* 10: what was taken together had to be given back together, in that order. */
TEST_F(domain, hole_10_any_order)
{
	const int order[] = { 3, 0, 5, 1, 4, 2 };
	__u32 h[ARRAY_SIZE(order)];
	unsigned int i;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 16 * PG, FIRST, RW));
	for (i = 0; i < ARRAY_SIZE(order); i++)
		ASSERT_EQ(0, gm_export_iova(self->ses, i * PG / 2, (i % 3 + 1) * PG, RW, &h[i]));
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		EXPECT_EQ(ARRAY_SIZE(order) - i, info_of(self->ses).nexports);
		EXPECT_EQ(0, gm_release_handle(self->ses, h[order[i]]));
	}
	EXPECT_EQ(0, gm_unmap_iova(self->dom, 0, 16 * PG));
}

/*
 * 11, 12: what stood around the memory lost locks, and counted pages from its own start. A
 * domain of a view that begins in the middle: all is the memory's, not the view's.
 */
TEST_F(domain, hole_11_domain_of_a_view)
{
	int view = gm_view(self->fd, FIRST + 3 * PG, 8 * PG, ALL | EXPORT, 0, NULL);
	struct guestmem_domain_unmap du;
	struct guestmem_piece piece;
	int dom, ses;
	__u32 h;

	ASSERT_LE(0, view);
	dom = gm_domain(view, ALL);
	ASSERT_LE(0, dom);
	ses = gm_session(dom, ALL, NULL);
	ASSERT_LE(0, ses);
	/* The view's addresses, and no others. */
	EXPECT_EQ(-ENXIO, gm_map_iova(dom, 0, 2 * PG, 7 * PG, RW));
	EXPECT_EQ(-ENXIO, gm_map_iova(dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(dom, PG, 2 * PG, PG, RW));
	ASSERT_EQ(1, exported(ses, PG + 100, PG, &piece, 1, &h));
	EXPECT_PIECE(piece, PG + 100, PG, PG + 100, RW);
	EXPECT_EQ(0, reads(ses, PG + 100, 4 * PG + 100, PG));
	ASSERT_EQ(0, locks(ses, PG + 100, PG, GUESTMEM_DMA_TO_DEVICE, &h));
	/* A lock holds the region, whatever it was taken through. */
	EXPECT_EQ(1, gm_release_all(ses));
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));
	EXPECT_EQ(GM_USED, TAKE_BACK(dom, &du, .iova = PG, .len = 2 * PG));
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(0, gm_unlock_handle(ses, h));
	EXPECT_TRUE(settles(dom, 0));
	/* A domain is its view's, and ends with its rights. */
	ASSERT_EQ(0, gm_limit(self->fd, gm_view_id(view), 0));
	EXPECT_EQ(-ESTALE, gm_map_iova(dom, 8 * PG, PG, 0, RW));
	EXPECT_EQ(-ESTALE, gm_export_iova(ses, PG, PG, READ, NULL));
	close(ses);
	close(dom);
	close(view);
}

/* 13: a lock for reading of what can only be read panicked. */
TEST_F(domain, hole_13_lock_of_read_only)
{
	int ses = gm_session(self->dom, READ | LOCK, NULL);
	__u32 h;

	ASSERT_LE(0, ses);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, SECOND, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST, READ));
	ASSERT_EQ(0, gm_export_iova(ses, 0, 2 * PG, READ, NULL));
	EXPECT_EQ(0, locks(ses, 0, 2 * PG, GUESTMEM_DMA_TO_DEVICE, &h));
	EXPECT_EQ(-EACCES, locks(ses, PG, PG, GUESTMEM_DMA_FROM_DEVICE, NULL));
	EXPECT_EQ(0, gm_unlock_handle(ses, h));
	/* Not by one who could write, either. */
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, READ, NULL));
	EXPECT_EQ(-EACCES, locks(self->ses, 0, PG, GUESTMEM_DMA_FROM_DEVICE, NULL));
	EXPECT_EQ(-EACCES, locks(self->ses, PG, PG, GUESTMEM_DMA_FROM_DEVICE, NULL));
	close(ses);
}

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

static int kapi(int guest, __u32 op, __u64 gpa, __u64 len, void *buf, __u32 value)
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

/* ---- faults ---- */

/* Everybody is told, each by his own way, and the owner waits until it is resolved. */
TEST_F(domain, fault)
{
	struct pollfd pfd = { .fd = self->ses, .events = POLLPRI };
	int resolved = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct guestmem_domain_unmap du;
	struct guestmem_eventfd ev;
	__u32 h[2];

	ASSERT_EQ(0, gm_eventfd(self->ses, &ev, .fd = self->efd, .events = GUESTMEM_EVENT_FAULT));
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST + PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, PG, RW, &h[1]));
	events(self->ses);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(GM_USED, TAKE_BACK(self->dom, &du, .len = PG, .eventfd = resolved,
					.flags = GUESTMEM_UNMAP_EVENTFD));
	EXPECT_EQ(1, du.nusers);
	EXPECT_TRUE(gm_err_is_zero(&du.err));
	EXPECT_EQ(1, take(self->efd, 0));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLPRI, pfd.revents & POLLPRI);
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(self->ses));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(1, info_of(self->ses).nfaults);
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	EXPECT_EQ(2, info_of(self->ses).nexports);
	/* What was not hit can be used on. */
	EXPECT_EQ(-ENXIO, writes(self->ses, 0, 1));
	EXPECT_EQ(0, reads(self->ses, PG, PG, PG));
	EXPECT_EQ(0, locks(self->ses, PG, PG, GUESTMEM_DMA_TO_DEVICE, NULL));
	/* To map it again is no way back for who has the dead export. */
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	EXPECT_EQ(-ENXIO, writes(self->ses, 0, 1));
	EXPECT_EQ(-ENXIO, locks(self->ses, 0, PG, GUESTMEM_DMA_TO_DEVICE, NULL));
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	/* The other one is of no fault. */
	EXPECT_EQ(0, gm_release_handle(self->ses, h[1]));
	EXPECT_EQ(0, take(resolved, 0));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(1, take(resolved, SOON_MS));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, gm_release_all(self->ses));
	EXPECT_EQ(0, info_of(self->ses).broken);
	EXPECT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, reads(self->ses, 0, 0, PG));
	EXPECT_EQ(1, info_of(self->ses).nfaults);
	close(resolved);
}

/* All of the export is dead, also what is still mapped; another one on that lives on. */
TEST_F(domain, dead_in_whole)
{
	unsigned char *p;
	__u32 h[2];

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 2 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, 2 * PG, 2 * PG, FIRST + 2 * PG, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 4 * PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[1]));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(0, gm_poke(p, gm_pattern(0)));
	EXPECT_EQ(0, gm_poke(p + PG, gm_pattern(PG)));
	EXPECT_EQ(0, gm_poke(p + 3 * PG, gm_pattern(3 * PG)));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 2 * PG, 2 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 3 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p + PG));
	EXPECT_EQ(-ENXIO, writes(self->ses, PG, 1));
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(0, reads(self->ses, 0, 0, PG));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	munmap(p, 4 * PG);
}

TEST_F(domain, deadline)
{
	struct guestmem_domain_unmap du;
	struct guestmem_record rec;
	double start = gm_now();
	unsigned char *p;
	__u32 h[3];
	int i;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG + 3, PG, RW, &h[1]));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	forget_records(self->dom);
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = 4 * PG, .deadline_ms = SHORT_MS,
				     .timeout_ms = FOREVER));
	EXPECT_LE((SHORT_MS - TICK_MS) / 1000.0, gm_now() - start);
	EXPECT_EQ(0, du.nusers);
	EXPECT_NE(0, du.fault);
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[1]));
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, gm_release_all(self->ses));

	/* FAULT, one FORCED for each, in whatever order, RESOLVED. */
	ASSERT_EQ(0, record(self->dom, &rec));
	EXPECT_EQ(GUESTMEM_RECORD_FAULT, rec.type);
	EXPECT_EQ(du.fault, rec.fault);
	EXPECT_EQ(self->ses_id, rec.session);
	EXPECT_EQ(getpid(), (pid_t)rec.pid);
	EXPECT_EQ(0, rec.iova);
	EXPECT_EQ(4 * PG, rec.len);
	EXPECT_EQ(2, rec.count);
	EXPECT_EQ(0, rec.reserved);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, record(self->dom, &rec));
		EXPECT_EQ(GUESTMEM_RECORD_FORCED, rec.type);
		EXPECT_EQ(du.fault, rec.fault);
		EXPECT_EQ(self->ses_id, rec.session);
		EXPECT_EQ(getpid(), (pid_t)rec.pid);
		EXPECT_TRUE(rec.iova == 0 || rec.iova == PG + 3);
		EXPECT_EQ(PG, rec.len);
		EXPECT_LE(SHORT_MS - TICK_MS, rec.elapsed_ms);
	}
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_RESOLVED, &rec));
	EXPECT_EQ(du.fault, rec.fault);
	EXPECT_EQ(0, rec.iova);
	EXPECT_EQ(4 * PG, rec.len);
	EXPECT_LE(SHORT_MS - TICK_MS, rec.elapsed_ms);
	EXPECT_EQ(-EAGAIN, record(self->dom, &rec));

	/* At once. */
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = 4 * PG));
	EXPECT_EQ(0, du.nusers);
	EXPECT_NE(0, du.fault);
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FORCED, &rec));
	EXPECT_EQ(0, gm_release_all(self->ses));

	/* Who releases in time is not forced; nor is one by the deadline of another fault. */
	forget_records(self->dom);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, PG, RW, &h[1]));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = PG, .deadline_ms = SHORT_MS));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, PG, PG));
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	usleep(3 * SHORT_MS * 1000);
	EXPECT_EQ(1, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	while (!record(self->dom, &rec))
		EXPECT_NE(GUESTMEM_RECORD_FORCED, rec.type);
	EXPECT_EQ(0, gm_release_handle(self->ses, h[1]));
	munmap(p, 4 * PG);
}

/* Of two faults on one export, the earlier deadline ends it, and that is the end of both. */
TEST_F(domain, deadlines_of_two_faults)
{
	struct guestmem_record rec;
	struct waiter w[2];
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, PG, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h));
	ASSERT_EQ(0, waiter_start(&w[0], self->dom, 0, PG));
	usleep(10000);
	w[1] = (struct waiter){ .dom = self->dom, .iova = PG, .len = PG, .deadline_ms = SHORT_MS,
				.timeout_ms = FOREVER };
	ASSERT_EQ(0, pthread_create(&w[1].thread, NULL, wait_for_unmap, &w[1]));
	EXPECT_TRUE(waiter_ends(&w[1]));
	EXPECT_TRUE(waiter_ends(&w[0]));
	EXPECT_EQ(0, w[0].ret);
	EXPECT_EQ(0, w[1].ret);
	EXPECT_NE(w[0].du.fault, w[1].du.fault);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FORCED, &rec));
	EXPECT_EQ(w[1].du.fault, rec.fault);
	/* It was one export, and ended once. */
	while (!record(self->dom, &rec))
		EXPECT_NE(GUESTMEM_RECORD_FORCED, rec.type);
}

/* How long the call waits is one thing, how long the client may take another. */
TEST_F(domain, timeout)
{
	struct guestmem_domain_unmap du;
	double start;
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h));
	start = gm_now();
	EXPECT_EQ(-ETIMEDOUT, TAKE_BACK(self->dom, &du, .len = PG, .timeout_ms = SHORT_MS));
	EXPECT_LE((SHORT_MS - TICK_MS) / 1000.0, gm_now() - start);
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(GUESTMEM_REASON_USED, du.err.reason);
	EXPECT_EQ(0, du.err.addr);
	EXPECT_EQ(1, du.err.need);
	EXPECT_EQ(1, info_of(self->ses).nexports);
	/* Asked again: to wait more, or to make an end. */
	EXPECT_EQ(-ETIMEDOUT, TAKE_BACK(self->dom, &du, .len = PG, .timeout_ms = 1));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = PG));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h));
}

static void ignore(int sig __unused_ok)
{
}

/* Only what is fatal interrupts who waits; what he waited for goes on. */
TEST_F(domain, signals)
{
	struct sigaction sa = { .sa_handler = ignore };
	struct guestmem_domain_unmap du;
	int status;
	pid_t pid;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	pid = fork();
	if (!pid) {
		sigaction(SIGUSR1, &sa, NULL);
		TAKE_BACK(self->dom, &du, .len = PG, .timeout_ms = FOREVER);
		_exit(0);
	}
	EXPECT_TRUE(settles(self->dom, 1));
	kill(pid, SIGUSR1);
	usleep(SHORT_MS * 1000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	EXPECT_EQ(0, info_of(self->dom).nmappings);
	EXPECT_EQ(1, gm_release_all(self->ses));
	EXPECT_TRUE(settles(self->dom, 0));
}

/* A DMA lock cannot be ended by force: the fault goes on, and a record says whose it is. */
TEST_F(domain, dma_lock)
{
	struct guestmem_domain_unmap du;
	struct guestmem_record rec;
	struct waiter w;
	__u32 lock;
	pid_t pid = getpid();

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, PG, 100, GUESTMEM_DMA_FROM_DEVICE, &lock));
	EXPECT_EQ(-ETIMEDOUT, gm_domain_unmap(self->dom, &du, .len = 4 * PG,
					      .eventfd = self->efd,
					      .flags = GUESTMEM_UNMAP_EVENTFD,
					      .deadline_ms = SHORT_MS,
					      .timeout_ms = 4 * SHORT_MS));
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(1, info_of(self->dom).nfaults);
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).nlocks);
	EXPECT_EQ(0, take(self->efd, 0));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FAULT, &rec));
	EXPECT_EQ(2, rec.count);
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_LOCKED, &rec));
	EXPECT_EQ(du.fault, rec.fault);
	EXPECT_EQ(self->ses_id, rec.session);
	EXPECT_EQ(pid, (pid_t)rec.pid);
	EXPECT_LE(SHORT_MS - TICK_MS, rec.elapsed_ms);
	/* It says so once. */
	EXPECT_FALSE(!record(self->dom, &rec) && rec.type == GUESTMEM_RECORD_LOCKED);
	/* The region stays where it is. */
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));

	/* The same lock is in another UNMAP's way, too. */
	ASSERT_EQ(0, waiter_start(&w, self->dom, PG, PG));
	usleep(SHORT_MS * 1000);
	EXPECT_FALSE(atomic_load(&w.done));
	EXPECT_EQ(2, info_of(self->dom).nfaults);
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock));
	EXPECT_EQ(1, take(self->efd, SOON_MS));
	EXPECT_TRUE(waiter_ends(&w));
	EXPECT_EQ(0, w.ret);
	EXPECT_TRUE(settles(self->dom, 0));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_RESOLVED, &rec));

	/* A lock without an export is a user as well, and breaks its session. */
	EXPECT_EQ(0, gm_release_all(self->ses));
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, 0, 1, GUESTMEM_DMA_TO_DEVICE, &lock));
	EXPECT_EQ(1, gm_release_all(self->ses));
	events(self->ses);
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = PG));
	EXPECT_EQ(1, du.nusers);
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(self->ses) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(1, info_of(self->ses).broken);
	/* Or it goes with its file. */
	close(self->ses);
	self->ses = -1;
	EXPECT_TRUE(settles(self->dom, 0));
}

/* A region does not go while somebody exports it, and if it must, all that was of it does. */
TEST_F(domain, region_removed)
{
	struct guestmem_region_remove rm;
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_record rec;
	unsigned char *p;
	__u32 h[2], id;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 2 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_map_iova(self->dom, 4 * PG, 2 * PG, FIRST + 15 * PG, READ));
	ASSERT_EQ(0, gm_map_iova(self->dom, 8 * PG, 2 * PG, THIRD, RW));
	/* Mapped is not exported; but a mapping goes with its region. */
	EXPECT_EQ(0, gm_remove(self->fd, self->id[2]));
	EXPECT_EQ(2, info_of(self->dom).nmappings);
	EXPECT_EQ(-ENXIO, gm_export_iova(self->ses, 8 * PG, PG, RW, NULL));
	ASSERT_EQ(0, gm_mem_add(self->fd, &self->mem, THIRD, 28 * PG, 4 * PG, 0, &self->id[2]));
	EXPECT_EQ(-ENXIO, gm_export_iova(self->ses, 8 * PG, PG, RW, NULL));
	ASSERT_EQ(0, gm_map_iova(self->dom, 8 * PG, 2 * PG, THIRD, RW));
	ASSERT_EQ(0, gm_export_iova(other, 8 * PG, PG, RW, NULL));
	EXPECT_EQ(0, reads(other, 8 * PG, 28 * PG, PG));

	/* One byte of it is enough. */
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, 1, RW, &h[0]));
	EXPECT_EQ(-EBUSY, gm_region_remove(self->fd, &rm, .id = self->id[0]));
	EXPECT_EQ(GUESTMEM_REASON_LOCKED, rm.err.reason);
	EXPECT_EQ(0, gm_release_handle(self->ses, h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, 4 * PG, 2 * PG, READ, &h[1]));
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[1]));
	p = gm_mmap(self->ses, 0, 16 * PG, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(gm_pattern(15 * PG), gm_peek(p + 4 * PG));
	EXPECT_EQ(gm_pattern(16 * PG), gm_peek(p + 5 * PG));
	forget_records(self->dom);
	events(self->ses);
	events(other);

	EXPECT_EQ(0, gm_revoke(self->fd, self->id[0]));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-SIGBUS, gm_peek(p + 4 * PG));
	/* That one is dead in whole, though its second page is of another region. */
	EXPECT_EQ(-SIGBUS, gm_peek(p + 5 * PG));
	EXPECT_EQ(1, info_of(self->dom).nmappings);
	EXPECT_EQ(0, info_of(self->ses).nexports);
	EXPECT_EQ(1, info_of(self->ses).broken);
	EXPECT_EQ(GUESTMEM_EVENT_FAULT, events(self->ses) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(0, info_of(other).broken);
	EXPECT_EQ(0, events(other) & GUESTMEM_EVENT_FAULT);
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[1]));
	for (id = 0; !record(self->dom, &rec); ) {
		if (rec.type == GUESTMEM_RECORD_REMOVED) {
			EXPECT_EQ(self->id[0], rec.count);
			EXPECT_TRUE(rec.iova == 0 || rec.iova == 4 * PG);
			EXPECT_EQ(2 * PG, rec.len);
			id += 1;
		} else if (rec.type == GUESTMEM_RECORD_FORCED) {
			EXPECT_EQ(0, rec.fault);
			EXPECT_EQ(self->ses_id, rec.session);
			EXPECT_EQ(getpid(), (pid_t)rec.pid);
			id += 0x10;
		}
	}
	EXPECT_EQ(0x22, id);
	/* What comes to the same place is not what was mapped. */
	ASSERT_EQ(0, gm_mem_add(self->fd, &self->mem, FIRST, 0, 16 * PG, 0, &self->id[0]));
	EXPECT_EQ(0, gm_release_all(self->ses));
	EXPECT_EQ(-ENXIO, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(0, gm_map_iova(self->dom, 0, PG, FIRST, RW));
	EXPECT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	munmap(p, 16 * PG);
	close(other);
}

/* Memory that a mapping has and the process has given up: the owner is told where. */
TEST_F(domain, stale)
{
	struct guestmem_record rec;
	struct gm_mem anon;
	__u32 id;

	ASSERT_EQ(0, gm_mem_alloc(&anon, GM_ANON, 4 * PG));
	ASSERT_EQ(0, gm_mem_add(self->fd, &anon, 4 * GM_GPA, 0, 4 * PG, 0, &id));
	ASSERT_EQ(0, gm_map_iova(self->dom, 64 * PG, 2 * PG, 4 * GM_GPA + PG, RW));
	ASSERT_EQ(0, madvise(anon.va + PG, PG, MADV_DONTNEED));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_STALE, &rec));
	EXPECT_EQ(id, rec.count);
	EXPECT_EQ(64 * PG, rec.iova);
	EXPECT_EQ(2 * PG, rec.len);
	gm_mem_free(&anon);
}

/* Rights that are taken away are of what was exported before, too. */
TEST_F(domain, limit)
{
	int other = gm_session(self->dom, ALL, NULL);
	struct guestmem_view_limit vl;
	struct guestmem_record rec;
	unsigned char *p;
	__u32 h[2], lock;
	__u64 id;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h[0]));
	ASSERT_EQ(0, gm_export_iova(self->ses, PG, PG, READ, &h[1]));
	ASSERT_EQ(0, gm_export_iova(other, 0, PG, RW, NULL));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(0, gm_poke(p, gm_pattern(0)));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + PG));
	forget_records(self->dom);
	events(self->ses);
	/* Of a session, by the owner. */
	EXPECT_EQ(0, gm_limit(self->fd, self->ses_id, ~(__u32)WRITE));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(self->ses));
	EXPECT_EQ(ALL, gm_rights(other));
	EXPECT_EQ(GUESTMEM_EVENT_LIMITED, events(self->ses) & GUESTMEM_EVENT_LIMITED);
	EXPECT_EQ(-SIGBUS, gm_poke(p, 1));
	EXPECT_EQ(-ENOENT, gm_release_handle(self->ses, h[0]));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + PG));
	EXPECT_EQ(0, reads(self->ses, PG, PG, PG));
	EXPECT_EQ(0, writes(other, 0, gm_pattern(0)));
	ASSERT_EQ(0, record_of(self->dom, GUESTMEM_RECORD_FORCED, &rec));
	EXPECT_EQ(0, rec.fault);
	EXPECT_EQ(self->ses_id, rec.session);
	EXPECT_EQ(0, rec.iova);
	EXPECT_EQ(PG, rec.len);
	/* Not by itself more than it has, nor what is another's. */
	EXPECT_EQ(0, gm_limit(self->fd, self->ses_id, ~0U));
	EXPECT_EQ(ALL & ~WRITE, gm_rights(self->ses));

	/* A lock that needs what is taken is waited for. */
	ASSERT_EQ(0, locks(other, 0, PG, GUESTMEM_DMA_FROM_DEVICE, &lock));
	id = gm_view_id(other);
	EXPECT_EQ(-ETIMEDOUT, gm_view_limit(self->fd, &vl, .id = id, .rights = READ | LOCK,
					    .timeout_ms = 10));
	EXPECT_EQ(1, vl.nlocks);
	EXPECT_EQ(0, gm_unlock_handle(other, lock));

	/* Of the domain: of all its sessions; it can map nothing that needs them. */
	EXPECT_EQ(0, gm_limit(self->fd, self->dom_id, READ | MAP));
	EXPECT_EQ(READ | MAP, gm_rights(self->ses));
	EXPECT_EQ(READ, gm_rights(other));
	EXPECT_EQ(-EACCES, gm_map_iova(self->dom, 8 * PG, PG, FIRST, RW));
	EXPECT_EQ(0, gm_map_iova(self->dom, 8 * PG, PG, FIRST, READ));

	/* Revoked. */
	EXPECT_EQ(0, gm_limit(self->fd, self->dom_id, 0));
	EXPECT_EQ(-SIGBUS, gm_peek(p + PG));
	EXPECT_EQ(-ESTALE, reads(self->ses, PG, PG, 1));
	EXPECT_EQ(-ESTALE, gm_export_iova(other, 0, PG, READ, NULL));
	EXPECT_EQ(-ESTALE, gm_map_iova(self->dom, 9 * PG, PG, FIRST, READ));
	EXPECT_LT(gm_session(self->dom, READ, NULL), 0);
	EXPECT_EQ(0, info_of(self->dom).nexports);
	munmap(p, 4 * PG);
	close(other);
}

TEST_F(domain, domain_closed)
{
	struct pollfd pfd = { .fd = self->ses };
	struct guestmem_release rl;
	unsigned char *p;
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, &h));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));
	close(self->dom);
	self->dom = -1;
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(-SIGBUS, gm_poke(p + PG, 1));
	EXPECT_EQ(0, gm_rights(self->ses));
	EXPECT_EQ(-ESTALE, reads(self->ses, 0, 0, 1));
	EXPECT_EQ(-ESTALE, writes(self->ses, 0, 1));
	EXPECT_EQ(-ESTALE, gm_export_iova(self->ses, 0, PG, RW, NULL));
	EXPECT_EQ(-ESTALE, locks(self->ses, 0, 1, GUESTMEM_DMA_TO_DEVICE, NULL));
	EXPECT_NE(0, gm_release(self->ses, &rl, .handle = h));
	EXPECT_EQ(MAP_FAILED, gm_mmap(self->ses, 0, PG, PROT_READ));
	EXPECT_EQ(ESTALE, errno);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_TRUE(pfd.revents & POLLHUP);
	/* It holds nothing of the guest. */
	EXPECT_EQ(0, gm_remove(self->fd, self->id[0]));
	munmap(p, 4 * PG);
}

/* With a lock that is left: it holds its pages, and no more. */
TEST_F(domain, domain_closed_while_faulted)
{
	struct guestmem_domain_unmap du;
	__u32 lock;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, 2 * PG, RW, NULL));
	ASSERT_EQ(0, locks(self->ses, 0, PG, GUESTMEM_DMA_TO_DEVICE, &lock));
	EXPECT_EQ(0, gm_domain_unmap(self->dom, &du, .len = 4 * PG, .deadline_ms = SHORT_MS,
				     .eventfd = self->efd, .flags = GUESTMEM_UNMAP_EVENTFD));
	EXPECT_EQ(2, du.nusers);
	close(self->dom);
	self->dom = -1;
	/* The deadline comes when there is no domain. */
	usleep(2 * SHORT_MS * 1000);
	EXPECT_EQ(-EBUSY, gm_remove(self->fd, self->id[0]));
	EXPECT_EQ(0, gm_unlock_handle(self->ses, lock));
	EXPECT_EQ(0, gm_remove(self->fd, self->id[0]));
}

TEST_F(domain, guest_closed)
{
	unsigned char *p;
	__u32 h;

	ASSERT_EQ(0, gm_map_iova(self->dom, 0, 4 * PG, FIRST, RW));
	ASSERT_EQ(0, gm_export_iova(self->ses, 0, PG, RW, &h));
	p = gm_mmap(self->ses, 0, 4 * PG, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	close(self->guest.fd);
	self->guest.fd = -1;
	self->fd = -1;
	EXPECT_EQ(gm_pattern(0), gm_peek(p));
	EXPECT_EQ(0, gm_export_iova(self->ses, PG, PG, RW, NULL));
	EXPECT_EQ(gm_pattern(PG), gm_peek(p + PG));
	EXPECT_EQ(0, gm_map_iova(self->dom, 8 * PG, PG, SECOND, READ));
	EXPECT_EQ(GM_USED, gm_unmap_iova(self->dom, 0, 4 * PG));
	EXPECT_EQ(-SIGBUS, gm_peek(p));
	EXPECT_EQ(2, gm_release_all(self->ses));
	EXPECT_EQ(0, info_of(self->dom).nfaults);
	EXPECT_EQ(0, gm_export_iova(self->ses, 8 * PG, PG, READ, NULL));
	munmap(p, 4 * PG);
}

/* ---- records ---- */

/* Makes three: FAULT, FORCED, RESOLVED. */
static int make_records(int dom, int ses)
{
	struct guestmem_domain_unmap du;
	int ret = gm_map_iova(dom, 0, PG, FIRST, RW);

	ret = ret ?: gm_export_iova(ses, 0, PG, RW, NULL);
	ret = ret ?: gm_domain_unmap(dom, &du, .len = PG);
	return ret ?: gm_release_all(ses);
}

TEST_F(domain, records)
{
	struct pollfd pfd = { .fd = self->dom, .events = POLLIN };
	void *nowhere = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guestmem_record rec[8];
	struct guestmem_eventfd ev;
	int i;

	ASSERT_NE(MAP_FAILED, nowhere);

	ASSERT_EQ(0, gm_eventfd(self->dom, &ev, .fd = self->efd,
				.events = GUESTMEM_EVENT_RECORD));
	EXPECT_EQ(-1, read(self->dom, rec, sizeof(rec)));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	ASSERT_EQ(0, make_records(self->dom, self->ses));
	EXPECT_LE(1, take(self->efd, SOON_MS));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLIN, pfd.revents & POLLIN);
	EXPECT_EQ(GUESTMEM_EVENT_RECORD, events(self->dom) & GUESTMEM_EVENT_RECORD);
	/* Whole ones only. */
	EXPECT_EQ(-1, read(self->dom, rec, sizeof(*rec) - 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(self->dom, nowhere, sizeof(*rec)));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(2 * sizeof(*rec), read(self->dom, rec, 3 * sizeof(*rec) - 1));
	ASSERT_EQ(1 * sizeof(*rec), read(self->dom, rec + 2, sizeof(rec) - 2 * sizeof(*rec)));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(i + 1, rec[i].seq);
		EXPECT_EQ(0, rec[i].lost);
	}
	EXPECT_EQ(GUESTMEM_RECORD_FAULT, rec[0].type);
	EXPECT_EQ(GUESTMEM_RECORD_FORCED, rec[1].type);
	EXPECT_EQ(GUESTMEM_RECORD_RESOLVED, rec[2].type);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(-1, read(self->dom, rec, sizeof(*rec) - 1));
	EXPECT_EQ(EINVAL, errno);
	/* Nothing can be written. */
	EXPECT_EQ(-1, write(self->dom, rec, sizeof(*rec)));
	munmap(nowhere, PG);
}

TEST_F(domain, records_lost)
{
	unsigned int rounds, i, n = 0;
	struct guestmem_record rec;
	__u64 seq = 0, lost = 0;

	/* Until the oldest is gone, and then some. */
	for (rounds = 0; rounds < 20000; rounds += 500) {
		for (i = 0; i < 500; i++)
			ASSERT_EQ(0, make_records(self->dom, self->ses));
		ASSERT_EQ(0, record(self->dom, &rec));
		EXPECT_EQ(seq + rec.lost + 1, rec.seq);
		seq = rec.seq;
		lost += rec.lost;
		n++;
		if (rec.lost)
			break;
	}
	EXPECT_LT(0, lost);
	while (!record(self->dom, &rec)) {
		EXPECT_EQ(seq + rec.lost + 1, rec.seq);
		seq = rec.seq;
		lost += rec.lost;
		n++;
	}
	EXPECT_EQ(3 * (rounds + 500), seq);
	EXPECT_EQ(seq, n + lost);
	/* What is kept is enough for a burst of faults. */
	EXPECT_LE(64, n);
}

static void *read_record(void *arg)
{
	struct guestmem_record rec;
	int *dom = arg;
	int ret = record(*dom, &rec);

	return (void *)(intptr_t)(ret ? ret : (int)rec.type);
}

/* Without O_NONBLOCK it waits, for a record or the end of the waiting process. */
TEST_F(domain, records_blocking)
{
	pthread_t thread;
	void *result;
	int status;
	pid_t pid;

	ASSERT_EQ(0, fcntl(self->dom, F_SETFL, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_record, &self->dom));
	usleep(SHORT_MS * 1000);
	ASSERT_EQ(0, make_records(self->dom, self->ses));
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(GUESTMEM_RECORD_FAULT, (intptr_t)result);
	EXPECT_EQ(GUESTMEM_RECORD_FORCED, (intptr_t)read_record(&self->dom));
	EXPECT_EQ(GUESTMEM_RECORD_RESOLVED, (intptr_t)read_record(&self->dom));
	pid = fork();
	if (!pid) {
		read_record(&self->dom);
		_exit(0);
	}
	usleep(SHORT_MS * 1000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
}

TEST_HARNESS_MAIN
