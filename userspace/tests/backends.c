// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* The constructors of each backend, and how tests are run on them. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends.h"

bool faults_declined;

struct kind {
	const char *name;
	unsigned int has;
	bool (*make)(struct env *e);
};

/* What callbacks are given. */
struct ops {
	struct guestmem_ops ops;
	unsigned char *mem;		/* what is at BASE */
	uint8_t read_bitmap[256], write_bitmap[256];
};

#define CALLBACKS_LEN	(BASE + SPAN)

void assert_failed_at(const struct env *e, uint64_t offset, uint64_t done)
{
	struct guestmem_error err;

	guestmem_last_error(&err);
	if (!(e->has & F_EXACT)) {
		assert_true(guestmem_last_done() == 0);
		return;
	}
	if (err.addr != at(e, offset) || guestmem_last_done() != done)
		failed("at 0x%llx, %llu done; not at 0x%llx, %llu: %s",
			 (unsigned long long)err.addr,
			 (unsigned long long)guestmem_last_done(),
			 (unsigned long long)at(e, offset), (unsigned long long)done,
			 guestmem_strerror());
}

static unsigned char *map_file(int fd, uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* -------- guestmem_create() ---------------------------------------------- */

static const struct {
	uint64_t first, end;
	uint32_t flags;
} layout[4] = {
	{ 0, SECOND, 0 },
	{ SECOND, READONLY, 0 },
	{ READONLY, HOLE, GUESTMEM_REGION_READONLY },
	{ THIRD, HOLE2, 0 },
};

static bool add_anon(struct env *e, uint32_t flags)
{
	uint64_t offset, len;
	int fd;

	for (int i = 0; i < 4; i++)
		assert_ok(guestmem_add_anon(e->g, BASE + layout[i].first,
					    layout[i].end - layout[i].first,
					    layout[i].flags | flags, &e->id[i]));
	if (flags)
		e->mem = guestmem_ptr(e->g, BASE, SECOND);
	else
		e->mem = mmap(NULL, SPAN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(e->mem && e->mem != MAP_FAILED);
	for (int i = 0; !flags && i < 4; i++) {
		assert_ok(guestmem_backing(e->g, BASE + layout[i].first, &fd, &offset, &len));
		assert_true(mmap(e->mem + layout[i].first, len, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, fd, (off_t)offset) != MAP_FAILED);
	}
	return true;
}

static bool create(struct env *e)
{
	e->g = guestmem_create(0);
	assert_non_null(e->g);
	return true;
}

static bool make_anon(struct env *e)
{
	return create(e) && add_anon(e, 0);
}

static bool make_private(struct env *e)
{
	return create(e) && add_anon(e, GUESTMEM_ANON_PRIVATE);
}

static bool add_file(struct env *e)
{
	int fd = file_of(SPAN + PAGE);

	for (int i = 0; i < 4; i++)
		assert_ok(guestmem_add_file(e->g, BASE + layout[i].first,
					    layout[i].end - layout[i].first, fd,
					    layout[i].first + PAGE, layout[i].flags, &e->id[i]));
	e->mem = map_file(fd, SPAN + PAGE) + PAGE;
	close(fd);
	return true;
}

static bool make_file(struct env *e)
{
	return create(e) && add_file(e);
}

static bool add_user(struct env *e)
{
	e->mem = mmap(NULL, SPAN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(e->mem != MAP_FAILED);
	for (int i = 0; i < 4; i++)
		assert_ok(guestmem_add_user(e->g, BASE + layout[i].first,
					    layout[i].end - layout[i].first,
					    e->mem + layout[i].first, layout[i].flags, &e->id[i]));
	return true;
}

static bool make_user(struct env *e)
{
	return create(e) && add_user(e);
}

/* -------- /dev/guestmem -------------------------------------------------- */

static bool open_device(struct env *e)
{
	e->g = guestmem_open(O_RDWR);
	return e->g;
}

static bool make_device_user(struct env *e)
{
	return open_device(e) && add_user(e);
}

static bool make_device_file(struct env *e)
{
	return open_device(e) && add_file(e);
}

/* -------- Callbacks ------------------------------------------------------ */

/* 0, or what an access there fails with, and where. */
static int refused(uint64_t gpa, uint64_t len, int write)
{
	for (uint64_t i = 0; i < len; i++) {
		uint64_t offset = gpa + i - BASE;
		int k;

		for (k = 0; k < 4; k++) {
			if (offset >= layout[k].first && offset < layout[k].end)
				break;
		}
		if (k == 4)
			return -ENXIO;
		if (write && layout[k].flags)
			return -EACCES;
	}
	return 0;
}

static int op_page_fault(void *ctx, const struct guestmem_fault *fault)
{
	int ret = refused(fault->gpa, 1, fault->write);

	(void)ctx;
	return ret ? ret : -EIO;
}

/* All of a callback is one access to who accesses at the same time. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int op_read(void *ctx, uint64_t gpa, void *buf, size_t len)
{
	struct ops *o = ctx;
	int ret = refused(gpa, len, 0);

	pthread_mutex_lock(&mutex);
	if (!ret)
		memcpy(buf, o->mem + (gpa - BASE), len);
	pthread_mutex_unlock(&mutex);
	return ret;
}

static int op_write(void *ctx, uint64_t gpa, const void *buf, size_t len)
{
	struct ops *o = ctx;
	int ret = refused(gpa, len, 1);

	pthread_mutex_lock(&mutex);
	if (!ret)
		memcpy(o->mem + (gpa - BASE), buf, len);
	pthread_mutex_unlock(&mutex);
	return ret;
}

static int op_fill(void *ctx, uint64_t gpa, uint8_t value, uint64_t len)
{
	struct ops *o = ctx;
	int ret = refused(gpa, len, 1);

	pthread_mutex_lock(&mutex);
	if (!ret)
		memset(o->mem + (gpa - BASE), value, len);
	pthread_mutex_unlock(&mutex);
	return ret;
}

static int op_cmpxchg(void *ctx, uint64_t gpa, void *expected, const void *desired,
		      size_t width)
{
	struct ops *o = ctx;
	int ret = refused(gpa, width, 1);

	if (ret)
		return ret;
	pthread_mutex_lock(&mutex);
	ret = !memcmp(o->mem + (gpa - BASE), expected, width);
	if (ret)
		memcpy(o->mem + (gpa - BASE), desired, width);
	else
		memcpy(expected, o->mem + (gpa - BASE), width);
	pthread_mutex_unlock(&mutex);
	return ret;
}

static int op_lock(void *ctx, const uint64_t *gpns, size_t npages)
{
	(void)ctx;
	(void)gpns;
	(void)npages;
	return 0;
}

static void op_close(void *ctx)
{
	struct ops *o = ctx;

	if (o->ops.mapping)
		munmap(o->ops.mapping, CALLBACKS_LEN);
	free(o);
}

static struct ops *ops_new(struct env *e)
{
	struct ops *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->ops = (struct guestmem_ops){
		.size = sizeof(o->ops),
		.len = CALLBACKS_LEN,
		.lock = op_lock,
		.close = op_close,
	};
	e->ops = o;
	return o;
}

static bool make_plain(struct env *e)
{
	struct ops *o = ops_new(e);

	e->mem = mmap(NULL, SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	o->mem = e->mem;
	o->ops.read = op_read;
	o->ops.write = op_write;
	o->ops.fill = op_fill;
	o->ops.cmpxchg = op_cmpxchg;
	e->g = guestmem_from_ops(&o->ops, o);
	return e->g;
}

static struct ops *ops_mapped(struct env *e, bool all)
{
	struct ops *o = ops_new(e);
	int fd = file_of(SPAN);
	char *p;

	p = mmap(NULL, CALLBACKS_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	assert_true(p != MAP_FAILED);
	for (int i = 0; i < (all ? 1 : 4); i++)
		assert_true(mmap(p + BASE + layout[i].first,
				 all ? SPAN : layout[i].end - layout[i].first,
				 layout[i].flags ? PROT_READ : PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, fd, (off_t)layout[i].first) !=
			    MAP_FAILED);
	e->mem = map_file(fd, SPAN);
	close(fd);
	o->mem = e->mem;
	o->ops.mapping = p;
	o->ops.page_fault = op_page_fault;
	return o;
}

static bool make_mapped(struct env *e)
{
	struct ops *o = ops_mapped(e, false);

	e->g = guestmem_from_ops(&o->ops, o);
	return e->g;
}

/* All is there, and what is denied is so by the bitmaps only. */
static bool make_bitmaps(struct env *e)
{
	struct ops *o = ops_mapped(e, true);
	uint64_t bit;

	o->ops.bitmap_first = 5;
	for (int i = 0; i < 4; i++) {
		for (uint64_t x = layout[i].first; x < layout[i].end; x += PAGE) {
			bit = (BASE + x) / PAGE + o->ops.bitmap_first;
			o->read_bitmap[bit / 8] |= (uint8_t)(1 << bit % 8);
			if (!layout[i].flags)
				o->write_bitmap[bit / 8] |= (uint8_t)(1 << bit % 8);
		}
	}
	o->ops.read_bitmap = o->read_bitmap;
	o->ops.write_bitmap = o->write_bitmap;
	e->g = guestmem_from_ops(&o->ops, o);
	return e->g;
}

/* -------- All of them ---------------------------------------------------- */

#define PROCESS	(F_PROCESS | F_REGIONS | F_EXACT | F_SLICES | F_WINDOW | F_MANAGE | \
		 F_MANAGED | F_LIBRARY)

static const struct kind kinds[] = {
	{ "anon", PROCESS | F_BACKING, make_anon },
	{ "file", PROCESS | F_BACKING, make_file },
	{ "private", PROCESS | F_PRIVATE, make_private },
	{ "user", PROCESS, make_user },
	{ "callbacks without mapping", F_CALLBACKS, make_plain },
	{ "callbacks with mapping", F_CALLBACKS | F_EXACT | F_SLICES | F_WINDOW | F_MANAGED,
	  make_mapped },
	{ "callbacks with bitmaps", F_CALLBACKS | F_EXACT | F_WINDOW | F_MANAGED, make_bitmaps },
	{ "device, user", F_DEVICE | F_REGIONS | F_EXACT | F_SLICES | F_WINDOW | F_MANAGE |
	  F_BACKING | F_LIBRARY, make_device_user },
	{ "device, file", F_DEVICE | F_REGIONS | F_EXACT | F_SLICES | F_WINDOW | F_MANAGE |
	  F_BACKING | F_LIBRARY, make_device_file },
};
#define NR_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

struct one {
	const struct backend_test *test;
	const struct kind *kind;
	bool part;
	char name[120];
};

#define SHIFT	(BASE - 0x1237)

static void run_one(void **state)
{
	const struct one *one = *state;
	struct env e = {
		.kind = one->kind,
		.has = one->kind->has | (one->part ? F_PART : 0),
	};

	/* They are put on top of cmocka's. */
	if (!faults_declined)
		assert_int_equal(guestmem_faults(GUESTMEM_FAULTS_RECOVER), 0);
	assert_true(one->kind->make(&e));
	if (faults_declined && (e.has & F_DEVICE))
		e.has &= ~(F_WINDOW | F_SLICES);
	e.whole = e.g;
	e.len = e.has & F_CALLBACKS ? CALLBACKS_LEN : 0;
	if (one->part) {
		e.shift = SHIFT;
		e.len = CALLBACKS_LEN - SHIFT;
		e.g = guestmem_subrange(e.whole, e.shift, e.len, 0);
		assert_non_null(e.g);
		e.has &= ~F_MANAGE;
	}
	one->test->test(&e);
	if (one->part)
		guestmem_close(e.g);
	guestmem_close(e.whole);
	if (strcmp(one->kind->name, "private") != 0)
		munmap(e.mem, SPAN);
}

static bool device_is_there(void)
{
	return access(GUESTMEM_DEVICE, R_OK | W_OK) == 0;
}

int run_on_backends(const struct backend_test *tests, size_t n)
{
	struct CMUnitTest *all = calloc(n * NR_KINDS * 2, sizeof(*all));
	struct one *ones = calloc(n * NR_KINDS * 2, sizeof(*ones));
	size_t k = 0;
	int ret;

	for (size_t i = 0; all && ones && i < n * NR_KINDS * 2; i++) {
		const struct backend_test *t = &tests[i / (NR_KINDS * 2)];
		const struct kind *kind = &kinds[i / 2 % NR_KINDS];
		bool part = i % 2;
		unsigned int has = part ? (kind->has & ~F_MANAGE) | F_PART : kind->has;

		if ((has & F_DEVICE) && !device_is_there())
			continue;
		if (faults_declined && (has & F_DEVICE))
			has &= ~(F_WINDOW | F_SLICES);
		/* There, what is not there is the caller's crash. */
		if (faults_declined && !strcmp(kind->name, "callbacks with mapping"))
			continue;
		if ((has & t->needs) != t->needs)
			continue;
		ones[k] = (struct one){ .test = t, .kind = kind, .part = part };
		snprintf(ones[k].name, sizeof(ones[k].name), "%s, %s%s%s", t->name, kind->name,
			 part ? ", a part" : "", faults_declined ? ", declined" : "");
		all[k] = (struct CMUnitTest){ ones[k].name, run_one, NULL, NULL, &ones[k] };
		k++;
	}
	ret = _cmocka_run_group_tests("on backends", all, k, NULL, NULL);
	free(all);
	free(ones);
	return ret;
}
