# cython: language_level=3, boundscheck=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The event filter: `Filter { … }` of conntrackd.conf(5), as the C daemon's user-space filter decides.

A flow passes where every list lets it through. An address list looks at the real ends of a flow: the source of the
original direction and the source of the reply, so neither a translated source nor a translated destination counts. A
list of IPv4 networks alone that accepts lets no IPv6 through, and the other way round. A state list concerns only flows of a
protocol that it names states of, and of those only records that carry a state (the kernel's events of an end do not).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pyconntrack.core.record cimport *

cdef enum:
    IPPROTO_TCP = 6
    IPPROTO_DCCP = 33
    IPPROTO_SCTP = 132


cdef inline uint64_t load_be64(const uint8_t *data) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = (value << 8) | data[i]
    return value


cdef inline bint is_less(uint64_t high, uint64_t low, uint64_t other_high, uint64_t other_low) noexcept nogil:
    return high < other_high or high == other_high and low < other_low


cdef bint in_ranges(const range_t *ranges, uint32_t count, uint64_t high, uint64_t low) noexcept nogil:
    """Whether an address is in one of the sorted, disjoint ranges."""
    cdef uint32_t begin = 0
    cdef uint32_t end = count
    cdef uint32_t middle
    while begin < end:
        middle = (begin + end) // 2
        if is_less(high, low, ranges[middle].first_high, ranges[middle].first_low):
            end = middle
        elif is_less(ranges[middle].last_high, ranges[middle].last_low, high, low):
            begin = middle + 1
        else:
            return True
    return False


def merge_networks(networks):
    """(first, last) of networks given as (packed address, prefix length): as numbers, sorted, disjoint. ValueError."""
    merged = []
    spans = []
    for address, prefix in networks:
        bits = 8 * len(address)
        if not 0 <= prefix <= bits:
            raise ValueError(f"a prefix of {prefix} bits is longer than the address")
        first = int.from_bytes(address) >> (bits - prefix) << (bits - prefix)
        spans.append((first, first + (1 << (bits - prefix)) - 1))
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


cdef range_t *make_ranges(list merged) except NULL:
    cdef range_t *ranges = <range_t *>calloc(len(merged) + 1, sizeof(range_t))
    cdef uint32_t i
    if ranges == NULL:
        raise MemoryError
    for i, (first, last) in enumerate(merged):
        ranges[i].first_high = first >> 64
        ranges[i].first_low = first & 0xffffffffffffffff
        ranges[i].last_high = last >> 64
        ranges[i].last_low = last & 0xffffffffffffffff
    return ranges


cdef uint32_t state_bits(states) except? 0xffffffff:
    cdef uint32_t bits = 0
    for state in states:
        if not 0 <= state < 32:
            raise ValueError(f"no protocol has a state {state}")
        bits |= <uint32_t>1 << <int>state
    return bits


cdef class EventFilter:
    """Decides over one flow record. Without arguments, everything passes.

    `protocols` are numbers; `networks` are pairs of packed address (4 or 16 bytes, network byte order) and prefix length;
    `states` maps protocol numbers (6, 33, 132) to state numbers as the kernel counts them. Each of `accept_protocols`,
    `accept_networks` and `accept_states` says whether its list is of what passes or of what does not. None for a list means
    no such filter, an empty one is a list with nothing on it. Raises ValueError for what cannot be a protocol, network or state.
    """

    def __cinit__(self, *, protocols=None, bint accept_protocols=True, networks=None, bint accept_networks=True,
                  states=None, bint accept_states=True):
        memset(self.protocols, 0, 256)
        self.protocol_list = self.address_list = self.state_list = LIST_NONE
        if protocols is not None:
            self.set_protocols(protocols, accept_protocols)
        if networks is not None:
            self.set_networks(networks, accept_networks)
        if states is not None:
            self.set_states(states, accept_states)

    def __dealloc__(self):
        free(self.ranges_ipv4)
        free(self.ranges_ipv6)

    cdef int set_protocols(self, protocols, bint accept) except -1:
        for number in protocols:
            if not 0 <= number < 256:
                raise ValueError(f"{number} is not a protocol number")
            self.protocols[<int>number] = 1
        self.protocol_list = LIST_ACCEPT if accept else LIST_IGNORE
        return 0

    cdef int set_networks(self, networks, bint accept) except -1:
        listed = list(networks)
        if any(len(address) not in (4, 16) for address, prefix in listed):
            raise ValueError("an address has 4 or 16 bytes")
        ipv4 = merge_networks(network for network in listed if len(network[0]) == 4)
        ipv6 = merge_networks(network for network in listed if len(network[0]) == 16)
        self.ranges_ipv4 = make_ranges(ipv4)
        self.ranges_ipv6 = make_ranges(ipv6)
        self.count_ipv4 = len(ipv4)
        self.count_ipv6 = len(ipv6)
        self.address_list = LIST_ACCEPT if accept else LIST_IGNORE
        return 0

    cdef int set_states(self, states, bint accept) except -1:
        for protocol, numbers in states.items():
            if protocol == IPPROTO_TCP:
                self.tcp_states = state_bits(numbers)
            elif protocol == IPPROTO_SCTP:
                self.sctp_states = state_bits(numbers)
            elif protocol == IPPROTO_DCCP:
                self.dccp_states = state_bits(numbers)
            else:
                raise ValueError(f"protocol {protocol} has no states")
        self.state_list = LIST_ACCEPT if accept else LIST_IGNORE
        return 0

    cdef bint lists_address(self, uint8_t family, const uint8_t *address) noexcept nogil:
        if family == FAMILY_IPV4:
            return in_ranges(self.ranges_ipv4, self.count_ipv4, 0, load_be64(address) >> 32)
        return in_ranges(self.ranges_ipv6, self.count_ipv6, load_be64(address), load_be64(address + 8))

    cdef bint passes_addresses(self, const flow_t *flow) noexcept nogil:
        cdef bint listed = self.lists_address(flow.original.family, flow.original.source)
        if not listed:
            if has(flow, BIT_REPLY):
                listed = self.lists_address(flow.reply.family, flow.reply.source)
            else:
                listed = self.lists_address(flow.original.family, flow.original.destination)
        return listed == self.address_list

    cdef bint passes_state(self, const flow_t *flow) noexcept nogil:
        cdef uint32_t states
        cdef uint8_t state
        if has(flow, BIT_TCP_STATE):
            states, state = self.tcp_states, flow.tcp_state
        elif has(flow, BIT_SCTP_STATE):
            states, state = self.sctp_states, flow.sctp_state
        elif has(flow, BIT_DCCP_STATE):
            states, state = self.dccp_states, flow.dccp_state
        else:
            return True
        if states == 0 or state >= 32:
            return True
        return ((states >> state) & 1) == <uint32_t>self.state_list

    cdef bint accepts(self, const flow_t *flow) noexcept nogil:
        if self.protocol_list != LIST_NONE and self.protocols[flow.original.protocol] != self.protocol_list:
            return False
        if self.address_list != LIST_NONE and not self.passes_addresses(flow):
            return False
        return self.state_list == LIST_NONE or self.passes_state(flow)

    def decide(self, records):
        """A bool for each record of a FlowBatch, or of anything else that holds an array of them. ValueError."""
        cdef Py_buffer view
        cdef Py_ssize_t i
        cdef const flow_t *flows
        PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
        try:
            if view.len % sizeof(flow_t):
                raise ValueError("not a whole number of flow records")
            flows = <const flow_t *>view.buf
            return [self.accepts(&flows[i]) != 0 for i in range(view.len // <Py_ssize_t>sizeof(flow_t))]
        finally:
            PyBuffer_Release(&view)
