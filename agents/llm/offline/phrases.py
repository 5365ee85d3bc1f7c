"""The phrases that the offline model understands, and its replies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.llm.interface import ChatMessage
from agents.llm.offline.memory_phrases import describe_memories, is_about_user, memory_calls, split_memories
from foundation.graphemes import cut_text
from foundation.text_lines import split_lines

WHO = "I am the offline model that comes with Bandstand: no network, no thinking, only a few fixed rules."
CONNECT = (
    "To connect a real model, put `OPENAI_API_KEY=…` into the file `.env` and start Bandstand again. For a server of "
    "your own set `OPENAI_BASE_URL` and `BANDSTAND_MODEL` (for example `openai:llama3.3`). `docs/models.md` says more."
)
REMINDER = "_(Offline model. Set `OPENAI_API_KEY` or `OPENAI_BASE_URL` to connect a real one.)_"

_EXAMPLES = {
    "clock": "`what time is it in Europe/Zurich`",
    "calculator": "`calculate 2+3*4`",
    "http_fetch": "`fetch https://example.com/`",
    "notebook_add": "`note buy milk`",
    "remember": "`remember that I live in Bern`",
    "recall": "`what do you know about me`",
}
# The phrases are looked for at the beginning of a message only, and no expression goes back over what it has read:
# whatever somebody writes, this takes a few milliseconds of the event loop.
_MAX_CHARACTERS = 4000
_TIME = re.compile(
    r"\bwhat(?:['\u2019]s| is)?(?: the)? (?:current )?(?:time|date|day)\b|\bcurrent (?:time|date)\b", re.IGNORECASE
)
_ZONE = re.compile(r"\b(?:UTC|[A-Z][A-Za-z]+(?:/[A-Z][A-Za-z_+-]+)+)\b")
_SUM = re.compile(
    r"\b(calculate|compute|what(?:['\u2019]s| is))\s++"
    r"((?:[-+*/%().,\s\d]|(?:sqrt|abs|round|min|max)\s*+\(|pi\b)++)",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_OPERATOR = re.compile(r"\d\s*+[-+*/%(]|[a-z]")
_FETCH = re.compile(r"\b(?:fetch|open|get|read|load)\s++(https?://[^\s<>\"]+)", re.IGNORECASE)
_NOTE = re.compile(r"\b(?:note|note down|write down|remember)\b(?: that)?[:,]?\s++(\S.*)", re.IGNORECASE | re.DOTALL)
_EARLIER = re.compile(r"\bwhat did i (?:say|ask|write)\b", re.IGNORECASE)


def parse_calls(text: str, offered: frozenset[str], *, may_recall: bool = True) -> list[tuple[str, dict[str, str]]]:
    """The tools on offer that `text` asks for, with arguments, in a fixed order. `may_recall`: memories are looked up
    for a question about the user."""
    text = text[:_MAX_CHARACTERS]
    calls: list[tuple[str, dict[str, str]]] = []
    if _TIME.search(text):
        zone = _ZONE.search(text)
        calls.append(("clock", {"timezone": zone[0]} if zone else {}))
    if expression := _find_sum(text):
        calls.append(("calculator", {"expression": expression}))
    if match := _FETCH.search(text):
        calls.append(("http_fetch", {"url": match[1].rstrip(".,;:!?)")}))
    # "Remember …" is a line for the notebook where there is no memory.
    if remembering := memory_calls(text, offered):
        calls += remembering
    elif (match := _NOTE.search(text)) and not ("remember" in offered and match[0][0] in "rR"):
        calls.append(("notebook_add", {"text": match[1].strip()}))
    calls = [call for call in calls if call[0] in offered]
    if not calls and "recall" in offered and may_recall and is_about_user(text) and not _EARLIER.search(text):
        return [("recall", {"query": text[:1000]})]
    return calls


def _find_sum(text: str) -> str:
    """The first expression in `text` that is to be calculated; "" when there is none."""
    for match in _SUM.finditer(text):
        # After "what is" a number alone is no sum.
        if _DIGIT.search(match[2]) and (match[1][0] in "cC" or _OPERATOR.search(match[2])):
            return match[2].strip(" ,.\n")
    return ""


def write_reply(messages: Sequence[ChatMessage], last_user: int, offered: frozenset[str]) -> str:
    """The reply: the results of the tools since the user's last message, else a quotation of that message."""
    if results := _results(messages[last_user:]):
        return f"{results}\n\n{REMINDER}"
    memories, question = split_memories(messages[last_user].text) if last_user < len(messages) else ([], "")
    if memories and is_about_user(question[:_MAX_CHARACTERS]) and not _EARLIER.search(question[:_MAX_CHARACTERS]):
        return f"{_shorten(describe_memories(memories), 2_000)}\n\n{REMINDER}"
    earlier = [split_memories(message.text)[1] for message in messages[:last_user] if message.role == "user"]
    if _EARLIER.search(question[:_MAX_CHARACTERS]) and earlier:
        return f"Before this you said:\n\n{_quote(earlier[-1])}\n\n{REMINDER}"
    if any(message.role == "assistant" for message in messages[:last_user]):
        return f"You said:\n\n{_quote(question)}\n\n{REMINDER}"
    examples = [skill for tool, skill in _EXAMPLES.items() if tool in offered]
    hint = f" With the tools that I was given I can answer {', '.join(examples)}." if examples else ""
    return f"You said:\n\n{_quote(question)}\n\n{WHO}{hint}\n\n{CONNECT}"


def _results(messages: Sequence[ChatMessage]) -> str:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return "\n\n".join(
        f"`{names.get(message.tool_call_id or '', 'a tool')}` says: {_shorten(message.text)}"
        for message in messages
        if message.role == "tool"
    )


def _quote(text: str) -> str:
    return "\n".join(f"> {line}" for line in split_lines(_shorten(text)) or [""])


def _shorten(text: str, characters: int = 500) -> str:
    return cut_text(text.strip(), characters, mark=" …")
