# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel needs to create a flow of another node's, beside what the wire carries of it."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from pyconntrack.core.kernel_encode cimport prepare_create
from pyconntrack.core.record cimport *

cdef enum:
    TCP_FLAG_WINDOW_SCALE = 0x01   # IP_CT_TCP_FLAG_*, linux/netfilter/nf_conntrack_tcp.h
    TCP_FLAG_BE_LIBERAL = 0x08
    FALLBACK_TIMEOUT = 60          # seconds, where the known timeout has run out
    UNTOLD_TIMEOUT = 180           # where the peer sends none


cdef void complete_flow(flow_t *flow, const completion_t *options, uint32_t age) noexcept nogil:
    cdef int64_t left
    if options.timeout >= 0:
        flow.timeout = <uint32_t>options.timeout
    elif has(flow, BIT_TIMEOUT):
        left = <int64_t>flow.timeout - <int64_t>age
        flow.timeout = <uint32_t>left if left > 0 else FALLBACK_TIMEOUT
    else:
        flow.timeout = UNTOLD_TIMEOUT
    put(flow, BIT_TIMEOUT)
    complete_tcp(flow, options.window_tracking)
    prepare_create(flow)


cdef void complete_tcp(flow_t *flow, bint window_tracking) noexcept nogil:
    """Let the kernel take the next packet whatever its window, unless windows are tracked and known."""
    cdef uint8_t flags = TCP_FLAG_BE_LIBERAL
    if flow.original.protocol != 6:
        return
    if window_tracking:
        if not has(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL) or not has(flow, BIT_TCP_WINDOW_SCALE_REPLY):
            return
        flags = TCP_FLAG_WINDOW_SCALE
    flow.tcp_flags_original = flow.tcp_flags_mask_original = flags
    flow.tcp_flags_reply = flow.tcp_flags_mask_reply = flags
    put(flow, BIT_TCP_FLAGS_ORIGINAL)
    put(flow, BIT_TCP_FLAGS_REPLY)
