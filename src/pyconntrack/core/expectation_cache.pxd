# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.counters cimport Counters
from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_record cimport expectation_t
from pyconntrack.core.queue cimport MessageQueue
from pyconntrack.core.table cimport FlowTable, slot_t

cdef enum:
    HELPERS_MAX = 64           # names in a list of helpers; the kernel has a dozen
    EXPECTATION_OWNERS = 64    # nodes, numbered as in the external cache of flows

# What became of another node's expectation where they go straight into the kernel; in `told` of its slot.
cdef enum:
    INJECTION_WAITS = 1
    INJECTION_DONE = 2
    INJECTION_FAILED = 3

cdef class ExternalExpectations

cdef class InternalExpectations:
    cdef readonly FlowTable table          # that of the flows, whose queue takes them to the peers
    cdef MessageQueue queue
    cdef readonly Counters counters
    cdef readonly uint32_t limit
    cdef readonly uint32_t live
    cdef readonly uint64_t filtered        # of helpers that are not replicated
    cdef readonly uint64_t malformed       # that lack a tuple
    cdef readonly uint32_t earliest        # when the first of them ends; 0xffffffff for never
    cdef readonly FlowBatch masters        # translated flows, whose sequence numbers may be adjusted since it was cleared
    cdef uint16_t epoch                    # of the last dump
    cdef bint dumping
    cdef public ExternalExpectations lent  # which this node put into its kernel: they are not its own
    cdef char helpers[64][16]
    cdef uint32_t helper_count             # 0: every helper

    cdef take(self, ExpectationBatch batch, bint dump, uint32_t now)
    cdef bint accepts(self, const expectation_t *e) noexcept nogil
    cdef void store(self, const expectation_t *e, bint dump, uint32_t now) noexcept nogil
    cdef bint replace(self, uint32_t number, const uint8_t *body, uint32_t length) noexcept nogil
    cdef void refresh(self, uint32_t number, const expectation_t *e, const uint8_t *body, uint32_t length,
                      uint32_t now) noexcept nogil
    cdef void end(self, const expectation_t *e) noexcept nogil
    cdef void kill(self, uint32_t number) noexcept nogil
    cdef note_master(self, const expectation_t *e)
    cdef void note_end(self, const expectation_t *e, uint32_t now) noexcept nogil

cdef class ExternalExpectations:
    cdef readonly FlowTable table
    cdef readonly Counters counters
    cdef readonly uint32_t limit
    cdef readonly uint64_t malformed       # payloads that could not be read
    cdef public bint injects               # each goes straight into the kernel
    cdef readonly uint32_t waiting         # of these, those that have not been put there yet
    cdef readonly ExpectationBatch ended   # and those that are to be deleted there
    cdef uint16_t[64] epochs               # of each node, begun by a resync of it
    cdef bint[64] resyncing                # which has not settled yet

    cdef void take(self, uint8_t kind, const uint8_t *body, uint32_t length, uint8_t owner, uint32_t now) noexcept nogil
    cdef void store(self, uint8_t kind, const uint8_t *body, uint32_t length, uint8_t owner, uint32_t now) noexcept nogil
    cdef void forget(self, const uint8_t *body, uint32_t length, uint8_t owner) noexcept nogil
    cdef void drop(self, uint32_t number) noexcept nogil
    cdef void mark(self, slot_t *slot, uint8_t state) noexcept nogil
    cdef bint lends(self, const uint8_t *body, uint32_t length) noexcept nogil
    cdef void settle(self, uint8_t owner) noexcept nogil
