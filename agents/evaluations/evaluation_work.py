"""The work on runs: open lanes, settle those that have ended, stop at the money, end with the report.

One process at a time does it. Each lane is begun, and settled, by one transaction that only the first one to write has
an effect in, so that a process that dies leaves nothing half done and its successor does nothing twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from agents.domain.answer_checks import AnswerCheckOutcome, CalledTool, Observed, evaluate_checks, parse_checks
from agents.domain.evaluation_report import LaneOutcome, normalise_words, summarise_run
from agents.domain.evaluations import Lane, ResultStatus, RunState
from agents.domain.failures import ErrorClass
from agents.domain.message_parts import plain_text
from agents.domain.states import StepKind, TurnStatus
from agents.evaluations.evaluation_runs import MAX_REASON
from agents.evaluations.lane_turns import begin_lane
from agents.journal.locked_writes import lock_session, lock_turn, stop_locked
from agents.models import EvaluationResult, EvaluationRun, Message, Step, TestCase, TestSet, Turn
from agents.releases.validation import writing_tools
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError

log = structlog.get_logger(__name__)

# Turns of one run that are open at a time: they are of the background, and people come first.
OPEN_LANES: Final = 8
_BATCH: Final = 100
_MAX_DETAIL: Final = 1_000


def work_on_evaluations() -> int:
    """One pass over all runs; returns how many lanes were begun or settled. Nothing while another process does."""
    done = 0
    with try_advisory_lock(AdvisoryLock.WORK_ON_EVALUATIONS) as acquired:
        if acquired:
            for run in EvaluationRun.objects.select_related("test_set").filter(state=RunState.RUNNING).order_by("pk"):
                done += _try_one(run)
            done += _stop_abandoned()
    return done


def _try_one(run: EvaluationRun) -> int:
    try:
        return _work_on(run)
    except DATABASE_FAULTS:
        raise
    except Exception:
        # One that cannot go on must not stop the others.
        log.exception("evaluation.failed", run=str(run.pk))
        _end(run, RunState.FAILED, reason="It cannot go on: the log of the runners says why.")
        return 0


def _work_on(run: EvaluationRun) -> int:
    done = settle_ended(run)
    run.refresh_from_db(fields=["cost_usd", "state"])
    if run.state != RunState.RUNNING:
        return done
    results = run.results.all()
    open_lanes = results.filter(status=ResultStatus.RUNNING).count()
    room = min(OPEN_LANES - open_lanes, _affordable(run, open_lanes))
    pending = results.select_related("case").filter(status=ResultStatus.PENDING).order_by("pk")
    for result in pending[: max(0, room)]:
        done += begin_lane(run, result)
    if results.filter(Q(status=ResultStatus.RUNNING) | Q(needs_judge=True)).exists():
        return done
    if not pending.exists():
        _finish(run)
    elif _affordable(run, 0) < 1:
        _stop(run, f"It has spent ${run.cost_usd:.4f} of ${run.max_cost_usd:.2f}.")
    return done


def _affordable(run: EvaluationRun, open_lanes: int) -> int:
    """How many more lanes the money is enough for, if they cost what those so far did on average."""
    left = run.max_cost_usd - run.cost_usd
    ended = run.results.filter(status__in=[ResultStatus.DONE, ResultStatus.DIVERGED, ResultStatus.FAILED]).count()
    mean = run.cost_usd / ended if ended else Decimal(0)
    if left <= 0:
        return 0
    return OPEN_LANES if not mean else int(left / mean) - open_lanes


def settle_ended(run: EvaluationRun) -> int:
    """Write what became of the lanes of a run whose turns have ended; returns how many."""
    running = run.results.filter(status=ResultStatus.RUNNING)
    lanes = {result.turn_id: result for result in running.select_related("case")[:_BATCH] if result.turn_id}
    turns = {turn.pk: turn for turn in Turn.objects.filter(pk__in=lanes)}
    ended = [turn for turn in turns.values() if turn.finished_at is not None]
    answers, calls = _read_answers([turn.pk for turn in ended]) if ended else ({}, {})
    for turn in ended:
        _settle(run.test_set, lanes[turn.pk], turn, answers.get(turn.pk, []), calls.get(turn.pk, []))
    gone = [result for key, result in lanes.items() if key not in turns]
    for result in gone:
        # Its session was deleted.
        _write(result, status=ResultStatus.FAILED, detail="Its conversation was deleted while it ran.")
    return len(ended) + len(gone)


def _read_answers(turn_ids: Sequence[Any]) -> tuple[dict[Any, Any], dict[Any, list[CalledTool]]]:
    answers = dict(
        Message.objects.filter(turn__in=turn_ids, author=Message.Author.AGENT).values_list("turn_id", "parts")
    )
    calls: dict[Any, list[CalledTool]] = defaultdict(list)
    writing = writing_tools()
    steps = Step.objects.filter(turn__in=turn_ids, kind=StepKind.TOOL).order_by("turn_id", "number")
    for turn_id, name, request in steps.values_list("turn_id", "name", "request"):
        calls[turn_id].append(CalledTool(name, request, name in writing))
    return answers, calls


def _settle(test_set: TestSet, result: EvaluationResult, turn: Turn, answer: Any, calls: list[CalledTool]) -> None:
    status = ResultStatus.FAILED
    if turn.status == TurnStatus.COMPLETED:
        status = ResultStatus.DONE
    elif turn.error_class == ErrorClass.DIVERGED:
        status = ResultStatus.DIVERGED
    started_at = turn.started_at or turn.queued_at
    seconds = max(0.0, (turn.finished_at - started_at).total_seconds()) if turn.finished_at else 0.0
    values: dict[str, Any] = {
        "status": status,
        "answer": answer,
        "seconds": seconds,
        "cost_usd": turn.cost_usd,
        "detail": "" if status is ResultStatus.DONE else (turn.error_detail or turn.error_class)[:_MAX_DETAIL],
    }
    if status is ResultStatus.DONE:
        text = plain_text(answer)
        cost = float(turn.cost_usd) if turn.cost_usd is not None else None
        outcomes = _check(test_set, result.case, Observed(text, calls, seconds, cost))
        has_rubric = bool(test_set.judge_chain and (result.case.rubric or test_set.rubric))
        values |= {
            "differs": normalise_words(text) != normalise_words(plain_text(result.case.answer)),
            "checks": [outcome.dump() for outcome in outcomes],
            "passed": all(outcome.passed for outcome in outcomes) if outcomes else None,
            "needs_judge": has_rubric,
        }
    _write(result, **values)


def _check(test_set: TestSet, case: TestCase, observed: Observed) -> list[AnswerCheckOutcome]:
    try:
        return evaluate_checks([*parse_checks(test_set.checks), *parse_checks(case.checks)], observed)
    except BandstandError as error:
        return [AnswerCheckOutcome("can be checked", passed=False, detail=error.detail)]


@transaction.atomic
def _write(result: EvaluationResult, **values: Any) -> None:
    running = EvaluationResult.objects.filter(pk=result.pk, status=ResultStatus.RUNNING)
    if running.update(**values) and (cost := values.get("cost_usd")):
        EvaluationRun.objects.filter(pk=result.run_id).update(cost_usd=F("cost_usd") + cost)


def _finish(run: EvaluationRun) -> None:
    entries: dict[Any, dict[Lane, LaneOutcome]] = defaultdict(dict)
    for case_id, lane, status, differs, passed in run.results.values_list(
        "case_id", "lane", "status", "differs", "passed"
    ):
        entries[case_id][Lane(lane)] = LaneOutcome(status, differs, passed)
    report = summarise_run(list(entries.values()), baseline=run.baseline.number, candidate=run.candidate.number)
    _end(run, RunState.DONE, report=report)


def _stop(run: EvaluationRun, reason: str) -> None:
    _end(run, RunState.STOPPED, reason=reason[:MAX_REASON])


def _end(run: EvaluationRun, state: RunState, **values: Any) -> None:
    running = EvaluationRun.objects.filter(pk=run.pk, state=RunState.RUNNING)
    if running.update(state=state, ended_at=Now(), **values):
        log.info("evaluation.ended", run=str(run.pk), state=state, cost_usd=str(run.cost_usd))


def _stop_abandoned() -> int:
    """Cancel the open turns of runs that were stopped, and settle their lanes."""
    left = EvaluationResult.objects.filter(status=ResultStatus.RUNNING).exclude(run__state=RunState.RUNNING)
    stopped = 0
    for result in left[:_BATCH]:
        turn = Turn.objects.filter(pk__in=[result.turn_id], finished_at=None).first()
        if turn is not None:
            with transaction.atomic():
                session = lock_session(turn.agent_session_id)
                stop_locked(session, lock_turn(session, turn.pk))
        _write(result, status=ResultStatus.FAILED, detail="The run was stopped.")
        stopped += 1
    return stopped
