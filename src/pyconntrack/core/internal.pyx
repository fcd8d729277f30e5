# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The internal cache: what this node's kernel tracks, as it follows from events and dumps, and what of it has to go to the peers.

An update event tells only what changed, so it is laid over the entry. A tuple names at most one entry: an event with another id says that
the old flow has gone, whether its destroy event was seen or not, and a destroy event with another id is about a flow that was
replaced before.

A resync reads the kernel's whole table while events go on. Events are newer than the dump that runs beside them, so from begin_resync on
what an event has told of an entry is not overwritten by the dump, only completed, and a flow whose end was seen is not brought back by it.
What neither the dump nor an event named is gone: end_resync removes it and tells the peers. Events that were queued before some
were lost are not newer: they must all be read before begin_resync. Until its queue is empty the kernel goes on dropping what comes,
and does not say so again (net/netlink/af_netlink.c, NETLINK_S_CONGESTED).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.filter cimport EventFilter
from pyconntrack.core.identity_set cimport IdentitySet, identity
from pyconntrack.core.kernel_codec cimport DECODE_NOT_A_FLOW, decode_flow
from pyconntrack.core.netlink_receiver cimport NetlinkReceiver
from pyconntrack.core.overlay cimport *
from pyconntrack.core.queue cimport MessageQueue
from pyconntrack.core.record cimport *
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport *


cdef class InternalCache:
    """Flows of this node, at most `limit` of them (0: any number), with the queues to the peers.

    `buckets` is a hint for the index's first size, `resend_limit` the length of the resend queue (0 for modes without one). Without
    `timeouts`, messages carry none (CommitTimeout is set); without `window_scale`, no TCP window scale (TCPWindowTracking is off).
    """

    def __cinit__(self, *, EventFilter filter=None, uint32_t limit=0, uint32_t buckets=0, uint32_t resend_limit=0,
                  bint timeouts=True, bint window_scale=False):
        # The table may hold more for a while: entries of flows that have ended, until the peers know.
        self.limit = limit if limit else 0x7fffffff
        self.table = FlowTable(buckets=buckets)
        self.queue = MessageQueue(self.table, resend_limit)
        self.counters = Counters()
        self.filter = filter
        self.without = (0 if timeouts else WITHOUT_TIMEOUT) | (0 if window_scale else WITHOUT_WINDOW_SCALE)
        self.ended = IdentitySet()
        self.epoch = 1

    def __len__(self):
        return self.live

    cdef uint32_t hash_flow(self, const flow_t *flow) noexcept nogil:
        cdef key_t key
        flow_key(flow, &key)
        return self.table.hash_key(&key)

    cdef void apply(self, flow_t *event, uint32_t hash, uint32_t now) noexcept nogil:
        """Follow one event."""
        cdef key_t key
        cdef uint32_t number
        cdef bint same
        flow_key(event, &key)
        number = self.table.find(&key, hash)
        if number != NONE and self.table.at(number).flags & SLOT_DEAD:
            same = False
        else:
            same = number != NONE and self.table.at(number).id == event.id
        if event.event == EVENT_DESTROY:
            if self.resyncing:
                self.ended.add(identity(hash, event.id))
            if same:
                self.count_traffic(event)
                self.kill(number)
            return
        if self.filter is not None and not self.filter.accepts(event):
            if not same and number != NONE and not self.table.at(number).flags & SLOT_DEAD:
                self.kill(number)
            self.filtered += 1
            return
        derive_nat(event)
        normalise(event)
        # A new flow can have the id of the one before it, whose end was not told: nothing of that one stays.
        if not same or event.event == EVENT_NEW:
            number = self.insert(number, event, hash, now)
        else:
            self.overlay(number, event, now)
        if number != NONE:
            self.touch(number, event)

    cdef void hear(self, slot_t *slot) noexcept nogil:
        """An event has told of the entry: the kernel will tell of its end, too."""
        if slot.flags & SLOT_UNHEARD:
            slot.flags &= ~SLOT_UNHEARD
            self.unheard -= 1

    cdef void touch(self, uint32_t number, const flow_t *event) noexcept nogil:
        """Remember what of an entry comes from events, newer than the dump that is under way."""
        cdef slot_t *slot = self.table.at(number)
        self.hear(slot)
        if slot.epoch != self.epoch:
            slot.epoch = self.epoch
            slot.told = 0
        slot.told |= told_by(event)

    cdef void merge(self, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil:
        """Take one flow of a dump that runs since begin_resync."""
        cdef key_t key
        cdef uint32_t number
        cdef slot_t *slot
        flow_key(flow, &key)
        number = self.table.find(&key, hash)
        if self.filter is not None and not self.filter.accepts(flow):
            # What came in while the filter accepted it stays until its flow ends.
            if number != NONE and self.table.at(number).id == flow.id:
                self.table.at(number).epoch = self.epoch
            self.filtered += 1
            return
        if self.ended.has(identity(hash, flow.id)):
            return
        derive_nat(flow)
        normalise(flow)
        slot = NULL if number == NONE or self.table.at(number).flags & SLOT_DEAD else self.table.at(number)
        if slot != NULL and slot.epoch == self.epoch:
            if slot.id == flow.id:
                self.complete(number, flow, now)
            return
        if slot != NULL and slot.id == flow.id:
            self.refresh(number, flow, now)
        else:
            number = self.insert(number, flow, hash, now)
            if number == NONE:
                return
            slot = self.table.at(number)
            # Before this daemon began, another one may have told the peers of it.
            slot.flags |= SLOT_TOLD
            if not self.listened:
                slot.flags |= SLOT_UNHEARD
                self.unheard += 1
        slot.epoch = self.epoch
        slot.told = 0

    cdef uint32_t insert(self, uint32_t number, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil:
        """A flow that was not there, or in whose place stands one that has ended. Returns its slot, or NONE."""
        cdef uint8_t[BODY_MAX] body
        cdef uint32_t length = encode_body(flow, self.without, body)
        cdef key_t key
        cdef slot_t *slot
        if self.live >= self.limit and (number == NONE or self.table.at(number).flags & SLOT_DEAD):
            self.counters.create_failed += 1
            return NONE
        if number == NONE:
            flow_key(flow, &key)
            number = self.table.add(&key, hash, body, length)
            if number == NONE:
                self.counters.create_failed += 1
                return NONE
            slot = self.table.at(number)
        else:
            slot = self.table.at(number)
            self.hear(slot)
            if not slot.flags & SLOT_DEAD:
                self.live -= 1
                self.digest -= digest_body(slot.body, slot.length)
                self.counters.destroyed += 1
            if self.table.set_body(slot, body, length) < 0:
                self.counters.create_failed += 1
                slot.flags |= SLOT_DEAD
                self.queue.push(number, TYPE_FLOW_DESTROY)
                return NONE
            slot.flags = SLOT_INDEXED | (slot.flags & SLOT_TOLD)
            if slot.queue == QUEUE_SENDING:
                self.queue.unlink(number)
        slot.id = flow.id
        slot.created = now
        slot.updated = now
        self.live += 1
        self.digest += digest_body(body, length)
        self.counters.created += 1
        self.queue.push(number, TYPE_FLOW_NEW)
        return number

    cdef void overlay(self, uint32_t number, const flow_t *event, uint32_t now) noexcept nogil:
        """Lay what an event tells over what the entry holds."""
        cdef flow_t flow
        cdef slot_t *slot = self.table.at(number)
        decode_body(slot.body, slot.length, &flow)
        lay_over(&flow, event, event.present | (nat_fields() if has(event, BIT_STATUS) and has(event, BIT_REPLY) else 0))
        self.change(number, &flow, now)

    cdef void complete(self, uint32_t number, flow_t *flow, uint32_t now) noexcept nogil:
        """Lay what events have told of an entry since the dump began over what the dump tells. The rest of the entry may be stale."""
        cdef flow_t known
        cdef slot_t *slot = self.table.at(number)
        decode_body(slot.body, slot.length, &known)
        lay_over(flow, &known, fields_of(slot.told) | every_events_fields() | (protocol_state_fields() if hides_state(flow) else 0))
        self.change(number, flow, now)

    cdef void refresh(self, uint32_t number, flow_t *flow, uint32_t now) noexcept nogil:
        """Take an entry's state from a dump. A timeout that has only run on is no change."""
        cdef flow_t known, dumped
        cdef slot_t *slot = self.table.at(number)
        cdef uint8_t[BODY_MAX] body
        cdef uint32_t length
        decode_body(slot.body, slot.length, &known)
        if hides_state(flow):
            lay_over(flow, &known, protocol_state_fields())
        # Events leave a mark of zero out, dumps do not.
        if flow.mark == 0 and not has(&known, BIT_MARK):
            drop(flow, BIT_MARK)
        dumped = flow[0]
        lay_over(flow, &known, timeout_field())
        length = encode_body(flow, self.without, body)
        if length == slot.length and memcmp(body, slot.body, length) == 0:
            return
        self.change(number, &dumped if has(&dumped, BIT_TIMEOUT) else flow, now)

    cdef void change(self, uint32_t number, const flow_t *flow, uint32_t now) noexcept nogil:
        """Give an entry its new state and queue it, where that differs from the old one."""
        cdef uint8_t[BODY_MAX] body
        cdef uint32_t length = encode_body(flow, self.without, body)
        cdef slot_t *slot = self.table.at(number)
        cdef uint64_t old
        slot.updated = now
        if length == slot.length and memcmp(body, slot.body, length) == 0:
            return
        old = digest_body(slot.body, slot.length)
        if self.table.set_body(slot, body, length) < 0:
            self.counters.update_failed += 1
            return
        self.digest += digest_body(body, length) - old
        self.counters.updated += 1
        self.queue.push(number, TYPE_FLOW_UPDATE)

    cdef void kill(self, uint32_t number) noexcept nogil:
        """The entry's flow has ended; the entry stays, dead, until the peers know. What was never told needs no end."""
        cdef slot_t *slot = self.table.at(number)
        self.hear(slot)
        self.live -= 1
        self.digest -= digest_body(slot.body, slot.length)
        self.counters.destroyed += 1
        if not slot.flags & SLOT_TOLD:
            self.queue.withdraw(number)
            return
        slot.flags |= SLOT_DEAD
        self.queue.push(number, TYPE_FLOW_DESTROY)

    cdef void count_traffic(self, const flow_t *ended) noexcept nogil:
        """Add what went over a flow, as its end tells with net.netfilter.nf_conntrack_acct."""
        self.traffic_bytes += ended.bytes_original + ended.bytes_reply
        self.traffic_packets += ended.packets_original + ended.packets_reply

    cdef uint32_t walk(self, const uint8_t *data, uint32_t size, bint dump, uint32_t now) noexcept nogil:
        """Read every netlink message of a datagram, and take what makes a group. Returns how many were flows."""
        cdef flow_t *flow
        cdef uint32_t length
        cdef uint32_t flows = 0
        cdef int result
        while size >= 16:
            memcpy(&length, data, 4)
            if length < 16 or length > size:
                self.malformed += 1
                return flows
            flow = &self.flows[self.read_ahead]
            result = decode_flow(data, length, flow)
            if result == 0 and not has(flow, BIT_ORIGINAL):
                self.malformed += 1
            elif result == 0:
                flows += 1
                self.hashes[self.read_ahead] = self.hash_flow(flow)
                self.read_ahead += 1
                if self.read_ahead == GROUP:
                    self.take(dump, now)
            elif result != DECODE_NOT_A_FLOW:
                self.malformed += 1
            length = (length + 3) & ~(<uint32_t>3)
            if length >= size:
                return flows
            data += length
            size -= length
        return flows

    cdef void take(self, bint dump, uint32_t now) noexcept nogil:
        """Take what is read ahead."""
        cdef uint32_t i
        self.table.prefetch(self.hashes, self.read_ahead)
        for i in range(self.read_ahead):
            if dump:
                self.merge(&self.flows[i], self.hashes[i], now)
            else:
                self.apply(&self.flows[i], self.hashes[i], now)
        self.read_ahead = 0

    def receive_events(self, NetlinkReceiver receiver not None, uint32_t limit, uint32_t now):
        """Follow the events that wait on a socket, about `limit` of them at most.

        Returns how many there were; fewer than `limit` means that none waits any more. Raises OSError; ENOBUFS says that the kernel
        dropped events, and a resync is needed.
        """
        cdef int got = 0
        cdef int i
        cdef uint32_t flows = 0
        with nogil:
            while flows < limit:
                got = receiver.receive()
                if got <= 0:
                    break
                for i in range(got):
                    flows += self.walk(receiver.data(i), receiver.size(i), False, now)
                self.take(False, now)
        if got < 0:
            raise OSError(-got, "cannot receive events of the connection tracking table")
        return flows

    def follow(self, const uint8_t[::1] messages not None, uint32_t now):
        """Follow events given as bytes: netlink messages one after another. Returns how many were flows."""
        cdef uint32_t flows
        if messages.shape[0] == 0:
            return 0
        flows = self.walk(&messages[0], <uint32_t>messages.shape[0], False, now)
        self.take(False, now)
        return flows

    def merge_dump(self, const uint8_t[::1] messages not None, uint32_t now):
        """Take a piece of the dump that began with begin_resync: netlink messages one after another. Returns how many were flows."""
        cdef uint32_t flows
        if messages.shape[0] == 0:
            return 0
        if not self.resyncing:
            raise ValueError("a dump is merged between begin_resync and end_resync")
        flows = self.walk(&messages[0], <uint32_t>messages.shape[0], True, now)
        self.take(True, now)
        return flows

    def merge_batch(self, FlowBatch batch not None, uint32_t now):
        """Take flows of the dump that began with begin_resync."""
        cdef Py_ssize_t i
        if not self.resyncing:
            raise ValueError("a dump is merged between begin_resync and end_resync")
        with nogil:
            for i in range(batch.length):
                self.merge(&batch.flows[i], self.hash_flow(&batch.flows[i]), now)

    def learn(self, FlowBatch flows not None, uint32_t now):
        """Take living flows that are known as the kernel answered for them: events do not tell of all that changes."""
        cdef Py_ssize_t i
        cdef flow_t *flow
        cdef key_t key
        cdef uint32_t number
        with nogil:
            for i in range(flows.length):
                flow = &flows.flows[i]
                flow_key(flow, &key)
                number = self.table.find(&key, self.table.hash_key(&key))
                if number == NONE or self.table.at(number).flags & SLOT_DEAD or self.table.at(number).id != flow.id:
                    continue
                derive_nat(flow)
                normalise(flow)
                self.refresh(number, flow, now)

    def begin_resync(self):
        """Before the kernel is asked for a dump, and with no event waiting: from now on events take precedence over it."""
        self.epoch = 1 if self.epoch == 0xffff else self.epoch + 1
        self.ended.clear()
        self.swept = 0
        self.left_over = 0
        self.resyncing = True

    def sweep(self, uint32_t limit):
        """The dump is done: remove what it did not name, looking at `limit` slots. True while there is more to look at."""
        cdef uint32_t last
        cdef slot_t *slot
        if not self.resyncing:
            return False
        last = min(self.table.top, self.swept + limit)
        with nogil:
            while self.swept < last:
                slot = self.table.at(self.swept)
                if slot.flags & SLOT_INDEXED and not slot.flags & SLOT_DEAD and slot.epoch != self.epoch:
                    self.kill(self.swept)
                    self.left_over += 1
                self.swept += 1
        return self.swept < self.table.top

    def end_resync(self, bint complete=True):
        """Remove what the dump did not name, as far as sweep() has not done so, and let go of the resync.

        Returns how many entries were removed. A dump that broke off (`complete` false) removes nothing.
        """
        if complete:
            self.sweep(0x7fffffff)
        self.resyncing = False
        self.ended.clear()
        return self.left_over

    def flush(self):
        """Forget every entry, and what waits to be sent of it; the peers are not told. Returns how many living entries that were.

        Raises MemoryError.
        """
        cdef uint32_t removed = self.live
        self.queue.forget_flows()
        self.counters.destroyed += removed
        self.live = 0
        self.unheard = 0
        self.digest = 0
        return removed
