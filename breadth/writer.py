"""Writing a level: a Python function made for one selection, which builds the answers of all its objects in one loop.

It is right for the ordinary case only. What is out of order (a null where none may be, a value that its type refuses,
an exception) makes it raise, and the level is then written with care, object by object (`breadth.running`).
"""

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphql import GraphQLEnumType, GraphQLLeafType, Undefined

if TYPE_CHECKING:
    from breadth.plan import Field, Selection


def serialise(leaf: GraphQLLeafType, value: Any) -> Any:
    """A leaf's value as it stands in an answer; raises when the type refuses it, or makes it null."""
    if isinstance(value, Exception):
        raise value
    written = leaf.coerce_output_value(value)
    if written is Undefined or written is None:
        raise TypeError(f"{leaf} cannot write this value.")
    return written


class _Written(dict[Any, Any]):
    """The written forms of an enum's values, each worked out once."""

    def __init__(self, leaf: GraphQLLeafType) -> None:
        super().__init__()
        self._leaf = leaf

    def __missing__(self, value: Any) -> Any:
        self[value] = written = serialise(self._leaf, value)
        return written


_AS_IT_IS = {
    "String": "type(v := {value}) is str",
    "ID": "type(v := {value}) is str",
    "Boolean": "type(v := {value}) is bool",
    "Int": "type(v := {value}) is int and -2147483648 <= v <= 2147483647",
}
"""When a value of a built-in scalar is written as it is."""


def build_writer(selection: "Selection") -> Callable[..., list[dict[str, Any]]]:
    """`write(objects, *values)`: the answers of all objects; `values` are those of `selection.children`, in order."""
    names: dict[str, Any] = {}
    entries: list[str] = []
    columns: list[str] = []
    for index, field in enumerate(selection.fields):
        if field.typename:
            value = repr(selection.type.name)
        elif field.is_leaf:
            value = _leaf(field, index, names)
        else:
            value = f"x{index}"
            columns.append(value)
        entries.append(f"{field.key!r}: {value}")
    parameters = ", ".join(f"c{column}" for column in columns)
    loop = f"o, {', '.join(columns)} in zip(objects, {parameters})" if columns else "o in objects"
    source = f"def write(objects, {parameters}):\n    return [{{{', '.join(entries)}}} for {loop}]"
    exec(compile(source, "<selection>", "exec"), names)  # noqa: S102 - made of names that GraphQL's grammar allows
    return names["write"]


def _leaf(field: "Field", index: int, names: dict[str, Any]) -> str:
    """The expression for a leaf's value, of the object `o`."""
    position = field.position
    leaf: Any = position.leaf
    if field.compute is not None:
        names[f"f{index}"] = field.compute
        value = f"f{index}(o)"
    elif field.read is operator.getitem:
        value = f"o[{field.python_name!r}]"
    elif field.read is getattr:
        value = f"o.{field.python_name}"
    else:
        names[f"f{index}"] = field.read
        value = f"f{index}(o, {field.python_name!r})"

    def write(value: Any) -> Any:
        return serialise(leaf, value)

    if isinstance(leaf, GraphQLEnumType):
        names[f"s{index}"] = _Written(leaf).__getitem__
    else:
        names[f"s{index}"] = write
    as_it_is = _AS_IT_IS.get(leaf.name)
    if as_it_is is not None:
        test = as_it_is.format(value=value)
        return f"(v if {test} else s{index}(v))" if position.nonnull else f"(v if {test} or v is None else s{index}(v))"
    if position.nonnull:
        return f"s{index}({value})"
    return f"(None if (v := {value}) is None else s{index}(v))"
