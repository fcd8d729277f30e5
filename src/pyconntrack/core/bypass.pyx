# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands in the place of the internal cache where it is disabled: events become messages, and nothing is remembered of a flow.

An entry is a message that waits to be sent; once it is, the entry goes. While it waits, later events of its flow are laid over
it. An update event tells only what changed, and so does its message, unless the message of the flow's beginning still waits.

All that the kernel has can be told to the peers: between begin_resync and end_resync the flows of a dump become updates. What ended
unheard cannot be told, for nobody remembers it.
"""

from libc.stdint cimport uint32_t, uint64_t

from pyconntrack.core.identity_set cimport identity
from pyconntrack.core.overlay cimport every_events_fields, fields_of, lay_over, protocol_state_fields, told_by
from pyconntrack.core.record cimport *
from pyconntrack.core.standby_cache cimport StandbyCache
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport TYPE_FLOW_DESTROY, TYPE_FLOW_UPDATE, decode_body, derive_nat, flow_key, key_t, normalise


cdef class Bypass(StandbyCache):
    """An InternalCache that is none, for modes without a resend queue."""

    cdef readonly uint64_t begun           # events by kind
    cdef readonly uint64_t changed
    cdef readonly uint64_t ended_flows

    def __cinit__(self, **_):
        self.queue.forgets = True

    cdef void apply(self, flow_t *event, uint32_t hash, uint32_t now) noexcept nogil:
        if self.port:
            if self.passes_over(event, hash, now):
                return
            self.forget_lent(event, hash)
        if not self.lets_pass(event):
            self.filtered += 1
            return
        derive_nat(event)
        normalise(event)
        if event.event == EVENT_DESTROY:
            self.ended_flows += 1
            self.count_traffic(event)
            self.tell_end(event, hash, now)
        else:
            if event.event == EVENT_NEW:
                self.begun += 1
            else:
                self.changed += 1
            self.tell_change(event, hash, now)
        # There are no entries to count.
        self.live = 0
        self.digest = 0

    cdef bint lets_pass(self, flow_t *event) noexcept nogil:
        """Whether the filter does. The end of a flow is told whatever its state was."""
        cdef uint64_t present = event.present
        cdef bint passes
        if self.filter is None:
            return True
        if event.event == EVENT_DESTROY:
            event.present &= ~protocol_state_fields()
        passes = self.filter.accepts(event)
        event.present = present
        return passes

    cdef void tell_change(self, flow_t *event, uint32_t hash, uint32_t now) noexcept nogil:
        cdef key_t key
        cdef uint32_t number
        flow_key(event, &key)
        number = self.table.find(&key, hash)
        if event.event == EVENT_NEW:
            self.insert(number, event, hash, now)
        elif number == NONE:
            self.tell_update(event, hash, now)
        elif not self.table.at(number).flags & SLOT_DEAD and self.table.at(number).id == event.id:
            self.overlay(number, event, now)
        else:
            self.insert(number, event, hash, now)

    cdef void tell_update(self, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil:
        """A flow that the peers know already, of which nothing waits."""
        cdef uint32_t number = self.insert(NONE, flow, hash, now)
        if number != NONE:
            self.table.at(number).kind = TYPE_FLOW_UPDATE
            self.table.at(number).flags |= SLOT_TOLD

    cdef void tell_end(self, flow_t *event, uint32_t hash, uint32_t now) noexcept nogil:
        cdef key_t key
        cdef uint32_t number
        flow_key(event, &key)
        number = self.table.find(&key, hash)
        if self.resyncing:
            self.ended.add(identity(hash, event.id))
        if number == NONE:
            number = self.insert(NONE, event, hash, now)
            if number != NONE:
                self.table.at(number).kind = TYPE_FLOW_DESTROY
                self.table.at(number).flags |= SLOT_TOLD | SLOT_DEAD
        elif not self.table.at(number).flags & SLOT_DEAD and self.table.at(number).id == event.id:
            self.kill(number)

    cdef void merge(self, flow_t *flow, uint32_t hash, uint32_t now) noexcept nogil:
        """Tell a flow of a dump. What waits of it is newer than the dump."""
        cdef flow_t known
        cdef key_t key
        cdef uint32_t number
        cdef uint64_t name = identity(hash, flow.id)
        if self.lent.has(name):
            self.named.add(name)
            return
        if self.ended.has(name):
            return
        if self.filter is not None and not self.filter.accepts(flow):
            self.filtered += 1
            return
        derive_nat(flow)
        normalise(flow)
        flow_key(flow, &key)
        number = self.table.find(&key, hash)
        if number == NONE:
            self.tell_update(flow, hash, now)
        elif not self.table.at(number).flags & SLOT_DEAD and self.table.at(number).id == flow.id:
            decode_body(self.table.at(number).body, self.table.at(number).length, &known)
            lay_over(flow, &known, fields_of(told_by(&known)) | every_events_fields())
            self.change(number, flow, now)
        self.live = 0
        self.digest = 0

    def sweep(self, uint32_t limit):
        """Nothing can be left over. False."""
        return False
