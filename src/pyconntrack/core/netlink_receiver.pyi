# SPDX-License-Identifier: GPL-2.0-or-later
def enter_network_namespace(fd: int) -> None: ...

class NetlinkReceiver:
    fd: int
    truncated: int
    foreign: int
    overruns: int
    def __init__(self, fd: int, messages: int = 64, size: int = 8192) -> None: ...
    def fill(self) -> None: ...
