"""The ledger, the devices and the notebook against the tables: what must never have happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from agents.domain.replay import replay
from agents.domain.states import TERMINAL
from tests.chaos.ledger import Entry
from tests.chaos.reader import ENDS, Reader
from tests.chaos.tables import EpisodeRow, EventRow, MessageRow, SampleRow, Tables, TurnRow

CRASHED = frozenset({"worker_crashed", "tool_stalled"})
CRASHED_SHARE = 0.01
CRASHED_FEW = 3  # in a short pass, so many are chance


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Promises:
    """The ledger, sorted: what each key asked for, and the turns that its acknowledgements named."""

    asked: dict[str, Entry]
    acked: dict[str, list[Entry]]
    stopped: set[str]


def read_promises(entries: Iterable[Entry]) -> Promises:
    asked: dict[str, Entry] = {}
    acked: dict[str, list[Entry]] = defaultdict(list)
    stopped: set[str] = set()
    for entry in entries:
        if entry.what == "sent":
            asked[entry.key] = entry
        elif entry.what == "acked":
            acked[entry.key].append(entry)
        else:
            stopped.add(entry.turn)
    return Promises(asked, acked, stopped)


def audit(
    promises: Promises, tables: Tables, readers: Mapping[str, Sequence[Reader]], notes: Sequence[str]
) -> list[Finding]:
    """Everything that is wrong. `readers` by session; `notes` are the step keys in the notebook, in order."""
    findings: list[Finding] = []
    for check in (
        _lost(promises, tables),
        _duplicated(promises, tables),
        _order(promises, tables),
        _gaps(tables),
        _stale(tables),
        _unfinished(tables),
        _failures(promises, tables),
        _answers(promises, tables),
        _devices(tables, readers),
        _tools(tables, notes),
        _memory(tables),
        _counters(tables),
        _samples(tables),
    ):
        findings.extend(check)
    return findings


def crashed(tables: Tables) -> int:
    """Turns that failed because their runners died: with `worker_crashed`, or `tool_stalled`."""
    return sum(turn.error_class in CRASHED for turn in tables.turns.values())


def _samples(tables: Tables) -> Iterator[Finding]:
    """Totals of a process only rise."""
    last: dict[str, SampleRow] = {}
    for sample in tables.samples:
        before = last.get(sample.process, sample)
        if sample.requests < before.requests or sample.errors < before.errors:
            yield Finding("total fell", f"process {sample.process}: {before} then {sample}")
        last[sample.process] = sample


def _lost(promises: Promises, tables: Tables) -> Iterator[Finding]:
    asked = {message.turn: message for message in tables.messages if message.author == "user"}
    for key, entries in promises.acked.items():
        for entry in entries:
            turn, message = tables.turns.get(entry.turn), asked.get(entry.turn)
            if turn is None or message is None:
                yield Finding("lost", f"acknowledged {key} has no turn {entry.turn}")
            elif (turn.key, turn.session) != (key, entry.session) or message.text != promises.asked[key].text:
                yield Finding("lost", f"turn {turn.id} is not what {key} asked for")
    for key in promises.asked.keys() - promises.acked.keys():
        yield Finding("unacknowledged", f"nobody ever acknowledged {key}")


def _duplicated(promises: Promises, tables: Tables) -> Iterator[Finding]:
    for key, entries in promises.acked.items():
        if len({entry.turn for entry in entries}) > 1:
            yield Finding("duplicated", f"{key} was acknowledged with two turns")
    by_key = Counter((turn.session, turn.key) for turn in tables.turns.values())
    texts = Counter((message.session, message.text) for message in tables.messages if message.author == "user")
    said = Counter((message.turn, message.author) for message in tables.messages)
    ends = Counter(event.turn for events in tables.events.values() for event in events if event.type in ENDS)
    for what, counter in (
        ("turns of a key", by_key),
        ("messages of a text", texts),
        ("sayings of a turn", said),
        ("ends", ends),
    ):
        for name, count in counter.items():
            if count > 1:
                yield Finding("duplicated", f"{count} {what}: {name}")
    unknown = {turn.key for turn in tables.turns.values()} - promises.asked.keys()
    for key in unknown:
        yield Finding("duplicated", f"a turn with the key {key}, which nobody sent")


def _order(promises: Promises, tables: Tables) -> Iterator[Finding]:
    for session, turns in _by_session(tables).items():
        yield from _order_of_acceptance(session, turns, promises)
        yield from _order_of_work(turns, tables.events[session])


def _by_session(tables: Tables) -> dict[str, list[TurnRow]]:
    found: dict[str, list[TurnRow]] = defaultdict(list)
    for turn in sorted(tables.turns.values(), key=lambda turn: turn.ordinal):
        found[turn.session].append(turn)
    return found


def _order_of_acceptance(session: str, turns: Sequence[TurnRow], promises: Promises) -> Iterator[Finding]:
    """What was acknowledged before something else was first sent stands before it."""
    ordinals = {turn.key: turn.ordinal for turn in turns}
    mine = [key for key in promises.acked if key in ordinals]
    moments = [(promises.asked[key].at, 1, key) for key in mine] + [(promises.acked[key][0].at, 0, key) for key in mine]
    highest = 0
    for _, sent, key in sorted(moments):
        if not sent:
            highest = max(highest, ordinals[key])
        elif ordinals[key] <= highest:
            yield Finding("order", f"{key} of {session} was sent after, and stands before, what has ordinal {highest}")


def _order_of_work(turns: Sequence[TurnRow], events: Sequence[EventRow]) -> Iterator[Finding]:
    """A turn begins after the end of every turn before it that has begun."""
    began: dict[str | None, int] = {}
    ended: dict[str | None, int] = {}
    for event in events:
        if event.type == "turn.started":
            began.setdefault(event.turn, event.seq)
        elif event.type in ENDS:
            ended[event.turn] = event.seq
    for before, after in pairwise([turn for turn in turns if turn.id in began]):
        if ended.get(before.id, began[after.id]) >= began[after.id]:
            yield Finding("order", f"turn {after.id} began before the end of turn {before.id}")
    for turn in turns:
        if turn.id in ended and any(e.seq > ended[turn.id] and e.turn == turn.id for e in events):
            yield Finding("order", f"turn {turn.id} has events after its end")


def _gaps(tables: Tables) -> Iterator[Finding]:
    for session in tables.sessions:
        expected = 1
        for event in tables.events[session.id]:
            if (event.replaces_from or event.seq) != expected:
                yield Finding("gaps", f"{session.id}: {event.replaces_from or event.seq} instead of {expected}")
            expected = event.seq + 1
        if expected != session.next_seq:
            yield Finding("gaps", f"{session.id}: the next event is {session.next_seq}, the log ends before {expected}")
        ordinals = [message.ordinal for message in tables.messages if message.session == session.id]
        if ordinals != list(range(1, session.next_ordinal)):
            yield Finding("gaps", f"{session.id}: ordinals {ordinals}, next {session.next_ordinal}")


def _stale(tables: Tables) -> Iterator[Finding]:
    """Nothing of an earlier epoch comes after something of a later one: that would be a dead runner's hand."""
    for events in tables.events.values():
        latest: dict[str | None, int] = defaultdict(int)
        for event in events:
            if event.turn is not None and event.epoch < latest[event.turn]:
                yield Finding("stale writes", f"event {event.seq} ({event.type}) of turn {event.turn}")
            latest[event.turn] = max(latest[event.turn], event.epoch)


def _unfinished(tables: Tables) -> Iterator[Finding]:
    open_turns = Counter(turn.session for turn in tables.turns.values() if f"turn.{turn.status}" not in ENDS)
    for turn in tables.turns.values():
        if f"turn.{turn.status}" not in ENDS:
            yield Finding("hanging", f"turn {turn.id} of {turn.session} is {turn.status}, epoch {turn.epoch}")
    for session in tables.sessions:
        if session.open_turns != open_turns[session.id]:
            yield Finding("open turns", f"{session.id} counts {session.open_turns}, has {open_turns[session.id]}")
        if session.active_turn is not None and not open_turns[session.id]:
            yield Finding("open turns", f"{session.id} names an active turn, and none is open")
    completed = {turn.id for turn in tables.turns.values() if turn.status == "completed"}
    for step in tables.steps:
        if step.turn in completed and step.status == "intent":
            yield Finding(
                "open steps", f"step {step.number} ({step.name or step.kind}) of the completed turn {step.turn}"
            )


def _failures(promises: Promises, tables: Tables) -> Iterator[Finding]:
    gone = crashed(tables)
    if gone > max(CRASHED_FEW, CRASHED_SHARE * len(tables.turns)):
        yield Finding("worker_crashed", f"{gone} of {len(tables.turns)} turns")
    for turn in tables.turns.values():
        if turn.status in ("failed", "expired") and turn.error_class not in CRASHED:
            yield Finding("failed", f"turn {turn.id}: {turn.status}, {turn.error_class}")
    interrupted = _interrupted(promises, tables)
    for turn in tables.turns.values():
        stopped = turn.id in promises.stopped or turn.ordinal < interrupted[turn.session]
        if turn.status == "cancelled" and not stopped:
            yield Finding("failed", f"turn {turn.id} was cancelled, and nobody asked for that")


def _interrupted(promises: Promises, tables: Tables) -> dict[str, int]:
    """By session, the ordinal of the last message that stopped what was open before it."""
    last: dict[str, int] = defaultdict(int)
    for turn in tables.turns.values():
        asked = promises.asked.get(turn.key)
        if asked is not None and asked.interrupts:
            last[turn.session] = max(last[turn.session], turn.ordinal)
    return last


def _answers(promises: Promises, tables: Tables) -> Iterator[Finding]:
    """A completed turn has one answer, the right one; what ended early shows the beginning of it, or nothing."""
    answers: dict[str | None, MessageRow] = {m.turn: m for m in tables.messages if m.author == "agent"}
    for turn in tables.turns.values():
        answer, asked = answers.get(turn.id), promises.asked.get(turn.key)
        if asked is None:
            continue
        if turn.status == "completed" and (answer is None or answer.text != asked.answer):
            yield Finding("wrong text", f"turn {turn.id}: {answer.text if answer else None!r}, not {asked.answer!r}")
        elif answer is not None and not asked.answer.startswith(answer.text):
            yield Finding("wrong text", f"turn {turn.id} ({turn.status}): {answer.text!r}, not of {asked.answer!r}")


def _devices(tables: Tables, readers: Mapping[str, Sequence[Reader]]) -> Iterator[Finding]:
    """What people have on their screens at last is what is stored."""
    stored = {message.turn: message.text for message in tables.messages if message.author == "agent"}
    for session in tables.sessions:
        for reader in readers.get(session.id, ()):
            for fault in reader.faults:
                yield Finding("on the wire", f"{session.id}: {fault}")
            if reader.seq != session.next_seq - 1:
                yield Finding("on the wire", f"{session.id}: a device stands at {reader.seq} of {session.next_seq - 1}")
            for turn_id, turn in reader.turns.items():
                row = tables.turns.get(turn_id)
                if row is None or (turn.status, turn.answer) != (row.status, stored.get(turn_id)):
                    yield Finding("on the wire", f"turn {turn_id}: a device shows {turn.status} {turn.answer!r}")


def _memory(tables: Tables) -> Iterator[Finding]:
    """Each message of an ended turn is remembered exactly once, word for word."""
    episodes: dict[str, list[EpisodeRow]] = defaultdict(list)
    for row in tables.episodes:
        episodes[row.message].append(row)
    for message in tables.messages:
        rows = sorted(episodes.pop(message.id, []), key=lambda row: row.chunk)
        turn = tables.turns.get(message.turn or "")
        ended = turn is not None and turn.status in TERMINAL
        if [row.chunk for row in rows] != list(range(1, len(rows) + 1)):
            yield Finding("remembered twice", f"parts {[row.chunk for row in rows]} of message {message.id}")
        elif _squeezed(" ".join(row.text for row in rows)) != (_squeezed(message.text) if ended else ""):
            yield Finding("not remembered", f"message {message.id} of turn {message.turn}")
    for unknown in episodes:
        yield Finding("remembered twice", f"message {unknown}, which does not exist")


def _counters(tables: Tables) -> Iterator[Finding]:
    """Each ended turn and each of its steps is counted exactly once in the rollups of each width."""
    ended = {turn.id: turn.status for turn in tables.turns.values() if turn.status in TERMINAL}
    expected = Counter(ended.values())
    expected.update(step.kind for step in tables.steps if step.turn in ended and step.status != "intent")
    for width in ("minute", "hour", "day"):
        counted = Counter({row.name: row.count for row in tables.counters if row.width == width})
        if counted != expected:
            yield Finding("miscounted", f"by the {width}: {dict(counted)} in place of {dict(expected)}")


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _tools(tables: Tables, notes: Sequence[str]) -> Iterator[Finding]:
    for key, count in Counter(notes).items():
        if count > 1:
            yield Finding("tool ran twice", f"step {key} wrote {count} notes")
    written = set(notes)
    for step in tables.steps:
        if step.name == "notebook_add" and step.status == "done" and f"{step.turn}:{step.number}" not in written:
            yield Finding("tool result without effect", f"step {step.turn}:{step.number}")


def replay_law(session: str, events: Sequence[EventRow], fresh: Mapping[str, Any]) -> Iterator[Finding]:
    """The log from its beginning gives what the server says now."""
    beginning = {"seq": 0, "session": fresh["session"], "messages": [], "turns": {}, "handoff": None}
    try:
        replayed = replay(
            beginning,
            (
                {
                    "seq": event.seq,
                    "turn_id": event.turn,
                    "event_type": event.type,
                    "data": event.data,
                    "replaces_from": event.replaces_from,
                }
                for event in events
            ),
        )
    except (ValueError, KeyError) as error:
        yield Finding("replay law", f"{session}: {error!r}")
        return
    newest = _newest(replayed, len(fresh["messages"]))
    for part in ("seq", "messages", "turns", "older", "handoff"):
        if newest[part] != fresh[part]:
            yield Finding("replay law", f"{session}: {part} differ")


def _newest(snapshot: Mapping[str, Any], count: int) -> dict[str, Any]:
    """What a snapshot says that holds only so many messages."""
    messages = snapshot["messages"][len(snapshot["messages"]) - count :]
    told = {message["id"] for message in messages}
    turns = snapshot["turns"].items()
    return {
        **snapshot,
        "messages": messages,
        "turns": {key: turn for key, turn in turns if turn["message"] in told or turn["status"] not in TERMINAL},
        "older": len(messages) < len(snapshot["messages"]),
    }
