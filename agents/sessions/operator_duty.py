"""Operators go on duty and off it: that somebody is there is what users are told who ask for a person."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.journal.locked_writes import database_now
from agents.models import OperatorDuty
from agents.permissions.duty import is_somebody_on_duty
from agents.permissions.role_permissions import ANSWER_HANDOFF
from foundation.errors import InvalidInput, Unauthenticated

__all__ = ["go_off_duty", "go_on_duty", "is_somebody_on_duty"]

DUTY_HOURS = 8
LONGEST_DUTY_HOURS = 24


@transaction.atomic
def go_on_duty(actor: Actor, *, hours: int = DUTY_HOURS) -> OperatorDuty:
    """Put the actor on duty from now on for `hours`, whatever was said before; return the row.

    Raises `Forbidden`, `Unauthenticated`, and `InvalidInput` for less than one hour or more than a day.
    """
    user_id = _require_operator(actor)
    if not 1 <= hours <= LONGEST_DUTY_HOURS:
        raise InvalidInput(f"From 1 to {LONGEST_DUTY_HOURS} hours.", pointer="/hours")
    at = database_now()
    duty, _ = OperatorDuty.objects.update_or_create(
        user_id=user_id,
        defaults={"until": at + timedelta(hours=hours)},
        create_defaults={"since": at, "until": at + timedelta(hours=hours)},
    )
    record_audit(actor, "duty.began", target=duty.user, detail={"hours": hours})
    return duty


@transaction.atomic
def go_off_duty(actor: Actor) -> None:
    """Take the actor off duty; somebody who is not on duty stays so. Raises `Forbidden`, `Unauthenticated`."""
    user_id = _require_operator(actor)
    duty = OperatorDuty.objects.filter(user_id=user_id).first()
    if duty is not None:
        record_audit(actor, "duty.ended", target=duty.user)
        duty.delete()


def _require_operator(actor: Actor) -> int:
    require_permission(actor, ANSWER_HANDOFF)
    if actor.user_id is None:
        raise Unauthenticated
    return actor.user_id
