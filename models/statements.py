"""Statements: built with SQLAlchemy Core, compiled for a database when they first run there."""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypedDict, TypeGuard, TypeVar, overload

from sqlalchemy import ColumnElement, Table, bindparam, select
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.expression import ClauseElement

from models.expressions import CrossJoin, is_in_project, parent_key, parents
from models.rows import AgentRow, DocumentRow, MemoryRow, MessageRow, SessionRow, UserRow

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Parameters = Mapping[str, Any]
"""The values of a statement's parameters. A list is bound as it is."""


class NoRow(TypedDict):
    """The row of a statement that returns none."""


class Count(TypedDict):
    count: int


class Keyed(TypedDict):
    key: bytes


NOUNS: dict[type[Any], str] = {
    UserRow: "User",
    SessionRow: "Session",
    MessageRow: "Message",
    MemoryRow: "Memory",
    DocumentRow: "Document",
    AgentRow: "Agent",
}
"""The nouns whose rows know their noun, for interfaces and unions (see `noun_of`)."""


def noun_of(row: object) -> str:
    """The noun of a row, "" for a row of no noun."""
    return getattr(row, "noun", "")


def is_message(row: object) -> TypeGuard[MessageRow]:
    return noun_of(row) == "Message"


def is_memory(row: object) -> TypeGuard[MemoryRow]:
    return noun_of(row) == "Memory"


def is_document(row: object) -> TypeGuard[DocumentRow]:
    return noun_of(row) == "Document"


LONG_TEXTS = frozenset(
    (
        *("about", "aside", "content", "instructions", "metadata", "parts", "parts_text", "situation", "subject"),
        *("title", "tool_calls"),
    )
)
"""Columns whose values may be long: the bytes of rows with them are counted while they are read."""


class Lock(NamedTuple):
    """The lock that a transaction takes on the rows of a table that a statement reads; see `models.locks`."""

    strength: str
    table: str

    @property
    def rank(self) -> int:
        return rank_of(self.table)


def rank_of(table: str) -> int:
    """The place of a table's rows in the order of locks."""
    return {"users": 0, "agents": 0, "sessions": 1, "jobs": 3}.get(table, 2)


def lock_of(table: Table, strength: str = "NO KEY UPDATE") -> Lock:
    return Lock(strength, table.name)


class Statement(Generic[R_co]):
    """A statement and the type of its rows.

    `single`: it returns one row at most. `upkeep`: it belongs to no request. `spills`: it may sort millions of numbers,
    for which SQLite may use a temporary file; no other data of it may get there. `forms` caches its form for each
    database. `others` has the clause for a database that needs another one, by the database's name.

    `lock` is the one that a transaction takes on the rows, where transactions run at the same time.
    """

    __slots__ = ("clause", "forms", "lock", "noun", "others", "single", "spills", "upkeep")

    @overload
    def __init__(self: "Statement[NoRow]", clause: ClauseElement | Executable, *, upkeep: bool = False) -> None: ...

    @overload
    def __init__(
        self,
        clause: ClauseElement | Executable,
        row: type[R_co],
        *,
        single: bool = False,
        upkeep: bool = False,
        spills: bool = False,
        lock: Lock | None = None,
        others: Mapping[str, ClauseElement] | None = None,
    ) -> None: ...

    def __init__(
        self,
        clause: ClauseElement | Executable,
        row: type[Any] = dict,
        *,
        single: bool = False,
        upkeep: bool = False,
        spills: bool = False,
        lock: Lock | None = None,
        others: Mapping[str, ClauseElement] | None = None,
    ) -> None:
        self.clause: Any = clause
        self.lock = lock
        self.others = others or {}
        self.noun = NOUNS.get(row, "")
        self.single = single
        self.upkeep = upkeep
        self.spills = spills
        self.forms: dict[str, Any] = {}

    def clause_for(self, database: str) -> Any:
        """The clause for a database; Citus has that of PostgreSQL unless it needs another one."""
        names = ("citus", "postgres") if database == "citus" else (database,)
        return next((self.others[name] for name in names if name in self.others), self.clause)


class ByKey(Generic[R]):
    """Rows of a table by their keys: one, or each with its parent's position as `parent` (see `Parents`).

    A transaction locks the one row. Before it reads many, it holds those whom they belong to.
    """

    __slots__ = ("many", "one")

    def __init__(
        self,
        table: Table,
        row: type[R],
        *,
        where: tuple[ColumnElement[bool], ...] = (),
        strength: str = "NO KEY UPDATE",
    ) -> None:
        conditions = (is_in_project(table), *where)
        lock = lock_of(table, strength)
        self.one = Statement(
            select(table).where(table.c.key == bindparam("key"), *conditions), row, single=True, lock=lock
        )
        self.many = Statement(
            select(parents.c.key.label("parent"), table)
            .select_from(CrossJoin(parents, table))
            .where(table.c.key == parent_key, *conditions),
            row,
        )
