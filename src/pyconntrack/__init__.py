# SPDX-License-Identifier: GPL-2.0-or-later
"""The Netfilter connection tracking tables, from Python.

    import pyconntrack

    with pyconntrack.ConntrackTable() as table:
        for flow in table:
            print(flow.original, flow.timeout)

Names are loaded when they are first used, so that a program starts without what it does not need.
"""

# As in typing, whose import would take longer than all the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from pyconntrack.core.batch import FlowBatch
    from pyconntrack.core.expectation_batch import ExpectationBatch
    from pyconntrack.kernel.errors import (
        ConntrackError,
        FlowExistsError,
        FlowNotFoundError,
        MessagesLostError,
    )
    from pyconntrack.kernel.events import EventStream
    from pyconntrack.kernel.expectation_events import ExpectationEvents
    from pyconntrack.kernel.expectations import (
        ExpectationExistsError,
        ExpectationNotFoundError,
        ExpectationStatistics,
        ExpectationTable,
    )
    from pyconntrack.kernel.filter import TableFilter, TupleFilter
    from pyconntrack.kernel.helpers import UserspaceHelpers
    from pyconntrack.kernel.subsystem import (
        ObjectExistsError,
        ObjectInUseError,
        ObjectNotFoundError,
        SubsystemMissingError,
    )
    from pyconntrack.kernel.table import ConntrackTable
    from pyconntrack.kernel.timeouts import TimeoutPolicies
    from pyconntrack.model import (
        KNOWN_HELPERS,
        TIMEOUT_STATES,
        Counters,
        DccpInfo,
        DccpRole,
        DccpState,
        Direction,
        Event,
        Expectation,
        ExpectationFlag,
        ExpectationNat,
        ExpectationPolicy,
        Flow,
        Helper,
        Nat,
        Protocol,
        SctpInfo,
        SctpState,
        SequenceAdjust,
        Status,
        SynProxy,
        TcpFlag,
        TcpFlags,
        TcpInfo,
        TcpState,
        TimeoutPolicy,
        Tuple,
        UserspaceHelper,
        known_helper,
    )
    from pyconntrack.version import __version__

__all__ = [
    "KNOWN_HELPERS",
    "TIMEOUT_STATES",
    "ConntrackError",
    "ConntrackTable",
    "Counters",
    "DccpInfo",
    "DccpRole",
    "DccpState",
    "Direction",
    "Event",
    "EventStream",
    "Expectation",
    "ExpectationBatch",
    "ExpectationEvents",
    "ExpectationExistsError",
    "ExpectationFlag",
    "ExpectationNat",
    "ExpectationNotFoundError",
    "ExpectationPolicy",
    "ExpectationStatistics",
    "ExpectationTable",
    "Flow",
    "FlowBatch",
    "FlowExistsError",
    "FlowNotFoundError",
    "Helper",
    "MessagesLostError",
    "Nat",
    "ObjectExistsError",
    "ObjectInUseError",
    "ObjectNotFoundError",
    "Protocol",
    "SctpInfo",
    "SctpState",
    "SequenceAdjust",
    "Status",
    "SubsystemMissingError",
    "SynProxy",
    "TableFilter",
    "TcpFlag",
    "TcpFlags",
    "TcpInfo",
    "TcpState",
    "TimeoutPolicies",
    "TimeoutPolicy",
    "Tuple",
    "TupleFilter",
    "UserspaceHelper",
    "UserspaceHelpers",
    "__version__",
    "known_helper",
]

_MODULES = {
    "__version__": "pyconntrack.version",
    "ConntrackError": "pyconntrack.kernel.errors",
    "ConntrackTable": "pyconntrack.kernel.table",
    "EventStream": "pyconntrack.kernel.events",
    "ExpectationBatch": "pyconntrack.core.expectation_batch",
    "ExpectationEvents": "pyconntrack.kernel.expectation_events",
    "ExpectationExistsError": "pyconntrack.kernel.expectations",
    "ExpectationNotFoundError": "pyconntrack.kernel.expectations",
    "ExpectationStatistics": "pyconntrack.kernel.expectations",
    "ExpectationTable": "pyconntrack.kernel.expectations",
    "FlowBatch": "pyconntrack.core.batch",
    "FlowExistsError": "pyconntrack.kernel.errors",
    "FlowNotFoundError": "pyconntrack.kernel.errors",
    "MessagesLostError": "pyconntrack.kernel.errors",
    "ObjectExistsError": "pyconntrack.kernel.subsystem",
    "ObjectInUseError": "pyconntrack.kernel.subsystem",
    "ObjectNotFoundError": "pyconntrack.kernel.subsystem",
    "SubsystemMissingError": "pyconntrack.kernel.subsystem",
    "TableFilter": "pyconntrack.kernel.filter",
    "TimeoutPolicies": "pyconntrack.kernel.timeouts",
    "TupleFilter": "pyconntrack.kernel.filter",
    "UserspaceHelpers": "pyconntrack.kernel.helpers",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_MODULES.get(name, "pyconntrack.model")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
