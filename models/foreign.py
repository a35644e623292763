"""Tables of other systems' databases, which imports read: as they are, without a description of their own."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from models.errors import DatabaseProblem


class ForeignTables(Protocol):
    """The tables of a database, in one snapshot of it, which nothing here can change."""

    def columns(self, table: str) -> set[str]:
        """The names of a table's columns; none if there is no such table."""
        ...

    def rows(self, table: str, *, order_by: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        """The rows of a table by the names of its columns, with the values of JSON: times are texts."""
        ...


def sqlite_tables(path: str) -> AbstractContextManager[ForeignTables]:
    """The tables of a SQLite file."""
    from models.sqlite.foreign import tables_of

    return tables_of(path)


def postgres_tables(url: str) -> AbstractContextManager[ForeignTables]:
    """The tables of a PostgreSQL database."""
    try:
        from models.postgres.foreign import tables_of
    except ImportError as error:
        raise DatabaseProblem("PostgreSQL needs its driver: pip install 'recallql[postgres]'.") from error
    return tables_of(url)
