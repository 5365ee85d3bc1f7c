"""The forms of deployments: how one begins, and why one goes back or on."""

from __future__ import annotations

from typing import Any

from django import forms

from agents.deployments.deployment_changes import MAX_REASON
from agents.domain.deployments import DEFAULT_PLAN, MAX_PERCENT, DeploymentPlan, PlanStep
from agents.models import Agent, TestSet
from console.widgets import NumberInput, Select, TextInput
from foundation.errors import InvalidInput


class BeginForm(forms.Form):
    """What is to be brought to the users of an agent, and how."""

    release = forms.ChoiceField(widget=Select, label="What", help_text="The draft becomes the next release.")
    steps = forms.CharField(
        max_length=200,
        widget=TextInput({"maxlength": 200, "autocomplete": "off"}),
        label="Steps",
        help_text=f"Percent of the users and minutes, such as “5 % 10, 25 % 10”. At most {MAX_PERCENT} %.",
    )
    watch_minutes = forms.IntegerField(
        min_value=0, max_value=10_080, widget=NumberInput, label="Watch, minutes", help_text="After it is live."
    )
    minimum_turns = forms.IntegerField(
        min_value=0,
        max_value=1_000_000,
        widget=NumberInput,
        label="Turns, at least",
        help_text="With fewer on the candidate no step ends by itself.",
    )
    minimum_users = forms.IntegerField(min_value=0, max_value=100_000, widget=NumberInput, label="Users, at least")
    test_set = forms.ChoiceField(
        required=False, widget=Select, label="Test set", help_text="It has to pass before the first user meets it."
    )
    note = forms.CharField(max_length=200, required=False, widget=TextInput({"maxlength": 200}))
    draft_version = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, data: Any, *, agent: Agent, draft_version: int, release: str = "") -> None:
        plan = DEFAULT_PLAN
        initial = {
            "release": release,
            "steps": ", ".join(f"{step.percent} % {step.seconds // 60}" for step in plan.steps),
            "watch_minutes": plan.watch_seconds // 60,
            "minimum_turns": plan.minimum_turns,
            "minimum_users": plan.minimum_users,
            "draft_version": draft_version,
        }
        super().__init__(data, initial=initial)
        numbers = (
            agent.releases.exclude(pk__in=[agent.live_release_id]).order_by("-number").values_list("number", "note")
        )
        choices = [(str(number), f"Release {number}{f': {note}' if note else ''}") for number, note in numbers[:50]]
        fields: dict[str, Any] = self.fields
        fields["release"].choices = [("", "The draft"), *choices]
        fields["release"].required = False
        sets = TestSet.objects.filter(agent=agent).order_by("name").values_list("pk", "name")
        fields["test_set"].choices = [("", "None"), *((str(key), name) for key, name in sets)]

    def clean_steps(self) -> tuple[PlanStep, ...]:
        """The steps of the plan."""
        steps = []
        for part in self.cleaned_data["steps"].split(","):
            words = part.replace("%", " ").split()
            if len(words) != 2 or not all(word.isdecimal() for word in words):
                raise forms.ValidationError("Each step is a percentage and minutes, such as “5 % 10”.")
            steps.append(PlanStep(int(words[0]), int(words[1]) * 60))
        return tuple(steps)

    def clean(self) -> dict[str, Any]:
        """With the whole plan checked."""
        data: dict[str, Any] = super().clean() or {}
        if not self.errors:
            plan = DeploymentPlan(
                data["steps"], data["watch_minutes"] * 60, data["minimum_turns"], data["minimum_users"]
            )
            try:
                data["plan"] = DeploymentPlan.parse(plan.dump())
            except InvalidInput as error:
                self.add_error("steps", error.detail)
        return data


class ReasonForm(forms.Form):
    """Why; `version` is the one that the user saw."""

    reason = forms.CharField(max_length=MAX_REASON, widget=TextInput({"maxlength": MAX_REASON}))
    version = forms.IntegerField(widget=forms.HiddenInput)


class VersionForm(forms.Form):
    """What the user saw."""

    version = forms.IntegerField(widget=forms.HiddenInput)
