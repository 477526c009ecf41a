"""The live board: one line per step while a plan runs, drawn anew a few times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from console import terminal
from console.text import brief, one_line, seconds
from console.view import ExecutionView, StepView
from runtime.clock import now

if TYPE_CHECKING:
    from rich.console import RenderableType

_MARKS: Final = {
    "succeeded": "✓",
    "failed": "✗",
    "timed_out": "✗",
    "cancelled": "■",
    "skipped": "-",
    "compensated": "↺",
    "lost": "?",
    "needs_attention": "!",
    "waiting": "·",
    "pending": "·",
    "paused": "·",
}
#: Lines of the terminal that are not for steps.
_FRAME: Final = 5


class Board:
    """Draws what `view` holds at the moment of drawing; rich calls it from its own thread."""

    def __init__(self, view: ExecutionView) -> None:
        """Draw nothing yet."""
        from rich.spinner import Spinner

        self._view = view
        self._spinner = Spinner("dots", style="cyan")

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        view = self._view
        steps = list(view.steps.values())
        shown = visible(steps, max(terminal.err().height - _FRAME, 3))
        table = Table.grid(padding=(0, 1))
        for column in range(7):
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1 if column == 6 else None)
        for step in shown:
            colour = terminal.style(step.status)
            running = step.status in ("running", "dispatched")
            mark = self._spinner if running else Text(_MARKS.get(step.status, "·"), style=colour)
            ended = step.ended or step.percent is not None
            bar = ProgressBar(
                total=100 if ended or not running else None,
                completed=100 if step.ended else step.percent or 0,
                width=16,
                pulse=running and step.percent is None,
                complete_style=colour or "green",
                finished_style=colour or "green",
                pulse_style="cyan",
            )
            again = f" #{step.attempt}" if step.attempt > 1 else ""
            table.add_row(
                mark,
                Text(one_line(step.step, 32), style="bold"),
                Text(one_line(step.tool, 24), style="dim"),
                bar,
                Text(step.status.replace("_", " ") + again, style=colour),
                Text(_elapsed(step), style="dim"),
                Text(one_line(step.message or brief(step.output)), style="dim"),
            )
        lines: list[RenderableType] = [headline(view), table]
        if len(steps) > len(shown):
            lines.append(Text(f"  … and {len(steps) - len(shown)} more steps", style="dim"))
        return Group(*lines)


def headline(view: ExecutionView) -> RenderableType:
    """The execution in one line."""
    from rich.text import Text

    done = sum(1 for step in view.steps.values() if step.ended)
    text = Text().append(view.status.replace("_", " "), terminal.style(view.status) or "bold")
    text.append(f"  {one_line(view.name or 'plan', 60)}", style="bold")
    text.append(f"  {view.execution_id}", style="dim")
    if view.steps:
        text.append(f"  {done}/{len(view.steps)} steps", style="dim")
    if view.message:
        text.append(f"  {one_line(view.message)}", style="yellow")
    return text


def _elapsed(step: StepView) -> str:
    if step.seconds is not None and step.ended:
        return seconds(step.seconds)
    if step.started is not None and step.status == "running":
        return seconds(now() - step.started.timestamp())
    return ""


def visible(steps: list[StepView], room: int) -> list[StepView]:
    """Which steps to show where not all fit: what needs eyes first, in the order of the plan."""
    if len(steps) <= room:
        return steps
    urgent = {"needs_attention": 0, "lost": 0, "failed": 1, "timed_out": 1}
    active = {"running": 2, "dispatched": 3, "waiting": 4}

    def rank(item: tuple[int, StepView]) -> tuple[int, int]:
        index, step = item
        # Of what has ended, the latest is of most interest; of what has not begun, the next.
        if step.ended and step.status not in urgent:
            return 6, -index
        return urgent.get(step.status, active.get(step.status, 5)), index

    chosen = sorted(enumerate(steps), key=rank)[:room]
    return [step for _, step in sorted(chosen, key=lambda item: item[0])]
