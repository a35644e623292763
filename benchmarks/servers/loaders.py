"""Strawberry as well as it goes: DataLoaders that read a level with one statement, SQL cuts the pages, caches."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar

import aiosqlite
import orjson
import strawberry
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache

from benchmarks.servers.statements import (
    ADD_MESSAGE,
    DATABASE,
    MESSAGES,
    PRAGMAS,
    SESSIONS,
    TAKE_SEQUENCES,
    USER,
    USERS,
)

Item = TypeVar("Item")


class Database:
    """One connection to read, and one to write, which takes a transaction at a time."""

    async def open(self) -> None:
        self._reader, self._writer = [await aiosqlite.connect(DATABASE, isolation_level=None) for _ in range(2)]
        self._writing = asyncio.Lock()
        for pragma in PRAGMAS:
            await self._reader.execute_fetchall(pragma)
            await self._writer.execute_fetchall(pragma)

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()

    async def read(self, statement: str, **values: Any) -> list[Any]:
        return list(await self._reader.execute_fetchall(statement, values))

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[aiosqlite.Connection]:
        async with self._writing:
            await self._writer.execute_fetchall("BEGIN IMMEDIATE")
            yield self._writer
            await self._writer.execute_fetchall("COMMIT")


database = Database()


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class Edge(Generic[Item]):
    cursor: str
    node: Item


@strawberry.type
class Connection(Generic[Item]):
    edges: list[Edge[Item]]
    page_info: PageInfo


def page(nodes: list[tuple[int, Any]], first: int) -> Connection[Any]:
    """The connection of nodes with their keys; one more than `first` tells of a next page."""
    edges = [Edge(cursor=b64encode(b"%d" % key).decode(), node=node) for key, node in nodes[:first]]
    end = edges[-1].cursor if edges else None
    return Connection(edges=edges, page_info=PageInfo(has_next_page=len(nodes) > first, end_cursor=end))


class Loaders(dict[Any, DataLoader[int, Any]]):
    """An operation's loaders: one for each list and page size."""

    def __missing__(self, wanted: tuple[Any, int]) -> DataLoader[int, Any]:
        load, first = wanted
        self[wanted] = DataLoader(partial(load, first=first))
        return self[wanted]


async def pages(statement: Any, parents: list[int], first: int) -> dict[int, list[Any]]:
    rows: dict[int, list[Any]] = {parent: [] for parent in parents}
    for row in await database.read(statement, parents=orjson.dumps(parents).decode(), first=first):
        rows[row[0]].append(row)
    return rows


async def messages_of(sessions: list[int], *, first: int) -> list[Connection["Message"]]:
    found = await pages(MESSAGES, sessions, first)
    return [page([(row[2], Message.of(row[1:])) for row in rows], first) for rows in found.values()]


async def sessions_of(users: list[int], *, first: int) -> list[Connection["Session"]]:
    found = await pages(SESSIONS, users, first)
    return [page([(row[1], Session.of(row[1:])) for row in rows], first) for rows in found.values()]


@strawberry.enum
class MessageRole(Enum):
    USER = "USER"
    ASSISTANT = "ASSISTANT"


@strawberry.type
class Message:
    id: strawberry.ID
    sequence: int
    role: MessageRole
    content: str
    created_at: str

    @classmethod
    def of(cls, row: Any) -> "Message":
        key, sequence, role, content, created_at = row
        return cls(
            id=strawberry.ID(f"M{key}"),
            sequence=sequence,
            role=MessageRole(role),
            content=content,
            created_at=created_at,
        )


@strawberry.type
class Session:
    key: strawberry.Private[int]
    id: strawberry.ID
    session_id: str
    situation: str | None

    @classmethod
    def of(cls, row: Any) -> "Session":
        key, session_id, situation = row
        return cls(key=key, id=strawberry.ID(f"S{key}"), session_id=session_id, situation=situation)

    @strawberry.field
    async def messages(self, info: strawberry.Info, first: int = 20) -> Connection[Message]:
        return await info.context[messages_of, first].load(self.key)


@strawberry.type
class User:
    key: strawberry.Private[int]
    id: strawberry.ID
    user_id: str
    email: str | None
    name: str | None
    about: str | None
    created_at: str

    @classmethod
    def of(cls, row: Any) -> "User":
        key, user_id, email, name, about, created_at = row
        return cls(
            key=key,
            id=strawberry.ID(f"U{key}"),
            user_id=user_id,
            email=email,
            name=name,
            about=about,
            created_at=created_at,
        )

    @strawberry.field
    async def sessions(self, info: strawberry.Info, first: int = 20) -> Connection[Session]:
        return await info.context[sessions_of, first].load(self.key)


@strawberry.type
class Query:
    @strawberry.field
    async def user(self, user_id: str) -> User | None:
        rows = await database.read(USER, user_id=user_id)
        return User.of(rows[0]) if rows else None

    @strawberry.field
    async def users(self, first: int = 20, after: str | None = None) -> Connection[User]:
        rows = await database.read(USERS, first=first, after=None if after is None else int(b64decode(after)))
        return page([(row[0], User.of(row)) for row in rows], first)


@strawberry.input
class MessageInput:
    role: MessageRole
    content: str


@strawberry.input
class AddMessagesInput:
    session_id: str
    messages: list[MessageInput]
    form_memories: bool | None = None


@strawberry.type
class UserError:
    code: str
    message: str


@strawberry.type
class AddMessagesPayload:
    messages: list[Message]
    user_errors: list[UserError]


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def add_messages(self, input: AddMessagesInput) -> AddMessagesPayload:
        now, count = datetime.now(UTC).isoformat(), len(input.messages)
        added: list[Message] = []
        async with database.transaction() as connection:
            taken = {"count": count, "session_id": input.session_id}
            ((session, last),) = await connection.execute_fetchall(TAKE_SEQUENCES, taken)
            for sequence, message in enumerate(input.messages, last - count + 1):
                row = {"sequence": sequence, "role": message.role.value, "content": message.content, "created_at": now}
                ((key,),) = await connection.execute_fetchall(ADD_MESSAGE, {"session": session, **row})
                added.append(Message.of((key, *row.values())))
        return AddMessagesPayload(messages=added, user_errors=[])


class App(GraphQL[Loaders, None]):
    async def get_context(self, request: Any, response: Any) -> Loaders:
        return Loaders()


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    await database.open()
    yield
    await database.close()


extensions = [lambda: ParserCache(maxsize=100), lambda: ValidationCache(maxsize=100)]
endpoint = App(strawberry.Schema(Query, Mutation, extensions=extensions))
app = Starlette(routes=[Route("/graphql", endpoint)], lifespan=lifespan)
