"""The outbox of notifications: queue them in a transaction of the caller's, claim them, record what came of them.

A channel has one delivery at a time, over all processes: whoever claims it writes the attempts, commits, and only then
uses the network. A claim runs out; if its process has died, nobody knows whether the receiver has the message, and it
is sent again with the same id.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.db.models.fields import DurationField
from django.db.models.functions import Now

from foundation.encryption import SecretUnreadable
from foundation.graphemes import cut_text
from monitoring.models import Alert, AlertRule, DeliveryAttempt, Notification, NotificationChannel, Severity
from monitoring.notifications.channel_secrets import decrypt_secret, read_address
from monitoring.notifications.message import DeliveryOutcome, NotificationMessage, Recipient
from monitoring.notifications.notification_content import ContentState, NotificationContent
from monitoring.notifications.retries import concerns_channel, rest_time, retry_delay

Kind = NotificationChannel.Kind
State = Notification.State

# How long a delivery may take at most; after that the channel can be claimed again.
CLAIM_TIMES: Final = {
    Kind.EMAIL: timedelta(minutes=3),
    Kind.SLACK: timedelta(seconds=45),
    Kind.PAGERDUTY: timedelta(seconds=45),
    Kind.WEBHOOK: timedelta(seconds=45),
}
# Between two deliveries to people. What comes up meanwhile goes into one message, so that a storm is a few messages.
PAUSES: Final = {Kind.EMAIL: timedelta(seconds=30), Kind.SLACK: timedelta(seconds=5)}
MAX_BATCH: Final = 100
# So many are given up with one that has failed for good.
MAX_GIVEN_UP: Final = 1_000
INTERRUPTED: Final = "The process that tried it ended."
SKIPPED: Final = "Not tried: the channel had just failed for good with another one."
SWITCHED_OFF: Final = "The channel is switched off."
# Of what waits for a channel: the lowest goes first. A person waits for a test.
TEST_PRIORITY: Final = 0
PRIORITIES: Final[Mapping[str, int]] = {Severity.CRITICAL: 1, Severity.WARNING: 2, Severity.INFO: 3}
_KEY: Final = re.compile(r"[A-Za-z0-9_:-]{1,100}")

log = structlog.get_logger(__name__)


def queue_notification(
    channel: NotificationChannel,
    *,
    kind: Notification.Kind,
    dedup_key: str,
    content: NotificationContent,
    rule: AlertRule | None = None,
    alerts: Iterable[Alert] = (),
    replaces: Notification | None = None,
    requested_by: str = "",
) -> Notification | None:
    """Queue a notification in the caller's transaction; None if the channel has one of this kind and `dedup_key`.

    `dedup_key` names the event, `content.incident_key` all events of an incident: letters, digits, `_`, `:` and `-`.
    Raises `ValueError` for others.
    """
    if not (_KEY.fullmatch(dedup_key) and _KEY.fullmatch(content.incident_key)):
        raise ValueError("A key of a notification consists of letters, digits, _, : and -.")
    row = Notification(
        channel=channel,
        rule=rule,
        kind=kind,
        dedup_key=dedup_key,
        priority=TEST_PRIORITY
        if kind == Notification.Kind.TEST
        else PRIORITIES.get(content.severity, PRIORITIES[Severity.WARNING]),
        content=content.dump(),
        replaces=replaces,
        requested_by=requested_by,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            row.alerts.set(alerts)
    except IntegrityError as error:
        if "notification_once" not in str(error):
            raise
        return None
    return row


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """A channel that is claimed, and what is to be delivered to it now, in one message."""

    channel_id: UUID
    claimed_until: datetime
    recipient: Recipient
    messages: tuple[NotificationMessage, ...]
    is_test: bool
    notification_ids: tuple[UUID, ...]
    attempt_ids: tuple[UUID, ...]


def claim_deliveries(limit: int, *, channel_ids: Collection[UUID] | None = None) -> list[DeliveryClaim]:
    """DeliveryClaim up to `limit` channels for which something is due, among `channel_ids` if given."""
    if limit < 1 or not has_due_notifications():
        return []
    with transaction.atomic():
        free = _free_channels()
        if channel_ids is not None:
            free = free.filter(pk__in=channel_ids)
        channels = free.select_for_update(skip_locked=True, no_key=True).order_by(
            F("attempted_at").asc(nulls_first=True)
        )
        claims = [_claim(channel) for channel in channels[:limit]]
    return [claim for claim in claims if claim is not None]


def has_due_notifications() -> bool:
    """Whether something is due, even if its channel is not free. One statement over an index of what waits."""
    return _due().exists()


def _due() -> QuerySet[Notification]:
    return Notification.objects.filter(state=State.WAITING, due_at__lte=Now())


def _free_channels() -> QuerySet[NotificationChannel]:
    """Channels without a delivery under way and not in their pause, for which something is due.

    Times that cannot be (the clock was put back) hold nothing up.
    """
    longest, pause = max(CLAIM_TIMES.values()), _by_kind(PAUSES)
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lte=Now()) | Q(claimed_until__gt=Now() + longest)
    rested = Q(attempted_at=None) | Q(attempted_at__lte=Now() - pause) | Q(attempted_at__gt=Now())
    return NotificationChannel.objects.filter(unclaimed, rested, Exists(_due().filter(channel=OuterRef("pk"))))


def _by_kind(times: dict[Kind, timedelta]) -> Any:
    whens = [When(kind=kind, then=Value(time)) for kind, time in times.items()]
    return Case(*whens, default=Value(timedelta(0)), output_field=DurationField())


def _claim(channel: NotificationChannel) -> DeliveryClaim | None:
    unfinished = DeliveryAttempt.objects.filter(notification__channel=channel, finished_at=None)
    unfinished.update(finished_at=Now(), succeeded=False, error=INTERRUPTED)
    rows = _next_rows(channel)
    if not rows:
        return None
    NotificationChannel.objects.filter(pk=channel.pk).update(
        claimed_until=Now() + CLAIM_TIMES[Kind(channel.kind)], attempted_at=Now()
    )
    channel.refresh_from_db(fields=["claimed_until"])
    Notification.objects.filter(pk__in=[row.pk for row in rows]).update(attempts=F("attempts") + 1)
    attempts = DeliveryAttempt.objects.bulk_create([DeliveryAttempt(notification=row) for row in rows])
    assert channel.claimed_until is not None
    is_test = rows[0].kind == Notification.Kind.TEST
    return DeliveryClaim(
        channel.pk,
        channel.claimed_until,
        _recipient(channel, is_test=is_test),
        tuple(_message(row) for row in rows),
        is_test,
        tuple(row.pk for row in rows),
        tuple(attempt.pk for attempt in attempts),
    )


def _next_rows(channel: NotificationChannel) -> list[Notification]:
    """What the channel is sent next: several only of a kind that people read. Tests go alone. The severest go first,
    and of these the oldest.

    Of one incident nothing overtakes what waits, for its retry or because the rule was less severe when it was queued:
    an end must not arrive before its beginning.
    """
    is_earlier = Q(created_at__lt=OuterRef("created_at")) | Q(created_at=OuterRef("created_at"), pk__lt=OuterRef("pk"))
    earlier = Notification.objects.filter(
        is_earlier,
        Q(due_at__gt=Now()) | Q(priority__gt=OuterRef("priority")),
        channel=channel,
        state=State.WAITING,
        content__incident_key=OuterRef("content__incident_key"),
    )
    due = _due().filter(~Exists(earlier), channel=channel).order_by("priority", "created_at", "pk")
    rows = list(due[: MAX_BATCH if Kind(channel.kind) in PAUSES else 1])
    tests = [row for row in rows if row.kind == Notification.Kind.TEST]
    return tests[:1] or rows


def _recipient(channel: NotificationChannel, *, is_test: bool) -> Recipient:
    kind = Kind(channel.kind)
    if not (channel.enabled or is_test):
        return Recipient(kind, channel.name, channel.address, unusable=SWITCHED_OFF)
    try:
        address, secret = read_address(channel), decrypt_secret(channel)
    except SecretUnreadable as error:
        return Recipient(kind, channel.name, channel.address, unusable=f"{error} Enter address and secret again.")
    if not secret and kind is not Kind.EMAIL:
        return Recipient(kind, channel.name, channel.address, unusable="The channel has no secret yet.")
    if not channel.address and kind is Kind.EMAIL:
        return Recipient(kind, channel.name, channel.address, unusable="The channel has no addresses yet.")
    return Recipient(kind, channel.name, address, secret)


def _message(row: Notification) -> NotificationMessage:
    return NotificationMessage(
        Notification.Kind(row.kind), row.dedup_key, row.created_at, NotificationContent.parse(row.content)
    )


@transaction.atomic
def record_outcome(claim: DeliveryClaim, outcome: DeliveryOutcome) -> None:
    """Record what came of a delivery: sent, another attempt later, or failed and replaced by the fallback.

    A delivery that took longer than its claim is recorded as well, unless it failed and somebody has recorded it as
    interrupted. A channel that fails rests for a while, and what waits for it keeps its attempts. One that is switched
    off keeps the ends of incidents that it was sent the beginning of, until `queue_held_notifications`.
    """
    rest = timedelta(0) if claim.is_test else rest_time(outcome)
    claimed = NotificationChannel.objects.filter(pk=claim.channel_id, claimed_until=claim.claimed_until)
    claimed.update(claimed_until=Now() + rest if rest else None)
    recorded = DeliveryAttempt.objects.filter(pk__in=claim.attempt_ids, finished_at=None).update(
        finished_at=Now(),
        succeeded=outcome.succeeded,
        status_code=outcome.status_code,
        error=cut_text(outcome.error, 300),
    )
    rows = list(_waiting(claim.channel_id).filter(pk__in=claim.notification_ids))
    if outcome.succeeded:
        _finish(rows, State.SENT)
        log.info("notification.sent", channel=claim.recipient.name, notifications=len(rows))
    elif recorded:
        held_ids = _hold_resolved(claim, rows) if claim.recipient.unusable == SWITCHED_OFF else set()
        _retry_or_give_up([row for row in rows if row.pk not in held_ids], outcome)
    _send_ends_after_replacements(rows)


def _waiting(channel_id: UUID) -> QuerySet[Notification]:
    rows = Notification.objects.select_for_update(no_key=True, of=("self",)).select_related("channel__fallback")
    return rows.filter(channel=channel_id, state=State.WAITING).order_by("created_at", "pk")


def _finish(rows: Sequence[Notification], state: State) -> None:
    Notification.objects.filter(pk__in=[row.pk for row in rows]).update(state=state, finished_at=Now())


def _hold_resolved(claim: DeliveryClaim, rows: Sequence[Notification]) -> set[UUID]:
    """Hold those of `rows` that end an incident of their channel, and return their ids; nothing else would end it
    there. If the channel was switched on in between, they are delivered."""
    firing = Notification.objects.filter(
        channel=claim.channel_id,
        state=State.SENT,
        content__state=ContentState.FIRING,
        content__incident_key__in=[row.content["incident_key"] for row in rows],
    )
    incident_keys = set(firing.values_list("content__incident_key", flat=True))
    held_ids = {
        row.pk
        for row in rows
        if row.content.get("state") == ContentState.RESOLVED and row.content["incident_key"] in incident_keys
    }
    if held_ids:
        # Locked, so that whoever switches it on finds them held, or is seen here.
        channel = NotificationChannel.objects.select_for_update(no_key=True).get(pk=claim.channel_id)
        if not channel.enabled:
            Notification.objects.filter(pk__in=held_ids).update(state=State.HELD)
    return held_ids


def queue_held_notifications(channel: NotificationChannel) -> int:
    """Queue what was held for a channel while it was switched off; return how many. The caller has locked its row."""
    rows = Notification.objects.filter(channel=channel, state=State.HELD)
    return rows.update(state=State.WAITING, due_at=Now(), attempts=0)


def _retry_or_give_up(rows: Sequence[Notification], outcome: DeliveryOutcome) -> None:
    by_fallback: dict[NotificationChannel | None, list[Notification]] = {}
    for row in rows:
        fallback = _usable_fallback(row)
        is_test = row.kind == Notification.Kind.TEST
        delay = None if is_test else retry_delay(outcome, attempts=row.attempts, has_fallback=fallback is not None)
        if delay is None:
            by_fallback.setdefault(fallback, []).append(row)
            continue
        Notification.objects.filter(pk=row.pk).update(due_at=Now() + delay)
        log.warning("notification.postponed", channel=row.channel.name, notification_id=str(row.pk))
    for fallback, group in by_fallback.items():
        _finish(group, State.FAILED)
        channel = group[0].channel
        log.error("notification.failed", channel=channel.name, notifications=len(group), error=outcome.error)
        if fallback is not None:
            _replace(group, fallback)
            if concerns_channel(outcome):
                _give_up_others(channel.pk, fallback)


def _give_up_others(channel_id: UUID, fallback: NotificationChannel) -> None:
    """Have the fallback take over what else waits for a channel that has failed: in a storm, each would fail again for
    minutes, one after the other."""
    rows = [
        row
        for row in _waiting(channel_id).exclude(kind=Notification.Kind.TEST)[:MAX_GIVEN_UP]
        if _usable_fallback(row) == fallback
    ]
    skipped = [DeliveryAttempt(notification=row, finished_at=Now(), succeeded=False, error=SKIPPED) for row in rows]
    DeliveryAttempt.objects.bulk_create(skipped)
    _finish(rows, State.FAILED)
    _replace(rows, fallback)


def _usable_fallback(row: Notification) -> NotificationChannel | None:
    """The channel that takes over; None also if it has had its turn."""
    fallback = row.channel.fallback
    if fallback is None or not fallback.enabled or row.kind == Notification.Kind.TEST:
        return None
    tried, earlier = {row.channel_id}, row.replaces
    while earlier is not None and earlier.channel_id not in tried:
        tried.add(earlier.channel_id)
        earlier = earlier.replaces
    return None if fallback.pk in tried else fallback


def _replace(rows: Sequence[Notification], channel: NotificationChannel) -> None:
    """Queue `rows` for another channel, but for those that it has of its own."""
    new = {
        row.pk: Notification(
            channel=channel,
            rule_id=row.rule_id,
            kind=row.kind,
            dedup_key=row.dedup_key,
            priority=row.priority,
            content=row.content,
            replaces=row,
            requested_by=row.requested_by,
        )
        for row in rows
    }
    Notification.objects.bulk_create(new.values(), ignore_conflicts=True)
    stored = set(Notification.objects.filter(pk__in=[row.pk for row in new.values()]).values_list("pk", flat=True))
    through = Notification.alerts.through
    pairs = through.objects.filter(notification__in=new).values_list("notification_id", "alert_id")
    through.objects.bulk_create(
        through(notification_id=new[old].pk, alert_id=alert) for old, alert in pairs if new[old].pk in stored
    )


def _send_ends_after_replacements(rows: Sequence[Notification]) -> None:
    """Have the end of an incident reach the fallback, too, that was sent its beginning."""
    for row in rows:
        if row.content.get("state") != ContentState.RESOLVED or row.requested_by:
            continue
        firing = Notification.objects.filter(
            channel__enabled=True,
            # Those that failed are few, and have an index.
            replaces__state=State.FAILED,
            replaces__channel=row.channel,
            replaces__content__incident_key=row.content["incident_key"],
            content__state=ContentState.FIRING,
        )
        for channel in NotificationChannel.objects.filter(pk__in=firing.values("channel")):
            _replace([row], channel)
