# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes of a group keep their name when they go over to another link, and do not take another one's."""

from __future__ import annotations

import struct

from pyconntrack.channel.node_names import CONTRADICTIONS, LATE, REACH, NodeNames

HELLO = 0x20
EXTENDED = 0x01
ALIVE = 0x10


def message(number: int, flags: int = ALIVE) -> bytes:
    return struct.pack(">BBHI", 0x1A, flags, 8, number & 0xFFFFFFFF)


def test_a_node_that_changes_its_link_and_comes_back() -> None:
    names = NodeNames()
    first = 0xFFFFFFF0  # the numbers begin anew meanwhile
    assert names.name(0, "10.0.0.2", message(first), 0.0) == "10.0.0.2"
    assert names.name(1, "10.1.0.2", message(first + 300), 1.0) == "10.0.0.2"
    assert names.name(1, "10.1.0.2", message(first + 301), 9.0) == "10.0.0.2"
    assert names.name(0, "10.0.0.2", message(first + 302), 9.1) == "10.0.0.2"


def test_late_messages_do_not_confuse() -> None:
    names = NodeNames()
    names.name(0, "10.0.0.2", message(100), 0.0)
    assert names.name(1, "10.1.0.2", message(110), 5.0) == "10.0.0.2"
    for number in range(101, 110):
        assert names.name(0, "10.0.0.2", message(number), 5.1) == "10.0.0.2"
    assert names.name(1, "10.1.0.2", message(111), 5.2) == "10.0.0.2"


def test_which_of_several_nodes_came_over_is_told_by_its_numbers() -> None:
    names = NodeNames()
    for number, address in ((1_000_000, "10.0.0.2"), (2_000_000, "10.0.0.3")):
        names.name(0, address, message(number), 0.0)
    assert names.name(1, "10.1.0.3", message(2_000_500), 1.0) == "10.0.0.3"
    assert names.name(1, "10.1.0.2", message(1_000_400), 1.0) == "10.0.0.2"


def test_nodes_whose_numbers_are_near_are_told_apart_by_their_addresses() -> None:
    names = NodeNames()
    for number, address in ((1000, "10.0.0.2"), (1001, "10.0.0.18"), (1002, "10.0.0.3")):
        names.name(0, address, message(number), 0.0)
    assert names.name(1, "10.1.0.18", message(1003), 1.0) == "10.0.0.18"
    assert names.name(1, "10.1.0.3", message(1003), 1.0) == "10.0.0.3"
    assert names.name(1, "10.1.0.2", message(1003), 1.0) == "10.0.0.2"


def test_a_node_that_fits_to_none_or_to_two_is_a_new_one() -> None:
    names = NodeNames()
    for number, address in ((1000, "10.0.0.2"), (1100, "10.0.0.3")):
        names.name(0, address, message(number), 0.0)
    assert names.name(1, "10.1.0.1", message(1200), 1.0) == "10.1.0.1"
    assert names.name(1, "10.1.0.9", message(1100 + REACH + 1), 1.0) == "10.1.0.9"


def test_a_node_that_starts_is_known_by_its_address_only() -> None:
    names = NodeNames()
    names.name(0, "10.0.0.2", message(1000), 0.0)
    assert names.name(1, "10.1.0.3", message(1001, ALIVE | HELLO), 1.0) == "10.1.0.3"
    assert names.name(1, "10.1.0.2", message(1001, ALIVE | HELLO), 1.0) == "10.0.0.2"


def test_a_restart_on_a_known_link_is_the_same_node() -> None:
    names = NodeNames()
    names.name(0, "10.0.0.2", message(1000), 0.0)
    names.name(1, "10.1.0.2", message(1001), 1.0)
    assert names.name(0, "10.0.0.2", message(77, ALIVE | HELLO), 9.0) == "10.0.0.2"
    assert names.name(0, "10.0.0.2", message(78), 10.0) == "10.0.0.2"


def test_a_node_that_was_taken_for_another_one_becomes_its_own() -> None:
    """Its numbers happened to fit, but the other one goes on to speak beside it."""
    names = NodeNames()
    names.name(0, "10.0.0.2", message(1000), 0.0)
    assert names.name(1, "10.1.0.3", message(5000), 0.1) == "10.0.0.2"
    now, heard = 0.1, []
    for step in range(30 * CONTRADICTIONS):
        now += LATE / 10
        first = names.name(0, "10.0.0.2", message(1001 + step), now)
        heard.append((first, names.name(1, "10.1.0.3", message(5001 + step), now)))
    assert heard[0] == ("10.0.0.2", "10.0.0.2")
    assert heard[-1] == ("10.0.0.2", "10.1.0.3")
    assert names.name(2, "10.2.0.2", message(1001 + step + 2), now) == "10.0.0.2"


def test_whatever_comes_is_borne() -> None:
    names = NodeNames()
    for number in range(1000):
        assert names.name(number % 2, f"10.0.{number // 256}.{number % 256}", b"x" * (number % 9), 0.0)


def test_who_says_who_it_is_is_left_to_the_session() -> None:
    names = NodeNames()
    names.name(0, "10.0.0.2", message(1000), 0.0)
    names.name(0, "10.0.0.2", message(1001, ALIVE | EXTENDED), 0.0)
    assert names.name(1, "10.1.0.2", message(1002), 1.0) == "10.1.0.2"
    names.name(0, "10.0.0.3", message(1000), 0.0)
    assert names.name(1, "10.1.0.3", message(1001, ALIVE | EXTENDED), 1.0) == "10.1.0.3"
