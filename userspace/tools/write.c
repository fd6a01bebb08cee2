// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* guestmem write: bytes from a file, from the standard input or from the command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define CHUNK	((size_t)1 << 20)

static const struct argp_option options[] = {
	{ "data", 'd', "HEX", 0, "Write these bytes, such as \"de ad be ef\"", 0 },
	{ "input", 'i', "FILE", 0, "Write what is in FILE, not on the standard input", 0 },
	{ 0 }
};

struct args {
	struct guest_options guest;
	uint64_t gpa;
	const char *data, *input;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->guest;
		return 0;
	case 'd':
		args->data = arg;
		return 0;
	case 'i':
		args->input = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			return ARGP_ERR_UNKNOWN;
		args->gpa = size_arg(arg, "GPA", state);
		return 0;
	case ARGP_KEY_END:
		if (state->arg_num < 1)
			argp_error(state, "GPA is needed");
		if (args->data && args->input)
			argp_error(state, "--data and --input are two sources");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = { { &guest_argp, 0, NULL, 0 }, { 0 } };
static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "GPA",
	.doc = "Write the standard input, a file or the given bytes to guest memory at GPA. "
	       "Where they reach a hole or a read-only region, those before it are written "
	       "and the exit status is 5.",
	.children = children,
};

/* @before bytes were written by earlier calls; returns an exit code. */
static int put(struct guestmem *g, uint64_t gpa, const char *buf, size_t len,
	       uint64_t before)
{
	uint64_t done;
	int code;

	/* What comes after the last address would start over at 0. */
	if (len && before && gpa == 0)
		return error_exit(EXIT_PARTIAL, "the data reaches above the last address; %llu bytes were written",
				  (unsigned long long)before);
	if (guestmem_write(g, gpa, buf, len) == 0)
		return EXIT_OK;
	code = exit_code_of(guestmem_last_error(NULL));
	done = before + guestmem_last_done();
	if (!done)
		return error_exit(code, "%s", guestmem_strerror());
	return error_exit(EXIT_PARTIAL, "%s; %llu bytes were written",
			  guestmem_strerror(), (unsigned long long)done);
}

/* Fill @buf as far as the input goes: bytes, or -1. */
static ssize_t fill(int fd, char *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = read(fd, buf + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int put_file(struct guestmem *g, uint64_t gpa, int fd, const char *name)
{
	char *buf = malloc(CHUNK);
	uint64_t done = 0;
	int code = EXIT_OK;
	ssize_t n;

	if (!buf)
		return error_exit(EXIT_FAILED, "out of memory");
	do {
		n = fill(fd, buf, CHUNK);
		if (n < 0) {
			code = error_exit(done ? EXIT_PARTIAL : EXIT_FAILED,
					  "cannot read %s: %s; %llu bytes were written", name,
					  strerror(errno), (unsigned long long)done);
			break;
		}
		code = put(g, gpa + done, buf, (size_t)n, done);
		done += (uint64_t)n;
	} while (code == EXIT_OK && n == (ssize_t)CHUNK);
	free(buf);
	return code;
}

static int put_data(struct guestmem *g, uint64_t gpa, const char *data)
{
	unsigned char *bytes = malloc(strlen(data) / 2 + 1);
	size_t n;
	int code;

	if (!bytes)
		return error_exit(EXIT_FAILED, "out of memory");
	if (parse_hex_bytes(data, bytes, &n) < 0)
		code = error_exit(EXIT_USAGE, "\"%s\" is not pairs of hexadecimal digits", data);
	else
		code = put(g, gpa, (const char *)bytes, n, 0);
	free(bytes);
	return code;
}

static int run(int argc, char **argv)
{
	struct args args = { .data = NULL };
	int code, fd = STDIN_FILENO;
	struct guestmem *g;

	argp_parse(&argp, argc, argv, 0, NULL, &args);
	g = find_guest(&args.guest, &code);
	if (!g)
		return code;
	if (args.data) {
		code = put_data(g, args.gpa, args.data);
		goto close;
	}
	if (args.input && strcmp(args.input, "-") != 0) {
		fd = open(args.input, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			code = error_exit(exit_code_of(errno), "cannot read %s: %s",
					  args.input, strerror(errno));
			goto close;
		}
	}
	code = put_file(g, args.gpa, fd, fd == STDIN_FILENO ? "the standard input" : args.input);
	if (fd != STDIN_FILENO)
		close(fd);
close:
	guestmem_close(g);
	return code;
}

const struct verb verb_write = { "write", "Write memory", &argp, run };
