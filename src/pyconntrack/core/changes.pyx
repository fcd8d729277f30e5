# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Updates of flows that exist: only what is to be set, and only for those that it would change.

An update names its flow by the original tuple and the zone; what else was read of the flow is not sent along, for it
may be old by then.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pyconntrack.core.batch cimport FlowBatch
from pyconntrack.core.flow_values cimport set_value
from pyconntrack.core.record cimport *


cdef inline uint64_t bits(int first, int last) noexcept nogil:
    return (((<uint64_t>1) << (last - first + 1)) - 1) << first


cdef void name_flow(const flow_t *found, flow_t *request) noexcept nogil:
    clear_flow(request)
    request.original = found.original
    request.present = found.present & (bits(BIT_ORIGINAL, BIT_ORIGINAL) | bits(BIT_ZONE, BIT_ORIGINAL_ZONE))
    request.zone = found.zone


cdef bint change_numbers(const flow_t *values, const flow_t *found, flow_t *request) noexcept nogil:
    cdef uint32_t mask
    cdef bint changed = False
    if has(values, BIT_STATUS):
        put(request, BIT_STATUS)
        request.status = found.status | values.status
        changed = changed or request.status != found.status
    if has(values, BIT_TIMEOUT):
        put(request, BIT_TIMEOUT)
        request.timeout = values.timeout
        changed = changed or not has(found, BIT_TIMEOUT) or values.timeout != found.timeout
    if has(values, BIT_MARK):
        put(request, BIT_MARK)
        mask = values.mark_mask if has(values, BIT_MARK_MASK) else 0xffffffff
        request.mark = values.mark
        if has(values, BIT_MARK_MASK):
            # The kernel changes these bits only, so that others that are set meanwhile stay.
            put(request, BIT_MARK_MASK)
            request.mark_mask = mask
        changed = changed or (found.mark & ~mask) ^ values.mark != found.mark
    return changed


cdef bint change_tcp(const flow_t *values, const flow_t *found, flow_t *request) noexcept nogil:
    """Where a state is given, it alone decides: flags that go with it are no change of their own."""
    cdef uint64_t given = values.present & bits(BIT_TCP_STATE, BIT_TCP_WINDOW_SCALE_REPLY)
    if given == 0:
        return False
    request.present |= given
    request.tcp_state = values.tcp_state
    request.tcp_flags_original, request.tcp_flags_mask_original = (values.tcp_flags_original,
                                                                   values.tcp_flags_mask_original)
    request.tcp_flags_reply, request.tcp_flags_mask_reply = values.tcp_flags_reply, values.tcp_flags_mask_reply
    request.tcp_window_scale_original = values.tcp_window_scale_original
    request.tcp_window_scale_reply = values.tcp_window_scale_reply
    return (not has(values, BIT_TCP_STATE) or not has(found, BIT_TCP_STATE)
            or values.tcp_state != found.tcp_state)


cdef bint change_sctp(const flow_t *values, const flow_t *found, flow_t *request) noexcept nogil:
    cdef uint64_t given = values.present & bits(BIT_SCTP_STATE, BIT_SCTP_VTAG_REPLY)
    if given == 0:
        return False
    request.present |= given
    request.sctp_state = values.sctp_state
    request.sctp_vtag_original = values.sctp_vtag_original
    request.sctp_vtag_reply = values.sctp_vtag_reply
    return (not has(values, BIT_SCTP_STATE) or not has(found, BIT_SCTP_STATE)
            or values.sctp_state != found.sctp_state)


cdef bint change_dccp(const flow_t *values, const flow_t *found, flow_t *request) noexcept nogil:
    cdef uint64_t given = values.present & bits(BIT_DCCP_STATE, BIT_DCCP_HANDSHAKE_SEQUENCE)
    if given == 0:
        return False
    request.present |= given
    request.dccp_state = values.dccp_state
    request.dccp_role = values.dccp_role
    request.dccp_handshake_sequence = values.dccp_handshake_sequence
    return (not has(values, BIT_DCCP_STATE) or not has(found, BIT_DCCP_STATE)
            or values.dccp_state != found.dccp_state)


cdef bint change_rare(const flow_t *values, flow_t *request) noexcept nogil:
    """What is not compared: where it is given, it is sent."""
    cdef uint64_t given = values.present & (bits(BIT_HELPER_NAME, BIT_HELPER_INFO)
                                            | bits(BIT_SEQUENCE_ADJUST_ORIGINAL, BIT_SYN_PROXY))
    if given == 0:
        return False
    request.present |= given
    memcpy(request.helper_name, values.helper_name, HELPER_NAME_SIZE)
    memcpy(request.helper_info, values.helper_info, HELPER_INFO_SIZE)
    request.helper_info_length = values.helper_info_length
    request.sequence_adjust_original = values.sequence_adjust_original
    request.sequence_adjust_reply = values.sequence_adjust_reply
    request.syn_proxy_isn = values.syn_proxy_isn
    request.syn_proxy_its = values.syn_proxy_its
    request.syn_proxy_tsoff = values.syn_proxy_tsoff
    return True


cdef bint change_labels(const change_t *change, const flow_t *found, flow_t *request) noexcept nogil:
    """Labels are never compared: what is said of them is sent."""
    cdef bint adds = has(&change.values, BIT_LABELS)
    cdef int i
    cdef uint8_t kept
    if not adds and (change.label_deletion == LABELS_KEEP or not has(found, BIT_LABELS)):
        return False
    put(request, BIT_LABELS)
    put(request, BIT_LABELS_MASK)
    request.labels_length = LABELS_SIZE
    # A mask, so that labels that the flow gets meanwhile stay.
    for i in range(LABELS_SIZE):
        kept = 0xff
        if change.label_deletion == LABELS_DELETE:
            kept = ~change.labels_deleted[i]
        elif change.label_deletion == LABELS_DELETE_ALL:
            kept = 0
        request.labels[i] = change.values.labels[i] if adds else 0
        request.labels_mask[i] = <uint8_t>~kept | request.labels[i]
    return True


cdef bint change_flow(const change_t *change, const flow_t *found, flow_t *request) noexcept nogil:
    cdef const flow_t *values = &change.values
    cdef bint changed
    name_flow(found, request)
    # Each of them, whether or not another has something to do: a request carries all that is to be set.
    changed = change_numbers(values, found, request)
    changed |= change_tcp(values, found, request)
    changed |= change_sctp(values, found, request)
    changed |= change_dccp(values, found, request)
    changed |= change_rare(values, request)
    changed |= change_labels(change, found, request)
    return changed


cdef class FlowChange:
    """What is to be set of flows that exist; the rest stays.

    `values` are attributes as FlowBatch.pack takes them: status (bits that are added: none can be unset), timeout,
    mark, which is XORed to the old one without the bits of mark_mask (without a mask, it replaces it), labels
    (which are added), tcp_state and the other states, tcp_flags_original and _reply, helper_name and others.
    `delete_labels` is a set of labels as bytes, or True for all. Raises ValueError, OverflowError, TypeError.
    """

    def __cinit__(self, dict values=None, *, delete_labels=None):
        memset(&self.change, 0, sizeof(change_t))
        for name, value in (values or {}).items():
            set_value(&self.change.values, name, value)
        set_deletion(&self.change, delete_labels)

    @staticmethod
    def of_template(FlowBatch template not None, bytes labels_to_add=b"", delete_labels=None):
        """What the one flow in `template` says, besides its tuples, zones, id and NAT.

        Raises ValueError.
        """
        cdef FlowChange made = FlowChange()
        if template.length != 1:
            raise ValueError("a template is one flow")
        made.change.values = template.flows[0]
        drop(&made.change.values, BIT_LABELS)
        if any(labels_to_add):
            set_value(&made.change.values, "labels", labels_to_add)
        set_deletion(&made.change, delete_labels)
        return made

    def prepare(self, FlowBatch found not None, FlowBatch requests not None):
        """Keep in `found` the flows that would change, and make `requests` their updates, index by index.

        Raises MemoryError, BufferError while a buffer of one of them is exported.
        """
        cdef Py_ssize_t index, kept = 0
        found.check_not_exported()
        requests.check_not_exported()
        if found is requests:
            raise ValueError("two batches are needed")
        if requests.reserve(found.length) < 0:
            raise MemoryError
        # So that nobody moves the records while the GIL is away.
        found.exports += 1
        requests.exports += 1
        with nogil:
            for index in range(found.length):
                if change_flow(&self.change, &found.flows[index], &requests.flows[kept]):
                    if kept != index:
                        memcpy(&found.flows[kept], &found.flows[index], sizeof(flow_t))
                    kept += 1
            found.length = requests.length = kept
        found.exports -= 1
        requests.exports -= 1


cdef int set_deletion(change_t *change, object labels) except -1:
    if labels is None:
        return 0
    if labels is True:
        change.label_deletion = LABELS_DELETE_ALL
        return 0
    if len(labels) > LABELS_SIZE:
        raise ValueError(f"at most {LABELS_SIZE} bytes of labels")
    change.label_deletion = LABELS_DELETE
    for index, byte in enumerate(labels):
        change.labels_deleted[<int>index] = byte
    return 0


def set_aside(FlowBatch batch not None, list positions not None, FlowBatch aside not None):
    """Move the flows at `positions`, which ascend, from `batch` to the end of `aside`.

    Raises IndexError, MemoryError, BufferError while a buffer of one of them is exported.
    """
    cdef Py_ssize_t index, position, kept, at = 0
    cdef flow_t *place
    batch.check_not_exported()
    if not positions:
        return
    if positions[0] < 0 or positions[len(positions) - 1] >= batch.length:
        raise IndexError("flow index out of range")
    kept = positions[0]
    for index in range(kept, batch.length):
        position = positions[at] if at < len(positions) else -1
        if index == position:
            place = aside.append()
            place[0] = batch.flows[index]
            at += 1
        else:
            batch.flows[kept] = batch.flows[index]
            kept += 1
    batch.length = kept
