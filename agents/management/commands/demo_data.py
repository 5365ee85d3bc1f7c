"""`manage.py demo_data --turns 1000000`: generated conversations, to try and to measure the console with."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from agents.management.demo.loading import load
from agents.management.demo.removal import remove
from agents.models import AgentSession
from foundation.clock import now

LARGEST = 20_000_000
MOST_STEPS = 30
HOW_TO_REMOVE = "To remove all of it: .venv/bin/python manage.py demo_data --remove"


class Command(BaseCommand):
    help = "Fill an empty installation with made-up conversations of 90 days; the same for the same seed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--turns", type=int, default=10_000, help="how many (10,000)")
        parser.add_argument(
            "--steps", type=int, help=f"steps of each turn in the mean, 1 to {MOST_STEPS} (one or three)"
        )
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--until", help="the last day, as 2026-11-22 (now)")
        parser.add_argument("--into-existing", action="store_true", help="even if there are conversations already")
        parser.add_argument("--remove", action="store_true", help="remove what this command made")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["remove"]:
            for name, count in remove(report=self._report).items():
                self._report(f"removed: {count:,} {name}")
            return
        turns: int = options["turns"]
        if not 1 <= turns <= LARGEST:
            raise CommandError(f"--turns: 1 to {LARGEST:,}.")
        steps: int | None = options["steps"]
        if steps is not None and not 1 <= steps <= MOST_STEPS:
            raise CommandError(f"--steps: 1 to {MOST_STEPS}.")
        if AgentSession.objects.exists() and not options["into_existing"]:
            raise CommandError(
                "There are conversations here already. This is for an empty installation; --into-existing does it "
                f"all the same. {HOW_TO_REMOVE}"
            )
        counts = load(
            turns=turns, steps=steps, seed=options["seed"], until=_until(options["until"]), report=self._report
        )
        with connection.cursor() as cursor:
            # The planner must know what is there before anybody opens a page.
            cursor.execute(
                "VACUUM (ANALYZE) agents_agentsession, agents_turn, agents_message, agents_step, agents_event, "
                "agents_feedback, agents_turnrollup, agents_callrollup, agents_usagerollup, agents_turntext"
            )
        self._report(", ".join(f"{count:,} rows of {name}" for name, count in counts.items()))
        self._report(HOW_TO_REMOVE)

    def _report(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _until(day: str | None) -> datetime:
    if day is None:
        return now()
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC)
    except ValueError:
        raise CommandError("--until: a day, as 2026-11-22.") from None
