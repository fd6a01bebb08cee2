// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A process with a guest, for tool-device.sh: two adjacent regions, a hole of a page
 * and a read-only one. Says its descriptor, and stays until its input ends.
 * With an argument, it has that many guests.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guestmem.h"

int main(int argc, char **argv)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len = 3 * page;
	unsigned char *mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct guestmem *g = NULL;
	char c;

	if (mem == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < len; i++)
		mem[i] = (unsigned char)(i % 251);
	for (int i = argc > 1 ? atoi(argv[1]) : 1; i > 0; i--) {
		g = guestmem_open(O_RDWR);
		if (!g || guestmem_add_user(g, 0x10000, page, mem, 0, NULL) < 0 ||
		    guestmem_add_user(g, 0x10000 + page, page, mem + page, 0, NULL) < 0 ||
		    guestmem_add_user(g, 0x10000 + 3 * page, page, mem + 2 * page,
				      GUESTMEM_REGION_READONLY, NULL) < 0) {
			fprintf(stderr, "%s\n", guestmem_strerror());
			return 1;
		}
	}
	printf("%d\n", guestmem_fd(g));
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
