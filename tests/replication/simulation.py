# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes or more on a bad network, in virtual time, every step of it drawn from one seed.

A run has a time of load and faults; then the network heals, the kernels fall silent, and within HORIZON each
external cache must have of each other node what that one's internal cache has, body for body, show one entry
for each flow, and each internal cache must have what its kernel tracks.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.replication.invariant import (
    DivergenceError,
    check_entries,
    check_node,
    check_pair,
    converged,
    pairs,
    read_records,
)
from tests.replication.kernel import SimulatedKernel, draw_pool
from tests.replication.network import Faults, Network
from tests.replication.node import CACHE_TIMEOUT, Node, Settings

NAMES = ("left", "right", "third", "fourth")
LOAD_SECONDS = 12.0
# How long after the last fault all must be equal: messages alone repair within seconds; what needs a resync
# waits for its pause. In mode ALARM what is left over goes after its timeout, and a round of the hand.
HORIZON = {"ftfw": 60.0, "notrack": 400.0, "alarm": CACHE_TIMEOUT + 3.0}


@dataclass(slots=True)
class Result:
    """What a run saw."""

    seed: int
    mode: str
    nodes: int
    seconds_to_converge: float
    flows: int
    datagrams: int
    resyncs: int
    overruns: int
    restarts: int


class Simulation:
    """One run.

    With `digests` off, as beside a C node, only what the protocol itself repairs is done to it. With `crowd`,
    the first node has as many flows more, and is cut off while it tells of them: they fill the resend queue.
    """

    def __init__(
        self,
        seed: int,
        mode: str,
        digests: bool = True,
        trace: Callable[[str], None] | None = None,
        *,
        nodes: int = 2,
        crowd: int = 0,
    ):
        self.names = NAMES[:nodes]
        self.crowd = crowd
        self.seed = seed
        self.mode = mode
        self.digests = digests
        self.trace = trace
        self.random = Random(f"{seed}/{mode}/{digests}/{nodes}/{crowd}")
        self.now = 1000.0
        self.restarts = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.settings = self._draw_settings()
        self.network = Network(self.random, self._draw_faults(), self._deliver)
        self._shared_pool = draw_pool(self.random, 20) if digests and self.random.random() < 0.5 else None
        self.nodes = {name: self._make_node(name) for name in self.names}

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
        pool = self._shared_pool
        if self.crowd and name == self.names[0]:
            limit, pool = 2 * self.crowd, draw_pool(self.random, self.crowd)
        elif pool is None or self.random.random() < 0.2:
            pool = draw_pool(self.random, self.random.choice((6, 40)))
        kernel = SimulatedKernel(self.random, limit, pool)
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

    def _send(self, node: Node, datagram: bytes) -> None:
        for name in self.names:
            if name != node.name:
                self.network.send(node.name, node.address, name, datagram)

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
        blows: list[Callable[[Node], None]] = [self._partition]
        if self.mode != "alarm":
            blows.append(self._readdress)
        if self.digests:
            blows += [self._restart, self._reboot, self._flush, self._resync, self._bulk]
        return blows

    def _partition(self, node: Node) -> None:
        """Part the nodes in two halves, or let one half not be heard by the other."""
        random = self.random
        half = {name for name in self.names if random.random() < 0.5} ^ {node.name}
        one_way = random.random() < 0.3
        cuts = [
            (sender, receiver)
            for sender in self.names
            for receiver in self.names
            if (sender in half and receiver not in half)
            or (not one_way and receiver in half and sender not in half)
        ]
        self._cut(cuts, random.choice((0.5, 3.0, 3.0, 8.0) if self.digests else (0.5, 3.0)))

    def _cut(self, cuts: list[tuple[str, str]], seconds: float) -> None:
        self.say(f"network: cut {cuts}")
        self.network.cuts.update(cuts)

        def join() -> None:
            self.say(f"network: joined {cuts}")
            self.network.cuts.subtract(cuts)

        self.at(seconds, join)

    def _readdress(self, node: Node) -> None:
        """Its link fails, and another one takes over."""
        if not node.up or not self._is_known(node):
            return
        address = f"{node.name}/{self.random.randrange(3)}"
        self.say(f"{node.name}: sends from {address}")
        node.readdress(address, self.now)

    def _is_known(self, node: Node) -> bool:
        """Whether all have heard who sends from its address.

        One that changes its address, or starts anew, before they have is another node to them.
        """
        others = [other for other in self.nodes.values() if other is not node and other.up]
        heard = [other.session.peers.get(node.address) for other in others]
        return all(peer is not None and peer.node == node.session.node_id for peer in heard)

    def _may_restart(self, node: Node) -> bool:
        return node.up and (node.address == node.name or self._is_known(node))

    def _restart(self, node: Node) -> None:
        if not self._may_restart(node):
            return
        self.restarts += 1
        self.say(f"{node.name}: stop")
        node.stop()
        self.at(self.random.choice((0.5, 2.5)), lambda: self._start(node))

    def _reboot(self, node: Node) -> None:
        if self._may_restart(node):
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

    def _gather(self, node: Node) -> None:
        """The node tells of its crowd while the others do not hear it, or it does not hear them."""
        others = [name for name in self.names if name != node.name]
        heard = [(node.name, other) for other in others]
        hears = [(other, node.name) for other in others]
        self._cut(self.random.choice((heard, hears, heard + hears)), self.random.choice((2.0, 4.0)))
        for _ in range(self.crowd):
            node.kernel.operate(self.now)
        node.read_events(self.crowd, self.now)

    def _plan_load(self) -> None:
        random = self.random
        for _ in range(random.choice((20, 100, 250))):
            self.at(
                random.random() * LOAD_SECONDS, partial(self._operate, self.nodes[random.choice(self.names)])
            )
        for _ in range(random.choice((0, 1, 4))):
            blow = random.choice(self._misfortunes())
            self.at(random.random() * LOAD_SECONDS, partial(blow, self.nodes[random.choice(self.names)]))

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
            if self.crowd and node is self.nodes[self.names[0]]:
                self._gather(node)
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
        self._repeat_all()
        return self._result(seconds)

    def _repeat_all(self) -> None:
        """What a node merely repeats takes no flow from another one."""
        shown = {node.name: read_records(node.external.table) for node in self.nodes.values()}
        for node in self.nodes.values():
            node.send_bulk(self.now)
        self.advance(self.now + 3.0)
        self._report_divergence()
        for node in self.nodes.values():
            if read_records(node.external.table) != shown[node.name]:
                raise DivergenceError(self.command, self.settings, [f"{node.name}: a bulk took entries"])

    @property
    def command(self) -> str:
        """What runs this one again."""
        words = f"--seed {self.seed} --mode {self.mode} --nodes {len(self.names)}"
        if not self.digests:
            words += " --no-digests"
        return words + (f" --crowd {self.crowd}" if self.crowd else "")

    def _report_divergence(self) -> None:
        problems = []
        for node in self.nodes.values():
            problems += check_node(node)
            problems += check_entries(node, [other for other in self.nodes.values() if other is not node])
        for sender, receiver in pairs(self.nodes):
            problems += check_pair(sender, receiver)
        if problems:
            raise DivergenceError(self.command, self.settings, problems)

    def _result(self, seconds: float) -> Result:
        nodes = self.nodes.values()
        return Result(
            seed=self.seed,
            mode=self.mode,
            nodes=len(self.names),
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
