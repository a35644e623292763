"""Vectors of what can be searched: which texts wait for theirs, keeping them, reading them.

How they are kept is the database's own: on SQLite it is `models/sqlite/vectors.py`.
"""

from models.sqlite.vectors import (
    LONGEST_READ,
    Progress,
    WaitingText,
    claim_vectors,
    put_vectors,
    read_vectors,
    texts_without_vectors,
    vector_progress,
)

__all__ = [
    "LONGEST_READ",
    "Progress",
    "WaitingText",
    "claim_vectors",
    "put_vectors",
    "read_vectors",
    "texts_without_vectors",
    "vector_progress",
]
