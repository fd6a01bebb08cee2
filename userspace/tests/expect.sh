# SPDX-License-Identifier: LGPL-2.1-only OR MIT
# shellcheck shell=bash disable=SC2034
# What the tests of the command share; sourced by them.

tool=${O:-build}/guestmem
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

# expect STATUS STDOUT STDERR COMMAND...; "*" is any output.
expect()
{
	local status=$1 out=$2 err=$3 got
	shift 3
	"$@" >"$dir/out" 2>"$dir/err"
	got=$?
	if [ $got -ne "$status" ]; then
		echo "$*: exit status $got, not $status"
		bad=1
	fi
	check "$*" output "$out" "$dir/out"
	check "$*" error "$err" "$dir/err"
}

check()
{
	[ "$3" = '*' ] && return
	# A pattern, so that numbers can be left open.
	# shellcheck disable=SC2053
	if [[ $(cat "$4") != $3 ]]; then
		echo "$1: $2 is"
		cat "$4"
		echo "not"
		echo "$3"
		bad=1
	fi
}
