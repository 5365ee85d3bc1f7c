"""A conversation as a text to keep."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from agents.domain.markdown_export import transcript_heading, transcript_message, transcript_name
from agents.domain.message_parts import Part, reasoning_part, text_part, tool_call_part, tool_result_part

THEN = datetime(2026, 11, 22, 8, 15, 30, 1, tzinfo=UTC)


def message(author: str, *parts: Part, partial: bool = False) -> Any:
    return SimpleNamespace(author=author, parts=list(parts), partial=partial, created_at=THEN)


def test_it_begins_with_title_agent_and_time() -> None:
    session = SimpleNamespace(title="Sums\n# x", agent=SimpleNamespace(name="Demo"), created_at=THEN)
    assert transcript_heading(session) == "# Sums # x\n\nWith Demo, begun 2026-11-22T08:15:30.000001Z.\n"
    session.title = ""
    assert transcript_heading(session).startswith("# Conversation\n")


def test_what_a_schedule_sent_says_so() -> None:
    written = transcript_message(message("user", text_part("What is new?", schedule="an-id")), agent_name="Demo")
    assert "What is new?\n\n*Sent by a schedule.*" in written


def test_a_file_is_called_like_the_conversation_with_what_every_system_takes() -> None:
    def name(title: str) -> str:
        return transcript_name(SimpleNamespace(title=title))

    assert name("Ünder the bridge?") == "Ünder the bridge"
    assert name("../../etc/passwd\x00 <b>:\u202egpj.exe") == "etc passwd b gpj.exe"
    assert name("x" * 200) == "x" * 60
    assert name("می‌خواهم 👩‍👩‍👧‍👦 \u2066x\u0378") == "می‌خواهم 👩‍👩‍👧‍👦 x"
    assert name("x" * 58 + "👩‍👩‍👧‍👦") == "x" * 58
    assert name(" ... ") == name("") == "Conversation"


def test_people_and_agents_have_their_names_and_their_words() -> None:
    asked = transcript_message(message("user", text_part("*Hi*\n")), agent_name="Demo")
    assert asked == "\n## You, 2026-11-22T08:15:30.000001Z\n\n*Hi*\n"
    for by, name in (("Dana\nNg", "Dana Ng"), ("", "A person")):
        taken_over = transcript_message(message("human", text_part("Hello.", by=by)), agent_name="Demo")
        assert taken_over == f"\n## {name}, 2026-11-22T08:15:30.000001Z\n\nHello.\n"
    cut = transcript_message(message("agent", text_part("Hel"), partial=True), agent_name="Demo")
    assert cut == "\n## Demo, 2026-11-22T08:15:30.000001Z\n\nHel\n\n*Cut short.*\n"


def test_reasoning_is_quoted_above_the_words() -> None:
    work = message("agent", reasoning_part("Hm.\n\n# So\n"), text_part("Noon", cut="repetition"))
    said = transcript_message(work, agent_name="Demo").split("\n\n", 1)[1]
    assert said == ("> *Reasoning:*\n>\n> Hm.\n>\n> # So\n\nNoon\n\n*The model stopped because it repeated itself.*\n")


def test_tools_are_named_with_what_they_got_and_gave() -> None:
    work = message(
        "agent",
        tool_call_part(call_id="a", name="clock", arguments='{"a": "`x`"}'),
        tool_result_part(call_id="a", content="no ``\nnoon", is_error=True),
        text_part("Noon."),
    )
    said = transcript_message(work, agent_name="Demo").split("\n\n")[1:]
    assert said == ['*Called `clock` with* `` {"a": "`x`"} ``', "*The tool failed:* ``` no `` noon ```", "Noon.\n"]
    refused = tool_result_part(call_id="a", content="Not run.", is_error=True, outcome="refused")
    assert "*The call was refused:* `Not run.`" in transcript_message(message("agent", refused), agent_name="Demo")
