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
 * @slots: for each 2 MiB of the guest's addresses, 0 or the region there, if it is only
 *	one: where it ends, plus where in the 2 MiB it starts, divided by 512
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

#if defined(__GNUC__) && (__GNUC__ >= 11 || defined(__clang__)) && defined(__x86_64__) && \
	!defined(__ILP32__)
#define GUESTMEM_LOAD_(width_, reg_, ptr_, value_, fault_)				\
	__asm__ __volatile__ goto("1:	mov %1, %" reg_ "0\n"				\
		"	.pushsection guestmem_ex, \"a?\", @progbits\n"			\
		"	.balign 4\n"							\
		"	.long 1b - ., %l[" #fault_ "] - .\n"				\
		"	.popsection"							\
		: "=r" (value_) : "m" (*(const volatile uint##width_##_t *)(ptr_))	\
		: "memory" : fault_)
#define GUESTMEM_STORE_(width_, reg_, ptr_, value_, fault_)				\
	__asm__ __volatile__ goto("1:	mov %" reg_ "0, %1\n"				\
		"	.pushsection guestmem_ex, \"a?\", @progbits\n"			\
		"	.balign 4\n"							\
		"	.long 1b - ., %l[" #fault_ "] - .\n"				\
		"	.popsection"							\
		: : "r" (value_), "m" (*(volatile uint##width_##_t *)(ptr_))		\
		: "memory" : fault_)
#define GUESTMEM_REG8_	"b"
#define GUESTMEM_REG16_	"w"
#define GUESTMEM_REG32_	"k"
#define GUESTMEM_REG64_	"q"
#elif defined(__GNUC__) && (__GNUC__ >= 11 || defined(__clang__)) && defined(__aarch64__) && \
	!defined(__ILP32__)
#define GUESTMEM_LOAD_(width_, insn_, ptr_, value_, fault_)				\
	__asm__ __volatile__ goto("1:	" GUESTMEM_LDR##width_##_ "0, %1\n"		\
		"	.pushsection guestmem_ex, \"a?\", %%progbits\n"			\
		"	.balign 4\n"							\
		"	.long 1b - ., %l[" #fault_ "] - .\n"				\
		"	.popsection"							\
		: "=r" (value_) : "Q" (*(const volatile uint##width_##_t *)(ptr_))	\
		: "memory" : fault_)
#define GUESTMEM_STORE_(width_, insn_, ptr_, value_, fault_)				\
	__asm__ __volatile__ goto("1:	" GUESTMEM_STR##width_##_ "0, %1\n"		\
		"	.pushsection guestmem_ex, \"a?\", %%progbits\n"			\
		"	.balign 4\n"							\
		"	.long 1b - ., %l[" #fault_ "] - .\n"				\
		"	.popsection"							\
		: : "r" (value_), "Q" (*(volatile uint##width_##_t *)(ptr_))		\
		: "memory" : fault_)
#define GUESTMEM_LDR8_	"ldrb %w"
#define GUESTMEM_LDR16_	"ldrh %w"
#define GUESTMEM_LDR32_	"ldr %w"
#define GUESTMEM_LDR64_	"ldr %x"
#define GUESTMEM_STR8_	"strb %w"
#define GUESTMEM_STR16_	"strh %w"
#define GUESTMEM_STR32_	"str %w"
#define GUESTMEM_STR64_	"str %x"
#define GUESTMEM_REG8_	""
#define GUESTMEM_REG16_	""
#define GUESTMEM_REG32_	""
#define GUESTMEM_REG64_	""
#endif

#ifdef GUESTMEM_LOAD_

/* Tell the library of this program's (or shared object's) entries, once. */
extern const char guestmem_ex_start_[] __asm__("__start_guestmem_ex")
	__attribute__((__weak__, __visibility__("hidden")));
extern const char guestmem_ex_end_[] __asm__("__stop_guestmem_ex")
	__attribute__((__weak__, __visibility__("hidden")));

__attribute__((__constructor__, __unused__)) static void guestmem_begin_(void)
{
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

	if (__builtin_expect(f && buf && len && gpa < f->write_limit &&
			     len <= f->write_limit - gpa, 1) &&
	    __builtin_expect(!guestmem_copy_(f->base + gpa, buf, len), 1)) {
		guestmem_dirty_(g, gpa, len);
		return 0;
	}
	return guestmem_write_slow_(g, gpa, buf, len);
}

GUESTMEM_INLINE void *guestmem_ptr(struct guestmem *g, uint64_t gpa, size_t len)
{
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;

	if (__builtin_expect(f && gpa >> 21 < f->nslots, 1)) {
		uint64_t slot = __atomic_load_n(&f->slots[gpa >> 21], __ATOMIC_RELAXED);
		uint64_t end = slot & ~(uint64_t)4095;

		if (__builtin_expect(gpa < end && len <= end - gpa &&
				     (gpa & 0x1fffff) >= (slot & 4095) << 9 &&
				     __atomic_load_n(f->seq, __ATOMIC_RELAXED) ==
				     __atomic_load_n(&f->slots_seq, __ATOMIC_RELAXED), 1))
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
 * A slot's word is written before its number, and the region of a number is GONE before
 * another word is: so the word that is read after a number that can still be counted in is
 * of the region with that number.
 */
GUESTMEM_INLINE int guestmem_hold(struct guestmem *g, uint64_t gpa, size_t len,
				  struct guestmem_hold *hold)
{
	const struct guestmem_fast_ *f = (const struct guestmem_fast_ *)g;

	if (__builtin_expect(f && hold && len && f->regions && gpa >> 21 < f->nslots, 1)) {
		uint32_t id = __atomic_load_n(&f->slot_ids[gpa >> 21], __ATOMIC_ACQUIRE);
		uint64_t slot = __atomic_load_n(&f->slots[gpa >> 21], __ATOMIC_ACQUIRE);
		uint64_t end = slot & ~(uint64_t)4095;
		uint64_t users;

		if (__builtin_expect(gpa < end && len <= end - gpa &&
				     (gpa & 0x1fffff) >= (slot & 4095) << 9, 1)) {
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
	uint##width_##_t got, slow;							\
	int ret;									\
											\
	if (__builtin_expect(f && value && gpa < f->read_limit, 1)) {			\
		GUESTMEM_LOAD_(width_, GUESTMEM_REG##width_##_, f->base + gpa, got, fault); \
		*value = got;								\
		return 0;								\
	}										\
fault:											\
	ret = guestmem_read_slow_(g, gpa, value ? &slow : (uint##width_##_t *)0,	\
				  sizeof(slow));					\
	if (!ret)									\
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
		GUESTMEM_STORE_(width_, GUESTMEM_REG##width_##_, f->base + gpa, value,	\
				fault);							\
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
	if (!ret)									\
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
