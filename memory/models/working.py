"""Working memory: what a session is about just now."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id
from memory.enums import TaskState, WorkingKind
from memory.models.owners import MemoryOwner


class WorkingItem(models.Model):
    """A goal, an open task or a note of a session, or of one of its turns; it goes with it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(MemoryOwner, on_delete=models.CASCADE, related_name="working_items")
    turn = models.UUIDField(null=True, help_text="Gone with the end of this turn; null: with the session.")
    kind = models.CharField(max_length=4, choices=[(kind.value, kind.value) for kind in WorkingKind])
    text = models.CharField(max_length=2_000)
    state = models.CharField(
        max_length=7, choices=[(state.value, state.value) for state in TaskState], default=TaskState.OPEN.value
    )
    position = models.IntegerField(default=0)
    version = models.PositiveIntegerField(default=1, db_default=1)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "working memory"
        verbose_name_plural = "working memory"
        ordering = ["owner", "position", "id"]
        indexes = [models.Index(fields=["turn"], name="working_turn", condition=Q(turn__isnull=False))]

    def __str__(self) -> str:
        return self.text[:80]
