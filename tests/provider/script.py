"""What one answer of the provider is to be: from its defaults, the model's name and a directive in the conversation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, replace
from typing import Any

from agents.llm.directive import parse_directive, plain_value

_WORDS = (
    "a provider that only plays its part says the same plain words again and again until it has said enough of them"
)
_TOKEN = re.compile(r"\S+\s*|\s+")
WORDS = tuple(f"{word} " for word in _WORDS.split())


@dataclass(frozen=True)
class Script:
    """One answer; `reasoning` precedes all of it.

    Written in a model's name as `fake.tokens-50.fault-cut.after-5`, in the last message of the user as
    `[[provider tokens=50 fault=cut after=5]]` (later sources win). Times are milliseconds, `tps` is tokens per second
    (0: all at once). `calls` is `[[name, arguments], …]`, where arguments that are text are sent as they are; `tool`,
    `args` and `parallel` are the short form of the same. A call is asked for until the conversation holds `rounds`
    answers with calls since the user spoke; with `ids` one, all calls of an answer have the same id. `after` is how
    many tokens precede a fault in the stream; with `in_round` it comes only when the conversation holds so many answers
    with calls. `usage`: yes, no, early (also before the first word) or wrong (no counts at all); it says that the
    request had `input_tokens`. With `flaky` so many of a hundred answers have one fault or another.
    """

    tokens: int = 50
    text: str | None = None
    reasoning: str = ""
    echo: str = "no"
    headers_ms: float = 0
    ttft_ms: float = 0
    tps: float = 0
    fault: str = ""
    after: int = 3
    in_round: int | None = None
    retry_after: str = ""
    finish: str = "stop"
    flaky: float = 0
    usage: str = "yes"
    input_tokens: int = 11
    reasoning_tokens: int = 0
    tool: str = ""
    args: Any = None
    parallel: int = 1
    calls: tuple[tuple[str, Any], ...] = ()
    rounds: int = 1
    ids: str = "counted"

    def pieces(self) -> tuple[str, ...]:
        """The text, token by token."""
        if self.text is not None:
            return tuple(_TOKEN.findall(self.text))
        return tuple(WORDS[index % len(WORDS)] for index in range(self.tokens))

    def thoughts(self) -> tuple[str, ...]:
        """The reasoning, token by token."""
        return tuple(_TOKEN.findall(self.reasoning))


_FIELDS = frozenset(field.name for field in fields(Script))


def settings_of_model(model: str) -> dict[str, Any]:
    """`fake.tokens-50.tps-20` → `{"tokens": 50, "tps": 20}`; parts that are no settings belong to the name."""
    found: dict[str, Any] = {}
    for part in model.split(".")[1:]:
        key, dash, value = part.partition("-")
        if dash and key in _FIELDS:
            found[key] = plain_value(value)
    return found


def script_for(body: dict[str, Any], defaults: dict[str, Any]) -> Script:
    """Raises `ValueError` or `TypeError` for settings that cannot be read."""
    settings = {**defaults, **settings_of_model(str(body.get("model", "")))}
    messages = body.get("messages") or []
    last_user = max((index for index, message in enumerate(messages) if message["role"] == "user"), default=None)
    if last_user is not None:
        said = str(messages[last_user].get("content") or "")
        # Questions without an answer between them arrive as one message; the last one is answered.
        last = said[max(said.rfind("[[provider"), 0) :]
        settings |= parse_directive(last, "provider") or {}
        if settings.get("echo") == "yes":
            settings["text"] = said
        asked = sum(1 for message in messages[last_user:] if message.get("tool_calls"))
        if asked >= settings.get("rounds", 1):
            settings |= {"tool": "", "calls": ()}
        if settings.get("in_round", asked) != asked:
            settings["fault"] = ""
    if settings.get("tool"):
        arguments = settings.get("args")
        settings["calls"] = [(settings["tool"], {} if arguments is None else arguments)] * settings.get("parallel", 1)
    settings["calls"] = tuple((name, arguments) for name, arguments in settings.get("calls", ()))
    for name in ("retry_after", "fault"):
        settings[name] = str(settings.get(name, ""))
    return _within(body, Script(**settings))


def _within(body: dict[str, Any], script: Script) -> Script:
    """`script` as a model plays it that keeps to what the request asks for besides."""
    if body.get("tool_choice") == "required" and not script.calls:
        script = replace(script, text=None, calls=((body["tools"][0]["function"]["name"], {}),))
    if body.get("parallel_tool_calls") is False:
        script = replace(script, calls=script.calls[:1])
    if (wanted := body.get("response_format")) is not None:
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
        script = replace(script, text=json.dumps(dict.fromkeys(schema.get("properties", ("answer",)), "x")))
    if stops := body.get("stop"):
        said = "".join(script.pieces())
        text = min((said.partition(stop)[0] for stop in stops), key=len)
        script = replace(script, text=text, finish="stop_sequence" if text != said else script.finish)
    return script
