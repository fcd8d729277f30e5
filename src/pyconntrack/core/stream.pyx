# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages in an endless stream, cut anywhere: runs of whole ones are taken out of it, and datagrams written into it."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from pyconntrack.core.datagrams cimport Datagrams
from pyconntrack.core.netlink_receiver cimport msghdr_t
from pyconntrack.core.wire cimport HEADER_SIZE, PROTOCOL_VERSION, header_t, load_header

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t sendmsg(int fd, msghdr_t *message, int flags)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL

cdef enum:
    # Of a message of the greatest length, 65535 bytes, and as much again behind it.
    MEMORY_SIZE = 131072

CAPACITY = MEMORY_SIZE


cdef class StreamReader:
    """Takes whole messages out of a stream. What it holds of one that is not whole yet is at most as long as a message can be.

    Once something stands in the stream that is no message, nobody knows where the next one begins: `rubbish` is set, its first 8 bytes
    end the run, to be counted by who reads it, and no more is taken until clear().
    """

    def __cinit__(self):
        self.memory = <uint8_t *>malloc(MEMORY_SIZE)
        if self.memory == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.memory)

    def clear(self):
        """Forget what is held; another stream begins."""
        self.received = 0
        self.pending = 0
        self.ended = False
        self.rubbish = False

    def receive(self, int fd):
        """The run of whole messages that one receive from a stream socket completes, empty where it completes none.

        `received` and `ended` then say more. Does not wait. Raises OSError for errors other than that nothing waits.
        """
        cdef ssize_t got
        self.received = 0
        if self.rubbish or self.ended:
            return b""
        with nogil:
            got = recv(fd, self.memory + self.pending, MEMORY_SIZE - self.pending, MSG_DONTWAIT)
        if got < 0:
            if errno == EAGAIN or errno == EINTR:
                return b""
            raise OSError(errno, "cannot receive from the dedicated link")
        if got == 0:
            self.ended = True
            return b""
        self.received = <uint32_t>got
        return self.cut()

    def feed(self, const uint8_t[::1] data not None):
        """The same of bytes that come from elsewhere. Raises ValueError where they are more than there is room for (CAPACITY, less
        `pending`).
        """
        self.received = 0
        if self.rubbish or data.shape[0] == 0:
            return b""
        if data.shape[0] > MEMORY_SIZE - <Py_ssize_t>self.pending:
            raise ValueError(f"{data.shape[0]} bytes, and room for {MEMORY_SIZE - self.pending}")
        memcpy(self.memory + self.pending, &data[0], data.shape[0])
        self.received = <uint32_t>data.shape[0]
        return self.cut()

    cdef bytes cut(self):
        cdef uint32_t held = self.pending + self.received
        cdef uint32_t end = 0
        cdef header_t header
        cdef bytes run
        with nogil:
            while held - end >= HEADER_SIZE:
                load_header(self.memory + end, &header)
                if header.version != PROTOCOL_VERSION or header.length < HEADER_SIZE:
                    self.rubbish = True
                    end += HEADER_SIZE
                    break
                if header.length > held - end:
                    break
                end += header.length
        run = PyBytes_FromStringAndSize(<char *>self.memory, end)
        self.pending = 0 if self.rubbish else held - end
        if self.pending and end:
            memmove(self.memory, self.memory + end, self.pending)
        return run


def send_stream(Datagrams datagrams not None, int fd, uint32_t first=0):
    """Write the datagrams from number `first` on into a stream socket, without waiting, as many to a system call as there are.

    Returns (the number of the first one of which nothing was written, how many bytes were written, what is left of the one before, why it
    ended there): errno, EAGAIN where the socket is full, 0 where all were written. What is left must be written before anything else.
    """
    cdef msghdr_t message
    cdef uint32_t offset = 0
    cdef ssize_t sent
    cdef size_t total = 0
    cdef int failure = 0
    cdef uint32_t i
    cdef bytes rest = b""
    memset(&message, 0, sizeof(message))
    with nogil:
        for i in range(first, datagrams.count):
            datagrams.vectors[i].iov_len = datagrams.lengths[i]
        while first < datagrams.count:
            datagrams.vectors[first].iov_base = datagrams.memory + <size_t>first * datagrams.size + offset
            datagrams.vectors[first].iov_len = datagrams.lengths[first] - offset
            message.msg_iov = &datagrams.vectors[first]
            message.msg_iovlen = datagrams.count - first
            sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            datagrams.vectors[first].iov_base = datagrams.memory + <size_t>first * datagrams.size
            if sent < 0:
                if errno == EINTR:
                    continue
                failure = errno
                break
            total += sent
            while first < datagrams.count and sent >= <ssize_t>(datagrams.lengths[first] - offset):
                sent -= datagrams.lengths[first] - offset
                offset = 0
                first += 1
            offset += <uint32_t>sent
    if offset:
        rest = PyBytes_FromStringAndSize(
            <char *>datagrams.memory + <size_t>first * datagrams.size + offset, datagrams.lengths[first] - offset
        )
        first += 1
    return first, total, rest, failure
