"""Requests and their answers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Request(NamedTuple):
    """A GraphQL request as it was received.

    With `sha256` (the document's hash in hexadecimal digits) the document is cached under it, and the next request may
    omit `query`: Apollo's automatic persisted queries. With `cost` the answer includes the operation's cost.
    """

    query: str | None
    variables: Mapping[str, Any] = MappingProxyType({})
    operation_name: str | None = None
    sha256: str | None = None
    cost: bool = False


class Answer(NamedTuple):
    """`body` is the answer's JSON object; `executed` is false when the request was invalid and nothing ran.

    With `repeats` the same text may occur in it many times, under the aliases of its document.
    """

    body: dict[str, Any]
    executed: bool
    repeats: bool = True


class MutationRefused(Exception):
    """The operation is a mutation, and this request may not run one."""


class SubscriptionRefused(Exception):
    """The operation is a subscription, and has more than one answer: `Executor.subscribe` starts it."""
