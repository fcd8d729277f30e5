# SPDX-License-Identifier: GPL-2.0-or-later
"""User-space helpers: both tools ask the same of the kernel, and show the same of what it answers."""

from __future__ import annotations

import errno
import shlex
import shutil
from pathlib import Path

import pytest

from pyconntrack import (
    KNOWN_HELPERS,
    ExpectationPolicy,
    Protocol,
    SubsystemMissingError,
    UserspaceHelper,
    UserspaceHelpers,
    known_helper,
)
from pyconntrack.core.netlink import attributes
from pyconntrack.kernel.helpers import helper_attributes, read_helper
from pyconntrack.kernel.netlink_attributes import number32
from testbed import Namespace
from tests.nfct.fake_kernel import FakeKernel, acknowledgement, done, message
from tests.nfct.tools import C_TOOL, OURS

NEW = 9 << 8
QUEUE, STATUS = 3, 6

HELPERS = [
    *(
        f"add helper {name} inet {protocol}"
        for name in (*KNOWN_HELPERS, "sip")
        for protocol in ("tcp", "udp")
    ),
    *(
        f"{command} helper rpc inet6 {protocol}"
        for command in ("add", "disable")
        for protocol in ("tcp", "udp")
    ),
    "disable helper tns inet tcp",
    "disable helper tns inet udp",
    "disable helper slp inet6 udp",
]

OTHERS = """
    list helper
    flush helper
    get helper ftp
    get helper ftp inet
    get helper ftp inet tcp
    get helper ftp inet6 udp
    get helper ''
    get helper fifteen-bytes-1
    get helper fifteen-bytes-12
    delete helper ftp
    delete helper ftp inet6
    delete helper ftp inet6 udp
    delete helper fifteen-bytes-and-more inet tcp
    add helper ftp inet tcp 5
    list timeout
    flush timeout
    get timeout a
    delete timeout a
    add timeout a inet6 tcp close 7 established 8
    add timeout a inet6 tcp close 7 close 8
    add timeout a inet esp
    default-get timeout inet udp
    default-set timeout inet udp replied 7
"""


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    if shutil.which("nfct") is None:
        pytest.skip("nfct is not installed")
    return FakeKernel(tmp_path)


def told(helper: UserspaceHelper, *, enabled: bool, queue: int, multi: bool) -> bytes:
    """What the kernel says of a helper (nfnl_cthelper_fill_info)."""
    content = b"".join(helper_attributes(helper)) + number32(QUEUE, queue) + number32(STATUS, enabled)
    return message(NEW, bytes(4) + content, multi=multi)


def helper(name: str, protocol: Protocol, family: int = 2) -> UserspaceHelper:
    known = known_helper(name, family, protocol)
    assert known is not None
    return known


def test_requests_are_the_same(kernel: FakeKernel, namespace: Namespace) -> None:
    asked = 0
    for words in [*HELPERS, *(line.strip() for line in OTHERS.splitlines()[1:])]:
        results = [
            # A refusal, so that no tool asks twice; not EINVAL, which ours looks into.
            kernel.run(tool, shlex.split(words), [acknowledgement(errno.EBUSY)], namespace)
            for tool in (C_TOOL, OURS)
        ]
        assert results[0] == results[1], words
        asked += len(results[0][1])
    # Ten helpers, of which two are for both protocols.
    assert asked == 12 + 4 + 2 + len(OTHERS.splitlines()) - 1


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("list helper", [done()]),
        (
            "list helper",
            [
                told(helper("ftp", Protocol.TCP), enabled=True, queue=5, multi=True)
                + told(helper("rpc", Protocol.UDP, 10), enabled=False, queue=65535, multi=True),
                told(helper("slp", Protocol.UDP), enabled=True, queue=0, multi=True),
                done(),
            ],
        ),
        (
            "get helper ftp",
            [told(helper("ftp", Protocol.TCP), enabled=True, queue=1, multi=False), acknowledgement()],
        ),
        (
            "get helper ftp inet tcp",
            [told(helper("ftp", Protocol.TCP), enabled=False, queue=1, multi=False), acknowledgement()],
        ),
        # The name is there, but with another family or protocol: as Linux 6.1 answers.
        ("get helper ftp inet6 tcp", [acknowledgement()]),
        ("get helper ftp inet", [acknowledgement()]),
        ("get helper ftp inet6 tcp", [acknowledgement(errno.ENOENT)]),
        ("add helper ftp inet tcp", [acknowledgement()]),
        ("add helper ftp inet tcp", [acknowledgement(errno.EBUSY)]),
        ("disable helper ftp inet tcp", [acknowledgement()]),
        ("delete helper ftp", [acknowledgement()]),
        ("delete helper ftp", [acknowledgement(errno.EBUSY)]),
        ("delete helper ftp inet", [acknowledgement(errno.ENOENT)]),
        ("flush helper", [acknowledgement()]),
        ("list helper", [acknowledgement(errno.ENOMEM)]),
        ("list timeout", []),
    ],
)
def test_answers_are_shown_alike(
    words: str, answers: list[bytes], kernel: FakeKernel, namespace: Namespace
) -> None:
    expected, got = (kernel.run(tool, words.split(), answers, namespace)[0] for tool in (C_TOOL, OURS))
    assert got == expected
    assert (got.status == 0) == (got.errors == b"")


def test_what_the_kernel_does_not_like_is_not_called_missing(
    kernel: FakeKernel, namespace: Namespace
) -> None:
    """EINVAL from a kernel that does list helpers is passed on as it is."""
    outcome, asked = kernel.run(
        OURS, shlex.split("disable helper rpc inet udp"), [acknowledgement(errno.EINVAL), done()], namespace
    )
    assert outcome.errors == b"nfct vX: netlink error: Invalid argument\n"
    assert len(asked) == 2


def test_a_helper_is_read_as_it_was_written() -> None:
    written = UserspaceHelper(
        name="h.323",
        family=10,
        protocol=Protocol.UDP,
        queue=7,
        expectations=(ExpectationPolicy("rtp", 2, 30), ExpectationPolicy("rtcp", 4, 60)),
        private_bytes=24,
        enabled=True,
    )
    assert read_helper(attributes(b"".join(helper_attributes(written)))) == written


PLAIN = UserspaceHelper("name", 2, 6)


@pytest.mark.parametrize(
    "wrong",
    [
        PLAIN._replace(name="sixteen-bytes-12"),
        PLAIN._replace(name="a\0b"),
        PLAIN._replace(expectations=(ExpectationPolicy("x", 1, 1),) * 5),
        PLAIN._replace(expectations=(ExpectationPolicy("sixteen-bytes-12", 1, 1),)),
    ],
)
def test_what_is_not_even_asked(wrong: UserspaceHelper) -> None:
    with pytest.raises(ValueError, match=r".+"):
        helper_attributes(wrong)


def test_the_python_interface(namespace: Namespace) -> None:
    """Where the kernel has helpers, they are kept; where not, it is said."""
    ftp = helper("ftp", Protocol.TCP)
    with UserspaceHelpers(namespace.name) as helpers:
        try:
            before = list(helpers)
        except SubsystemMissingError as error:
            assert error.errno == errno.EINVAL
            assert "this kernel has no nfnetlink_cthelper" in str(error)
            return
        if any(known.name == "ftp" for known in before):
            pytest.skip("somebody has a helper for FTP, and all network namespaces share them")
        helpers.add(ftp)
        try:
            assert helpers.get("ftp", 2, 6) == ftp._replace(queue=0, enabled=False)
            assert helpers.find("ftp", 2, 17) is None
            assert [known for known in helpers if known not in before] == [helpers.get("ftp")]
        finally:
            helpers.delete("ftp", 2, 6)
        assert list(helpers) == before


def test_family_and_protocol_go_together(namespace: Namespace) -> None:
    with UserspaceHelpers(namespace.name) as helpers, pytest.raises(ValueError, match="go together"):
        helpers.get("ftp", family=2)
