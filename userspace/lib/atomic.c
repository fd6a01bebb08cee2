// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Atomic operations.
 *
 * In the window, they are instructions of this CPU on the memory itself, so they are
 * atomic to everything that accesses it. Read-modify-writes are made of one primitive,
 * compare-exchange. Where the window fails, the backend is asked, as for other accesses.
 */
#include <string.h>

#include "internal.h"
#include "recover.h"

static bool width_ok(size_t width)
{
	return width == 1 || width == 2 || width == 4 || width == 8 || width == 16;
}

/* From bytes as they are in memory to a value, low half first. */
void value_from_bytes(uint64_t value[2], const void *bytes, size_t width)
{
	uint8_t v1;
	uint16_t v2;
	uint32_t v4;

	value[0] = 0;
	value[1] = 0;
	switch (width) {
	case 1:
		memcpy(&v1, bytes, sizeof(v1));
		value[0] = v1;
		break;
	case 2:
		memcpy(&v2, bytes, sizeof(v2));
		value[0] = v2;
		break;
	case 4:
		memcpy(&v4, bytes, sizeof(v4));
		value[0] = v4;
		break;
	case 8:
		memcpy(&value[0], bytes, sizeof(value[0]));
		break;
	case 16:
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		memcpy(&value[1], bytes, sizeof(value[1]));
		memcpy(&value[0], (const char *)bytes + 8, sizeof(value[0]));
#else
		memcpy(value, bytes, 16);
#endif
		break;
	}
}

void value_to_bytes(void *bytes, const uint64_t value[2], size_t width)
{
	uint8_t v1 = (uint8_t)value[0];
	uint16_t v2 = (uint16_t)value[0];
	uint32_t v4 = (uint32_t)value[0];

	switch (width) {
	case 1:
		memcpy(bytes, &v1, sizeof(v1));
		break;
	case 2:
		memcpy(bytes, &v2, sizeof(v2));
		break;
	case 4:
		memcpy(bytes, &v4, sizeof(v4));
		break;
	case 8:
		memcpy(bytes, &value[0], sizeof(value[0]));
		break;
	case 16:
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		memcpy(bytes, &value[1], sizeof(value[1]));
		memcpy((char *)bytes + 8, &value[0], sizeof(value[0]));
#else
		memcpy(bytes, value, 16);
#endif
		break;
	}
}

static bool load(const void *ptr, uint64_t value[2], size_t width)
{
	uint8_t v1 = 0;
	uint16_t v2 = 0;
	uint32_t v4 = 0;
	bool ok = false;

	value[1] = 0;
	switch (width) {
	case 1:
		ok = try_load8(ptr, &v1);
		value[0] = v1;
		break;
	case 2:
		ok = try_load16(ptr, &v2);
		value[0] = v2;
		break;
	case 4:
		ok = try_load32(ptr, &v4);
		value[0] = v4;
		break;
	case 8:
		ok = try_load64(ptr, &value[0]);
		break;
	case 16:
		/* Two loads: whether they belong together, the compare-exchange will see. */
		ok = try_load64(ptr, &value[0]) &&
		     try_load64((const char *)ptr + 8, &value[1]);
		break;
	}
	return ok;
}

static bool store(void *ptr, uint64_t value, size_t width)
{
	switch (width) {
	case 1:
		return try_store8(ptr, (uint8_t)value);
	case 2:
		return try_store16(ptr, (uint16_t)value);
	case 4:
		return try_store32(ptr, (uint32_t)value);
	default:
		return try_store64(ptr, value);
	}
}

/* @old is what is expected, and then what was there. */
static bool cmpxchg(void *ptr, uint64_t old[2], const uint64_t desired[2], size_t width)
{
	uint8_t v1 = (uint8_t)old[0];
	uint16_t v2 = (uint16_t)old[0];
	uint32_t v4 = (uint32_t)old[0];
	bool ok = false;

	switch (width) {
	case 1:
		ok = try_cmpxchg8(ptr, &v1, (uint8_t)desired[0]);
		old[0] = v1;
		break;
	case 2:
		ok = try_cmpxchg16(ptr, &v2, (uint16_t)desired[0]);
		old[0] = v2;
		break;
	case 4:
		ok = try_cmpxchg32(ptr, &v4, (uint32_t)desired[0]);
		old[0] = v4;
		break;
	case 8:
		ok = try_cmpxchg64(ptr, &old[0], desired[0]);
		break;
	case 16:
		ok = try_cmpxchg128(ptr, old, desired);
		break;
	}
	return ok;
}

static uint64_t mask_of(size_t width)
{
	return width >= 8 ? UINT64_MAX : ((uint64_t)1 << width * 8) - 1;
}

/* What becomes of @old. */
void value_after(uint32_t op, const uint64_t old[2], const uint64_t operand[2],
		 uint64_t new[2], size_t width)
{
	switch (op) {
	case GUESTMEM_ATOMIC_ADD:
		new[0] = (old[0] + operand[0]) & mask_of(width);
		new[1] = width == 16 ? old[1] + operand[1] + (new[0] < old[0]) : 0;
		break;
	case GUESTMEM_ATOMIC_AND:
		new[0] = old[0] & operand[0];
		new[1] = old[1] & operand[1];
		break;
	case GUESTMEM_ATOMIC_OR:
		new[0] = old[0] | operand[0];
		new[1] = old[1] | operand[1];
		break;
	case GUESTMEM_ATOMIC_XOR:
		new[0] = old[0] ^ operand[0];
		new[1] = old[1] ^ operand[1];
		break;
	default:
		new[0] = operand[0];
		new[1] = operand[1];
		break;
	}
}

/* One read-modify-write in the window; false if it faulted. */
static bool modify(void *ptr, uint32_t op, const uint64_t operand[2],
		   const uint64_t compare[2], uint64_t old[2], size_t width)
{
	uint64_t seen[2], new[2];

	if (op == GUESTMEM_ATOMIC_CMPXCHG) {
		memcpy(old, compare, 16);
		return cmpxchg(ptr, old, operand, width);
	}
	if (!load(ptr, old, width))
		return false;
	do {
		memcpy(seen, old, 16);
		value_after(op, seen, operand, new, width);
		if (!cmpxchg(ptr, old, new, width))
			return false;
	} while (old[0] != seen[0] || old[1] != seen[1]);
	return true;
}

static int check(struct guestmem *g, enum op op, uint64_t gpa, size_t width, int prot,
		 uint64_t *abs)
{
	int ret = handle_check(g, op);

	if (ret < 0)
		return ret;
	if (!width_ok(width))
		return fail(op, EINVAL, "the width is not 1, 2, 4, 8 or 16 bytes");
	/* It is the memory that must be aligned; of a part, that may be another address. */
	if ((gpa + g->fast.offset) % width) {
		struct guestmem_error e = {
			.reason = GUESTMEM_REASON_MISALIGNED,
			.addr = gpa,
			.need = width,
		};

		return fail_reason(op, EINVAL, &e);
	}
	ret = handle_range(g, op, gpa, width, abs);
	return ret < 0 ? ret : right_check(g, op, gpa, prot);
}

/* Whether the window has it, and it may be used. */
static bool usable(struct space *s, uint64_t abs, size_t width, int prot, bool *denied)
{
	*denied = false;
	if (in_window(s, abs, width) < width)
		return false;
	if (!s->ask_first)
		return true;
	*denied = ((prot & PROT_READ) && space_allow(s, abs, width, false) < width) ||
		  ((prot & PROT_WRITE) && space_allow(s, abs, width, true) < width);
	return !*denied;
}

#define DONE	2	/* no GUESTMEM_FAULT_* */

/*
 * One try in the window: DONE, or what space_fault() says. @op is GUESTMEM_ATOMIC_*, or
 * 0 for a load or (with PROT_WRITE) a store of @operand.
 */
static int try_window(struct space *s, uint64_t abs, uint32_t op, const uint64_t operand[2],
		      const uint64_t compare[2], uint64_t old[2], size_t width, int prot,
		      unsigned int *tries, struct why *why)
{
	struct guestmem_fault fault = {
		.gpa = abs,
		.len = width,
		.write = !!(prot & PROT_WRITE),
	};
	unsigned int idx = s->ask_first ? space_enter(s) : 0;
	void *ptr = s->window + abs;
	bool denied, ok = false;

	if (usable(s, abs, width, prot, &denied)) {
		if (op)
			ok = modify(ptr, op, operand, compare, old, width);
		else if (prot & PROT_WRITE)
			ok = store(ptr, operand[0], width);
		else
			ok = load(ptr, old, width);
		if (!ok)
			fault.signal = last_fault.signo;
		else if (prot & PROT_WRITE)
			dirty_mark(s, abs, width);
	}
	fault.denied = denied;
	if (s->ask_first)
		space_leave(s, idx);
	return ok ? DONE : space_fault(s, &fault, tries, why);
}

static int fall_back(struct space *s, uint64_t abs, uint32_t op, const uint64_t operand[2],
		     const uint64_t compare[2], uint64_t old[2], size_t width, int prot,
		     struct why *why)
{
	uint64_t done = 0;
	char bytes[16];
	int ret;

	if (op) {
		if (!s->be->atomic)
			return why_text(why, EOPNOTSUPP, "there is nothing to do it with");
		ret = s->be->atomic(s, abs, op, width, operand, compare, old, why);
	} else if (prot & PROT_WRITE) {
		value_to_bytes(bytes, operand, width);
		ret = s->be->write(s, abs, bytes, width, &done, why);
	} else {
		ret = s->be->read(s, abs, bytes, width, &done, why);
		if (!ret)
			value_from_bytes(old, bytes, width);
	}
	if (!ret && (prot & PROT_WRITE))
		dirty_mark(s, abs, width);
	return ret;
}

static int run(struct guestmem *g, enum op what, uint64_t gpa, uint32_t op,
	       const uint64_t operand[2], const uint64_t compare[2], uint64_t old[2],
	       size_t width, int prot)
{
	unsigned int tries = 0;
	struct why why = { 0 };
	uint64_t abs = 0;
	int ret;

	ret = check(g, what, gpa, width, prot, &abs);
	if (ret < 0)
		return ret;
	if (width == 16 && !has_cmpxchg128())
		return fail(what, EOPNOTSUPP, "this CPU has no atomic operation on 16 bytes");
	do {
		ret = try_window(g->space, abs, op, operand, compare, old, width, prot, &tries,
				 &why);
	} while (ret == GUESTMEM_FAULT_RETRY);
	if (ret == DONE)
		return 0;
	if (ret == GUESTMEM_FAULT_FALLBACK)
		ret = fall_back(g->space, abs, op, operand, compare, old, width, prot, &why);
	return ret < 0 ? fail_why(g, what, ret, &why, 0) : 0;
}

static const uint64_t none[2];

int guestmem_cmpxchg(struct guestmem *g, uint64_t gpa, void *expected,
		     const void *desired, size_t width)
{
	uint64_t operand[2], compare[2], old[2] = { 0 };
	int ret = handle_check(g, OP_CMPXCHG);

	if (ret < 0)
		return ret;
	if (!expected || !desired)
		return fail_null(OP_CMPXCHG, "no expected or no desired value was given");
	value_from_bytes(operand, desired, width);
	value_from_bytes(compare, expected, width);
	ret = run(g, OP_CMPXCHG, gpa, GUESTMEM_ATOMIC_CMPXCHG, operand, compare, old, width,
		  PROT_READ | PROT_WRITE);
	if (ret < 0)
		return ret;
	if (old[0] == compare[0] && old[1] == compare[1])
		return 1;
	value_to_bytes(expected, old, width);
	return 0;
}

int guestmem_atomic(struct guestmem *g, uint64_t gpa, uint32_t op,
		    const void *operand, void *old, size_t width)
{
	uint64_t value[2], before[2] = { 0 };
	int ret = handle_check(g, OP_ATOMIC);

	if (ret < 0)
		return ret;
	if (!operand)
		return fail_null(OP_ATOMIC, "no operand was given");
	if (op == GUESTMEM_ATOMIC_CMPXCHG)
		return fail(OP_ATOMIC, EINVAL, "compare-exchange is guestmem_cmpxchg()");
	if (op < GUESTMEM_ATOMIC_CMPXCHG || op > GUESTMEM_ATOMIC_XOR)
		return fail(OP_ATOMIC, EOPNOTSUPP, "there is no such operation");
	value_from_bytes(value, operand, width);
	ret = run(g, OP_ATOMIC, gpa, op, value, none, before, width, PROT_READ | PROT_WRITE);
	if (ret == 0 && old)
		value_to_bytes(old, before, width);
	return ret;
}

int guestmem_load(struct guestmem *g, uint64_t gpa, void *value, size_t width, int order)
{
	uint64_t got[2] = { 0 };
	int ret = handle_check(g, OP_LOAD);

	if (ret < 0)
		return ret;
	if (!value)
		return fail_null(OP_LOAD, "no place for the value was given");
	if (width > 8)
		return fail(OP_LOAD, EINVAL, "the width is not 1, 2, 4 or 8 bytes");
	if (order != __ATOMIC_RELAXED && order != __ATOMIC_ACQUIRE && order != __ATOMIC_SEQ_CST)
		return fail(OP_LOAD, EINVAL, "the order is none of a load");
	if (order == __ATOMIC_SEQ_CST)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ret = run(g, OP_LOAD, gpa, 0, none, none, got, width, PROT_READ);
	if (ret < 0)
		return ret;
	if (order != __ATOMIC_RELAXED)
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	value_to_bytes(value, got, width);
	return 0;
}

int guestmem_store(struct guestmem *g, uint64_t gpa, const void *value, size_t width,
		   int order)
{
	uint64_t give[2], old[2] = { 0 };
	int ret = handle_check(g, OP_STORE);

	if (ret < 0)
		return ret;
	if (!value)
		return fail_null(OP_STORE, "no value was given");
	if (width > 8)
		return fail(OP_STORE, EINVAL, "the width is not 1, 2, 4 or 8 bytes");
	if (order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE && order != __ATOMIC_SEQ_CST)
		return fail(OP_STORE, EINVAL, "the order is none of a store");
	value_from_bytes(give, value, width);
	if (order != __ATOMIC_RELAXED)
		__atomic_thread_fence(__ATOMIC_RELEASE);
	ret = run(g, OP_STORE, gpa, 0, give, none, old, width, PROT_WRITE);
	if (ret < 0)
		return ret;
	if (order == __ATOMIC_SEQ_CST)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return 0;
}
