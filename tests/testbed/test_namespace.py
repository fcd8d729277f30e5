# SPDX-License-Identifier: GPL-2.0-or-later
"""A namespace: commands, sockets, settings and rulesets inside it."""

from __future__ import annotations

import socket
import threading

import pytest

from testbed import CommandFailedError, SysctlMissingError, Testbed, run_command


def test_names_differ(bed: Testbed) -> None:
    assert bed.namespace("same").name != bed.namespace("same").name


def test_commands_run_inside(bed: Testbed) -> None:
    listed = bed.namespace("one").run(["ip", "-brief", "link"]).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["lo"]


def test_a_failed_command_says_why(bed: Testbed) -> None:
    with pytest.raises(CommandFailedError, match=r'exit status 1.*"nowhere"'):
        bed.namespace("one").ip("link", "set", "nowhere", "up")


def test_a_socket_made_inside_stays_inside(bed: Testbed) -> None:
    one = bed.namespace("one")
    with one.entered():
        listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        port = listener.getsockname()[1]
        with one.entered():
            socket.create_connection(("127.0.0.1", port)).close()
        # Refused, or unreachable where the loopback device outside is down.
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection(("127.0.0.1", port))


def test_only_the_calling_thread_enters(bed: Testbed) -> None:
    one = bed.namespace("one")
    interfaces: list[list[tuple[int, str]]] = []
    ready, entered = threading.Event(), threading.Event()

    def look() -> None:
        ready.set()
        entered.wait(10)
        interfaces.append(socket.if_nameindex())

    before = socket.if_nameindex()
    one.ip("link", "add", "extra", "type", "bridge")
    thread = threading.Thread(target=look)
    thread.start()
    ready.wait(10)
    with one.entered():
        assert "extra" in [name for _, name in socket.if_nameindex()]
        entered.set()
        thread.join(10)
    assert interfaces == [before]
    assert socket.if_nameindex() == before


def test_sysctl(bed: Testbed) -> None:
    one, two = bed.namespace("one"), bed.namespace("two")
    one.sysctl("net.ipv4.ip_forward", 1)
    assert (one.read_sysctl("net.ipv4.ip_forward"), two.read_sysctl("net.ipv4.ip_forward")) == ("1", "0")


def test_a_missing_sysctl_is_named(bed: Testbed) -> None:
    with pytest.raises(SysctlMissingError, match=r"net\.netfilter\.nothing: cannot be set in one"):
        bed.namespace("one").sysctl("net.netfilter.nothing", 1)


def test_a_wrong_ruleset_is_refused_as_a_whole(bed: Testbed) -> None:
    one = bed.namespace("one")
    with pytest.raises(CommandFailedError, match="syntax error"):
        one.nft("table inet good { }\ntable inet bad { chain }")
    assert one.run(["nft", "list", "tables"]).stdout == ""


def test_a_command_without_input_sees_its_end() -> None:
    assert run_command(["cat"]).stdout == ""
