# SPDX-License-Identifier: GPL-2.0-or-later
"""FTP control connections make the kernel expect, and what is expected comes."""

from __future__ import annotations

import re

import pytest

from testbed import Namespace, Testbed, veth
from testbed.ftp import FtpTraffic, attach_helper, translation_ruleset


def expected_ports(namespace: Namespace, version: int) -> list[tuple[int, int]]:
    """Port of the control connection and of the data connection, of each expectation."""
    lines = namespace.run(["conntrack", "-L", "expect", "-f", f"ipv{version}"]).stdout
    found = re.findall(r"dport=(\d+) mask-src.* sport=(\d+) dport=21 ", lines)
    return sorted((int(control), int(data)) for data, control in found)


@pytest.mark.parametrize("version", [4, 6])
def test_connections_expect_as_many(bed: Testbed, version: int) -> None:
    namespace = bed.namespace("ftp")
    attach_helper(namespace)
    with FtpTraffic(namespace, version=version) as traffic:
        traffic.expect(3)
        assert expected_ports(namespace, version) == [(40000, 50000), (40001, 50001), (40002, 50002)]


@pytest.mark.parametrize("passive", [True, False])
def test_a_transfer_fulfils_an_expectation(bed: Testbed, passive: bool) -> None:
    client, server = bed.namespace("client"), bed.namespace("server")
    veth(client, "link", server, "link", first_addresses=["10.0.0.1/24"], second_addresses=["10.0.0.2/24"])
    attach_helper(client)
    with FtpTraffic(client, server, address="10.0.0.2") as traffic:
        control = traffic.connect()
        port = control.passive() if passive else control.active()
        assert expected_ports(client, 4) == [(40000, port)]
        control.transfer()
        assert expected_ports(client, 4) == []
        related = client.run(["conntrack", "-L", "-u", "EXPECTED"]).stdout
    assert f"dport={port}" in related


def test_translated_connections_are_expected(bed: Testbed) -> None:
    namespace = bed.namespace("ftp")
    attach_helper(namespace)
    namespace.nft(translation_ruleset("127.0.0.2", "127.0.0.1"))
    with FtpTraffic(namespace, address="127.0.0.2", listen="127.0.0.1") as traffic:
        controls = traffic.expect(2)
        controls[1].transfer()
        assert expected_ports(namespace, 4) == [(40000, 50000)]
