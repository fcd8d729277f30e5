# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams of a netlink socket, many to a system call."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct iovec_t "iovec":
        void *iov_base
        size_t iov_len
    struct msghdr_t "msghdr":
        void *msg_name
        socklen_t msg_namelen
        iovec_t *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr_t "mmsghdr":
        msghdr_t msg_hdr
        unsigned int msg_len

cdef extern from "<linux/netlink.h>" nogil:
    struct sockaddr_nl_t "sockaddr_nl":
        unsigned short nl_family
        uint32_t nl_pid
        uint32_t nl_groups


cdef class NetlinkReceiver:
    cdef readonly int fd
    cdef int slots
    cdef uint32_t slot_size
    cdef uint8_t *memory
    cdef mmsghdr_t *headers
    cdef iovec_t *vectors
    cdef sockaddr_nl_t *senders
    cdef int *kept                     # slots of this receive that hold a datagram of the kernel
    cdef int count
    cdef int outcome                   # of the last fill(), as receive() returns it
    cdef bint loss_pending
    cdef readonly uint64_t truncated   # datagrams longer than a slot, lost
    cdef readonly uint64_t foreign     # datagrams that another process sent, dropped
    cdef readonly uint64_t overruns    # times the kernel said ENOBUFS

    # Datagrams received (they stay until the next call), 0 if none wait, or a negative errno: -ENOBUFS says
    # that the kernel dropped some, or that one was longer than a slot.
    cdef int receive(self) noexcept nogil
    cdef const uint8_t *data(self, int index) noexcept nogil
    cdef uint32_t size(self, int index) noexcept nogil
    cdef void connect_slots(self) noexcept nogil
    cdef void keep(self, int received) noexcept nogil
