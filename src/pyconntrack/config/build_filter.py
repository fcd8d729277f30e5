# SPDX-License-Identifier: GPL-2.0-or-later
"""The event filter, from section ``Filter`` and from the clauses that came before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .problems import Located, Report
from .reader import Body
from .settings import AddressFilter, Filter, Policy, ProtocolFilter, StateFilter


@dataclass(frozen=True, slots=True)
class _Part:
    """One list of the filter: its policy and where it stands."""

    at: Located
    name: str
    policy: Policy
    values: list[tuple[Located, Any]]
    ok: bool


def build_filter(file: Body, general: Body | None, sync: Body | None, report: Report) -> Filter:
    """Return the filter of a file. Lists of the same kind and policy are taken together."""
    entries = general.every("Filter") if general is not None else []
    bodies = [entry.body for entry in entries if entry.body is not None]
    for entry in entries[1:]:
        report.warning(
            entry.word,
            f'section "Filter" appeared in line {entries[0].word.line} already; both are taken together',
        )
    kernelspace = any(entry.ok and entry.values and entry.values[-1] is True for entry in entries)
    protocols = _combined([*_parts(bodies, "Protocol"), *_old(file, "IgnoreProtocol", Policy.IGNORE)], report)
    addresses = _combined(
        [*_parts(bodies, "Address"), *_old(file, "IgnoreTrafficFor", Policy.IGNORE)], report
    )
    replicate = _old(sync, "Replicate", Policy.ACCEPT) if sync is not None else ()
    states = _combined([*_parts(bodies, "State"), *replicate], report)
    return Filter(
        kernelspace=kernelspace,
        protocol=ProtocolFilter(protocols[0], frozenset(protocols[1])) if protocols else None,
        address=AddressFilter(addresses[0], tuple(_once(addresses[1]))) if addresses else None,
        state=StateFilter(states[0], frozenset(states[1])) if states else None,
    )


def _parts(filters: Iterable[Body], name: str) -> Iterator[_Part]:
    for body in filters:
        for entry in body.every(name):
            if entry.ok and entry.body is not None:
                yield _Part(
                    entry.word, f"{name} {entry.value.value}", entry.value, _values(entry.body), entry.body.ok
                )


def _old(body: Body, name: str, policy: Policy) -> Iterator[_Part]:
    for entry in body.every(name):
        if entry.body is not None:
            yield _Part(entry.word, name, policy, _values(entry.body), entry.body.ok)


def _values(body: Body) -> list[tuple[Located, Any]]:
    listed: list[tuple[Located, Any]] = [(word, value) for word, value in body.words]
    return listed + [(entry.word, entry.value) for entry in body.entries if entry.ok]


def _combined(parts: list[_Part], report: Report) -> tuple[Policy, list[Any]] | None:
    """The policy and all values of the lists of one kind; None where nothing is listed."""
    values: list[Any] = []
    seen: set[Any] = set()
    for part in parts:
        first = parts[0]
        if part.policy is not first.policy:
            report.error(
                part.at,
                f'"{part.name}" contradicts "{first.name}" of line {first.at.line}; use one policy',
            )
        if not part.values and part.ok:
            report.warning(part.at, f'the list of "{part.name}" is empty and has no effect; remove it')
        for at, value in part.values:
            if value in seen:
                report.warning(at, f'repeated in "{part.name}"; remove it')
            seen.add(value)
            values.append(value)
    return (parts[0].policy, values) if values else None


def _once(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
