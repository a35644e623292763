"""Reads JSON files of any size, one value at a time: lines, the items of a list, or those of an object's lists.

The standard library's decoder reads a value at any place of a text, so a file of gigabytes needs no library for
streams: only the text of the value that is being read is in memory.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from models.errors import DataError

CHUNK = 1024 * 1024
"""Bytes that are read at once; more for a value that is larger."""

LARGEST_VALUE = 256 * 1024 * 1024
"""The most characters of one value, such as a conversation with all its messages."""


class ForeignProblem(DataError):
    """A source is not as its system writes it. The message names the place; nothing was imported."""


class Item(NamedTuple):
    """A value of a file: an item of the list `key` of the file's object ("" if the file is a list), or a line."""

    key: str
    number: int
    value: Any

    @property
    def place(self) -> str:
        return f"{self.key or 'item'} {self.number}" if self.number else self.key


_AFTER_NUMBERS = frozenset(" \t\r\n,]}")


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_number)


def json_lines(file: BinaryIO) -> Iterator[Item]:
    """The values of a file with one on each line, or of one that is a list."""
    number = 0
    while line := file.readline(LARGEST_VALUE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        text = line.strip()
        if not text:
            continue
        if text.startswith(b"["):
            yield from _Text(file, line).values()
            return
        if len(line) > LARGEST_VALUE:
            raise ForeignProblem(f"line {number} has more than {LARGEST_VALUE} bytes; write one value on each line.")
        yield Item("line", number, _decoded(text, number))


def _decoded(text: bytes, number: int) -> Any:
    try:
        return _decoder.decode(text.decode())
    except UnicodeDecodeError as error:
        raise ForeignProblem(f"line {number} is not valid UTF-8.") from error
    except (ValueError, RecursionError) as error:
        hint = " The file has one value on each line, or is a list." if number == 1 else ""
        raise ForeignProblem(f"line {number} is not valid JSON: {_said(error)}.{hint}") from error


def json_values(file: BinaryIO) -> Iterator[Item]:
    """The values of a file that is a list, or an object: each item of a list in it, and each other value whole."""
    return _Text(file).values()


def _said(error: Exception) -> str:
    """The decoder's message without a position, which would be one within a part of the file."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


class _Text:
    """The text of a file, of which only what is being read is in memory."""

    def __init__(self, file: BinaryIO, begun: bytes = b"") -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._place = "the beginning"
        self._text = self._decode(begun)
        self._at = 0
        self._ended = False

    def values(self) -> Iterator[Item]:
        match self._next():
            case "[":
                yield from self._items("")
            case "{":
                yield from self._fields()
            case "":
                raise ForeignProblem("The file is empty.")
            case _:
                raise ForeignProblem("The file is no JSON: it begins neither with [ nor with {.")
        if self._next():
            raise ForeignProblem(f"After {self._place} the file goes on behind the end of its JSON: is it JSON lines?")

    def _items(self, key: str) -> Iterator[Item]:
        self._take("[")
        number = 0
        while self._next() != "]":
            if number:
                self._take(",")
            number += 1
            item = Item(key, number, self._value())
            self._place = item.place
            yield item
        self._take("]")

    def _fields(self) -> Iterator[Item]:
        self._take("{")
        number = 0
        while self._next() != "}":
            if number:
                self._take(",")
            number += 1
            self._next()
            key = self._value()
            if not isinstance(key, str):
                raise self._broken("a field has no name")
            self._take(":")
            if self._next() == "[":
                yield from self._items(key)
            else:
                yield Item(key, 0, self._value())
            self._place = key
        self._take("}")

    def _more(self) -> bool:
        """Reads on, as much as there is of the value already; returns False at the end of the file."""
        if self._ended:
            return False
        rest = len(self._text) - self._at
        read = self._file.read(max(CHUNK, rest))
        self._ended = not read
        try:
            self._text = self._text[self._at :] + self._decode(read, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._broken("there are bytes that are not UTF-8") from error
        self._at = 0
        return not self._ended

    def _next(self) -> str:
        """The next character that is no space, which stays to be read; "" at the end."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in " \t\r\n":
                    return character
                self._at += 1
            if not self._more():
                return ""

    def _take(self, expected: str) -> None:
        found = self._next()
        if found != expected:
            raise self._broken(f"{expected} is missing" if found else "the file ends")
        self._at += 1

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
                # A number at the end of what was read may go on: 1, 1. or 1e.
                is_whole = not isinstance(value, int | float) or self._text[end : end + 1] in _AFTER_NUMBERS
                if (is_whole and end < len(self._text)) or not self._more():
                    self._at = end
                    return value
            except (json.JSONDecodeError, StopIteration) as error:
                # It may be whole once more of it is read.
                if len(self._text) - self._at > LARGEST_VALUE or not self._more():
                    raise self._broken(f"a value is broken off, or not valid JSON ({_said(error)})") from error
            except (ValueError, RecursionError) as error:
                raise self._broken(_said(error)) from error

    def _broken(self, reason: str) -> ForeignProblem:
        return ForeignProblem(f"The file is not complete, valid JSON: after {self._place}, {reason}.")
