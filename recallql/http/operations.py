"""Running the operations of requests, within what each may use, and writing their answers."""

from asyncio import timeout
from collections.abc import Awaitable
from typing import Any, NamedTuple, TypeVar

from breadth import Answer, Executor, Request, Subscription
from models.allowance import Allowance
from models.store import Store
from recallql.embedding.embeddings import Embeddings
from recallql.http.admission import UNCOUNTED, Admission
from recallql.http.requests import INLINE_BODY, AnswerTooLarge, least_size, reserve, write_json
from recallql.settings import Settings
from resolvers.live import Live
from resolvers.operation_context import OperationContext, operation_threads
from resolvers.times import Clock
from resolvers.viewers import Viewer
from schema.permissions import permission_rule

T = TypeVar("T")

ROWS = 2
"""The rows read for an answer may have so many times its limit in bytes: not all of each text is returned."""


class Written(NamedTuple):
    """An answer, and its bytes."""

    answer: Answer
    body: bytes


class Operations:
    """Runs the operations of one process. Errors suggest no names of the schema to users."""

    def __init__(
        self,
        database: Store,
        executor: Executor,
        clock: Clock,
        embeddings: Embeddings,
        live: Live,
        settings: Settings,
    ) -> None:
        self._database = database
        self._executor = executor
        self._clock = clock
        self._embeddings = embeddings
        self._live = live
        self._count_tokens = settings.count_tokens
        self._asks_model = bool(settings.chat_base_url)
        self._forms_memories = settings.form_memories
        self._patience = settings.request_timeout
        self._largest = settings.max_answer_bytes
        self.threads = operation_threads()

    def context(self, viewer: Viewer, admission: Admission, size: int = 0) -> OperationContext:
        """Returns the context of a request of so many bytes, or of an event."""
        return self._context(
            viewer,
            Allowance(self._patience, ROWS * self._largest, admission.credential, self._database.loop_turns),
            size,
        )

    def lasting_context(self, viewer: Viewer, admission: Admission) -> OperationContext:
        """Returns the context of a stream of events, which lasts; it reads what was committed before."""
        context = self._context(viewer, Allowance(credential=admission.credential, turns=self._database.loop_turns))
        context.read_current()
        return context

    def _context(self, viewer: Viewer, allowance: Allowance, size: int = 0) -> OperationContext:
        return OperationContext(
            self._database,
            self._clock,
            viewer.scope,
            viewer.permissions,
            self._count_tokens,
            self._asks_model,
            self._embeddings.encoder,
            self._forms_memories,
            live=self._live,
            may_lag=True,
            allowance=allowance,
            threads=self.threads,
            is_large=size > INLINE_BODY,
        )

    async def run(
        self, request: Request, context: OperationContext, admission: Admission, *, mutations: bool = True
    ) -> Written:
        """Runs a query or a mutation. The bytes of its answer are counted by the admission."""
        try:
            answer = await self._executor.execute(
                request,
                context,
                suggestions=context.scope.user is None,
                mutations=mutations,
                rule=None if context.scope.user is None else permission_rule(context.permissions),
            )
        finally:
            if context.allowance.slot is not None:
                context.allowance.close()
        return Written(answer, await self._write(answer, context, admission))

    async def is_subscription(self, request: Request, context: OperationContext) -> bool:
        """True if a request is one for `subscribe`."""
        return await self._executor.is_subscription(request, context, suggestions=context.scope.user is None)

    async def subscribe(self, request: Request, context: OperationContext) -> Subscription | Answer:
        """Starts a subscription; the answer has the errors if it can't start."""
        return await self._executor.subscribe(
            request,
            context,
            suggestions=context.scope.user is None,
            rule=None if context.scope.user is None else permission_rule(context.permissions),
        )

    async def answer_event(
        self, subscription: Subscription, event: Any, context: OperationContext, admission: Admission
    ) -> Written:
        """The answer to an event of a subscription, from what was committed before."""
        context.read_current()
        try:
            answer = await subscription.answer(event, context)
        finally:
            context.allowance.close()
        return Written(answer, await self._write(answer, context, admission))

    async def in_time(self, work: Awaitable[T]) -> T:
        """Awaits work; cancels it and raises `TimeoutError` when it takes longer than a request may."""
        async with timeout(self._patience):
            return await work

    async def _write(self, answer: Answer, context: OperationContext, admission: Admission) -> bytes:
        """The bytes of an answer; raises if it is too large, or says only that a limit was reached."""
        if "errors" in answer.body:
            if context.allowance.is_over:
                raise TimeoutError
            data: dict[str, Any] | None = answer.body.get("data")
            if context.allowance.refused is not None and not (data and any(data.values())):
                raise context.allowance.refused
        size = context.allowance.most_bytes - context.allowance.bytes_left
        if size > UNCOUNTED:
            await context.rest()
            if answer.repeats:
                # Aliases can repeat a text in the answer, which is then larger than the rows that were read.
                size = await least_size(answer.body, self._largest)
                if size > self._largest:
                    raise AnswerTooLarge(self._largest)
            reserve(3 * size)
        body = write_json(answer.body)
        if len(body) > self._largest:
            raise AnswerTooLarge(self._largest)
        admission.answer(len(body))
        return body
