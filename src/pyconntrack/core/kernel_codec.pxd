# SPDX-License-Identifier: GPL-2.0-or-later
"""Between ctnetlink's messages and flow records: both directions under one name."""

from pyconntrack.core.kernel_decode cimport (
    DATAGRAM_DONE,
    DATAGRAM_ERROR,
    DATAGRAM_INTERRUPTED,
    DECODE_MALFORMED,
    DECODE_NOT_A_FLOW,
    datagram_result_t,
    decode_datagram,
    decode_flow,
    decode_tuple,
)
from pyconntrack.core.kernel_encode cimport (
    FLOW_MESSAGE_MAX,
    encode_flow,
    prepare_create,
    prepare_update,
)
