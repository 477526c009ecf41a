"""Tools that are Python programs, through the whole system; and over SSH as another user."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, command
from tests.integration.ssh_accounts import account, sudoers
from tests.integration.test_drivers_ssh import SSHD, Sshd, sshd
from tests.tools.conftest import Execute
from tests.tools.driven import for_everybody
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

__all__ = ["sshd"]


@pytest.fixture
def place() -> Iterator[Path]:
    with for_everybody() as folder:
        yield folder


def test_through_the_whole_system(execute: Execute, place: Path) -> None:
    file = place / "sshd_config"
    file.write_text("#PermitRootLogin yes\n")
    asked = {"path": str(file), "regexp": "^#?PermitRootLogin ", "line": "PermitRootLogin no"}
    for changed in (True, False):
        done = execute("line_in_file", asked)
        assert (done.status, done.output["changed"]) == ("succeeded", changed), done
    assert file.read_text() == "PermitRootLogin no\n"
    packed = execute("archive", {"sources": str(file), "path": str(place / "kept.tar.gz")})
    assert packed.output["entries"] == 1
    gone = execute("line_in_file", {**asked, "path": str(place / "gone")})
    assert (gone.status, gone.error_class) == ("failed", "not_found")
    assert gone.error["message"].endswith("gone: is not there; create: true makes it")


@pytest.mark.skipif(
    SSHD is None or shutil.which("sudo") is None, reason="openssh-server or sudo is missing"
)
@pytest.mark.root_only
def test_over_ssh_as_another_user(sshd: Sshd, place: Path) -> None:
    """The login itself may not: what is done is root's, and each second call does nothing."""
    file, key = place / "closed", sshd.public_key
    file.write_text("a\n")
    file.chmod(0o600)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("line_in_file", {"path": str(file), "line": "b"}),
        ("archive", {"sources": str(file), "path": str(place / "a.tar")}),
        ("unarchive", {"path": str(place / "a.tar"), "destination": str(place / "out")}),
        ("rsync", {"source": f"{place}/out/", "destination": f"{place}/copy/"}),
    ]
    with (
        account("/bin/bash", key=key) as login,
        sudoers(f"{login.name} ALL=(ALL) NOPASSWD: ALL\n"),
    ):

        async def run(tool: str, parameters: dict[str, Any], **become: Any) -> Outcome:
            definition = load().get(tool)
            assert definition is not None
            invocation = bind(definition, parameters)
            assert isinstance(invocation, Invocation), invocation
            opened = Resources(sshd.settings(ssh_user=login.name))
            try:
                there = replace(invocation, host=sshd.host)
                return await Run(opened, there, command(**become)).outcome()
            finally:
                await opened.close()

        denied = asyncio.run(run(*calls[0]))
        assert getattr(denied, "error_class", "") == "capability_missing", denied
        for tool, parameters in calls:
            for changed in (True, False):
                done = asyncio.run(run(tool, parameters, become={"user": "root"}))
                assert isinstance(done, Success), (tool, done)
                assert done.output["changed"] is changed, tool
        package = asyncio.run(run("package", {"names": "dpkg"}, become={"user": "root"}))
        assert isinstance(package, Success) and package.output["changed"] is False
    assert (place / "copy/closed").read_text() == "a\nb\n"
