# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command of the manual in docs/manual/ is carried out, in order, and prints what is shown there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pyconntrack.config import parse
from testbed import Testbed, wait_until
from tests.docs.blocks import ROOT
from tests.docs.manual import PAGES, Command, Page, Step, read_page
from tests.docs.manual_scenes import SCENES, Scene

NAMES = [path.stem for path in PAGES]
ASKS = re.compile(
    r"^(ip netns exec \S+ )?"
    r"(conntrackd (-C \S+ )?-[siex]\b|conntrack -[LC]\b|cat |grep |tail |ls |ss |ip |nft list )"
)
"""Commands that change nothing. What they show may take a moment to be so: they are given again."""

# proc(5): the protocol is NETLINK_NETFILTER, and there are groups.
LISTENS = "awk '$2 == 12 && $4 != \"00000000\" { found = 1 } END { exit !found }' /proc/net/netlink"

READ_ONLY_KINDS = {"text"}
"""Blocks that show something to be read."""


def carry_out(page: Page, command: Command, scene: Scene, *, may_fail: bool) -> None:
    """Give a command. Its status must be 0, unless it may fail, and its output be as shown."""
    host = scene[command.host] if command.host else next(iter(scene.values()))
    expected = command.expected()
    where = f"{page.name}.md:{command.line}: {command.text}"

    said = ""

    def as_shown() -> bool:
        nonlocal said
        status, said = host.run(command.text)
        if status != 0 and not may_fail:
            said += f"(status {status})"
            return False
        return expected is None or expected.fullmatch(_lines(said)) is not None

    if expected is not None and ASKS.match(command.text):
        wait_until(as_shown, 20.0, where, lambda: said)
    else:
        assert as_shown(), f"{where}\nprinted:\n{said}"
    if "conntrack -E" in command.text:
        wait_until(lambda: host.run(LISTENS)[0] == 0, 20.0, f"{where} to listen")


def carry_out_all(page: Page, step: Step, scene: Scene) -> None:
    """Give the commands of a block."""
    commands = step.commands()
    for command, next_one in zip(commands, [*commands[1:], None], strict=True):
        asked = next_one is not None and next_one.text == "echo $?"
        carry_out(page, command, scene, may_fail=asked)


def _lines(text: str) -> str:
    """Without blanks at line ends, and with a newline at the end of what has none."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def put_file(step: Step, scene: Scene) -> None:
    *hosts, path = step.words.split()
    for host in hosts:
        scene[host].write(path, step.text)


def check_configuration(page: Page, step: Step) -> None:
    loaded = parse(step.text, f"{page.name}.md:{step.line}")
    assert loaded.warnings == []


def sources() -> str:
    """Those of the daemon, with strings that stand in several parts put together."""
    package = ROOT / "src" / "pyconntrack"
    text = "".join(path.read_text() for path in sorted(package.rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def check_log(page: Page, step: Step) -> None:
    """What is said to be in the log is there, word for word but for `...`."""
    text = sources()
    for line in step.text.splitlines():
        for part in line.split("..."):
            words = part.strip(" `':,;.s")
            assert len(words) < 3 or words in text, f"{page.name}.md:{step.line}: {words}"


def run_python(step: Step, bed: Testbed) -> None:
    namespace = bed.namespace("reader")
    script = namespace.directory / "block.py"
    script.write_text(step.text)
    namespace.run([sys.executable, "-W", "error", str(script)])


@pytest.mark.parametrize("name", NAMES)
def test_the_page(name: str, bed: Testbed) -> None:
    page = read_page(name)
    steps = [step for step in page.steps if step.remark != "not run"]
    scene: Scene = {}
    if any(step.kind == "console" or step.remark == "file" for step in steps):
        scene = SCENES[page.scene](bed)
    for step in steps:
        if step.remark == "file":
            put_file(step, scene)
        if step.kind == "conntrackd.conf":
            check_configuration(page, step)
        elif step.kind == "log":
            check_log(page, step)
        elif step.kind == "python":
            run_python(step, bed)
        elif step.kind == "console":
            carry_out_all(page, step, scene)


@pytest.mark.parametrize("name", NAMES)
def test_all_blocks_are_of_a_known_kind(name: str) -> None:
    """Else there might be commands in them that nobody carries out."""
    kinds = {step.kind for step in read_page(name).steps if step.remark != "file"}
    assert kinds <= READ_ONLY_KINDS | {"console", "conntrackd.conf", "log", "python", "{eval-rst}"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_block_is_found(path: Path) -> None:
    """An indented one would be passed over."""
    fences = re.findall(r"^\s*```", path.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(read_page(path.stem).steps)


def test_few_commands_are_not_carried_out() -> None:
    steps = [step for name in NAMES for step in read_page(name).steps if step.kind == "console"]
    left_out = [step for step in steps if step.remark == "not run"]
    assert all(step.words for step in left_out)
    assert len(left_out) * 8 <= len(steps)
