# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheel: what is in it, and that it works on a Debian that has Python, and no compiler."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePath

import pytest

from distribution.wheel import SOURCE
from testbed import Testbed
from testbed.command import run_command
from tests.packaging.chroot import Chroot
from tests.packaging.installed import check_fail_over, check_versions

pytestmark = pytest.mark.packages
ENVIRONMENT = PurePath("/opt/pyconntrack")


def shared_files(wheel: Path) -> set[str]:
    """What comes into `share` where the wheel is installed."""
    with zipfile.ZipFile(wheel) as archive:
        return {name.partition(".data/data/")[2] for name in archive.namelist() if ".data/data/" in name}


def files_below(*directories: str) -> list[str]:
    return [path.name for name in directories for path in (SOURCE / name).rglob("*") if path.is_file()]


def test_data_files(wheel: Path) -> None:
    shared = shared_files(wheel)
    assert {f"share/man/man{page[-1]}/{page}" for page in files_below("docs/man")} <= shared
    words = {
        f"share/zsh/site-functions/{name}"
        if name.startswith("_")
        else f"share/bash-completion/completions/{name}"
        for name in files_below("docs/completion")
    }
    assert words <= shared
    examples = sorted(
        PurePath(name).name for name in shared if name.startswith("share/doc/pyconntrack/examples/")
    )
    assert examples == sorted([*files_below("contrib"), "conntrackd.service"])


def test_no_sources_of_the_core(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.endswith((".pyx", ".pxd", ".c"))]
    compiled = {PurePath(name).name.partition(".")[0] for name in names if name.endswith(".so")}
    assert compiled == {path.stem for path in (SOURCE / "src/pyconntrack/core").glob("*.pyx")}


def test_stripped(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        modules = [archive.extract(name, tmp_path) for name in archive.namelist() if name.endswith(".so")]
    shown = run_command(["readelf", "--wide", "--sections", "--dynamic", *modules]).stdout
    assert ".dynsym" in shown
    for unwanted in (".symtab", ".debug_info", "RUNPATH", "RPATH"):
        assert unwanted not in shown


def test_installed(bed: Testbed, debian: Chroot, wheel: Path) -> None:
    pip = str(ENVIRONMENT / "bin/pip")
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheel.parent), "lark>=1.1"]
    subprocess.run(fetch, check=True)
    debian.run("python3", "-m", "venv", str(ENVIRONMENT))
    debian.run(pip, "install", "-q", "--no-index", "--find-links", str(wheel.parent), "pyconntrack")
    try:
        check_versions(debian, ENVIRONMENT / "bin")
        check_fail_over(bed, debian, ENVIRONMENT / "bin")
        for name in shared_files(wheel):
            assert debian.has(str(ENVIRONMENT / name))
        examples = debian.root / "opt/pyconntrack/share/doc/pyconntrack/examples"
        assert (examples / "primary-backup.sh").stat().st_mode & 0o111
        assert (
            debian.run(str(ENVIRONMENT / "bin/python"), "-c", "import pyconntrack; pyconntrack.Tuple") == ""
        )
    finally:
        debian.run(pip, "uninstall", "-q", "-y", "pyconntrack")
    left = {path for path in debian.paths_with("conntrack") if path.startswith(f"{ENVIRONMENT}/")}
    # pip leaves the directories that it did not make for one package alone.
    assert {path for path in left if not (debian.root / path.lstrip("/")).is_dir()} == set()
