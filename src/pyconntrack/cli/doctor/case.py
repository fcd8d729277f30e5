# SPDX-License-Identifier: GPL-2.0-or-later
"""What all checks begin with: the machine, the configuration, and the daemon, if one runs."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cached_property

from pyconntrack.cli.doctor.machine import Machine
from pyconntrack.config import ConfigError, Loaded, Problem, Settings, Sync, load
from pyconntrack.daemon.control_client import AnswerError, UnreachableError, request


@dataclass
class Case:
    """One examination. What it asks the daemon for is asked once."""

    machine: Machine
    config: str
    loaded: Loaded | None
    errors: list[Problem]

    @classmethod
    def of_file(cls, config: str, machine: Machine) -> Case:
        """With a configuration that need not be sound."""
        try:
            return cls(machine, config, load(config), [])
        except ConfigError as error:
            return cls(machine, config, None, error.problems)

    @property
    def settings(self) -> Settings:
        """For the checks that are made only where the configuration is sound."""
        assert self.loaded is not None
        return self.loaded.settings

    @property
    def sync(self) -> Sync:
        """For the checks that are made only where there are other nodes."""
        assert self.settings.sync is not None
        return self.settings.sync

    def ask(self, command: str) -> str | None:
        """What the daemon answers to a request at its control socket; None where none of ours answers."""
        return self._answer(command)[0]

    @cached_property
    def runs(self) -> bool:
        """A daemon of ours answers."""
        return self.ask("statistics runtime") is not None

    @cached_property
    def refusal(self) -> str:
        """Why none of ours answers; empty where one does."""
        return self._answer("statistics runtime")[1]

    def _answer(self, command: str) -> tuple[str | None, str]:
        if self.loaded is None:
            return None, "the configuration, which names the control socket, cannot be read"
        if self.foreign:
            return None, "it is the C daemon that runs"
        answer = io.BytesIO()
        try:
            request(str(self.settings.general.unix_path), command, answer)
        except (AnswerError, UnreachableError, OSError) as error:
            return None, str(error)
        return answer.getvalue().decode(errors="replace"), ""

    @cached_property
    def foreign(self) -> list[int]:
        """Process ids of C daemons: those that are not run by Python, and would not know our requests."""
        return [each.pid for each in self.machine.processes() if each.program == "conntrackd"]


def counted(text: str | None, label: str) -> int:
    """The sum of the numbers beside a label in a statistics text: `label: 3`, or `3 label`."""
    pattern = rf"{re.escape(label)}:\s+(\d+)|(\d+) {re.escape(label)}\b"
    return sum(int(after or before) for after, before in re.findall(pattern, text or ""))
