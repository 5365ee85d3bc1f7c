"""Reasoning that a model writes into its text, between tags at the beginning: `<think>…</think>`."""

from __future__ import annotations

from enum import Enum, auto

# Qwen, DeepSeek and most others; Gemini's and Gemma's; Seed-OSS; Mistral's Magistral.
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}


class _State(Enum):
    START = auto()  # nothing but white space, or what may become a tag
    REASONING = auto()
    AFTER = auto()  # behind the closing tag, before the first letter of the answer
    ANSWER = auto()


class ThinkTags:
    """Splits the text of one answer into reasoning and answer, as it arrives in pieces.

    Only a tag that begins the text is one: later on it is a word of the answer, such as about HTML. With `is_open` the
    text begins inside of `<think>`, which the server's template has written already.
    """

    def __init__(self, *, is_open: bool = False) -> None:
        self._state = _State.START
        self._without_tag = _State.REASONING if is_open else _State.ANSWER
        self._closing = "</think>"
        self._held = ""

    @property
    def is_done(self) -> bool:
        """Whether all further text belongs to the answer."""
        return self._state is _State.ANSWER

    def feed(self, text: str) -> tuple[str, str]:
        """The reasoning and the text of the answer that `text` completes."""
        text, self._held = self._held + text, ""
        if self._state is _State.START and (text := self._find_opening(text)) == "":
            return "", ""
        reasoning = ""
        if self._state is _State.REASONING:
            reasoning, text = self._find_closing(text)
        if self._state is _State.AFTER:
            text = text.lstrip()
            if text:
                self._state = _State.ANSWER
        return reasoning, text if self._state is _State.ANSWER else ""

    def finish(self) -> tuple[str, str]:
        """The reasoning and the text that were held back, because they might have become a tag."""
        held, self._held = self._held, ""
        return (held, "") if self._state is _State.REASONING else ("", held)

    def _find_opening(self, text: str) -> str:
        """The text behind an opening tag, or `text` where it has none; "" while that is open."""
        begin = text.lstrip()
        for opening, closing in _TAGS.items():
            if begin.startswith(opening):
                self._state, self._closing = _State.REASONING, closing
                return begin.removeprefix(opening)
        if any(opening.startswith(begin) for opening in _TAGS):
            self._held = text
            return ""
        self._state = self._without_tag
        return text

    def _find_closing(self, text: str) -> tuple[str, str]:
        reasoning, tag, text = text.partition(self._closing)
        if tag:
            self._state = _State.AFTER
            return reasoning, text
        end = _partial_length(reasoning, self._closing)
        self._held = reasoning[len(reasoning) - end :]
        return reasoning[: len(reasoning) - end], ""


def _partial_length(text: str, tag: str) -> int:
    """How many of the last characters of `text` may be the beginning of `tag`."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])), 0)
