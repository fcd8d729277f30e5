# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectation records as the lines that `conntrack -L expect` and `-E expect` print."""

from libc.stdint cimport int64_t

from pyconntrack.core.expectation_record cimport expectation_t

cdef enum:
    EXPECTATION_TEXT_MAX = 4096        # no line is longer

# One line, with its newline, into `out`, which has room for EXPECTATION_TEXT_MAX bytes; its length. The form is
# TEXT_PLAIN, TEXT_XML or TEXT_JSON; of the flags, TEXT_EVENT and TEXT_TIME count. The time is that of the epoch.
cdef Py_ssize_t format_expectation(const expectation_t *expectation, int form, int flags, int64_t now_seconds,
                                   int64_t now_microseconds, char *out) noexcept nogil
