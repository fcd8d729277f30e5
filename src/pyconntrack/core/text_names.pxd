# SPDX-License-Identifier: GPL-2.0-or-later
"""The words for numbers in a line: families, protocols, states, status bits; and what a line needs beside its flow."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from pyconntrack.core.label_names cimport label_texts_t
from pyconntrack.core.record cimport BIT_TIMESTAMP_STOP, FAMILY_IPV4, FAMILY_IPV6, flow_t, has

cdef extern from *:
    """
    static const char *const pyconntrack_tcp_states[] = {
        "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
    };
    static const char *const pyconntrack_sctp_states[] = {
        "NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED",
    };
    static const char *const pyconntrack_dccp_states[] = {
        "NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID",
    };
    """
    const char *const *tcp_states "pyconntrack_tcp_states"
    const char *const *sctp_states "pyconntrack_sctp_states"
    const char *const *dccp_states "pyconntrack_dccp_states"

cdef enum:
    STATES = 10                # in each of the tables above
    PROCESS_NAME_MAX = 64      # TASK_COMM_LEN is 16; workers of the kernel show more

    IPS_EXPECTED = 0x0001
    IPS_SEEN_REPLY = 0x0002
    IPS_ASSURED = 0x0004
    IPS_SRC_NAT_DONE = 0x0080
    IPS_DST_NAT_DONE = 0x0100
    IPS_FIXED_TIMEOUT = 0x0400
    IPS_OFFLOAD = 0x4000
    IPS_HW_OFFLOAD = 0x8000

    IPPROTO_ICMP = 1
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_DCCP = 33
    IPPROTO_GRE = 47
    IPPROTO_ICMPV6 = 58
    IPPROTO_SCTP = 132
    IPPROTO_UDPLITE = 136

# What a line needs beside its flow. One call's lines share it.
cdef struct line_context_t:
    int flags                          # TEXT_*
    int64_t now                        # seconds since the epoch
    int32_t now_microseconds
    int64_t age                        # seconds; negative where the line does not show it
    const label_texts_t *labels        # NULL where labels are not shown by name
    const char *process                # of the flow at hand: who caused the event, or NULL
    int64_t when_second                # the second whose local time `when` holds, as XML shows it
    char[192] when
    uint32_t when_length


cdef inline void begin_lines(line_context_t *context, int flags, int64_t now) noexcept nogil:
    context.flags = flags
    context.now = now
    context.now_microseconds = 0
    context.age = -1
    context.labels = NULL
    context.process = NULL
    context.when_length = 0


cdef inline const char *protocol_name(uint8_t protocol) noexcept nogil:
    """As conntrack calls it; `unknown` where it has no name of its own."""
    if protocol == IPPROTO_TCP: return b"tcp"
    if protocol == IPPROTO_UDP: return b"udp"
    if protocol == IPPROTO_ICMP: return b"icmp"
    if protocol == IPPROTO_ICMPV6: return b"icmpv6"
    if protocol == IPPROTO_SCTP: return b"sctp"
    if protocol == IPPROTO_DCCP: return b"dccp"
    if protocol == IPPROTO_GRE: return b"gre"
    if protocol == IPPROTO_UDPLITE: return b"udplite"
    return b"unknown"


cdef inline const char *family_name(uint8_t family) noexcept nogil:
    if family == FAMILY_IPV4: return b"ipv4"
    if family == FAMILY_IPV6: return b"ipv6"
    return b"unknown"


cdef inline const char *state_name(const char *const *names, uint8_t state) noexcept nogil:
    return names[state] if state < STATES else names[0]


cdef inline uint64_t age_of(const flow_t *flow, int64_t now) noexcept nogil:
    """For how long the flow has lived, in seconds between the whole seconds of both ends."""
    cdef int64_t start = <int64_t>(flow.timestamp_start // 1000000000)
    if has(flow, BIT_TIMESTAMP_STOP):
        now = <int64_t>(flow.timestamp_stop // 1000000000)
    return <uint64_t>(now - start) if now > start else 0
