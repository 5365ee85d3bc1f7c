"""The charts of a deployment's page: both arms side by side, by metric, from its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from agents.domain.deployment_verdict import DeploymentMetric
from agents.models import Deployment, DeploymentVerdict
from console.charts import Axis, Chart, ChartShape, Series, make_chart
from console.formatting import format_percent

# The points of a chart. Verdicts come each 15 seconds; of a longer time each bucket shows its last one.
_POINTS: Final = 60
# Eight hours of them; a step may last for a week.
_MOST_VERDICTS: Final = 2_000
_LEAST_BUCKET_SECONDS: Final = 15
_TITLES: Final = {
    DeploymentMetric.FAILED: "Users who met a failed answer",
    DeploymentMetric.SLOW: "Users who met a slow answer",
    DeploymentMetric.DEAR: "Users who met a dear answer",
    DeploymentMetric.HANDED_OFF: "Users who called for a person",
    DeploymentMetric.RATED_DOWN: "Users who rated an answer down",
}


def deployment_charts(deployment: Deployment) -> list[Chart]:
    """A chart of the newest step for each metric that a user of either arm has met, and at least that of failures; none
    before canary."""
    latest_one = deployment.verdicts.order_by("-at").first()
    if latest_one is None:
        return []
    # Figures begin anew with each step.
    same_step = deployment.verdicts.filter(state=latest_one.state, step=latest_one.step)
    verdicts = list(same_step.order_by("-at")[:_MOST_VERDICTS])[::-1]
    axis, buckets = _axis(verdicts)
    charts = []
    for metric in DeploymentMetric:
        arms = [_shares(buckets, arm, metric) for arm in ("candidate", "stable")]
        if metric is not DeploymentMetric.FAILED and not any(value for arm in arms for value in arm):
            continue
        names = (f"release {deployment.candidate.number}", f"release {deployment.baseline.number}")
        latest = ", ".join(
            f"{name} {_latest(verdicts[-1], arm, metric)}"
            for name, arm in zip(names, ("candidate", "stable"), strict=True)
        )
        charts.append(
            make_chart(
                f"deployment-{metric.value}",
                _TITLES[metric],
                axis,
                [Series(names[0], "p95", arms[0]), Series(names[1], "used", arms[1])],
                shape=ChartShape.LINES,
                format_value=lambda percent: format_percent(percent / 100),
                summary=latest,
                empty_words="Nobody has had an answer yet.",
            )
        )
    return charts


def _axis(verdicts: Sequence[DeploymentVerdict]) -> tuple[Axis, list[DeploymentVerdict | None]]:
    begin, end = verdicts[0].at, verdicts[-1].at
    bucket = _round_span((end - begin) / _POINTS, seconds=_LEAST_BUCKET_SECONDS)
    count = int((end - begin) / bucket) + 1
    starts = [begin.replace(microsecond=0) + bucket * number for number in range(count)]
    rows: list[DeploymentVerdict | None] = [None] * count
    for verdict in verdicts:
        rows[min(count - 1, int((verdict.at - begin) / bucket))] = verdict
    marked = _round_span(bucket * count / 4, seconds=60)
    return Axis(starts, bucket, marked, "%H:%M"), rows


def _shares(rows: Sequence[DeploymentVerdict | None], arm: str, metric: DeploymentMetric) -> list[float | None]:
    return [None if row is None else _share(row.figures.get(arm, {}), metric) for row in rows]


def _share(figures: dict[str, Any], metric: DeploymentMetric) -> float | None:
    users = figures.get("users", 0)
    bad: int = figures.get("bad_users", {}).get(metric.value, 0)
    return 100 * bad / users if users else None


def _latest(verdict: DeploymentVerdict, arm: str, metric: DeploymentMetric) -> str:
    figures = verdict.figures.get(arm, {})
    return f"{figures.get('bad_users', {}).get(metric.value, 0):,} of {figures.get('users', 0):,}"


def _round_span(span: timedelta, *, seconds: int) -> timedelta:
    return timedelta(seconds=seconds * max(1, round(span.total_seconds() / seconds)))
