"""Running operations of the camera tools, through the whole system or by the driver alone."""

from __future__ import annotations

import asyncio
from typing import Any

from drivers.context import Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.fakes.camera import Camera
from tests.tools.conftest import Execute, Result
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

PASSWORD = "canary-password"


class On:
    """Runs operations of the tools on one camera; every one must succeed."""

    def __init__(self, execute: Execute, camera: Camera) -> None:
        self._execute = execute
        self.camera = camera

    def __call__(self, tool: str, operation: str, **parameters: Any) -> dict[str, Any]:
        result = self.result(tool, operation, **parameters)
        assert result.status == "succeeded", result
        assert result.output["operation"] == operation
        assert PASSWORD not in repr(result.output)
        return result.output

    def result(self, tool: str, operation: str, **parameters: Any) -> Result:
        given = self.camera.given(operation=operation, **parameters)
        return self._execute(f"axis_vapix_{tool}", given)


def succeed(camera: Camera, tool: str, **parameters: Any) -> Run:
    """An attempt that must succeed."""
    run, outcome = attempt(camera, tool, **parameters)
    assert isinstance(outcome, Success), outcome
    return run


def attempt(
    camera: Camera, tool: str, allow: bool = True, **parameters: Any
) -> tuple[Run, Outcome]:
    """One attempt without the broker, with settings that a running executor cannot be given."""
    found = load().get(tool)
    assert found is not None
    invocation = bind(found, camera.given(**parameters))
    assert isinstance(invocation, Invocation), invocation

    async def inside() -> tuple[Run, Outcome]:
        opened = Resources(settings(allow_private_addresses=allow))
        try:
            run = Run(opened, invocation)
            return run, await run.outcome()
        finally:
            await opened.close()

    return asyncio.run(inside())
