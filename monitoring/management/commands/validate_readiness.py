"""`manage.py validate_readiness [--agent SLUG] [--json]`: whether people may be let in."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor
from foundation.errors import BandstandError
from monitoring.models import ReadinessRun
from monitoring.readiness_validator.check_lines import CheckLine, CheckOutcome
from monitoring.readiness_validator.runs import read_lines, run_now

_MARKS: Final = {CheckOutcome.PASSED: "passed ", CheckOutcome.WARNING: "warning", CheckOutcome.FAILED: "FAILED "}


class Command(BaseCommand):
    help = (
        "Check configuration, dependencies, error handling, memory, performance and security. Status 0: nothing "
        "failed; 1: something did, and its line says what to do. Models are called once each, and nothing is counted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--agent", metavar="SLUG", help="the draft of this agent; without it all live releases")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            run = run_now(Actor.system("validate_readiness"), agent_slug=options["agent"])
        except BandstandError as error:
            raise CommandError(error.detail) from None
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(run), indent=2, ensure_ascii=False))
        else:
            self._print(run)
        if run.status != ReadinessRun.Status.PASSED:
            raise SystemExit(1)

    def _print(self, run: ReadinessRun) -> None:
        area = None
        lines = read_lines(run)
        for line in lines:
            if line.area is not area:
                area = line.area
                self.stdout.write(f"\n{area.value.capitalize()}")
            about = f"{line.agent}: " if line.agent else ""
            self.stdout.write(f"  {_MARKS[line.outcome]}  {about}{line.name}: {line.message}")
            if line.remedy:
                self.stdout.write(f"           → {line.remedy}")
        self.stdout.write(f"\n{_summary(lines)}")


def _summary(lines: list[CheckLine]) -> str:
    failed, warnings = (
        sum(line.outcome is one for line in lines) for one in (CheckOutcome.FAILED, CheckOutcome.WARNING)
    )
    verdict = "Not ready" if failed else "Ready"
    return f"{verdict}: {len(lines)} checks, {failed} failed, {warnings} to look at."


def _as_json(run: ReadinessRun) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "status": run.status,
        "subject": run.subject,
        "agent": None if run.agent_id is None else str(run.agent_id),
        "fingerprint": run.fingerprint or None,
        "by": run.requested_as,
        "started_at": run.started_at.isoformat(),
        "finished_at": None if run.finished_at is None else run.finished_at.isoformat(),
        "lines": run.lines,
    }
