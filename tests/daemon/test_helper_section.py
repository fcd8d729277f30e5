# SPDX-License-Identifier: GPL-2.0-or-later
"""The section Helper: what the daemon says at start, with a kernel that supports such helpers and without."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from pyconntrack import SubsystemMissingError, UserspaceHelpers
from pyconntrack.config import Helper, HelperType
from pyconntrack.daemon import userspace_helpers
from pyconntrack.daemon.userspace_helpers import helper_warnings, instead_of
from testbed import Configuration, Conntrackd, Testbed, UnicastLink
from tests.nfct.fake_kernel import FakeKernel, acknowledgement, done
from tests.peer.nodes import OURS

SECTION = """
Helper {
    Type ftp inet tcp { QueueNum 0 Policy ftp { ExpectMax 1 ExpectTimeout 300 } }
    Type rpc inet udp { QueueNum 1 Policy rpc { ExpectMax 1 ExpectTimeout 300 } }
}
"""
UNSUPPORTED = "this kernel does not support helpers in user space (it has no nfnetlink_cthelper)"
SUPPORTED = "this daemon does not run helpers in user space"
ADVICE = (
    "use nf_conntrack_ftp, assigned to flows by `ct helper' of nft or `-j CT --helper' of iptables; "
    "for rpc the kernel has no helper of its own"
)
CHECK = [sys.executable, "-c", "import sys; from pyconntrack.cli.conntrackd import main; sys.exit(main())"]


def kernel_supports_helpers() -> bool:
    try:
        with UserspaceHelpers() as helpers:
            list(helpers)
    except SubsystemMissingError:
        return False
    return True


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(acknowledgement(errno.EINVAL), UNSUPPORTED, id="without support"),
        pytest.param(done(), SUPPORTED, id="with support"),
    ],
)
def test_check_tells_it_for_either_kernel(answer: bytes, reason: str, bed: Testbed, tmp_path: Path) -> None:
    file = tmp_path / "conntrackd.conf"
    file.write_text(
        Configuration([UnicastLink("lo", "127.0.0.1", "127.0.0.2")]).text(tmp_path, "x") + SECTION
    )
    kernel = FakeKernel(tmp_path)
    outcome, asked = kernel.run(CHECK, ["--check", "-C", str(file)], [answer] * 3, bed.namespace("one"))
    assert outcome.status == 0
    assert (
        outcome.errors.decode() == f"{file}: warning: the section Helper has no effect: {reason}; {ADVICE}\n"
    )
    assert asked


def test_daemon_starts_and_tells_it_once(bed: Testbed) -> None:
    link = UnicastLink("lo", "127.0.0.1", "127.0.0.2")
    daemon = Conntrackd(bed.namespace("one"), OURS, Configuration([link]))
    daemon.configuration_file.write_text(daemon.configuration_file.read_text() + SECTION)
    daemon.start()
    reason = SUPPORTED if kernel_supports_helpers() else UNSUPPORTED
    expected = f"[warning] the section Helper has no effect: {reason}; {ADVICE}\n"
    assert daemon.log_file.read_text().count(expected) == 1
    assert daemon.terminate() == 0


def test_helper_section_alone_is_refused(bed: Testbed, tmp_path: Path) -> None:
    file = tmp_path / "conntrackd.conf"
    file.write_text(f"General {{ LockFile {tmp_path}/lock UNIX {{ Path {tmp_path}/ctl }} }}\n{SECTION}")
    ended = bed.namespace("one").run([*OURS, "-C", str(file)], check=False)
    assert ended.returncode == 1
    assert "[ERROR] the configuration has a section Helper alone" in ended.stderr


def test_section_that_asks_for_nothing_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userspace_helpers, "UserspaceHelpers", None)
    assert helper_warnings(None) == []
    assert helper_warnings(Helper()) == []


def test_who_must_not_ask_the_kernel_is_not_told_that_it_lacks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> UserspaceHelpers:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(userspace_helpers, "UserspaceHelpers", refuse)
    (warning,) = helper_warnings(Helper((HelperType("sane", 4, 6),)))
    assert SUPPORTED in warning


def test_advice_names_what_the_kernel_has() -> None:
    assert instead_of(["tftp", "ftp", "ftp"]).startswith("use nf_conntrack_ftp and nf_conntrack_tftp, ")
    assert instead_of(["tns"]) == "for tns the kernel has no helper of its own"
