"""Ask a model to judge answers of an evaluation: each a call for side work, with its cost."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from agents.domain.answer_checks import AnswerCheckOutcome
from agents.domain.configuration import AgentConfiguration
from agents.domain.evaluations import ResultStatus, RunState
from agents.domain.judging import INSTRUCTIONS, MAX_OUTPUT_TOKENS, Judgement, read_judgement, write_question
from agents.domain.message_parts import plain_text
from agents.engine.ports import Services
from agents.engine.utility_calls import UtilityCallFailed, ask_utility_model
from agents.journal.queries import fetch
from agents.journal.utility_calls import UtilityOwner
from agents.models import EvaluationResult, EvaluationRun
from foundation.db_threads import in_db_thread
from foundation.storable_text import storable_text

PURPOSE: Final = "judging"
CALL_SECONDS: Final = 60.0
# A judgement that was begun so long ago and not stored is lost with its process, and made again.
ABANDONED_SECONDS: Final = 180
_LABEL: Final = "meets the rubric"

# Which rows a process judges is decided under their locks, so that no two judge one.
_TAKE: Final = """
UPDATE agents_evaluationresult SET judging_at = now()
WHERE id IN (
    SELECT r.id FROM agents_evaluationresult r JOIN agents_evaluationrun e ON e.id = r.run_id
    WHERE e.state = 'running' AND r.needs_judge
      AND (r.judging_at IS NULL OR r.judging_at < now() - %(abandoned)s * interval '1 second')
    ORDER BY r.id LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED)
RETURNING id
"""


def take_unjudged(limit: int) -> list[int]:
    """The ids of results that the caller is to judge now."""
    return [key for (key,) in fetch(_TAKE, {"limit": limit, "abandoned": ABANDONED_SECONDS})]


async def judge_result(services: Services, result_id: int) -> None:
    """Judge one result and store what came of it. Raises database errors."""
    result = await in_db_thread(_read, result_id)
    if result is None:
        return
    case, run, test_set = result.case, result.run, result.run.test_set
    question = write_question(
        rubric=case.rubric or test_set.rubric,
        question=plain_text(case.question),
        recorded=plain_text(case.answer),
        answer=plain_text(result.answer or []),
    )
    cost: Decimal | None = None
    try:
        answer = await ask_utility_model(
            services,
            owner=UtilityOwner(run.paid_by_id, agent_id=run.agent_id),
            configuration=AgentConfiguration(utility_models=tuple(test_set.judge_chain)),
            system=INSTRUCTIONS,
            text=question,
            max_output_tokens=MAX_OUTPUT_TOKENS,
            purpose=PURPOSE,
            deadline=asyncio.get_running_loop().time() + CALL_SECONDS,
        )
        judgement, cost = read_judgement(answer.text), answer.usage.cost_usd
    except UtilityCallFailed as error:
        judgement = Judgement(None, f"No model could judge it. {error.detail}")
    await in_db_thread(_store, result, judgement, cost)


def _read(result_id: int) -> EvaluationResult | None:
    rows = EvaluationResult.objects.select_related("case", "run__test_set")
    return rows.filter(pk=result_id, needs_judge=True, status=ResultStatus.DONE, run__state=RunState.RUNNING).first()


@transaction.atomic
def _store(result: EvaluationResult, judgement: Judgement, cost: Decimal | None) -> None:
    # An answer that nobody could judge has not passed.
    outcome = AnswerCheckOutcome(_LABEL, judgement.passed is True, storable_text(judgement.reason))
    checks: list[Any] = [*result.checks, outcome.dump()]
    unjudged = EvaluationResult.objects.filter(pk=result.pk, needs_judge=True)
    if unjudged.update(checks=checks, passed=outcome.passed and result.passed is not False, needs_judge=False) and cost:
        EvaluationRun.objects.filter(pk=result.run_id).update(cost_usd=F("cost_usd") + cost)
