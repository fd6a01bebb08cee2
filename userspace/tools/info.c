// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* guestmem info: the guest as a whole. */
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
	.doc = "Show what the kernel tells of a guest, and the rights of its descriptor.",
	.children = children,
};

struct flag {
	uint32_t bit;
	const char *name;
};

static const struct flag rights[] = {
	{ GUESTMEM_RIGHT_READ, "read" },
	{ GUESTMEM_RIGHT_WRITE, "write" },
	{ GUESTMEM_RIGHT_MAP, "map" },
	{ GUESTMEM_RIGHT_LOCK, "lock" },
	{ GUESTMEM_RIGHT_TRANSLATE, "translate" },
	{ GUESTMEM_RIGHT_TRANSLATE_HPA, "translate-hpa" },
	{ GUESTMEM_RIGHT_MANAGE, "manage" },
};

static const struct flag features[] = {
	{ GUESTMEM_FEATURE_HUGE_MAP, "huge-map" },
	{ GUESTMEM_FEATURE_ATOMIC16, "atomic16" },
	{ GUESTMEM_FEATURE_PRIVATE_READONLY, "private-readonly" },
};

static const char *flag_text(char text[128], uint32_t bits, const struct flag *flag, size_t n)
{
	size_t pos = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		if (bits & flag[i].bit)
			pos += (size_t)snprintf(text + pos, 128 - pos, "%s%s",
						pos ? "," : "", flag[i].name);
	return text;
}

enum {
	ID, ABI, REGIONS, MAX_REGIONS, PINNED, LAST, GENERATION, LOCKS, MAX_LOCKS,
	PAGE, RIGHTS, FEATURES
};

static const struct column columns[] = {
	[ID]		= { "GUEST", "id", COLUMN_NUMBER },
	[ABI]		= { "ABI", "abi_version", COLUMN_NUMBER },
	[REGIONS]	= { "REGIONS", "regions", COLUMN_NUMBER },
	[MAX_REGIONS]	= { NULL, "max_regions", COLUMN_NUMBER },
	[PINNED]	= { "PINNED", "pinned", COLUMN_SIZE },
	[LAST]		= { "LAST", "last", COLUMN_ADDRESS },
	[GENERATION]	= { "GENERATION", "generation", COLUMN_NUMBER },
	[LOCKS]		= { "LOCKS", "locks", COLUMN_NUMBER },
	[MAX_LOCKS]	= { NULL, "max_locks", COLUMN_NUMBER },
	[PAGE]		= { "PAGE", "page_size", COLUMN_SIZE },
	[RIGHTS]	= { "RIGHTS", "rights", COLUMN_TEXT },
	[FEATURES]	= { "FEATURES", "features", COLUMN_TEXT },
};

static int run(int argc, char **argv)
{
	struct guestmem_info info = { .size = sizeof(info) };
	struct args args = { .json = false };
	struct guestmem *g;
	char text[128];
	struct table *t;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &args);
	g = find_guest(&args.guest, &code);
	if (!g)
		return code;
	if (guestmem_info(g, &info) < 0) {
		code = error_guestmem();
		goto close;
	}
	t = table_new("guests", columns, ARRAY_SIZE(columns), args.json);
	if (!t) {
		code = EXIT_FAILED;
		goto close;
	}
	table_row(t);
	table_number(t, ID, info.id);
	table_number(t, ABI, info.abi_version);
	table_number(t, REGIONS, info.nregions);
	table_number(t, MAX_REGIONS, info.max_regions);
	table_number(t, PINNED, info.pinned);
	table_number(t, LAST, info.last);
	table_number(t, GENERATION, info.generation);
	table_number(t, LOCKS, info.nlocks);
	table_number(t, MAX_LOCKS, info.max_locks);
	table_number(t, PAGE, info.page_size);
	table_text(t, RIGHTS, flag_text(text, info.rights, rights, ARRAY_SIZE(rights)));
	table_text(t, FEATURES, flag_text(text, info.features, features,
					  ARRAY_SIZE(features)));
	code = table_end(t);
close:
	guestmem_close(g);
	return code;
}

const struct verb verb_info = { "info", "Show the guest as a whole", &argp, run };
