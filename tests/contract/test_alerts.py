"""The alert rules: each is tested, explained, and about metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.build import DASHBOARDS, files
from tests.docs.test_names import metrics

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
#: What a histogram's name in the code becomes.
PARTS = ("_bucket", "_sum", "_count")


def promtool(*arguments: str) -> str:
    found = shutil.which("promtool", path="/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("program promtool is not installed: apt install prometheus")
    done = subprocess.run([found, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unknown(expr: str) -> set[str]:
    """The metrics in an expression that no code declares."""
    names = set(re.findall(r"\brunstream_\w+", expr))
    for part in PARTS:
        names = {name.removesuffix(part) if name not in metrics() else name for name in names}
    return names - set(metrics())


@pytest.mark.parametrize("name", ["alerts_fire", "alerts_quiet"])
def test_the_rules_fire_where_they_should_and_nowhere_else(name: str) -> None:
    promtool("test", "rules", str(PROMETHEUS / "tests" / f"{name}.yaml"))


@pytest.mark.parametrize("name", ["prometheus.yml", "compose.yml"])
def test_the_examples_of_a_configuration_are_some(name: str) -> None:
    promtool("check", "config", str(PROMETHEUS / name))


def test_each_alert_fires_in_a_test() -> None:
    tested = (PROMETHEUS / "tests" / "alerts_fire.yaml").read_text()
    fired = set(re.findall(r'alertname="(\w+)"', tested))
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert anchor in {heading.lower() for heading in headings}
    assert unknown(rule["expr"]) == set()


def test_the_quiet_test_has_the_series_of_every_alert() -> None:
    quiet = (PROMETHEUS / "tests" / "alerts_quiet.yaml").read_text()
    asked = {name for rule in RULES for name in re.findall(r"\brunstream_\w+", rule["expr"])}
    assert {name for name in asked if name not in quiet} == set()


def test_every_query_of_a_panel_is_about_metrics_that_there_are() -> None:
    for dashboard in DASHBOARDS:
        for _, panels in dashboard.rows:
            for panel in panels:
                for query in panel.queries:
                    assert unknown(query.expr) == set(), (dashboard.uid, panel.title)


def test_the_dashboards_are_those_that_the_code_builds() -> None:
    for path, content in files().items():
        assert path.read_text("utf-8") == content, "python -m deploy.grafana.build"
    assert {*files()} == {*next(iter(files())).parent.glob("*.json")}


def test_panels_lie_beside_each_other_and_have_ids_of_their_own() -> None:
    for content in files().values():
        dashboard = json.loads(content)
        panels = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells = [
            (x, y)
            for panel in panels
            for place in (panel["gridPos"],)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24
