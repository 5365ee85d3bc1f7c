"""`provider`: the fake provider inside the test's own event loop. Import it into a conftest or a test module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.provider.server import Provider


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    """A running provider; its address is `provider.base_url`."""
    running = Provider()
    await running.start()
    yield running
    await running.stop()
