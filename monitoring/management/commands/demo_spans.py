"""`manage.py demo_spans --per-turn 10`: spans of the turns that `demo_data` has made, to measure with."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from agents.management.demo.agents_and_users import PREFIX
from foundation.clock import now
from foundation.ids import lowest_id
from foundation.spans import ADMISSION, CONTEXT, DELIVERY, RECALL
from monitoring.models.turn_spans import DEFAULT_RETENTION_DAYS
from monitoring.spans.partitions import create_partitions, partition_names

MOST_PER_TURN: Final = 50
MOST_DAYS: Final = 91
_ONE_DAY: Final = timedelta(days=1)

# The first is before the turn's claim, the others are spread over its work.
_INSERT: Final = """
INSERT INTO monitoring_span (started_at, id, turn_id, agent_id, name, ended_at, error_type, attributes)
SELECT s.at, (random() * 9e18)::bigint, t.id, r.agent_id, (%(names)s::text[])[1 + (n - 1) %% 4],
       s.at + interval '1 millisecond' * (1 + 20 * random()), '', '{}'
FROM agents_turn t JOIN agents_release r ON r.id = t.release_id JOIN agents_agent a ON a.id = r.agent_id
CROSS JOIN generate_series(1, %(per_turn)s) n
CROSS JOIN LATERAL (
    SELECT t.queued_at + (coalesce(t.finished_at, t.queued_at) - t.queued_at) * (n - 1) / %(per_turn)s AS at
) s
WHERE t.id >= %(first)s AND t.id < %(last)s AND a.slug LIKE %(slugs)s
"""
_DELETE: Final = """
DELETE FROM {} s WHERE s.agent_id IN (SELECT id FROM agents_agent WHERE slug LIKE %(slugs)s)
   OR NOT EXISTS (SELECT FROM agents_agent a WHERE a.id = s.agent_id)
"""


class Command(BaseCommand):
    help = "Make spans for the made-up turns of the past days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--per-turn", type=int, default=4, help=f"1 to {MOST_PER_TURN} (4)")
        parser.add_argument(
            "--days",
            type=int,
            default=DEFAULT_RETENTION_DAYS,
            help=f"how many past days, 1 to {MOST_DAYS} ({DEFAULT_RETENTION_DAYS}, as long as spans are kept)",
        )
        parser.add_argument("--remove", action="store_true", help="remove the spans of made-up agents and of none")

    def handle(self, *_args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            if options["remove"]:
                for name in partition_names():
                    cursor.execute(_DELETE.format(name), {"slugs": f"{PREFIX}%"})
                return
            per_turn, days = options["per_turn"], options["days"]
            if not 1 <= per_turn <= MOST_PER_TURN or not 1 <= days <= MOST_DAYS:
                raise CommandError(f"--per-turn: 1 to {MOST_PER_TURN}; --days: 1 to {MOST_DAYS}.")
            for day in _days(days):
                create_partitions(cursor, [day.date(), (day + _ONE_DAY).date()])
                params = {"first": lowest_id(day), "last": lowest_id(day + _ONE_DAY), "per_turn": per_turn}
                cursor.execute(
                    _INSERT, {**params, "names": [ADMISSION, CONTEXT, RECALL, DELIVERY], "slugs": f"{PREFIX}%"}
                )
                self.stdout.write(f"{day:%Y-%m-%d}: {cursor.rowcount:,} spans")
            cursor.execute("ANALYZE monitoring_span")


def _days(count: int) -> Iterator[datetime]:
    today = now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today - _ONE_DAY * ago for ago in reversed(range(count)))
