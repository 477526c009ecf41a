"""The live board: one line per step while a plan runs, redrawn a few times a second.

It fits any width from 60 columns: step, status and duration are always whole, the message takes
the rest, on a line of its own where that is little. No information is in colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from console import terminal
from console.view import ExecutionView, StepView
from reading.text import brief, one_line, seconds
from runtime.clock import now

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.spinner import Spinner
    from rich.text import Text

_MARKS: Final = {
    "succeeded": "✓",
    "failed": "✗",
    "timed_out": "✗",
    "cancelled": "■",
    "cancelling": "■",
    "skipped": "-",
    "compensated": "↺",
    "lost": "?",
    "needs_attention": "!",
}
_ACTIVE: Final = frozenset({"running", "dispatched", "cancelling"})
#: Lines of the terminal that are not for steps.
_FRAME: Final = 5

#: Widths from which a bar, a tool and an id are shown.
_BAR_FROM: Final = 80
_TOOL_FROM: Final = 100
_ID_FROM: Final = 100
_BAR: Final = 12
_LEAST_MESSAGE: Final = 24


class Board:
    """Draws what `view` holds at the moment of drawing; rich calls it from its own thread."""

    def __init__(self, view: ExecutionView) -> None:
        """Draws nothing yet."""
        from rich.spinner import Spinner

        self._view = view
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        view, width = self._view, options.max_width
        steps = list(view.steps.values())
        room = max(console.height - _FRAME, 3)
        columns = _Columns(steps, width)
        shown = visible(steps, room // 2 if columns.stacked else room)
        yield from headline(view, width)
        yield from _rows(shown, columns, self._spinner)
        if len(steps) > len(shown):
            yield Text(f"  … and {len(steps) - len(shown)} more steps", style="dim")


class _Columns:
    """How wide each column is on a terminal of `width` columns."""

    def __init__(self, steps: list[StepView], width: int) -> None:
        self.bar = _BAR if width >= _BAR_FROM else 0
        self.status = _longest(_status(step) for step in steps)
        self.elapsed = max(_longest(_elapsed(step) for step in steps), 6)
        self.tool = min(_longest(step.tool for step in steps), 20) if width >= _TOOL_FROM else 0
        others = [1, self.tool, self.bar, self.status, self.elapsed]
        left = width - sum(part + 1 for part in others if part)
        longest = _longest(_name(step) for step in steps)
        self.step = min(longest, 24)
        #: Whether messages have lines of their own.
        self.stacked = left - self.step - 1 < _LEAST_MESSAGE
        self.message = width - 4 if self.stacked else left - self.step - 1
        if self.stacked:
            self.step = max(min(longest, left - 1), 8)


def _longest(texts: Iterator[str]) -> int:
    return max((len(text) for text in texts), default=0)


def _rows(steps: list[StepView], columns: _Columns, spinner: Spinner) -> RenderResult:
    from rich.table import Table
    from rich.text import Text

    widths = (1, columns.step, columns.tool, columns.bar, columns.status, columns.elapsed)
    fixed = [width for width in widths if width]
    for step in steps:
        table = Table.grid(padding=(0, 1, 0, 0))
        for width in fixed:
            table.add_column(width=width, no_wrap=True)
        if not columns.stacked:
            table.add_column(width=columns.message, no_wrap=True)
        colour = terminal.style(step.status)
        cells: list[Text | Spinner] = [
            spinner if step.status in _ACTIVE else Text(_MARKS.get(step.status, "·"), style=colour),
            Text(one_line(_name(step), columns.step), style="bold"),
        ]
        if columns.tool:
            cells.append(Text(one_line(step.tool, columns.tool), style="dim"))
        if columns.bar:
            cells.append(Text(bar(step, columns.bar), style=colour))
        cells.append(Text(_status(step), style=colour))
        cells.append(Text(_elapsed(step), style="dim"))
        message = Text(one_line(step.message or brief(step.output), columns.message), style="dim")
        table.add_row(*cells, *([] if columns.stacked else [message]))
        yield table
        if columns.stacked and message:
            yield Text("    ").append(message)


def bar(step: StepView, width: int) -> str:
    """How far the step is, in glyphs that differ without colour."""
    if step.ended:
        return ("·" if step.status in ("skipped", "cancelled") else "█") * width
    if step.percent is not None and step.status in _ACTIVE:
        done = min(width - 1, int(step.percent * width / 100))
        return "█" * done + "▒" + "░" * (width - done - 1)
    return ("▒" if step.status in _ACTIVE else "░") * width


def headline(view: ExecutionView, width: int) -> Iterator[Text]:
    """The execution in one line, and why it waits in another."""
    from rich.text import Text

    done = sum(1 for step in view.steps.values() if step.ended)
    status = view.status.replace("_", " ")
    steps = f"{done}/{len(view.steps)} steps" if view.steps else ""
    ident = f"  {view.execution_id}" if width >= _ID_FROM else ""
    left = width - len(status) - len(steps) - len(ident) - 4
    text = Text(no_wrap=True).append(status, terminal.style(view.status) or "bold")
    text.append(f"  {one_line(view.name or 'plan', max(left, 8))}", style="bold")
    yield text.append(ident, style="dim").append(f"  {steps}", style="dim")
    if not ident:
        yield Text(view.execution_id, style="dim")
    if view.message:
        since = f" (for {seconds(now() - view.wait.since)})" if view.wait is not None else ""
        room = max(width - len(since), 8)
        yield Text(one_line(view.message, room) + since, style="yellow")


def _name(step: StepView) -> str:
    return one_line(step.step, 32)


def _status(step: StepView) -> str:
    again = f" #{step.attempt}" if step.attempt > 1 else ""
    return step.status.replace("_", " ") + again


def _elapsed(step: StepView) -> str:
    if step.seconds is not None and step.ended:
        return seconds(step.seconds)
    if step.started is not None and step.status in ("running", "cancelling"):
        return seconds(now() - step.started)
    if step.wait is not None:
        return seconds(now() - step.wait.since)
    return ""


def visible(steps: list[StepView], room: int) -> list[StepView]:
    """Which steps to show where not all fit: the most urgent, in the order of the plan."""
    if len(steps) <= room:
        return steps
    urgent = {"needs_attention": 0, "lost": 0, "failed": 1, "timed_out": 1}
    active = {"running": 2, "cancelling": 2, "dispatched": 3, "waiting": 4}

    def rank(item: tuple[int, StepView]) -> tuple[int, int]:
        index, step = item
        # Of what has ended, the latest is of most interest; of what has not begun, the next.
        if step.ended and step.status not in urgent:
            return 6, -index
        return urgent.get(step.status, active.get(step.status, 5)), index

    chosen = sorted(enumerate(steps), key=rank)[:room]
    return [step for _, step in sorted(chosen, key=lambda item: item[0])]
