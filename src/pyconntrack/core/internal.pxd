# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from pyconntrack.core.counters cimport Counters
from pyconntrack.core.filter cimport EventFilter
from pyconntrack.core.identity_set cimport IdentitySet
from pyconntrack.core.queue cimport MessageQueue
from pyconntrack.core.record cimport flow_t
from pyconntrack.core.table cimport FlowTable, slot_t

cdef class InternalCache:
    cdef readonly uint32_t limit
    cdef readonly FlowTable table
    cdef readonly MessageQueue queue
    cdef readonly Counters counters
    cdef EventFilter filter
    cdef int without
    cdef readonly uint32_t live
    cdef readonly uint64_t digest
    cdef readonly uint64_t filtered        # events that the filter kept out
    cdef readonly uint64_t malformed       # netlink messages that could not be read
    cdef readonly bint resyncing
    cdef readonly uint64_t traffic_bytes   # of flows that ended, both directions, where the kernel counts
    cdef readonly uint64_t traffic_packets
    cdef readonly uint32_t unheard         # entries of which no event has told yet
    cdef uint16_t epoch
    cdef public uint8_t listened           # whatever a dump tells of first began while this process listened
    cdef uint32_t swept                    # slots that the sweep has looked at
    cdef uint32_t left_over                # entries that it removed
    cdef IdentitySet ended                 # flows that ended since the resync began

    cdef flow_t flows[16]                  # a GROUP of events, read but not yet followed
    cdef uint32_t hashes[16]
    cdef uint32_t read_ahead               # how many

    cdef uint32_t hash_flow(self, const flow_t *flow) noexcept nogil
    cdef void apply(self, flow_t *event, uint32_t hash, uint32_t now) noexcept nogil
    cdef void merge(self, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil
    cdef void take(self, bint dump, uint32_t now) noexcept nogil
    cdef uint32_t insert(self, uint32_t number, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil
    cdef void hear(self, slot_t *slot) noexcept nogil
    cdef void touch(self, uint32_t number, const flow_t *event) noexcept nogil
    cdef void overlay(self, uint32_t number, const flow_t *event, uint32_t now) noexcept nogil
    cdef void complete(self, uint32_t number, flow_t *flow, uint32_t now) noexcept nogil
    cdef void refresh(self, uint32_t number, flow_t *flow, uint32_t now) noexcept nogil
    cdef void change(self, uint32_t number, const flow_t *flow, uint32_t now) noexcept nogil
    cdef void kill(self, uint32_t number) noexcept nogil
    cdef void count_traffic(self, const flow_t *ended) noexcept nogil
    cdef uint32_t walk(self, const uint8_t *data, uint32_t size, bint dump, uint32_t now) noexcept nogil
