/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the workers of the race torture share, and what a reader of a guest may see:
 *
 *  - Memory that regions are made of lies in slots. A slot has one owner, a thread; it is
 *    free, or in one region. Each region that is ever tried to be added is an incarnation
 *    with a number of its own. Before REGION_ADD the owner stamps all words of the memory
 *    with number and page. A logical clock counts births (before REGION_ADD begins) and
 *    deaths (after REGION_REMOVE returned). So a stamp that was read is right only if its
 *    incarnation was not dead before the read began, was born when it ended, and has this
 *    page at this address of this guest.
 *  - After a death the owner looks that nobody wrote to the stamps, and overwrites the
 *    memory, which is still its own, with poison. Nobody may ever read poison; and it must
 *    be there unchanged when the owner uses the slot again. So no load, no store, no DMA
 *    may come late by one instruction.
 *  - Every other group of pages by guest address, "scratch", may be written by everybody.
 *    A copy is not atomic against other writers, so what is written is legal byte by byte:
 *    bytes of stamps and of what is written are below 0x80, those of poison are not.
 *  - Who removes an incarnation has claimed it before. One that is live and not claimed
 *    after an access was there all the time: then the access must not have failed.
 *
 * All of this is in shared memory, with what each worker was about to do, so that the
 * supervisor can clean up after those it kills.
 */
#ifndef _TORTURE_MODEL_H
#define _TORTURE_MODEL_H

#include "guestmem_test.h"
#include "modules/guestmem_edu.h"
#include "modules/guestmem_kapi.h"

#include <stdarg.h>

#define HANG_SECONDS		300

#define NGUESTS			2	/* that all workers share */
#define NPROCESSES		3
#define NWORKERS_MAX		24
#define NHANDLES		16
#define NMAPS			4	/* for the device, of a worker */
#define NEXTENTS		8	/* remembered of a lock */
#define NINCARNATIONS		(1U << 17)
#define NUMBER_MASK		((1U << 28) - 1)

#define SPACE_LEN		(4 * GM_HUGE)	/* where regions lie */
#define BUSY_LEN		(GM_HUGE / 2)	/* where most of them do */
#define SLOT_LEN		(32 * PG)
#define BUF_LEN			(16 * PG)
#define SCRATCH_LEN		(4 * PG)

#define TOP_BITS		0x8080808080808080ULL
#define POISON			(TOP_BITS | 0x3031323334353637ULL)

/* ---- the model ---- */

enum state { GONE, BORN, LIVE };

/**
 * struct incarnation - a region, from before it is added until after it was removed
 * @number: what its stamps say; the entry of the table is @number % NINCARNATIONS
 * @state: BORN until REGION_ADD has returned; an entry that is GONE is used again
 * @claim: 1 + the worker that removes it
 * @born: when REGION_ADD was about to be called; 0 if not yet
 * @gone: when REGION_REMOVE had returned; 0 if not yet
 * @guest: its guest's number
 * @gpa: first address
 * @len: bytes
 * @flags: GUESTMEM_REGION_*
 * @id: the region's number, once it is live
 * @pid: process that adds it
 */
struct incarnation {
	atomic_uint number;
	atomic_uint state;
	atomic_uint claim;
	atomic_ullong born;
	atomic_ullong gone;
	__u64 guest;
	__u64 gpa;
	size_t len;
	__u32 flags;
	__u32 id;
	pid_t pid;
};

/* ANON is what is passed on; a child adds its copy of ORPHAN and leaves it behind. */
enum { ANON, MEMFD, TMPFS, HUGE, ORPHAN, NSLOTS };

/**
 * struct hold - a DMA lock
 * @handle: its handle; 0 if there is none
 * @guest: index of the guest
 * @gpa: first address
 * @len: bytes
 * @nextents: how many of its extents are known
 * @extents: these
 */
struct hold {
	__u32 handle;
	__u32 guest;
	__u64 gpa;
	__u64 len;
	__u32 nextents;
	struct guestmem_extent extents[NEXTENTS];
};

#define NOPS_MAX	64

/**
 * struct record - what is left of a worker that was killed
 * @random: state of its random numbers
 * @slots: number of the incarnation in each slot; 0 if it is free
 * @claimed: number of the incarnation that it removes; 0 if none
 * @holds: its DMA locks, which are the file's, and so outlive it
 * @op: what it does
 * @done: how often it did each operation
 * @refused: how often each was refused, or there was nothing to do it with
 */
struct record {
	__u64 random;
	atomic_uint slots[NSLOTS];
	atomic_uint claimed;
	struct hold holds[NHANDLES];
	atomic_uint op;
	atomic_ulong done[NOPS_MAX];
	atomic_ulong refused[NOPS_MAX];
};

static struct {
	atomic_bool stop;
	atomic_ullong clock;
	atomic_uint next_number;
	atomic_ullong device_free;	/* when the next transfer may begin, in ms */
	atomic_bool bad;
	char why[256];
	pid_t pids[NPROCESSES];
	struct record records[NWORKERS_MAX];
	struct incarnation incarnations[NINCARNATIONS];
} *model;

/**
 * struct place - where to access a guest
 * @fd: the guest
 * @guest: its number
 * @gpa: the address
 * @since: what was added later is not seen there; 0 if all is
 */
struct place {
	int fd;
	__u64 guest;
	__u64 gpa;
	__u64 since;
};

/**
 * struct slot - memory for one region, as its owner sees it
 * @mem: the memory
 * @offset: where in it the last region was
 * @len: how long that was
 * @poisoned: there is poison there
 * @discarded: the guest has other pages than @mem
 * @fd: the guest it is in, if that is none of all workers; else -1
 */
struct slot {
	struct gm_mem mem;
	size_t offset;
	size_t len;
	bool poisoned;
	bool discarded;
	int fd;
};

/**
 * struct worker - a thread
 * @thread: the thread
 * @index: its number
 * @random: state of its random numbers
 * @record: what outlives it
 * @realm: the domain of its process
 * @slots: its memory
 * @map: a mapping of its own, or NULL
 * @map_len: bytes
 * @map_at: what it maps
 * @received: a guest that was passed to it; its fd is -1 if there is none
 * @edu: the device
 * @edu_session: the session by which that has memory; -1 if it is by the guest's file
 * @maps: what is mapped for the device
 * @mappings: number of the mapping of @realm that each of these is in; 0: not known
 */
struct worker {
	pthread_t thread;
	unsigned int index;
	__u64 random;
	struct record *record;
	struct realm *realm;
	struct slot slots[NSLOTS];
	unsigned char *map;
	size_t map_len;
	struct place map_at;
	struct place received;
	int edu;
	int edu_session;
	struct guestmem_edu_map maps[NMAPS];
	unsigned int mappings[NMAPS];
};

static struct worker workers[NWORKERS_MAX];
static unsigned int nworkers, nthreads;
static struct place guests[NGUESTS];
static int socks[2], kapi_fd, mem_fd;
/* Of each process: all of a guest's space, mapped in changing pieces. */
static unsigned char *arenas[NGUESTS];

static __thread unsigned char buf[16 * 4096] __attribute__((aligned(8)));

static __u64 rnd(struct worker *w, __u64 below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (w->random >> 8) % below;
}

/* Whole before it is told: whoever tells may be killed any time. */
static void __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
	char why[sizeof(model->why)];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	if (!atomic_load(&model->bad))
		memcpy(model->why, why, sizeof(why));
	atomic_store(&model->bad, true);
	atomic_store(&model->stop, true);
}

static __u64 now(void)
{
	return atomic_load(&model->clock);
}

static __u64 tick(void)
{
	return atomic_fetch_add(&model->clock, 1) + 1;
}

/* Seven bits to the byte. */
static __u64 spread(__u64 x)
{
	__u64 y = 0;
	int i;

	for (i = 0; i < 8; i++)
		y |= (x >> (7 * i) & 0x7f) << (8 * i);
	return y;
}

static __u64 unspread(__u64 y)
{
	__u64 x = 0;
	int i;

	for (i = 0; i < 8; i++)
		x |= (y >> (8 * i) & 0x7f) << (7 * i);
	return x;
}

#define STAMP	0x2dULL

static __u64 stamp(unsigned int number, size_t page)
{
	return spread(STAMP << 49 | (__u64)page << 28 | number);
}

static bool is_scratch(__u64 gpa)
{
	return gpa & SCRATCH_LEN;
}

static struct incarnation *incarnation(unsigned int number)
{
	return &model->incarnations[number % NINCARNATIONS];
}

/* How: what was done. Start: when it began; ended it has. */
static void check_word(const char *how, const struct place *at, __u64 gpa, __u64 word,
		       __u64 start)
{
	__u64 end = now(), fields = unspread(word), page = fields >> 28 & 0x1fffff, born, gone;
	unsigned int number = fields & NUMBER_MASK;
	struct incarnation *inc = incarnation(number);
	const char *what = NULL;

	born = atomic_load(&inc->born);
	gone = atomic_load(&inc->gone);
	if (word & TOP_BITS)
		what = "poison, or foreign memory";
	else if (is_scratch(gpa))
		return;
	else if (fields >> 49 != STAMP)
		what = "foreign memory";
	else if (atomic_load(&inc->number) != number)
		what = "a stamp of long ago";
	else if (!born || born > end)
		what = "memory that is not added yet";
	else if (gone && gone <= start)
		what = "memory that was removed";
	else if (at->since && born > at->since)
		what = "memory that was added after the export";
	else if (inc->guest != at->guest || inc->gpa + page * PG != (gpa & ~(PG - 1)))
		what = "memory of another address";
	if (what)
		wrong("%s gave %s: %#llx at %#llx of guest %llu, between %llu and %llu; incarnation %u: born %llu, gone %llu, guest %llu, gpa %#llx",
		      how, what, (unsigned long long)word, (unsigned long long)gpa,
		      (unsigned long long)at->guest, (unsigned long long)start,
		      (unsigned long long)end, number, (unsigned long long)born,
		      (unsigned long long)gone, (unsigned long long)inc->guest,
		      (unsigned long long)inc->gpa);
}

static void check_words(const char *how, const struct place *at, const void *data, size_t len,
			__u64 start)
{
	const __u64 *words = data;
	size_t i;

	for (i = 0; i < len / sizeof(*words); i++)
		if (i * sizeof(*words) % PG == 0 || words[i] != words[i - 1])
			check_word(how, at, at->gpa + i * sizeof(*words), words[i], start);
}

/* ---- slots and incarnations ---- */

static struct place *guest_of(__u64 number)
{
	unsigned int i;

	for (i = 0; i < NGUESTS; i++)
		if (guests[i].guest == number)
			return &guests[i];
	return NULL;
}

static struct incarnation *of_slot(const struct worker *w, unsigned int s)
{
	unsigned int number = atomic_load(&w->record->slots[s]);

	return number ? incarnation(number) : NULL;
}

static bool is_live(const struct incarnation *inc)
{
	return atomic_load(&inc->state) == LIVE && !atomic_load(&inc->claim);
}

static struct incarnation *conceive(void)
{
	struct incarnation *inc;
	unsigned int number, free;

	do {
		number = (atomic_fetch_add(&model->next_number, 1) + 1) & NUMBER_MASK;
		inc = incarnation(number);
		free = GONE;
	} while (!number || !atomic_compare_exchange_strong(&inc->state, &free, BORN));
	atomic_store(&inc->number, number);
	atomic_store(&inc->born, 0);
	atomic_store(&inc->gone, 0);
	atomic_store(&inc->claim, 0);
	inc->pid = getpid();
	return inc;
}

static void die(struct incarnation *inc)
{
	atomic_store(&inc->gone, tick());
	atomic_store(&inc->state, GONE);
}

/* By memcpy() and memcmp(), which are many times faster on an emulated CPU than loops. */
static void set_words(void *p, size_t len, __u64 word)
{
	size_t done, n;

	*(__u64 *)p = word;
	for (done = sizeof(word); done < len; done += n) {
		n = done < len - done ? done : len - done;
		memcpy((char *)p + done, p, n);
	}
}

/* The first one that is another word, or NULL. */
static const __u64 *other_word(const void *p, size_t len, __u64 word)
{
	const __u64 *words = p;

	if (words[0] == word && !memcmp(words, words + 1, len - sizeof(word)))
		return NULL;
	while (*words == word && words < (const __u64 *)p + len / sizeof(word) - 1)
		words++;
	return words;
}

static void poison(struct slot *slot, size_t offset, size_t len)
{
	set_words(slot->mem.va + offset, len, POISON);
}

static void check_poison(const struct worker *w, struct slot *slot, size_t offset, size_t len)
{
	const __u64 *other = other_word(slot->mem.va + offset, len, POISON);

	if (other)
		wrong("memory of a removed region (slot %td of worker %u) was written: %#llx at offset %#tx",
		      slot - w->slots, w->index, (unsigned long long)*other,
		      (unsigned char *)other - slot->mem.va);
}

/* What nobody may have written to is as it was. */
static void check_stamps(const struct incarnation *inc, const struct slot *slot)
{
	bool readonly = inc->flags & GUESTMEM_REGION_READONLY;
	const unsigned char *p = slot->mem.va + slot->offset;
	size_t page, i;

	for (page = 0; page < slot->len / PG; page++, p += PG) {
		const __u64 *words = (const __u64 *)p, *bad = NULL;

		if (readonly || !is_scratch(inc->gpa + page * PG))
			bad = other_word(p, PG, stamp(inc->number, page));
		else
			for (i = 0; i < PG / sizeof(*words); i++)
				if (words[i] & TOP_BITS)
					bad = &words[i];
		if (bad)
			wrong("%s memory of incarnation %u was overwritten: %#llx at %#llx",
			      readonly ? "read-only" : "a region's", inc->number,
			      (unsigned long long)*bad,
			      (unsigned long long)inc->gpa + page * PG +
			      ((const unsigned char *)bad - p));
	}
}

/* The owner's last look at a region that is gone. */
static void bury(struct worker *w, unsigned int s, const struct incarnation *inc)
{
	struct slot *slot = &w->slots[s];

	if (s != ORPHAN) {
		/* Or without a look, to meet those who are still reading. */
		if (!slot->discarded && rnd(w, 2))
			check_stamps(inc, slot);
		poison(slot, slot->offset, slot->len);
		slot->poisoned = true;
		slot->discarded = false;
		if (slot->fd >= 0)
			close(slot->fd);
		slot->fd = -1;
	}
	atomic_store(&w->record->slots[s], 0);
}

/* Is it free, perhaps since just now? */
static bool slot_is_free(struct worker *w, unsigned int s)
{
	struct incarnation *inc = of_slot(w, s);

	if (inc && atomic_load(&inc->state) == GONE) {
		bury(w, s, inc);
		inc = NULL;
	}
	return !inc;
}

static void check_overlap(const struct incarnation *inc)
{
	unsigned int i, s;

	for (i = 0; i < nworkers; i++) {
		for (s = 0; s < NSLOTS; s++) {
			struct incarnation *other = of_slot(&workers[i], s);

			/* While it is being added, its address may change. */
			if (!other || other == inc || !is_live(other))
				continue;
			if (other->guest == inc->guest && inc->gpa < other->gpa + other->len &&
			    other->gpa < inc->gpa + inc->len && is_live(other) && is_live(inc))
				wrong("regions overlap: %#llx+%#zx and %#llx+%#zx",
				      (unsigned long long)inc->gpa, inc->len,
				      (unsigned long long)other->gpa, other->len);
		}
	}
}

static __u64 some_gpa(struct worker *w)
{
	return GM_GPA + rnd(w, (rnd(w, 4) ? BUSY_LEN : SPACE_LEN) / PG) * PG;
}

static size_t some_len(struct worker *w)
{
	return (1 + rnd(w, BUF_LEN / PG)) * PG;
}

/* Makes a region of a free slot. */
static bool add(struct worker *w, unsigned int s, const struct place *guest)
{
	struct slot *slot = &w->slots[s];
	bool huge = slot->mem.len >= GM_HUGE && !rnd(w, 3);
	struct incarnation *inc;
	int rc = -EEXIST, tries;
	size_t page;

	if (slot->poisoned)
		check_poison(w, slot, slot->offset, slot->len);
	slot->len = huge ? GM_HUGE : (1 + rnd(w, SLOT_LEN / PG)) * PG;
	slot->offset = rnd(w, (slot->mem.len - slot->len) / PG + 1) * PG;
	check_poison(w, slot, slot->offset, slot->len);
	slot->poisoned = false;

	inc = conceive();
	inc->guest = guest->guest;
	inc->len = slot->len;
	inc->flags = rnd(w, 5) ? 0 : GUESTMEM_REGION_READONLY;
	for (page = 0; page < slot->len / PG; page++)
		set_words(slot->mem.va + slot->offset + page * PG, PG, stamp(inc->number, page));
	atomic_store(&w->record->slots[s], inc->number);
	atomic_store(&inc->born, tick());
	for (tries = 0; rc == -EEXIST && tries < 4; tries++) {
		inc->gpa = huge ? GM_GPA + rnd(w, SPACE_LEN / GM_HUGE) * GM_HUGE : some_gpa(w);
		if (inc->gpa + inc->len > GM_GPA + SPACE_LEN)
			inc->gpa = GM_GPA + SPACE_LEN - inc->len;
		if (rnd(w, 2))
			rc = gm_mem_add(guest->fd, &slot->mem, inc->gpa, slot->offset, inc->len,
					inc->flags, &inc->id);
		else
			rc = gm_user_add(guest->fd, slot->mem.va + slot->offset, inc->gpa,
					 inc->len, inc->flags, &inc->id);
	}
	if (rc) {
		if (rc != -EEXIST && rc != -ENOMEM && rc != -EBUSY)
			wrong("REGION_ADD: %s", strerror(-rc));
		die(inc);
		bury(w, s, inc);
		return false;
	}
	atomic_store(&inc->state, LIVE);
	check_overlap(inc);
	return true;
}

/* Is it ours to remove? Then it must be released, or removed. */
static bool claim(struct record *record, unsigned int index, struct incarnation *inc,
		  unsigned int number)
{
	unsigned int nobody = 0;

	atomic_store(&record->claimed, number);
	if (atomic_load(&inc->state) == LIVE &&
	    atomic_compare_exchange_strong(&inc->claim, &nobody, index + 1)) {
		/* It may have died, and the entry be another's, just before. */
		if (atomic_load(&inc->state) == LIVE && atomic_load(&inc->number) == number)
			return true;
		atomic_store(&inc->claim, 0);
	}
	atomic_store(&record->claimed, 0);
	return false;
}

static void unclaim(struct record *record, struct incarnation *inc)
{
	atomic_store(&inc->claim, 0);
	atomic_store(&record->claimed, 0);
}

/* What was claimed is removed. */
static void is_removed(struct record *record, struct incarnation *inc)
{
	die(inc);
	atomic_store(&record->claimed, 0);
}

/* Some incarnation that is live, most likely: one's own, or anybody's in a common guest. */
static struct incarnation *some_incarnation(struct worker *w, bool own, unsigned int *s,
					    unsigned int *number)
{
	struct worker *of = own ? w : &workers[rnd(w, nworkers)];
	struct incarnation *inc;

	*s = rnd(w, NSLOTS);
	*number = atomic_load(&of->record->slots[*s]);
	inc = incarnation(*number);
	return *number && is_live(inc) && (own || guest_of(inc->guest)) ? inc : NULL;
}

/* Most likely where there is something. */
static struct place some_place(struct worker *w)
{
	struct place at = guests[rnd(w, NGUESTS)];
	const struct place *guest;
	struct incarnation *inc;
	unsigned int s, number;

	at.gpa = some_gpa(w);
	if (w->received.fd >= 0 && !rnd(w, 8)) {
		at = w->received;
		at.gpa = some_gpa(w);
	} else if (rnd(w, 4)) {
		inc = some_incarnation(w, false, &s, &number);
		/* It may become another's any time: then it is just some place. */
		guest = inc ? guest_of(inc->guest) : NULL;
		if (guest) {
			at = *guest;
			at.gpa = inc->gpa + rnd(w, inc->len / PG + 1) * PG;
		}
	}
	return at;
}

/* Where anybody may write; *len is cut to what of it there is. */
static struct place some_scratch(struct worker *w, size_t *len)
{
	struct place at = some_place(w);
	size_t offset;

	at.gpa |= SCRATCH_LEN;
	offset = at.gpa & (SCRATCH_LEN - 1);
	*len = *len < SCRATCH_LEN - offset ? *len : SCRATCH_LEN - offset;
	return at;
}

static __u64 some_word(struct worker *w)
{
	return rnd(w, ~0ULL) & ~TOP_BITS;
}

/* ---- accesses ---- */

static bool may_fail(const char *what, int rc)
{
	if (rc && rc != -ENXIO && rc != -EACCES)
		wrong("%s: %s", what, strerror(-rc));
	return !rc;
}

/* A word from a mapping, if there is memory. */
static bool fetch(const unsigned char *p, __u64 *word)
{
	volatile bool done = false;

	if (!sigsetjmp(gm_sig_env, 1)) {
		gm_sig_armed = 1;
		*word = *(const volatile __u64 *)p;
		done = true;
	}
	gm_sig_armed = 0;
	return done;
}

static bool load(const char *how, const struct place *at, const unsigned char *p)
{
	__u64 start = now(), word;

	if (!fetch(p, &word))
		return false;
	check_word(how, at, at->gpa, word, start);
	return true;
}

static bool store(unsigned char *p, __u64 word)
{
	volatile bool done = false;

	if (!sigsetjmp(gm_sig_env, 1)) {
		gm_sig_armed = 1;
		*(volatile __u64 *)p = word;
		done = true;
	}
	gm_sig_armed = 0;
	return done;
}

static int kapi(int fd, __u32 op, __u64 gpa, __u64 len, __u32 value)
{
	struct guestmem_kapi arg = { .fd = fd, .op = op, .gpa = gpa, .len = len,
				     .buf = (uintptr_t)buf, .value = value };
	int rc = gm_ioctl(kapi_fd, GUESTMEM_KAPI, &arg);

	return rc ?: arg.rc;
}

#endif /* _TORTURE_MODEL_H */
