# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the demonstration: exit status 0 if all connections lived with conntrackd and all died without it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.failover import Failover
from demo.outcome import Outcome
from demo.show import Show, print_summary
from testbed import (
    CommandFailedError,
    DaemonDiedError,
    PrivilegeError,
    SysctlMissingError,
    Testbed,
    WaitTimeoutError,
    find_daemon,
    in_user_namespace,
    require_root,
)
from testbed.traffic import TrafficError

_OWN_DAEMON = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "conntrackd"

_NOT_AS_PROMISED = 1
_CANNOT_RUN = 2
_INTERRUPTED = 130


def main() -> int:
    options = _options()
    try:
        daemon = find_daemon(options.daemon)
        require_root()
        if in_user_namespace():
            print("not root: this runs in a user namespace of its own")
        return _both_parts(daemon, options.connections, options.seconds)
    except (FileNotFoundError, PrivilegeError, SysctlMissingError) as error:
        print(f"demo: cannot run here: {error}", file=sys.stderr)
        return _CANNOT_RUN
    except (CommandFailedError, DaemonDiedError, TrafficError, WaitTimeoutError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return _NOT_AS_PROMISED
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo", description="Two firewalls in network namespaces; one dies, the connections live."
    )
    parser.add_argument(
        "--daemon", type=Path, default=_OWN_DAEMON, help="the conntrackd to use (%(default)s)"
    )
    parser.add_argument("--connections", type=_positive, default=50, help="long connections (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="traffic before and after the failure (%(default)s)"
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _both_parts(daemon: Sequence[str], connections: int, seconds: float) -> int:
    with_daemon = _one_part("Part 1: with conntrackd", daemon, connections, seconds)
    without = _one_part("Part 2: the same without conntrackd", None, connections, seconds)
    print_summary(with_daemon, without)
    return _verdict(with_daemon, without)


def _one_part(title: str, daemon: Sequence[str] | None, connections: int, seconds: float) -> Outcome:
    show = Show(title)
    with Testbed() as bed:
        return Failover(bed, show, daemon, connections).run(seconds)


def _verdict(with_daemon: Outcome, without: Outcome) -> int:
    faults = []
    if with_daemon.lived != with_daemon.connections:
        faults.append(f"with conntrackd only {with_daemon.lived} of {with_daemon.connections} lived")
    if not with_daemon.short_after:
        faults.append("no new connection went through firewall 2")
    if without.died != without.connections:
        faults.append(f"without conntrackd only {without.died} of {without.connections} died")
    if not without.short_after:
        faults.append(
            "without conntrackd no new connection went through firewall 2: the contrast proves nothing"
        )
    for fault in faults:
        print(f"FAILED: {fault}")
    if not faults:
        print(f"All {with_daemon.connections} connections lived; without conntrackd all of them died.")
    return _NOT_AS_PROMISED if faults else 0


if __name__ == "__main__":
    sys.exit(main())
