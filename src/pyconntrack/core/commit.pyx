# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The commit: entries of the external cache become flows of this node's kernel, many to a request batch.

A flow whose master is not there cannot be created, so flows without a master go first, and those with one after them. What exists
already is deleted and created again, since the kernel does not let an existing flow's NAT, helper or master change.
"""

from libc.errno cimport EEXIST
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from pyconntrack.core.completion cimport complete_flow, completion_t
from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *
from pyconntrack.core.requests cimport RequestBatch
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport decode_body

cdef enum:
    BATCH_MAX = 4096
    SCAN_MAX = 16384               # slots looked at in one step


cdef class Commit:
    """One commit of a table, in steps that hold nothing up.

    `timeout` is CommitTimeout in seconds, or -1; with `window_tracking` the kernel checks TCP windows of committed flows. step() is to be
    called until it returns False; the counts then say what became of the entries.
    """

    cdef FlowTable table
    cdef RequestBatch batch
    cdef completion_t options
    cdef bint expected_only        # the second pass: flows with a master
    cdef bint masters              # the first pass has met some
    cdef uint32_t cursor
    cdef uint32_t *slots           # of the entries in the batch, by position
    cdef readonly uint64_t committed
    cdef readonly uint64_t failed
    cdef readonly dict failures    # errno -> how many entries

    def __cinit__(self, FlowTable table not None, *, int64_t timeout=-1, bint window_tracking=False):
        self.table = table
        self.batch = RequestBatch()
        self.options.timeout = timeout
        self.options.window_tracking = window_tracking
        self.failures = {}
        self.slots = <uint32_t *>malloc(BATCH_MAX * sizeof(uint32_t))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.slots)

    @property
    def receive_buffer(self):
        """Bytes of receive buffer that the request socket needs, for the answers to a full batch."""
        return self.batch.receive_buffer

    def step(self, int fd, uint32_t now):
        """Commit the next batch through a request socket. False when all is done. Raises OSError where the socket fails.

        `now` is the time in seconds of the clock that the cache is driven with.
        """
        cdef uint32_t count = 0
        cdef int result
        with nogil:
            count = self.collect(now)
        if count > 0:
            result = self.exchange(fd)
            if result > 0:
                self.try_again(fd, now, count)
            self.committed += count - <uint32_t>(result if result > 0 else 0)
        if self.cursor < self.table.top:
            return True
        if self.expected_only or not self.masters:
            return False
        self.expected_only = True
        self.cursor = 0
        return True

    cdef int exchange(self, int fd) except -1:
        """Send the batch. How many of its requests failed."""
        cdef int result
        with nogil:
            result = self.batch.transmit(fd)
            if result == 0:
                result = self.batch.gather(fd)
        if result < 0:
            raise OSError(-result, "cannot commit: the kernel does not take the requests")
        return result

    cdef uint32_t collect(self, uint32_t now) noexcept nogil:
        """Fill the batch with creations, from where the walk stands. How many."""
        cdef flow_t flow
        cdef slot_t *slot
        cdef uint32_t count = 0
        cdef uint32_t end = min(self.cursor + SCAN_MAX, self.table.top)
        self.batch.reset()
        while self.cursor < end and count < BATCH_MAX:
            slot = self.table.at(self.cursor)
            if slot.flags & SLOT_INDEXED and decode_body(slot.body, slot.length, &flow) == 0:
                if has(&flow, BIT_MASTER) and not self.expected_only:
                    self.masters = True
                if has(&flow, BIT_MASTER) == self.expected_only:
                    self.prepare(&flow, slot, now)
                    if not self.batch.add(&flow, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL):
                        break
                    self.slots[count] = self.cursor
                    count += 1
            self.cursor += 1
        return count

    cdef void prepare(self, flow_t *flow, const slot_t *slot, uint32_t now) noexcept nogil:
        complete_flow(flow, &self.options, now - slot.updated)

    cdef try_again(self, int fd, uint32_t now, uint32_t count):
        """Delete what exists and create it again; count what failed for another reason."""
        cdef uint32_t i
        cdef uint32_t again = 0
        cdef int number
        for i in range(count):
            number = self.batch.error_at(i)
            if number == EEXIST:
                self.slots[again] = self.slots[i]
                again += 1
            elif number:
                self.fail(number)
        i = 0
        while i < again:
            i = self.replace(fd, now, i, again)

    cdef uint32_t replace(self, int fd, uint32_t now, uint32_t first, uint32_t count) except 0:
        """Delete and create as many of the noted entries, from `first` on, as fit one batch. The number of the next one."""
        cdef flow_t flow
        cdef flow_t gone
        cdef slot_t *slot
        cdef uint32_t i = first
        cdef uint32_t position
        cdef int number
        self.batch.reset()
        while i < count and i - first < BATCH_MAX // 8:
            slot = self.table.at(self.slots[i])
            decode_body(slot.body, slot.length, &flow)
            gone = flow
            self.prepare(&flow, slot, now)
            self.batch.add(&gone, IPCTNL_MSG_CT_DELETE, 0)
            if not self.batch.add(&flow, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL):
                break
            i += 1
        self.exchange(fd)
        for position in range(i - first):
            number = self.batch.error_at(2 * position + 1)
            if number:
                self.fail(number)
            else:
                self.committed += 1
        return i

    cdef fail(self, int number):
        self.failed += 1
        self.failures[number] = self.failures.get(number, 0) + 1
