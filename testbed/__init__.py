# SPDX-License-Identifier: GPL-2.0-or-later
"""A test bed of real parts: network namespaces, links, nft rulesets, daemons and checked traffic.

For tests, the demonstration and the benchmarks. It needs the right to make network namespaces, see
:func:`require_root`, and the tools ``ip`` and ``nft``::

    with Testbed() as bed:
        one, two = bed.namespace("one"), bed.namespace("two")
        ends = veth(
            *(one, "link", two, "link"), first_addresses=["10.0.0.1/24"], second_addresses=["10.0.0.2/24"]
        )
        link = UnicastLink("link", own="10.0.0.1", peer="10.0.0.2")
        daemon = Conntrackd(one, ["/usr/sbin/conntrackd"], Configuration([link]))
        daemon.start()
        with loss(*ends, percent=1):
            wait_until(lambda: "tcp" in daemon.client("-e").stdout, 5.0, "a TCP flow in the external cache")

Whatever ends the ``with`` block, its processes are killed and reaped and its namespaces deleted.
``testbed.firewalls`` is a whole pair of firewalls, ``testbed.traffic`` the checked TCP traffic through it.
"""

from testbed.bed import Testbed
from testbed.command import CommandFailedError, run_command
from testbed.configuration import Configuration, MulticastLink, UnicastLink
from testbed.daemon import Conntrackd, DaemonDiedError, find_daemon
from testbed.interface import Interface, bridge, plug, veth
from testbed.loss import dropped, loss
from testbed.namespace import Namespace, SysctlMissingError
from testbed.privilege import PrivilegeError, in_user_namespace, require_root
from testbed.process import Process
from testbed.waiting import WaitTimeoutError, wait_until

__all__ = [
    "CommandFailedError",
    "Configuration",
    "Conntrackd",
    "DaemonDiedError",
    "Interface",
    "MulticastLink",
    "Namespace",
    "PrivilegeError",
    "Process",
    "SysctlMissingError",
    "Testbed",
    "UnicastLink",
    "WaitTimeoutError",
    "bridge",
    "dropped",
    "find_daemon",
    "in_user_namespace",
    "loss",
    "plug",
    "require_root",
    "run_command",
    "veth",
    "wait_until",
]
