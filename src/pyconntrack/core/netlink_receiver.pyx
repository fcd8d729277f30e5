# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Datagrams of a netlink socket, many to a system call."""

from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

import os

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_TRUNC
    int recvmmsg(int fd, mmsghdr_t *messages, unsigned int count, int flags, void *timeout)

cdef extern from "<sched.h>" nogil:
    int CLONE_NEWNET
    int setns(int fd, int kind)


def enter_network_namespace(int fd):
    """Move the calling thread, and no other, into the network namespace that `fd` refers to.

    Raises OSError.
    """
    if setns(fd, CLONE_NEWNET) < 0:
        raise OSError(errno, os.strerror(errno))


cdef class NetlinkReceiver:
    """Buffers for `messages` datagrams of up to `size` bytes from the descriptor `fd`, which stays the
    caller's.

    An event of ctnetlink fits into 8 KiB. In a dump, the kernel fills as much as the receiver offers, up to
    32 KiB less its own bookkeeping (net/netlink/af_netlink.c); larger buffers gain nothing.
    """

    def __cinit__(self, int fd, int messages=64, uint32_t size=8192):
        if messages < 1 or messages > 1024 or size < 1024:
            raise ValueError("from 1 to 1024 messages of at least 1024 bytes")
        self.fd = fd
        self.slots = messages
        self.slot_size = size
        self.memory = <uint8_t *>malloc(<size_t>messages * size)
        self.headers = <mmsghdr_t *>calloc(messages, sizeof(mmsghdr_t))
        self.vectors = <iovec_t *>calloc(messages, sizeof(iovec_t))
        self.senders = <sockaddr_nl_t *>calloc(messages, sizeof(sockaddr_nl_t))
        self.kept = <int *>calloc(messages, sizeof(int))
        if (self.memory == NULL or self.headers == NULL or self.vectors == NULL or self.senders == NULL
                or self.kept == NULL):
            raise MemoryError
        self.connect_slots()

    def __dealloc__(self):
        free(self.memory)
        free(self.headers)
        free(self.vectors)
        free(self.senders)
        free(self.kept)

    cdef void connect_slots(self) noexcept nogil:
        cdef int slot
        for slot in range(self.slots):
            self.vectors[slot].iov_base = self.memory + <size_t>slot * self.slot_size
            self.vectors[slot].iov_len = self.slot_size
            self.headers[slot].msg_hdr.msg_iov = &self.vectors[slot]
            self.headers[slot].msg_hdr.msg_iovlen = 1
            self.headers[slot].msg_hdr.msg_name = &self.senders[slot]

    def fill(self):
        """Receive what waits, without the GIL. What became of it is told by what reads the datagrams."""
        with nogil:
            self.outcome = self.receive()

    cdef int receive(self) noexcept nogil:
        cdef int slot, got
        self.count = 0
        while self.count == 0:
            if self.loss_pending:
                self.loss_pending = False
                return -ENOBUFS
            for slot in range(self.slots):
                self.headers[slot].msg_hdr.msg_namelen = sizeof(sockaddr_nl_t)
                self.headers[slot].msg_hdr.msg_flags = 0
            got = recvmmsg(self.fd, self.headers, self.slots, MSG_DONTWAIT, NULL)
            if got == 0:
                return 0
            if got < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    return 0
                if errno == ENOBUFS:
                    self.overruns += 1
                return -errno
            self.keep(got)
        return self.count

    cdef void keep(self, int received) noexcept nogil:
        """Sort out what is not whole or not from the kernel.

        A loss is told by the next receive, after what did arrive.
        """
        cdef int slot
        for slot in range(received):
            if self.senders[slot].nl_pid != 0:
                self.foreign += 1
            elif self.headers[slot].msg_hdr.msg_flags & MSG_TRUNC:
                self.truncated += 1
                self.loss_pending = True
            else:
                self.kept[self.count] = slot
                self.count += 1

    cdef const uint8_t *data(self, int index) noexcept nogil:
        return self.memory + <size_t>self.kept[index] * self.slot_size

    cdef uint32_t size(self, int index) noexcept nogil:
        return self.headers[self.kept[index]].msg_len
