"""Keeps once what two users have both, before the rows of one of them, `gone`, move to the other one, `kept`."""

from collections.abc import Sequence
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, FromClause, bindparam, case, delete, exists, func, insert, or_, select, update

from models.expressions import CrossJoin, Parents, Unindexed, each_of, in_checked_project, parent_key, parents
from models.formation import SOURCES_OF_MEMORY
from models.memories import NEUTRAL
from models.moving import DOCUMENTS, MEMORIES, Movable, RowKeys, derived_keys, keys_in, new_key, rekey
from models.rows import UserRow
from models.scope import Scope
from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import documents, memories, memory_sources
from models.values import Time
from models.watched import WATCHED, Watched, remove_watched


class Position(TypedDict):
    position: int


class Replaced(TypedDict):
    """The key of a row, and that of the one that takes its place."""

    key: bytes
    new_key: bytes


class OnSubject(TypedDict):
    """A memory that rules formed on a subject on which they have formed memories of both users."""

    key: bytes
    subject: str
    about_folded: str | None
    content: str
    fingerprint: bytes
    since: Time
    superseded_from: Time | None


class StandingSummary(TypedDict):
    """A summary of a user apart from any session that is not superseded."""

    key: bytes
    about_folded: str | None
    created_at: Time


_of_gone: ColumnElement[Any] = bindparam("gone")
_of_kept: ColumnElement[Any] = bindparam("kept")


def _since(rows: FromClause) -> ColumnElement[Any]:
    return func.coalesce(rows.c.valid_from, rows.c.created_at)


def _same_speaker(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    return one.c.about_folded.is_not_distinct_from(other.c.about_folded)


# Own ids

_taken = {
    movable: Statement(
        select(parents.c.key.label("position"))
        .select_from(CrossJoin(parents, movable.table))
        .where(movable.table.c.key == new_key),
        Position,
    )
    for movable in (MEMORIES, DOCUMENTS)
}
_named = select(parent_key).select_from(parents)
_free_ids = {
    movable: Statement(
        update(movable.table).where(movable.table.c.key.in_(_named)).values({movable.own_id: bindparam("none")})
    )
    for movable in (MEMORIES, DOCUMENTS)
}


async def merge_own_ids(write: Transaction, scope: Scope, movable: Movable, gone: UserRow, kept: UserRow) -> None:
    """Gives the rows with own ids the keys that they have with `kept`. An id that `kept` has given, too, stays with the
    row of `kept`; the other row has none any more."""
    rows = await derived_keys(write, scope, movable, gone, kept)
    taken = {row["position"] for row in await write.fetch(_taken[movable], keys_in(rows), slowly=True)}
    freed = Parents([rows[position].key for position in sorted(taken)])
    await write.execute(_free_ids[movable], {**freed.values, "none": None}, slowly=True)
    await rekey(write, movable, [row for position, row in enumerate(rows) if position not in taken])


# The same objects

_remove_memories = Statement(delete(memories).where(memories.c.key.in_(_named)).returning(*WATCHED), Watched)
_remove_documents = Statement(delete(documents).where(documents.c.key.in_(_named)))

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
                # One message may be the source of many memories, and of every document the session is null.
                *(Unindexed(_held.c[column.name]).is_not_distinct_from(column) for column in _place),
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


async def _unite(write: Transaction, movable: Movable, found: Sequence[Replaced]) -> int:
    """Removes rows that others take the place of, which get their sources and what names them; returns their number."""
    if found:
        keys = keys_in([RowKeys(row["key"], row["new_key"]) for row in found])
        sources = [_take_sources] if movable is MEMORIES else []
        for statement in (*sources, *movable.relink):
            await write.execute(statement, keys, slowly=True)
        if movable is MEMORIES:
            await remove_watched(write, _remove_memories, keys, slowly=True)
        else:
            await write.execute(_remove_documents, keys, slowly=True)
    return len(found)


_one, _other = documents.alias("one"), documents.alias("other")
_same_documents = Statement(
    select(_one.c.key, _other.c.key.label("new_key"))
    .select_from(CrossJoin(_one, _other))
    .where(
        _one.c.user_key == _of_gone,
        _one.c.document_id.is_not(None),
        in_checked_project(_one),
        _other.c.user_key == _of_kept,
        *(_other.c[name] == _one.c[name] for name in ("document_id", "title", "content", "metadata")),
    ),
    Replaced,
)


def _of_both(column: str) -> tuple[FromClause, list[ColumnElement[bool]]]:
    """The memories of both users whose value of an indexed column, and whose speaker, the other user has, too.

    It takes each such value once: with a join of the rows, equal memories would meet each other.
    """
    gone, kept = memories.alias("gone"), memories.alias("kept")
    has_kept = exists(
        select(kept.c.key).where(
            kept.c[column] == gone.c[column], kept.c.user_key == _of_kept, _same_speaker(kept, gone)
        )
    )
    both = (
        select(gone.c[column], gone.c.about_folded)
        .distinct()
        .where(gone.c.user_key == _of_gone, gone.c[column].is_not(None), in_checked_project(gone), has_kept)
        .subquery("both")
    )
    return CrossJoin(both, memories), [
        memories.c[column] == both.c[column],
        memories.c.user_key.in_((_of_gone, _of_kept)),
        _same_speaker(memories, both),
        memories.c.deleted_at.is_(None),
        in_checked_project(memories),
    ]


_is_given = or_(memories.c.method == "DECLARED", memories.c.corrected_at.is_not(None))
_says = [
    *(memories.c[name] for name in ("fingerprint", "about_folded", "kind", "metadata")),
    *(memories.c[name] for name in ("valid_until", "expires_at", "superseded_from")),
    # What was formed of several statements begins with the first one, and has a rating that nobody gave it.
    *(case((_is_given, memories.c[name])) for name in ("rating", "valid_from")),
]
_best_first = [
    memories.c.method != "DECLARED",
    memories.c.memory_id.is_(None),
    func.coalesce(memories.c.rating, NEUTRAL).desc(),
    _since(memories),
    memories.c.created_at,
    memories.c.key,
]


def _best(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.first_value(column).over(partition_by=_says, order_by=_best_first)


_rows, _conditions = _of_both("fingerprint")
_compared = (
    select(
        *(memories.c.key, memories.c.memory_id, memories.c.user_key),
        _best(memories.c.key).label("new_key"),
        _best(memories.c.user_key).label("best_user"),
    )
    .select_from(_rows)
    .where(
        *_conditions,
        memories.c.kind != "SUMMARY",
        # A declared memory of a session is deleted with it.
        or_(~_is_given, memories.c.session_key.is_(None)),
    )
    .subquery("compared")
)
_same_memories = Statement(
    select(_compared.c.key, _compared.c.new_key).where(
        # What one user has twice was so before, and stays.
        _compared.c.memory_id.is_(None),
        _compared.c.user_key != _compared.c.best_user,
    ),
    Replaced,
)


def _users(scope: Scope, gone: UserRow, kept: UserRow) -> dict[str, Any]:
    return {**scope.values, "gone": gone["key"], "kept": kept["key"]}


async def unite_documents(write: Transaction, scope: Scope, gone: UserRow, kept: UserRow) -> int:
    """Removes the documents of `gone` that `kept` has with the same id, title, content and metadata; returns their
    number."""
    found = await write.fetch(_same_documents, _users(scope, gone, kept), slowly=True)
    return await _unite(write, DOCUMENTS, found)


async def unite_memories(write: Transaction, scope: Scope, gone: UserRow, kept: UserRow) -> int:
    """Removes memories that say nothing that one of the other user does not say; returns their number.

    Declared ones have to be equal in all that the application gave, and belong to no session. Formed ones, unless the
    application has changed them, are as good as any other one with their text and kind that ends when they do.
    """
    found = await write.fetch(_same_memories, _users(scope, gone, kept), slowly=True)
    return await _unite(write, MEMORIES, found)


# What supersedes what

_rows, _conditions = _of_both("subject")
_on_subjects = Statement(
    select(
        *(memories.c[name] for name in ("key", "subject", "about_folded", "content", "fingerprint")),
        _since(memories).label("since"),
        memories.c.superseded_from,
    )
    .select_from(_rows)
    .where(*_conditions, memories.c.method == "RULE")
    .order_by(
        *(memories.c.subject, memories.c.about_folded),
        *(_since(memories), memories.c.created_at, memories.c.key),
    ),
    OnSubject,
)
_summaries = Statement(
    select(memories.c.key, memories.c.about_folded, memories.c.created_at)
    .where(
        memories.c.user_key == bindparam("user"),
        memories.c.session_key.is_(None),
        memories.c.kind == "SUMMARY",
        memories.c.superseded_from.is_(None),
        memories.c.deleted_at.is_(None),
        in_checked_project(memories),
    )
    .order_by(memories.c.created_at, memories.c.key),
    StandingSummary,
)
_newer = memories.alias("newer")
_end = Statement(
    update(memories)
    .where(memories.c.key == parent_key, _newer.c.key == new_key)
    .values(
        superseded_by=_newer.c.key,
        superseded_from=_since(_newer),
        # Unless the application has said itself until when it was true.
        valid_until=case(
            (
                or_(memories.c.valid_until.is_(None), memories.c.valid_until == memories.c.superseded_from),
                _since(_newer),
            ),
            else_=memories.c.valid_until,
        ),
        updated_at=bindparam("now"),
        version=memories.c.version + 1,
    )
    .returning(*WATCHED),
    Watched,
)
_make_own = Statement(
    update(memories)
    .where(
        memories.c.user_key == _of_gone,
        memories.c.about_folded.in_(each_of("names")),
        memories.c.method != "DECLARED",
        memories.c.kind != "SUMMARY",
        in_checked_project(memories),
    )
    .values(about=bindparam("none"), about_folded=bindparam("none"))
)


async def memories_on_subjects(read: Reader, scope: Scope, gone: UserRow, kept: UserRow) -> list[OnSubject]:
    """The memories that rules formed on subjects of both users: by subject, and on each by the time from which they
    hold."""
    return await read.fetch(_on_subjects, _users(scope, gone, kept), slowly=True)


async def summaries_of_user(read: Reader, scope: Scope, user: UserRow) -> list[StandingSummary]:
    """The standing summaries of a user, oldest first."""
    return await read.fetch(_summaries, {**scope.values, "user": user["key"]}, slowly=True)


async def end_memories(write: Transaction, ended: Sequence[RowKeys], now: Time) -> None:
    """Ends each of these memories when the one that is named beside it begins."""
    if ended:
        for row in await write.fetch(_end, {**keys_in(ended), "now": now}, slowly=True):
            write.changed(memories.name, row, row)


async def make_own(write: Transaction, scope: Scope, user: UserRow, names: Sequence[str]) -> None:
    """Formed memories about one of these (folded) names are about the user."""
    values = {**scope.values, "gone": user["key"], "names": list(names), "none": None}
    await write.execute(_make_own, values, slowly=True)
