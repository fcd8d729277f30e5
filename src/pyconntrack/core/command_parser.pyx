# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""The words of conntrack's command line, one option after the other, and the checks behind the last.

What is refused, in which order, and with which message, is that of conntrack 1.4.7.
"""

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strlen, strncmp

from os import fsdecode

from pyconntrack.core.command_meaning cimport *
from pyconntrack.core.netlink cimport htobe32
from pyconntrack.core.option_scanner cimport *
from pyconntrack.core.option_table cimport *
from pyconntrack.core.option_values cimport *
from pyconntrack.core.record cimport *

cdef extern from "<stdlib.h>" nogil:
    unsigned long strtoul(const char *text, char **end, int base)

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *first, const char *second, size_t length)

# Conditions: what cannot be combined with the counters being zeroed.
cdef uint64_t FILTERS = (
    option_bit(OPTION_PROTOCOL) - 1 | option_bit(OPTION_PROTOCOL) | option_bit(OPTION_STATUS) | option_bit(OPTION_MARK)
    | option_bit(OPTION_SECMARK) | option_bit(OPTION_LABEL) | option_bit(OPTION_ZONE)
    | option_bit(OPTION_ORIGINAL_ZONE) | option_bit(OPTION_REPLY_ZONE))
cdef uint64_t ORIGINAL_ADDRESSES = option_bit(OPTION_SOURCE) | option_bit(OPTION_DESTINATION)


cdef inline uint32_t swapped(uint32_t vtag) noexcept nogil:
    """The C tool writes and reads verification tags in the machine's byte order, as they lie in the kernel."""
    return htobe32(vtag)


cdef bint is_endpoint(const char *text) noexcept nogil:
    cdef endpoint_t endpoint
    cdef uint8_t address[16]
    cdef prefix_t prefix
    return read_endpoint(text, &endpoint) == 0 and read_network(endpoint.address, address, &prefix) > 0


cdef class Parser:
    def __cinit__(self, labels):
        self.labels = labels
        self.warnings = []

    cdef int parse_words(self, const char **words, int count, const char *program) noexcept nogil:
        cdef scanner_t scanner
        cdef const char *argument
        cdef int option, wrong, joined
        cdef uint8_t names = NAMES_GENERAL
        memset(&self.line, 0, sizeof(command_line_t))
        self.line.protocol = -1
        scanner = scanner_t(words, count, 0, program, NULL, NULL, NULL)
        while True:
            option = scan(&scanner, names, &argument, &joined)
            if option == SCAN_END:
                return self.check()
            if option == SCAN_UNKNOWN:
                return self.note(WRONG_OPTION, scanner.word, 0)
            if option == SCAN_NO_ARGUMENT:
                return self.note(WRONG_ARGUMENT_MISSING, scanner.word, 0)
            if argument == NULL and takes_optional_word(option):
                argument = optional_word(&scanner)
            wrong = self.take(option, argument, joined)
            if wrong:
                return wrong
            if option == OPTION_PROTOCOL:
                names = NAMES_GENERAL | names_of_protocol(self.line.protocol)

    cdef int note(self, int wrong, const char *text, int option) noexcept nogil:
        cdef size_t length = 0
        self.problem.wrong = wrong
        self.problem.option = option
        if text != NULL:
            length = min(strlen(text), <size_t>(sizeof(self.problem.text) - 1))
            memcpy(self.problem.text, text, length)
        self.problem.text[length] = 0
        return wrong

    cdef int take(self, int option, const char *argument, int joined) noexcept nogil:
        if option >= FIRST_COMMAND:
            return self.take_command(option - FIRST_COMMAND, argument if joined == APART else NULL)
        self.line.given |= option_bit(option)
        if option <= OPTION_REPLY_DESTINATION or OPTION_TUPLE_SOURCE <= option <= OPTION_MASK_DESTINATION:
            return self.take_address(option, argument)
        if option >= PROTOCOL_OPTIONS:
            return self.take_protocol_option(option, argument)
        if option == OPTION_PROTOCOL:
            return self.take_protocol(argument)
        if option == OPTION_STATUS or option == OPTION_OUTPUT or option == OPTION_EVENT_MASK:
            return self.take_list(option, argument)
        if option == OPTION_FAMILY:
            if strncmp(argument, b"ipv4", 4) == 0:
                return self.take_family(FAMILY_IPV4)
            if strncmp(argument, b"ipv6", 4) == 0:
                return self.take_family(FAMILY_IPV6)
            return self.note(WRONG_PROTOCOL, argument, 0)
        if option == OPTION_SOURCE_NAT or option == OPTION_DESTINATION_NAT or option == OPTION_ANY_NAT:
            return self.take_translation(option, argument, joined)
        if option == OPTION_LABEL or option == OPTION_LABEL_ADD or option == OPTION_LABEL_DELETE:
            return self.take_labels(option, argument)
        return self.take_number(option, argument)

    cdef int take_command(self, int command, const char *table) noexcept nogil:
        cdef int number = TABLE_CONNTRACK_
        if table != NULL:
            number = find_table(table)
            if number < 0:
                return self.note(WRONG_TABLE_NAME, table, 0)
        if self.line.command != COMMAND_NONE_:
            return self.note(WRONG_COMBINATION, NULL, 0)
        self.line.command = command
        self.line.table = number
        if number == TABLE_EXPECT_ and (command == COMMAND_ADD_ or command == COMMAND_UPDATE_):
            return self.note(WRONG_ON_EXPECTATIONS, NULL, FIRST_COMMAND + command)
        if (number == TABLE_DYING_ or number == TABLE_UNCONFIRMED_) and command != COMMAND_LIST_:
            return self.note(WRONG_TABLE, NULL, 0)
        return 0

    cdef int take_family(self, int family) noexcept nogil:
        if self.line.family and self.line.family != family:
            return self.note(WRONG_FAMILY, NULL, 0)
        self.line.family = family
        return 0

    cdef int take_address(self, int option, const char *text) noexcept nogil:
        cdef command_line_t *line = &self.line
        cdef prefix_t prefix
        cdef uint8_t *place = NULL
        cdef uint8_t *mask = NULL
        cdef int mask_option, family
        if option == OPTION_SOURCE: place, mask = line.flow.original.source, line.source_mask
        elif option == OPTION_DESTINATION: place, mask = line.flow.original.destination, line.destination_mask
        elif option == OPTION_TUPLE_SOURCE: place, mask = line.expected.source, line.source_mask
        elif option == OPTION_TUPLE_DESTINATION: place, mask = line.expected.destination, line.destination_mask
        elif option == OPTION_REPLY_SOURCE: place = line.flow.reply.source
        elif option == OPTION_REPLY_DESTINATION: place = line.flow.reply.destination
        elif option == OPTION_MASK_SOURCE: place = line.source_mask
        else: place = line.destination_mask
        family = read_network(text, place, &prefix)
        if family < 0:
            return self.note(WRONG_ADDRESS if family == VALUE_BAD_ADDRESS else WRONG_NETMASK, text, 0)
        if prefix.is_given and mask == NULL:
            return self.note(WRONG_PREFIX, NULL, option)
        # The whole address is no network: the length stands for nothing, and may stand where none may.
        if prefix.is_given and not prefix.is_whole:
            memcpy(mask, prefix.mask, 16)
            mask_option = OPTION_MASK_SOURCE if mask == line.source_mask else OPTION_MASK_DESTINATION
            line.given |= option_bit(mask_option)
        return self.take_family(family)

    cdef int take_translation(self, int option, const char *text, int joined) noexcept nogil:
        cdef command_line_t *line = &self.line
        cdef endpoint_t endpoint
        cdef uint8_t address[16]
        cdef prefix_t prefix
        cdef int wrong, family
        # What is joined to the letter and is no address is no fault, for the C tool does not look at it.
        if text == NULL or (joined == JOINED_TO_LETTER and not is_endpoint(text)):
            return 0
        wrong = read_endpoint(text, &endpoint)
        if wrong == VALUE_NO_CLOSING_BRACKET: return self.note(WRONG_NO_CLOSING_BRACKET, NULL, 0)
        if wrong == VALUE_NO_ADDRESS_IN_BRACKETS: return self.note(WRONG_NO_ADDRESS_IN_BRACKETS, NULL, 0)
        if wrong == VALUE_NO_PORT: return self.note(WRONG_NO_PORT, NULL, 0)
        if wrong == VALUE_BAD_PORT: return self.note(WRONG_PORT, endpoint.port_text, 0)
        family = read_network(endpoint.address, address, &prefix)
        if family < 0:
            return self.note(WRONG_ADDRESS if family == VALUE_BAD_ADDRESS else WRONG_NETMASK, endpoint.address, 0)
        if prefix.is_given:
            return self.note(WRONG_PREFIX, NULL, option)
        if option != OPTION_DESTINATION_NAT:
            line.has_source_nat_address = True
            memcpy(line.flow.source_nat_address, address, 16)
            put(&line.flow, BIT_SOURCE_NAT_ADDRESS)
            if endpoint.port_text != NULL:
                line.flow.source_nat_port = endpoint.port
                put(&line.flow, BIT_SOURCE_NAT_PORT)
        if option != OPTION_SOURCE_NAT:
            line.has_destination_nat_address = True
            memcpy(line.flow.destination_nat_address, address, 16)
            put(&line.flow, BIT_DESTINATION_NAT_ADDRESS)
            if endpoint.port_text != NULL:
                line.flow.destination_nat_port = endpoint.port
                put(&line.flow, BIT_DESTINATION_NAT_PORT)
        return self.take_family(family)

    cdef int take_protocol(self, const char *text) noexcept nogil:
        cdef int number = protocol_number(text)
        if number < 0:
            return self.note(WRONG_PROTOCOL, text, 0)
        self.line.protocol = <int16_t>number
        return 0

    cdef int take_list(self, int option, const char *text) noexcept nogil:
        cdef const char *wrong
        cdef status_list_t status
        if option == OPTION_OUTPUT:
            wrong = read_output_list(text, &self.line.output)
            if wrong == NULL and self.line.output & OUTPUT_SAVE_BIT and self.line.output != OUTPUT_SAVE_BIT:
                return self.note(WRONG_SAVE_COMBINED, NULL, 0)
        elif option == OPTION_EVENT_MASK:
            wrong = read_event_list(text, &self.line.events)
        else:
            memset(&status, 0, sizeof(status))
            wrong = read_status_list(text, &status)
            self.line.flow.status |= status.set
            self.line.status_unset |= status.unset
            if status.names_source_nat:
                self.warn("WARNING: ignoring SRC_NAT, use --src-nat instead")
            if status.names_destination_nat:
                self.warn("WARNING: ignoring DST_NAT, use --dst-nat instead")
        return self.note(WRONG_NAME, wrong, 0) if wrong != NULL else 0

    cdef int take_number(self, int option, const char *text) noexcept nogil:
        cdef flow_t *flow = &self.line.flow
        if option == OPTION_TIMEOUT: flow.timeout = decimal_number(text)
        elif option == OPTION_MARK:
            if read_mark(text, &flow.mark, &flow.mark_mask):
                put(flow, BIT_MARK_MASK)
            else:
                drop(flow, BIT_MARK_MASK)
        elif option == OPTION_SECMARK: flow.secmark = any_number(text)
        elif option == OPTION_ID: flow.id = any_number(text)
        elif option == OPTION_ZONE: flow.zone = <uint16_t>any_number(text)
        elif option == OPTION_ORIGINAL_ZONE: flow.original.zone = <uint16_t>any_number(text)
        elif option == OPTION_REPLY_ZONE: flow.reply.zone = <uint16_t>any_number(text)
        elif option == OPTION_BUFFER_SIZE: self.line.buffer_size = strtoul(text, NULL, 10)
        elif option == OPTION_LABEL_MAP: self.line.label_map_path = text
        elif option == OPTION_NAT_RANGE: self.warn("WARNING: ignoring -a, deprecated option.")
        return 0

    cdef int take_labels(self, int option, const char *text) noexcept with gil:
        cdef uint64_t two = option_bit(OPTION_LABEL_ADD) | option_bit(OPTION_LABEL_DELETE)
        try:
            if self.label_names is None:
                self.ask_labels()
            if self.line.given & two == two:
                return self.note(WRONG_LABELS_BOTH_WAYS, NULL, 0)
            if text == NULL:
                self.line.label_deletion_of_all = True
                return 0
            return self.find_labels(option, text)
        except BaseException as failure:
            self.failure = failure
            return self.note(WRONG_EXCEPTION, NULL, 0)

    cdef int find_labels(self, int option, bytes text) except -1:
        """Set the bits of the labels whose names are in `text`, separated by commas."""
        cdef uint8_t *bits = self.line.flow.labels
        cdef int number
        if option == OPTION_LABEL_ADD:
            bits = self.line.labels_added
        elif option == OPTION_LABEL_DELETE:
            bits = self.line.labels_deleted
        for name in text.split(b","):
            number = -1
            if self.label_names is not None:
                number = self.label_names.find(name.decode("utf-8", "surrogateescape"))
            if number < 0 or number >= 8 * LABELS_SIZE:
                return self.note(WRONG_LABEL, <bytes>name, 0)
            bits[number >> 3] |= <uint8_t>(1 << (number & 7))
        return 0

    cdef int ask_labels(self) except -1:
        path = None
        if self.line.label_map_path != NULL:
            path = fsdecode(<bytes>self.line.label_map_path)
        try:
            self.label_names = self.labels(path)
        except OSError as error:
            self.warnings.append(f"nfct_labelmap_new: {error.strerror}")
        return 0

    cdef int take_port(self, int option, const char *text) noexcept nogil:
        cdef command_line_t *line = &self.line
        cdef uint16_t port = <uint16_t>(any_number(text) if line.protocol == 47 else decimal_number(text))
        if option == OPTION_PORT_SOURCE: line.flow.original.source_port = port
        elif option == OPTION_PORT_DESTINATION: line.flow.original.destination_port = port
        elif option == OPTION_REPLY_PORT_SOURCE: line.flow.reply.source_port = port
        elif option == OPTION_REPLY_PORT_DESTINATION: line.flow.reply.destination_port = port
        elif option == OPTION_MASK_PORT_SOURCE: line.expected_mask.source_port = port
        elif option == OPTION_MASK_PORT_DESTINATION: line.expected_mask.destination_port = port
        elif option == OPTION_TUPLE_PORT_SOURCE: line.expected.source_port = port
        else: line.expected.destination_port = port
        return 0

    cdef int take_state(self, const char *text) noexcept nogil:
        cdef flow_t *flow = &self.line.flow
        cdef int state
        if self.line.protocol == 6:
            state = tcp_state_number(text)
            flow.tcp_state = <uint8_t>state
            return 0 if state >= 0 else self.note(WRONG_TCP_STATE, text, 0)
        if self.line.protocol == 132:
            state = sctp_state_number(text)
            flow.sctp_state = <uint8_t>state
            return 0 if state >= 0 else self.note(WRONG_SCTP_STATE, text, 0)
        state = dccp_state_number(text)
        flow.dccp_state = <uint8_t>state
        return 0 if state >= 0 else self.note(WRONG_DCCP_STATE, text, 0)

    cdef int take_protocol_option(self, int option, const char *text) noexcept nogil:
        cdef flow_t *flow = &self.line.flow
        if option == OPTION_STATE: return self.take_state(text)
        if option == OPTION_ICMP_TYPE: flow.original.icmp_type = <uint8_t>decimal_number(text)
        elif option == OPTION_ICMP_CODE: flow.original.icmp_code = <uint8_t>decimal_number(text)
        elif option == OPTION_ICMP_ID: flow.original.icmp_id = <uint16_t>decimal_number(text)
        elif option == OPTION_VTAG_ORIGINAL: flow.sctp_vtag_original = swapped(decimal_number(text))
        elif option == OPTION_VTAG_REPLY: flow.sctp_vtag_reply = swapped(decimal_number(text))
        elif option == OPTION_ROLE: return self.take_role(text)
        else: return self.take_port(option, text)
        return 0

    cdef int take_role(self, const char *text) noexcept nogil:
        # Either may be abbreviated, in any case; the first of DCCP's roles is the client.
        if strncasecmp(text, b"client", strlen(text)) == 0:
            self.line.flow.dccp_role = 0
            return 0
        if strncasecmp(text, b"server", strlen(text)) == 0:
            self.line.flow.dccp_role = 1
            return 0
        return self.note(WRONG_ROLE, text, 0)

    cdef int check(self) noexcept nogil:
        cdef command_line_t *line = &self.line
        cdef uint64_t given = line.given
        cdef bint missing = False
        cdef int wrong, option
        if given & option_bit(OPTION_ANY_NAT) and given & (option_bit(OPTION_SOURCE_NAT)
                                                           | option_bit(OPTION_DESTINATION_NAT)):
            return self.note(WRONG_TRANSLATIONS, NULL, 0)
        option = check_general(line.command, line.table, given, &missing)
        if option < 0:
            wrong = self.check_pair(OPTION_SOURCE, OPTION_REPLY_SOURCE, WRONG_ADDRESSES_MISSING)
            if wrong or is_bare_dccp(line):
                return wrong
            option = check_protocol(line.command, line.table, line.protocol, given, &missing)
        if option >= 0:
            return self.note(WRONG_MISSING if missing else WRONG_ILLEGAL, NULL, option)
        if names_of_protocol(line.protocol) & (NAMES_PORTS | NAMES_KEYS):
            wrong = self.check_pair(OPTION_PORT_SOURCE, OPTION_REPLY_PORT_SOURCE, WRONG_PORTS_MISSING)
            if wrong:
                return wrong
        return self.check_selection()

    cdef int check_pair(self, int first, int reply, int wrong) noexcept nogil:
        """Where a flow is named, both of one direction: the option behind `first` or `reply` is its pair."""
        cdef uint64_t original_given = self.line.given >> first & 3, reply_given = self.line.given >> reply & 3
        if self.line.table != TABLE_CONNTRACK_ or original_given == 3 or reply_given == 3:
            return 0
        if (self.line.command != COMMAND_CREATE_ and self.line.command != COMMAND_ADD_
                and self.line.command != COMMAND_GET_):
            return 0
        return self.note(wrong + 1 if reply_given and not original_given else wrong, NULL, 0)

    cdef int check_selection(self) noexcept nogil:
        cdef command_line_t *line = &self.line
        cdef uint64_t given = line.given
        if line.table != TABLE_CONNTRACK_:
            return 0
        if given & option_bit(OPTION_MASK_SOURCE) and not given & option_bit(OPTION_SOURCE):
            return self.note(WRONG_MASK_WITHOUT_SOURCE, NULL, 0)
        if given & option_bit(OPTION_MASK_DESTINATION) and not given & option_bit(OPTION_DESTINATION):
            return self.note(WRONG_MASK_WITHOUT_DESTINATION, NULL, 0)
        if given & option_bit(OPTION_ZERO) and given & FILTERS:
            return self.note(WRONG_ZERO_FILTERED, NULL, 0)
        # A dump by a status that says nothing is refused by the kernel, and must not delete what is not named; ICMP of
        # the other family has no reply; the reply alone names no flow to get.
        if ((line.command == COMMAND_LIST_ or line.command == COMMAND_DELETE_)
                and given & option_bit(OPTION_STATUS) and line.flow.status == 0 and line.status_unset == 0):
            return self.note(WRONG_PARAMETERS, NULL, 0)
        if ((line.command == COMMAND_CREATE_ or line.command == COMMAND_ADD_)
                and (line.protocol == 1 and line.family == FAMILY_IPV6
                     or line.protocol == 58 and line.family == FAMILY_IPV4)):
            return self.note(WRONG_PARAMETERS, NULL, 0)
        if line.command == COMMAND_GET_ and given & ORIGINAL_ADDRESSES != ORIGINAL_ADDRESSES:
            return self.note(WRONG_PARAMETERS, NULL, 0)
        return 0

    cdef void warn(self, str text) noexcept with gil:
        self.warnings.append(text)
