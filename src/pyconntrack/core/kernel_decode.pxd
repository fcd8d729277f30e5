# SPDX-License-Identifier: GPL-2.0-or-later
"""ctnetlink's messages into flow records."""

from libc.stdint cimport uint8_t, uint32_t

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.record cimport flow_t, tuple_t

cdef enum:
    DECODE_NOT_A_FLOW = -1     # another subsystem or command
    DECODE_MALFORMED = -2      # a length that lies, or a value too short for its attribute

# What decode_datagram met.
cdef enum:
    DATAGRAM_DONE = 1          # NLMSG_DONE: the dump is complete
    DATAGRAM_INTERRUPTED = 2   # NLM_F_DUMP_INTR: the table changed under the dump
    DATAGRAM_ERROR = 4         # NLMSG_ERROR with an errno

cdef struct datagram_result_t:
    uint32_t flows             # appended to the batch
    uint32_t malformed         # messages, or rests of a datagram, that could not be read
    uint32_t others            # well-formed, but not flows
    int found                  # DATAGRAM_*
    int error                  # errno of NLMSG_ERROR or NLMSG_DONE, 0 if none
    bint out_of_memory         # the batch could not grow

# One whole netlink message of conntrack's subsystem into `flow`, which is cleared first. 0, or DECODE_*.
cdef int decode_flow(const uint8_t *message, uint32_t length, flow_t *flow) noexcept nogil

# A CTA_TUPLE_* attribute's content into a cleared tuple. 0, or DECODE_MALFORMED. `zone_given` is set to 1 on
# CTA_TUPLE_ZONE.
cdef int decode_tuple(const uint8_t *data, uint32_t length, tuple_t *result, bint *zone_given) noexcept nogil

# Every message of a datagram; flows go to the end of `batch`. 0, or -1 where `result` says that not all was
# read.
cdef int decode_datagram(const uint8_t *data, uint32_t length, FlowBatch batch,
                         datagram_result_t *result) noexcept nogil
