"""One call of a tool for files in a process of its own, which says how much memory it took.

Started with JSON: `settings`, `warm` and `calls`, each a tool with its parameters. It prints a line
of JSON for each call: the outcome, and the most memory that the process ever had, in bytes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from drivers.context import Failure
from drivers.resources import Resources
from tests.driver_kit import Run, command, settings
from tests.files_kit import bound


async def main(given: dict[str, Any]) -> None:
    """Make the calls."""
    opened = Resources(settings(**given["settings"]))
    for tool, parameters in given["calls"]:
        outcome = await Run(opened, bound(tool, **parameters), command(tenant="acme")).outcome(600)
        failed = isinstance(outcome, Failure)
        said = {"failed": failed, "output": outcome.output, "most": most_memory()}
        sys.stdout.write(json.dumps({**said, "message": getattr(outcome, "message", None)}) + "\n")
        sys.stdout.flush()
    await opened.close()


def most_memory() -> int:
    """VmHWM of this process, as the kernel counts it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
