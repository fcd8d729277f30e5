# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes the words of conntrack's command line."""

cimport cython

from pyconntrack.core.command_meaning cimport command_line_t

# What is wrong with a command line. The messages are in command_line.pyx.
cdef enum:
    WRONG_NOTHING = 0
    WRONG_OPTION = 1               # unknown
    WRONG_ARGUMENT_MISSING = 2
    WRONG_COMBINATION = 3          # two commands
    WRONG_TABLE_NAME = 4
    WRONG_TABLE = 5                # the command does not go with dying and unconfirmed
    WRONG_ON_EXPECTATIONS = 6      # the command does not go with expect
    WRONG_ADDRESS = 7
    WRONG_NETMASK = 8
    WRONG_FAMILY = 9               # two families
    WRONG_PREFIX = 10              # an address with a length where none is possible
    WRONG_PROTOCOL = 11
    WRONG_NAME = 12                # in a list
    WRONG_SAVE_COMBINED = 13
    WRONG_NO_ADDRESS_IN_BRACKETS = 14
    WRONG_NO_CLOSING_BRACKET = 15
    WRONG_NO_PORT = 16
    WRONG_PORT = 17
    WRONG_TCP_STATE = 18
    WRONG_SCTP_STATE = 19
    WRONG_DCCP_STATE = 20
    WRONG_ROLE = 21
    WRONG_LABEL = 22
    WRONG_LABELS_BOTH_WAYS = 23
    WRONG_TRANSLATIONS = 24        # any NAT and one of the two
    WRONG_MISSING = 25             # an option that the command needs
    WRONG_ILLEGAL = 26             # an option that it does not take
    WRONG_ADDRESSES_MISSING = 27
    WRONG_REPLY_ADDRESSES_MISSING = 28
    WRONG_PORTS_MISSING = 29
    WRONG_REPLY_PORTS_MISSING = 30
    WRONG_MASK_WITHOUT_SOURCE = 31
    WRONG_MASK_WITHOUT_DESTINATION = 32
    WRONG_ZERO_FILTERED = 33
    WRONG_PARAMETERS = 34          # what the C tool hands to the kernel, or to its library, and has refused
    WRONG_EXCEPTION = 35           # raised by what finds labels; kept in the parser
    # In a file that is loaded.
    WRONG_COMMAND_IN_FILE = 36
    WRONG_WORD_TOO_LONG = 37
    WRONG_TOO_MANY_WORDS = 38
    WRONG_LINE_TOO_LONG = 39
    WRONG_NUL = 40

cdef struct problem_t:
    int wrong                      # WRONG_*
    int option                     # the option meant, where the message names it
    char text[1025]                # the text meant, cut where it is longer

@cython.final
cdef class Parser:
    """Takes the words of one command line after the other."""

    cdef command_line_t line
    cdef problem_t problem
    cdef object labels             # what gives the names of labels
    cdef object label_names
    cdef object failure            # the exception that it raised
    cdef list warnings

    # 0, or WRONG_*: see `problem`. The words must stay as long as `line` is used. `program` is what stands before
    # them.
    cdef int parse_words(self, const char **words, int count, const char *program) noexcept nogil

    cdef int note(self, int wrong, const char *text, int option) noexcept nogil
    cdef int take(self, int option, const char *argument, int joined) noexcept nogil
    cdef int take_command(self, int command, const char *table) noexcept nogil
    cdef int take_family(self, int family) noexcept nogil
    cdef int take_address(self, int option, const char *text) noexcept nogil
    cdef int take_translation(self, int option, const char *text, int joined) noexcept nogil
    cdef int take_protocol(self, const char *text) noexcept nogil
    cdef int take_list(self, int option, const char *text) noexcept nogil
    cdef int take_number(self, int option, const char *text) noexcept nogil
    cdef int take_labels(self, int option, const char *text) noexcept with gil
    cdef int take_port(self, int option, const char *text) noexcept nogil
    cdef int take_state(self, const char *text) noexcept nogil
    cdef int take_protocol_option(self, int option, const char *text) noexcept nogil
    cdef int take_role(self, const char *text) noexcept nogil
    cdef int check(self) noexcept nogil
    cdef int check_pair(self, int first, int reply, int wrong) noexcept nogil
    cdef int check_selection(self) noexcept nogil
    cdef int find_labels(self, int option, bytes text) except -1
    cdef int ask_labels(self) except -1
    cdef void warn(self, str text) noexcept with gil
