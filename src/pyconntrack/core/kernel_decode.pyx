# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""ctnetlink's messages into flow records.

The layout of every attribute is that of net/netfilter/nf_conntrack_netlink.c and the nf_conntrack_proto_*.c beside it. A value longer than
expected is read as far as it is known; a shorter one is malformed.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t limit)


cdef int decode_address(tuple_t *result, const attribute_t *attribute) noexcept nogil:
    if attribute.type == CTA_IP_V4_SRC or attribute.type == CTA_IP_V4_DST:
        if attribute.length < 4:
            return DECODE_MALFORMED
        result.family = FAMILY_IPV4
        memcpy(&result.source[0] if attribute.type == CTA_IP_V4_SRC else &result.destination[0], attribute.data, 4)
    elif attribute.type == CTA_IP_V6_SRC or attribute.type == CTA_IP_V6_DST:
        if attribute.length < 16:
            return DECODE_MALFORMED
        result.family = FAMILY_IPV6
        memcpy(&result.source[0] if attribute.type == CTA_IP_V6_SRC else &result.destination[0], attribute.data, 16)
    return 0


cdef int decode_protocol(tuple_t *result, const attribute_t *attribute) noexcept nogil:
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


cdef int decode_tuple(const uint8_t *data, uint32_t length, tuple_t *result, bint *zone_given) noexcept nogil:
    cdef attribute_t outer, inner
    cdef const uint8_t *cursor = data
    cdef const uint8_t *nested
    cdef uint32_t left = length, nested_left
    cdef int got, code
    while True:
        got = next_attribute(&cursor, &left, &outer)
        if got <= 0:
            return got and DECODE_MALFORMED
        if outer.type == CTA_TUPLE_ZONE:
            if outer.length < 2:
                return DECODE_MALFORMED
            result.zone = load_be16(outer.data)
            zone_given[0] = True
            continue
        if outer.type != CTA_TUPLE_IP and outer.type != CTA_TUPLE_PROTO:
            continue
        nested = outer.data
        nested_left = outer.length
        while True:
            got = next_attribute(&nested, &nested_left, &inner)
            if got == 0:
                break
            if got < 0:
                return DECODE_MALFORMED
            if outer.type == CTA_TUPLE_IP:
                code = decode_address(result, &inner)
            else:
                code = decode_protocol(result, &inner)
            if code < 0:
                return code


cdef int decode_tcp(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    cdef const uint8_t *data = attribute.data
    if attribute.length < 1:
        return DECODE_MALFORMED
    if attribute.type == CTA_PROTOINFO_TCP_STATE:
        flow.tcp_state = data[0]
        put(flow, BIT_TCP_STATE)
    elif attribute.type == CTA_PROTOINFO_TCP_WSCALE_ORIGINAL:
        flow.tcp_window_scale_original = data[0]
        put(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL)
    elif attribute.type == CTA_PROTOINFO_TCP_WSCALE_REPLY:
        flow.tcp_window_scale_reply = data[0]
        put(flow, BIT_TCP_WINDOW_SCALE_REPLY)
    elif attribute.type == CTA_PROTOINFO_TCP_FLAGS_ORIGINAL or attribute.type == CTA_PROTOINFO_TCP_FLAGS_REPLY:
        if attribute.length < 2:
            return DECODE_MALFORMED
        if attribute.type == CTA_PROTOINFO_TCP_FLAGS_ORIGINAL:
            flow.tcp_flags_original = data[0]
            flow.tcp_flags_mask_original = data[1]
            put(flow, BIT_TCP_FLAGS_ORIGINAL)
        else:
            flow.tcp_flags_reply = data[0]
            flow.tcp_flags_mask_reply = data[1]
            put(flow, BIT_TCP_FLAGS_REPLY)
    return 0


cdef int decode_sctp(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    if attribute.type == CTA_PROTOINFO_SCTP_STATE:
        if attribute.length < 1:
            return DECODE_MALFORMED
        flow.sctp_state = attribute.data[0]
        put(flow, BIT_SCTP_STATE)
    elif attribute.type == CTA_PROTOINFO_SCTP_VTAG_ORIGINAL or attribute.type == CTA_PROTOINFO_SCTP_VTAG_REPLY:
        if attribute.length < 4:
            return DECODE_MALFORMED
        if attribute.type == CTA_PROTOINFO_SCTP_VTAG_ORIGINAL:
            flow.sctp_vtag_original = load_be32(attribute.data)
            put(flow, BIT_SCTP_VTAG_ORIGINAL)
        else:
            flow.sctp_vtag_reply = load_be32(attribute.data)
            put(flow, BIT_SCTP_VTAG_REPLY)
    return 0


cdef int decode_dccp(flow_t *flow, const attribute_t *attribute) noexcept nogil:
    if attribute.type == CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ:
        if attribute.length < 8:
            return DECODE_MALFORMED
        flow.dccp_handshake_sequence = load_be64(attribute.data)
        put(flow, BIT_DCCP_HANDSHAKE_SEQUENCE)
        return 0
    if attribute.type != CTA_PROTOINFO_DCCP_STATE and attribute.type != CTA_PROTOINFO_DCCP_ROLE:
        return 0
    if attribute.length < 1:
        return DECODE_MALFORMED
    if attribute.type == CTA_PROTOINFO_DCCP_STATE:
        flow.dccp_state = attribute.data[0]
        put(flow, BIT_DCCP_STATE)
    else:
        flow.dccp_role = attribute.data[0]
        put(flow, BIT_DCCP_ROLE)
    return 0


cdef int decode_protocol_info(flow_t *flow, const uint8_t *data, uint32_t length) noexcept nogil:
    cdef attribute_t outer, inner
    cdef const uint8_t *nested
    cdef uint32_t nested_left
    cdef int got, code
    while True:
        got = next_attribute(&data, &length, &outer)
        if got <= 0:
            return got and DECODE_MALFORMED
        nested = outer.data
        nested_left = outer.length
        while True:
            got = next_attribute(&nested, &nested_left, &inner)
            if got == 0:
                break
            if got < 0:
                return DECODE_MALFORMED
            code = 0
            if outer.type == CTA_PROTOINFO_TCP:
                code = decode_tcp(flow, &inner)
            elif outer.type == CTA_PROTOINFO_SCTP:
                code = decode_sctp(flow, &inner)
            elif outer.type == CTA_PROTOINFO_DCCP:
                code = decode_dccp(flow, &inner)
            if code < 0:
                return code


cdef int decode_counters(const attribute_t *outer, uint64_t *packets, uint64_t *octets) noexcept nogil:
    """The old 32-bit attributes, too, as kernels before 2.6.27 send them."""
    cdef attribute_t inner
    cdef const uint8_t *cursor = outer.data
    cdef uint32_t left = outer.length
    cdef uint64_t value
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got <= 0:
            return got and DECODE_MALFORMED
        if inner.type == CTA_COUNTERS_PACKETS or inner.type == CTA_COUNTERS_BYTES:
            if inner.length < 8:
                return DECODE_MALFORMED
            value = load_be64(inner.data)
        elif inner.type == CTA_COUNTERS32_PACKETS or inner.type == CTA_COUNTERS32_BYTES:
            if inner.length < 4:
                return DECODE_MALFORMED
            value = load_be32(inner.data)
        else:
            continue
        if inner.type == CTA_COUNTERS_PACKETS or inner.type == CTA_COUNTERS32_PACKETS:
            packets[0] = value
        else:
            octets[0] = value


cdef int decode_timestamps(flow_t *flow, const attribute_t *outer) noexcept nogil:
    cdef attribute_t inner
    cdef const uint8_t *cursor = outer.data
    cdef uint32_t left = outer.length
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got <= 0:
            return got and DECODE_MALFORMED
        if inner.type != CTA_TIMESTAMP_START and inner.type != CTA_TIMESTAMP_STOP:
            continue
        if inner.length < 8:
            return DECODE_MALFORMED
        if inner.type == CTA_TIMESTAMP_START:
            flow.timestamp_start = load_be64(inner.data)
            put(flow, BIT_TIMESTAMP_START)
        else:
            flow.timestamp_stop = load_be64(inner.data)
            put(flow, BIT_TIMESTAMP_STOP)


cdef int decode_words(const attribute_t *outer, uint32_t *first, uint32_t *second, uint32_t *third) noexcept nogil:
    """Three 32-bit integers numbered 1 to 3: sequence adjustment and SYN proxy."""
    cdef attribute_t inner
    cdef const uint8_t *cursor = outer.data
    cdef uint32_t left = outer.length
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got <= 0:
            return got and DECODE_MALFORMED
        if inner.type < 1 or inner.type > 3:
            continue
        if inner.length < 4:
            return DECODE_MALFORMED
        if inner.type == 1:
            first[0] = load_be32(inner.data)
        elif inner.type == 2:
            second[0] = load_be32(inner.data)
        else:
            third[0] = load_be32(inner.data)


cdef int decode_text(const attribute_t *attribute, char *out, size_t size) noexcept nogil:
    """A string of at most `size` - 1 characters, zero-terminated or not; a longer one is malformed."""
    cdef size_t length = strnlen(<const char *>attribute.data, attribute.length)
    if length >= size:
        return DECODE_MALFORMED
    memset(out, 0, size)
    memcpy(out, attribute.data, length)
    return 0


cdef int decode_helper(flow_t *flow, const attribute_t *outer) noexcept nogil:
    cdef attribute_t inner
    cdef const uint8_t *cursor = outer.data
    cdef uint32_t left = outer.length
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got <= 0:
            return got and DECODE_MALFORMED
        if inner.type == CTA_HELP_NAME:
            if decode_text(&inner, flow.helper_name, HELPER_NAME_SIZE) < 0:
                return DECODE_MALFORMED
            put(flow, BIT_HELPER_NAME)
        elif inner.type == CTA_HELP_INFO:
            if inner.length > HELPER_INFO_SIZE:
                return DECODE_MALFORMED
            memset(flow.helper_info, 0, HELPER_INFO_SIZE)
            memcpy(flow.helper_info, inner.data, inner.length)
            flow.helper_info_length = inner.length
            put(flow, BIT_HELPER_INFO)


cdef int decode_security_context(flow_t *flow, const attribute_t *outer) noexcept nogil:
    cdef attribute_t inner
    cdef const uint8_t *cursor = outer.data
    cdef uint32_t left = outer.length
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got <= 0:
            return got and DECODE_MALFORMED
        if inner.type == CTA_SECCTX_NAME:
            if decode_text(&inner, flow.security_context, SECURITY_CONTEXT_SIZE) < 0:
                return DECODE_MALFORMED
            put(flow, BIT_SECURITY_CONTEXT)


cdef int decode_nat(flow_t *flow, const attribute_t *outer) noexcept nogil:
    """The kernel only takes these; they are read for what others wrote. Of a range, the lower end counts."""
    cdef attribute_t inner, port
    cdef bint source = outer.type == CTA_NAT_SRC
    cdef uint8_t *address = &flow.source_nat_address[0] if source else &flow.destination_nat_address[0]
    cdef const uint8_t *cursor = outer.data
    cdef const uint8_t *nested
    cdef uint32_t left = outer.length, nested_left
    cdef uint16_t size
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got <= 0:
            return got and DECODE_MALFORMED
        if inner.type == CTA_NAT_V4_MINIP or inner.type == CTA_NAT_V6_MINIP:
            size = 4 if inner.type == CTA_NAT_V4_MINIP else 16
            if inner.length < size:
                return DECODE_MALFORMED
            memset(address, 0, 16)
            memcpy(address, inner.data, size)
            put(flow, BIT_SOURCE_NAT_ADDRESS if source else BIT_DESTINATION_NAT_ADDRESS)
        elif inner.type == CTA_NAT_PROTO:
            nested = inner.data
            nested_left = inner.length
            while True:
                got = next_attribute(&nested, &nested_left, &port)
                if got == 0:
                    break
                if got < 0:
                    return DECODE_MALFORMED
                if port.type != CTA_PROTONAT_PORT_MIN:
                    continue
                if port.length < 2:
                    return DECODE_MALFORMED
                if source:
                    flow.source_nat_port = load_be16(port.data)
                    put(flow, BIT_SOURCE_NAT_PORT)
                else:
                    flow.destination_nat_port = load_be16(port.data)
                    put(flow, BIT_DESTINATION_NAT_PORT)


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
    if decode_tuple(attribute.data, attribute.length, result, &zone_given) < 0 or result.family == 0:
        return DECODE_MALFORMED
    put(flow, bit)
    if zone_given:
        if zone_bit >= 0:
            put(flow, zone_bit)
    return 0


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
    cdef sequence_adjust_t *adjust
    if kind == CTA_TUPLE_ORIG or kind == CTA_TUPLE_REPLY or kind == CTA_TUPLE_MASTER:
        return decode_whole_tuple(flow, attribute)
    if (kind == CTA_STATUS or kind == CTA_TIMEOUT or kind == CTA_MARK or kind == CTA_MARK_MASK
            or kind == CTA_SECMARK or kind == CTA_ID or kind == CTA_USE):
        return decode_word(flow, attribute)
    if kind == CTA_PROTOINFO:
        return decode_protocol_info(flow, attribute.data, attribute.length)
    if kind == CTA_COUNTERS_ORIG:
        put(flow, BIT_COUNTERS_ORIGINAL)
        return decode_counters(attribute, &flow.packets_original, &flow.bytes_original)
    if kind == CTA_COUNTERS_REPLY:
        put(flow, BIT_COUNTERS_REPLY)
        return decode_counters(attribute, &flow.packets_reply, &flow.bytes_reply)
    if kind == CTA_ZONE:
        if attribute.length < 2:
            return DECODE_MALFORMED
        flow.zone = load_be16(attribute.data)
        put(flow, BIT_ZONE)
        return 0
    if kind == CTA_TIMESTAMP:
        return decode_timestamps(flow, attribute)
    if kind == CTA_TIMESTAMP_EVENT:
        if attribute.length < 8:
            return DECODE_MALFORMED
        flow.timestamp_event = load_be64(attribute.data)
        put(flow, BIT_TIMESTAMP_EVENT)
        return 0
    if kind == CTA_LABELS or kind == CTA_LABELS_MASK:
        return decode_labels(flow, attribute)
    if kind == CTA_HELP:
        return decode_helper(flow, attribute)
    if kind == CTA_SECCTX:
        return decode_security_context(flow, attribute)
    if kind == CTA_NAT_SRC or kind == CTA_NAT_DST:
        return decode_nat(flow, attribute)
    if kind == CTA_SEQ_ADJ_ORIG or kind == CTA_SEQ_ADJ_REPLY:
        adjust = &flow.sequence_adjust_original
        if kind == CTA_SEQ_ADJ_REPLY:
            adjust = &flow.sequence_adjust_reply
        put(flow, BIT_SEQUENCE_ADJUST_ORIGINAL if kind == CTA_SEQ_ADJ_ORIG else BIT_SEQUENCE_ADJUST_REPLY)
        return decode_words(attribute, &adjust.position, &adjust.offset_before, &adjust.offset_after)
    if kind == CTA_SYNPROXY:
        put(flow, BIT_SYN_PROXY)
        return decode_words(attribute, &flow.syn_proxy_isn, &flow.syn_proxy_its, &flow.syn_proxy_tsoff)
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
    cursor = message + NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE
    left -= NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE
    while True:
        got = next_attribute(&cursor, &left, &attribute)
        if got == 0:
            return 0
        if got < 0 or decode_attribute(flow, &attribute) < 0:
            return DECODE_MALFORMED


cdef int decode_datagram(const uint8_t *data, uint32_t length, FlowBatch batch, datagram_result_t *result) noexcept nogil:
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
