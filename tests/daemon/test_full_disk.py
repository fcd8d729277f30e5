# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk under the daemon's log fills up: it goes on, says so once, and in the log in the end."""

from __future__ import annotations

import re
from pathlib import Path

from testbed import Configuration, Conntrackd, Testbed, UnicastLink, wait_until
from tests.peer.nodes import OURS


def test_daemon_goes_on_and_tells_of_it(bed: Testbed) -> None:
    namespace = bed.namespace("one")
    disk = namespace.directory / "disk"
    disk.mkdir()
    # ip-netns(8) gives each command a mount namespace of its own.
    mounted = ["sh", "-ec", f'mount -t tmpfs -o size=64k none {disk}\nexec "$@"', "sh", *OURS]
    daemon = Conntrackd(namespace, mounted, Configuration([UnicastLink("lo", "127.0.0.1", "127.0.0.2")]))
    text = daemon.configuration_file.read_text()
    daemon.configure(text.replace(f"LogFile {daemon.log_file}", f"LogFile {disk}/log"))
    daemon.launch()
    daemon.command = OURS
    daemon.wait_ready()
    inside = Path(f"/proc/{daemon.process.pid}/root") / disk.relative_to("/")
    filler = inside / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 4096
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    # What is left of the log's last page takes some lines, and part of one.
    for _ in range(60):
        daemon.client("-B")
    message = f"[ERROR] can't write to logfile `{disk}/log': No space left on device"
    assert daemon.process.output().count(message) == 1
    assert daemon.process.output().count("sending bulk update") == 60
    written = (inside / "log").read_text().count("sending bulk update\n")
    assert written < 60
    filler.unlink()
    daemon.client("-B")
    log = (inside / "log").read_text()
    lost = re.search(r"\[warning\] (\d+) lines could not be written to this log\n", log)
    assert lost
    # One that lacks but its newline is counted among them.
    assert int(lost[1]) + log.count("sending bulk update\n") in (61, 62)
    assert log.endswith("[notice] sending bulk update\n")
    wait_until(lambda: "cache internal:" in daemon.client("-s").stdout, 5.0, "an answer", daemon.log)
    assert daemon.terminate() == 0
