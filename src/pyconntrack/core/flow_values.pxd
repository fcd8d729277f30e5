# SPDX-License-Identifier: GPL-2.0-or-later
"""One flow record as Python values: those that FlowBatch.unpack gives and pack takes."""

from pyconntrack.core.record cimport flow_t, tuple_t

# {attribute: value} of what is present, and `event`.
cdef dict values_of(const flow_t *flow)

# Set one attribute of a cleared record. ValueError, OverflowError, TypeError.
cdef int set_value(flow_t *f, str name, object value) except -1

# {attribute: number of its bit in `present`}.
cdef dict attribute_bits()

# The parts, for other records: a tuple as the nine values that Tuple.values() gives, and back; text of at most
# `size` - 1 bytes, zero-terminated.
cdef tuple tuple_values(const tuple_t *t)
cdef int set_tuple(tuple_t *t, object value, str name) except -1
cdef str some_text(const char *data, size_t size)
cdef int set_text(char *out, str text, Py_ssize_t size, str name) except -1
