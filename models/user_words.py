"""The words by which users are found: those of their ids, names and e-mail addresses.

A table has a row for each word of a user, so that an index finds all words with the same beginning.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypedDict
from unicodedata import category

from sqlalchemy import ColumnElement, FromClause, Integer, bindparam, delete, exists, func, insert, not_, select

from models.columns import Key
from models.expressions import each_of, in_project
from models.rows import UserRow
from models.scope import Scope
from models.sort_texts import LAST
from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import user_words
from models.words import folded

WORD_CHARACTERS = 64
"""Characters of a word by which it is found."""

LARGEST_WORDS = 200
"""Words by which one user is found."""

FOUND_BY = ("name", "first_name", "last_name", "email", "user_id")
"""The columns whose words a user is found by."""


class Beginning(TypedDict):
    """A beginning of words, and the number of words in the project that have it, up to a limit."""

    word: str
    count: int


def words_of(texts: Iterable[str | None]) -> list[str]:
    """The different words of texts, folded and cut, in their order: runs of letters, digits and marks."""
    words = (word[:WORD_CHARACTERS] for text in texts if text for word in _split(folded(text)))
    return list(dict.fromkeys(words))


def _split(text: str) -> list[str]:
    return "".join(char if category(char)[0] in "LMN" else " " for char in text).split()


_user, _project = bindparam("user", type_=Key), bindparam("project", type_=user_words.c.project.type)
_given = each_of("words").subquery("given")
_add = Statement(
    insert(user_words).from_select(["user_key", "word", "project"], select(_user, _given.c.value, _project))
)
_remove = Statement(delete(user_words).where(user_words.c.user_key == _user))


async def add_words(write: Transaction, user: UserRow) -> None:
    """Stores the words of a new user."""
    words = list(islice(words_of(user[name] for name in FOUND_BY), LARGEST_WORDS))
    await write.execute(_add, {"user": user["key"], "project": user["project"], "words": words})


async def replace_words(write: Transaction, user: UserRow) -> None:
    """Stores the words of a user that has changed."""
    await write.execute(_remove, {"user": user["key"]})
    await add_words(write, user)


def _begins(words: FromClause, beginning: ColumnElement[str]) -> ColumnElement[bool]:
    return (words.c.word >= beginning) & (words.c.word < beginning.concat(LAST))


def _has_all(user: ColumnElement[bytes], other: FromClause) -> ColumnElement[bool]:
    """The condition that each of `words` is the beginning of a word of the user; `other` are words of that user."""
    asked = each_of("words").subquery("asked")
    word = select(other.c.word).where(other.c.user_key == user, _begins(other, asked.c.value))
    return not_(exists(select(asked.c.value).where(not_(exists(word.correlate_except(other))))))


def has_words(rows: FromClause) -> ColumnElement[bool]:
    """The condition that each of `words` is the beginning of a word of the user."""
    return _has_all(rows.c.key, user_words.alias("own"))


def is_among(rows: FromClause) -> ColumnElement[bool]:
    """The same condition, by the index of the project's words: `word` is one of `words`, the rarest."""
    word = bindparam("word", type_=user_words.c.word.type)
    found = (
        in_project(user_words),
        _begins(user_words, word),
        _has_all(user_words.c.user_key, user_words.alias("own")),
    )
    return rows.c.key.in_(select(user_words.c.user_key).where(*found))


_some = (
    select(user_words.c.user_key)
    .where(in_project(user_words), _begins(user_words, _given.c.value))
    .limit(bindparam("most", type_=Integer))
    .correlate(_given)
    .subquery()
)
_counts = Statement(
    select(
        _given.c.value.label("word"),
        select(func.count()).select_from(_some).correlate(_given).scalar_subquery().label("count"),
    ),
    Beginning,
)


async def count_beginnings(read: Reader, scope: Scope, words: Sequence[str], most: int) -> list[Beginning]:
    """Counts the words of the project that begin with each of these, up to a limit; the longest of these come first."""
    rows = await read.fetch(_counts, {**scope.values, "words": words, "most": most}, slowly=True)
    return sorted(rows, key=lambda row: -len(row["word"]))
