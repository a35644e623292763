"""Errors in a request.

RecallError
├── Forbidden  the credential does not permit this; becomes a top-level error FORBIDDEN
├── BadInput   an argument of a query is invalid; becomes a top-level error BAD_USER_INPUT
└── Refused    a mutation is refused and has changed nothing; its faults become `userErrors`
"""

from collections.abc import Sequence
from dataclasses import dataclass


class RecallError(Exception):
    """The root of this package's errors."""


class BadInput(RecallError):
    """The problem, the value, and the remedy."""

    code = "BAD_USER_INPUT"


class Forbidden(RecallError):
    """An operation that a user token does not permit, on any data."""

    code = "FORBIDDEN"


def for_service(what: str) -> Forbidden:
    """The error of a user token for an operation that only the application itself may run."""
    return Forbidden(f"A user token may not {what}; that takes the application's own key.")


@dataclass(frozen=True)
class Fault:
    """A problem in a mutation's input; `path` starts below `input`, with list positions as decimal strings."""

    code: str
    message: str
    path: tuple[str, ...] = ()


class Refused(RecallError):
    """One or more faults, found before anything was written."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults: Sequence[Fault] = faults


def refuse(code: str, message: str, *path: str) -> Refused:
    return Refused(Fault(code, message, path))
