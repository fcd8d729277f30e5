# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Netlink messages taken apart for Python, for answers of which there are few: statistics, errors.

Without typed memoryviews: what Cython adds for them loads as long as all of a small module. Commands are started often.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from pyconntrack.core.netlink cimport *


cdef list messages_in(const uint8_t *cursor, uint32_t left):
    cdef message_t message
    cdef int got
    cdef list found = []
    while True:
        got = next_message(&cursor, &left, &message)
        if got == 0:
            return found
        if got < 0:
            raise ValueError("malformed netlink message")
        whole = PyBytes_FromStringAndSize(<const char *>message.start, message.length)
        found.append((message.type, message.flags, message.sequence, whole))


cdef dict attributes_in(const uint8_t *cursor, uint32_t left):
    cdef attribute_t attribute
    cdef int got
    cdef dict found = {}
    while True:
        got = next_attribute(&cursor, &left, &attribute)
        if got == 0:
            return found
        if got < 0:
            raise ValueError("malformed netlink attribute")
        found[attribute.type] = PyBytes_FromStringAndSize(<const char *>attribute.data, attribute.length)


cdef tuple acknowledgement_in(const uint8_t *payload, uint32_t length, int flags):
    cdef uint32_t skip
    if length < 4:
        raise ValueError("malformed netlink acknowledgement")
    error = -<int>load32(payload)
    text = ""
    if flags & NLM_F_ACK_TLVS and length >= 4 + NETLINK_HEADER_SIZE:
        skip = 4 + NETLINK_HEADER_SIZE
        if not flags & NLM_F_CAPPED:
            skip = 4 + align4(load32(payload + 4))
        if skip <= length:
            said = attributes_in(payload + skip, length - skip).get(NLMSGERR_ATTR_MSG, b"")
            text = said.rstrip(b"\0").decode("utf-8", "replace")
    return error, text


def messages(data):
    """The messages of a datagram: [(type, flags, sequence, whole message), ...].

    ValueError where a length is wrong.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return messages_in(<const uint8_t *>view.buf, <uint32_t>view.len)
    finally:
        PyBuffer_Release(&view)


def attributes(data):
    """The attributes in `data`: {type: value}. ValueError where a length is wrong."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return attributes_in(<const uint8_t *>view.buf, <uint32_t>view.len)
    finally:
        PyBuffer_Release(&view)


def acknowledgement(payload, int flags):
    """The (errno, text) of an NLMSG_ERROR's payload.

    Errno 0 is success, the text is the kernel's own, if it gave one.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        return acknowledgement_in(<const uint8_t *>view.buf, <uint32_t>view.len, flags)
    finally:
        PyBuffer_Release(&view)
