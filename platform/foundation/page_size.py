"""How many rows of different sizes fit into one page."""

from __future__ import annotations

from collections.abc import Iterable

# A page of messages or events ends after so much, and has one at least. Each may have some megabytes itself.
PAGE_BYTES = 4 * 1024 * 1024


def count_fitting(sizes: Iterable[int], max_bytes: int = PAGE_BYTES) -> int:
    """How many of the first rows with these sizes have at most `max_bytes` together; one at least, if there is one."""
    total = count = 0
    for size in sizes:
        total += size
        if count and total > max_bytes:
            break
        count += 1
    return count
