# SPDX-License-Identifier: GPL-2.0-or-later
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from pyconntrack.core.wire cimport key_t

cdef enum:
    NONE = 0xffffffff          # no slot
    SLOTS_PER_CHUNK = 4096
    SEGMENTS = 256             # of the index
    GROUP = 16                 # flows to look for at a time, see FlowTable.prefetch

# Which queue a slot waits in.
cdef enum:
    QUEUE_NONE = 0
    QUEUE_SENDING = 1
    QUEUE_RESEND = 2

# Slot flags.
cdef enum:
    SLOT_INDEXED = 1           # found by its key
    SLOT_DEAD = 2              # its flow has ended; kept until its destroy message is delivered
    SLOT_UNHEARD = 4           # known from a dump only: no event has told of it yet
    SLOT_TOLD = 16             # peers may know of an entry with this tuple
    SLOT_CLAIM = 64            # in the external cache, not an entry: an older claim to the flow of one, see external.pyx
    SLOT_CONTROL = 8           # not a flow: a control message that waits in a queue
    SLOT_EXPECTATION = 32      # not a flow, but found by a key of its own; never SLOT_INDEXED

cdef struct slot_t:            # 48 bytes, the body aside
    uint8_t *body              # canonical, see wire.pyx
    uint32_t hash
    uint32_t id                # the kernel's, in the internal cache
    uint32_t created           # seconds of the daemon's clock
    uint32_t updated
    uint32_t sequence          # under which it went out last
    uint32_t previous          # in its queue
    uint32_t next
    uint16_t length            # of the body
    uint16_t zone
    uint8_t kind               # TYPE_* of the message to send, or the flags of a control message
    uint8_t queue              # QUEUE_*
    uint8_t flags              # SLOT_*
    uint8_t owner              # whose flow it is, in the external cache
    uint16_t epoch             # of the last resync that saw it
    uint8_t told               # in the internal cache: TOLD_* of what events have told since then

cdef struct bucket_t:
    uint32_t hash
    uint32_t slot              # number + 1, so that zero is empty

cdef struct segment_t:
    bucket_t *buckets
    uint32_t mask              # buckets - 1
    uint32_t count             # of those in use

@cython.final
cdef class FlowTable:
    cdef readonly uint32_t limit
    cdef uint32_t count        # slots that the index knows
    cdef uint32_t used         # slots in use at all
    cdef uint32_t top          # slots ever used: numbers below it may be walked
    cdef segment_t segments[256]
    cdef slot_t **chunks
    cdef uint32_t chunk_count
    cdef uint32_t free_slot    # head of the free list, linked by `next`
    cdef uint8_t **blocks
    cdef uint32_t block_count
    cdef uint32_t block_left
    cdef uint8_t *block_place
    cdef uint8_t *free_bodies[65]
    cdef uint64_t seeds[2]
    cdef readonly uint32_t expectations    # slots that are

    cdef inline slot_t *at(self, uint32_t slot) noexcept nogil:
        return &self.chunks[slot // SLOTS_PER_CHUNK][slot % SLOTS_PER_CHUNK]

    cdef uint32_t hash_key(self, const key_t *key) noexcept nogil
    cdef uint32_t find(self, const key_t *key, uint32_t hash) noexcept nogil
    cdef void prefetch(self, const uint32_t *hashes, uint32_t count) noexcept nogil
    cdef uint32_t glance(self, uint32_t hash) noexcept nogil
    cdef uint32_t add(self, const key_t *key, uint32_t hash, const uint8_t *body, uint32_t length) noexcept nogil
    cdef uint32_t add_unindexed(self, const uint8_t *body, uint32_t length) noexcept nogil
    cdef int set_body(self, slot_t *slot, const uint8_t *body, uint32_t length) noexcept nogil
    cdef uint32_t hash_bytes(self, const uint8_t *data, uint32_t length) noexcept nogil
    cdef uint32_t find_expectation(self, const uint8_t *key, uint32_t length, uint32_t hash) noexcept nogil
    cdef uint32_t add_expectation(self, uint32_t hash, const uint8_t *body, uint32_t length) noexcept nogil
    cdef int index(self, uint32_t slot) noexcept nogil
    cdef void unindex(self, uint32_t slot) noexcept nogil
    cdef void remove(self, uint32_t slot) noexcept nogil

    cdef void release(self) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef uint8_t *take_body(self, uint32_t length) noexcept nogil
    cdef void give_body(self, uint8_t *body, uint32_t length) noexcept nogil
    cdef uint32_t take_slot(self) noexcept nogil
    cdef int grow(self, segment_t *segment) noexcept nogil
    cdef segment_t *segment_of(self, uint32_t hash) noexcept nogil

cdef uint64_t digest_body(const uint8_t *body, uint32_t length) noexcept nogil
