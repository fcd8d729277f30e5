# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fuzzed: a session that receives, and an internal cache that follows the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from fuzz.mutate import mutate
from pyconntrack.core.bypass import Bypass
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.expectation_cache import ExternalExpectations
from pyconntrack.core.expectation_listing import list_text
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.standby_cache import StandbyCache
from pyconntrack.replication.alarm import Alarm
from pyconntrack.replication.ftfw import Ftfw
from pyconntrack.replication.notrack import Notrack
from pyconntrack.replication.session import Session
from tests.core.support_expectation_wire import CAPTURED, ftp_body
from tests.core.support_flows import GROUPS, KernelFlow, random_flow
from tests.core.support_netlink import destroy, dumped, event
from tests.core.support_wire import flow_body, message

SENDERS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")


def make_flows(random: Random, count: int) -> list[KernelFlow]:
    return [random_flow(random, number, zone=random.choice((0, 0, 7))) for number in range(count)]


def make_datagrams(random: Random, flows: Sequence[KernelFlow]) -> list[bytes]:
    """Sound datagrams of every kind of message."""
    datagrams = []
    for flow in flows:
        body = flow_body(flow, flow.timeout, window_scale=True)
        flags = random.choice((0, 0, 0x20, 0x40, 0x60))
        sequence = random.getrandbits(32) if random.random() < 0.1 else 100
        parts = [message(random.choice((0, 1, 1, 2, 3)), flags, sequence, body)]
        control = random.choice((0x02, 0x04, 0x08))
        parts.append(message(10, flags | control, sequence + 1, random.randbytes(8)))
        parts.append(message(10, flags | 0x11, sequence + 2, random.randbytes(16)))
        parts.append(message(10, flags | 0x10, sequence + 3))
        number = random.randrange(20)
        parts.append(message(random.choice((3, 3, 4, 5)), flags, sequence + 4, ftp_body(number)))
        parts.append(message(3, flags, sequence + 5, random.choice(list(CAPTURED.values()))[0]))
        random.shuffle(parts)
        datagrams += [*parts, b"".join(parts)]
    return datagrams


def make_netlink(random: Random, flows: Sequence[KernelFlow]) -> list[bytes]:
    """Sound netlink messages: events and pieces of dumps."""
    messages = []
    for flow in flows:
        told = random.sample(GROUPS, 3)
        messages += [event(flow, True, GROUPS), event(flow, False, told), dumped(flow, 5), destroy(flow)]
    return messages


def make_external() -> ExternalCache:
    return ExternalCache(limit=5000, expectations=ExternalExpectations(limit=15))


class NetworkDoor:
    """A session of each mode that takes whatever arrives, with flows of its own to lose."""

    def __init__(self, random: Random, flows: Sequence[KernelFlow], messages: Sequence[bytes]) -> None:
        self.sessions: list[Session] = []
        self._out = Datagrams(1472)
        self.sent = 0
        internal = InternalCache(resend_limit=200)
        ftfw = Ftfw(internal, make_external(), first_sequence=100, now=0.0, ack_window=20)
        plain = InternalCache()
        notrack = Notrack(plain, make_external(), first_sequence=100, now=0.0)
        alarm = Alarm(
            InternalCache(),
            make_external(),
            first_sequence=100,
            now=0.0,
            refresh_time=2,
            cache_timeout=5,
        )
        for session in (ftfw, notrack, alarm):
            session.says_digest = True
            self.sessions.append(session)
            for netlink in messages:
                session.internal.follow(netlink, 0)

    def push(self, datagram: bytes, sender: str, now: float) -> None:
        for session in self.sessions:
            session.receive(datagram, sender, now)

    def answer(self, now: float) -> None:
        """Let the sessions say what they have to say. A node in a loop would never come to an end of it."""
        for session in self.sessions:
            session.advance(now)
            for _ in range(10_000):
                if not session.fill(self._out, now):
                    break
                self.sent += len(self._out)
                self._out.clear()
            else:
                raise AssertionError("the session does not stop sending")

    def check(self) -> None:
        for session in self.sessions:
            external = session.external
            counted = sum(external.count_of(peer.owner) for peer in session.nodes)
            if counted != len(external) + external.claims:
                raise AssertionError(
                    f"{len(external)} entries, {external.claims} claims, {counted} accounted for"
                )
            self._check_expectations(external.expectations)

    def _check_expectations(self, expectations: ExternalExpectations | None) -> None:
        assert expectations is not None
        text, _ = list_text(expectations.table, 0, False, 0)
        if text.count(b"\n") != len(expectations) or len(expectations) > expectations.limit:
            raise AssertionError(f"{len(expectations)} expectations are shown as {text!r}")


class KernelDoor:
    """Internal caches of each kind, which follow whatever the kernel might say."""

    def __init__(self) -> None:
        self.cache = InternalCache(resend_limit=100)
        self._standby = StandbyCache(resend_limit=100)
        # As if this node had put into the kernel what nobody else caused.
        self._standby.port = 1
        self._caches = (self.cache, self._standby, Bypass())
        self._out = Datagrams(1472)
        self._sequence = 0

    def push(self, data: bytes, dump: bool, now: int) -> None:
        for cache in self._caches:
            if dump:
                cache.merge_dump(data, now)
            else:
                cache.follow(data, now)

    def turn(self) -> None:
        """A resync ends and another begins; what was queued goes out, and a peer must read it."""
        for cache in self._caches:
            if cache.resyncing:
                cache.end_resync()
            self._send_all(cache)
            cache.queue.acknowledge((self._sequence - 200) & 0xFFFFFFFF, self._sequence)
            if len(cache) != len(cache.table):
                raise AssertionError(f"{len(cache)} flows, {len(cache.table)} entries when all is told")
            cache.begin_resync()

    def _send_all(self, cache: InternalCache) -> None:
        peer = ExternalCache()
        cache.queue.push_all()
        sent = cache.queue.fill(self._out, self._sequence, 0)
        while sent:
            self._sequence += sent
            for index in range(len(self._out)):
                datagram = self._out[index]
                if peer.apply_run(datagram, 0, 0, False, 0, 0) != len(datagram):
                    raise AssertionError("the cache sent what no peer can read")
            self._out.clear()
            sent = cache.queue.fill(self._out, self._sequence, 0)
        if peer.malformed:
            raise AssertionError(f"{peer.malformed} messages of the cache are malformed")
        if not isinstance(cache, Bypass) and not peer.settle(0, len(cache), cache.digest):
            raise AssertionError("a peer that has heard all holds something else")


def make_variant(random: Random, samples: Sequence[bytes]) -> bytes:
    """One of the samples as it is, or changed, or noise."""
    sample = samples[int(random.random() * len(samples))]
    kind = random.random()
    if kind < 0.15:
        return sample
    if kind < 0.18:
        return random.randbytes(int(random.random() * 120))
    return mutate(random, sample, samples[int(random.random() * len(samples))])
