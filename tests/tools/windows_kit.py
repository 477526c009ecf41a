"""A Windows tool run by its driver against the fake host."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from drivers.context import Outcome, Success
from drivers.resources import Resources
from tests import driver_kit
from tests.driver_kit import Run
from tests.fakes.psrp import security
from tests.fakes.psrp.server import FakeWindows
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.invocation import Invocation


def login(fake: FakeWindows, **changed: Any) -> dict[str, Any]:
    """The parameters that lead to the fake."""
    return {
        "host": "127.0.0.1",
        "port": fake.port,
        "user": security.USER,
        "password": security.PASSWORD,
        "auth": "basic",
        **changed,
    }


def bound(tool: str, parameters: dict[str, Any]) -> Invocation:
    """The invocation of a tool of the catalogue."""
    found = registry.load().get(tool)
    assert found is not None
    invocation = bind(found, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation


def attempt(
    invocation: Invocation, ca_file: Path | None = None, **settings: Any
) -> tuple[Outcome, Run]:
    """One attempt to its end."""

    async def inside() -> tuple[Outcome, Run]:
        named = {"winrm_ca_file": str(ca_file)} if ca_file is not None else {}
        resources = Resources(driver_kit.settings(**named, **settings))
        try:
            run = Run(resources, invocation)
            return await run.outcome(60), run
        finally:
            await resources.close()

    return asyncio.run(inside())


def output(tool: str, outcome: Outcome) -> dict[str, Any]:
    """The output of a success, which fits the definition's schema."""
    assert isinstance(outcome, Success), outcome
    found = registry.load().get(tool)
    assert found is not None
    Draft202012Validator(found.output).validate(outcome.output)
    return outcome.output
