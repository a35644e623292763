"""A statement's form for PostgreSQL: its text, the order of its parameters, and the class of its rows."""

from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

from asyncpg import Record
from sqlalchemy import Delete, Select, Update

from models.postgres.dialect import DIALECTS
from models.postgres.word_index import INDEXED
from models.statements import LONG_TEXTS, Parameters, Statement, rank_of


class Row(Record):
    """A row that knows its noun (see `models.statements.noun_of`)."""

    noun: ClassVar[str] = ""


@lru_cache
def row_class(noun: str) -> type[Row]:
    return type(f"{noun}Row", (Row,), {"noun": noun}) if noun else Row


def _waiting_again(clause: Any, sql: str) -> str:
    """The text of a statement. An update of what the index is made of has the row wait to be indexed again."""
    if not isinstance(clause, Update):
        return sql
    table: Any = clause.table
    changed: Any = vars(clause)["_values"] or {}
    if INDEXED.get(table.name, frozenset()).isdisjoint(getattr(column, "name", column) for column in changed):
        return sql
    return sql.replace(" SET ", " SET terms=NULL, ", 1)


class Form:
    """The form of a statement for the driver.

    `names` are the parameters in the order of their numbers, and `defaults` the values of literals in the statement.
    `locking` is the text that waits for the rows and locks them, `trying` the one that locks those that nobody else has
    locked; `rank` and `strength` are those of the lock. `changed` is the rank of the rows that the statement updates or
    deletes, -1 for others. `wide` extract the columns with long texts from rows that become objects of an answer.
    """

    __slots__ = (
        "changed",
        "defaults",
        "locking",
        "names",
        "rank",
        "row",
        "single",
        "strength",
        "text",
        "trying",
        "upkeep",
        "wide",
        "writes",
    )

    def __init__(self, statement: Statement[Any], kind: str) -> None:
        clause = statement.clause_for(kind)
        compiled = clause.compile(dialect=DIALECTS[kind])
        self.text = _waiting_again(clause, str(compiled))
        lock = statement.lock
        self.rank, self.strength = (lock.rank, lock.strength) if lock else (None, "")
        self.locking = f"{self.text} FOR {lock.strength} OF {lock.table}" if lock else self.text
        self.trying = f"{self.locking} SKIP LOCKED"
        self.names: list[str] = compiled.positiontup or []
        written: dict[str, Any] = compiled.params or {}
        self.defaults = {name: value for name, value in written.items() if value is not None}
        self.row: Any = row_class(statement.noun)
        self.single = statement.single
        self.upkeep = statement.upkeep
        self.changed = rank_of(str(statement.clause.table)) if isinstance(statement.clause, Update | Delete) else -1
        parts = (statement.clause, *(part.element for part in compiled.ctes or ()))
        self.writes = not all(isinstance(part, Select) for part in parts)
        columns = getattr(statement.clause, "selected_columns", ()) if statement.noun else ()
        self.wide = [itemgetter(place) for place, column in enumerate(columns) if column.name in LONG_TEXTS]

    def bound(self, parameters: Parameters) -> list[Any]:
        """The values for the driver to bind."""
        values = {**self.defaults, **parameters} if self.defaults else parameters
        return [values[name] for name in self.names]


def form_of(statement: Statement[Any], kind: str) -> Form:
    """The statement's form for a kind of database ("postgres" or "citus"), compiled on first use."""
    form = statement.forms.get(kind)
    if form is None:
        form = statement.forms[kind] = Form(statement, kind)
    return form
