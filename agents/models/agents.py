"""Agents, the draft that builders edit, and the immutable releases that turns run on."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import models

from agents.domain.states import WhenBusy
from foundation.ids import new_id


class Agent(models.Model):
    """What people talk to. Its behaviour is in its live release; `when_busy`, `moves_sessions` and its groups are not
    part of releases."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    capabilities = models.JSONField(default=list, blank=True, help_text="Words that say what it can do.")
    groups = models.ManyToManyField(
        Group, blank=True, related_name="agents", help_text="Who may talk to it. None: everybody."
    )
    when_busy = models.CharField(
        max_length=9, choices=[(mode.value, mode.value) for mode in WhenBusy], default=WhenBusy.ENQUEUE.value
    )
    live_release = models.ForeignKey("Release", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    deployment = models.ForeignKey(
        "Deployment",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
        help_text="The one that is under way.",
    )
    moves_sessions = models.BooleanField(
        "sessions follow the live release",
        default=False,
        db_default=False,
        help_text="At its next turn a session moves to the live release. Otherwise it keeps its own.",
    )
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        permissions = [("publish_agent", "Can publish a release of an agent")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(when_busy__in=[mode.value for mode in WhenBusy]), name="agent_when_busy_known"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Configuration(models.Model):
    """What an agent does, as `agents.domain.configuration.AgentConfiguration` reads and writes it."""

    configuration = models.JSONField(help_text='{"schema": 1, "model_chain": ["offline:"], ...}')

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=models.Q(configuration__has_key="schema"), name="%(class)s_configuration_has_schema"
            )
        ]


class AgentDraft(Configuration):
    """The configuration under edit; publishing copies it into the next release."""

    agent = models.OneToOneField(Agent, on_delete=models.CASCADE, related_name="draft", primary_key=True)
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"draft of {self.agent}"


class Release(Configuration):
    """Release `number` of an agent. The database refuses every update of a row."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="releases")
    number = models.PositiveIntegerField()
    note = models.CharField(max_length=200, blank=True)
    published_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["agent", "-number"]
        constraints = [
            *Configuration.Meta.constraints,
            models.UniqueConstraint(fields=["agent", "number"], name="release_number_unique"),
            models.CheckConstraint(condition=models.Q(number__gte=1), name="release_number_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} #{self.number}"
