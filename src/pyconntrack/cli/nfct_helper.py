# SPDX-License-Identifier: GPL-2.0-or-later
"""The subsystem `helper` of nfct(8): helpers in user space."""

from __future__ import annotations

from collections.abc import Callable

from pyconntrack.cli.nfct_words import CommandError, cut, family_number, no_more, opened, prefixed
from pyconntrack.kernel.helpers import UserspaceHelpers
from pyconntrack.model.names import Protocol
from pyconntrack.model.userspace_helper import MAX_NAME_BYTES, UserspaceHelper, known_helper

_USAGE = "nfct helper list|add|delete|disable|get|flush [parameters...]"

_PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP}


def helper_command(command: str, word: str, parameters: list[str]) -> list[str]:
    """Carry out a command; the text for standard output. Raises CommandError, OSError.

    `word` is the second word of the command line.
    """
    # The C tool opens its socket before it looks at the parameters.
    with opened(UserspaceHelpers) as helpers:
        action = _COMMANDS.get(command)
        if action is None:
            raise CommandError(f"Unknown command: {word}", prefixed("Missing command"), _USAGE)
        return action(helpers, parameters)


def _list(helpers: UserspaceHelpers, parameters: list[str]) -> list[str]:
    no_more(parameters)
    return [helper_text(helper) for helper in helpers]


def _get(helpers: UserspaceHelpers, parameters: list[str]) -> list[str]:
    name, family, protocol = _identity(parameters)
    if family is None or protocol is None:
        return [helper_text(helpers.get(name))]
    helper = helpers.find(name, family, protocol)
    # Of another helper of this name the C tool says nothing either.
    return [] if helper is None else [helper_text(helper)]


def _add(helpers: UserspaceHelpers, parameters: list[str]) -> list[str]:
    helpers.add(_known("add", parameters))
    return []


def _disable(helpers: UserspaceHelpers, parameters: list[str]) -> list[str]:
    helper = _known("disable", parameters)
    helpers.disable(helper.name, helper.family, helper.protocol)
    return []


def _delete(helpers: UserspaceHelpers, parameters: list[str]) -> list[str]:
    helpers.delete(*_identity(parameters))
    return []


def _flush(helpers: UserspaceHelpers, parameters: list[str]) -> list[str]:
    no_more(parameters)
    helpers.flush()
    return []


_COMMANDS: dict[str, Callable[[UserspaceHelpers, list[str]], list[str]]] = {
    "list": _list,
    "get": _get,
    "add": _add,
    "disable": _disable,
    "delete": _delete,
    "flush": _flush,
}


def helper_text(helper: UserspaceHelper) -> str:
    """A helper as nfct(8) shows it."""
    return (
        "{\n"
        f"\t.name = {helper.name},\n"
        f"\t.queuenum = {helper.queue or 0},\n"
        f"\t.l3protonum = {helper.family},\n"
        f"\t.l4protonum = {helper.protocol},\n"
        f"\t.priv_data_len = {helper.private_bytes},\n"
        f"\t.status = {'enabled' if helper.enabled else 'disabled'},\n"
        "};\n"
    )


def _known(command: str, parameters: list[str]) -> UserspaceHelper:
    """The helper that is named by name, family and protocol; further words are not looked at."""
    if len(parameters) < 3:
        raise CommandError("missing parameters", f"syntax: nfct {command} helper name family protocol")
    name, family, protocol = parameters[:3]
    helper = known_helper(name, family_number(family), _protocol_number(protocol))
    if helper is None:
        raise CommandError("that helper is not supported")
    return helper


def _identity(parameters: list[str]) -> tuple[str, int | None, int | None]:
    """Name, family and protocol, of which the last ones may be left out."""
    if not parameters:
        raise CommandError("missing helper policy name")
    no_more(parameters[3:])
    name = cut(parameters[0], MAX_NAME_BYTES)
    if len(parameters) == 1:
        return name, None, None
    family = family_number(parameters[1])
    # Without a protocol the C tool asks for protocol 0.
    return name, family, _protocol_number(parameters[2]) if len(parameters) == 3 else 0


def _protocol_number(word: str) -> int:
    if word not in _PROTOCOLS:
        raise CommandError("unsupported layer 4 protocol")
    return _PROTOCOLS[word]
