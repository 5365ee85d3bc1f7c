"""The text formats of Prometheus and of OpenMetrics, and which of them a scraper wants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final

from monitoring.prometheus.families import FAMILIES, Distribution, Family, Figures, Kind, Value

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class TextFormat(Enum):
    """A format, by its media type."""

    PLAIN = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


_OPENMETRICS_TYPE: Final = "application/openmetrics-text"
_PLAIN_TYPES: Final = frozenset({"text/plain", "text/*", "*/*"})
_QUALITY: Final = re.compile(r"(?:0|1)(?:\.[0-9]{0,3})?")


def choose_format(accept: str) -> TextFormat:
    """The format that an Accept header prefers; the plain one, which everybody reads, unless OpenMetrics 1.0 is
    asked for by name."""
    openmetrics = plain = 0.0
    for media_range in accept.lower().split(","):
        kind, *rest = (part.strip() for part in media_range.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        quality = _read_quality(parameters.get("q", "1"))
        if kind == _OPENMETRICS_TYPE and parameters.get("version", "1.0.0") == "1.0.0":
            openmetrics = max(openmetrics, quality)
        elif kind in _PLAIN_TYPES:
            plain = max(plain, quality)
    return TextFormat.OPENMETRICS if openmetrics and openmetrics >= plain else TextFormat.PLAIN


def _read_quality(text: str) -> float:
    return min(1.0, float(text)) if _QUALITY.fullmatch(text) else 0.0


def render(figures: Figures, text_format: TextFormat) -> bytes:
    """`figures` as text, in the order of `FAMILIES`."""
    # Loaded by the first scrape: most processes never need it.
    from prometheus_client.exposition import generate_latest
    from prometheus_client.openmetrics import exposition as openmetrics

    collector = _Collector(figures)
    # All names are plain ones: the default would look at each letter of each.
    escaping = openmetrics.ALLOWUTF8
    if text_format is TextFormat.OPENMETRICS:
        return bytes(openmetrics.generate_latest(collector, escaping))  # type: ignore[no-untyped-call]
    return generate_latest(collector, escaping)


class _Collector:
    """Figures as the library collects them."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import Metric

        for family in FAMILIES:
            values = self._figures.values.get(family)
            if values:
                # The name of a counter's family has no suffix; its samples have.
                metric = Metric(family.name.removesuffix("_total"), family.help, family.kind.value)
                for labels, value in values.items():
                    _add(metric, family, labels, value)
                yield metric


def _add(metric: Metric, family: Family, labels: tuple[str, ...], value: Value) -> None:
    named = {name: text for name, text in zip(family.labels, labels, strict=True) if text}
    if not isinstance(value, Distribution):
        metric.add_sample(family.name, named, value)
        return
    assert family.kind in {Kind.HISTOGRAM, Kind.SUMMARY}
    for bound, count in value.buckets:
        metric.add_sample(f"{family.name}_bucket", {**named, "le": bound}, count)
    metric.add_sample(f"{family.name}_count", named, value.count)
    metric.add_sample(f"{family.name}_sum", named, value.total)
