"""The audit of `make chaos` finds every kind of broken promise, and nothing where all were kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.chaos.audit import audit, read_promises, replay_law
from tests.chaos.ledger import Entry
from tests.chaos.reader import Reader, ReadTurn
from tests.chaos.tables import (
    CounterRow,
    EpisodeRow,
    EventRow,
    MessageRow,
    SampleRow,
    SessionRow,
    StepRow,
    Tables,
    TurnRow,
)

S = "session"


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


@dataclass
class World:
    """Two questions to one session, both acknowledged and answered; the second used the notebook."""

    entries: list[Entry]
    tables: Tables
    readers: list[Reader]
    notes: list[str]

    def kinds(self) -> set[str]:
        found = audit(read_promises(self.entries), self.tables, {S: self.readers}, self.notes)
        return {finding.kind for finding in found}


def event(seq: int, turn: str, kind: str, epoch: int = 1, **data: Any) -> EventRow:
    return EventRow(S, seq, None, turn, epoch, kind, data)


def counted(**counts: int) -> list[CounterRow]:
    return [CounterRow(width, *count) for width in ("minute", "hour", "day") for count in counts.items()]


def world() -> World:
    entries, turns, messages, events = [], {}, [], []
    for number, name in enumerate(("one", "two")):
        asked, first = 2 * number + 1, 5 * number
        entries += [
            Entry(10.0 * number, "sent", S, f"key {name}", text=f"{name}?", answer=f"{name}!"),
            Entry(10.0 * number + 1, "acked", S, f"key {name}", name),
        ]
        turns[name] = TurnRow(name, S, asked, f"key {name}", "completed", 1, "", True)
        messages += [
            MessageRow(f"q {name}", S, name, asked, "user", text(f"{name}?")),
            MessageRow(f"a {name}", S, name, asked + 1, "agent", text(f"{name}!")),
        ]
        events += [
            event(first + 1, name, "turn.queued", 0),
            event(first + 2, name, "turn.started"),
            event(first + 3, name, "message.delta", text=f"{name}!"),
            event(first + 4, name, "message.completed"),
            event(first + 5, name, "turn.completed"),
        ]
    steps = [StepRow("two", 1, "tool", "done", "notebook_add")]
    episodes = [EpisodeRow(message.id, 1, message.text) for message in messages]
    counters = counted(completed=2, tool=1)
    samples = [SampleRow("runner", 2, 0), SampleRow("runner", 5, 0), SampleRow("web", 1, 0)]
    tables = Tables([SessionRow(S, 11, 5, 0, None)], turns, messages, {S: events}, steps, episodes, counters, samples)
    seen = {name: ReadTurn(f"{name}!", f"{name}!", "completed") for name in turns}
    return World(entries, tables, [Reader(seq=10, turns=seen)], ["two:1"])


def test_nothing_is_found_where_all_promises_were_kept() -> None:
    assert world().kinds() == set()


def lose_a_turn(w: World) -> None:
    del w.tables.turns["two"]


def change_a_question(w: World) -> None:
    w.tables.messages[2] = replace(w.tables.messages[2], parts=text("another?"))


def never_acknowledge(w: World) -> None:
    del w.entries[3]


def acknowledge_with_two_turns(w: World) -> None:
    w.entries.append(replace(w.entries[1], turn="two"))


def answer_twice(w: World) -> None:
    w.tables.messages.append(replace(w.tables.messages[1], id="again", ordinal=5))


def end_twice(w: World) -> None:
    w.tables.events[S].append(event(11, "two", "turn.failed"))


def store_a_text_twice(w: World) -> None:
    w.tables.messages[2] = replace(w.tables.messages[2], parts=text("one?"))


def swap_the_order(w: World) -> None:
    for name, ordinal in (("one", 3), ("two", 1)):
        w.tables.turns[name] = replace(w.tables.turns[name], ordinal=ordinal)


def begin_before_the_end(w: World) -> None:
    events = w.tables.events[S]
    events[4], events[6] = replace(events[6], seq=5), replace(events[4], seq=7)


def tear_a_gap(w: World) -> None:
    del w.tables.events[S][2]


def skip_an_ordinal(w: World) -> None:
    w.tables.messages[3] = replace(w.tables.messages[3], ordinal=9)


def write_with_an_old_epoch(w: World) -> None:
    w.tables.events[S][2] = replace(w.tables.events[S][2], epoch=2)


def leave_a_turn_hanging(w: World) -> None:
    w.tables.turns["two"] = replace(w.tables.turns["two"], status="running")


def miscount(w: World) -> None:
    w.tables.sessions[0] = replace(w.tables.sessions[0], open_turns=1)


def leave_a_step_open(w: World) -> None:
    w.tables.steps[0] = replace(w.tables.steps[0], status="intent")


def crash_too_often(w: World) -> None:
    for number in range(5):
        name = f"another {number}"
        w.tables.turns[name] = replace(
            w.tables.turns["two"], id=name, key=name, status="failed", error_class="worker_crashed"
        )


def fail_for_no_reason(w: World) -> None:
    w.tables.turns["two"] = replace(w.tables.turns["two"], status="failed", error_class="unknown")


def cancel_unasked(w: World) -> None:
    w.tables.turns["two"] = replace(w.tables.turns["two"], status="cancelled")


def mix_answers(w: World) -> None:
    w.tables.messages[3] = replace(w.tables.messages[3], parts=text("one!"))


def show_another_text(w: World) -> None:
    w.readers[0].turns["two"].answer = "two"


def stand_behind(w: World) -> None:
    w.readers[0].seq = 9


def run_a_tool_twice(w: World) -> None:
    w.notes.append("two:1")


def claim_an_effect(w: World) -> None:
    w.notes.clear()


def forget_a_question(w: World) -> None:
    del w.tables.episodes[0]


def remember_an_answer_twice(w: World) -> None:
    w.tables.episodes.append(w.tables.episodes[1])


def remember_other_words(w: World) -> None:
    w.tables.episodes[3] = replace(w.tables.episodes[3], text="three!")


def count_a_turn_twice(w: World) -> None:
    w.tables.counters[0] = replace(w.tables.counters[0], count=3)


def count_no_steps(w: World) -> None:
    w.tables.counters[:] = counted(completed=2)


def total_fell(w: World) -> None:
    w.tables.samples[1] = replace(w.tables.samples[1], requests=1)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose_a_turn, "lost"),
        (change_a_question, "lost"),
        (never_acknowledge, "unacknowledged"),
        (acknowledge_with_two_turns, "duplicated"),
        (answer_twice, "duplicated"),
        (end_twice, "duplicated"),
        (store_a_text_twice, "duplicated"),
        (swap_the_order, "order"),
        (begin_before_the_end, "order"),
        (tear_a_gap, "gaps"),
        (skip_an_ordinal, "gaps"),
        (write_with_an_old_epoch, "stale writes"),
        (leave_a_turn_hanging, "hanging"),
        (miscount, "open turns"),
        (leave_a_step_open, "open steps"),
        (crash_too_often, "worker_crashed"),
        (fail_for_no_reason, "failed"),
        (cancel_unasked, "failed"),
        (mix_answers, "wrong text"),
        (show_another_text, "on the wire"),
        (stand_behind, "on the wire"),
        (run_a_tool_twice, "tool ran twice"),
        (claim_an_effect, "tool result without effect"),
        (forget_a_question, "not remembered"),
        (remember_an_answer_twice, "remembered twice"),
        (remember_other_words, "not remembered"),
        (count_a_turn_twice, "miscounted"),
        (count_no_steps, "miscounted"),
        (total_fell, "total fell"),
    ],
)
def test_a_broken_promise_is_found(spoil: Callable[[World], None], kind: str) -> None:
    spoiled = world()
    spoil(spoiled)
    assert kind in spoiled.kinds()


def test_a_stop_that_was_asked_for_is_no_finding() -> None:
    stopped = world()
    stopped.tables.turns["two"] = replace(stopped.tables.turns["two"], status="cancelled")
    stopped.readers[0].turns["two"].status = "cancelled"
    stopped.tables.counters[:] = counted(completed=1, cancelled=1, tool=1)
    stopped.entries.append(Entry(12, "stop", S, "", "two"))
    assert stopped.kinds() == set()


def test_a_log_that_does_not_give_the_present_state_breaks_the_replay_law() -> None:
    asked = {"id": "q", "ordinal": 1, "author": "user", "parts": text("?"), "turn": "t", "parent": None}
    events = [
        event(1, "t", "message.created", 0, message=asked),
        event(2, "t", "turn.queued", 0, message="q", ordinal=1, priority=0),
    ]
    turn = {
        "id": "t",
        "message": "q",
        "ordinal": 1,
        "priority": 0,
        "status": "queued",
        "shown": [],
        "waits_for": None,
        "approvals": [],
        "error": None,
    }
    fresh = {"seq": 2, "session": {}, "messages": [asked], "turns": {"t": turn}, "older": False, "handoff": None}
    assert not list(replay_law(S, events, fresh))
    assert list(replay_law(S, events, {**fresh, "seq": 3}))
    assert list(replay_law(S, events, {**fresh, "messages": []}))
    assert not list(replay_law(S, events, {**fresh, "messages": [], "older": True})), "an open turn is always told of"
    assert list(replay_law(S, events[1:], fresh))


def frame(seq: int, kind: str, **data: Any) -> dict[str, Any]:
    return {"type": "event", "seq": seq, "turn": "t", "event": kind, "data": data}


def completed(words: str) -> dict[str, Any]:
    return {"parts": text(words)}


def test_a_device_notices_what_must_never_be_seen() -> None:
    good = [
        frame(1, "turn.started"),
        frame(2, "message.delta", text="He"),
        frame(3, "message.delta", text="llo"),
        frame(4, "message.completed", message=completed("Hello")),
        frame(5, "turn.completed"),
    ]
    for frames, faulty in (
        (good, False),
        ([*good[:2], *good[3:]], True),
        ([*good, frame(6, "message.delta", text="!")], True),
        ([*good[:3], frame(4, "message.completed", message=completed("Help")), good[4]], True),
        ([*good[:4], frame(5, "message.completed", message=completed("Hello"))], True),
    ):
        reader = Reader()
        for one in frames:
            reader.event(one)
        assert bool(reader.faults) is faulty


def test_a_device_drops_the_words_since_the_last_tool_when_the_model_is_asked_again() -> None:
    reader = Reader()
    for one in (
        frame(1, "turn.started", resumed=False),
        frame(2, "message.delta", text="Hm"),
        frame(3, "model.retrying", route="openai:b"),
        frame(4, "message.delta", text="Wait. "),
        frame(5, "tool.started"),
        frame(6, "tool.finished"),
        frame(7, "message.delta", text="It"),
        frame(8, "model.retrying", route=None),
        frame(9, "turn.retry_wait"),
        frame(10, "turn.started", resumed=True),
        frame(11, "message.delta", text="Noon."),
        frame(12, "message.completed", message=completed("Wait. Noon.")),
        frame(13, "turn.completed"),
    ):
        reader.event(one)
    assert reader.faults == []


def test_a_device_drops_what_was_shown_before_a_restart() -> None:
    reader = Reader()
    for one in (
        frame(1, "turn.started"),
        frame(2, "message.delta", text="He"),
        frame(3, "turn.restarted"),
        frame(4, "message.delta", text="Hello"),
        frame(5, "message.completed", message=completed("Hello")),
        frame(6, "turn.completed"),
    ):
        reader.event(one)
    assert (reader.faults, reader.restarts, reader.turns["t"].streamed) == ([], 1, "Hello")
