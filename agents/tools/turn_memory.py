"""What tools may do with the memory of the turn that calls them, as a protocol: a tool knows no rows."""

from __future__ import annotations

from typing import Protocol


class TurnMemory(Protocol):
    """The memory of one call: it reaches what belongs to the turn's user and session, and nothing else.

    Each method returns words for the model, waits for the database, and may be called again with the same step. All
    raise `BandstandError` with words for the model.
    """

    def remember(self, text: str, *, slot: str) -> str:
        """Remember a fact of the user; after a result that strangers may have written it waits for a review."""
        ...

    async def recall(self, query: str) -> str:
        """What is remembered about `query`."""
        ...

    def forget(self, memory: str) -> str:
        """Erase the memory with this id or this text."""
        ...

    def add_item(self, kind: str, text: str) -> str:
        """Add a goal, a task or a note to the working memory of the session."""
        ...

    def finish_item(self, item: str) -> str:
        """Say that the item with this id is done."""
        ...
