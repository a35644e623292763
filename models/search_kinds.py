"""The kinds of searchable objects, one description for each.

Statements, vectors and the full-text index use these descriptions and never check which kind they have. CONTRIBUTING
lists the steps of adding a kind.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Integer,
    Table,
    and_,
    bindparam,
    case,
    exists,
    literal_column,
    null,
    or_,
    select,
)

from models.columns import Key
from models.documents import FILTERS as DOCUMENT_FILTERS
from models.documents import documents_by_key
from models.expressions import CrossJoin, Parents, Unindexed, in_checked_project, in_project, parent_key, parents
from models.keyset import Condition, between
from models.memories import FILTERS as MEMORY_FILTERS
from models.memories import memories_by_key
from models.messages import MESSAGES_OF_SESSION, messages_by_sequence
from models.rows import SearchedRow
from models.scope import Scope
from models.store import Reader
from models.tables import (
    document_vectors,
    documents,
    memories,
    memory_vectors,
    message_vectors,
    messages,
    sessions,
)

Columns = Mapping[str, ColumnElement[Any]]
Location = tuple[bytes, int]
"""An object's key and 0; for a turn the key of its conversation, and its position there."""

Receive = Callable[[tuple[Any, ...]], None]
"""A function that is called with each row, in the reading thread, so that the texts are never in memory together."""


def number_of(rows: FromClause) -> ColumnElement[int]:
    """The number that identifies a row in the index and among vectors."""
    name: str = vars(rows)["name"]
    return literal_column(f"{name}.number", Integer)


OWNERS = ("sessions", "user", "agent", "beside")
"""The owners that a search may name (see `Within`), those with the fewest objects first."""


@dataclass(frozen=True)
class Within:
    """The objects to search, and the filters that a result must pass (`given` names them, `values` are parameters).

    `sessions`, `user` and `agent` narrow the search to what belongs to all of them that are given; with none of them it
    is the whole project. An agent has its own objects and those of its sessions. `beside` widens the search instead: an
    agent whose own objects are searched along with the others.
    """

    sessions: tuple[bytes, ...] | None = None
    user: bytes | None = None
    agent: bytes | None = None
    beside: bytes | None = None
    given: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def whose(self) -> tuple[str, ...]:
        """The names of the owners that are given, the narrowest first; none for the whole project."""
        return tuple(name for name in OWNERS if getattr(self, name) is not None)

    @property
    def keys(self) -> list[bytes]:
        """The keys of these owners."""
        own = [key for key in (self.user, self.agent, self.beside) if key is not None]
        return [*(self.sessions or ()), *own]

    @property
    def bound(self) -> dict[str, Any]:
        keys = {"user": self.user, "agent": self.agent, "beside": self.beside}
        return {**self.values, **keys, **Parents(list(self.sessions or ())).values}


@dataclass(frozen=True, eq=False)
class Conversation:
    """The conversations of a kind whose texts are turns; turns near a match are found along with it.

    `table` has a row for each conversation, with the project and the owner of its turns; `size` is its approximate
    number of turns, and those up to position `floor` are deleted. The other columns are a turn's.
    """

    table: Table
    key: Column[bytes]
    position: Column[int]
    role: ColumnElement[str]
    name: ColumnElement[str | None]
    user: ColumnElement[bytes | None]
    floor: ColumnElement[int]
    size: ColumnElement[int]


@dataclass(frozen=True, eq=False)
class SearchKind:
    """A kind of searchable object. `name` is its name among the scopes of a search, `noun` that of its rows.

    `said` is its text, `aside` further text with less weight. `exists` are the conditions of objects that are not
    deleted, `holds` those of objects that are true now.

    `owners` are the columns with the keys of owners that narrow a search (see `Within`); an owner without a column has
    no such objects. `of_session` is the column with the session of an object, if its agent is that of its session too.
    `placed` are the columns of owners of which the first that is set says where an object stands in the index. `fetch`
    reads objects by their locations.

    Up to `scanned` objects in the whole project, and up to `scanned_of_one` of a user's or a session's, are all read;
    if there are more, the index selects those to read, `chosen` at a time, best first. `late` is the largest backlog of
    the index while others are written. At most `vectors_of_one` vectors of one text are kept.
    """

    name: str
    noun: str
    table: Table
    vectors: Table
    said: ColumnElement[str]
    filters: Mapping[str, Condition]
    owners: Columns
    placed: Sequence[Column[bytes]]
    fetch: Callable[[Reader, Scope, list[Location]], Awaitable[Sequence[SearchedRow | None]]]
    scanned: int
    scanned_of_one: int
    chosen: int
    late: int
    vectors_of_one: int
    aside: ColumnElement[str | None] | None = None
    exists: Sequence[ColumnElement[bool]] = ()
    holds: Sequence[ColumnElement[bool]] = ()
    of_session: Column[bytes] | None = None
    conversation: Conversation | None = None

    @property
    def words(self) -> ColumnElement[str]:
        """All searchable text of an object."""
        if self.aside is None:
            return self.said
        return case((self.aside.is_(None), self.said), else_=self.said + "\n" + self.aside)

    @property
    def owned(self) -> Table:
        """The table with the project and the owners of the objects."""
        return self.table if self.conversation is None else self.conversation.table

    @property
    def turn(self) -> Columns:
        """The columns that ranking needs besides the text; texts with the same `thread` may be neighbours."""
        of = self.conversation
        if of is None:
            return {
                "thread": self.table.c.key,
                "position": literal_column("0", Integer),
                "role": null(),
                "name": null(),
                "user": null(),
            }
        return {"thread": of.key, "position": of.position, "role": of.role, "name": of.name, "user": of.user}

    @property
    def joined(self) -> list[ColumnElement[bool]]:
        """The condition that joins an object to its row in `owned`, if that is another table."""
        of = self.conversation
        return [] if of is None else [of.table.c.key == of.key]

    def belongs(self, whose: Sequence[str]) -> ColumnElement[bool]:
        """The condition that an object belongs to these owners. The narrowest finds the rows, by an index if the
        statement has no better way; the others check them."""
        narrow = [name for name in whose if name != "beside"]
        conditions = [self._is_of(name, is_check=index > 0) for index, name in enumerate(narrow)]
        beside = [self.owners["agent"] == bindparam("beside", type_=Key)] if "beside" in whose else []
        return or_(*([and_(*conditions)] if conditions else []), *beside)

    def _is_of(self, name: str, *, is_check: bool) -> ColumnElement[bool]:
        column: ColumnElement[Any] = self.owners[name]
        column = Unindexed(column) if is_check else column
        if name == "sessions":
            return column.in_(select(parent_key).select_from(parents))
        key = bindparam(name, type_=Key)
        if name != "agent" or self.of_session is None:
            return column == key
        its_session = (sessions.c.key == self.of_session) & (sessions.c.agent_key == key)
        return or_(column == key, exists(select(sessions.c.key).where(its_session)))

    def found(self, whose: Sequence[str]) -> list[ColumnElement[bool]]:
        """A condition by which an index finds the few objects of these owners, if `belongs` can only check them."""
        if self.of_session is None or tuple(whose) != ("agent",):
            return []
        key, of = bindparam("agent", type_=Key), self.table.alias("of")
        own = select(of.c.key).where(of.c.agent_key == key)
        its_sessions = CrossJoin(sessions, of)
        of_sessions = (sessions.c.agent_key == key) & (of.c[self.of_session.name] == sessions.c.key)
        return [self.table.c.key.in_(own.union_all(select(of.c.key).select_from(its_sessions).where(of_sessions)))]

    def in_scope(self, whose: Sequence[str]) -> list[ColumnElement[bool]]:
        """The conditions, on rows of `owned`, for an object to be in the project and belong to these owners."""
        if not whose:
            return [in_project(self.owned)]
        return [in_checked_project(self.owned), self.belongs(whose)]

    def visible(self, whose: Sequence[str]) -> list[ColumnElement[bool]]:
        """The conditions, on rows of `table` and `owned`, for an object to be found at all."""
        return [*self.joined, *self.in_scope(whose), *self.exists, *self.holds]

    def narrowed(self, within: Within) -> Within | None:
        """The part of `within` that concerns this kind; None if no object of the kind can be in it.

        A session has no documents, but those of the agent beside it may be searched.
        """
        narrow = [name for name in within.whose if name != "beside"]
        has_own = self.conversation is None
        beside = within.beside if narrow and has_own else None
        if all(name in self.owners for name in narrow):
            return replace(within, beside=beside)
        return None if beside is None else replace(within, sessions=None, user=None, agent=None, beside=beside)


MESSAGES = SearchKind(
    name="MESSAGES",
    noun="Message",
    table=messages,
    vectors=message_vectors,
    said=case(
        (messages.c.parts_text.is_(None), messages.c.content),
        else_=messages.c.content + "\n" + messages.c.parts_text,
    ),
    aside=messages.c.aside,
    filters=MESSAGES_OF_SESSION.filters,
    owners={"sessions": sessions.c.key, "user": sessions.c.user_key, "agent": sessions.c.agent_key},
    placed=(sessions.c.user_key, sessions.c.key),
    exists=(sessions.c.deleted_at.is_(None), messages.c.sequence > sessions.c.deleted_through),
    fetch=messages_by_sequence,
    conversation=Conversation(
        table=sessions,
        key=messages.c.session_key,
        position=messages.c.sequence,
        role=messages.c.role,
        name=messages.c.name,
        user=sessions.c.user_key,
        floor=sessions.c.deleted_through,
        size=sessions.c.last_sequence - sessions.c.deleted_through,
    ),
    scanned=3000,
    scanned_of_one=20_000,
    chosen=200,
    late=2048,
    vectors_of_one=20,
)
MEMORIES = SearchKind(
    name="MEMORIES",
    noun="Memory",
    table=memories,
    vectors=memory_vectors,
    said=memories.c.content,
    filters={**MEMORY_FILTERS, **between("created_at")},
    owners={"sessions": memories.c.session_key, "user": memories.c.user_key, "agent": memories.c.agent_key},
    of_session=memories.c.session_key,
    placed=(memories.c.user_key, memories.c.session_key, memories.c.agent_key),
    exists=(memories.c.deleted_at.is_(None),),
    holds=(MEMORY_FILTERS["as_of"](memories),),
    fetch=lambda read, scope, locations: memories_by_key(read, scope, [key for key, _ in locations]),
    scanned=3000,
    scanned_of_one=20_000,
    chosen=200,
    late=1024,
    vectors_of_one=20,
)
MEMORIES_EVER = replace(MEMORIES, holds=())
"""Memories whether or not they hold now; a filter may ask for those of a time."""
DOCUMENTS = SearchKind(
    name="DOCUMENTS",
    noun="Document",
    table=documents,
    vectors=document_vectors,
    said=documents.c.title + "\n" + documents.c.content,
    filters={**DOCUMENT_FILTERS, **between("created_at")},
    owners={"user": documents.c.user_key, "agent": documents.c.agent_key},
    placed=(documents.c.user_key, documents.c.agent_key),
    fetch=lambda read, scope, locations: documents_by_key(read, scope, [key for key, _ in locations]),
    # One may be as long as a thousand messages.
    scanned=100,
    scanned_of_one=100,
    chosen=50,
    late=64,
    # A hundred times as long, it may take more room.
    vectors_of_one=512,
)
SEARCH_KINDS = {kind.name: kind for kind in (MESSAGES, MEMORIES, DOCUMENTS)}
