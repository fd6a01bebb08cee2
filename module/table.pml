/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Model of the translation table, for spin; see selftests/models.
 *
 * Threads change the regions, and others map the table, the first of which makes it,
 * and read it as the uAPI says. Model to code:
 *
 *	changer()	gm_guest_changed(), of one of its views: gm_view_changed()
 *	write_table()	gm_table_write(): gm_table_begin(), _set(), _end()
 *	map_table()	gm_table_mmap(), gm_table_create(), gm_table_init()
 *	read_table()	uapi: struct guestmem_table; read_table() of the unit tests
 *	regions_rwsem	held for writing by all who write the table
 *
 * Memory order. What no barrier orders happens here in any order: a writer's stores
 * become visible, and a reader's loads are done, one at a time, whichever next. Each
 * barrier is a condition on some of these steps, and each is left out by a BUG_. Only
 * accesses of one variable are always in order. up_write() comes after all stores of
 * the writer. The kernel never reads the table, so a store that is late needs no more
 * than this. All CPUs see a store at once, as on all that Linux runs on but POWER.
 *
 * The regions as of generation g are 1 + g % 2 entries of one word, which is g. That
 * @seq wraps after 2^31 changes is not modelled.
 *
 * Properties:
 *  - what a reader accepts is of one update: no word of another, none that is not
 *    written yet;
 *  - it is no older than the last change that was complete when the reader began,
 *    also if that was before there was a table;
 *  - who has mapped the table finds its header complete;
 *  - with no writer at work the first try succeeds; with some, a try does in the end
 *    (ltl reader_succeeds);
 *  - nobody waits for ever.
 */

#define NENTRIES(g)	(1 + (g) % 2)

bool regions_rwsem;		/* held for writing; nobody here takes it for reading */
byte generation;
byte complete;			/* generation of the last change that has ended */
byte writers;			/* changers that have not ended, and who makes the table */
bool accepted;			/* the reader had a valid try */

/* view->table is set, and what it points to. */
bool table_set;
bool table_header;
byte table_seq;
byte table_nentries;
byte table_generation;
byte table_word[2];

inline down_write()
{
#ifdef BUG_NO_RWSEM
	skip
#else
	atomic { !regions_rwsem -> regions_rwsem = true }
#endif
}

inline up_write()
{
	regions_rwsem = false
}

/* Stores that are visible. */
typedef stores {
	bool header, odd, word0, word1, nentries, generation, even, pointer
}

#define CHANGED		(seen.word0 && seen.word1 && seen.nentries && seen.generation)

/* smp_wmb() of gm_table_begin() */
#define MAY_CHANGE	seen.odd
#ifdef BUG_NO_WMB_BEGIN
#undef MAY_CHANGE
#define MAY_CHANGE	true
#endif

/* smp_wmb() of gm_table_end() */
#define MAY_END		(seen.odd && CHANGED)
#ifdef BUG_NO_WMB_END
#undef MAY_END
#define MAY_END		seen.odd
#endif

/* smp_store_release() of gm_table_create() */
#define MAY_PUBLISH	(seen.header && seen.even)
#ifdef BUG_PUBLISH_UNORDERED
#undef MAY_PUBLISH
#define MAY_PUBLISH	true
#endif
#ifdef BUG_PUBLISH_UNFILLED
#undef MAY_PUBLISH
#define MAY_PUBLISH	seen.header
#endif

/* @new: gm_table_create() */
inline write_table(new)
{
	d_step {
		seen.header = !new;
		seen.pointer = !new;
		seen.word1 = NENTRIES(generation) == 1
	}
	do
	:: atomic { !seen.header -> table_header = true; seen.header = true }
	:: atomic { !seen.odd -> table_seq = 2 * generation + 1; seen.odd = true }
	:: atomic { !seen.word0 && MAY_CHANGE ->
			table_word[0] = generation; seen.word0 = true }
	:: atomic { !seen.word1 && MAY_CHANGE ->
			table_word[1] = generation; seen.word1 = true }
	:: atomic { !seen.nentries && MAY_CHANGE ->
			table_nentries = NENTRIES(generation); seen.nentries = true }
	:: atomic { !seen.generation && MAY_CHANGE ->
			table_generation = generation; seen.generation = true }
	:: atomic { !seen.even && MAY_END ->
#ifdef BUG_NO_EVEN
			skip;
#else
			table_seq = 2 * generation + 2;
#endif
			seen.even = true }
	:: atomic { !seen.pointer && MAY_PUBLISH -> table_set = true; seen.pointer = true }
	:: d_step { seen.header && CHANGED && seen.even && seen.pointer ->
			seen.header = false;
			seen.odd = false;
			seen.word0 = false;
			seen.word1 = false;
			seen.nentries = false;
			seen.generation = false;
			seen.even = false;
			seen.pointer = false };
		break
	od
}

proctype changer(byte changes)
{
	stores seen;

	do
	:: changes > 0 ->
		down_write();
		generation++;
		if
		:: table_set -> write_table(false)
		:: else
		fi;
		atomic { complete = generation; up_write(); changes-- }
	:: else ->
		break
	od;
	writers--
}

inline map_table()
{
	if
	:: table_set
	:: else ->
		down_write();
		if
		:: atomic { !table_set -> writers++ };
			write_table(true);
			writers--
		:: else
		fi;
		up_write()
	fi
}

/* Loads that are done. */
typedef loads {
	bool seq, word0, word1, nentries, generation, check
}

#define LOADED		(got.word0 && got.word1 && got.nentries && got.generation)

/* The load of @seq: acquire */
#define MAY_LOAD	got.seq
#ifdef BUG_NO_ACQUIRE
#undef MAY_LOAD
#define MAY_LOAD	true
#endif

/* The acquire fence */
#define MAY_CHECK	(got.seq && LOADED)
#ifdef BUG_NO_FENCE
#undef MAY_CHECK
#define MAY_CHECK	got.seq
#endif

/* One try. */
inline read_table()
{
	do
	:: atomic { !got.seq -> seq = table_seq; got.seq = true };
#ifdef BUG_NO_ODD
		skip
#else
		if
		:: seq % 2 -> break
		:: else
		fi
#endif
	:: atomic { !got.word0 && MAY_LOAD -> word[0] = table_word[0]; got.word0 = true }
	:: atomic { !got.word1 && MAY_LOAD -> word[1] = table_word[1]; got.word1 = true }
	:: atomic { !got.nentries && MAY_LOAD ->
			nentries = table_nentries; got.nentries = true }
	:: atomic { !got.generation && MAY_LOAD ->
			read_generation = table_generation; got.generation = true }
	:: atomic { !got.check && MAY_CHECK ->
#ifdef BUG_NO_CHECK
			valid = true;
#else
			valid = table_seq == seq;
#endif
			got.check = true }
	:: LOADED && got.check ->
		break
	od
}

proctype reader()
{
	stores seen;
	loads got;
	byte seq, nentries, read_generation, word[2], oldest;
	bool quiet, valid;

	map_table();
	assert(table_header);
	do
	:: !accepted ->
		d_step { oldest = complete; quiet = writers == 0 };
		read_table();
		atomic {
			if
			:: valid ->
				assert(seq == 2 * read_generation + 2);
				assert(nentries == NENTRIES(read_generation));
				assert(word[0] == read_generation);
				assert(nentries == 1 || word[1] == read_generation);
				assert(read_generation >= oldest);
				accepted = true
			:: else ->
				assert(!quiet)
			fi;
			seq = 0;
			nentries = 0;
			read_generation = 0;
			word[0] = 0;
			word[1] = 0;
			oldest = 0;
			quiet = false;
			valid = false;
			got.seq = false;
			got.word0 = false;
			got.word1 = false;
			got.nentries = false;
			got.generation = false;
			got.check = false
		}
	:: else ->
		break
	od
}

/* Another process, which maps the table at the same time. */
proctype mapper()
{
	stores seen;

	map_table();
	assert(table_header)
}

init
{
	atomic {
		writers = 2;
		run changer(2);
		run changer(1);
		run mapper();
		run reader()
	}
}

ltl reader_succeeds { <> accepted }
