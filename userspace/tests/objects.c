// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Objects of 1, 2, 4 and 8 bytes. */
#include "backends.h"

static uint64_t pattern(unsigned int width, unsigned int i)
{
	uint64_t v = 0x0123456789abcdefULL * (2 * i + 1);

	return width == 8 ? v : v & ((1ULL << width * 8) - 1);
}

static int read_object(struct guestmem *g, uint64_t gpa, uint64_t *value, unsigned int width)
{
	uint8_t v8 = 0x77;
	uint16_t v16 = 0x7777;
	uint32_t v32 = 0x77777777;
	int ret;

	switch (width) {
	case 1:
		ret = guestmem_read8(g, gpa, &v8);
		*value = v8;
		break;
	case 2:
		ret = guestmem_read16(g, gpa, &v16);
		*value = v16;
		break;
	case 4:
		ret = guestmem_read32(g, gpa, &v32);
		*value = v32;
		break;
	default:
		*value = 0x7777777777777777;
		ret = guestmem_read64(g, gpa, value);
	}
	return ret;
}

static int write_object(struct guestmem *g, uint64_t gpa, uint64_t value, unsigned int width)
{
	return width == 1 ? guestmem_write8(g, gpa, (uint8_t)value) :
	       width == 2 ? guestmem_write16(g, gpa, (uint16_t)value) :
	       width == 4 ? guestmem_write32(g, gpa, (uint32_t)value) :
			    guestmem_write64(g, gpa, value);
}

static void test_widths(struct env *e)
{
	uint64_t v, told;

	for (unsigned int width = 1; width <= 8; width *= 2) {
		/* Unaligned, across a page and across the regions */
		for (unsigned int i = 0; i < 24; i++) {
			uint64_t x = (i < 12 ? PAGE : SECOND) - 12 + i;

			memset(e->mem + x - 8, 0xee, 24);
			v = pattern(width, i);
			assert_ok(write_object(e->g, at(e, x), v, width));
			told = 0;
			memcpy(&told, e->mem + x, width);
			assert_true(told == v);
			assert_int_equal(e->mem[x - 1], 0xee);
			assert_int_equal(e->mem[x + width], 0xee);
			assert_ok(read_object(e->g, at(e, x), &told, width));
			assert_true(told == v);
		}
	}
}

static void test_byte_orders(struct env *e)
{
	static const unsigned char up[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint64_t v64 = 0;
	uint32_t v32 = 0;
	uint16_t v16 = 0;

	memcpy(e->mem + 3, up, 8);
	assert_ok(guestmem_read_le16(e->g, at(e, 3), &v16));
	assert_int_equal(v16, 0x0201);
	assert_ok(guestmem_read_be16(e->g, at(e, 3), &v16));
	assert_int_equal(v16, 0x0102);
	assert_ok(guestmem_read_le32(e->g, at(e, 3), &v32));
	assert_int_equal(v32, 0x04030201);
	assert_ok(guestmem_read_be32(e->g, at(e, 3), &v32));
	assert_int_equal(v32, 0x01020304);
	assert_ok(guestmem_read_le64(e->g, at(e, 3), &v64));
	assert_true(v64 == 0x0807060504030201);
	assert_ok(guestmem_read_be64(e->g, at(e, 3), &v64));
	assert_true(v64 == 0x0102030405060708);

	assert_ok(guestmem_write_le16(e->g, at(e, 13), 0x0201));
	assert_memory_equal(e->mem + 13, up, 2);
	assert_ok(guestmem_write_be16(e->g, at(e, 13), 0x0102));
	assert_memory_equal(e->mem + 13, up, 2);
	assert_ok(guestmem_write_le32(e->g, at(e, 13), 0x04030201));
	assert_memory_equal(e->mem + 13, up, 4);
	assert_ok(guestmem_write_be32(e->g, at(e, 13), 0x01020304));
	assert_memory_equal(e->mem + 13, up, 4);
	assert_ok(guestmem_write_le64(e->g, at(e, 13), 0x0807060504030201));
	assert_memory_equal(e->mem + 13, up, 8);
	memset(e->mem + 13, 0, 8);
	assert_ok(guestmem_write_be64(e->g, at(e, 13), 0x0102030405060708));
	assert_memory_equal(e->mem + 13, up, 8);
	/* What fails leaves the place for the value as it was. */
	v16 = 7;
	v32 = 7;
	v64 = 7;
	assert_fails(guestmem_read_be16(e->g, at(e, HOLE), &v16), ENXIO);
	assert_fails(guestmem_read_be32(e->g, at(e, HOLE), &v32), ENXIO);
	assert_fails(guestmem_read_le64(e->g, at(e, HOLE), &v64), ENXIO);
	assert_true(v16 == 7 && v32 == 7 && v64 == 7);
	assert_fails(guestmem_write_be64(e->g, at(e, HOLE), 1), ENXIO);
}

static void test_into_hole(struct env *e)
{
	uint64_t told, kept = 0x7777777777777777, v = 0x1122334455667788;

	for (unsigned int width = 1; width <= 8; width *= 2) {
		for (unsigned int before = 0; before < width; before++) {
			assert_fails(read_object(e->g, at(e, HOLE) - before, &told, width), ENXIO);
			assert_failed_at(e, HOLE, before);
			assert_memory_equal(&told, &kept, width);
			memset(e->mem + HOLE2 - 8, 0, 8);
			assert_fails(write_object(e->g, at(e, HOLE2) - before, v, width), ENXIO);
			assert_failed_at(e, HOLE2, before);
			if (e->has & F_EXACT)
				assert_memory_equal(e->mem + HOLE2 - before, &v, before);
			assert_fails(write_object(e->g, at(e, READONLY) - before, v, width),
				     EACCES);
			assert_failed_at(e, READONLY, before);
		}
		assert_fails(write_object(e->g, at(e, READONLY) + 8, v, width), EACCES);
		assert_failed_at(e, READONLY + 8, 0);
		assert_ok(read_object(e->g, at(e, READONLY) + 8, &told, width));
	}
	assert_fails(guestmem_read8(e->g, at(e, 0), NULL), EINVAL);
	assert_fails(guestmem_read16(e->g, at(e, 0), NULL), EINVAL);
	assert_fails(guestmem_read32(e->g, at(e, 0), NULL), EINVAL);
	assert_fails(guestmem_read64(e->g, at(e, 0), NULL), EINVAL);
	assert_fails(guestmem_read64(e->g, UINT64_MAX - 6, &told), EOVERFLOW);
	assert_fails(guestmem_write16(e->g, UINT64_MAX, 0), EOVERFLOW);
}

/* Around the handle's end, where the inline functions must not reach behind it. */
static void test_at_the_end(struct env *e)
{
	uint64_t told, end = THIRD + 0x123;
	struct guestmem *part = guestmem_subrange(e->g, at(e, THIRD), 0x123, 0);

	assert_non_null(part);
	memset(e->mem + THIRD, 0x11, PAGE);
	for (unsigned int width = 1; width <= 8; width *= 2) {
		for (unsigned int left = 0; left < 24; left++) {
			uint64_t gpa = 0x123 - left;

			memset(e->mem + end - 32, 0x11, 64);
			if (left >= width) {
				assert_ok(write_object(part, gpa, pattern(width, left), width));
				assert_ok(read_object(part, gpa, &told, width));
				assert_true(told == pattern(width, left));
			} else {
				assert_fails(write_object(part, gpa, 0, width), ENXIO);
				assert_fails(read_object(part, gpa, &told, width), ENXIO);
			}
			for (unsigned int i = 0; i < 32; i++)
				assert_int_equal(e->mem[end + i], 0x11);
		}
	}
	guestmem_close(part);
}

int main(void)
{
	static const struct backend_test tests[] = {
		B(widths, 0), B(byte_orders, 0), B(into_hole, 0), B(at_the_end, 0),
	};

	return RUN_ON_BACKENDS(tests);
}
