/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * What the files of the library share. Nothing here is seen from outside.
 *
 * A handle (struct guestmem) is a part of a space (struct space); of the whole of it, or
 * of what guestmem_subrange() was asked for. A space has a backend, a window, and a table
 * of its regions. All addresses below the functions of guestmem.h are those of the space.
 *
 * Locks: a backend's, then space.mutex. Neither is taken by accesses and look-ups.
 */
#ifndef LIBGUESTMEM_INTERNAL_H
#define LIBGUESTMEM_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "guestmem.h"

#define GUESTMEM_VERSION_STRING	"0.1.0"

/* Of whatever a handle of a domain is asked that is about memory. */
#define NO_MEMORY	"a domain has no memory: its sessions have"

#define HANDLE_OPEN	0x6d656d67
#define HANDLE_CLOSED	0x64616564

/* The window is one to the CPU's page tables too: huge pages can be huge in it. */
#define WINDOW_ALIGN	((size_t)1 << 30)
#define WINDOW_DEFAULT	((uint64_t)1 << 40)
#define WINDOW_MAX	((uint64_t)1 << 46)

#define SLOT_SHIFT	21
#define MAX_REGIONS	GUESTMEM_REGIONS_	/* of a space of this process */

/* Accesses of the inline functions reach this much behind the address. */
#define FAST_MARGIN	15

struct space;

struct guestmem {
	struct guestmem_fast_ fast;	/* first: guestmem-inline.h knows it */
	uint32_t magic;			/* HANDLE_* */
	uint32_t rights;		/* GUESTMEM_RIGHT_*; never change */
	uint64_t last;			/* its addresses are 0 to this */
	struct space *space;
	struct guestmem *next;		/* handle of the space, or closed one */
};

/* What failed: the first words of the error text, and what its figures are of. */
enum op {
	OP_OPEN,
	OP_FROM_FD,
	OP_CREATE,
	OP_FROM_OPS,
	OP_SUBRANGE,
	OP_FAULTS,
	OP_SYNCHRONIZE,
	OP_FD,
	OP_INFO,
	OP_EVENTFD,
	OP_ADD_USER,
	OP_ADD_FILE,
	OP_ADD_ANON,
	OP_REMOVE,
	OP_REVOKE,
	OP_REGIONS,
	OP_VIEW,
	OP_VIEWS,
	OP_LIMIT,
	OP_DOMAIN,
	OP_DOMAIN_MAP,
	OP_DOMAIN_UNMAP,
	OP_DOMAIN_LIST,
	OP_RECORDS,
	OP_SESSION,
	OP_EXPORT,
	OP_RELEASE,
	OP_MAPPER,
	OP_MAPPER_MAP,
	OP_MAPPER_UNMAP,
	OP_FIND,
	OP_CHECK,
	OP_BACKING,
	OP_POINT,
	OP_SLICE,
	OP_SUBSLICE,
	OP_TRANSLATE,
	OP_LOCK,
	OP_LOCK_PAGES,
	OP_UNLOCK,
	OP_HOLD,
	OP_IOVA,
	OP_READ,
	OP_WRITE,
	OP_FILL,
	OP_COPY,
	OP_COMPARE,
	OP_READ_FROM,
	OP_WRITE_TO,
	OP_LOAD,
	OP_STORE,
	OP_CMPXCHG,
	OP_ATOMIC,
	OP_PAGED,
	OP_DIRTY_START,
	OP_DIRTY_STOP,
	OP_DIRTY,
	OP_MSYNC,
	OP_PREFETCH,
	OP_DROP,
	OP_DISCARD,
	OP_MLOCK,
	OP_MUNLOCK,
	OP_HUGE,
	OP_NUMA,
	OP_FLUSH,
	OP_MAP,
	OP_UNMAP,
	NR_OPS
};

/* A failure: what goes with an errno value. Nothing is formatted until it is asked for. */
struct why {
	const char *text;		/* a constant sentence that replaces errno's; or NULL */
	struct guestmem_error e;
};

/*
 * What a backend does. Functions return 0 (or what is said) or a negative errno value,
 * and then *@why is filled in. A NULL function is EOPNOTSUPP.
 */
struct backend {
	void (*destroy)(struct space *s);

	/*
	 * An access to the window failed, or there is none. GUESTMEM_FAULT_RETRY,
	 * GUESTMEM_FAULT_FALLBACK, or the negative errno value to fail with.
	 */
	int (*fault)(struct space *s, const struct guestmem_fault *fault, struct why *why);
	/* Without the window; *@done grows by what was moved, also on failure. */
	int (*read)(struct space *s, uint64_t gpa, void *buf, size_t len, uint64_t *done,
		    struct why *why);
	int (*write)(struct space *s, uint64_t gpa, const void *buf, size_t len,
		     uint64_t *done, struct why *why);
	int (*fill)(struct space *s, uint64_t gpa, uint8_t value, uint64_t len,
		    uint64_t *done, struct why *why);
	int (*copy)(struct space *s, uint64_t dst, uint64_t src, uint64_t len,
		    uint64_t *done, struct why *why);
	/* @op: GUESTMEM_ATOMIC_*; values low half first. */
	int (*atomic)(struct space *s, uint64_t gpa, uint32_t op, size_t width,
		      const uint64_t operand[2], const uint64_t compare[2],
		      uint64_t old[2], struct why *why);

	int (*info)(struct space *s, struct guestmem_info *info, struct why *why);
	int (*eventfd)(struct space *s, int fd, uint32_t events, struct why *why);
	int (*add)(struct space *s, enum op op, struct guestmem_region_add *arg,
		   struct why *why);
	int (*remove)(struct space *s, struct guestmem_region_remove *arg, struct why *why);
	int (*list)(struct space *s, struct guestmem_region **regions, size_t *n,
		    struct why *why);
	/* All three or none. */
	int (*view_create)(struct space *s, struct guestmem_view_create *arg, struct why *why);
	int (*view_list)(struct space *s, struct guestmem_view **views, size_t *n,
			 struct why *why);
	int (*view_limit)(struct space *s, struct guestmem_view_limit *arg, struct why *why);
	int (*translate)(struct space *s, struct guestmem_translate *arg, struct why *why);
	int (*lock)(struct space *s, struct guestmem_lock *arg, struct why *why);
	int (*unlock)(struct space *s, uint32_t handle, struct why *why);
	/* -EBUSY if DMA locks hold some pages; if @private, some private ones. */
	int (*find_locks)(struct space *s, uint64_t gpa, uint64_t last, bool private,
			  struct why *why);
	/* Fills in @hold->region, which the inline function releases, or @hold->handle. */
	int (*hold)(struct space *s, uint32_t rights, uint64_t gpa, uint64_t len,
		    struct guestmem_hold *hold, struct why *why);
	void (*unhold)(struct space *s, uint32_t handle);
	int (*backing)(struct space *s, uint64_t gpa, int *fd, uint64_t *offset,
		       uint64_t *len, struct why *why);
	int (*iova)(struct space *s, uint64_t gpa, uint64_t len, uint64_t *iova,
		    struct why *why);
};

/* Notes what is written: see dirty.c. */
struct bitmap {
	struct bitmap *next;
	uint64_t *words;		/* the first is log2 of the granule */
	size_t len;			/* of the mapping, in bytes */
};

struct dirty {
	uint64_t *words;		/* atomic: of the bitmap in use; NULL: none */
	struct bitmap *bitmaps;
};

/* What a file of /dev/guestmem is. */
enum file_kind {
	KIND_GUEST,			/* a guest, or a view */
	KIND_DOMAIN,
	KIND_SESSION,			/* its addresses are IOVAs */
};

struct space {
	const struct backend *be;
	void *priv;			/* the backend's */
	unsigned int refs;		/* atomic: handles */
	int fd;				/* of /dev/guestmem, or -1 */
	enum file_kind kind;
	uint32_t rights;

	uint64_t last;			/* addresses are 0 to this */
	char *window;			/* NULL if there is none */
	uint64_t window_len;
	bool owns_window;
	struct space *next_kept;	/* see window.c */
	/*
	 * Every access must be looked at first: by a bitmap, or since faults are declined.
	 * Then the inline functions do not use the window.
	 */
	bool ask_first;
	bool bitmaps;			/* pages are denied and allowed: no slices */

	/* The regions: see table.c. */
	struct guestmem_table *table;	/* NULL if there is none */
	size_t table_len;
	uint64_t *slots;		/* NULL if there are none */
	uint32_t *slot_ids;		/* of the regions */
	struct guestmem_region_ *regions; /* that can be held by the inline function; or NULL */
	uint64_t nslots;
	uint64_t slots_end;		/* from there on, none is in use */
	uint32_t slots_seq;

	pthread_mutex_t mutex;		/* what follows, and filling the slots */
	struct guestmem *handles;
	struct dirty dirty;
};

/* -------- error.c ------------------------------------------------------- */

/*
 * All failures end in one of these: they keep what guestmem_strerror() will need,
 * set errno to @err and return -@err.
 */
int fail(enum op op, int err, const char *text);
int fail_reason(enum op op, int err, const struct guestmem_error *e);
/* Addresses are @g's; NULL: there are none. */
int fail_done(const struct guestmem *g, enum op op, int err, const char *text,
	      const struct guestmem_error *e, uint64_t done);
/* As they come from a backend: @ret is negative, and addresses are the space's. */
int fail_why(const struct guestmem *g, enum op op, int ret, const struct why *why,
	     uint64_t done);

int fail_null(enum op op, const char *what);

/*
 * Around what is done with a mutex held: the log, which may call the library, is told of
 * the last failure in between when that is over.
 */
void log_hold(void);
void log_release(void);

/* The sentence of the calling thread's last failure, if it had one of its own. */
const char *last_text(void);

/* For a range that is checked before a backend sees it. */
int fail_wraps(enum op op, uint64_t gpa, uint64_t len);

/* Fill in @why and return -@err. */
int why_text(struct why *why, int err, const char *text);
int why_reason(struct why *why, int err, uint32_t reason, uint64_t addr, uint64_t need,
	       uint64_t limit);

static inline bool range_wraps(uint64_t start, uint64_t len)
{
	return len && start > UINT64_MAX - (len - 1);
}

/* As the kernel's arrays are counted; what is more than it takes is too many there, too. */
static inline uint32_t to_u32(size_t n)
{
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static inline uint64_t to_u64(const void *ptr)
{
	return (uintptr_t)ptr;
}

/* -------- guest.c: handles and spaces ----------------------------------- */

/*
 * Is it a handle? Returns 0, or after a failure its negative errno value. What may be
 * NULL is the caller's to say, since a handle is among it.
 */
int handle_check(const struct guestmem *g, enum op op);

/*
 * Is it a handle, and all of the range in it? *@abs is where it is in the space. An
 * empty range is in every handle.
 */
int handle_range(const struct guestmem *g, enum op op, uint64_t gpa, uint64_t len,
		 uint64_t *abs);

/* A first handle for a space that is complete; owns it from here on, also on failure. */
struct guestmem *handle_new(struct space *s, enum op op);

/* Another one; NULL: no memory. */
struct guestmem *handle_part(struct guestmem *g, uint64_t abs, uint64_t last, uint32_t rights);

/* A space without anything: be, fd = -1, one reference. NULL: no memory. */
struct space *space_new(const struct backend *be);
void space_put(struct space *s);

/* -------- table.c: the regions, without a lock --------------------------- */

/* -ENODATA if it cannot be told, for who can ask otherwise. @why may be NULL. */
int table_find(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry);
/* The region that has @gpa, or the first one above. */
int table_next(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry);
uint64_t table_generation(struct space *s);

/* For a space whose regions are the library's own. Returns 0 or -ENOMEM. */
int table_create(struct space *s);
/* Nobody else changes it at the same time. @entries are sorted. */
void table_update(struct space *s, const struct guestmem_table_entry *entries, size_t n);
/* The slots, for the window; no memory for them is no failure. */
void slots_create(struct space *s);
void slots_refresh(struct space *s);
void table_destroy(struct space *s);

/* As table_find() and table_next(), and where there is no table by asking the backend. */
int space_find(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry);
int space_next(struct space *s, uint64_t gpa, struct guestmem_table_entry *entry);

/*
 * How much of [@gpa, @gpa + @len) can be accessed with @prot from its start on; -ENXIO
 * or -EACCES if that is nothing. Regions that are adjacent make one.
 */
int space_reach(struct space *s, uint64_t gpa, uint64_t len, int prot, uint64_t *reach,
		struct why *why);

/* -------- atomic.c ------------------------------------------------------- */

/* Values, low half first, and bytes as they are in memory. */
void value_from_bytes(uint64_t value[2], const void *bytes, size_t width);
void value_to_bytes(void *bytes, const uint64_t value[2], size_t width);
/* What a GUESTMEM_ATOMIC_* makes of @old; of CMPXCHG, if it was as expected. */
void value_after(uint32_t op, const uint64_t old[2], const uint64_t operand[2],
		 uint64_t after[2], size_t width);

/* -------- access.c ------------------------------------------------------ */

enum access {
	ACCESS_READ,
	ACCESS_WRITE,
	ACCESS_FILL,
};

/*
 * Read into @buf, write from it, or fill with @value, in the space. *@done tells how
 * much; returns 0 if it was all.
 */
int space_access(struct space *s, enum access access, uint64_t gpa, void *buf, uint64_t len,
		 uint8_t value, uint64_t *done, struct why *why);

/* The part of [@gpa, @gpa + @len) that is in the window; 0 if its start is not. */
static inline uint64_t in_window(const struct space *s, uint64_t gpa, uint64_t len)
{
	if (gpa >= s->window_len)
		return 0;
	return len < s->window_len - gpa ? len : s->window_len - gpa;
}

/*
 * What to do about an access to the window that failed, or that the window does not
 * have: GUESTMEM_FAULT_RETRY, GUESTMEM_FAULT_FALLBACK or a negative errno value.
 * @tries: of retries at one place; there is an end to them.
 */
int space_fault(struct space *s, const struct guestmem_fault *fault, unsigned int *tries,
		struct why *why);

/*
 * Of a space with ask_first: how much of a range in the window may be accessed, from its
 * start on; around the access, enter and leave, so that guestmem_synchronize() waits.
 */
uint64_t space_allow(struct space *s, uint64_t gpa, uint64_t len, bool write);
unsigned int space_enter(struct space *s);
void space_leave(struct space *s, unsigned int idx);

/* Has the handle the rights for the access? Returns 0, or -EACCES after a failure. */
int right_check(const struct guestmem *g, enum op op, uint64_t gpa, int prot);

/* -------- dirty.c ------------------------------------------------------- */

void dirty_mark(struct space *s, uint64_t gpa, uint64_t len);
void dirty_destroy(struct space *s);

/* -------- window.c ------------------------------------------------------ */

/* @len bytes of addresses, aligned to WINDOW_ALIGN; NULL: none to be had. */
char *window_reserve(uint64_t len);
/* Make a part of it what it was when it was reserved. Returns 0 or -errno. */
int window_clear(char *addr, uint64_t len);
/* Its mapping is not inherited: what fork(2) leaves in its place must fault. */
void window_keep_in_child(struct space *s);
void window_forget(struct space *s);

/* -------- domain.c ------------------------------------------------------ */

/* Is it a handle for all of a file of this kind? A part of a session will do. */
int kind_check(const struct guestmem *g, enum op op, enum file_kind kind);

/* -------- The backends --------------------------------------------------- */

/* A handle for a file of /dev/guestmem; owns @fd from here on, also if it fails. */
struct guestmem *device_handle(int fd, enum op op);

/*
 * What only a file of /dev/guestmem does, so that no other backend has a function for it.
 * @e points into @arg, at what the kernel says about a failure, or is NULL.
 */
int device_ioctl(const struct space *s, unsigned long request, void *arg,
		 const struct guestmem_error *e, struct why *why);

extern const struct backend callbacks_backend;

/*
 * A subrange by the callback. Returns 0 if it is to be one of the usual kind; else *@part
 * is what guestmem_subrange() returns.
 */
int callbacks_subrange(struct space *s, uint64_t abs, uint64_t len, uint32_t flags,
		       struct guestmem **part);

#endif /* LIBGUESTMEM_INTERNAL_H */
