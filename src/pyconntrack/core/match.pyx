# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""The selection of flows, in the kernel as far as it can, and here exactly.

The kernel is asked for as little as it can tell apart, so that few flows cross its border; older kernels ignore
conditions that they do not know, newer ones compare some of them not at all or wrongly. So every flow that comes is
compared here again, in all conditions, which costs a few nanoseconds each.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.flow_values cimport set_value
from pyconntrack.core.kernel_encode cimport FLOW_MESSAGE_MAX
from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *

SOURCE = TRANSLATION_SOURCE
DESTINATION = TRANSLATION_DESTINATION
ALL = TRANSLATION_ALL

cdef enum:
    FIELDS_ADDRESSES = CTA_FILTER_F_IP_SRC | CTA_FILTER_F_IP_DST
    FIELDS_PORTS = CTA_FILTER_F_SRC_PORT | CTA_FILTER_F_DST_PORT
    FIELDS_ICMP = CTA_FILTER_F_ICMP_TYPE | CTA_FILTER_F_ICMP_CODE | CTA_FILTER_F_ICMP_ID
    FIELDS_ICMPV6 = CTA_FILTER_F_ICMPV6_TYPE | CTA_FILTER_F_ICMPV6_CODE | CTA_FILTER_F_ICMPV6_ID
    FIELDS_OF_PROTOCOL = FIELDS_PORTS | FIELDS_ICMP | FIELDS_ICMPV6
    IPPROTO_ICMP = 1
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_GRE = 47
    IPPROTO_ICMPV6 = 58


# Comparing.

cdef inline bint bits_equal(const uint8_t *first, const uint8_t *second, const uint8_t *mask) noexcept nogil:
    cdef int i
    for i in range(16):
        if (first[i] ^ second[i]) & mask[i]:
            return False
    return True


cdef inline bint protocol_fields_match(const tuple_t *wanted, const tuple_t *found,
                                       uint32_t fields) noexcept nogil:
    if fields & CTA_FILTER_F_SRC_PORT and found.source_port != wanted.source_port:
        return False
    if fields & CTA_FILTER_F_DST_PORT and found.destination_port != wanted.destination_port:
        return False
    if fields & (CTA_FILTER_F_ICMP_TYPE | CTA_FILTER_F_ICMPV6_TYPE) and found.icmp_type != wanted.icmp_type:
        return False
    if fields & (CTA_FILTER_F_ICMP_CODE | CTA_FILTER_F_ICMPV6_CODE) and found.icmp_code != wanted.icmp_code:
        return False
    return not (fields & (CTA_FILTER_F_ICMP_ID | CTA_FILTER_F_ICMPV6_ID) and found.icmp_id != wanted.icmp_id)


cdef inline bint zone_matches(uint16_t wanted, const flow_t *flow, int direction_bit,
                              const tuple_t *direction) noexcept nogil:
    """A direction's zone: its own, or that of both."""
    if has(flow, direction_bit):
        return direction.zone == wanted
    return (flow.zone if has(flow, BIT_ZONE) else 0) == wanted


cdef bint tuples_match(const match_t *match, const flow_t *flow) noexcept nogil:
    cdef uint32_t fields = match.original_fields
    cdef const tuple_t *wanted = &match.wanted.original
    if fields & CTA_FILTER_F_PROTO_NUM and flow.original.protocol != wanted.protocol:
        return False
    if fields & FIELDS_ADDRESSES and flow.original.family != wanted.family:
        return False
    if (fields & CTA_FILTER_F_IP_SRC
            and not bits_equal(flow.original.source, wanted.source, match.source_mask)):
        return False
    if (fields & CTA_FILTER_F_IP_DST
            and not bits_equal(flow.original.destination, wanted.destination, match.destination_mask)):
        return False
    if fields & FIELDS_OF_PROTOCOL and not protocol_fields_match(wanted, &flow.original, fields):
        return False
    if (fields & CTA_FILTER_F_TUPLE_ZONE
            and not zone_matches(wanted.zone, flow, BIT_ORIGINAL_ZONE, &flow.original)):
        return False
    fields = match.reply_fields
    if fields == 0:
        return True
    wanted = &match.wanted.reply
    if fields & CTA_FILTER_F_PROTO_NUM and flow.reply.protocol != wanted.protocol:
        return False
    if fields & FIELDS_ADDRESSES and flow.reply.family != wanted.family:
        return False
    if fields & CTA_FILTER_F_IP_SRC and memcmp(flow.reply.source, wanted.source, 16) != 0:
        return False
    if fields & CTA_FILTER_F_IP_DST and memcmp(flow.reply.destination, wanted.destination, 16) != 0:
        return False
    if fields & FIELDS_OF_PROTOCOL and not protocol_fields_match(wanted, &flow.reply, fields):
        return False
    return not (fields & CTA_FILTER_F_TUPLE_ZONE
                and not zone_matches(wanted.zone, flow, BIT_REPLY_ZONE, &flow.reply))


cdef inline uint16_t source_word(const tuple_t *value) noexcept nogil:
    """What stands where TCP has its source port: of ICMP, the id."""
    return value.icmp_id if protocol_is_icmp(value.protocol) else value.source_port


cdef inline uint16_t destination_word(const tuple_t *value) noexcept nogil:
    """What stands where TCP has its destination port: of ICMP, type and code."""
    if protocol_is_icmp(value.protocol):
        return <uint16_t>(value.icmp_type << 8 | value.icmp_code)
    return value.destination_port


# A flow counts as translated where it passed the hooks of NAT and one direction is not the other's inverse. ICMP's id
# is held against type and code there, as libnetfilter_conntrack does: so all ICMP that passed the hooks counts.

cdef bint source_translated(const flow_t *wanted, const flow_t *flow) noexcept nogil:
    """Whether the reply goes elsewhere than to where the original came from, and to what is wanted."""
    cdef bint address, port
    if has(flow, BIT_STATUS) and not flow.status & IPS_SRC_NAT_DONE:
        return False
    address = memcmp(flow.reply.destination, flow.original.source, 16) != 0
    port = destination_word(&flow.reply) != source_word(&flow.original)
    if not has(wanted, BIT_SOURCE_NAT_ADDRESS) and not has(wanted, BIT_SOURCE_NAT_PORT):
        return address or port
    if has(wanted, BIT_SOURCE_NAT_ADDRESS):
        if not address or memcmp(flow.reply.destination, wanted.source_nat_address, 16) != 0:
            return False
    return (not has(wanted, BIT_SOURCE_NAT_PORT)
            or port and flow.reply.destination_port == wanted.source_nat_port)


cdef bint destination_translated(const flow_t *wanted, const flow_t *flow) noexcept nogil:
    """Whether the reply comes from elsewhere than where the original went, and from what is wanted."""
    cdef bint address, port
    if has(flow, BIT_STATUS) and not flow.status & IPS_DST_NAT_DONE:
        return False
    address = memcmp(flow.reply.source, flow.original.destination, 16) != 0
    port = source_word(&flow.reply) != destination_word(&flow.original)
    if not has(wanted, BIT_DESTINATION_NAT_ADDRESS) and not has(wanted, BIT_DESTINATION_NAT_PORT):
        return address or port
    if has(wanted, BIT_DESTINATION_NAT_ADDRESS):
        if not address or memcmp(flow.reply.source, wanted.destination_nat_address, 16) != 0:
            return False
    return (not has(wanted, BIT_DESTINATION_NAT_PORT)
            or port and flow.reply.source_port == wanted.destination_nat_port)


cdef bint translation_matches(const match_t *match, const flow_t *flow) noexcept nogil:
    cdef bint source = (match.translation & TRANSLATION_SOURCE
                        and source_translated(&match.wanted, flow))
    cdef bint destination = (match.translation & TRANSLATION_DESTINATION
                             and destination_translated(&match.wanted, flow))
    if match.translation & TRANSLATION_ALL:
        return ((source or not match.translation & TRANSLATION_SOURCE)
                and (destination or not match.translation & TRANSLATION_DESTINATION))
    return source or destination


cdef bint labels_match(const flow_t *wanted, const flow_t *flow) noexcept nogil:
    cdef int i
    for i in range(LABELS_SIZE):
        if wanted.labels[i] & ~flow.labels[i]:
            return False
    return True


cdef bint states_match(const flow_t *wanted, const flow_t *flow, uint64_t asked) noexcept nogil:
    """What the protocols keep: a flow without it does not match."""
    if asked & ~flow.present:
        return False
    if has(wanted, BIT_TCP_STATE) and flow.tcp_state != wanted.tcp_state:
        return False
    if has(wanted, BIT_SCTP_STATE) and flow.sctp_state != wanted.sctp_state:
        return False
    if has(wanted, BIT_SCTP_VTAG_ORIGINAL) and flow.sctp_vtag_original != wanted.sctp_vtag_original:
        return False
    if has(wanted, BIT_SCTP_VTAG_REPLY) and flow.sctp_vtag_reply != wanted.sctp_vtag_reply:
        return False
    if has(wanted, BIT_DCCP_STATE) and flow.dccp_state != wanted.dccp_state:
        return False
    return not (has(wanted, BIT_DCCP_ROLE) and flow.dccp_role != wanted.dccp_role)


cdef enum:
    # What states_match compares.
    FIRST_STATE_BIT = BIT_TCP_STATE
    LAST_STATE_BIT = BIT_DCCP_ROLE


cdef bint attributes_match(const match_t *match, const flow_t *flow) noexcept nogil:
    cdef const flow_t *wanted = &match.wanted
    cdef uint32_t mask
    cdef uint64_t states
    if has(wanted, BIT_MARK):
        mask = wanted.mark_mask if has(wanted, BIT_MARK_MASK) else 0xffffffff
        # A kernel leaves out a mark of 0.
        if ((flow.mark if has(flow, BIT_MARK) else 0) & mask) != wanted.mark:
            return False
    if has(wanted, BIT_STATUS) and (not has(flow, BIT_STATUS) or wanted.status & ~flow.status):
        return False
    # A kernel leaves out zones of 0, too.
    if has(wanted, BIT_ZONE) and (flow.zone if has(flow, BIT_ZONE) else 0) != wanted.zone:
        return False
    if (has(wanted, BIT_ORIGINAL_ZONE)
            and (flow.original.zone if has(flow, BIT_ORIGINAL_ZONE) else 0) != wanted.original.zone):
        return False
    if (has(wanted, BIT_REPLY_ZONE)
            and (flow.reply.zone if has(flow, BIT_REPLY_ZONE) else 0) != wanted.reply.zone):
        return False
    if has(wanted, BIT_SECMARK) and (not has(flow, BIT_SECMARK) or flow.secmark != wanted.secmark):
        return False
    if has(wanted, BIT_ID) and (not has(flow, BIT_ID) or flow.id != wanted.id):
        return False
    if has(wanted, BIT_TIMEOUT) and (not has(flow, BIT_TIMEOUT) or flow.timeout != wanted.timeout):
        return False
    if has(wanted, BIT_LABELS) and not labels_match(wanted, flow):
        return False
    states = wanted.present & ((((<uint64_t>1) << (LAST_STATE_BIT - FIRST_STATE_BIT + 1)) - 1)
                               << FIRST_STATE_BIT)
    return states == 0 or states_match(wanted, flow, states)


cdef bint matches(const match_t *match, const flow_t *flow) noexcept nogil:
    if match.family and flow.original.family != match.family:
        return False
    if match.status_unset & flow.status:
        return False
    if (match.original_fields or match.reply_fields) and not tuples_match(match, flow):
        return False
    if match.translation and not translation_matches(match, flow):
        return False
    return match.wanted.present == 0 or attributes_match(match, flow)


cdef void limit_to_commands(match_t *match) noexcept nogil:
    cdef uint8_t protocol = match.wanted.original.protocol
    drop(&match.wanted, BIT_SECMARK)
    drop(&match.wanted, BIT_SCTP_VTAG_ORIGINAL)
    drop(&match.wanted, BIT_SCTP_VTAG_REPLY)
    drop(&match.wanted, BIT_DCCP_ROLE)
    if protocol == IPPROTO_GRE:
        match.original_fields &= ~<uint32_t>FIELDS_PORTS
        match.reply_fields &= ~<uint32_t>FIELDS_PORTS


# Asking the kernel.

cdef bint is_whole(const uint8_t *mask, uint8_t family) noexcept nogil:
    cdef int i
    for i in range(address_size(family)):
        if mask[i] != 0xff:
            return False
    return True


cdef uint32_t kernel_fields(const match_t *match, const tuple_t *wanted, uint32_t fields,
                            bint original) noexcept nogil:
    """The fields of a tuple that the kernel compares as we do (ctnetlink_filter_match_tuple).

    It wants the family, and the protocol with the fields of a protocol. It compares ports of TCP and UDP
    only. Of IPv6, it leaves out (up to Linux 6.18 at least) just the addresses that are equal.
    """
    cdef uint32_t known = CTA_FILTER_F_PROTO_NUM
    if match.family != FAMILY_IPV4 and match.family != FAMILY_IPV6:
        return 0
    if match.family == FAMILY_IPV4 and wanted.family == FAMILY_IPV4:
        if not original or is_whole(match.source_mask, FAMILY_IPV4):
            known |= CTA_FILTER_F_IP_SRC
        if not original or is_whole(match.destination_mask, FAMILY_IPV4):
            known |= CTA_FILTER_F_IP_DST
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
    original = kernel_fields(match, &wanted.original, match.original_fields, True)
    reply = kernel_fields(match, &wanted.reply, match.reply_fields, False)
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


cdef class FlowMatch:
    """What a flow must be like: all conditions must hold, and without any, every flow does.

    `values` are attributes as FlowBatch.pack takes them. Compared are: mark (in the bits of mark_mask), status
    (all bits given must be set), zone, original_zone, reply_zone, secmark, id, timeout, labels (all given must
    be set), tcp_state, sctp_state, sctp_vtag_original and _reply, dccp_state, dccp_role. Of the tuples original
    and reply, the fields that `original_fields` and `reply_fields` name (CTA_FILTER_F_*); the original's
    addresses in the bits of their masks, of 4 or 16 bytes. `translation` is a set of SOURCE and DESTINATION, one of
    which must be translated, or with ALL each, to the NAT address and port in `values` where there are such. `status_unset` are bits that
    must not be set, `family` is AF_INET, AF_INET6 or 0 for both.

    Raises ValueError, OverflowError, TypeError.
    """

    def __cinit__(self, *, int family=0, dict values=None, uint32_t original_fields=0, uint32_t reply_fields=0,
                  bytes source_mask=None, bytes destination_mask=None, uint32_t status_unset=0,
                  int translation=0):
        memset(&self.match, 0, sizeof(match_t))
        if family not in (0, FAMILY_IPV4, FAMILY_IPV6):
            raise ValueError(f"family {family} is neither AF_INET nor AF_INET6")
        for name, value in (values or {}).items():
            set_value(&self.match.wanted, name, value)
        if translation & ~(TRANSLATION_SOURCE | TRANSLATION_DESTINATION | TRANSLATION_ALL):
            raise ValueError(f"no translation {translation}")
        self.match.family = family
        self.match.original_fields = original_fields
        self.match.reply_fields = reply_fields
        self.match.status_unset = status_unset
        self.match.translation = translation
        copy_mask(self.match.source_mask, source_mask)
        copy_mask(self.match.destination_mask, destination_mask)

    def select(self, FlowBatch batch not None, Py_ssize_t start=0):
        """From index `start` on, keep in the batch what matches.

        Raises IndexError, BufferError while a buffer is exported.
        """
        cdef Py_ssize_t index, kept = start
        cdef flow_t *flow
        batch.check_not_exported()
        if start < 0 or start > batch.length:
            raise IndexError("flow index out of range")
        with nogil:
            for index in range(start, batch.length):
                flow = &batch.flows[index]
                if matches(&self.match, flow):
                    if kept != index:
                        memcpy(&batch.flows[kept], flow, sizeof(flow_t))
                    kept += 1
            batch.length = kept

    def limit_to_commands(self):
        """Drop the conditions that the conntrack command accepts but does not compare.

        They are secmark, GRE keys, verification tags and the role of DCCP.
        """
        limit_to_commands(&self.match)

    def matches(self, FlowBatch batch not None, Py_ssize_t index):
        """Whether the flow at `index` matches. Raises IndexError."""
        if index < 0 or index >= batch.length:
            raise IndexError("flow index out of range")
        return matches(&self.match, &batch.flows[index]) != 0

    def request(self, int command, int flags, uint32_t sequence):
        """The request of a dump or a flush, with all that the kernel can tell apart.

        `command` is IPCTNL_MSG_CT_*, NLM_F_REQUEST is added to `flags`. The answer to a dump may hold more than
        matches: select() must follow. A flush is exact only where `is_complete_in_kernel` says so.
        """
        cdef uint8_t out[FLOW_MESSAGE_MAX]
        cdef writer_t writer
        start_writer(&writer, out, FLOW_MESSAGE_MAX)
        put_header(&writer, <uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | command), <uint16_t>(flags | NLM_F_REQUEST),
                   sequence, self.match.family)
        if command == IPCTNL_MSG_CT_DELETE and self.match.family:
            # A flush looks at the family only in a message of this version; a dump looks always.
            out[NETLINK_HEADER_SIZE + 1] = 1
        put_conditions(&writer, &self.match)
        return PyBytes_FromStringAndSize(<char *>out, finish_message(&writer))

    @property
    def is_empty(self):
        """Whether there is no condition, and every flow matches."""
        cdef const match_t *match = &self.match
        return (match.wanted.present == 0 and match.original_fields == 0 and match.reply_fields == 0
                and match.status_unset == 0 and match.family == 0 and match.translation == 0)

    @property
    def is_complete_in_kernel(self):
        """Whether a kernel that knows all that request() asks (Linux 6.11 and newer) decides as we do."""
        cdef const match_t *match = &self.match
        cdef uint64_t known = ((<uint64_t>1) << BIT_MARK | (<uint64_t>1) << BIT_MARK_MASK
                               | (<uint64_t>1) << BIT_STATUS | (<uint64_t>1) << BIT_ORIGINAL
                               | (<uint64_t>1) << BIT_REPLY)
        return (match.wanted.present & ~known == 0 and match.translation == 0
                and kernel_fields(match, &match.wanted.original, match.original_fields, True)
                == match.original_fields
                and kernel_fields(match, &match.wanted.reply, match.reply_fields, False)
                == match.reply_fields)


cdef int copy_mask(uint8_t *out, bytes mask) except -1:
    """A mask, of all bits where there is none."""
    cdef Py_ssize_t length
    if mask is None:
        memset(out, 0xff, 16)
        return 0
    length = len(mask)
    if length != 4 and length != 16:
        raise ValueError("a mask has 4 or 16 bytes")
    memset(out, 0, 16)
    memcpy(out, <const uint8_t *>mask, length)
    return 0
