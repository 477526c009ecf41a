"""Tools by the executor's driver alone, where a broker would add nothing to what is tested.

Each call is bound from its definition and runs as an executor starts it; in a thread of its own,
so that it can have a network or mounts of its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

#: Of sched.h.
NEW_MOUNTS = 0x00020000
NEW_NETWORK = 0x40000000

#: Parameters; or something to do between two calls, in the same thread.
Call = dict[str, Any]
Doing = Callable[[], object]


def outcomes(
    tool: str,
    *calls: Call | Doing,
    as_root: bool = False,
    spaces: int = 0,
    prepare: Callable[[], None] = lambda: None,
    **changed: Any,
) -> list[Outcome]:
    """How each call ends: as a user without rights, or as the user of the tests.

    `changed` are settings of the executor.
    """
    definition = load().get(tool)
    assert definition is not None
    found: list[Outcome] = []
    raised: list[BaseException] = []

    async def run() -> None:
        opened = Resources(settings(root_tools=(tool,) if as_root else (), **changed))
        try:
            for parameters in calls:
                if not isinstance(parameters, dict):
                    parameters()
                    continue
                invocation = bind(definition, parameters)
                assert isinstance(invocation, Invocation), invocation
                found.append(await Run(opened, invocation).outcome())
        finally:
            await opened.close()

    def inside() -> None:
        try:
            if spaces and ctypes.CDLL(None, use_errno=True).unshare(spaces) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            prepare()
            asyncio.run(run())
        except BaseException as error:  # raised below, in the test's own thread
            raised.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(90)
    assert not thread.is_alive()
    if raised and spaces and isinstance(raised[0], OSError):
        pytest.skip(f"no namespace may be made here: {raised[0]}")
    if raised:
        raise raised[0]
    return found


def answer(tool: str, parameters: Call | None = None, **how: Any) -> dict[str, Any]:
    """The output of a call that must succeed."""
    (outcome,) = outcomes(tool, parameters or {}, **how)
    assert isinstance(outcome, Success), f"{outcome}"[:2_000]
    return outcome.output


def failure(tool: str, parameters: Call, **how: Any) -> Failure:
    """How a call fails that must fail."""
    (outcome,) = outcomes(tool, parameters, **how)
    assert isinstance(outcome, Failure), f"{outcome}"[:2_000]
    return outcome


def mounted(source: Path, target: Path) -> Callable[[], None]:
    """Puts a folder in place of another one, in the thread's own mounts."""

    def mount() -> None:
        for words in (["--make-rprivate", "/"], ["--bind", str(source), str(target)]):
            subprocess.run(["mount", *words], check=True, timeout=20)

    return mount


def root_only() -> None:
    """Skips where programs cannot run as another user than the tests."""
    if os.geteuid() != 0:
        pytest.skip("programs run as another user only where the tests are root")
