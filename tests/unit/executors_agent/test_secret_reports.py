"""The report of secrets that are used: valid and delivered, however many and however long."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from drivers.secret_use import SecretError
from processors.executors.secret_reports import SecretReports
from runtime.kafka.publisher import Publisher
from streams.limits import MAX_REPORT_BYTES
from streams.reports import REPORT, SecretsUsed, SecretUse
from tests.unit.executors_agent.test_attempts import made
from tests.unit.executors_agent.test_reports import MAKER


class FakePublisher:
    """A fake publisher: keeps what it takes, and takes at most `room` records."""

    def __init__(self, room: int) -> None:
        self.values: list[bytes] = []
        self._room = room

    async def publish(self, topic: str, key: bytes, value: bytes, headers: Any) -> None:
        if len(self.values) == self._room:
            raise TimeoutError
        self.values.append(value)


def told(uses: list[SecretUse], room: int = 100) -> list[SecretsUsed]:
    publisher = FakePublisher(room)
    reports = SecretReports(cast(Publisher, publisher), "steps.reports", MAKER)
    asyncio.run(reports.tell(made(), uses))
    assert all(len(value) <= MAX_REPORT_BYTES for value in publisher.values)
    found = [REPORT.validate_json(value) for value in publisher.values]
    assert all(isinstance(one, SecretsUsed) for one in found)
    return cast(list[SecretsUsed], found)


@pytest.mark.parametrize("count", [0, 1, 25, 26, 250])
def test_every_use_is_in_a_report(count: int) -> None:
    uses = [SecretUse(f"env/A{n}", "headers", "r", "web-01", "10.0.0.7") for n in range(count)]
    assert [use for report in told(uses) for use in report.uses] == uses


@pytest.mark.parametrize("piece", ["x", "\x00", "ü", "\U0001f600"])
def test_a_use_is_cut_to_what_a_report_may_hold(piece: str) -> None:
    long = piece * 10_000
    reports = told([SecretUse(f"vault/{n}{long}", long, long, long, long) for n in range(30)])
    cut = [use for report in reports for use in report.uses]
    assert len(cut) == 30
    assert all(use.destination == piece * 300 == use.address for use in cut)


def test_uses_that_are_not_all_delivered_are_an_error() -> None:
    uses = [SecretUse(f"env/A{n}", "headers", "r") for n in range(60)]
    with pytest.raises(SecretError, match="could not be recorded"):
        told(uses, room=1)
