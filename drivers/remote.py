"""The two small POSIX shell programs that run on the host of an SSH connection."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

from drivers.processes import MARK

#: Of what the host says about its processes.
MOST_ANSWERED: Final = 64 * 1024
#: Written by the starter, to tell its failure from output of the program.
NO_PROGRAM: Final = "runstream: no such program here"
_PID: Final = re.compile(r"[0-9]{1,10}")

# The environment, with the mark of the attempt, comes over stdin, so that the host's process
# list shows no value. `read` takes single bytes from a pipe, so what follows is left for the
# program. A connection that ends before the empty line starts nothing. `exec` makes the program
# the leader of the session that sshd made for it.
_STARTER: Final = f"""
while IFS= read -r line || exit 125; do [ -n "$line" ] || break; export "$line"; done
command -v "$1" >/dev/null 2>&1 || {{ echo '{NO_PROGRAM}' >&2; exit 127; }}
exec "$@"
"""

# Finds the attempt's processes by their mark; prints the pids that it signals, then those left.
_STOPPER: Final = f"""
mark=$1 rounds=$2
[ -r /proc/self/environ ] || {{ echo unsupported; exit 0; }}
marked() {{ grep -lszxF "{MARK}=$mark" /proc/[0-9]*/environ | tr -dc '0-9\\n'; }}
pids=$(marked)
echo ended $pids
[ -z "$pids" ] || kill -TERM $pids 2>/dev/null
round=0
while [ -n "$(marked)" ] && [ $round -lt $rounds ]; do sleep 0.2; round=$((round + 1)); done
round=0
while pids=$(marked) && [ -n "$pids" ] && [ $round -lt 10 ]; do
  kill -KILL $pids 2>/dev/null; sleep 0.1; round=$((round + 1))
done
echo left $(marked)
"""


def start_line(argv: tuple[str, ...]) -> str:
    """The command line that starts `argv`, for the login shell of the host; every word quoted."""
    return shlex.join(("exec", "/bin/sh", "-c", _STARTER, "sh", *argv))


def environment_header(mark: str, env: dict[str, str]) -> bytes:
    """What the starter reads before the program's own stdin; raises ValueError for a line break.

    A value with a line break would end its line and could set another variable.
    """
    lines = [f"{MARK}={mark}", *(f"{name}={value}" for name, value in env.items())]
    if any("\n" in line for line in lines):
        raise ValueError("an environment variable holds a line break")
    return "".join(f"{line}\n" for line in (*lines, "")).encode()


def stop_line(mark: str, grace_seconds: float) -> str:
    """The command line that ends every process of `mark`, by SIGKILL after the grace."""
    rounds = str(int(grace_seconds / 0.2))
    return shlex.join(("exec", "/bin/sh", "-c", _STOPPER, "sh", mark, rounds))


@dataclass(frozen=True, slots=True)
class Stopped:
    """What the stopper found."""

    supported: bool
    ended: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    complete: bool = False


def parse_stopped(text: str) -> Stopped:
    """What the stopper printed; incomplete where its last line is missing."""
    words = {line.partition(" ")[0]: line.split()[1:] for line in text.splitlines() if line}
    if "unsupported" in words:
        return Stopped(supported=False)
    return Stopped(
        supported=True,
        ended=tuple(int(word) for word in words.get("ended", ()) if _PID.fullmatch(word)),
        left=tuple(int(word) for word in words.get("left", ()) if _PID.fullmatch(word)),
        complete="left" in words,
    )
