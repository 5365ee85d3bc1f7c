"""What the chat page says of people who decide and answer, and of budgets, by its own modules without a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.domain.budgets import BudgetSubject, describe_exhausted
from agents.domain.serialization import moment
from agents.pages import views as pages
from foundation.clock import now

CHAT = Path(pages.__file__).parent / "static" / "bandstand" / "chat"
WAIT, LEAVE, GO_ON = "wait", "message", "withdraw"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules without a DOM, where node takes them for modules."""
    made = tmp_path_factory.mktemp("chat")
    (made / "package.json").write_text('{"type": "module"}')
    for name in ("conversation.js", "handoff.js", "quota.js", "stored-call.js"):
        (made / name).write_text((CHAT / name).read_text(encoding="utf-8"))
    return made


def run(folder: Path, program: str, value: Any) -> Any:
    """What `program` prints as JSON, with `value` as its `input`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH")
    (folder / "program.js").write_text(
        'import { readFileSync } from "node:fs";\n'
        'import { Conversation } from "./conversation.js";\n'
        'import { describeHandoff, handoffWords } from "./handoff.js";\n'
        'import { quotaWords, isCurrent, withLocalTime } from "./quota.js";\n'
        'import { ExactNumber, parseExactly, reveal } from "./stored-call.js";\n'
        f'const input = JSON.parse(readFileSync(0, "utf8"));\n{program}'
    )
    done = subprocess.run(
        [node, str(folder / "program.js")],
        input=json.dumps(value),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


_NOTICES = """
console.log(JSON.stringify(input.map(([conversation, patient]) => {
  const view = describeHandoff(conversation, { patient });
  return view && [view.words, view.detail, view.choices];
})));
"""


def pending(by: str = "user", *, on_duty: bool | None = False) -> dict[str, Any]:
    return {"state": "pending", "by": by, "on_duty": on_duty, "assignee": None, "reason": ""}


def test_who_asks_reads_who_is_there_and_what_they_may_choose(folder: Path) -> None:
    offered = {"offersHandoff": True}
    cases: list[tuple[dict[str, Any], bool]] = [
        ({**offered, "handoff": None}, False),
        ({**offered, "handoff": pending()}, False),
        ({**offered, "handoff": pending()}, True),
        ({**offered, "handoff": pending(), "hasLeftMessage": True}, False),
        ({**offered, "handoff": pending(on_duty=True)}, False),
        ({"handoff": pending("tool")}, False),
        ({"handoff": {**pending("rule", on_duty=None), "reason": "thumb_down"}}, False),
        ({**offered, "handoff": pending(), "overdue": True}, True),
        ({"handoff": {**pending(), "state": "open", "assignee": "Olga Berg"}}, False),
        ({"handoff": {**pending(), "state": "open"}}, False),
        ({"handoff": None, "handoffEnd": {"reason": "timed_out", "assignee": None}}, False),
        ({"handoff": None, "handoffEnd": {"reason": "returned", "assignee": "Olga Berg"}}, False),
        ({"handoff": None, "handoffEnd": {"reason": "withdrawn", "assignee": None}}, False),
    ]
    none, nobody, patient, left, somebody, tool, rule, tardy, olga, person, late, returned, withdrawn = run(
        folder, _NOTICES, cases
    )
    assert none is withdrawn is None
    assert nobody == [
        "You asked for a person.",
        "Nobody is there to answer just now. You can wait, leave a message, or go on with the agent.",
        [WAIT, LEAVE, GO_ON],
    ]
    assert patient[2] == [LEAVE, GO_ON]
    assert (left[1].startswith("Your message is kept."), left[2]) == (True, [GO_ON])
    assert (somebody[1].startswith("Somebody is there"), somebody[2]) == (True, [GO_ON])
    assert (tool[0], tool[2]) == ("The agent has asked for a person.", [WAIT, GO_ON]), "the release offers no message"
    assert rule[0] == "A person was asked to take over, since you did not like an answer."
    assert (tardy[1].startswith("Nobody has come yet."), tardy[2]) == (True, [WAIT, LEAVE, GO_ON])
    assert (olga[0], olga[2]) == ("Olga Berg answers", [GO_ON])
    assert person[0] == "A person answers"
    assert late[0] == "Nobody came in time. The agent answers what you write."
    assert returned[0] == "Olga Berg has given the chat back: the agent goes on."


_FOLLOWED = """
const conversation = new Conversation(input.window);
console.log(JSON.stringify(input.events.map(([event, data, turn = "t"]) => {
  conversation.apply({ event, turn, data });
  return {
    words: event.startsWith("handoff.") ? handoffWords(conversation) : null,
    controlled: conversation.controlled,
    left: conversation.exchanges().filter(({ left }) => left).map(({ key }) => key),
    asks: [...conversation.turns.values()].map(({ approvals }) => approvals.map(({ approval }) => approval)),
    decided: [...conversation.turns.values()].map(({ decisions = [] }) => decisions.map(({ decision }) => decision)),
    reason: conversation.turns.get("t")?.reason ?? null,
  };
})));
"""


def message(key: str, author: str, parent: str | None, **more: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": key}]
    return {"id": key, "ordinal": ord(key), "author": author, "parts": parts, "turn": None, "parent": parent, **more}


def test_the_log_says_who_decides_who_answers_and_what_was_left_for_a_person(folder: Path) -> None:
    # Of a fork: a question and its answer without a turn.
    messages = [message("a", "user", None), message("b", "agent", "a"), message("c", "user", "b", turn="t")]
    turn = {"id": "t", "message": "c", "ordinal": 3, "status": "running", "shown": [], "approvals": []}
    window = {"seq": 3, "session": {"head": "c"}, "messages": messages, "turns": {"t": turn}, "handoff": None}
    asked = {"approval": "1", "tool": "mail", "arguments": "{}", "reasons": [], "who": "user", "call_id": "x"}
    events: list[list[Any]] = [
        ["approval.requested", asked],
        ["approval.decided", {**asked, "decision": "denied", "by": "user"}],
        ["handoff.requested", {"reason": "", "by": "user", "on_duty": False}, None],
        ["handoff.requested", {"reason": "still_waiting", "by": "system", "on_duty": False}, None],
        ["message.created", {"message": message("d", "user", "c")}, None],
        ["turn.cancelled", {"reason": "handoff"}],
        ["handoff.opened", {"reason": "", "by": "operator", "assignee": "Olga"}, None],
        ["message.created", {"message": message("e", "human", "d")}, None],
        ["handoff.resolved", {"reason": "resolved", "by": "operator", "assignee": "Otto"}, None],
    ]
    asks, decided, requested, tardy, left, cancelled, opened, said, resolved = run(
        folder, _FOLLOWED, {"window": window, "events": events}
    )
    assert (asks["asks"], asks["decided"]) == ([["1"]], [[]])
    assert (decided["asks"], decided["decided"]) == ([[]], [["denied"]])
    assert requested["words"].startswith("You asked for a person. Nobody is there")
    assert "Nobody has come yet." in tardy["words"]
    assert (requested["left"], left["left"]) == ([], ["d"])
    assert (cancelled["reason"], cancelled["controlled"]) == ("handoff", False)
    assert (opened["controlled"], opened["words"].partition(".")[0]) == (True, "Olga answers")
    assert said["left"] == []
    assert (resolved["controlled"], resolved["words"]) == (
        False, "Otto is done: the agent answers what comes next.",
    )  # fmt: skip


def test_words_to_a_person_who_has_gone_are_not_left_for_the_next_one(folder: Path) -> None:
    said = [message("a", "user", None), message("b", "human", "a"), message("c", "user", "b")]
    again = ["handoff.requested", {"reason": "", "by": "user", "on_duty": False}, None]
    window = {"seq": 3, "session": {"head": "c"}, "messages": said, "turns": {}, "handoff": None}
    left = ["message.created", {"message": message("d", "user", "c")}, None]
    live = run(folder, _FOLLOWED, {"window": window, "events": [again, left]})
    assert [one["left"] for one in live] == [[], ["d"]]
    # After a reload, with an answer of the agent between.
    asked, answered = message("d", "user", "c", turn="t"), message("e", "agent", "d", turn="t")
    window |= {"session": {"head": "e"}, "messages": [*said, asked, answered], "handoff": pending()}
    left = ["message.created", {"message": message("f", "user", "e")}, None]
    loaded = run(folder, _FOLLOWED, {"window": window, "events": [again, left]})
    assert [one["left"] for one in loaded] == [[], ["f"]]


_CALLS = """
const plain = (value) => (value instanceof ExactNumber ? `#${value.source}` : value);
console.log(JSON.stringify({
  parsed: input.calls.map(parseExactly).map((one) => one && JSON.stringify(one.value, (_key, inner) => plain(inner))),
  revealed: input.texts.map(reveal),
}));
"""


def test_values_of_a_call_are_shown_as_they_are_stored_and_nothing_is_hidden_in_them(folder: Path) -> None:
    calls = ['{"to":"a@b.example","amount":12.5,"all":true}', '{"n":12345678901234567890}', "{broken", '["x",null]']
    texts = ["plain\ttext\n", "pay\u202e001", "a\u200bb", "\u2066x\u2069", "नमस्ते क्‍ष", "tag\U000e0041"]
    found = run(folder, _CALLS, {"calls": calls, "texts": texts})
    parsed = found["parsed"]
    assert parsed[0] == '{"to":"a@b.example","amount":"#12.5","all":true}'
    # As it is written, or not at all: where the runtime does not say, people read the JSON itself.
    assert parsed[1] in (None, '{"n":"#12345678901234567890"}')
    assert parsed[2:] == [None, '["x",null]']
    assert found["revealed"] == [
        "plain\ttext\n", "pay⟨U+202E⟩001", "a⟨U+200B⟩b", "⟨U+2066⟩x⟨U+2069⟩", "नमस्ते क्‍ष", "tag⟨U+E0041⟩",
    ]  # fmt: skip


# --- budgets ---


def test_a_warning_says_whose_budget_is_used_and_when_it_begins_anew(folder: Path) -> None:
    at = datetime(2026, 12, 2, tzinfo=UTC)
    warnings = [
        {"subject": subject, "period": period, "used_percent": percent, "resets_at": moment(at)}
        for subject, period, percent in (("user", "day", 80), ("group", "month", 100), ("from_the_future", "year", 90))
    ]
    program = 'console.log(JSON.stringify(input.map((one) => [quotaWords(one, "soon"), isCurrent(one, Date.now())])))'
    words, current = zip(*run(folder, program, warnings), strict=True)
    assert words == (
        "80 % of your budget for today is used. It begins anew: soon.",
        "The budget of your group for this month is used up. It begins anew: soon.",
        "90 % of a budget for now is used. It begins anew: soon.",
    )
    assert set(current) == {at > now()}


@pytest.mark.parametrize("subject", [*BudgetSubject, None])
def test_times_of_errors_are_those_of_the_readers_clock(folder: Path, subject: BudgetSubject | None) -> None:
    detail = describe_exhausted(datetime(2026, 12, 2, tzinfo=UTC), subject)
    told = run(folder, 'console.log(JSON.stringify(withLocalTime(input, "today, 13:00")))', detail)
    assert told == f"{describe_exhausted(None, subject)} It begins anew: today, 13:00."


def test_the_page_knows_what_a_turn_waits_for_until_it_goes_on(folder: Path) -> None:
    program = """
    const turn = { id: "t", message: "q", ordinal: 1, status: "running", waits_for: null, shown: [], approvals: [] };
    const session = { id: "s", head: null };
    const conversation = new Conversation({ seq: 1, session, messages: [], turns: { t: turn } });
    const states = input.map(([event, data]) => {
      conversation.apply({ event, turn: "t", data });
      const { status, waits_for: reason } = conversation.turns.get("t");
      return [status, reason];
    });
    console.log(JSON.stringify(states));
    """
    events = [
        ("turn.waiting", {"for": "budget", "until": "2026-12-02T00:00:00.000000Z"}),
        ("turn.queued", {"reason": "budget"}),
        ("turn.started", {"resumed": True}),
    ]
    assert run(folder, program, events) == [["waiting", "budget"], ["queued", None], ["running", None]]
