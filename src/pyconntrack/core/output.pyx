# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Batches of flows as what the conntrack command prints of them: plain lines, XML, command lines, JSON."""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint32_t

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.json_text cimport write_json
from pyconntrack.core.label_names cimport LABELS_MAX, LabelNames, label_texts_t
from pyconntrack.core.plain_text cimport write_plain
from pyconntrack.core.record cimport *
from pyconntrack.core.save_text cimport write_save
from pyconntrack.core.text cimport *
from pyconntrack.core.text_names cimport PROCESS_NAME_MAX, begin_lines, line_context_t
from pyconntrack.core.text_writer cimport write_field, write_name, write_text
from pyconntrack.core.xml_text cimport write_xml

# As pointers, since a string that is being written may have one owner only.
cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *text, Py_ssize_t size) except NULL
    int resize_bytes "_PyBytes_Resize"(PyObject **string, Py_ssize_t size) except -1
    char *bytes_place "PyBytes_AS_STRING"(PyObject *string)
    void Py_XDECREF "Py_XDECREF"(PyObject *object)

cdef enum:
    LABEL_FRAME = 16           # <label></label> about a name

PLAIN = TEXT_PLAIN
XML = TEXT_XML
SAVE = TEXT_SAVE
JSON = TEXT_JSON

LAYER3 = TEXT_LAYER3
ID = TEXT_ID
TIMESTAMPS = TEXT_TIMESTAMPS
EVENT = TEXT_EVENT
TIME = TEXT_TIME
WHOLE = TEXT_WHOLE
DELETE = TEXT_DELETE

# What is around the elements of XML. The C tool writes the head before the first flow, and the tail only after a head.
XML_HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n'
XML_TAIL = b"</conntrack>\n"


cdef char *write_origin(char *out, const flow_t *flow, const char *process) noexcept nogil:
    """Which process caused the event, as the C tool shows it with every form."""
    out = write_field(out, b" [USERSPACE] portid=", flow.origin)
    if process != NULL:
        out = write_name(write_text(out, b" progname="), process, PROCESS_NAME_MAX, False)
    return out


cdef char *write_line(char *out, const flow_t *flow, int form, line_context_t *context) noexcept nogil:
    if form == TEXT_JSON:
        out = write_json(out, flow, context)
    else:
        if form == TEXT_XML:
            out = write_xml(out, flow, context)
        elif form == TEXT_SAVE:
            out = write_save(out, flow, context)
        else:
            out = write_plain(out, flow, context)
        if context.flags & TEXT_EVENT and has(flow, BIT_ORIGIN):
            out = write_origin(out, flow, context.process)
    out[0] = 10
    return out + 1


cdef const char **processes_of(FlowBatch batch, Py_ssize_t start, Py_ssize_t stop, dict names) except NULL:
    """For each flow, the name of the process that caused its event, or NULL. The names stay with `names`."""
    cdef Py_ssize_t index
    cdef const char **processes = <const char **>PyMem_Calloc(stop - start or 1, sizeof(char *))
    if processes == NULL:
        raise MemoryError
    for index in range(start, stop):
        if has(&batch.flows[index], BIT_ORIGIN):
            name = names.get(batch.flows[index].origin)
            if name is not None:
                processes[index - start] = PyBytes_AS_STRING(name)
    return processes


cdef Py_ssize_t usual_length(int form) noexcept nogil:
    """Of a line, to begin with: too little costs a copy, too much nothing but address space."""
    if form == TEXT_XML:
        return 900
    return 600 if form == TEXT_JSON else 250


def format_batch(FlowBatch batch not None, Py_ssize_t start, Py_ssize_t stop, int form=TEXT_PLAIN, int flags=0,
                 LabelNames labels=None, int64_t now_seconds=0, int32_t now_microseconds=0, dict process_names=None):
    """The lines of the flows from `start` to before `stop`, in one of the forms PLAIN, XML, SAVE, JSON.

    Flags: LAYER3 (-o extended), ID (-o id), TIMESTAMPS (-o ktimestamp), EVENT (what happened, and what process caused it),
    TIME (-o timestamp, of events), with SAVE also WHOLE (the mark, and the labels that have names) and DELETE (-D, where it
    would be -A). `labels` shows labels by
    these names (-o labels). The time is that of delta-time, and of events that do not carry their own. `process_names`
    gives names (bytes) to ports of `origins`. Raises IndexError, ValueError, MemoryError.
    """
    cdef line_context_t context
    cdef label_texts_t label_texts
    cdef Py_ssize_t index = start, capacity, used = 0, longest = LINE_MAX
    cdef const char **processes = NULL
    cdef PyObject *out
    cdef char *place
    if start < 0 or stop < start or stop > batch.length:
        raise IndexError("flow index out of range")
    if form < TEXT_PLAIN or form > TEXT_JSON:
        raise ValueError(f"there is no output form {form}")
    begin_lines(&context, flags, now_seconds)
    context.now_microseconds = now_microseconds
    if labels is not None:
        # A copy, so that names may be added while the GIL is away.
        label_texts = labels.labels
        context.labels = &label_texts
        longest += labels.total + LABELS_MAX * LABEL_FRAME
    if process_names:
        process_names = {port: bytes(name) for port, name in process_names.items()}
        processes = processes_of(batch, start, stop, process_names)
    capacity = (stop - start) * usual_length(form) + longest
    batch.exports += 1                     # so that nobody moves the records while the GIL is away
    out = NULL
    try:
        out = new_bytes(NULL, capacity)
        while index < stop:
            place = bytes_place(out)
            with nogil:
                while index < stop and capacity - used >= longest:
                    if processes != NULL:
                        context.process = processes[index - start]
                    used = write_line(place + used, &batch.flows[index], form, &context) - place
                    index += 1
            if index < stop:
                capacity = 2 * capacity
                resize_bytes(&out, capacity)
        resize_bytes(&out, used)
        return <object>out
    finally:
        batch.exports -= 1
        PyMem_Free(processes)
        Py_XDECREF(out)


def origins(FlowBatch batch not None, Py_ssize_t start=0):
    """The netlink ports of the processes that caused the events from index `start` on, as a set."""
    cdef Py_ssize_t index
    cdef set ports = set()
    if start < 0:
        raise IndexError("flow index out of range")
    for index in range(start, batch.length):
        if has(&batch.flows[index], BIT_ORIGIN):
            ports.add(batch.flows[index].origin)
    return ports
