// SPDX-License-Identifier: GPL-2.0-only
/*
 * Race torture: threads of several processes do everything at once, to guests that they
 * share, on random overlapping ranges. Workers are killed and replaced meanwhile.
 *
 * What may be read and written is known at any time: of guests by what is in torture_model.h,
 * of sessions of their domains by what is in torture_domain.h. Both begin with what always
 * holds.
 *
 * An operation is a function and a line in operations[].
 *
 * TORTURE_SECONDS (default 10) is how long it takes. SEED (default 1) is what each worker
 * chooses by, as far as its choices do not depend on what the others did; ./torture, which
 * looks for what is new, gives another one each time.
 */
#include "torture_model.h"
#include "torture_domain.h"

#include <limits.h>
#include <sys/prctl.h>
#include <sys/wait.h>

GM_FIGURE("operations raced")

/* It may run for days; the supervisor looks for workers that hang. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	INT_MAX

/* ---- operations: regions ---- */

static bool do_add(struct worker *w)
{
	unsigned int s = rnd(w, ORPHAN);

	return slot_is_free(w, s) && add(w, s, &guests[rnd(w, NGUESTS)]);
}

static int guest_fd(struct worker *w, unsigned int s, const struct incarnation *inc)
{
	struct place *guest = guest_of(inc->guest);

	return guest ? guest->fd : w->slots[s].fd;
}

static bool do_remove(struct worker *w)
{
	__u32 flags = rnd(w, 2) ? GUESTMEM_REMOVE_FORCE : 0;
	struct guestmem_region_remove remove;
	struct incarnation *inc;
	unsigned int s, number;
	bool own = rnd(w, 2);
	int rc, fd;

	inc = some_incarnation(w, own, &s, &number);
	if (!inc || !claim(w->record, w->index, inc, number))
		return false;
	fd = guest_fd(w, s, inc);
	rc = gm_region_remove(fd, &remove, .id = inc->id, .flags = flags,
			      .timeout_ms = flags ? rnd(w, 4) : 0);
	if (rc == -EBUSY && !flags && remove.err.reason == GUESTMEM_REASON_LOCKED) {
		unclaim(w->record, inc);
		return false;
	}
	if (rc && !(rc == -ETIMEDOUT && flags && remove.nlocks))
		wrong("REGION_REMOVE of incarnation %u, flags %u: %s", inc->number, flags,
		      strerror(-rc));
	is_removed(w->record, inc);
	if (own && rnd(w, 4))
		slot_is_free(w, s);
	return true;
}

/* By two at once, one of which waits for locks as long as it takes, but is killed. */
static bool do_remove_twice(struct worker *w)
{
	struct guestmem_region_remove remove;
	int rc, fd, status, forever = -1;
	struct incarnation *inc;
	unsigned int s, number;
	pid_t pid;

	inc = some_incarnation(w, rnd(w, 2), &s, &number);
	if (!inc || !guest_of(inc->guest) || !claim(w->record, w->index, inc, number))
		return false;
	fd = guest_of(inc->guest)->fd;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rc = gm_region_remove(fd, &remove, .id = inc->id, .flags = GUESTMEM_REMOVE_FORCE,
				      .timeout_ms = GUESTMEM_WAIT_FOREVER);
		_exit(-rc);
	}
	usleep(rnd(w, 5000));
	rc = gm_region_remove(fd, &remove, .id = inc->id, .flags = GUESTMEM_REMOVE_FORCE);
	if (pid > 0) {
		usleep(rnd(w, 5000));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		if (WIFEXITED(status))
			forever = WEXITSTATUS(status);
	}
	if (rc != 0 && rc != -ETIMEDOUT && rc != -ENOENT)
		wrong("REGION_REMOVE by two: %s", strerror(-rc));
	if (forever > 0 && forever != ENOENT)
		wrong("REGION_REMOVE by two, one forever: %s", strerror(forever));
	if (rc != -ENOENT && !forever)
		wrong("region %u was removed twice", inc->id);
	if (rc == -ENOENT && (forever == ENOENT || pid < 0))
		wrong("region %u was removed by nobody", inc->id);
	is_removed(w->record, inc);
	return true;
}

/* One's own region, while nobody removes it, can be accessed by any way. */
static bool do_verify(struct worker *w)
{
	struct guestmem_translate translate;
	struct guestmem_extent extent;
	struct guestmem_range range;
	struct incarnation *inc;
	unsigned int s, number;
	struct place at;
	volatile __u64 word = 0;
	unsigned char *map;
	__u64 start = now();
	size_t len;
	ssize_t n;
	int rc, sig;

	inc = some_incarnation(w, true, &s, &number);
	if (!inc)
		return false;
	len = inc->len < BUF_LEN ? inc->len : BUF_LEN;
	at = (struct place) { .fd = guest_fd(w, s, inc), .guest = inc->guest,
			      .gpa = inc->gpa + rnd(w, (inc->len - len) / PG + 1) * PG };
	n = pread(at.fd, buf, len, at.gpa);
	range = (struct guestmem_range) { at.gpa, len };
	rc = gm_translate(at.fd, &translate, .ranges = (uintptr_t)&range, .nranges = 1,
			  .extents = (uintptr_t)&extent, .nextents = 1);
	map = gm_mmap(at.fd, at.gpa, len, PROT_READ);
	if (map == MAP_FAILED)
		return false;
	sig = sigsetjmp(gm_sig_env, 1);
	if (!sig) {
		gm_sig_armed = 1;
		word = *(volatile __u64 *)map;
	}
	gm_sig_armed = 0;
	munmap(map, len);
	if (!is_live(inc))
		return false;
	if (n != (ssize_t)len)
		wrong("pread of a live region at %#llx: %zd", (unsigned long long)at.gpa, n);
	check_words("pread", &at, buf, len, start);
	if ((rc && rc != -EMSGSIZE) || (!rc && extent.region_id != inc->id))
		wrong("TRANSLATE of live region %u: %d", inc->id, rc);
	if (sig)
		wrong("load from a live region at %#llx: signal %d", (unsigned long long)at.gpa,
		      sig);
	check_word("load", &at, at.gpa, word, start);
	return true;
}

static bool is_stale(int fd, __u32 id)
{
	static __thread struct guestmem_region regions[NWORKERS_MAX * NSLOTS];
	int i, n = gm_list(fd, regions, ARRAY_SIZE(regions));

	for (i = 0; i < n; i++)
		if (regions[i].id == id)
			return regions[i].flags & GUESTMEM_REGION_STALE;
	return false;
}

/* Takes pages from under a region. The guest keeps them; of anonymous ones it is told. */
static bool do_discard(struct worker *w)
{
	double deadline = gm_now() + HANG_SECONDS / 2;
	struct incarnation *inc;
	unsigned int s, number;
	struct slot *slot;
	size_t offset;
	int rc, fd;

	inc = some_incarnation(w, true, &s, &number);
	if (!inc || s == ORPHAN || s == HUGE)
		return false;
	slot = &w->slots[s];
	offset = slot->offset + rnd(w, slot->len / PG) * PG;
	fd = guest_fd(w, s, inc);
	slot->discarded = true;
	if (slot->mem.fd >= 0)
		return !fallocate(slot->mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  offset, PG);
	rc = madvise(slot->mem.va + offset, PG, MADV_DONTNEED);
	/* While others hold mmap_lock nobody can look, but each time it is tried anew. */
	while (!atomic_load(&model->stop) && !is_stale(fd, inc->id) && is_live(inc)) {
		if (gm_now() > deadline)
			wrong("region %u is not stale after a discard", inc->id);
		usleep(1000);
	}
	return !rc;
}

static bool do_list(struct worker *w)
{
	static __thread struct guestmem_region regions[NWORKERS_MAX * NSLOTS];
	int fd = guests[rnd(w, NGUESTS)].fd, i, n;
	struct guestmem_info info;

	n = gm_list(fd, regions, ARRAY_SIZE(regions));
	for (i = 1; i < n; i++)
		if (regions[i].gpa < regions[i - 1].gpa + regions[i - 1].len)
			wrong("REGION_LIST: region %u after %u", regions[i].id, regions[i - 1].id);
	return !gm_info(fd, &info, .flags = rnd(w, 2) ? GUESTMEM_INFO_TAKE_EVENTS : 0) && n >= 0;
}

/* ---- operations: accesses by system call ---- */

/* Again and again, so that somebody is reading when it goes. */
static bool do_read(struct worker *w)
{
	struct place at = some_place(w);
	size_t len = some_len(w), tries = 1 + rnd(w, 30);
	ssize_t n;

	do {
		__u64 start = now();

		n = pread(at.fd, buf, len, at.gpa);
		if (n < 0 && errno != ENXIO)
			wrong("pread: %s", strerror(errno));
		check_words("pread", &at, buf, n > 0 ? n : 0, start);
	} while (n > 0 && --tries);
	return n > 0;
}

static bool do_write(struct worker *w)
{
	size_t len = some_len(w), tries = 1 + rnd(w, 30);
	struct place at = some_scratch(w, &len);
	ssize_t n;

	set_words(buf, len, some_word(w));
	do
		n = pwrite(at.fd, buf, len, at.gpa);
	while (n > 0 && --tries);
	return may_fail("pwrite", n < 0 ? -errno : 0);
}

static bool do_fill(struct worker *w)
{
	size_t len = some_len(w);
	struct place at = some_scratch(w, &len);
	struct guestmem_fill fill;

	return may_fail("FILL", gm_fill(at.fd, &fill, .gpa = at.gpa, .len = len,
					.value = rnd(w, 0x80)));
}

/* From anywhere: if there were poison, it would be found where it is copied to. */
static bool do_copy(struct worker *w)
{
	size_t len = some_len(w);
	struct place to = some_scratch(w, &len), from = some_place(w);
	struct guestmem_copy copy;
	int rc;

	rc = gm_copy(to.fd, &copy, .dst = to.gpa, .src = from.gpa, .len = len);
	return rc == -EINVAL && copy.err.reason == GUESTMEM_REASON_OVERLAP ? false :
	       may_fail("COPY", rc);
}

/* With operations that make no byte 0x80 or more of what is less. */
static bool do_atomic(struct worker *w)
{
	static const __u32 ops[] = { GUESTMEM_ATOMIC_XCHG, GUESTMEM_ATOMIC_AND,
				     GUESTMEM_ATOMIC_OR, GUESTMEM_ATOMIC_XOR,
				     GUESTMEM_ATOMIC_CMPXCHG };
	__u32 width = 1U << rnd(w, 4), op = ops[rnd(w, ARRAY_SIZE(ops))];
	__u64 mask = width == 8 ? ~0ULL : (1ULL << (8 * width)) - 1;
	size_t len = PG;
	struct place at = some_scratch(w, &len);
	struct guestmem_atomic atomic;
	int rc;

	rc = gm_atomic(at.fd, &atomic, .op = op, .width = width,
		       .gpa = at.gpa + rnd(w, PG / width) * width,
		       .operand = { some_word(w) & mask },
		       .compare = { op == GUESTMEM_ATOMIC_CMPXCHG ? some_word(w) & mask : 0 });
	if (!rc && atomic.old[0] & TOP_BITS)
		wrong("ATOMIC gave poison: %#llx", (unsigned long long)atomic.old[0]);
	return may_fail("ATOMIC", rc);
}

/* A compare-exchange that never finds what it compares with reads atomically. */
static bool do_atomic_read(struct worker *w)
{
	struct place at = some_place(w);
	__u64 start = now();
	struct guestmem_atomic atomic;
	int rc;

	rc = gm_atomic(at.fd, &atomic, .op = GUESTMEM_ATOMIC_CMPXCHG, .width = 8, .gpa = at.gpa,
		       .compare = { ~0ULL });
	if (!rc)
		check_word("ATOMIC", &at, at.gpa, atomic.old[0], start);
	return may_fail("ATOMIC", rc);
}

static bool do_translate(struct worker *w)
{
	struct place at = some_place(w), other = some_place(w);
	struct guestmem_range ranges[2] = {
		{ at.gpa, some_len(w) }, { other.gpa, some_len(w) },
	};
	struct guestmem_extent extents[64];
	struct guestmem_translate translate;

	return may_fail("TRANSLATE", gm_translate(at.fd, &translate, .nranges = 2,
						  .ranges = (uintptr_t)ranges,
						  .extents = (uintptr_t)extents,
						  .nextents = ARRAY_SIZE(extents)));
}

static bool do_table(struct worker *w)
{
	int fd = guests[rnd(w, NGUESTS)].fd, tries;
	const struct guestmem_table *table;
	struct guestmem_info info;
	bool done = false;
	__u32 seq, n, i;

	gm_info(fd, &info);
	table = mmap(NULL, info.table_len, PROT_READ, MAP_SHARED, fd,
		     (off_t)GUESTMEM_MMAP_TABLE);
	if (table == MAP_FAILED)
		return false;
	for (tries = 0; !done && tries < 100; tries++) {
		const unsigned char *entries = (const unsigned char *)table + table->header_size;
		unsigned int disorder = 0;
		__u64 end = 0;

		seq = __atomic_load_n(&table->seq, __ATOMIC_ACQUIRE);
		n = __atomic_load_n(&table->nentries, __ATOMIC_RELAXED);
		for (i = 0; i < n && i < table->capacity; i++) {
			const volatile struct guestmem_table_entry *entry =
				(const void *)(entries + i * table->entry_size);

			disorder += entry->gpa < end || !entry->len;
			end = entry->gpa + entry->len;
		}
		atomic_thread_fence(memory_order_acquire);
		done = !(seq & 1) && __atomic_load_n(&table->seq, __ATOMIC_RELAXED) == seq;
		if (done && disorder)
			wrong("translation table: %u of %u entries out of order", disorder, n);
	}
	munmap((void *)table, info.table_len);
	return done;
}

/* ---- operations: mappings ---- */

/* Some address in a mapping of one's own, or in the process' of a guest. */
static unsigned char *some_address(struct worker *w, struct place *at)
{
	if (w->map && !rnd(w, 3)) {
		size_t offset = rnd(w, w->map_len / PG) * PG;

		*at = w->map_at;
		at->gpa += offset;
		return w->map + offset;
	}
	*at = some_place(w);
	if (at->guest != guests[0].guest && at->guest != guests[1].guest)
		*at = (struct place) { .fd = guests[0].fd, .guest = guests[0].guest,
				       .gpa = at->gpa };
	if (at->gpa >= GM_GPA + SPACE_LEN)
		at->gpa = GM_GPA;
	return arenas[at->guest != guests[0].guest] + (at->gpa - GM_GPA);
}

static bool do_load(struct worker *w)
{
	struct place at;
	unsigned char *p = some_address(w, &at);
	size_t offset = rnd(w, PG / 8) * 8, tries = 1 + rnd(w, 30);
	bool done;

	at.gpa += offset;
	do
		done = load("load", &at, p + offset);
	while (done && --tries);
	return done;
}

static bool do_store(struct worker *w)
{
	struct place at;
	unsigned char *p = some_address(w, &at) + rnd(w, PG / 8) * 8;
	size_t tries = 1 + rnd(w, 30);
	bool done = false;

	if (is_scratch(at.gpa))
		do
			done = store(p, some_word(w));
		while (done && --tries);
	return done;
}

/* All of it, or one huge page, or a few pages, anew, or with other rights, or not at all. */
static bool do_arena(struct worker *w)
{
	unsigned int g = rnd(w, NGUESTS), how;
	size_t offset = 0, len = SPACE_LEN;
	int prot = rnd(w, 3) ? PROT_READ | PROT_WRITE : PROT_READ;
	unsigned char *p;

	if (rnd(w, 3)) {
		len = rnd(w, 2) ? GM_HUGE : some_len(w);
		offset = len == GM_HUGE ? rnd(w, SPACE_LEN / GM_HUGE) * GM_HUGE :
			 rnd(w, (SPACE_LEN - len) / PG) * PG;
	}
	p = arenas[g] + offset;
	how = rnd(w, 5);
	if (how == 0)
		return !mprotect(p, len, prot);
	if (how == 1)
		return !madvise(p, len, MADV_DONTNEED);
	/* What munmap() does, without leaving the address to others. */
	if (how == 2 && len != SPACE_LEN)
		prot = PROT_NONE;
	return mmap(p, len, prot, MAP_SHARED | MAP_FIXED, guests[g].fd, GM_GPA + offset) == p;
}

static void unmap(struct worker *w)
{
	if (w->map)
		munmap(w->map, w->map_len);
	w->map = NULL;
}

static bool do_map(struct worker *w)
{
	unmap(w);
	w->map_at = some_place(w);
	w->map_len = rnd(w, 8) ? some_len(w) : 2 * GM_HUGE;
	w->map = gm_mmap(w->map_at.fd, w->map_at.gpa, w->map_len,
			 rnd(w, 4) ? PROT_READ | PROT_WRITE : PROT_READ);
	if (w->map == MAP_FAILED)
		w->map = NULL;
	return w->map;
}

static bool do_protect(struct worker *w)
{
	size_t offset;

	if (!w->map)
		return false;
	offset = rnd(w, w->map_len / PG) * PG;
	return !mprotect(w->map + offset, w->map_len - offset,
			 rnd(w, 2) ? PROT_READ : PROT_READ | PROT_WRITE);
}

static bool do_remap(struct worker *w)
{
	unsigned char *to;

	if (!w->map)
		return false;
	to = mmap(NULL, w->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		  0);
	if (to == MAP_FAILED)
		return false;
	if (mremap(w->map, w->map_len, w->map_len, MREMAP_MAYMOVE | MREMAP_FIXED, to) ==
	    MAP_FAILED) {
		/* One that was protected in parts is several: it cannot be moved as one. */
		munmap(to, w->map_len);
		return false;
	}
	w->map = to;
	return true;
}

/*
 * What a view of some pages shows, while others may take its rights away. Once it is
 * revoked, by itself at the latest, it shows nothing.
 */
static bool do_view(struct worker *w)
{
	struct place at = some_place(w), in = at;
	size_t len = (1 + rnd(w, 16)) * PG, offset = rnd(w, len / 8) * 8, tries = 1 + rnd(w, 8);
	bool done = false;
	unsigned char *p;
	ssize_t n;
	int rc;

	in.fd = gm_view(at.fd, at.gpa / PG * PG, len, GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_MAP |
			GUESTMEM_RIGHT_EXPORT, GUESTMEM_VIEW_KEEP, NULL);
	if (in.fd < 0)
		return false;
	p = gm_mmap(in.fd, at.gpa / PG * PG, len, PROT_READ);
	in.gpa = at.gpa / PG * PG + offset;
	do {
		__u64 start = now();

		n = pread(in.fd, buf, len - offset, in.gpa);
		if (n < 0 && errno != ENXIO && errno != ESTALE)
			wrong("pread by a view: %s", strerror(errno));
		check_words("pread by a view", &in, buf, n > 0 ? n : 0, start);
		if (p != MAP_FAILED)
			done |= load("load by a view", &in, p + offset);
		done |= n > 0;
	} while (--tries);
	rc = gm_limit(in.fd, gm_view_id(in.fd), 0);
	if (rc && rc != -ESTALE)
		wrong("VIEW_LIMIT: %s", strerror(-rc));
	if (p != MAP_FAILED) {
		if (gm_peek(p + offset) >= 0)
			wrong("a view that is revoked can be read");
		munmap(p, len);
	}
	close(in.fd);
	return done;
}

/* Those of everybody. */
static bool do_limit_views(struct worker *w)
{
	struct guestmem_view_limit limit;

	return !gm_view_limit(some_place(w).fd, &limit, .flags = GUESTMEM_VIEW_ALL);
}

static bool do_unmap(struct worker *w)
{
	size_t len;

	if (!w->map || w->map_len == PG)
		return false;
	len = (1 + rnd(w, w->map_len / PG - 1)) * PG;
	w->map_len -= len;
	if (rnd(w, 2))
		return !munmap(w->map + w->map_len, len);
	w->map += len;
	w->map_at.gpa += len;
	return !munmap(w->map - len, len);
}

/* As ptrace does; and as O_DIRECT and others do, which must not work. */
static bool do_foreign_access(struct worker *w)
{
	struct iovec local = { buf, PG }, remote = { w->map, PG };
	struct place at = w->map_at;
	__u64 start = now();
	ssize_t n;

	if (!w->map)
		return false;
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) >= 0)
		wrong("pages were pinned through a mapping");
	n = pread(mem_fd, buf, w->map_len < BUF_LEN ? w->map_len : BUF_LEN, (off_t)w->map);
	check_words("ptrace", &at, buf, n > 0 ? n : 0, start);
	return n > 0;
}

/* ---- operations: DMA ---- */

static bool do_lock(struct worker *w)
{
	struct hold *hold = &w->record->holds[rnd(w, NHANDLES)];
	struct guestmem_extent extents[NEXTENTS];
	struct place at = some_place(w);
	struct guestmem_lock lock;
	__u64 pages[8] = { at.gpa };
	unsigned int i;
	int rc;

	if (hold->handle || !guest_of(at.guest))
		return false;
	*hold = (struct hold) { .guest = guest_of(at.guest) - guests, .gpa = at.gpa,
				.len = some_len(w) };
	if (rnd(w, 3)) {
		rc = gm_lock(at.fd, &lock, .direction = 1 + rnd(w, 3), .gpa = at.gpa,
			     .len = hold->len, .flags = GUESTMEM_EXTENT_HPA,
			     .extents = (uintptr_t)extents, .nextents = NEXTENTS);
		hold->nextents = lock.nextents;
		memcpy(hold->extents, extents, sizeof(extents));
	} else {
		for (i = 1; i < ARRAY_SIZE(pages); i++)
			pages[i] = some_place(w).gpa;
		rc = gm_lock(at.fd, &lock, .direction = 1 + rnd(w, 3),
			     .flags = GUESTMEM_LOCK_PAGES, .pages = (uintptr_t)pages,
			     .npages = 1 + rnd(w, ARRAY_SIZE(pages)));
	}
	if (rc == -EMSGSIZE)
		return false;
	if (!rc)
		hold->handle = lock.handle;
	return may_fail("LOCK", rc);
}

static bool do_unlock(struct worker *w)
{
	struct hold *hold = &w->record->holds[rnd(w, NHANDLES)];
	__u32 handle = hold->handle;
	int rc;

	if (!handle)
		return false;
	/* Who is killed in between leaves one lock to the file. */
	hold->handle = 0;
	rc = gm_unlock_handle(guests[hold->guest].fd, handle);
	if (rc)
		wrong("UNLOCK of a lock that was there: %s", strerror(-rc));
	return true;
}

/* As long as it is the region that was locked, it is where it was. */
static bool do_check_lock(struct worker *w)
{
	struct hold *hold = &w->record->holds[rnd(w, NHANDLES)];
	struct guestmem_range range = { hold->gpa, hold->len };
	struct guestmem_extent extents[64];
	struct guestmem_translate translate;
	unsigned int i, j;

	if (!hold->handle || !hold->nextents)
		return false;
	if (gm_translate(guests[hold->guest].fd, &translate, .flags = GUESTMEM_EXTENT_HPA,
			 .ranges = (uintptr_t)&range, .nranges = 1,
			 .extents = (uintptr_t)extents, .nextents = ARRAY_SIZE(extents)))
		return false;
	for (i = 0; i < hold->nextents; i++) {
		const struct guestmem_extent *was = &hold->extents[i];

		for (j = 0; j < translate.nextents; j++)
			if (extents[j].region_id == was->region_id &&
			    extents[j].gpa == was->gpa &&
			    (extents[j].hpa != was->hpa || extents[j].len != was->len))
				wrong("locked memory of region %u moved from %#llx to %#llx",
				      was->region_id, (unsigned long long)was->hpa,
				      (unsigned long long)extents[j].hpa);
	}
	return true;
}

/* The frame where a page of this process is; 0 if it is nowhere. */
static __u64 frame(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)p / PG * 8) != 8)
		entry = 0;
	close(fd);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* Revokes a region that is locked: its pages remain as long as the lock does. */
static bool do_hold(struct worker *w)
{
	struct guestmem_region_remove remove;
	struct guestmem_extent extent;
	struct guestmem_lock lock;
	struct incarnation *inc;
	unsigned int s, number, i;
	struct slot *slot;
	__u64 where;
	int rc, fd;

	inc = some_incarnation(w, true, &s, &number);
	if (!inc || s == ORPHAN || w->slots[s].discarded || !guest_of(inc->guest) ||
	    !claim(w->record, w->index, inc, number))
		return false;
	slot = &w->slots[s];
	fd = guest_of(inc->guest)->fd;
	rc = gm_lock(fd, &lock, .direction = GUESTMEM_DMA_TO_DEVICE, .gpa = inc->gpa, .len = PG,
		     .flags = GUESTMEM_EXTENT_HPA, .extents = (uintptr_t)&extent, .nextents = 1);
	if (rc)
		wrong("LOCK of a live region: %s", strerror(-rc));
	rc = gm_region_remove(fd, &remove, .id = inc->id);
	if (rc != -EBUSY)
		wrong("REGION_REMOVE of a locked region: %d", rc);
	rc = gm_region_remove(fd, &remove, .id = inc->id, .flags = GUESTMEM_REMOVE_FORCE,
			      .timeout_ms = rnd(w, 3));
	if (rc != -ETIMEDOUT || !remove.nlocks)
		wrong("revoke of a locked region: %d, %u locks", rc, remove.nlocks);
	is_removed(w->record, inc);
	bury(w, s, inc);
	for (i = rnd(w, 4); i <= 4; i++) {
		check_poison(w, slot, slot->offset, PG);
		where = frame(slot->mem.va + slot->offset);
		if (where * PG != extent.hpa)
			wrong("locked page moved from %#llx to frame %#llx",
			      (unsigned long long)extent.hpa, (unsigned long long)where);
		madvise(slot->mem.va + slot->offset, PG, MADV_PAGEOUT);
		usleep(rnd(w, 1000));
	}
	rc = gm_unlock_handle(fd, lock.handle);
	if (rc)
		wrong("UNLOCK after a revoke: %s", strerror(-rc));
	return true;
}

static bool edu_open(struct worker *w)
{
	struct guestmem_edu_attach attach = { 0 };

	w->edu = open("/dev/guestmem_edu", O_RDWR | O_CLOEXEC);
	memset(w->maps, 0, sizeof(w->maps));
	w->edu_session = rnd(w, NSESSIONS);
	attach.fd = w->realm->sessions[w->edu_session];
	if (rnd(w, 2) && !gm_ioctl(w->edu, GUESTMEM_EDU_ATTACH, &attach))
		return true;
	/* Or all rights of the session have just been taken away. */
	w->edu_session = -1;
	attach.fd = guests[w->index % NGUESTS].fd;
	return !gm_ioctl(w->edu, GUESTMEM_EDU_ATTACH, &attach);
}

/* With all its mappings. */
static bool do_device_close(struct worker *w)
{
	close(w->edu);
	return edu_open(w);
}

/*
 * The device takes 0.1 s, and who takes memory back from it waits: not all the time. But when
 * the mapping of a domain was taken back the device can do nothing, which takes no time.
 */
static bool transfer(struct worker *w, unsigned int k)
{
	struct guestmem_edu_map *map = &w->maps[k];
	unsigned long long free = atomic_load(&model->device_free), ms = gm_now() * 1000;
	struct guestmem_edu_xfer xfer = { .gpa = map->gpa + rnd(w, map->len / PG + 1) * PG,
					  .len = 8 * (1 + rnd(w, GUESTMEM_EDU_PIECE_LEN / 8)),
					  .map = map->map };
	bool dead;
	int rc;

	/* What it reads is from anywhere, what it writes goes to scratch. */
	xfer.direction = map->direction != GUESTMEM_DMA_BIDIRECTIONAL ? map->direction :
			 1 + rnd(w, 2);
	if (xfer.direction == GUESTMEM_DMA_FROM_DEVICE)
		xfer.gpa |= SCRATCH_LEN;
	if (!map->map || xfer.gpa + xfer.len > map->gpa + map->len)
		return false;
	dead = w->mappings[k] &&
	       mapping_number(w->realm, map->gpa, map->len) != w->mappings[k];
	if (!dead && (ms < free ||
		      !atomic_compare_exchange_strong(&model->device_free, &free, ms + 300)))
		return false;
	rc = gm_ioctl(w->edu, GUESTMEM_EDU_XFER, &xfer);
	if (!rc && dead)
		wrong("the device reached IOVA %#llx, which was unmapped",
		      (unsigned long long)xfer.gpa);
	return !rc;
}

static bool do_device_transfer(struct worker *w)
{
	return transfer(w, rnd(w, NMAPS));
}

static bool do_device_map(struct worker *w)
{
	unsigned int k = rnd(w, NMAPS), before = 0, tries;
	struct guestmem_edu_map *map = &w->maps[k];
	struct guestmem_edu_unmap unmap = { .map = map->map };
	struct realm *r = w->realm;
	struct grant export;
	int rc;

	if (map->map && gm_ioctl(w->edu, GUESTMEM_EDU_UNMAP, &unmap))
		wrong("unmap of a mapping of the device that was there");
	*map = (struct guestmem_edu_map) { .gpa = some_place(w).gpa, .len = (1 + rnd(w, 4)) * PG,
					   .direction = 1 + rnd(w, 3) };
	if (w->edu_session >= 0 && some_grant(w, r, r->exports[w->edu_session], NEXPORTS,
					      &export, NULL)) {
		map->gpa = export.iova & ~(PG - 1);
		map->len = map->len < export.len ? map->len : export.len;
		/* Who may read it may have it read. */
		map->direction = export.rights;
		before = mapping_number(r, map->gpa, map->len);
	}
	rc = gm_ioctl(w->edu, GUESTMEM_EDU_MAP, map);
	if (rc)
		map->map = 0;
	/* If it is there before and after, it was there meanwhile. */
	w->mappings[k] = before && mapping_number(r, map->gpa, map->len) == before ? before : 0;
	if (w->mappings[k] && !rc && rnd(w, 2)) {
		unmap_windows(w, r, window_of(&export), window_of(&export), false);
		for (tries = 0; tries < 8; tries++)
			transfer(w, k);
	}
	/* Its session may be one that was replaced. */
	if (rc == -ESTALE && w->edu_session >= 0)
		return do_device_close(w);
	return rc == -ESTALE ? false : may_fail("mapping for the device", rc);
}

static bool do_kernel_read(struct worker *w)
{
	struct place at = some_place(w);
	size_t len = (1 + rnd(w, 2)) * PG;
	__u64 start = now();
	int rc = kapi(at.fd, GUESTMEM_KAPI_READ, at.gpa, len, 0);

	if (!rc)
		check_words("guestmem_read", &at, buf, len, start);
	return may_fail("guestmem_read", rc);
}

static bool do_kernel_write(struct worker *w)
{
	size_t len = (1 + rnd(w, 2)) * PG;
	struct place at = some_scratch(w, &len);

	switch (rnd(w, 3)) {
	case 0:
		return may_fail("guestmem_fill", kapi(at.fd, GUESTMEM_KAPI_FILL, at.gpa, len,
						      rnd(w, 0x80)));
	case 1:
		memset(buf, rnd(w, 0x80), len);
		return may_fail("guestmem_write", kapi(at.fd, GUESTMEM_KAPI_WRITE, at.gpa, len,
						       0));
	default:
		return may_fail("guestmem_lock", kapi(at.fd, GUESTMEM_KAPI_SG, at.gpa, len, PG));
	}
}

/* ---- operations: guests, processes, modules ---- */

/* A guest of one's own ends with what is left of it: a mapping, or the device. */
static bool do_guest(struct worker *w)
{
	struct guestmem_edu_attach attach = { 0 };
	struct guestmem_edu_map map = { .direction = GUESTMEM_DMA_BIDIRECTIONAL };
	unsigned int s = rnd(w, ORPHAN);
	struct guestmem_info info;
	struct guestmem_lock lock;
	struct incarnation *inc;
	bool device_last = rnd(w, 2);
	struct place at = { 0 };
	void *p;
	int edu;

	if (!slot_is_free(w, s))
		return false;
	at.fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	gm_info(at.fd, &info);
	at.guest = info.id;
	if (!add(w, s, &at)) {
		wrong("REGION_ADD to an empty guest failed");
		return false;
	}
	inc = of_slot(w, s);
	at.gpa = inc->gpa;
	p = gm_mmap(at.fd, at.gpa, PG, PROT_READ);
	gm_lock(at.fd, &lock, .direction = 1, .gpa = at.gpa, .len = PG);
	edu = open("/dev/guestmem_edu", O_RDWR | O_CLOEXEC);
	attach.fd = at.fd;
	map.gpa = inc->gpa;
	map.len = inc->len;
	if (rnd(w, 2)) {
		gm_ioctl(edu, GUESTMEM_EDU_ATTACH, &attach);
		gm_ioctl(edu, GUESTMEM_EDU_MAP, &map);
	}
	close(at.fd);
	if (p != MAP_FAILED && !load("load", &at, p))
		wrong("a mapping ended with the descriptor");
	if (!device_last)
		close(edu);
	if (p != MAP_FAILED)
		munmap(p, PG);
	if (device_last)
		close(edu);
	die(inc);
	bury(w, s, inc);
	return true;
}

/* The same memory in a second guest, which cannot write to it. */
static bool do_alias(struct worker *w)
{
	struct incarnation *inc;
	unsigned int s, number;
	struct place at;
	struct slot *slot;
	ssize_t n, i;

	inc = some_incarnation(w, true, &s, &number);
	if (!inc || s == ORPHAN || w->slots[s].discarded)
		return false;
	slot = &w->slots[s];
	at = (struct place) { .fd = open(GM_DEV, O_RDWR | O_CLOEXEC), .gpa = inc->gpa };
	if (gm_mem_add(at.fd, &slot->mem, at.gpa, slot->offset, slot->len,
		       GUESTMEM_REGION_READONLY, NULL))
		wrong("REGION_ADD of the same memory: %s", strerror(errno));
	n = pread(at.fd, buf, slot->len < BUF_LEN ? slot->len : BUF_LEN, at.gpa);
	for (i = 0; i < n; i += PG)
		if (!is_scratch(at.gpa + i) && *(__u64 *)(buf + i) != stamp(number, i / PG))
			wrong("a second guest has other memory at %#llx",
			      (unsigned long long)at.gpa + i);
	close(at.fd);
	return n > 0;
}

/* To whoever is the first to take it, and goes on using it when this worker is gone. */
static bool do_send(struct worker *w)
{
	struct guestmem_info info;
	struct place at = { 0 };

	if (!slot_is_free(w, ANON))
		return false;
	at.fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
	gm_info(at.fd, &info);
	at.guest = info.id;
	if (gm_send_fd(socks[0], at.fd) || !add(w, ANON, &at)) {
		close(at.fd);
		return false;
	}
	w->slots[ANON].fd = at.fd;
	return true;
}

static bool do_receive(struct worker *w)
{
	int fd = gm_receive_fd(socks[1]);
	struct guestmem_info info;

	if (fd < 0)
		return false;
	if (w->received.fd >= 0)
		close(w->received.fd);
	gm_info(fd, &info);
	w->received = (struct place) { .fd = fd, .guest = info.id };
	return true;
}

/* A process that was killed may have been adding: did it? */
static void settle(struct incarnation *inc)
{
	static __thread struct guestmem_region regions[NWORKERS_MAX * NSLOTS];
	struct place *guest = guest_of(inc->guest);
	int i, n = guest ? gm_list(guest->fd, regions, ARRAY_SIZE(regions)) : 0;

	for (i = 0; i < n; i++) {
		if (regions[i].gpa == inc->gpa && regions[i].len == inc->len &&
		    (pid_t)regions[i].pid == inc->pid) {
			inc->id = regions[i].id;
			atomic_store(&inc->state, LIVE);
			return;
		}
	}
	die(inc);
}

static void child(struct worker *w)
{
	unsigned int n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (gm_peek(arenas[0]) != -SIGSEGV)
		wrong("a mapping was inherited");
	if (!rnd(w, 4))
		close_range(3, ~0U, 0);
	else if (!atomic_load(&w->record->slots[ORPHAN]))
		add(w, ORPHAN, &guests[rnd(w, NGUESTS)]);
	if (!rnd(w, 4))
		execl("/bin/true", "true", NULL);
	w->map = NULL;
	for (n = rnd(w, 100); n; n--) {
		do_map(w);
		if (w->map)
			load("load", &w->map_at, w->map);
		unmap(w);
	}
	_exit(0);
}

static bool do_fork(struct worker *w)
{
	struct incarnation *inc;
	pid_t pid;

	slot_is_free(w, ORPHAN);
	pid = fork();
	if (!pid)
		child(w);
	if (pid < 0)
		return false;
	if (rnd(w, 2)) {
		usleep(rnd(w, 20000));
		kill(pid, SIGKILL);
	}
	waitpid(pid, NULL, 0);
	inc = of_slot(w, ORPHAN);
	if (inc && atomic_load(&inc->state) == BORN)
		settle(inc);
	return true;
}

static bool do_event(struct worker *w)
{
	struct place *guest = &guests[rnd(w, NGUESTS)];
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct pollfd pollfd = { .fd = guest->fd, .events = POLLPRI };
	unsigned int s = rnd(w, ORPHAN);
	struct guestmem_eventfd ev;
	bool added = false;
	__u64 count = 0;
	int rc;

	rc = gm_eventfd(guest->fd, &ev, .fd = fd, .events = 1 + rnd(w, 15));
	if (slot_is_free(w, s))
		added = add(w, s, guest);
	poll(&pollfd, 1, rnd(w, 2));
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		count = 0;
	if (!rc && added && ev.events & GUESTMEM_EVENT_ADDED && !count)
		wrong("a region was added, and no eventfd told");
	if (!rc && rnd(w, 2))
		gm_eventfd(guest->fd, &ev, .fd = fd);
	close(fd);
	return !rc;
}

static bool do_show(struct worker *w)
{
	char path[64] = "/sys/kernel/debug/guestmem/guests";
	ssize_t n;
	int fd;

	if (rnd(w, 2))
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d",
			 model->pids[rnd(w, NPROCESSES)], guests[rnd(w, NGUESTS)].fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	do
		n = read(fd, buf, sizeof(buf));
	while (n > 0);
	close(fd);
	return !n;
}

/* What ./run has loaded: guestmem, and the drivers that use it. */
static const struct module {
	const char *name;
	const char *args;
} modules[] = {
	{ "guestmem", "" }, { "guestmem_edu", "allow_raw=1" }, { "guestmem_kapi", "" },
};

static int unload(const struct module *module)
{
	return syscall(SYS_delete_module, module->name, O_NONBLOCK) ? -errno : 0;
}

static bool do_unload(struct worker *w)
{
	const struct module *module = &modules[rnd(w, ARRAY_SIZE(modules))];

	if (unload(module) != -EAGAIN)
		wrong("%s was unloaded while in use", module->name);
	return true;
}

/* Each by how often, of the sum of all weights. */
static const struct operation {
	const char *name;
	unsigned int weight;
	bool (*fn)(struct worker *w);
} operations[] = {
	{ "add", 200, do_add },
	{ "remove", 200, do_remove },
	{ "remove-twice", 3, do_remove_twice },
	{ "verify", 60, do_verify },
	{ "discard", 10, do_discard },
	{ "list", 10, do_list },
	{ "read", 150, do_read },
	{ "write", 80, do_write },
	{ "fill", 40, do_fill },
	{ "copy", 60, do_copy },
	{ "atomic", 60, do_atomic },
	{ "atomic-read", 60, do_atomic_read },
	{ "translate", 30, do_translate },
	{ "table", 10, do_table },
	{ "load", 300, do_load },
	{ "store", 300, do_store },
	{ "arena", 40, do_arena },
	{ "map", 40, do_map },
	{ "protect", 10, do_protect },
	{ "remap", 10, do_remap },
	{ "unmap", 10, do_unmap },
	{ "foreign-access", 20, do_foreign_access },
	{ "view", 40, do_view },
	{ "limit-views", 2, do_limit_views },
	{ "domain-map", 120, do_domain_map },
	{ "domain-unmap", 30, do_domain_unmap },
	{ "domain-list", 5, do_domain_list },
	{ "domain-records", 10, do_domain_records },
	{ "export", 120, do_export },
	{ "release", 30, do_release },
	{ "session-read", 100, do_session_read },
	{ "session-write", 80, do_session_write },
	{ "session-copy", 40, do_session_copy },
	{ "session-lock", 20, do_session_lock },
	{ "lock", 40, do_lock },
	{ "unlock", 60, do_unlock },
	{ "check-lock", 40, do_check_lock },
	{ "hold", 10, do_hold },
	{ "device-map", 60, do_device_map },
	{ "device-transfer", 60, do_device_transfer },
	{ "device-close", 2, do_device_close },
	{ "kernel-read", 60, do_kernel_read },
	{ "kernel-write", 60, do_kernel_write },
	{ "guest", 10, do_guest },
	{ "alias", 10, do_alias },
	{ "send", 10, do_send },
	{ "receive", 10, do_receive },
	{ "fork", 4, do_fork },
	{ "event", 10, do_event },
	{ "show", 10, do_show },
	{ "unload", 5, do_unload },
};

#define NOPS	ARRAY_SIZE(operations)
_Static_assert(NOPS <= NOPS_MAX, "more operations than NOPS_MAX");

static unsigned int some_operation(struct worker *w)
{
	static unsigned int total;
	unsigned int op, at;

	if (!total) {
		for (at = 0, op = 0; op < NOPS; op++)
			at += operations[op].weight;
		total = at;
	}
	at = rnd(w, total);
	for (op = 0; at >= operations[op].weight; op++)
		at -= operations[op].weight;
	return op;
}

/* ---- workers ---- */

/* What is left of this worker's memory must be as it should. */
static void finish(struct worker *w)
{
	struct guestmem_region_remove remove;
	struct incarnation *inc;
	unsigned int s;

	unmap(w);
	close(w->edu);
	for (s = 0; s < ORPHAN; s++) {
		inc = of_slot(w, s);
		if (inc && claim(w->record, w->index, inc, inc->number)) {
			gm_region_remove(guest_fd(w, s, inc), &remove, .id = inc->id,
					 .flags = GUESTMEM_REMOVE_FORCE);
			is_removed(w->record, inc);
		}
		if (slot_is_free(w, s) && w->slots[s].poisoned)
			check_poison(w, &w->slots[s], w->slots[s].offset, w->slots[s].len);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned int op;

	if (!edu_open(w))
		wrong("the device cannot be used");
	while (!atomic_load(&model->stop)) {
		op = some_operation(w);
		atomic_store(&w->record->op, op);
		atomic_fetch_add(operations[op].fn(w) ? &w->record->done[op] :
				 &w->record->refused[op], 1);
		w->record->random = w->random;
	}
	finish(w);
	return NULL;
}

static int worker_process(unsigned int process)
{
	unsigned int i, s, g;
	struct worker *w;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (g = 0; g < NGUESTS; g++) {
		arenas[g] = gm_mmap(guests[g].fd, GM_GPA, SPACE_LEN, PROT_READ | PROT_WRITE);
		if (arenas[g] == MAP_FAILED)
			return 1;
	}
	if (!make_realm(process))
		return 1;
	mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	for (i = process * nthreads; i < (process + 1) * nthreads; i++) {
		w = &workers[i];
		w->random = w->record->random;
		w->received.fd = -1;
		w->realm = &realm;
		for (s = 0; s < NSLOTS; s++) {
			struct slot *slot = &w->slots[s];

			/* Pages that are this process' own, and huge where they can be. */
			if (slot->mem.fd < 0)
				madvise(slot->mem.va, slot->mem.len, MADV_DONTNEED);
			poison(slot, 0, slot->mem.len);
			slot->fd = -1;
		}
	}
	for (i = process * nthreads; i < (process + 1) * nthreads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	for (i = process * nthreads; i < (process + 1) * nthreads; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

static void start_process(unsigned int process)
{
	pid_t pid = fork();

	if (!pid) {
		setpgid(0, 0);
		_exit(worker_process(process));
	}
	setpgid(pid, pid);
	model->pids[process] = pid;
}

/* Removes what a worker that is dead was removing, or has left. */
static void remove_left(struct worker *w, struct incarnation *inc, bool claimed)
{
	struct place *guest = guest_of(inc->guest);
	struct guestmem_region_remove remove;

	/* In a guest of its own, which others may still use. */
	if (!guest) {
		atomic_store(&inc->state, GONE);
		return;
	}
	/* Others that are about to remove it are alive, and will. */
	while (!claimed && atomic_load(&inc->state) == LIVE) {
		claimed = claim(w->record, w->index, inc, inc->number);
		if (!claimed)
			usleep(1000);
	}
	if (!claimed)
		return;
	gm_region_remove(guest->fd, &remove, .id = inc->id, .flags = GUESTMEM_REMOVE_FORCE);
	is_removed(w->record, inc);
}

static void clean_up(unsigned int process)
{
	unsigned int i, s, number;
	struct incarnation *inc;
	struct worker *w;

	for (i = process * nthreads; i < (process + 1) * nthreads; i++) {
		w = &workers[i];
		number = atomic_load(&w->record->claimed);
		inc = incarnation(number);
		if (number && inc->number == number && inc->claim == w->index + 1 &&
		    inc->state == LIVE)
			remove_left(w, inc, true);
		atomic_store(&w->record->claimed, 0);
	}
	for (i = process * nthreads; i < (process + 1) * nthreads; i++) {
		w = &workers[i];
		for (s = 0; s < NSLOTS; s++) {
			inc = of_slot(w, s);
			if (inc && inc->state == BORN)
				settle(inc);
			if (inc && inc->state == LIVE)
				remove_left(w, inc, false);
			atomic_store(&w->record->slots[s], 0);
		}
	}
}

static void kill_process(unsigned int process)
{
	kill(-model->pids[process], SIGKILL);
	/* Its children too: they have become ours. */
	while (waitpid(-model->pids[process], NULL, 0) > 0)
		;
}

/* Has one worker done nothing for too long? Also says how much was done. */
static unsigned long progress(double *deadline)
{
	static unsigned long before[NWORKERS_MAX];
	unsigned long sum, total = 0;
	unsigned int i, op;

	for (i = 0; i < nworkers; i++) {
		for (sum = 0, op = 0; op < NOPS; op++)
			sum += workers[i].record->done[op] + workers[i].record->refused[op];
		if (sum != before[i])
			deadline[i] = gm_now() + HANG_SECONDS;
		else if (gm_now() > deadline[i])
			wrong("worker %u hangs in %s", i, operations[workers[i].record->op].name);
		before[i] = sum;
		total += sum;
	}
	return total;
}

/* Moves pages that are not pinned. */
static void compact(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		wrong("no compaction: %s", strerror(errno));
	close(fd);
}

static void supervise(struct worker *w, unsigned int seconds)
{
	double end = gm_now() + seconds, next_kill = gm_now() + 1, next_compaction = next_kill;
	double deadlines[NWORKERS_MAX];
	unsigned int i, process;
	int status;

	for (i = 0; i < nworkers; i++)
		deadlines[i] = gm_now() + HANG_SECONDS;
	for (i = 0; i < NPROCESSES; i++)
		start_process(i);
	while (gm_now() < end && !atomic_load(&model->stop)) {
		usleep(100000);
		progress(deadlines);
		for (i = 0; i < NPROCESSES; i++)
			if (waitpid(model->pids[i], &status, WNOHANG) > 0)
				wrong("a worker died: status %#x", status);
		if (gm_now() > next_compaction) {
			compact();
			next_compaction = gm_now() + 2;
		}
		if (gm_now() > next_kill) {
			process = rnd(w, NPROCESSES);
			kill_process(process);
			clean_up(process);
			start_process(process);
			next_kill = gm_now() + 0.5 + rnd(w, 2000) / 1000.0;
		}
	}
	atomic_store(&model->stop, true);
	for (i = 0; i < NPROCESSES; i++) {
		double deadline = gm_now() + HANG_SECONDS;

		status = 0;
		while (!waitpid(model->pids[i], &status, WNOHANG) && gm_now() < deadline)
			usleep(10000);
		if (status || gm_now() >= deadline)
			wrong("a process does not end as it should: status %#x", status);
		kill_process(i);
	}
}

static void report(double seconds)
{
	unsigned long total = 0, done[NOPS] = { 0 }, refused[NOPS] = { 0 };
	unsigned int i, op;

	for (i = 0; i < nworkers; i++) {
		for (op = 0; op < NOPS; op++) {
			done[op] += workers[i].record->done[op];
			refused[op] += workers[i].record->refused[op];
			total += workers[i].record->done[op] + workers[i].record->refused[op];
		}
	}
	printf("torture: %lu operations in %.0f s on %ld processors (", total, seconds,
	       sysconf(_SC_NPROCESSORS_ONLN));
	for (op = 0; op < NOPS; op++)
		printf("%s%s %lu/refused %lu", op ? ", " : "", operations[op].name, done[op],
		       refused[op]);
	printf(")\n");
	*gm_figure = total;
}

/* What others left in the device would look like what nobody may write. */
static int device_forget(int fd, int guest)
{
	static unsigned char zeros[2 * 4096] __attribute__((aligned(4096)));
	struct guestmem_edu_attach attach = { .fd = guest };
	struct guestmem_edu_xfer xfer = {
		.gpa = GM_GPA, .len = GUESTMEM_EDU_BUFFER_LEN, .direction = GUESTMEM_DMA_TO_DEVICE,
	};
	__u32 id;
	int rc;

	rc = gm_user_add(guest, zeros, GM_GPA, sizeof(zeros), 0, &id);
	if (rc)
		return rc;
	rc = gm_ioctl(fd, GUESTMEM_EDU_ATTACH, &attach);
	rc = rc ?: gm_ioctl(fd, GUESTMEM_EDU_XFER, &xfer);
	return rc ?: gm_remove(guest, id);
}

TEST(everything_at_once)
{
	static const enum gm_kind kinds[NSLOTS] = { GM_ANON, GM_MEMFD, GM_TMPFS, GM_MEMFD,
						    GM_ANON };
	const char *text = getenv("TORTURE_SECONDS");
	unsigned int seconds = text ? atoi(text) : 10, i, s;
	struct worker supervisor = { 0 };
	struct guestmem_info info;
	struct gm_guest guest;
	unsigned long long seed;
	double start;
	int edu_fd;

	text = getenv("SEED");
	seed = text ? strtoull(text, NULL, 0) : 1;
	nthreads = 1 + sysconf(_SC_NPROCESSORS_ONLN) / 2;
	if (nthreads > NWORKERS_MAX / NPROCESSES)
		nthreads = NWORKERS_MAX / NPROCESSES;
	nworkers = nthreads * NPROCESSES;
	printf("# SEED=%#llx, %u processes of %u threads, %u s\n", seed, NPROCESSES, nthreads,
	       seconds);
	fflush(stdout);

	gm_sig_install();
	gm_guest_setup(_metadata, &guest);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	model = mmap(NULL, sizeof(*model), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)model);
	guests[0] = (struct place) { .fd = guest.fd, .guest = guest.id };
	for (i = 1; i < NGUESTS; i++) {
		guests[i].fd = open(GM_DEV, O_RDWR | O_CLOEXEC);
		ASSERT_EQ(0, gm_info(guests[i].fd, &info));
		guests[i].guest = info.id;
	}
	edu_fd = open("/dev/guestmem_edu", O_RDWR | O_CLOEXEC);
	kapi_fd = open("/dev/guestmem_kapi", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, edu_fd);
	ASSERT_EQ(0, device_forget(edu_fd, guest.fd));
	ASSERT_LE(0, kapi_fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, socks));
	for (i = 0; i < nworkers; i++) {
		struct worker *w = &workers[i];

		w->index = i;
		w->record = &model->records[i];
		w->record->random = (seed + i) * 0x9e3779b97f4a7c15 | 1;
		for (s = 0; s < NSLOTS; s++) {
			enum gm_kind kind = kinds[s];

			if (s == HUGE && i % nthreads < 2)
				kind = i % nthreads ? GM_THP : GM_HUGETLB;
			ASSERT_EQ(0, gm_mem_alloc(&w->slots[s].mem, kind,
						  gm_kind_is_huge(kind) ? GM_HUGE : SLOT_LEN));
		}
	}

	supervisor.random = seed | 1;
	start = gm_now();
	supervise(&supervisor, seconds);
	report(gm_now() - start);
	EXPECT_FALSE(atomic_load(&model->bad))
		TH_LOG("%s", model->why);

	for (i = 0; i < nworkers; i++)
		for (s = 0; s < NSLOTS; s++)
			gm_mem_free(&workers[i].slots[s].mem);
	close(socks[0]);
	close(socks[1]);
	close(edu_fd);
	close(kapi_fd);
	for (i = 1; i < NGUESTS; i++)
		close(guests[i].fd);
	gm_guest_teardown(_metadata, &guest);
}

/* ---- unloading ---- */

static int load_module(const struct module *module, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = syscall(SYS_finit_module, fd, module->args, 0) ? -errno : 0;

	close(fd);
	return rc;
}

/* How ./run set it, which is lost with the module. */
static bool batch_pages(char *text, size_t len, bool set)
{
	int fd = open("/sys/kernel/debug/guestmem/batch_pages", (set ? O_WRONLY : O_RDONLY) |
		      O_CLOEXEC);
	ssize_t n = set ? write(fd, text, strlen(text)) : read(fd, text, len - 1);

	close(fd);
	if (!set && n > 0)
		text[n] = '\0';
	return n > 0;
}

/* Of both ways in, which come and go with the module. Ends with what is wrong. */
static void __attribute__((noreturn)) open_again_and_again(unsigned int seed, atomic_ulong *opened)
{
	const char *path = seed % 3 ? GM_DEV : "/sys/kernel/debug/guestmem/guests";
	struct guestmem_info info;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		usleep(rand_r(&seed) % 4000);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno != ENOENT && errno != ENODEV && errno != ENXIO)
			_exit(errno);
		if (fd >= 0 && !strcmp(path, GM_DEV) && gm_info(fd, &info))
			_exit(errno);
		if (fd >= 0) {
			atomic_fetch_add(opened, 1);
			usleep(rand_r(&seed) % 2 * 500);
			close(fd);
		}
	}
}

/* While it is opened: a module is in use, or cannot be. Nothing else uses it any more. */
TEST(opened_while_unloaded)
{
	const char *text = getenv("GUESTMEM_TEST_MODULES");
	unsigned long unloaded = 0, in_use = 0;
	char *paths[ARRAY_SIZE(modules)], *copy, batch[16];
	atomic_ulong *opened;
	pid_t pids[4];
	unsigned int i;
	double end;
	int rc, status;

	if (!text)
		SKIP(return, "GUESTMEM_TEST_MODULES does not say where the modules are");
	if (!access("/sys/module/guestmem_coverage", F_OK))
		SKIP(return, "it would lie elsewhere than where its coverage is looked for");
	copy = strdup(text);
	for (i = 0; i < ARRAY_SIZE(modules); i++)
		paths[i] = strtok(i ? NULL : copy, " ");
	opened = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)opened);
	ASSERT_TRUE(batch_pages(batch, sizeof(batch), false));
	for (i = ARRAY_SIZE(modules) - 1; i; i--)
		ASSERT_EQ(0, unload(&modules[i]));
	for (i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (!pids[i])
			open_again_and_again(i, opened);
	}
	for (end = gm_now() + 2; gm_now() < end || !unloaded || !in_use || !*opened;) {
		rc = unload(&modules[0]);
		if (rc == -EAGAIN) {
			in_use++;
			usleep(100);
			continue;
		}
		ASSERT_EQ(0, rc);
		unloaded++;
		usleep(unloaded % 4 * 1000);
		ASSERT_EQ(0, load_module(&modules[0], paths[0]));
	}
	for (i = 0; i < ARRAY_SIZE(pids); i++) {
		kill(pids[i], SIGKILL);
		EXPECT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status))
			TH_LOG("open: %s", strerror(WEXITSTATUS(status)));
	}
	for (i = 1; i < ARRAY_SIZE(modules); i++)
		EXPECT_EQ(0, load_module(&modules[i], paths[i]));
	EXPECT_TRUE(batch_pages(batch, 0, true));
	printf("# unloaded %lu times, %lu times in use, opened %lu times\n", unloaded, in_use,
	       *opened);
	munmap(opened, PG);
	free(copy);
}

TEST_HARNESS_MAIN
