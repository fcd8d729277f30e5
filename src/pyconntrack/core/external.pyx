# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The external cache: the flows of the other nodes, as their messages tell, ready to be committed into this node's kernel.

Each message carries a flow whole, so it replaces the entry. Each entry has an owner, the node whose message came last. Per owner the
cache keeps a count and a digest, the sum of the digests of its entries' bodies, to compare with what the owner says of its internal
cache; and the same of those entries that have come since its last resync began. Where the fresh ones alone are what the owner
has, the others are left over from flows whose end was never heard of: settle() finds that out and sweep() drops them.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from pyconntrack.core.counters cimport Counters
from pyconntrack.core.record cimport flow_t
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport *


cdef class ExternalCache:
    """Flows of other nodes, at most `limit` of them (0: any number). `buckets` is a hint for the index's first size."""

    def __cinit__(self, *, uint32_t limit=0, uint32_t buckets=0):
        cdef int i
        self.table = FlowTable(limit=limit, buckets=buckets)
        self.counters = Counters()
        for i in range(OWNERS):
            self.owners[i].epoch = 1

    def __len__(self):
        return self.table.count

    def apply_run(self, const uint8_t[::1] datagram not None, uint32_t offset, uint32_t expected, bint in_order,
                  uint8_t owner, uint32_t now, uint8_t flags=0):
        """Take the run of data messages that begins at `offset`, and return the offset behind it.

        The run ends before a control message, a malformed header, other flags than `flags`, the datagram's end and, with `in_order`, a
        number other than the next: `expected`, and so on. `run_length` then says how many messages it had. A malformed payload is
        counted and passed over.
        """
        cdef uint32_t size = <uint32_t>datagram.shape[0]
        cdef const uint8_t *data
        cdef header_t header
        self.run_length = 0
        if owner >= OWNERS:
            raise ValueError(f"owner {owner}: there are {OWNERS}")
        if offset >= size:
            return offset
        data = &datagram[0]
        with nogil:
            while size - offset >= HEADER_SIZE:
                load_header(data + offset, &header)
                if (header.version != PROTOCOL_VERSION or header.type > TYPE_EXPECT_DESTROY
                        or header.flags != flags
                        or header.length < HEADER_SIZE or header.length > size - offset):
                    break
                if in_order and header.sequence != expected + self.run_length:
                    break
                self.read(data + offset + HEADER_SIZE, &header)
                if self.read_ahead == GROUP:
                    self.take(owner, now)
                self.run_length += 1
                offset += header.length
            self.take(owner, now)
        return offset

    cdef void read(self, const uint8_t *body, const header_t *header) noexcept nogil:
        """Add a message to those that are read ahead."""
        cdef flow_t *flow = &self.flows[self.read_ahead]
        cdef key_t key
        if header.type >= TYPE_EXPECT_NEW:
            self.ignored += 1
            return
        if decode_body(body, header.length - HEADER_SIZE, flow) != WIRE_OK:
            self.malformed += 1
            return
        flow_key(flow, &key)
        self.hashes[self.read_ahead] = self.table.hash_key(&key)
        self.kinds[self.read_ahead] = header.type
        self.read_ahead += 1

    cdef void take(self, uint8_t owner, uint32_t now) noexcept nogil:
        """Take what is read ahead."""
        cdef uint32_t i
        self.table.prefetch(self.hashes, self.read_ahead)
        for i in range(self.read_ahead):
            if self.kinds[i] == TYPE_FLOW_DESTROY:
                self.forget(&self.flows[i], self.hashes[i], owner)
            else:
                self.store(&self.flows[i], self.hashes[i], owner, now)
        self.read_ahead = 0

    cdef void account(self, slot_t *slot, bint enters) noexcept nogil:
        """Count an entry in, or out of, what its owner has."""
        cdef owner_t *owner = &self.owners[slot.owner]
        cdef uint64_t digest = digest_body(slot.body, slot.length)
        cdef bint fresh = slot.epoch == owner.epoch
        if enters:
            owner.digest += digest
            owner.count += 1
            if fresh:
                owner.fresh_digest += digest
                owner.fresh_count += 1
        else:
            owner.digest -= digest
            owner.count -= 1
            if fresh:
                owner.fresh_digest -= digest
                owner.fresh_count -= 1

    cdef void store(self, const flow_t *flow, uint32_t hash, uint8_t owner, uint32_t now) noexcept nogil:
        """A new or changed flow of `owner`."""
        cdef uint8_t[BODY_MAX] body
        cdef uint32_t length = encode_body(flow, 0, body)
        cdef key_t key
        cdef uint32_t number
        cdef slot_t *slot
        flow_key(flow, &key)
        number = self.table.find(&key, hash)
        if number == NONE:
            number = self.table.add(&key, hash, body, length)
            if number == NONE:
                self.counters.create_failed += 1
                return
            slot = self.table.at(number)
            slot.created = now
            self.counters.created += 1
        else:
            slot = self.table.at(number)
            self.account(slot, False)
            if self.table.set_body(slot, body, length) < 0:
                self.account(slot, True)
                self.counters.update_failed += 1
                return
            self.counters.updated += 1
        slot.owner = owner
        slot.epoch = self.owners[owner].epoch
        slot.updated = now
        self.account(slot, True)

    cdef void forget(self, const flow_t *flow, uint32_t hash, uint8_t owner) noexcept nogil:
        """A flow of `owner` has ended. Where another node has taken the tuple over since, its entry stays."""
        cdef key_t key
        cdef uint32_t number
        flow_key(flow, &key)
        number = self.table.find(&key, hash)
        if number == NONE or self.table.at(number).owner != owner:
            self.counters.destroy_failed += 1
            return
        self.account(self.table.at(number), False)
        self.table.remove(number)
        self.counters.destroyed += 1

    def count_of(self, uint8_t owner):
        """How many entries are the owner's."""
        return self.owners[owner % OWNERS].count

    def begin_resync(self, uint8_t owner):
        """The owner was asked for all it has: from now on what comes from it is fresh."""
        cdef owner_t *state = &self.owners[owner % OWNERS]
        state.epoch = 1 if state.epoch == 0xffff else state.epoch + 1
        state.fresh_digest = 0
        state.fresh_count = 0
        if state.sweeping:
            state.sweeping = False
            self.sweeps -= 1

    def settle(self, uint8_t owner, uint32_t count, uint64_t digest):
        """Compare with what the owner says of its internal cache. True where both are equal, or will be.

        They will be where the fresh entries alone are what the owner has: the others are left over, for sweep() to drop.
        """
        cdef owner_t *state = &self.owners[owner % OWNERS]
        if state.count == count and state.digest == digest:
            return True
        if state.fresh_count != count or state.fresh_digest != digest:
            return False
        if not state.sweeping:
            state.sweeping = True
            state.swept = 0
            self.sweeps += 1
        return True

    def sweep(self, uint32_t limit):
        """Drop entries that settle() found to be left over, looking at `limit` slots for each owner. True while there are more."""
        cdef uint8_t owner
        for owner in range(OWNERS):
            if self.owners[owner].sweeping:
                with nogil:
                    self.sweep_owner(owner, limit)
        return self.sweeps > 0

    cdef void sweep_owner(self, uint8_t owner, uint32_t limit) noexcept nogil:
        cdef owner_t *state = &self.owners[owner]
        cdef uint32_t last = min(self.table.top, state.swept + limit)
        cdef slot_t *slot
        while state.swept < last:
            slot = self.table.at(state.swept)
            if slot.flags & SLOT_INDEXED and slot.owner == owner and slot.epoch != state.epoch:
                self.account(slot, False)
                self.table.remove(state.swept)
                self.counters.destroyed += 1
            state.swept += 1
        if state.swept >= self.table.top:
            state.sweeping = False
            self.sweeps -= 1

    def expire(self, uint32_t cursor, uint32_t limit, uint32_t now, uint32_t age):
        """Drop entries that no message told of for more than `age` seconds, looking at `limit` slots from `cursor` on. Returns how many."""
        cdef uint32_t removed = 0
        cdef uint32_t last
        cdef slot_t *slot
        with nogil:
            last = self.table.top if limit > self.table.top or cursor > self.table.top - limit else cursor + limit
            while cursor < last:
                slot = self.table.at(cursor)
                if slot.flags & SLOT_INDEXED and now > slot.updated and now - slot.updated > age:
                    self.account(slot, False)
                    self.table.remove(cursor)
                    removed += 1
                cursor += 1
            self.counters.destroyed += removed
        return removed

    def flush(self):
        """Forget every entry. Returns how many there were."""
        cdef uint32_t removed = self.table.count
        cdef int i
        self.table.clear()
        for i in range(OWNERS):
            self.owners[i].digest = self.owners[i].fresh_digest = 0
            self.owners[i].count = self.owners[i].fresh_count = 0
            self.owners[i].sweeping = False
        self.sweeps = 0
        self.counters.destroyed += removed
        return removed
