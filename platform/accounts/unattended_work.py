"""What goes on for users without a login or a key, such as what they have scheduled. It belongs to the user, so that a
revoked key does not end it; where keys are revoked, it is counted for whoever revokes one."""

from __future__ import annotations

from collections.abc import Callable, Collection

# By its noun in the singular: counts what will go on for the users with these ids.
_counts: dict[str, Callable[[Collection[int]], int]] = {}


def register_unattended_work(noun: str, count: Callable[[Collection[int]], int]) -> None:
    """Register what `count` counts for user ids; `noun` takes an s in the plural."""
    _counts[noun] = count


def describe_unattended_work(user_ids: Collection[int]) -> str:
    """What goes on for these users, such as "2 schedules"; "" for nothing."""
    numbers = {noun: count(user_ids) for noun, count in _counts.items()}
    return ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for noun, number in numbers.items() if number)
