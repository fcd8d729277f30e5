# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheel and the Debian package of this source, and a Debian to install them on: each made once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from distribution.deb import BuildError, build_package
from distribution.wheel import build_wheel
from testbed import in_user_namespace
from tests.packaging.chroot import Chroot


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """For what is made here, in the name of this process."""
    with tempfile.TemporaryDirectory(prefix=f"testbed-{os.getpid()}-packaging-") as name:
        made = Path(name)
        made.chmod(0o755)
        yield made


@pytest.fixture(scope="session")
def wheel(directory: Path) -> Path:
    for tool in ("strip", "chrpath"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    return build_wheel(directory / "dist")


@pytest.fixture(scope="session")
def package(wheel: Path) -> Path:
    try:
        return build_package(wheel)
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def debian(directory: Path) -> Chroot:
    """The Debian; whoever installs something on it removes it, too."""
    if os.geteuid() != 0 or in_user_namespace():
        pytest.skip("only root can install a Debian")
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed")
    return Chroot(directory / "root")
