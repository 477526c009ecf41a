"""The shape of the codebase: what a reader may rely on."""

from __future__ import annotations

import ast
import re
import statistics
from pathlib import Path

import pytest

from streams import topics
from streams.topology import APPS, EXECUTOR, PROJECTOR, ROUTER, SINK
from tests.architecture.imports import parsed

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "streams",
    "toolmeta",
    "authority",
    "drivers",
    "processors",
    "sinks",
    "runtime",
    "devstack",
    "console",
    "reading",
    "api",
    "web",
)
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: A log line, a document or a metric may spell a topic; the registry is where it is named.
SPELLS_TOPICS = {"streams/topics.py", "streams/topology.py", "streams/asyncapi.py"}


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_files_stay_small() -> None:
    sizes = {str(path.relative_to(ROOT)): _lines(path) for path in SOURCES if _lines(path)}
    assert statistics.median(sizes.values()) < 150
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_folders_stay_shallow() -> None:
    depths = {path: len(path.relative_to(ROOT).parts) for path in SOURCES}
    assert max(depths.values()) <= 5


def test_nothing_is_called_utils() -> None:
    assert [p for p in SOURCES if re.search(r"(utils?|helpers?|common|misc)\.py$", p.name)] == []


def test_topics_are_named_in_the_registry_only() -> None:
    names = set(topics.TOPICS) | set(topics.DEAD_LETTERS)
    found = []
    for path in SOURCES:
        if str(path.relative_to(ROOT)) in SPELLS_TOPICS:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and node.value in names:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}")
    assert found == []


def test_no_shell_and_no_swallowed_error() -> None:
    found = []
    for path in SOURCES:
        text = path.read_text("utf-8")
        if "shell=True" in text or "create_subprocess_shell" in text or "os.system(" in text:
            found.append(f"{path}: a shell")
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or (
                    isinstance(node.type, ast.Name)
                    and node.type.id in ("Exception", "BaseException")
                )
                if broad and all(isinstance(statement, ast.Pass) for statement in node.body):
                    found.append(f"{path}:{node.lineno}: a swallowed error")
    assert found == []


def test_every_topic_has_one_application_that_writes_it() -> None:
    for topic in topics.TOPICS.values():
        # The API writes what people write, and the router sends on what is off its route.
        found = {app.name for app in APPS if topic in app.writes} - {"api"}
        if topic in (topics.PROCEDURES, topics.HOOKS):
            assert found == set()
        elif topic is topics.TRIGGER_COMMANDS:
            assert found == {"matcher", "router"}
        else:
            assert len(found) == 1, topic.name
    assert topics.EVENTS.writers == ("router",)


def test_readers_and_writers_are_applications_or_people() -> None:
    known = {app.name for app in APPS} | {"producers", "operators", "cli", "consumers"}
    for topic in topics.all_topics():
        assert {*topic.readers, *topic.writers} <= known, topic.name


def test_the_apps_subscribe_to_their_declared_edges() -> None:
    from processors.router.app import SOURCES as ROUTER_READS
    from sinks.app import READS as SINK_READS

    by_itself = {
        *(topics.ROUTER_STATE, topics.LOCKS_STATE, topics.SCHEDULES_STATE, topics.TRIGGERS_STATE),
        topics.PROCEDURES,
    }
    assert {*ROUTER_READS, *by_itself} == set(ROUTER.reads)
    assert set(SINK_READS) == set(SINK.reads)
    assert {topics.EVENTS, topics.PROGRESS} == set(PROJECTOR.reads)
    assert {*topics.STEPS.values(), topics.EXECUTORS_CONTROL} == set(EXECUTOR.reads)


def test_topics_that_meet_in_the_router_have_equal_partitions() -> None:
    met = (
        *(topics.REQUESTS, topics.CONTROL, topics.REPORTS, topics.EVENTS, topics.ROUTER_STATE),
        *(topics.LOCK_COMMANDS, topics.LOCK_GRANTS, topics.LOCKS_STATE),
        *(topics.TRIGGER_COMMANDS, topics.TRIGGERS_STATE),
        *(topics.SCHEDULE_COMMANDS, topics.SCHEDULES_STATE),
    )
    assert {topic.partitions for topic in met} == {topics.ROUTER_PARTITIONS}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_machine_path_in_the_sources(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not re.search(r"[\"'](/work/|/root/|/home/\w)", path.read_text("utf-8")), path
