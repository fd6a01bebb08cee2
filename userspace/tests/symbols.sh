#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR MIT
# The library exports what the header declares, under a version, and nothing else; it
# needs libc only.
set -eu

O=${O:-build}
so=$O/libguestmem.so
declared=$(mktemp)
exported=$(mktemp)
trap 'rm -f "$declared" "$exported"' EXIT

# Those that the compiler sees, macros included.
cpp -P -Iinclude -I../uapi '-DGUESTMEM_API=EXPORTED' '-DGUESTMEM_INLINE=EXPORTED' \
		include/guestmem.h | tr '\n' ' ' | sed 's/EXPORTED/\n&/g' |
	sed -n 's/^EXPORTED [^(;]*\(guestmem_[a-z0-9_]*\)[ ]*(.*/\1/p' | sort -u >"$declared"
nm -D --defined-only "$so" | grep -v ' A ' | awk '{ print $3 }' |
	sed -n 's/@@LIBGUESTMEM_[0-9.]*$//p' | sort >"$exported"
diff "$declared" "$exported"

if nm -D --defined-only "$so" | grep -v LIBGUESTMEM_; then
	echo "exported without a version" >&2
	exit 1
fi
soname=$(readelf -d "$so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ "$soname" = libguestmem.so.0 ] || { echo "the soname is $soname" >&2; exit 1; }

# A sanitizer's runtime is no dependency of ours.
if readelf -d "$so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
		grep -Ev '^(libc\.so|ld-linux|libasan|libubsan|libtsan)'; then
	echo "needs more than libc" >&2
	exit 1
fi
