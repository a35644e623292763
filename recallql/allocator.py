"""The memory allocator of the process: gives large blocks back to the system when they are freed."""

import ctypes

ARENAS_AT_MOST, MAPPED_FROM, TRIMMED_FROM = -8, -3, -1
"""`M_ARENA_MAX`, `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD` of glibc's `mallopt`."""

LARGE = 1024 * 1024
"""Bytes of a block that is mapped by itself, at least. Mapping costs an answer of 300 KiB a seventh of its time."""

SPARE = 4 * 1024 * 1024
"""Bytes at the end of the heap that are kept for the next answer."""


def return_large_blocks() -> None:
    """Has glibc map each large block by itself, and use few arenas for its threads. Elsewhere it does nothing.

    By default glibc raises the size from which it maps blocks, up to 32 MiB, as soon as one is freed. From then on
    texts and answers of some MiB lie between small blocks, and the process keeps far more memory than it uses.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MAPPED_FROM, LARGE)
        mallopt(TRIMMED_FROM, SPARE)
        mallopt(ARENAS_AT_MOST, 2)
