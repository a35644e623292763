"""Faults of the one who asks.

RecallError
├── BadInput    an argument of a query is wrong; becomes a top-level error BAD_USER_INPUT
├── Forbidden   the credential may never do this; becomes a top-level error FORBIDDEN
└── Refused     a mutation is refused and has changed nothing; its faults become `userErrors`
"""

from collections.abc import Sequence
from dataclasses import dataclass


class RecallError(Exception):
    """The root of this room's errors."""


class BadInput(RecallError):
    """What was wrong, which value, what to do."""

    code = "BAD_USER_INPUT"


class Forbidden(RecallError):
    """What may not be done, and by whom it may."""

    code = "FORBIDDEN"


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
