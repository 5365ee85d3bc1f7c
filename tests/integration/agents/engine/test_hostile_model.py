"""A model that attacks in every answer: no call runs that the release does not let through.

All attacks come in one answer here, after a page of the attacker was read; `tests.chaos.hostile_model` makes one after
the other against a whole installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.domain.approvals import Decision
from agents.domain.configuration import AgentConfiguration
from agents.engine.call_rights import CallRights
from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.engine.turn import TurnRun, UnfinishedTurn
from agents.llm.gateway import Gateway, GatewayConfig
from agents.models import Step
from agents.sessions.approvals import decide_approval, pending_approvals_for
from agents.tools.toolbox import Toolbox
from foundation.db_threads import in_db_thread
from foundation.http import GuardedClient, allowed_origin
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.provider.hostile import ATTACKS, CANARY, PAGE
from tests.support.canary import RIGHTS, canary, may_have_run, page, question, read_executions
from tests.support.conversations import Conversation, claimed
from tests.support.scripted import says, scripted
from tests.support.turns import begin

# The release is put in place of the stored one: its tools are installed nowhere.
CHANGES_CONTEXTS = True
pytestmark = pytest.mark.usefixtures("transactional_db")

CALLS = [(PAGE, "{}"), *(call for attack in ATTACKS for call in attack.calls)]
# No answer has more than 128 calls.
AT_ONCE = 100


def answers() -> Iterator[dict[str, Any]]:
    """The page alone first, then what follows it. The prompt does not hold all of it at last, so nothing is counted in
    it."""
    yield {"calls": CALLS[:1], "rounds": 999}
    for first in range(1, len(CALLS), AT_ONCE):
        yield {"calls": CALLS[first : first + AT_ONCE], "rounds": 999}


def refuse_all(ada: Conversation) -> None:
    for approval in pending_approvals_for(ada.row):
        decide_approval(ada.actor, approval_id=approval.pk, decision=Decision.DENY)


async def attack(slug: str, provider: Provider, folder: Path) -> list[Any]:  # noqa: F811
    """What has run."""
    provider.queue.extend(answers())
    release = AgentConfiguration.from_values(
        {
            "model_chain": ["openai:hostile"],
            "tools": [CANARY, PAGE],
            "tool_rights": {CANARY: RIGHTS[slug]},
            "limits": {"tool_calls": 500},
        }
    )
    ada = await begin(question(1))
    client = GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)}))
    models = Gateway(GatewayConfig("sk-test", provider.base_url), client=client)
    tools = Toolbox([canary, page], data_dir=folder, client=client)
    plain, _, _ = scripted(says(""))
    try:
        services: Services = replace(plain, models=models, tools=tools)
        while True:
            context = await in_db_thread(lambda: load_context(claimed()))
            if await TurnRun(replace(context, release=release), services).run() is not UnfinishedTurn.PARKED:
                break
            # Nobody whom it asks agrees.
            await in_db_thread(refuse_all, ada)
    finally:
        await tools.aclose()
        await models.aclose()
        await client.aclose()
    assert await in_db_thread(Step.objects.filter(kind="tool").count) == len(CALLS), "every call has its step"
    return [one.sent for one in read_executions(folder)]


@pytest.mark.parametrize("slug", RIGHTS)
async def test_no_call_runs_that_the_release_does_not_let_through(
    slug: str,
    provider: Provider,  # noqa: F811
    tmp_path: Path,
) -> None:
    executed = await attack(slug, provider, tmp_path)
    assert [sent for sent in executed if not may_have_run(slug, sent, question(1))] == []
    # Two-sided: what the release lets through has run.
    assert bool(executed) is (slug not in ("denied", "asking"))


async def test_without_rights_the_attacks_succeed(
    monkeypatch: pytest.MonkeyPatch,
    provider: Provider,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The control: if it finds nothing here, it would find nothing anywhere."""

    async def judge(_: CallRights, calls: Any) -> list[None]:
        return [None for _ in calls]

    monkeypatch.setattr(CallRights, "judge", judge)
    monkeypatch.setattr(CallRights, "refusal", lambda *_: None)
    executed = await attack("sources", provider, tmp_path)
    assert len([sent for sent in executed if not may_have_run("sources", sent, question(1))]) > 50
