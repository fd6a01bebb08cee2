// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Tables and JSON, both by libsmartcols. */
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

struct table {
	struct libscols_table *scols;
	struct libscols_line *line;
	const struct column *columns;
	size_t n;
	bool json;
	bool failed;
	int index[];	/* smartcols' number of our column, -1 if not shown */
};

static struct libscols_column *add_column(struct table *t, const struct column *c)
{
	bool right = c->type != COLUMN_TEXT && c->type != COLUMN_BOOL;
	struct libscols_column *col;
	int type;

	col = scols_table_new_column(t->scols, t->json ? c->key : c->header, 0,
				     right ? SCOLS_FL_RIGHT : 0);
	if (!col)
		return NULL;
	type = c->type == COLUMN_TEXT ? SCOLS_JSON_STRING :
	       c->type == COLUMN_BOOL ? SCOLS_JSON_BOOLEAN : SCOLS_JSON_NUMBER;
	scols_column_set_json_type(col, type);
	return col;
}

struct table *table_new(const char *name, const struct column *columns, size_t n,
			bool json)
{
	struct table *t = calloc(1, sizeof(*t) + n * sizeof(t->index[0]));
	int shown = 0;

	if (!t)
		goto nomem;
	t->columns = columns;
	t->n = n;
	t->json = json;
	t->scols = scols_new_table();
	if (!t->scols)
		goto nomem;
	scols_table_set_name(t->scols, name);
	scols_table_enable_json(t->scols, json);
	for (size_t i = 0; i < n; i++) {
		t->index[i] = -1;
		if (!(json ? columns[i].key : columns[i].header))
			continue;
		if (!add_column(t, &columns[i]))
			goto nomem;
		t->index[i] = shown++;
	}
	return t;

nomem:
	if (t)
		scols_unref_table(t->scols);
	free(t);
	error_exit(EXIT_FAILED, "out of memory");
	return NULL;
}

void table_row(struct table *t)
{
	t->line = scols_table_new_line(t->scols, NULL);
	if (!t->line)
		t->failed = true;
}

void table_text(struct table *t, size_t column, const char *value)
{
	if (t->index[column] < 0 || !t->line)
		return;
	if (scols_line_set_data(t->line, (size_t)t->index[column], value) != 0)
		t->failed = true;
}

void table_number(struct table *t, size_t column, uint64_t value)
{
	char text[SIZE_TEXT];

	if (t->columns[column].type == COLUMN_SIZE && !t->json)
		format_size(value, text);
	else
		snprintf(text, sizeof(text),
			 t->columns[column].type == COLUMN_ADDRESS && !t->json ?
			 "0x%llx" : "%llu", (unsigned long long)value);
	table_text(t, column, text);
}

int table_end(struct table *t)
{
	bool failed = t->failed || scols_print_table(t->scols) != 0;

	scols_unref_table(t->scols);
	free(t);
	if (failed)
		return error_exit(EXIT_FAILED, "cannot print the table: out of memory");
	return EXIT_OK;
}
