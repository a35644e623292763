"""What search goes by follows what was written, in batches and in the background."""

import asyncio
from functools import partial
from typing import Any

import structlog

from models.database import Database
from models.search import COLLECTIONS, Collection, bring_up_to_date
from models.vectors import claim_vectors, put_vectors, texts_without_vectors, vector_progress
from recallql.embeddings import BackgroundEncoder, Embeddings, Unencoded, spoken
from resolvers.users import display_name

log = structlog.get_logger("recallql.indexing")

INDEX_EVERY = 5.0
"""Seconds between two looks for what waits to be put into the index."""

ENCODE_EVERY = 0.5
"""Seconds between two looks for texts without vectors."""

ENCODED_TOGETHER = 32
"""Texts whose vectors are kept in one transaction."""

LONGEST_PAUSE = 300.0
"""Seconds after which a model that fails is asked again, at most."""


async def keep_indexed(database: Database) -> None:
    """Puts into the index what waits, as soon as that is much; a search reads the rest as it is."""
    while True:
        await asyncio.sleep(INDEX_EVERY)
        try:
            for collection in COLLECTIONS.values():
                await bring_up_to_date(database, collection)
        except Exception:
            log.exception("the index could not be brought up to date; it will be tried again")


async def keep_encoded(database: Database, embeddings: Embeddings) -> None:
    """Gives every text its vectors while there is a model; a search goes by words where they are missing."""
    pause, ours = ENCODE_EVERY, set[str]()
    while embeddings.source != "off":
        await asyncio.sleep(pause)
        encoder = embeddings.encoder
        if encoder is None:
            continue
        try:
            for collection in COLLECTIONS.values():
                while await _encode_some(database, collection, encoder, ours):
                    pause = ENCODE_EVERY
                    embeddings.report(None)
        except Unencoded as error:
            embeddings.report(str(error))
            pause = error.after or min(max(1.0, 2 * pause), LONGEST_PAUSE)
        except Exception:
            log.exception("texts could not be encoded; it will be tried again")
            pause = min(max(1.0, 2 * pause), LONGEST_PAUSE)


async def _encode_some(database: Database, collection: Collection, encoder: BackgroundEncoder, ours: set[str]) -> bool:
    """Encodes the next texts of a kind; whether there were any. `ours` has the kinds that this process has claimed."""
    progress = await vector_progress(database.reader, collection)
    if progress.model != encoder.name:
        if collection.name in ours:
            raise Unencoded("Another process makes vectors by another model; give all of them the same settings.")
        if not progress.newest:
            return False
        # Only once there are vectors to put in their place.
        await encoder.encode_texts(["a text"])
        await database.write(partial(claim_vectors, collection=collection, model=encoder.name))
        progress = await vector_progress(database.reader, collection)
    ours.add(collection.name)
    if not progress.waiting:
        return False
    rows = await texts_without_vectors(database.reader, collection, progress.through, ENCODED_TOGETHER)
    if not rows:
        return False
    made = await encoder.encode_texts([spoken(_speaker(row), row["text"]) for row in rows])
    put = partial(
        put_vectors, collection=collection, model=encoder.name, through=progress.through, rows=rows, made=made
    )
    return await database.write(put)


def _speaker(row: Any) -> str | None:
    if row["role"] == "USER" and row["name"] is None:
        return display_name(row["user_name"], row["first_name"], row["last_name"])
    return row["name"]


async def encoding_status(database: Database, embeddings: Embeddings) -> dict[str, Any]:
    """How the model stands, and about how many texts wait for it."""
    status = embeddings.status()
    if embeddings.encoder is not None:
        waiting = 0
        for collection in COLLECTIONS.values():
            progress = await vector_progress(database.reader, collection)
            waiting += progress.waiting if progress.model == embeddings.encoder.name else progress.newest
        status["waiting"] = waiting
    return status
