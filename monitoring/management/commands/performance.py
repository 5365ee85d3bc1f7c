"""`manage.py performance`: the processes, what is recommended, and acts on it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor
from foundation.clock import now
from foundation.errors import BandstandError
from monitoring.models import UNFINISHED, ApplyMode, Recommendation, RecommendationKind
from monitoring.performance.descriptions import describe_evidence
from monitoring.performance.process_status import ProcessStatus, read_processes
from monitoring.performance.recommendation_actions import (
    apply_recommendation,
    dismiss_recommendation,
    set_apply_mode,
)
from monitoring.performance.situation import read_modes

# Those that are finished are document up to this number.
_FINISHED = 10


class Command(BaseCommand):
    help = "Show each process and what is recommended. `apply ID`, `dismiss ID`; `mode KIND off|suggest|automatic`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON")
        actions = parser.add_subparsers(dest="action", metavar="{show,apply,dismiss,mode}")
        actions.add_parser("show", help="processes, recommendations, and who applies them (the default)")
        for name in ("apply", "dismiss"):
            actions.add_parser(name, help=f"{name} a recommendation").add_argument("id", type=UUID)
        mode = actions.add_parser("mode", help="who applies the recommendations of a kind")
        mode.add_argument("kind", choices=RecommendationKind.values)
        mode.add_argument("mode", choices=ApplyMode.values)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = Actor.system("performance")
        try:
            match options["action"]:
                case "apply":
                    apply_recommendation(actor, recommendation_id=options["id"])
                case "dismiss":
                    dismiss_recommendation(actor, recommendation_id=options["id"])
                case "mode":
                    kind, mode = RecommendationKind(options["kind"]), ApplyMode(options["mode"])
                    set_apply_mode(actor, kind=kind, mode=mode)
        except BandstandError as error:
            raise CommandError(error.detail) from None
        processes, recommendations = read_processes(now()), _recommendations()
        modes = {kind.value: mode.value for kind, mode in read_modes().items()}
        if options["json"]:
            document = {
                "processes": [process.as_json() for process in processes],
                "recommendations": [_as_json(row) for row in recommendations],
                "modes": modes,
            }
            self.stdout.write(json.dumps(document, indent=2))
            return
        self._table(processes)
        for row in recommendations:
            evidence = "; ".join(describe_evidence(row))
            self.stdout.write(
                f"{row.pk}  {row.status:9}  {row}: {evidence}{f' → {row.outcome}' if row.outcome else ''}"
            )
        self.stdout.write("Applied by: " + ", ".join(f"{kind} {mode}" for kind, mode in modes.items()))

    def _table(self, processes: list[ProcessStatus]) -> None:
        head = (
            "process",
            "status",
            "requests",
            "mean s",
            "errors %",
            "MiB",
            "mem %",
            "CPU %",
            "queue",
            "sessions",
            "ctx %",
        )
        rows = [
            (
                f"{one.kind} {one.name}",
                one.status,
                str(one.requests_total),
                _number(one.mean_seconds, 3),
                _number(one.error_percent),
                _number(None if one.memory_bytes is None else one.memory_bytes / 1024**2, 0),
                _number(one.memory_percent),
                _number(one.cpu_percent),
                str(one.queue_length),
                str(one.active_sessions),
                _number(one.context_percent),
            )
            for one in processes
        ]
        if not rows:
            self.stdout.write("No process has said anything in the last five minutes.")
            return
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            self.stdout.write("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _recommendations() -> list[Recommendation]:
    finished = Recommendation.objects.exclude(status__in=UNFINISHED)[:_FINISHED]
    return [*Recommendation.objects.filter(status__in=UNFINISHED), *finished]


def _as_json(row: Recommendation) -> dict[str, Any]:
    times = {
        name: None if (at := getattr(row, name)) is None else at.isoformat()
        for name in ("created_at", "decided_at", "finished_at", "reverted_at")
    }
    return {
        "id": str(row.pk),
        "kind": row.kind,
        "status": row.status,
        "runner": None if row.runner_id is None else str(row.runner_id),
        "agent": None if row.agent_id is None else str(row.agent_id),
        "subject": row.subject,
        "reason": row.reason,
        "evidence": row.evidence,
        "action": row.action,
        "automatic": row.automatic,
        "outcome": row.outcome,
        "before": row.figures_before,
        "after": row.figures_after,
        **times,
    }


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
