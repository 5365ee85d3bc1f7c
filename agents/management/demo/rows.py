"""What the product would have written: the lines of a turn for every table, as COPY reads them.

A million turns are eleven million lines, so they are put together from text that is escaped already.
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
from agents.management.demo.agents_and_users import DemoPeople
from agents.management.demo.ids import id_text
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
    """`text` inside a JSON string inside a line of COPY."""
    return json.dumps(text)[1:-1].replace("\\", "\\\\")


_ASKED = [[_escaped(words.format(subject)) for words in QUESTIONS] for subject in SUBJECTS]
_SAID = [[_escaped(words.format(subject)) for words in ANSWERS] for subject in SUBJECTS]
# What the demo's tools are asked and answer.
_TOOLS = {
    "clock": (_escaped('{"timezone": "UTC"}'), "Thursday, 2026-01-01 09:00:00 +0000 (UTC)"),
    "calculator": (_escaped('{"expression": "12*31+7"}'), "379"),
    "http_fetch": (_escaped('{"url": "https://example.com/prices"}'), "Standard 12, express 19."),
}


@lru_cache(maxsize=200)
def _day(number: int) -> str:
    return strftime("%Y-%m-%dT", gmtime(number * 86_400))


def moment_text(milliseconds: int) -> str:
    """As `agents.domain.serialization.moment` has it; PostgreSQL reads it, too."""
    day, rest = divmod(milliseconds, 86_400_000)
    seconds, thousandths = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{_day(day)}{minutes // 60:02}:{minutes % 60:02}:{second:02}.{thousandths:03}000Z"


def _error(error_class: ErrorClass) -> tuple[str, str]:
    """Its class and its words."""
    return error_class.value, error_class.failure.user_message


@dataclass(slots=True)
class Lines:
    """What waits for COPY."""

    turn: list[str] = field(default_factory=list)
    message: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    event: list[str] = field(default_factory=list)
    agentsession: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Case:
    """One turn in the making. `end` is what its last event adds to the moment."""

    talk: DemoSession
    turn: str
    runner: str
    began: str
    ended: str
    status: str
    error: tuple[str, str] = ("", "")
    error_id: str = NULL
    parts: str = ""
    answer: str = ""
    partial: bool = False
    tokens: tuple[int, int] = (0, 0)

    @property
    def cost(self) -> str:
        into, out = _PRICES[self.talk.part.route]
        return f"{self.tokens[0] * into + self.tokens[1] * out:.8f}"


class Author:
    """Writes turn after turn into `lines`, drawing from `rng`."""

    def __init__(self, rng: Random, cast: DemoPeople) -> None:
        self.lines = Lines()
        self._rng = rng
        self._runners = [str(runner) for runner in cast.runners]

    def write_session(self, talk: DemoSession) -> None:
        """A session's row, once all of its turns are written."""
        head = talk.head or NULL
        self.lines.agentsession.append(
            f"{talk.key}\t{talk.user}\t{talk.part.agent}\t{talk.release}\t{talk.title}\t{talk.next_seq}\t"
            f"{talk.next_ordinal}\t{head}\t1\t{moment_text(talk.began_ms)}\t{moment_text(talk.last_ms)}"
        )

    def write_turn(self, talk: DemoSession, at_ms: int) -> None:
        """One question, and all that followed."""
        rng = self._rng
        at_ms = max(at_ms, talk.last_ms)
        began_ms = at_ms + 5 + int(rng.expovariate(1 / 40))
        lasted = min(28_000, 300 + int(rng.lognormvariate(7.8, 0.8)))
        talk.last_ms = at_ms
        case = _Case(
            talk, id_text(at_ms, rng), rng.choice(self._runners), moment_text(began_ms), moment_text(began_ms + lasted),
            "completed",
        )  # fmt: skip
        case.tokens = (rng.randrange(50, 4_000) * (60 if rng.random() < 0.01 else 1), rng.randrange(20, 900))
        ordinal = talk.next_ordinal
        self._ask(case, at_ms)
        self._draw(case)
        self._work(case)
        self._end(case, began_ms + lasted)
        self._row(case, ordinal, at_ms)

    def _event(self, case: _Case, kind: str, data: str, at: str, *, epoch: int = 1, stands_for: int = 1) -> None:
        first = case.talk.next_seq
        case.talk.next_seq = first + stands_for
        replaces = first if stands_for > 1 else NULL
        self.lines.event.append(
            f"{case.talk.key}\t{first + stands_for - 1}\t{case.turn}\t{epoch}\t{kind}\t{data}\t{replaces}\t{at}"
        )

    def _message(self, case: _Case, author: str, parts: str, at_ms: int) -> tuple[str, str]:
        """Its id and its shape."""
        talk, key, at = case.talk, id_text(at_ms, self._rng), moment_text(at_ms)
        parent = talk.head or NULL
        partial = "true" if case.partial and author == "agent" else "false"
        self.lines.message.append(
            f"{key}\t{talk.key}\t{talk.next_ordinal}\t{author}\t{parts}\t{case.turn}\t{parent}\t{partial}\t{at}"
        )
        before = f'"{talk.head}"' if talk.head else "null"
        shape = (
            f'{{"id": "{key}", "turn": "{case.turn}", "parts": {parts}, "author": "{author}", "parent": {before}, '
            f'"ordinal": {talk.next_ordinal}, "partial": {partial}, "feedback": null, "created_at": "{at}"}}'
        )
        talk.head = key
        talk.next_ordinal += 1
        return key, shape

    def _ask(self, case: _Case, at_ms: int) -> None:
        words = self._rng.choice(_ASKED[case.talk.subject])
        ordinal, at = case.talk.next_ordinal, moment_text(at_ms)
        key, shape = self._message(case, "user", f'[{{"type": "text", "text": "{words}"}}]', at_ms)
        self._event(case, EventType.MESSAGE_CREATED, f'{{"message": {shape}}}', at, epoch=0)
        told = f'{{"message": "{key}", "ordinal": {ordinal}, "priority": "interactive"}}'
        self._event(case, EventType.TURN_QUEUED, told, at, epoch=0)
        begun = f'{{"epoch": 1, "started_at": "{case.began}", "resumed": false}}'
        self._event(case, EventType.TURN_STARTED, begun, case.began)

    def _draw(self, case: _Case) -> None:
        chance = self._rng.random()
        case.answer = self._rng.choice(_SAID[case.talk.subject])
        if chance < 0.925:
            return
        case.partial = True
        # Cut where no escape is cut in two.
        case.answer = case.answer[: case.answer.find(" ", 20)].rstrip("\\n") if chance < 0.96 else ""
        if chance < 0.965:
            case.status, case.error = "failed", _error(self._rng.choice(ERRORS))
        elif chance < 0.985:
            case.status = "cancelled"
        else:
            case.status, case.error = "expired", _error(ErrorClass.DEADLINE)
        if case.error[0]:
            case.error_id = id_text(case.talk.last_ms, self._rng)

    def _work(self, case: _Case) -> None:
        """Steps and what was shown of them."""
        number = 1
        parts: list[str] = []
        if self._rng.random() < 0.2:
            parts += self._tool(case)
            number = 3
        if case.answer:
            self._event(case, EventType.MESSAGE_DELTA, f'{{"text": "{case.answer}"}}', case.ended,
                        stands_for=max(1, len(case.answer) // 40))  # fmt: skip
            parts.append(f'{{"type": "text", "text": "{case.answer}"}}')
        failed = case.status != "completed"
        kind = case.error[0] or (ErrorClass.CANCELLED if failed else "")
        result = NULL if failed else f'{{"text": "{case.answer}", "tool_calls": []}}'
        used = (0, 0) if failed else case.tokens
        cost = case.cost if not failed else "0"
        case.tokens = used
        self.lines.step.append(
            f"{case.turn}\t{number}\tmodel\t{'failed' if failed else 'done'}\t1\t{case.talk.part.route}\t\ttrue\t{{}}\t"
            f"{result}\t{kind}\t{used[0]}\t{used[1]}\t{case.began}\t{case.ended}\t"
            f"{cost}"
        )
        case.parts = ", ".join(parts)

    def _tool(self, case: _Case) -> list[str]:
        rng = self._rng
        call_id, name = f"call_{rng.getrandbits(40):010x}", rng.choice(tuple(_TOOLS))
        chance = rng.random()
        status = "unknown" if chance < 0.01 else "failed" if chance < 0.06 else "done"
        bad = status != "done"
        asked, answered = _TOOLS[name]
        content = "It could not be done." if bad else answered
        outcome = f'"content": "{content}", "is_error": {str(bad).lower()}'
        call = f'{{"id": "{call_id}", "name": "{name}", "arguments": "{asked}"}}'
        self.lines.step += [
            f"{case.turn}\t1\tmodel\tdone\t1\t{case.talk.part.route}\t\ttrue\t{{}}\t"
            f'{{"text": "", "tool_calls": [{call}]}}\t\t0\t0\t{case.began}\t{case.began}\t0',
            f'{case.turn}\t2\ttool\t{status}\t1\t{name}\t{call_id}\t{"false" if bad else "true"}\t"{asked}"\t'
            f"{{{outcome}}}\t{ErrorClass.TOOL_ERROR if bad else ''}\t0\t0\t"
            f"{case.began}\t{case.ended}\t{NULL}",
        ]
        told = f'"step": 2, "call_id": "{call_id}", "name": "{name}"'
        self._event(case, EventType.TOOL_STARTED, f'{{{told}, "arguments": "{asked}"}}', case.began)
        ended = EventType.TOOL_FAILED if bad else EventType.TOOL_FINISHED
        self._event(case, ended, f'{{{told}, "content": "{content}"}}', case.ended)
        return [
            f'{{"type": "tool_call", "id": "{call_id}", "name": "{name}", "arguments": "{asked}"}}',
            f'{{"type": "tool_result", "call_id": "{call_id}", {outcome}}}',
        ]

    def _end(self, case: _Case, ended_ms: int) -> None:
        if case.parts:
            _, shape = self._message(case, "agent", f"[{case.parts}]", ended_ms)
            self._event(case, EventType.MESSAGE_COMPLETED, f'{{"message": {shape}}}', case.ended)
        more = ""
        if case.status == "completed":
            into, out = case.tokens
            more = f', "usage": {{"input_tokens": {into}, "output_tokens": {out}, "cost_usd": "{case.cost}"}}'
        elif case.error[0]:
            kind, detail = case.error
            retry = str(retry_suggested(kind)).lower()
            more = (
                f', "error": {{"error_class": "{kind}", "detail": "{detail}", "error_id": "{case.error_id}", '
                f'"retry_suggested": {retry}}}'
            )
        self._event(case, f"turn.{case.status}", f'{{"finished_at": "{case.ended}"{more}}}', case.ended)

    def _row(self, case: _Case, ordinal: int, at_ms: int) -> None:
        talk, at, (into, out) = case.talk, moment_text(at_ms), case.tokens
        kind, detail = case.error
        self.lines.turn.append(
            f"{case.turn}\t{talk.key}\t{talk.user}\t{talk.release}\t{ordinal}\t{case.status}\t0\tauto-{case.turn}\t"
            f"{_FINGERPRINT}\t1\t0\t{case.runner}\t{at}\t{case.began}\t{case.ended}\t{moment_text(at_ms + 3_600_000)}\t"
            f"{kind}\t{detail}\t{case.error_id}\t{into}\t{out}\ttrue\t{case.cost}"
        )
