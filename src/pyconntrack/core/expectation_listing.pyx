# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""The expectations of a table as text, in pieces, and as records. As in listing.pyx, a walk goes by slot number."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc

from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_record cimport EXPECTATION_TIMEOUT, expectation_t
from pyconntrack.core.expectation_text cimport EXPECTATION_TEXT_MAX, format_expectation
from pyconntrack.core.expectation_wire cimport decode_expectation_body
from pyconntrack.core.table cimport SLOT_DEAD, SLOT_EXPECTATION, FlowTable, slot_t
from pyconntrack.core.text cimport TEXT_PLAIN, TEXT_XML

cdef enum:
    AGE_MAX = 40               # " [active since Ns]" is not longer


cdef bint read_slot(const slot_t *slot, expectation_t *e) noexcept nogil:
    """The living expectation in a slot; False where there is none. A cache does not know how much of its timeout is left."""
    if not slot.flags & SLOT_EXPECTATION or slot.flags & SLOT_DEAD or decode_expectation_body(slot.body, slot.length, e) != 0:
        return False
    e.present &= ~(1 << EXPECTATION_TIMEOUT)
    return True


def list_text(FlowTable table not None, uint32_t cursor, bint xml, uint32_t now, uint32_t limit=256, uint32_t slots=200_000):
    """The next expectations, at most `limit`, as lines of `conntrackd -i expect` or `-e expect`, looking at `slots` slots.

    `now` is in seconds of the clock that the cache is driven with, for their age. Returns (text, cursor for the next call); the walk is
    done when the cursor stays. Raises MemoryError.
    """
    cdef char *out = <char *>malloc(limit * (EXPECTATION_TEXT_MAX + AGE_MAX) + 1)
    cdef size_t used = 0
    cdef uint32_t listed = 0
    cdef uint32_t last = cursor + slots if table.top > slots and cursor < table.top - slots else table.top
    cdef const slot_t *slot
    cdef expectation_t e
    if out == NULL:
        raise MemoryError
    with nogil:
        while cursor < last and listed < limit:
            slot = table.at(cursor)
            cursor += 1
            if not read_slot(slot, &e):
                continue
            used += format_expectation(&e, TEXT_XML if xml else TEXT_PLAIN, 0, 0, 0, out + used)
            if not xml:
                # In place of the newline.
                used += snprintf(out + used - 1, AGE_MAX, b" [active since %us]\n", now - slot.created) - 1
            listed += 1
    text = PyBytes_FromStringAndSize(out, used)
    free(out)
    return text, cursor


def list_expectations(FlowTable table not None, ExpectationBatch batch not None):
    """Append every expectation to `batch`, without its timeout. Raises MemoryError, BufferError."""
    cdef uint32_t number
    cdef expectation_t e
    for number in range(table.top):
        if read_slot(table.at(number), &e):
            batch.append()[0] = e
