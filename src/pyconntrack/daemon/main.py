# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon's life: from its settings until a signal, or a client, ends it."""

from __future__ import annotations

import asyncio
import signal

from pyconntrack.channel.channel import ChannelError
from pyconntrack.config import Settings
from pyconntrack.daemon.control import ControlError
from pyconntrack.daemon.failures import FailureReport
from pyconntrack.daemon.log import ERROR, Log, format_line
from pyconntrack.daemon.node import Node, StartError
from pyconntrack.daemon.notify import Heartbeat, ServiceManager
from pyconntrack.daemon.process import Start
from pyconntrack.daemon.statistics_mode import StatisticsNode
from pyconntrack.kernel.errors import ConntrackError


def serve(settings: Settings, log: Log, start: Start, manager: ServiceManager, *, background: bool) -> int:
    """Run a node until it is told to stop. Returns 0 after a clean stop, 1 where it could not start.

    The lock is the caller's to hold. `start` is told how the start went, `manager` how the
    daemon is from then on.
    """
    return asyncio.run(_serve(settings, log, start, manager, background))


async def _serve(
    settings: Settings, log: Log, start: Start, manager: ServiceManager, background: bool
) -> int:
    node: Node | StatisticsNode | None = None
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(FailureReport(log))
    try:
        node = StatisticsNode(settings, log) if settings.stats is not None else Node(settings, log)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, node.stopped.set)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, _log_status, log, node)
        loop.add_signal_handler(signal.SIGHUP, _reopen_logs, log, node)
        await node.start()
    except (StartError, ChannelError, ControlError, ConntrackError) as error:
        log.error(str(error))
        start.failed(format_line(ERROR, str(error)))
        if node is not None:
            await node.stop_all()
        return 1
    log.notice(f"-- starting in {'daemon' if background else 'console'} mode --")
    heartbeat = Heartbeat(manager, node.status, log)
    heartbeat.ready()
    start.ready()
    await node.stopped.wait()
    log.notice("---- shutdown received ----")
    heartbeat.stopping()
    await node.stop_all()
    return 0


def _reopen_logs(log: Log, node: Node | StatisticsNode) -> None:
    log.reopen()
    if isinstance(node, StatisticsNode):
        node.reopen_log()


def _log_status(log: Log, node: Node | StatisticsNode) -> None:
    log.notice(node.status())
