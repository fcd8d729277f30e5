# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint64_t

cdef class Counters:
    cdef readonly uint64_t created, updated, destroyed
    cdef readonly uint64_t create_failed, update_failed, destroy_failed
