"""The verbs of alert rules: what is accepted, by whom, and what the audit trail has of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from foundation.clock import now
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed
from monitoring.alerts.alert_rules import (
    RuleSettings,
    delete_rule,
    read_settings,
    rule_problems,
    save_rule,
    switch_rule,
)
from monitoring.models import Alert, AlertRule, NotificationChannel
from tests.support.people import person

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
SETTINGS = RuleSettings(name="many_failures", metric="turn_error_rate", threshold=5.0)


def test_a_builder_adds_and_changes_a_rule_and_the_audit_trail_says_what_changed() -> None:
    builder = user_actor(person("bob", Role.BUILDER))
    channel = NotificationChannel.objects.create(name="ops", kind="email", address="ops@example.org")
    rule = save_rule(builder, replace(SETTINGS, labels={"agent": "demo"}, channels=(channel.pk,)))
    assert read_settings(rule) == replace(SETTINGS, labels={"agent": "demo"}, channels=(channel.pk,))
    changed = replace(read_settings(rule), threshold=7.5, channels=())
    rule = save_rule(builder, changed, rule_id=rule.pk, expected_version=1)
    assert (rule.threshold, rule.version, rule.channels.count()) == (7.5, 2, 0)
    [changes, added] = AuditEntry.objects.filter(target_id=str(rule.pk)).order_by("-id")
    assert (added.action, added.detail["channels"]) == ("alert_rule.added", ["ops"])
    assert (changes.action, changes.detail) == (
        "alert_rule.changed",
        {"threshold": [5.0, 7.5], "channels": [["ops"], []]},
    )


def test_only_builders_and_owners_decide_on_rules() -> None:
    rule = save_rule(SYSTEM, SETTINGS)
    for role in (Role.VIEWER, Role.OPERATOR, Role.USER):
        actor = user_actor(person(f"a-{role}", role))
        for act in (
            lambda actor=actor: save_rule(actor, replace(SETTINGS, name="other")),
            lambda actor=actor: save_rule(actor, SETTINGS, rule_id=rule.pk),
            lambda actor=actor: switch_rule(actor, rule.pk, enabled=False),
            lambda actor=actor: delete_rule(actor, rule.pk),
        ):
            with pytest.raises(Forbidden):
                act()
    assert AlertRule.objects.get(pk=rule.pk).version == 1


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": "High errors"}, "/name"),
        ({"name": "x" * 61}, "/name"),
        ({"description": "a\u202eb"}, "/description"),
        ({"metric": "happiness"}, "/metric"),
        ({"labels": {"host": "a"}}, "/labels/host"),
        ({"labels": {"agent": ""}}, "/labels/agent"),
        ({"labels": {"agent": "demo"}, "group_by": ("agent",)}, "/labels/agent"),
        ({"group_by": ("host",)}, "/labels/host"),
        ({"threshold": float("nan")}, "/threshold"),
        ({"threshold": float("inf")}, "/threshold"),
        ({"threshold": 1e308}, "/threshold"),
        ({"threshold": 1.0, "clear_threshold": -1e16}, "/clear_threshold"),
        ({"clear_threshold": 6.0}, "/clear_threshold"),
        ({"clear_threshold": 4.0, "comparison": "lt"}, "/clear_threshold"),
        ({"window_seconds": 0}, "/window_seconds"),
        ({"window_seconds": 90}, "/window_seconds"),
        ({"window_seconds": 90_000}, "/window_seconds"),
        ({"for_seconds": 90_000}, "/for_seconds"),
        ({"keep_firing_for_seconds": -1}, "/keep_firing_for_seconds"),
        ({"interval_seconds": 5}, "/interval_seconds"),
        ({"interval_seconds": 3_601}, "/interval_seconds"),
        ({"repeat_seconds": 30}, "/repeat_seconds"),
        ({"severity": "mild"}, "/severity"),
        ({"comparison": "=="}, "/comparison"),
        ({"no_data": "x"}, "/no_data"),
        ({"grouping": "x"}, "/grouping"),
        ({"channels": (uuid4(),)}, "/channels"),
        ({"inhibited_by": (uuid4(),)}, "/inhibited_by"),
        ({"runbook_url": "javascript:alert(1)"}, "/runbook_url"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_field(changes: dict[str, Any], pointer: str) -> None:
    settings = replace(SETTINGS, **changes)
    assert [problem.pointer for problem in rule_problems(settings)] == [pointer]
    with pytest.raises(InvalidInput) as refusal:
        save_rule(SYSTEM, settings)
    assert refusal.value.pointer == pointer
    assert not AlertRule.objects.filter(metric=settings.metric, name=settings.name).exists()


def test_all_that_is_wrong_is_said_at_once() -> None:
    settings = replace(SETTINGS, name="X", clear_threshold=9.0, interval_seconds=1)
    assert [problem.pointer for problem in rule_problems(settings)] == [
        "/name",
        "/clear_threshold",
        "/interval_seconds",
    ]


def test_a_gauge_may_have_no_window_and_a_falling_rule_ends_above_its_threshold() -> None:
    save_rule(SYSTEM, RuleSettings(name="a", metric="queue_depth", threshold=1, window_seconds=0))
    save_rule(SYSTEM, replace(SETTINGS, name="b", comparison="lt", clear_threshold=6.0))
    with pytest.raises(InvalidInput, match="Another rule"):
        save_rule(SYSTEM, replace(SETTINGS, name="a"))


def test_a_rule_that_somebody_else_has_changed_is_not_overwritten() -> None:
    rule = save_rule(SYSTEM, SETTINGS)
    with pytest.raises(PreconditionFailed):
        save_rule(SYSTEM, SETTINGS, rule_id=rule.pk, expected_version=7)
    with pytest.raises(NotFound):
        save_rule(SYSTEM, SETTINGS, rule_id=uuid4())


def test_rules_do_not_hold_each_other_back_in_a_circle() -> None:
    first = save_rule(SYSTEM, replace(SETTINGS, name="first"))
    second = save_rule(SYSTEM, replace(SETTINGS, name="second", inhibited_by=(first.pk,)))
    third = save_rule(SYSTEM, replace(SETTINGS, name="third", inhibited_by=(second.pk,)))
    for inhibiting in (first, third):
        settings = replace(read_settings(first), inhibited_by=(inhibiting.pk,))
        with pytest.raises(InvalidInput, match="each other's"):
            save_rule(SYSTEM, settings, rule_id=first.pk)


def test_channels_of_tests_are_for_no_rule() -> None:
    channel = NotificationChannel.objects.create(name="probe", kind="webhook", for_tests=True)
    with pytest.raises(InvalidInput, match="no such channel"):
        save_rule(SYSTEM, replace(SETTINGS, channels=(channel.pk,)))


def test_a_rule_is_switched_off_and_on_and_each_is_recorded_once() -> None:
    rule = save_rule(SYSTEM, SETTINGS)
    for enabled in (False, False, True):
        assert switch_rule(SYSTEM, rule.pk, enabled=enabled).enabled is enabled
    actions = AuditEntry.objects.filter(target_id=str(rule.pk)).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["alert_rule.added", "alert_rule.disabled", "alert_rule.enabled"]


def test_a_rule_is_deleted_unless_it_is_built_in_or_an_alert_is_open() -> None:
    rule = save_rule(SYSTEM, SETTINGS)
    alert = Alert.objects.create(rule=rule, pending_at=now(), evaluated_at=now())
    with pytest.raises(Conflict, match="is open"):
        delete_rule(SYSTEM, rule.pk)
    alert.delete()
    AlertRule.objects.filter(pk=rule.pk).update(evaluation_failures=3)
    with pytest.raises(Conflict, match="cannot be evaluated"):
        delete_rule(SYSTEM, rule.pk)
    AlertRule.objects.filter(pk=rule.pk).update(evaluation_failures=0, built_in=True)
    with pytest.raises(Conflict, match="built in"):
        delete_rule(SYSTEM, rule.pk)
    AlertRule.objects.filter(pk=rule.pk).update(built_in=False)
    delete_rule(SYSTEM, rule.pk)
    assert not AlertRule.objects.filter(pk=rule.pk).exists()
    assert AuditEntry.objects.filter(action="alert_rule.deleted", target_name="many_failures").count() == 1
