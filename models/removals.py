"""Records of removals: rows were removed permanently, and their bytes may still be in the database's files."""

from uuid import uuid4

from models.rows import RemovalRow
from models.store import Transaction
from models.tables import removals
from models.values import Time
from models.writing import TypedTable

removal_table = TypedTable(removals, RemovalRow)


async def note_removal(write: Transaction, now: str) -> bytes | None:
    """Records that this transaction removes rows permanently; returns the key of the record, None where the database
    clears its files by itself."""
    if not write.clears_files:
        return None
    key = uuid4().bytes
    await removal_table.insert(write, {"key": key, "removed_at": Time(now)})
    return key
