# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands in the place of the external cache where it is disabled: each message goes straight into this node's kernel.

It has the face of an ExternalCache, and never an entry. Messages come in groups, and a group goes to the kernel in one datagram; what the kernel
refuses goes there in another form, until a flow is as its message tells, or cannot be:

  create or change           a plain flow: one request does either
  change                     an update of a flow with a translation or a master, neither of which the kernel lets be changed
  create                     what there was nothing to change of, and such flows that are new
  delete and create          what the kernel does not let be changed so, or what has another translation there
  wait                       a flow whose master is not there yet

A flow whose traffic goes through this node, by its internal cache, is not to suffer from what a peer says of it: it is neither deleted
nor created anew, its TCP state does not go back, its timeout is not shortened. But its windows are no longer looked at: where routes are
asymmetric, this node sees one direction only.

The kernel tells the socket of each change that it made (NLM_F_ECHO), so that the internal cache knows which flow has been lent to it, see
standby_cache.pyx. Where it makes no events, it is asked.
"""

from libc.errno cimport EBUSY, EEXIST, EINVAL, ENOBUFS, ENOENT, EOPNOTSUPP
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from pyconntrack.core.completion cimport complete_flow, complete_tcp, completion_t
from pyconntrack.core.external cimport ExternalCache
from pyconntrack.core.kernel_decode cimport decode_flow
from pyconntrack.core.kernel_encode cimport prepare_update
from pyconntrack.core.netlink cimport *
from pyconntrack.core.netlink_receiver cimport NetlinkReceiver
from pyconntrack.core.overlay cimport nat_fields
from pyconntrack.core.record cimport *
from pyconntrack.core.requests cimport RequestBatch
from pyconntrack.core.standby_cache cimport UNUSED, USED, StandbyCache
from pyconntrack.core.table cimport *
from pyconntrack.core.wire cimport *

cdef enum:
    ROUNDS = 5                 # a flow takes four at most: change, create, delete and create, ask
    TCP_TIME_WAIT = 7          # TCP_CONNTRACK_*, linux/netfilter/nf_conntrack_tcp.h
    TCP_CLOSE = 8
    EXPECTED = 1 << 0          # IPS_*, linux/netfilter/nf_conntrack_common.h
    SETTABLE = 1 << 1 | 1 << 2 | 1 << 3    # SEEN_REPLY, ASSURED, CONFIRMED
    TRANSLATED = 1 << 4 | 1 << 5           # SRC_NAT, DST_NAT
    REASONS = 4096             # the kernel's error numbers end before
    WAITING_MAX = 4096
    PATIENCE = 30              # seconds that a flow waits for its master

# What is to be done for a message.
cdef enum:
    STEP_DONE = 0
    STEP_STORE = 1             # create or change
    STEP_CHANGE = 2
    STEP_CREATE = 3
    STEP_REPLACE = 4           # delete and create
    STEP_DELETE = 5
    STEP_ASK = 6               # which flow that now is

# What the kernel has told of a flow.
cdef enum:
    HEARD_NOTHING = 0
    HEARD = 1
    HEARD_OTHER = 2            # it is there with another translation


cdef class Injector(ExternalCache):
    """Puts the peers' flows into the kernel. To be opened before messages come."""

    cdef StandbyCache internal
    cdef RequestBatch batch
    cdef NetlinkReceiver receiver
    cdef completion_t options
    cdef FlowTable waiting             # flows whose masters are not there yet
    cdef uint32_t cursor               # where retry() goes on
    cdef flow_t flows[16]              # the messages at hand
    cdef uint8_t kinds[16]             # TYPE_FLOW_*
    cdef key_t keys[16]
    cdef uint8_t steps[16]
    cdef uint8_t heard[16]
    cdef uint8_t changed[16]           # what the kernel told: EVENT_*
    cdef bint used[16]                 # the flow's traffic goes through this node
    cdef int positions[16]             # of the request that decides, in the batch
    cdef uint64_t reasons[4096]

    def __init__(self, *, expectations=None):
        self.waiting = FlowTable(limit=WAITING_MAX)
        self.options.timeout = -1

    def open(self, StandbyCache internal not None, int fd, *, bint window_tracking=False):
        """Begin to put flows into the kernel through the request socket `fd`, and to tell `internal` of them.

        With `window_tracking` the kernel checks TCP windows of flows that it did not know.
        """
        self.internal = internal
        self.batch = RequestBatch()
        self.receiver = NetlinkReceiver(fd)
        self.options.window_tracking = window_tracking

    @property
    def waits(self):
        """How many flows wait for their masters."""
        return self.waiting.count

    @property
    def failures(self):
        """How many flows could not be put into the kernel, by error number."""
        return {number: self.reasons[number] for number in range(REASONS) if self.reasons[number]}

    def settle(self, uint8_t owner, uint32_t count, uint64_t digest):
        """There is nothing here to compare with what the owner has."""
        return True

    def flush(self):
        """Forget what waits. Returns 0: there are no entries."""
        self.waiting.clear()
        return 0

    def retry(self, uint32_t now):
        """Try again what waits for its master; to be called now and then. Fails what has waited for too long."""
        cdef slot_t *slot
        if self.waiting.count == 0:
            self.cursor = 0
            return
        with nogil:
            self.cursor = 0
            while self.cursor < self.waiting.top:
                slot = self.waiting.at(self.cursor)
                self.cursor += 1
                if not slot.flags & SLOT_INDEXED:
                    continue
                decode_body(slot.body, slot.length, &self.flows[self.read_ahead])
                self.kinds[self.read_ahead] = TYPE_FLOW_NEW
                self.prepare(self.read_ahead)
                self.read_ahead += 1
                if self.read_ahead == GROUP:
                    self.inject(0, GROUP, now)
                    self.read_ahead = 0
            self.inject(0, self.read_ahead, now)
            self.read_ahead = 0

    cdef void read(self, const uint8_t *body, const header_t *header, uint8_t owner, uint32_t now) noexcept nogil:
        cdef uint32_t i = self.read_ahead
        ExternalCache.read(self, body, header, owner, now)
        if self.read_ahead > i:
            decode_body(self.told[i].body, self.told[i].length, &self.flows[i])
            self.kinds[i] = self.told[i].kind

    cdef void prepare(self, uint32_t i) noexcept nogil:
        flow_key(&self.flows[i], &self.keys[i])
        self.hashes[i] = self.table.hash_key(&self.keys[i])

    cdef void take(self, uint8_t owner, uint32_t now) noexcept nogil:
        """Put what is read ahead into the kernel; of two messages about one flow, the first is through before the second begins."""
        cdef uint32_t first = 0
        cdef uint32_t i, j
        if self.batch is None:
            # Not open: there is no kernel.
            self.read_ahead = 0
            return
        for i in range(self.read_ahead):
            flow_key(&self.flows[i], &self.keys[i])
            if self.waiting.count:
                self.forget_waiting(i)
            for j in range(first, i):
                if self.hashes[j] == self.hashes[i]:
                    self.inject(first, i, now)
                    first = i
                    break
        self.inject(first, self.read_ahead, now)
        self.read_ahead = 0

    cdef void inject(self, uint32_t first, uint32_t end, uint32_t now) noexcept nogil:
        """Bring the messages from `first` to before `end` to an end, no two of which are about one flow."""
        cdef uint32_t i
        cdef int turn
        cdef bint more = False
        for i in range(first, end):
            self.begin(i, now)
            more = more or self.steps[i] != STEP_DONE
        for turn in range(ROUNDS):
            if not more:
                return
            if not self.carry_out(first, end, now):
                return
            more = False
            for i in range(first, end):
                if self.steps[i] != STEP_DONE:
                    self.judge(i, self.batch.error_at(self.positions[i]), now)
                    more = more or self.steps[i] != STEP_DONE
        self.give_up(first, end, ENOBUFS)

    cdef void give_up(self, uint32_t first, uint32_t end, int code) noexcept nogil:
        """Whatever is not done yet has failed, but for the mere question about a flow that is there."""
        cdef uint32_t i
        for i in range(first, end):
            if self.steps[i] == STEP_ASK:
                self.steps[i] = STEP_DONE
            elif self.steps[i] != STEP_DONE:
                self.fail(i, code)

    cdef void begin(self, uint32_t i, uint32_t now) noexcept nogil:
        """The first step for a message."""
        cdef flow_t *flow = &self.flows[i]
        cdef flow_t known
        cdef uint32_t updated = 0
        cdef int use
        self.heard[i] = HEARD_NOTHING
        self.changed[i] = EVENT_NONE
        use = self.internal.uses(flow, &known, &updated)
        self.used[i] = use != UNUSED
        if self.kinds[i] == TYPE_FLOW_DESTROY:
            self.steps[i] = STEP_DONE if use == USED else STEP_DELETE
            return
        if self.used[i]:
            self.spare(i, &known, now - updated)
        if not is_fixed(flow):
            self.steps[i] = STEP_STORE
        elif self.kinds[i] == TYPE_FLOW_UPDATE:
            self.steps[i] = STEP_CHANGE
        else:
            self.steps[i] = STEP_CREATE

    cdef void spare(self, uint32_t i, const flow_t *known, uint32_t age) noexcept nogil:
        """Take out of a message what would set its flow back, whose traffic goes through this node."""
        cdef flow_t *flow = &self.flows[i]
        if has(flow, BIT_TCP_STATE) and has(known, BIT_TCP_STATE) and flow.tcp_state < known.tcp_state:
            if known.tcp_state == TCP_TIME_WAIT or known.tcp_state == TCP_CLOSE:
                # The old flow has closed: this is a new one.
                self.used[i] = False
                return
            drop(flow, BIT_TCP_STATE)
        if has(flow, BIT_TIMEOUT) and has(known, BIT_TIMEOUT) and <int64_t>flow.timeout <= <int64_t>known.timeout - <int64_t>age:
            drop(flow, BIT_TIMEOUT)
        # A bit of the status that is set cannot be taken away.
        flow.status |= known.status & SETTABLE

    cdef bint carry_out(self, uint32_t first, uint32_t end, uint32_t now) noexcept nogil:
        """One datagram of requests, and the answers. False where the socket fails."""
        cdef uint32_t i
        cdef int code
        self.batch.reset()
        for i in range(first, end):
            if self.steps[i] != STEP_DONE:
                self.ask(i)
        code = self.batch.transmit(self.receiver.fd)
        if code < 0:
            self.give_up(first, end, -code)
            return False
        self.hear(first, end, now)
        return True

    cdef void ask(self, uint32_t i) noexcept nogil:
        """Add the requests of a message's step."""
        cdef flow_t flow = self.flows[i]
        cdef int step = self.steps[i]
        cdef bint keeps_timeout
        if step == STEP_DELETE or step == STEP_REPLACE:
            self.batch.add(&flow, IPCTNL_MSG_CT_DELETE, 0)
        if step == STEP_ASK:
            self.batch.add(&flow, IPCTNL_MSG_CT_GET, 0)
        elif step == STEP_CHANGE:
            complete_tcp(&flow, self.options.window_tracking)
            prepare_update(&flow)
            drop(&flow, BIT_REPLY)
            flow.status = flow.status & (SETTABLE | EXPECTED)
            flow.status |= 1 << 3
            self.batch.add(&flow, IPCTNL_MSG_CT_NEW, NLM_F_ECHO)
        elif step != STEP_DELETE:
            keeps_timeout = self.used[i] and not has(&flow, BIT_TIMEOUT)
            complete_flow(&flow, &self.options, 0)
            if keeps_timeout:
                drop(&flow, BIT_TIMEOUT)
            self.batch.add(&flow, IPCTNL_MSG_CT_NEW, NLM_F_ECHO | NLM_F_CREATE | (0 if step == STEP_STORE else NLM_F_EXCL))
        self.positions[i] = <int>self.batch.count - 1

    cdef void hear(self, uint32_t first, uint32_t end, uint32_t now) noexcept nogil:
        """Take what the kernel answers: acknowledgements, and the flows that it has changed or was asked for."""
        cdef int count, slot
        cdef bint complete = False
        while True:
            count = self.receiver.receive()
            if count == 0:
                break
            if count < 0:
                self.batch.errors_lost = True
                if count != -ENOBUFS:
                    break
            for slot in range(count):
                if self.batch.note(self.receiver.data(slot), self.receiver.size(slot)):
                    complete = True
                self.hear_flow(self.receiver.data(slot), self.receiver.size(slot), first, end, now)
        if not complete:
            self.batch.errors_lost = True
        self.batch.settle()

    cdef void hear_flow(self, const uint8_t *data, uint32_t length, uint32_t first, uint32_t end, uint32_t now) noexcept nogil:
        cdef flow_t flow
        cdef key_t key
        cdef uint32_t i
        # One message to a datagram; an acknowledgement is no flow.
        if decode_flow(data, length, &flow) < 0 or flow.event == EVENT_DESTROY:
            return
        flow_key(&flow, &key)
        for i in range(first, end):
            if self.steps[i] != STEP_DONE and memcmp(&key, &self.keys[i], sizeof(key_t)) == 0:
                break
        else:
            return
        if self.steps[i] != STEP_ASK:
            self.changed[i] = flow.event
        self.heard[i] = HEARD if is_same_translation(&self.flows[i], &flow) else HEARD_OTHER
        self.internal.lend(&flow, now)

    cdef void judge(self, uint32_t i, int code, uint32_t now) noexcept nogil:
        """What the answer to a message's step leads to."""
        cdef int step = self.steps[i]
        if code == ENOBUFS:
            # The answer is lost: once more.
            return
        if code == 0:
            self.succeed(i, step)
        elif step == STEP_DELETE:
            self.steps[i] = STEP_DONE
            # What the kernel no longer has, has gone by itself.
            if code != ENOENT:
                self.fail(i, code)
        elif step == STEP_ASK:
            self.steps[i] = STEP_DONE
        elif step == STEP_CHANGE and code == ENOENT:
            self.steps[i] = STEP_CREATE
        elif step == STEP_CREATE and code == EEXIST and self.kinds[i] == TYPE_FLOW_NEW:
            # Not a second time, in case another flow has its reply tuple.
            self.kinds[i] = TYPE_FLOW_UPDATE
            self.steps[i] = STEP_CHANGE
        elif (step == STEP_STORE or step == STEP_CHANGE) and self.used[i]:
            # The flow is further than the message: its status is not to change, but the rest may.
            if code != EBUSY or not has(&self.flows[i], BIT_STATUS):
                self.steps[i] = STEP_DONE
            drop(&self.flows[i], BIT_STATUS)
        elif (step == STEP_STORE or step == STEP_CHANGE) and (code == EBUSY or code == EOPNOTSUPP or code == EINVAL):
            self.steps[i] = STEP_REPLACE
        elif code == ENOENT and has(&self.flows[i], BIT_MASTER):
            self.wait(i, now)
        else:
            self.fail(i, code)

    cdef void succeed(self, uint32_t i, int step) noexcept nogil:
        if step == STEP_DELETE:
            self.counters.destroyed += 1
            self.steps[i] = STEP_DONE
            return
        if step == STEP_ASK:
            self.steps[i] = STEP_DONE
            return
        if self.heard[i] == HEARD_OTHER and step != STEP_REPLACE and step != STEP_CREATE and not self.used[i]:
            self.steps[i] = STEP_REPLACE
            return
        self.steps[i] = STEP_DONE if self.heard[i] else STEP_ASK
        if step == STEP_CHANGE or self.changed[i] == EVENT_UPDATE:
            self.counters.updated += 1
        else:
            self.counters.created += 1
        if self.waiting.count:
            self.forget_waiting(i)

    cdef void fail(self, uint32_t i, int code) noexcept nogil:
        self.steps[i] = STEP_DONE
        if self.kinds[i] == TYPE_FLOW_DESTROY:
            self.counters.destroy_failed += 1
        elif self.kinds[i] == TYPE_FLOW_UPDATE:
            self.counters.update_failed += 1
        else:
            self.counters.create_failed += 1
        if 0 < code < REASONS:
            self.reasons[code] += 1
        if self.waiting.count:
            self.forget_waiting(i)

    cdef void forget_waiting(self, uint32_t i) noexcept nogil:
        cdef uint32_t number = self.waiting.find(&self.keys[i], self.waiting.hash_key(&self.keys[i]))
        if number != NONE:
            self.waiting.remove(number)

    cdef void wait(self, uint32_t i, uint32_t now) noexcept nogil:
        """Keep a flow until its master is there, but not for ever."""
        cdef uint32_t hash = self.waiting.hash_key(&self.keys[i])
        cdef uint32_t number = self.waiting.find(&self.keys[i], hash)
        cdef uint8_t[BODY_MAX] body
        if number == NONE:
            number = self.waiting.add(&self.keys[i], hash, body, encode_body(&self.flows[i], 0, body))
            if number == NONE:
                self.fail(i, ENOENT)
                return
            self.waiting.at(number).created = now
        elif now - self.waiting.at(number).created > PATIENCE:
            self.fail(i, ENOENT)
        self.steps[i] = STEP_DONE


cdef bint is_fixed(const flow_t *flow) noexcept nogil:
    """Whether the flow has what the kernel lets only be created."""
    return has(flow, BIT_MASTER) or flow.status & EXPECTED or tells_translation(flow)


cdef bint is_same_translation(const flow_t *told, flow_t *there) noexcept nogil:
    """Whether the kernel's flow is translated as the message tells; one that tells nothing of its translation tells no other."""
    derive_nat(there)
    if told.status & TRANSLATED and not tells_translation(told):
        return True
    if told.present & nat_fields() != there.present & nat_fields():
        return False
    return ((not has(told, BIT_SOURCE_NAT_ADDRESS) or memcmp(told.source_nat_address, there.source_nat_address, 16) == 0)
            and (not has(told, BIT_DESTINATION_NAT_ADDRESS) or memcmp(told.destination_nat_address, there.destination_nat_address, 16) == 0)
            and (not has(told, BIT_SOURCE_NAT_PORT) or told.source_nat_port == there.source_nat_port)
            and (not has(told, BIT_DESTINATION_NAT_PORT) or told.destination_nat_port == there.destination_nat_port))


cdef bint tells_translation(const flow_t *flow) noexcept nogil:
    return flow.present & nat_fields() != 0
