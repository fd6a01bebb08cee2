// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Numbers on the command line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tool.h"

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },
		{ "00012", 0, 12 },
		{ "4096", 0, 4096 },
		{ "4k", 0, 4096 },
		{ "4K", 0, 4096 },
		{ "4KiB", 0, 4096 },
		{ "3M", 0, 3 << 20 },
		{ "2g", 0, 2ULL << 30 },
		{ "1T", 0, 1ULL << 40 },
		{ "0x1000", 0, 0x1000 },
		{ "0XfEe00000", 0, 0xfee00000 },
		{ "0x10K", 0, 0x4000 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "0xfffffffffffffc00", 0, UINT64_MAX - 1023 },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "0x10000000000000000", -ERANGE, 0 },
		{ "16777216T", -ERANGE, 0 },
		{ "18014398509481984K", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "0xK", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "1,000", -EINVAL, 0 },
		{ "1KK", -EINVAL, 0 },
		{ "4KB", -EINVAL, 0 },
		{ "1a", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 77;
		int ret = parse_size(cases[i].text, &value);

		if (ret != cases[i].ret || value != (ret ? 77 : cases[i].value))
			fail_msg("\"%s\" gives %d, %llu", cases[i].text, ret,
				 (unsigned long long)value);
	}
}

static void test_format(void **state)
{
	char text[SIZE_TEXT];

	(void)state;
	assert_string_equal(format_size(0, text), "0");
	assert_string_equal(format_size(1023, text), "1023");
	assert_string_equal(format_size(4096, text), "4K");
	assert_string_equal(format_size(4097, text), "4097");
	assert_string_equal(format_size(1536 << 20, text), "1536M");
	assert_string_equal(format_size(1ULL << 40, text), "1T");
	assert_string_equal(format_size(1ULL << 63, text), "8388608T");
	assert_string_equal(format_size(UINT64_MAX, text), "18446744073709551615");
}

static void test_round_trip(void **state)
{
	char text[SIZE_TEXT];
	uint64_t v = 1, back;

	(void)state;
	for (int i = 0; i < 1000; i++, v = v * 6364136223846793005ULL + 1442695040888963407ULL) {
		uint64_t x = v << (i % 64);

		assert_int_equal(parse_size(format_size(x, text), &back), 0);
		assert_true(back == x);
	}
}

static void test_hex(void **state)
{
	unsigned char bytes[8];
	size_t n;

	(void)state;
	assert_int_equal(parse_hex_bytes("deadBEEF", bytes, &n), 0);
	assert_int_equal(n, 4);
	assert_memory_equal(bytes, "\xde\xad\xbe\xef", 4);
	assert_int_equal(parse_hex_bytes(" 00 0102 ", bytes, &n), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(bytes, "\0\1\2", 3);
	assert_int_equal(parse_hex_bytes("", bytes, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(parse_hex_bytes("0", bytes, &n), -EINVAL);
	assert_int_equal(parse_hex_bytes("0g", bytes, &n), -EINVAL);
	assert_int_equal(parse_hex_bytes("0 1", bytes, &n), -EINVAL);
	assert_int_equal(parse_hex_bytes("0x01", bytes, &n), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
