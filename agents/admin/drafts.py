"""The form in which builders write what an agent does: plain fields instead of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django import forms

from accounts.admin.audited_forms import AuditedForm
from agents.domain.configuration import LARGEST, ContextPolicy, TurnLimits, validate_configuration
from agents.llm.routes import fault_of_route
from agents.models import AgentDraft
from agents.releases.known import tool_names
from console.widgets import CheckboxSelectMultiple, NumberInput, Textarea
from foundation.errors import InvalidInput

# Name, label and what it is for.
_NUMBERS: Final = {
    "limits": (
        ("steps", "Model calls", "How often one turn may ask the model."),
        ("tool_calls", "Tool calls", "How many tools one turn may run."),
        ("output_tokens", "Tokens written", "By all model calls of one turn together."),
        ("call_output_tokens", "Tokens per call", "What one model call asks the provider for."),
        ("turn_seconds", "Seconds", "How long one turn may work."),
    ),
    "context_policy": (
        ("history_messages", "Messages", "How many of the newest messages the model reads again."),
        ("history_characters", "Characters", "How much text of them at most."),
    ),
}
_DEFAULTS: Final[dict[str, Any]] = {"limits": TurnLimits(), "context_policy": ContextPolicy()}


class LinesField(forms.CharField):
    """A list of short texts, one per line."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(str(item) for item in value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return [line.strip() for line in text.splitlines() if line.strip()]


class DraftForm(AuditedForm, forms.Form):
    """The configuration of `draft`. Valid only if a turn could run on it; `configuration` is then what to save."""

    model_chain = LinesField(
        label="Models, in order",
        widget=Textarea({"rows": 3, "spellcheck": "false", "class": "bs-mono"}),
        max_length=4_000,
        help_text="One per line, as provider:model. The first one answers; going on to the next is not built yet. "
        "“offline:” is the built-in model, for trying things out.",
    )
    instructions = forms.CharField(
        label="Instructions",
        widget=Textarea({"rows": 14}),
        required=False,
        max_length=100_000,
        strip=False,
        help_text="Who the agent is and how it should answer. The model reads this before every message.",
    )
    tools = forms.MultipleChoiceField(
        label="Tools", widget=CheckboxSelectMultiple, required=False, help_text="What the agent may do besides talking."
    )

    def __init__(self, data: Any = None, *, draft: AgentDraft) -> None:
        super().__init__(data, initial=self.values_of(draft))
        self.draft = draft
        self.fields["tools"].choices = list(_tool_choices(draft.tools))  # type: ignore[attr-defined]
        for group, numbers in _NUMBERS.items():
            for name, label, words in numbers:
                self.fields[name] = _number(_DEFAULTS[group], name, label, words)
        self.remember(draft)

    def stored_row(self) -> AgentDraft:
        return AgentDraft.objects.select_for_update(no_key=True).get(pk=self.draft.pk)

    def values_of(self, row: AgentDraft) -> dict[str, Any]:
        numbers = {name: getattr(row, group).get(name) for group, known in _NUMBERS.items() for name, *_ in known}
        return {"model_chain": row.model_chain, "instructions": row.instructions, "tools": row.tools, **numbers}

    @property
    def configuration(self) -> dict[str, Any]:
        """What `change_draft` takes. A number left empty is the default of the day."""
        cleaned = self.cleaned_data
        numbers = {
            group: {name: cleaned[name] for name, *_ in known if cleaned.get(name) is not None}
            for group, known in _NUMBERS.items()
        }
        # Tools keep the order they had: a model may prefer the first.
        ticked = set(cleaned["tools"])
        tools = [name for name in self.draft.tools if name in ticked]
        tools += [name for name in cleaned["tools"] if name not in tools]
        instructions = cleaned["instructions"].replace("\r\n", "\n")
        return {"model_chain": cleaned["model_chain"], "instructions": instructions, "tools": tools, **numbers}

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            try:
                validate_configuration(**self.configuration, known_tools=tool_names(), fault_of_route=fault_of_route)
            except InvalidInput as error:
                self._explain(error)
        self.refuse_stale()
        return self.cleaned_data

    def sections(self) -> Iterator[tuple[str, str, list[forms.BoundField]]]:
        """Title, words and fields of each part of the page."""
        yield "What answers", "", [self["model_chain"], self["instructions"]]
        yield "Tools", "", [self["tools"]]
        words = "Bounds of one turn, so that none runs away. Empty: the default."
        yield "Limits", words, [self[name] for name, *_ in _NUMBERS["limits"]]
        words = "Older messages stay in the conversation, but the model does not see them."
        yield "What the model remembers", words, [self[name] for name, *_ in _NUMBERS["context_policy"]]

    def _explain(self, error: InvalidInput) -> None:
        field, _, item = (error.pointer or "").lstrip("/").partition("/")
        if field == "model_chain" and item.isdigit():
            route = self.cleaned_data["model_chain"][int(item)]
            self.add_error(field, f"“{route[:60]}” is no route: write provider:model, such as openai:gpt-5-mini.")
        elif field in self.fields:
            self.add_error(field, error.detail)
        else:
            self.add_error(item if item in self.fields else None, error.detail)


def _number(defaults: Any, name: str, label: str, words: str) -> forms.IntegerField:
    default = getattr(defaults, name)
    standard = "the provider's own limit" if default is None else f"{default:,}"
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=1,
        max_value=LARGEST[name],
        widget=NumberInput({"placeholder": standard}),
        help_text=f"{words} 1 to {LARGEST[name]:,}; default: {standard}.",
    )


def _tool_choices(chosen: list[str]) -> Iterator[tuple[str, str]]:
    # Late, as in `agents.releases.known`: it imports every tool with its libraries.
    from agents.tools.toolbox import installed_tools

    for tool in installed_tools():
        writes = " Changes or sends something." if tool.writes else ""
        yield tool.name, f"{tool.name}: {' '.join(tool.description.split())}{writes}"
    for name in chosen:
        if name not in tool_names():
            yield name, f"{name}: not installed here any more. Untick it to publish."
