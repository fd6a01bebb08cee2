// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * guestmem: look at and change the memory of a guest from the command line.
 *
 * Exit codes are in tool.h, and a promise: scripts test them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const struct verb *const verbs[] = {
	&verb_info,
	&verb_list,
	&verb_read,
	&verb_translate,
	&verb_write,
};

int error_exit(int code, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("guestmem: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

int exit_code_of(int err)
{
	switch (err < 0 ? -err : err) {
	case 0:
		return EXIT_OK;
	case ENOENT:
	case ENXIO:
	case ENODEV:
	case ESRCH:
		return EXIT_NOT_FOUND;
	case EACCES:
	case EPERM:
		return EXIT_PERMISSION;
	default:
		return EXIT_FAILED;
	}
}

int error_guestmem(void)
{
	return error_exit(exit_code_of(guestmem_last_error(NULL)), "%s",
			  guestmem_strerror());
}

static void print_usage(FILE *out)
{
	fputs("Usage: guestmem VERB [OPTION...] [ARGUMENT...]\n"
	      "       guestmem help [VERB]\n"
	      "       guestmem --version\n\n"
	      "The memory of a virtual machine, by guest-physical address (GPA).\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(out, "  %-12s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\nThe guest is that of --pid PID, of --fd FD, or of a descriptor of\n"
	      "/dev/guestmem that the command inherits.\n"
	      "Numbers: decimal, 0x hexadecimal, with K, M, G or T for 2^10 to 2^40.\n"
	      "Exit status: 0 done, 1 failure, 2 usage, 3 not found, 4 no permission,\n"
	      "5 partly done (a hole).\n", out);
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	error_exit(EXIT_USAGE, "there is no verb \"%s\": see guestmem help", name);
	return NULL;
}

static int help(const char *name)
{
	const struct verb *verb;
	char full[64];

	if (!name) {
		print_usage(stdout);
		return EXIT_OK;
	}
	verb = find_verb(name);
	if (!verb)
		return EXIT_USAGE;
	snprintf(full, sizeof(full), "guestmem %s", verb->name);
	argp_help(verb->argp, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, full);
	return EXIT_OK;
}

static int close_stdout(int code)
{
	/* A full disk or a closed pipe must not look like success. */
	if (fflush(stdout) != 0 || ferror(stdout))
		return error_exit(EXIT_FAILED, "cannot write the output: %s",
				  strerror(errno));
	return code;
}

int main(int argc, char **argv)
{
	const struct verb *verb;
	char name[64];

	argp_err_exit_status = EXIT_USAGE;
	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("guestmem %s\n", guestmem_version());
		return close_stdout(EXIT_OK);
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "-?") == 0)
		return close_stdout(help(argc > 2 ? argv[2] : NULL));
	verb = find_verb(argv[1]);
	if (!verb)
		return EXIT_USAGE;

	/* So that argp's messages name the verb. */
	snprintf(name, sizeof(name), "guestmem %s", verb->name);
	argv[1] = name;
	return close_stdout(verb->run(argc - 1, argv + 1));
}
