"""What is published is accepted by the tools that others use: AsyncAPI's parser and ajv, strict."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from console import docs
from streams.schemas import FILES
from tests import node_kit

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated documents, as this code builds them."""
    folder = tmp_path_factory.mktemp("reference")
    for name, content in docs.build().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_the_asyncapi_parser_accepts_the_document(reference: Path) -> None:
    parsed = subprocess.run(
        ["node", "parse-asyncapi.mjs", str(reference / "asyncapi.yaml")],
        cwd=node_kit.installed(),
        capture_output=True,
        text=True,
    )
    assert parsed.returncode == 0, parsed.stderr


def validate(reference: Path, records: dict[str, list[Any]]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "validate-records.mjs", str(reference / "schemas")],
        cwd=node_kit.installed(),
        input=json.dumps(records),
        capture_output=True,
        text=True,
    )


def test_ajv_strict_compiles_every_schema_and_accepts_every_example(reference: Path) -> None:
    examples: dict[str, list[Any]] = defaultdict(list)
    for path in files("streams").joinpath("examples").iterdir():
        if path.name.endswith(".json"):
            examples[path.name.partition(".")[0]].append(json.loads(path.read_bytes()))
    assert set(examples) == set(FILES.values())
    found = validate(reference, examples)
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"{sum(map(len, examples.values()))} records\n"


NO_SUCH_RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("execution-request", {"steps": []}),
    ("execution-request", {"plan": {}, "steps": [{"tool": "df"}]}),
    ("control-command", {"type": "explode", "execution_id": "x", "actor": "ops"}),
    ("report", {"type": "started", "execution_id": "x"}),
    ("event", {"execution_id": "x", "seq": 0, "type": "execution.started"}),
    ("cancel-step", {}),
]


@pytest.fixture(scope="module")
def faults(reference: Path) -> list[str]:
    """What ajv says about all of them, a line for each."""
    given: dict[str, list[Any]] = defaultdict(list)
    for schema, record in NO_SUCH_RECORDS:
        given[schema].append(record)
    found = validate(reference, given)
    assert found.returncode == 1
    return found.stderr.splitlines()


@pytest.mark.parametrize(("schema", "record"), NO_SUCH_RECORDS)
def test_ajv_refuses_what_is_no_such_record(faults: list[str], schema: str, record: Any) -> None:
    text = json.dumps(record, separators=(",", ":"))
    assert [
        f for f in faults if f.startswith(f"{schema}.schema.json: ") and f.endswith(f": {text}")
    ]
