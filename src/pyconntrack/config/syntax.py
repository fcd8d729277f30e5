# SPDX-License-Identifier: GPL-2.0-or-later
"""From text to a tree of words and blocks with their places. Unbalanced braces are mended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .problems import Located, Report

if TYPE_CHECKING:
    from lark import Lark, Token


@dataclass(frozen=True, slots=True)
class Word(Located):
    """A keyword or a value. ``text`` is without the quotes that it may have had."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Block(Located):
    """What stands between two braces; line and column are those of the opening one."""

    items: tuple[Word | Block, ...]
    end: Located
    """The closing brace."""


@dataclass(slots=True)
class _Open:
    brace: Token
    heading: str
    braced_path: str = ""
    """The last path in the section that holds a closing brace, which was meant for the section perhaps."""


@dataclass(slots=True)
class _BraceMender:
    """Stands between lexer and parser, and lets only balanced braces through.

    A section that can only stand outside all others closes what is open before it: so a forgotten brace
    is reported where it is missed, and the rest of the file is still read as it was meant.
    """

    report: Report
    outermost: frozenset[str]
    always_accept: tuple[str, ...] = ()
    opened: list[_Open] = field(default_factory=list)
    line: list[Token] = field(default_factory=list)

    def process(self, stream: Iterable[Token]) -> Iterator[Token]:
        tokens = iter(stream)
        token = next(tokens, None)
        while token is not None:
            following = next(tokens, None)
            if token.type == "LBRACE":
                self.opened.append(_Open(token, " ".join(self.line)))
                self.line = []
                yield token
            elif token.type == "RBRACE":
                yield from self._close(token)
            else:
                if token in self.outermost and following is not None and following.type == "LBRACE":
                    yield from self._close_all(token, f'before "{token}"')
                if self.line and self.line[-1].line != token.line:
                    self.line = []
                self.line.append(token)
                if token.type == "PATH" and token.endswith("}") and self.opened:
                    self.opened[-1].braced_path = str(token)
                yield token
            token = following
        yield from self._close_all(None, "at the end of the file")

    def _close(self, token: Token) -> Iterator[Token]:
        self.line = []
        if self.opened:
            closed = self.opened.pop()
            if self.opened and closed.braced_path:
                self.opened[-1].braced_path = closed.braced_path
            yield token
        else:
            self.report.unbalanced = True
            self.report.error(_place(token), 'unexpected "}": no section is open here; remove it')

    def _close_all(self, token: Token | None, where: str) -> Iterator[Token]:
        while self.opened:
            unclosed = self.opened.pop()
            self.report.unbalanced = True
            brace = unclosed.brace
            name = f'section "{unclosed.heading}"' if unclosed.heading else 'the "{"'
            message = f'expected "}}" {where}: {name} of line {brace.line} is not closed'
            if unclosed.braced_path:
                message += f'; put a blank before the "}}" in {unclosed.braced_path}'
            self.report.error(_place(token or brace), message)
            yield type(brace).new_borrow_pos("RBRACE", "}", token or brace)


def _place(token: Token) -> Located:
    return Located(token.line or 0, token.column or 0)


@cache
def _grammar() -> str:
    return Path(__file__).with_name("conntrackd.lark").read_text(encoding="utf-8")


def _parser(mender: _BraceMender) -> Lark:
    # lark costs tens of milliseconds to import: only whoever reads a configuration pays for it.
    from lark import Lark

    return Lark(_grammar(), parser="lalr", lexer="basic", postlex=mender)


def read_tree(text: str, report: Report, outermost: frozenset[str]) -> tuple[Word | Block, ...]:
    """Return the words and blocks of a configuration; mistakes go to ``report``.

    ``outermost`` names the sections that cannot stand within another.
    """
    tree = _parser(_BraceMender(report, outermost)).parse(text)
    return _items(tree, report)


def _items(tree: Any, report: Report) -> tuple[Word | Block, ...]:
    """Turn lark's tree into ours, without recursion: how deep a file nests is its writer's choice."""
    done: dict[int, Block] = {}
    for block in tree.iter_subtrees():
        if block.data == "block":
            first, *inner, last = block.children
            items = tuple(_item(child, done, report) for child in inner)
            done[id(block)] = Block(first.line, first.column, items, _place(last))
    return tuple(_item(child, done, report) for child in tree.children)


def _item(child: Any, done: dict[int, Block], report: Report) -> Word | Block:
    if child.data == "block":
        return done.pop(id(child))
    (token,) = child.children
    text = str(token)
    if token.type == "OPEN_STRING":
        report.error(_place(token), "the quote is not closed; expected another one in the same line")
    if token.type in ("STRING", "OPEN_STRING"):
        return Word(token.line, token.column, text.strip('"').rstrip(), quoted=True)
    return Word(token.line, token.column, text)
