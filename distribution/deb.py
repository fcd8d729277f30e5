# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the wheel, and of it the Debian package: `python -m distribution.deb DIRECTORY`.

The Python that runs this is to be of the same version, but for the last number, as Debian's python3.
"""

from __future__ import annotations

import gzip
import os
import platform
import re
import shutil
import string
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from hashlib import md5
from pathlib import Path

from distribution.wheel import SOURCE, build_wheel

TEMPLATES = SOURCE / "distribution" / "deb"
MODULES = Path("usr/lib/python3/dist-packages")
DOCUMENTS = Path("usr/share/doc/pyconntrack")
MAINTAINER = "The pyconntrack authors <authors@pyconntrack.invalid>"

# Files of the source that have a place of their own on Debian.
SYSTEM_FILES = {
    "docs/conntrackd.service": "systemd/system/conntrackd.service",
    "contrib/system/conntrackd.conf": "etc/conntrackd/conntrackd.conf",
    "contrib/system/conntrackd.init": "etc/init.d/conntrackd",
    "contrib/system/conntrackd.logrotate": "etc/logrotate.d/conntrackd",
    "contrib/system/conntrackd.tmpfiles": "usr/lib/tmpfiles.d/conntrackd.conf",
}
COMMAND = """#!/usr/bin/python3 -I
import sys

from {module} import {function}

sys.exit({function}())
"""


class BuildError(RuntimeError):
    """The package cannot be made of this wheel here. The text is one line with the reason."""


def build_package(wheel: Path) -> Path:
    """Make the package of the wheel and return its path. Raises BuildError, CalledProcessError."""
    python = _python_of(wheel)
    changelog = _filled("changelog", {})
    version = _version_of(changelog, wheel)
    architecture = _output("dpkg", "--print-architecture")
    with tempfile.TemporaryDirectory(prefix="deb-") as name:
        tree = Path(name, "pyconntrack")
        tree.mkdir(mode=0o755)
        _unpack(wheel, tree)
        _add_commands(tree)
        _move_to_debians_places(tree)
        _add_system_files(tree)
        _add_documents(tree, changelog)
        major, minor = python
        values = {
            "version": version,
            "architecture": architecture,
            "python": f"{major}.{minor}",
            "next_python": f"{major}.{minor + 1}",
            "libc": _libc_needed(tree),
            "size": str(sum(file.stat().st_size for file in _files(tree)) // 1024),
        }
        _add_control(tree, values)
        package = wheel.resolve().parent / f"pyconntrack_{version}_{architecture}.deb"
        date = parsedate_to_datetime(changelog.rstrip().rpartition(">  ")[2])
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(int(date.timestamp()))}
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(package)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return package


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _filled(template: str, values: dict[str, str]) -> str:
    maintainer = MAINTAINER
    if "DEBFULLNAME" in os.environ and "DEBEMAIL" in os.environ:
        maintainer = f"{os.environ['DEBFULLNAME']} <{os.environ['DEBEMAIL']}>"
    text = string.Template((TEMPLATES / template).read_text(encoding="utf-8"))
    return text.substitute(values, maintainer=maintainer)


def _python_of(wheel: Path) -> tuple[int, int]:
    """Major and minor number of Debian's Python, which must be the wheel's."""
    tell = "import sys; print('cp%d%d %d %d' % (sys.version_info[:2] * 2))"
    tag, major, minor = _output("/usr/bin/python3", "-c", tell).split()
    if tag not in wheel.name.split("-"):
        raise BuildError(
            f"{wheel.name} is not for Debian's Python, {tag}: make clean deb PYTHON=/usr/bin/python3"
        )
    return int(major), int(minor)


def _version_of(changelog: str, wheel: Path) -> str:
    version = re.match(r"pyconntrack \((.+)\)", changelog)
    upstream = wheel.name.split("-")[1]
    if version is None or version[1].rpartition("-")[0] != upstream:
        raise BuildError(f"the first entry of distribution/deb/changelog is not about {upstream}")
    return version[1]


def _unpack(wheel: Path, tree: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            top, _, rest = entry.filename.partition("/")
            if top.endswith(".data"):
                target = tree / "usr" / rest.removeprefix("data/")
            elif rest in ("RECORD", "top_level.txt") or rest.startswith("licenses/"):
                continue
            else:
                target = tree / MODULES / entry.filename
            _write(target, archive.read(entry), executable=bool(entry.external_attr >> 16 & 0o111))
    for compiled in (tree / MODULES).rglob("*.so"):
        compiled.chmod(0o644)


def _write(target: Path, content: bytes, *, executable: bool = False) -> None:
    for directory in reversed(target.parents):
        if not directory.exists():
            directory.mkdir()
            directory.chmod(0o755)
    target.write_bytes(content)
    target.chmod(0o755 if executable else 0o644)


def _add_commands(tree: Path) -> None:
    """The entry points, where the C tools have them: scripts call them by their full paths."""
    (entry_points,) = (tree / MODULES).glob("*.dist-info/entry_points.txt")
    for line in entry_points.read_text(encoding="utf-8").splitlines():
        name, separator, place = line.partition(" = ")
        if separator:
            module, _, function = place.partition(":")
            content = COMMAND.format(module=module, function=function)
            _write(tree / "usr/sbin" / name, content.encode(), executable=True)


def _move_to_debians_places(tree: Path) -> None:
    share = tree / "usr/share"
    for page in sorted(share.glob("man/man*/*")):
        _write(page.with_name(f"{page.name}.gz"), _compressed(page.read_bytes()))
        page.unlink()
    for words in sorted(share.glob("bash-completion/completions/*.bash")):
        words.rename(words.with_suffix(""))
    (share / "zsh/site-functions").rename(share / "zsh/vendor-completions")


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _add_system_files(tree: Path) -> None:
    # For dpkg /lib and /usr/lib are two places: this one must be that of the package replaced.
    library = "lib" if int(platform.freedesktop_os_release().get("VERSION_ID", "13")) < 13 else "usr/lib"
    for source, place in SYSTEM_FILES.items():
        target = f"{library}/{place}" if place.startswith("systemd/") else place
        content = (SOURCE / source).read_bytes()
        _write(tree / target, content, executable=target.startswith("etc/init.d/"))
    (tree / DOCUMENTS / "examples/conntrackd.service").unlink()
    shutil.rmtree(tree / DOCUMENTS / "examples/system")


def _add_documents(tree: Path, changelog: str) -> None:
    _write(tree / DOCUMENTS / "changelog.Debian.gz", _compressed(changelog.encode()))
    for name in ("copyright", "README.Debian"):
        _write(tree / DOCUMENTS / name, (TEMPLATES / name).read_bytes())


def _libc_needed(tree: Path) -> str:
    """The newest version of glibc whose symbols the compiled modules want."""
    modules = [str(module) for module in (tree / MODULES).rglob("*.so")]
    needed: list[str] = re.findall(r"Name: GLIBC_([\d.]+)", _output("readelf", "--version-info", *modules))
    return max(needed, key=lambda version: [int(number) for number in version.split(".")])


def _files(tree: Path) -> Iterator[Path]:
    return (path for path in sorted(tree.rglob("*")) if path.is_file() and "DEBIAN" not in path.parts)


def _add_control(tree: Path, values: dict[str, str]) -> None:
    files = [(file, file.relative_to(tree)) for file in _files(tree)]
    sums = "".join(f"{md5(file.read_bytes()).hexdigest()}  {name}\n" for file, name in files)
    configuration = "".join(f"/{name}\n" for _, name in files if name.parts[0] == "etc")
    control = tree / "DEBIAN"
    _write(control / "control", _filled("control", values).encode())
    _write(control / "md5sums", sums.encode())
    _write(control / "conffiles", configuration.encode())
    for script in ("postinst", "prerm", "postrm"):
        _write(control / script, (TEMPLATES / script).read_bytes(), executable=True)


if __name__ == "__main__":
    try:
        print(build_package(build_wheel(Path(sys.argv[1]))))
    except BuildError as error:
        sys.exit(str(error))
