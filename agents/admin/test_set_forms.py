"""The forms of test sets: a set, an entry, and where turns go. Checks are rows of a kind and a value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from django import forms

from agents.domain.answer_checks import CHECK_KINDS, MAX_CHECKS
from agents.evaluations.test_sets import MAX_COST_USD, MAX_RUBRIC
from agents.models import Agent, TestSet
from console.widgets import Select, Textarea, TextInput
from foundation.errors import InvalidInput
from foundation.text_lines import split_lines

# Rows of the form beyond those that are filled.
_SPARE_ROWS: Final = 2
_JSON_KINDS: Final = frozenset({"json_schema", "tool_called"})
_NUMBER_KINDS: Final = frozenset({"max_seconds", "max_cost_usd"})


class ChecksForm(forms.Form):
    """A form with the checks of a set or an entry: `kind_1`, `value_1`, … An empty row is none."""

    def __init__(self, data: Any, *, checks: Sequence[Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        kinds = [("", "No check"), *((name, kind.title) for name, kind in CHECK_KINDS.items())]
        self.check_numbers = range(1, min(MAX_CHECKS, len(checks) + _SPARE_ROWS) + 1)
        for number in self.check_numbers:
            check = checks[number - 1] if number <= len(checks) else {}
            self.fields[f"kind_{number}"] = forms.ChoiceField(
                choices=kinds,
                required=False,
                widget=Select(attrs={"aria-label": f"Kind of check {number}"}),
                initial=check.get("kind", ""),
                label=f"Check {number}",
            )
            self.fields[f"value_{number}"] = forms.CharField(
                required=False,
                max_length=8_192,
                widget=TextInput(attrs={"aria-label": f"Value of check {number}"}),
                initial=_show_value(check),
                label="Value",
            )

    @property
    def check_rows(self) -> list[tuple[Any, Any]]:
        """The two fields of each row."""
        return [(self[f"kind_{number}"], self[f"value_{number}"]) for number in self.check_numbers]

    @property
    def hints(self) -> list[tuple[str, str]]:
        """What each kind wants as its value."""
        return [(kind.title, kind.hint) for kind in CHECK_KINDS.values()]

    @property
    def checks(self) -> list[dict[str, Any]]:
        """The checks that were entered. Raises `InvalidInput` for a value that is no JSON, or no number."""
        checks: list[dict[str, Any]] = []
        for number in self.check_numbers:
            if kind := self.cleaned_data.get(f"kind_{number}"):
                value = _read_value(kind, self.cleaned_data.get(f"value_{number}", ""), len(checks))
                checks.append({"kind": kind} if value is None else {"kind": kind, "value": value})
        return checks


class TestSetForm(ChecksForm):
    """A test set."""

    __test__ = False

    name = forms.CharField(max_length=100, widget=TextInput({"maxlength": 100}))
    description = forms.CharField(max_length=MAX_RUBRIC, required=False, widget=Textarea({"rows": 2}))
    rubric = forms.CharField(
        max_length=MAX_RUBRIC,
        required=False,
        widget=Textarea({"rows": 3}),
        help_text="What a good answer is, in plain words, for the models that judge. Entries may have their own.",
    )
    judges = forms.CharField(
        required=False,
        max_length=1_000,
        widget=Textarea({"rows": 2}),
        label="Models that judge",
        help_text="One per line, as provider:model. None: only the checks count.",
    )
    max_cost_usd = forms.DecimalField(
        min_value=Decimal("0.0001"),
        max_value=MAX_COST_USD,
        widget=TextInput({"inputmode": "decimal"}),
        label="A run may cost, US dollars",
    )
    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: Any, *, test_set: TestSet | None = None) -> None:
        initial: dict[str, Any] = {"max_cost_usd": Decimal(1)}
        if test_set is not None:
            initial = {
                "name": test_set.name,
                "description": test_set.description,
                "rubric": test_set.rubric,
                "judges": "\n".join(test_set.judge_chain),
                "max_cost_usd": test_set.max_cost_usd.normalize(),
                "version": test_set.version,
            }
        super().__init__(data, checks=test_set.checks if test_set else [], initial=initial)

    @property
    def values(self) -> dict[str, Any]:
        """What the verbs take. Raises `InvalidInput`."""
        data = self.cleaned_data
        judges = [line.strip() for line in split_lines(data["judges"]) if line.strip()]
        own = {name: data[name] for name in ("name", "description", "rubric", "max_cost_usd")}
        return {**own, "judge_chain": judges, "checks": self.checks}


class NewTestSetForm(TestSetForm):
    """A new one, of an agent."""

    agent = forms.ModelChoiceField(Agent.objects.filter(archived_at=None).order_by("name"), widget=Select)
    field_order = ("agent", "name")


class EntryForm(ChecksForm):
    """What is expected of an entry."""

    rubric = forms.CharField(max_length=MAX_RUBRIC, required=False, widget=Textarea({"rows": 3}))


class AddTurnsForm(forms.Form):
    """Which set turns go into."""

    test_set = forms.ChoiceField(required=False, widget=Select, label="Test set")
    new_name = forms.CharField(
        required=False, max_length=100, widget=TextInput({"maxlength": 100}), label="Or a new one, called"
    )

    def __init__(self, data: Any, *, agent: Agent) -> None:
        super().__init__(data)
        sets = TestSet.objects.filter(agent=agent).order_by("name").values_list("pk", "name")
        field: Any = self.fields["test_set"]
        field.choices = [("", "A new one"), *((str(key), name) for key, name in sets)]

    def clean(self) -> dict[str, Any]:
        """Either of both."""
        data: dict[str, Any] = super().clean() or {}
        if not data.get("test_set") and not data.get("new_name"):
            self.add_error("new_name", "Choose a set, or name a new one.")
        return data


class EvaluationRunForm(forms.Form):
    """Which release is run."""

    release = forms.TypedChoiceField(coerce=int, widget=Select, label="Candidate")

    def __init__(self, data: Any, *, agent: Agent) -> None:
        super().__init__(data)
        live = agent.live_release_id
        rows = agent.releases.order_by("-number").values_list("pk", "number", "note")[:50]
        field: Any = self.fields["release"]
        field.choices = [
            (number, f"Release {number}{' (live)' if key == live else ''}{f': {note}' if note else ''}")
            for key, number, note in rows
        ]


def _show_value(check: Mapping[str, Any]) -> str:
    value = check.get("value")
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if check["kind"] in _JSON_KINDS else str(value)


def _read_value(kind: str, text: str, index: int) -> Any:
    if not CHECK_KINDS[kind].takes_value:
        return None
    if kind in _JSON_KINDS:
        try:
            return json.loads(text)
        except ValueError:
            raise InvalidInput("JSON is expected.", pointer=f"/checks/{index}/value") from None
    if kind in _NUMBER_KINDS:
        try:
            return float(text.replace(",", "."))
        except ValueError:
            raise InvalidInput("A number is expected.", pointer=f"/checks/{index}/value") from None
    return text
