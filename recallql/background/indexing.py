"""What search goes by follows what was written, in batches and in the background."""

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

from models.leases import take_lease
from models.search import Progress, bring_up_to_date, index_progress
from models.search_kinds import SEARCH_KINDS, SearchKind
from models.store import Store
from models.vectors import WaitingText, claim_vectors, put_vectors, texts_without_vectors, vector_progress
from recallql.embedding.embeddings import BackgroundEncoder, Embeddings, Unencoded, spoken
from resolvers.speakers import speaker_name
from resolvers.users import display_name

log = structlog.get_logger("recallql.indexing")

INDEX_EVERY = 5.0
"""Seconds between two looks for what another process has left waiting to be put into the index."""

GATHERING = 0.05
"""Seconds for which writes gather before a look whether enough of them wait."""

QUIET = 30.0
"""Seconds without a new text after which what waits is put into the index, however little it is."""

ENCODE_EVERY = 0.5
"""Seconds between two looks for texts without vectors."""

ENCODED_TOGETHER, ENCODED_CHARACTERS = 32, 20_000
"""Texts whose vectors are kept in one transaction, and how long they are together; or a single longer one."""

LEASE = 5_000
"""Milliseconds for which a process has the encoding to itself; two would do the same twice, which harms nothing."""

LONGEST_PAUSE = 300.0
"""Seconds after which a model that fails is asked again, at most."""


async def keep_indexed(database: Store) -> None:
    """Puts what was written into the index: soon where it is much, and all of it when nothing was written for long.

    A search reads what is not in it yet as it is.
    """
    newest = [progress.newest for progress in await _progress(database)]
    looked = written = time.monotonic()
    while True:
        database.written.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(INDEX_EVERY):
                await database.written.wait()
                await asyncio.sleep(GATHERING)
        try:
            now, before, newest = time.monotonic(), newest, [progress.newest for progress in await _progress(database)]
            if now - looked < INDEX_EVERY and not _much(before, newest):
                newest = before
                continue
            looked, written = now, written if newest == before else now
            late = 0 if now - written > QUIET else None
            for kind in SEARCH_KINDS.values():
                await bring_up_to_date(database, kind, late=late)
        except Exception:
            log.exception("the index could not be brought up to date; it will be tried again")
            await asyncio.sleep(INDEX_EVERY)


def _much(before: Sequence[int], newest: Sequence[int]) -> bool:
    """Tells whether more was written of a kind than may wait."""
    late = [kind.late for kind in SEARCH_KINDS.values()]
    return any(now - then > most for then, now, most in zip(before, newest, late, strict=True))


async def _progress(database: Store) -> list[Progress]:
    return [await index_progress(database.reader, kind) for kind in SEARCH_KINDS.values()]


async def index_status(database: Store) -> dict[str, Any]:
    """About how many texts wait to be put into the index."""
    return {"waiting": sum(progress.waiting for progress in await _progress(database))}


async def keep_encoded(database: Store, embeddings: Embeddings) -> None:
    """Gives every text its vectors while there is a model; a search goes by words where they are missing."""
    pause, ours, holder = ENCODE_EVERY, set[str](), uuid4().bytes
    while embeddings.source != "off":
        await asyncio.sleep(pause)
        encoder = embeddings.encoder
        if encoder is None:
            continue
        try:
            for kind in SEARCH_KINDS.values():
                while await _encode_some(database, kind, encoder, ours, holder):
                    embeddings.report(None)
                    pause = ENCODE_EVERY
        except Unencoded as error:
            embeddings.report(str(error))
            pause = error.after or min(max(1.0, 2 * pause), LONGEST_PAUSE)
        except Exception:
            log.exception("texts could not be encoded; it will be tried again")
            pause = min(max(1.0, 2 * pause), LONGEST_PAUSE)
        else:
            pause = ENCODE_EVERY


async def _encode_some(
    database: Store, kind: SearchKind, encoder: BackgroundEncoder, ours: set[str], holder: bytes
) -> bool:
    """Encodes the next texts of a kind; whether there were any that no other process is at. `ours` has the kinds that
    this process, `holder`, has claimed."""
    progress = await vector_progress(database.reader, kind)
    if not (progress.waiting if progress.model == encoder.name else progress.newest):
        return False
    take = partial(take_lease, name="vectors", holder=holder, now=time.time_ns() // 1_000_000, length=LEASE)
    if not await database.write(take):
        return False
    if progress.model != encoder.name:
        if kind.name in ours:
            raise Unencoded("Another process makes vectors by another model; give all of them the same settings.")
        # Only once there are vectors to put in their place.
        await encoder.encode_texts(["a text"], kind.vectors_of_one)
        await database.write(partial(claim_vectors, kind=kind, model=encoder.name))
        progress = await vector_progress(database.reader, kind)
    ours.add(kind.name)
    rows = await texts_without_vectors(database.reader, kind, progress.through, ENCODED_TOGETHER)
    rows = _together(rows)
    if not rows:
        return False
    # What is deleted is nobody's to find or to send.
    texts = {row["number"]: _spoken(row, row["text"]) for row in rows if row["text"] is not None}
    encoded = await encoder.encode_texts(list(texts.values()), kind.vectors_of_one) if texts else []
    vectors = dict(zip(texts, encoded, strict=True))
    made = [vectors.get(row["number"], b"") for row in rows]
    put = partial(put_vectors, kind=kind, model=encoder.name, through=progress.through, rows=rows, made=made)
    return await database.write(put)


def _spoken(row: WaitingText, text: str) -> str:
    """A text with the name of who said it."""
    own = display_name(row["user_name"], row["first_name"], row["last_name"])
    return spoken(speaker_name(row["role"], row["name"], own), text)


def _together(rows: Sequence[WaitingText]) -> Sequence[WaitingText]:
    """The first of these texts, as many as are encoded at once: a server that stops waits for that."""
    sizes = accumulate(len(row["text"] or "") for row in rows)
    return rows[: max(1, bisect_right(list(sizes), ENCODED_CHARACTERS))]


async def encoding_status(database: Store, embeddings: Embeddings) -> dict[str, Any]:
    """Returns how the model stands, and about how many texts wait for it."""
    status = embeddings.status()
    if embeddings.encoder is not None:
        waiting = 0
        for kind in SEARCH_KINDS.values():
            progress = await vector_progress(database.reader, kind)
            waiting += progress.waiting if progress.model == embeddings.encoder.name else progress.newest
        status["waiting"] = waiting
    return status
