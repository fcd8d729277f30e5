# SPDX-License-Identifier: GPL-2.0-or-later
"""conntrack's command line as Python holds it."""

from pyconntrack.core.command_meaning cimport command_line_t
from pyconntrack.core.command_parser cimport Parser

cdef class CommandLine:
    cdef command_line_t line
    cdef list warnings_
    cdef bytes load_file_
    cdef object label_map

# What a parser holds, as Python sees it: independent of the words.
cdef CommandLine command_line_of(Parser parser)
# The exception for what the parser found wrong.
cdef object error_of(Parser parser)
