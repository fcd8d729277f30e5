# SPDX-License-Identifier: GPL-2.0-or-later
"""Several nodes claim one flow: the newest claim is the entry of the external cache, the others are kept."""

from __future__ import annotations

from random import Random

from pyconntrack.core.expectation_cache import ExternalExpectations
from pyconntrack.core.external import ExternalCache
from tests.core import support_expectation_wire as told
from tests.core.support_flows import UDP, FlowTuple, KernelFlow, random_flow
from tests.core.support_wire import DESTROY, NEW, UPDATE, flow_body, message, read_table

LEFT, RIGHT, THIRD = 0, 1, 2


def body(number: int = 1, mark: int = 0, timeout: int = 30) -> bytes:
    original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (number, 53))
    return flow_body(KernelFlow(original, number, mark=mark), timeout)


def take(cache: ExternalCache, kind: int, data: bytes, owner: int, now: int = 0) -> None:
    datagram = message(kind, 0, 7, data)
    assert cache.apply_run(datagram, 0, 7, True, owner, now) == len(datagram)


def shown(cache: ExternalCache) -> list[int]:
    """The marks of the entries."""
    batch = read_table(cache.table)
    return sorted(int(batch.unpack(index).get("mark", 0)) for index in range(len(batch)))


def digest_of(*bodies: bytes) -> tuple[int, int]:
    """What a node would say that has these and nothing else."""
    alone = ExternalCache()
    for data in bodies:
        take(alone, NEW, data, LEFT)
    return alone.count_of(LEFT), alone.digest_of(LEFT)


def claimed_by_two() -> ExternalCache:
    """Left had the flow, then right took it over."""
    cache = ExternalCache()
    take(cache, NEW, body(mark=1), LEFT)
    take(cache, NEW, body(mark=2), RIGHT)
    return cache


def test_the_newest_claim_is_the_entry() -> None:
    cache = claimed_by_two()
    assert shown(cache) == [2]
    assert (len(cache), cache.claims) == (1, 1)
    assert [cache.count_of(owner) for owner in (LEFT, RIGHT)] == [1, 1]
    assert [cache.beneath_of(owner) for owner in (LEFT, RIGHT)] == [1, 0]


def test_each_nodes_books_are_right_while_two_claim_a_flow() -> None:
    cache = claimed_by_two()
    assert cache.settle(LEFT, *digest_of(body(mark=1)))
    assert cache.settle(RIGHT, *digest_of(body(mark=2)))
    assert not cache.settle(LEFT, *digest_of(body(mark=2)))


def test_what_is_repeated_takes_nothing_back_but_what_changed_does() -> None:
    cache = claimed_by_two()
    take(cache, UPDATE, body(mark=1), LEFT)
    assert shown(cache) == [2]
    take(cache, UPDATE, body(mark=3), LEFT)
    assert shown(cache) == [3]
    take(cache, UPDATE, body(mark=2), RIGHT)
    assert shown(cache) == [3]
    assert cache.settle(LEFT, *digest_of(body(mark=3)))
    assert cache.settle(RIGHT, *digest_of(body(mark=2)))


def test_a_timeout_that_has_run_on_takes_nothing_back() -> None:
    """A node that starts again tells of its table with what is left of each timeout."""
    cache = claimed_by_two()
    take(cache, NEW, body(mark=1, timeout=29), LEFT)
    assert shown(cache) == [2]
    assert cache.settle(LEFT, *digest_of(body(mark=1, timeout=29)))


def test_when_the_newest_ends_the_one_before_it_is_the_entry() -> None:
    cache = claimed_by_two()
    take(cache, NEW, body(mark=3), THIRD)
    take(cache, DESTROY, body(), THIRD)
    assert (shown(cache), cache.claims) == ([2], 1)
    take(cache, DESTROY, body(), RIGHT)
    assert (shown(cache), cache.claims) == ([1], 0)
    take(cache, DESTROY, body(), LEFT)
    assert (len(cache), cache.counters.destroyed, cache.counters.created) == (0, 1, 1)


def test_an_end_told_by_who_was_replaced_ends_its_claim_only() -> None:
    cache = claimed_by_two()
    take(cache, DESTROY, body(), LEFT)
    assert (shown(cache), cache.claims, cache.count_of(LEFT)) == ([2], 0, 0)
    take(cache, DESTROY, body(), LEFT)
    assert (cache.counters.destroyed, cache.counters.destroy_failed) == (0, 0)


def test_a_silent_nodes_claim_goes_with_the_flow() -> None:
    """Who is dead tells no end: its claim would be an entry again, for ever."""
    cache = claimed_by_two()
    cache.set_silent(LEFT, True)
    assert len(cache) == 1
    take(cache, DESTROY, body(), RIGHT)
    assert (len(cache), cache.claims, cache.count_of(LEFT)) == (0, 0, 0)


def test_a_silent_nodes_entries_stay() -> None:
    cache = ExternalCache()
    take(cache, NEW, body(mark=1), LEFT)
    cache.set_silent(LEFT, True)
    assert shown(cache) == [1]


def test_left_over_claims_are_swept() -> None:
    cache = ExternalCache()
    for number in range(10):
        take(cache, NEW, body(number, 1), LEFT)
        if number % 2:
            take(cache, NEW, body(number, 2), RIGHT)
    cache.begin_resync(LEFT)
    take(cache, UPDATE, body(0, 1), LEFT)
    take(cache, UPDATE, body(1, 1), LEFT)
    assert cache.settle(LEFT, *digest_of(body(0, 1), body(1, 1)))
    while cache.sweep(3):
        pass
    assert [cache.count_of(owner) for owner in (LEFT, RIGHT)] == [2, 5]
    assert (shown(cache), cache.claims) == ([1, 2, 2, 2, 2, 2], 1)


def test_a_second_name_of_a_node_becomes_the_first() -> None:
    cache = ExternalCache()
    take(cache, NEW, body(1, 1), LEFT)
    take(cache, NEW, body(2, 1), LEFT)
    take(cache, NEW, body(2, 2), RIGHT)
    take(cache, NEW, body(3, 2), RIGHT)
    take(cache, NEW, body(4, 1), RIGHT)
    take(cache, NEW, body(4, 2), LEFT)
    take(cache, NEW, body(5, 2), RIGHT)
    take(cache, NEW, body(5, 3), THIRD)
    cache.merge_owners(RIGHT, LEFT)
    assert [cache.count_of(owner) for owner in (LEFT, RIGHT, THIRD)] == [5, 0, 1]
    assert (shown(cache), cache.claims, cache.beneath_of(LEFT)) == ([1, 2, 2, 2, 3], 1, 1)
    mine = (body(1, 1), body(2, 2), body(3, 2), body(4, 2), body(5, 2))
    assert cache.settle(LEFT, *digest_of(*mine))


def test_claims_are_bounded_by_the_limit() -> None:
    cache = ExternalCache(limit=10)
    for owner in range(5):
        for number in range(20):
            take(cache, NEW, body(number, owner), owner)
    assert (len(cache), cache.claims, cache.full) == (10, 10, True)
    assert cache.flush() == 10
    assert (cache.claims, cache.full) == (0, False)


def test_old_claims_expire_with_what_lies_over_them() -> None:
    cache = ExternalCache()
    take(cache, NEW, body(mark=1), LEFT, now=10)
    take(cache, NEW, body(mark=2), RIGHT, now=20)
    take(cache, UPDATE, body(mark=1), LEFT, now=30)
    assert (cache.expire(0, 100, 35, 10), shown(cache), cache.claims) == (1, [1], 0)
    take(cache, NEW, body(mark=2), RIGHT, now=36)
    assert (cache.expire(0, 100, 90, 10), len(cache), cache.claims) == (2, 0, 0)


def test_an_entry_keeps_its_size() -> None:
    cache, count = ExternalCache(), 20_000
    for number in range(count):
        take(cache, NEW, body(number), LEFT)
    before = cache.table.memory
    for number in range(count):
        take(cache, NEW, body(number, 1), RIGHT)
        take(cache, DESTROY, body(number, 1), LEFT)
    assert cache.table.memory <= before + 2**21


def test_the_books_stay_right() -> None:
    """Random messages of several owners against lists of claims, with bodies of many sizes."""
    random = Random(2)
    cache = ExternalCache()
    pool = [random_flow(random, number, zone=number % 3) for number in range(100)]
    # Every body has a mark of its own.
    held: dict[object, list[tuple[int, bytes]]] = {flow.key: [] for flow in pool}
    for step in range(8000):
        flow, owner = random.choice(pool), random.randrange(4)
        claims = held[flow.key]
        mine = next((claim for claim in claims if claim[0] == owner), None)
        if random.random() < 0.6:
            fresh = random_flow(random, step, flow.original, flow.zone)
            fresh.mark = step + 1
            data = flow_body(fresh, random.randrange(99), True, True)
            if mine is not None and random.random() < 0.3:
                data = mine[1]
            take(cache, random.choice((NEW, UPDATE)), data, owner)
            if mine is None or mine[1] != data:
                held[flow.key] = [claim for claim in claims if claim is not mine] + [(owner, data)]
        elif claims:
            take(cache, DESTROY, claims[0][1], owner)
            held[flow.key] = [claim for claim in claims if claim is not mine]
        if step % 500 == 0:
            check_against(cache, list(held.values()))
    check_against(cache, list(held.values()))


def check_against(cache: ExternalCache, held: list[list[tuple[int, bytes]]]) -> None:
    assert len(cache) == sum(1 for claims in held if claims)
    assert cache.claims == sum(len(claims) - 1 for claims in held if claims)
    for owner in range(4):
        bodies = [data for claims in held for who, data in claims if who == owner]
        assert cache.settle(owner, *digest_of(*bodies))
        beneath = sum(1 for claims in held for who, _ in claims[:-1] if who == owner)
        assert cache.beneath_of(owner) == beneath
    rebuilt = ExternalCache()
    for claims in held:
        if claims:
            take(rebuilt, NEW, claims[-1][1], LEFT)
    assert all_values(cache) == all_values(rebuilt)


def all_values(cache: ExternalCache) -> list[str]:
    batch = read_table(cache.table)
    return sorted(str(batch.unpack(index)) for index in range(len(batch)))


def test_a_second_names_expectations_become_the_firsts_too() -> None:
    expectations = ExternalExpectations()
    cache = ExternalCache(expectations=expectations)
    for number, owner in ((1, LEFT), (2, RIGHT), (3, THIRD)):
        expectations.apply(told.NEW, told.ftp_body(number), owner, 0)
    cache.merge_owners(RIGHT, LEFT)
    for number in (1, 2, 3):
        expectations.apply(told.DESTROY, told.ftp_body(number), LEFT, 1)
    assert (len(expectations), expectations.counters.destroyed) == (1, 2)
