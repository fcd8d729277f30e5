# SPDX-License-Identifier: GPL-2.0-or-later
"""The flow record: one flow in transit, every attribute that ctnetlink or the wire can carry, at a fixed size.

Declared here and nowhere else. Batches are arrays of it, both codecs read and write it; tables do not store it, they store
the message that would be sent. Integers are in host byte order, addresses in network byte order, an IPv4 address in the
first four bytes of its field with the rest zero. A field counts only where its bit in `present` says so; `clear_flow`
zeroes the record, so that equal flows are equal bytes.

Sources: linux/netfilter/nfnetlink_conntrack.h, linux/netfilter/nf_conntrack_common.h, linux/netfilter/nf_conntrack_tcp.h.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    HELPER_NAME_SIZE = 16      # NF_CT_HELPER_NAME_LEN
    HELPER_INFO_SIZE = 32      # NF_CT_HELPER private data
    LABELS_SIZE = 16           # NF_CT_LABELS_MAX_SIZE
    SECURITY_CONTEXT_SIZE = 128

cdef enum:
    FAMILY_IPV4 = 2            # AF_INET
    FAMILY_IPV6 = 10           # AF_INET6

# What happened to the flow, in a record that came as an event.
cdef enum:
    EVENT_NONE = 0             # from a dump, or made by hand
    EVENT_NEW = 1
    EVENT_UPDATE = 2
    EVENT_DESTROY = 3

# Bits of `present`.
cdef enum:
    BIT_ORIGINAL = 0           # original: addresses, protocol, ports or ICMP fields
    BIT_REPLY = 1
    BIT_MASTER = 2
    BIT_STATUS = 3
    BIT_TIMEOUT = 4
    BIT_MARK = 5
    BIT_MARK_MASK = 6
    BIT_SECMARK = 7
    BIT_SECURITY_CONTEXT = 8
    BIT_ID = 9
    BIT_USE = 10
    BIT_ZONE = 11              # of both directions
    BIT_ORIGINAL_ZONE = 12     # original.zone: CTA_TUPLE_ZONE of that direction only
    BIT_REPLY_ZONE = 13
    BIT_TCP_STATE = 14
    BIT_TCP_FLAGS_ORIGINAL = 15
    BIT_TCP_FLAGS_REPLY = 16
    BIT_TCP_WINDOW_SCALE_ORIGINAL = 17
    BIT_TCP_WINDOW_SCALE_REPLY = 18
    BIT_SCTP_STATE = 19
    BIT_SCTP_VTAG_ORIGINAL = 20
    BIT_SCTP_VTAG_REPLY = 21
    BIT_DCCP_STATE = 22
    BIT_DCCP_ROLE = 23
    BIT_DCCP_HANDSHAKE_SEQUENCE = 24
    BIT_COUNTERS_ORIGINAL = 25
    BIT_COUNTERS_REPLY = 26
    BIT_TIMESTAMP_START = 27
    BIT_TIMESTAMP_STOP = 28
    BIT_TIMESTAMP_EVENT = 29
    BIT_HELPER_NAME = 30
    BIT_HELPER_INFO = 31
    BIT_SOURCE_NAT_ADDRESS = 32
    BIT_SOURCE_NAT_PORT = 33
    BIT_DESTINATION_NAT_ADDRESS = 34
    BIT_DESTINATION_NAT_PORT = 35
    BIT_SEQUENCE_ADJUST_ORIGINAL = 36
    BIT_SEQUENCE_ADJUST_REPLY = 37
    BIT_SYN_PROXY = 38
    BIT_LABELS = 39
    BIT_LABELS_MASK = 40
    BIT_ORIGIN = 41

cdef struct tuple_t:           # 44 bytes
    uint8_t source[16]
    uint8_t destination[16]
    uint16_t source_port       # TCP, UDP, UDP-Lite, SCTP, DCCP; the key of GRE
    uint16_t destination_port
    uint16_t icmp_id           # ICMP and ICMPv6
    uint8_t icmp_type
    uint8_t icmp_code
    uint8_t family             # FAMILY_IPV4 or FAMILY_IPV6
    uint8_t protocol           # IPPROTO_*
    uint16_t zone

cdef struct sequence_adjust_t: # 12 bytes
    uint32_t position
    uint32_t offset_before
    uint32_t offset_after

cdef struct flow_t:
    uint64_t present
    tuple_t original
    tuple_t reply
    tuple_t master
    uint32_t status            # IPS_*
    uint32_t timeout           # seconds
    uint32_t mark
    uint32_t mark_mask
    uint32_t secmark
    uint32_t id
    uint32_t use
    uint32_t origin            # netlink port id of the process that caused the event; the kernel itself has none
    uint16_t zone
    uint8_t event              # EVENT_*
    uint8_t tcp_state          # TCP_CONNTRACK_*
    uint8_t tcp_flags_original     # IP_CT_TCP_FLAG_*
    uint8_t tcp_flags_mask_original
    uint8_t tcp_flags_reply
    uint8_t tcp_flags_mask_reply
    uint8_t tcp_window_scale_original
    uint8_t tcp_window_scale_reply
    uint8_t sctp_state
    uint8_t dccp_state
    uint8_t dccp_role
    uint8_t labels_length      # bytes of labels in use
    uint16_t helper_info_length
    uint32_t sctp_vtag_original
    uint32_t sctp_vtag_reply
    uint64_t dccp_handshake_sequence
    uint64_t packets_original
    uint64_t bytes_original
    uint64_t packets_reply
    uint64_t bytes_reply
    uint64_t timestamp_start   # nanoseconds since the epoch
    uint64_t timestamp_stop
    uint64_t timestamp_event
    uint8_t source_nat_address[16]       # what the source becomes
    uint8_t destination_nat_address[16]
    uint16_t source_nat_port             # of ICMP, the id
    uint16_t destination_nat_port
    sequence_adjust_t sequence_adjust_original
    sequence_adjust_t sequence_adjust_reply
    uint32_t syn_proxy_isn
    uint32_t syn_proxy_its
    uint32_t syn_proxy_tsoff
    uint8_t labels[16]
    uint8_t labels_mask[16]
    char helper_name[16]       # zero-terminated
    uint8_t helper_info[32]
    char security_context[128] # zero-terminated


cdef inline bint has(const flow_t *flow, int bit) noexcept nogil:
    return (flow.present >> bit) & 1


cdef inline void put(flow_t *flow, int bit) noexcept nogil:
    flow.present |= (<uint64_t>1) << bit


cdef inline void drop(flow_t *flow, int bit) noexcept nogil:
    flow.present &= ~((<uint64_t>1) << bit)


cdef inline void clear_flow(flow_t *flow) noexcept nogil:
    memset(flow, 0, sizeof(flow_t))


cdef inline int address_size(uint8_t family) noexcept nogil:
    return 4 if family == FAMILY_IPV4 else 16


cdef inline bint protocol_has_ports(uint8_t protocol) noexcept nogil:
    """TCP, UDP, DCCP, SCTP, UDP-Lite, and GRE, whose keys ctnetlink carries as ports."""
    return (protocol == 6 or protocol == 17 or protocol == 33 or protocol == 132
            or protocol == 136 or protocol == 47)


cdef inline bint protocol_is_icmp(uint8_t protocol) noexcept nogil:
    return protocol == 1 or protocol == 58


cdef inline uint8_t icmp_reply_type(uint8_t protocol, uint8_t icmp_type) noexcept nogil:
    """The type that answers an ICMP request, as nf_conntrack_proto_icmp.c and _icmpv6.c invert it; others stay."""
    if protocol == 1:
        if icmp_type == 8: return 0
        if icmp_type == 0: return 8
        if icmp_type == 13: return 14
        if icmp_type == 14: return 13
        if icmp_type == 15: return 16
        if icmp_type == 16: return 15
        if icmp_type == 17: return 18
        if icmp_type == 18: return 17
        return icmp_type
    if icmp_type == 128: return 129
    if icmp_type == 129: return 128
    if icmp_type == 139: return 140
    if icmp_type == 140: return 139
    return icmp_type


cdef inline void invert_tuple(const tuple_t *from_, tuple_t *to) noexcept nogil:
    """The plain inverse: what the reply direction looks like where nothing is translated."""
    memset(to, 0, sizeof(tuple_t))
    memcpy(to.source, from_.destination, 16)
    memcpy(to.destination, from_.source, 16)
    to.source_port = from_.destination_port
    to.destination_port = from_.source_port
    to.family = from_.family
    to.protocol = from_.protocol
    if protocol_is_icmp(from_.protocol):
        to.icmp_type = icmp_reply_type(from_.protocol, from_.icmp_type)
        to.icmp_code = from_.icmp_code
        to.icmp_id = from_.icmp_id
