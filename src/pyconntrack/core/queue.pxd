# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pyconntrack.core.datagrams cimport Datagrams
from pyconntrack.core.table cimport FlowTable, slot_t

cdef struct list_t:
    uint32_t head
    uint32_t tail
    uint32_t length

cdef class MessageQueue:
    cdef FlowTable table
    cdef list_t sending
    cdef list_t resend
    cdef readonly uint32_t resend_limit    # 0: nothing is kept for a resend
    cdef readonly uint64_t messages_sent
    cdef readonly uint32_t controls        # control messages that wait in either queue
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
    cdef uint32_t take_range(self, uint32_t first, uint32_t last, bint again) noexcept nogil
    cdef void requeue_before(self, uint32_t number) noexcept nogil
    cdef forget_flows(self)
