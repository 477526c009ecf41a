"""A cancel that races the end of an attempt: one end is reported, and nothing is left running."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import structlog

from drivers.registry import DRIVERS
from drivers.resources import Resources
from processors.executors.agent import Agent
from processors.executors.cancellations import Cancellations
from processors.executors.claim import Start
from processors.executors.lane import Claimed
from processors.executors.slots import Slots
from runtime import clock
from streams import report_lines
from streams.commands import CancelStep
from streams.reports import REPORT, AnyReport, Cancelled, Failed, Succeeded
from tests.driver_kit import command, settings, until
from tests.integration.local_lab import argv
from tests.unit.executors_agent.test_reports import no_tokens

RACES = 1_000
_AT_ONCE = 16
#: The time that a program takes, about; cancels come at every moment of it and after it.
_SECONDS = 0.12


class Reports:
    """A publisher that keeps the last reports, by step."""

    def __init__(self) -> None:
        self.ends: dict[str, list[AnyReport]] = {}

    async def publish(self, topic: str, key: bytes, value: bytes, headers: Any) -> None:
        """Output is of no interest here."""

    def publish_soon(
        self, topic: str, key: bytes, value: bytes, headers: Any, delivered: Any = None
    ) -> None:
        for line in report_lines.split(value, headers) or [value]:
            report = REPORT.validate_json(line)
            if isinstance(report, Succeeded | Cancelled | Failed):
                self.ends.setdefault(report.step, []).append(report)
        delivered(None)


async def _race(
    agent: Agent,
    cancellations: Cancellations,
    lane: Any,
    name: str,
    folder: Path,
    reports: Reports,
) -> None:
    words = ("sh", "-c", f"sleep 0.0{random.randrange(4)}; : > {folder}/{name}")
    # One target for all: half of them wait for a permit.
    given = command(step=name, tool="argv", target="web-01")
    body = {"execution_id": given.execution_id, "step": name, "attempt": 1, "reason": "cancelled",
            "grace_seconds": 1.0, "at": given.dispatched_at}  # fmt: skip
    cancel = CancelStep.model_validate(body)
    if random.random() < 0.05:
        # It came between the claim and its commit.
        cancellations.add(name, cancel, clock.now())
    lane.slots.acquire(1)
    agent.begin(lane, [Claimed(Start(given, name, argv(*words)), None, clock.monotonic())])
    await asyncio.sleep(random.uniform(0, _SECONDS))
    agent.cancel(name, cancel)
    await until(lambda: name in reports.ends)


def test_a_cancel_that_races_the_end_has_one_of_the_two_ends(open_folder: Path) -> None:
    folder = open_folder
    reports = Reports()

    async def story() -> None:
        wanted = settings(target_concurrency=_AT_ONCE // 2)
        resources = Resources(wanted)
        lane: Any = SimpleNamespace(slots=Slots(_AT_ONCE))
        cancellations = Cancellations()
        agent = Agent(
            wanted, structlog.get_logger(), reports, resources, DRIVERS, cancellations, no_tokens  # type: ignore[arg-type]
        )  # fmt: skip
        names = iter(range(RACES))

        async def worker() -> None:
            for number in names:
                await _race(agent, cancellations, lane, f"race-{number}", folder, reports)

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
        assert agent.running == 0 and lane.slots.busy() == 0
        await agent.drain(0, 0)
        await resources.close()

    asyncio.run(story())
    kinds: Counter[str] = Counter()
    for number in range(RACES):
        name = f"race-{number}"
        (end,) = reports.ends[name]
        done = (folder / name).exists()
        if isinstance(end, Succeeded):
            kinds["succeeded"] += 1
            assert done, name
        else:
            assert isinstance(end, Cancelled), end
            kinds["cancelled"] += 1
            evidence = end.evidence or {}
            if evidence.get("effect") == "none":
                assert not done, (name, evidence)
            # What certainly had been stopped before its end says so; else there is doubt.
            assert end.confirmed != ("cancel_unconfirmed" in evidence)
    print(dict(kinds))
    assert kinds["succeeded"] > RACES / 20 and kinds["cancelled"] > RACES / 20, kinds
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]
    assert left == []
