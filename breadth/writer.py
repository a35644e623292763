"""Writing answers: Python functions generated for one selection, which write all its objects in one loop.

Values within the objects are written in the same loop, to any depth: a connection with its edges and their nodes is
one loop. Only batch fields and abstract types (interfaces, unions) are resolved before, for parents that are gathered
here.

Where records have runs of values as JSON (see `breadth.fields`), the objects of a list are written as one text, which
goes into the answer as it is.

It handles the ordinary case only. Anything else (a null in a non-null position, a value that its type refuses, an
object of a class not seen before) makes it raise, and the objects are then written by the careful path, one by one
(`breadth.running`).
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import TYPE_CHECKING, Any

import orjson
from graphql import GraphQLEnumType, GraphQLLeafType, Undefined

from breadth.fields import json_text
from breadth.inlining import body_of

if TYPE_CHECKING:
    from breadth.plan import Field, Position, Selection

Objects = Sequence[Any]


class OutOfOrder(Exception):
    """Objects that need the careful path."""


def serialise(leaf: GraphQLLeafType, value: Any) -> Any:
    """Serializes a leaf's value; raises when the type refuses it, or serializes it to null."""
    if isinstance(value, Exception):
        raise value
    written = leaf.coerce_output_value(value)
    if written is Undefined or written is None:
        raise TypeError(f"{leaf} cannot write this value.")
    return written


def _refuse() -> bool:
    raise OutOfOrder


def _lists(known: set[type] | None, *, null: bool, null_items: bool) -> Callable[[Any], Objects]:
    """A function that returns the items of a list if they are of known classes (None: any class).

    With `null` the list may be null, and then has no items; with `null_items` an item may be null.
    """

    def items(values: Sequence[object] | None) -> Objects:
        if isinstance(values, list | tuple):
            if known is None or known.issuperset(map(type, values)):
                return values
            if null_items and known.issuperset(type(value) for value in values if value is not None):
                return values
        elif values is None and null:
            return ()
        raise OutOfOrder

    return items


class _Written(dict[Any, Any]):
    """The serialized values of an enum, each computed once."""

    def __init__(self, leaf: GraphQLLeafType) -> None:
        super().__init__()
        self._leaf = leaf

    def __missing__(self, value: Any) -> Any:
        self[value] = written = serialise(self._leaf, value)
        return written


class _Text(str):
    """The source of an expression whose value is always a string."""


_AS_IT_IS = {
    "String": "type(v := {value}) is str",
    "ID": "type(v := {value}) is str",
    "Boolean": "type(v := {value}) is bool",
    "Int": "type(v := {value}) is int and -2147483648 <= v <= 2147483647",
}
"""For each built-in scalar the condition under which a value is written as it is."""

_PLAIN = frozenset((str, int, float, bool, dict, list))
"""Classes whose values go to a custom scalar unchecked; a value of any other class may be an exception."""


class _Json:
    """The source of an expression for the bytes of a JSON text, made of its parts."""

    def __init__(self) -> None:
        self._sources: list[str] = []
        self._template = ""
        self._arguments: list[str] = []

    def text(self, template: str, *arguments: str) -> None:
        """Adds text: a template for `%`, and the expressions of its arguments."""
        self._template += template
        self._arguments += arguments

    def bytes(self, expression: str) -> None:
        """Adds the bytes that an expression gives."""
        self._end_text()
        self._sources.append(expression)

    def source(self) -> str:
        self._end_text()
        return " + ".join(self._sources)

    def _end_text(self) -> None:
        if self._arguments:
            self._sources.append(f"({self._template!r} % ({', '.join(self._arguments)},)).encode()")
        elif self._template:
            self._sources.append(repr(self._template.encode()))
        self._template, self._arguments = "", []


class Writer:
    """Writes the objects of one selection, once the fields `outside` of them are resolved, in this order."""

    def __init__(self, selection: "Selection") -> None:
        code = _Code(selection.compiler.codes)
        loops, answer = code.selection(selection, "o", ())
        self.outside = [field for field, _ in code.outside]
        self.write: Callable[..., list[dict[str, Any]]] = code.function(
            f"[{answer} for o in objects{loops}]", *(f"x{index}" for index in range(len(self.outside)))
        )
        """`write(objects, *iterators over the answers of the fields outside)`: the answers of all objects."""
        self.gather: list[Callable[[Objects], Objects] | None] = [
            code.function(f"[{steps[-1].name} for o in objects{_walk(steps)}]") if steps else None
            for _, steps in code.outside
        ]
        """For each field outside a function that gathers its parents from the objects; None if they are its parents."""

    @staticmethod
    def places(selection: "Selection", outside: int, objects: Objects) -> list[tuple[int, list[str | int]]]:
        """For a field outside the positions of its parents: the index of the object, and the path within it."""
        # Compiled anew for each error: kept with every plan it would take more memory than the rest.
        code = _Code({})
        code.selection(selection, "o", ())
        _, steps = code.outside[outside]
        path = ", ".join(part for step in steps for part in step.path)
        return code.function(f"[(i, [{path}]) for i, o in enumerate(objects){_walk(steps, numbered=True)}]")(objects)


@dataclass(frozen=True)
class _Step:
    """A step from an object to one within it, or with an `index` to each in a list within it."""

    name: str
    values: str
    condition: str
    path: tuple[str, ...]
    index: str | None = None


def _walk(steps: Sequence[_Step], *, numbered: bool = False) -> str:
    return "".join(
        f" for {step.index}, {step.name} in enumerate({step.values}){step.condition}"
        if numbered and step.index
        else f" for {step.name} in {step.values}{step.condition}"
        for step in steps
    )


def _source(key: str | int) -> str:
    """The source of a key, in double quotes: they may be within a text in single quotes."""
    return f'"{key}"' if isinstance(key, str) else str(key)


class _Code:
    """Python expressions for the parts of a selection, and the values that they refer to by name.

    An expression comes with one-iteration loops, which bind names to the objects that it uses.
    """

    def __init__(self, codes: dict[str, CodeType]) -> None:
        """`codes` caches compiled code: equal selections have the same source."""
        self.outside: list[tuple[Field, tuple[_Step, ...]]] = []
        self._codes = codes
        self._values: dict[str, Any] = {
            "refuse": _refuse,
            "plain": _PLAIN,
            "Undefined": Undefined,
            "dumps": orjson.dumps,
            "Fragment": orjson.Fragment,
        }
        self._count = 0

    def function(self, expression: str, *parameters: str) -> Callable[..., Any]:
        source = f"def made({', '.join(('objects', *parameters))}):\n    return {expression}"
        code = self._codes.get(source)
        if code is None:
            code = self._codes[source] = compile(source, "<selection>", "exec")
        values = dict(self._values)
        exec(code, values)  # noqa: S102 - built from names that GraphQL's grammar allows
        # Removed from its own globals: such a reference cycle is only freed by a full garbage collection.
        return values.pop("made")

    def selection(self, selection: "Selection", name: str, steps: tuple[_Step, ...]) -> tuple[str, str]:
        """The expression for the object under a name; `steps` lead there."""
        if selection.is_text:
            text = _Json()
            return self._text(selection, name, text), f"Fragment({text.source()})"
        loops: list[str] = []
        entries: list[str] = []
        for field in selection.fields:
            if field.typename:
                value = repr(selection.type.name)
            elif field.is_within:
                more, value = self._at(field.position, self._read(selection, field, name), steps, (repr(field.key),))
                loops.append(more)
            else:
                value = f"next(x{len(self.outside)})"
                self.outside.append((field, steps))
            entries.append(f"{field.key!r}: {value}")
        return "".join(loops), f"{{{', '.join(entries)}}}"

    def _at(self, position: "Position", value: str, steps: tuple[_Step, ...], path: tuple[str, ...]) -> tuple[str, str]:
        """The expression for a value at a position."""
        if position.leaf is not None:
            return "", self._leaf(position.leaf, value, nonnull=position.nonnull)
        if position.item is not None:
            return "", self._list(position, position.item, value, steps, path)
        name, sound = self._object(position)
        if position.nonnull:
            step = _Step(name, f"[{value}]", f" if {sound}", path)
            loops, answer = self.selection(position.selection, name, (*steps, step))
            return _walk([step]) + loops, answer
        step = _Step(name, f"[{value}]", f" if {name} is not None and ({sound})", path)
        loops, answer = self.selection(position.selection, name, (*steps, step))
        # Values within a nullable object are only read when it is not null.
        answer = f"[{answer} for _ in [0]{loops}][0]" if loops else answer
        return f" for {name} in [{value}] if {name} is None or {sound}", f"(None if {name} is None else {answer})"

    def _object(self, position: "Position") -> tuple[str, str]:
        """A new name for an object, and the condition that it is of a known class."""
        name, known = self._name("o"), self._named("known", position.objects.known)
        return name, f"type({name}) in {known} or refuse()"

    def _text(self, selection: "Selection", name: str, text: _Json) -> str:
        """Adds the JSON of the object under a name to a text; returns loops."""
        loops = ""
        before = "{"
        for part in selection.parts:
            if isinstance(part, tuple):
                text.text(before)
                # Its own brackets are left out.
                text.bytes(f"{name}[{selection.places[part]}][1:-1]")
            elif part.typename:
                text.text(f'{before}"{part.key}":"{selection.type.name}"')
            elif part.is_leaf:
                template, value = self._leaf_text(part, self._read(selection, part, name))
                text.text(f'{before}"{part.key}":{template}', value)
            else:
                text.text(f'{before}"{part.key}":')
                inner, sound = self._object(part.position)
                loops += _walk([_Step(inner, f"[{self._read(selection, part, name)}]", f" if {sound}", ())])
                loops += self._text(part.position.selection, inner, text)
            before = ","
        text.text("}")
        return loops

    def _leaf_text(self, field: "Field", value: str) -> tuple[str, str]:
        """A template for the JSON of a leaf's value, and the expression that goes there."""
        leaf: Any = field.position.leaf
        nonnull = field.position.nonnull
        text = value if isinstance(value, _Text) else f"(v if type(v := {value}) is str else refuse())"
        if leaf.coerce_output_value is json_text:
            return (
                "%s",
                text if nonnull else f'("null" if (v := {value}) is None else v if type(v) is str else refuse())',
            )
        if field.computed is not None and field.computed.unescaped and nonnull:
            return '"%s"', text
        return "%s", f"dumps({self._leaf(leaf, value, nonnull=nonnull)}).decode()"

    def _list(
        self, position: "Position", item: "Position", value: str, steps: tuple[_Step, ...], path: tuple[str, ...]
    ) -> str:
        """The expression for the items of a list."""
        name, index = self._name("o"), self._name("i")
        objects = item.leaf is None and item.item is None
        known = item.objects.known if objects else None
        items = self._named("items", _lists(known, null=not position.nonnull, null_items=not item.nonnull))
        condition = "" if item.nonnull or not objects else f" if {name} is not None"
        below = (*steps, _Step(name, f"{items}({value})", condition, (*path, index), index))
        start, end = "[", "]"
        if objects and item.nonnull and item.selection.is_text:
            text = _Json()
            loops = self._text(item.selection, name, text)
            answer, start, end = text.source(), "Fragment(b'[' + b','.join([", "]) + b']')"
        elif objects:
            loops, answer = self.selection(item.selection, name, below)
            if not item.nonnull:
                answer = f"[{answer} for _ in [0]{loops}][0]" if loops else answer
                loops, answer = "", f"(None if {name} is None else {answer})"
        else:
            loops, answer = self._at(item, name, below, ())
        if position.nonnull:
            return f"{start}{answer} for {name} in {items}({value}){loops}{end}"
        given = self._name("v")
        return f"(None if ({given} := {value}) is None else {start}{answer} for {name} in {items}({given}){loops}{end})"

    def _read(self, selection: "Selection", field: "Field", name: str) -> str:
        """The expression for a field's value, of the object under a name."""
        if field.computed is None:
            return self._plain_value(selection, field, name, field.python_name)
        needs = field.computed.needs
        values = [name] if needs is None else [self._plain_value(selection, field, name, needed) for needed in needs]
        return self._call(field.computed.compute, values)

    def _call(self, function: Callable[..., Any], arguments: Sequence[str]) -> str:
        """The expression for a function's value: the one that it returns, if it does nothing else."""
        body = body_of(function)
        if body is None or len(arguments) != len(body.parameters):
            return f"{self._named('call', function)}({', '.join(arguments)})"
        sources = dict(zip(body.parameters, arguments, strict=True))
        sources |= {name: self._named(name, value) for name, value in body.values.items()}
        return (_Text if body.is_text else str)(body.of(sources))

    def _plain_value(self, selection: "Selection", field: "Field", name: str, wanted: str) -> str:
        if wanted in selection.places:
            return f"{name}[{selection.places[wanted]}]"
        if field.read is operator.getitem:
            return f"{name}[{_source(wanted)}]"
        if field.read is getattr:
            return f"{name}.{wanted}"
        return f"{self._named('read', field.read)}({name}, {_source(wanted)})"

    def _leaf(self, leaf: GraphQLLeafType, value: str, *, nonnull: bool) -> str:
        if isinstance(leaf, GraphQLEnumType):
            written = self._named("written", _Written(leaf).__getitem__)
            return f"{written}({value})" if nonnull else f"(None if (v := {value}) is None else {written}(v))"
        if isinstance(value, _Text) and leaf.name in ("String", "ID"):
            return value
        as_it_is = _AS_IT_IS.get(leaf.name)
        if as_it_is is not None:
            write = self._named("write", partial(serialise, leaf))
            test = as_it_is.format(value=value)
            return f"(v if {test} else {write}(v))" if nonnull else f"(v if {test} or v is None else {write}(v))"
        # A value of any other class may be an exception, and it may be serialized to null.
        written = self._call(leaf.coerce_output_value, ["v"])
        if not isinstance(written, _Text):
            written = f"(w if (w := {written}) is not None and w is not Undefined else refuse())"
        if nonnull:
            return f"({written} if type(v := {value}) in plain else refuse())"
        return f"(None if (v := {value}) is None else {written} if type(v) in plain else refuse())"

    def _name(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def _named(self, word: str, value: Any) -> str:
        """The name by which expressions refer to a value."""
        name = self._name(f"{word}_")
        self._values[name] = value
        return name
