# SPDX-License-Identifier: GPL-2.0-or-later
"""conntrack's manual page: sound, complete beside the table of options, and true by the parser."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from pyconntrack.cli.conntrack_help import HELP
from pyconntrack.core.command_line import CommandLineError
from pyconntrack.core.load import Loader
from pyconntrack.kernel.label_map import LABEL_MAP
from pyconntrack.kernel.socket import DEFAULT_BUFFER
from tests.docs.blocks import ROOT
from tests.docs.command_lines import (
    COMMANDS,
    LETTERS,
    LONG_NAMES,
    OPTIONS,
    PROTOCOLS,
    complaint,
    is_legal,
    named_values,
    required,
    states,
)

PAGE = ROOT / "docs" / "man" / "conntrack.8"
TEXT = re.sub(r"\\f.", "", PAGE.read_text()).replace("\\-", "-")
# The heads of entries, without requests and quotes: `-s, --src, --orig-src address[/length]`.
HEADS = [
    re.sub(r'[",]|^\.\w+', " ", head).split() for head in re.findall(r"^\.T[PQ](?: \d+)?\n(.*)$", TEXT, re.M)
]


def test_groff_has_no_complaint() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    arguments = ["groff", "-t", "-man", "-Tutf8", "-ww", "-z", "-rLL=80n", str(PAGE)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", [*LONG_NAMES, "--load-file"])
def test_every_option_has_an_entry_with_its_letter(name: str) -> None:
    entries = [head for head in HEADS if name in head]
    assert entries
    if name in LETTERS:
        assert any(f"-{LETTERS[name]}" in head for head in entries)


def test_there_is_no_option_that_nobody_knows() -> None:
    # The one abbreviation that is told: the C tool's manual names the option so.
    known = {*LONG_NAMES, "--load-file", "--proto"}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", TEXT)) - known == set()
    assert {word for head in HEADS for word in head if re.fullmatch("-[A-Za-z]", word)} == {
        f"-{letter}" for letter in LETTERS.values()
    }


def test_the_help_has_every_option_and_no_other() -> None:
    # --nat-range has no effect.
    known = {*LONG_NAMES, "--load-file"} - {"--nat-range"}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", HELP)) == known
    pairs = re.findall(r"(?<![\w-])-([A-Za-z]), (--[a-z][\w-]*)", HELP)
    names = set(LETTERS) - {"--nat-range", "--orig-src", "--orig-dst"}
    assert {name: letter for letter, name in pairs} == {name: LETTERS[name] for name in names}


@pytest.mark.parametrize(
    "name",
    [
        *(value for kind in ("STATUSES", "OUTPUTS", "EVENTS") for value in named_values(kind)),
        *(state for protocol in ("tcp", "sctp", "dccp") for state in states(protocol)),
        *PROTOCOLS,
        *("LISTEN", "UNREPLIED", "SRC_NAT", "DST_NAT", "dying", "unconfirmed", LABEL_MAP),
    ],
)
def test_every_value_is_told(name: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", TEXT)


def test_the_buffer_has_the_size_that_is_told() -> None:
    told = re.search(r"The buffer has (\d+) MiB", TEXT)
    assert told is not None
    assert int(told[1]) << 20 == DEFAULT_BUFFER


# The table of what goes with what.
ROWS = [line.split("|") for line in TEXT.partition("tab(|);")[2].partition(".TE")[0].splitlines()[2:]]
COLUMNS = ["L", "E", "D", "U", "I", "G", "F"]


def options_of(row: str) -> list[tuple[str | None, str]]:
    """The options that a row is about, each with a protocol that has it."""
    names = {f"-{letter}": name for name, letter in LETTERS.items()}
    if row == "ports and keys":
        kinds = [("udp", "port"), ("gre", "key")]
        return [(protocol, f"--orig-{kind}-{end}") for protocol, kind in kinds for end in ("src", "dst")]
    if row.startswith("ICMP"):
        words = [word for word in ("type", "code", "id") if word in row]
        return [(protocol, f"--{protocol}-{word}") for protocol in ("icmp", "icmpv6") for word in words]
    protocols = {"--state": "tcp", "--orig-vtag": "sctp", "--reply-vtag": "sctp", "--role": "dccp"}
    return [(protocols.get(word), names.get(word, word)) for word in row.split()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_goes_with_what_is_true(row: list[str]) -> None:
    marks = dict(zip(COLUMNS, row[1:], strict=True))
    for protocol, name in options_of(row[0]):
        assert name in OPTIONS
        for letter, mark in marks.items():
            legal = is_legal(letter, "conntrack", protocol, name)
            assert (letter, name, mark != "") == (letter, name, legal)
            if legal and mark != "(1)":
                assert (letter, name, mark == "+") == (letter, name, is_missed(letter, protocol, name))
            if letter == "I":
                assert (name, is_legal("A", "conntrack", protocol, name)) == (name, legal)


def is_missed(letter: str, protocol: str | None, name: str) -> bool:
    """Whether a command line that was whole is none without an option."""
    words = [f"-{letter}", "conntrack", *required(letter, "conntrack", protocol)]
    for word in (name, f"-{LETTERS.get(name, '')}"):
        if word in words:
            position = words.index(word)
            rest = words[:position] + words[position + 2 :]
            return complaint(rest) != ""
    return False


def test_the_table_has_every_option() -> None:
    told = {name for row in ROWS for _, name in options_of(row[0])}
    letters = {LETTERS.get(name, name) for name in told}
    expected = {LETTERS.get(name, name) for name in OPTIONS if any_flow_command(name)}
    beside = {"--labelmap", "a", "--orig-src", "--orig-dst"}
    ports = {name for name in expected if re.search("port|key|icmp", name)}
    assert expected - letters - beside - ports == set()


def any_flow_command(name: str) -> bool:
    """Whether an option goes with a command on flows."""
    return any(
        is_legal(letter, "conntrack", protocol, name)
        for letter in COLUMNS
        for protocol in (None, "tcp", "sctp", "dccp")
    )


EXAMPLES = [
    line
    for text in re.findall(r"^\.EX\n(.*?)^\.EE", TEXT, re.MULTILINE | re.DOTALL)
    for line in text.replace("\\e\n", "").splitlines()
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_sound(example: str) -> None:
    if example.startswith("sysctl "):
        return
    split = shlex.shlex(example, posix=True, punctuation_chars="|>")
    split.whitespace_split = True
    words = list(split)
    assert "conntrack" in words
    while "conntrack" in words:
        words = words[words.index("conntrack") + 1 :]
        ends = [words.index(end) for end in "|>" if end in words]
        assert complaint(words[: min(ends, default=len(words))]) == ""


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) == 11
    assert {name for name in COMMANDS if any(f"-{COMMANDS[name]} " in example for example in EXAMPLES)} == {
        "--dump",
        "--delete",
        "--create",
        "--update",
        "--event",
        "--load-file",
    }


def test_the_commands_of_a_file_are_those_that_are_told() -> None:
    loading = TEXT.partition('.SH "LOADING A FILE"')[2].partition(".SH")[0]
    told, _, told_of_expectations = loading.partition(".BR expect")[0].partition("or of")
    for letter in COMMANDS.values():
        for table, among in (("conntrack", told), ("expect", told_of_expectations)):
            takes = is_loaded(
                [f"-{letter}", table, *required(letter, table, "udp" if letter in "IAD" else None)]
            )
            assert (letter, table, f"-{letter}" in among) == (letter, table, takes)


def is_loaded(words: list[str]) -> bool:
    """Whether a line may be in a file of -R."""
    loader = Loader(lambda _: pytest.fail("no label is named"))
    loader.feed(" ".join(words).encode() + b"\n", final=True)
    try:
        loader.fill()
    except CommandLineError as error:
        assert re.search("with --load-file|unknown option|Can't do", str(error)), (words, error)
        return False
    return True
