# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow records into requests, and what the kernel takes of a flow."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from pyconntrack.core.netlink cimport writer_t
from pyconntrack.core.record cimport flow_t, tuple_t

cdef enum:
    FLOW_MESSAGE_MAX = 1024    # no encoded message is longer

# One request. `command` is IPCTNL_MSG_CT_*, NLM_F_REQUEST is added to `flags`. The length, or 0 where it does
# not fit. For GET and DELETE only what names the flow is written: a tuple, the zone, and for DELETE the id.
cdef uint32_t encode_flow(const flow_t *flow, int command, uint16_t flags, uint32_t sequence, uint8_t *out,
                          uint32_t capacity) noexcept nogil

# What a kernel accepts of a flow in NLM_F_CREATE: NAT by its own attributes with the plain inverse as reply,
# status bits that are the kernel's to set taken out.
cdef void prepare_create(flow_t *flow) noexcept nogil

# The same for a change of a flow that exists.
cdef void prepare_update(flow_t *flow) noexcept nogil

# A tuple as the nest `kind`, with the zone of its direction where that is asked for.
cdef void put_tuple(writer_t *writer, uint16_t kind, const tuple_t *value, bint with_zone) noexcept nogil
