"""Notifications of alerts: grouped, repeated, held back by silences and by other rules, and ended where they began."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from monitoring.alerts.alert_content import alert_url, rule_url
from monitoring.models import Alert, AlertRule, Grouping, Notification, NotificationChannel, Silence
from tests.support.alerts import START, Evaluations, make_channel, make_rule, queued

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluations() -> Evaluations:
    return Evaluations()


def kinds() -> list[str]:
    return [kind for kind, _ in queued()]


def labels_of(row: Notification) -> list[str]:
    return sorted(f"{alert['labels']['host']} {alert['state']}" for alert in row.content["alerts"])


def silence(*, begins: float = 0, ends: float, rule: AlertRule | None = None, **labels: str) -> Silence:
    return Silence.objects.create(
        rule=rule,
        labels=labels,
        reason="we know",
        created_by="ada",
        starts_at=START + timedelta(seconds=begins),
        ends_at=START + timedelta(seconds=ends),
    )


def test_what_a_notification_says(evaluations: Evaluations) -> None:
    make_rule(
        "long_queue",
        make_channel(),
        description="Too many wait.",
        severity="critical",
        for_seconds=300,
        window_seconds=60,
        runbook_url="/admin/runbooks/#long_queue",
    )
    evaluations.after(0, 11.0)
    evaluations.after(300, 12.5)
    alert, row = Alert.objects.get(), Notification.objects.get()
    page = f"http://127.0.0.1:8000/admin/monitoring/alert/{alert.pk}/change/"
    assert row.dedup_key == str(alert.pk)
    assert row.content == {
        "title": "long_queue: Turns in the queue 12.5, above 10",
        "state": "firing",
        "severity": "critical",
        "incident_key": str(alert.pk),
        "rule": "long_queue",
        "description": "Too many wait.",
        "condition": "Turns in the queue above 10 over 1 min, for 5 min",
        "value": 12.5,
        "value_text": "12.5",
        "threshold": 10.0,
        "threshold_text": "10",
        "since": START.isoformat(),
        "alerts": [
            {
                "id": str(alert.pk),
                "labels": {},
                "state": "firing",
                "value": 12.5,
                "value_text": "12.5",
                "firing_at": (START + timedelta(seconds=300)).isoformat(),
                "resolved_at": None,
                "url": page,
            }
        ],
        "alerts_count": 1,
        "url": page,
        "runbook_url": "http://127.0.0.1:8000/admin/runbooks/#long_queue",
    }


def test_addresses_in_notifications_are_those_of_the_console(evaluations: Evaluations) -> None:
    rule = make_rule("full", make_channel(), group_by=["host"])
    evaluations.after(0, {"a": 11.0, "b": 11.0})
    content, alert = Notification.objects.get().content, Alert.objects.latest("id")
    home = "http://127.0.0.1:8000"
    assert alert_url(alert.pk) == home + reverse("admin:monitoring_alert_change", args=[alert.pk])
    assert content["url"] == f"{home}{reverse('admin:monitoring_alert_changelist')}?rule={rule.pk}"
    assert rule_url(rule) == home + reverse("admin:monitoring_alertrule_change", args=[rule.pk])


def test_every_channel_that_is_enabled_has_a_row_of_its_own(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel("a"), make_channel("b"), make_channel("off", enabled=False))
    evaluations.after(0, 11.0)
    rows = Notification.objects.order_by("channel__name")
    assert [(row.channel.name, row.dedup_key) for row in rows] == [(name, rows[0].dedup_key) for name in "ab"]


def test_an_alert_that_no_channel_heard_of_is_notified_when_there_is_one(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel(enabled=False))
    evaluations.after(0, 11.0)
    assert kinds() == []
    NotificationChannel.objects.update(enabled=True)
    evaluations.after(30, 11.0)
    assert kinds() == ["firing"]


def test_a_notification_is_repeated_at_the_rule_s_interval(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel(), repeat_seconds=600)
    make_rule("once", make_channel("other"), metric="memory_percent", repeat_seconds=0)
    for _ in range(21):
        evaluations.after(60, 11.0)
    assert [row.kind for row in Notification.objects.filter(rule__name="long_queue").order_by("id")] == [
        "firing",
        "repeat",
        "repeat",
    ]
    assert Notification.objects.filter(rule__name="once").count() == 1
    assert len({row.dedup_key for row in Notification.objects.filter(rule__name="long_queue")}) == 3


def test_alerts_of_a_rule_share_notifications_of_which_there_is_one_a_minute(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"])
    evaluations.after(0, {"a": 11.0, "b": 12.0})
    evaluations.after(30, {"a": 11.0, "b": 12.0, "c": 13.0, "d": 14.0})
    assert queued() == [("firing", "full: 2 alerts fire")]
    evaluations.after(30, {"a": 11.0, "c": 13.0, "d": 1.0})  # b ended, and d before anybody heard of it
    evaluations.after(30, {"a": 11.0})
    evaluations.after(30, {"a": 1.0})
    rows = Notification.objects.order_by("id")
    assert [(row.kind, labels_of(row)) for row in rows] == [
        ("firing", ["a firing", "b firing"]),
        ("firing", ["a firing", "b resolved", "c firing", "d resolved"]),
        ("resolved", ["a resolved", "b resolved", "c resolved", "d resolved"]),
    ]
    assert {row.content["incident_key"] for row in rows} == {str(Alert.objects.get(labels={"host": "a"}).pk)}


def test_what_ended_unheard_within_a_group_is_in_its_next_notification(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"], interval_seconds=10)
    evaluations.after(0, {"a": 11.0})
    evaluations.after(10, {"a": 11.0, "b": 11.0})
    evaluations.after(10, {"a": 11.0})
    assert [labels_of(row) for row in Notification.objects.all()] == [["a firing"]]
    for _ in range(8):
        evaluations.after(10, {"a": 11.0})
    assert [labels_of(row) for row in Notification.objects.order_by("id")] == [
        ["a firing"],
        ["a firing", "b resolved"],
    ]


def test_alerts_may_have_notifications_of_their_own(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"], grouping=Grouping.ALERT)
    evaluations.after(0, {"a": 11.0, "b": 12.0})
    evaluations.after(30, {"a": 1.0, "b": 12.0})
    assert queued() == [
        ("firing", "full (host a): Turns in the queue 11, above 10"),
        ("firing", "full (host b): Turns in the queue 12, above 10"),
        ("resolved", "full (host a): has ended"),
    ]
    assert {row.content["incident_key"] for row in Notification.objects.all()} == {
        str(alert.pk) for alert in Alert.objects.all()
    }


def test_a_silenced_alert_is_notified_when_the_silence_ends(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"])
    silence(ends=60, host="a")
    evaluations.after(0, {"a": 11.0})
    assert (kinds(), Alert.objects.get().suppressed_by) == ([], "silence: we know")
    evaluations.after(60, {"a": 11.0})
    assert (kinds(), Alert.objects.get().suppressed_by) == (["firing"], "")


def test_a_silence_is_of_its_rule_and_labels_and_time(evaluations: Evaluations) -> None:
    rule = make_rule("full", make_channel(), group_by=["host"], grouping=Grouping.ALERT)
    other = make_rule("other", metric="memory_percent")
    silence(ends=3600, host="b")
    silence(ends=3600, rule=other)
    silence(begins=60, ends=3600)
    silence(begins=-60, ends=0)
    evaluations.after(0, {"full": {"a": 11.0, "b": 11.0}, "other": 11.0})
    suppressed = {
        alert.rule.name + str(alert.labels.get("host", "")): alert.suppressed_by for alert in Alert.objects.all()
    }
    assert suppressed == {"fulla": "", "fullb": "silence: we know", "other": "silence: we know"}
    assert [row.rule for row in Notification.objects.all()] == [rule]


def test_what_fires_and_ends_in_a_silence_is_never_heard_of(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"])
    silence(ends=600, host="b")
    evaluations.after(0, {"a": 11.0, "b": 11.0})
    evaluations.after(300, {"a": 11.0})
    evaluations.after(300, {"a": 1.0})
    assert [labels_of(row) for row in Notification.objects.order_by("id")] == [["a firing"], ["a resolved"]]


def test_who_heard_of_an_alert_hears_of_its_end_whatever_is_silenced(evaluations: Evaluations) -> None:
    rule = make_rule("long_queue", make_channel(), repeat_seconds=60)
    evaluations.after(0, 11.0)
    silence(ends=3600)
    evaluations.after(60, 11.0)  # no repeat
    rule.channels.set([make_channel("new")])
    evaluations.after(60, 1.0)
    assert [(row.kind, row.channel.name) for row in Notification.objects.order_by("id")] == [
        ("firing", "team"),
        ("resolved", "team"),
    ]


@pytest.mark.parametrize("is_evaluation", [False, True])
def test_who_was_sent_a_beginning_is_queued_the_end_though_switched_off(
    evaluations: Evaluations, is_evaluation: bool
) -> None:
    """The outbox holds it until the channel is switched on."""
    make_rule("long_queue", make_channel("sent"), make_channel("failed"))
    for _ in range(3):
        evaluations.after(30, ValueError("boom") if is_evaluation else 11.0)
    for state in ("sent", "failed"):
        Notification.objects.filter(channel__name=state).update(state=state)
    NotificationChannel.objects.update(enabled=False)
    evaluations.after(60, 1.0)
    ends = Notification.objects.filter(content__state="resolved")
    assert [row.channel.name for row in ends] == ["sent"]


def test_a_rule_is_inhibited_while_another_fires_with_the_same_labels(evaluations: Evaluations) -> None:
    cause = make_rule("cause", metric="memory_percent", group_by=["host"])
    symptom = make_rule("symptom", make_channel(), group_by=["host"], grouping=Grouping.ALERT)
    symptom.inhibited_by.add(cause)
    evaluations.after(0, {"cause": {"a": 11.0}, "symptom": {"a": 11.0, "b": 11.0}})
    assert queued() == [("firing", "symptom (host b): Turns in the queue 11, above 10")]
    assert Alert.objects.get(rule=symptom, labels={"host": "a"}).suppressed_by == "rule: cause"
    evaluations.after(30, {"cause": {"a": 1.0}, "symptom": {"a": 11.0, "b": 11.0}})
    assert queued()[1:] == [("firing", "symptom (host a): Turns in the queue 11, above 10")]


def test_a_cause_without_labels_inhibits_every_alert(evaluations: Evaluations) -> None:
    cause = make_rule("cause", metric="memory_percent")
    symptom = make_rule("symptom", make_channel(), group_by=["host"])
    symptom.inhibited_by.add(cause)
    evaluations.after(0, {"cause": 11.0, "symptom": {"a": 11.0, "b": 11.0}})
    assert kinds() == []


def test_rules_that_inhibit_each_other_do_not_silence_both(evaluations: Evaluations) -> None:
    first = make_rule("first", make_channel("a"), metric="memory_percent")
    second = make_rule("second", make_channel("b"))
    first.inhibited_by.add(second)
    second.inhibited_by.add(first)
    evaluations.after(0, 11.0)
    evaluations.after(30, 11.0)
    assert kinds()


def test_the_state_and_its_notifications_commit_together(
    evaluations: Evaluations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("killed")

    make_rule("long_queue", make_channel(), for_seconds=30)
    evaluations.after(0, 11.0)
    with monkeypatch.context() as patch:
        patch.setattr("monitoring.alerts.notification_groups.queue_notification", fail)
        with pytest.raises(RuntimeError):
            evaluations.after(30, 11.0)
    assert Alert.objects.get().state == "pending"
    evaluations.after(0, 11.0)
    assert (Alert.objects.get().state, kinds()) == ("firing", ["firing"])


def test_what_a_silence_held_back_is_heard_of_when_the_alerts_that_were_have_ended(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"])
    silence(ends=600, host="b")
    evaluations.after(0, {"a": 11.0, "b": 11.0})
    evaluations.after(300, {"a": 1.0, "b": 11.0})
    for _ in range(3):
        evaluations.after(300, {"a": 1.0, "b": 11.0})
    rows = Notification.objects.order_by("id")
    assert [labels_of(row) for row in rows] == [["a firing"], ["b firing"]]
    assert len({row.dedup_key for row in rows}) == 2


def test_an_alert_that_begins_just_before_the_first_of_its_group_ends_is_heard_of(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"], interval_seconds=10)
    evaluations.after(0, {"a": 11.0})
    evaluations.after(10, {"a": 11.0, "b": 11.0})
    evaluations.after(10, {"a": 1.0, "b": 11.0})
    for _ in range(8):
        evaluations.after(10, {"b": 11.0})
    assert [labels_of(row) for row in Notification.objects.order_by("id")] == [["a firing"], ["b firing"]]


def test_a_rule_that_cannot_be_evaluated_and_is_switched_off_ends_its_notification(evaluations: Evaluations) -> None:
    make_rule("broken", make_channel())
    for _ in range(3):
        evaluations.after(30, ValueError("boom"))
    AlertRule.objects.update(enabled=False)
    evaluations.after(30, None)
    assert [title for _, title in queued()] == ["broken: cannot be evaluated", "broken: is switched off"]
