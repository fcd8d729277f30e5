# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel refuses, in words."""

import errno
import os

# What an errno of ctnetlink means, beyond its name (net/netfilter/nf_conntrack_netlink.c,
# net/netfilter/nfnetlink.c).
MEANINGS = {
    errno.EPERM: "the connection tracking table needs CAP_NET_ADMIN in this network namespace",
    errno.EPROTONOSUPPORT: "this kernel has no netfilter netlink (nfnetlink)",
    errno.ENOENT: "no such flow",
    errno.EEXIST: "a flow with one of these tuples exists",
    errno.EBUSY: "a status bit or an attribute that cannot be changed in this way",
    errno.EOPNOTSUPP: "not possible with this kernel, or not with a flow that exists",
    errno.EINVAL: "an attribute is missing or not valid (or nf_conntrack_netlink is not loaded)",
    errno.ENOMEM: "no memory, or the connection tracking table is full",
    errno.ENFILE: "the connection tracking table is full",
    errno.ENOBUFS: "the receive buffer overran: messages of the kernel are lost",
    errno.EINTR: "the table changed under the dump",
}


class ConntrackError(OSError):
    """The kernel refused. `errno` is its reason, `strerror` says what it means here."""


class FlowExistsError(ConntrackError):
    """A flow with the same original or reply tuple exists (EEXIST)."""


class FlowNotFoundError(ConntrackError):
    """No such flow (ENOENT)."""


class MessagesLostError(ConntrackError):
    """The receive buffer overran: messages are lost (ENOBUFS). What follows is sound again."""


KINDS = {
    errno.EEXIST: FlowExistsError,
    errno.ENOENT: FlowNotFoundError,
    errno.ENOBUFS: MessagesLostError,
}


def conntrack_error(number: int, kernel_text: str = "") -> ConntrackError:
    """The exception for an errno; `kernel_text` is the kernel's own explanation, where it gave one."""
    parts = [os.strerror(number)]
    if number in MEANINGS:
        parts.append(MEANINGS[number])
    if kernel_text:
        parts.append(f"the kernel says: {kernel_text}")
    return KINDS.get(number, ConntrackError)(number, ": ".join(parts))
