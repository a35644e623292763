"""The store: opened by URL, written through transactions, and telling of what was committed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import ConstraintViolated, DatabaseProblem
from models.keys import user_key
from models.keyset import Slice, fetch_pages
from models.notice_log import KEPT, NoticeLog
from models.notices import MISSED, Notice, Seen
from models.rows import SessionRow, UserRow
from models.scope import Scope
from models.sessions import SESSIONS, session_by_key, session_table
from models.sort_texts import LAST
from models.sqlite.database import SqliteStore
from models.store import Store, Transaction, database_at, opened
from models.users import USERS, user_table
from models.values import Json, Time
from resolvers.operation_context import OperationContext
from resolvers.sessions import SESSION, session_row
from resolvers.times import Clock
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


def session(store: Store, session_id: str = "s") -> SessionRow:
    return session_row(OperationContext(store, Clock()), SESSION.new({"session_id": session_id}), NOW, {})


async def listening(store: Store) -> list[Notice]:
    told: list[Notice] = []
    await store.listen(told.extend)
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


PROJECT = Seen("default", None)


def test_what_was_committed_is_told_after_it_can_be_read(place: Place) -> None:
    async def scene(store: Store) -> None:
        readable: list[bool] = []
        told = await listening(store)
        await store.listen(lambda _: readable.append(True))
        row = session(store)

        async def create(write: Transaction) -> None:
            await session_table.insert(write, row)
            assert not told

        await store.write(create)
        assert told == [Notice("sessions", row["key"], row["nonce"], 0, None, PROJECT)]
        assert await session_by_key(store.reader, Scope(), row["key"]) is not None
        assert readable == [True]

    run(place, scene)


def test_a_change_is_told_with_who_could_see_the_row_before_and_after(place: Place) -> None:
    async def scene(store: Store) -> None:
        row = await store.write(lambda write: session_table.insert(write, session(store)))
        told = await listening(store)
        changes = {"user_key": b"u" * 16, "version": 2}
        owned = await store.write(lambda write: session_table.update(write, row, changes))
        deleted = await store.write(lambda write: session_table.update(write, owned, {"deleted_at": NOW, "version": 3}))
        await store.write(lambda write: session_table.delete(write, deleted))
        user = Seen("default", b"u" * 16)
        assert [(notice.before, notice.after) for notice in told] == [(PROJECT, user), (user, None)]

    run(place, scene)


def test_several_changes_of_a_row_are_told_as_one(place: Place) -> None:
    async def scene(store: Store) -> None:
        told = await listening(store)

        async def create_and_change(write: Transaction) -> None:
            row = await session_table.insert(write, session(store))
            await session_table.update(write, row, {"last_sequence": 7, "version": 2})
            gone = await session_table.insert(write, session(store, "gone"))
            await session_table.delete(write, gone)

        await store.write(create_and_change)
        assert [(notice.sequence, notice.before, notice.after) for notice in told] == [(7, None, PROJECT)]

    run(place, scene)


def test_what_was_undone_is_not_told(place: Place) -> None:
    async def scene(store: Store) -> None:
        told = await listening(store)
        kept = session(store, "kept")

        async def failing(write: Transaction) -> None:
            await session_table.insert(write, session(store, "gone"))
            raise ValueError

        async def insert_and_fail(write: Transaction) -> None:
            async with write.savepoint():
                await session_table.insert(write, session(store, "part"))
                raise ValueError("part")

        async def in_part(write: Transaction) -> None:
            await session_table.insert(write, kept)
            with pytest.raises(ValueError, match="part"):
                await insert_and_fail(write)

        # Both are carried out in one commit.
        answers = await asyncio.gather(store.write(failing), store.write(in_part), return_exceptions=True)
        assert isinstance(answers[0], ValueError)
        assert [notice.key for notice in told] == [kept["key"]]
        (page,) = await fetch_pages(store.reader, Scope(), SESSIONS, Slice(order="session_id"))
        assert [row["session_id"] for row in page.rows] == ["kept"]

    run(place, scene)


def test_who_no_longer_listens_is_told_nothing(place: Place) -> None:
    async def scene(store: Store) -> None:
        told: list[Notice] = []
        end = await store.listen(told.extend)
        end()
        await store.write(lambda write: session_table.insert(write, session(store)))
        assert told == []

    run(place, scene)


def test_a_listener_that_fails_undoes_nothing_and_keeps_nothing_from_the_others(place: Place) -> None:
    def failing(_: Any) -> None:
        raise RuntimeError

    async def scene(store: Store) -> None:
        await store.listen(failing)
        told = await listening(store)
        row = await store.write(lambda write: session_table.insert(write, session(store)))
        assert row["session_id"] == "s"
        assert len(told) == 1

    run(place, scene)


def test_a_process_is_told_of_the_commits_of_another_one(place: Place) -> None:
    async def scene(store: Store) -> None:
        async with opened(place.database) as other:
            told, told_itself = await listening(store), await listening(other)
            rows, last, ended = [session(store, f"s{n}") for n in range(20)], session(store, "last"), asyncio.Event()
            await store.listen(lambda notices: ended.set() if notices[-1].key == last["key"] else None)
            for row in rows:
                await other.write(lambda write, row=row: session_table.insert(write, row))
            assert [notice.key for notice in told_itself] == [row["key"] for row in rows]
            # The other one tells after the last commit, and what it tells is told once.
            await other.write(lambda write: session_table.insert(write, last))
            async with asyncio.timeout(30):
                await ended.wait()
            assert [notice.key for notice in told] == [row["key"] for row in (*rows, last)]

    run(place, scene)


def test_nothing_is_missed_after_a_long_time_without_commits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.notice_log.KEPT", 2.0)
    monkeypatch.setattr("models.postgres.telling.LOOK_EVERY", 0.1)

    async def scene(store: Store) -> None:
        async with opened(place.database) as other:
            told, ended = await listening(store), asyncio.Event()
            await store.listen(lambda _: ended.set())
            await asyncio.sleep(1.5)
            row = session(store)
            await other.write(lambda write: session_table.insert(write, row))
            async with asyncio.timeout(30):
                await ended.wait()
            assert [notice.key for notice in told] == [row["key"]]

    run(place, scene)


def test_who_has_not_looked_for_long_is_told_that_notices_may_be_missing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(store: Store) -> None:
        log = NoticeLog()
        await log.begin(store.reader)
        assert await log.read(store.reader) == []
        monkeypatch.setattr("models.notice_log.monotonic", lambda: time.monotonic() + KEPT)
        assert await log.read(store.reader) == [MISSED]
        assert await log.read(store.reader) == []

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


def test_edits_and_deletions_of_messages_are_told_each_and_additions_with_their_session(server: Server) -> None:
    said = [{"role": "USER", "content": f"turn {number}"} for number in range(3)]
    server.accepted(ADD_MESSAGES, sessionId="talk", messages=said)
    told = server.host.wait_for(listening(server.app.state.database))
    added = server.accepted(ADD_MESSAGES, sessionId="talk", messages=said[:1])
    server.accepted(UPDATE_MESSAGE, id=added["messages"][0]["id"], content="edited")
    server.accepted(DELETE_MESSAGES, sessionId="talk", fromSequence=1, toSequence=2)
    shown = [(notice.table, notice.sequence, notice.after is not None) for notice in told]
    assert shown == [("sessions", 4, True), ("messages", 4, True), ("messages", 1, False), ("messages", 2, False)]
