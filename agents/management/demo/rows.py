"""The rows that the product would have written for a turn, for every table, as COPY reads them.

A million turns are eleven million rows, so they are assembled from text that is escaped already.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from time import gmtime, strftime

from agents.domain.events import EventType
from agents.domain.failures import ErrorClass
from agents.domain.serialization import retry_suggested
from agents.management.demo.agents_and_users import Population
from agents.management.demo.past_ids import id_text
from agents.management.demo.plan import DemoSession
from agents.management.demo.texts import ANSWERS, ERRORS, QUESTIONS, SUBJECTS

NULL = "\\N"
COLUMNS = {
    "turn": (
        "id", "agent_session_id", "user_id", "release_id", "ordinal", "status", "priority", "idempotency_key",
        "fingerprint", "epoch", "attempts_without_progress", "runner_id", "queued_at", "started_at", "finished_at",
        "deadline_at", "error_class", "error_detail", "error_id", "input_tokens", "output_tokens", "compacted",
        "cost_usd",
    ),
    "message": (
        "id", "agent_session_id", "ordinal", "author", "parts", "turn_id", "parent_id", "partial", "created_at",
    ),
    "step": (
        "turn_id", "number", "kind", "status", "epoch", "name", "call_id", "idempotent", "request", "result",
        "error_class", "input_tokens", "output_tokens", "started_at", "finished_at", "cost_usd",
    ),
    "event": ("agent_session_id", "seq", "turn_id", "epoch", "type", "data", "replaces_from", "at"),
    "agentsession": (
        "id", "user_id", "agent_id", "release_id", "title", "next_seq", "next_ordinal", "head_message_id",
        "active_epoch", "created_at", "updated_at",
    ),
}  # fmt: skip
# Dollars per token of what goes in and what comes out, by route.
_PRICES = {"openai:gpt-4o-mini": (0.15e-6, 0.6e-6), "openai:gpt-4o": (2.5e-6, 10e-6)}
_FINGERPRINT = "\\\\x" + "00" * 32


def _escaped(text: str) -> str:
    """`text` escaped for a JSON string inside a line of COPY."""
    return json.dumps(text)[1:-1].replace("\\", "\\\\")


_QUESTIONS = [[_escaped(template.format(subject)) for template in QUESTIONS] for subject in SUBJECTS]
_ANSWERS = [[_escaped(template.format(subject)) for template in ANSWERS] for subject in SUBJECTS]
# The arguments and the result of each of the demo's tools.
_TOOLS = {
    "clock": (_escaped('{"timezone": "UTC"}'), "Thursday, 2026-01-01 09:00:00 +0000 (UTC)"),
    "calculator": (_escaped('{"expression": "12*31+7"}'), "379"),
    "http_fetch": (_escaped('{"url": "https://example.com/prices"}'), "Standard 12, express 19."),
}


@lru_cache(maxsize=200)
def _day(number: int) -> str:
    return strftime("%Y-%m-%dT", gmtime(number * 86_400))


def moment_text(milliseconds: int) -> str:
    """The time in the format of `agents.domain.serialization.moment`, which PostgreSQL reads, too."""
    day, rest = divmod(milliseconds, 86_400_000)
    seconds, thousandths = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{_day(day)}{minutes // 60:02}:{minutes % 60:02}:{second:02}.{thousandths:03}000Z"


def _error(error_class: ErrorClass) -> tuple[str, str]:
    """The error class and its text for the user."""
    return error_class.value, error_class.failure.user_message


@dataclass(slots=True)
class Lines:
    """Rows by table that wait for COPY."""

    turn: list[str] = field(default_factory=list)
    message: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    event: list[str] = field(default_factory=list)
    agentsession: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _DemoTurn:
    """A turn while its rows are written; ids and times as text."""

    session: DemoSession
    id: str
    runner: str
    started_at: str
    finished_at: str
    status: str
    error: tuple[str, str] = ("", "")
    error_id: str = NULL
    parts: str = ""
    answer: str = ""
    partial: bool = False
    tokens: tuple[int, int] = (0, 0)

    @property
    def cost(self) -> str:
        input_price, output_price = _PRICES[self.session.agent.route]
        return f"{self.tokens[0] * input_price + self.tokens[1] * output_price:.8f}"


class RowWriter:
    """Appends the rows of turn after turn to `lines`, drawing from `rng`."""

    def __init__(self, rng: Random, population: Population) -> None:
        self.lines = Lines()
        self._rng = rng
        self._runners = [str(runner) for runner in population.runners]

    def write_session(self, session: DemoSession) -> None:
        """Append the row of a session, once all of its turns are written."""
        head = session.head or NULL
        self.lines.agentsession.append(
            f"{session.key}\t{session.user}\t{session.agent.id}\t{session.release}\t{session.title}\t{session.next_seq}\t"
            f"{session.next_ordinal}\t{head}\t1\t{moment_text(session.started_ms)}\t{moment_text(session.last_ms)}"
        )

    def write_turn(self, session: DemoSession, at_ms: int) -> None:
        """Append the rows of one turn: its messages, steps and events."""
        rng = self._rng
        at_ms = max(at_ms, session.last_ms)
        started_ms = at_ms + 5 + int(rng.expovariate(1 / 40))
        duration_ms = min(28_000, 300 + int(rng.lognormvariate(7.8, 0.8)))
        session.last_ms = at_ms
        turn = _DemoTurn(
            session=session,
            id=id_text(at_ms, rng),
            runner=rng.choice(self._runners),
            started_at=moment_text(started_ms),
            finished_at=moment_text(started_ms + duration_ms),
            status="completed",
        )
        turn.tokens = (rng.randrange(50, 4_000) * (60 if rng.random() < 0.01 else 1), rng.randrange(20, 900))
        ordinal = session.next_ordinal
        self._write_question(turn, at_ms)
        self._draw_outcome(turn)
        self._write_steps(turn)
        self._write_end(turn, started_ms + duration_ms)
        self._write_turn_row(turn, ordinal, at_ms)

    def _write_event(
        self, turn: _DemoTurn, kind: str, data: str, at: str, *, epoch: int = 1, event_count: int = 1
    ) -> None:
        first = turn.session.next_seq
        turn.session.next_seq = first + event_count
        replaces = first if event_count > 1 else NULL
        self.lines.event.append(
            f"{turn.session.key}\t{first + event_count - 1}\t{turn.id}\t{epoch}\t{kind}\t{data}\t{replaces}\t{at}"
        )

    def _write_message(self, turn: _DemoTurn, author: str, parts: str, at_ms: int) -> tuple[str, str]:
        """Append a message; return its id and its JSON."""
        session, key, at = turn.session, id_text(at_ms, self._rng), moment_text(at_ms)
        parent = session.head or NULL
        partial = "true" if turn.partial and author == "agent" else "false"
        self.lines.message.append(
            f"{key}\t{session.key}\t{session.next_ordinal}\t{author}\t{parts}\t{turn.id}\t{parent}\t{partial}\t{at}"
        )
        parent_json = f'"{session.head}"' if session.head else "null"
        shape = (
            f'{{"id": "{key}", "turn": "{turn.id}", "parts": {parts}, "author": "{author}", "parent": {parent_json}, '
            f'"ordinal": {session.next_ordinal}, "partial": {partial}, "feedback": null, "created_at": "{at}"}}'
        )
        session.head = key
        session.next_ordinal += 1
        return key, shape

    def _write_question(self, turn: _DemoTurn, at_ms: int) -> None:
        question = self._rng.choice(_QUESTIONS[turn.session.subject])
        ordinal, at = turn.session.next_ordinal, moment_text(at_ms)
        key, shape = self._write_message(turn, "user", f'[{{"type": "text", "text": "{question}"}}]', at_ms)
        self._write_event(turn, EventType.MESSAGE_CREATED, f'{{"message": {shape}}}', at, epoch=0)
        queued = f'{{"message": "{key}", "ordinal": {ordinal}, "priority": "interactive"}}'
        self._write_event(turn, EventType.TURN_QUEUED, queued, at, epoch=0)
        started = f'{{"epoch": 1, "started_at": "{turn.started_at}", "resumed": false}}'
        self._write_event(turn, EventType.TURN_STARTED, started, turn.started_at)

    def _draw_outcome(self, turn: _DemoTurn) -> None:
        chance = self._rng.random()
        turn.answer = self._rng.choice(_ANSWERS[turn.session.subject])
        if chance < 0.925:
            return
        turn.partial = True
        # Cut where no escape is cut in two.
        turn.answer = turn.answer[: turn.answer.find(" ", 20)].rstrip("\\n") if chance < 0.96 else ""
        if chance < 0.965:
            turn.status, turn.error = "failed", _error(self._rng.choice(ERRORS))
        elif chance < 0.985:
            turn.status = "cancelled"
        else:
            turn.status, turn.error = "expired", _error(ErrorClass.DEADLINE)
        if turn.error[0]:
            turn.error_id = id_text(turn.session.last_ms, self._rng)

    def _write_steps(self, turn: _DemoTurn) -> None:
        """Append the steps of a turn and their events."""
        number = 1
        parts: list[str] = []
        if self._rng.random() < 0.2:
            parts += self._write_tool_steps(turn)
            number = 3
        if turn.answer:
            self._write_event(turn, EventType.MESSAGE_DELTA, f'{{"text": "{turn.answer}"}}', turn.finished_at,
                        event_count=max(1, len(turn.answer) // 40))  # fmt: skip
            parts.append(f'{{"type": "text", "text": "{turn.answer}"}}')
        failed = turn.status != "completed"
        kind = turn.error[0] or (ErrorClass.CANCELLED if failed else "")
        result = NULL if failed else f'{{"text": "{turn.answer}", "tool_calls": []}}'
        used = (0, 0) if failed else turn.tokens
        cost = turn.cost if not failed else "0"
        turn.tokens = used
        self.lines.step.append(
            f"{turn.id}\t{number}\tmodel\t{'failed' if failed else 'done'}\t1\t{turn.session.agent.route}\t\t"
            f"true\t{{}}\t{result}\t{kind}\t{used[0]}\t{used[1]}\t{turn.started_at}\t{turn.finished_at}\t"
            f"{cost}"
        )
        turn.parts = ", ".join(parts)

    def _write_tool_steps(self, turn: _DemoTurn) -> list[str]:
        rng = self._rng
        call_id, name = f"call_{rng.getrandbits(40):010x}", rng.choice(tuple(_TOOLS))
        chance = rng.random()
        status = "unknown" if chance < 0.01 else "failed" if chance < 0.06 else "done"
        bad = status != "done"
        arguments, result = _TOOLS[name]
        content = "It could not be done." if bad else result
        outcome = f'"content": "{content}", "is_error": {str(bad).lower()}'
        call = f'{{"id": "{call_id}", "name": "{name}", "arguments": "{arguments}"}}'
        self.lines.step += [
            f"{turn.id}\t1\tmodel\tdone\t1\t{turn.session.agent.route}\t\ttrue\t{{}}\t"
            f'{{"text": "", "tool_calls": [{call}]}}\t\t0\t0\t{turn.started_at}\t{turn.started_at}\t0',
            f'{turn.id}\t2\ttool\t{status}\t1\t{name}\t{call_id}\t{"false" if bad else "true"}\t"{arguments}"\t'
            f"{{{outcome}}}\t{ErrorClass.TOOL_ERROR if bad else ''}\t0\t0\t"
            f"{turn.started_at}\t{turn.finished_at}\t{NULL}",
        ]
        call_fields = f'"step": 2, "call_id": "{call_id}", "name": "{name}"'
        self._write_event(
            turn, EventType.TOOL_STARTED, f'{{{call_fields}, "arguments": "{arguments}"}}', turn.started_at
        )
        event_type = EventType.TOOL_FAILED if bad else EventType.TOOL_FINISHED
        self._write_event(turn, event_type, f'{{{call_fields}, "content": "{content}"}}', turn.finished_at)
        return [
            f'{{"type": "tool_call", "id": "{call_id}", "name": "{name}", "arguments": "{arguments}"}}',
            f'{{"type": "tool_result", "call_id": "{call_id}", {outcome}}}',
        ]

    def _write_end(self, turn: _DemoTurn, finished_ms: int) -> None:
        if turn.parts:
            _, shape = self._write_message(turn, "agent", f"[{turn.parts}]", finished_ms)
            self._write_event(turn, EventType.MESSAGE_COMPLETED, f'{{"message": {shape}}}', turn.finished_at)
        more = ""
        if turn.status == "completed":
            into, out = turn.tokens
            more = f', "usage": {{"input_tokens": {into}, "output_tokens": {out}, "cost_usd": "{turn.cost}"}}'
        elif turn.error[0]:
            kind, detail = turn.error
            retry = str(retry_suggested(kind)).lower()
            more = (
                f', "error": {{"error_class": "{kind}", "detail": "{detail}", "error_id": "{turn.error_id}", '
                f'"retry_suggested": {retry}}}'
            )
        self._write_event(
            turn, f"turn.{turn.status}", f'{{"finished_at": "{turn.finished_at}"{more}}}', turn.finished_at
        )

    def _write_turn_row(self, turn: _DemoTurn, ordinal: int, at_ms: int) -> None:
        session, at, (into, out) = turn.session, moment_text(at_ms), turn.tokens
        kind, detail = turn.error
        self.lines.turn.append(
            f"{turn.id}\t{session.key}\t{session.user}\t{session.release}\t{ordinal}\t{turn.status}\t0\tauto-{turn.id}\t"
            f"{_FINGERPRINT}\t1\t0\t{turn.runner}\t{at}\t{turn.started_at}\t{turn.finished_at}\t"
            f"{moment_text(at_ms + 3_600_000)}\t{kind}\t{detail}\t{turn.error_id}\t{into}\t{out}\ttrue\t{turn.cost}"
        )
