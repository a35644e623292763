"""Brings the search index and the vectors up to date, in batches and in the background."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import Any
from uuid import uuid4

import structlog

from models.errors import Unavailable
from models.full_text import Progress
from models.leases import take_lease
from models.search import bring_up_to_date, index_progress
from models.search_kinds import SEARCH_KINDS, SearchKind
from models.store import Store
from models.vectors import WaitingText
from recallql.embedding.embeddings import BackgroundEncoder, Embeddings, Unencoded, spoken
from recallql.logs import log_failure
from resolvers.speakers import speaker_name
from resolvers.users import display_name

log = structlog.get_logger("recallql.indexing")

INDEX_EVERY = 5.0
"""Seconds between two checks for a backlog that another process has left."""

GATHERING = 0.05
"""Seconds for which writes gather before the size of the backlog is checked."""

QUIET = 30.0
"""Seconds without a new text after which the backlog is indexed, however small it is."""

ENCODE_EVERY = 0.5
"""Seconds between two checks for texts without vectors."""

CHARACTERS = 625
"""The most characters of the texts whose vectors are stored in one transaction, for each of them (see
`BackgroundEncoder.together`); a longer text goes alone."""

LEASE = 5_000
"""Milliseconds of a process's lease on the encoding; if two overlap, they do the same work twice, without harm."""

LONGEST_PAUSE = 300.0
"""The most seconds before a failing model is tried again."""


async def keep_indexed(database: Store, newest: list[int]) -> None:
    """Indexes new texts: soon when the backlog is large, and all of it after a pause in writing.

    `newest` are the `newest_texts` of the start: those after them are new. Searches scan the backlog itself, so nothing
    is missed meanwhile.
    """
    looked = written = time.monotonic()
    while True:
        database.written.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(INDEX_EVERY):
                    await database.written.wait()
                    await asyncio.sleep(GATHERING)
            now, found = time.monotonic(), await newest_texts(database)
            if now - looked < INDEX_EVERY and not _much(newest, found):
                continue
            looked, written, newest = now, written if found == newest else now, found
            late = 0 if now - written > QUIET else None
            for kind in SEARCH_KINDS.values():
                await bring_up_to_date(database, kind, late=late)
        except Exception:
            log_failure(log, "the index could not be brought up to date; the indexer will try again")
            await asyncio.sleep(INDEX_EVERY)


def _much(before: Sequence[int], newest: Sequence[int]) -> bool:
    """Tells whether the backlog of a kind is larger than it may be."""
    late = [kind.late for kind in SEARCH_KINDS.values()]
    return any(now - then > most for then, now, most in zip(before, newest, late, strict=True))


async def newest_texts(database: Store) -> list[int]:
    """The number of the newest text of each kind."""
    return [progress.newest for progress in await _progress(database)]


async def _progress(database: Store) -> list[Progress]:
    return [await index_progress(database.reader, kind) for kind in SEARCH_KINDS.values()]


async def index_status(database: Store) -> dict[str, Any]:
    """Estimates the backlog: texts that are not indexed yet."""
    return {"waiting": sum(progress.waiting for progress in await _progress(database))}


async def keep_encoded(database: Store, embeddings: Embeddings) -> None:
    """Encodes every text while a model is available; texts without vectors are found by their words."""
    pause, ours, holder = ENCODE_EVERY, set[str](), uuid4().bytes
    while embeddings.source != "off":
        await asyncio.sleep(pause)
        encoder = embeddings.encoder
        if encoder is None:
            continue
        try:
            for kind in SEARCH_KINDS.values():
                started = time.monotonic()
                while await _encode_some(database, kind, encoder, ours, holder):
                    embeddings.report(None)
                    pause = ENCODE_EVERY
                    await asyncio.sleep(encoder.rest * (time.monotonic() - started))
                    started = time.monotonic()
        except Unencoded as error:
            embeddings.report(str(error))
            pause = error.after or min(max(1.0, 2 * pause), LONGEST_PAUSE)
        except Unavailable as error:
            log.warning("texts could not be encoded; the encoder will try again", reason=str(error))
            pause = INDEX_EVERY
        except Exception:
            log.exception("texts could not be encoded; the encoder will try again")
            pause = min(max(1.0, 2 * pause), LONGEST_PAUSE)
        else:
            pause = ENCODE_EVERY


async def _encode_some(
    database: Store, kind: SearchKind, encoder: BackgroundEncoder, ours: set[str], holder: bytes
) -> bool:
    """Encodes the next texts of a kind; returns False if there were none, or if another process holds the lease.

    `ours` has the kinds that this process, `holder`, has claimed.
    """
    read, kept = database.reader, database.reader.vectors
    progress = await kept.vector_progress(read, kind, encoder.name)
    if not progress.waiting:
        return False
    take = partial(take_lease, name="vectors", holder=holder, now=time.time_ns() // 1_000_000, length=LEASE)
    if not await database.write(take):
        return False
    if progress.kept != encoder.name:
        if kind.name in ours:
            raise Unencoded("Another process uses another model for its vectors; give all processes the same settings.")
        # The old vectors go only once there are new ones to replace them.
        await encoder.encode_texts(["a text"], kind.vectors_of_one)
        await database.write(partial(kept.claim_vectors, kind=kind, model=encoder.name))
        progress = await kept.vector_progress(read, kind, encoder.name)
    ours.add(kind.name)
    await kept.find_waiting(database, kind)
    rows = await kept.texts_without_vectors(read, kind, progress.through, encoder.together)
    rows = _together(rows, CHARACTERS * encoder.together)
    if not rows:
        return False
    # Deleted texts must neither be found nor sent to an endpoint.
    texts = {row["number"]: _spoken(row, row["text"]) for row in rows if row["text"] is not None}
    encoded = await encoder.encode_texts(list(texts.values()), kind.vectors_of_one) if texts else []
    vectors = dict(zip(texts, encoded, strict=True))
    made = [vectors.get(row["number"], b"") for row in rows]
    put = partial(kept.put_vectors, kind=kind, model=encoder.name, through=progress.through, rows=rows, made=made)
    return await database.write(put)


def _spoken(row: WaitingText, text: str) -> str:
    """A text with its speaker's name."""
    own = display_name(row["user_name"], row["first_name"], row["last_name"])
    return spoken(speaker_name(row["role"], row["name"], own), text)


def _together(rows: Sequence[WaitingText], most: int) -> Sequence[WaitingText]:
    """The first texts, as many as are encoded at once: a server that stops waits for no more than these."""
    sizes = accumulate(len(row["text"] or "") for row in rows)
    return rows[: max(1, bisect_right(list(sizes), most))]


async def encoding_status(database: Store, embeddings: Embeddings) -> dict[str, Any]:
    """Returns the state of the model for `/ready`, with an estimate of the texts that wait for it."""
    status = embeddings.status()
    if embeddings.encoder is not None:
        waiting, read = 0, database.reader
        for kind in SEARCH_KINDS.values():
            waiting += (await read.vectors.vector_progress(read, kind, embeddings.encoder.name)).waiting
        status["waiting"] = waiting
    return status
