"""Any stored history: what crashes, cancellations, other servers and clients can have left, cut at any point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from agents.domain.context_window import fit
from agents.domain.message_parts import Part, text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import ChatMessage
from agents.domain.prompt import Block, Item, Source
from agents.domain.token_estimates import estimate_tokens
from foundation.ids import new_id

ROUTE = "openai:asked"
# Few ids, so that they come again; some that no provider takes.
_ids = st.sampled_from(["call_0", "call_1", "functions.clock:0", "", "abcdefgh1", "x" * 60])
_names = st.sampled_from(["clock", "functions.clock", "2nd"])
_arguments = st.sampled_from(["{}", '{"zone": "UTC"}', "", "{", "[1]", '{"a": NaN}'])
_texts = st.sampled_from(["", " ", "\n", "hello", "Ü", "x" * 40])
_contents = st.sampled_from(["", "  ", "noon", '{"ok": true}'])

_text = st.builds(text_part, _texts)
_reasoning = st.sampled_from(["", "Let me think."]).map(lambda text: {"type": "reasoning", "text": text})
_call = st.builds(lambda i, n, a: tool_call_part(call_id=i, name=n, arguments=a), _ids, _names, _arguments)
_result = st.builds(lambda i, c: tool_result_part(call_id=i, content=c, is_error=False), _ids, _contents)
_part = st.one_of(_text, _reasoning, _call, _call, _result, _result)

# What adapters return besides text, of the servers with the chat completions API and of vendors, and what is neither.
_fields = st.sampled_from(
    [
        {},
        {"message": {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}], "role": "user", "content": "!"}},
        {"calls": {"call_0": {"extra_content": {"google": {"thought_signature": "c2ln"}}, "id": "other"}}},
        {
            "provider": "anthropic",
            "thinking": [{"offset": 2, "content": "Hm.", "id": None, "signature": "c2ln", "details": None}],
            "calls": {},
        },
        {"provider": "google", "thinking": [], "calls": {"call_0": {"thought_signature": "c2ln"}}},
        {"message": "odd", "calls": [1]},
    ]
)
_stored = st.fixed_dictionaries(
    {"route": st.sampled_from([ROUTE, "openai:other"]), "reasoning": st.sampled_from(["", "Hm."]), "fields": _fields}
)
_extras = st.none() | st.dictionaries(_ids, _stored, max_size=2)
_authors = st.sampled_from(["user", "user", "agent", "agent", "agent", "human", "system"])


@dataclass(frozen=True)
class Asked:
    """A conversation with its question last, and the work on it so far."""

    history: list[Item]
    work: list[Part]
    work_extras: dict[str, Any] | None
    instructions: str

    def request(self, window: int | None = None) -> tuple[ChatMessage, ...]:
        blocks = [Block(Source.RELEASE, self.instructions), Block(Source.CLIENT, "Be brief.")]
        fitted = fit(
            blocks, self.history, self.work, window, estimate_tokens, route=ROUTE, work_extras=self.work_extras
        )
        return fitted.messages


def items(author: st.SearchStrategy[str] = _authors) -> st.SearchStrategy[Item]:
    """Stored messages. People write texts, and clients send results with them or alone."""

    def parts(author: str) -> st.SearchStrategy[Item]:
        kinds = _part if author == "agent" else st.one_of(_text, _text, _result)
        return st.builds(
            lambda found, extras: Item(new_id(), author, found, extras), st.lists(kinds, max_size=5), _extras
        )

    return author.flatmap(parts)


conversations: st.SearchStrategy[Asked] = st.builds(
    lambda history, question, work, extras, instructions: Asked([*history, question], work, extras, instructions),
    st.lists(items(), max_size=6),
    items(st.just("user")),
    st.lists(_part, max_size=5),
    _extras,
    st.sampled_from(["", "Be kind."]),
)
