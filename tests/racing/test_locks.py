"""The locks of statements: each is on the row of one key, so that a transaction can order them, and Citus takes it."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import models
from models.postgres.forms import form_of
from models.statements import ByKey, Statement


def statements_in(value: Any) -> Iterator[Statement[Any]]:
    if isinstance(value, Statement):
        yield value
    elif isinstance(value, ByKey):
        yield from (value.one, value.many)
    elif isinstance(value, dict):
        for item in value.values():
            yield from statements_in(item)


def locking() -> dict[str, Statement[Any]]:
    """The statements with a lock, by where they are."""
    names = [module.name for module in pkgutil.walk_packages(models.__path__, "models.")]
    return {
        f"{name} {variable}": statement
        for name in names
        if "migrations" not in name and "sqlite" not in name
        for variable, value in vars(import_module(name)).items()
        for statement in statements_in(value)
        if statement.lock is not None
    }


def test_every_lock_is_on_the_row_of_one_key() -> None:
    found = locking()
    assert {statement.lock.table for statement in found.values() if statement.lock} == {
        *("users", "agents", "sessions", "memories", "documents", "jobs")
    }
    for name, statement in found.items():
        form, lock = form_of(statement, "postgres"), statement.lock
        assert lock is not None
        key = "session_key" if lock.table == "jobs" else "key"
        assert f"WHERE {lock.table}.{key} = ${form.names.index('key') + 1}::UUID" in form.text, name
        assert form.text.partition("WHERE")[0].split("FROM")[1].split() == [lock.table], name
        assert form.locking.endswith(f" FOR {lock.strength} OF {lock.table}")
