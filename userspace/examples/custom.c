// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Backends of one's own. One gets its pages when they are first touched (as when a guest
 * is restored, and goes on before all of it is there). The other has plain memory below,
 * and above it what only callbacks can reach.
 */
#include <errno.h>
#include <guestmem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	4096UL
#define NPAGES	256UL
#define LOST	200UL		/* a page that cannot be had */

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, guestmem_strerror());
		exit(EXIT_FAILURE);
	}
}

/* -------- Pages on demand: RETRY ----------------------------------------- */

struct lazy {
	pthread_mutex_t mutex;
	char *mapping;		/* PROT_NONE where a page has not come yet */
	int file;		/* what is mapped there */
	char here[NPAGES];
	unsigned int fetched;
};

/* The page must be complete before anybody can see it: it is filled in by its file. */
static int fetch(void *ctx, const struct guestmem_fault *fault)
{
	uint64_t page = fault->gpa / PAGE, word[PAGE / 8], i;
	struct lazy *l = ctx;
	int ret = GUESTMEM_FAULT_RETRY;

	if (page == LOST)
		return -EIO;	/* which the access fails with */
	for (i = 0; i < PAGE / 8; i++)
		word[i] = page;	/* from a disk, or over the network */
	pthread_mutex_lock(&l->mutex);
	if (!l->here[page]) {	/* or else another thread was faster */
		if (pwrite(l->file, word, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE ||
		    mprotect(l->mapping + page * PAGE, PAGE, PROT_READ | PROT_WRITE))
			ret = -errno;
		else
			l->here[page] = 1;
		l->fetched++;
	}
	pthread_mutex_unlock(&l->mutex);
	return ret;
}

static void *reader(void *arg)
{
	uint64_t page, value;

	for (page = 0; page < LOST; page++) {
		check(!guestmem_read64(arg, page * PAGE + 8, &value), "read");
		check(value == page, "another page's bytes");
	}
	return NULL;
}

static void on_demand(void)
{
	static struct lazy l = { .mutex = PTHREAD_MUTEX_INITIALIZER };
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = NPAGES * PAGE,
		.page_fault = fetch,
	};
	pthread_t threads[2];
	struct guestmem *g;
	char buf[2 * PAGE];

	l.file = memfd_create("pages", MFD_CLOEXEC);
	check(l.file >= 0 && !ftruncate(l.file, NPAGES * PAGE), "file");
	l.mapping = mmap(NULL, NPAGES * PAGE, PROT_NONE, MAP_SHARED, l.file, 0);
	check(l.mapping != MAP_FAILED, "mmap");
	ops.mapping = l.mapping;
	g = guestmem_from_ops(&ops, &l);
	check(g && !pthread_create(&threads[0], NULL, reader, g) &&
	      !pthread_create(&threads[1], NULL, reader, g), "threads");
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	check(l.fetched == LOST, "a page was fetched twice, or not");

	/* The page before it comes, and is done; then it fails. */
	check(guestmem_read(g, (LOST - 1) * PAGE + 1, buf, sizeof(buf)) == -EIO &&
	      guestmem_last_done() == PAGE - 1, "the lost page was read");
	printf("on demand: %u pages were fetched, once each; then: %s\n", l.fetched,
	       guestmem_strerror());
	guestmem_close(g);
}

/* -------- Memory, and something else: FALLBACK --------------------------- */

/* Stands for what is no memory: a compressed store, another machine, device registers. */
static char store[NPAGES * PAGE];

static int fall_back(void *ctx, const struct guestmem_fault *fault)
{
	(void)ctx;
	(void)fault;
	return GUESTMEM_FAULT_FALLBACK;
}

/* From the byte on that the mapping did not have. */
static int store_read(void *ctx, uint64_t gpa, void *buf, size_t len)
{
	++*(unsigned int *)ctx;
	memcpy(buf, store + gpa, len);
	return 0;
}

static int store_write(void *ctx, uint64_t gpa, const void *buf, size_t len)
{
	++*(unsigned int *)ctx;
	memcpy(store + gpa, buf, len);
	return 0;
}

static void fallback(void)
{
	const uint64_t border = NPAGES / 2 * PAGE;
	char *map = mmap(NULL, NPAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guestmem_ops ops = {
		.size = sizeof(ops),
		.len = NPAGES * PAGE,
		.mapping = map,
		.page_fault = fall_back,
		.read = store_read,
		.write = store_write,
	};
	unsigned int calls = 0;
	struct guestmem *g;
	char text[11] = "";

	check(map != MAP_FAILED && !mprotect(map, border, PROT_READ | PROT_WRITE), "mmap");
	g = guestmem_from_ops(&ops, &calls);
	check(g && !guestmem_write(g, 0, "plain", 5) && !calls, "the memory's part");
	check(!guestmem_write(g, border - 5, "both sides", 10) &&
	      !guestmem_read(g, border - 5, text, 10), "both parts");
	check(!strcmp(text, "both sides") && !memcmp(map + border - 5, "both ", 5) &&
	      !memcmp(store + border, "sides", 5) && calls == 2, "not where it belongs");
	printf("fallback: 5 bytes are in memory, 5 went by callbacks\n");
	guestmem_close(g);
}

int main(void)
{
	on_demand();
	fallback();
	return EXIT_SUCCESS;
}
