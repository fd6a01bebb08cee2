// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/* Memory of this process as guest memory: write, read and map it by guest address. */
#include <fcntl.h>
#include <guestmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(void)
{
	const uint64_t gpa = 0x100000;		/* where the guest sees it */
	const size_t len = 64 << 10;
	char text[32] = "", *map = NULL;
	void *mem = aligned_alloc(4096, len);
	struct guestmem *g = guestmem_open(O_RDWR);

	if (!mem || !g || guestmem_add_user(g, gpa, len, mem, 0, NULL) < 0 ||
	    guestmem_write(g, gpa + 0x10, "hello, guest", 13) < 0 ||
	    guestmem_read(g, gpa + 0x10, text, 13) < 0 ||
	    !(map = guestmem_map(g, gpa, len, PROT_READ))) {
		fprintf(stderr, "%s\n", guestmem_strerror());
		return EXIT_FAILURE;
	}
	printf("read: %s\nmapped: %s\n", text, map + 0x10);
	guestmem_unmap(map, len);
	guestmem_close(g);			/* unpins the memory */
	free(mem);
	return EXIT_SUCCESS;
}
