# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of -R into requests."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.core import command_line
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.command_line import CommandLineError, parse
from pyconntrack.core.kernel_codec import decode, encode
from pyconntrack.core.load import COMMAND, FULL, MORE, Loader
from pyconntrack.core.requests import RequestBatch
from tests.core.support_command_line import labels, no_labels, parsed

FLOW = "-p udp -s 192.0.2.1 -d 192.0.2.2 --dport 2 -t 9 --sport "


def load(text: bytes, *pieces: int) -> list[str]:
    """What a file gives, told in words: cut at `pieces` where it is fed."""
    requests = RequestBatch(65536)
    loader = Loader(labels, requests)
    told: list[str] = []
    cuts = [0, *sorted({min(piece, len(text)) for piece in pieces}), len(text)]
    for begin, end in pairwise(cuts):
        loader.feed(text[begin:end], final=end == len(text))
        while True:
            try:
                found = loader.fill()
            except CommandLineError as error:
                told.append(f"{error.line}: {error}")
                continue
            if found == MORE:
                break
            told.append(f"{len(requests)} requests")
            if found == COMMAND:
                told.append(f"{loader.line_number}: command {loader.command.command}")
            requests.clear()
    told.append(f"{len(requests)} requests")
    return told


def test_lines_become_requests_in_order() -> None:
    requests = RequestBatch()
    loader = Loader(labels, requests)
    loader.feed(f"-I {FLOW}1\n\n  # comment\n-A {FLOW}2 -m 7\n".encode(), final=True)
    assert loader.fill() == MORE
    assert len(requests) == 2
    assert loader.line_number == 4
    assert loader.failures([(0, errno.EEXIST), (1, errno.EEXIST)]) == [(1, errno.EEXIST)]
    assert loader.failures([(1, errno.EPERM)]) == [(4, errno.EPERM)]
    with pytest.raises(IndexError):
        loader.failures([(2, errno.EPERM)])


def test_other_commands_wait_for_what_is_before_them() -> None:
    text = f"-I {FLOW}1\n-D -p tcp\n-U -p udp -m 5\n-A {FLOW}2\n-F\n-I {FLOW}3\n".encode()
    assert load(text) == [
        "1 requests",
        f"2: command {command_line.COMMAND_DELETE}",
        "0 requests",
        f"3: command {command_line.COMMAND_UPDATE}",
        "1 requests",
        f"5: command {command_line.COMMAND_FLUSH}",
        "1 requests",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"-L", "Cannot use command `-L' with --load-file"),
        (b"-C", "Cannot use command `-C' with --load-file"),
        (b"-h", "Cannot use command `-h' with --load-file"),
        (b"conntrack", "Cannot use command `unknown' with --load-file"),
        (b'""', "Cannot use command `unknown' with --load-file"),
        (b"-R -", "unknown option `-R'"),
        (b"-Rx", "unknown option `conntrack'"),
        (b"-s 192.0.2.1", "Illegal option `--src' with this command"),
        (b"-D -l " + b"x" * 1024, "Parameter too long!"),
        (b"-D " + b"-z " * 253, "too many arguments"),
        (b"-D " + b"-z " * 252, "Illegal option `--zero' with this command"),
        (b'-D -l "a b"', "unknown label 'a b'"),
        (b'-D -l a"b c"d', "unknown label 'ab cd'"),
        (b'-D -l "a\\"b"', "unknown label 'a\"b'"),
        (b"-D -l 'a b'", "unknown label ''a'"),
        (b'-D -l "a\tb"\t-z', "unknown label 'a\\x09b'"),
        (b"-D -l \x1b[2J\x07\x7f\xc2\x9b", r"unknown label '\x1b[2J\x07\x7f\x9b'"),
        ("-D -s \x1b\u00e9".encode(), "Invalid IP address `\\x1b\u00e9'"),
        (b"-D -p udp\0 -s 192.0.2.1", "NUL byte among the parameters"),
        (b"-D\0", "NUL byte among the parameters"),
        (b'-D "-p\0" udp', "NUL byte among the parameters"),
        (b"-D -l a\0b", "NUL byte among the parameters"),
        (b"-D " + b" " * 70000, "the line is too long"),
    ],
)
def test_wrong_lines(line: bytes, message: str) -> None:
    """Each with its number; what is behind them is read."""
    text = f"-I {FLOW}1\n".encode() + line + f"\n-I {FLOW}2".encode()
    assert load(text) == [f"2: {message}", "2 requests"]


def test_a_file_from_another_system() -> None:
    assert load(f"\r\n# x\r\nconntrack -I {FLOW}1\r\n-I {FLOW}2\r\n".encode()) == ["2 requests"]


def test_a_check_alone_adds_nothing_and_finds_what_is_wrong() -> None:
    loader = Loader(labels)
    loader.feed(f"-I {FLOW}1\n-D\n-I {FLOW}1 -u x\n-U -m 3\n".encode(), final=True)
    with pytest.raises(CommandLineError, match="Bad parameter `x'") as caught:
        loader.fill()
    assert caught.value.line == 3
    assert loader.fill() == MORE
    assert loader.line_number == 4


def test_warnings_are_handed_out_once() -> None:
    loader = Loader(no_labels, RequestBatch())
    loader.feed(f"-I {FLOW}1 -u SRC_NAT\n-I {FLOW}2 -u DST_NAT\n".encode(), final=True)
    assert loader.fill() == MORE
    assert len(loader.take_warnings()) == 2
    assert loader.take_warnings() == []


def test_a_full_batch_loses_nothing() -> None:
    requests = RequestBatch(4096)
    loader = Loader(labels, requests)
    text = "".join(f"-A {FLOW}{port}\n" for port in range(1, 1001)).encode()
    loader.feed(text, final=True)
    counts = []
    while loader.fill() == FULL:
        assert loader.fill() == FULL
        counts.append(len(requests))
        last = len(requests) - 1
        assert loader.failures([(last, errno.EPERM)]) == [(sum(counts), errno.EPERM)]
        requests.clear()
    counts.append(len(requests))
    assert sum(counts) == 1000 and len(counts) > 2


ADDRESSES = st.ip_addresses(v=4).map(str)
LINES = st.builds(
    lambda source, destination, port, mark, zone: (
        f"-A -t 100 -u SEEN_REPLY -m {mark} -w {zone} -s {source} -d {destination} -r {destination} "
        f"-q {source} -p tcp --sport {port} --dport 80 --reply-port-src 80 --reply-port-dst {port} "
        "--state ESTABLISHED"
    ),
    ADDRESSES,
    ADDRESSES,
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 65535),
)


@settings(deadline=None)
@given(st.lists(LINES, min_size=1, max_size=30), st.lists(st.integers(0, 6000), max_size=8))
def test_how_the_file_is_cut_does_not_matter(lines: list[str], cuts: list[int]) -> None:
    text = "\n".join(lines).encode()
    assert load(text, *cuts) == load(text) == [f"{len(lines)} requests"]


@settings(deadline=None, max_examples=500)
@given(
    st.lists(
        st.one_of(
            LINES.map(str.encode),
            st.binary(max_size=60),
            st.sampled_from([b"-D", b"-F", b"-L", b'-U "', b"# x", b"-I -p tcp", b'""', b"-U -l one -m 1"]),
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 1500), max_size=6),
)
def test_any_lines(lines: list[bytes], cuts: list[int]) -> None:
    """Whole or in pieces, the same is told; nothing raises but what a wrong line raises."""
    text = b"\n".join(lines)
    requests = [told for told in load(text) if not told.endswith("requests")]
    assert requests == [told for told in load(text, *cuts) if not told.endswith("requests")]


def first_word(text: str) -> str | None:
    """A letter at a time."""
    text = text.lstrip(" \t")
    word, quoted, place = "", False, 0
    while place < len(text) and (quoted or text[place] not in " \t"):
        if text[place] == '"':
            quoted = not quoted
        else:
            if quoted and text[place : place + 2] == '\\"':
                place += 1
            word += text[place]
        place += 1
    return word if text else None


@settings(deadline=None, max_examples=1000)
@given(st.text(' \t"\\#!a\x01', max_size=40))
def test_words_and_quotes(text: str) -> None:
    word = first_word(text)
    shown = word and word.replace("\x01", "\\x01").replace("\t", "\\x09")
    told = "option `-l' requires an argument" if word is None else f"unknown label '{shown}'"
    assert load(f"-D -l {text}\n-D -l x {text}\n".encode()) == [
        f"1: {told}",
        "2: unknown label 'x'",
        "0 requests",
    ]


@given(LINES)
def test_a_line_and_a_shells_words_mean_the_same(line: str) -> None:
    words = parse([word.encode() for word in line.split()], labels).template
    flow = words.unpack(0)
    assert flow["event"] == 0
    assert bytes(parsed(line).template) == bytes(words)
    found = FlowBatch()
    # A new flow as an event would tell it: the request's body is the same.
    assert decode(encode(words, 0, 0, 0x0600, 1), found)[2] == 1
    assert found.unpack(0)["original"] == flow["original"]
    assert found.unpack(0)["mark"] == flow["mark"]


def test_a_command_keeps_nothing_of_what_was_fed() -> None:
    loader = Loader(labels, RequestBatch(65536))
    loader.feed(b"-U -s 192.0.2.1 --labelmap /names -m 1\n")
    assert loader.fill() == COMMAND
    assert loader.command.label_map_path == "/names"
    loader.feed(b"#" * 1_000_000)
    assert loader.command.label_map_path is None


def test_no_request_fails_where_lines_are_only_checked() -> None:
    with pytest.raises(IndexError):
        Loader(labels).failures([(0, errno.EPERM)])
