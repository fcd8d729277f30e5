# SPDX-License-Identifier: GPL-2.0-or-later
"""What the C daemon takes, ours takes; and the modern forms that ours proposes, the C daemon takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pyconntrack.config import parse

CONNTRACKD = shutil.which("conntrackd", path=os.defpath + ":/usr/sbin:/sbin")

pytestmark = pytest.mark.skipif(CONNTRACKD is None, reason="Debian's conntrackd package is not installed")

FRAME = "General {{ UNIX {{ Path /nonexistent/c.ctl }}\n{general}\n}}\n{rest}\n"
LINK = (
    "Multicast { IPv4_address 225.0.0.50\nGroup 3780\nIPv4_interface 127.0.0.1\nInterface lo\nChecksum yes }"
)
GENERAL = [
    "Systemd ON",
    "HashSize 0",
    "HashLimit 64# comment",
    "LogFile Off",
    "LogFile /var/log/a#b{c}.log",
    "Syslog local7",
    "LockFile /run/c.lock",
    "Nice -5",
    "NetlinkBufferSize 10 NetlinkBufferSizeMaxGrowth 20",
    "SocketBufferSize 10 SocketBufferSizeMaxGrown 20",
    "NetlinkOverrunResync 0",
    "NetlinkOverrunResync No",
    "PollSecs 15 EventIterationLimit 0",
    "Scheduler { Type FIFO Priority 99 }",
    "Scheduler { Type rr }",
    "Filter From Kernelspace { Protocol Accept { tcp UDP IPv6-ICMP } Protocol Accept { VRRP } }",
    "Filter { Address Ignore { IPv4_address 10.1.2.3/8\nIPv6_address ::1 } Address Ignore { } }",
    "Filter { State Accept { ESTABLISHED for TCP\nCLOSED CLOSE LISTEN for TCP } }",
]
SYNC = [
    *(f"Mode {name} {{ }}" for name in ("FTFW", "NOTRACK", "ALARM", "ftfw", "notrack", "nack")),
    "",
    "Mode FTFW { ResendQueueSize 131072 ACKWindowSize 20 DisableExternalCache yes StartupResync on }",
    "Mode NOTRACK { DisableInternalCache On DisableExternalCache OFF PurgeTimeout 0 }",
    "Mode ALARM { RefreshTime 15 CacheTimeout 180 CommitTimeout 180 }",
    "Mode FTFW { } RefreshTime 5 CommitTimeout 5 PurgeTimeout 5",
    "Mode FTFW { } Options { TCPWindowTracking no ExpectationSync { ftp q.931 } }",
]
LINKS = [
    "Multicast Default { IPv6_address ff02::50\nGroup 1\nInterface lo\nIPv6_interface ::1 }",
    "UDP { IPv4_Destination_Address 10.0.0.1\nPort 3780\nInterface lo }",
    "TCP Default { IPv6_address ::1\nIPv6_Destination_Address ::1\nPort 3780\nInterface lo }",
    "TCP { IPv4_Destination_Address 10.0.0.1\nPort 3780\nInterface lo\nErrorQueueLength 10 }",
]
REST = [
    "",
    "Stats { LogFile on Syslog off }\nStats { }",
    *(f"Sync {{ {text} {LINK} }}" for text in SYNC),
    *(f"Sync {{ Mode FTFW {{ }} {link} }}" for link in LINKS),
    "Helper { Type ftp inet tcp { QueueNum 0 Policy ftp { ExpectMax 1 ExpectTimeout 300 } } Setup no }",
]


def refused_by_c(text: str, directory: Path) -> list[str]:
    """The errors of the C daemon about a configuration; as a client it reads it and does not start."""
    assert CONNTRACKD is not None
    config = directory / "c.conf"
    config.write_text(text)
    own = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    command = [*own, CONNTRACKD, "-C", str(config), "-s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    output = done.stdout + done.stderr
    errors = [line for line in output.splitlines() if "[ERROR]" in line]
    # A client that has read the whole file finds no daemon at the socket.
    assert len(errors) >= 1
    return [line for line in errors if "can't connect" not in line]


@pytest.mark.parametrize("general", GENERAL)
def test_general_is_taken_by_both(general: str, tmp_path: Path) -> None:
    text = FRAME.format(general=general, rest="Stats { }")
    assert refused_by_c(text, tmp_path) == []
    parse(text)


@pytest.mark.parametrize("rest", REST)
def test_other_sections_are_taken_by_both(rest: str, tmp_path: Path) -> None:
    text = FRAME.format(general="", rest=rest)
    assert refused_by_c(text, tmp_path) == []
    parse(text)


def test_the_c_daemon_refuses_what_is_no_clause(tmp_path: Path) -> None:
    text = FRAME.format(general="Foo 1", rest="Stats { }")
    assert len(refused_by_c(text, tmp_path)) == 1
