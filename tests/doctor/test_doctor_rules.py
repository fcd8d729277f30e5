# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor says of real rulesets: sync traffic is dropped, let through, or it cannot be told."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import replace

import pytest

from pyconntrack.cli.doctor.finding import Severity
from testbed import MulticastLink
from tests.doctor.scene import Scene, bad

DROPPING = (
    "type filter hook input priority 0; policy drop; ct state established,related accept; iifname lo accept;"
)


def ruleset(*rules: str, hook: str = DROPPING, more: str = "") -> str:
    return f"table inet firewall {{\n {more}\n chain here {{\n {hook} {'; '.join(rules)}\n }}\n}}\n"


def arrives(scene: Scene, *, expected: bool) -> bool:
    """Whether a datagram of the peer's gets through; of one that is dropped, nobody hears however long."""
    with scene.one.entered():
        heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with scene.two.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with heard, sender:
        heard.bind(("10.9.0.1", 3780))
        heard.settimeout(10.0 if expected else 0.03)
        sender.bind(("10.9.0.2", 0))
        sender.sendto(b"", ("10.9.0.1", 3780))
        try:
            heard.recv(1)
        except TimeoutError:
            return False
        return True


PASSING = [
    "udp dport 3780 accept",
    "iifname link accept",
    'iifname "li*" ip saddr 10.9.0.0/24 udp dport { 3780, 4000 } accept',
    "ip saddr 10.9.0.2 meta l4proto udp th dport 3000-4000 accept",
    "udp dport != 53 accept",
    "udp dport vmap { 53 : drop, 3780 : accept }",
    "iifname vmap { link : accept, inside : drop }",
    "ip saddr . udp dport { 10.9.0.2 . 3780 } accept",
    "ip saddr @peers udp dport 3780 counter log accept",
    "ct state invalid drop; ip protocol udp jump allowed",
    "ct state untracked accept",
    "fib daddr type local udp dport > 3000 accept",
    "udp sport 1024-65535 udp dport 3780 accept",
]
MORE = "set peers { type ipv4_addr; flags interval; elements = { 10.9.0.0/28 }; }\n chain allowed { accept; }"


@pytest.mark.parametrize("rule", PASSING)
def test_rules_that_let_it_through(scene: Scene, rule: str) -> None:
    with scene.rules(ruleset(rule, more=MORE)):
        findings = scene.examine("rules")
        assert arrives(scene, expected=True)
    assert any("let the sync traffic through" in finding.what for finding in findings), findings
    assert bad(findings) == []


FAILING = [
    "tcp dport 3780 accept",
    "udp dport 3781 accept",
    "iifname inside accept",
    "ip saddr 10.9.0.3 accept",
    "ip6 saddr ::/0 accept",
    "udp dport { 53, 4000-5000 } accept",
    "udp dport vmap { 3780 : drop }",
    "ip saddr @strangers accept",
    "jump refuse; accept",
    "udp sport 3780 accept",
]
MORE_STRANGERS = (
    "set strangers { type ipv4_addr; elements = { 192.0.2.1 }; }\n chain refuse { udp dport 3780 reject; }"
)


@pytest.mark.parametrize("rule", FAILING)
def test_rules_that_drop_it(scene: Scene, rule: str) -> None:
    with scene.rules(ruleset(rule, more=MORE_STRANGERS)):
        findings = bad(scene.examine("rules"))
        assert not arrives(scene, expected=False)
    assert [finding.severity for finding in findings] == [Severity.PROBLEM], rule
    assert "udp from 10.9.0.2 to port 3780 is dropped by" in findings[0].what
    assert findings[0].advice.endswith(
        "nft insert rule inet firewall here iifname link udp dport 3780 accept"
    )


@pytest.mark.parametrize("rule", ["limit rate 5/second accept", "meta mark 7 accept", "ip dscp 8 accept"])
def test_rules_of_which_it_cannot_be_told(scene: Scene, rule: str) -> None:
    with scene.rules(ruleset(f"udp dport 3780 {rule}")):
        findings = scene.examine("rules")
    assert bad(findings) == []
    assert any("cannot be told" in finding.what for finding in findings)


def test_the_advice_helps(scene: Scene) -> None:
    with scene.rules(ruleset()):
        [finding] = bad(scene.examine("rules"))
        scene.one.run(finding.advice.partition(": ")[2].split())
        assert bad(scene.examine("rules")) == []


def test_the_way_out_is_looked_at(scene: Scene) -> None:
    with scene.rules(ruleset(hook="type filter hook output priority 0; policy drop;")):
        [finding] = bad(scene.examine("rules"))
        assert "udp to 10.9.0.2 port 3780" in finding.what
        scene.one.run(finding.advice.partition(": ")[2].split())
        assert bad(scene.examine("rules")) == []


def test_tcp_needs_its_answers_too(scene: Scene) -> None:
    configuration = scene.with_link(transport="TCP")
    no_answers = "type filter hook output priority 0; policy drop; tcp dport 3780 accept;"
    with scene.rules(ruleset(hook=no_answers)):
        [finding] = bad(scene.examine("rules", configuration=configuration))
        assert "tcp of this node from port 3780" in finding.what
        scene.one.run(finding.advice.partition(": ")[2].split())
        assert bad(scene.examine("rules", configuration=configuration)) == []
    with scene.rules(ruleset("tcp dport 3780 accept")):
        assert bad(scene.examine("rules", configuration=configuration)) == []


def test_multicast_and_its_reports(scene: Scene) -> None:
    link = MulticastLink("link", own="10.9.0.1")
    configuration = replace(scene.configuration, links=[link])
    with scene.rules(ruleset("ip daddr 225.0.0.50 udp dport 3780 accept")):
        assert bad(scene.examine("rules", configuration=configuration)) == []
    with scene.rules(ruleset("pkttype multicast accept")):
        assert bad(scene.examine("rules", configuration=configuration)) == []
    with scene.rules(ruleset("pkttype host accept")):
        [finding] = bad(scene.examine("rules", configuration=configuration))
        assert finding.severity is Severity.PROBLEM
    with scene.rules(ruleset(hook="type filter hook output priority 0; policy drop; udp dport 3780 accept;")):
        [finding] = bad(scene.examine("rules", configuration=configuration))
        assert (finding.severity, "igmp reports" in finding.what) == (Severity.WARNING, True)
        scene.one.run(finding.advice.split())
        assert bad(scene.examine("rules", configuration=configuration)) == []


def test_ipv6_needs_neighbour_discovery(scene: Scene) -> None:
    configuration = scene.with_link(own="fd09::1", peer="fd09::2")
    with scene.rules(ruleset("udp dport 3780 accept")):
        [finding] = bad(scene.examine("rules", configuration=configuration))
        assert "neighbour discovery from the peer" in finding.what
        scene.one.run(finding.advice.split())
        assert bad(scene.examine("rules", configuration=configuration)) == []


def test_traffic_that_is_tracked(scene: Scene) -> None:
    scene.one.run(["nft", "flush", "ruleset"])
    try:
        assert not any("is tracked" in finding.what for finding in scene.examine("rules"))
        configuration = replace(scene.configuration, ignore_addresses=[])
        findings = scene.examine("rules", configuration=configuration)
        assert any(finding.severity is Severity.NOTE and "is tracked" in finding.what for finding in findings)
        # Tracked now, the established flow's rule does not help the first packet.
        with scene.rules(ruleset("ct state untracked accept")):
            assert bad(scene.examine("rules")) != []
    finally:
        with scene.rules("flush ruleset"):
            pass


SAVED = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:more - [0:0]\n{}COMMIT\n"
IPTABLES_PASSING = [
    "-A INPUT -p udp --dport 3780 -j ACCEPT",
    "-A INPUT -i li+ -j ACCEPT",
    "-A INPUT -s 10.9.0.0/24 -p udp -m multiport --dports 53,3700:3800 -j ACCEPT",
    "-A INPUT -m conntrack --ctstate INVALID -j DROP\n-A INPUT ! -i inside -j ACCEPT",
    '-A more -m comment --comment "the link" -j ACCEPT\n-A INPUT -p udp -g more',
    "-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT",
    "-A INPUT -m pkttype --pkt-type unicast -j ACCEPT",
]
IPTABLES_FAILING = [
    "-A INPUT -p tcp --dport 3780 -j ACCEPT",
    "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-A INPUT -p udp -m multiport --dports 53,67 -j ACCEPT",
    "-A INPUT ! -i link -j ACCEPT",
    "-A more -p udp -j REJECT\n-A INPUT -j more\n-A INPUT -j ACCEPT",
]


def saved(rules: str) -> str:
    return SAVED.format(f"{rules}\n")


@pytest.fixture(params=["iptables-nft", "iptables-legacy"])
def iptables(request: pytest.FixtureRequest, scene: Scene) -> str:
    """One of iptables' two kinds, where both tool and kernel have it."""
    program = str(request.param)
    command = [f"{program}-restore", "--test"]
    try:
        done = scene.one.run(command, input=saved(""), check=False)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(str(error))
    if done.returncode:
        pytest.skip(f"{program}: {done.stderr.strip()}")
    return program


@pytest.mark.parametrize(
    ("rules", "dropped"),
    [*((rules, False) for rules in IPTABLES_PASSING), *((rules, True) for rules in IPTABLES_FAILING)],
)
def test_iptables(scene: Scene, iptables: str, rules: str, dropped: bool) -> None:
    # Without extensions, nft itself knows what the rules of iptables-nft mean; with one, their save is read.
    extended = "\n-A FORWARD -m conntrack --ctstate INVALID -j DROP"
    for further in ("", extended) if iptables == "iptables-nft" else ("",):
        with scene.rules(saved(rules + further), program=iptables):
            try:
                findings = scene.examine("rules")
                assert arrives(scene, expected=not dropped) is not dropped
            finally:
                scene.one.run([f"{iptables}-restore"], input=SAVED.format("").replace("DROP", "ACCEPT"))
        expected = [Severity.PROBLEM] if dropped else []
        assert [finding.severity for finding in bad(findings)] == expected, (rules, further, findings)
        assert dropped or any("let the sync traffic through" in finding.what for finding in findings)


def test_iptables_unknown_extension(scene: Scene, iptables: str) -> None:
    rules = saved("-A INPUT -p udp -m limit --limit 5/s -j ACCEPT")
    with scene.rules(rules, program=iptables):
        try:
            findings = scene.examine("rules")
        finally:
            scene.one.run([f"{iptables}-restore"], input=SAVED.format("").replace("DROP", "ACCEPT"))
    assert bad(findings) == []
    assert any("cannot be told" in finding.what for finding in findings)


def test_vrrp_of_keepalived(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyconntrack.cli.doctor.machine import Machine, RunningProgram

    machine = Machine()
    keepalived = RunningProgram(1, "keepalived", "keepalived")
    monkeypatch.setattr(machine, "processes", lambda: iter([keepalived]))
    monkeypatch.setattr(
        Machine, "read", lambda *_: "vrrp_instance one {\n    interface inside\n    interface nowhere\n}\n"
    )
    monkeypatch.setattr(machine, "capable", lambda _: True)
    with scene.rules(ruleset("udp dport 3780 accept")):
        [finding] = bad(scene.examine("rules", machine=machine))
        assert "VRRP on inside is dropped by the policy" in finding.what
        scene.one.run(finding.advice.split())
        assert bad(scene.examine("rules", machine=machine)) == []
