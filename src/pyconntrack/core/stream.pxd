# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint32_t


cdef class StreamReader:
    cdef readonly uint32_t received    # bytes that the last call took from the stream
    cdef readonly bint ended           # the stream's end was reached
    cdef readonly bint rubbish         # something stands in it that is no message
    cdef readonly uint32_t pending     # bytes of a message that is not whole yet
    cdef uint8_t *memory

    cdef bytes cut(self)
