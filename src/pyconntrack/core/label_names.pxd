# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of connection labels: bit to name, and back."""

from libc.stdint cimport uint16_t, uint32_t

cdef enum:
    LABELS_MAX = 128           # bits that a flow has (NF_CT_LABELS_MAX_SIZE)
    LABEL_BITS_MAX = 1024      # bits that a file may name, as libnetfilter_conntrack reads it

cdef struct label_texts_t:
    const char *texts[128]             # NULL where the bit has no name; zero-terminated
    uint16_t lengths[128]

cdef class LabelNames:
    cdef label_texts_t labels
    cdef uint32_t total                # of all lengths, those of the bits that a flow has
    cdef dict by_name                  # bytes to bit
    cdef dict by_bit                   # bit to bytes, which owns what `texts` points to
