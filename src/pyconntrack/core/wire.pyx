# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire codec: flow records to and from the attributes of a replication message, protocol version 1.

Integers are big-endian, but for the ports after NAT and the ICMP id, which the C daemon sends in its host's byte order.

A body is what follows the 8 bytes of a message's header. `encode_body` writes the one canonical form: the attributes in the
order in which the C daemon writes them. `decode_body` takes any order. A body that was decoded and encoded again is
canonical, so equal flows are equal bytes on every node: tables compare, hash and send bodies as they are.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from pyconntrack.core.record cimport *

cdef enum:
    ATTR_IPV4 = 0
    ATTR_IPV6 = 1
    ATTR_PROTOCOL = 2
    ATTR_PORTS = 3
    ATTR_TCP_STATE = 4
    ATTR_STATUS = 5
    ATTR_TIMEOUT = 6
    ATTR_MARK = 7
    ATTR_MASTER_IPV4 = 8
    ATTR_MASTER_IPV6 = 9
    ATTR_MASTER_PROTOCOL = 10
    ATTR_MASTER_PORTS = 11
    ATTR_SOURCE_NAT_IPV4 = 12
    ATTR_DESTINATION_NAT_IPV4 = 13
    ATTR_SOURCE_NAT_PORT = 14
    ATTR_DESTINATION_NAT_PORT = 15
    ATTR_SEQUENCE_ADJUST = 16
    ATTR_SCTP_STATE = 17
    ATTR_SCTP_VTAG_ORIGINAL = 18
    ATTR_SCTP_VTAG_REPLY = 19
    ATTR_DCCP_STATE = 20
    ATTR_DCCP_ROLE = 21
    ATTR_ICMP_TYPE = 22
    ATTR_ICMP_CODE = 23
    ATTR_ICMP_ID = 24
    ATTR_WINDOW_SCALE_ORIGINAL = 25
    ATTR_WINDOW_SCALE_REPLY = 26
    ATTR_HELPER = 27
    ATTR_LABELS = 28
    ATTR_SOURCE_NAT_IPV6 = 29
    ATTR_DESTINATION_NAT_IPV6 = 30
    ATTR_SYN_PROXY = 31
    ATTR_ZONE = 32
    ATTR_COUNT = 33

cdef enum:
    VARIABLE = 255

# A flow's NAT is wanted, or was set up: IPS_SRC_NAT, IPS_SRC_NAT_DONE, and the same of the destination.
cdef enum:
    SOURCE_NAT = 1 << 4 | 1 << 7
    DESTINATION_NAT = 1 << 5 | 1 << 8

# The size of each attribute's value, by number.
cdef uint8_t[ATTR_COUNT] value_size = [
    8, 32, 1, 4, 1, 4, 4, 4, 8, 32, 1, 4, 4, 4, 2, 2, 24,
    1, 4, 4, 1, 1, 1, 1, 2, 1, 1, VARIABLE, VARIABLE, 16, 16, 12, 2,
]


cdef uint16_t load16(const uint8_t *data) noexcept nogil:
    return (<uint16_t>data[0] << 8) | data[1]


cdef uint32_t load32(const uint8_t *data) noexcept nogil:
    return (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]


cdef void store16(uint8_t *data, uint16_t value) noexcept nogil:
    data[0] = value >> 8
    data[1] = value & 0xff


cdef void store32(uint8_t *data, uint32_t value) noexcept nogil:
    data[0] = value >> 24
    data[1] = (value >> 16) & 0xff
    data[2] = (value >> 8) & 0xff
    data[3] = value & 0xff


cdef uint16_t load16_native(const uint8_t *data) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, data, 2)
    return value


cdef void store16_native(uint8_t *data, uint16_t value) noexcept nogil:
    memcpy(data, &value, 2)


cdef void load_header(const uint8_t *data, header_t *header) noexcept nogil:
    header.version = data[0] >> 4
    header.type = data[0] & 0x0f
    header.flags = data[1]
    header.length = load16(data + 2)
    header.sequence = load32(data + 4)


cdef void store_header(uint8_t *data, uint8_t kind, uint8_t flags, uint16_t length, uint32_t sequence) noexcept nogil:
    data[0] = (PROTOCOL_VERSION << 4) | kind
    data[1] = flags
    store16(data + 2, length)
    store32(data + 4, sequence)


cdef void derive_nat(flow_t *flow) noexcept nogil:
    """Set the record's NAT fields from how its reply tuple differs from the plain inverse of the original.

    The kernel does not name a flow's NAT, it shows it: in the reply tuple, where the status says that NAT was set up.
    """
    cdef int size
    drop(flow, BIT_SOURCE_NAT_ADDRESS)
    drop(flow, BIT_SOURCE_NAT_PORT)
    drop(flow, BIT_DESTINATION_NAT_ADDRESS)
    drop(flow, BIT_DESTINATION_NAT_PORT)
    if not has(flow, BIT_REPLY):
        return
    size = address_size(flow.original.family)
    if protocol_is_icmp(flow.original.protocol):
        if flow.status & SOURCE_NAT and flow.reply.icmp_id != flow.original.icmp_id:
            flow.source_nat_port = flow.reply.icmp_id
            put(flow, BIT_SOURCE_NAT_PORT)
    else:
        if flow.status & SOURCE_NAT and flow.reply.destination_port != flow.original.source_port:
            flow.source_nat_port = flow.reply.destination_port
            put(flow, BIT_SOURCE_NAT_PORT)
        if flow.status & DESTINATION_NAT and flow.reply.source_port != flow.original.destination_port:
            flow.destination_nat_port = flow.reply.source_port
            put(flow, BIT_DESTINATION_NAT_PORT)
    if flow.status & SOURCE_NAT and memcmp(flow.reply.destination, flow.original.source, size) != 0:
        memcpy(flow.source_nat_address, flow.reply.destination, 16)
        put(flow, BIT_SOURCE_NAT_ADDRESS)
    if flow.status & DESTINATION_NAT and memcmp(flow.reply.source, flow.original.destination, size) != 0:
        memcpy(flow.destination_nat_address, flow.reply.source, 16)
        put(flow, BIT_DESTINATION_NAT_ADDRESS)


cdef uint8_t *begin(uint8_t *out, uint16_t number, uint16_t size) noexcept nogil:
    """Write an attribute's head, zero its padding, and return where its value goes."""
    store16(out, 4 + size)
    store16(out + 2, number)
    if size & 3:
        memset(out + 4 + (size & ~3), 0, 4)
    return out + 4


cdef uint8_t *end(uint8_t *value, uint16_t size) noexcept nogil:
    return value + ((size + 3) & ~3)


cdef uint8_t *write8(uint8_t *out, uint16_t number, uint8_t value) noexcept nogil:
    cdef uint8_t *place = begin(out, number, 1)
    place[0] = value
    return place + 4


cdef uint8_t *write16(uint8_t *out, uint16_t number, uint16_t value) noexcept nogil:
    cdef uint8_t *place = begin(out, number, 2)
    store16(place, value)
    return place + 4


cdef uint8_t *write16_native(uint8_t *out, uint16_t number, uint16_t value) noexcept nogil:
    cdef uint8_t *place = begin(out, number, 2)
    store16_native(place, value)
    return place + 4


cdef uint8_t *write32(uint8_t *out, uint16_t number, uint32_t value) noexcept nogil:
    cdef uint8_t *place = begin(out, number, 4)
    store32(place, value)
    return place + 4


cdef uint8_t *write_addresses(uint8_t *out, uint16_t ipv4, uint16_t ipv6, const tuple_t *tuple_) noexcept nogil:
    cdef uint16_t size = address_size(tuple_.family)
    cdef uint8_t *place = begin(out, ipv4 if tuple_.family == FAMILY_IPV4 else ipv6, 2 * size)
    memcpy(place, tuple_.source, size)
    memcpy(place + size, tuple_.destination, size)
    return place + 2 * size


cdef uint8_t *write_ports(uint8_t *out, uint16_t number, const tuple_t *tuple_) noexcept nogil:
    cdef uint8_t *place = begin(out, number, 4)
    store16(place, tuple_.source_port)
    store16(place + 2, tuple_.destination_port)
    return place + 4


cdef bint sends_ports(const tuple_t *tuple_) noexcept nogil:
    """TCP, UDP, DCCP and SCTP always; UDP-Lite and GRE, for which the C daemon sends none, where there are any."""
    if tuple_.protocol == 47 or tuple_.protocol == 136:
        return tuple_.source_port != 0 or tuple_.destination_port != 0
    return protocol_has_ports(tuple_.protocol)


cdef uint8_t *write_protocol(uint8_t *out, const flow_t *flow, int without) noexcept nogil:
    """The attributes that belong to the layer 4 protocol. The key's come first, at offsets that body_has_key knows."""
    if protocol_is_icmp(flow.original.protocol):
        out = write8(out, ATTR_ICMP_TYPE, flow.original.icmp_type)
        out = write8(out, ATTR_ICMP_CODE, flow.original.icmp_code)
        out = write16_native(out, ATTR_ICMP_ID, flow.original.icmp_id)
    elif sends_ports(&flow.original):
        out = write_ports(out, ATTR_PORTS, &flow.original)
    if has(flow, BIT_TCP_STATE):
        out = write8(out, ATTR_TCP_STATE, flow.tcp_state)
    if not without & WITHOUT_WINDOW_SCALE:
        if has(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL):
            out = write8(out, ATTR_WINDOW_SCALE_ORIGINAL, flow.tcp_window_scale_original)
        if has(flow, BIT_TCP_WINDOW_SCALE_REPLY):
            out = write8(out, ATTR_WINDOW_SCALE_REPLY, flow.tcp_window_scale_reply)
    if has(flow, BIT_SCTP_STATE):
        out = write8(out, ATTR_SCTP_STATE, flow.sctp_state)
    if has(flow, BIT_SCTP_VTAG_ORIGINAL):
        out = write32(out, ATTR_SCTP_VTAG_ORIGINAL, flow.sctp_vtag_original)
    if has(flow, BIT_SCTP_VTAG_REPLY):
        out = write32(out, ATTR_SCTP_VTAG_REPLY, flow.sctp_vtag_reply)
    if has(flow, BIT_DCCP_STATE):
        out = write8(out, ATTR_DCCP_STATE, flow.dccp_state)
    if has(flow, BIT_DCCP_ROLE):
        out = write8(out, ATTR_DCCP_ROLE, flow.dccp_role)
    return out


cdef uint8_t *write_nat(uint8_t *out, const flow_t *flow) noexcept nogil:
    cdef bint ipv4 = flow.original.family == FAMILY_IPV4
    cdef uint16_t size = address_size(flow.original.family)
    cdef uint8_t *place
    if has(flow, BIT_SOURCE_NAT_ADDRESS):
        place = begin(out, ATTR_SOURCE_NAT_IPV4 if ipv4 else ATTR_SOURCE_NAT_IPV6, size)
        memcpy(place, flow.source_nat_address, size)
        out = end(place, size)
    if has(flow, BIT_DESTINATION_NAT_ADDRESS):
        place = begin(out, ATTR_DESTINATION_NAT_IPV4 if ipv4 else ATTR_DESTINATION_NAT_IPV6, size)
        memcpy(place, flow.destination_nat_address, size)
        out = end(place, size)
    if has(flow, BIT_SOURCE_NAT_PORT):
        out = write16_native(out, ATTR_SOURCE_NAT_PORT, flow.source_nat_port)
    if has(flow, BIT_DESTINATION_NAT_PORT):
        out = write16_native(out, ATTR_DESTINATION_NAT_PORT, flow.destination_nat_port)
    return out


cdef void store_adjust(uint8_t *place, const sequence_adjust_t *adjust) noexcept nogil:
    store32(place, adjust.position)
    store32(place + 4, adjust.offset_before)
    store32(place + 8, adjust.offset_after)


cdef bint any_label(const flow_t *flow) noexcept nogil:
    cdef uint32_t i
    for i in range(LABELS_SIZE):
        if flow.labels[i]:
            return True
    return False


cdef uint8_t *write_extensions(uint8_t *out, const flow_t *flow) noexcept nogil:
    cdef uint8_t *place
    cdef uint16_t size
    cdef uint32_t i
    if has(flow, BIT_SEQUENCE_ADJUST_ORIGINAL) or has(flow, BIT_SEQUENCE_ADJUST_REPLY):
        place = begin(out, ATTR_SEQUENCE_ADJUST, 24)
        store_adjust(place, &flow.sequence_adjust_original)
        store_adjust(place + 12, &flow.sequence_adjust_reply)
        out = end(place, 24)
    if has(flow, BIT_HELPER_NAME) and flow.helper_name[0]:
        size = 0
        while size < HELPER_NAME_SIZE - 1 and flow.helper_name[size]:
            size += 1
        place = begin(out, ATTR_HELPER, size + 1)
        memcpy(place, flow.helper_name, size)
        place[size] = 0
        out = end(place, size + 1)
    if has(flow, BIT_LABELS) and any_label(flow):
        # Words travel big-endian, the kernel keeps them in its own order.
        place = begin(out, ATTR_LABELS, LABELS_SIZE)
        for i in range(4):
            store32(place + 4 * i, (<const uint32_t *>flow.labels)[i])
        out = end(place, LABELS_SIZE)
    if has(flow, BIT_SYN_PROXY):
        place = begin(out, ATTR_SYN_PROXY, 12)
        store32(place, flow.syn_proxy_its)
        store32(place + 4, flow.syn_proxy_isn)
        store32(place + 8, flow.syn_proxy_tsoff)
        out = end(place, 12)
    return out


cdef uint16_t flow_zone(const flow_t *flow) noexcept nogil:
    """The wire has one zone. Where the kernel gives each direction its own, the original one keeps the tuples apart."""
    if has(flow, BIT_ZONE):
        return flow.zone
    return flow.original.zone if has(flow, BIT_ORIGINAL_ZONE) else 0


cdef uint32_t encode_body(const flow_t *flow, int without, uint8_t *body) noexcept nogil:
    """Write the flow's canonical body, at most BODY_MAX bytes, and return its length.

    The record must be normal, see normalise(). The sum of every attribute at its largest is 412 bytes. NAT is taken from the
    NAT fields, not from the reply tuple.
    """
    cdef uint8_t *out = write_addresses(body, ATTR_IPV4, ATTR_IPV6, &flow.original)
    out = write32(out, ATTR_STATUS, flow.status)
    out = write8(out, ATTR_PROTOCOL, flow.original.protocol)
    out = write_protocol(out, flow, without)
    if has(flow, BIT_TIMEOUT) and not without & WITHOUT_TIMEOUT:
        out = write32(out, ATTR_TIMEOUT, flow.timeout)
    if has(flow, BIT_MARK):
        out = write32(out, ATTR_MARK, flow.mark)
    if has(flow, BIT_MASTER):
        out = write_addresses(out, ATTR_MASTER_IPV4, ATTR_MASTER_IPV6, &flow.master)
        out = write8(out, ATTR_MASTER_PROTOCOL, flow.master.protocol)
        if sends_ports(&flow.master):
            out = write_ports(out, ATTR_MASTER_PORTS, &flow.master)
    out = write_nat(out, flow)
    out = write_extensions(out, flow)
    if flow_zone(flow) != 0:
        out = write16(out, ATTR_ZONE, flow_zone(flow))
    return <uint32_t>(out - body)


cdef void read_addresses(const uint8_t *value, uint8_t family, tuple_t *tuple_) noexcept nogil:
    cdef int size = address_size(family)
    tuple_.family = family
    memcpy(tuple_.source, value, size)
    memcpy(tuple_.destination, value + size, size)


cdef void load_adjust(const uint8_t *value, sequence_adjust_t *adjust) noexcept nogil:
    adjust.position = load32(value)
    adjust.offset_before = load32(value + 4)
    adjust.offset_after = load32(value + 8)


cdef int read_variable(uint16_t number, const uint8_t *value, uint32_t size, flow_t *flow) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t used = 0
    if number == ATTR_HELPER:
        if size == 0 or size > HELPER_NAME_SIZE or value[size - 1] != 0:
            return WIRE_BAD_SIZE
        memcpy(flow.helper_name, value, size)
        if flow.helper_name[0]:
            put(flow, BIT_HELPER_NAME)
        return WIRE_OK
    if size == 0 or size > LABELS_SIZE or size & 3:
        return WIRE_BAD_SIZE
    for i in range(size // 4):
        (<uint32_t *>flow.labels)[i] = load32(value + 4 * i)
        used |= load32(value + 4 * i)
    flow.labels_length = LABELS_SIZE
    if used:
        put(flow, BIT_LABELS)
    return WIRE_OK


cdef void read_identity(uint16_t number, const uint8_t *value, flow_t *flow) noexcept nogil:
    """Attributes of the tuples: original and master."""
    if number == ATTR_IPV4 or number == ATTR_IPV6:
        read_addresses(value, FAMILY_IPV4 if number == ATTR_IPV4 else FAMILY_IPV6, &flow.original)
    elif number == ATTR_PROTOCOL:
        flow.original.protocol = value[0]
    elif number == ATTR_PORTS:
        flow.original.source_port = load16(value)
        flow.original.destination_port = load16(value + 2)
    elif number == ATTR_ICMP_TYPE:
        flow.original.icmp_type = value[0]
    elif number == ATTR_ICMP_CODE:
        flow.original.icmp_code = value[0]
    elif number == ATTR_ICMP_ID:
        flow.original.icmp_id = load16_native(value)
    elif number == ATTR_MASTER_IPV4 or number == ATTR_MASTER_IPV6:
        read_addresses(value, FAMILY_IPV4 if number == ATTR_MASTER_IPV4 else FAMILY_IPV6, &flow.master)
        put(flow, BIT_MASTER)
    elif number == ATTR_MASTER_PROTOCOL:
        flow.master.protocol = value[0]
    elif number == ATTR_MASTER_PORTS:
        flow.master.source_port = load16(value)
        flow.master.destination_port = load16(value + 2)


cdef bint read_state(uint16_t number, const uint8_t *value, flow_t *flow) noexcept nogil:
    """Attributes of the protocol trackers; False where the number is none of them."""
    if number == ATTR_TCP_STATE:
        flow.tcp_state = value[0]
        put(flow, BIT_TCP_STATE)
    elif number == ATTR_WINDOW_SCALE_ORIGINAL:
        flow.tcp_window_scale_original = value[0]
        put(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL)
    elif number == ATTR_WINDOW_SCALE_REPLY:
        flow.tcp_window_scale_reply = value[0]
        put(flow, BIT_TCP_WINDOW_SCALE_REPLY)
    elif number == ATTR_SCTP_STATE:
        flow.sctp_state = value[0]
        put(flow, BIT_SCTP_STATE)
    elif number == ATTR_SCTP_VTAG_ORIGINAL:
        flow.sctp_vtag_original = load32(value)
        put(flow, BIT_SCTP_VTAG_ORIGINAL)
    elif number == ATTR_SCTP_VTAG_REPLY:
        flow.sctp_vtag_reply = load32(value)
        put(flow, BIT_SCTP_VTAG_REPLY)
    elif number == ATTR_DCCP_STATE:
        flow.dccp_state = value[0]
        put(flow, BIT_DCCP_STATE)
    elif number == ATTR_DCCP_ROLE:
        flow.dccp_role = value[0]
        put(flow, BIT_DCCP_ROLE)
    else:
        return False
    return True


cdef bint read_nat(uint16_t number, const uint8_t *value, flow_t *flow) noexcept nogil:
    if number == ATTR_SOURCE_NAT_IPV4 or number == ATTR_SOURCE_NAT_IPV6:
        memcpy(flow.source_nat_address, value, 4 if number == ATTR_SOURCE_NAT_IPV4 else 16)
        put(flow, BIT_SOURCE_NAT_ADDRESS)
    elif number == ATTR_DESTINATION_NAT_IPV4 or number == ATTR_DESTINATION_NAT_IPV6:
        memcpy(flow.destination_nat_address, value, 4 if number == ATTR_DESTINATION_NAT_IPV4 else 16)
        put(flow, BIT_DESTINATION_NAT_ADDRESS)
    elif number == ATTR_SOURCE_NAT_PORT:
        flow.source_nat_port = load16_native(value)
        put(flow, BIT_SOURCE_NAT_PORT)
    elif number == ATTR_DESTINATION_NAT_PORT:
        flow.destination_nat_port = load16_native(value)
        put(flow, BIT_DESTINATION_NAT_PORT)
    else:
        return False
    return True


cdef void read_common(uint16_t number, const uint8_t *value, flow_t *flow) noexcept nogil:
    if number == ATTR_STATUS:
        flow.status = load32(value)
        put(flow, BIT_STATUS)
    elif number == ATTR_TIMEOUT:
        flow.timeout = load32(value)
        put(flow, BIT_TIMEOUT)
    elif number == ATTR_MARK:
        flow.mark = load32(value)
        put(flow, BIT_MARK)
    elif number == ATTR_ZONE:
        flow.zone = load16(value)
        if flow.zone:
            put(flow, BIT_ZONE)
    elif number == ATTR_SEQUENCE_ADJUST:
        load_adjust(value, &flow.sequence_adjust_original)
        load_adjust(value + 12, &flow.sequence_adjust_reply)
        put(flow, BIT_SEQUENCE_ADJUST_ORIGINAL)
        put(flow, BIT_SEQUENCE_ADJUST_REPLY)
    elif number == ATTR_SYN_PROXY:
        flow.syn_proxy_its = load32(value)
        flow.syn_proxy_isn = load32(value + 4)
        flow.syn_proxy_tsoff = load32(value + 8)
        put(flow, BIT_SYN_PROXY)


cdef void forget_icmp_noise(flow_t *flow) noexcept nogil:
    """The C daemon sends, as the ports of a translated ICMP flow, the type and code of its reply: no translation at all."""
    cdef uint16_t noise = (<uint16_t>icmp_reply_type(flow.original.protocol, flow.original.icmp_type) << 8) | flow.original.icmp_code
    if flow.source_nat_port == noise or flow.source_nat_port == 0 or flow.source_nat_port == flow.original.icmp_id:
        drop(flow, BIT_SOURCE_NAT_PORT)
        flow.source_nat_port = 0
    drop(flow, BIT_DESTINATION_NAT_PORT)
    flow.destination_nat_port = 0


cdef void build_reply(flow_t *flow) noexcept nogil:
    """The reply tuple: the inverse of the original with the translations that the message names."""
    invert_tuple(&flow.original, &flow.reply)
    if has(flow, BIT_SOURCE_NAT_ADDRESS):
        memcpy(flow.reply.destination, flow.source_nat_address, 16)
    if has(flow, BIT_DESTINATION_NAT_ADDRESS):
        memcpy(flow.reply.source, flow.destination_nat_address, 16)
    if has(flow, BIT_SOURCE_NAT_PORT):
        if protocol_is_icmp(flow.original.protocol):
            flow.reply.icmp_id = flow.source_nat_port
        else:
            flow.reply.destination_port = flow.source_nat_port
    if has(flow, BIT_DESTINATION_NAT_PORT):
        flow.reply.source_port = flow.destination_nat_port
    put(flow, BIT_ORIGINAL)
    put(flow, BIT_REPLY)


cdef void normalise(flow_t *flow) noexcept nogil:
    """Drop what contradicts the flow's own protocol and family, so that one flow has one form."""
    cdef uint8_t protocol = flow.original.protocol
    if protocol_is_icmp(protocol):
        forget_icmp_noise(flow)
        flow.original.source_port = 0
        flow.original.destination_port = 0
    else:
        flow.original.icmp_type = 0
        flow.original.icmp_code = 0
        flow.original.icmp_id = 0
        if not protocol_has_ports(protocol):
            flow.original.source_port = 0
            flow.original.destination_port = 0
            drop(flow, BIT_SOURCE_NAT_PORT)
            drop(flow, BIT_DESTINATION_NAT_PORT)
    if protocol != 6:
        drop(flow, BIT_TCP_STATE)
        drop(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL)
        drop(flow, BIT_TCP_WINDOW_SCALE_REPLY)
    if protocol != 132:
        drop(flow, BIT_SCTP_STATE)
        drop(flow, BIT_SCTP_VTAG_ORIGINAL)
        drop(flow, BIT_SCTP_VTAG_REPLY)
    if protocol != 33:
        drop(flow, BIT_DCCP_STATE)
        drop(flow, BIT_DCCP_ROLE)


cdef int decode_body(const uint8_t *body, uint32_t length, flow_t *flow) noexcept nogil:
    """Read a message's attributes into `flow`, which is cleared first. Returns WIRE_OK, or why the message is malformed."""
    cdef uint32_t offset = 0
    cdef uint32_t attribute, size
    cdef uint16_t number
    cdef uint64_t seen = 0
    cdef int result
    cdef const uint8_t *value
    clear_flow(flow)
    while offset < length:
        if length - offset < 4:
            return WIRE_TRUNCATED
        attribute = load16(body + offset)
        number = load16(body + offset + 2)
        if attribute < 4 or attribute > length - offset:
            return WIRE_TRUNCATED
        if number >= ATTR_COUNT:
            return WIRE_UNKNOWN
        size = attribute - 4
        value = body + offset + 4
        if value_size[number] == VARIABLE:
            result = read_variable(number, value, size, flow)
            if result != WIRE_OK:
                return result
        elif value_size[number] != size:
            return WIRE_BAD_SIZE
        elif not read_state(number, value, flow) and not read_nat(number, value, flow):
            read_common(number, value, flow)
            read_identity(number, value, flow)
        seen |= (<uint64_t>1) << number
        offset += (attribute + 3) & ~(<uint32_t>3)
    return finish(flow, seen)


cdef int finish(flow_t *flow, uint64_t seen) noexcept nogil:
    """Check that the message names one flow of one family, and complete the record."""
    cdef uint64_t families = seen & ((1 << ATTR_IPV4) | (1 << ATTR_IPV6))
    cdef uint64_t masters = seen & ((1 << ATTR_MASTER_IPV4) | (1 << ATTR_MASTER_IPV6))
    cdef uint64_t ipv4_nat = seen & ((1 << ATTR_SOURCE_NAT_IPV4) | (1 << ATTR_DESTINATION_NAT_IPV4))
    cdef uint64_t ipv6_nat = seen & ((1 << ATTR_SOURCE_NAT_IPV6) | (1 << ATTR_DESTINATION_NAT_IPV6))
    if not families or not (seen >> ATTR_PROTOCOL) & 1:
        return WIRE_INCOMPLETE
    if families & (families - 1) or masters & (masters - 1):
        return WIRE_INCOMPLETE
    if flow.original.family == FAMILY_IPV4 and ipv6_nat or flow.original.family == FAMILY_IPV6 and ipv4_nat:
        return WIRE_INCOMPLETE
    if not masters:
        memset(&flow.master, 0, sizeof(tuple_t))
    normalise(flow)
    build_reply(flow)
    return WIRE_OK


cdef void flow_key(const flow_t *flow, key_t *key) noexcept nogil:
    cdef uint32_t size = address_size(flow.original.family)
    memset(key, 0, sizeof(key_t))
    memcpy(key.address, flow.original.source, size)
    memcpy(key.address + size, flow.original.destination, size)
    key.address_length = 2 * size
    key.protocol = flow.original.protocol
    key.zone = flow_zone(flow)
    if protocol_is_icmp(key.protocol):
        key.ports[0] = flow.original.icmp_type
        key.ports[1] = flow.original.icmp_code
        store16_native(key.ports + 2, flow.original.icmp_id)
    elif protocol_has_ports(key.protocol):
        store16(key.ports, flow.original.source_port)
        store16(key.ports + 2, flow.original.destination_port)


cdef bint body_has_key(const uint8_t *body, uint32_t length, uint16_t zone, const key_t *key) noexcept nogil:
    """Whether a canonical body is of the flow that `key` names.

    Canonical bodies begin with addresses, status, protocol and ports (or ICMP type, code, id), so each is at a known place.
    """
    cdef const uint8_t *rest
    cdef const uint8_t *ports
    cdef bint names_ports
    if zone != key.zone or load16(body) != 4 + key.address_length:
        return False
    rest = body + 4 + key.address_length
    if rest[12] != key.protocol or memcmp(body + 4, key.address, key.address_length) != 0:
        return False
    ports = rest + 16
    if protocol_is_icmp(key.protocol):
        return ports[4] == key.ports[0] and ports[12] == key.ports[1] and memcmp(ports + 20, key.ports + 2, 2) == 0
    if not protocol_has_ports(key.protocol):
        return True
    names_ports = ports - body + 8 <= length and load16(ports + 2) == ATTR_PORTS
    if not names_ports:
        return load32(key.ports) == 0
    return memcmp(ports + 4, key.ports, 4) == 0


def read_header(datagram, uint32_t offset):
    """The header at `offset`, as (version, type, flags, length, sequence), or None where the datagram ends within it."""
    cdef Py_buffer view
    cdef header_t header
    PyObject_GetBuffer(datagram, &view, PyBUF_SIMPLE)
    try:
        if offset > view.len or view.len - offset < HEADER_SIZE:
            return None
        load_header(<const uint8_t *>view.buf + offset, &header)
    finally:
        PyBuffer_Release(&view)
    return header.version, header.type, header.flags, header.length, header.sequence


def check(body):
    """Decode a body and encode it again. Returns the canonical body, or the negative code that says why it is malformed."""
    cdef Py_buffer view
    cdef flow_t flow
    cdef uint8_t[BODY_MAX] out
    cdef int result
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    result = decode_body(<const uint8_t *>view.buf, <uint32_t>view.len, &flow)
    PyBuffer_Release(&view)
    if result != WIRE_OK:
        return result
    return (<char *>out)[:encode_body(&flow, 0, out)]
