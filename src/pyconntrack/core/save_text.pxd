# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow as a line of options for `conntrack -R`, without a newline. At most TEXT_MAX bytes and the labels' names."""

from pyconntrack.core.record cimport flow_t
from pyconntrack.core.text_names cimport line_context_t

cdef char *write_save(char *out, const flow_t *flow, const line_context_t *context) noexcept nogil
