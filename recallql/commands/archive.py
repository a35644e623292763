"""`recallql import` and `recallql export`: NDJSON files."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from models.archive import Archive
from models.errors import DataError
from models.search import bring_up_to_date
from models.search_kinds import SEARCH_KINDS
from models.staging import LinePosition, Staging, new_staging
from models.statements import noun_of
from models.store import Store, database_at
from recallql.commands.lines import LARGEST_LINE, LineReader
from recallql.commands.progress import progress_bars
from recallql.commands.stores import existing, run
from recallql.settings import Settings
from resolvers.archive.entries import BadLine, is_by_position
from resolvers.archive.imports import Importer, Tally, place_of
from resolvers.archive.kinds import Line, line_of
from resolvers.inputs import key_rule
from resolvers.operation_context import OperationContext
from resolvers.purge import purge_deleted
from resolvers.times import Clock

BATCH = 500
"""Lines that are imported in one transaction."""

BATCH_SIZE = 8 * 1024 * 1024
"""Bytes of lines after which a batch ends, however few lines they are."""

BY_POSITION = (
    "Some messages have neither an id nor a time: they are matched by their position in the session, so import whole "
    "sessions, from their start."
)


MEND_FIRST = "Nothing was imported; correct it and import the file again."


class ArchiveProblem(DataError):
    """An import or an export failed: a fault of the file, of one of its lines (which is named), or of the database."""


NameOf = Callable[[int, bytes], str]
"""Names a line for messages, by its number and its bytes."""


def by_number(number: int, raw: bytes) -> str:
    """The name of a line in a file that somebody wrote."""
    return f"line {number}"


class _Skipped:
    """Collects bad lines, so that the import goes on; their faults go to standard error."""

    def __init__(self, file: BinaryIO, name_of: NameOf) -> None:
        self._file = file
        self._name_of = name_of
        self.count = 0

    def note(self, problem: BadLine, raw: bytes) -> None:
        self.count += 1
        _say(f"{self._name_of(problem.number, raw)}: {problem}")
        try:
            self._file.write(raw.rstrip(b"\r\n") + b"\n")
        except OSError as error:
            raise ArchiveProblem(f"The bad lines can't be written: {error.strerror}.") from error


class _File:
    """The file of an import: read once to note where each line is, then in the order in which lines are imported."""

    def __init__(self, file: BinaryIO, staging: Staging, name_of: NameOf) -> None:
        self._file = file
        self._staging = staging
        self._name_of = name_of
        self._reader = LineReader()
        self._where: dict[int, tuple[int, int]] = {}
        self.size = 0
        """The total size, in bytes, of the lines that were noted."""
        self.kinds: Counter[str] = Counter()
        """The number of these lines of each type."""

    def raw(self, number: int) -> bytes:
        """A line of the batch that was read last."""
        start, size = self._where[number]
        self._file.seek(start)
        return self._file.read(size)

    def named(self, number: int) -> str:
        """The name of a line of the batch that was read last."""
        return self._name_of(number, self.raw(number))

    def stage(self, project: str | None, skipped: _Skipped | None, advance: Callable[[int], None]) -> bool:
        """Checks each line and notes its offset; returns True if any message is identified by its position alone."""
        by_position = False
        noted: list[tuple[LinePosition, int, int, int]] = []
        start = self._file.tell()
        for number, raw in enumerate(iter(lambda: self._file.readline(LARGEST_LINE + 1), b""), 1):
            if len(raw) > LARGEST_LINE:
                raise ArchiveProblem(f"line {number} has more than {LARGEST_LINE} bytes; write one object per line.")
            try:
                if raw.strip():
                    line = self._reader.read(number, raw)
                    noted.append((place_of(number, line, project), number, start, len(raw)))
                    self.size += len(raw)
                    self.kinds[line["type"]] += 1
                    by_position = by_position or is_by_position(line)
            except BadLine as problem:
                if skipped is None:
                    raise ArchiveProblem(f"{self._name_of(number, raw)}: {problem} {MEND_FIRST}") from problem
                skipped.note(problem, raw)
            start += len(raw)
            if len(noted) == BATCH:
                self._staging.add(noted)
                noted.clear()
                advance(start)
        self._staging.add(noted)
        advance(start)
        return by_position

    def batches(self) -> Iterator[tuple[list[tuple[int, Line]], int]]:
        """The lines in import order, in batches, each with its size in bytes."""
        batch: list[tuple[int, Line]] = []
        self._where = {}
        taken = 0
        for number, start, size in self._staging.in_order():
            self._where[number] = start, size
            batch.append((number, self._reader.read(number, self.raw(number))))
            taken += size
            if len(batch) == BATCH or taken >= BATCH_SIZE:
                yield batch, taken
                batch, taken = [], 0
                self._where = {}
        if batch:
            yield batch, taken


def import_file(
    file: BinaryIO,
    settings: Settings,
    *,
    size: int | None,
    project: str | None = None,
    bad_lines: BinaryIO | None = None,
    name_of: NameOf = by_number,
) -> Tally:
    """Imports a file of `size` bytes, into one project or into those that its lines name.

    `ArchiveProblem` names a bad line. If the line itself is invalid, nothing was imported. If it conflicts with stored
    objects, part of the file may be, and importing the corrected file adds the rest. `bad_lines` collects such lines.
    """
    database = database_at(settings.database_url)
    database.prepare()
    skipped = None if bad_lines is None else _Skipped(bad_lines, name_of)
    _check_project(project)

    async def add_all(store: Store, staging: Staging, file: BinaryIO) -> Tally:
        asks_model = bool(settings.chat_base_url)
        context = OperationContext(
            store,
            Clock(),
            count_tokens=settings.count_tokens,
            asks_model=asks_model,
            forms_memories=settings.form_memories,
        )
        lines = _File(file, staging, name_of)

        def skip(problem: BadLine) -> None:
            if skipped is not None:
                skipped.note(problem, lines.raw(problem.number))

        importer = Importer(context, project=project, skip=skip if skipped else None, line_like=staging.line_like)
        try:
            with progress_bars() as progress:
                checking = progress.add_task("checking", total=size or None)
                if lines.stage(project, skipped, lambda done: progress.update(checking, completed=done)):
                    _say(BY_POSITION)
                importer.is_partial = skipped is not None and skipped.count > 0
                importing = progress.add_task("importing", total=lines.size)
                for batch, taken in lines.batches():
                    await importer.add(batch)
                    await _index(store)
                    progress.advance(importing, taken)
        except BadLine as error:
            if importer.tally == Tally():
                mend = MEND_FIRST
            else:
                mend = "Part of the file was imported; correct the line and import the file again to add the rest."
            raise ArchiveProblem(f"{lines.named(error.number)}: {error} {mend}") from error
        importer.tally.skipped = skipped.count if skipped is not None else 0
        return importer.tally

    with closing(new_staging()) as staging, _seekable(file) as seekable:
        return run(database, lambda store: add_all(store, staging, seekable))


def check_file(
    file: BinaryIO,
    *,
    size: int | None,
    project: str | None = None,
    bad_lines: BinaryIO | None = None,
    name_of: NameOf = by_number,
) -> Tally:
    """Checks a file as an import does, without a database; returns what it has as if all of that were added."""
    _check_project(project)
    skipped = None if bad_lines is None else _Skipped(bad_lines, name_of)
    with closing(new_staging()) as staging, _seekable(file) as seekable, progress_bars() as progress:
        lines = _File(seekable, staging, name_of)
        checking = progress.add_task("checking", total=size or None)
        lines.stage(project, skipped, lambda done: progress.update(checking, completed=done))
    return Tally(added=lines.kinds, skipped=skipped.count if skipped is not None else 0)


def _check_project(project: str | None) -> None:
    if project is not None and (found := key_rule(project)):
        raise ArchiveProblem(f"{project!r} is not a valid project. {found[1]}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def _seekable(file: BinaryIO) -> Generator[BinaryIO]:
    """The file, or a copy of it on disk if it is a pipe, which can't be read twice."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        try:
            shutil.copyfileobj(file, copy)
        except OSError as error:
            raise ArchiveProblem(f"The pipe can't be copied to {tempfile.gettempdir()}: {error.strerror}.") from error
        copy.seek(0)
        yield copy


async def _index(store: Store) -> None:
    """Indexes during an import, so that no backlog slows searches down."""
    for kind in SEARCH_KINDS.values():
        await bring_up_to_date(store, kind)


def export_to(
    file: Path | None, settings: Settings, *, project: str | None = None, user: str | None = None
) -> Counter[str]:
    """Exports to a file, which must not exist yet, or to standard output; returns the number of lines of each type."""
    if file is None:
        try:
            counts = export_file(sys.stdout.buffer, settings, project=project, user=user)
            sys.stdout.flush()
        except OSError as error:
            raise ArchiveProblem(f"The export can't be written: {error.strerror}.") from error
        return counts
    if file.exists():
        raise ArchiveProblem(f"{file} exists; name another file, or remove it first.")
    # Only a complete export gets the final name.
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as opened:
            counts = export_file(opened, settings, project=project, user=user)
            opened.flush()
            os.fsync(opened.fileno())
        part.rename(file)
    except OSError as error:
        raise ArchiveProblem(f"{file} can't be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return counts


def export_file(
    file: BinaryIO, settings: Settings, *, project: str | None = None, user: str | None = None
) -> Counter[str]:
    """Writes one snapshot of everything, or of one project or user; returns the number of lines of each type."""
    counts: Counter[str] = Counter()
    with existing(settings).snapshot() as snapshot, progress_bars() as progress:
        archive = Archive(snapshot)
        scopes = archive.scopes(project=project, user_id=user)
        if user is not None and len(scopes) != 1:
            raise ArchiveProblem(_not_one_user(user, [scope.project for scope in scopes]))
        task = progress.add_task("exporting", total=None if progress.disable else archive.count(scopes))
        for number, row in enumerate(archive.read(scopes), 1):
            file.write(line_of(row))
            counts[noun_of(row).lower()] += 1
            if number % 100 == 0:
                progress.advance(task, 100)
        progress.update(task, completed=counts.total())
    return counts


def _not_one_user(user: str, projects: list[str]) -> str:
    if not projects:
        return f"There is no user {user!r} to export."
    return f"There is a user {user!r} in each of the projects {', '.join(projects)}; name one with --project."


def purge_file(settings: Settings, before: str) -> dict[str, int]:
    """Purges what was deleted before a time; returns the number of objects of each kind."""
    return run(
        existing(settings),
        lambda store: purge_deleted(OperationContext(store, Clock()), {"deleted_before": before}),
    )


def open_input(path: Path) -> tuple[BinaryIO, int | None]:
    """The file and its size; `-` is standard input."""
    if str(path) == "-":
        return sys.stdin.buffer, None
    try:
        return path.open("rb"), path.stat().st_size
    except OSError as error:
        raise ArchiveProblem(f"{path} can't be read: {error.strerror}.") from error


@contextmanager
def open_skipped(path: Path | None, source: Path) -> Generator[BinaryIO | None]:
    """Opens the file for bad lines and empties it, since a second run finds them again."""
    if path is None:
        yield None
        return
    if path.exists() and (not path.is_file() or (source.exists() and path.samefile(source))):
        raise ArchiveProblem(f"{path} can't take the bad lines; name another file.")
    try:
        opened = path.open("wb")
    except OSError as error:
        raise ArchiveProblem(f"{path} can't be written: {error.strerror}.") from error
    with opened:
        yield opened
