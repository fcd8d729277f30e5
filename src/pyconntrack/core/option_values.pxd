# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of one value on conntrack's command line, as a number, an address, a set of flags.

All texts are zero-terminated. Numbers are read as the C tool reads them, by strtol(3): what is behind the digits is
ignored, and a text without digits is 0.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# What a value can be that is refused. Negative, so that it is never a family or an index.
cdef enum:
    VALUE_BAD_ADDRESS = -1
    VALUE_BAD_NETMASK = -2
    VALUE_NO_ADDRESS_IN_BRACKETS = -3
    VALUE_NO_CLOSING_BRACKET = -4
    VALUE_NO_PORT = -5
    VALUE_BAD_PORT = -6

cdef enum:
    ADDRESS_TEXT_MAX = 256

# Decimal.
cdef uint32_t decimal_number(const char *text) noexcept nogil
# Decimal, octal behind 0, hexadecimal behind 0x.
cdef uint32_t any_number(const char *text) noexcept nogil
# VALUE/MASK. True where there is a mask; without one, it is all ones.
cdef bint read_mark(const char *text, uint32_t *value, uint32_t *mask) noexcept nogil

# The family of an address (16 bytes, the rest zero), or VALUE_BAD_ADDRESS.
cdef int read_address(const char *text, uint8_t *address) noexcept nogil

cdef struct prefix_t:
    bint is_given                  # a length was given
    bint is_whole                  # and it is that of the whole address
    uint8_t mask[16]               # where one was given

# ADDRESS[/LENGTH]. The family, or VALUE_BAD_*.
cdef int read_network(const char *text, uint8_t *address, prefix_t *prefix) noexcept nogil

cdef struct endpoint_t:
    char address[256]              # what must be an address, for read_network and for messages
    const char *port_text          # NULL where there is none
    uint16_t port

# ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT. 0 or VALUE_*; the address is left as text.
cdef int read_endpoint(const char *text, endpoint_t *endpoint) noexcept nogil

# Sets of names, separated by commas; each name may be abbreviated, in any case.
cdef struct status_list_t:
    uint32_t set
    uint32_t unset
    bint names_source_nat          # which cannot be set: the C tool warns
    bint names_destination_nat

# NULL, or where what is wrong begins.
cdef const char *read_status_list(const char *text, status_list_t *status) noexcept nogil
cdef const char *read_output_list(const char *text, uint16_t *output) noexcept nogil
cdef const char *read_event_list(const char *text, uint8_t *events) noexcept nogil

# States by their full names: the number, or -1.
cdef int tcp_state_number(const char *name) noexcept nogil
cdef int sctp_state_number(const char *name) noexcept nogil
cdef int dccp_state_number(const char *name) noexcept nogil

# A protocol's name, or its number in full: 0 to 255, or -1.
cdef int protocol_number(const char *text) noexcept nogil

cdef enum:                         # of an output
    OUTPUT_XML_BIT = 0x001
    OUTPUT_EXTENDED_BIT = 0x002
    OUTPUT_TIMESTAMP_BIT = 0x004
    OUTPUT_ID_BIT = 0x008
    OUTPUT_KERNEL_TIMESTAMP_BIT = 0x010
    OUTPUT_LABELS_BIT = 0x020
    OUTPUT_USERSPACE_BIT = 0x040
    OUTPUT_SAVE_BIT = 0x080
    OUTPUT_JSON_BIT = 0x100

cdef enum:                         # of events
    EVENTS_NEW_BIT = 1
    EVENTS_UPDATE_BIT = 2
    EVENTS_DESTROY_BIT = 4
    EVENTS_ALL_BITS = 7
