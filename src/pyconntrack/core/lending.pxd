# SPDX-License-Identifier: GPL-2.0-or-later
"""A batch of flows that grows while the GIL is away: nobody else may have it meanwhile."""

from pyconntrack.core.batch cimport FlowBatch


cdef inline void swap_arrays(FlowBatch one, FlowBatch other) noexcept:
    one.flows, other.flows = other.flows, one.flows
    one.length, other.length = other.length, one.length
    one.capacity, other.capacity = other.capacity, one.capacity


# All of it, in a batch of its own. For others the batch is empty, and as if exported, until it is taken back.
# BufferError.
cdef inline FlowBatch lend(FlowBatch batch):
    cdef FlowBatch lent = FlowBatch()
    batch.check_not_exported()
    swap_arrays(batch, lent)
    batch.exports += 1
    return lent


cdef inline void take_back(FlowBatch batch, FlowBatch lent) noexcept:
    batch.exports -= 1
    swap_arrays(batch, lent)
