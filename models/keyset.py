"""Keyset pagination for any list: statements for one list or for many at once.

A page is bounded by values, never by an offset, so that it costs the same at the start and at the end of a list, and
rows added or removed elsewhere do not shift it. For many parents it is one statement, which limits the rows of each
to the page.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)

from models.columns import Words
from models.distribution import DISTRIBUTED
from models.expressions import (
    CrossJoin,
    Parents,
    Unindexed,
    each_of,
    greatest,
    in_checked_project,
    parent_key,
    parent_number,
    parents,
    written,
)
from models.scope import Scope
from models.statements import ByKey, Count, Statement
from models.store import R, Reader

Condition = Callable[[FromClause], ColumnElement[bool]]

Run = tuple[tuple[str, str], ...]
"""Several columns as one: the bytes of a JSON object with these keys, and the values of the columns of these names."""

C = TypeVar("C")

PARENT: Any = -1
"""The column of a page's row with its parent's position."""

MOSTLY_TRUE = frozenset({"live", "as_of", "not_superseded", "of_no_session"})
"""Filters that most rows pass, so that filling a page reads few rows."""


@dataclass(frozen=True, eq=False)
class Listing(Generic[R]):
    """A list that can be paged: its rows, orders and filters.

    `orders` gives each order's columns, of which the last is unique in the list. `always` holds for every row;
    with `nested` the list belongs to parents (see `models.statements.Parents`) and `always` joins them. With `floor` a
    parent's number is an exclusive lower bound of this column. `ends` gives for a nullable order column a value below
    and one above all of its values: nulls come last in both directions. `falling` gives the columns of an order in
    descending direction, where these differ. `selective` names filters that an index answers with few rows: with one of
    these a page sorts the rows that it finds, instead of going through the list in its order. With `tried` a page of a
    list without parents tries only so many rows in its order, and none if there are fewer. With `found` an index beside
    the table finds its rows, which every page sorts; with `quick` they are few.
    """

    name: str
    table: Table
    row: type[R]
    always: Condition
    orders: Mapping[str, tuple[str, ...]]
    filters: Mapping[str, Condition] = field(default_factory=dict[str, Condition])
    nested: bool = True
    floor: str | None = None
    ends: Mapping[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])
    falling: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    selective: tuple[str, ...] = ()
    tried: int = 0
    found: bool = False
    quick: bool = False

    def is_selective(self, given: tuple[str, ...]) -> bool:
        return self.found or any(name in self.selective for name in given)

    def order_columns(self, order: str, *, descending: bool) -> tuple[str, ...]:
        """The names of the columns of an order in this direction."""
        return (descending and self.falling.get(order)) or self.orders[order]

    def sort_value(self, name: str, value: Any, *, descending: bool) -> Any:
        """The sort key of a row with this value of an order column."""
        return self.ends[name][not descending] if value is None and name in self.ends else value

    def ordering(self, rows: FromClause, order: str, *, descending: bool) -> list[ColumnElement[Any]]:
        """The expressions that rows are sorted by, see `sort_value`."""

        def sorted_by(column: ColumnElement[Any], name: str) -> ColumnElement[Any]:
            ends = self.ends.get(name)
            return func.coalesce(column, literal(ends[not descending], column.type)) if ends else column

        return [sorted_by(rows.c[name], name) for name in self.order_columns(order, descending=descending)]


@dataclass(frozen=True)
class Slice:
    """A part of a list: its order, its filters (`given` names those in `values`), bounds and size.

    With `columns` rows start with these, in their order, followed only by those that the list's order needs. Where the
    database writes JSON (see `models.store.Store`), a column may be a `Run`.
    """

    order: str
    descending: bool = False
    given: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    columns: tuple[str | Run, ...] | None = None
    limit: int = 20
    backwards: bool = False
    after: tuple[Any, ...] | None = None
    before: tuple[Any, ...] | None = None


class _Shape(NamedTuple):
    """Columns without the keys of their runs, which clients choose: statements are kept by their shape."""

    columns: tuple[str | tuple[str, ...], ...] | None
    keys: Mapping[str, str]
    """The values of the parameters for the keys."""

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(columns: tuple[str | Run, ...] | None) -> "_Shape":
        runs = [column for column in columns or () if isinstance(column, tuple)]
        keys = {f"key_{place}_{i}": key for place, run in enumerate(runs) for i, (key, _) in enumerate(run)}
        if columns is None:
            return _Shape(None, {})
        names = (column if isinstance(column, str) else tuple(name for _, name in column) for column in columns)
        return _Shape(tuple(names), keys)


@lru_cache(maxsize=1024)
def _page(
    listing: Listing[Any],
    order: str,
    given: tuple[str, ...],
    columns_read: tuple[str | tuple[str, ...], ...] | None,
    descending: bool,
    backwards: bool,
    after: bool,
    before: bool,
) -> Statement[Any]:
    goes_by_floor = listing.orders[order][0] == listing.floor
    rows = listing.table.alias("x") if listing.nested else listing.table
    columns = listing.ordering(rows, order, descending=descending)
    if listing.is_selective(given):
        columns = [Unindexed(column) for column in columns]
    conditions = [listing.always(rows), *(listing.filters[name](rows) for name in given)]
    bounds = {"after": (after, not descending), "before": (before, descending)}
    if listing.floor and goes_by_floor:
        # One lower bound: given two, SQLite uses the first for the index and scans from there to the other.
        name = "before" if descending else "after"
        is_given, _ = bounds.pop(name)
        lower = greatest(parent_number, bindparam(f"{name}_0", type_=Integer)) if is_given else parent_number
        conditions.append(columns[0] > lower)
    elif listing.floor:
        conditions.append(Unindexed(rows.c[listing.floor]) > parent_number)
    within = _between(columns, bounds)
    falling = descending != backwards
    if listing.tried:
        first = listing.table.alias("first")
        in_order = listing.ordering(first, order, descending=descending)
        last = _in_order(select(*in_order).where(listing.always(first), *_between(in_order, bounds)), in_order, falling)
        end = last.limit(1).offset(listing.tried).scalar_subquery()
        within.append(tuple_(*columns) > end if falling else tuple_(*columns) < end)
    cut: Select[Any] = _in_order(select(rows).where(*conditions, *within), columns, falling)
    cut = cut.limit(bindparam("limit", type_=Integer))
    table = listing.table
    read = _columns(listing, listing.order_columns(order, descending=descending), columns_read)
    if not listing.nested:
        return Statement(cut.with_only_columns(*read), listing.row)
    writes_json = any(isinstance(column, tuple) for column in columns_read or ())
    others: dict[str, Any] = {}
    if not writes_json:
        others["postgres"] = _lateral(listing, cut, read, order, descending=descending, backwards=backwards)
    if table.name in DISTRIBUTED and not writes_json:
        others["citus"] = _numbered(
            listing, rows, [*conditions, *within], read, order, _falling(columns, falling), descending=descending
        )
    if goes_by_floor and not given and not descending:
        clause = _range(listing, order, columns_read, backwards=backwards, after=after, before=before)
        return Statement(clause, listing.row, others=others)
    ordering = listing.ordering(table, order, descending=descending)
    clause = (
        select(*read, parents.c.key.label("parent"))
        .select_from(CrossJoin(parents, table))
        .where(
            literal_column(f"{table.name}.rowid", Integer).in_(
                cut.with_only_columns(literal_column("x.rowid", Integer)).correlate(parents)
            )
        )
        .order_by(parents.c.key, *_falling(ordering, descending))
    )
    return Statement(clause, listing.row, others=others)


def _lateral(
    listing: Listing[Any],
    cut: Select[Any],
    read: Sequence[ColumnElement[Any]],
    order: str,
    *,
    descending: bool,
    backwards: bool,
) -> Select[*tuple[Any, ...]]:
    """A page of each parent for PostgreSQL, which reads the parents in their order and a part of the list for each."""
    names = [column.name for column in read]
    wanted: list[ColumnElement[Any]] = [cut.selected_columns[name] for name in names]
    page: Any = cut.with_only_columns(*wanted).correlate(parents).lateral("page")
    columns: list[ColumnElement[Any]] = [page.c[name] for name in names]
    found = select(*columns, parents.c.key.label("parent")).select_from(CrossJoin(parents, page))
    if not backwards:
        # Each part comes in its own order. Asked for this, too, the database would copy all rows to sort them.
        return found.order_by(literal_column("parents.position"))
    ordering = listing.ordering(page, order, descending=descending)
    return found.order_by(parents.c.key, *_falling(ordering, descending))


def _numbered(
    listing: Listing[Any],
    rows: FromClause,
    conditions: Sequence[ColumnElement[bool]],
    read: Sequence[ColumnElement[Any]],
    order: str,
    ordering: Sequence[ColumnElement[Any]],
    *,
    descending: bool,
) -> Select[*tuple[Any, ...]]:
    """A page of each parent for Citus: the first of the parent's rows, which are numbered in their order."""
    names = [column.name for column in read]
    # The machine that has all rows of a parent numbers them.
    shard = [rows.c[DISTRIBUTED[listing.table.name]]] if listing.floor else []
    place = func.row_number().over(partition_by=[*shard, parents.c.key], order_by=ordering)
    wanted: list[ColumnElement[Any]] = [rows.c[name] for name in names]
    page: Any = (
        select(*wanted, parents.c.key.label("parent"), place.label("place"))
        .select_from(CrossJoin(parents, rows))
        .where(*conditions)
        .subquery("page")
    )
    columns: list[ColumnElement[Any]] = [page.c[name] for name in names]
    return (
        select(*columns, page.c.parent)
        .where(page.c.place <= bindparam("limit", type_=Integer))
        .order_by(page.c.parent, *_falling(listing.ordering(page, order, descending=descending), descending))
    )


def _falling(columns: Sequence[ColumnElement[Any]], falling: bool) -> list[ColumnElement[Any]]:
    return [column.desc() if falling else column.asc() for column in columns]


def _between(
    columns: Sequence[ColumnElement[Any]], bounds: Mapping[str, tuple[bool, bool]]
) -> list[ColumnElement[bool]]:
    """The conditions of a page's bounds, each with flags: it is given, and rows follow it."""
    conditions: list[ColumnElement[bool]] = []
    for name, (is_given, follows) in bounds.items():
        if is_given:
            bound = tuple_(*(bindparam(f"{name}_{i}", type_=column.type) for i, column in enumerate(columns)))
            here = tuple_(*columns)
            conditions.append(here > bound if follows else here < bound)
    return conditions


def _in_order(rows: Select[Any], columns: Sequence[ColumnElement[Any]], falling: bool) -> Select[Any]:
    return rows.order_by(*_falling(columns, falling))


def _range(
    listing: Listing[Any],
    order: str,
    columns_read: tuple[str | tuple[str, ...], ...] | None,
    *,
    backwards: bool,
    after: bool,
    before: bool,
) -> Select[*tuple[Any, ...]]:
    """A page of a list with a floor and without filters: the range between two numbers, one of them looked up.

    Each parent's rows are read once and in their order, without a sort: the CROSS JOIN makes the parents the outer
    loop, and an index returns the rows of each in order.
    """
    table, rows = listing.table, listing.table.alias("x")
    number, column = table.c[listing.orders[order][0]], rows.c[listing.orders[order][0]]
    lower = greatest(parent_number, bindparam("after_0", type_=Integer)) if after else parent_number
    upper: ColumnElement[int] = (
        bindparam("before_0", type_=Integer) if before else literal_column(str(2**63 - 1), Integer)
    )
    end = (
        select(column)
        .where(listing.always(rows), column > lower, column < upper)
        .order_by(column.desc() if backwards else column)
        .limit(1)
        .offset(bindparam("limit", type_=Integer) - 1)
        .correlate(parents)
        .scalar_subquery()
    )
    within = (
        (number >= func.coalesce(end, lower + 1), number < upper)
        if backwards
        else (number > lower, number <= func.coalesce(end, upper - 1))
    )
    return (
        select(*_columns(listing, listing.orders[order], columns_read), parents.c.key.label("parent"))
        .select_from(CrossJoin(parents, table))
        .where(listing.always(table), *within)
    )


def _columns(
    listing: Listing[Any], order: tuple[str, ...], wanted: tuple[str | tuple[str, ...], ...] | None
) -> list[ColumnElement[Any]]:
    """The columns of a page's rows."""
    columns: list[ColumnElement[Any]] = []
    runs = 0
    for names in names_read(listing, order, wanted):
        if isinstance(names, str):
            columns.append(listing.table.c[names])
        else:
            keys = [bindparam(f"key_{runs}_{i}", type_=Words) for i in range(len(names))]
            columns.append(written([listing.table.c[name] for name in names], keys).label(f"json_{runs}"))
            runs += 1
    return columns


def names_read(listing: Listing[Any], order: tuple[str, ...], wanted: tuple[C, ...] | None) -> list[str | C]:
    """The names of the columns of a page's rows: the wanted ones (None: all), then those of the order."""
    if wanted is None:
        return [column.name for column in listing.table.columns]
    # Two runs may have the same columns, under other keys.
    return [*wanted, *(name for name in order if name not in wanted)]


@lru_cache(maxsize=256)
def _count(listing: Listing[Any], given: tuple[str, ...]) -> Statement[Any]:
    rows = listing.table.alias("x") if listing.nested else listing.table
    conditions = and_(listing.always(rows), *(listing.filters[name](rows) for name in given))
    if listing.floor:
        number = rows.c[listing.floor]
        conditions &= (Unindexed(number) if listing.is_selective(given) else number) > parent_number
    counted = select(func.count()).select_from(rows).where(conditions)
    if not listing.nested:
        return Statement(counted.with_only_columns(func.count().label("count")), Count)
    number = func.count().label("count")
    together = select(parents.c.key.label("parent"), number).select_from(CrossJoin(parents, rows)).where(conditions)
    each = select(parents.c.key.label("parent"), counted.correlate(parents).scalar_subquery().label("count"))
    others: dict[str, Any] = {"citus": together.group_by(parents.c.key)} if listing.table.name in DISTRIBUTED else {}
    return Statement(each, CountOfParent, others=others)


class CountOfParent(Count):
    """The position of a parent, and the number of its rows. One without rows may be left out."""

    parent: int


class Fetched(NamedTuple, Generic[R]):
    """Rows up to a limit, and a flag for more rows beyond it."""

    rows: list[R]
    has_more: bool


def cut(rows: list[R], limit: int) -> Fetched[R]:
    """The rows of a statement that reads one more than the limit, without that extra row."""
    return Fetched(rows[:limit], len(rows) > limit)


async def fetch_pages(
    read: Reader, scope: Scope, listing: Listing[R], part: Slice, of: Parents | None = None
) -> list[Fetched[R]]:
    """For each parent (for a list without parents, once) its page in the list's order, and a flag for more rows after
    it (before it, when paging backwards)."""
    shape = _Shape.of(part.columns)
    statement: Statement[R] = _page(
        listing,
        part.order,
        part.given,
        shape.columns,
        part.descending,
        part.backwards,
        part.after is not None,
        part.before is not None,
    )
    bound: dict[str, Any] = {**scope.values, **part.values, **shape.keys, "limit": part.limit + 1}
    columns = listing.order_columns(part.order, descending=part.descending)
    for name, position in (("after", part.after), ("before", part.before)):
        for i, value in enumerate(position or ()):
            bound[f"{name}_{i}"] = listing.sort_value(columns[i], value, descending=part.descending)
    # A filter may skip many rows to find few; an order without an index sorts them all.
    slowly = bool(set(part.given) - MOSTLY_TRUE) or part.order not in ("created_at", "sequence", "position")
    slowly &= not listing.quick
    if of is None:
        page = cut(await read.fetch(statement, bound, slowly=slowly), part.limit)
        return [Fetched(page.rows[::-1], page.has_more) if part.backwards else page]
    rows = await read.fetch(statement, {**bound, **of.values}, slowly=slowly)
    return _by_parent(rows, of.count, part)


def _by_parent(rows: list[Any], parents: int, part: Slice) -> list[Fetched[Any]]:
    """The page of each parent, without the extra row; rows are sorted by its position, their last column."""
    found: list[Fetched[Any]] = []
    # When paging backwards the extra row comes first.
    start, limit, skipped = 0, part.limit, int(part.backwards)
    for parent in range(parents):
        extra = start + limit
        if has_more := extra < len(rows) and rows[extra][PARENT] == parent:
            own, end = rows[start + skipped : extra + skipped], extra + 1
        else:
            end = start
            while end < len(rows) and rows[end][PARENT] == parent:
                end += 1
            own = rows[start:end]
        found.append(Fetched(own, has_more))
        start = end
    return found


@lru_cache(maxsize=64)
def _again(listing: Listing[Any], owner: str, given: tuple[str, ...]) -> Statement[Any]:
    table = listing.table
    deleted = [table.c.deleted_at.is_(None)] if "deleted_at" in table.c else []
    clause = (
        select(table.c.key)
        .select_from(CrossJoin(parents, table))
        .where(table.c.key == parent_key, in_checked_project(table), table.c[owner] == bindparam("owner"))
        .where(*deleted, *(listing.filters[name](table) for name in given))
        .order_by(parents.c.key)
    )
    return Statement(clause, listing.row)


async def fetch_again(
    read: Reader, scope: Scope, listing: Listing[R], owner: tuple[str, bytes], part: Slice, rows: Sequence[R]
) -> list[R]:
    """Those of these rows that still pass the filters and belong to the owner, given by its column and key: with their
    keys alone."""
    column, key = owner
    of = Parents([row["key"] for row in cast(Sequence[Any], rows)])
    bound = {**scope.values, **part.values, **of.values, "owner": key}
    return await read.fetch(_again(listing, column, part.given), bound, slowly=True)


async def fetch_counts(
    read: Reader, scope: Scope, listing: Listing[Any], part: Slice, of: Parents | None = None
) -> list[int]:
    """The number of each parent's rows that pass the filters."""
    bound = {**scope.values, **part.values, **(of.values if of else {})}
    rows = await read.fetch(_count(listing, part.given), bound, slowly=True)
    if of is None:
        return [row["count"] for row in rows]
    counts = [0] * of.count
    for row in rows:
        counts[parent_of(row)] = row["count"]
    return counts


async def fetch_by_key(read: Reader, scope: Scope, by_key: ByKey[R], keys: list[bytes]) -> list[R | None]:
    """The row of each key, or None."""
    if len(keys) == 1:
        return list(await read.fetch(by_key.one, {**scope.values, "key": keys[0]})) or [None]
    return await fetch_one_each(read, scope, by_key.many, Parents(keys))


def parent_of(row: Any) -> int:
    """The position of the parent that a row was read for."""
    return row["parent"]


async def fetch_one_each(read: Reader, scope: Scope, statement: Statement[R], of: Parents) -> list[R | None]:
    """The one row that the statement finds for each parent, or None."""
    found: list[R | None] = [None] * of.count
    for row in await read.fetch(statement, {**scope.values, **of.values}):
        found[parent_of(row)] = row
    return found


def in_list(column: str, name: str) -> Condition:
    return lambda rows: rows.c[column].in_(each_of(name))


def since(column: str, name: str) -> Condition:
    return lambda rows: rows.c[column] >= bindparam(name)


def until(column: str, name: str) -> Condition:
    return lambda rows: rows.c[column] < bindparam(name)


def between(column: str) -> dict[str, Condition]:
    """The two filters of a time range on this column: `<column>_since` (included) and `<column>_until` (not)."""
    first, last = f"{column}_since", f"{column}_until"
    return {first: since(column, first), last: until(column, last)}


def is_set(column: str) -> Condition:
    return lambda rows: rows.c[column].is_not(None)


def is_null(column: str) -> Condition:
    return lambda rows: rows.c[column].is_(None)
