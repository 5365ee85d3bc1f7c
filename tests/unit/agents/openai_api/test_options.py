"""What OpenAI clients ask of an answer: tools to call, where it ends, its form; and what is refused of that."""

from typing import Any

import pytest

from agents.domain.client_options import ClientOptions
from agents.domain.model_messages import JsonFormat, ToolSpec
from agents.openai_api.options import read_options
from foundation.errors import InvalidInput

LIGHT: Any = {"type": "function", "function": {"name": "light"}}
DOOR: Any = {"type": "function", "function": {"name": "door", "description": "A door.", "strict": True}}
TOOLS: Any = {"tools": [LIGHT, DOOR]}
NOTHING: Any = {"type": "object", "properties": {}}
SPECS = (ToolSpec("light", "", NOTHING), ToolSpec("door", "A door.", NOTHING, strict=True))
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}


def named(name: str) -> Any:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> Any:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stop": None, "tools": None, "tool_choice": None, "response_format": None, "parallel_tool_calls": None},
        {"stop": [], "tools": [], "tool_choice": "auto", "response_format": {"type": "text"}},
        {"stop": "", "parallel_tool_calls": True},
        {"tool_choice": "none", **TOOLS},
    ],
)
def test_a_body_may_ask_for_nothing(body: Any) -> None:
    assert read_options(body) == ClientOptions()


@pytest.mark.parametrize(
    ("choice", "options"),
    [
        (None, ClientOptions(SPECS)),
        ("auto", ClientOptions(SPECS)),
        ("required", ClientOptions(SPECS, must_call=("light", "door"))),
        (named("door"), ClientOptions(SPECS, must_call=("door",), one_call=True)),
        (allowed("auto", "door"), ClientOptions(SPECS[1:])),
        (allowed("required", "door"), ClientOptions(SPECS[1:], must_call=("door",))),
    ],
)
def test_a_choice_says_which_tools_may_or_must_be_called(choice: Any, options: ClientOptions) -> None:
    assert read_options({**TOOLS, "tool_choice": choice}) == options


def test_one_call_at_a_time_may_be_asked_for() -> None:
    assert read_options({**TOOLS, "parallel_tool_calls": False}).one_call


@pytest.mark.parametrize(
    ("stop", "texts"), [("END", ("END",)), (["\n", " "], ("\n", " ")), (["a", "a", "b", "c"], ("a", "b", "c"))]
)
def test_texts_that_end_the_answer_are_taken_as_they_are(stop: Any, texts: tuple[str, ...]) -> None:
    assert read_options({"stop": stop}).stop == texts


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ({"type": "json_object"}, JsonFormat()),
        ({"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}, JsonFormat(SCHEMA, "city")),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "city", "schema": SCHEMA, "description": "Where?", "strict": True},
            },
            JsonFormat(SCHEMA, "city", "Where?", strict=True),
        ),
    ],
)
def test_the_answer_may_be_wanted_in_json(given: Any, form: JsonFormat) -> None:
    assert read_options({"response_format": given}).json == form


def schema(**fields: Any) -> Any:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, **fields}}}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tool_choice": "required"}, "/tool_choice"),
        ({"tool_choice": "any", **TOOLS}, "/tool_choice"),
        ({"tool_choice": 1, **TOOLS}, "/tool_choice"),
        ({"tool_choice": ["light"], **TOOLS}, "/tool_choice"),
        ({"tool_choice": {}, **TOOLS}, "/tool_choice"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "x"}}, **TOOLS}, "/tool_choice"),
        ({"tool_choice": named("window"), **TOOLS}, "/tool_choice/function/name"),
        ({"tool_choice": named(["light"]), **TOOLS}, "/tool_choice/function/name"),  # type: ignore[arg-type]
        ({"tool_choice": {"type": "allowed_tools"}, **TOOLS}, "/tool_choice/allowed_tools"),
        ({"tool_choice": allowed("none", "light"), **TOOLS}, "/tool_choice/allowed_tools/mode"),
        ({"tool_choice": allowed("auto", "window"), **TOOLS}, "/tool_choice/allowed_tools/tools/0/function/name"),
        ({"tool_choice": allowed("required"), **TOOLS}, "/tool_choice"),
        ({"parallel_tool_calls": 0}, "/parallel_tool_calls"),
        ({"tools": [{"type": "function", "function": {"name": "a", "strict": "yes"}}]}, "/tools/0/function/strict"),
        ({"stop": 1}, "/stop"),
        ({"stop": {}}, "/stop"),
        ({"stop": "x" * 201}, "/stop"),
        ({"stop": ["a", ""]}, "/stop/1"),
        ({"stop": [1]}, "/stop/0"),
        ({"stop": list("abcde")}, "/stop"),
        ({"response_format": "json_object"}, "/response_format"),
        ({"response_format": {}}, "/response_format"),
        ({"response_format": {"type": ["text"]}}, "/response_format"),
        ({"response_format": {"type": "grammar"}}, "/response_format"),
        ({"response_format": {"type": "json_schema"}}, "/response_format/json_schema"),
        (schema(name="a b"), "/response_format/json_schema/name"),
        (schema(name=None), "/response_format/json_schema/name"),
        (schema(schema=None), "/response_format/json_schema/schema"),
        (schema(schema=[]), "/response_format/json_schema/schema"),
        (schema(schema={}), "/response_format/json_schema/schema"),
        (schema(strict=1), "/response_format/json_schema/strict"),
        (schema(description=1), "/response_format/json_schema/description"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_where_it_stands(body: Any, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_options(body)
    assert refused.value.pointer == pointer
