# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint32_t

from pyconntrack.core.wire cimport key_t

# Whether a body is canonical as it stands, and of a plain TCP or UDP flow: then its key is in `key`.
cdef bint is_plain_body(const uint8_t *body, uint32_t length, key_t *key) noexcept nogil
