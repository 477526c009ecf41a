"""What the code imports is what pyproject.toml declares, no less and no more."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PRODUCT = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
#: Folders of ours that are not installed.
OWN = {*PRODUCT, "tests", "bench", "demo"}
DISTRIBUTIONS = packages_distributions()

#: Declared and never imported by name: why.
NOT_IMPORTED = {
    "cramjam": "aiokafka reads and writes compressed records with it",
}
#: Brought by a declared one, in the version that fits it: an extra of it, or its other half.
BROUGHT = {"psycopg-pool": "psycopg", "pydantic-core": "pydantic"}


def _name(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _declared(*extras: str) -> set[str]:
    project = PROJECT["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return {_name(line) for line in lines}


def _imported(folder: str) -> dict[str, str]:
    """Distribution → a file that imports it, for everything that is neither ours nor Python's."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top in OWN or top in sys.stdlib_module_names:
                    continue
                for distribution in DISTRIBUTIONS.get(top, [top]):
                    normal = distribution.lower().replace("_", "-")
                    normal = BROUGHT.get(normal, normal)
                    found.setdefault(normal, str(file.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("folder", PRODUCT)
def test_the_product_declares_what_it_imports(folder: str) -> None:
    extras = {"devstack": ("local",), "drivers": ("network",)}.get(folder, ())
    undeclared = {
        name: file for name, file in _imported(folder).items() if name not in _declared(*extras)
    }
    assert undeclared == {}


def test_the_product_imports_what_it_declares() -> None:
    imported = {name for folder in PRODUCT for name in _imported(folder)}
    assert _declared() - imported - set(NOT_IMPORTED) == set()


@pytest.mark.parametrize(
    ("folder", "extras"), [("demo", ("local", "demo")), ("tests", ("local", "network", "dev"))]
)
def test_what_is_not_installed_declares_its_imports_too(
    folder: str, extras: tuple[str, ...]
) -> None:
    undeclared = {
        name: file for name, file in _imported(folder).items() if name not in _declared(*extras)
    }
    assert undeclared == {}
