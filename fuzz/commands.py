# SPDX-License-Identifier: GPL-2.0-or-later
"""The third door: files of commands, for -R, and command lines."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from fuzz.mutate import mutate
from pyconntrack.core.command_line import CommandLineError, parse
from pyconntrack.core.kernel_codec import encode
from pyconntrack.core.load import COMMAND, FULL, MORE, Loader
from pyconntrack.core.requests import RequestBatch

LINES = (
    b"-A -t 431999 -u SEEN_REPLY,ASSURED -s 192.0.2.1 -d 192.0.2.2 -r 192.0.2.2 -q 192.0.2.1 -p tcp "
    b"--sport 1024 --dport 80 --reply-port-src 80 --reply-port-dst 1024 --state ESTABLISHED\n",
    b"-A -t 29 -u UNSET -w 3 -s 2001:db8::1 -d 2001:db8::2 -g 2001:db8::3 -n 2001:db8::4 -p udp "
    b"--sport 5 --dport 6 --reply-port-src 7 --reply-port-dst 5\n",
    b"-I -p icmp -s 192.0.2.1 -d 192.0.2.2 --icmp-type 8 --icmp-code 0 --icmp-id 7 -t 9 --label-add one\n",
    b"-I -p sctp -s 192.0.2.1/24 -d 192.0.2.2 --sport=1 --dport=2 --state CLOSED --orig-vtag 5 "
    b"--reply-vtag 6 -t 9\n",
    b"-I -p dccp --src 192.0.2.1 --dst 192.0.2.2 --sport 1 --dport 2 --state OPEN --role client -t9 -m0x5\n",
    b"-I -p gre -s 192.0.2.1 -d 192.0.2.2 --srckey 5 --dstkey 0x10 -t 9 -g [192.0.2.9]:77 -n 192.0.2.8:0\n",
    b"-U -p tcp -s 10.0.0.0/8 --state CLOSE -l one --label-del two -m 0x10/0xf0\n",
    b'-D -p "tcp" --orig-src 192.0.2.1 -u ASSURED,UNREPLIED -n -j 192.0.2.7\n',
    b"-I expect -t 9 -s 192.0.2.1 -d 192.0.2.2 --tuple-src 192.0.2.4 --tuple-dst 192.0.2.5/8 "
    b"--mask-src 255.0.0.0 -p tcp --sport 1 --dport 2 --tuple-port-src 7 --tuple-port-dst 8 "
    b"--mask-port-src 9 --mask-port-dst 10\n",
    b"-L conntrack -z -o xml,id --any-nat=192.0.2.1 --event-mask NEW -e ALL -b 100 -f ipv6 -a x -i 5\n",
    b"  # comment\n",
    b'\n-D "a \\" b" "\n',
    b"-F\n",
)


class Labels:
    def find(self, name: str, /) -> int:
        return {"one": 1, "two": 2, "last": 127}.get(name, -1)


def labels(path: str | None) -> Labels:
    return Labels()


class CommandDoor:
    """Files read into requests, in pieces, and the same bytes as the words of a command line."""

    def __init__(self) -> None:
        self.requests = RequestBatch(8192)
        self.added = 0
        self.commands = 0
        self.refused = 0

    def push_file(self, text: bytes, cut: int) -> None:
        loader = Loader(labels, self.requests)
        for piece, final in ((text[:cut], False), (text[cut:], True)):
            loader.feed(piece, final)
            while self._step(loader):
                self.requests.clear()
        self.added += len(self.requests)
        self.requests.clear()
        lines = text.count(b"\n")
        if loader.line_number < lines:
            raise AssertionError(f"{loader.line_number} lines read of {lines}")

    def _step(self, loader: Loader) -> bool:
        """Whether there may be more in what was fed."""
        try:
            found = loader.fill()
        except CommandLineError as error:
            if not str(error) or error.line != loader.line_number:
                raise AssertionError(f"an error without its text or line: {error!r}") from error
            self.refused += 1
            return True
        self.added += len(self.requests) if found == FULL else 0
        if found == COMMAND:
            self._look_at(loader)
        return found != MORE

    def _look_at(self, loader: Loader) -> None:
        command = loader.command
        self.commands += 1
        template = command.template
        command.match.matches(template, 0)
        command.expectation.unpack(0)
        template.unpack(0)

    def push_words(self, words: Sequence[bytes]) -> None:
        try:
            command = parse(words, labels)
        except CommandLineError:
            self.refused += 1
            return
        self.commands += 1
        encode(command.template, 0, 0, 0, 1)


def make_file(random: Random) -> bytes:
    """A few lines, some of them changed."""
    lines = []
    for _ in range(1 + int(random.random() * 4)):
        line = LINES[int(random.random() * len(LINES))]
        if random.random() < 0.7:
            line = mutate(random, line, LINES[int(random.random() * len(LINES))])
        lines.append(line)
    return b"".join(lines)
