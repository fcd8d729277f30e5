# SPDX-License-Identifier: GPL-2.0-or-later
"""Which channel carries a link."""

from __future__ import annotations

from pyconntrack.channel.channel import LinkChannel
from pyconntrack.channel.datagram import DatagramChannel
from pyconntrack.channel.stream import StreamChannel
from pyconntrack.config import Link, Transport


def open_link(link: Link) -> LinkChannel:
    """The channel of a link. Raises ChannelError where it cannot be set up."""
    return StreamChannel(link) if link.transport is Transport.TCP else DatagramChannel(link)
