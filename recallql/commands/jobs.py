"""`recallql jobs`: what a model has yet to read, and what it could not."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from models.errors import DataError
from models.jobs import ListedJob
from models.keys import KEY_SIZE
from recallql.commands.stores import existing, run
from recallql.settings import Settings
from resolvers.formation import jobs
from resolvers.operation_context import OperationContext
from resolvers.times import Clock

T = TypeVar("T")

LISTED = 1000
"""Jobs that are listed, at most: the failed ones first."""


class JobProblem(DataError):
    """Why a job was not found, in words."""


def list_jobs(settings: Settings) -> Sequence[ListedJob]:
    return _run(settings, lambda context: jobs.list_jobs(context, LISTED))


def retry_jobs(settings: Settings, id: str | None) -> int:
    """Has jobs that failed done again at once, one by its id or all; how many."""
    session = None
    if id is not None:
        try:
            session = bytes.fromhex(id)
        except ValueError:
            session = b""
        if len(session) != KEY_SIZE:
            raise JobProblem(f"{id} is no id of a job; `recallql jobs` shows them.")
    count = _run(settings, lambda context: jobs.retry_jobs(context, session))
    if id is not None and not count:
        raise JobProblem(f"No job {id} has failed or waits for another attempt; `recallql jobs` shows what there is.")
    return count


def _run(settings: Settings, operation: Callable[[OperationContext], Awaitable[T]]) -> T:
    return run(existing(settings), lambda store: operation(OperationContext(store, Clock())))
