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
from pyconntrack.core.match_encode cimport (
    FIELDS_ADDRESSES,
    FIELDS_ICMP,
    FIELDS_ICMPV6,
    FIELDS_OF_PROTOCOL,
    FIELDS_PORTS,
    encode_match,
    kernel_decides,
)
from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *

SOURCE = TRANSLATION_SOURCE
DESTINATION = TRANSLATION_DESTINATION
ALL = TRANSLATION_ALL


cdef inline bint bits_equal(const uint8_t *first, const uint8_t *second, const uint8_t *mask) noexcept nogil:
    cdef int i
    for i in range(16):
        if (first[i] ^ second[i]) & mask[i]:
            return False
    return True


cdef inline bint bits_equal_but(const uint8_t *first, const uint8_t *second, const uint8_t *ignored) noexcept nogil:
    cdef int i
    for i in range(16):
        if (first[i] ^ second[i]) & ~ignored[i]:
            return False
    return True


cdef inline bint protocol_fields_match(const tuple_t *wanted, const tuple_t *found,
                                       uint32_t fields) noexcept nogil:
    # A protocol without such a field does not have it at 0.
    if fields & FIELDS_PORTS and not protocol_has_ports(found.protocol):
        return False
    if fields & (FIELDS_ICMP | FIELDS_ICMPV6) and not protocol_is_icmp(found.protocol):
        return False
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


cdef bint original_matches(const match_t *match, const tuple_t *found, const flow_t *flow) noexcept nogil:
    cdef uint32_t fields = match.original_fields
    cdef const tuple_t *wanted = &match.wanted.original
    if fields & CTA_FILTER_F_PROTO_NUM and found.protocol != wanted.protocol:
        return False
    if fields & FIELDS_ADDRESSES and found.family != wanted.family:
        return False
    if fields & CTA_FILTER_F_IP_SRC and not bits_equal(found.source, wanted.source, match.source_mask):
        return False
    if (fields & CTA_FILTER_F_IP_DST
            and not bits_equal(found.destination, wanted.destination, match.destination_mask)):
        return False
    if fields & FIELDS_OF_PROTOCOL and not protocol_fields_match(wanted, found, fields):
        return False
    return not (fields & CTA_FILTER_F_TUPLE_ZONE
                and not zone_matches(wanted.zone, flow, BIT_ORIGINAL_ZONE, found))


cdef bint reply_matches(const match_t *match, const tuple_t *found, const flow_t *flow) noexcept nogil:
    cdef uint32_t fields = match.reply_fields
    cdef const tuple_t *wanted = &match.wanted.reply
    if fields & CTA_FILTER_F_PROTO_NUM and found.protocol != wanted.protocol:
        return False
    if fields & FIELDS_ADDRESSES and found.family != wanted.family:
        return False
    if (fields & CTA_FILTER_F_IP_SRC
            and not bits_equal_but(found.source, wanted.source, match.reply_source_ignored)):
        return False
    if (fields & CTA_FILTER_F_IP_DST
            and not bits_equal_but(found.destination, wanted.destination, match.reply_destination_ignored)):
        return False
    if fields & FIELDS_OF_PROTOCOL and not protocol_fields_match(wanted, found, fields):
        return False
    return not (fields & CTA_FILTER_F_TUPLE_ZONE
                and not zone_matches(wanted.zone, flow, BIT_REPLY_ZONE, found))


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


cdef bint secmark_matches(const flow_t *wanted, const flow_t *flow) noexcept nogil:
    """Linux 2.6.37 and newer tell the context for a mark, and not its number."""
    if has(flow, BIT_SECMARK):
        return flow.secmark == wanted.secmark
    return wanted.secmark == 0 and not has(flow, BIT_SECURITY_CONTEXT)


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
    if has(wanted, BIT_SECMARK) and not secmark_matches(wanted, flow):
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
    if match.original_fields and not original_matches(match, &flow.original, flow):
        return False
    if match.reply_fields and not reply_matches(match, &flow.reply, flow):
        return False
    if match.translation and not translation_matches(match, flow):
        return False
    return match.wanted.present == 0 or attributes_match(match, flow)


cdef class FlowMatch:
    """What a flow must be like: all conditions must hold, and without any, every flow does.

    `values` are attributes as FlowBatch.pack takes them. Compared are: mark (in the bits of mark_mask), status
    (all bits given must be set), zone, original_zone, reply_zone, secmark, id, timeout, labels (all given must
    be set), tcp_state, sctp_state, sctp_vtag_original and _reply, dccp_state, dccp_role. Of the tuples original
    and reply, the fields that `original_fields` and `reply_fields` name (CTA_FILTER_F_*), addresses in the bits
    of their masks, of 4 or 16 bytes; of CTA_FILTER_F_TUPLE_ZONE, the zones are `original_zone` and `reply_zone`,
    which may be the zone of both directions, too, while those in `values` may not. `translation` is a set of
    SOURCE and DESTINATION, one of which must be translated, or with ALL each, to the NAT address and port in
    `values` where there are such. `status_unset` are bits that must not be set, `family` is AF_INET, AF_INET6
    or 0 for both. A flow without a mark, a zone or a security mark counts as one
    of 0; what else it lacks, it has not.

    Raises ValueError, OverflowError, TypeError.
    """

    def __cinit__(self, *, int family=0, dict values=None, uint32_t original_fields=0, uint32_t reply_fields=0,
                  bytes source_mask=None, bytes destination_mask=None, bytes reply_source_mask=None,
                  bytes reply_destination_mask=None, uint16_t original_zone=0, uint16_t reply_zone=0,
                  uint32_t status_unset=0, int translation=0):
        memset(&self.match, 0, sizeof(match_t))
        if family not in (0, FAMILY_IPV4, FAMILY_IPV6):
            raise ValueError(f"family {family} is neither AF_INET nor AF_INET6")
        for name, value in (values or {}).items():
            set_value(&self.match.wanted, name, value)
        if translation & ~(TRANSLATION_SOURCE | TRANSLATION_DESTINATION | TRANSLATION_ALL):
            raise ValueError(f"no translation {translation}")
        if original_fields & CTA_FILTER_F_TUPLE_ZONE:
            self.match.wanted.original.zone = original_zone
        if reply_fields & CTA_FILTER_F_TUPLE_ZONE:
            self.match.wanted.reply.zone = reply_zone
        self.match.family = family
        self.match.original_fields = original_fields
        self.match.reply_fields = reply_fields
        self.match.status_unset = status_unset
        self.match.translation = translation
        copy_mask(self.match.source_mask, source_mask)
        copy_mask(self.match.destination_mask, destination_mask)
        copy_inverse_mask(self.match.reply_source_ignored, reply_source_mask)
        copy_inverse_mask(self.match.reply_destination_ignored, reply_destination_mask)

    def select(self, FlowBatch batch not None, Py_ssize_t start=0):
        """From index `start` on, keep in the batch what matches.

        Raises IndexError, BufferError while a buffer is exported.
        """
        cdef Py_ssize_t index, kept = start
        cdef flow_t *flow
        batch.check_not_exported()
        if start < 0 or start > batch.length:
            raise IndexError("flow index out of range")
        # So that nobody moves the records while the GIL is away.
        batch.exports += 1
        with nogil:
            for index in range(start, batch.length):
                flow = &batch.flows[index]
                if matches(&self.match, flow):
                    if kept != index:
                        memcpy(&batch.flows[kept], flow, sizeof(flow_t))
                    kept += 1
            batch.length = kept
        batch.exports -= 1

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
        cdef uint32_t length = encode_match(&self.match, command, flags, sequence, out, FLOW_MESSAGE_MAX)
        return PyBytes_FromStringAndSize(<char *>out, length)

    @property
    def is_empty(self):
        """Whether there is no condition, and every flow matches."""
        cdef const match_t *match = &self.match
        return (match.wanted.present == 0 and match.original_fields == 0 and match.reply_fields == 0
                and match.status_unset == 0 and match.family == 0 and match.translation == 0)

    @property
    def is_complete_in_kernel(self):
        """Whether a kernel that knows all that request() asks (Linux 6.11 and newer) decides as we do."""
        return kernel_decides(&self.match) != 0


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


cdef int copy_inverse_mask(uint8_t *out, bytes mask) except -1:
    cdef int i
    copy_mask(out, mask)
    for i in range(16):
        out[i] = <uint8_t>~out[i]
    return 0
