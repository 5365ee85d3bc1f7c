"""The form in which builders write what an agent does: plain fields instead of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from django import forms

from accounts.admin.audited_forms import AuditedFormMixin
from agents.admin.tool_rule_fields import OfferedTool, ToolRow, ToolRuleFields
from agents.domain.configuration import (
    SETTINGS,
    AgentConfiguration,
    Choices,
    FallbackOrder,
    Nested,
    RouteChain,
    Setting,
    Switch,
    Text,
    TextLine,
    ToolNames,
    ToolRights,
    WholeNumber,
)
from agents.domain.tool_rules import ToolRule, rule_lines
from agents.models import AgentDraft
from agents.releases.validation import check_runnable, tool_arguments, tool_names, unguarded_tools
from console.widgets import CheckboxInput, CheckboxSelectMultiple, NumberInput, Textarea
from foundation.errors import InvalidInput
from foundation.graphemes import cut_text
from foundation.text_lines import split_lines

if TYPE_CHECKING:
    from agents.tools.tool import Tool

# The settings that have a form field each, as (group or None, name, setting).
_FIELD_SETTINGS: Final[list[tuple[str | None, str, Setting]]] = [
    field_setting
    for name, setting in SETTINGS.items()
    # Those have a row of fields for each tool.
    if not isinstance(setting, ToolRights)
    for field_setting in (
        [(name, *member) for member in setting.members.items()]
        if isinstance(setting, Nested)
        else [(None, name, setting)]
    )
]

_CHAINS: Final = frozenset(name for _, name, setting in _FIELD_SETTINGS if isinstance(setting, RouteChain))


class LinesField(forms.CharField):
    """A list of short texts, one per line."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(str(item) for item in value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return [line.strip() for line in split_lines(text) if line.strip()]


class ProseField(forms.CharField):
    """Text with all its spaces. Browsers send CRLF at the ends of lines; models read LF."""

    def clean(self, value: Any) -> Any:
        return super().clean(value).replace("\r\n", "\n")


class ToolsField(forms.MultipleChoiceField):
    """The ticked tools, those of `selected` first and in their order: a model may prefer the first tool."""

    def __init__(self, *, selected: list[str], rules: Mapping[str, ToolRule], **kwargs: Any) -> None:
        super().__init__(choices=list(_tool_choices(selected, rules)), widget=CheckboxSelectMultiple, **kwargs)
        self._selected = selected

    def clean(self, value: Any) -> Any:
        checked = super().clean(value)
        ordered = [name for name in self._selected if name in checked]
        return ordered + [name for name in checked if name not in ordered]


class DraftForm(AuditedFormMixin, forms.Form):
    """The configuration of `draft`. Valid only if a turn could run on it; `configuration` is then what to save.

    Raises `NewerConfiguration` where a newer version wrote the draft.
    """

    def __init__(self, data: Any = None, *, draft: AgentDraft) -> None:
        self.stored = AgentConfiguration.parse(draft.configuration)
        self._rules = ToolRuleFields(_offered_tools(self.stored), dict(self.stored.tool_rights))
        super().__init__(data, initial=self._values(self.stored))
        self.draft = draft
        for _, name, setting in _FIELD_SETTINGS:
            self.fields[name] = _form_field(setting, self.initial[name], self.stored)
        self.fields.update(self._rules.fields())
        self.remember(draft)

    def stored_row(self) -> AgentDraft:
        return AgentDraft.objects.select_for_update(no_key=True).get(pk=self.draft.pk)

    def form_values(self, row: AgentDraft) -> dict[str, Any]:
        return self._values(AgentConfiguration.parse(row.configuration))

    def _values(self, configuration: AgentConfiguration) -> dict[str, Any]:
        return _values(configuration) | self._rules.values(dict(configuration.tool_rights))

    @property
    def configuration(self) -> AgentConfiguration:
        """The configuration to save. An empty number means the default at run time. Raises `InvalidInput`."""
        values: dict[str, Any] = {}
        for group, name, setting in _FIELD_SETTINGS:
            value = self.cleaned_data[name]
            if value is not None and not (group and self._is_left_at_default(group, name, setting, value)):
                (values.setdefault(group, {}) if group else values)[name] = value
        values["tool_rights"] = self._rules.read(self.cleaned_data)
        return AgentConfiguration.from_values(values)

    def _is_left_at_default(self, group: str, name: str, setting: Setting, value: Any) -> bool:
        """A box cannot be empty as a number can: one that shows the default is not set by saving the form."""
        if isinstance(setting, RouteChain | FallbackOrder):
            return not value
        is_default = isinstance(setting, Switch | Choices) and value == setting.dump(setting.default)
        return is_default and not getattr(self.stored, group).is_set(name)

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                check_runnable(self.configuration)
            except InvalidInput as error:
                self._add_configuration_error(error)
        self.refuse_stale()
        return self.cleaned_data

    @property
    def tool_rows(self) -> list[ToolRow]:
        """The rows for the rights of tools."""
        return self._rules.rows(self)

    @property
    def tool_rights_text(self) -> str:
        """The stored rights of tools in words."""
        return SETTINGS["tool_rights"].text(self.stored.tool_rights)

    def sections(self) -> Iterator[tuple[str, str, list[forms.BoundField]]]:
        """Title, help text and fields of each section of the page."""
        for title, settings in groupby(SETTINGS.items(), lambda item: item[1].section):
            help_text, names = "", list[str]()
            for name, setting in settings:
                if isinstance(setting, Nested):
                    help_text, names = setting.help_text, [*names, *setting.members]
                elif name in self.fields:
                    names.append(name)
            yield title, help_text, [self[name] for name in names]

    def _add_configuration_error(self, error: InvalidInput) -> None:
        names = (error.pointer or "").lstrip("/").split("/")
        if names[0] == "tool_rights":
            self.add_error(self._rules.field_of(error), error.detail)
            return
        field, *items = names[1:] if isinstance(SETTINGS.get(names[0]), Nested) and names[1:] else names
        if field in _CHAINS and items:
            route = cut_text(self.cleaned_data[field][int(items[0])], 60)
            self.add_error(field, f"“{route}” is no route: write provider:model, such as openai:gpt-5-mini.")
        else:
            self.add_error(field if field in self.fields else None, error.detail)


def _values(configuration: AgentConfiguration) -> dict[str, Any]:
    """The values of the form fields by name; None for a number that is left to its default."""
    values: dict[str, Any] = {}
    for group, name, setting in _FIELD_SETTINGS:
        settings: Any = getattr(configuration, group) if group else configuration
        is_empty = isinstance(setting, WholeNumber | TextLine) and not settings.is_set(name)
        values[name] = None if is_empty else setting.dump(getattr(settings, name))
    return values


def _form_field(setting: Setting, value: Any, stored: AgentConfiguration) -> forms.Field:
    common: dict[str, Any] = {"label": setting.label, "help_text": setting.help_text}
    match setting:
        case RouteChain() | FallbackOrder():
            widget = Textarea({"rows": 3, "spellcheck": "false", "class": "bs-mono"})
            is_required = isinstance(setting, RouteChain) and not setting.is_optional
            return LinesField(widget=widget, required=is_required, max_length=4_000, **common)
        case Switch():
            return forms.BooleanField(widget=CheckboxInput, required=False, **common)
        case Text():
            return _text_field(setting, common)
        case ToolNames():
            return ToolsField(selected=value, rules=dict(stored.tool_rights), required=False, **common)
        case Choices():
            choices = [(choice, choice) for choice in setting.choices]
            return forms.MultipleChoiceField(choices=choices, required=False, widget=CheckboxSelectMultiple, **common)
        case WholeNumber():
            return _number_field(setting)
    raise TypeError(f"{type(setting).__name__} has no field in forms.")


def _text_field(setting: Text, common: dict[str, Any]) -> forms.Field:
    if isinstance(setting, TextLine):
        widget = Textarea({"rows": 2, "placeholder": setting.default})
        return forms.CharField(widget=widget, required=False, max_length=setting.largest, empty_value=None, **common)
    return ProseField(widget=Textarea({"rows": 14}), required=False, max_length=setting.largest, strip=False, **common)


def _number_field(setting: WholeNumber) -> forms.IntegerField:
    default = setting.text(setting.default)
    return forms.IntegerField(
        label=setting.label,
        required=False,
        min_value=1,
        max_value=setting.largest,
        widget=NumberInput({"placeholder": default}),
        help_text=f"{setting.help_text} 1 to {setting.largest:,}; default: {default}.",
    )


def _tool_choices(selected: list[str], rules: Mapping[str, ToolRule]) -> Iterator[tuple[str, str]]:
    for tool in _installed_tools():
        writes = " Changes or sends something." if tool.writes else ""
        rule = f" Right: {rule_lines('', rules[tool.name])[0][2:]}." if tool.name in rules else ""
        yield tool.name, f"{tool.name}: {' '.join(tool.description.split())}{writes}{rule}"
    for name in selected:
        if name not in tool_names():
            yield name, f"{name}: not installed here any more. Untick it to publish."


def _offered_tools(configuration: AgentConfiguration) -> list[OfferedTool]:
    """The installed tools, those of the configuration first, and what else it has a rule for."""
    unguarded = unguarded_tools(configuration)
    installed = {
        tool.name: OfferedTool(tool.name, tool_arguments(tool.name), _tool_note(tool, tool.name in unguarded))
        for tool in _installed_tools()
    }
    names = dict.fromkeys([name for name in configuration.tools if name in installed] + list(installed))
    lost = [
        OfferedTool(name, sorted(rule.untrusted_arguments), "not installed here any more: let it run to publish")
        for name, rule in configuration.tool_rights
        if name not in installed
    ]
    return [*(installed[name] for name in names), *lost]


def _tool_note(tool: Tool, is_unguarded: bool) -> str:
    if not tool.writes:
        return ""
    return "changes or sends something" + (", with values from anywhere and without asking" if is_unguarded else "")


def _installed_tools() -> Sequence[Tool]:
    # Imported here, as in `agents.releases.validation`: the module imports every tool with its libraries.
    from agents.tools.toolbox import installed_tools

    return installed_tools()
