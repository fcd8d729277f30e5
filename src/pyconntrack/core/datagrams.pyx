# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams of the dedicated link, many to a system call: messages are packed into them, and received in bulk."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from pyconntrack.core.netlink_receiver cimport iovec_t, mmsghdr_t
from pyconntrack.core.wire cimport BODY_MAX, HEADER_SIZE, PROTOCOL_VERSION, TYPE_EXPECT_DESTROY, header_t, load_header

cdef extern from "<sys/socket.h>" nogil:
    int sendmmsg(int fd, mmsghdr_t *messages, unsigned int count, int flags)
    int recvmmsg(int fd, mmsghdr_t *messages, unsigned int count, int flags, void *timeout)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        MSG_TRUNC

cdef enum:
    NAME_SIZE = 128            # sizeof(struct sockaddr_storage)
    RECEIVE_SIZE = 65536       # no datagram is longer
    SIZE_MIN = HEADER_SIZE + BODY_MAX

# Bytes of the smallest datagrams that can be had.
SMALLEST = SIZE_MIN


cdef class Datagrams:
    """Datagrams to send: `capacity` of them, each of at most `size` bytes, filled with whole messages one after another.

    Any message has room in a datagram of SIZE_MIN bytes.
    """

    def __cinit__(self, uint32_t size, uint32_t capacity=64):
        cdef uint32_t i
        if not SIZE_MIN <= size <= 65507 or not 1 <= capacity <= 1024:
            raise ValueError(f"{capacity} datagrams of {size} bytes: from 1 to 1024 of {SIZE_MIN} to 65507 bytes can be had")
        self.size = size
        self.capacity = capacity
        self.memory = <uint8_t *>malloc(<size_t>size * capacity)
        self.lengths = <uint32_t *>calloc(capacity, sizeof(uint32_t))
        self.headers = <mmsghdr_t *>calloc(capacity, sizeof(mmsghdr_t))
        self.vectors = <iovec_t *>calloc(capacity, sizeof(iovec_t))
        if self.memory == NULL or self.lengths == NULL or self.headers == NULL or self.vectors == NULL:
            raise MemoryError
        for i in range(capacity):
            self.vectors[i].iov_base = self.memory + <size_t>i * size
            self.headers[i].msg_hdr.msg_iov = &self.vectors[i]
            self.headers[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.memory)
        free(self.lengths)
        free(self.headers)
        free(self.vectors)

    def __len__(self):
        return self.count

    def __getitem__(self, uint32_t index):
        if index >= self.count:
            raise IndexError(f"datagram {index} of {self.count}")
        return PyBytes_FromStringAndSize(<char *>self.memory + <size_t>index * self.size, self.lengths[index])

    @property
    def bytes_filled(self):
        """The sum of the datagrams' lengths."""
        cdef uint32_t i
        cdef size_t total = 0
        for i in range(self.count):
            total += self.lengths[i]
        return total

    def clear(self):
        """Empty, to be filled again."""
        self.count = 0

    cdef uint8_t *room(self, uint32_t length) noexcept nogil:
        cdef uint32_t last
        if length > self.size:
            return NULL
        if self.count == 0 or self.lengths[self.count - 1] + length > self.size:
            if self.count == self.capacity:
                return NULL
            self.lengths[self.count] = 0
            self.count += 1
        last = self.count - 1
        self.lengths[last] += length
        return self.memory + <size_t>last * self.size + self.lengths[last] - length

    def send(self, int fd, uint32_t first=0):
        """Send the datagrams from number `first` on through a connected socket, without waiting.

        Returns (the number of the first one that was not sent, why): (`len(self)`, 0) where all went, EAGAIN where the socket is full,
        another errno where the kernel refused it, which may be for what became of an earlier one.
        """
        cdef uint32_t i
        cdef int sent
        cdef int failure = 0
        with nogil:
            for i in range(first, self.count):
                self.vectors[i].iov_len = self.lengths[i]
            while first < self.count:
                sent = sendmmsg(fd, self.headers + first, self.count - first, MSG_DONTWAIT | MSG_NOSIGNAL)
                if sent > 0:
                    first += sent
                elif errno != EINTR:
                    failure = errno
                    break
        return first, failure


cdef class DatagramReceiver:
    """Receives up to `slots` datagrams from a socket in one call."""

    def __cinit__(self, int fd, uint32_t slots=32):
        cdef uint32_t i
        self.fd = fd
        self.slots = slots
        self.memory = <uint8_t *>malloc(<size_t>slots * RECEIVE_SIZE)
        self.names = <uint8_t *>calloc(slots, NAME_SIZE)
        self.headers = <mmsghdr_t *>calloc(slots, sizeof(mmsghdr_t))
        self.vectors = <iovec_t *>calloc(slots, sizeof(iovec_t))
        if self.memory == NULL or self.names == NULL or self.headers == NULL or self.vectors == NULL:
            raise MemoryError
        for i in range(slots):
            self.vectors[i].iov_base = self.memory + <size_t>i * RECEIVE_SIZE
            self.vectors[i].iov_len = RECEIVE_SIZE
            self.headers[i].msg_hdr.msg_iov = &self.vectors[i]
            self.headers[i].msg_hdr.msg_iovlen = 1
            self.headers[i].msg_hdr.msg_name = self.names + <size_t>i * NAME_SIZE

    def __dealloc__(self):
        free(self.memory)
        free(self.names)
        free(self.headers)
        free(self.vectors)

    def receive(self):
        """The datagrams that wait, at most `slots`, as a list of (bytes, sender, datagrams). A sender is its raw socket address, as bytes.

        What a sender says in several datagrams one after another is one piece, as long as they hold nothing but plain data: what follows then
        is the work of one piece, not of each datagram. `datagrams` says how many are in it.

        Raises OSError for errors other than that nothing waits.
        """
        cdef int i
        cdef int got
        cdef int first = 0
        with nogil:
            for i in range(<int>self.slots):
                self.headers[i].msg_hdr.msg_namelen = NAME_SIZE
            got = recvmmsg(self.fd, self.headers, self.slots, MSG_DONTWAIT, NULL)
        if got < 0:
            if errno == EAGAIN or errno == EINTR:
                return []
            raise OSError(errno, "cannot receive from the dedicated link")
        result = []
        while first < got:
            i = self.end_of_piece(first, got)
            result.append((
                self.join(first, i),
                PyBytes_FromStringAndSize(<char *>self.headers[first].msg_hdr.msg_name, self.headers[first].msg_hdr.msg_namelen),
                i - first,
            ))
            first = i
        return result

    cdef int end_of_piece(self, int first, int got) noexcept nogil:
        """The number behind the last datagram that makes one piece with the one numbered `first`."""
        cdef int end = first + 1
        if not self.is_plain_data(first):
            return end
        while end < got and self.is_same_sender(first, end) and self.is_plain_data(end):
            end += 1
        return end

    cdef bint is_same_sender(self, int first, int second) noexcept nogil:
        cdef uint32_t size = self.headers[first].msg_hdr.msg_namelen
        return (size == self.headers[second].msg_hdr.msg_namelen and size <= NAME_SIZE
                and memcmp(self.headers[first].msg_hdr.msg_name, self.headers[second].msg_hdr.msg_name, size) == 0)

    cdef bint is_plain_data(self, int number) noexcept nogil:
        """Whether a datagram is whole data messages without flags, up to its last byte."""
        cdef const uint8_t *data = <const uint8_t *>self.vectors[number].iov_base
        cdef uint32_t size = self.headers[number].msg_len
        cdef uint32_t offset = 0
        cdef header_t header
        while size - offset >= HEADER_SIZE:
            load_header(data + offset, &header)
            if (header.version != PROTOCOL_VERSION or header.type > TYPE_EXPECT_DESTROY or header.flags
                    or header.length < HEADER_SIZE or header.length > size - offset):
                return False
            offset += header.length
        return offset == size

    cdef bytes join(self, int first, int end):
        """The datagrams from `first` to before `end` as one piece."""
        cdef int i
        cdef Py_ssize_t size = 0
        cdef char *place
        for i in range(first, end):
            size += self.headers[i].msg_len
        joined = PyBytes_FromStringAndSize(NULL, size)
        place = PyBytes_AS_STRING(joined)
        for i in range(first, end):
            memcpy(place, self.vectors[i].iov_base, self.headers[i].msg_len)
            place += self.headers[i].msg_len
        return joined
