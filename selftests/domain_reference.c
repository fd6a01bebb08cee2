// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains beside the reference, crosvm's MemoryMapper: its state machine, a transcript of
 * it, and its holes: each of these has a test here, hole_*, that shows it closed.
 */
#include "domain.h"

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

TEST_HARNESS_MAIN
