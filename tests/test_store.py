"""The store: opened by URL, written through transactions, and telling of what was committed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import ConstraintViolated, DatabaseProblem
from models.keys import user_key
from models.keyset import Slice, fetch_pages
from models.rows import UserRow
from models.scope import Scope
from models.sort_texts import LAST
from models.sqlite.database import SqliteStore
from models.store import Change, Store, Transaction, database_at, opened
from models.users import USERS, user_by_id, user_table
from models.values import Json, Time
from tests.documents import ADD_MESSAGES, DELETE_MESSAGES, UPDATE_MESSAGE
from tests.places import Place
from tests.servers import Server

NOW = Time("2026-01-01T00:00:00")


def user(user_id: str, **given: Any) -> UserRow:
    row: UserRow = {
        "key": user_key("default", user_id),
        "project": "default",
        "user_id": user_id,
        "email": None,
        "email_folded": None,
        "first_name": None,
        "last_name": None,
        "name": None,
        "about": "",
        "metadata": Json("{}"),
        "created_at": NOW,
        "updated_at": NOW,
        "version": 1,
        "name_ascending": LAST,
        "name_descending": "",
        "email_ascending": LAST,
        "email_descending": "",
        "form_memories": None,
        "nonce": 1_000_000_000,
    }
    return {**row, **given}  # type: ignore[typeddict-item]


def run(place: Place, scene: Callable[[Store], Awaitable[None]]) -> None:
    async def play() -> None:
        async with opened(place.database) as store:
            await scene(store)

    asyncio.run(play())


def listening(store: Store) -> list[Change]:
    told: list[Change] = []
    store.listen(told.extend)
    return told


WRONG = ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///a.db?mode=ro", "mysql://x/y", "x"]


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseProblem, match="sqlite:///"):
        database_at(url)


def test_a_database_that_is_not_there_is_made_by_migrating_only(tmp_path: Path) -> None:
    database = database_at(f"sqlite:///{tmp_path / 'new.db'}")
    assert not database.exists()
    database.migrate()
    assert database.exists()
    assert database.name == str(tmp_path / "new.db")


def test_what_was_committed_is_told_after_it_can_be_read(place: Place) -> None:
    async def scene(store: Store) -> None:
        readable: list[bool] = []
        told = listening(store)
        store.listen(lambda _: readable.append(True))

        async def create(write: Transaction) -> None:
            await user_table.insert(write, user("ada"))
            assert not told

        await store.write(create)
        assert [(change.action, change.table, change.row["user_id"]) for change in told] == [("insert", "users", "ada")]
        assert await user_by_id(store.reader, Scope(), "ada") is not None
        assert readable == [True]

    run(place, scene)


def test_an_update_is_told_as_it_is_after_and_a_deletion_as_it_was(place: Place) -> None:
    async def scene(store: Store) -> None:
        row = await store.write(lambda write: user_table.insert(write, user("ada")))
        told = listening(store)
        changed = await store.write(lambda write: user_table.update(write, row, {"name": "Ada", "version": 2}))
        await store.write(lambda write: user_table.delete(write, changed))
        assert [(change.action, change.row["name"]) for change in told] == [("update", "Ada"), ("delete", "Ada")]

    run(place, scene)


def test_what_was_undone_is_not_told(place: Place) -> None:
    async def scene(store: Store) -> None:
        told = listening(store)

        async def failing(write: Transaction) -> None:
            await user_table.insert(write, user("gone"))
            raise ValueError

        async def insert_and_fail(write: Transaction) -> None:
            async with write.savepoint():
                await user_table.insert(write, user("part"))
                raise ValueError("part")

        async def in_part(write: Transaction) -> None:
            await user_table.insert(write, user("ada"))
            with pytest.raises(ValueError, match="part"):
                await insert_and_fail(write)

        # Both are carried out in one commit.
        answers = await asyncio.gather(store.write(failing), store.write(in_part), return_exceptions=True)
        assert isinstance(answers[0], ValueError)
        assert [change.row["user_id"] for change in told] == ["ada"]
        (page,) = await fetch_pages(store.reader, Scope(), USERS, Slice(order="user_id"))
        assert [row["user_id"] for row in page.rows] == ["ada"]

    run(place, scene)


def test_who_no_longer_listens_is_told_nothing(place: Place) -> None:
    async def scene(store: Store) -> None:
        told: list[Change] = []
        end = store.listen(told.extend)
        end()
        await store.write(lambda write: user_table.insert(write, user("ada")))
        assert told == []

    run(place, scene)


def test_a_listener_that_fails_undoes_nothing_and_keeps_nothing_from_the_others(place: Place) -> None:
    def failing(_: Any) -> None:
        raise RuntimeError

    async def scene(store: Store) -> None:
        store.listen(failing)
        told = listening(store)
        row = await store.write(lambda write: user_table.insert(write, user("ada")))
        assert row["user_id"] == "ada"
        assert len(told) == 1

    run(place, scene)


def test_a_key_that_is_taken_is_an_error_of_the_store_that_names_no_sql(place: Place) -> None:
    async def scene(store: Store) -> None:
        await store.write(lambda write: user_table.insert(write, user("ada")))
        with pytest.raises(ConstraintViolated):
            await store.write(lambda write: user_table.insert(write, user("ada")))

        async def in_part(write: Transaction) -> None:
            with pytest.raises(ConstraintViolated):
                async with write.savepoint():
                    await user_table.insert(write, user("ada"))

        await store.write(in_part)

    run(place, scene)


def test_a_list_is_bound_as_it_is(place: Place) -> None:
    async def scene(store: Store) -> None:
        names = ["ada", 'quote"d', "o'neil", "emoji 🎈", "[1,2]"]
        for name in names:
            await store.write(lambda write, name=name: user_table.insert(write, user(name)))
        part = Slice(order="user_id", given=("user_ids",), values={"user_ids": [*names[1:], "nobody"]})
        (page,) = await fetch_pages(store.reader, Scope(), USERS, part)
        assert sorted(row["user_id"] for row in page.rows) == sorted(names[1:])

    run(place, scene)


def test_rows_are_streamed_one_by_one_in_their_order(place: Place) -> None:
    async def scene(store: Store) -> None:
        from sqlalchemy import select

        from models.statements import Statement
        from models.tables import users

        for number in range(20):
            await store.write(lambda write, number=number: user_table.insert(write, user(f"u{number:02}")))
        received: list[str] = []
        names = Statement(select(users.c.user_id).order_by(users.c.user_id), UserRow)
        await store.reader.stream(names, {}, lambda values: received.append(values[0]))
        assert received == [f"u{number:02}" for number in range(20)]

    run(place, scene)


@pytest.mark.sqlite
def test_a_store_closes_while_its_log_is_being_emptied(path: Path) -> None:
    async def close_early() -> None:
        store = await SqliteStore.open(path)
        emptying = asyncio.create_task(store.empty_log(0.0))
        # The writer takes the order, and waits for its thread.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.wait_for(store.close(), 10)
        assert await emptying

    asyncio.run(close_early())


def test_each_message_that_is_added_edited_or_deleted_is_told(server: Server) -> None:
    said = [{"role": "USER", "content": f"turn {number}"} for number in range(3)]
    server.accepted(ADD_MESSAGES, sessionId="talk", messages=said)
    told = listening(server.app.state.database)
    added = server.accepted(ADD_MESSAGES, sessionId="talk", messages=said[:1])
    server.accepted(UPDATE_MESSAGE, id=added["messages"][0]["id"], content="edited")
    server.accepted(DELETE_MESSAGES, sessionId="talk", fromSequence=1, toSequence=2)
    of_messages = [(change.action, change.row["sequence"]) for change in told if change.table == "messages"]
    assert of_messages == [("insert", 4), ("update", 4), ("delete", 1), ("delete", 2)]
