# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Many requests to one send, and their errors matched by sequence number.

The kernel carries out every request of a datagram before sendmsg returns, and queues an NLMSG_ERROR for each
that failed. The last request asks for an acknowledgement, so that silence never passes for success.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

import os

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.kernel_decode cimport decode_flow
from pyconntrack.core.kernel_encode cimport FLOW_MESSAGE_MAX, encode_flow
from pyconntrack.core.lending cimport lend, take_back
from pyconntrack.core.netlink cimport *
from pyconntrack.core.netlink_receiver cimport NetlinkReceiver
from pyconntrack.core.record cimport BIT_ORIGIN, EVENT_NONE, drop, flow_t

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    ssize_t send_bytes "send"(int fd, const void *data, size_t length, int flags)
    ssize_t receive_bytes "recv"(int fd, void *data, size_t length, int flags)

cdef enum:
    SMALLEST_REQUEST = 64          # header, tuple of an IPv4 flow without ports
    ANSWER_SIZE = 8192             # an answer is a header, an errno and at most the request
    OUTCOME_UNKNOWN = -1


cdef class RequestBatch:
    """Requests for up to `capacity_bytes` of messages, sent as one datagram.

    The socket should have NETLINK_CAP_ACK set, so that answers are short, and a receive buffer of
    `receive_buffer` bytes; its send buffer must hold `capacity_bytes`. It must not have NETLINK_NO_ENOBUFS
    set, which would hide a loss. Past 8 KiB, the cost of a request falls no further.
    """

    def __cinit__(self, uint32_t capacity_bytes=65536, uint32_t first_sequence=1):
        if capacity_bytes < FLOW_MESSAGE_MAX:
            raise ValueError(f"a batch needs room for one message, {FLOW_MESSAGE_MAX} bytes")
        self.capacity = capacity_bytes
        self.count_limit = capacity_bytes // SMALLEST_REQUEST
        self.buffer = <uint8_t *>malloc(capacity_bytes)
        self.outcomes = <int32_t *>calloc(self.count_limit, sizeof(int32_t))
        if self.buffer == NULL or self.outcomes == NULL:
            raise MemoryError
        self.first_sequence = first_sequence

    def __dealloc__(self):
        free(self.buffer)
        free(self.outcomes)

    def __len__(self):
        return self.count

    cdef bint add(self, const flow_t *flow, int command, uint16_t flags) noexcept nogil:
        if self.count == self.count_limit:
            return False
        return self.took(encode_flow(flow, command, flags, self.first_sequence + <uint32_t>self.count,
                                     self.buffer + self.used, self.capacity - self.used))

    cdef bint took(self, uint32_t length) noexcept nogil:
        if length == 0:
            return False
        self.last_message = self.used
        self.used += align4(length)
        self.outcomes[self.count] = OUTCOME_UNKNOWN
        self.count += 1
        return True

    cdef void reset(self) noexcept nogil:
        self.first_sequence += <uint32_t>self.count
        self.used = 0
        self.count = 0
        self.failed = 0
        self.errors_lost = False

    cdef int transmit(self, int fd) noexcept nogil:
        cdef uint8_t *flags = self.buffer + self.last_message + 6
        if self.count == 0:
            return 0
        store16(flags, load16(flags) | NLM_F_ACK)
        while send_bytes(fd, self.buffer, self.used, 0) < 0:
            if errno != EINTR:
                return -errno
        return 0

    cdef bint note(self, const uint8_t *data, uint32_t length) noexcept nogil:
        """Take one datagram of answers; True where it held the last request's."""
        cdef message_t message
        cdef uint32_t position
        cdef int code
        cdef bint last = False
        while next_message(&data, &length, &message) > 0:
            position = message.sequence - self.first_sequence
            if (message.type != NLMSG_ERROR or position >= <uint32_t>self.count
                    or message.length < NETLINK_HEADER_SIZE + 4):
                continue
            code = -<int>load32(message.start + NETLINK_HEADER_SIZE)
            if self.outcomes[position] <= 0 and code > 0:
                self.failed += 1
            self.outcomes[position] = code
            if position == <uint32_t>self.count - 1:
                last = True
        return last

    cdef int gather(self, int fd) noexcept nogil:
        cdef uint8_t answer[ANSWER_SIZE]
        cdef ssize_t length
        cdef bint complete = self.count == 0
        while True:
            length = receive_bytes(fd, answer, ANSWER_SIZE, MSG_DONTWAIT)
            if length >= 0:
                if self.note(answer, <uint32_t>length):
                    complete = True
            elif errno == EAGAIN:
                break
            elif errno == ENOBUFS:
                self.errors_lost = True
            elif errno != EINTR:
                return -errno
        if not complete:
            self.errors_lost = True
        self.settle()
        return -ENOBUFS if self.errors_lost else <int>self.failed

    cdef void settle(self) noexcept nogil:
        """Silence means success, for answers come in order.

        But not behind the last one, where some were lost.
        """
        cdef Py_ssize_t position = self.count - 1
        if self.errors_lost:
            while position >= 0 and self.outcomes[position] == OUTCOME_UNKNOWN:
                self.outcomes[position] = ENOBUFS
                position -= 1
        while position >= 0:
            if self.outcomes[position] == OUTCOME_UNKNOWN:
                self.outcomes[position] = 0
            position -= 1

    cdef int error_at(self, Py_ssize_t position) noexcept nogil:
        if position < 0 or position >= self.count:
            return 0
        return self.outcomes[position]

    def add_flows(self, FlowBatch batch not None, Py_ssize_t start, int command, int flags):
        """Add the flows from index `start` on until the batch is full.

        The index behind the last one that was added.
        """
        cdef Py_ssize_t index = start
        if start < 0 or start > batch.length:
            raise IndexError("flow index out of range")
        # So that nobody moves the records while the GIL is away.
        batch.exports += 1
        with nogil:
            while index < batch.length and self.add(&batch.flows[index], command, <uint16_t>flags):
                index += 1
        batch.exports -= 1
        return index

    def clear(self, first_sequence=None):
        """Forget the requests; the next batch begins with this sequence number, or goes on with them.

        Where others ask on the same socket, too, it must be one that none of them had: what is left of the answers
        to another request would be taken for this one's. Raises OverflowError.
        """
        cdef uint32_t first = self.first_sequence + <uint32_t>self.count if first_sequence is None else first_sequence
        self.reset()
        self.first_sequence = first

    @property
    def most(self):
        """How many requests a batch may have, and sequence numbers."""
        return self.count_limit

    @property
    def receive_buffer(self):
        """Bytes of receive buffer (SO_RCVBUF as set) that hold an answer for each request of a full batch.

        With NETLINK_CAP_ACK, an answer takes 832 bytes of the buffer, which is twice what was set.
        """
        return self.count_limit * 512

    def send(self, int fd):
        """Send all requests as one datagram; they are carried out when it returns. Raises OSError."""
        cdef int code
        with nogil:
            code = self.transmit(fd)
        if code < 0:
            raise OSError(-code, os.strerror(-code))

    def collect(self, int fd):
        """Read the answers: [(position, errno), ...] of the requests that failed.

        Raises OSError where the socket fails.
        Where answers were lost (ENOBUFS), each request whose outcome is unknown is listed with ENOBUFS.
        """
        cdef int code
        cdef Py_ssize_t position
        with nogil:
            code = self.gather(fd)
        if code < 0 and code != -ENOBUFS:
            raise OSError(-code, os.strerror(-code))
        return failures_of(self) if code else []


cdef list failures_of(RequestBatch requests):
    outcomes = [(position, requests.outcomes[position]) for position in range(requests.count)]
    return [outcome for outcome in outcomes if outcome[1] > 0]


def collect_flows(RequestBatch requests not None, NetlinkReceiver receiver not None, FlowBatch batch not None):
    """Read the answers to requests for a flow each (IPCTNL_MSG_CT_GET) to the end of `batch`, in their order.

    Gives [(position, errno), ...] as RequestBatch.collect does, of those that have no flow. Raises OSError where
    the socket fails, MemoryError, BufferError.
    """
    cdef int count = 0, slot, code = 0
    cdef bint complete = requests.count == 0, out_of_memory = False
    # What grows while the GIL is away must be nobody else's.
    cdef FlowBatch lent = lend(batch)
    with nogil:
        while not out_of_memory:
            count = receiver.receive()
            if count == 0:
                break
            if count < 0:
                requests.errors_lost = True
                if count != -ENOBUFS:
                    code = count
                    break
            for slot in range(count):
                if requests.note(receiver.data(slot), receiver.size(slot)):
                    complete = True
                if not take_flows(requests, receiver.data(slot), receiver.size(slot), lent):
                    out_of_memory = True
        if not complete:
            requests.errors_lost = True
        requests.settle()
    take_back(batch, lent)
    if out_of_memory:
        raise MemoryError
    if code < 0:
        raise OSError(-code, os.strerror(-code))
    return failures_of(requests)


cdef bint take_flows(RequestBatch requests, const uint8_t *data, uint32_t length, FlowBatch batch) noexcept nogil:
    """The flows of a datagram that may hold acknowledgements, too, and answers to others; False for want of memory."""
    cdef message_t message
    cdef flow_t *flow
    while next_message(&data, &length, &message) > 0:
        if message.type == NLMSG_ERROR or message.sequence - requests.first_sequence >= <uint32_t>requests.count:
            continue
        flow = batch.append_garbage()
        if flow == NULL:
            return False
        if decode_flow(message.start, message.length, flow) < 0:
            batch.pop()
            continue
        # It came because it was asked for.
        flow.event = EVENT_NONE
        flow.origin = 0
        drop(flow, BIT_ORIGIN)
    return True


def table_request(int command, int flags, uint32_t sequence, int family=0):
    """A request about the whole table: a dump, a flush, statistics. `command` is IPCTNL_MSG_CT_*."""
    cdef uint8_t out[NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE]
    cdef writer_t writer
    start_writer(&writer, out, sizeof(out))
    put_header(&writer, <uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | command), <uint16_t>(flags | NLM_F_REQUEST),
               sequence, <uint8_t>family)
    return PyBytes_FromStringAndSize(<char *>out, finish_message(&writer))
