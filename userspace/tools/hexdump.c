// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* A hexdump in the layout of xxd(1), so that "xxd -r" and eyes can read it. */
#include <string.h>

#include "tool.h"

static void put_line(struct hexdump *dump)
{
	/* Two digits a byte, a space after each second. */
	static const char hex[] = "0123456789abcdef";
	char digits[41], text[17];
	size_t i, pos = 0;

	memset(digits, ' ', sizeof(digits) - 1);
	for (i = 0; i < dump->n; i++) {
		unsigned char c = dump->line[i];

		digits[pos++] = hex[c >> 4];
		digits[pos++] = hex[c & 15];
		pos += i & 1;
		text[i] = (char)(c >= 0x20 && c < 0x7f ? c : '.');
	}
	digits[40] = '\0';
	text[i] = '\0';
	fprintf(dump->out, "%08llx: %s %s\n", (unsigned long long)dump->address, digits,
		text);
	dump->address += dump->n;
	dump->n = 0;
}

void hexdump_start(struct hexdump *dump, FILE *out, uint64_t address)
{
	dump->out = out;
	dump->address = address;
	dump->n = 0;
}

void hexdump_put(struct hexdump *dump, const void *bytes, size_t n)
{
	const unsigned char *b = bytes;

	while (n--) {
		dump->line[dump->n++] = *b++;
		if (dump->n == sizeof(dump->line))
			put_line(dump);
	}
}

void hexdump_end(struct hexdump *dump)
{
	if (dump->n)
		put_line(dump);
}
