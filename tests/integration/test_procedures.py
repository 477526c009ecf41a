"""Procedures on real parts: a folder, the command line, routers, Postgres."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from authority.key_folder import OPERATOR
from console.cli import main
from console.exits import Exit
from streams.ids import partition_for, route_key
from streams.procedures import digest_of
from streams.topics import DEAD_LETTERS, PROCEDURES, ROUTER_PARTITIONS, STEPS
from tests.brokers import client_options, environment
from tests.harness import Harness
from tests.integration.router_lab import RouterLab, router_lab
from tests.integration.sink_lab import eventually
from tests.integration.test_router_group import USED

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]

#: What a router of plans with tools of the catalogue needs more than one of test tools.
AUTOMATION = [
    one
    for lane in ("bulk", "immediate")
    for topic in [STEPS["automation", lane]]
    for one in (topic, DEAD_LETTERS[topic.name])
]


def write(folder: Path, version: int, **more: Any) -> dict[str, Any]:
    plan = {
        "name": "list-folder", "version": version,
        "inputs": {"path": {"pattern": "/.*"}, "all": {"type": "boolean", "default": False}},
        "steps": [{"tool": "ls", "parameters": {"path": "{{ inputs.path }}"}}],
        **more,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "list.yaml").write_text(json.dumps(plan))
    return plan


@pytest.fixture
def lab(
    kafka: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """Two routers whose cluster has no topic of procedures, and the command line beside them."""
    prefix = topics(*USED, *AUTOMATION)
    monkeypatch.chdir(tmp_path)
    with router_lab(kafka, prefix, tmp_path) as made:
        settings = {
            **environment(kafka),
            "RUNSTREAM_TOPIC_PREFIX": prefix,
            "RUNSTREAM_SIGNING_KEY": str(made.keys.folder.private(OPERATOR)),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        for name in ("router-1", "router-2"):
            # Not that of the tests' own stack, by which everybody may apply.
            made.start(name, policy=ROOT / "authority" / "default_policy.yaml")
        made.until(lambda: len(made.members()) == 2 and all(made.members().values()), "joined")
        yield made


def keys_of(partitions: Iterable[int]) -> Iterator[str]:
    """An idempotency key for a request that is decided in each of these partitions."""
    for wanted in partitions:
        while True:
            key = uuid.uuid4().hex
            route = route_key("default", key).encode()
            if partition_for(route, ROUTER_PARTITIONS) == wanted:
                yield key
                break


def accepted(lab: RouterLab, answer: str) -> dict[str, Any]:
    ident = json.loads(answer)["execution_id"]
    lab.until(lambda: bool(lab.log.events[ident]), "accepted")
    first: dict[str, Any] = lab.log.events[ident][0]
    return first


def test_a_request_right_after_an_apply_finds_it_on_every_router(
    lab: RouterLab, kafka: str, capsys: Capture
) -> None:
    folder = Path("procedures")
    submit = ["submit", "--procedure", "list-folder", "--json"]
    lab.produce(orjson.dumps({"procedure": "list-folder", "idempotency_key": "early"}))
    lab.flush()
    # Without the topic a request of a procedure is refused, and stops no other.
    lab.until(lambda: len(lab.log.events) == 1, "refused")
    (refused,) = next(iter(lab.log.events.values()))
    assert refused["type"] == "execution.rejected"
    assert "runstream topics apply" in refused["data"]["message"]
    name = lab.prefix + PROCEDURES.name
    new = NewTopic(name, PROCEDURES.partitions, 1, config=PROCEDURES.config())
    admin = AdminClient(client_options(kafka))
    try:
        admin.create_topics([new])[name].result(60)
        # Requests go to partitions of both routers, each right after another version.
        for version, key in enumerate(keys_of((0, 7, 1, 6)), 1):
            plan = write(folder, version, description=f"version {version}")
            assert main(["procedures", "apply", str(folder), "--yes"]) == Exit.OK
            capsys.readouterr()
            assert main([*submit, "--key", key, "--set", f"path=/tmp/{version}"]) == Exit.OK
            event = accepted(lab, capsys.readouterr().out)
            assert event["type"] == "execution.accepted", event
            told = event["data"]["procedure"]
            assert (told["version"], told["digest"]) == (str(version), digest_of(plan))
            assert event["data"]["plan"]["steps"][0]["parameters"] == {"path": f"/tmp/{version}"}
        # The same file again changes nothing; other content under the same version is refused.
        assert main(["procedures", "apply", str(folder)]) == Exit.OK
        assert "0 applied, 0 removed, 1 unchanged" in capsys.readouterr().err
        write(folder, 4, description="something else")
        assert main(["procedures", "apply", str(folder), "--yes"]) == Exit.FAILED
        assert "has changed, and its version is still 4" in capsys.readouterr().err
        # What nobody signed takes its place on the topic, and does not run.
        record = {"tenant": "default", "name": "list-folder", "version": "9", "actor": "ops",
                  "plan": {"inputs": {"path": {}}, "steps": [{"tool": "ls"}]}}  # fmt: skip
        lab.produce(orjson.dumps(record), b"default/list-folder", PROCEDURES.name)
        lab.flush()
        assert main([*submit, "--inputs", _inputs({"path": "/"})]) == Exit.REJECTED
        assert "applied by somebody who may not" in capsys.readouterr().err
        write(folder, 9)
        assert main(["procedures", "apply", str(folder), "--yes", "--again"]) == Exit.FAILED
        write(folder, 10)
        assert main(["procedures", "apply", str(folder), "--yes"]) == Exit.OK
        assert main([*submit, "--inputs", _inputs({"path": "/"})]) == Exit.OK
        capsys.readouterr()
        # Removed with --prune only.
        (folder / "list.yaml").rename(folder / "old.txt")
        (folder / "other.yaml").write_text("name: other\nversion: 1\nsteps: [{tool: uptime}]\n")
        assert main(["procedures", "apply", str(folder), "--yes"]) == Exit.OK
        assert "stays; --prune removes it" in capsys.readouterr().err
        assert main(["procedures", "apply", str(folder), "--yes", "--prune"]) == Exit.OK
        capsys.readouterr()
        assert main([*submit, "--inputs", _inputs({"path": "/"})]) == Exit.REJECTED
        assert "there is no procedure 'list-folder'" in capsys.readouterr().err
        assert main(["procedures", "list", "--json"]) == Exit.OK
        assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["other"]
    finally:
        admin.delete_topics([name])[name].result(60)


def _inputs(values: dict[str, Any]) -> str:
    Path("inputs.yaml").write_text(json.dumps(values))
    return "inputs.yaml"


def test_what_ran_is_in_the_tables_and_is_shown(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    stack = harness.stack
    servers = stack.bootstrap_servers
    monkeypatch.chdir(tmp_path)
    settings = {
        **environment(servers),
        "DATABASE_URL": stack.database_url,
        "RUNSTREAM_SIGNING_KEY": str(stack.keys.private(OPERATOR)),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "seen").mkdir()
    plan = write(tmp_path / "procedures", 3)
    # Whatever else is applied to the stack of the session is not removed.
    assert main(["procedures", "apply", "procedures", "--yes"]) == Exit.OK
    assert main(["procedures", "show", "list-folder"]) == Exit.OK
    assert "version 3" in capsys.readouterr().out
    key = uuid.uuid4().hex
    run = ["run", "--procedure", "list-folder", "--version", "3", "--set", f"path={tmp_path}"]
    assert main([*run, "--key", key, "--json"]) == Exit.OK
    ident = json.loads(capsys.readouterr().out)["execution_id"]
    with psycopg.connect(stack.database_url) as connection:
        query = (
            "SELECT procedure, procedure_version, procedure_digest, plan -> 'inputs' "
            "FROM execution.executions WHERE execution_id = %s"
        )

        def row() -> Any:
            connection.rollback()
            return connection.execute(query, (ident,)).fetchone()

        eventually(lambda: row() is not None, "the row of the execution")
        found = row()
    values = {"path": str(tmp_path), "all": False}
    assert found == ("list-folder", "3", digest_of(plan), values)
    assert main(["show", ident]) == Exit.OK
    assert "list-folder version 3" in capsys.readouterr().out
    # One clear sentence, and nothing runs.
    assert main([*run[:3], "--set", "path=relative"]) == Exit.REJECTED
    assert '"relative" does not match /.*' in capsys.readouterr().err
    assert main([*run[:2], "list-foldr"]) == Exit.REJECTED
    assert "did you mean list-folder?" in capsys.readouterr().err
