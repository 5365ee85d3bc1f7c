"""The fields of a draft's form for the rights of tools: a row of plain fields for each tool, instead of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms

from agents.domain.approvals import MAX_APPROVAL_HOURS
from agents.domain.tool_rules import ToolRule, dump_rule, rule_lines
from console.widgets import NumberInput, Select, Textarea
from foundation import strict_json
from foundation.errors import BandstandError, InvalidInput

_AS_TOOL: Final = "as_tool"
_RIGHTS: Final = [("allow", "Runs"), ("ask", "Needs approval"), ("deny", "Is refused")]
_UNTRUSTED: Final = [("any", "Pass"), ("ask", "Need approval"), ("deny", "Are refused")]
_MISFITS: Final = [("deny", "Is refused"), ("ask", "Needs approval")]
_DECIDERS: Final = [("user", "The user"), ("operator", "An operator")]
_DEFAULTS: Final = {"right": "allow", "untrusted": "any", "otherwise": "deny", "decided_by": "user"}


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool for which a rule can be set; `note` says what else is to be known of it."""

    name: str
    arguments: Sequence[str]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ToolRow:
    """The fields of one tool: the two that everybody needs, and the others. `lines`: its stored rule in words."""

    tool: OfferedTool
    main: Sequence[forms.BoundField]
    more: Sequence[forms.BoundField]
    lines: Sequence[str]

    @property
    def is_open(self) -> bool:
        """Whether the other fields are to be seen at once: they say something, or have an error."""
        return len(self.lines) > 1 or any(field.errors for field in self.more)


class SchemaField(forms.CharField):
    """A JSON Schema as text; its value is the text, or "" for none."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if text.strip():
            try:
                strict_json.loads(text)
            except BandstandError as error:
                raise forms.ValidationError(f"This is no JSON object: {error.detail}") from None
        return text.strip()


class ToolRuleFields:
    """The fields for the rules of `tools` by the names that they have in the form."""

    def __init__(self, tools: Sequence[OfferedTool], rules: Mapping[str, ToolRule]) -> None:
        self._tools = tools
        self._rules = rules
        self.names: dict[str, dict[str, str]] = {
            tool.name: {member: f"rule-{tool.name}-{member}" for member in [*_members(), *_argument_members(tool)]}
            for tool in tools
        }

    def fields(self) -> Iterator[tuple[str, forms.Field]]:
        """Each field with its name."""
        for tool in self._tools:
            names = self.names[tool.name]
            yield names["right"], _select(f"{tool.name}: each call", _RIGHTS)
            yield names["untrusted"], _select(f"{tool.name}: values from untrusted sources", _UNTRUSTED)
            for argument in tool.arguments:
                choices = [(_AS_TOOL, "As the tool"), *_UNTRUSTED]
                yield names[_argument(argument)], _select(f"{tool.name}: untrusted values of {argument}", choices)
            yield (
                names["schema"],
                SchemaField(
                    label=f"{tool.name}: JSON Schema of the arguments that pass",
                    required=False,
                    max_length=20_000,
                    widget=Textarea({"rows": 6, "spellcheck": "false", "class": "bs-mono"}),
                    help_text='Such as {"properties": {"amount": {"maximum": 100}}}. Empty: all pass.',
                ),
            )
            yield names["otherwise"], _select(f"{tool.name}: a call that does not fit the schema", _MISFITS)
            yield names["decided_by"], _select(f"{tool.name}: who decides", _DECIDERS)
            yield (
                names["approval_hours"],
                forms.IntegerField(
                    label=f"{tool.name}: hours to decide",
                    required=False,
                    min_value=1,
                    max_value=MAX_APPROVAL_HOURS,
                    widget=NumberInput({"placeholder": "24"}),
                    help_text=f"1 to {MAX_APPROVAL_HOURS}; default: 24. Then the call is not made.",
                ),
            )

    def values(self, rules: Mapping[str, ToolRule]) -> dict[str, Any]:
        """The values of the fields for `rules`."""
        values: dict[str, Any] = {}
        for tool in self._tools:
            stored = dump_rule(rules.get(tool.name, ToolRule()))
            names = self.names[tool.name]
            values |= {names[member]: stored.get(member, default) for member, default in _DEFAULTS.items()}
            schema = stored.get("schema")
            values[names["schema"]] = "" if schema is None else json.dumps(schema, indent=2, ensure_ascii=False)
            values[names["approval_hours"]] = stored.get("approval_hours")
            arguments = stored.get("untrusted_arguments", {})
            values |= {names[_argument(name)]: arguments.get(name, _AS_TOOL) for name in tool.arguments}
        return values

    def read(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        """The rules in cleaned values, as JSON by the names of the tools; a tool that needs none has none."""
        rules: dict[str, Any] = {}
        for tool in self._tools:
            names = self.names[tool.name]
            rule: dict[str, Any] = {
                member: value for member, default in _DEFAULTS.items() if (value := cleaned[names[member]]) != default
            }
            if schema := cleaned[names["schema"]]:
                rule["schema"] = strict_json.loads(schema)
            if hours := cleaned[names["approval_hours"]]:
                rule["approval_hours"] = hours
            arguments = {name: cleaned[names[_argument(name)]] for name in tool.arguments}
            if arguments := {name: value for name, value in arguments.items() if value != _AS_TOOL}:
                rule["untrusted_arguments"] = arguments
            if rule:
                rules[tool.name] = {"right": "allow"} | rule
        return rules

    def rows(self, form: forms.BaseForm) -> list[ToolRow]:
        """The rows of `form`, which has these fields."""
        rows = []
        for tool in self._tools:
            fields = {member: form[name] for member, name in self.names[tool.name].items()}
            main = [fields.pop("right"), fields.pop("untrusted")]
            rule = self._rules.get(tool.name)
            lines = [line.removeprefix(f"{tool.name}: ") for line in rule_lines(tool.name, rule)] if rule else []
            more = [fields[member] for member in sorted(fields, key=_order)]
            rows.append(ToolRow(tool, main, more, lines))
        return rows

    def field_of(self, error: InvalidInput) -> str | None:
        """The name of the field that an error of `tool_rights` is about; None if there is none."""
        _, _, *steps = (step.replace("~1", "/").replace("~0", "~") for step in (error.pointer or "").split("/"))
        names = self.names.get(steps[0], {}) if steps else {}
        member = steps[1] if len(steps) > 1 else "right"
        if member == "untrusted_arguments":
            member = _argument(steps[2]) if len(steps) > 2 else "untrusted"
        return names.get(member, names.get("right"))


def _members() -> list[str]:
    return [*_DEFAULTS, "schema", "approval_hours"]


def _argument(name: str) -> str:
    return f"argument-{name}"


def _argument_members(tool: OfferedTool) -> list[str]:
    return [_argument(name) for name in tool.arguments]


def _order(member: str) -> tuple[int, str]:
    """Arguments first, then the schema with what happens to others, then who decides."""
    order = ["schema", "otherwise", "decided_by", "approval_hours"]
    return (order.index(member) + 1, "") if member in order else (0, member)


def _select(label: str, choices: Sequence[tuple[str, str]]) -> forms.ChoiceField:
    # Required: a request that leaves it out must not loosen a rule.
    return forms.ChoiceField(label=label, choices=choices, widget=Select)
