# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Selections into requests: what the kernel can tell apart of them (net/netfilter/nf_conntrack_netlink.c)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from pyconntrack.core.match cimport match_t
from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *

cdef enum:
    IPPROTO_ICMP = 1
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_ICMPV6 = 58


cdef bint is_all(const uint8_t *bytes, uint8_t value, uint8_t family) noexcept nogil:
    cdef int i
    for i in range(address_size(family)):
        if bytes[i] != value:
            return False
    return True


cdef uint32_t whole_addresses(const match_t *match, bint original) noexcept nogil:
    """Which addresses of IPv4 are compared in all bits."""
    cdef uint32_t whole = 0
    if original:
        if is_all(match.source_mask, 0xff, FAMILY_IPV4):
            whole |= CTA_FILTER_F_IP_SRC
        if is_all(match.destination_mask, 0xff, FAMILY_IPV4):
            whole |= CTA_FILTER_F_IP_DST
        return whole
    if is_all(match.reply_source_ignored, 0, FAMILY_IPV4):
        whole |= CTA_FILTER_F_IP_SRC
    if is_all(match.reply_destination_ignored, 0, FAMILY_IPV4):
        whole |= CTA_FILTER_F_IP_DST
    return whole


cdef uint32_t kernel_fields(const match_t *match, bint original) noexcept nogil:
    """The fields of a tuple that the kernel compares as we do (ctnetlink_filter_match_tuple).

    It wants the family, and the protocol with the fields of a protocol. It compares ports of TCP and UDP
    only. Of IPv6, it leaves out (up to Linux 6.18 at least) just the addresses that are equal.
    """
    cdef const tuple_t *wanted = &match.wanted.original if original else &match.wanted.reply
    cdef uint32_t fields = match.original_fields if original else match.reply_fields
    cdef uint32_t known = CTA_FILTER_F_PROTO_NUM
    if match.family == 0:
        return 0
    if match.family == FAMILY_IPV4 and wanted.family == FAMILY_IPV4:
        known |= whole_addresses(match, original)
    if fields & CTA_FILTER_F_PROTO_NUM:
        if wanted.protocol == IPPROTO_TCP or wanted.protocol == IPPROTO_UDP:
            known |= FIELDS_PORTS
        elif wanted.protocol == IPPROTO_ICMP:
            known |= FIELDS_ICMP
        elif wanted.protocol == IPPROTO_ICMPV6:
            known |= FIELDS_ICMPV6
    return fields & known


cdef void put_fields(writer_t *writer, uint16_t kind, const tuple_t *value, uint32_t fields) noexcept nogil:
    cdef uint32_t outer = begin_nest(writer, kind)
    cdef uint32_t nest
    if fields & FIELDS_ADDRESSES:
        nest = begin_nest(writer, CTA_TUPLE_IP)
        if fields & CTA_FILTER_F_IP_SRC:
            put_attribute(writer, CTA_IP_V4_SRC, value.source, 4)
        if fields & CTA_FILTER_F_IP_DST:
            put_attribute(writer, CTA_IP_V4_DST, value.destination, 4)
        end_nest(writer, nest)
    if fields & CTA_FILTER_F_PROTO_NUM:
        nest = begin_nest(writer, CTA_TUPLE_PROTO)
        put_u8(writer, CTA_PROTO_NUM, value.protocol)
        if fields & CTA_FILTER_F_SRC_PORT:
            put_be16(writer, CTA_PROTO_SRC_PORT, value.source_port)
        if fields & CTA_FILTER_F_DST_PORT:
            put_be16(writer, CTA_PROTO_DST_PORT, value.destination_port)
        put_icmp_fields(writer, value, fields)
        end_nest(writer, nest)
    end_nest(writer, outer)


cdef void put_icmp_fields(writer_t *writer, const tuple_t *value, uint32_t fields) noexcept nogil:
    if fields & CTA_FILTER_F_ICMP_ID:
        put_be16(writer, CTA_PROTO_ICMP_ID, value.icmp_id)
    if fields & CTA_FILTER_F_ICMP_TYPE:
        put_u8(writer, CTA_PROTO_ICMP_TYPE, value.icmp_type)
    if fields & CTA_FILTER_F_ICMP_CODE:
        put_u8(writer, CTA_PROTO_ICMP_CODE, value.icmp_code)
    if fields & CTA_FILTER_F_ICMPV6_ID:
        put_be16(writer, CTA_PROTO_ICMPV6_ID, value.icmp_id)
    if fields & CTA_FILTER_F_ICMPV6_TYPE:
        put_u8(writer, CTA_PROTO_ICMPV6_TYPE, value.icmp_type)
    if fields & CTA_FILTER_F_ICMPV6_CODE:
        put_u8(writer, CTA_PROTO_ICMPV6_CODE, value.icmp_code)


cdef void put_conditions(writer_t *writer, const match_t *match) noexcept nogil:
    cdef const flow_t *wanted = &match.wanted
    cdef uint32_t original, reply, nest, status_set
    if has(wanted, BIT_MARK):
        put_be32(writer, CTA_MARK, wanted.mark)
        put_be32(writer, CTA_MARK_MASK, wanted.mark_mask if has(wanted, BIT_MARK_MASK) else 0xffffffff)
    status_set = wanted.status if has(wanted, BIT_STATUS) else 0
    if status_set | match.status_unset:
        put_be32(writer, CTA_STATUS, status_set)
        put_be32(writer, CTA_STATUS_MASK, status_set | match.status_unset)
    if has(wanted, BIT_ZONE) and wanted.zone:
        # Linux 6.8 and newer give the flows of this zone in one direction at least; of zone 0, all.
        put_be16(writer, CTA_ZONE, wanted.zone)
    original = kernel_fields(match, True)
    reply = kernel_fields(match, False)
    if original == 0 and reply == 0:
        return
    if original:
        put_fields(writer, CTA_TUPLE_ORIG, &wanted.original, original)
    if reply:
        put_fields(writer, CTA_TUPLE_REPLY, &wanted.reply, reply)
    nest = begin_nest(writer, CTA_FILTER)
    put_u32(writer, CTA_FILTER_ORIG_FLAGS, original)
    put_u32(writer, CTA_FILTER_REPLY_FLAGS, reply)
    end_nest(writer, nest)


cdef uint32_t encode_match(const match_t *match, int command, int flags, uint32_t sequence, uint8_t *out,
                           uint32_t capacity) noexcept nogil:
    cdef writer_t writer
    start_writer(&writer, out, capacity)
    put_header(&writer, <uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | command), <uint16_t>(flags | NLM_F_REQUEST),
               sequence, match.family)
    if command == IPCTNL_MSG_CT_DELETE and match.family and not writer.failed:
        # A flush looks at the family only in a message of this version; a dump looks always.
        out[NETLINK_HEADER_SIZE + 1] = 1
    put_conditions(&writer, match)
    return finish_message(&writer)


cdef bint kernel_decides(const match_t *match) noexcept nogil:
    cdef uint64_t one = 1
    cdef uint64_t known = (one << BIT_MARK | one << BIT_MARK_MASK | one << BIT_STATUS | one << BIT_ORIGINAL
                           | one << BIT_REPLY)
    return (match.wanted.present & ~known == 0 and match.translation == 0
            and kernel_fields(match, True) == match.original_fields
            and kernel_fields(match, False) == match.reply_fields)
