# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from pyconntrack.core.record cimport flow_t, tuple_t

cdef enum:
    HEADER_SIZE = 8
    BODY_MAX = 512             # no flow needs more, see encode_body
    PROTOCOL_VERSION = 1

# The low nibble of a message's first byte.
cdef enum:
    TYPE_FLOW_NEW = 0
    TYPE_FLOW_UPDATE = 1
    TYPE_FLOW_DESTROY = 2
    TYPE_EXPECT_NEW = 3
    TYPE_EXPECT_UPDATE = 4
    TYPE_EXPECT_DESTROY = 5
    TYPE_CONTROL = 10

cdef enum:
    FLAG_EXTENDED = 0x01       # on an ALIVE: more follows, between nodes of ours, see docs/protocol.md
    FLAG_RESYNC = 0x02
    FLAG_NACK = 0x04
    FLAG_ACK = 0x08
    FLAG_ALIVE = 0x10
    FLAG_HELLO = 0x20
    FLAG_HELLO_BACK = 0x40

# What encode_body leaves out.
cdef enum:
    WITHOUT_TIMEOUT = 1
    WITHOUT_WINDOW_SCALE = 2

# Why decode_body refuses.
cdef enum:
    WIRE_OK = 0
    WIRE_TRUNCATED = -1        # a length runs past the message
    WIRE_BAD_SIZE = -2         # an attribute of fixed size has another
    WIRE_UNKNOWN = -3          # an attribute number beyond the table
    WIRE_INCOMPLETE = -4       # no addresses or no protocol

cdef struct header_t:
    uint8_t version
    uint8_t type
    uint8_t flags
    uint16_t length
    uint32_t sequence

# The identity of a flow: its original tuple and zone, as bytes that compare and hash.
cdef struct key_t:
    uint8_t address[32]        # source, then destination
    uint8_t ports[4]           # as on the wire; of ICMP: type, code, id
    uint8_t address_length     # 8 or 32
    uint8_t protocol
    uint16_t zone

cdef uint16_t load16(const uint8_t *data) noexcept nogil
cdef uint32_t load32(const uint8_t *data) noexcept nogil
cdef void store16(uint8_t *data, uint16_t value) noexcept nogil
cdef void store32(uint8_t *data, uint32_t value) noexcept nogil
cdef void load_header(const uint8_t *data, header_t *header) noexcept nogil
cdef void store_header(uint8_t *data, uint8_t kind, uint8_t flags, uint16_t length, uint32_t sequence) noexcept nogil

# Attributes. Writers return where the next one goes; a value's place comes from begin(), and what is behind it from end().
cdef uint8_t *begin(uint8_t *out, uint16_t number, uint16_t size) noexcept nogil
cdef uint8_t *end(uint8_t *value, uint16_t size) noexcept nogil
cdef uint8_t *write8(uint8_t *out, uint16_t number, uint8_t value) noexcept nogil
cdef uint8_t *write32(uint8_t *out, uint16_t number, uint32_t value) noexcept nogil
cdef uint8_t *write_addresses(uint8_t *out, uint16_t ipv4, uint16_t ipv6, const tuple_t *tuple_) noexcept nogil
cdef uint8_t *write_ports(uint8_t *out, uint16_t number, const tuple_t *tuple_) noexcept nogil
cdef void read_addresses(const uint8_t *value, uint8_t family, tuple_t *tuple_) noexcept nogil

cdef void derive_nat(flow_t *flow) noexcept nogil
cdef void normalise(flow_t *flow) noexcept nogil
cdef uint32_t encode_body(const flow_t *flow, int without, uint8_t *body) noexcept nogil
cdef int decode_body(const uint8_t *body, uint32_t length, flow_t *flow) noexcept nogil
cdef void flow_key(const flow_t *flow, key_t *key) noexcept nogil
cdef bint body_has_key(const uint8_t *body, uint32_t length, uint16_t zone, const key_t *key) noexcept nogil
