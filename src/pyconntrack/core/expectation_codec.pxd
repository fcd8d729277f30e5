# SPDX-License-Identifier: GPL-2.0-or-later
"""Between ctnetlink's messages and expectation records."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from pyconntrack.core.expectation_batch cimport ExpectationBatch
from pyconntrack.core.expectation_record cimport expectation_t
from pyconntrack.core.kernel_decode cimport datagram_result_t

cdef enum:
    EXPECTATION_MESSAGE_MAX = 1024     # no encoded message is longer

cdef enum:                             # ctattr_expect, linux/netfilter/nfnetlink_conntrack.h
    CTA_EXPECT_MASTER = 1
    CTA_EXPECT_TUPLE = 2
    CTA_EXPECT_MASK = 3
    CTA_EXPECT_TIMEOUT = 4
    CTA_EXPECT_ID = 5
    CTA_EXPECT_HELP_NAME = 6
    CTA_EXPECT_ZONE = 7
    CTA_EXPECT_FLAGS = 8
    CTA_EXPECT_CLASS = 9
    CTA_EXPECT_NAT = 10
    CTA_EXPECT_FN = 11

cdef enum:                             # ctattr_expect_nat
    CTA_EXPECT_NAT_DIR = 1
    CTA_EXPECT_NAT_TUPLE = 2

# One whole netlink message of the subsystem of expectations into `expectation`, which is cleared first. 0, or
# DECODE_* of the flow decoder.
cdef int decode_expectation(const uint8_t *message, uint32_t length, expectation_t *expectation) noexcept nogil

# Every message of a datagram; expectations go to the end of `batch`. 0, or -1 where `result` says that not all
# was read. `result.flows` counts expectations.
cdef int decode_expectations(const uint8_t *data, uint32_t length, ExpectationBatch batch,
                             datagram_result_t *result) noexcept nogil

# One request. `command` is IPCTNL_MSG_EXP_*, NLM_F_REQUEST is added to `flags`. The length, or 0 where it does
# not fit, or where a DELETE names none. For GET and DELETE only what names the expectation is written: its tuple, its zone and its id. For GET, the
# tuple may stand in `master` alone.
cdef uint32_t encode_expectation(const expectation_t *expectation, int command, uint16_t flags,
                                 uint32_t sequence, uint8_t *out, uint32_t capacity) noexcept nogil
