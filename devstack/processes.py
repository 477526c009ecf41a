"""What the local stack runs once its broker and database are up, as data."""

from __future__ import annotations

import sys

from pydantic import BaseModel, ConfigDict

from streams.topics import DOMAINS, TEST_DOMAIN

#: The domain of the tools that only tests, benchmarks and the demo need; one of them runs any
#: program that a plan names, without approval.


class ProcessSpec(BaseModel):
    """A command of the stack: a name for people and an argument list."""

    model_config = ConfigDict(frozen=True)

    name: str
    argv: tuple[str, ...]


def console_command(name: str, *arguments: str) -> ProcessSpec:
    """A `runstream` command, run by this interpreter."""
    return ProcessSpec(name=name, argv=(sys.executable, "-m", "console", *arguments))


#: Run at the same time, each to its end, before any process starts.
PREPARATION: tuple[ProcessSpec, ...] = (
    console_command("topics-apply", "topics", "apply"),
    console_command("migrate", "migrate"),
)


def processes(*, test_tools: bool = False) -> tuple[ProcessSpec, ...]:
    """What is kept running until the stack is stopped.

    One executor serves every domain: each further process would hold the catalogue and the drivers
    in memory once more. The `test` domain is served only where the caller wants it.
    """
    served = [domain for domain in DOMAINS if test_tools or domain != TEST_DOMAIN]
    return (
        console_command("router", "router"),
        console_command("executor", "executor", *(w for d in served for w in ("--domain", d))),
        console_command("sink", "sink"),
        console_command("projector", "projector"),
    )
