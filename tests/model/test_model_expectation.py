# SPDX-License-Identifier: GPL-2.0-or-later
"""An expectation as a person holds it, into a record and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyconntrack
from pyconntrack import (
    Direction,
    Event,
    Expectation,
    ExpectationBatch,
    ExpectationFlag,
    ExpectationNat,
    Protocol,
    Tuple,
)

SHORTS = st.integers(0, 0xFFFF)
WORDS = st.integers(0, 0xFFFFFFFF)
NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-.0123456789", max_size=15)


def tuples(version: Any) -> st.SearchStrategy[Tuple]:
    addresses = st.ip_addresses(v=version)
    return st.builds(Tuple, addresses, addresses, st.integers(0, 255), SHORTS, SHORTS)


def expectations(version: Any) -> st.SearchStrategy[Expectation]:
    return st.builds(
        Expectation,
        expected=st.none() | tuples(version),
        mask=st.none() | tuples(version),
        master=st.none() | tuples(version),
        timeout=st.none() | WORDS,
        id=st.none() | WORDS,
        zone=st.none() | SHORTS,
        flags=st.none() | WORDS.map(ExpectationFlag),
        class_=st.none() | WORDS,
        helper=st.none() | NAMES,
        function=st.none() | NAMES,
        nat=st.none() | st.builds(ExpectationNat, st.sampled_from(Direction) | st.just(7), tuples(version)),
        event=st.sampled_from(Event),
    )


@given(st.one_of(expectations(4), expectations(6)))
def test_an_expectation_goes_into_a_batch_and_comes_back(expectation: Expectation) -> None:
    batch = ExpectationBatch()
    assert expectation.add_to(batch) == 0
    assert Expectation.from_batch(batch, 0) == expectation


def test_values_have_their_names() -> None:
    batch = ExpectationBatch()
    address = bytes([10, 0, 0, 1])
    values = (2, 6, address, address, 0, 21, 0, 0, 0)
    batch.pack({"expected": values, "flags": 3, "nat": (1, values), "event": 3})
    found = Expectation.from_batch(batch, 0)
    assert found.expected == Tuple("10.0.0.1", "10.0.0.1", Protocol.TCP, 0, 21)
    assert found.flags == ExpectationFlag.PERMANENT | ExpectationFlag.INACTIVE
    assert found.nat is not None
    assert found.nat.direction is Direction.REPLY
    assert found.event is Event.DESTROY
    assert (found.mask, found.helper, found.timeout) == (None, None, None)


def test_what_no_record_can_hold_is_refused() -> None:
    batch = ExpectationBatch()
    with pytest.raises(OverflowError):
        Expectation(timeout=1 << 32).add_to(batch)
    with pytest.raises(ValueError, match="helper"):
        Expectation(helper="a" * 16).add_to(batch)
    assert len(batch) == 0
    with pytest.raises(IndexError):
        Expectation.from_batch(batch, 0)


def test_the_package_offers_it() -> None:
    for name in ("Expectation", "ExpectationTable", "ExpectationEvents", "ExpectationFlag", "ExpectationNat"):
        assert name in pyconntrack.__all__
        assert getattr(pyconntrack, name).__name__ == name
