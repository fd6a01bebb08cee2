// SPDX-License-Identifier: GPL-2.0-only
/*
 * Atomic read-modify-write of guest memory.
 *
 * Every operation is a compare-exchange of the CPU, in a loop if it is not a
 * compare-exchange itself; so it is atomic against the guest's own and against
 * those of every process that maps the page, and sequentially consistent. The
 * address is aligned, so it lies in one page; the page is held by regions_rwsem.
 */
#include "guestmem_private.h"

struct gm_operands {
	u32 op;
	u64 operand[2];
	u64 compare[2];
};

/* What goes where @old was. For a compare that fails, @old again. */
static u64 gm_combine(const struct gm_operands *in, u64 old, unsigned int half, bool equal)
{
	u64 operand = in->operand[half];

	switch (in->op) {
	case GUESTMEM_ATOMIC_CMPXCHG:
		return equal ? operand : old;
	case GUESTMEM_ATOMIC_XCHG:
		return operand;
	case GUESTMEM_ATOMIC_ADD:
		return old + operand;
	case GUESTMEM_ATOMIC_AND:
		return old & operand;
	case GUESTMEM_ATOMIC_OR:
		return old | operand;
	default:
		return old ^ operand;
	}
}

#define gm_atomic_loop(type, data, in)							\
({											\
	type *p = (data);								\
	type was = READ_ONCE(*p), now;							\
											\
	do {										\
		now = gm_combine(in, was, 0, was == (type)(in)->compare[0]);		\
	} while (!try_cmpxchg(p, &was, now));						\
	was;										\
})

bool gm_has_atomic16(void)
{
	return GUESTMEM_HAVE_CMPXCHG128 && gm_cpu_has_cmpxchg128();
}

#if GUESTMEM_HAVE_CMPXCHG128
static int gm_atomic16(void *data, const struct gm_operands *in, u64 old[2])
{
	u64 *half = data, low, high;
	u128 was, now;
	bool equal;

	if (!gm_has_atomic16())
		return -EOPNOTSUPP;
	was = (u128)READ_ONCE(half[1]) << 64 | READ_ONCE(half[0]);
	do {
		old[0] = was;
		old[1] = was >> 64;
		equal = old[0] == in->compare[0] && old[1] == in->compare[1];
		low = gm_combine(in, old[0], 0, equal);
		high = gm_combine(in, old[1], 1, equal);
		if (in->op == GUESTMEM_ATOMIC_ADD && low < old[0])
			high++;
		now = (u128)high << 64 | low;
	} while (!gm_try_cmpxchg128(data, &was, now));
	return 0;
}
#else
static int gm_atomic16(void *data, const struct gm_operands *in, u64 old[2])
{
	return -EOPNOTSUPP;
}
#endif

static int gm_atomic_do(void *data, u32 width, const struct gm_operands *in, u64 old[2])
{
	old[1] = 0;
	switch (width) {
	case 1:
		old[0] = gm_atomic_loop(u8, data, in);
		return 0;
	case 2:
		old[0] = gm_atomic_loop(u16, data, in);
		return 0;
	case 4:
		old[0] = gm_atomic_loop(u32, data, in);
		return 0;
	case 8:
		old[0] = gm_atomic_loop(u64, data, in);
		return 0;
	default:
		return gm_atomic16(data, in, old);
	}
}

static bool gm_fits(const u64 value[2], u32 width)
{
	if (width == 16)
		return true;
	return !value[1] && (width == 8 || !(value[0] >> (8 * width)));
}

/**
 * gm_atomic - do one operation
 * @view: by whose addresses
 * @arg: the operation; reserved fields have been checked; gets the result
 *
 * Context: sleeps; no lock of the guest's held.
 * Return: 0, or as GUESTMEM_ATOMIC says; then nothing was changed.
 */
int gm_atomic(struct gm_view *view, struct guestmem_atomic *arg)
{
	struct gm_operands in = {
		.op = arg->op,
		.operand = { arg->operand[0], arg->operand[1] },
		.compare = { arg->compare[0], arg->compare[1] },
	};
	struct gm_piece piece;
	struct gm_cursor cur;
	int rc;

	if (!is_power_of_2(arg->width) || arg->width > 16)
		return -EINVAL;
	if (!IS_ALIGNED(arg->gpa, arg->width))
		return gm_fail(&arg->err, -EINVAL, GUESTMEM_REASON_MISALIGNED, arg->gpa,
			       arg->width, 0);
	if (!gm_fits(arg->operand, arg->width) || !gm_fits(arg->compare, arg->width))
		return -EINVAL;

	rc = gm_walk_begin(&cur, view, GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE, &arg->err);
	if (rc)
		return rc;
	rc = gm_piece_at(&cur, arg->gpa, arg->width, cur.need, &piece, &arg->err);
	/* The end of an export may lie in it. */
	if (!rc && piece.len < arg->width)
		rc = gm_fail(&arg->err, -ENXIO, GUESTMEM_REASON_HOLE, arg->gpa + piece.len, 0, 0);
	if (!rc)
		rc = gm_atomic_do(piece.data, arg->width, &in, arg->old);
	gm_walk_end(&cur);
	return rc;
}

int gm_ioctl_atomic(struct gm_cmd *cmd)
{
	struct guestmem_atomic *arg = cmd->arg;
	int rc;

	arg->old[0] = 0;
	arg->old[1] = 0;
	if (arg->flags || arg->op < GUESTMEM_ATOMIC_CMPXCHG || arg->op > GUESTMEM_ATOMIC_XOR)
		return -EOPNOTSUPP;
	if (arg->op != GUESTMEM_ATOMIC_CMPXCHG && (arg->compare[0] || arg->compare[1]))
		return -EOPNOTSUPP;
	rc = gm_check_view(cmd->file->view, GUESTMEM_RIGHT_READ | GUESTMEM_RIGHT_WRITE,
			   &arg->err);
	if (rc)
		return rc;
	return gm_atomic(cmd->file->view, arg) ?: gm_cmd_respond(cmd);
}
