/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest of kvm_guest.c runs: one command, then an OUT that ends KVM_RUN.
 * It is copied into guest memory, so it refers to nothing but its registers.
 *
 * On entry: %rbx is the address of the mailbox; there is no stack, no IDT.
 */
#include "kvm_guest.h"

	.section .rodata
	.balign	16
	.globl	kvm_guest_code
	.globl	kvm_guest_code_end
	.code64

kvm_guest_code:
	cld
	mov	KVM_GUEST_MB_GPA(%rbx), %rdi
	mov	KVM_GUEST_MB_LEN(%rbx), %rcx
	mov	KVM_GUEST_MB_ARG(%rbx), %rsi
	mov	KVM_GUEST_MB_SEED(%rbx), %r8
	movabs	$KVM_GUEST_PATTERN_SEED, %rax
	imul	%rax, %r8
	movabs	$KVM_GUEST_PATTERN_MUL, %r9

	mov	KVM_GUEST_MB_CMD(%rbx), %rax
	cmp	$KVM_GUEST_FILL, %rax
	je	fill
	cmp	$KVM_GUEST_VERIFY, %rax
	je	verify
	cmp	$KVM_GUEST_COPY, %rax
	je	copy
	cmp	$KVM_GUEST_LOAD, %rax
	je	load
	cmp	$KVM_GUEST_STORE, %rax
	je	store
	cmp	$KVM_GUEST_ADD, %rax
	je	add
	ud2

	/* %rax = the pattern of address \reg */
	.macro	pattern reg
	lea	(\reg, %r8), %rax
	imul	%r9, %rax
	mov	%rax, %rdx
	shr	$32, %rdx
	xor	%rdx, %rax
	.endm

fill:
	add	%rdi, %rcx
1:	cmp	%rcx, %rdi
	je	done
	pattern	%rdi
	mov	%rax, (%rdi)
	add	$8, %rdi
	jmp	1b

	/* What stands at %rdi is compared with the pattern of address %rsi. */
verify:
	add	%rdi, %rcx
1:	cmp	%rcx, %rdi
	je	2f
	pattern	%rsi
	cmp	%rax, (%rdi)
	jne	2f
	add	$8, %rdi
	add	$8, %rsi
	jmp	1b
	/* the first wrong address, or the end */
2:	mov	%rdi, KVM_GUEST_MB_RESULT(%rbx)
	jmp	done

copy:
	shr	$3, %rcx
	rep movsq
	jmp	done

load:
	mov	(%rdi), %rax
	mov	%rax, KVM_GUEST_MB_RESULT(%rbx)
	jmp	done

store:
	mov	%rsi, (%rdi)
	jmp	done

add:
1:	test	%rsi, %rsi
	jz	done
	lock incq (%rdi)
	dec	%rsi
	jmp	1b

done:
	out	%al, $KVM_GUEST_PORT
	ud2
kvm_guest_code_end:

	.section .note.GNU-stack, "", @progbits
