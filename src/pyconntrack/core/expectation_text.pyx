# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectation records as text, byte for byte as libnetfilter_conntrack 1.0.9 writes them for conntrack-tools 1.4.7.

Its oddities are kept, since scripts read this: a flag without a name leaves its space, the id, the translation and the function
are shown nowhere, XML has no ICMP fields. JSON has everything.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.time cimport localtime_r, time_t, tm

from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_json cimport write_expectation_json
from pyconntrack.core.expectation_record cimport *
from pyconntrack.core.record cimport *
from pyconntrack.core.text cimport TEXT_EVENT, TEXT_JSON, TEXT_PLAIN, TEXT_TIME, TEXT_XML
from pyconntrack.core.text_names cimport IPPROTO_GRE, family_name, protocol_name
from pyconntrack.core.text_writer cimport *


cdef inline char *write_element(char *out, const char *start, uint64_t value, const char *end) noexcept nogil:
    return write_text(write_number(write_text(out, start), value), end)


# Plain. Every field begins with its space.

cdef char *plain_layer4(char *out, const tuple_t *t) noexcept nogil:
    if protocol_is_icmp(t.protocol):
        out = write_field(out, b" type=", t.icmp_type)
        out = write_field(out, b" code=", t.icmp_code)
        out = write_field(out, b" id=", t.icmp_id)
    elif t.protocol == IPPROTO_GRE:
        out = write_hex(write_text(out, b" srckey=0x"), t.source_port)
        out = write_hex(write_text(out, b" dstkey=0x"), t.destination_port)
    elif protocol_has_ports(t.protocol):
        out = write_field(out, b" sport=", t.source_port)
        out = write_field(out, b" dport=", t.destination_port)
    return out


cdef char *plain_tuple(char *out, const tuple_t *t, const char *source, const char *destination) noexcept nogil:
    out = write_address(write_text(out, source), t.family, t.source)
    out = write_address(write_text(out, destination), t.family, t.destination)
    return plain_layer4(out, t)


cdef char *plain_flags(char *out, uint32_t flags) noexcept nogil:
    """The names of those that have one, behind a space."""
    cdef const char *separator = b" "
    if flags == 0:
        return out
    if not flags & (EXPECT_PERMANENT | EXPECT_INACTIVE | EXPECT_USERSPACE):
        return write_text(out, separator)
    if flags & EXPECT_PERMANENT:
        out = write_text(write_text(out, separator), b"PERMANENT")
        separator = b","
    if flags & EXPECT_INACTIVE:
        out = write_text(write_text(out, separator), b"INACTIVE")
        separator = b","
    if flags & EXPECT_USERSPACE:
        out = write_text(write_text(out, separator), b"USERSPACE")
    return out


cdef inline char *write_left(char *out, uint64_t value, int width) noexcept nogil:
    """A number in a column of `width`, left-aligned."""
    cdef char *end = write_number(out, value)
    while end - out < width:
        end[0] = 32
        end += 1
    return end


cdef char *plain_head(char *out, const expectation_t *e, int flags, int64_t seconds,
                      int64_t microseconds) noexcept nogil:
    if flags & TEXT_TIME:
        out = write_left(write_text(out, b"["), <uint64_t>seconds, 8)
        out = write_left(write_text(out, b"."), <uint64_t>microseconds, 6)
        out = write_text(out, b"]\t")
    if flags & TEXT_EVENT:
        if e.event == EVENT_NEW:
            out = write_text(out, b"    [NEW] ")
        elif e.event == EVENT_UPDATE:
            out = write_text(out, b" [UPDATE] ")
        elif e.event == EVENT_DESTROY:
            out = write_text(out, b"[DESTROY] ")
    if expectation_has(e, EXPECTATION_TIMEOUT):
        out = write_text(write_number(out, e.timeout), b" ")
    return write_field(out, b"proto=", e.expected.protocol)


cdef char *write_plain(char *out, const expectation_t *e, int flags, int64_t seconds,
                       int64_t microseconds) noexcept nogil:
    out = plain_head(out, e, flags, seconds, microseconds)
    if expectation_has(e, EXPECTATION_EXPECTED):
        out = plain_tuple(out, &e.expected, b" src=", b" dst=")
    if expectation_has(e, EXPECTATION_MASK):
        out = plain_tuple(out, &e.mask, b" mask-src=", b" mask-dst=")
    if expectation_has(e, EXPECTATION_MASTER):
        out = plain_tuple(out, &e.master, b" master-src=", b" master-dst=")
    if expectation_has(e, EXPECTATION_ZONE):
        out = write_field(out, b" zone=", e.zone)
    if expectation_has(e, EXPECTATION_FLAGS):
        out = plain_flags(out, e.flags)
    if expectation_has(e, EXPECTATION_CLASS):
        out = write_field(out, b" class=", e.class_)
    if expectation_has(e, EXPECTATION_HELPER):
        out = write_name(write_text(out, b" helper="), e.helper, EXPECTATION_HELPER_SIZE, False)
    return out


# XML.

cdef char *xml_addresses(char *out, const tuple_t *t, bint given) noexcept nogil:
    out = write_text(out, b"<src>")
    if given:
        out = write_address(out, t.family, t.source)
    out = write_text(out, b"</src><dst>")
    if given:
        out = write_address(out, t.family, t.destination)
    return write_text(out, b"</dst>")


cdef char *xml_ports(char *out, const tuple_t *t) noexcept nogil:
    if t.protocol == IPPROTO_GRE:
        out = write_hex(write_text(out, b"<srckey>0x"), t.source_port)
        out = write_hex(write_text(out, b"</srckey><dstkey>0x"), t.destination_port)
        return write_text(out, b"</dstkey>")
    if protocol_has_ports(t.protocol):
        out = write_element(out, b"<sport>", t.source_port, b"</sport>")
        out = write_element(out, b"<dport>", t.destination_port, b"</dport>")
    return out


cdef char *xml_layers(char *out, const expectation_t *e) noexcept nogil:
    out = write_element(out, b'<layer3 protonum="', e.expected.family, b'" protoname="')
    out = write_text(write_text(out, family_name(e.expected.family)), b'"><expected>')
    out = xml_addresses(out, &e.expected, expectation_has(e, EXPECTATION_EXPECTED))
    out = write_text(out, b"</expected><mask>")
    out = xml_addresses(out, &e.mask, expectation_has(e, EXPECTATION_MASK))
    out = write_text(out, b"</mask><master>")
    out = xml_addresses(out, &e.master, expectation_has(e, EXPECTATION_MASTER))
    out = write_element(out, b'</master></layer3><layer4 protonum="', e.expected.protocol, b'" protoname="')
    out = write_text(write_text(out, protocol_name(e.expected.protocol)), b'"><expected>')
    out = xml_ports(out, &e.expected)
    out = xml_ports(write_text(out, b"</expected><mask>"), &e.mask)
    out = xml_ports(write_text(out, b"</mask><master>"), &e.master)
    return write_text(out, b"</master></layer4>")


cdef inline char *xml_two_digits(char *out, const char *start, int value, const char *end) noexcept nogil:
    out = write_text(out, start)
    if value < 10:
        out = write_text(out, b"0")
    return write_text(write_number(out, value), end)


cdef char *xml_time(char *out, int64_t seconds) noexcept nogil:
    """When it was printed, in local time; the days of a week are counted from Sunday, which is 1."""
    cdef time_t moment = <time_t>seconds
    cdef tm local
    if localtime_r(&moment, &local) == NULL:
        return out
    out = write_element(out, b"<when><hour>", local.tm_hour, b"</hour>")
    out = xml_two_digits(out, b"<min>", local.tm_min, b"</min>")
    out = xml_two_digits(out, b"<sec>", local.tm_sec, b"</sec>")
    out = write_element(out, b"<wday>", local.tm_wday + 1, b"</wday>")
    out = write_element(out, b"<day>", local.tm_mday, b"</day>")
    out = write_element(out, b"<month>", local.tm_mon + 1, b"</month>")
    return write_element(out, b"<year>", local.tm_year + 1900, b"</year></when>")


cdef char *xml_meta(char *out, const expectation_t *e, int flags, int64_t seconds) noexcept nogil:
    out = write_text(out, b"<meta>")
    if expectation_has(e, EXPECTATION_HELPER):
        out = write_name(write_text(out, b"<helper-name>"), e.helper, EXPECTATION_HELPER_SIZE, True)
        out = write_text(out, b"</helper-name>")
    if expectation_has(e, EXPECTATION_TIMEOUT):
        out = write_element(out, b"<timeout>", e.timeout, b"</timeout>")
    if expectation_has(e, EXPECTATION_CLASS):
        out = write_element(out, b"<class>", e.class_, b"</class>")
    if expectation_has(e, EXPECTATION_ZONE):
        out = write_element(out, b"<zone>", e.zone, b"</zone>")
    if flags & TEXT_TIME:
        out = xml_time(out, seconds)
    if expectation_has(e, EXPECTATION_FLAGS):
        if e.flags & EXPECT_PERMANENT:
            out = write_text(out, b"<permanent/>")
        if e.flags & EXPECT_INACTIVE:
            out = write_text(out, b"<inactive/>")
        if e.flags & EXPECT_USERSPACE:
            out = write_text(out, b"<userspace/>")
    return write_text(out, b"</meta>")


cdef char *write_xml(char *out, const expectation_t *e, int flags, int64_t seconds) noexcept nogil:
    if flags & TEXT_EVENT and e.event == EVENT_NEW:
        out = write_text(out, b'<flow type="new">')
    elif flags & TEXT_EVENT and e.event == EVENT_UPDATE:
        out = write_text(out, b'<flow type="update">')
    elif flags & TEXT_EVENT and e.event == EVENT_DESTROY:
        out = write_text(out, b'<flow type="destroy">')
    else:
        out = write_text(out, b"<flow>")
    out = xml_meta(xml_layers(out, e), e, flags, seconds)
    return write_text(out, b"</flow>")


cdef Py_ssize_t format_expectation(const expectation_t *expectation, int form, int flags, int64_t now_seconds,
                                   int64_t now_microseconds, char *out) noexcept nogil:
    cdef char *end
    if form == TEXT_XML:
        end = write_xml(out, expectation, flags, now_seconds)
    elif form == TEXT_JSON:
        end = write_expectation_json(out, expectation)
    else:
        end = write_plain(out, expectation, flags, now_seconds, now_microseconds)
    end[0] = 10
    return end + 1 - out


PLAIN = TEXT_PLAIN
XML = TEXT_XML
JSON = TEXT_JSON
EVENT = TEXT_EVENT
TIME = TEXT_TIME


def format_expectations(ExpectationBatch batch not None, Py_ssize_t start, Py_ssize_t stop, int form=TEXT_PLAIN,
                        int flags=0, int64_t now_seconds=0, int64_t now_microseconds=0):
    """The lines of the expectations from index `start` up to, not including, `stop`.

    The time, since the epoch, is shown with the flag TIME. Raises IndexError, MemoryError.
    """
    cdef Py_ssize_t index
    cdef Py_ssize_t used = 0
    cdef char *out
    if start < 0 or stop < start or stop > batch.length:
        raise IndexError("expectation index out of range")
    out = <char *>malloc((stop - start + 1) * EXPECTATION_TEXT_MAX)
    if out == NULL:
        raise MemoryError
    # So that nobody moves the records while the GIL is away.
    batch.holds += 1
    try:
        with nogil:
            for index in range(start, stop):
                used += format_expectation(&batch.expectations[index], form, flags, now_seconds, now_microseconds,
                                           out + used)
        return PyBytes_FromStringAndSize(out, used)
    finally:
        batch.holds -= 1
        free(out)
