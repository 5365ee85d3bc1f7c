"""To whom memories belong, and the models whose vectors they have."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id
from memory.enums import MemoryScope


class EmbeddingModel(models.Model):
    """A model that made vectors. Vectors of two models are never compared."""

    id = models.SmallAutoField(primary_key=True)
    name = models.CharField(max_length=200, unique=True)
    dimensions = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.name


class MemoryPool(models.Model):
    """Memories that several agents share."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=80, unique=True)
    agents = ArrayField(models.UUIDField(), default=list, blank=True, help_text="The agents that share it.")
    personal = models.BooleanField(
        default=True, help_text="Each user has memories of their own in it. If not, everybody's answers draw on them."
    )
    version = models.PositiveIntegerField(default=1, db_default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "memory pool"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class MemoryOwner(models.Model):
    """A scope with what it is resolved to; memories name it by one integer.

    | scope | user | agent | session | pool |
    | --- | --- | --- | --- | --- |
    | session | its user | its agent | set | |
    | user | set | the one agent that remembers it; null for all agents | | |
    | agent | | set | | |
    | shared | set if the pool is personal | | | set |

    Agents and sessions are rows of another app, which calls `memory.ownership.forget_session` when it deletes one.
    """

    scope = models.CharField(max_length=7, choices=[(scope.value, scope.value) for scope in MemoryScope])
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    agent = models.UUIDField(null=True)
    session = models.UUIDField(null=True)
    pool = models.ForeignKey(MemoryPool, null=True, on_delete=models.CASCADE, related_name="+")
    memories = models.IntegerField(default=0, help_text="About how many current memories it has; counted by a job.")

    class Meta:
        verbose_name = "memory owner"
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "user", "agent", "session", "pool"], name="owner_unique", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=Q(
                    Q(scope=MemoryScope.SESSION.value, session__isnull=False, pool__isnull=True),
                    Q(scope=MemoryScope.USER.value, user__isnull=False, session__isnull=True, pool__isnull=True),
                    Q(
                        scope=MemoryScope.AGENT.value,
                        agent__isnull=False,
                        user__isnull=True,
                        session__isnull=True,
                        pool__isnull=True,
                    ),
                    Q(scope=MemoryScope.SHARED.value, pool__isnull=False, session__isnull=True, agent__isnull=True),
                    _connector=Q.OR,
                ),
                name="owner_matches_scope",
            ),
        ]
        indexes = [
            models.Index(fields=["session"], name="owner_session", condition=Q(session__isnull=False)),
            models.Index(fields=["agent"], name="owner_agent", condition=Q(agent__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.session or self.pool_id or self.user_id or self.agent}"
