# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as a JSON object, without a newline. At most JSON_MAX bytes, and the labels' names with three bytes about each."""

from libc.stdint cimport uint32_t, uint64_t

from pyconntrack.core.record cimport flow_t, tuple_t
from pyconntrack.core.text_names cimport line_context_t
from pyconntrack.core.text_writer cimport write_field, write_text

cdef enum:
    JSON_MAX = 8192

cdef char *write_json(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil

# The parts, for other records: the members of a tuple's object; a string in quotes; a set of bits.
cdef char *json_tuple(char *out, const tuple_t *tuple_) noexcept nogil
cdef char *write_string(char *out, const char *text, uint32_t size) noexcept nogil
cdef char *json_bits(char *out, const char *name, uint32_t value, const char *const *words, int count) noexcept nogil


cdef inline char *member(char *out, const char *name, uint64_t value) noexcept nogil:
    """`name` is the key in quotes, and the colon."""
    return write_text(write_field(out, name, value), b",")


cdef inline char *end_object(char *out) noexcept nogil:
    """Close an object that has members, or is empty."""
    if out[-1] == 44:
        out -= 1
    return write_text(out, b"},")


cdef inline char *end_array(char *out) noexcept nogil:
    if out[-1] == 44:
        out -= 1
    return write_text(out, b"],")
