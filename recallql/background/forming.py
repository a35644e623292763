"""The background worker that has a chat model form memories: claims jobs that are due, each for one process."""

import asyncio
from urllib.parse import urlsplit

import structlog

from models.errors import Unavailable
from models.rows import JobRow
from models.scope import Scope
from models.store import Store
from recallql.logs import log_failure
from recallql.openai import ModelEndpoint, ModelError, Rejected, TryAgain
from recallql.settings import Settings
from resolvers.formation.asking import BadAnswer, question_for, read_answer
from resolvers.formation.jobs import claim, drop, give_back, is_due, keep_answer, put_off, reading_for
from resolvers.operation_context import OperationContext
from resolvers.times import Clock

log = structlog.get_logger("recallql.forming")

LOOK_EVERY = 0.25
"""Seconds between two checks for a job."""
ANSWER_BYTES = 1024 * 1024
"""The most bytes that are read of a chat model's answer."""


class Forming:
    """The worker of a process. `problem` is the reason why the last request failed; None if it succeeded."""

    def __init__(self, database: Store, clock: Clock, settings: Settings) -> None:
        self.problem: str | None = None
        self._database = database
        self._clock = clock
        self._settings = settings
        self._endpoint = ModelEndpoint(
            settings.chat_base_url, settings.chat_api_key, patience=settings.chat_timeout, answer_bytes=ANSWER_BYTES
        )
        self._asked = {"model": settings.chat_model, "host": urlsplit(settings.chat_base_url).hostname}
        self._running: set[asyncio.Task[None]] = set()

    def status(self) -> dict[str, str]:
        """For `/ready`."""
        return {"status": "unavailable" if self.problem else "ready", "model": self._settings.chat_model}

    async def run(self) -> None:
        """Runs until it is cancelled; then its jobs are released, for another process or the next start."""
        try:
            while True:
                if self._running:
                    await asyncio.wait(self._running, timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(LOOK_EVERY)
                try:
                    await self._take_due()
                except Exception:
                    log_failure(log, "jobs could not be claimed; the worker will try again")
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._endpoint.close()

    async def _take_due(self) -> None:
        context = OperationContext(self._database, self._clock)
        # The lease covers the model's answer and the time to store it.
        lease = 2 * self._settings.chat_timeout
        while len(self._running) < self._settings.chat_in_flight and await is_due(context):
            job = await claim(context, lease=lease, attempts=self._settings.chat_attempts)
            if job is not None:
                task = asyncio.create_task(self._do(job))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _do(self, job: JobRow) -> None:
        context = OperationContext(self._database, self._clock, Scope(job["project"]))
        try:
            await self._read(context, job)
        except asyncio.CancelledError:
            await give_back(context, job)
            raise
        except (ModelError, BadAnswer) as error:
            self._say(str(error))
            attempts = 0 if isinstance(error, Rejected) else self._settings.chat_attempts
            after = error.after if isinstance(error, TryAgain) else None
            await self._put_off(context, job, str(error), attempts=attempts, after=after)
        except Unavailable as error:
            log.warning("a job waits for the database; it is retried when its lease expires", reason=str(error))
        except Exception:
            log.exception("a job failed", session=job["session_key"].hex())
            await self._put_off(
                context, job, "a fault of the server; its log has it", attempts=self._settings.chat_attempts
            )

    async def _read(self, context: OperationContext, job: JobRow) -> None:
        reading = await reading_for(context, job)
        if reading is None:
            await drop(context, job)
            return
        answer = None
        model = self._settings.chat_model
        if reading.sent:
            chosen = self._settings
            question = question_for(reading, model, as_json=chosen.chat_json, instructions=chosen.chat_instructions)
            answer = read_answer(await self._endpoint.post("chat/completions", question), reading)
            self._say(None)
        await keep_answer(context, job, reading, answer, model)

    async def _put_off(
        self, context: OperationContext, job: JobRow, reason: str, *, attempts: int, after: float | None = None
    ) -> None:
        try:
            if await put_off(context, job, reason, attempts=attempts, after=after):
                log.debug("a job has failed; see `recallql jobs`", session=job["session_key"].hex())
        except Exception:
            log_failure(log, "a failed job could not be recorded; it is retried when its lease expires")

    def _say(self, problem: str | None) -> None:
        """Logs when the model stops working and when it works again, not every failure."""
        if problem is not None and self.problem is None:
            log.warning("the chat model can't be asked; jobs wait", reason=problem, **self._asked)
        elif problem is None and self.problem is not None:
            log.info("the chat model answers again", **self._asked)
        self.problem = problem
