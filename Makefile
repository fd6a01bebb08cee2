# SPDX-License-Identifier: GPL-2.0-only
# For people; kbuild reads Kbuild.

KDIR	?= /lib/modules/$(shell uname -r)/build
PREFIX	?= /usr/local
DESTDIR	?=
# The kernel that `make demo`, `make shell` and `make bench` boot: 6.1 or 6.12.
KERNEL	?= 6.12

.DEFAULT_GOAL := all
.PHONY: help all modules userspace modules_install install uninstall clean demo check lint \
	torture shell bench bench-lib

help:
	@echo 'On this machine:'
	@echo '  make                  build the module for the running kernel, library and command'
	@echo '                        (KDIR=DIR: for the kernel whose build directory that is)'
	@echo '  make modules          only the module'
	@echo '  make userspace        only library, command and examples'
	@echo '  make modules_install  install the module, as root'
	@echo '  make install          install library, command, headers, man pages and udev rule'
	@echo '                        (PREFIX=/usr/local DESTDIR=; uninstall takes the same)'
	@echo '  make bench-lib        what access by the library costs, and by others, in a few minutes'
	@echo '                        (installs Debian packages of the others, and fetches a source)'
	@echo '  make clean            remove what was built here'
	@echo
	@echo 'In a virtual machine; missing Debian packages are installed first:'
	@echo '  make demo             see what it does, in a few minutes'
	@echo '  make check            all tests, on Linux 6.1 and 6.12'
	@echo '  make lint             what can be found wrong without running it'
	@echo '  make torture          races and fuzzing, on kernels that look for mistakes, in two hours'
	@echo '                        or so (selftests/torture -h: or in days)'
	@echo '  make bench            what the kernel paths cost, in instructions'
	@echo '  make shell            a shell with the module loaded'
	@echo '                        (KERNEL=6.1 or 6.12, the default, for demo, bench, shell)'

all: modules userspace

modules:
	@test -e '$(KDIR)/Makefile' || { \
		echo "No kernel to build for in $(KDIR): install its headers (Debian: linux-headers-$$(uname -r)), or set KDIR=." >&2; exit 1; }
	$(MAKE) -C '$(KDIR)' M='$(CURDIR)' modules

userspace:
	$(MAKE) -C userspace all

modules_install: modules
	$(MAKE) -C '$(KDIR)' M='$(CURDIR)' INSTALL_MOD_DIR=updates modules_install

install:
	$(MAKE) -C userspace PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' install
	install -D -m 644 debian/guestmem.udev '$(DESTDIR)/usr/lib/udev/rules.d/60-guestmem.rules'

uninstall:
	$(MAKE) -C userspace PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' uninstall
	rm -f '$(DESTDIR)/usr/lib/udev/rules.d/60-guestmem.rules'

clean:
	rm -rf build
	$(MAKE) -C userspace clean
	$(MAKE) -C selftests clean
	find . module selftests/modules -maxdepth 1 \( -name '*.o' -o -name '*.ko' -o -name '*.mod' \
		-o -name '*.mod.c' -o -name '.*.cmd' -o -name '.*.d' -o -name 'modules.order' -o -name 'Module.symvers' \) \
		-delete

check:
	@selftests/check

lint:
	@selftests/lint

torture:
	@selftests/torture

demo: vm-$(KERNEL)
	@$(MAKE) -s -C selftests demo
	@selftests/vm/run -k $(KERNEL) -- selftests/demo.sh build/$(KERNEL)/module/guestmem.ko \
		build/$(KERNEL)/selftests/modules/guestmem_edu.ko selftests/build/demo

bench: vm-$(KERNEL)
	@$(MAKE) -s -C selftests bench
	@echo 'Instructions, counted by an emulated CPU, on Linux $(KERNEL):'
	@selftests/vm/run -k $(KERNEL) --icount -M build/$(KERNEL)/module/guestmem.ko -- \
		sh -c 'bound=$$(selftests/vfio-bind) && selftests/build/bench "$${bound#* }"'

bench-lib:
	@selftests/vm/deps build bench
	@userspace/bench/run

shell: vm-$(KERNEL)
	@selftests/vm/run -k $(KERNEL) -i -M build/$(KERNEL)/module/guestmem.ko \
		-M build/$(KERNEL)/selftests/modules/guestmem_edu.ko

# What every VM needs: packages, a kernel, modules for it, library and command.
vm-%:
	@selftests/vm/deps build vm
	@selftests/vm/modules $*
	@$(MAKE) -s userspace
