# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Words split into options, as getopt_long(3) does it: long names may be abbreviated, letters joined, values
joined with = or to the letter, and words that are no options may stand anywhere.
"""

from libc.stdint cimport uint8_t

cdef extern from "<string.h>" nogil:
    char *strchrnul(const char *text, int character)

from pyconntrack.core.option_table cimport *


cdef enum:
    EXCLAMATION = 33
    DASH = 45
    EQUALS = 61


cdef inline bint is_operand(const char *word) noexcept nogil:
    return word[0] != DASH or word[1] == 0


cdef const char *word_before(const scanner_t *scanner) noexcept nogil:
    """What getopt_long has put before the word at hand: the words that are no options move up to it."""
    if scanner.operand != NULL:
        return scanner.operand
    return scanner.words[scanner.index - 1] if scanner.index else scanner.program


cdef inline int with_argument(scanner_t *scanner, const option_t *option, const char **argument) noexcept nogil:
    """The option, and the next word where it must have an argument."""
    if option.argument == ARGUMENT_REQUIRED:
        if scanner.index == scanner.count:
            return SCAN_NO_ARGUMENT
        argument[0] = scanner.words[scanner.index]
        scanner.index += 1
    return option.option


cdef int scan_long(scanner_t *scanner, uint8_t names, const char **argument, int *joined) noexcept nogil:
    cdef const char *name = scanner.word + 2
    cdef const char *end = strchrnul(name, EQUALS)
    cdef const option_t *option = find_long(name, end - name, names)
    if option == NULL or (end[0] and option.argument == ARGUMENT_NONE):
        return SCAN_UNKNOWN
    if end[0] == 0:
        return with_argument(scanner, option, argument)
    argument[0] = end + 1
    joined[0] = JOINED_BY_EQUALS
    return option.option


cdef int scan_letter(scanner_t *scanner, const char **argument, int *joined) noexcept nogil:
    cdef const option_t *option = find_letter(scanner.letters[0])
    scanner.letters += 1
    if scanner.letters[0] == 0:
        scanner.letters = NULL
        scanner.index += 1
    if option == NULL:
        if scanner.letters != NULL:
            scanner.word = word_before(scanner)
        return SCAN_UNKNOWN
    if option.argument == ARGUMENT_NONE:
        return option.option
    if scanner.letters == NULL:
        return with_argument(scanner, option, argument)
    argument[0] = scanner.letters
    joined[0] = JOINED_TO_LETTER
    scanner.letters = NULL
    scanner.index += 1
    return option.option


cdef int scan(scanner_t *scanner, uint8_t names, const char **argument, int *joined) noexcept nogil:
    cdef const option_t *option
    argument[0] = NULL
    joined[0] = APART
    if scanner.letters != NULL:
        return scan_letter(scanner, argument, joined)
    while scanner.index < scanner.count and is_operand(scanner.words[scanner.index]):
        scanner.operand = scanner.words[scanner.index]
        scanner.index += 1
    if scanner.index == scanner.count:
        return SCAN_END
    scanner.word = scanner.words[scanner.index]
    if scanner.word[1] == DASH:
        scanner.index += 1
        return SCAN_END if scanner.word[2] == 0 else scan_long(scanner, names, argument, joined)
    if scanner.word[2] == 0:
        # A letter alone, as most are.
        scanner.index += 1
        option = find_letter(scanner.word[1])
        return SCAN_UNKNOWN if option == NULL else with_argument(scanner, option, argument)
    scanner.letters = scanner.word + 1
    return scan_letter(scanner, argument, joined)


cdef const char *optional_word(scanner_t *scanner) noexcept nogil:
    cdef const char *word
    if scanner.letters != NULL or scanner.index == scanner.count:
        return NULL
    word = scanner.words[scanner.index]
    if word[0] == DASH or word[0] == EXCLAMATION:
        return NULL
    scanner.index += 1
    return word


cdef bint takes_optional_word(int option) noexcept nogil:
    return (option >= FIRST_COMMAND or option == OPTION_SOURCE_NAT or option == OPTION_DESTINATION_NAT
            or option == OPTION_ANY_NAT or option == OPTION_LABEL_DELETE)
