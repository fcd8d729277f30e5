# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bodies that need no codec: those of TCP and UDP flows that are canonical as they came, which nearly all are.

What decode_body and encode_body would make of such a body is the body itself, so a cache may keep it as it is. This room knows just
enough of the format to be sure of that: the attributes' sizes, their order, zero padding, and what goes with which protocol and family.
A body with anything else in it (a master, a helper, labels, ICMP) is the codec's matter.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pyconntrack.core.wire cimport key_t

cdef extern from "<arpa/inet.h>" nogil:
    uint32_t ntohl(uint32_t value)

cdef enum:
    TCP = 6
    UDP = 17
    FIXED = 24                 # bytes of status, protocol and ports, which follow the addresses
    KINDS = 33                 # of attributes
    ZONE = 32

# A head, as one number: the length, its own four bytes included, and the attribute's number.
cdef enum:
    HEAD_IPV4 = 12 << 16 | 0
    HEAD_IPV6 = 36 << 16 | 1
    HEAD_STATUS = 8 << 16 | 5
    HEAD_PROTOCOL = 5 << 16 | 2
    HEAD_PORTS = 8 << 16 | 3

# Of what may follow, by number: its place in the canonical order, 0 for what is not known here, and the size of its value. TCP state and
# window scales, timeout, mark, NAT addresses (IPv4 or IPv6), NAT ports, sequence adjustment, SYN proxy, zone.
cdef uint8_t[KINDS] place_of = [
    0, 0, 0, 0, 1, 0, 4, 5, 0, 0, 0, 0, 6, 7, 8, 9, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 6, 7, 11, 12,
]
cdef uint8_t[KINDS] size_of = [
    0, 0, 0, 0, 1, 0, 4, 4, 0, 0, 0, 0, 4, 4, 2, 2, 24, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 16, 16, 12, 2,
]

# Sets of numbers.
cdef uint64_t FOR_TCP = <uint64_t>1 << 4 | <uint64_t>1 << 25 | <uint64_t>1 << 26
cdef uint64_t FOR_IPV4 = <uint64_t>1 << 12 | <uint64_t>1 << 13
cdef uint64_t FOR_IPV6 = <uint64_t>1 << 29 | <uint64_t>1 << 30


cdef inline uint32_t word_at(const uint8_t *place) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, place, 4)
    return ntohl(word)


cdef bint is_plain_body(const uint8_t *body, uint32_t length, key_t *key) noexcept nogil:
    cdef uint32_t size
    cdef const uint8_t *fixed
    cdef uint64_t refused
    if length < 4 + 8 + FIXED:
        return False
    if word_at(body) == HEAD_IPV4:
        size = 8
        refused = FOR_IPV6
    elif word_at(body) == HEAD_IPV6 and length >= 4 + 32 + FIXED:
        size = 32
        refused = FOR_IPV4
    else:
        return False
    fixed = body + 4 + size
    if word_at(fixed) != HEAD_STATUS or word_at(fixed + 8) != HEAD_PROTOCOL or word_at(fixed + 16) != HEAD_PORTS:
        return False
    if word_at(fixed + 12) == UDP << 24:
        refused |= FOR_TCP
    elif word_at(fixed + 12) != TCP << 24:
        return False
    memset(key, 0, sizeof(key_t))
    memcpy(key.address, body + 4, size)
    memcpy(key.ports, fixed + 20, 4)
    key.address_length = size
    key.protocol = fixed[12]
    return is_plain_rest(fixed + 24, length - size - 28, refused, key)


cdef bint is_plain_rest(const uint8_t *rest, uint32_t length, uint64_t refused, key_t *key) noexcept nogil:
    """The same of what follows the ports; takes the zone from it."""
    cdef uint32_t number, size, padded
    cdef uint8_t place = 0
    while length >= 8:
        number = word_at(rest) & 0xffff
        size = word_at(rest) >> 16
        if number >= KINDS or place_of[number] <= place or refused >> number & 1 or size != 4 + <uint32_t>size_of[number]:
            return False
        padded = (size + 3) & ~<uint32_t>3
        if padded > length:
            return False
        # A value of one or two bytes is the upper part of its only word.
        if size & 3 and word_at(rest + 4) << 8 * (size & 3):
            return False
        if number == ZONE:
            key.zone = <uint16_t>(word_at(rest + 4) >> 16)
            if key.zone == 0:
                return False
        place = place_of[number]
        rest += padded
        length -= padded
    return length == 0


def plain_key(const uint8_t[::1] body not None):
    """The key of a plain body, as (addresses, ports, protocol, zone), or None where the body is not plain."""
    cdef key_t key
    cdef uint32_t length = <uint32_t>body.shape[0]
    if length == 0 or not is_plain_body(&body[0], length, &key):
        return None
    return ((<char *>key.address)[:key.address_length], (<char *>key.ports)[:4], key.protocol, key.zone)
