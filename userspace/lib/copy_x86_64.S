/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * Loops over bytes that may fault; they return how many bytes are left.
 *
 * What is fast does not keep count. When it faults, all is done again by the one
 * instruction that does (rep movsb, rep stosb: %rcx is exact at a fault, and the bytes
 * are done in order). So %rdi, %rsi and %rdx stay as they were given, in all that comes
 * before it; and stores go up, so that none is done behind one that faults (but for
 * some kilobytes of what goes past the caches). 1, 2, 4, 8 and 16 bytes are one load and
 * one store.
 */
#if defined(__x86_64__)

	.macro	EX insn:vararg
1:	\insn
	.pushsection guestmem_ex, "a", @progbits
	.balign 4
	.long	1b - ., recover - .
	.popsection
	.endm

	.macro	EX_AT to insn:vararg
1:	\insn
	.pushsection guestmem_ex, "a", @progbits
	.balign 4
	.long	1b - ., \to - .
	.popsection
	.endm

	.data
	.hidden	copy_rep_min, copy_stream_min, copy_avx
	.globl	copy_rep_min, copy_stream_min, copy_avx
	.balign	8
/* From here on, rep movsb; recover.c finds out how good it is. */
copy_rep_min:
	.quad	-1
/* From here on, past the caches. */
copy_stream_min:
	.quad	-1
/* Whether there is AVX. */
copy_avx:
	.byte	0
	.text

/* size_t guestmem_copy_(void *dst, const void *src, size_t len) */
	.globl	guestmem_copy_
	.type	guestmem_copy_, @function
	.balign	64
guestmem_copy_:
	.cfi_startproc
	endbr64
	cmpq	$16, %rdx
	jb	.Lbelow16
	je	.L16
	cmpq	$32, %rdx
	ja	.Labove32
	EX	movups	(%rsi), %xmm0
	EX	movups	-16(%rsi,%rdx), %xmm1
	EX	movups	%xmm0, (%rdi)
	EX	movups	%xmm1, -16(%rdi,%rdx)
	xorl	%eax, %eax
	ret

.Labove32:
	cmpq	$64, %rdx
	ja	.Labove64
	EX	movups	(%rsi), %xmm0
	EX	movups	16(%rsi), %xmm1
	EX	movups	-32(%rsi,%rdx), %xmm2
	EX	movups	-16(%rsi,%rdx), %xmm3
	EX	movups	%xmm0, (%rdi)
	EX	movups	%xmm1, 16(%rdi)
	EX	movups	%xmm2, -32(%rdi,%rdx)
	EX	movups	%xmm3, -16(%rdi,%rdx)
	xorl	%eax, %eax
	ret

	.balign	16
.Labove64:
	cmpq	copy_rep_min(%rip), %rdx
	jae	.Llong
	/* All but the last 1 to 64 bytes by 64, and the last 64 from the end. */
	leaq	-64(%rdx), %rcx
	xorl	%eax, %eax
	cmpb	$0, copy_avx(%rip)
	jne	.Lavx
	.balign	16
.Lsse:
	EX	movups	(%rsi,%rax), %xmm0
	EX	movups	16(%rsi,%rax), %xmm1
	EX	movups	32(%rsi,%rax), %xmm2
	EX	movups	48(%rsi,%rax), %xmm3
	EX	movups	%xmm0, (%rdi,%rax)
	EX	movups	%xmm1, 16(%rdi,%rax)
	EX	movups	%xmm2, 32(%rdi,%rax)
	EX	movups	%xmm3, 48(%rdi,%rax)
	addq	$64, %rax
	cmpq	%rcx, %rax
	jb	.Lsse
	EX	movups	(%rsi,%rcx), %xmm0
	EX	movups	16(%rsi,%rcx), %xmm1
	EX	movups	32(%rsi,%rcx), %xmm2
	EX	movups	48(%rsi,%rcx), %xmm3
	EX	movups	%xmm0, (%rdi,%rcx)
	EX	movups	%xmm1, 16(%rdi,%rcx)
	EX	movups	%xmm2, 32(%rdi,%rcx)
	EX	movups	%xmm3, 48(%rdi,%rcx)
	xorl	%eax, %eax
	ret

	/* Four at a time while there are more than the last four, which are done from the end. */
	.balign	16
.Lavx:
	cmpq	$128, %rdx
	jbe	.Lavx2
	leaq	-128(%rdx), %rcx
	.balign	16
.Lavx4:
	EX_AT	recover_avx vmovdqu (%rsi,%rax), %ymm0
	EX_AT	recover_avx vmovdqu 32(%rsi,%rax), %ymm1
	EX_AT	recover_avx vmovdqu 64(%rsi,%rax), %ymm2
	EX_AT	recover_avx vmovdqu 96(%rsi,%rax), %ymm3
	EX_AT	recover_avx vmovdqu %ymm0, (%rdi,%rax)
	EX_AT	recover_avx vmovdqu %ymm1, 32(%rdi,%rax)
	EX_AT	recover_avx vmovdqu %ymm2, 64(%rdi,%rax)
	EX_AT	recover_avx vmovdqu %ymm3, 96(%rdi,%rax)
	subq	$-128, %rax
	cmpq	%rcx, %rax
	jb	.Lavx4
	EX_AT	recover_avx vmovdqu (%rsi,%rcx), %ymm0
	EX_AT	recover_avx vmovdqu 32(%rsi,%rcx), %ymm1
	EX_AT	recover_avx vmovdqu 64(%rsi,%rcx), %ymm2
	EX_AT	recover_avx vmovdqu 96(%rsi,%rcx), %ymm3
	EX_AT	recover_avx vmovdqu %ymm0, (%rdi,%rcx)
	EX_AT	recover_avx vmovdqu %ymm1, 32(%rdi,%rcx)
	EX_AT	recover_avx vmovdqu %ymm2, 64(%rdi,%rcx)
	EX_AT	recover_avx vmovdqu %ymm3, 96(%rdi,%rcx)
	vzeroupper
	xorl	%eax, %eax
	ret
.Lavx2:
	EX_AT	recover_avx vmovdqu (%rsi), %ymm0
	EX_AT	recover_avx vmovdqu 32(%rsi), %ymm1
	EX_AT	recover_avx vmovdqu (%rsi,%rcx), %ymm2
	EX_AT	recover_avx vmovdqu 32(%rsi,%rcx), %ymm3
	EX_AT	recover_avx vmovdqu %ymm0, (%rdi)
	EX_AT	recover_avx vmovdqu %ymm1, 32(%rdi)
	EX_AT	recover_avx vmovdqu %ymm2, (%rdi,%rcx)
	EX_AT	recover_avx vmovdqu %ymm3, 32(%rdi,%rcx)
	vzeroupper
	xorl	%eax, %eax
	ret

.L16:
	EX	movups	(%rsi), %xmm0
	EX	movups	%xmm0, (%rdi)
	xorl	%eax, %eax
	ret

	.balign	16
.Lbelow16:
	cmpl	$8, %edx
	jb	.Lbelow8
	EX	movq	(%rsi), %rax
	je	.L8
	EX	movq	-8(%rsi,%rdx), %rcx
	EX	movq	%rax, (%rdi)
	EX	movq	%rcx, -8(%rdi,%rdx)
	xorl	%eax, %eax
	ret

.L8:
	EX	movq	%rax, (%rdi)
	xorl	%eax, %eax
	ret

.Lbelow8:
	cmpl	$4, %edx
	jb	.Lbelow4
	EX	movl	(%rsi), %eax
	je	.L4
	EX	movl	-4(%rsi,%rdx), %ecx
	EX	movl	%eax, (%rdi)
	EX	movl	%ecx, -4(%rdi,%rdx)
	xorl	%eax, %eax
	ret

.L4:
	EX	movl	%eax, (%rdi)
	xorl	%eax, %eax
	ret

.Lbelow4:
	cmpl	$2, %edx
	jb	.Lbelow2
	EX	movzwl	(%rsi), %eax
	je	.L2
	EX	movzbl	2(%rsi), %ecx
	EX	movw	%ax, (%rdi)
	EX	movb	%cl, 2(%rdi)
	xorl	%eax, %eax
	ret

.L2:
	EX	movw	%ax, (%rdi)
	xorl	%eax, %eax
	ret

.Lbelow2:
	testl	%edx, %edx
	je	.L0
	EX	movzbl	(%rsi), %eax
	EX	movb	%al, (%rdi)
.L0:
	xorl	%eax, %eax
	ret

.Llong:
	cmpq	copy_stream_min(%rip), %rdx
	jb	.Lrep
	/*
	 * More than the caches hold: past them. The first bytes up to where the destination is
	 * aligned, then two pages at a time, side by side, then what is left.
	 */
	EX	movups	(%rsi), %xmm0
	EX	movups	%xmm0, (%rdi)
	movl	%edi, %eax
	negl	%eax
	andl	$15, %eax
	leaq	(%rdi,%rax), %r8
	leaq	(%rsi,%rax), %r9
	movq	%rdx, %rcx
	subq	%rax, %rcx
	movq	%rcx, %r10
	shrq	$13, %r10
	andl	$8191, %ecx
.Lpages:
	movl	$64, %eax
.Lstream:
	prefetcht0	512(%r9)
	prefetcht0	4096+512(%r9)
	EX_AT	recover_stream movups (%r9), %xmm0
	EX_AT	recover_stream movups 16(%r9), %xmm1
	EX_AT	recover_stream movups 32(%r9), %xmm2
	EX_AT	recover_stream movups 48(%r9), %xmm3
	EX_AT	recover_stream movups 4096(%r9), %xmm4
	EX_AT	recover_stream movups 4096+16(%r9), %xmm5
	EX_AT	recover_stream movups 4096+32(%r9), %xmm6
	EX_AT	recover_stream movups 4096+48(%r9), %xmm7
	EX_AT	recover_stream movntps %xmm0, (%r8)
	EX_AT	recover_stream movntps %xmm1, 16(%r8)
	EX_AT	recover_stream movntps %xmm2, 32(%r8)
	EX_AT	recover_stream movntps %xmm3, 48(%r8)
	EX_AT	recover_stream movntps %xmm4, 4096(%r8)
	EX_AT	recover_stream movntps %xmm5, 4096+16(%r8)
	EX_AT	recover_stream movntps %xmm6, 4096+32(%r8)
	EX_AT	recover_stream movntps %xmm7, 4096+48(%r8)
	addq	$64, %r8
	addq	$64, %r9
	decl	%eax
	jnz	.Lstream
	addq	$4096, %r8
	addq	$4096, %r9
	decq	%r10
	jnz	.Lpages
	sfence
	/* %rcx bytes are left at %r8 and %r9. */
	movq	%r8, %rdi
	movq	%r9, %rsi
	EX_AT	.Lleft rep movsb
	movq	%rcx, %rax
	ret

recover_stream:
	sfence
	jmp	recover
recover_avx:
	vzeroupper
recover:
.Lrep:
	movq	%rdx, %rcx
	EX_AT	.Lleft rep movsb
.Lleft:
	movq	%rcx, %rax
	ret
	.cfi_endproc
	.size	guestmem_copy_, . - guestmem_copy_

/* size_t fill_bytes(void *dst, int value, size_t len) */
	.globl	fill_bytes
	.hidden	fill_bytes
	.type	fill_bytes, @function
	.balign	16
fill_bytes:
	.cfi_startproc
	endbr64
	movzbl	%sil, %eax
	movq	%rdx, %rcx
	EX_AT	.Lunfilled rep stosb
.Lunfilled:
	movq	%rcx, %rax
	ret
	.cfi_endproc
	.size	fill_bytes, . - fill_bytes
#endif

/* In every object, also an empty one: else the stack becomes executable. */
	.section .note.GNU-stack, "", @progbits
