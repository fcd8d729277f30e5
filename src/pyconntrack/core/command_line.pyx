# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""conntrack's command line as Python holds it, and what is wrong with one, in the words of the C tool."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc

from os import fsdecode

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.command_meaning cimport *
from pyconntrack.core.command_parser cimport *
from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.match cimport FlowMatch
from pyconntrack.core.option_table cimport *
from pyconntrack.core.option_values cimport *
from pyconntrack.core.record cimport LABELS_SIZE

COMMAND_NONE = COMMAND_NONE_
COMMAND_LIST = COMMAND_LIST_
COMMAND_CREATE = COMMAND_CREATE_
COMMAND_ADD = COMMAND_ADD_
COMMAND_UPDATE = COMMAND_UPDATE_
COMMAND_DELETE = COMMAND_DELETE_
COMMAND_GET = COMMAND_GET_
COMMAND_FLUSH = COMMAND_FLUSH_
COMMAND_EVENT = COMMAND_EVENT_
COMMAND_VERSION = COMMAND_VERSION_
COMMAND_HELP = COMMAND_HELP_
COMMAND_COUNT = COMMAND_COUNT_
COMMAND_STATISTICS = COMMAND_STATISTICS_
COMMAND_LOAD = COMMAND_LOAD_

TABLE_CONNTRACK = TABLE_CONNTRACK_
TABLE_EXPECT = TABLE_EXPECT_
TABLE_DYING = TABLE_DYING_
TABLE_UNCONFIRMED = TABLE_UNCONFIRMED_

OUTPUT_XML = OUTPUT_XML_BIT
OUTPUT_EXTENDED = OUTPUT_EXTENDED_BIT
OUTPUT_TIMESTAMP = OUTPUT_TIMESTAMP_BIT
OUTPUT_ID = OUTPUT_ID_BIT
OUTPUT_KERNEL_TIMESTAMP = OUTPUT_KERNEL_TIMESTAMP_BIT
OUTPUT_LABELS = OUTPUT_LABELS_BIT
OUTPUT_USERSPACE = OUTPUT_USERSPACE_BIT
OUTPUT_SAVE = OUTPUT_SAVE_BIT
OUTPUT_JSON = OUTPUT_JSON_BIT

EVENTS_NEW = EVENTS_NEW_BIT
EVENTS_UPDATE = EVENTS_UPDATE_BIT
EVENTS_DESTROY = EVENTS_DESTROY_BIT


class CommandLineError(Exception):
    """What is wrong with a command line, in the words of the C tool.

    `status` is the exit code: 2, or 1 where the C tool finds the fault too late to call it one of the command line.
    `usage` says whether a hint at the help follows, `warnings` are whole lines that come before. `line` is the number of
    the line in a file that is loaded, counted from 1; None otherwise.
    """

    def __init__(self, str message, int status, bint usage, list warnings, line=None):
        super().__init__(message)
        self.status = status
        self.usage = usage
        self.warnings = warnings
        self.line = line


cdef frozenset FOUND_LATE = frozenset((WRONG_SAVE_COMBINED, WRONG_LABELS_BOTH_WAYS, WRONG_PARAMETERS))

cdef dict MESSAGES = {
    WRONG_OPTION: "unknown option `{text}'",
    WRONG_ARGUMENT_MISSING: "option `{text}' requires an argument",
    WRONG_COMBINATION: "Invalid commands combination",
    WRONG_TABLE_NAME: "unknown type `{text}'",
    WRONG_TABLE: "Can't do that command with tables `dying' and `unconfirmed'",
    WRONG_ON_EXPECTATIONS: "Can't do --{option} on expectations",
    WRONG_ADDRESS: "Invalid IP address `{text}'",
    WRONG_NETMASK: "Invalid netmask",
    WRONG_FAMILY: "mismatched address family",
    WRONG_PREFIX: "CIDR notation unavailable for `--{option}'",
    WRONG_PROTOCOL: "`{text}' unsupported protocol",
    WRONG_NAME: "Bad parameter `{text}'",
    WRONG_SAVE_COMBINED: "cannot combine save output with any other output type, use -o save only",
    WRONG_NO_ADDRESS_IN_BRACKETS: "No IPv6 address specified",
    WRONG_NO_CLOSING_BRACKET: "No closing ']' around IPv6 address",
    WRONG_NO_PORT: "No port specified after `:'",
    WRONG_PORT: "Invalid port `{text}'",
    WRONG_TCP_STATE: "unknown TCP state `{text}'",
    WRONG_SCTP_STATE: "unknown SCTP state `{text}'",
    WRONG_DCCP_STATE: "Unknown DCCP state `{text}'",
    WRONG_ROLE: "Unknown DCCP role `{text}'",
    WRONG_LABEL: "unknown label '{text}'",
    WRONG_LABELS_BOTH_WAYS: "cannot use --label-add and --label-del at the same time",
    WRONG_TRANSLATIONS: "cannot specify `--src-nat' or `--dst-nat' with `--any-nat'",
    WRONG_MISSING: "You need to supply the `--{option}' option for this command",
    WRONG_ILLEGAL: "Illegal option `--{option}' with this command",
    WRONG_ADDRESSES_MISSING: "you have to specify `--src' and `--dst'",
    WRONG_REPLY_ADDRESSES_MISSING: "you have to specify `--reply-src' and `--reply-dst'",
    WRONG_MASK_WITHOUT_SOURCE: "Can't use --mask-src without --src",
    WRONG_MASK_WITHOUT_DESTINATION: "Can't use --mask-dst without --dst",
    WRONG_ZERO_FILTERED: "Can't use -z with filtering parameters",
    WRONG_PARAMETERS: "Operation failed: invalid parameters",
    WRONG_COMMAND_IN_FILE: "Cannot use command `{text}' with --load-file",
    WRONG_WORD_TOO_LONG: "Parameter too long!",
    WRONG_TOO_MANY_WORDS: "too many arguments",
    WRONG_LINE_TOO_LONG: "the line is too long",
    WRONG_NUL: "NUL byte among the parameters",
}


cdef str ports_missing(int protocol, bint reply):
    if protocol == 47:
        names = ("--reply-src-key", "--reply-dst-key") if reply else ("--srckey", "--dstkey")
    elif not reply:
        names = ("--sport", "--dport")
    else:
        names = ("--reply-port-src", "--report-port-dst") if protocol == 33 else ("--reply-src-port", "--reply-dst-port")
    return f"you have to specify `{names[0]}' and `{names[1]}'"


cdef str named_option(const problem_t *problem, int protocol):
    cdef const char *name
    if problem.option >= FIRST_COMMAND:
        return "add" if problem.option == FIRST_COMMAND + COMMAND_ADD_ else "update"
    name = option_name(problem.option, protocol)
    return "" if name == NULL else (<bytes>name).decode()


cdef str shown(str text):
    """Control characters escaped: what is wrong may stand in somebody else's file, and goes to a terminal."""
    return "".join([f"\\x{ord(one):02x}" if one < " " or "\x7f" <= one < "\xa0" else one for one in text])


cdef object error_of(Parser parser):
    cdef int wrong = parser.problem.wrong
    if wrong == WRONG_EXCEPTION:
        return parser.failure
    status = 1 if wrong in FOUND_LATE else 2
    text = shown(fsdecode(<bytes>parser.problem.text))
    if wrong == WRONG_PORTS_MISSING or wrong == WRONG_REPLY_PORTS_MISSING:
        message = ports_missing(parser.line.protocol, wrong == WRONG_REPLY_PORTS_MISSING)
    else:
        message = MESSAGES[wrong].format(text=text, option=named_option(&parser.problem, parser.line.protocol))
    return CommandLineError(message, status, status == 2, list(parser.warnings))


# What Python holds.

cdef bytes bytes_of(const void *data, Py_ssize_t length):
    return (<const char *>data)[:length]


cdef class CommandLine:
    """One command line that is sound. Made by parse()."""

    @property
    def command(self):
        """COMMAND_*."""
        return self.line.command

    @property
    def table(self):
        """TABLE_*."""
        return self.line.table

    @property
    def given(self):
        """The set of options that were given, by their bits."""
        return self.line.given

    def has(self, str name not None):
        """Whether an option was given, by its long name in full. KeyError where there is none of that name."""
        text = name.encode()
        cdef const option_t *option = find_long(text, len(text), 0xff)
        if option == NULL or option.option > LAST_OPTION:
            raise KeyError(name)
        return self.line.given >> option.option & 1 != 0

    @property
    def family(self):
        """AF_INET, AF_INET6, or 0 where neither follows from the line."""
        return self.line.family

    @property
    def protocol(self):
        """IPPROTO_*, or None."""
        return None if self.line.protocol < 0 else self.line.protocol

    @property
    def output(self):
        """A set of OUTPUT_*."""
        return self.line.output

    @property
    def events(self):
        """A set of EVENTS_*; 0 where none are named, which means all."""
        return self.line.events

    @property
    def buffer_size(self):
        """Bytes, or None. Up to 2^64 - 1: what a socket cannot have, the kernel cuts."""
        return self.line.buffer_size if self.has("buffer-size") else None

    @property
    def load_file(self):
        """The path behind -R, "-" for standard input; None without -R."""
        return self.load_file_

    @property
    def label_map_path(self):
        return self.label_map

    @property
    def zero_counters(self):
        return self.has("zero")

    @property
    def template(self):
        """One flow: what is created or got, or what an update sets. See FlowChange for the latter."""
        cdef FlowBatch batch = FlowBatch(1)
        make_template(&self.line, batch.append())
        return batch

    @property
    def match(self):
        """What flows must be like that are listed, changed, deleted or shown as events."""
        cdef FlowMatch match = FlowMatch()
        make_match(&self.line, &match.match)
        return match

    @property
    def names_one_flow(self):
        """Whether the original tuple is given in full: in each zone, at most one flow is selected."""
        return names_one_flow(&self.line) != 0

    @property
    def expectation(self):
        """One expectation: what is created, or what names those that are got or deleted."""
        cdef ExpectationBatch batch = ExpectationBatch()
        make_expectation(&self.line, batch.append())
        return batch

    @property
    def labels_to_add(self):
        """16 bytes, bit n of byte n // 8 being label n; empty where none are added."""
        return bytes_of(self.line.labels_added, LABELS_SIZE) if self.has("label-add") else b""

    @property
    def labels_to_delete(self):
        """16 bytes, True for all labels, or None where none are deleted."""
        if not self.has("label-del"):
            return None
        return True if self.line.label_deletion_of_all else bytes_of(self.line.labels_deleted, LABELS_SIZE)

    @property
    def warnings(self):
        """Lines for standard error, before anything else is done."""
        return list(self.warnings_)


cdef CommandLine command_line_of(Parser parser):
    """What the parser holds, independent of the words."""
    cdef CommandLine command = CommandLine()
    command.line = parser.line
    command.warnings_ = list(parser.warnings)
    if parser.line.label_map_path != NULL:
        command.label_map = fsdecode(<bytes>parser.line.label_map_path)
    command.line.label_map_path = NULL
    return command


cdef CommandLine load_command(bytes path):
    cdef CommandLine command = CommandLine()
    command.line.command = COMMAND_LOAD_
    command.line.protocol = -1
    command.load_file_ = path
    command.warnings_ = []
    return command


def parse(words, labels, bytes program=b"conntrack"):
    """Parse the words behind the program's name, each as bytes.

    `labels` is called where a label is named, with the path of --labelmap or None, and gives what finds a label's number
    by its name (find), or raises OSError. `program` is the name under which the program was started. Raises
    CommandLineError, and what `labels` raises otherwise.
    """
    cdef Parser parser = Parser(labels)
    cdef list held = [bytes(word) for word in words]
    cdef int count = <int>len(held), wrong, i
    cdef const char **pointers
    if any(b"\0" in word for word in held):
        parser.note(WRONG_NUL, NULL, 0)
        raise error_of(parser)
    # Only as the first word, and nothing behind the file is looked at.
    if count > 1 and held[0] in (b"-R", b"--load-file"):
        return load_command(held[1])
    pointers = <const char **>PyMem_Malloc((count + 1) * sizeof(char *))
    if pointers == NULL:
        raise MemoryError
    try:
        for i in range(count):
            pointers[i] = <bytes>held[i]
        wrong = parser.parse_words(pointers, count, program)
        if wrong:
            raise error_of(parser)
        return command_line_of(parser)
    finally:
        PyMem_Free(pointers)
