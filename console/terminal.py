"""The terminal: data goes to stdout, messages for people go to stderr.

Every command prints through here: no text of a plan, a tool or a record controls the terminal.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from reading.text import json_text, plain

if TYPE_CHECKING:
    from rich.console import Console

    from console.exits import Failure

#: Wide enough that ids and sentences are whole when the output is a file or a pipe.
_PIPE_COLUMNS: Final = 160

_STYLES: Final = {
    "succeeded": "green",
    "completed": "green",
    "running": "cyan",
    "cancelling": "magenta",
    "dispatched": "cyan",
    "approved": "cyan",
    "queued": "blue",
    "waiting": "blue",
    "pending": "dim",
    "paused": "yellow",
    "pending_approval": "yellow",
    "partial": "yellow",
    "needs_attention": "bold yellow",
    "lost": "bold yellow",
    "cancelled": "magenta",
    "compensated": "magenta",
    "skipped": "dim",
    "failed": "bold red",
    "timed_out": "bold red",
    "timeout": "bold red",
    "rejected": "bold red",
}


def style(status: str) -> str:
    """The colour of a status, the same everywhere."""
    return _STYLES.get(status, "")


@lru_cache(maxsize=2)
def _console(stderr: bool, width: int | None) -> Console:
    from console.guarded import GuardedConsole

    return GuardedConsole(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def _width(stderr: bool) -> int | None:
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) > 0 else _PIPE_COLUMNS


def out() -> Console:
    """The console for data; NO_COLOR is respected, and colours never reach a pipe."""
    return _console(False, _width(False))


def err() -> Console:
    """The console for messages."""
    return _console(True, _width(True))


def animated() -> bool:
    """Whether messages go to a terminal that can redraw lines."""
    return sys.stderr.isatty() and not err().is_dumb_terminal


def say(message: str, style: str = "") -> None:
    """One message to people."""
    err().print(plain(message), style=style, soft_wrap=True)


def tell(text: str) -> None:
    """One line of text on stdout."""
    sys.stdout.write(plain(text) + "\n")
    sys.stdout.flush()


def raw(text: str) -> None:
    """What a program wrote: to a file or pipe as it is; a terminal must not obey it."""
    sys.stdout.write(plain(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def data(document: Any) -> None:
    """One JSON document on stdout, on one line where it is one of many or goes to a program."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json_text(document, indent) + "\n")
    sys.stdout.flush()


def line(document: Any) -> None:
    """One JSON document on exactly one line of stdout."""
    sys.stdout.write(json_text(document) + "\n")
    sys.stdout.flush()


def print_failure(failure: Failure) -> None:
    """Print why the command ends, and what to do about it."""
    from rich.text import Text

    text = Text().append("error: ", "bold red").append(plain(failure.message))
    err().print(text, soft_wrap=True)
    if failure.remedy:
        err().print(Text().append("  try: ", "dim").append(plain(failure.remedy)), soft_wrap=True)
