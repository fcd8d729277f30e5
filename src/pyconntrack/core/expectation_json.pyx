# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""An expectation as one JSON object with every attribute of its record, as that of a flow is."""

from pyconntrack.core.expectation_record cimport *
from pyconntrack.core.json_text cimport end_object, json_bits, json_tuple, member, write_string
from pyconntrack.core.record cimport EVENT_DESTROY, EVENT_NEW, EVENT_UPDATE, tuple_t
from pyconntrack.core.text_writer cimport write_text

cdef extern from *:
    """
    static const char *const pyconntrack_expectation_flags[] = { "PERMANENT", "INACTIVE", "USERSPACE" };
    static const char *const pyconntrack_directions[] = { "ORIGINAL", "REPLY" };
    """
    const char *const *flag_names "pyconntrack_expectation_flags"
    const char *const *direction_names "pyconntrack_directions"


cdef inline char *tuple_member(char *out, const char *name, const tuple_t *value) noexcept nogil:
    """`name` is the key in quotes, the colon and the brace."""
    return end_object(json_tuple(write_text(out, name), value))


cdef char *nat_member(char *out, const expectation_t *e) noexcept nogil:
    out = member(out, b'"nat":{"direction":{"number":', e.nat_direction)
    if e.nat_direction < 2:
        out = write_text(write_text(write_text(out, b'"name":"'), direction_names[e.nat_direction]), b'",')
    return end_object(tuple_member(end_object(out), b'"tuple":{', &e.nat))


cdef char *numbers(char *out, const expectation_t *e) noexcept nogil:
    if expectation_has(e, EXPECTATION_TIMEOUT):
        out = member(out, b'"timeout":', e.timeout)
    if expectation_has(e, EXPECTATION_CLASS):
        out = member(out, b'"class":', e.class_)
    if expectation_has(e, EXPECTATION_ZONE):
        out = member(out, b'"zone":', e.zone)
    if expectation_has(e, EXPECTATION_ID):
        out = member(out, b'"id":', e.id)
    return out


cdef char *write_expectation_json(char *out, const expectation_t *e) noexcept nogil:
    out = write_text(out, b"{")
    if e.event == EVENT_NEW:
        out = write_text(out, b'"event":"new",')
    elif e.event == EVENT_UPDATE:
        out = write_text(out, b'"event":"update",')
    elif e.event == EVENT_DESTROY:
        out = write_text(out, b'"event":"destroy",')
    if expectation_has(e, EXPECTATION_EXPECTED):
        out = tuple_member(out, b'"expected":{', &e.expected)
    if expectation_has(e, EXPECTATION_MASK):
        out = tuple_member(out, b'"mask":{', &e.mask)
    if expectation_has(e, EXPECTATION_MASTER):
        out = tuple_member(out, b'"master":{', &e.master)
    if expectation_has(e, EXPECTATION_FLAGS):
        out = json_bits(out, b'"flags":', e.flags, flag_names, 3)
    out = numbers(out, e)
    if expectation_has(e, EXPECTATION_HELPER):
        out = write_string(write_text(out, b'"helper":{"name":'), e.helper, EXPECTATION_HELPER_SIZE)
        out = write_text(out, b"},")
    if expectation_has(e, EXPECTATION_FUNCTION):
        out = write_string(write_text(out, b'"function":'), e.function, EXPECTATION_FUNCTION_SIZE)
        out = write_text(out, b",")
    if expectation_has(e, EXPECTATION_NAT):
        out = nat_member(out, e)
    return end_object(out) - 1     # no comma behind the whole
