from __future__ import annotations

import pytest

from processors.progress import last_hour as module
from processors.progress.last_hour import OTHER, LastHour
from tests.unit.progress.histories import START, Log


def test_counts_ends_by_tenant_and_tool_and_forgets_them_after_an_hour() -> None:
    log, last_hour = Log(), LastHour()
    last_hour.count(log.add("step.started", step="a"), "df")
    last_hour.count(log.add("step.succeeded", step="a"), "df")
    last_hour.count(log.add("step.failed", step="b"), "df")
    last_hour.count(log.add("execution.failed"), None)
    assert last_hour.totals == {
        ("tool", "df", "succeeded"): 1,
        ("tool", "df", "failed"): 1,
        ("tenant", "acme", "failed"): 1,
    }
    last_hour.advance(START + 3_500)
    assert last_hour.totals.total() == 3
    last_hour.advance(START + 3_700)
    assert last_hour.totals == {}


def test_a_late_event_counts_in_its_own_minute() -> None:
    late, early, last_hour = Log(), Log(), LastHour()
    last_hour.count(early.add("step.succeeded", step="a"), "df")
    last_hour.count(late.add("step.succeeded", step="a", seconds=600), "df")
    last_hour.count(early.add("step.succeeded", step="b", seconds=300), "df")
    assert last_hour.totals[("tool", "df", "succeeded")] == 3
    last_hour.advance(START + 3_600 + 500)
    assert last_hour.totals[("tool", "df", "succeeded")] == 1


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LABELS", 2)
    log, last_hour = Log(), LastHour()
    for number in range(5):
        last_hour.count(log.add("step.succeeded", step="a"), f"tool{number}")
    assert last_hour.totals[("tool", OTHER, "succeeded")] == 3
    assert len(last_hour.totals) == 3
