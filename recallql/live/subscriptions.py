"""Subscriptions: from a request to the answers to its events, whatever carries them."""

import asyncio
from collections.abc import Hashable
from typing import Any, Protocol

from breadth import Answer, Request, Subscription
from recallql.http.admission import Admission, Admissions
from recallql.http.operations import Operations
from recallql.http.requests import write_json
from recallql.live.pacing import Pacing
from recallql.live.sharing import SharedAnswers
from resolvers.viewers import Viewer

PASSING = frozenset(("UNAVAILABLE", "TIMEOUT", "RATE_LIMITED"))
"""The codes of failures that pass. They end a subscription: its client can resume before the event."""


class EventFailed(Exception):
    """The answer to an event failed, and would not if it were asked for again later."""

    def __init__(self, errors: list[Any]) -> None:
        super().__init__(errors)
        self.errors = errors


class Outlet(Protocol):
    """What carries the answers of a subscription to its client."""

    turn: asyncio.Lock
    """Held from before an event is answered until its answer is sent, so that a connection holds one at a time."""

    async def next(self, answer: bytes, event: Any) -> None:
        """Sends an answer; returns once it has left this process."""
        ...


class Subscriptions:
    """Starts the subscriptions of one process."""

    def __init__(self, operations: Operations, admissions: Admissions) -> None:
        self.operations = operations
        self.admissions = admissions
        self.shared = SharedAnswers()
        self.pacing = Pacing()

    async def start(
        self, request: Request, viewer: Viewer, admission: Admission, *, resume_after: str | None = None
    ) -> "StartedSubscription | Answer":
        """Starts a subscription, after the event with the cursor `resume_after` if there is one.

        The answer has the errors if it can't start.
        """
        context = self.operations.lasting_context(viewer, admission)
        context.resume_after = resume_after
        started = await self.operations.subscribe(request, context)
        if isinstance(started, Answer):
            return started
        selected = (
            request.query or request.sha256,
            request.operation_name,
            write_json(dict(request.variables)),
            viewer.scope,
            viewer.permissions,
        )
        return StartedSubscription(self, started, viewer, selected)


class StartedSubscription:
    """A subscription that has started."""

    def __init__(
        self, subscriptions: Subscriptions, subscription: Subscription, viewer: Viewer, selected: Hashable
    ) -> None:
        self._subscriptions = subscriptions
        self._subscription = subscription
        self._viewer = viewer
        self._selected = selected

    async def follow(self, outlet: Outlet) -> None:
        """Sends the answers to all events; raises what ends them, if they do not end well."""
        shared, admissions = self._subscriptions.shared, self._subscriptions.admissions
        try:
            async for event in self._subscription.events:
                await self._subscriptions.pacing.turn()
                async with outlet.turn:
                    answer = await shared.get(self._selected, event, lambda event=event: self._answer(event))
                    with admissions.count(self._viewer) as admission:
                        admission.answer(len(answer))
                        await outlet.next(answer, event)
                    del answer
        finally:
            await self.close()

    async def close(self) -> None:
        await self._subscription.events.aclose()

    async def _answer(self, event: Any) -> bytes:
        operations = self._subscriptions.operations
        with self._subscriptions.admissions.count(self._viewer) as admission:
            context = operations.context(self._viewer, admission)
            answer, body = await operations.in_time(
                operations.answer_event(self._subscription, event, context, admission)
            )
        errors = answer.body.get("errors", ())
        if any(error["extensions"]["code"] in PASSING for error in errors):
            raise EventFailed(errors)
        return body
