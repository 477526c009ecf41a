"""A definition that would mislead is refused when it is read, with every fault named."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.toolmeta.samples import BASE, running, sample
from toolmeta import registry
from toolmeta.definitions import CatalogueError
from toolmeta.registry import Registry


def extra(**shape: Any) -> dict[str, Any]:
    """The change that adds a parameter `x` of this shape."""
    return {"parameters": {**BASE["parameters"], "x": {"description": "more", **shape}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": "red"}, "colour"),
        ({"run": {**BASE["run"], "argv": ["sample", "{nothing}"]}}, "nothing is not a declared"),
        ({"run": {**BASE["run"], "argv": ["{path}"]}}, "must be the program"),
        ({"run": {**BASE["run"], "argv": [*BASE["run"]["argv"], "{key}"]}}, "secret key must not"),
        ({"run": {**BASE["run"], "call": "x"}}, "neither call nor arguments"),
        ({"run": {"driver": "http", "argv": ["x"], "call": "x"}}, "neither argv"),
        ({"program": None}, "names its program"),
        (extra(type="string"), "x is used nowhere"),
        (extra(type="string", minimum=1), "no effect"),
        (extra(type="array"), "an array needs items"),
        (extra(type="array", items={"type": "string", "format": "host"}), "x lists hosts"),
        ({**extra(type="string"), "targets": ["x"]}, "x of targets is no array"),
        ({"targets": ["absent"]}, "absent is not a declared"),
        ({"any_target": {"absent": []}}, "absent is not a declared"),
        (extra(type="string", format="colour"), "unknown format"),
        (extra(type="string", pattern="["), "unterminated"),
        (extra(type="string", aliases=["path"]), "also another name"),
        (extra(type="string", required=True, default="a"), "no use for a default"),
        ({"one_of": [["path", "absent"]]}, "absent is not a declared"),
        ({"timeout_seconds": float("inf")}, "JSON"),
        ({"estimate_seconds": float("nan")}, "JSON"),
        ({"timeout_seconds": "nan"}, "valid number"),
        (extra(type="number", minimum=float("nan")), "JSON"),
        (extra(type="number", maximum="inf"), "valid number"),
        ({"description": 1}, "description"),
    ],
)  # fmt: skip
def test_wrong_definition_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CatalogueError, match=words):
        sample(**changes)


def test_definition_of_another_file_is_refused() -> None:
    with pytest.raises(CatalogueError, match="states the name automation/sample"):
        registry.read(yaml.safe_dump(BASE), "network", "sample")


def test_names_are_found_in_every_spelling() -> None:
    tool = sample(aliases=["Get-Sample"])
    catalogue = Registry([tool])
    for name in ("sample", "SAMPLE", "get-sample", "Get_Sample", " sample "):
        assert catalogue.get(name) is tool
    assert catalogue.get("simple") is None
    assert catalogue.suggest("simple") == "sample"
    assert catalogue.suggest("get_sampel") == "sample"
    assert catalogue.suggest("qqqq") is None
    assert catalogue.by_domain() == {"automation": (tool,)}


def test_one_name_for_two_tools_is_refused() -> None:
    with pytest.raises(CatalogueError, match="names both"):
        Registry([sample(), sample(name="other", aliases=["Sample"])])


def test_action_class_follows_the_effect_unless_stated() -> None:
    risk = {"effect": "modify", "idempotent": True, "retry_safe": True}
    assert sample().action_class == "read"
    assert sample(risk=risk).action_class == "modify"
    assert sample(risk=risk, action_class="deploy").action_class == "deploy"


def test_wide_needs_an_array() -> None:
    with pytest.raises(CatalogueError, match="wide"):
        running(wide="path")
