# SPDX-License-Identifier: GPL-2.0-or-later
"""Between expectation records and the bodies of replication messages."""

from libc.stdint cimport uint8_t, uint32_t

from pyconntrack.core.expectation_record cimport expectation_t

# Write the canonical body, at most BODY_MAX bytes, and return its length. The record needs what is expected, the mask
# and the master.
cdef uint32_t encode_expectation_body(const expectation_t *e, uint8_t *body) noexcept nogil

# Read a message's attributes into `e`, which is cleared first: WIRE_OK, or why the message is malformed.
cdef int decode_expectation_body(const uint8_t *body, uint32_t length, expectation_t *e) noexcept nogil

# The key within a canonical body, which names the expectation: what is expected, and the mask. Its length; `start` is
# where it begins, behind the attributes of the master.
cdef uint32_t expectation_key(const uint8_t *body, uint32_t length, uint32_t *start) noexcept nogil
