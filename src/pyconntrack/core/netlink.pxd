# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink messages and attributes, read and written with every bound checked; the numbers of ctnetlink.

The numbers are declared here and not taken from the machine's headers, which may be older than its kernel.
Sources: linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "<endian.h>" nogil:
    uint16_t be16toh(uint16_t)
    uint32_t be32toh(uint32_t)
    uint64_t be64toh(uint64_t)
    uint16_t htobe16(uint16_t)
    uint32_t htobe32(uint32_t)
    uint64_t htobe64(uint64_t)

cdef enum:
    NETLINK_HEADER_SIZE = 16
    NETFILTER_HEADER_SIZE = 4      # nfgenmsg: family, version, resource id
    ATTRIBUTE_HEADER_SIZE = 4

    NLMSG_NOOP = 1
    NLMSG_ERROR = 2
    NLMSG_DONE = 3
    NLMSG_OVERRUN = 4

    NLM_F_REQUEST = 0x0001
    NLM_F_MULTI = 0x0002
    NLM_F_ACK = 0x0004
    NLM_F_ECHO = 0x0008
    NLM_F_DUMP_INTR = 0x0010
    NLM_F_DUMP = 0x0300            # ROOT | MATCH
    NLM_F_REPLACE = 0x0100
    NLM_F_EXCL = 0x0200
    NLM_F_CREATE = 0x0400
    NLM_F_CAPPED = 0x0100          # in an acknowledgement: the request's payload is left out
    NLM_F_ACK_TLVS = 0x0200        # in an acknowledgement: attributes follow

    NLMSGERR_ATTR_MSG = 1

    NLA_F_NESTED = 0x8000
    NLA_TYPE_MASK = 0x3fff         # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

    NFNETLINK_V0 = 0
    NFNL_SUBSYS_CTNETLINK = 1
    NFNL_SUBSYS_CTNETLINK_EXP = 2

cdef enum:                         # cntl_msg_types
    IPCTNL_MSG_CT_NEW = 0
    IPCTNL_MSG_CT_GET = 1
    IPCTNL_MSG_CT_DELETE = 2
    IPCTNL_MSG_CT_GET_CTRZERO = 3
    IPCTNL_MSG_CT_GET_STATS_CPU = 4
    IPCTNL_MSG_CT_GET_STATS = 5
    IPCTNL_MSG_CT_GET_DYING = 6
    IPCTNL_MSG_CT_GET_UNCONFIRMED = 7

cdef enum:                         # ctnl_exp_msg_types
    IPCTNL_MSG_EXP_NEW = 0
    IPCTNL_MSG_EXP_GET = 1
    IPCTNL_MSG_EXP_DELETE = 2
    IPCTNL_MSG_EXP_GET_STATS_CPU = 3

cdef enum:                         # ctattr_type
    CTA_TUPLE_ORIG = 1
    CTA_TUPLE_REPLY = 2
    CTA_STATUS = 3
    CTA_PROTOINFO = 4
    CTA_HELP = 5
    CTA_NAT_SRC = 6
    CTA_TIMEOUT = 7
    CTA_MARK = 8
    CTA_COUNTERS_ORIG = 9
    CTA_COUNTERS_REPLY = 10
    CTA_USE = 11
    CTA_ID = 12
    CTA_NAT_DST = 13
    CTA_TUPLE_MASTER = 14
    CTA_SEQ_ADJ_ORIG = 15
    CTA_SEQ_ADJ_REPLY = 16
    CTA_SECMARK = 17
    CTA_ZONE = 18
    CTA_SECCTX = 19
    CTA_TIMESTAMP = 20
    CTA_MARK_MASK = 21
    CTA_LABELS = 22
    CTA_LABELS_MASK = 23
    CTA_SYNPROXY = 24
    CTA_FILTER = 25
    CTA_STATUS_MASK = 26
    CTA_TIMESTAMP_EVENT = 27

cdef enum:                         # ctattr_tuple
    CTA_TUPLE_IP = 1
    CTA_TUPLE_PROTO = 2
    CTA_TUPLE_ZONE = 3

cdef enum:                         # ctattr_ip
    CTA_IP_V4_SRC = 1
    CTA_IP_V4_DST = 2
    CTA_IP_V6_SRC = 3
    CTA_IP_V6_DST = 4

cdef enum:                         # ctattr_l4proto
    CTA_PROTO_NUM = 1
    CTA_PROTO_SRC_PORT = 2
    CTA_PROTO_DST_PORT = 3
    CTA_PROTO_ICMP_ID = 4
    CTA_PROTO_ICMP_TYPE = 5
    CTA_PROTO_ICMP_CODE = 6
    CTA_PROTO_ICMPV6_ID = 7
    CTA_PROTO_ICMPV6_TYPE = 8
    CTA_PROTO_ICMPV6_CODE = 9

cdef enum:                         # ctattr_protoinfo and what it nests
    CTA_PROTOINFO_TCP = 1
    CTA_PROTOINFO_DCCP = 2
    CTA_PROTOINFO_SCTP = 3
    CTA_PROTOINFO_TCP_STATE = 1
    CTA_PROTOINFO_TCP_WSCALE_ORIGINAL = 2
    CTA_PROTOINFO_TCP_WSCALE_REPLY = 3
    CTA_PROTOINFO_TCP_FLAGS_ORIGINAL = 4
    CTA_PROTOINFO_TCP_FLAGS_REPLY = 5
    CTA_PROTOINFO_DCCP_STATE = 1
    CTA_PROTOINFO_DCCP_ROLE = 2
    CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ = 3
    CTA_PROTOINFO_SCTP_STATE = 1
    CTA_PROTOINFO_SCTP_VTAG_ORIGINAL = 2
    CTA_PROTOINFO_SCTP_VTAG_REPLY = 3

cdef enum:                         # the other nests
    CTA_COUNTERS_PACKETS = 1
    CTA_COUNTERS_BYTES = 2
    CTA_COUNTERS32_PACKETS = 3
    CTA_COUNTERS32_BYTES = 4
    CTA_TIMESTAMP_START = 1
    CTA_TIMESTAMP_STOP = 2
    CTA_NAT_V4_MINIP = 1
    CTA_NAT_V4_MAXIP = 2
    CTA_NAT_PROTO = 3
    CTA_NAT_V6_MINIP = 4
    CTA_NAT_V6_MAXIP = 5
    CTA_PROTONAT_PORT_MIN = 1
    CTA_PROTONAT_PORT_MAX = 2
    CTA_SEQADJ_CORRECTION_POS = 1
    CTA_SEQADJ_OFFSET_BEFORE = 2
    CTA_SEQADJ_OFFSET_AFTER = 3
    CTA_SYNPROXY_ISN = 1
    CTA_SYNPROXY_ITS = 2
    CTA_SYNPROXY_TSOFF = 3
    CTA_HELP_NAME = 1
    CTA_HELP_INFO = 2
    CTA_SECCTX_NAME = 1
    CTA_FILTER_ORIG_FLAGS = 1
    CTA_FILTER_REPLY_FLAGS = 2

cdef enum:                         # CTA_FILTER flags, net/netfilter/nf_conntrack_netlink.c
    CTA_FILTER_F_IP_SRC = 0x001
    CTA_FILTER_F_IP_DST = 0x002
    CTA_FILTER_F_TUPLE_ZONE = 0x004
    CTA_FILTER_F_PROTO_NUM = 0x008
    CTA_FILTER_F_SRC_PORT = 0x010
    CTA_FILTER_F_DST_PORT = 0x020
    CTA_FILTER_F_ICMP_TYPE = 0x040
    CTA_FILTER_F_ICMP_CODE = 0x080
    CTA_FILTER_F_ICMP_ID = 0x100
    CTA_FILTER_F_ICMPV6_TYPE = 0x200
    CTA_FILTER_F_ICMPV6_CODE = 0x400
    CTA_FILTER_F_ICMPV6_ID = 0x800

cdef enum:                         # IPS_*, nf_conntrack_common.h
    IPS_EXPECTED = 0x0001
    IPS_SEEN_REPLY = 0x0002
    IPS_ASSURED = 0x0004
    IPS_CONFIRMED = 0x0008
    IPS_SRC_NAT = 0x0010
    IPS_DST_NAT = 0x0020
    IPS_SEQ_ADJUST = 0x0040
    IPS_SRC_NAT_DONE = 0x0080
    IPS_DST_NAT_DONE = 0x0100
    IPS_DYING = 0x0200
    IPS_FIXED_TIMEOUT = 0x0400
    IPS_TEMPLATE = 0x0800
    IPS_UNTRACKED = 0x1000
    IPS_HELPER = 0x2000
    IPS_OFFLOAD = 0x4000
    IPS_HW_OFFLOAD = 0x8000

# Reading.

cdef struct message_t:             # nlmsghdr, and where its payload is
    uint32_t length                # header included
    uint16_t type
    uint16_t flags
    uint32_t sequence
    uint32_t port
    const uint8_t *start           # of the header

cdef struct attribute_t:
    const uint8_t *data
    uint16_t type                  # without the two flag bits
    uint16_t length                # of the data


cdef inline uint16_t load16(const uint8_t *data) noexcept nogil:
    """A 16-bit integer in host byte order, at any alignment."""
    cdef uint16_t value
    memcpy(&value, data, 2)
    return value


cdef inline uint32_t load32(const uint8_t *data) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, data, 4)
    return value


cdef inline uint16_t load_be16(const uint8_t *data) noexcept nogil:
    return be16toh(load16(data))


cdef inline uint32_t load_be32(const uint8_t *data) noexcept nogil:
    return be32toh(load32(data))


cdef inline uint64_t load_be64(const uint8_t *data) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, data, 8)
    return be64toh(value)


cdef inline uint32_t align4(uint32_t length) noexcept nogil:
    return (length + 3) & ~<uint32_t>3


cdef inline int next_message(const uint8_t **cursor, uint32_t *left, message_t *message) noexcept nogil:
    """The next message of a datagram.

    1 and `cursor`, `left` moved past it; 0 at the end; -1 where its length is a lie.
    """
    cdef uint32_t step
    cdef const uint8_t *start = cursor[0]
    if left[0] < NETLINK_HEADER_SIZE:
        return 0 if left[0] == 0 else -1
    message.length = load32(start)
    if message.length < NETLINK_HEADER_SIZE or message.length > left[0]:
        return -1
    message.type = load16(start + 4)
    message.flags = load16(start + 6)
    message.sequence = load32(start + 8)
    message.port = load32(start + 12)
    message.start = start
    step = align4(message.length)
    if step > left[0]:
        step = left[0]
    cursor[0] = start + step
    left[0] -= step
    return 1


cdef inline int next_attribute(const uint8_t **cursor, uint32_t *left, attribute_t *attribute) noexcept nogil:
    """The next attribute: 1, 0 at the end, -1 where its length runs past the end or is shorter than its
    header.

    Up to three bytes behind the last one are padding, as for the kernel's nla_ok.
    """
    cdef uint32_t length, step
    cdef const uint8_t *start = cursor[0]
    if left[0] < ATTRIBUTE_HEADER_SIZE:
        return 0
    length = load16(start)
    if length < ATTRIBUTE_HEADER_SIZE or length > left[0]:
        return -1
    attribute.type = load16(start + 2) & NLA_TYPE_MASK
    attribute.length = <uint16_t>(length - ATTRIBUTE_HEADER_SIZE)
    attribute.data = start + ATTRIBUTE_HEADER_SIZE
    step = align4(length)
    if step > left[0]:
        step = left[0]
    cursor[0] = start + step
    left[0] -= step
    return 1

# Writing. The first thing that does not fit sets `failed`; what follows it is left out, and finish_message
# gives 0.

cdef struct writer_t:
    uint8_t *data
    uint32_t length
    uint32_t capacity
    bint failed


cdef inline void start_writer(writer_t *writer, uint8_t *data, uint32_t capacity) noexcept nogil:
    writer.data = data
    writer.length = 0
    writer.capacity = capacity
    writer.failed = False


cdef inline uint8_t *take(writer_t *writer, uint32_t size) noexcept nogil:
    """Room for `size` bytes at the end, or NULL."""
    cdef uint8_t *room
    if writer.failed or size > writer.capacity - writer.length:
        writer.failed = True
        return NULL
    room = writer.data + writer.length
    writer.length += size
    return room


cdef inline void store16(uint8_t *out, uint16_t value) noexcept nogil:
    memcpy(out, &value, 2)


cdef inline void store32(uint8_t *out, uint32_t value) noexcept nogil:
    memcpy(out, &value, 4)


cdef inline void put_header(writer_t *writer, uint16_t type, uint16_t flags, uint32_t sequence,
                            uint8_t family) noexcept nogil:
    """nlmsghdr and nfgenmsg; the length is set by finish_message. `type` is subsystem << 8 | command."""
    cdef uint8_t *room = take(writer, NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE)
    if room == NULL:
        return
    memset(room, 0, NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE)
    store16(room + 4, type)
    store16(room + 6, flags)
    store32(room + 8, sequence)
    room[16] = family
    room[17] = NFNETLINK_V0


cdef inline uint32_t finish_message(writer_t *writer) noexcept nogil:
    """Write the length of the one message in `writer` and return it; 0 where something did not fit."""
    if writer.failed:
        return 0
    store32(writer.data, writer.length)
    return writer.length


cdef inline void put_attribute(writer_t *writer, uint16_t type, const void *value,
                               uint16_t length) noexcept nogil:
    cdef uint32_t padded = align4(length)
    cdef uint8_t *room = take(writer, ATTRIBUTE_HEADER_SIZE + padded)
    if room == NULL:
        return
    store16(room, ATTRIBUTE_HEADER_SIZE + length)
    store16(room + 2, type)
    memcpy(room + ATTRIBUTE_HEADER_SIZE, value, length)
    if padded != length:
        memset(room + ATTRIBUTE_HEADER_SIZE + length, 0, padded - length)


cdef inline void put_u8(writer_t *writer, uint16_t type, uint8_t value) noexcept nogil:
    put_attribute(writer, type, &value, 1)


cdef inline void put_be16(writer_t *writer, uint16_t type, uint16_t value) noexcept nogil:
    cdef uint16_t swapped = htobe16(value)
    put_attribute(writer, type, &swapped, 2)


cdef inline void put_be32(writer_t *writer, uint16_t type, uint32_t value) noexcept nogil:
    cdef uint32_t swapped = htobe32(value)
    put_attribute(writer, type, &swapped, 4)


cdef inline void put_u32(writer_t *writer, uint16_t type, uint32_t value) noexcept nogil:
    """In host byte order, as CTA_FILTER's flags are."""
    put_attribute(writer, type, &value, 4)


cdef inline void put_be64(writer_t *writer, uint16_t type, uint64_t value) noexcept nogil:
    cdef uint64_t swapped = htobe64(value)
    put_attribute(writer, type, &swapped, 8)


cdef inline uint32_t begin_nest(writer_t *writer, uint16_t type) noexcept nogil:
    """Open a nested attribute; the result goes to end_nest."""
    cdef uint32_t offset = writer.length
    cdef uint8_t *room = take(writer, ATTRIBUTE_HEADER_SIZE)
    if room != NULL:
        store16(room, ATTRIBUTE_HEADER_SIZE)
        store16(room + 2, type | NLA_F_NESTED)
    return offset


cdef inline void end_nest(writer_t *writer, uint32_t offset) noexcept nogil:
    if not writer.failed:
        store16(writer.data + offset, <uint16_t>(writer.length - offset))
