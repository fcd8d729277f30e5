# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The flow table: a million flows, each kept as the message that would be sent.

Three parts. An index by original tuple and zone: open addressing with linear probing, the hash beside the slot number, so that
a miss costs no visit to the slot; in segments by the hash's upper bits, each of which grows by itself, so that no growth takes long. Slots of fixed size with what a cache must remember of an entry. Bodies in blocks, in size classes
of eight bytes with a free list each, so that what one flow leaves the next one takes.

Slots have numbers that stay while the entry lives: queues link by number, walks go by number and survive any change in between.
The hash is keyed with a random seed, since whoever sends packets through the firewall chooses the keys.
"""

import os

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from pyconntrack.core.expectation_wire cimport expectation_key
from pyconntrack.core.wire cimport BODY_MAX, body_has_key, key_t

cdef extern from "<endian.h>" nogil:
    uint64_t le64toh(uint64_t value)

cdef extern from *:
    """
    typedef unsigned __int128 pyconntrack_wide_t;
    static inline unsigned long long pyconntrack_fold(unsigned long long a, unsigned long long b)
    {
        pyconntrack_wide_t product = (pyconntrack_wide_t)a * b;
        return (unsigned long long)product ^ (unsigned long long)(product >> 64);
    }
    """
    uint64_t fold "pyconntrack_fold"(uint64_t a, uint64_t b) noexcept nogil
    void fetch "__builtin_prefetch"(const void *place) noexcept nogil

cdef enum:
    BLOCK_SIZE = 1 << 20
    CLASS_SIZE = 8
    CACHE_LINE = 64
    BUCKETS_MIN = 16           # of a segment

cdef uint64_t PRIME_1 = 0xa0761d6478bd642fULL
cdef uint64_t PRIME_2 = 0xe7037ed1a0b428dbULL


cdef uint64_t digest_body(const uint8_t *body, uint32_t length) noexcept nogil:
    """A 64-bit digest of a body, the same on every node: little-endian words, multiplied and folded."""
    cdef uint64_t state = PRIME_1 ^ length
    cdef uint64_t word
    cdef uint32_t left = length
    while left >= 8:
        memcpy(&word, body, 8)
        state = fold(state ^ le64toh(word), PRIME_2)
        body += 8
        left -= 8
    if left:
        word = 0
        memcpy(&word, body, left)
        state = fold(state ^ le64toh(word), PRIME_2)
    return fold(state, PRIME_1)


cdef class FlowTable:
    """Flows by original tuple and zone, at most `limit` of them (0: as many as memory holds).

    `buckets` is a hint for the first size of the index. The Python side sees counts only; flows go through the caches.
    """

    def __cinit__(self, *, uint32_t limit=0, uint32_t buckets=0):
        cdef uint32_t size = BUCKETS_MIN
        cdef uint32_t i
        while size * SEGMENTS < buckets and size < 1 << 18:
            size *= 2
        self.limit = limit if limit else 0x7fffffff
        for i in range(2):
            self.seeds[i] = int.from_bytes(os.urandom(8), "little")
        self.free_slot = NONE
        for i in range(SEGMENTS):
            self.segments[i].buckets = <bucket_t *>calloc(size, sizeof(bucket_t))
            if self.segments[i].buckets == NULL:
                raise MemoryError
            self.segments[i].mask = size - 1

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(SEGMENTS):
            free(self.segments[i].buckets)
        self.release()

    cdef void release(self) noexcept nogil:
        """Give back slots and bodies."""
        cdef uint32_t i
        for i in range(self.chunk_count):
            free(self.chunks[i])
        free(self.chunks)
        for i in range(self.block_count):
            free(self.blocks[i])
        free(self.blocks)

    cdef void clear(self) noexcept nogil:
        """Forget every entry at once, and give back their memory. Slot numbers begin anew."""
        cdef uint32_t i
        self.release()
        self.chunks = NULL
        self.chunk_count = 0
        self.blocks = NULL
        self.block_count = 0
        self.block_left = 0
        self.free_slot = NONE
        self.count = self.used = self.top = self.expectations = 0
        memset(self.free_bodies, 0, sizeof(self.free_bodies))
        for i in range(SEGMENTS):
            self.segments[i].count = 0
            memset(self.segments[i].buckets, 0, (<size_t>self.segments[i].mask + 1) * sizeof(bucket_t))

    def __len__(self):
        return self.count

    @property
    def slots(self):
        """Slots that a walk by number has to look at: those in use, and those that were."""
        return self.top

    @property
    def memory(self):
        """Bytes held: index, slots and bodies."""
        cdef uint32_t i
        cdef size_t buckets = 0
        for i in range(SEGMENTS):
            buckets += <size_t>self.segments[i].mask + 1
        return (buckets * sizeof(bucket_t)
                + <size_t>self.chunk_count * SLOTS_PER_CHUNK * sizeof(slot_t)
                + <size_t>self.block_count * BLOCK_SIZE)

    cdef uint32_t hash_key(self, const key_t *key) noexcept nogil:
        """Each factor holds a secret: one that a sender of packets could make zero would wipe out the rest of the key."""
        cdef uint64_t[4] words
        cdef uint64_t rest
        cdef uint64_t state
        memcpy(words, key.address, 32)
        memcpy(&rest, key.ports, 8)      # ports, address length, protocol, zone
        state = fold(rest ^ self.seeds[0], words[0] ^ self.seeds[1])
        if key.address_length == 32:
            state = fold(words[1] ^ state, words[2] ^ self.seeds[1])
            state = fold(words[3] ^ state, self.seeds[0] ^ PRIME_1)
        state = fold(state ^ self.seeds[0], PRIME_2)
        return <uint32_t>(state ^ (state >> 32))

    cdef segment_t *segment_of(self, uint32_t hash) noexcept nogil:
        return &self.segments[hash >> 24]

    cdef uint32_t find(self, const key_t *key, uint32_t hash) noexcept nogil:
        """The slot of the flow that `key` names, or NONE."""
        cdef segment_t *segment = self.segment_of(hash)
        cdef uint32_t position = hash & segment.mask
        cdef bucket_t *bucket
        cdef slot_t *slot
        while True:
            bucket = &segment.buckets[position]
            if bucket.slot == 0:
                return NONE
            if bucket.hash == hash:
                slot = self.at(bucket.slot - 1)
                if slot.flags & SLOT_INDEXED and body_has_key(slot.body, slot.length, slot.zone, key):
                    return bucket.slot - 1
            position = (position + 1) & segment.mask

    cdef void prefetch(self, const uint32_t *hashes, uint32_t count) noexcept nogil:
        """Have the memory behind these hashes on its way, as soon they will be looked for.

        In a large table nothing takes as long as to wait for memory: index, slot and body, one after the other. For a group of flows
        the waits run side by side.
        """
        cdef segment_t *segment
        cdef uint32_t i, number
        for i in range(count):
            segment = self.segment_of(hashes[i])
            fetch(&segment.buckets[hashes[i] & segment.mask])
        for i in range(count):
            number = self.glance(hashes[i])
            if number != NONE:
                fetch(self.at(number))
        for i in range(count):
            number = self.glance(hashes[i])
            if number != NONE:
                fetch(self.at(number).body)
                fetch(self.at(number).body + CACHE_LINE)

    cdef uint32_t glance(self, uint32_t hash) noexcept nogil:
        """The first slot with this hash, most likely the one that find() finds."""
        cdef segment_t *segment = self.segment_of(hash)
        cdef uint32_t position = hash & segment.mask
        while segment.buckets[position].slot:
            if segment.buckets[position].hash == hash:
                return segment.buckets[position].slot - 1
            position = (position + 1) & segment.mask
        return NONE

    cdef uint32_t add(self, const key_t *key, uint32_t hash, const uint8_t *body, uint32_t length) noexcept nogil:
        """Add a flow that is not there. NONE where the table is at its limit or memory is short."""
        cdef uint32_t number
        cdef slot_t *slot
        if self.count >= self.limit:
            return NONE
        number = self.add_unindexed(body, length)
        if number == NONE:
            return NONE
        slot = self.at(number)
        slot.hash = hash
        slot.zone = key.zone
        if self.index(number) < 0:
            self.remove(number)
            return NONE
        slot.flags = SLOT_INDEXED
        self.count += 1
        return number

    cdef int index(self, uint32_t number) noexcept nogil:
        """Let an entry be found by its hash. Returns 0, or -1 where memory is short."""
        cdef uint32_t hash = self.at(number).hash
        cdef segment_t *segment = self.segment_of(hash)
        cdef uint32_t position
        if (segment.count + 1) * 5 > (segment.mask + 1) * 4 and self.grow(segment) < 0:
            return -1
        position = hash & segment.mask
        while segment.buckets[position].slot:
            position = (position + 1) & segment.mask
        segment.buckets[position].hash = hash
        segment.buckets[position].slot = number + 1
        segment.count += 1
        return 0

    cdef uint32_t hash_bytes(self, const uint8_t *data, uint32_t length) noexcept nogil:
        """The hash of an expectation's key. Each step depends on a secret, as in hash_key."""
        cdef uint64_t state = self.seeds[0] ^ length
        cdef uint64_t word
        while length >= 8:
            memcpy(&word, data, 8)
            state = fold(state ^ word, self.seeds[1])
            data += 8
            length -= 8
        if length:
            word = 0
            memcpy(&word, data, length)
            state = fold(state ^ word, self.seeds[1])
        state = fold(state ^ self.seeds[0], PRIME_2)
        return <uint32_t>(state ^ (state >> 32))

    cdef uint32_t find_expectation(self, const uint8_t *key, uint32_t length, uint32_t hash) noexcept nogil:
        """The slot of the expectation with this key, see expectation_wire.pyx, or NONE."""
        cdef segment_t *segment = self.segment_of(hash)
        cdef uint32_t position = hash & segment.mask
        cdef uint32_t start
        cdef slot_t *slot
        while segment.buckets[position].slot:
            if segment.buckets[position].hash == hash:
                slot = self.at(segment.buckets[position].slot - 1)
                if (slot.flags & SLOT_EXPECTATION and expectation_key(slot.body, slot.length, &start) == length
                        and memcmp(slot.body + start, key, length) == 0):
                    return segment.buckets[position].slot - 1
            position = (position + 1) & segment.mask
        return NONE

    cdef uint32_t add_expectation(self, uint32_t hash, const uint8_t *body, uint32_t length) noexcept nogil:
        """Add an expectation that is not there. NONE where memory is short; the limit is of flows only."""
        cdef uint32_t number = self.add_unindexed(body, length)
        if number == NONE:
            return NONE
        self.at(number).hash = hash
        if self.index(number) < 0:
            self.remove(number)
            return NONE
        self.at(number).flags = SLOT_EXPECTATION
        self.expectations += 1
        return number

    cdef uint32_t add_unindexed(self, const uint8_t *body, uint32_t length) noexcept nogil:
        """A slot that no key finds: a control message that waits in a queue. NONE where memory is short."""
        cdef uint32_t number = self.take_slot()
        cdef slot_t *slot
        if number == NONE:
            return NONE
        slot = self.at(number)
        memset(slot, 0, sizeof(slot_t))
        slot.body = self.take_body(length)
        if slot.body == NULL:
            slot.next = self.free_slot
            self.free_slot = number
            self.used -= 1
            return NONE
        memcpy(slot.body, body, length)
        slot.length = length
        slot.previous = NONE
        slot.next = NONE
        return number

    cdef int set_body(self, slot_t *slot, const uint8_t *body, uint32_t length) noexcept nogil:
        """Give an entry another body. Returns 0, or -1 where memory is short and the old body stays."""
        cdef uint8_t *place = slot.body
        if (length + CLASS_SIZE - 1) // CLASS_SIZE != (slot.length + CLASS_SIZE - 1) // CLASS_SIZE:
            place = self.take_body(length)
            if place == NULL:
                return -1
            self.give_body(slot.body, slot.length)
            slot.body = place
        memcpy(place, body, length)
        slot.length = length
        return 0

    cdef void unindex(self, uint32_t number) noexcept nogil:
        """Take an entry out of the index; later ones of its run move up, so that no gap hides them."""
        cdef segment_t *segment = self.segment_of(self.at(number).hash)
        cdef uint32_t mask = segment.mask
        cdef uint32_t hole = self.at(number).hash & mask
        cdef uint32_t position, home
        while segment.buckets[hole].slot != number + 1:
            hole = (hole + 1) & mask
        position = hole
        while True:
            position = (position + 1) & mask
            if segment.buckets[position].slot == 0:
                break
            home = segment.buckets[position].hash & mask
            if ((position - home) & mask) >= ((position - hole) & mask):
                segment.buckets[hole] = segment.buckets[position]
                hole = position
        segment.buckets[hole].slot = 0
        segment.count -= 1
        if self.at(number).flags & SLOT_EXPECTATION:
            self.expectations -= 1
        else:
            self.count -= 1
        self.at(number).flags &= ~(SLOT_INDEXED | SLOT_EXPECTATION)

    cdef void remove(self, uint32_t number) noexcept nogil:
        """Forget an entry. It must be out of all queues."""
        cdef slot_t *slot = self.at(number)
        if slot.flags & (SLOT_INDEXED | SLOT_EXPECTATION):
            self.unindex(number)
        self.give_body(slot.body, slot.length)
        memset(slot, 0, sizeof(slot_t))
        slot.next = self.free_slot
        self.free_slot = number
        self.used -= 1

    cdef uint8_t *take_body(self, uint32_t length) noexcept nogil:
        cdef uint32_t size_class = (length + CLASS_SIZE - 1) // CLASS_SIZE
        cdef uint32_t size = size_class * CLASS_SIZE
        cdef uint8_t *body = self.free_bodies[size_class]
        cdef uint8_t **blocks
        if body != NULL:
            memcpy(&self.free_bodies[size_class], body, sizeof(uint8_t *))
            return body
        if self.block_left < size:
            blocks = <uint8_t **>realloc(self.blocks, (self.block_count + 1) * sizeof(uint8_t *))
            if blocks == NULL:
                return NULL
            self.blocks = blocks
            self.block_place = <uint8_t *>malloc(BLOCK_SIZE)
            if self.block_place == NULL:
                self.block_left = 0
                return NULL
            blocks[self.block_count] = self.block_place
            self.block_count += 1
            self.block_left = BLOCK_SIZE
        body = self.block_place
        self.block_place += size
        self.block_left -= size
        return body

    cdef void give_body(self, uint8_t *body, uint32_t length) noexcept nogil:
        cdef uint32_t size_class = (length + CLASS_SIZE - 1) // CLASS_SIZE
        memcpy(body, &self.free_bodies[size_class], sizeof(uint8_t *))
        self.free_bodies[size_class] = body

    cdef uint32_t take_slot(self) noexcept nogil:
        cdef uint32_t number = self.free_slot
        cdef slot_t **chunks
        if number != NONE:
            self.free_slot = self.at(number).next
            self.used += 1
            return number
        if self.top == self.chunk_count * SLOTS_PER_CHUNK:
            chunks = <slot_t **>realloc(self.chunks, (self.chunk_count + 1) * sizeof(slot_t *))
            if chunks == NULL:
                return NONE
            self.chunks = chunks
            chunks[self.chunk_count] = <slot_t *>calloc(SLOTS_PER_CHUNK, sizeof(slot_t))
            if chunks[self.chunk_count] == NULL:
                return NONE
            self.chunk_count += 1
        number = self.top
        self.top += 1
        self.used += 1
        return number

    cdef int grow(self, segment_t *segment) noexcept nogil:
        """Double a segment of the index. Returns 0, or -1 for want of memory."""
        cdef uint32_t size = (segment.mask + 1) * 2
        cdef bucket_t *buckets = <bucket_t *>calloc(size, sizeof(bucket_t))
        cdef uint32_t i, position
        if buckets == NULL:
            return -1
        for i in range(segment.mask + 1):
            if segment.buckets[i].slot:
                position = segment.buckets[i].hash & (size - 1)
                while buckets[position].slot:
                    position = (position + 1) & (size - 1)
                buckets[position] = segment.buckets[i]
        free(segment.buckets)
        segment.buckets = buckets
        segment.mask = size - 1
        return 0
