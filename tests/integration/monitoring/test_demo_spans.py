"""Spans for made-up turns: as many as are asked for, and gone again."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents.management.demo.loading import load
from agents.models import Turn
from monitoring.models import TurnSpan
from monitoring.spans.reading import spans_of_turn

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_turns_of_the_past_days_get_spans_within_their_time_and_lose_them_again() -> None:
    load(turns=60, seed=1, until=timezone.now(), report=lambda _line: None)
    call_command("demo_spans", per_turn=5, days=91, stdout=StringIO())
    turn = Turn.objects.order_by("-pk")[0]
    spans = spans_of_turn(turn.pk, turn.queued_at)
    assert [span.name for span in spans][:2] == ["bandstand.admission", "bandstand.context"]
    assert len(spans) == 5
    assert turn.finished_at is not None
    assert all(turn.queued_at <= span.started_at < turn.finished_at for span in spans)
    assert TurnSpan.objects.count() == 5 * Turn.objects.count()
    call_command("demo_spans", remove=True, stdout=StringIO())
    assert not TurnSpan.objects.exists()


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(CommandError, match="--per-turn"):
        call_command("demo_spans", per_turn=0, stdout=StringIO())
