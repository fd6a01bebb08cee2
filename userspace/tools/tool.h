/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/* What the files of the guestmem command share: one verb is one file. */
#ifndef GUESTMEM_TOOL_H
#define GUESTMEM_TOOL_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "guestmem.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_FOUND = 3,	/* no such process, guest, region or address */
	EXIT_PERMISSION = 4,
	EXIT_PARTIAL = 5,	/* some was done, then a hole or an error */
};

struct verb {
	const char *name;
	const char *summary;
	const struct argp *argp;
	int (*run)(int argc, char **argv);
};

extern const struct verb verb_info, verb_list, verb_read, verb_translate, verb_write;

/* guestmem.c: one sentence on stderr; returns @code. */
int error_exit(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The library's last error on stderr; returns the exit code for it. */
int error_guestmem(void);
int exit_code_of(int err);

/* find.c: which guest; options for every verb. */
struct guest_options {
	int pid;	/* 0: this process */
	int fd;		/* -1: look for one */
};

extern const struct argp guest_argp;
/* NULL after an error was printed; then *@code is the exit code. */
struct guestmem *find_guest(const struct guest_options *options, int *code);

/* size.c: numbers as people write and read them. */
#define SIZE_TEXT	24
/* 0, -EINVAL if it is not a number, -ERANGE if it is more than 2^64 - 1. */
int parse_size(const char *text, uint64_t *value);
/* The largest unit that is exact: 4K, 1536M, 4097. */
const char *format_size(uint64_t value, char text[SIZE_TEXT]);
int parse_hex_bytes(const char *text, unsigned char *bytes, size_t *n);
/* For argp parsers: parse or say why not, and exit. */
uint64_t size_arg(const char *text, const char *what, const struct argp_state *state);
unsigned int uint_arg(const char *text, const char *what, const struct argp_state *state);

/* hexdump.c: as "xxd -o ADDRESS". */
struct hexdump {
	FILE *out;
	uint64_t address;	/* of the first byte in @line */
	size_t n;
	unsigned char line[16];
};

void hexdump_start(struct hexdump *dump, FILE *out, uint64_t address);
void hexdump_put(struct hexdump *dump, const void *bytes, size_t n);
void hexdump_end(struct hexdump *dump);

/* table.c: the same columns as a table for people or as JSON for programs. */
enum column_type {
	COLUMN_TEXT,
	COLUMN_NUMBER,
	COLUMN_ADDRESS,		/* table: 0x1000 */
	COLUMN_SIZE,		/* table: 4K */
	COLUMN_BOOL,
};

struct column {
	const char *header;	/* NULL: not in the table */
	const char *key;	/* NULL: not in JSON */
	enum column_type type;
};

struct table;

/* NULL after an error was printed. */
struct table *table_new(const char *name, const struct column *columns, size_t n,
			bool json);
void table_row(struct table *t);
/* In the row last begun; a column that is not shown is skipped. */
void table_text(struct table *t, size_t column, const char *value);
void table_number(struct table *t, size_t column, uint64_t value);
/* Prints and frees; returns an exit code. */
int table_end(struct table *t);

#endif /* GUESTMEM_TOOL_H */
