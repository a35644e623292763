"""Vectors of searchable texts: the backlog of texts without vectors, storing and reading vectors.

Each database stores them in its own way: on SQLite see `models/sqlite/vectors.py`.
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
