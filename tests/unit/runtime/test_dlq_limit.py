"""The limit of dead letters."""

from __future__ import annotations

import pytest

from runtime.kafka.dlq_limit import DlqLimit, DlqLimitReached


def test_a_few_are_always_admitted() -> None:
    limit = DlqLimit(window=1_000, always_allowed=100, largest_share=0.5)
    limit.check(100, 100)
    with pytest.raises(DlqLimitReached):
        limit.check(101, 101)


def test_a_flood_reaches_it_and_good_records_keep_it_away() -> None:
    limit = DlqLimit(window=1_000, always_allowed=10, largest_share=0.5)
    limit.count(900, 0)
    limit.check(100, 100)
    for _ in range(10):
        limit.count(100, 80)
    with pytest.raises(DlqLimitReached):
        limit.check(100, 80)
    with pytest.raises(DlqLimitReached):
        limit.check(10, 1)


def test_old_records_are_forgotten() -> None:
    limit = DlqLimit(window=1_000, always_allowed=10, largest_share=0.5)
    limit.count(100, 100)
    for _ in range(11):
        limit.count(100, 0)
    limit.check(10, 10)
    with pytest.raises(DlqLimitReached):
        limit.check(2_000, 1_600)
