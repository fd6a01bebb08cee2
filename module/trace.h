/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: /sys/kernel/tracing/events/guestmem. Addresses are the view's.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM guestmem

#if !defined(_GUESTMEM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _GUESTMEM_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(guestmem_region_class,
	TP_PROTO(u64 guest, u32 region, u64 gpa, u64 last, u32 count, int rc),
	TP_ARGS(guest, region, gpa, last, count, rc),
	TP_STRUCT__entry(
		__field(u64, guest)
		__field(u64, gpa)
		__field(u64, last)
		__field(u32, region)
		__field(u32, count)
		__field(int, rc)
	),
	TP_fast_assign(
		__entry->guest = guest;
		__entry->gpa = gpa;
		__entry->last = last;
		__entry->region = region;
		__entry->count = count;
		__entry->rc = rc;
	),
	TP_printk("guest=%llu region=%u gpa=%#llx-%#llx runs=%u rc=%d", __entry->guest,
		  __entry->region, __entry->gpa, __entry->last, __entry->count, __entry->rc)
);

DEFINE_EVENT(guestmem_region_class, guestmem_pin,
	TP_PROTO(u64 guest, u32 region, u64 gpa, u64 last, u32 count, int rc),
	TP_ARGS(guest, region, gpa, last, count, rc));

DEFINE_EVENT(guestmem_region_class, guestmem_unpin,
	TP_PROTO(u64 guest, u32 region, u64 gpa, u64 last, u32 count, int rc),
	TP_ARGS(guest, region, gpa, last, count, rc));

TRACE_EVENT(guestmem_revoke,
	TP_PROTO(u64 guest, u32 region, u64 gpa, u64 last, u32 nlocks),
	TP_ARGS(guest, region, gpa, last, nlocks),
	TP_STRUCT__entry(
		__field(u64, guest)
		__field(u64, gpa)
		__field(u64, last)
		__field(u32, region)
		__field(u32, nlocks)
	),
	TP_fast_assign(
		__entry->guest = guest;
		__entry->gpa = gpa;
		__entry->last = last;
		__entry->region = region;
		__entry->nlocks = nlocks;
	),
	TP_printk("guest=%llu region=%u gpa=%#llx-%#llx locks=%u", __entry->guest,
		  __entry->region, __entry->gpa, __entry->last, __entry->nlocks)
);

TRACE_EVENT(guestmem_translate,
	TP_PROTO(u64 guest, u64 view, u64 gpa, u64 last, u32 nextents, int rc),
	TP_ARGS(guest, view, gpa, last, nextents, rc),
	TP_STRUCT__entry(
		__field(u64, guest)
		__field(u64, view)
		__field(u64, gpa)
		__field(u64, last)
		__field(u32, nextents)
		__field(int, rc)
	),
	TP_fast_assign(
		__entry->guest = guest;
		__entry->view = view;
		__entry->gpa = gpa;
		__entry->last = last;
		__entry->nextents = nextents;
		__entry->rc = rc;
	),
	TP_printk("guest=%llu view=%llu gpa=%#llx-%#llx extents=%u rc=%d", __entry->guest,
		  __entry->view, __entry->gpa, __entry->last, __entry->nextents, __entry->rc)
);

DECLARE_EVENT_CLASS(guestmem_lock_class,
	TP_PROTO(u64 guest, u64 view, u64 gpa, u64 last, u32 nregions, u32 direction),
	TP_ARGS(guest, view, gpa, last, nregions, direction),
	TP_STRUCT__entry(
		__field(u64, guest)
		__field(u64, view)
		__field(u64, gpa)
		__field(u64, last)
		__field(u32, nregions)
		__field(u32, direction)
	),
	TP_fast_assign(
		__entry->guest = guest;
		__entry->view = view;
		__entry->gpa = gpa;
		__entry->last = last;
		__entry->nregions = nregions;
		__entry->direction = direction;
	),
	TP_printk("guest=%llu view=%llu gpa=%#llx-%#llx regions=%u direction=%u",
		  __entry->guest, __entry->view, __entry->gpa, __entry->last,
		  __entry->nregions, __entry->direction)
);

DEFINE_EVENT(guestmem_lock_class, guestmem_lock,
	TP_PROTO(u64 guest, u64 view, u64 gpa, u64 last, u32 nregions, u32 direction),
	TP_ARGS(guest, view, gpa, last, nregions, direction));

DEFINE_EVENT(guestmem_lock_class, guestmem_unlock,
	TP_PROTO(u64 guest, u64 view, u64 gpa, u64 last, u32 nregions, u32 direction),
	TP_ARGS(guest, view, gpa, last, nregions, direction));

TRACE_EVENT(guestmem_fault,
	TP_PROTO(u64 guest, u64 view, u64 gpa, u32 order, bool write, u32 result),
	TP_ARGS(guest, view, gpa, order, write, result),
	TP_STRUCT__entry(
		__field(u64, guest)
		__field(u64, view)
		__field(u64, gpa)
		__field(u32, order)
		__field(bool, write)
		__field(u32, result)
	),
	TP_fast_assign(
		__entry->guest = guest;
		__entry->view = view;
		__entry->gpa = gpa;
		__entry->order = order;
		__entry->write = write;
		__entry->result = result;
	),
	TP_printk("guest=%llu view=%llu gpa=%#llx order=%u write=%d result=%#x",
		  __entry->guest, __entry->view,
		  __entry->gpa, __entry->order, __entry->write,
		  __entry->result)
);

TRACE_EVENT(guestmem_export,
	TP_PROTO(u64 guest, u64 session, u64 iova, u64 last, u32 handle, int rc),
	TP_ARGS(guest, session, iova, last, handle, rc),
	TP_STRUCT__entry(
		__field(u64, guest)
		__field(u64, session)
		__field(u64, iova)
		__field(u64, last)
		__field(u32, handle)
		__field(int, rc)
	),
	TP_fast_assign(
		__entry->guest = guest;
		__entry->session = session;
		__entry->iova = iova;
		__entry->last = last;
		__entry->handle = handle;
		__entry->rc = rc;
	),
	TP_printk("guest=%llu session=%llu iova=%#llx-%#llx handle=%u rc=%d", __entry->guest,
		  __entry->session, __entry->iova, __entry->last, __entry->handle, __entry->rc)
);

TRACE_EVENT(guestmem_unmap,
	TP_PROTO(u64 guest, u64 domain, u64 iova, u64 last, u64 nmappings, u64 fault, u32 nusers),
	TP_ARGS(guest, domain, iova, last, nmappings, fault, nusers),
	TP_STRUCT__entry(
		__field(u64, guest)
		__field(u64, domain)
		__field(u64, iova)
		__field(u64, last)
		__field(u64, nmappings)
		__field(u64, fault)
		__field(u32, nusers)
	),
	TP_fast_assign(
		__entry->guest = guest;
		__entry->domain = domain;
		__entry->iova = iova;
		__entry->last = last;
		__entry->nmappings = nmappings;
		__entry->fault = fault;
		__entry->nusers = nusers;
	),
	TP_printk("guest=%llu domain=%llu iova=%#llx-%#llx mappings=%llu fault=%llu users=%u",
		  __entry->guest, __entry->domain, __entry->iova, __entry->last,
		  __entry->nmappings, __entry->fault, __entry->nusers)
);

#endif /* _GUESTMEM_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
