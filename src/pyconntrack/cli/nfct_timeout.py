# SPDX-License-Identifier: GPL-2.0-or-later
"""The subsystem `timeout` of nfct(8): timeout policies and the default timeouts of protocols."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from pyconntrack.cli.nfct_words import CommandError, cut, family_number, no_more, opened
from pyconntrack.kernel.timeouts import TimeoutPolicies
from pyconntrack.model.names import Protocol
from pyconntrack.model.timeout_policy import GENERIC, MAX_NAME_BYTES, TIMEOUT_STATES, TimeoutPolicy

# The C library of timeout policies knows of SCTP's states the first seven.
STATES = {**TIMEOUT_STATES, Protocol.SCTP: TIMEOUT_STATES[Protocol.SCTP][:7]}

_USAGE = "nfct <list|add|delete|get|default-set|default-get|flush> timeout [<parameters>, ...]"


def timeout_command(command: str, parameters: list[str]) -> list[str]:
    """Carry out a command; the text for standard output. Raises CommandError, OSError."""
    # The C tool opens its socket before it looks at the parameters.
    with opened(TimeoutPolicies) as policies:
        action = _COMMANDS.get(command)
        if action is None:
            raise CommandError("Missing command", _USAGE)
        return action(policies, parameters)


def _list(policies: TimeoutPolicies, parameters: list[str]) -> list[str]:
    no_more(parameters)
    return [policy_text(policy) for policy in policies]


def _get(policies: TimeoutPolicies, parameters: list[str]) -> list[str]:
    return [policy_text(policies.get(_only_name(parameters)))]


def _add(policies: TimeoutPolicies, parameters: list[str]) -> list[str]:
    if len(parameters) < 3:
        syntax = "syntax: nfct add timeout name family protocol state1 timeout1 ..."
        raise CommandError("missing parameters", syntax)
    name, family, protocol, *rest = parameters
    numbers = _numbers(family, protocol)
    policies.add(TimeoutPolicy(cut(name, MAX_NAME_BYTES), *numbers, _timeouts(protocol, rest)))
    return []


def _delete(policies: TimeoutPolicies, parameters: list[str]) -> list[str]:
    policies.delete(_only_name(parameters))
    return []


def _flush(policies: TimeoutPolicies, parameters: list[str]) -> list[str]:
    no_more(parameters)
    policies.flush()
    return []


def _default_set(policies: TimeoutPolicies, parameters: list[str]) -> list[str]:
    if len(parameters) < 3:
        syntax = "syntax: nfct default-set timeout family protocol state1 timeout1..."
        raise CommandError("missing parameters", syntax)
    family, protocol, *rest = parameters
    policies.set_defaults(*_numbers(family, protocol), _timeouts(protocol, rest))
    return []


def _default_get(policies: TimeoutPolicies, parameters: list[str]) -> list[str]:
    if len(parameters) < 2:
        raise CommandError("missing parameters", "syntax: nfct default-get timeout family protocol")
    numbers = _numbers(*parameters[:2])
    return [timeouts_text(TimeoutPolicy("", *numbers, policies.defaults(*numbers)))]


_COMMANDS: dict[str, Callable[[TimeoutPolicies, list[str]], list[str]]] = {
    "list": _list,
    "get": _get,
    "add": _add,
    "delete": _delete,
    "flush": _flush,
    "default-set": _default_set,
    "default-get": _default_get,
}


def policy_text(policy: TimeoutPolicy) -> str:
    """A policy as nfct(8) shows it."""
    return f".{policy.name} = {{\n{timeouts_text(policy)}"


def timeouts_text(policy: TimeoutPolicy) -> str:
    """The same without the name; so the C tool shows defaults, with a brace too many."""
    lines = [f"\t.l3proto = {policy.family},", f"\t.l4proto = {policy.protocol},"]
    states = STATES.get(policy.protocol)
    if states and policy.timeouts:
        lines.append("\t.policy = {")
        lines += [f"\t\t.{state} = {policy.timeouts.get(state, 0)}," for state in states]
        lines.append("\t},")
    return "\n".join([*lines, "};\n"])


def _only_name(parameters: list[str]) -> str:
    if not parameters:
        raise CommandError("missing timeout policy name")
    no_more(parameters[1:])
    return cut(parameters[0], MAX_NAME_BYTES)


def _numbers(family: str, protocol: str) -> tuple[int, int]:
    """Layer 3 family and layer 4 protocol. Raises CommandError."""
    # The kernel has 8 bits for the protocol; protocols(5) has numbers beyond, as that of mptcp.
    return family_number(family), protocol_number(protocol) & 0xFF


def protocol_number(word: str) -> int:
    """A layer 4 protocol by its name, that of protocols(5) or of the kernel. Raises CommandError."""
    if word == "icmpv6":
        return Protocol.ICMPV6
    if word == "generic":
        return GENERIC
    try:
        return socket.getprotobyname(word)
    except (OSError, ValueError):
        raise CommandError("unknown layer 4 protocol") from None


def _timeouts(protocol: str, words: list[str]) -> dict[str, int]:
    """Pairs of a state's name and seconds. Of a state named twice the last counts."""
    states = STATES.get(protocol_number(protocol), ())
    timeouts = {}
    for position in range(0, len(words), 2):
        if position + 1 == len(words):
            raise CommandError("missing value for this timeout")
        state = words[position]
        if not state.isascii() or state.upper() not in states:
            raise CommandError(f"Wrong state name: `{state}' for protocol `{protocol}'")
        timeouts[state.upper()] = seconds(words[position + 1])
    return timeouts


def seconds(word: str) -> int:
    """A number as the C tool reads it, strtol(3) to base 10, of which it keeps 32 bits: what follows the
    digits is not looked at, and no digits are 0.
    """
    word = word.lstrip(" \t\n\v\f\r")
    negative = word.startswith("-")
    digits = word[1:] if word[:1] in ("-", "+") else word
    end = next((index for index, digit in enumerate(digits) if digit not in "0123456789"), len(digits))
    digits = digits[:end].lstrip("0")
    # A long has 19 digits at most, and int() gives up on thousands.
    value = int(digits[:20] or "0")
    return (max(-value, -sys.maxsize - 1) if negative else min(value, sys.maxsize)) & 0xFFFFFFFF
