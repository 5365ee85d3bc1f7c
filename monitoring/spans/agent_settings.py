"""What is recorded of an agent's turns: change it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.models import Agent
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from monitoring.models import TraceSettings
from monitoring.models.turn_spans import MAX_RETENTION_DAYS
from monitoring.role_permissions import ADD_TRACE_SETTINGS, CHANGE_TRACE_SETTINGS


@dataclass(frozen=True, slots=True)
class TraceChoices:
    """The share of turns whose spans are recorded, in percent; the days that they are kept; and whether an export
    contains what was said."""

    sample_percent: int
    retention_days: int
    exports_content: bool


@transaction.atomic
def add_trace_settings(actor: Actor, *, agent_id: UUID, choices: TraceChoices) -> TraceSettings:
    """Give an agent settings of its own. Raises `Forbidden`, `NotFound`, `InvalidInput`, and `Conflict` when it has
    some."""
    require_permission(actor, ADD_TRACE_SETTINGS)
    _check(choices)
    if not Agent.objects.filter(pk=agent_id).exists():
        raise NotFound("There is no such agent.")
    settings, is_new = TraceSettings.objects.get_or_create(agent_id=agent_id, defaults=asdict(choices))
    if not is_new:
        raise Conflict("The agent has settings of its own already.")
    record_audit(actor, "trace_settings.added", target=settings, detail=asdict(choices))
    return settings


@transaction.atomic
def change_trace_settings(
    actor: Actor, agent_id: UUID, *, choices: TraceChoices, expected_version: int | None
) -> TraceSettings:
    """Change them; processes follow within seconds. Raises `Forbidden`, `NotFound`, `InvalidInput`,
    `PreconditionFailed`."""
    require_permission(actor, CHANGE_TRACE_SETTINGS)
    _check(choices)
    settings = TraceSettings.objects.select_for_update(no_key=True).filter(pk=agent_id).first()
    if settings is None:
        raise NotFound("The agent has no settings of its own.")
    if expected_version is not None and settings.version != expected_version:
        raise PreconditionFailed
    for name, value in asdict(choices).items():
        setattr(settings, name, value)
    settings.version += 1
    settings.save()
    record_audit(actor, "trace_settings.changed", target=settings, detail=asdict(choices))
    return settings


def _check(choices: TraceChoices) -> None:
    if not 0 <= choices.sample_percent <= 100:
        raise InvalidInput("From 0 to 100 percent are expected.", pointer="/sample_percent")
    if not 1 <= choices.retention_days <= MAX_RETENTION_DAYS:
        raise InvalidInput(f"From 1 to {MAX_RETENTION_DAYS} days are expected.", pointer="/retention_days")
