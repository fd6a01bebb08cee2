// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Readers against hot-unplug: some threads read, write, hold and look up, others add,
 * remove and revoke regions at the same addresses. What is read is an error, or what a
 * region at that address has had. SECONDS= is for how long.
 */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"
#include "faults.h"

#define SLOTS		8
#define VERSIONS	3
#define LEN		(64 * PAGE)
#define STEP		(3ULL << 19)	/* 2 MiB have the starts of one or two of them */
#define WORDS		(LEN / 8)

static struct guestmem *g;
static int file;
static bool stop;
static uint64_t counts[8];
static const char * const count_names[8] = {
	"reads", "writes", "holds", "slices held", "look-ups", "regions added", "regions removed",
	"regions revoked",
};

/* Who has added what; of the thread that manages the slot. */
static uint32_t ids[SLOTS];

/* cmocka's would jump to another thread's stack. */
#define must(call) do {								\
	long long ret_ = (call);						\
	if (!ret_) {								\
		fprintf(stderr, "%s:%d: not %s; %d, %s\n", __FILE__, __LINE__, #call,	\
			errno, guestmem_strerror());				\
		abort();							\
	}									\
} while (0)

static uint64_t base_of(unsigned int slot)
{
	return slot * STEP;
}

static uint64_t word_of(unsigned int slot, unsigned int version, uint64_t i)
{
	return (uint64_t)slot << 48 | (uint64_t)version << 32 | i;
}

static void check_word(uint64_t v, unsigned int slot, uint64_t i)
{
	uint64_t version = v >> 32 & 0xffff;

	/* A writer's is the one behind the last. */
	if (v != word_of(slot, (unsigned int)version, i) || version > VERSIONS)
		fprintf(stderr, "0x%llx at word %llu of slot %u\n", (unsigned long long)v,
			(unsigned long long)i, slot), abort();
}

static bool there(int ret)
{
	must(ret >= 0 || ret == -ENXIO || ret == -EACCES);
	return ret >= 0;
}

/*
 * While it is held it is one region: all of the words that nobody writes have one version.
 * What can only be removed, plain loads can be used for.
 */
static void hold_one(unsigned int slot, uint64_t i)
{
	uint64_t words[16], first, second;
	struct guestmem_hold hold;
	struct iovec here = { words, sizeof(words) };
	volatile uint64_t *p;

	if (!there(guestmem_hold(g, base_of(slot) + i * 8, sizeof(words), &hold)))
		return;
	__atomic_add_fetch(&counts[2], 1, __ATOMIC_RELAXED);
	if (slot < SLOTS / 2) {
		p = hold.slice.iov_base;
		first = __atomic_load_n(&p[0], __ATOMIC_RELAXED);
		check_word(first, slot, i);
		if (i % 64 == 0)
			sched_yield();
		second = __atomic_load_n(&p[15], __ATOMIC_RELAXED);
		check_word(second, slot, i + 15);
		must(i >= WORDS / 2 - 15 || first >> 32 == second >> 32);
		must(i >= WORDS / 2 || __atomic_load_n(&p[0], __ATOMIC_RELAXED) == first);
	}
	if (guestmem_slice_copy(&here, &hold.slice) == sizeof(words)) {
		__atomic_add_fetch(&counts[3], 1, __ATOMIC_RELAXED);
		for (unsigned int k = 0; k < 16; k++)
			check_word(words[k], slot, i + k);
	} else {
		must(slot >= SLOTS / 2);
	}
	guestmem_release(&hold);
}

static void *use(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	struct guestmem_table_entry e;
	uint64_t v, words[64], done;
	int ret;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		unsigned int slot = (unsigned int)rand_r(&seed) % SLOTS;
		uint64_t i = (uint64_t)rand_r(&seed) % (WORDS - 64);
		uint64_t gpa = base_of(slot) + i * 8;

		switch (rand_r(&seed) % 7) {
		case 0:
			if (there(guestmem_read64(g, gpa, &v)))
				check_word(v, slot, i);
			__atomic_add_fetch(&counts[0], 1, __ATOMIC_RELAXED);
			break;
		case 1:
			/* Some of it is read also if the region goes then. */
			ret = guestmem_read(g, gpa, words, sizeof(words));
			done = there(ret) ? sizeof(words) : guestmem_last_done();
			for (uint64_t k = 0; k < done / 8; k++)
				check_word(words[k], slot, i + k);
			__atomic_add_fetch(&counts[0], 1, __ATOMIC_RELAXED);
			break;
		case 2:
			i |= WORDS / 2;
			i -= i % 64;
			for (uint64_t k = 0; k < 64; k++)
				words[k] = word_of(slot, VERSIONS, i + k);
			there(guestmem_write(g, base_of(slot) + i * 8, words, sizeof(words)));
			there(guestmem_write64(g, base_of(slot) + i * 8, words[0]));
			__atomic_add_fetch(&counts[1], 1, __ATOMIC_RELAXED);
			break;
		case 3:
			hold_one(slot, i);
			break;
		case 4:
			if (there(guestmem_find(g, gpa, &e)))
				must(e.gpa == base_of(slot) && e.len == LEN && e.id);
			ret = guestmem_check(g, gpa, 64, PROT_READ);
			there(ret);
			__atomic_add_fetch(&counts[4], 1, __ATOMIC_RELAXED);
			break;
		case 5:
			/* Neither side of it is ever there. */
			must(guestmem_read64(g, base_of(slot) + LEN, &v) == -ENXIO);
			must(!guestmem_ptr(g, base_of(slot) + LEN - 4, 8));
			guestmem_ptr(g, gpa, 8);
			/* 0 while it changes */
			guestmem_generation(g);
			break;
		default:
			if (there(guestmem_load(g, gpa, &v, 8, __ATOMIC_ACQUIRE)))
				check_word(v, slot, i);
			there(guestmem_copy(g, base_of(slot) + LEN / 2, base_of((slot + 1) % SLOTS),
					    0));
		}
	}
	return NULL;
}

static void *manage(void *arg)
{
	unsigned int odd = (unsigned int)(uintptr_t)arg, seed = odd + 100, tries = 0;
	int ret;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		unsigned int slot = (unsigned int)rand_r(&seed) % (SLOTS / 2) * 2 + odd;
		unsigned int version = (unsigned int)rand_r(&seed) % VERSIONS;

		if (!ids[slot]) {
			must(!guestmem_add_file(g, base_of(slot), LEN, file,
						(slot * VERSIONS + version) * LEN,
						rand_r(&seed) % 4 ? 0 : GUESTMEM_REGION_READONLY,
						&ids[slot]));
			__atomic_add_fetch(&counts[5], 1, __ATOMIC_RELAXED);
			if (rand_r(&seed) % 2)
				usleep(50);
			continue;
		}
		if (slot >= SLOTS / 2) {
			must(!guestmem_revoke(g, ids[slot], GUESTMEM_WAIT_FOREVER, NULL));
			__atomic_add_fetch(&counts[7], 1, __ATOMIC_RELAXED);
		} else {
			ret = guestmem_remove(g, ids[slot]);
			if (ret) {
				must(ret == -EBUSY);
				/* They come and go: some time nobody has it. */
				must(++tries < 100000);
				sched_yield();
				continue;
			}
			tries = 0;
			__atomic_add_fetch(&counts[6], 1, __ATOMIC_RELAXED);
		}
		ids[slot] = 0;
		if (rand_r(&seed) % 8 == 0)
			usleep(50);
	}
	return NULL;
}

static void *watch(void *arg)
{
	uint64_t bits[64];

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		must(!guestmem_dirty_start(g, PAGE));
		for (int i = 0; i < 20 && !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
			must(guestmem_dirty_take(g, 0, SLOTS * STEP, bits, 64) >= 0);
			usleep(200);
		}
		must(!guestmem_dirty_stop(g));
	}
	return arg;
}

static int setup(void **state)
{
	uint64_t *p;

	(void)state;
	g = guestmem_create(SLOTS * STEP);
	file = file_of(SLOTS * VERSIONS * LEN);
	p = mmap(NULL, SLOTS * VERSIONS * LEN, PROT_WRITE, MAP_SHARED, file, 0);
	if (!g || p == MAP_FAILED)
		return -1;
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		for (unsigned int version = 0; version < VERSIONS; version++) {
			for (uint64_t i = 0; i < WORDS; i++)
				*p++ = word_of(slot, version, i);
		}
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	guestmem_close(g);
	close(file);
	return 0;
}

static void test_unplug(void **state)
{
	const char *seconds = getenv("SECONDS");
	double left = seconds ? atof(seconds) : 5;
	pthread_t thread[6];

	(void)state;
	for (uintptr_t i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&thread[i], NULL,
						i < 3 ? use : i < 5 ? manage : watch,
						(void *)(i < 3 ? i + 1 : i - 3)), 0);
	usleep((useconds_t)(left * 1e6));
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < 8; i++) {
		printf("figure: %llu %s against hot-unplug\n", (unsigned long long)counts[i],
		       count_names[i]);
		assert_true(counts[i] > 20);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = { T(unplug) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
