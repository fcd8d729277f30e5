# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""A set of 64-bit numbers, of up to a million flows: which of them ended while a dump of the kernel's table was under way, or are a peer's."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef enum:
    PLACES_MIN = 256


cdef class IdentitySet:
    def __cinit__(self):
        self.places = <uint64_t *>calloc(PLACES_MIN, sizeof(uint64_t))
        if self.places == NULL:
            raise MemoryError
        self.mask = PLACES_MIN - 1

    def __dealloc__(self):
        free(self.places)

    def __len__(self):
        return self.count

    cdef bint has(self, uint64_t identity) noexcept nogil:
        cdef uint32_t position
        identity = identity if identity else 1      # zero marks an empty place
        position = <uint32_t>(identity ^ (identity >> 32)) & self.mask
        while self.places[position]:
            if self.places[position] == identity:
                return True
            position = (position + 1) & self.mask
        return False

    cdef int add(self, uint64_t identity) noexcept nogil:
        """Returns 0, or -1 for want of memory."""
        cdef uint32_t position
        cdef uint64_t *old = self.places
        cdef uint32_t i, size
        identity = identity if identity else 1
        position = <uint32_t>(identity ^ (identity >> 32)) & self.mask
        while self.places[position]:
            if self.places[position] == identity:
                return 0
            position = (position + 1) & self.mask
        if self.count == self.mask:
            return -1                               # one place must stay empty, where searches end
        self.places[position] = identity
        self.count += 1
        if self.count * 4 <= self.mask * 3:
            return 0
        size = (self.mask + 1) * 2
        self.places = <uint64_t *>calloc(size, sizeof(uint64_t))
        if self.places == NULL:
            self.places = old
            return 0
        self.mask = size - 1
        self.count = 0
        for i in range(size // 2):
            if old[i]:
                self.add(old[i])
        free(old)
        return 0

    cdef bint discard(self, uint64_t identity) noexcept nogil:
        """Take a number out; later ones of its run move up, so that no gap hides them. Whether it was there."""
        cdef uint32_t hole, position, home
        identity = identity if identity else 1
        hole = <uint32_t>(identity ^ (identity >> 32)) & self.mask
        while self.places[hole] != identity:
            if self.places[hole] == 0:
                return False
            hole = (hole + 1) & self.mask
        position = hole
        while True:
            position = (position + 1) & self.mask
            if self.places[position] == 0:
                break
            home = <uint32_t>(self.places[position] ^ (self.places[position] >> 32)) & self.mask
            if ((position - home) & self.mask) >= ((position - hole) & self.mask):
                self.places[hole] = self.places[position]
                hole = position
        self.places[hole] = 0
        self.count -= 1
        return True

    cdef void clear(self) noexcept nogil:
        """Empty, and give back what a large resync took."""
        cdef uint64_t *small
        if self.mask >= PLACES_MIN:
            small = <uint64_t *>calloc(PLACES_MIN, sizeof(uint64_t))
            if small != NULL:
                free(self.places)
                self.places = small
                self.mask = PLACES_MIN - 1
        memset(self.places, 0, (<size_t>self.mask + 1) * sizeof(uint64_t))
        self.count = 0
