// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinning: from a backing to runs of pages that stay where they are, charged to
 * who asked.
 *
 * Charging comes first and in one piece, so that a limit refuses before the work
 * and not after half of it. Then the address range is pinned VMA by VMA, because
 * what flags a pin takes, and whether it can work at all, is a matter of the VMA;
 * and batch by batch, because GUP returns pages by array and may return fewer than
 * asked. Each batch is appended to the runs at once. So at any time the runs are
 * exactly what is pinned, and undoing is the same as unpinning: gm_unpin().
 *
 * A file is pinned through a mapping of it that exists only meanwhile.
 *
 * The mm and the user charged are remembered: at the unpin, current is anybody.
 */
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>

#include "guestmem_private.h"
#include "trace.h"

/* Pages that GUP is asked for at once: one page of pointers. A test makes it tiny. */
u32 gm_batch_pages = PAGE_SIZE / sizeof(struct page *);

/* Pages unpinned at once, before others may run. */
#define GM_UNPIN_BATCH	4096U

static int gm_charge(struct gm_region *region, unsigned long npages, struct guestmem_error *err)
{
	struct user_struct *user = current_user();
	unsigned long limit, now, new;

	if (!capable(CAP_IPC_LOCK)) {
		limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
		now = atomic_long_read(&user->locked_vm);
		do {
			new = now + npages;
			if (new > limit)
				return gm_fail(err, -ENOMEM, GUESTMEM_REASON_MEMLOCK,
					       region->node.start, (u64)new << PAGE_SHIFT,
					       rlimit(RLIMIT_MEMLOCK));
		} while (!atomic_long_try_cmpxchg(&user->locked_vm, &now, new));
		region->user = get_uid(user);
	}
	atomic64_add(npages, &current->mm->pinned_vm);
	mmgrab(current->mm);
	region->mm = current->mm;
	region->ncharged = npages;
	return 0;
}

static void gm_uncharge(struct gm_region *region)
{
	if (!region->mm)
		return;
	atomic64_sub(region->ncharged, &region->mm->pinned_vm);
	mmdrop(region->mm);
	if (region->user) {
		atomic_long_sub(region->ncharged, &region->user->locked_vm);
		free_uid(region->user);
	}
}

static int gm_runs_resize(struct gm_runs *runs, u32 capacity)
{
	struct gm_run *run;

	/* Refuse what is too much for one allocation without a complaint in the log. */
	run = kvmalloc_array(capacity, sizeof(*run), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!run)
		return -ENOMEM;
	if (runs->nruns)
		memcpy(run, runs->run, array_size(runs->nruns, sizeof(*run)));
	kvfree(runs->run);
	runs->run = run;
	runs->capacity = capacity;
	return 0;
}

/* All or nothing, so that no pin is lost of which the runs do not know. */
static int gm_runs_append_pages(struct gm_runs *runs, struct page **pages, u32 npages)
{
	u32 i;
	int rc;

	if (runs->capacity - runs->nruns < npages) {
		rc = gm_runs_resize(runs, runs->nruns + max(npages, runs->nruns));
		if (rc)
			return rc;
	}
	for (i = 0; i < npages; i++)
		gm_runs_append(runs, page_to_pfn(pages[i]), 1);
	return 0;
}

static bool gm_file_is_memory(struct file *file)
{
	unsigned long magic = file_inode(file)->i_sb->s_magic;

	/* Device nodes lie in a tmpfs too. */
	return S_ISREG(file_inode(file)->i_mode) &&
	       (magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC);
}

/**
 * struct gm_pin - a range of user addresses being pinned
 * @region: the region
 * @address: where to go on
 * @end: where to stop
 * @skew: what to add to a user address to get what the caller knows: 0, or the
 *	distance from the mapping to the file
 * @mapping: of the file that the pages must be of; NULL if any will do
 * @pages: a batch
 * @capacity: pages in a batch
 * @err: what was wrong
 */
struct gm_pin {
	struct gm_region *region;
	unsigned long address;
	unsigned long end;
	u64 skew;
	struct address_space *mapping;
	struct page **pages;
	u32 capacity;
	struct guestmem_error *err;
};

static int gm_pin_fail(struct gm_pin *pin, int rc, u32 reason)
{
	return gm_fail(pin->err, rc, reason, pin->address + pin->skew, 0, 0);
}

/* How to pin at pin->address, and up to where the answer is the same. */
static int gm_pin_vma(struct gm_pin *pin, unsigned int *flags, unsigned long *end)
{
	bool readonly = pin->region->flags & GUESTMEM_REGION_READONLY;
	struct vm_area_struct *vma;
	int rc = 0;

	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	vma = find_vma(current->mm, pin->address);
	if (!vma || vma->vm_start > pin->address) {
		rc = gm_pin_fail(pin, -EFAULT, GUESTMEM_REASON_UNMAPPED);
		goto out_unlock;
	}
	if (vma->vm_flags & (VM_IO | VM_PFNMAP)) {
		rc = gm_pin_fail(pin, -EOPNOTSUPP, GUESTMEM_REASON_DEVICE_MEMORY);
		goto out_unlock;
	}
	if (!(vma->vm_flags & VM_READ)) {
		rc = gm_pin_fail(pin, -EFAULT, GUESTMEM_REASON_UNMAPPED);
		goto out_unlock;
	}
	if (!readonly && !(vma->vm_flags & VM_WRITE)) {
		rc = gm_pin_fail(pin, -EFAULT, GUESTMEM_REASON_READONLY);
		goto out_unlock;
	}
	if (vma->vm_flags & VM_MAYSHARE) {
		if (!readonly && vma->vm_file && !gm_file_is_memory(vma->vm_file)) {
			rc = gm_pin_fail(pin, -EOPNOTSUPP, GUESTMEM_REASON_WRITEBACK);
			goto out_unlock;
		}
	} else if (readonly && !GUESTMEM_HAVE_PRIVATE_READONLY_PINS) {
		if (!(vma->vm_flags & VM_WRITE)) {
			rc = gm_pin_fail(pin, -EOPNOTSUPP, GUESTMEM_REASON_PRIVATE_READONLY);
			goto out_unlock;
		}
		readonly = false;
	}
	*flags = FOLL_LONGTERM | (readonly ? 0 : FOLL_WRITE);
	*end = min(vma->vm_end, pin->end);
out_unlock:
	mmap_read_unlock(current->mm);
	return rc;
}

/*
 * While we pin through our mapping of a file, another thread can put something else
 * in its place.
 */
static int gm_pin_check_file(struct gm_pin *pin, u32 npages)
{
	u32 i;

	for (i = 0; pin->mapping && i < npages; i++)
		if (READ_ONCE(page_folio(pin->pages[i])->mapping) != pin->mapping)
			return gm_pin_fail(pin, -EFAULT, GUESTMEM_REASON_UNMAPPED);
	return 0;
}

static int gm_pin_batch(struct gm_pin *pin, unsigned int flags, unsigned long end)
{
	u32 want = min_t(unsigned long, pin->capacity, (end - pin->address) >> PAGE_SHIFT);
	int got, rc;

	if (fatal_signal_pending(current))
		return -EINTR;
	got = pin_user_pages_fast(pin->address, want, flags, pin->pages);
	if (got <= 0) {
		if (got == -ENOMEM || got == -EOPNOTSUPP || got == -EBUSY)
			return got;
		if (fatal_signal_pending(current))
			return -EINTR;
		return gm_pin_fail(pin, -EFAULT, GUESTMEM_REASON_UNMAPPED);
	}
	rc = gm_pin_check_file(pin, got);
	if (!rc)
		rc = gm_runs_append_pages(&pin->region->runs, pin->pages, got);
	if (rc) {
		unpin_user_pages(pin->pages, got);
		return rc;
	}
	atomic_long_add(got, &pin->region->guest->npinned);
	pin->address += (unsigned long)got << PAGE_SHIFT;
	cond_resched();
	return 0;
}

/* Whatever it returns, gm_unpin() is what undoes it. */
static int gm_pin_range(struct gm_region *region, unsigned long address, unsigned long len,
			u64 skew, struct address_space *mapping, struct guestmem_error *err)
{
	struct gm_pin pin = {
		.region = region,
		.address = address,
		.end = address + len,
		.skew = skew,
		.mapping = mapping,
		.capacity = clamp(READ_ONCE(gm_batch_pages), 1U, 1U << 16),
		.err = err,
	};
	unsigned int flags;
	unsigned long end;
	int rc = 0;

	pin.pages = kvmalloc_array(pin.capacity, sizeof(*pin.pages), GFP_KERNEL_ACCOUNT);
	if (!pin.pages)
		return -ENOMEM;
	/* GUP may not need it and not take it; let lockdep see that it can. */
	might_lock_read(&current->mm->mmap_lock);
	while (!rc && pin.address < pin.end) {
		rc = gm_pin_vma(&pin, &flags, &end);
		while (!rc && pin.address < end)
			rc = gm_pin_batch(&pin, flags, end);
	}
	kvfree(pin.pages);
	/* If there is no memory for less memory, it stays. */
	if (!rc && region->runs.nruns < region->runs.capacity)
		gm_runs_resize(&region->runs, region->runs.nruns);
	trace_guestmem_pin(region->guest->id, region->id, region->node.start, region->node.last,
			   region->runs.nruns, rc);
	return rc;
}

/**
 * gm_pin_user - pin memory of the calling process
 * @region: the region; its offset is the address
 * @npages: its pages
 * @err: why not
 *
 * Context: process context; takes mmap_lock; no other lock held.
 * Return: 0 or -errno. Undone by gm_unpin(), also after an error.
 */
int gm_pin_user(struct gm_region *region, u64 npages, struct guestmem_error *err)
{
	u64 len = npages << PAGE_SHIFT;
	int rc;

	if (region->offset >= TASK_SIZE || len > TASK_SIZE - region->offset)
		return gm_fail(err, -EFAULT, GUESTMEM_REASON_UNMAPPED, region->offset, 0, 0);
	rc = gm_charge(region, npages, err);
	if (rc)
		return rc;
	/* Before the first page is pinned: what happens to it from then on is seen. */
	rc = gm_stale_watch(region, len);
	if (rc)
		return rc;
	return gm_pin_range(region, region->offset, len, 0, NULL, err);
}

static int gm_pin_open_file(struct gm_region *region, struct file *file, u64 npages,
			    struct guestmem_error *err)
{
	bool readonly = region->flags & GUESTMEM_REGION_READONLY;
	u64 len = npages << PAGE_SHIFT, size, skip;
	unsigned long address, granule;
	int rc;

	if (!gm_file_is_memory(file))
		return gm_fail(err, -EOPNOTSUPP, GUESTMEM_REASON_FILE_TYPE, 0, 0, 0);
	if (!(file->f_mode & FMODE_READ) || (!readonly && !(file->f_mode & FMODE_WRITE)))
		return gm_fail(err, -EACCES, GUESTMEM_REASON_READONLY, region->offset, 0, 0);
	size = i_size_read(file_inode(file));
	if (region->offset > size || len > size - region->offset)
		return gm_fail(err, -EINVAL, GUESTMEM_REASON_END_OF_FILE, region->offset,
			       region->offset + len, size);
	rc = gm_charge(region, npages, err);
	if (rc)
		return rc;

	/* hugetlbfs maps whole huge pages only; its block size is theirs. */
	granule = max_t(unsigned long, PAGE_SIZE, file_inode(file)->i_sb->s_blocksize);
	skip = region->offset & (granule - 1);
	address = vm_mmap(file, 0, ALIGN(skip + len, granule),
			  PROT_READ | (readonly ? 0 : PROT_WRITE), MAP_SHARED,
			  region->offset - skip);
	/* A memfd that was sealed against writing. */
	if ((int)address == -EPERM)
		return gm_fail(err, -EACCES, GUESTMEM_REASON_READONLY, region->offset, 0, 0);
	/* All mappings of the caller are locked (mlockall), and this one is too many. */
	if ((int)address == -EAGAIN)
		return gm_fail(err, -ENOMEM, GUESTMEM_REASON_MEMLOCK, region->node.start, len,
			       rlimit(RLIMIT_MEMLOCK));
	if (IS_ERR_VALUE(address))
		return (int)address;
	rc = gm_pin_range(region, address + skip, len, region->offset - (address + skip),
			  file->f_mapping, err);
	vm_munmap(address, ALIGN(skip + len, granule));
	return rc;
}

/**
 * gm_pin_file - pin pages of a memfd, tmpfs or hugetlbfs file
 * @region: the region; its offset is that in the file
 * @fd: the file
 * @npages: the region's pages
 * @err: why not
 *
 * Context: process context; takes mmap_lock for writing; no other lock held.
 * Return: 0 or -errno. Undone by gm_unpin(), also after an error.
 */
int gm_pin_file(struct gm_region *region, int fd, u64 npages, struct guestmem_error *err)
{
	struct file *file = fget(fd);
	int rc;

	if (!file)
		return -EBADF;
	rc = gm_pin_open_file(region, file, npages, err);
	fput(file);
	return rc;
}

/**
 * gm_unpin - undo gm_pin_user() or gm_pin_file(), complete or not
 * @region: the region; nobody else has it any more
 *
 * Context: sleeps.
 */
void gm_unpin(struct gm_region *region)
{
	bool dirty = !(region->flags & GUESTMEM_REGION_READONLY);
	struct gm_runs *runs = &region->runs;
	u32 i, done, n;

	if (runs->nruns)
		trace_guestmem_unpin(region->guest->id, region->id, region->node.start,
				     region->node.last, runs->nruns, 0);
	for (i = 0; i < runs->nruns; i++) {
		const struct gm_run *run = &runs->run[i];

		for (done = 0; done < run->npages; done += n) {
			n = min(run->npages - done, GM_UNPIN_BATCH);
			unpin_user_page_range_dirty_lock(pfn_to_page(run->pfn + done), n, dirty);
			cond_resched();
		}
	}
	atomic_long_sub(gm_runs_npages(runs), &region->guest->npinned);
	kvfree(runs->run);
	gm_uncharge(region);
}
