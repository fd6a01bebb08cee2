#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-only OR MIT
# Every public function has a man page, whose SYNOPSIS declares it as the header does.
# What pages refer to is there, and they are well-formed.
set -eu

O=${O:-build}
man=$O/man
[ -e "$man/links" ] || { echo "there are no man pages: scdoc is missing"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

complain()
{
	echo "$*" >&2
	bad=1
}

# One declaration a line, all written the same way.
normal()
{
	tr '\n\t' '  ' | sed 's/[;{]/\n/g' | sed -e 's/  */ /g' -e 's/( /(/g' -e 's/ )/)/g' \
		-e 's/\* /*/g' -e 's/^ //' -e 's/ $//'
}

name_of()
{
	sed 's/.*[ *]\(guestmem_[a-z0-9_]*\)(.*/\1/'
}

cpp -P -Iinclude -I../uapi '-DGUESTMEM_API=EXPORTED' '-DGUESTMEM_INLINE=EXPORTED' \
		include/guestmem.h |
	tr '\n' ' ' | sed 's/EXPORTED/\n&/g' | sed -n 's/^EXPORTED\([^;{]*\).*/\1/p' |
	while read -r line; do
		echo "$line" | normal
		echo
	done | grep -v '_(' | grep . | sort -u >"$tmp/header"
[ "$(wc -l <"$tmp/header")" -gt 50 ] || complain "the header has not been understood"

: >"$tmp/pages"
for page in "$man"/man3/*.3; do
	grep -q '^\.so ' "$page" ||
		sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/{/^[.#]/!p}' "$page" | normal |
		grep . | sed "s|^|${page##*/} |" >>"$tmp/pages"
done
sed 's/^[^ ]* //' "$tmp/pages" | sort >"$tmp/declared"
diff "$tmp/header" "$tmp/declared" >&2 || complain "header (<) and pages (>) differ"

while read -r page proto; do
	name=$(echo "$proto" | name_of)
	if [ "$name.3" != "$page" ] &&
	   [ "$(cat "$man/man3/$name.3" 2>&1)" != ".so man3/$page" ]; then
		complain "$name.3 does not lead to $page"
	fi
done <"$tmp/pages"

# Every page says all of this, and the other pages that it names are there.
for page in "$man"/man3/*.3; do
	grep -q '^\.so ' "$page" && continue
	for section in NAME SYNOPSIS DESCRIPTION 'RETURN VALUE' ERRORS ATTRIBUTES 'SEE ALSO'; do
		grep -qx "\.SH $section" "$page" || complain "$page has no section $section"
	done
done
cat "$man"/man?/* | grep -o 'fB\(lib\)\?guestmem[a-z0-9_]*\\fR([37])' |
	sed 's/^fB\(.*\)\\fR(\(.\))/man\2\/\1.\2/' | sort -u |
	while read -r page; do
		[ -e "$man/$page" ] || echo "$page is referred to"
	done >"$tmp/missing"
[ ! -s "$tmp/missing" ] || complain "$(cat "$tmp/missing")"

for page in "$man"/man?/*; do
	grep -q '^\.so ' "$page" && continue
	if command -v mandoc >/dev/null; then
		# scdoc begins more paragraphs than there are.
		mandoc -T lint -W warning "$page" | grep -v 'skipping paragraph macro' || :
	elif command -v man >/dev/null; then
		# a long name in a column of a table
		{ MANWIDTH=80 man --warnings -l "$page" >/dev/null; } 2>&1 |
			grep -v "can.t break line" || :
	fi
done >"$tmp/lint"
[ ! -s "$tmp/lint" ] || complain "$(cat "$tmp/lint")"
exit $bad
