"""Silences: who creates and ends them, which alerts they match, and what no silence can be about."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from foundation.clock import now
from foundation.errors import Forbidden, InvalidInput, NotFound
from monitoring.alerts.silences import active_silences, create_silence, end_silence, is_active, matches
from monitoring.models import AlertRule, Silence
from tests.support.people import person

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")


def make_rule(name: str = "slow", **values: Any) -> AlertRule:
    return AlertRule.objects.create(name=name, metric="turn_error_rate", threshold=5, **values)


def test_an_operator_silences_a_rule_and_ends_the_silence_before_its_time() -> None:
    operator, rule = user_actor(person("oskar", Role.OPERATOR)), make_rule()
    silence = create_silence(operator, rule_id=rule.pk, seconds=3_600, reason=" The provider\u200b is down. ")
    assert (silence.reason, silence.created_by) == ("The provider is down.", "oskar")
    assert (silence.ends_at - silence.starts_at).total_seconds() == 3_600
    assert list(Silence.objects.filter(active_silences(now()))) == [silence]
    ended = end_silence(operator, silence.pk)
    assert (ended.ended_by, is_active(ended, now())) == ("oskar", False)
    assert end_silence(operator, silence.pk).ends_at == ended.ends_at, "it has ended, and stays so"
    actions = AuditEntry.objects.filter(target_type="silence").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["silence.created", "silence.ended"]


def test_only_operators_and_owners_silence() -> None:
    silence = create_silence(SYSTEM, reason="A test")
    for role in (Role.VIEWER, Role.BUILDER):
        actor = user_actor(person(f"a-{role}", role))
        with pytest.raises(Forbidden):
            create_silence(actor, reason="x")
        with pytest.raises(Forbidden):
            end_silence(actor, silence.pk)
    assert Silence.objects.count() == 1


def test_a_silence_matches_alerts_of_its_rule_that_have_its_labels() -> None:
    rule = make_rule(group_by=["agent", "release"])
    of_rule = create_silence(SYSTEM, rule_id=rule.pk, labels={"agent": "demo"}, reason="x")
    of_all = create_silence(SYSTEM, labels={"agent": "demo"}, reason="x")
    everything = create_silence(SYSTEM, reason="x")
    for rule_id, labels, expected in [
        (rule.pk, {"agent": "demo", "release": "demo/1"}, [True, True, True]),
        (rule.pk, {"agent": "other"}, [False, False, True]),
        (rule.pk, {}, [False, False, True]),
        (uuid4(), {"agent": "demo"}, [False, True, True]),
    ]:
        found = [matches(silence, rule_id=rule_id, labels=labels) for silence in (of_rule, of_all, everything)]
        assert found == expected, labels


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"seconds": 30}, "/seconds"),
        ({"seconds": 31 * 86_400}, "/seconds"),
        ({"reason": " \u200b "}, "/reason"),
        ({"reason": "x" * 301}, "/reason"),
        ({"labels": {"colour": "red"}}, "/labels"),
        ({"labels": {"agent": ""}}, "/labels"),
        ({"labels": {"agent": 5}}, "/labels"),
    ],
)
def test_what_would_silence_nothing_or_for_ever_is_refused(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        create_silence(SYSTEM, **{"reason": "A test", **changes})
    assert refusal.value.pointer == pointer


def test_a_label_that_the_rules_alerts_have_not_is_refused() -> None:
    rule = make_rule(labels={"agent": "demo"})
    with pytest.raises(InvalidInput, match="No alert of slow has the label agent"):
        create_silence(SYSTEM, rule_id=rule.pk, labels={"agent": "demo"}, reason="x")
    with pytest.raises(NotFound):
        create_silence(SYSTEM, rule_id=uuid4(), reason="x")
    with pytest.raises(NotFound):
        end_silence(SYSTEM, uuid4())
