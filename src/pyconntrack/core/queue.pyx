# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The sending queue and the resend queue: which entries of a table still have to go out, and which may have to go out again.

Both are lists through the table's own slots, so an entry stands in at most one place and a queue costs no memory. What is sent
is the entry as it is at that moment. An entry whose flow has ended stays in the table, dead, until its destroy message needs no
resend any more; a new flow with the same tuple takes its place. Control messages that must be acknowledged wait in slots
that no key finds.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from pyconntrack.core.datagrams cimport Datagrams
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport (FLAG_ALIVE, FLAG_DIGEST, FLAG_RESYNC, HEADER_SIZE, TYPE_CONTROL, TYPE_EXPECT_DESTROY, TYPE_EXPECT_NEW, TYPE_EXPECT_UPDATE,
                                     TYPE_FLOW_DESTROY, TYPE_FLOW_NEW, TYPE_FLOW_UPDATE, load32, store32, store_header)


cdef enum:
    CONTROLS_MAX = 1024
    PASSED_MAX = 4096          # older messages that a range may leave out, for their answer may still come


cdef class MessageQueue:
    """The queues of one table. `resend_limit` is how many messages wait for an acknowledgement at the most, 0 for a mode without any."""

    def __cinit__(self, FlowTable table not None, uint32_t resend_limit=0):
        self.table = table
        self.resend_limit = resend_limit
        self.sending.head = self.sending.tail = NONE
        self.resend.head = self.resend.tail = NONE

    @property
    def waiting(self):
        """Messages in the sending queue."""
        return self.sending.length

    @property
    def unacknowledged(self):
        """Messages in the resend queue."""
        return self.resend.length

    cdef void link(self, uint32_t number, uint8_t queue) noexcept nogil:
        cdef list_t *chain = &self.sending if queue == QUEUE_SENDING else &self.resend
        cdef slot_t *slot = self.table.at(number)
        slot.queue = queue
        slot.previous = chain.tail
        slot.next = NONE
        if chain.tail != NONE:
            self.table.at(chain.tail).next = number
        else:
            chain.head = number
        chain.tail = number
        chain.length += 1

    cdef void link_first(self, uint32_t number) noexcept nogil:
        cdef slot_t *slot = self.table.at(number)
        slot.queue = QUEUE_SENDING
        slot.previous = NONE
        slot.next = self.sending.head
        if self.sending.head != NONE:
            self.table.at(self.sending.head).previous = number
        else:
            self.sending.tail = number
        self.sending.head = number
        self.sending.length += 1

    cdef void unlink(self, uint32_t number) noexcept nogil:
        cdef slot_t *slot = self.table.at(number)
        cdef list_t *chain = &self.sending if slot.queue == QUEUE_SENDING else &self.resend
        if slot.queue == QUEUE_NONE:
            return
        if slot.previous != NONE:
            self.table.at(slot.previous).next = slot.next
        else:
            chain.head = slot.next
        if slot.next != NONE:
            self.table.at(slot.next).previous = slot.previous
        else:
            chain.tail = slot.previous
        chain.length -= 1
        slot.queue = QUEUE_NONE
        slot.previous = NONE
        slot.next = NONE

    cdef void push(self, uint32_t number, uint8_t kind) noexcept nogil:
        """An entry has changed: it waits in the sending queue, at the end of it if it was not there yet.

        What waits to be announced as new stays new, whatever changes meanwhile, so that a peer which never heard of it
        and drops updates of the unknown still learns of it.
        """
        cdef slot_t *slot = self.table.at(number)
        if slot.queue == QUEUE_SENDING:
            if slot.kind != TYPE_FLOW_NEW and slot.kind != TYPE_EXPECT_NEW or kind == TYPE_FLOW_DESTROY or kind == TYPE_EXPECT_DESTROY:
                slot.kind = kind
            return
        slot.kind = kind
        self.unlink(number)
        self.link(number, QUEUE_SENDING)

    cdef void withdraw(self, uint32_t number) noexcept nogil:
        """The entry leaves its queue and, dead or not, the table."""
        self.unlink(number)
        self.table.remove(number)

    cdef void settle(self, uint32_t number) noexcept nogil:
        """The entry's message needs no resend: it leaves its queue, and the table where its flow has ended."""
        self.unlink(number)
        if self.table.at(number).flags & SLOT_CONTROL:
            self.controls -= 1
        if (self.table.at(number).flags & (SLOT_DEAD | SLOT_CONTROL)
                or self.forgets and self.table.at(number).flags & SLOT_INDEXED):
            self.table.remove(number)

    def push_control(self, uint8_t flags, uint32_t first, uint32_t last):
        """Queue a control message with a range (ACK, NACK, RESYNC), before all data, which may have to wait for it.

        It is kept for a resend like data. False where too many wait already: only a peer that makes up its numbers gets that far.
        Raises MemoryError.
        """
        cdef uint8_t[8] body
        cdef uint32_t number
        if self.controls >= CONTROLS_MAX:
            return False
        store32(body, first)
        store32(body + 4, last)
        number = self.table.add_unindexed(body, 8)
        if number == NONE:
            raise MemoryError
        self.table.at(number).flags = SLOT_CONTROL
        self.table.at(number).kind = flags
        self.link_first(number)
        self.controls += 1
        return True

    def push_all(self):
        """Queue every living entry of the table."""
        self.push_some(0, 0xffffffff)

    def push_some(self, uint32_t cursor, uint32_t limit):
        """Queue living entries of the table, from the slot `cursor` on, looking at `limit` slots. Returns the cursor to go on with.

        The walk is done when the cursor stays. They go as updates, which add what a peer does not have: to the C daemon a new flow in
        place of a known one restarts its age. Behind the last slot's flow go all expectations, after their masters.
        """
        cdef uint32_t first = cursor
        cdef uint32_t last
        cdef slot_t *slot
        with nogil:
            last = self.table.top if limit > self.table.top or cursor > self.table.top - limit else cursor + limit
            while cursor < last:
                slot = self.table.at(cursor)
                if slot.flags & SLOT_INDEXED and not slot.flags & SLOT_DEAD:
                    self.push(cursor, TYPE_FLOW_UPDATE)
                cursor += 1
            if self.table.expectations and first < cursor == self.table.top:
                self.push_expectations()
        return cursor

    cdef void push_expectations(self) noexcept nogil:
        cdef uint32_t number
        for number in range(self.table.top):
            if self.table.at(number).flags & SLOT_EXPECTATION and not self.table.at(number).flags & SLOT_DEAD:
                self.push(number, TYPE_EXPECT_UPDATE)

    def fill(self, Datagrams out not None, uint32_t sequence, uint8_t flags, uint32_t limit=0xffffffff):
        """Write messages from the sending queue into `out`, until it is full, the queue empty, or `limit` messages are written.

        The first takes number `sequence`, each next one the next; `flags` are added to every header. Returns how many. What was
        written moves to the resend queue, whose oldest are forgotten where it is over its limit.
        """
        cdef uint32_t written = 0
        cdef uint32_t number
        cdef slot_t *slot
        cdef uint8_t *place
        with nogil:
            while written < limit and self.sending.head != NONE:
                number = self.sending.head
                slot = self.table.at(number)
                place = out.room(HEADER_SIZE + slot.length)
                if place == NULL:
                    break
                if slot.flags & SLOT_CONTROL:
                    store_header(place, TYPE_CONTROL, flags | slot.kind, HEADER_SIZE + slot.length, sequence + written)
                else:
                    store_header(place, slot.kind, flags, HEADER_SIZE + slot.length, sequence + written)
                memcpy(place + HEADER_SIZE, slot.body, slot.length)
                slot.sequence = sequence + written
                slot.flags |= SLOT_TOLD
                written += 1
                self.after_send(number)
            self.messages_sent += written
        return written

    cdef void after_send(self, uint32_t number) noexcept nogil:
        if self.resend_limit == 0:
            self.settle(number)
            return
        self.unlink(number)
        self.link(number, QUEUE_RESEND)
        while self.resend.length > self.resend_limit:
            self.forgotten += 1
            self.settle(self.resend.head)

    def acknowledge(self, uint32_t first, uint32_t last):
        """The peer has `first` to `last`: they need no resend. Returns how many that were."""
        return self.take_range(first, last, False)

    def send_again(self, uint32_t first, uint32_t last):
        """The peer lacks `first` to `last`: they go out again, under new numbers, as they are now. Returns how many."""
        return self.take_range(first, last, True)

    cdef uint32_t take_range(self, uint32_t first, uint32_t last, bint again) noexcept nogil:
        """Settle the messages of the resend queue numbered `first` to `last` or, with `again`, queue them once more.

        Where more than PASSED_MAX older ones stand before them, the answer to those is lost: they are queued once more, too.
        """
        cdef uint32_t number = self.resend.head
        cdef uint32_t next_number, sequence
        cdef uint32_t taken = 0
        cdef uint32_t passed = 0
        while number != NONE:
            next_number = self.table.at(number).next
            sequence = self.table.at(number).sequence
            if <int32_t>(sequence - last) > 0:
                break
            if <int32_t>(sequence - first) < 0:
                passed += 1
                if passed > PASSED_MAX:
                    self.requeue_before(next_number)
                    passed = 0
            else:
                taken += 1
                if again:
                    self.unlink(number)
                    self.link(number, QUEUE_SENDING)
                else:
                    self.settle(number)
            number = next_number
        return taken

    cdef void requeue_before(self, uint32_t number) noexcept nogil:
        """Queue what stands in the resend queue before `number` once more; all of it where that is NONE."""
        cdef uint32_t head
        while self.resend.head != number:
            head = self.resend.head
            self.unlink(head)
            self.link(head, QUEUE_SENDING)

    def list_resend(self, uint32_t limit):
        """The resend queue from its oldest message on, at most `limit`: (sequence number, flags of a control message or 0)."""
        cdef uint32_t number = self.resend.head
        cdef slot_t *slot
        listed = []
        while number != NONE and len(listed) < limit:
            slot = self.table.at(number)
            listed.append((slot.sequence, slot.kind if slot.flags & SLOT_CONTROL else 0))
            number = slot.next
        return listed

    cdef forget_flows(self):
        """Empty the table and the queues of flows; control messages stay where they wait."""
        cdef uint8_t[8] body
        cdef uint32_t number, chain
        cdef slot_t *slot
        controls = []
        for chain in (QUEUE_RESEND, QUEUE_SENDING):
            number = self.resend.head if chain == QUEUE_RESEND else self.sending.head
            while number != NONE:
                slot = self.table.at(number)
                if slot.flags & SLOT_CONTROL:
                    controls.append((chain, slot.sequence, slot.kind, load32(slot.body), load32(slot.body + 4)))
                number = slot.next
        self.table.clear()
        self.sending.head = self.sending.tail = self.resend.head = self.resend.tail = NONE
        self.sending.length = self.resend.length = 0
        for chain, sequence, flags, first, last in controls:
            store32(body, first)
            store32(body + 4, last)
            number = self.table.add_unindexed(body, 8)
            if number == NONE:
                raise MemoryError
            slot = self.table.at(number)
            slot.flags = SLOT_CONTROL
            slot.kind = flags
            slot.sequence = sequence
            self.link(number, chain)

    def send_all_again(self):
        """The peer has started anew: what it did not acknowledge goes out again.

        Acknowledgements, and requests for a resend, were for its former self; a RESYNC still stands.

        Returns how many messages left the resend queue.
        """
        cdef uint32_t number
        cdef uint32_t moved = 0
        with nogil:
            while self.resend.head != NONE:
                number = self.resend.head
                moved += 1
                if self.table.at(number).flags & SLOT_CONTROL and self.table.at(number).kind != FLAG_RESYNC:
                    self.settle(number)
                else:
                    self.unlink(number)
                    self.link(number, QUEUE_SENDING)
        return moved


def write_alive(Datagrams out not None, uint32_t sequence, uint8_t flags):
    """Write an ALIVE into `out`. False where there is no room."""
    cdef uint8_t *place = out.room(HEADER_SIZE)
    if place == NULL:
        return False
    store_header(place, TYPE_CONTROL, FLAG_ALIVE | flags, HEADER_SIZE, sequence)
    return True


def write_digest(Datagrams out not None, uint32_t sequence, uint8_t flags, uint32_t count, uint64_t digest):
    """Write an ALIVE that says what the internal cache holds: 16 more bytes, the number of entries (4), zero (4), their digest (8).

    The C daemon takes it for a plain ALIVE. False where there is no room.
    """
    cdef uint8_t *place = out.room(HEADER_SIZE + 16)
    if place == NULL:
        return False
    store_header(place, TYPE_CONTROL, FLAG_ALIVE | FLAG_DIGEST | flags, HEADER_SIZE + 16, sequence)
    store32(place + 8, count)
    store32(place + 12, 0)
    store32(place + 16, <uint32_t>(digest >> 32))
    store32(place + 20, <uint32_t>digest)
    return True


def write_control(Datagrams out not None, uint32_t sequence, uint8_t flags, uint32_t first, uint32_t last):
    """Write a control message with a range into `out`, for modes that keep none for a resend. False where there is no room."""
    cdef uint8_t *place = out.room(HEADER_SIZE + 8)
    if place == NULL:
        return False
    store_header(place, TYPE_CONTROL, flags, HEADER_SIZE + 8, sequence)
    store32(place + 8, first)
    store32(place + 12, last)
    return True
