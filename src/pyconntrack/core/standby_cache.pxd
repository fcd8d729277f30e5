# SPDX-License-Identifier: GPL-2.0-or-later
from libc.stdint cimport uint8_t, uint32_t

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.identity_set cimport IdentitySet
from pyconntrack.core.internal cimport InternalCache
from pyconntrack.core.record cimport flow_t

cdef enum:
    UNUSED = 0
    USED = 1
    CONTESTED = 2

cdef class StandbyCache(InternalCache):
    cdef public uint32_t port          # netlink port id of whoever puts the peers' flows into the kernel
    cdef IdentitySet lent              # the peers' flows in this node's kernel
    cdef IdentitySet named             # those of them that the dump under way has named, or that came since it began
    cdef bint wants_all                # the next dump that is complete is to make all flows this node's
    cdef bint takes_over               # the one under way does
    cdef bint settled                  # a dump was complete: what comes from now on is this node's
    cdef readonly FlowBatch incomplete # tuples of flows that became this node's by an event that told only a part

    # Whether an entry says that the flow's traffic goes through this node (USED), or that it may as well go through the
    # peer (CONTESTED); `known` is then what it says.
    cdef int uses(self, const flow_t *flow, flow_t *known, uint32_t *updated) noexcept nogil
    # A peer's message has changed, or made, this flow of the kernel's, as its answer tells it.
    cdef void lend(self, const flow_t *flow, uint32_t now) noexcept nogil

    cdef bint passes_over(self, const flow_t *event, uint32_t hash, uint32_t now) noexcept nogil
    cdef void forget_lent(self, const flow_t *event, uint32_t hash) noexcept nogil
    cdef void leave(self, uint32_t number) noexcept nogil
    cdef uint32_t find_living(self, const flow_t *flow, uint32_t hash) noexcept nogil
