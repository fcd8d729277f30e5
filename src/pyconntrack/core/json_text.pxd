# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as a JSON object, without a newline. At most JSON_MAX bytes, and the labels' names with three bytes about each."""

from pyconntrack.core.record cimport flow_t
from pyconntrack.core.text_names cimport line_context_t

cdef enum:
    JSON_MAX = 8192

cdef char *write_json(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil
