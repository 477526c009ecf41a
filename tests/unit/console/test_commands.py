"""Commands that need no server, and what every command has in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console import endpoints
from console.cli import main
from console.exits import Exit
from console.explain import waves
from streams.admitted import AdmittedStep

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and an environment that names no server."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "KAFKA_BOOTSTRAP_SERVERS",
        "RUNSTREAM_KAFKA_OPTIONS",
        "DATABASE_URL",
        "RUNSTREAM_STATE_DIR",
    ):
        # Set first, so that what a command adopts is undone, too.
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)


def stack_file(content: str) -> None:
    Path(".runstream").mkdir()
    Path(".runstream/stack.json").write_text(content)


STACK: dict[str, Any] = {
    "bootstrap_servers": "127.0.0.1:1234",
    "database_url": "postgresql://h/d",
    "pid": 1,
}


def test_a_local_stack_fills_what_the_environment_leaves_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack_file(json.dumps(STACK))
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine/db")
    endpoints.adopt_local_stack()
    assert os.environ["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:1234"
    assert os.environ["DATABASE_URL"] == "postgresql://mine/db"


LOGIN = {
    "bootstrap.servers": "127.0.0.1:1234",
    "sasl.username": "runstream",
    "sasl.password": "kept",
}


def test_the_login_of_the_local_stack_is_used_with_its_address() -> None:
    stack_file(json.dumps({**STACK, "client_options": LOGIN}))
    # The login that it may hold is for another broker.
    os.environ["RUNSTREAM_KAFKA_OPTIONS"] = '{"session.timeout.ms": 6000, "sasl.mechanisms": "X"}'
    endpoints.adopt_local_stack()
    options = json.loads(os.environ["RUNSTREAM_KAFKA_OPTIONS"])
    assert options == {
        "session.timeout.ms": 6000,
        "sasl.username": "runstream",
        "sasl.password": "kept",
    }


def test_a_process_of_the_local_stack_keeps_its_own_login() -> None:
    stack_file(json.dumps({**STACK, "client_options": LOGIN}))
    own = '{"sasl.username": "local-router", "sasl.password": "of-the-router"}'
    os.environ["KAFKA_BOOTSTRAP_SERVERS"] = STACK["bootstrap_servers"]
    os.environ["RUNSTREAM_KAFKA_OPTIONS"] = own
    endpoints.adopt_local_stack()
    assert os.environ["RUNSTREAM_KAFKA_OPTIONS"] == own
    # Nor is it given a database that it does not need.
    assert "DATABASE_URL" not in os.environ


def test_no_other_broker_is_shown_the_login_of_the_local_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack_file(json.dumps({**STACK, "client_options": LOGIN}))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example.org:9092")
    endpoints.adopt_local_stack()
    assert "RUNSTREAM_KAFKA_OPTIONS" not in os.environ


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_stack_file_of_somebody_else_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    # An option of a client may name a library to load.
    stack_file(json.dumps({**STACK, "client_options": {**LOGIN, "plugin.library.paths": "x"}}))
    os.chown(".runstream/stack.json", 65_534, 65_534)
    assert main(["topics", "show"]) == Exit.USAGE
    assert "stack.json belongs to another user" in capsys.readouterr().err
    # Who names all servers does not need it.
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1234")
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine/db")
    endpoints.adopt_local_stack()
    assert "RUNSTREAM_KAFKA_OPTIONS" not in os.environ


def test_the_rights_are_printed_for_people_programs_and_kafka(capsys: Capture) -> None:
    assert main(["topics", "acls"]) == Exit.OK
    assert "runstream-executor-asset-*" in capsys.readouterr().out
    assert main(["topics", "acls", "--format", "json"]) == Exit.OK
    found = {one["user"] for one in json.loads(capsys.readouterr().out)}
    assert {"router", "executor-network", "sink", "projector", "people", "admin"} <= found
    assert main(["topics", "acls", "--format", "kafka-acls"]) == Exit.OK
    assert (
        "kafka-acls.sh --bootstrap-server localhost:9092 --command-config admin.properties --add "
        "--allow-principal User:people --operation Write --topic execution.requests\n"
    ) in capsys.readouterr().out


def test_without_a_stack_nothing_is_set() -> None:
    endpoints.adopt_local_stack()
    assert "KAFKA_BOOTSTRAP_SERVERS" not in os.environ


def test_a_broken_stack_file_is_said(capsys: Capture) -> None:
    stack_file("{")
    assert main(["topics", "show"]) == Exit.USAGE
    assert "stack.json cannot be read" in capsys.readouterr().err


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("RUNSTREAM_TOPIC_PREFX", "a.")
    assert main(["topics", "show"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "RUNSTREAM_TOPIC_PREFX is not a setting" in said
    assert "RUNSTREAM_TOPIC_PREFIX" in said


def test_an_executor_that_was_not_told_its_environment_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.delenv("RUNSTREAM_ENVIRONMENT")
    assert main(["executor", "--domain", "asset"]) == Exit.USAGE
    assert "RUNSTREAM_ENVIRONMENT is not set: dev, staging or prod" in capsys.readouterr().err


def test_an_executor_beside_a_local_stack_serves_what_the_stack_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RUNSTREAM_ENVIRONMENT")
    stack_file('{"environment": "staging"}')
    endpoints.adopt_local_stack()
    assert os.environ["RUNSTREAM_ENVIRONMENT"] == "staging"


def test_a_database_that_is_away_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/runs")
    assert main(["list"]) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert "Postgres does not answer at 127.0.0.1:1/runs (DATABASE_URL)" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "No such command"),
        (["run"], "give the file of a plan, or --procedure NAME"),
        (["watch", "abc"], "'abc' is no execution id"),
        (["list", "--status", "happy"], "'happy' is no status"),
        (["list", "--limit", "0"], "--limit"),
        (["executor", "--domain", "moon"], "there is no domain moon"),
        (["executor"], "--domain"),
        (["tools", "show", "no_such_tool_at_all"], "there is no tool"),
        (["run", "p.yaml", "--timeout", "0"], "--timeout"),
    ],
)
def test_a_usage_error_exits_2_and_says_why(
    arguments: list[str], said: str, capsys: Capture
) -> None:
    assert main(arguments) == Exit.USAGE
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_the_version_is_printed(capsys: Capture) -> None:
    assert main(["--version"]) == Exit.OK
    assert capsys.readouterr().out.startswith("runstream ")


def test_explain_says_every_problem_and_runs_nothing(capsys: Capture) -> None:
    plan = {"steps": [{"id": "a", "tool": "no_such_tool_x"}, {"id": "a", "tool": "sleep"}]}
    Path("plan.json").write_text(json.dumps(plan))
    assert main(["explain", "plan.json"]) == Exit.REJECTED
    said = capsys.readouterr().err
    assert "plan.steps[0].tool" in said
    assert "plan.steps[1].id" in said
    assert main(["explain", "plan.json", "--json"]) == Exit.REJECTED
    document = json.loads(capsys.readouterr().out)
    assert document["admitted"] is False
    assert {problem["field"] for problem in document["problems"]} >= {"plan.steps[0].tool"}


def test_waves_are_what_may_run_at_once() -> None:
    def step(name: str, *after: str) -> AdmittedStep:
        return AdmittedStep(name, "noop", "test", {}, 1, 1, 1, 1, 1, True, depends_on=after)

    steps = [step("c", "a", "b"), step("a"), step("b"), step("d", "c"), step("e")]
    assert [[item.id for item in group] for group in waves(steps)] == [
        ["a", "b", "e"],
        ["c"],
        ["d"],
    ]
    assert waves([]) == []


def _help_and_modules(*words: str) -> tuple[str, set[str]]:
    """What `--help` of a command prints, and every module that it loaded."""
    code = (
        "import sys; from console.cli import main; main(sys.argv[1:]);"
        " print(*sys.modules, file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return found.stdout, set(found.stderr.split())


#: Each takes longer to load than the rest of `--help`.
HEAVY = {
    *("asyncssh", "cel", "confluent_kafka", "cryptography", "faust", "httpx", "psycopg"),
    *("pydantic", "requests", "rich", "yaml"),
}


@pytest.mark.parametrize("words", [(), ("run",), ("up",), ("tools",), ("dlq", "redrive")])
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    _, loaded = _help_and_modules(*words)
    # Typer itself reads the options of a command with pydantic.
    assert HEAVY & loaded <= ({"pydantic"} if words else set())


#: The libraries of drivers, each loaded with the first step that needs it.
OF_DRIVERS = {
    *("aiosmtplib", "asyncssh", "boto3", "cel", "faust", "httpx", "kubernetes", "psycopg"),
    *("pypsrp", "requests", "scapy"),
}


@pytest.mark.parametrize(
    ("app", "further"),
    [
        ("processors.executors.app", set()),
        ("processors.router.app", {"cel"}),
        ("sinks.app", {"psycopg"}),
        ("processors.progress.app", {"faust"}),
    ],
)
def test_a_process_starts_with_its_own_libraries_only(app: str, further: set[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {app}; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    loaded = set(found.stdout.split())
    assert loaded & OF_DRIVERS <= further
    if app == "processors.executors.app":
        drivers = {module for module in loaded if module.startswith("drivers.")}
        assert not drivers & {"drivers.command", "drivers.local", "drivers.http.driver"}


def test_help_is_plain_and_says_each_command_in_whole_sentences() -> None:
    printed, _ = _help_and_modules()
    assert "\x1b[" not in printed
    for command in ("run", "submit", "watch", "explain", "rerun", "resolve", "topics", "executor"):
        assert f"\n  {command} " in printed
    assert "...\n" not in printed.partition("COMMAND")[2].partition("\n")[2]
    assert " docs " not in printed
