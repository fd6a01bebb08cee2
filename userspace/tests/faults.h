/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * cmocka puts handlers for SIGSEGV and SIGBUS in place for each test: the library's come
 * on top of them, in the test.
 */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

static void with_faults(void **state)
{
	void (*test)(void **) = (void (*)(void **))*state;

	assert_int_equal(guestmem_faults(GUESTMEM_FAULTS_RECOVER), 0);
	test(state);
}

/* An entry of the array of tests: void test_NAME(void **state) */
#define T(name) { "test_" #name, with_faults, setup, teardown, (void *)test_##name }

#endif /* TESTS_FAULTS_H */
