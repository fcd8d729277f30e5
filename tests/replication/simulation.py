# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes on a bad network, in virtual time, every step of it drawn from one seed.

A run has a time of load and faults; then the network heals, the kernels fall silent, and within HORIZON each
external cache must be what the other's internal cache is, body for body, and each internal cache what its
kernel tracks.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.replication.invariant import DivergenceError, check_node, check_pair, converged
from tests.replication.kernel import SimulatedKernel
from tests.replication.network import Faults, Network
from tests.replication.node import CACHE_TIMEOUT, Node, Settings

NAMES = ("left", "right")
LOAD_SECONDS = 12.0
# How long after the last fault all must be equal: messages alone repair within seconds; what needs a resync
# waits for its pause. In mode ALARM what is left over goes after its timeout, and a round of the hand.
HORIZON = {"ftfw": 60.0, "notrack": 400.0, "alarm": CACHE_TIMEOUT + 3.0}


@dataclass(slots=True)
class Result:
    """What a run saw."""

    seed: int
    mode: str
    seconds_to_converge: float
    flows: int
    datagrams: int
    resyncs: int
    overruns: int
    restarts: int


class Simulation:
    """One run.

    With `digests` off, as beside a C node, only what the protocol itself repairs is done to it.
    """

    def __init__(
        self, seed: int, mode: str, digests: bool = True, trace: Callable[[str], None] | None = None
    ):
        self.seed = seed
        self.mode = mode
        self.digests = digests
        self.trace = trace
        self.random = Random(f"{seed}/{mode}/{digests}")
        self.now = 1000.0
        self.restarts = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.settings = self._draw_settings()
        self.network = Network(self.random, self._draw_faults(), self._deliver)
        self.nodes = {name: self._make_node(name) for name in NAMES}

    def _draw_settings(self) -> Settings:
        random = self.random
        resend_limits = (100_000, 100_000, 3, 20) if self.digests else (100_000,)
        return Settings(
            mode=self.mode,
            first_sequence=random.choice(
                (1_700_000_000, 0xFFFFFFFF - 1100, 0xFFFFFFFF - 1000, 0x7FFFFFFF - 1020)
            ),
            resend_limit=random.choice(resend_limits),
            ack_window=random.choice((300, 20, 1)),
            datagram_size=random.choice((1472, 600)),
            window_scale=random.random() < 0.3,
            timeouts=random.random() < 0.8,
            says_digest=self.digests,
        )

    def _draw_faults(self) -> Faults:
        random = self.random
        faults = Faults(
            lost=random.choice((0.0, 0.02, 0.2, 0.5)),
            repeated=random.choice((0.0, 0.1)),
            delayed=random.choice((0.0, 0.2)),
        )
        if self.digests:
            faults.truncated = random.choice((0.0, 0.05))
            faults.strange = random.choice((0.0, 0.05))
        return faults

    def _make_node(self, name: str) -> Node:
        limit = self.random.choice((1000, 1000, 12, 4))
        kernel = SimulatedKernel(self.random, limit, self.random.choice((6, 40)))
        return Node(name, kernel, self.settings, self._send)

    def say(self, text: str) -> None:
        if self.trace is not None:
            self.trace(f"{self.now - 1000.0:9.4f} {text}")

    # Time.

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._order), action))

    def advance(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = until

    # What goes on by itself.

    def _send(self, name: str, datagram: bytes) -> None:
        other = NAMES[1] if name == NAMES[0] else NAMES[0]
        self.network.send(name, other, datagram)

    def _deliver(self, delay: float, destination: str, sender: str, datagram: bytes) -> None:
        def arrive() -> None:
            if self.trace is not None:
                self.say(f"{sender} -> {destination}: {describe(datagram)}")
            self.nodes[destination].receive(datagram, sender, self.now)

        self.at(delay, arrive)

    def _drive(self, node: Node) -> None:
        """The node's own timers, for ever."""
        node.tick(self.now)
        due = node.session.deadline() if node.up else self.now + 1.0
        self.at(max(due - self.now, 0.001), lambda: self._drive(node))

    def _work(self, node: Node) -> None:
        """The node reads events and its dump, as it finds time."""
        node.read_events(self.random.choice((1, 3, 100)), self.now)
        node.continue_dump(self.random.choice((2, 10)), self.now)
        self.at(self.random.choice((0.001, 0.02, 0.2)), lambda: self._work(node))

    # What is done to it.

    def _operate(self, node: Node) -> None:
        for _ in range(self.random.choice((1, 1, 2, 8))):
            word = node.kernel.operate(self.now)
            self.say(f"{node.name}: kernel: {word}")

    def _misfortunes(self) -> list[Callable[[Node], None]]:
        """What may befall a node besides its traffic."""
        if not self.digests:
            return [self._partition]
        return [self._partition, self._restart, self._reboot, self._flush, self._resync, self._bulk]

    def _partition(self, node: Node) -> None:
        self.say("network: cut")
        self.network.cut = True

        def join() -> None:
            self.say("network: joined")
            self.network.cut = False

        self.at(self.random.choice((0.5, 3.0)), join)

    def _restart(self, node: Node) -> None:
        if not node.up:
            return
        self.restarts += 1
        self.say(f"{node.name}: stop")
        node.stop()
        self.at(self.random.choice((0.5, 2.5)), lambda: self._start(node))

    def _reboot(self, node: Node) -> None:
        if node.up:
            node.kernel.reboot()
            self._restart(node)

    def _start(self, node: Node) -> None:
        self.say(f"{node.name}: start")
        node.start(self.now)
        self.at(self.random.choice((0.0, 0.1, 1.5)), lambda: self._resync(node))

    def _flush(self, node: Node) -> None:
        self.say(f"{node.name}: flush external")
        node.flush_external(self.now)

    def _resync(self, node: Node) -> None:
        self.say(f"{node.name}: request resync")
        node.request_resync(self.now)

    def _bulk(self, node: Node) -> None:
        self.say(f"{node.name}: bulk")
        node.send_bulk(self.now)

    def _plan_load(self) -> None:
        random = self.random
        for _ in range(random.choice((20, 100, 250))):
            self.at(random.random() * LOAD_SECONDS, partial(self._operate, self.nodes[random.choice(NAMES)]))
        for _ in range(random.choice((0, 1, 4))):
            blow = random.choice(self._misfortunes())
            self.at(random.random() * LOAD_SECONDS, partial(blow, self.nodes[random.choice(NAMES)]))

    def _heal(self) -> None:
        self.say("all faults end")
        self.network.heal()
        for node in self.nodes.values():
            if not node.up:
                self._start(node)

    def run(self) -> Result:
        """Raises DivergenceError where the caches do not become equal in time, or do not stay so."""
        for node in self.nodes.values():
            if self.random.random() < 0.5:
                for _ in range(self.random.randrange(60)):
                    node.kernel.operate(self.now)
            self._start(node)
            self._drive(node)
            self._work(node)
        self._plan_load()
        self.advance(self.now + LOAD_SECONDS + 3.0)
        self._heal()
        healed = self.now
        while not converged(self.nodes):
            if self.now - healed >= HORIZON[self.mode]:
                self._report_divergence()
            self.advance(self.now + 0.5)
        seconds = self.now - healed
        self.say(f"equal after {seconds:.1f} s")
        # What is left under way may not disturb it; acknowledgements and resyncs come to an end.
        self.advance(self.now + 6.0)
        self._report_divergence()
        return self._result(seconds)

    def _report_divergence(self) -> None:
        problems = []
        for node in self.nodes.values():
            problems += check_node(node)
        problems += check_pair(self.nodes["left"], self.nodes["right"])
        problems += check_pair(self.nodes["right"], self.nodes["left"])
        if problems:
            raise DivergenceError(self.seed, self.mode, self.digests, self.settings, problems)

    def _result(self, seconds: float) -> Result:
        nodes = self.nodes.values()
        return Result(
            seed=self.seed,
            mode=self.mode,
            seconds_to_converge=seconds,
            flows=sum(len(node.internal) for node in nodes),
            datagrams=self.network.sent,
            resyncs=sum(node.session.resyncs_requested for node in nodes),
            overruns=sum(node.overruns for node in nodes),
            restarts=self.restarts,
        )


def describe(datagram: bytes) -> str:
    """The messages of a datagram in short, for a trace."""
    words = []
    offset = 0
    while offset + 8 <= len(datagram):
        kind, flags = datagram[offset] & 15, datagram[offset + 1]
        length = int.from_bytes(datagram[offset + 2 : offset + 4], "big")
        sequence = int.from_bytes(datagram[offset + 4 : offset + 8], "big")
        names = {0: "new", 1: "update", 2: "destroy", 10: "control"}
        word = f"{sequence:08x} {names.get(kind, kind)} {flags:02x}"
        if kind == 10 and length == 16:
            first, last = datagram[offset + 8 : offset + 12].hex(), datagram[offset + 12 : offset + 16].hex()
            word += f" {first}..{last}"
        words.append(word)
        if length < 8:
            break
        offset += length
    return f"{len(datagram)} bytes; " + ", ".join(words)
