# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow records as lines: those of one flow at a time, without what only the conntrack command shows."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from pyconntrack.core.plain_text cimport write_plain
from pyconntrack.core.record cimport *
from pyconntrack.core.text_names cimport begin_lines, line_context_t
from pyconntrack.core.xml_text cimport write_xml


cdef uint32_t format_flow(const flow_t *flow, int form, int flags, int64_t now, int64_t age, char *out,
                          uint32_t capacity) noexcept nogil:
    cdef char[TEXT_MAX] room
    cdef char *start = out if capacity >= TEXT_MAX else room
    cdef char *end
    cdef uint32_t length
    cdef line_context_t context
    begin_lines(&context, flags, now)
    context.age = age
    if form == TEXT_XML:
        end = write_xml(start, flow, &context)
    else:
        end = write_plain(start, flow, &context)
    end[0] = 10
    length = <uint32_t>(end + 1 - start)
    if start == out:
        return length
    if length > capacity:
        return 0
    memcpy(out, start, length)
    return length


PLAIN = TEXT_PLAIN
XML = TEXT_XML
LAYER3 = TEXT_LAYER3
ID = TEXT_ID
TIMESTAMPS = TEXT_TIMESTAMPS
EVENT = TEXT_EVENT
TIME = TEXT_TIME
NO_REPLY = TEXT_NO_REPLY
NO_TIMEOUT = TEXT_NO_TIMEOUT
INTERNAL_CACHE = TEXT_INTERNAL_CACHE
EXTERNAL_CACHE = TEXT_EXTERNAL_CACHE


def format_records(records, int form=TEXT_PLAIN, int flags=0, int64_t now=0, int64_t age=-1):
    """The lines of an array of flow records, as a FlowBatch or anything else with the buffer protocol holds it.

    Raises ValueError where the buffer is not a whole number of records.
    """
    cdef Py_buffer view
    cdef Py_ssize_t count, i
    cdef size_t used = 0
    cdef char *out
    cdef const flow_t *flows
    PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
    try:
        if view.len % sizeof(flow_t):
            raise ValueError(f"{view.len} bytes are not a whole number of flow records of {sizeof(flow_t)} bytes")
        count = view.len // sizeof(flow_t)
        flows = <const flow_t *>view.buf
        out = <char *>malloc((count + 1) * TEXT_MAX)
        if out == NULL:
            raise MemoryError
        with nogil:
            for i in range(count):
                used += format_flow(&flows[i], form, flags, now, age, out + used, TEXT_MAX)
        try:
            return PyBytes_FromStringAndSize(out, used)
        finally:
            free(out)
    finally:
        PyBuffer_Release(&view)
