# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken configurations: each mistake is told with its place, what was found, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyconntrack.config import ConfigError, load, parse

GENERAL = "General {{\n  HashSize 64\n  {clause}\n}}\nStats {{ }}\n"
MULTICAST = """Sync {{
  Mode FTFW {{ }}
  Multicast {{
    IPv4_address 225.0.0.50
    Group 3780
    IPv4_interface 10.0.0.1
    Interface lo
    {clause}
  }}
}}
"""
UDP = """Sync {{
  Mode FTFW {{ }}
  UDP {{
    IPv4_address 10.0.0.1
    IPv4_Destination_Address 10.0.0.2
    Port 3780
    Interface lo
    {clause}
  }}
}}
"""
SYNC = """Sync {{
  {clause}
  Multicast {{
    IPv4_address 225.0.0.50
    Group 3780
    IPv4_interface 10.0.0.1
    Interface lo
  }}
}}
"""
LINK = """Multicast{default} {{ IPv4_address 225.0.0.5{n}
Group 378{n}
IPv4_interface 10.0.0.1
Interface lo }}
"""


def problems(text: str) -> list[str]:
    """The mistakes of a text, without the name of the file."""
    with pytest.raises(ConfigError) as raised:
        parse(text, "c")
    assert str(raised.value).splitlines() == [str(problem) for problem in raised.value.problems]
    return [str(problem).removeprefix("c:") for problem in raised.value.problems]


# Line and column of the clause under test are those of {clause} in the frame: 3:3, 8:5, 8:5 and 2:3.
IN_GENERAL = [
    (
        "Chekcsum on",
        "3:3",
        'unknown clause "Chekcsum" in section General; did you mean "Checksum" of section',
    ),
    ("HashSizes 5", "3:3", 'unknown clause "HashSizes" in section General; did you mean "HashSize"?'),
    ("hashlimit 5", "3:3", 'did you mean "HashLimit"? Upper and lower case differ here'),
    ("Foo 5", "3:3", 'unknown clause "Foo" in section General; expected one of Systemd, HashSize, HashLimit'),
    ("Foo { Bar { Baz 5 } }", "3:3", 'unknown clause "Foo" in section General'),
    ("HashLimit", "4:1", 'expected a number of entries from 1 to 2147483647, found "}" (clause "HashLimit")'),
    ("HashLimit abc", "3:13", 'expected a number of entries from 1 to 2147483647, found "abc"'),
    ("HashLimit 0", "3:13", 'found "0" (clause "HashLimit")'),
    ("HashLimit 99999999999", "3:13", 'found "99999999999" (clause "HashLimit")'),
    ("HashLimit 0x10", "3:13", 'found "0x10"'),
    ("HashLimit 5 6", "3:15", 'unexpected "6" after "HashLimit"; expected another clause or "}"'),
    ("HashLimit 5;", "3:13", 'found "5;"; nothing closes a clause, remove the ";"'),
    ("HashLimit = 5", "3:13", 'unexpected "="; a value follows its clause without it'),
    ("HashLimit { 5 }", "3:13", 'expected a number of entries from 1 to 2147483647, found "{"'),
    ("HashLimit\nPollSecs 5", "4:1", 'expected a number of entries from 1 to 2147483647, found "PollSecs"'),
    ('"HashLimit" 5', "3:3", 'unexpected "HashLimit"; a clause stands without quotes'),
    ("// HashLimit", "3:3", 'unexpected "//"; a comment begins with #'),
    ("; HashLimit", "3:3", 'unexpected ";"; clauses are not closed by anything'),
    ("{ HashLimit 5 }", "3:3", 'unexpected "{"; expected a clause in section General before it'),
    ("Mode FTFW { }", "3:3", 'clause "Mode" cannot stand in section General; it belongs to section "Sync"'),
    ("Path /run/c.ctl", "3:3", 'clause "Path" cannot stand in section General; it belongs to section "UNIX"'),
    ("Systemd true", "3:11", 'expected "yes" or "no", found "true" (clause "Systemd")'),
    ("LogFile conntrackd.log", "3:11", 'expected "yes", "no" or an absolute path, found "conntrackd.log"'),
    ('LogFile "/var/log/c.log', "3:11", "the quote is not closed"),
    ("Syslog local9", "3:10", 'expected "yes", "no" or a syslog facility|found "local9"'),
    ("LockFile run/c.lock", "3:12", 'expected an absolute path, found "run/c.lock"; begin it with a slash'),
    ("UNIX { Path c.ctl }", "3:15", 'expected an absolute path, found "c.ctl"'),
    ("UNIX { Path /" + "a" * 107 + " }", "3:15", "expected a path of at most 107 bytes, found one of 108"),
    ("UNIX Path /c.ctl", "3:8", 'unexpected "Path" after "UNIX"; expected "{"'),
    ("UNIX", "4:1", 'expected "{" after "UNIX", found "}"'),
    ("NetlinkBufferSize -1", "3:21", 'expected a number of bytes from 1 to 2147483647, found "-1"'),
    ("NetlinkOverrunResync maybe", "3:24", 'expected "yes", "no" or a number of seconds from 0 to'),
    ("PollSecs 0", "3:12", 'expected a number of seconds from 1 to 2147483647, found "0"'),
    ("Nice 20", "3:8", 'expected a number from -20 to 19, found "20"'),
    ("Scheduler { Type OTHER }", "3:20", 'expected "RR" or "FIFO", found "OTHER"'),
    ("Scheduler { Priority 100 }", "3:24", 'expected a number from 0 to 99, found "100"'),
    ("LockFile /run/c\nLogFile /run/c", "4:1", '"LogFile" names the same file as "LockFile", /run/c'),
    ("Filter from Userspace { }", "3:10", 'expected "From", found "from"; did you mean "From"?'),
    (
        "Filter From Kernel { }",
        "3:15",
        'expected "Userspace" or "Kernelspace", found "Kernel"; did you mean "Kernelspace"',
    ),
    ("Filter From { }", "3:15", 'expected "Userspace" or "Kernelspace", found "{"'),
    ("Filter { Protocol { TCP } }", "3:21", 'expected "Accept" or "Ignore", found "{" (clause "Protocol")'),
    ("Filter { Protocol accept { TCP } }", "3:21", 'found "accept"; did you mean "Accept"?'),
    ("Filter { Protocol Accept TCP }", "3:28", 'unexpected "TCP" after "Protocol"; expected "{"'),
    ("Filter { Protocol Accept { TPC } }", "3:30", 'found "TPC"; did you mean "TCP"? (section Protocol)'),
    (
        "Filter { Protocol Accept { 256 } }",
        "3:30",
        'expected a protocol (a name of /etc/protocols or a number from 0 to 255), found "256"',
    ),
    (
        "Filter { Address Ignore { IPv4_address 1.2.3.400 } }",
        "3:42",
        'expected an IPv4 address or network, found "1.2.3.400"',
    ),
    (
        "Filter { Address Ignore { IPv4_address 1.2.3.4/33 } }",
        "3:42",
        'expected a prefix length from 0 to 32, found "1.2.3.4/33"',
    ),
    ("Filter { Address Ignore { IPv4_address ::1 } }", "3:42", 'found "::1"; use the clause for IPv6'),
    ("Filter { Address Ignore { IPv6_address fe80::1%lo } }", "3:42", "an address in a filter has no scope"),
    (
        "Filter { Address Ignore { 10.0.0.1 } }",
        "3:29",
        'unknown clause "10.0.0.1" in section Address; expected one of IPv4_address, IPv6_address',
    ),
    ("Filter { State Accept { ESTABLISHED } }", "3:39", 'expected "for TCP" after the states, found "}"'),
    ("Filter { State Accept { ESTABLISHED for UDP } }", "3:43", 'expected "TCP" after "for", found "UDP"'),
    (
        "Filter { State Accept { ESTABLISHD for TCP } }",
        "3:27",
        'expected a TCP state (SYN_SENT|found "ESTABLISHD"; did you mean "ESTABLISHED"?',
    ),
    (
        "Filter { Protocol Accept { TCP } Protocol Ignore { UDP } }",
        "3:36",
        '"Protocol Ignore" contradicts "Protocol Accept" of line 3',
    ),
]
IN_MULTICAST = [
    ("Chekcsum on", "8:5", 'unknown clause "Chekcsum" in section Multicast; did you mean "Checksum"?'),
    ("Checksum maybe", "8:14", 'expected "yes" or "no", found "maybe" (clause "Checksum")'),
    (
        "Port 3780",
        "8:5",
        'clause "Port" cannot stand in section Multicast; it belongs to section "UDP" or "TCP"',
    ),
    ("Group 65536", "8:11", 'expected a number from 1 to 65535, found "65536" (clause "Group")'),
    ("IPv4_address 10.0.0.50", "8:5", "10.0.0.50 is not a multicast address; choose one of 224.0.0.0/4"),
    ("IPv6_address ff02::1", "8:5", '"IPv6_address" beside "IPv4_address" of line 4; a link has one family'),
    ("IPv4_interface 225.0.0.1", "8:5", "225.0.0.1 is not an address of an interface"),
    ("Interface much-too-long-a-name", "8:15", "expected the name of a network interface (at most 15 bytes)"),
    ("Interface eth0/1", "8:15", 'network interface (at most 15 bytes), found "eth0/1"'),
]
IN_UDP = [
    ("Group 3780", "8:5", 'clause "Group" cannot stand in section UDP; it belongs to section "Multicast"'),
    ("IPv6_address fe80::1", "8:5", '"IPv6_address" beside "IPv4_address" of line 4; a link has one family'),
    (
        "IPv4_Destination_Address 225.0.0.1",
        "8:5",
        '225.0.0.1 is a multicast address; use a section "Multicast"',
    ),
    ("IPv4_Destination_Address 0.0.0.0", "8:5", "0.0.0.0 is not the address of a node"),
    (
        "IPv4_interface 10.0.0.1",
        "8:5",
        'clause "IPv4_interface" cannot stand in section UDP; it belongs to section "Multicast"',
    ),
]
IN_SYNC = [
    ("Mode FOO { }", "2:8", 'expected "FTFW", "NOTRACK" or "ALARM", found "FOO" (clause "Mode")'),
    ("Mode FTFW", "3:3", 'expected "{" after "Mode", found "Multicast"'),
    (
        "Mode FTFW { RefreshTime 5 }",
        "2:15",
        'clause "RefreshTime" cannot stand in section Mode FTFW; it belongs to section "Mode ALARM"',
    ),
    (
        "Mode ALARM { ACKWindowSize 5 }",
        "2:16",
        'cannot stand in section Mode ALARM; it belongs to section "Mode FTFW"',
    ),
    ("Mode NOTRACK { CacheTimeout 5 }", "2:18", 'it belongs to section "Mode ALARM"'),
    ("Mode FTFW { DisableInternalCache yes }", "2:15", 'it belongs to section "Mode NOTRACK"'),
    ("Mode FTFW { }\nMode ALARM { }", "3:1", 'a second "Mode": the first is in line 2'),
    ("Multicast default { }", "2:13", 'expected "Default", found "default"; did you mean "Default"?'),
    (
        "Multicast { IPv4_address 225.0.0.1 Interface lo IPv4_interface 10.0.0.1 }",
        "2:3",
        'no "Group" in section Multicast; add "Group 3780"',
    ),
    (
        "Multicast { IPv4_address 225.0.0.1 Group 5 IPv4_interface 10.0.0.1 }",
        "2:3",
        'no "Interface" in section Multicast',
    ),
    (
        "Multicast { IPv4_address 225.0.0.1 Group 5 Interface lo }",
        "2:3",
        'no "IPv4_interface" in section Multicast',
    ),
    ("Multicast { Group 5 Interface lo }", "2:3", "no multicast group in section Multicast"),
    (
        "Multicast { IPv6_address fe80::1 Group 5 Interface lo }",
        "2:15",
        "fe80::1 is not a multicast address; choose one of ff00::/8",
    ),
    ("Options { ExpectationSync maybe }", "2:29", 'expected "yes" or "no", found "maybe"'),
    ("Options { ExpectationSync }", "2:29", 'expected "yes" or "no", found "}"'),
    ("Options { ExpectationSync { f/p } }", "2:31", "expected a name, found"),
    ("Replicate ESTABLISHED", "3:3", 'expected "for TCP" after the states, found "Multicast"'),
    ("HashSize 5", "2:3", 'clause "HashSize" cannot stand in section Sync; it belongs to section "General"'),
]
WHOLE = [
    ("", "", 'the configuration is empty; it needs "General { … }"'),
    ("# nothing but this\n", "", "the configuration is empty"),
    ("general { }", "1:1", 'unknown section "general" at the outermost level; did you mean "General"?'),
    ("Synk { }", "1:1", 'unknown section "Synk" at the outermost level; did you mean "Sync"?'),
    ("Stats { } Foo", "1:11", 'unexpected "Foo" after "Stats"; expected another section'),
    (
        "Stats { }\nHashSize 5",
        "2:1",
        'clause "HashSize" cannot stand at the outermost level; it belongs to section "General"',
    ),
    ("Stats", "1:1", 'expected "{" after "Stats", found the end of the file'),
    ("Stats {", "1:7", 'expected "}" at the end of the file: section "Stats" of line 1 is not closed'),
    ("Stats { } }", "1:11", 'unexpected "}": no section is open here; remove it'),
    ("Stats {\nGeneral { }", "2:1", 'expected "}" before "General": section "Stats" of line 1 is not closed'),
    (
        "General { UNIX { Path /c}\n}\nStats { }",
        "3:1",
        'section "General" of line 1 is not closed; put a blank before the "}" in /c}',
    ),
    ("Sync { }", "1:1", 'no dedicated link in section Sync; add a section "Multicast", "UDP" or "TCP"'),
    ("Stats { }\n" + MULTICAST.format(clause=""), "2:1", 'sections "Sync" and "Stats" exclude each other'),
    (
        "Sync { Mode FTFW { }\n"
        "UDP { IPv4_address 10.0.0.1 IPv6_Destination_Address fe80::1 Port 5 Interface lo } }",
        "2:29",
        "the other node's address is IPv6 and this node's is IPv4",
    ),
    (
        "Sync { Mode FTFW { }\n"
        "UDP { IPv4_address 10.0.0.1 IPv4_Destination_Address 10.0.0.2 Port 5 Interface lo }\n"
        "UDP { IPv4_address 10.0.0.1 IPv4_Destination_Address 10.0.0.2 Port 5 Interface lo } }",
        "3:1",
        "same address, port and interface as the link of line 2; make them differ",
    ),
    (
        "Sync { Mode FTFW { }\nUDP { IPv4_address 10.0.0.1 Port 5 Interface lo } }",
        "2:1",
        'no "IPv4_Destination_Address" in section UDP; add the address of the other node',
    ),
    (
        "Sync { Mode FTFW { }\n"
        "TCP { IPv4_address 10.0.0.1 IPv4_Destination_Address 10.0.0.2 Interface lo } }",
        "2:1",
        'no "Port" in section TCP; add "Port 3780"',
    ),
    (
        "Sync { Mode FTFW { }\n"
        "UDP { IPv6_address fe80::1%lo IPv6_Destination_Address fe80::2%lo Port 5\nInterface a } }",
        "3:1",
        'an address has the scope "lo" and the interface is "a"',
    ),
    (
        UDP.format(clause="}\n" + LINK.format(default="", n=1).removesuffix("}\n")),
        "9:1",
        '"Multicast" cannot stand beside "UDP" of line 3; use one transport for all links',
    ),
    (
        "Sync { Mode FTFW { }\n"
        + LINK.format(default=" Default", n=1)
        + LINK.format(default=" Default", n=2)
        + "}",
        "6:1",
        'a second "Default" link: the first is in line 2',
    ),
    (
        "Sync { Mode FTFW { }\n" + "".join(LINK.format(default="", n=n) for n in range(1, 6)) + "}",
        "18:1",
        "a fifth dedicated link; at most 4 can be used",
    ),
    ("Helper { Type tfpt inet tcp { } }", "1:15", 'found "tfpt"; did you mean "tftp"? (clause "Type")'),
    ("Helper { Type ftp inet4 tcp { } }", "1:19", 'expected "inet" or "inet6", found "inet4"'),
    ("Helper { Type ftp inet sctp { } }", "1:24", 'expected "tcp" or "udp", found "sctp"'),
    ("Helper { Type ftp inet tcp { QueueNum 65536 } }", "1:39", "expected a number from 0 to 65535"),
    ("Helper { Type ftp inet udp { QueueNum 0 } }", "1:10", 'helper "ftp" is for tcp only'),
    ("Helper { Type dhcpv6 inet6 tcp { QueueNum 0 } }", "1:10", 'helper "dhcpv6" is for udp only'),
    (
        "Helper { Type ftp inet tcp { QueueNum 0 Policy sip { ExpectMax 1 } } }",
        "1:41",
        'unknown policy "sip" of helper "ftp"',
    ),
    ("Helper { Type ftp inet tcp { QueueNum 0 Policy ftp { } } }", "1:41", 'policy "ftp" is empty'),
    (
        "Helper { Type ftp inet tcp { QueueNum 0 }\nType ftp inet tcp { QueueNum 1 } }",
        "2:1",
        'a second "Type" for this helper: the first is in line 1',
    ),
]
TABLE = [
    *((GENERAL.format(clause=clause), place, text) for clause, place, text in IN_GENERAL),
    *((MULTICAST.format(clause=clause), place, text) for clause, place, text in IN_MULTICAST),
    *((UDP.format(clause=clause), place, text) for clause, place, text in IN_UDP),
    *((SYNC.format(clause=clause), place, text) for clause, place, text in IN_SYNC),
    *WHOLE,
]


@pytest.mark.parametrize(("text", "place", "fragments"), TABLE)
def test_a_mistake_is_told_with_its_place(text: str, place: str, fragments: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"{place}: " if place else " ")
    for fragment in fragments.split("|"):
        assert fragment in found[0]


def test_every_mistake_is_told_in_one_run() -> None:
    text = """General {
  HashSize many
  LogFile there
  Chekcsum on
  Filter {
    Protocol Accept { TCP TPC UPD }
    Address Ignore { IPv4_address 1.2.3 IPv6_address ::g }
  }
}}
Sync {
  Mode FTFW { Foo 1
 RefreshTime 5 }
  UDP { IPv4_address 10.0.0.1 IPv4_Destination_Address x Port 0 }
  Multicast { }
Stats { }
"""
    places = [":".join(problem.split(":")[:2]) for problem in problems(text)]
    assert places == [
        "2:12",
        "3:11",
        "4:3",
        "6:27",
        "6:31",
        "7:35",
        "7:54",
        "9:2",
        "11:15",
        "12:2",
        "13:3",
        "13:56",
        "13:63",
        "14:3",
        "14:3",
        "14:3",
        "14:3",
        "15:1",
        "15:1",
    ]


def test_the_message_reads_as_one_line_with_file_line_and_column() -> None:
    with pytest.raises(ConfigError) as raised:
        parse("Stats {\n\n   Sysolg on\n}", "/etc/conntrackd.conf")
    assert str(raised.value) == (
        '/etc/conntrackd.conf:3:4: unknown clause "Sysolg" in section Stats; did you mean "Syslog"?'
    )


def test_warnings_come_with_the_error() -> None:
    with pytest.raises(ConfigError) as raised:
        parse("General { Nice 5\nFoo }\nStats { }")
    assert [problem.line for problem in raised.value.warnings] == [1]


def test_words_of_a_file_do_not_reach_the_terminal_as_they_are() -> None:
    (problem,) = problems("\x1b[31mx\x07 { }")
    assert "\x1b" not in problem
    assert r'"\x1b[31mx\x07"' in problem
    (problem,) = problems("x" * 100_000)
    assert len(problem) < 300


def test_a_file_of_mistakes_ends_after_a_hundred() -> None:
    for text in ("x\n" * 5000, "}" * 5000, "{" * 5000, "Stats { " * 5000):
        found = problems(text)
        assert len(found) == 101
        assert any("too many mistakes; the rest of the file was not read" in problem for problem in found)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the configuration is empty"),
        (b"\x7fELF\x02\x01\0\0\0", "a zero byte in line 1; this is a binary file"),
        (b"Stats {\n # caf\xe9\n}", "2:7: byte 0xe9 is not UTF-8; convert the file"),
        (b"#" * (1 << 20), "larger than 524288 bytes"),
    ],
)
def test_files_that_are_no_configurations(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "c.conf"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert text in str(raised.value)
    assert str(raised.value).startswith(f"{path}:")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("", "Is a directory"), ("absent.conf", "No such file"), ("a\0b", "null byte"), ("x" * 300, "too long")],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(str(tmp_path / name) if "\0" not in name else name)
    assert f"cannot read the configuration: {'embedded ' if chr(0) in name else ''}" in str(raised.value)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)
