# SPDX-License-Identifier: GPL-2.0-or-later
"""A short run of the fuzzers; python -m fuzz makes long ones."""

from __future__ import annotations

from fuzz.__main__ import fuzz_kernel, fuzz_network, fuzz_streams


def test_nothing_that_arrives_does_harm() -> None:
    door = fuzz_network(seed=7, count=20_000, show=False)
    for session in door.sessions:
        assert session.messages_received > 1000
        assert session.external.malformed > 100
    repeated = fuzz_network(seed=7, count=20_000, show=False)
    assert [str(s.errors) for s in repeated.sessions] == [str(s.errors) for s in door.sessions]


def test_nothing_that_the_kernel_might_say_does_harm() -> None:
    door = fuzz_kernel(seed=7, count=10_000, show=False)
    assert door.cache.malformed > 100
    assert door.cache.counters.created > 100


def test_nothing_that_stands_in_a_stream_does_harm() -> None:
    door = fuzz_streams(seed=7, count=20_000, show=False)
    assert door.runs > 1000
    assert door.rubbish > 100
