# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be changed of flows that exist, and the update that does it to one of them."""

from libc.stdint cimport uint8_t

from pyconntrack.core.record cimport flow_t

cdef enum:
    LABELS_KEEP = 0
    LABELS_DELETE = 1          # those in `labels_deleted`
    LABELS_DELETE_ALL = 2

cdef struct change_t:
    # What is set, by the bits in `values.present`: status (bits to set, none is ever unset), timeout, mark, which is
    # XORed to what is left of the old one without the bits of `mark_mask` (BIT_MARK_MASK; without it, nothing is
    # left), labels to add, states and their flags, helper, sequence adjustment, SYN proxy. Tuples, zones, id and NAT
    # name or select flows, and are left out.
    flow_t values
    uint8_t labels_deleted[16]
    uint8_t label_deletion     # LABELS_*

cdef class FlowChange:
    cdef change_t change

# The update of the flow `found` into `request`, which may not be `found` itself; False where nothing would change.
cdef bint change_flow(const change_t *change, const flow_t *found, flow_t *request) noexcept nogil
