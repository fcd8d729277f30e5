# SPDX-License-Identifier: GPL-2.0-or-later
"""The expectation record: a connection that a helper expects, as ctnetlink tells of it.

Integers are in host byte order, addresses in network byte order, as in the flow record. A field counts only where its bit in
`present` says so. Source: linux/netfilter/nfnetlink_conntrack.h (CTA_EXPECT_*), linux/netfilter/nf_conntrack_common.h.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from pyconntrack.core.record cimport tuple_t

cdef enum:
    EXPECTATION_HELPER_SIZE = 16       # NF_CT_HELPER_NAME_LEN
    EXPECTATION_FUNCTION_SIZE = 32     # the longest name is nat-follow-master

# Bits of `present`.
cdef enum:
    EXPECTATION_EXPECTED = 0
    EXPECTATION_MASK = 1
    EXPECTATION_MASTER = 2
    EXPECTATION_TIMEOUT = 3
    EXPECTATION_ID = 4
    EXPECTATION_ZONE = 5
    EXPECTATION_FLAGS = 6
    EXPECTATION_CLASS = 7
    EXPECTATION_HELPER = 8
    EXPECTATION_FUNCTION = 9
    EXPECTATION_NAT = 10               # nat and nat_direction

cdef struct expectation_t:
    uint64_t present
    tuple_t expected                   # what the packet looks like that fulfils it
    tuple_t mask                       # the bits of it that are compared; of its source only
    tuple_t master                     # original tuple of the flow whose helper expects it
    tuple_t nat                        # what its source becomes
    uint32_t nat_direction             # IP_CT_DIR_*: of the expected flow, the one that is translated
    uint32_t timeout                   # seconds
    uint32_t flags                     # NF_CT_EXPECT_*
    uint32_t class_
    uint32_t id
    uint16_t zone
    uint8_t event                      # EVENT_* of the flow record
    char helper[16]                    # zero-terminated
    char function[32]                  # of the kernel's, that sets up the expected flow; zero-terminated

cdef enum:                             # NF_CT_EXPECT_*
    EXPECT_PERMANENT = 0x1
    EXPECT_INACTIVE = 0x2
    EXPECT_USERSPACE = 0x4


cdef inline bint expectation_has(const expectation_t *expectation, int bit) noexcept nogil:
    return (expectation.present >> bit) & 1


cdef inline void expectation_put(expectation_t *expectation, int bit) noexcept nogil:
    expectation.present |= (<uint64_t>1) << bit


cdef inline void clear_expectation(expectation_t *expectation) noexcept nogil:
    memset(expectation, 0, sizeof(expectation_t))
