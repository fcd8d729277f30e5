# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package, on a Debian: beside nothing, in the place of the C tools, and removed."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import pytest

from distribution.wheel import SOURCE
from testbed import Testbed
from testbed.command import run_command
from tests.packaging.chroot import Chroot
from tests.packaging.installed import check_fail_over, check_versions

pytestmark = pytest.mark.packages
COMMANDS = PurePath("/usr/sbin")
C_TOOLS = ("conntrack", "conntrackd", "nfct")
CONFIGURATION = "etc/conntrackd/conntrackd.conf"
ENABLED = "/etc/systemd/system/multi-user.target.wants/conntrackd.service"


@contextmanager
def purged(debian: Chroot) -> Iterator[None]:
    """What is ours or the C tools' is removed at the end, whatever happened."""
    try:
        yield
    finally:
        there = {"pyconntrack", "libnetfilter-conntrack3", *C_TOOLS} & debian.packages().keys()
        debian.apt("purge", *there)


def has_manual_pages(debian: Chroot) -> bool:
    pages = [path.name for path in (SOURCE / "docs/man").iterdir()]
    places = [debian.root / f"usr/share/man/man{page[-1]}/{page}.gz" for page in pages]
    return bool(places) and all(b"\n.TH " in gzip.decompress(place.read_bytes()) for place in places)


def check_unit(debian: Chroot) -> None:
    """The unit is enabled, and calls commands that are there. (The targets of systemd are not.)"""
    assert debian.has(ENABLED)
    (unit,) = debian.root.glob("usr/lib/systemd/system/conntrackd.service")
    assert f"ExecStart={COMMANDS}/conntrackd " in unit.read_text()
    if shutil.which("systemd-analyze"):
        verify = ["systemd-analyze", "verify", "--man=no", f"--root={debian.root}", "conntrackd.service"]
        remarks = run_command(verify, check=False).stderr.splitlines()
        assert [remark for remark in remarks if not remark.endswith("Unit sysinit.target not found.")] == []


def test_installed_and_purged(bed: Testbed, debian: Chroot, package: Path) -> None:
    before = debian.paths_with("conntrack")
    with purged(debian):
        debian.apt("install", str(package))
        check_versions(debian, COMMANDS)
        debian.run("conntrackd", "--check")
        assert has_manual_pages(debian)
        check_unit(debian)
        for name in C_TOOLS[::2]:
            assert debian.has(f"/usr/share/bash-completion/completions/{name}")
            assert debian.has(f"/usr/share/zsh/vendor-completions/_{name}")
        assert debian.has("/usr/share/doc/pyconntrack/examples/primary-backup.sh")
        for file in ("init.d/conntrackd", "logrotate.d/conntrackd", "rc2.d/S01conntrackd"):
            assert debian.has(f"/etc/{file}")
        debian.run("python3", "-c", "import pyconntrack; pyconntrack.Tuple")
        check_fail_over(bed, debian, COMMANDS)

        debian.run("dpkg", "--remove", "pyconntrack")
        assert not debian.has(str(COMMANDS / "conntrackd"))
        assert debian.has(CONFIGURATION)
        debian.run("dpkg", "--purge", "pyconntrack")
        assert debian.paths_with("conntrack") == before
        assert "pyconntrack" not in debian.packages()


def test_takes_the_place_of_the_c_tools(debian: Chroot, package: Path) -> None:
    with purged(debian):
        debian.apt("install", *C_TOOLS)
        configuration = debian.root / CONFIGURATION
        changed = f"{configuration.read_text()}# changed\n"
        configuration.write_text(changed)

        debian.apt("install", str(package))
        known = debian.packages()
        assert known["pyconntrack"] == "installed"
        assert not [name for name in C_TOOLS if known.get(name) == "installed"]
        check_versions(debian, COMMANDS)
        check_unit(debian)
        assert configuration.read_text() == changed
        debian.run("conntrackd", "--check")
        assert (debian.root / "etc/init.d/conntrackd").stat().st_mode & 0o111

        debian.apt("install", *C_TOOLS)
        assert debian.packages()["pyconntrack"] == "config-files"
        debian.run("dpkg", "--purge", "pyconntrack")
        assert "pyconntrack" not in debian.run("conntrack", "-V")
        assert debian.has(ENABLED)
        assert configuration.read_text() == changed


def test_an_upgrade_keeps_the_configuration_and_what_is_disabled(debian: Chroot, package: Path) -> None:
    with purged(debian):
        debian.apt("install", str(package))
        configuration = debian.root / CONFIGURATION
        changed = f"{configuration.read_text()}# changed\n"
        configuration.write_text(changed)
        (debian.root / ENABLED.lstrip("/")).unlink()
        debian.apt("install", "--reinstall", str(package))
        assert configuration.read_text() == changed
        assert not debian.has(ENABLED)
        check_versions(debian, COMMANDS)
