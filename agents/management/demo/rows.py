"""The rows that the product would have written for a turn, for every table, as COPY reads them.

A million turns are eleven million rows, so they are assembled from text that is escaped already.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from agents.management.demo.texts import ANSWERS, COMMENTS, ERRORS, QUESTIONS, SUBJECTS

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
        "error_class", "input_tokens", "output_tokens", "started_at", "finished_at", "cost_usd", "details",
    ),
    "feedback": (
        "id", "agent_session_id", "message_id", "turn_id", "release_id", "user_id", "value", "comment", "created_at",
        "updated_at",
    ),
    "event": ("agent_session_id", "seq", "turn_id", "epoch", "type", "data", "replaces_from", "at"),
    "agentsession": (
        "id", "user_id", "agent_id", "release_id", "title", "next_seq", "next_ordinal", "head_message_id",
        "active_epoch", "created_at", "updated_at",
    ),
}  # fmt: skip
# Dollars per token of what goes in and what comes out, by route.
_PRICES = {"openai:gpt-4o-mini": (0.15e-6, 0.6e-6), "openai:gpt-4o": (2.5e-6, 10e-6)}
# Of the conversations' own, without those that are drawn to be busier.
_TOOL_SHARE = 0.2
_RATED_SHARE = 0.03
_WINDOW = 128_000


def _fingerprint(turn_id: str) -> str:
    """A fingerprint that no other turn has: equal ones in a session are a question that was asked again."""
    return "\\\\x" + 2 * turn_id.replace("-", "")


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
    feedback: list[str] = field(default_factory=list)
    agentsession: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _DemoTurn:
    """A turn while its rows are written; ids and times as text."""

    session: DemoSession
    id: str
    runner: str
    started_ms: int
    finished_ms: int
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
        return self.price(*self.tokens)

    def price(self, input_tokens: int, output_tokens: int) -> str:
        """What so many tokens cost by the turn's route, in dollars."""
        input_price, output_price = _PRICES[self.session.agent.route]
        return f"{input_tokens * input_price + output_tokens * output_price:.8f}"


class RowWriter:
    """Appends the rows of turn after turn to `lines`, drawing from `rng`. Turns have `steps` steps in the mean; None:
    most have one, and some use a tool."""

    def __init__(self, rng: Random, population: Population, *, steps: int | None = None) -> None:
        self.lines = Lines()
        self._rng = rng
        self._steps = steps
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
            started_ms=started_ms,
            finished_ms=started_ms + duration_ms,
            started_at=moment_text(started_ms),
            finished_at=moment_text(started_ms + duration_ms),
            status="completed",
        )
        turn.tokens = (rng.randrange(50, 4_000) * (30 if rng.random() < 0.01 else 1), rng.randrange(20, 900))
        ordinal = session.next_ordinal
        self._write_question(turn, at_ms)
        self._draw_outcome(turn)
        self._write_steps(turn)
        self._write_end(turn)
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

    def _draw_rounds(self) -> int:
        """How often the model calls a tool before it answers."""
        if self._steps is None:
            return int(self._rng.random() < _TOOL_SHARE)
        return self._rng.randint(0, self._steps - 1)

    def _write_steps(self, turn: _DemoTurn) -> None:
        """Append the steps of a turn and their events: calls of a tool, each after a call of the model, and the
        answer."""
        rounds = self._draw_rounds()
        length = (turn.finished_ms - turn.started_ms) // (2 * rounds + 1)
        times = [turn.started_ms + length * number for number in range(2 * rounds + 1)] + [turn.finished_ms]
        failed = turn.status != "completed"
        if failed:
            turn.tokens = (0, 0)
        share = (turn.tokens[0] // (rounds + 1), turn.tokens[1] // (rounds + 1))
        parts: list[str] = []
        for number in range(1, 2 * rounds, 2):
            parts += self._write_tool_round(turn, number, times[number - 1 : number + 2], share)
        if turn.answer:
            self._write_event(turn, EventType.MESSAGE_DELTA, f'{{"text": "{turn.answer}"}}', turn.finished_at,
                        event_count=max(1, len(turn.answer) // 40))  # fmt: skip
            parts.append(f'{{"type": "text", "text": "{turn.answer}"}}')
        turn.parts = ", ".join(parts)
        kind = turn.error[0] or (ErrorClass.CANCELLED if failed else "")
        result = NULL if failed else f'{{"text": "{turn.answer}", "tool_calls": []}}'
        remaining = (turn.tokens[0] - rounds * share[0], turn.tokens[1] - rounds * share[1])
        self._write_model_step(turn, 2 * rounds + 1, times[-2:], remaining, result=result, error_class=kind)

    def _write_model_step(
        self,
        turn: _DemoTurn,
        number: int,
        times: Sequence[int],
        tokens: tuple[int, int],
        *,
        result: str,
        error_class: str = "",
    ) -> None:
        cost = turn.price(*tokens)
        self.lines.step.append(
            f"{turn.id}\t{number}\tmodel\t{'failed' if error_class else 'done'}\t1\t{turn.session.agent.route}\t\t"
            f"true\t{{}}\t{result}\t{error_class}\t{tokens[0]}\t{tokens[1]}\t{moment_text(times[0])}\t"
            f"{moment_text(times[1])}\t{cost}\t{self._details(times, tokens, answered=bool(turn.answer))}"
        )

    def _details(self, times: Sequence[int], tokens: tuple[int, int], *, answered: bool) -> str:
        """`Step.details`: what the prompt was made of and, if anything came, when it began."""
        rng = self._rng
        message, system = 8 + (times[0] & 31), 300
        history = max(0, tokens[0] - system - message)
        context = f'"window": {_WINDOW}, "tokens": {{"system": {system}, "history": {history}, "message": {message}}}'
        first = ""
        if answered:
            first_ms = min(times[1] - times[0], 120 + int(rng.expovariate(1 / 400)))
            first = (
                f'"first_token_seconds": {first_ms / 1000:.3f}, "request_id": "chatcmpl-{rng.getrandbits(64):016x}", '
            )
        return f'{{"attempt": 1, {first}"context": {{{context}}}}}'

    def _write_tool_round(
        self, turn: _DemoTurn, number: int, times: Sequence[int], tokens: tuple[int, int]
    ) -> list[str]:
        """Append a call of the model and the tool that it calls; return what they add to the answer."""
        rng = self._rng
        call_id, name = f"call_{rng.getrandbits(40):010x}", rng.choice(tuple(_TOOLS))
        chance = rng.random()
        status = "unknown" if chance < 0.01 else "failed" if chance < 0.06 else "done"
        bad = status != "done"
        arguments, result = _TOOLS[name]
        content = "It could not be done." if bad else result
        outcome = f'"content": "{content}", "is_error": {str(bad).lower()}'
        call = f'{{"id": "{call_id}", "name": "{name}", "arguments": "{arguments}"}}'
        self._write_model_step(turn, number, times[:2], tokens, result=f'{{"text": "", "tool_calls": [{call}]}}')
        started_at, finished_at = moment_text(times[1]), moment_text(times[2])
        self.lines.step.append(
            f"{turn.id}\t{number + 1}\ttool\t{status}\t1\t{name}\t{call_id}\t{str(not bad).lower()}\t"
            f'"{arguments}"\t{{{outcome}}}\t'
            f"{ErrorClass.TOOL_ERROR if bad else ''}\t0\t0\t{started_at}\t{finished_at}\t{NULL}\t{{}}"
        )
        call_fields = f'"step": {number + 1}, "call_id": "{call_id}", "name": "{name}"'
        self._write_event(turn, EventType.TOOL_STARTED, f'{{{call_fields}, "arguments": "{arguments}"}}', started_at)
        event_type = EventType.TOOL_FAILED if bad else EventType.TOOL_FINISHED
        self._write_event(turn, event_type, f'{{{call_fields}, "content": "{content}"}}', finished_at)
        return [
            f'{{"type": "tool_call", "id": "{call_id}", "name": "{name}", "arguments": "{arguments}"}}',
            f'{{"type": "tool_result", "call_id": "{call_id}", {outcome}}}',
        ]

    def _write_end(self, turn: _DemoTurn) -> None:
        answer = ""
        if turn.parts:
            answer, shape = self._write_message(turn, "agent", f"[{turn.parts}]", turn.finished_ms)
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
        if answer and self._rng.random() < _RATED_SHARE:
            self._write_rating(turn, answer)

    def _write_rating(self, turn: _DemoTurn, answer: str) -> None:
        rng, session = self._rng, turn.session
        at_ms = turn.finished_ms + 1_000 + int(rng.random() * 3_000)
        at, good = moment_text(at_ms), turn.status == "completed" and rng.random() < 0.75
        comment = rng.choice(COMMENTS[good]) if rng.random() < 0.3 else ""
        value = 1 if good else -1
        self.lines.feedback.append(
            f"{id_text(at_ms, rng)}\t{session.key}\t{answer}\t{turn.id}\t{session.release}\t{session.user}\t{value}\t"
            f"{comment}\t{at}\t{at}"
        )
        shape = f'{{"value": "{"up" if good else "down"}", "comment": "{comment}"}}'
        self.lines.event.append(
            f"{session.key}\t{session.next_seq}\t{NULL}\t0\t{EventType.MESSAGE_RATED}\t"
            f'{{"message": "{answer}", "feedback": {shape}}}\t{NULL}\t{at}'
        )
        session.next_seq += 1

    def _write_turn_row(self, turn: _DemoTurn, ordinal: int, at_ms: int) -> None:
        session, at, (into, out) = turn.session, moment_text(at_ms), turn.tokens
        kind, detail = turn.error
        self.lines.turn.append(
            f"{turn.id}\t{session.key}\t{session.user}\t{session.release}\t{ordinal}\t{turn.status}\t0\tauto-{turn.id}\t"
            f"{_fingerprint(turn.id)}\t1\t0\t{turn.runner}\t{at}\t{turn.started_at}\t{turn.finished_at}\t"
            f"{moment_text(at_ms + 3_600_000)}\t{kind}\t{detail}\t{turn.error_id}\t{into}\t{out}\ttrue\t{turn.cost}"
        )
