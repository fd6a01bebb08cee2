/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Domains and sessions of the race torture: what a session may reach at any time.
 *
 * Each process has a domain of one guest, and two sessions of it, that its threads share.
 * They end with the process: so that one was killed leaves no doubt.
 *
 *  - A grant is a mapping of a domain, or an export of a session. It is noted, with a number
 *    of its own, before it is asked for (WANTED); that it was GRANTED, or not, when the answer
 *    has come. What takes back looks first which were GRANTED, and when it has succeeded
 *    these are dead: whatever was asked for at the same time may live. So each grant that
 *    may live is known, though some that are known may be dead, as when a region that is
 *    mapped was removed.
 *  - If nothing of that has changed from before an access until after it, then each byte that
 *    was reached is in a mapping and in an export, with the rights for it; and what was read is
 *    right only if it is from where the mapping points to, and was not added after EXPORT
 *    returned. An IOVA is reused with another GPA, or with memory that is not in the guest.
 *  - Also if something has changed, there was no poison. That goes for memory that is not in
 *    the guest, too: it is stamped before it is mapped, and poisoned when UNMAP has returned.
 *    So DMA that comes late is seen.
 *  - IOVA and GPA are congruent, so that scratch is scratch by whatever mapping.
 *  - Before a domain and its sessions are replaced all of their rights are taken away, which
 *    takes all grants back.
 */
#ifndef _TORTURE_DOMAIN_H
#define _TORTURE_DOMAIN_H

#include <fcntl.h>
#include <poll.h>

#define NSESSIONS	2
#define NEXPORTS	8	/* that a session may have */

/* Where mappings lie: one in each window, huge ones in those at the end. */
#define NWINDOWS	18
#define NWINDOWS_HUGE	2
#define NWINDOWS_SMALL	(NWINDOWS - NWINDOWS_HUGE)
#define NWINDOWS_EXTERNAL 8	/* of the small ones */
#define WINDOW_LEN	(16 * PG)
#define IOVA_FIRST	(1ULL << 40)
#define IOVA_LEN	((1 + NWINDOWS_HUGE) * GM_HUGE)

#define RW		(GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE)

enum grant_state { FREE, WANTED, GRANTED, DEAD, TAKEN };

/**
 * struct grant - a mapping of a domain, or an export of a session
 * @state: DEAD is an export that is to be released; TAKEN is dead, but not yet to be used again
 * @number: never used again in this process
 * @rights: READ, WRITE or both
 * @iova: first IOVA
 * @len: bytes
 * @gpa: of a mapping, where it points to
 * @external: of a mapping: to memory that is not in the guest
 * @since: of an export: when it was granted
 * @handle: of an export
 */
struct grant {
	enum grant_state state;
	unsigned int number;
	__u32 rights;
	__u64 iova;
	__u64 len;
	__u64 gpa;
	bool external;
	__u64 since;
	__u32 handle;
};

/**
 * struct realm - the domain of this process
 * @lock: of the grants and what is about them
 * @changes: of what may be reached
 * @numbers: grants that there have been
 * @mappings: by window
 * @exports: of each session
 * @making: one makes new ones
 * @guest: the guest
 * @domain: the owner's file
 * @sessions: the clients'
 * @arenas: all windows, as each of these maps them
 * @externals: memory that is not in the guest: every other window's
 */
static struct realm {
	pthread_mutex_t lock;
	unsigned long changes;
	unsigned int numbers;
	struct grant mappings[NWINDOWS];
	struct grant exports[NSESSIONS][NEXPORTS];
	pthread_mutex_t making;
	struct place *guest;
	int domain;
	int sessions[NSESSIONS];
	unsigned char *arenas[NSESSIONS];
	struct gm_mem externals[2];
} realm;

static bool is_huge(unsigned int window)
{
	return window >= NWINDOWS_SMALL;
}

static __u64 window_iova(unsigned int window)
{
	return IOVA_FIRST + (is_huge(window) ? (1 + window - NWINDOWS_SMALL) * GM_HUGE :
			     window * WINDOW_LEN);
}

static size_t window_len(unsigned int window)
{
	return is_huge(window) ? GM_HUGE : WINDOW_LEN;
}

static unsigned int window_of(const struct grant *mapping)
{
	unsigned int window = (mapping->iova - IOVA_FIRST) / WINDOW_LEN;

	return window < NWINDOWS_SMALL ? window :
	       NWINDOWS_SMALL + (mapping->iova - IOVA_FIRST) / GM_HUGE - 1;
}

/* ---- the model: memory that is not in the guest ---- */

#define STAMP_EXTERNAL	0x2eULL

/* Of a page at an IOVA of a mapping. */
static __u64 stamp_external(const struct grant *mapping, __u64 iova)
{
	__u64 page = (iova - mapping->iova) / PG;

	return spread(STAMP_EXTERNAL << 49 | page << 28 | (mapping->number & NUMBER_MASK));
}

static const struct gm_mem *external(const struct realm *r, const struct grant *mapping,
				     size_t *offset)
{
	unsigned int window = window_of(mapping);

	*offset = window / 2 * WINDOW_LEN + (mapping->iova - window_iova(window));
	return &r->externals[window % 2];
}

static void external_create(const struct realm *r, const struct grant *mapping)
{
	size_t offset, done;
	const struct gm_mem *mem = external(r, mapping, &offset);
	const __u64 *other = other_word(mem->va + offset, mapping->len, POISON);

	if (other)
		wrong("memory that was mapped at IOVA %#llx was written: %#llx",
		      (unsigned long long)mapping->iova, (unsigned long long)*other);
	for (done = 0; done < mapping->len; done += PG)
		set_words(mem->va + offset + done, PG,
			  stamp_external(mapping, mapping->iova + done));
}

static void external_bury(const struct realm *r, const struct grant *mapping)
{
	size_t offset, done, i;
	const struct gm_mem *mem = external(r, mapping, &offset);
	const __u64 *bad = NULL;

	for (done = 0; done < mapping->len; done += PG) {
		const __u64 *words = (const __u64 *)(mem->va + offset + done);
		__u64 iova = mapping->iova + done;

		if (!is_scratch(iova) || !(mapping->rights & GUESTMEM_RIGHT_WRITE))
			bad = other_word(words, PG, stamp_external(mapping, iova));
		else
			for (i = 0; i < PG / sizeof(*words); i++)
				if (words[i] & TOP_BITS)
					bad = &words[i];
		if (bad)
			wrong("what is mapped at IOVA %#llx was overwritten: %#llx",
			      (unsigned long long)iova, (unsigned long long)*bad);
	}
	set_words(mem->va + offset, mapping->len, POISON);
}

static void check_external(const char *how, const struct grant *mapping, __u64 iova,
			   const void *data, size_t len)
{
	const __u64 *words = data;
	size_t i;

	for (i = 0; i < len / sizeof(*words); i++)
		if (words[i] & TOP_BITS ||
		    (!is_scratch(iova) && words[i] != stamp_external(mapping, iova)))
			wrong("%s gave at IOVA %#llx what is not mapped there: %#llx", how,
			      (unsigned long long)iova, (unsigned long long)words[i]);
}

/* ---- the model: grants ---- */

static unsigned long changes(struct realm *r)
{
	unsigned long n;

	pthread_mutex_lock(&r->lock);
	n = r->changes;
	pthread_mutex_unlock(&r->lock);
	return n;
}

static bool grant_want(struct realm *r, struct grant *grant, const struct grant *what)
{
	bool is_free;

	pthread_mutex_lock(&r->lock);
	is_free = grant->state == FREE;
	if (is_free) {
		*grant = *what;
		grant->state = WANTED;
		grant->number = ++r->numbers;
		r->changes++;
	}
	pthread_mutex_unlock(&r->lock);
	if (is_free && grant->external)
		external_create(r, grant);
	return is_free;
}

/* It was granted, or there was an error. */
static void grant_answer(struct realm *r, struct grant *grant, int rc)
{
	if (rc && grant->external)
		external_bury(r, grant);
	pthread_mutex_lock(&r->lock);
	grant->state = rc ? FREE : GRANTED;
	grant->since = now();
	r->changes++;
	pthread_mutex_unlock(&r->lock);
}

/**
 * struct taking - grants that are being taken back
 * @grants: these, or others
 * @n: how many
 * @numbers: of each; 0 if it is another one
 * @handle: of the first
 */
struct taking {
	struct grant *grants;
	unsigned int n;
	unsigned int numbers[NWINDOWS];
	__u32 handle;
};

_Static_assert(NEXPORTS <= NWINDOWS, "all can be taken back");

/* Those that overlap the range. */
static void taking_begin(struct realm *r, struct taking *taking, struct grant *grants,
			 unsigned int n, __u64 iova, __u64 len)
{
	unsigned int k;

	*taking = (struct taking) { .grants = grants, .n = n };
	pthread_mutex_lock(&r->lock);
	for (k = 0; k < n; k++)
		if ((grants[k].state == GRANTED || grants[k].state == DEAD) &&
		    grants[k].iova < iova + len && iova < grants[k].iova + grants[k].len)
			taking->numbers[k] = grants[k].number;
	taking->handle = grants[0].handle;
	pthread_mutex_unlock(&r->lock);
}

/* They are DEAD, or TAKEN. Others may have taken them meanwhile, too. */
static void taking_end(struct realm *r, const struct taking *taking, enum grant_state to)
{
	unsigned int k;
	bool ours;

	for (k = 0; k < taking->n; k++) {
		struct grant *grant = &taking->grants[k];

		pthread_mutex_lock(&r->lock);
		ours = taking->numbers[k] && grant->number == taking->numbers[k] &&
		       grant->state >= GRANTED && grant->state < to;
		if (ours) {
			r->changes++;
			grant->state = to;
		}
		pthread_mutex_unlock(&r->lock);
		if (!ours || to == DEAD)
			continue;
		if (grant->external)
			external_bury(r, grant);
		pthread_mutex_lock(&r->lock);
		grant->state = FREE;
		pthread_mutex_unlock(&r->lock);
	}
}

static bool may_live(const struct grant *grant, __u32 need)
{
	return (grant->state == WANTED || grant->state == GRANTED) && !(need & ~grant->rights);
}

/* The number of the mapping that all of the range may be in, or 0. */
static unsigned int mapping_number(struct realm *r, __u64 iova, __u64 len)
{
	const struct grant *grant;
	unsigned int number = 0;

	pthread_mutex_lock(&r->lock);
	for (grant = r->mappings; grant < &r->mappings[NWINDOWS]; grant++)
		if (may_live(grant, 0) && iova >= grant->iova &&
		    iova + len <= grant->iova + grant->len)
			number = grant->number;
	pthread_mutex_unlock(&r->lock);
	return number;
}

/* How much, from the IOVA on, is in the same grants. Of these it must be in some. */
static size_t check_granted(const char *how, const struct realm *r, unsigned int i, __u64 iova,
			    const void *data, size_t len, __u32 need, __u64 start)
{
	const struct grant *mapping = NULL, *grant;
	struct place at = *r->guest;
	bool exported = false;
	size_t n = PG - iova % PG;

	n = n < len ? n : len;
	for (grant = r->mappings; grant < &r->mappings[NWINDOWS]; grant++)
		if (may_live(grant, need) && iova - grant->iova < grant->len)
			mapping = grant;
	for (grant = r->exports[i]; grant < &r->exports[i][NEXPORTS]; grant++) {
		__u64 end = grant->iova + grant->len;

		if (!may_live(grant, need))
			continue;
		if (grant->iova > iova) {
			n = grant->iova - iova < n ? grant->iova - iova : n;
		} else if (end > iova) {
			exported = true;
			n = end - iova < n ? end - iova : n;
			if (grant->state == WANTED)
				at.since = ~0ULL;
			else if (grant->since > at.since)
				at.since = grant->since;
		}
	}
	if (!mapping || !exported)
		wrong("%s at IOVA %#llx: it is not %s with rights %u", how,
		      (unsigned long long)iova, mapping ? "exported" : "mapped", need);
	if (!mapping || !exported || !data)
		return n;
	if (mapping->external) {
		check_external(how, mapping, iova, data, n);
	} else {
		at.gpa = mapping->gpa + (iova - mapping->iova);
		check_words(how, &at, data, n, start);
	}
	return n;
}

/**
 * check_session - was that access right?
 * @how: what was done
 * @r: the domain
 * @i: the session
 * @iova: first IOVA
 * @data: what was read, or NULL
 * @len: how much was reached
 * @need: rights for that
 * @start: clock before it began
 * @before: changes(@r) before it began
 */
static void check_session(const char *how, struct realm *r, unsigned int i, __u64 iova,
			  const void *data, size_t len, __u32 need, __u64 start,
			  unsigned long before)
{
	const __u64 *words = data;
	size_t done = 0, k;

	for (k = 0; data && k < len / sizeof(*words); k++)
		if (words[k] & TOP_BITS)
			wrong("%s gave poison, or foreign memory: %#llx at IOVA %#llx", how,
			      (unsigned long long)words[k],
			      (unsigned long long)iova + k * sizeof(*words));
	pthread_mutex_lock(&r->lock);
	while (done < len && r->changes == before)
		done += check_granted(how, r, i, iova + done,
				      data ? (const unsigned char *)data + done : NULL,
				      len - done, need, start);
	pthread_mutex_unlock(&r->lock);
}

/* One that there is, most likely. */
static bool some_grant(struct worker *w, struct realm *r, struct grant *grants, unsigned int n,
		       struct grant *grant, struct grant **where)
{
	unsigned int tries;

	for (tries = 0; tries < 8; tries++) {
		struct grant *at = &grants[rnd(w, n)];

		pthread_mutex_lock(&r->lock);
		*grant = *at;
		pthread_mutex_unlock(&r->lock);
		if (where)
			*where = at;
		if (grant->state != FREE)
			return true;
	}
	return false;
}

/* ---- operations: domains ---- */

/* What was open by @to goes, if something was. */
static bool replace(int *to, int fd)
{
	int rc;

	/* As when what it is made from was just revoked. */
	if (fd < 0)
		return false;
	if (*to < 0) {
		*to = fd;
		return true;
	}
	rc = dup3(fd, *to, O_CLOEXEC);
	close(fd);
	return rc >= 0;
}

static bool all_have_rights(const struct realm *r)
{
	int i;

	for (i = 0; i < NSESSIONS; i++)
		if (r->sessions[i] < 0 || !gm_rights(r->sessions[i]))
			return false;
	return r->domain >= 0 && gm_rights(r->domain);
}

static bool make_sessions(struct realm *r)
{
	void *p;
	int i;

	for (i = 0; i < NSESSIONS; i++) {
		if (!replace(&r->sessions[i], gm_session(r->domain, GM_CLIENT_RIGHTS, NULL)))
			return false;
		p = mmap(r->arenas[i], IOVA_LEN, PROT_READ | PROT_WRITE, MAP_SHARED |
			 (r->arenas[i] ? MAP_FIXED : 0), r->sessions[i], IOVA_FIRST);
		if (p == MAP_FAILED)
			return false;
		r->arenas[i] = p;
	}
	return true;
}

/*
 * New ones by the same descriptors, where the rights of all views were taken away. Whoever
 * does that may not be done with it: so it is done again, by a file that has the right.
 */
static bool make_domain(struct realm *r)
{
	struct taking taking[1 + NSESSIONS];
	unsigned int i;
	bool done;
	int fd;

	pthread_mutex_lock(&r->making);
	done = all_have_rights(r);
	if (!done) {
		taking_begin(r, &taking[0], r->mappings, NWINDOWS, 0, ~0ULL);
		for (i = 0; i < NSESSIONS; i++)
			taking_begin(r, &taking[1 + i], r->exports[i], NEXPORTS, 0, ~0ULL);
		if (r->domain >= 0 && gm_limit(r->guest->fd, gm_view_id(r->domain), 0))
			wrong("VIEW_LIMIT of a domain: %s", strerror(errno));
		for (i = 0; i < ARRAY_SIZE(taking); i++)
			taking_end(r, &taking[i], TAKEN);
		fd = gm_domain(r->guest->fd, GM_CLIENT_RIGHTS);
		if (fd >= 0)
			fcntl(fd, F_SETFL, O_NONBLOCK);
		done = replace(&r->domain, fd) && make_sessions(r);
	}
	pthread_mutex_unlock(&r->making);
	return done;
}

static bool make_realm(unsigned int process)
{
	struct realm *r = &realm;
	unsigned int i;

	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->making, NULL);
	r->guest = &guests[process % NGUESTS];
	r->domain = -1;
	memset(r->sessions, -1, sizeof(r->sessions));
	for (i = 0; i < 2; i++) {
		struct gm_mem *mem = &r->externals[i];

		if (gm_mem_alloc(mem, i ? GM_MEMFD : GM_ANON, NWINDOWS_EXTERNAL / 2 * WINDOW_LEN))
			return false;
		set_words(mem->va, mem->len, POISON);
	}
	/* All may be revoked at any time, also between one step and the next. */
	for (i = 0; i < 1000; i++)
		if (make_domain(r))
			return true;
	return false;
}

/* What a domain or session may answer while others take things away. */
static bool may_be_refused(const char *what, int rc)
{
	if (rc && rc != -ENXIO && rc != -EACCES && rc != -ESTALE)
		wrong("%s: %s", what, strerror(-rc));
	return !rc;
}

static __u32 some_rights(struct worker *w)
{
	static const __u32 rights[] = { RW, RW, GUESTMEM_RIGHT_READ, GUESTMEM_RIGHT_WRITE };

	return rights[rnd(w, ARRAY_SIZE(rights))];
}

/*
 * Most likely of memory that is there. At the start of its window, or up to its end; else
 * somewhere in it, most likely.
 */
static struct grant some_mapping(struct worker *w, const struct realm *r, unsigned int window,
				 bool at_start, bool to_end)
{
	size_t len = window_len(window), granule = is_huge(window) ? GM_HUGE : 2 * SCRATCH_LEN;
	struct grant mapping = { .rights = some_rights(w) };
	unsigned int tries = 0;
	struct place at;
	size_t offset;
	__u64 gpa;

	do
		at = some_place(w);
	while (at.guest != r->guest->guest && ++tries < 8);
	gpa = at.gpa & ~(PG - 1);
	if (at_start || (is_huge(window) && rnd(w, 2)))
		gpa &= ~(granule - 1);
	offset = gpa & (granule - 1);
	mapping.iova = window_iova(window) + offset;
	mapping.len = to_end || (is_huge(window) && !offset) ? len - offset :
		      (1 + rnd(w, 4) * rnd(w, 2)) * PG;
	if (mapping.len > len - offset)
		mapping.len = len - offset;
	mapping.gpa = gpa;
	mapping.external = window < NWINDOWS_EXTERNAL && rnd(w, 2);
	return mapping;
}

static struct guestmem_mapping mapping_arg(const struct realm *r, const struct grant *mapping)
{
	struct guestmem_mapping arg = { .iova = mapping->iova, .len = mapping->len,
					.gpa = mapping->gpa, .rights = mapping->rights };
	const struct gm_mem *mem;
	size_t offset;

	if (!mapping->external)
		return arg;
	mem = external(r, mapping, &offset);
	arg.backing = mem->fd < 0 ? GUESTMEM_BACKING_USER : GUESTMEM_BACKING_FILE;
	arg.fd = mem->fd < 0 ? 0 : mem->fd;
	arg.gpa = mem->fd < 0 ? (uintptr_t)mem->va + offset : offset;
	return arg;
}

/* What there is, and the model knows. */
static bool do_domain_list(struct worker *w)
{
	struct guestmem_mapping list[NWINDOWS + 1];
	struct realm *r = w->realm;
	struct guestmem_domain_list dl;
	unsigned long before = changes(r);
	const struct grant *mapping;
	unsigned int i;
	int rc;

	rc = gm_domain_list(r->domain, &dl, .entries = (uintptr_t)list,
			    .nentries = ARRAY_SIZE(list));
	if (rc)
		return may_be_refused("DOMAIN_LIST", rc);
	pthread_mutex_lock(&r->lock);
	for (i = 0; i < dl.nentries && r->changes == before; i++) {
		for (mapping = r->mappings; mapping < &r->mappings[NWINDOWS]; mapping++)
			if (may_live(mapping, 0) && mapping->iova == list[i].iova)
				break;
		if (mapping == &r->mappings[NWINDOWS] || mapping->len != list[i].len ||
		    (!mapping->external && mapping->gpa != list[i].gpa))
			wrong("DOMAIN_LIST: what is listed at IOVA %#llx is not mapped",
			      (unsigned long long)list[i].iova);
	}
	pthread_mutex_unlock(&r->lock);
	return true;
}

/* Those that this thread reads at once have no others in between. */
static bool do_domain_records(struct worker *w)
{
	struct guestmem_record records[16];
	struct realm *r = w->realm;
	ssize_t n = read(r->domain, records, sizeof(records)), i;

	if (n < 0 && errno != EAGAIN && errno != ESTALE)
		wrong("read of records: %s", strerror(errno));
	if (n <= 0)
		return false;
	n /= sizeof(*records);
	for (i = 0; i < n; i++)
		if (records[i].type < GUESTMEM_RECORD_FAULT ||
		    records[i].type > GUESTMEM_RECORD_REMOVED ||
		    (i && records[i].seq != records[i - 1].seq + 1 + records[i].lost))
			wrong("record %llu, of type %u, %llu lost, follows %llu",
			      (unsigned long long)records[i].seq, records[i].type,
			      (unsigned long long)records[i].lost,
			      (unsigned long long)records[i ? i - 1 : 0].seq);
	return true;
}

/* ---- operations: sessions ---- */

/* By system call, by mapping, and by a driver in the kernel, also what is not exported. */
static bool session_reads(struct worker *w, struct realm *r, unsigned int i, __u64 iova)
{
	size_t len = (1 + rnd(w, BUF_LEN / 8)) * 8;
	unsigned long before = changes(r);
	__u64 start = now(), word;
	bool done;
	ssize_t n;

	n = pread(r->sessions[i], buf, len, iova);
	if (n < 0)
		may_be_refused("pread by a session", -errno);
	check_session("pread by a session", r, i, iova, buf, n > 0 ? n : 0, GUESTMEM_RIGHT_READ,
		      start, before);
	done = n > 0;
	before = changes(r);
	start = now();
	if (iova - IOVA_FIRST < IOVA_LEN && fetch(r->arenas[i] + (iova - IOVA_FIRST), &word)) {
		check_session("load by a session", r, i, iova, &word, sizeof(word),
			      GUESTMEM_RIGHT_READ, start, before);
		done = true;
	}
	if (rnd(w, 8))
		return done;
	len = len < GUESTMEM_KAPI_BUF_LEN ? len : GUESTMEM_KAPI_BUF_LEN;
	before = changes(r);
	start = now();
	if (!may_be_refused("guestmem_read by a session",
			    kapi(r->sessions[i], GUESTMEM_KAPI_READ, iova, len, 0)))
		return done;
	check_session("guestmem_read by a session", r, i, iova, buf, len, GUESTMEM_RIGHT_READ,
		      start, before);
	return true;
}

static unsigned long some_session_reads(struct worker *w, struct realm *r, unsigned int i,
					__u64 iova)
{
	unsigned long tries = 1 + rnd(w, 10), n = 0;

	while (n < tries && session_reads(w, r, i, iova))
		n++;
	return n;
}

/* One, or all: then a session that was hit may export again. */
static bool release(struct realm *r, unsigned int i, struct grant *export)
{
	struct taking taking;
	int rc;

	taking_begin(r, &taking, export ?: r->exports[i], export ? 1 : NEXPORTS, 0, ~0ULL);
	if (export && !taking.numbers[0])
		return false;
	rc = export ? gm_release_handle(r->sessions[i], taking.handle) :
	     gm_release_all(r->sessions[i]);
	/* It may have been released by another thread, or by force. */
	if (rc >= 0 || (export && rc == -ENOENT))
		taking_end(r, &taking, TAKEN);
	else
		may_be_refused("RELEASE", rc);
	return rc >= 0;
}

/* The eventfd is told when nobody uses it any more: at the deadline at the latest, or soon. */
static void await_unmap(int efd)
{
	struct pollfd pfd = { .fd = efd, .events = POLLIN };

	if (poll(&pfd, 1, HANG_SECONDS / 2 * 1000) != 1)
		wrong("an UNMAP did not tell its eventfd");
}

/* Some windows, or all. */
static bool unmap_windows(struct worker *w, struct realm *r, unsigned int first,
			  unsigned int last, bool all)
{
	__u64 iova = window_iova(first), len = window_iova(last) + window_len(last) - iova;
	struct taking mappings, exports[NSESSIONS];
	struct guestmem_domain_unmap du;
	bool tell = rnd(w, 2);
	int rc, efd = 0, i;

	if (tell)
		efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (all)
		iova = 0;
	taking_begin(r, &mappings, r->mappings, NWINDOWS, iova, all ? ~0ULL : len);
	for (i = 0; i < NSESSIONS; i++)
		taking_begin(r, &exports[i], r->exports[i], NEXPORTS, iova, all ? ~0ULL : len);
	rc = gm_domain_unmap(r->domain, &du, .iova = iova, .len = all ? 0 : len,
			     .deadline_ms = rnd(w, 8), .timeout_ms = rnd(w, 4),
			     .flags = (all ? GUESTMEM_UNMAP_ALL : 0) |
				      (tell ? GUESTMEM_UNMAP_EVENTFD : 0),
			     .eventfd = efd);
	if (!rc || rc == -ETIMEDOUT || rc == -ENOSPC) {
		for (i = 0; i < NSESSIONS; i++)
			taking_end(r, &exports[i], DEAD);
		taking_end(r, &mappings, TAKEN);
		if (tell && rc != -ENOSPC)
			await_unmap(efd);
		rc = 0;
	}
	if (tell)
		close(efd);
	return rc == -ESTALE ? make_domain(r) : may_be_refused("DOMAIN_UNMAP", rc);
}

/* Some of a mapping that there is, or just was. */
static bool export_mapping(struct worker *w, struct realm *r, const struct grant *mapping)
{
	unsigned int i = rnd(w, NSESSIONS), k = rnd(w, NEXPORTS);
	struct grant export = { 0 };
	int rc;

	export.iova = mapping->iova + (rnd(w, 2) ? 0 : rnd(w, mapping->len / 8) * 8);
	export.len = mapping->iova + mapping->len - export.iova;
	/* With what lies behind it, or not all of it. */
	if (!rnd(w, 8))
		export.len += (1 + rnd(w, 4)) * PG;
	else if (rnd(w, 2))
		export.len = (1 + rnd(w, export.len / 8)) * 8;
	export.rights = rnd(w, 4) ? mapping->rights : some_rights(w);
	if (!grant_want(r, &r->exports[i][k], &export))
		return release(r, i, &r->exports[i][k]);
	rc = gm_export_iova(r->sessions[i], export.iova, export.len, export.rights,
			    &r->exports[i][k].handle);
	grant_answer(r, &r->exports[i][k], rc);
	/* The mapping may be gone with a region: then there is place for another one. */
	if (rc == -ENXIO && rnd(w, 2))
		unmap_windows(w, r, window_of(mapping), window_of(mapping), false);
	/* It is broken: its other exports work on, for a while. */
	if (rc == -ESTALE && gm_rights(r->sessions[i]))
		return !rnd(w, 4) && release(r, i, NULL);
	if (rc == -ESTALE)
		return make_domain(r);
	if (rc)
		return may_be_refused("EXPORT", rc);
	some_session_reads(w, r, i, export.iova);
	if (!rnd(w, 4)) {
		release(r, i, &r->exports[i][k]);
		some_session_reads(w, r, i, export.iova);
	}
	return true;
}

static bool do_export(struct worker *w)
{
	struct realm *r = w->realm;
	struct grant mapping;

	return some_grant(w, r, r->mappings, NWINDOWS, &mapping, NULL) &&
	       export_mapping(w, r, &mapping);
}

/* One, or two side by side. */
static bool do_domain_map(struct worker *w)
{
	struct realm *r = w->realm;
	unsigned int n = rnd(w, 3) ? 1 : 2, first = rnd(w, NWINDOWS - n + 1), k;
	struct guestmem_domain_map dm;
	struct guestmem_mapping args[2];
	struct grant mapping;
	int rc = 0;

	for (k = 0; k < n && !rc; k++) {
		mapping = some_mapping(w, r, first + k, k > 0, k + 1 < n);
		if (grant_want(r, &r->mappings[first + k], &mapping))
			args[k] = mapping_arg(r, &mapping);
		else
			rc = -EBUSY;
	}
	if (rc) {
		if (k > 1)
			grant_answer(r, &r->mappings[first], rc);
		return false;
	}
	rc = gm_domain_map(r->domain, &dm, .mappings = (uintptr_t)args, .nmappings = n);
	for (k = 0; k < n; k++)
		grant_answer(r, &r->mappings[first + k], rc);
	if (!rc && rnd(w, 2))
		export_mapping(w, r, &mapping);
	if (rc == -ESTALE || rc == -EACCES)
		return make_domain(r);
	/* Memory that is not in the guest may not be there to be pinned. */
	return rc == -ENOMEM || rc == -EBUSY ? false : may_be_refused("DOMAIN_MAP", rc);
}

static bool do_domain_unmap(struct worker *w)
{
	struct realm *r = w->realm;
	struct grant mapping, *where;
	unsigned int first, last;

	if (!some_grant(w, r, r->mappings, NWINDOWS, &mapping, &where))
		return false;
	first = where - r->mappings;
	last = first + rnd(w, 2) * rnd(w, 3);
	unmap_windows(w, r, first, last < NWINDOWS ? last : NWINDOWS - 1, !rnd(w, 16));
	some_session_reads(w, r, rnd(w, NSESSIONS), mapping.iova);
	return true;
}

static bool do_release(struct worker *w)
{
	struct grant export, *where;
	struct realm *r = w->realm;
	unsigned int i = rnd(w, NSESSIONS);

	if (!some_grant(w, r, r->exports[i], NEXPORTS, &export, &where))
		return false;
	if (!release(r, i, rnd(w, 4) ? where : NULL))
		return false;
	some_session_reads(w, r, i, export.iova);
	return true;
}

/* Most likely in a grant: of the session, or only of the domain. */
static bool some_iova(struct worker *w, struct realm *r, unsigned int i, __u64 *iova)
{
	struct grant grant;

	if (!(rnd(w, 3) ? some_grant(w, r, r->exports[i], NEXPORTS, &grant, NULL) :
	      some_grant(w, r, r->mappings, NWINDOWS, &grant, NULL)))
		return false;
	*iova = grant.iova + rnd(w, grant.len / 8) * 8;
	return true;
}

static bool do_session_read(struct worker *w)
{
	struct realm *r = w->realm;
	unsigned int i = rnd(w, NSESSIONS);
	__u64 iova;

	return some_iova(w, r, i, &iova) && some_session_reads(w, r, i, iova);
}

/* Where anybody may write, by whatever way. */
static bool do_session_write(struct worker *w)
{
	unsigned int i = rnd(w, NSESSIONS);
	__u32 need = GUESTMEM_RIGHT_WRITE;
	struct realm *r = w->realm;
	unsigned long before;
	int ses, rc = 0;
	__u64 iova, start, done = 0;
	ssize_t n;
	size_t len;

	if (!some_iova(w, r, i, &iova))
		return false;
	iova |= SCRATCH_LEN;
	len = SCRATCH_LEN - (iova & (SCRATCH_LEN - 1));
	len = (1 + rnd(w, len / 8)) * 8;
	set_words(buf, len, some_word(w));
	ses = r->sessions[i];
	before = changes(r);
	start = now();
	switch (rnd(w, 5)) {
	case 0:
		n = pwrite(ses, buf, len, iova);
		rc = n < 0 ? -errno : 0;
		done = n > 0 ? n : 0;
		break;
	case 1: {
		struct guestmem_fill fill;

		rc = gm_fill(ses, &fill, .gpa = iova, .len = len, .value = rnd(w, 0x80));
		done = fill.done;
		break;
	}
	case 2: {
		struct guestmem_atomic atomic;

		/* Makes no byte 0x80 or more of what is less. */
		rc = gm_atomic(ses, &atomic, .op = GUESTMEM_ATOMIC_XOR, .width = 8, .gpa = iova,
			       .operand = { some_word(w) });
		need = RW;
		done = rc ? 0 : 8;
		if (!rc && atomic.old[0] & TOP_BITS)
			wrong("ATOMIC by a session gave poison: %#llx",
			      (unsigned long long)atomic.old[0]);
		break;
	}
	case 3:
		if (iova - IOVA_FIRST < IOVA_LEN &&
		    store(r->arenas[i] + (iova - IOVA_FIRST), some_word(w)))
			done = 8;
		need = RW;
		break;
	default:
		len = len < GUESTMEM_KAPI_BUF_LEN ? len : GUESTMEM_KAPI_BUF_LEN;
		rc = kapi(ses, rnd(w, 2) ? GUESTMEM_KAPI_WRITE : GUESTMEM_KAPI_FILL, iova, len,
			  rnd(w, 0x80));
		done = rc ? 0 : len;
	}
	check_session("write by a session", r, i, iova, NULL, done, need, start, before);
	return may_be_refused("write by a session", rc);
}

/* From anywhere: if there were poison, it would be found where it is copied to. */
static bool do_session_copy(struct worker *w)
{
	unsigned int i = rnd(w, NSESSIONS);
	struct realm *r = w->realm;
	struct guestmem_copy copy;
	__u64 to, from, start;
	unsigned long before;
	size_t len;
	int rc;

	if (!some_iova(w, r, i, &from))
		return false;
	/* From one window to another, or in one. */
	to = from + (1 + rnd(w, 8)) * PG;
	if (rnd(w, 2) && !some_iova(w, r, i, &to))
		return false;
	to |= SCRATCH_LEN;
	len = SCRATCH_LEN - (to & (SCRATCH_LEN - 1));
	len = (1 + rnd(w, len / 8 < 64 ? len / 8 : 64)) * 8;
	before = changes(r);
	start = now();
	rc = gm_copy(r->sessions[i], &copy, .dst = to, .src = from, .len = len);
	check_session("COPY to a session", r, i, to, NULL, copy.done, GUESTMEM_RIGHT_WRITE, start,
		      before);
	check_session("COPY from a session", r, i, from, NULL, copy.done, GUESTMEM_RIGHT_READ,
		      start, before);
	return rc == -EINVAL && copy.err.reason == GUESTMEM_REASON_OVERLAP ? false :
	       may_be_refused("COPY by a session", rc);
}

static bool do_session_lock(struct worker *w)
{
	unsigned int i = rnd(w, NSESSIONS);
	struct realm *r = w->realm;
	struct guestmem_lock lock;
	__u64 iova;
	int ses, rc;

	if (!some_iova(w, r, i, &iova))
		return false;
	ses = r->sessions[i];
	rc = gm_lock(ses, &lock, .gpa = iova, .len = 8, .direction = GUESTMEM_DMA_TO_DEVICE);
	if (rc)
		return may_be_refused("LOCK by a session", rc);
	usleep(rnd(w, 1000));
	/* It is gone with its session if that was replaced. */
	rc = gm_unlock_handle(ses, lock.handle);
	if (rc && rc != -ENOENT)
		wrong("UNLOCK by a session: %s", strerror(-rc));
	return true;
}

#endif /* _TORTURE_DOMAIN_H */
