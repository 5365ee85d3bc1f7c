"""`manage.py evaluate`: run a release against a test set, from CI or by hand."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from accounts.models import User
from accounts.permissions import user_actor
from agents.domain.evaluations import ResultStatus, RunState
from agents.evaluations.evaluation_runs import begin_run
from agents.models import Agent, EvaluationRun, Release, TestSet
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError

EXIT_FAILED: Final = 1
EXIT_UNFINISHED: Final = 2
POLL_SECONDS: Final = 1.0


class Command(BaseCommand):
    help = (
        "Run a release against a test set and compare it with the live one. With --wait it exits with 0 when the "
        f"release has passed, {EXIT_FAILED} when not, {EXIT_UNFINISHED} when the run did not end, or not in time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("agent", help="its short name")
        parser.add_argument("test_set", help="its name")
        parser.add_argument("--release", type=int, required=True, metavar="N", help="the candidate")
        parser.add_argument("--baseline", type=int, metavar="N", help="what it is compared with; else the live release")
        parser.add_argument("--as", dest="user", required=True, help="the user who pays, and has the rights")
        parser.add_argument("--max-cost", metavar="USD", help="else what the set says")
        parser.add_argument("--wait", action="store_true")
        parser.add_argument("--timeout", type=float, default=86_400.0, metavar="SECONDS")
        parser.add_argument("--json", action="store_true", help="the report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        agent = Agent.objects.select_related("live_release").filter(slug=options["agent"]).first()
        if agent is None:
            raise CommandError("There is no such agent.")
        test_set = TestSet.objects.filter(agent=agent, name=options["test_set"]).first()
        if test_set is None:
            raise CommandError("This agent has no such test set.")
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError("There is no such user.")
        try:
            run = begin_run(
                user_actor(user),
                test_set_id=test_set.pk,
                candidate=_find_release(agent, options["release"]),
                baseline=_find_release(agent, options["baseline"]),
                paid_by=user.pk,
                max_cost_usd=_read_amount(options["max_cost"]),
            )
        except BandstandError as error:
            raise CommandError(error.detail) from None
        if options["wait"]:
            run = self._wait(run, options["timeout"])
        self.stdout.write(json.dumps(_dump(run)) if options["json"] else _line(run))
        if options["wait"]:
            if run.state != RunState.DONE:
                raise SystemExit(EXIT_UNFINISHED)
            if not run.report["passed"]:
                raise SystemExit(EXIT_FAILED)

    def _wait(self, run: EvaluationRun, timeout_seconds: float) -> EvaluationRun:
        ends_at = time.monotonic() + timeout_seconds
        while run.state == RunState.RUNNING and time.monotonic() < ends_at:
            time.sleep(POLL_SECONDS)
            try:
                run.refresh_from_db()
            except DATABASE_FAULTS:
                close_old_connections()
        return run


def _find_release(agent: Agent, number: int | None) -> Release:
    release = agent.live_release if number is None else agent.releases.filter(number=number).first()
    if release is None:
        raise CommandError("There is no such release.")
    return release


def _read_amount(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        raise CommandError("--max-cost is an amount in US dollars.") from None


def _line(run: EvaluationRun) -> str:
    ended = run.results.exclude(status__in=[ResultStatus.PENDING, ResultStatus.RUNNING]).count()
    said = run.report.get("sentence") or run.reason or f"{ended:,} of {run.results.count():,} answers"
    return f"{run.state}, ${run.cost_usd:.4f} of ${run.max_cost_usd:.2f}: {said}"


def _dump(run: EvaluationRun) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "state": run.state,
        "reason": run.reason,
        "cost_usd": float(run.cost_usd),
        "report": run.report,
    }
