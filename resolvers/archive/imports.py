"""Imports lines: adds missing objects and changes no existing ones, so that an import is idempotent.

Lines come in an order that does not depend on the file's (see `models.staging`): first the objects that others may
refer to, then each session followed by its messages, oldest first. So an interrupted import leaves the beginning of
that order, and a second run adds the rest.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from models.errors import ConstraintViolated
from models.scope import Scope
from models.staging import LinePosition
from models.store import Transaction
from resolvers.archive.entries import (
    SOURCE_PROJECT,
    BadLine,
    Collision,
    Entry,
    Identities,
    MessageEntry,
    ObjectEntry,
    hex_of,
    position_of,
    runs_of,
)
from resolvers.archive.import_messages import add_messages
from resolvers.archive.import_objects import ADD, add_memory
from resolvers.archive.kinds import KINDS, Line
from resolvers.documents import OWNERS, document_faults
from resolvers.errors import Fault, Refused, refuse
from resolvers.inputs import camel, check
from resolvers.memories import memory_faults
from resolvers.messages import message_faults
from resolvers.nouns import MOST
from resolvers.operation_context import OperationContext

RUN = 100
"""Most messages of a session that are added together."""


@dataclass
class Tally:
    """The numbers of objects of each type that were added, and that existed before."""

    added: Counter[str] = field(default_factory=Counter[str])
    known: Counter[str] = field(default_factory=Counter[str])
    skipped: int = 0
    """The number of bad lines that were skipped."""


class Importer:
    """One import, into the projects that its lines name, or all of it into `project`.

    `skip` is called with each bad line, and the others are imported; without it a bad line ends the import. `line_like`
    returns the number of another line of the file with the same place.
    """

    def __init__(
        self,
        context: OperationContext,
        *,
        project: str | None = None,
        skip: Callable[[BadLine], None] | None = None,
        line_like: Callable[[LinePosition, int], int | None] = lambda place, number: None,
    ) -> None:
        self.tally = Tally()
        self.is_partial = False
        """True if lines of the file were skipped."""
        self._context = context
        self._project = project
        self._skip = skip
        self._line_like = line_like
        self._identities = Identities(context.count_tokens)

    def project_of(self, line: Line) -> str:
        """The project into which a line is imported."""
        return project_of(line, self._project)

    async def add(self, lines: Sequence[tuple[int, Line]]) -> None:
        """Imports lines that `place_of` has accepted, in one transaction, which a `BadLine` rolls back."""
        was_partial = self.is_partial
        entries = [self._identities.entry(number, line, self.project_of(line)) for number, line in lines]

        async def operation(write: Transaction) -> tuple[Tally, list[BadLine]]:
            # It may be called again, when everything of the call before was undone.
            self.is_partial = was_partial
            tally: Tally = Tally()
            bad: list[BadLine] = []
            for project, group in groupby(entries, lambda entry: self.project_of(entry.line)):
                context = replace(self._context, scope=Scope(project))
                for run in runs_of(list(group), RUN):
                    bad += await self._add_run(write, context, run, tally)
            return tally, bad

        done, bad = await self._context.write(operation)
        self.tally.added += done.added
        self.tally.known += done.known
        if self._skip is not None:
            for problem in bad:
                self._skip(problem)

    async def _add_run(
        self, write: Transaction, context: OperationContext, run: list[Entry], tally: Tally
    ) -> list[BadLine]:
        """Adds lines that belong together, and counts them; returns the bad ones, if these are skipped."""
        kind = run[0].line["type"]
        bad: list[BadLine] = []
        while run:
            try:
                if self._skip is None:
                    added = await _add(write, context, run, is_partial=False)
                else:
                    async with write.savepoint():
                        added = await _add(write, context, run, is_partial=self.is_partial)
            except BadLine as problem:
                found = self._with_other_line(problem, run)
                if self._skip is None:
                    raise found from problem
                bad.append(found)
                self.is_partial = True
                run = [entry for entry in run if entry.number != found.number]
                continue
            tally.added[kind] += added
            tally.known[kind] += len(run) - added
            break
        return bad

    def _with_other_line(self, problem: BadLine, run: list[Entry]) -> BadLine:
        """The problem, with the number of the conflicting line if it is in the same file."""
        if not isinstance(problem, Collision):
            return problem
        line = next(entry.line for entry in run if entry.number == problem.number)
        other = self._line_like(position_of(line, self.project_of(line)), problem.number)
        return problem if other is None else BadLine(problem.number, f"{problem}, from line {other}.")


async def _add(write: Transaction, context: OperationContext, run: list[Entry], *, is_partial: bool) -> int:
    """Counts the new ones among these lines."""
    first = run[0]
    try:
        if isinstance(first, ObjectEntry):
            if first.line["type"] == "memory":
                return int(await add_memory(write, context, first, is_partial=is_partial))
            return int(await ADD[first.line["type"]](write, context, first))
        return await add_messages(write, context, [entry for entry in run if isinstance(entry, MessageEntry)])
    except Refused as refusal:
        raise BadLine.of(first.number, refusal) from refusal
    except ConstraintViolated as error:
        message = "It has the key of another object, perhaps one of another project; remove one of them."
        raise BadLine(first.number, message) from error


_KEYS = {"user": "user_id", "agent": "agent_id", "session": "session_id"}


def project_of(line: Line, project: str | None) -> str:
    """The project into which a line is imported: this one, or else the one that it names."""
    return project or line.get("project", SOURCE_PROJECT)


def place_of(number: int, line: Line, project: str | None) -> LinePosition:
    """The place of a line of an import into a project; raises `BadLine` for faults that the line alone shows."""
    kind = line["type"]
    into = project_of(line, project)
    try:
        key = _KEYS.get(kind)
        if key is not None and key not in line:
            raise refuse("INVALID", f"`{camel(key)}` is missing.", camel(key))
        check(line, KINDS[kind].noun.rules, more=_faults(Scope(into), line))
    except Refused as refusal:
        raise BadLine.of(number, refusal) from refusal
    return position_of(line, into)


def _faults(scope: Scope, line: Line) -> Iterator[Fault]:
    """The faults of a line as a whole."""
    for name in ("key", "digest", "superseded_by"):
        if name in line:
            hex_of(line, name)
    match line["type"]:
        case "user" | "agent":
            yield from document_faults(line)
        case "session":
            yield from _tombstone_faults(line)
        case "message":
            yield from message_faults(scope, line, ())
            for hash in line.get("withheld_memories", ()):
                hex_of({"withheld_memories": hash}, "withheld_memories")
        case "document":
            if sum(name in line for name in OWNERS) != 1:
                yield Fault("INVALID", "A document has one owner: give one of `userId`, `userEmail` and `agentId`.")
        case _:
            # An exported memory may end before it begins: it was superseded before its beginning.
            yield from memory_faults(scope, {**line, "valid_until": None} if "key" in line else line)
            yield from _source_faults(line)


def _tombstone_faults(line: Line) -> Iterator[Fault]:
    for tombstone in line.get("deleted_messages", ()):
        if not 1 <= tombstone["sequence"] <= MOST:
            yield Fault("INVALID", f"{tombstone['sequence']} is not the sequence of a message.", ("deletedMessages",))
        if tombstone.get("message_id_hash") is not None:
            hex_of(tombstone, "message_id_hash", "deletedMessages")


def _source_faults(line: Line) -> Iterator[Fault]:
    """Faults of sources with invalid or duplicate positions."""
    taken: set[int] = set()
    for index, source in enumerate(line.get("sources", ())):
        path = ("sources", str(index))
        position = index if source.get("position") is None else source["position"]
        if not 0 <= position <= MOST:
            yield Fault("INVALID", f"{position} is not a position in a list.", (*path, "position"))
        if position in taken:
            yield Fault("INVALID", f"Another source has the position {position}.", (*path, "position"))
        taken.add(position)
        if source.get("document_key") is not None:
            hex_of(source, "document_key", *path)
