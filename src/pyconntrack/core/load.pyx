# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Lines of conntrack's command language, as -o save writes them and -R reads them, into requests.

A line is a command line without the program's name. Words are separated by spaces and tabs, and may be quoted by double
quotes, in which \" is one. Empty lines, and those that begin with #, are skipped.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memchr, memcpy, memmove, memset

from pyconntrack.core.command_line cimport CommandLine, command_line_of, error_of
from pyconntrack.core.command_meaning cimport make_template
from pyconntrack.core.command_parser cimport *
from pyconntrack.core.netlink cimport IPCTNL_MSG_CT_NEW, NLM_F_CREATE, NLM_F_EXCL
from pyconntrack.core.option_table cimport *

from errno import EEXIST

cdef extern from "<endian.h>" nogil:
    uint64_t le64toh(uint64_t value)

cdef extern from * nogil:
    int __builtin_ctzll(unsigned long long value)

cdef enum:
    FILL_MORE = 0
    FILL_FULL = 1
    FILL_COMMAND = 2
    FILL_WRONG = -1

MORE = FILL_MORE
FULL = FILL_FULL
COMMAND = FILL_COMMAND


cdef enum:
    PADDING = 8                    # bytes behind what was read: a zero for the last word, and what marks_of reads
    TAB = 9
    RETURN = 13
    SPACE = 32
    QUOTE = 34
    HASH = 35
    BACKSLASH = 92


cdef inline uint64_t marks_of(const char *text) noexcept nogil:
    """Of the next eight bytes, those up to a quote: the high bit of each, the first byte being the lowest."""
    cdef uint64_t eight
    memcpy(&eight, text, 8)
    eight = le64toh(eight)
    return ~((eight & 0x7f7f7f7f7f7f7f7fULL) + 0x5d5d5d5d5d5d5d5dULL | eight) & 0x8080808080808080ULL


cdef char *unquote(char *text, char **end) noexcept nogil:
    """From a word's first quote on, move what is in and between quotes together: `end` is where the word ends then.

    Where the text goes on: a space, a tab or a zero.
    """
    cdef char *out = text
    cdef bint quoted = False
    while text[0] != 0 and (quoted or (text[0] != SPACE and text[0] != TAB)):
        if text[0] == QUOTE:
            quoted = not quoted
            text += 1
            continue
        if quoted and text[0] == BACKSLASH and text[1] == QUOTE:
            text += 1
        out[0] = text[0]
        out += 1
        text += 1
    end[0] = out
    return text


cdef class Loader:
    """Reads lines and adds what they create to a batch of requests; other commands it hands out.

    Without a batch, the lines are only checked. `labels` is as for parse(). In a loop: feed() what was read of the file,
    and call fill() until it asks for more. Where it gives FULL, the batch is to be sent and cleared; where it gives
    COMMAND, the batch, and then `command` is to be carried out, which was on the line `line_number`. The file is done when
    fill() asks for more after feed(..., final=True); the batch may hold requests then.
    """

    def __cinit__(self, labels, RequestBatch requests=None):
        self.parser = Parser(labels)
        self.requests = requests
        if requests is not None:
            self.origins = <origin_t *>calloc(requests.count_limit, sizeof(origin_t))
            if self.origins == NULL:
                raise MemoryError

    def __dealloc__(self):
        free(self.origins)
        free(self.buffer)

    def feed(self, const uint8_t[::1] data not None, bint final=False):
        """Append a piece of the file. `final` says that it is the last one, which may be empty. MemoryError."""
        cdef Py_ssize_t length = data.shape[0], left = self.end - self.start
        cdef char *moved
        # The words of the last line go with the buffer.
        self.parser.line.label_map_path = NULL
        if self.start:
            memmove(self.buffer, self.buffer + self.start, left)
            self.start, self.end = 0, left
        if left + length + PADDING > self.capacity:
            moved = <char *>realloc(self.buffer, left + length + PADDING)
            if moved == NULL:
                raise MemoryError
            self.buffer = moved
            self.capacity = left + length + PADDING
        if length:
            memcpy(self.buffer + left, &data[0], length)
        self.end = left + length
        memset(self.buffer + self.end, 0, PADDING)
        self.final = final

    def fill(self):
        """Read on: MORE, FULL or COMMAND.

        Raises CommandLineError, with `line` set, where a line is wrong; after it, fill() goes on with the next one.
        """
        cdef int found
        with nogil:
            found = self.fill_nogil()
        if found != FILL_WRONG:
            return found
        error = error_of(self.parser)
        if self.parser.problem.wrong != WRONG_EXCEPTION:
            error.line = self.line_number_
        self.parser.warnings.clear()
        raise error

    @property
    def command(self):
        """The command that is to be carried out after the batch, where fill() gave COMMAND."""
        cdef CommandLine command = command_line_of(self.parser)
        self.parser.warnings.clear()
        return command

    @property
    def line_number(self):
        """Of the line read last, from 1."""
        return self.line_number_

    def take_warnings(self):
        """The lines for standard error that came up since the last call."""
        warnings = list(self.parser.warnings)
        self.parser.warnings.clear()
        return warnings

    def failures(self, list outcomes not None):
        """Of what RequestBatch.collect() gave, before the batch is cleared: [(line, errno), ...].

        A flow that exists is no failure of -A.
        """
        cdef origin_t origin
        found = []
        for position, error in outcomes:
            if self.requests is None or position < 0 or position >= self.requests.count:
                raise IndexError("no such request")
            origin = self.origins[<Py_ssize_t>position]
            if error != EEXIST or origin.command != COMMAND_ADD_:
                found.append((origin.line, error))
        return found

    cdef char *next_line(self, char **line_end) noexcept nogil:
        """The next line that is whole, or NULL. `start` moves behind it."""
        cdef char *begin = self.buffer + self.start
        cdef Py_ssize_t left = self.end - self.start
        cdef char *newline
        if left == 0:
            return NULL
        newline = <char *>memchr(begin, 10, left)
        if newline == NULL:
            if not self.final and left <= LINE_MAX:
                return NULL
            newline = begin + left
            self.start = self.end
        else:
            self.start = newline + 1 - self.buffer
        line_end[0] = newline
        return begin

    cdef int split(self, char *text) noexcept nogil:
        """Into words, each with a zero behind it, up to the zero at the line's end."""
        cdef char *word = text
        cdef char *block
        cdef char *end
        cdef char *after
        cdef uint64_t marks
        cdef bint quoted, last
        self.word_count = 0
        while True:
            block = text
            text += 8
            marks = marks_of(block)
            while marks:
                end = after = block + (__builtin_ctzll(marks) >> 3)
                marks &= marks - 1
                if self.word_count == 0 and word[0] == HASH:
                    return 0
                quoted = end[0] == QUOTE
                if quoted:
                    after = unquote(end, &end)
                    marks, text = 0, after + 1
                elif end[0] != SPACE and end[0] != TAB and end[0] != 0:
                    continue
                if (end != word or quoted) and self.add_word(word, end - word):
                    return self.parser.problem.wrong
                last = after[0] == 0
                end[0] = 0
                if last:
                    return 0
                word = after + 1

    cdef int add_word(self, const char *word, Py_ssize_t length) noexcept nogil:
        if self.word_count == WORDS_MAX:
            return self.parser.note(WRONG_TOO_MANY_WORDS, NULL, 0)
        if length > WORD_MAX:
            return self.parser.note(WRONG_WORD_TOO_LONG, NULL, 0)
        self.words[self.word_count] = word
        self.word_count += 1
        return 0

    cdef bint add(self) noexcept nogil:
        cdef origin_t *origin
        # With NLM_F_EXCL for -A, too: the C tool leaves a flow that exists as it is.
        if not self.requests.add(&self.flow, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL):
            self.pending = True
            return False
        self.pending = False
        origin = &self.origins[self.requests.count - 1]
        origin.line = self.line_number_
        origin.command = self.parser.line.command
        return True

    cdef int handle(self) noexcept nogil:
        """One line that was split: FILL_MORE to go on, or what is to be told."""
        cdef char name[3]
        cdef int command
        if self.parser.parse_words(self.words, self.word_count, b"conntrack"):
            return FILL_WRONG
        command = self.parser.line.command
        if (command == COMMAND_CREATE_ or command == COMMAND_ADD_) and self.parser.line.table == TABLE_CONNTRACK_:
            make_template(&self.parser.line, &self.flow)
            return FILL_MORE if self.requests is None or self.add() else FILL_FULL
        if (command == COMMAND_CREATE_ or command == COMMAND_UPDATE_ or command == COMMAND_DELETE_
                or command == COMMAND_FLUSH_):
            return FILL_MORE if self.requests is None else FILL_COMMAND
        if command == COMMAND_NONE_:
            self.parser.note(WRONG_COMMAND_IN_FILE, b"unknown", 0)
            return FILL_WRONG
        name[0], name[1], name[2] = 45, command_letter(command), 0
        self.parser.note(WRONG_COMMAND_IN_FILE, name, 0)
        return FILL_WRONG

    cdef int fill_nogil(self) noexcept nogil:
        cdef char *line
        cdef char *end
        cdef int found
        if self.pending and not self.add():
            return FILL_FULL
        while True:
            line = self.next_line(&end)
            if line == NULL:
                return FILL_MORE
            self.line_number_ += 1
            if end - line > LINE_MAX:
                self.parser.note(WRONG_LINE_TOO_LONG, NULL, 0)
                return FILL_WRONG
            # It would end a word and the line, and hide the conditions behind it.
            if memchr(line, 0, end - line) != NULL:
                self.parser.note(WRONG_NUL, NULL, 0)
                return FILL_WRONG
            if end > line and end[-1] == RETURN:
                end -= 1
            end[0] = 0
            if self.split(line):
                return FILL_WRONG
            if self.word_count == 0:
                continue
            found = self.handle()
            if found != FILL_MORE:
                return found
