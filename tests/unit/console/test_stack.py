"""`up`, `down` and `status` from the terminal, without any server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from devstack.errors import LocalStackError
from devstack.identity import start_mark
from devstack.state import StackStatus, StateFolder

PASSWORD = "kept-from-the-screen"
OPTIONS = {"bootstrap.servers": "127.0.0.1:15000", "sasl.password": "of-the-broker"}
API = "http://127.0.0.1:15002"
URL = f"postgresql://runstream:{PASSWORD}@127.0.0.1:15001/runstream"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder whose supervisor is this process, so that the stack counts as running."""
    state = StateFolder(tmp_path / "state")
    state.make()
    state.write(
        StackStatus(
            supervisor_pid=os.getpid(),
            supervisor_mark=start_mark(os.getpid()),
            phase="ready",
            error=None,
            bootstrap_servers="127.0.0.1:15000",
            database_url=URL,
            progress=(),
            processes=(),
            client_options=dict(OPTIONS),
            api_url=API,
        )
    )
    return state.path


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["up", "--detach"]])
def test_the_password_of_the_database_is_not_printed(
    folder: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--state-dir", str(folder)]) == 0
    printed = capfd.readouterr()
    assert PASSWORD not in printed.out + printed.err
    assert "postgresql://runstream:***@127.0.0.1:15001/runstream" in printed.out


def test_people_and_programs_are_told_where_the_api_is(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--state-dir", str(folder)]) == 0
    assert API in capfd.readouterr().out
    assert main(["status", "--json", "--state-dir", str(folder)]) == 0
    assert json.loads(capfd.readouterr().out)["api_url"] == API


def test_programs_are_told_how_to_log_in(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--state-dir", str(folder)]) == 0
    assert json.loads(capfd.readouterr().out)["client_options"] == OPTIONS


def test_programs_are_told_the_brokers_of_the_environment_where_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example.org:9092")
    monkeypatch.setenv("RUNSTREAM_KAFKA_OPTIONS", '{"sasl.username": "me"}')
    assert main(["status", "--json", "--state-dir", str(tmp_path)]) == 1
    assert json.loads(capfd.readouterr().out)["client_options"] == {
        "bootstrap.servers": "kafka.example.org:9092",
        "sasl.username": "me",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("command", ["status", "up", "down"])
def test_the_stack_of_somebody_else_is_left_alone(
    command: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.chown(folder / "stack.json", 65_534, 65_534)
    assert main([command, "--state-dir", str(folder)]) == 1
    assert "stack.json belongs to another user" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["up", "--detach"]])
def test_the_password_of_the_broker_is_not_on_the_screen(
    folder: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--state-dir", str(folder)]) == 0
    printed = capfd.readouterr()
    assert OPTIONS["sasl.password"] not in printed.out + printed.err


def test_the_password_is_printed_where_it_is_asked_for(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--json", "--show-secrets", "--state-dir", str(folder)]) == 0
    assert json.loads(capfd.readouterr().out)["database_url"] == URL
    assert main(["status", "--show-secrets", "--state-dir", str(folder)]) == 0
    assert URL in capfd.readouterr().out


def test_a_url_of_the_environment_is_masked_where_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://db.example.org/x?password={PASSWORD}&user=y")
    assert main(["status", "--json", "--state-dir", str(tmp_path)]) == 1
    assert json.loads(capfd.readouterr().out)["database_url"] == "postgresql://db.example.org/x?***"


def test_only_the_owner_reads_the_file_that_holds_the_password(folder: Path) -> None:
    assert (folder / "stack.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("words", "variable", "served"),
    [([], None, False), (["--test-tools"], None, True), ([], "true", True), ([], "false", False)],
)
def test_up_serves_the_test_tools_on_purpose_only(
    words: list[str],
    variable: str | None,
    served: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    class FakeStack:
        def __init__(self, state_dir: Path, *, test_tools: bool, **options: Any) -> None:
            asked.append(test_tools)

        def start(self, *, detach: bool) -> bool:
            raise LocalStackError("not in this test")

    monkeypatch.setattr("devstack.stack.LocalStack", FakeStack)
    if variable is not None:
        monkeypatch.setenv("RUNSTREAM_TEST_TOOLS", variable)
    assert main(["up", "--detach", "--state-dir", str(tmp_path), *words]) == 1
    assert asked == [served]


@pytest.mark.parametrize(
    ("words", "variable", "served"),
    [
        ([], None, "dev"),
        (["--environment", "production"], None, "prod"),
        ([], "staging", "staging"),
        (["--environment", "dev"], "prod", "dev"),
    ],
)
def test_up_says_what_its_executors_serve(
    words: list[str],
    variable: str | None,
    served: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    class FakeStack:
        def __init__(self, state_dir: Path, *, environment: str, **options: Any) -> None:
            asked.append(environment)

        def start(self, *, detach: bool) -> bool:
            raise LocalStackError("not in this test")

    monkeypatch.setattr("devstack.stack.LocalStack", FakeStack)
    monkeypatch.delenv("RUNSTREAM_ENVIRONMENT")
    if variable is not None:
        monkeypatch.setenv("RUNSTREAM_ENVIRONMENT", variable)
    assert main(["up", "--detach", "--state-dir", str(tmp_path), *words]) == 1
    assert asked == [served]


def test_up_refuses_an_environment_that_it_does_not_know(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", "--environment", "live", "--state-dir", str(tmp_path)]) == 2
    assert "'live' is not dev, staging or prod" in capfd.readouterr().err
