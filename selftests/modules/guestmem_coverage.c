// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tells which code of the other modules has run. Whoever ran it: also work items,
 * interrupts, and what is called while a module is loaded or unloaded, none of which
 * KCOV tells of. It needs no option of the kernel.
 *
 * Basic blocks are known by their addresses, and steps from one to the next by a hash
 * of both. Each of these is noted once, when it is first seen, with one atomic
 * operation; a note is never changed but by a reset. So it can be called in any
 * context, and takes no lock.
 *
 * /sys/kernel/debug/guestmem_coverage has
 *	count		blocks and steps seen
 *	addresses	of the blocks, in hexadecimal; a write forgets all that was seen
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/hash.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "guestmem_coverage.h"

/* Many times what the modules have, so that few addresses share a slot. */
#define ADDRESS_BITS	15
#define STEP_BITS	18
/* Tasks are few; those that share an entry make steps that are none. */
#define TASK_BITS	10

static unsigned long addresses[1 << ADDRESS_BITS];
static DECLARE_BITMAP(steps, 1 << STEP_BITS);
static u32 previous[1 << TASK_BITS];
static atomic_t count;
static struct dentry *dir;

static void notrace note_address(unsigned long address, u32 hash)
{
	u32 i, slot = hash >> (32 - ADDRESS_BITS);
	unsigned long seen;

	for (i = 0; i < ARRAY_SIZE(addresses); i++) {
		unsigned long *entry = &addresses[(slot + i) % ARRAY_SIZE(addresses)];

		seen = READ_ONCE(*entry);
		if (!seen) {
			seen = cmpxchg(entry, 0, address);
			if (!seen)
				atomic_inc(&count);
		}
		if (!seen || seen == address)
			return;
	}
}

/* What the compiler calls, in each basic block of a module that it instruments. */
void notrace guestmem_coverage_pc(void)
{
	unsigned long address = _RET_IP_;
	u32 hash = hash_long(address, 32);
	u32 *from = &previous[hash_ptr(current, TASK_BITS)];
	u32 step = (hash ^ READ_ONCE(*from)) >> (32 - STEP_BITS);

	/* Shifted, so that A to B is another step than B to A. */
	WRITE_ONCE(*from, hash << 1);
	if (!test_bit(step, steps) && !test_and_set_bit(step, steps))
		atomic_inc(&count);
	note_address(address, hash);
}
EXPORT_SYMBOL_GPL(guestmem_coverage_pc);

static int addresses_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(addresses); i++)
		if (READ_ONCE(addresses[i]))
			seq_printf(seq, "%lx\n", READ_ONCE(addresses[i]));
	return 0;
}

static int addresses_open(struct inode *inode, struct file *filp)
{
	return single_open(filp, addresses_show, NULL);
}

static ssize_t addresses_write(struct file *filp, const char __user *user, size_t len, loff_t *pos)
{
	memset(addresses, 0, sizeof(addresses));
	bitmap_zero(steps, 1 << STEP_BITS);
	atomic_set(&count, 0);
	return len;
}

static const struct file_operations addresses_fops = {
	.owner = THIS_MODULE,
	.open = addresses_open,
	.read = seq_read,
	.write = addresses_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int __init coverage_init(void)
{
	dir = debugfs_create_dir("guestmem_coverage", NULL);
	debugfs_create_atomic_t("count", 0400, dir, &count);
	debugfs_create_file("addresses", 0600, dir, NULL, &addresses_fops);
	return 0;
}
module_init(coverage_init);

static void __exit coverage_exit(void)
{
	debugfs_remove(dir);
}
module_exit(coverage_exit);

MODULE_DESCRIPTION("Tells which code of guestmem and its tests' modules has run");
MODULE_LICENSE("GPL");
