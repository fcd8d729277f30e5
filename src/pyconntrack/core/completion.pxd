# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel needs to create a flow of another node's, beside what the wire carries of it."""

from libc.stdint cimport int64_t, uint32_t

from pyconntrack.core.record cimport flow_t

# CommitTimeout in seconds, or -1, and whether the kernel is to check TCP windows (TCPWindowTracking).
cdef struct completion_t:
    int64_t timeout
    bint window_tracking

# Make a flow that was told `age` seconds ago one that the kernel creates.
cdef void complete_flow(flow_t *flow, const completion_t *options, uint32_t age) noexcept nogil

# The TCP flags alone, for a change of a flow that exists, too.
cdef void complete_tcp(flow_t *flow, bint window_tracking) noexcept nogil
