#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A driver in user space, by VFIO: QEMU's edu device moves what is mapped for it, and the
# IOMMU blocks it when it is unmapped.
set -u

usage="usage: vfio.sh GUESTMEM.KO DIR [iommufd]

DIR is where the library's examples and tests were built: userspace/build. With iommufd,
what maps for the device is that. As root, in a VM that has edu behind an IOMMU. Ends with
one line 'N passed, N failed, N skipped'."

if [ $# -lt 2 ] || [ "${3-iommufd}" != iommufd ]; then
	echo "$usage" >&2
	exit 2
fi

die()
{
	echo "vfio.sh: $*" >&2
	exit 1
}

bound=$("$(dirname "$0")/vfio-bind") || exit 1
address=${bound% *} group=${bound#* }
edu=/sys/bus/pci/devices/$address

passed=0 failed=0
result()
{
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok      ${*:2}"
	else
		failed=$((failed + 1))
		echo "FAILED  ${*:2}"
	fi
}

# What the IOMMU has blocked for the device so far, by the direction.
faults()
{
	dmesg | grep -cE "DMAR: \[DMA $1.* Request device \[${address#*:}\] fault addr 0x8"
}

# The log is limited in its rate; the device is tried for each kind of guest.
for with in "without the module" "with the module"; do
	if [ "$with" = "with the module" ]; then
		insmod "$1" || die "cannot load $1."
	fi
	sleep 6
	before_write=$(faults Write) before_read=$(faults Read)
	"$2/examples/edu" "$address" "${@:3}"
	result $? "the example, $with"
	[ "$(faults Write)" -gt "$before_write" ]
	result $? "the IOMMU tells of blocked writes, $with"
	[ "$(faults Read)" -gt "$before_read" ]
	result $? "the IOMMU tells of blocked reads, $with"
done
GUESTMEM_TEST_VFIO=$group "$2/tests/mapper"
result $? "mappers"
dmesg | grep "DMAR: \[DMA" | tail -n 4

echo >"$edu/driver_override"
echo "$address" >/sys/bus/pci/drivers/vfio-pci/unbind
rmmod guestmem
result $? "nothing uses the module any more"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
