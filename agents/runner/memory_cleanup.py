"""Give memory of this process back to the operating system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

from foundation.droppable_caches import drop_caches
from foundation.process_memory import resident_bytes

_MEBIBYTE = 1024 * 1024


def free_memory() -> str:
    """Drop caches, collect garbage, and return free pages to the system; return in words what that gave.

    The collection stops the process for some hundredths of a second.
    """
    size_before = resident_bytes()
    drop_caches()
    gc.collect()
    # Not every C library has it (musl and macOS do not); where it is missing, freed pages go back as they may.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    size_after = resident_bytes()
    return f"{size_before / _MEBIBYTE:.1f} MiB before, {size_after / _MEBIBYTE:.1f} MiB after."
