# cython: language_level=3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened to a cache's entries since the daemon began, as `conntrackd -s cache` counts it."""


cdef class Counters:
    """Entries created, updated and destroyed, and how often each failed: a full cache, or no memory."""
