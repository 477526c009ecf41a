"""Calls of `curl` with files: the folder of a tenant, the call, and what came of it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Outcome
from drivers.resources import Resources
from tests.driver_kit import Run, command
from tests.integration.http_lab import Server, with_server
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

BODY = random.Random(7).randbytes(3_000_001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tenant's part of a folder that the operator named."""
    made = tmp_path / "transfer" / "acme"
    made.mkdir(parents=True)
    return made


def bound(parameters: dict[str, Any]) -> Invocation:
    tool = load().get("curl")
    assert tool is not None
    invocation = bind(tool, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation


def curl(
    folder: Path, replies: dict[str, bytes], path: str = "/it", **parameters: Any
) -> tuple[Outcome, Server]:
    """One call against a server with these answers; the step is one of `acme`."""

    async def body(server: Server, opened: Resources) -> tuple[Outcome, Server]:
        url = f"http://127.0.0.1:{server.port}{path}"
        invocation = bound({"url": url, **parameters})
        return await Run(opened, invocation, command(tenant="acme")).outcome(), server

    found: tuple[Outcome, Server] = with_server(replies, body, transfer_folders=str(folder.parent))
    return found


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
