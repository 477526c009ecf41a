"""Every tool of the specification has a definition and says how it is run in CI."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.tools import coverage_page
from tests.tools.odd import page as odd_inputs
from toolmeta import registry

COUNTS = {"automation": 134, "communication": 4, "asset": 5, "network": 41}
WANTED: dict[str, dict[str, list[str]]] = yaml.safe_load(
    (Path(__file__).parent / "catalogue.yaml").read_text(encoding="utf-8")
)
#: Of the 184, so many must really run.
REALLY_RUN = 134


def names(domain: str | None = None) -> set[str]:
    return {name for group, tools in WANTED.items() if domain in (None, group) for name in tools}


def test_the_list_is_the_whole_specification() -> None:
    assert {domain: len(tools) for domain, tools in WANTED.items()} == COUNTS
    assert len(names()) == 184


@pytest.mark.parametrize("domain", sorted(COUNTS))
def test_every_tool_is_defined_in_its_domain(domain: str) -> None:
    defined = {tool.name for tool in registry.load().all() if tool.domain == domain}
    missing, extra = sorted(names(domain) - defined), sorted(defined - names(domain))
    assert not missing, f"{len(missing)} tools have no definition: {', '.join(missing)}"
    assert not extra, f"not in the specification: {', '.join(extra)}"


def test_every_other_name_leads_to_its_tool() -> None:
    catalogue = registry.load()
    wrong = [
        f"{alias} (of {name})"
        for tools in WANTED.values()
        for name, aliases in tools.items()
        for alias in aliases
        if (found := catalogue.get(name)) is not None and catalogue.get(alias) is not found
    ]
    assert not wrong, f"not accepted: {', '.join(wrong)}"


def test_every_tool_says_once_how_it_is_run() -> None:
    counts = Counter(line.tool for line in coverage_page.covered())
    missing = sorted(names() - set(counts))
    assert not missing, f"{len(missing)} tools are in no coverage file: {', '.join(missing)}"
    extra = sorted(set(counts) - names())
    assert not extra, f"not in the specification: {', '.join(extra)}"
    twice = sorted(tool for tool, count in counts.items() if count > 1)
    assert not twice, f"in more than one coverage file: {', '.join(twice)}"


def test_every_line_has_a_kind_and_a_reason() -> None:
    for line in coverage_page.covered():
        assert line.kind in coverage_page.KINDS, line
        assert len(line.how) >= 10, line
        assert line.kind == "real" or not line.built, line


def test_enough_of_them_really_run() -> None:
    real = [line.tool for line in coverage_page.covered() if line.kind == "real"]
    assert len(real) >= REALLY_RUN, f"{len(real)} of {REALLY_RUN}"


def test_every_odd_input_that_a_tool_takes_is_tried_or_has_a_reason() -> None:
    faults = odd_inputs.faults()
    assert not faults, "; ".join(faults)


def test_the_page_is_what_the_files_say() -> None:
    written = coverage_page.PAGE.read_text(encoding="utf-8")
    assert written == coverage_page.page(), "run: python -m tests.tools.coverage_page"
