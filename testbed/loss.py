# SPDX-License-Identifier: GPL-2.0-or-later
"""Random loss on a link, made by nftables and counted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from testbed.interface import Interface

_SCALE = 10_000  # steps of 0.01 percent


@contextlib.contextmanager
def loss(*ends: Interface, percent: float) -> Iterator[None]:
    """Drop ``percent`` of what arrives at each of ``ends``, at random; both ends of a link: both directions.

    Steps of 0.01 percent; 100 cuts the link without a change of its carrier. ARP and neighbour
    discovery by broadcast frames below IP are not touched.
    """
    for end in ends:
        end.namespace.nft(_ruleset(end.name, percent))
    try:
        yield
    finally:
        for end in ends:
            end.namespace.nft(f"delete table inet {_table(end.name)}")


def dropped(end: Interface) -> int:
    """Packets that :func:`loss` has dropped at this end so far."""
    listed = end.namespace.run(["nft", "-j", "list", "counters", "table", "inet", _table(end.name)]).stdout
    return sum(
        int(item["counter"]["packets"]) for item in json.loads(listed)["nftables"] if "counter" in item
    )


def _table(interface: str) -> str:
    return "loss_" + "".join(letter if letter.isalnum() else "_" for letter in interface)


def _ruleset(interface: str, percent: float) -> str:
    threshold = round(percent * _SCALE / 100)
    chance = f"numgen random mod {_SCALE} < {threshold}" if threshold < _SCALE else ""
    # Before connection tracking sees them: a lost packet was never here.
    return f"""
        table inet {_table(interface)} {{
            counter dropped {{ }}
            chain arriving {{
                type filter hook prerouting priority -500; policy accept;
                iifname "{interface}" {chance} counter name dropped drop
            }}
        }}
    """
