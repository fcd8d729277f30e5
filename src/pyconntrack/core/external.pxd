# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from pyconntrack.core.counters cimport Counters
from pyconntrack.core.expectation_cache cimport ExternalExpectations
from pyconntrack.core.record cimport flow_t
from pyconntrack.core.table cimport FlowTable, slot_t
from pyconntrack.core.wire cimport header_t, key_t

cdef enum:
    OWNERS = 64                # nodes whose flows an external cache tells apart

cdef struct owner_t:
    uint64_t digest            # of all its claims
    uint64_t fresh_digest      # of those that came since its last resync began
    uint32_t count
    uint32_t fresh_count
    uint32_t swept             # slots that the sweep has looked at
    uint32_t beneath           # of `count`, those that another node's claim lies over
    bint sweeping              # what is not fresh is left over, and being dropped
    bint tells_whole           # its messages carry flows whole: it says a digest of them
    bint silent                # nothing is heard of it any more
    uint16_t epoch

cdef struct told_t:            # a message about a flow, read but not yet taken
    const uint8_t *body        # canonical: in the datagram, or in `written`
    uint32_t length
    uint8_t kind               # TYPE_FLOW_*
    key_t key
    uint8_t[512] written       # BODY_MAX bytes

cdef class ExternalCache:
    cdef readonly FlowTable table
    cdef readonly Counters counters
    cdef readonly uint64_t malformed       # payloads that could not be read
    cdef readonly uint64_t ignored         # expectations, while they are not replicated
    cdef readonly uint32_t run_length      # messages that the last apply_run took
    cdef readonly uint32_t sweeps          # owners whose left-over entries are being dropped
    cdef readonly uint32_t claims          # that lie beneath entries
    cdef public bint completes             # updates may tell only what has changed
    cdef owner_t owners[64]
    cdef told_t told[16]                   # a GROUP of messages
    cdef uint32_t hashes[16]
    cdef uint32_t read_ahead               # how many
    cdef readonly ExternalExpectations expectations    # None where they are not replicated

    cdef void read(self, const uint8_t *body, const header_t *header, uint8_t owner, uint32_t now) noexcept nogil
    cdef void take(self, uint8_t owner, uint32_t now) noexcept nogil
    cdef void store(self, told_t *told, uint32_t hash, uint8_t owner, uint32_t now) noexcept nogil
    cdef void add_known(self, told_t *told, uint32_t number, uint8_t owner) noexcept nogil
    cdef void forget(self, const told_t *told, uint32_t hash, uint8_t owner) noexcept nogil
    cdef void take_over(self, uint32_t number, const uint8_t *body, uint32_t length, uint8_t owner, uint32_t now) noexcept nogil
    cdef uint32_t find_claim(self, uint32_t number, uint8_t owner) noexcept nogil
    cdef void link_claim(self, uint32_t number, uint32_t other) noexcept nogil
    cdef void unlink_claim(self, uint32_t other) noexcept nogil
    cdef void exchange(self, slot_t *entry, slot_t *claim) noexcept nogil
    cdef void drop_claim(self, uint32_t other) noexcept nogil
    cdef void drop_entry(self, uint32_t number) noexcept nogil
    cdef void give_claim(self, uint32_t number, uint8_t target) noexcept nogil
    cdef void sweep_owner(self, uint8_t owner, uint32_t limit) noexcept nogil
    cdef void account(self, slot_t *slot, bint enters) noexcept nogil

cdef bint tells_more(const uint8_t *known, uint32_t known_length, const uint8_t *body, uint32_t length) noexcept nogil
