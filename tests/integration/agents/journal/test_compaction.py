"""Folding the deltas of ended turns: fewer rows, the same story."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from agents import tasks
from agents.journal import fenced_writes
from agents.journal.compaction import compact_turns
from agents.journal.fenced_writes import NewEvent
from agents.journal.locked_writes import lock_session
from agents.journal.log import is_contiguous, read_log
from agents.models import Event, Runner, Step
from agents.runner.reaper import release_claim
from agents.sessions import read_events
from foundation.ids import new_id
from rest.models import IdempotencyRecord
from rest.tasks import purge_idempotency
from tests.support.conversations import (
    Conversation,
    answer,
    claimed,
    compact_turn,
    conversation,
    fail,
    nothing_yet,
    reason,
    replayed,
    say,
    side_by_side,
)

pytestmark = pytest.mark.usefixtures("transactional_db")


def rows(ada: Conversation) -> list[tuple[int | None, int, str, str]]:
    """Each row of the log as (first seq it stands for, seq, type, text)."""
    return [(event.replaces_from, event.seq, event.type, event.data.get("text", "")) for event in ada.events()]


def deltas(ada: Conversation) -> list[tuple[int | None, int, str]]:
    return [(first, seq, text) for first, seq, event_type, text in rows(ada) if event_type == "message.delta"]


def ended_turn(*texts: str) -> Conversation:
    ada = conversation()
    ada.ask()
    work = claimed()
    for text in texts:
        say(work, text)
    answer(work, "".join(texts))
    return ada


def fold(ada: Conversation) -> None:
    """Fold every turn that has ended."""
    for turn in ada.turns():
        assert compact_turn(ada.session_id, turn.pk) is bool(turn.finished_at and not turn.compacted)


def test_a_run_of_deltas_becomes_one_row_that_names_its_range() -> None:
    ada = ended_turn("Hel", "lo", " wörld")
    fold(ada)
    assert deltas(ada) == [(4, 6, "Hello wörld")]
    assert [seq for _, seq, *_ in rows(ada)] == [1, 2, 3, 6, 7, 8]
    assert ada.turn().compacted


def test_one_delta_alone_stays_as_it_is() -> None:
    ada = ended_turn("Hello")
    before = rows(ada)
    fold(ada)
    assert rows(ada) == before
    assert ada.turn().compacted


def test_a_turn_without_deltas_is_done_with() -> None:
    ada = ended_turn()
    fold(ada)
    assert ada.turn().compacted


def test_runs_end_at_events_of_another_kind() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    say(work, "a", "b")
    tool = {"step": 2, "call_id": "c", "name": "clock"}
    fenced_writes.append(work, [NewEvent("tool.started", tool | {"arguments": "{}"})])
    say(work, "c")
    fenced_writes.append(work, [NewEvent("tool.finished", tool | {"content": "noon"})])
    say(work, "d", "e", "f")
    answer(work)
    fold(ada)
    assert deltas(ada) == [(4, 5, "ab"), (None, 7, "c"), (9, 11, "def")]


def test_reasoning_becomes_one_row_too_and_is_never_mixed_with_text() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    reason(work, "H", "m")
    say(work, "a", "b")
    reason(work, "So")
    say(work, "c", "d")
    answer(work)
    fold(ada)
    assert [row for row in rows(ada) if row[2].endswith(".delta")] == [
        (4, 5, "reasoning.delta", "Hm"), (6, 7, "message.delta", "ab"), (None, 8, "reasoning.delta", "So"),
        (9, 10, "message.delta", "cd"),
    ]  # fmt: skip
    assert replayed(ada, nothing_yet(ada.snapshot()["session"])) == ada.snapshot()


def test_runs_end_at_events_of_another_turn() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    say(work, "a", "b")
    ada.ask("Meanwhile")
    say(work, "c", "d")
    answer(work)
    fold(ada)
    assert deltas(ada) == [(4, 5, "ab"), (8, 9, "cd")]


def test_the_epochs_of_a_turn_are_never_mixed() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    say(work, "first", " try")
    release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=1, without_progress=False)
    work = claimed()
    say(work, "sec", "ond")
    answer(work, "second")
    fold(ada)
    assert deltas(ada) == [(4, 5, "first try"), (8, 9, "second")]


def test_folding_twice_changes_nothing_more() -> None:
    ada = ended_turn("a", "b", "c")
    fold(ada)
    before = rows(ada)
    fold(ada)
    assert rows(ada) == before


def test_the_turns_beside_it_are_left_alone() -> None:
    ada = ended_turn("a", "b")
    ada.ask()
    work = claimed()
    say(work, "c", "d")
    compact_turn(ada.session_id, ada.turns()[0].pk)
    assert deltas(ada) == [(4, 5, "ab"), (None, 11, "c"), (None, 12, "d")]


def test_the_log_stays_gapless_by_its_ranges() -> None:
    ada = ended_turn(*"abcdefg")
    fold(ada)
    events = read_log(ada.session_id, after=0, limit=100)
    at = 0
    for event in events:
        assert event.first_seq == at + 1
        at = event.seq
    assert at == ada.row.next_seq - 1


def test_a_reader_goes_on_at_the_ends_of_a_range_and_resyncs_inside() -> None:
    ada = ended_turn(*"abcd")
    fold(ada)
    last = ada.row.next_seq - 1
    for after in range(last + 1):
        inside = 4 <= after < 7
        assert is_contiguous(after, read_log(ada.session_id, after=after, limit=1), last) is not inside
        assert read_events(actor=ada.actor, session_id=ada.session_id, after=after, limit=10).resync is inside


def test_the_law_holds_from_every_point_that_is_not_inside_a_range() -> None:
    ada = conversation()
    snapshots = [ada.snapshot()]
    ada.ask()
    work = claimed()
    for text in "abcd":
        snapshots.append(ada.snapshot())
        say(work, text)
    fail(work, text="abcd")
    fold(ada)
    fresh = ada.snapshot()
    for earlier in [*snapshots[:2], fresh]:
        assert replayed(ada, earlier) == fresh


def test_many_turns_of_many_sessions_are_folded_together() -> None:
    people = [conversation(name) for name in ("ada", "bob")]
    turns = []
    for ada in people:
        for text in ("abc", "de"):
            ada.ask()
            work = claimed()
            say(work, *text)
            answer(work, text)
            turns.append((work.session_id, work.turn_id))
    people[0].ask()
    assert compact_turns([*turns, (people[0].session_id, people[0].turns()[-1].pk), (new_id(), new_id())]) == 4
    assert [[text for *_, text in deltas(ada)] for ada in people] == [["abc", "de"]] * 2


def test_a_session_that_somebody_writes_is_folded_later() -> None:
    ada = ended_turn("a", "b")
    with transaction.atomic():
        lock_session(ada.session_id)
        assert side_by_side(lambda: compact_turn(ada.session_id, ada.turn().pk)) == [False]
    assert not ada.turn().compacted
    assert compact_turn(ada.session_id, ada.turn().pk)


def test_a_turn_that_still_runs_is_never_folded() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    say(work, "a", "b")
    assert not compact_turn(ada.session_id, work.turn_id)
    assert deltas(ada) == [(None, 4, "a"), (None, 5, "b")]
    assert not ada.turn().compacted


# --- what the scheduler runs ---


def test_turns_are_folded_when_their_end_is_long_enough_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = ended_turn("a", "b")
    assert tasks.compact_events() == 0, "readers who follow live are not cut off"
    monkeypatch.setattr(tasks, "COMPACT_AFTER", timedelta(0))
    assert tasks.compact_events() == 1
    assert deltas(ada) == [(4, 5, "ab")]
    assert tasks.compact_events() == 0, "once"


def test_a_turn_whose_rows_cannot_be_read_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "COMPACT_AFTER", timedelta(0))
    ada = conversation()
    for text in ("a", "b", "c"):
        ada.ask()
        work = claimed()
        say(work, text, text)
        answer(work, text + text)
    broken = ada.turns()[1]
    step = Step.objects.create(
        turn=broken, epoch=1, number=9, kind="model", name="offline", status="done", finished_at=timezone.now(),
        details={"first_token_seconds": "soon"},
    )  # fmt: skip
    assert tasks.compact_events() == 2
    assert [turn.compacted for turn in ada.turns()] == [True, False, True]
    step.delete()
    assert tasks.compact_events() == 1


def test_open_turns_are_never_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "COMPACT_AFTER", timedelta(0))
    conversation().ask()
    say(claimed(), "a", "b")
    assert tasks.compact_events() == 0
    assert Event.objects.filter(type="message.delta").count() == 2


def test_old_outcomes_and_runners_are_forgotten() -> None:
    for key, hours in (("old", 49), ("new", 47)):
        record = IdempotencyRecord.objects.create(principal="p", verb="v", key=key, fingerprint=b"")
        IdempotencyRecord.objects.filter(pk=record.pk).update(created_at=timezone.now() - timedelta(hours=hours))
    for pid, days in ((1, 8), (2, 6)):
        Runner.objects.create(
            id=new_id(), host="h", pid=pid, capacity=1, heartbeat_at=timezone.now() - timedelta(days=days)
        )
    assert [purge_idempotency(), tasks.purge_runners()] == [1, 1]
    assert [record.key for record in IdempotencyRecord.objects.all()] == ["new"]
    assert [runner.pid for runner in Runner.objects.all()] == [2]
