"""The dashboard, the alarms and the page about metrics refer only to what the keeper tells."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from keeper.service.metrics import Metrics

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "config" / "grafana"
OF_PROMETHEUS = {"up"}
"""Prometheus' own about each target."""
OF_TARGETS = {"job", "instance", "le"}
"""Labels that Prometheus sets, and a histogram's."""
OPERATING = (ROOT / "docs" / "OPERATING.md").read_text()


def told() -> dict[str, set[str]]:
    """Every metric of a keeper's registry, by its name in queries, with its labels."""
    found: dict[str, set[str]] = {}
    collectors: list[Any] = list(Metrics().registry._collector_to_names)
    for collector in collectors:
        labels = set(getattr(collector, "_labelnames", ()))
        for family in collector.describe():
            suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
            for suffix in suffixes.get(family.type, ("",)):
                found[family.name + suffix] = labels
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "dashboard.json").read_text())
    return found


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((GRAFANA / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for rule in rules():
        yield f"rule {rule['alert']}", rule["expr"]


QUERIES = list(queries())


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """The metrics that a query asks for, each with the labels that it names."""
    found: list[tuple[str, set[str]]] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            labels = {matcher.name for matcher in node.matchers.matchers}
            found.append((str(node.name), labels))

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_query__its_metrics_and_labels__are_those_that_the_keeper_tells(
    where: str, query: str
) -> None:
    known = told() | {name: set() for name in OF_PROMETHEUS}
    asked = selectors(query)
    assert asked, where
    for name, labels in asked:
        assert name in known, f"{where}: {name}"
        assert labels <= known[name] | OF_TARGETS, f"{where}: {labels}"
    for grouped in re.findall(r"\b(?:by|on) ?\(([^)]*)\)", query):
        named = {each.strip() for each in grouped.split(",")} - {""}
        assert named <= set().union(*known.values()) | OF_TARGETS, where


def test_queries__every_metric__is_shown_or_watched() -> None:
    used = {name for _, query in QUERIES for name, _ in selectors(query)}
    assert {re.sub(r"_(sum|count)$", "_bucket", name) for name in told()} <= used


def test_legends__labels__are_those_of_their_metrics() -> None:
    known = told()
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            labels = set().union(*(known[name] for name, _ in selectors(target["expr"])))
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert legend <= labels | OF_TARGETS, panel["title"]


def test_rules__each__says_what_it_is_and_how_bad() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_dashboard__panels__do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_page__metrics__are_exactly_those_that_the_keeper_tells() -> None:
    named = set(re.findall(r"`(keeper_[a-z_]+)(?:{[a-z,]+})?`", OPERATING))
    known = {
        re.sub(r"_bucket$", "", name) for name in told() if not name.endswith(("_sum", "_count"))
    }
    assert named == known


def test_page__labels__are_those_of_the_metric() -> None:
    known = told()
    for name, labels in re.findall(r"`(keeper_[a-z_]+){([a-z,]+)}`", OPERATING):
        assert set(labels.split(",")) == known[name], name


def test_prometheus__scrapes__the_port_that_the_page_names() -> None:
    document = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())
    (scraped,) = document["scrape_configs"]
    assert scraped["job_name"] == "keeper"
    port = re.search(r"http_port = (\d+)", OPERATING)
    assert port is not None
    assert scraped["static_configs"] == [{"targets": [f"127.0.0.1:{port[1]}"]}]
