"""The `library` driver: scapy and pyshark, each in a process of its own, by declared operations.

Both are optional. They run apart from the executor because they are slow to load, keep global
state, and (scapy) carry another licence; and because a process can be ended.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from drivers import local
from drivers.capture_source import about, source
from drivers.capturing import missing, tcpdump
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.values import fitting
from toolmeta.invocation import Invocation

_READERS: Final = Path(__file__).parent.parent / "readers"


class LibraryDriver:
    """Reads a capture through a Python library."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Capture if an interface is named, then let the reader report."""
        library, values = str(invocation.call), invocation.arguments
        if importlib.util.find_spec(library) is None:
            message = f"{library} is not installed on this executor: pip install runstream[network]"
            return fail(invocation, "program_missing", message)
        problem = missing(invocation, "tshark", raw=False) if library == "pyshark" else None
        if problem is not None:
            return problem
        argv = [] if values.get("capture") else tcpdump(values, values.get("filter"))
        async with source(invocation, context, argv) as opened:
            if isinstance(opened, Failure):
                return opened
            path, origin = opened
            outcome = await local.run(
                replace(
                    invocation,
                    driver="command",
                    argv=reader_argv(library, values, str(path)),
                    # Neither is to read or write settings in the user's home.
                    env={"LC_ALL": "C.UTF-8", "TZ": "UTC", "XDG_CONFIG_HOME": "/nonexistent"},
                    parser="json",
                ),
                context,
            )
            if isinstance(outcome, Failure):
                return outcome
            data: dict[str, Any] = outcome.output.get("data") or {}
            extra = about(origin, kept=bool(values.get("keep")))
            return Success(fitting({**extra, "exit_code": 0, **data}))


def reader_argv(library: str, values: dict[str, Any], path: str) -> tuple[str, ...]:
    """The reader as a program; `-P` keeps its folder out of the import path."""
    argv = [sys.executable, "-P", str(_READERS / f"{library}_reader.py")]
    argv += [f"--operation={values['operation']}", f"--limit={values['limit']}"]
    argv.append(f"--packets={values['packets']}")
    if values.get("display_filter"):
        argv.append(f"--display-filter={values['display_filter']}")
    return (*argv, "--", path)
