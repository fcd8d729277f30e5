# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The commit of expectations: those of other nodes become this node's kernel's, after the flows that are their masters.

What is expected already is deleted and expected anew. How long the kernel expects it is said by its helper's policy. Neither the kernel
nor a message says which zone an expectation is of: it is that of its master among the flows.
"""

from libc.errno cimport EEXIST
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_cache cimport INJECTION_DONE, INJECTION_FAILED, INJECTION_WAITS, ExternalExpectations
from pyconntrack.core.expectation_codec cimport encode_expectation
from pyconntrack.core.expectation_record cimport EXPECTATION_ZONE, expectation_put, expectation_t
from pyconntrack.core.expectation_wire cimport decode_expectation_body
from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport clear_flow, flow_t
from pyconntrack.core.requests cimport RequestBatch
from pyconntrack.core.table cimport NONE, SLOT_DEAD, SLOT_EXPECTATION, SLOT_INDEXED, FlowTable, slot_t
from pyconntrack.core.wire cimport flow_key, key_t

cdef enum:
    BATCH_MAX = 256            # a step: the kernel takes longer for an expectation than for a flow
    WAIT_MAX = 5               # seconds for a master that is not there


cdef bint add(RequestBatch batch, const expectation_t *e, int command, uint16_t flags) noexcept nogil:
    if batch.count == batch.count_limit:
        return False
    return batch.took(encode_expectation(e, command, flags, batch.first_sequence + <uint32_t>batch.count,
                                         batch.buffer + batch.used, batch.capacity - batch.used))


cdef class ExpectationRequests:
    """A batch of requests about a table's expectations, and what the kernel said to them."""

    cdef FlowTable table
    cdef RequestBatch batch
    cdef uint32_t *slots           # of the entries in the batch, by position
    cdef readonly uint64_t committed
    cdef readonly uint64_t failed
    cdef readonly dict failures    # errno -> how many

    def __cinit__(self, *arguments):
        self.batch = RequestBatch()
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

    cdef exchange(self, int fd):
        """Send the batch, and read what became of it."""
        cdef int result
        with nogil:
            result = self.batch.transmit(fd)
            if result == 0:
                result = self.batch.gather(fd)
        if result < 0:
            raise OSError(-result, "the kernel does not take requests about expectations")

    cdef note(self, int number):
        """One request more has been answered."""
        if number == 0:
            self.committed += 1
            return
        self.failed += 1
        self.failures[number] = self.failures.get(number, 0) + 1


cdef class ExpectationCommit(ExpectationRequests):
    """One commit of a table's expectations, in steps, whose masters are among `flows`.

    step() is to be called until it returns False; the counts then say the outcome.
    """

    cdef FlowTable flows
    cdef uint32_t cursor
    cdef uint8_t[65536] zones      # of the flows, once they are known: 1 where there are some
    cdef bint zones_known

    def __init__(self, FlowTable table not None, FlowTable flows not None):
        self.table = table
        self.flows = flows

    def step(self, int fd):
        """Commit the next batch through a request socket. False when all is done. Raises OSError where the socket fails."""
        cdef uint32_t count = self.collect()
        cdef uint32_t again = 0
        cdef uint32_t i
        cdef int number
        if count:
            self.exchange(fd)
        for i in range(count):
            number = self.batch.error_at(i)
            if number == EEXIST:
                self.slots[again] = self.slots[i]
                again += 1
            else:
                self.note(number)
        if again:
            self.replace(fd, again)
        return self.cursor < self.table.top

    cdef uint32_t collect(self) noexcept nogil:
        """Fill the batch with creations, from where the walk stands. How many."""
        cdef expectation_t e
        cdef slot_t *slot
        cdef uint32_t count = 0
        self.batch.reset()
        while self.cursor < self.table.top and count < BATCH_MAX:
            slot = self.table.at(self.cursor)
            if (slot.flags & SLOT_EXPECTATION and not slot.flags & SLOT_DEAD
                    and decode_expectation_body(slot.body, slot.length, &e) == 0):
                self.set_zone(&e)
                if not add(self.batch, &e, IPCTNL_MSG_EXP_NEW, NLM_F_CREATE | NLM_F_EXCL):
                    break
                self.slots[count] = self.cursor
                count += 1
            self.cursor += 1
        return count

    cdef void set_zone(self, expectation_t *e) noexcept nogil:
        """Let it be of its master's zone. Of the same tuple in several zones, the lowest one is taken."""
        cdef flow_t master
        cdef key_t key
        cdef uint32_t number, zone
        clear_flow(&master)
        master.original = e.master
        flow_key(&master, &key)
        if self.flows.find(&key, self.flows.hash_key(&key)) != NONE:
            return
        if not self.zones_known:
            self.zones_known = True
            for number in range(self.flows.top):
                if self.flows.at(number).flags & SLOT_INDEXED:
                    self.zones[self.flows.at(number).zone] = 1
        for zone in range(1, 65536):
            if self.zones[zone]:
                key.zone = <uint16_t>zone
                if self.flows.find(&key, self.flows.hash_key(&key)) != NONE:
                    e.zone = key.zone
                    expectation_put(e, EXPECTATION_ZONE)
                    return

    cdef replace(self, int fd, uint32_t count):
        """Delete what is expected already, and expect it anew."""
        cdef expectation_t e
        cdef slot_t *slot
        cdef uint32_t i = 0
        cdef uint32_t first, position
        while i < count:
            first = i
            self.batch.reset()
            # They fit, for no request takes more than a sixty-fourth of the batch.
            while i < count and i - first < BATCH_MAX // 16:
                slot = self.table.at(self.slots[i])
                decode_expectation_body(slot.body, slot.length, &e)
                self.set_zone(&e)
                add(self.batch, &e, IPCTNL_MSG_EXP_DELETE, 0)
                add(self.batch, &e, IPCTNL_MSG_EXP_NEW, NLM_F_CREATE | NLM_F_EXCL)
                i += 1
            self.exchange(fd)
            for position in range(i - first):
                self.note(self.batch.error_at(2 * position + 1))


cdef class ExpectationInjector(ExpectationRequests):
    """Puts what other nodes expect straight into this node's kernel, where there is no external cache of flows.

    One whose master is not there yet is tried again for WAIT_MAX seconds. `committed` and `failed` count all since the start.
    """

    cdef ExternalExpectations expectations
    cdef Py_ssize_t deleted        # so many of those that have ended

    def __init__(self, ExternalExpectations expectations not None):
        self.expectations = expectations
        self.table = expectations.table
        expectations.injects = True

    def step(self, int fd, uint32_t now):
        """Delete what has ended, and then create what waits, as much as one batch takes of each. Raises OSError."""
        cdef uint32_t count
        cdef uint32_t i
        cdef int number
        cdef slot_t *slot
        if not self.delete_ended(fd):
            return
        count = self.collect()
        if count:
            self.exchange(fd)
        for i in range(count):
            number = self.batch.error_at(i)
            slot = self.table.at(self.slots[i])
            if number == 0 or number == EEXIST:
                self.expectations.mark(slot, INJECTION_DONE)
                self.note(0)
            elif now > slot.updated and now - slot.updated > WAIT_MAX:
                self.expectations.mark(slot, INJECTION_FAILED)
                self.note(number)

    cdef bint delete_ended(self, int fd) except -1:
        """Delete a batch of what has ended. Whether that was the last: what is expected anew comes behind its end.

        Where one has ended here already, there is nothing to do.
        """
        cdef ExpectationBatch ended = self.expectations.ended
        cdef Py_ssize_t end = self.deleted
        self.batch.reset()
        while end < ended.length and self.batch.count < BATCH_MAX and add(self.batch, &ended.expectations[end], IPCTNL_MSG_EXP_DELETE, 0):
            end += 1
        if end > self.deleted:
            self.exchange(fd)
        self.deleted = end
        if end < ended.length:
            return False
        ended.clear()
        self.deleted = 0
        return True

    cdef uint32_t collect(self) noexcept nogil:
        """Fill the batch with what waits. How many."""
        cdef expectation_t e
        cdef slot_t *slot
        cdef uint32_t number
        cdef uint32_t count = 0
        self.batch.reset()
        for number in range(self.table.top):
            slot = self.table.at(number)
            if (slot.flags & SLOT_EXPECTATION and slot.told == INJECTION_WAITS and count < BATCH_MAX
                    and decode_expectation_body(slot.body, slot.length, &e) == 0):
                if not add(self.batch, &e, IPCTNL_MSG_EXP_NEW, NLM_F_CREATE | NLM_F_EXCL):
                    break
                self.slots[count] = number
                count += 1
        return count
