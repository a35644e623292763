"""Has a system's translator turn a source into a file of lines, and names these lines for messages."""

import json
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import BinaryIO

import orjson

from recallql.importing.reading import ForeignProblem
from recallql.importing.source import Line, Source

Translate = Callable[[Source], Iterator[Line]]


@contextmanager
def translated(system: str, source: Source) -> Generator[tuple[BinaryIO, int]]:
    """A temporary file with the lines of a source, and its size. An import reads its file twice, the source once.

    A system's translator is in the module of its name.
    """
    translate: Translate = import_module(f"recallql.importing.{system}").translate
    with tempfile.TemporaryFile() as file:
        try:
            for line in translate(source):
                file.write(_written(line, source))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # A field of another type than any version writes.
            raise ForeignProblem(
                f"{source.place or source.where}: not as {system} writes it ({type(error).__name__}: {error})."
            ) from error
        except OSError as error:
            reason = f"can't be read, or not be copied to {tempfile.gettempdir()}"
            raise ForeignProblem(f"{source.where} {reason}: {error.strerror}.") from error
        size = file.tell()
        if source.left and not size:
            raise ForeignProblem(
                f"{source.where} has nothing that --from {system} imports, only {', '.join(sorted(source.left))}: "
                "is this the right file, and --from?"
            )
        file.seek(0)
        yield file, size


def _written(line: Line, source: Source) -> bytes:
    given = {name: value for name, value in line.items() if value is not None}
    try:
        return orjson.dumps(given, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Half of a character that somebody cut in two can't be stored; a long number can.
        written = json.dumps(given, ensure_ascii=False)
        try:
            return f"{written}\n".encode()
        except UnicodeEncodeError:
            source.leave("halves of characters, which were replaced")
            return f"{written}\n".encode(errors="replace")


def name_of(number: int, raw: bytes) -> str:
    """The name of a translated line, by the ids that the other system knows."""
    line: Line = json.loads(raw)
    kind = line["type"]
    own = line.get(f"{kind}Id")
    name = f"{kind} {json.dumps(own, ensure_ascii=False)}" if own is not None else kind
    owner = next((key for key in ("sessionId", "userId", "agentId") if key in line and key != f"{kind}Id"), None)
    if owner is not None:
        name += f" of {owner.removesuffix('Id')} {json.dumps(line[owner], ensure_ascii=False)}"
    if own is None and isinstance(line.get("content"), str):
        name += f" ({json.dumps(line['content'][:60], ensure_ascii=False)})"
    return name
