"""The text of a scrape, as Prometheus's own parsers read it."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain

from monitoring.prometheus import families
from monitoring.prometheus.exposition import TextFormat, choose_format, render
from monitoring.prometheus.families import FAMILIES, Distribution, Figures, Kind

OPENMETRICS, PLAIN = TextFormat.OPENMETRICS, TextFormat.PLAIN
UGLY = 'a "b"\\n\nc{}, é\u2028='


def some_figures() -> Figures:
    """One value of every family."""
    figures = Figures()
    for family in FAMILIES:
        value: families.Value = 2.0
        if family.kind is Kind.HISTOGRAM:
            value = Distribution(3, 1.25, (("0.5", 1), ("+Inf", 3)))
        elif family.kind is Kind.SUMMARY:
            value = Distribution(3, 1.25)
        figures.set(family, value, *(UGLY for _ in family.labels))
    return figures


def test_both_formats_say_the_same_of_every_family() -> None:
    figures = some_figures()
    plain = list(read_plain(render(figures, PLAIN).decode()))
    openmetrics = list(read_openmetrics(render(figures, OPENMETRICS).decode()))  # type: ignore[no-untyped-call]
    read = {(metric.name.removesuffix("_total"), metric.type, metric.documentation) for metric in plain}
    assert read == {(metric.name, metric.type, metric.documentation) for metric in openmetrics}
    assert read == {(family.name.removesuffix("_total"), family.kind.value, family.help) for family in FAMILIES}
    samples = [
        sorted((s.name, sorted(s.labels.items()), s.value) for m in each for s in m.samples)
        for each in (plain, openmetrics)
    ]
    assert samples[0] == samples[1]
    assert {text for _, labels, _ in samples[0] for name, text in labels if name != "le"} == {UGLY}


def test_a_histogram_has_its_bounds_its_count_and_its_sum() -> None:
    figures = Figures()
    figures.set(families.TURN_SECONDS, Distribution(3, 1.25, (("0.5", 1), ("+Inf", 3))), "demo")
    lines = render(figures, PLAIN).decode().splitlines()
    assert lines[1:] == [
        "# TYPE bandstand_turn_seconds histogram",
        'bandstand_turn_seconds_bucket{agent="demo",le="0.5"} 1.0',
        'bandstand_turn_seconds_bucket{agent="demo",le="+Inf"} 3.0',
        'bandstand_turn_seconds_count{agent="demo"} 3.0',
        'bandstand_turn_seconds_sum{agent="demo"} 1.25',
    ]


def test_an_empty_label_and_a_family_without_values_are_left_out() -> None:
    figures = Figures()
    figures.set(families.BREAKER_STATE, 0, "offline", "")
    text = render(figures, PLAIN).decode()
    assert 'bandstand_breaker_state{provider="offline"} 0.0' in text
    assert "queue" not in text


def test_a_value_has_the_labels_of_its_family() -> None:
    with pytest.raises(ValueError, match="agent"):
        Figures().set(families.TURNS, 1, "demo")


def test_no_name_and_no_series_is_there_twice() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    figures = Figures()
    figures.add(families.TURNS, 1, "demo", "failed")
    figures.add(families.TURNS, 2, "demo", "failed")
    assert render(figures, PLAIN).decode().count("bandstand_turns_total{") == 1
    assert figures.values[families.TURNS] == {("demo", "failed"): 3}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html", PLAIN),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", PLAIN),
        ("application/openmetrics-text; version=2.0.0", PLAIN),
        ("application/openmetrics-text;q=0", PLAIN),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.5", PLAIN),
        ("application/openmetrics-text;q=nonsense", PLAIN),
        ("APPLICATION/OpenMetrics-Text ; VERSION=1.0.0", OPENMETRICS),
        # Prometheus 2 and 3.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPENMETRICS,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
            "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            OPENMETRICS,
        ),
    ],
)
def test_the_scraper_chooses_the_format(accept: str, expected: TextFormat) -> None:
    assert choose_format(accept) is expected
