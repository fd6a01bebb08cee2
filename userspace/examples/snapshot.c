// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A snapshot of a guest that goes on: all of it is copied to a file while threads write
 * to it, then what they wrote meanwhile, again and again; they only stop for the last of
 * it. Then it is compared, byte by byte.
 */
#include <guestmem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB		(1UL << 20)
#define WINDOW		(64 * MIB)
#define GRANULE		4096UL
#define THREADS		2
#define ROUNDS		4

/* Sparse: what is between them is a hole, in the file too. */
static const struct guestmem_range regions[] = { { 0, 8 * MIB }, { 48 * MIB, 4 * MIB } };
#define NREGIONS	(sizeof(regions) / sizeof(regions[0]))

static struct guestmem *guest;
static int file, stop;

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, guestmem_strerror());
		exit(EXIT_FAILURE);
	}
}

/* Small writes to few places, and now and then a long one somewhere. */
static void *writer(void *arg)
{
	uint64_t seed = (uintptr_t)&arg, n = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		const struct guestmem_range *r;

		seed = seed * 6364136223846793005 + 1442695040888963407;
		r = &regions[(seed >> 62) % NREGIONS];
		if (++n % 1000)
			check(!guestmem_write64(guest, r->gpa + (seed >> 20) % MIB, seed), "write");
		else
			check(!guestmem_fill(guest, r->gpa + (seed >> 20) % (r->len - 10000), 10000,
					     (uint8_t)seed), "fill");
		if (!(n % 64))
			usleep(50);
	}
	return arg;
}

static void copy(uint64_t gpa, uint64_t len)
{
	uint64_t offset = gpa;

	check(!guestmem_write_to(guest, gpa, file, &offset, len), "to the file");
}

/* What was written since the last time. Returns how much that was. */
static uint64_t copy_dirty(void)
{
	static uint64_t bits[WINDOW / GRANULE / 64];
	const size_t nwords = sizeof(bits) / sizeof(bits[0]);
	uint64_t n = 0;
	size_t i, k;

	for (i = 0; i < NREGIONS; i++) {
		ssize_t got = guestmem_dirty_take(guest, regions[i].gpa, regions[i].len, bits,
						  nwords);

		check(got >= 0, "take");
		for (k = 0; k < regions[i].len / GRANULE; k++) {
			if (bits[k / 64] >> k % 64 & 1)
				copy(regions[i].gpa + k * GRANULE, GRANULE);
		}
		n += (uint64_t)got;
	}
	return n;
}

int main(void)
{
	pthread_t threads[THREADS];
	size_t i, same;
	char *map;
	int round;

	guest = guestmem_create(WINDOW);
	check(!!guest, "create");
	for (i = 0; i < NREGIONS; i++)
		check(!guestmem_add_anon(guest, regions[i].gpa, regions[i].len, 0, NULL), "add");
	file = memfd_create("snapshot", MFD_CLOEXEC);
	check(file >= 0 && !ftruncate(file, WINDOW), "the file");
	for (i = 0; i < THREADS; i++)
		check(!pthread_create(&threads[i], NULL, writer, NULL), "thread");

	/* From here on, what is written is noted; what was before is in the full copy. */
	check(!guestmem_dirty_start(guest, GRANULE), "start");
	for (i = 0; i < NREGIONS; i++)
		copy(regions[i].gpa, regions[i].len);
	printf("copied all of it\n");
	for (round = 0; round < ROUNDS; round++)
		printf("copied %ju pages that had been written meanwhile\n",
		       (uintmax_t)copy_dirty());

	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("copied the last %ju, with the guest stopped\n", (uintmax_t)copy_dirty());
	check(!copy_dirty(), "written by nobody");
	check(!guestmem_dirty_stop(guest), "stop");

	map = mmap(NULL, WINDOW, PROT_READ, MAP_SHARED, file, 0);
	check(map != MAP_FAILED, "mmap");
	for (i = 0; i < NREGIONS; i++) {
		check(!guestmem_compare(guest, regions[i].gpa, map + regions[i].gpa,
					regions[i].len, &same), "compare");
		if (same != regions[i].len) {
			fprintf(stderr, "differs at 0x%jx\n", (uintmax_t)regions[i].gpa + same);
			return EXIT_FAILURE;
		}
	}
	printf("the snapshot is the same as the guest\n");
	guestmem_close(guest);
	return EXIT_SUCCESS;
}
