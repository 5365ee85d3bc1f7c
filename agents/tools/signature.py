"""From a function's type hints and docstring to a JSON schema and a strict reader of arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, Required, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from foundation.errors import InvalidInput
from foundation.text_lines import split_lines

_MAX_ARGUMENT_BYTES = 256 * 1024
# Checking is no work for a thread, and each value may have a problem: so many take 50 ms at most.
_MAX_VALUES = 5000
_MAX_PROBLEMS = 8
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ARGS = re.compile(r"^(?:Args|Arguments):[ \t]*$", re.MULTILINE)
_ARGUMENT = re.compile(r"(?P<indent>[ \t]+)(?P<name>\w+):[ \t]*(?P<text>.*)")
_NAMED_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Arguments:
    """`schema` is the JSON schema of the object that a model writes; `context_name`, the parameter it does not see."""

    schema: dict[str, Any]
    adapter: TypeAdapter[dict[str, Any]]
    context_name: str | None

    def read(self, text: str) -> dict[str, Any]:
        """The arguments in the model's JSON text; "" means none. Raises `InvalidInput`, whose detail the model
        reads."""
        if len(text) > _MAX_ARGUMENT_BYTES:
            raise InvalidInput(f"The arguments are longer than {_MAX_ARGUMENT_BYTES} characters.")
        if text.count(",") > _MAX_VALUES and _STRING.sub("", text).count(",") > _MAX_VALUES:
            raise InvalidInput(f"The arguments have more than {_MAX_VALUES} values.")
        try:
            return self.adapter.validate_json(text if text.strip() not in ("", "null") else "{}")
        except ValidationError as error:
            raise InvalidInput(f"The arguments do not fit: {_describe_problems(error)}") from None


def read_signature(function: Callable[..., Any], *, context_type: type) -> tuple[str, Arguments]:
    """The description and the arguments of `function`. Raises `TypeError` for what cannot be described."""
    hints = get_type_hints(function, include_extras=True)
    description, argument_docs = read_docstring(inspect.getdoc(function) or "")
    if not description:
        raise TypeError(f"{function.__name__} has no docstring")
    context_name = None
    fields: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in _NAMED_KINDS or name not in hints:
            raise TypeError(f"the parameter {name} of {function.__name__} needs a type and a name of its own")
        if hints[name] is context_type:
            context_name = name
            continue
        described = (
            Annotated[hints[name], Field(description=argument_docs[name])] if name in argument_docs else hints[name]
        )
        if parameter.default is inspect.Parameter.empty:
            fields[name] = Required[described]
        else:
            fields[name] = NotRequired[described]
            defaults[name] = parameter.default
    if unknown := set(argument_docs) - set(fields):
        raise TypeError(
            f"the docstring of {function.__name__} describes {', '.join(sorted(unknown))}: no such parameter"
        )
    adapter = _adapter(function.__name__, fields)
    if _has_second_names(adapter.core_schema):
        raise TypeError(f"an argument of {function.__name__} has several names: its schema says one, and so do rights")
    return description, Arguments(_schema(adapter, defaults), adapter, context_name)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text before `Args:`, and the description of each argument after it, by name."""
    marker = _ARGS.search(text)
    if marker is None:
        return text.strip(), {}
    argument_docs: dict[str, str] = {}
    name, indent = "", ""
    for line in split_lines(text[marker.end() :]):
        match = _ARGUMENT.match(line)
        if match and (not argument_docs or match["indent"] == indent):
            name, indent = match["name"], match["indent"]
            argument_docs[name] = match["text"]
        elif name and line.strip():
            argument_docs[name] += " " + line.strip()
    return text[: marker.start()].strip(), argument_docs


def _adapter(name: str, fields: Mapping[str, Any]) -> TypeAdapter[dict[str, Any]]:
    """A typed dict rather than a model: a tool may call its arguments `json` or `copy` if it likes."""
    make: Any = TypedDict
    shape = with_config(ConfigDict(extra="forbid", strict=True))(make(name, dict(fields)))
    return TypeAdapter(shape)


def _has_second_names(core_schema: Any) -> bool:
    """Whether a value somewhere in the arguments may come by another name than that in their schema."""
    parts = list(_walk(core_schema))
    aliases = [part["validation_alias"] for part in parts if "validation_alias" in part]
    by_name = any(part.get("validate_by_name") is True for part in parts)
    return any(by_name or not isinstance(alias, str) for alias in aliases)


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a core schema."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item)


def _schema(adapter: TypeAdapter[dict[str, Any]], defaults: Mapping[str, Any]) -> dict[str, Any]:
    schema = adapter.json_schema()
    for name, default in defaults.items():
        if default is not None:
            schema["properties"][name].setdefault("default", to_jsonable_python(default))
    schema.setdefault("properties", {})
    stripped: dict[str, Any] = _drop_titles(schema)
    return stripped


def _drop_titles(value: Any, *, names: bool = False) -> Any:
    """Titles repeat the names and cost tokens. A property may itself be called `title`."""
    if isinstance(value, dict):
        return {
            key: _drop_titles(item, names=key in ("properties", "$defs"))
            for key, item in value.items()
            if names or key != "title"
        }
    return [_drop_titles(item) for item in value] if isinstance(value, list) else value


def _describe_problems(error: ValidationError) -> str:
    if error.error_count() > 100:
        return f"{error.error_count()} problems"
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    messages = [f"{'.'.join(map(str, problem['loc'])) or 'all'}: {problem['msg']}" for problem in problems]
    more = f"; and {len(messages) - _MAX_PROBLEMS} more" if len(messages) > _MAX_PROBLEMS else ""
    return "; ".join(messages[:_MAX_PROBLEMS])[:1000] + more
