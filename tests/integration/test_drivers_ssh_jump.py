"""Hosts that are reached through others: several real OpenSSH servers with keys of their own."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from drivers.secret_config import config_of
from drivers.secret_resolver import Resolver
from streams.hosts import StepConnection
from tests.driver_kit import Run, command
from tests.integration.test_drivers_ssh import SSHD, Sshd, running_sshd
from tests.secret_kit import secret_file
from toolmeta.invocation import Invocation

pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ss") is None, reason="openssh-server or iproute2 is missing"
)

#: Who has the other end of the connection, and which process is whose child.
SCRIPT = """
set -- $SSH_CONNECTION
ss --no-header --tcp --numeric --processes "sport = :$2"
echo --
ps -e -o pid= -o ppid=
"""
KEY = {"type": "secret", "path": "file/jump"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Sshd]]:
    """The host, then two on the way; each has a key for logins of its own."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_sshd(tmp_path_factory.mktemp(name), "LogLevel VERBOSE"))
            for name in ("host", "first", "second")
        ]


def attempt(
    servers: list[Sshd], folder: Path, connection: dict[str, Any], **more: Any
) -> tuple[Outcome, Run]:
    host, first, second = servers
    known = folder / "known"
    if not known.exists():
        known.write_text("".join((one.folder / "known_hosts").read_text() for one in servers))
    secret_file(folder, "jump", (first.folder / "client").read_text())
    secret_file(folder, "other", (second.folder / "client").read_text())

    async def inside() -> tuple[Outcome, Run]:
        settings = host.settings(ssh_known_hosts=str(known), secrets_dir=str(folder))
        opened = Resources(settings, Resolver(config_of(settings, {})))
        try:
            given = {"host": host.host, **more}
            invocation = Invocation("argv", "command", argv=("sh", "-c", SCRIPT), **given)
            run = Run(opened, invocation, command(connection=connection, tenant="default"))
            return await run.outcome(30), run
        finally:
            await opened.close()

    return asyncio.run(inside())


def came_from(outcome: Outcome) -> list[int]:
    """The process at the other end of the host's connection, its parent, that one's, and so on."""
    assert isinstance(outcome, Success), outcome
    sockets, _, processes = outcome.output["text"].partition("--\n")
    rows = (line.split() for line in processes.splitlines())
    parents = {int(pid): int(parent) for pid, parent in rows}
    pids = [int(found) for found in re.findall(r"pid=(\d+)", sockets)]
    assert pids, outcome
    chain = pids[:1]
    while (parent := parents.get(chain[-1], 0)) > 1:
        chain.append(parent)
    return chain


def logins(server: Sshd) -> int:
    return (server.folder / "log").read_text().count("Accepted publickey")


def test_through_two_hosts(servers: list[Sshd], tmp_path: Path) -> None:
    _, first, second = servers
    before = [logins(server) for server in servers]
    other = {"type": "secret", "path": "file/other"}
    jump = [
        {"host": first.host, "user": getpass.getuser(), "key": KEY},
        {"host": "127.0.0.1", "port": second.port, "key": other},
    ]
    outcome, _ = attempt(servers, tmp_path, {"jump": jump})
    assert second.pid in came_from(outcome)
    assert [logins(server) for server in servers] == [count + 1 for count in before]


def test_every_host_key_is_checked(servers: list[Sshd], tmp_path: Path) -> None:
    host, first, _ = servers
    jump = {"jump": [{"host": first.host, "key": KEY}]}
    lines = {one.port: (one.folder / "known_hosts").read_text() for one in servers}
    wrong = lines[host.port].split(" ", 1)[1]
    for index, (known, wanted) in enumerate(
        [
            (lines[host.port], "host_key_unknown"),
            (lines[first.port], "host_key_unknown"),
            (lines[host.port] + f"[127.0.0.1]:{first.port} {wrong}", "host_key_changed"),
        ]
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "known").write_text(known)
        outcome, _ = attempt(servers, folder, jump)
        assert isinstance(outcome, Failure)
        assert outcome.error_class == wanted


def test_ways_that_lead_nowhere(servers: list[Sshd], tmp_path: Path) -> None:
    host, first, _ = servers
    closed = tmp_path / "closed"
    closed.mkdir()

    def failure(*jump: Any, **more: Any) -> Failure:
        found, run = attempt(servers, tmp_path, {"jump": list(jump)}, **more)
        assert isinstance(found, Failure), found
        assert (run.context.stop.ended, run.context.stop.effect) == (True, "none")
        return found

    own = {"host": first.host, "key": KEY}
    assert failure(first.host).error_class == "login_refused"  # by the executor's own key
    absent = failure({**own, "key": {"type": "secret", "path": "file/none"}})
    assert absent.error_class == "secret_missing"
    metadata = failure({"host": "169.254.169.254"})
    assert metadata.error_class == "refused_address"
    behind = failure(own, host="169.254.169.254")
    assert behind.error_class == "refused_address"
    refused = failure(own, host="127.0.0.1:1")
    assert refused.error_class == "unreachable" and "jump host" in refused.message
    nowhere = failure({"host": "no-such-host.invalid"})
    assert nowhere.error_class == "unreachable"
    port = failure({"host": first.host, "port": 1})
    assert port.error_class == "invalid_parameters"
    with running_sshd(closed, "AllowTcpForwarding no") as server:
        lines = [(one / "known_hosts").read_text() for one in (closed, host.folder)]
        (tmp_path / "known").write_text("".join(lines))
        secret_file(tmp_path, "key", (closed / "client").read_text())
        key = {"type": "secret", "path": "file/key"}
        forbidden = failure({"host": server.host, "key": key})
    assert forbidden.error_class == "unreachable" and "jump host" in forbidden.message


def test_port_and_user_of_the_step(servers: list[Sshd], tmp_path: Path) -> None:
    host = servers[0]
    outcome, _ = attempt(servers, tmp_path, {"port": host.port}, host="127.0.0.1")
    assert os.getpid() in came_from(outcome)
    outcome, _ = attempt(servers, tmp_path, {"user": "no-such-user"})
    assert isinstance(outcome, Failure)
    assert outcome.message.endswith("refuses the login of no-such-user")
    outcome, _ = attempt(servers, tmp_path, {"port": 1})
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "invalid_parameters"


def test_what_a_plan_may_write() -> None:
    stated = StepConnection.model_validate({"jump": ["bastion:2222", {"host": "inner"}]})
    assert stated.jump is not None
    assert [jump.host for jump in stated.jump] == ["bastion:2222", "inner"]
