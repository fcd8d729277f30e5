# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""The text of one value on conntrack's command line, as a number, an address, a set of flags."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport strtol, strtoul
from libc.string cimport memcpy, memset, strchr, strcmp, strlen, strncmp

from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport FAMILY_IPV4, FAMILY_IPV6

cdef extern from "<string.h>" nogil:
    char *strchrnul(const char *text, int character)

cdef extern from "<strings.h>" nogil:
    int strcasecmp(const char *first, const char *second)
    int strncasecmp(const char *first, const char *second, size_t length)

cdef extern from "<arpa/inet.h>" nogil:
    int inet_aton(const char *text, void *address)
    int inet_pton(int family, const char *text, void *address)

cdef extern from "<netdb.h>" nogil:
    cdef struct protoent:
        int p_proto
    int getprotobyname_r(const char *name, protoent *result, char *buffer, size_t size, protoent **found)


# Numbers.

cdef uint32_t decimal_number(const char *text) noexcept nogil:
    cdef uint32_t value = 0
    cdef int i = 0
    while i < 9 and 48 <= text[i] <= 57:
        value = value * 10 + <uint32_t>(text[i] - 48)
        i += 1
    if i and text[i] == 0:
        return value
    return <uint32_t>strtol(text, NULL, 10)


cdef uint32_t any_number(const char *text) noexcept nogil:
    return <uint32_t>strtoul(text, NULL, 0)


cdef bint read_mark(const char *text, uint32_t *value, uint32_t *mask) noexcept nogil:
    cdef char *end
    value[0] = <uint32_t>strtoul(text, &end, 0)
    mask[0] = 0xffffffff
    if end[0] != 47:
        return False
    mask[0] = <uint32_t>strtoul(end + 1, NULL, 0)
    return True


# Addresses.

cdef bint read_dotted_quad(const char *text, uint8_t *address) noexcept nogil:
    """The usual form of an IPv4 address, without inet_aton's octal, hexadecimal and shorter ones."""
    cdef int part, digits
    cdef uint32_t value
    for part in range(4):
        value = 0
        digits = 0
        while 48 <= text[digits] <= 57 and digits < 4:
            value = value * 10 + <uint32_t>(text[digits] - 48)
            digits += 1
        if digits == 0 or digits > 3 or value > 255 or (digits > 1 and text[0] == 48):
            return False
        if text[digits] != (0 if part == 3 else 46):
            return False
        address[part] = <uint8_t>value
        text += digits + 1
    memset(address + 4, 0, 12)
    return True


cdef int read_address(const char *text, uint8_t *address) noexcept nogil:
    if read_dotted_quad(text, address):
        return FAMILY_IPV4
    memset(address, 0, 16)
    if inet_aton(text, address):
        return FAMILY_IPV4
    if inet_pton(FAMILY_IPV6, text, address) > 0:
        return FAMILY_IPV6
    memset(address, 0, 16)
    return VALUE_BAD_ADDRESS


cdef void set_prefix(uint8_t *mask, long length) noexcept nogil:
    cdef int i
    memset(mask, 0, 16)
    for i in range(16):
        if length >= 8:
            mask[i] = 0xff
        elif length > 0:
            mask[i] = <uint8_t>(0xff00 >> length)
        length -= 8


cdef int read_network(const char *text, uint8_t *address, prefix_t *prefix) noexcept nogil:
    cdef char copy[ADDRESS_TEXT_MAX]
    cdef const char *slash
    cdef char *end
    cdef long length, whole
    cdef int family
    prefix.is_given = prefix.is_whole = False
    if read_dotted_quad(text, address):
        return FAMILY_IPV4
    slash = strchr(text, 47)
    if slash == NULL:
        return read_address(text, address)
    if slash - text >= ADDRESS_TEXT_MAX:
        return VALUE_BAD_ADDRESS
    memcpy(copy, text, slash - text)
    copy[slash - text] = 0
    family = read_address(copy, address)
    if family < 0 or slash[1] == 0:
        return family
    whole = 32 if family == FAMILY_IPV4 else 128
    length = strtol(slash + 1, &end, 10)
    if end[0] != 0 or end == slash + 1 or length < 0 or length > whole:
        return VALUE_BAD_NETMASK
    set_prefix(prefix.mask, length)
    prefix.is_given = True
    prefix.is_whole = length == whole
    return family


cdef int read_port(const char *text, uint16_t *port) noexcept nogil:
    """Decimal digits and nothing else."""
    cdef uint32_t value = 0
    cdef const char *digit = text
    if text[0] == 0:
        return VALUE_NO_PORT
    while digit[0]:
        if digit[0] < 48 or digit[0] > 57:
            return VALUE_BAD_PORT
        value = value * 10 + <uint32_t>(digit[0] - 48)
        if value > 0xffff:
            return VALUE_BAD_PORT
        digit += 1
    port[0] = <uint16_t>value
    return 0


cdef int copy_address_text(endpoint_t *endpoint, const char *start, const char *end) noexcept nogil:
    cdef size_t length = end - start
    if length >= ADDRESS_TEXT_MAX:
        length = ADDRESS_TEXT_MAX - 1
    memcpy(endpoint.address, start, length)
    endpoint.address[length] = 0
    return 0


cdef int read_endpoint(const char *text, endpoint_t *endpoint) noexcept nogil:
    cdef const char *end = text + strlen(text)
    cdef const char *mark
    endpoint.port_text = NULL
    endpoint.port = 0
    if text[0] == 91:
        mark = strchr(text, 93)
        if mark == NULL:
            return VALUE_NO_CLOSING_BRACKET
        if mark == text + 1:
            return VALUE_NO_ADDRESS_IN_BRACKETS
        if mark[1] == 58:
            endpoint.port_text = mark + 2
            text += 1
            end = mark
    else:
        mark = strchr(text, 58)
        # A second colon is that of an IPv6 address.
        if mark != NULL and strchr(mark + 1, 58) == NULL:
            endpoint.port_text = mark + 1
            end = mark
    copy_address_text(endpoint, text, end)
    return read_port(endpoint.port_text, &endpoint.port) if endpoint.port_text != NULL else 0


# Lists of names.

cdef struct named_bits_t:
    const char *name
    uint32_t bits

cdef enum:
    STATUS_NAMES = 7
    OUTPUT_NAMES = 9
    EVENT_NAMES = 4

cdef named_bits_t[STATUS_NAMES] STATUSES
cdef named_bits_t[OUTPUT_NAMES] OUTPUTS
cdef named_bits_t[EVENT_NAMES] EVENTS

STATUSES[0] = named_bits_t(b"ASSURED", IPS_ASSURED)
STATUSES[1] = named_bits_t(b"SEEN_REPLY", IPS_SEEN_REPLY)
STATUSES[2] = named_bits_t(b"UNSET", 0)
STATUSES[3] = named_bits_t(b"FIXED_TIMEOUT", IPS_FIXED_TIMEOUT)
STATUSES[4] = named_bits_t(b"EXPECTED", IPS_EXPECTED)
STATUSES[5] = named_bits_t(b"OFFLOAD", IPS_OFFLOAD)
STATUSES[6] = named_bits_t(b"HW_OFFLOAD", IPS_HW_OFFLOAD)

OUTPUTS[0] = named_bits_t(b"xml", OUTPUT_XML_BIT)
OUTPUTS[1] = named_bits_t(b"extended", OUTPUT_EXTENDED_BIT)
OUTPUTS[2] = named_bits_t(b"timestamp", OUTPUT_TIMESTAMP_BIT)
OUTPUTS[3] = named_bits_t(b"id", OUTPUT_ID_BIT)
OUTPUTS[4] = named_bits_t(b"ktimestamp", OUTPUT_KERNEL_TIMESTAMP_BIT)
OUTPUTS[5] = named_bits_t(b"labels", OUTPUT_LABELS_BIT)
OUTPUTS[6] = named_bits_t(b"userspace", OUTPUT_USERSPACE_BIT)
OUTPUTS[7] = named_bits_t(b"save", OUTPUT_SAVE_BIT)
OUTPUTS[8] = named_bits_t(b"json", OUTPUT_JSON_BIT)

EVENTS[0] = named_bits_t(b"ALL", EVENTS_ALL_BITS)
EVENTS[1] = named_bits_t(b"NEW", EVENTS_NEW_BIT)
EVENTS[2] = named_bits_t(b"UPDATES", EVENTS_UPDATE_BIT)
EVENTS[3] = named_bits_t(b"DESTROY", EVENTS_DESTROY_BIT)


cdef inline size_t item_length(const char *text) noexcept nogil:
    return strchrnul(text, 44) - text


cdef inline bint abbreviates(const char *text, const char *name, size_t length) noexcept nogil:
    """In any case. What begins otherwise is told apart without a call."""
    return (text[0] ^ name[0]) & 0xdf == 0 and strncasecmp(text, name, length) == 0


cdef int find_name(const named_bits_t *names, int count, const char *text, size_t length) noexcept nogil:
    """The first name that `text` abbreviates, or -1."""
    cdef int i
    if length == 0:
        return -1
    for i in range(count):
        if abbreviates(text, names[i].name, length):
            return i
    return -1


cdef const char *read_names(const named_bits_t *names, int count, const char *text,
                            uint32_t *bits) noexcept nogil:
    cdef size_t length
    cdef int index
    while True:
        length = item_length(text)
        index = find_name(names, count, text, length)
        if index < 0:
            return text
        bits[0] |= names[index].bits
        if text[length] == 0:
            return NULL
        text += length + 1


cdef bint read_status(const char *text, size_t length, status_list_t *status) noexcept nogil:
    cdef int index
    if length == 0:
        return False
    if abbreviates(text, b"SRC_NAT", length):
        status.names_source_nat = True
        return True
    if abbreviates(text, b"DST_NAT", length):
        status.names_destination_nat = True
        return True
    # Neither abbreviated nor in another case.
    if strncmp(text, b"UNREPLIED", 9) == 0:
        status.unset |= IPS_SEEN_REPLY
        return True
    index = find_name(STATUSES, STATUS_NAMES, text, length)
    if index >= 0:
        status.set |= STATUSES[index].bits
    return index >= 0


cdef const char *read_status_list(const char *text, status_list_t *status) noexcept nogil:
    cdef size_t length
    while True:
        length = item_length(text)
        if not read_status(text, length, status):
            return text
        if text[length] == 0:
            return NULL
        text += length + 1


cdef const char *read_output_list(const char *text, uint16_t *output) noexcept nogil:
    cdef uint32_t bits = output[0]
    cdef const char *wrong = read_names(OUTPUTS, OUTPUT_NAMES, text, &bits)
    output[0] = <uint16_t>bits
    return wrong


cdef const char *read_event_list(const char *text, uint8_t *events) noexcept nogil:
    cdef uint32_t bits = events[0]
    cdef const char *wrong = read_names(EVENTS, EVENT_NAMES, text, &bits)
    events[0] = <uint8_t>bits
    return wrong


# States, in the order of their numbers (nf_conntrack_tcp.h, nf_conntrack_sctp.h, and DCCP's of the same).

cdef const char *TCP_STATES = (b"NONE,SYN_SENT,SYN_RECV,ESTABLISHED,FIN_WAIT,CLOSE_WAIT,LAST_ACK,TIME_WAIT,CLOSE,"
                               b"SYN_SENT2")
cdef const char *SCTP_STATES = (b"NONE,CLOSED,COOKIE_WAIT,COOKIE_ECHOED,ESTABLISHED,SHUTDOWN_SENT,SHUTDOWN_RECD,"
                                b"SHUTDOWN_ACK_SENT,HEARTBEAT_SENT,HEARTBEAT_ACKED")
cdef const char *DCCP_STATES = b"NONE,REQUEST,RESPOND,PARTOPEN,OPEN,CLOSEREQ,CLOSING,TIMEWAIT,IGNORE,INVALID"


cdef int find_state(const char *names, const char *name) noexcept nogil:
    cdef int number = 0
    cdef size_t i
    while True:
        i = 0
        while names[i] == name[i] and name[i] != 0:
            i += 1
        if name[i] == 0 and (names[i] == 44 or names[i] == 0):
            return number
        names = strchrnul(names + i, 44)
        if names[0] == 0:
            return -1
        names += 1
        number += 1


cdef int tcp_state_number(const char *name) noexcept nogil:
    # The state that was called LISTEN once.
    if strcmp(name, b"LISTEN") == 0:
        return 9
    return find_state(TCP_STATES, name)


cdef int sctp_state_number(const char *name) noexcept nogil:
    return find_state(SCTP_STATES, name)


cdef int dccp_state_number(const char *name) noexcept nogil:
    return find_state(DCCP_STATES, name)


# Protocols.

cdef int known_protocol(const char *name) noexcept nogil:
    """Those that have options of their own: found without /etc/protocols, which may be missing."""
    if strcasecmp(name, b"tcp") == 0: return 6
    if strcasecmp(name, b"udp") == 0: return 17
    if strcasecmp(name, b"icmp") == 0: return 1
    if strcasecmp(name, b"icmpv6") == 0: return 58
    if strcasecmp(name, b"sctp") == 0: return 132
    if strcasecmp(name, b"dccp") == 0: return 33
    if strcasecmp(name, b"udplite") == 0: return 136
    if strcasecmp(name, b"gre") == 0: return 47
    return -1


cdef int protocol_number(const char *text) noexcept nogil:
    cdef char buffer[4096]
    cdef protoent entry
    cdef protoent *found = NULL
    cdef char *end
    cdef long number
    if text[0] == 0:
        return -1
    number = known_protocol(text)
    if number >= 0:
        return <int>number
    number = strtol(text, &end, 0)
    if end[0] == 0:
        return <int>number if 0 <= number <= 255 else -1
    # A header has eight bits for it: what /etc/protocols has beyond them is no protocol of a packet.
    if (getprotobyname_r(text, &entry, buffer, sizeof(buffer), &found) == 0 and found != NULL
            and 0 <= found.p_proto <= 255):
        return found.p_proto
    return -1
