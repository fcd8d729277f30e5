# SPDX-License-Identifier: GPL-2.0-or-later
"""`conntrackd.conf`: its grammar, the settings as dataclasses, and the check.

`load` reads a file into `Settings` or raises `ConfigError`, which tells every mistake with its place.
"""

from .load import Loaded, load, missing_interfaces, parse
from .problems import ConfigError, Problem
from .settings import (
    MAX_LINKS,
    UNIX_PATH_MAX,
    Address,
    AddressFilter,
    Filter,
    General,
    Helper,
    HelperPolicy,
    HelperType,
    Link,
    Mode,
    Network,
    Policy,
    ProtocolFilter,
    Scheduler,
    SchedulerType,
    Settings,
    Source,
    StateFilter,
    Stats,
    Sync,
    TcpState,
    Transport,
)

__all__ = [
    "MAX_LINKS",
    "UNIX_PATH_MAX",
    "Address",
    "AddressFilter",
    "ConfigError",
    "Filter",
    "General",
    "Helper",
    "HelperPolicy",
    "HelperType",
    "Link",
    "Loaded",
    "Mode",
    "Network",
    "Policy",
    "Problem",
    "ProtocolFilter",
    "Scheduler",
    "SchedulerType",
    "Settings",
    "Source",
    "StateFilter",
    "Stats",
    "Sync",
    "TcpState",
    "Transport",
    "load",
    "missing_interfaces",
    "parse",
]
