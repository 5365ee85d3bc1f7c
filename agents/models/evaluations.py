"""Test sets: recorded conversations with what is expected of the answer; and runs of a release against them."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.evaluations import Lane, ResultStatus, RunState
from foundation.ids import new_id


def _choices(values: type[StrEnum]) -> list[tuple[str, str]]:
    return [(value.value, value.value) for value in values]


class TestSet(models.Model):
    """A named set of conversations of one agent. `judge_chain` are routes of models that judge by the rubrics of its
    entries; empty: none does."""

    __test__ = False  # pytest would collect it

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey("Agent", on_delete=models.CASCADE, related_name="test_sets", db_index=False)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    judge_chain = models.JSONField(default=list, blank=True, help_text='["openai:gpt-5-mini"]')
    rubric = models.TextField(blank=True, default="", help_text="For all entries that have none of their own.")
    checks = models.JSONField(default=list, blank=True, help_text="Of all entries, before their own.")
    max_cost_usd = models.DecimalField(
        max_digits=12, decimal_places=4, default=1, help_text="What one run may spend, judging included."
    )
    version = models.PositiveIntegerField(default=1)
    created_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "name"], name="test_set_name_unique")]

    def __str__(self) -> str:
        return self.name


class TestCase(models.Model):
    """One entry: the question, the history up to there, the recorded answer, the world as it was, and what is expected.

    It is a copy, so that it stays when its conversation goes; `user` is whose words these are, so that they can be
    erased. `recording` is a `agents.domain.recordings.Recording`; `checks` are `agents.domain.answer_checks` in JSON.
    """

    __test__ = False  # pytest would collect it

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    test_set = models.ForeignKey(TestSet, on_delete=models.CASCADE, related_name="cases", db_index=False)
    position = models.IntegerField()
    source_turn_id = models.UUIDField(null=True, help_text="The turn that it was made from, which may be gone.")
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.CASCADE, related_name="+")
    history = models.JSONField(default=list, help_text='[{"author": "user", "parts": [...]}], oldest first.')
    question = models.JSONField(help_text="The parts of the question.")
    answer = models.JSONField(default=list, help_text="The parts of the recorded answer.")
    recording = models.JSONField(default=dict)
    checks = models.JSONField(default=list, blank=True)
    rubric = models.TextField(blank=True, default="")
    added_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["test_set", "position"]
        constraints = [
            models.UniqueConstraint(fields=["test_set", "position"], name="test_case_position_unique"),
            models.UniqueConstraint(
                fields=["test_set", "source_turn_id"],
                condition=Q(source_turn_id__isnull=False),
                name="test_case_turn_unique",
            ),
        ]

    def __str__(self) -> str:
        # Not its words: who may list entries may not read all transcripts.
        return f"entry {self.position}"

    def audit_name(self) -> str:
        """Always "": conversations do not go into the audit trail."""
        return ""


class EvaluationRun(models.Model):
    """One run of two releases against the entries of a test set. Runners work on it while it is `running`; it goes on
    after a crash of any of them. `paid_by` is whose budgets its turns draw on."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey("Agent", on_delete=models.CASCADE, related_name="evaluation_runs", db_index=False)
    test_set = models.ForeignKey(TestSet, on_delete=models.CASCADE, related_name="runs", db_index=False)
    baseline = models.ForeignKey("Release", on_delete=models.PROTECT, related_name="+", db_index=False)
    candidate = models.ForeignKey("Release", on_delete=models.PROTECT, related_name="+", db_index=False)
    deployment = models.ForeignKey(
        "Deployment", null=True, on_delete=models.SET_NULL, related_name="evaluations", db_index=False
    )
    state = models.CharField(max_length=7, choices=_choices(RunState), default=RunState.RUNNING.value)
    reason = models.TextField(blank=True, default="", help_text="Why it stopped or failed.")
    max_cost_usd = models.DecimalField(max_digits=12, decimal_places=4)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, default=0, help_text="So far, judging included.")
    report = models.JSONField(default=dict, help_text="Counts at its end.")
    paid_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="+", db_index=False)
    created_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["test_set", "-created_at", "-id"], name="evaluation_of_test_set"),
            models.Index(fields=["-created_at", "-id"], name="evaluation_newest"),
            models.Index(fields=["id"], name="evaluation_running", condition=Q(state="running")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment"],
                condition=Q(deployment__isnull=False, state="running"),
                name="evaluation_one_running_per_deployment",
            ),
            models.CheckConstraint(
                condition=Q(state="running", ended_at__isnull=True) | ~Q(state="running") & Q(ended_at__isnull=False),
                name="evaluation_ended_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"evaluation {self.id} ({self.state})"


class EvaluationResult(models.Model):
    """One entry in one lane of a run. `turn_id` and `session_id` are plain ids of an unlisted session with purpose
    `evaluation`; `checks` has the outcome of each check and of the judge."""

    run = models.ForeignKey(EvaluationRun, on_delete=models.CASCADE, related_name="results", db_index=False)
    case = models.ForeignKey(TestCase, on_delete=models.CASCADE, related_name="results")
    lane = models.CharField(max_length=9, choices=_choices(Lane))
    status = models.CharField(max_length=8, choices=_choices(ResultStatus), default=ResultStatus.PENDING.value)
    session_id = models.UUIDField(null=True)
    turn_id = models.UUIDField(null=True)
    answer = models.JSONField(null=True, help_text="The parts of the answer.")
    differs = models.BooleanField(null=True, help_text="From the recorded answer; null: not compared.")
    passed = models.BooleanField(null=True, help_text="Every check; null: there is none, or not yet.")
    checks = models.JSONField(default=list)
    detail = models.TextField(blank=True, default="", help_text="Why it failed or diverged.")
    needs_judge = models.BooleanField(default=False, help_text="A model has still to judge it.")
    judging_at = models.DateTimeField(null=True, help_text="Since when somebody asks that model.")
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    seconds = models.FloatField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "case", "lane"], name="evaluation_result_unique")]
        indexes = [
            models.Index(fields=["run", "id"], name="evaluation_open", condition=Q(status__in=["pending", "running"])),
            models.Index(fields=["turn_id"], name="evaluation_turn", condition=Q(turn_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.lane} of entry {self.case_id} ({self.status})"
