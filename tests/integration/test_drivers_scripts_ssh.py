"""Commands and scripts of plans over SSH, against a real OpenSSH server."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, command
from tests.integration.ssh_accounts import account, sudoers
from tests.integration.test_drivers_ssh import SSHD, Sshd, alive, running_sshd, sshd
from tests.unit.drivers.test_scripts import HOSTILE, SHOW
from toolmeta import registry, scripts
from toolmeta.bind import bind
from toolmeta.invocation import Invocation

__all__ = ["running_sshd", "sshd"]

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")
HERE = {"allow_commands": "127.0.0.1", "allow_scripts": "127.0.0.0/8"}


def bound(server: Sshd, tool: str, parameters: dict[str, Any]) -> Invocation:
    definition = registry.load().get(tool)
    assert definition is not None
    found = bind(definition, {"host": server.host, **parameters})
    assert isinstance(found, Invocation), found
    return found


def attempt(
    server: Sshd,
    tool: str,
    parameters: dict[str, Any],
    become: dict[str, Any] | None = None,
    **changed: Any,
) -> tuple[Outcome, Run]:
    async def inside() -> tuple[Outcome, Run]:
        resources = Resources(server.settings(**{**HERE, **changed}))
        try:
            run = Run(resources, bound(server, tool, parameters), command(become=become))
            return await run.outcome(60), run
        finally:
            await resources.close()

    return asyncio.run(inside())


def output(found: tuple[Outcome, Run]) -> dict[str, Any]:
    outcome = found[0]
    assert isinstance(outcome, Success), outcome
    return outcome.output


@pytest.mark.parametrize("interpreter", SHOW)
def test_arguments_input_and_variables_arrive_as_they_are(sshd: Sshd, interpreter: str) -> None:
    if shutil.which(interpreter) is None:
        pytest.skip(f"no {interpreter}")
    given = {"script": SHOW[interpreter], "interpreter": interpreter, "arguments": HOSTILE}
    found = attempt(sshd, "script", given)
    assert output(found)["script_sha256"] == scripts.digest(interpreter, SHOW[interpreter])
    assert found[1].output.stdout.decode() == "".join(f"{word}\0" for word in HOSTILE)
    read = {
        "script": 'printf "%s" "$A_VALUE"; cat; echo err >&2; pwd',
        "env": {"A_VALUE": "a\nb !$(id)"},
        "input": "x" * 5_000,
        "cwd": "/usr",
    }
    told = output(attempt(sshd, "script", read))
    assert told["stdout"] == ["a", "b !$(id)" + "x" * 5_000 + "/usr"]
    assert told["stderr"] == ["err"]


def test_words_of_a_command_and_what_is_missing_there(sshd: Sshd) -> None:
    found = attempt(sshd, "command", {"argv": ["printf", "%s\\0", *HOSTILE]})
    assert output(found)["exit_code"] == 0
    assert found[1].output.stdout.decode() == "".join(f"{word}\0" for word in HOSTILE)
    for given in ({"argv": ["no-such-program"]}, {"argv": ["no-such-program"], "cwd": "/"}):
        outcome, _ = attempt(sshd, "command", {**given, "exit_codes": [0, 125, 127]})
        assert isinstance(outcome, Failure) and outcome.error_class == "program_missing"
    outcome, _ = attempt(sshd, "script", {"script": "exit 127"})
    assert isinstance(outcome, Failure) and outcome.error_class == "exit_status"
    assert (outcome.output or {})["exit_code"] == 127
    outcome, _ = attempt(sshd, "script", {"script": "kill -9 $$"})
    assert isinstance(outcome, Failure) and (outcome.output or {})["exit_code"] == -9


@pytest.mark.parametrize("places", ["", "local", "web-*", "192.0.2.0/24"])
def test_nothing_is_connected_to_where_it_is_not_allowed(sshd: Sshd, places: str) -> None:
    log = (sshd.folder / "log").read_bytes()
    for tool, given, setting in (
        ("command", {"argv": ["id"]}, "RUNSTREAM_ALLOW_COMMANDS"),
        ("script", {"script": "id"}, "RUNSTREAM_ALLOW_SCRIPTS"),
    ):
        outcome, _ = attempt(sshd, tool, given, allow_commands=places, allow_scripts=places)
        assert isinstance(outcome, Failure) and outcome.error_class == "capability_missing"
        assert setting in outcome.message and "127.0.0.1" in outcome.message
    assert (sshd.folder / "log").read_bytes() == log


def test_a_script_that_is_cancelled_is_ended_with_what_it_started(
    sshd: Sshd, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    text = 'sleep 600 & echo $! > "$1.new"; echo $$ >> "$1.new"; mv "$1.new" "$1"; sleep 600'

    async def inside() -> dict[str, Any]:
        resources = Resources(sshd.settings(**HERE))
        try:
            given = {"script": text, "arguments": [str(pids)]}
            run = Run(resources, bound(sshd, "script", given))
            return await run.cancelled(pids.exists)
        finally:
            await resources.close()

    evidence = asyncio.run(inside())
    assert evidence["script_sha256"] == scripts.digest("sh", text)
    assert "cancel_unconfirmed" not in evidence
    assert not [pid for pid in map(int, pids.read_text().split()) if alive(pid)]


@pytest.mark.root_only
@pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is missing")
def test_a_script_as_another_user_whom_its_file_belongs_to(sshd: Sshd) -> None:
    text = 'id -un; cat; cat /proc/$$/cmdline | tr "\\0" " "; ls /tmp'
    with account("/bin/bash", key=sshd.public_key) as login:
        rule = f"{login.name} ALL=(ALL) NOPASSWD: ALL\n"
        before = set(os.listdir("/tmp"))  # noqa: PTH208
        with sudoers(rule):
            found = attempt(
                sshd, "script", {"script": text, "input": "typed\n"}, {"user": "nobody"},
                ssh_user=login.name,
            )  # fmt: skip
    lines = output(found)["stdout"]
    assert lines[:2] == ["nobody", "typed"]
    assert "id -un" not in lines[2] and "sh /dev/fd/3" in lines[2]
    assert not {name for name in lines[3:] if name.startswith("tmp.")} - before


@pytest.mark.tried("command", "script", inputs=("large", "long line"))
def test_very_much_output_is_counted_and_bounded(sshd: Sshd) -> None:
    began = time.monotonic()
    for tool, given in (
        ("command", {"argv": ["python3", "-c", "print('x' * 30_000_000)"]}),
        (
            "script",
            {"script": "yes 'a line of a log' | head -c 30000000; yes err | head -3000 >&2"},
        ),
    ):
        found = output(attempt(sshd, tool, given))
        assert found["truncated"] is True
        assert sum(map(len, found["stdout"])) < 5_000_000
        assert "stdout" in found["truncated_fields"] or tool == "command"
        assert len(found["stderr"]) <= 1_000
    assert time.monotonic() - began < 60
