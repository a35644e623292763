"""Strawberry as its documentation shows it: ORM rows, a query for each parent, relay.ListConnection slices lists."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import strawberry
from sqlalchemy import ForeignKey, create_engine, event, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from strawberry import relay
from strawberry.asgi import GraphQL

from benchmarks.servers.statements import DATABASE, PRAGMAS

engine = create_engine(f"sqlite:///{DATABASE}")
new_session = sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine, "connect")
def set_pragmas(connection: Any, _: Any) -> None:
    for pragma in PRAGMAS:
        connection.cursor().execute(pragma)


class Base(DeclarativeBase):
    pass


class UserRow(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    email: Mapped[str | None]
    name: Mapped[str | None]
    about: Mapped[str | None]
    created_at: Mapped[str]


class SessionRow(Base):
    __tablename__ = "sessions"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    situation: Mapped[str | None]
    created_at: Mapped[str]
    last_sequence: Mapped[int]


class MessageRow(Base):
    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id"))
    sequence: Mapped[int]
    role: Mapped[str]
    content: Mapped[str]
    created_at: Mapped[str]


def rows_of(statement: Any) -> list[Any]:
    with new_session() as session:
        return list(session.scalars(statement))


@strawberry.enum
class MessageRole(Enum):
    USER = "USER"
    ASSISTANT = "ASSISTANT"


@strawberry.type
class Message(relay.Node):
    key: relay.NodeID[int]
    sequence: int
    role: MessageRole
    content: str
    created_at: str

    @classmethod
    def of(cls, row: MessageRow) -> "Message":
        role = MessageRole(row.role)
        return cls(key=row.id, sequence=row.sequence, role=role, content=row.content, created_at=row.created_at)


@strawberry.type
class Session(relay.Node):
    key: relay.NodeID[int]
    session_id: str
    situation: str | None

    @relay.connection(relay.ListConnection[Message])
    def messages(self) -> Iterable[Message]:
        statement = select(MessageRow).where(MessageRow.session_id == self.key).order_by(MessageRow.sequence)
        return [Message.of(row) for row in rows_of(statement)]


@strawberry.type
class User(relay.Node):
    key: relay.NodeID[int]
    user_id: str
    email: str | None
    name: str | None
    about: str | None
    created_at: str

    @classmethod
    def of(cls, row: UserRow) -> "User":
        return cls(
            key=row.id,
            user_id=row.user_id,
            email=row.email,
            name=row.name,
            about=row.about,
            created_at=row.created_at,
        )

    @relay.connection(relay.ListConnection[Session])
    def sessions(self) -> Iterable[Session]:
        statement = select(SessionRow).where(SessionRow.user_id == self.key).order_by(SessionRow.id.desc())
        rows = rows_of(statement)
        return [Session(key=row.id, session_id=row.session_id, situation=row.situation) for row in rows]


@strawberry.type
class Query:
    @strawberry.field
    def user(self, user_id: str) -> User | None:
        rows = rows_of(select(UserRow).where(UserRow.user_id == user_id))
        return User.of(rows[0]) if rows else None

    @relay.connection(relay.ListConnection[User])
    def users(self) -> Iterable[User]:
        return [User.of(row) for row in rows_of(select(UserRow).order_by(UserRow.id.desc()))]


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
    def add_messages(self, input: AddMessagesInput) -> AddMessagesPayload:
        now = datetime.now(UTC).isoformat()
        with new_session.begin() as session:
            count = len(input.messages)
            parent, last = (
                session.execute(
                    update(SessionRow)
                    .where(SessionRow.session_id == input.session_id)
                    .values(last_sequence=SessionRow.last_sequence + count)
                    .returning(SessionRow.id, SessionRow.last_sequence)
                )
            ).one()
            rows = [
                MessageRow(
                    session_id=parent,
                    sequence=sequence,
                    role=message.role.value,
                    content=message.content,
                    created_at=now,
                )
                for sequence, message in enumerate(input.messages, last - count + 1)
            ]
            session.add_all(rows)
        return AddMessagesPayload(messages=[Message.of(row) for row in rows], user_errors=[])


app = GraphQL(strawberry.Schema(Query, Mutation))
