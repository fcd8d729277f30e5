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
from pyconntrack.core.wire cimport (FLAG_ALIVE, FLAG_EXTENDED, FLAG_RESYNC, HEADER_SIZE, TYPE_CONTROL, TYPE_EXPECT_DESTROY, TYPE_EXPECT_NEW, TYPE_EXPECT_UPDATE,
                                     TYPE_FLOW_DESTROY, TYPE_FLOW_NEW, TYPE_FLOW_UPDATE, load32, store32, store_header)


cdef enum:
    CONTROLS_MAX = 1024
    RANGE = 8                  # bytes of a control message's two numbers
    ADDRESSED = 20             # bytes of one of ours to one node, see push_addressed
    STEPS_MAX = 1 << 16        # of a search for a number in the resend queue; a range that is farther away goes unheard


cdef class MessageQueue:
    """The queues of one table. `resend_limit` is how many messages wait for an acknowledgement at the most, 0 for a mode without any."""

    def __cinit__(self, FlowTable table not None, uint32_t resend_limit=0):
        self.table = table
        self.resend_limit = resend_limit
        self.sending.head = self.sending.tail = NONE
        self.resend.head = self.resend.tail = NONE
        self.place = NONE

    @property
    def waiting(self):
        """Messages in the sending queue."""
        return self.sending.length

    @property
    def unacknowledged(self):
        """Messages in the resend queue."""
        return self.resend.length

    @property
    def oldest(self):
        """The number of the oldest message in the resend queue; None where it is empty."""
        return None if self.resend.head == NONE else self.table.at(self.resend.head).sequence

    cdef void link(self, uint32_t number, uint8_t queue) noexcept nogil:
        cdef list_t *chain = &self.sending if queue == QUEUE_SENDING else &self.resend
        cdef slot_t *slot = self.table.at(number)
        slot.queue = queue
        if queue == QUEUE_RESEND and slot.flags & SLOT_CONTROL:
            self.controls_kept += 1
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
        if number == self.place:
            self.place = slot.next
        if slot.queue == QUEUE_RESEND and slot.flags & SLOT_CONTROL:
            self.controls_kept -= 1
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
        cdef uint8_t[RANGE] body
        store32(body, first)
        store32(body + 4, last)
        return self.push_body(flags, body, RANGE)

    def push_addressed(self, uint8_t flags, uint32_t node, uint32_t addressee, uint32_t first, uint32_t last):
        """Queue a control message from `node` to the node `addressee` alone, like push_control.

        It goes as an ALIVE with more in it, which a C daemon passes over, see docs/protocol.md.
        """
        cdef uint8_t[ADDRESSED] body
        store32(body, flags)
        store32(body + 4, node)
        store32(body + 8, addressee)
        store32(body + 12, first)
        store32(body + 16, last)
        return self.push_body(FLAG_ALIVE | FLAG_EXTENDED, body, ADDRESSED)

    cdef bint push_body(self, uint8_t flags, const uint8_t *body, uint32_t length) except -1:
        cdef uint32_t number
        if self.controls - self.controls_kept >= CONTROLS_MAX:
            return False
        number = self.table.add_unindexed(body, length)
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
        cdef bint control = self.table.at(number).flags & SLOT_CONTROL != 0
        # Were they not sent, nodes that have each sent that many would never hear of each other that they arrived.
        if self.resend_limit == 0 or (control and self.controls_kept >= CONTROLS_MAX):
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

    def send_again(self, uint32_t first, uint32_t last, uint32_t node=0):
        """The peer lacks `first` to `last`: they go out again, under new numbers, as they are now. Returns how many.

        What is addressed to another node than `node` stays: the peer need not have it.
        """
        return self.take_range(first, last, True, node)

    cdef uint32_t take_range(self, uint32_t first, uint32_t last, bint again, uint32_t node=0) noexcept nogil:
        """Settle the messages of the resend queue numbered `first` to `last` or, with `again`, queue them once more."""
        cdef uint32_t number = self.find_first(first)
        cdef uint32_t next_number
        cdef uint32_t taken = 0
        while number != NONE and <int32_t>(self.table.at(number).sequence - last) <= 0:
            next_number = self.table.at(number).next
            if not again:
                self.settle(number)
                taken += 1
            elif node == 0 or not self.is_for_another(number, node):
                self.unlink(number)
                self.link(number, QUEUE_SENDING)
                taken += 1
            number = next_number
        self.place = number
        return taken

    cdef uint32_t find_first(self, uint32_t first) noexcept nogil:
        """The oldest message in the resend queue that is not numbered before `first`, or NONE.

        The queue is in the order of its numbers. One peer answers its oldest messages, another one its newest, and both go on where
        they were: so the search starts from whatever is nearest of both ends and the place where the last one came to its end.
        """
        cdef uint32_t number = self.resend.head
        cdef uint32_t steps = 0
        cdef uint32_t other
        if number == NONE or <int32_t>(self.table.at(number).sequence - first) >= 0:
            return number
        if self.distance(self.resend.tail, first) < self.distance(number, first):
            number = self.resend.tail
        if self.place != NONE and self.distance(self.place, first) < self.distance(number, first):
            number = self.place
        while number != NONE and <int32_t>(self.table.at(number).sequence - first) < 0:
            number = self.table.at(number).next
            steps += 1
            if steps > STEPS_MAX:
                return NONE
        while number != NONE and self.table.at(number).previous != NONE:
            other = self.table.at(number).previous
            if <int32_t>(self.table.at(other).sequence - first) < 0:
                break
            number = other
            steps += 1
            if steps > STEPS_MAX:
                return NONE
        return number

    cdef bint is_for_another(self, uint32_t number, uint32_t node) noexcept nogil:
        """Whether a message is addressed to another node than `node`."""
        cdef slot_t *slot = self.table.at(number)
        return slot.flags & SLOT_CONTROL and slot.length == ADDRESSED and load32(slot.body + 8) != node

    cdef uint32_t distance(self, uint32_t number, uint32_t sequence) noexcept nogil:
        cdef int32_t apart = <int32_t>(self.table.at(number).sequence - sequence)
        return <uint32_t>(apart if apart >= 0 else -apart)

    def list_resend(self, uint32_t limit):
        """The resend queue from its oldest message on, at most `limit`: (sequence number, flags of a control message or 0)."""
        cdef uint32_t number = self.resend.head
        cdef slot_t *slot
        listed = []
        while number != NONE and len(listed) < limit:
            slot = self.table.at(number)
            flags = 0
            if slot.flags & SLOT_CONTROL:
                flags = load32(slot.body) if slot.length == ADDRESSED else slot.kind
            listed.append((slot.sequence, flags))
            number = slot.next
        return listed

    cdef forget_flows(self):
        """Empty the table and the queues of flows; control messages stay where they wait."""
        cdef uint32_t number, chain
        cdef slot_t *slot
        cdef const uint8_t *body
        controls = []
        for chain in (QUEUE_RESEND, QUEUE_SENDING):
            number = self.resend.head if chain == QUEUE_RESEND else self.sending.head
            while number != NONE:
                slot = self.table.at(number)
                if slot.flags & SLOT_CONTROL:
                    controls.append((chain, slot.sequence, slot.kind, (<const char *>slot.body)[:slot.length]))
                number = slot.next
        self.table.clear()
        self.sending.head = self.sending.tail = self.resend.head = self.resend.tail = self.place = NONE
        self.sending.length = self.resend.length = 0
        self.controls_kept = 0
        for chain, sequence, flags, held in controls:
            body = held
            number = self.table.add_unindexed(body, <uint32_t>len(held))
            if number == NONE:
                raise MemoryError
            slot = self.table.at(number)
            slot.flags = SLOT_CONTROL
            slot.kind = flags
            slot.sequence = sequence
            self.link(number, chain)

    def send_all_again(self, uint32_t former=0):
        """A peer has started anew: what was not acknowledged goes out again.

        Acknowledgements, and requests for a resend, to the node `former` were for its former self, and so were those to nobody in
        particular; a RESYNC still stands.

        Returns how many messages left the resend queue.
        """
        cdef uint32_t number
        cdef uint32_t moved = 0
        with nogil:
            while self.resend.head != NONE:
                number = self.resend.head
                moved += 1
                if self.table.at(number).flags & SLOT_CONTROL and self.is_for(number, former):
                    self.settle(number)
                else:
                    self.unlink(number)
                    self.link(number, QUEUE_SENDING)
        return moved

    cdef bint is_for(self, uint32_t number, uint32_t former) noexcept nogil:
        """Whether a control message means nothing to anybody but the node `former`, or an unnamed one."""
        cdef slot_t *slot = self.table.at(number)
        if slot.length != ADDRESSED:
            return slot.kind != FLAG_RESYNC
        return load32(slot.body) != FLAG_RESYNC and load32(slot.body + 8) == former


def write_alive(Datagrams out not None, uint32_t sequence, uint8_t flags):
    """Write an ALIVE into `out`. False where there is no room."""
    cdef uint8_t *place = out.room(HEADER_SIZE)
    if place == NULL:
        return False
    store_header(place, TYPE_CONTROL, FLAG_ALIVE | flags, HEADER_SIZE, sequence)
    return True


def write_identity(Datagrams out not None, uint32_t sequence, uint8_t flags, uint32_t node):
    """Write an ALIVE that says who sends it: 8 more bytes, zero (4), the node's number (4).

    The C daemon takes it for a plain ALIVE. False where there is no room.
    """
    cdef uint8_t *place = out.room(HEADER_SIZE + 8)
    if place == NULL:
        return False
    store_header(place, TYPE_CONTROL, FLAG_ALIVE | FLAG_EXTENDED | flags, HEADER_SIZE + 8, sequence)
    store32(place + 8, 0)
    store32(place + 12, node)
    return True


def write_digest(Datagrams out not None, uint32_t sequence, uint8_t flags, uint32_t node, uint32_t count, uint64_t digest):
    """Write an ALIVE that says what the internal cache holds: 16 more bytes, the number of entries (4), the node's (4), their digest (8).

    The C daemon takes it for a plain ALIVE. False where there is no room.
    """
    cdef uint8_t *place = out.room(HEADER_SIZE + 16)
    if place == NULL:
        return False
    store_header(place, TYPE_CONTROL, FLAG_ALIVE | FLAG_EXTENDED | flags, HEADER_SIZE + 16, sequence)
    store32(place + 8, count)
    store32(place + 12, node)
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


def write_addressed(Datagrams out not None, uint32_t sequence, uint8_t flags, uint32_t node, uint32_t addressee):
    """Write a control message without a range from `node` to the node `addressee` alone, see MessageQueue.push_addressed.

    False where there is no room.
    """
    cdef uint8_t *place = out.room(HEADER_SIZE + ADDRESSED)
    if place == NULL:
        return False
    store_header(place, TYPE_CONTROL, FLAG_ALIVE | FLAG_EXTENDED, HEADER_SIZE + ADDRESSED, sequence)
    store32(place + 8, flags)
    store32(place + 12, node)
    store32(place + 16, addressee)
    store32(place + 20, 0)
    store32(place + 24, 0)
    return True
