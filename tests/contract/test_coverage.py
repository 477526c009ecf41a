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


def listed(file: str) -> dict[str, dict[str, list[str]]]:
    """The tools of a list with their other names, by domain."""
    found: dict[str, dict[str, list[str]]] = yaml.safe_load(
        (Path(__file__).parent / file).read_text(encoding="utf-8")
    )
    return found


SPECIFIED = listed("catalogue.yaml")
FURTHER = listed("further_tools.yaml")
#: Of the 184 of the specification, so many must really run; and all of the others.
REALLY_RUN = 134


def names(domain: str | None = None) -> set[str]:
    return {
        name
        for wanted in (SPECIFIED, FURTHER)
        for group, tools in wanted.items()
        if domain in (None, group)
        for name in tools
    }


def test_the_list_is_the_whole_specification() -> None:
    assert {domain: len(tools) for domain, tools in SPECIFIED.items()} == COUNTS
    specified = {name for tools in SPECIFIED.values() for name in tools}
    assert len(specified) == 184
    assert not specified & {name for tools in FURTHER.values() for name in tools}


@pytest.mark.parametrize("domain", sorted(COUNTS))
def test_every_tool_is_defined_in_its_domain(domain: str) -> None:
    defined = {tool.name for tool in registry.load().all() if tool.domain == domain}
    missing, extra = sorted(names(domain) - defined), sorted(defined - names(domain))
    assert not missing, f"{len(missing)} tools have no definition: {', '.join(missing)}"
    assert not extra, f"in none of the two lists: {', '.join(extra)}"


def test_every_other_name_leads_to_its_tool() -> None:
    catalogue = registry.load()
    wrong = [
        f"{alias} (of {name})"
        for wanted in (SPECIFIED, FURTHER)
        for tools in wanted.values()
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
    assert not extra, f"in none of the two lists: {', '.join(extra)}"
    twice = sorted(tool for tool, count in counts.items() if count > 1)
    assert not twice, f"in more than one coverage file: {', '.join(twice)}"


def test_every_line_has_a_kind_and_a_reason() -> None:
    for line in coverage_page.covered():
        assert line.kind in coverage_page.KINDS, line
        assert len(line.how) >= 10, line
        assert line.kind == "real" or not line.built, line


def test_enough_of_them_really_run() -> None:
    real = {line.tool for line in coverage_page.covered() if line.kind == "real"}
    further = {name for tools in FURTHER.values() for name in tools}
    assert len(real - further) >= REALLY_RUN, f"{len(real - further)} of {REALLY_RUN}"
    assert further <= real, f"not really run: {', '.join(sorted(further - real))}"


def test_every_odd_input_that_a_tool_takes_is_tried_or_has_a_reason() -> None:
    faults = odd_inputs.faults()
    assert not faults, "; ".join(faults)


def test_the_page_is_what_the_files_say() -> None:
    written = coverage_page.PAGE.read_text(encoding="utf-8")
    assert written == coverage_page.page(), "run: python -m tests.tools.coverage_page"
