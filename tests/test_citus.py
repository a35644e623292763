"""Tables and statements keep the rules of Citus (see `models.distribution`), whose forms give the same answers."""

import asyncio
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import UniqueConstraint

import models.postgres.database
import models.postgres.snapshot
from models.archive import Archive
from models.distribution import DISTRIBUTED
from models.errors import DatabaseProblem
from models.expressions import Parents
from models.keyset import Listing, Slice, fetch_counts, fetch_pages
from models.memories import FILTERS, known_memories
from models.postgres.citus import distribute
from models.postgres.forms import form_of
from models.scope import Scope
from models.statements import Statement
from models.tables import SQLModel
from tests.archives import fill, mutate, run, said
from tests.citus_rules import refused
from tests.postgres_places import PostgresPlace, PostgresPlaces
from tests.searches import found
from tests.servers import Server
from tests.statements import named

pytestmark = pytest.mark.sqlite

TABLES = SQLModel.metadata.tables
SCOPE = Scope("default", b"U" * 16)
LISTINGS = {listing.name: listing for (listing, *_) in named(Listing).values()}


# Tables


@pytest.mark.parametrize(("table", "column"), DISTRIBUTED.items())
def test_a_distributed_table_is_held_together_by_its_column(table: str, column: str) -> None:
    of = TABLES[table]
    unique = [each for each in of.constraints if isinstance(each, UniqueConstraint)]
    unique += [each for each in of.indexes if each.unique]
    for key in (of.primary_key, *unique):
        assert column in {each.name for each in key.columns}, key
    for reference in of.foreign_key_constraints:
        to = reference.referred_table.name
        pairs = {each.parent.name: each.column.name for each in reference.elements}
        assert pairs[column] == DISTRIBUTED[to], reference
        assert list(DISTRIBUTED).index(to) < list(DISTRIBUTED).index(table)


def test_no_other_table_refers_to_a_distributed_one() -> None:
    for name in TABLES.keys() - DISTRIBUTED.keys():
        for reference in TABLES[name].foreign_key_constraints:
            assert reference.referred_table.name not in DISTRIBUTED, reference


def test_sessions_and_what_belongs_to_them_are_distributed() -> None:
    of_sessions = {
        name
        for name, table in TABLES.items()
        if any(each.column.table.name in DISTRIBUTED for each in table.foreign_keys)
    }
    assert DISTRIBUTED.keys() == of_sessions | {"sessions"}


# Statements


WITHOUT_REASON = """
SELECT sessions.key FROM sessions WHERE sessions.user_key = $1
UPDATE messages SET role = $1 WHERE messages.session_key = $2
SELECT m.role FROM sessions AS s JOIN messages AS m ON m.session_key = s.key WHERE s.user_key = $1
SELECT memories.key FROM memories WHERE memories.session_key IN (SELECT sessions.key FROM sessions)
SELECT sessions.key, (SELECT count(*) FROM jobs WHERE jobs.session_key = sessions.key) FROM sessions
SELECT messages.role FROM messages WHERE messages.session_key = $1 FOR SHARE OF messages
"""
WITH_REASON = """
updates the distribution column: UPDATE messages SET session_key = $1 WHERE messages.session_key = $2
among the values: INSERT INTO jobs (session_key) VALUES ((SELECT users.key FROM users))
not joined: SELECT sessions.key FROM sessions, messages WHERE sessions.user_key = $1
from outside: SELECT x.key FROM unnest($1) AS p (a) CROSS JOIN LATERAL (SELECT * FROM jobs WHERE jobs.due_at > p.a) AS x
from outside: SELECT 1 FROM memories WHERE EXISTS (SELECT 1 FROM sessions WHERE sessions.key = memories.session_key)
from distributed: SELECT (SELECT users.name FROM users WHERE users.key = sessions.user_key) FROM sessions
a function: UPDATE messages SET role = $1 FROM unnest($1, $2) AS given (number) WHERE messages.number = given.number
locks: SELECT messages.role FROM messages WHERE messages.number = $1 FOR SHARE OF messages
"""
EXAMPLES = [
    *(("", statement) for statement in WITHOUT_REASON.strip().splitlines()),
    *((reason, text) for reason, _, text in (line.partition(": ") for line in WITH_REASON.strip().splitlines())),
]


@pytest.mark.parametrize(("reason", "statement"), EXAMPLES)
def test_the_rules_find_what_citus_refuses(reason: str, statement: str) -> None:
    reasons = refused(statement)
    assert any(reason in each for each in reasons) if reason else reasons == [], reasons


class Checker:
    """A reader of an empty database, which holds each statement to the rules."""

    def __init__(self) -> None:
        self.count = 0

    def check(self, statement: Statement[Any]) -> None:
        form = form_of(statement, "citus")
        assert refused(form.locking) == [], form.locking
        self.count += 1

    async def fetch(self, statement: Statement[Any], _: Any, *, slowly: bool = False) -> list[Any]:
        self.check(statement)
        return []

    def rows(self, statement: Statement[Any], _: Any) -> Iterator[Any]:
        self.check(statement)
        return iter([])


def test_every_statement_of_the_models_keeps_the_rules() -> None:
    checker = Checker()
    for statements in named(Statement, without="sqlite").values():
        for statement in statements:
            checker.check(statement)
    assert checker.count > 200


@pytest.mark.parametrize("name", LISTINGS)
def test_every_page_of_a_list_keeps_the_rules(name: str) -> None:
    listing = LISTINGS[name]
    of = Parents([b"P" * 16]) if listing.nested else None
    checker: Any = Checker()

    async def read(given: tuple[str, ...]) -> None:
        await fetch_counts(checker, SCOPE, listing, Slice("", given=given), of)
        # A filter is a condition, whatever the order.
        orders = list(listing.orders)[:1] if given else listing.orders
        for order, descending, backwards, on in product(orders, (False, True), (False, True), (False, True)):
            columns = listing.order_columns(order, descending=descending)
            after = tuple("" for _ in columns) if on else None
            part = Slice(order, descending=descending, backwards=backwards, given=given, after=after)
            await fetch_pages(checker, SCOPE, listing, part, of)

    for given in [(), *((filter,) for filter in listing.filters)]:
        asyncio.run(read(given))


@pytest.mark.parametrize("owner", ["user", "session", "agent"])
def test_what_a_context_knows_keeps_the_rules(owner: str) -> None:
    checker: Any = Checker()
    for given in [(), *((filter,) for filter in FILTERS)]:
        known = known_memories(checker, SCOPE, owner=(owner, b"O" * 16), given=given, values={}, longest=1, limit=1)
        asyncio.run(known)


def test_an_export_keeps_the_rules() -> None:
    checker: Any = Checker()
    assert list(Archive(checker).read([SCOPE, Scope("default")])) == []


# Citus's forms, which PostgreSQL understands as well


@pytest.fixture
def citus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every PostgreSQL for a Citus cluster."""

    async def kind_of(_: Any) -> str:
        return "citus"

    for module in (models.postgres.database, models.postgres.snapshot):
        monkeypatch.setattr(module, "kind_of", kind_of)


@pytest.fixture
def place(postgres_places: PostgresPlaces, tmp_path: Path) -> Iterator[PostgresPlace]:
    with postgres_places.lent(tmp_path) as lent:
        assert isinstance(lent, PostgresPlace)
        yield lent


WIDE = """{ users { totalCount nodes { userId sessions(first: 2) { totalCount nodes { sessionId
    messages(first: 2) { totalCount nodes { content memories { nodes { content } } } }
    last: messages(last: 1, filter: {messageIds: ["own"]}) { totalCount nodes { messageId } } } }
    memories { nodes { content sources { totalCount nodes { __typename } } } } } }
    agents { nodes { agentId sessions { nodes { sessionId user { userId } } } } } }"""


@pytest.mark.usefixtures("citus")
def test_what_the_server_asks_keeps_the_rules_and_gets_the_same_answers(place: PostgresPlace) -> None:
    server = Server(place)
    asked: list[str] = []
    try:
        store: Any = server.app.state.database
        store.listener = asked.append
        fill(server)
        wide = server.graphql(WIDE)
        results = [found(server, "three edited"), found(server, "lives Rome", userId="ada")]
        mutate(server, "deleteSession", "deletedSessionId", sessionId="revived", permanently=True)
        mutate(server, "deleteUser", "deletedUserId", userId="bob")
    finally:
        server.close()
    assert len(set(asked)) > 100
    for text in set(asked):
        assert refused(text) == [], text
    assert results[0][0]["node"]["content"] == "three, edited"
    (ada,) = [user for user in wide["users"]["nodes"] if user["userId"] == "ada"]
    assert [session["messages"]["totalCount"] for session in ada["sessions"]["nodes"]] == [1, 6]
    assert [len(session["messages"]["nodes"]) for session in ada["sessions"]["nodes"]] == [1, 2]


class Recorded:
    """A connection of an empty database with Citus."""

    def __init__(self, distributed: list[str], filled: str = "") -> None:
        self.distributed = distributed
        self.filled = filled
        self.asked: list[str] = []

    def exec_driver_sql(self, statement: str) -> "Recorded":
        self.asked.append(statement)
        return self

    def scalars(self) -> list[str]:
        return self.distributed

    def scalar(self) -> bool:
        return bool(self.filled) and self.filled in self.asked[-1]


def test_tables_are_distributed_together_each_after_those_that_it_refers_to() -> None:
    connection: Any = Recorded([])
    lines: list[str] = []
    distribute(connection, "a database", lines.append)
    made = [statement for statement in connection.asked if "create_distributed_table" in statement]
    assert made[0] == "SELECT create_distributed_table('sessions', 'key')"
    assert set(made[1:]) == {
        f"SELECT create_distributed_table('{table}', 'session_key', colocate_with => 'sessions')"
        for table in DISTRIBUTED.keys() - {"sessions"}
    }
    assert lines == [f"{table}: distributed by {column}" for table, column in DISTRIBUTED.items()]


def test_only_new_tables_are_distributed_and_each_once() -> None:
    connection: Any = Recorded(list(DISTRIBUTED))
    distribute(connection, "a database", print)
    assert not [statement for statement in connection.asked if "create_distributed_table" in statement]
    with pytest.raises(DatabaseProblem, match="has rows in messages"):
        distribute(Recorded([], filled="messages"), "a database", print)  # pyright: ignore[reportArgumentType]


def test_tables_are_not_distributed_where_there_is_no_citus(place: PostgresPlace, tmp_path: Path) -> None:
    for more in ((), ("--dry-run",)):
        assert "has no Citus" in said(run("migrate", "--citus", *more, *place.option))
        assert "is a SQLite file" in said(
            run("migrate", "--citus", *more, "--database-url", f"sqlite:///{tmp_path / 'new.db'}")
        )
