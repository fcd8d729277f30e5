# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as one line of the conntrack command, in any of its forms."""

from pyconntrack.core.record cimport flow_t
from pyconntrack.core.text_names cimport line_context_t

cdef enum:
    LINE_MAX = 8704            # no line is longer, but for the names of labels

# One line with its newline; where it ended.
cdef char *write_line(char *out, const flow_t *flow, int form, line_context_t *context) noexcept nogil
