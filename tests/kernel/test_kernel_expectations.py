# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of expectations: those of the kernel's helpers, those made here, and what the C tool says."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest

from pyconntrack import (
    ConntrackError,
    ConntrackTable,
    Direction,
    Event,
    Expectation,
    ExpectationBatch,
    ExpectationExistsError,
    ExpectationFlag,
    ExpectationNat,
    ExpectationNotFoundError,
    ExpectationTable,
    Flow,
    Helper,
    MessagesLostError,
    Tuple,
)
from pyconntrack.core.expectation_text import PLAIN, XML, format_expectations
from testbed import Testbed, veth
from testbed.ftp import TIMEOUT, FtpTraffic, attach_helper, helper_ruleset, translation_ruleset
from testbed.namespace import Namespace

DEADLINE = 20.0
AF_INET, AF_INET6 = 2, 10
MASTER = Tuple("10.0.0.1", "10.0.0.2", 6, 2005, 21)
ALL = Tuple("255.255.255.255", "255.255.255.255", 6, 0xFFFF, 0xFFFF)
MADE = Expectation(Tuple("10.0.0.2", "10.0.0.1", 6, 20, 10241), ALL, MASTER, timeout=TIMEOUT)


@pytest.fixture
def expectations(namespace: Namespace) -> Iterator[ExpectationTable]:
    with ExpectationTable(namespace.name) as made:
        yield made


@pytest.fixture
def master(table: ConntrackTable) -> Tuple:
    """A flow with the FTP helper, which no packet ever follows."""
    table.create(Flow(MASTER, timeout=600, helper=Helper("ftp")))
    return MASTER


@pytest.fixture
def ftp(namespace: Namespace) -> Iterator[FtpTraffic]:
    attach_helper(namespace)
    with FtpTraffic(namespace) as traffic:
        yield traffic


def without_timeouts(lines: bytes | str) -> list[bytes]:
    text = lines.encode() if isinstance(lines, str) else lines
    return re.sub(rb"(?m)^\d+|<timeout>\d+", b"N", text).splitlines()


def lines_of_c_tool(namespace: Namespace, version: int, *options: str) -> list[bytes]:
    ran = namespace.run(["conntrack", "-L", "expect", "-f", f"ipv{version}", *options])
    return without_timeouts(ran.stdout)


# Reading.


@pytest.mark.parametrize("version", [4, 6])
def test_lines_are_those_of_the_c_tool(
    namespace: Namespace, expectations: ExpectationTable, version: int
) -> None:
    attach_helper(namespace)
    with FtpTraffic(namespace, version=version) as traffic:
        traffic.expect(20)
        batch = expectations.dump_batch(family=AF_INET if version == 4 else AF_INET6)
        assert len(batch) == 20
        assert without_timeouts(format_expectations(batch, 0, 20, PLAIN)) == lines_of_c_tool(
            namespace, version
        )
        theirs = lines_of_c_tool(namespace, version, "-o", "xml")
        assert without_timeouts(format_expectations(batch, 0, 20, XML)) == theirs[2:-1]


def test_what_is_expected(ftp: FtpTraffic, expectations: ExpectationTable) -> None:
    ftp.expect(1)
    (found,) = expectations
    assert found == Expectation(
        expected=Tuple("127.0.0.1", "127.0.0.1", 6, 0, 50000),
        mask=Tuple("255.255.255.255", "255.255.255.255", 6, 0, 0xFFFF),
        master=Tuple("127.0.0.1", "127.0.0.1", 6, 40000, 21),
        timeout=found.timeout,
        id=found.id,
        flags=ExpectationFlag(0),
        class_=0,
        helper="ftp",
    )
    assert found.timeout is not None
    assert 0 < found.timeout <= TIMEOUT


def test_translation_is_told(namespace: Namespace, expectations: ExpectationTable) -> None:
    attach_helper(namespace)
    namespace.nft(translation_ruleset("127.0.0.2", "127.0.0.1"))
    with FtpTraffic(namespace, address="127.0.0.2", listen="127.0.0.1") as traffic:
        traffic.connect().passive(50000)
        (found,) = expectations
    # The port before translation; the address is that of the master.
    assert found.nat == ExpectationNat(Direction.ORIGINAL, Tuple("0.0.0.0", "0.0.0.0", 6, 50000, 0))
    assert found.function == "nat-follow-master"


def test_counts_by_family(namespace: Namespace, ftp: FtpTraffic, expectations: ExpectationTable) -> None:
    ftp.expect(3)
    with FtpTraffic(namespace, version=6) as traffic:
        traffic.expect(2)
        counts = [expectations.count(family=family) for family in (0, AF_INET, AF_INET6)]
    assert counts == [5, 3, 2]
    assert len(expectations) == 5
    assert sum(processor.create for processor in expectations.processor_statistics()) >= 5
    shown = namespace.run(["conntrack", "-S", "expect"]).stdout
    assert shown == "".join(
        f"cpu={cpu}   \texpect_new={new} expect_create={create} expect_delete={delete} \n"
        for cpu, new, create, delete in expectations.processor_statistics()
    )


def test_those_of_one_master(ftp: FtpTraffic, expectations: ExpectationTable, table: ConntrackTable) -> None:
    ftp.expect(3)
    wanted = next(iter(expectations))
    assert wanted.master is not None
    (found,) = expectations.dump(master=wanted.master)
    assert found.id == wanted.id
    table.create(Flow(MASTER, timeout=600))
    assert list(expectations.dump(master=MASTER)) == []
    with pytest.raises(ExpectationNotFoundError, match="master"):
        list(expectations.dump(master=MASTER, zone=5))


def test_one_by_its_tuple_and_by_its_id(ftp: FtpTraffic, expectations: ExpectationTable) -> None:
    ftp.expect(2)
    for wanted in expectations:
        assert wanted.expected is not None
        for name in (wanted, wanted.expected):
            found = expectations.get(name)
            assert replace(found, timeout=wanted.timeout) == wanted
        assert wanted.id is not None
        with pytest.raises(ExpectationNotFoundError):
            expectations.get(replace(wanted, id=wanted.id ^ 1))


def test_more_than_one_datagram(ftp: FtpTraffic, expectations: ExpectationTable) -> None:
    ftp.expect(600)
    ports = [found.expected.destination_port for found in expectations if found.expected]
    assert sorted(ports) == list(range(50000, 50600))


# Changing.


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (MADE, ""),
        (replace(MADE, flags=ExpectationFlag.PERMANENT), " PERMANENT"),
        (replace(MADE, flags=ExpectationFlag.PERMANENT | ExpectationFlag.INACTIVE), " PERMANENT,INACTIVE"),
        (replace(MADE, function="nat-follow-master"), ""),
        (replace(MADE, nat=ExpectationNat(Direction.REPLY, Tuple("10.0.0.9", "0.0.0.0", 6, 5))), ""),
    ],
)
def test_what_is_created_is_there(
    namespace: Namespace, expectations: ExpectationTable, master: Tuple, given: Expectation, shown: str
) -> None:
    expectations.create(given)
    (found,) = expectations
    for name in ("expected", "mask", "master", "function", "nat"):
        assert getattr(found, name) == getattr(given, name)
    assert found.flags == (given.flags or ExpectationFlag(0))
    ones = "255.255.255.255"
    line = (
        f"N proto=6 src=10.0.0.2 dst=10.0.0.1 sport=20 dport=10241 mask-src={ones} mask-dst={ones} "
        "sport=65535 dport=65535 master-src=10.0.0.1 master-dst=10.0.0.2 sport=2005 dport=21"
        f"{shown} class=0 helper=ftp"
    )
    assert lines_of_c_tool(namespace, 4) == [line.encode()]


def test_equal_to_what_the_c_tool_creates(
    bed: Testbed, namespace: Namespace, expectations: ExpectationTable, master: Tuple
) -> None:
    other = bed.namespace("other")
    with ConntrackTable(other.name) as table:
        table.create(Flow(MASTER, timeout=600, helper=Helper("ftp")))
    # The tool sends the high byte of the last port as the protocol: of 1537, 6.
    options = (
        "-s 10.0.0.1 -d 10.0.0.2 -p tcp --sport 2005 --dport 21 -t 200 --tuple-src 10.0.0.2 --tuple-dst"
        " 10.0.0.1 --mask-src 255.255.0.0 --mask-dst 255.255.255.255 --tuple-port-src 20"
        " --tuple-port-dst 1537 --mask-port-src 10 --mask-port-dst 300"
    )
    other.run(["conntrack", "-I", "expect", *options.split()])
    mask = Tuple("255.255.0.0", "255.255.255.255", 6, 10, 300)
    expected = Tuple("10.0.0.2", "10.0.0.1", 6, 20, 1537)
    expectations.create(replace(MADE, expected=expected, mask=mask, timeout=200))
    assert lines_of_c_tool(namespace, 4) == lines_of_c_tool(other, 4) != []


def test_refusals(expectations: ExpectationTable, table: ConntrackTable) -> None:
    def refused(given: Expectation) -> ConntrackError:
        with pytest.raises(ConntrackError) as caught:
            expectations.create(given)
        return caught.value

    error = refused(MADE)
    assert isinstance(error, ExpectationNotFoundError)
    assert "master" in str(error)
    table.create(Flow(MASTER, timeout=600))
    assert refused(MADE).errno == errno.EOPNOTSUPP
    table.delete(MASTER)
    table.create(Flow(MASTER, timeout=600, helper=Helper("ftp")))
    for lacking in (replace(MADE, expected=None), replace(MADE, mask=None), replace(MADE, master=None)):
        assert refused(lacking).errno == errno.EINVAL
    assert refused(replace(MADE, class_=9)).errno == errno.EINVAL
    expectations.create(MADE)
    assert isinstance(refused(MADE), ExpectationExistsError)
    assert len(expectations) == 1


def test_deleting(ftp: FtpTraffic, expectations: ExpectationTable) -> None:
    ftp.expect(4)
    first, second, third, _ = expectations
    assert first.id is not None
    with pytest.raises(ExpectationNotFoundError):
        expectations.delete(replace(first, id=first.id ^ 1))
    expectations.delete(first)
    assert second.expected is not None
    expectations.delete(second.expected)
    batch = ExpectationBatch()
    for each in (first, third):
        each.add_to(batch)
    assert expectations.delete_batch(batch) == [(0, errno.ENOENT)]
    with pytest.raises(ValueError, match="what it expects"):
        expectations.delete(Expectation(id=first.id, zone=0))
    assert len(expectations) == 1
    expectations.flush(helper="sip")
    assert len(expectations) == 1
    expectations.flush(helper="ftp")
    assert len(expectations) == 0


def test_flushing_empties_both_families(
    namespace: Namespace, ftp: FtpTraffic, expectations: ExpectationTable
) -> None:
    with FtpTraffic(namespace, version=6) as traffic:
        traffic.expect(1)
        ftp.expect(1)
        expectations.flush()
        assert len(expectations) == 0


def test_a_batch_of_creations(expectations: ExpectationTable, table: ConntrackTable) -> None:
    batch = ExpectationBatch()
    for port in (1, 2, 3):
        control = replace(MASTER, source_port=port)
        if port != 2:
            table.create(Flow(control, timeout=600, helper=Helper("ftp")))
        expected = Tuple("10.0.0.2", "10.0.0.1", 6, 20, 5000 + port)
        replace(MADE, expected=expected, master=control).add_to(batch)
    assert expectations.create_batch(batch) == [(1, errno.ENOENT)]
    assert len(expectations) == 2
    assert expectations.create_batch(batch) == [(0, errno.EEXIST), (1, errno.ENOENT), (2, errno.EEXIST)]


# Following.


def test_each_change_is_an_event(bed: Testbed) -> None:
    client, server = bed.namespace("client"), bed.namespace("server")
    veth(client, "link", server, "link", first_addresses=["10.0.0.1/24"], second_addresses=["10.0.0.2/24"])
    attach_helper(client)
    with ExpectationTable(client.name) as expectations, expectations.events() as events:
        with FtpTraffic(client, server, address="10.0.0.2") as traffic:
            control = traffic.connect()
            control.passive(50000)
            control.transfer()
            control.active(50001)
            expectations.flush()
        seen = list(islice(events, 4))
        assert events.get(0.0) is None
    assert [each.event for each in seen] == [Event.NEW, Event.DESTROY, Event.NEW, Event.DESTROY]
    assert [each.expected.destination_port for each in seen if each.expected] == [50000, 50000, 50001, 50001]
    assert seen[0].id == seen[1].id != seen[2].id
    # By the loop's turns: the client called, then the server.
    assert [str(each.expected.source) for each in seen if each.expected] == ["10.0.0.1"] * 2 + [
        "10.0.0.2"
    ] * 2


def test_awaited_events(expectations: ExpectationTable, table: ConntrackTable) -> None:
    async def follow() -> list[Event]:
        with expectations.events_async(new=False) as events:
            # Something listens now, so that the kernel tells of what this master expects.
            table.create(Flow(MASTER, timeout=600, helper=Helper("ftp")))
            expectations.create(MADE)
            asyncio.get_running_loop().call_soon(expectations.flush)
            async for event in events:
                return [event.event]
        return []

    assert asyncio.run(asyncio.wait_for(follow(), DEADLINE)) == [Event.DESTROY]
    with pytest.raises(ValueError, match="no events"):
        expectations.events(new=False, update=False, destroy=False)


def test_an_overrun_is_told_once_and_survived(expectations: ExpectationTable, table: ConntrackTable) -> None:
    with expectations.events(receive_buffer=8192) as events:
        table.create(Flow(MASTER, timeout=600, helper=Helper("ftp")))
        for port in range(200):
            # Each takes the place of the one before.
            expectations.create(replace(MADE, expected=Tuple("10.0.0.2", "10.0.0.1", 6, 20, port)))
        seen = 0
        with pytest.raises(MessagesLostError):
            while events.get(DEADLINE) is not None:
                seen += 1
        while events.get(0.0) is not None:
            seen += 1
        assert 0 < seen < 399
        expectations.flush()
        event = events.get(DEADLINE)
        assert event is not None
        assert event.event == Event.DESTROY
        assert events.malformed == 0


# Other helpers.


def test_tftp(namespace: Namespace, expectations: ExpectationTable) -> None:
    namespace.nft(helper_ruleset("tftp", "udp", 69))
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 40000))
        client.sendto(b"\0\1file\0octet\0", ("127.0.0.1", 69))
    (found,) = expectations
    assert (found.helper, found.expected) == ("tftp", Tuple("127.0.0.1", "127.0.0.1", 17, 0, 40000))
    batch = expectations.dump_batch()
    assert without_timeouts(format_expectations(batch, 0, 1)) == lines_of_c_tool(namespace, 4)


def test_sip_registers(namespace: Namespace, expectations: ExpectationTable) -> None:
    namespace.nft(helper_ruleset("sip", "udp", 5060))
    request = (
        "REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062\r\nFrom: <sip:a@127.0.0.1>\r\n"
        "To: <sip:a@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@127.0.0.1:5062>\r\n"
        "Expires: 100\r\nContent-Length: 0\r\n\r\n"
    )
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 5062))
        client.sendto(request.encode(), ("127.0.0.1", 5060))
    (found,) = expectations
    # It waits for the registrar's answer.
    assert (found.helper, found.flags) == ("sip", ExpectationFlag.PERMANENT | ExpectationFlag.INACTIVE)
    batch = expectations.dump_batch()
    assert without_timeouts(format_expectations(batch, 0, 1)) == lines_of_c_tool(namespace, 4)
    assert without_timeouts(format_expectations(batch, 0, 1, XML)) == [
        lines_of_c_tool(namespace, 4, "-o", "xml")[2]
    ]


def test_a_closed_table(expectations: ExpectationTable) -> None:
    expectations.close()
    expectations.close()
    with pytest.raises(ConntrackError):
        expectations.get(MASTER)


def test_a_namespace_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        ExpectationTable("there-is-no-such-namespace")
