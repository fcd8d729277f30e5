# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The external cache: the flows of the other nodes, as their messages tell, ready to be committed into this node's kernel.

Each message carries a flow whole, so it replaces what its sender said of that flow before: the sender's *claim*. Nearly always one
node claims a flow. After a fail-over two may, and the newest claim is the entry: the one that came, or changed, last. What a
node merely repeats is no news, and takes nothing back, and a timeout that has run on is no change. The claims beneath wait in slots that no key finds, in a chain from the
entry, the newest first; when the entry's owner says that the flow has ended, the next one is the entry again, unless its
owner is silent: then nobody is left to tell of its end.

Per owner the cache keeps a count and a digest, the sum of the digests of its claims' bodies, to compare with what the owner says of its
internal cache; and the same of those claims that have come since its last resync began. Where the fresh ones alone are what the
owner has, the others are left over from flows whose end was never heard of: settle() finds that out and sweep() drops them.

With `completes`, an update that leaves attributes out does not take them away, unless its sender is known to tell flows whole, which
whoever says a digest does: a node without an internal cache (DisableInternalCache) passes on its kernel's events, which tell what changed.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from pyconntrack.core.counters cimport Counters
from pyconntrack.core.overlay cimport lay_over, nat_fields
from pyconntrack.core.expectation_cache cimport ExternalExpectations
from pyconntrack.core.plain_body cimport is_plain_body
from pyconntrack.core.record cimport flow_t
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport *


cdef class ExternalCache:
    """Flows of other nodes, at most `limit` of them (0: any number). `buckets` is a hint for the index's first size."""

    def __cinit__(self, *, uint32_t limit=0, uint32_t buckets=0, ExternalExpectations expectations=None):
        cdef int i
        self.table = FlowTable(limit=limit, buckets=buckets)
        self.expectations = expectations
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
                self.read(data + offset + HEADER_SIZE, &header, owner, now)
                if self.read_ahead == GROUP:
                    self.take(owner, now)
                self.run_length += 1
                offset += header.length
            self.take(owner, now)
        return offset

    cdef void read(self, const uint8_t *body, const header_t *header, uint8_t owner, uint32_t now) noexcept nogil:
        """Add a message about a flow to those that are read ahead; take one about an expectation at once."""
        cdef told_t *told = &self.told[self.read_ahead]
        cdef uint32_t length = header.length - HEADER_SIZE
        cdef flow_t flow
        if header.type >= TYPE_EXPECT_NEW:
            if self.expectations is not None:
                self.expectations.take(header.type, body, length, owner, now)
            else:
                self.ignored += 1
            return
        if is_plain_body(body, length, &told.key):
            told.body = body
            told.length = length
        elif decode_body(body, length, &flow) == WIRE_OK:
            flow_key(&flow, &told.key)
            told.body = told.written
            told.length = encode_body(&flow, 0, told.written)
        else:
            self.malformed += 1
            return
        told.kind = header.type
        self.hashes[self.read_ahead] = self.table.hash_key(&told.key)
        self.read_ahead += 1

    cdef void take(self, uint8_t owner, uint32_t now) noexcept nogil:
        """Take what is read ahead."""
        cdef uint32_t i
        self.table.prefetch(self.hashes, self.read_ahead)
        for i in range(self.read_ahead):
            if self.told[i].kind == TYPE_FLOW_DESTROY:
                self.forget(&self.told[i], self.hashes[i], owner)
            else:
                self.store(&self.told[i], self.hashes[i], owner, now)
        self.read_ahead = 0

    cdef void account(self, slot_t *slot, bint enters) noexcept nogil:
        """Count a claim in, or out of, what its owner has."""
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

    cdef void store(self, told_t *told, uint32_t hash, uint8_t owner, uint32_t now) noexcept nogil:
        """A new or changed flow of `owner`."""
        cdef uint32_t number = self.table.find(&told.key, hash)
        cdef slot_t *slot
        if self.completes and number != NONE and told.kind == TYPE_FLOW_UPDATE and not self.owners[owner].tells_whole:
            self.add_known(told, number, owner)
        if number == NONE:
            number = self.table.add(&told.key, hash, told.body, told.length)
            if number == NONE:
                self.counters.create_failed += 1
                return
            slot = self.table.at(number)
            slot.created = now
            self.counters.created += 1
        else:
            slot = self.table.at(number)
            if slot.owner != owner:
                self.take_over(number, told.body, told.length, owner, now)
                return
            self.account(slot, False)
            if self.table.set_body(slot, told.body, told.length) < 0:
                self.account(slot, True)
                self.counters.update_failed += 1
                return
            self.counters.updated += 1
        slot.owner = owner
        slot.epoch = self.owners[owner].epoch
        slot.updated = now
        self.account(slot, True)

    cdef void take_over(self, uint32_t number, const uint8_t *body, uint32_t length, uint8_t owner, uint32_t now) noexcept nogil:
        """A message of `owner` about an entry that is another node's: its claim is the entry now, unless it says nothing new."""
        cdef uint32_t other = self.find_claim(number, owner)
        cdef slot_t *claim
        cdef bint news = True
        if other == NONE:
            other = self.table.add_unindexed(body, length) if self.claims < self.table.limit else NONE
            if other == NONE:
                self.counters.update_failed += 1
                return
            claim = self.table.at(other)
            claim.flags = SLOT_CLAIM
            claim.owner = owner
            claim.created = now
            self.claims += 1
            self.owners[owner].beneath += 1
        else:
            claim = self.table.at(other)
            news = tells_more(claim.body, claim.length, body, length)
            self.account(claim, False)
            if self.table.set_body(claim, body, length) < 0:
                self.account(claim, True)
                self.counters.update_failed += 1
                return
            if news:
                self.unlink_claim(other)
        claim.epoch = self.owners[owner].epoch
        claim.updated = now
        self.account(claim, True)
        if news:
            self.link_claim(number, other)
            self.exchange(self.table.at(number), claim)
        self.counters.updated += 1

    cdef uint32_t find_claim(self, uint32_t number, uint8_t owner) noexcept nogil:
        """The claim of `owner` beneath an entry, or NONE."""
        cdef uint32_t other = self.table.at(number).next
        while other != NONE and self.table.at(other).owner != owner:
            other = self.table.at(other).next
        return other

    cdef void link_claim(self, uint32_t number, uint32_t other) noexcept nogil:
        """Lay a claim directly beneath an entry."""
        cdef slot_t *entry = self.table.at(number)
        cdef slot_t *claim = self.table.at(other)
        claim.previous = number
        claim.next = entry.next
        if entry.next != NONE:
            self.table.at(entry.next).previous = other
        entry.next = other

    cdef void unlink_claim(self, uint32_t other) noexcept nogil:
        cdef slot_t *claim = self.table.at(other)
        self.table.at(claim.previous).next = claim.next
        if claim.next != NONE:
            self.table.at(claim.next).previous = claim.previous

    cdef void exchange(self, slot_t *entry, slot_t *claim) noexcept nogil:
        """The claim becomes the entry, and the entry a claim: the slots stay, what they hold changes places."""
        cdef slot_t held = entry[0]
        self.owners[entry.owner].beneath += 1
        self.owners[claim.owner].beneath -= 1
        entry.body, entry.length, entry.owner = claim.body, claim.length, claim.owner
        entry.epoch, entry.created, entry.updated = claim.epoch, claim.created, claim.updated
        claim.body, claim.length, claim.owner = held.body, held.length, held.owner
        claim.epoch, claim.created, claim.updated = held.epoch, held.created, held.updated

    cdef void drop_claim(self, uint32_t other) noexcept nogil:
        """Forget a claim beneath an entry."""
        self.account(self.table.at(other), False)
        self.owners[self.table.at(other).owner].beneath -= 1
        self.claims -= 1
        self.unlink_claim(other)
        self.table.remove(other)

    cdef void drop_entry(self, uint32_t number) noexcept nogil:
        """The flow has ended for the entry's owner: the next claim of a node that is heard is the entry, or there is none."""
        cdef uint32_t other = self.table.at(number).next
        cdef uint32_t next_other
        while other != NONE:
            next_other = self.table.at(other).next
            if self.owners[self.table.at(other).owner].silent:
                self.drop_claim(other)
            other = next_other
        other = self.table.at(number).next
        if other != NONE:
            self.exchange(self.table.at(number), self.table.at(other))
            self.drop_claim(other)
            return
        self.account(self.table.at(number), False)
        self.table.remove(number)
        self.counters.destroyed += 1

    cdef void add_known(self, told_t *told, uint32_t number, uint8_t owner) noexcept nogil:
        """Fill up what an update left out with what its sender said before, or else what the entry knows."""
        cdef uint32_t other = self.find_claim(number, owner) if self.table.at(number).owner != owner else NONE
        cdef const slot_t *slot = self.table.at(number if other == NONE else other)
        cdef flow_t known, flow
        decode_body(told.body, told.length, &flow)
        decode_body(slot.body, slot.length, &known)
        # Translations are told all together.
        lay_over(&known, &flow, flow.present | (nat_fields() if flow.present & nat_fields() else 0))
        told.length = encode_body(&known, 0, told.written)
        told.body = told.written

    cdef void forget(self, const told_t *told, uint32_t hash, uint8_t owner) noexcept nogil:
        """A flow of `owner` has ended. Where another node has taken the tuple over since, its entry stays."""
        cdef uint32_t number = self.table.find(&told.key, hash)
        cdef uint32_t other
        if number == NONE:
            # Such as after -f: nothing is wrong.
            return
        if self.table.at(number).owner == owner:
            self.drop_entry(number)
            return
        other = self.find_claim(number, owner)
        if other != NONE:
            self.drop_claim(other)

    @property
    def full(self):
        """Whether there is no room for another entry."""
        return self.table.count >= self.table.limit

    def count_of(self, uint8_t owner):
        """How many flows the owner claims, those included that another one has claimed since."""
        return self.owners[owner % OWNERS].count

    def digest_of(self, uint8_t owner):
        """The digest of all that the owner claims."""
        return self.owners[owner % OWNERS].digest

    def beneath_of(self, uint8_t owner):
        """How many of the owner's claims are no entries, since another node's are newer."""
        return self.owners[owner % OWNERS].beneath

    def set_silent(self, uint8_t owner, bint silent):
        """Whether nothing is heard of the owner any more: a claim of such a one does not outlive the entry that lies over it."""
        self.owners[owner % OWNERS].silent = silent

    def merge_owners(self, uint8_t source, uint8_t target):
        """`source` turns out to be another name of the node `target`, whose claims all become. Of two for one flow the newer stays."""
        cdef uint32_t number = 0
        source, target = source % OWNERS, target % OWNERS
        if source == target:
            return
        with nogil:
            while number < self.table.top and self.owners[source].count:
                if self.table.at(number).owner == source and self.table.at(number).flags & (SLOT_INDEXED | SLOT_CLAIM):
                    self.give_claim(number, target)
                number += 1
        if self.owners[source].sweeping:
            self.owners[source].sweeping = False
            self.sweeps -= 1
        if self.expectations is not None:
            self.expectations.merge_owners(source, target)

    cdef void give_claim(self, uint32_t number, uint8_t target) noexcept nogil:
        """The claim in this slot becomes the node `target`'s, in place of one that it has for the same flow."""
        cdef slot_t *slot = self.table.at(number)
        cdef uint32_t entry = number
        cdef uint32_t other
        while not self.table.at(entry).flags & SLOT_INDEXED:
            entry = self.table.at(entry).previous
        if self.table.at(entry).owner == target:
            self.drop_claim(number)
            return
        other = self.find_claim(entry, target)
        if other != NONE:
            self.drop_claim(other)
        self.account(slot, False)
        if entry != number:
            self.owners[slot.owner].beneath -= 1
            self.owners[target].beneath += 1
        slot.owner = target
        slot.epoch = self.owners[target].epoch
        self.account(slot, True)

    def begin_resync(self, uint8_t owner):
        """The owner was asked for all it has: from now on what comes from it is fresh."""
        cdef owner_t *state = &self.owners[owner % OWNERS]
        state.epoch = 1 if state.epoch == 0xffff else state.epoch + 1
        state.fresh_digest = 0
        state.fresh_count = 0
        if state.sweeping:
            state.sweeping = False
            self.sweeps -= 1
        if self.expectations is not None:
            self.expectations.begin_resync(owner)

    def tells_changes(self, uint8_t owner):
        """The owner says no digest of what it has: until it does, its updates may tell only what has changed."""
        self.owners[owner % OWNERS].tells_whole = False

    def settle(self, uint8_t owner, uint32_t count, uint64_t digest):
        """Compare with what the owner says of its internal cache. True where both are equal, or will be.

        They will be where the fresh entries alone are what the owner has: the others are left over, for sweep() to drop.
        """
        cdef owner_t *state = &self.owners[owner % OWNERS]
        state.tells_whole = True
        # Of a bulk, expectations are the last part.
        if self.expectations is not None and state.fresh_count == count and state.fresh_digest == digest:
            self.expectations.settled(owner)
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
            if slot.owner == owner and slot.epoch != state.epoch:
                if slot.flags & SLOT_INDEXED:
                    self.drop_entry(state.swept)
                elif slot.flags & SLOT_CLAIM:
                    self.drop_claim(state.swept)
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
                # Where a claim comes up from beneath, it may be as old.
                while slot.flags & (SLOT_INDEXED | SLOT_CLAIM) and now > slot.updated and now - slot.updated > age:
                    if slot.flags & SLOT_INDEXED:
                        self.drop_entry(cursor)
                    else:
                        self.drop_claim(cursor)
                    removed += 1
                cursor += 1
        return removed

    def flush(self):
        """Forget every entry. Returns how many there were."""
        cdef uint32_t removed = self.table.count
        cdef int i
        self.table.clear()
        for i in range(OWNERS):
            self.owners[i].digest = self.owners[i].fresh_digest = 0
            self.owners[i].count = self.owners[i].fresh_count = 0
            self.owners[i].beneath = 0
            self.owners[i].sweeping = False
        self.sweeps = 0
        self.claims = 0
        self.counters.destroyed += removed
        return removed


cdef bint tells_more(const uint8_t *known, uint32_t known_length, const uint8_t *body, uint32_t length) noexcept nogil:
    """Whether a body tells anything but another timeout than a known one."""
    cdef uint8_t[BODY_MAX] first
    cdef uint8_t[BODY_MAX] second
    cdef flow_t flow
    if known_length == length and memcmp(known, body, length) == 0:
        return False
    decode_body(known, known_length, &flow)
    known_length = encode_body(&flow, WITHOUT_TIMEOUT, first)
    decode_body(body, length, &flow)
    length = encode_body(&flow, WITHOUT_TIMEOUT, second)
    return known_length != length or memcmp(first, second, length) != 0
