"""Budgets, what is spent of them, and the ledger of the calls that draw on them."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.budgets import (
    OPEN_RESERVATIONS,
    WARN_PERCENT,
    BudgetPeriod,
    BudgetSubject,
    BudgetUnit,
    DifferenceKind,
    ReservationStatus,
)
from foundation.ids import new_id


def _choices(values: type[StrEnum]) -> list[tuple[str, str]]:
    return [(value.value, value.value.replace("_", " ")) for value in values]


def _names(values: type[StrEnum]) -> list[str]:
    return [value.value for value in values]


# Which foreign key each subject has.
_SUBJECT_KEYS = {"user": "user", "group": "group", "agent": "agent", "key": "api_key"}


def _has_its_key() -> Q:
    condition = Q()
    for subject in BudgetSubject:
        present = _SUBJECT_KEYS.get(subject.value)
        keys = {f"{key}__isnull": key != present for key in _SUBJECT_KEYS.values()}
        condition |= Q(subject=subject.value, **keys)
    return condition


class Budget(models.Model):
    """What may be spent in each window of a period, in US dollars or tokens. Written by `agents.budgets` only.

    Until `override_until` the amount is `override_amount`. Runners learn of changes by NOTIFY.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    subject = models.CharField(max_length=9, choices=_choices(BudgetSubject))
    user = models.ForeignKey("accounts.User", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey("auth.Group", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey("Agent", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    api_key = models.ForeignKey("accounts.ApiKey", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    unit = models.CharField(max_length=6, choices=_choices(BudgetUnit))
    period = models.CharField(max_length=5, choices=_choices(BudgetPeriod))
    amount = models.DecimalField(max_digits=20, decimal_places=8, help_text="US dollars or tokens in each period.")
    warn_percent = models.SmallIntegerField(
        default=WARN_PERCENT, help_text="Users are warned when so much is used; 0: never."
    )
    override_amount = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    override_until = models.DateTimeField(null=True, blank=True)
    override_reason = models.CharField(max_length=200, blank=True, default="")
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        permissions = [("override_budget", "Can override budgets for a time")]
        ordering = ["subject", "unit", "period", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "user", "group", "agent", "api_key", "unit", "period"],
                name="budget_unique",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=_has_its_key(), name="budget_subject_has_its_key"),
            models.CheckConstraint(
                condition=Q(amount__gte=0, warn_percent__gte=0, warn_percent__lte=100)
                & (Q(override_amount__isnull=True) | Q(override_amount__gte=0)),
                name="budget_amounts_in_bounds",
            ),
            models.CheckConstraint(
                condition=Q(unit__in=_names(BudgetUnit), period__in=_names(BudgetPeriod)),
                name="budget_kinds_known",
            ),
            models.CheckConstraint(
                condition=Q(override_amount__isnull=True, override_until__isnull=True)
                | Q(override_amount__isnull=False, override_until__isnull=False),
                name="budget_override_has_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.unit} per {self.period} for {self.subject}"

    def describe_subject(self) -> str:
        """Whom it is for: "user ada", "each user"."""
        target = self.user or self.group or self.agent or self.api_key
        label = BudgetSubject(self.subject).label
        return label if target is None else f"{label} {target}"

    def audit_name(self) -> str:
        """What it limits, and for whom."""
        return f"{self.unit} per {self.period} for {self.describe_subject()}"


class BudgetWindow(models.Model):
    """What is spent and reserved of a budget in one of its periods. Written by the database's function
    `agents_settle_and_reserve` only; `warned` also by `agents.budgets`, while it holds the function's lock."""

    id = models.BigAutoField(primary_key=True)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="windows", db_index=False)
    # Of a budget for each user; 0 for others.
    counted_user = models.IntegerField(default=0, db_default=0)
    unit = models.CharField(max_length=6, choices=_choices(BudgetUnit))
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    spent = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0), db_default=Decimal(0))
    reserved = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0), db_default=Decimal(0))
    overdraft = models.DecimalField(
        max_digits=20,
        decimal_places=8,
        default=Decimal(0),
        db_default=Decimal(0),
        help_text="What calls have cost beyond what they had reserved.",
    )
    warned = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ["-starts_at", "budget"]
        constraints = [
            models.UniqueConstraint(fields=["budget", "counted_user", "starts_at"], name="budget_window_unique"),
            models.CheckConstraint(
                condition=Q(spent__gte=0, reserved__gte=0, overdraft__gte=0), name="budget_window_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["ends_at"], name="budget_window_end")]

    def __str__(self) -> str:
        return f"{self.budget_id} from {self.starts_at}"


class BudgetReservation(models.Model):
    """A row of the ledger: what a call may cost at most, and what it did. Written by `agents_settle_and_reserve` only,
    but for `reported_*` of calls that have no other row.

    It is for the step of a turn, for a call for side work, or for a call of embeddings, which reports here. It outlives
    its conversation, so ids are plain. `windows` are those that it draws on, with `usd` or `tokens` by their unit; of
    one that waits, those that it waits for.
    """

    id = models.BigAutoField(primary_key=True)
    status = models.CharField(max_length=11, choices=_choices(ReservationStatus))
    user_id = models.IntegerField()
    agent_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    agent_session_id = models.UUIDField(null=True)
    turn_id = models.UUIDField(null=True)
    step = models.SmallIntegerField(null=True)
    epoch = models.IntegerField(null=True)
    utility_call_id = models.BigIntegerField(null=True)
    purpose = models.CharField(max_length=40, help_text="step, the purpose of a call for side work, or embeddings.")
    route = models.CharField(max_length=200)
    windows = ArrayField(models.BigIntegerField(), default=list)
    request = models.JSONField(help_text="What was asked for; see agents.budgets.reservations.")
    usd = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0))
    tokens = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0, help_text="The bound of its input.")
    output_tokens = models.BigIntegerField(default=0, help_text="The bound of its output.")
    settled_usd = models.DecimalField(max_digits=20, decimal_places=8, null=True)
    settled_tokens = models.BigIntegerField(null=True)
    reported_usd = models.DecimalField(max_digits=20, decimal_places=8, null=True)
    reported_tokens = models.BigIntegerField(null=True)
    reported_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(
        help_text="When a call is taken for lost that has no other row; when a turn that waits is looked at again."
    )
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["status", "id"],
                name="reservation_open",
                condition=Q(status__in=sorted(status.value for status in OPEN_RESERVATIONS)),
            ),
            models.Index(
                fields=["id"],
                name="reservation_reported_late",
                condition=Q(status="unconfirmed", reported_at__isnull=False),
            ),
            models.Index(fields=["turn_id", "step"], name="reservation_of_turn", condition=Q(turn_id__isnull=False)),
            models.Index(fields=["user_id", "-id"], name="reservation_of_user"),
            models.Index(fields=["settled_at"], name="reservation_settled", condition=Q(settled_at__isnull=False)),
        ]
        constraints = [
            # One call of a step at a time.
            models.UniqueConstraint(
                fields=["turn_id", "step", "epoch"],
                name="reservation_one_open",
                condition=Q(status__in=sorted(status.value for status in OPEN_RESERVATIONS)),
            ),
            models.CheckConstraint(
                condition=Q(status__in=sorted(status.value for status in OPEN_RESERVATIONS), settled_at__isnull=True)
                | Q(status__in=["released", "settled", "unconfirmed"], settled_at__isnull=False),
                name="reservation_settled_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"reservation {self.pk} ({self.status})"


class BudgetDifference(models.Model):
    """The ledger and what it is about do not agree. Written by `agents.budgets.reconciliation` only, and corrected by
    nobody: people see it, and say that they know of it."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=15, choices=_choices(DifferenceKind))
    unit = models.CharField(max_length=6, choices=_choices(BudgetUnit))
    expected = models.DecimalField(max_digits=24, decimal_places=8, help_text="What the rows that it is about say.")
    actual = models.DecimalField(max_digits=24, decimal_places=8, help_text="What is booked.")
    window_id = models.BigIntegerField(null=True)
    reservation_id = models.BigIntegerField(null=True)
    user_id = models.IntegerField(null=True)
    turn_id = models.UUIDField(null=True)
    step = models.SmallIntegerField(null=True)
    utility_call_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    checked_at = models.DateTimeField(db_default=Now(), help_text="When it was there for the last time.")
    reviewed_at = models.DateTimeField(null=True)
    reviewed_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "unit", "window_id", "reservation_id", "turn_id", "step", "utility_call_id"],
                name="budget_difference_unique",
                nulls_distinct=False,
            ),
        ]
        indexes = [
            models.Index(fields=["id"], name="budget_difference_unreviewed", condition=Q(reviewed_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.actual:f} {self.unit} booked, {self.expected:f} expected"

    def audit_name(self) -> str:
        """What differs."""
        return str(self)


class TokenRatio(models.Model):
    """The largest ratio of reported to estimated input tokens that a route has shown in a call that drew on a budget.
    Written by `agents_settle_and_reserve` only."""

    route = models.CharField(max_length=200, primary_key=True)
    ratio = models.FloatField()
    extra_tokens = models.IntegerField(help_text="The most that it reported beyond the bytes of a request.")

    def __str__(self) -> str:
        return self.route


class ModelPrice(models.Model):
    """What a model costs from a day on, in US dollars per million tokens. It comes before the environment's prices and
    the table's. Written by `agents.budgets` only."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    route = models.CharField(max_length=200, help_text="provider:model, or provider:* for all its models.")
    input = models.DecimalField(max_digits=12, decimal_places=6)
    cached_input = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True, help_text="Empty: as other input."
    )
    cache_write = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True, help_text="Empty: as other input."
    )
    output = models.DecimalField(max_digits=12, decimal_places=6)
    per_request = models.DecimalField(max_digits=12, decimal_places=6, default=Decimal(0))
    valid_from = models.DateTimeField()
    version = models.IntegerField(default=1)

    class Meta:
        ordering = ["route", "-valid_from"]
        constraints = [
            models.UniqueConstraint(fields=["route", "valid_from"], name="model_price_unique"),
            models.CheckConstraint(
                condition=Q(input__gte=0, output__gte=0, per_request__gte=0)
                & (Q(cached_input__isnull=True) | Q(cached_input__gte=0))
                & (Q(cache_write__isnull=True) | Q(cache_write__gte=0)),
                name="model_price_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.route} from {self.valid_from:%Y-%m-%d}"

    def audit_name(self) -> str:
        """Its route."""
        return self.route
