# SPDX-License-Identifier: GPL-2.0-or-later
"""The two attributes that take most of a message, as the kernel writes them for nearly every flow.

What is in them is then known by place: a look at each header tells that it is so. Whatever else comes is left to the general way of
kernel_decode.pyx, which makes the same of these, too, with several times the instructions.
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy

from pyconntrack.core.netlink cimport *
from pyconntrack.core.record cimport *


cdef inline bint is_headed(const uint8_t *data, uint16_t length, uint16_t kind) noexcept nogil:
    """Whether an attribute of this length, header included, begins here; of a nest, `kind` has NLA_F_NESTED."""
    return load16(data) == length and load16(data + 2) == kind


cdef inline bint take_tuple(const uint8_t *data, uint16_t size, uint16_t source, tuple_t *result) noexcept nogil:
    """Take a tuple with ports, and addresses of `size` bytes, the first of which is the attribute `source`."""
    cdef const uint8_t *protocol = data + 12 + 2 * size
    if (not is_headed(data, 12 + 2 * size, CTA_TUPLE_IP | NLA_F_NESTED)
            or not is_headed(data + 4, 4 + size, source)
            or not is_headed(data + 8 + size, 4 + size, source + 1)
            or not is_headed(protocol, 28, CTA_TUPLE_PROTO | NLA_F_NESTED)
            or not is_headed(protocol + 4, 5, CTA_PROTO_NUM)
            or not is_headed(protocol + 12, 6, CTA_PROTO_SRC_PORT)
            or not is_headed(protocol + 20, 6, CTA_PROTO_DST_PORT)):
        return False
    memcpy(result.source, data + 8, size)
    memcpy(result.destination, data + 12 + size, size)
    result.family = FAMILY_IPV4 if size == 4 else FAMILY_IPV6
    result.protocol = protocol[8]
    result.source_port = load_be16(protocol + 16)
    result.destination_port = load_be16(protocol + 24)
    return True


cdef inline bint take_usual_tuple(const attribute_t *attribute, tuple_t *result) noexcept nogil:
    """Take a tuple without a zone, of a protocol with ports. False where it is another; `result` is then as it was."""
    if attribute.length == 40 + 2 * 4:
        return take_tuple(attribute.data, 4, CTA_IP_V4_SRC, result)
    if attribute.length == 40 + 2 * 16:
        return take_tuple(attribute.data, 16, CTA_IP_V6_SRC, result)
    return False


cdef inline bint take_usual_tcp(const attribute_t *attribute, flow_t *flow) noexcept nogil:
    """Take all that the kernel tells of a TCP flow that lives. False where it is another set; `flow` is then as it was."""
    cdef const uint8_t *data = attribute.data
    if (attribute.length != 40
            or not is_headed(data, 5, CTA_PROTOINFO_TCP_STATE)
            or not is_headed(data + 8, 5, CTA_PROTOINFO_TCP_WSCALE_ORIGINAL)
            or not is_headed(data + 16, 5, CTA_PROTOINFO_TCP_WSCALE_REPLY)
            or not is_headed(data + 24, 6, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)
            or not is_headed(data + 32, 6, CTA_PROTOINFO_TCP_FLAGS_REPLY)):
        return False
    flow.tcp_state = data[4]
    flow.tcp_window_scale_original = data[12]
    flow.tcp_window_scale_reply = data[20]
    flow.tcp_flags_original = data[28]
    flow.tcp_flags_mask_original = data[29]
    flow.tcp_flags_reply = data[36]
    flow.tcp_flags_mask_reply = data[37]
    put(flow, BIT_TCP_STATE)
    put(flow, BIT_TCP_WINDOW_SCALE_ORIGINAL)
    put(flow, BIT_TCP_WINDOW_SCALE_REPLY)
    put(flow, BIT_TCP_FLAGS_ORIGINAL)
    put(flow, BIT_TCP_FLAGS_REPLY)
    return True
