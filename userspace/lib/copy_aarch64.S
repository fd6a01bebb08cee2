/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * Loops over bytes that may fault; they return how many bytes are left.
 *
 * In all of them, what is before x3 is done. What is fast moves it on behind its last
 * store only. When it faults, the bytes from there on are done one by one: the one that
 * faults again is the first that cannot be done. Should none do so any more, it goes on
 * being fast. So x0, x1 and x2 stay as they were given; and stores go up, so that none is
 * done behind one that faults. 1, 2, 4, 8 and 16 bytes are one load and one store.
 */
#if defined(__aarch64__)

	.macro	EX_AT to, insn:vararg
1:	\insn
	.pushsection guestmem_ex, "a", %progbits
	.balign 4
	.long	1b - ., \to - .
	.popsection
	.endm

	/* What one round of the fast loop does; more is done by bytes only at the end. */
	.equ	ROUND, 64

	.text

/* size_t guestmem_copy_(void *dst, const void *src, size_t len) */
	.macro	EX insn:vararg
	EX_AT	copy_bytes, \insn
	.endm

	.globl	guestmem_copy_
	.type	guestmem_copy_, %function
	.balign	64
guestmem_copy_:
	.cfi_startproc
	hint	#34			// bti c
copy_again:
	mov	x3, #0
	add	x4, x1, x2		// behind the last byte of the source
	add	x5, x0, x2		// and of the destination
	cmp	x2, #16
	b.lo	.Lbelow16
	b.eq	.L16
	cmp	x2, #ROUND
	b.hi	.Labove64
	cmp	x2, #32
	b.hi	.Labove32
	EX	ldp	x6, x7, [x1]
	EX	ldp	x8, x9, [x4, #-16]
	EX	stp	x6, x7, [x0]
	EX	stp	x8, x9, [x5, #-16]
	mov	x0, #0
	ret

.L16:
	EX	ldp	x6, x7, [x1]
	EX	stp	x6, x7, [x0]
	mov	x0, #0
	ret

.Labove32:
	EX	ldp	q0, q1, [x1]
	EX	ldp	q2, q3, [x4, #-32]
	EX	stp	q0, q1, [x0]
	EX	stp	q2, q3, [x5, #-32]
	mov	x0, #0
	ret

	/* All but the last 1 to 64 bytes by 64, and the last 64 from the end. */
.Labove64:
	sub	x10, x2, #ROUND
	.balign	16
.Lloop:
	add	x8, x1, x3
	add	x9, x0, x3
	EX	ldp	q0, q1, [x8]
	EX	ldp	q2, q3, [x8, #32]
	EX	stp	q0, q1, [x9]
	EX	stp	q2, q3, [x9, #32]
	add	x3, x3, #ROUND
	cmp	x3, x10
	b.lo	.Lloop
	EX	ldp	q0, q1, [x4, #-64]
	EX	ldp	q2, q3, [x4, #-32]
	EX	stp	q0, q1, [x5, #-64]
	EX	stp	q2, q3, [x5, #-32]
	mov	x0, #0
	ret

.Lbelow16:
	cmp	x2, #8
	b.lo	.Lbelow8
	b.eq	.L8
	EX	ldr	x6, [x1]
	EX	ldr	x7, [x4, #-8]
	EX	str	x6, [x0]
	EX	str	x7, [x5, #-8]
	mov	x0, #0
	ret

.L8:
	EX	ldr	x6, [x1]
	EX	str	x6, [x0]
	mov	x0, #0
	ret

.Lbelow8:
	cmp	x2, #4
	b.lo	.Lbelow4
	b.eq	.L4
	EX	ldr	w6, [x1]
	EX	ldr	w7, [x4, #-4]
	EX	str	w6, [x0]
	EX	str	w7, [x5, #-4]
	mov	x0, #0
	ret

.L4:
	EX	ldr	w6, [x1]
	EX	str	w6, [x0]
	mov	x0, #0
	ret

.Lbelow4:
	cmp	x2, #2
	b.lo	.Lbelow2
	b.eq	.L2
	EX	ldrh	w6, [x1]
	EX	ldrb	w7, [x1, #2]
	EX	strh	w6, [x0]
	EX	strb	w7, [x0, #2]
	mov	x0, #0
	ret

.L2:
	EX	ldrh	w6, [x1]
	EX	strh	w6, [x0]
	mov	x0, #0
	ret

.Lbelow2:
	cbz	x2, .L0
	EX	ldrb	w6, [x1]
	EX	strb	w6, [x0]
.L0:
	mov	x0, #0
	ret

	/* As much as a round, or what there is. */
copy_bytes:
	add	x10, x3, #ROUND
	cmp	x10, x2
	csel	x10, x10, x2, lo
.Lcopy_byte:
	EX_AT	.Lleft, ldrb w6, [x1, x3]
	EX_AT	.Lleft, strb w6, [x0, x3]
	add	x3, x3, #1
	cmp	x3, x10
	b.lo	.Lcopy_byte
	add	x0, x0, x3
	add	x1, x1, x3
	sub	x2, x2, x3
	b	copy_again
.Lleft:
	sub	x0, x2, x3
	ret
	.cfi_endproc
	.size	guestmem_copy_, . - guestmem_copy_

/* size_t fill_bytes(void *dst, int value, size_t len) */
	.globl	fill_bytes
	.hidden	fill_bytes
	.type	fill_bytes, %function
	.balign	64
fill_bytes:
	.cfi_startproc
	hint	#34			// bti c
	dup	v0.16b, w1
	mov	x3, #0
.Lfill_rounds:
	sub	x10, x2, x3
	cmp	x10, #ROUND
	b.lo	fill_last
.Lfill:
	add	x9, x0, x3
	EX_AT	fill_bytewise, stp q0, q0, [x9]
	EX_AT	fill_bytewise, stp q0, q0, [x9, #32]
	add	x3, x3, #ROUND
	sub	x10, x2, x3
	cmp	x10, #ROUND
	b.hs	.Lfill
fill_last:
	cbz	x10, .Lunfilled
fill_bytewise:
	add	x10, x3, #ROUND
	cmp	x10, x2
	csel	x10, x10, x2, lo
.Lfill_byte:
	EX_AT	.Lunfilled, strb w1, [x0, x3]
	add	x3, x3, #1
	cmp	x3, x10
	b.lo	.Lfill_byte
	b	.Lfill_rounds
.Lunfilled:
	sub	x0, x2, x3
	ret
	.cfi_endproc
	.size	fill_bytes, . - fill_bytes

/* Without it, the linker takes branch protection from the whole of what this is in. */
#if defined(__ARM_FEATURE_BTI_DEFAULT)
	.pushsection .note.gnu.property, "a", %note
	.balign	8
	.long	4, 16, 5		// NT_GNU_PROPERTY_TYPE_0
	.asciz	"GNU"
	.long	0xc0000000, 4, 1, 0	// GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI
	.popsection
#endif
#endif

/* In every object, also an empty one: else the stack becomes executable. */
	.section .note.GNU-stack, "", %progbits
