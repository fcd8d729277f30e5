# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as an XML element, without a newline. At most TEXT_MAX bytes, and the labels' names with 15 bytes about each."""

from pyconntrack.core.record cimport flow_t
from pyconntrack.core.text_names cimport line_context_t

cdef char *write_xml(char *out, const flow_t *flow, line_context_t *context) noexcept nogil
