# SPDX-License-Identifier: GPL-2.0-or-later
"""One flow record as Python values: those that FlowBatch.unpack gives and pack takes."""

from pyconntrack.core.record cimport flow_t

# {attribute: value} of what is present, and `event`.
cdef dict values_of(const flow_t *flow)

# Set one attribute of a cleared record. ValueError, OverflowError, TypeError.
cdef int set_value(flow_t *f, str name, object value) except -1

# {attribute: number of its bit in `present`}.
cdef dict attribute_bits()
