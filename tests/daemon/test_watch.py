# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon's log tells of things that happen again and again, or last."""

from __future__ import annotations

import itertools

from pyconntrack.daemon.watch import Check, Clocks, Fullness, Recurring


class Lines:
    """A log that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, message: str, /) -> None:
        self.lines.append(f"notice: {message}")

    def warning(self, message: str, /) -> None:
        self.lines.append(f"warning: {message}")

    def error(self, message: str, /) -> None:
        self.lines.append(f"error: {message}")

    def at(self, check: Check, now: float) -> list[str]:
        """What a look at a time says."""
        check.look(now, self)
        said, self.lines = self.lines, []
        return said


class Numbers:
    """What is counted."""

    def __init__(self, value: float = 0) -> None:
        self.value = value

    def __call__(self) -> int:
        return int(self.value)


def recurring(count: Numbers) -> Recurring:
    return Recurring(count, lambda times: f"{times} times")


def test_trouble_is_told_at_once_and_then_less_and_less_often() -> None:
    count, log = Numbers(5), Lines()
    check = recurring(count)
    assert log.at(check, 0.0) == []
    told = []
    for second in range(1, 10_000):
        count.value += 1
        if said := log.at(check, float(second)):
            told.append((second, said))
    assert told[0] == (1, ["warning: 1 times"])
    assert told[1] == (61, ["warning: 60 times"])
    assert told[2] == (181, ["warning: 120 times"])
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(told)]
    assert gaps == [60, 120, 240, 480, 960, 1920, 3600]


def test_trouble_that_was_gone_for_long_is_told_at_once_and_soon_again() -> None:
    count, log = Numbers(), Lines()
    check = recurring(count)
    for second in range(1, 1000):
        count.value += 1
        log.at(check, float(second))
    for second in range(1000, 3000):
        log.at(check, float(second))
    count.value += 7
    assert log.at(check, 3000.0) == ["warning: 7 times"]
    count.value += 1
    assert log.at(check, 3059.0) == []
    assert log.at(check, 3060.0) == ["warning: 1 times"]


def test_another_reason_is_told_at_once_and_once() -> None:
    count, reason, log = Numbers(), Numbers(1), Lines()
    check = Recurring(count, lambda times: f"{times} times for reason {reason()}", reason)
    said = []
    for second in range(1, 50):
        count.value += 1
        reason.value = 1 + second // 20 % 2
        said += log.at(check, float(second))
    assert said == ["warning: 1 times for reason 1", "warning: 19 times for reason 2"]


def test_a_few_are_not_worth_a_word() -> None:
    count, log = Numbers(), Lines()
    check = Recurring(count, lambda times: f"{times} times", least=3)
    count.value = 2
    assert log.at(check, 1.0) == []
    count.value = 3
    assert log.at(check, 2.0) == ["warning: 3 times"]


def test_count_that_begins_anew_is_followed() -> None:
    count, log = Numbers(100), Lines()
    check = recurring(count)
    count.value = 3
    assert log.at(check, 1.0) == []
    count.value = 5
    assert log.at(check, 2.0) == ["warning: 2 times"]


class Cache:
    """One with room for 100 entries."""

    def __init__(self) -> None:
        self.entries, self.refused = Numbers(), Numbers()
        self.restored = 0
        self.check = Fullness(
            100,
            self.entries,
            self.refused,
            full="full",
            roomy=lambda count: f"room again, {count} refused",
            restore=self.restore,
        )

    def restore(self) -> None:
        self.restored += 1


def test_full_cache_is_told_once_and_once_that_it_has_room() -> None:
    cache, log = Cache(), Lines()
    cache.entries.value = 100
    assert log.at(cache.check, 1.0) == []
    cache.refused.value = 1
    assert log.at(cache.check, 2.0) == ["warning: full"]
    for second in range(3, 200):
        cache.refused.value += 10
        assert log.at(cache.check, float(second)) == []
    cache.entries.value = 96
    assert log.at(cache.check, 200.0) == []
    cache.entries.value = 95
    assert log.at(cache.check, 201.0) == ["notice: room again, 1971 refused"]
    assert cache.restored == 1
    assert log.at(cache.check, 202.0) == []


def test_cache_that_stays_just_below_its_limit_has_room_once_it_is_quiet() -> None:
    cache, log = Cache(), Lines()
    cache.entries.value, cache.refused.value = 99, 1
    assert log.at(cache.check, 1.0) == ["warning: full"]
    assert log.at(cache.check, 10.0) == []
    assert log.at(cache.check, 11.0) == ["notice: room again, 1 refused"]


def test_cache_that_is_full_again_and_again_is_told_once_a_minute() -> None:
    cache, log = Cache(), Lines()
    said = []
    for second in range(240):
        cache.entries.value = 100 if second % 2 else 50
        cache.refused.value += second % 2
        said += log.at(cache.check, float(second))
    assert said.count("warning: full") == 4
    assert cache.restored == 4
    assert sum(int(line.split()[3]) for line in said if "room" in line) > 90


def test_clock_that_is_set_is_told_and_one_that_is_turned_slowly_is_not() -> None:
    wall, steady, log = Numbers(1_000_000), Numbers(0), Lines()
    check = Clocks(wall, steady)
    for _ in range(5):
        wall.value += 1
        steady.value += 1
        assert log.at(check, float(steady.value)) == []
    wall.value -= 3600
    expected = "the system's clock was set back by 3600 s; only the time stamps of this log follow it"
    assert log.at(check, 6.0) == [f"warning: {expected}"]
    assert log.at(check, 7.0) == []
    wall.value += 1
    assert log.at(check, 8.0) == []
    wall.value += 60
    assert "set forward by 60 s" in log.at(check, 9.0)[0]


def test_standstill_is_told() -> None:
    check, log = Clocks(Numbers(), Numbers()), Lines()
    assert log.at(check, 1000.0) == []
    assert log.at(check, 1002.5) == []
    assert log.at(check, 1013.5) == [
        "warning: this daemon stood still for 10 s: it was stopped, or had no processor"
    ]
    assert log.at(check, 1014.5) == []
