// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Ranges of addresses to put guests into.
 *
 * A window is never given back while there is a handle: what is not mapped in it must
 * fault, and not be somebody else's memory. That holds in a child of fork(2), too, which
 * does not inherit mappings of /dev/guestmem: there, they are made a reservation again
 * before anything else can be mapped, and every access asks the kernel.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

#define RESERVED	(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct space *kept;

char *window_reserve(uint64_t len)
{
	char *p, *q;

	p = mmap(NULL, len + WINDOW_ALIGN, PROT_NONE, RESERVED, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	q = (char *)(((uintptr_t)p + WINDOW_ALIGN - 1) & ~(WINDOW_ALIGN - 1));
	if (q > p)
		munmap(p, (size_t)(q - p));
	if (q < p + WINDOW_ALIGN)
		munmap(q + len, WINDOW_ALIGN - (size_t)(q - p));
	return q;
}

int window_clear(char *addr, uint64_t len)
{
	if (mmap(addr, len, PROT_NONE, RESERVED | MAP_FIXED, -1, 0) != MAP_FAILED)
		return 0;
	/* Out of mappings, or of what may be locked: at least it cannot be reached. */
	return mprotect(addr, len, PROT_NONE) < 0 ? -errno : 0;
}

static void before_fork(void)
{
	pthread_mutex_lock(&mutex);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&mutex);
}

/* There is one thread, and nothing has been mapped since. */
static void in_child(void)
{
	struct guestmem *g;
	struct space *s;

	for (s = kept; s; s = s->next_kept) {
		if (window_clear(s->window, s->window_len) < 0 ||
		    (s->table && mmap(s->table, s->table_len, PROT_READ, RESERVED | MAP_FIXED,
				      -1, 0) == MAP_FAILED))
			abort();
		/* All zero, the table is none; and what is not in the window is asked for. */
		for (g = s->handles; g; g = g->next) {
			g->fast.read_limit = 0;
			g->fast.write_limit = 0;
			g->fast.nslots = 0;
		}
		s->window = NULL;
		s->window_len = 0;
	}
	kept = NULL;
	pthread_mutex_unlock(&mutex);
}

static void hear_of_forks(void)
{
	pthread_atfork(before_fork, after_fork, in_child);
}

void window_keep_in_child(struct space *s)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, hear_of_forks);
	pthread_mutex_lock(&mutex);
	s->next_kept = kept;
	kept = s;
	pthread_mutex_unlock(&mutex);
}

void window_forget(struct space *s)
{
	struct space **link;

	pthread_mutex_lock(&mutex);
	for (link = &kept; *link; link = &(*link)->next_kept) {
		if (*link == s) {
			*link = s->next_kept;
			break;
		}
	}
	pthread_mutex_unlock(&mutex);
}
