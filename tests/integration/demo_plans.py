"""The plans of the demo as a user runs them: the command line, on the stack of the tests."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from authority.key_folder import OPERATOR
from console.cli import main
from tests.brokers import environment
from tests.harness import Harness

PLANS = Path(__file__).parents[2] / "demo" / "plans"


class Runner:
    """Runs plans with inputs, and keeps the events of each."""

    def __init__(self, harness: Harness, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.harness = harness
        self._inputs = folder / "inputs.json"
        stack = harness.stack
        patch.chdir(folder)
        for name, value in {
            **environment(stack.bootstrap_servers),
            "DATABASE_URL": stack.database_url,
            "RUNSTREAM_SIGNING_KEY": str(stack.keys.private(OPERATOR)),
        }.items():
            patch.setenv(name, value)

    def run(self, name: str, inputs: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
        """The exit code of `runstream run`, and what came on the event topic."""
        self._inputs.write_text(json.dumps(inputs))
        key = uuid.uuid4().hex
        words = ["run", str(PLANS / name), "--inputs", str(self._inputs), "--key", key, "--json"]
        code = main(words)
        (ident,) = self.harness.wait_ended({key}).values()
        self.harness.check_log([ident])
        return code, self.harness.log.events[ident]


def errors_of(events: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The message of each step that failed for good."""
    return {
        event["step"]: event["data"]["error"]["message"]
        for event in events
        if event["type"] == "step.failed" and event["data"]["final"]
    }


def ran(events: Sequence[dict[str, Any]]) -> list[str]:
    """The steps that an executor began, in their order."""
    began = (event["step"] for event in events if event["type"] == "step.started")
    return list(dict.fromkeys(began))


def port_of_all(addresses: Sequence[str]) -> int:
    """A port that is free at each of these addresses."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = int(probe.getsockname()[1])
    for address in addresses:
        with socket.socket() as probe:
            probe.bind((address, port))
    return port
