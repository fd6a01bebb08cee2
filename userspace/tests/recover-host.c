// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * A program that knows nothing of the library: something that it loads brings it along,
 * and goes again. The library's handlers stay, and so the library does.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <sys/mman.h>

#include "check.h"

#define HOLE	0x100000

struct guestmem;

static char plugin_path[4096];
static char *p;
static size_t page;
static volatile int calls;

static void repair(int sig)
{
	calls++;
	if (sig == SIGSEGV)
		mprotect(p, page, PROT_READ | PROT_WRITE);
}

static void load_and_unload(void)
{
	int (*read64)(struct guestmem *g, uint64_t gpa, uint64_t *value);
	struct guestmem *(*guest)(void);
	void *plugin;
	uint64_t v;

	plugin = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
	if (!plugin)
		fprintf(stderr, "%s\n", dlerror());
	NEED(plugin);
	*(void **)&read64 = dlsym(plugin, "plugin_read64");
	*(void **)&guest = dlsym(plugin, "plugin_guest");
	NEED(read64 && guest);
	CHECK(read64(guest(), HOLE, &v) < 0);
	CHECK_EQ(calls, 0);
	NEED(!dlclose(plugin));
	NEED(!dlopen(plugin_path, RTLD_NOW | RTLD_NOLOAD));
}

static void test_fault_after_unloading(void)
{
	NEED(signal(SIGSEGV, repair) != SIG_ERR);
	load_and_unload();
	*(volatile char *)p = 1;
	CHECK_EQ(calls, 1);
	CHECK_EQ(*p, 1);
	calls = 0;
	load_and_unload();
}

static void test_death_after_unloading(void)
{
	NEED(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
	load_and_unload();
	*(volatile char *)p = 1;
}

static const struct test tests[] = {
	TEST(fault_after_unloading),
	TEST_DIES(death_after_unloading, SIGSEGV),
};

int main(int argc, char **argv)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	p = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(p != MAP_FAILED);
	snprintf(plugin_path, sizeof(plugin_path), "%.*srecover-bringing.so",
		 (int)(strrchr(argv[0], '/') ? strrchr(argv[0], '/') - argv[0] + 1 : 0), argv[0]);
	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
