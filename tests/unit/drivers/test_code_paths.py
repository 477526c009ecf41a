"""A configuration or a socket that a plan names lies below a folder that the operator named."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.code_paths import refusal
from drivers.context import Failure, Outcome
from drivers.resources import Resources
from runtime.settings import ExecutorSettings, SettingsError, load
from tests.driver_kit import Run, settings
from tests.unit.toolmeta.samples import sample
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.definitions import CatalogueError
from toolmeta.invocation import Invocation
from toolmeta.model import Tool

#: Every parameter of the catalogue that names one.
PARAMETERS = [(tool, name) for tool in registry.load().all() for name in tool.run.code_paths]
EACH = pytest.mark.parametrize(
    ("tool", "name"), PARAMETERS, ids=[f"{tool.name}.{name}" for tool, name in PARAMETERS]
)
SOCKETS = ("engine", "runtime_endpoint")


def call(
    tool: Tool, name: str, path: str, host: str | None = None, *, named: object = "/etc/named"
) -> Invocation:
    """The example of the tool with this path; those that it cannot do without are in `named`."""
    given = {key: value for key, value in tool.example.parameters.items()
             if key not in tool.run.code_paths}  # fmt: skip
    if name == "dockerfile":
        given = {"object": "image", "command": "build", "context": "/srv/web"}
    if name == "kustomization":
        given = {"command": "apply"}
    if name == "inventory":
        del given["hosts"]
    given |= {
        other: f"{named}/needed" for other in tool.run.code_paths if tool.parameters[other].required
    }
    found = bind(tool, {**given, name: f"unix://{path}" if name in SOCKETS else path})
    assert isinstance(found, Invocation), found
    return replace(found, host=host)


def refused(invocation: Invocation, folders: Any, *, here: bool = True) -> str | None:
    async def inside() -> Failure | None:
        resources = Resources(settings(config_folders=folders))
        return await refusal(invocation, Run(resources, invocation).context, here=here)

    found = asyncio.run(inside())
    if found is None:
        return None
    assert found.error_class == "capability_missing" and not found.transient
    return found.message


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    """A folder of the operator's with a file, a folder and a socket in it."""
    folder = tmp_path / "named"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").touch(mode=0o644)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        # Whoever may connect to a socket may write to it.
        (folder / "socket").chmod(0o666)
        yield folder


@EACH
def test_what_is_outside_is_refused_with_the_remedy(
    tool: Tool, name: str, listening: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    (listening / "link").symlink_to(outside)
    (listening / "ring").symlink_to(listening / "ring")
    (tmp_path / "named-too").touch()
    for path in (
        str(outside),
        f"{listening}/../outside",
        f"{listening}/inner/../../outside",
        f"{listening}/link",
        f"{tmp_path}/named-too",
        "/dev/stdin",
        "/dev/../dev/stdin",
        "//dev/fd/0",
        "/proc/self/fd/0",
        "/./proc/self/environ",
        "/tmp",
        "/etc",
    ):
        told = refused(call(tool, name, path, named=listening), str(listening))
        assert told is not None, path
        assert told.startswith(f"{name}: ") and "RUNSTREAM_CONFIG_FOLDERS" in told


@EACH
def test_what_is_below_a_named_folder_is_accepted(tool: Tool, name: str, listening: Path) -> None:
    for inside in ("file", "inner", "socket", "inner//./", "absent", "inner/absent"):
        asked = call(tool, name, f"{listening}/{inside}", named=listening)
        assert refused(asked, str(listening)) is None, inside
    folders = f"/srv/other, {listening}/"
    assert refused(call(tool, name, str(listening), named=listening), folders) is None


@EACH
def test_no_folder_is_named_by_default(tool: Tool, name: str, listening: Path) -> None:
    told = refused(call(tool, name, f"{listening}/file"), "")
    assert told is not None and "RUNSTREAM_CONFIG_FOLDERS" in told


@EACH
def test_on_another_machine_the_text_is_compared(tool: Tool, name: str) -> None:
    for path in ("/etc/kube", "/srv/named", "/etc/named/../x", "/dev/stdin", "/proc/self/fd/0"):
        assert refused(call(tool, name, path), "/etc/named", here=False) is not None, path
    for path in ("/etc/named", "/etc/named/x", "/etc//named/./x"):
        assert refused(call(tool, name, path), "/etc/named", here=False) is None, path


@pytest.mark.parametrize("folder", ["/", "//", "/proc", "/dev/shm", "etc", "/a/../etc", "~/.kube"])
def test_what_cannot_be_named(folder: str) -> None:
    with pytest.raises(SettingsError, match="RUNSTREAM_CONFIG_FOLDERS"):
        load(ExecutorSettings, config_folders=f"/srv/kube, {folder}")


def test_every_file_of_a_kubeconfig_counts(listening: Path, tmp_path: Path) -> None:
    tool = registry.load().get("kubectl_get")
    assert tool is not None
    both = f"{listening}/file:{listening}/inner"
    assert refused(call(tool, "kubeconfig", both), str(listening)) is None
    for other in (f"{tmp_path}/outside", "relative", "/dev/stdin"):
        for text in (f"{listening}/file:{other}", f"{listening}/file::{other}:"):
            assert refused(call(tool, "kubeconfig", text), str(listening)) is not None, text


def test_what_programs_of_steps_could_write_is_refused(listening: Path) -> None:
    tool = registry.load().get("rsyslog")
    assert tool is not None
    found = call(tool, "path", f"{listening}/inner/file")
    (listening / "inner" / "file").touch(mode=0o644)
    for place in ("inner/file", "inner", "."):
        mode = (listening / place).stat().st_mode
        (listening / place).chmod(mode | 0o002)
        told = refused(found, str(listening))
        assert told is not None and "can be written by the programs of steps" in told, place
        (listening / place).chmod(mode)
    assert refused(found, str(listening)) is None
    os.mkfifo(listening / "pipe")
    assert refused(call(tool, "path", f"{listening}/pipe"), str(listening)) is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_files_of_the_users_of_steps_are_refused(listening: Path) -> None:
    from drivers.step_users import FIRST_UID

    tool = registry.load().get("rsyslog")
    assert tool is not None
    found = call(tool, "path", f"{listening}/file")
    os.chown(listening / "file", FIRST_UID + 5, 0)
    assert refused(found, str(listening)) is not None
    os.chown(listening / "file", 12_345, 12_345)
    assert refused(found, str(listening)) is None


def outcome(tool: str, name: str, path: str, marker: Path, **changed: Any) -> Outcome:
    definition = registry.load().get(tool)
    assert definition is not None
    invocation = replace(call(definition, name, path), argv=("touch", str(marker)), **changed)

    async def inside() -> Outcome:
        return await Run(Resources(settings(config_folders="/etc/named")), invocation).outcome()

    return asyncio.run(inside())


@pytest.mark.parametrize("host", [None, "127.0.0.1:1"])
@pytest.mark.parametrize(
    ("tool", "name", "path"),
    [
        ("kubectl_get", "kubeconfig", "/dev/stdin"),
        ("docker_ps", "engine", "/tmp/engine.sock"),
        ("pg_isready", "server", "/tmp"),
    ],
)
def test_no_program_is_started(
    tool: str, name: str, path: str, host: str | None, tmp_path: Path
) -> None:
    marker = tmp_path / "started"
    found = outcome(tool, name, path, marker, host=host)
    assert isinstance(found, Failure) and found.error_class == "capability_missing"
    assert not marker.exists()


def test_hosts_and_addresses_are_no_paths() -> None:
    for name, parameter, text in (
        ("pg_isready", "server", "db-01"),
        ("docker_ps", "engine", "tcp://engine:2375"),
    ):
        tool = registry.load().get(name)
        assert tool is not None
        found = bind(tool, {**tool.example.parameters, parameter: text})
        assert isinstance(found, Invocation) and found.code_paths == ()


def test_the_catalogue_forgets_none() -> None:
    always = {"kubeconfig", "engine", "socket", "config_dir", "runtime_endpoint"}
    for tool in registry.load().all():
        assert always & set(tool.parameters) <= set(tool.run.code_paths), tool.name
    assert len(PARAMETERS) > 35


def test_a_definition_that_forgets_one_is_refused() -> None:
    with pytest.raises(CatalogueError, match="code_paths"):
        risk = {"effect": "modify", "idempotent": True, "retry_safe": True}
        sample(risk={**risk, "raised_by": {"path": "destroy"}})
