// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* The hexdump is that of xxd(1), byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tool.h"

static char *dump(const unsigned char *bytes, size_t n, size_t piece, uint64_t address)
{
	struct hexdump hex;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	hexdump_start(&hex, f, address);
	for (size_t done = 0; done < n; done += piece)
		hexdump_put(&hex, bytes + done, n - done < piece ? n - done : piece);
	hexdump_end(&hex);
	fclose(f);
	return text;
}

static char *xxd(const unsigned char *bytes, size_t n, uint64_t address)
{
	char path[] = "/tmp/guestmem-xxd-XXXXXX", command[128];
	int fd = mkstemp(path);
	static char text[4096];
	size_t got;
	FILE *p;

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		fail();
	close(fd);
	snprintf(command, sizeof(command), "xxd -o 0x%llx %s", (unsigned long long)address,
		 path);
	p = popen(command, "r");
	got = p ? fread(text, 1, sizeof(text) - 1, p) : 0;
	text[got] = '\0';
	if (!p || pclose(p) != 0)
		fail();
	unlink(path);
	return text;
}

static void test_as_xxd(void **state)
{
	static const uint64_t addresses[] = {
		0, 1, 0xfff8, 0xfffffff0, 0x100000000, 0x123456789abc,
	};
	unsigned char bytes[300];

	(void)state;
	if (system("command -v xxd >/dev/null") != 0)
		skip();
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 37);
	for (size_t n = 1; n <= sizeof(bytes); n = n < 34 ? n + 1 : n + 77) {
		uint64_t address = addresses[n % ARRAY_SIZE(addresses)];
		char *theirs = xxd(bytes, n, address);
		char *ours = dump(bytes, n, n % 7 + 1, address);

		assert_string_equal(ours, theirs);
		free(ours);
	}
}

static void test_layout(void **state)
{
	char *text = dump((const unsigned char *)"guest\0\xff", 7, 3, 0xfee00000);

	(void)state;
	assert_string_equal(text,
		"fee00000: 6775 6573 7400 ff                        guest..\n");
	free(text);
	text = dump(NULL, 0, 1, 0);
	assert_string_equal(text, "");
	free(text);
	/* Past the last address it must not crash; xxd cannot show these. */
	text = dump((const unsigned char *)"ab", 2, 1, UINT64_MAX - 1);
	assert_non_null(strstr(text, "fffffffffffffffe: 6162 "));
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_xxd),
		cmocka_unit_test(test_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
