// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a domain's owner reads: what became of those who used what was taken back.
 *
 * The newest records are in a ring, so that making one cannot fail and waits for nobody.
 * Records are numbered; a reader who comes too late sees by the numbers how many it missed.
 */
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "guestmem_private.h"

/**
 * gm_record - make a record
 * @domain: whose
 * @record: what to tell; its number, what was lost and the process are set here
 * @pid: the process that it is about, or NULL
 *
 * Context: domain::rwsem held for writing.
 */
void gm_record(struct gm_domain *domain, const struct guestmem_record *record, struct pid *pid)
{
	struct gm_record *to;
	struct pid *old;

	lockdep_assert_held_write(&domain->rwsem);
	spin_lock(&domain->records_lock);
	/* A marked write, as gm_records_ready() looks without the lock. */
	WRITE_ONCE(domain->nrecords, domain->nrecords + 1);
	to = &domain->records[domain->nrecords % GUESTMEM_MAX_RECORDS];
	old = to->pid;
	to->record = *record;
	to->record.seq = domain->nrecords;
	to->pid = get_pid(pid);
	spin_unlock(&domain->records_lock);
	put_pid(old);
	WRITE_ONCE(domain->news, true);
	wake_up_interruptible(&domain->wait);
}

void gm_records_free(struct gm_domain *domain)
{
	u32 i;

	for (i = 0; i < GUESTMEM_MAX_RECORDS; i++)
		put_pid(domain->records[i].pid);
	kvfree(domain->records);
}

/**
 * gm_records_ready - is there a record to read?
 * @domain: whose
 *
 * Return: whether there is; only read_mutex keeps it so.
 */
bool gm_records_ready(struct gm_domain *domain)
{
	return READ_ONCE(domain->nrecords) != READ_ONCE(domain->nread);
}

/* The oldest that was not read, without its being read. */
static bool gm_record_peek(struct gm_domain *domain, struct guestmem_record *record)
{
	u64 seq, nread = domain->nread;
	const struct gm_record *from;
	bool found;

	lockdep_assert_held(&domain->read_mutex);
	spin_lock(&domain->records_lock);
	seq = max(nread, domain->nrecords - min(domain->nrecords, GUESTMEM_MAX_RECORDS)) + 1;
	found = seq <= domain->nrecords;
	if (found) {
		from = &domain->records[seq % GUESTMEM_MAX_RECORDS];
		*record = from->record;
		record->lost = seq - nread - 1;
		record->pid = pid_vnr(from->pid);
	}
	spin_unlock(&domain->records_lock);
	return found;
}

/* Until there is a record, or there will be none. */
static int gm_records_wait(struct gm_domain *domain, bool nonblock)
{
	int rc;

	if (!gm_records_ready(domain) && nonblock)
		return gm_check_view(domain->view, 0, NULL) ?: -EAGAIN;
	rc = wait_event_interruptible(domain->wait, gm_records_ready(domain) ||
				      !READ_ONCE(domain->view->rights));
	if (!rc && !gm_records_ready(domain))
		rc = gm_check_view(domain->view, 0, NULL);
	return rc;
}

ssize_t gm_records_read(struct kiocb *kiocb, struct iov_iter *to)
{
	struct gm_file *file = kiocb->ki_filp->private_data;
	struct gm_domain *domain = file->view->domain;
	bool nonblock = kiocb->ki_flags & IOCB_NOWAIT || kiocb->ki_filp->f_flags & O_NONBLOCK;
	struct guestmem_record record;
	ssize_t done = 0;
	int rc = 0;

	if (iov_iter_count(to) < sizeof(record))
		return -EINVAL;
	/* Again, if somebody else was faster. */
	while (!rc && !done) {
		rc = gm_records_wait(domain, nonblock);
		if (rc)
			break;
		mutex_lock(&domain->read_mutex);
		while (iov_iter_count(to) >= sizeof(record) && gm_record_peek(domain, &record)) {
			if (copy_to_iter(&record, sizeof(record), to) != sizeof(record)) {
				rc = -EFAULT;
				break;
			}
			WRITE_ONCE(domain->nread, record.seq);
			done += sizeof(record);
		}
		mutex_unlock(&domain->read_mutex);
	}
	return done ?: rc;
}
