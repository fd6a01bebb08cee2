// SPDX-License-Identifier: GPL-2.0-only
/* Guests of libguestmem: regions set up and accessed as told, against an array of pages. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guestmem.h"

#define PAGE	4096ULL
#define PAGES	1024ULL		/* two of what one word of the look-up is for */
#define SIZE	(PAGES * PAGE)

static struct guestmem *g;
static unsigned char memory[SIZE];
static struct {
	uint32_t id;		/* 0: a hole */
	bool readonly;
} page[PAGES];

static void must(bool good)
{
	if (!good)
		abort();
}

struct command {
	uint8_t what;
	uint8_t how;
	uint16_t at;
	uint16_t len;
	uint16_t value;
};

/* Small numbers mostly, as all of them would hardly ever meet. */
static uint64_t wide(uint16_t v, uint8_t how)
{
	switch (how & 3) {
	case 0:
		return (uint64_t)v % PAGES * PAGE;
	case 1:
		return v;
	case 2:		/* before the end of the guest, or of all there is */
		return (v & 1 ? SIZE : UINT64_MAX) - v / 2;
	default:
		return (uint64_t)v << (how >> 2);
	}
}

static int expected_of_add(uint64_t gpa, uint64_t len, uint32_t flags)
{
	if (flags & ~(GUESTMEM_REGION_READONLY | GUESTMEM_ANON_PRIVATE))
		return -EOPNOTSUPP;
	if (!len || gpa % PAGE || len % PAGE || len > GUESTMEM_REGION_MAX_LEN)
		return -EINVAL;
	if (gpa + (len - 1) < gpa || gpa + (len - 1) >= SIZE)
		return -EOVERFLOW;
	for (uint64_t p = gpa / PAGE; p <= (gpa + (len - 1)) / PAGE; p++) {
		if (page[p].id)
			return -EEXIST;
	}
	return 0;
}

static void add(uint64_t gpa, uint64_t len, uint32_t flags)
{
	int expected = expected_of_add(gpa, len, flags);
	uint32_t id = 0;

	must(guestmem_add_anon(g, gpa, len, flags, &id) == expected);
	if (expected)
		return;
	must(id);
	memset(memory + gpa, 0, len);
	for (uint64_t p = gpa / PAGE; p < (gpa + len) / PAGE; p++) {
		page[p].id = id;
		page[p].readonly = flags & GUESTMEM_REGION_READONLY;
	}
}

static void drop(uint32_t id, bool force)
{
	bool found = false;

	for (uint64_t p = 0; p < PAGES; p++) {
		if (id && page[p].id == id) {
			page[p].id = 0;
			found = true;
		}
	}
	must((force ? guestmem_revoke(g, id, 0, NULL) : guestmem_remove(g, id)) ==
	     (found ? 0 : -ENOENT));
}

static uint64_t reach(uint64_t gpa, uint64_t len, bool write, int *ret)
{
	uint64_t n = 0;

	*ret = 0;
	while (n < len) {
		uint64_t p = (gpa + n) / PAGE;

		if (p >= PAGES || !page[p].id)
			*ret = -ENXIO;
		else if (write && page[p].readonly)
			*ret = -EACCES;
		if (*ret)
			return n;
		n += PAGE - (gpa + n) % PAGE;
	}
	return len;
}

static void check(int got, int ret, uint64_t gpa, uint64_t done)
{
	struct guestmem_error e;

	must(got == ret);
	if (!ret)
		return;
	guestmem_last_error(&e);
	must(e.addr == gpa + done && guestmem_last_done() == done);
}

static void access_memory(uint64_t gpa, uint64_t len, uint8_t how, uint8_t value)
{
	static unsigned char buf[65536];
	struct guestmem_table_entry e;
	struct iovec slice;
	bool write = how & 1;
	uint64_t done;
	int ret;

	if (len && gpa + (len - 1) < gpa) {
		must(guestmem_read(g, gpa, buf, len) == -EOVERFLOW);
		must(guestmem_fill(g, gpa, len, value) == -EOVERFLOW);
		return;
	}
	done = reach(gpa, len, write, &ret);
	switch (how >> 1 & 7) {
	case 0:
	case 1:
		if (write) {
			memset(buf, value, len);
			check(guestmem_write(g, gpa, buf, len), ret, gpa, done);
			if (done)
				memset(memory + gpa, value, done);
		} else {
			check(guestmem_read(g, gpa, buf, len), ret, gpa, done);
			must(!done || !memcmp(buf, memory + gpa, done));
		}
		break;
	case 2:
		done = reach(gpa, len, true, &ret);
		check(guestmem_fill(g, gpa, len, value), ret, gpa, done);
		if (done)
			memset(memory + gpa, value, done);
		break;
	case 3:
		must(guestmem_check(g, gpa, len, write ? PROT_WRITE : PROT_READ) == ret);
		break;
	case 4:
		ret = guestmem_find(g, gpa, &e);
		must(!ret == (gpa < SIZE && page[gpa / PAGE].id));
		must(ret || (e.id == page[gpa / PAGE].id && gpa - e.gpa < e.len &&
			     e.gpa + e.len <= SIZE && page[(e.gpa + e.len - 1) / PAGE].id == e.id));
		break;
	case 5:
		must(!!guestmem_ptr(g, gpa, len) ==
		     (gpa < SIZE && page[gpa / PAGE].id && len <= SIZE - gpa &&
		      (!len || page[(gpa + len - 1) / PAGE].id == page[gpa / PAGE].id)));
		break;
	case 6:
		must(guestmem_slice(g, gpa, len, PROT_READ, &slice) ==
		     (reach(gpa, len, false, &ret), ret));
		must(ret || !len || !memcmp(slice.iov_base, memory + gpa, len));
		break;
	default:
		must(guestmem_read8(g, gpa, buf) == (reach(gpa, 1, false, &ret), ret));
		must(ret || buf[0] == memory[gpa]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command c;

	if (!g)
		g = guestmem_create(SIZE);
	must(g);
	for (; size >= sizeof(c); data += sizeof(c), size -= sizeof(c)) {
		memcpy(&c, data, sizeof(c));
		switch (c.what % 8) {
		case 0:
			add(wide(c.at, c.how), wide(c.len, c.how >> 1), c.value & 1);
			break;
		case 1:
			/* Without a file, which would take the most of the time */
			add((uint64_t)c.at % PAGES * PAGE, (uint64_t)c.len % 600 * PAGE,
			    (c.value & 1) | (c.value & 6 ? GUESTMEM_ANON_PRIVATE : 0) |
			    (c.value == 8 ? 1U << 9 : 0));
			break;
		case 2:
			drop(c.value & 7 ? page[c.at % PAGES].id : c.len, c.how & 1);
			break;
		default:
			access_memory(c.what & 8 ? wide(c.at, c.how) : (uint64_t)c.at * 61 % SIZE,
				      c.len, c.value >> 8, (uint8_t)c.value);
		}
	}
	for (uint64_t p = 0; p < PAGES; p++) {
		if (page[p].id)
			drop(page[p].id, false);
	}
	return 0;
}
