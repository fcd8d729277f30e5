# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of the statistics mode: the flows of this node's kernel, and a line for each of them that has ended.

The line is made of the destroy event, which has the counters and the time stamps where the kernel keeps them. Of a flow whose
event was lost, the cache tells what it knows once it finds out: a resync does not name the flow, or another one has its tuple.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from libc.time cimport ctime_r, time, time_t

from pyconntrack.core.internal cimport InternalCache
from pyconntrack.core.record cimport *
from pyconntrack.core.table cimport *
from pyconntrack.core.text cimport TEXT_MAX, TEXT_NO_TIMEOUT, TEXT_PLAIN, format_flow
from pyconntrack.core.wire cimport decode_body

cdef enum:
    STAMP = 25                 # ctime(3) without its newline, and a tab
    ROOM_MIN = 1 << 16
    ROOM_MAX = 1 << 28         # lines beyond this are lost: nobody takes them

STAMP_LENGTH = STAMP


cdef class StatisticsCache(InternalCache):
    """An InternalCache without peers, which writes a line for each flow that ends, unless `lines` is false. take_lines() hands them over."""

    cdef char *room
    cdef size_t used, capacity
    cdef public bint lines             # whether they are written
    cdef const flow_t *ending          # the destroy event at hand, until it is told
    cdef time_t stamped
    cdef char[64] stamp
    cdef readonly uint64_t lost        # lines that there was no memory for

    def __init__(self, **_):
        self.lines = True

    def __dealloc__(self):
        free(self.room)

    cdef void apply(self, flow_t *event, uint32_t hash, uint32_t now) noexcept nogil:
        self.ending = event if event.event == EVENT_DESTROY else NULL
        InternalCache.apply(self, event, hash, now)
        # A full cache costs no line: the flow may be one that did not fit.
        if self.ending != NULL and self.counters.create_failed:
            self.tell_end()
        self.ending = NULL

    cdef void kill(self, uint32_t number) noexcept nogil:
        if self.ending != NULL:
            self.tell_end()
            self.ending = NULL
        else:
            self.tell(number)
        # No peer has to hear of the end: the entry can leave at once.
        self.table.at(number).flags &= ~SLOT_TOLD
        InternalCache.kill(self, number)

    cdef uint32_t insert(self, uint32_t number, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil:
        cdef slot_t *slot
        if number != NONE:
            slot = self.table.at(number)
            # A flow can be in a dump before the event of its beginning arrives.
            if not slot.flags & SLOT_DEAD and not (slot.flags & SLOT_UNHEARD and slot.id == flow.id):
                self.tell(number)
        return InternalCache.insert(self, number, flow, hash, now)

    cdef void count_traffic(self, const flow_t *ended) noexcept nogil:
        # What has a line is counted with it.
        pass

    cdef void tell_end(self) noexcept nogil:
        """The flow of the destroy event at hand has ended. As the C daemon does, the filter is asked once more."""
        if self.filter is not None and not self.filter.accepts(self.ending):
            self.filtered += 1
        else:
            self.write(self.ending)

    cdef void tell(self, uint32_t number) noexcept nogil:
        """The flow of this entry has ended, and there is no event that says so."""
        cdef flow_t flow
        cdef slot_t *slot = self.table.at(number)
        if decode_body(slot.body, slot.length, &flow) == 0:
            self.write(&flow)

    cdef void write(self, const flow_t *flow) noexcept nogil:
        """A line: when, and what `conntrack -L` shows of the flow, without the timeout."""
        cdef time_t now
        InternalCache.count_traffic(self, flow)
        if not self.lines:
            return
        if not self.make_room():
            self.lost += 1
            return
        now = time(NULL)
        if now != self.stamped or self.stamp[0] == 0:
            if ctime_r(&now, self.stamp) == NULL:
                memcpy(self.stamp, b"Thu Jan  1 00:00:00 1970", STAMP)
            self.stamp[STAMP - 1] = 9
            self.stamped = now
        memcpy(self.room + self.used, self.stamp, STAMP)
        self.used += STAMP
        self.used += format_flow(flow, TEXT_PLAIN, TEXT_NO_TIMEOUT, now, -1, self.room + self.used, TEXT_MAX)

    cdef bint make_room(self) noexcept nogil:
        cdef size_t capacity = self.capacity
        cdef char *room
        if self.used + STAMP + TEXT_MAX <= capacity:
            return True
        capacity = 2 * capacity if capacity else ROOM_MIN
        if capacity > ROOM_MAX:
            return False
        room = <char *>realloc(self.room, capacity)
        if room == NULL:
            return False
        self.room = room
        self.capacity = capacity
        return True

    def take_lines(self):
        """The lines written since the last call, each `Sun Nov 22 05:22:40 2026`, a tab, the flow, a newline. Raises MemoryError."""
        lines = PyBytes_FromStringAndSize(self.room, self.used) if self.used else b""
        self.used = 0
        if self.capacity > ROOM_MIN:
            # What a burst took is given back.
            free(self.room)
            self.room = NULL
            self.capacity = 0
        return lines
