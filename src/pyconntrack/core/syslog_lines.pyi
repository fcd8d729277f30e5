# SPDX-License-Identifier: GPL-2.0-or-later
def send_lines(
    fd: int, path: bytes, head: bytes, lines: bytes | bytearray | memoryview, start: int, skip: int
) -> int: ...
