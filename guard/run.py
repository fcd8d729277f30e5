# SPDX-License-Identifier: GPL-2.0-or-later
"""Carry out all jobs, and let callgrind count: python -m guard.run SWITCH, which guard.callgrind starts."""

from __future__ import annotations

import ctypes
import gc
import os
import sys


def main() -> None:
    switch = ctypes.CDLL(sys.argv[1])
    # The table's hash is keyed at random, and how long a probe takes hangs on that.
    os.urandom = lambda size: bytes(range(1, size + 1))
    from guard.jobs import JOBS

    for prepare in JOBS:
        job = prepare()
        gc.collect()
        switch.begin()
        job()
        switch.end(prepare.__name__.encode())


if __name__ == "__main__":
    main()
