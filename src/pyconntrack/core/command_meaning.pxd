# SPDX-License-Identifier: GPL-2.0-or-later
"""What conntrack's command line says, and what flows and expectations are meant by it."""

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from pyconntrack.core.expectation_record cimport expectation_t
from pyconntrack.core.match cimport match_t
from pyconntrack.core.record cimport flow_t, tuple_t

# What a line says, option by option: what of it counts is told by `given`. The flow holds tuples, attributes and NAT
# as written; make_template and make_match make of it what the command needs.
cdef struct command_line_t:
    uint64_t given                 # OPTION_* bits
    uint8_t command
    uint8_t table
    uint8_t family                 # AF_*, 0 is not said
    int16_t protocol               # -1 is not said
    uint16_t output
    uint8_t events
    bint label_deletion_of_all
    bint has_source_nat_address
    bint has_destination_nat_address
    bint has_any_nat_address
    uint32_t status_unset
    uint64_t buffer_size
    const char *label_map_path
    flow_t flow
    uint8_t source_mask[16]
    uint8_t destination_mask[16]
    uint8_t labels_added[16]
    uint8_t labels_deleted[16]
    tuple_t expected               # --tuple-src and the like
    tuple_t expected_mask

# The flow that the command creates, asks for, or what it sets.
cdef void make_template(const command_line_t *line, flow_t *flow) noexcept nogil
# What a flow must be like that the command is about.
cdef void make_match(const command_line_t *line, match_t *match) noexcept nogil
# The expectation that the command creates, asks for or deletes.
cdef void make_expectation(const command_line_t *line, expectation_t *expectation) noexcept nogil
# Whether the line's original tuple is whole: in each zone, it selects one flow at most.
cdef bint names_one_flow(const command_line_t *line) noexcept nogil
# A flow of DCCP saved under a kernel that does not track the protocol: without ports and state.
cdef bint is_bare_dccp(const command_line_t *line) noexcept nogil
