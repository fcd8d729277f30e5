# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Flow records into requests, and what the kernel takes of a flow.

The layout of every attribute is that of net/netfilter/nf_conntrack_netlink.c and the nf_conntrack_proto_*.c
beside it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *
from pyconntrack.core.wire cimport derive_nat

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t limit)


cdef void put_tuple(writer_t *writer, uint16_t kind, const tuple_t *value, bint with_zone) noexcept nogil:
    cdef uint32_t outer = begin_nest(writer, kind)
    cdef uint32_t nest = begin_nest(writer, CTA_TUPLE_IP)
    if value.family == FAMILY_IPV4:
        put_attribute(writer, CTA_IP_V4_SRC, value.source, 4)
        put_attribute(writer, CTA_IP_V4_DST, value.destination, 4)
    else:
        put_attribute(writer, CTA_IP_V6_SRC, value.source, 16)
        put_attribute(writer, CTA_IP_V6_DST, value.destination, 16)
    end_nest(writer, nest)
    nest = begin_nest(writer, CTA_TUPLE_PROTO)
    put_u8(writer, CTA_PROTO_NUM, value.protocol)
    if protocol_has_ports(value.protocol):
        put_be16(writer, CTA_PROTO_SRC_PORT, value.source_port)
        put_be16(writer, CTA_PROTO_DST_PORT, value.destination_port)
    elif value.protocol == 1:
        put_be16(writer, CTA_PROTO_ICMP_ID, value.icmp_id)
        put_u8(writer, CTA_PROTO_ICMP_TYPE, value.icmp_type)
        put_u8(writer, CTA_PROTO_ICMP_CODE, value.icmp_code)
    elif value.protocol == 58:
        put_be16(writer, CTA_PROTO_ICMPV6_ID, value.icmp_id)
        put_u8(writer, CTA_PROTO_ICMPV6_TYPE, value.icmp_type)
        put_u8(writer, CTA_PROTO_ICMPV6_CODE, value.icmp_code)
    end_nest(writer, nest)
    if with_zone:
        put_be16(writer, CTA_TUPLE_ZONE, value.zone)
    end_nest(writer, outer)


cdef inline void put_tcp_flags(writer_t *writer, uint16_t kind, uint8_t flags, uint8_t mask) noexcept nogil:
    cdef uint8_t value[2]
    value[0] = flags
    value[1] = mask
    put_attribute(writer, kind, value, 2)


cdef void put_tcp(writer_t *writer, const flow_t *flow) noexcept nogil:
    cdef uint32_t nest = begin_nest(writer, CTA_PROTOINFO_TCP)
    if has(flow, BIT_TCP_STATE):
        put_u8(writer, CTA_PROTOINFO_TCP_STATE, flow.tcp_state)
    if has(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL):
        put_u8(writer, CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, flow.tcp_window_scale_original)
    if has(flow, BIT_TCP_WINDOW_SCALE_REPLY):
        put_u8(writer, CTA_PROTOINFO_TCP_WSCALE_REPLY, flow.tcp_window_scale_reply)
    if has(flow, BIT_TCP_FLAGS_ORIGINAL):
        put_tcp_flags(writer, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, flow.tcp_flags_original,
                      flow.tcp_flags_mask_original)
    if has(flow, BIT_TCP_FLAGS_REPLY):
        put_tcp_flags(writer, CTA_PROTOINFO_TCP_FLAGS_REPLY, flow.tcp_flags_reply, flow.tcp_flags_mask_reply)
    end_nest(writer, nest)


cdef void put_sctp(writer_t *writer, const flow_t *flow) noexcept nogil:
    cdef uint32_t nest = begin_nest(writer, CTA_PROTOINFO_SCTP)
    if has(flow, BIT_SCTP_STATE):
        put_u8(writer, CTA_PROTOINFO_SCTP_STATE, flow.sctp_state)
    if has(flow, BIT_SCTP_VTAG_ORIGINAL):
        put_be32(writer, CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, flow.sctp_vtag_original)
    if has(flow, BIT_SCTP_VTAG_REPLY):
        put_be32(writer, CTA_PROTOINFO_SCTP_VTAG_REPLY, flow.sctp_vtag_reply)
    end_nest(writer, nest)


cdef void put_dccp(writer_t *writer, const flow_t *flow) noexcept nogil:
    cdef uint32_t nest = begin_nest(writer, CTA_PROTOINFO_DCCP)
    if has(flow, BIT_DCCP_STATE):
        put_u8(writer, CTA_PROTOINFO_DCCP_STATE, flow.dccp_state)
    if has(flow, BIT_DCCP_ROLE):
        put_u8(writer, CTA_PROTOINFO_DCCP_ROLE, flow.dccp_role)
    if has(flow, BIT_DCCP_HANDSHAKE_SEQUENCE):
        put_be64(writer, CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ, flow.dccp_handshake_sequence)
    end_nest(writer, nest)


cdef enum:
    FIRST_TCP_BIT = BIT_TCP_STATE
    LAST_TCP_BIT = BIT_TCP_WINDOW_SCALE_REPLY
    FIRST_SCTP_BIT = BIT_SCTP_STATE
    LAST_SCTP_BIT = BIT_SCTP_VTAG_REPLY
    FIRST_DCCP_BIT = BIT_DCCP_STATE
    LAST_DCCP_BIT = BIT_DCCP_HANDSHAKE_SEQUENCE


cdef inline bint has_any(const flow_t *flow, int first, int last) noexcept nogil:
    cdef uint64_t mask = (((<uint64_t>1) << (last - first + 1)) - 1) << first
    return (flow.present & mask) != 0


cdef void put_protocol_info(writer_t *writer, const flow_t *flow) noexcept nogil:
    cdef uint32_t nest
    if not has_any(flow, FIRST_TCP_BIT, LAST_DCCP_BIT):
        return
    nest = begin_nest(writer, CTA_PROTOINFO)
    if has_any(flow, FIRST_TCP_BIT, LAST_TCP_BIT):
        put_tcp(writer, flow)
    if has_any(flow, FIRST_SCTP_BIT, LAST_SCTP_BIT):
        put_sctp(writer, flow)
    if has_any(flow, FIRST_DCCP_BIT, LAST_DCCP_BIT):
        put_dccp(writer, flow)
    end_nest(writer, nest)


cdef void put_helper(writer_t *writer, const flow_t *flow) noexcept nogil:
    cdef uint32_t nest
    cdef uint16_t length
    if not has_any(flow, BIT_HELPER_NAME, BIT_HELPER_INFO):
        return
    nest = begin_nest(writer, CTA_HELP)
    if has(flow, BIT_HELPER_NAME):
        length = <uint16_t>strnlen(flow.helper_name, HELPER_NAME_SIZE - 1)
        put_text(writer, CTA_HELP_NAME, flow.helper_name, length)
    if has(flow, BIT_HELPER_INFO):
        length = flow.helper_info_length
        put_attribute(writer, CTA_HELP_INFO, flow.helper_info, min(length, <uint16_t>HELPER_INFO_SIZE))
    end_nest(writer, nest)


cdef inline void put_text(writer_t *writer, uint16_t kind, const char *text, uint16_t length) noexcept nogil:
    """With its zero at the end, whatever follows in the field."""
    cdef char copy[128]
    memcpy(copy, text, length)
    copy[length] = 0
    put_attribute(writer, kind, copy, length + 1)


cdef void put_nat(writer_t *writer, uint16_t kind, uint8_t family, const uint8_t *address, uint16_t port,
                  bint with_address, bint with_port) noexcept nogil:
    cdef uint32_t outer, nest
    if not with_address and not with_port:
        return
    outer = begin_nest(writer, kind)
    if with_address and family == FAMILY_IPV4:
        put_attribute(writer, CTA_NAT_V4_MINIP, address, 4)
        put_attribute(writer, CTA_NAT_V4_MAXIP, address, 4)
    elif with_address:
        put_attribute(writer, CTA_NAT_V6_MINIP, address, 16)
        put_attribute(writer, CTA_NAT_V6_MAXIP, address, 16)
    if with_port:
        nest = begin_nest(writer, CTA_NAT_PROTO)
        put_be16(writer, CTA_PROTONAT_PORT_MIN, port)
        put_be16(writer, CTA_PROTONAT_PORT_MAX, port)
        end_nest(writer, nest)
    end_nest(writer, outer)


cdef void put_words(writer_t *writer, uint16_t kind, uint32_t first, uint32_t second,
                    uint32_t third) noexcept nogil:
    cdef uint32_t nest = begin_nest(writer, kind)
    put_be32(writer, 1, first)
    put_be32(writer, 2, second)
    put_be32(writer, 3, third)
    end_nest(writer, nest)


cdef void put_rare(writer_t *writer, const flow_t *flow, uint8_t family) noexcept nogil:
    """What most flows do not have."""
    cdef uint16_t length
    if has(flow, BIT_MASTER):
        put_tuple(writer, CTA_TUPLE_MASTER, &flow.master, False)
    put_helper(writer, flow)
    put_nat(writer, CTA_NAT_SRC, family, flow.source_nat_address, flow.source_nat_port,
            has(flow, BIT_SOURCE_NAT_ADDRESS), has(flow, BIT_SOURCE_NAT_PORT))
    put_nat(writer, CTA_NAT_DST, family, flow.destination_nat_address, flow.destination_nat_port,
            has(flow, BIT_DESTINATION_NAT_ADDRESS), has(flow, BIT_DESTINATION_NAT_PORT))
    if has(flow, BIT_SEQUENCE_ADJUST_ORIGINAL):
        put_words(writer, CTA_SEQ_ADJ_ORIG, flow.sequence_adjust_original.position,
                  flow.sequence_adjust_original.offset_before, flow.sequence_adjust_original.offset_after)
    if has(flow, BIT_SEQUENCE_ADJUST_REPLY):
        put_words(writer, CTA_SEQ_ADJ_REPLY, flow.sequence_adjust_reply.position,
                  flow.sequence_adjust_reply.offset_before, flow.sequence_adjust_reply.offset_after)
    if has(flow, BIT_SYN_PROXY):
        put_words(writer, CTA_SYNPROXY, flow.syn_proxy_isn, flow.syn_proxy_its, flow.syn_proxy_tsoff)
    if has(flow, BIT_LABELS):
        # The kernel passes over labels that are no whole words of 32 bits.
        length = (min(flow.labels_length, <uint8_t>LABELS_SIZE) + 3) & ~3
        put_attribute(writer, CTA_LABELS, flow.labels, length)
        if has(flow, BIT_LABELS_MASK):
            put_attribute(writer, CTA_LABELS_MASK, flow.labels_mask, length)


cdef inline void put_names(writer_t *writer, const flow_t *flow, int command) noexcept nogil:
    """What says which flow is meant."""
    if has(flow, BIT_ORIGINAL):
        put_tuple(writer, CTA_TUPLE_ORIG, &flow.original, has(flow, BIT_ORIGINAL_ZONE))
    if has(flow, BIT_REPLY) and (command == IPCTNL_MSG_CT_NEW or not has(flow, BIT_ORIGINAL)):
        put_tuple(writer, CTA_TUPLE_REPLY, &flow.reply, has(flow, BIT_REPLY_ZONE))
    if command == IPCTNL_MSG_CT_DELETE and not has(flow, BIT_ORIGINAL) and not has(flow, BIT_REPLY):
        # A deletion without a tuple is one of the whole table, or of the zone: an empty tuple is refused.
        end_nest(writer, begin_nest(writer, CTA_TUPLE_ORIG))
    if has(flow, BIT_ZONE):
        put_be16(writer, CTA_ZONE, flow.zone)
    if command == IPCTNL_MSG_CT_DELETE and has(flow, BIT_ID):
        put_be32(writer, CTA_ID, flow.id)


cdef uint32_t encode_flow(const flow_t *flow, int command, uint16_t flags, uint32_t sequence, uint8_t *out,
                          uint32_t capacity) noexcept nogil:
    cdef writer_t writer
    cdef uint8_t family = flow.original.family if has(flow, BIT_ORIGINAL) else flow.reply.family
    start_writer(&writer, out, capacity)
    put_header(&writer, <uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | command), flags | NLM_F_REQUEST, sequence,
               family)
    put_names(&writer, flow, command)
    if command != IPCTNL_MSG_CT_NEW:
        return finish_message(&writer)
    if has(flow, BIT_STATUS):
        put_be32(&writer, CTA_STATUS, flow.status)
    if has(flow, BIT_TIMEOUT):
        put_be32(&writer, CTA_TIMEOUT, flow.timeout)
    if has(flow, BIT_MARK):
        put_be32(&writer, CTA_MARK, flow.mark)
    if has(flow, BIT_MARK_MASK):
        put_be32(&writer, CTA_MARK_MASK, flow.mark_mask)
    put_protocol_info(&writer, flow)
    if has(flow, BIT_MASTER) or has_any(flow, BIT_HELPER_NAME, BIT_LABELS_MASK):
        put_rare(&writer, flow, family)
    return finish_message(&writer)


# What the kernel takes.

cdef enum:
    # The other bits of CTA_STATUS are refused or ignored in a new flow.
    STATUS_SETTABLE = IPS_SEEN_REPLY | IPS_ASSURED | IPS_FIXED_TIMEOUT | IPS_HELPER
    # Window scale, SACK, who closed first, liberal. The other flags speak of numbers that a new flow does not
    # have.
    TCP_FLAGS_SETTABLE = 0x0f


cdef void choose_tcp_flags(flow_t *flow) noexcept nogil:
    """Flags that were read from a kernel come with an empty mask, which would set none of them."""
    if flow.tcp_flags_mask_original == 0:
        flow.tcp_flags_mask_original = TCP_FLAGS_SETTABLE
    if flow.tcp_flags_mask_reply == 0:
        flow.tcp_flags_mask_reply = TCP_FLAGS_SETTABLE


cdef void prepare_create(flow_t *flow) noexcept nogil:
    cdef uint16_t reply_zone = flow.reply.zone
    if not has_any(flow, BIT_SOURCE_NAT_ADDRESS, BIT_DESTINATION_NAT_PORT):
        derive_nat(flow)
    invert_tuple(&flow.original, &flow.reply)
    flow.reply.zone = reply_zone
    put(flow, BIT_REPLY)
    drop(flow, BIT_ID)
    if has(flow, BIT_STATUS):
        flow.status = (flow.status & STATUS_SETTABLE) | IPS_CONFIRMED
    if has_any(flow, BIT_TCP_FLAGS_ORIGINAL, BIT_TCP_FLAGS_REPLY):
        choose_tcp_flags(flow)


cdef void prepare_update(flow_t *flow) noexcept nogil:
    cdef int bit
    for bit in range(BIT_SOURCE_NAT_ADDRESS, BIT_DESTINATION_NAT_PORT + 1):
        drop(flow, bit)
    drop(flow, BIT_MASTER)
    if has(flow, BIT_STATUS):
        flow.status = (flow.status & ~<uint32_t>IPS_DYING) | IPS_CONFIRMED
