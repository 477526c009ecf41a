"""The brake on dead letters."""

from __future__ import annotations

from sinks.poison import PoisonGate


def test_a_few_are_always_admitted() -> None:
    gate = PoisonGate(window=1_000, always_allowed=100, largest_share=0.5)
    assert gate.admits(100, 100)
    assert not gate.admits(101, 101)


def test_a_flood_stops_it_and_good_records_keep_it_open() -> None:
    gate = PoisonGate(window=1_000, always_allowed=10, largest_share=0.5)
    gate.count(900, 0)
    assert gate.admits(100, 100)
    for _ in range(10):
        gate.count(100, 80)
    assert not gate.admits(100, 80)
    assert not gate.admits(10, 1)


def test_old_records_are_forgotten() -> None:
    gate = PoisonGate(window=1_000, always_allowed=10, largest_share=0.5)
    gate.count(100, 100)
    for _ in range(11):
        gate.count(100, 0)
    assert gate.admits(10, 10)
    assert not gate.admits(2_000, 1_600)
