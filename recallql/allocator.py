"""The memory allocator of the process: gives large blocks back to the system when they are freed."""

import ctypes

ARENAS_AT_MOST, MAPPED_FROM = -8, -3
"""`M_ARENA_MAX` and `M_MMAP_THRESHOLD` of glibc's `mallopt`."""

LARGE = 256 * 1024
"""Bytes of a block that is mapped by itself, at least."""


def return_large_blocks() -> None:
    """Has glibc map each large block by itself, and use few arenas for its threads. Elsewhere it does nothing.

    By default glibc raises the size from which it maps blocks, up to 32 MiB, as soon as one is freed. From then on
    texts and answers of some MiB lie between small blocks, and the process keeps far more memory than it uses.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MAPPED_FROM, LARGE)
        mallopt(ARENAS_AT_MOST, 2)
