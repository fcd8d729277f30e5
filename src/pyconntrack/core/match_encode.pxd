# SPDX-License-Identifier: GPL-2.0-or-later
"""Selections into requests: what the kernel can tell apart of them."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from pyconntrack.core.match cimport match_t
from pyconntrack.core.netlink cimport (
    CTA_FILTER_F_DST_PORT,
    CTA_FILTER_F_ICMP_CODE,
    CTA_FILTER_F_ICMP_ID,
    CTA_FILTER_F_ICMP_TYPE,
    CTA_FILTER_F_ICMPV6_CODE,
    CTA_FILTER_F_ICMPV6_ID,
    CTA_FILTER_F_ICMPV6_TYPE,
    CTA_FILTER_F_IP_DST,
    CTA_FILTER_F_IP_SRC,
    CTA_FILTER_F_SRC_PORT,
)

cdef enum:
    FIELDS_ADDRESSES = CTA_FILTER_F_IP_SRC | CTA_FILTER_F_IP_DST
    FIELDS_PORTS = CTA_FILTER_F_SRC_PORT | CTA_FILTER_F_DST_PORT
    FIELDS_ICMP = CTA_FILTER_F_ICMP_TYPE | CTA_FILTER_F_ICMP_CODE | CTA_FILTER_F_ICMP_ID
    FIELDS_ICMPV6 = CTA_FILTER_F_ICMPV6_TYPE | CTA_FILTER_F_ICMPV6_CODE | CTA_FILTER_F_ICMPV6_ID
    FIELDS_OF_PROTOCOL = FIELDS_PORTS | FIELDS_ICMP | FIELDS_ICMPV6

# The request of a dump or a flush. `command` is IPCTNL_MSG_CT_*, NLM_F_REQUEST is added to `flags`. The length, or 0
# where it does not fit.
cdef uint32_t encode_match(const match_t *match, int command, int flags, uint32_t sequence, uint8_t *out,
                           uint32_t capacity) noexcept nogil

# Whether a kernel that knows all that such a request asks decides as matches() does.
cdef bint kernel_decides(const match_t *match) noexcept nogil
