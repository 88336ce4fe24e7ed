"""Memory that a process has freed: kept for its next tensors, instead of given back to the system."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt."""
_DEFAULTS = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}
"""What glibc comes to by itself in a process that frees blocks of 32 MiB."""
_OWN_SETTINGS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_lock = Lock()
_blocks = 0
"""How many ``with`` blocks are open."""


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, this process keeps the memory that it frees; at the end of the last of several such blocks it gives it back.

    glibc returns large blocks to the system as soon as they are freed, and the system clears each page again when it is next
    used. Training and inference on the CPU free and take the same blocks in every step; a training step of MobileNetV2 on 512
    frames of 64x64 pixels spends 0.4 of its time on this. Inside, the process holds the most that it has used so far and some
    more, since a free block may be a little too small for the next: a tenth to a fifth in that training.

    Without glibc (macOS, Windows, musl), or where the environment sets these limits itself (``MALLOC_TRIM_THRESHOLD_``), nothing
    changes.
    """
    libc = None if any(name in os.environ for name in _OWN_SETTINGS) else _glibc()
    if libc is None:
        yield
        return
    _count(libc, 1)
    try:
        yield
    finally:
        _count(libc, -1)


def _count(libc: ctypes.CDLL, change: int) -> None:
    global _blocks
    with _lock:
        before, _blocks = _blocks, _blocks + change
        if before == 0:
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, -1)
        elif _blocks == 0:
            for parameter, value in _DEFAULTS.items():
                libc.mallopt(parameter, value)
            libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        found = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError):
        return None
    return ctypes.CDLL(None) if found else None
