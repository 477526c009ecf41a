from __future__ import annotations

import pytest

from processors.progress import windows as module
from processors.progress.windows import OTHER, Windows
from tests.unit.progress.histories import START, Log


def test_counts_ends_by_tenant_and_tool_and_forgets_them_after_an_hour() -> None:
    log, windows = Log(), Windows()
    windows.count(log.add("step.started", step="a"), "df")
    windows.count(log.add("step.succeeded", step="a"), "df")
    windows.count(log.add("step.failed", step="b"), "df")
    windows.count(log.add("execution.failed"), None)
    assert windows.totals == {
        ("tool", "df", "succeeded"): 1,
        ("tool", "df", "failed"): 1,
        ("tenant", "acme", "failed"): 1,
    }
    windows.advance(START + 3_500)
    assert windows.totals.total() == 3
    windows.advance(START + 3_700)
    assert windows.totals == {}


def test_a_late_event_counts_in_its_own_minute() -> None:
    late, early, windows = Log(), Log(), Windows()
    windows.count(early.add("step.succeeded", step="a"), "df")
    windows.count(late.add("step.succeeded", step="a", seconds=600), "df")
    windows.count(early.add("step.succeeded", step="b", seconds=300), "df")
    assert windows.totals[("tool", "df", "succeeded")] == 3
    windows.advance(START + 3_600 + 500)
    assert windows.totals[("tool", "df", "succeeded")] == 1


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LABELS", 2)
    log, windows = Log(), Windows()
    for number in range(5):
        windows.count(log.add("step.succeeded", step="a"), f"tool{number}")
    assert windows.totals[("tool", OTHER, "succeeded")] == 3
    assert len(windows.totals) == 3
