# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as the options that make it again, byte for byte as `conntrack -o save` of conntrack-tools 1.4.7 writes them.

The C tool leaves out the mark, labels, the helper and window tracking; TEXT_WHOLE adds mark and labels. It writes `(null)`
for a state that it does not know, a line that nobody can load: here, the state has its name, or is left out. Verification tags
of SCTP are written, and read, in network byte order as if it were the host's, as the C tool does.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from pyconntrack.core.label_names cimport label_texts_t
from pyconntrack.core.record cimport *
from pyconntrack.core.text cimport *
from pyconntrack.core.text_names cimport *
from pyconntrack.core.text_writer cimport *

cdef extern from "<arpa/inet.h>" nogil:
    uint32_t htonl(uint32_t number)


cdef inline char *number_option(char *out, const char *option, uint64_t value) noexcept nogil:
    return write_text(write_field(out, option, value), b" ")


cdef inline char *address_option(char *out, const char *option, uint8_t family, const uint8_t *address) noexcept nogil:
    return write_text(write_address(write_text(out, option), family, address), b" ")


cdef inline char *word_option(char *out, const char *option, const char *word) noexcept nogil:
    return write_text(write_text(write_text(out, option), word), b" ")


cdef char *save_status(char *out, uint32_t status) noexcept nogil:
    cdef char *start
    out = write_text(out, b"-u ")
    start = out
    if status & IPS_EXPECTED:
        out = write_text(out, b"EXPECTED,")
    if status & IPS_SEEN_REPLY:
        out = write_text(out, b"SEEN_REPLY,")
    if status & IPS_ASSURED:
        out = write_text(out, b"ASSURED,")
    if status & IPS_FIXED_TIMEOUT:
        out = write_text(out, b"FIXED_TIMEOUT,")
    if out == start:
        out = write_text(out, b"UNSET,")
    out[-1] = 32
    return out


cdef inline bint translated(const flow_t *flow, uint32_t done, const uint8_t *before, const uint8_t *after) noexcept nogil:
    """Whether NAT changed an address, by what the kernel says that it did where it says it."""
    return (not has(flow, BIT_STATUS) or flow.status & done) and memcmp(before, after, 16) != 0


cdef char *save_addresses(char *out, const flow_t *flow) noexcept nogil:
    cdef uint8_t family = flow.original.family
    out = address_option(out, b"-s ", family, flow.original.source)
    out = address_option(out, b"-d ", family, flow.original.destination)
    if not has(flow, BIT_REPLY):
        return out
    if translated(flow, IPS_DST_NAT_DONE, flow.original.destination, flow.reply.source):
        out = address_option(out, b"-g ", family, flow.reply.source)
    else:
        out = address_option(out, b"-r ", family, flow.reply.source)
    if translated(flow, IPS_SRC_NAT_DONE, flow.original.source, flow.reply.destination):
        out = address_option(out, b"-n ", family, flow.reply.destination)
    else:
        out = address_option(out, b"-q ", family, flow.reply.destination)
    return out


cdef char *save_icmp(char *out, const tuple_t *tuple_) noexcept nogil:
    if tuple_.protocol == IPPROTO_ICMP:
        out = number_option(out, b"--icmp-type ", tuple_.icmp_type)
        out = number_option(out, b"--icmp-code ", tuple_.icmp_code)
        return number_option(out, b"--icmp-id ", tuple_.icmp_id)
    out = number_option(out, b"--icmpv6-type ", tuple_.icmp_type)
    out = number_option(out, b"--icmpv6-code ", tuple_.icmp_code)
    return number_option(out, b"--icmpv6-id ", tuple_.icmp_id)


cdef bint follows_ports(const flow_t *flow) noexcept nogil:
    """Whether the kernel tracks the ports of this protocol: of DCCP and SCTP it may not, and sends none."""
    cdef uint8_t protocol = flow.original.protocol
    return ((protocol != IPPROTO_DCCP and protocol != IPPROTO_SCTP)
            or flow.original.source_port or flow.original.destination_port
            or flow.reply.source_port or flow.reply.destination_port
            or has(flow, BIT_SCTP_STATE) or has(flow, BIT_DCCP_STATE))


cdef char *save_ports(char *out, const flow_t *flow) noexcept nogil:
    if flow.original.protocol == IPPROTO_GRE:
        out = number_option(out, b"--srckey ", flow.original.source_port)
        out = number_option(out, b"--dstkey ", flow.original.destination_port)
        if has(flow, BIT_REPLY):
            out = number_option(out, b"--reply-key-src ", flow.reply.source_port)
            out = number_option(out, b"--reply-key-dst ", flow.reply.destination_port)
        return out
    out = number_option(out, b"--sport ", flow.original.source_port)
    out = number_option(out, b"--dport ", flow.original.destination_port)
    if has(flow, BIT_REPLY):
        out = number_option(out, b"--reply-port-src ", flow.reply.source_port)
        out = number_option(out, b"--reply-port-dst ", flow.reply.destination_port)
    return out


cdef char *save_state(char *out, const flow_t *flow) noexcept nogil:
    cdef uint8_t protocol = flow.original.protocol
    if protocol == IPPROTO_TCP and has(flow, BIT_TCP_STATE) and flow.tcp_state < STATES:
        out = word_option(out, b"--state ", tcp_states[flow.tcp_state])
    elif protocol == IPPROTO_SCTP:
        if has(flow, BIT_SCTP_STATE) and flow.sctp_state < STATES:
            out = word_option(out, b"--state ", sctp_states[flow.sctp_state])
        if has(flow, BIT_SCTP_VTAG_ORIGINAL):
            out = number_option(out, b"--orig-vtag ", htonl(flow.sctp_vtag_original))
        if has(flow, BIT_SCTP_VTAG_REPLY):
            out = number_option(out, b"--reply-vtag ", htonl(flow.sctp_vtag_reply))
    elif protocol == IPPROTO_DCCP:
        if has(flow, BIT_DCCP_STATE) and flow.dccp_state < STATES:
            out = word_option(out, b"--state ", dccp_states[flow.dccp_state])
        if has(flow, BIT_DCCP_ROLE) and flow.dccp_role <= 1:
            out = word_option(out, b"--role ", b"server" if flow.dccp_role else b"client")
    return out


cdef char *save_labels(char *out, const flow_t *flow, const label_texts_t *labels) noexcept nogil:
    cdef int bit
    cdef char separator = 32
    for bit in range(flow.labels_length * 8):
        if flow.labels[bit >> 3] >> (bit & 7) & 1 and labels.texts[bit] != NULL:
            if separator == 32:
                out = write_text(out, b"--label-add")
            out[0] = separator
            memcpy(out + 1, labels.texts[bit], labels.lengths[bit])
            out += 1 + labels.lengths[bit]
            separator = 44         # ,
    return out if separator == 32 else write_text(out, b" ")


cdef char *save_command(char *out, const flow_t *flow, int flags) noexcept nogil:
    if flags & TEXT_EVENT and flow.event == EVENT_UPDATE:
        return write_text(out, b"-U ")
    if flags & TEXT_DELETE or flags & TEXT_EVENT and flow.event == EVENT_DESTROY:
        return write_text(out, b"-D ")
    return write_text(out, b"-A ")


cdef char *write_save(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil:
    cdef uint8_t protocol = flow.original.protocol
    out = save_command(out, flow, context.flags)
    if has(flow, BIT_TIMEOUT):
        out = number_option(out, b"-t ", flow.timeout)
    if has(flow, BIT_STATUS):
        out = save_status(out, flow.status)
    if has(flow, BIT_SECMARK):
        out = number_option(out, b"-c ", flow.secmark)
    if has(flow, BIT_ZONE):
        out = number_option(out, b"-w ", flow.zone)
    if has(flow, BIT_ORIGINAL_ZONE):
        out = number_option(out, b"--orig-zone ", flow.original.zone)
    if has(flow, BIT_REPLY_ZONE):
        out = number_option(out, b"--reply-zone ", flow.reply.zone)
    if context.flags & TEXT_WHOLE and has(flow, BIT_MARK) and flow.mark:
        out = number_option(out, b"-m ", flow.mark)
    if context.flags & TEXT_WHOLE and context.labels != NULL and has(flow, BIT_LABELS):
        out = save_labels(out, flow, context.labels)
    out = save_addresses(out, flow)
    if protocol_is_icmp(protocol) or protocol_has_ports(protocol):
        out = word_option(out, b"-p ", protocol_name(protocol))
    else:
        out = number_option(out, b"-p ", protocol)
    if protocol_is_icmp(protocol):
        out = save_icmp(out, &flow.original)
    elif protocol_has_ports(protocol) and follows_ports(flow):
        out = save_ports(out, flow)
    return save_state(out, flow) - 1       # every option ends with a space
