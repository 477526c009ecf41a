"""Fake Windows hosts (tests/fakes/psrp), and a tool run by its driver against them.

No Windows was available. What is real: the definitions, the driver, pypsrp, TLS, NTLM with its
message encryption. What is canned: everything that PowerShell says.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from drivers.context import Outcome, Success
from drivers.resources import Resources
from tests import driver_kit
from tests.certificates import Authority
from tests.driver_kit import Run
from tests.fakes.psrp import security
from tests.fakes.psrp.canned import canned
from tests.fakes.psrp.server import FakeWindows
from tests.fakes.psrp.shells import Answers
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


def attempt(invocation: Invocation, ca_file: Path) -> tuple[Outcome, Run]:
    """One attempt to its end, which trusts this authority."""

    async def inside() -> tuple[Outcome, Run]:
        resources = Resources(driver_kit.settings(winrm_ca_file=str(ca_file)))
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


@dataclass
class Lab:
    """A certificate authority and the fake hosts that a test starts."""

    authority: Authority
    made: list[FakeWindows]

    def host(self, answers: Answers | None = None, *, tls: bool = True, **more: Any) -> FakeWindows:
        """A fake host, closed at the end of the test."""
        context = self.authority.server("127.0.0.1") if tls else None
        self.made.append(FakeWindows(context, answers=answers or canned, **more))
        return self.made[-1]

    def attempt(self, invocation: Invocation) -> Any:
        """One attempt that trusts the lab's authority."""
        return attempt(invocation, self.authority.ca_file)
