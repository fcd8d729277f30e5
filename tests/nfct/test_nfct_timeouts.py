# SPDX-License-Identifier: GPL-2.0-or-later
"""TimeoutPolicies against the kernel: what we write it holds, and flows live by it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from pyconntrack import (
    TIMEOUT_STATES,
    ObjectExistsError,
    ObjectInUseError,
    ObjectNotFoundError,
    Protocol,
    TimeoutPolicies,
    TimeoutPolicy,
)
from pyconntrack.model.timeout_policy import GENERIC
from testbed import Namespace
from tests.nfct.tools import OURS, run_tool

INET, INET6 = int(socket.AF_INET), int(socket.AF_INET6)
SHORT = TimeoutPolicy("short", INET, Protocol.UDP, {"UNREPLIED": 700, "REPLIED": 900})


@pytest.fixture
def policies(namespace: Namespace) -> Iterator[TimeoutPolicies]:
    with TimeoutPolicies(namespace.name) as opened:
        yield opened


@pytest.mark.parametrize("protocol", sorted(set(TIMEOUT_STATES) - {Protocol.DCCP}))
@pytest.mark.parametrize("family", [INET, INET6])
def test_every_state_of_every_protocol(policies: TimeoutPolicies, family: int, protocol: int) -> None:
    timeouts = {state: 1000 + number for number, state in enumerate(TIMEOUT_STATES[protocol])}
    policy = TimeoutPolicy("all", family, protocol, timeouts)
    policies.add(policy)
    assert policies.get("all") == policy
    assert list(policies) == [policy]


@pytest.mark.parametrize("state", TIMEOUT_STATES[Protocol.TCP])
def test_the_other_states_have_their_defaults(policies: TimeoutPolicies, state: str) -> None:
    policies.add(TimeoutPolicy("one", INET, Protocol.TCP, {state: 17}))
    defaults = policies.defaults(INET, Protocol.TCP)
    assert policies.get("one").timeouts == {**defaults, state: 17}
    assert list(defaults) == list(TIMEOUT_STATES[Protocol.TCP])


def test_dccp_or_that_there_is_none(policies: TimeoutPolicies) -> None:
    policy = TimeoutPolicy("dccp", INET, Protocol.DCCP, dict.fromkeys(TIMEOUT_STATES[Protocol.DCCP], 5))
    try:
        policies.add(policy)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP
        assert "no timeouts for this protocol" in str(error)
    else:
        assert policies.get("dccp") == policy


def test_order_and_names(policies: TimeoutPolicies) -> None:
    names = ["b", "a", "", "é", "\udcff", "c" * 31]
    for name in names:
        policies.add(SHORT._replace(name=name))
    assert [policy.name for policy in policies] == names
    for name in names:
        policies.delete(name)
    assert list(policies) == []


def test_defaults(policies: TimeoutPolicies) -> None:
    before = policies.defaults(INET, Protocol.UDP)
    policies.set_defaults(INET, Protocol.UDP, {"REPLIED": 77})
    assert policies.defaults(INET, Protocol.UDP) == {**before, "REPLIED": 77}
    assert policies.defaults(INET6, Protocol.UDP) == {**before, "REPLIED": 77}
    policies.set_defaults(INET, GENERIC, {"TIMEOUT": 78})
    assert policies.defaults(INET, GENERIC) == {"TIMEOUT": 78}


def test_what_is_refused(policies: TimeoutPolicies) -> None:
    policies.add(SHORT)
    with pytest.raises(ObjectExistsError, match="a timeout policy of this name exists") as caught:
        policies.add(SHORT)
    assert caught.value.errno == errno.EBUSY
    for refused in (policies.get, policies.delete):
        with pytest.raises(ObjectNotFoundError, match="no such timeout policy"):
            refused("none")
    with pytest.raises(OSError, match="no timeouts given"):
        policies.add(TimeoutPolicy("empty", INET, Protocol.UDP, {}))
    with pytest.raises(OSError, match="another family or protocol"):
        policies.replace(TimeoutPolicy("short", INET6, Protocol.UDP, {"REPLIED": 5}))
    assert list(policies) == [SHORT]


@pytest.mark.parametrize(
    "policy",
    [
        SHORT._replace(name="x" * 32),
        SHORT._replace(name="é" * 16),
        SHORT._replace(name="a\0b"),
        SHORT._replace(timeouts={"ESTABLISHED": 5}),
        SHORT._replace(timeouts={"unreplied": 5}),
        SHORT._replace(timeouts={"REPLIED": -1}),
        SHORT._replace(timeouts={"REPLIED": 1 << 32}),
        SHORT._replace(protocol=50),
    ],
)
def test_what_is_not_even_asked(policies: TimeoutPolicies, policy: TimeoutPolicy) -> None:
    for change in (policies.add, policies.replace):
        with pytest.raises(ValueError, match=r".+"):
            change(policy)
    assert list(policies) == []


def test_flush(policies: TimeoutPolicies) -> None:
    for name in "abc":
        policies.add(SHORT._replace(name=name))
    policies.flush()
    assert list(policies) == []


def send(namespace: Namespace, port: int) -> None:
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", port))


def timeout_of(namespace: Namespace, port: int) -> int:
    """Seconds that the flow to this port has left, by the C tool."""
    (line,) = namespace.run(["conntrack", "-L", "-p", "udp", "--dport", str(port)]).stdout.splitlines()
    return int(line.split()[2])


@pytest.fixture
def ruled(namespace: Namespace) -> Namespace:
    """A namespace where UDP flows have a policy that the command made."""
    words = "add timeout short inet udp unreplied 700 replied 900"
    assert run_tool(OURS, words.split(), namespace).status == 0
    rule = "iptables -t raw -A OUTPUT -p udp -j CT --timeout short"
    namespace.run(rule.split())
    return namespace


def test_flows_live_by_the_policy(ruled: Namespace, policies: TimeoutPolicies) -> None:
    send(ruled, 4001)
    assert 600 < timeout_of(ruled, 4001) <= 700
    policies.replace(SHORT._replace(timeouts={"UNREPLIED": 5000}))
    send(ruled, 4002)
    assert 4000 < timeout_of(ruled, 4002) <= 5000
    assert 600 < timeout_of(ruled, 4001) <= 700


def test_flows_live_by_the_defaults(namespace: Namespace, policies: TimeoutPolicies) -> None:
    # Flows are tracked only where a rule needs them.
    namespace.nft("table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }")
    words = "default-set timeout inet udp unreplied 3000"
    assert run_tool(OURS, words.split(), namespace).status == 0
    send(namespace, 4003)
    assert 2000 < timeout_of(namespace, 4003) <= 3000


def test_a_policy_that_a_rule_uses(ruled: Namespace, policies: TimeoutPolicies) -> None:
    assert policies.get("short") == SHORT._replace(rules=1)
    with pytest.raises(ObjectInUseError, match="the timeout policy is in use"):
        policies.delete("short")
    policies.flush()
    assert [policy.name for policy in policies] == ["short"]
    ruled.run(["iptables", "-t", "raw", "-F"])
    assert policies.get("short").rules == 0
    policies.delete("short")
