// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* guestmem translate: the physically contiguous pieces of a range. */
#include <errno.h>
#include <stdlib.h>

#include "tool.h"

static const struct argp_option options[] = {
	{ "hpa", 'H', NULL, 0,
	  "Also show host-physical addresses; for a guest that was opened with CAP_SYS_ADMIN", 0 },
	{ "json", 'j', NULL, 0, "Print JSON; all numbers are plain, lengths in bytes", 0 },
	{ 0 }
};

struct args {
	struct guest_options guest;
	uint64_t gpa, len;
	bool hpa, json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->guest;
		return 0;
	case 'H':
		args->hpa = true;
		return 0;
	case 'j':
		args->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0)
			args->gpa = size_arg(arg, "GPA", state);
		else if (state->arg_num == 1)
			args->len = size_arg(arg, "LEN", state);
		else
			return ARGP_ERR_UNKNOWN;
		return 0;
	case ARGP_KEY_END:
		if (state->arg_num < 2)
			argp_error(state, "GPA and LEN are needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = { { &guest_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "GPA LEN",
	.doc = "Show the physically contiguous pieces that LEN bytes at GPA are made of. "
	       "Where they reach a hole, those before it are shown and the exit status is 5.",
	.children = children,
};

enum { GPA, LEN, HPA, REGION, FLAGS, READONLY, STALE };

static int print(const struct guestmem_extent *e, size_t n, bool hpa, bool json)
{
	const struct column columns[] = {
		[GPA]		= { "GPA", "gpa", COLUMN_ADDRESS },
		[LEN]		= { "LEN", "len", COLUMN_SIZE },
		[HPA]		= { hpa ? "HPA" : NULL, hpa ? "hpa" : NULL, COLUMN_ADDRESS },
		[REGION]	= { "REGION", "region", COLUMN_NUMBER },
		[FLAGS]		= { "FLAGS", NULL, COLUMN_TEXT },
		[READONLY]	= { NULL, "readonly", COLUMN_BOOL },
		[STALE]		= { NULL, "stale", COLUMN_BOOL },
	};
	struct table *t = table_new("extents", columns, ARRAY_SIZE(columns), json);

	if (!t)
		return EXIT_FAILED;
	for (size_t i = 0; i < n; i++) {
		bool ro = e[i].flags & GUESTMEM_REGION_READONLY;
		bool stale = e[i].flags & GUESTMEM_REGION_STALE;

		table_row(t);
		table_number(t, GPA, e[i].gpa);
		table_number(t, LEN, e[i].len);
		table_number(t, HPA, e[i].hpa);
		table_number(t, REGION, e[i].region_id);
		table_text(t, FLAGS, ro && stale ? "ro,stale" : ro ? "ro" : stale ? "stale" : "-");
		table_number(t, READONLY, ro);
		table_number(t, STALE, stale);
	}
	return table_end(t);
}

static int run(int argc, char **argv)
{
	struct guestmem_extent *extents = NULL, *bigger;
	struct args args = { .hpa = false };
	size_t capacity = 256, n = 0;
	struct guestmem *g;
	int code, ret, failed;

	argp_parse(&argp, argc, argv, 0, NULL, &args);
	g = find_guest(&args.guest, &code);
	if (!g)
		return code;
	do {
		bigger = realloc(extents, capacity * sizeof(*extents));
		if (!bigger) {
			code = error_exit(EXIT_FAILED, "out of memory");
			goto free;
		}
		extents = bigger;
		n = capacity;
		ret = guestmem_translate(g, args.gpa, args.len,
					 args.hpa ? GUESTMEM_EXTENT_HPA : 0, extents, &n);
		if (ret == -EMSGSIZE && n > capacity)
			capacity = n;
		else if (ret == -EMSGSIZE)
			break;
	} while (ret == -EMSGSIZE);

	if (ret < 0 && (ret != -ENXIO || n == 0)) {
		code = error_guestmem();
		goto free;
	}
	failed = ret < 0 ? error_guestmem() : 0;
	code = print(extents, n, args.hpa, args.json);
	if (failed && code == EXIT_OK)
		code = EXIT_PARTIAL;
free:
	free(extents);
	guestmem_close(g);
	return code;
}

const struct verb verb_translate = {
	"translate", "Show the physically contiguous pieces of a range", &argp, run
};
