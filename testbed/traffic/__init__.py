# SPDX-License-Identifier: GPL-2.0-or-later
"""Checked TCP traffic: every byte of every connection, in both directions, is known beforehand and compared.

A server process in one namespace, a client process in another. Each connection carries two endless
pseudo-random streams, one each way, as blocks at a steady pace, and each end compares what arrives byte for
byte. Beside these long connections the client can open short ones at a steady pace. Times are seconds of
``CLOCK_MONOTONIC``, the same in all processes.
"""

from testbed.traffic.control import TrafficClient, TrafficError, TrafficServer
from testbed.traffic.report import ConnectionReport, ShortReport, TrafficReport

__all__ = [
    "ConnectionReport",
    "ShortReport",
    "TrafficClient",
    "TrafficError",
    "TrafficReport",
    "TrafficServer",
]
