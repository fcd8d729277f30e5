# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines to the system's logger, each a datagram of its own, many to a system call."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport EAGAIN, EINTR, EMSGSIZE, ENOBUFS, errno
from libc.string cimport memchr, memcpy, memset

import os

from pyconntrack.core.netlink_receiver cimport iovec_t, mmsghdr_t

cdef extern from "<sys/socket.h>" nogil:
    int sendmmsg(int fd, mmsghdr_t *messages, unsigned int count, int flags)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un_t "sockaddr_un":
        unsigned short sun_family
        char[108] sun_path

cdef enum:
    AF_UNIX = 1
    AT_ONCE = 64


def send_lines(int fd, bytes path not None, bytes head not None, const unsigned char[::1] lines not None,
               Py_ssize_t start, Py_ssize_t skip):
    """Send `lines` from the offset `start`, `head` and one line without its newline to a datagram, as far as the socket takes them.

    `fd` is a datagram socket of AF_UNIX, `path` where the logger listens. The first `skip` bytes of each line are left out. Returns the
    offset of the first line that was not sent: the end, or where the logger is busy; a line too long for it is passed over.
    Raises OSError where it cannot be reached, ValueError for a path that is too long.
    """
    cdef sockaddr_un_t address
    cdef mmsghdr_t[AT_ONCE] headers
    cdef iovec_t[2 * AT_ONCE] vectors
    cdef Py_ssize_t[AT_ONCE + 1] offsets
    cdef Py_ssize_t stop = lines.shape[0]
    cdef Py_ssize_t head_length = len(head)
    cdef const unsigned char *text
    cdef const unsigned char *end
    cdef char *head_text = PyBytes_AS_STRING(head)
    cdef int count, sent
    cdef int number = 0
    if len(path) >= <Py_ssize_t>sizeof(address.sun_path):
        raise ValueError("the path of a socket has at most 107 bytes")
    if start >= stop:
        return stop
    memset(&address, 0, sizeof(address))
    address.sun_family = AF_UNIX
    memcpy(address.sun_path, PyBytes_AS_STRING(path), len(path))
    text = &lines[0]
    with nogil:
        while start < stop:
            memset(headers, 0, sizeof(headers))
            count = 0
            offsets[0] = start
            while count < AT_ONCE and offsets[count] < stop:
                end = <const unsigned char *>memchr(text + offsets[count], 10, stop - offsets[count])
                if end == NULL:
                    end = text + stop - 1
                offsets[count + 1] = end + 1 - text
                vectors[2 * count].iov_base = head_text
                vectors[2 * count].iov_len = head_length
                start = min(offsets[count] + skip, offsets[count + 1] - 1)
                vectors[2 * count + 1].iov_base = <void *>(text + start)
                vectors[2 * count + 1].iov_len = offsets[count + 1] - 1 - start
                headers[count].msg_hdr.msg_iov = &vectors[2 * count]
                headers[count].msg_hdr.msg_iovlen = 2
                headers[count].msg_hdr.msg_name = &address
                headers[count].msg_hdr.msg_namelen = sizeof(address)
                count += 1
            start = offsets[0]
            sent = sendmmsg(fd, headers, count, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent >= 0:
                start = offsets[sent]
            elif errno == EMSGSIZE:
                start = offsets[1]
            elif errno != EINTR:
                number = errno
                break
    if number and number != EAGAIN and number != ENOBUFS:
        raise OSError(number, os.strerror(number))
    return start
