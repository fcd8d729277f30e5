# SPDX-License-Identifier: GPL-2.0-or-later
"""From the sections of a file to `Settings`: what must be there and what excludes what."""

from __future__ import annotations

from typing import Any

from pyconntrack.model.names import Protocol
from pyconntrack.model.userspace_helper import protocols_of_helper

from .build_filter import build_filter
from .build_link import build_links
from .problems import Report
from .reader import Body, Entry, merge
from .schema import HELPERS
from .settings import (
    General,
    Helper,
    HelperPolicy,
    HelperType,
    Mode,
    Scheduler,
    Settings,
    Stats,
    Sync,
)


def build_settings(file: Body, report: Report) -> Settings | None:
    """Return the settings of a file, or None where ``report`` holds mistakes."""
    sync_body, stats_body, helper_body = (merge(file, name, report) for name in ("Sync", "Stats", "Helper"))
    general = _general(file, sync_body, stats_body, report)
    sync = _sync(sync_body, report) if sync_body is not None else None
    stats = Stats(**stats_body.fields(Stats)) if stats_body is not None else None
    helper = _helper(helper_body, report) if helper_body is not None else None
    if sync_body is not None and stats_body is not None:
        later = max(sync_body.at, stats_body.at, key=lambda at: (at.line, at.column))
        report.error(later, 'sections "Sync" and "Stats" exclude each other; remove one of them')
    if not report.errors and not file.every("Sync", "Stats", "Helper"):
        report.warning(
            None, 'no section "Sync", "Stats" or "Helper"; taken as "Stats { }", the statistics mode'
        )
        stats = Stats()
    if stats is not None and stats.syslog and general.syslog and stats.syslog != general.syslog:
        report.warning(
            stats_body.at if stats_body else None,
            f'syslog facility "{stats.syslog}" differs from "{general.syslog}" in section General;'
            " use the same one in both",
        )
    return None if report.errors else Settings(general=general, sync=sync, stats=stats, helper=helper)


def _general(file: Body, sync: Body | None, stats: Body | None, report: Report) -> General:
    body = merge(file, "General", report)
    given = stats.fields(General) if stats is not None else {}
    # Stats has clauses of the same name for a log of its own.
    given = {name: given[name] for name in ("netlink_events_reliable", "poll_seconds") if name in given}
    if body is not None:
        given |= body.fields(General)
        unix = merge(body, "UNIX", report)
        if unix is not None:
            given |= unix.fields(General)
        scheduler = merge(body, "Scheduler", report)
        if scheduler is not None:
            given["scheduler"] = Scheduler(**scheduler.fields(Scheduler))
    given["filter"] = build_filter(file, body, sync, report)
    general = General(**given)
    if body is not None:
        _check_general(body, general, report)
    return general


def _check_general(body: Body, general: General, report: Report) -> None:
    growth = body.setting("netlink_buffer_size_max_growth")
    size, largest = general.netlink_buffer_size, general.netlink_buffer_size_max_growth
    if growth is not None and size is not None and largest is not None and largest < size:
        report.warning(
            growth.word,
            f"the largest size, {largest}, is below NetlinkBufferSize, {size}; the buffer will not grow",
        )
    limit = body.setting("hash_limit")
    if limit is not None and general.hash_limit is not None and general.hash_limit < general.hash_size:
        report.warning(
            limit.word,
            f"HashLimit {general.hash_limit} (entries) is below HashSize {general.hash_size} (buckets);"
            " did you exchange the two?",
        )
    paths: dict[Any, str] = {}
    for entry in (
        *body.every("LockFile", "LogFile"),
        *(e for unix in body.bodies("UNIX") for e in unix.every("Path")),
    ):
        path = entry.value if entry.ok else None
        other = paths.setdefault(path, entry.clause.name) if path is not None else entry.clause.name
        if other != entry.clause.name:
            report.error(
                entry.word, f'"{entry.clause.name}" names the same file as "{other}", {path}; choose another'
            )


def _sync(body: Body, report: Report) -> Sync | None:
    mode_entry = _mode(body, report)
    mode = mode_entry.value if mode_entry is not None and mode_entry.values else Mode.FTFW
    given = body.fields(Sync)
    inner = mode_entry.body if mode_entry is not None else None
    if inner is not None:
        given |= inner.fields(Sync)
    options = merge(body, "Options", report)
    if options is not None:
        given |= options.fields(Sync)
        _expectation_sync(options, given, report)
    _check_mode(body, inner, mode, given, report)
    links = build_links(body, report)
    return None if report.errors else Sync(mode=mode, links=links, **given)


def _mode(body: Body, report: Report) -> Entry | None:
    entries = body.every("Mode")
    if not entries:
        report.warning(body.at, 'no "Mode" in section Sync; taken as "Mode FTFW { }"')
        return None
    first, *others = entries
    for other in others:
        report.error(
            other.word, f'a second "Mode": the first is in line {first.word.line}; remove one of them'
        )
    if first.ok and first.heading.lower() in ("nack", "persistent"):
        report.warning(
            first.word, f'old mode "{first.heading}"; the modern form is "Mode {first.value.value}"'
        )
    return first


def _expectation_sync(options: Body, given: dict[str, Any], report: Report) -> None:
    entry = options.last("ExpectationSync")
    if entry is None or not entry.ok:
        return
    if entry.body is None:
        given["expectation_sync"] = entry.value
        return
    names = frozenset(name for _, name in entry.body.words)
    if not entry.body.words:
        report.warning(
            entry.word, 'the list of "ExpectationSync" is empty; write "ExpectationSync no" or name helpers'
        )
    given["expectation_sync"] = names or False


def _check_mode(body: Body, inner: Body | None, mode: Mode, given: dict[str, Any], report: Report) -> None:
    if given.get("disable_external_cache") and given.get("commit_timeout") is not None:
        entry = _setting(body, inner, "commit_timeout")
        report.warning(
            entry.word if entry else body.at,
            '"CommitTimeout" has no effect together with "DisableExternalCache yes"; remove one of them',
        )
        del given["commit_timeout"]
    if mode is not Mode.ALARM:
        for entry in body.every("RefreshTime", "CacheTimeout"):
            report.warning(entry.word, f'"{entry.word.text}" has no effect in mode {mode.value}; remove it')
        return
    defaults = {"refresh_time": 60, "cache_timeout": 180}
    refresh, timeout = (given.get(name, default) for name, default in defaults.items())
    if timeout <= refresh:
        entry = _setting(body, inner, "cache_timeout", "refresh_time")
        report.warning(
            entry.word if entry else body.at,
            f"CacheTimeout, {timeout} s, is not longer than RefreshTime, {refresh} s: entries expire"
            f" before they are sent again; set CacheTimeout to {3 * refresh} or so",
        )


def _setting(body: Body, inner: Body | None, *fields: str) -> Entry | None:
    """The entry that counts: what is said within the mode goes before what is said beside it."""
    return (inner.setting(*fields) if inner is not None else None) or body.setting(*fields)


def _helper(body: Body, report: Report) -> Helper:
    types: list[HelperType] = []
    seen: dict[tuple[Any, ...], Entry] = {}
    queues: dict[int, Entry] = {}
    for entry in body.every("Type"):
        if not entry.ok or entry.body is None:
            continue
        name, family, protocol = entry.values
        first = seen.setdefault(tuple(entry.values), entry)
        if first is not entry:
            line = first.word.line
            report.error(
                entry.word, f'a second "Type" for this helper: the first is in line {line}; remove one'
            )
        carriers = protocols_of_helper(name)
        if protocol not in carriers:
            known = " and ".join(sorted(Protocol(number).name.lower() for number in carriers))
            report.error(entry.word, f'helper "{name}" is for {known} only')
        given = entry.body.fields(HelperType)
        queue = entry.body.last("QueueNum")
        if queue is None:
            report.warning(entry.word, f'no "QueueNum" for helper "{name}"; taken as queue 0')
        number = given.get("queue_num", 0)
        first = queues.setdefault(number, entry)
        if first is not entry:
            place = queue.word if queue is not None else entry.word
            line = first.word.line
            report.warning(place, f"queue {number} is that of the helper in line {line}; give each its own")
        policies = tuple(_helper_policies(name, entry.body, report))
        types.append(HelperType(name=name, family=family, protocol=protocol, policies=policies, **given))
    return Helper(types=tuple(types), **body.fields(Helper))


def _helper_policies(helper: str, body: Body, report: Report) -> list[HelperPolicy]:
    policies: list[HelperPolicy] = []
    for entry in body.every("Policy"):
        if not entry.ok or entry.body is None:
            continue
        if entry.value not in HELPERS[helper]:
            known = ", ".join(HELPERS[helper])
            report.error(entry.word, f'unknown policy "{entry.value}" of helper "{helper}"; expected {known}')
        if not entry.body.section.clauses or not entry.body.entries:
            report.error(entry.word, f'policy "{entry.value}" is empty; say "ExpectMax" and "ExpectTimeout"')
        policies.append(HelperPolicy(name=entry.value, **entry.body.fields(HelperPolicy)))
    return policies
