# SPDX-License-Identifier: GPL-2.0-or-later
"""From a configuration to a daemon that runs: background, log, lock, scheduling, privileges, and the node."""

from __future__ import annotations

import signal
import traceback

from pyconntrack.config import General, Loaded, Settings, missing_interfaces
from pyconntrack.daemon.lock import LockError, LockFile
from pyconntrack.daemon.log import ERROR, Log, LogError, format_line, print_line
from pyconntrack.daemon.main import serve
from pyconntrack.daemon.notify import AnnouncedStart, ServiceManager
from pyconntrack.daemon.privileges import give_up
from pyconntrack.daemon.process import Foreground, Start, daemonize, set_nice, set_scheduler


def start_daemon(loaded: Loaded, *, background: bool) -> int:
    """Run the daemon until it is told to stop. Returns the exit status.

    With `background`, only the daemon itself returns from here: the process that called exits when the daemon
    works, or cannot.
    """
    general = loaded.settings.general
    manager = ServiceManager.of_environment() if general.systemd else ServiceManager()
    start = AnnouncedStart(daemonize() if background else Foreground(), manager)
    file = None if general.log_file is None else str(general.log_file)
    try:
        log = Log(file=file, syslog=general.syslog, console=not background)
    except LogError as error:
        print_line(ERROR, str(error))
        start.failed(format_line(ERROR, str(error)))
        return 1
    try:
        return _run_logged(loaded, log, start, manager, background)
    except Exception as error:
        for line in traceback.format_exc().splitlines():
            log.error(line)
        start.failed(format_line(ERROR, f"{type(error).__name__}: {error}"))
        return 1
    finally:
        log.close()


def _run_logged(loaded: Loaded, log: Log, start: Start, manager: ServiceManager, background: bool) -> int:
    sync = loaded.settings.sync
    missing = missing_interfaces(loaded.settings)
    if sync is not None and len(missing) < len(sync.links):
        # A link is there, and the others are waited for.
        missing = []
    for problem in missing:
        log.error(str(problem))
    if missing:
        start.failed("\n".join(format_line(ERROR, str(problem)) for problem in missing))
        return 1
    # Whoever finds the process id in the lock file may send them before the event loop listens to them.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    try:
        lock = LockFile.acquire(loaded.settings.general.lock_file)
    except LockError as error:
        log.error(str(error))
        start.failed(format_line(ERROR, str(error)))
        return 1
    try:
        _schedule(loaded.settings.general, log)
        _give_up_privileges(loaded.settings, log)
        return serve(loaded.settings, log, start, manager, background=background)
    finally:
        lock.release()


def _schedule(general: General, log: Log) -> None:
    try:
        if general.scheduler is not None:
            set_scheduler(general.scheduler.type.value, general.scheduler.priority)
        if general.nice is not None:
            set_nice(general.nice)
    except OSError as error:
        log.warning(f"can't set the scheduling that the configuration asks for: {error.strerror}")


def _give_up_privileges(settings: Settings, log: Log) -> None:
    try:
        give_up(settings)
    except OSError as error:
        log.warning(f"can't give up the privileges that the daemon does not need: {error.strerror}")
