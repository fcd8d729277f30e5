# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as one JSON object with every attribute of its record; docs/json.md says what each means.

Members are written with a comma behind them; `end_object` and `end_array` put the bracket in the place of the last one.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from pyconntrack.core.label_names cimport label_texts_t
from pyconntrack.core.record cimport *
from pyconntrack.core.text cimport *
from pyconntrack.core.text_names cimport *
from pyconntrack.core.text_writer cimport *

cdef extern from *:
    """
    static const char *const pyconntrack_status_bits[] = {
        "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT", "DST_NAT", "SEQ_ADJUST", "SRC_NAT_DONE",
        "DST_NAT_DONE", "DYING", "FIXED_TIMEOUT", "TEMPLATE", "UNTRACKED", "HELPER", "OFFLOAD", "HW_OFFLOAD",
    };
    static const char *const pyconntrack_tcp_flags[] = {
        "WINDOW_SCALE", "SACK_PERM", "CLOSE_INIT", "BE_LIBERAL", "DATA_UNACKNOWLEDGED", "MAXACK_SET", "CHALLENGE_ACK",
        "SIMULTANEOUS_OPEN",
    };
    static const char *const pyconntrack_dccp_roles[] = { "CLIENT", "SERVER" };
    """
    const char *const *status_bits "pyconntrack_status_bits"
    const char *const *tcp_flag_bits "pyconntrack_tcp_flags"
    const char *const *dccp_roles "pyconntrack_dccp_roles"


cdef inline char *escape(char *out, uint32_t code) noexcept nogil:
    """A UTF-16 unit: backslash, u, four digits."""
    cdef int shift
    out = write_text(out, b"\\u")
    for shift in range(12, -1, -4):
        out[0] = pyconntrack_hex[(code >> shift) & 15]
        out += 1
    return out


cdef inline bint continues(uint8_t byte) noexcept nogil:
    return byte & 0xc0 == 0x80


cdef int decode_utf8(const uint8_t *text, uint32_t left, uint32_t *code) noexcept nogil:
    """The length of the character at `text`, or 0 where it is no UTF-8."""
    cdef uint8_t first = text[0]
    if 0xc2 <= first < 0xe0 and left >= 2 and continues(text[1]):
        code[0] = (<uint32_t>(first & 0x1f) << 6) | (text[1] & 0x3f)
        return 2
    if first & 0xf0 == 0xe0 and left >= 3 and continues(text[1]) and continues(text[2]):
        code[0] = (<uint32_t>(first & 0x0f) << 12) | (<uint32_t>(text[1] & 0x3f) << 6) | (text[2] & 0x3f)
        return 3 if code[0] >= 0x800 and not 0xd800 <= code[0] < 0xe000 else 0
    if first & 0xf8 == 0xf0 and left >= 4 and continues(text[1]) and continues(text[2]) and continues(text[3]):
        code[0] = ((<uint32_t>(first & 0x07) << 18) | (<uint32_t>(text[1] & 0x3f) << 12)
                   | (<uint32_t>(text[2] & 0x3f) << 6) | (text[3] & 0x3f))
        return 4 if 0x10000 <= code[0] < 0x110000 else 0
    return 0


cdef char *write_string(char *out, const char *text, uint32_t size) noexcept nogil:
    """At most `size` bytes up to a zero, in quotes and in ASCII; a byte that is no UTF-8 as U+DC80 to U+DCFF, as Python has it."""
    cdef const uint8_t *place = <const uint8_t *>text
    cdef const uint8_t *end = place + size
    cdef uint32_t code
    cdef int length
    out[0] = 34
    out += 1
    while place < end and place[0]:
        if 32 <= place[0] < 127:
            if place[0] == 34 or place[0] == 92:
                out[0] = 92
                out += 1
            out[0] = <char>place[0]
            out += 1
            place += 1
            continue
        length = decode_utf8(place, <uint32_t>(end - place), &code) if place[0] >= 128 else 0
        if length == 0:
            out = escape(out, 0xdc00 + place[0] if place[0] >= 128 else place[0])
            place += 1
            continue
        if code >= 0x10000:
            out = escape(out, 0xd800 + ((code - 0x10000) >> 10))
            code = 0xdc00 + ((code - 0x10000) & 0x3ff)
        out = escape(out, code)
        place += length
    out[0] = 34
    return out + 1


cdef char *json_bits(char *out, const char *name, uint32_t value, const char *const *words, int count) noexcept nogil:
    """A set of bits: its number, and the names of those that have one."""
    cdef int bit
    out = member(write_text(out, name), b'{"number":', value)
    out = write_text(out, b'"names":[')
    for bit in range(count):
        if value >> bit & 1:
            out = write_text(write_text(write_text(out, b'"'), words[bit]), b'",')
    return end_object(end_array(out))


cdef char *json_named(char *out, const char *name, uint8_t value, const char *const *words, int count) noexcept nogil:
    """A number that has a name, if it has."""
    out = member(write_text(out, name), b'{"number":', value)
    if value < count:
        out = write_text(write_text(write_text(out, b'"name":"'), words[value]), b'",')
    return end_object(out)


cdef inline char *json_address(char *out, const char *name, uint8_t family, const uint8_t *address) noexcept nogil:
    return write_text(write_address(write_text(out, name), family, address), b'",')


cdef char *json_tuple(char *out, const tuple_t *tuple_) noexcept nogil:
    out = write_text(write_text(write_text(out, b'"family":"'), family_name(tuple_.family)), b'",')
    out = member(out, b'"protocol":{"number":', tuple_.protocol)
    if protocol_is_icmp(tuple_.protocol) or protocol_has_ports(tuple_.protocol):
        out = write_text(write_text(write_text(out, b'"name":"'), protocol_name(tuple_.protocol)), b'",')
    out = end_object(out)
    out = json_address(out, b'"source":"', tuple_.family, tuple_.source)
    out = json_address(out, b'"destination":"', tuple_.family, tuple_.destination)
    if protocol_is_icmp(tuple_.protocol):
        out = member(out, b'"icmp_type":', tuple_.icmp_type)
        out = member(out, b'"icmp_code":', tuple_.icmp_code)
        out = member(out, b'"icmp_id":', tuple_.icmp_id)
    elif tuple_.protocol == IPPROTO_GRE:
        out = member(out, b'"source_key":', tuple_.source_port)
        out = member(out, b'"destination_key":', tuple_.destination_port)
    elif protocol_has_ports(tuple_.protocol):
        out = member(out, b'"source_port":', tuple_.source_port)
        out = member(out, b'"destination_port":', tuple_.destination_port)
    return out


cdef char *json_adjust(char *out, const sequence_adjust_t *adjust) noexcept nogil:
    out = member(out, b'"sequence_adjust":{"position":', adjust.position)
    out = member(out, b'"offset_before":', adjust.offset_before)
    return end_object(member(out, b'"offset_after":', adjust.offset_after))


cdef char *json_direction(char *out, const flow_t *flow, bint reply) noexcept nogil:
    """One direction, with what the kernel knows of it beside the tuple; nothing where it knows nothing."""
    cdef const tuple_t *tuple_ = &flow.reply if reply else &flow.original
    cdef char *start = out
    cdef char *inner
    out = write_text(out, b'"reply":{' if reply else b'"original":{')
    inner = out
    if has(flow, BIT_REPLY if reply else BIT_ORIGINAL):
        out = json_tuple(out, tuple_)
    if has(flow, BIT_REPLY_ZONE if reply else BIT_ORIGINAL_ZONE):
        out = member(out, b'"zone":', tuple_.zone)
    if has(flow, BIT_COUNTERS_REPLY if reply else BIT_COUNTERS_ORIGINAL):
        out = member(out, b'"counters":{"packets":', flow.packets_reply if reply else flow.packets_original)
        out = end_object(member(out, b'"bytes":', flow.bytes_reply if reply else flow.bytes_original))
    if has(flow, BIT_SEQUENCE_ADJUST_REPLY if reply else BIT_SEQUENCE_ADJUST_ORIGINAL):
        out = json_adjust(out, &flow.sequence_adjust_reply if reply else &flow.sequence_adjust_original)
    return start if out == inner else end_object(out)


cdef char *json_tcp(char *out, const flow_t *flow) noexcept nogil:
    out = write_text(out, b'"tcp":{')
    if has(flow, BIT_TCP_STATE):
        out = json_named(out, b'"state":', flow.tcp_state, tcp_states, STATES)
    if has(flow, BIT_TCP_FLAGS_ORIGINAL):
        out = json_bits(out, b'"flags_original":', flow.tcp_flags_original, tcp_flag_bits, 8)
        out = member(out, b'"flags_mask_original":', flow.tcp_flags_mask_original)
    if has(flow, BIT_TCP_FLAGS_REPLY):
        out = json_bits(out, b'"flags_reply":', flow.tcp_flags_reply, tcp_flag_bits, 8)
        out = member(out, b'"flags_mask_reply":', flow.tcp_flags_mask_reply)
    if has(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL):
        out = member(out, b'"window_scale_original":', flow.tcp_window_scale_original)
    if has(flow, BIT_TCP_WINDOW_SCALE_REPLY):
        out = member(out, b'"window_scale_reply":', flow.tcp_window_scale_reply)
    return end_object(out)


cdef char *json_sctp(char *out, const flow_t *flow) noexcept nogil:
    out = write_text(out, b'"sctp":{')
    if has(flow, BIT_SCTP_STATE):
        out = json_named(out, b'"state":', flow.sctp_state, sctp_states, STATES)
    if has(flow, BIT_SCTP_VTAG_ORIGINAL):
        out = member(out, b'"vtag_original":', flow.sctp_vtag_original)
    if has(flow, BIT_SCTP_VTAG_REPLY):
        out = member(out, b'"vtag_reply":', flow.sctp_vtag_reply)
    return end_object(out)


cdef char *json_dccp(char *out, const flow_t *flow) noexcept nogil:
    out = write_text(out, b'"dccp":{')
    if has(flow, BIT_DCCP_STATE):
        out = json_named(out, b'"state":', flow.dccp_state, dccp_states, STATES)
    if has(flow, BIT_DCCP_ROLE):
        out = json_named(out, b'"role":', flow.dccp_role, dccp_roles, 2)
    if has(flow, BIT_DCCP_HANDSHAKE_SEQUENCE):
        out = member(out, b'"handshake_sequence":', flow.dccp_handshake_sequence)
    return end_object(out)


cdef inline bint has_any(const flow_t *flow, int first, int last) noexcept nogil:
    return flow.present >> first & (((<uint64_t>1) << (last - first + 1)) - 1) != 0


cdef char *json_numbers(char *out, const flow_t *flow) noexcept nogil:
    if has(flow, BIT_TIMEOUT):
        out = member(out, b'"timeout":', flow.timeout)
    if has(flow, BIT_MARK):
        out = member(out, b'"mark":', flow.mark)
    if has(flow, BIT_MARK_MASK):
        out = member(out, b'"mark_mask":', flow.mark_mask)
    if has(flow, BIT_SECMARK):
        out = member(out, b'"secmark":', flow.secmark)
    if has(flow, BIT_SECURITY_CONTEXT):
        out = write_string(write_text(out, b'"security_context":'), flow.security_context, SECURITY_CONTEXT_SIZE)
        out = write_text(out, b",")
    if has(flow, BIT_ZONE):
        out = member(out, b'"zone":', flow.zone)
    if has(flow, BIT_USE):
        out = member(out, b'"use":', flow.use)
    if has(flow, BIT_ID):
        out = member(out, b'"id":', flow.id)
    if has(flow, BIT_TIMESTAMP_START):
        out = member(out, b'"timestamp_start":', flow.timestamp_start)
    if has(flow, BIT_TIMESTAMP_STOP):
        out = member(out, b'"timestamp_stop":', flow.timestamp_stop)
    if has(flow, BIT_TIMESTAMP_EVENT):
        out = member(out, b'"timestamp_event":', flow.timestamp_event)
    return out


cdef char *json_helper(char *out, const flow_t *flow) noexcept nogil:
    cdef uint16_t i
    out = write_text(out, b'"helper":{')
    if has(flow, BIT_HELPER_NAME):
        out = write_string(write_text(out, b'"name":'), flow.helper_name, HELPER_NAME_SIZE)
        out = write_text(out, b",")
    if has(flow, BIT_HELPER_INFO):
        out = write_text(out, b'"info":"')
        for i in range(flow.helper_info_length if flow.helper_info_length < HELPER_INFO_SIZE else HELPER_INFO_SIZE):
            out[0] = pyconntrack_hex[flow.helper_info[i] >> 4]
            out[1] = pyconntrack_hex[flow.helper_info[i] & 15]
            out += 2
        out = write_text(out, b'",')
    return end_object(out)


cdef char *json_nat(char *out, const flow_t *flow) noexcept nogil:
    cdef uint8_t family = flow.original.family if has(flow, BIT_ORIGINAL) else flow.reply.family
    if has(flow, BIT_SOURCE_NAT_ADDRESS) or has(flow, BIT_SOURCE_NAT_PORT):
        out = write_text(out, b'"source_nat":{')
        if has(flow, BIT_SOURCE_NAT_ADDRESS):
            out = json_address(out, b'"address":"', family, flow.source_nat_address)
        if has(flow, BIT_SOURCE_NAT_PORT):
            out = member(out, b'"port":', flow.source_nat_port)
        out = end_object(out)
    if has(flow, BIT_DESTINATION_NAT_ADDRESS) or has(flow, BIT_DESTINATION_NAT_PORT):
        out = write_text(out, b'"destination_nat":{')
        if has(flow, BIT_DESTINATION_NAT_ADDRESS):
            out = json_address(out, b'"address":"', family, flow.destination_nat_address)
        if has(flow, BIT_DESTINATION_NAT_PORT):
            out = member(out, b'"port":', flow.destination_nat_port)
        out = end_object(out)
    return out


cdef char *json_labels(char *out, const uint8_t *bits, int length, const label_texts_t *labels) noexcept nogil:
    cdef int bit
    out = write_text(out, b'{"bits":[')
    for bit in range(8 * length):
        if bits[bit >> 3] >> (bit & 7) & 1:
            out = write_text(write_number(out, bit), b",")
    out = end_array(out)
    if labels != NULL:
        out = write_text(out, b'"names":[')
        for bit in range(8 * length):
            if bits[bit >> 3] >> (bit & 7) & 1 and labels.texts[bit] != NULL:
                out[0] = 34
                memcpy(out + 1, labels.texts[bit], labels.lengths[bit])
                out = write_text(out + 1 + labels.lengths[bit], b'",')
        out = end_array(out)
    return end_object(out)


cdef char *json_rest(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil:
    if has_any(flow, BIT_HELPER_NAME, BIT_HELPER_INFO):
        out = json_helper(out, flow)
    out = json_nat(out, flow)
    if has(flow, BIT_SYN_PROXY):
        out = member(out, b'"syn_proxy":{"isn":', flow.syn_proxy_isn)
        out = member(out, b'"its":', flow.syn_proxy_its)
        out = end_object(member(out, b'"tsoff":', flow.syn_proxy_tsoff))
    if has(flow, BIT_LABELS):
        out = json_labels(write_text(out, b'"labels":'), flow.labels, flow.labels_length, context.labels)
    if has(flow, BIT_LABELS_MASK):
        out = json_labels(write_text(out, b'"labels_mask":'), flow.labels_mask, LABELS_SIZE, NULL)
    if has(flow, BIT_ORIGIN):
        out = member(out, b'"origin":{"port":', flow.origin)
        if context.process != NULL:
            out = write_string(write_text(out, b'"process":'), context.process, PROCESS_NAME_MAX)
        out = end_object(out)
    return out


cdef char *write_json(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil:
    out = write_text(out, b"{")
    if flow.event == EVENT_NEW:
        out = write_text(out, b'"event":"new",')
    elif flow.event == EVENT_UPDATE:
        out = write_text(out, b'"event":"update",')
    elif flow.event == EVENT_DESTROY:
        out = write_text(out, b'"event":"destroy",')
    out = json_direction(out, flow, False)
    out = json_direction(out, flow, True)
    if has(flow, BIT_MASTER):
        out = end_object(json_tuple(write_text(out, b'"master":{'), &flow.master))
    if has(flow, BIT_STATUS):
        out = json_bits(out, b'"status":', flow.status, status_bits, 16)
    if has_any(flow, BIT_TCP_STATE, BIT_TCP_WINDOW_SCALE_REPLY):
        out = json_tcp(out, flow)
    if has_any(flow, BIT_SCTP_STATE, BIT_SCTP_VTAG_REPLY):
        out = json_sctp(out, flow)
    if has_any(flow, BIT_DCCP_STATE, BIT_DCCP_HANDSHAKE_SEQUENCE):
        out = json_dccp(out, flow)
    out = json_numbers(out, flow)
    return end_object(json_rest(out, flow, context)) - 1   # no comma behind the whole
