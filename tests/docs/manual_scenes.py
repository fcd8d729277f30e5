# SPDX-License-Identifier: GPL-2.0-or-later
"""The machines on which the pages of the manual are carried out."""

from __future__ import annotations

import re
from collections.abc import Callable

from testbed import Interface, Testbed, bridge, veth
from testbed.namespace import Namespace
from tests.docs.manual import read_page
from tests.docs.manual_host import Host

Scene = dict[str, Host]
"""The machines by the names that stand in prompts. The first one is that of a prompt without a name."""

PREPARES = re.compile(r"cat >/etc/|nft -f|sysctl|install .*/etc/conntrackd|echo CONNTRACKD_BIN")


def machine(bed: Testbed) -> Scene:
    """One machine that is joined to nothing."""
    return {"host": Host(as_delivered(bed.namespace("host")))}


def as_delivered(space: Namespace) -> Namespace:
    """With the kernel's default: a page whose commands need another one says so itself."""
    space.sysctl("net.netfilter.nf_conntrack_events", 2)
    return space


def nodes(bed: Testbed, count: int) -> Scene:
    """Firewalls with a leg inside (eth0), one outside (eth1), and the dedicated link (eth2); client, server.

    Node 1 has 10.0.1.11, 192.0.2.11 and 172.31.0.1; a pair has a second link, eth3, with 172.31.1.1.
    """
    hub = bed.namespace("hub")
    switches = {name: bridge(hub, name) for name in ("inside", "outside", "link")}
    spaces = [as_delivered(bed.namespace(f"fw{number}")) for number in range(1, count + 1)]
    for number, space in enumerate(spaces, start=1):
        _join(switches["inside"], space, "eth0", f"10.0.1.{10 + number}/24")
        _join(switches["outside"], space, "eth1", f"192.0.2.{10 + number}/24")
        _join(switches["link"], space, "eth2", f"172.31.0.{number}/24")
        space.sysctl("net.ipv4.ip_forward", 1)
    if count == 2:
        veth(
            *(spaces[0], "eth3", spaces[1], "eth3"),
            first_addresses=["172.31.1.1/24"],
            second_addresses=["172.31.1.2/24"],
        )
    ends = [bed.namespace("client"), bed.namespace("server")]
    _join(switches["inside"], ends[0], "eth0", "10.0.1.10/24")
    _join(switches["outside"], ends[1], "eth0", "192.0.2.10/24")
    ends[0].ip("route", "add", "default", "via", "10.0.1.1")
    return {space.label: Host(space) for space in (*spaces, *ends)}


def _join(switch: Interface, space: Namespace, name: str, address: str) -> None:
    port = f"{switch.name[:7]}-{space.label}"
    near, far = veth(space, name, switch.namespace, port, first_addresses=[address])
    switch.namespace.ip("link", "set", "dev", far.name, "master", switch.name)
    assert near.name == name


def prepared(bed: Testbed, count: int) -> Scene:
    """The same; on each firewall the commands of two pages were given: ruleset, settings, scripts."""
    scene = nodes(bed, count)
    commands = [
        command.text
        for name in ("requirements", "installation")
        for step in read_page(name).steps
        if step.kind == "console" and step.remark != "not run"
        for command in step.commands()
        if PREPARES.match(command.text)
    ]
    for host in list(scene.values())[:count]:
        for text in commands:
            status, said = host.run(text)
            assert status == 0, f"{text}\n{said}"
    return scene


def linked(bed: Testbed) -> Scene:
    """Two firewalls of which each has conntrackd running by the first configuration of modes.md."""
    scene = nodes(bed, 2)
    step = next(step for step in read_page("modes").steps if step.remark == "file")
    *hosts, path = step.words.split()
    for name in hosts:
        text = step.text
        if name == "fw2":
            text = (
                text.replace("31.0.1 ", "31.0.x ").replace("31.0.2 ", "31.0.1 ").replace("31.0.x ", "31.0.2 ")
            )
        scene[name].write(path, text)
        status, said = scene[name].run("conntrackd -d")
        assert status == 0, said
    return scene


SCENES: dict[str, Callable[[Testbed], Scene]] = {
    "machine": machine,
    "pair": lambda bed: nodes(bed, 2),
    "link": linked,
    "firewalls": lambda bed: prepared(bed, 2),
    "three": lambda bed: nodes(bed, 3),
}
