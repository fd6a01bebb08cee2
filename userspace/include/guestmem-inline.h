/* SPDX-License-Identifier: LGPL-2.1-only OR MIT */
/*
 * What of libguestmem is compiled into its callers. Included by guestmem.h, not to be
 * included alone; what ends in an underscore is between this file and the library, and
 * changes with its soname.
 *
 * A handle starts with a struct guestmem_fast_. While an address is below read_limit
 * (or write_limit), it is at base + address, and so are the 15 bytes behind it; the
 * limits are 0 where that is not so, and then, and when the access faults, the library
 * is called, which finds out why. An instruction that may fault has an entry in the
 * section guestmem_ex, by which the library's signal handler finds the way out.
 */
#ifndef LIBGUESTMEM_INLINE_H
#define LIBGUESTMEM_INLINE_H

#ifndef LIBGUESTMEM_H
#error "include <guestmem.h>"
#endif

/*
 * @read_limit, @write_limit: see above
 * @base: where address 0 is
 * @dirty: bitmap of the guest, or NULL: first log2 of its granule, then its words
 * @offset: of address 0 in the guest
 * @slots: for each 2 MiB of the guest's addresses, where the region ends that has the
 *	first of them; 0 if there is none
 * @nslots: how many; 0 if they cannot be used
 * @seq: of the table that the slots are made from
 * @slots_seq: what it was then
 * @slot_ids: the number of each slot's region
 * @regions: a region is at its number modulo GUESTMEM_REGIONS_; NULL if they cannot be
 *	held without asking
 */
struct guestmem_fast_ {
	uint64_t read_limit;
	uint64_t write_limit;
	char *base;
	uint64_t *dirty;
	uint64_t offset;
	const uint64_t *slots;
	uint64_t nslots;
	const uint32_t *seq;
	uint32_t slots_seq;
	const uint32_t *slot_ids;
	struct guestmem_region_ *regions;
};

/*
 * @users: how many hold it, GUESTMEM_GONE_ if there can be no more, and its number in the
 *	upper half
 * @rest: the library's
 */
struct guestmem_region_ {
	uint64_t users;
	uint64_t rest[7];
};

#define GUESTMEM_REGIONS_	4096
#define GUESTMEM_GONE_		0x80000000U

/* Weak: a file that includes this need not be linked with the library. */
GUESTMEM_API void guestmem_register_(const void *start, const void *end)
	__attribute__((__weak__));
GUESTMEM_API void guestmem_unregister_(const void *start) __attribute__((__weak__));
GUESTMEM_API int guestmem_read_slow_(struct guestmem *g, uint64_t gpa, void *buf, size_t len);
GUESTMEM_API int guestmem_write_slow_(struct guestmem *g, uint64_t gpa, const void *buf,
				      size_t len);
GUESTMEM_API void *guestmem_ptr_slow_(struct guestmem *g, uint64_t gpa, size_t len);
GUESTMEM_API int guestmem_hold_slow_(struct guestmem *g, uint64_t gpa, size_t len,
				     struct guestmem_hold *hold);
GUESTMEM_API void guestmem_release_slow_(struct guestmem_hold *hold);
GUESTMEM_API void guestmem_released_(struct guestmem_region_ *region);
GUESTMEM_API void guestmem_dirty_slow_(struct guestmem *g, uint64_t gpa, uint64_t len);
/* Returns the bytes that could not be copied. */
GUESTMEM_API size_t guestmem_copy_(void *dst, const void *src, size_t len);

/* Older compilers (GCC 8, clang 13) get asm goto wrong. */
#if (defined(__clang__) ? __clang_major__ >= 14 : defined(__GNUC__) && __GNUC__ >= 9) && \
	!defined(__ILP32__)
#if defined(__x86_64__)
#define GUESTMEM_MEM_		"m"
#define GUESTMEM_FAILED_	"movl $1, %k1"
#define GUESTMEM_WORKED_	"xorl %k1, %k1"
#define GUESTMEM_LOAD8_		"movzbl %2, %k0"
#define GUESTMEM_LOAD16_	"movzwl %2, %k0"
#define GUESTMEM_LOAD32_	"movl %2, %k0"
#define GUESTMEM_LOAD64_	"movq %2, %q0"
#define GUESTMEM_STORE8_	"movb %b0, %1"
#define GUESTMEM_STORE16_	"movw %w0, %1"
#define GUESTMEM_STORE32_	"movl %k0, %1"
#define GUESTMEM_STORE64_	"movq %q0, %1"
#elif defined(__aarch64__)
#define GUESTMEM_MEM_		"Q"
#define GUESTMEM_FAILED_	"mov %w1, #1"
#define GUESTMEM_WORKED_	"mov %w1, #0"
#define GUESTMEM_LOAD8_		"ldrb %w0, %2"
#define GUESTMEM_LOAD16_	"ldrh %w0, %2"
#define GUESTMEM_LOAD32_	"ldr %w0, %2"
#define GUESTMEM_LOAD64_	"ldr %x0, %2"
#define GUESTMEM_STORE8_	"strb %w0, %1"
#define GUESTMEM_STORE16_	"strh %w0, %1"
#define GUESTMEM_STORE32_	"str %w0, %1"
#define GUESTMEM_STORE64_	"str %x0, %1"
#endif
#endif

#ifdef GUESTMEM_MEM_

/* Of the numeric label @insn_; after a fault, it goes on at @go_on_. */
#define GUESTMEM_EX_(insn_, go_on_)							\
	"	.pushsection guestmem_ex, \"a?\", %%progbits\n"				\
	"	.balign 4\n"								\
	"	.long " insn_ " - ., " go_on_ " - .\n"					\
	"	.popsection\n"

/*
 * No asm goto: GCC before 11.5, 12.4 and 13.3 takes what it gives for given on the way to
 * the label, too, and so loses what a variable was before (GCC bug 113921).
 */
#define GUESTMEM_LOAD_(width_, ptr_, value_, failed_)					\
	__asm__ __volatile__("	" GUESTMEM_FAILED_ "\n"					\
		"1:	" GUESTMEM_LOAD##width_##_ "\n"					\
		"	" GUESTMEM_WORKED_ "\n"						\
		"2:\n"									\
		GUESTMEM_EX_("1b", "2b")						\
		: "=r" (value_), "=&r" (failed_)					\
		: GUESTMEM_MEM_ (*(const volatile uint##width_##_t *)(ptr_))		\
		: "memory", "cc")
#define GUESTMEM_STORE_(width_, ptr_, value_, fault_)					\
	__asm__ __volatile__ goto("1:	" GUESTMEM_STORE##width_##_ "\n"		\
		GUESTMEM_EX_("1b", "%l[" #fault_ "]")					\
		: : "r" (value_), GUESTMEM_MEM_ (*(volatile uint##width_##_t *)(ptr_))	\
		: "memory" : fault_)

#endif

#ifdef GUESTMEM_LOAD_

/* Tell the library of this program's (or shared object's) entries, once. */
extern const char guestmem_ex_start_[] __asm__("__start_guestmem_ex")
	__attribute__((__weak__, __visibility__("hidden")));
extern const char guestmem_ex_end_[] __asm__("__stop_guestmem_ex")
	__attribute__((__weak__, __visibility__("hidden")));

__attribute__((__constructor__, __unused__)) static void guestmem_begin_(void)
{
	/*
	 * GCC does not say so of what is weak and not defined: of an object without an entry
	 * of its own, it would be another object's.
	 */
	__asm__ __volatile__(".hidden __start_guestmem_ex\n	.hidden __stop_guestmem_ex");
	if (guestmem_register_)
		guestmem_register_(guestmem_ex_start_, guestmem_ex_end_);
}

__attribute__((__destructor__, __unused__)) static void guestmem_end_(void)
{
	if (guestmem_unregister_)
		guestmem_unregister_(guestmem_ex_start_);
}

#endif

/*
 * Only a bit that is clear is worth an atomic. That it is looked at before the write is
 * seen by others is made good by who takes the bits: see dirty.c.
 */
GUESTMEM_INLINE void guestmem_dirty_(struct guestmem *g, uint64_t gpa, uint64_t len);
GUESTMEM_INLINE void guestmem_dirty_(struct guestmem *g, uint64_t gpa, uint64_t len)
{
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;
	uint64_t *dirty = __atomic_load_n(&f->dirty, __ATOMIC_ACQUIRE);
	uint64_t first, last;

	if (__builtin_expect(!dirty, 1))
		return;
	first = (gpa + f->offset) >> dirty[0];
	last = (gpa + f->offset + len - 1) >> dirty[0];
	if (first != last ||
	    !(__atomic_load_n(&dirty[1 + first / 64], __ATOMIC_RELAXED) >> first % 64 & 1))
		guestmem_dirty_slow_(g, gpa, len);
}

GUESTMEM_INLINE int guestmem_read(struct guestmem *g, uint64_t gpa, void *buf, size_t len)
{
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;

	if (__builtin_expect(f && buf && gpa < f->read_limit &&
			     len <= f->read_limit - gpa, 1) &&
	    __builtin_expect(!guestmem_copy_(buf, f->base + gpa, len), 1))
		return 0;
	return guestmem_read_slow_(g, gpa, buf, len);
}

GUESTMEM_INLINE int guestmem_write(struct guestmem *g, uint64_t gpa, const void *buf,
				   size_t len)
{
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;

	/* No byte is none too many here: it is not to be noted as dirty. */
	if (__builtin_expect(f && buf && gpa < f->write_limit &&
			     len - 1 < f->write_limit - gpa, 1) &&
	    __builtin_expect(!guestmem_copy_(f->base + gpa, buf, len), 1)) {
		guestmem_dirty_(g, gpa, len);
		return 0;
	}
	return guestmem_write_slow_(g, gpa, buf, len);
}

/* Is that, and at least a byte, before the end that the slot tells? A window has no 2^63. */
GUESTMEM_INLINE int guestmem_reaches_(const struct guestmem_fast_ *f, uint64_t gpa, size_t len);
GUESTMEM_INLINE int guestmem_reaches_(const struct guestmem_fast_ *f, uint64_t gpa, size_t len)
{
	uint64_t end = __atomic_load_n(&f->slots[gpa >> 21], __ATOMIC_ACQUIRE);

	return (int64_t)len >= 0 && (int64_t)(end - gpa) > (int64_t)(len - (len != 0));
}

GUESTMEM_INLINE void *guestmem_ptr(struct guestmem *g, uint64_t gpa, size_t len)
{
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;

	if (__builtin_expect(f && gpa >> 21 < f->nslots, 1)) {
		/* In this order: a slot that is older than that is not taken for newer. */
		uint32_t seq = __atomic_load_n(&f->slots_seq, __ATOMIC_ACQUIRE);

		if (__builtin_expect(guestmem_reaches_(f, gpa, len) &&
				     __atomic_load_n(f->seq, __ATOMIC_RELAXED) == seq, 1))
			return f->base + gpa;
	}
	return guestmem_ptr_slow_(g, gpa, len);
}

GUESTMEM_INLINE void guestmem_release(struct guestmem_hold *hold)
{
	struct guestmem_region_ *r = hold ? (struct guestmem_region_ *)hold->region : NULL;

	if (__builtin_expect(!!r, 1)) {
		hold->region = NULL;
		if (__builtin_expect(__atomic_sub_fetch(&r->users, 1, __ATOMIC_RELEASE) &
				     GUESTMEM_GONE_, 0))
			guestmem_released_(r);
		return;
	}
	guestmem_release_slow_(hold);
}

/*
 * A slot's end is written before its number, and the region of a number is GONE before
 * another end is: so the end that is read after a number that can still be counted in is
 * of the region with that number.
 */
GUESTMEM_INLINE int guestmem_hold(struct guestmem *g, uint64_t gpa, size_t len,
				  struct guestmem_hold *hold)
{
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;

	if (__builtin_expect(f && hold && len && f->regions && gpa >> 21 < f->nslots, 1)) {
		uint32_t id = __atomic_load_n(&f->slot_ids[gpa >> 21], __ATOMIC_ACQUIRE);
		uint64_t users;

		if (__builtin_expect(guestmem_reaches_(f, gpa, len), 1)) {
			struct guestmem_region_ *r = &f->regions[id % GUESTMEM_REGIONS_];

			users = __atomic_fetch_add(&r->users, 1, __ATOMIC_ACQUIRE);
			hold->region = r;
			hold->space = (void *)0;
			hold->slice.iov_base = f->base + gpa;
			hold->slice.iov_len = len;
			if (__builtin_expect(users >> 32 == id && !(users & GUESTMEM_GONE_), 1))
				return 0;
			guestmem_release(hold);
		}
	}
	return guestmem_hold_slow_(g, gpa, len, hold);
}

#ifdef GUESTMEM_LOAD_
#define GUESTMEM_ACCESS_(width_)							\
GUESTMEM_INLINE int guestmem_read##width_(struct guestmem *g, uint64_t gpa,		\
					  uint##width_##_t *value)			\
{											\
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;		\
	uint##width_##_t got, slow = 0;							\
	uint32_t failed;								\
	int ret;									\
											\
	if (__builtin_expect(f && value && gpa < f->read_limit, 1)) {			\
		GUESTMEM_LOAD_(width_, f->base + gpa, got, failed);			\
		if (__builtin_expect(!failed, 1)) {					\
			*value = got;							\
			return 0;							\
		}									\
	}										\
	ret = guestmem_read_slow_(g, gpa, value ? &slow : (uint##width_##_t *)0,	\
				  sizeof(slow));					\
	if (value && ret >= 0)								\
		*value = slow;								\
	return ret;									\
}											\
											\
GUESTMEM_INLINE int guestmem_write##width_(struct guestmem *g, uint64_t gpa,		\
					   uint##width_##_t value)			\
{											\
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;		\
											\
	if (__builtin_expect(f && gpa < f->write_limit, 1)) {				\
		GUESTMEM_STORE_(width_, f->base + gpa, value, fault);			\
		guestmem_dirty_(g, gpa, sizeof(value));				\
		return 0;								\
	}										\
fault:											\
	return guestmem_write_slow_(g, gpa, &value, sizeof(value));			\
}
#else
#define GUESTMEM_ACCESS_(width_)							\
GUESTMEM_INLINE int guestmem_read##width_(struct guestmem *g, uint64_t gpa,		\
					  uint##width_##_t *value)			\
{											\
	return guestmem_read_slow_(g, gpa, value, sizeof(*value));			\
}											\
											\
GUESTMEM_INLINE int guestmem_write##width_(struct guestmem *g, uint64_t gpa,		\
					   uint##width_##_t value)			\
{											\
	return guestmem_write_slow_(g, gpa, &value, sizeof(value));			\
}
#endif

GUESTMEM_ACCESS_(8)
GUESTMEM_ACCESS_(16)
GUESTMEM_ACCESS_(32)
GUESTMEM_ACCESS_(64)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define GUESTMEM_SWAP_le_(width_, value_)	(value_)
#define GUESTMEM_SWAP_be_(width_, value_)	__builtin_bswap##width_(value_)
#else
#define GUESTMEM_SWAP_le_(width_, value_)	__builtin_bswap##width_(value_)
#define GUESTMEM_SWAP_be_(width_, value_)	(value_)
#endif

#define GUESTMEM_ORDERED_(order_, width_)						\
GUESTMEM_INLINE int guestmem_read_##order_##width_(struct guestmem *g, uint64_t gpa,	\
						   uint##width_##_t *value)		\
{											\
	int ret = guestmem_read##width_(g, gpa, value);					\
											\
	if (value && ret >= 0)								\
		*value = GUESTMEM_SWAP_##order_##_(width_, *value);			\
	return ret;									\
}											\
											\
GUESTMEM_INLINE int guestmem_write_##order_##width_(struct guestmem *g, uint64_t gpa,	\
						    uint##width_##_t value)		\
{											\
	return guestmem_write##width_(g, gpa, GUESTMEM_SWAP_##order_##_(width_, value)); \
}

GUESTMEM_ORDERED_(le, 16)
GUESTMEM_ORDERED_(le, 32)
GUESTMEM_ORDERED_(le, 64)
GUESTMEM_ORDERED_(be, 16)
GUESTMEM_ORDERED_(be, 32)
GUESTMEM_ORDERED_(be, 64)

#undef GUESTMEM_ACCESS_
#undef GUESTMEM_ORDERED_
#undef GUESTMEM_SWAP_le_
#undef GUESTMEM_SWAP_be_

#endif /* LIBGUESTMEM_INLINE_H */
