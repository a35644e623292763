"""Finds in the text of a statement what Citus would refuse: see `models.distribution`.

It takes a statement apart into its SELECTs by their parentheses, and looks at the names of tables and of their columns,
which statements always write as `table.column`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.distribution import DISTRIBUTED
from models.tables import SQLModel

TABLES = frozenset(SQLModel.metadata.tables)

_column = re.compile(r"\b([a-z_]\w*)\.([a-z_]\w*)")
_equal = re.compile(r"\b([a-z_]\w*\.[a-z_]\w*) = (\$\d+|[a-z_]\w*\.[a-z_]\w*)")
_from = re.compile(
    r"\bFROM\b(.*?)(?=\b(?:WHERE|GROUP BY|ORDER BY|LIMIT|FOR|RETURNING|ON CONFLICT|UNION|WINDOW)\b|$)", re.S
)
_source = re.compile(
    r"(?:^|\bJOIN\b|\bLATERAL\b|\bUSING\b|,)\s*(?:LATERAL\s+)?(?:([a-z_]\w*)\b(?![.(])|\[\d+\])"
    r"(?:\s+(?:AS\s+)?([a-z_]\w*)\b(?![.(]))?"
)
_changed = re.compile(r"^\s*UPDATE\s+([a-z_]\w*)")
_function = re.compile(
    r"\b(?:FROM|JOIN|,)\s+[a-z_]+\((?:[^()]|\([^()]*\))*\)(?:\s+WITH ORDINALITY)?\s+AS\s+([a-z_]\w*)"
)
_locked = re.compile(r"\bFOR (?:NO KEY UPDATE|UPDATE|KEY SHARE|SHARE) OF (\w+)")
_NO_ALIAS = frozenset(("on", "cross", "left", "inner", "join", "set"))
"""Words that may follow a table which has no alias."""


@dataclass
class Select:
    """A SELECT, or the statement itself: its text without those inside of it, which stand there as `[number]`."""

    text: str
    inner: list["Select"] = field(default_factory=list["Select"])
    is_lateral: bool = False

    @property
    def sources(self) -> dict[str, str]:
        """The tables of its FROM, by the names that they have there; "" for what is no table."""
        found: dict[str, str] = {}
        for name, alias in (each for part in _from.findall(self.text) for each in _source.findall(part)):
            if own := alias if alias and alias.lower() not in _NO_ALIAS else name:
                found[own] = name
        found |= {name: name for name in _changed.findall(self.text)}
        return found | dict.fromkeys(_function.findall(self.text), "")

    @property
    def distributed(self) -> dict[str, str]:
        return {name: table for name, table in self.sources.items() if table in DISTRIBUTED}

    def all(self) -> Iterator["Select"]:
        yield self
        for inner in self.inner:
            yield from inner.all()

    def reads_distributed(self) -> bool:
        """Citus first reads the SELECTs inside of it that refer to nothing outside of them."""
        return bool(self.distributed) or any(inner.reads_distributed() for inner in self.inner if inner.outside())

    def outside(self) -> set[tuple[str, str]]:
        """The columns that it, or a SELECT in it, has from outside."""
        own = self.sources
        columns = set(_column.findall(self.text)).union(*(inner.outside() for inner in self.inner))
        return {(name, column) for name, column in columns if name not in own}


def parsed(text: str) -> Select:
    """Takes a statement apart; parentheses without a SELECT belong to the text around them."""
    root = Select("")
    open_: list[Select] = [root]
    kinds: list[bool] = []
    position = 0
    for match in re.finditer(r"'(?:[^']|'')*'|\"[^\"]*\"|\(\s*(?:SELECT|WITH)\b|[()]", text):
        piece = text[position : match.start()]
        open_[-1].text += piece
        position = match.end()
        token = match[0]
        if token[0] in "'\"":
            open_[-1].text += "''"
        elif token == ")":
            if kinds.pop():
                open_.pop()
            else:
                open_[-1].text += ")"
        elif token == "(":
            kinds.append(False)
            open_[-1].text += "("
        else:
            kinds.append(True)
            select = Select(token[1:], is_lateral=bool(re.search(r"\bLATERAL\s*$", open_[-1].text)))
            open_[-1].text += f" [{len(open_[-1].inner)}] "
            open_[-1].inner.append(select)
            open_.append(select)
    open_[-1].text += text[position:]
    return root


def refused(text: str) -> list[str]:
    """The reasons why Citus would not run a statement."""
    statement = parsed(text)
    found = [*_badly_written(statement)]
    if _is_of_one_shard(statement):
        return found
    for select in statement.all():
        if any(table in DISTRIBUTED for table in _locked.findall(select.text)):
            found.append("it locks rows of several shards")
        found += _apart(select)
        for inner in select.inner:
            found += _correlated(inner, select)
    return found


def _badly_written(statement: Select) -> Iterator[str]:
    written = re.match(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)", statement.text)
    if written is None or written[1] not in DISTRIBUTED:
        return
    if re.search(rf"\bSET\b.*\b{DISTRIBUTED[written[1]]}\s*=", statement.text.partition("WHERE")[0], re.S):
        yield "it updates the distribution column"
    if statement.text.lstrip().startswith("UPDATE") and _function.search(statement.text):
        yield "a function is in the FROM of an UPDATE"
    if "VALUES" in statement.text and statement.inner:
        yield "a SELECT is among the values of an INSERT"


def _equalities(select: Select) -> list[tuple[str, str]]:
    return [(one, other) for each in select.all() for one, other in _equal.findall(each.text)]


def _keys(select: Select) -> set[str]:
    """The distribution columns of its distributed tables."""
    return {f"{name}.{DISTRIBUTED[table]}" for name, table in select.distributed.items()}


def _is_of_one_shard(statement: Select) -> bool:
    """True if each of its tables is distributed, and found by a given key."""
    tables = {table for each in statement.all() for table in each.sources.values() if table in TABLES}
    if not tables <= DISTRIBUTED.keys():
        return False
    keys = {key for each in statement.all() for key in _keys(each)}
    given = {"$"}
    equalities = _equalities(statement)
    for _ in equalities:
        for one, other in equalities:
            if other[0] == "$" or other in given or one in given:
                given |= {one, other}
    return keys <= given


def _apart(select: Select) -> list[str]:
    """Distributed tables have to be joined by their distribution columns."""
    keys = _keys(select)
    if len(keys) < 2:
        return []
    joined: list[set[str]] = []
    for one, other in _equalities(select):
        touching = [group for group in joined if one in group or other in group]
        joined = [group for group in joined if group not in touching] + [{one, other}.union(*touching)]
    return [] if any(keys <= group for group in joined) else [f"{', '.join(sorted(keys))} are not joined"]


def _correlated(inner: Select, outer: Select) -> list[str]:
    """A SELECT that has columns from outside runs with the rows that it has them from."""
    outside = inner.outside()
    if not outside:
        return []
    near = {f"{name}.{DISTRIBUTED[table]}" for name, table in outer.distributed.items()}
    if inner.reads_distributed():
        own = _keys(inner)
        along = any(
            (one in own and other in near) or (one in near and other in own) for one, other in _equalities(inner)
        )
        return [] if along else [f"a SELECT of distributed tables has {sorted(outside)} from outside"]
    has_tables = any(table in TABLES for each in inner.all() for table in each.sources.values())
    if has_tables and any(name in outer.distributed for name, _ in outside):
        return [f"a SELECT of other tables has {sorted(outside)} from distributed ones"]
    return []
