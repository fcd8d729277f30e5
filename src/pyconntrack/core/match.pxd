# SPDX-License-Identifier: GPL-2.0-or-later
"""The selection of flows: what a flow must be like to be listed, changed, deleted or shown as an event."""

from libc.stdint cimport uint8_t, uint32_t

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.record cimport flow_t

# Which translations a flow must have: one of those set, or each with TRANSLATION_ALL.
cdef enum:
    TRANSLATION_SOURCE = 1
    TRANSLATION_DESTINATION = 2
    TRANSLATION_ALL = 4

cdef struct match_t:
    # Attributes compared are those whose bit is set in `wanted.present`; of the tuples, the fields named by
    # `original_fields` and `reply_fields` (CTA_FILTER_F_*), whose BIT_ORIGINAL and BIT_REPLY do not count. The mark is
    # compared in the bits of `wanted.mark_mask` (BIT_MARK_MASK) or in all; labels wanted must all be set; status bits
    # wanted must all be set. NAT addresses and ports are compared with what the direction's NAT made of them.
    flow_t wanted
    uint32_t original_fields
    uint32_t reply_fields
    uint8_t source_mask[16]        # of the original source; compared in these bits where CTA_FILTER_F_IP_SRC is set
    uint8_t destination_mask[16]
    uint8_t reply_source_ignored[16]       # of the reply's addresses, the bits that are not compared
    uint8_t reply_destination_ignored[16]
    uint32_t status_unset          # IPS_* that must not be set
    uint8_t family                 # AF_*, 0 is any
    uint8_t translation            # TRANSLATION_*, 0 does not ask

cdef class FlowMatch:
    cdef match_t match

cdef bint matches(const match_t *match, const flow_t *flow) noexcept nogil
