# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""ctnetlink's messages into flow records.

The layout of every attribute is that of net/netfilter/nf_conntrack_netlink.c and the nf_conntrack_proto_*.c
beside it. A value longer than expected is read as far as it is known; a shorter one is malformed.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *
from pyconntrack.core.usual_attributes cimport take_usual_tcp, take_usual_tuple

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t limit)


# Reads one attribute of a nest into what `context` points to: 0, or DECODE_MALFORMED.
ctypedef int (*reader_t)(void *context, const attribute_t *attribute) noexcept nogil


cdef inline int read_nest(const attribute_t *outer, reader_t read, void *context) noexcept nogil:
    """Every attribute within another, by `read`."""
    cdef attribute_t inner
    cdef const uint8_t *cursor = outer.data
    cdef uint32_t left = outer.length
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got == 0:
            return 0
        if got < 0 or read(context, &inner) < 0:
            return DECODE_MALFORMED


# Tuples.

cdef int read_address(void *context, const attribute_t *attribute) noexcept nogil:
    cdef tuple_t *result = <tuple_t *>context
    cdef uint16_t kind = attribute.type
    cdef uint16_t size
    cdef uint8_t *place = result.source
    if kind < CTA_IP_V4_SRC or kind > CTA_IP_V6_DST:
        return 0
    size = 4 if kind <= CTA_IP_V4_DST else 16
    if attribute.length < size:
        return DECODE_MALFORMED
    if kind == CTA_IP_V4_DST or kind == CTA_IP_V6_DST:
        place = result.destination
    memcpy(place, attribute.data, size)
    result.family = FAMILY_IPV4 if size == 4 else FAMILY_IPV6
    return 0


cdef int read_protocol(void *context, const attribute_t *attribute) noexcept nogil:
    cdef tuple_t *result = <tuple_t *>context
    cdef uint16_t kind = attribute.type
    cdef uint16_t needed = 1
    if (kind == CTA_PROTO_SRC_PORT or kind == CTA_PROTO_DST_PORT or kind == CTA_PROTO_ICMP_ID
            or kind == CTA_PROTO_ICMPV6_ID):
        needed = 2
    if attribute.length < needed:
        return DECODE_MALFORMED
    if kind == CTA_PROTO_NUM:
        result.protocol = attribute.data[0]
    elif kind == CTA_PROTO_SRC_PORT:
        result.source_port = load_be16(attribute.data)
    elif kind == CTA_PROTO_DST_PORT:
        result.destination_port = load_be16(attribute.data)
    elif kind == CTA_PROTO_ICMP_ID or kind == CTA_PROTO_ICMPV6_ID:
        result.icmp_id = load_be16(attribute.data)
    elif kind == CTA_PROTO_ICMP_TYPE or kind == CTA_PROTO_ICMPV6_TYPE:
        result.icmp_type = attribute.data[0]
    elif kind == CTA_PROTO_ICMP_CODE or kind == CTA_PROTO_ICMPV6_CODE:
        result.icmp_code = attribute.data[0]
    return 0


cdef struct tuple_context_t:
    tuple_t *result
    bint zone_given


cdef int read_tuple(void *context, const attribute_t *attribute) noexcept nogil:
    cdef tuple_context_t *wanted = <tuple_context_t *>context
    if attribute.type == CTA_TUPLE_IP:
        return read_nest(attribute, read_address, wanted.result)
    if attribute.type == CTA_TUPLE_PROTO:
        return read_nest(attribute, read_protocol, wanted.result)
    if attribute.type == CTA_TUPLE_ZONE:
        if attribute.length < 2:
            return DECODE_MALFORMED
        wanted.result.zone = load_be16(attribute.data)
        wanted.zone_given = True
    return 0


cdef int decode_tuple(const uint8_t *data, uint32_t length, tuple_t *result, bint *zone_given) noexcept nogil:
    cdef tuple_context_t context
    cdef attribute_t whole
    if length > 0xffff:
        return DECODE_MALFORMED
    whole.data = data
    whole.length = <uint16_t>length
    context.result = result
    context.zone_given = zone_given[0]
    if read_nest(&whole, read_tuple, &context) < 0:
        return DECODE_MALFORMED
    zone_given[0] = context.zone_given
    return 0


cdef int decode_whole_tuple(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    """A tuple of a flow, which is nothing without its addresses."""
    cdef bint zone_given = False
    cdef tuple_t *result = &flow.original
    cdef int bit = BIT_ORIGINAL, zone_bit = BIT_ORIGINAL_ZONE
    if attribute.type == CTA_TUPLE_REPLY:
        result = &flow.reply
        bit = BIT_REPLY
        zone_bit = BIT_REPLY_ZONE
    elif attribute.type == CTA_TUPLE_MASTER:
        result = &flow.master
        bit = BIT_MASTER
        zone_bit = -1
    memset(result, 0, sizeof(tuple_t))
    if not take_usual_tuple(attribute, result) and (
            decode_tuple(attribute.data, attribute.length, result, &zone_given) < 0 or result.family == 0):
        return DECODE_MALFORMED
    put(flow, bit)
    if zone_given and zone_bit >= 0:
        put(flow, zone_bit)
    return 0


# Protocol info.

cdef int read_tcp(void *context, const attribute_t *attribute) noexcept nogil:
    cdef flow_t *flow = <flow_t *>context
    cdef const uint8_t *data = attribute.data
    cdef uint16_t kind = attribute.type
    cdef bint flags = kind == CTA_PROTOINFO_TCP_FLAGS_ORIGINAL or kind == CTA_PROTOINFO_TCP_FLAGS_REPLY
    if attribute.length < (2 if flags else 1):
        return DECODE_MALFORMED
    if kind == CTA_PROTOINFO_TCP_STATE:
        flow.tcp_state = data[0]
        put(flow, BIT_TCP_STATE)
    elif kind == CTA_PROTOINFO_TCP_WSCALE_ORIGINAL:
        flow.tcp_window_scale_original = data[0]
        put(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL)
    elif kind == CTA_PROTOINFO_TCP_WSCALE_REPLY:
        flow.tcp_window_scale_reply = data[0]
        put(flow, BIT_TCP_WINDOW_SCALE_REPLY)
    elif kind == CTA_PROTOINFO_TCP_FLAGS_ORIGINAL:
        flow.tcp_flags_original = data[0]
        flow.tcp_flags_mask_original = data[1]
        put(flow, BIT_TCP_FLAGS_ORIGINAL)
    elif kind == CTA_PROTOINFO_TCP_FLAGS_REPLY:
        flow.tcp_flags_reply = data[0]
        flow.tcp_flags_mask_reply = data[1]
        put(flow, BIT_TCP_FLAGS_REPLY)
    return 0


cdef int read_sctp(void *context, const attribute_t *attribute) noexcept nogil:
    cdef flow_t *flow = <flow_t *>context
    cdef uint16_t kind = attribute.type
    if attribute.length < (1 if kind == CTA_PROTOINFO_SCTP_STATE else 4):
        return DECODE_MALFORMED
    if kind == CTA_PROTOINFO_SCTP_STATE:
        flow.sctp_state = attribute.data[0]
        put(flow, BIT_SCTP_STATE)
    elif kind == CTA_PROTOINFO_SCTP_VTAG_ORIGINAL:
        flow.sctp_vtag_original = load_be32(attribute.data)
        put(flow, BIT_SCTP_VTAG_ORIGINAL)
    elif kind == CTA_PROTOINFO_SCTP_VTAG_REPLY:
        flow.sctp_vtag_reply = load_be32(attribute.data)
        put(flow, BIT_SCTP_VTAG_REPLY)
    return 0


cdef int read_dccp(void *context, const attribute_t *attribute) noexcept nogil:
    cdef flow_t *flow = <flow_t *>context
    cdef uint16_t kind = attribute.type
    if attribute.length < (8 if kind == CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ else 1):
        return DECODE_MALFORMED
    if kind == CTA_PROTOINFO_DCCP_STATE:
        flow.dccp_state = attribute.data[0]
        put(flow, BIT_DCCP_STATE)
    elif kind == CTA_PROTOINFO_DCCP_ROLE:
        flow.dccp_role = attribute.data[0]
        put(flow, BIT_DCCP_ROLE)
    elif kind == CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ:
        flow.dccp_handshake_sequence = load_be64(attribute.data)
        put(flow, BIT_DCCP_HANDSHAKE_SEQUENCE)
    return 0


cdef int read_protocol_info(void *context, const attribute_t *attribute) noexcept nogil:
    if attribute.type == CTA_PROTOINFO_TCP:
        if take_usual_tcp(attribute, <flow_t *>context):
            return 0
        return read_nest(attribute, read_tcp, context)
    if attribute.type == CTA_PROTOINFO_SCTP:
        return read_nest(attribute, read_sctp, context)
    if attribute.type == CTA_PROTOINFO_DCCP:
        return read_nest(attribute, read_dccp, context)
    return 0


# The other nests.

cdef int read_counter(void *context, const attribute_t *attribute) noexcept nogil:
    """Into two integers, packets and bytes.

    The old 32-bit attributes, too, as kernels before 2.6.27 send them.
    """
    cdef uint64_t *counters = <uint64_t *>context
    cdef uint16_t kind = attribute.type
    if kind == CTA_COUNTERS_PACKETS or kind == CTA_COUNTERS_BYTES:
        if attribute.length < 8:
            return DECODE_MALFORMED
        counters[kind - CTA_COUNTERS_PACKETS] = load_be64(attribute.data)
    elif kind == CTA_COUNTERS32_PACKETS or kind == CTA_COUNTERS32_BYTES:
        if attribute.length < 4:
            return DECODE_MALFORMED
        counters[kind - CTA_COUNTERS32_PACKETS] = load_be32(attribute.data)
    return 0


cdef int read_word(void *context, const attribute_t *attribute) noexcept nogil:
    """Into three integers, attributes 1 to 3: of sequence adjustment and of SYN proxies."""
    cdef uint32_t *words = <uint32_t *>context
    if attribute.type < 1 or attribute.type > 3:
        return 0
    if attribute.length < 4:
        return DECODE_MALFORMED
    words[attribute.type - 1] = load_be32(attribute.data)
    return 0


cdef int read_timestamp(void *context, const attribute_t *attribute) noexcept nogil:
    cdef flow_t *flow = <flow_t *>context
    if attribute.type != CTA_TIMESTAMP_START and attribute.type != CTA_TIMESTAMP_STOP:
        return 0
    if attribute.length < 8:
        return DECODE_MALFORMED
    if attribute.type == CTA_TIMESTAMP_START:
        flow.timestamp_start = load_be64(attribute.data)
        put(flow, BIT_TIMESTAMP_START)
    else:
        flow.timestamp_stop = load_be64(attribute.data)
        put(flow, BIT_TIMESTAMP_STOP)
    return 0


cdef int decode_text(const attribute_t *attribute, char *out, size_t size) noexcept nogil:
    """A string of at most `size` - 1 characters, zero-terminated or not; a longer one is malformed."""
    cdef size_t length = strnlen(<const char *>attribute.data, attribute.length)
    if length >= size:
        return DECODE_MALFORMED
    memset(out, 0, size)
    memcpy(out, attribute.data, length)
    return 0


cdef int read_helper(void *context, const attribute_t *attribute) noexcept nogil:
    cdef flow_t *flow = <flow_t *>context
    if attribute.type == CTA_HELP_NAME:
        put(flow, BIT_HELPER_NAME)
        return decode_text(attribute, flow.helper_name, HELPER_NAME_SIZE)
    if attribute.type == CTA_HELP_INFO:
        if attribute.length > HELPER_INFO_SIZE:
            return DECODE_MALFORMED
        memset(flow.helper_info, 0, HELPER_INFO_SIZE)
        memcpy(flow.helper_info, attribute.data, attribute.length)
        flow.helper_info_length = attribute.length
        put(flow, BIT_HELPER_INFO)
    return 0


cdef int read_security_context(void *context, const attribute_t *attribute) noexcept nogil:
    cdef flow_t *flow = <flow_t *>context
    cdef attribute_t shortened = attribute[0]
    if attribute.type != CTA_SECCTX_NAME:
        return 0
    shortened.length = min(shortened.length, <uint16_t>(SECURITY_CONTEXT_SIZE - 1))
    put(flow, BIT_SECURITY_CONTEXT)
    # SELinux has longer ones, with many categories. It is only shown: the flow is worth having without its end.
    return decode_text(&shortened, flow.security_context, SECURITY_CONTEXT_SIZE)


cdef struct nat_context_t:
    flow_t *flow
    uint8_t *address
    uint16_t *port
    int address_bit
    int port_bit


cdef int read_nat(void *context, const attribute_t *attribute) noexcept nogil:
    """Of a range, the lower end counts."""
    cdef nat_context_t *nat = <nat_context_t *>context
    cdef uint16_t size = 4 if attribute.type == CTA_NAT_V4_MINIP else 16
    if attribute.type == CTA_NAT_PROTO:
        return read_nest(attribute, read_nat_port, context)
    if attribute.type != CTA_NAT_V4_MINIP and attribute.type != CTA_NAT_V6_MINIP:
        return 0
    if attribute.length < size:
        return DECODE_MALFORMED
    memset(nat.address, 0, 16)
    memcpy(nat.address, attribute.data, size)
    put(nat.flow, nat.address_bit)
    return 0


cdef int read_nat_port(void *context, const attribute_t *attribute) noexcept nogil:
    cdef nat_context_t *nat = <nat_context_t *>context
    if attribute.type != CTA_PROTONAT_PORT_MIN:
        return 0
    if attribute.length < 2:
        return DECODE_MALFORMED
    nat.port[0] = load_be16(attribute.data)
    put(nat.flow, nat.port_bit)
    return 0


cdef int decode_nat(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    """The kernel only takes these; they are read for what others wrote."""
    cdef nat_context_t nat
    nat.flow = flow
    if attribute.type == CTA_NAT_SRC:
        nat.address, nat.port = flow.source_nat_address, &flow.source_nat_port
        nat.address_bit, nat.port_bit = BIT_SOURCE_NAT_ADDRESS, BIT_SOURCE_NAT_PORT
    else:
        nat.address, nat.port = flow.destination_nat_address, &flow.destination_nat_port
        nat.address_bit, nat.port_bit = BIT_DESTINATION_NAT_ADDRESS, BIT_DESTINATION_NAT_PORT
    return read_nest(attribute, read_nat, &nat)


# A flow.

cdef int decode_labels(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    if attribute.length > LABELS_SIZE:
        return DECODE_MALFORMED
    if attribute.type == CTA_LABELS:
        memset(flow.labels, 0, LABELS_SIZE)
        memcpy(flow.labels, attribute.data, attribute.length)
        flow.labels_length = <uint8_t>attribute.length
        put(flow, BIT_LABELS)
    else:
        memset(flow.labels_mask, 0, LABELS_SIZE)
        memcpy(flow.labels_mask, attribute.data, attribute.length)
        put(flow, BIT_LABELS_MASK)
    return 0


cdef int decode_word(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    """The attributes that are one 32-bit integer."""
    cdef uint32_t value
    if attribute.length < 4:
        return DECODE_MALFORMED
    value = load_be32(attribute.data)
    if attribute.type == CTA_STATUS:
        flow.status = value
        put(flow, BIT_STATUS)
    elif attribute.type == CTA_TIMEOUT:
        flow.timeout = value
        put(flow, BIT_TIMEOUT)
    elif attribute.type == CTA_MARK:
        flow.mark = value
        put(flow, BIT_MARK)
    elif attribute.type == CTA_MARK_MASK:
        flow.mark_mask = value
        put(flow, BIT_MARK_MASK)
    elif attribute.type == CTA_SECMARK:
        flow.secmark = value
        put(flow, BIT_SECMARK)
    elif attribute.type == CTA_ID:
        flow.id = value
        put(flow, BIT_ID)
    elif attribute.type == CTA_USE:
        flow.use = value
        put(flow, BIT_USE)
    return 0


cdef int decode_attribute(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    cdef uint16_t kind = attribute.type
    if kind == CTA_TUPLE_ORIG or kind == CTA_TUPLE_REPLY or kind == CTA_TUPLE_MASTER:
        return decode_whole_tuple(flow, attribute)
    if (kind == CTA_STATUS or kind == CTA_TIMEOUT or kind == CTA_MARK or kind == CTA_MARK_MASK
            or kind == CTA_SECMARK or kind == CTA_ID or kind == CTA_USE):
        return decode_word(flow, attribute)
    if kind == CTA_PROTOINFO:
        return read_nest(attribute, read_protocol_info, flow)
    if kind == CTA_COUNTERS_ORIG:
        put(flow, BIT_COUNTERS_ORIGINAL)
        return read_nest(attribute, read_counter, &flow.packets_original)
    if kind == CTA_COUNTERS_REPLY:
        put(flow, BIT_COUNTERS_REPLY)
        return read_nest(attribute, read_counter, &flow.packets_reply)
    if kind == CTA_ZONE or kind == CTA_TIMESTAMP_EVENT:
        return decode_scalar(flow, attribute)
    if kind == CTA_TIMESTAMP:
        return read_nest(attribute, read_timestamp, flow)
    if kind == CTA_LABELS or kind == CTA_LABELS_MASK:
        return decode_labels(flow, attribute)
    if kind == CTA_HELP:
        return read_nest(attribute, read_helper, flow)
    if kind == CTA_SECCTX:
        return read_nest(attribute, read_security_context, flow)
    if kind == CTA_NAT_SRC or kind == CTA_NAT_DST:
        return decode_nat(flow, attribute)
    if kind == CTA_SEQ_ADJ_ORIG:
        put(flow, BIT_SEQUENCE_ADJUST_ORIGINAL)
        return read_nest(attribute, read_word, &flow.sequence_adjust_original)
    if kind == CTA_SEQ_ADJ_REPLY:
        put(flow, BIT_SEQUENCE_ADJUST_REPLY)
        return read_nest(attribute, read_word, &flow.sequence_adjust_reply)
    if kind == CTA_SYNPROXY:
        put(flow, BIT_SYN_PROXY)
        return read_nest(attribute, read_word, &flow.syn_proxy_isn)
    return 0


cdef int decode_scalar(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    """The attributes that are one integer of another size."""
    if attribute.length < (2 if attribute.type == CTA_ZONE else 8):
        return DECODE_MALFORMED
    if attribute.type == CTA_ZONE:
        flow.zone = load_be16(attribute.data)
        put(flow, BIT_ZONE)
    else:
        flow.timestamp_event = load_be64(attribute.data)
        put(flow, BIT_TIMESTAMP_EVENT)
    return 0


cdef int decode_flow(const uint8_t *message, uint32_t length, flow_t *flow) noexcept nogil:
    cdef attribute_t attribute
    cdef const uint8_t *cursor
    cdef uint32_t left
    cdef uint16_t kind, flags
    cdef int got
    clear_flow(flow)
    if length < NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE or load32(message) > length:
        return DECODE_MALFORMED
    left = load32(message)
    if left < NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE:
        return DECODE_MALFORMED
    kind = load16(message + 4)
    flags = load16(message + 6)
    if kind == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW):
        flow.event = EVENT_NEW if flags & (NLM_F_CREATE | NLM_F_EXCL) else EVENT_UPDATE
    elif kind == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE):
        flow.event = EVENT_DESTROY
    else:
        return DECODE_NOT_A_FLOW
    flow.origin = load32(message + 12)
    if flow.origin:
        put(flow, BIT_ORIGIN)
    cursor = message + NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE
    left -= NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE
    while True:
        got = next_attribute(&cursor, &left, &attribute)
        if got == 0:
            return 0
        if got < 0 or decode_attribute(flow, &attribute) < 0:
            return DECODE_MALFORMED


cdef int decode_datagram(const uint8_t *data, uint32_t length, FlowBatch batch,
                         datagram_result_t *result) noexcept nogil:
    cdef message_t message
    cdef flow_t *flow
    cdef int got, code
    memset(result, 0, sizeof(datagram_result_t))
    while True:
        got = next_message(&data, &length, &message)
        if got == 0:
            return 0
        if got < 0:
            result.malformed += 1
            return -1
        if message.flags & NLM_F_DUMP_INTR and message.type != NLMSG_ERROR:
            result.found |= DATAGRAM_INTERRUPTED
        if message.type == NLMSG_DONE or message.type == NLMSG_ERROR:
            if message.length >= NETLINK_HEADER_SIZE + 4:
                code = -<int>load32(message.start + NETLINK_HEADER_SIZE)
                if code > 0:
                    result.error = code
            if message.type == NLMSG_DONE:
                result.found |= DATAGRAM_DONE
            else:
                result.found |= DATAGRAM_ERROR
            continue
        flow = batch.append_garbage()
        if flow == NULL:
            result.out_of_memory = True
            return -1
        code = decode_flow(message.start, message.length, flow)
        if code == 0:
            result.flows += 1
            continue
        batch.pop()
        if code == DECODE_NOT_A_FLOW:
            result.others += 1
        else:
            result.malformed += 1
