"""The types of rows are the tables': the same columns, of the same types, null where they may be."""

from typing import Any, get_args, get_type_hints, is_typeddict

import pytest
from sqlalchemy import BigInteger, Boolean, Double, Integer, LargeBinary, Text
from sqlmodel import SQLModel

from models import columns, rows, tables
from models.values import Json, Time

TABLES = [each for each in vars(tables).values() if isinstance(each, type) and issubclass(each, SQLModel)]
TABLES.remove(SQLModel)


def type_of(column: Any) -> Any:
    """The type that a row's value of this column has in Python."""
    if column.type is columns.Time:
        return Time
    if column.type is columns.Json:
        return Json
    for kept, python in (
        *((LargeBinary, bytes), (Text, str), (Double, float)),
        *(((BigInteger, Integer), int), (Boolean, bool)),
    ):
        if isinstance(column.type, kept):
            return python
    raise AssertionError(f"{column} is of a type that no row has")


def declared(hint: Any) -> tuple[Any, bool]:
    """A declared type without None, and whether None is allowed."""
    kinds = [one for one in get_args(hint) if one is not type(None)]
    return (kinds[0], True) if kinds else (hint, False)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_a_row_is_declared_as_its_table_is(table: type[SQLModel]) -> None:
    row = getattr(rows, f"{table.__name__}Row")
    of_table = {column.name: (type_of(column), column.nullable) for column in tables.table(table).columns}
    assert {name: declared(hint) for name, hint in get_type_hints(row).items()} == of_table


def test_every_row_that_is_declared_has_a_table() -> None:
    assert {name for name, row in vars(rows).items() if is_typeddict(row)} == {
        f"{table.__name__}Row" for table in TABLES
    }
