"""A search from the event loop, with real commits: its statements run in threads of the database."""

from __future__ import annotations

from uuid import UUID

import pytest

from foundation.db_threads import in_db_thread
from memory.enums import MemoryScope
from memory.ownership import OwnerKey
from memory.recall import RecallRequest, arecall
from tests.support.memories import EMBEDDER, store

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_the_question_is_embedded_outside_of_a_database_thread() -> None:
    owner = OwnerKey(MemoryScope.AGENT, agent_id=UUID(int=7))
    await in_db_thread(store, owner, "The kettle is broken.")
    result = await arecall([owner], RecallRequest(query="kettle"), embedder=EMBEDDER)
    assert [memory.text for memory in result.memories] == ["The kettle is broken."]
