// SPDX-License-Identifier: LGPL-2.1-only OR MIT
/*
 * Domains and sessions.
 *
 * An owner, say a virtual IOMMU, keeps in a domain what IOVAs mean; its clients, say
 * devices in other processes, reach memory by IOVA, each by a session, and of that only
 * what they have exported. Both are files of /dev/guestmem, and handles as such: there is
 * nothing here that the kernel does not know.
 *
 * A domain's handle has no addresses of the guest's, and a part of it would be no less
 * than all of it: so parts are refused. A part of a session is one of its IOVAs.
 */
#include <limits.h>
#include <unistd.h>

#include "internal.h"

int kind_check(const struct guestmem *g, enum op op, enum file_kind kind)
{
	static const char * const wanted[] = {
		[KIND_GUEST] = "only a guest of " GUESTMEM_DEVICE " has domains",
		[KIND_DOMAIN] = "it is not a domain",
		[KIND_SESSION] = "it is not a session",
	};
	int ret = handle_check(g, op);

	if (ret < 0)
		return ret;
	if (g->space->fd < 0 || g->space->kind != kind)
		return fail(op, EOPNOTSUPP, wanted[kind]);
	if (kind != KIND_SESSION && (g->fast.offset || g->last != g->space->last))
		return fail(op, EOPNOTSUPP,
			    "it is a subrange, which guards oneself only: make a view");
	return 0;
}

static int do_ioctl(struct guestmem *g, enum op op, unsigned long request, void *arg,
		    const struct guestmem_error *e)
{
	struct why why = { 0 };
	int ret = device_ioctl(g->space, request, arg, e, &why);

	return ret < 0 ? fail_why(g, op, ret, &why, 0) : 0;
}

/* -------- The owner ------------------------------------------------------ */

/* The first version of struct guestmem_domain_unmap, the smallest that can be given. */
#define UNMAP_SIZE_FIRST	88

_Static_assert(offsetof(struct guestmem_domain_unmap, err) + sizeof(struct guestmem_error) ==
	       UNMAP_SIZE_FIRST, "all that is written here is in it");

struct guestmem *guestmem_domain_create(struct guestmem *g, uint64_t page_sizes,
					uint64_t start, uint64_t last, uint32_t rights)
{
	struct guestmem_domain_create arg = {
		.size = sizeof(arg),
		.page_sizes = page_sizes,
		.start = start,
		.last = last,
		.rights = rights,
	};

	if (kind_check(g, OP_DOMAIN, KIND_GUEST) < 0 ||
	    do_ioctl(g, OP_DOMAIN, GUESTMEM_DOMAIN_CREATE, &arg, &arg.err) < 0)
		return NULL;
	return device_handle(arg.fd, OP_DOMAIN);
}

int guestmem_domain_map(struct guestmem *d, const struct guestmem_mapping *mappings, size_t n,
			size_t *failed)
{
	struct guestmem_domain_map arg = {
		.size = sizeof(arg),
		.mappings = to_u64(mappings),
		.nmappings = to_u32(n),
	};
	int ret = kind_check(d, OP_DOMAIN_MAP, KIND_DOMAIN);

	if (!ret && !mappings && n)
		ret = fail_null(OP_DOMAIN_MAP, "no mappings were given");
	if (!ret)
		ret = do_ioctl(d, OP_DOMAIN_MAP, GUESTMEM_DOMAIN_MAP, &arg, &arg.err);
	if (failed)
		*failed = arg.failed;
	return ret;
}

int guestmem_domain_unmap(struct guestmem *d, struct guestmem_domain_unmap *unmap)
{
	int ret = kind_check(d, OP_DOMAIN_UNMAP, KIND_DOMAIN);

	if (ret < 0)
		return ret;
	if (!unmap)
		return fail_null(OP_DOMAIN_UNMAP, "no struct was given");
	/* The struct is the caller's: it may be older or newer than this library. */
	if (unmap->size < UNMAP_SIZE_FIRST)
		return fail(OP_DOMAIN_UNMAP, EINVAL,
			    "size is not that of struct guestmem_domain_unmap");
	/* The kernel does not write them if there is nothing that it can understand. */
	unmap->nusers = 0;
	unmap->nmappings = 0;
	unmap->fault = 0;
	unmap->err = (struct guestmem_error){ 0 };
	return do_ioctl(d, OP_DOMAIN_UNMAP, GUESTMEM_DOMAIN_UNMAP, unmap, &unmap->err);
}

int guestmem_domain_list(struct guestmem *d, uint64_t *iova, struct guestmem_mapping *mappings,
			 size_t *n, uint64_t *generation)
{
	size_t capacity = n ? *n : 0;
	struct guestmem_domain_list arg = {
		.size = sizeof(arg),
		.entries = to_u64(mappings),
		.nentries = to_u32(capacity),
	};
	int ret = kind_check(d, OP_DOMAIN_LIST, KIND_DOMAIN);

	if (n)
		*n = 0;
	if (ret < 0)
		return ret;
	if (!iova || !mappings || !capacity)
		return fail_null(OP_DOMAIN_LIST, "no place for the mappings was given");
	arg.iova = *iova;
	ret = do_ioctl(d, OP_DOMAIN_LIST, GUESTMEM_DOMAIN_LIST, &arg, NULL);
	if (ret < 0)
		return ret;
	*iova = arg.iova;
	*n = arg.nentries;
	if (generation)
		*generation = arg.generation;
	return arg.iova != 0;
}

ssize_t guestmem_domain_records(struct guestmem *d, struct guestmem_record *records, size_t n)
{
	ssize_t ret = kind_check(d, OP_RECORDS, KIND_DOMAIN);

	if (ret < 0)
		return ret;
	if (!records && n)
		return fail_null(OP_RECORDS, "no place for the records was given");
	if (!n)
		return 0;
	if (n > SSIZE_MAX / sizeof(*records))
		n = SSIZE_MAX / sizeof(*records);
	ret = read(d->space->fd, records, n * sizeof(*records));
	if (ret < 0)
		return fail(OP_RECORDS, errno, errno == EAGAIN ? "there is none" : NULL);
	return ret / (ssize_t)sizeof(*records);
}

int guestmem_session_create(struct guestmem *d, uint32_t rights, uint64_t *id)
{
	struct guestmem_session_create arg = {
		.size = sizeof(arg),
		.rights = rights,
	};
	int ret = kind_check(d, OP_SESSION, KIND_DOMAIN);

	if (!ret)
		ret = do_ioctl(d, OP_SESSION, GUESTMEM_SESSION_CREATE, &arg, &arg.err);
	if (ret < 0)
		return ret;
	if (id)
		*id = arg.id;
	return arg.fd;
}

/* -------- The client ------------------------------------------------------ */

int guestmem_session_export(struct guestmem *s, uint64_t iova, uint64_t len, uint32_t rights,
			    uint32_t *handle, struct guestmem_piece *pieces, size_t *n)
{
	size_t capacity = n ? *n : 0, i;
	struct guestmem_export arg = {
		.size = sizeof(arg),
		.len = len,
		.pieces = to_u64(pieces),
		.npieces = to_u32(capacity),
		.rights = rights,
	};
	struct guestmem_error e = { .reason = GUESTMEM_REASON_RIGHT };
	uint64_t abs = 0;
	int ret = kind_check(s, OP_EXPORT, KIND_SESSION);

	if (n)
		*n = 0;
	if (!ret)
		ret = handle_range(s, OP_EXPORT, iova, len, &abs);
	if (ret < 0)
		return ret;
	if (!handle || (capacity && !pieces) || (pieces && !n))
		return fail_null(OP_EXPORT, "no place for the handle or the pieces was given");
	/* The kernel checks it for the file; parts are the library's. */
	if (rights & ~s->rights) {
		e.need = rights;
		e.limit = s->rights;
		return fail_reason(OP_EXPORT, EACCES, &e);
	}
	arg.iova = abs;
	ret = do_ioctl(s, OP_EXPORT, GUESTMEM_EXPORT, &arg, &arg.err);
	if (n && (!ret || ret == -EMSGSIZE))
		*n = arg.npieces;
	if (ret < 0)
		return ret;
	*handle = arg.handle;
	for (i = 0; pieces && i < *n && i < capacity; i++)
		pieces[i].iova -= s->fast.offset;
	return 0;
}

static int release(struct guestmem *s, struct guestmem_release *arg)
{
	int ret = kind_check(s, OP_RELEASE, KIND_SESSION);

	return ret < 0 ? ret : do_ioctl(s, OP_RELEASE, GUESTMEM_RELEASE, arg, NULL);
}

int guestmem_session_release(struct guestmem *s, uint32_t handle)
{
	struct guestmem_release arg = {
		.size = sizeof(arg),
		.handle = handle,
	};

	return release(s, &arg);
}

int guestmem_session_release_all(struct guestmem *s)
{
	struct guestmem_release arg = {
		.size = sizeof(arg),
		.flags = GUESTMEM_RELEASE_ALL,
	};
	int ret = release(s, &arg);

	return ret < 0 ? ret : (int)arg.nreleased;
}
