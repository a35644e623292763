"""Executes the documents of tools, and gives their errors one form."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Execute = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Executes a GraphQL document with variables for the caller, and returns the answer: `data`, `errors` or both."""


class Fault(Exception):
    """A failure that the language model is told, with GraphQL's code; it may call again with other arguments."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


async def read(execute: Execute, document: str, **variables: Any) -> Mapping[str, Any]:
    """Returns the data of a query; raises `Fault` if there is an error, even beside data."""
    answer = await execute(document, variables)
    for error in answer.get("errors", ()):
        raise Fault(error["extensions"]["code"], error["message"])
    return answer["data"]


async def write(execute: Execute, document: str, **fields: Any) -> Mapping[str, Any]:
    """Returns the payload of a mutation with these fields in its input, without those that are None; raises `Fault`
    if it is refused."""
    given = {name: value for name, value in fields.items() if value is not None}
    payload = (await read(execute, document, input=given))["payload"]
    for error in payload["userErrors"]:
        place = f" (at {_snake('.'.join(error['path']))})" if error["path"] else ""
        raise Fault(error["code"], error["message"] + place)
    return payload


def _snake(path: str) -> str:
    """A path in GraphQL's input as the arguments of tools are written."""
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", path)
