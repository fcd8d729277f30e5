# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is told of a flow, laid over what is known of it: an event that tells what changed, a message that is made of one."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from pyconntrack.core.record cimport *

cdef enum:
    IPS_OFFLOAD = 1 << 14      # linux/netfilter/nf_conntrack_common.h

# By the number of a TOLD_* bit.
cdef uint64_t[7] told_fields = [
    <uint64_t>1 << BIT_MARK,
    <uint64_t>1 << BIT_MASTER,
    protocol_state_fields(),
    <uint64_t>1 << BIT_HELPER_NAME,
    <uint64_t>1 << BIT_SEQUENCE_ADJUST_ORIGINAL | <uint64_t>1 << BIT_SEQUENCE_ADJUST_REPLY,
    <uint64_t>1 << BIT_LABELS,
    <uint64_t>1 << BIT_SYN_PROXY,
]


cdef uint8_t told_by(const flow_t *event) noexcept nogil:
    cdef uint8_t told = 0
    cdef int i
    for i in range(7):
        if event.present & told_fields[i]:
            told |= 1 << i
    return told


cdef uint64_t fields_of(uint8_t told) noexcept nogil:
    cdef uint64_t fields = 0
    cdef int i
    for i in range(7):
        if told >> i & 1:
            fields |= told_fields[i]
    return fields


cdef bint hides_state(const flow_t *flow) noexcept nogil:
    return flow.status & IPS_OFFLOAD and not flow.present & protocol_state_fields()


cdef void lay_over(flow_t *flow, const flow_t *other, uint64_t fields) noexcept nogil:
    if fields & every_events_fields():
        if fields >> BIT_STATUS & 1: flow.status = other.status
        if fields >> BIT_TIMEOUT & 1: flow.timeout = other.timeout
        if fields & nat_fields():
            memcpy(flow.source_nat_address, other.source_nat_address, 16)
            memcpy(flow.destination_nat_address, other.destination_nat_address, 16)
            flow.source_nat_port = other.source_nat_port
            flow.destination_nat_port = other.destination_nat_port
    if fields & protocol_state_fields():
        if fields >> BIT_TCP_STATE & 1: flow.tcp_state = other.tcp_state
        if fields >> BIT_TCP_WINDOW_SCALE_ORIGINAL & 1: flow.tcp_window_scale_original = other.tcp_window_scale_original
        if fields >> BIT_TCP_WINDOW_SCALE_REPLY & 1: flow.tcp_window_scale_reply = other.tcp_window_scale_reply
        if fields >> BIT_SCTP_STATE & 1: flow.sctp_state = other.sctp_state
        if fields >> BIT_SCTP_VTAG_ORIGINAL & 1: flow.sctp_vtag_original = other.sctp_vtag_original
        if fields >> BIT_SCTP_VTAG_REPLY & 1: flow.sctp_vtag_reply = other.sctp_vtag_reply
        if fields >> BIT_DCCP_STATE & 1: flow.dccp_state = other.dccp_state
        if fields >> BIT_DCCP_ROLE & 1: flow.dccp_role = other.dccp_role
    if fields >> BIT_MARK & 1: flow.mark = other.mark
    if fields >> BIT_MASTER & 1: flow.master = other.master
    if fields >> BIT_HELPER_NAME & 1: memcpy(flow.helper_name, other.helper_name, HELPER_NAME_SIZE)
    if fields >> BIT_SEQUENCE_ADJUST_ORIGINAL & 1: flow.sequence_adjust_original = other.sequence_adjust_original
    if fields >> BIT_SEQUENCE_ADJUST_REPLY & 1: flow.sequence_adjust_reply = other.sequence_adjust_reply
    if fields >> BIT_LABELS & 1: memcpy(flow.labels, other.labels, LABELS_SIZE)
    if fields >> BIT_SYN_PROXY & 1:
        flow.syn_proxy_isn = other.syn_proxy_isn
        flow.syn_proxy_its = other.syn_proxy_its
        flow.syn_proxy_tsoff = other.syn_proxy_tsoff
    flow.present = (flow.present & ~fields) | (other.present & fields)
