"""How good the estimates are: 1,000 synthetic executions, each estimated before it teaches.

    python -m bench.eta

At a quarter, half and three quarters of each run its snapshot is made with what the runs before it
taught, and compared with when it ended; beside it stands the extrapolation from the run alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Final

from bench.synthetic_plans import Run, World
from processors.progress.fold import fold
from processors.progress.history import DurationHistory
from processors.progress.snapshot import estimate, show
from processors.progress.state import Progress

MOMENTS: Final = (0.25, 0.5, 0.75)
RUNS: Final = 1_000
SEED: Final = 20_261_123


@dataclass(slots=True)
class Errors:
    """Of one way to estimate, at one moment of all runs."""

    runs: int = 0
    #: |estimated - real| / real, of what was left, where there was an estimate.
    of_rest: list[float] = field(default_factory=list)
    #: The same of the whole run.
    of_whole: list[float] = field(default_factory=list)
    #: Whether the real end lay within the error.
    within: list[bool] = field(default_factory=list)
    hits: int = 0
    false_alarms: int = 0
    missed: int = 0

    def add(self, eta: float | None, error: float | None, passed: float, run: Run) -> None:
        """One run, `passed` seconds after its acceptance."""
        self.runs += 1
        rest = run.seconds - passed
        if eta is not None and error is not None:
            self.of_rest.append(abs(eta - rest) / rest)
            self.of_whole.append(abs(eta - rest) / run.seconds)
            self.within.append(abs(eta - rest) <= error)
        if passed <= run.sla_seconds:
            expected = eta is not None and passed + eta > run.sla_seconds
            breached = run.seconds > run.sla_seconds
            self.hits += expected and breached
            self.false_alarms += expected and not breached
            self.missed += breached and not expected

    @property
    def coverage(self) -> float:
        """The part of the runs for which there was an estimate."""
        return len(self.of_rest) / self.runs

    @property
    def precision(self) -> float:
        """Of the breaches that were expected, those that came."""
        return self.hits / max(1, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """Of the breaches that came, those that were expected."""
        return self.hits / max(1, self.hits + self.missed)


@dataclass(slots=True)
class Report:
    """By moment: with history, and by extrapolation."""

    history: dict[float, Errors] = field(default_factory=lambda: {at: Errors() for at in MOMENTS})
    extrapolation: dict[float, Errors] = field(
        default_factory=lambda: {at: Errors() for at in MOMENTS}
    )

    def text(self) -> str:
        """The table for people."""
        head = ("at", "estimate", "made for", "MAPE of rest", "median", "MAPE of whole")
        lines = ["  ".join((*(f"{one:>13}" for one in head), "within", "precision", "recall"))]
        for at in MOMENTS:
            for name, errors in (("history", self.history), ("run alone", self.extrapolation)):
                one = errors[at]
                lines.append(
                    f"{at:>13.0%}  {name:>13}  {one.coverage:>13.0%}  {mean(one.of_rest):>13.1%}  "
                    f"{median(one.of_rest):>13.1%}  {mean(one.of_whole):>13.1%}  "
                    f"{mean(one.within):>6.0%}  {one.precision:>9.0%}  {one.recall:>6.0%}"
                )
        return "\n".join(lines)


def measure(runs: Iterable[Run]) -> Report:
    """Estimate each run at its moments, then let it teach."""
    history, report = DurationHistory(), Report()
    for run in runs:
        begun, left = run.events[0].unix(), list(MOMENTS)
        progress: Progress | None = None
        for event in run.events:
            while progress is not None and left and event.unix() > begun + left[0] * run.seconds:
                at = left.pop(0)
                _compare(report, at, run, progress, begun + at * run.seconds, history)
            progress = fold(progress, event)
        if progress is not None:
            history.observe(progress)
    return report


def _compare(
    report: Report,
    at: float,
    run: Run,
    progress: Progress,
    now: float,
    history: DurationHistory,
) -> None:
    passed = now - progress.facts.accepted_at
    document = show(progress, now, history).document
    eta, error = document["eta_seconds"], document["eta_error_seconds"]
    report.history[at].add(eta, error, passed, run)
    report.extrapolation[at].add(*estimate(progress, now), passed, run)


def main() -> None:
    """Print the report."""
    print(measure(World(SEED).runs(RUNS)).text())


if __name__ == "__main__":
    main()
