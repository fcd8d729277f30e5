# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the tree of words and blocks by the schema. It goes on after a mistake."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from .problems import Located, Report
from .schema import HOMES, MODES, Clause, Section
from .settings import Mode
from .syntax import Block, Word
from .values import DEFAULT, TCP_STATE, InvalidValueError, Value, quote, suggestion

FOREIGN = {
    ";": "; clauses are not closed by anything, and a comment begins with #",
    "=": '; a value follows its clause without "="',
    "//": "; a comment begins with #",
    "/*": "; a comment begins with #",
}
"""Words of other languages, and what to write here."""


@dataclass(slots=True)
class Entry:
    """A clause as it stands in the file."""

    word: Word
    clause: Clause
    values: list[Any] = field(default_factory=list)
    body: Body | None = None
    heading: str = ""
    """The first value as it is written."""
    ok: bool = True
    """False where a mistake was reported; the values are then not to be used."""

    @property
    def value(self) -> Any:
        """The only value, or None where the clause has none."""
        return self.values[0] if self.values else None


@dataclass(slots=True)
class Body:
    """What a section holds."""

    section: Section
    at: Located
    entries: list[Entry] = field(default_factory=list)
    words: list[tuple[Word, Any]] = field(default_factory=list)
    """The values of a section that is a list."""
    ok: bool = True
    """False where something in the section could not be read."""

    def every(self, *names: str) -> list[Entry]:
        """The entries of these names, in the order of the file, the faulty ones included."""
        return [entry for entry in self.entries if entry.clause.name in names]

    def last(self, *names: str) -> Entry | None:
        """The last entry of these names, which is the one that counts."""
        found = self.every(*names)
        return found[-1] if found else None

    def bodies(self, *names: str) -> list[Body]:
        """The sections of these names that could be read."""
        return [entry.body for entry in self.every(*names) if entry.body is not None]

    def setting(self, *fields: str) -> Entry | None:
        """The entry that gives a setting its value, whatever the clause is called."""
        found = [entry for entry in self.entries if entry.clause.field in fields and entry.ok]
        return found[-1] if found else None

    def fields(self, settings: type[Any]) -> dict[str, Any]:
        """The values for a settings class; a clause that says "default" gives none."""
        names = {known.name for known in dataclasses.fields(settings)}
        given: dict[str, Any] = {}
        for entry in self.entries:
            if entry.clause.field in names and entry.ok:
                given[entry.clause.field] = entry.value
                if not entry.values:
                    del given[entry.clause.field]
        return given

    def add(self, entry: Entry, report: Report) -> None:
        """Append an entry; say so where it repeats an earlier one."""
        if entry.ok and not entry.clause.repeats:
            key, name = entry.clause.key, entry.word.text
            earlier = next((old for old in self.entries if old.ok and old.clause.key == key), None)
            if earlier is not None:
                what = "that" if earlier.word.text == name else f'"{earlier.word.text}"'
                report.warning(
                    entry.word,
                    f'clause "{name}" repeats {what} of line {earlier.word.line}; the last one counts',
                )
        self.entries.append(entry)


class _Cursor:
    def __init__(self, items: tuple[Word | Block, ...], end: Located | None) -> None:
        self._items = items
        self._next = 0
        self.end = end

    def peek(self) -> Word | Block | None:
        return self._items[self._next] if self._next < len(self._items) else None

    def word(self) -> Word | None:
        item = self.peek()
        return item if isinstance(item, Word) else None

    def block(self) -> Block | None:
        item = self.peek()
        return item if isinstance(item, Block) else None

    def step(self) -> None:
        self._next += 1

    def heads_block(self) -> bool:
        """Whether the word at hand stands right before an opening brace."""
        following = self._next + 1
        return following < len(self._items) and isinstance(self._items[following], Block)


class Reader:
    """Reads sections by the schema and reports what does not fit."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def read(self, items: tuple[Word | Block, ...], section: Section) -> Body:
        """Read a whole file as the outermost section."""
        return self._section(_Cursor(items, None), section, Located(0, 0))

    def _section(self, cursor: _Cursor, section: Section, at: Located) -> Body:
        body = Body(section, at)
        errors = len(self._report.errors)
        if section.states:
            while cursor.peek() is not None:
                body.words += self._states(cursor)
        elif section.words is not None:
            self._word_list(cursor, section.words, body)
        else:
            self._clauses(cursor, body)
        body.ok = len(self._report.errors) == errors
        return body

    def _clauses(self, cursor: _Cursor, body: Body) -> None:
        previous: Word | None = None
        while (item := cursor.peek()) is not None:
            if isinstance(item, Block):
                self._report.error(
                    item, f'unexpected "{{"; expected a clause {_within(body.section)} before it'
                )
                cursor.step()
                continue
            clause = None if item.quoted else body.section.by_name.get(item.text)
            if clause is None:
                self._unknown(item, body.section, previous)
                self._skip(cursor, () if item.text.startswith(tuple(FOREIGN)) else body.section.by_name)
                continue
            cursor.step()
            entry = self._clause(cursor, item, clause, body.section)
            body.add(entry, self._report)
            previous = item
            if clause.old and entry.ok:
                self._report.warning(item, f'old clause "{item.text}"; {_advice(entry)}')

    def _clause(self, cursor: _Cursor, word: Word, clause: Clause, section: Section) -> Entry:
        entry = Entry(word, clause)
        if clause.states:
            entry.body = Body(Section(clause.name, states=True), word, words=self._states(cursor, word.line))
            entry.ok = bool(entry.body.words)
            return entry
        if not (clause.section_instead and cursor.block()):
            self._values(cursor, entry, section)
        if clause.section is None or (clause.section_instead and entry.values):
            if not entry.ok and cursor.block():
                cursor.step()
            return entry
        self._heading_rest(cursor, entry)
        block = cursor.block()
        if block is None:
            if entry.ok:
                self._report.error(
                    cursor.peek() or cursor.end or word,
                    f'expected "{{" after "{word.text}", found {_found(cursor)}',
                )
            entry.ok = False
            return entry
        cursor.step()
        inner = _inner_section(clause, entry)
        if inner is not None:
            entry.body = self._section(_Cursor(block.items, block.end), inner, word)
        return entry

    def _values(self, cursor: _Cursor, entry: Entry, section: Section) -> None:
        clause = entry.clause
        for index, value in enumerate(clause.values):
            word = cursor.word()
            if word is not None and word.text == "=":
                self._wrong(entry, word, 'unexpected "="; a value follows its clause without it')
                cursor.step()
                word = cursor.word()
            if word is None:
                if not (clause.optional_values and index == 0):
                    place = cursor.peek() or cursor.end or entry.word
                    self._wrong(entry, place, f"expected {value.expected}, found {_found(cursor)}")
                return
            try:
                result = value.read(word)
            except InvalidValueError as problem:
                if word.line != entry.word.line and word.text in section.by_name:
                    self._wrong(entry, word, str(problem))
                    return
                self._wrong(entry, word, str(problem))
                cursor.step()
                return
            cursor.step()
            entry.heading = entry.heading or word.text
            if result is DEFAULT:
                self._report.warning(
                    word, f'"{entry.word.text} 0" stands for the default; leave the clause out'
                )
                continue
            entry.values.append(result)

    def _wrong(self, entry: Entry, at: Located, message: str) -> None:
        entry.ok = False
        self._report.error(at, f'{message} (clause "{entry.word.text}")')

    def _heading_rest(self, cursor: _Cursor, entry: Entry) -> None:
        """Pass over words between a section's heading and its brace."""
        while (word := cursor.word()) is not None and (word.line == entry.word.line or cursor.heads_block()):
            if word.line != entry.word.line and cursor.heads_block():
                return
            if entry.ok:
                self._report.error(word, f'unexpected {quote(word)} after "{entry.word.text}"; expected "{{"')
            entry.ok = False
            cursor.step()

    def _word_list(self, cursor: _Cursor, value: Value, body: Body) -> None:
        while (item := cursor.peek()) is not None:
            cursor.step()
            if isinstance(item, Block):
                self._report.error(item, f'expected {value.expected}, found "{{"')
                continue
            try:
                body.words.append((item, value.read(item)))
            except InvalidValueError as problem:
                self._report.error(item, f"{problem} (section {body.section.name})")

    def _states(self, cursor: _Cursor, line: int | None = None) -> list[tuple[Word, Any]]:
        """Read ``STATE … for TCP``; of one line only where the clause has no braces around it."""
        found: list[tuple[Word, Any]] = []
        while (word := cursor.word()) is not None and word.text != "for":
            if line is not None and word.line != line:
                break
            cursor.step()
            try:
                found.append((word, TCP_STATE.read(word)))
            except InvalidValueError as problem:
                self._report.error(word, str(problem))
        word = cursor.word()
        if word is None or word.text != "for":
            place = cursor.peek() or cursor.end
            self._report.error(place, f'expected "for TCP" after the states, found {_found(cursor)}')
            if cursor.block():
                cursor.step()
            return found
        cursor.step()
        protocol = cursor.word()
        if protocol is None or protocol.text != "TCP":
            place = cursor.peek() or cursor.end or word
            self._report.error(place, f'expected "TCP" after "for", found {_found(cursor)}')
        if cursor.peek() is not None:
            cursor.step()
        return found

    def _unknown(self, word: Word, section: Section, previous: Word | None) -> None:
        text = word.text
        known = [clause.name for clause in section.clauses if not clause.old]
        homes = HOMES.get(text, [])
        foreign = next((hint for mark, hint in FOREIGN.items() if text.startswith(mark)), None)
        near = suggestion(text, known) or self._elsewhere(text)
        if word.quoted:
            message = f"unexpected {quote(word)}; a clause stands without quotes"
        elif homes:
            places = " or ".join(f'"{home}"' for home in homes)
            where = f"section {places}" if homes[0] else "the outermost level"
            message = f'clause "{text}" cannot stand {_within(section)}; it belongs to {where}'
        elif foreign is not None:
            message = f"unexpected {quote(word)}{foreign}"
        elif previous is not None and previous.line == word.line and not near:
            more = 'clause or "}"' if section.name else "section"
            message = f'unexpected {quote(word)} after "{previous.text}"; expected another {more}'
        else:
            kind = "clause" if section.name else "section"
            expected = near or f"; expected one of {', '.join(known)}"
            if near and any(name.lower() == text.lower() for name in known):
                expected += " Upper and lower case differ here"
            message = f"unknown {kind} {quote(word)} {_within(section)}{expected}"
        self._report.error(word, message)

    @staticmethod
    def _elsewhere(text: str) -> str:
        """The nearest clause of another section, with the section's name."""
        for name in get_close_matches(text[:64], HOMES, n=1, cutoff=0.75):
            return f'; did you mean "{name}" of section "{HOMES[name][0]}"?' if HOMES[name][0] else ""
        return ""

    def _skip(self, cursor: _Cursor, known: Collection[str]) -> None:
        """Go to the next known clause, the next line, or past the unknown section."""
        first = cursor.word()
        cursor.step()
        while (word := cursor.word()) is not None:
            if first is None or word.line != first.line or word.text in known:
                break
            cursor.step()
        if cursor.block():
            cursor.step()


def _inner_section(clause: Clause, entry: Entry) -> Section | None:
    """The section of a clause; that of ``Mode`` depends on the mode and is unknown where the mode is."""
    if clause.name != "Mode":
        return clause.section
    return MODES[entry.value] if isinstance(entry.value, Mode) else None


def _within(section: Section) -> str:
    return f"in section {section.name}" if section.name else "at the outermost level"


def _advice(entry: Entry) -> str:
    if entry.clause.obsolete:
        return f"remove it, {entry.clause.obsolete}"
    value = entry.value if entry.values else entry.heading
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return f'the modern form is "{entry.clause.modern.replace("{value}", text)}"'


def _found(cursor: _Cursor) -> str:
    item = cursor.peek()
    if isinstance(item, Word):
        return quote(item)
    if item is not None:
        return '"{"'
    return '"}"' if cursor.end is not None else "the end of the file"


def merge(parent: Body, name: str, report: Report) -> Body | None:
    """All sections of a name as one, as the C daemon takes them; None where there is none."""
    bodies = parent.bodies(name)
    if len(bodies) < 2:
        return bodies[0] if bodies else None
    merged = Body(bodies[0].section, bodies[0].at)
    for body in bodies:
        if body is not bodies[0]:
            report.warning(
                body.at,
                f'section "{name}" appeared in line {merged.at.line} already; both are taken together',
            )
        merged.ok = merged.ok and body.ok
        for entry in body.entries:
            merged.add(entry, report)
    return merged
