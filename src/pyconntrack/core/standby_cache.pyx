# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The internal cache of a node that keeps no external one: its kernel holds the peers' flows, too, and they are not to go back.

A flow belongs to the node that had news of it last. What a peer's message puts into this kernel, or changes there, is the peer's: lent
to this node, of which only its identity is remembered, eight bytes. It becomes this node's, and enters the cache, with the first
event that a packet caused, for then its traffic goes through this node. An event tells by the port id of a netlink socket who caused
it: 0 is the kernel itself, on behalf of a packet or of a timeout. And a flow of this node becomes the peer's where a
message comes of it and no packet has changed it lately: then it leaves the cache, without a word to the peers. Where news of both come
at about the same time, it stays, but the peer may end it.

Established flows may go on for hours without an event; so after a fail-over an operator's resync (`conntrackd -R`) makes
all flows this node's. Others pass over what is lent; and they find anew what of it is still there, so that lost events leave no trace.

Of what the first dump finds, nobody knows whose it is: a former process of this daemon may have put it there. Such a flow is kept, but
is not told to the peers unless they ask, until an event of a packet says that it is this node's or a message that it is a peer's.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.identity_set cimport IdentitySet, identity
from pyconntrack.core.internal cimport InternalCache
from pyconntrack.core.record cimport *
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport TYPE_FLOW_UPDATE, decode_body, derive_nat, flow_key, key_t, normalise

cdef enum:
    SLOT_FOUND = 128           # a flag of a slot beside those of table.pxd: the first dump found it, nobody knows whose it is
    SLOT_CONTESTED = 64        # a peer had news of it at about the same time as this node
    NEWS_SECONDS = 2           # for so long after an event a flow stays this node's whatever a peer says: messages may cross


cdef class StandbyCache(InternalCache):
    """An InternalCache beside which the flows of peers are put into the kernel, by an Injector: it sets `port`, its socket's port id."""

    def __cinit__(self, **_):
        self.lent = IdentitySet()
        self.named = IdentitySet()
        self.incomplete = FlowBatch()

    @property
    def lent_count(self):
        """How many flows of the kernel's are the peers'."""
        return self.lent.count

    cdef uint32_t find_living(self, const flow_t *flow, uint32_t hash) noexcept nogil:
        cdef key_t key
        cdef uint32_t number
        flow_key(flow, &key)
        number = self.table.find(&key, hash)
        return NONE if number == NONE or self.table.at(number).flags & SLOT_DEAD else number

    cdef int uses(self, const flow_t *flow, flow_t *known, uint32_t *updated) noexcept nogil:
        cdef uint32_t number = self.find_living(flow, self.hash_flow(flow))
        cdef slot_t *slot
        if number == NONE:
            return UNUSED
        slot = self.table.at(number)
        if slot.flags & SLOT_FOUND:
            return UNUSED
        decode_body(slot.body, slot.length, known)
        updated[0] = slot.updated
        return CONTESTED if slot.flags & SLOT_CONTESTED else USED

    cdef void lend(self, const flow_t *flow, uint32_t now) noexcept nogil:
        cdef uint32_t hash = self.hash_flow(flow)
        cdef uint64_t name = identity(hash, flow.id)
        cdef uint32_t number = self.find_living(flow, hash)
        cdef slot_t *slot
        if number != NONE and self.table.at(number).id == flow.id:
            slot = self.table.at(number)
            if not slot.flags & SLOT_FOUND and now - slot.updated < NEWS_SECONDS:
                slot.flags |= SLOT_CONTESTED
                return
            self.leave(number)
        self.lent.add(name)
        if self.resyncing:
            self.named.add(name)

    cdef void leave(self, uint32_t number) noexcept nogil:
        """The entry's flow is no longer this node's: no peer is to hear of it."""
        cdef slot_t *slot = self.table.at(number)
        slot.flags &= ~SLOT_TOLD
        InternalCache.kill(self, number)

    cdef void forget_lent(self, const flow_t *event, uint32_t hash) noexcept nogil:
        self.lent.discard(identity(hash, event.id))
        self.named.discard(identity(hash, event.id))

    cdef bint passes_over(self, const flow_t *event, uint32_t hash, uint32_t now) noexcept nogil:
        """Whether an event is no news of this node's own flows."""
        cdef uint32_t number
        if event.event == EVENT_DESTROY:
            if self.lent.has(identity(hash, event.id)):
                self.forget_lent(event, hash)
                if self.resyncing:
                    self.ended.add(identity(hash, event.id))
                return True
            if self.port and event.origin == self.port:
                number = self.find_living(event, hash)
                if number != NONE and self.table.at(number).id == event.id:
                    self.table.at(number).flags &= ~SLOT_TOLD
            return False
        if self.port and event.origin == self.port:
            self.lend(event, now)
            return True
        # Whoever changes a lent flow by hand does not make its traffic come here.
        return event.origin != 0 and self.lent.has(identity(hash, event.id))

    cdef void apply(self, flow_t *event, uint32_t hash, uint32_t now) noexcept nogil:
        cdef flow_t *place
        if self.passes_over(event, hash, now):
            return
        if event.event != EVENT_DESTROY and self.lent.has(identity(hash, event.id)):
            self.forget_lent(event, hash)
            # The event tells only what has changed.
            place = self.incomplete.append_garbage()
            if place != NULL:
                place[0] = event[0]
        InternalCache.apply(self, event, hash, now)

    cdef void touch(self, uint32_t number, const flow_t *event) noexcept nogil:
        InternalCache.touch(self, number, event)
        if event.origin == 0:
            self.table.at(number).flags &= ~(SLOT_FOUND | SLOT_CONTESTED)

    cdef void merge(self, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil:
        cdef uint64_t created = self.counters.created
        cdef uint32_t number
        cdef slot_t *slot
        if self.lent.has(identity(hash, flow.id)):
            self.named.add(identity(hash, flow.id))
            return
        InternalCache.merge(self, flow, hash, now)
        if self.settled and not self.takes_over:
            return
        number = self.find_living(flow, hash)
        if number == NONE:
            return
        slot = self.table.at(number)
        if self.takes_over:
            slot.flags &= ~SLOT_CONTESTED
            if slot.flags & SLOT_FOUND:
                slot.flags &= ~SLOT_FOUND
                self.queue.push(number, TYPE_FLOW_UPDATE)
            slot.updated = now
        elif self.counters.created != created:
            slot.flags = (slot.flags | SLOT_FOUND) & ~SLOT_TOLD
            self.queue.unlink(number)

    def take_over(self):
        """Make all flows of the kernel this node's, with the next resync that begins and is complete."""
        self.wants_all = True

    def begin_resync(self):
        """As InternalCache does."""
        self.takes_over = self.wants_all
        if self.takes_over:
            self.lent.clear()
        self.named.clear()
        InternalCache.begin_resync(self)

    def end_resync(self, bint complete=True):
        """As InternalCache does."""
        cdef object removed = InternalCache.end_resync(self, complete)
        if complete:
            self.lent, self.named = self.named, self.lent
            self.settled = True
            if self.takes_over:
                self.wants_all = False
        self.named.clear()
        return removed

    def learn(self, FlowBatch flows not None, uint32_t now):
        """Take what the kernel answered for `incomplete`, which is then empty."""
        self.incomplete.clear()
        InternalCache.learn(self, flows, now)

    def flush(self):
        """As InternalCache does. What is lent stays lent."""
        self.settled = False
        return InternalCache.flush(self)
