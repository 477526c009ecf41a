"""What the local stack runs once its broker and database are up, as data."""

from __future__ import annotations

import sys

from pydantic import BaseModel, ConfigDict


class ProcessSpec(BaseModel):
    """A command of the stack: a name for people and an argument list."""

    model_config = ConfigDict(frozen=True)

    name: str
    argv: tuple[str, ...]


def console_command(name: str, *arguments: str) -> ProcessSpec:
    """A `runstream` command, run by this interpreter."""
    return ProcessSpec(name=name, argv=(sys.executable, "-m", "console", *arguments))


#: Run one after another, each to its end, before any process starts.
PREPARATION: tuple[ProcessSpec, ...] = (
    console_command("topics-apply", "topics", "apply"),
    console_command("migrate", "migrate"),
)

#: Kept running until the stack is stopped.
PROCESSES: tuple[ProcessSpec, ...] = (
    console_command("router", "router"),
    console_command("executor-automation", "executor", "--domain", "automation"),
    console_command("executor-communication", "executor", "--domain", "communication"),
    console_command("executor-asset", "executor", "--domain", "asset"),
    console_command("executor-network", "executor", "--domain", "network"),
    console_command("executor-test", "executor", "--domain", "test"),
    console_command("sink", "sink"),
    console_command("projector", "projector"),
)
