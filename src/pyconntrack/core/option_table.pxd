# SPDX-License-Identifier: GPL-2.0-or-later
"""Which options conntrack's command line has, and which of them go with which command and table: data.

Source: conntrack(8); which goes with which, and in what order it is checked, is that of conntrack 1.4.7.
"""

from libc.stdint cimport uint8_t, uint64_t

cdef enum:                         # commands
    COMMAND_NONE_ = 0
    COMMAND_LIST_ = 1
    COMMAND_CREATE_ = 2
    COMMAND_ADD_ = 3
    COMMAND_UPDATE_ = 4
    COMMAND_DELETE_ = 5
    COMMAND_GET_ = 6
    COMMAND_FLUSH_ = 7
    COMMAND_EVENT_ = 8
    COMMAND_VERSION_ = 9
    COMMAND_HELP_ = 10
    COMMAND_COUNT_ = 11
    COMMAND_STATISTICS_ = 12
    COMMAND_LOAD_ = 13
    COMMANDS = 14

cdef enum:                         # tables
    TABLE_CONNTRACK_ = 0
    TABLE_EXPECT_ = 1
    TABLE_DYING_ = 2
    TABLE_UNCONFIRMED_ = 3

# Options, which are bits of a set. The checks go through them in this order.
cdef enum:
    OPTION_SOURCE = 0
    OPTION_DESTINATION = 1
    OPTION_REPLY_SOURCE = 2
    OPTION_REPLY_DESTINATION = 3
    OPTION_PROTOCOL = 4
    OPTION_TIMEOUT = 5
    OPTION_STATUS = 6
    OPTION_ZERO = 7
    OPTION_EVENT_MASK = 8
    OPTION_TUPLE_SOURCE = 9
    OPTION_TUPLE_DESTINATION = 10
    OPTION_MASK_SOURCE = 11
    OPTION_MASK_DESTINATION = 12
    OPTION_MARK = 13
    OPTION_ID = 14
    OPTION_FAMILY = 15
    OPTION_SOURCE_NAT = 16
    OPTION_DESTINATION_NAT = 17
    OPTION_OUTPUT = 18
    OPTION_SECMARK = 19
    OPTION_BUFFER_SIZE = 20
    OPTION_ANY_NAT = 21
    OPTION_ZONE = 22
    OPTION_LABEL = 23
    OPTION_LABEL_ADD = 24
    OPTION_LABEL_DELETE = 25
    OPTION_ORIGINAL_ZONE = 26
    OPTION_REPLY_ZONE = 27
    GENERAL_OPTIONS = 28           # those in the rules of a command
    OPTION_LABEL_MAP = 28
    OPTION_NAT_RANGE = 29          # deprecated, ignored with a warning
    # Options of the protocols. GRE's keys are its ports.
    PROTOCOL_OPTIONS = 32
    OPTION_PORT_SOURCE = 32
    OPTION_PORT_DESTINATION = 33
    OPTION_REPLY_PORT_SOURCE = 34
    OPTION_REPLY_PORT_DESTINATION = 35
    OPTION_MASK_PORT_SOURCE = 36
    OPTION_MASK_PORT_DESTINATION = 37
    OPTION_STATE = 38
    OPTION_TUPLE_PORT_SOURCE = 39
    OPTION_TUPLE_PORT_DESTINATION = 40
    OPTION_VTAG_ORIGINAL = 41
    OPTION_VTAG_REPLY = 42
    OPTION_ROLE = 43
    OPTION_ICMP_TYPE = 44
    OPTION_ICMP_CODE = 45
    OPTION_ICMP_ID = 46
    LAST_OPTION = 46
    FIRST_COMMAND = 64             # commands among the options: this and the command's number

# Which names a command line knows, by what was said with -p before.
cdef enum:
    NAMES_GENERAL = 0x01
    NAMES_PORTS = 0x02
    NAMES_STATE = 0x04
    NAMES_VTAG = 0x08
    NAMES_ROLE = 0x10
    NAMES_KEYS = 0x20
    NAMES_ICMP = 0x40
    NAMES_ICMPV6 = 0x80

cdef enum:
    ARGUMENT_NONE = 0
    ARGUMENT_REQUIRED = 1
    ARGUMENT_OPTIONAL = 2

cdef struct option_t:
    const char *name
    uint8_t name_length
    uint8_t names                  # NAMES_*: the set that the name belongs to
    uint8_t option                 # OPTION_*, or FIRST_COMMAND and a command
    uint8_t argument               # ARGUMENT_*

cdef inline uint64_t option_bit(int option) noexcept nogil:
    return (<uint64_t>1) << option

# The names that go with a protocol.
cdef uint8_t names_of_protocol(int protocol) noexcept nogil
# By the whole name or a unique abbreviation; NULL.
cdef const option_t *find_long(const char *name, size_t length, uint8_t names) noexcept nogil
cdef const option_t *find_letter(char letter) noexcept nogil
# The table that `name` abbreviates, or -1.
cdef int find_table(const char *name) noexcept nogil
# The first option, in order, that is missing or should not be there: its number, or -1. `missing` says which.
cdef int check_general(int command, int table, uint64_t given, bint *missing) noexcept nogil
cdef int check_protocol(int command, int table, int protocol, uint64_t given, bint *missing) noexcept nogil
# The name in messages.
cdef const char *option_name(int option, int protocol) noexcept nogil
cdef char command_letter(int command) noexcept nogil
