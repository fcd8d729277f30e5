# SPDX-License-Identifier: GPL-2.0-or-later
"""The event filter: which flows are of interest."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pyconntrack.core.record cimport flow_t

cdef struct range_t:               # addresses as numbers, both ends belong to it; of IPv4 only the low words
    uint64_t first_high
    uint64_t first_low
    uint64_t last_high
    uint64_t last_low

# A list of things that are accepted, or of things that are ignored.
cdef enum:
    LIST_NONE = -1                 # no such filter: everything passes
    LIST_IGNORE = 0
    LIST_ACCEPT = 1

cdef class EventFilter:
    cdef int protocol_list
    cdef uint8_t[256] protocols    # 1 where on the list
    cdef int address_list
    cdef range_t *ranges_ipv4      # sorted, disjoint
    cdef range_t *ranges_ipv6
    cdef uint32_t count_ipv4
    cdef uint32_t count_ipv6
    cdef int state_list
    cdef uint32_t tcp_states       # bit per state
    cdef uint32_t sctp_states
    cdef uint32_t dccp_states

    cdef int set_protocols(self, protocols, bint accept) except -1
    cdef int set_networks(self, networks, bint accept) except -1
    cdef int set_states(self, states, bint accept) except -1
    cdef bint lists_address(self, uint8_t family, const uint8_t *address) noexcept nogil
    cdef bint passes_addresses(self, const flow_t *flow) noexcept nogil
    cdef bint passes_state(self, const flow_t *flow) noexcept nogil
    cdef bint accepts(self, const flow_t *flow) noexcept nogil
