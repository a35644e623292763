"""`recallql jobs`: the jobs of the chat model, pending and failed."""

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
"""The most jobs that are listed, failed ones first."""


class JobProblem(DataError):
    """No such job; the message is for the operator."""


def list_jobs(settings: Settings) -> Sequence[ListedJob]:
    return _run(settings, lambda context: jobs.list_jobs(context, LISTED))


def retry_jobs(settings: Settings, id: str | None) -> int:
    """Makes failed jobs due now, one by its id or all of them; returns how many."""
    session = None
    if id is not None:
        try:
            session = bytes.fromhex(id)
        except ValueError:
            session = b""
        if len(session) != KEY_SIZE:
            raise JobProblem(f"{id} is not the id of a job; `recallql jobs` lists the jobs.")
    count = _run(settings, lambda context: jobs.retry_jobs(context, session))
    if id is not None and not count:
        raise JobProblem(f"No job {id} has failed or waits for another attempt; `recallql jobs` lists the jobs.")
    return count


def _run(settings: Settings, operation: Callable[[OperationContext], Awaitable[T]]) -> T:
    return run(existing(settings), lambda store: operation(OperationContext(store, Clock())))
