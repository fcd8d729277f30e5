# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person holds in hand: one flow, its tuples, and the kernel's names for their values.

Names are loaded when they are first used, as those of the package above.
"""

from importlib import import_module

# As in typing, whose import would take longer than all the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from pyconntrack.model.expectation import Direction, Expectation, ExpectationFlag, ExpectationNat
    from pyconntrack.model.flow import (
        Counters,
        DccpInfo,
        Flow,
        Helper,
        Nat,
        SctpInfo,
        SequenceAdjust,
        SynProxy,
        TcpFlags,
        TcpInfo,
    )
    from pyconntrack.model.names import (
        DccpRole,
        DccpState,
        Event,
        Protocol,
        SctpState,
        Status,
        TcpFlag,
        TcpState,
    )
    from pyconntrack.model.timeout_policy import TIMEOUT_STATES, TimeoutPolicy
    from pyconntrack.model.tuple import IPAddress, Tuple
    from pyconntrack.model.userspace_helper import (
        KNOWN_HELPERS,
        ExpectationPolicy,
        UserspaceHelper,
        known_helper,
    )

__all__ = [
    "KNOWN_HELPERS",
    "TIMEOUT_STATES",
    "Counters",
    "DccpInfo",
    "DccpRole",
    "DccpState",
    "Direction",
    "Event",
    "Expectation",
    "ExpectationFlag",
    "ExpectationNat",
    "ExpectationPolicy",
    "Flow",
    "Helper",
    "IPAddress",
    "Nat",
    "Protocol",
    "SctpInfo",
    "SctpState",
    "SequenceAdjust",
    "Status",
    "SynProxy",
    "TcpFlag",
    "TcpFlags",
    "TcpInfo",
    "TcpState",
    "TimeoutPolicy",
    "Tuple",
    "UserspaceHelper",
    "known_helper",
]

_MODULES = {
    "DccpRole": "names",
    "DccpState": "names",
    "Direction": "expectation",
    "Event": "names",
    "Expectation": "expectation",
    "ExpectationFlag": "expectation",
    "ExpectationNat": "expectation",
    "ExpectationPolicy": "userspace_helper",
    "IPAddress": "tuple",
    "KNOWN_HELPERS": "userspace_helper",
    "Protocol": "names",
    "SctpState": "names",
    "Status": "names",
    "TIMEOUT_STATES": "timeout_policy",
    "TcpFlag": "names",
    "TcpState": "names",
    "TimeoutPolicy": "timeout_policy",
    "Tuple": "tuple",
    "UserspaceHelper": "userspace_helper",
    "known_helper": "userspace_helper",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'flow')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
