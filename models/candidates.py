"""Candidates of a search: the rows that the full-text index finds, best first, and the turns near them.

Scope and filters are part of every statement, so that other users' texts never crowd out the matches. The index itself
is the database's own (see `models.full_text`).
"""

from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, FromClause, Integer, Subquery, bindparam, exists, literal, select

from models.expressions import CrossJoin, Each, ListOf
from models.full_text import HIGHEST, Bound, FullText, Look, Part
from models.scope import Scope
from models.search_kinds import Conversation, Receive, SearchKind, Within, number_of
from models.statements import NoRow, Statement
from models.store import Reader

NEAR = 2
"""Turns that are read before and after a matching message."""


def _between(first: Bound, last: Bound) -> dict[str, Any]:
    """The parameters of `FullText.hits` for its bounds; the first bound is excluded."""
    return {
        "from_worth": first.worth,
        "from_number": first.number,
        "to_worth": last.worth,
        "to_number": last.number,
    }


numbers = Each(bindparam("numbers", type_=ListOf(Integer()))).table_valued("value", name="numbers")


def joined(kind: SearchKind, *before: FromClause) -> FromClause:
    """The tables in which rows of a kind are looked up, one by one: these first, then its own."""
    owned = () if kind.owned is kind.table else (kind.owned,)
    return reduce(CrossJoin, (*before, kind.table, *owned))


@lru_cache(maxsize=64)
def _tail(text: FullText, kind: SearchKind, whose: tuple[str, ...]) -> Statement[NoRow]:
    # By number, even if there is an index by owner: they are the newest of millions.
    recent = kind.table.alias("recent")
    number = number_of(recent)
    conditions = [*kind.visible(whose), text.waits(recent), number_of(kind.table) == number]
    columns = (number.label("number"), kind.words.label("text"))
    return Statement(select(*columns).select_from(joined(kind, recent)).where(*conditions))


async def read_tail(read: Reader, scope: Scope, kind: SearchKind, within: Within, part: Part, receive: Receive) -> None:
    """Numbers and texts of the rows of a scope that were not indexed yet when `part` was read."""
    statement = _tail(read.full_text, kind, within.whose)
    await read.stream(statement, {**scope.values, **within.bound, **part.values}, receive)


class Found(TypedDict):
    """A row found in the index."""

    number: int


class Candidate(Found):
    worth: int


@lru_cache(maxsize=256)
def _candidates(
    text: FullText, hit: Subquery, kind: SearchKind, whose: tuple[str, ...], given: tuple[str, ...]
) -> Statement[Candidate]:
    talk = kind.conversation
    conditions = [*kind.visible(whose), number_of(kind.table) == hit.c.number]
    if given and talk is not None:
        near = kind.table.alias("near")
        of_near = [kind.filters[name](near) for name in given]
        conditions.append(exists(select(literal(1)).where(*_are_near(talk, near), *of_near)))
    else:
        conditions += [kind.filters[name](kind.table) for name in given]
    limit = bindparam("limit", type_=Integer)
    clause = select(hit.c.number, hit.c.worth).select_from(joined(kind, hit)).where(*conditions)
    return Statement(clause.order_by(*text.in_order(hit)).limit(limit), Candidate, spills=True)


def _turn_in(talk: Conversation, rows: FromClause) -> tuple[ColumnElement[bytes], ColumnElement[int]]:
    """The conversation and the position of a turn, with its table under an alias."""
    key, position = talk.key.name, talk.position.name
    return rows.c[key], rows.c[position]


def _are_near(talk: Conversation, near: FromClause) -> list[ColumnElement[bool]]:
    """The conditions that a turn, with its table under an alias, is near another and not deleted."""
    key, position = _turn_in(talk, near)
    return [
        key == talk.key,
        position.between(talk.position - NEAR, talk.position + NEAR),
        position > talk.floor,
    ]


async def candidates(
    read: Reader,
    scope: Scope,
    kind: SearchKind,
    within: Within,
    look: Look,
    first: Bound,
    last: Bound,
    limit: int,
) -> list[Bound]:
    """The best rows between two bounds (the first excluded, the last included) that pass the filters; for turns also
    those near one that passes."""
    text = read.full_text
    statement = _candidates(text, text.hits(kind, look.part), kind, within.whose, within.given)
    bound = {**scope.values, **within.bound, **text.values_of(look), **_between(first, last), "limit": limit}
    rows = await read.fetch(statement, bound, slowly=True)
    return [Bound(row["worth"], row["number"]) for row in rows]


def _near_numbers(kind: SearchKind, talk: Conversation) -> tuple[FromClause, list[ColumnElement[bool]]]:
    """The tables, and the conditions, in which the turns near those of `numbers` are looked up."""
    own = kind.table.alias("own")
    key, position = _turn_in(talk, own)
    conditions = [
        number_of(own) == numbers.c.value,
        talk.table.c.key == key,
        talk.key == key,
        talk.position.between(position - NEAR, position + NEAR),
    ]
    return reduce(CrossJoin, (numbers, own, talk.table, kind.table)), conditions


@lru_cache(maxsize=64)
def _around(kind: SearchKind, talk: Conversation, whose: tuple[str, ...]) -> Statement[Found]:
    tables, near = _near_numbers(kind, talk)
    conditions = [*near, *kind.visible(whose)]
    return Statement(
        select(number_of(kind.table).label("number")).distinct().select_from(tables).where(*conditions), Found
    )


async def around(read: Reader, scope: Scope, kind: SearchKind, within: Within, found: Sequence[int]) -> Sequence[int]:
    """The numbers of these rows, and of the turns shortly before and after them."""
    if kind.conversation is None:
        return found
    bound = {**scope.values, **within.bound, "numbers": list(found)}
    statement = _around(kind, kind.conversation, within.whose)
    return [row["number"] for row in await read.fetch(statement, bound, slowly=True)]


@lru_cache(maxsize=64)
def _near_better(hit: Subquery, kind: SearchKind, talk: Conversation, whose: tuple[str, ...]) -> Statement[Found]:
    tables, near = _near_numbers(kind, talk)
    conditions = [*near, hit.c.number == number_of(kind.table), *kind.visible(whose)]
    clause = select(numbers.c.value.label("number")).distinct().select_from(CrossJoin(tables, hit)).where(*conditions)
    return Statement(clause, Found, spills=True)


async def near_better(
    read: Reader, scope: Scope, kind: SearchKind, within: Within, look: Look, last: Bound, found: Sequence[int]
) -> set[int]:
    """Those of these turns that are near a candidate up to a bound (included): they were found with it."""
    if kind.conversation is None:
        return set()
    text = read.full_text
    statement = _near_better(text.hits(kind, look.part), kind, kind.conversation, within.whose)
    bound = {**scope.values, **within.bound, **text.values_of(look), **_between(HIGHEST, last), "numbers": list(found)}
    return {row["number"] for row in await read.fetch(statement, bound, slowly=True)}
