"""Keeps glibc from handing freed memory back to the system after every step."""

from __future__ import annotations

import ctypes

# Numbers of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_HEAP_BLOCK = 1 << 30


def keep_freed_memory() -> bool:
    """Lets the next step use the memory that the last one freed, for training on a CPU.

    By default glibc maps each large block anew and gives it back when it is freed, so every step takes its
    activations through page faults again. benchmarks/allocator.py measures what that costs.

    Returns:
        Whether the C library took the settings; others than glibc do without.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
