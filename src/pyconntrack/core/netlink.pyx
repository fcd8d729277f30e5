# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Netlink messages taken apart for Python, for answers of which there are few: statistics, errors."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from pyconntrack.core.netlink cimport *


def messages(const uint8_t[::1] data not None):
    """The messages of a datagram: [(type, flags, sequence, whole message), ...].

    ValueError where a length is wrong.
    """
    cdef const uint8_t *cursor = &data[0] if data.shape[0] else NULL
    cdef uint32_t left = <uint32_t>data.shape[0]
    cdef message_t message
    cdef int got
    found = []
    while True:
        got = next_message(&cursor, &left, &message)
        if got == 0:
            return found
        if got < 0:
            raise ValueError("malformed netlink message")
        whole = PyBytes_FromStringAndSize(<const char *>message.start, message.length)
        found.append((message.type, message.flags, message.sequence, whole))


def attributes(const uint8_t[::1] data not None):
    """The attributes in `data`: {type: value}. ValueError where a length is wrong."""
    cdef const uint8_t *cursor = &data[0] if data.shape[0] else NULL
    cdef uint32_t left = <uint32_t>data.shape[0]
    cdef attribute_t attribute
    cdef int got
    found = {}
    while True:
        got = next_attribute(&cursor, &left, &attribute)
        if got == 0:
            return found
        if got < 0:
            raise ValueError("malformed netlink attribute")
        found[attribute.type] = PyBytes_FromStringAndSize(<const char *>attribute.data, attribute.length)


def acknowledgement(const uint8_t[::1] payload not None, int flags):
    """The (errno, text) of an NLMSG_ERROR's payload.

    Errno 0 is success, the text is the kernel's own, if it gave one.
    """
    cdef uint32_t skip
    if payload.shape[0] < 4:
        raise ValueError("malformed netlink acknowledgement")
    error = -<int>load32(&payload[0])
    text = ""
    if flags & NLM_F_ACK_TLVS and payload.shape[0] >= 4 + NETLINK_HEADER_SIZE:
        skip = 4 + NETLINK_HEADER_SIZE
        if not flags & NLM_F_CAPPED:
            skip = 4 + align4(load32(&payload[4]))
        if skip <= <uint32_t>payload.shape[0]:
            said = attributes(payload[skip:]).get(NLMSGERR_ATTR_MSG, b"")
            text = said.rstrip(b"\0").decode("utf-8", "replace")
    return error, text
