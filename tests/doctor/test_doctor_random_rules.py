# SPDX-License-Identifier: GPL-2.0-or-later
"""Random rulesets: what the doctor is sure of is what the kernel does with a real datagram."""

from __future__ import annotations

from random import Random

import pytest

from pyconntrack import ConntrackTable
from pyconntrack.cli.doctor.check_ruleset import chains_of_machine, packets_of
from pyconntrack.cli.doctor.machine import Machine
from pyconntrack.cli.doctor.packet import Fate, fate
from pyconntrack.config import parse
from tests.doctor.scene import Scene
from tests.doctor.test_doctor_rules import arrives

RULESETS = 12
MATCHES = (
    """
iifname link|iifname != link|iifname inside|iif lo|ip saddr 10.9.0.2|ip saddr != 10.9.0.0/24
ip saddr 10.9.0.0-10.9.0.5|ip daddr 10.9.0.1|ip daddr { 10.9.0.1, 10.8.0.1 }|ip6 saddr ::/0|udp dport 3780
udp dport != 3780|udp dport { 53, 3700-3790 }|udp dport < 3780|udp dport >= 3780|th dport 3780|tcp dport 3780
udp sport 3780|udp sport != 3780|udp sport > 1023|meta l4proto udp|meta l4proto { tcp, icmp }|ip protocol udp
ct state new|ct state established,related|ct state invalid|ct state untracked|ct state != new
ct state { new, untracked }|meta nfproto ipv4|meta pkttype host|meta pkttype multicast|fib daddr type local
fib daddr type != local|ip saddr . udp dport { 10.9.0.2 . 3780, 10.1.1.1 . 53 }|ip saddr @peers
ip saddr != @peers|counter|meta mark 0|meta mark 5|limit rate 100/second|ip ttl 64
""".strip()
    .replace("\n", "|")
    .split("|")
)
LEAVES = [
    *("accept", "drop", "return", "counter", "udp dport vmap { 3780 : drop, 53 : accept }"),
    "ip protocol vmap { udp : accept, tcp : drop }",
]
BRANCHES = ["jump two", "goto two", "udp dport vmap { 3780 : jump two, 1-1000 : accept }"]
ROOTS = [*BRANCHES, "jump one", "goto one", "reject"]
EARLY = [*LEAVES, *["notrack"] * 4]
PEERS = "set peers { type ipv4_addr; flags interval; elements = { 10.9.0.0/28 }; }"


def chain(random: Random, name: str, head: str, deeds: list[str]) -> str:
    rules = [
        " ".join([*random.sample(MATCHES, random.randint(0, 2)), random.choice(deeds)])
        for _ in range(random.randint(0, 4))
    ]
    return "\n".join([f"chain {name} {{", head, *rules, "}"])


def ruleset(random: Random) -> str:
    policy = random.choice(["accept", "drop"])
    chains = [
        chain(random, "two", "", LEAVES),
        chain(random, "one", "", [*LEAVES, *BRANCHES]),
        chain(random, "late", f"type filter hook input priority 0; policy {policy};", [*LEAVES, *ROOTS]),
        chain(random, "early", "type filter hook prerouting priority raw;", EARLY),
    ]
    return "\n".join(["flush ruleset", "table inet made {", PEERS, *chains, "}\n"])


def examine(scene: Scene, text: str) -> Fate | None:
    """What the doctor says; None of rules that nft does not take, as they contradict themselves."""
    if scene.one.run(["nft", "-f", "-"], input=text, check=False).returncode:
        return None
    [link] = parse(scene.write(scene.configuration).read_text()).settings.sync.links  # type: ignore[union-attr]
    with scene.one.entered():
        with ConntrackTable() as table:
            table.flush()
        return fate(chains_of_machine(Machine()), packets_of(link)[0])


@pytest.mark.parametrize("seed", range(4))
def test_what_is_sure_is_so(scene: Scene, seed: int) -> None:
    random = Random(seed)
    sure = 0
    for _ in range(RULESETS):
        text = ruleset(random)
        said = examine(scene, text)
        if said is None or said.dropped is None:
            continue
        sure += 1
        assert arrives(scene, expected=not said.dropped) is not said.dropped, (said, text)
    assert sure > RULESETS // 3
