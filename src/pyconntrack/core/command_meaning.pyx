# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""What flows and expectations are meant by conntrack's command line.

The same options say what a new flow is like, what a flow must be like to be listed, and, of an update, both: addresses,
ports, NAT, id and labels choose the flows, the rest is set.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from pyconntrack.core.expectation_record cimport *
from pyconntrack.core.match cimport TRANSLATION_ALL, TRANSLATION_DESTINATION, TRANSLATION_SOURCE, match_t
from pyconntrack.core.netlink cimport *
from pyconntrack.core.option_table cimport *
from pyconntrack.core.record cimport *

cdef enum:
    TCP = 6
    DCCP = 33
    ICMP = 1
    ICMPV6 = 58
    TCP_LAST_ACK = 6
    # IP_CT_TCP_FLAG_SACK_PERM and _BE_LIBERAL: a flow made by hand has no window to check. _CLOSE_INIT with the states
    # behind LAST_ACK.
    TCP_FLAGS = 0x0a
    TCP_FLAGS_CLOSED = 0x0e


cdef inline bint said(const command_line_t *line, int option) noexcept nogil:
    return (line.given >> option) & 1


cdef inline bint said_any(const command_line_t *line, uint64_t options) noexcept nogil:
    return (line.given & options) != 0


cdef inline uint64_t both(int first, int second) noexcept nogil:
    return option_bit(first) | option_bit(second)


# Creating.

cdef bint is_bare_dccp(const command_line_t *line) noexcept nogil:
    return (line.protocol == DCCP and line.command == COMMAND_ADD_
            and line.given >> PROTOCOL_OPTIONS == 0)


cdef void put_tcp_flags(flow_t *flow) noexcept nogil:
    cdef uint8_t flags = TCP_FLAGS_CLOSED if flow.tcp_state > TCP_LAST_ACK else TCP_FLAGS
    flow.tcp_flags_original = flow.tcp_flags_mask_original = flags
    flow.tcp_flags_reply = flow.tcp_flags_mask_reply = flags
    put(flow, BIT_TCP_FLAGS_ORIGINAL)
    put(flow, BIT_TCP_FLAGS_REPLY)


cdef bint reply_protocol_said(const command_line_t *line) noexcept nogil:
    """Where the protocol has ports, only with them: a kernel refuses a reply that has addresses and no ports."""
    if protocol_has_ports(<uint8_t>line.protocol) and not is_bare_dccp(line):
        return said_any(line, both(OPTION_REPLY_PORT_SOURCE, OPTION_REPLY_PORT_DESTINATION))
    return True


cdef bint half_a_reply(const command_line_t *line) noexcept nogil:
    return (said_any(line, both(OPTION_REPLY_SOURCE, OPTION_REPLY_DESTINATION))
            and not reply_protocol_said(line))


cdef void complete_reply_protocol(const command_line_t *line, flow_t *flow) noexcept nogil:
    flow.reply.family = line.family
    if not reply_protocol_said(line):
        return
    flow.reply.protocol = <uint8_t>line.protocol
    if protocol_is_icmp(flow.reply.protocol):
        flow.reply.icmp_type = icmp_reply_type(flow.reply.protocol, flow.original.icmp_type)
        flow.reply.icmp_code = flow.original.icmp_code
        flow.reply.icmp_id = flow.original.icmp_id


cdef void complete_tuples(const command_line_t *line, flow_t *flow) noexcept nogil:
    """A direction whose addresses are not given is the inverse of the other, whatever else is said of it."""
    cdef bint original = said_any(line, both(OPTION_SOURCE, OPTION_DESTINATION))
    cdef bint reply = said_any(line, both(OPTION_REPLY_SOURCE, OPTION_REPLY_DESTINATION))
    cdef uint16_t original_zone = flow.original.zone, reply_zone = flow.reply.zone
    flow.original.family = line.family
    flow.original.protocol = <uint8_t>line.protocol
    if reply:
        complete_reply_protocol(line, flow)
    if not reply:
        invert_tuple(&flow.original, &flow.reply)
    elif not original:
        invert_tuple(&flow.reply, &flow.original)
    flow.original.zone, flow.reply.zone = original_zone, reply_zone
    put(flow, BIT_ORIGINAL)
    put(flow, BIT_REPLY)


cdef void take_port_translations(const command_line_t *line, flow_t *flow) noexcept nogil:
    """In the save format, -n and -g stand for -q and -r, and the ports are those of the reply."""
    if (line.has_source_nat_address and not has(flow, BIT_SOURCE_NAT_PORT)
            and said(line, OPTION_REPLY_PORT_DESTINATION)
            and line.flow.reply.destination_port != line.flow.original.source_port):
        flow.source_nat_port = line.flow.reply.destination_port
        put(flow, BIT_SOURCE_NAT_PORT)
    if (line.has_destination_nat_address and not has(flow, BIT_DESTINATION_NAT_PORT)
            and said(line, OPTION_REPLY_PORT_SOURCE)
            and line.flow.reply.source_port != line.flow.original.destination_port):
        flow.destination_nat_port = line.flow.reply.source_port
        put(flow, BIT_DESTINATION_NAT_PORT)


cdef void put_source_nat(flow_t *flow, const uint8_t *address, uint16_t port, bint with_port) noexcept nogil:
    memcpy(flow.source_nat_address, address, 16)
    put(flow, BIT_SOURCE_NAT_ADDRESS)
    if with_port:
        flow.source_nat_port = port
        put(flow, BIT_SOURCE_NAT_PORT)


cdef void put_destination_nat(flow_t *flow, const uint8_t *address, uint16_t port, bint with_port) noexcept nogil:
    memcpy(flow.destination_nat_address, address, 16)
    put(flow, BIT_DESTINATION_NAT_ADDRESS)
    if with_port:
        flow.destination_nat_port = port
        put(flow, BIT_DESTINATION_NAT_PORT)


cdef void take_reply_as_nat(const command_line_t *line, flow_t *flow) noexcept nogil:
    """Where the reply differs from the inverse, the kernel must be told to translate: a saved flow did so."""
    cdef bint ports = protocol_has_ports(flow.original.protocol)
    cdef bint other_port
    if not has(flow, BIT_SOURCE_NAT_ADDRESS):
        other_port = ports and flow.reply.destination_port != flow.original.source_port
        if other_port or memcmp(flow.reply.destination, flow.original.source, 16) != 0:
            put_source_nat(flow, flow.reply.destination, flow.reply.destination_port, other_port)
    if not has(flow, BIT_DESTINATION_NAT_ADDRESS):
        other_port = ports and flow.reply.source_port != flow.original.destination_port
        if other_port or memcmp(flow.reply.source, flow.original.destination, 16) != 0:
            put_destination_nat(flow, flow.reply.source, flow.reply.source_port, other_port)


cdef bint is_whole_reply(const command_line_t *line, const flow_t *flow) noexcept nogil:
    """Both directions as -o save writes them of a flow without -n and -g."""
    cdef uint64_t addresses = (both(OPTION_SOURCE, OPTION_DESTINATION)
                               | both(OPTION_REPLY_SOURCE, OPTION_REPLY_DESTINATION))
    cdef uint64_t ports = (both(OPTION_PORT_SOURCE, OPTION_PORT_DESTINATION)
                           | both(OPTION_REPLY_PORT_SOURCE, OPTION_REPLY_PORT_DESTINATION))
    if line.given & addresses != addresses:
        return False
    return not protocol_has_ports(flow.original.protocol) or line.given & ports == ports


cdef void translate(const command_line_t *line, flow_t *flow) noexcept nogil:
    """The kernel translates by NAT attributes and the plain inverse as reply."""
    cdef uint16_t zone = flow.reply.zone
    cdef bint given = line.has_source_nat_address or line.has_destination_nat_address
    if given:
        take_port_translations(line, flow)
    elif line.command == COMMAND_ADD_ and is_whole_reply(line, flow):
        take_reply_as_nat(line, flow)
        given = has(flow, BIT_SOURCE_NAT_ADDRESS) or has(flow, BIT_DESTINATION_NAT_ADDRESS)
    if given and said_any(line, both(OPTION_SOURCE, OPTION_DESTINATION)) and not half_a_reply(line):
        invert_tuple(&flow.original, &flow.reply)
        flow.reply.zone = zone


cdef inline void put_if(const command_line_t *line, int option, flow_t *flow, int bit) noexcept nogil:
    if said(line, option):
        put(flow, bit)


cdef void put_attributes(const command_line_t *line, flow_t *flow) noexcept nogil:
    """What is said of a flow with one word each: its bits."""
    put_if(line, OPTION_TIMEOUT, flow, BIT_TIMEOUT)
    put_if(line, OPTION_MARK, flow, BIT_MARK)
    put_if(line, OPTION_ZONE, flow, BIT_ZONE)
    put_if(line, OPTION_ORIGINAL_ZONE, flow, BIT_ORIGINAL_ZONE)
    put_if(line, OPTION_REPLY_ZONE, flow, BIT_REPLY_ZONE)
    put_if(line, OPTION_VTAG_ORIGINAL, flow, BIT_SCTP_VTAG_ORIGINAL)
    put_if(line, OPTION_VTAG_REPLY, flow, BIT_SCTP_VTAG_REPLY)
    put_if(line, OPTION_ROLE, flow, BIT_DCCP_ROLE)
    if said(line, OPTION_STATE):
        put(flow, state_bit(line.protocol))


cdef int state_bit(int protocol) noexcept nogil:
    if protocol == TCP:
        return BIT_TCP_STATE
    return BIT_SCTP_STATE if protocol == 132 else BIT_DCCP_STATE


cdef void put_status(const command_line_t *line, flow_t *flow) noexcept nogil:
    if said(line, OPTION_STATUS):
        flow.status |= IPS_CONFIRMED
        put(flow, BIT_STATUS)


cdef void put_added_labels(const command_line_t *line, flow_t *flow) noexcept nogil:
    if said(line, OPTION_LABEL_ADD):
        memcpy(flow.labels, line.labels_added, LABELS_SIZE)
        flow.labels_length = LABELS_SIZE
        put(flow, BIT_LABELS)


cdef void make_creation(const command_line_t *line, flow_t *flow) noexcept nogil:
    put_attributes(line, flow)
    put_status(line, flow)
    put_added_labels(line, flow)
    # What is created has a mark, and not a mask to find it by.
    drop(flow, BIT_MARK_MASK)
    if line.protocol == TCP:
        put_tcp_flags(flow)
    complete_tuples(line, flow)
    translate(line, flow)


cdef void make_update(const command_line_t *line, flow_t *flow) noexcept nogil:
    put_attributes(line, flow)
    put_status(line, flow)
    put_added_labels(line, flow)
    if has(flow, BIT_TCP_STATE):
        put_tcp_flags(flow)


cdef void make_template(const command_line_t *line, flow_t *flow) noexcept nogil:
    memcpy(flow, &line.flow, sizeof(flow_t))
    if line.command == COMMAND_CREATE_ or line.command == COMMAND_ADD_:
        make_creation(line, flow)
        return
    if line.command == COMMAND_UPDATE_:
        make_update(line, flow)
    else:
        put_if(line, OPTION_ID, flow, BIT_ID)
        put_if(line, OPTION_ZONE, flow, BIT_ZONE)
        put_if(line, OPTION_ORIGINAL_ZONE, flow, BIT_ORIGINAL_ZONE)
    if line.command == COMMAND_GET_ or names_one_flow(line):
        flow.original.family = line.family
        flow.original.protocol = <uint8_t>line.protocol
        put(flow, BIT_ORIGINAL)


cdef bint names_one_flow(const command_line_t *line) noexcept nogil:
    cdef uint64_t wanted = both(OPTION_SOURCE, OPTION_DESTINATION) | option_bit(OPTION_PROTOCOL)
    if said_any(line, both(OPTION_MASK_SOURCE, OPTION_MASK_DESTINATION)):
        return False
    if protocol_has_ports(<uint8_t>line.protocol):
        wanted |= both(OPTION_PORT_SOURCE, OPTION_PORT_DESTINATION)
    elif protocol_is_icmp(<uint8_t>line.protocol):
        wanted |= both(OPTION_ICMP_TYPE, OPTION_ICMP_CODE) | option_bit(OPTION_ICMP_ID)
    return line.given & wanted == wanted


# Selecting.

cdef inline uint32_t field(const command_line_t *line, int option, uint32_t flag) noexcept nogil:
    return flag if said(line, option) else 0


cdef void select_original(const command_line_t *line, match_t *match) noexcept nogil:
    cdef bint six = line.protocol == ICMPV6
    match.original_fields = (
        field(line, OPTION_SOURCE, CTA_FILTER_F_IP_SRC)
        | field(line, OPTION_DESTINATION, CTA_FILTER_F_IP_DST)
        | field(line, OPTION_PROTOCOL, CTA_FILTER_F_PROTO_NUM)
        | field(line, OPTION_PORT_SOURCE, CTA_FILTER_F_SRC_PORT)
        | field(line, OPTION_PORT_DESTINATION, CTA_FILTER_F_DST_PORT)
        | field(line, OPTION_ICMP_TYPE, CTA_FILTER_F_ICMPV6_TYPE if six else CTA_FILTER_F_ICMP_TYPE)
        | field(line, OPTION_ICMP_CODE, CTA_FILTER_F_ICMPV6_CODE if six else CTA_FILTER_F_ICMP_CODE)
        | field(line, OPTION_ICMP_ID, CTA_FILTER_F_ICMPV6_ID if six else CTA_FILTER_F_ICMP_ID))
    match.wanted.original.family = line.family
    match.wanted.original.protocol = <uint8_t>line.protocol if line.protocol >= 0 else 0
    memset(match.source_mask, 0xff, 16)
    memset(match.destination_mask, 0xff, 16)
    if said(line, OPTION_MASK_SOURCE):
        memcpy(match.source_mask, line.source_mask, 16)
    if said(line, OPTION_MASK_DESTINATION):
        memcpy(match.destination_mask, line.destination_mask, 16)


cdef void select_reply(const command_line_t *line, match_t *match) noexcept nogil:
    match.reply_fields = (
        field(line, OPTION_REPLY_SOURCE, CTA_FILTER_F_IP_SRC)
        | field(line, OPTION_REPLY_DESTINATION, CTA_FILTER_F_IP_DST)
        | field(line, OPTION_REPLY_PORT_SOURCE, CTA_FILTER_F_SRC_PORT)
        | field(line, OPTION_REPLY_PORT_DESTINATION, CTA_FILTER_F_DST_PORT))
    match.wanted.reply.family = line.family
    if match.reply_fields & (CTA_FILTER_F_SRC_PORT | CTA_FILTER_F_DST_PORT):
        match.reply_fields |= CTA_FILTER_F_PROTO_NUM
        match.wanted.reply.protocol = <uint8_t>line.protocol


cdef void select_translation(const command_line_t *line, match_t *match) noexcept nogil:
    if not said_any(line, both(OPTION_SOURCE_NAT, OPTION_DESTINATION_NAT) | option_bit(OPTION_ANY_NAT)):
        return
    if said(line, OPTION_SOURCE_NAT) or said(line, OPTION_ANY_NAT):
        match.translation |= TRANSLATION_SOURCE
    if said(line, OPTION_DESTINATION_NAT) or said(line, OPTION_ANY_NAT):
        match.translation |= TRANSLATION_DESTINATION
    # -n and -g together ask for both; -j, for one of them.
    if not said(line, OPTION_ANY_NAT):
        match.translation |= TRANSLATION_ALL


cdef void select_attributes(const command_line_t *line, match_t *match) noexcept nogil:
    cdef flow_t *wanted = &match.wanted
    put_attributes(line, wanted)
    put_if(line, OPTION_SECMARK, wanted, BIT_SECMARK)
    if wanted.status:
        put(wanted, BIT_STATUS)
    match.status_unset = line.status_unset


cdef void make_match(const command_line_t *line, match_t *match) noexcept nogil:
    cdef uint64_t nat = line.flow.present & (
        (<uint64_t>1) << BIT_SOURCE_NAT_ADDRESS | (<uint64_t>1) << BIT_SOURCE_NAT_PORT
        | (<uint64_t>1) << BIT_DESTINATION_NAT_ADDRESS | (<uint64_t>1) << BIT_DESTINATION_NAT_PORT)
    memset(match, 0, sizeof(match_t))
    memcpy(&match.wanted, &line.flow, sizeof(flow_t))
    match.wanted.present = nat
    match.family = line.family
    select_original(line, match)
    select_reply(line, match)
    select_translation(line, match)
    put_if(line, OPTION_ID, &match.wanted, BIT_ID)
    put_if(line, OPTION_LABEL, &match.wanted, BIT_LABELS)
    if line.command != COMMAND_UPDATE_:
        match.wanted.present |= line.flow.present & ((<uint64_t>1) << BIT_MARK_MASK)
        select_attributes(line, match)


# Expecting.

cdef void put_mask(const command_line_t *line, expectation_t *expectation) noexcept nogil:
    expectation.mask = line.expected_mask
    memcpy(expectation.mask.source, line.source_mask, 16)
    memcpy(expectation.mask.destination, line.destination_mask, 16)
    expectation.mask.family = line.family
    expectation.mask.protocol = <uint8_t>line.protocol
    expectation_put(expectation, EXPECTATION_MASK)


cdef void make_expectation(const command_line_t *line, expectation_t *expectation) noexcept nogil:
    cdef tuple_t named = line.flow.original
    memset(expectation, 0, sizeof(expectation_t))
    named.family = line.family
    named.protocol = <uint8_t>line.protocol if line.protocol >= 0 else 0
    if line.command == COMMAND_DELETE_:
        expectation.expected = named
        expectation_put(expectation, EXPECTATION_EXPECTED)
        return
    expectation.master = named
    expectation_put(expectation, EXPECTATION_MASTER)
    if line.command != COMMAND_CREATE_:
        return
    expectation.expected = line.expected
    expectation.expected.family = line.family
    expectation.expected.protocol = <uint8_t>line.protocol
    expectation_put(expectation, EXPECTATION_EXPECTED)
    put_mask(line, expectation)
    expectation.timeout = line.flow.timeout
    expectation_put(expectation, EXPECTATION_TIMEOUT)
