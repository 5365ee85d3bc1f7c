"""The order of roles that strict servers insist on: user and assistant take turns, and a user speaks first and last.

Histories break it wherever a turn failed: two questions stand together, or results without an answer. Pure, and what is
appended changes no message before the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agents.domain.model_messages import ChatMessage

# Where a conversation has no question at its beginning or its end.
GO_ON = ChatMessage("user", "Please go on.")
# Between the results of tools and the next question, where a turn ended before its answer.
NO_ANSWER = ChatMessage("assistant", "(no answer)")


def order_roles(messages: Iterable[ChatMessage], *, alternate: bool, answer_results: bool) -> list[ChatMessage]:
    """`messages` from the first question to the last one, or to results of tools, with the system text in front.

    `alternate` joins neighbours of one role, `answer_results` answers results that a question follows.
    """
    out: list[ChatMessage] = []
    for message in messages:
        previous = out[-1] if out else None
        if message.role in ("assistant", "tool") and (previous is None or previous.role == "system"):
            out.append(GO_ON)
        elif answer_results and message.role == "user" and previous is not None and previous.role == "tool":
            out.append(NO_ANSWER)
        elif alternate and previous is not None and message.role == previous.role and message.role != "tool":
            out[-1] = _join(previous, message)
            continue
        out.append(message)
    if not out or out[-1].role in ("system", "assistant"):
        out.append(GO_ON)
    return out


def _join(first: ChatMessage, second: ChatMessage) -> ChatMessage:
    text = "\n\n".join(filter(None, (first.text, second.text)))
    calls = (*first.tool_calls, *second.tool_calls)
    return replace(second, text=text, tool_calls=calls, extras=second.extras or first.extras)


def calls_as_text(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """`messages` without calls: what was called and answered becomes text. Some providers refuse calls in the history
    of a request that offers no tools."""
    out = []
    for message in messages:
        if message.role == "tool":
            out.append(ChatMessage("user", f"[The tool answered: {message.text}]"))
        elif message.tool_calls:
            calls = " ".join(f"[I called {call.name} with {call.arguments}.]" for call in message.tool_calls)
            out.append(ChatMessage(message.role, f"{message.text} {calls}".strip()))
        else:
            out.append(message)
    return out
