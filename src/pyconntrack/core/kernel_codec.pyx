# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""The codec as Python calls it, a batch at a time."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.kernel_decode cimport *
from pyconntrack.core.kernel_encode cimport *
from pyconntrack.core.lending cimport lend, take_back
from pyconntrack.core.netlink_receiver cimport NetlinkReceiver
from pyconntrack.core.record cimport BIT_ORIGIN, EVENT_NONE, drop

DONE = DATAGRAM_DONE
INTERRUPTED = DATAGRAM_INTERRUPTED
ERROR = DATAGRAM_ERROR


def decode(data, FlowBatch batch not None):
    """Append the flows of a datagram to `batch`: (found, errno, flows, malformed, others).

    `found` is a set of the bits DONE, INTERRUPTED and ERROR; `errno` is what the kernel reported, 0 if
    nothing; the rest count messages. Raises MemoryError, BufferError.
    """
    cdef Py_buffer view
    cdef datagram_result_t result
    batch.check_not_exported()
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    decode_datagram(<const uint8_t *>view.buf, <uint32_t>view.len, batch, &result)
    PyBuffer_Release(&view)
    if result.out_of_memory:
        raise MemoryError
    return (result.found, result.error, result.flows, result.malformed, result.others)


cdef struct received_t:
    int found                  # DATAGRAM_*
    int error                  # errno of the receive or of an answer, 0 if none
    unsigned long malformed
    bint out_of_memory


cdef void decode_received(NetlinkReceiver receiver, int count, FlowBatch batch, received_t *total) noexcept nogil:
    """Append what a receive brought; `count` is what it returned."""
    cdef datagram_result_t result
    cdef int index
    if count < 0:
        total.error = -count
    for index in range(count):
        decode_datagram(receiver.data(index), receiver.size(index), batch, &result)
        total.found |= result.found
        total.malformed += result.malformed
        if result.error:
            total.error = result.error
        if result.out_of_memory:
            total.out_of_memory = True


cdef void make_dumped(FlowBatch batch, Py_ssize_t position) noexcept nogil:
    """Flows of a dump carry the port of who asked for it, and no event."""
    for position in range(position, batch.length):
        batch.flows[position].event = EVENT_NONE
        batch.flows[position].origin = 0
        drop(&batch.flows[position], BIT_ORIGIN)


def receive_flows(NetlinkReceiver receiver not None, FlowBatch batch not None, Py_ssize_t limit, bint events):
    """Receive what waits, until nothing does, the batch holds `limit` flows or more, or the dump ends.

    Gives (found, errno, malformed). `found` as for decode. `errno` is also that of the receive itself:
    ENOBUFS says that events were lost. Without `events`, the flows are of a dump, and their event is none.
    Raises MemoryError, BufferError. For other threads, the batch is empty meanwhile.
    """
    # What grows while the GIL is away must be nobody else's.
    cdef FlowBatch lent = lend(batch)
    cdef Py_ssize_t position = lent.length
    cdef received_t total
    cdef int count = 1
    memset(&total, 0, sizeof(total))
    with nogil:
        while (count > 0 and lent.length < limit and total.error == 0 and not total.out_of_memory
               and not total.found & (DATAGRAM_DONE | DATAGRAM_ERROR)):
            count = receiver.receive()
            decode_received(receiver, count, lent, &total)
        if not events:
            make_dumped(lent, position)
    take_back(batch, lent)
    if total.out_of_memory:
        raise MemoryError
    return (total.found, total.error, total.malformed)


def dumped_flows(NetlinkReceiver receiver not None, FlowBatch batch not None):
    """Append the flows of a dump that the receiver was filled with. Returns and raises as receive_flows does."""
    cdef FlowBatch lent = lend(batch)
    cdef Py_ssize_t position = lent.length
    cdef received_t total
    memset(&total, 0, sizeof(total))
    with nogil:
        decode_received(receiver, receiver.outcome, lent, &total)
        make_dumped(lent, position)
    take_back(batch, lent)
    if total.out_of_memory:
        raise MemoryError
    return (total.found, total.error, total.malformed)


def encode(FlowBatch batch not None, Py_ssize_t index, int command, uint16_t flags, uint32_t sequence):
    """One request for the flow at `index`; `command` is IPCTNL_MSG_CT_*. Raises IndexError."""
    cdef uint8_t out[FLOW_MESSAGE_MAX]
    cdef uint32_t length
    if index < 0 or index >= batch.length:
        raise IndexError("flow index out of range")
    length = encode_flow(&batch.flows[index], command, flags, sequence, out, FLOW_MESSAGE_MAX)
    return PyBytes_FromStringAndSize(<char *>out, length)


def prepare_creates(FlowBatch batch not None):
    """Bring every flow into the form in which the kernel creates it.

    Raises BufferError while a buffer is exported.
    """
    cdef Py_ssize_t index
    batch.check_not_exported()
    # So that nobody moves the records while the GIL is away.
    batch.exports += 1
    with nogil:
        for index in range(batch.length):
            prepare_create(&batch.flows[index])
    batch.exports -= 1


def prepare_updates(FlowBatch batch not None):
    """Leave in every flow what the kernel lets be changed. Raises BufferError while a buffer is exported."""
    cdef Py_ssize_t index
    batch.check_not_exported()
    # So that nobody moves the records while the GIL is away.
    batch.exports += 1
    with nogil:
        for index in range(batch.length):
            prepare_update(&batch.flows[index])
    batch.exports -= 1
