"""The `library` driver: scapy and pyshark, each in a process of its own, by declared operations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drivers import local
from drivers.captures.capturing import (
    KeptErrors,
    missing,
    not_permitted,
    tcpdump,
)
from drivers.captures.sentences import explained
from drivers.captures.source import about, source
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.readers.program import ENVIRONMENT, not_installed, reader_argv
from toolmeta.invocation import Invocation


class LibraryDriver:
    """Reads a capture through a Python library."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Capture if an interface is named, then run the reader."""
        context.not_acting()
        library, values = str(invocation.call), invocation.arguments
        problem = not_installed(invocation, library)
        problem = problem or not_permitted(invocation, context, library, raw=False)
        if problem is None and library == "pyshark":
            problem = missing(invocation, context, "tshark", raw=False)
        if problem is not None:
            return problem
        argv = tcpdump(values, values.get("filter")) if values.get("interface") else []
        # Of a record that was cut off pyshark makes a crash, and scapy a packet.
        async with source(invocation, context, argv, plain=True) as opened:
            if isinstance(opened, Failure):
                return opened
            path, origin = opened
            stderr = KeptErrors(context.output)
            outcome = await local.run(
                replace(
                    invocation,
                    driver="command",
                    argv=reader_argv(library, *_arguments(values, str(path))),
                    env=ENVIRONMENT,
                    parser="json",
                ),
                replace(context, output=stderr),
            )
            if isinstance(outcome, Failure):
                return explained(invocation, outcome, stderr.tail)
            data: dict[str, Any] = outcome.output.get("data") or {}
            extra = about(origin, kept=bool(values.get("keep")))
            return Success({**extra, "exit_code": 0, **data})


def _arguments(values: dict[str, Any], path: str) -> tuple[str, ...]:
    found = [f"--operation={values['operation']}", f"--limit={values['limit']}"]
    found.append(f"--packets={values['packets']}")
    if values.get("display_filter"):
        found.append(f"--display-filter={values['display_filter']}")
    return (*found, "--", path)
