"""Where the parts of a prompt come from, and which of them to trust."""

from typing import Any
from uuid import UUID, uuid4

from agents.domain.message_parts import Part, text_part, tool_call_part, tool_result_part
from agents.domain.prompt import Item
from agents.domain.prompt_sources import PromptSource, PromptSources, SourceKind, read_sources

TRUSTED = frozenset({"clock"})
WEB = PromptSource(SourceKind.TOOL, "http_fetch")
AGENT = PromptSource(SourceKind.AGENT)


def item(author: str, *parts: Part | str, key: UUID | None = None) -> Item:
    return Item(key or uuid4(), author, [text_part(part) if isinstance(part, str) else part for part in parts])


def call(name: str, call_id: str = "1") -> list[Part]:
    return [
        tool_call_part(call_id=call_id, name=name, arguments="{}"),
        tool_result_part(call_id=call_id, content="…", is_error=False),
    ]


def read(*history: Item, **more: Any) -> PromptSources:
    return read_sources(history, trusted_tools=TRUSTED, **more)


def test_a_conversation_of_a_person_and_an_agent_has_no_source_of_low_trust() -> None:
    sources = read(item("user", "one"), item("agent", "two"), item("human", "three"), item("user", "four"))
    assert sources == PromptSources((), ("four", "one"))


def test_results_are_trusted_as_their_tool_is() -> None:
    question = item("user", "what time is it?")
    assert read(question, work=call("clock")).low_trust == ()
    assert read(question, work=call("http_fetch")).low_trust == (WEB,)
    assert read(question, work=[*call("clock"), *call("http_fetch", "2")]).low_trust == (WEB,)


def test_what_was_remembered_is_of_low_trust_also_where_a_tool_brings_it() -> None:
    sources = read_sources([item("user", "?")], call("recall"), trusted_tools={"recall"})
    assert sources.low_trust == (PromptSource(SourceKind.MEMORIES),)


def test_two_calls_with_one_id_are_trusted_as_the_worse_of_them() -> None:
    calls = [*call("http_fetch")[:1], *call("clock")]
    assert read(item("user", "?"), work=calls).low_trust == (WEB,)
    assert read(item("user", "?"), work=call("http_fetch")[1:]).low_trust == (PromptSource(SourceKind.TOOL, "unknown"),)


def test_what_the_agent_wrote_after_a_page_is_of_low_trust_and_what_it_wrote_before_is_not() -> None:
    before = read(item("user", "a"), item("agent", "b"), item("user", "c"), work=[text_part("d")])
    assert before.low_trust == ()
    after = read(item("user", "a"), item("agent", *call("http_fetch"), "b"), item("user", "c"))
    assert after.low_trust == (WEB, AGENT)


def test_an_earlier_answer_is_of_low_trust_where_the_history_was_cut() -> None:
    history = item("user", "a"), item("agent", "b"), item("user", "c")
    assert read(*history, is_cut=True).low_trust == (AGENT,)
    assert read(history[-1], is_cut=True).low_trust == ()


def test_what_a_client_stored_as_an_answer_is_not_the_agents() -> None:
    supplied = uuid4()
    history = item("user", "a"), item("agent", "b", key=supplied), item("user", "c")
    assert PromptSource(SourceKind.CLIENT) in read(*history, answer_sources={supplied: SourceKind.CLIENT}).low_trust


def test_results_of_a_clients_tools_are_of_low_trust() -> None:
    asked = item("agent", *call("lookup")[:1])
    sources = read(item("user", "a"), asked, item("user", call("lookup")[1]))
    assert sources.low_trust == (PromptSource(SourceKind.TOOL, "lookup"),)
    assert sources.person_texts == ("a",)


def test_what_else_is_in_the_prompt_counts_and_taints_earlier_answers() -> None:
    history = item("user", "a"), item("agent", "b"), item("user", "c")
    sources = read(*history, other_kinds=[SourceKind.MEMORIES, SourceKind.TASK])
    assert sources.low_trust == (PromptSource(SourceKind.MEMORIES), PromptSource(SourceKind.TASK), AGENT)
