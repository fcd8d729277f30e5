# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the wheel: `python -m distribution.wheel DIRECTORY`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent


def build_wheel(directory: Path) -> Path:
    """Build the wheel of this source for this Python, without symbols. Returns its path in `directory`.

    Modules of the core that stand compiled beside their sources, and are newer, are not compiled again.
    Raises CalledProcessError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        scratch = Path(name)
        _take_compiled(scratch / "modules")
        # Nothing is built in the tree: what an earlier version left there would come into the wheel.
        settings = scratch / "build.cfg"
        settings.write_text(f"[build]\nbuild_base = {scratch}\nbuild_lib = {scratch / 'modules'}\n")
        # Without the search paths that this Python was linked with.
        linker = f"{os.environ.get('CC', 'gcc')} -shared -Wl,--strip-all"
        environment = {**os.environ, "DIST_EXTRA_CONFIG": str(settings), "LDSHARED": linker}
        built = scratch / "wheel"
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps"]
        subprocess.run([*command, "-w", built, SOURCE], check=True, env=environment)
        (wheel,) = built.glob("*.whl")
        return Path(shutil.copy(wheel, directory))


def _take_compiled(modules: Path) -> None:
    """Copy the compiled modules, stripped, and with their times, which tell what is to be compiled again."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    core = Path("pyconntrack", "core")
    (modules / core).mkdir(parents=True)
    for compiled in sorted((SOURCE / "src" / core).glob(f"*{suffix}")):
        target = shutil.copy(compiled, modules / core)
        subprocess.run(["strip", "--strip-unneeded", target], check=True)
        subprocess.run(["chrpath", "--delete", target], check=True, stdout=subprocess.DEVNULL)
        shutil.copystat(compiled, target)


if __name__ == "__main__":
    print(build_wheel(Path(sys.argv[1])))
