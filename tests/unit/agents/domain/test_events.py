"""The types of events have one home, and whoever speaks of them keeps to it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from agents.admin.list_filters import EventTypeFilter
from agents.api.schema.events import DATA
from agents.domain import events
from agents.domain.events import TERMINAL_EVENTS, EventType, Field, Shape, payload_fields
from agents.domain.replay import Snapshot, replay
from agents.domain.states import TERMINAL, TurnStatus
from agents.models import Event
from agents.pages import views as pages
from agents.ws import frames
from tests.support.declared import check, schema
from tests.support.event_examples import QUESTION, SESSION, TURN_ID, example, examples
from tests.support.literals import literals
from tests.support.surroundings import ROOT

GUIDE = ROOT / "docs" / "api.md"
STATIC = Path(pages.__file__).parent / "static" / "bandstand"
# What is not an event though it looks like one: lines of the log, entries of the audit trail.
OTHER_WORDS = {"debug", "info", "warning", "error", "exception", "critical", "record_audit"}


# --- the declarations ---


@pytest.mark.parametrize("event_type", EventType)
def test_every_type_says_what_it_means_and_fits_its_column(event_type: EventType) -> None:
    assert event_type.declaration.meaning.endswith(".")
    assert event_type.declaration.shapes
    assert len(event_type) <= (Event._meta.get_field("type").max_length or 0)


@pytest.mark.parametrize("status", TurnStatus)
def test_every_state_of_a_turn_has_events_that_lead_there_and_an_end_has_one_of_its_name(status: TurnStatus) -> None:
    leading = {event_type for event_type in EventType if event_type.declaration.status is status}
    assert leading
    assert (f"turn.{status}" in TERMINAL_EVENTS) == (status in TERMINAL)
    # The statement that ends a turn puts the type together from the state that the row took.
    assert f"turn.{status}" in set(EventType) | {"turn.running"}


@pytest.mark.parametrize("event_type", EventType)
def test_the_schema_is_made_from_the_declaration(event_type: EventType) -> None:
    for one in examples(event_type):
        check(one, DATA[event_type], f"{event_type} ")
        with pytest.raises(AssertionError):
            check({**one, "secret": 1}, DATA[event_type])
    for shape in event_type.declaration.shapes:
        for name, field in payload_fields(shape).items():
            if field.required and len(event_type.declaration.shapes) == 1:
                with pytest.raises(AssertionError):
                    check({k: v for k, v in example(event_type).items() if k != name}, DATA[event_type])


def test_the_console_offers_every_type() -> None:
    assert set(EventTypeFilter.values) == set(EventType)


def test_nobody_else_writes_the_name_of_a_type_and_sql_only_those_that_exist() -> None:
    in_python = [
        literal
        for literal in literals()
        if literal.file.suffix == ".py" and literal.called not in OTHER_WORDS and not literal.stands_in(events)
    ]
    written = [one for one in in_python if one.word in set(EventType) and not one.inside]
    invented = [one for one in in_python if is_type_like(one.word) and one.inside and one.word not in set(EventType)]
    assert not written + invented, "\n".join(map(str, written + invented))


# --- the document ---


def test_the_guide_lists_the_types_as_they_are() -> None:
    table = [
        f"| `{event_type}` | {_fields_in_words(event_type)} | {event_type.declaration.meaning} |".replace("|  |", "| |")
        for event_type in EventType
    ]
    [chapter] = re.findall(r"^### Types of events\n(.*?)^#", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    shown = [line for line in chapter.splitlines() if line.startswith("| `")]
    assert shown == table, "the lines are to be:\n" + "\n".join(table)


def _fields_in_words(event_type: EventType) -> str:
    return "; or ".join(
        ", ".join(f"`{name}`" if field.required else f"`{name}`?" for name, field in payload_fields(shape).items())
        for shape in event_type.declaration.shapes
    )


# --- the browser's sources ---

_NAMESPACES = "|".join(sorted({event_type.partition(".")[0] for event_type in EventType}))
_TYPE = re.compile(rf'"((?:{_NAMESPACES})\.[a-z_]+)"')
_FIELD = re.compile(r"\bdata\??\.(\w+)(?:\??\.(\w+))?")
_BEGINS_ANEW = re.compile(r"^ {0,2}(?:export |async )*(?:function\b|class\b|[#\w]+\([^)]*\) \{)")


def sources() -> list[Path]:
    """Those that read events."""
    return [path for path in sorted(STATIC.rglob("*.js")) if _TYPE.search(path.read_text(encoding="utf-8"))]


def test_the_browser_knows_no_type_that_does_not_exist() -> None:
    named = {name for path in sources() for name in _TYPE.findall(path.read_text(encoding="utf-8"))}
    assert named - set(frames._READERS) <= set(EventType)
    assert len(named) > 10


def test_the_browser_reads_no_field_that_does_not_exist() -> None:
    read = [use for path in sources() for use in uses(path.read_text(encoding="utf-8"))]
    faults = [f"{sorted(types)}: data.{name}.{inner}" for types, name, inner in read if not known(types, name, inner)]
    assert not faults, "\n".join(faults)
    assert len(read) > 15


def uses(source: str) -> Iterator[tuple[set[EventType], str, str]]:
    """Each field of an event's data that is read, with the field inside of it, and the types that it is read of."""
    types, closed = set(EventType), True
    for line in source.splitlines():
        words = re.findall(r'\bcase "([\w.]+)":', line)
        named = {
            EventType(name) for name in [*_TYPE.findall(line), *(f"turn.{word}" for word in words)] if is_type(name)
        }
        if _BEGINS_ANEW.match(line) or re.match(r"\s*(?:default:|\} else \{)", line):
            types, closed = set(EventType), True
        elif named:
            types, closed = (named if closed else types | named), not re.fullmatch(r'\s*case "[\w.]+":', line)
        for name, inner in _FIELD.findall(line):
            yield types, name, inner
            closed = True


def is_type(name: str) -> bool:
    return name in set(EventType)


def is_type_like(name: str) -> bool:
    return re.fullmatch(rf"(?:{_NAMESPACES})\.[a-z_]+", name) is not None


def known(types: set[EventType], name: str, inner: str) -> bool:
    fields = [
        payload_fields(shape)[name]
        for event_type in types
        for shape in event_type.declaration.shapes
        if name in payload_fields(shape)
    ]
    return any(not inner or inner in _fields_inside(field) for field in fields)


def _fields_inside(field: Field) -> set[str]:
    if not isinstance(field.kind, Shape):
        return {"length"}
    return set(schema()["components"]["schemas"][field.kind.name]["properties"])


def test_what_does_not_exist_is_found() -> None:
    source = """
function show(type, data) {
  switch (type) {
    case "tool.finished":
    case "tool.failed":
      use(data.outcome, data.gone);
      break;
    case "message.delta":
      use(data.content);
  }
  if (type === "message.created") use(data.message.parts, data.message.gone);
  if (word) {
    case "failed":
      use(data.error?.detail, data.text);
  }
  default:
    use(data.until);
}
"""
    assert [f"{name}.{inner}" for types, name, inner in uses(source) if not known(types, name, inner)] == [
        "gone.", "content.", "message.gone", "text.",
    ]  # fmt: skip


_PROGRAM = """
import { readFileSync } from "node:fs";
import { Conversation } from "./conversation.js";
const { cases } = JSON.parse(readFileSync(0, "utf8"));
const seen = cases.map(({ window, events }) => {
  const conversation = new Conversation(structuredClone(window));
  for (const event of events) conversation.apply(event);
  const turns = [...conversation.turns.values()];
  return {
    head: conversation.head,
    session: { ...conversation.session, head: null },
    messages: [...conversation.messages.values()].sort((a, b) => a.ordinal - b.ordinal),
    turns: Object.fromEntries(
      turns.map(({ id, status, shown, approvals, error = null }) => [id, { status, shown, approvals, error }]),
    ),
    handoff: conversation.handoff,
  };
});
// The text as HTML comes from the server later.
console.log(JSON.stringify(seen, (name, value) => (name === "html" ? undefined : value)));
"""


def test_the_browser_keeps_the_same_law(tmp_path: Path) -> None:
    """Every event, on a turn that has shown something: the page must know what a snapshot would say."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH")
    single = [(event_type, data) for event_type in EventType for data in examples(event_type)]
    # But what cannot be: something of a turn after its end, and the same message twice.
    cases = [
        [first, second]
        for first, second in product(single, single)
        if first[0] not in TERMINAL_EVENTS
        and not (isinstance(first[1].get("message"), dict) and "message" in second[1])
    ]
    assert len(cases) > 300
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "conversation.js").write_text((STATIC / "chat" / "conversation.js").read_text(encoding="utf-8"))
    program = tmp_path / "program.js"
    program.write_text(_PROGRAM)
    told = json.dumps({"cases": [{"window": BEFORE, "events": [as_frame(*one) for one in case]} for case in cases]})
    done = subprocess.run([node, str(program)], input=told, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for case, seen in zip(cases, json.loads(done.stdout), strict=True):
        assert seen == as_the_page_has_it(replay(deepcopy(BEFORE), map(as_event, range(8, 8 + len(case)), case))), case


BEFORE: Snapshot = {
    "seq": 7,
    "session": SESSION,
    "messages": [QUESTION],
    "turns": {
        TURN_ID: {
            "id": TURN_ID,
            "message": QUESTION["id"],
            "ordinal": 1,
            "priority": "interactive",
            "status": "running",
            "shown": [{"type": "text", "text": "17 * 3"}],
            "approvals": [],
            "error": None,
        }
    },
    "older": False,
    "handoff": None,
}


def as_frame(event_type: EventType, data: dict[str, Any]) -> dict[str, Any]:
    return {"event": event_type, "turn": TURN_ID, "data": data}


def as_event(seq: int, one: tuple[EventType, dict[str, Any]]) -> dict[str, Any]:
    return {"seq": seq, "turn_id": TURN_ID, "event_type": one[0].value, "data": one[1]}


def as_the_page_has_it(snapshot: Snapshot) -> dict[str, Any]:
    turns = {
        key: {name: turn[name] for name in ("status", "shown", "approvals", "error")}
        for key, turn in snapshot["turns"].items()
    }
    session = {**snapshot["session"], "head": None}
    return {
        "head": snapshot["session"]["head"],
        "session": session,
        "messages": snapshot["messages"],
        "turns": turns,
        "handoff": snapshot["handoff"],
    }
