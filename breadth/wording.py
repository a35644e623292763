"""Messages about invalid values, with the value as JSON and its path: graphql-core shows it as Python's repr."""

import json
import re
from collections.abc import Mapping
from typing import Any

from graphql import GraphQLError, ListValueNode, ObjectValueNode, ValueNode, ValuesOfCorrectTypeRule
from graphql.language import SKIP
from graphql.pyutils import inspect

from breadth.core import InputType, JsonValue, validate_input_literal

SHOWN = 10
"""Most items of a list or an object that are shown."""
LONGEST = 200
"""Most characters of a text that are shown."""
DEEPEST = 3

_of_variable = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ((?:\.\w+|\[\d+\])+))?: ")
_step = re.compile(r"\.(\w+)|\[(\d+)\]")


def reworded(message: str, variables: Mapping[str, Any] | None = None) -> str:
    """Rewords graphql-core's message about a document, or about the variables that were given for it."""
    place = _of_variable.match(message)
    if place is None or variables is None:
        return of_value(message, None)
    path = [name or int(index) for name, index in _step.findall(place[2] or "")]
    return place[0] + of_value(message.removeprefix(place[0]), value_at(variables.get(place[1]), path))


def of_value(message: str, value: Any) -> str:
    """Extracts graphql-core's reason for rejecting a value, with which most messages end."""
    start, shown, end = message.rpartition(inspect(value))
    if shown and start.endswith(": "):
        message = f"{start}{as_json(value)}{end}"
    return re.sub(r" not to be None\.$", " not to be null.", message)


def value_at(value: Any, path: list[str | int]) -> Any:
    """The part of a value at a path."""
    for step in path:
        value = value[step]
    return value


def as_json(value: JsonValue, depth: int = DEEPEST) -> str:
    """The start of a value, as JSON."""
    if isinstance(value, str):
        text = json.dumps(value[:LONGEST], ensure_ascii=False)
        return text if len(value) <= LONGEST else f"{text[:-1]}…"
    if not isinstance(value, dict | list):
        return json.dumps(value)[:LONGEST]
    if not depth:
        return "…"
    more = ["…"] if len(value) > SHOWN else []
    if isinstance(value, list):
        return f"[{', '.join([*(as_json(item, depth - 1) for item in value[:SHOWN]), *more])}]"
    items = [(name, value[name]) for name, _ in zip(value, range(SHOWN), strict=False)]
    shown = [f"{as_json(name)}: {as_json(item, depth - 1)}" for name, item in items]
    return f"{{{', '.join([*shown, *more])}}}"


class LocatedValues(ValuesOfCorrectTypeRule):
    """graphql-core's rule, except that its errors always give the position of the invalid value."""

    def is_valid_value_node(self, node: ValueNode, input_type: InputType | None) -> Any:
        def on_error(error: GraphQLError, path: list[str | int]) -> None:
            if not error.locations:
                error = GraphQLError(error.message, node_at(node, path), extensions=error.extensions)
            self.report_error(error)

        if input_type:
            validate_input_literal(node, input_type, on_error, hide_suggestions=self.context.hide_suggestions)
        return SKIP


def node_at(node: ValueNode, path: list[str | int]) -> ValueNode:
    """The part of a literal at a path, or the smallest enclosing one."""
    for step in path:
        inner: ValueNode | None = None
        if isinstance(node, ListValueNode) and isinstance(step, int):
            inner = node.values[step]
        elif isinstance(node, ObjectValueNode):
            inner = next((field.value for field in node.fields if field.name.value == step), None)
        if inner is None:
            break
        node = inner
    return node
