# SPDX-License-Identifier: GPL-2.0-or-later
"""The completion of conntrack, in bash and zsh: what it offers is what the parser takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.docs.command_lines import (
    COMMANDS,
    LETTERS,
    OPTIONS,
    PROTOCOLS,
    complaint,
    is_legal,
    named_values,
    required,
    states,
)

BASH = ROOT / "docs" / "completion" / "conntrack.bash"
ZSH = ROOT / "docs" / "completion" / "_conntrack"
# Between words.
SEPARATOR = "\x1f"

BASH_DRIVER = f"""
source {BASH}
while IFS= read -r line; do
    mapfile -d $'\\x1f' -t COMP_WORDS < <(printf %s "$line")
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    _conntrack
    ((${{#COMPREPLY[@]}})) && printf '%s\\x1f' "${{COMPREPLY[@]}}"
    echo
done
"""

# What zsh has only while it completes.
ZSH_DRIVER = f"""
compadd() {{
    [[ $1 == -- ]] && shift
    for match in "$@"; do [[ $match == "$PREFIX"* ]] && printf '%s\\x1f' "$list$match"; done
}}
compset() {{
    local rest=${{PREFIX##${{~2}}}}
    [[ $2 == *, ]] && list=${{PREFIX%$rest}}
    PREFIX=$rest
}}
_files() {{ printf '%s\\x1f' "$PREFIX"*(N) }}
_message() {{ }}
while IFS= read -r line; do
    words=("${{(@ps:\\x1f:)${{line%$'\\x1f'}}}}")
    CURRENT=$#words PREFIX=$words[-1] list=
    source {ZSH}
    echo
done
"""


def split_by_bash(words: list[str]) -> list[str]:
    """= is a word of its own to bash, and the empty word behind it is none."""
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        found += [name, equals, *([value] if value else [])] if equals else [word]
    return found


class Shell:
    """A shell with the completion read."""

    def __init__(self, name: str) -> None:
        self.name = name

    def complete(self, lines: list[list[str]]) -> list[list[str]]:
        """What is offered for the last word of each line; the words are those behind `conntrack`."""
        lines = [["conntrack", *(split_by_bash(words) if self.name == "bash" else words)] for words in lines]
        text = "".join("".join(f"{word}{SEPARATOR}" for word in words) + "\n" for words in lines)
        command = ["bash", "-c", BASH_DRIVER] if self.name == "bash" else ["zsh", "-f", "-c", ZSH_DRIVER]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        found = [line.split(SEPARATOR)[:-1] for line in done.stdout.splitlines()]
        assert len(found) == len(lines)
        return [[word.replace("\\ ", " ") for word in words] for words in found]


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> Shell:
    """A shell, if it is installed."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return Shell(request.param)


def test_zsh_reads_its_completion() -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    subprocess.run(["zsh", "-n", str(ZSH)], check=True)


# Legal and offered nowhere, or not with these: they would have no effect.
NOT_OFFERED = {"--nat-range"}
NOT_OFFERED_WITH = {
    ("I", "expect"): {"--labelmap", "--reply-src", "--reply-dst", "--status"},
    **{(letter, "expect"): {"--labelmap"} for letter in "LEFCS"},
    **{(letter, "expect"): {"--labelmap", "--reply-src", "--reply-dst"} for letter in "GD"},
    **{(letter, "conntrack"): {"--labelmap"} for letter in "FCS"},
}
CALLS = [
    (letter, table, protocol)
    for table, letters in (("conntrack", "LEDUGIAFCS"), ("dying", "L"), ("expect", "LEGDIFCS"))
    for letter in letters
    for protocol in (None, *PROTOCOLS)
    # Where -p is refused, its protocol's options are no question.
    if protocol is None or is_legal(letter, table, None, "--protonum")
]


def test_all_options_are_offered_that_are_legal_and_no_others(shell: Shell) -> None:
    lines = [
        [f"-{letter}", table, *(["-p", protocol] if protocol else []), "--"]
        for letter, table, protocol in CALLS
    ]
    for (letter, table, protocol), offered in zip(CALLS, shell.complete(lines), strict=True):
        left_out = NOT_OFFERED | NOT_OFFERED_WITH.get((letter, table), set())
        legal = {name for name in OPTIONS if is_legal(letter, table, protocol, name)} - left_out
        assert (letter, table, protocol, set(offered)) == (letter, table, protocol, legal)
        assert len(offered) == len(legal)


def test_letters_are_offered_with_their_long_names(shell: Shell) -> None:
    lines = [[f"-{letter}", table, "-"] for letter, table, _ in CALLS]
    for offered in shell.complete(lines):
        letters = {f"-{LETTERS[name]}" for name in offered if name in LETTERS}
        assert {word for word in offered if not word.startswith("--")} == letters


def test_the_calls_are_sound() -> None:
    for letter, table, protocol in CALLS:
        assert complaint([f"-{letter}", table, *required(letter, table, protocol)]) == ""


def test_commands(shell: Shell) -> None:
    first, later = shell.complete([[""], ["-s", "10.0.0.1", "-"]])
    every = {*COMMANDS, *(f"-{letter}" for letter in COMMANDS.values())}
    assert set(first) == every
    assert set(later) == every - {"-R", "--load-file"}


def test_every_value_is_offered_and_taken(shell: Shell) -> None:
    status = [*named_values("STATUSES"), "UNREPLIED"]
    expected = {
        ("-L", "-o"): named_values("OUTPUTS"),
        ("-E", "-e"): named_values("EVENTS"),
        ("-L", "-u"): [name for name in status if name != "UNSET"],
        ("-I", "-u"): [name for name in status if name not in ("UNREPLIED", "OFFLOAD", "HW_OFFLOAD")],
        ("-L", "-p"): PROTOCOLS,
        ("-L", "-f"): ["ipv4", "ipv6"],
        ("-L", "-p", "tcp", "--state"): [*states("tcp"), "LISTEN"],
        ("-L", "-p", "sctp", "--state"): states("sctp"),
        ("-L", "-p", "dccp", "--state"): states("dccp"),
    }
    for words, offered in zip(expected, shell.complete([[*words, ""] for words in expected]), strict=True):
        assert sorted(offered) == sorted(expected[words])
        if words[0] != "-I":
            assert [complaint([*words, value]) for value in offered] == [""] * len(offered)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-L", "e"], ["expect"]),
        (["--dump", "u"], ["unconfirmed"]),
        (["-A", "e"], []),
        (["-U", "c"], ["conntrack"]),
        (["-L", "expect", "-o", ""], ["xml", "json", "timestamp"]),
        (["-L", "exp", "--out"], ["--output"]),
        (["-L", "-o", "xml,l"], ["xml,labels"]),
        (["-L", "-o", "id,labels,i"], []),
        (["-L", "-o", "save,"], []),
        (["-L", "-o", "id,s"], []),
        (["-L", "--output=xml,id,e"], ["xml,id,extended"]),
        (["-L", "--family="], ["ipv4", "ipv6"]),
        (["-E", "-e", "NEW,D"], ["NEW,DESTROY"]),
        (["-D", "-u", "ASSURED,U"], ["ASSURED,UNREPLIED"]),
        (["-p", "udp", "-L", "--sp"], ["--sport"]),
        (["-L", "--protonum=gre", "--srck"], ["--srckey"]),
        (["-L", "-pudp", "--sp"], ["--sport"]),
        (["-L", "-p", "tcp", "-p", "icmp", "--sp"], []),
        (["-L", "-p", "dccp", "--state", "OP"], ["OPEN"]),
        (["-I", "-p", "dccp", "--role", ""], ["client", "server"]),
        (["-L", "-s", ""], []),
        (["-L", "-p", "tcp", "--reply-port-dst", ""], []),
        (["-L", "-n", "--any"], ["--any-nat"]),
        (["-V", ""], []),
        (["-R", "flows", ""], []),
    ],
)
def test_one_line(words: list[str], expected: list[str], shell: Shell) -> None:
    assert shell.complete([words]) == [expected]


def test_labels(shell: Shell, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.write_text("# names\n0 web\n1\tmail-in \n0x7 two words\n5\nnone\n")
    use = f"--labelmap={labels}"
    found = shell.complete(
        [
            ["-L", use, "-l", ""],
            ["-I", "--labelmap", str(labels), "--label-add", "web,"],
            ["-U", use, "--label-del", "m"],
            ["-U", use, "--label-del=web,t"],
            ["-L", "--labelmap", str(tmp_path / "missing"), "--label", ""],
        ]
    )
    assert found == [
        ["web", "mail-in", "two words"],
        ["web,mail-in", "web,two words"],
        ["mail-in"],
        ["web,two words"],
        [],
    ]


def test_files(shell: Shell, tmp_path: Path) -> None:
    for name in ("flows.save", "flows.old", "other"):
        (tmp_path / name).touch()
    beginning = str(tmp_path / "flows.")
    for words in (["-R", beginning], ["--load-file", beginning], ["-L", "--labelmap", beginning]):
        assert sorted(shell.complete([words])[0]) == [f"{beginning}old", f"{beginning}save"]
    assert shell.complete([["-R", ""]])[0][-1] == "-"


# Types each line and a tabulator into an interactive shell, which writes what its line has become to $told.
TYPING_DRIVER = f"""
zmodload zsh/zpty zsh/zselect zsh/datetime
answered() {{
    local -F deadline=$((EPOCHREALTIME + 30))
    while (($(wc -l < $told) < $1)); do
        ((EPOCHREALTIME < deadline)) || exit 3
        zpty -r -t shell ignored || zselect -t 1
    done
}}
zpty shell zsh -f -i
zpty -w shell 'fpath=({ZSH.parent} $fpath); autoload -U compinit; compinit -u -D
    tell() {{ print -r -- "$BUFFER" >> $told; BUFFER=; zle redisplay }}
    zle -N tell; bindkey "^X" tell; print ready >> $told'
answered 1
integer count=1
while IFS= read -r line; do
    zpty -n -w shell "$line"$'\\t\\C-X'
    answered $((++count))
done
zpty -d shell
"""


def test_a_zsh_that_is_typed_into_completes(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    typed = {
        "conntrack -L e": "conntrack -L expect ",
        "conntrack -L -p tcp --sp": "conntrack -L -p tcp --sport ",
        "conntrack -L -o xml,lab": "conntrack -L -o xml,labels ",
        "conntrack -L --family=": "conntrack -L --family=ipv",
        "conntrack -E -e NEW,D": "conntrack -E -e NEW,DESTROY ",
        "conntrack --loa": "conntrack --load-file ",
    }
    told = tmp_path / "told"
    told.touch()
    text = "".join(f"{line}\n" for line in typed)
    environment = {**os.environ, "told": str(told), "TERM": "xterm"}
    subprocess.run(["zsh", "-f", "-c", TYPING_DRIVER], input=text, text=True, check=True, env=environment)
    assert told.read_text().split("\n")[1:-1] == list(typed.values())
