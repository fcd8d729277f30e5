# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Between ctnetlink's messages and expectation records.

The layout of every attribute is that of net/netfilter/nf_conntrack_netlink.c. A value longer than expected is
read as far as it is known; a shorter one is malformed.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_record cimport *
from pyconntrack.core.kernel_decode cimport *
from pyconntrack.core.kernel_encode cimport put_tuple
from pyconntrack.core.netlink cimport *
from pyconntrack.core.netlink_receiver cimport NetlinkReceiver
from pyconntrack.core.record cimport EVENT_DESTROY, EVENT_NEW, EVENT_NONE, EVENT_UPDATE, tuple_t

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t limit)


# Reading.

cdef int read_tuple(const attribute_t *attribute, tuple_t *result) noexcept nogil:
    """A tuple, which is nothing without its addresses."""
    cdef bint zone_given = False
    memset(result, 0, sizeof(tuple_t))
    if decode_tuple(attribute.data, attribute.length, result, &zone_given) < 0 or result.family == 0:
        return DECODE_MALFORMED
    return 0


cdef int read_tuples(expectation_t *e, const attribute_t *attribute) noexcept nogil:
    if attribute.type == CTA_EXPECT_TUPLE:
        expectation_put(e, EXPECTATION_EXPECTED)
        return read_tuple(attribute, &e.expected)
    if attribute.type == CTA_EXPECT_MASK:
        expectation_put(e, EXPECTATION_MASK)
        return read_tuple(attribute, &e.mask)
    expectation_put(e, EXPECTATION_MASTER)
    return read_tuple(attribute, &e.master)


cdef int read_word(expectation_t *e, const attribute_t *attribute) noexcept nogil:
    """The attributes that are one 32-bit integer."""
    cdef uint32_t value
    if attribute.length < 4:
        return DECODE_MALFORMED
    value = load_be32(attribute.data)
    if attribute.type == CTA_EXPECT_TIMEOUT:
        e.timeout = value
        expectation_put(e, EXPECTATION_TIMEOUT)
    elif attribute.type == CTA_EXPECT_ID:
        e.id = value
        expectation_put(e, EXPECTATION_ID)
    elif attribute.type == CTA_EXPECT_FLAGS:
        e.flags = value
        expectation_put(e, EXPECTATION_FLAGS)
    else:
        e.class_ = value
        expectation_put(e, EXPECTATION_CLASS)
    return 0


cdef void read_name(const attribute_t *attribute, char *out, size_t size) noexcept nogil:
    """A name, zero-terminated or not; of one that is too long, the beginning. It is only shown."""
    cdef size_t length = strnlen(<const char *>attribute.data, attribute.length)
    memset(out, 0, size)
    memcpy(out, attribute.data, min(length, size - 1))


cdef int read_nat(expectation_t *e, const attribute_t *outer) noexcept nogil:
    cdef attribute_t inner
    cdef const uint8_t *cursor = outer.data
    cdef uint32_t left = outer.length
    cdef bint found = False
    cdef int got
    while True:
        got = next_attribute(&cursor, &left, &inner)
        if got <= 0:
            break
        if inner.type == CTA_EXPECT_NAT_DIR:
            if inner.length < 4:
                return DECODE_MALFORMED
            e.nat_direction = load_be32(inner.data)
        elif inner.type == CTA_EXPECT_NAT_TUPLE:
            if read_tuple(&inner, &e.nat) < 0:
                return DECODE_MALFORMED
            found = True
    if got < 0 or not found:
        return DECODE_MALFORMED
    expectation_put(e, EXPECTATION_NAT)
    return 0


cdef int read_attribute(expectation_t *e, const attribute_t *attribute) noexcept nogil:
    cdef uint16_t kind = attribute.type
    if kind == CTA_EXPECT_TUPLE or kind == CTA_EXPECT_MASK or kind == CTA_EXPECT_MASTER:
        return read_tuples(e, attribute)
    if (kind == CTA_EXPECT_TIMEOUT or kind == CTA_EXPECT_ID or kind == CTA_EXPECT_FLAGS
            or kind == CTA_EXPECT_CLASS):
        return read_word(e, attribute)
    if kind == CTA_EXPECT_ZONE:
        if attribute.length < 2:
            return DECODE_MALFORMED
        e.zone = load_be16(attribute.data)
        expectation_put(e, EXPECTATION_ZONE)
    elif kind == CTA_EXPECT_HELP_NAME:
        read_name(attribute, e.helper, EXPECTATION_HELPER_SIZE)
        expectation_put(e, EXPECTATION_HELPER)
    elif kind == CTA_EXPECT_FN:
        read_name(attribute, e.function, EXPECTATION_FUNCTION_SIZE)
        expectation_put(e, EXPECTATION_FUNCTION)
    elif kind == CTA_EXPECT_NAT:
        return read_nat(e, attribute)
    return 0


cdef int decode_expectation(const uint8_t *message, uint32_t length, expectation_t *expectation) noexcept nogil:
    cdef attribute_t attribute
    cdef const uint8_t *cursor
    cdef uint32_t left
    cdef uint16_t kind
    cdef int got
    clear_expectation(expectation)
    if length < NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE or load32(message) > length:
        return DECODE_MALFORMED
    left = load32(message)
    if left < NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE:
        return DECODE_MALFORMED
    kind = load16(message + 4)
    if kind == (NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_NEW):
        expectation.event = EVENT_NEW if load16(message + 6) & (NLM_F_CREATE | NLM_F_EXCL) else EVENT_UPDATE
    elif kind == (NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_DELETE):
        expectation.event = EVENT_DESTROY
    else:
        return DECODE_NOT_A_FLOW
    cursor = message + NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE
    left -= NETLINK_HEADER_SIZE + NETFILTER_HEADER_SIZE
    while True:
        got = next_attribute(&cursor, &left, &attribute)
        if got == 0:
            return 0
        if got < 0 or read_attribute(expectation, &attribute) < 0:
            return DECODE_MALFORMED


cdef void note_end(const message_t *message, datagram_result_t *result) noexcept nogil:
    """NLMSG_DONE or NLMSG_ERROR."""
    cdef int code = 0
    if message.length >= NETLINK_HEADER_SIZE + 4:
        code = -<int>load32(message.start + NETLINK_HEADER_SIZE)
    if code > 0:
        result.error = code
    result.found |= DATAGRAM_DONE if message.type == NLMSG_DONE else DATAGRAM_ERROR


cdef int decode_expectations(const uint8_t *data, uint32_t length, ExpectationBatch batch,
                             datagram_result_t *result) noexcept nogil:
    cdef message_t message
    cdef expectation_t *expectation
    cdef int got, code
    memset(result, 0, sizeof(datagram_result_t))
    while True:
        got = next_message(&data, &length, &message)
        if got == 0:
            return 0
        if got < 0:
            result.malformed += 1
            return -1
        if message.type == NLMSG_DONE or message.type == NLMSG_ERROR:
            note_end(&message, result)
            continue
        if message.flags & NLM_F_DUMP_INTR:
            result.found |= DATAGRAM_INTERRUPTED
        expectation = batch.append_nogil()
        if expectation == NULL:
            result.out_of_memory = True
            return -1
        code = decode_expectation(message.start, message.length, expectation)
        if code == 0:
            result.flows += 1
            continue
        batch.pop()
        if code == DECODE_NOT_A_FLOW:
            result.others += 1
        else:
            result.malformed += 1


# Writing.

cdef void put_name(writer_t *writer, uint16_t kind, const char *name, size_t size) noexcept nogil:
    put_attribute(writer, kind, name, <uint16_t>(strnlen(name, size - 1) + 1))


cdef void put_attributes(writer_t *writer, const expectation_t *e) noexcept nogil:
    """What is said of an expectation that is made."""
    cdef uint32_t nest
    if expectation_has(e, EXPECTATION_MASTER):
        put_tuple(writer, CTA_EXPECT_MASTER, &e.master, False)
    if expectation_has(e, EXPECTATION_MASK):
        put_tuple(writer, CTA_EXPECT_MASK, &e.mask, False)
    if expectation_has(e, EXPECTATION_TIMEOUT):
        put_be32(writer, CTA_EXPECT_TIMEOUT, e.timeout)
    if expectation_has(e, EXPECTATION_HELPER):
        put_name(writer, CTA_EXPECT_HELP_NAME, e.helper, EXPECTATION_HELPER_SIZE)
    if expectation_has(e, EXPECTATION_FLAGS):
        put_be32(writer, CTA_EXPECT_FLAGS, e.flags)
    if expectation_has(e, EXPECTATION_CLASS):
        put_be32(writer, CTA_EXPECT_CLASS, e.class_)
    if expectation_has(e, EXPECTATION_NAT):
        nest = begin_nest(writer, CTA_EXPECT_NAT)
        put_be32(writer, CTA_EXPECT_NAT_DIR, e.nat_direction)
        put_tuple(writer, CTA_EXPECT_NAT_TUPLE, &e.nat, False)
        end_nest(writer, nest)
    if expectation_has(e, EXPECTATION_FUNCTION):
        put_name(writer, CTA_EXPECT_FN, e.function, EXPECTATION_FUNCTION_SIZE)


cdef uint32_t encode_expectation(const expectation_t *expectation, int command, uint16_t flags,
                                 uint32_t sequence, uint8_t *out, uint32_t capacity) noexcept nogil:
    cdef bint named = expectation_has(expectation, EXPECTATION_EXPECTED)
    cdef uint8_t family = expectation.expected.family if named else expectation.master.family
    cdef writer_t writer
    if command == IPCTNL_MSG_EXP_DELETE and not named:
        # This would delete all of the table.
        return 0
    start_writer(&writer, out, capacity)
    put_header(&writer, <uint16_t>(NFNL_SUBSYS_CTNETLINK_EXP << 8 | command),
               <uint16_t>(flags | NLM_F_REQUEST), sequence, family)
    if named:
        put_tuple(&writer, CTA_EXPECT_TUPLE, &expectation.expected, False)
    elif command == IPCTNL_MSG_EXP_GET and expectation_has(expectation, EXPECTATION_MASTER):
        # The kernel takes it for what is expected; the C tool asks in this way.
        put_tuple(&writer, CTA_EXPECT_MASTER, &expectation.master, False)
    if expectation_has(expectation, EXPECTATION_ZONE):
        put_be16(&writer, CTA_EXPECT_ZONE, expectation.zone)
    if command == IPCTNL_MSG_EXP_NEW:
        put_attributes(&writer, expectation)
    elif expectation_has(expectation, EXPECTATION_ID):
        put_be32(&writer, CTA_EXPECT_ID, expectation.id)
    return finish_message(&writer)


# As Python calls it.

def decode(const uint8_t[::1] data not None, ExpectationBatch batch not None):
    """Append the expectations of a datagram to `batch`: (found, errno, expectations, malformed, others).

    As decode of the flows' codec. Raises MemoryError.
    """
    cdef datagram_result_t result
    batch.check_not_held()
    decode_expectations(&data[0] if data.shape[0] else NULL, <uint32_t>data.shape[0], batch, &result)
    if result.out_of_memory:
        raise MemoryError
    return (result.found, result.error, result.flows, result.malformed, result.others)


def receive_expectations(NetlinkReceiver receiver not None, ExpectationBatch batch not None, Py_ssize_t limit,
                         bint events):
    """Receive what waits, until nothing does, the batch holds `limit` or more, or the dump ends.

    Gives (found, errno, malformed), as receive_flows does. Raises MemoryError, BufferError.
    For other threads, the batch is empty meanwhile.
    """
    # What grows while the GIL is away must be nobody else's.
    cdef ExpectationBatch lent = batch.lend()
    cdef Py_ssize_t position = lent.length
    cdef datagram_result_t result
    cdef int found = 0, error = 0, count = 0, index
    cdef unsigned long malformed = 0
    cdef bint out_of_memory = False
    with nogil:
        while (lent.length < limit and error == 0 and not out_of_memory
               and not found & (DATAGRAM_DONE | DATAGRAM_ERROR)):
            count = receiver.receive()
            if count <= 0:
                error = -count
                break
            for index in range(count):
                decode_expectations(receiver.data(index), receiver.size(index), lent, &result)
                found |= result.found
                malformed += result.malformed
                if result.error:
                    error = result.error
                if result.out_of_memory:
                    out_of_memory = True
        if not events:
            for position in range(position, lent.length):
                lent.expectations[position].event = EVENT_NONE
    batch.take_back(lent)
    if out_of_memory:
        raise MemoryError
    return (found, error, malformed)


def encode(ExpectationBatch batch not None, Py_ssize_t index, int command, uint16_t flags, uint32_t sequence):
    """One request for the expectation at `index`; `command` is IPCTNL_MSG_EXP_*.

    Raises IndexError, and ValueError for a deletion of none in particular.
    """
    cdef uint8_t out[EXPECTATION_MESSAGE_MAX]
    cdef uint32_t length
    if index < 0 or index >= batch.length:
        raise IndexError("expectation index out of range")
    length = encode_expectation(&batch.expectations[index], command, flags, sequence, out,
                                EXPECTATION_MESSAGE_MAX)
    if length == 0:
        raise ValueError("an expectation to delete needs what it expects")
    return PyBytes_FromStringAndSize(<char *>out, length)


def table_request(int command, int flags, uint32_t sequence, int family=0, ExpectationBatch of=None):
    """A request about the whole table: a dump, a flush, statistics.

    Where `of` holds one expectation, a dump is of those that its master expects (in its zone), and a deletion
    is of those of its helper.
    """
    cdef uint8_t out[EXPECTATION_MESSAGE_MAX]
    cdef const expectation_t *e
    cdef writer_t writer
    cdef uint32_t length
    start_writer(&writer, out, EXPECTATION_MESSAGE_MAX)
    put_header(&writer, <uint16_t>(NFNL_SUBSYS_CTNETLINK_EXP << 8 | command),
               <uint16_t>(flags | NLM_F_REQUEST), sequence, <uint8_t>family)
    if of is not None and of.length > 0:
        e = &of.expectations[0]
        if expectation_has(e, EXPECTATION_MASTER) and command == IPCTNL_MSG_EXP_GET:
            put_tuple(&writer, CTA_EXPECT_MASTER, &e.master, False)
        if expectation_has(e, EXPECTATION_ZONE):
            put_be16(&writer, CTA_EXPECT_ZONE, e.zone)
        if expectation_has(e, EXPECTATION_HELPER) and command == IPCTNL_MSG_EXP_DELETE:
            put_name(&writer, CTA_EXPECT_HELP_NAME, e.helper, EXPECTATION_HELPER_SIZE)
    length = finish_message(&writer)
    return PyBytes_FromStringAndSize(<char *>out, length)
