# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual, the help and the completion of nfct tell all words that it takes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from pyconntrack import KNOWN_HELPERS
from pyconntrack.cli.nfct import COMMANDS, HELP, SUBSYSTEMS
from pyconntrack.cli.nfct_timeout import STATES, protocol_number
from testbed import Namespace
from tests.nfct.tools import OURS, run_tool

DOCS = Path(__file__).parents[2] / "docs"
MANUAL = DOCS / "man" / "nfct.8"
BASH, ZSH = DOCS / "completion" / "nfct.bash", DOCS / "completion" / "_nfct"
PROTOCOLS = ["tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "generic"]
WORDS = [*COMMANDS, *SUBSYSTEMS, *KNOWN_HELPERS, *PROTOCOLS, "inet", "inet6"]


def test_every_protocol_is_told() -> None:
    assert sorted(protocol_number(name) for name in PROTOCOLS) == sorted(STATES)


def test_groff_has_no_complaint() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    arguments = ["groff", "-t", "-man", "-Tutf8", "-ww", "-z", "-rLL=80n", str(MANUAL)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("file", [MANUAL, BASH, ZSH], ids=lambda file: file.name)
def test_every_word_is_there(file: Path) -> None:
    told = set(re.findall(r"[\w-]+", re.sub(r"\\f.", " ", file.read_text()).replace("\\-", "-")))
    assert sorted(set(WORDS) - told) == []
    lower = {word.lower() for word in told}
    assert sorted({state.lower() for states in STATES.values() for state in states} - lower) == []


def test_help_tells_every_command() -> None:
    lines = re.findall(r"^  nfct ([\w-]+) (\w+)", HELP, re.MULTILINE)
    assert {command for command, _ in lines} == set(COMMANDS)
    assert {subsystem for _, subsystem in lines} == set(SUBSYSTEMS)
    assert set(PROTOCOLS) <= set(re.findall(r"\w+", HELP))


@pytest.mark.parametrize("word", ["--help", "-h", "--version", "-V"])
def test_options(word: str, namespace: Namespace) -> None:
    outcome = run_tool(OURS, [word], namespace)
    assert (outcome.status, outcome.errors) == (0, b"")
    assert outcome.output.startswith(b"Usage: nfct" if "h" in word else b"nfct vX: utility")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["l"], "list"),
        (["timeout", "d"], "delete default-set default-get"),
        (["list", ""], "timeout helper version"),
        (["add", "timeout", "x", ""], "inet inet6"),
        (["add", "timeout", "x", "inet", "udp"], "udp udplite"),
        (["add", "timeout", "x", "inet", "tcp", "est"], "established"),
        (["add", "timeout", "x", "inet", "tcp", "established", ""], ""),
        (["timeout", "default-set", "inet", "udp", "unreplied", "5", ""], "unreplied replied"),
        (["default-get", "timeout", "inet", "udp", ""], ""),
        (["get", "timeout", ""], "first second"),
        (["disable", "helper", "t"], "tftp tns"),
        (["helper", "add", "ftp", "inet6", ""], "tcp udp"),
    ],
)
def test_completion_in_bash(words: list[str], expected: str, tmp_path: Path) -> None:
    listing = r".first = {\n\t.l3proto = 2,\n};\n.second = {\n\t.l3proto = 2,\n};\n"
    script = tmp_path / "complete.bash"
    script.write_text(
        f"source {BASH}\n"
        f"nfct() {{ printf '{listing}'; }}\n"
        'COMP_WORDS=(nfct "$@") COMP_CWORD=$#\n'
        "_nfct\n"
        'echo "${COMPREPLY[*]}"\n'
    )
    done = subprocess.run(["bash", str(script), *words], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_zsh_reads_its_completion() -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    subprocess.run(["zsh", "-n", str(ZSH)], check=True)


def test_a_full_disk(namespace: Namespace) -> None:
    words = "default-get timeout inet tcp"
    with namespace.entered(), Path("/dev/full").open("wb") as full:
        done = subprocess.run([*OURS, *words.split()], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(b": cannot write: No space left on device\n")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_had_enough(namespace: Namespace) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = "default-get timeout inet tcp"
    with namespace.entered(), os.fdopen(writer, "wb") as pipe:
        done = subprocess.run([*OURS, *words.split()], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_no_standard_output_and_no_standard_error(namespace: Namespace) -> None:
    for words, status in (("default-get timeout inet tcp", 0), ("get timeout none", 1)):
        done = namespace.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *OURS, *words.split()], check=False)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
