"""An executor without rights, of a German environment: a process that runs calls as its own user.

`python -m tests.tools.odd.unprivileged` reads the calls from stdin as JSON, by tool, and writes how
each ended to stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drivers.context import Failure, Outcome
from tests.integration.ssh_accounts import Account
from tests.tools.odd.german import ENVIRONMENT
from tests.tools.odd.place import Place

_ROOT = Path(__file__).parents[3]
#: For all calls together; most of it are clients of clouds, which are programs in Python.
_SECONDS = 100


@dataclass(frozen=True)
class Ended:
    """How a call ended: its class, empty where it succeeded, its message and its output."""

    ends: str
    message: str
    output: dict[str, Any] = field(default_factory=dict)


def ended(outcome: Outcome) -> Ended:
    """The same in a form that passes between processes."""
    if isinstance(outcome, Failure):
        return Ended(outcome.error_class, outcome.message, outcome.output or {})
    return Ended("", "", dict(outcome.output))


def outcomes(
    calls: Mapping[str, dict[str, Any]], place: Place, account: Account
) -> dict[str, Ended]:
    """How each call ends where the executor's own process is this account's."""
    asked = {"calls": calls, "place": {**asdict(place), "folder": str(place.folder)}}
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(_ROOT), "HOME": str(account.home)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.odd.unprivileged"],
        input=json.dumps(asked), text=True, capture_output=True, timeout=_SECONDS,
        user=account.name, group=account.name, extra_groups=[], env=environment, cwd=_ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    return {tool: Ended(**told) for tool, told in json.loads(done.stdout).items()}


def main() -> None:
    """What stands at the top of this file."""
    from tests.tools.odd import logins

    asked = json.load(sys.stdin)
    told = asked["place"]
    place = Place(**{**told, "folder": Path(told["folder"])})
    found = logins.outcomes(asked["calls"], place, logins.Way(), logins.executor(place))
    json.dump({tool: asdict(ended(outcome)) for tool, outcome in found.items()}, sys.stdout)


if __name__ == "__main__":
    main()
