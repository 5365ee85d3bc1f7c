"""Google's generateContent, by the types of its library (`Content`, which forbids what it does not know) and its error
messages."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from tests.support.request_checkers.rules import NAME, Refused, refuse_blank, refuse_unless


def check(body: dict[str, Any]) -> None:
    from google.genai.types import Content  # takes its time, which whoever collects tests has no use for

    contents = body["contents"]
    refuse_unless(contents, "contents is not specified")
    refuse_unless(contents[0]["role"] == "user" and contents[-1]["role"] == "user", "the user speaks first and last")
    for part in (body.get("systemInstruction") or {}).get("parts", ()):
        refuse_blank(part["text"], "systemInstruction")
    calls: list[str] = []
    previous = ""
    for content in contents:
        try:
            Content.model_validate(content)
        except ValidationError as error:
            raise Refused(str(error)) from None
        refuse_unless(content["parts"], "contents.parts must not be empty")
        for part in content["parts"]:
            refuse_unless(part, "required oneof field 'data' must have one initialized field")
            if "text" in part:
                refuse_blank(part["text"], "parts.text")
        refuse_unless(content["role"] != previous, "roles take turns")
        previous = content["role"]
        answers = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        refuse_unless(
            answers == calls, "the number of function response parts is not equal to that of function call parts"
        )
        calls = _calls(content)
        refuse_unless(not calls or content["role"] == "model", "a function call is the model's")
    refuse_unless(not calls, "function calls without responses")


def _calls(content: dict[str, Any]) -> list[str]:
    parts = [part for part in content["parts"] if "functionCall" in part]
    if parts:
        refuse_unless(parts[0].get("thoughtSignature"), "Function call is missing a thought_signature")
    names = [part["functionCall"]["name"] for part in parts]
    refuse_unless(all(NAME.fullmatch(name) for name in names), "Invalid function name")
    return names
