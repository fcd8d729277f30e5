# SPDX-License-Identifier: GPL-2.0-or-later
"""What is told of a flow, laid over what is known of it."""

from libc.stdint cimport uint8_t, uint64_t

from pyconntrack.core.record cimport *

# What an update event tells only where it changed. Status, timeout and NAT are in every event.
cdef enum:
    TOLD_MARK = 1
    TOLD_MASTER = 2
    TOLD_PROTOCOL_STATE = 4
    TOLD_HELPER = 8
    TOLD_SEQUENCE_ADJUST = 16
    TOLD_LABELS = 32
    TOLD_SYN_PROXY = 64

# Bits of `present`.
cdef inline uint64_t timeout_field() noexcept nogil:
    return <uint64_t>1 << BIT_TIMEOUT

cdef inline uint64_t nat_fields() noexcept nogil:
    return (<uint64_t>1 << BIT_SOURCE_NAT_ADDRESS | <uint64_t>1 << BIT_SOURCE_NAT_PORT
            | <uint64_t>1 << BIT_DESTINATION_NAT_ADDRESS | <uint64_t>1 << BIT_DESTINATION_NAT_PORT)

cdef inline uint64_t every_events_fields() noexcept nogil:
    return <uint64_t>1 << BIT_STATUS | timeout_field() | nat_fields()

cdef inline uint64_t protocol_state_fields() noexcept nogil:
    return (<uint64_t>1 << BIT_TCP_STATE
            | <uint64_t>1 << BIT_TCP_WINDOW_SCALE_ORIGINAL | <uint64_t>1 << BIT_TCP_WINDOW_SCALE_REPLY
            | <uint64_t>1 << BIT_SCTP_STATE | <uint64_t>1 << BIT_SCTP_VTAG_ORIGINAL | <uint64_t>1 << BIT_SCTP_VTAG_REPLY
            | <uint64_t>1 << BIT_DCCP_STATE | <uint64_t>1 << BIT_DCCP_ROLE)

# TOLD_* of what an event tells, and the fields that such a set stands for.
cdef uint8_t told_by(const flow_t *event) noexcept nogil
cdef uint64_t fields_of(uint8_t told) noexcept nogil

# Whether the flow has been offloaded: a dump tells no protocol state of it then, though it has one.
cdef bint hides_state(const flow_t *flow) noexcept nogil

# Let `flow` have `fields` as `other` has them, those that the wire carries; what `other` lacks it loses.
cdef void lay_over(flow_t *flow, const flow_t *other, uint64_t fields) noexcept nogil
