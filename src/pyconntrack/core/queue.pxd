# SPDX-License-Identifier: GPL-2.0-or-later
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pyconntrack.core.datagrams cimport Datagrams
from pyconntrack.core.table cimport FlowTable, slot_t

cdef struct list_t:
    uint32_t head
    uint32_t tail
    uint32_t length

@cython.final
cdef class MessageQueue:
    cdef FlowTable table
    cdef list_t sending
    cdef list_t resend
    cdef uint32_t place                    # in the resend queue, where the last search came to its end
    cdef readonly uint32_t resend_limit    # 0: nothing is kept for a resend
    cdef readonly uint64_t messages_sent
    cdef readonly uint32_t controls        # control messages that wait in either queue
    cdef readonly uint32_t controls_kept   # of these, those in the resend queue
    cdef readonly uint64_t forgotten       # messages that left a full resend queue without an acknowledgement
    cdef public bint forgets               # a flow whose message is sent leaves the table

    cdef void push(self, uint32_t number, uint8_t kind) noexcept nogil
    cdef void push_expectations(self) noexcept nogil
    cdef void withdraw(self, uint32_t number) noexcept nogil
    cdef void settle(self, uint32_t number) noexcept nogil
    cdef void after_send(self, uint32_t number) noexcept nogil
    cdef void link(self, uint32_t number, uint8_t queue) noexcept nogil
    cdef void link_first(self, uint32_t number) noexcept nogil
    cdef void unlink(self, uint32_t number) noexcept nogil
    cdef uint32_t take_range(self, uint32_t first, uint32_t last, bint again, uint32_t node=*) noexcept nogil
    cdef uint32_t find_first(self, uint32_t first) noexcept nogil
    cdef uint32_t distance(self, uint32_t number, uint32_t sequence) noexcept nogil
    cdef bint push_body(self, uint8_t flags, const uint8_t *body, uint32_t length) except -1
    cdef bint is_for_another(self, uint32_t number, uint32_t node) noexcept nogil
    cdef bint is_for(self, uint32_t number, uint32_t former) noexcept nogil
    cdef forget_flows(self)
