#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR MIT
# The guestmem command where there is no guest: help, and one sentence for each error.
set -u
# shellcheck source=expect.sh
. tests/expect.sh

# --- help and usage
expect 0 'guestmem 0.1.0' '' "$tool" --version
expect 0 'Usage: guestmem VERB*' '' "$tool" help
expect 0 'Usage: guestmem VERB*' '' "$tool" --help
for verb in info list read translate write; do
	expect 0 "Usage: guestmem $verb *--pid*" '' "$tool" help $verb
	expect 0 "Usage: guestmem $verb *--pid*" '' "$tool" $verb --help
	expect 2 '' "guestmem $verb: *" "$tool" $verb --nonsense
done
expect 2 '' 'Usage: guestmem VERB*' "$tool"
expect 2 '' 'guestmem: there is no verb "frob": see guestmem help' "$tool" frob
expect 2 '' 'guestmem read: GPA and LEN are needed*' "$tool" read
expect 2 '' 'guestmem read: GPA "1x" is not a number*' "$tool" read 1x 1
expect 2 '' 'guestmem read: LEN "16777216T" is more than 2?64 - 1*' "$tool" read 0 16777216T
expect 2 '' 'guestmem read: GPA + LEN is more than 2?64*' "$tool" read 0xffffffffffffffff 2
expect 2 '' 'guestmem write: --data and --input are two sources*' \
	"$tool" write 0 --data 00 --input x

# --- no guest
expect 3 '' 'guestmem: there is no process 2147483646' "$tool" list --pid 2147483646
expect 3 '' 'guestmem: process * has no /dev/guestmem open' "$tool" list --pid $$
expect 3 '' 'guestmem: descriptor 0 is not an open /dev/guestmem' "$tool" list --fd 0 </dev/null
expect 3 '' 'guestmem: descriptor 99 is not an open /dev/guestmem' "$tool" list --fd 99
expect 3 '' 'guestmem: no guest was given: *' "$tool" list

exit "$bad"
