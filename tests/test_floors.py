# SPDX-License-Identifier: GPL-2.0-or-later
"""The floors of the house: which package of pyconntrack may import which; who may import lark and asyncio."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "pyconntrack"

FLOORS: dict[str, set[str]] = {
    "core": set(),
    "model": {"core"},
    "kernel": {"core", "model"},
    "config": {"model"},
    "replication": {"core"},
    # A link's settings are what a channel is made from.
    "channel": {"core", "config"},
    "daemon": {"core", "model", "kernel", "config", "replication", "channel"},
    "cli": {"core", "model", "kernel", "config", "replication", "channel", "daemon"},
}
"""What each package may import beside itself."""

BELOW_ALL = {"version"}
"""Modules without a package, which import nothing of ours and may be imported by all."""

ONLY_IN = {"lark": {"config"}, "asyncio": {"daemon"}}
"""Packages that may import these modules when they are loaded."""

ONLY_LAZILY_IN = {"asyncio": {"kernel/stream.py"}, "lark": {"config/syntax.py"}}
"""Files that may import them only within a function."""

CIMPORT = re.compile(
    r"^(?P<indent>[ \t]*)(?:from[ \t]+(?P<module>[\w.]+)[ \t]+c?import\b|c?import[ \t]+(?P<plain>[\w., \t]+))"
)


@dataclass(frozen=True)
class Import:
    """One import statement; `module` is absolute, `lazy` says that it stands within a function."""

    file: Path
    line: int
    module: str
    lazy: bool = False
    typing_only: bool = False

    @property
    def package(self) -> str:
        """The package of ours that imports, empty for pyconntrack itself."""
        parts = self.file.relative_to(SOURCE).parts
        return parts[0] if len(parts) > 1 else ""

    @property
    def target(self) -> str | None:
        """The package of ours that is imported, None where it is none of ours."""
        head, _, rest = self.module.partition(".")
        return rest.partition(".")[0] if head == "pyconntrack" else None

    def __str__(self) -> str:
        return f"{self.file.relative_to(SOURCE)}:{self.line} imports {self.module}"


class _Collector(ast.NodeVisitor):
    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: list[Import] = []
        self._functions = 0
        self._typing_only = 0

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_If(self, node: ast.If) -> None:
        typing_only = "TYPE_CHECKING" in ast.unparse(node.test)
        self._typing_only += typing_only
        for statement in node.body:
            self.visit(statement)
        self._typing_only -= typing_only
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node.lineno, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            package = ["pyconntrack", *self.file.relative_to(SOURCE).parts[:-1]]
            module = ".".join([*package[: len(package) - node.level + 1], *([module] if module else [])])
        if module == "pyconntrack":
            for alias in node.names:
                self._add(node.lineno, f"pyconntrack.{alias.name}")
        else:
            self._add(node.lineno, module)

    def _add(self, line: int, module: str) -> None:
        self.found.append(Import(self.file, line, module, self._functions > 0, self._typing_only > 0))


def imports_of_python(file: Path) -> list[Import]:
    collector = _Collector(file)
    collector.visit(ast.parse(file.read_text(), str(file)))
    return collector.found


def imports_of_cython(file: Path) -> Iterator[Import]:
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        match = CIMPORT.match(line)
        if match is None:
            continue
        for module in (match["module"] or match["plain"]).split(","):
            yield Import(file, number, module.split()[0], lazy=bool(match["indent"]))


def imports_of(file: Path) -> list[Import]:
    if file.suffix in (".py", ".pyi"):
        return imports_of_python(file)
    return list(imports_of_cython(file)) if file.suffix in (".pyx", ".pxd") else []


@cache
def all_imports() -> list[Import]:
    return [each for file in sorted(SOURCE.rglob("*")) for each in imports_of(file)]


def is_in(module: str, top: str) -> bool:
    return module == top or module.startswith(f"{top}.")


def test_every_package_has_its_floor() -> None:
    packages = {file.parent.name for file in SOURCE.glob("*/*") if file.suffix in (".py", ".pyx")}
    assert packages == set(FLOORS)


def test_floors_have_no_circle() -> None:
    left = {package: set(below) for package, below in FLOORS.items()}
    while left:
        bottom = {package for package, below in left.items() if not below & set(left)}
        assert bottom, f"in a circle: {sorted(left)}"
        left = {package: below for package, below in left.items() if package not in bottom}


def upward(imports: Iterable[Import]) -> list[str]:
    return [
        str(each)
        for each in imports
        if each.package
        and each.target is not None
        and each.target not in {each.package, *FLOORS[each.package], *BELOW_ALL}
    ]


def test_no_import_runs_upwards() -> None:
    wrong = upward(all_imports())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/wire.pyx", "from pyconntrack.model.flow cimport Flow"),
        ("core/wire.pxd", "    cimport pyconntrack.kernel.table"),
        ("core/wire.pyi", "from pyconntrack.model import Flow"),
        ("model/flow.py", "from ..kernel.table import ConntrackTable"),
        ("replication/ftfw.py", "def f():\n    from pyconntrack import kernel"),
        ("config/load.py", "import pyconntrack.daemon.log"),
    ],
)
def test_an_import_upwards_is_found(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.SOURCE", tmp_path)
    written = tmp_path / file
    written.parent.mkdir()
    written.write_text(f"{text}\n")
    assert upward(imports_of(written))


def test_the_imports_are_seen() -> None:
    """What the other tests find nothing wrong with, they must have looked at."""
    seen = {(each.package, each.target) for each in all_imports()}
    assert {("core", "core"), ("kernel", "core"), ("config", "config"), ("cli", "daemon")} <= seen
    cython = {each.module for each in all_imports() if each.file.suffix == ".pyx"}
    assert {"pyconntrack.core.record", "libc.stdint"} <= cython


@pytest.mark.parametrize("top", sorted(ONLY_IN))
def test_costly_modules_stay_where_they_belong(top: str) -> None:
    wrong = [
        str(each)
        for each in all_imports()
        if is_in(each.module, top)
        and not each.typing_only
        and each.package not in ONLY_IN[top]
        and not (each.lazy and each.file.relative_to(SOURCE).as_posix() in ONLY_LAZILY_IN[top])
    ]
    assert not wrong, "\n".join(wrong)


def test_lark_is_imported_only_where_a_configuration_is_read() -> None:
    eager = [
        str(each)
        for each in all_imports()
        if is_in(each.module, "lark") and not (each.lazy or each.typing_only)
    ]
    assert not eager, "\n".join(eager)


def test_the_package_itself_imports_nothing_of_ours_at_start() -> None:
    eager = [
        str(each)
        for each in imports_of_python(SOURCE / "__init__.py")
        if each.target is not None and not (each.lazy or each.typing_only)
    ]
    assert not eager, "\n".join(eager)
