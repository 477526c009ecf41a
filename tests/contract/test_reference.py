"""The generated reference: deterministic, complete, and what is committed is what is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from console import docs
from console.cli import main
from streams.payloads import EVENT_TYPES
from streams.topics import all_topics

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    return docs.build()


@pytest.fixture(scope="module")
def asyncapi(built: dict[str, str]) -> dict[str, Any]:
    # In Python alone it takes seconds.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, Any] = yaml.load(built["asyncapi.yaml"], Loader=loader)
    return document


def test_building_twice_gives_the_same(built: dict[str, str]) -> None:
    assert docs.build() == built


def test_what_is_committed_is_what_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["docs", "check", "--folder", str(REFERENCE)])
    assert code == 0, capsys.readouterr().err


def test_a_drifted_missing_or_leftover_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["docs", "generate", "--folder", str(tmp_path)]) == 0
    assert main(["docs", "check", "--folder", str(tmp_path)]) == 0
    with (tmp_path / "topics.md").open("a") as file:
        file.write("by hand\n")
    (tmp_path / "events.md").unlink()
    (tmp_path / "schemas" / "old.schema.json").write_text("{}")
    capsys.readouterr()
    assert main(["docs", "check", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "topics.md differs" in said
    assert "events.md is missing" in said
    assert "old.schema.json describes nothing" in said
    assert main(["docs", "generate", "--folder", str(tmp_path)]) == 0
    assert main(["docs", "check", "--folder", str(tmp_path)]) == 0


def test_every_topic_is_a_channel_with_its_kafka_binding(asyncapi: dict[str, Any]) -> None:
    assert asyncapi["asyncapi"] == "3.0.0"
    assert set(asyncapi["channels"]) == {topic.name for topic in all_topics()}
    for topic in all_topics():
        kafka = asyncapi["channels"][topic.name]["bindings"]["kafka"]
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"]["cleanup.policy"] == topic.cleanup.split(",")


def test_every_reference_of_the_document_leads_somewhere(
    asyncapi: dict[str, Any], built: dict[str, str]
) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [found for item in value.values() for found in references(item)]
        return (
            [found for item in value for found in references(item)]
            if value and isinstance(value, list)
            else []
        )

    found = references(asyncapi)
    assert found
    for reference in found:
        if reference.startswith("#/"):
            place: Any = asyncapi
            for part in reference[2:].split("/"):
                place = place[part]
        else:
            json.loads(built[reference.removeprefix("./")])


def test_every_event_type_and_every_variable_has_its_place(built: dict[str, str]) -> None:
    for kind in EVENT_TYPES:
        assert f"\n## {kind}\n" in built["events.md"]
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "RUNSTREAM_DEDUP_HOURS"):
        assert built["settings.md"].count(f"`{name}`") == 1
