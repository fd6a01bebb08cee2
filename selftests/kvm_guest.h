/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A real KVM guest of one virtual CPU that works on its own memory as it is told:
 * fills it with a pattern, verifies a pattern, loads, stores, copies, adds. For
 * tests that need to know what the *guest* sees.
 *
 * The caller gives it memory slots. The first KVM_GUEST_RESERVED bytes of the guest
 * must be in one of them; there the library puts page tables, code, and a mailbox
 * for commands. All the rest is the caller's. The guest runs in 64-bit mode and has
 * each GPA of the slots at the virtual address of the same value.
 *
 * Functions return 0 or -errno; kvm_guest_strerror() says what went wrong.
 */
#ifndef _KVM_GUEST_H
#define _KVM_GUEST_H

#define KVM_GUEST_RESERVED	0x40000

/* Commands, for the code in the guest (kvm_guest_code.S). */
#define KVM_GUEST_FILL		1
#define KVM_GUEST_VERIFY	2
#define KVM_GUEST_COPY		3
#define KVM_GUEST_LOAD		4
#define KVM_GUEST_STORE		5
#define KVM_GUEST_ADD		6

/* Offsets in struct kvm_guest_mailbox. */
#define KVM_GUEST_MB_CMD	0x00
#define KVM_GUEST_MB_GPA	0x08
#define KVM_GUEST_MB_LEN	0x10
#define KVM_GUEST_MB_ARG	0x18
#define KVM_GUEST_MB_SEED	0x20
#define KVM_GUEST_MB_RESULT	0x28

/* The I/O port by which the guest tells that a command is done. */
#define KVM_GUEST_PORT		0x10

#define KVM_GUEST_PATTERN_SEED	0xd6e8feb86659fd93
#define KVM_GUEST_PATTERN_MUL	0x9e3779b97f4a7c15

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <stdint.h>

/**
 * struct kvm_guest_slot - memory that the guest gets
 * @gpa: first address; page-aligned
 * @len: bytes; whole pages
 * @hva: the memory; stays the caller's, and must stay until kvm_guest_destroy()
 */
struct kvm_guest_slot {
	uint64_t gpa;
	uint64_t len;
	void *hva;
};

struct kvm_guest;

/* Never NULL; about the last failure of the calling thread. */
const char *kvm_guest_strerror(void);

int kvm_guest_create(struct kvm_guest **guest, const struct kvm_guest_slot *slots,
		     size_t nslots);
void kvm_guest_destroy(struct kvm_guest *guest);

/*
 * The commands run in the caller's thread; one at a time. Addresses and lengths are
 * multiples of 8 (else EINVAL). EFAULT: the guest touched an address that it does
 * not have.
 */

/* Each word at X, from @gpa on, becomes kvm_guest_pattern(@seed, X). */
int kvm_guest_fill(struct kvm_guest *guest, uint64_t gpa, uint64_t len, uint64_t seed);

/*
 * Is at @gpa what a fill with @seed wrote at @base? 1: yes; 0: no, and @wrong is
 * the GPA of the first word that differs.
 */
int kvm_guest_verify(struct kvm_guest *guest, uint64_t gpa, uint64_t len, uint64_t seed,
		     uint64_t base, uint64_t *wrong);

int kvm_guest_copy(struct kvm_guest *guest, uint64_t dst, uint64_t src, uint64_t len);
int kvm_guest_load(struct kvm_guest *guest, uint64_t gpa, uint64_t *value);
int kvm_guest_store(struct kvm_guest *guest, uint64_t gpa, uint64_t value);

/* Adds 1 to the word at @gpa, atomically, @times times. */
int kvm_guest_add(struct kvm_guest *guest, uint64_t gpa, uint64_t times);

/*
 * The pattern, as the guest computes it. Words with the same seed differ, so data at
 * a wrong address is found; so do the words of one address with different seeds.
 */
static inline uint64_t kvm_guest_pattern(uint64_t seed, uint64_t gpa)
{
	uint64_t x = (gpa + seed * KVM_GUEST_PATTERN_SEED) * KVM_GUEST_PATTERN_MUL;

	return x ^ (x >> 32);
}

#endif /* __ASSEMBLER__ */
#endif /* _KVM_GUEST_H */
