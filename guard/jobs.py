# SPDX-License-Identifier: GPL-2.0-or-later
"""The jobs. Each function makes everything ready, and returns what is to be measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from guard.flows import FLOWS
from pyconntrack.core import kernel_codec, output
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.changes import FlowChange
from pyconntrack.core.commit import Commit
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.listing import list_text
from pyconntrack.core.load import MORE, Loader
from pyconntrack.core.match import FlowMatch
from pyconntrack.core.requests import RequestBatch
from tests.core.support_netlink import destroy, dumped, event

Job = Callable[[], None]

NOW = 1000
_DATAGRAM = 1472
_PIECE = 32768


def _pieces(messages: list[bytes]) -> list[bytes]:
    """The messages together, as many as the kernel puts into one datagram of a dump."""
    pieces = [b""]
    for message in messages:
        if len(pieces[-1]) + len(message) > _PIECE:
            pieces.append(b"")
        pieces[-1] += message
    return pieces


_DUMP = _pieces([dumped(flow, flow.timeout) for flow in FLOWS])
_NEW = _pieces([event(flow, True, ("protocol",)) for flow in FLOWS])
_UPDATES = _pieces([event(replace(flow, mark=flow.mark + 1), False, ("mark",)) for flow in FLOWS])
_DESTROYS = _pieces([destroy(flow) for flow in FLOWS])


def _decode(batch: FlowBatch) -> None:
    for piece in _DUMP:
        kernel_codec.decode(piece, batch)


def _decoded() -> FlowBatch:
    batch = FlowBatch(len(FLOWS))
    _decode(batch)
    assert len(batch) == len(FLOWS)
    return batch


def decode_dump() -> Job:
    return partial(_decode, FlowBatch(len(FLOWS)))


def _format(form: int, batch: FlowBatch) -> None:
    for start in range(0, len(batch), 2000):
        assert output.format_batch(batch, start, start + 2000, form)


def format_plain() -> Job:
    return partial(_format, output.PLAIN, _decoded())


def format_xml() -> Job:
    return partial(_format, output.XML, _decoded())


def format_save() -> Job:
    return partial(_format, output.SAVE, _decoded())


def format_json() -> Job:
    return partial(_format, output.JSON, _decoded())


def select_and_change() -> Job:
    batch, requests = _decoded(), FlowBatch(len(FLOWS))

    def job() -> None:
        FlowMatch(values={"mark": 0}).select(batch)
        FlowChange({"mark": 7}).prepare(batch, requests)
        assert 0 < len(requests) < len(FLOWS)

    return job


def load_lines() -> Job:
    text = output.format_batch(_decoded(), 0, len(FLOWS), output.SAVE)
    requests = RequestBatch()
    loader = Loader(lambda path: _no_labels, requests)

    def job() -> None:
        loaded = 0
        for start in range(0, len(text), 65536):
            loader.feed(text[start : start + 65536], start + 65536 >= len(text))
            while loader.fill() != MORE:
                loaded += len(requests)
                requests.clear()
        assert loaded + len(requests) == len(FLOWS)

    return job


class _NoLabels:
    def find(self, name: str, /) -> int:
        return -1


_no_labels = _NoLabels()


def _drain(cache: InternalCache) -> list[bytes]:
    """Everything that waits in the queue, as datagrams."""
    out, datagrams, sequence = Datagrams(_DATAGRAM), [], 1
    while sent := cache.queue.fill(out, sequence, 0):
        sequence += sent
        datagrams += [out[index] for index in range(len(out))]
        out.clear()
    return datagrams


def _follow_and_send(cache: InternalCache, pieces: list[bytes]) -> list[bytes]:
    """Follow events and send what becomes of them at once, so that each costs a message."""
    datagrams = []
    for piece in pieces:
        cache.follow(piece, NOW)
        datagrams += _drain(cache)
    return datagrams


def _filled() -> tuple[InternalCache, list[bytes]]:
    cache = InternalCache()
    return cache, _follow_and_send(cache, _NEW)


def events_new() -> Job:
    cache = InternalCache()
    return lambda: _check(cache, _follow_and_send(cache, _NEW), len(FLOWS))


def events_update() -> Job:
    cache, _ = _filled()
    return lambda: _check(cache, _follow_and_send(cache, _UPDATES), len(FLOWS))


def events_destroy() -> Job:
    cache, _ = _filled()
    return lambda: _check(cache, _follow_and_send(cache, _DESTROYS), 0)


def _check(cache: InternalCache, datagrams: list[bytes], live: int) -> None:
    assert datagrams
    assert len(cache) == live


def resync_from_dump() -> Job:
    cache, _ = _filled()

    def job() -> None:
        cache.begin_resync()
        for piece in _DUMP:
            cache.merge_dump(piece, NOW)
        cache.end_resync()
        assert len(cache) == len(FLOWS)

    return job


def bulk() -> Job:
    cache, _ = _filled()

    def job() -> None:
        cache.queue.push_all()
        assert _drain(cache)

    return job


def _receive(cache: ExternalCache, datagrams: list[bytes]) -> None:
    for datagram in datagrams:
        expected = int.from_bytes(datagram[4:8])
        assert cache.apply_run(datagram, 0, expected, True, 0, NOW) == len(datagram)


def _received() -> tuple[ExternalCache, InternalCache]:
    internal, datagrams = _filled()
    external = ExternalCache()
    _receive(external, datagrams)
    assert len(external) == len(FLOWS)
    return external, internal


def receive_new() -> Job:
    _, datagrams = _filled()
    return partial(_receive, ExternalCache(), datagrams)


def receive_again() -> Job:
    external, internal = _received()
    internal.queue.push_all()
    return partial(_receive, external, _drain(internal))


def receive_destroy() -> Job:
    external, internal = _received()
    datagrams = _follow_and_send(internal, _DESTROYS)

    def job() -> None:
        _receive(external, datagrams)
        assert len(external) == 0

    return job


def list_cache() -> Job:
    external, _ = _received()

    def job() -> None:
        cursor, more = 0, True
        while more:
            text, cursor = list_text(external.table, cursor, True, False, NOW)
            more = bool(text)

    return job


def commit_requests() -> Job:
    external, _ = _received()
    commit = Commit(external.table)

    def job() -> None:
        """The kernel is not asked: that ends a step with an error, behind which the next one goes on."""
        ended = False
        while not ended:
            with contextlib.suppress(OSError):
                ended = not commit.step(-1, NOW)

    return job


JOBS = (
    decode_dump,
    format_plain,
    format_xml,
    format_save,
    format_json,
    select_and_change,
    load_lines,
    events_new,
    events_update,
    events_destroy,
    resync_from_dump,
    bulk,
    receive_new,
    receive_again,
    receive_destroy,
    list_cache,
    commit_requests,
)
