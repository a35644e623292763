"""The memory allocator of the process: gives large blocks back to the system when they are freed."""

import ctypes

ARENAS_AT_MOST, MAPPED_FROM, TRIMMED_FROM = -8, -3, -1
"""`M_ARENA_MAX`, `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD` of glibc's `mallopt`."""

LARGE = 1024 * 1024
"""The smallest block, in bytes, that is mapped by itself. Mapping adds a seventh to the time of a 300 KiB answer."""

SPARE = 4 * 1024 * 1024
"""Free bytes that stay at the end of the heap for the next answer."""


def return_large_blocks() -> None:
    """Makes glibc map each large block by itself and use few arenas for its threads; does nothing without glibc.

    By default glibc raises the size from which it maps blocks, up to 32 MiB, as soon as one is freed. From then on
    texts and answers of a few MiB lie between small blocks, and the process keeps far more memory than it uses.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MAPPED_FROM, LARGE)
        mallopt(TRIMMED_FROM, SPARE)
        mallopt(ARENAS_AT_MOST, 2)
