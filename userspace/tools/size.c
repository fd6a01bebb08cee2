// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Numbers as people write and read them. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tool.h"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	unsigned int base = 10, shift = 0;
	const char *s = text, *unit;
	uint64_t v = 0;
	int d;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	}
	d = digit(*s);
	if (d < 0 || d >= (int)base)
		return -EINVAL;
	for (; (d = digit(*s)) >= 0 && d < (int)base; s++) {
		if (v > (UINT64_MAX - (unsigned int)d) / base)
			return -ERANGE;
		v = v * base + (unsigned int)d;
	}
	if (*s) {
		unit = strchr(units, *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
		if (!unit)
			return -EINVAL;
		shift = 10 * ((unsigned int)(unit - units) + 1);
		s++;
		/* 4K, 4KiB; not 4KB, which is 4000 to some. */
		if (s[0] == 'i' && s[1] == 'B')
			s += 2;
		if (*s)
			return -EINVAL;
	}
	if (v > UINT64_MAX >> shift)
		return -ERANGE;
	*value = v << shift;
	return 0;
}

const char *format_size(uint64_t value, char text[SIZE_TEXT])
{
	static const char units[] = "\0KMGT";
	unsigned int u = 0;

	while (value && value % 1024 == 0 && u < 4) {
		value /= 1024;
		u++;
	}
	snprintf(text, SIZE_TEXT, "%llu%.1s", (unsigned long long)value, &units[u]);
	return text;
}

/* @bytes has room for half of the text's length. */
int parse_hex_bytes(const char *text, unsigned char *bytes, size_t *n)
{
	int high, low;

	for (*n = 0; *text; text += 2) {
		while (*text == ' ')
			text++;
		if (!*text)
			break;
		high = digit(text[0]);
		low = high < 0 ? -1 : digit(text[1]);
		if (low < 0)
			return -EINVAL;
		bytes[(*n)++] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

uint64_t size_arg(const char *text, const char *what, const struct argp_state *state)
{
	uint64_t value = 0;
	int ret = parse_size(text, &value);

	if (ret == -ERANGE)
		argp_error(state, "%s \"%s\" is more than 2^64 - 1", what, text);
	else if (ret < 0)
		argp_error(state, "%s \"%s\" is not a number (4096, 0x1000, 4K)", what, text);
	return value;
}

unsigned int uint_arg(const char *text, const char *what, const struct argp_state *state)
{
	uint64_t value = size_arg(text, what, state);

	if (value > INT_MAX)
		argp_error(state, "%s \"%s\" is too large", what, text);
	return (unsigned int)value;
}
