# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire codec of expectations: records to and from the attributes of messages of the types 3, 4 and 5.

As with flows, `encode_expectation_body` writes the one canonical form, in the order in which the C daemon writes the attributes, and
`decode_expectation_body` takes any order. Here every integer is big-endian. The wire has no zone: an expectation is of its master's. Nor
has it the address of IPv6 NAT; the kernel's helpers fill it in themselves, but for SIP and H.323.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_record cimport *
from pyconntrack.core.record cimport FAMILY_IPV4, FAMILY_IPV6, protocol_has_ports, tuple_t
from pyconntrack.core.wire cimport *

cdef enum:
    ATTR_MASTER_IPV4 = 0
    ATTR_MASTER_IPV6 = 1
    ATTR_MASTER_PROTOCOL = 2
    ATTR_MASTER_PORTS = 3
    ATTR_EXPECTED_IPV4 = 4
    ATTR_EXPECTED_IPV6 = 5
    ATTR_EXPECTED_PROTOCOL = 6
    ATTR_EXPECTED_PORTS = 7
    ATTR_MASK_IPV4 = 8
    ATTR_MASK_IPV6 = 9
    ATTR_MASK_PROTOCOL = 10
    ATTR_MASK_PORTS = 11
    ATTR_TIMEOUT = 12
    ATTR_FLAGS = 13
    ATTR_CLASS = 14
    ATTR_NAT_IPV4 = 15
    ATTR_NAT_PORTS = 16
    ATTR_NAT_PROTOCOL = 17
    ATTR_NAT_DIRECTION = 18
    ATTR_HELPER = 19
    ATTR_FUNCTION = 20
    ATTR_COUNT = 21

# The size of each attribute's value, by number; of the names, the largest one.
cdef uint8_t[ATTR_COUNT] value_size = [
    8, 32, 1, 4, 8, 32, 1, 4, 8, 32, 1, 4, 4, 4, 4, 8, 4, 1, 4, EXPECTATION_HELPER_SIZE, EXPECTATION_FUNCTION_SIZE,
]


cdef uint8_t *write_tuple(uint8_t *out, uint16_t first, const tuple_t *tuple_) noexcept nogil:
    """One of the first three tuples, whose attributes begin with the number `first`."""
    out = write_addresses(out, first, first + 1, tuple_)
    out = write8(out, first + 2, tuple_.protocol)
    if protocol_has_ports(tuple_.protocol):
        out = write_ports(out, first + 3, tuple_)
    return out


cdef uint8_t *write_nat(uint8_t *out, const expectation_t *e) noexcept nogil:
    if e.nat.family == FAMILY_IPV4:
        out = write_addresses(out, ATTR_NAT_IPV4, ATTR_NAT_IPV4, &e.nat)
    out = write8(out, ATTR_NAT_PROTOCOL, e.nat.protocol)
    if protocol_has_ports(e.nat.protocol):
        out = write_ports(out, ATTR_NAT_PORTS, &e.nat)
    return write32(out, ATTR_NAT_DIRECTION, e.nat_direction)


cdef uint8_t *write_name(uint8_t *out, uint16_t number, const char *name, uint16_t limit) noexcept nogil:
    cdef uint16_t size = 0
    cdef uint8_t *place
    while size < limit - 1 and name[size]:
        size += 1
    place = begin(out, number, size + 1)
    memcpy(place, name, size)
    place[size] = 0
    return end(place, size + 1)


cdef uint32_t encode_expectation_body(const expectation_t *e, uint8_t *body) noexcept nogil:
    """The sum of every attribute at its largest is 296 bytes."""
    cdef uint8_t *out = write_tuple(body, ATTR_MASTER_IPV4, &e.master)
    out = write_tuple(out, ATTR_EXPECTED_IPV4, &e.expected)
    out = write_tuple(out, ATTR_MASK_IPV4, &e.mask)
    if expectation_has(e, EXPECTATION_TIMEOUT):
        out = write32(out, ATTR_TIMEOUT, e.timeout)
    if expectation_has(e, EXPECTATION_FLAGS):
        out = write32(out, ATTR_FLAGS, e.flags)
    if expectation_has(e, EXPECTATION_CLASS):
        out = write32(out, ATTR_CLASS, e.class_)
    if expectation_has(e, EXPECTATION_NAT):
        out = write_nat(out, e)
    if expectation_has(e, EXPECTATION_HELPER) and e.helper[0]:
        out = write_name(out, ATTR_HELPER, e.helper, EXPECTATION_HELPER_SIZE)
    if expectation_has(e, EXPECTATION_FUNCTION) and e.function[0]:
        out = write_name(out, ATTR_FUNCTION, e.function, EXPECTATION_FUNCTION_SIZE)
    return <uint32_t>(out - body)


cdef void read_tuple(uint16_t part, const uint8_t *value, tuple_t *tuple_) noexcept nogil:
    """One attribute of one of the first three tuples; `part` counts from the tuple's first one."""
    if part == 0:
        read_addresses(value, FAMILY_IPV4, tuple_)
    elif part == 1:
        read_addresses(value, FAMILY_IPV6, tuple_)
    elif part == 2:
        tuple_.protocol = value[0]
    else:
        tuple_.source_port = load16(value)
        tuple_.destination_port = load16(value + 2)


cdef void read_word(uint16_t number, uint32_t value, expectation_t *e) noexcept nogil:
    if number == ATTR_TIMEOUT:
        e.timeout = value
        expectation_put(e, EXPECTATION_TIMEOUT)
    elif number == ATTR_FLAGS:
        e.flags = value
        expectation_put(e, EXPECTATION_FLAGS)
    else:
        e.class_ = value
        expectation_put(e, EXPECTATION_CLASS)


cdef void read_nat(uint16_t number, const uint8_t *value, expectation_t *e) noexcept nogil:
    if number == ATTR_NAT_IPV4:
        read_addresses(value, FAMILY_IPV4, &e.nat)
    elif number == ATTR_NAT_PORTS:
        e.nat.source_port = load16(value)
        e.nat.destination_port = load16(value + 2)
    elif number == ATTR_NAT_PROTOCOL:
        e.nat.protocol = value[0]
    else:
        e.nat_direction = load32(value)


cdef int read_name(uint16_t number, const uint8_t *value, uint32_t size, expectation_t *e) noexcept nogil:
    """A name, which must end with its zero. An empty one is none."""
    cdef char *name = &e.helper[0] if number == ATTR_HELPER else &e.function[0]
    if size == 0 or size > value_size[number] or value[size - 1] != 0:
        return WIRE_BAD_SIZE
    memset(name, 0, value_size[number])
    memcpy(name, value, size)
    if name[0]:
        expectation_put(e, EXPECTATION_HELPER if number == ATTR_HELPER else EXPECTATION_FUNCTION)
    return WIRE_OK


cdef int read_attribute(uint16_t number, const uint8_t *value, uint32_t size, expectation_t *e) noexcept nogil:
    if number == ATTR_HELPER or number == ATTR_FUNCTION:
        return read_name(number, value, size, e)
    if size != value_size[number]:
        return WIRE_BAD_SIZE
    if number < ATTR_EXPECTED_IPV4:
        read_tuple(number, value, &e.master)
    elif number < ATTR_MASK_IPV4:
        read_tuple(number - ATTR_EXPECTED_IPV4, value, &e.expected)
    elif number < ATTR_TIMEOUT:
        read_tuple(number - ATTR_MASK_IPV4, value, &e.mask)
    elif number <= ATTR_CLASS:
        read_word(number, load32(value), e)
    else:
        read_nat(number, value, e)
    return WIRE_OK


cdef int decode_expectation_body(const uint8_t *body, uint32_t length, expectation_t *e) noexcept nogil:
    cdef uint32_t offset = 0
    cdef uint32_t size
    cdef uint32_t seen = 0
    cdef uint16_t number
    cdef int result
    clear_expectation(e)
    while offset < length:
        if length - offset < 4:
            return WIRE_TRUNCATED
        size = load16(body + offset)
        number = load16(body + offset + 2)
        if size < 4 or size > length - offset:
            return WIRE_TRUNCATED
        if number >= ATTR_COUNT:
            return WIRE_UNKNOWN
        result = read_attribute(number, body + offset + 4, size - 4, e)
        if result != WIRE_OK:
            return result
        seen |= (<uint32_t>1) << number
        offset += (size + 3) & ~(<uint32_t>3)
    return finish(e, seen)


cdef bint names_tuple(uint32_t seen, uint16_t first) noexcept nogil:
    """Whether addresses of one family and a protocol were given for a tuple."""
    cdef uint32_t part = seen >> first
    return (part & 3 == 1 or part & 3 == 2) and part & 4


cdef void normalise_ports(tuple_t *tuple_) noexcept nogil:
    """Ports only where the protocol has some: of others the C daemon sends what was in its memory."""
    if not protocol_has_ports(tuple_.protocol):
        tuple_.source_port = 0
        tuple_.destination_port = 0


cdef int finish(expectation_t *e, uint32_t seen) noexcept nogil:
    """Check that the message names one expectation of one family, and complete the record."""
    if not (names_tuple(seen, ATTR_MASTER_IPV4) and names_tuple(seen, ATTR_EXPECTED_IPV4)
            and names_tuple(seen, ATTR_MASK_IPV4)):
        return WIRE_INCOMPLETE
    if e.master.family != e.expected.family or e.mask.family != e.expected.family:
        return WIRE_INCOMPLETE
    expectation_put(e, EXPECTATION_MASTER)
    expectation_put(e, EXPECTATION_EXPECTED)
    expectation_put(e, EXPECTATION_MASK)
    normalise_ports(&e.master)
    normalise_ports(&e.expected)
    normalise_ports(&e.mask)
    if seen >> ATTR_NAT_DIRECTION & 1 and seen >> ATTR_NAT_PROTOCOL & 1:
        if e.nat.family and e.expected.family != FAMILY_IPV4:
            return WIRE_INCOMPLETE
        e.nat.family = e.expected.family
        normalise_ports(&e.nat)
        expectation_put(e, EXPECTATION_NAT)
    else:
        memset(&e.nat, 0, sizeof(tuple_t))
        e.nat_direction = 0
    return WIRE_OK


cdef uint32_t expectation_key(const uint8_t *body, uint32_t length, uint32_t *start) noexcept nogil:
    cdef uint32_t offset = 0
    start[0] = 0
    while offset < length and load16(body + offset + 2) < ATTR_TIMEOUT:
        if load16(body + offset + 2) < ATTR_EXPECTED_IPV4:
            start[0] = offset + ((load16(body + offset) + 3) & ~3)
        offset += (load16(body + offset) + 3) & ~3
    return offset - start[0]


# As Python calls it.

def encode(ExpectationBatch batch not None, Py_ssize_t index):
    """The body of a message about the expectation at `index`.

    Raises IndexError, and ValueError where it has no tuple, mask or master.
    """
    cdef uint8_t[BODY_MAX] out
    cdef const expectation_t *e
    if index < 0 or index >= batch.length:
        raise IndexError("expectation index out of range")
    e = &batch.expectations[index]
    if not (expectation_has(e, EXPECTATION_EXPECTED) and expectation_has(e, EXPECTATION_MASK)
            and expectation_has(e, EXPECTATION_MASTER)):
        raise ValueError("an expectation to send needs what it expects, its mask and its master")
    return (<char *>out)[:encode_expectation_body(e, out)]


def decode(const uint8_t[::1] body not None, ExpectationBatch batch not None):
    """Append the expectation of a message's body to `batch`. 0, or the negative code that says why it is malformed.

    Raises MemoryError, BufferError.
    """
    cdef uint8_t[1] nothing
    cdef const uint8_t *data = &body[0] if body.shape[0] else nothing
    cdef expectation_t e
    cdef int result = decode_expectation_body(data, <uint32_t>body.shape[0], &e)
    if result == WIRE_OK:
        batch.append()[0] = e
    return result


def key(const uint8_t[::1] body not None):
    """What names an expectation in a body that encode() made."""
    cdef uint32_t start
    cdef uint32_t length
    if not body.shape[0]:
        return b""
    length = expectation_key(&body[0], <uint32_t>body.shape[0], &start)
    return bytes(body[start:start + length])
