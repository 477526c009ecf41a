"""docs/ssh.md: its commands and documents, against a real OpenSSH server."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers import ssh
from drivers.connections import asset_of, connection_of
from drivers.context import Outcome, Success
from drivers.resources import Resources
from drivers.secret_config import config_of
from drivers.secret_resolver import Resolver
from processors.router.admission import admit
from streams.payloads import Accepted
from streams.plans import ExecutionRequest
from tests.driver_kit import Run, command
from tests.integration.test_drivers_ssh import SSHD, Sshd, sshd
from tests.secret_kit import secret_file
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

__all__ = ["sshd"]

pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh-keyscan") is None, reason="openssh is not installed"
)
PAGE = (Path(__file__).parents[2] / "docs" / "ssh.md").read_text()
HOST = "web-01.example.org"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(one) for one in found]


def invocation(step: dict[str, Any]) -> Invocation:
    tool = load().get(step["tool"])
    assert tool is not None
    bound = bind(tool, step["parameters"])
    assert isinstance(bound, Invocation), bound
    return bound


def outcome(server: Sshd, bound: Invocation, asset: dict[str, Any] | None, **changed: Any) -> Any:
    """Run it at the server: the documented host is the loopback address and port of the test."""

    async def inside() -> Outcome:
        settings = server.settings(**changed)
        opened = Resources(settings, Resolver(config_of(settings, {})))
        try:
            run = Run(opened, bound)
            if asset is None:
                return await run.outcome()
            row = {"ip_address": None, "os_type": None, "service_type": None, **asset}
            where = connection_of(HOST, asset_of(row))
            assert (where.kind, where.name) == ("ssh", HOST)
            where = replace(where, address="127.0.0.1", port=server.port, user=None)
            return await ssh.run(bound, run.context, where)
        finally:
            await opened.close()

    return asyncio.run(inside())


def test_the_page(sshd: Sshd, tmp_path: Path) -> None:
    for block in blocks("console"):
        for line in block.splitlines():
            assert line.startswith("$ "), line
            shown = line[2:].replace(HOST, "127.0.0.1").replace("-p 22", f"-p {sshd.port}")
            words, _, file = shown.partition(" > ")
            done = subprocess.run(
                shlex.split(words), cwd=tmp_path, capture_output=True, timeout=30, check=True
            )
            if file:
                (tmp_path / file).write_bytes(done.stdout)
    with (sshd.folder / "authorized").open("a") as authorized:
        authorized.write((tmp_path / "runstream_key.pub").read_text())
    own = {
        "ssh_key_file": str(tmp_path / "runstream_key"),
        "ssh_known_hosts": str(tmp_path / "known_hosts"),
    }
    plan, asset, *steps = (json.loads(one) for one in blocks("json"))
    for document in (plan, *({"steps": [step]} for step in steps)):
        request = ExecutionRequest.model_validate({"plan": document})
        admitted = admit(request, "hash", "key", load())
        assert isinstance(admitted, Accepted), admitted
        assert not admitted.unknown_fields

    bound = replace(invocation(plan["steps"][0]), host=sshd.host)
    assert isinstance(found := outcome(sshd, bound, None, **own), Success), found
    # With the key of the asset; the executor has none of its own.
    secret_file(tmp_path, "web_key", (tmp_path / "runstream_key").read_text())
    none = {**own, "ssh_key_file": None, "secrets_dir": str(tmp_path)}
    assert isinstance(found := outcome(sshd, bound, asset, **none), Success), found


def test_the_steps_own_key(sshd: Sshd, tmp_path: Path) -> None:
    step = json.loads(blocks("json")[2])
    secret_file(tmp_path, "web_key", (sshd.folder / "client").read_text())

    async def inside() -> Outcome:
        settings = sshd.settings(ssh_key_file=None, secrets_dir=str(tmp_path))
        opened = Resources(settings, Resolver(config_of(settings, {})))
        try:
            bound = replace(invocation(step), host=sshd.host)
            return await Run(opened, bound, command(secrets=step["secrets"])).outcome()
        finally:
            await opened.close()

    found = asyncio.run(inside())
    assert isinstance(found, Success), found
