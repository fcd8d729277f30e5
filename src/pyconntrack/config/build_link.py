# SPDX-License-Identifier: GPL-2.0-or-later
"""The dedicated links of section ``Sync``."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from .problems import Located, Report
from .reader import Body, Entry
from .settings import MAX_LINKS, Address, Link, Source, Transport

TRANSPORTS = {transport.value: transport for transport in Transport}


def build_links(sync: Body, report: Report) -> tuple[Link, ...]:
    """Return the links in the order of the file; mistakes go to ``report``."""
    entries = sync.every(*TRANSPORTS)
    if not entries and sync.ok and not report.unbalanced:
        report.error(sync.at, 'no dedicated link in section Sync; add a section "Multicast", "UDP" or "TCP"')
    _check_set(entries, report)
    common = _common(sync)
    built = [
        (entry, _link(entry, common, report)) for entry in entries if entry.ok and entry.body is not None
    ]
    links = [(entry, link) for entry, link in built if link is not None]
    _check_distinct(links, report)
    if links and not any(link.default for _, link in links):
        first, link = links[0]
        links[0] = (first, dataclasses.replace(link, default=True))
    return tuple(link for _, link in links)


def _check_set(entries: list[Entry], report: Report) -> None:
    first = entries[0] if entries else None
    for number, entry in enumerate(entries, start=1):
        if number == MAX_LINKS + 1:
            report.error(
                entry.word, f"a fifth dedicated link; at most {MAX_LINKS} can be used, remove the others"
            )
        if first is not None and entry.clause.name != first.clause.name:
            report.error(
                entry.word,
                f'"{entry.clause.name}" cannot stand beside "{first.clause.name}" of line {first.word.line};'
                " use one transport for all links",
            )
    defaults = [entry for entry in entries if entry.values]
    for entry in defaults[1:]:
        report.error(
            entry.word,
            f'a second "Default" link: the first is in line {defaults[0].word.line}; keep one of them',
        )


def _common(sync: Body) -> dict[str, Any]:
    """What old files say beside the links and for all of them."""
    common = {
        name: value for name, value in sync.fields(Link).items() if name in ("send_buffer", "receive_buffer")
    }
    checksum = sync.last("Checksum")
    if checksum is not None and checksum.ok:
        common["checksum"] = checksum.value
    return common


def _link(entry: Entry, common: dict[str, Any], report: Report) -> Link | None:
    body = entry.body
    assert body is not None
    transport = TRANSPORTS[entry.clause.name]
    errors = len(report.errors)
    own = _one_address(body, "IPv4_address", "IPv6_address", report)
    if transport is Transport.MULTICAST:
        peer = None
        _check_multicast(entry, body, own, report)
    else:
        peer = _one_address(body, "IPv4_Destination_Address", "IPv6_Destination_Address", report)
        own = _check_unicast(entry, body, own, peer, report)
    if not body.every("Group", "Port"):
        name = "Group" if transport is Transport.MULTICAST else "Port"
        report.error(entry.word, f'no "{name}" in section {entry.clause.name}; add "{name} 3780"')
    given = common | body.fields(Link)
    interface = body.last("Interface")
    scope = _scope(entry, interface, [own, peer], report)
    if interface is None and scope is None:
        report.error(
            entry.word, f'no "Interface" in section {entry.clause.name}; name the one of the dedicated link'
        )
    if own is None or "port" not in given or len(report.errors) > errors:
        return None
    checksum = body.last("Checksum")
    if transport is Transport.TCP and checksum is not None and checksum.ok and not checksum.value:
        report.warning(checksum.word, '"Checksum" has no effect here: TCP always has checksums')
    given.setdefault("interface", scope)
    at = interface.word if interface is not None else entry.word
    return Link(
        transport=transport,
        address=_without_scope(own),
        peer=_without_scope(peer) if peer is not None else None,
        default=bool(entry.values),
        source=Source(report.file, at.line, at.column),
        **given,
    )


def _one_address(body: Body, ipv4: str, ipv6: str, report: Report) -> Address | None:
    """The address that the section names; a mistake where it names one of each family."""
    entries = [entry for entry in body.every(ipv4, ipv6) if entry.ok]
    if not entries:
        return None
    last = entries[-1]
    other = next((entry for entry in entries if entry.clause.name != last.clause.name), None)
    if other is not None:
        report.error(
            last.word,
            f'"{last.word.text}" beside "{other.word.text}" of line {other.word.line};'
            " a link has one family, keep one of them",
        )
        return None
    address: Address = last.value
    return address


def _check_multicast(entry: Entry, body: Body, group: Address | None, report: Report) -> None:
    said = body.every("IPv4_address", "IPv6_address")
    if not said:
        report.error(
            entry.word,
            'no multicast group in section Multicast; add "IPv4_address 225.0.0.50" or "IPv6_address …"',
        )
    if group is None:
        return
    if not group.is_multicast:
        where = "224.0.0.0/4" if group.version == 4 else "ff00::/8"
        report.error(said[-1].word, f"{group} is not a multicast address; choose one of {where}")
    own = body.last("IPv4_interface")
    if group.version == 4 and own is None:
        report.error(entry.word, 'no "IPv4_interface" in section Multicast; add the address of the interface')
    elif own is not None and own.ok:
        if group.version == 6:
            report.error(
                own.word, '"IPv4_interface" beside an IPv6 group; remove it, "Interface" says enough'
            )
        elif own.value.is_multicast or own.value.is_unspecified:
            report.error(
                own.word, f"{own.value} is not an address of an interface; give the one of the dedicated link"
            )


def _check_unicast(
    entry: Entry, body: Body, own: Address | None, peer: Address | None, report: Report
) -> Address | None:
    """Check the two ends; where this node's own is left out it is the unspecified one, as in the C daemon."""
    own_said = body.every("IPv4_address", "IPv6_address")
    peer_said = body.every("IPv4_Destination_Address", "IPv6_Destination_Address")
    name = entry.clause.name
    if not peer_said:
        clause = f"IPv{own.version if own else 4}_Destination_Address"
        report.error(entry.word, f'no "{clause}" in section {name}; add the address of the other node')
    if not own_said and peer is not None:
        own = ip_address("0.0.0.0" if peer.version == 4 else "::")
        clause = f"IPv{peer.version}_address"
        report.warning(
            entry.word, f'no "{clause}" in section {name}; the node listens on all of its addresses'
        )
    for said, address in ((own_said, own), (peer_said, peer)):
        if said and address is not None and address.is_multicast:
            report.error(said[-1].word, f'{address} is a multicast address; use a section "Multicast" for it')
    if own is None or peer is None:
        return own
    if peer.is_unspecified:
        report.error(peer_said[-1].word, f"{peer} is not the address of a node; give that of the other node")
    if own.version != peer.version:
        report.error(
            peer_said[-1].word,
            f"the other node's address is IPv{peer.version} and this node's is IPv{own.version};"
            " a link has one family",
        )
    elif own == peer:
        report.warning(
            peer_said[-1].word, f"{peer} is this node's own address too; give that of the other node"
        )
    return own


def _scope(
    entry: Entry, interface: Entry | None, addresses: list[Address | None], report: Report
) -> str | None:
    """The interface that an address names after its ``%``; it must be that of ``Interface``."""
    scopes = [a.scope_id for a in addresses if isinstance(a, IPv6Address) and a.scope_id]
    wanted = interface.value if interface is not None and interface.ok else (scopes[0] if scopes else None)
    for scope in scopes:
        if scope != wanted and wanted is not None:
            place: Located = interface.word if interface is not None else entry.word
            report.error(
                place, f'an address has the scope "{scope}" and the interface is "{wanted}"; use one of them'
            )
            break
    return scopes[0] if scopes else None


def _without_scope(address: Address) -> Address:
    return address if isinstance(address, IPv4Address) else IPv6Address(int(address))


def _check_distinct(links: list[tuple[Entry, Link]], report: Report) -> None:
    seen: dict[tuple[Any, ...], Entry] = {}
    for entry, link in links:
        first = seen.setdefault((link.address, link.port, link.interface), entry)
        if first is not entry:
            # Two sockets may share a group's port, but not one of this node's own.
            tell = report.warning if link.transport is Transport.MULTICAST else report.error
            tell(
                entry.word,
                f"same address, port and interface as the link of line {first.word.line}; make them differ",
            )
