"""What owners do to budgets: set, override for a time, and delete them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.models import ApiKey, User
from accounts.permissions import require_permission
from agents.budgets.reservations import BUDGETS_CHANNEL
from agents.domain.budgets import WARN_PERCENT, BudgetPeriod, BudgetSubject, BudgetUnit
from agents.models import Agent, Budget
from agents.permissions.role_permissions import ADD_BUDGET, CHANGE_BUDGET, DELETE_BUDGET, OVERRIDE_BUDGET
from foundation.advisory_locks import AdvisoryLock, advisory_xact_lock
from foundation.clock import now
from foundation.errors import Conflict, InvalidInput, NotFound
from foundation.visible_text import visible_text

# More than anybody spends; sums of it still fit into the column.
MAX_AMOUNT: Final = Decimal(100_000_000_000)
MAX_REASON: Final = 200
MAX_OVERRIDE: Final = timedelta(days=366)
_CENTS: Final = Decimal("0.00000001")


class BudgetChanged(Conflict):
    """Somebody else has changed this budget since you read it."""

    code = "budget_changed"


@dataclass(frozen=True, slots=True)
class BudgetTarget:
    """Whom a budget is for: the id that belongs to its subject, and no other."""

    subject: BudgetSubject
    user_id: int | None = None
    group_id: int | None = None
    agent_id: UUID | None = None
    api_key_id: UUID | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of the budget's row."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


# The column that each subject needs, and where its rows are.
_TARGETS: Final[dict[BudgetSubject, tuple[str, Any]]] = {
    BudgetSubject.USER: ("user_id", User),
    BudgetSubject.GROUP: ("group_id", Group),
    BudgetSubject.AGENT: ("agent_id", Agent),
    BudgetSubject.KEY: ("api_key_id", ApiKey),
}


@transaction.atomic
def set_budget(
    actor: Actor,
    target: BudgetTarget,
    *,
    unit: BudgetUnit,
    period: BudgetPeriod,
    amount: Decimal,
    warn_percent: int | None = None,
    version: int | None = None,
) -> Budget:
    """Set what `target` may spend in each period, and return the budget; one of the same unit and period is changed.
    What is spent in the present window stays spent.

    `warn_percent` None: as it is, or `WARN_PERCENT`. `version` is the one of a budget that is changed, as it was read;
    0 for one that must not exist yet; None: whatever there is. Raises `Forbidden`, `InvalidInput`, `BudgetChanged`, and
    `NotFound` for an unknown target.
    """
    _lock_accounts()
    kind = {**target.columns(), "subject": target.subject.value, "unit": unit.value, "period": period.value}
    budget = Budget.objects.filter(**kind).first()
    require_permission(actor, ADD_BUDGET if budget is None else CHANGE_BUDGET)
    _check_target(target)
    amount = _check_amount(amount, unit)
    if warn_percent is None:
        warn_percent = WARN_PERCENT if budget is None else budget.warn_percent
    if not 0 <= warn_percent <= 100:
        raise InvalidInput("A percentage from 0 to 100 is expected.", pointer="/warn_percent")
    values = {"amount": amount, "warn_percent": warn_percent}
    if budget is None:
        if version:
            raise NotFound("There is no such budget any more.")
        return _record(actor, "budget.created", Budget.objects.create(**kind, **values), **_audited(values))
    if version is not None and version != budget.version:
        raise BudgetChanged
    was = {name: getattr(budget, name) for name in values}
    if was == values:
        return budget
    return _change(actor, "budget.changed", budget, values, was=_audited(was), **_audited(values))


@transaction.atomic
def override_budget(actor: Actor, budget_id: UUID, *, amount: Decimal, until: datetime, reason: str) -> Budget:
    """Let `amount` take the place of the budget's own until a time, and return the budget. Turns that wait for it go on
    within a second. Raises `Forbidden`, `NotFound`, and `InvalidInput` for a time out of bounds or without a reason."""
    require_permission(actor, OVERRIDE_BUDGET)
    budget = _find_locked(budget_id)
    amount = _check_amount(amount, BudgetUnit(budget.unit))
    if not now() < until <= now() + MAX_OVERRIDE:
        raise InvalidInput("An override ends in the future, and within a year.", pointer="/until")
    reason = visible_text(reason).strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise InvalidInput(f"A reason of at most {MAX_REASON} characters is expected.", pointer="/reason")
    values = {"override_amount": amount, "override_until": until, "override_reason": reason}
    return _change(
        actor, "budget.overridden", budget, values, amount=f"{amount:f}", until=until.isoformat(), reason=reason
    )


@transaction.atomic
def clear_override(actor: Actor, budget_id: UUID) -> Budget:
    """End an override before its time, and return the budget; without one nothing changes. Raises `Forbidden`,
    `NotFound`."""
    require_permission(actor, OVERRIDE_BUDGET)
    budget = _find_locked(budget_id)
    if budget.override_until is None:
        return budget
    values = {"override_amount": None, "override_until": None, "override_reason": ""}
    return _change(actor, "budget.override_cleared", budget, values)


@transaction.atomic
def delete_budget(actor: Actor, budget_id: UUID) -> None:
    """Delete a budget and what was counted for it; the ledger stays. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, DELETE_BUDGET)
    budget = _find_locked(budget_id)
    record_audit(actor, "budget.deleted", target=budget, detail=_audited({"amount": budget.amount}))
    budget.delete()
    _notify()


def _check_target(target: BudgetTarget) -> None:
    column, model = _TARGETS.get(target.subject, ("", User))
    extra = [name for name, value in target.columns().items() if name not in ("subject", column) and value is not None]
    if extra:
        raise InvalidInput(f"A budget for {target.subject.label} has no {extra[0]}.", pointer=f"/{extra[0]}")
    if not column:
        return
    key = getattr(target, column)
    if key is None:
        raise InvalidInput("Whom is it for?", pointer=f"/{column}")
    if not model.objects.filter(pk=key).exists():
        raise NotFound(f"There is no such {target.subject.label}.")


def _check_amount(amount: Decimal, unit: BudgetUnit) -> Decimal:
    # NaN cannot be compared.
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT:
        raise InvalidInput(f"An amount from 0 to {MAX_AMOUNT:,} is expected.", pointer="/amount")
    if unit is BudgetUnit.TOKENS and amount != amount.to_integral_value():
        raise InvalidInput("Tokens are counted in whole numbers.", pointer="/amount")
    if amount != amount.quantize(_CENTS):
        raise InvalidInput("No more than eight decimal places are kept.", pointer="/amount")
    return amount


def _lock_accounts() -> None:
    """Nothing is reserved or settled until the end of the transaction. First of all in each verb: the function that
    counts takes this lock before it locks windows, and looks at budgets then."""
    advisory_xact_lock(AdvisoryLock.ACCOUNT_BUDGETS)


def _find_locked(budget_id: UUID) -> Budget:
    _lock_accounts()
    budget = Budget.objects.filter(pk=budget_id).first()
    if budget is None:
        raise NotFound("There is no such budget.")
    return budget


def _change(actor: Actor, action: str, budget: Budget, values: dict[str, Any], **detail: Any) -> Budget:
    for name, value in values.items():
        setattr(budget, name, value)
    budget.version += 1
    budget.updated_at = Now()
    budget.save()
    budget.refresh_from_db()
    # So much of another amount is another percentage: people are warned again.
    budget.windows.filter(ends_at__gt=Now(), warned=True).update(warned=False)
    return _record(actor, action, budget, **detail)


def _record(actor: Actor, action: str, budget: Budget, **detail: Any) -> Budget:
    record_audit(actor, action, target=budget, detail=detail)
    _notify()
    return budget


def _audited(values: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in values.items()}


def _notify() -> None:
    """Tell the processes at commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [BUDGETS_CHANNEL])
