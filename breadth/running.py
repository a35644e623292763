"""Runs a plan a level at a time, with one awaited call per batch field, however many parents it has.

Errors follow the specification: a failing field becomes null and its error has the full path; a null in a non-null
position propagates to the nearest nullable ancestor. `NULLED` marks an answer whose null propagates further up.
"""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from graphql import GraphQLError, GraphQLObjectType, GraphQLSchema
from graphql.error import located_error

from breadth.arguments import Variables
from breadth.batching import resolve_batch
from breadth.context import Context
from breadth.core import is_iterable
from breadth.cost import MOST
from breadth.plan import Field, Position, Selection
from breadth.writer import Writer, serialise

NULLED: Any = object()

TOGETHER = 50
"""Objects of a large answer that are written one by one before execution yields to others."""

Path = Callable[[int], list[str | int]]
"""Computes the path of the object or value at an index of its level; called for errors only."""


class Run:
    """One execution of an operation. That of a long document compiles its plan off the event loop."""

    def __init__(
        self,
        schema: GraphQLSchema,
        context: Context,
        variables: Variables,
        is_long: bool = False,
        is_large: bool = False,
        most_errors: int = MOST,
    ) -> None:
        """With `is_large` the answer is written object by object, yielding to others in between."""
        self.schema = schema
        self.context = context
        self.variables = variables
        self._is_long = is_long
        self._is_large = is_large
        self._most_errors = most_errors
        self.errors: list[GraphQLError] = []
        """The first errors, up to the number that an answer may list."""
        self._failures = 0
        self._done: dict[Field, list[Any]] = {}
        """The answers of fields that were resolved before an ancestor turned out to need the careful path."""

    async def query(self, root: Selection) -> dict[str, Any] | None:
        """The data of a query."""
        answer = (await self._select(root, [None], lambda _: []))[0]
        return None if answer is NULLED else answer

    async def mutation(self, root: Selection) -> dict[str, Any] | None:
        """The data of a mutation: its fields run one after the other, until one nulls the whole of the data."""
        answers: dict[str, Any] = {}
        for field in root.fields:
            value: Any = root.type.name
            if not field.typename:
                value = (await self._field(field, [None], lambda _: []))[0]
                if value is NULLED:
                    return None
            answers[field.key] = value
        return answers

    async def event(self, root: Selection, event: Any) -> dict[str, Any] | None:
        """The data of a subscription for one event: the value of its only field."""
        (field,) = root.fields
        path = _below(lambda _: [], field.key)
        answer = (await self._complete(field, field.position, [event], path))[0]
        return None if answer is NULLED else {field.key: answer}

    async def _select(self, selection: Selection, objects: Sequence[Any], path: Path) -> list[Any]:
        """The answers of objects of one type, with everything nested in them."""
        writer = selection.writer
        if writer is None:
            writer = await self.context.in_thread(selection.compile) if self._is_long else selection.compile()
        # A value that was resolved before may contain one that has to become null here.
        ordinary, before = not self._done, self._failures
        columns: list[list[Any]] = []
        try:
            levels = [objects if gather is None else gather(objects) for gather in writer.gather]
        except Exception:  # the careful path meets the same problem again, and reports it
            return await self._select_with_care(selection, objects, path)
        for index, parents in enumerate(levels):
            field = writer.outside[index]
            column = self._done.pop(field, None) if self._done else None
            if column is None:
                where = path if writer.gather[index] is None else _within(path, selection, index, objects)
                column = await self._field(field, parents, where)
            columns.append(column)
        if ordinary and self._failures == before:
            try:
                columns_on = map(iter, columns)
                if not self._is_large:
                    return writer.write(objects, *columns_on)
                return await self._write_in_turns(writer, objects, tuple(columns_on))
            except Exception:  # noqa: S110 - as above
                pass
        self._done.update(zip(writer.outside, columns, strict=True))
        return await self._select_with_care(selection, objects, path)

    async def _write_in_turns(
        self, writer: Writer, objects: Sequence[Any], columns: tuple[Iterator[Any], ...]
    ) -> list[Any]:
        """The answers of many objects, written one by one; yields to others now and then."""
        answers: list[Any] = []
        for parent in objects:
            answers += writer.write((parent,), *columns)
            await self.context.rest()
        return answers

    async def _field(self, field: Field, parents: Sequence[Any], path: Path) -> list[Any]:
        """The answers of a field for all its parents."""
        values = await self._resolve(field, parents)
        return await self._complete(field, field.position, values, _below(path, field.key))

    async def _select_with_care(self, selection: Selection, objects: Sequence[Any], path: Path) -> list[Any]:
        """The careful path: the answers of objects some of which may fail, level by level and one by one."""
        columns: list[list[Any]] = []
        for field in selection.children:
            column = self._done.pop(field, None)
            columns.append(await self._field(field, objects, path) if column is None else column)
        if not self._is_large:
            return self._write_with_care(selection, objects, columns, path)
        answers: list[Any] = []
        for start in range(0, len(objects), TOGETHER):
            some = objects[start : start + TOGETHER]
            parts = [column[start : start + TOGETHER] for column in columns]
            answers += self._write_with_care(selection, some, parts, _from(path, start))
            await self.context.rest()
        return answers

    async def _resolve(self, field: Field, objects: Sequence[Any]) -> Sequence[Any]:
        """The values of a field for all objects; an exception in a value's place is its error."""
        if field.batch is None:
            try:
                return [field.value_of(parent) for parent in objects]
            except Exception:
                return [_attempt(field, parent) for parent in objects]
        try:
            arguments = field.batch.arguments(**field.arguments.values(self.variables))
        except Exception as error:
            return [error] * len(objects)
        return await resolve_batch(field.batch.resolve, self.context, objects, {**arguments, **field.columns})

    async def _complete(self, field: Field, position: Position, values: Sequence[Any], path: Path) -> list[Any]:
        """The answers for the values at a position, in order. Without values nothing below is resolved."""
        if not values:
            return []
        if position.item is not None:
            answers = await self._complete_lists(field, position, position.item, values, path)
        elif position.leaf is not None:
            answers = [self._leaf(field, position, value, path, index) for index, value in enumerate(values)]
        else:
            answers = await self._complete_objects(field, position, values, path)
        if self.errors and not position.nonnull:
            return [None if answer is NULLED else answer for answer in answers]
        return answers

    async def _complete_lists(
        self, field: Field, position: Position, item: Position, values: Sequence[Any], path: Path
    ) -> list[Any]:
        answers: list[Any] = [None] * len(values)
        ends: list[tuple[int, int]] = []
        flat: list[Any] = []
        for index, value in enumerate(values):
            if not isinstance(value, list | tuple):
                value = _listed(value)
            if isinstance(value, list | tuple):
                flat += value
                ends.append((index, len(flat)))
            else:
                answers[index] = self._absent(field, position, value, path, index, "a list")
        completed = await self._complete(field, item, flat, _item_path(path, ends))
        start = 0
        for index, end in ends:
            part = completed[start:end]
            start = end
            answers[index] = NULLED if self.errors and any(answer is NULLED for answer in part) else part
        return answers

    async def _complete_objects(self, field: Field, position: Position, values: Sequence[Any], path: Path) -> list[Any]:
        if position.abstract is None and position.objects.known.issuperset(map(type, values)):
            return await self._select(position.objects.of(position.type), values, path)
        answers: list[Any] = [None] * len(values)
        groups: dict[str, list[int]] = {}
        for index, value in enumerate(values):
            if value is None or isinstance(value, Exception):
                answers[index] = self._absent(field, position, value, path, index, "an object")
            else:
                try:
                    groups.setdefault(self._type_of(field, position, value), []).append(index)
                except Exception as error:
                    answers[index] = self._failed(field, error, path, index)
        for name, indexes in groups.items():
            kind: Any = self.schema.type_map[name]
            chosen = await self._select(
                position.objects.of(kind), [values[i] for i in indexes], lambda i, indexes=indexes: path(indexes[i])
            )
            for index, answer in zip(indexes, chosen, strict=True):
                answers[index] = answer
        return answers

    def _type_of(self, field: Field, position: Position, value: object) -> str:
        """The name of a value's concrete type, as graphql-core determines it.

        It is determined once for a class of objects, but each time for a dictionary, which may be of any type.
        """
        abstract: Any = position.abstract
        info: Any = SimpleNamespace(schema=self.schema, field_name=field.name, parent_type=field.parent)
        name: Any = None
        if abstract is None:
            kind: Any = position.type
            if kind.is_type_of is not None and not kind.is_type_of(value, info):
                raise GraphQLError(f"Expected value of type '{kind}' but got another.", field.nodes)
            if kind.is_type_of is None or type(value) is not dict:
                position.objects.known.add(type(value))
            return kind.name
        if abstract.resolve_type is not None:
            name = abstract.resolve_type(value, info, abstract)
        else:
            for kind in self.schema.get_possible_types(abstract):
                if kind.is_type_of is not None and kind.is_type_of(value, info):
                    name = kind.name
                    break
        kind = self.schema.type_map.get(name)
        if not isinstance(kind, GraphQLObjectType) or not self.schema.is_sub_type(abstract, kind):
            raise TypeError(f"A value of {abstract} is of none of its types: {name!r}.")
        return name

    def _write_with_care(
        self, selection: Selection, objects: Sequence[Any], columns: Sequence[Sequence[Any]], path: Path
    ) -> list[Any]:
        """The answers of objects some of which may fail."""
        answers: list[Any] = []
        for index, parent in enumerate(objects):
            child = iter(columns)
            answer: Any = {}
            written = selection.values_of(parent) if selection.runs else {}
            for field in selection.fields:
                if field.typename:
                    value: Any = selection.type.name
                elif field.key in written:
                    value = written[field.key]
                elif field.is_leaf:
                    value = _attempt(field, parent)
                    value = self._leaf(field, field.position, value, _below(path, field.key), index)
                    value = None if value is NULLED and not field.position.nonnull else value
                else:
                    value = next(child)[index]
                if value is NULLED:
                    answer = NULLED
                elif answer is not NULLED:
                    answer[field.key] = value
            answers.append(answer)
        return answers

    def _leaf(self, field: Field, position: Position, value: Any, path: Path, index: int) -> Any:
        if value is None or isinstance(value, Exception):
            return self._absent(field, position, value, path, index, "a value")
        try:
            return serialise(position.leaf, value)  # pyright: ignore[reportArgumentType]
        except Exception as error:
            return self._failed(field, error, path, index)

    def _absent(self, field: Field, position: Position, value: Any, path: Path, index: int, wanted: str) -> Any:
        """The answer for null, for an exception, and for a value that is not `wanted` at all."""
        if value is None:
            if not position.nonnull:
                return None
            value = TypeError(f"Cannot return null for non-nullable field {field.parent.name}.{field.name}.")
        elif not isinstance(value, Exception):
            value = TypeError(f"{field.parent.name}.{field.name} did not give {wanted}.")
        return self._failed(field, value, path, index)

    def _failed(self, field: Field, error: Exception, path: Path, index: int) -> Any:
        self._failures += 1
        if len(self.errors) < self._most_errors:
            self.errors.append(located_error(error, field.nodes, path(index)))
        return NULLED


def _listed(value: Any) -> Any:
    """The items of another iterable as a list, or its error; a value that is not iterable is returned as it is."""
    if value is None or not is_iterable(value):
        return value
    try:
        return list(value)
    except Exception as error:
        return error


def _attempt(field: Field, parent: Any) -> Any:
    try:
        return field.value_of(parent)
    except Exception as error:
        return error


def _from(path: Path, start: int) -> Path:
    return lambda index: path(start + index)


def _below(path: Path, key: str) -> Path:
    return lambda index: [*path(index), key]


def _within(path: Path, selection: Selection, outside: int, objects: Sequence[Any]) -> Path:
    def of(index: int) -> list[str | int]:
        place, below = Writer.places(selection, outside, objects)[index]
        return [*path(place), *below]

    return of


def _item_path(path: Path, ends: Sequence[tuple[int, int]]) -> Path:
    def of(index: int) -> list[str | int]:
        start = 0
        for place, end in ends:
            if index < end:
                return [*path(place), index - start]
            start = end
        raise IndexError(index)

    return of
