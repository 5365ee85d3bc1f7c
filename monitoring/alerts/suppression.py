"""What holds notifications of an alert back: silences, and rules that inhibit its own while they fire."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from monitoring.alerts.silences import active_silences, matches
from monitoring.models import Alert, AlertRule, Silence


@dataclass(frozen=True, slots=True)
class Suppression:
    """The silences of a moment, and for each inhibited rule what fires of those that inhibit it."""

    silences: Sequence[Silence] = ()
    sources: Mapping[UUID, Sequence[Alert]] = field(default_factory=dict)

    def reason(self, alert: Alert) -> str:
        """The silence or the rule that holds the alert's notifications back; "" for none."""
        for silence in self.silences:
            if matches(silence, rule_id=alert.rule_id, labels=alert.labels):
                return f"silence: {silence.reason}"[:100]
        for source in self.sources.get(alert.rule_id, ()):
            if _agrees(source.labels, alert.labels) and source.suppressed_by != inhibition(alert.rule):
                return inhibition(source.rule)
        return ""


def inhibition(rule: AlertRule) -> str:
    """How `Alert.suppressed_by` names a rule that inhibits another."""
    return f"rule: {rule.name}"


def read_suppression(rules: Iterable[AlertRule], at: datetime) -> Suppression:
    """What holds back alerts of `rules`, whose own alerts are written already. Three statements."""
    ids = [rule.pk for rule in rules]
    silences = list(Silence.objects.filter(active_silences(at)).order_by("ends_at"))
    edges = list(AlertRule.inhibited_by.through.objects.filter(from_alertrule__in=ids))
    firing: dict[UUID, list[Alert]] = defaultdict(list)
    if edges:
        inhibitors = {edge.to_alertrule_id for edge in edges}
        for alert in Alert.objects.filter(rule__in=inhibitors, state=Alert.State.FIRING).select_related("rule"):
            firing[alert.rule_id].append(alert)
    sources: dict[UUID, list[Alert]] = defaultdict(list)
    for edge in edges:
        sources[edge.from_alertrule_id] += firing[edge.to_alertrule_id]
    return Suppression(silences, sources)


def _agrees(labels: Mapping[str, str], target: Mapping[str, str]) -> bool:
    """Whether the labels that both have are equal: an alert without labels concerns everything."""
    return all(target[name] == value for name, value in labels.items() if name in target)
