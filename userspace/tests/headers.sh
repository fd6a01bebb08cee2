#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR MIT
# The public headers compile alone, as C and C++, quietly.
set -eu

warn="-Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only -Iinclude -I../uapi"
n=0
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	for std in c99 c11 gnu17; do
		# shellcheck disable=SC2086
		echo '#include <guestmem.h>' | $cc -x c -std=$std $warn -
	done
	for std in c++11 c++17; do
		# shellcheck disable=SC2086
		echo '#include <guestmem.h>' | $cc -x c++ -std=$std $warn -
	done
	echo '#include <linux/guestmem.h>' | $cc -x c -std=gnu89 -Wall -Wextra -Werror \
		-fsyntax-only -I../uapi -
	n=$((n + 1))
done
[ $n -gt 0 ]
