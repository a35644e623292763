"""The full-text index follows what was written, in batches and in the background."""

import asyncio

import structlog

from models.database import Database
from models.search import COLLECTIONS, bring_up_to_date

log = structlog.get_logger("recallql.indexing")

INDEX_EVERY = 5.0
"""Seconds between two looks for what waits to be put into the index."""


async def keep_indexed(database: Database) -> None:
    """Puts into the index what waits, as soon as that is much; a search reads the rest as it is."""
    while True:
        await asyncio.sleep(INDEX_EVERY)
        try:
            for collection in COLLECTIONS.values():
                await bring_up_to_date(database, collection)
        except Exception:
            log.exception("the index could not be brought up to date; it will be tried again")
