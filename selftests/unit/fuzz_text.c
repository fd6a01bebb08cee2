// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the command reads from its command line, against a second reader that takes a
 * number apart by its parts and counts in 128 bits; and what it prints, read again.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tool.h"

static bool expect_size(const char *text, uint64_t *value)
{
	static const char * const suffixes[] = { "", "K", "M", "G", "T" };
	const char *digits = "0123456789";
	unsigned int base = 10, u;
	unsigned __int128 number = 0;
	size_t n;

	if (!strncasecmp(text, "0x", 2)) {
		digits = "0123456789abcdefABCDEF";
		base = 16;
		text += 2;
	}
	n = strspn(text, digits);
	if (!n)
		return false;
	for (; n; n--, text++) {
		number = number * base + (isdigit(*text) ? *text - '0' : tolower(*text) - 'a' + 10);
		if (number > UINT64_MAX)
			return false;
	}
	for (u = 0; u < 5; u++, number *= 1024) {
		n = strlen(suffixes[u]);
		if (strncasecmp(text, suffixes[u], n) ||
		    (text[n] && (!n || strcmp(text + n, "iB"))))
			continue;
		*value = number;
		return number <= UINT64_MAX;
	}
	return false;
}

static void check_size(const char *text)
{
	uint64_t value = 0, expected = 0;
	char again[SIZE_TEXT];
	bool ok = expect_size(text, &expected);

	if ((parse_size(text, &value) == 0) != ok || (ok && value != expected))
		abort();
	if (ok && (parse_size(format_size(value, again), &value) || value != expected))
		abort();
}

/* Numbers about as long as the longest, which texts of random bytes seldom are. */
static void check_long_size(const uint8_t *data, size_t size)
{
	uint64_t value;
	char text[32];

	if (size < sizeof(value) + 1)
		return;
	memcpy(&value, data, sizeof(value));
	data += sizeof(value);
	snprintf(text, sizeof(text), "%llu%u", (unsigned long long)value / 10, data[0] % 10);
	check_size(text);
}

static void check_hex(const char *text, size_t size)
{
	unsigned char *bytes = malloc(size / 2 + !size);
	size_t n, i;

	if (!parse_hex_bytes(text, bytes, &n)) {
		for (i = 0; i < n; i++, text += 2) {
			char pair[3];

			text += strspn(text, " ");
			snprintf(pair, sizeof(pair), "%02x", bytes[i]);
			if (strncasecmp(text, pair, 2))
				abort();
		}
		if (text[strspn(text, " ")])
			abort();
	} else if (size % 2 == 0 && strspn(text, "0123456789abcdefABCDEF") == size) {
		abort();
	}
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	check_size(text);
	check_hex(text, strlen(text));
	check_long_size(data, size);
	free(text);
	return 0;
}
