# SPDX-License-Identifier: GPL-2.0-or-later
"""Words split into options, as getopt_long(3) does it."""

from libc.stdint cimport uint8_t

cdef struct scanner_t:
    const char **words
    int count
    int index                      # the next word
    const char *program
    const char *letters            # what is left of a word of letters, or NULL
    const char *operand            # the last word met that is no option, or NULL
    const char *word               # what the option at hand came from, for messages

# What scan() gives: an option, or one of these.
cdef enum:
    SCAN_END = -1
    SCAN_UNKNOWN = -2
    SCAN_NO_ARGUMENT = -3

# How an argument came to its option.
cdef enum:
    APART = 0                      # a word of its own
    JOINED_BY_EQUALS = 1
    JOINED_TO_LETTER = 2

# The next option, with the argument that belongs to it in any case. `names` is the set of NAMES_* that are known.
cdef int scan(scanner_t *scanner, uint8_t names, const char **argument, int *joined) noexcept nogil
# The next word, where it can be the argument of an option that needs none; NULL.
cdef const char *optional_word(scanner_t *scanner) noexcept nogil
# Whether an option asks for optional_word() where nothing is joined to it.
cdef bint takes_optional_word(int option) noexcept nogil
