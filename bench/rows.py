# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of the report, and what each of them is wanted to be."""

from __future__ import annotations

from dataclasses import dataclass

MILLION = 1_000_000


@dataclass(frozen=True)
class Share:
    """At most this part of the C tool's figure in the same run."""

    part: float

    def of(self, theirs: float | None) -> float | None:
        return None if theirs is None else self.part * theirs


@dataclass(frozen=True)
class Limit:
    """At most so much, in the row's unit; the C tool's figure does not matter."""

    most: float

    def of(self, theirs: float | None) -> float | None:
        return self.most


Wanted = Share | Limit | None


@dataclass(frozen=True)
class Row:
    """A line of the report: a figure at a size.

    `at` is the number of flows, or of events a second, 0 for what has neither. Where that was not measured,
    the line is of the largest number below it that was.
    """

    title: str
    figure: str
    unit: str
    at: int
    wanted: Wanted = None
    limit: str = ""
    """The figure that stands beside it as the limit."""
    main: bool = False
    """Also in the short table, which the README has, too."""


@dataclass(frozen=True)
class Group:
    """A part of the report."""

    title: str
    about: str
    rows: tuple[Row, ...]
    notes: str
    grows: tuple[str, ...] = ()
    """The figures that are told for all sizes."""


LIMITS = {"dump wall": "the kernel's dump, a flow", "insert wall": "the kernel's inserts, a flow"}
"""Figures that are no tool's, in microseconds."""


_ABOUT_COMMANDS = """\
Commands on a table of established IPv4 TCP connections. What they print goes to /dev/null, what `-R` reads
was written by `-L -o save`."""

COMMANDS = Group(
    "conntrack",
    _ABOUT_COMMANDS,
    (
        Row("`-L`, a flow", "-L wall", "µs wall", MILLION, Share(1 / 2.2), "dump wall", main=True),
        Row("`-L`, a flow", "-L user", "µs CPU of its own", MILLION, Share(1 / 6), main=True),
        Row("`-L`, all", "-L memory", "MB resident", MILLION, Limit(60)),
        Row(
            "`-L -o xml`, a flow", "-L -o xml wall", "µs wall", MILLION, Share(1 / 3), "dump wall", main=True
        ),
        Row("`-L -o xml`, all", "-L -o xml memory", "MB resident", MILLION, Limit(60)),
        Row(
            "`-L -o save`, a flow",
            "-L -o save wall",
            "µs wall",
            MILLION,
            Share(1 / 3),
            "dump wall",
            main=True,
        ),
        Row("`-L -o save`, all", "-L -o save memory", "MB resident", MILLION, Limit(60)),
        Row("`-L -o json`, a flow", "-L -o json wall", "µs wall", MILLION, None, "dump wall"),
        Row("`-R`, a flow", "-R wall", "µs wall", MILLION, Share(1 / 2.5), "insert wall", main=True),
        Row("`-R`, all", "-R memory", "MB resident", MILLION, Limit(60), main=True),
        Row("`-U` of all by a filter, a flow", "-U wall", "µs wall", MILLION, Share(1 / 1.5)),
        Row("`-U`, all", "-U memory", "MB resident", MILLION, Limit(60)),
        Row("`-D` of all by a filter, a flow", "-D wall", "µs wall", MILLION, Share(1 / 1.5), main=True),
        Row("`-D`, all", "-D memory", "MB resident", MILLION, Limit(60)),
        Row("`-C` of an empty table", "-C wall", "ms wall", 0, Limit(50), "interpreter", main=True),
    ),
    """\
- The kernel's hash table has as many buckets as there are flows, or as it has else, if that is more.
- Resident: the most that the process held in memory at any time (VmHWM).
- The limit: the kernel's dump, received and discarded; its inserts, in large batches that were made before;
  the Python interpreter, started to do nothing.
""",
    ("-L wall", "-L -o xml wall", "-L -o save wall", "-R wall", "-D wall", "dump wall", "insert wall"),
)

_ABOUT_TABLES = """\
Two daemons of a kind, mode FTFW over UDP between two network namespaces. The table goes from the kernel into
the internal cache, in bulk to the peer's external cache, and from there into the peer's kernel. Here and
below all daemons have the same real-time priority, which the C one takes by itself, and ours if asked to."""

TABLES = Group(
    "conntrackd: a full table",
    _ABOUT_TABLES,
    (
        Row("flow into the internal cache", "population", "µs CPU", MILLION, Share(0.7), "dump"),
        Row("bulk (`-B`), a flow, sender", "bulk sender", "µs CPU", MILLION, Share(0.7), main=True),
        Row("bulk (`-B`), a flow, receiver", "bulk receiver", "µs CPU", MILLION, Share(0.7), main=True),
        Row("bulk (`-B`), a flow, until the peer has it", "bulk wall", "µs wall", MILLION),
        Row("commit (`-c`), a flow", "commit wall", "µs wall", MILLION, Limit(4.5), "insert wall", main=True),
        Row("commit (`-c`), a flow", "commit", "µs CPU", MILLION, Limit(4.5), "insert"),
        Row("commit and its events, a flow", "commit followed", "µs CPU", MILLION, Share(0.7)),
        Row("internal cache, a flow", "internal memory", "bytes", MILLION, Limit(160), main=True),
        Row("external cache, a flow", "external memory", "bytes", MILLION, Limit(160), main=True),
        Row("daemon with both caches full", "daemon memory", "MB", MILLION),
    ),
    """\
- A sender's time includes the network stack of both ends, since a veth pair delivers in the sender's time.
  Ours sends what it finds in the kernel's table at its start to the peers at once, and that is in its figure
  for the internal cache; the C daemon does not.
- Commit: either daemon brings what it has committed into its internal cache afterwards, which only the third
  row counts: ours reads the kernel's table, the C daemon the events. The wall clock has the wait for a
  processor in it, which other processes share.
- Memory: growth of the daemon's private memory (RssAnon), divided by the number of flows.
""",
    ("bulk sender", "bulk receiver", "commit wall", "internal memory", "external memory"),
)

_ABOUT_EVENTS = """\
Short TCP connections, made through ctnetlink at a steady rate: seven events each (new, five updates,
destroy), some 3,600 connections alive at any time."""

EVENTS = Group(
    "conntrackd: events",
    _ABOUT_EVENTS,
    (
        Row("replicated event, sender", "event sender", "µs CPU", 50_000, Share(0.5), main=True),
        Row("replicated event, receiver", "event receiver", "µs CPU", 50_000, Share(0.5), main=True),
        Row("the kernel's part: the event made and told", "event generator", "µs CPU", 50_000),
        Row("at a steady rate, sender", "share sender", "% of a processor", 10_000, main=True),
        Row("at a steady rate, receiver", "share receiver", "% of a processor", 10_000, main=True),
        Row("until the peer has it, median", "delay median", "ms wall", 10_000, main=True),
        Row("until the peer has it, 99 of 100", "delay 99", "ms wall", 10_000, main=True),
        Row("client command `-s`", "client", "ms CPU", 0, Limit(50), "interpreter"),
        Row("client command `-s`", "client wall", "ms wall", 0, Limit(50), "interpreter"),
    ),
    """\
- CPU time is that of the whole daemon, user and system, divided by the number of events.
- The kernel's part is the whole CPU time of the process that makes the events, which asks ctnetlink for 14 of
  them at a time.
- Until the peer has it: from the moment before a flow is created, through ctnetlink amid the other events, to
  the moment in which the peer's daemon, having received its message, asks for the next or waits. A library
  preloaded into the receiver, of either kind, takes that time; 400 such flows a second.
""",
    ("event sender", "event receiver", "event generator", "delay median", "delay 99"),
)

_ABOUT_PRESSURE = """\
What the daemons bear at most."""

PRESSURE = Group(
    "conntrackd: under pressure",
    _ABOUT_PRESSURE,
    (
        Row(
            "events of short connections (more is better)",
            "highest rate",
            "a second at most",
            0,
            None,
            "highest rate",
            main=True,
        ),
        Row("1 M new flows, made in", "burst insert", "s", 0),
        Row("1 M new flows, until the peer has them", "burst", "s", 0, Limit(5), main=True),
        Row("1 M new flows, missing at the peer", "burst missing", "flows", 0, Limit(0), main=True),
        Row("a table filled again, growth, a flow", "refilled", "bytes", 0, Limit(1)),
        Row("10 M flows through 100 k, growth, sender", "long run sender", "MB", 0, Limit(1), main=True),
        Row("10 M flows through 100 k, growth, receiver", "long run receiver", "MB", 0, Limit(1), main=True),
    ),
    """\
- At most: the highest rate of the same short connections that runs for half a minute without an overrun, to
  a tenth, and the peer has followed in the end. `NetlinkBufferSize` is 8 MiB. The limit is what the generator
  makes where nobody listens. It goes before the daemons, as packets do.
- 1 M new flows: as fast as the kernel takes them; the time counts from the last one on. Missing: what the
  peer's `-e` does not list after that, or after 30 s. `NetlinkBufferSize` is 2 MiB, and may grow to 64 MiB.
- Growth: of private memory; in the long run from the first million on, and the C daemons' is of 3 M flows.
""",
)

_ABOUT_FAIL_OVER = """\
50 checked connections go through a firewall with NAT and a table of other flows. It dies; the other one gets
the addresses and runs `contrib/primary-backup.sh`: `-c -f -R -B`."""

FAIL_OVER = Group(
    "conntrackd: fail-over",
    _ABOUT_FAIL_OVER,
    (
        Row("longest stall, table of 1 k", "stall", "s", 1_000, Limit(0.3)),
        Row("longest stall, table of 300 k", "stall", "s", 300_000, Limit(1.2), main=True),
        Row("longest stall, table of 1 M", "stall", "s", MILLION, Limit(4), main=True),
        Row("the same with direct injection, 1 k", "stall direct", "s", 1_000, Limit(0.5)),
        Row("the same with direct injection, 300 k", "stall direct", "s", 300_000, Limit(0.5)),
        Row("the same with direct injection, 1 M", "stall direct", "s", MILLION, Limit(0.5), main=True),
    ),
    """\
- Stall: the longest time in which any end of any connection received nothing, from the moment the firewall
  died on. TCP tries again after 0.2, 0.6, 1.4, 3, 6.2 and 12.6 seconds. Half of the table is older than the
  connections, half is younger.
- Direct injection: `DisableExternalCache`.
""",
)

GROUPS = (COMMANDS, TABLES, EVENTS, PRESSURE, FAIL_OVER)
