#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Load the modules, run the demo, unload them, and see that nothing is left.
set -eu

if [ $# -ne 3 ]; then
	echo "usage: demo.sh GUESTMEM.KO GUESTMEM_EDU.KO DEMO" >&2
	exit 2
fi

die()
{
	echo "demo: $*" >&2
	exit 1
}

# Pages pinned by pin_user_pages() and not unpinned, in the whole system.
pinned_now()
{
	# Each CPU keeps some of the count to itself until told to hand it in.
	echo 1 >/proc/sys/vm/stat_refresh
	awk '$1 == "nr_foll_pin_acquired" { n += $2 }
	     $1 == "nr_foll_pin_released" { n -= $2 }
	     END { print n }' /proc/vmstat
}

# Direct I/O, such as that of our own output in the VM, pins a page for a moment:
# so the least that is seen in half a second.
pinned()
{
	least=$(pinned_now)
	for _ in 1 2 3 4 5; do
		sleep 0.1
		now=$(pinned_now)
		[ "$now" -ge "$least" ] || least=$now
	done
	echo "$least"
}

[ "$(id -u)" = 0 ] || die "must be run as root, best in a VM: 'make demo' does both."
if grep -qw svm /proc/cpuinfo; then
	modprobe kvm-amd || die "cannot load kvm-amd."
elif grep -qw vmx /proc/cpuinfo; then
	modprobe kvm-intel || die "cannot load kvm-intel."
else
	die "this CPU cannot run virtual machines."
fi

[ ! -d /sys/module/guestmem ] || die "guestmem is loaded already: rmmod it first."
before=$(pinned)
insmod "$1" || die "cannot load $1."
if ! insmod "$2"; then
	rmmod guestmem
	die "cannot load $2."
fi

status=0
"$3" || status=$?

echo
echo "Afterwards"
# Also the proof that nothing holds them: a module that is in use cannot be unloaded.
if rmmod guestmem_edu && rmmod guestmem; then
	echo "   ok      both modules are unloaded: no file, mapping or lock is left"
else
	echo "   FAILED  a module cannot be unloaded: something still uses it"
	status=1
fi
after=$(pinned)
if [ "$after" -le "$before" ]; then
	echo "   ok      no more pages are pinned than before: $after"
else
	echo "   FAILED  pages pinned: $before before, $after after"
	status=1
fi
exit $status
