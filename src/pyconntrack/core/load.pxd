# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of conntrack's command language, into requests."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from pyconntrack.core.command_parser cimport Parser
from pyconntrack.core.record cimport flow_t
from pyconntrack.core.requests cimport RequestBatch

cdef enum:
    WORDS_MAX = 253                # of a line, as the C tool takes them
    WORD_MAX = 1023                # bytes
    LINE_MAX = 65536

cdef struct origin_t:              # of a request
    uint64_t line
    uint8_t command

@cython.final
cdef class Loader:
    cdef Parser parser
    cdef RequestBatch requests     # None: the lines are only checked
    cdef origin_t *origins         # by the position of the request
    cdef char *buffer
    cdef Py_ssize_t capacity
    cdef Py_ssize_t start          # of what is not read yet
    cdef Py_ssize_t end
    cdef bint final                # nothing follows the buffer
    cdef uint64_t line_number_
    cdef const char* words[254]
    cdef int word_count
    cdef flow_t flow
    cdef bint pending              # the flow did not fit into the batch

    cdef int fill_nogil(self) noexcept nogil
    cdef char *next_line(self, char **line_end) noexcept nogil
    cdef int split(self, char *text) noexcept nogil
    cdef int add_word(self, const char *word, Py_ssize_t length) noexcept nogil
    cdef int handle(self) noexcept nogil
    cdef bint add(self) noexcept nogil
