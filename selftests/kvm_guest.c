// SPDX-License-Identifier: GPL-2.0-only
/*
 * A KVM guest by raw ioctls; kvm_guest.h says what for.
 *
 * In the reserved memory: page tables from 0x1000 on, the code and the mailbox at
 * its end. The CPU starts each command afresh, in 64-bit mode, with all its
 * registers set: so it does not matter how the one before ended.
 */
#include "kvm_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define TABLES_START	0x1000
#define TABLES_END	0x3e000
#define CODE		0x3e000
#define MAILBOX		0x3f000

#define PAGE		0x1000ULL
#define HUGE_PAGE	0x200000ULL
#define GIB		0x40000000ULL

/* Page table entries. */
#define PRESENT		(1ULL << 0)
#define WRITABLE	(1ULL << 1)
#define IS_PAGE		(1ULL << 7)
#define ADDRESS		0x000ffffffffff000ULL

#define CR0_PE		(1ULL << 0)
#define CR0_ET		(1ULL << 4)
#define CR0_NE		(1ULL << 5)
#define CR0_PG		(1ULL << 31)
#define CR4_PAE		(1ULL << 5)
#define EFER_LME	(1ULL << 8)
#define EFER_LMA	(1ULL << 10)

/* Three pages that KVM on Intel needs; any place without memory. */
#define TSS_ADDR	0xfffbd000UL

#define MAX_CPUID	256

struct kvm_guest_mailbox {
	uint64_t cmd;
	uint64_t gpa;
	uint64_t len;
	uint64_t arg;
	uint64_t seed;
	uint64_t result;
};

_Static_assert(offsetof(struct kvm_guest_mailbox, gpa) == KVM_GUEST_MB_GPA, "gpa");
_Static_assert(offsetof(struct kvm_guest_mailbox, len) == KVM_GUEST_MB_LEN, "len");
_Static_assert(offsetof(struct kvm_guest_mailbox, arg) == KVM_GUEST_MB_ARG, "arg");
_Static_assert(offsetof(struct kvm_guest_mailbox, seed) == KVM_GUEST_MB_SEED, "seed");
_Static_assert(offsetof(struct kvm_guest_mailbox, result) == KVM_GUEST_MB_RESULT, "result");

extern const unsigned char kvm_guest_code[], kvm_guest_code_end[];

struct kvm_guest {
	int kvm;
	int vm;
	int vcpu;
	struct kvm_run *run;
	size_t run_len;
	unsigned char *low;	/* GPA 0 */
	uint64_t next_table;
};

static _Thread_local char error_text[200] = "no error";

const char *kvm_guest_strerror(void)
{
	return error_text;
}

__attribute__((format(printf, 2, 3)))
static int fail(int error, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(error_text, sizeof(error_text), format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(error_text))
		snprintf(error_text + n, sizeof(error_text) - n, ": %s", strerror(error));
	return -error;
}

/* ---- page tables ---- */

static uint64_t *table_at(struct kvm_guest *guest, uint64_t gpa)
{
	return (uint64_t *)(guest->low + gpa);
}

/* The table that entry @i of @table points to, made if there is none; or NULL. */
static uint64_t *next_level(struct kvm_guest *guest, uint64_t *table, unsigned int i)
{
	if (!(table[i] & PRESENT)) {
		if (guest->next_table == TABLES_END)
			return NULL;
		memset(table_at(guest, guest->next_table), 0, PAGE);
		table[i] = guest->next_table | PRESENT | WRITABLE;
		guest->next_table += PAGE;
	}
	return table_at(guest, table[i] & ADDRESS);
}

/* Whole GiBs: what is not memory in them ends in KVM_EXIT_MMIO, which we tell. */
static int map_slot(struct kvm_guest *guest, const struct kvm_guest_slot *slot)
{
	uint64_t *pml4 = table_at(guest, TABLES_START), *pdpt, *pd;
	uint64_t gpa = slot->gpa & ~(GIB - 1);
	unsigned int i;

	for (; gpa < slot->gpa + slot->len; gpa += GIB) {
		pdpt = next_level(guest, pml4, (gpa >> 39) & 511);
		pd = pdpt ? next_level(guest, pdpt, (gpa >> 30) & 511) : NULL;
		if (!pd)
			return fail(ENOSPC, "no room for the page tables of GPA %#llx",
				    (unsigned long long)gpa);
		for (i = 0; i < 512; i++)
			pd[i] = (gpa + i * HUGE_PAGE) | PRESENT | WRITABLE | IS_PAGE;
	}
	return 0;
}

/* ---- set-up ---- */

static int check_slots(struct kvm_guest *guest, const struct kvm_guest_slot *slots,
		       size_t nslots)
{
	size_t i;

	for (i = 0; i < nslots; i++) {
		if (slots[i].gpa % PAGE || slots[i].len % PAGE || !slots[i].len ||
		    (uintptr_t)slots[i].hva % PAGE || slots[i].gpa >> 47 || slots[i].len >> 47)
			return fail(EINVAL, "slot %zu at GPA %#llx", i,
				    (unsigned long long)slots[i].gpa);
		if (slots[i].gpa == 0 && slots[i].len >= KVM_GUEST_RESERVED)
			guest->low = slots[i].hva;
	}
	if (!guest->low)
		return fail(EINVAL, "no slot has the GPAs from 0 to %#x", KVM_GUEST_RESERVED);
	return 0;
}

static int add_slot(struct kvm_guest *guest, unsigned int number,
		    const struct kvm_guest_slot *slot)
{
	struct kvm_userspace_memory_region region = {
		.slot = number,
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->len,
		.userspace_addr = (uintptr_t)slot->hva,
	};

	if (ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region))
		return fail(errno, "KVM_SET_USER_MEMORY_REGION at GPA %#llx",
			    (unsigned long long)slot->gpa);
	return map_slot(guest, slot);
}

/* Without it the CPU has no 64-bit mode and 36 bits of physical address. */
static int set_cpuid(struct kvm_guest *guest)
{
	struct kvm_cpuid2 *cpuid;
	int rc = 0;

	cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return fail(ENOMEM, "no CPUID");
	cpuid->nent = MAX_CPUID;
	if (ioctl(guest->kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
		rc = fail(errno, "KVM_GET_SUPPORTED_CPUID");
	else if (ioctl(guest->vcpu, KVM_SET_CPUID2, cpuid))
		rc = fail(errno, "KVM_SET_CPUID2");
	free(cpuid);
	return rc;
}

static int create_vm(struct kvm_guest *guest)
{
	int version;

	guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (guest->kvm < 0)
		return fail(errno, "/dev/kvm (is kvm-amd or kvm-intel loaded?)");
	version = ioctl(guest->kvm, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return fail(ENOTSUP, "KVM has API version %d", version);
	guest->vm = ioctl(guest->kvm, KVM_CREATE_VM, 0);
	if (guest->vm < 0)
		return fail(errno, "KVM_CREATE_VM");
	if (ioctl(guest->kvm, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0 &&
	    ioctl(guest->vm, KVM_SET_TSS_ADDR, TSS_ADDR))
		return fail(errno, "KVM_SET_TSS_ADDR");
	return 0;
}

static int create_vcpu(struct kvm_guest *guest)
{
	void *run;
	int len;

	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
	if (guest->vcpu < 0)
		return fail(errno, "KVM_CREATE_VCPU");
	len = ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (len < 0)
		return fail(errno, "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
	if (run == MAP_FAILED)
		return fail(errno, "mmap of the virtual CPU");
	guest->run = run;
	guest->run_len = len;
	return set_cpuid(guest);
}

int kvm_guest_create(struct kvm_guest **guestp, const struct kvm_guest_slot *slots,
		     size_t nslots)
{
	struct kvm_guest *guest;
	size_t i;
	int rc;

	*guestp = NULL;
	guest = calloc(1, sizeof(*guest));
	if (!guest)
		return fail(ENOMEM, "no guest");
	guest->kvm = guest->vm = guest->vcpu = -1;

	rc = check_slots(guest, slots, nslots);
	if (!rc)
		rc = create_vm(guest);
	if (!rc) {
		memset(guest->low, 0, KVM_GUEST_RESERVED);
		memcpy(guest->low + CODE, kvm_guest_code, kvm_guest_code_end - kvm_guest_code);
		guest->next_table = TABLES_START + PAGE;
	}
	for (i = 0; !rc && i < nslots; i++)
		rc = add_slot(guest, i, &slots[i]);
	if (!rc)
		rc = create_vcpu(guest);
	if (rc) {
		kvm_guest_destroy(guest);
		return rc;
	}
	*guestp = guest;
	return 0;
}

void kvm_guest_destroy(struct kvm_guest *guest)
{
	if (!guest)
		return;
	if (guest->run)
		munmap(guest->run, guest->run_len);
	if (guest->vcpu >= 0)
		close(guest->vcpu);
	if (guest->vm >= 0)
		close(guest->vm);
	if (guest->kvm >= 0)
		close(guest->kvm);
	free(guest);
}

/* ---- running ---- */

static int set_registers(struct kvm_guest *guest)
{
	const struct kvm_segment code = {
		.base = 0, .limit = 0xffffffff, .selector = 0x08,
		.type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
	};
	const struct kvm_segment data = {
		.base = 0, .limit = 0xffffffff, .selector = 0x10,
		.type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
	};
	const struct kvm_regs regs = {
		.rip = CODE,
		.rbx = MAILBOX,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	if (ioctl(guest->vcpu, KVM_GET_SREGS, &sregs))
		return fail(errno, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	sregs.cr3 = TABLES_START;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(guest->vcpu, KVM_SET_SREGS, &sregs))
		return fail(errno, "KVM_SET_SREGS");
	if (ioctl(guest->vcpu, KVM_SET_REGS, &regs))
		return fail(errno, "KVM_SET_REGS");
	return 0;
}

/* KVM finishes the access that it told of at the next run; have it do just that. */
static void finish_exit(struct kvm_guest *guest)
{
	int tries;

	guest->run->immediate_exit = 1;
	for (tries = 0; tries < 16; tries++)
		if (ioctl(guest->vcpu, KVM_RUN, 0) && errno == EINTR)
			break;
	guest->run->immediate_exit = 0;
}

static int told_exit(struct kvm_guest *guest)
{
	const struct kvm_run *run = guest->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.port == KVM_GUEST_PORT)
			return 0;
		return fail(EPROTO, "the guest used I/O port %#x", run->io.port);
	case KVM_EXIT_MMIO:
		return fail(EFAULT, "the guest %s GPA %#llx, where it has no memory",
			    run->mmio.is_write ? "wrote to" : "read from",
			    (unsigned long long)run->mmio.phys_addr);
	case KVM_EXIT_SHUTDOWN:
		return fail(EFAULT, "the guest used an address outside all of its memory");
	default:
		return fail(EPROTO, "the guest ended with exit reason %u", run->exit_reason);
	}
}

static int run_command(struct kvm_guest *guest, struct kvm_guest_mailbox *cmd)
{
	struct kvm_guest_mailbox *mailbox = (void *)(guest->low + MAILBOX);
	int rc;

	if ((cmd->gpa | cmd->len) % 8)
		return fail(EINVAL, "GPA %#llx or length %#llx is not a multiple of 8",
			    (unsigned long long)cmd->gpa, (unsigned long long)cmd->len);
	*mailbox = *cmd;
	rc = set_registers(guest);
	if (rc)
		return rc;
	while (ioctl(guest->vcpu, KVM_RUN, 0))
		if (errno != EINTR && errno != EAGAIN)
			return fail(errno, "KVM_RUN");
	rc = told_exit(guest);
	finish_exit(guest);
	/* Not what the compiler may know of it: the guest wrote it. */
	cmd->result = *(volatile uint64_t *)&mailbox->result;
	return rc;
}

int kvm_guest_fill(struct kvm_guest *guest, uint64_t gpa, uint64_t len, uint64_t seed)
{
	struct kvm_guest_mailbox cmd = {
		.cmd = KVM_GUEST_FILL, .gpa = gpa, .len = len, .seed = seed,
	};

	return run_command(guest, &cmd);
}

int kvm_guest_verify(struct kvm_guest *guest, uint64_t gpa, uint64_t len, uint64_t seed,
		     uint64_t base, uint64_t *wrong)
{
	struct kvm_guest_mailbox cmd = {
		.cmd = KVM_GUEST_VERIFY, .gpa = gpa, .len = len, .arg = base, .seed = seed,
	};
	int rc = run_command(guest, &cmd);

	if (rc)
		return rc;
	if (cmd.result == gpa + len)
		return 1;
	if (wrong)
		*wrong = cmd.result;
	return 0;
}

int kvm_guest_copy(struct kvm_guest *guest, uint64_t dst, uint64_t src, uint64_t len)
{
	struct kvm_guest_mailbox cmd = {
		.cmd = KVM_GUEST_COPY, .gpa = dst, .len = len, .arg = src,
	};

	return run_command(guest, &cmd);
}

int kvm_guest_load(struct kvm_guest *guest, uint64_t gpa, uint64_t *value)
{
	struct kvm_guest_mailbox cmd = { .cmd = KVM_GUEST_LOAD, .gpa = gpa };
	int rc = run_command(guest, &cmd);

	if (!rc)
		*value = cmd.result;
	return rc;
}

int kvm_guest_store(struct kvm_guest *guest, uint64_t gpa, uint64_t value)
{
	struct kvm_guest_mailbox cmd = { .cmd = KVM_GUEST_STORE, .gpa = gpa, .arg = value };

	return run_command(guest, &cmd);
}

int kvm_guest_add(struct kvm_guest *guest, uint64_t gpa, uint64_t times)
{
	struct kvm_guest_mailbox cmd = { .cmd = KVM_GUEST_ADD, .gpa = gpa, .arg = times };

	return run_command(guest, &cmd);
}
