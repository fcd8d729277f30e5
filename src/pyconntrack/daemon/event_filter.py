# SPDX-License-Identifier: GPL-2.0-or-later
"""`Filter { … }` of the configuration, for the daemon's own filter and for the kernel's.

Both are made of the same rules. The daemon's decides exactly, and over dumps, too; the kernel's takes events
off its hands that it would drop. One thing the daemon then learns later: where the end of a flow was lost, it
hears of it from the next flow with that tuple, and here only when that one passes or the table is read again.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from pyconntrack.config import Filter, Policy
from pyconntrack.core.filter import EventFilter
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.kernel.socket import ConntrackSocket
from pyconntrack.kernel.socket_filter import FilterRules, attach, socket_filter

_TCP = 6


def event_filter(settings: Filter) -> EventFilter | None:
    """The filter that the configuration asks for, None where it lets everything through."""
    rules = filter_rules(settings)
    return EventFilter(**rules) if rules else None


def filter_rules(settings: Filter) -> FilterRules:
    """The lists that the configuration has."""
    rules = FilterRules()
    if settings.protocol is not None:
        rules["protocols"] = settings.protocol.numbers
        rules["accept_protocols"] = settings.protocol.policy is Policy.ACCEPT
    if settings.address is not None:
        rules["networks"] = [
            (network.network_address.packed, network.prefixlen) for network in settings.address.networks
        ]
        rules["accept_networks"] = settings.address.policy is Policy.ACCEPT
    if settings.state is not None:
        rules["states"] = {_TCP: settings.state.tcp_states}
        rules["accept_states"] = settings.state.policy is Policy.ACCEPT
    return rules


def filter_in_kernel(socket: ConntrackSocket, settings: Filter, reporter: Reporter) -> None:
    """Obey ``Filter From Kernelspace`` on the event socket; the daemon does what the kernel does not."""
    rules = filter_rules(settings)
    if not settings.kernelspace or not rules:
        return
    try:
        attach(socket.socket, socket_filter(**rules))
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "; raise net.core.optmem_max" if getattr(error, "errno", 0) == errno.ENOMEM else ""
        what = "compares the addresses" if settings.address is not None else "filters"
        reporter.warning(f"the kernel does not take the event filter, the daemon {what}: {reason}{hint}")
        if settings.address is not None:
            filter_in_kernel(socket, replace(settings, address=None), reporter)
    else:
        reporter.notice("using kernel-space event filtering")
