"""The dashboard for Grafana and the rules for Prometheus name only what is at `/metrics`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitoring.prometheus.exposition import TextFormat, render
from monitoring.prometheus.families import FAMILIES
from tests.support.promql import names_in
from tests.support.surroundings import ROOT
from tests.unit.monitoring.prometheus.test_exposition import some_figures

FOLDER = ROOT / "docs" / "monitoring"
RULES = FOLDER / "prometheus-rules.yml"
RULE_TESTS = ROOT / "tests" / "support" / "prometheus-rules-test.yml"
DASHBOARD = FOLDER / "grafana-dashboard.json"
DOCS = ROOT / "docs" / "monitoring.md"
# What Prometheus itself says of a scrape.
OF_PROMETHEUS = {"up": {"job", "instance"}}
LABEL_VALUES = re.compile(r"label_values\((\w+), (\w+)\)")


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The labels of each metric, as they are in the text of a scrape."""
    labels: dict[str, set[str]] = defaultdict(set, {name: set(them) for name, them in OF_PROMETHEUS.items()})
    for metric in text_string_to_metric_families(render(some_figures(), TextFormat.PLAIN).decode()):
        for sample in metric.samples:
            labels[sample.name] |= set(sample.labels)
    return dict(labels)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def test_the_rules_name_only_what_is_there(known: dict[str, set[str]]) -> None:
    for rule in rules():
        assert names_in(rule["expr"]).unknown(known) == set(), rule["alert"]


def test_the_dashboard_names_only_what_is_there(known: dict[str, set[str]]) -> None:
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    assert len(expressions) > 30
    for expression in expressions:
        assert names_in(expression).unknown(known) == set(), expression
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            match = LABEL_VALUES.fullmatch(variable["definition"])
            assert match is not None
            assert match[2] in known[match[1]]


def test_a_legend_or_a_text_names_only_labels_that_remain(known: dict[str, set[str]]) -> None:
    texts = [(t["expr"], t["legendFormat"]) for panel in dashboard()["panels"] for t in panel.get("targets", ())]
    texts += [(rule["expr"], text.replace("$labels.", "")) for rule in rules() for text in rule["annotations"].values()]
    for expression, text in texts:
        names = names_in(expression)
        labels = names.grouped or set().union(*(known[name] for name in names.metrics))
        assert set(re.findall(r"{{\s*(\w+)\s*}}", text)) <= labels, (expression, text)


def test_every_metric_is_used_or_explained() -> None:
    text = DOCS.read_text()
    assert [family.name for family in FAMILIES if f"`{family.name}`" not in text] == []


def test_an_alert_says_what_to_do_and_its_runbook_exists() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    text = DOCS.read_text()
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        path, _, heading = rule["annotations"]["runbook"].partition("#")
        headings = {
            re.sub(r"[^a-z0-9_ -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in (ROOT / path).read_text().splitlines()
            if line.startswith("#")
        }
        assert not heading or heading in headings, rule["alert"]
        assert f"`{rule['alert']}`" in text, rule["alert"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("arguments", [["check", "rules", str(RULES)], ["test", "rules", str(RULE_TESTS)]])
def test_promtool_agrees(arguments: list[str]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("expression", "metrics", "grouped"),
    [
        ("up", {"up": set()}, set()),
        (
            'sum by (le, agent) (rate(a_bucket{x="}", y!~"b{2}"}[5m] offset 1h)) > 0.5',
            {"a_bucket": {"x", "y"}},
            {"le", "agent"},
        ),
        ("sum(a) without (b) / on (c) group_left (d) e{f=''}", {"a": set(), "e": {"f"}}, {"b", "c", "d"}),
        (
            "histogram_quantile(0.95, a:b[$__rate_interval]) and on () absent(c{d='e'}) == 1e3",
            {"a:b": set(), "c": {"d"}},
            set(),
        ),
        ("topk(5, a) unless bool_metric or vector(0) # comment {x}", {"a": set(), "bool_metric": set()}, set()),
    ],
)
def test_an_expression_is_read_right(expression: str, metrics: dict[str, set[str]], grouped: set[str]) -> None:
    names = names_in(expression)
    assert (names.metrics, names.grouped) == (metrics, grouped)


def test_what_is_not_there_is_found(known: dict[str, set[str]]) -> None:
    def unknown(expression: str) -> set[str]:
        return names_in(expression).unknown(known)

    assert unknown("bandstand_turn_total") == {"bandstand_turn_total"}
    assert unknown('bandstand_turns_total{state="failed"}') == {"bandstand_turns_total{state}"}
    assert unknown("sum by (agent, model) (bandstand_turns_total)") == {"model"}
    assert unknown("bandstand_turn_seconds") == {"bandstand_turn_seconds"}
