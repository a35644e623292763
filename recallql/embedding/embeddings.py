"""The source of vectors in this process: a local model, an endpoint, or nothing.

While it is not available, search uses keywords alone; the log says so once, and `/ready` for as long as it lasts.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import get_native_id
from typing import Any, Protocol

import structlog

from recallql.cache import LruCache
from recallql.embedding.model_files import LOCAL, STATIC, ModelProblem, check_model, model_folder
from recallql.settings import Settings
from resolvers.embeddings import Encoder, Near, QuestionVectors
from resolvers.search.questions import LARGEST_QUESTION

log = structlog.get_logger("recallql.embeddings")

MODELS = {"local": LOCAL, "static": STATIC}
"""The models that run in this process, by the source that selects them; the first that is installed is the default."""

QUESTIONS = 128
"""Questions whose vectors are cached, for their later pages."""

ASKED_CHARACTERS = 1000
"""The most characters of a question that are encoded; longer ones are pasted texts, which only take time."""

TOGETHER = 32
"""Texts whose vectors are stored at once, by a model that takes some milliseconds for each."""

LONGEST_NAME = 64
"""The most characters of a speaker's name that are put before what they said."""


class Unencoded(Exception):
    """The texts can't be encoded now, for the reason given. `after` is the number of seconds to wait, if known."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def spoken(name: str | None, text: str) -> str:
    """A text as models get it, with its speaker: who says it is part of its meaning."""
    return f"{name[:LONGEST_NAME]}: {text}" if name else text


class BackgroundEncoder(Encoder, Protocol):
    """A model of this process. `encode_texts` raises `Unencoded` when it can't now.

    `together` is the number of texts whose vectors are stored at once, `rest` the time that the process leaves to
    requests between two such batches, in parts of the time that a batch takes.
    """

    @property
    def together(self) -> int: ...

    @property
    def rest(self) -> float: ...

    async def close(self) -> None: ...


class Embeddings:
    """The source of one process. `encoder` is None until it is available; `start` returns at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.source = source_of(settings)
        self.encoder: BackgroundEncoder | None = None
        self.problem: str | None = None
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self.source == "endpoint":
            try:
                from recallql.embedding.endpoint_encoder import EndpointEncoder
            except ImportError:
                self.report("An endpoint needs other packages: pip install 'recallql[semantic,model]'.")
                return
            self.encoder = EndpointEncoder(self._settings, self.report)
        elif self.source in MODELS:
            self._loading = asyncio.create_task(self._load(), name="load the model")

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            with suppress(asyncio.CancelledError):
                await self._loading
        if self.encoder is not None:
            await self.encoder.close()

    def report(self, problem: str | None) -> None:
        """Records the current problem, or None; logs changes."""
        if problem and problem != self.problem:
            log.warning("search goes on without the model", embeddings=self.source, reason=problem)
        elif self.problem and not problem:
            log.info("search has its model again", embeddings=self.source)
        self.problem = problem

    def status(self) -> dict[str, Any]:
        """For `/ready`."""
        if self.source == "off":
            return {"source": "off"}
        state = "unavailable" if self.problem else "ready" if self.encoder else "loading"
        named = {"model": self.encoder.name} if self.encoder else {}
        return {"source": self.source, "status": state, **named, **({"reason": self.problem} if self.problem else {})}

    async def _load(self) -> None:
        try:
            folder = model_folder(self._settings, MODELS[self.source])
        except ModelProblem as error:
            self.report(str(error))
            return
        try:
            self.encoder = await asyncio.to_thread(_loaded, self.source, folder)
        except ModelProblem as error:
            # Anybody who reaches the port can read `/ready`, so it must not reveal a path.
            self.report(str(error).replace(f"{folder}{os.sep}", ""))
        except Exception as error:
            log.exception("the local model could not be loaded")
            self.report(f"The local model could not be loaded ({type(error).__name__}).")


def source_of(settings: Settings) -> str:
    """Returns the source that the settings select: "local", "static", "endpoint" or "off"."""
    if settings.embeddings != "auto":
        return settings.embeddings
    if settings.embeddings_base_url:
        return "endpoint"
    for source, model in MODELS.items():
        # For this process an unreadable folder is one without a model.
        with suppress(ModelProblem, OSError):
            if model_folder(settings, model).exists():
                return source
    return "off"


def _loaded(source: str, folder: Path) -> BackgroundEncoder:
    """The encoder of a model in a folder; raises `ModelProblem` when it is not installed."""
    model = MODELS[source]
    # One core is enough for a question; the others are for requests. numpy reads this when it is first imported.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(name, "1")
    check_model(folder, model)
    try:
        if model is STATIC:
            from recallql.embedding.static import StaticEncoder

            return StaticEncoder(folder)
        return LocalEncoder(folder)
    except ImportError as error:
        raise ModelProblem(f"{model.name} needs other packages: pip install 'recallql[semantic]'.") from error


class LocalEncoder:
    """Encodes by the whole model, whose files in a folder have been checked."""

    name = f"{LOCAL.name.lower()}/1"
    worth = 0.3
    together = TOGETHER
    # numpy works outside of the interpreter's lock, in a thread that steps back.
    rest = 0.0

    def __init__(self, folder: Path) -> None:
        from recallql.embedding.minilm import MiniLM

        self._model = MiniLM(folder)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="recallql-encoder", initializer=step_back)
        self._questions: LruCache[str, QuestionVectors] = LruCache(QUESTIONS)

    async def encode_question(self, text: str) -> QuestionVectors | None:
        known = self._questions.get(text)
        if known is None:
            (meanings,) = await asyncio.to_thread(self._model.encode, [text[:ASKED_CHARACTERS]])
            if not meanings.words:
                return None
            known = QuestionVectors(meanings.words[:LARGEST_QUESTION], meanings.vectors[:LARGEST_QUESTION])
            self._questions.put(text, known)
        return known

    async def encode_texts(self, texts: Sequence[str], most: int) -> list[bytes]:
        from resolvers.search.closeness import packed, pooled

        def encode() -> list[bytes]:
            return [packed(pooled(meanings.vectors, most)) for meanings in self._model.encode(texts)]

        return await asyncio.get_running_loop().run_in_executor(self._background, encode)

    def closeness(self, question: QuestionVectors, kept: Sequence[bytes | None]) -> Near:
        from resolvers.search.closeness import closeness

        return closeness(question, kept)

    async def close(self) -> None:
        self._background.shutdown(wait=False, cancel_futures=True)


def step_back() -> None:
    """Gives this thread a lower priority than requests have; only Linux has priorities for threads."""
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), 10)
