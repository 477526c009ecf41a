"""What the local stack runs once its broker and database are up, as data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from streams.topics import DOMAINS, TEST_DOMAIN

#: What a process is, for the topics that it may read and write.
Role = Literal["router", "executor", "sink", "projector", "matcher", "api"]
KeyName = Literal["router", "executor", "matcher", "api"]
#: Command -> which of the stack's keys it signs with.
_KEYS: Final[dict[str, KeyName]] = {
    "router": "router",
    "executor": "executor",
    "matcher": "matcher",
    "api": "api",
}


class ProcessSpec(BaseModel):
    """A command of the stack: a name for people and an argument list."""

    model_config = ConfigDict(frozen=True)

    name: str
    argv: tuple[str, ...]
    #: Whether it gets DATABASE_URL.
    database: bool = True
    #: Whether it gets RUNSTREAM_ASSETS_DATABASE_URL, the inventory.
    inventory: bool = False
    #: Whether it gets the SECRET_ variables, and the passwords of other systems.
    secrets: bool = True
    #: It logs in to the embedded broker as a user that may do what this role needs; None: as the
    #: owner, who may do everything.
    role: Role | None = None
    #: Those that an executor serves.
    domains: tuple[str, ...] = ()
    #: Which of the stack's keys it signs with.
    key: KeyName | None = None


def console_command(
    name: str,
    *arguments: str,
    database: bool = False,
    inventory: bool = False,
    role: Role | None = None,
) -> ProcessSpec:
    """A `runstream` command, run by this interpreter; it gets no secrets."""
    argv = (sys.executable, "-m", "console", *arguments)
    return ProcessSpec(
        name=name, argv=argv, database=database, inventory=inventory, secrets=False, role=role,
        key=_KEYS.get(arguments[0]),
    )  # fmt: skip


def executor(name: str, domains: Sequence[str]) -> ProcessSpec:
    """An executor of these domains: it alone is given the secrets of steps.

    It looks hosts up in the inventory, except in the `test` domain, which has no hosts.
    """
    words = [word for domain in domains for word in ("--domain", domain)]
    hosts = any(domain != TEST_DOMAIN for domain in domains)
    command = console_command(name, "executor", *words, inventory=hosts, role="executor")
    return command.model_copy(update={"secrets": True, "domains": tuple(domains)})


ROUTER: Final = console_command("router", "router", role="router")
SINK: Final = console_command("sink", "sink", database=True, role="sink")
PROJECTOR: Final = console_command("projector", "projector", role="projector")
MATCHER: Final = console_command("matcher", "matcher", role="matcher")
API: Final = console_command("api", "api", database=True, role="api")

#: Run at the same time, each to its end, before any process starts.
PREPARATION: tuple[ProcessSpec, ...] = (
    console_command("topics-apply", "topics", "apply"),
    console_command("migrate", "migrate", database=True, inventory=True),
)


def processes(*, test_tools: bool = False) -> tuple[ProcessSpec, ...]:
    """What is kept running until the stack is stopped.

    One executor serves every domain: each further process would hold the catalogue and the drivers
    in memory once more. The `test` domain is served only where the caller wants it.
    """
    served = [domain for domain in DOMAINS if test_tools or domain != TEST_DOMAIN]
    return (ROUTER, executor("executor", served), SINK, PROJECTOR, MATCHER, API)
