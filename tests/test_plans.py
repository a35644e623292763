"""Statements find the objects of a user, a session or an agent by the owner's index.

SQLite is asked without statistics, as on any server's file.
"""

import asyncio
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from models.archive import Archive
from models.expressions import Parents
from models.keyset import Listing, Slice, fetch_counts, fetch_pages
from models.memories import FILTERS, known_memories
from models.scope import Scope
from models.sqlite.forms import form_of
from models.statements import Statement
from tests.plans import plans, walks
from tests.statements import named

pytestmark = pytest.mark.sqlite

SCOPE = Scope("default", b"U" * 16)
OF_PROJECT = {"models.sessions._inactive", "models.user_words._counts"}
"""Those that look through the project: inactive sessions of any user, people by the beginnings of their words."""

STATEMENTS = named(Statement)
LISTINGS = {listing.name: listing for (listing, *_) in named(Listing).values() if listing.nested}


class Recorder:
    """A reader of an empty database, which keeps the texts of the statements."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def fetch(self, statement: Statement[Any], _: Any, *, slowly: bool = False) -> list[Any]:
        self.seen.append(form_of(statement).text)
        return []

    def rows(self, statement: Statement[Any], _: Any) -> Iterator[Any]:
        self.seen.append(form_of(statement).text)
        return iter([])


def walking(path: Path, texts: list[str]) -> list[tuple[str, list[str]]]:
    assert texts
    return [(text, plan) for text, plan in plans(path, texts).items() if walks(plan)]


def test_every_statement_with_a_key_goes_by_the_keys_index(path: Path) -> None:
    assert STATEMENTS.keys() > OF_PROJECT
    for name, statements in STATEMENTS.items():
        found = walking(path, [form_of(statement).text for statement in statements])
        assert len(found) == (name in OF_PROJECT), (name, found)


@pytest.mark.parametrize("name", LISTINGS)
def test_a_nested_list_goes_by_its_owners_index_in_every_order_and_with_every_filter(path: Path, name: str) -> None:
    listing, of = LISTINGS[name], Parents([b"P" * 16])
    recorder: Any = Recorder()

    async def read(given: tuple[str, ...]) -> None:
        await fetch_counts(recorder, SCOPE, listing, Slice("", given=given), of)
        for order, descending, on in product(listing.orders, (False, True), (False, True)):
            columns = listing.order_columns(order, descending=descending)
            after = tuple("" for _ in columns) if on else None
            part = Slice(order, descending=descending, given=given, after=after)
            await fetch_pages(recorder, SCOPE, listing, part, of)

    for given in [(), *((filter,) for filter in listing.filters)]:
        asyncio.run(read(given))
    assert walking(path, recorder.seen) == []


@pytest.mark.parametrize("owner", ["user", "session", "agent"])
def test_what_a_context_knows_is_found_by_its_owners_index(path: Path, owner: str) -> None:
    recorder: Any = Recorder()
    for given in [(), *((filter,) for filter in FILTERS)]:
        known = known_memories(recorder, SCOPE, owner=(owner, b"O" * 16), given=given, values={}, longest=1, limit=1)
        asyncio.run(known)
    assert walking(path, recorder.seen) == []


def test_the_export_of_a_user_reads_what_is_the_users_alone(path: Path) -> None:
    recorder: Any = Recorder()
    assert list(Archive(recorder).read([SCOPE])) == []
    assert walking(path, recorder.seen) == []
