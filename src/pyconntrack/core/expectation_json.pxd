# SPDX-License-Identifier: GPL-2.0-or-later
"""An expectation as a JSON object, without a newline."""

from pyconntrack.core.expectation_record cimport expectation_t

# At most EXPECTATION_TEXT_MAX bytes; where it stopped.
cdef char *write_expectation_json(char *out, const expectation_t *e) noexcept nogil
