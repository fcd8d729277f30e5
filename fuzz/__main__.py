# SPDX-License-Identifier: GPL-2.0-or-later
"""Push random and mutated datagrams, netlink messages and command lines into every door: python -m fuzz

Nothing may raise, crash or run away, and what the caches hold afterwards must be what a peer can read. The
same seed and count repeat a run exactly.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from random import Random

from fuzz.commands import CommandDoor, make_file
from fuzz.doors import (
    SENDERS,
    KernelDoor,
    NetworkDoor,
    make_datagrams,
    make_flows,
    make_netlink,
    make_variant,
)
from fuzz.expectations import ExpectationDoor, make_expectations
from fuzz.streams import StreamDoor

FLOWS = 60
PER_TURN = 1000


def fuzz_network(seed: int, count: int, show: bool) -> NetworkDoor:
    random = Random(f"network/{seed}")
    flows = make_flows(random, FLOWS)
    samples = make_datagrams(random, flows)
    door = NetworkDoor(random, flows, make_netlink(random, flows))
    now = 0.0
    for number in range(count):
        datagram = make_variant(random, samples)
        sender = SENDERS[number % len(SENDERS)]
        if show:
            print(number, sender, datagram.hex(), flush=True)
        door.push(datagram, sender, now)
        if number % PER_TURN == 0:
            now += 0.5
            door.answer(now)
            door.check()
    return door


def fuzz_kernel(seed: int, count: int, show: bool) -> KernelDoor:
    random = Random(f"kernel/{seed}")
    samples = make_netlink(random, make_flows(random, FLOWS))
    door = KernelDoor()
    for number in range(count):
        data = make_variant(random, samples)
        if show:
            print(number, data.hex(), flush=True)
        door.push(data, door.cache.resyncing and random.random() < 0.5, number // 1000)
        if number % PER_TURN == 0:
            door.turn()
    door.turn()
    return door


def fuzz_expectations(seed: int, count: int, show: bool) -> ExpectationDoor:
    random = Random(f"expectations/{seed}")
    samples = make_expectations(random, FLOWS)
    door = ExpectationDoor()
    for number in range(count):
        data = make_variant(random, samples)
        if show:
            print(number, data.hex(), flush=True)
        door.push(data)
    return door


def fuzz_streams(seed: int, count: int, show: bool) -> StreamDoor:
    random = Random(f"streams/{seed}")
    samples = make_datagrams(random, make_flows(random, FLOWS))
    door = StreamDoor(random)
    for number in range(count):
        data = make_variant(random, samples) if random.random() < 0.1 else random.choice(samples)
        if show:
            print(number, data.hex(), flush=True)
        door.push(data)
    return door


def fuzz_commands(seed: int, count: int, show: bool) -> CommandDoor:
    random = Random(f"commands/{seed}")
    door = CommandDoor()
    for number in range(count):
        text = make_file(random)
        if show:
            print(number, text.hex(), flush=True)
        door.push_file(text, int(random.random() * len(text)))
        door.push_words(text.split())
    return door


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument(
        "--count", type=int, default=1_000_000, help="datagrams, and a quarter of it of everything else"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--show", action="store_true", help="print each input before it is used, to find a crash"
    )
    arguments = parser.parse_args()
    faulthandler.enable()
    print(f"python -m fuzz --count {arguments.count} --seed {arguments.seed}")
    begin = time.monotonic()
    network = fuzz_network(arguments.seed, arguments.count, arguments.show)
    for session in network.sessions:
        print(
            f"{type(session).__name__.lower()}: {arguments.count} datagrams, "
            f"{session.messages_received} messages taken, "
            f"{session.external.malformed} malformed bodies, {session.errors}, {len(session.external)} flows"
        )
    kernel = fuzz_kernel(arguments.seed, arguments.count // 4, arguments.show)
    print(
        f"kernel: {arguments.count // 4} datagrams, {kernel.cache.malformed} malformed, "
        f"{len(kernel.cache)} flows, {kernel.cache.counters.created} created"
    )
    expectations = fuzz_expectations(arguments.seed, arguments.count // 4, arguments.show)
    print(
        f"expectations: {arguments.count // 4} datagrams, {expectations.malformed} malformed, "
        f"{expectations.decoded} read"
    )
    streams = fuzz_streams(arguments.seed, arguments.count // 4, arguments.show)
    print(
        f"streams: {arguments.count // 4} datagrams, {streams.bytes_taken} bytes in {streams.runs} runs, "
        f"{streams.rubbish} streams ended by rubbish"
    )
    commands = fuzz_commands(arguments.seed, arguments.count // 4, arguments.show)
    print(
        f"commands: {arguments.count // 4} files, {commands.added} flows to create, "
        f"{commands.commands} other commands, {commands.refused} refused"
    )
    print(f"{network.sent} datagrams sent in answer, {time.monotonic() - begin:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
