# SPDX-License-Identifier: GPL-2.0-or-later
"""Every clause does what conntrackd.conf(5) says, and old ones do what they did."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from pyconntrack.config import (
    Filter,
    General,
    Helper,
    HelperPolicy,
    HelperType,
    Link,
    Loaded,
    Mode,
    Policy,
    ProtocolFilter,
    Scheduler,
    SchedulerType,
    Settings,
    StateFilter,
    Stats,
    Sync,
    TcpState,
    Transport,
    load,
    missing_interfaces,
    parse,
)

MULTICAST = """
    Multicast {
        IPv4_address 225.0.0.50
        Group 3780
        IPv4_interface 192.168.100.100
        Interface lo
    }
"""
UDP = """
    UDP {
        IPv4_address 172.16.0.1
        IPv4_Destination_Address 172.16.0.2
        Port 3781
        Interface lo
    }
"""


def quiet(text: str) -> Settings:
    """The settings of a text that nothing is remarked upon."""
    loaded = parse(text)
    assert loaded.warnings == []
    return loaded.settings


def general(text: str) -> General:
    return quiet(f"General {{\n{text}\n}}\nStats {{ }}").general


def sync_of(loaded: Loaded | Settings) -> Sync:
    settings = loaded.settings if isinstance(loaded, Loaded) else loaded
    assert settings.sync is not None
    return settings.sync


def sync(text: str, mode: str = "Mode FTFW { }", link: str = MULTICAST) -> Sync:
    return sync_of(quiet(f"Sync {{\n{mode}\n{link}\n{text}\n}}"))


def link(text: str) -> Link:
    (only,) = sync("", link=text).links
    return only


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("Systemd no", "systemd", False),
        ("Systemd ON", "systemd", True),
        ("HashSize 32768", "hash_size", 32768),
        ("HashLimit 131072", "hash_limit", 131072),
        ("HashLimit\n131072", "hash_limit", 131072),
        ("HashLimit 131072# twice the table", "hash_limit", 131072),
        ("LogFile yes", "log_file", Path("/var/log/conntrackd.log")),
        ("LogFile Off", "log_file", None),
        ("LogFile /var/log/a#b.log", "log_file", Path("/var/log/a#b.log")),
        ('LogFile "/var/log/a b.log"', "log_file", Path("/var/log/a b.log")),
        ("Syslog on", "syslog", "daemon"),
        ("Syslog no", "syslog", None),
        ("Syslog local7", "syslog", "local7"),
        ("LockFile /run/c.lock", "lock_file", Path("/run/c.lock")),
        ("Lockfile /run/c.lock", "lock_file", Path("/run/c.lock")),
        ("NetlinkBufferSize 2097152", "netlink_buffer_size", 2097152),
        ("NetlinkBufferSizeMaxGrowth 8388608", "netlink_buffer_size_max_growth", 8388608),
        ("NetlinkOverrunResync yes", "netlink_overrun_resync", 1),
        ("NetlinkOverrunResync off", "netlink_overrun_resync", None),
        ("NetlinkOverrunResync 5", "netlink_overrun_resync", 5),
        ("NetlinkEventsReliable yes", "netlink_events_reliable", True),
        ("PollSecs 15", "poll_seconds", 15),
        ("EventIterationLimit 200", "event_iteration_limit", 200),
        ("UNIX { Path /run/c.ctl }", "unix_path", Path("/run/c.ctl")),
        ("UNIX { Path /" + "a" * 106 + " }", "unix_path", Path("/" + "a" * 106)),
        ("Scheduler { Type FIFO\nPriority 7 }", "scheduler", Scheduler(SchedulerType.FIFO, 7)),
        ("Scheduler { Type rr Priority 0 }", "scheduler", Scheduler(SchedulerType.RR, 0)),
        ("Scheduler { }", "scheduler", Scheduler(SchedulerType.RR, 99)),
        ("Filter { }", "filter", Filter()),
        ("Filter From Userspace { }", "filter", Filter()),
        ("Filter From Kernelspace { }", "filter", Filter(kernelspace=True)),
    ],
)
def test_clauses_of_general(text: str, field: str, value: Any) -> None:
    assert getattr(general(text), field) == value


def test_defaults() -> None:
    settings = quiet("General { }\nStats { }")
    assert settings == Settings(General(), stats=Stats())
    assert settings.general.lock_file == Path("/var/lock/conntrack.lock")
    assert settings.general.netlink_overrun_resync == 1
    assert settings.general.event_iteration_limit == 1000
    defaults = sync("")
    assert (defaults.resend_queue_size, defaults.ack_window_size, defaults.purge_timeout) == (131072, 300, 60)
    assert defaults.commit_timeout is None
    alarm = sync("", mode="Mode ALARM { }")
    assert (alarm.refresh_time, alarm.cache_timeout) == (60, 180)


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        (
            "Mode FTFW { ResendQueueSize 1000 CommitTimeout 180 PurgeTimeout 5 ACKWindowSize 20"
            " StartupResync yes }",
            {
                "mode": Mode.FTFW,
                "resend_queue_size": 1000,
                "commit_timeout": 180,
                "purge_timeout": 5,
                "ack_window_size": 20,
                "startup_resync": True,
            },
        ),
        ("Mode FTFW { DisableExternalCache yes }", {"disable_external_cache": True}),
        (
            "Mode NOTRACK { DisableInternalCache yes DisableExternalCache on }",
            {"mode": Mode.NOTRACK, "disable_internal_cache": True, "disable_external_cache": True},
        ),
        ("Mode notrack { StartupResync yes }", {"mode": Mode.NOTRACK, "startup_resync": True}),
        (
            "Mode ALARM { RefreshTime 15 CacheTimeout 180 CommitTimeout 9 PurgeTimeout 8 }",
            {
                "mode": Mode.ALARM,
                "refresh_time": 15,
                "cache_timeout": 180,
                "commit_timeout": 9,
                "purge_timeout": 8,
            },
        ),
    ],
)
def test_modes(mode: str, fields: dict[str, Any]) -> None:
    read = sync("", mode=mode)
    assert {name: getattr(read, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("Options { }", {"tcp_window_tracking": False, "expectation_sync": False}),
        (
            "Options { TCPWindowTracking on ExpectationSync on }",
            {"tcp_window_tracking": True, "expectation_sync": True},
        ),
        ("Options { ExpectationSync no }", {"expectation_sync": False}),
        (
            "Options { ExpectationSync { ftp\nras q.931 h.245 } TCPWindowTracking yes }",
            {"expectation_sync": frozenset({"ftp", "ras", "q.931", "h.245"}), "tcp_window_tracking": True},
        ),
    ],
)
def test_options(text: str, fields: dict[str, Any]) -> None:
    read = sync(text)
    assert {name: getattr(read, name) for name in fields} == fields


def test_links_of_multicast() -> None:
    text = MULTICAST + MULTICAST.replace("Multicast", "Multicast Default").replace("3780", "3781").replace(
        "Interface lo", "Interface eth3 SndSocketBuffer 5000 RcvSocketBuffer 6000 Checksum off"
    )
    group, own = IPv4Address("225.0.0.50"), IPv4Address("192.168.100.100")
    first = Link(Transport.MULTICAST, group, 3780, "lo", interface_address=own)
    second = Link(
        Transport.MULTICAST,
        group,
        3781,
        "eth3",
        interface_address=own,
        send_buffer=5000,
        receive_buffer=6000,
        checksum=False,
        default=True,
    )
    assert sync("", link=text).links == (first, second)


def test_the_first_link_is_the_default_where_none_is() -> None:
    text = MULTICAST + MULTICAST.replace("3780", "3781")
    assert [one.default for one in sync("", link=text).links] == [True, False]


def test_link_of_ipv6_multicast() -> None:
    read = link("Multicast { IPv6_address ff02::50\nGroup 3780\nInterface lo }")
    assert read == Link(Transport.MULTICAST, IPv6Address("ff02::50"), 3780, "lo", default=True)
    assert read.family == 6


@pytest.mark.parametrize("kind", ["UDP", "TCP"])
def test_links_of_unicast(kind: str) -> None:
    assert link(UDP.replace("UDP", kind)) == Link(
        Transport[kind],
        IPv4Address("172.16.0.1"),
        3781,
        "lo",
        peer=IPv4Address("172.16.0.2"),
        default=True,
    )


@pytest.mark.parametrize("clause", ["IPv6_Destination_Address", "IPv6_Destionation_Address"])
def test_link_of_ipv6_unicast(clause: str) -> None:
    read = link(f"TCP Default {{ IPv6_address fe80::1 {clause} fe80::2 Port 3780 Interface lo }}")
    assert (read.address, read.peer, read.default) == (IPv6Address("fe80::1"), IPv6Address("fe80::2"), True)


def test_the_scope_of_an_address_names_the_interface() -> None:
    read = link("UDP { IPv6_address fe80::1%eth9 IPv6_Destination_Address fe80::2%eth9 Port 3780 }")
    assert (read.address, read.interface) == (IPv6Address("fe80::1"), "eth9")


def test_filter_lists() -> None:
    read = general("""
        Filter From Userspace {
            Protocol Accept { TCP udp IPv6-ICMP UDP-Lite 47 SCTP DCCP }
            Address Ignore {
                IPv4_address 127.0.0.1 # loopback
                IPv4_address 10.1.2.3/8
                IPv6_address ::1
                IPv6_address fe80::/10
            }
            State Accept {
                ESTABLISHED CLOSED for TCP
                TIME_WAIT CLOSE_WAIT LISTEN for TCP
            }
        }
    """).filter
    assert read.protocol is not None
    assert read.protocol.policy is Policy.ACCEPT
    assert read.protocol.numbers == {6, 17, 58, 136, 47, 132, 33}
    assert read.address is not None
    assert read.address.policy is Policy.IGNORE
    assert read.address.networks == tuple(
        map(ip_network, ("127.0.0.1/32", "10.0.0.0/8", "::1/128", "fe80::/10"))
    )
    assert read.state is not None
    assert read.state.policy is Policy.ACCEPT
    assert read.state.tcp_states == {3, 8, 7, 5, 9}


def test_lists_of_the_same_policy_are_taken_together() -> None:
    read = general("Filter { Protocol Ignore { UDP } Protocol Ignore { ICMP } }").filter
    assert read.protocol == ProtocolFilter(Policy.IGNORE, frozenset({17, 1}))


def test_stats() -> None:
    settings = quiet("Stats { LogFile /var/log/s.log Syslog local1 NetlinkEventsReliable yes }")
    assert settings.stats == Stats(Path("/var/log/s.log"), "local1")
    assert settings.general.netlink_events_reliable is True
    assert settings.general.log_file is None
    assert quiet("Stats { LogFile yes }").stats == Stats(Path("/var/log/conntrackd-stats.log"))


def test_helpers() -> None:
    settings = quiet("""
        Helper {
            Type ftp inet tcp { QueueNum 0 QueueLen 10240 Policy ftp { ExpectMax 1 ExpectTimeout 300 } }
            Type dhcpv6 inet6 udp { QueueNum 4 }
            Setup no
        }
    """)
    assert settings.helper == Helper(
        (
            HelperType("ftp", 4, 6, 0, 10240, (HelperPolicy("ftp", 1, 300),)),
            HelperType("dhcpv6", 6, 17, 4, 1024, ()),
        ),
        setup=False,
    )


def test_a_configuration_may_come_with_crlf_and_a_byte_order_mark_or_in_one_line(tmp_path: Path) -> None:
    text = (
        f"General {{\nHashSize 64\nUNIX {{\nPath /run/c.ctl\n}}\n}}\nSync {{\nMode NOTRACK {{ }}\n{UDP}\n}}\n"
    )
    plain = quiet(text)
    assert quiet(text.replace("\n", "\r\n")) == plain
    assert quiet(" ".join(text.split())) == plain
    assert quiet(text.replace("{", "\n{\n").replace("}", "\n}\n")) == plain
    path = tmp_path / "c.conf"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load(path).settings == plain


def old(text: str) -> tuple[Settings, list[str]]:
    loaded = parse(text)
    return loaded.settings, [str(problem) for problem in loaded.warnings]


@pytest.mark.parametrize(
    ("clause", "field", "value", "modern"),
    [
        ("SocketBufferSize 7000", "netlink_buffer_size", 7000, '"NetlinkBufferSize 7000"'),
        ("SocketBufferSizeMaxGrown 7", "netlink_buffer_size_max_growth", 7, '"NetlinkBufferSizeMaxGrowth 7"'),
        (
            "SocketBufferSizeMaxGrowth 7",
            "netlink_buffer_size_max_growth",
            7,
            '"NetlinkBufferSizeMaxGrowth 7"',
        ),
        ("Nice -5", "nice", -5, '"Scheduler { Type RR Priority 99 }"'),
        ("Nice +5", "nice", 5, '"Scheduler { Type RR Priority 99 }"'),
        ("Family IPv4", "filter", Filter(), "remove it"),
    ],
)
def test_old_clauses_of_general(clause: str, field: str, value: Any, modern: str) -> None:
    settings, warnings = old(f"General {{\n  {clause}\n}}\nStats {{ }}")
    assert getattr(settings.general, field) == value
    (warning,) = warnings
    assert warning.startswith(f'conntrackd.conf:2:3: old clause "{clause.split()[0]}"; ')
    assert modern in warning


@pytest.mark.parametrize(
    ("clause", "mode", "fields", "modern"),
    [
        (
            "CacheWriteThrough On",
            "FTFW",
            {"disable_external_cache": True},
            '"DisableExternalCache yes (within Mode)"',
        ),
        (
            "CacheWriteThrough On",
            "ALARM",
            {"disable_external_cache": True},
            '"DisableExternalCache yes (within Mode)"',
        ),
        ("CacheWriteThrough off", "NOTRACK", {"disable_external_cache": False}, '"DisableExternalCache no'),
        ("RefreshTime 20", "ALARM", {"refresh_time": 20}, '"RefreshTime 20 (within Mode)"'),
        ("CacheTimeout 99", "ALARM", {"cache_timeout": 99}, '"CacheTimeout 99 (within Mode)"'),
        ("CommitTimeout 99", "FTFW", {"commit_timeout": 99}, '"CommitTimeout 99 (within Mode)"'),
        ("PurgeTimeout 99", "NOTRACK", {"purge_timeout": 99}, '"PurgeTimeout 99 (within Mode)"'),
    ],
)
def test_old_clauses_of_sync(clause: str, mode: str, fields: dict[str, Any], modern: str) -> None:
    settings, warnings = old(f"Sync {{\n  {clause}\n  Mode {mode} {{ }}\n{MULTICAST}\n}}")
    read = sync_of(settings)
    assert {name: getattr(read, name) for name in fields} == fields
    (warning,) = warnings
    assert warning.startswith(f'conntrackd.conf:2:3: old clause "{clause.split()[0]}"; the modern form is ')
    assert modern in warning


def test_what_stands_in_the_mode_goes_before_what_stands_beside_it() -> None:
    settings, _ = old(f"Sync {{ Mode FTFW {{ CommitTimeout 5 }} CommitTimeout 6 {MULTICAST} }}")
    assert sync_of(settings).commit_timeout == 5


@pytest.mark.parametrize(("size", "objects"), [(262144, 131072), (84 * 200_000, 200_000)])
def test_the_resend_buffer_of_old_in_bytes(size: int, objects: int) -> None:
    settings, (warning,) = old(f"Sync {{ Mode FTFW {{ ResendBufferSize {size} }} {MULTICAST} }}")
    assert sync_of(settings).resend_queue_size == objects
    assert f'"ResendQueueSize {objects}"' in warning


@pytest.mark.parametrize(
    ("name", "mode"), [("nack", Mode.FTFW), ("persistent", Mode.ALARM), ("PERSISTENT", Mode.ALARM)]
)
def test_old_names_of_modes(name: str, mode: Mode) -> None:
    settings, (warning,) = old(f"Sync {{ Mode {name} {{ PurgeTimeout 5 }} {MULTICAST} }}")
    assert sync_of(settings).mode is mode
    assert sync_of(settings).purge_timeout == 5
    assert f'old mode "{name}"; the modern form is "Mode {mode.value}"' in warning


def test_an_old_checksum_counts_for_links_without_one() -> None:
    second = MULTICAST.replace("3780", "3781\nChecksum on")
    settings, warnings = old(f"Sync {{ Mode FTFW {{ }} {MULTICAST} {second}\nChecksum off }}")
    assert [one.checksum for one in sync_of(settings).links] == [False, True]
    assert '"Checksum no (within Multicast, UDP or TCP)"' in warnings[0]


def test_old_clauses_of_links() -> None:
    text = MULTICAST.replace("Group", "McastSndSocketBuffer 5 McastRcvSocketBuffer 6 Backlog 7\nGroup")
    settings, warnings = old(f"Sync {{ Mode FTFW {{ }} {text} }}")
    (read,) = sync_of(settings).links
    assert (read.send_buffer, read.receive_buffer) == (5, 6)
    assert [warning.split('"')[1] for warning in warnings] == [
        "McastSndSocketBuffer",
        "McastRcvSocketBuffer",
        "Backlog",
    ]


def test_old_filters_join_todays() -> None:
    settings, warnings = old(f"""
        Sync {{ Mode FTFW {{ }} {MULTICAST} Replicate ESTABLISHED TIME_WAIT for TCP }}
        General {{ Filter {{ Address Ignore {{ IPv4_address 10.0.0.1 }} }} }}
        IgnoreTrafficFor {{ IPv4_address 10.0.0.2 IPv6_address ::1 }}
        IgnoreProtocol {{ UDP 47 VRRP }}
    """)
    read = settings.general.filter
    assert read.address is not None
    assert read.address.networks == tuple(map(ip_network, ("10.0.0.1", "10.0.0.2", "::1")))
    assert read.protocol == ProtocolFilter(Policy.IGNORE, frozenset({17, 47, 112}))
    states = frozenset({TcpState.ESTABLISHED, TcpState.TIME_WAIT})
    assert read.state == StateFilter(Policy.ACCEPT, states)
    assert [warning.split('"')[1] for warning in warnings] == [
        "Replicate",
        "IgnoreTrafficFor",
        "IgnoreProtocol",
    ]


@pytest.mark.parametrize(
    ("text", "places", "fragment"),
    [
        (
            "General {\n HashSize 5\n HashSize 6\n}\nStats { }",
            [(3, 2)],
            'clause "HashSize" repeats that of line 2',
        ),
        ("General { HashLimit 9 HashSize 9 }\nGeneral { PollSecs 3 }\nStats { }", [(2, 1)], "taken together"),
        ("General { }", [(0, 0)], 'taken as "Stats { }"'),
        ("Stats { Syslog local1 }\nGeneral { Syslog local2 }", [(1, 1)], 'syslog facility "local1" differs'),
        (f"Sync {{\n{MULTICAST}\n}}", [(1, 1)], 'taken as "Mode FTFW { }"'),
        (f"Sync {{ Mode FTFW {{\nPurgeTimeout 0 }}\n{MULTICAST}\n}}", [(2, 14)], "stands for the default"),
        (
            f"Sync {{ Mode FTFW {{\nDisableExternalCache yes\nCommitTimeout 5 }}\n{MULTICAST}\n}}",
            [(3, 1)],
            '"CommitTimeout" has no effect',
        ),
        (
            f"Sync {{ Mode ALARM {{\nRefreshTime 30\nCacheTimeout 30 }}\n{MULTICAST}\n}}",
            [(3, 1)],
            "entries expire before they are sent again; set CacheTimeout to 90",
        ),
        (
            f"Sync {{ Mode FTFW {{ }}\n{MULTICAST}\n{MULTICAST} }}",
            [(11, 5)],
            "same address, port and interface as the link of line 3",
        ),
        (
            "Sync { Mode FTFW { }\nUDP { IPv4_Destination_Address 10.0.0.2 Port 5 Interface lo } }",
            [(2, 1)],
            "listens on all of its addresses",
        ),
        (
            "General {\n NetlinkBufferSize 10\n NetlinkBufferSizeMaxGrowth 5\n}\nStats { }",
            [(3, 2)],
            "the buffer will not grow",
        ),
        ("General {\n HashSize 10\n HashLimit 5\n}\nStats { }", [(3, 2)], "did you exchange the two?"),
        (
            "Helper { Type ftp inet tcp { QueueNum 3 } Type tftp inet udp {\nQueueNum 3 } }",
            [(2, 1)],
            "queue 3 is that of the helper in line 1; give each its own",
        ),
        (
            "Sync { Mode FTFW { } TCP { IPv4_address 10.0.0.1\nIPv4_Destination_Address 10.0.0.2\n"
            "Port 3780 Interface lo\n"
            "Checksum off } }",
            [(4, 1)],
            '"Checksum" has no effect here: TCP always has checksums',
        ),
        ("Helper {\nType ftp inet tcp { } }", [(2, 1)], 'no "QueueNum" for helper "ftp"; taken as queue 0'),
        (
            "General {\n Filter {\n Protocol Accept { }\n}\n}\nStats { }",
            [(3, 2)],
            "is empty and has no effect",
        ),
        (
            "General {\n Filter { Address Ignore {\n IPv4_address 1.1.1.1\n IPv4_address 1.1.1.1 } } }"
            "\nStats { }",
            [(4, 2)],
            'repeated in "Address Ignore"',
        ),
    ],
)
def test_remarks_on_what_works_but_is_odd(text: str, places: list[tuple[int, int]], fragment: str) -> None:
    loaded = parse(text)
    assert [(problem.line, problem.column) for problem in loaded.warnings] == places
    assert fragment in loaded.warnings[0].message


def test_of_repeated_clauses_the_last_counts() -> None:
    assert parse("General { HashSize 5 }\nGeneral { HashSize 6 }\nStats { }").settings.general.hash_size == 6
    assert (
        parse("General { HashSize 5 HashSize 0 }\nStats { }").settings.general.hash_size
        == General().hash_size
    )


def test_missing_interfaces_are_told_with_their_place() -> None:
    text = f"Sync {{\nMode FTFW {{ }}\n{UDP}\n{UDP.replace('3781', '3782').replace('lo', 'no-such-if0')}\n}}"
    (problem,) = missing_interfaces(quiet(text))
    assert str(problem) == 'conntrackd.conf:16:9: no such interface: "no-such-if0"'
    assert missing_interfaces(quiet("Stats { }")) == []
