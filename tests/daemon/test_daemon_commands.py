# SPDX-License-Identifier: GPL-2.0-or-later
"""What clients can make a daemon do, what it logs of that, and what bad clients cannot do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import Conntrackd, wait_until
from tests.peer.flows import batch_of, name_of, varied_flows
from tests.peer.nodes import Field, Kind, Pair

FEW = 200
PURGE_SECONDS = 1
LATER = PURGE_SECONDS + 2


@pytest.fixture(params=["ours", "C"])
def pair(request: pytest.FixtureRequest, field: Field) -> Iterator[Pair]:
    """Two nodes of a kind with a few flows at the sender: what one kind does, the other must do."""
    kind: Kind = request.param
    made = field.pair(
        kind,
        kind,
        "FTFW",
        "udp",
        lambda settings: settings.mode_lines.append(f"PurgeTimeout {PURGE_SECONDS}"),
    )
    for node in made.nodes:
        node.daemon.log_file.unlink(missing_ok=True)
    with made.running():
        made.sender.create(varied_flows(FEW))
        made.wait_equal()
        yield made


def notices(daemon: Conntrackd) -> list[str]:
    """The notices that it logged since it started, without the durations.

    It may warn of what it said before its peer was there.
    """
    lines = (line.split("] ", 2) for line in daemon.log_file.read_text().splitlines())
    texts = [text for _, severity, text in lines if not severity.endswith("[warning")]
    begin = max(i for i, text in enumerate(texts) if text.startswith("-- starting"))
    return [text.rpartition(" taken ")[0] or text for text in texts[begin + 1 :]]


def ask(pair: Pair, *options: str) -> None:
    """Every command is silent and succeeds."""
    answer = pair.receiver.daemon.client(*options)
    assert (answer.stdout, answer.stderr, answer.returncode) == ("", "", 0)


def test_flush_of_caches(pair: Pair) -> None:
    ask(pair, "-f", "internal")
    assert pair.receiver.active("external") == FEW
    ask(pair, "-f", "external")
    assert pair.receiver.active("external") == 0
    ask(pair, "-f")
    assert notices(pair.receiver.daemon) == [
        "flushing internal cache",
        "flushing external cache",
        "flushing caches",
    ]


def test_commit_flush_and_read_of_the_kernel_table(pair: Pair) -> None:
    ask(pair, "-c")
    wait_until(
        lambda: pair.receiver.active("internal") == FEW, 10.0, "the committed flows' events", pair.logs
    )
    ask(pair, "-c", "ct")
    assert len(pair.receiver.kernel()) == FEW
    ask(pair, "-R")
    assert pair.receiver.active("internal") == FEW
    ask(pair, "-F")
    wait_until(lambda: pair.receiver.active("internal") == 0, 10.0, "an empty internal cache", pair.logs)
    assert len(pair.receiver.kernel()) == 0
    assert notices(pair.receiver.daemon) == [
        "committing all external caches",
        f"Committed {FEW} new entries",
        "commit has",
        "committing conntrack cache",
        f"Committed {FEW} new entries",
        "commit has",
        "resync with master conntrack table",
        "flushing kernel conntrack table",
    ]


def test_kernel_table_is_flushed_after_purge_timeout(pair: Pair) -> None:
    pair.commit()
    ask(pair, "-t")
    wait_until(lambda: len(pair.receiver.kernel()) == 0, 10.0 + PURGE_SECONDS, "an empty table", pair.logs)
    assert notices(pair.receiver.daemon)[-2:] == [
        f"flushing conntrack table in {PURGE_SECONDS} secs",
        "flushing kernel conntrack table (scheduled)",
    ]


def test_a_commit_calls_the_flush_off(pair: Pair) -> None:
    """A node that becomes primary again while its old flows wait for their end keeps what it commits."""
    ask(pair, "-t")
    ask(pair, "-c")
    with pair.receiver.table() as table:
        # A flow that the kernel ends by itself, later than the flush would have come.
        assert not table.create_batch(batch_of([{**name_of(varied_flows(FEW + 1), FEW), "timeout": LATER}]))
    wait_until(lambda: len(pair.receiver.kernel()) == FEW, 20.0, "the end of one flow", pair.logs)
    assert not [text for text in notices(pair.receiver.daemon) if "scheduled" in text]


def test_requests_between_nodes(pair: Pair) -> None:
    ask(pair, "-n")
    asked = ["resync requested by other node", "sending bulk update"]
    wait_until(lambda: notices(pair.sender.daemon) == asked, 10.0, "the request's arrival", pair.logs)
    ask(pair, "-B")
    assert notices(pair.receiver.daemon) == ["resync requested", "sending bulk update"]
