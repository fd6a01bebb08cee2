// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Compare-exchange and the other atomic operations. */
#include <string.h>

#include "internal.h"

static bool width_ok(size_t width)
{
	return width == 1 || width == 2 || width == 4 || width == 8 || width == 16;
}

/* From bytes as they are in memory to the ABI's value, low half first. */
static void load(uint64_t value[2], const void *bytes, size_t width)
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

static void store(void *bytes, const uint64_t value[2], size_t width)
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

static int check(struct guestmem *g, enum op op, uint64_t gpa, size_t width)
{
	if (!g)
		return fail_null(op, "no guest was given");
	if (!width_ok(width))
		return fail(op, EINVAL, "the width is not 1, 2, 4, 8 or 16 bytes");
	if (gpa % width) {
		struct guestmem_error e = {
			.reason = GUESTMEM_REASON_MISALIGNED,
			.addr = gpa,
			.need = width,
		};

		return fail_reason(op, EINVAL, &e);
	}
	return 0;
}

/* Copies, since the kernel's structs are of another type than uint64_t. */
static int do_atomic(struct guestmem *g, enum op op, uint64_t gpa, uint32_t kind,
		     const uint64_t operand[2], const uint64_t compare[2],
		     uint64_t old[2], size_t width)
{
	struct guestmem_atomic arg = {
		.size = sizeof(arg),
		.op = kind,
		.width = (uint32_t)width,
		.gpa = gpa,
		.operand = { operand[0], operand[1] },
		.compare = { compare[0], compare[1] },
	};
	int ret;

	ret = do_ioctl(g, op, GUESTMEM_ATOMIC, &arg, &arg.err);
	old[0] = arg.old[0];
	old[1] = arg.old[1];
	return ret;
}

int guestmem_cmpxchg(struct guestmem *g, uint64_t gpa, void *expected,
		     const void *desired, size_t width)
{
	uint64_t operand[2], compare[2], old[2];
	int ret;

	ret = check(g, OP_CMPXCHG, gpa, width);
	if (ret < 0)
		return ret;
	if (!expected || !desired)
		return fail_null(OP_CMPXCHG, "no expected or no desired value was given");
	load(operand, desired, width);
	load(compare, expected, width);
	ret = do_atomic(g, OP_CMPXCHG, gpa, GUESTMEM_ATOMIC_CMPXCHG, operand, compare,
			old, width);
	if (ret < 0)
		return ret;
	if (old[0] == compare[0] && old[1] == compare[1])
		return 1;
	store(expected, old, width);
	return 0;
}

int guestmem_atomic(struct guestmem *g, uint64_t gpa, uint32_t op,
		    const void *operand, void *old, size_t width)
{
	static const uint64_t none[2];
	uint64_t value[2], before[2];
	int ret;

	ret = check(g, OP_ATOMIC, gpa, width);
	if (ret < 0)
		return ret;
	if (!operand)
		return fail_null(OP_ATOMIC, "no operand was given");
	if (op == GUESTMEM_ATOMIC_CMPXCHG)
		return fail(OP_ATOMIC, EINVAL, "compare-exchange is guestmem_cmpxchg()");
	load(value, operand, width);
	ret = do_atomic(g, OP_ATOMIC, gpa, op, value, none, before, width);
	if (ret == 0 && old)
		store(old, before, width);
	return ret;
}
