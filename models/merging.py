"""Keeps once what two users have both, before the rows of one of them, `gone`, move to the other one, `kept`."""

from collections.abc import Sequence
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, case, delete, exists, func, insert, select, update

from models.expressions import CrossJoin, Parents, each_of, in_project, parent_key, parents
from models.formation import SOURCES_OF_MEMORY, is_open
from models.moving import DOCUMENTS, MEMORIES, Owned, RowKeys, derived_keys, keys_in, new_key, rekey
from models.rows import UserRow
from models.scope import Scope
from models.statements import Keyed, Statement
from models.store import Reader, Transaction
from models.tables import memories, memory_sources
from models.values import Time


class SameId(TypedDict):
    """The position of a row whose own id the other user has given, too; `is_same` is 1 if both say the same."""

    position: int
    is_same: int


class AlikeRow(TypedDict):
    """A memory that says now what one of the other user says."""

    fingerprint: bytes
    about_folded: str | None
    key: bytes
    memory_id: str | None
    method: str
    created_at: Time
    is_kept: int


class About(TypedDict):
    about_folded: str | None


_gone, _kept = memories.alias("gone"), memories.alias("kept")
_of_gone: ColumnElement[Any] = bindparam("gone")
_of_kept: ColumnElement[Any] = bindparam("kept")
_is_there = memories.c.deleted_at.is_(None)


def _same_speaker(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    return one.c.about_folded.is_not_distinct_from(other.c.about_folded)


def _both_gave(owned: Owned, *said: str) -> Statement[SameId]:
    one, other = owned.table.alias("one"), owned.table.alias("other")
    is_same = and_(*(one.c[name].is_not_distinct_from(other.c[name]) for name in said))
    return Statement(
        select(parents.c.key.label("position"), case((is_same, 1), else_=0).label("is_same"))
        .select_from(CrossJoin(CrossJoin(parents, one), other))
        .where(one.c.key == parent_key, other.c.key == new_key),
        SameId,
    )


_same_ids = {
    MEMORIES: _both_gave(MEMORIES, "kind", "content", "about_folded"),
    DOCUMENTS: _both_gave(DOCUMENTS, "title", "content"),
}
_named = select(parent_key).select_from(parents)
_free_ids = {
    owned: Statement(update(owned.table).where(owned.table.c.key.in_(_named)).values({owned.own_id: bindparam("none")}))
    for owned in (MEMORIES, DOCUMENTS)
}
_remove = {
    owned: Statement(delete(owned.table).where(owned.table.c.key.in_(_named))) for owned in (MEMORIES, DOCUMENTS)
}

_moved, _held = memory_sources.alias("moved"), memory_sources.alias("held")
_place = (_moved.c.session_key, _moved.c.sequence, _moved.c.document_key)
_more = (
    select(
        new_key.label("memory_key"),
        *_place,
        func.row_number()
        .over(partition_by=new_key, order_by=[func.min(parents.c.key), func.min(_moved.c.position)])
        .label("number"),
    )
    .select_from(CrossJoin(parents, _moved))
    .where(
        _moved.c.memory_key == parent_key,
        ~exists(
            select(_held.c.position).where(
                _held.c.memory_key == new_key,
                *(_held.c[column.name].is_not_distinct_from(column) for column in _place),
            )
        ),
    )
    .group_by(new_key, *_place)
    .subquery("more")
)


def _of_held(value: ColumnElement[int]) -> ColumnElement[int]:
    return select(value).where(_held.c.memory_key == _more.c.memory_key).scalar_subquery()


_take_sources = Statement(
    insert(memory_sources).from_select(
        ["memory_key", "position", "session_key", "sequence", "document_key"],
        select(
            _more.c.memory_key,
            _more.c.number + _of_held(func.coalesce(func.max(_held.c.position), -1)),
            *(_more.c[column.name] for column in _place),
        ).where(_more.c.number + _of_held(func.count()) <= SOURCES_OF_MEMORY),
    )
)

_said_now = [
    condition
    for rows, owner in ((_gone, _of_gone), (_kept, _of_kept))
    for condition in (
        rows.c.user_key == owner,
        rows.c.deleted_at.is_(None),
        rows.c.kind != "SUMMARY",
        is_open(rows),
        in_project(rows),
    )
]
_alike = [
    Statement(
        select(
            _gone.c.fingerprint,
            _gone.c.about_folded,
            rows.c.key,
            rows.c.memory_id,
            rows.c.method,
            rows.c.created_at,
            case((rows.c.user_key == _of_kept, 1), else_=0).label("is_kept"),
        )
        .distinct()
        .select_from(CrossJoin(_gone, _kept))
        .where(*_said_now, _kept.c.fingerprint == _gone.c.fingerprint, _same_speaker(_kept, _gone))
        .order_by(rows.c.created_at, rows.c.key),
        AlikeRow,
    )
    for rows in (_gone, _kept)
]
_on_a_subject_of_both = Statement(
    select(_gone.c.key)
    .where(
        _gone.c.user_key == _of_gone,
        _gone.c.method == "RULE",
        _gone.c.subject.is_not(None),
        _gone.c.deleted_at.is_(None),
        in_project(_gone),
        exists(
            select(_kept.c.key).where(
                _kept.c.subject == _gone.c.subject,
                _kept.c.user_key == _of_kept,
                _same_speaker(_kept, _gone),
                _kept.c.method == "RULE",
                _kept.c.deleted_at.is_(None),
                in_project(_kept),
            )
        ),
    )
    .order_by(func.coalesce(_gone.c.valid_from, _gone.c.created_at), _gone.c.created_at, _gone.c.key),
    Keyed,
)
_summarised = Statement(
    select(memories.c.about_folded)
    .distinct()
    .where(
        memories.c.user_key == _of_gone,
        memories.c.session_key.is_(None),
        memories.c.kind == "SUMMARY",
        memories.c.superseded_from.is_(None),
        _is_there,
        in_project(memories),
    ),
    About,
)
_make_own = Statement(
    update(memories)
    .where(
        memories.c.user_key == _of_gone,
        memories.c.about_folded.in_(each_of("names")),
        memories.c.method != "DECLARED",
        memories.c.kind != "SUMMARY",
        in_project(memories),
    )
    .values(about=bindparam("none"), about_folded=bindparam("none"))
)


def _users(scope: Scope, gone: UserRow, kept: UserRow) -> dict[str, Any]:
    return {**scope.values, "gone": gone["key"], "kept": kept["key"]}


async def merge_own_ids(write: Transaction, scope: Scope, owned: Owned, gone: UserRow, kept: UserRow) -> int:
    """Gives the rows with own ids the keys that they have with `kept`; returns the number of rows removed.

    If `kept` has given an id, too, its row keeps it: one that says the same is removed, another one has no id any more.
    """
    rows = await derived_keys(write, scope, owned, gone, kept)
    found = await write.fetch(_same_ids[owned], keys_in(rows), slowly=True)
    both = {row["position"]: bool(row["is_same"]) for row in found}
    same = [rows[position] for position, is_same in both.items() if is_same]
    others = [rows[position].key for position, is_same in both.items() if not is_same]
    await unite(write, owned, same)
    await write.execute(_free_ids[owned], {**Parents(others).values, "none": None}, slowly=True)
    await rekey(write, owned, [row for position, row in enumerate(rows) if position not in both])
    return len(same)


async def unite(write: Transaction, owned: Owned, rows: Sequence[RowKeys]) -> None:
    """Removes rows that others take the place of, which get their sources and what names them."""
    if not rows:
        return
    keys = keys_in(rows)
    if owned is MEMORIES:
        await write.execute(_take_sources, keys, slowly=True)
    for statement in owned.relink:
        await write.execute(statement, keys, slowly=True)
    await write.execute(_remove[owned], keys, slowly=True)


async def alike_memories(read: Reader, scope: Scope, gone: UserRow, kept: UserRow, now: Time) -> list[AlikeRow]:
    """The memories of both users that say now what one of the other user says, apart from summaries: the oldest first,
    those of `gone` before those of `kept`."""
    values = {**_users(scope, gone, kept), "now": now}
    return [row for statement in _alike for row in await read.fetch(statement, values, slowly=True)]


async def contested_memories(read: Reader, scope: Scope, gone: UserRow, kept: UserRow) -> list[bytes]:
    """The keys of memories that rules formed on subjects of both users, by the time from which they hold."""
    return [row["key"] for row in await read.fetch(_on_a_subject_of_both, _users(scope, gone, kept), slowly=True)]


async def summarised_speakers(read: Reader, scope: Scope, user: UserRow) -> list[str | None]:
    """Whom the standing summaries of a user are about; None is the user."""
    rows = await read.fetch(_summarised, {**scope.values, "gone": user["key"]}, slowly=True)
    return [row["about_folded"] for row in rows]


async def make_own(write: Transaction, scope: Scope, user: UserRow, names: Sequence[str]) -> None:
    """Formed memories about one of these (folded) names are about the user."""
    values = {**scope.values, "gone": user["key"], "names": list(names), "none": None}
    await write.execute(_make_own, values, slowly=True)
