"""The format of errors in an answer: each has a code, and its message shows values as JSON."""

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLError, ValueNode

from breadth.wording import reworded

Formatted = dict[str, Any]
"""An error as a JSON object."""


class Refused(Exception):
    """A request that is not run; `errors` are those of its answer."""

    def __init__(self, *errors: Formatted) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


class Broken(Refused):
    """An operation that breaks a further rule for its client. Its answer has data, which is null."""


def coded(code: str, message: str) -> Formatted:
    return {"message": message, "extensions": {"code": code}}


def formatted(error: GraphQLError, code: str, given: Mapping[str, Any] | None = None) -> Formatted:
    """Formats an error of graphql-core; `given` are the variables when it is about one of them."""
    shown: Formatted = {**error.formatted, "message": reworded(error.message, given)}
    return {**shown, "extensions": {"code": code, **(shown.get("extensions") or {})}}


def validation_code(error: GraphQLError) -> str:
    """The code of an error; a value of the wrong type has the same one in the document as in a variable."""
    nodes = error.nodes or []
    of_values = bool(nodes) and all(isinstance(node, ValueNode) for node in nodes)
    return "BAD_USER_INPUT" if of_values else "GRAPHQL_VALIDATION_FAILED"
