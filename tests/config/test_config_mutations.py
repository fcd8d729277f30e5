# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a configuration looks like, reading it gives settings or a `ConfigError`, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.config import ConfigError, Loaded, Settings, load, parse
from pyconntrack.config.schema import FILE, HOMES, MODES

GOOD = """
Sync {
    Mode FTFW { ResendQueueSize 131072 ResendBufferSize 262144 CommitTimeout 0 DisableExternalCache no }
    Multicast Default { IPv4_address 225.0.0.50 Group 3780 IPv4_interface 10.0.0.1 Interface lo Checksum on }
    Multicast { IPv6_address ff02::50 Group 3781 Interface lo SndSocketBuffer 1249280 }
    Options { TCPWindowTracking no ExpectationSync { ftp q.931 } }
    Checksum on CacheWriteThrough off Replicate ESTABLISHED TIME_WAIT for TCP
}
General {
    Systemd yes Nice -20 HashSize 32768 HashLimit 131072 LogFile yes Syslog local0 # comment
    LockFile /var/lock/conntrack.lock
    UNIX { Path /var/run/conntrackd.ctl Backlog 20 }
    Scheduler { Type FIFO Priority 99 }
    NetlinkBufferSize 2097152 SocketBufferSizeMaxGrown 8388608 NetlinkOverrunResync 5 PollSecs 15
    Filter From Userspace {
        Protocol Accept { TCP SCTP 47 }
        Address Ignore { IPv4_address 127.0.0.1 IPv4_address 10.0.0.0/8 IPv6_address ::1 }
        State Accept { ESTABLISHED CLOSED for TCP }
    }
}
IgnoreTrafficFor { IPv4_address 127.0.0.2 }
Helper { Type ftp inet tcp { QueueNum 0 Policy ftp { ExpectMax 1 ExpectTimeout 300 } } }
"""
GOOD_WORDS = GOOD.replace("# comment", "").split()
WORDS = sorted(
    {*HOMES, *GOOD_WORDS, *(name for mode in MODES.values() for name in mode.by_name), *FILE.by_name}
    | {
        "Stats",
        "UDP",
        "TCP",
        "Port",
        "IPv4_Destination_Address",
        "=",
        ";",
        "//",
        '"',
        '"a b"',
        "#",
        "-1",
        "0",
        "%",
    }
    | {
        "99999999999999999999999",
        "\n",
        "fe80::1%lo",
        "1.2.3.4/33",
        "/",
        "/x}",
        "é",
        "\x1b",
        "٣",
        "persistent",
    }
)
words = st.sampled_from(WORDS) | st.text(max_size=5)


def check(text: str) -> None:
    try:
        loaded = parse(text, "c")
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.line <= text.count("\n") + 1
            assert len(str(problem).splitlines()) == 1
    else:
        assert isinstance(loaded, Loaded)
        assert isinstance(loaded.settings, Settings)
        assert not (loaded.settings.sync and loaded.settings.stats)


def test_the_good_configuration_is_good() -> None:
    sync = parse(GOOD).settings.sync
    assert sync is not None
    assert len(sync.links) == 2


edits = st.lists(
    st.tuples(
        st.integers(0, len(GOOD_WORDS) - 1),
        st.sampled_from(["cut", "put", "replace", "repeat", "swap"]),
        words,
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=400, deadline=None)
@given(edits, st.sampled_from([" ", "\n"]))
def test_words_changed_at_random(changes: list[tuple[int, str, str]], between: str) -> None:
    text = list(GOOD_WORDS)
    for place, kind, word in changes:
        at = place % max(len(text), 1)
        if kind == "cut":
            del text[at : at + 1]
        elif kind == "put":
            text.insert(at, word)
        elif kind == "replace":
            text[at : at + 1] = [word]
        elif kind == "repeat":
            text[at:at] = text[at : at + 5]
        else:
            text[at : at + 2] = text[at : at + 2][::-1]
    check(between.join(text))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, 40), st.text(max_size=10))
def test_characters_changed_at_random(place: int, length: int, put: str) -> None:
    check(GOOD[:place] + put + GOOD[place + length :])


@settings(max_examples=200, deadline=None)
@given(st.lists(words | st.sampled_from(["{", "}", "\n"]), max_size=60))
def test_words_in_any_order(text: list[str]) -> None:
    check(" ".join(text))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.conf"
    try:
        file.write_bytes(data)
        load(file)
    except ConfigError as error:
        assert error.problems


def test_deep_nesting_and_long_lists_are_read_without_recursion() -> None:
    check("Stats { a " * 10_000 + "} " * 10_000)
    check("General { Filter { Address Ignore {\n" + "IPv4_address 1.2.3.4\n" * 2_000 + "} } }\nStats { }")
    check("HashSize " + "9" * 10_000)
