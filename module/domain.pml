/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Model of faults of domains and sessions, for spin; see selftests/models.
 *
 * Two threads of a domain's owner unmap what may be in use, one after the other or both at
 * once, and something else may be mapped there. Session 0 is a process: it exports, maps,
 * takes a DMA lock, releases, and dies, or does nothing any more. Session 1 has an export, or
 * it is a driver in the kernel that has a DMA lock. Exports may come to their deadline, a
 * region may be removed, and the domain be revoked and closed. Model to code:
 *
 *	owner()			a thread of the owner in gm_ioctl_domain_unmap()
 *	gm_domain_unmap()	that, gm_fault_hit(), gm_session_hit(), gm_fault_hit_locks()
 *	mapper()		another, in gm_ioctl_domain_map()
 *	reader()		another, in gm_records_read()
 *	deadline_work()		gm_domain_deadline()
 *	remover()		gm_ioctl_region_remove(), gm_domain_region_gone(); or
 *				gm_view_revoke(), gm_session_limited(), gm_domain_close()
 *	client()		what a session's process calls, and gm_release(); or a driver,
 *				which unlocks before its revoke() returns, or later
 *	gm_access()		gm_fault() of mmap.c with its PTE; other accesses look up and
 *				touch under the same lock
 *	gm_end()		gm_release_handle(), gm_session_release_all(), gm_unlock()
 *	end_users()		gm_export_end(), gm_session_unlocked(), and of
 *				gm_fault_leave() what is done for each user
 *	resolve()		the rest of that, for the last user
 *	gm_revoke_clients()	that function, by each gm_next_of_...()
 *	all others		the functions of that name
 *
 * What is done under domain::rwsem is one step, by who has it for reading, too: nobody meets
 * half of it. But some look without it: who waits for a fault, and who reads records. So the
 * last user of a fault goes in one step, and the next resolves it, where somebody who waits
 * may look in between. Other locks that nobody keeps while he waits for something else need not
 * be there then: locks_mutex, records_lock, and regions_rwsem, which is held around such a
 * step. What those are for is in guest.pml, as is what becomes of regions that are locked, of
 * locks and of drivers. Memory has one mapping here and is not in the guest: so it goes with
 * the mapping, at once, and who touches it later is found out. An unmap that finds no user
 * makes no fault; that it looks before it allocates one is left out, as it looks again. A call
 * whose time is up is one that does not wait: nobody sees how long it did. Each unmap has an
 * eventfd. Time goes on when the work that waits for it runs.
 *
 * Of the memory order just one thing matters that no lock sees to: session::news and
 * domain::news, of which gm_event_domain() takes the second first.
 *
 * Properties:
 *  - when an unmap or a removal has told the sessions and asked the drivers, no PTE and no
 *    device reaches what was taken back, and nothing that is found later does;
 *  - a PTE is of what is mapped there, and in an export that is live: so one that was hit is
 *    never used again, whatever is mapped there;
 *  - a fault counts those users that were there when it was made and have not gone, each
 *    once, also those that are dead since an earlier one, and none that came later;
 *  - it is resolved when there are none, not before, by one record, and one signal to the
 *    eventfd; who has waited for it has had both;
 *  - at the deadline exports that it hit end, and no others; DMA locks, and their memory, stay
 *    until who has them ends them;
 *  - if there are too many faults, exports end at once, and nobody waits;
 *  - a fault is not used after it was freed, nor a domain;
 *  - of who was revoked no export is left;
 *  - what LOCK tells is what it holds;
 *  - whatever is news has been told in the end, and nobody waits for a record that is there;
 *  - nobody waits for ever (spin: no invalid end state), but for who does nothing any more and
 *    has a DMA lock, or an export that has no deadline.
 */

#define BIT(n)	(1 << (n))
#define NEVER	255

/* IOVAs: a range is a set of two slots. */
#define NSLOTS	2
#define BOTH	3

/* Memory that is mapped there; 0: none. */
#define FIRST	1	/* in slot 0 at the beginning */
#define SECOND	2	/* and in slot 1 */
#define NEW	3	/* may come to slot 0 */
#define NMEMORIES	4

/* Users: each session has an export and a DMA lock. */
#define EXPORT_0	0
#define EXPORT_1	1
#define FILE_LOCK	2	/* session 0 */
#define CLIENT_LOCK	3	/* session 1 */
#define NUSERS		4
#define EXPORTS		3
#define LOCKS		12
#define SESSION(u)	((u) & 1)
#define OF_SESSION(s)	(5 << (s))
#define COUNT(users)	(((users) & 1) + (((users) >> 1) & 1) + (((users) >> 2) & 1) + \
			 (((users) >> 3) & 1))

typedef user_struct {
	byte range;		/* empty: there is none */
	byte born;
	bool dead;		/* of a lock: faulted */
	byte holds		/* of a lock: memory */
}

/* Each owner makes one. */
#define NFAULTS	2

typedef fault_struct {
	byte refs, number, range, nusers, deadline;
	bool listed
}

/* struct gm_domain */
bool writer;			/* has the rwsem, between two steps */
byte mapping[NSLOTS];
byte nfaults, nunresolved;
byte max_faults = NFAULTS;
bool sleeping[NFAULTS];		/* on @resolved: who waits for the fault */
byte timer = NEVER;		/* when the deadline_work is to run */
bool work_running;
bool news;
byte view_refs;			/* of its file, and its sessions */
bool rights = true;		/* of it, and of its sessions */
user_struct user[NUSERS];
fault_struct fault[NFAULTS];
byte now;

/* struct gm_session; BIT() of the session */
byte broken, session_news;

bool event_mutex, revoke_mutex;

/* The CLIENT_LOCK, and the driver that has it. */
bool client_lock_listed, client_lock_revoked;
byte dma;			/* BIT() of memory that the device reaches */
bool unlocks_in_revoke, has_unlocked;

#define NRECORDS	1	/* that are kept */
bool has_reader, reader_sleeping;
byte nrecords, nread;

byte pte[2 * NSLOTS];		/* memory, by session and slot */
byte memory_refs[NMEMORIES];	/* of the mapping, and of locks */

/* What is not in the code, but said of it. */
byte gone;			/* BIT() of memory that was taken back, says who did */
byte hit[NFAULTS];		/* BIT() of users that it hit, and that have not gone */
byte signals[NFAULTS];		/* to the eventfd */
byte untold[NFAULTS + 1];	/* BIT() of sessions that it hit; the last is the remover's */
byte stuck;			/* BIT() of users of who does nothing any more */
byte nowners;			/* that are in a call, or come yet */

/* Within steps. */
hidden byte i, m, u, f, s, ended;

#define live_at(u, slot)	(((user[u].range >> (slot)) & 1) && !user[u].dead)
#ifdef BUG_REVIVE
#undef live_at
#define live_at(u, slot)	((user[u].range >> (slot)) & 1)
#endif

/* gm_session_seek() */
#define at(s, slot)	(live_at(s, slot) -> mapping[slot] : 0)

/* gm_fault_hit_export(), gm_fault_hit_lock() */
#define IS_OLDER(u, f)	(user[u].born < fault[f].number)
#ifdef BUG_BORN_LE
#undef IS_OLDER
#define IS_OLDER(u, f)	(user[u].born <= fault[f].number)
#endif
#define hits(f, u)	((user[u].range & fault[f].range) && IS_OLDER(u, f))

/* gm_record() */
inline record()
{
	news = true;
	if
	:: has_reader ->
		nrecords++;
#ifdef BUG_RECORD_NO_WAKE
#else
		reader_sleeping = false
#endif
	:: else
	fi
}

inline gm_zap(e)
{
	for (i : 0 .. NSLOTS - 1) {
		if
		:: user[e].range & BIT(i) -> pte[2 * SESSION(e) + i] = 0
		:: else
		fi
	}
}

inline gm_session_break(which)
{
	broken = broken | BIT(which);
#ifdef BUG_NEWS_UNORDERED
#else
	session_news = session_news | BIT(which);
#endif
	news = true
}

inline gm_fault_put(which)
{
	assert(fault[which].refs > 0);
	fault[which].refs--;
	if
	:: !fault[which].refs ->
		assert(!fault[which].listed);
		fault[which].number = 0;
		fault[which].range = 0;
		fault[which].nusers = 0;
		fault[which].deadline = 0
	:: else
	fi
}

/* Whether a user that ends leaves a fault that hit it; @m: it has left one. */
#define LEAVES	true
#ifdef BUG_LEAVE_FIRST
#undef LEAVES
#define LEAVES	!m
#endif
#ifdef BUG_RELEASE_DEAD
#undef LEAVES
#define LEAVES	(BIT(u) & LOCKS || !user[u].dead)
#endif

inline end_users(which)
{
	for (u : 0 .. NUSERS - 1) {
		if
		:: which & BIT(u) ->
			m = 0;
			for (f : 0 .. NFAULTS - 1) {
				if
				:: fault[f].listed && hits(f, u) && LEAVES ->
					fault[f].nusers--;
					m = 1
				:: else
				fi;
				hit[f] = hit[f] & ~BIT(u)
			}
			if
			:: BIT(u) & EXPORTS && !user[u].dead -> gm_zap(u)
			:: else
			fi;
#ifdef BUG_UNLOCK_LISTED
#else
			client_lock_listed = client_lock_listed && u != CLIENT_LOCK;
#endif
			user[u].range = 0;
			user[u].born = 0;
			user[u].dead = false
		:: else
		fi
	}
	i = 0
}

inline resolve()
{
	for (f : 0 .. NFAULTS - 1) {
		if
		:: fault[f].listed && !fault[f].nusers ->
			assert(!hit[f]);
			fault[f].listed = false;
			nunresolved--;
			record();
			signals[f]++;
#ifdef BUG_NO_WAKE
#else
			sleeping[f] = false;
#endif
			gm_fault_put(f)
		:: else
		fi
	}
	i = 0
}

/* Whenever nobody has the lock, all is as it should be. */
inline up_write()
{
	writer = false;
	for (f : 0 .. NFAULTS - 1) {
		assert(!fault[f].listed || (fault[f].nusers && fault[f].nusers == COUNT(hit[f])))
	}
	for (i : 0 .. NSLOTS - 1) {
		assert(!pte[i] || pte[i] == at(0, i));
		assert(!pte[NSLOTS + i] || pte[NSLOTS + i] == at(1, i))
	}
	for (u : 0 .. NUSERS - 1) {
		assert(BIT(u) & EXPORTS || !user[u].holds == !user[u].range);
		assert(BIT(u) & LOCKS || rights || !user[u].range)
	}
	i = 0
}

inline gm_event_domain()
{
	if
#ifdef BUG_EVENT_NO_MUTEX
	:: d_step { !news -> skip }
#else
	:: d_step { !event_mutex && !news -> skip }
#endif
	:: d_step { !event_mutex && news -> event_mutex = true; news = false };
		d_step {
			for (i : 0 .. NFAULTS) {
				untold[i] = untold[i] & ~session_news
			}
			session_news = 0;
			event_mutex = false
		}
	fi
}

inline gm_region_put(memory)
{
	assert(memory_refs[memory] > 0);
	memory_refs[memory]--;
	assert(memory_refs[memory] || !(dma & BIT(memory)));
	for (i : 0 .. 2 * NSLOTS - 1) {
		assert(memory_refs[memory] || pte[i] != memory)
	}
	i = 0
}

inline gm_revoke_clients()
{
#ifdef BUG_NO_REVOKE_MUTEX
	if
	:: !client_lock_listed
	:: d_step {
			client_lock_listed ->
#else
	if
	:: d_step { !revoke_mutex && !client_lock_listed -> skip }
	:: d_step {
			!revoke_mutex && client_lock_listed ->
			revoke_mutex = true;
#endif
			assert(user[CLIENT_LOCK].range);
			client_lock_listed = false;
			client_lock_revoked = true
		};
		/* ops->revoke() */
		!dma && (!unlocks_in_revoke || has_unlocked);
		revoke_mutex = false
	fi
}

/* Sessions are told, drivers have stopped: nothing reaches now what was taken back. */
inline gm_mappings_free(who)
{
	d_step {
		assert(!untold[who]);
		assert(!(dma & removed));
		for (i : 0 .. 2 * NSLOTS - 1) {
			assert(!(removed & BIT(pte[i])))
		}
		gone = gone | removed;
		for (m : FIRST .. NEW) {
			if
			:: removed & BIT(m) -> gm_region_put(m)
			:: else
			fi
		}
		removed = 0
	}
}

/* Which users end at the deadline. */
#define EXPIRES(u)	(BIT(u) & EXPORTS && user[u].dead && hits(me, u))
#ifdef BUG_DEADLINE_ALL
#undef EXPIRES
#define EXPIRES(u)	(BIT(u) & EXPORTS && user[u].dead && user[u].range & fault[me].range)
#endif
#ifdef BUG_DEADLINE_LOCKS
#undef EXPIRES
#define EXPIRES(u)	(user[u].dead && hits(me, u))
#endif

/* @me: the fault */
inline gm_fault_expire()
{
	fault[me].deadline = NEVER;
#ifdef BUG_EXPIRE_NO_REF
#else
	fault[me].refs++;
#endif
	for (s : 0 .. 1) {
		assert(fault[me].refs > 0);
		ended = 0;
		for (u : 0 .. NUSERS - 1) {
			if
			:: BIT(u) & OF_SESSION(s) && EXPIRES(u) ->
				assert(hit[me] & BIT(u));
				ended = ended | BIT(u);
				record()
			:: else
			fi
		}
		end_users(ended);
		resolve();
		i = 0
	}
#ifdef BUG_EXPIRE_NO_REF
#else
	gm_fault_put(me);
#endif
	i = 0
}

#define COUNTS(u)	true
#ifdef BUG_COUNT_FRESH
#undef COUNTS
#define COUNTS(u)	!user[u].dead
#endif

/* Some of what a user has was taken back. */
inline hit_user(who)
{
	if
	:: !user[u].dead ->
		gm_session_break(SESSION(u));
		untold[who] = untold[who] | BIT(SESSION(u));
		user[u].dead = true;
#ifdef BUG_NO_ZAP
#else
#ifdef BUG_ZAP_EARLY
#else
		if
		:: BIT(u) & EXPORTS -> gm_zap(u)
		:: else
		fi
#endif
#endif
	:: else ->
		untold[who] = untold[who] | (session_news & BIT(SESSION(u)))
	fi;
	if
	:: u == CLIENT_LOCK && !client_lock_revoked -> client_lock_listed = true
	:: else
	fi
}

inline gm_domain_unmap()
{
	for (i : 0 .. NSLOTS - 1) {
		if
		:: range & BIT(i) && mapping[i] ->
			removed = removed | BIT(mapping[i]);
			mapping[i] = 0
		:: else
		fi
	}
	for (u : 0 .. NUSERS - 1) {
		if
		:: user[u].range & range ->
			hit[me] = hit[me] | BIT(u);
			if
			:: COUNTS(u) -> fault[me].nusers++
			:: else
			fi;
			hit_user(me)
		:: else
		fi
	}
#ifdef BUG_WAIT_NO_REF
	fault[me].refs = (fault[me].nusers -> 0 : 1);
#else
	fault[me].refs = 1;
#endif
	if
	:: fault[me].nusers ->
		record();
		is_fault = true;
		fault[me].number = nfaults + 1;
#ifdef BUG_SAME_NUMBER
#else
		nfaults++;
#endif
		fault[me].range = range;
		fault[me].deadline = deadline;
		too_many = nunresolved == max_faults;
		if
		:: !too_many ->
			fault[me].refs++;
			fault[me].listed = true;
			nunresolved++
		:: else
		fi;
		if
#ifdef BUG_TOO_MANY_LEFT
		:: !deadline && !too_many -> gm_fault_expire()
#else
		:: !deadline || too_many -> gm_fault_expire()
#endif
		:: else ->
#ifdef BUG_NO_TIMER
#else
			timer = (deadline == NEVER -> timer : 0)
#endif
		fi
	:: else
	fi;
	range = 0;
	deadline = 0;
#ifdef BUG_NEWS_UNORDERED
#else
	up_write()
#endif
}

/* What it may wait for in vain: a lock that is left behind, or an export without deadline. */
#define MAY_BE_KILLED	\
	(hit[me] & stuck & (fault[me].deadline == NEVER -> EXPORTS | LOCKS : LOCKS))

/* What holds when DOMAIN_UNMAP returns. */
inline returns()
{
	if
	:: too_many -> assert(!(hit[me] & EXPORTS) && !signals[me])
	:: !too_many && (resolved || !is_fault) -> assert(!hit[me] && signals[me] == 1)
	:: else
	fi;
#ifdef BUG_WAIT_NO_REF
	if
	:: !is_fault -> gm_fault_put(me)
	:: else
	fi;
#else
	gm_fault_put(me);
#endif
	is_fault = false;
	too_many = false;
	resolved = false;
	nowners--
}

/* wait_event(): looks, and sleeps until woken, and looks again. */
inline gm_fault_wait()
{
	do
	:: d_step { fault[me].nusers -> assert(fault[me].refs > 0); sleeping[me] = true };
		if
		:: !sleeping[me]
		:: d_step { MAY_BE_KILLED -> sleeping[me] = false }; break
		fi
	:: !fault[me].nusers -> break
	od;
	atomic {
#ifdef BUG_WAIT_UNLOCKED
#else
		!writer ->
#endif
		assert(fault[me].refs > 0);
		resolved = !fault[me].nusers;
		d_step { returns() }
	}
}

/* Deadlines of an owner, of which it takes one. */
#define FOREVER	1
#define AT_ONCE	2
#define LATER	4

inline gm_ioctl_domain_unmap()
{
#ifdef BUG_ZAP_EARLY
	d_step {
		!writer ->
		for (i : 0 .. 2 * NSLOTS - 1) {
			pte[i] = 0
		}
		i = 0
	};
#endif
	atomic {
		!writer ->
		if
		:: ranges & BIT(1) -> range = 1
		:: ranges & BIT(2) -> range = 2
		:: ranges & BIT(BOTH) -> range = BOTH
		fi;
		if
		:: deadlines & FOREVER -> deadline = NEVER
		:: deadlines & AT_ONCE -> deadline = 0
		:: deadlines & LATER -> deadline = now + 1 + me
		fi;
		d_step { gm_domain_unmap(); i = 0 };
#ifdef BUG_NEWS_UNORDERED
		writer = true
	};
	d_step {
		session_news = untold[0] | untold[1];
		up_write();
		i = 0
#endif
#ifdef BUG_REVOKE_LOCKED
		writer = true
#endif
	};
	if
	:: is_fault ->
#ifdef BUG_SIGNAL_TWICE
		signals[me]++;
#endif
		gm_event_domain();
		gm_revoke_clients()
	:: else ->
		signals[me]++
	fi;
#ifdef BUG_REVOKE_LOCKED
	writer = false;
#endif
	gm_mappings_free(me);
	if
	:: is_fault && !too_many -> gm_fault_wait()
	:: d_step { returns() }
	fi
}

/* @me: which, and its fault; @ranges: BIT() of those, of which it takes one */
proctype owner(byte me; byte ranges; byte deadlines)
{
	byte range, removed, deadline;
	bool is_fault, too_many, resolved;

	if
	:: rights -> gm_ioctl_domain_unmap()
	:: !rights -> nowners--
	fi
}

/* Once, at any time, or not. */
proctype mapper()
{
end_never:
	d_step {
		!writer && rights && !mapping[0] ->
		mapping[0] = NEW;
		memory_refs[NEW] = 1
	}
}

#define OVER(f)	(fault[f].listed && fault[f].deadline <= now)

proctype deadline_work()
{
	byte me;

end_idle:
	do
	:: d_step {
			!writer && timer != NEVER ->
			work_running = true;
			now = (timer > now -> timer : now);
			timer = NEVER;
			do
			:: OVER(0) || OVER(1) ->
				me = (OVER(0) -> 0 : 1);
				gm_fault_expire()
			:: !OVER(0) && !OVER(1) -> break
			od;
			me = 0;
#ifdef BUG_NO_REQUEUE
#else
			for (f : 0 .. NFAULTS - 1) {
				if
				:: fault[f].listed && fault[f].deadline < timer ->
					timer = fault[f].deadline
				:: else
				fi
			}
#endif
			up_write();
			i = 0
		};
		gm_event_domain();
		work_running = false
	od
}

/* Of @users; if @whole, its session is not broken any more. */
inline gm_end()
{
	d_step { !writer -> writer = true; end_users(users); i = 0 };
	d_step {
		resolve();
		broken = broken & ~whole;
		for (u : FILE_LOCK .. CLIENT_LOCK) {
			if
			:: users & BIT(u) && user[u].holds ->
				m = user[u].holds;
				user[u].holds = 0;
				gm_region_put(m)
			:: else
			fi
		}
		users = 0;
		whole = 0;
		up_write();
		i = 0
	};
#ifdef BUG_END_NO_EVENT
#else
	if
	:: news -> gm_event_domain()
	:: else
	fi
#endif
}

inline gm_view_put()
{
	d_step {
		view_refs--;
		assert(view_refs || (timer == NEVER && !work_running && !fault[0].listed &&
				     !fault[1].listed))
	}
}

#ifdef BUG_EXPORT_REVOKED
#define MAY_EXPORT	true
#else
#define MAY_EXPORT	rights
#endif

inline gm_export()
{
	d_step {
		!writer ->
		if
		:: MAY_EXPORT && !(broken & BIT(me)) && mapping[0] && (slots == 1 || mapping[1]) ->
			user[me].range = slots;
			user[me].born = nfaults
		:: else
		fi;
		slots = 0
	}
}

inline gm_access()
{
#ifdef BUG_WALK_UNLOCKED
	memory = at(me, slot);
	d_step {
		m = memory;
		memory = 0;
#else
	d_step {
		!writer ->
		m = (rights -> at(me, slot) : 0);
#endif
		if
		:: m ->
			assert(memory_refs[m] && !(gone & BIT(m)));
			assert(!pte[2 * me + slot] || pte[2 * me + slot] == m);
			pte[2 * me + slot] = m
		:: else
		fi;
		slot = NSLOTS
	}
}

inline gm_try_lock()
{
	d_step {
		m = at(0, 0);
		if
		:: m ->
			assert(memory_refs[m] && !(gone & BIT(m)));
			memory_refs[m]++;
			user[FILE_LOCK].range = 1;
			user[FILE_LOCK].born = nfaults;
			user[FILE_LOCK].holds = m;
			locked = true
		:: else
		fi
	}
}

/* What it tells is by another walk than that which took the lock. */
inline gm_lock_extents()
{
#ifdef BUG_FAULTED_EARLY
	faulted = user[FILE_LOCK].dead;
#endif
	atomic { !writer -> told = at(0, 0) };
	atomic {
#ifdef BUG_FAULTED_EARLY
#else
		faulted = user[FILE_LOCK].dead;
#endif
		assert(!told || faulted || told == user[FILE_LOCK].holds);
		told = 0;
		faulted = false;
		locked = false
	}
}

/* What a client does; and whether it may stay as it is for ever. */
#define EXPORTS_BOTH	1
#define EXPORTS_ONE	2
#define ACCESSES	4
#define LOCKS_ONE	8
#define RELEASES	16
#define RELEASES_ALL	32
#define STAYS		64
#define KEEPS_OPEN	128

/* @me: the session */
proctype client(byte me; byte calls; byte does)
{
	byte users, whole, memory, told, slots, slot = NSLOTS;
	bool locked, faulted;

	do
	:: atomic {
			calls && rights && !writer ->
			calls--;
			if
			:: does & EXPORTS_BOTH && !user[me].range -> slots = BOTH
			:: does & EXPORTS_ONE && !user[me].range -> slots = 1
			:: does & ACCESSES -> slot = 0
			:: does & ACCESSES -> slot = 1
			:: does & LOCKS_ONE && !user[FILE_LOCK].range -> gm_try_lock()
			:: does & LOCKS_ONE && user[FILE_LOCK].range -> users = BIT(FILE_LOCK)
			:: does & RELEASES && user[me].range -> users = BIT(me)
			:: does & RELEASES_ALL -> whole = BIT(me); users = OF_SESSION(me) & EXPORTS
			fi
		};
		if
		:: slots -> gm_export()
		:: users || whole -> gm_end()
		:: slot < NSLOTS -> gm_access()
		:: locked -> gm_lock_extents()
		:: else
		fi
	:: !(does & KEEPS_OPEN) -> break
	:: does & STAYS ->
		stuck = stuck | OF_SESSION(me);
end_stuck:
		false
	od;
	atomic {
		pte[2 * me] = 0;
		pte[2 * me + 1] = 0;
		dma = (me -> 0 : dma);
		calls = 0;
		whole = BIT(me);
		users = OF_SESSION(me)
	};
	gm_end();
	has_unlocked = has_unlocked || me;
	gm_view_put()
}

#define LIMITED	EXPORTS
#ifdef BUG_LIMIT_LIVE
#undef LIMITED
#define LIMITED	(user[u].dead -> 0 : EXPORTS)
#endif

/*
 * Whose mappings go without a fault. @closes: revokes, while others use it, and closes when
 * they do not; else removes the region that is mapped in slot 0.
 */
proctype remover(bool closes)
{
	byte removed;

	d_step {
		!writer ->
		rights = !closes;
		ended = 0;
		if
		:: !closes && mapping[0] == FIRST ->
			mapping[0] = 0;
			removed = BIT(FIRST)
		:: else
		fi;
		for (u : 0 .. NUSERS - 1) {
			if
			:: closes && user[u].range && BIT(u) & LIMITED ->
				ended = ended | BIT(u);
				gm_session_break(SESSION(u))
			:: removed && user[u].range & 1 && (BIT(u) & LOCKS || !user[u].dead) ->
				ended = ended | (BIT(u) & EXPORTS);
				hit_user(NFAULTS)
			:: else
			fi
		}
		if
		:: ended || removed -> record()
		:: else
		fi;
		if
		:: closes -> client_lock_listed = user[CLIENT_LOCK].range && !client_lock_revoked
		:: else
		fi;
		end_users(ended);
		resolve();
		up_write();
		i = 0
	};
#ifdef BUG_LIMIT_NO_WAKE
#else
	reader_sleeping = reader_sleeping && !closes;
#endif
	gm_event_domain();
	gm_revoke_clients();
	if
	:: closes && !nowners ->
#ifdef BUG_NO_CANCEL
#else
		d_step { !work_running -> timer = NEVER };
#endif
		d_step {
			!writer ->
			for (i : 0 .. NSLOTS - 1) {
				removed = removed | (mapping[i] -> BIT(mapping[i]) : 0);
				mapping[i] = 0
			}
			i = 0
		}
	:: !closes
	fi;
	gm_mappings_free(NFAULTS);
	if
	:: closes -> gm_view_put()
	:: else
	fi
}

/* Who comes too late for some of the records sees by the numbers how many those are. */
proctype reader()
{
	byte seq;

	do
	:: reader_sleeping = true;
		if
		:: d_step { nrecords != nread -> reader_sleeping = false };
			d_step {
				seq = (nrecords - nread > NRECORDS -> nrecords - NRECORDS :
								      nread) + 1;
				assert(seq > nread && seq <= nrecords);
				nread = seq;
				seq = 0
			}
		:: d_step { nrecords == nread && !rights -> reader_sleeping = false }; break
		:: else ->
end_none:
			!reader_sleeping
		fi
	od
}

inline has_lock(which)
{
	user[which].range = 1;
	user[which].holds = FIRST;
	memory_refs[FIRST]++;
	dma = (which == CLIENT_LOCK -> BIT(FIRST) : 0)
}

/* All at once would be too many states; what they share is met by some of them. */
init
{
	atomic {
		mapping[0] = FIRST;
		mapping[1] = SECOND;
		memory_refs[FIRST] = 1;
		memory_refs[SECOND] = 1;
		user[EXPORT_0].range = BOTH;
		view_refs = 3;
		nowners = 2;
		if
		:: true ->
			has_reader = true;
			nowners = 1;
			run owner(0, BIT(BOTH), FOREVER);
			run reader();
			run client(0, 1, RELEASES)
		:: true ->
			nowners = 1;
			run owner(0, BIT(1), LATER);
			run deadline_work();
			run client(0, 0, STAYS)
		:: true ->
			run owner(0, BIT(1), FOREVER);
			run owner(1, BIT(1), FOREVER);
			run client(0, 0, 0)
		:: true ->
			has_reader = true;
			nowners = 1;
			view_refs = 2;
			run owner(0, BIT(BOTH), FOREVER);
			run reader();
			run remover(true);
			run client(0, 0, 0)
		:: true ->
			run owner(0, BIT(1), FOREVER);
			run mapper();
			run client(0, 1, LOCKS_ONE | STAYS | KEEPS_OPEN);
			run client(0, 2, EXPORTS_ONE | RELEASES_ALL | STAYS | KEEPS_OPEN)
		:: true ->
			nowners = 1;
			run owner(0, BIT(1) | BIT(BOTH), FOREVER | AT_ONCE);
			run client(0, 4, EXPORTS_BOTH | EXPORTS_ONE | ACCESSES | LOCKS_ONE |
					 RELEASES_ALL);
			run mapper()
		:: true ->
			user[EXPORT_1].range = 2;
			nowners = 1;
			run owner(0, BIT(BOTH), FOREVER);
			run client(0, 1, RELEASES);
			run client(1, 1, RELEASES)
		:: true ->
			has_lock(FILE_LOCK);
			nowners = 1;
			view_refs = 2;
			run owner(0, BIT(1), LATER);
			run deadline_work();
			run remover(true);
			run client(0, 2, EXPORTS_ONE | ACCESSES | STAYS | RELEASES_ALL)
		:: true ->
			has_lock(CLIENT_LOCK);
			if
			:: unlocks_in_revoke = true
			:: true
			fi;
			run owner(0, BIT(BOTH), FOREVER);
			run remover(false);
			run client(1, 0, 0);
			run client(0, 1, EXPORTS_BOTH | ACCESSES | LOCKS_ONE)
		:: true ->
			has_lock(FILE_LOCK);
			max_faults = 1;
			run owner(0, BIT(1), FOREVER | LATER);
			run owner(1, BIT(1), FOREVER);
			run deadline_work();
			run client(0, 1, LOCKS_ONE | RELEASES | STAYS)
		:: true ->
			has_lock(CLIENT_LOCK);
			if
			:: unlocks_in_revoke = true
			:: true
			fi;
			run owner(0, BIT(1), FOREVER);
			run owner(1, BIT(1), FOREVER);
			run client(1, 0, 0);
			run client(0, 0, 0)
		:: true ->
			user[EXPORT_1].range = 1;
			stuck = OF_SESSION(1);
			run owner(0, BIT(BOTH), AT_ONCE | LATER);
			run owner(1, BIT(1) | BIT(2), LATER);
			run deadline_work();
			run client(0, 0, STAYS)
		:: true ->
			has_lock(FILE_LOCK);
			run owner(0, BIT(1), LATER);
			run owner(1, BIT(1), FOREVER);
			run deadline_work();
			run client(0, 2, EXPORTS_ONE | RELEASES_ALL);
			run mapper()
		:: true ->
			run owner(0, BIT(BOTH), FOREVER);
			run owner(1, BIT(1) | BIT(2), FOREVER | AT_ONCE);
			run client(0, 2, EXPORTS_BOTH | ACCESSES | RELEASES_ALL);
			run mapper()
		fi
	};
	/* Nothing can happen any more. */
	timeout;
	assert(!news && !session_news);
	assert(!reader_sleeping || (nrecords == nread && rights))
}
