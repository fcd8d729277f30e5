# SPDX-License-Identifier: GPL-2.0-or-later
"""ExpectationSync: what commands about expectations do and log, and what the daemon sees without events."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from pyconntrack import ExpectationTable, Tuple
from testbed import Configuration, wait_until
from tests.peer.expectations import KINDS, cache_lines, expected_by, lines_of, packed, varied
from tests.peer.flows import batch_of
from tests.peer.nodes import Cache, Field, Kind, Node, Pair

FEW = 14
Adapt = Callable[[Configuration], None]


def with_options(*lines: str) -> Adapt:
    def adapt(configuration: Configuration) -> None:
        configuration.options = list(lines)

    return adapt


def create(node: Node, count: int = FEW) -> None:
    masters, expectations = varied(count)
    node.create(masters)
    with ExpectationTable(node.namespace.name) as table:
        assert not table.create_batch(expectations)


def shown(node: Node, cache: Cache) -> list[bytes]:
    return cache_lines(node.daemon.client("-i" if cache == "internal" else "-e", "expect").stdout)


def wait_shown(pair: Pair, node: Node, cache: Cache) -> None:
    """Wait until a cache shows what the sender's kernel expects."""
    lines = lines_of(expected_by(pair.sender.namespace))
    what = f"{len(lines)} expectations in the {cache} cache of {node.daemon.name}"
    wait_until(lambda: shown(node, cache) == lines, 20.0, what, pair.logs)


def notices(node: Node) -> list[str]:
    """What it logged since it started, without durations."""
    texts = [line.split("] ", 2)[-1] for line in node.daemon.log_file.read_text().splitlines()]
    begin = max(i for i, text in enumerate(texts) if text.startswith("-- starting"))
    return [text.rpartition(" taken ")[0] or text for text in texts[begin + 1 :]]


@pytest.fixture(params=["ours", "C"])
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """Two nodes of a kind: what one kind does and says, the other must do and say."""
    kind: Kind = request.param
    made = field.pair(kind, kind, "FTFW", "udp", with_options("ExpectationSync on"))
    for node in made.nodes:
        node.daemon.log_file.unlink(missing_ok=True)
    with made.running():
        create(made.sender)
        wait_shown(made, made.receiver, "external")
        made.wait_external()
        yield made


def test_what_commands_do_and_say(pair: Pair) -> None:
    node = pair.receiver
    # To commit a flow that is there ends it, and what it expects with it.
    for command in (["-c"], ["-c", "ct"], ["-c", "expect"], ["-R", "expect"], ["-R"]):
        node.daemon.client(*command)
    assert len(expected_by(node.namespace)) == FEW
    for command in (["-F", "expect"], ["-c", "expect"], ["-F"]):
        node.daemon.client(*command)
    assert not expected_by(node.namespace)
    flows = [f"Committed {FEW} new entries", "commit has"]
    expectations = [f"Committed {FEW} new expectations", "commit has"]
    assert notices(node) == [
        *("committing all external caches", *flows, *expectations),
        *("committing conntrack cache", *flows),
        *("committing expectation cache", *expectations),
        "resync with master expect table",
        *("resync with master conntrack table", "resync with master expect table"),
        "flushing kernel expect table",
        *("committing expectation cache", *expectations),
        *("flushing kernel conntrack table", "flushing kernel expect table"),
    ]


def test_statistics_are_laid_out_alike(pair: Pair) -> None:
    text = pair.receiver.daemon.client("-s", "expect").stdout
    lines = text.splitlines()
    assert [line for line in lines if line.endswith(":")] == [
        *("cache internal:", "cache external:", "traffic processed:"),
        *("UDP traffic (active device=sync):", "message tracking:"),
    ]
    external = lines[lines.index("cache external:") + 1 :]
    assert external[0] == f"current active connections:\t{FEW:12}"
    assert external[1] == f"connections created:\t\t{FEW:12}\tfailed:\t{0:12}"


def test_xml_and_lines_name_what_is_there(pair: Pair) -> None:
    xml = pair.receiver.daemon.client("-e", "expect", "-x").stdout
    assert len(re.findall(r"^<flow><layer3 protonum=.*</flow>$", xml, re.M)) == FEW
    ages = re.findall(r"\[active since \d+s\]$", pair.receiver.daemon.client("-e", "expect").stdout, re.M)
    assert len(ages) == FEW


# Of ours only.


def ours(field: Field, adapt: Adapt, mode: str = "FTFW") -> Pair:
    assert mode in ("FTFW", "ALARM")
    return field.pair("ours", "ours", "ALARM" if mode == "ALARM" else "FTFW", "udp", adapt)


def test_only_helpers_that_are_listed(field: Field) -> None:
    listed = with_options("ExpectationSync {", "FTP", "pptp", "}")
    with ours(field, listed).running() as pair:
        create(pair.sender)
        chosen = [each for each in expected_by(pair.sender.namespace) if each["helper"] in ("ftp", "pptp")]
        assert 0 < len(chosen) < FEW
        wait_until(lambda: shown(pair.receiver, "external") == lines_of(chosen), 20.0, "those", pair.logs)


def test_without_expectation_sync_commands_about_them_do_nothing(field: Field) -> None:
    with ours(field, with_options()).running() as pair:
        create(pair.sender)
        pair.wait_equal()
        for options in (["-i", "expect"], ["-e", "expect"], ["-s", "expect"], ["-c", "expect"]):
            answer = pair.sender.daemon.client(*options)
            assert (answer.stdout, answer.stderr) == ("", "")
        pair.sender.daemon.client("-F", "expect")
        assert len(expected_by(pair.sender.namespace)) == FEW


def test_what_has_no_master_here_is_counted_with_its_reason(field: Field) -> None:
    with ours(field, with_options("ExpectationSync on")).running() as pair:
        create(pair.sender)
        wait_shown(pair, pair.receiver, "external")
        pair.receiver.daemon.client("-c", "expect")
        log = pair.receiver.daemon.log_file.read_text()
        assert "Committed 0 new expectations" in log
        assert f"{FEW} expectations can't be committed" in log
        assert f"commit: {FEW} times ENOENT, its master is not in the kernel" in log


def test_masters_from_before_the_start_are_seen(field: Field) -> None:
    """The kernel makes no event of what they expect."""
    pair = ours(field, with_options("ExpectationSync on"))
    masters, expectations = varied(FEW)
    for node in pair.nodes:
        node.flush_kernel()
    pair.sender.create(masters)
    try:
        for node in pair.nodes:
            node.daemon.start()
        with ExpectationTable(pair.sender.namespace.name) as table:
            assert not table.create_batch(expectations)
        wait_shown(pair, pair.receiver, "external")
        pair.sender.flush_kernel()
        wait_shown(pair, pair.receiver, "external")
    finally:
        for node in pair.nodes:
            node.daemon.kill()


def test_polling_sees_what_begins_and_ends(field: Field) -> None:
    def adapt(configuration: Configuration) -> None:
        configuration.options = ["ExpectationSync on"]
        configuration.general_lines = ["PollSecs 1"]

    with ours(field, adapt).running() as pair:
        create(pair.sender)
        wait_shown(pair, pair.receiver, "external")
        with ExpectationTable(pair.sender.namespace.name) as table:
            table.flush()
        wait_shown(pair, pair.receiver, "external")


def test_mode_alarm_tells_again(field: Field) -> None:
    def adapt(configuration: Configuration) -> None:
        configuration.options = ["ExpectationSync on"]
        configuration.mode_lines = ["RefreshTime 2", "CacheTimeout 30"]

    with ours(field, adapt, "ALARM").running() as pair:
        create(pair.sender)
        wait_shown(pair, pair.receiver, "external")
        pair.receiver.daemon.client("-f", "external")
        wait_shown(pair, pair.receiver, "external")


def test_a_master_that_ends_takes_what_it_expects_along(field: Field) -> None:
    with ours(field, with_options("ExpectationSync on")).running() as pair:
        create(pair.sender)
        wait_shown(pair, pair.receiver, "external")
        some = [KINDS[index % len(KINDS)](index)[0] for index in range(1, 5)]
        with pair.sender.table() as table:
            assert not table.delete_batch(batch_of({"original": flow["original"]} for flow in some))
        assert len(expected_by(pair.sender.namespace)) == FEW - len(some)
        wait_shown(pair, pair.receiver, "external")


def test_what_a_flow_of_another_zone_expects_goes_to_that_zone(field: Field) -> None:
    """Nothing says so but the flow itself."""
    with ours(field, with_options("ExpectationSync on")).running() as pair:
        create(pair.sender)
        master, expectation = KINDS[0](100)
        pair.sender.create(batch_of([{**master, "zone": 7}]))
        with ExpectationTable(pair.sender.namespace.name) as table:
            assert not table.create_batch(packed([{**expectation, "zone": 7}]))
        wait_shown(pair, pair.receiver, "external")
        pair.wait_external()
        for _ in range(2):
            pair.receiver.daemon.client("-c")
            assert len(expected_by(pair.receiver.namespace)) == FEW + 1, pair.logs()
        with ExpectationTable(pair.receiver.namespace.name) as table:
            of_master = Tuple.from_values(master["original"])
            assert [each.helper for each in table.dump(master=of_master, zone=7)] == ["ftp"]
