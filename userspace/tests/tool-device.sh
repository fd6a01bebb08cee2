#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-only OR MIT
# The guestmem command against the guest of another process: output, exit status, and
# one sentence for each error. Needs the device, and root.
set -u
[ -e /dev/guestmem ] || { echo "there is no /dev/guestmem"; exit 77; }
# shellcheck source=expect.sh
. tests/expect.sh

# json COMMAND...: a Python condition on "doc", its output, is on stdin.
json()
{
	"$@" >"$dir/json" || bad=1
	command -v python3 >/dev/null || return
	python3 -c 'import json, sys
doc = json.load(open(sys.argv[1]))
if not eval(sys.stdin.read()): sys.exit("JSON: %s" % doc)' "$dir/json" || bad=1
}

# hold [N]: a process that has N guests; in $pid, with the last one's descriptor $fd.
hold()
{
	coproc HOLDER { exec "${O:-build}/tests/holder" "$@"; }
	pid=$HOLDER_PID
	read -r fd <&"${HOLDER[0]}" || exit 1
}

let_go()
{
	local in=${HOLDER[1]}
	exec {in}>&-
	wait "$pid"
}

# on VERB...: the verb, for the guest that is held.
on()
{
	"$tool" "$1" --pid "$pid" "${@:2}"
}

hold

# --- list, info
expect 0 "ID     GPA    LAST LEN BACKING         OFFSET FLAGS LOCKS RUNS *PID
 1 0x10000 0x10fff  4K user    0x* -         0    1 *$pid
 2 0x11000 0x11fff  4K user    0x* -         0    1 *$pid
 3 0x13000 0x13fff  4K user    0x* ro        0    1 *$pid" '' on list
expect 0 '*0x10000 *' '' on list -f "$fd"
json on list --json <<'PY'
list(doc) == ["regions"] and {
    k: v for k, v in doc["regions"][2].items() if k not in ("offset", "pid")} == {
    "id": 3, "gpa": 0x13000, "last": 0x13fff, "len": 4096, "backing": "user",
    "readonly": True, "stale": False, "locks": 0, "runs": 1} \
    and doc["regions"][0]["readonly"] is False
PY
expect 0 '*GUEST*ABI*REGIONS*PINNED*12K*0x13fff*read,write,map,lock,translate,translate-hpa,manage*' '' \
	on info
json on info --json <<'PY'
doc["guests"][0]["pinned"] == 12288 and doc["guests"][0]["regions"] == 3 and \
    doc["guests"][0]["rights"] == "read,write,map,lock,translate,translate-hpa,manage"
PY

# --- read
expect 0 '00010000: 0001 0203                                ....' '' on read 0x10000 4
expect 0 '00010ffc: 4c4d 4e4f 5051 5253                      LMNOPQRS' '' on read 0x10ffc 8
expect 0 '' '' on read 0x10000 0
expect 3 '' 'guestmem: there is a hole from GPA 0x0 to 0xfff (4K)' on read 0 4K
expect 5 '00011ff8: 9899 9a9b 9c9d 9e9f                      ........
00013000: a0a1                                     ..' \
	'guestmem: there is a hole from GPA 0x12000 to 0x12fff (4K)' on read 0x11ff8 0x100a
expect 5 '*' 'guestmem: there is a hole from GPA 0x14000 to 0x1ffff (48K)' \
	on read 0x13ff0 0xc010
expect 5 '*' 'guestmem: there is a hole from GPA 0x12000 to 0x12fff (4K)' \
	on read 0x11ff8 0x100a --raw -o "$dir/raw"
[ "$(od -An -tx1 "$dir/raw")" = ' 98 99 9a 9b 9c 9d 9e 9f' ] || { od "$dir/raw"; bad=1; }
expect 1 '' 'guestmem: cannot write /dev/full: *' on read 0x10000 4K -o /dev/full
expect 3 '' 'guestmem: cannot write /nowhere/x: *' on read 0x10000 4K -o /nowhere/x
on read 0x10000 4K >/dev/full 2>"$dir/err" && { echo "a full disk is no error"; bad=1; }
if command -v xxd >/dev/null; then
	on read --raw 0x10000 8K >"$dir/raw"
	on read 0x10000 8K | cmp - <(xxd -o 0x10000 "$dir/raw") || bad=1
fi

# --- write
expect 2 '' 'guestmem: "0" is not pairs of hexadecimal digits' on write 0x10000 --data 0
expect 0 '' '' on write 0x10000 --data 'de ad be ef'
expect 0 '00010000: dead beef 04                             .....' '' on read 0x10000 5
expect 0 '' '' on write 0x10000 </dev/null
expect 0 '' '' on write 0x10000 --input "$dir/raw"
expect 3 '' 'guestmem: cannot write: there is no region at GPA 0x0' on write 0 --data 00
expect 4 '' 'guestmem: cannot write: the region at GPA 0x13000 is read-only' \
	on write 0x13000 --data 00
expect 5 '' 'guestmem: cannot write: there is no region at GPA 0x12000; 2 bytes were written' \
	on write 0x11ffe --data 01020304
expect 3 '' 'guestmem: cannot read /nowhere: *' on write 0x10000 --input /nowhere

# --- translate
expect 0 '    GPA LEN REGION FLAGS
0x10800  2K      1 -
0x11000  2K      2 -' '' on translate 0x10800 4K
expect 5 '    GPA LEN REGION FLAGS
0x11000  4K      2 -' 'guestmem: cannot translate: there is no region at GPA 0x12000' \
	on translate 0x11000 12K
expect 3 '' 'guestmem: cannot translate: there is no region at GPA 0x12000' \
	on translate 0x12000 1
expect 1 '' 'guestmem: cannot translate: the range is empty' on translate 0x10000 0
expect 0 '*HPA*0x*' '' on translate 0x10000 1 --hpa
json on translate 0x10000 8K --json <<'PY'
doc == {"extents": [
    {"gpa": 0x10000, "len": 4096, "region": 1, "readonly": False, "stale": False},
    {"gpa": 0x11000, "len": 4096, "region": 2, "readonly": False, "stale": False}]}
PY


# --- whose it is
if command -v setpriv >/dev/null; then
	expect 4 '' '*' setpriv --reuid 65534 --clear-groups "$tool" list -p "$pid"
fi
let_go
expect 3 '' 'guestmem: there is no process *' on list
hold 2
expect 2 '' '*--fd*' on list
expect 0 '*' '' on list -f "$fd"
let_go

# --- an inherited descriptor: found, or named
expect 0 '*GUEST*' '' "$tool" info 7<>/dev/guestmem
expect 0 '*GUEST*' '' "$tool" info -f 7 7<>/dev/guestmem

exit "$bad"
