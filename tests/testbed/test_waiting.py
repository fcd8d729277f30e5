# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a condition."""

from __future__ import annotations

import itertools

import pytest

from testbed import WaitTimeoutError, wait_until


def test_returns_the_first_true_value() -> None:
    values = itertools.count()
    assert wait_until(lambda: next(values) // 3 * 7, 10.0, "the third value") == 7


def test_failure_names_the_condition_its_last_value_and_the_detail() -> None:
    with pytest.raises(WaitTimeoutError) as failure:
        wait_until(list[str], 0.05, "a flow in the table", lambda: "the log says nothing")
    text = str(failure.value)
    assert "for: a flow in the table; last value: []" in text
    assert text.startswith("waited 0.")
    assert text.endswith("\nthe log says nothing")


def test_asks_once_even_without_time() -> None:
    assert wait_until(lambda: True, 0.0, "the truth")


def test_passes_an_exception_through() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 // 0, 10.0, "the impossible")
