"""The form in which builders write what an agent does: plain fields instead of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from django import forms

from accounts.admin.audited_forms import AuditedFormMixin
from agents.domain.configuration import (
    SETTINGS,
    AgentConfiguration,
    Choices,
    Nested,
    RouteChain,
    Setting,
    Switch,
    Text,
    ToolNames,
    WholeNumber,
)
from agents.models import AgentDraft
from agents.releases.validation import check_runnable, tool_names
from console.widgets import CheckboxInput, CheckboxSelectMultiple, NumberInput, Textarea
from foundation.errors import InvalidInput
from foundation.graphemes import cut_text
from foundation.text_lines import split_lines

# The settings that have a form field each, as (group or None, name, setting).
_FIELD_SETTINGS: Final[list[tuple[str | None, str, Setting]]] = [
    field_setting
    for name, setting in SETTINGS.items()
    for field_setting in (
        [(name, *member) for member in setting.members.items()]
        if isinstance(setting, Nested)
        else [(None, name, setting)]
    )
]


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

    def __init__(self, *, selected: list[str], **kwargs: Any) -> None:
        super().__init__(choices=list(_tool_choices(selected)), widget=CheckboxSelectMultiple, **kwargs)
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
        super().__init__(data, initial=_values(self.stored))
        self.draft = draft
        for _, name, setting in _FIELD_SETTINGS:
            self.fields[name] = _form_field(setting, self.initial[name])
        self.remember(draft)

    def stored_row(self) -> AgentDraft:
        return AgentDraft.objects.select_for_update(no_key=True).get(pk=self.draft.pk)

    def form_values(self, row: AgentDraft) -> dict[str, Any]:
        return _values(AgentConfiguration.parse(row.configuration))

    @property
    def configuration(self) -> AgentConfiguration:
        """The configuration to save. An empty number means the default at run time. Raises `InvalidInput`."""
        values: dict[str, Any] = {}
        for group, name, setting in _FIELD_SETTINGS:
            value = self.cleaned_data[name]
            if value is not None and not (group and self._is_left_at_default(group, name, setting, value)):
                (values.setdefault(group, {}) if group else values)[name] = value
        return AgentConfiguration.from_values(values)

    def _is_left_at_default(self, group: str, name: str, setting: Setting, value: Any) -> bool:
        """A box cannot be empty as a number can: one that shows the default is not set by saving the form."""
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

    def sections(self) -> Iterator[tuple[str, str, list[forms.BoundField]]]:
        """Title, help text and fields of each section of the page."""
        for title, settings in groupby(SETTINGS.items(), lambda item: item[1].section):
            help_text, names = "", list[str]()
            for name, setting in settings:
                if isinstance(setting, Nested):
                    help_text, names = setting.help_text, [*names, *setting.members]
                else:
                    names.append(name)
            yield title, help_text, [self[name] for name in names]

    def _add_configuration_error(self, error: InvalidInput) -> None:
        field, _, item = (error.pointer or "").lstrip("/").partition("/")
        if isinstance(SETTINGS.get(field), RouteChain) and item.isdigit():
            route = self.cleaned_data[field][int(item)]
            self.add_error(
                field, f"“{cut_text(route, 60)}” is no route: write provider:model, such as openai:gpt-5-mini."
            )
        elif field in self.fields:
            self.add_error(field, error.detail)
        else:
            self.add_error(item if item in self.fields else None, error.detail)


def _values(configuration: AgentConfiguration) -> dict[str, Any]:
    """The values of the form fields by name; None for a number that is left to its default."""
    values: dict[str, Any] = {}
    for group, name, setting in _FIELD_SETTINGS:
        settings: Any = getattr(configuration, group) if group else configuration
        is_empty = isinstance(setting, WholeNumber) and not settings.is_set(name)
        values[name] = None if is_empty else setting.dump(getattr(settings, name))
    return values


def _form_field(setting: Setting, value: Any) -> forms.Field:
    common: dict[str, Any] = {"label": setting.label, "help_text": setting.help_text}
    match setting:
        case RouteChain():
            widget = Textarea({"rows": 3, "spellcheck": "false", "class": "bs-mono"})
            return LinesField(widget=widget, required=not setting.is_optional, max_length=4_000, **common)
        case Switch():
            return forms.BooleanField(widget=CheckboxInput, required=False, **common)
        case Text():
            widget = Textarea({"rows": 14})
            return ProseField(widget=widget, required=False, max_length=setting.largest, strip=False, **common)
        case ToolNames():
            return ToolsField(selected=value, required=False, **common)
        case Choices():
            choices = [(choice, choice) for choice in setting.choices]
            return forms.MultipleChoiceField(choices=choices, required=False, widget=CheckboxSelectMultiple, **common)
        case WholeNumber():
            return _number_field(setting)
    raise TypeError(f"{type(setting).__name__} has no field in forms.")


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


def _tool_choices(selected: list[str]) -> Iterator[tuple[str, str]]:
    # Imported here, as in `agents.releases.validation`: the module imports every tool with its libraries.
    from agents.tools.toolbox import installed_tools

    for tool in installed_tools():
        writes = " Changes or sends something." if tool.writes else ""
        yield tool.name, f"{tool.name}: {' '.join(tool.description.split())}{writes}"
    for name in selected:
        if name not in tool_names():
            yield name, f"{name}: not installed here any more. Untick it to publish."
