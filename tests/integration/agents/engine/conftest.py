"""Every request that a test of the engine sends is built again from the rows, and must be what was sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.engine.rebuilt_request import rebuild_request
from agents.models import Step
from foundation.errors import BandstandError
from tests.support.scripted import ScriptedTools


@pytest.fixture(autouse=True)
def every_request_is_proved(transactional_db: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """A module whose runs are of another context than the one of the rows says `CHANGES_CONTEXTS = True`."""
    yield
    if getattr(request.module, "CHANGES_CONTEXTS", False):
        return
    sent = Step.objects.filter(details__has_key="request").select_related("turn")
    for step in sent:
        try:
            rebuilt = rebuild_request(step, step.turn, ScriptedTools().specs)
        except BandstandError:
            continue  # a release that nobody can read
        assert rebuilt.is_equal, (step.number, rebuilt.differences)
