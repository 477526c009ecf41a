"""Calls of the tools for files: bound as a plan's, run by their driver, and what came of it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.context import Outcome
from drivers.resources import Resources
from runtime.settings import ExecutorSettings
from tests.driver_kit import Run, command, settings
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load


def bound(tool: str, secrets: tuple[str, ...] = (), **parameters: Any) -> Invocation:
    """The call as an executor gets it."""
    found = load().get(tool)
    assert found is not None
    invocation = bind(found, parameters)
    assert isinstance(invocation, Invocation), invocation
    return replace(invocation, secrets=secrets)


def ran(
    configured: ExecutorSettings,
    tool: str,
    secrets: tuple[str, ...] = (),
    step: dict[str, Any] | None = None,
    **parameters: Any,
) -> Outcome:
    """One attempt, of the tenant `acme`."""

    async def inside() -> Outcome:
        opened = Resources(configured)
        try:
            invocation = bound(tool, secrets, **parameters)
            run = Run(opened, invocation, command(**{"tenant": "acme", **(step or {})}))
            return await run.outcome()
        finally:
            await opened.close()

    return asyncio.run(inside())


def own_folders(root: Path) -> ExecutorSettings:
    """An executor with a folder for transfers and a library."""
    (root / "transfer" / "acme").mkdir(parents=True, exist_ok=True)
    (root / "library").mkdir(exist_ok=True)
    return settings(transfer_folders=str(root / "transfer"), library_folders=str(root / "library"))


def sha(data: bytes) -> str:
    """SHA-256, as `sha256sum` has it."""
    return hashlib.sha256(data).hexdigest()


def parts_in(folder: Path) -> list[str]:
    """Files that a put began and left."""
    return [found.name for found in folder.rglob(".runstream-*.part")]


def names_in(folder: Path) -> list[str]:
    """What is in a folder, in order."""
    return sorted(found.name for found in folder.iterdir())
