"""Faults of the one who asks.

RecallError
├── Forbidden  the credential may never do this; becomes a top-level error FORBIDDEN
├── BadInput   an argument of a query is wrong; becomes a top-level error BAD_USER_INPUT
└── Refused    a mutation is refused and has changed nothing; its faults become `userErrors`
"""

from collections.abc import Sequence
from dataclasses import dataclass


class RecallError(Exception):
    """The root of this room's errors."""


class BadInput(RecallError):
    """What was wrong, which value, what to do."""

    code = "BAD_USER_INPUT"


class Forbidden(RecallError):
    """What a user token may never do, whosever data it is."""

    code = "FORBIDDEN"

    def __init__(self, what: str) -> None:
        super().__init__(f"A user token may not {what}; that takes the application's own key.")


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a mutation's input; `path` starts below `input`, list positions as decimal strings."""

    code: str
    message: str
    path: tuple[str, ...] = ()


class Refused(RecallError):
    """One fault or several, found before anything was written."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults: Sequence[Fault] = faults


def refuse(code: str, message: str, *path: str) -> Refused:
    return Refused(Fault(code, message, path))
