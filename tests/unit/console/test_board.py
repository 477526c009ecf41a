"""What the live board shows on terminals of every width, with and without colours."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from console.board import Board, bar, visible
from console.view import ExecutionView, StepView
from runtime.clock import now

IDENT = "01a1f7c1-4180-8a94-9234-56783662e997"
WIDTHS = (60, 80, 110, 160)
_STYLES = re.compile(r"\x1b\[[0-9;]*m")


def executed() -> ExecutionView:
    """A step in every state that differs on the board, with names and messages of any length."""
    steps = [
        StepView("disk", "df", "succeeded", 1, seconds=0.21, output={"text": "x" * 4000, "n": 1}),
        StepView("restart_all_web_servers", "systemctl", "running", 2, started=now() - 125),
        StepView("upload", "scp", "running", 1, 60.0, "file 12 of 20 " * 9, started=now() - 3),
        StepView(
            "scan", "nmap", "failed", 3, seconds=12.2, message="web-01 refused the connection"
        ),
        StepView("ask", "http", "needs_attention", 1, message="nobody knows what became of it"),
        StepView("undo", "slack_cli", "skipped", message="the condition is false"),
        StepView("stop", "slack_cli", "cancelling", 1, message="cancelled", started=now() - 1),
        StepView("tell", "slack_cli"),
    ]
    found = ExecutionView(IDENT, name="patch the web servers of the whole region " * 3)
    found.status = "running"
    found.steps = {step.step: step for step in steps}
    return found


def drawn(view: ExecutionView, width: int, *, colours: bool = False, height: int = 40) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=height, force_terminal=True, legacy_windows=False,
        no_color=not colours, color_system="truecolor" if colours else None,
    )  # fmt: skip
    console.print(Board(view))
    return _STYLES.sub("", out.getvalue())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("colours", [True, False])
def test_step_status_duration_and_message_can_be_read_on_every_width(
    width: int, colours: bool
) -> None:
    said = drawn(executed(), width, colours=colours)
    print(said)
    lines = said.splitlines()
    assert all(len(line) <= width for line in lines)
    for step, status, took in (
        ("disk", "succeeded", "210 ms"), ("restart_all_web_servers", "running #2", "2 min 05 s"),
        ("upload", "running", "3."), ("scan", "failed #3", "12.2 s"),
        ("ask", "needs attention", ""), ("undo", "skipped", ""), ("tell", "pending", ""),
        ("stop", "cancelling", "1."),
    ):  # fmt: skip
        (line,) = (line for line in lines if f" {step} " in line)
        assert status in line
        assert took in line
    for message in (
        "text=xxxxxxxxxxx",
        "file 12 of 20 file 1",
        "web-01 refused the",
        "nobody knows",
    ):
        assert message in said
    assert "3/8 steps" in said
    assert IDENT in said


@pytest.mark.parametrize("width", WIDTHS)
def test_no_row_is_only_an_ellipsis(width: int) -> None:
    for line in drawn(executed(), width).splitlines():
        assert line.count("…") <= 1, line
        assert line.strip(" …"), line


def test_bars_differ_without_colour() -> None:
    steps = executed().steps
    bars = {name: bar(step, 10) for name, step in steps.items()}
    assert bars["disk"] == "██████████"
    assert bars["upload"] == "██████▒░░░"
    assert bars["tell"] == "░░░░░░░░░░"
    assert bars["undo"] == "··········"
    assert len({bars["disk"], bars["upload"], bars["tell"], bars["undo"], bars["stop"]}) == 5
    assert bar(StepView("a", status="running", percent=100.0), 10) != bars["disk"]


def test_a_board_too_small_shows_what_needs_eyes() -> None:
    steps = [StepView(f"s{n}", status="succeeded") for n in range(50)]
    steps[3].status, steps[40].status, steps[41].status = "failed", "running", "waiting"
    shown = [step.step for step in visible(steps, 4)]
    assert shown == ["s3", "s40", "s41", "s49"]
    assert visible(steps, 50) == steps


@pytest.mark.parametrize("width", WIDTHS)
def test_many_steps_fit_the_height(width: int) -> None:
    found = executed()
    for number in range(100):
        found.steps[f"s{number}"] = StepView(f"s{number}", message="a message of some length")
    said = drawn(found, width, height=24)
    assert len(said.splitlines()) <= 24
    assert "more steps" in said
