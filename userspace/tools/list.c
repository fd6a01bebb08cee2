// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* guestmem list: the regions of a guest. */
#include <stdlib.h>

#include "tool.h"

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print JSON; all numbers are plain, lengths in bytes", 0 },
	{ 0 }
};

struct args {
	struct guest_options guest;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->guest;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = { { &guest_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "List the regions of a guest by guest-physical address.",
	.children = children,
};

enum { ID, GPA, LAST, LEN, BACKING, OFFSET, FLAGS, READONLY, STALE, LOCKS, RUNS, PID };

static const struct column columns[] = {
	[ID]		= { "ID", "id", COLUMN_NUMBER },
	[GPA]		= { "GPA", "gpa", COLUMN_ADDRESS },
	[LAST]		= { "LAST", "last", COLUMN_ADDRESS },
	[LEN]		= { "LEN", "len", COLUMN_SIZE },
	[BACKING]	= { "BACKING", "backing", COLUMN_TEXT },
	[OFFSET]	= { "OFFSET", "offset", COLUMN_ADDRESS },
	[FLAGS]		= { "FLAGS", NULL, COLUMN_TEXT },
	[READONLY]	= { NULL, "readonly", COLUMN_BOOL },
	[STALE]		= { NULL, "stale", COLUMN_BOOL },
	[LOCKS]		= { "LOCKS", "locks", COLUMN_NUMBER },
	[RUNS]		= { "RUNS", "runs", COLUMN_NUMBER },
	[PID]		= { "PID", "pid", COLUMN_NUMBER },
};

static const char *flags_text(uint32_t flags)
{
	bool ro = flags & GUESTMEM_REGION_READONLY;
	bool stale = flags & GUESTMEM_REGION_STALE;

	return ro && stale ? "ro,stale" : ro ? "ro" : stale ? "stale" : "-";
}

static void put(struct table *t, const struct guestmem_region *r)
{
	table_row(t);
	table_number(t, ID, r->id);
	table_number(t, GPA, r->gpa);
	table_number(t, LAST, r->gpa + (r->len - 1));
	table_number(t, LEN, r->len);
	table_text(t, BACKING, r->backing == GUESTMEM_BACKING_USER ? "user" :
			       r->backing == GUESTMEM_BACKING_FILE ? "file" : "unknown");
	table_number(t, OFFSET, r->offset);
	table_text(t, FLAGS, flags_text(r->flags));
	table_number(t, READONLY, !!(r->flags & GUESTMEM_REGION_READONLY));
	table_number(t, STALE, !!(r->flags & GUESTMEM_REGION_STALE));
	table_number(t, LOCKS, r->nlocks);
	table_number(t, RUNS, r->nruns);
	table_number(t, PID, r->pid);
}

static int run(int argc, char **argv)
{
	struct args args = { .json = false };
	struct guestmem_region *regions;
	struct guestmem *g;
	struct table *t;
	size_t n;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &args);
	g = find_guest(&args.guest, &code);
	if (!g)
		return code;
	if (guestmem_regions(g, &regions, &n) < 0) {
		code = error_guestmem();
		goto close;
	}
	t = table_new("regions", columns, ARRAY_SIZE(columns), args.json);
	code = EXIT_FAILED;
	if (t) {
		for (size_t i = 0; i < n; i++)
			put(t, &regions[i]);
		code = table_end(t);
	}
	free(regions);
close:
	guestmem_close(g);
	return code;
}

const struct verb verb_list = { "list", "List the regions", &argp, run };
