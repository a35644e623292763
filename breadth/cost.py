"""The cost of an operation: the fields that its answer may have and the look-ups it needs, from its page sizes.

A document's costs are computed once. Where a page size is a variable they are polynomials, kept as rows that build on
one another; for each request only these have to be evaluated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from graphql import FieldNode, IntValueNode, ListValueNode, NullValueNode, ObjectValueNode, ValueNode, VariableNode

from breadth.core import JsonValue
from breadth.fields import PageSize

MOST = 2**53 - 1
"""Counting stops here: above every limit, and still a number that JSON parsers represent exactly."""


class Amount(NamedTuple):
    """`constant + factor * row`, of the row at an index; a number where the factor is 0."""

    constant: int = 0
    factor: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """A page size that depends on variables: the first of these paths that has a value, else `otherwise`."""

    places: tuple[tuple[str, tuple[str, ...]], ...]
    """Variables, and the path to the value below each."""
    otherwise: int
    largest: int

    def of(self, variables: Mapping[str, Any]) -> int:
        for name, path in self.places:
            value: JsonValue = variables.get(name)
            for step in path:
                value = value.get(step) if isinstance(value, dict) else None
            if value is not None:
                size = value if isinstance(value, int) else len(value) if isinstance(value, list) else 1
                return max(0, min(size, self.largest))
        return self.otherwise


def size_of(page_size: PageSize, node: FieldNode) -> int | Size:
    """The maximum number of items in the lists of a field, from its arguments."""
    given = {argument.name.value: argument.value for argument in node.arguments or ()}
    places: list[tuple[str, tuple[str, ...]]] = []
    size = page_size.default
    for argument in page_size.arguments:
        name, *path = argument.split(".")
        found = _find(given.get(name), path)
        if isinstance(found, int):
            size = max(0, min(found, page_size.largest))
            break
        if found is not None:
            places.append(found)
    return Size(tuple(places), size, page_size.largest) if places else size


def _find(value: ValueNode | None, path: list[str]) -> int | tuple[str, tuple[str, ...]] | None:
    """The size at a path of a literal, the variable that it depends on, or None where it is omitted."""
    for index, step in enumerate(path):
        if isinstance(value, VariableNode):
            return value.name.value, tuple(path[index:])
        fields = value.fields if isinstance(value, ObjectValueNode) else ()
        value = next((field.value for field in fields if field.name.value == step), None)
    if isinstance(value, VariableNode):
        return value.name.value, ()
    if isinstance(value, IntValueNode):
        return int(value.value[:10])  # more digits than any size has
    if isinstance(value, ListValueNode):
        return len(value.values)
    return None if value is None or isinstance(value, NullValueNode) else 1


Row = tuple[int, tuple[tuple[int, int], ...], Size | None]
"""`size * (constant + factor * row + …)`, of rows that precede it; without a size just the sum."""


class Costs:
    """The costs of one document while they are computed, from the innermost fields outwards."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def sum(self, amounts: Iterable[Amount]) -> Amount:
        constant = 0
        parts: list[tuple[int, int]] = []
        for amount in amounts:
            constant += amount.constant
            if amount.factor:
                parts.append((amount.factor, amount.row))
        constant = min(constant, MOST)
        if len(parts) < 2:
            return Amount(constant, *(parts[0] if parts else ()))
        return self._row(constant, parts, None)

    def times(self, amount: Amount, size: int | Size) -> Amount:
        constant, factor, row = amount
        if isinstance(size, int):
            return Amount(min(constant * size, MOST), min(factor * size, MOST), row)
        if constant or factor:
            return self._row(constant, [(factor, row)] if factor else [], size)
        return amount

    def _row(self, constant: int, parts: list[tuple[int, int]], size: Size | None) -> Amount:
        self._rows.append((constant, tuple(parts), size))
        return Amount(0, 1, len(self._rows) - 1)

    def cost(self, amount: Amount) -> "Cost":
        return Cost(amount, self._rows if amount.factor else [])


class Cost:
    """The cost of one operation."""

    __slots__ = ("_amount", "_rows")

    def __init__(self, amount: Amount, rows: list[Row]) -> None:
        self._amount = amount
        self._rows = rows

    def of(self, variables: Mapping[str, Any]) -> int:
        """The cost with these (coerced) variables."""
        total, factor, last = self._amount
        if not factor:
            return total
        results: list[int] = []
        for constant, parts, size in islice(self._rows, last + 1):
            for times, row in parts:
                constant += times * results[row]
            results.append(constant if size is None else constant * size.of(variables))
        return min(total + factor * results[last], MOST)
