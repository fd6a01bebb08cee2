// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* guestmem read: a hexdump, or the bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define CHUNK	((size_t)1 << 20)

static const struct argp_option options[] = {
	{ "raw", 'r', NULL, 0, "Write the bytes, not a hexdump; stops at the first hole", 0 },
	{ "output", 'o', "FILE", 0, "Write to FILE, not to the standard output", 0 },
	{ 0 }
};

struct args {
	struct guest_options guest;
	uint64_t gpa, len;
	const char *output;
	bool raw;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->guest;
		return 0;
	case 'r':
		args->raw = true;
		return 0;
	case 'o':
		args->output = arg;
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
		if (args->len && args->gpa > UINT64_MAX - (args->len - 1))
			argp_error(state, "GPA + LEN is more than 2^64");
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
	.doc = "Read LEN bytes of guest memory at GPA and print them as xxd(1) does. A hole "
	       "is named on the standard error and left out, never shown as zeros; "
	       "the exit status is then 5, or 3 if there was nothing but a hole.",
	.children = children,
};

/*
 * The first address at or above @gpa, up to @last, that a region has: 0 and *@next;
 * or -ENXIO. Not by lseek(2), since the file offset is shared with the guest's
 * owner.
 */
static int next_region(struct guestmem *g, uint64_t gpa, uint64_t last, uint64_t *next)
{
	struct guestmem_region *regions;
	int ret = -ENXIO;
	size_t n;

	if (guestmem_regions(g, &regions, &n) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		if (regions[i].gpa + (regions[i].len - 1) < gpa)
			continue;
		if (regions[i].gpa <= last) {
			*next = regions[i].gpa > gpa ? regions[i].gpa : gpa;
			ret = 0;
		}
		break;
	}
	free(regions);
	return ret;
}

static void tell_hole(uint64_t gpa, uint64_t last)
{
	char text[SIZE_TEXT];

	error_exit(0, "there is a hole from GPA 0x%llx to 0x%llx (%s)",
		   (unsigned long long)gpa, (unsigned long long)last,
		   last - gpa == UINT64_MAX ? "16E" : format_size(last - gpa + 1, text));
}

/* Read [gpa, last] to @out; returns an exit code. */
static int dump(struct guestmem *g, uint64_t gpa, uint64_t last, bool raw, FILE *out,
		char *buf)
{
	bool any = false, holes = false;
	struct hexdump hex;
	uint64_t next = 0;
	size_t chunk;
	ssize_t n;
	int ret;

	hexdump_start(&hex, out, gpa);
	for (;;) {
		chunk = last - gpa < CHUNK - 1 ? (size_t)(last - gpa) + 1 : CHUNK;
		n = guestmem_read_some(g, gpa, buf, chunk);
		if (n > 0) {
			any = true;
			if (raw)
				fwrite(buf, 1, (size_t)n, out);
			else
				hexdump_put(&hex, buf, (size_t)n);
			if (ferror(out) || last - gpa < (uint64_t)n)
				break;
			gpa += (uint64_t)n;
			continue;
		}
		hexdump_end(&hex);
		if (n != -ENXIO) {
			fflush(out);
			ret = error_guestmem();
			return any ? EXIT_PARTIAL : ret;
		}
		holes = true;
		ret = next_region(g, gpa, last, &next);
		if (ret < 0 && ret != -ENXIO)
			return error_guestmem();
		/* A region that came meanwhile is no hole. */
		if (ret == 0 && next == gpa)
			continue;
		fflush(out);
		tell_hole(gpa, ret < 0 ? last : next - 1);
		/* Raw bytes carry no addresses: what follows would look adjacent. */
		if (ret < 0 || raw)
			break;
		gpa = next;
		hexdump_start(&hex, out, gpa);
	}
	hexdump_end(&hex);
	if (!holes)
		return EXIT_OK;
	return any ? EXIT_PARTIAL : EXIT_NOT_FOUND;
}

static int run(int argc, char **argv)
{
	struct args args = { .raw = false };
	struct guestmem *g;
	FILE *file = NULL;
	char *buf;
	int code;

	argp_parse(&argp, argc, argv, 0, NULL, &args);
	g = find_guest(&args.guest, &code);
	if (!g)
		return code;
	buf = malloc(CHUNK);
	if (!buf) {
		code = error_exit(EXIT_FAILED, "out of memory");
		goto close;
	}
	if (args.output && strcmp(args.output, "-") != 0) {
		file = fopen(args.output, "we");
		if (!file) {
			code = error_exit(exit_code_of(errno), "cannot write %s: %s",
					  args.output, strerror(errno));
			goto free;
		}
	}
	code = EXIT_OK;
	if (args.len)
		code = dump(g, args.gpa, args.gpa + (args.len - 1), args.raw, file ?: stdout, buf);
	if (file) {
		bool bad = ferror(file);

		if (fclose(file) != 0 || bad)
			code = error_exit(EXIT_FAILED, "cannot write %s: %s", args.output,
					  strerror(errno));
	}
free:
	free(buf);
close:
	guestmem_close(g);
	return code;
}

const struct verb verb_read = {
	"read", "Read memory, as a hexdump or raw", &argp, run
};
