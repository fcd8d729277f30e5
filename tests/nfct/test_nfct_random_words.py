# SPDX-License-Identifier: GPL-2.0-or-later
"""No words bring nfct out of its way: it ends with 0, 1 or 255 and says why, in the namespace of a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from tempfile import TemporaryFile

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyconntrack.cli.nfct import COMMANDS, SUBSYSTEMS, run
from pyconntrack.cli.nfct_timeout import seconds
from pyconntrack.model import KNOWN_HELPERS
from testbed import Namespace

KNOWN = [*COMMANDS, *SUBSYSTEMS, *KNOWN_HELPERS, "inet", "inet6", "tcp", "udp", "icmpv6", "generic", "sctp"]
STATES = ["established", "unreplied", "timeout", "closed", "5", "-1", "name", ""]

# What argv can hold: bytes without NUL, which Python gives as text with lone surrogates.
anything = st.binary(max_size=40).map(lambda word: os.fsdecode(word.replace(b"\0", b"0")))
word = st.one_of(
    st.sampled_from(KNOWN), st.sampled_from(STATES), st.sampled_from(KNOWN).map(lambda w: w[:2]), anything
)
likely = st.tuples(
    st.sampled_from(["add", "get", "delete", "default-set", "default-get", "disable"]),
    st.sampled_from(["timeout", "helper"]),
    st.one_of(anything, st.sampled_from(["inet", "name", "ftp"])),
    word,
    word,
).map(list)


@contextmanager
def output_to(descriptor: int) -> Iterator[list[bytes]]:
    """What is written to a descriptor of this process meanwhile."""
    written: list[bytes] = []
    kept = os.dup(descriptor)
    try:
        with TemporaryFile() as file:
            os.dup2(file.fileno(), descriptor)
            yield written
            file.seek(0)
            written.append(file.read())
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@given(
    words=st.one_of(
        st.lists(word, max_size=7),
        likely,
        st.tuples(likely, st.lists(word, max_size=5)).map(lambda parts: list(chain(*parts))),
    )
)
@example(words=["add", "timeout", "x", "inet", "tcp", "established", "9" * 5000])
@example(words=["add", "timeout", "x", "inet", "\udcff", "established", "1"])
@example(words=["list", "\udcff"])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words(namespace: Namespace, words: list[str]) -> None:
    with namespace.entered(), output_to(2) as errors:
        status = run(words)
    (said,) = errors
    assert status in (0, 1)
    assert (status == 0) == (said == b"")
    assert b"Traceback" not in said
    assert said.count(b"\n") <= 3 + sum(w.count("\n") for w in words)


@given(number=st.integers(-(1 << 63), (1 << 63) - 1), tail=st.sampled_from(["", "x", " ", ".5", "\udcff"]))
def test_numbers_are_read_as_strtol_does(number: int, tail: str) -> None:
    assert seconds(f" \t{number}{tail}") == number & 0xFFFFFFFF


@given(number=st.integers(min_value=1 << 63))
def test_numbers_beyond_are_the_farthest(number: int) -> None:
    assert seconds(str(number)) == 0xFFFFFFFF
    assert seconds(str(-number - 1)) == 0
