/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Model of taking memory back, for spin; see selftests/models.
 *
 * A guest has regions A and B, next to each other, and C may come to where A was. Its
 * file is used by two managers, who remove regions or add one, and by a user, who
 * maps it, takes a DMA lock on one region, and may leave without UNLOCK. A driver has
 * a DMA lock on both. A region may be looked at for being stale. Whoever is last puts
 * the guest. Model to code:
 *
 *	gm_region_remove()	gm_region_take_out(), gm_ioctl_region_remove()
 *	gm_region_add()		gm_ioctl_region_add(), gm_pin_file()
 *	gm_fault()		gm_fault() with its PTE; without, read, write and other
 *				accesses, as gm_burst_iter(): they look up and touch
 *				under the same lock
 *	gm_try_lock()		gm_try_lock() and gm_hold_range(); gm_lock() is who calls it
 *	revoke()		client->ops->revoke(), as guestmem.h demands it to be
 *	driver()		another thread of the driver, likewise; it unlocks in
 *				revoke(), like guestmem_edu.c, or later
 *	stale_work()		gm_stale_work(), gm_take_suspect(): what matters is the reference
 *				it takes, of a region that is in the list of suspects
 *	file_put()		fput(), gm_release()
 *	all others		the functions of that name
 *
 * Locks are as in the code. A writer that waits for regions_rwsem keeps new readers
 * out. mmap_lock is a mutex here: nothing relies on its being shared. locks_mutex and
 * regions_rwsem held for writing leave nobody to look at half of what is done under
 * them, so that is one step; where the code lets go, here is a step's end. guest::drain
 * is a wait queue whose sleepers look again only when woken. A remover that waits for
 * ever is not killed, unless it waits for a lock that the user left behind: that stays
 * with the file, which the remover itself has open. Memory order is not modelled: what
 * is not under a lock is a reference count, or a condition that somebody waits for, and
 * wait queues order those.
 *
 * A PTE or a DMA mapping that exists may be used at any time. So the properties are
 * about these, not about accesses:
 *  - when REMOVE has taken a region out and returns (0, ETIMEDOUT, EINTR), there is no
 *    PTE of it and no device that a driver has not stopped, and none comes later; also
 *    if it was another remover, of another region, who had the driver stop;
 *  - it returns 0 only if the pages are unpinned, and does not ask drivers to stop, or
 *    wait for locks, without FORCE;
 *  - memory is touched, mapped and locked only while it is pinned; it is unpinned once,
 *    and then there is no PTE, no DMA mapping and no lock;
 *  - a PTE is of the region that is live there: none is left for a new one to find;
 *  - revoke() is called once for a lock, and lock and client are there until it returns;
 *    never for a try that was not to become the driver's lock;
 *  - the guest, and all pages, go when the last who has it goes, not before;
 *  - nobody waits for ever (spin: no invalid end state).
 * A second remover of the same region gets ENOENT at once, of which nothing is promised.
 */

#define A	0
#define B	1
#define C	2	/* at A's address */
#define NREGIONS	3
#define NONE	NREGIONS
#define SLOT(r)	((r) == B)
#define BIT(r)	(1 << (r))

#define RESERVED	0
#define LIVE		1
#define REMOVED		2

typedef region_struct {
	byte state, kref, nlocks;
	bool pinned;
	bool watched;
	bool suspect;		/* in the list */
	bool gone		/* REMOVE has returned */
}

/* Three DMA locks: the user's, and the driver's first try, with too little room, and its second. */
#define USER_LOCK	0
#define FIRST_TRY	1
#define DRIVER_LOCK	2
#define NLOCKS	3

typedef lock_struct {
	byte kref;
	byte holds;		/* BIT() of the regions that have it in region::locks */
	bool revoked
}

/* struct gm_guest */
byte guest_kref;		/* the file and the client */
bool guest_freed;
byte tree[2] = NONE;		/* region by address */
byte readers, writers_waiting;	/* regions_rwsem */
bool writer;
bool revoke_mutex, locks_mutex;
bool drain[3];			/* who sleeps */
region_struct region[NREGIONS];

/* struct gm_file: held by who uses it; the user's mappings go before the user does */
byte file_count;
bool file_has_lock;		/* USER_LOCK, in file::locks */
bool lock_left;			/* likewise, and the user has gone */

/* struct guestmem_client and the driver's own */
byte client_nlocks, client_nrevoking;
bool client_freed;
bool driver_mutex;
bool unlocks_in_revoke;
bool driver_mapped;		/* it has noted so, under driver_mutex */
byte dma;			/* BIT() of the regions that the device can reach */
lock_struct lock[NLOCKS];

/* The user's address space. */
bool mmap_lock;
byte pte[2] = NONE;		/* region by address */

#define IDLE	0
#define RUNNING	1
#define ENDED	2
byte stale_work_state;

#define mutex_lock(m)	atomic { !m -> m = true }
#define mutex_unlock(m)	m = false

#define down_read()	atomic { !writer && !writers_waiting -> readers++ }
#define up_read()	readers--
#define down_write()	writers_waiting++; \
			atomic { !writer && !readers -> writer = true; writers_waiting-- }
#define up_write()	writer = false

/* gm_guest_region() */
#define live_region(slot)	\
	(tree[slot] != NONE && region[tree[slot]].state == LIVE -> tree[slot] : NONE)

inline wake_up_all()
{
	d_step {
		assert(!guest_freed);
		drain[0] = false;
		drain[1] = false;
		drain[2] = false
	}
}

inline wait_event(me, condition, may_give_up)
{
	do
	:: drain[me] = true;
		if
		:: atomic { condition -> drain[me] = false; break }
		:: else
		fi;
		if
		:: !drain[me]
		:: atomic { may_give_up -> drain[me] = false; break }
		fi
	od
}

inline gm_region_release(r)
{
	!locks_mutex;
	d_step {
		assert(region[r].state == REMOVED);
		assert(region[r].pinned);
		assert(pte[SLOT(r)] != r);
		assert(!(dma & BIT(r)));
		assert(!((lock[0].holds | lock[1].holds | lock[2].holds) & BIT(r)));
		region[r].pinned = false
	}
}

inline gm_region_put(r)
{
	if
	:: atomic { region[r].kref == 1 -> region[r].kref = 0 };
		gm_region_release(r)
	:: atomic { region[r].kref > 1 -> region[r].kref-- };
#ifdef BUG_PUT_NO_WAKE
		skip
#else
		wake_up_all()
#endif
	fi
}

inline gm_guest_unreserve(r)
{
	tree[SLOT(r)] = NONE;
	region[r].state = REMOVED;
#ifdef BUG_NO_STALE_STOP
#else
	region[r].watched = false;
	region[r].suspect = false
#endif
}

inline gm_guest_put()
{
	if
	:: atomic { guest_kref == 1 -> guest_kref = 0 };
		slot = 0;
		do
		:: slot < 2 && tree[slot] != NONE ->
			down_write();
			d_step { r = tree[slot]; gm_guest_unreserve(r) };
			up_write();
			gm_region_put(r);
			slot++
		:: slot < 2 && tree[slot] == NONE ->
			slot++
		:: else ->
			break
		od;
#ifdef BUG_NO_CANCEL
		skip;
#else
		if
		:: atomic { stale_work_state == IDLE -> stale_work_state = ENDED }
		:: stale_work_state == ENDED
		fi;
#endif
		guest_freed = true
	:: atomic { guest_kref > 1 -> guest_kref-- }
	fi
}

inline gm_lock_put(l)
{
	d_step { assert(lock[l].kref > 0); lock[l].kref-- }
}

/* What it has of them are references still: @held, which go by gm_put_holds(). */
inline gm_unlink_holds(l)
{
	held = lock[l].holds;
	lock[l].holds = 0;
	for (r : 0 .. NREGIONS - 1) {
		region[r].nlocks = region[r].nlocks - ((held >> r) & 1)
	}
	r = 0
}

inline gm_put_holds()
{
	do
	:: held & BIT(r) ->
		gm_region_put(r);
		d_step { held = held & ~BIT(r); r = 0 }
	:: held && !(held & BIT(r)) ->
		r++
	:: !held ->
		break
	od
}

/* Sets @failed, and @needed if not. With too little room nothing is locked, too. */
inline gm_try_lock(l, nslots, capacity)
{
	lock[l].kref = 1;
#ifdef BUG_LOCK_UNLOCKED
	skip;
#else
	down_read();
#endif
	mutex_lock(locks_mutex);
	slot = 0;
	needed = 0;
	do
	:: slot < nslots && !failed ->
		r = live_region(slot);
		d_step {
			if
			:: r != NONE ->
				if
				:: needed < capacity ->
					assert(region[r].pinned && !region[r].gone);
#ifdef BUG_HOLD_NO_REF
#else
					region[r].kref++;
#endif
					region[r].nlocks++;
					lock[l].holds = lock[l].holds | BIT(r)
				:: else
				fi;
				needed++;
				slot++
			:: else ->
				failed = true
			fi;
			r = 0
		}
	:: else ->
		break
	od;
	slot = 0;
#ifdef BUG_TRY_LISTED
#else
	d_step {
		if
		:: failed || needed > capacity -> gm_unlink_holds(l)
		:: else
		fi
	}
#endif
	mutex_unlock(locks_mutex);
#ifdef BUG_LOCK_UNLOCKED
	skip;
#else
	up_read();
#endif
#ifdef BUG_TRY_LISTED
	atomic {
		!locks_mutex ->
		if
		:: failed || needed > capacity -> gm_unlink_holds(l)
		:: else
		fi
	}
#endif
}

inline gm_unlock(l)
{
	atomic { !locks_mutex -> gm_unlink_holds(l) };
	gm_put_holds();
	gm_lock_put(l)
}

inline guestmem_unlock(l)
{
	assert(!client_freed && !(dma & lock[l].holds));
	gm_unlock(l);
	d_step { assert(client_nlocks > 0); client_nlocks-- }
}

inline revoke(l)
{
	assert(l == DRIVER_LOCK);
	mutex_lock(driver_mutex);
	if
	:: driver_mapped ->
		dma = 0;
		driver_mapped = false;
		if
		:: unlocks_in_revoke -> guestmem_unlock(l)
		:: else
		fi
	:: else
	fi;
	mutex_unlock(driver_mutex)
}

#define is_to_revoke(l, r)	((lock[l].holds & BIT(r)) && !lock[l].revoked)

inline gm_revoke_clients(target)
{
#ifdef BUG_NO_REVOKE_MUTEX
	skip;
#else
	mutex_lock(revoke_mutex);
#endif
	mutex_lock(locks_mutex);
	do
	:: is_to_revoke(FIRST_TRY, target) || is_to_revoke(DRIVER_LOCK, target) ->
		l = (is_to_revoke(DRIVER_LOCK, target) -> DRIVER_LOCK : FIRST_TRY);
#ifdef BUG_UNLISTED
		mutex_unlock(locks_mutex);
		mutex_lock(locks_mutex);
#endif
		d_step {
			assert(force);
			assert(lock[l].kref > 0 && !client_freed);
#ifdef BUG_REVOKED_LATE
#else
			lock[l].revoked = true;
#endif
#ifdef BUG_REVOKE_NO_REF
#else
			lock[l].kref++;
#endif
			client_nrevoking++
		}
#ifdef BUG_REVOKE_LOCKED
		revoke(l);
#else
		mutex_unlock(locks_mutex);
		revoke(l);
		mutex_lock(locks_mutex);
#endif
		d_step {
			assert(lock[l].kref > 0 && !client_freed);
#ifdef BUG_REVOKED_LATE
			lock[l].revoked = true;
#endif
			client_nrevoking--
		}
#ifdef BUG_REVOKE_NO_WAKE
#else
		wake_up_all();
#endif
#ifdef BUG_REVOKE_NO_REF
#else
		gm_lock_put(l);
#endif
		l = 0
	:: else ->
		break
	od;
	mutex_unlock(locks_mutex);
	mutex_unlock(revoke_mutex)
}

inline gm_zap(r)
{
#ifdef BUG_NO_ZAP
	skip
#else
	pte[SLOT(r)] = NONE
#endif
}

inline gm_region_remove(target)
{
	if
	:: force = false
	:: force = true
	:: force = true; forever = true
	fi;
#ifdef BUG_REMOVE_SHARED
	down_read();
#else
	down_write();
#endif
	d_step {
		if
		:: tree[SLOT(target)] == target && region[target].state == LIVE &&
		   (force || !region[target].nlocks) ->
			gm_guest_unreserve(target);
#ifdef BUG_ZAP_LATE
#else
			gm_zap(target);
#endif
			removed = true
		:: else
		fi
	}
#ifdef BUG_REMOVE_SHARED
	up_read();
#else
	up_write();
#endif
	if
	:: removed ->
#ifdef BUG_ZAP_LATE
		gm_zap(target);
#endif
#ifdef BUG_NO_REVOKE
#else
		gm_revoke_clients(target);
#endif
		wait_event(me, !region[target].nlocks, !forever || lock_left);
		unlocked = !region[target].nlocks;
		assert(force || unlocked);
		if
		:: unlocked ->
#ifdef BUG_NO_LAST_WAIT
			skip
#else
			wait_event(me, region[target].kref == 1, false)
#endif
		:: else
		fi;
		gm_region_put(target);
		d_step {
			assert(pte[SLOT(target)] != target && !(dma & BIT(target)));
			assert(!unlocked || !region[target].pinned);
			region[target].gone = true
		}
	:: else
	fi
}

/* The pin can fail, and so can telling the caller the number, with the pages pinned. */
inline gm_region_add(target)
{
	down_write();
	d_step {
		if
		:: tree[SLOT(target)] == NONE ->
			tree[SLOT(target)] = target;
			region[target].state = RESERVED;
			region[target].kref = 1;
			added = true
		:: else
		fi
	}
#ifdef BUG_PIN_LOCKED
#else
	up_write();
#endif
	if
	:: added ->
#ifdef BUG_PUBLISH_EARLY
		region[target].state = LIVE;
#endif
		mutex_lock(mmap_lock);
		region[target].pinned = true;
		mutex_unlock(mmap_lock);
#ifdef BUG_PIN_LOCKED
		up_write();
#endif
		if
		:: true ->
			down_write();
			region[target].state = LIVE;
			assert(pte[SLOT(target)] == NONE);
			mutex_lock(locks_mutex);
			mutex_unlock(locks_mutex);
#ifdef BUG_TELL_NO_REF
			up_write();
			/* gm_event_region() */
			assert(region[target].kref > 0)
#else
			region[target].kref++;
			up_write();
			assert(region[target].kref > 0);
			gm_region_put(target)
#endif
		:: true ->
			down_write();
			gm_guest_unreserve(target);
			up_write();
			gm_region_put(target)
		fi
	:: else ->
#ifdef BUG_PIN_LOCKED
		up_write()
#else
		skip
#endif
	fi
}

inline gm_file_unlock_all()
{
	if
	:: file_has_lock ->
		gm_unlock(USER_LOCK);
		file_has_lock = false;
		lock_left = false
	:: else
	fi
}

inline file_put()
{
	if
	:: atomic { file_count == 1 -> file_count = 0 };
		gm_file_unlock_all();
		gm_guest_put()
	:: atomic { file_count > 1 -> file_count-- }
	fi
}

/* @me: in drain */
proctype manager(byte me)
{
	bool force, forever, removed, unlocked, added;
	byte target, r, l, slot, held;

	if
	:: target = A
	:: me == 1 -> target = B
	:: me == 1 -> target = C
	fi;
	if
	:: target == C ->
		gm_region_add(C)
	:: else ->
		gm_region_remove(target);
		if
		:: region[C].state == LIVE ->
			d_step { force = false; forever = false; removed = false; unlocked = false };
			gm_region_remove(C)
		:: true
		fi
	fi;
	file_put()
}

inline gm_fault(slot)
{
	mutex_lock(mmap_lock);
#ifdef BUG_FAULT_UNLOCKED
#else
	down_read();
#endif
	r = live_region(slot);
	if
	:: r != NONE ->
		assert(region[r].pinned && !region[r].gone);
		if
		:: pte[slot] == NONE -> pte[slot] = r
		:: else -> assert(pte[slot] == r)
		fi
	:: else
	fi;
	r = 0;
#ifdef BUG_FAULT_UNLOCKED
#else
	up_read();
#endif
	mutex_unlock(mmap_lock)
}

/* @calls: at most */
proctype user(byte calls)
{
	byte r, slot, held, needed;
	bool failed;

	do
	:: calls > 0 ->
		calls--;
		if
		:: gm_fault(0)
		:: gm_fault(1)
		:: !file_has_lock ->
			gm_try_lock(USER_LOCK, 1, 1);
			if
			:: failed -> gm_put_holds(); gm_lock_put(USER_LOCK)
			:: else -> file_has_lock = true
			fi;
			failed = false
		:: file_has_lock ->
			file_has_lock = false;
			gm_unlock(USER_LOCK)
		fi
	:: break
	od;
	mutex_lock(mmap_lock);
	pte[0] = NONE;
	pte[1] = NONE;
	mutex_unlock(mmap_lock);
	lock_left = file_has_lock;
	file_put()
}

inline guestmem_lock()
{
	gm_try_lock(FIRST_TRY, 2, 1);
	gm_put_holds();
	gm_lock_put(FIRST_TRY);
	if
	:: !failed ->
		gm_try_lock(DRIVER_LOCK, 2, 2);
		if
		:: failed -> gm_put_holds(); gm_lock_put(DRIVER_LOCK)
		:: else
		fi
	:: else
	fi;
	if
	:: !failed -> client_nlocks++
	:: else
	fi
}

inline guestmem_dma_map(l)
{
#ifdef BUG_MAP_REVOKED
	dma = lock[l].holds;
	driver_mapped = true
#else
	if
	:: !lock[l].revoked ->
		dma = lock[l].holds;
		driver_mapped = true
	:: else
	fi
#endif
}

inline guestmem_client_put()
{
	assert(!client_nlocks);
#ifdef BUG_NO_REVOKE_WAIT
#else
	wait_event(2, !client_nrevoking, false);
#endif
	!locks_mutex;
	client_freed = true;
	gm_guest_put()
}

proctype driver()
{
	byte r, slot, held, needed;
	bool failed, mine;

	if
	:: unlocks_in_revoke = true
	:: true
	fi;
	guestmem_lock();
	if
	:: !failed ->
		mutex_lock(driver_mutex);
		guestmem_dma_map(DRIVER_LOCK);
		mine = !driver_mapped;
		mutex_unlock(driver_mutex);

		atomic {
			!driver_mutex ->
			mine = mine || driver_mapped || !unlocks_in_revoke;
			dma = 0;
			driver_mapped = false
		};
		if
		:: mine -> guestmem_unlock(DRIVER_LOCK)
		:: else
		fi
	:: else
	fi;
	guestmem_client_put()
}

#ifdef BUG_RELIST
#define is_watched	true
#else
#define is_watched	region[A].watched
#endif

proctype stale_work()
{
	bool again;

	if
	:: atomic { stale_work_state == IDLE -> stale_work_state = RUNNING };
take:		if
		:: atomic {
				region[A].suspect ->
				region[A].suspect = false;
				assert(region[A].kref > 0);
				region[A].kref++
			};
			/* It may be suspect still: then it is looked at once more. */
			if
			:: atomic { !again && is_watched -> region[A].suspect = true }
			:: true
			fi;
			gm_region_put(A);
			if
			:: !again -> again = true; goto take
			:: else
			fi
		:: !region[A].suspect
		fi;
		stale_work_state = ENDED
	:: stale_work_state == ENDED
	fi
}

/* All at once would be too many states; what they share is met by some three of them. */
init
{
	atomic {
		tree[SLOT(A)] = A;
		tree[SLOT(B)] = B;
		region[A].state = LIVE;
		region[A].kref = 1;
		region[A].pinned = true;
		region[A].watched = true;
		region[A].suspect = true;
		region[B].state = LIVE;
		region[B].kref = 1;
		region[B].pinned = true;
		if
		:: true ->
			guest_kref = 2;
			file_count = 1;
			run manager(0);
			run driver();
			run stale_work()
		:: true ->
			guest_kref = 1;
			file_count = 2;
			run manager(0);
			run user(2);
			run stale_work()
		:: true ->
			guest_kref = 1;
			file_count = 3;
			run manager(0);
			run manager(1);
			run user(2)
		:: true ->
			guest_kref = 2;
			file_count = 2;
			run manager(0);
			run user(1);
			run driver()
		:: true ->
			guest_kref = 2;
			file_count = 2;
			run manager(0);
			run manager(1);
			run driver()
		fi
	};
	guest_freed;
	assert(!region[A].pinned && !region[B].pinned && !region[C].pinned)
}
