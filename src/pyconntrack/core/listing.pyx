# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""Walks over a flow table in pieces, so that a million entries hold nothing up: as text, and as flow records.

A walk goes by slot number. Entries may come and go between two pieces: one that is there throughout is met exactly once.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset, strlen

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.record cimport *
from pyconntrack.core.table cimport *
from pyconntrack.core.text cimport TEXT_EXTERNAL_CACHE, TEXT_INTERNAL_CACHE, TEXT_MAX, TEXT_PLAIN, TEXT_XML, format_flow
from pyconntrack.core.wire cimport decode_body

cdef enum:
    PIECE = 1 << 18            # bytes of text
    EXPIRY_MAX = 32            # no "[expires in Ns] " is longer
    OWNER_MAX = 96             # nor " [from ADDRESS]"


def list_text(FlowTable table not None, uint32_t cursor, bint external, bint xml, uint32_t now, uint32_t limit=4096,
              uint32_t expires=0, owners=None):
    """The next entries, at most `limit`, as lines of `conntrackd -i` or, with `external`, of `-e`.

    `now` is the time in seconds of the clock that the cache is driven with, for the entries' age. With `expires`, lines say in how many
    seconds an entry goes that was not heard of for that many; XML does not. With `owners`, names of nodes by their numbers in the
    external cache, they end with the one that the entry is from. Returns (text, cursor for the next call); the walk is done
    when the text is empty. Raises MemoryError.
    """
    cdef char *out = <char *>malloc(PIECE)
    cdef uint32_t used = 0
    cdef uint32_t listed = 0
    cdef uint32_t length, age
    cdef int form = TEXT_XML if xml else TEXT_PLAIN
    cdef int flags = TEXT_EXTERNAL_CACHE if external else TEXT_INTERNAL_CACHE
    cdef slot_t *slot
    cdef flow_t flow
    cdef char[64][OWNER_MAX] endings
    cdef bint owned = owners is not None and not xml
    if out == NULL:
        raise MemoryError
    memset(endings, 0, sizeof(endings))
    for number, name in (owners or {}).items():
        ending = f" [from {name}]\n".encode()[:OWNER_MAX - 1]
        memcpy(endings[<uint8_t>number % 64], <const char *>ending, len(ending))
    with nogil:
        while cursor < table.top and listed < limit and PIECE - used >= TEXT_MAX + EXPIRY_MAX + OWNER_MAX:
            slot = table.at(cursor)
            cursor += 1
            if not slot.flags & SLOT_INDEXED or slot.flags & SLOT_DEAD or decode_body(slot.body, slot.length, &flow) != 0:
                continue
            if not external:
                flow.id = slot.id
                put(&flow, BIT_ID)
            length = format_flow(&flow, form, flags, 0, <int64_t>(now - slot.created), out + used, PIECE - used)
            if expires and not xml:
                age = now - slot.updated
                length += insert_expiry(out + used, length, expires - age if age < expires else 0)
            used += length
            if owned and endings[slot.owner % 64][0]:
                # In place of the line's end.
                length = <uint32_t>strlen(endings[slot.owner % 64])
                memcpy(out + used - 1, endings[slot.owner % 64], length)
                used += length - 1
            listed += 1
    text = PyBytes_FromStringAndSize(out, used)
    free(out)
    return text, cursor


cdef uint32_t insert_expiry(char *line, uint32_t length, uint32_t seconds) noexcept nogil:
    """Insert "[expires in Ns] " before the "[active since Ns]" that ends a line. Returns how long it is."""
    cdef char[EXPIRY_MAX] text
    cdef uint32_t place = length - 1
    cdef uint32_t size
    while place and line[place] != c'[':
        place -= 1
    size = <uint32_t>snprintf(text, EXPIRY_MAX, b"[expires in %us] ", seconds)
    memmove(line + place + size, line + place, length - place)
    memcpy(line + place, text, size)
    return size


def list_flows(FlowTable table not None, FlowBatch batch not None, uint32_t cursor, uint32_t limit=4096):
    """Append the next entries, at most `limit`, to `batch`. Returns the cursor for the next call; it stays when the walk is done.

    Raises MemoryError, or BufferError where the batch is exported.
    """
    cdef uint32_t listed = 0
    cdef slot_t *slot
    while cursor < table.top and listed < limit:
        slot = table.at(cursor)
        cursor += 1
        if slot.flags & SLOT_INDEXED and not slot.flags & SLOT_DEAD:
            decode_body(slot.body, slot.length, batch.append())
            listed += 1
    return cursor
