"""The ways to show an execution while it runs: a live board, a line per event, JSON lines, none."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from console import terminal
from console.board import Board
from console.view import ExecutionView
from reading.sentences import document, sentence
from reading.text import clock, seconds
from streams.events import Event

#: Redraws per second of the board.
_RATE: Final = 10

#: Events whose line would only repeat the next one.
_QUIET_TYPES: Final = frozenset({"step.dispatched", "execution.queued", "execution.rejected"})

_STYLES: Final = {
    "succeeded": "green",
    "completed": "green",
    "failed": "bold red",
    "timed_out": "bold red",
    "rejected": "bold red",
    "needs_attention": "bold yellow",
    "lost": "bold yellow",
    "approval_requested": "yellow",
    "paused": "yellow",
    "partial": "yellow",
    "retry_scheduled": "yellow",
    "cancel_requested": "magenta",
    "cancelled": "magenta",
}


#: Seconds from which it is said how long a wait took that is over.
_WORTH_SAYING: Final = 0.1


class Display:
    """Shows the events of one execution as they come; `frame()` is entered while they do."""

    def __init__(self, view: ExecutionView, *, jsonl: bool, quiet: bool) -> None:
        """JSON lines where requested, else a board on a terminal, else lines."""
        self._view = view
        self._jsonl = jsonl
        self._silent = quiet or jsonl
        self.live = not self._silent and terminal.animated()

    def frame(self) -> AbstractContextManager[Any]:
        """The live board while it is entered; nothing otherwise."""
        if not self.live:
            return nullcontext()
        from rich.live import Live

        return Live(
            Board(self._view),
            console=terminal.err(),
            refresh_per_second=_RATE,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def event(self, event: Event) -> None:
        """Show one event that was not seen before."""
        if self._jsonl:
            terminal.line(document(event))
        elif not self._silent and not self.live and self._worth(event):
            kind = event.type.partition(".")[2]
            told = f"{clock(event.unix())}  {sentence(event)}{self._waited()}"
            terminal.say(told, _STYLES.get(kind, ""))

    def _worth(self, event: Event) -> bool:
        return event.type not in _QUIET_TYPES or bool(self._waited())

    def _waited(self) -> str:
        """How long what has just ended took, where it was a wait."""
        if self._view.over is None:
            return ""
        wait, took = self._view.over
        if took < _WORTH_SAYING:
            return ""
        return f" (after {seconds(took)} of waiting: {wait.reason.replace('_', ' ')})"

    def note(self, message: str, style: str = "") -> None:
        """Show a message that is no event."""
        if not self._silent:
            terminal.say(message, style)
