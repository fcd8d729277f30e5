# SPDX-License-Identifier: GPL-2.0-or-later
"""A real FTP server, vsftpd, that hands out one file to anybody."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from testbed.namespace import Namespace
from testbed.process import Process
from testbed.waiting import wait_until

PORT = 21
FILE = "file"
_CONFIGURATION = """\
listen=YES
listen_address={address}
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={directory}
run_as_launching_user=YES
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
port_enable=YES
connect_from_port_20=NO
xferlog_enable=NO
"""


class FtpServer:
    """Serves `content` under the name FILE at an address of a namespace, with whose end it ends."""

    def __init__(self, namespace: Namespace, address: str, content: bytes) -> None:
        """Start it and wait until it listens. Raises FileNotFoundError where vsftpd is not installed."""
        program = shutil.which("vsftpd") or "/usr/sbin/vsftpd"
        if not Path(program).is_file():
            raise FileNotFoundError("vsftpd is not installed")
        directory = namespace.directory / "ftp"
        directory.mkdir()
        (directory / FILE).write_bytes(content)
        # The test bed's own directory is its user's alone; vsftpd wants no writable root.
        directory.chmod(0o555)
        configuration = namespace.directory / "vsftpd.conf"
        configuration.write_text(_CONFIGURATION.format(address=address, port=PORT, directory=directory))
        self._address = address
        self._namespace = namespace
        self.process: Process = namespace.popen([program, str(configuration)])
        wait_until(self._listens, 10.0, "the FTP server", self.process.output)

    def _listens(self) -> bool:
        with self._namespace.entered(), socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((self._address, PORT)) == 0
