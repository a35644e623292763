"""`recallql import` and `recallql export`: NDJSON files, checked against the types of the contract."""

import asyncio
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from graphql import (
    GraphQLBoolean,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLString,
    coerce_input_value,
    validate_input_value,
)
from pydantic.alias_generators import to_snake
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from breadth import plain
from breadth.wording import as_json, of_value, value_at
from models.archive import count_everything, read_everything
from models.database import Database, path_of
from models.errors import DataError
from models.migrate import migrate
from models.scope import Scope
from models.search import COLLECTIONS, bring_up_to_date
from recallql.requests import BadRequest, read_json
from recallql.settings import Settings
from resolvers.archive import BadLine, Importer, Line, Tally, line_of
from resolvers.context import Context
from resolvers.purge import purge_deleted
from resolvers.times import Clock
from schema.root import schema

BATCH = 500
"""Lines that are imported together, or not at all."""


class ArchiveProblem(DataError):
    """What is wrong with a file or the database of an import or an export; of a line, which."""


def _line_types() -> dict[str, GraphQLInputObjectType]:
    """The types of lines: the contract's create inputs with what exported lines add."""
    types: Any = schema._schema.type_map  # pyright: ignore[reportPrivateUsage]
    time, name, number = types["DateTime"], GraphQLString, GraphQLInt
    source = GraphQLInputObjectType(
        "source",
        {
            "sessionId": GraphQLInputField(name),
            "sequence": GraphQLInputField(number),
            "documentKey": GraphQLInputField(name),
            "position": GraphQLInputField(number),
        },
    )
    stone = GraphQLInputObjectType(
        "deletedMessage",
        {"sequence": GraphQLInputField(GraphQLNonNull(number)), "messageIdHash": GraphQLInputField(name)},
    )
    for inner in (source, stone):
        for field_name, field in inner.fields.items():
            field.out_name = to_snake(field_name)
    added: dict[str, tuple[str, dict[str, Any]]] = {
        "user": ("CreateUserInput", {"id": name}),
        "agent": ("CreateAgentInput", {"createdAt": time}),
        "session": (
            "CreateSessionInput",
            {
                "endedAt": time,
                "lastActivityAt": time,
                "lastSequence": number,
                "id": name,
                "deletedMessages": GraphQLList(GraphQLNonNull(stone)),
            },
        ),
        "message": (
            "MessageInput",
            {"sessionId": GraphQLNonNull(name), "sequence": number, "digest": name, "formMemories": GraphQLBoolean},
        ),
        "document": ("CreateDocumentInput", {"key": name}),
        "memory": (
            "CreateMemoryInput",
            {
                "key": name,
                "method": types["MemoryMethod"],
                "model": name,
                "subject": name,
                "supersededBy": name,
                "supersededFrom": time,
                "sources": GraphQLList(GraphQLNonNull(source)),
            },
        ),
    }
    return {
        kind: GraphQLInputObjectType(
            kind,
            {
                field: GraphQLInputField(value, out_name=to_snake(field))
                for field, value in {
                    **{field: value.type for field, value in types[contract].fields.items()},
                    **more,
                    "updatedAt": time,
                    "version": number,
                }.items()
            },
        )
        for kind, (contract, more) in added.items()
    }


class LineReader:
    """Reads lines of a file into objects; `ArchiveProblem` names the first that is wrong."""

    def __init__(self) -> None:
        self._types = _line_types()

    def read(self, number: int, raw: bytes) -> Line:
        try:
            value = read_json(raw)
        except BadRequest as error:
            raise BadLine(number, error.message.replace("The body", "The line")) from error
        if not isinstance(value, dict):
            raise BadLine(number, 'A line is a JSON object, as in {"type": "user", "userId": "ada"}.')
        kind = value.pop("type", None)
        kind_type = self._types.get(kind) if isinstance(kind, str) else None
        if kind_type is None:
            raise BadLine(number, f"`type` is {as_json(kind)}; it must be one of {', '.join(self._types)}.")
        problems: list[str] = []

        def note(error: GraphQLError, path: list[str | int]) -> None:
            problems.append(_placed(of_value(error.message, value_at(value, path)), path))

        validate_input_value(value, kind_type, note)
        if problems:
            raise BadLine(number, "; ".join(problems[:3]))
        coerced = coerce_input_value(value, kind_type)
        return {"type": kind, **{name: plain(item) for name, item in coerced.items() if item is not None}}


def _placed(message: str, path: list[str | int]) -> str:
    return f"{'.'.join(map(str, path))}: {message}" if path else message


def _batches(file: BinaryIO, reader: LineReader) -> Iterator[tuple[list[tuple[int, Line]], int]]:
    """Batches of numbered lines, and how many bytes each took."""
    batch: list[tuple[int, Line]] = []
    size = 0
    for number, raw in enumerate(file, 1):
        size += len(raw)
        if raw.strip():
            batch.append((number, reader.read(number, raw.removeprefix(b"\xef\xbb\xbf"))))
        if len(batch) == BATCH:
            yield batch, size
            batch, size = [], 0
    yield batch, size


@contextmanager
def _progress(what: str, total: float | None) -> Generator[Any]:
    """A bar on standard error, where a person looks; calls advance it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda amount: progress.advance(task, amount)


def import_file(file: BinaryIO, settings: Settings, *, size: int | None) -> Tally:
    """Imports a file of `size` bytes batch by batch.

    `ArchiveProblem` names a bad line: nothing of its batch is kept, what came before is, and importing the mended file
    goes on from there.
    """
    path = path_of(settings.database_url)
    migrate(path)

    async def run() -> Tally:
        database = await Database.open(path)
        asks_model = bool(settings.chat_base_url)
        importer = Importer(Context(database, Clock(), count_tokens=settings.count_tokens, asks_model=asks_model))
        first = 1
        try:
            with _progress("importing", size) as advance:
                for batch, taken in _batches(file, LineReader()):
                    if batch:
                        await importer.add(batch)
                        await _index(database)
                        first = batch[-1][0] + 1
                    advance(taken)
        except BadLine as error:
            raise ArchiveProblem(
                f"line {error.number}: {error} Nothing from line {first} on was imported; "
                "mend it and import the file again."
            ) from error
        finally:
            await database.close()
        return importer.tally

    return asyncio.run(run())


async def _index(database: Database) -> None:
    """Has the index keep pace with an import, so that no search has to."""
    for collection in COLLECTIONS.values():
        await bring_up_to_date(database, collection)


def export_file(file: BinaryIO, settings: Settings) -> int:
    """Writes everything as it is at one moment; how many lines."""
    path = path_of(settings.database_url)
    count = 0
    with _progress("exporting", count_everything(path, Scope())) as advance:
        for row in read_everything(path, Scope()):
            file.write(line_of(row))
            count += 1
            if count % 100 == 0:
                advance(100)
        advance(count % 100)
    return count


def purge_file(settings: Settings, before: str) -> dict[str, int]:
    """Purges what was deleted before a time; how many objects of each kind."""
    check_source(settings)
    path = path_of(settings.database_url)

    async def run() -> dict[str, int]:
        database = await Database.open(path)
        try:
            return await purge_deleted(Context(database, Clock()), {"deleted_before": before})
        finally:
            await database.close()

    return asyncio.run(run())


def check_source(settings: Settings) -> None:
    """Sees to it that there is a database, which a wrong name must not make."""
    path = path_of(settings.database_url)
    if not path.exists():
        raise ArchiveProblem(f"{path} does not exist; name the database with --database-url.")
    migrate(path)


def open_input(path: Path) -> tuple[BinaryIO, int | None]:
    """The file and its size; `-` is standard input."""
    if str(path) == "-":
        return sys.stdin.buffer, None
    try:
        return path.open("rb"), path.stat().st_size
    except OSError as error:
        raise ArchiveProblem(f"{path} can't be read: {error.strerror}.") from error
