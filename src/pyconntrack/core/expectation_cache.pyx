# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The caches of expectations: this node's, and the other nodes'.

An expectation is named by what it expects, and the mask: the kernel lets only one flow expect the same at a time. Where another master
is told of, its expectation has replaced the former, whose end was not told.

This node's stand in slots of the table of flows, so that the same queue takes both to the peers, under the same numbers. Its events
are read after the dump that they ran beside, so what they tell is always newer. The kernel tells of the end of an expectation whatever
ends it, but not where events were lost, nor of those whose master began while nobody listened; overdue() says when only a dump can tell.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.counters cimport Counters
from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_record cimport *
from pyconntrack.core.expectation_wire cimport decode_expectation_body, encode_expectation_body, expectation_key
from pyconntrack.core.queue cimport MessageQueue
from pyconntrack.core.record cimport BIT_ORIGINAL, EVENT_DESTROY, clear_flow, flow_t, put
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport BODY_MAX, TYPE_EXPECT_DESTROY, TYPE_EXPECT_NEW, TYPE_EXPECT_UPDATE, WIRE_OK

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *one, const char *other, size_t limit)

cdef enum:
    NEVER = 0xffffffff
    GRACE = 2                  # seconds that a timeout may be off: it is told in whole ones
    LATE = 30                  # seconds after its end until another node's expectation, whose end was not told, is dropped
    UNLIMITED = 0x7fffffff


cdef bint same_master(const slot_t *slot, const uint8_t *body, uint32_t length) noexcept nogil:
    """Whether an entry has the master that a body with the same key names."""
    cdef uint32_t own, other
    expectation_key(slot.body, slot.length, &own)
    expectation_key(body, length, &other)
    return own == other and memcmp(slot.body, body, own) == 0


cdef bint equals(const slot_t *slot, const uint8_t *body, uint32_t length) noexcept nogil:
    return slot.length == length and memcmp(slot.body, body, length) == 0


cdef class InternalExpectations:
    """This node's expectations, at most `limit` of them (0: any number), in the table and queue of its internal cache.

    `helpers` are the names of those whose expectations are replicated, in upper or lower case; none means all.
    """

    def __cinit__(self, FlowTable table not None, MessageQueue queue not None, *, uint32_t limit=0, helpers=()):
        self.table = table
        self.queue = queue
        self.counters = Counters()
        self.masters = FlowBatch()
        self.limit = limit if limit else UNLIMITED
        self.earliest = NEVER
        self.epoch = 1
        if len(helpers) > HELPERS_MAX:
            raise ValueError(f"{len(helpers)} helpers are named, {HELPERS_MAX} at the most")
        for name in helpers:
            encoded = name.encode()
            # A longer name is no helper's.
            if len(encoded) < EXPECTATION_HELPER_SIZE:
                memcpy(self.helpers[self.helper_count], <const char *>encoded, len(encoded) + 1)
            self.helper_count += 1

    def __len__(self):
        return self.live

    cdef bint accepts(self, const expectation_t *e) noexcept nogil:
        """Whether it is replicated: the configuration may name helpers."""
        cdef uint32_t i
        if self.helper_count == 0:
            return True
        for i in range(self.helper_count):
            if e.helper[0] and strncasecmp(self.helpers[i], e.helper, EXPECTATION_HELPER_SIZE) == 0:
                return True
        return False

    cdef void note_end(self, const expectation_t *e, uint32_t now) noexcept nogil:
        if expectation_has(e, EXPECTATION_TIMEOUT) and e.timeout < NEVER - now:
            self.earliest = min(self.earliest, now + e.timeout)

    cdef void store(self, const expectation_t *e, bint dump, uint32_t now) noexcept nogil:
        """A new expectation, or one of a dump."""
        cdef uint8_t[BODY_MAX] body
        cdef uint32_t length = encode_expectation_body(e, body)
        cdef uint32_t start
        cdef uint32_t size = expectation_key(body, length, &start)
        cdef uint32_t hash = self.table.hash_bytes(body + start, size)
        cdef uint32_t number = self.table.find_expectation(body + start, size, hash)
        cdef slot_t *slot
        if self.lent is not None and self.lent.lends(body, length):
            return
        if number != NONE and not self.table.at(number).flags & SLOT_DEAD and same_master(self.table.at(number), body, length):
            self.refresh(number, e, body, length, now)
            return
        if self.live >= self.limit and (number == NONE or self.table.at(number).flags & SLOT_DEAD):
            self.counters.create_failed += 1
            return
        if number == NONE:
            number = self.table.add_expectation(hash, body, length)
            if number == NONE:
                self.counters.create_failed += 1
                return
        elif not self.replace(number, body, length):
            return
        slot = self.table.at(number)
        if dump:
            # Before this daemon began, another one may have told the peers of it.
            slot.flags |= SLOT_TOLD
        slot.created = slot.updated = now
        slot.epoch = self.epoch
        self.live += 1
        self.counters.created += 1
        self.note_end(e, now)
        self.queue.push(number, TYPE_EXPECT_NEW)

    cdef bint replace(self, uint32_t number, const uint8_t *body, uint32_t length) noexcept nogil:
        """Let another expectation stand in the place of one that has ended. False where memory is short."""
        cdef slot_t *slot = self.table.at(number)
        if not slot.flags & SLOT_DEAD:
            self.live -= 1
            self.counters.destroyed += 1
        if self.table.set_body(slot, body, length) < 0:
            self.counters.create_failed += 1
            slot.flags |= SLOT_DEAD
            self.queue.push(number, TYPE_EXPECT_DESTROY)
            return False
        slot.flags = SLOT_EXPECTATION | (slot.flags & SLOT_TOLD)
        if slot.queue == QUEUE_SENDING:
            self.queue.unlink(number)
        return True

    cdef void refresh(self, uint32_t number, const expectation_t *e, const uint8_t *body, uint32_t length,
                      uint32_t now) noexcept nogil:
        """What is told again of a living expectation. That its timeout has run on is no change."""
        cdef expectation_t known
        cdef expectation_t told = e[0]
        cdef uint8_t[BODY_MAX] run_on
        cdef slot_t *slot = self.table.at(number)
        slot.epoch = self.epoch
        decode_expectation_body(slot.body, slot.length, &known)
        if (expectation_has(&known, EXPECTATION_TIMEOUT) and expectation_has(e, EXPECTATION_TIMEOUT)
                and e.timeout + (now - slot.updated) <= known.timeout + GRACE):
            told.timeout = known.timeout
            if equals(slot, run_on, encode_expectation_body(&told, run_on)):
                return
        if self.table.set_body(slot, body, length) < 0:
            self.counters.update_failed += 1
            return
        slot.updated = now
        self.counters.updated += 1
        self.note_end(e, now)
        self.queue.push(number, TYPE_EXPECT_UPDATE)

    cdef void end(self, const expectation_t *e) noexcept nogil:
        """An expectation has ended, was fulfilled or deleted. Of one that another has replaced, nothing is left."""
        cdef uint8_t[BODY_MAX] body
        cdef uint32_t length = encode_expectation_body(e, body)
        cdef uint32_t start
        cdef uint32_t size = expectation_key(body, length, &start)
        cdef uint32_t number = self.table.find_expectation(body + start, size, self.table.hash_bytes(body + start, size))
        if number == NONE or self.table.at(number).flags & SLOT_DEAD:
            return
        if same_master(self.table.at(number), body, length):
            self.kill(number)

    cdef void kill(self, uint32_t number) noexcept nogil:
        """It stays, dead, until the peers know. What was never told needs no end."""
        cdef slot_t *slot = self.table.at(number)
        self.live -= 1
        self.counters.destroyed += 1
        if not slot.flags & SLOT_TOLD:
            self.queue.withdraw(number)
            return
        slot.flags |= SLOT_DEAD
        self.queue.push(number, TYPE_EXPECT_DESTROY)

    def follow(self, ExpectationBatch batch not None, uint32_t now):
        """Follow events. `now` is in seconds of any clock that does not go back."""
        self.take(batch, False, now)

    def merge(self, ExpectationBatch batch not None, uint32_t now):
        """Take expectations of the dump that began with begin_dump."""
        self.take(batch, True, now)

    cdef note_master(self, const expectation_t *e):
        """A helper that translates an expectation changes what its master says, and the length of it; no event tells of that."""
        cdef flow_t *flow
        if expectation_has(e, EXPECTATION_NAT):
            flow = self.masters.append()
            clear_flow(flow)
            flow.original = e.master
            put(flow, BIT_ORIGINAL)

    cdef take(self, ExpectationBatch batch, bint dump, uint32_t now):
        cdef Py_ssize_t i
        cdef const expectation_t *e
        for i in range(batch.length):
            e = &batch.expectations[i]
            if not (expectation_has(e, EXPECTATION_EXPECTED) and expectation_has(e, EXPECTATION_MASK)
                    and expectation_has(e, EXPECTATION_MASTER)):
                self.malformed += 1
            elif not self.accepts(e):
                self.filtered += 1
            elif e.event == EVENT_DESTROY:
                self.end(e)
            else:
                self.store(e, dump, now)
                if not dump:
                    self.note_master(e)

    def begin_dump(self):
        """Before the kernel is asked for all expectations. No event is to be followed until end_dump."""
        self.epoch = 1 if self.epoch == 0xffff else self.epoch + 1
        self.dumping = True

    def end_dump(self, bint complete=True):
        """Remove what the dump did not name; nothing where it broke off (`complete` false). Returns how many that were."""
        cdef uint32_t number
        cdef uint32_t removed = 0
        cdef slot_t *slot
        if complete and self.dumping:
            for number in range(self.table.top):
                slot = self.table.at(number)
                if slot.flags & SLOT_EXPECTATION and not slot.flags & SLOT_DEAD and slot.epoch != self.epoch:
                    self.kill(number)
                    removed += 1
        self.dumping = False
        return removed

    def overdue(self, uint32_t now):
        """Whether the end of one should have been told by now: only a dump says whether it lives."""
        cdef expectation_t e
        cdef uint32_t number
        cdef slot_t *slot
        if self.earliest == NEVER or now <= self.earliest + GRACE:
            return False
        self.earliest = NEVER
        with nogil:
            for number in range(self.table.top):
                slot = self.table.at(number)
                if (slot.flags & SLOT_EXPECTATION and not slot.flags & SLOT_DEAD
                        and decode_expectation_body(slot.body, slot.length, &e) == WIRE_OK):
                    self.note_end(&e, slot.updated)
        return self.earliest != NEVER and now > self.earliest + GRACE

    def flushed(self):
        """The internal cache was emptied, and with it the table, unless it is a Bypass, whose messages stay: forget all, and tell nobody.

        Returns how many living expectations that took.
        """
        cdef uint32_t removed = self.live
        cdef uint32_t number
        with nogil:
            for number in range(self.table.top if self.table.expectations else 0):
                if self.table.at(number).flags & SLOT_EXPECTATION:
                    self.queue.withdraw(number)
        self.counters.destroyed += removed
        self.live = 0
        self.earliest = NEVER
        self.dumping = False
        return removed


cdef class ExternalExpectations:
    """Other nodes' expectations, as their messages tell, at most `limit` of them (0: any number)."""

    def __cinit__(self, *, uint32_t limit=0):
        cdef int i
        self.table = FlowTable()
        self.counters = Counters()
        self.ended = ExpectationBatch()
        self.limit = limit if limit else UNLIMITED
        for i in range(EXPECTATION_OWNERS):
            self.epochs[i] = 1

    def __len__(self):
        return self.table.expectations

    def apply(self, uint8_t kind, const uint8_t[::1] body not None, uint8_t owner, uint32_t now):
        """Take one message of `owner`: its type, and what follows its header."""
        cdef uint8_t[1] nothing
        if owner >= EXPECTATION_OWNERS:
            raise ValueError(f"owner {owner}: there are {EXPECTATION_OWNERS}")
        self.take(kind, &body[0] if body.shape[0] else nothing, <uint32_t>body.shape[0], owner, now)

    cdef void take(self, uint8_t kind, const uint8_t *body, uint32_t length, uint8_t owner, uint32_t now) noexcept nogil:
        cdef expectation_t e
        cdef uint8_t[BODY_MAX] canonical
        if decode_expectation_body(body, length, &e) != WIRE_OK:
            self.malformed += 1
            return
        length = encode_expectation_body(&e, canonical)
        if kind == TYPE_EXPECT_DESTROY:
            self.forget(canonical, length, owner)
        else:
            self.store(kind, canonical, length, owner, now)

    cdef void store(self, uint8_t kind, const uint8_t *body, uint32_t length, uint8_t owner, uint32_t now) noexcept nogil:
        """A new or changed expectation; each message tells it whole."""
        cdef uint32_t start
        cdef uint32_t size = expectation_key(body, length, &start)
        cdef uint32_t hash = self.table.hash_bytes(body + start, size)
        cdef uint32_t number = self.table.find_expectation(body + start, size, hash)
        cdef slot_t *slot
        if number == NONE:
            number = self.table.add_expectation(hash, body, length) if self.table.expectations < self.limit else NONE
            if number == NONE:
                self.counters.create_failed += 1
                return
            slot = self.table.at(number)
            slot.created = now
            self.counters.created += 1
        else:
            slot = self.table.at(number)
            if kind == TYPE_EXPECT_NEW:
                slot.created = now
            if self.table.set_body(slot, body, length) < 0:
                self.counters.update_failed += 1
                return
            self.counters.updated += 1
        if self.injects and (kind == TYPE_EXPECT_NEW or slot.told != INJECTION_DONE):
            self.mark(slot, INJECTION_WAITS)
        slot.owner = owner
        slot.epoch = self.epochs[owner]
        slot.updated = now

    cdef void forget(self, const uint8_t *body, uint32_t length, uint8_t owner) noexcept nogil:
        """An expectation of `owner` has ended. Where another one has taken its place since, that one stays."""
        cdef uint32_t start
        cdef uint32_t size = expectation_key(body, length, &start)
        cdef uint32_t number = self.table.find_expectation(body + start, size, self.table.hash_bytes(body + start, size))
        if number == NONE:
            return
        if self.table.at(number).owner == owner and same_master(self.table.at(number), body, length):
            self.drop(number)

    cdef void mark(self, slot_t *slot, uint8_t state) noexcept nogil:
        if slot.told == INJECTION_WAITS:
            self.waiting -= 1
        if state == INJECTION_WAITS:
            self.waiting += 1
        slot.told = state

    cdef bint lends(self, const uint8_t *body, uint32_t length) noexcept nogil:
        """Whether what the kernel expects is another node's, which was put there."""
        cdef uint32_t start
        cdef uint32_t size = expectation_key(body, length, &start)
        cdef uint32_t number = self.table.find_expectation(body + start, size, self.table.hash_bytes(body + start, size))
        return (number != NONE and self.table.at(number).told != INJECTION_FAILED
                and same_master(self.table.at(number), body, length))

    cdef void drop(self, uint32_t number) noexcept nogil:
        cdef slot_t *slot = self.table.at(number)
        cdef expectation_t *ended
        if slot.told == INJECTION_DONE:
            ended = self.ended.append_nogil()
            if ended != NULL:
                decode_expectation_body(slot.body, slot.length, ended)
        self.mark(slot, 0)
        self.table.remove(number)
        self.counters.destroyed += 1

    def begin_resync(self, uint8_t owner):
        """The owner was asked for all it has: what it does not tell again by the time of settled() is left over."""
        owner %= EXPECTATION_OWNERS
        self.epochs[owner] = 1 if self.epochs[owner] == 0xffff else self.epochs[owner] + 1
        self.resyncing[owner] = True

    def settled(self, uint8_t owner):
        """The owner has told all it has since begin_resync, if there was one: drop its left-over expectations."""
        owner %= EXPECTATION_OWNERS
        if not self.resyncing[owner]:
            return
        self.resyncing[owner] = False
        with nogil:
            self.settle(owner)

    def merge_owners(self, uint8_t source, uint8_t target):
        """`source` turns out to be another name of the node `target`, whose expectations all become."""
        cdef uint32_t number
        cdef slot_t *slot
        source, target = source % EXPECTATION_OWNERS, target % EXPECTATION_OWNERS
        with nogil:
            for number in range(self.table.top):
                slot = self.table.at(number)
                if slot.flags & SLOT_EXPECTATION and slot.owner == source:
                    slot.owner = target
                    slot.epoch = self.epochs[target]

    cdef void settle(self, uint8_t owner) noexcept nogil:
        cdef uint32_t number
        cdef slot_t *slot
        for number in range(self.table.top):
            slot = self.table.at(number)
            if slot.flags & SLOT_EXPECTATION and slot.owner == owner and slot.epoch != self.epochs[owner]:
                self.drop(number)

    def expire(self, uint32_t now, uint32_t age=0):
        """Drop those whose timeout has run out a while ago and, with `age`, those that no message told of for more seconds.

        One that lives longer than told, as the SIP helper's do, is told again. Returns how many were dropped.
        """
        cdef expectation_t e
        cdef uint32_t number, silent
        cdef uint32_t removed = 0
        cdef slot_t *slot
        with nogil:
            for number in range(self.table.top):
                slot = self.table.at(number)
                if not slot.flags & SLOT_EXPECTATION or now <= slot.updated:
                    continue
                silent = now - slot.updated
                if (age and silent > age or silent > LATE and decode_expectation_body(slot.body, slot.length, &e) == WIRE_OK
                        and expectation_has(&e, EXPECTATION_TIMEOUT) and not e.flags & EXPECT_PERMANENT
                        and silent - LATE > e.timeout):
                    # From the kernel it went by itself.
                    self.mark(slot, 0)
                    self.drop(number)
                    removed += 1
        return removed

    def flush(self):
        """Forget all. Returns how many there were."""
        cdef uint32_t removed = self.table.expectations
        self.table.clear()
        self.waiting = 0
        self.counters.destroyed += removed
        return removed
